"""Recognizes text that is not plain: records, tables, markup, other encodings.

Such a file can be read line by line, so it is not refused, but a model would
learn its syntax. `KINDS` lists what is recognized, with what to do.
"""

import collections
import csv
import io
import re
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from bert_e2e.config import ReaderConfig
from bert_e2e.data import readers, text_encodings
from bert_e2e.data.preflight_numbers import ratio

# Bytes of each part of a sample that are examined.
_EXAMINED_BYTES = 1 << 13
# The same for a table with quoted fields, which may be long and have lines.
_EXAMINED_TABLE_BYTES = 1 << 17

_JSON_RECORD = re.compile(r'\{\s*"[^"]*"\s*:')
_JSON_PART = re.compile(r'"[^"]*"\s*:|[\[\]{}]+,?$|\[\s*\{\s*"')
_TAG = re.compile(
    r"</?[A-Za-z][\w:-]*(?:\s+[\w:-]+\s*=[^<>]*)?\s*/?>|<!--|<!DOCTYPE|<\?xml")
# Some of these are in any markup, but not where <word> stands for a name.
_SURE_TAG = re.compile(r"</[A-Za-z]|<[A-Za-z][^<>]*(?:=[^<>]*|/)>|<[!?]")
_WIKI = re.compile(
    r"\[\[[^\[\]]+\]\]|\{\{[^{}]+\}\}|'''|^==+[^=].*==$|^\{\||^\|-$")
_WIKI_MARKS = ("[[", "{{", "'''", "==", "{|")
_LATEX = re.compile(
    r"\\(?:begin|end|(?:sub)*section|cite|ref|label|item|text\w\w)\b")
_DELIMITERS = "\t,;|"
_QUOTED_FIELD = re.compile(r'(?:^|[\t,;|])"[^\s"]', re.MULTILINE)
_MIN_ROWS, _MIN_QUOTED_ROWS = 10, 4


class Sampled(NamedTuple):
  """Text of one file to examine.

  Attributes:
    whole: bytes; data: bytes, the first kilobytes of it.
    text: str, `data` decoded; what is not UTF-8 is U+FFFD.
    lines: list of str, its lines that are not blank, without the whitespace
      around them.
  """
  whole: bytes
  data: bytes
  text: str
  lines: List[str]

  def fraction(self, matches) -> float:
    """Returns the fraction of lines for which a function is true."""
    return sum(map(bool, map(matches, self.lines))) / max(1, len(self.lines))


class Kind(NamedTuple):
  """A kind of text.

  Attributes:
    name: str, as in "looks like ...".
    remedy: str, what to do.
    is_like: function from Sampled to bool.
  """
  name: str
  remedy: str
  is_like: Callable[[Sampled], bool]


def _is_binary(sampled):
  return sampled.data.count(b"\0") > (
      text_encodings.MAX_NULS * len(sampled.data))


def _is_other_encoding(sampled):
  if "\ufffd" not in sampled.text:
    return False
  invalid, valid = text_encodings.count_invalid(sampled.data)
  return invalid > max(valid, text_encodings.MAX_NULS * len(sampled.data))


def _has_lone_returns(sampled):
  lone = len(text_encodings.LONE_RETURN.findall(sampled.data[:-1]))
  return lone > 0.1 * max(1, len(sampled.lines))


def _is_markup(sampled):
  return bool(_SURE_TAG.search(sampled.text)) and (
      sampled.fraction(_TAG.match) >= 0.05 or
      sampled.fraction(_TAG.search) >= 0.2)


def _is_wiki(sampled):
  return (any(mark in sampled.text for mark in _WIKI_MARKS) and
          sampled.fraction(_WIKI.search) >= 0.2)


def _is_table(sampled):
  """Tells whether nearly all rows have the same number of fields."""
  text, starts, least = sampled.text, [""], _MIN_ROWS
  is_quoted = bool(_QUOTED_FIELD.search(text))
  if is_quoted:  # The text may start in a field.
    text = sampled.whole[:_EXAMINED_TABLE_BYTES].decode("utf-8", "replace")
    starts, least = ["", '"'], _MIN_QUOTED_ROWS
  for delimiter in _DELIMITERS:
    if not is_quoted and sampled.fraction(
        lambda line, of=delimiter: of in line) < 0.9:
      continue
    for start in starts:
      widths = _widths(start + text, delimiter)
      if len(widths) < least:
        continue
      (width, times), = collections.Counter(widths).most_common(1)
      if width >= 2 and times >= (0.9 if width > 2 else 0.98) * len(widths):
        return True
  return False


def _widths(text, delimiter):
  """Returns the numbers of fields of the rows of a table, but the last one,
  which may be cut off."""
  try:
    return [len(row) for row in csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter) if row][:-1]
  except csv.Error:
    return []


_WRITE = ("write %s to a text file, one sentence per line, with a blank line "
          "between documents")
_READ_AS = ("if each %s is a document, pass --input_format=%s and the name of "
            "the %s with the text by --text_field")
_CONVERT = "convert it with `iconv`"
KINDS = (
    Kind("binary data", "name files with text only", _is_binary),
    Kind("text that is not UTF-8", _CONVERT, _is_other_encoding),
    Kind("lines that end with a carriage return alone",
         "convert them with `tr '\\r' '\\n'`", _has_lone_returns),
    Kind("JSON lines", _READ_AS % ("line", "jsonl", "field"),
         lambda sampled: sampled.fraction(_JSON_RECORD.match) >= 0.5),
    Kind("JSON", _WRITE % "the text in it",
         lambda sampled: sampled.fraction(_JSON_PART.match) >= 0.5),
    Kind("a table (CSV or TSV)",
         _READ_AS % ("row", "csv (or tsv)", "column"), _is_table),
    Kind("HTML or XML", _WRITE % "the text without the markup", _is_markup),
    Kind("MediaWiki markup", _WRITE % "the text without the markup",
         _is_wiki),
    Kind("LaTeX", _WRITE % "the text without the commands",
         lambda sampled: sampled.fraction(_LATEX.search) >= 0.2),
)


class FoundKind(NamedTuple):
  """A kind of text that is in a sample.

  Attributes:
    name: str, of the Kind; with the encoding if that is known.
    remedy: str, of the Kind; with the encoding if that is known.
    share: float, the fraction of the sample's bytes that are in such files.
    file: str, one of them.
  """
  name: str
  remedy: str
  share: float
  file: str


def find_kinds(parts, options=ReaderConfig()) -> Tuple[FoundKind, ...]:
  """Finds which kinds of text, other than plain, a sample has.

  Args:
    parts: iterable of text_lines.Part.
    options: config.ReaderConfig.

  Returns:
    tuple of FoundKind, the largest share first; empty for plain text.

  Raises:
    ValueError: a file can't be read.
  """
  sizes: Dict[Tuple[str, str], int] = collections.defaultdict(int)
  files: Dict[Tuple[str, str], str] = {}
  total = 0
  for part in parts:
    total += len(part.data)
    kind = _kind_of(part, options)
    if kind:
      sizes[kind] += len(part.data)
      files.setdefault(kind, part.path)
  return tuple(
      FoundKind(*kind, ratio(size, total), files[kind])
      for kind, size in sorted(sizes.items(), key=lambda item: -item[1]))


def _kind_of(part, options) -> Optional[Tuple[str, str]]:
  """Returns (name, remedy) of the kind of a Part; None if it is plain text."""
  found = _kind_of_text(part.data)
  if not found and part.offset and b"\n" not in part.data:
    # A piece of a long line may not tell, but the start of the file does.
    found = _kind_of_text(
        readers.text_file(part.path, options).read_text(0, _EXAMINED_BYTES))
  return found


def _kind_of_text(whole):
  """Returns the same of bytes from the start of a line on."""
  data = whole[:_EXAMINED_BYTES]
  text = data.decode("utf-8", "replace")
  sampled = Sampled(whole, data, text, [
      line for line in map(str.strip, text.split("\n")) if line])
  kind = next((kind for kind in KINDS if kind.is_like(sampled)), None)
  if kind is None:
    return None
  if kind.is_like in (_is_binary, _is_other_encoding):
    encoding = text_encodings.guess(data)
    if encoding:
      return ("%s text" % encoding,
              "convert it with `iconv -f %s -t UTF-8`" % encoding)
  return kind.name, kind.remedy
