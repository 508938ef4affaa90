"""The devices that share a training batch, as seen from one of them."""

import tensorflow.compat.v1 as tf


class Replicas:
  """The replicas of the current training step.

  Args:
    tpu_context: the TPUContext of a TPU core, or None. Without one, the replica
      context of the enclosing tf.distribute.Strategy is used; outside of any
      strategy there is a single replica.

  Attributes:
    count: int, the number of replicas.
    is_tpu: bool, True if the replicas are TPU cores, which share one graph.
    index: int or int32 [], the index of this replica; 0 on every TPU core.
  """

  def __init__(self, tpu_context=None):
    self.is_tpu = tpu_context is not None
    self.count, self.index = 1, 0
    if self.is_tpu:
      self.count = tpu_context.num_replicas
    elif tf.distribute.has_strategy():
      self._context = tf.distribute.get_replica_context()
      self.count = self._context.num_replicas_in_sync
      self.index = self._context.replica_id_in_sync_group

  def sum(self, tensors):
    """Sums tensors over all replicas.

    Args:
      tensors: list of float32 [].

    Returns:
      list of float32 []. On a TPU, where the sums are only used for metrics,
      each tensor times the number of cores.
    """
    if self.count == 1:
      return list(tensors)
    if self.is_tpu:
      return [tensor * self.count for tensor in tensors]
    # Not the context's all_reduce: in TensorFlow 1.15 its gradient fails for
    # values that depend on variables, and no gradient is needed here.
    return tf.unstack(self._context.merge_call(
        lambda strategy, values: strategy.extended.reduce_to(
            tf.distribute.ReduceOp.SUM, values, values),
        args=(tf.stack(tensors),)))
