"""A result that a worker process computes while this process goes on."""

import threading
from typing import Any

from bert_e2e.data import worker_pool


class Pending:
  """The result of a call, which may still be on its way.

  Args:
    function: what to call; can be pickled, and a fresh interpreter can import
      its module, see worker_pool.py.
    *args: its arguments.
    what: str, what it works on, for the error that names a dead worker's task.
    in_worker: bool; if False, the function is called at once in this process.

  Raises:
    What the function raises, if it is called in this process.
  """

  def __init__(self, function, *args, what, in_worker=True):
    self._result: Any = None
    self._error: Any = None
    self._thread: Any = None
    if not in_worker:
      self._result = function(*args)
      return
    # It sleeps nearly all the time. A daemon does not keep a program that ends
    # with an error from ending.
    self._thread = threading.Thread(
        target=self._work, args=(function, args, what), daemon=True)
    self._thread.start()

  def _work(self, function, args, what):
    """Has a worker process call the function; runs in a thread."""
    pool = worker_pool.WorkerPool(
        function, 1, 1, lambda *_: what, timeout_seconds=float("inf"))
    try:
      with pool:
        (_, self._result), = pool.map([(None, args)])
    except Exception as e:
      self._error = e

  def result(self):
    """Returns the result, as soon as there is one; the same at every call.

    Raises:
      ValueError: the function raised it.
      OSError, worker_pool.WorkerError: the worker could not be started, or
        died, or the function raised another error.
    """
    if self._thread:
      self._thread.join()
    if self._error:
      raise self._error
    return self._result
