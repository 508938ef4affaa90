"""Event files for TensorBoard: their content, and a disk that is full."""

import os

import pytest
import tensorflow.compat.v1 as tf

from bert_e2e.common import errors, event_files


def test_all_writers_of_a_directory_share_a_file(tmp_path):
  graph = tf.Graph()
  with graph.as_default():
    tf.constant(1.0, name="one")
  first = event_files.EventWriter(str(tmp_path))
  first.add_graph(graph.as_graph_def())
  event_files.EventWriter(str(tmp_path)).add_scalars({"loss": 2.5, "b": 1}, 7)
  first.flush()
  name, = os.listdir(str(tmp_path))
  # A file begins with an empty graph.
  start, _, _, with_graph, scalars = tf.train.summary_iterator(
      str(tmp_path / name))
  assert start.file_version
  assert tf.GraphDef.FromString(with_graph.graph_def).node[0].name == "one"
  assert scalars.step == 7
  assert {value.tag: value.simple_value for value in scalars.summary.value} == {
      "loss": 2.5, "b": 1.0}


class _FullDisk:
  """A tf.summary.FileWriter whose methods raise an error."""

  def __init__(self, error):
    self._error = error

  def _fail(self, *_):
    raise self._error

  add_summary = add_event = flush = _fail


@pytest.mark.parametrize("error", [
    OSError(28, "No space left on device"),
    # From TensorFlow 2, of the writer's thread.
    IndexError("No space left on device"),
    RuntimeError("No space left on device"),
    tf.errors.ResourceExhaustedError(
        None, None, "a/events.out; No space left on device"),
], ids=lambda error: type(error).__name__)
def test_a_full_disk_is_named(tmp_path, monkeypatch, error):
  writer = event_files.EventWriter(str(tmp_path))
  monkeypatch.setattr(writer, "_writer", _FullDisk(error))
  for write in (writer.flush, lambda: writer.add_scalars({"loss": 1.0}, 1),
                lambda: writer.add_graph(tf.GraphDef())):
    with pytest.raises(errors.InputError) as raised:
      write()
    assert str(tmp_path) in str(raised.value)
    assert "No space left on device. Run the same command" in str(raised.value)


@pytest.mark.skipif(
    tf.__version__ < "2", reason="TensorFlow 1 only logs that it cannot write")
def test_a_directory_that_is_a_file_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.InputError, match="events cannot be written to .*"
                     "/file: "):
    event_files.EventWriter(str(tmp_path / "file"))


def test_errors_of_tensorflows_writer_are_told_from_others(
    tmp_path, monkeypatch):
  """As in an evaluation, whose summary an Estimator writes."""
  with tf.Graph().as_default():
    writer = tf.summary.FileWriterCache.get(str(tmp_path / "eval"))

  def fail(*_):
    raise IndexError("eval/events.out; File too large\n\tFailed to flush")

  with pytest.raises(IndexError, match="no file"):
    with event_files.report_errors():
      raise IndexError("no file")
  monkeypatch.setattr(writer.event_writer, "_event_queue", _FullQueue(fail))
  with pytest.raises(errors.InputError, match="written: eval/events.out; File "
                     "too large. Run the same command"):
    with event_files.report_errors():
      writer.add_summary(tf.Summary(), 1)


class _FullQueue:
  """A queue of a writer that has failed."""

  def __init__(self, fail):
    self.put = fail
