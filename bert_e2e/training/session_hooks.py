"""Small session hooks of a training and of an evaluation."""

import tensorflow.compat.v1 as tf

from bert_e2e.common import errors

# More than it takes to halve the loss scale down to 1.
_MAX_SKIPPED = 50


class SkipHook(tf.train.SessionRunHook):
  """Logs updates that are skipped; ends a training that skips all of them.

  Args:
    was_applied: bool [], see optimization.Update.
  """

  def __init__(self, was_applied):
    self._was_applied = was_applied
    self._num_skipped = 0

  def before_run(self, run_context):
    return tf.train.SessionRunArgs(self._was_applied)

  def after_run(self, run_context, run_values):
    if run_values.results:
      self._num_skipped = 0
      return
    self._num_skipped += 1
    tf.logging.info("Gradients overflowed in fp16: the update is skipped, the "
                    "batch is consumed and the loss scale is halved.")
    if self._num_skipped == _MAX_SKIPPED:
      raise errors.InputError(
          "The gradients of %d consecutive batches were not finite at any loss "
          "scale. Use a lower --learning_rate, or --precision=fp32." %
          _MAX_SKIPPED)


class SessionHook(tf.train.SessionRunHook):
  """Calls a function when there is a session, before the first step.

  Args:
    function: without arguments. It is called again for another session.
  """

  def __init__(self, function):
    self._function = function

  def after_create_session(self, session, coord):
    self._function()


class CheckWorkersHook(tf.train.SessionRunHook):
  """Ends a training whose worker process died before its examples run out.

  Args:
    flow: input_pipeline.Flow.
  """

  def __init__(self, flow):
    self._flow = flow

  def after_run(self, run_context, run_values):
    self._flow.check()


class CountBatchesHook(tf.train.SessionRunHook):
  """Counts the batches of an evaluation; ends it at a signal.

  Args:
    stop: signals.SignalHandler.

  Attributes:
    num_batches: int.
  """

  def __init__(self, stop):
    self._stop = stop
    self.num_batches = 0

  def after_run(self, run_context, run_values):
    self.num_batches += 1
    if self._stop.signal is not None:
      run_context.request_stop()
