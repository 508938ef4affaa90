"""Masking: n-grams and spans as the authors choose them, and replacements."""

import dataclasses
import itertools
import json
import math
import os
import random
import sys
from typing import List, Optional

import pytest

from bert_e2e import config
from bert_e2e.data import masking, sampling
from bert_e2e.data.pieces import text_pieces

GOLDEN_FOLDER = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden")
sys.path.append(GOLDEN_FOLDER)

import make_masking_golden as golden  # noqa: E402

PIECES = text_pieces(golden.VOCABULARY)
# As many standard deviations may counts differ from the authors'.
TOLERANCE = 5


@pytest.fixture(scope="module")
def counts():
  with open(golden.GOLDEN_FILE) as stream:
    return json.load(stream)


def assert_alike(found, expected):
  """Fails unless two histograms may be of the same distribution."""
  assert expected
  for name, histogram in expected.items():
    assert set(found[name]) <= set(histogram) or name == "runs"
    totals = [max(1, sum(counter.values()))
              for counter in (found[name], histogram)]
    for key, number in histogram.items():
      share = (found[name].get(key, 0) + number) / sum(totals)
      deviation = (share * (1 - share) * sum(1 / total for total in totals)
                   ) ** 0.5
      # Those within an example depend on each other.
      assert abs(found[name].get(key, 0) / totals[0] -
                 number / totals[1]) <= 1.5 * TOLERANCE * deviation, (name, key)


def draws(example, sampler, **changes):
  """Yields what golden.count takes, of examples that are masked."""
  options = config.InstanceConfig(
      masked_lm_prob=golden.PROBABILITY, **changes).validated()
  offsets = masking.maskable_positions(example, PIECES)
  for _ in range(golden.DRAWS // 2):
    tokens = list(example)
    found, labels = masking.mask_tokens(
        tokens, offsets, options, PIECES, sampler)
    assert labels == [example[i] for i in found]
    yield found, golden.choices_of(example, tokens, found)


@pytest.mark.parametrize("size", golden.NGRAM_SIZES)
def test_ngrams_of_words_are_those_of_tensorflows_models(counts, size):
  found = golden.count(draws(
      golden.pair(), sampling.StreamSampler(random.Random(2)),
      max_ngram_size=size, do_whole_word_mask=True))
  assert_alike(found, counts["ngrams %d" % size])


@pytest.mark.parametrize("p, upper", golden.SPANS)
def test_spans_are_those_of_spanbert(counts, p, upper):
  tokens = golden.text(golden.WORDS_A)
  words = masking._words(range(len(tokens)), tokens, PIECES)
  # SpanBERT rounds up.
  number = math.ceil(golden.PROBABILITY * len(tokens))
  sampler = sampling.StreamSampler(random.Random(2))
  found = golden.count(
      (sorted(itertools.chain.from_iterable(
          masking._spans(words, number, p, upper, sampler))), None)
      for _ in range(golden.DRAWS))
  assert found["choices"] == {}
  assert_alike(found, counts["spans %g %d" % (p, upper)])


def test_the_pieces_of_a_span_are_replaced_in_one_way():
  tokens = ["w"] * 40
  kinds = set()
  for seed in range(60):
    found = list(tokens)
    offsets, _ = masking.mask_tokens(
        found, range(40), config.InstanceConfig(
            masked_lm_prob=0.05, span_geometric_p=0.01).validated(), PIECES,
        sampling.StreamSampler(random.Random(seed)))
    if offsets == [offsets[0], offsets[0] + 1]:
      kinds.add(frozenset(golden.choices_of(tokens, found, offsets)))
  assert kinds == {frozenset([kind]) for kind in ("mask", "same", "random")}


def test_ngrams_of_pieces_cross_no_separator():
  example = golden.pair()
  [separator] = [i for i, piece in enumerate(example[:-1]) if piece == "[SEP]"]
  options = config.InstanceConfig(max_ngram_size=4).validated()
  units = [[i] for i in masking.maskable_positions(example, PIECES)]
  sampler = sampling.StreamSampler(random.Random(1))
  sizes = set()
  for _ in range(200):
    for ngram in masking._ngrams(units, 8, options.max_ngram_size, sampler):
      sizes.add(len(ngram))
      assert ngram == list(range(ngram[0], ngram[-1] + 1))
      assert separator not in ngram
  assert sizes == {1, 2, 3, 4}


@pytest.mark.parametrize("changes", [
    {"span_geometric_p": 0.2},
    {"max_ngram_size": 3, "do_whole_word_mask": True}])
def test_a_rest_of_a_word_at_the_start_of_b_is_a_word(monkeypatch, changes):
  """Spans and n-grams do not cross from A to B by it."""
  units = []

  def choose(found, *rest):
    del rest
    units.append(found)
    return []

  for name in ("_spans", "_ngrams"):
    monkeypatch.setattr(masking, name, choose)
  tokens = ["[CLS]", "a", "b", "[SEP]", "##c", "d", "##e", "[SEP]"]
  masking.mask_tokens(
      tokens, masking.maskable_positions(tokens, PIECES),
      config.InstanceConfig(**changes).validated(), PIECES,
      sampling.StreamSampler(random.Random(1)))
  assert units == [[[1], [2], [4], [5, 6]]]


@pytest.mark.parametrize("make", [
    sampling.ReferenceSampler, sampling.StreamSampler])
@pytest.mark.parametrize("mask_prob, random_prob", [
    (0.8, 0.1), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.2)])
def test_fractions_of_replacements(make, mask_prob, random_prob):
  chosen: List[Optional[str]] = [None] * 20000
  make(random.Random(1)).replace(
      chosen, range(len(chosen)), "[MASK]", ["x"], mask_prob, random_prob)
  for value, share in (("[MASK]", mask_prob), ("x", random_prob),
                       (None, 1 - mask_prob - random_prob)):
    deviation = (share * (1 - share) / len(chosen)) ** 0.5
    assert chosen.count(value) / len(chosen) == pytest.approx(
        share, abs=5 * deviation + 1e-9)


def test_a_short_text_is_masked_as_far_as_it_goes():
  """All of it, if that is asked for."""
  start = config.InstanceConfig(masked_lm_prob=1.0)
  for options in (dataclasses.replace(start, max_ngram_size=5),
                  dataclasses.replace(start, span_geometric_p=0.2)):
    tokens = ["[CLS]", "a", "[SEP]", "b", "##c", "[SEP]"]
    offsets, labels = masking.mask_tokens(
        tokens, masking.maskable_positions(tokens, PIECES), options, PIECES,
        sampling.StreamSampler(random.Random(1)))
    assert (offsets, labels) == ([1, 3, 4], ["a", "b", "##c"])


@pytest.mark.parametrize("changes, said", [
    ({"mask_replace_prob": 0.9, "random_replace_prob": 0.2},
     "their sum must be at most 1"),
    ({"max_ngram_size": 3, "span_geometric_p": 0.2}, "pass only one of them"),
    ({"span_upper": 5}, "--span_upper=5 requires --span_geometric_p"),
    ({"span_geometric_p": 1.0}, "--span_geometric_p=1.0 is out of range"),
    ({"max_ngram_size": 0}, "--max_ngram_size=0 is out of range"),
    ({"max_predictions_per_seq": 0}, "--max_predictions_per_seq=0 is out of"),
])
def test_refusals(changes, said):
  with pytest.raises(ValueError) as error:
    config.InstanceConfig(**changes).validated()
  assert said in str(error.value)


@pytest.mark.parametrize("length, probability, number", [
    (128, 0.15, 19), (512, 0.15, 79), (5, 0.15, 1), (128, 0.3, 39)])
def test_auto_predictions(length, probability, number):
  options = config.InstanceConfig(
      max_seq_length=length, masked_lm_prob=probability,
      max_predictions_per_seq="auto").validated()
  assert options.max_predictions_per_seq == number
