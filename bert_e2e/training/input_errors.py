"""Raises the cause of a failed training in place of TensorFlow's error."""

import contextlib

import tensorflow.compat.v1 as tf

from bert_e2e.common.errors import InputError
from bert_e2e.data import worker_pool

# What building examples may fail with that needs no traceback.
INPUT_ERRORS = (ValueError, OSError, worker_pool.WorkerError)


@contextlib.contextmanager
def input_errors(flow):
  """Raises InputError for errors that come from the input or the model.

  TensorFlow wraps the error of a Python generator in an OpError of many lines;
  the flow keeps the error itself.

  Args:
    flow: input_pipeline.Flow that is read, or None for TFRecords.
  """
  try:
    yield
  except worker_pool.WorkerError as e:
    raise InputError(str(e)) from e
  except tf.train.NanLossDuringTrainingError as e:
    raise InputError("Loss became NaN. Try a lower --learning_rate or a longer "
                     "warmup.") from e
  except tf.errors.OpError as e:
    if flow is None and isinstance(e, tf.errors.DataLossError):
      raise InputError(
          "A TFRecord file of the input is damaged: %s. Copy it again." %
          e.message.splitlines()[0]) from e
    if flow is None or not isinstance(flow.error, INPUT_ERRORS):
      raise
    raise InputError(str(flow.error)) from flow.error
