"""Speed of training with and without packing, on short and on long documents.

    python benchmarks/packing.py --short=descriptions.txt --long=english.txt \
        --vocab_file=vocab.txt [--lengths=128:8,512:16] [--model=2x128] \
        [--num_steps=30] [--rounds=3]

The main program trains the same new model with rows of one sequence and with
packed rows, as many rows in an update, in processes that alternate. The rates are
those of its progress lines after the first one. A length is given with
--max_sequences_per_pack. On a CPU a step takes as long with either kind of
rows, so what counts is how many real tokens they hold; the padding is that of
the rows that were trained on.

Short documents are those of `benchmarks/text_of_packages.py --descriptions`: a
paragraph or two each.
"""

import argparse
import re
import statistics
import sys
import tempfile
from typing import List, NamedTuple

import common
import step

# Real tokens/s with packing, relative to those without, on short documents.
AIMS = {128: 1.5, 512: 2.2}
# Padding of packed rows of short documents.
MAX_PADDING = 0.05
# Least relative speed on long documents: no loss, up to noise.
MIN_LONG = 0.97

_LINE = re.compile(
    r"step (\d+)/.* ([\d.]+) sequences/s  ([\d,]+) tokens/s  padding (\d+)%")


class Rates(NamedTuple):
  """What a training's progress lines say: sequences and real tokens per second,
  and padding as a fraction of the positions; medians."""
  sequences: float
  tokens: float
  padding: float


def train(text, config, options, length, flags) -> Rates:
  """Trains; returns the Rates.

  Args:
    text: path; config: path of the model's config.
    options: the benchmark's.
    length: int, positions of a row.
    flags: list of str, further flags.
  """
  every = max(1, options.num_steps // 6)
  rows = max(1, options.num_positions // length)
  with tempfile.TemporaryDirectory() as directory:
    output, _, _ = common.run([
        sys.executable, common.PROGRAM, "--do_train", "--input_file=" + text,
        "--vocab_file=" + options.vocab_file, "--bert_config_file=" + config,
        "--output_dir=" + directory, "--max_seq_length=%d" % length,
        "--max_predictions_per_seq=auto", "--train_batch_size=%d" % rows,
        "--num_train_steps=%d" % options.num_steps, "--num_warmup_steps=1",
        "--log_every_steps=%d" % every, "--num_workers=1"] + flags)
  found: List[List[float]] = [
      [float(value.replace(",", "")) for value in line]
      for line in _LINE.findall(output)]
  # The first line is that of the first step, which compiles.
  columns = list(zip(*found[1:]))
  return Rates(*map(statistics.median, columns[1:3]),
               statistics.mean(columns[3]) / 100)


def measure(name, text, options, length, limit):
  """Prints the rows of a text at a length."""
  with tempfile.TemporaryDirectory() as directory:
    config = step.write_config(
        directory, *map(int, options.model.split("x")),
        vocab_size=common.vocabulary_size(options.vocab_file))
    results = common.medians({
        is_packed: lambda flags=flags: train(
            text, config, options, length, flags)
        for is_packed, flags in (
            (False, []), (True, ["--pack_sequences",
                                 "--max_sequences_per_pack=%d" % limit]))},
        options.rounds)
  plain, packed = Rates(*results[False]), Rates(*results[True])
  common.row(
      "packing, %s, length %d, at most %d" % (name, length, limit),
      "%.2f times the real tokens/s (%.0f instead of %.0f), %.1f %% padding "
      "instead of %.1f %%" % (
          packed.tokens / plain.tokens, packed.tokens, plain.tokens,
          100 * packed.padding, 100 * plain.padding),
      "%g times, at most %.0f %% padding" % (
          AIMS.get(length, 1), 100 * MAX_PADDING)
      if name == "short documents" else "no slower")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--short", default="")
  parser.add_argument("--long", default="")
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument(
      "--lengths", default=[(128, 8), (512, 16)], metavar="LENGTH:LIMIT,...",
      type=lambda text: [tuple(map(int, item.split(":")))
                         for item in text.split(",")])
  parser.add_argument("--model", default="2x128")
  parser.add_argument("--num_steps", type=int, default=30)
  parser.add_argument("--num_positions", type=int, default=4096,
                      help="Positions of an update's rows, all together.")
  parser.add_argument("--rounds", type=int, default=3)
  options = parser.parse_args()
  print(common.machine())
  for name, text in (("short documents", options.short),
                     ("long documents", options.long)):
    for length, limit in options.lengths if text else ():
      measure(name, text, options, length, limit)


if __name__ == "__main__":
  main()
