"""How fast examples are built, per core, beside google-research/bert.

    python benchmarks/building.py --text=corpus.txt --vocab_file=vocab.txt \
        [--reference=<checkout of google-research/bert>] [--num_workers=0,2]

Builds one epoch of the text as `take_write_2_flow` does, from a cold start, and
the same text with the reference's create_pretraining_data.py program (one pass,
the same flags, TFRecords to a temporary folder). Each runs as a process of its
own, in turn, so that a busy machine slows all alike; the figures are medians
over `--rounds`, and the ratios are those to compare.
"""

import argparse
import functools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_OURS = """
import sys, time
start = time.time()
sys.path.insert(0, sys.argv[1])
import corpus, create_pretraining_data as cpd, example_stream as es
text, vocab, workers, length, predictions = sys.argv[2:]
stream = es.ExampleStream(
    corpus.Corpus([text]),
    es.StreamOptions(vocab, instances=cpd.InstanceOptions(
        int(length), int(predictions))),
    num_epochs=1, num_workers=int(workers))
count = sum(1 for _ in stream.examples())
print(count)
"""


def run(command, cwd=None):
  """Runs a command.

  Returns:
    (its standard output and error, seconds by the clock, seconds of processor
    time of it and its children).
  """
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  start = time.time()
  result = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False,
                          universal_newlines=True)
  seconds = time.time() - start
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  if result.returncode:
    sys.exit(result.stdout[-2000:])
  cpu = sum(getattr(after, n) - getattr(before, n)
            for n in ("ru_utime", "ru_stime"))
  return result.stdout, seconds, cpu


def ours(options, num_workers):
  """Returns (examples, seconds by the clock, processor seconds)."""
  output, seconds, cpu = run([
      sys.executable, "-c", _OURS, ROOT, options.text, options.vocab_file,
      str(num_workers), str(options.max_seq_length),
      str(options.max_predictions_per_seq)])
  return int(output), seconds, cpu


def reference(options):
  """The same of the reference's program."""
  with tempfile.TemporaryDirectory() as folder:
    output, seconds, cpu = run([
        sys.executable, "create_pretraining_data.py",
        "--input_file=" + os.path.abspath(options.text),
        "--vocab_file=" + os.path.abspath(options.vocab_file),
        "--output_file=" + os.path.join(folder, "examples"),
        "--max_seq_length=%d" % options.max_seq_length,
        "--max_predictions_per_seq=%d" % options.max_predictions_per_seq,
        "--dupe_factor=1"], cwd=options.reference)
  count = output.split("Wrote ")[-1].split()[0]
  return int(count), seconds, cpu


def measure(kinds, rounds):
  """Runs each kind in turn; returns {name: (examples, median seconds, cpu)}."""
  figures = {name: [] for name in kinds}
  for _ in range(rounds):
    for name, function in kinds.items():
      figures[name].append(function())
  return {
      name: (runs[0][0], statistics.median(r[1] for r in runs),
             statistics.median(r[2] for r in runs))
      for name, runs in figures.items()
  }


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--reference")
  parser.add_argument("--num_workers", default="0")
  parser.add_argument("--max_seq_length", type=int, default=128)
  parser.add_argument("--max_predictions_per_seq", type=int, default=20)
  parser.add_argument("--rounds", type=int, default=3)
  options = parser.parse_args()
  kinds = {}
  for workers in map(int, options.num_workers.split(",")):
    kinds["ours, %d workers" % workers] = functools.partial(
        ours, options, workers)
  if options.reference:
    kinds["reference"] = functools.partial(reference, options)
  figures = measure(kinds, options.rounds)
  print("%s, Python %s, %d cores, %s, %d bytes" % (
      platform.machine(), platform.python_version(), os.cpu_count() or 0,
      os.path.basename(options.text), os.path.getsize(options.text)))
  base = figures.get("reference")
  for name, (count, seconds, cpu) in figures.items():
    line = "%-18s %8d examples  %7.1f s  %9.0f/s  %9.0f/s of processor time" % (
        name, count, seconds, count / seconds, count / cpu)
    if base:
      line += "  ratio %.1f (clock) %.1f (processor)" % (
          count / seconds / (base[0] / base[1]),
          count / cpu / (base[0] / base[2]))
    print(line)
  print(json.dumps(figures))


if __name__ == "__main__":
  main()
