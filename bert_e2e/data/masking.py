"""Masked-LM: chooses pieces of an example and masks them.

Pieces are texts or ids; see pieces.py. Random choices come from `sampler`, a
sampling.ReferenceSampler or StreamSampler.
"""

import functools
from typing import List


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
    the same random numbers.
  """
  num_to_predict = min(
      options.max_predictions_per_seq,
      max(1, int(round(len(tokens) * options.masked_lm_prob))))
  if options.do_whole_word_mask:
    positions = _whole_words(
        sampler.order(_words(offsets, tokens, pieces)), num_to_predict)
  else:
    positions = sampler.subset(offsets, num_to_predict)
  ascending = sorted(positions)
  labels = [tokens[position] for position in ascending]
  chosen = sampler.replacements(len(positions), pieces.mask, pieces.vocabulary)
  for position, replacement in zip(positions, chosen):
    if replacement is not None:
      tokens[position] = replacement
  return ascending, labels


def _whole_words(words, num_to_predict):
  """Returns the offsets of words, in their order, as far as they fit."""
  positions: List[int] = []
  for word in words:
    if len(positions) + len(word) <= num_to_predict:
      positions.extend(word)
      if len(positions) == num_to_predict:
        break
  return positions


def _words(offsets, tokens, pieces):
  """Groups offsets into lists that are masked together.

  As in the reference a leading "##" piece of B belongs to A's last word.
  """
  words: List[List[int]] = []
  for i in offsets:
    if words and pieces.is_continuation(tokens[i]):
      words[-1].append(i)
    else:
      words.append([i])
  return words
