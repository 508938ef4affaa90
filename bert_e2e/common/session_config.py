"""Configs of TensorFlow's sessions and servers."""

import tensorflow.compat.v1 as tf


def cpu_only():
  """Returns a tf.ConfigProto for work that needs no GPU.

  A session or server without it would claim the memory of every GPU, which
  another program may use.
  """
  return tf.ConfigProto(device_count={"GPU": 0})
