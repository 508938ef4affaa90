"""One random trial of the whole program: killed, stopped, out of disk, started
twice, and in the end the same weights as without all that."""

import atexit
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from typing import Any

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401
import tensorflow.compat.v1 as tf
from absl import app

import run_pretraining_e2e
from bert_e2e.data.text_source import take_write_2_flow
from scripts.soak_checks import TrialFailed, check
from scripts.soak_stream import FORMS
from scripts.soak_text import RandomText

# Values of evaluations.jsonl that depend on the clock.
_TIMES = {"time", "seconds", "wall_time"}
_PATIENCE_SECONDS = 300


def run_trial(seed, directory):
  """Runs a trial.

  Args:
    seed: int, of which the trial is a function, but for the moments at which
      signals arrive.
    directory: str, an empty directory.

  Returns:
    str, the disturbances.

  Raises:
    TrialFailed: the result is not that of an undisturbed run, or an exit
      code is not one that the disturbance may have.
  """
  rng = random.Random("program %d" % seed)
  flags = _random_flags(rng, directory)
  undisturbed = os.path.join(directory, "undisturbed")
  started = time.monotonic()
  _expect(_Program(flags, undisturbed).wait(), {0}, undisturbed)
  seconds = time.monotonic() - started
  disturbed = os.path.join(directory, "disturbed")
  names = [rng.choice(sorted(_DISTURBANCES)) for _ in range(rng.randint(1, 4))]
  for name in names:
    _DISTURBANCES[name](rng, flags, disturbed, seconds)
  _expect(_Program(flags, disturbed).wait(), {0}, disturbed)
  _compare(undisturbed, disturbed)
  return ", ".join(names)


class _Program:
  """A run of run_pretraining_e2e.py in a forked process.

  Args:
    flags: dict of flags.
    output_dir: str; what the program prints is added to `output_dir`.log.
    file_size: int, bytes of the largest file that it can write, as if the disk
      were full then; None for no limit.
  """

  def __init__(self, flags, output_dir, file_size=None):
    self._log = output_dir + ".log"
    self.pid = os.fork()
    if not self.pid:
      self._become(dict(flags, output_dir=output_dir), file_size)

  def _become(self, flags, file_size):
    """Runs the program in this process and ends it."""
    code: Any = 70
    try:
      os.setsid()
      output = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
      os.dup2(output, 1)
      os.dup2(output, 2)
      if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
      run_pretraining_e2e.define_flags()
      app.run(run_pretraining_e2e.main, ["run_pretraining_e2e.py"] + [
          "--%s=%s" % flag for flag in flags.items()])
    except SystemExit as e:
      code = e.code or 0
      if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    except BaseException:
      traceback.print_exc()
    finally:
      atexit._run_exitfuncs()
      os._exit(code)

  def wait(self):
    """Returns the exit code, or the negative number of a signal."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
      pid, status = os.waitpid(self.pid, os.WNOHANG)
      if pid:
        return (-os.WTERMSIG(status) if os.WIFSIGNALED(status)
                else os.WEXITSTATUS(status))
      time.sleep(0.02)
    os.kill(self.pid, signal.SIGKILL)
    os.waitpid(self.pid, 0)
    raise TrialFailed("the program hangs; see %s" % self._log)

  def send(self, number):
    os.kill(self.pid, number)  # A zombie until it was waited for.


def _kill(rng, flags, output_dir, seconds):
  program = _Program(flags, output_dir)
  time.sleep(rng.uniform(0, 1.1 * seconds))
  program.send(signal.SIGKILL)
  _expect(program.wait(), {0, -signal.SIGKILL}, output_dir)


def _stop(rng, flags, output_dir, seconds):
  program = _Program(flags, output_dir)
  time.sleep(rng.uniform(0, 1.1 * seconds))
  program.send(signal.SIGTERM)
  # Before its handler is installed, the signal ends the process.
  _expect(program.wait(), {0, 128 + signal.SIGTERM, -signal.SIGTERM},
          output_dir)


def _fill_disk(rng, flags, output_dir, seconds):
  del seconds
  limit = int(2 ** rng.uniform(6, 18))
  code = _Program(flags, output_dir, file_size=limit).wait()
  _expect(code, {0, 1}, output_dir)


def _start_twice(rng, flags, output_dir, seconds):
  programs = [_Program(flags, output_dir)]
  if rng.random() < 0.5:  # Else both at the same moment.
    time.sleep(rng.uniform(0, seconds))
  programs.append(_Program(flags, output_dir))
  codes = [program.wait() for program in programs]
  _expect(min(codes), {0}, output_dir)
  _expect(max(codes), {0, 1}, output_dir)


_DISTURBANCES = {"kill": _kill, "stop": _stop, "full disk": _fill_disk,
                 "start twice": _start_twice}


def _expect(code, expected, output_dir):
  """Fails unless an exit code is an expected one."""
  check(code in expected, "exit code %d, expected %s; see %s.log" % (
      code, sorted(expected), output_dir))


def _random_flags(rng, directory):
  """Writes text, vocabulary and config; returns a dict of flags."""
  train = _text_with_examples(rng, directory, "train")
  lengths = {"max_seq_length": rng.choice([16, 32]),
             "max_predictions_per_seq": rng.choice([3, 8])}
  config_file = os.path.join(directory, "bert_config.json")
  with open(train.vocab_file, encoding="utf-8") as stream:
    vocab_size = len(stream.readlines())
  with open(config_file, "w") as stream:
    json.dump({"vocab_size": vocab_size, "hidden_size": 8,
               "num_hidden_layers": 1, "num_attention_heads": 2,
               "intermediate_size": 16, "max_position_embeddings": 32,
               "type_vocab_size": 2}, stream)
  flags = dict(
      lengths, do_train=True, input_file=",".join(train.files),
      vocab_file=train.vocab_file, bert_config_file=config_file,
      num_train_steps=rng.randint(8, 24), num_warmup_steps=rng.randint(0, 8),
      save_checkpoints_steps=rng.randint(2, 8), learning_rate=1e-2,
      train_batch_size=rng.choice([2, 4, 8]), num_workers=rng.choice([0, 1, 2]),
      gradient_accumulation_steps=rng.choice([1, 1, 2]),
      optimizer=rng.choice(["adamw", "lamb"]),
      learning_rate_decay=rng.choice(["linear", "cosine", "constant"]),
      chunk_lines=rng.choice([3, 1000]), keep_checkpoint_max=rng.choice([1, 5]),
      random_seed=rng.randrange(1 << 31), log_every_steps=rng.choice([1, 5]),
      **rng.choice(FORMS))
  if rng.random() < 0.3:
    flags.update(pack_sequences=True,
                 max_sequences_per_pack=rng.choice([2, 8]))
  if rng.random() < 0.2:
    del flags["max_seq_length"]
    flags["stages"] = rng.choice(["16:0.5,32:0.5", "8:0.3,16:0.4,32:0.3"])
  if rng.random() < 0.2:
    replayed = _text_with_examples(rng, directory, "replay")
    flags.update(replay_input_file=",".join(replayed.files),
                 replay_proportion=rng.choice([0.05, 0.4]))
  if rng.random() < 0.4:
    held_out = _text_with_examples(rng, directory, "held_out")
    flags.update(
        eval_input_file=",".join(held_out.files), accept_eval_overlap=True,
        eval_every_steps=rng.randint(2, 8), keep_best=rng.random() < 0.5,
        do_eval=True, max_eval_steps=rng.choice([0, 3]))
  return flags


def _text_with_examples(rng, directory, name):
  """Returns a RandomText that yields an example."""
  attempt = 0
  while True:
    folder = os.path.join(directory, "%s-%d" % (name, attempt))
    os.mkdir(folder)
    text = RandomText(rng, folder)
    flow = take_write_2_flow(text.files, text.vocab_file, num_epochs=1,
                             max_seq_length=32)
    try:
      next(flow)
      return text
    except (ValueError, StopIteration):
      attempt += 1


def _compare(undisturbed, disturbed):
  """Fails unless two output directories have the same results, to the bit."""
  first, second = map(_tensors, (undisturbed, disturbed))
  check(set(first) == set(second), "different variables")
  different = [name for name in first
               if first[name].tobytes() != second[name].tobytes()]
  check(not different, "different values of %s" % ", ".join(different[:3]))
  first, second = map(_evaluations, (undisturbed, disturbed))
  check(first == second, "different evaluations")


def _tensors(directory):
  """Returns the tensors of the latest checkpoint by name."""
  reader = tf.train.load_checkpoint(directory)
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()}


def _evaluations(directory):
  """Returns the rows of evaluations.jsonl, without times and repetitions.

  The start of a finished run repeats its last evaluation.
  """
  path = os.path.join(directory, "evaluations.jsonl")
  if not os.path.exists(path):
    return []
  rows = []
  with open(path, encoding="utf-8") as stream:
    for line in stream:
      row = {key: value for key, value in json.loads(line).items()
             if key not in _TIMES}
      if row not in rows:
        rows.append(row)
  return rows
