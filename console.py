"""What the user sees: progress and results on the terminal, all in a log file.

TensorFlow logs a great deal that matters after something went wrong and hardly
before. So its messages go to `output_dir/train.log` alone, while the messages
of this project's own modules go there and to the terminal.
"""

import contextlib
import logging
import logging.handlers
import os
import shutil
import sys
import time
from typing import List

import tensorflow.compat.v1 as tf

import example_counter
import file_io

LOG_FILE = "train.log"

logger = logging.getLogger(__name__)

# Loggers that stay away from the terminal. What ends the run is raised as well,
# and shown as that.
_FILE_ONLY = ("tensorflow", "absl", "py")
_FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_TERMINAL_FORMAT = "%(message)s"
# Steps behind the first one that tell how long the others take.
_TIMED_STEPS = 10
# A remote log file is written that many messages at a time.
_REMOTE_BUFFER = 1000
_BAR_WIDTH = 20
_BAR_SECONDS = 0.5
# Messages that may come before there is a log file.
_EARLY_BUFFER = 10000


class _Bar:
  """A bar in the terminal's last line; nothing where there is no terminal."""

  def __init__(self):
    self._drawn = ""
    self._due = 0.0

  def is_due(self):
    """Tells whether there is a terminal, and the bar is due anew."""
    return sys.stderr.isatty() and time.monotonic() >= self._due

  def draw(self, share, text):
    """Draws the bar anew.

    Args:
      share: float, 0 to 1; text: str, one line; what is too long is cut off.
    """
    self._due = time.monotonic() + _BAR_SECONDS
    filled = int(share * _BAR_WIDTH)
    bar = "[%s%s] %s" % ("#" * filled, "." * (_BAR_WIDTH - filled), text)
    width = shutil.get_terminal_size().columns - 1
    self.clear()
    self._drawn = bar[:width]
    sys.stderr.write(self._drawn)
    sys.stderr.flush()

  def clear(self):
    """Empties the line."""
    if self._drawn:
      self._drawn = ""
      sys.stderr.write("\r\x1b[K")


terminal_bar = _Bar()


class _Clock:
  """The time of a training: it stands still while something else is done."""

  def __init__(self):
    self._paused = 0.0

  def now(self):
    """Returns seconds since some moment."""
    return time.monotonic() - self._paused

  @contextlib.contextmanager
  def stopped(self):
    started = time.monotonic()
    try:
      yield
    finally:
      self._paused += time.monotonic() - started


clock = _Clock()


class _TerminalHandler(logging.StreamHandler):
  """Writes messages above the bar; progress lines only without a terminal."""

  def emit(self, record):
    if getattr(record, "is_progress", False) and sys.stderr.isatty():
      return
    terminal_bar.clear()
    super().emit(record)


class _FileHandler(logging.FileHandler):
  """Says once, on the terminal, that the file can't be written: a full disk
  takes the log, not the run."""

  _is_told = False

  def handleError(self, record):
    error = sys.exc_info()[1]
    if not isinstance(error, OSError):
      super().handleError(record)
    elif not self._is_told:
      self._is_told = True
      terminal_bar.clear()
      sys.stderr.write("WARNING: %s cannot be written: %s\n" % (
          self.baseFilename, error))


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
  terminal = _TerminalHandler(sys.stderr)
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


def log_to_file(output_dir, host=0):
  """Appends all messages, earlier ones too, to `output_dir/train.log`.

  Args:
    output_dir: folder, local or with a scheme; it must exist.
    host: int, which one this is of several processes that log there; those
      behind the first have a `train.HOST.log`.
  """
  name, extension = os.path.splitext(LOG_FILE)
  path = os.path.join(output_dir, LOG_FILE if not host else "%s.%d%s" % (
      name, host, extension))
  if file_io.is_local(path):
    handler = _FileHandler(path, encoding="utf-8")  # type: logging.Handler
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
  """Shows how a training goes: lines, TensorBoard scalars, a bar.

  A line is logged every so many steps, and after the first and the last one;
  the same figures go to TensorBoard's event file. On a terminal a bar with them
  stands below the other messages.

  Args:
    figures: dict from name to scalar float Tensor, shown in this order.
    features: dict of a step's input tensors; how long a step waits for them is
      the input's share of the time.
    train_op: the op of a step; not each one need advance the global step.
    every_steps: int, steps between two lines.
    last_step: int, the global step at which training ends.
    batch_size: int, sequences a step.
    output_dir: folder of the event file; None for none.
    epochs: function from a number of examples to the epochs that they are, or
      to None; or None.
    on_eta: function that is told the seconds that the rest will take, once,
      after the first steps; or None.
  """

  def __init__(self, figures, features, train_op, every_steps, last_step,
               batch_size, output_dir, epochs=None, on_eta=None):
    self._figures = figures
    self._every_steps = every_steps
    self._last_step = last_step
    self._batch_size = batch_size
    self._output_dir = output_dir
    self._epochs = epochs
    self._on_eta = on_eta
    self._step = self._first_step = 0
    self._num_examples = self._logged_examples = 0
    self._logged_time = self._waited = 0.0
    # (step, time) from which on the speed is known: behind the first step,
    # which takes longer than the others.
    self._steady = (0, 0.0)
    self._words: List[str] = []
    # TensorFlow starts what depends on nothing at a step's start.
    start = tf.timestamp()
    with tf.control_dependencies(list(features.values())):
      # A ready input may come before the start is noted.
      self._wait = tf.maximum(tf.timestamp() - start, 0.0)
    self._global_step = tf.train.get_global_step()
    # Read beside the update, the variable would race with it.
    with tf.control_dependencies([train_op]):
      self._step_behind = self._global_step.read_value()

  def after_create_session(self, session, coord):
    self._step = session.run(self._global_step)
    counter = example_counter.get()
    self._num_examples = (
        session.run(counter) if counter is not None else
        self._step * self._batch_size)
    self._logged_examples = self._num_examples
    self._first_step = self._step
    self._logged_time = clock.now()
    self._waited = 0.0
    self._writer = self._output_dir and tf.summary.FileWriterCache.get(
        self._output_dir)
    logger.info("training from step %d to %d", self._step, self._last_step)

  def before_run(self, run_context):
    due = self._step + 1
    fetches = {"wait": self._wait, "step": self._step_behind}
    if (due % self._every_steps == 0 or
        due in (self._first_step + 1, self._last_step)):
      fetches["figures"] = self._figures
    return tf.train.SessionRunArgs(fetches)

  def after_run(self, run_context, run_values):
    self._step = int(run_values.results["step"])
    self._num_examples += self._batch_size
    self._waited += run_values.results["wait"]
    figures = run_values.results.get("figures")
    if figures is not None:
      self._show(dict(figures))
    if self._step == self._first_step + 1 + _TIMED_STEPS:
      self._tell_eta()
    if terminal_bar.is_due():
      terminal_bar.draw(self._step / self._last_step, "  ".join(
          ["step %d/%d" % (self._step, self._last_step)] + self._words))

  def end(self, session):
    if self._writer:
      self._writer.flush()
    terminal_bar.clear()

  def _show(self, figures):
    """Logs and writes figures with those that are counted here."""
    now = clock.now()
    seconds = max(now - self._logged_time, 1e-9)
    done = self._num_examples - self._logged_examples
    figures["sequences_per_second"] = done / seconds
    figures["input_wait"] = min(1.0, self._waited / seconds)
    epochs = self._epochs and self._epochs(self._num_examples)
    if epochs is not None:
      figures["epoch"] = epochs
    if self._writer:
      self._writer.add_summary(
          tf.Summary(value=[
              tf.Summary.Value(tag="training/" + name, simple_value=value)
              for name, value in figures.items()]), self._step)
    words = _words(figures)
    eta = self._eta(now)
    if eta:
      words.append(eta)
    # A terminal may be too narrow for all.
    self._words = words[-1:] + words[:-1]
    logger.info("step %d/%d  %s", self._step, self._last_step, "  ".join(words),
                extra={"is_progress": True})
    self._logged_examples, self._logged_time = self._num_examples, now
    self._waited = 0.0
    if self._step == self._first_step + 1:
      self._steady = self._step, now

  def _tell_eta(self):
    """Says how long the rest will take, once it can be known."""
    seconds = self._seconds_left(clock.now())
    logger.info("about %s to go, without evaluations", _duration(seconds))
    if self._on_eta:
      self._on_eta(seconds)

  def _seconds_left(self, now):
    step, since = self._steady
    return (self._last_step - self._step) * (now - since) / (self._step - step)

  def _eta(self, now):
    """Says how long the rest will take; None after the first step."""
    if self._step <= self._first_step + 1:
      return None
    return "ETA " + _duration(self._seconds_left(now))


def _duration(seconds):
  """Writes seconds as h:mm:ss."""
  seconds = round(seconds)
  return "%d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)


_FORMATS = {
    "sequences_per_second": "{:.1f} sequences/s",
    "input_wait": "input wait {:.0%}",
    "epoch": "epoch {:.3f}",
}


def _words(figures):
  """Writes each figure with its name or unit."""
  return [_FORMATS.get(name, name + " {:.5g}").format(value)
          for name, value in figures.items()]
