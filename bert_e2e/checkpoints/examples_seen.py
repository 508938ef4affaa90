"""The number of examples that a model was trained on, saved with its weights.

The variable `examples_seen` determines the position in the example stream, so
position and weights are always restored together. Unlike the global step it
does not depend on the batch size.
"""

import tensorflow.compat.v1 as tf

NAME = "examples_seen"
_COLLECTION = "examples_seen"


def get_or_create():
  """Returns the graph's counter, an int64 variable [] initialized to 0."""
  existing = get()
  if existing is not None:
    return existing
  # On the device of the global step, whichever device an input_fn is called on:
  # variables on two devices would result in checkpoints of two parts.
  with tf.device(None), tf.variable_scope(tf.get_variable_scope(), reuse=False):
    return tf.get_variable(
        NAME, [], tf.int64, initializer=tf.zeros_initializer(),
        trainable=False,
        use_resource=True,  # TPUs support no other variables.
        # All replicas of a tf.distribute.Strategy add the same number.
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        collections=[tf.GraphKeys.GLOBAL_VARIABLES, _COLLECTION])


def get():
  """Returns the graph's counter, or None if the input does not count examples.
  """
  found = tf.get_collection(_COLLECTION)
  return found[0] if found else None


def advance(train_op, num_examples):
  """Returns an op that trains a step, then advances the counter, if any.

  Args:
    train_op: the op of one step.
    num_examples: int, the number of examples in the step.
  """
  counter = get()
  if counter is None:
    return train_op
  with tf.control_dependencies([train_op]):
    return tf.group(tf.assign_add(
        counter, tf.constant(num_examples, tf.int64)))


def is_counted(checkpoint):
  """Tells whether a checkpoint (a path prefix) has the counter."""
  return tf.train.load_checkpoint(checkpoint).has_tensor(NAME)


def read(checkpoint, batch_size):
  """Returns the number of examples that a checkpoint was trained on.

  Args:
    checkpoint: str, path prefix.
    batch_size: int. For a checkpoint without the counter, of
      google-research/bert, the number is its steps times this.

  Returns:
    int.
  """
  reader = tf.train.load_checkpoint(checkpoint)
  if reader.has_tensor(NAME):
    return int(reader.get_tensor(NAME))
  return int(reader.get_tensor("global_step")) * batch_size
