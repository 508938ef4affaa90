"""The corpus: input files -> splits -> chunks of lines.

A corpus is a list of text files in one of the formats of readers.py; see
text_lines.py for what is in them. It is divided into three units:

* a **split** is a byte range, of about a megabyte, of the concatenated files,
  aligned to document boundaries. Splits need nothing but the files' sizes, so
  a corpus of any size is planned without a pass over it. They are the unit of
  shuffling over the whole corpus and of sharding over hosts.
* a **chunk** is 1000 consecutive lines of a split, extended to the end of the
  document that contains the last of them: what is turned into examples at once.
* a **document** longer than the cap (CARRY_BYTES beyond the 1000 lines) is cut.

This module knows nothing of tokens or TensorFlow.
"""

import bisect
import copy
import hashlib
import itertools
import logging
from typing import Iterator, List, NamedTuple, Optional, Tuple

from bert_e2e.common import file_io
from bert_e2e.common.digests import digest
from bert_e2e.config import ReaderConfig, check_value
from bert_e2e.data import line_cutter, readers, records, text_lines
from bert_e2e.data.text_lines import DOCUMENT_END, Part

logger = logging.getLogger(__name__)

SPLIT_BYTES = 1 << 20
# Splits are large enough for a chunk of lines of this length.
LINE_BYTES = 1 << 10
# With fewer splits per host than this, hosts would share a corpus unevenly.
MIN_SPLITS_PER_HOST = 8
MIN_SPLIT_BYTES = 1 << 12
# A boundary is mostly near, so reading a whole block to find it is a waste.
_BOUNDARY_BLOCK_BYTES = 1 << 14

# A fingerprint covers so many blocks, spread evenly, of so many bytes.
_FINGERPRINT_BLOCKS = 64
_FINGERPRINT_BYTES = 1 << 12


class Chunk(NamedTuple):
  """The lines that are turned into examples at once.

  Attributes:
    file_index: int, the number in the corpus of its first part's file.
    parts: list of Part; more than one if files are small. The end of a file
      ends a document.
    borrowed: None or, for a chunk of a single document, a Part with text of
      other documents, which does not belong to the chunk (see lending.py).
  """
  file_index: int
  parts: List[Part]
  borrowed: Optional[Part] = None

  @property
  def key(self) -> Tuple[int, int]:
    """(file number, byte offset): identifies the chunk within the corpus."""
    return self.file_index, self.parts[0].offset

  @property
  def num_bytes(self) -> int:
    """Bytes of its text."""
    return sum(len(part.data) for part in self.parts)

  @property
  def only_document(self) -> Optional[Part]:
    """The part with all of its text if that is one document; else None."""
    with_text = [part for part in self.parts if part.has_text]
    if len(with_text) != 1:
      return None
    part, = with_text
    found = DOCUMENT_END.search(part.data, part.text_start)
    if found and text_lines.text_start(
        part.data, found.end()) < len(part.data):
      return None
    return part


def chunk_text(chunk, options=ReaderConfig()):
  """Returns the text of a chunk, decoded.

  Args:
    chunk: a Chunk.
    options: config.ReaderConfig.

  Returns:
    str of whole lines, each with its end; a blank line is added at the end of
    each file but the last, because it ends a document.
  """
  texts = [text_lines.part_text(part, options) for part in chunk.parts]
  return "\n".join(
      text if text.endswith("\n") else text + "\n" for text in texts)


class Split(NamedTuple):
  """A byte range of the concatenated files, not yet aligned to documents."""
  start: int
  end: int


class Boundary(NamedTuple):
  """A place where the corpus may be cut.

  Attributes:
    offset: int, in the concatenated files.
    ends_document: bool, whether a document ends there.
  """
  offset: int
  ends_document: bool


class Corpus:
  """The input files, divided into splits and chunks.

  Args:
    files: list of str; a file that is named again is taken once.
    chunk_lines: int, the least number of lines of a chunk (except the last one
      of a split).
    num_hosts: int, how many hosts share the corpus; a small corpus is divided
      into finer splits for several.
    split_bytes: int, size of a split; None chooses a megabyte or so.
    reader: config.ReaderConfig, how the files are read.

  Attributes:
    files: list of str.
    texts: list of readers.TextFile, in the order of `files`.
    sizes: list of int, bytes on disk of each file.
    starts: list of int, the offset of each file in the concatenated files, and
      the end of the last one.
    num_bytes: int, the sum of the sizes.
    num_cut_documents: int, how often `chunks` has cut a document so far.
    skips: records.SkipLog of the records that `chunks` has left out so far.

  Raises:
    ValueError: a file can't be read or is not text, there is none, or all are
      empty.
  """

  def __init__(self, files, *, chunk_lines=1000, num_hosts=1,
               split_bytes=None, reader=ReaderConfig()):
    check_value("chunk_lines", chunk_lines)
    self.files = list(dict.fromkeys(files))
    self.chunk_lines = chunk_lines
    # Which also checks that the files are text that can be read.
    self.texts = [readers.text_file(path, reader) for path in self.files]
    self._text_of = dict(zip(self.files, self.texts))
    self.sizes = [_size(path) for path in self.files]
    self.starts = [0, *itertools.accumulate(self.sizes)]
    self.num_bytes = self.starts[-1]
    if not self.num_bytes:
      raise ValueError(
          "The corpus is empty: %s." %
          (", ".join("%s has 0 bytes" % f for f in self.files) or "no file"))
    self._fixed_split_bytes = split_bytes
    self._split_bytes = self._choose_split_bytes(num_hosts)
    self.num_cut_documents = 0
    self.skips = records.SkipLog()

  def with_num_hosts(self, num_hosts) -> "Corpus":
    """Returns the same files, not opened again, for another number of hosts."""
    other = copy.copy(self)
    other._split_bytes = self._choose_split_bytes(num_hosts)
    other.num_cut_documents = 0
    other.skips = records.SkipLog()
    return other

  def _choose_split_bytes(self, num_hosts):
    if self._fixed_split_bytes:
      return self._fixed_split_bytes
    size = max(SPLIT_BYTES, self.chunk_lines * LINE_BYTES)
    if num_hosts == 1:
      return size
    fair = self.num_bytes // (num_hosts * MIN_SPLITS_PER_HOST)
    return max(MIN_SPLIT_BYTES, min(size, fair))

  def fingerprint(self):
    """Describes the text, so that a changed corpus can be detected.

    Times, names and directories do not count: a corpus may be copied to another
    machine.

    Returns:
      dict: `files` and `bytes`, their numbers; `sizes`, a digest of the files'
      sizes in order; `text`, a digest of blocks spread over them.

    Raises:
      ValueError: a file can't be read.
    """
    text = hashlib.sha256()
    step = max(1, self.num_bytes // _FINGERPRINT_BLOCKS)
    for place in range(0, self.num_bytes, step):
      index, start = self.locate(place)
      end = min(start + _FINGERPRINT_BYTES, self.sizes[index])
      text.update(readers.read_raw(self.files[index], start, end))
    return {
        "files": len(self.files), "bytes": self.num_bytes,
        "sizes": digest(repr(self.sizes)), "text": text.hexdigest()[:16],
    }

  def formats(self) -> str:
    """Describes the formats of the files, so that another one can be detected.

    Returns:
      str: the names of the formats, with a digest of each file's if there are
      several; "" if all files are plain text.
    """
    names = [file.format.name for file in self.texts]
    if not any(file.has_records for file in self.texts):
      return ""
    found = ", ".join(sorted(set(names)))
    if len(set(names)) == 1:
      return found
    return "%s (%s)" % (found, digest(" ".join(names)))

  def splits(self) -> List[Split]:
    """Returns all splits in the files' order; together they are the corpus.

    A file that can't be split is in one split as a whole.
    """
    found = []
    start = 0
    for end in range(self._split_bytes, self.num_bytes, self._split_bytes):
      index, offset = self.locate(end)
      if offset and not self.texts[index].is_splittable:
        end = self.starts[index + 1]
      if start < end < self.num_bytes:
        found.append(Split(start, end))
        start = end
    found.append(Split(start, self.num_bytes))
    return found

  def chunks(self, split: Split) -> Iterator[Chunk]:
    """Reads a split's chunks.

    Every line of the corpus is in exactly one chunk of exactly one split.

    Args:
      split: one of `splits()`.

    Yields:
      Chunk, in the order of the text.

    Raises:
      ValueError: a file can't be read, or a record has no text.
    """
    start, end = self.boundary(split.start), self.boundary(split.end)
    parts: List[Part] = []
    lines = first = 0
    for index, low, high in self._ranges(start.offset, end.offset):
      cutter = line_cutter.LineCutter(
          self.texts[index], low, high, on_skip=self.skips)
      while True:
        run = cutter.cut(self.chunk_lines - lines)
        if run is None:
          break
        if not parts:
          first = index
        parts.append(run.part)
        lines += run.num_lines
        if lines >= self.chunk_lines:
          yield Chunk(first, parts)
          parts, lines = [], 0
          if not run.ends_document:
            self._count_cut(index, run.part.offset + len(run.part.data))
    if parts:
      yield Chunk(first, parts)
    if not end.ends_document and start.offset < end.offset:
      self._count_cut(*self.locate(end.offset))

  def locate(self, offset) -> Tuple[int, int]:
    """Returns (number of the file, byte in it) of an offset in the concatenated
    files."""
    index = bisect.bisect_right(self.starts, offset) - 1
    return index, offset - self.starts[index]

  def text_of(self, path) -> readers.TextFile:
    """Returns the TextFile of one of the files."""
    return self._text_of[path]

  def boundary(self, offset) -> Boundary:
    """Aligns an offset to where the corpus may be cut: a pure function of it.

    That is the first document boundary after it within CARRY_BYTES, else the
    last line end within these, or the next one after them. In JSON lines it is
    the next line end, because a record is a document. A file's start is a
    boundary, and a file that can't be split has none inside.
    """
    if offset >= self.num_bytes:
      return Boundary(self.num_bytes, True)
    index, within = self.locate(offset)
    if not within:
      return Boundary(offset, True)
    start, end = self.starts[index:index + 2]
    file = self.texts[index]
    if not file.is_splittable:
      return Boundary(end, True)
    if file.splits_by_record:
      return Boundary(start + file.next_record(within), True)
    cutter = line_cutter.LineCutter(
        file, within - 1, self.sizes[index], _BOUNDARY_BLOCK_BYTES)
    run = cutter.cut(1)
    if run is None or cutter.at_end():
      return Boundary(end, True)
    return Boundary(start + run.part.offset + len(run.part.data),
                    run.ends_document)

  def _ranges(self, start, end):
    """Yields (file number, from byte, to byte or None) of an aligned range."""
    index = max(0, bisect.bisect_right(self.starts, start) - 1)
    while index < len(self.files) and self.starts[index] < end:
      base = self.starts[index]
      if not self.texts[index].is_splittable:
        yield index, 0, None
      else:
        low = max(start - base, 0)
        high = min(end - base, self.sizes[index])
        if low < high:
          yield index, low, high
      index += 1

  def _count_cut(self, index, offset):
    """Counts documents that are cut; warns of the first, the tenth and so on.

    Args:
      index: int, number of the file; offset: int, where in it the cut is.
    """
    self.num_cut_documents += 1
    if records.is_power_of_ten(self.num_cut_documents):
      logger.warning(
          "A document in %s extends more than %d bytes beyond its chunk, so it "
          "is cut at a line end, at byte %d (cut number %d).%s",
          self.files[index], line_cutter.CARRY_BYTES, offset,
          self.num_cut_documents,
          "" if self.texts[index].has_records else
          " Are blank lines between documents missing?")


def _size(path):
  """Returns a file's size in bytes; raises a ValueError if that fails."""
  try:
    return file_io.size(path)
  except OSError as e:
    raise ValueError("%s cannot be read: %s" % (path, e)) from e
