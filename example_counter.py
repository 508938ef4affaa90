"""The number of examples that a model was trained on, in its checkpoints.

The position in the stream hangs on the weights that go with it: a variable
`examples_seen` is saved and restored with them. Unlike the global step it
survives a change of the batch size.
"""

import tensorflow.compat.v1 as tf

NAME = "examples_seen"
_COLLECTION = "examples_seen"


def get_or_create():
  """Returns the graph's int64 variable [], which starts at 0."""
  existing = get()
  if existing is not None:
    return existing
  # Beside the global step, whatever device an input_fn is called on: another
  # one would make a checkpoint of two parts.
  with tf.device(None), tf.variable_scope(tf.get_variable_scope(), reuse=False):
    return tf.get_variable(
        NAME, [], tf.int64, initializer=tf.zeros_initializer(),
        trainable=False,
        collections=[tf.GraphKeys.GLOBAL_VARIABLES, _COLLECTION])


def get():
  """Returns the graph's counter, or None where the input does not count."""
  found = tf.get_collection(_COLLECTION)
  return found[0] if found else None


def advance(train_op, num_examples):
  """Returns an op that trains and then counts.

  Args:
    train_op: the op of one step.
    num_examples: int, examples of the step.
  """
  counter = get()
  if counter is None:
    return train_op
  with tf.control_dependencies([train_op]):
    return tf.group(tf.assign_add(counter, num_examples))


def use_saver(batch_size, keep_checkpoint_max):
  """Lets the estimator save by a _Saver where the graph counts.

  Args:
    batch_size: int, examples of a step.
    keep_checkpoint_max: int, checkpoints that are kept.
  """
  if get() is not None:
    tf.add_to_collection(
        tf.GraphKeys.SAVERS,
        _Saver(batch_size, sharded=True, max_to_keep=keep_checkpoint_max,
               defer_build=True, save_relative_paths=True))


def is_counted(checkpoint):
  """Tells whether a checkpoint, a path prefix, counts its examples."""
  return tf.train.load_checkpoint(checkpoint).has_tensor(NAME)


def read(checkpoint, batch_size):
  """Returns how many examples a checkpoint was trained on.

  Args:
    checkpoint: path prefix.
    batch_size: int, examples of a step, for a checkpoint that does not count
      (google-research/bert's): its steps are taken for steps of that size.
  """
  reader = tf.train.load_checkpoint(checkpoint)
  if reader.has_tensor(NAME):
    return int(reader.get_tensor(NAME))
  return int(reader.get_tensor("global_step")) * batch_size


class _Saver(tf.train.Saver):
  """Restores checkpoints without the counter, too: google-research/bert's."""

  def __init__(self, batch_size, **options):
    self._batch_size = batch_size
    super().__init__(**options)

  def build(self):
    super().build()
    others = [v for v in tf.global_variables() if v is not get()]
    self._without_counter = tf.train.Saver(others, sharded=True)

  def restore(self, sess, save_path):
    if tf.train.load_checkpoint(save_path).has_tensor(NAME):
      super().restore(sess, save_path)
      return
    self._without_counter.restore(sess, save_path)
    get().load(read(save_path, self._batch_size), sess)
