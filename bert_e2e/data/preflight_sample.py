"""Samples the text of a corpus: a few megabytes, spread evenly over it.

A small corpus is taken as a whole: its chunks and what they borrow are those of
the stream's first epoch. Of a larger one the text after each of some evenly
spread offsets is read, aligned to document boundaries if these are near. Each
place stands for an equal part of the bytes on disk.

A file that can't be split is sampled at its start.
"""

import bisect
import collections
from typing import Dict, List, NamedTuple, Optional, Tuple

from bert_e2e.common import file_io
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import lending, readers
from bert_e2e.data.example_builder import derived_rng
from bert_e2e.data.text_lines import Part

_PLACES = 64
_GOLDEN_RATIO = 0.6180339887498949
# Files that are opened for the text of one place, at most.
_FILES_PER_PLACE = 64
# A document boundary is near if it is within this fraction of a place's text.
_NEAR = 0.25
# If no document ends in a sample, one is searched in so many bytes after each
# of so many places.
_SEARCHED_PLACES = 16
_SEARCHED_BYTES = 1 << 20


class Sample(NamedTuple):
  """Text of the corpus.

  Attributes:
    chunk: corpus.Chunk.
    weight: float, how many like it the corpus contains.
    starts_document, ends_document: bool, whether a document starts at its start
      and ends at its end.
    num_documents: float, how many documents start in that much text; None if
      all that do are in it. (The sample may be aligned to documents, so this is
      counted in what was read.)
  """
  chunk: corpus_lib.Chunk
  weight: float = 1.0
  starts_document: bool = True
  ends_document: bool = True
  num_documents: Optional[float] = None


def take(corpus, random_seed, max_bytes, needs_other_documents=True) -> (
    Tuple[List[Sample], bool]):
  """Samples a corpus.

  Args:
    corpus: corpus.Corpus.
    random_seed: int, of the stream.
    max_bytes: int, the most text to sample; a corpus with no more is taken as a
      whole.
    needs_other_documents: bool, see instances.Pairing.

  Returns:
    (list of Sample, whether they are the whole corpus).

  Raises:
    ValueError: a file can't be read.
  """
  if _fits(corpus, max_bytes):
    return _whole(corpus, random_seed, needs_other_documents), True
  return _spread(corpus, max_bytes), False


def _read(path, start, size):
  """Returns (`size` bytes of a file's text from `start`, whether it ends).
  """
  data = readers.read_text(path, start, size + 1)
  return data[:size], len(data) <= size


def _fits(corpus, max_bytes):
  """Returns whether the text of a corpus has at most `max_bytes` bytes."""
  left = max_bytes
  if corpus.num_bytes > left:
    return False
  for index, size in enumerate(corpus.sizes):
    if not corpus.is_splittable(index):
      data, at_end = _read(corpus.files[index], 0, left)
      if not at_end:
        return False
      size = len(data)
    left -= size
    if left < 0:
      return False
  return True


def _whole(corpus, random_seed, needs_other_documents):
  """Returns a corpus as Samples: the chunks of its first epoch."""
  lender = lending.Lender(corpus, needs_other_documents)
  chunks = [chunk for split in corpus.splits()
            for chunk in corpus.chunks(split)]
  return [
      Sample(lender.lend(chunk, derived_rng(
          random_seed, 0, "lend", *chunk.key)))
      for chunk in chunks
  ]


def _places(corpus, count):
  """Returns places in a corpus, one in each of `count` equal parts of it.

  They are not equidistant, because a text may be periodic.

  Args:
    corpus: corpus.Corpus; count: int.

  Returns:
    dict from (number of a file, offset in it) to the number of parts that the
    place stands for: a file that can't be split has one place, its start.
  """
  places: Dict[Tuple[int, int], int] = collections.defaultdict(int)
  for part in range(count):
    within = (0.5 + part * _GOLDEN_RATIO) % 1
    place = int((part + within) * corpus.num_bytes / count)
    index = bisect.bisect_right(corpus.starts, place) - 1
    offset = place - corpus.starts[index]
    places[index, offset if corpus.is_splittable(index) else 0] += 1
  return places


def _spread(corpus, max_bytes):
  """Returns Samples that are spread evenly over a corpus.

  Args:
    corpus: corpus.Corpus.
    max_bytes: int, of text, all together.

  Raises:
    ValueError: a file can't be read.
  """
  found = []
  for (index, offset), count in _places(corpus, _PLACES).items():
    sample, on_disk = _text_after(
        corpus, index, offset, count * max(1, max_bytes // _PLACES))
    if on_disk:
      found.append((sample, count, on_disk))
  part = corpus.num_bytes / max(1, sum(count for _, count, _ in found))
  samples = [sample._replace(weight=count * part / on_disk)
             for sample, count, on_disk in found]
  return _with_borrowed(samples) if _has_several_documents(
      corpus, max_bytes) else samples


def _has_several_documents(corpus, max_bytes):
  """Returns whether a corpus has several documents, as far as samples show.

  They may show none at as many bytes as are sampled; then some megabytes at
  fewer places are searched.
  """
  if len(corpus.files) > 1:
    return True
  path = corpus.files[0]
  for num_places, size in ((_PLACES, max_bytes // _PLACES),
                           (_SEARCHED_PLACES, _SEARCHED_BYTES)):
    for (_, offset), count in _places(corpus, num_places).items():
      data, _ = _read(path, offset, count * size)
      if _count_document_starts(data, not offset) > (not offset):
        return True
  return False


def _text_after(corpus, index, offset, size):
  """Reads the text after a place, across the ends of files.

  Args:
    corpus: corpus.Corpus.
    index: int, number of a file; offset: int, byte of its text.
    size: int, bytes to read.

  Returns:
    (Sample of `size` bytes or fewer, about how many bytes it takes on disk).

  Raises:
    ValueError: a file can't be read.
  """
  parts: List[Part] = []
  on_disk, num_starts, num_read = 0.0, 0, 0
  starts_document, near = not offset, int(_NEAR * size)
  for number in range(index, min(index + _FILES_PER_PLACE, len(corpus.files))):
    path = corpus.files[number]
    data, at_end = _read(path, offset, size - num_read)
    num_read += len(data)
    num_starts += _count_document_starts(data, not offset)
    part, starts, ends_document = _align(Part(path, offset, data), at_end, near)
    if part.data:
      starts_document = starts if not parts else starts_document
      parts.append(part)
      on_disk += _bytes_on_disk(
          part, corpus.sizes[number], at_end and not offset)
    if not at_end or num_read >= size:
      break
    offset = 0
  chunk = corpus_lib.Chunk(index, parts)
  return Sample(
      chunk, 1.0, starts_document, ends_document,
      num_starts * chunk.num_bytes / max(1, num_read)), on_disk


def _count_document_starts(data, is_start):
  """Counts how often text begins after a blank line, or at a file's start.

  Args:
    data: bytes of a file.
    is_start: bool, whether they are its start; else their first line is the
      rest of one.
  """
  lines = file_io.split_lines(data)
  blanks = [is_start, *map(_is_blank, lines[not is_start:])]
  return sum(before and not blank
             for before, blank in zip(blanks, blanks[1:]))


def _bytes_on_disk(part, size, is_all):
  """Returns how many bytes a part takes on disk; an estimate if the file can't
  be split.

  Args:
    part: Part, not empty.
    size: int, bytes of its file on disk; is_all: bool, whether it is all of it.

  Raises:
    ValueError: the file can't be read.
  """
  kind = readers.format_of(part.path)
  num_bytes = len(part.data)
  if is_all or kind.is_splittable:
    return size if is_all else num_bytes
  text_bytes = size * num_bytes / len(kind.compress(part.data))
  stated = kind.stated_text_bytes(part.path, size)
  if stated and 0.75 * text_bytes <= stated <= 4 * text_bytes:
    text_bytes = stated
  return size * num_bytes / text_bytes


def _align(part, at_end, near):
  """Cuts what was read of a file to whole lines or, if near, to documents.

  Args:
    part: Part; it may start and end within a line.
    at_end: bool, whether the file ends with it.
    near: int, bytes within which a document boundary is near.

  Returns:
    (Part, whether a document starts with it, whether one ends with it). The
    part is empty if it is the rest of a file, or the start of one, without a
    document and not longer than `near`. One without a whole line stays as it
    is, except for incomplete characters.
  """
  data = part.data
  start, starts = 0, not part.offset
  end, ends = len(data), at_end
  if not starts:
    start, starts = _document_start(data, near)
  if not at_end:
    end, ends = _document_end(data, near)
  is_short = len(data) <= near
  if start < end and (starts and ends or not is_short):
    return part._replace(offset=part.offset + start,
                         data=data[start:end]), starts, ends
  if at_end or is_short:
    return part._replace(data=b""), True, True
  return part._replace(
      data=data.decode("utf-8", "ignore").encode("utf-8")), False, False


def _is_blank(line):
  return not line.decode("utf-8", "replace").strip()


def _document_start(data, near):
  """Returns (offset of the first line start, whether a document starts there):
  that of the first document if it is near."""
  first = place = data.find(b"\n") + 1
  while 0 < place <= near:
    end = data.find(b"\n", place) + 1
    if end and _is_blank(data[place:end]):
      return end, True
    place = end
  return first or len(data), False


def _document_end(data, near):
  """Returns (offset of the last line end, whether a document ends there): that
  of the last document if it is near."""
  last = place = data.rfind(b"\n") + 1
  while place > max(0, len(data) - near):
    start = data.rfind(b"\n", 0, place - 1) + 1
    if _is_blank(data[start:place]):
      return place, True
    place = start
  return last, False


def _with_borrowed(samples):
  """Returns Samples; each with one document only borrows lines of the next one.

  lending.Lender, which does this for the stream, might read much of the corpus.
  """
  texts = [next((part for part in sample.chunk.parts if part.has_text), None)
           for sample in samples]
  found = []
  for i, sample in enumerate(samples):
    if sample.chunk.only_document:
      others = texts[i + 1:] + texts[:i]
      sample = sample._replace(chunk=sample.chunk._replace(
          borrowed=next(filter(None, others), None)))
    found.append(sample)
  return found
