"""The random draws behind an example: the reference's, and faster ones.

Which documents are paired, where texts are cut, which pieces are masked: the
rules stand in create_pretraining_data.py and ask for their chances here.
`ReferenceDraws` makes the very draws of google-research/bert, one by one, so
that the offline program gives its examples. `StreamDraws` has the same
distributions and needs a fifth of the random numbers.
"""

import struct
from typing import Tuple

# Numbers of 32 bits below the first bound mask a piece, those from there to the
# second one keep it.
_MASK_BOUND, _KEEP_BOUND = int(0.8 * 2**32), int(0.9 * 2**32)
_WORDS_AT_ONCE = 512


class ReferenceDraws:
  """Random draws, the very ones of google-research/bert and in its order.

  Args:
    rng: random.Random.
  """

  # Whether `other` may give the same number, and does where there is one only.
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
    """Returns a number below `count`, mostly not `index`: ten tries."""
    for _ in range(10):
      other = self._rng.randint(0, count - 1)
      if other != index:
        break
    return other

  def shuffle(self, items):
    """Shuffles a list in place, by the draws of `rng.shuffle(items)`.

    That method calls three functions for each draw; this takes half the time.
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
    """Returns `count` items of a list without repeats, or all, as a list."""
    items = list(items)
    self.shuffle(items)
    return items[:count]

  def cuts_in_front(self, losers):
    """Draws for each piece that goes whether it goes in front or at the back.

    Args:
      losers: list of int, which of two lists (0, 1) loses a piece, in order.

    Returns:
      (int, int), how many pieces each list loses in front.
    """
    random_ = self._rng.random
    in_front = [loser for loser in losers if random_() < 0.5]
    cut_b = sum(in_front)
    return len(in_front) - cut_b, cut_b

  def replacements(self, count, mask, vocabulary):
    """Draws what becomes of masked pieces.

    80 % become [MASK], 10 % stay and 10 % become a random one of the vocabulary
    (Devlin et al. 2019, arXiv 1810.04805, section 3.1).

    Args:
      count: int, masked pieces.
      mask: the piece [MASK]; vocabulary: sequence of pieces.

    Returns:
      list of pieces; None for one that stays.
    """
    rng = self._rng
    drawn = []
    for _ in range(count):
      if rng.random() < 0.8:
        drawn.append(mask)
      elif rng.random() < 0.5:
        drawn.append(None)
      else:
        drawn.append(vocabulary[rng.randint(0, len(vocabulary) - 1)])
    return drawn


class StreamDraws(ReferenceDraws):
  """Draws of the same distributions from fewer random numbers, for the stream.

  Different is `other`, which is never `index`. Numbers come from a float of 53
  bits, or from 32 bits, times their range; no chance is off by more than one in
  a million for it.

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
    """Draws as far as it is iterated: mostly a few items are asked for."""
    random_ = self._rng.random
    for last in range(len(items) - 1, -1, -1):
      other = int(random_() * (last + 1))
      items[last], items[other] = items[other], items[last]
      yield items[last]

  def _next_words(self, count):
    """Returns `count` random numbers of 32 bits, of many drawn at once."""
    end = self._used + count
    if end > len(self._words):
      size = max(count, _WORDS_AT_ONCE)
      self._words = struct.unpack("<%dI" % size, self._rng.getrandbits(
          32 * size).to_bytes(4 * size, "little"))
      end = count
    self._used = end
    return self._words[end - count:end]

  def _some(self, items, count):
    """Returns a dict from items in the order drawn, mostly `count` or more, to
    None."""
    size = len(items)
    return dict.fromkeys([
        items[word * size >> 32]
        for word in self._next_words(count + count // 4 + 1)])

  def subset(self, items, count):
    # Of many, draw those that are left out: half of them at the most.
    fewer = max(0, min(count, len(items) - count))
    drawn = self._some(items, fewer)
    while len(drawn) < fewer:
      drawn.update(self._some(items, fewer))
    chosen = list(drawn)[:fewer]
    if fewer == count:
      return chosen
    left_out = set(chosen)
    return [item for item in items if item not in left_out]

  def cuts_in_front(self, losers):
    lost_b = sum(losers)
    return self._heads(len(losers) - lost_b), self._heads(lost_b)

  def _heads(self, count):
    """Returns how many of `count` fair coins show heads."""
    return bin(self._rng.getrandbits(count)).count("1") if count else 0

  def replacements(self, count, mask, vocabulary):
    return [
        mask if word < _MASK_BOUND else None if word < _KEEP_BOUND else
        vocabulary[self.integer(0, len(vocabulary) - 1)]
        for word in self._next_words(count)]
