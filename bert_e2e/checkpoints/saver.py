"""Saves and restores a run's variables.

The saver also restores checkpoints in which some of the run's variables are
missing: those of another program, or of a run with other flags. In a
multi-worker run only the chief saves.
"""

import os
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

# Values that `load` assigns at once; a message to a remote session is limited.
_BYTES_PER_CALL = 1 << 26


def use_saver(fallbacks, is_chief=True):
  """Makes the estimator save and restore with a saver that has fallbacks.

  Args:
    fallbacks: list of (variable, function from a checkpoint's path prefix to
      the value of the variable if the checkpoint does not have it). A fallback
      adds a copy of the restore ops to the graph.
    is_chief: bool; workers other than the chief save nothing.
  """
  # A tf.distribute.Strategy calls the model_fn once per replica.
  if not tf.get_collection(tf.GraphKeys.SAVERS):
    tf.add_to_collection(
        tf.GraphKeys.SAVERS,
        _FallbackSaver(fallbacks, is_chief, sharded=True, defer_build=True,
                       # CheckpointHook removes old checkpoints.
                       max_to_keep=None))


def name_of(variable):
  """Returns the name of a variable in checkpoints.

  Under a tf.distribute.Strategy, the name of its op may be that of a replica.
  """
  return variable.name.partition(":")[0]


def load(values, session, strategy):
  """Assigns values to variables, on each replica, without adding operations.

  Many are assigned in one call of the session: each call with new fetches has
  TensorFlow copy and prune the graph, which takes longer than the assignment.

  Args:
    values: iterable of (tf.Variable, array or number), read as it is needed.
    session: tf.Session.
    strategy: the tf.distribute.Strategy that the variables were created in.
  """
  feeds, size = {}, 0
  for variable, value in values:
    value = np.asarray(value, variable.dtype.base_dtype.as_numpy_dtype)
    for copy in strategy.experimental_local_results(variable):
      feeds[copy.initializer] = value
    size += value.nbytes
    if size >= _BYTES_PER_CALL:
      _assign(feeds, session)
      feeds, size = {}, 0
  _assign(feeds, session)


def _assign(feeds, session):
  """Runs the initializers of variables, each with its value."""
  if feeds:
    session.run(list(feeds), {initializer.inputs[1]: value
                              for initializer, value in feeds.items()})


class _FallbackSaver(tf.train.Saver):
  """Restores the variables of a checkpoint; others get their fallback."""

  def __init__(self, fallbacks, is_chief, **options):
    self._is_chief = is_chief
    self._fallbacks = fallbacks
    self._required_saver: Any = None
    self._meta_graph = b""
    self._strategy = tf.distribute.get_strategy()
    super().__init__(**options)

  def build(self):
    super().build()
    # A lost session is created again, from the finalized graph.
    if self._required_saver or not self._fallbacks:
      return
    optional = [variable for variable, _ in self._fallbacks]
    names = set(map(name_of, optional))
    required = [v for v in tf.global_variables() if name_of(v) not in names]
    self._required_saver = tf.train.Saver(required, sharded=True)
    self._optional_savers = [tf.train.Saver([v]) for v in optional]

  def save(self, *args, **kwargs):
    """Saves, on the chief only.

    With TensorFlow 2 every worker would write a checkpoint of its own.
    """
    if self._is_chief:
      return super().save(*args, **kwargs)
    return None

  def export_meta_graph(self, filename=None, collection_list=None,
                        as_text=False, *args, **kwargs):
    """Exports the graph as the base class does; what saves write only once.

    Saves write a finalized graph, which does not change between two of them.
    """
    is_finalized = tf.get_default_graph().finalized
    has_options = collection_list is not None or any(
        [*args, *kwargs.values()])
    if has_options or not is_finalized:
      return super().export_meta_graph(
          filename, collection_list, as_text, *args, **kwargs)
    if not self._meta_graph:
      self._meta_graph = super().export_meta_graph().SerializeToString()
    meta_graph = tf.MetaGraphDef.FromString(self._meta_graph)
    if filename:
      tf.io.write_graph(meta_graph, *os.path.split(filename), as_text=as_text)
    return meta_graph

  def restore(self, sess, save_path):
    reader = tf.train.load_checkpoint(save_path)
    if all(reader.has_tensor(name_of(v)) for v, _ in self._fallbacks):
      super().restore(sess, save_path)
      return
    self._required_saver.restore(sess, save_path)
    missing = []
    for saver, (variable, fallback) in zip(
        self._optional_savers, self._fallbacks):
      if reader.has_tensor(name_of(variable)):
        saver.restore(sess, save_path)
      else:
        missing.append((variable, fallback(save_path)))
    load(missing, sess, self._strategy)
