"""The corpus: input files -> splits -> chunks of lines.

A corpus is a list of text files (plain or .gz), UTF-8, one sentence a line, a
blank line between documents. Three units cut it up:

* a **split** is a byte range of about a megabyte of the files laid end to end,
  snapped to the next document boundary. Splits need nothing but the files'
  sizes, so a corpus of any size is planned without a pass over it. They are the
  unit of shuffling over the whole corpus and of sharding over hosts.
* a **chunk** is 1000 consecutive lines of a split, carried on to the end of the
  document in which the last of them lies: what is turned into examples at once.
* a **document** longer than the cap (CARRY_BYTES beyond the 1000 lines) is cut.

Lines end at "\\n" only, and every "\\r" is deleted, as the reader of
google-research/bert does. This module knows nothing of tokens or TensorFlow.
"""

import bisect
import contextlib
import gzip
import hashlib
import logging
import re
import zlib
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from bert_e2e.common import file_io

logger = logging.getLogger(__name__)

# How far a chunk or a split is carried on to reach the end of a document.
CARRY_BYTES = 1 << 20
# No sentence is longer: a file without a line end for so long is no corpus.
MAX_LINE_BYTES = 1 << 24
SPLIT_BYTES = 1 << 20
# A split has room for its chunks' lines if they are up to this long.
LINE_BYTES = 1 << 10
# Several hosts with fewer splits than this would share the corpus unevenly.
MIN_SPLITS_PER_HOST = 8
MIN_SPLIT_BYTES = 1 << 12
_BLOCK_BYTES = 1 << 20
# Of a document, where a message names it.
_SHOWN_CHARACTERS = 60
# A boundary is mostly near: reading a whole block for it would be waste.
_BOUNDARY_BLOCK_BYTES = 1 << 14

# What str.strip() removes, but for the "\n" that ends a line, in UTF-8.
_SPACE = (
    rb"(?:[\x09\x0b-\x0d\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80"
    rb"|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)")
# A blank line behind the end of another line: where a document ends.
_DOCUMENT_END = re.compile(rb"\n(?:" + _SPACE + rb"*\n)+")
# The same in decoded text.
_BLANK_LINES = re.compile(r"\n\s*\n")
_BLANKS = re.compile(rb"(?:\n|" + _SPACE + rb")*")

# A chunk of one document borrows so many bytes of others, from a random place;
# after so many tries that can't be shown to be of another document, what lies
# behind the document's end is taken, which is looked for so far.
_LENT_BYTES = 1 << 16
_LENDING_TRIES = 8
_SEARCH_BYTES = 1 << 28

# What a fingerprint looks at: so many blocks, spread evenly, of so many bytes.
_FINGERPRINT_BLOCKS = 64
_FINGERPRINT_BYTES = 1 << 12

INVALID_UTF8_CHOICES = ("error", "replace")


class Part(NamedTuple):
  """Consecutive whole lines of one file.

  Attributes:
    path: the file.
    offset: where the lines start, in bytes of text (of the decompressed text
      for a .gz file).
    data: the lines as they stand in the file.
  """
  path: str
  offset: int
  data: bytes

  @property
  def text_start(self) -> int:
    """Where in `data` its text starts; the end where there is none."""
    return _text_start(self.data, 0)


def _text_start(data, place):
  """Returns the first place from `place` on that is no whitespace."""
  return _BLANKS.match(data, place).end()  # type: ignore[union-attr]


class Chunk(NamedTuple):
  """The lines that are turned into examples at once.

  Attributes:
    file_index: the number of its first part's file in the corpus.
    parts: list of Part; more than one where files are small. The end of a file
      ends a document.
    borrowed: None, or lines of other documents, for a chunk that has but one
      (see Corpus.lend); no part of the chunk.
  """
  file_index: int
  parts: List[Part]
  borrowed: Optional[Part] = None

  @property
  def key(self) -> Tuple[int, int]:
    """(file number, byte offset): names the chunk within the corpus."""
    return self.file_index, self.parts[0].offset

  @property
  def num_bytes(self) -> int:
    """Bytes of its text."""
    return sum(len(part.data) for part in self.parts)

  @property
  def only_document(self) -> Optional[Part]:
    """The part with all of its text, if that is of one document; else None."""
    with_text = [p for p in self.parts if p.text_start < len(p.data)]
    if len(with_text) != 1:
      return None
    part, = with_text
    found = _DOCUMENT_END.search(part.data, part.text_start)
    if found and _text_start(part.data, found.end()) < len(part.data):
      return None
    return part


class Split(NamedTuple):
  """A range of the files laid end to end, in bytes, before it is snapped."""
  start: int
  end: int


class _Boundary(NamedTuple):
  """A place where the corpus may be cut."""
  offset: int  # In the files laid end to end.
  ends_document: bool


class InvalidUtf8(ValueError):
  """Text that is not UTF-8; its message names file, line and byte.

  To count the lines the file is read, when the message is asked for: by who
  shows it, not by a worker process, which can open local files only.

  Args:
    path: the file.
    byte: int, the bad one; offset: int, where in the text it stands.
    place: int, which byte of its line it is, from 1.
    reason: str, what is wrong with it.
  """

  def __init__(self, path, byte, offset, place, reason):
    super().__init__(path, byte, offset, place, reason)  # What is pickled.

  def __str__(self):
    path, byte, offset, place, reason = self.args
    return (
        "%s is not UTF-8: byte 0x%02x at byte offset %d, line %d, byte %d of "
        "that line (%s). Convert the file (e.g. `iconv -t UTF-8`), or pass "
        "--invalid_utf8=replace to drop such bytes." % (
            path, byte, offset, line_number(path, offset), place, reason))


def decode(data, path, offset, invalid_utf8="error"):
  """Decodes UTF-8 text.

  Args:
    data: bytes, whole lines.
    path: the file that they come from, for the error.
    offset: their place in the file, in bytes, for the error.
    invalid_utf8: "error", or "replace" to read each bad byte as U+FFFD (which
      the tokenizer drops).

  Returns:
    str, with every "\\r" deleted.

  Raises:
    InvalidUtf8: the text is not UTF-8.
  """
  try:
    text = data.decode(
        "utf-8", "replace" if invalid_utf8 == "replace" else "strict")
  except UnicodeDecodeError as e:
    line_start = data.rfind(b"\n", 0, e.start) + 1
    raise InvalidUtf8(path, data[e.start], offset + e.start,
                      e.start - line_start + 1, e.reason) from None
  return text.replace("\r", "")


def part_text(part, invalid_utf8="error"):
  """Returns the text of a Part, decoded; see `decode`."""
  return decode(part.data, part.path, part.offset, invalid_utf8)


def chunk_text(chunk, invalid_utf8="error"):
  """Returns the text of a chunk, decoded.

  Args:
    chunk: a Chunk.
    invalid_utf8: see `decode`.

  Returns:
    str of whole lines, each with its end; a blank line is added at the end of
    each file but the last, as it ends a document.
  """
  texts = [part_text(part, invalid_utf8) for part in chunk.parts]
  return "\n".join(
      text if text.endswith("\n") else text + "\n" for text in texts)


def line_number(path, offset):
  """Counts lines up to a byte offset, for an error message.

  Args:
    path: a file, plain or .gz.
    offset: a byte offset into its text.

  Returns:
    The 1-based number of the line that holds the byte.
  """
  number = 1
  with _open_text(path) as stream:
    while offset > 0:
      block = stream.read(min(offset, _BLOCK_BYTES))
      if not block:
        break
      number += block.count(b"\n")
      offset -= len(block)
  return number


def read_texts(path, invalid_utf8="error"):
  """Reads a text file, about a megabyte at a time.

  Args:
    path: a file, plain or .gz.
    invalid_utf8: see `decode`.

  Yields:
    str, whole lines; together they are the file, without its "\\r".

  Raises:
    ValueError: the file cannot be read or is not UTF-8.
  """
  for part in _whole_lines(path):
    yield part_text(part, invalid_utf8)


def read_file(path, invalid_utf8="error"):
  """Reads a text file line by line.

  Args, raises: see `read_texts`.

  Yields:
    str, each line without its end, as file_io.split_lines cuts them.
  """
  for text in read_texts(path, invalid_utf8):
    yield from file_io.split_lines(text)


def document_hashes(text):
  """Hashes each document of a text, whatever its whitespace.

  Args:
    text: str, documents between lines of whitespace; one that is cut at the
      text's end has another hash than the whole one.

  Yields:
    (bytes [8], the document's first words, str).
  """
  for document in _BLANK_LINES.split(text):
    words = " ".join(document.split())
    if words:
      yield (hashlib.blake2b(words.encode("utf-8", "surrogatepass"),
                             digest_size=8).digest(), words[:_SHOWN_CHARACTERS])


def _whole_lines(path):
  """Yields a file as Parts of whole lines, about a block each."""
  offset = 0
  rest = []
  for block in _blocks(path, 0, None):
    end = block.rfind(b"\n") + 1
    if not end:
      rest.append(block)
      continue
    data = b"".join(rest + [block[:end]])
    yield Part(path, offset, data)
    offset += len(data)
    rest = [block[end:]]
  data = b"".join(rest)
  if data:
    yield Part(path, offset, data)


def _is_gzip(path):
  return path.endswith(".gz")


@contextlib.contextmanager
def _open_text(path):
  """Opens a file as a binary stream of its (decompressed) text."""
  with file_io.open_binary(path) as stream:
    if not _is_gzip(path):
      yield stream
    else:
      with gzip.GzipFile(fileobj=stream) as text:
        yield text


def _blocks(path, start, end, block_bytes=None, raw=False):
  """Yields a file's text from byte `start` to `end` (None: all) in blocks.

  The first one has `block_bytes`, each further one twice as many up to
  _BLOCK_BYTES. With `raw` a .gz file is not decompressed.
  """
  block_bytes = block_bytes or _BLOCK_BYTES
  left = float("inf") if end is None else end - start
  try:
    with (file_io.open_binary(path) if raw else _open_text(path)) as stream:
      if start:
        stream.seek(start)
      while left > 0:
        block = stream.read(int(min(left, block_bytes)))
        if not block:
          break
        left -= len(block)
        yield block
        block_bytes = min(2 * block_bytes, _BLOCK_BYTES)
  except (OSError, EOFError, zlib.error) as e:
    raise ValueError("%s cannot be read: %s" % (path, e)) from e


class Corpus:
  """The input files, cut into splits and chunks.

  Args:
    files: list of str; a file that is named again is taken once.
    chunk_lines: lines a chunk has at the least (the last one of a split aside).
    num_hosts: how many hosts share the corpus; a small one is cut into finer
      splits for several.
    split_bytes: size of a split; None chooses a megabyte or so.

  Attributes:
    files: list of str.
    sizes: list of int, bytes on disk of each file.
    num_bytes: their sum.

  Raises:
    ValueError: a file cannot be read, there is none, or all are empty.
  """

  def __init__(self, files, *, chunk_lines=1000, num_hosts=1,
               split_bytes=None):
    if chunk_lines < 1:
      raise ValueError("--chunk_lines=%d is out of range: it must be at least "
                       "1." % chunk_lines)
    self.files = list(dict.fromkeys(files))
    self.chunk_lines = chunk_lines
    self.sizes = [_readable_size(path) for path in self.files]
    self.num_bytes = sum(self.sizes)
    if not self.num_bytes:
      raise ValueError(
          "The corpus is empty: %s." %
          (", ".join("%s has 0 bytes" % f for f in self.files) or "no file"))
    self._starts = [0]  # Of each file, and the end, in the files end to end.
    for size in self.sizes:
      self._starts.append(self._starts[-1] + size)
    self.split_bytes = split_bytes or self._choose_split_bytes(num_hosts)
    self.num_cut_documents = 0
    # (file number, from, to): known to hold no document's end; infinity is the
    # file's.
    self._without_end: Tuple[int, int, float] = (-1, 0, 0)
    self._compression: Dict[str, float] = {}
    self._is_one_document = self._warned_of_one_document = False

  def _choose_split_bytes(self, num_hosts):
    size = max(SPLIT_BYTES, self.chunk_lines * LINE_BYTES)
    if num_hosts == 1:
      return size
    fair = self.num_bytes // (num_hosts * MIN_SPLITS_PER_HOST)
    return max(MIN_SPLIT_BYTES, min(size, fair))

  def fingerprint(self):
    """Describes the text by what a changed corpus would change.

    Times, names and folders do not count: a corpus may be copied to another
    machine.

    Returns:
      dict: `files` and `bytes`, their numbers; `sizes`, a digest of the files'
      sizes in their order; `text`, a digest of blocks spread over them.

    Raises:
      ValueError: a file cannot be read.
    """
    sizes = hashlib.sha256(repr(self.sizes).encode("ascii")).hexdigest()
    text = hashlib.sha256()
    step = max(1, self.num_bytes // _FINGERPRINT_BLOCKS)
    for place in range(0, self.num_bytes, step):
      index = bisect.bisect_right(self._starts, place) - 1
      start = place - self._starts[index]
      end = min(start + _FINGERPRINT_BYTES, self.sizes[index])
      for block in _blocks(self.files[index], start, end, raw=True):
        text.update(block)
    return {
        "files": len(self.files), "bytes": self.num_bytes,
        "sizes": sizes[:16], "text": text.hexdigest()[:16],
    }

  def splits(self) -> List[Split]:
    """Returns all splits in the files' order; together they are the corpus.

    A .gz file, which can't be cut, is in one split as a whole.
    """
    found = []
    start = 0
    for end in range(self.split_bytes, self.num_bytes, self.split_bytes):
      index = bisect.bisect_right(self._starts, end) - 1
      if _is_gzip(self.files[index]) and end > self._starts[index]:
        end = self._starts[index + 1]
      if start < end < self.num_bytes:
        found.append(Split(start, end))
        start = end
    found.append(Split(start, self.num_bytes))
    return found

  def num_bytes_on_disk(self, chunk) -> float:
    """Returns a chunk's bytes; of .gz files about what they take compressed."""
    total = 0.0
    for path, _, data in chunk.parts:
      if _is_gzip(path) and path not in self._compression:
        self._compression[path] = len(zlib.compress(data)) / max(1, len(data))
      total += len(data) * self._compression.get(path, 1.0)
    return total

  def chunks(self, split: Split) -> Iterator[Chunk]:
    """Reads a split's chunks.

    Every line of the corpus is in exactly one chunk of exactly one split.

    Args:
      split: one of `splits()`.

    Yields:
      Chunk, in the order of the text.

    Raises:
      ValueError: a file cannot be read.
    """
    start, end = self._boundary(split.start), self._boundary(split.end)
    parts: List[Part] = []
    lines = first = 0
    for index, lo, hi in self._ranges(start.offset, end.offset):
      cutter = _Cutter(self.files[index], lo, hi)
      while True:
        piece = cutter.cut(self.chunk_lines - lines)
        if piece is None:
          break
        if not parts:
          first = index
        parts.append(piece.part)
        lines += piece.num_lines
        if lines >= self.chunk_lines:
          yield Chunk(first, parts)
          parts, lines = [], 0
          if not piece.ends_document:
            self._note_cut(index, piece.part.offset + len(piece.part.data))
    if parts:
      yield Chunk(first, parts)
    if not end.ends_document and start.offset < end.offset:
      index = bisect.bisect_right(self._starts, end.offset) - 1
      self._note_cut(index, end.offset - self._starts[index])

  def lend(self, chunk, rng) -> Chunk:
    """Gives a chunk of one document lines of others, if the corpus has any.

    A text that does not follow has to come from another document than the
    chunk's, of which the chunk may be a part only.

    Args:
      chunk: one of this corpus.
      rng: random.Random, says from where; the result is a pure function of the
        corpus, the chunk and its state.

    Returns:
      The chunk with `borrowed` set; as it is, if it needs none or, with a
      warning, there is none.

    Raises:
      ValueError: a file cannot be read.
    """
    own = chunk.only_document
    if own is None or self._is_one_document:
      return chunk
    for _ in range(_LENDING_TRIES):
      part = self._text_at(int(rng.random() * self.num_bytes), own)
      if part:
        return chunk._replace(borrowed=part)
    part = self._nearest_other(own)
    if not part:
      if not self._warned_of_one_document:
        self._warned_of_one_document = True
        logger.warning(
            "There is no document in reach but the one of %s: its next "
            "sentences are always the true ones. Are blank lines between "
            "documents missing?", own.path)
    return chunk._replace(borrowed=part)

  def _text_at(self, offset, own) -> Optional[Part]:
    """Returns lines near an offset if they are of other documents than the one
    of the Part `own` for sure."""
    index = bisect.bisect_right(self._starts, offset) - 1
    start, starts_document = 0, True
    if not _is_gzip(self.files[index]):
      start, starts_document = self._boundary(offset)
      start -= self._starts[index]
    if self.files[index] != own.path:
      return self._lines_at(index, start)
    own_start = own.offset + own.text_start
    if not starts_document or start > own_start:
      # A document that starts behind the chunk's start is another one.
      return self._lines_at(index, start) if starts_document else None
    # One that starts before is another one if it ends before, too.
    end = self._document_end(index, start, min(own_start, start + _LENT_BYTES))
    return self._lines_at(index, start, end) if end else None

  def _nearest_other(self, own) -> Optional[Part]:
    """Returns lines of another file than the Part `own`, or else of another
    document of this one; None if there is none."""
    index = self.files.index(own.path)
    for other in range(index + 1, index + len(self.files)):
      part = self._lines_at(other % len(self.files), 0)
      if part:
        return part
    start = _text_start(b"".join(_blocks(own.path, 0, _LENT_BYTES)), 0)
    end = self._document_end(index, start, own.offset)
    if end:
      return self._lines_at(index, start, end)
    # It may end with the blank line that ends its document.
    found = _DOCUMENT_END.search(own.data, own.text_start)
    text_end = own.offset + (found.start() if found else len(own.data) - 1)
    end = self._document_end(index, text_end, None)
    self._is_one_document = self._without_end == (index, start, float("inf"))
    return self._lines_at(index, end) if end else None

  def _document_end(self, index, start, stop) -> Optional[int]:
    """Returns where the document at a place of a file ends.

    Args:
      index: int, number of the file.
      start: int, byte to search from; stop: int, last place that counts, or
        None for the file's end.

    Returns:
      int, where the next document starts; None if none does up to `stop`, or in
      _SEARCH_BYTES.
    """
    known, low, high = self._without_end
    searched = high if known == index and low <= start <= high else start
    # From `start` on: what is known already must not change what is found.
    limit = start + _SEARCH_BYTES
    if stop is not None:
      limit = min(stop, limit)
    if searched >= limit:
      return None
    at, rest = searched, b""
    # One byte more shows that something follows the blank lines.
    for block in _blocks(self.files[index], searched, limit + 1):
      block = rest + block
      found = _DOCUMENT_END.search(block)
      end = found and found.end()
      if end and end < len(block):
        return at + end
      # Blank lines that go on, or one that has just begun.
      rest = block[-min(1024, len(block) - len(block.rstrip()) + 1):]
      at += len(block) - len(rest)
    if at + len(rest) <= limit:
      at = float("inf")  # The file ends here.
    if known == index and start <= high and low <= at:
      start, at = min(start, low), max(at, high)
    self._without_end = index, start, at
    return None

  def _lines_at(self, index, start, end=None) -> Optional[Part]:
    """Returns whole lines of a file from the start of one on, some _LENT_BYTES
    and up to `end` at the most; None if there is no text in them."""
    limit = start + _LENT_BYTES
    if end is not None and end <= limit:
      limit = end
    data = b"".join(_blocks(self.files[index], start, limit))
    if len(data) == _LENT_BYTES:
      data = data[:data.rfind(b"\n") + 1]
    part = Part(self.files[index], start, data)
    return part if part.text_start < len(data) else None

  def _note_cut(self, index, offset):
    """Counts cuts through documents; warns of the first and of some more.

    Args:
      index: int, number of the file; offset: int, where in it the cut is.
    """
    self.num_cut_documents += 1
    count = str(self.num_cut_documents)
    if count.strip("0") == "1":  # The first, the tenth, the hundredth ...
      logger.warning(
          "A document in %s goes on for more than %d bytes beyond its chunk; "
          "it is cut at the end of a line, at byte %d (cut number %s). Are "
          "blank lines between documents missing?", self.files[index],
          CARRY_BYTES, offset, count)

  def _ranges(self, start, end):
    """Yields (file number, from byte, to byte or None) of a snapped range."""
    index = max(0, bisect.bisect_right(self._starts, start) - 1)
    while index < len(self.files) and self._starts[index] < end:
      base = self._starts[index]
      if _is_gzip(self.files[index]):
        yield index, 0, None
      else:
        lo = max(start - base, 0)
        hi = min(end - base, self.sizes[index])
        if lo < hi:
          yield index, lo, hi
      index += 1

  def _boundary(self, offset) -> _Boundary:
    """Snaps an offset to where the corpus may be cut: a pure function of it.

    That is the first document boundary behind it within CARRY_BYTES, else the
    last end of a line in these, or the next one behind them; a file's start is
    one, and a .gz file has none inside.
    """
    if offset >= self.num_bytes:
      return _Boundary(self.num_bytes, True)
    index = bisect.bisect_right(self._starts, offset) - 1
    base, after = self._starts[index], self._starts[index + 1]
    if offset == base:
      return _Boundary(offset, True)
    if _is_gzip(self.files[index]):
      return _Boundary(after, True)
    cutter = _Cutter(self.files[index], offset - base - 1, self.sizes[index],
                     _BOUNDARY_BLOCK_BYTES)
    piece = cutter.cut(1)
    if piece is None or cutter.at_end():
      return _Boundary(after, True)
    return _Boundary(
        base + piece.part.offset + len(piece.part.data), piece.ends_document)


def _readable_size(path):
  """Returns a file's size, or says in one sentence why it can't be read."""
  try:
    with file_io.open_binary(path) as stream:
      stream.read(1)
    return file_io.size(path)
  except OSError as e:
    raise ValueError("Input file %s cannot be read: %s" % (path, e)) from e


class _Piece(NamedTuple):
  """Lines that were cut off a range of a file."""
  part: Part
  num_lines: int
  ends_document: bool


class _Cutter:
  """Cuts a byte range of a file into runs of whole lines.

  Holds one run and a block in memory, not the range.
  """

  def __init__(self, path, start, end, block_bytes=None):
    self._path = path
    self._blocks = _blocks(path, start, end, block_bytes)
    self._buffer = b""
    self._buffer_offset = start  # Of the buffer, in the file.
    self._start = 0  # What is not yet cut off begins here in the buffer.

  def at_end(self) -> bool:
    """Tells whether nothing is left to cut."""
    return self._start == len(self._buffer) and not self._fill()

  def cut(self, num_lines) -> Optional[_Piece]:
    """Cuts off `num_lines` lines and the rest of the document they end in.

    Args:
      num_lines: int, 1 or more.

    Returns:
      A _Piece; the end of the range also ends a document. None at the end.
    """
    if self._start >= _BLOCK_BYTES:
      self._buffer = self._buffer[self._start:]
      self._buffer_offset += self._start
      self._start = 0
    if self.at_end():
      return None
    position, count = self._skip_lines(num_lines)
    if count < num_lines:
      return self._take(len(self._buffer), count, True)
    return self._carry_on(position, count)

  def _skip_lines(self, num_lines):
    """Returns (the place behind that many lines, how many there were)."""
    position = searched = self._start
    count = 0
    while count < num_lines:
      end = self._buffer.find(b"\n", searched)
      if end >= 0:
        position = searched = end + 1
        count += 1
        continue
      searched = len(self._buffer)
      if searched - position > MAX_LINE_BYTES:
        raise ValueError(
            "%s has no line end in the %d bytes from byte %d on. Lines end at "
            "\"\\n\" (not at \"\\r\" alone), one sentence a line." %
            (self._path, searched - position, self._buffer_offset + position))
      if not self._fill():
        # The rest of the file is a line without an end.
        return len(self._buffer), count + (position < len(self._buffer))
    return position, count

  def _carry_on(self, position, count):
    """Takes all to the end of the document within the cap, else to `position`.

    `position` stands behind the line end that the document may end with.
    """
    searched = position - 1
    while True:
      limit = position + CARRY_BYTES
      found = _DOCUMENT_END.search(self._buffer, searched, limit)
      # A match at the buffer's end may go on in the next block.
      if found and (found.end() < len(self._buffer) or not self._fill()):
        end = found.end()
        return self._take(end, count + self._buffer.count(b"\n", position, end),
                          True)
      if found:
        continue
      if len(self._buffer) >= limit:
        end = self._buffer.rfind(b"\n", position, limit) + 1 or position
        return self._take(end, count + self._buffer.count(b"\n", position, end),
                          False)
      if not self._fill():
        rest = self._buffer.count(b"\n", position)
        return self._take(len(self._buffer), count + rest, True)

  def _fill(self):
    """Reads one more block; False at the end of the range."""
    block = next(self._blocks, b"")
    self._buffer += block
    return bool(block)

  def _take(self, end, num_lines, ends_document):
    """Cuts off what is not yet cut off up to `end` in the buffer."""
    part = Part(self._path, self._buffer_offset + self._start,
                self._buffer[self._start:end])
    self._start = end
    return _Piece(part, num_lines, ends_document)
