"""Lends a chunk of one document text of other documents.

In a pair of texts that do not follow each other, B has to come from another
document than A. A chunk that lies within one document, and may be a part of it
only, has no such text, so it borrows some from elsewhere in the corpus.
"""

import logging
from typing import Optional, Tuple

from bert_e2e.data import records, text_lines
from bert_e2e.data.corpus import Chunk
from bert_e2e.data.text_lines import DOCUMENT_END, Part

logger = logging.getLogger(__name__)

# How many bytes a chunk borrows, from a random place. After so many tries of
# places that can't be shown to be in another document, text after the end of
# the document is taken, which is searched within so many bytes.
_LENT_BYTES = 1 << 16
_MAX_TRIES = 8
_SEARCH_BYTES = 1 << 28
# Blank lines at the end of a block that are searched again with the next one.
_MAX_OVERLAP_BYTES = 1 << 10


class Lender:
  """Gives chunks of a single document text of other documents.

  What a chunk borrows is a pure function of the corpus, the chunk and the
  random numbers: it does not depend on which chunks were served before.

  Args:
    corpus: corpus.Corpus.
    is_needed: bool; if not, chunks stay as they are. See
      instances.Pairing.needs_other_documents.
  """

  def __init__(self, corpus, is_needed=True):
    self._corpus = corpus
    self._is_needed = is_needed
    # (file number, from, to): known to contain no document's end; infinity is
    # the end of the file.
    self._without_end: Tuple[int, int, float] = (-1, 0, 0)
    self._is_one_document = self._has_warned = False

  def lend(self, chunk, rng) -> Chunk:
    """Gives a chunk of one document text of others, if the corpus has any.

    Args:
      chunk: one of the corpus.
      rng: random.Random, which decides where the text comes from.

    Returns:
      The chunk with `borrowed` set; unchanged if it needs none or, with a
      warning, there is none.

    Raises:
      ValueError: a file can't be read.
    """
    own = chunk.only_document if self._is_needed else None
    if own is None or self._is_one_document:
      return chunk
    for _ in range(_MAX_TRIES):
      part = self._text_at(int(rng.random() * self._corpus.num_bytes), own)
      if part:
        return chunk._replace(borrowed=part)
    part = self._nearest_other(own)
    if not part:
      self._warn(own)
    return chunk._replace(borrowed=part)

  def _warn(self, own):
    if not self._has_warned:
      self._has_warned = True
      logger.warning(
          "No document other than the one in %s was found, so the second text "
          "of its pairs always follows the first. Are blank lines between "
          "documents missing?", own.path)

  def _text_at(self, offset, own) -> Optional[Part]:
    """Returns lines near an offset if they certainly belong to other documents
    than the one of the Part `own`; else None."""
    corpus = self._corpus
    index, _ = corpus.locate(offset)
    file = corpus.texts[index]
    start, starts_document = 0, True
    if file.is_splittable:
      start, starts_document = corpus.boundary(offset)
      start -= corpus.starts[index]
    if corpus.files[index] != own.path:
      return self._lines_at(index, start)
    own_start = own.offset + own.text_start
    if not starts_document or start > own_start:
      # A document that starts after the chunk's start is another one.
      return self._lines_at(index, start) if starts_document else None
    # One that starts before it is another one if it also ends before it.
    stop = own_start
    if not file.splits_by_record:
      stop = min(stop, start + _LENT_BYTES)
    end = self._document_end(index, start, stop)
    return self._lines_at(index, start, end) if end else None

  def _nearest_other(self, own) -> Optional[Part]:
    """Returns lines of another file than that of the Part `own`, or else of
    another document of that file; None if there is none."""
    files = self._corpus.files
    index = files.index(own.path)
    for other in range(index + 1, index + len(files)):
      part = self._lines_at(other % len(files), 0)
      if part:
        return part
    start = text_lines.text_start(
        self._corpus.texts[index].read_text(0, _LENT_BYTES))
    end = self._document_end(index, start, own.offset)
    if end:
      return self._lines_at(index, start, end)
    # The part may end with the blank line that ends its document.
    found = DOCUMENT_END.search(own.data, own.text_start)
    text_end = own.offset + (found.start() if found else len(own.data) - 1)
    end = self._document_end(index, text_end, None)
    self._is_one_document = self._without_end == (index, start, float("inf"))
    return self._lines_at(index, end) if end else None

  def _document_end(self, index, start, stop) -> Optional[int]:
    """Returns where the document at an offset of a file ends.

    Args:
      index: int, number of the file.
      start: int, byte to search from; stop: int, the last offset that counts,
        or None for the file's end.

    Returns:
      int, where the next document starts; None if none does up to `stop`, or
      within _SEARCH_BYTES.
    """
    known, low, high = self._without_end
    searched = high if known == index and low <= start <= high else start
    # From `start`: what is known already must not change what is found.
    limit = start + _SEARCH_BYTES
    if stop is not None:
      limit = min(stop, limit)
    if searched >= limit:
      return None
    file = self._corpus.texts[index]
    if file.splits_by_record:
      end = file.next_record(start + 1)
      if end < self._corpus.sizes[index]:
        return end if end <= limit else None
      self._note_without_end(index, start, float("inf"))
      return None
    at, rest = searched, b""
    # The blank line that ends a record may be long.
    max_overlap = (records.MAX_RECORD_BYTES if file.has_records else
                   _MAX_OVERLAP_BYTES)
    # One byte more shows that something follows the blank lines.
    for block in file.read_blocks(searched, limit + 1):
      block = rest + block
      found = DOCUMENT_END.search(block)
      end = found and found.end()
      if end and end < len(block):
        return at + end
      # Blank lines that continue, or one that has just begun.
      rest = block[-min(max_overlap, len(block) - len(block.rstrip()) + 1):]
      at += len(block) - len(rest)
    if at + len(rest) <= limit:
      at = float("inf")  # The file ends here.
    self._note_without_end(index, start, at)
    return None

  def _note_without_end(self, index, start, end):
    """Notes that no document ends in a range of a file."""
    known, low, high = self._without_end
    if known == index and start <= high and low <= end:
      start, end = min(start, low), max(end, high)
    self._without_end = index, start, end

  def _lines_at(self, index, start, end=None) -> Optional[Part]:
    """Returns whole lines of a file from the start of one, about _LENT_BYTES,
    up to `end` at most; None if there is no text in them."""
    limit = start + _LENT_BYTES
    if end is not None and end <= limit:
      limit = end
    file = self._corpus.texts[index]
    data = file.read_text(start, limit - start)
    if len(data) == _LENT_BYTES:
      data = _whole_lines(data, file.has_records)
    part = Part(file.path, start, data)
    return part if part.has_text else None


def _whole_lines(data, has_records):
  """Cuts off the line that a text, bytes, ends in.

  A text of records, which may have no other line, is then cut within that: at
  the last space, or else before its last character.
  """
  end = data.rfind(b"\n") + 1
  if has_records and not data[:end].strip():
    end = data.rfind(b" ") + 1
    if not data[:end].strip():
      end = len(data) - 1
      while end and data[end] & 0xC0 == 0x80:
        end -= 1
  return data[:end]
