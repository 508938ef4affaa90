"""TensorFlow checkpoints with given names, values and types."""

import numpy as np
import tensorflow.compat.v1 as tf


def write(path, arrays):
  """Writes a checkpoint.

  Args:
    path: pathlib.Path or str, the path prefix; its directory must exist.
    arrays: dict from name to array.

  Returns:
    str, the path prefix.
  """
  with tf.Graph().as_default(), tf.Session() as session:
    values = [tf.placeholder(np.asarray(value).dtype, np.shape(value))
              for value in arrays.values()]
    session.run(
        tf.raw_ops.SaveV2(
            prefix=str(path), tensor_names=list(arrays),
            shape_and_slices=[""] * len(values), tensors=values),
        dict(zip(values, arrays.values())))
  return str(path)


def renamed(arrays, root, head_root=""):
  """Returns arrays with `root` in place of "bert/", and before the heads'
  names `head_root`."""
  return {root + name[len("bert/"):] if name.startswith("bert/") else
          head_root + name: value for name, value in arrays.items()}
