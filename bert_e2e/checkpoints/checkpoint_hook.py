"""A session hook that saves checkpoints while a model trains."""

import contextlib
import logging
import os
import time
from typing import Optional

import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints import checkpoint_list
from bert_e2e.common import errors, event_files, file_io, tensorflow_errors

logger = logging.getLogger(__name__)


class CheckpointHook(tf.train.SessionRunHook):
  """Saves a checkpoint at the start, at the steps that are due and at the end.

  It replaces tf.train.CheckpointSaverHook, which counts steps from each start
  of the program, saves again what it has just restored, and leaves the files of
  a failed save.

  Args:
    directory: str.
    is_due: function from a global step to whether it is saved.
    max_to_keep, keep_every_n_hours: see checkpoint_list.retain.
    is_chief: bool; workers other than the chief save nothing.
    steps_per_run: int, the number of steps in one run of the session.
    on_saved: function from (step, path prefix of its checkpoint) to whether
      training should end, or None. It is also called for the checkpoint that
      was restored, but not for one that is only saved because training ends.

  Raises:
    errors.InputError: a checkpoint, or an event for TensorBoard, cannot be
      written; raised from the training. What was written of a checkpoint is
      removed, and the previous ones stay.
  """

  def __init__(self, directory, is_due, *, max_to_keep=5,
               keep_every_n_hours=float("inf"), is_chief=True, steps_per_run=1,
               on_saved=None):
    self._directory = directory
    self._is_due = is_due
    self._max_to_keep = max_to_keep
    self._keep_every_n_hours = keep_every_n_hours
    self._is_chief = is_chief
    self._steps_per_run = steps_per_run
    self._on_saved = on_saved
    self._saved_step: Optional[int] = None
    self._should_stop = False

  def begin(self):
    self._global_step = tf.train.get_global_step()
    if self._is_chief:
      self._events = event_files.EventWriter(self._directory)

  def after_create_session(self, session, coord):
    if not self._is_chief:
      return
    step = int(session.run(self._global_step))
    with self._report_errors(checkpoint_list.GRAPH_FILE):
      tf.io.gfile.makedirs(self._directory)
      checkpoint_list.remove_incomplete(self._directory)
      graph_def = tf.get_default_graph().as_graph_def(add_shapes=True)
      file_io.write(  # tf.io.write_graph is not atomic.
          os.path.join(self._directory, checkpoint_list.GRAPH_FILE),
          str(graph_def).encode("utf-8"))
    self._events.add_graph(graph_def)
    latest = checkpoint_list.load_state(self._directory).names()[-1:]
    if latest == [checkpoint_list.name_of(step)]:
      self._saved_step = step
    else:
      self._save(session, step)
    self._should_stop = self._call_on_saved(step)

  def before_run(self, run_context):
    return tf.train.SessionRunArgs(self._global_step)

  def after_run(self, run_context, run_values):
    if not self._is_chief:
      return
    if self._should_stop:
      run_context.request_stop()
    # The step may have been read before or after this run's update of it.
    read = int(run_values.results)
    steps = range(read, read + self._steps_per_run + 1)
    if not any(map(self._is_due, steps)):
      return
    step = int(run_context.session.run(self._global_step))
    passed = range((self._saved_step or 0) + 1, step + 1)
    if any(map(self._is_due, passed[-self._steps_per_run:])):
      self._save(run_context.session, step)
      if self._call_on_saved(step):
        run_context.request_stop()

  def end(self, session):
    step = int(session.run(self._global_step))
    if self._is_chief and step != self._saved_step:
      self._save(session, step)

  def _save(self, session, step):
    """Saves and lists a checkpoint, and removes those that are not kept."""
    started = time.time()
    name = checkpoint_list.name_of(step)
    with self._report_errors(
        "The checkpoint of step %d" % step), checkpoint_list.replacing(
            self._directory, name):
      saver, = tf.get_collection(tf.GraphKeys.SAVERS)
      saver.save(
          session, os.path.join(self._directory, checkpoint_list.PREFIX),
          global_step=step, write_state=False)
      before = checkpoint_list.load_state(self._directory)
      saved = checkpoint_list.Checkpoint(name, started)
      state, removed = checkpoint_list.retain(
          before._replace(checkpoints=(*before.checkpoints, saved)),
          self._max_to_keep, self._keep_every_n_hours)
      state.save(self._directory)
    self._saved_step = step
    logger.debug("saved step %d in %.1f s", step, time.time() - started)
    for name in removed:
      checkpoint_list.try_to_remove(self._directory, name)

  def _call_on_saved(self, step):
    """Returns whether training should end."""
    return self._on_saved is not None and self._on_saved(
        step, os.path.join(self._directory, checkpoint_list.name_of(step)))

  @contextlib.contextmanager
  def _report_errors(self, what):
    """Raises InputError if `what` cannot be written."""
    try:
      yield
    except tensorflow_errors.LOST_WORKER_ERRORS:
      raise  # Not an error of the disk: see cluster.lost_workers.
    except checkpoint_list.ERRORS as e:
      latest = tf.train.latest_checkpoint(self._directory)
      raise errors.InputError(
          "%s cannot be written to %s: %s. %s. Run the same command to resume."
          % (what, self._directory, tensorflow_errors.reason(e),
             "The last complete checkpoint is " + os.path.basename(latest)
             if latest else "There is no checkpoint yet")) from e
