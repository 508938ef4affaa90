"""Counts the words of a text, in memory that does not grow with the text.

Words are those that tokenization.BasicTokenizer finds, as WordPiece gets them.
"""

import collections
from typing import Counter, List, NamedTuple

from bert_e2e.config import ReaderConfig
from bert_e2e.data import corpus as corpus_lib

# Distinct words that are counted at once: some 200 MB at most.
MAX_WORDS = 1 << 20
# Of each part of a sampled text, at least so much is read.
_MIN_PART_BYTES = corpus_lib.SPLIT_BYTES
# A sample has the starts of so many files that can't be split, or of one for so
# many bytes of it if that is more.
_MIN_STARTS = 1 << 6
_START_BYTES = 1 << 15


class WordCounts:
  """The number of times that each word of a text occurs.

  When there are more than `max_words` distinct words, the rarest half or more
  is forgotten: those that occurred once so far and, if these are too few, twice
  and so on. A word that comes again is counted from 0, so its count is too low
  by at most `max_error`, and words that occur often enough are all there.

  Args:
    tokenizer: tokenization.FullTokenizer.
    max_words: int.

  Attributes:
    counts: collections.Counter of str.
    num_words: int, all words, with those that were forgotten.
    max_error: int, the most by which a count is too low; 0 if no word was
      forgotten.

  Source: the idea is that of Manku and Motwani 2002, "Approximate Frequency
  Counts over Data Streams", section 4.2 (lossy counting); there, words are
  forgotten at fixed intervals.
  """

  def __init__(self, tokenizer, max_words=MAX_WORDS):
    self._tokenizer = tokenizer
    self._max_words = max_words
    self.counts: Counter[str] = collections.Counter()
    self.num_words = 0
    self.max_error = 0

  def add(self, text):
    """Counts the words of a text, a str of whole lines."""
    found = self._tokenizer.count_words(text)
    self.counts.update(found)
    self.num_words += sum(found.values())
    if len(self.counts) > self._max_words:
      self._forget()

  def _forget(self):
    """Forgets the rarest words."""
    rarest = 0
    while len(self.counts) > self._max_words // 2:
      rarest += 1
      self.counts = collections.Counter({
          word: count for word, count in self.counts.items() if count > rarest})
    self.max_error += rarest


class _Piece(NamedTuple):
  """A part of a corpus that a sample may have the start of.

  Attributes:
    split: corpus.Split. All of a file that can't be split, or a range of such
      that can.
    is_splittable: bool.
    num_bytes: float, about how long its text is.
  """
  split: corpus_lib.Split
  is_splittable: bool
  num_bytes: float


def text_bytes(corpus) -> int:
  """Returns about how many bytes of text the files of a corpus.Corpus hold.

  Raises:
    ValueError: a file can't be read.
  """
  return round(sum(_text_sizes(corpus)))


def _text_sizes(corpus) -> List[float]:
  """Returns about how many bytes of text each file holds."""
  return [size / file.disk_ratio() if size else 0.0
          for size, file in zip(corpus.sizes, corpus.texts)]


def texts(corpus, reader=ReaderConfig(), max_bytes=0):
  """Reads a corpus, or a sample that is spread evenly over it.

  Args:
    corpus: corpus.Corpus.
    reader: config.ReaderConfig.
    max_bytes: int, about how many bytes of text are read, as they are without
      compression; 0 reads all. Of each file that can't be split (such as a
      compressed one), a sample has the start: its share of `max_bytes`, but a
      chunk at least. If there are very many such files, some are left out at
      equal distances.

  Yields:
    str, whole lines of about a megabyte at most, unless lines are longer;
    documents are cut only where the corpus cuts them.

  Raises:
    ValueError: a file can't be read or is not UTF-8; a record has no text.
  """
  is_sample = 0 < max_bytes < text_bytes(corpus)
  for split, left in (_sample(corpus, max_bytes) if is_sample else
                      ((split, float("inf")) for split in corpus.splits())):
    for chunk in corpus.chunks(split):
      yield corpus_lib.chunk_text(chunk, reader)
      left -= chunk.num_bytes
      if left <= 0:
        break


def _sample(corpus, max_bytes):
  """Returns what to read of a larger corpus, see `texts`: a list of
  (corpus.Split, bytes of text to read from its start), in its order."""
  pieces = _pieces(corpus)
  share = max_bytes / sum(piece.num_bytes for piece in pieces)
  found = []
  ranges = [piece for piece in pieces if piece.is_splittable]
  if ranges:
    wanted = share * sum(piece.num_bytes for piece in ranges)
    chosen = _spread(ranges, int(len(ranges) * share))
    most = max(_MIN_PART_BYTES, wanted / len(chosen))
    found += [(piece.split, most) for piece in chosen]
  whole = [piece for piece in pieces if not piece.is_splittable]
  chosen = _spread(whole, max(_MIN_STARTS, max_bytes // _START_BYTES))
  # Each of them stands for those between it and the next one.
  found += [(piece.split, share * piece.num_bytes * len(whole) / len(chosen))
            for piece in chosen]
  return sorted(found)


def _pieces(corpus):
  """Divides a corpus into files that can't be split and ranges of the others,
  of the size of a split at most. Returns a list of _Piece."""
  sizes = _text_sizes(corpus)
  edges = {0, *(split.end for split in corpus.splits())}
  for index, file in enumerate(corpus.texts):
    if not file.is_splittable:
      edges.update(corpus.starts[index:index + 2])
  ordered = sorted(edges)
  found = []
  for start, end in zip(ordered, ordered[1:]):
    index, _ = corpus.locate(start)
    is_splittable = corpus.texts[index].is_splittable
    found.append(_Piece(corpus_lib.Split(start, end), is_splittable,
                        end - start if is_splittable else sizes[index]))
  return found


def _spread(items, count):
  """Returns so many items of a list, at least one, at equal distances; all if
  there are no more."""
  count = max(1, min(count, len(items)))
  return [items[i * len(items) // count] for i in range(count if items else 0)]
