"""Runs with evaluations: their table, the best checkpoint, the end of patience.
"""

import contextlib
import dataclasses
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from program import (
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

import modeling
import run_pretraining_e2e as e2e
from bert_e2e.run import Run
from bert_e2e.training import evaluation, input_pipeline

pytestmark = pytest.mark.slow

FIGURES = ("loss", "masked_lm_accuracy", "masked_lm_loss",
           "masked_lm_nats_per_character",
           "next_sentence_accuracy", "next_sentence_loss")
RUN = dict(num_train_steps=10, save_checkpoints_steps=7, eval_every_steps=5,
           max_eval_steps=0, learning_rate=1e-2)


def rows_of(out):
  """Returns the rows of a table, without the times."""
  return [{key: value for key, value in row.items()
           if key not in ("seconds", "time")} for row in evaluation.load(out)]


def domain_rows_of(out):
  """Returns the rows of the domain text."""
  return [row for row in rows_of(out) if row["text"] == "domain"]


def trained(files, out, **changes):
  """Trains with evaluations; returns the paths, with the output directory."""
  files = dict(files, out=files["out"] + "_" + out)
  values = dict(RUN, eval_input_file=files["eval"],
                general_eval_input_file=files["general"], do_eval=True)
  run = run_program(command(files, **dict(values, **changes)))
  assert run.returncode == 0, run.stdout
  assert "Traceback" not in run.stdout
  return dict(files, said=run.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """Writes the input, with dropout and a general text; returns the paths."""
  directory = tmp_path_factory.mktemp("evaluated")
  paths = write_inputs(directory)
  set_dropout(paths, 0.2)
  (directory / "general.txt").write_text(text(7, 500))
  (directory / "probe.tsv").write_text("".join(
      "label%d\tw%d w%d\n" % (i % 2, i, i % 2) for i in range(30)))
  return dict(paths, general=str(directory / "general.txt"),
              probe=str(directory / "probe.tsv"))


def probed(files):
  """Returns the flags of a probe."""
  return dict(probe_train_file=files["probe"], probe_eval_file=files["probe"],
              probe_num_labels=10, probe_draws=2)


@pytest.fixture(scope="module")
def evaluated(files):
  """A run with evaluations, whose checkpoints are all kept."""
  return trained(files, "evaluated", keep_best=True, keep_checkpoint_max=0)


def test_a_run_with_evaluations(files, evaluated):
  run = evaluated
  rows = rows_of(run["out"])
  assert [(row["text"], row["step"]) for row in rows] == [
      (name, step) for step in (0, 5, 10)
      for name in ("domain", "general")]
  assert {row["text"]: row["examples"] for row in rows} == {
      name: sum(1 for _ in e2e.take_write_2_flow(
          [run[key]], run["vocab"], num_epochs=1, **LENGTHS))
      for name, key in (("domain", "eval"), ("general", "general"))}
  domain = domain_rows_of(run["out"])
  best = min(domain, key=lambda row: row["masked_lm_loss"])["step"]
  kept = tf.train.latest_checkpoint(os.path.join(run["out"], "best"))
  assert kept.endswith("best/model.ckpt-%d" % best)
  assert tf.train.load_variable(kept, "global_step") == best
  # The same as an evaluation of a checkpoint alone.
  done = run_program(command(
      dict(files, out=files["out"] + "_alone"), do_train=False, do_eval=True,
      eval_input_file=files["eval"], max_eval_steps=0,
      init_checkpoint=os.path.join(run["out"], "model.ckpt-5")))
  assert done.returncode == 0, done.stdout
  row = next(row for row in domain if row["step"] == 5)
  for name in FIGURES:
    assert "%s = %s" % (name, np.float32(row[name])) in done.stdout
  # The results file has the last evaluation.
  with open(os.path.join(run["out"], "eval_results.txt")) as stream:
    lines = stream.read().splitlines()
  assert lines == ["global_step = 10"] + [
      "%s = %s" % (name, np.float32(domain[-1][name])) for name in FIGURES]
  # TensorBoard has them as well.
  for folder, name in (("eval", "domain"), ("eval_general", "general")):
    events, = tf.io.gfile.glob(os.path.join(run["out"], folder, "events.*"))
    scalars = {(event.step, value.tag): value.simple_value
               for event in tf.train.summary_iterator(events)
               for value in event.summary.value}
    for row in rows:
      if row["text"] == name:
        assert scalars[row["step"], "masked_lm_loss"] == pytest.approx(
            row["masked_lm_loss"])
  # There is a checkpoint for each evaluation, and those of the saver.
  steps = {int(n.split("-")[1].split(".")[0]) for n in os.listdir(run["out"])
           if n.endswith(".index")}
  assert steps == {0, 5, 7, 10}
  assert os.path.exists(os.path.join(run["out"], "report.html"))


def test_evaluations_change_nothing_and_survive_a_kill(files, evaluated):
  without = dict(files, out=files["out"] + "_without")
  run = run_program(command(without, **dict(RUN, eval_every_steps=0)))
  assert run.returncode == 0, run.stdout
  killed = dict(files, out=files["out"] + "_killed")
  arguments = command(killed, **dict(
      RUN, eval_input_file=files["eval"], do_eval=True,
      general_eval_input_file=files["general"]))
  with started(arguments, "evaluation at step 5, domain"):
    pass  # Killed by SIGKILL at once, before or in the next evaluation.
  trained(files, "killed")
  assert rows_of(killed["out"]) == rows_of(evaluated["out"])
  expected = tensors(without["out"], 10)
  for out in (evaluated["out"], killed["out"]):
    found = tensors(out, 10)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
      np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_run_that_gets_worse_ends(files, evaluated, parse_flags, caplog):
  """At once: what it starts from was trained before."""
  worse = dict(init_checkpoint=evaluated["out"] + "/model.ckpt-10",
               general_eval_input_file=None,
               num_train_steps=50, num_warmup_steps=0, learning_rate=1.0,
               early_stopping_patience=2, keep_best=True)
  run = trained(files, "worse", **worse)
  assert [row["step"] for row in rows_of(run["out"])] == [0, 5, 10]
  assert ("no improvement in 2 consecutive evaluations: training ends; the "
          "best is at step 0") in run["said"]
  with open(run["out"] + "/eval_results.txt") as stream:
    assert "global_step = 10" in stream.read()
  assert os.path.exists(run["out"] + "/best/model.ckpt-0.index")
  assert tf.train.latest_checkpoint(run["out"]).endswith("-10")
  values = dict(RUN, eval_input_file=files["eval"], do_eval=True)
  again = Run(prepared(parse_flags(command(run, **dict(values, **worse)))))
  with contextlib.ExitStack() as stack:
    step = again._begin(stack)
  assert again._is_done(step)
  assert "nothing to train: the last --early_stopping_patience=2" in caplog.text
  more = trained(files, "worse", **dict(worse, early_stopping_patience=3))
  assert "training from step 10 to 50" in more["said"]
  assert rows_of(more["out"])[-1]["step"] == 15


MIRRORED = dict(distribution_strategy="mirrored", devices="cpu:0,cpu:1")


@pytest.fixture(scope="module")
def mirrored(files):
  """A run on two devices with evaluations and a probe."""
  return trained(files, "mirrored", general_eval_input_file=None,
                 **MIRRORED, **probed(files))


def test_several_devices_train_while_one_evaluates(evaluated, mirrored):
  rows = [row for row in rows_of(mirrored["out"]) if row["text"] != "probe"]
  assert len(rows) == 3
  assert [row["step"] for row in rows_of(mirrored["out"])
          if row["text"] == "probe"] == [0, 5, 10]
  for mine, theirs in zip(rows, domain_rows_of(evaluated["out"])):
    assert mine["step"] == theirs["step"] and mine["set"] == theirs["set"]
    # Dropout and initial weights differ.
    assert mine["masked_lm_loss"] == pytest.approx(
        theirs["masked_lm_loss"], abs=0.5)
  assert os.path.exists(os.path.join(mirrored["out"], "eval_results.txt"))


def test_several_devices_resume_where_they_were_killed(files, mirrored):
  """Bitwise, with dropout, and without evaluations."""
  killed = dict(files, out=files["out"] + "_mirrored_killed")
  arguments = command(killed, log_every_steps=1, **dict(
      RUN, eval_every_steps=0, save_checkpoints_steps=5, **MIRRORED))
  with started(arguments, "step 6/10"):
    pass  # Killed by SIGKILL at once.
  last = run_program(arguments)
  assert last.returncode == 0, last.stdout
  assert "resuming from step 5" in last.stdout
  expected, found = tensors(mirrored["out"], 10), tensors(killed["out"], 10)
  assert sorted(found) == sorted(expected)
  for name, value in expected.items():
    np.testing.assert_array_equal(found[name], value, err_msg=name)


def write_records(path, examples):
  """Writes a TFRecord file; returns its path."""
  with tf.io.TFRecordWriter(str(path)) as writer:
    for example in examples:
      writer.write(example)
  return str(path)


@pytest.fixture(scope="module")
def examples(files):
  """Returns the examples of the evaluation text."""
  return list(e2e.take_write_2_flow(
      [files["eval"]], files["vocab"], num_epochs=1, **LENGTHS))


def test_tfrecords_are_evaluated_once_and_whole(
    files, examples, evaluated, tmp_path):
  records = write_records(tmp_path / "eval.tfrecord", examples)
  run = trained(
      dict(files, eval=records), "records", do_train=False, eval_every_steps=0,
      general_eval_input_file=None, eval_batch_size=7,
      init_checkpoint=evaluated["out"] + "/model.ckpt-5")
  mine, = rows_of(run["out"])
  theirs, = [row for row in domain_rows_of(evaluated["out"])
             if row["step"] == 5]
  # The mean of the losses of batches depends on their size.
  for name in FIGURES[1:]:
    assert mine[name] == pytest.approx(theirs[name], rel=1e-5), name
  assert mine["examples"] >= len(examples) > mine["examples"] - 7


def test_fixed_batches_are_filled_up_with_padding(
    files, examples, evaluated, tmp_path):
  """As a TPU requires; padding has no weight in any metric."""
  examples = examples[:10]
  records = write_records(tmp_path / "eval.tfrecord", examples)
  with open(files["config"]) as stream:
    bert_config = modeling.BertConfig.from_dict(json.load(stream))
  model_fn = e2e.model_fn_builder(
      bert_config, None, 1e-3, 10, 0, use_tpu=False,
      use_one_hot_embeddings=False,
      characters=list(range(bert_config.vocab_size)))

  def evaluate(batch_size, fixed, steps, flow=None):
    estimator = tf.estimator.tpu.TPUEstimator(
        model_fn, config=tf.estimator.tpu.RunConfig(
            model_dir=str(tmp_path / "out")),
        use_tpu=False, train_batch_size=8, eval_batch_size=batch_size)
    return estimator.evaluate(
        input_pipeline.input_fn_builder(
            [records], 16, 3, is_training=False, flow=flow,
            fixed_batches=fixed, whole=True), steps=steps,
        checkpoint_path=evaluated["out"] + "/model.ckpt-10")

  expected = evaluate(10, False, None)
  for flow in (e2e.Flow(lambda start, shard: _Reading(examples)), None):
    found = evaluate(4, True, 3, flow)
    for name in FIGURES[1:]:
      assert found[name] == pytest.approx(expected[name], rel=1e-5), name


class _Reading:
  """Examples with what a Flow does to a reading."""

  shared = frozenset()

  def __init__(self, examples):
    self._left = iter(examples)

  def __iter__(self):
    return self

  def __next__(self):
    return next(self._left)

  def stop(self):
    pass

  def close(self):
    pass


def test_a_training_in_parts_evaluates_between_them(
    files, evaluated, parse_flags, monkeypatch):
  """As on a TPU, simulated by the CPU."""
  run = evaluated
  parts = dict(files, out=files["out"] + "_parts")
  made = Run(prepared(parse_flags(command(parts, **dict(
      RUN, eval_input_file=files["eval"], do_eval=True,
      general_eval_input_file=files["general"])))))
  build = made._build

  def build_and_change(model_fn, is_training):
    build(model_fn, is_training)
    config = made._loop._config
    made._loop._config = dataclasses.replace(
        config, hardware=dataclasses.replace(config.hardware, use_tpu=True))
    made._evaluator._use_tpu = True

  monkeypatch.setattr(made, "_build", build_and_change)
  made.run()
  assert not made._stop._callbacks
  found, expected = rows_of(parts["out"]), rows_of(run["out"])
  assert sorted((row["step"], row["text"]) for row in found) == [
      (row["step"], row["text"]) for row in expected]
  for row in expected:
    other, = [r for r in found if (r["step"], r["text"]) == (
        row["step"], row["text"])]
    for name in FIGURES[1:]:  # Padding changes the mean over batches.
      assert other[name] == pytest.approx(row[name], rel=1e-4), name
  found_tensors = tensors(parts["out"], 10)
  for name, value in tensors(run["out"], 10).items():
    np.testing.assert_array_equal(found_tensors[name], value, err_msg=name)
