"""Runs that export and evaluate averages with what they started from."""

import contextlib
import json
import os

import numpy as np
import pytest
import tf_checkpoints
from hugging_face_models import (
  HEADS,
  VOCABULARY,
  assert_same,
  config_of,
  random_tensors,
  random_variables,
  write_folder,
)
from program import (
  command,
  prepared,
  run_program,
  tensors,
  text,
  write_inputs,
)

import modeling
from bert_e2e import config
from bert_e2e.checkpoints import checkpoint_list, conversion, hugging_face
from bert_e2e.common import errors, json_files
from bert_e2e.run import Run
from bert_e2e.training import evaluation, metrics

STEPS = 4


@pytest.fixture(scope="module", name="run")
def fixture_run(tmp_path_factory):
  """Trains from an encoder without heads; returns paths and what it said."""
  directory = tmp_path_factory.mktemp("averaged")
  files = write_inputs(directory)
  (directory / "general.txt").write_text(text(7, 500))
  probe = directory / "probe.tsv"
  probe.write_text("".join(
      "label%d\tw%d w%d\n" % (i * i // 3 % 2, i % 40, i // 7)
      for i in range(60)))
  start = write_folder(directory / "start", {
      name: value for name, value in random_tensors(num_layers=1).items()
      if name.startswith("bert.") and "pooler" not in name},
      num_hidden_layers=1)
  (directory / "start" / "vocab.txt").write_bytes(VOCABULARY)
  files.update(start=start, result=str(directory / "result"))
  files["flags"] = dict(
      init_checkpoint=start, bert_config_file=None, vocab_file=None,
      eval_input_file=files["eval"], max_eval_steps=0, do_eval=True,
      general_eval_input_file=str(directory / "general.txt"),
      probe_train_file=str(probe), probe_eval_file=str(probe),
      sweep_weights="1,0.5", learning_rate=1e-2)
  run = run_program(command(
      files, num_train_steps=STEPS, export_dir=files["result"],
      export_weight=0.5, **files["flags"]))
  assert run.returncode == 0, run.stdout
  return dict(files, said=run.stdout)


def figures(row):
  """Returns the metrics of a row."""
  found = {name: row[name] for name in metrics.BY_NAME if name in row}
  assert found
  return found


def rows_of(out):
  """Returns {(weight, text): row} of the table."""
  return {(row["weight"], row["text"]): row for row in json_files.read_lines(
      os.path.join(out, "weight_sweep.jsonl"))}


@pytest.mark.slow
def test_the_export_is_the_average(run):
  start = hugging_face.read(run["start"]).variables
  trained = tensors(run["out"], STEPS)
  bert_config = modeling.BertConfig.from_dict(
      hugging_face.read(run["start"]).config)
  expected = {
      name: trained[name] if name in HEADS else (
          0.5 * start[name].astype(np.float64) +
          0.5 * trained[name].astype(np.float64)).astype(np.float32)
      for name in modeling.variable_shapes(bert_config)}
  for kind in ("tf", "hf"):
    found = conversion.read(os.path.join(run["result"], kind))
    assert_same(found.variables, expected)
    assert not found.initialized and found.do_lower_case is True
    with open(os.path.join(run["result"], kind, "average.json")) as stream:
      assert json.load(stream) == {
          "models": [
              {"path": "%s/model.ckpt-%d" % (run["out"], STEPS), "weight": 0.5},
              {"path": run["start"], "weight": 0.5}],
          "has_averaged_heads": False,
          "lacking": {run["start"]: HEADS[:2]}}
  assert ("exported 0.5 * %s/model.ckpt-%d + 0.5 * %s to " % (
      run["out"], STEPS, run["start"])) in run["said"]
  assert ("%s lacks these variables, which are not averaged: "
          "bert/pooler/dense/kernel, bert/pooler/dense/bias" % run["start"]
          ) in run["said"]


@pytest.mark.slow
def test_the_sweep_is_what_separate_evaluations_say(run):
  rows = rows_of(run["out"])
  assert sorted(rows) == [(weight, name) for weight in (0.5, 1.0)
                          for name in ("domain", "general", "probe")]
  # Weight 1 is the trained model.
  for row in evaluation.load(run["out"]):
    if row["step"] == STEPS:
      assert figures(row) == figures(rows[1.0, row["text"]])
      assert rows[1.0, row["text"]]["set"] == row["set"]
  # The exported average, evaluated by itself.
  alone = dict(run, out=run["out"] + "_alone")
  done = run_program(command(
      alone, do_train=False, init_checkpoint=run["result"] + "/tf",
      **{name: value for name, value in run["flags"].items()
         if name not in ("init_checkpoint", "sweep_weights")}))
  assert done.returncode == 0, done.stdout
  for row in evaluation.load(alone["out"]):
    assert figures(row) == figures(rows[0.5, row["text"]])
  for name in ("domain", "general", "probe"):
    assert figures(rows[0.5, name]) != figures(rows[1.0, name])
  assert "   0.5                 %.4f" % (
      rows[0.5, "domain"]["masked_lm_loss"]) in run["said"]
  # A sweep that fails does not prevent the export.
  assert run["said"].index("exported ") < run["said"].index("averages of ")
  left = os.listdir(run["out"])
  assert "weight_sweep" not in left
  assert {"eval_weight_0.5_general", "eval_weight_0.5_probe"} < set(left)
  assert "  probe probe_accuracy" in run["said"]


@pytest.mark.slow
def test_a_finished_training_is_evaluated_without_training(run):
  before = rows_of(run["out"])
  kept = checkpoint_list.copy(
      "%s/model.ckpt-%d" % (run["out"], STEPS), run["out"] + "/best")
  done = run_program(command(
      run, do_train=False, **dict(
          run["flags"], sweep_weights="0.5", general_eval_input_file=None,
          probe_train_file=None, probe_eval_file=None)))
  assert done.returncode == 0, done.stdout
  (key, row), = rows_of(run["out"]).items()
  assert key == (0.5, "domain") and row["checkpoint"] == kept
  assert figures(row) == figures(before[key])


@pytest.mark.parametrize("changes, said", [
    (dict(sweep_weights="0,1.5"), "--sweep_weights=0.0,1.5 is out of range: it "
     "must be at least 0 and at most 1"),
    (dict(sweep_weights="0,nan"), "--sweep_weights=0.0,nan is out of range"),
    (dict(export_weight=-0.5), "--export_weight=-0.5 is out of range"),
    (dict(export_weight=0.5), "--export_weight=0.5 requires --export_dir, and "
     "--init_checkpoint"),
    (dict(export_weight=0.5, export_dir="result"), "and --init_checkpoint"),
    (dict(sweep_weights="0.5"), "--sweep_weights requires --do_eval"),
    (dict(sweep_weights="0.5", do_eval=True, init_checkpoint="x"),
     "--eval_input_file"),
])
def test_refusals(files, parse_flags, changes, said):
  with pytest.raises(ValueError, match=said):
    prepared(parse_flags(command(files, **changes)))


def test_a_probe_is_enough_for_a_sweep():
  config.Config(
      run=config.RunConfig(do_eval=True),
      evaluation=config.EvaluationConfig(
          sweep_weights=(0.5,), probe_train_file="a", probe_eval_file="b"),
      checkpoint=config.CheckpointConfig(init_checkpoint="x")).validated()


def test_what_a_killed_sweep_has_left_is_removed(files, parse_flags):
  """At the next start of a training."""
  left = os.path.join(files["out"], "weight_sweep")
  os.makedirs(left)
  with open(os.path.join(left, "model.ckpt-4.index"), "w"):
    pass
  with contextlib.ExitStack() as stack:
    Run(prepared(parse_flags(command(files))))._begin(stack)
    assert "run.lock" in os.listdir(files["out"])
  assert not os.path.exists(left)


def test_an_average_that_cannot_be_read(files, parse_flags, tmp_path):
  """Its start was there when the training began."""
  weights = random_variables(config_of())
  path = tf_checkpoints.write(tmp_path / "start.ckpt", weights)
  with open(files["config"], "w") as stream:
    stream.write(config_of().to_json_string())
  prepared_run = prepared(parse_flags(command(
      files, init_checkpoint=path, export_dir=str(tmp_path / "result"),
      export_weight=0.5)))
  trained = tf_checkpoints.write(tmp_path / "trained.ckpt", weights)
  os.remove(path + ".index")
  with pytest.raises(errors.InputError, match=(
      "--export_weight=0.5: the average of %s and --init_checkpoint=%s cannot "
      "be read: .*%s" % (trained, path, path))):
    Run(prepared_run)._export(trained)
  assert not os.path.exists(str(tmp_path / "result"))


def test_a_sweep_needs_a_trained_model(files, parse_flags, tmp_path):
  start = write_folder(tmp_path / "start", random_tensors())
  with pytest.raises(ValueError, match="--output_dir=.*/out has no checkpoint"):
    prepared(parse_flags(command(
        files, do_train=False, do_eval=True, eval_input_file=files["eval"],
        init_checkpoint=start, bert_config_file=None, sweep_weights="0.5")))
  assert not os.path.exists(files["out"])
