"""The random choices of an example: the reference's, and faster ones.

Which documents are paired, where texts are cut, which pieces are masked: these
rules are in instances.py and masking.py, and get their random numbers here.
`ReferenceSampler` consumes random numbers exactly as google-research/bert does,
so that the offline program writes the same examples. `StreamSampler` has the
same distributions and needs a fifth of the random numbers.
"""

import bisect
import functools
import struct
from typing import Tuple

_WORDS_AT_ONCE = 512


class ReferenceSampler:
  """Random choices that equal google-research/bert's, one by one.

  Args:
    rng: random.Random.
  """

  # Whether `other` may return the index itself, and does if there is no other.
  OTHER_MAY_BE_SAME = True

  def __init__(self, rng):
    self._rng = rng

  def chance(self, probability):
    """Returns True with a probability."""
    return self._rng.random() < probability

  def integer(self, low, high):
    """Returns an int from `low` to `high`, both included."""
    return self._rng.randint(low, high)

  def other(self, index, count):
    """Returns a number below `count` other than `index`, or `index` after ten
    tries."""
    for _ in range(10):
      other = self._rng.randint(0, count - 1)
      if other != index:
        break
    return other

  def shuffle(self, items):
    """Shuffles a list in place, exactly as `rng.shuffle(items)` does.

    That method calls three functions per item; this takes half the time.
    """
    getrandbits = self._rng.getrandbits
    for last in range(len(items) - 1, 0, -1):
      bits = (last + 1).bit_length()
      other = getrandbits(bits)
      while other > last:
        other = getrandbits(bits)
      items[last], items[other] = items[other], items[last]

  def order(self, items):
    """Returns an iterable over a list in random order; changes the list."""
    self.shuffle(items)
    return items

  def subset(self, items, count):
    """Returns a list of `count` items of a list, without repeats, or all."""
    items = list(items)
    self.shuffle(items)
    return items[:count]

  def cuts_in_front(self, longer, difference, rest):
    """Chooses for each removed piece whether it is the first or the last one.

    Args:
      longer: int, which of two lists (0, 1) loses pieces first.
      difference: int, how many it loses.
      rest: int, how many pieces the lists then lose in turn, the second one
        first.

    Returns:
      (int, int), how many pieces each list loses at its front.
    """
    random_ = self._rng.random
    losers = [longer] * difference + ([1, 0] * (rest // 2 + 1))[:rest]
    in_front = [loser for loser in losers if random_() < 0.5]
    cut_b = sum(in_front)
    return len(in_front) - cut_b, cut_b

  def weighted(self, cumulative):
    """Returns the index of a random weight, with a probability proportional to
    it.

    Args:
      cumulative: list of float, the sums of the weights up to each one.
    """
    return bisect.bisect(cumulative, self._rng.random() * cumulative[-1],
                         0, len(cumulative) - 1)

  def replace(self, items, indices, mask, vocabulary, mask_prob=0.8,
              random_prob=0.1):
    """Replaces masked pieces in place.

    By default, 80 % become [MASK], 10 % are kept and 10 % become a random one
    of the vocabulary (Devlin et al. 2019, arXiv 1810.04805, section 3.1).

    Args:
      items: list of pieces.
      indices: sequence of int, the indices of the masked ones.
      mask: the piece [MASK]; vocabulary: sequence of pieces.
      mask_prob: float, probability of [MASK].
      random_prob: float, probability of a random piece.
    """
    rng = self._rng
    # 0.5 exactly by default, as in the reference.
    keep_prob = round(1 - random_prob / (1 - mask_prob), 12) if (
        mask_prob < 1) else 0.0
    for index in indices:
      if rng.random() < mask_prob:
        items[index] = mask
      elif rng.random() >= keep_prob:
        items[index] = vocabulary[rng.randint(0, len(vocabulary) - 1)]


class StreamSampler(ReferenceSampler):
  """Choices of the same distributions from fewer random numbers.

  `other` alone differs: it never returns the index itself. Numbers are computed
  from a float of 53 bits, or from 32 bits, times their range; this changes no
  probability by more than one in a million.

  Args:
    rng: random.Random.
  """

  OTHER_MAY_BE_SAME = False

  def __init__(self, rng):
    super().__init__(rng)
    self._words: Tuple[int, ...] = ()
    self._used = 0  # Of these.

  def integer(self, low, high):
    return low + int(self._rng.random() * (high - low + 1))

  def other(self, index, count):
    other = int(self._rng.random() * (count - 1))
    return other + (other >= index)

  def shuffle(self, items):
    random_ = self._rng.random
    for last in range(len(items) - 1, 0, -1):
      other = int(random_() * (last + 1))
      items[last], items[other] = items[other], items[last]

  def order(self, items):
    """Shuffles as far as it is iterated: mostly a few items are needed."""
    random_ = self._rng.random
    for last in range(len(items) - 1, -1, -1):
      other = int(random_() * (last + 1))
      items[last], items[other] = items[other], items[last]
      yield items[last]

  def _next_words(self, count):
    """Returns `count` random numbers of 32 bits, which are made in bulk."""
    end = self._used + count
    if end > len(self._words):
      size = max(count, _WORDS_AT_ONCE)
      self._words = struct.unpack("<%dI" % size, self._rng.getrandbits(
          32 * size).to_bytes(4 * size, "little"))
      end = count
    self._used = end
    return self._words[end - count:end]

  def _some(self, items, count):
    """Returns a dict with random items as keys, mostly `count` or more."""
    size = len(items)
    return dict.fromkeys([
        items[word * size >> 32]
        for word in self._next_words(count + count // 4 + 1)])

  def subset(self, items, count):
    # If it is most of them, choose those that are left out.
    rest = len(items) - count
    fewer = count if count <= rest else max(0, rest)
    found = self._some(items, fewer)
    while len(found) < fewer:
      found.update(self._some(items, fewer))
    chosen = list(found)[:fewer]
    if fewer == count:
      return chosen
    left_out = set(chosen)
    return [item for item in items if item not in left_out]

  def cuts_in_front(self, longer, difference, rest):
    lost_b = difference * longer + (rest + 1) // 2
    return self._heads(difference + rest - lost_b), self._heads(lost_b)

  def _heads(self, count):
    """Returns how many of `count` fair coins show heads."""
    return bin(self._rng.getrandbits(count)).count("1") if count else 0

  def replace(self, items, indices, mask, vocabulary, mask_prob=0.8,
              random_prob=0.1):
    mask_bound, keep_bound = _bounds(mask_prob, random_prob)
    random_, size = self._rng.random, len(vocabulary)
    for index, word in zip(indices, self._next_words(len(indices))):
      if word < mask_bound:
        items[index] = mask
      elif word >= keep_bound:
        items[index] = vocabulary[int(random_() * size)]


@functools.lru_cache(maxsize=16)
def _bounds(mask_prob, random_prob):
  """Returns bounds for numbers of 32 bits: those below the first one mask a
  piece, those from there to the second one keep it."""
  return int(mask_prob * 2**32), int((1 - random_prob) * 2**32)
