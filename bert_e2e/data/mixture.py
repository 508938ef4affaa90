"""Mixtures: several texts that are trained on in parallel.

Each text has a stream of its own, and a `Schedule` tells which of them an
example of the mixture is from. That depends on the example's number alone, so
the number of trained examples tells the place in every stream. TensorFlow is
not needed here.
"""

import contextlib
from typing import Any, Iterator, List, NamedTuple, Sequence

from bert_e2e.common import file_io
from bert_e2e.common.digests import digest_of_json
from bert_e2e.common.messages import list_names
from bert_e2e.config import MixturePart, mixture_period
from bert_e2e.data import resume, stream


class Schedule:
  """Which text each example of a mixture is from.

  Of the first N examples, a text of weight w has floor(N w) or ceil(N w), for
  every N. Among all such schedules this is the one with the earliest examples
  of the first text, then of the second, and so on. With two texts, of which the
  second has the weight p, example n is from the second one if and only if
  floor((n + 1) p) > floor(n p).

  Args:
    weights: list of fractions.Fraction, all positive; their sum is 1.

  >>> from fractions import Fraction
  >>> Schedule([Fraction(3, 4), Fraction(1, 4)]).order
  [0, 0, 0, 1]

  Source: the conditions are those of the apportionment of just-in-time
    production (Steiner and Yeomans 1993, "Level schedules for mixed-model,
    just-in-time processes"): such a schedule exists for all weights.
  """

  def __init__(self, weights):
    period = mixture_period(weights)
    self._parts = [int(weight * period) for weight in weights]
    self.order = _order(self._parts, period)

  def counts(self, number) -> List[int]:
    """Returns how many of the first `number` examples are from each text."""
    periods, rest = divmod(number, len(self.order))
    return [periods * part + self.order[:rest].count(text)
            for text, part in enumerate(self._parts)]

  def texts(self, number) -> Iterator[int]:
    """Yields the text of each example from number `number` on, endlessly."""
    place = number % len(self.order)
    while True:
      yield from self.order[place:]
      place = 0


def _order(parts, period):
  """Returns the texts of the examples of a period.

  Args:
    parts: list of int, how many of them each text has; period: int, their sum.
  """
  counts, order = [0] * len(parts), []
  for number in range(1, period + 1):
    for text, part in enumerate(parts):
      # Rounded up: no text has more than that.
      if counts[text] < -(-number * part // period):
        counts[text] += 1
        if _can_go_on(counts, number, parts, period):
          order.append(text)
          break
        counts[text] -= 1
  return order


def _can_go_on(counts, number, parts, period):
  """Tells whether no text will have less than its rounded-down part.

  Args:
    counts: list of int, of each text's examples among the first `number` ones.
    parts, period: see `_order`.
  """
  for end in range(number, period + 1):
    lacking = [end * part // period - count
               for count, part in zip(counts, parts)]
    if sum(lack for lack in lacking if lack > 0) > end - number:
      return False
    if min(lacking) >= 0:  # And from here on.
      return True
  return True


class MixedText(NamedTuple):
  """A text of a mixture: a config.MixturePart, and the text_source.TextSource
  of its files."""
  part: MixturePart
  source: Any


class Mixture:
  """Several texts as one source of examples.

  Args:
    texts: list of MixedText.

  Raises:
    ValueError: two texts share a file, of which the model would see the same
      examples twice.
  """

  def __init__(self, texts: Sequence[MixedText]):
    _check_files_differ(texts)
    self.texts = texts
    self._schedule = Schedule([text.part.weight for text in texts])

  def check(self):
    """Checks that each text yields an example; see TextSource.check."""
    for _, source in self.texts:
      source.check()

  def record(self, num_hosts=1):
    """Returns the resume.StreamRecord of the mixture's stream.

    Args:
      num_hosts: see TextSource.record.
    """
    first, *others = [source.record(num_hosts) for _, source in self.texts]
    # The options differ between the texts by their formats only.
    found = ["%s %s" % (record.text["bytes"], digest_of_json(
        [record.text, record.options.get(resume.FORMATS)]))
             for record in others]
    if self.texts[-1].part.is_replay:
      return first.with_options({
          "replay_proportion": float(self.texts[-1].part.weight),
          "replay_input_file": "text of %s bytes, digest %s" % tuple(
              found[0].split())})
    return first.with_options({
        "mixture_weights": ":".join(
            str(part.weight) for part, _ in self.texts),
        "mixture_texts": ", ".join(found)})

  def count_examples(self):
    """Returns the number of examples of one pass, by building them; see `open`.
    """
    return sum(1 for _ in self.open(num_epochs=1))

  def open(self, *, shard=stream.Shard(), first_example=0, log=None,
           num_epochs=None, num_workers=0, **how):
    """Opens the mixture's stream for a host.

    Args:
      shard, first_example, log: see TextSource.open. Each host reads its part
        of each text, and its examples follow the schedule.
      num_epochs: int, passes over a text; the stream ends with the first one,
        other than that of --replay_input_file, that is complete. None continues
        indefinitely.
      num_workers: int, processes that build examples. Each text has its part of
        them, and one at least; 0 builds in this process.
      **how: held_out; see stream.ExampleStream.

    Returns:
      MixedIterator.
    """
    log = log or resume.WindowLog(None)
    examples = [
        source.open(
            shard=shard, first_example=count, log=log.of_text(number),
            num_epochs=None if part.is_replay else num_epochs,
            num_workers=num_workers and max(
                1, round(part.weight * num_workers)), **how)
        for number, ((part, source), count) in enumerate(
            zip(self.texts, self._schedule.counts(first_example)))]
    return MixedIterator(examples, self._schedule.texts(first_example))

  def progress(self, number, log):
    """Returns how much of each text there is before an example.

    Args:
      number: int, of the example in a host's stream.
      log: resume.WindowLog of that stream.

    Returns:
      list of resume.TextProgress.
    """
    return [
        log.of_text(index).progress(count, part.name)
        for index, ((part, _), count) in enumerate(
            zip(self.texts, self._schedule.counts(number)))]


class MixedIterator:
  """An iterator over the stream of a mixture, as stream.ExampleIterator is over
  that of a text. It ends when one of its streams ends. When a stream ends or
  fails, the workers of all streams end.

  Args:
    streams: list of stream.ExampleIterator.
    order: iterator of int, the stream that each example is from.
  """

  def __init__(self, streams, order):
    self._streams = streams
    self._examples = _in_order(streams, order)

  def __iter__(self):
    return self

  def __next__(self):
    return next(self._examples)

  @property
  def shared(self):
    """set of bytes, see stream.ExampleIterator."""
    return set().union(*(each.shared for each in self._streams))

  def check(self):
    """Raises worker_pool.WorkerError if a worker has died or hangs."""
    for each in self._streams:
      each.check()

  def stop(self):
    """Makes the iteration end soon, from any thread, whatever it waits for."""
    for each in self._streams:
      each.stop()

  def close(self):
    """Ends the workers. Not while another thread waits for an item."""
    self._examples.close()


def _in_order(streams, order):
  """Yields the examples of a MixedIterator up to the end of a stream; closes
  all streams then, on an error, and when it is closed."""
  with contextlib.ExitStack() as stack:
    for each in streams:
      stack.callback(each.close)
    for number in order:
      try:
        example = next(streams[number])
      except StopIteration:
        return
      yield example


def _check_files_differ(texts):
  """Raises ValueError if two MixedTexts share a file."""
  parts = {}
  for part, source in texts:
    for path in source.corpus.files:
      real = file_io.real_path(path)
      if parts.setdefault(real, part) is not part:
        raise ValueError(
            "%s and %s both name %s. Give a text a larger weight instead." % (
                parts[real].in_words, part.in_words, list_names([path])))
