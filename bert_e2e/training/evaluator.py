"""Evaluates a checkpoint on a text."""

import logging
from concurrent import futures

import tensorflow.compat.v1 as tf

from bert_e2e.common import errors
from bert_e2e.training import evaluation
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
      errors.InputError: the text cannot be read.
      errors.Interrupted: a signal ended the evaluation outside of training.
    """
    options = self._options
    tf.logging.info("***** Running evaluation *****")
    tf.logging.info("  Batch size = %d", options.eval_batch_size)
    input_fn = self._open(source)
    # Of several evaluations only that of the domain text keeps TensorFlow's
    # own directory, "eval".
    names = [name, text if text == evaluation.GENERAL else None]
    count = CountBatchesHook(self._stop)
    try:
      # A thread has no default graph, session and strategy, so that those of a
      # training in this one do not interfere.
      with input_errors(source.flow), futures.ThreadPoolExecutor(1) as thread:
        result = thread.submit(
            self._engine.evaluate, input_fn, self._num_steps(source),
            checkpoint, "_".join(filter(None, names)) or None,
            [count]).result()
    except Exception as e:
      if self._stop.signal is None:
        raise
      if self._is_training():
        return None
      # TensorFlow may turn Interrupted into an error of its own.
      raise errors.Interrupted from e
    finally:
      if source.flow:
        source.flow.close()
    if self._stop.signal is not None:
      return None
    examples = count.num_batches * options.eval_batch_size
    if source.flow:
      examples = min(examples, source.flow.num_examples)
    metrics = {name: float(value) for name, value in result.items()}
    return dict(metrics, global_step=int(result["global_step"]),
                examples=examples)

  def _open(self, source):
    """Opens the text; returns the estimator's input_fn."""
    if source.text:
      # A few hundred batches do not justify processes of their own.
      source.open_flow(num_epochs=1)
      self._stop.on_signal(source.flow.stop)
    return source.input_fn(
        is_training=False, fixed_batches=self._use_tpu,
        whole=not self._options.max_eval_steps)

  def _num_steps(self, source):
    """Returns the number of batches to evaluate; None for all there are."""
    steps = self._options.max_eval_steps or None
    if not steps and self._use_tpu:  # A TPU cannot find the end of its input.
      steps = -(-source.count_examples() // self._options.eval_batch_size)
    return steps
