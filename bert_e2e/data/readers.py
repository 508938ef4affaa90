"""Input formats: which there are, and how the text of a file is read.

`FORMATS` is the one place that knows how a format is recognized, whether its
files can be split, and how they are opened. To add a format, add a row:

    Format("gzip", starts_with(rb"\\x1f\\x8b"), gzip.GzipFile)

A file is known by its first bytes, so its name may be any. What is neither in
the table nor text is refused (see file_types.py).

An offset into a file is an offset into its text, which for a compressed file is
the decompressed text.
"""

import contextlib
import functools
import gzip
import os
import re
import zlib
from typing import (
  Any,
  Callable,
  ContextManager,
  NamedTuple,
  Optional,
  Tuple,
  Type,
)

from bert_e2e.common import file_io
from bert_e2e.data import file_types

try:  # Python can be built without these.
  import bz2
except ImportError:
  bz2 = None  # type: ignore[assignment]
try:
  import lzma
except ImportError:
  lzma = None  # type: ignore[assignment]

BLOCK_BYTES = 1 << 20
# Files whose format is remembered.
_REMEMBERED_FILES = 1 << 16


class Format(NamedTuple):
  """An input format.

  Attributes:
    name: str.
    recognizes: function from (path, its first file_types.HEAD_BYTES as they are
      stored) to bool.
    open_text: function from a binary stream of the file to a context manager
      that gives a binary stream of its text, with `read(size)`, and `seek` if
      `is_splittable`.
    is_splittable: bool, whether the text is stored as it is, so that it can be
      read from any byte. A file that can't be split is always read from its
      start, and is in one split as a whole.
    compress: function from bytes of text to bytes, to estimate how much of such
      a file holds a text; the identity for one that is splittable.
    stated_text_bytes: function from (path, size of the file in bytes) to the
      size that the file itself states for its text, int, or None. It is taken
      as a hint.
    errors: tuple of exception types that reading a damaged file raises, besides
      OSError and EOFError.
    unpacker: str, a command that writes a file's text to standard output, to
      name in errors; "" if its text is stored as it is.
  """
  name: str
  recognizes: Callable[[str, bytes], bool]
  open_text: Callable[[Any], ContextManager[Any]]
  is_splittable: bool = False
  compress: Callable[[bytes], bytes] = bytes
  stated_text_bytes: Callable[[str, int], Optional[int]] = (
      lambda path, size: None)
  errors: Tuple[Type[Exception], ...] = ()
  unpacker: str = ""


def starts_with(signature):
  """Returns Format.recognizes for files that start with a pattern (bytes)."""
  pattern = re.compile(signature, re.DOTALL)
  return lambda path, head: bool(pattern.match(head))


def _open_gzip(stream):
  return gzip.GzipFile(fileobj=stream)


def _gzip_text_bytes(path, size):
  """Reads the size of the text from the last 4 bytes of a .gz file.

  It is that of the last member of the file alone, modulo 4 GB.
  """
  return int.from_bytes(read_raw(path, size - 4, size), "little")


# The first row that recognizes a file counts; the last one takes any.
FORMATS = (
    Format("gzip", starts_with(file_types.GZIP), _open_gzip,
           compress=zlib.compress, stated_text_bytes=_gzip_text_bytes,
           errors=(zlib.error,), unpacker="gzip -dc"),
    *([Format("bzip2", starts_with(file_types.BZIP2), bz2.BZ2File,
              compress=bz2.compress, unpacker="bzip2 -dc")]
      if bz2 else []),
    *([Format("xz", starts_with(file_types.XZ), lzma.LZMAFile,
              compress=lzma.compress, errors=(lzma.LZMAError,),
              unpacker="xz -dc")]
      if lzma else []),
    Format("text", starts_with(b""), contextlib.nullcontext,
           is_splittable=True),
)


def format_of(path) -> Format:
  """Returns the Format of a file, which its first bytes tell.

  Raises:
    ValueError: the file can't be read, or it is of a type that is not text.
  """
  try:
    return _format_of(path, _state(path))
  except OSError as e:
    raise ValueError("%s cannot be read: %s" % (path, e)) from e


def _state(path):
  """Returns what changes if a local file does."""
  if not file_io.is_local(path):
    return None  # Each question would take a request.
  found = os.stat(path)
  return found.st_mtime_ns, found.st_size, found.st_ino


@functools.lru_cache(maxsize=_REMEMBERED_FILES)
def _format_of(path, state) -> Format:
  del state
  with file_io.open_binary(path) as stream:
    head = stream.read(file_types.HEAD_BYTES)
  found = next(row for row in FORMATS if row.recognizes(path, head))
  if not found.is_splittable:
    head = b"".join(_read(path, found, 0, file_types.HEAD_BYTES, None))
  file_types.check(head, path, found.unpacker)
  return found


@contextlib.contextmanager
def open_text(path):
  """Opens a file as a binary stream of its text; a context manager.

  Raises:
    OSError: the file can't be opened.
    ValueError: see `format_of`.
  """
  with _open(path, format_of(path)) as text:
    yield text


@contextlib.contextmanager
def _open(path, kind):
  """Opens a file of a Format as `open_text` does; as it is stored for None."""
  with file_io.open_binary(path) as stream:
    with (kind.open_text if kind else contextlib.nullcontext)(stream) as text:
      yield text


def read_blocks(path, start=0, end=None, block_bytes=None):
  """Reads the text of a file in blocks.

  Args:
    path: the file.
    start: int, offset of the first byte; 0 for a file that can't be split.
    end: int, offset behind the last byte, or None to read to the end.
    block_bytes: int, size of the first block; each further one is twice as
      large, up to BLOCK_BYTES. None reads blocks of BLOCK_BYTES.

  Yields:
    bytes, not empty.

  Raises:
    ValueError: the file can't be read.
  """
  return _read(path, format_of(path), start, end, block_bytes)


def read_text(path, start, size) -> bytes:
  """Reads up to `size` bytes of a file's text, from offset `start`.

  Raises:
    ValueError: the file can't be read.
  """
  return b"".join(read_blocks(path, start, start + size))


def read_raw(path, start, end) -> bytes:
  """Reads a file as it is stored, from byte `start` to byte `end`.

  Raises:
    ValueError: the file can't be read.
  """
  return b"".join(_read(path, None, start, end, None))


def _read(path, kind, start, end, block_bytes):
  """Yields the blocks of a file of a Format; as it is stored for None."""
  errors: Tuple[Type[Exception], ...] = (OSError, EOFError)
  if kind:
    errors += kind.errors
  block_bytes = block_bytes or BLOCK_BYTES
  left = float("inf") if end is None else end - start
  try:
    with _open(path, kind) as stream:
      if start:
        stream.seek(start)
      while left > 0:
        block = stream.read(int(min(left, block_bytes)))
        if not block:
          break
        left -= len(block)
        yield block
        block_bytes = min(2 * block_bytes, BLOCK_BYTES)
  except errors as e:
    raise ValueError("%s cannot be read: %s" % (path, e)) from e
