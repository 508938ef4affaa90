"""Speed and memory of training on the GPU that TensorFlow sees.

    python benchmarks/gpu.py --results=gpu.jsonl [--budget_seconds=3600]
    python benchmarks/gpu.py --checks

Trains BERT-base and -large from text with run_pretraining_e2e.py, each
configuration in a process of its own, and prints a row when it is measured: the
most important ones first. Each row is appended to --results as well; the same
command continues an interrupted benchmark. A configuration that does not fit in
the GPU's memory is a row, too, and is tried again with half the batch. Without
--text and --vocab_file both are made up, so nothing has to be downloaded. The
weights are randomly initialized.

A row states what the training reports after the first --warm_up steps:
sequences/s (with packing, several in a row of a batch), tokens/s without
padding, and the
fraction of the time that steps waited for input; the largest memory in use; the
fraction of the card's peak; and the seconds from the start of the program to
the end of the first step, which includes compilation. Other rows state how fast
examples are built on this host.

The fraction of the peak is operations per row of a batch times the number of
such rows per second, over the card's published peak for dense matrices
(cards.py); unknown cards get none. It counts matrix products only, two
operations for a multiplication and addition, and three products for each one of
the forward pass: its own and those of two gradients. That is six times the
number of parameters a token is multiplied by, and attention. Of a row of a
batch with S tokens (padding included), P predicted positions and K sequences (1
without packing), in a model of L layers with hidden size H, feed-forward size I
and V words:

  layers but the last  (L - 1) S (4 H^2 + 2 H I + 2 S H)
  the last layer       S 2 H^2 + (K + P) (2 H^2 + 2 H I + 2 S H)
  masked-LM head       P (H^2 + V H)
  [CLS]                K (H^2 + 2 H)

  operations = 6 times the sum

Of the last layer, keys and values are needed at all positions, everything else
at [CLS] and the predicted ones. Look-ups of embeddings are not counted. In fp32
TensorFlow 2 uses TF32 on cards that have it, and their peak is that of TF32.

--checks makes the comparisons that need a GPU, with a small model, and exits
with 1 if one fails: see on_gpu/checks.py. Both run on a CPU as well.
"""

import argparse
import json
import sys
import tempfile
import time

import common

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import tensorflow.compat.v1 as tf
from on_gpu import cards, checks, inputs, rows
from rows import GPU_BUILDING

from bert_e2e import config
from bert_e2e.common import json_files

# In a process of its own, as it takes the GPU's memory.
_DEVICE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from bert_e2e.common import tensorflow_setup
import tensorflow.compat.v1 as tf
from tensorflow.python.client import device_lib
found = [device for device in device_lib.list_local_devices()
         if device.device_type == "GPU"]
name = None
if found:
  name = found[0].physical_device_desc.split("name: ")[1].split(", pci")[0]
print("device", json.dumps({
    "card": name, "memory_bytes": found[0].memory_limit if found else None,
    "num_gpus": len(found), "tensorflow": tf.__version__}))
"""
# Builds examples for some seconds; the first window's are not counted.
_BUILD = """
import itertools, sys, time
sys.path.insert(0, sys.argv[1])
from bert_e2e.data import text_source
text, vocab, workers, seconds, warm_up = sys.argv[2:]
flow = text_source.take_write_2_flow([text], vocab, num_workers=int(workers))
for _ in itertools.islice(flow, int(warm_up)):
  pass
start, count = time.time(), 0
while time.time() - start < float(seconds):
  count += sum(1 for _ in itertools.islice(flow, 100))
print("built", count / (time.time() - start))
"""


class Results:
  """The rows of earlier runs and of this one.

  Args:
    path: str, a file of JSON lines; "" for none.
    device: dict, what `_DEVICE` prints; rows of others are not taken.
  """

  def __init__(self, path, device):
    self._path = path
    self._device = {key: device[key] for key in ("card", "tensorflow")}
    self._found = {}
    for row in json_files.read_lines(path) if path else []:
      if row.pop("device", None) == self._device and "kind" in row and (
          self._is_complete(row["found"])):
        self._found[self._key(row["kind"], row["of"])] = row["found"]

  @staticmethod
  def _is_complete(found):
    """Tells whether a row was not written by an earlier version."""
    return found.get("result") != rows.MEASURED or "rows_per_second" in found

  @staticmethod
  def _key(kind, of):
    return json.dumps([kind, of], sort_keys=True)

  def get(self, kind, of):
    """Returns what was found earlier, a dict; None if nothing was."""
    return self._found.get(self._key(kind, of))

  def add(self, kind, of, found):
    """Adds a row: its kind, a str; a dict of what; and what was found."""
    if self._path:
      json_files.append_line(self._path, {
          "kind": kind, "of": of, "found": found, "device": self._device})


def measure_training(training, files, options, results, device, deadline):
  """Prints the row of a training; with half the batch as well if need be.

  Args:
    training: rows.Training.
    files: inputs.Files.
    options: the parsed arguments.
    results: Results.
    device: dict, see Results.
    deadline: float, a time.
  """
  while time.time() < deadline:
    of = dict(training._asdict())
    found = results.get("training", of)
    if not found or found["result"] not in rows.FINAL:
      found = rows.measure(
          training, files, options,
          min(options.row_seconds, deadline - time.time()))
      results.add("training", of, found)
    print(rows.to_markdown(training, found, device["card"],
                           device["tensorflow"]), flush=True)
    if found["result"] != rows.OUT_OF_MEMORY or training.batch_size == 1:
      return
    training = training._replace(batch_size=training.batch_size // 2)


def measure_builders(files, options, results, deadline):
  """Prints how fast examples are built, for each number of workers."""
  for workers in options.num_workers:
    of = {"num_workers": workers}
    found = results.get("building", of)
    if not found and time.time() < deadline:
      _, output = rows.run([
          sys.executable, "-c", _BUILD, common.ROOT, files.text,
          files.vocab_file, str(workers), str(options.seconds),
          str(options.built_before)], deadline - time.time())
      if "built " in output:
        found = {"examples_per_second": float(output.split("built ")[-1])}
        results.add("building", of, found)
    if found:
      GPU_BUILDING.show(
          ", length 128, %d worker%s, %d cores" % (
              workers, "s" * (workers > 1), len(common.cores())),
          "%.0f examples/s" % found["examples_per_second"])


def batch_size_fn(options, device):
  """Returns the function from a model and a length to a batch size."""
  given = dict(item.split(":") for item in options.batch_sizes)

  def batch_size_of(model, length):
    size = given.get("%s/%d" % (model, length))
    return int(size) if size else cards.default_batch_size(
        cards.shape_of(model), length, device["memory_bytes"])

  return batch_size_of


def measure(options, files, device):
  """Prints the rows of all trainings, and between them those of building."""
  deadline = time.time() + options.budget_seconds
  results = Results(options.results, device)
  trainings = rows.in_order(options, batch_size_fn(options, device))
  first = len(options.xla) * len(options.precisions)
  print(rows.HEADER, flush=True)
  for training in trainings[:first]:
    measure_training(training, files, options, results, device, deadline)
  measure_builders(files, options, results, deadline)
  for training in trainings[first:]:
    measure_training(training, files, options, results, device, deadline)
  if time.time() >= deadline:
    print("The time of --budget_seconds=%g is over." % options.budget_seconds)


def _numbers(text):
  """Parses integers that commas separate."""
  return [int(word) for word in text.split(",") if word]


def _strings(text):
  return [word for word in text.split(",") if word]


def _parser():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument(
      "--results", default="", help="file of JSON lines to continue")
  parser.add_argument(
      "--budget_seconds", type=float, default=float("inf"),
      help="stop measuring after this time")
  parser.add_argument(
      "--row_seconds", type=float, default=900,
      help="a training that takes longer is killed")
  parser.add_argument("--checks", action="store_true")
  parser.add_argument("--text", default="")
  parser.add_argument("--vocab_file", default="")
  parser.add_argument(
      "--models", type=_strings, default="base,large", help="or LxH")
  parser.add_argument("--lengths", type=_numbers, default="128,512")
  parser.add_argument(
      "--precisions", type=rows.words(config.PRECISIONS),
      default=",".join(config.PRECISIONS))
  parser.add_argument("--xla", type=rows.switches, default="off,on")
  parser.add_argument("--packed", type=rows.switches, default="off,on")
  parser.add_argument(
      "--gradients", type=rows.words(["fast", "plain"]), default="plain",
      help="of modeling.fast_gradients, or TensorFlow's own: rows beside those "
      "with what the program chooses")
  parser.add_argument(
      "--batch_sizes", type=_strings, default="",
      help="such as base/128:64,large/512:4; by default by the GPU's memory")
  parser.add_argument("--num_workers", type=_numbers, default="1,4,8,16")
  parser.add_argument(
      "--seconds", type=float, default=8, help="to measure for, at least")
  parser.add_argument(
      "--warm_up", type=int, default=10, help="steps that do not count")
  parser.add_argument(
      "--min_steps", type=int, default=10, help="steps that count, at least")
  parser.add_argument(
      "--built_before", type=int, default=20000,
      help="examples that do not count")
  parser.add_argument("--text_bytes", type=int, default=20000000)
  parser.add_argument("--vocabulary_size", type=int, default=30522)
  parser.add_argument("--check_steps", type=int, default=200)
  parser.add_argument("--check_model", default="2x128")
  parser.add_argument("--check_learning_rate", type=float, default=1e-3)
  parser.add_argument(
      "--only", type=_strings, default="",
      help="names of checks, by default all")
  return parser


def _device():
  """Returns what `_DEVICE` prints, a dict."""
  output, _, _ = common.run([sys.executable, "-c", _DEVICE, common.ROOT])
  return json.loads(output.split("device ")[-1].splitlines()[0])


def main():
  parser = _parser()
  options = parser.parse_args()
  tf.logging.set_verbosity(tf.logging.ERROR)
  with tempfile.TemporaryDirectory() as directory:
    try:
      for model in options.models + [options.check_model]:
        cards.shape_of(model)
      files = inputs.files_of(options.text, options.vocab_file, directory,
                              options.vocabulary_size, options.text_bytes)
    except ValueError as e:
      parser.error(str(e))
    device = _device()
    print("%s; %s" % (common.machine(), device["card"] or "no GPU"))
    if options.checks:
      sys.exit(0 if checks.run(options, files, device) else 1)
    measure(options, files, device)


if __name__ == "__main__":
  main()
