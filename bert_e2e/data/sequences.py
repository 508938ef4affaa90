"""Single sequences of documents, for the formats without sentence pairs.

A sequence is a list of texts, (pieces, start, end) each, that stands for
pieces[start:end]. In an example a [SEP] follows each of them, so every text
after the first takes one position more than it has pieces.

Source of `doc_sentences` and `full_sentences`: Liu et al. 2019, RoBERTa, arXiv
1907.11692, section 4.2. The segments of a document are RoBERTa's sentences.
"""

from typing import Any, Iterator, List, Tuple

Text = Tuple[List[Any], int, int]


def full_sentences(documents, budget) -> Iterator[List[Text]]:
  """Yields sequences of consecutive segments, across the ends of documents.

  Segments stay whole, and nothing is cut off: only a segment longer than the
  budget is divided, and its rest starts the next sequence.

  Args:
    documents: iterable of instances.Document, in the order of the sequences.
    budget: int, positions of a sequence, without [CLS] and the last [SEP].
  """
  texts: List[Text] = []
  room = budget
  for pieces, starts in documents:
    begin = starts[0]  # Of what is in no earlier text.
    position = begin
    room -= bool(texts)  # The [SEP] between two documents.
    for end in starts[1:]:
      if end - position > room and (texts or position > begin):
        yield _with(texts, pieces, begin, position)
        texts, begin, room = [], position, budget
      while end - position > budget:
        position += budget
        yield [(pieces, begin, position)]
        begin = position
      room -= end - position
      position = end
    texts = _with(texts, pieces, begin, position)
  if texts:
    yield texts


def _with(texts, pieces, start, end):
  """Returns texts and one more, unless that is empty."""
  return texts + [(pieces, start, end)] if end > start else texts


def doc_sentences(documents, budget) -> Iterator[List[Text]]:
  """Yields sequences of consecutive segments, each of one document.

  Args: see full_sentences, which divides long segments likewise.
  """
  for document in documents:
    yield from full_sentences([document], budget)


def line_by_line(documents, budget) -> Iterator[List[Text]]:
  """Yields a sequence for each segment; what exceeds the budget is cut off.

  Args: see full_sentences.

  Source: huggingface/transformers, run_mlm.py --line_by_line, and its
    tokenizer's truncation: same ids.
  """
  for pieces, starts in documents:
    for start, end in zip(starts, starts[1:]):
      yield [(pieces, start, min(end, start + budget))]
