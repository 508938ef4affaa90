"""Ends a training of several machines that waits for one that is gone.

TensorFlow's collective operations wait for a dead or hung peer for ever. So a
thread looks whether steps still come, and ends the process where they do not;
`supervise.py` then starts it again, from the latest checkpoint.
"""

import logging
import os
import threading
import time

import tensorflow.compat.v1 as tf

# What a process exits with that only waits for a peer, or was told by one to
# stop: it is worth while to start it again (sysexits.h calls it EX_TEMPFAIL).
EXIT_CODE = 75

logger = logging.getLogger(__name__)


class Watchdog(tf.train.SessionRunHook):
  """Ends the process where no step ends for a time; a context manager.

  It watches from its start on, so the wait for the others to come, too.

  Args:
    seconds: float.
  """

  def __init__(self, seconds):
    self._seconds = seconds
    self._is_over = threading.Event()
    self._due = 0.0

  def __enter__(self):
    self._feed()
    threading.Thread(target=self._watch, daemon=True).start()
    return self

  def __exit__(self, *exc_info):
    self._is_over.set()

  def after_run(self, run_context, run_values):
    self._feed()

  def _feed(self):
    self._due = time.monotonic() + self._seconds

  def _watch(self):
    """The thread."""
    while not self._is_over.wait(max(0.0, self._due - time.monotonic())):
      if time.monotonic() >= self._due:
        logger.error(
            "no step in %g seconds: another worker is gone or hangs. This one "
            "ends, so that all can start again from the latest checkpoint",
            self._seconds)
        logging.shutdown()
        os._exit(EXIT_CODE)
