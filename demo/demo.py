"""The demo: trains a small BERT on the Python language reference.

    python -m demo.demo        (from the project's folder; or: make demo)

Prepares the corpus, evaluates the untrained model on held-out documents,
trains it, evaluates it again, and sums up. The main program is run as a user
would run it. The last line is made for programs to read. The exit code is 1
where the model did not learn what it should, or where training left more on
the disk than TensorFlow's own files, logs and small records.

DEMO_STEPS=40 in the environment shortens the training, to try that all runs.
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

import run_pretraining_e2e as e2e

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CORPUS = os.path.join("demo", "corpus")
OUT = os.path.join("demo", "out")
TRAIN_TEXT = os.path.join(CORPUS, "train.txt")
HELD_OUT_TEXT = os.path.join(CORPUS, "held_out.txt")
VOCAB = os.path.join("demo", "vocab.txt")

STEPS = 1000
MAX_SEQ_LENGTH = 64
MAX_PREDICTIONS_PER_SEQ = 10
# How many times the baseline's accuracy counts as clearly above it.
CLEARLY = 1.5

# What training may write: TensorFlow's checkpoints (first in parts, in a folder
# model.ckpt-N_temp_*), event files and graph, the log, the results and the two
# small records of where in the stream it stands; and in TMPDIR the Python code
# that TensorFlow's AutoGraph makes of functions.
OWN_FILES = ("checkpoint", "checkpoint.tmp*", "model.ckpt-*", "graph.pbtxt",
             "graph.pbtxt.tmp*", "events.out.tfevents.*", "train.log",
             "eval_results.txt", "stream.json", "stream.json.tmp",
             "stream_windows*.txt", "training_plan.json",
             "training_plan.json.tmp", "tmp/tmp*.py",
             "tmp/__autograph_generated_file*.py")

Outcome = collections.namedtuple("Outcome", [
    "steps",  # int
    "loss",  # (float, float): on held-out text, before and after; in nats.
    "accuracy",  # (float, float): of the masked-LM head there, in [0, 1].
    "baseline",  # float: that of always guessing the commonest token.
    "examples",  # int: built for training.
    "seconds",  # float: that training took, from start to end.
    "intermediate_bytes",  # int
])


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
  """Returns the flags of the demo's training of so many steps."""
  return ["--do_train", "--train_batch_size=16", "--learning_rate=1e-3",
          "--num_train_steps=%d" % steps, "--num_warmup_steps=%d" % (
              steps // 10)]


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
  """Returns the command line of the main program, with these flags on top."""
  return [
      "run_pretraining_e2e.py",
      "--input_file=" + TRAIN_TEXT,
      "--eval_input_file=" + HELD_OUT_TEXT,
      "--vocab_file=" + VOCAB,
      "--bert_config_file=" + os.path.join("demo", "bert_config.json"),
      "--output_dir=" + output_dir,
      "--max_seq_length=%d" % MAX_SEQ_LENGTH,
      "--max_predictions_per_seq=%d" % MAX_PREDICTIONS_PER_SEQ,
      "--do_eval",
  ] + list(flags)


def read_results(output_dir):
  """Reads eval_results.txt.

  Returns:
    dict from str to float.
  """
  with open(os.path.join(output_dir, "eval_results.txt")) as f:
    pairs = [line.split(" = ") for line in f]
  return {key: float(value) for key, value in pairs}


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


def train_and_evaluate(steps):
  """Runs the demo's commands.

  Args:
    steps: int, training steps.

  Returns:
    An Outcome.
  """
  shutil.rmtree(OUT, ignore_errors=True)
  prepare_corpus()
  untrained, trained = os.path.join(OUT, "untrained"), os.path.join(OUT, "bert")
  run(pretraining_command(untrained))
  start = time.time()
  intermediate = run(
      pretraining_command(trained, *training_flags(steps)), watched=trained)
  seconds = time.time() - start
  for path, size in sorted(intermediate.items()):
    print("intermediate file: %s, %d bytes" % (path, size))
  before, after = read_results(untrained), read_results(trained)
  # The examples of the evaluation: one pass over the same text, the program's
  # defaults for all other options.
  held_out = e2e.take_write_2_flow(
      [HELD_OUT_TEXT], VOCAB, max_seq_length=MAX_SEQ_LENGTH,
      max_predictions_per_seq=MAX_PREDICTIONS_PER_SEQ, num_epochs=1)
  return Outcome(
      steps=int(after["global_step"]),
      loss=(before["loss"], after["loss"]),
      accuracy=(before["masked_lm_accuracy"], after["masked_lm_accuracy"]),
      baseline=constant_guess_accuracy(held_out),
      examples=examples_built(trained),
      seconds=seconds,
      intermediate_bytes=sum(intermediate.values()))


def summary(outcome):
  """Returns the lines that close the demo; the last one is for programs."""
  return [
      "",
      "steps                               %d" % outcome.steps,
      "loss on held-out text               %.3f -> %.3f" % outcome.loss,
      "masked-LM accuracy there            %.1f %% -> %.1f %%" % tuple(
          100 * share for share in outcome.accuracy),
      "  of guessing the commonest token   %.1f %%" % (100 * outcome.baseline),
      "examples built while training       %d" % outcome.examples,
      "seconds                             %.0f" % outcome.seconds,
      "bytes of intermediate files         %d" % outcome.intermediate_bytes,
      "",
      "demo: steps=%d loss=%.3f->%.3f accuracy=%.3f->%.3f baseline=%.3f"
      " examples=%d intermediate_bytes=%d" % (
          (outcome.steps,) + outcome.loss + outcome.accuracy +
          (outcome.baseline, outcome.examples, outcome.intermediate_bytes)),
  ]


def shortcomings(outcome):
  """Returns what an outcome falls short of, a list of sentences.

  A shortened run has to show that the model learns, no more: it sits on the
  plateau of the commonest tokens for some hundred steps.
  """
  found = []
  if outcome.intermediate_bytes:
    found.append("training wrote intermediate files")
  if outcome.loss[1] >= outcome.loss[0]:
    found.append("the loss did not fall")
  if outcome.accuracy[1] <= outcome.accuracy[0]:
    found.append("the accuracy did not rise")
  if (outcome.steps >= STEPS and
      outcome.accuracy[1] < CLEARLY * outcome.baseline):
    found.append("the accuracy is not clearly above that of always guessing the"
                 " commonest token")
  return found


def main():
  os.chdir(ROOT)
  outcome = train_and_evaluate(int(os.environ.get("DEMO_STEPS", STEPS)))
  found = shortcomings(outcome)
  for sentence in found:
    print("demo failed: " + sentence)
  print("\n".join(summary(outcome)))
  sys.exit(1 if found else 0)


if __name__ == "__main__":
  main()
