"""Evaluation while a model trains: the table, the best, the end of patience."""

import dataclasses
import json
import os
import re
import signal

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from program import (
  CONFIG,
  LENGTHS,
  command,
  prepared,
  run_program,
  started,
  tensors,
  text,
)
from two_workers import train as train_by_two

import modeling
import run_pretraining_e2e as e2e
from bert_e2e.run import Run
from bert_e2e.training import evaluation, input_pipeline

FIGURES = ("loss", "masked_lm_accuracy", "masked_lm_loss",
           "next_sentence_accuracy", "next_sentence_loss")


def evaluation_set(text_name, losses, asked=None):
  """Returns an EvaluationSet with given masked-LM losses, a dict by step."""

  def evaluate(checkpoint):
    step = int(checkpoint.rpartition("-")[2])
    if asked is not None:
      asked.append((text_name, step))
    return dict({name: 0.5 for name in FIGURES}, masked_lm_loss=losses[step],
                global_step=step, examples=3)

  return evaluation.EvaluationSet(text_name, "id of " + text_name, evaluate)


def save(folder, step):
  """Writes files named like a checkpoint's; returns their path prefix."""
  prefix = os.path.join(str(folder), "model.ckpt-%d" % step)
  for end in (".index", ".data-00000-of-00001"):
    with open(prefix + end, "w") as stream:
      stream.write("of step %d" % step)
  return prefix


def rows_of(out):
  """Returns the rows of a table, without the times."""
  return [{key: value for key, value in row.items()
           if key not in ("seconds", "time")} for row in evaluation.load(out)]


# -------------------------------------------------------------------- the table


class TestEvaluations:

  def run(self, folder, losses, steps=None, asked=None, **how):
    how = dict(dict(every_steps=10, last_step=100, is_before=True), **how)
    found = evaluation.Evaluations(
        str(folder), [evaluation_set(text_name, losses, asked)
                      for text_name in ("domain", "general")], **how)
    ended = [step for step in (losses if steps is None else steps)
             if found.run(step, save(folder, step))]
    return found, ended

  def test_what_is_due(self, tmp_path):
    def due(found):
      return [step for step in range(101) if found.is_due(step)]

    every_ten = list(range(0, 100, 10))  # The last follows the training.
    found, _ = self.run(tmp_path, {})
    assert due(found) == every_ten
    found.start(7)  # A run that was not evaluated before.
    assert due(found) == [0, 7] + every_ten[1:]
    found, _ = self.run(tmp_path, {0: 1.0})
    found.start(7)
    assert due(found) == every_ten
    assert list(found.targets()) == list(range(10, 101, 10))
    found, _ = self.run(tmp_path, {}, every_steps=0)
    assert due(found) == [0]
    assert list(found.targets()) == [100]
    found, _ = self.run(tmp_path, {}, every_steps=0, is_before=False)
    assert due(found) == []

  def test_rows_are_kept_and_not_computed_twice(self, tmp_path):
    asked = []
    self.run(tmp_path, {0: 3.0, 10: 2.0}, asked=asked)
    assert asked == [("domain", 0), ("general", 0),
                     ("domain", 10), ("general", 10)]
    again, _ = self.run(tmp_path, {0: 9.0, 10: 9.0}, asked=asked)
    assert len(asked) == 4
    assert [row["masked_lm_loss"] for row in again.rows("general")] == [3, 2]
    with open(str(tmp_path / evaluation.TABLE_FILE)) as stream:
      rows = [json.loads(line) for line in stream]
    assert [(row["text"], row["step"], row["examples"]) for row in rows] == [
        ("domain", 0, 3), ("general", 0, 3), ("domain", 10, 3),
        ("general", 10, 3)]

  def test_anew_replaces_a_row(self, tmp_path):
    found, _ = self.run(tmp_path, {0: 3.0})
    found, _ = self.run(tmp_path, {0: 2.0}, steps=[])
    assert not found.run(0, save(tmp_path, 0), anew=True)
    for rows in (found.rows("domain"), evaluation.Evaluations(
        str(tmp_path), [evaluation_set("domain", {})]).rows("domain")):
      assert [row["masked_lm_loss"] for row in rows] == [2.0]

  def test_an_incomplete_row_is_ignored(self, tmp_path):
    self.run(tmp_path, {0: 3.0, 10: 2.0})
    path = tmp_path / evaluation.TABLE_FILE
    path.write_bytes(path.read_bytes()[:-20])
    asked = []
    found, _ = self.run(tmp_path, {10: 2.5}, steps=[], asked=asked)
    found.start(10)
    found.run(10, save(tmp_path, 10))
    assert asked == [("general", 10)]
    assert len(path.read_text().splitlines()) == 4
    assert all(map(json.loads, path.read_text().splitlines()))

  def test_rows_of_lost_steps_are_removed(self, tmp_path):
    found, _ = self.run(tmp_path, {0: 3.0, 10: 2.0, 20: 1.0})
    found.start(15)
    assert [row["step"] for row in evaluation.load(str(tmp_path))] == [
        0, 0, 10, 10]
    found.start(None)
    assert evaluation.load(str(tmp_path)) == []

  def test_only_the_same_text_is_compared(self, tmp_path):
    self.run(tmp_path, {0: 1.0})
    other = evaluation_set("domain", {0: 2.0})._replace(identity="another")
    found = evaluation.Evaluations(str(tmp_path), [other])
    assert found.rows("domain") == []
    found.run(0, save(tmp_path, 0))
    assert found.best()["masked_lm_loss"] == 2.0

  def test_patience(self, tmp_path):
    losses = {0: 3.0, 10: 2.0, 20: 2.5, 30: 1.0, 40: 1.0, 50: 9.0, 60: 8.0}
    found, ended = self.run(tmp_path, losses, patience=3)
    assert ended == [60]  # As good as before is not better.
    assert found.best()["step"] == 30
    for patience, is_over in ((0, False), (3, True), (4, False)):
      again, _ = self.run(tmp_path, losses, steps=[], patience=patience)
      assert again.is_exhausted() is is_over

  def test_nan_is_never_the_best(self, tmp_path):
    losses = {0: float("nan"), 10: 5.0, 20: float("nan")}
    found, ended = self.run(tmp_path, losses, patience=1)
    assert found.best()["step"] == 10
    assert ended == [0, 20]

  def test_the_best_checkpoint_is_kept(self, tmp_path):
    self.run(tmp_path, {0: 3.0, 10: 1.0, 20: 2.0}, keep_best=True)
    best = str(tmp_path / evaluation.BEST_DIR)
    assert tf.train.latest_checkpoint(best) == os.path.join(
        best, "model.ckpt-10")
    assert sorted(os.listdir(best)) == [
        "checkpoint", "model.ckpt-10.data-00000-of-00001",
        "model.ckpt-10.index"]
    with open(os.path.join(best, "model.ckpt-10.index")) as stream:
      assert stream.read() == "of step 10"


# ------------------------------------------------------------------ the program


RUN = dict(num_train_steps=20, save_checkpoints_steps=7, eval_every_steps=5,
           max_eval_steps=0, learning_rate=1e-2)


def trained(files, out, **changes):
  """Trains with evaluations; returns the paths, with the output directory."""
  files = dict(files, out=files["out"] + "_" + out)
  run = run_program(command(files, **dict(
      RUN, eval_input_file=files["eval"],
      general_eval_input_file=files["general"], do_eval=True, **changes)))
  assert run.returncode == 0, run.stdout
  assert "Traceback" not in run.stdout
  return dict(files, said=run.stdout)


@pytest.fixture
def files(files, tmp_path, dropout_config):
  (tmp_path / "general.txt").write_text(text(7, 500))
  return dict(files, general=str(tmp_path / "general.txt"))


@pytest.mark.slow
def test_a_run_with_evaluations(files):
  run = trained(files, "run", keep_best=True, keep_checkpoint_max=0)
  rows = rows_of(run["out"])
  assert [(row["text"], row["step"]) for row in rows] == [
      (name, step) for step in range(0, 21, 5)
      for name in ("domain", "general")]
  assert {row["text"]: row["examples"] for row in rows} == {
      name: sum(1 for _ in e2e.take_write_2_flow(
          [run[key]], run["vocab"], num_epochs=1, **LENGTHS))
      for name, key in (("domain", "eval"), ("general", "general"))}
  domain = [row for row in rows if row["text"] == "domain"]
  best = min(domain, key=lambda row: row["masked_lm_loss"])["step"]
  kept = tf.train.latest_checkpoint(os.path.join(run["out"], "best"))
  assert kept.endswith("best/model.ckpt-%d" % best)
  assert tf.train.load_variable(kept, "global_step") == best
  # The same as an evaluation of the checkpoint alone.
  for step in (5, 20):
    alone = dict(files, out=files["out"] + "_alone%d" % step)
    done = run_program(command(
        alone, do_train=False, do_eval=True, eval_input_file=files["eval"],
        max_eval_steps=0, init_checkpoint=os.path.join(
            run["out"], "model.ckpt-%d" % step)))
    assert done.returncode == 0, done.stdout
    row = next(row for row in domain if row["step"] == step)
    for name in FIGURES:
      assert "%s = %s" % (name, np.float32(row[name])) in done.stdout
  # The results file has the last evaluation.
  with open(os.path.join(run["out"], "eval_results.txt")) as stream:
    lines = stream.read().splitlines()
  assert lines == ["global_step = 20"] + [
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
  assert steps == {0, 5, 7, 10, 14, 15, 20}
  assert os.path.exists(os.path.join(run["out"], "report.html"))


@pytest.mark.slow
def test_evaluations_change_nothing_and_survive_kills(files):
  with_it = trained(files, "with")
  without = dict(files, out=files["out"] + "_without")
  run = run_program(command(without, **dict(RUN, eval_every_steps=0)))
  assert run.returncode == 0, run.stdout
  killed = dict(files, out=files["out"] + "_killed")
  arguments = command(killed, **dict(
      RUN, eval_input_file=files["eval"], do_eval=True, log_every_steps=1,
      general_eval_input_file=files["general"]))
  # During an evaluation, and between two.
  for line, number in (("evaluation at step 5, domain", signal.SIGKILL),
                       ("step 12/20", signal.SIGKILL),
                       ("step 17/20", signal.SIGTERM)):
    with started(arguments, line) as program:
      program.send_signal(number)
      said = program.communicate()[0]
      assert "Traceback" not in said, said
  trained(files, "killed")
  assert rows_of(killed["out"]) == rows_of(with_it["out"])
  expected = tensors(without["out"], 20)
  for out in (with_it["out"], killed["out"]):
    found = tensors(out, 20)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
      np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_a_run_that_gets_worse_ends(files):
  """At once: what it starts from was trained before."""
  start = trained(files, "start", num_train_steps=60, eval_every_steps=60)
  worse = dict(init_checkpoint=start["out"] + "/model.ckpt-60",
               num_train_steps=50, num_warmup_steps=0, learning_rate=1.0,
               early_stopping_patience=2, keep_best=True)
  run = trained(files, "worse", **worse)
  steps = [row["step"] for row in rows_of(run["out"])
           if row["text"] == "domain"]
  assert steps == [0, 5, 10]
  assert ("no improvement in 2 consecutive evaluations: training ends; the "
          "best is at step 0") in run["said"]
  with open(run["out"] + "/eval_results.txt") as stream:
    assert "global_step = 10" in stream.read()
  assert os.path.exists(run["out"] + "/best/model.ckpt-0.index")
  assert tf.train.latest_checkpoint(run["out"]).endswith("-10")
  again = trained(files, "worse", **worse)
  assert "nothing to train: the last --early_stopping_patience=2" in (
      again["said"])
  assert "step 11/50" not in again["said"]
  more = trained(files, "worse", **dict(worse, early_stopping_patience=3))
  assert "training from step 10 to 50" in more["said"]
  assert rows_of(more["out"])[-1]["step"] == 15


@pytest.mark.slow
def test_several_devices_train_while_one_evaluates(files):
  alone = trained(files, "alone")
  both = trained(files, "both", distribution_strategy="mirrored",
                 devices="cpu:0,cpu:1")
  for mine, theirs in zip(rows_of(both["out"]), rows_of(alone["out"])):
    assert mine["step"] == theirs["step"] and mine["set"] == theirs["set"]
    # Dropout and initial weights differ.
    assert mine["masked_lm_loss"] == pytest.approx(
        theirs["masked_lm_loss"], abs=0.5)


@pytest.mark.slow
def test_several_machines_evaluate_and_end_together(files):
  out = files["out"] + "_two"
  codes, said = train_by_two(
      "undisturbed", files, out, num_train_steps=50, num_warmup_steps=0,
      learning_rate=1.0, eval_every_steps=5, early_stopping_patience=2,
      eval_input_file=files["eval"], do_eval=True)
  assert codes == [0, 0]
  assert said[0][-1] == said[1][-1]
  last = int(said[0][-1][0])
  steps = [row["step"] for row in rows_of(out)]
  # The workers agree to stop one step after the evaluation.
  assert steps[-2:] == [last - 1, last] and last < 50


@pytest.mark.slow
def test_tfrecords_are_evaluated_once_and_whole(files, tmp_path):
  examples = list(e2e.take_write_2_flow(
      [files["eval"]], files["vocab"], num_epochs=1, **LENGTHS))
  path = str(tmp_path / "eval.tfrecord")
  with tf.io.TFRecordWriter(path) as writer:
    for example in examples:
      writer.write(example)
  run = trained(dict(files, eval=path), "records", num_train_steps=5,
                eval_batch_size=7)
  text_run = trained(files, "text", num_train_steps=5, eval_batch_size=len(
      examples))
  for mine, theirs in zip(rows_of(run["out"]), rows_of(text_run["out"])):
    # The mean of the losses of batches depends on their size.
    for name in FIGURES[1:]:
      assert mine[name] == pytest.approx(theirs[name], rel=1e-5), name
    if mine["text"] == "domain":
      assert mine["examples"] >= len(examples) > mine["examples"] - 7


@pytest.mark.slow
@pytest.mark.parametrize("is_flow", [True, False])
def test_fixed_batches_are_filled_up_with_padding(files, tmp_path, is_flow):
  """As a TPU requires; padding has no weight in any metric."""
  examples = list(e2e.take_write_2_flow(
      [files["eval"]], files["vocab"], num_epochs=1, **LENGTHS))[:10]
  path = str(tmp_path / "eval.tfrecord")
  with tf.io.TFRecordWriter(path) as writer:
    for example in examples:
      writer.write(example)
  flow = e2e.Flow(lambda start, shard: _Reading(examples)) if is_flow else None

  def evaluate(batch_size, fixed, steps):
    model_fn = e2e.model_fn_builder(
        modeling.BertConfig.from_dict(CONFIG), None, 1e-3, 10, 0, use_tpu=False,
        use_one_hot_embeddings=False)
    estimator = tf.estimator.tpu.TPUEstimator(
        model_fn, config=tf.estimator.tpu.RunConfig(
            model_dir=str(tmp_path / "out"), tf_random_seed=1),
        use_tpu=False, train_batch_size=8, eval_batch_size=batch_size)
    if not estimator.latest_checkpoint():
      estimator.train(input_pipeline.input_fn_builder(
          [path], 16, 3, is_training=True), max_steps=1)
    return estimator.evaluate(input_pipeline.input_fn_builder(
        [path], 16, 3, is_training=False, flow=flow, fixed_batches=fixed,
        whole=True), steps=steps)

  expected = evaluate(10, False, None)
  found = evaluate(4, True, 3)
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


# ----------------------------------------------------- held-out text is unseen


class TestOverlap:

  @pytest.fixture
  def refused(self, files, parse_flags):

    def refused(**changes):
      with pytest.raises(ValueError) as caught:
        prepared(parse_flags(command(files, do_eval=True, **changes)))
      assert "\n" not in str(caught.value)
      return str(caught.value)

    return refused

  def test_the_same_file(self, refused, files, tmp_path):
    (tmp_path / "link.txt").symlink_to(files["train"])
    for path in (files["train"], str(tmp_path / "link.txt")):
      assert "--eval_input_file and --input_file both name %s" % path in (
          refused(eval_input_file=path))
    assert "--general_eval_input_file and" in refused(
        eval_input_file=files["eval"], general_eval_input_file=files["train"])

  def test_a_shared_document(self, refused, files, tmp_path, parse_flags):
    """Whatever its whitespace."""
    one = text(1, 30).strip().replace("\n", "  \r\n")
    path = tmp_path / "shared.txt"
    path.write_text(text(5, 200) + "\n \n" + one)
    said = refused(eval_input_file=str(path))
    assert "share documents" in said and ": 1 in the sample" in said
    assert '"w10 w11 w12 w13 w14 ' in said
    assert "share documents" in refused(
        eval_input_file=files["eval"], general_eval_input_file=str(path))
    run = prepared(parse_flags(command(
        files, do_eval=True, eval_input_file=str(path),
        accept_eval_overlap=True)))
    assert len(run.training.preflight.held_out) == 1

  def test_a_part_of_a_document_is_none(self, files, tmp_path, parse_flags):
    path = tmp_path / "part.txt"
    path.write_text("\n".join(text(1, 30).splitlines()[:3]) + "\n")
    run = prepared(parse_flags(command(
        files, do_eval=True, eval_input_file=str(path))))
    assert not run.training.preflight.held_out

  @pytest.mark.slow
  @pytest.mark.parametrize("num_workers", [0, 2])
  def test_later_ones_are_counted(self, files, tmp_path, num_workers):
    path = tmp_path / "shared.txt"
    path.write_text(text(5, 200) + text(3, 30))
    run = run_program(command(
        files, do_eval=True, eval_input_file=str(path), num_train_steps=20,
        num_workers=num_workers, accept_eval_overlap=True))
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("has a document of the evaluation text") == 1
    assert re.search("WARNING: 3 documents of the evaluation text occur",
                     run.stdout)

  def test_what_is_not_needed_is_asked_for(self, refused, files):
    assert "--eval_input_file" in refused(eval_every_steps=5)
    assert "--keep_best requires" in refused(keep_best=True)
    assert "--early_stopping_patience requires" in refused(
        early_stopping_patience=2)


@pytest.mark.slow
def test_a_training_in_parts_evaluates_between_them(files, parse_flags,
                                                    monkeypatch):
  """As on a TPU, simulated by the CPU."""
  run = trained(files, "run")
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
  found, expected = rows_of(parts["out"]), rows_of(run["out"])
  assert sorted((row["step"], row["text"]) for row in found) == [
      (row["step"], row["text"]) for row in expected]
  for row in expected:
    other, = [r for r in found if (r["step"], r["text"]) == (
        row["step"], row["text"])]
    for name in FIGURES[1:]:  # Padding changes the mean over batches.
      assert other[name] == pytest.approx(row[name], rel=1e-4), name
  for name, value in tensors(run["out"], 20).items():
    np.testing.assert_array_equal(tensors(parts["out"], 20)[name], value)
