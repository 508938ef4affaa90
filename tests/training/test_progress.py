"""Progress lines, TensorBoard scalars, the bar on a terminal."""

import glob
import io
import logging
import re
import time

import pytest
import tensorflow.compat.v1 as tf

from bert_e2e.common import logs
from bert_e2e.data import resume
from bert_e2e.training import progress

STEPS = 5


def train(output_dir, seconds_per_input=0.0, text_progress=None, every_steps=2,
          hook_class=progress.ProgressHook):
  """Runs a training of five steps of 8 sequences, whose loss is 10 - step."""

  def inputs():
    while True:
      time.sleep(seconds_per_input)
      yield 1.0

  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    feature = tf.data.make_one_shot_iterator(
        tf.data.Dataset.from_generator(inputs, tf.float32, [])).get_next()
    loss = 10.0 - tf.cast(step, tf.float32) + 0.0 * feature
    with tf.control_dependencies([loss]):
      train_op = tf.assign_add(step, 1)
    hook = hook_class({"loss": loss}, {"x": feature}, train_op, every_steps,
                      STEPS, 8, str(output_dir), text_progress)
    with tf.train.SingularMonitoredSession(hooks=[hook]) as session:
      for _ in range(STEPS):
        session.run(train_op)


def lines_of(caplog):
  return [r.getMessage() for r in caplog.records if r.name == progress.__name__]


def test_lines(caplog, tmp_path):
  """After the first step, every second one, and the last."""
  caplog.set_level(logging.INFO, progress.__name__)
  train(tmp_path, text_progress=lambda examples: [
      resume.TextProgress("", examples, examples / 32)])
  lines = lines_of(caplog)
  assert lines[0] == "training from step 0 to 5"
  assert [line.split("  ")[:2] for line in lines[1:]] == [
      ["step 1/5", "loss 10"], ["step 2/5", "loss 9"], ["step 4/5", "loss 7"],
      ["step 5/5", "loss 6"]]
  for line, epoch in zip(lines[1:], ("0.250", "0.500", "1.000", "1.250")):
    assert re.search(r"  [\d.]+ sequences/s  input wait \d+%  epoch " + epoch,
                     line), line
  assert "ETA" not in lines[1]
  assert all(re.search(r"  ETA 0:\d\d:\d\d$", line) for line in lines[2:])


@pytest.mark.parametrize("weights, num_sequences", [
    (None, 2), ([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]], 3)])
def test_counts_of_plain_and_packed_batches(weights, num_sequences):
  with tf.Graph().as_default(), tf.Session() as session:
    features = {"input_mask": tf.constant(
        [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])}
    if weights:
      features.update(pack_ids=features["input_mask"],
                      next_sentence_weights=tf.constant(weights))
    assert session.run(progress.counts(features)) == {
        "num_sequences": num_sequences, "num_tokens": 5, "num_positions": 12}


def test_scalars(tmp_path):
  train(tmp_path, text_progress=lambda examples: [])
  path, = glob.glob(str(tmp_path / "events.out.tfevents.*"))
  found = {}
  for event in tf.train.summary_iterator(path):
    for value in event.summary.value:
      found.setdefault(value.tag, {})[event.step] = value.simple_value
  assert found["training/loss"] == {1: 10.0, 2: 9.0, 4: 7.0, 5: 6.0}
  assert set(found) == {
      "training/" + name
      for name in ("loss", "sequences_per_second", "input_wait")}


@pytest.mark.parametrize("seconds, low, high", [(0.3, 0.5, 1.0), (0.0, 0, 0.5)])
def test_input_wait(tmp_path, seconds, low, high):
  """In the first case, steps do nothing but wait for a slow input.

  In the second case, the input is fast, and a pause takes the place of work.
  """
  waits = []

  class Hook(progress.ProgressHook):

    def _show(self, values):
      if not seconds:
        time.sleep(0.3)
      super()._show(values)
      waits.append(values["input_wait"])

  train(tmp_path, seconds, every_steps=1, hook_class=Hook)
  assert len(waits) == STEPS
  assert all(low <= wait <= high for wait in waits[1:]), waits


class Terminal(io.StringIO):

  def isatty(self):
    return True


def test_the_bar_stands_below_the_messages(monkeypatch):
  terminal = Terminal()
  monkeypatch.setattr(logs.sys, "stderr", terminal)
  handler = logs._TerminalHandler(terminal)
  logger = logging.Logger("ours")
  logger.addHandler(handler)
  assert logs.terminal_bar.is_due()
  logs.terminal_bar.draw(0.5, "step 2/4  " + "x" * 500)
  assert not logs.terminal_bar.is_due()  # Not again so soon.
  bar = terminal.getvalue()
  assert bar.startswith("[##########..........] step 2/4  xxx")
  assert len(bar) < 500
  logger.warning("a message")
  logger.info("step 2/4", extra={"is_progress": True})
  assert terminal.getvalue() == bar + "\r\x1b[Ka message\n"


def test_without_a_terminal_there_is_no_bar(monkeypatch):
  output = io.StringIO()
  monkeypatch.setattr(logs.sys, "stderr", output)
  logger = logging.Logger("ours")
  logger.addHandler(logs._TerminalHandler(output))
  assert not logs.terminal_bar.is_due()
  logger.info("step 2/4", extra={"is_progress": True})
  assert output.getvalue() == "step 2/4\n"
