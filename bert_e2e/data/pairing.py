"""Sentence pairs of a document, for the sentence objectives.

Pieces are texts or ids; see pieces.py. Random choices come from `sampler`, a
sampling.ReferenceSampler or StreamSampler.
"""

import bisect
from typing import Any, List, NamedTuple


class Pair(NamedTuple):
  """Two texts, each a range of a document's pieces.

  Attributes:
    pieces_a, start_a, end_a: A is pieces_a[start_a:end_a].
    pieces_b, start_b, end_b: B, likewise.
    is_random: bool, whether B does not follow A: it is a random text or, in
      pairs that may be swapped, the text before A.
  """
  pieces_a: List[Any]
  start_a: int
  end_a: int
  pieces_b: List[Any]
  start_b: int
  end_b: int
  is_random: bool


class OtherDocuments:
  """Gives random texts that do not follow a document's: of other documents.

  Args:
    documents: sequence of instances.Document; index: int, the number of the
      document that needs others.
    borrowed: list of Document to use instead if it is the only one.
    sampler: see this module.

  Attributes:
    exist: bool, whether there is such a text. The reference's choices take the
      document itself if there is no other one.
  """

  def __init__(self, documents, index, borrowed, sampler):
    self._sampler = sampler
    self._documents, self._index = documents, index
    if len(documents) == 1 and borrowed:
      self._documents, self._index = borrowed, None  # It is none of them.
    self.exist = (sampler.OTHER_MAY_BE_SAME or self._index is None or
                  len(self._documents) > 1)

  def random_text(self, target):
    """Returns (pieces, start, end): segments, from a random one on, that fill
    `target` pieces."""
    count = len(self._documents)
    other = (self._sampler.integer(0, count - 1) if self._index is None else
             self._sampler.other(self._index, count))
    pieces, starts = self._documents[other]
    first = self._sampler.integer(0, len(starts) - 2)
    return pieces, starts[first], starts[_run_end(starts, first, target)]


def next_sentence_pairs(document, others, target, sampler):
  """Yields the Pairs of a document, until its segments are used up.

  A run of segments that fills the target length is split in two at random. Half
  of the time its second part is B; else B comes from another document, and the
  second part starts the next run. If there is no other document, every B
  follows its A.

  Args:
    document: instances.Document.
    others: OtherDocuments.
    target: int, pieces of A and B together.
    sampler: see this module.

  Source: google-research/bert, create_instances_from_document, same pairs for
    the same random numbers; there, a document without others is paired with
    itself.
  """
  if not others.exist:
    yield from consecutive_pairs(document, others, target, sampler)
    return
  pieces, starts = document
  first = 0
  while first < len(starts) - 1:
    end = _run_end(starts, first, target)
    cut = first + 1
    if end - first > 1:
      cut = first + sampler.integer(1, end - first - 1)
    start_a, end_a = starts[first], starts[cut]
    if end == cut or sampler.chance(0.5):
      pieces_b, start_b, end_b = others.random_text(target - (end_a - start_a))
      yield Pair(pieces, start_a, end_a, pieces_b, start_b, end_b, True)
      first = cut
    else:
      yield Pair(pieces, start_a, end_a, pieces, end_a, starts[end], False)
      first = end


def consecutive_pairs(document, others, target, sampler):
  """Yields the Pairs of a document, each B what follows A.

  Every run of segments that fills the target length is split in two, one of a
  single segment inside it. A last segment of a single piece, which can't be
  split, belongs to the run before.

  Args:
    document, target, sampler: see next_sentence_pairs.
    others: not used.
  """
  del others
  pieces, starts = document
  last = len(starts) - 1
  first = 0
  while first < last:
    end = _run_end(starts, first, target)
    if end == last - 1 and starts[last] - starts[end] == 1:
      end = last
    cuts = starts[first + 1:end]
    if not cuts:
      cuts = range(starts[first] + 1, starts[end])
    if cuts:
      cut = cuts[sampler.integer(0, len(cuts) - 1)]
      yield Pair(pieces, starts[first], cut, pieces, cut, starts[end], False)
    first = end


def sentence_order_pairs(document, others, target, sampler):
  """Yields the Pairs of `consecutive_pairs`, half of them swapped.

  Args: see consecutive_pairs.

  Source: Lan et al. 2019, ALBERT, arXiv 1909.11942, section 3.1;
    google-research/albert, create_pretraining_data.py without
    --random_next_sentence, same labels. There, a run of a single segment has a
    random text as B.
  """
  for pair in consecutive_pairs(document, others, target, sampler):
    if sampler.chance(0.5):
      pair = Pair(pair.pieces_b, pair.start_b, pair.end_b,
                  pair.pieces_a, pair.start_a, pair.end_a, True)
    yield pair


def _run_end(starts, first, target):
  """Returns the end of the run of segments from `first` that fills `target`."""
  return bisect.bisect_left(
      starts, starts[first] + target, first + 1, len(starts) - 1)


def truncated_bounds(start_a, end_a, start_b, end_b, max_num_tokens, sampler):
  """Shortens a pair to a length, piece by piece from the longer text.

  Args:
    start_a, end_a, start_b, end_b: int, bounds of A and B.
    max_num_tokens: int, how many pieces of both together remain at most.
    sampler: see this module.

  Returns:
    The four bounds of what remains.

  Source: google-research/bert, truncate_seq_pair, same result for the same
    random numbers.
  """
  length_a, length_b = end_a - start_a, end_b - start_b
  excess = length_a + length_b - max_num_tokens
  if excess > 0:
    # The longer one loses the difference; then they lose in turn, B first.
    longer = 0 if length_a > length_b else 1
    difference = min(abs(length_a - length_b), excess)
    rest = excess - difference
    lost_b = difference * longer + (rest + 1) // 2
    front_a, front_b = sampler.cuts_in_front(longer, difference, rest)
    start_a += front_a
    end_a -= excess - lost_b - front_a
    start_b += front_b
    end_b -= lost_b - front_b
  return start_a, end_a, start_b, end_b
