"""How a run's variables are saved, and get their values back.

A checkpoint may lack a variable which the run has: one of another program, or
of a run with other flags. And of several machines one saves for all.

A checkpoint is whole or not listed: the file `checkpoint` names it when all of
its files are there under their names, and no longer when they are to go.
"""

import collections
import contextlib
import json
import logging
import os
import re
import time
from typing import Any, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from bert_e2e.common import errors, file_io, tensorflow_errors

logger = logging.getLogger(__name__)

STATE_FILE = "checkpoint"
GRAPH_FILE = "graph.pbtxt"
_PREFIX = "model.ckpt"
# model.ckpt-7.index, or a folder of parts: model.ckpt-7_temp_0123 by TensorFlow
# 1.15, model.ckpt-7_temp by TensorFlow 2.
_FILE_NAME = re.compile(re.escape(_PREFIX) + r"-(\d+)(\.|_temp(_|$))")
_NAME = re.compile(re.escape(_PREFIX) + r"-(\d+)$")
# Files that are written beside their place, by TensorFlow and by file_io.
_TEMPORARY = re.compile(r"(%s|%s)\.tmp" % (
    re.escape(GRAPH_FILE), re.escape(STATE_FILE)))
_SECONDS_OF_HOUR = 3600.0
_ERRORS = (OSError, ValueError, tf.errors.OpError)


def use_saver(fallbacks, is_chief=True):
  """Lets the estimator save by a Saver that restores such checkpoints, too.

  Args:
    fallbacks: list of (variable, function from a checkpoint's path prefix to
      the value that the variable gets where the checkpoint lacks it).
    is_chief: bool; other machines than the chief save nothing.
  """
  # Under a tf.distribute.Strategy each replica's model_fn comes by.
  if not tf.get_collection(tf.GraphKeys.SAVERS):
    tf.add_to_collection(
        tf.GraphKeys.SAVERS,
        _Saver(fallbacks, is_chief, sharded=True, defer_build=True,
               # CheckpointHook removes them.
               max_to_keep=None))


def name_of(variable):
  """Returns the name that a variable has in checkpoints.

  Its op is that of one replica, under a tf.distribute.Strategy.
  """
  return variable.name.partition(":")[0]


def load(variable, value, session, strategy):
  """Gives a variable a value, on each replica, without a new operation.

  Args:
    variable: tf.Variable.
    value: array or number.
    session: tf.Session.
    strategy: the tf.distribute.Strategy that the variable was made in.
  """
  for copy in strategy.experimental_local_results(variable):
    copy.load(value, session)


class _Saver(tf.train.Saver):
  """Restores what a checkpoint has, and gives the rest its fallback."""

  def __init__(self, fallbacks, is_chief, **options):
    self._is_chief = is_chief
    self._fallbacks = fallbacks
    self._required_saver: Any = None
    self._strategy = tf.distribute.get_strategy()
    super().__init__(**options)

  def build(self):
    super().build()
    if self._required_saver:
      return  # A lost session is made anew, of the finalized graph.
    optional = [variable for variable, _ in self._fallbacks]
    names = set(map(name_of, optional))
    required = [v for v in tf.global_variables() if name_of(v) not in names]
    self._required_saver = tf.train.Saver(required, sharded=True)
    self._optional_savers = [tf.train.Saver([v]) for v in optional]

  def save(self, *args, **kwargs):
    """Saves, but for the machines behind the first one: one checkpoint will do.

    TensorFlow 2 would have each of them write its own, beside it.
    """
    if self._is_chief:
      return super().save(*args, **kwargs)
    return None

  def restore(self, sess, save_path):
    reader = tf.train.load_checkpoint(save_path)
    if all(reader.has_tensor(name_of(v)) for v, _ in self._fallbacks):
      super().restore(sess, save_path)
      return
    self._required_saver.restore(sess, save_path)
    for saver, (variable, fallback) in zip(
        self._optional_savers, self._fallbacks):
      if reader.has_tensor(name_of(variable)):
        saver.restore(sess, save_path)
        continue
      load(variable, fallback(save_path), sess, self._strategy)


# ----------------------------------------------------- the folder's checkpoints


class Listed(NamedTuple):
  """A checkpoint that a folder's state lists: its name, and when it was made.
  """
  name: str
  time: float


class State(NamedTuple):
  """What the file `checkpoint` says.

  Attributes:
    listed: tuple of Listed, the latest one last.
    preserved: float, when the last one was made that is kept for good, or the
      run began; None where that is not known.
  """
  listed: Any = ()
  preserved: Optional[float] = None

  def names(self):
    """Returns the list of the checkpoints' names."""
    return [item.name for item in self.listed]

  def without(self, name):
    """Returns the State that does not list a checkpoint."""
    return self._replace(listed=tuple(
        item for item in self.listed if item.name != name))

  def save(self, folder):
    """Writes the state as TensorFlow reads it; names, so that it can be moved.
    """
    path = os.path.join(folder, STATE_FILE)
    if not self.listed:  # Which TensorFlow has no way to say.
      if file_io.exists(path):
        file_io.remove(path)
      return
    lines = ["model_checkpoint_path: " + json.dumps(self.listed[-1].name)]
    for item in self.listed:
      lines += ["all_model_checkpoint_paths: " + json.dumps(item.name),
                "all_model_checkpoint_timestamps: %r" % item.time]
    if self.preserved is not None:
      lines.append("last_preserved_timestamp: %r" % self.preserved)
    file_io.write(
        path, "".join(line + "\n" for line in lines).encode("utf-8"))


def load_state(folder):
  """Returns the State of a folder; an empty one without.

  It lists what a run saved and what is still there, and last what a training
  starts from, should the user have named an earlier one as that.
  """
  found = tf.train.get_checkpoint_state(folder)
  if not found:
    return State()
  names = [os.path.basename(path) for path in found.all_model_checkpoint_paths]
  times = list(found.all_model_checkpoint_timestamps)
  if len(times) != len(names):  # Of a program that writes none.
    times = [time.time()] * len(names)
  latest = os.path.basename(found.model_checkpoint_path)
  listed = dict(zip(names, times))
  listed[latest] = listed.pop(latest, time.time())
  there = set(file_io.names(folder))
  return State(
      tuple(Listed(*item) for item in listed.items()
            if _NAME.match(item[0]) and item[0] + ".index" in there),
      found.last_preserved_timestamp or None)


def retain(state, max_to_keep, keep_every_n_hours):
  """Decides which checkpoints stay listed.

  Args:
    state: State, the new checkpoint last in it.
    max_to_keep: int, how many stay listed; 0 for all.
    keep_every_n_hours: float, one that drops out of these is kept for good if
      it was made so long behind the last such one, or the run's start.

  Returns:
    (State, list of the names of those to remove).
  """
  listed, preserved, removed = list(state.listed), state.preserved, []
  if preserved is None:
    preserved = listed[0].time
  while max_to_keep and len(listed) > max_to_keep:
    oldest = listed.pop(0)
    if oldest.time - preserved >= keep_every_n_hours * _SECONDS_OF_HOUR:
      preserved = oldest.time
    else:
      removed.append(oldest.name)
  return State(tuple(listed), preserved), removed


def remove(folder, name):
  """Removes the files of a checkpoint, and of one that was not finished."""
  _remove(folder, [entry for entry in file_io.names(folder)
                   if _checkpoint_of(entry) == name])


def _remove(folder, entries):
  """Removes files, and folders of parts.

  An index goes first: what has one is whole, whenever this is interrupted.
  """
  for entry in sorted(entries, key=lambda e: not e.endswith(".index")):
    path = os.path.join(folder, entry)
    if tf.io.gfile.isdir(path):
      tf.io.gfile.rmtree(path)
    else:
      file_io.remove(path)


def _checkpoint_of(entry):
  """Returns the name of the checkpoint that a file or folder of parts belongs
  to, or None."""
  match = _FILE_NAME.match(entry)
  return _name(int(match.group(1))) if match else None


def remove_unfinished(folder):
  """Removes what an interrupted saving left in a folder."""
  entries_of = collections.defaultdict(list)
  unfinished = []
  for entry in file_io.names(folder):
    name = _checkpoint_of(entry)
    if name:
      entries_of[name].append(entry)
    elif _TEMPORARY.match(entry):
      unfinished.append(entry)
  listed = load_state(folder).names()
  for name, entries in entries_of.items():
    if name in listed or _is_finished(
        folder, name, entries, step_of(listed[-1]) if listed else -1):
      entries = [entry for entry in entries
                 if "_temp" in entry or ".tmp" in entry]
    unfinished += entries
  for entry in unfinished:
    logger.info("removing %s, of a saving that was interrupted",
                os.path.join(folder, entry))
  _remove(folder, unfinished)


def _is_finished(folder, name, entries, latest_step):
  """Tells whether the files of a checkpoint that is not listed are whole: one
  that is kept for good, or the user's own."""
  # The index is written when the data are there, in its place; behind it comes
  # the graph, which the user may have removed of those before.
  if name + ".index" not in entries or (
      name + ".meta" not in entries and step_of(name) > latest_step):
    return False
  try:
    tf.train.load_checkpoint(os.path.join(folder, name))
  except tensorflow_errors.CHECKPOINT_ERRORS:
    return False
  return True


def _name(step):
  return "%s-%d" % (_PREFIX, step)


def step_of(name):
  """Returns the global step that a checkpoint's name tells, int."""
  return int(name.rpartition("-")[2])


def latest_step(folder):
  """Returns the global step of a directory's latest checkpoint, or None."""
  latest = tf.train.latest_checkpoint(folder)
  # tf.train.load_variable takes some remote prefixes for directories.
  return int(tf.train.NewCheckpointReader(latest).get_tensor(
      "global_step")) if latest else None


def copy(checkpoint, folder):
  """Copies a checkpoint to a folder of its own, in the place of one there.

  Args:
    checkpoint: str, path prefix.
    folder: str; it is made if it is not there.

  Returns:
    str, the copy's path prefix.

  Raises:
    errors.InputError: it can't be written. What there is of it is
      removed; the one before it stays.
  """
  source, name = os.path.split(checkpoint)
  try:
    tf.io.gfile.makedirs(folder)
    with _replaced(folder, name):
      for entry in file_io.names(source):
        if _checkpoint_of(entry) == name:
          tf.io.gfile.copy(os.path.join(source, entry),
                           os.path.join(folder, entry))
      State((Listed(name, time.time()),)).save(folder)
  except _ERRORS as e:
    raise errors.InputError(
        "%s cannot be copied to %s: %s. The same command does so again." % (
            checkpoint, folder, tensorflow_errors.reason(e))) from e
  for entry in file_io.names(folder):
    other = _checkpoint_of(entry)
    if other and other != name:
      _try_to_remove(folder, other)
  return os.path.join(folder, name)


@contextlib.contextmanager
def _replaced(folder, name):
  """Makes place for a checkpoint, and removes what there is of it should it
  fail."""
  state = load_state(folder)
  if name in state.names():
    state.without(name).save(folder)
  remove(folder, name)
  try:
    yield
  except _ERRORS:
    with contextlib.suppress(*_ERRORS):
      remove(folder, name)
    raise


def _try_to_remove(folder, name):
  """Removes a checkpoint; the run goes on where that fails."""
  try:
    remove(folder, name)
  except _ERRORS as e:
    logger.warning("%s in %s cannot be removed: %s", name, folder,
                   tensorflow_errors.reason(e))


class CheckpointHook(tf.train.SessionRunHook):
  """Saves checkpoints: the first, at the steps that are due, and the last.

  In the place of tf.train.CheckpointSaverHook, which counts its steps from each
  start of the program, saves what it has just restored, and leaves the parts of
  a failed saving.

  Args:
    folder: str.
    is_due: function from a global step to whether it is to be saved.
    max_to_keep, keep_every_n_hours: see `retain`.
    is_chief: bool; other machines than the chief save nothing.
    steps_per_run: int, steps of one run of the session.
    on_saved: function from (step, path prefix of its checkpoint) to whether the
      training should end, or None. It is called for the checkpoint that was
      restored, too, and not for one that is due to the training's end alone.

  Raises:
    errors.InputError: from the training; a checkpoint can't be written.
      What there is of it is removed; those before it stay.
  """

  def __init__(self, folder, is_due, *, max_to_keep=5,
               keep_every_n_hours=float("inf"), is_chief=True, steps_per_run=1,
               on_saved=None):
    self._folder = folder
    self._is_due = is_due
    self._max_to_keep = max_to_keep
    self._keep_every_n_hours = keep_every_n_hours
    self._is_chief = is_chief
    self._steps_per_run = steps_per_run
    self._on_saved = on_saved
    self._saved_step: Optional[int] = None
    self._is_over = False

  def begin(self):
    self._global_step = tf.train.get_global_step()

  def after_create_session(self, session, coord):
    if not self._is_chief:
      return
    step = int(session.run(self._global_step))
    with self._own_errors(GRAPH_FILE):
      tf.io.gfile.makedirs(self._folder)
      remove_unfinished(self._folder)
      graph = tf.get_default_graph()
      file_io.write(  # tf.io.write_graph would leave a part of it.
          os.path.join(self._folder, GRAPH_FILE),
          str(graph.as_graph_def(add_shapes=True)).encode("utf-8"))
    tf.summary.FileWriterCache.get(self._folder).add_graph(graph)
    if load_state(self._folder).names()[-1:] == [_name(step)]:
      self._saved_step = step
    else:
      self._save(session, step)
    self._is_over = self._tell(step)

  def before_run(self, run_context):
    return tf.train.SessionRunArgs(self._global_step)

  def after_run(self, run_context, run_values):
    if not self._is_chief:
      return
    if self._is_over:
      run_context.request_stop()
    # It was read somewhere beside the run's update of it.
    read = int(run_values.results)
    steps = range(read, read + self._steps_per_run + 1)
    if not any(map(self._is_due, steps)):
      return
    step = int(run_context.session.run(self._global_step))
    passed = range((self._saved_step or 0) + 1, step + 1)
    if any(map(self._is_due, passed[-self._steps_per_run:])):
      self._save(run_context.session, step)
      if self._tell(step):
        run_context.request_stop()

  def end(self, session):
    step = int(session.run(self._global_step))
    if self._is_chief and step != self._saved_step:
      self._save(session, step)

  def _save(self, session, step):
    """Saves and lists a checkpoint, and removes what it takes the place of."""
    started = time.time()
    name = _name(step)
    with self._own_errors("The checkpoint of step %d" % step), _replaced(
        self._folder, name):
      saver, = tf.get_collection(tf.GraphKeys.SAVERS)
      saver.save(session, os.path.join(self._folder, _PREFIX), global_step=step,
                 write_state=False)
      before = load_state(self._folder)
      state, removed = retain(
          before._replace(listed=(*before.listed, Listed(name, started))),
          self._max_to_keep, self._keep_every_n_hours)
      state.save(self._folder)
    self._saved_step = step
    logger.debug("saved step %d in %.1f s", step, time.time() - started)
    for name in removed:
      _try_to_remove(self._folder, name)

  def _tell(self, step):
    """Returns whether the training should end."""
    return self._on_saved is not None and self._on_saved(
        step, os.path.join(self._folder, _name(step)))

  @contextlib.contextmanager
  def _own_errors(self, what):
    """Ends the training by one sentence where a file can't be written."""
    try:
      yield
    except tensorflow_errors.LOST_WORKER_ERRORS:
      raise  # No matter of the disk: see cluster.lost_workers.
    except _ERRORS as e:
      latest = tf.train.latest_checkpoint(self._folder)
      raise errors.InputError(
          "%s cannot be written to %s: %s. %s. The same command goes on there."
          % (what, self._folder, tensorflow_errors.reason(e),
             "The last whole checkpoint is " + os.path.basename(latest)
             if latest else "There is no checkpoint yet")) from e
