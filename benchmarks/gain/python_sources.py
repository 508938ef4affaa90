"""The English in Python packages: docstrings, comments and error messages.

They are read from wheels. Docstrings in the styles of Google, NumPy, Sphinx
and Epydoc are taken apart by docstring_parser.
"""

import ast
import io
import os
import re
import tokenize
import zipfile
from typing import Any, List, NamedTuple, Tuple

import docstring_parser

from gain import texts

# What a sentence is.
SUMMARY, DETAILS, PARAMETER, RETURNS, ERROR, COMMENT = KINDS = (
    "summary", "details", "parameter", "returns", "error", "comment")
_HAS_DOCSTRING = (
    ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# What tells the style of a docstring.
_STYLES = (
    (re.compile(r"^-{4}", re.M), docstring_parser.DocstringStyle.NUMPYDOC),
    (re.compile(r"^(?:Args|Returns):", re.M),
     docstring_parser.DocstringStyle.GOOGLE),
    (re.compile(r"^@\w+|[A-Z]\{", re.M),
     docstring_parser.DocstringStyle.EPYDOC))
# Values that are filled in, in messages.
_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-#0-9.]*[srdifxg]|\{[^{}]*\}")
_VALUE = "X"
# A paragraph that is code, a table, a heading or a list, or one on its license.
_NO_SENTENCES = re.compile(
    r">>>|```|^\s*\.\. |::|[-=~]{4}|^\s*[-*+|] |^\s{4}|[Cc]opyright|[Ll]icense")


class Module(NamedTuple):
  """A file of a package.

  Attributes:
    name: str, its path in the package.
    sentences: list of (str, one of KINDS; str, the sentence), in the order of
      the file.
  """
  name: str
  sentences: List[Tuple[str, str]]


def _sentences(text):
  """Returns the sentences of a text's paragraphs, a list of str."""
  return [sentence for paragraph in re.split(r"\n\s*\n", text or "")
          if not _NO_SENTENCES.search(paragraph)
          for sentence in texts.sentences(paragraph)]


def _docstring(text):
  """Yields (kind, sentence) of a docstring."""
  style = next((style for pattern, style in _STYLES if pattern.search(text)),
               docstring_parser.DocstringStyle.REST)
  try:
    found = docstring_parser.parse(text, style)
  except docstring_parser.ParseError:
    return
  parts = [(SUMMARY, found.short_description),
           (DETAILS, found.long_description)]
  parts += [(PARAMETER, item.description) for item in found.params]
  parts += [(RETURNS, found.returns.description)] if found.returns else []
  for kind, part in parts:
    for sentence in _sentences(part):
      yield kind, sentence


def _message(node: Any):
  """Returns the text of an expression, with _VALUE for what is filled in.

  Args:
    node: ast.AST.

  Returns:
    str; None if it is no text.
  """
  if isinstance(node, ast.JoinedStr):
    return "".join(_message(value) or _VALUE for value in node.values)
  if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
    parts = _message(node.left), _message(node.right)
    return "".join(part or _VALUE for part in parts) if any(parts) else None
  if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
    return _message(node.left)
  if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and (
      node.func.attr == "format"):
    return _message(node.func.value)
  try:
    value = ast.literal_eval(node)
  except (ValueError, TypeError):
    return None
  return _PLACEHOLDER.sub(_VALUE, value) if isinstance(value, str) else None


def _comments(source):
  """Yields (number of the first line, text) of comments on their own lines."""
  lines, first = [], 0
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    is_own_line = token.type == tokenize.COMMENT and (
        token.line.strip() == token.string)
    if is_own_line and token.start[0] != first + len(lines) and lines:
      yield first, "\n".join(lines)
      lines = []
    if is_own_line:
      first = first if lines else token.start[0]
      lines.append(token.string.lstrip("#").strip())
  if lines:
    yield first, "\n".join(lines)


def parse(name, source):
  """Returns the Module of a source text.

  Args:
    name: str.
    source: str.

  Raises:
    SyntaxError: it is none of this Python's version.
  """
  found = []  # (line number, kind, sentence)
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, _HAS_DOCSTRING) and ast.get_docstring(node):
      found += [(node.body[0].lineno, *item)
                for item in _docstring(ast.get_docstring(node))]
    elif isinstance(node, ast.Raise) and (
        isinstance(node.exc, ast.Call) and node.exc.args):
      message = _message(node.exc.args[0])
      if message:
        found.append((node.lineno, ERROR, " ".join(message.split())))
  for line, text in _comments(source):
    found += [(line, COMMENT, sentence) for sentence in _sentences(text)]
  return Module(name, [
      (kind, sentence) for _, kind, sentence in sorted(
          found, key=lambda item: item[0])])


def read(wheel):
  """Yields the Modules of a wheel that have any sentence; tests are left out.

  Args:
    wheel: str, path of a .whl file.

  Raises:
    OSError, ValueError: it can't be read.
  """
  try:
    with zipfile.ZipFile(wheel) as archive:
      for name in sorted(archive.namelist()):
        if name.endswith(".py") and "test" not in name.lower():
          try:
            module = parse(name, archive.read(name).decode("utf-8"))
          except (SyntaxError, UnicodeDecodeError):
            continue  # Of a later Python, or a template.
          if module.sentences:
            yield module
  except zipfile.BadZipFile as error:
    raise ValueError("%s is no wheel: %s." % (
        os.path.basename(wheel), error)) from error
