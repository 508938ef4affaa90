"""Masked-LM: chooses pieces of an example and masks them.

Pieces are texts or ids; see pieces.py. Random choices come from `sampler`, a
sampling.ReferenceSampler or StreamSampler.
"""

import functools
import itertools
from typing import List, Set

# What becomes of the pieces of a group.
_KEPT, _MASK, _RANDOM = "kept", "mask", "random"


def maskable_positions(tokens, pieces, length_a=None):
  """Returns the offsets of all tokens but the special ones, ascending.

  Args:
    tokens: list of pieces, an example.
    pieces: pieces.Pieces.
    length_a: int, pieces of A, for an example of two texts.
  """
  if pieces.special_in_text or length_a is None:
    special = (pieces.cls, pieces.sep)
    return [i for i, token in enumerate(tokens) if token not in special]
  return _text_offsets(length_a, len(tokens))


@functools.lru_cache(maxsize=1 << 10)
def _text_offsets(length_a, length):
  """Returns the offsets of A and B in an example of `length` pieces."""
  return (*range(1, length_a + 1), *range(length_a + 2, length - 1))


def mask_tokens(tokens, offsets, options, pieces, sampler):
  """Masks an example in place.

  Args:
    tokens: list of pieces, an example.
    offsets: sequence of int, ascending, which of them may be masked.
    options: config.InstanceConfig.
    pieces: pieces.Pieces.
    sampler: see this module.

  Returns:
    (masked offsets, ascending; the original pieces there): two lists.

  Source: google-research/bert, create_masked_lm_predictions, same result for
    the same random numbers, with neither n-grams nor spans.
  """
  groups = choose_groups(tokens, offsets, options, pieces, sampler)
  return replace_groups(tokens, groups, options, pieces, sampler)


def choose_groups(tokens, offsets, options, pieces, sampler):
  """Chooses what to mask of an example.

  Args:
    tokens, offsets, options, pieces, sampler: see `mask_tokens`.

  Returns:
    list of lists of int, offsets: those of each word, n-gram or span; of pieces
    that are masked one by one, a single list.
  """
  count = num_to_predict(
      len(tokens), options.masked_lm_prob, options.max_predictions_per_seq)
  if options.span_geometric_p:
    groups = _spans(_words(offsets, tokens, pieces, True), count,
                    options.span_geometric_p, options.span_upper, sampler)
  elif options.max_ngram_size > 1:
    units = [[offset] for offset in offsets]
    if options.do_whole_word_mask:
      units = _words(offsets, tokens, pieces, True)
    groups = _ngrams(units, count, options.max_ngram_size, sampler)
  elif options.do_whole_word_mask:
    # A rest of a Chinese word at the start of B is a word of its own.
    is_adjacent = pieces.marker is not None
    groups = _whole_words(sampler.order(
        _words(offsets, tokens, pieces, is_adjacent)), count)
  else:
    groups = [sampler.subset(offsets, count)]
  return groups


def replace_groups(tokens, groups, options, pieces, sampler):
  """Masks the chosen offsets of an example in place.

  Args:
    tokens, options, pieces, sampler: see `mask_tokens`.
    groups: list of lists of int, see `choose_groups`.

  Returns:
    See `mask_tokens`.
  """
  chosen = list(itertools.chain.from_iterable(groups))
  ascending = sorted(chosen)
  labels = [tokens[position] for position in ascending]
  if options.replaces_groups:
    for positions in groups:
      _replace_group(tokens, positions, options, pieces, sampler)
  else:
    replace(tokens, chosen, pieces, sampler, options.mask_replace_prob,
            options.random_replace_prob)
  return ascending, labels


@functools.lru_cache(maxsize=1 << 10)
def num_to_predict(num_tokens, masked_lm_prob, max_predictions_per_seq):
  """Returns how many tokens of an example are masked.

  Args:
    num_tokens: int, tokens of the example, special ones included.
    masked_lm_prob, max_predictions_per_seq: see config.InstanceConfig.

  >>> num_to_predict(100, 0.15, 20), num_to_predict(3, 0.15, 20)
  (15, 1)
  """
  return min(max_predictions_per_seq,
             max(1, int(round(num_tokens * masked_lm_prob))))


def _replace_group(tokens, positions, options, pieces, sampler):
  """Replaces the pieces of a span or an n-gram: all by [MASK], all by random
  pieces, or none of them.

  Source: Joshi et al. 2020, SpanBERT, arXiv 1907.10529, section 3.1;
    tensorflow/models, see `_ngrams`.
  """
  choice = [_KEPT]
  sampler.replace(choice, [0], _MASK, [_RANDOM], options.mask_replace_prob,
                  options.random_replace_prob)
  replace(tokens, positions, pieces, sampler,
          float(choice == [_MASK]), float(choice == [_RANDOM]))


def replace(tokens, positions, pieces, sampler, mask_prob, random_prob):
  """Replaces the pieces at some positions in place, or leaves them.

  Args:
    tokens: list of pieces, an example.
    positions: sequence of int.
    pieces: pieces.Pieces.
    sampler: see this module.
    mask_prob, random_prob: float, see sampling.ReferenceSampler.replace.
  """
  sampler.replace(tokens, positions, pieces.mask, pieces.vocabulary, mask_prob,
                  random_prob)


def _whole_words(words, num_to_predict):
  """Returns words, lists of offsets, in their order, as far as they fit."""
  chosen: List[List[int]] = []
  left = num_to_predict
  for word in words:
    if len(word) <= left:
      chosen.append(word)
      left -= len(word)
      if not left:
        break
  return chosen


def _ngrams(units, num_to_predict, max_size, sampler):
  """Returns random n-grams, as far as they fit.

  The size n is random, with P(n) proportional to 1 / n, then one of the n-grams
  of this size that were not tried before; it is skipped if it does not fit or
  shares an offset with an earlier one.

  Args:
    units: list of lists of int, the offsets of pieces or words. An n-gram is
      units without another offset between them.
    num_to_predict: int, offsets at most.
    max_size: int, units of an n-gram at most.
    sampler: see this module.

  Returns:
    list of lists of int, the offsets of each n-gram.

  Source: Lan et al. 2019, ALBERT, arXiv 1909.11942, section 3.1;
    tensorflow/models, official/nlp/data/create_pretraining_data.py, same
    distribution. There, n-grams are of whole words only.
  """
  run_ends = _run_ends(units)
  untried = [iter(sampler.order([
      first for first in range(len(units) - size + 1)
      if run_ends[first] >= first + size])) for size in range(1, max_size + 1)]
  weights = list(itertools.accumulate(1 / n for n in range(1, max_size + 1)))
  ngrams = []
  masked: Set[int] = set()
  left = set(range(max_size))
  while left and len(masked) < num_to_predict:
    size = sampler.weighted(weights)
    first = next(untried[size], None) if size in left else None
    if first is None or len(masked) + size + 1 > num_to_predict:
      left.discard(size)
      continue
    ngram = list(itertools.chain.from_iterable(units[first:first + size + 1]))
    if len(masked) + len(ngram) <= num_to_predict and masked.isdisjoint(ngram):
      masked.update(ngram)
      ngrams.append(ngram)
  return ngrams


def _run_ends(units):
  """Returns, for each unit, the end of the units that follow without a gap."""
  ends = [len(units)] * len(units)
  for i in range(len(units) - 2, -1, -1):
    adjacent = units[i][-1] + 1 == units[i + 1][0]
    ends[i] = ends[i + 1] if adjacent else i + 1
  return ends


def _spans(words, num_to_predict, p, upper, sampler):
  """Returns random spans of words: exactly `num_to_predict` offsets, or all.

  A span starts with the word of a random piece that is in no span. Its length
  in words has a geometric distribution, up to `upper`; it may go on over other
  spans, and the last one ends where the number is reached, if need be within a
  word.

  Args:
    words: list of lists of int, the offsets of words.
    num_to_predict: int.
    p: float, parameter of the distribution: P(n) is proportional to
      p (1 - p)^(n - 1).
    upper: int, words of a span at most.
    sampler: see this module.

  Returns:
    list of lists of int, the offsets of each span that are in no earlier one.

  Source: Joshi et al. 2020, SpanBERT, arXiv 1907.10529, section 3.1;
    facebookresearch/SpanBERT, PairWithSpanMaskingScheme, same distribution.
  """
  weights = _geometric(p, upper)
  run_ends = _run_ends(words)
  word_of = [number for number, word in enumerate(words) for _ in word]
  offsets = list(itertools.chain.from_iterable(words))
  num_to_predict = min(num_to_predict, len(offsets))
  masked: Set[int] = set()
  spans = []
  while len(masked) < num_to_predict:
    size = sampler.weighted(weights) + 1
    anchor = sampler.integer(0, len(offsets) - 1)
    if offsets[anchor] in masked:
      continue
    first = word_of[anchor]
    span = [offset for word in words[first:min(first + size, run_ends[first])]
            for offset in word if offset not in masked]
    spans.append(span[:num_to_predict - len(masked)])
    masked.update(spans[-1])
  return spans


@functools.lru_cache(maxsize=16)
def _geometric(p, upper):
  """Returns cumulative weights of 1 to `upper`, those of `_spans`."""
  return list(itertools.accumulate(p * (1 - p) ** n for n in range(upper)))


def _words(offsets, tokens, pieces, is_adjacent=False):
  """Groups offsets into lists that are masked together.

  As in the reference a leading "##" piece of B belongs to A's last word, unless
  the pieces of a word have to be adjacent.
  """
  words: List[List[int]] = []
  for i in offsets:
    if words and pieces.is_continuation(tokens[i]) and not (
        is_adjacent and words[-1][-1] + 1 != i):
      words[-1].append(i)
    else:
      words.append([i])
  return words
