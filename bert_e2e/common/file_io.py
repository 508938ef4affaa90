"""Files by path: local ones by Python's `open`, others by TensorFlow's GFile.

A path with a scheme (`gs://`, `hdfs://`, `s3://`) is on a file system that
TensorFlow supports, so TensorFlow is imported for such a path, and only then: a
process that reads local files never loads it.
"""

import contextlib
import glob
import os
import re

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_local(path):
  """Returns whether Python's `open` can read `path`.

  Args:
    path: str.

  Returns:
    bool; False for a path with a scheme such as "gs://bucket/file".
  """
  return _SCHEME.match(path) is None


@contextlib.contextmanager
def _gfile(path):
  """Gives TensorFlow's file module, which the first remote path imports.

  Its errors are raised as OSErrors, like those of local files.
  """
  import tensorflow.compat.v1 as tf  # pylint: disable=import-outside-toplevel
  try:
    yield tf.io.gfile
  except tf.errors.OpError as e:
    raise OSError("%s: %s" % (path, e.message)) from e


class _RemoteFile:
  """A GFile with the methods of a binary file object that are used here."""

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
  """Opens a binary file.

  Args:
    path: str, local or with a scheme.
    mode: "rb", "wb" or "ab".

  Returns:
    A binary file object with `read`, `write`, `seek` and `close`; a context
    manager.

  Raises:
    OSError: the file cannot be opened. (For a remote one, `read` or `close`
      may raise it.)
  """
  return open(path, mode) if is_local(path) else _RemoteFile(path, mode)


def split_lines(text):
  """Splits a text into lines, without their ends.

  Lines end at "\\n" only. A last line needs no end, unless it is empty.

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
  """Returns whether there is a file or directory."""
  if is_local(path):
    return os.path.exists(path)
  with _gfile(path) as gfile:
    return gfile.exists(path)


@contextlib.contextmanager
def _named(path):
  """Adds the path to an OSError without one, e.g. of a full disk."""
  try:
    yield
  except OSError as e:
    if e.filename or e.errno is None:
      raise
    raise OSError(e.errno, e.strerror, path) from e


def append(path, data):
  """Appends bytes to a file, which is created if it does not exist.

  Once this returns, the bytes survive the end of the process.
  """
  with _named(path), open_binary(path, "ab") as stream:
    stream.write(data)


def write(path, data):
  """Writes a binary file. A local one is replaced atomically."""
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


def names(directory):
  """Returns the sorted names in a directory; [] if it does not exist."""
  if not exists(directory):
    return []
  if is_local(directory):
    return sorted(os.listdir(directory))
  with _gfile(directory) as gfile:
    return sorted(name.rstrip("/") for name in gfile.listdir(directory))


def matches(pattern):
  """Returns the files that match a glob pattern.

  A file whose own name looks like a pattern ("a[1].txt") is taken literally.

  Args:
    pattern: str, a path that may contain `*`, `?` and `[...]`.

  Returns:
    list of str, sorted; empty if nothing matches. Only regular files match a
    pattern.
  """
  if not is_local(pattern):
    with _gfile(pattern) as gfile:
      return sorted(gfile.glob(pattern))
  if os.path.exists(pattern):
    return [pattern]
  return sorted(path for path in glob.glob(pattern) if os.path.isfile(path))


def _check_regular(path):
  """Raises ValueError for what can't be read once for each epoch."""
  if is_local(path) and not os.path.isfile(path):
    raise ValueError(
        "%s is a directory; pass %s for the files in it." %
        (path, os.path.join(path, "*")) if os.path.isdir(path) else
        "%s is not a regular file; a stream can't be read twice. Write it to a "
        "file first." % path)


def expand(patterns):
  """Expands a comma-separated list of patterns into files.

  Args:
    patterns: str, as in `--input_file=a.txt,more/*.txt`, or a list of patterns.

  Returns:
    list of str: the matches of each pattern, sorted, the patterns in their
    order; a file as often as it is named.

  Raises:
    ValueError: a pattern matches no file, or there is no pattern; a directory
      or a pipe is named.

  Source: the loop over FLAGS.input_file in both of google-research/bert's
    programs. Changed: there, matches are sorted only if the file system sorts
    them, and a pattern without a match is ignored.
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
          "No input file matches %s (the current directory is %s). Check the "
          "path; a pattern may contain *, ? and [...], and commas separate "
          "several." % (pattern, os.getcwd()))
    for path in found:
      _check_regular(path)
    files.extend(found)
  if not files:
    raise ValueError("No input file is named.")
  return files
