"""The demo: a pretrained BERT learns to read the Python language reference.

    python -m demo.demo        (from the project's folder; or: make demo)

Prepares the corpus, fetches the weights of a MiniLM once (see pretrained.py),
and runs the main program as a user would: it evaluates the model on held-out
documents, goes on with its pretraining, evaluating it now and again, and writes
a report. Then it sums up. The last line is made for programs to read. The exit
code is 1 where the model did not learn what it should, or where training left
more on the disk than TensorFlow's own files, logs and small records.

DEMO_MODEL=a_hugging_face_folder in the environment continues from that model.
DEMO_STEPS=40 shortens the training, to try that all runs.
"""

import collections
import fnmatch
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from typing import List, NamedTuple

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import run_pretraining_e2e as e2e
from bert_e2e.checkpoints import hugging_face
from bert_e2e.training import evaluation
from demo import pretrained

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CORPUS = os.path.join("demo", "corpus")
OUT = os.path.join("demo", "out")
TRAIN_TEXT = os.path.join(CORPUS, "train.txt")
HELD_OUT_TEXT = os.path.join(CORPUS, "held_out.txt")

STEPS = 300
BATCH_SIZE = 16
# Evaluations of a training, besides the one before it.
EVALUATIONS = 5
MAX_SEQ_LENGTH = 64
MAX_PREDICTIONS_PER_SEQ = 10
# How many times the baseline's accuracy counts as clearly above it.
CLEARLY = 1.5

# What training may write: TensorFlow's checkpoints (first in parts, in a folder
# model.ckpt-N_temp_*), event files and graph, the log, the results, the small
# records of where in the stream it stands and how it came about, and the
# report; and in TMPDIR the Python code that TensorFlow's AutoGraph makes of
# functions.
OWN_FILES = ("checkpoint", "checkpoint.tmp*", "model.ckpt-*", "graph.pbtxt",
             "graph.pbtxt.tmp*", "events.out.tfevents.*", "train.log",
             "eval_results.txt", "stream.json", "stream.json.tmp",
             "stream_windows*.txt", "training_plan.json",
             "training_plan.json.tmp", "evaluations.jsonl", "runs.jsonl",
             "preflight.json", "preflight.json.tmp", "report.html",
             "report.html.tmp", "tmp/tmp*.py",
             "tmp/__autograph_generated_file*.py")


class Evaluation(NamedTuple):
  """What the model made of the held-out text at a step.

  Attributes:
    step: int.
    masked_lm_loss, loss: float, in nats; the latter with the next-sentence
      loss.
    accuracy: float in [0, 1], of the masked-LM head.
  """
  step: int
  masked_lm_loss: float
  loss: float
  accuracy: float


class Outcome(NamedTuple):
  """What came out of the demo.

  Attributes:
    evaluations: list of Evaluation, from before the training to behind it.
    baseline: float, the accuracy of always guessing the commonest token.
    examples: int, built for training.
    seconds: float, that the main program took, evaluations included.
    intermediate_bytes: int.
  """
  evaluations: List[Evaluation]
  baseline: float
  examples: int
  seconds: float
  intermediate_bytes: int

  def before_and_after(self, name):
    """Returns a figure of the first and of the last evaluation."""
    return tuple(getattr(self.evaluations[i], name) for i in (0, -1))


def holds_examples(path):
  """Tells whether a file is a TFRecord file of tf.Examples.

  A record is its length (8 bytes), a checksum (4), the data, and another
  checksum (4). TensorFlow's event files have the same frame, but an event
  starts with a field of another wire type (0x09) than a tf.Example (0x0a).

  Args:
    path: str.

  Returns:
    bool; True if records of examples fill the file to its end.
  """
  size = os.path.getsize(path)
  with open(path, "rb") as f:
    position = 0
    while position < size:
      header = f.read(13)
      if len(header) < 13 or header[12:] != b"\n":
        return False
      position += 16 + struct.unpack("<Q", header[:8])[0]
      if position > size:
        return False
      f.seek(position)
  return size > 0


def is_own(path):
  """Tells whether a file is one that training may leave on the disk.

  Python's tempfile module tries whether it can write to a folder with a file
  that holds b"blat", and removes it at once: that one counts as well.
  """
  if any(fnmatch.fnmatch(path, "*/" + pattern) for pattern in OWN_FILES):
    return not holds_examples(path)
  with open(path, "rb") as f:
    return f.read(5) == b"blat"


def intermediate_files(folder):
  """Measures the files in a folder that training should not have written.

  Those are all files whose names are not among OWN_FILES, and of those any
  that holds examples.

  Args:
    folder: str; folders inside are searched too.

  Returns:
    dict from path to size in bytes.
  """
  found = {}
  for where, _, names in os.walk(folder):
    for name in names:
      path = os.path.join(where, name)
      try:
        if not is_own(path):
          found[path] = os.path.getsize(path)
      except FileNotFoundError:
        pass  # Removed between the listing and the look, while training ran.
  return found


def prepare_corpus():
  """Writes the demo's text to CORPUS."""
  run(["-m", "demo.prepare_corpus", "--output_dir=" + CORPUS])


def training_flags(steps):
  """Returns the flags of a training from nothing, of the demo's small model.

  It needs no download: demo/multi_worker.py, which is about other things than
  what the model learns, trains that one.
  """
  return ["--vocab_file=" + os.path.join("demo", "vocab.txt"),
          "--bert_config_file=" + os.path.join("demo", "bert_config.json"),
          "--do_train", "--train_batch_size=16", "--learning_rate=1e-3",
          "--num_train_steps=%d" % steps, "--num_warmup_steps=%d" % (
              steps // 10)]


def continuing_flags(model, steps):
  """Returns the flags of a training that goes on from a pretrained model.

  Args:
    model: str, a Hugging Face folder; it says what vocabulary, config and case
      are its own.
    steps: int.
  """
  return ["--init_checkpoint=" + model, "--do_train",
          "--train_batch_size=%d" % BATCH_SIZE, "--learning_rate=5e-4",
          "--num_train_steps=%d" % steps, "--warmup_proportion=0.1",
          "--eval_every_steps=%d" % max(1, steps // EVALUATIONS),
          "--max_eval_steps=0", "--log_every_steps=%d" % max(10, steps // 15),
          # Of 275 MB each, with the optimizer's slots.
          "--keep_checkpoint_max=1"]


def run(command, watched=None):
  """Runs a program of the project, its output going to the terminal.

  Args:
    command: list of str, arguments for Python.
    watched: a folder that is looked through while the program runs, so that
      files which it removes again are seen too.

  Returns:
    dict from the path of each intermediate file in `watched` to its greatest
    size in bytes.

  Raises:
    SystemExit: the program failed.
  """
  print("\n$ python " + " ".join(command), flush=True)
  seen = {}
  environment = dict(os.environ)
  # TensorFlow's C++ messages below FATAL; failures arrive as exceptions.
  environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
  if watched:
    environment["TMPDIR"] = os.path.abspath(os.path.join(watched, "tmp"))
    os.makedirs(environment["TMPDIR"])
  process = subprocess.Popen([sys.executable] + command, env=environment)
  try:
    while True:
      ended = process.poll() is not None
      for path, size in intermediate_files(watched or os.devnull).items():
        seen[path] = max(size, seen.get(path, 0))
      if ended:
        break
      time.sleep(0.5)
  except KeyboardInterrupt:
    process.wait()
    sys.exit(130)
  if process.returncode:
    sys.exit("demo: the command above failed with exit code %d."
             % process.returncode)
  return seen


def pretraining_command(output_dir, *flags):
  """Returns the command line of the main program, with these flags on top.

  Without them it reads the demo's text, but knows of no model.
  """
  return [
      "run_pretraining_e2e.py",
      "--input_file=" + TRAIN_TEXT,
      "--eval_input_file=" + HELD_OUT_TEXT,
      "--output_dir=" + output_dir,
      "--max_seq_length=%d" % MAX_SEQ_LENGTH,
      "--max_predictions_per_seq=%d" % MAX_PREDICTIONS_PER_SEQ,
      "--do_eval",
  ] + list(flags)


def read_evaluations(output_dir):
  """Reads the evaluations of the held-out text, in the order of their steps.

  Returns:
    list of Evaluation.
  """
  rows = [row for row in evaluation.load(output_dir)
          if row["text"] == evaluation.DOMAIN]
  return [
      Evaluation(row["step"], row["masked_lm_loss"], row["loss"],
                 row["masked_lm_accuracy"])
      for row in sorted(rows, key=lambda row: row["step"])]


def examples_built(output_dir):
  """Returns how many training examples the main program says it built."""
  with open(os.path.join(output_dir, "train.log"), encoding="utf-8") as f:
    return int(re.findall(r"(\d+) examples built for training", f.read())[-1])


def constant_guess_accuracy(serialized_examples):
  """Returns the accuracy of always guessing the commonest masked token.

  The commonest one among the labels of these very examples: no constant guess
  does better on them.

  Args:
    serialized_examples: iterable of bytes, tf.Examples.

  Returns:
    float in [0, 1].
  """
  labels = collections.Counter()
  for serialized in serialized_examples:
    feature = e2e.tf.train.Example.FromString(serialized).features.feature
    ids = feature["masked_lm_ids"].int64_list.value
    weights = feature["masked_lm_weights"].float_list.value
    labels.update(i for i, weight in zip(ids, weights) if weight)
  return labels.most_common(1)[0][1] / sum(labels.values())


def held_out_examples(model):
  """Returns the examples of the evaluations, an iterator over bytes.

  One pass over the held-out text with the model's own vocabulary, the program's
  defaults for all other options.
  """
  lower = hugging_face.read_do_lower_case(model)
  return e2e.take_write_2_flow(
      [HELD_OUT_TEXT], hugging_face.find_vocab_file(model),
      do_lower_case=lower is not False, max_seq_length=MAX_SEQ_LENGTH,
      max_predictions_per_seq=MAX_PREDICTIONS_PER_SEQ, num_epochs=1)


def train_and_evaluate(model, steps):
  """Runs the demo's commands.

  Args:
    model: str, the Hugging Face folder to continue from.
    steps: int, training steps.

  Returns:
    An Outcome.
  """
  shutil.rmtree(OUT, ignore_errors=True)
  prepare_corpus()
  start = time.time()
  intermediate = run(
      pretraining_command(OUT, *continuing_flags(model, steps)), watched=OUT)
  seconds = time.time() - start
  for path, size in sorted(intermediate.items()):
    print("intermediate file: %s, %d bytes" % (path, size))
  return Outcome(
      evaluations=read_evaluations(OUT),
      baseline=constant_guess_accuracy(held_out_examples(model)),
      examples=examples_built(OUT), seconds=seconds,
      intermediate_bytes=sum(intermediate.values()))


def summary(outcome):
  """Returns the lines that close the demo; the last one is for programs."""
  row, more = "%-38s %14s %10s", "%-38s %14s"
  lines = ["", row % ("on text that was held out", "masked-LM loss",
                      "accuracy")]
  for found in outcome.evaluations:
    when = "after %d steps" % found.step if found.step else "before training"
    lines.append(row % ("  " + when, "%.3f" % found.masked_lm_loss,
                        "%.1f %%" % (100 * found.accuracy)))
  return lines + [
      row % ("  always guessing the commonest token", "",
             "%.1f %%" % (100 * outcome.baseline)),
      more % ("examples built while training", outcome.examples),
      more % ("seconds, evaluations included", "%.0f" % outcome.seconds),
      more % ("bytes of intermediate files", outcome.intermediate_bytes),
      "its curves, to open in a browser: " + os.path.join(OUT, "report.html"),
      "",
      "demo: steps=%d loss=%.3f->%.3f accuracy=%.3f->%.3f baseline=%.3f"
      " examples=%d intermediate_bytes=%d masked_lm_loss=%.3f->%.3f" % (
          (outcome.evaluations[-1].step,) + outcome.before_and_after("loss") +
          outcome.before_and_after("accuracy") +
          (outcome.baseline, outcome.examples, outcome.intermediate_bytes) +
          outcome.before_and_after("masked_lm_loss")),
  ]


def shortcomings(outcome):
  """Returns what an outcome falls short of, a list of sentences.

  A shortened run has to show that the model learns, no more.
  """
  found = []
  if outcome.intermediate_bytes:
    found.append("training wrote intermediate files")
  before, after = outcome.before_and_after("masked_lm_loss")
  # Not ">=", which would pass what is no number.
  if not after < before:
    found.append("the masked-LM loss did not fall")
  if outcome.evaluations[-1].step < STEPS:
    return found
  before, after = outcome.before_and_after("accuracy")
  if after <= before:
    found.append("the accuracy did not rise")
  if after < CLEARLY * outcome.baseline:
    found.append("the accuracy is not clearly above that of always guessing the"
                 " commonest token")
  return found


def main():
  os.chdir(ROOT)
  steps = int(os.environ.get("DEMO_STEPS", STEPS))
  try:
    model = pretrained.find()
  except pretrained.Unavailable as e:
    sys.exit("demo: %s" % e)
  except KeyboardInterrupt:
    sys.exit(130)
  outcome = train_and_evaluate(model, steps)
  found = shortcomings(outcome)
  for sentence in found:
    print("demo failed: " + sentence)
  print("\n".join(summary(outcome)))
  sys.exit(1 if found else 0)


if __name__ == "__main__":
  main()
