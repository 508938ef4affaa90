"""Disk usage of training from text, compared with the two-step workflow.

    python benchmarks/disk.py --text=corpus.txt --vocab_file=vocab.txt

The program trains a few steps from the text; then create_pretraining_data.py
writes one pass over the same text to TFRecords, and the program trains the same
steps from these. Reported are the sizes of the files that remain, by kind, and
the bytes that the kernel counted as written by the processes, including a
trainer's workers: `ru_oublock` of the terminated children, in blocks of 512
bytes. That is 0 on a file system without a disk, e.g. if TMPDIR is in memory.

The size of the window log is that of one epoch, read here without training,
since a few steps only write the first window.
"""

import argparse
import os
import resource
import sys
import tempfile

import common
import rows

from bert_e2e import config
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import resume
from bert_e2e.data import stream as stream_lib
from demo import written_files


def bytes_written(arguments, environment=None):
  """Runs a program; returns the bytes that it and its children wrote to disk.

  0 if the file system is not on a disk.

  Args:
    arguments: list of str, for Python.
    environment: dict of environment variables to add.
  """
  before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock
  common.run([sys.executable] + arguments, environment=environment)
  after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock
  return 512 * (after - before)  # Linux counts in blocks of 512 bytes.


def sizes(directory):
  """Returns the sizes of the files in an output directory by kind.

  Returns:
    dict from kind to bytes; files that hold examples have the kind "examples",
    others that a run should not write "unknown: NAME".
  """
  found = {"examples": 0}
  for parent, _, names in os.walk(directory):
    for name in names:
      path = os.path.join(parent, name)
      kind = ("examples" if written_files.holds_examples(path) else
              written_files.kind_of(os.path.relpath(path, directory)) or
              "unknown: " + name)
      found[kind] = found.get(kind, 0) + os.path.getsize(path)
  return found


def window_log_of_epoch(text, vocab_file, path):
  """Reads an epoch with a window log.

  Returns:
    (bytes of the log, windows in it, chunks of the text).
  """
  corpus = corpus_lib.Corpus([text])
  stream = stream_lib.ExampleStream(
      corpus, stream_lib.StreamOptions(vocab_file), num_epochs=1,
      num_workers=config.default_num_workers())
  for _ in stream.examples_from(0, resume.WindowLog(path)):
    pass
  with open(path, "rb") as log:
    windows = log.read()
  num_chunks = sum(1 for split in corpus.splits()
                   for _ in corpus.chunks(split))
  return len(windows), windows.count(b";"), num_chunks


def counted(num_bytes):
  """Describes what the kernel counted."""
  return "the kernel counted %s bytes written" % (num_bytes or "no")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--num_steps", type=int, default=100)
  options = parser.parse_args()
  print("%s; %s" % (common.machine(), common.describe(options.text)))
  with tempfile.TemporaryDirectory() as directory:
    measure(options, directory)


def measure(options, directory):
  """Prints all rows; writes its files to a temporary directory."""
  def path(name):
    return os.path.join(directory, name)

  config = common.write_config(
      directory, common.vocab_size(options.vocab_file))
  vocab = "--vocab_file=" + options.vocab_file

  def training(name, input_file):
    return [common.PROGRAM, "--do_train", "--output_dir=" + path(name),
            "--bert_config_file=" + config, "--train_batch_size=8",
            "--num_train_steps=%d" % options.num_steps, vocab,
            "--input_file=" + input_file]

  temporary = os.path.join(path("out"), written_files.TEMPORARY)
  os.makedirs(temporary)
  from_text = bytes_written(training("out", options.text),
                            {"TMPDIR": temporary})
  remaining = sizes(path("out"))
  creating = bytes_written([
      os.path.join(common.ROOT, "create_pretraining_data.py"), vocab,
      "--input_file=" + options.text, "--output_file=" + path("records"),
      "--dupe_factor=1"])
  from_records = bytes_written(training("out_records", path("records")))
  record_bytes = os.path.getsize(path("records"))
  examples = remaining.pop("examples")
  rows.DISK.show(
      "", "%d bytes of examples; %s; %s" % (
          examples,
          ", ".join("%s %d" % item for item in sorted(remaining.items())),
          counted(from_text)),
      examples + sum(kind.startswith("unknown") for kind in remaining))
  measure_records(options, path("windows"), os.path.getsize(
      os.path.join(path("out"), resume.STREAM_FILE)))
  two_steps = counted(creating + from_records) + " by both steps"
  if from_text:
    two_steps += ", %.1f times as much" % (
        (creating + from_records) / from_text)
  rows.DISK_TWO_STEPS.show(
      "", "%d bytes of TFRecords for one pass, %.1f times the text; %s" % (
          record_bytes, record_bytes / os.path.getsize(options.text),
          two_steps))


def measure_records(options, path, fixed_size):
  """Prints the row for the stream records.

  Args:
    options: the parsed options.
    path: str, where to write a window log.
    fixed_size: int, bytes that do not depend on the number of windows.
  """
  size, num_windows, num_chunks = window_log_of_epoch(
      options.text, options.vocab_file, path)
  rows.DISK_RECORDS.show(
      "", "%.1f bytes per chunk of text, %.1f per window of up to %d chunks, "
      "in an epoch of %d chunks; plus %d bytes" % (
          size / num_chunks, size / num_windows, stream_lib.CHUNKS_PER_WINDOW,
          num_chunks, fixed_size), size / num_chunks)


if __name__ == "__main__":
  main()
