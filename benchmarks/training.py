"""Training from raw text compared with training from a TFRecord file.

    python benchmarks/training.py --text=corpus.txt --vocab_file=vocab.txt \
        [--corpus_megabytes=1000] [--num_steps=250] [--model=2x128]

The main program trains a small model (LxH: layers and hidden size) alternately
from the text, with one worker that builds examples, and from a TFRecord file of
the same examples. The trainer is pinned to one core and the worker to another
one; with TFRecords, too, the trainer has a single core. Reported are
sequences/s, the fraction of time spent waiting for input, and the time from the
start of the program to the end of the first step. `--corpus_megabytes` repeats
the text up to that size. The first window of the stream, 16 chunks of 1000
lines, is built before the first step, so `--num_steps` must consume several
windows to measure the worker at all. A smaller model would take more examples
per second than one worker is for. With `--num_steps=1` only the first step is
timed.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import common
import rows

_LINE = re.compile(
    r"step (\d+)/.* ([\d.]+) sequences/s  .*input wait (\d+)%")
# Steps that are not timed, and steps between two progress lines.
_WARM_UP, _EVERY = 10, 10
_WRITE_RECORDS = """
import itertools, sys
sys.path.insert(0, sys.argv[1])
import run_pretraining_e2e as e2e
text, vocab, path, count = sys.argv[2:]
with e2e.tf.io.TFRecordWriter(path) as writer:
  for example in itertools.islice(
      e2e.take_write_2_flow([text], vocab), int(count)):
    writer.write(example)
"""


def move_workers(trainer, core):
  """Pins a trainer's child processes to a core, until the trainer exits."""
  while trainer.poll() is None:
    for pid in common.children(trainer.pid):
      try:
        for task in os.listdir("/proc/%s/task" % pid):
          os.sched_setaffinity(int(task), [core])
      except (FileNotFoundError, ProcessLookupError):
        pass  # It has just exited.
    time.sleep(0.05)


def train(options, directory, name, arguments):
  """Returns (sequences/s, fraction of input wait, seconds to first step)."""
  # A new output directory: every run starts from scratch.
  out = tempfile.mkdtemp(prefix=name, dir=directory)
  start = time.time()
  program = subprocess.Popen(
      [sys.executable, common.PROGRAM, "--do_train", "--output_dir=" + out,
       "--bert_config_file=" + os.path.join(directory, "config.json"),
       "--num_train_steps=%d" % options.num_steps,
       "--log_every_steps=%d" % _EVERY,
       "--train_batch_size=%d" % options.batch_size] + arguments,
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
      universal_newlines=True,
      preexec_fn=lambda: os.sched_setaffinity(0, common.cores()[:1]))
  mover = threading.Thread(
      target=move_workers, args=(program, common.cores()[-1]))
  mover.start()
  rates, waits, first, output = [], [], None, []
  for line in program.stdout or ():
    output.append(line)
    found = _LINE.match(line)
    if found:
      first = first or time.time() - start
      if int(found.group(1)) > _WARM_UP:
        rates.append(float(found.group(2)))
        waits.append(int(found.group(3)) / 100)
  mover.join()
  if program.wait():
    sys.exit("".join(output[-20:]))
  if not rates:
    return 0, 0, first
  # Each rate is over the same number of steps, so the overall rate is their
  # harmonic mean.
  return statistics.harmonic_mean(rates), statistics.mean(waits), first


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--corpus_megabytes", type=float, default=100)
  parser.add_argument("--num_steps", type=int, default=250)
  parser.add_argument("--model", default="2x128")
  parser.add_argument("--batch_size", type=int, default=32)
  parser.add_argument("--rounds", type=int, default=3)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as directory, common.repeated(
      options.text, int(options.corpus_megabytes * 10**6)) as text:
    common.write_config(directory, common.vocab_size(options.vocab_file),
                        *common.layers_and_size(options.model))
    records = os.path.join(directory, "examples.tfrecord")
    common.run([sys.executable, "-c", _WRITE_RECORDS, common.ROOT, text,
                options.vocab_file, records,
                str(options.num_steps * options.batch_size)])
    vocab = "--vocab_file=" + options.vocab_file
    kinds = {
        "text": lambda: train(options, directory, "text", [
            vocab, "--input_file=" + text, "--num_workers=1"]),
        "records": lambda: train(options, directory, "records", [
            vocab, "--input_file=" + records]),
    }
    results = common.medians(kinds, options.rounds)
  print("%s; %s" % (common.machine(), common.describe(options.text)))
  show(options, results["text"], results["records"])


def show(options, from_text, from_records):
  """Prints the rows of the results of `train` from text and from TFRecords."""
  text_rate, wait, text_first = from_text
  records_rate, records_wait, records_first = from_records
  rounds = options.rounds, rows.ROUNDS
  _, hidden_size = common.layers_and_size(options.model)
  if records_rate:
    rows.TRAINING.show(
        " of %g MB, %s" % (options.corpus_megabytes, options.model),
        "%.1f sequences/s, %+.1f %% compared with %.1f from TFRecords; input "
        "wait %.1f %% (%.1f %% from TFRecords)" % (
            text_rate, 100 * (text_rate / records_rate - 1), records_rate,
            100 * wait, 100 * records_wait), text_rate / records_rate - 1,
        rows.lacking(rounds=rounds, steps=(options.num_steps, 100),
                     hidden_size=(hidden_size, 128)))
  rows.FIRST_STEP.show(
      ", corpus of %g MB" % options.corpus_megabytes,
      "%.1f s after the start, %+.1f s compared with TFRecords (%.1f s)" % (
          text_first, text_first - records_first, records_first),
      text_first - records_first, rows.lacking(
          rounds=rounds, MB_of_text=(options.corpus_megabytes, 10)))


if __name__ == "__main__":
  main()
