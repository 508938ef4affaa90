"""The stream's draws have the distributions of the reference's."""

import collections
import random

import pytest

from bert_e2e.data import sampling

ROUNDS = 20000



OPERATIONS = {
    "chance": lambda draws: draws.chance(0.3),
    "integer": lambda draws: draws.integer(3, 9),
    "other": lambda draws: draws.other(2, 5),
    "shuffle": lambda draws: _shuffled(draws, 4),
    "order": lambda draws: tuple(draws.order([1, 2, 3, 4])),
    "first_of_order": lambda draws: next(iter(draws.order(list(range(9))))),
    "few": lambda draws: tuple(sorted(draws.subset("abcde", 2))),
    "most": lambda draws: tuple(sorted(draws.subset("abcde", 4))),
    "all": lambda draws: tuple(sorted(draws.subset("abcde", 7))),
    "cuts": lambda draws: tuple(draws.cuts_in_front([0, 0, 1, 0, 1])),
    "no_cuts_in_b": lambda draws: tuple(draws.cuts_in_front([0, 0])),
    "replacements": lambda draws: tuple(draws.replacements(2, "M", "abcd")),
}


def _shuffled(draws, size):
  items = list(range(size))
  draws.shuffle(items)
  return tuple(items)


@pytest.mark.parametrize("name", OPERATIONS)
def test_both_have_one_distribution(name):
  """Every outcome comes as often from one as from the other.

  The seeds are fixed. Five standard deviations of a difference of two counts.
  """
  counts = []
  for kind in (sampling.ReferenceDraws, sampling.StreamDraws):
    draws = kind(random.Random(17))
    counts.append(collections.Counter(
        OPERATIONS[name](draws) for _ in range(ROUNDS)))
  reference, stream = counts
  for outcome in set(reference) | set(stream):
    both = reference[outcome] + stream[outcome]
    assert abs(reference[outcome] - stream[outcome]) <= 5 * both**0.5 + 1, (
        outcome)
  if name != "all":
    assert len(reference) > 1


def test_replacements_follow_the_paper():
  draws = sampling.StreamDraws(random.Random(1))
  drawn = collections.Counter(draws.replacements(ROUNDS, "M", "abcdefghij"))
  assert abs(drawn["M"] / ROUNDS - 0.8) < 0.015
  assert abs(drawn[None] / ROUNDS - 0.1) < 0.01
  assert set(drawn) == set("abcdefghij") | {"M", None}


def test_the_streams_other_is_never_the_same():
  """With two documents the reference gives up once in a thousand times."""
  draws = sampling.StreamDraws(random.Random(2))
  assert {draws.other(1, 2) for _ in range(ROUNDS)} == {0}
  assert {draws.other(3, 3) for _ in range(ROUNDS)} == {0, 1}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 64, 65, 127, 500])
def test_shuffle_draws_as_the_standard_librarys(size):
  expected, items = list(range(size)), list(range(size))
  rng, other = random.Random(size), random.Random(size)
  rng.shuffle(expected)
  sampling.ReferenceDraws(other).shuffle(items)
  assert items == expected
  assert other.getstate() == rng.getstate()
