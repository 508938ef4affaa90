"""The checkpoints in a directory: which are listed, kept, copied and removed.

A checkpoint is either complete or not listed: TensorFlow's state file,
`checkpoint`, names it only once all its files are in place, and no longer
before they are removed.
"""

import collections
import contextlib
import json
import logging
import os
import re
import time
from typing import NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

from bert_e2e.common import errors, file_io, tensorflow_errors

logger = logging.getLogger(__name__)

STATE_FILE = "checkpoint"
GRAPH_FILE = "graph.pbtxt"
PREFIX = "model.ckpt"
# What reading or writing a checkpoint may raise.
ERRORS = (OSError, ValueError, tf.errors.OpError)
# model.ckpt-7.index, or a directory of parts: model.ckpt-7_temp_0123 of
# TensorFlow 1.15, model.ckpt-7_temp of TensorFlow 2.
_FILE_NAME = re.compile(re.escape(PREFIX) + r"-(\d+)(\.|_temp(_|$))")
_NAME = re.compile(re.escape(PREFIX) + r"-(\d+)$")
# Files that TensorFlow and file_io write before they rename them.
_TEMPORARY = re.compile(r"(%s|%s)\.tmp" % (
    re.escape(GRAPH_FILE), re.escape(STATE_FILE)))
_SECONDS_PER_HOUR = 3600.0


class Checkpoint(NamedTuple):
  """A checkpoint in a list.

  Attributes:
    name: str, its path prefix without the directory.
    time: float, when it was saved, in seconds since the epoch.
  """
  name: str
  time: float


class CheckpointState(NamedTuple):
  """The content of the state file.

  Attributes:
    checkpoints: tuple of Checkpoint, the latest one last.
    last_preserved: float, when the last checkpoint that is kept permanently was
      saved, or the first one of the run; None if unknown.
  """
  checkpoints: Tuple[Checkpoint, ...] = ()
  last_preserved: Optional[float] = None

  def names(self):
    """Returns the list of the checkpoints' names."""
    return [item.name for item in self.checkpoints]

  def without(self, name):
    """Returns a CheckpointState that does not list a checkpoint."""
    return self._replace(checkpoints=tuple(
        item for item in self.checkpoints if item.name != name))

  def save(self, directory):
    """Writes the state file, as TensorFlow reads it.

    It holds names without the directory, so that the directory can be moved.
    """
    path = os.path.join(directory, STATE_FILE)
    if not self.checkpoints:  # TensorFlow's format cannot express this.
      if file_io.exists(path):
        file_io.remove(path)
      return
    lines = ["model_checkpoint_path: " + json.dumps(self.checkpoints[-1].name)]
    for item in self.checkpoints:
      lines += ["all_model_checkpoint_paths: " + json.dumps(item.name),
                "all_model_checkpoint_timestamps: %r" % item.time]
    if self.last_preserved is not None:
      lines.append("last_preserved_timestamp: %r" % self.last_preserved)
    file_io.write(
        path, "".join(line + "\n" for line in lines).encode("utf-8"))


def load_state(directory):
  """Reads a directory's state file.

  Args:
    directory: str.

  Returns:
    CheckpointState of the run's checkpoints that exist; an empty one without a
    state file. The last one is that which training starts from, even if the
    user has made an earlier one the latest.
  """
  found = tf.train.get_checkpoint_state(directory)
  if not found:
    return CheckpointState()
  names = [os.path.basename(path) for path in found.all_model_checkpoint_paths]
  times = list(found.all_model_checkpoint_timestamps)
  if len(times) != len(names):  # Some programs do not write them.
    times = [time.time()] * len(names)
  latest = os.path.basename(found.model_checkpoint_path)
  time_of = dict(zip(names, times))
  time_of[latest] = time_of.pop(latest, time.time())
  existing = set(file_io.names(directory))
  return CheckpointState(
      tuple(Checkpoint(*item) for item in time_of.items()
            if _NAME.match(item[0]) and item[0] + ".index" in existing),
      found.last_preserved_timestamp or None)


def retain(state, max_to_keep, keep_every_n_hours):
  """Decides which checkpoints stay listed.

  Args:
    state: CheckpointState with the new checkpoint.
    max_to_keep: int, the number of checkpoints that stay listed; 0 for all.
    keep_every_n_hours: float; a checkpoint that is no longer listed is kept
      permanently if it was saved so many hours after the previous one that is,
      or after the first one of the run.

  Returns:
    (CheckpointState, list of the names of checkpoints to remove).
  """
  checkpoints, last_preserved = list(state.checkpoints), state.last_preserved
  removed = []
  if last_preserved is None:
    last_preserved = checkpoints[0].time
  while max_to_keep and len(checkpoints) > max_to_keep:
    oldest = checkpoints.pop(0)
    if oldest.time - last_preserved >= keep_every_n_hours * _SECONDS_PER_HOUR:
      last_preserved = oldest.time
    else:
      removed.append(oldest.name)
  return CheckpointState(tuple(checkpoints), last_preserved), removed


# ----------------------------------------------------------------------- names


def name_of(step):
  """Returns the name of the checkpoint of a global step."""
  return "%s-%d" % (PREFIX, step)


def step_of(name):
  """Returns the global step in a checkpoint's name, int."""
  return int(name.rpartition("-")[2])


def latest_step(directory):
  """Returns the global step of a directory's latest checkpoint, or None."""
  latest = tf.train.latest_checkpoint(directory)
  # tf.train.load_variable takes some remote prefixes for directories.
  return int(tf.train.NewCheckpointReader(latest).get_tensor(
      "global_step")) if latest else None


def _checkpoint_of(entry):
  """Returns the name of the checkpoint that a file or a directory of parts
  belongs to, or None."""
  match = _FILE_NAME.match(entry)
  return name_of(int(match.group(1))) if match else None


# --------------------------------------------------------------------- removal


def remove(directory, name):
  """Removes the files of a checkpoint, complete or not."""
  _remove(directory, [entry for entry in file_io.names(directory)
                      if _checkpoint_of(entry) == name])


def try_to_remove(directory, name):
  """Removes a checkpoint; logs a warning if that fails."""
  try:
    remove(directory, name)
  except ERRORS as e:
    logger.warning("%s in %s cannot be removed: %s", name, directory,
                   tensorflow_errors.reason(e))


def _remove(directory, entries):
  """Removes files and directories of parts.

  The index is removed first: a checkpoint that has one is complete, whenever
  this is interrupted.
  """
  for entry in sorted(entries, key=lambda e: not e.endswith(".index")):
    path = os.path.join(directory, entry)
    if tf.io.gfile.isdir(path):
      tf.io.gfile.rmtree(path)
    else:
      file_io.remove(path)


def remove_incomplete(directory):
  """Removes the files that an interrupted save left in a directory."""
  entries_of = collections.defaultdict(list)
  incomplete = []
  for entry in file_io.names(directory):
    name = _checkpoint_of(entry)
    if name:
      entries_of[name].append(entry)
    elif _TEMPORARY.match(entry):
      incomplete.append(entry)
  listed = load_state(directory).names()
  for name, entries in entries_of.items():
    if name in listed or _is_complete(
        directory, name, entries, step_of(listed[-1]) if listed else -1):
      entries = [entry for entry in entries
                 if "_temp" in entry or ".tmp" in entry]
    incomplete += entries
  for entry in incomplete:
    logger.info("removing %s, left by an interrupted save",
                os.path.join(directory, entry))
  _remove(directory, incomplete)


def _is_complete(directory, name, entries, latest_step):
  """Tells whether the files of a checkpoint that is not listed are complete:
  those of one that is kept permanently, or of the user's own."""
  # TensorFlow writes the data, then the index, then the graph (.meta), which
  # the user may have removed from earlier checkpoints.
  if name + ".index" not in entries or (
      name + ".meta" not in entries and step_of(name) > latest_step):
    return False
  try:
    tf.train.load_checkpoint(os.path.join(directory, name))
  except tensorflow_errors.CHECKPOINT_ERRORS:
    return False
  return True


@contextlib.contextmanager
def replacing(directory, name):
  """Removes a checkpoint before the context writes it; if that fails, removes
  what it has written."""
  state = load_state(directory)
  if name in state.names():
    state.without(name).save(directory)
  remove(directory, name)
  try:
    yield
  except ERRORS:
    with contextlib.suppress(*ERRORS):
      remove(directory, name)
    raise


# ------------------------------------------------------------------------ copy


def copy(checkpoint, directory):
  """Copies a checkpoint to a directory of its own, where it replaces another.

  Args:
    checkpoint: str, path prefix.
    directory: str; it is created if it is missing.

  Returns:
    str, the copy's path prefix.

  Raises:
    errors.InputError: it cannot be written. What was written of it is removed;
      the previous checkpoint stays.
  """
  source, name = os.path.split(checkpoint)
  try:
    tf.io.gfile.makedirs(directory)
    with replacing(directory, name):
      for entry in file_io.names(source):
        if _checkpoint_of(entry) == name:
          tf.io.gfile.copy(os.path.join(source, entry),
                           os.path.join(directory, entry))
      CheckpointState((Checkpoint(name, time.time()),)).save(directory)
  except ERRORS as e:
    raise errors.InputError(
        "%s cannot be copied to %s: %s. Run the same command to try again." % (
            checkpoint, directory, tensorflow_errors.reason(e))) from e
  for entry in file_io.names(directory):
    other = _checkpoint_of(entry)
    if other and other != name:
      try_to_remove(directory, other)
  return os.path.join(directory, name)
