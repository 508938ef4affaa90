"""Writes event files for TensorBoard."""

import contextlib
import os
import time
import traceback

import tensorflow.compat.v1 as tf

from bert_e2e.common import errors, tensorflow_errors

# What writing events raises. TensorFlow 2 raises Python's errors.
_ERRORS = (OSError, LookupError, RuntimeError, ValueError, tf.errors.OpError)


class EventWriter:
  """Writes events to a directory. All writers of a directory share a file.

  A thread writes the events, so a later call may report the error of an earlier
  one. TensorFlow 1 only logs most errors.

  Args:
    directory: str.

  Raises:
    errors.InputError: events cannot be written. The methods raise it, too.
  """

  def __init__(self, directory):
    self._directory = directory
    # A new file begins with the default graph, which may not be complete yet;
    # and TensorFlow 2 refuses to open one in eager mode.
    with self._report_errors(), tf.Graph().as_default():
      self._writer = tf.summary.FileWriterCache.get(directory)

  def add_scalars(self, values, step):
    """Adds a dict from tags to floats, at a global step."""
    summary = tf.Summary(value=[
        tf.Summary.Value(tag=tag, simple_value=value)
        for tag, value in values.items()])
    with self._report_errors():
      self._writer.add_summary(summary, step)

  def add_graph(self, graph_def):
    """Adds a graph, a GraphDef."""
    with self._report_errors():
      self._writer.add_event(tf.Event(
          wall_time=time.time(), graph_def=graph_def.SerializeToString()))

  def flush(self):
    """Waits until all events are written."""
    with self._report_errors():
      self._writer.flush()

  @contextlib.contextmanager
  def _report_errors(self):
    try:
      yield
    except _ERRORS as e:
      raise _input_error(" to " + self._directory, e) from e


@contextlib.contextmanager
def report_errors():
  """Turns errors of TensorFlow's own event writers, such as that of an
  Estimator's evaluation, into InputError. Other errors pass."""
  try:
    yield
  except _ERRORS as e:
    if not _is_of_writer(e):
      raise
    raise _input_error("", e) from e


def _is_of_writer(error):
  """Tells whether an error comes from TensorFlow's writer of event files."""
  return any(
      os.path.basename(frame.filename) == "event_file_writer.py"
      for frame in traceback.extract_tb(error.__traceback__))


def _input_error(where, error):
  return errors.InputError(
      "TensorBoard's events cannot be written%s: %s. Run the same command to "
      "resume." % (where, tensorflow_errors.reason(error)))
