"""A model with and without entries for a domain's words, on the same text.

    python benchmarks/vocabulary.py --model=minilm --text=domain.txt \
        --held_out=domain_held_out.txt --general=general.txt \
        --probe_train=task_train.tsv --probe_eval=task_eval.tsv \
        --output_dir=vocabulary [--num_steps=300] [--seeds=2]

The files are those that `benchmarks/domain_gain.py` writes: for the task
"sections", sections_text.txt, sections_held_out.txt, sections_training.tsv and
sections_test.tsv. Each arm is a model that continues its pretraining:
  as it is         with the vocabulary that it has;
  mean             with --num_new_tokens words that extend_vocabulary.py adds,
                   rows initialized as means;
  random           the same with random rows;
  all at once      as "mean", without steps that train new rows first.

All arms read the same number of characters of the text: an arm with new entries
needs fewer pieces for them, so it has as many fewer steps, of the same size.
Heads that the model lacks are initialized alike and trained first, for
--num_head_steps of the steps.

Nats per character are of examples that mask whole words, which are written
once for each vocabulary (see docs/vocabulary.md). The probe is that of the
trainer. Rows have the mean over the seeds, and each of them.

An arm that is complete is not trained again; the same command continues an
interrupted benchmark. --quick shows that everything runs.
"""

import argparse
import os
import shutil
import statistics
import sys
from typing import Any, Dict, NamedTuple

import common
import rows

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.

import tokenization
from bert_e2e.checkpoints import conversion, new_rows
from bert_e2e.config import ReaderConfig
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import split_report, word_counts
from bert_e2e.training import evaluation

AS_IS, MEAN, RANDOM, AT_ONCE = ARMS = ("as it is", "mean", "random",
                                       "all at once")
# Of the text, so much is measured to tell the number of steps.
_MEASURED_BYTES = 1 << 22
# What --quick overrides.
_QUICK = {"num_steps": 4, "num_head_steps": 2, "train_batch_size": 4,
          "max_seq_length": 32, "eval_sequences": 32, "seeds": 1,
          "num_new_tokens": 20, "min_count": 1, "probe_num_labels": 8}
_PER_CHARACTER = "masked_lm_nats_per_character"


class Arm(NamedTuple):
  """A model to train.

  Attributes:
    name: one of ARMS.
    model: str, the directory with its start.
    records: dict from the kind of a text to its TFRecords, examples to evaluate
      on.
    num_steps: int, all of them.
    measured: split_report.TextMeasure of the text.
  """
  name: str
  model: str
  records: Dict[str, str]
  num_steps: int
  measured: Any


def program(name, *arguments):
  """Runs one of the project's programs; exits the benchmark if it fails."""
  return common.run([sys.executable, os.path.join(common.ROOT, name),
                     *arguments])[0]


# ------------------------------------------------------------------ what starts


def write_model(options, name, directory):
  """Writes the model that an arm starts from, unless it is there."""
  if os.path.exists(directory):
    return
  partial = directory + ".partial"
  shutil.rmtree(partial, ignore_errors=True)
  if name == AS_IS:
    source = conversion.read(options.model)
    conversion.export(
        source.variables, source.config, source.vocab_file,
        source.do_lower_case, output_tf=partial, source=source.directory,
        new_tokens=new_rows.NewTokens({}, source.initialized),
        **source.tokenizer)
  else:
    program(
        "extend_vocabulary.py", "--init_checkpoint=" + options.model,
        "--input_file=" + options.text, "--output_tf=" + partial,
        "--num_new_tokens=%d" % options.num_new_tokens,
        "--min_count=%d" % options.min_count,
        "--init=" + (new_rows.RANDOM if name == RANDOM else new_rows.MEAN))
  os.rename(partial, directory)


def write_records(options, model, path, text):
  """Writes the examples to evaluate on, unless they are there."""
  if os.path.exists(path):
    return
  tokenizer = conversion.recorded_tokenizer(
      os.path.join(model, conversion.CHECKPOINT))
  program(
      "create_pretraining_data.py", "--input_file=" + text,
      "--output_file=" + path + ".partial",
      "--vocab_file=" + os.path.join(model, conversion.VOCAB_FILE),
      "--do_whole_word_mask", "--sentence_objective=none", "--dupe_factor=1",
      *length_flags(options),
      *("--%s=%s" % item for item in tokenizer.items() if item[1] is not None))
  os.rename(path + ".partial", path)


def length_flags(options):
  """Returns the flags of the lengths of examples."""
  return ["--max_seq_length=%d" % options.max_seq_length,
          "--max_predictions_per_seq=%d" % max(
              1, round(0.16 * options.max_seq_length))]


def measure(options, model):
  """Returns the split_report.TextMeasure of the start of the text."""
  vocab_file = os.path.join(model, conversion.VOCAB_FILE)
  tokenizer = tokenization.FullTokenizer(
      vocab_file, **conversion.recorded_tokenizer(
          os.path.join(model, conversion.CHECKPOINT)))
  reader = ReaderConfig(input_format="text")
  return split_report.measure(word_counts.texts(
      corpus_lib.Corpus([options.text], reader=reader), reader,
      _MEASURED_BYTES), [tokenizer])[0]


def prepare(options):
  """Returns the list of Arm, with their files written."""
  found = []
  for name in options.arms:
    start = "as_is" if name == AS_IS else (
        RANDOM if name == RANDOM else MEAN)
    model = os.path.join(options.output_dir, "start_" + start)
    write_model(options, name, model)
    records = {}
    for text, path in ((evaluation.DOMAIN, options.held_out),
                       (evaluation.GENERAL, options.general)):
      # The rows do not matter for the examples.
      kind = "as_is" if name == AS_IS else "extended"
      records[text] = os.path.join(
          options.output_dir, "%s_%s.tfrecord" % (text, kind))
      write_records(options, model, records[text], path)
    measured = measure(options, model)
    first = found[0].measured if found else measured
    found.append(Arm(name, model, records, round(
        options.num_steps * sum(measured.lengths) / sum(first.lengths)),
                     measured))
  return found


# -------------------------------------------------------------------- training


def train(options, arm, seed):
  """Trains an arm; returns {kind of text: the last row of its evaluations}."""
  name = arm.name.replace(" ", "_")
  out = os.path.join(options.output_dir, "trained_%s_%d" % (name, seed))
  head_steps = 0 if arm.name == AT_ONCE else options.num_head_steps
  # The texts that the probe is fitted to may be in the text: their labels are
  # not.
  probe = [
      "--accept_eval_overlap", "--probe_train_file=" + options.probe_train,
      "--probe_eval_file=" + options.probe_eval,
      "--probe_num_labels=%d" % options.probe_num_labels] if (
          options.probe_train) else []
  program(
      "run_pretraining_e2e.py", "--do_train", "--do_eval",
      "--input_file=" + options.text, "--init_checkpoint=" + arm.model,
      "--eval_input_file=" + arm.records[evaluation.DOMAIN],
      "--general_eval_input_file=" + arm.records[evaluation.GENERAL],
      "--eval_batch_size=32",
      "--max_eval_steps=%d" % max(1, options.eval_sequences // 32),
      "--output_dir=" + out, "--sentence_objective=none",
      "--hidden_dropout_prob=0", "--attention_probs_dropout_prob=0",
      "--do_whole_word_mask", "--num_head_steps=%d" % head_steps,
      "--num_train_steps=%d" % arm.num_steps,
      "--train_batch_size=%d" % options.train_batch_size,
      "--learning_rate=%g" % options.learning_rate,
      "--warmup_proportion=0.1", "--random_seed=%d" % seed,
      "--save_checkpoints_steps=100", "--keep_checkpoint_max=1",
      *length_flags(options), *probe)
  return {row["text"]: row for row in sorted(
      evaluation.load(out), key=lambda row: row["step"])}


def spread(values, form):
  """Returns the mean of some values, and each of them if there are several.

  >>> spread([1.0, 2.0], "%.2f")
  '1.50 (1.00, 2.00)'
  """
  said = form % statistics.mean(values)
  if len(values) > 1:
    said += " (%s)" % ", ".join(form % value for value in values)
  return said


def report(arm, results):
  """Prints the rows of an arm.

  Args:
    arm: Arm.
    results: list with what `train` returned for each seed.
  """
  detail = ", %s (%d steps)" % (arm.name, arm.num_steps)
  measured = arm.measured
  rows.VOCABULARY_PIECES.show(detail, "%.3f pieces, %.3f %% unknown" % (
      measured.pieces_per_word, 100 * measured.unknown_rate))
  for text, row in ((evaluation.DOMAIN, rows.VOCABULARY_DOMAIN),
                    (evaluation.GENERAL, rows.VOCABULARY_GENERAL)):
    row.show(detail, spread([result[text][_PER_CHARACTER]
                             for result in results], "%.4f") +
             " nats per character")
  if evaluation.PROBE in results[0]:
    rows.VOCABULARY_PROBE.show(detail, spread(
        [100 * result[evaluation.PROBE]["probe_accuracy"]
         for result in results], "%.1f") + " % accuracy")


# ------------------------------------------------------------------ the program


def parse(arguments=None):
  """Returns the options."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--model", required=True,
                      help="directory or checkpoint, see --init_checkpoint")
  parser.add_argument("--text", required=True, help="text of the domain")
  parser.add_argument("--held_out", required=True,
                      help="text of the domain to evaluate on")
  parser.add_argument("--general", required=True, help="text to evaluate on")
  parser.add_argument("--probe_train", default="", help="labelled texts")
  parser.add_argument("--probe_eval", default="", help="labelled texts")
  parser.add_argument("--output_dir", required=True)
  parser.add_argument("--arms", type=lambda text: text.split(","),
                      default=list(ARMS))
  parser.add_argument("--seeds", type=int, default=2)
  parser.add_argument("--num_new_tokens", type=int, default=1000)
  parser.add_argument("--min_count", type=int, default=5)
  parser.add_argument("--num_steps", type=int, default=300,
                      help="steps of the model as it is")
  parser.add_argument("--num_head_steps", type=int, default=60)
  parser.add_argument("--train_batch_size", type=int, default=32)
  parser.add_argument("--max_seq_length", type=int, default=64)
  parser.add_argument("--learning_rate", type=float, default=1e-4)
  parser.add_argument("--eval_sequences", type=int, default=1280)
  parser.add_argument("--probe_num_labels", type=int, default=100)
  parser.add_argument("--quick", action="store_true",
                      help="check that it runs; no real results")
  options = parser.parse_args(arguments)
  if options.quick:
    vars(options).update(_QUICK)
  return options


def main():
  options = parse()
  os.makedirs(options.output_dir, exist_ok=True)
  print(common.machine(), flush=True)
  try:
    for arm in prepare(options):
      report(arm, [train(options, arm, seed)
                   for seed in range(1, options.seeds + 1)])
  except (OSError, ValueError) as error:
    sys.exit(str(error))


if __name__ == "__main__":
  main()
