"""What a training writes to the disk, beside the two-step way.

    python benchmarks/disk.py --text=corpus.txt --vocab_file=vocab.txt

The program trains some steps from the text; then create_pretraining_data.py
writes one pass over the same text to TFRecords, and the program trains the same
steps from these. Shown are the bytes of the files that were left, by kind, and
what the kernel counted as written by the processes, a trainer's workers
included: the `ru_oublock` of children that have ended, in blocks of 512 bytes.
It counts nothing where no disk is below, e.g. in a TMPDIR in memory.

The records of the stream are those of one epoch, read here and not trained on:
a few steps would show the first window's only.
"""

import argparse
import os
import resource
import sys
import tempfile

import common

from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import resume
from bert_e2e.data import stream as stream_lib

_KINDS = (("checkpoints", ("model.ckpt", "checkpoint")),
          ("events and graph", ("events", "graph")), ("log", ("train.log",)),
          ("records", ("stream", "training_plan")))


def kind_of(name):
  for kind, starts in _KINDS:
    if name.startswith(starts):
      return kind
  return "other: " + name


def written(arguments, environment=None):
  """Returns the bytes that a program and its children gave to the disk.

  They may be 0: not every file system is on a disk.
  """
  before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock
  common.run([sys.executable] + arguments, environment=environment)
  after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock
  return 512 * (after - before)  # Linux counts in blocks of that.


def sizes(folder):
  """Returns {kind: bytes} of all files in a folder."""
  found = {}
  for where, _, names in os.walk(folder):
    for name in names:
      kind = kind_of(name)
      size = os.path.getsize(os.path.join(where, name))
      found[kind] = found.get(kind, 0) + size
  return found


def records_of_epoch(text, vocab_file, path):
  """Reads an epoch with a record of its windows.

  Returns:
    (bytes of the record, windows in it, chunks of the text).
  """
  corpus = corpus_lib.Corpus([text])
  stream = stream_lib.ExampleStream(
      corpus, stream_lib.StreamOptions(vocab_file), num_epochs=1,
      num_workers=stream_lib.default_num_workers())
  for _ in stream.examples_from(0, resume.WindowLog(path)):
    pass
  with open(path, "rb") as record:
    windows = record.read()
  num_chunks = sum(1 for split in corpus.splits()
                   for _ in corpus.chunks(split))
  return len(windows), windows.count(b";"), num_chunks


def counted(num_bytes):
  """Says what the kernel counted."""
  if num_bytes:
    return "the kernel counted %d" % num_bytes
  return "the kernel counted nothing here"


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--num_steps", type=int, default=100)
  options = parser.parse_args()
  print("%s; %s" % (common.machine(), common.describe(options.text)))
  with tempfile.TemporaryDirectory() as folder:
    show(options, folder)


def show(options, folder):
  """Prints the rows; works in a folder."""
  def path(name):
    return os.path.join(folder, name)

  config = common.write_config(folder, options.vocab_file)
  vocab = "--vocab_file=" + options.vocab_file

  def training(name, input_file):
    return [common.PROGRAM, "--do_train", "--output_dir=" + path(name),
            "--bert_config_file=" + config, "--train_batch_size=8",
            "--num_train_steps=%d" % options.num_steps, vocab,
            "--input_file=" + input_file]

  os.mkdir(path("temporary"))
  from_text = written(training("out", options.text),
                      {"TMPDIR": path("temporary")})
  left = sizes(path("out"))
  left_in_temporary = sum(sizes(path("temporary")).values())
  creating = written([
      os.path.join(common.ROOT, "create_pretraining_data.py"), vocab,
      "--input_file=" + options.text, "--output_file=" + path("records"),
      "--dupe_factor=1"])
  from_records = written(training("out_records", path("records")))
  record_bytes = os.path.getsize(path("records"))
  others = sum(n for kind, n in left.items() if kind.startswith("other"))
  common.row(
      "disk, training from text",
      "%d bytes of examples; %s; %d in the temporary folder; %s" % (
          others, ", ".join("%s %d" % item for item in sorted(left.items())),
          left_in_temporary, counted(from_text)), "no example")
  show_records(options, path("windows"), os.path.getsize(
      os.path.join(path("out"), resume.STREAM_FILE)))
  two_steps = counted(creating + from_records) + " for both steps"
  if from_text:
    two_steps += ", %.1f times as much" % (
        (creating + from_records) / from_text)
  common.row("disk, two-step way",
             "%d bytes of TFRecords for one pass, %.1f times the text; %s" % (
                 record_bytes, record_bytes / os.path.getsize(options.text),
                 two_steps), "")


def show_records(options, path, once):
  """Prints the row of the records; works on a file."""
  size, num_windows, num_chunks = records_of_epoch(
      options.text, options.vocab_file, path)
  common.row("disk, records of the stream",
             "%.1f bytes a chunk of text, %.1f a window of up to %d chunks, in "
             "an epoch of %d chunks; and %d once" % (
                 size / num_chunks, size / num_windows,
                 stream_lib.CHUNKS_PER_WINDOW, num_chunks, once),
             "32 bytes a chunk")


if __name__ == "__main__":
  main()
