"""The trainings that benchmarks/gpu.py measures, and what a row tells of one.
"""

import argparse
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, NamedTuple

import common

from bert_e2e import config
from bert_e2e.data import packing
from bert_e2e.reporting import run_data
from on_gpu import cards

PROGRAM = os.path.join(common.ROOT, "benchmarks", "gpu_program.py")
MEASURED, OUT_OF_MEMORY, FAILED, TIMED_OUT = (
    "measured", "out of memory", "failed", "timed out")
# Results that another attempt would repeat.
FINAL = (MEASURED, OUT_OF_MEMORY)
_OUT_OF_MEMORY = re.compile(
    r"OOM when allocating|RESOURCE_EXHAUSTED|ResourceExhaustedError|"
    r"[Oo]ut of memory|OUT_OF_MEMORY")
HEADER = ("| training | batch | sequences/s | real tokens/s | input wait | "
          "memory, GB | of the peak | first step, s |\n"
          "|---|---|---|---|---|---|---|---|")


class Training(NamedTuple):
  """A configuration to measure.

  Attributes:
    model: str, see cards.shape_of.
    length: int, tokens of a sequence.
    precision: str, one of config.PRECISIONS.
    xla, packed: bool.
    gradients: str, "fast", "plain", or "" for what the program chooses.
    batch_size: int.
  """
  model: str
  length: int
  precision: str
  xla: bool
  packed: bool
  gradients: str
  batch_size: int

  def name(self):
    """Returns the name of its row."""
    return ", ".join([self.model, "length %d" % self.length, self.precision] + [
        word for word, is_said in (
            ("XLA", self.xla), ("packed", self.packed),
            (self.gradients + " gradients", self.gradients)) if is_said])

  def flags(self):
    """Returns the flags of run_pretraining_e2e.py that select it."""
    found = ["--max_seq_length=%d" % self.length,
             "--max_predictions_per_seq=%d" % predictions_of(self.length),
             "--train_batch_size=%d" % self.batch_size,
             "--precision=" + self.precision]
    if self.packed:
      found += ["--pack_sequences", "--max_sequences_per_pack=%d" %
                max_sequences(self.length)]
    return found + ["--use_xla"] * self.xla

  def row_shape(self) -> packing.RowShape:
    """Returns the shape of a row of its batches."""
    predictions = predictions_of(self.length)
    if not self.packed:
      return packing.RowShape(self.length, predictions, 1)
    return packing.row_shape(
        config.InstanceConfig(max_seq_length=self.length,
                              max_predictions_per_seq=predictions),
        config.PackingConfig(True, max_sequences(self.length)))


def predictions_of(length):
  """Returns the predicted positions of a sequence: 20 of 128, 80 of 512."""
  return config.matching_predictions(0.15, length) + 1


def max_sequences(length):
  """Returns how many sequences a packed row holds: 8 at 128, 16 at 512."""
  return max(8, length // 32)


def in_order(options, batch_size_of) -> List[Training]:
  """Returns the trainings to measure, the most important ones first.

  They are sorted by model, packing and length; the first model and length is
  also measured with the gradients chosen by hand.

  Args:
    options: the parsed arguments of gpu.py.
    batch_size_of: function from a model and a length to an int.
  """
  def of(model, length, packed, gradients):
    return [Training(model, length, precision, xla, packed, gradients,
                     batch_size_of(model, length))
            for xla, precision in itertools.product(
                options.xla, options.precisions)]

  found = []
  for i, (model, packed, length) in enumerate(itertools.product(
      options.models, options.packed, options.lengths)):
    found += of(model, length, packed, "")
    if i == 0:
      for gradients in options.gradients:
        found += of(model, length, packed, gradients)
  return found


def measure(training, files, options, seconds) -> Dict[str, Any]:
  """Runs a training in a process of its own and measures it.

  Args:
    training: Training.
    files: inputs.Files, of the text and the vocabulary.
    options: the parsed arguments of gpu.py.
    seconds: float, after which the process is killed.

  Returns:
    dict that JSON can represent: "result", one of the words above; "detail", a
    str, if it is not MEASURED; otherwise the values of `_values`.
  """
  with tempfile.TemporaryDirectory() as directory:
    out = os.path.join(directory, "out")
    measured = os.path.join(directory, "measured.json")
    model = os.path.join(directory, "config.json")
    shape = cards.shape_of(training.model)._replace(
        vocabulary=files.vocabulary_size)
    with open(model, "w") as stream:
      json.dump(shape.config(), stream)
    command = [
        sys.executable, PROGRAM, "--measured=" + measured,
        "--started=%f" % time.time(), "--warm_up=%d" % options.warm_up,
        "--min_steps=%d" % options.min_steps, "--seconds=%g" % options.seconds]
    command += ["--gradients=" + training.gradients] * bool(training.gradients)
    command += ["--"] + files.flags() + [
        "--bert_config_file=" + model, "--output_dir=" + out, "--do_train",
        "--num_train_steps=1000000", "--save_checkpoints_steps=1000000",
        "--log_every_steps=5"] + training.flags()
    code, output = run(command, seconds)
    if not os.path.exists(measured):
      return _failure(code, output)
    with open(measured) as stream:
      inside = json.load(stream)
    return dict(
        _values(out, inside, training, options.warm_up), result=MEASURED,
        operations_per_row=cards.operations_per_row(
            shape, *training.row_shape()))


def run(command, seconds):
  """Runs a command to its end; kills it, and what it started, after a time.

  Args:
    command: list of str.
    seconds: float.

  Returns:
    (exit code, None if it was killed; the end of its output, a str).
  """
  with tempfile.TemporaryFile() as output:
    process = subprocess.Popen(command, stdout=output, stderr=output,
                               start_new_session=True)
    try:
      code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
      code = None
    finally:
      if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - 100000))
    return code, output.read().decode("utf-8", "replace")


def _failure(code, output):
  """Returns the result of a training that was not measured."""
  if code is None:
    return {"result": TIMED_OUT, "detail": ""}
  lines = [line for line in output.splitlines() if line.strip()]
  found = OUT_OF_MEMORY if _OUT_OF_MEMORY.search(output) else FAILED
  return {"result": found, "detail": "exit code %s: %s" % (
      code, lines[-1].strip()[:300] if lines else "no output")}


def _values(out, inside, training, warm_up):
  """Returns what was measured.

  Args:
    out: str, the output directory.
    inside: dict, what gpu_program.py wrote.
    training: Training.
    warm_up: int, steps that do not count.

  Returns:
    dict of floats: rows_per_second, sequences_per_second,
    real_tokens_per_second, input_wait (a fraction) and those of `inside`. Means
    over the time of the steps that count.
  """
  events = run_data.read_training(out)
  by_step = {name: dict(points) for name, points in events.items()}
  steps = [step for step in by_step["sequences_per_second"] if step > warm_up]
  rows_per_second = {
      step: by_step["tokens_per_second"][step] / training.length /
            (1.0 - by_step["padding"][step]) for step in steps}
  # Each progress line covers the same number of steps, and so of rows.
  seconds = {step: 1.0 / rows_per_second[step] for step in steps}

  def mean(values):
    return sum(values[step] * seconds[step] for step in steps) / sum(
        seconds.values())

  return dict(inside, rows_per_second=mean(rows_per_second),
              sequences_per_second=mean(by_step["sequences_per_second"]),
              real_tokens_per_second=mean(by_step["tokens_per_second"]),
              input_wait=mean(by_step["input_wait"]))


def to_markdown(training, found, card, tensorflow_version):
  """Returns the line of the table for a training.

  Args:
    training: Training.
    found: dict, see `measure`.
    card: str or None, the card's name.
    tensorflow_version: str.
  """
  start = "| %s | %d | " % (training.name(), training.batch_size)
  if found["result"] != MEASURED:
    words = found["result"] + (
        ": " + found["detail"].replace("|", "/") if found.get("detail") and
        found["result"] != OUT_OF_MEMORY else "")
    return start + words + " | | | | | |"
  peak = cards.peak(card, training.precision, tensorflow_version)
  share = "unknown" if peak is None else "%.1f %%" % (
      100 * found["operations_per_row"] * found["rows_per_second"] / peak)
  memory = found["peak_bytes"]
  return start + "%.1f | %s | %.1f %% | %s | %s | %.0f |" % (
      found["sequences_per_second"],
      format(round(found["real_tokens_per_second"]), ","),
      100 * found["input_wait"],
      "unknown" if memory is None else "%.2f" % (memory / 1e9), share,
      found["first_step_seconds"])


def words(choices):
  """Returns a parser of an argument: some of these words, by commas."""
  def parse(text):
    words = [word for word in text.split(",") if word]
    unknown = [word for word in words if word not in choices]
    if unknown:
      raise argparse.ArgumentTypeError("%s: none of %s" % (
          unknown[0], ", ".join(choices)))
    return words

  return parse


def switches(text):
  """Parses "off", "on" or both, to a list of bool."""
  return [word == "on" for word in words(["off", "on"])(text)]
