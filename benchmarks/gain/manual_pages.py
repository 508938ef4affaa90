"""Text of manual pages in Debian packages, by section.

Pages in the macros of man(7) are read, as far as their running text needs it:
tables, examples, and definitions of macros are left out. Pages in the macros of
mdoc(7) are skipped.
"""

import gzip
import os
import re
import shlex
import subprocess
import tempfile
from typing import List, NamedTuple

_SENTENCE_END = re.compile(
    r"(?:(?<=[^\W_A-Z][.!?])|(?<=[.!?)\]'\"»][.!?)\"'»]))"
    r"(?<!e\.g\.)(?<!i\.e\.)(?<!p\.ex\.) +(?=[^\W\da-z_]|\()")
# Escapes with an argument, and without one that leaves text.
_ESCAPES = re.compile(
    r"\\(?:f(?:\(..|\[[^]]*\]|.)|[mMFk*n](?:\(..|\[[^]]*\]|.)"
    r"|s(?:[-+]?\d|[-+]?\[[^]]*\]|\([-+]?..)|[vhwxboZ]'[^']*'|[&:/,%^|!cd{}])")
_CHARACTERS = {
    "aq": "'", "dq": '"', "lq": '"', "rq": '"', "oq": "'", "cq": "'",
    "em": " - ", "en": "-", "mi": "-", "bu": "", "co": "(c)", "mu": "x",
    "ti": "~", "ha": "^", "ga": "`", "rs": "\\", "la": "<", "ra": ">",
    "<=": "<=", ">=": ">=", "+-": "+-", "->": "->", "<-": "<-", "==": "==",
    "if": "infinity", "*p": "pi", "Fo": '"', "Fc": '"', "'e": "e", ":o": "o",
    ":a": "a", ":u": "u"}
_NAMED = re.compile(r"\\(?:\((..)|\[([^]]*)\])")
_PLAIN = {"\\-": "-", "\\e": "\\", "\\ ": " ", "\\~": " ", "\\0": " ",
          "\\'": "'", "\\`": "`", "\\.": ".", "\\\\": "\\", "\\t": " "}
_SIMPLE = re.compile("|".join(map(re.escape, _PLAIN)))
_BREAKS = frozenset("PP LP P TP TQ IP HP RS RE sp SS br HD ne".split())
# The macro that ends what starts with it and is no running text.
_LEFT_OUT = {"nf": "fi", "EX": "EE", "TS": "TE", "de": ".", "ig": ".",
             "PS": "PE", "EQ": "EN", "Vb": "Ve", "UR": "UE", "MT": "ME"}
_JOINED = frozenset("BR RB IR RI BI IB".split())
_FONTS = frozenset("B I SM SB".split())


class Page(NamedTuple):
  """A manual page.

  Attributes:
    name: str, such as "open.2".
    sections: list of (str, heading in capitals; list of str, sentences).
  """
  name: str
  sections: List


def plain(text):
  """Returns a line of roff without its escapes.

  >>> plain(r"the \\fIpath\\-name\\fP of \\(aqx\\(aq")
  "the path-name of 'x'"
  """
  text = _ESCAPES.sub("", re.sub(r'\\".*', "", text))
  text = _NAMED.sub(
      lambda match: _CHARACTERS.get(match.group(1) or match.group(2), ""), text)
  return _SIMPLE.sub(lambda match: _PLAIN[match.group()], text)


def _arguments(text):
  """Returns the arguments of a macro."""
  try:
    splitter = shlex.shlex(text, posix=True, punctuation_chars="")
    splitter.whitespace_split, splitter.commenters = True, ""
    splitter.quotes, splitter.escape = '"', ""
    return list(splitter)
  except ValueError:  # An unfinished quotation.
    return text.replace('"', "").split()


def _blocks(lines):
  """Yields (macro, its arguments' text) and (None, line) for running text."""
  until = None
  for line in lines:
    control = line[:1] in (".", "'")
    macro, _, rest = line[1:].strip().partition(" ") if control else (
        None, "", line)
    if until:
      if macro == until:
        until = None
    elif macro in _LEFT_OUT:
      until = _LEFT_OUT[macro]
      yield "PP", ""
    else:
      yield macro, rest.strip()


def parse(name, text):
  """Returns the Page of a source text; None if it is not in man(7) macros."""
  if not re.search(r"^\.SH\b", text, re.M):
    return None
  sections, paragraph = [], []  # type: ignore[var-annotated]

  def end_paragraph():
    sentences = _SENTENCE_END.split(" ".join(" ".join(paragraph).split()))
    del paragraph[:]
    if sections:
      sections[-1][1].extend(s.strip() for s in sentences if s.strip())

  is_tag = False
  for macro, rest in _blocks(text.split("\n")):
    if macro == "SH":
      end_paragraph()
      sections.append((plain(" ".join(_arguments(rest))).upper(), []))
    elif macro in _BREAKS or (macro is None and not rest):
      end_paragraph()
      is_tag = macro in ("TP", "TQ")
    elif macro is None or macro in _JOINED or macro in _FONTS:
      if macro:
        rest = ("" if macro in _JOINED else " ").join(_arguments(rest))
      if not is_tag:  # The tag of a list item is no sentence.
        paragraph.append(plain(rest))
      is_tag = False
  end_paragraph()
  return Page(name, [section for section in sections if section[1]])


def read(package, language):
  """Yields the Pages of a Debian package in a language.

  Args:
    package: str, path of a .deb file; `dpkg-deb` unpacks it.
    language: str, such as "fr".

  Raises:
    ValueError: it can't be unpacked.
  """
  with tempfile.TemporaryDirectory() as directory:
    if subprocess.call(["dpkg-deb", "-x", package, directory]):
      raise ValueError("%s cannot be unpacked." % package)
    root = os.path.join(directory, "usr/share/man", language)
    paths = sorted(
        os.path.join(parent, file) for parent, _, files in os.walk(root)
        for file in files
        if re.fullmatch(r"man\d", os.path.basename(parent)))
    for path in paths:
      if path.endswith(".gz") and not os.path.islink(path):
        with gzip.open(path, "rt", encoding="utf-8",
                       errors="replace") as stream:
          page = parse(os.path.basename(path)[:-len(".gz")], stream.read())
        if page and page.sections:
          yield page
