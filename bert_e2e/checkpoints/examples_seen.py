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
        use_resource=True,  # A TPU knows no others.
        # All replicas of a tf.distribute.Strategy add the same.
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
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
    return tf.group(tf.assign_add(
        counter, tf.constant(num_examples, tf.int64)))


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
