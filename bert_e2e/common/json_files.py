"""Reads and writes JSON files: records, and tables of one object per line.

A record is a NamedTuple that is stored as one JSON object and replaced
atomically. A table (JSON Lines) is only appended to, so a process that is
killed can leave an incomplete last line; readers skip it, and the next append
starts a new line.
"""

import json

from bert_e2e.common import file_io


def read_object(path):
  """Reads a file that holds one JSON object.

  Args:
    path: str, local or with a scheme. A byte order mark is ignored.

  Returns:
    dict.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is not JSON, or the value in it is not an object.
  """
  with file_io.open_binary(path) as stream:
    content = stream.read()
  try:
    value = json.loads(content.decode("utf-8-sig"))
  except ValueError as e:  # UnicodeDecodeError or JSONDecodeError.
    raise ValueError("%s is not JSON: %s" % (path, e)) from e
  if not isinstance(value, dict):
    raise ValueError("%s holds a JSON %s where an object is expected." %
                     (path, type(value).__name__))
  return value


def read_object_or_nothing(path):
  """Returns the object in a JSON file, a dict; {} if there is no file.

  Raises:
    OSError, ValueError: see `read_object`.
  """
  return read_object(path) if file_io.exists(path) else {}


# --------------------------------------------------------------------- records


def read_record(path, record_class, remedy):
  """Reads a record that `write_record` wrote.

  Args:
    path: str, local or with a scheme.
    record_class: NamedTuple class.
    remedy: str, a sentence that ends the error message: what the file is for
      or what to do about it.

  Returns:
    A `record_class`; None if there is no such file.

  Raises:
    OSError: the file cannot be read.
    ValueError: the file is damaged or holds other fields.
  """
  if not file_io.exists(path):
    return None
  with file_io.open_binary(path) as stream:
    content = stream.read()
  try:
    return record_class(**json.loads(content.decode("utf-8")))
  except (ValueError, TypeError) as e:
    raise ValueError("%s is damaged (%s). %s" % (path, e, remedy)) from e


def holds_record(path, record):
  """Returns whether `write_record` would leave a file as it is, a bool."""
  if not file_io.exists(path):
    return False
  with file_io.open_binary(path) as stream:
    return stream.read() == _encode_record(record)


def write_record(path, record):
  """Writes a NamedTuple as one JSON object, atomically.

  Args:
    path: str, local or with a scheme.
    record: NamedTuple of values that JSON can represent.

  Raises:
    OSError: the file cannot be written.
  """
  file_io.write(path, _encode_record(record))


def _encode_record(record):
  return json.dumps(record._asdict(), indent=1).encode("utf-8")


# ---------------------------------------------------------------------- tables


def read_lines(path):
  """Reads a table: a file with one JSON object per line.

  Args:
    path: str, local or with a scheme; the file may be missing.

  Returns:
    list of dict. Lines that are not a JSON object are skipped, as a killed
    process can leave an incomplete one.

  Raises:
    OSError: the file cannot be read.
  """
  if not file_io.exists(path):
    return []
  with file_io.open_binary(path) as stream:
    text = stream.read().decode("utf-8", "replace")
  rows = []
  for line in file_io.split_lines(text):
    try:
      row = json.loads(line)
    except ValueError:
      continue
    if isinstance(row, dict):
      rows.append(row)
  return rows


def append_line(path, row):
  """Appends a row to a table.

  If the last line is incomplete, the row starts on a new line.

  Args:
    path: str, local or with a scheme; the file is created if it is missing.
    row: dict of values that JSON can represent.

  Raises:
    OSError: the file cannot be read or written.
  """
  separator = b"" if _ends_with_newline(path) else b"\n"
  file_io.append(path, separator + _encode_line(row))


def write_lines(path, rows):
  """Replaces a table, atomically.

  Args:
    path: str, local or with a scheme.
    rows: iterable of dict, see `append_line`.

  Raises:
    OSError: the file cannot be written.
  """
  file_io.write(path, b"".join(map(_encode_line, rows)))


def _encode_line(row):
  return (json.dumps(row, sort_keys=True) + "\n").encode("utf-8")


def _ends_with_newline(path):
  """Returns whether a table is missing, empty or ends with a newline."""
  size = file_io.size(path) if file_io.exists(path) else 0
  if not size:
    return True
  with file_io.open_binary(path) as stream:
    stream.seek(size - 1)
    return stream.read(1) == b"\n"
