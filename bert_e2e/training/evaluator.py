"""Evaluates a checkpoint on a text, or by a probe."""

import logging
import os
from concurrent import futures

import numpy as np
import tensorflow.compat.v1 as tf

from bert_e2e.common import errors, event_files
from bert_e2e.training import evaluation, probe
from bert_e2e.training.input_errors import input_errors
from bert_e2e.training.session_hooks import CountBatchesHook

logger = logging.getLogger(__name__)


class Evaluator:
  """Evaluates checkpoints with the estimator of an engine.

  Args:
    engine: engine.Engine, built before the first evaluation.
    options: config.EvaluationConfig.
    use_tpu: bool.
    stop: signals.SignalHandler that may end an evaluation.
    is_training: function that tells whether a training is under way, which a
      signal is then handled by.
  """

  def __init__(self, engine, options, use_tpu, stop, is_training):
    self._engine = engine
    self._options = options
    self._use_tpu = use_tpu
    self._stop = stop
    self._is_training = is_training

  def evaluate(self, source, text, checkpoint, name=None):
    """Evaluates a checkpoint on a text.

    Args:
      source: example_source.ExampleSource of the text.
      text: str, the kind of the text; see evaluation.py.
      checkpoint: path prefix, or None for the estimator's latest one.
      name: str, what else is evaluated than a checkpoint of the training, to
        tell them apart in TensorBoard; or None.

    Returns:
      dict of metrics, with "global_step" and "examples"; None if a signal ended
      the evaluation during training.

    Raises:
      errors.InputError: the text cannot be read, or TensorBoard's events cannot
        be written.
      errors.Interrupted: a signal ended the evaluation outside of training.
    """
    options = self._options
    tf.logging.info("***** Running evaluation *****")
    tf.logging.info("  Batch size = %d", options.eval_batch_size)
    # Of several evaluations only that of the domain text keeps TensorFlow's
    # own directory, "eval".
    names = [name, text if text == evaluation.GENERAL else None]
    count = CountBatchesHook(self._stop)
    try:
      input_fn = self._open(source)
      with input_errors(source.flow), event_files.report_errors():
        result = self._in_thread(
            self._engine.evaluate, input_fn, self._num_steps(source),
            checkpoint, "_".join(filter(None, names)) or None, [count])
    finally:
      if source.flow:
        self._stop.remove_callback(source.flow.stop)
        source.flow.close()
    if result is None:
      return None
    examples = count.num_batches * options.eval_batch_size
    if source.flow:
      examples = min(examples, source.flow.num_examples)
    metrics = {name: float(value) for name, value in result.items()}
    return dict(metrics, global_step=int(result["global_step"]),
                examples=examples)

  def probe(self, source, output_dir, checkpoint, name=None):
    """Probes the encoder of a checkpoint.

    Args:
      source: probe_source.ProbeSource.
      output_dir: str, where TensorBoard's directory of the probe is.
      checkpoint: path prefix, or None for the weights that a run starts from.
      name: see `evaluate`.

    Returns, raises: see `evaluate`; "examples" are the texts scored on.
    """
    batches = self._in_thread(
        self._engine.predict, source.input_fn(self._options.eval_batch_size),
        checkpoint, [CountBatchesHook(self._stop)])
    if batches is None:
      return None
    values = source.score(np.concatenate(
        [batch[probe.VECTORS] for batch in batches]))
    step = 0
    if checkpoint:
      step = int(tf.train.load_variable(
          checkpoint, tf.GraphKeys.GLOBAL_STEP))
    directory = "eval_%s%s" % (name + "_" if name else "", evaluation.PROBE)
    _write_summary(os.path.join(output_dir, directory), values, step)
    return dict(values, global_step=step,
                examples=len(source.probe.held_out.texts))

  def _in_thread(self, function, *arguments):
    """Calls a function in a thread of its own.

    A thread has no default graph, session and strategy, so that those of a
    training in this one do not interfere.

    Returns:
      What the function returns; None if a signal ended it.

    Raises:
      errors.Interrupted: a signal ended it outside of training.
    """
    try:
      with futures.ThreadPoolExecutor(1) as thread:
        result = thread.submit(function, *arguments).result()
    except Exception as e:
      if self._stop.signal is None:
        raise
      if self._is_training():
        return None
      # TensorFlow may turn Interrupted into an error of its own.
      raise errors.Interrupted from e
    return result if self._stop.signal is None else None

  def _open(self, source):
    """Opens the text; returns the estimator's input_fn."""
    if source.text:
      # A few hundred batches do not justify processes of their own.
      source.open_flow(num_epochs=1)
      self._stop.add_callback(source.flow.stop)
    return source.input_fn(
        is_training=False, fixed_batches=self._use_tpu,
        whole=not self._options.max_eval_steps)

  def _num_steps(self, source):
    """Returns the number of batches to evaluate; None for all there are."""
    steps = self._options.max_eval_steps or None
    if not steps and self._use_tpu:  # A TPU cannot find the end of its input.
      steps = -(-source.count_examples() // self._options.eval_batch_size)
    return steps


def _write_summary(directory, values, step):
  """Writes metrics to an event file.

  Args:
    directory: str.
    values: dict from the name of a metric to a float.
    step: int, the global step.
  """
  events = event_files.EventWriter(directory)
  events.add_scalars(values, step)
  events.flush()
