"""A result that a worker process computes meanwhile."""

import operator
import os
import threading

import pytest
from program import is_gone
from stream_corpus import PATIENCE_SECONDS, needs_workers

from bert_e2e.data import pending, worker_pool


def test_the_result_of_a_call_in_this_process():
  started = pending.Pending(operator.add, 1, 2, what="a sum", in_worker=False)
  assert started.result() == started.result() == 3
  with pytest.raises(ZeroDivisionError):
    pending.Pending(divmod, 1, 0, what="a quotient", in_worker=False)


@needs_workers
def test_the_result_of_a_worker():
  here = os.getpid()
  started = pending.Pending(os.getpid, what="a number")
  assert started.result() == started.result() != here


@needs_workers
def test_what_a_worker_raises_is_raised_by_the_result():
  started = pending.Pending(int, "x", what="a number")
  for _ in range(2):
    with pytest.raises(ValueError, match="invalid literal"):
      started.result()
  with pytest.raises(worker_pool.WorkerError, match="ZeroDivisionError"):
    pending.Pending(divmod, 1, 0, what="a quotient").result()


@needs_workers
def test_a_worker_that_dies():
  with pytest.raises(worker_pool.WorkerError, match=(
      "ended with exit code 7 while it worked on the preflight")):
    pending.Pending(os._exit, 7, what="the preflight").result()


@needs_workers
def test_nothing_is_left_behind():
  before = set(threading.enumerate())
  worker = pending.Pending(os.getpid, what="a number").result()
  for thread in set(threading.enumerate()) - before:
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
  assert is_gone(worker)
