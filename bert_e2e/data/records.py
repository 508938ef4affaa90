"""What the converters of all formats share: the text of records, and errors.

A converter turns what a file contains into text: UTF-8, one sentence per line,
a blank line between documents. `Converter` is the one of plain text;
json_lines.py and tables.py have those of records, of which each is a document.
"""

import logging
import re

logger = logging.getLogger(__name__)

# No record is longer, in bytes.
MAX_RECORD_BYTES = 1 << 24
# How much of a file its density is measured on.
MEASURED_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNPAIRED_ESCAPE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# What half a character becomes; it is not in UTF-8.
INVALID_BYTE = 0xFF
_INVALID = "\udcff"


class InvalidRecord(ValueError):
  """A record without a text; its message names file, record and cause.

  The records before it are counted when the message is formatted.

  Args:
    file: readers.TextFile.
    cause: str, a clause or a sentence without its full stop.
    number: int, the record's line or row, from 1; or
    offset: int, where in the text it starts, if its number is not known.

  Attributes:
    offset: as given.
  """

  def __init__(self, file, cause, number=None, offset=0):
    super().__init__(file.path, cause)
    self._file = file
    self._cause = cause
    self._number = number
    self.offset = offset

  def describe(self):
    """Returns file, record and cause, a str."""
    number = self._number or self._file.number_at(self.offset)
    return "%s, %s %d: %s" % (
        self._file.path, self._file.format.converter.unit, number, self._cause)

  def __str__(self):
    return ("%s. Or pass --invalid_records=skip to leave out such records." %
            self.describe())


class SkipLog:
  """Counts the records that are skipped; logs the first, the tenth and so on.

  Attributes:
    count: int.
  """

  def __init__(self):
    self.count = 0

  def __call__(self, error):
    """Counts a record.

    Args:
      error: InvalidRecord.
    """
    self.count += 1
    if is_power_of_ten(self.count):
      logger.warning("%s. It is skipped (skipped record number %d)",
                     error.describe(), self.count)


def is_power_of_ten(count):
  """Tells whether a count is 1, 10, 100 and so on: whether to log it."""
  return str(count).strip("0") == "1"


def text_of(record, has_invalid_bytes):
  """Returns the text of a record, as plain text has it.

  Args:
    record: str, the text in the record. Bytes that are not UTF-8 are in it as
      surrogates (errors="surrogateescape").
    has_invalid_bytes: bool, whether there may be such bytes. If not, surrogates
      are escapes of half a character.

  Returns:
    bytes: the lines that are not blank, without the whitespace around them,
    joined by "\\n". Half a character becomes an invalid byte.

  >>> text_of(" one\\r\\n\\n two", False)
  b'one\\ntwo'
  """
  text = "\n".join(filter(None, map(str.strip, record.split("\n"))))
  try:
    return text.encode("utf-8")
  except UnicodeEncodeError:
    halves = _UNPAIRED_ESCAPE if has_invalid_bytes else _SURROGATE
    return halves.sub(_INVALID, text).encode("utf-8", "surrogateescape")


class Converter:
  """Gives the text of a file: of plain text, which is as it is stored.

  The `file` of all methods is a readers.TextFile, whose `read_content` gives
  what the file contains, decompressed.

  Attributes:
    has_records: bool, whether the file has records, of which each is a
      document that ends with a blank line.
    is_text: bool, whether what the file contains is text, too.
    unit: str, what is counted to name a place.
  """

  has_records = False
  is_text = True
  unit = "line"

  def check(self, file, head):
    """Checks that a file may be of the format.

    Args:
      file: readers.TextFile.
      head: bytes, the start of the file.

    Raises:
      ValueError: it is not.
    """
    file.check_is_text(head)

  def read(self, file, start, end, block_bytes, reject):
    """Yields a file's text in blocks; see readers.TextFile.read_blocks.

    Args:
      file, start, end, block_bytes: see there; `block_bytes` is an int.
      reject: function that is called with the InvalidRecord of each record
        without a text. If it returns, the record is left out.
    """
    del reject
    return file.read_content(start, end, block_bytes)

  def number_at(self, file, offset):
    """Returns the number of the line that has a byte of the text, from 1."""
    return 1 + sum(block.count(b"\n")
                   for block in file.read_content(0, offset))

  def density(self, file):
    """Returns about how many bytes of text a byte of the content has, float."""
    del file
    return 1.0


class RowConverter(Converter):
  """The base of the converters of files that are read from their start only."""

  has_records = True

  def rows(self, file, blocks, reject):
    """Yields the texts of a file's records.

    Args:
      file: readers.TextFile.
      blocks: iterator over bytes, the file's content or the start of it.
      reject: see Converter.read.

    Yields:
      (number of the record as `unit` counts, from 1; bytes, see `text_of`),
      also for records whose text is empty.
    """
    raise NotImplementedError

  def _documents(self, file, reject):
    """Yields (number, bytes of the text with the blank line that ends it)."""
    for number, text in self.rows(file, file.read_content(), reject):
      if text:
        yield number, text + b"\n\n"

  def read(self, file, start, end, block_bytes, reject):
    left = float("inf") if end is None else end - start
    skipped, found, size = start, [], 0
    for _, text in self._documents(file, reject):
      if skipped >= len(text):
        skipped -= len(text)
        continue
      text = text[skipped:skipped + min(left, len(text))]
      skipped = 0
      left -= len(text)
      found.append(text)
      size += len(text)
      if left <= 0:
        break
      if size >= block_bytes:
        yield b"".join(found)
        found, size = [], 0
    if found:
      yield b"".join(found)

  def number_at(self, file, offset):
    found = 1
    for number, text in self._documents(file, lambda error: None):
      found = number
      offset -= len(text)
      if offset < 0:
        break
    return found

  def density(self, file):
    start = b"".join(file.read_content(0, MEASURED_BYTES))
    size = sum(len(text) + 2 for _, text in self.rows(
        file, iter([start]), lambda error: None) if text)
    return size / max(1, len(start))
