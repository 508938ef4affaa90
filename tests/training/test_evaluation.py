"""Evaluation while a model trains: the table, the best, the end of patience."""

import json
import os
import shutil

import pytest
import tensorflow.compat.v1 as tf

from bert_e2e.training import evaluation

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


def probe_set(accuracies):
  """Returns the EvaluationSet of a probe with given accuracies by step."""

  def evaluate(checkpoint):
    step = int(checkpoint.rpartition("-")[2])
    return dict(probe_accuracy=accuracies[step], probe_macro_f1=0.5,
                global_step=step, examples=3)

  return evaluation.EvaluationSet("probe", "id", evaluate)


def save(folder, step):
  """Writes files named like a checkpoint's; returns their path prefix."""
  prefix = os.path.join(str(folder), "model.ckpt-%d" % step)
  for end in (".index", ".data-00000-of-00001"):
    with open(prefix + end, "w") as stream:
      stream.write("of step %d" % step)
  return prefix


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

  def test_another_process_learns_of_an_evaluation(self, tmp_path):
    waiting, _ = self.run(tmp_path, {0: 1.0})
    assert not waiting.is_awaited(0) and not waiting.is_awaited(5)
    assert waiting.is_awaited(10) and not waiting.is_exhausted()
    chief, _ = self.run(tmp_path, {10: 1.5}, patience=1)
    assert chief.is_exhausted() and not waiting.is_awaited(10)

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

  def test_what_a_signal_has_ended(self, tmp_path):
    steps = (0, 10, 20, 25, 30)
    found, _ = self.run(tmp_path, {0: 1.0, 10: 2.0})
    assert [s for s in steps if found.is_missed(s)] == [10, 20, 30]
    assert not found.run(10, None)  # It has its rows.
    # Without earlier evaluations, none is missed.
    found, _ = self.run(tmp_path / "none", {})
    assert not any(map(found.is_missed, steps))
    found = evaluation.Evaluations(str(tmp_path), [], every_steps=10)
    assert not any(map(found.is_missed, steps))

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


def test_a_probe_decides_which_one_is_the_best(tmp_path, caplog):
  """The highest accuracy; the first one of several."""
  caplog.set_level("INFO")
  losses = {0: 3.0, 10: 2.0, 20: 1.0, 30: 0.5}
  accuracies = {0: 0.5, 10: 0.75, 20: 0.75, 30: 0.7}
  sets = [evaluation_set("domain", losses), probe_set(accuracies)]

  def made(**how):
    return evaluation.Evaluations(
        str(tmp_path), sets, every_steps=10, last_step=100, keep_best=True,
        patience=2, is_before=True, **how)

  found = made(decisive="probe")
  assert [found.run(step, save(tmp_path, step)) for step in losses] == [
      False, False, False, True]
  assert found.best()["step"] == 10
  assert os.listdir(str(tmp_path / "best"))
  assert (tmp_path / "best" / "model.ckpt-10.index").exists()
  assert ("evaluation at step 10, probe text: probe_accuracy 0.7500 (+0.2500 "
          "since step 0)  probe_macro_f1 0.5000  3 examples") in caplog.text
  # It is said once, not again by what follows the training.
  assert found.run(30, None, is_last=True)
  assert caplog.text.count("no improvement in 2 consecutive evaluations") == 1
  # A later start finds the same; by the loss it is another one.
  assert made(decisive="probe").is_exhausted()
  by_loss = made()
  assert by_loss.best()["step"] == 30 and not by_loss.is_exhausted()


@pytest.fixture(name="switched")
def fixture_switched(tmp_path):
  """Keeps the best by the loss; returns a function to a start by a probe."""
  sets = [evaluation_set("domain", {0: 3.0, 10: 2.0, 20: 1.0}),
          probe_set({0: 0.5, 10: 0.75, 20: 0.6})]

  def made(decisive, keep_best=True):
    return evaluation.Evaluations(
        str(tmp_path), sets, every_steps=10, last_step=100,
        keep_best=keep_best, is_before=True, decisive=decisive)

  before = made("domain")
  for step in (0, 10, 20):
    before.run(step, save(tmp_path, step))
  assert kept_in(tmp_path) == ["model.ckpt-20.index"]
  return made


def kept_in(folder):
  """Returns the names of the indices of the best checkpoint."""
  return [name for name in os.listdir(str(folder / "best"))
          if name.endswith(".index")]


def test_the_best_by_another_metric_replaces_the_one_that_is_kept(
    tmp_path, switched, caplog):
  switched("probe", keep_best=False).start(20)
  assert kept_in(tmp_path) == ["model.ckpt-20.index"]
  switched("probe").start(20)
  assert kept_in(tmp_path) == ["model.ckpt-10.index"]
  # Of the rows that are left, and if none was kept before.
  shutil.rmtree(str(tmp_path / "best"))
  switched("domain").start(10)
  assert kept_in(tmp_path) == ["model.ckpt-10.index"]
  assert not caplog.records


def test_the_best_by_another_metric_may_be_gone(tmp_path, switched, caplog):
  os.remove(str(tmp_path / "model.ckpt-10.index"))
  switched("probe").start(20)
  assert kept_in(tmp_path) == ["model.ckpt-20.index"]
  assert caplog.messages == [
      "the best checkpoint, of step 10, is no longer in %s, so %s keeps that "
      "of step 20 until there is a better one" % (tmp_path, tmp_path / "best")]
  shutil.rmtree(str(tmp_path / "best"))
  switched("probe").start(20)
  assert "best stays empty until" in caplog.messages[-1]


def test_a_kill_may_come_before_the_row_of_the_best(tmp_path, caplog):
  """The evaluation is made again, and its checkpoint stays."""
  evaluated = evaluation_set("domain", {0: 3.0, 10: 2.0, 20: 1.0})

  def made():
    return evaluation.Evaluations(
        str(tmp_path), [evaluated], every_steps=10, last_step=100,
        keep_best=True)

  found = made()
  for step in (0, 10, 20):
    found.run(step, save(tmp_path, step))
  table = tmp_path / evaluation.TABLE_FILE
  table.write_text("".join(table.read_text().splitlines(True)[:-1]))
  os.remove(str(tmp_path / "model.ckpt-10.index"))
  caplog.clear()
  again = made()
  again.start(20)
  assert kept_in(tmp_path) == ["model.ckpt-20.index"] and not caplog.records
  again.run(20, str(tmp_path / "model.ckpt-20"))
  assert again.best()["step"] == 20
  assert kept_in(tmp_path) == ["model.ckpt-20.index"]


def test_training_text_is_evaluated_after_the_training(tmp_path):
  """As the original does, whatever else is evaluated before."""
  asked = []
  training = evaluation_set("training", {0: 1.0, 10: 1.0}, asked)

  def made(*sets, **how):
    return evaluation.Evaluations(
        str(tmp_path), [training, *sets], last_step=10, **how)

  found = made(probe_set({0: 0.5, 10: 0.75}), every_steps=5, is_before=True)
  assert found.is_due(0) and found.is_due(5)
  found.run(0, save(tmp_path, 0))
  assert not asked and found.best()["probe_accuracy"] == 0.5
  assert found.is_missed(5)
  found.start(7)  # It was evaluated before.
  assert not found.is_due(7)
  found.run(10, save(tmp_path, 10), is_last=True)
  assert asked == [("training", 10)]
  assert [row["step"] for row in found.rows("probe")] == [0, 10]
  assert [row["step"] for row in found.rows("training")] == [10]
  alone = made()
  assert not alone.is_due(0) and not alone.is_missed(5)
  assert alone.best() is None and not alone.is_exhausted()
  alone.run(10, save(tmp_path, 10), anew=True, is_last=True)
  assert len(asked) == 2


def test_head_steps_are_no_reason_to_end_by_a_probe(tmp_path):
  """The encoder, which it sees, does not change in them."""
  accuracies = {0: 0.5, 10: 0.5, 20: 0.5, 30: 0.5, 40: 0.4, 50: 0.45}

  def ended(folder, num_head_steps, evaluated, decisive):
    (tmp_path / folder).mkdir()
    found = evaluation.Evaluations(
        str(tmp_path / folder), [evaluated], every_steps=10, last_step=100,
        patience=2, decisive=decisive, num_head_steps=num_head_steps)
    steps = [step for step in accuracies
             if found.run(step, save(tmp_path, step))]
    assert found.best()["step"] == 0 and found.is_exhausted()
    return steps[0]

  assert ended("probe", 30, probe_set(accuracies), "probe") == 50
  assert ended("between", 25, probe_set(accuracies), "probe") == 40
  assert ended("none", 0, probe_set(accuracies), "probe") == 20
  # The masked-LM loss is what the heads are trained on.
  losses = {step: 1.0 for step in accuracies}
  assert ended("loss", 30, evaluation_set("domain", losses), None) == 20
