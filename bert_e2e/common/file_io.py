"""Files by path: local ones by Python's `open`, others by TensorFlow's GFile.

A path with a scheme (`gs://`, `hdfs://`, `s3://`) is on a file system that
TensorFlow supports, so TensorFlow is imported for such a path, and only then: a
process that reads local files never loads it.
"""

import collections
import contextlib
import errno
import fnmatch
import functools
import glob
import logging
import os
import re
from typing import Dict, Set, Tuple

from bert_e2e.common.messages import list_names

logger = logging.getLogger(__name__)

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# The part of a pattern that stands for any number of directories.
_ANY_DIRECTORIES = "**"


def is_local(path):
  """Returns whether Python's `open` can read `path`.

  Args:
    path: str.

  Returns:
    bool; False for a path with a scheme such as "gs://bucket/file".
  """
  return _SCHEME.match(path) is None


def real_path(path):
  """Returns the path of a file without symbolic links, by which two names of it
  are equal; one with a scheme as it is."""
  return os.path.realpath(path) if is_local(path) else path


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


def check_can_write_to(directory):
  """Checks that files can be written to a directory, before there are any.

  Args:
    directory: str; it need not exist, then it must be possible to make it. One
      with a scheme is not checked.

  Raises:
    OSError: it, or the path to it, is a file, or permission is missing.
  """
  if not is_local(directory):
    return
  path = os.path.abspath(directory)
  while not os.path.lexists(path):
    path = os.path.dirname(path)
  if not os.path.isdir(path):
    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
  if not os.access(path, os.W_OK | os.X_OK):
    raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)


def expand_user(path):
  """Replaces `~` or `~user` at the start of a local path by a home directory.

  A shell does this for a path that is an argument of its own, but bash does not
  for one that follows an equals sign, as in `--output_dir=~/out`.

  Args:
    path: str.

  Returns:
    str. The path of a file whose name starts with "~", such as `~draft`, stays
    unchanged if there is no such user.

  Raises:
    ValueError: there is no such user.
  """
  if not path.startswith("~"):
    return path
  expanded = os.path.expanduser(path)
  if expanded == path and not os.path.lexists(path.split(os.sep)[0]):
    raise ValueError(
        "%s has no home directory, so %s is not a path. Write ./%s for a file "
        "of that name." % (path.split(os.sep)[0], path, path))
  return expanded


def matches(pattern):
  """Returns the files that match a glob pattern, or that are in a directory.

  Args:
    pattern: str, a path that may contain `*`, `?` and `[...]`; `**` stands for
      any number of directories. A path that exists is not taken as a pattern.
      Names that start with "." match only a pattern that starts with ".".

  Returns:
    list of str, sorted; empty if nothing matches. Of a directory, all files in
    it and in the directories below it; of several paths to a directory, by
    symbolic links, one. Directories that match a pattern count as such if no
    file matches it; otherwise they are left out, with a warning.
  """
  if is_local(pattern):
    return _matches(pattern, _LocalTree())
  with _gfile(pattern) as gfile:
    return _matches(pattern, _RemoteTree(gfile))


class _LocalTree:
  """What `matches` asks a local file system."""

  exists = staticmethod(os.path.exists)
  is_directory = staticmethod(os.path.isdir)

  def glob(self, pattern):
    parts = pattern.split("/")
    if _ANY_DIRECTORIES in parts:
      return _walk_local([_fixed_part(pattern)], parts[_first_magic(parts):])
    # Of other kinds than files and directories, such as pipes, none matches.
    return [path for path in glob.glob(pattern)
            if os.path.isfile(path) or os.path.isdir(path)]

  def files_below(self, directories):
    return _walk_local(directories, [_ANY_DIRECTORIES])


class _RemoteTree:
  """The same of a file system of TensorFlow's.

  Args:
    gfile: the module tf.io.gfile.
  """

  def __init__(self, gfile):
    self._gfile = gfile
    self.exists = gfile.exists
    self.is_directory = gfile.isdir

  def glob(self, pattern):
    parts = pattern.split("/")
    if _ANY_DIRECTORIES not in parts:
      return [path for path in self._gfile.glob(pattern)
              if not _is_hidden(path.split("/"), parts)]
    start = _first_magic(parts)
    return [path for path in self._walk("/".join(parts[:start]))
            if _fits(path.split("/")[start:], parts[start:])]

  def files_below(self, directories):
    found = []
    for directory in directories:
      start = len(directory.rstrip("/")) + 1
      found += [path for path in self._walk(directory.rstrip("/"))
                if _fits(path[start:].split("/"), [_ANY_DIRECTORIES])]
    return found

  def _walk(self, directory):
    """Yields the paths of all files below a directory."""
    for where, _, found in self._gfile.walk(directory):
      for name in found:
        if name and not name.endswith("/"):
          yield "%s/%s" % (where.rstrip("/"), name)


def _walk_local(directories, parts):
  """Returns the local files below directories whose paths fit a pattern.

  Symbolic links to directories are followed, after all other directories. A
  file of a directory that several paths lead to is returned by one of them.

  Args:
    directories: list of str; "" is the current directory.
    parts: list of str, see `_fits`.

  Returns:
    list of str.
  """
  found: Dict[Tuple[str, str], str] = {}
  # By `**/...`, a directory is looked at twice.
  names_of = functools.lru_cache(maxsize=None)(_list)
  visited: Set[Tuple[str, int]] = set()
  pending = collections.deque((path, parts) for path in sorted(
      directories, key=lambda path: (os.path.islink(path), path)))
  while pending:
    directory, parts = pending.popleft()
    real = os.path.realpath(directory)
    if (real, len(parts)) in visited:
      continue
    visited.add((real, len(parts)))
    is_any = parts[0] == _ANY_DIRECTORIES
    below = parts if is_any else parts[1:]
    if is_any and parts[1:]:
      pending.appendleft((directory, parts[1:]))
    for name in names_of(directory):
      if not _fits([name], parts[:1]):
        continue
      path = os.path.join(directory, name)
      if below and os.path.isdir(path):
        add = pending.append if os.path.islink(path) else pending.appendleft
        add((path, below))
      elif not parts[1:] and os.path.isfile(path):
        found.setdefault((real, name), path)
  return list(found.values())


def _list(directory):
  """Returns the sorted names in a local directory; [] if it does not exist, or,
  with a warning, if it can't be read."""
  try:
    return sorted(os.listdir(directory or os.curdir))
  except FileNotFoundError:
    return []
  except OSError as e:
    logger.warning("%s is left out: %s", directory, e.strerror)
    return []


def _first_magic(parts):
  """Returns the index of a pattern's first part that is no fixed name."""
  return next(i for i, part in enumerate(parts) if glob.has_magic(part))


def _fixed_part(pattern):
  """Returns the directory above a pattern's first part that is no fixed name.

  >>> [_fixed_part(p) for p in ("a/b/**/c", "/**", "**/*.txt")]
  ['a/b', '/', '']
  """
  parts = pattern.split("/")
  above = "/".join(parts[:_first_magic(parts)])
  return above or ("/" if pattern.startswith("/") else "")


def _is_hidden(names, parts):
  """Returns whether one of a path's names is hidden that a pattern's part in
  its place does not match explicitly."""
  return any(name.startswith(".") and not part.startswith(".")
             for name, part in zip(names, parts))


def _fits(names, parts):
  """Returns whether the parts of a path match those of a pattern.

  Args:
    names, parts: lists of str; a part "**" stands for any number of names, and
      as the last one for one or more.

  >>> _fits(["a", "b", "c.txt"], ["**", "*.txt"])
  True
  >>> _fits(["a", ".b", "c.txt"], ["**"])
  False
  """
  if not parts or not names:
    return not parts and not names
  if parts[0] == _ANY_DIRECTORIES:
    rest = parts[1:] or ["*"]
    return _fits(names, rest) or (
        not names[0].startswith(".") and _fits(names[1:], parts))
  return (fnmatch.fnmatchcase(names[0], parts[0]) and
          not _is_hidden(names[:1], parts) and _fits(names[1:], parts[1:]))


def _matches(pattern, tree):
  """Returns what `matches` does; see there.

  Args:
    pattern: str.
    tree: _LocalTree or _RemoteTree.
  """
  if tree.exists(pattern):
    return sorted(tree.files_below([pattern])
                  if tree.is_directory(pattern) else [pattern])
  found = set(tree.glob(pattern))
  directories = set(filter(tree.is_directory, found))
  files = found - directories
  if _ANY_DIRECTORIES in pattern.split("/"):
    return sorted(files)
  if files and directories:
    logger.warning(
        "%s also matches directories, which are left out: %s. The pattern %s "
        "matches the files in them, too.", pattern,
        list_names(sorted(directories), 3),
        os.path.join(os.path.dirname(pattern), _ANY_DIRECTORIES,
                     os.path.basename(pattern)))
  elif directories:
    files.update(tree.files_below(sorted(directories)))
  return sorted(files)
