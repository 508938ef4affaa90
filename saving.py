"""How a run's variables are saved, and get their values back.

A checkpoint may lack a variable which the run has: one of another program, or
of a run with other flags. And of several machines one saves for all.
"""

from typing import Any

import tensorflow.compat.v1 as tf


def use_saver(fallbacks, keep_checkpoint_max, is_chief=True):
  """Lets the estimator save by a Saver that restores such checkpoints, too.

  Args:
    fallbacks: list of (variable, function from a checkpoint's path prefix to
      the value that the variable gets where the checkpoint lacks it).
    keep_checkpoint_max: int, checkpoints that are kept.
    is_chief: bool; other machines than the chief save nothing.
  """
  # Under a tf.distribute.Strategy each replica's model_fn comes by.
  if not tf.get_collection(tf.GraphKeys.SAVERS):
    tf.add_to_collection(
        tf.GraphKeys.SAVERS,
        _Saver(fallbacks, is_chief, sharded=True, defer_build=True,
               max_to_keep=keep_checkpoint_max, save_relative_paths=True))


def name_of(variable):
  """Returns the name that a variable has in checkpoints.

  Its op is that of one replica, under a tf.distribute.Strategy.
  """
  return variable.name.partition(":")[0]


def load(variable, value, session, strategy):
  """Gives a variable a value, on each replica, without a new operation.

  Args:
    variable: tf.Variable.
    value: array or number.
    session: tf.Session.
    strategy: the tf.distribute.Strategy that the variable was made in.
  """
  for copy in strategy.experimental_local_results(variable):
    copy.load(value, session)


class _Saver(tf.train.Saver):
  """Restores what a checkpoint has, and gives the rest its fallback."""

  def __init__(self, fallbacks, is_chief, **options):
    self._is_chief = is_chief
    self._fallbacks = fallbacks
    self._required_saver: Any = None
    self._strategy = tf.distribute.get_strategy()
    super().__init__(**options)

  def build(self):
    super().build()
    if self._required_saver:
      return  # A lost session is made anew, of the finalized graph.
    optional = [variable for variable, _ in self._fallbacks]
    names = set(map(name_of, optional))
    required = [v for v in tf.global_variables() if name_of(v) not in names]
    self._required_saver = tf.train.Saver(required, sharded=True)
    self._optional_savers = [tf.train.Saver([v]) for v in optional]

  def save(self, *args, **kwargs):
    """Saves, but for the machines behind the first one: one checkpoint will do.

    TensorFlow 2 would have each of them write its own, beside it.
    """
    if self._is_chief:
      return super().save(*args, **kwargs)
    return None

  def restore(self, sess, save_path):
    reader = tf.train.load_checkpoint(save_path)
    if all(reader.has_tensor(name_of(v)) for v, _ in self._fallbacks):
      super().restore(sess, save_path)
      return
    self._required_saver.restore(sess, save_path)
    for saver, (variable, fallback) in zip(
        self._optional_savers, self._fallbacks):
      if reader.has_tensor(name_of(variable)):
        saver.restore(sess, save_path)
        continue
      load(variable, fallback(save_path), sess, self._strategy)
