"""Small session hooks of a training and of an evaluation."""

import tensorflow.compat.v1 as tf


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
