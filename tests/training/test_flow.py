"""A stream that is opened before TensorFlow asks for it."""

import threading

import pytest

from bert_e2e.data.stream import Shard
from bert_e2e.training.input_pipeline import Flow


class Examples:
  """Stands for a stream.ExampleIterator; numbers from `start` on."""

  shared = frozenset()

  def __init__(self, start):
    self._numbers = iter(range(start, start + 600))
    self.is_closed = self.is_stopped = False

  def __iter__(self):
    return self

  def __next__(self):
    if self.is_stopped:
      raise StopIteration
    return next(self._numbers)

  def stop(self):
    self.is_stopped = True

  def close(self):
    self.is_closed = True


@pytest.fixture(name="opened")
def fixture_opened():
  """Returns (a Flow, the list of what it has opened: start, shard, thread and
  Examples)."""
  opened = []

  def open_examples(start, shard):
    opened.append((start, shard, threading.current_thread(), Examples(start)))
    return opened[-1][-1]

  return Flow(open_examples), opened


def test_it_is_the_stream_that_is_asked_for(opened):
  flow, found = opened
  flow.open_early(7)
  assert [x for block in flow.lists(7, 0, 1) for x in block] == list(
      range(7, 607))
  (start, shard, thread, examples), = found
  assert (start, shard) == (7, Shard(0, 1)) and examples.is_closed
  assert thread is not threading.current_thread()
  assert flow.num_examples == 600
  # Only once: an evaluation may read a stream again.
  assert next(flow.lists(7, 0, 1))[0] == 7
  assert len(found) == 2


@pytest.mark.parametrize("place", [(8, 0, 1), (7, 1, 2)])
def test_another_place_is_opened_anew(opened, place):
  flow, found = opened
  flow.open_early(7)
  lists = flow.lists(*place)
  assert next(lists)[0] == place[0]
  assert [(start, shard) for start, shard, _, _ in found] == [
      (7, Shard()), (place[0], Shard(*place[1:]))]
  assert found[0][-1].is_closed and not found[1][-1].is_closed


def test_its_error_is_that_of_the_stream():
  def broken(start, shard):
    raise ValueError("no text")

  flow = Flow(broken)
  flow.open_early(0)
  with pytest.raises(ValueError, match="no text"):
    next(flow.lists())
  assert isinstance(flow.error, ValueError)


def test_a_flow_that_was_stopped_before(opened):
  flow, found = opened
  flow.stop()
  flow.open_early(0)
  assert not list(flow.lists())
  assert found[0][-1].is_stopped
