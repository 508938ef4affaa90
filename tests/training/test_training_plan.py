"""How long a run trains, and at which rates: epochs, warm-up, decay."""

import logging
import os

import pytest
from program import command, epoch_of, prepared, run_program, write_inputs

from bert_e2e import startup_log
from bert_e2e.run import Run
from bert_e2e.training import training_plan


def test_steps_are_those_of_the_epochs():
  plan = training_plan.make(1.5, 1000, 32)
  assert plan.num_train_steps == 47
  assert str(plan) == "1.5 epochs of about 1000 examples = 47 steps of 32"
  assert training_plan.make(0.001, 10, 32).num_train_steps == 1


def test_a_plan_is_kept(tmp_path):
  folder = str(tmp_path)
  assert training_plan.load(folder) is None
  plan = training_plan.find(folder, 2.0, 8, lambda: 100)
  plan.save(folder)
  # Neither a better estimate nor another batch size changes the steps.
  assert training_plan.find(folder, 2.0, 4, lambda: 999) == plan
  with pytest.raises(ValueError) as caught:
    training_plan.find(folder, 3.0, 8, lambda: 100)
  for said in ("--num_train_epochs=3,", "2 epochs of about 100 examples",
               "--num_train_epochs=2,", "--num_train_steps"):
    assert said in str(caught.value)
  (tmp_path / training_plan.PLAN_FILE).write_text('{"num_train')
  with pytest.raises(ValueError, match="damaged.*--num_train_steps"):
    training_plan.find(folder, 2.0, 8, lambda: 100)


EPOCHS = dict(num_train_epochs=1.5, num_train_steps=None)


@pytest.fixture(scope="module")
def files_of_epochs(tmp_path_factory):
  """Trains for some epochs; returns the paths, and the output as `said`."""
  files = write_inputs(tmp_path_factory.mktemp("epochs"))
  run = run_program(command(files, log_every_steps=7, **EPOCHS))
  assert run.returncode == 0, run.stdout
  return dict(files, said=run.stdout)


def test_the_program_trains_for_its_epochs_and_resumes(
    files_of_epochs, parse_flags):
  files = files_of_epochs
  examples = epoch_of(files)  # A small corpus is estimated as a whole.
  plan = training_plan.load(files["out"])
  assert abs(plan.epoch_examples - examples) <= 0.05 * examples
  assert "training for " + str(plan) in files["said"]
  last = [line for line in files["said"].splitlines()
          if line.startswith("step %d/" % plan.num_train_steps)]
  assert len(last) == 1
  epoch = float(last[0].split("  epoch ")[1].split()[0])
  assert abs(epoch - 1.5) < 0.2
  with open(os.path.join(files["out"], training_plan.PLAN_FILE)) as stream:
    kept = stream.read()
  again = run_program(command(files, **EPOCHS))
  assert "nothing to train: %d steps" % plan.num_train_steps in again.stdout
  with open(os.path.join(files["out"], training_plan.PLAN_FILE)) as stream:
    assert stream.read() == kept
  with pytest.raises(ValueError, match="--num_train_epochs=2"):
    prepared(parse_flags(command(
        files, num_train_epochs=2, num_train_steps=None)))


def test_a_start_that_saved_nothing_is_planned_anew(files, parse_flags):
  changes = dict(num_train_epochs=2, num_train_steps=None)
  run = prepared(parse_flags(command(files, **changes)))
  os.makedirs(files["out"])
  Run(run)._write_records(None)
  assert training_plan.load(files["out"]) == run.training.epoch_plan
  changes = dict(num_train_epochs=3, num_train_steps=None, train_batch_size=4)
  run = prepared(parse_flags(command(files, **changes)))
  assert run.training.epoch_plan == training_plan.make(
      3, run.training.preflight.examples_per_epoch, 4)
  Run(run)._write_records(None)
  assert training_plan.load(files["out"]) == run.training.epoch_plan


def test_what_makes_a_plans_epochs_others_is_warned_of(
    files_of_epochs, parse_flags, caplog):
  run = prepared(parse_flags(command(
      files_of_epochs, train_batch_size=4, random_seed=1,
      accept_new_stream=True, **EPOCHS)))
  assert run.training.epoch_plan.train_batch_size == 8
  startup_log.log_start(run, step=1, is_done=False)
  assert ("--train_batch_size was 8 and is 4; the example stream has changed"
          ) in caplog.text


def test_a_warm_up_is_a_share_of_the_steps(files, parse_flags, caplog):
  run = prepared(parse_flags(command(
      files, num_train_steps=50, num_warmup_steps=None, warmup_proportion=0.1,
      learning_rate_decay="cosine")))
  with caplog.at_level(logging.INFO):
    startup_log.log_start(run, step=None, is_done=False)
  assert ("learning rate: rises from 0 to 0.001 in 5 steps, then decays along "
          "a half cosine from 0.001 to 0 at step 50") in caplog.text
  assert not any(r.levelno > logging.INFO and "warm-up" in r.getMessage()
                 for r in caplog.records)


def test_a_warm_up_that_never_ends_is_warned_of(files, parse_flags, caplog):
  """The original's default of 10000 steps makes that easy."""
  run = prepared(parse_flags(command(
      files, num_train_steps=101, num_warmup_steps=None)))
  startup_log.log_start(run, step=None, is_done=False)
  startup_log.log_preflight(run.training.preflight)
  assert caplog.text.count(
      "The warm-up of 10000 steps is no shorter than the training of 101, so "
      "the learning rate never reaches its peak: pass "
      "--warmup_proportion=0.1.") == 1


@pytest.mark.slow
def test_the_program_follows_the_schedule(files):
  run = run_program(command(
      files, num_train_steps=6, num_warmup_steps=None, warmup_proportion=0.5,
      learning_rate_decay="constant", log_every_steps=1))
  assert run.returncode == 0, run.stdout
  told = [float(line.split("learning_rate ")[1].split()[0])
          for line in run.stdout.splitlines() if line.startswith("step ")]
  assert told == pytest.approx([0, 1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3, 1e-3],
                               rel=1e-3)


def test_epochs_are_refused_in_one_sentence(files, parse_flags):
  for changes, said in (
      (dict(num_train_epochs=2, num_train_steps=9), "pass only one of them"),
      (dict(num_train_epochs=0, num_train_steps=None),
       "it must be greater than 0"),
      (dict(warmup_proportion=0.1), "pass only one of them"),
      (dict(warmup_proportion=1.5, num_warmup_steps=None), "out of range")):
    with pytest.raises(ValueError, match=said):
      prepared(parse_flags(command(files, **changes)))
