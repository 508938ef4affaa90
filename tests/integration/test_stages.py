"""Runs with --stages: parts of a training with other lengths of sequences."""

import dataclasses
import json
import os
import re
import textwrap

import forked_programs
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import two_workers
from program import (
  CONFIG,
  LENGTHS,
  command,
  prepared,
  run_program,
  set_dropout,
  started,
  tensors,
  text,
  write_inputs,
)

import run_pretraining_e2e as e2e
from bert_e2e.config import (
  Config,
  EvaluationConfig,
  InstanceConfig,
  OptimizerConfig,
  PackingConfig,
)
from bert_e2e.training import stages
from bert_e2e.training.run_lock import RunLock

# 8 steps of 8 rows of 12 tokens, then 4 of 4 rows of 24.
STAGED = {"stages": "12:0.67,24:0.33", "max_seq_length": None,
          "max_predictions_per_seq": 3, "num_train_steps": 12,
          "save_checkpoints_steps": 4, "log_every_steps": 1}
FIRST = {"max_seq_length": 12, "max_predictions_per_seq": 3}
SECOND = {"max_seq_length": 24, "max_predictions_per_seq": 6,
          "train_batch_size": 4}


def planned(given, num_train_steps=100, divisor=1, step=0, **options):
  optimizer = OptimizerConfig(stages=tuple(given.split(",")), **options)
  return stages.plan(Config(optimizer=optimizer), step, divisor,
                     num_train_steps)


def test_berts_own_recipe():
  """Lengths, steps, batches of as many tokens, and masks follow."""
  found = planned("128:0.9,512:0.1", 1000000, train_batch_size=256).stages
  assert [(stage.max_seq_length, stage.max_predictions_per_seq,
           stage.train_batch_size, stage.first_step, stage.last_step)
          for stage in found] == [
              (128, 20, 256, 0, 900000), (512, 80, 64, 900000, 1000000)]
  assert str(found[1]) == (
      "stage 2 of 2: steps 900001 to 1000000, --max_seq_length=512 "
      "--max_predictions_per_seq=80 --train_batch_size=64")


def test_batches_are_divisible_and_masks_fit():
  found = planned("64:0.5,256:0.3,512:0.2", divisor=6, train_batch_size=96)
  assert [stage.train_batch_size for stage in found.stages] == [96, 24, 12]
  found = planned("64:0.5,512:0.5", divisor=16, train_batch_size=16)
  assert [stage.train_batch_size for stage in found.stages] == [16, 16]
  config = Config(
      optimizer=OptimizerConfig(stages=("64:0.5", "512:0.5")),
      instances=InstanceConfig(max_predictions_per_seq="auto"))
  assert [stage.max_predictions_per_seq for stage in stages.plan(
      config, 0, 1, 10).stages] == [10, 79]


def test_rows_of_a_longer_stage_hold_more_packed_sequences():
  packed = PackingConfig(pack_sequences=True, max_sequences_per_pack=3)
  for config, expected in (
      (Config(packing=packed), [3, 8, 2]),
      (Config(evaluation=EvaluationConfig(pack_eval_sequences=True)),
       [8, 22, 4]),
      (Config(), [8, 8, 8])):
    config = dataclasses.replace(config, optimizer=OptimizerConfig(
        stages=("48:0.5", "128:0.3", "20:0.2")))
    plan = stages.plan(config, 60, 1, 100)
    assert [stage.max_sequences_per_pack for stage in plan.stages] == expected
    is_packed = config.packing.pack_sequences
    assert ("max_sequences_per_pack" in plan.previous_options()) == is_packed
    assert ("--max_sequences_per_pack=8" in str(plan.current)) == is_packed
    assert plan.for_evaluation(config).packing == dataclasses.replace(
        config.packing, max_sequences_per_pack=expected[2])


def test_an_automatic_number_of_masks_is_that_of_each_stage(
    files, parse_flags):
  run = prepared(parse_flags(command(
      files, stages="16:0.5,32:0.5", max_seq_length=None,
      max_predictions_per_seq="auto")))
  assert [stage.max_predictions_per_seq for stage in run.planned.stages] == [
      2, 5]
  assert run.config.instances.max_predictions_per_seq == 2


def test_the_current_stage():
  for step, number in ((0, 1), (89, 1), (90, 2), (100, 2), (120, 2)):
    found = planned("128:0.9,512:0.1", step=step)
    assert found.current.number == number
    assert found.begins_stage() == (step == 90)
  assert planned("128:0.9,512:0.1", step=90).previous_options() == {
      "max_seq_length": 128, "max_predictions_per_seq": 20}
  nothing = stages.plan(Config(), 5, 1, 10)
  assert nothing.current is None and not nothing.begins_stage()


@pytest.mark.parametrize("given, said", [
    ("128", "128 is not a length and a fraction"),
    ("128:0.9,", "an empty part is not"),
    ("128:0.9,512:0.2", "add up to 1.1, not 1"),
    ("128:0,512:1", "the stage of length 128 has no steps"),
    ("4:0.5,8:0.5", "the length 4 must be at least 5"),
    ("128:-1,512:2", "is not a length and a fraction"),
    ("12:0.99,24:0.01", "the stage of length 24 has none of the 4 training"),
    ("12:0.5,64:0.5", "max_position_embeddings"),
    ("12:0.4,24:0.2,12:0.4", "two stages have the length 12"),
])
def test_what_is_no_stage_is_refused(files, parse_flags, given, said):
  with pytest.raises(ValueError, match=said):
    prepared(parse_flags(command(
        files, **dict(LENGTHS, max_seq_length=None, stages=given))))


def test_flags_that_contradict_stages_are_refused(files, parse_flags):
  with pytest.raises(ValueError, match="--max_seq_length and --stages set"):
    prepared(parse_flags(command(files, stages="12:0.5,24:0.5")))


@pytest.mark.parametrize("evaluates", [False, True])
def test_tfrecords_have_no_stages(files, parse_flags, tmp_path, evaluates):
  """Whatever the lengths of the records and the stages."""
  path = str(tmp_path / "examples.tfrecord")
  with tf.io.TFRecordWriter(path) as writer:
    writer.write(next(e2e.take_write_2_flow(
        files["train"], files["vocab"], max_seq_length=24,
        max_predictions_per_seq=3)))
  with pytest.raises(ValueError, match="--stages=.* needs raw text"):
    prepared(parse_flags(command(
        files, input_file=path, do_eval=evaluates, **STAGED)))


def test_what_the_run_writes_is_no_input(files, parse_flags, tmp_path):
  """Events are TFRecords."""
  folder = tmp_path / "corpus"
  (folder / "out").mkdir(parents=True)
  (folder / "train.txt").write_text(text(60))
  with tf.io.TFRecordWriter(str(folder / "out" / "events.out.tfevents.1")) as (
      writer):
    writer.write(b"event")
  run = prepared(parse_flags(command(
      dict(files, out=str(folder / "out")), input_file=str(folder), **STAGED)))
  assert run.training.source.files == [str(folder / "train.txt")]


def test_a_strategy_has_to_accept_the_options_of_all_stages(
    files, parse_flags, modules):
  """A strategy without options accepts those of the first stage only, which are
  the defaults."""
  with open(files["config"], "w") as stream:
    json.dump(dict(CONFIG, max_position_embeddings=128), stream)
  name = modules.write("""
      def no_options(lines, tokenizer, rng):
        return []
      """)
  with pytest.raises(ValueError, match="--max_seq_length=24"):
    prepared(parse_flags(command(
        files, strategy=name + ":no_options", **dict(
            STAGED, stages="128:0.5,24:0.5", max_predictions_per_seq=20))))


def test_an_evaluation_alone_needs_no_plan_of_steps(trained, parse_flags):
  """All evaluations are of the last length."""
  run = prepared(parse_flags(command(
      trained, do_train=False, do_eval=True, eval_input_file=trained["eval"],
      **dict(STAGED, num_train_steps=None, num_train_epochs=2))))
  source, = run.eval_sources.values()
  assert source.text.options.instances.max_seq_length == 24


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
  """Trains in two stages, with dropout; returns (paths, what was printed)."""
  files = write_inputs(tmp_path_factory.mktemp("staged"))
  set_dropout(files, 0.2)
  run = run_program(command(
      files, eval_input_file=files["eval"], do_eval=True, eval_every_steps=6,
      **STAGED))
  assert run.returncode == 0, run.stdout
  return files, run.stdout


@pytest.mark.slow
def test_weights_are_those_of_two_runs_by_hand(staged):
  """The second one continues the first one's checkpoint of step 8."""
  files, output = staged
  assert "stage 1 of 2: steps 1 to 8, --max_seq_length=12" in output
  assert "stage 2 of 2: steps 9 to 12, --max_seq_length=24" in output
  by_hand = dict(files, out=files["out"] + "_by_hand")
  options = {name: value for name, value in STAGED.items() if name != "stages"}
  first = run_program(command(by_hand, **dict(options, **FIRST)))
  assert first.returncode == 0, first.stdout
  with open(os.path.join(by_hand["out"], "checkpoint"), "w") as stream:
    stream.write('model_checkpoint_path: "model.ckpt-8"\n'
                 'all_model_checkpoint_paths: "model.ckpt-8"\n')
  second = run_program(command(
      by_hand, accept_new_stream=True, **dict(options, **SECOND)))
  assert second.returncode == 0, second.stdout
  expected, found = (tensors(out, 12) for out in (by_hand["out"], files["out"]))
  assert sorted(found) == sorted(expected)
  assert all(np.array_equal(found[name], expected[name]) for name in expected)
  assert found["examples_seen"] == 8 * 8 + 4 * 4
  # The program was started once, with the flags that were passed.
  with open(os.path.join(files["out"], "runs.jsonl")) as stream:
    record, = map(json.loads, stream)
  assert record["step"] == 0
  assert record["flags"]["max_predictions_per_seq"] == 3
  assert record["flags"]["train_batch_size"] == 8
  # One schedule of the learning rate, from the first step to the last one.
  rates = [re.findall(r"learning_rate ([\d.e-]+)", text)
           for text in (output, first.stdout, second.stdout)]
  assert rates[0] == rates[1][:8] + rates[2] and len(rates[0]) == 12
  # All evaluations are of the last length, and are comparable.
  with open(os.path.join(files["out"], "evaluations.jsonl")) as stream:
    rows = list(map(json.loads, stream))
  assert [row["step"] for row in rows] == [0, 6, 12]
  assert len({row["set"] for row in rows}) == 1


@pytest.mark.slow
def test_killed_in_both_stages_it_ends_with_the_same_weights(staged):
  files, _ = staged
  killed = dict(files, out=files["out"] + "_killed")
  for line in ("step 6/12", "step 10/12"):
    with started(command(killed, **STAGED), line):
      pass  # Killed by SIGKILL at once.
  last = run_program(command(killed, num_workers=1, **STAGED))
  assert last.returncode == 0, last.stdout
  assert "resuming from step 8" in last.stdout
  expected, found = tensors(files["out"], 12), tensors(killed["out"], 12)
  assert all(np.array_equal(found[name], expected[name]) for name in expected)
  # The step at which the run ended is now in a stage of another length.
  refused = run_program(command(killed, **dict(
      STAGED, stages="12:0.5,16:0.5", num_train_steps=24)))
  assert refused.returncode == 1
  assert "--accept_new_stream" in refused.stdout
  assert "According to --stages, step 12 is in stage 2 of 2" in refused.stdout


@pytest.mark.slow
def test_two_workers_begin_each_stage_together(files):
  """With a text that is replayed; the processes start again in between."""
  with open(files["eval"] + "_replayed", "w") as stream:
    stream.write(text(120, 200))
  codes, said = two_workers.train(
      "undisturbed", files, files["out"], watchdog_seconds=100,
      replay_input_file=files["eval"] + "_replayed", replay_proportion=0.25,
      **STAGED)
  assert codes == [0, 0]
  assert said[0] == said[1] and [step for step, _ in said[0]] == ["8", "12"]
  assert tensors(files["out"], 12)["examples_seen"] == 8 * 8 + 4 * 4
  with open(os.path.join(files["out"], "train.1.log")) as stream:
    assert "stage 2 of 2: steps 9 to 12" in stream.read()


@pytest.mark.slow
def test_the_directory_stays_locked_between_two_stages(files, tmp_path):
  script = tmp_path / "script.py"
  script.write_text(textwrap.dedent("""
      import sys
      from absl import app
      import run_pretraining_e2e as e2e
      from bert_e2e.training.run_lock import InUse, RunLock

      def checked(config, prepare=e2e.prepare, **options):
        try:
          RunLock(config.checkpoint.output_dir).check()
          print("it is free")
        except InUse:
          print("it is locked")
        return prepare(config, **options)

      e2e.prepare = checked
      e2e.define_flags()
      app.run(e2e.main)"""))
  run = forked_programs.run([str(script)] + command(files, **STAGED))
  assert run.returncode == 0, run.stdout
  assert re.findall("it is .*", run.stdout) == ["it is free", "it is locked"]
  assert "step 12/12" in run.stdout
  RunLock(files["out"]).check()  # Free again.


@pytest.mark.slow
def test_a_damaged_record_at_the_start_of_a_stage(staged, parse_flags):
  """It is refused by name, unless another stream is accepted."""
  files = dict(staged[0], out=staged[0]["out"] + "_damaged")
  with started(command(files, **STAGED), "step 8/12"):
    pass
  with open(os.path.join(files["out"], "checkpoint"), "w") as stream:
    stream.write('model_checkpoint_path: "model.ckpt-8"\n'
                 'all_model_checkpoint_paths: "model.ckpt-8"\n')
  with open(os.path.join(files["out"], "stream.json"), "w") as stream:
    stream.write("{")
  with pytest.raises(ValueError, match="stream.json.*--accept_new_stream"):
    prepared(parse_flags(command(files, **STAGED)))
  run = prepared(parse_flags(command(files, accept_new_stream=True, **STAGED)))
  assert run.stage.number == 2
  assert run.training.stream_record.first_example == 64


@pytest.mark.slow
def test_epochs_packing_and_early_stopping(files):
  """The steps are those of the plan; early stopping ends all stages."""
  options = dict(STAGED, num_train_steps=None, num_train_epochs=1,
                 pack_sequences=True, warmup_proportion=0.1,
                 num_warmup_steps=None)
  shown = run_program(command(files, preflight_only=True, **options))
  assert shown.returncode == 0, shown.stdout
  run = run_program(command(files, **options))
  assert run.returncode == 0, run.stdout
  found, = re.findall(r"stage 2 of 2: steps (\d+) to (\d+)", run.stdout)[:1]
  assert "step %s/%s" % (found[1], found[1]) in run.stdout
  again = run_program(command(files, **options))
  assert again.returncode == 0 and "nothing to train" in again.stdout
  # Without its plan, the stage of a step is unknown.
  os.remove(os.path.join(files["out"], "training_plan.json"))
  refused = run_program(command(files, **options))
  assert refused.returncode == 1 and "training_plan.json" in refused.stdout
  stopped = run_program(command(
      dict(files, out=files["out"] + "2"), eval_input_file=files["eval"],
      do_eval=True, eval_every_steps=4, early_stopping_patience=1,
      **dict(STAGED, learning_rate=1.0)))
  assert stopped.returncode == 0, stopped.stdout
  assert "step 12/12" not in stopped.stdout
  assert "stage 2 of 2: steps 9 to 12" in stopped.stdout  # Announced.
