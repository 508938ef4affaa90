"""Tables: CSV and TSV with a header row, and Parquet.

A row is a document, which is the text of one column. An offset is an offset
into the text of all rows, so such files are read from their start.
"""

import contextlib
import io

from bert_e2e.common import file_io
from bert_e2e.common.messages import list_names
from bert_e2e.data import records

_LISTED_COLUMNS = 20
_PARQUET_HEAD = b"PAR1"
_TEXT_KINDS = ("string", "large_string", "binary", "large_binary")
# Rows that are decoded at once.
_BATCH_ROWS = 256


def _no_column(file, names):
  """Returns the ValueError for a table without the column of the text."""
  return ValueError(
      "%s has no column \"%s\"; its columns are %s. Pass the name of the one "
      "with the text by --text_field." % (
          file.path, file.options.text_field,
          list_names(['"%s"' % name for name in names], _LISTED_COLUMNS)))


# ---------------------------------------------------------------- CSV and TSV


class Csv(records.RowConverter):
  """The converter of tables as the module `csv` reads them.

  Args:
    delimiter: str, the character between fields.
  """

  def __init__(self, delimiter):
    self._delimiter = delimiter

  def rows(self, file, blocks, reject):
    """See records.RowConverter.rows.

    Raises:
      ValueError: there is no column of the name, or a row is too long.
    """
    import csv  # pylint: disable=import-outside-toplevel  Workers need it not.
    csv.field_size_limit(
        max(records.MAX_RECORD_BYTES, csv.field_size_limit()))
    lines = _RowLines(file, blocks)
    reader = csv.reader(lines, delimiter=self._delimiter)
    column = None
    while True:
      lines.start_row()
      try:
        row = next(reader)
      except StopIteration:
        return
      except csv.Error as e:
        reject(records.InvalidRecord(
            file, "the row can't be parsed (%s)" % e, lines.first))
        continue
      except records.InvalidRecord as e:
        reject(e)
        return
      if not row:
        continue
      if column is None:
        column = _find_column(file, row)
      elif column >= len(row):
        reject(records.InvalidRecord(
            file, "the row has %d fields only, and \"%s\" is field %d. Correct "
            "it" % (len(row), file.options.text_field, column + 1),
            lines.first))
      else:
        yield lines.first, records.text_of(row[column], True)


def _find_column(file, header):
  """Returns the index of the column of the text."""
  names = [name.strip() for name in header]
  field = file.options.text_field.strip()
  if names.count(field) > 1:
    raise ValueError("%s has %d columns \"%s\". Give them different names." % (
        file.path, names.count(field), field))
  if field not in names:
    raise _no_column(file, names)
  return names.index(field)


class _RowLines:
  """An iterator over the lines of a file, which knows where a row started.

  Args:
    file: readers.TextFile.
    blocks: iterator over bytes, its content.

  Attributes:
    first: int, number of the first line of the row, from 1.
  """

  def __init__(self, file, blocks):
    self.first = 1
    self._file = file
    self._lines = _universal_lines(file, blocks)
    self._number = 0  # Lines that were given.
    self._size = 0  # Bytes of the row that were given.

  def start_row(self):
    """Says that the next line is the first one of a row."""
    self.first, self._size = self._number + 1, 0

  def __iter__(self):
    return self

  def __next__(self):
    """Returns the next line, a str, with its end."""
    line = next(self._lines, None)
    if line is None:
      if self._size:  # The reader only asks for more within quotes.
        raise records.InvalidRecord(
            self._file, "the quote that starts a field of the row does not end",
            self.first)
      raise StopIteration
    self._number += 1
    self._size += len(line)
    _check_size(self._file, self.first, self._size)
    # Which some versions of `csv` refuse and the tokenizer drops.
    return line.replace(b"\0", b"").decode("utf-8", "surrogateescape")


def _universal_lines(file, blocks):
  """Yields lines, bytes with their ends, of a file that may end lines with
  "\\n", "\\r\\n" or "\\r"."""
  rest, number = b"", 0
  for block in blocks:
    block = rest + block
    if not number and block.startswith(records.BYTE_ORDER_MARK):
      block = block[len(records.BYTE_ORDER_MARK):]
    lines = block.splitlines(True)
    # "\n" may follow a "\r".
    rest = b"" if block.endswith(b"\n") or not lines else lines.pop()
    yield from lines
    number += len(lines)
    _check_size(file, number + 1, len(rest))
  if rest:
    yield rest


def _check_size(file, number, size):
  """Raises ValueError for a row that is too long."""
  if size > records.MAX_RECORD_BYTES:
    raise ValueError(
        "%s, line %d: the row that starts here has more than %d bytes. Does a "
        "quote in it not end?" % (file.path, number, records.MAX_RECORD_BYTES))


# --------------------------------------------------------------------- Parquet


class Parquet(records.RowConverter):
  """The converter of Parquet files, which pyarrow reads."""

  is_text = False
  unit = "row"

  def check(self, file, head):
    _import_pyarrow(file)
    if file.compression.open_content:
      raise ValueError(
          "%s is a Parquet file that was compressed with %s; decompress it." % (
              file.path, file.compression.name))
    if head and not head.startswith(_PARQUET_HEAD):
      raise ValueError(
          "%s is not a Parquet file. Pass its format by --input_format." %
          file.path)

  def rows(self, file, blocks, reject):
    """See records.RowConverter.rows; reads the file, not `blocks`.

    Raises:
      ValueError: there is no column of the name, it is not of text, or the file
        can't be read.
    """
    del blocks
    if not file_io.size(file.path):
      return
    number = 0
    with _open_parquet(file) as table:
      for batch in _batches(file, table):
        for text in batch:
          number += 1
          if text is None:
            reject(records.InvalidRecord(
                file, "the field \"%s\" is null. Write a text" %
                file.options.text_field, number))
          else:
            yield number, records.text_of(
                text.decode("utf-8", "surrogateescape"), True)

  def density(self, file):
    size = num_rows = 0
    with _open_parquet(file) as table:
      total = table.metadata.num_rows
      for batch in _batches(file, table):
        size += sum(len(text) + 2 for text in batch if text)
        num_rows += len(batch)
        if size >= records.MEASURED_BYTES:
          break
    return total * size / max(1, num_rows) / file_io.size(file.path)


def _import_pyarrow(file):
  """Returns the modules (pyarrow, pyarrow.parquet).

  Raises:
    ValueError: pyarrow is not installed.
  """
  # pylint: disable=import-outside-toplevel
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as e:
    raise ValueError(
        "%s is a Parquet file, which needs pyarrow (pip install pyarrow). Or "
        "convert it to JSON lines where that is installed: "
        "pandas.read_parquet(path).to_json(path + \".jsonl\", orient="
        "\"records\", lines=True, force_ascii=False)." % file.path) from e
  return pyarrow, pyarrow.parquet


@contextlib.contextmanager
def _open_parquet(file):
  """Gives the pyarrow.parquet.ParquetFile of a file.

  Raises:
    ValueError: the file can't be read, also while it is open.
  """
  pyarrow, parquet = _import_pyarrow(file)
  try:
    with file_io.open_binary(file.path) as stream:
      if not file_io.is_local(file.path):
        stream = _Seekable(stream, file_io.size(file.path))
      yield parquet.ParquetFile(stream)
  except (OSError, pyarrow.ArrowException) as e:
    raise ValueError("%s cannot be read: %s" % (file.path, e)) from e


def _batches(file, table):
  """Yields lists with the column's texts, bytes or None.

  Args:
    file: readers.TextFile.
    table: pyarrow.parquet.ParquetFile.
  """
  pyarrow, _ = _import_pyarrow(file)
  schema, field = table.schema_arrow, file.options.text_field
  if schema.names.count(field) != 1:
    raise _no_column(file, schema.names)
  kind = schema.field(field).type
  is_dictionary = pyarrow.types.is_dictionary(kind)
  value_kind = kind.value_type if is_dictionary else kind
  if str(value_kind) not in _TEXT_KINDS:
    raise ValueError(
        "%s: the column \"%s\" is of the type %s, not string. Pass the name of "
        "the one with the text by --text_field." % (file.path, field, kind))
  for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=[field]):
    column = batch.column(0)
    if is_dictionary:
      column = column.dictionary_decode()
    # Not decoded, so that bytes that are not UTF-8 are treated in one place.
    yield column.cast(pyarrow.large_binary()).to_pylist()


class _Seekable(io.RawIOBase):
  """A remote file with the methods that pyarrow calls.

  Args:
    stream: see file_io.open_binary.
    size: int, of the file in bytes.
  """

  def __init__(self, stream, size):
    super().__init__()
    self._stream = stream
    self._size = size
    self._offset = 0

  def readable(self):
    return True

  def seekable(self):
    return True

  def tell(self):
    return self._offset

  def seek(self, offset, whence=io.SEEK_SET):
    base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._size}
    self._offset = base[whence] + offset
    self._stream.seek(self._offset)
    return self._offset

  def read(self, size=-1):
    left = self._size - self._offset
    data = self._stream.read(left if size is None or size < 0 else
                             min(size, left))
    self._offset += len(data)
    return data
