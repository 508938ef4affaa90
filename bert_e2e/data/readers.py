"""Input files: how they are compressed, what format they have, their text.

A file is one of `COMPRESSIONS` times one of `FORMATS`. The compression is known
by the file's first bytes, so its name may be any. The format is what
--input_format says, by default what the extension says. What is neither is
text, or refused (see file_types.py). To add a compression or a format, add a
row:

    Compression("gzip", starts_with(rb"\\x1f\\x8b"), (".gz",), gzip.GzipFile)
    Format("csv", (".csv",), tables.Csv(","))

and the name of a format to INPUT_FORMATS in config.py. The converter of a
format (see records.Converter) gives the text of a file: UTF-8, a sentence per
line, a blank line between documents. An offset into a file is an offset into
its text. `is_splittable` says that it is one into the file as well.
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
from bert_e2e.config import AUTO, ReaderConfig
from bert_e2e.data import file_types, json_lines, records, tables

try:  # Python can be built without these.
  import bz2
except ImportError:
  bz2 = None  # type: ignore[assignment]
try:
  import lzma
except ImportError:
  lzma = None  # type: ignore[assignment]

BLOCK_BYTES = 1 << 20
# Of what is read beyond a range, to complete a record.
_BEYOND_BYTES = 1 << 14
# How much content is compressed to measure a ratio.
_COMPRESSED_BYTES = 1 << 18
# So that a file whose start has no text still has a ratio.
_MIN_DENSITY = 1e-6
# Files whose format is remembered.
_REMEMBERED_FILES = 1 << 16


class Compression(NamedTuple):
  """How files are compressed.

  Attributes:
    name: str.
    recognizes: function from (path, its first file_types.HEAD_BYTES as they are
      stored) to bool.
    suffixes: tuple of str, which may follow the extension of the format.
    open_content: function from a binary stream of the file to a context manager
      that gives a binary stream of its content, with `read(size)` and `seek`;
      None if that is stored as it is, so that it can be read from any byte.
    compress: function from bytes of content to bytes, to estimate how much of
      such a file holds a text; the identity without compression.
    stated_bytes: function from (path, size of the file in bytes) to the size
      that the file itself states for its content, int, or None. It is taken as
      a hint.
    errors: tuple of exception types that reading a damaged file raises, besides
      OSError and EOFError.
    unpacker: str, a command that writes a file's content to standard output, to
      name in errors; "" without compression.
  """
  name: str
  recognizes: Callable[[str, bytes], bool]
  suffixes: Tuple[str, ...] = ()
  open_content: Optional[Callable[[Any], ContextManager[Any]]] = None
  compress: Callable[[bytes], bytes] = bytes
  stated_bytes: Callable[[str, int], Optional[int]] = (
      lambda path, size: None)
  errors: Tuple[Type[Exception], ...] = ()
  unpacker: str = ""


class Format(NamedTuple):
  """What files contain.

  Attributes:
    name: str, a choice of --input_format.
    extensions: tuple of str, lower-case; those of files that have the format by
      default.
    converter: records.Converter.
    is_splittable: bool, whether an offset into the text is one into the file.
      One that can't be split is always read from its start, and is in one split
      as a whole.
  """
  name: str
  extensions: Tuple[str, ...]
  converter: records.Converter
  is_splittable: bool = False


def starts_with(signature):
  """Returns Compression.recognizes for files that start with a pattern (bytes).
  """
  pattern = re.compile(signature, re.DOTALL)
  return lambda path, head: bool(pattern.match(head))


def _open_gzip(stream):
  return gzip.GzipFile(fileobj=stream)


def _gzip_stated_bytes(path, size):
  """Reads the size of the content from the last 4 bytes of a .gz file.

  It is that of the last member of the file alone, modulo 4 GB.
  """
  return int.from_bytes(read_raw(path, size - 4, size), "little")


# The first row that recognizes a file counts; the last one takes any.
COMPRESSIONS = (
    Compression("gzip", starts_with(file_types.GZIP), (".gz",), _open_gzip,
                compress=zlib.compress, stated_bytes=_gzip_stated_bytes,
                errors=(zlib.error,), unpacker="gzip -dc"),
    *([Compression("bzip2", starts_with(file_types.BZIP2), (".bz2",),
                   bz2.BZ2File, compress=bz2.compress, unpacker="bzip2 -dc")]
      if bz2 else []),
    *([Compression("xz", starts_with(file_types.XZ), (".xz", ".lzma"),
                   lzma.LZMAFile, compress=lzma.compress,
                   errors=(lzma.LZMAError,), unpacker="xz -dc")]
      if lzma else []),
    Compression("none", starts_with(b"")),
)

# By default, a file has the format that has its extension, or else the last.
FORMATS = (
    Format("jsonl", (".jsonl", ".jsonlines", ".ndjson"),
           json_lines.JsonLines(), is_splittable=True),
    Format("csv", (".csv",), tables.Csv(",")),
    Format("tsv", (".tsv",), tables.Csv("\t")),
    Format("parquet", (".parquet",), tables.Parquet()),
    Format("text", (), records.Converter(), is_splittable=True),
)


class TextFile(NamedTuple):
  """A file of text; see `text_file`.

  Attributes:
    path: str.
    compression: Compression.
    format: Format.
    options: config.ReaderConfig.
  """
  path: str
  compression: Compression
  format: Format
  options: ReaderConfig

  @property
  def is_splittable(self) -> bool:
    """Whether the text can be read from any byte of the file."""
    return self.format.is_splittable and not self.compression.open_content

  @property
  def splits_by_record(self) -> bool:
    """Whether it can be split, and only where a record starts."""
    return self.is_splittable and self.has_records

  @property
  def has_records(self) -> bool:
    """Whether the file has records, of which each is a document."""
    return self.format.converter.has_records

  def read_blocks(self, start=0, end=None, block_bytes=None, on_skip=None):
    """Reads the text of the file in blocks.

    Args:
      start: int, offset of the first byte. If it is within a JSON line, the
        rest of that is blank.
      end: int, offset behind the last byte, or None to read to the end.
      block_bytes: int, size of the first block; each further one is twice as
        large, up to BLOCK_BYTES. None reads blocks of BLOCK_BYTES. Blocks of
        records have other sizes, because these stay whole.
      on_skip: function that is called with the records.InvalidRecord of each
        record that is left out, by --invalid_records=skip.

    Yields:
      bytes, not empty.

    Raises:
      ValueError: the file can't be read, or a record has no text.
    """
    def reject(error):
      if self.options.invalid_records != "skip":
        raise error
      if on_skip:
        on_skip(error)

    return self.format.converter.read(
        self, start, end, block_bytes or BLOCK_BYTES, reject)

  def read_text(self, start, size) -> bytes:
    """Reads up to `size` bytes of the text, from offset `start`.

    Raises:
      ValueError: see `read_blocks`.
    """
    return b"".join(self.read_blocks(start, start + size))

  def read_content(self, start=0, end=None, block_bytes=None, reads_on=False):
    """Reads what the file contains, decompressed but not converted.

    Args:
      start, end, block_bytes: see `read_blocks`.
      reads_on: bool, whether to go on after `end`, in smaller blocks.

    Yields:
      bytes, not empty.

    Raises:
      ValueError: the file can't be read.
    """
    return _read(self.path, self.compression, start, end, block_bytes, reads_on)

  def number_at(self, offset) -> int:
    """Returns the number of the line (of the row, in a Parquet file) that has a
    byte of the text, from 1. It is counted from the start of the file."""
    return self.format.converter.number_at(self, offset)

  def record_start(self, offset) -> int:
    """See json_lines.JsonLines.record_start; of a file that `splits_by_record`.
    """
    return self.format.converter.record_start(  # type: ignore[attr-defined]
        self, offset)

  def next_record(self, offset) -> int:
    """See json_lines.JsonLines.next_record; of a file that `splits_by_record`.
    """
    return self.format.converter.next_record(  # type: ignore[attr-defined]
        self, offset)

  @property
  def is_text(self) -> bool:
    """Whether the content is text, too."""
    return self.format.converter.is_text

  def check_is_text(self, head):
    """Raises ValueError if the start of the file, bytes, is not that of text;
    see file_types.check."""
    file_types.check(head, self.path, self.compression.unpacker)

  def disk_ratio(self) -> float:
    """Returns about how many bytes of the file hold a byte of its text.

    It is measured at the start of the file, once.

    Raises:
      ValueError: the file can't be read.
    """
    if self.is_splittable:
      return 1.0
    return _disk_ratio(self, _state(self.path))


def text_file(path, options=ReaderConfig()) -> TextFile:
  """Returns the TextFile of a path.

  Args:
    path: str.
    options: config.ReaderConfig.

  Raises:
    ValueError: the file can't be read, or it is not what it should be.
  """
  try:
    return _text_file(path, options, _state(path))
  except OSError as e:
    raise ValueError("%s cannot be read: %s" % (path, e)) from e


def _state(path):
  """Returns what changes if a local file does."""
  if not file_io.is_local(path):
    return None  # Each question would take a request.
  found = os.stat(path)
  return found.st_mtime_ns, found.st_size, found.st_ino


@functools.lru_cache(maxsize=_REMEMBERED_FILES)
def _text_file(path, options, state) -> TextFile:
  del state
  with file_io.open_binary(path) as stream:
    head = stream.read(file_types.HEAD_BYTES)
  compression = next(row for row in COMPRESSIONS if row.recognizes(path, head))
  file = TextFile(path, compression, _format_of(path, options.input_format),
                  options)
  if compression.open_content:
    head = b"".join(file.read_content(0, file_types.HEAD_BYTES))
  file.format.converter.check(file, head)
  return file


def _format_of(path, input_format) -> Format:
  """Returns the Format of a file; see config.ReaderConfig."""
  if input_format != AUTO:
    return next(row for row in FORMATS if row.name == input_format)
  name = path.lower()
  for suffix in (suffix for row in COMPRESSIONS for suffix in row.suffixes):
    if name.endswith(suffix):
      name = name[:-len(suffix)]
      break
  return next((row for row in FORMATS if name.endswith(row.extensions)),
              FORMATS[-1])


@functools.lru_cache(maxsize=_REMEMBERED_FILES)
def _disk_ratio(file, state) -> float:
  """See TextFile.disk_ratio."""
  del state
  density = max(file.format.converter.density(file), _MIN_DENSITY)
  if not file.compression.open_content:
    return 1 / density
  size = file_io.size(file.path)
  content = b"".join(file.read_content(0, _COMPRESSED_BYTES + 1))
  content_bytes = len(content)
  if content_bytes > _COMPRESSED_BYTES:
    content_bytes = size * content_bytes / len(
        file.compression.compress(content))
    stated = file.compression.stated_bytes(file.path, size)
    if stated and 0.75 * content_bytes <= stated <= 4 * content_bytes:
      content_bytes = stated
  return size / max(1, content_bytes) / density


def read_raw(path, start, end) -> bytes:
  """Reads a file as it is stored, from byte `start` to byte `end`.

  Raises:
    ValueError: the file can't be read.
  """
  return b"".join(_read(path, None, start, end, None))


@contextlib.contextmanager
def _open(path, compression):
  """Opens a file's content as a binary stream; as it is stored for None."""
  opened = compression and compression.open_content
  with file_io.open_binary(path) as stream:
    with (opened or contextlib.nullcontext)(stream) as content:
      yield content


def _read(path, compression, start, end, block_bytes, reads_on=False):
  """Yields the blocks of a file; see TextFile.read_content. As it is stored for
  a `compression` of None."""
  errors: Tuple[Type[Exception], ...] = (OSError, EOFError)
  if compression:
    errors += compression.errors
  block_bytes = block_bytes or BLOCK_BYTES
  left = float("inf") if end is None else end - start
  try:
    with _open(path, compression) as stream:
      if start:
        stream.seek(start)
      while left > 0:
        block = stream.read(int(min(left, block_bytes)))
        if not block:
          break
        left -= len(block)
        yield block
        block_bytes = min(2 * block_bytes, BLOCK_BYTES)
        if left <= 0 and reads_on:
          left, block_bytes, reads_on = float("inf"), _BEYOND_BYTES, False
  except errors as e:
    raise ValueError("%s cannot be read: %s" % (path, e)) from e
