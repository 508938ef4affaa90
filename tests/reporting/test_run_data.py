"""run_data.py: what a run left is read, whatever is missing or damaged."""

import math

import pytest
import tensorflow.compat.v1 as tf
from report_pages import evaluation, events, loss, row

from bert_e2e.reporting import run_data


def test_the_scalars_of_a_training_are_read(tmp_path):
  events(tmp_path / "events.out.tfevents.10.host", 10, [
      (1, {"training/loss": 4.5, "training/epoch": 0.25, "loss": 7.0,
           "global_step/sec": 3.0}),
      (5, {"training/loss": 4.0}), (6, {"training/loss": 3.5})])
  events(tmp_path / "eval" / "events.out.tfevents.11.host", 11,
         [(7, {"training/loss": 9.0})])
  (tmp_path / "train.log").write_text("training/loss")
  assert run_data.read_training(str(tmp_path)) == {
      "loss": [(1, 4.5), (5, 4.0), (6, 3.5)], "epoch": [(1, 0.25)]}


def test_what_a_filewriter_writes_is_read(tmp_path):
  with tf.Graph().as_default() as graph:
    with tf.summary.FileWriter(str(tmp_path), graph) as writer:
      writer.add_summary(tf.Summary(value=[tf.Summary.Value(
          tag="training/loss", simple_value=2.5)]), 3)
  assert run_data.read_training(str(tmp_path)) == {"loss": [(3, 2.5)]}


def test_a_resumed_run_shows_each_step_once(tmp_path):
  """The later file wins by its time, not its name; what the kill lost goes."""
  events(tmp_path / "events.out.tfevents.20.b", 900,
         loss([1, 5, 10, 15, 20, 25, 30]))
  events(tmp_path / "events.out.tfevents.30.a", 100, loss([1, 2, 3]))
  events(tmp_path / "events.out.tfevents.10.c", 1000, loss([16, 20, 24], 8.0))
  # One that trained no step.
  events(tmp_path / "events.out.tfevents.40.d", 2000, [])
  assert run_data.read_training(str(tmp_path))["loss"] == [
      *((step, 10 - step / 8) for step in (1, 5, 10, 15)),
      *((step, 8 - step / 8) for step in (16, 20, 24))]


@pytest.mark.parametrize("cut", [1, 4, 9, 17, 30])
def test_a_record_that_was_cut_off_is_left_out(tmp_path, cut):
  path = events(tmp_path / "events.out.tfevents.10.a", 10, loss(range(9)))
  path.write_bytes(path.read_bytes()[:-cut])
  found = run_data.read_training(str(tmp_path))["loss"]
  assert found == [(step, 10 - step / 8) for step in range(8)]
  events(tmp_path / "events.out.tfevents.20.a", 20, loss([7, 8, 9], 6.0))
  found = run_data.read_training(str(tmp_path))["loss"]
  assert [step for step, _ in found] == list(range(10))
  assert found[7:] == [(7, 5.125), (8, 5.0), (9, 4.875)]


@pytest.mark.parametrize("data", [b"", b"\0" * 40, b"not an event" * 9])
def test_files_without_an_event_are_skipped(tmp_path, data):
  (tmp_path / "events.out.tfevents.10.a").write_bytes(data)
  assert run_data.read_training(str(tmp_path)) == {}
  events(tmp_path / "events.out.tfevents.20.a", 20, loss([8]))
  assert run_data.read_training(str(tmp_path)) == {"loss": [(8, 9.0)]}


def test_a_missing_directory_has_no_training(tmp_path):
  assert run_data.read_training(str(tmp_path / "none")) == {}


def test_only_what_can_be_compared_is_selected():
  rows = [
      row(0, chosen="old"), row(200, chosen="old"), row(100), row(0),
      row(0, "general", "g"), row(100, masked_lm_loss=3.0),
      row(100, "general", "g", masked_lm_loss=4), row(5, "other"),
      {"text": "domain"}, row("7"), row(True), row(-1), row(2.0), row(None),
      row(50, loss=None, examples="many", masked_lm_loss=4.5),
      row(200, masked_lm_loss=10 ** 400)]
  found = run_data.select_evaluations(rows)
  assert list(found) == ["domain", "general"]
  assert [(item.step, item.values["masked_lm_loss"], item.examples)
          for item in found["domain"][:-1]] == [
              (0, 5.0, 100), (50, 4.5, None), (100, 3.0, 100)]
  assert math.isnan(found["domain"][1].values["loss"])
  assert math.isnan(found["domain"][-1].values["masked_lm_loss"])
  assert found["general"] == [
      evaluation(0, 100, 5.0, 0.25, 0.5, 0.75, 5.5),
      evaluation(100, 100, 4.0, 0.25, 0.5, 0.75, 5.5)]
  assert run_data.select_evaluations([]) == {}


@pytest.mark.parametrize("data", ["", "{", "[]", '{"files": 1}'])
def test_a_preflight_of_another_version_is_left_out(tmp_path, data):
  (tmp_path / "preflight.json").write_text(data)
  assert run_data.read(str(tmp_path)).preflight is None
