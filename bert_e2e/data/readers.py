"""Input formats: which there are, and how the text of a file is read.

`FORMATS` is the one place that knows how a format is recognized, whether its
files can be split, and how they are opened. To add a format, add a row:

    Format("bzip2", (".bz2",), bz2.BZ2File, compress=bz2.compress)

An offset into a file is an offset into its text, which for a compressed file is
the decompressed text.
"""

import contextlib
import gzip
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

BLOCK_BYTES = 1 << 20


class Format(NamedTuple):
  """An input format.

  Attributes:
    name: str.
    suffixes: tuple of str, the endings of file names that identify it.
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
  """
  name: str
  suffixes: Tuple[str, ...]
  open_text: Callable[[Any], ContextManager[Any]]
  is_splittable: bool = False
  compress: Callable[[bytes], bytes] = bytes
  stated_text_bytes: Callable[[str, int], Optional[int]] = (
      lambda path, size: None)
  errors: Tuple[Type[Exception], ...] = ()


def _open_gzip(stream):
  return gzip.GzipFile(fileobj=stream)


def _gzip_text_bytes(path, size):
  """Reads the size of the text from the last 4 bytes of a .gz file.

  It is that of the last member of the file alone, modulo 4 GB.
  """
  return int.from_bytes(read_raw(path, size - 4, size), "little")


# The first row whose suffix fits counts; every name ends with "".
FORMATS = (
    Format("gzip", (".gz",), _open_gzip, compress=zlib.compress,
           stated_text_bytes=_gzip_text_bytes, errors=(zlib.error,)),
    Format("text", ("",), contextlib.nullcontext, is_splittable=True),
)


def format_of(path) -> Format:
  """Returns the Format of a file, which its name tells."""
  return next(row for row in FORMATS if path.endswith(row.suffixes))


@contextlib.contextmanager
def open_text(path):
  """Opens a file as a binary stream of its text; a context manager.

  Raises:
    OSError: the file can't be opened.
  """
  with file_io.open_binary(path) as stream:
    with format_of(path).open_text(stream) as text:
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
  return _read(path, open_text, start, end, block_bytes)


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
  return b"".join(_read(path, file_io.open_binary, start, end, None))


def _read(path, open_stream, start, end, block_bytes):
  errors: Tuple[Type[Exception], ...] = (OSError, EOFError)
  errors += format_of(path).errors
  block_bytes = block_bytes or BLOCK_BYTES
  left = float("inf") if end is None else end - start
  try:
    with open_stream(path) as stream:
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
