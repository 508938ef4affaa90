"""SIGTERM and Ctrl-C: finish the current step, save a checkpoint, exit.

Python runs its signal handlers in the main thread, between two bytecode
instructions: not while TensorFlow computes a step or waits for input there. A
separate thread therefore reads the signals from a socket that the interpreter's
C-level handler writes to immediately. The first signal ends a wait for input,
the second one the process.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
from typing import Any, Callable, Dict, List

import tensorflow.compat.v1 as tf

from bert_e2e.common.errors import Interrupted

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# The vote of a worker that has finished training, added to the number of
# workers that have received a signal; larger than any number of workers.
_FINISHED = 1 << 16


class SignalHandler:
  """Handles the signals that stop the program; a context manager.

  Outside of training, the first signal raises Interrupted in the main thread.
  During training (see `StopHook`) it is recorded, so that the current step can
  finish.

  Attributes:
    signal: the first signal received, a signal.Signals; None before.
    is_stopping: bool, True once training was stopped by a signal to this
      process or to another worker.
    is_finished: bool, True if training needs no further step. Setting it also
      stops the other workers.
  """

  def __init__(self):
    self.signal: Any = None
    self.is_stopping = False
    self.is_finished = False
    self._is_training = False
    self._callbacks: List[Callable[[], None]] = []
    self._handlers: Dict[int, Any] = {}

  def __enter__(self):
    self._reader, self._writer = socket.socketpair()
    self._writer.setblocking(False)
    self._handlers = {
        number: signal.signal(number, self._handle) for number in SIGNALS}
    self._wakeup_fd = signal.set_wakeup_fd(self._writer.fileno())
    threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *exc_info):
    signal.set_wakeup_fd(self._wakeup_fd)
    for number, handler in self._handlers.items():
      signal.signal(number, handler)
    self._writer.close()  # This ends the thread.

  @property
  def exit_code(self):
    """int, 128 + the number of the first signal, the shells' convention."""
    return 128 + self.signal

  @property
  def vote(self):
    """int, this worker's vote on stopping; see `StopHook`."""
    return (self.signal is not None) + _FINISHED * self.is_finished

  def add_callback(self, function):
    """Registers a function to call at the first signal, in another thread."""
    self._callbacks.append(function)

  def remove_callback(self, function):
    """Undoes `add_callback`, if the function is registered."""
    with contextlib.suppress(ValueError):
      self._callbacks.remove(function)

  def set_training(self, is_training):
    """Declares the start or the end of training.

    Raises:
      Interrupted: a signal arrived before training started.
    """
    self._is_training = is_training
    # Install the handlers again: TensorFlow takes over SIGTERM when it joins a
    # cluster, and a TPUEstimator takes over SIGINT.
    for number in self._handlers:
      signal.signal(number, self._handle)
    if is_training and self.signal is not None:
      raise Interrupted

  def _handle(self, number, frame):
    del frame
    if self.signal is None:
      self.signal = signal.Signals(number)
    if not self._is_training:
      raise Interrupted

  def _watch(self):
    """Runs in its own thread; receives one byte per signal."""
    count = 0
    with self._reader:
      while True:
        numbers = self._reader.recv(1)
        if not numbers:
          return
        number = numbers[0]
        if number not in SIGNALS:
          continue
        count += 1
        if count > 1:
          os._exit(128 + number)
        self.signal = signal.Signals(number)
        if self._is_training:
          logger.warning(
              "%s: finishing the current step and saving a checkpoint; a "
              "second signal exits immediately", self.signal.name)
        for function in list(self._callbacks):
          function()


class StopHook(tf.train.SessionRunHook):
  """Stops training after the step during which a signal arrived.

  The estimator's own hook then saves a checkpoint.

  All workers of a cluster must stop after the same step: a step that one of
  them skips would block the others. There, the hook acts on the sum of all
  workers' votes.

  Args:
    handler: SignalHandler.
    votes: float32 [], the sum of `SignalHandler.vote` over all workers, equal
      on all of them; None for a single process.
  """

  def __init__(self, handler, votes=None):
    self._handler = handler
    self._votes = votes

  def after_create_session(self, session, coord):
    self._handler.set_training(True)

  def before_run(self, run_context):
    if self._votes is None:
      return None
    return tf.train.SessionRunArgs(self._votes)

  def after_run(self, run_context, run_values):
    votes = (self._handler.vote if self._votes is None else
             int(run_values.results))
    if votes % _FINISHED:
      self._handler.is_stopping = True
    if votes >= _FINISHED:
      self._handler.is_finished = True
    if votes:
      run_context.request_stop()
