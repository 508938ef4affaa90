"""Runs without a sentence objective, and with other rates of dropout."""

import json
import os
import signal

import numpy as np
import pytest
from program import (
  command,
  run_program,
  set_dropout,
  started,
  tensors,
  write_inputs,
)

from bert_e2e.training import objectives

LAST_STEP = 5
RUN = dict(sentence_objective="none", num_train_steps=LAST_STEP,
           save_checkpoints_steps=2, keep_checkpoint_max=0, log_every_steps=1,
           gradient_accumulation_steps=2)
RATES = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.3)


@pytest.fixture(scope="module", name="runs")
def fixture_runs(tmp_path_factory):
  """Trains with rates of dropout by the config, and by flags with a kill and
  without evaluations.

  Returns:
    (paths of the inputs, output directory of each, output of the former).
  """
  files = write_inputs(tmp_path_factory.mktemp("masked_words_only"))
  config = json.load(open(files["config"]))
  with open(files["config"] + ".rates", "w") as stream:
    json.dump(dict(config, **RATES), stream)
  set_dropout(files, 0.7)
  by_config, by_flags = files["out"] + "_config", files["out"] + "_flags"
  run = run_program(command(
      dict(files, out=by_config, config=files["config"] + ".rates"),
      eval_input_file=files["eval"], do_eval=True, max_eval_steps=2, **RUN))
  assert run.returncode == 0, run.stdout
  arguments = command(
      dict(files, out=by_flags), export_dir=files["out"] + "_export", **RUN,
      **RATES)
  with started(arguments, "step 3/5") as program:
    program.send_signal(signal.SIGKILL)
    program.communicate()
  resumed = run_program(arguments)
  assert resumed.returncode == 0, resumed.stdout
  assert ("--hidden_dropout_prob=0 in this training; 0.7 in the config"
          in resumed.stdout)
  return files, by_config, by_flags, run.stdout


@pytest.mark.slow
def test_killed_and_resumed_with_flags_the_weights_are_those_by_the_config(
    runs):
  _, by_config, by_flags, _ = runs
  expected, found = (tensors(out, LAST_STEP) for out in (by_config, by_flags))
  assert sorted(found) == sorted(expected)
  for name, value in expected.items():
    np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_the_pooler_and_the_next_sentence_head_stay_bitwise(runs):
  _, out, _, said = runs
  assert "the pooler and the next-sentence head stay as they are" in said
  start, end = tensors(out, 0), tensors(out, LAST_STEP)
  untrained = [name for name in start
               if not objectives.is_trained(name, "none")]
  assert {"bert/pooler/dense/kernel", "cls/seq_relationship/output_weights"} < (
      set(untrained))
  for name in untrained:
    np.testing.assert_array_equal(end[name], start[name], err_msg=name)
  word_embeddings = "bert/embeddings/word_embeddings"
  assert (start[word_embeddings] != end[word_embeddings]).any()


@pytest.mark.slow
def test_nothing_shows_the_figures_of_the_head(runs):
  _, out, _, said = runs
  assert "step 5/5" in said and "next_sentence_" not in said
  for name in ("evaluations.jsonl", "eval_results.txt", "report.html"):
    with open(os.path.join(out, name)) as stream:
      content = stream.read()
    assert "next_sentence" not in content, name
    assert "Next-sentence" not in content, name


@pytest.mark.slow
def test_exports_keep_the_rates_of_the_config(runs):
  files = runs[0]
  for name in ("tf/bert_config.json", "hf/config.json"):
    with open(os.path.join(files["out"] + "_export", name)) as stream:
      config = json.load(stream)
    assert config["hidden_dropout_prob"] == 0.7
    assert config["attention_probs_dropout_prob"] == 0.7
