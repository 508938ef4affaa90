"""JSON lines: a JSON object per line, one field of which is a document.

The text of a record takes exactly as many bytes as its line in the file: its
own lines, then spaces and a line end, which are the blank line that ends the
document. That always fits, because an escape is never shorter than what it
stands for, and a record is more than its text. So an offset into the text is an
offset into the file, which can be split and sought like plain text.
"""

import itertools

from bert_e2e.common.messages import list_names
from bert_e2e.data import records

_LISTED_FIELDS = 8
# The next record is mostly near.
_SEARCHED_BYTES = 1 << 14


class JsonLines(records.Converter):
  """The converter of JSON lines."""

  has_records = True

  def read(self, file, start, end, block_bytes, reject):
    """Yields blocks of whole records; see records.Converter.read.

    If the range starts within a record, the rest of that is given as spaces
    and a blank line, without being parsed. If it ends within one, the record is
    read beyond that and parsed, and its text is cut there.
    """
    blocks = file.read_content(
        max(0, start - 1), end, block_bytes, reads_on=True)
    left = float("inf") if end is None else end - start
    for block in _converted(
        file, blocks, start, start + left, reject) if left > 0 else ():
      if len(block) >= left:
        yield block[:left]
        return
      left -= len(block)
      if block:
        yield block

  def next_record(self, file, offset):
    """Returns the offset of the first record that starts at an offset or after
    it; the size of the text if none does.

    Raises:
      ValueError: the record before that is too long.
    """
    at = start = max(0, offset - 1)
    if offset:
      for block in file.read_content(start, None, _SEARCHED_BYTES):
        end = block.find(b"\n") + 1
        at += end or len(block)
        _check_size(file, start, at - start)
        if end:
          break
    return at

  def record_start(self, file, offset):
    """Returns where the record starts that has a byte of the text, or that ends
    before it if it is the end of the text.

    Raises:
      ValueError: the record is too long.
    """
    end, size = offset, _SEARCHED_BYTES
    while end:
      start = max(0, end - size)
      block = b"".join(file.read_content(start, end))
      found = block.rfind(b"\n") + 1
      if found:
        return start + found
      end, size = start, 2 * size
      _check_size(file, end, offset - end)
    return 0


def _converted(file, blocks, start, limit, reject):
  """Yields blocks of text of a file from an offset on.

  Args:
    file, reject: see records.Converter.read.
    blocks: iterator over bytes of the content, from the byte before `start` on,
      if there is one.
    start: int.
    limit: int or infinity; a record that starts there is not converted.
  """
  is_rest, held = False, 0
  if start:
    first = next(blocks, b"")
    is_rest = first[:1] != b"\n"
    blocks = itertools.chain([first[1:]], blocks)
  line = []  # What has been read of a record.
  for block in blocks:
    if is_rest:
      end = block.find(b"\n") + 1
      held += end or len(block)
      # Which bytes are the last two is not known yet.
      size = held if end else max(0, held - 2)
      yield _end_of_document(size) if end else b" " * size
      start, held = start + size, held - size
      if not end:
        continue
      is_rest, block = False, block[end:]
    lines = block.split(b"\n")
    lines[0] = b"".join([*line, lines[0]]) if line else lines[0]
    line = [lines.pop()]
    if lines:
      text = b"".join(_texts(file, lines, start, limit, reject))
      start += len(text)
      yield text
    _check_size(file, start, len(line[0]))
  if held:
    yield _end_of_document(held)
  if line and line[0] and start < limit:
    yield _padded(file, line[0], start, len(line[0]), reject)


def _end_of_document(size):
  """Returns so many bytes without text that end a document, if they can."""
  return b" " * (size - 2) + b"\n\n"[:size]


def _texts(file, lines, start, limit, reject):
  """Yields the text of each line, a list of bytes without their ends."""
  for line in lines:
    if start >= limit:
      return
    size = len(line) + 1
    _check_size(file, start, size)
    yield _padded(file, line, start, size, reject)
    start += size


def _check_size(file, start, size):
  """Raises ValueError for a record that is too long."""
  if size > records.MAX_RECORD_BYTES:
    raise ValueError(
        "%s, line %d: the record has more than %d bytes. Write one JSON object "
        "per line." % (
            file.path, file.number_at(start), records.MAX_RECORD_BYTES))


def _padded(file, line, start, size, reject):
  """Returns the text of a record, of `size` bytes.

  Args:
    file, reject: see records.Converter.read.
    line: bytes of the record, without a line end.
    start: int, its offset.
    size: int, its bytes with the line end, if it has one.
  """
  if not start and line.startswith(records.BYTE_ORDER_MARK):
    line = line[len(records.BYTE_ORDER_MARK):]
  text = b""
  if line.strip():
    try:
      text = _parse(line, file.options.text_field)
    except _Cause as e:
      reject(records.InvalidRecord(file, str(e), offset=start))
  if not text:
    return b" " * (size - 1) + b"\n"
  return text + b"\n" + b" " * (size - len(text) - 2) + b"\n"


class _Cause(ValueError):
  """Why a record has no text."""


def _parse(line, field):
  """Returns the text in a record; see records.text_of.

  Args:
    line: bytes, JSON.
    field: str.

  Raises:
    _Cause: there is none.
  """
  import json  # pylint: disable=import-outside-toplevel  Workers need it not.
  try:
    record, is_valid = line.decode("utf-8"), True
  except UnicodeDecodeError:
    record, is_valid = line.decode("utf-8", "surrogateescape"), False
  try:
    # What numbers are does not matter, and long integers are slow.
    values = json.loads(record, parse_int=float)
  except json.JSONDecodeError as e:
    raise _Cause("the record is not valid JSON (%s, at character %d)" % (
        e.msg, e.pos + 1)) from e
  except RecursionError as e:
    raise _Cause("the record is nested too deeply") from e
  if not isinstance(values, dict):
    raise _Cause("the record is %s, not an object with a field \"%s\"" % (
        _kind_of(values), field))
  text = values.get(field)
  if not isinstance(text, str):
    raise _Cause(_no_text(values, field))
  return records.text_of(text, not is_valid)


def _no_text(values, field):
  """Says why an object, a dict, has no text in a field."""
  if field in values:
    return "the field \"%s\" is %s, not a string" % (
        field, _kind_of(values[field]))
  texts = {name: value for name, value in values.items()
           if isinstance(value, str)}
  return "the record has no field \"%s\"; its fields are %s. Pass %s" % (
      field, list_names(['"%s"' % name for name in values], _LISTED_FIELDS) or
      "none", "--text_field=%s" % max(texts, key=lambda name: len(texts[name]))
      if texts else "the name of the field with the text by --text_field")


def _kind_of(value):
  """Returns what JSON calls a value, with its article."""
  if value is None:
    return "null"
  kinds = {bool: "a boolean", float: "a number", str: "a string",
           list: "a list", dict: "an object"}
  return kinds[type(value)]
