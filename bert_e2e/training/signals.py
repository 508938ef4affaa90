"""SIGTERM and Ctrl-C: the step in hand ends, a checkpoint is saved, then all.

Python runs its signal handlers in the main thread between two of its own
instructions, so not while TensorFlow computes a step or waits for input there.
So a thread of its own reads the signals from a socket that the interpreter's
C-level handler writes to at once: it ends a wait for input at the first signal
and the process at the second.
"""

import logging
import os
import signal
import socket
import threading
from typing import Any, Callable, Dict, List

import tensorflow.compat.v1 as tf

from bert_e2e.common.errors import Interrupted

logger = logging.getLogger(__name__)

# What one that finds the training finished adds to the signals that all of them
# count: more than there are processes.
_FINISHED = 1 << 16
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
  """Notes the signals that should end the program; a context manager.

  Outside of training the first one raises Interrupted in the main thread. In
  training (see `StopHook`) it is noted, so that the step can end.

  Attributes:
    signal: the first signal, a signal.Signals; None before.
    is_stopping: bool, whether a training ended by a signal, to this process or
      to one that trained with it.
    is_finished: bool, whether the training needs no further step; set where
      that is found out, it ends the others' training as well.
  """

  def __init__(self):
    self.signal: Any = None
    self.is_stopping = False
    self.is_finished = False
    self._is_training = False
    self._on_first: List[Callable[[], None]] = []
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
    self._writer.close()  # The thread ends with it.

  @property
  def exit_code(self):
    """128 + the first signal, as a shell counts."""
    return 128 + self.signal

  @property
  def vote(self):
    """What this process says to those that train with it, a number: see
    StopHook."""
    return (self.signal is not None) + _FINISHED * self.is_finished

  def on_first(self, function):
    """Has a function called at the first signal, in another thread."""
    self._on_first.append(function)

  def train(self, is_training):
    """Tells that training begins or has ended.

    Raises:
      Interrupted: a signal came before it began.
    """
    self._is_training = is_training
    # TensorFlow takes SIGTERM for itself where it joins others, and a
    # TPUEstimator SIGINT.
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
    """The thread: gets a byte for each signal."""
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
              "%s: the step in hand ends, a checkpoint is saved; a second "
              "signal stops at once", self.signal.name)
        for function in self._on_first:
          function()


class StopHook(tf.train.SessionRunHook):
  """Ends a training behind the step in which a signal came.

  The estimator's own hook then saves a checkpoint.

  Where several processes train together, a step that one of them leaves out
  would keep the others waiting. There, the hook goes by what all of them say.

  Args:
    interruption: Interruption.
    votes: float32 [], the sum of the processes' `Interruption.vote`, the same
      number for all of them; None where there is one.
  """

  def __init__(self, interruption, votes=None):
    self._interruption = interruption
    self._votes = votes

  def after_create_session(self, session, coord):
    self._interruption.train(True)

  def before_run(self, run_context):
    if self._votes is None:
      return None
    return tf.train.SessionRunArgs(self._votes)

  def after_run(self, run_context, run_values):
    votes = (self._interruption.vote if self._votes is None else
             int(run_values.results))
    if votes % _FINISHED:
      self._interruption.is_stopping = True
    if votes >= _FINISHED:
      self._interruption.is_finished = True
    if votes:
      run_context.request_stop()
