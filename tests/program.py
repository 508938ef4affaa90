"""Runs the main program on a corpus and a model small enough for tests."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import forked_programs
import numpy as np
import tensorflow.compat.v1 as tf

import create_pretraining_data as cpd
import run_pretraining_e2e as e2e
from bert_e2e import flags as flags_lib
from bert_e2e import prepare

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "run_pretraining_e2e.py")
WORDS = ["w%d" % i for i in range(40)]
VOCAB = list(cpd.SPECIAL_TOKENS) + WORDS
CONFIG = {
    "vocab_size": len(VOCAB), "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 32, "type_vocab_size": 2,
}
LENGTHS = {"max_seq_length": 16, "max_predictions_per_seq": 3}


def text(num_documents, first=0):
  """Returns documents of four sentences of five words, each another one."""
  lines = []
  for d in range(first, first + num_documents):
    stride = 1 + d // 40
    for s in range(4):
      lines.append(" ".join(
          WORDS[(d * 7 + s * 3 + i * stride) % 40] for i in range(5)))
    lines.append("")
  return "\n".join(lines) + "\n"


def write_inputs(directory):
  """Writes a small corpus, vocabulary and config; returns their paths.

  Args:
    directory: pathlib.Path.
  """
  contents = {"train": ("train.txt", text(60)),
              "eval": ("eval.txt", text(9, 100)),
              "vocab": ("vocab.txt", "\n".join(VOCAB) + "\n"),
              "config": ("config.json", json.dumps(CONFIG))}
  for name, content in contents.values():
    (directory / name).write_text(content)
  paths = {key: str(directory / name) for key, (name, _) in contents.items()}
  return dict(paths, out=str(directory / "out"))


def set_dropout(files, rate):
  """Changes the model's config to a rate of dropout."""
  with open(files["config"], "w") as stream:
    json.dump(dict(CONFIG, hidden_dropout_prob=rate,
                   attention_probs_dropout_prob=rate), stream)


def copied(files, directory):
  """Copies inputs and output of a run; returns the paths of the copies.

  Args:
    files: dict as of `write_inputs`; all are in one directory.
    directory: pathlib.Path of an empty directory.
  """
  source = os.path.dirname(files["out"])
  directory.rmdir()
  shutil.copytree(source, str(directory))
  return {key: str(directory / os.path.relpath(path, source))
          for key, path in files.items()}


def command(files, **changes):
  """Returns the program's arguments; a change to None drops a flag.

  Unless changed, examples are built by the program itself: worker processes
  take longer to start than tests to train.
  """
  values = dict({
      "input_file": files["train"], "vocab_file": files["vocab"],
      "bert_config_file": files["config"], "output_dir": files["out"],
      "do_train": True, "num_train_steps": 4, "num_warmup_steps": 2,
      "train_batch_size": 8, "learning_rate": 1e-3, "num_workers": 0,
  }, **dict(LENGTHS, **changes))
  return ["--%s=%s" % item for item in values.items() if item[1] is not None]


def epoch_of(files):
  """Returns the number of examples of a first epoch."""
  return sum(1 for _ in e2e.take_write_2_flow(
      [files["train"]], files["vocab"], num_epochs=1, **LENGTHS))


def prepared(values):
  """Returns the prepare.PreparedRun of parsed flags; see `parse_flags`."""
  return prepare.prepare(flags_lib.config_from_flags(values))


def run_program(arguments):
  """Runs the program to its end; returns a subprocess.CompletedProcess."""
  return forked_programs.run([PROGRAM] + arguments)


def run_command(arguments, **environment):
  """Runs a Python program as a user does: by an interpreter of its own.

  Args:
    arguments: list of str, the program's path and its arguments.
    **environment: what to change in the environment.

  Returns:
    subprocess.CompletedProcess.
  """
  return subprocess.run(
      [sys.executable] + arguments, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, universal_newlines=True, check=False,
      env=dict(os.environ, **environment))


@contextlib.contextmanager
def started(arguments, line):
  """Starts the program; it is killed at the end of the context.

  Args:
    arguments: list of str.
    line: str, how the line starts that it is waited for.

  Yields:
    forked_programs.ForkedProgram, its further output in `stdout`.
  """
  program = forked_programs.ForkedProgram([PROGRAM] + arguments)
  try:
    assert any(said.startswith(line) for said in program.stdout), line
    yield program
  finally:
    program.kill()
    program.wait()
    program.stdout.close()


def children(pid):
  """Returns the numbers of the processes that a process's threads started."""
  found = []
  for path in pathlib.Path("/proc/%d/task" % pid).glob("*/children"):
    with contextlib.suppress(OSError):  # The thread has just ended.
      found += map(int, path.read_text().split())
  return found


def is_gone(pid):
  """Tells whether a process has ended; it may be left as a zombie."""
  try:
    stat = pathlib.Path("/proc/%d/stat" % pid).read_text()
  except OSError:
    return True
  return stat.rpartition(")")[2].split()[0] == "Z"


def tensors(out, step):
  """Returns all tensors of a checkpoint by name."""
  reader = tf.train.load_checkpoint(os.path.join(out, "model.ckpt-%d" % step))
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()}


def check_a_kill_changes_nothing(files, when_resumed=None, **changes):
  """Checks that a run that is killed and resumed ends with the weights of one
  that is not; see `command`. The resumed one has two workers.

  Args:
    files: dict as of `write_inputs`.
    when_resumed: dict of what is changed further when the run is resumed.
    **changes: see `command`.

  Returns:
    dict, `files` with the output directory of the run that was killed.
  """
  run = dict(changes, num_train_steps=12, save_checkpoints_steps=4,
             log_every_steps=1, learning_rate=1e-2)
  undisturbed, killed = files["out"] + "1", files["out"] + "2"
  first = run_program(command(dict(files, out=undisturbed), **run))
  assert first.returncode == 0, first.stdout
  with started(command(dict(files, out=killed), **run), "step 7/12"):
    pass  # Killed by SIGKILL at once.
  last = run_program(command(dict(files, out=killed), **dict(
      run, num_workers=2, **when_resumed or {})))
  assert last.returncode == 0, last.stdout
  assert "resuming from step 4" in last.stdout
  expected, found = tensors(undisturbed, 12), tensors(killed, 12)
  assert sorted(found) == sorted(expected)
  assert all(np.array_equal(found[name], expected[name]) for name in expected)
  return dict(files, out=killed)


def save_checkpoint(path, shapes):
  """Writes a checkpoint with zeros of these shapes; returns its path."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with tf.Graph().as_default():
    for name, shape in shapes.items():
      tf.get_variable(name, shape, initializer=tf.zeros_initializer())
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      return tf.train.Saver().save(session, path)
