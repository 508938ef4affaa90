"""The table of averages: which models are evaluated, and what is left."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import (
  assert_same,
  config_of,
  random_variables,
)

from bert_e2e.checkpoints import initial_weights
from bert_e2e.common import errors, json_files
from bert_e2e.training import weight_sweep
from bert_e2e.training.evaluation import EvaluationSet

CONFIG = config_of(max_position_embeddings=40)
STEP = 7
POSITIONS = tf_checkpoints.POSITIONS


class Evaluations:
  """Evaluates by reading the checkpoint; `seen` has all its variables."""

  def __init__(self, limit=99):
    self.seen = []
    self._left = limit

  def sets(self):
    return [EvaluationSet(text, "id of " + text, self._evaluate)
            for text in ("domain", "general")]

  def _evaluate(self, checkpoint, name):
    self._left -= 1
    if self._left < 0:
      return None
    reader = tf.train.load_checkpoint(checkpoint)
    arrays = {n: reader.get_tensor(n)
              for n in reader.get_variable_to_shape_map()}
    self.seen.append((name, arrays))
    step = arrays["global_step"]
    assert step.dtype == np.int64
    return {"masked_lm_loss": float(len(self.seen)), "global_step": int(step),
            "masked_lm_accuracy": 0.25, "examples": 3}


@pytest.fixture
def models(tmp_path):
  """Writes a start of fewer positions and a checkpoint of a training.

  Returns:
    dict, the arguments of weight_sweep.run that name them.
  """
  tf_checkpoints.write(tmp_path / "start.ckpt", random_variables(
      config_of(), seed=1))
  arrays = dict(random_variables(CONFIG, seed=2), global_step=np.int64(STEP))
  arrays["bert/pooler/dense/kernel/adam_m"] = np.ones([8, 8], np.float32)
  (tmp_path / "out").mkdir()
  return dict(
      output_dir=str(tmp_path / "out"), start=str(tmp_path / "start.ckpt"),
      checkpoint=tf_checkpoints.write(tmp_path / "out" / "m.ckpt", arrays),
      bert_config=CONFIG, extend_positions=True)


def test_averages_are_evaluated_on_each_text(models, caplog):
  evaluations = Evaluations()
  with caplog.at_level("INFO"):
    rows = weight_sweep.run(
        weights=[1.0, 0.25, 0.0, 0.25], sets=evaluations.sets(), **models)
  assert [(name, len(arrays)) for name, arrays in evaluations.seen] == [
      (name, len(random_variables(CONFIG)) + 1)
      for name in ("weight_0", "weight_0.25", "weight_1") for _ in range(2)]
  start, trained = random_variables(config_of(), 1), random_variables(CONFIG, 2)
  start[POSITIONS] = initial_weights.extend_rows(start[POSITIONS], 40)
  for weight, (_, arrays) in zip((0, 0.25, 1), evaluations.seen[::2]):
    del arrays["global_step"]
    assert_same(arrays, {
        name: value if name.startswith("cls/") else
        ((1 - weight) * start[name].astype(np.float64) +
         weight * value.astype(np.float64)).astype(np.float32)
        for name, value in trained.items()})
  assert rows == json_files.read_lines(
      models["output_dir"] + "/weight_sweep.jsonl")
  assert rows[3] == {
      "weight": 0.25, "step": STEP, "global_step": STEP, "text": "general",
      "set": "id of general", "checkpoint": models["checkpoint"],
      "init_checkpoint": models["start"], "masked_lm_loss": 4.0,
      "masked_lm_accuracy": 0.25, "examples": 3}
  assert caplog.messages[-1].splitlines()[1:] == [
      "weight  domain masked_lm_loss  domain masked_lm_accuracy  "
      "general masked_lm_loss  general masked_lm_accuracy",
      "     0                 1.0000                     0.2500  "
      "                2.0000                      0.2500",
      "  0.25                 3.0000                     0.2500  "
      "                4.0000                      0.2500",
      "     1                 5.0000                     0.2500  "
      "                6.0000                      0.2500"]
  assert sorted(os.listdir(models["output_dir"])) == [
      "m.ckpt.data-00000-of-00001", "m.ckpt.index", "weight_sweep.jsonl"]


def test_a_signal_ends_it_without_a_table(models):
  with pytest.raises(errors.Interrupted):
    weight_sweep.run(weights=[0.0, 1.0], sets=Evaluations(3).sets(), **models)
  assert sorted(os.listdir(models["output_dir"])) == [
      "m.ckpt.data-00000-of-00001", "m.ckpt.index"]


def test_what_cannot_be_read_is_one_sentence(models):
  os.remove(models["start"] + ".index")
  with pytest.raises(errors.InputError, match="The averages of --sweep_weights "
                     "cannot be evaluated: There is no readable checkpoint at "
                     ".*start.ckpt"):
    weight_sweep.run(weights=[0.5], sets=Evaluations().sets(), **models)
