"""Runs all benchmarks and prints one table; `make bench` runs this.

    python benchmarks/all.py [--text=english.txt] [--chinese=chinese.txt] \
        [--vocab_file=vocab.txt] [--chinese_vocab_file=vocab_zh.txt] \
        [--reference=<checkout of google-research/bert>] [--full]

The default is the demo's text with the demo's vocabulary: enough to check that
everything runs. Rows that measure too little then say so ("no measure"), in
place of whether their aim is met. `--full` uses corpora of 1 GB and more
rounds, and takes about an hour.
"""

import argparse
import os
import subprocess
import sys

import common
import rows

_HEADER = "| benchmark | result | aim: verdict |\n|---|---|---|"


def commands(options):
  """Yields the benchmarks' command lines, lists of str."""
  text = ["--text=" + options.text, "--vocab_file=" + options.vocab_file]
  rounds = ["--rounds=3" if options.full else "--rounds=1"]
  reference = []
  if options.reference:
    reference = ["--reference=" + options.reference,
                 "--reference_bytes=%d" % options.reference_bytes]
  if options.chinese:
    yield ["building.py", "--text=%s,%s" % (options.text, options.chinese),
           "--vocab_file=%s,%s" % (options.vocab_file,
                                   options.chinese_vocab_file)
          ] + reference + rounds
  else:
    yield ["building.py"] + text + reference + rounds
  yield ["objectives.py", "--building"] + text + rounds
  yield ["input_fn.py"] + text + rounds
  yield ["remote_feeding.py"] + text + rounds
  yield ["step.py"] + reference[:1] + rounds + (
      [] if options.full else ["--models=2x128", "--num_steps=5"])
  yield ["packing.py"] + text + rounds + (
      ["--short=" + options.short] if options.short else []) + (
          [] if options.full else ["--lengths=128:8", "--num_steps=4"])
  yield ["gradients.py"] + (
      [] if options.full else ["--xla=off", "--rounds=2"])
  for megabytes, steps in ((100, 250), (1000, 1)) if options.full else (
      (10, 40),):
    yield ["training.py", "--corpus_megabytes=%d" % megabytes,
           "--num_steps=%d" % steps] + text + rounds
  size = 1000 if options.full else 100
  yield ["resuming.py", "--corpus_megabytes=%d" % size] + text
  yield ["disk.py"] + text
  if options.full:
    yield ["memory.py"] + text
  else:
    yield ["memory.py", "--megabytes=40,120", "--num_examples=40000",
           "--new_words_megabytes=10"] + text


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  demo = os.path.join(common.ROOT, "demo")
  parser.add_argument("--text", default="")
  parser.add_argument("--vocab_file", default="")
  parser.add_argument("--chinese", default="")
  parser.add_argument("--chinese_vocab_file", default="")
  parser.add_argument("--short", default="", help="short documents")
  parser.add_argument("--reference", default="")
  parser.add_argument("--reference_bytes", type=int, default=7000000)
  parser.add_argument("--full", action="store_true")
  options = parser.parse_args()
  if not options.text:
    common.run([sys.executable, "-m", "demo.prepare_corpus", "--output_dir=" +
                os.path.join(demo, "corpus")], cwd=common.ROOT)
    options.text = os.path.join(demo, "corpus", "train.txt")
  options.vocab_file = options.vocab_file or os.path.join(demo, "vocab.txt")
  options.chinese_vocab_file = options.chinese_vocab_file or options.vocab_file
  printed = []
  for command in commands(options):
    print("\n" + " ".join(command), flush=True)
    result = subprocess.run(
        [sys.executable, os.path.join(common.ROOT, "benchmarks", command[0])] +
        command[1:], stdout=subprocess.PIPE, check=False,
        universal_newlines=True)
    print(result.stdout, end="")
    if result.returncode:
      sys.exit("%s failed." % command[0])
    printed += [line for line in result.stdout.splitlines()
                if line.startswith("| ")]
  print("\n%s\n%s\n%s\n\n%s" % (
      common.machine(), _HEADER, "\n".join(printed), rows.summary(printed)))


if __name__ == "__main__":
  main()
