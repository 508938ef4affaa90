"""Files by path: local ones with Python's own open, others with TensorFlow's.

A path with a scheme (`gs://`, `hdfs://`, `s3://`) belongs to a file system that
TensorFlow brings along, so TensorFlow is imported for such a path, and for such
a path only: a process that reads local files never loads it.
"""

import contextlib
import glob
import os
import re

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_local(path):
  """Tells whether Python's own `open` reads `path`.

  Args:
    path: str.

  Returns:
    bool; False for a path with a scheme such as "gs://bucket/file".
  """
  return _SCHEME.match(path) is None


@contextlib.contextmanager
def _gfile(path):
  """Gives TensorFlow's file module, loaded at the first remote path.

  Its errors are raised as the OSErrors that local files raise.
  """
  import tensorflow.compat.v1 as tf  # pylint: disable=import-outside-toplevel
  try:
    yield tf.io.gfile
  except tf.errors.OpError as e:
    raise OSError("%s: %s" % (path, e.message)) from e


class _RemoteFile:
  """What is used of a binary file object, on a file of TensorFlow's."""

  def __init__(self, path, mode):
    self._path = path
    with _gfile(path) as gfile:
      self._file = gfile.GFile(path, mode)

  def __enter__(self):
    return self

  def __exit__(self, *exc_info):
    self.close()

  def read(self, size=-1):
    with _gfile(self._path):
      return self._file.read(size)

  def write(self, data):
    with _gfile(self._path):
      self._file.write(data)

  def seek(self, offset):
    with _gfile(self._path):
      self._file.seek(offset)

  def close(self):
    with _gfile(self._path):
      self._file.close()


def open_binary(path, mode="rb"):
  """Opens a file of bytes.

  Args:
    path: str, local or with a scheme.
    mode: "rb", "wb" or "ab".

  Returns:
    A binary file object with `read`, `write`, `seek` and `close`; a context
    manager.

  Raises:
    OSError: the file cannot be opened. (A remote one raises it from `read` or
      `close` at the latest.)
  """
  return open(path, mode) if is_local(path) else _RemoteFile(path, mode)


def split_lines(text):
  """Returns the lines of a text, without their ends.

  They end at "\\n" only. Nothing follows the last end; a rest without one is a
  line unless it is empty.

  Args:
    text: str or bytes.

  Returns:
    list of str or bytes.

  >>> split_lines("one\\n\\ntwo")
  ['one', '', 'two']
  """
  lines = text.split("\n" if isinstance(text, str) else b"\n")
  if not lines[-1]:
    lines.pop()
  return lines


def size(path):
  """Returns the size of a file in bytes."""
  if is_local(path):
    return os.path.getsize(path)
  with _gfile(path) as gfile:
    return gfile.stat(path).length


def exists(path):
  """Tells whether there is a file or folder."""
  if is_local(path):
    return os.path.exists(path)
  with _gfile(path) as gfile:
    return gfile.exists(path)


@contextlib.contextmanager
def _named(path):
  """Names the file in an error that does not: of a full disk, say."""
  try:
    yield
  except OSError as e:
    if e.filename or e.errno is None:
      raise
    raise OSError(e.errno, e.strerror, path) from e


def append(path, data):
  """Appends bytes to a file, which is made if it is not there.

  Once this returns the bytes survive the end of the process.
  """
  with _named(path), open_binary(path, "ab") as stream:
    stream.write(data)


def write(path, data):
  """Writes a file of bytes, so that it is whole or as it was before."""
  if not is_local(path):
    with open_binary(path, "wb") as stream:
      stream.write(data)
    return
  temporary = path + ".tmp"
  try:
    with _named(path), open(temporary, "wb") as stream:
      stream.write(data)
    os.replace(temporary, path)
  except OSError:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    raise


def remove(path):
  """Removes a file."""
  if is_local(path):
    os.remove(path)
    return
  with _gfile(path) as gfile:
    gfile.remove(path)


def names(folder):
  """Returns the sorted names of what is in a folder; none if it is missing."""
  if not exists(folder):
    return []
  if is_local(folder):
    return sorted(os.listdir(folder))
  with _gfile(folder) as gfile:
    return sorted(name.rstrip("/") for name in gfile.listdir(folder))


def matches(pattern):
  """Returns the files that a glob pattern names, sorted.

  A file whose own name looks like a pattern ("a[1].txt") is taken literally.

  Args:
    pattern: str, a path that may hold `*`, `?` and `[...]`.

  Returns:
    list of str, sorted; empty where nothing matches. Only regular files match
    a pattern.
  """
  if not is_local(pattern):
    with _gfile(pattern) as gfile:
      return sorted(gfile.glob(pattern))
  if os.path.exists(pattern):
    return [pattern]
  return sorted(path for path in glob.glob(pattern) if os.path.isfile(path))


def _check_regular(path):
  """Raises ValueError for what can't be read as often as there are epochs."""
  if is_local(path) and not os.path.isfile(path):
    raise ValueError(
        "%s is a folder; pass %s for the files in it." %
        (path, os.path.join(path, "*")) if os.path.isdir(path) else
        "%s is not a regular file; a stream can't be read twice. Write it to a "
        "file first." % path)


def expand(patterns):
  """Expands a comma-separated list of patterns into files.

  Args:
    patterns: str, as in `--input_file=a.txt,more/*.txt`, or a list of patterns.

  Returns:
    list of str: each pattern's matches sorted, the patterns in their order, a
    file as often as it is named.

  Raises:
    ValueError: a pattern matches no file, or there is no pattern; a folder or
      a pipe is named.

  Source: the loop over FLAGS.input_file in both of google-research/bert's
    programs. Changed: the matches of a pattern are sorted there by chance only,
    and a pattern without a match was passed over in silence.
  """
  if isinstance(patterns, str):
    patterns = patterns.split(",")
  files = []
  for pattern in (p.strip() for p in patterns):
    if not pattern:
      raise ValueError("No input file is named between the commas of \"%s\"." %
                       ",".join(patterns))
    found = matches(pattern)
    if not found:
      raise ValueError(
          "No input file matches %s (the current folder is %s). Check the path;"
          " a pattern may hold *, ? and [...], several are separated by commas."
          % (pattern, os.getcwd()))
    for path in found:
      _check_regular(path)
    files.extend(found)
  if not files:
    raise ValueError("No input file is named.")
  return files
