"""Runs on a mixture: what they log and record, and that they resume exactly."""

import json
import os
import re

import numpy as np
import pytest
from program import (
  check_a_kill_changes_nothing,
  command,
  prepared,
  run_program,
  tensors,
  text,
)

import run_pretraining_e2e as e2e
from bert_e2e import config, recipes
from bert_e2e.data import resume
from bert_e2e.reporting import report
from bert_e2e.run import Run, run_preflight
from bert_e2e.training import metrics

QUARTER = {"replay_proportion": 0.25}


@pytest.fixture
def mixed(files, tmp_path):
  """`files`, with another text to replay and its flags."""
  path = tmp_path / "old.txt"
  path.write_text(text(20, first=300))
  return dict(files, old=str(path))


def replay(mixed, **changes):
  """Returns the arguments of a run with replay."""
  return command(mixed, **dict(
      QUARTER, replay_input_file=mixed["old"], **changes))


@pytest.mark.slow
def test_killed_it_ends_with_the_weights_of_an_undisturbed_run(
    mixed, dropout_config):
  """The resumed run has two workers, and each text has one of its own."""
  found = check_a_kill_changes_nothing(
      mixed, replay_input_file=mixed["old"], replay_proportion=0.3,
      pack_sequences=True, max_seq_length=32, max_predictions_per_seq=5)
  assert {"stream_windows.txt", "stream_windows.text1.txt"} <= set(
      os.listdir(found["out"]))


@pytest.mark.slow
def test_another_batch_size_goes_on_at_the_same_example(mixed, parse_flags):
  """12 steps of 8 train on the same 96 examples as 6 of 8 and 12 of 4."""
  for values in (dict(num_train_steps=3), dict(num_train_steps=6,
                                               train_batch_size=4)):
    Run(prepared(parse_flags(replay(mixed, **values)))).run()
  assert tensors(mixed["out"], 6)["examples_seen"] == 36
  source = prepared(parse_flags(replay(mixed))).training.source
  source.open_flow(output_dir=mixed["out"])
  rest = next(iter(source.flow.lists(36)))
  whole = list(e2e.take_write_2_flow(
      mixed["train"], mixed["vocab"], replay_input_file=mixed["old"],
      num_epochs=1, max_seq_length=16, max_predictions_per_seq=3, **QUARTER))
  assert rest[:60] == whole[36:96]


@pytest.mark.slow
def test_it_says_what_it_trains_on(mixed, parse_flags, caplog):
  caplog.set_level("INFO")
  Run(prepared(parse_flags(replay(
      mixed, log_every_steps=2, train_batch_size=16)))).run()
  lines = caplog.text
  assert "--input_file, 75 % of the examples" in lines
  assert "--replay_input_file, 25 % of the examples" in lines
  assert re.search(r"step 4/4 .*  --input_file: 48 examples, epoch 0\.\d+  "
                   r"--replay_input_file: 16 examples, epoch 0\.\d+", lines)
  with open(os.path.join(mixed["out"], resume.STREAM_FILE)) as stream:
    assert json.load(stream)["options"]["replay_proportion"] == 0.25
  report.write(mixed["out"])
  with open(os.path.join(mixed["out"], "report.html")) as stream:
    page = stream.read()
  assert "Texts trained on" in page
  assert "48 examples" in page and "16 examples" in page
  assert "25 %% of the examples; files: 1 of %d bytes" % os.path.getsize(
      mixed["old"]) in page
  # Another proportion is another stream, which has to be accepted.
  with pytest.raises(ValueError) as caught:
    prepared(parse_flags(replay(mixed, replay_proportion=0.5)))
  assert "replay_proportion was 0.25 and is 0.5" in str(caught.value)
  with pytest.raises(ValueError, match="replay_input_file was text of "):
    prepared(parse_flags(command(mixed)))
  prepared(parse_flags(command(mixed, accept_new_stream=True)))


def test_a_mixture_of_weights(mixed, parse_flags):
  run = prepared(parse_flags(command(
      mixed, input_file=None, num_train_steps=None, num_train_epochs=2.0,
      mixture="%s:3,%s:1" % (mixed["train"], mixed["old"]))))
  first, second = run.training.preflight, run.training.preflight.mixed_with[0]
  assert (first.weight, second.weight) == (0.75, 0.25)
  total = first.examples_per_epoch + second.examples_per_epoch
  assert run.training.epoch_plan.epoch_examples == total
  # A replayed text does not count.
  run = prepared(parse_flags(replay(
      mixed, num_train_steps=None, num_train_epochs=2.0)))
  assert run.training.epoch_plan.epoch_examples == first.examples_per_epoch


def test_evaluations_without_a_text_of_their_own_read_no_replay(
    mixed, parse_flags):
  source, = prepared(parse_flags(replay(
      mixed, do_eval=True))).eval_sources.values()
  assert source.files == [mixed["train"]]
  source, = prepared(parse_flags(command(
      mixed, input_file=None, do_eval=True,
      mixture="%s:3,%s:1" % (mixed["train"], mixed["old"])))
                     ).eval_sources.values()
  assert source.files == [mixed["train"], mixed["old"]]


def test_held_out_text_is_found_in_each_text(mixed, parse_flags):
  options = dict(do_eval=True, eval_input_file=mixed["eval"])
  with pytest.raises(ValueError, match=(
      "--eval_input_file and --replay_input_file both name")):
    prepared(parse_flags(replay(
        dict(mixed, old=mixed["eval"]), **options)))
  with open(mixed["old"], "a") as stream:
    stream.write("\n" + text(1, first=103))
  with pytest.raises(ValueError) as caught:
    prepared(parse_flags(replay(mixed, **options)))
  assert "The training text, --replay_input_file, and the evaluation" in str(
      caught.value)


def test_tfrecords_are_not_mixed(mixed, parse_flags, tmp_path):
  path = tmp_path / "records"
  with e2e.tf.io.TFRecordWriter(str(path)) as writer:
    for example in e2e.take_write_2_flow(
        mixed["train"], mixed["vocab"], num_epochs=1, max_seq_length=16,
        max_predictions_per_seq=3):
      writer.write(example)
  with pytest.raises(ValueError, match="mixes TFRecord files"):
    prepared(parse_flags(replay(dict(mixed, train=str(path)))))
  with pytest.raises(ValueError, match="leave out --replay_input_file"):
    prepared(parse_flags(replay(
        dict(mixed, train=str(path), old=str(path)))))
  with pytest.raises(ValueError, match="leave out .* and --mixture"):
    prepared(parse_flags(command(
        mixed, input_file=None, mixture="%s:1" % path)))
  with pytest.raises(ValueError, match=(
      "--num_train_epochs of --recipe=tapt needs raw text")):
    prepared(parse_flags(recipe(dict(mixed, train=str(path)), recipe="tapt")))


def test_names_of_texts_in_metrics():
  texts = [resume.TextProgress("--input_file", 5, 0.5),
           resume.TextProgress("web/*.txt", 7, None)]
  values = metrics.values_of_texts(texts)
  assert values == {"text/input_file/examples": 5, "text/input_file/epoch": 0.5,
                    "text/web/*.txt/examples": 7}
  assert metrics.counts_of_texts(["loss", *values]) == {
      "input_file": {"examples": "text/input_file/examples",
                     "epoch": "text/input_file/epoch"},
      "web/*.txt": {"examples": "text/web/*.txt/examples"}}


# -------------------------------------------------------------------- recipes


def recipe(files, **changes):
  """Returns the command of a recipe: without a schedule."""
  return command(files, **dict(
      dict.fromkeys(("num_train_steps", "num_warmup_steps", "train_batch_size",
                     "learning_rate")), **changes))


def test_recipes_and_choices_agree():
  assert {"none", *recipes.RECIPES} == set(config.RECIPES)
  assert all(config.is_field(name) for values in recipes.RECIPES.values()
             for name in values)


def test_a_recipe_fills_in_its_schedule(files, parse_flags, caplog):
  caplog.set_level("INFO")
  run = prepared(parse_flags(recipe(files, recipe="dapt")))
  assert (run.num_train_steps, run.num_warmup_steps) == (12500, 750)
  assert run.config.optimizer.train_batch_size == 2048
  assert run.config.optimizer.learning_rate == 5e-4
  # 16 tokens each: 256 sequences have 4,096.
  assert run.config.hardware.gradient_accumulation_steps == 8
  run = prepared(parse_flags(recipe(files, recipe="tapt")))
  plan = run.training.epoch_plan
  assert (plan.num_train_epochs, plan.train_batch_size) == (100, 256)
  assert run.num_warmup_steps == round(0.06 * run.num_train_steps)
  assert run.config.optimizer.learning_rate == 1e-4
  assert "epochs" not in [w.name for w in run.training.preflight.warnings]
  # Of another text there may be too many.
  run = prepared(parse_flags(recipe(
      files, recipe="tapt", replay_input_file=files["eval"],
      replay_proportion=0.75)))
  assert [w.text.split(":")[0] for w in run.training.preflight.warnings
          if w.name == "epochs"] == ["--replay_input_file"]


def test_a_recipe_is_part_of_the_preflight(files, parse_flags, capsys):
  run_preflight(prepared(parse_flags(recipe(
      files, recipe="dapt", preflight_only=True))))
  assert capsys.readouterr().out.startswith(
      "--recipe=dapt sets --train_batch_size=2048 ")


def test_flags_that_are_passed_have_precedence(files, parse_flags):
  run = prepared(parse_flags(recipe(
      files, recipe="dapt", num_train_epochs=3.0, num_warmup_steps=7,
      learning_rate=1e-5, gradient_accumulation_steps=2)))
  assert run.training.epoch_plan.num_train_epochs == 3
  assert run.num_warmup_steps == 7
  assert run.config.optimizer.learning_rate == 1e-5
  assert run.config.optimizer.train_batch_size == 2048
  assert run.config.hardware.gradient_accumulation_steps == 2
  assert recipes.describe(run.config) == (
      "--recipe=dapt sets --train_batch_size=2048 "
      "--learning_rate_decay=linear; passed: --learning_rate=1e-05 "
      "--num_train_epochs=3.0 --num_warmup_steps=7 "
      "--gradient_accumulation_steps=2")


@pytest.mark.slow
def test_a_recipe_trains_and_says_so(files):
  run = run_program(recipe(
      files, recipe="tapt", num_train_epochs=0.5, max_predictions_per_seq=2))
  assert run.returncode == 0, run.stdout
  assert ("--recipe=tapt sets --train_batch_size=256 --learning_rate=0.0001 "
          in run.stdout)
  assert "--gradient_accumulation_steps=1; passed: --num_train_epochs=0.5" in (
      run.stdout)
  assert np.isfinite(tensors(files["out"], 1)["global_step"])
