"""Does what a test asks for, killed or out of space at a moment it asks for.

Started by `forked_programs`, with a request in JSON as its argument.
"""

import glob
import json
import os
import resource
import signal
import sys
import threading
import traceback

import tensorflow.compat.v1 as tf
from absl import app
from program import PROGRAM

import run_pretraining_e2e as e2e
from bert_e2e.checkpoints import checkpoint_hook, checkpoint_list, saver
from bert_e2e.checkpoints.checkpoint_list import CheckpointState
from bert_e2e.common import errors, file_io
from bert_e2e.training import progress

# The save of this step is disturbed: it is the third one, the first that
# removes another.
DISTURBED = 6
# Bytes that are left on a full disk, so that train.log can still be written.
SOME_SPACE = 1 << 18


def train(folder, last_step, size=1 << 16, is_chief=True, **options):
  """Trains weights that depend on the step, with no hook but the saving one.
  """
  with tf.Graph().as_default():
    step = tf.train.create_global_step()
    weights = tf.get_variable("weights", [size],
                              initializer=tf.ones_initializer())
    with tf.control_dependencies(
        [weights.assign(weights * 1.001 + tf.cast(step, tf.float32))]):
      train_op = step.assign_add(1)
    saver.use_saver([], is_chief)
    hook = checkpoint_hook.CheckpointHook(folder, lambda step: step % 3 == 0,
                                 is_chief=is_chief, **options)
    with tf.train.MonitoredSession(
        tf.train.ChiefSessionCreator(checkpoint_dir=folder),
        [hook, tf.train.StopAtStepHook(last_step=last_step)]) as session:
      while not session.should_stop():
        session.run(train_op)


def die(*unused_args, **unused_kwargs):
  os.kill(os.getpid(), signal.SIGKILL)


def die_when(pattern):
  """Returns a moment: TensorFlow has written a file, in another thread."""
  def moment(folder):
    # Or the index: the thread may miss a file that is renamed.
    patterns = [os.path.join(folder, p % DISTURBED)
                for p in (pattern, "model.ckpt-%d.index")]

    def watch():
      while not any(map(glob.glob, patterns)):
        pass
      die()

    threading.Thread(target=watch, daemon=True).start()
  return moment


def die_in(owner, name):
  """Returns a moment: a function is called."""
  return lambda folder: setattr(owner, name, die)


def die_removing(folder):
  del folder
  real = checkpoint_list._remove

  def remove(folder, entries):
    real(folder, entries and die())

  setattr(checkpoint_list, "_remove", remove)  # noqa: B010  Else mypy minds.


def die_behind(owner, name):
  """Returns a moment: a function has been called once."""
  real = getattr(owner, name)
  return lambda folder: setattr(
      owner, name, lambda *args, **kwargs: die(real(*args, **kwargs)))


def listed_first(moment):
  """Returns a moment: `moment`, after the list was written."""
  real = CheckpointState.save

  def save(self, folder):
    real(self, folder)
    moment(folder)

  return lambda folder: setattr(CheckpointState, "save", save)


MOMENTS = {
    "before it begins": die_in(saver._FallbackSaver, "save"),
    "parts are written": die_when("model.ckpt-%d_temp*/*"),
    "data are in their place": die_when("model.ckpt-%d.data-*"),
    "the graph is missing": die_in(saver._FallbackSaver, "export_meta_graph"),
    "it is whole": die_in(CheckpointState, "save"),
    "the list is half written": die_in(os, "replace"),
    "the old one is there": listed_first(die_removing),
    "the old one is half removed": listed_first(die_behind(file_io, "remove")),
}


def at_saving(step, act):
  """Calls `act` with the directory's path before a step is saved."""
  real = checkpoint_hook.CheckpointHook._save

  def save(self, session, saved_step):
    if saved_step == step:
      act(self._directory)
    real(self, session, saved_step)

  setattr(checkpoint_hook.CheckpointHook, "_save", save)  # noqa: B010


def kill(moment):
  at_saving(DISTURBED, MOMENTS[moment])


def kill_later(seconds):
  """Kills some time after training has started."""
  real = checkpoint_hook.CheckpointHook.after_create_session

  def after_create_session(*args):
    threading.Timer(seconds, die).start()
    real(*args)

  setattr(checkpoint_hook.CheckpointHook, "after_create_session",  # noqa: B010
          after_create_session)


def kill_copying(_):
  die_behind(tf.io.gfile, "copy")(None)


def stop(step):
  """Sends SIGTERM after a step."""
  real = progress.ProgressHook._show

  def show(self, figures):
    real(self, figures)
    if self._step == step:
      os.kill(os.getpid(), signal.SIGTERM)

  setattr(progress.ProgressHook, "_show", show)  # noqa: B010


def limit(size):
  """Limits the size of files; Python ignores the signal."""
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit_later(size):
  at_saving(DISTURBED, lambda folder: limit(size))


def fill(path):
  """Fills the disk with a file, except for SOME_SPACE."""
  def act(folder):
    del folder
    with open(path, "wb", buffering=0) as stream:
      try:
        while stream.write(b"\0" * SOME_SPACE):
          pass
      except OSError:
        stream.truncate(max(0, stream.tell() - SOME_SPACE))
  at_saving(DISTURBED, act)


DISTURBANCES = {
    "kill": kill, "kill_later": kill_later, "kill_copying": kill_copying,
    "stop": stop, "limit": limit, "limit_later": limit_later, "fill": fill}


def answer(request):
  """Handles a request; returns an exit code."""
  for name, value in request["disturbances"].items():
    DISTURBANCES[name](value)
  try:
    if request["what"] == "program":
      app.run(e2e.main, [PROGRAM] + request["arguments"])
    elif request["what"] == "copy":
      checkpoint_list.copy(**request["arguments"])
    else:
      train(**request["arguments"])
  except SystemExit as e:
    return e.code or 0
  except errors.InputError as e:
    print(e)
    return 1
  except BaseException:
    traceback.print_exc()
    return 70
  return 0


if __name__ == "__main__":
  e2e.define_flags()
  sys.exit(answer(json.loads(sys.argv[1])))
