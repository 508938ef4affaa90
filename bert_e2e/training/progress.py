"""Shows the progress of a training: log lines, TensorBoard scalars, a bar."""

import collections
import contextlib
import logging
import time
from typing import Dict, List

import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints import examples_seen
from bert_e2e.common import event_files, logs
from bert_e2e.training import metrics, objectives

logger = logging.getLogger(__name__)

# Steps, not counting the first, after which the remaining time is estimated.
_TIMED_STEPS = 10


class _Clock:
  """The time of a training; it can be stopped while something else is done."""

  def __init__(self):
    self._stopped_seconds = 0.0

  def now(self):
    """Returns seconds since an arbitrary moment."""
    return time.monotonic() - self._stopped_seconds

  @contextlib.contextmanager
  def stopped(self):
    """Stops the clock while the context is active."""
    started = time.monotonic()
    try:
      yield
    finally:
      self._stopped_seconds += time.monotonic() - started


clock = _Clock()


# What `counts` counts.
COUNTS = ("num_sequences", "num_tokens", "num_positions")


def counts(features):
  """Counts what a batch, or a replica's share of it, contains.

  Args:
    features: dict of tensors, see input_pipeline.input_fn_builder.

  Returns:
    dict from a name of COUNTS to float32 []: sequences, tokens without padding,
    and positions with it.
  """
  mask = tf.cast(features["input_mask"], tf.float32)
  if objectives.is_packed(features):
    num_sequences = tf.reduce_sum(features["next_sentence_weights"])
  else:
    num_sequences = tf.reduce_sum(mask[:, 0])
  return {"num_sequences": num_sequences, "num_tokens": tf.reduce_sum(mask),
          "num_positions": tf.cast(tf.size(mask), tf.float32)}


class _Interval:
  """The training since the last progress line."""

  def __init__(self):
    self._totals: Dict[str, float] = collections.defaultdict(float)
    self._waited = 0.0
    self._start = clock.now()

  def add(self, found, waited):
    """Adds a step.

    Args:
      found: dict, what its batch contains, see `counts`.
      waited: float, seconds that it waited for input.
    """
    for name, count in found.items():
      self._totals[name] += float(count)
    self._waited += waited

  def metrics(self):
    """Returns the speed of the interval, a dict from metrics to floats."""
    seconds = max(clock.now() - self._start, 1e-9)
    totals = self._totals
    found = {"sequences_per_second": totals["num_sequences"] / seconds,
             "input_wait": min(1.0, self._waited / seconds)}
    if totals["num_positions"]:
      found["tokens_per_second"] = totals["num_tokens"] / seconds
      found["padding"] = 1 - totals["num_tokens"] / totals["num_positions"]
    return found


class _RemainingTime:
  """Estimates the remaining time from all steps after the first, slower one.

  Args:
    first_step: int, the global step at which the training starts.
    last_step: int, the global step at which it ends.
  """

  def __init__(self, first_step, last_step):
    self._timed_from = first_step + 1
    self._last_step = last_step
    self._start = 0.0

  def is_reported_after(self, step):
    """Tells whether this is the step that enough others were timed before."""
    return step == self._timed_from + _TIMED_STEPS

  def begin(self, step):
    """Starts to measure after the first step; called after each."""
    if step == self._timed_from:
      self._start = clock.now()

  def seconds(self, step):
    """Returns the estimate after a step; None after the first one."""
    num_steps = step - self._timed_from
    if num_steps < 1:
      return None
    return (self._last_step - step) * (clock.now() - self._start) / num_steps


class ProgressHook(tf.train.SessionRunHook):
  """Shows the progress of a training: log lines, TensorBoard scalars, a bar.

  A line is logged every `every_steps` steps and after the first and the last
  step; the same metrics are written to TensorBoard's event file. On a terminal,
  a progress bar with them stays below the other messages.

  Args:
    values: dict from the name of a metric to a scalar float Tensor.
    features: dict of a step's input tensors; the time that a step waits for
      them is reported as input wait.
    train_op: the op of a step; it may leave the global step unchanged.
    every_steps: int, steps between two lines.
    last_step: int, the global step at which training ends.
    batch_size: int, examples of a step.
    output_dir: directory of the event file; None for no event file.
    text_progress: function from the number of examples so far to a list of
      resume.TextProgress, one for each text; or None.
    on_eta: function that is called once, after the first steps, with the
      estimated remaining seconds; or None.
    counts: dict of float32 [], what the batch contains, see `counts`; None for
      `batch_size` sequences of unknown lengths.
  """

  def __init__(self, values, features, train_op, every_steps, last_step,
               batch_size, output_dir, text_progress=None, on_eta=None,
               counts=None):
    self._values = values
    self._every_steps = every_steps
    self._last_step = last_step
    self._batch_size = batch_size
    self._output_dir = output_dir
    self._text_progress = text_progress
    self._on_eta = on_eta
    self._counts = counts or {
        "num_sequences": tf.constant(float(batch_size))}
    self._step = self._first_step = 0
    self._num_examples = 0
    self._words: List[str] = []
    # TensorFlow runs ops without inputs at the start of a step.
    start = tf.timestamp()
    with tf.control_dependencies(list(features.values())):
      # Negative if the input was ready before `start` ran.
      self._wait = tf.maximum(tf.timestamp() - start, 0.0)
    self._global_step = tf.train.get_global_step()
    # Without the dependency, the read would race with the update.
    with tf.control_dependencies([train_op]):
      self._step_after = self._global_step.read_value()

  def after_create_session(self, session, coord):
    self._step = self._first_step = session.run(self._global_step)
    counter = examples_seen.get()
    self._num_examples = (
        session.run(counter) if counter is not None else
        self._step * self._batch_size)
    self._interval = _Interval()
    self._remaining = _RemainingTime(self._first_step, self._last_step)
    self._events = self._output_dir and event_files.EventWriter(
        self._output_dir)
    logger.info("training from step %d to %d", self._step, self._last_step)

  def before_run(self, run_context):
    due = self._step + 1
    fetches = {"wait": self._wait, "step": self._step_after,
               "counts": self._counts}
    if (due % self._every_steps == 0 or
        due in (self._first_step + 1, self._last_step)):
      fetches["values"] = self._values
    return tf.train.SessionRunArgs(fetches)

  def after_run(self, run_context, run_values):
    results = run_values.results
    self._step = int(results["step"])
    self._num_examples += self._batch_size
    self._interval.add(results["counts"], results["wait"])
    self._remaining.begin(self._step)
    if "values" in results:
      self._show(dict(results["values"]))
    if self._remaining.is_reported_after(self._step):
      self._tell_eta()
    if logs.terminal_bar.is_due():
      logs.terminal_bar.draw(self._step / self._last_step, "  ".join(
          ["step %d/%d" % (self._step, self._last_step)] + self._words))

  def end(self, session):
    if self._events:
      self._events.flush()
    logs.terminal_bar.clear()

  def _show(self, values):
    """Logs and writes metrics; adds those to `values` that are measured here.

    Args:
      values: dict from the name of a metric to a float.
    """
    values.update(self._interval.metrics())
    self._interval = _Interval()
    texts = (self._text_progress(self._num_examples)
             if self._text_progress else [])
    if texts and texts[0].epochs is not None:
      values["epoch"] = texts[0].epochs
    names = metrics.in_progress_order(values)
    scalars = {name: values[name] for name in names}
    words = [metrics.BY_NAME[name].to_progress(values[name]) for name in names
             if name != "epoch" or len(texts) == 1]
    if len(texts) > 1:
      words += list(map(metrics.text_to_progress, texts))
      scalars.update(metrics.values_of_texts(texts))
    if self._events:
      self._events.add_scalars(
          {metrics.TRAINING_TAG + name: value
           for name, value in scalars.items()}, self._step)
    seconds = self._remaining.seconds(self._step)
    if seconds is not None:
      words.append("ETA " + _duration(seconds))
    # The bar begins with the ETA, as a terminal may be too narrow for all.
    self._words = words[-1:] + words[:-1]
    logger.info("step %d/%d  %s", self._step, self._last_step, "  ".join(words),
                extra={"is_progress": True})

  def _tell_eta(self):
    """Logs the remaining time, and passes it to `on_eta`."""
    seconds = self._remaining.seconds(self._step)
    logger.info("about %s remaining, not counting evaluations",
                _duration(seconds))
    if self._on_eta:
      self._on_eta(seconds)


def _duration(seconds):
  """Formats seconds as h:mm:ss."""
  seconds = round(seconds)
  return "%d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)
