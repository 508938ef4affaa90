"""What a training writes to the disk, beside the two-step way.

    python benchmarks/disk.py --text=corpus.txt --vocab_file=vocab.txt

The program trains some steps from the text; then create_pretraining_data.py
writes one pass over the same text to TFRecords, and the program trains the same
steps from these. Shown are the bytes of the files that were left, by kind, and
what the kernel counted as written by the processes (`write_bytes` of
/proc/<process>/io, with a trainer's workers).
"""

import argparse
import os
import resource
import sys
import tempfile

import common

import stream_record

_KINDS = (("checkpoints", ("model.ckpt", "checkpoint")),
          ("events and graph", ("events", "graph")), ("log", ("train.log",)),
          ("records", ("stream", "training_plan")))


def kind_of(name):
  for kind, starts in _KINDS:
    if name.startswith(starts):
      return kind
  return "other: " + name


def written(arguments, environment=None):
  """Returns the bytes that a program and its children gave to the disk."""
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
  with open(os.path.join(path("out"), stream_record.WINDOWS_FILE),
            "rb") as stream:
    windows = stream.read()
  creating = written([
      os.path.join(common.ROOT, "create_pretraining_data.py"), vocab,
      "--input_file=" + options.text, "--output_file=" + path("records"),
      "--dupe_factor=1"])
  from_records = written(training("out_records", path("records")))
  record_bytes = os.path.getsize(path("records"))
  others = sum(n for kind, n in left.items() if kind.startswith("other"))
  common.row(
      "disk, training from text",
      "%d bytes of examples; %s; %d in the temporary folder; the kernel "
      "counted %d" % (
          others, ", ".join("%s %d" % item for item in sorted(left.items())),
          left_in_temporary, from_text), "no example")
  common.row("disk, records of the stream",
             "%.1f bytes a window of up to 16 chunks" % (
                 len(windows) / windows.count(b";")), "32 bytes a chunk")
  common.row("disk, two-step way",
             "%d bytes of TFRecords for one pass, %.1f times the text; the "
             "kernel counted %d for both steps, %.1f times as much" % (
                 record_bytes, record_bytes / os.path.getsize(options.text),
                 creating + from_records,
                 (creating + from_records) / from_text), "")


if __name__ == "__main__":
  main()
