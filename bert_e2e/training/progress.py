"""Shows how a training goes: progress lines, TensorBoard scalars, a bar."""

import contextlib
import logging
import time
from typing import List

import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints import examples_seen
from bert_e2e.common import logs

logger = logging.getLogger(__name__)

# Steps behind the first one that tell how long the others take.
_TIMED_STEPS = 10


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
    counter = examples_seen.get()
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
    if logs.terminal_bar.is_due():
      logs.terminal_bar.draw(self._step / self._last_step, "  ".join(
          ["step %d/%d" % (self._step, self._last_step)] + self._words))

  def end(self, session):
    if self._writer:
      self._writer.flush()
    logs.terminal_bar.clear()

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
