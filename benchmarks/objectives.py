"""Compares example formats and sentence objectives on two kinds of documents.

    python benchmarks/objectives.py --text=train.txt --held_out=held_out.txt \
        --vocab_file=vocab.txt [--init_checkpoint=<directory of the model>] \
        [--num_tokens=200000] [--choices=segment_pair/sop,line_by_line/none]

The first text is used as it is: long documents. For the second one every line
becomes a document of one sentence, in random order. The main program trains a
model on each text with each format and objective, on the same number of real
tokens (padding does not count), with the default masks. Then every model is
evaluated on the same held-out examples: single sequences of one document, with
uniform masks of 15 %. A row also has the real tokens per second, and the
fractions of the text's tokens that are cut off and of positions that are
padding.

The demo's model is demo/model after `make demo`. Without --init_checkpoint a
small new model is trained, as a check that everything runs. `--building` only
measures how fast each format's examples are built, by processor time and in
turn, compared with the default's.
"""

import argparse
import os
import random
import re
import statistics
import sys
import tempfile
from typing import List, NamedTuple

import common
import rows

from bert_e2e.common import json_files
from bert_e2e.data.text_source import TextSource

CHOICES = (("segment_pair", "nsp"), ("segment_pair", "sop"),
           ("segment_pair", "none"), ("full_sentences", "none"),
           ("doc_sentences", "none"), ("line_by_line", "none"))
# What the held-out examples are.
EVALUATION = ("doc_sentences", "none")
_EVAL_BATCH_SIZE = 16

_RATE = re.compile(r"step (\d+)/.* ([\d.]+) sequences/s")
_LOSS = re.compile(r"masked_lm_loss = ([\d.]+)")
_WRITE_RECORDS = """
import sys
sys.path.insert(0, sys.argv[1])
import run_pretraining_e2e as e2e
text, vocab, path, length, predictions, format, objective = sys.argv[2:]
count = 0
with e2e.tf.io.TFRecordWriter(path) as writer:
  for example in e2e.take_write_2_flow(
      [text], vocab, max_seq_length=int(length), num_epochs=1,
      max_predictions_per_seq=int(predictions), example_format=format,
      sentence_objective=objective):
    writer.write(example)
    count += 1
print(count)
"""
_BUILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
import run_pretraining_e2e as e2e
text, vocab, length, predictions, format, objective = sys.argv[2:]
start = time.process_time()
count = sum(1 for _ in e2e.take_write_2_flow(
    [text], vocab, max_seq_length=int(length), num_epochs=1,
    max_predictions_per_seq=int(predictions), example_format=format,
    sentence_objective=objective))
print(count, time.process_time() - start)
"""


class Result(NamedTuple):
  """What a training gave.

  Attributes:
    loss: float, on the held-out examples, in nats.
    rate: float, real tokens per second of training.
    cut_off: float, fraction of the text's tokens that are in no example.
    padding: float, fraction of the positions of all examples.
  """
  loss: float
  rate: float
  cut_off: float
  padding: float


def one_sentence_documents(path, directory):
  """Writes the lines of a text in random order, each a document."""
  with open(path, encoding="utf-8") as stream:
    lines = [line.strip() for line in stream if line.strip()]
  random.Random(1).shuffle(lines)
  name = os.path.join(directory, "one_sentence_" + os.path.basename(path))
  with open(name, "w", encoding="utf-8") as stream:
    stream.write("\n\n".join(lines) + "\n")
  return name


def model_flags(options, directory) -> List[str]:
  """Returns the flags of the model to train."""
  flags = ["--vocab_file=" + options.vocab_file]
  if options.init_checkpoint:
    return flags + ["--init_checkpoint=" + options.init_checkpoint]
  return flags + ["--bert_config_file=" + common.write_config(
      directory, common.vocab_size(options.vocab_file))]


def lengths_of(options):
  return ["--max_seq_length=%d" % options.max_seq_length,
          "--max_predictions_per_seq=%d" % options.max_predictions_per_seq]


def evaluate(options, flags, evaluation, out):
  """Returns the masked-LM loss of the model in `out`; see `train`."""
  records, num_records = evaluation
  common.run(
      [sys.executable, common.PROGRAM, "--do_eval", "--output_dir=" + out,
       "--input_file=" + records, "--sentence_objective=none",
       "--max_eval_steps=%d" % -(-num_records // _EVAL_BATCH_SIZE),
       "--eval_batch_size=%d" % _EVAL_BATCH_SIZE] + flags + lengths_of(options))
  with open(os.path.join(out, "eval_results.txt")) as stream:
    return float(_LOSS.findall(stream.read())[-1])


def train(options, flags, text, evaluation, choice, directory):
  """Trains with a format and an objective.

  Args:
    evaluation: (path of TFRecords, their number).
    choice: one of CHOICES.

  Returns:
    Result.
  """
  chosen = dict(zip(("example_format", "sentence_objective"), choice))
  found = TextSource.from_arguments(
      [text], options.vocab_file, max_seq_length=options.max_seq_length,
      max_predictions_per_seq=options.max_predictions_per_seq,
      **chosen).preflight()
  num_steps = max(2, round(
      options.num_tokens / found.mean_length / options.batch_size))
  out = tempfile.mkdtemp(prefix="_".join(choice), dir=directory)
  output, _, _ = common.run(
      [sys.executable, common.PROGRAM, "--do_train", "--output_dir=" + out,
       "--input_file=" + text, "--num_train_steps=%d" % num_steps,
       "--warmup_proportion=0.1", "--log_every_steps=%d" % max(
           1, num_steps // 10),
       "--learning_rate=%g" % options.learning_rate,
       "--train_batch_size=%d" % options.batch_size,
       "--hidden_dropout_prob=0", "--attention_probs_dropout_prob=0"] +
      ["--%s=%s" % item for item in chosen.items()] + flags +
      lengths_of(options))
  rates = [float(rate) for _, rate in _RATE.findall(output)]
  stored = json_files.read_object(os.path.join(out, "preflight.json"))
  return Result(
      evaluate(options, flags, evaluation, out),
      statistics.median(rates) * stored["mean_length"],
      stored["truncated_share"], stored["padding_share"])


def compare(options, name, text, held_out, directory):
  """Prints the rows of a text."""
  flags = model_flags(options, directory)
  records = os.path.join(directory, "held_out.tfrecord")
  output, _, _ = common.run([
      sys.executable, "-c", _WRITE_RECORDS, common.ROOT, held_out,
      options.vocab_file, records, str(options.max_seq_length),
      str(options.max_predictions_per_seq), *EVALUATION])
  evaluation = records, int(output.split()[-1])
  for choice in options.choices:
    result = train(options, flags, text, evaluation, choice, directory)
    rows.OBJECTIVES.show(
        ", %s, %s, %s" % (name, *choice),
        "held-out loss %.4f; %.0f real tokens/s; %.1f %% cut off; %.1f %% "
        "padding" % (result.loss, result.rate, 100 * result.cut_off,
                     100 * result.padding))


def measure_building(options, name, text):
  """Prints, for each format, its speed relative to the default's."""
  def of_choice(choice):
    def build():
      output, _, _ = common.run([
          sys.executable, "-c", _BUILD, common.ROOT, text, options.vocab_file,
          str(options.max_seq_length), str(options.max_predictions_per_seq),
          *choice])
      count, seconds = output.split()[-2:]
      return int(count), float(seconds)
    return build

  results = common.medians(
      {choice: of_choice(choice) for choice in (CHOICES[0], *options.choices)},
      options.rounds)
  _, base = results[CHOICES[0]]
  for choice, (count, seconds) in results.items():
    is_single = choice[0] != CHOICES[0][0]
    (rows.BUILDING_SINGLE if is_single else rows.BUILDING_PAIRS).show(
        ", %s, %s, %s" % (name, *choice),
        "%.2f MB/s of a core, %.2f times the default; %d examples" % (
            common.megabytes(text) / seconds, base / seconds, count),
        base / seconds, rows.lacking(
            rounds=(options.rounds, rows.ROUNDS),
            MB_of_text=(common.megabytes(text), 0.3)))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", required=True)
  parser.add_argument("--held_out", default="")
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--init_checkpoint", default="")
  parser.add_argument("--num_tokens", type=int, default=200000)
  parser.add_argument("--batch_size", type=int, default=16)
  parser.add_argument("--learning_rate", type=float, default=1e-4)
  parser.add_argument("--max_seq_length", type=int, default=64)
  parser.add_argument("--max_predictions_per_seq", type=int, default=10)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--building", action="store_true")
  parser.add_argument(
      "--choices", default=CHOICES, metavar="FORMAT/OBJECTIVE,...",
      type=lambda text: [tuple(item.split("/")) for item in text.split(",")])
  options = parser.parse_args()
  if not (options.building or options.held_out):
    parser.error("--held_out is missing.")
  print(common.machine())
  with tempfile.TemporaryDirectory() as directory:
    for name, change in (
        ("long documents", lambda path: path),
        ("one-sentence documents",
         lambda path: path and one_sentence_documents(path, directory))):
      text, held_out = map(change, (options.text, options.held_out))
      if options.building:
        measure_building(options, name, text)
      else:
        compare(options, name, text, held_out, directory)


if __name__ == "__main__":
  main()
