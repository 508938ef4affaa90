"""The stream's sampler have the distributions of the reference's."""

import collections
import random

import pytest

from bert_e2e.data import sampling

ROUNDS = 20000



OPERATIONS = {
    "chance": lambda sampler: sampler.chance(0.3),
    "integer": lambda sampler: sampler.integer(3, 9),
    "other": lambda sampler: sampler.other(2, 5),
    "shuffle": lambda sampler: _shuffled(sampler, 4),
    "order": lambda sampler: tuple(sampler.order([1, 2, 3, 4])),
    "first_of_order": lambda sampler: next(iter(sampler.order(list(range(9))))),
    "few": lambda sampler: tuple(sorted(sampler.subset("abcde", 2))),
    "most": lambda sampler: tuple(sorted(sampler.subset("abcde", 4))),
    "all": lambda sampler: tuple(sorted(sampler.subset("abcde", 7))),
    "cuts": lambda sampler: tuple(sampler.cuts_in_front(0, 2, 3)),
    "cuts_of_b_first": lambda sampler: tuple(sampler.cuts_in_front(1, 2, 0)),
    "no_cuts_in_b": lambda sampler: tuple(sampler.cuts_in_front(0, 2, 0)),
    "replace": lambda sampler: tuple(_replaced(sampler, 2, "abcd")),
}


def _replaced(sampler, count, vocabulary):
  """Returns what became of `count` pieces; None is one that is kept."""
  items = [None] * (count + 1)
  sampler.replace(items, range(1, count + 1), "M", vocabulary)
  assert items[0] is None
  return items[1:]


def _shuffled(sampler, size):
  items = list(range(size))
  sampler.shuffle(items)
  return tuple(items)


@pytest.mark.parametrize("name", OPERATIONS)
def test_both_have_one_distribution(name):
  """Every outcome comes as often from one as from the other.

  The seeds are fixed. Five standard deviations of a difference of two counts.
  """
  counts = []
  for kind in (sampling.ReferenceSampler, sampling.StreamSampler):
    sampler = kind(random.Random(17))
    counts.append(collections.Counter(
        OPERATIONS[name](sampler) for _ in range(ROUNDS)))
  reference, stream = counts
  for outcome in set(reference) | set(stream):
    both = reference[outcome] + stream[outcome]
    assert abs(reference[outcome] - stream[outcome]) <= 5 * both**0.5 + 1, (
        outcome)
  if name != "all":
    assert len(reference) > 1


def test_replacements_follow_the_paper():
  sampler = sampling.StreamSampler(random.Random(1))
  drawn = collections.Counter(_replaced(sampler, ROUNDS, "abcdefghij"))
  assert abs(drawn["M"] / ROUNDS - 0.8) < 0.015
  assert abs(drawn[None] / ROUNDS - 0.1) < 0.01
  assert set(drawn) == set("abcdefghij") | {"M", None}


def test_the_streams_other_is_never_the_same():
  """With two documents the reference gives up once in a thousand times."""
  sampler = sampling.StreamSampler(random.Random(2))
  assert {sampler.other(1, 2) for _ in range(ROUNDS)} == {0}
  assert {sampler.other(3, 3) for _ in range(ROUNDS)} == {0, 1}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 64, 65, 127, 500])
def test_shuffle_sampler_as_the_standard_librarys(size):
  expected, items = list(range(size)), list(range(size))
  rng, other = random.Random(size), random.Random(size)
  rng.shuffle(expected)
  sampling.ReferenceSampler(other).shuffle(items)
  assert items == expected
  assert other.getstate() == rng.getstate()
