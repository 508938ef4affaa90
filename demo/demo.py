"""The demo: continued pretraining of a BERT on the Python language reference.

    python -m demo.demo        (from the project's root; or: make demo)

Prepares the corpus, downloads a MiniLM once (see pretrained.py), and runs the
main program as a user would: it evaluates the model on held-out documents,
continues its pretraining with periodic evaluations, and writes a report. Then
the demo prints a summary, whose last line is machine-readable. The exit code is
1 if the model did not learn enough, or if training left anything on disk but
TensorFlow's files, logs and small records.

Environment variables: DEMO_MODEL=<Hugging Face directory> continues from that
model; DEMO_STEPS=20 shortens the training, for a quick check.
"""

import collections
import os
import re
import shutil
import subprocess
import sys
import time
from typing import List, NamedTuple

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import run_pretraining_e2e as e2e
from bert_e2e.checkpoints import hugging_face
from bert_e2e.reporting import report
from bert_e2e.training import evaluation
from demo import pretrained, written_files

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CORPUS = os.path.join("demo", "corpus")
OUT = os.path.join("demo", "out")
TRAIN_TEXT = os.path.join(CORPUS, "train.txt")
HELD_OUT_TEXT = os.path.join(CORPUS, "held_out.txt")

STEPS = 60
BATCH_SIZE = 16
# Evaluations during training, in addition to the one before it.
EVALUATIONS = 2
MAX_SEQ_LENGTH = 64
MAX_PREDICTIONS_PER_SEQ = 10
# The accuracy must exceed the baseline's by this factor.
MIN_GAIN = 1.5


class Evaluation(NamedTuple):
  """Metrics on the held-out text at a training step.

  Attributes:
    step: int.
    masked_lm_loss: float, in nats.
    loss: float, in nats; the sum of the masked-LM and next-sentence losses.
    accuracy: float in [0, 1], of the masked-LM head.
  """
  step: int
  masked_lm_loss: float
  loss: float
  accuracy: float


class Outcome(NamedTuple):
  """The results of the demo.

  Attributes:
    evaluations: list of Evaluation, from before training to after it.
    baseline: float, the accuracy of always guessing the commonest token.
    examples: int, examples built for training.
    seconds: float, run time of the main program, evaluations included.
    cpu_seconds: float, CPU time of the main program and its workers.
    intermediate_bytes: int, size of the intermediate files.
  """
  evaluations: List[Evaluation]
  baseline: float
  examples: int
  seconds: float
  cpu_seconds: float
  intermediate_bytes: int

  def before_and_after(self, name):
    """Returns a metric of the first and of the last evaluation."""
    return tuple(getattr(self.evaluations[i], name) for i in (0, -1))


def prepare_corpus():
  """Writes the demo's text to CORPUS."""
  run(["-m", "demo.prepare_corpus", "--output_dir=" + CORPUS])


def training_flags(steps):
  """Returns the flags to train the demo's small model from scratch.

  demo/multi_worker.py uses it: it needs no download, and what the model learns
  does not matter there.
  """
  return ["--vocab_file=" + os.path.join("demo", "vocab.txt"),
          "--bert_config_file=" + os.path.join("demo", "bert_config.json"),
          "--do_train", "--train_batch_size=16", "--learning_rate=1e-3",
          "--num_train_steps=%d" % steps, "--num_warmup_steps=%d" % (
              steps // 10)]


def continuing_flags(model, steps):
  """Returns the flags to continue the pretraining of a model.

  Args:
    model: str, a Hugging Face directory, which provides the vocabulary, the
      config and the case as well.
    steps: int, training steps.
  """
  return ["--init_checkpoint=" + model, "--do_train",
          "--train_batch_size=%d" % BATCH_SIZE, "--learning_rate=2.5e-4",
          "--num_train_steps=%d" % steps, "--warmup_proportion=0.3",
          # If the model has no masked-LM head, a new one is trained first. Its
          # gradients would otherwise destroy the encoder's weights.
          "--num_head_steps=%d" % (2 * steps // 5),
          "--head_learning_rate=2e-3",
          "--eval_every_steps=%d" % max(1, steps // EVALUATIONS),
          "--max_eval_steps=0", "--log_every_steps=%d" % max(10, steps // 15),
          # A checkpoint has 275 MB, including the optimizer's slots.
          "--keep_checkpoint_max=1"]


def run(command, watched=None):
  """Runs a program of the project; its output goes to the terminal.

  Args:
    command: list of str, arguments for Python.
    watched: str, output directory to search for intermediate files while the
      program runs, so that files which it removes are found, too; or None.

  Returns:
    dict from the path of each intermediate file in `watched` to its largest
    size in bytes.

  Raises:
    SystemExit: the program failed.
  """
  print("\n$ python " + " ".join(command), flush=True)
  seen = {}
  environment = dict(os.environ)
  # Hides TensorFlow's C++ messages; failures are raised as exceptions.
  environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
  if watched:
    environment["TMPDIR"] = os.path.abspath(os.path.join(
        watched, written_files.TEMPORARY))
    os.makedirs(environment["TMPDIR"])
  process = subprocess.Popen([sys.executable] + command, env=environment)
  try:
    while True:
      ended = process.poll() is not None
      for path, size in written_files.intermediate_files(
          watched or os.devnull).items():
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
  """Returns the command line of the main program on the demo's text.

  Args:
    output_dir: str.
    *flags: str, further flags, which must specify the model.
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
  """Returns the evaluations of the held-out text, a list of Evaluation."""
  rows = [row for row in evaluation.load(output_dir)
          if row["text"] == evaluation.DOMAIN]
  return [
      Evaluation(row["step"], row["masked_lm_loss"], row["loss"],
                 row["masked_lm_accuracy"])
      for row in sorted(rows, key=lambda row: row["step"])]


def examples_built(output_dir):
  """Returns the number of training examples that the main program logged."""
  with open(os.path.join(output_dir, "train.log"), encoding="utf-8") as f:
    return int(re.findall(r"(\d+) examples built for training", f.read())[-1])


def constant_guess_accuracy(serialized_examples):
  """Returns the accuracy of always guessing the commonest masked token.

  Counted on these examples themselves, so no constant guess is better.

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
  """Returns an iterator over the serialized examples of the evaluations.

  One pass over the held-out text with the model's vocabulary and the program's
  default options.
  """
  return e2e.take_write_2_flow(
      [HELD_OUT_TEXT], hugging_face.find_vocab_file(model),
      max_seq_length=MAX_SEQ_LENGTH,
      max_predictions_per_seq=MAX_PREDICTIONS_PER_SEQ, num_epochs=1,
      **hugging_face.read_options(model))


def children_cpu_seconds():
  """Returns the CPU time of terminated child processes; 0 on Windows."""
  times = os.times()
  return times.children_user + times.children_system


def train_and_evaluate(model, steps):
  """Runs the demo's commands.

  Args:
    model: str, the Hugging Face directory to continue from.
    steps: int, training steps.

  Returns:
    An Outcome.
  """
  shutil.rmtree(OUT, ignore_errors=True)
  prepare_corpus()
  start, cpu_start = time.time(), children_cpu_seconds()
  intermediate = run(
      pretraining_command(OUT, *continuing_flags(model, steps)), watched=OUT)
  seconds = time.time() - start
  cpu_seconds = children_cpu_seconds() - cpu_start
  for path, size in sorted(intermediate.items()):
    print("intermediate file: %s, %d bytes" % (path, size))
  return Outcome(
      evaluations=read_evaluations(OUT),
      baseline=constant_guess_accuracy(held_out_examples(model)),
      examples=examples_built(OUT), seconds=seconds, cpu_seconds=cpu_seconds,
      intermediate_bytes=sum(intermediate.values()))


def summary(outcome):
  """Returns the closing lines of the demo; the last is machine-readable."""
  row, more = "%-38s %14s %10s", "%-38s %14s"
  lines = ["", row % ("on held-out text", "masked-LM loss", "accuracy")]
  for result in outcome.evaluations:
    when = "after %d steps" % result.step if result.step else "before training"
    lines.append(row % ("  " + when, "%.3f" % result.masked_lm_loss,
                        "%.1f %%" % (100 * result.accuracy)))
  return lines + [
      row % ("  always guessing the commonest token", "",
             "%.1f %%" % (100 * outcome.baseline)),
      more % ("examples built while training", outcome.examples),
      more % ("seconds, evaluations included", "%.0f" % outcome.seconds),
      more % ("CPU seconds, evaluations included",
              "%.0f" % outcome.cpu_seconds),
      more % ("bytes of intermediate files", outcome.intermediate_bytes),
      "curves, to open in a browser: " + os.path.join(OUT, report.REPORT_FILE),
      "",
      "demo: steps=%d loss=%.3f->%.3f accuracy=%.3f->%.3f baseline=%.3f"
      " examples=%d intermediate_bytes=%d masked_lm_loss=%.3f->%.3f" % (
          (outcome.evaluations[-1].step,) + outcome.before_and_after("loss") +
          outcome.before_and_after("accuracy") +
          (outcome.baseline, outcome.examples, outcome.intermediate_bytes) +
          outcome.before_and_after("masked_lm_loss")),
  ]


def shortcomings(outcome):
  """Returns the requirements that an outcome misses, a list of sentences.

  In a shortened run, only the loss has to decrease.
  """
  found = []
  if outcome.intermediate_bytes:
    found.append("training wrote intermediate files")
  before, after = outcome.before_and_after("masked_lm_loss")
  # Not ">=", which is False for NaN.
  if not after < before:
    found.append("the masked-LM loss did not decrease")
  if outcome.evaluations[-1].step < STEPS:
    return found
  before, after = outcome.before_and_after("accuracy")
  if after <= before:
    found.append("the accuracy did not increase")
  if after < MIN_GAIN * outcome.baseline:
    found.append("the accuracy is less than %g times that of always guessing "
                 "the commonest token" % MIN_GAIN)
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
