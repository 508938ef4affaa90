"""Training on packed rows compared with rows of one sequence.

    python benchmarks/packing.py --short=descriptions.txt --text=english.txt \
        --vocab_file=vocab.txt [--lengths=128:8,512:16] [--model=2x128] \
        [--num_steps=30] [--rounds=3]

The main program trains the same new model with rows of one sequence and with
packed rows, equally many in an update, in processes that alternate. The rates
are those of its progress lines after the first one. The padding is that of the
first rows of the stream. A length is given with --max_sequences_per_pack.

`--short` is text of short documents, such as the descriptions of Debian
packages that `benchmarks/domain_gain.py` writes; without it, the sentences of
`--text` in groups of two are such documents.
"""

import argparse
import itertools
import os
import re
import statistics
import sys
import tempfile
from typing import Iterable, List, NamedTuple

import common
import rows

from bert_e2e.data.text_source import take_write_2_flow
from bert_e2e.data.tf_example import parse_example

_NUM_STEPS = 30
_VOCAB_SIZE = 30522
# Rows of the stream of which the padding is measured.
_NUM_ROWS = 1000

_LINE = re.compile(
    r"step \d+/.* ([\d.]+) sequences/s  ([\d,]+) tokens/s  ")


class Rates(NamedTuple):
  """Sequences and real tokens per second of a training, medians."""
  sequences: float
  tokens: float


def packing_flags(limit) -> List[str]:
  """Returns the flags of rows of up to `limit` sequences; of one for None."""
  return ["--pack_sequences", "--max_sequences_per_pack=%d" % limit] if (
      limit) else []


def train(text, config, options, length, limit) -> Rates:
  """Trains; returns the Rates.

  Args:
    text: path; config: path of the model's config.
    options: the benchmark's.
    length: int, positions of a row.
    limit: int, sequences of a row; None for rows of one.
  """
  with tempfile.TemporaryDirectory() as directory:
    output, _, _ = common.run([
        sys.executable, common.PROGRAM, "--do_train", "--input_file=" + text,
        "--vocab_file=" + options.vocab_file, "--bert_config_file=" + config,
        "--output_dir=" + directory, "--max_seq_length=%d" % length,
        "--max_predictions_per_seq=auto",
        "--train_batch_size=%d" % max(1, options.num_positions // length),
        "--num_train_steps=%d" % options.num_steps, "--num_warmup_steps=1",
        "--log_every_steps=%d" % max(1, options.num_steps // 6),
        "--num_workers=1"] + packing_flags(limit))
  found = [[float(value.replace(",", "")) for value in line]
           for line in _LINE.findall(output)]
  # The first line is that of the first step, which takes longer.
  sequences, tokens = zip(*found[1:])
  return Rates(statistics.median(sequences), statistics.median(tokens))


def padding(text, options, length, limit):
  """Returns (fraction of the positions of rows that is padding, how many rows
  were read)."""
  flow: Iterable[bytes] = take_write_2_flow(
      text, options.vocab_file, max_seq_length=length, num_epochs=1,
      max_predictions_per_seq="auto", pack_sequences=bool(limit),
      max_sequences_per_pack=limit or 8)
  masks = [parse_example(example)["input_mask"]
           for example in itertools.islice(flow, _NUM_ROWS)]
  return 1 - sum(map(sum, masks)) / (length * len(masks)), len(masks)


def rows_at(length, is_short):
  """Returns the rows.Row of the rates and that of the padding, at a length and
  for short or long documents. Only the default lengths have goals."""
  short = {128: rows.PACKING_128, 512: rows.PACKING_512}
  row = short.get(length, rows.PACKING_SHORT) if is_short else rows.PACKING_LONG
  if length in short:
    return row, rows.PACKING_PADDING
  return row.without_aim(), rows.PACKING_PADDING.without_aim()


def measure(text, is_short, options, length, limit):
  """Prints the rows of a text at a length."""
  with tempfile.TemporaryDirectory() as directory:
    config = common.write_config(
        directory, _VOCAB_SIZE, *common.layers_and_size(options.model))
    results = common.medians({
        each: lambda each=each: train(text, config, options, length, each)
        for each in (None, limit)}, options.rounds)
  (plain_rate, plain), (packed_rate, packed) = results[None], results[limit]
  (plain_share, _), (packed_share, num_rows) = (
      padding(text, options, length, each) for each in (None, limit))
  lacks = rows.lacking(rounds=(options.rounds, rows.ROUNDS),
                       steps=(options.num_steps, _NUM_STEPS))
  row, padding_row = rows_at(length, is_short)
  row.show(
      "%s, at most %d sequences, model %s" % (
          "" if "length" in row.name else ", length %d" % length, limit,
          options.model),
      "%.2f times the real tokens/s (%.0f, %.0f); %.2f times the sequences/s; "
      "padding %.1f %%, %.1f %%" % (
          packed / plain, packed, plain, packed_rate / plain_rate,
          100 * packed_share, 100 * plain_share), packed / plain, lacks)
  if is_short:
    padding_row.show(
        ", length %d, at most %d sequences" % (length, limit),
        "%.1f %% of the positions" % (100 * packed_share), packed_share,
        rows.lacking(rows=(num_rows, 200)))


def short_documents(path, directory):
  """Writes documents of two sentences of a text each; returns their path."""
  with open(path, encoding="utf-8") as stream:
    lines = [line.strip() for line in stream if line.strip()]
  short = os.path.join(directory, "short.txt")
  with open(short, "w", encoding="utf-8") as stream:
    for first in range(0, len(lines), 2):
      stream.write("\n".join(lines[first:first + 2]) + "\n\n")
  return short


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--short", default="")
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument(
      "--lengths", default=[(128, 8), (512, 16)], metavar="LENGTH:LIMIT,...",
      type=lambda text: [tuple(map(int, item.split(":")))
                         for item in text.split(",")])
  parser.add_argument("--model", default="2x128")
  parser.add_argument("--num_steps", type=int, default=_NUM_STEPS)
  parser.add_argument("--num_positions", type=int, default=4096,
                      help="Positions of an update's rows, all together.")
  parser.add_argument("--rounds", type=int, default=3)
  options = parser.parse_args()
  print(common.machine())
  with tempfile.TemporaryDirectory() as directory:
    short = options.short or short_documents(options.text, directory)
    for text in (short, options.text):
      for length, limit in options.lengths:
        measure(text, text == short, options, length, limit)


if __name__ == "__main__":
  main()
