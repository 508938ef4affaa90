"""TensorFlow checkpoints with given names, values and types."""

import numpy as np
import tensorflow.compat.v1 as tf
from hugging_face_models import random_variables

import modeling

POSITIONS = "bert/embeddings/position_embeddings"


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


def write_teacher(path, config, num_positions):
  """Writes a model that differs from a config in all that is supported.

  Its encoder is in the scope teacher/, in half precision, has one layer more,
  and fewer positions.

  Args:
    path: pathlib.Path or str, the path prefix; its directory must exist.
    config: modeling.BertConfig of the model that starts from it.
    num_positions: int, at least half of the config's.

  Returns:
    dict from name to float32 array, the weights that the model starts from.
  """
  larger = modeling.BertConfig.from_dict(dict(
      config.to_dict(), max_position_embeddings=num_positions,
      num_hidden_layers=config.num_hidden_layers + 1))
  stored = {name: value.astype(np.float16)
            for name, value in random_variables(larger).items()}
  write(path, renamed(stored, "teacher/bert/"))
  expected = {name: stored[name].astype(np.float32)
              for name in modeling.variable_shapes(config)}
  table = expected[POSITIONS]
  added = config.max_position_embeddings - num_positions
  expected[POSITIONS] = np.concatenate([table, table[num_positions - added:]])
  return expected
