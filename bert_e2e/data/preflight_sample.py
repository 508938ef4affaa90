"""Samples the text of a corpus: a few megabytes, spread evenly over it.

A small corpus is taken as a whole: its chunks and what they borrow are those of
the stream's first epoch. Of a larger one the text after each of some evenly
spread offsets is read, aligned to document boundaries if these are near. Each
place stands for an equal part of the bytes on disk.

A file that can't be split is sampled at its start. In JSON lines, a place in a
record stands for the same place in its text (see record_places.py).
"""

import bisect
import collections
from typing import Dict, List, NamedTuple, Optional, Tuple

from bert_e2e.common import file_io
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import lending, record_places, records
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
    num_skipped: int, records without a text that were left out of it.
  """
  chunk: corpus_lib.Chunk
  weight: float = 1.0
  starts_document: bool = True
  ends_document: bool = True
  num_documents: Optional[float] = None
  num_skipped: int = 0


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


def _read(file, start, size, on_skip=None):
  """Returns (`size` bytes of the text of a readers.TextFile from `start`,
  whether it ends)."""
  data = b"".join(file.read_blocks(start, start + size + 1, on_skip=on_skip))
  return data[:size], len(data) <= size


def _fits(corpus, max_bytes):
  """Returns whether the text of a corpus has at most `max_bytes` bytes."""
  left = max_bytes
  if corpus.num_bytes > left:
    return False
  for index, size in enumerate(corpus.sizes):
    if not corpus.texts[index].is_splittable:
      data, at_end = _read(corpus.texts[index], 0, left)
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
  found = []
  num_skipped = corpus.skips.count
  for split in corpus.splits():
    for chunk in corpus.chunks(split):
      found.append(Sample(chunk, num_skipped=corpus.skips.count - num_skipped))
      num_skipped = corpus.skips.count
  return [
      sample._replace(chunk=lender.lend(sample.chunk, derived_rng(
          random_seed, 0, "lend", *sample.chunk.key)))
      for sample in found
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
    places[index, offset if corpus.texts[index].is_splittable else 0] += 1
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
  file = corpus.texts[0]
  if file.splits_by_record:
    return file.next_record(1) < corpus.num_bytes
  for num_places, size in ((_PLACES, max_bytes // _PLACES),
                           (_SEARCHED_PLACES, _SEARCHED_BYTES)):
    for (_, offset), count in _places(corpus, num_places).items():
      data, _ = _read(file, offset, count * size)
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
  on_disk = num_documents = 0.0
  num_read = num_skipped = 0
  starts_document, near = not offset, int(_NEAR * size)
  for number in range(index, min(index + _FILES_PER_PLACE, len(corpus.files))):
    file = corpus.texts[number]
    skips: List[records.InvalidRecord] = []
    read, at_end = _read_part(
        file, offset, size - num_read, near, skips.append)
    num_read += len(read.data)
    part, starts, ends_document = _align(
        read, not read.offset, file.splits_by_record, at_end, near)
    if part.data:
      starts_document = starts if not parts else starts_document
      parts.append(part)
      part_on_disk, part_documents = _measure(file, part, read)
      on_disk += corpus.sizes[number] if at_end and not offset else part_on_disk
      num_documents += part_documents
      num_skipped += sum(part.offset <= error.offset < part.offset + len(
          part.data) for error in skips)
    if not at_end or num_read >= size:
      break
    offset = 0
  return Sample(
      corpus_lib.Chunk(index, parts), 1.0, starts_document, ends_document,
      num_documents, num_skipped), on_disk


def _read_part(file, offset, size, near, on_skip):
  """Reads the text of a file from a place on.

  Args:
    file: readers.TextFile.
    offset, size: int; near: see `_align`.
    on_skip: see readers.TextFile.read_blocks.

  Returns:
    (Part of `size` bytes or fewer, whether the file ends with it). Only in JSON
    lines it certainly starts with a line, if one starts near.
  """
  start = offset
  if file.splits_by_record:
    start, offset = record_places.find_text(file, offset, near)
  data, at_end = _read(file, start, offset - start + size, on_skip)
  return Part(file.path, offset, data[offset - start:]), at_end


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


def _measure(file, part, read):
  """Measures a part of a file.

  Args:
    file: readers.TextFile.
    part: Part, not empty: what is left of `read`, a Part, after `_align`.

  Returns:
    (about how many bytes it takes on disk, about how many documents of the file
    start in it), floats.

  Raises:
    ValueError: the file can't be read.
  """
  if file.splits_by_record:
    return record_places.measure(file, part)
  size = len(part.data)
  starts = _count_document_starts(read.data, not read.offset)
  return size * file.disk_ratio(), starts * size / len(read.data)


def _align(part, is_start, is_line_start, at_end, near):
  """Cuts what was read of a file to whole lines or, if near, to documents.

  Args:
    part: Part; it may start and end within a line.
    is_start: bool, whether a document starts with it; is_line_start: bool,
      whether it starts with a line, or else within one without a near end.
    at_end: bool, whether the file ends with it.
    near: int, bytes within which a document boundary is near.

  Returns:
    (Part, whether a document starts with it, whether one ends with it). The
    part is empty if it is the rest of a file, or the start of one, without a
    document and not longer than `near`. One without a whole line stays as it
    is, except for incomplete characters.
  """
  data = part.data
  start, starts = 0, is_start
  end, ends = len(data), at_end
  if not starts and not is_line_start:
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
