"""The checks of benchmarks/gpu.py: is training on this device right?

A small model trains for some hundred steps from the same weights in every
way, and the losses are compared with those of fp32 without XLA on one device:

  again             the same once more: how far a GPU, whose sums have no fixed
                    order, repeats itself
  plain gradients   without those of modeling.fast_gradients, and so with XLA
  XLA, fp16, bfloat16, and fp16 and bfloat16 with XLA
  mirrored          tf.distribute.MirroredStrategy with one GPU
  resumed           killed by SIGKILL on the way and started again

Where the arithmetic is the same up to rounding, the loss of each step may
differ by _STEP nats; a batch that is missing or trained twice changes losses by
much more. XLA may draw other random numbers for dropout, so there is none in
what it is compared with. In lower precision, the mean loss of
every tenth of the steps may differ by _MEAN nats: an update that overflows in
fp16 is skipped, which moves all later losses by a step. Only so many may be
skipped, and the loss of fp32 has to fall, or there is nothing to compare.

On a CPU TensorFlow computes fp16 in fp32: there only the scale of the loss is
checked.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, NamedTuple

import numpy as np
from rows import GPU_CHECK

import modeling
from bert_e2e.common import session_config
from bert_e2e.reporting import run_data
from on_gpu import cards, rows

tf = run_data.tf
_STEP, _MEAN = 0.01, 0.05
_MAX_SKIPPED = 20
_LENGTH, _BATCH_SIZE = 64, 16
_NO_DROPOUT = ["--hidden_dropout_prob=0", "--attention_probs_dropout_prob=0"]


class Failure(Exception):
  """A training that did not end well."""


class Check(NamedTuple):
  """A comparison with fp32 on one device.

  Attributes:
    name: str.
    flags: list of str, flags of run_pretraining_e2e.py.
    is_exact: bool, the losses of each step are compared, not their means.
    has_dropout: bool.
    is_killed: bool, the training is killed and resumed.
    gradients: str, see gpu_program.py.
  """
  name: str
  flags: List[str]
  is_exact: bool = True
  has_dropout: bool = True
  is_killed: bool = False
  gradients: str = ""


def all_checks(num_gpus) -> List[Check]:
  """Returns the checks for a machine with so many GPUs, an int."""
  one = ["--num_gpus=1"] if num_gpus else ["--devices=cpu:0"]
  found = [
      Check("again", []),
      Check("plain gradients", [], gradients="plain"),
      Check("XLA", ["--use_xla"], has_dropout=False),
      Check("plain gradients with XLA", ["--use_xla"], has_dropout=False,
            gradients="plain"),
      Check("mirrored", ["--distribution_strategy=mirrored"] + one),
      Check("resumed", [], is_killed=True)]
  for precision in ("fp16", "bfloat16"):
    flags = ["--precision=" + precision]
    found += [
        Check(precision, flags, is_exact=False),
        Check(precision + " with XLA", flags + ["--use_xla"], is_exact=False,
              has_dropout=False)]
  return found


class Trained(NamedTuple):
  """What a training left.

  Attributes:
    losses: float64 [steps], those of the last steps. What a killed process told
      TensorBoard last is lost, so it is those after the kill.
    weights: dict from name to array, of the last checkpoint.
    num_skipped: int, updates that were skipped.
  """
  losses: np.ndarray
  weights: Dict[str, Any]
  num_skipped: int


class Trainer:
  """Trains a small model, always from the same weights.

  Args:
    directory: str, where to write.
    files: inputs.Files.
    options: the parsed arguments of gpu.py.
  """

  def __init__(self, directory, files, options):
    self._directory = directory
    self._files = files
    self._num_steps = options.check_steps
    self._kill_step = 2 * options.check_steps // 3
    self._learning_rate = options.check_learning_rate
    self._seconds = options.row_seconds
    self._config = os.path.join(directory, "config.json")
    shape = cards.shape_of(options.check_model)._replace(
        vocabulary=files.vocabulary_size)
    with open(self._config, "w") as stream:
      json.dump(shape.config(), stream)
    self._start = self._write_weights(modeling.BertConfig(**shape.config()))

  def _write_weights(self, config):
    """Writes a checkpoint with random weights; returns its path."""
    rng = np.random.RandomState(1)
    path = os.path.join(self._directory, "start.ckpt")
    with tf.Graph().as_default():
      for name, shape in modeling.variable_shapes(config).items():
        value = rng.normal(0.0, 0.02, shape)
        if len(shape) == 1:
          value = np.full(shape, 1.0 if name.endswith("gamma") else 0.0)
        tf.get_variable(name, initializer=value.astype(np.float32))
      with tf.Session(config=session_config.cpu_only()) as session:
        session.run(tf.global_variables_initializer())
        return tf.train.Saver().save(session, path)

  def train(self, check) -> Trained:
    """Trains as a check says.

    Raises:
      Failure: the program failed.
    """
    with tempfile.TemporaryDirectory(dir=self._directory) as out:
      command = self._command(check, out)
      if check.is_killed:
        self._train_and_kill(command)
      code, output = rows.run(command, self._seconds)
      lines = output.strip().splitlines() or ["no output"]
      if code != 0:
        raise Failure("exit code %s: %s" % (code, lines[-1]))
      if check.is_killed and "resuming from step" not in output:
        raise Failure("it did not resume")
      return self._read(out, self._kill_step if check.is_killed else 0)

  def _command(self, check, out):
    """Returns a command line, a list of str."""
    gradients = ["--gradients=" + check.gradients] * bool(check.gradients)
    return [sys.executable, rows.PROGRAM] + gradients + [
        "--", "--do_train", "--output_dir=" + out,
        "--bert_config_file=" + self._config,
        "--init_checkpoint=" + self._start,
        "--num_train_steps=%d" % self._num_steps, "--num_warmup_steps=10",
        "--learning_rate=%g" % self._learning_rate, "--log_every_steps=1",
        "--save_checkpoints_steps=%d" % (self._num_steps // 4),
        "--max_seq_length=%d" % _LENGTH, "--max_predictions_per_seq=10",
        "--train_batch_size=%d" % _BATCH_SIZE] + self._files.flags() + (
            check.flags + ([] if check.has_dropout else _NO_DROPOUT))

  def _train_and_kill(self, command):
    """Kills a training when two thirds are done.

    Raises:
      Failure: it ended before.
    """
    wanted = "step %d/%d" % (self._kill_step, self._num_steps)
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        universal_newlines=True, start_new_session=True)
    with program:
      if not any(line.startswith(wanted) for line in program.stdout or ()):
        raise Failure("it ended before it was killed")
      with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)

  def _read(self, out, first_step) -> Trained:
    """Reads what a training left in its output directory after a step."""
    reader = tf.train.load_checkpoint(
        os.path.join(out, "model.ckpt-%d" % self._num_steps))
    values = {name: reader.get_tensor(name)
              for name in reader.get_variable_to_shape_map()}
    losses = dict(run_data.read_training(out)["loss"])
    weights = {name: value for name, value in values.items()
               if name.startswith(("bert/", "cls/"))}
    steps = range(first_step + 1, self._num_steps + 1)
    return Trained(
        np.array([losses[step] for step in steps]), weights,
        int(values["examples_seen"]) // _BATCH_SIZE - self._num_steps)


def compare(check, found, expected):
  """Compares a training with that of fp32.

  Args:
    check: Check.
    found, expected: Trained.

  Returns:
    (bool, whether the check passes; str, the numbers).
  """
  if check.is_exact:
    difference = np.abs(
        found.losses - expected.losses[-len(found.losses):]).max()
    what, limit = "loss of a step", _STEP
  else:
    means = [[part.mean() for part in np.array_split(trained.losses, 10)]
             for trained in (found, expected)]
    difference = np.abs(np.subtract(*means)).max()
    what, limit = "mean loss of a tenth", _MEAN
  weights = np.max([np.abs(value - expected.weights[name]).max()
                    for name, value in found.weights.items()])
  says = "%s differs by %.2g, at most %g; weights by %.2g" % (
      what, difference, limit, weights)
  if "fp16" in check.name:
    says += "; %d updates skipped, at most %d" % (
        found.num_skipped, _MAX_SKIPPED)
  return bool(difference <= limit and np.isfinite(weights)
              and found.num_skipped <= _MAX_SKIPPED), says


def run(options, files, device):
  """Runs all checks and prints a row for each.

  Args:
    options: the parsed arguments of gpu.py.
    files: inputs.Files.
    device: dict with "num_gpus", an int.

  Returns:
    bool, whether all passed.
  """
  selected = [check for check in all_checks(device["num_gpus"])
              if not options.only or check.name in options.only]
  all_pass = True

  def tell(name, passes, numbers):
    nonlocal all_pass
    all_pass &= passes
    GPU_CHECK.show(
        ", " + name, "%s: %s" % ("pass" if passes else "FAIL", numbers))

  if not device["num_gpus"]:
    print("Without a GPU fp16 is computed in fp32: only its loss scale counts.")
  with tempfile.TemporaryDirectory() as directory:
    trainer = Trainer(directory, files, options)
    expected = {}
    for has_dropout in (True, False):
      check = Check("fp32", [], has_dropout=has_dropout)
      try:
        expected[has_dropout] = trained = trainer.train(check)
      except Failure as e:
        tell(check.name, False, str(e))
        return False
      tenth = max(1, len(trained.losses) // 10)
      first, last = trained.losses[:tenth].mean(), (
          trained.losses[-tenth:].mean())
      tell("fp32%s" % ("" if has_dropout else " without dropout"),
           first - last >= 2 * _MEAN, "the loss falls from %.3f to %.3f" % (
               first, last))
    for check in selected:
      try:
        found = trainer.train(check)
      except Failure as e:
        tell(check.name, False, str(e))
        continue
      tell(check.name, *compare(check, found, expected[check.has_dropout]))
  return all_pass
