"""Heads first: newly initialized weights are trained alone, then all."""

import os
import signal

import numpy as np
import pytest
from hugging_face_models import HEADS, config_of, random_tensors, write_folder
from program import (
  command,
  run_program,
  started,
  tensors,
  write_inputs,
)
from two_workers import train as train_by_two

import modeling
from bert_e2e.config import AUTO
from bert_e2e.data import resume
from bert_e2e.training import heads_first
from bert_e2e.training.heads_first import HeadPlan

NUM_HEAD_STEPS, LAST_STEP = 4, 10
RUN = dict(num_head_steps=NUM_HEAD_STEPS, num_train_steps=LAST_STEP,
           num_warmup_steps=3, head_learning_rate=1e-2, learning_rate=1e-3,
           save_checkpoints_steps=2, keep_checkpoint_max=0, log_every_steps=1,
           bert_config_file=None)
ONE_LAYER = {"num_hidden_layers": 1}
TRANSFORM = "cls/predictions/transform/dense/kernel"


# --------------------------------------------------------------------- the plan


@pytest.mark.parametrize("requested, missing, num_train_steps, expected", [
    (AUTO, HEADS, 100000, 100), (AUTO, HEADS, 400, 20), (AUTO, HEADS, 10, 0),
    # Only the next-sentence head is new: no reason to hold the encoder back.
    (AUTO, ["cls/seq_relationship/output_bias"], 1000, 0),
    (AUTO, [], 1000, 0), (0, HEADS, 1000, 0), (7, HEADS, 8, 7),
    (7, ["cls/seq_relationship/output_bias"], 1000, 7), (7, [], 1000, 0),
])
def test_the_plan_of_a_new_run(requested, missing, num_train_steps, expected):
  plan = heads_first.find(None, requested, missing, num_train_steps)
  assert plan == HeadPlan(expected, sorted(missing) if expected else [])


def test_no_step_is_left_for_the_encoder():
  with pytest.raises(ValueError, match="--num_head_steps=8 leaves none of the "
                     "8 training steps"):
    heads_first.find(None, 8, HEADS, 8)


def test_a_run_keeps_its_plan(tmp_path):
  plan = HeadPlan(5, ["a", "b"])
  plan.save(str(tmp_path))
  for requested in (AUTO, 5):
    # Whatever is missing now, and however many steps there are.
    assert heads_first.find(str(tmp_path), requested, [], 6) == plan
  with pytest.raises(ValueError, match="--num_head_steps=6, but .* with 5"):
    heads_first.find(str(tmp_path), 6, ["a", "b"], 100)
  # One of an earlier version has none.
  (tmp_path / "old").mkdir()
  assert heads_first.find(str(tmp_path / "old"), AUTO, HEADS, 1000) == (
      HeadPlan())
  HeadPlan().save(str(tmp_path / "old"))
  assert os.listdir(str(tmp_path / "old")) == []


def test_a_run_without_head_steps_stays_one(tmp_path, caplog):
  assert heads_first.find(str(tmp_path), 0, HEADS, 100) == HeadPlan()
  assert not caplog.records
  assert heads_first.find(str(tmp_path), 5, HEADS, 100) == HeadPlan()
  assert "was started without" in caplog.text


def test_a_start_replaces_the_plan_of_one_without_a_checkpoint(tmp_path):
  out = str(tmp_path)
  for plan in (HeadPlan(5, ["a"]), HeadPlan()):
    plan.save(out)
    assert heads_first.find(out, AUTO, ["a"], 100) == plan


# -------------------------------------------------------------------- trainings


@pytest.fixture(scope="module", name="files")
def fixture_files(tmp_path_factory):
  """Writes the inputs and a model without heads; returns paths."""
  directory = tmp_path_factory.mktemp("heads_first")
  tensors_of_one = random_tensors(num_layers=1)
  kept = {name[len("bert."):]: value for name, value in tensors_of_one.items()
          if name.startswith("bert.") and "pooler" not in name}
  return dict(write_inputs(directory), model=write_folder(
      directory / "headless", kept, architectures=["BertModel"], **ONE_LAYER))


def arguments_of(files, name, **changes):
  return command(dict(files, out=files["out"] + "_" + name),
                 **dict(RUN, init_checkpoint=files["model"], **changes))


def trained(files, name, **changes):
  """Trains; returns the output directory and what the program printed."""
  run = run_program(arguments_of(files, name, **changes))
  assert run.returncode == 0, run.stdout
  return files["out"] + "_" + name, run.stdout


@pytest.fixture(scope="module", name="undisturbed")
def fixture_undisturbed(files):
  return trained(files, "undisturbed")


@pytest.mark.slow
def test_the_encoder_moves_after_the_heads(undisturbed):
  out, said = undisturbed
  assert "steps 1 to 4 update newly initialized weights only" in said
  encoder = [name for name in modeling.variable_shapes(config_of(**ONE_LAYER))
             if name not in HEADS]
  start, end = tensors(out, 0), tensors(out, LAST_STEP)
  for step in (2, NUM_HEAD_STEPS):
    found = tensors(out, step)
    assert found["global_step"] == step and found["examples_seen"] == 8 * step
    for name in encoder:
      np.testing.assert_array_equal(found[name], start[name], err_msg=name)
      for slot in ("/adam_m", "/adam_v"):
        assert not found[name + slot].any(), name
    for name in HEADS:
      assert (found[name] != start[name]).any(), name
      assert found[name + "/adam_v"].any(), name
  assert sorted(found) == sorted(end)
  # A key's bias adds the same to all scores of a position: no gradient.
  for name in set(encoder) - {name for name in encoder if "key/bias" in name}:
    assert (end[name] != start[name]).any(), name
    assert end[name + "/adam_v"].any(), name


@pytest.mark.slow
def test_two_schedules_follow_each_other(undisturbed):
  _, said = undisturbed
  rates = [float(line.split("learning_rate ")[1].split()[0])
           for line in said.splitlines() if line.startswith("step ")]
  # From 1e-2 to 0 in 4 steps, a warm-up of 3 steps, the decay of 6 steps.
  expected = [1e-2 * (1 - n / 4) for n in range(4)] + [
      0, 1e-3 / 3, 2e-3 / 3] + [1e-3 * (1 - n / 6) for n in (3, 4, 5)]
  assert rates == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_killed_in_both_parts_the_weights_are_those_of_an_undisturbed_run(
    files, undisturbed):
  arguments = arguments_of(files, "killed")
  for line, number in (("step 3/10", signal.SIGTERM),
                       ("step 5/10", signal.SIGKILL)):
    with started(arguments, line) as program:
      program.send_signal(number)
      program.communicate()
  out, _ = trained(files, "killed")
  expected, found = tensors(undisturbed[0], LAST_STEP), tensors(out, LAST_STEP)
  assert sorted(found) == sorted(expected)
  for name, value in expected.items():
    np.testing.assert_array_equal(found[name], value, err_msg=name)


def check_head_steps(out, undisturbed, tolerance):
  """The encoder is the start's, the heads are those of a single device."""
  start, expected = (
      tensors(undisturbed, step) for step in (0, NUM_HEAD_STEPS))
  found = tensors(out, NUM_HEAD_STEPS)
  for name in modeling.variable_shapes(config_of(**ONE_LAYER)):
    if name in HEADS:
      assert (found[name] != start[name]).any(), name
      np.testing.assert_allclose(
          found[name], expected[name], rtol=0, atol=tolerance, err_msg=name)
    else:
      np.testing.assert_array_equal(found[name], start[name], err_msg=name)
  last = tensors(out, LAST_STEP)
  assert last["examples_seen"] == 8 * LAST_STEP
  assert (last[TRANSFORM] != found[TRANSFORM]).any()


@pytest.mark.slow
def test_on_several_devices(files, undisturbed):
  out, _ = trained(files, "mirrored", distribution_strategy="mirrored",
                   devices="cpu:0,cpu:1", save_checkpoints_steps=LAST_STEP)
  check_head_steps(out, undisturbed[0], 1e-4)


@pytest.mark.slow
def test_on_two_workers_of_slurm(files, undisturbed):
  out = files["out"] + "_two"
  codes, said = train_by_two("slurm", files, out, cluster="slurm", **dict(
      RUN, init_checkpoint=files["model"], save_checkpoints_steps=LAST_STEP))
  assert codes == [0, 0] and said[0] == said[1]
  # Neither has lost the other, but both have started again.
  assert [step for step, _ in said[0]] == [str(NUM_HEAD_STEPS), str(LAST_STEP)]
  for log in ("train.log", "train.1.log"):
    with open(os.path.join(out, log)) as stream:
      content = stream.read()
    assert "no step completed" not in content
    assert content.count("training from step") == 2
  assert said[0][-1][0] == str(LAST_STEP)
  assert resume.load(out).options["num_hosts"] == 2
  # They read other examples than one host.
  check_head_steps(out, undisturbed[0], 1.0)
