"""What the user sees: progress and results on the terminal, all in a log file.

TensorFlow logs a great deal that matters after something went wrong and hardly
before. So its messages go to `output_dir/train.log` alone, while the messages
of this project's own modules go there and to the terminal.
"""

import logging
import logging.handlers
import os
import sys
import time

import tensorflow.compat.v1 as tf

import file_io

LOG_FILE = "train.log"

logger = logging.getLogger(__name__)

# Loggers that stay away from the terminal. What ends the run is raised as well,
# and shown as that.
_FILE_ONLY = ("tensorflow", "absl", "py")
_FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_TERMINAL_FORMAT = "%(message)s"
# A remote log file is written that many messages at a time.
_REMOTE_BUFFER = 1000
# Messages that may come before there is a log file.
_EARLY_BUFFER = 10000


class _TerminalFormatter(logging.Formatter):
  """Marks warnings and errors, leaves progress lines as they are."""

  def format(self, record):
    text = super().format(record)
    if record.levelno >= logging.WARNING:
      text = "%s: %s" % (record.levelname, text)
    return text


def _for_terminal(record):
  return record.name.split(".")[0] not in _FILE_ONLY


def log_to_terminal():
  """Sends this project's messages to standard error."""
  root = logging.getLogger()
  for handler in list(root.handlers):
    root.removeHandler(handler)
  root.setLevel(logging.INFO)
  terminal = logging.StreamHandler(sys.stderr)
  terminal.setFormatter(_TerminalFormatter(_TERMINAL_FORMAT))
  terminal.addFilter(_for_terminal)
  root.addHandler(terminal)
  # Until there is a log file.
  root.addHandler(logging.handlers.MemoryHandler(
      _EARLY_BUFFER, flushLevel=logging.CRITICAL + 1))
  logging.captureWarnings(True)
  # TensorFlow's and absl's loggers have handlers of their own; the root's
  # handlers take their place.
  for name in ("tensorflow", "absl"):
    noisy = logging.getLogger(name)
    for handler in list(noisy.handlers):
      noisy.removeHandler(handler)
    noisy.propagate = True
  tf.logging.set_verbosity(tf.logging.INFO)


def log_to_file(output_dir):
  """Appends all messages, earlier ones too, to `output_dir/train.log`.

  Args:
    output_dir: folder, local or with a scheme; it must exist.
  """
  path = os.path.join(output_dir, LOG_FILE)
  if file_io.is_local(path):
    handler = logging.FileHandler(path, encoding="utf-8")  # type: logging.Handler
  else:
    stream = logging.StreamHandler(tf.io.gfile.GFile(path, "a"))
    stream.setFormatter(logging.Formatter(_FILE_FORMAT))
    handler = logging.handlers.MemoryHandler(
        _REMOTE_BUFFER, flushLevel=logging.ERROR, target=stream)
  handler.setFormatter(logging.Formatter(_FILE_FORMAT))
  root = logging.getLogger()
  for early in list(root.handlers):
    if isinstance(early, logging.handlers.MemoryHandler):
      root.removeHandler(early)
      early.setTarget(handler)
      early.close()
  root.addHandler(handler)


class ProgressHook(tf.train.SessionRunHook):
  """Logs a line of figures every so many steps, and after the last one.

  Args:
    figures: dict from name to scalar float Tensor; logged in this order.
    every_steps: int, steps between two lines.
    last_step: int, the global step at which training ends.
    batch_size: int, sequences a step.
  """

  def __init__(self, figures, every_steps, last_step, batch_size):
    self._figures = figures
    self._every_steps = every_steps
    self._last_step = last_step
    self._batch_size = batch_size
    self._step = self._first_step = self._logged_step = 0
    self._logged_time = 0.0

  def begin(self):
    self._global_step = tf.train.get_global_step()

  def after_create_session(self, session, coord):
    self._step = session.run(self._global_step)
    self._first_step = self._logged_step = self._step
    self._logged_time = time.time()
    logger.info("training from step %d to %d", self._step, self._last_step)

  def before_run(self, run_context):
    # The step is counted here: read beside the train op, the variable would
    # race with its own update.
    due = self._step + 1
    wanted = (due % self._every_steps == 0 or
              due in (self._first_step + 1, self._last_step))
    return tf.train.SessionRunArgs(self._figures) if wanted else None

  def after_run(self, run_context, run_values):
    self._step += 1
    if run_values.results is None:
      return
    now = time.time()
    done = (self._step - self._logged_step) * self._batch_size
    figures = "  ".join(
        "%s %.5g" % item for item in run_values.results.items())
    logger.info("step %d/%d  %s  %.1f sequences/s", self._step, self._last_step,
                figures, done / max(now - self._logged_time, 1e-9))
    self._logged_step, self._logged_time = self._step, now
