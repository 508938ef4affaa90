"""Compares the example formats on sampled text, and recommends one.

What a format does to a text depends on the shape of its documents: pairs and
truncated lines lose tokens, short documents leave padding. The comparison shows
both for every format. A recommendation changes nothing.
"""

import collections
import random
from typing import Dict, NamedTuple, Optional, Tuple

from bert_e2e.data import instances, pairing, sampling
from bert_e2e.data.preflight_model import Suggestion
from bert_e2e.data.preflight_numbers import percent, ratio

# A format is recommended if it keeps so much more of the text's tokens, or has
# so much less padding (fractions).
MIN_KEPT = 0.05
MIN_PADDING = 0.1
# Sequences that end with their document are recommended up to so much padding.
MAX_PADDING = 0.3


class FormatShape(NamedTuple):
  """What a format makes of a text.

  Attributes:
    example_format: str, a key of instances.EXAMPLE_FORMATS.
    examples: int, per epoch.
    truncated_share: of the text's tokens; in no example, due to truncation.
    padding_share: of the positions of all examples.
  """
  example_format: str
  examples: int
  truncated_share: float
  padding_share: float


class FormatCounter:
  """Adds up, over samples, the tokens that each format keeps.

  Pairs are those of full length, without random texts.
  """

  def __init__(self):
    self._tokens = 0.0
    # Format -> weighted sums of its examples, of their tokens, special ones
    # included, and of the text's tokens in them.
    self._sums: Dict[str, Dict[str, float]] = {
        name: collections.defaultdict(float)
        for name in instances.EXAMPLE_FORMATS}

  def add(self, documents, options, weight):
    """Counts a sample.

    Args:
      documents: list of instances.Document.
      options: config.InstanceConfig.
      weight: float, how many like it the corpus contains.
    """
    self._tokens += weight * sum(len(document.pieces) for document in documents)
    for name, row in instances.EXAMPLE_FORMATS.items():
      kept = (_pairs(documents, options) if row.sequences is None else
              _sequences(row, documents, options))
      sums = self._sums[name]
      for tokens, special in kept:
        sums["examples"] += weight
        sums["kept"] += weight * tokens
        sums["used"] += weight * (tokens + special)

  def shapes(self, options) -> Tuple[FormatShape, ...]:
    """Returns the FormatShape of each format.

    Args:
      options: config.InstanceConfig.
    """
    return tuple(
        FormatShape(
            name, round(sums["examples"] * options.dupe_factor),
            ratio(self._tokens - sums["kept"], self._tokens),
            ratio(options.max_seq_length * sums["examples"] - sums["used"],
                  options.max_seq_length * sums["examples"]))
        for name, sums in self._sums.items())


def _pairs(documents, options):
  """Yields (tokens of the text, special tokens) of each consecutive pair."""
  sampler = sampling.StreamSampler(random.Random(0))
  target = options.max_seq_length - instances.PAIR_SPECIAL
  for document in documents:
    for pair in pairing.consecutive_pairs(document, None, target, sampler):
      length = pair.end_a - pair.start_a + pair.end_b - pair.start_b
      yield min(length, target), instances.PAIR_SPECIAL


def _sequences(row, documents, options):
  """Yields (tokens of the text, special tokens) of each single sequence."""
  for texts in row.sequences(
      documents, options.max_seq_length - instances.SINGLE_SPECIAL):
    yield (sum(end - start for _, start, end in texts),
           instances.SINGLE_SPECIAL + len(texts) - 1)


def recommend(shapes, example_format, one_sentence_share,
              is_packed=False) -> Optional[Suggestion]:
  """Recommends a format for a text.

  Nothing is cut off from sequences of whole lines. They end with their document
  unless that leaves too much padding.

  Args:
    shapes: tuple of FormatShape.
    example_format: str, the one in use.
    one_sentence_share: fraction of the documents that have one sentence.
    is_packed: bool, whether sequences are packed, which leaves no padding to
      speak of in any format.

  Returns:
    Suggestion; None if the format in use is as good.
  """
  if is_packed:
    shapes = [shape._replace(padding_share=0.0) for shape in shapes]
  known = {shape.example_format: shape for shape in shapes}
  if example_format not in known or not known[example_format].examples:
    return None
  now, best = known[example_format], known["doc_sentences"]
  if best.padding_share > max(
      MAX_PADDING, known["full_sentences"].padding_share + MIN_PADDING):
    best = known["full_sentences"]
  if (now.truncated_share - best.truncated_share < MIN_KEPT and
      now.padding_share - best.padding_share < MIN_PADDING):
    return None
  reason = "%s of the tokens are truncated instead of %s" % (
      percent(best.truncated_share), percent(now.truncated_share))
  if not is_packed:
    reason += ", and %s of the positions are padding instead of %s" % (
        percent(best.padding_share), percent(now.padding_share))
  reason += "; %s of the documents have one sentence." % (
      percent(one_sentence_share))
  if example_format == "segment_pair":
    reason += (" Single sequences train no sentence objective, which tasks on "
               "pairs of texts may miss.")
  return Suggestion(
      "--example_format=%s --sentence_objective=none" % best.example_format,
      reason)
