"""Counts the words of a text, in memory that does not grow with the text.

Words are those that tokenization.BasicTokenizer finds, as WordPiece gets them.
"""

import collections
from typing import Counter

from bert_e2e.config import ReaderConfig
from bert_e2e.data import corpus as corpus_lib

# Distinct words that are counted at once: some 200 MB at most.
MAX_WORDS = 1 << 20
# Of each part of a sampled text, at least so much is read.
_MIN_PART_BYTES = corpus_lib.SPLIT_BYTES


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


def texts(corpus, reader=ReaderConfig(), max_bytes=0):
  """Reads a corpus, or a sample that is spread evenly over it.

  Args:
    corpus: corpus.Corpus.
    reader: config.ReaderConfig.
    max_bytes: int, about how much of the files is read; 0 reads all. Of a file
      that can't be split (such as a compressed one), a sample has the start.

  Yields:
    str, whole lines of about a megabyte at most, unless lines are longer;
    documents are cut only where the corpus cuts them.

  Raises:
    ValueError: a file can't be read or is not UTF-8; a record has no text.
  """
  splits, most = corpus.splits(), None
  if 0 < max_bytes < corpus.num_bytes:
    count = max(1, len(splits) * max_bytes // corpus.num_bytes)
    splits = [splits[i * len(splits) // count] for i in range(count)]
    most = max(_MIN_PART_BYTES, max_bytes // count)
  for split in splits:
    left = most
    for chunk in corpus.chunks(split):
      yield corpus_lib.chunk_text(chunk, reader)
      if left is not None:
        left -= chunk.num_bytes
        if left <= 0:
          break
