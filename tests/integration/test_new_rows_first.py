"""A larger vocabulary, end to end: new rows are trained first, then all."""

import json
import os
import signal

import forked_programs
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hugging_face_models import HEADS, config_of, random_variables
from program import (
  LENGTHS,
  ROOT,
  command,
  run_program,
  started,
  tensors,
  write_inputs,
)

import modeling
import run_pretraining_e2e as e2e
import tokenization
from bert_e2e.checkpoints import conversion, new_rows
from bert_e2e.config import AUTO
from bert_e2e.training import (
  evaluation,
  heads_first,
  input_pipeline,
  objectives,
)
from bert_e2e.training.heads_first import HeadPhase, HeadPlan

NUM_HEAD_STEPS, LAST_STEP = 4, 8
RUN = dict(num_head_steps=NUM_HEAD_STEPS, num_train_steps=LAST_STEP,
           num_warmup_steps=0, head_learning_rate=1e-2, learning_rate=1e-3,
           save_checkpoints_steps=2, keep_checkpoint_max=0, log_every_steps=1,
           bert_config_file=None, vocab_file=None)
# Of the words w0 to w39 of the text, half are split.
PIECES = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]",
          "[MASK]", "w"] + ["##%d" % i for i in range(10)] + [
              "w%d" % i for i in range(20)]
CONFIG = config_of(num_hidden_layers=1, vocab_size=len(PIECES))
NUM_NEW = 12
SLOTS = ("/adam_m", "/adam_v")


# --------------------------------------------------------------------- the plan


def test_new_rows_are_in_the_plan(tmp_path):
  assert heads_first.find(None, AUTO, [], 1000, [7, 5]) == (
      HeadPlan(50, [], [5, 7]))
  assert heads_first.find(None, 3, [], 1000, [7, 5]) == HeadPlan(3, [], [5, 7])
  assert heads_first.find(None, 0, ["a"], 1000, [7]) == HeadPlan()
  plan = heads_first.find(None, 3, ["a"], 1000, [7])
  plan.save(str(tmp_path))
  assert heads_first.find(str(tmp_path), AUTO, [], 1000) == plan
  # One of an earlier version has no rows.
  (tmp_path / heads_first.PLAN_FILE).write_text(
      '{"num_head_steps": 3, "variables": ["a"]}')
  assert heads_first.find(str(tmp_path), AUTO, [], 1000) == HeadPlan(3, ["a"])


def test_what_is_trained_in_the_head_steps():
  words, bias = new_rows.VARIABLES
  phase = HeadPhase(HeadPlan(3, [], [5, 7]), is_active=lambda: True)
  assert phase.trained_rows() == {words: [5, 7], bias: [5, 7]}
  assert phase.is_trained(words) and not phase.is_trained("bert/other")
  # A new variable is trained as a whole.
  phase = HeadPhase(HeadPlan(3, [bias], [5, 7]), is_active=lambda: True)
  assert phase.trained_rows() == {words: [5, 7]}
  assert phase.is_trained(bias)
  assert HeadPhase(HeadPlan(3, [], [5])).trained_rows() == {}


# -------------------------------------------------------------------- trainings


@pytest.fixture(scope="module", name="files")
def fixture_files(tmp_path_factory):
  """Writes the inputs, a model with all heads, and its extension."""
  directory = tmp_path_factory.mktemp("new_rows")
  files = dict(write_inputs(directory), before=str(directory / "before"),
               model=str(directory / "extended"))
  vocab = directory / "small_vocab.txt"
  vocab.write_text("\n".join(PIECES) + "\n")
  conversion.export(random_variables(CONFIG), CONFIG, str(vocab), True,
                    output_hf=files["before"])
  run = forked_programs.run([
      os.path.join(ROOT, "extend_vocabulary.py"), "--output_tf=" +
      files["model"], "--init_checkpoint=" + files["before"], "--input_file=" +
      files["train"], "--num_new_tokens=%d" % NUM_NEW])
  assert run.returncode == 0, run.stdout
  return files


@pytest.fixture(scope="module", name="rows")
def fixture_rows(files):
  rows = new_rows.read(os.path.join(files["model"], "bert_model.ckpt")).rows
  assert len(rows) == NUM_NEW
  return rows


def arguments_of(files, name, **changes):
  return command(dict(files, out=files["out"] + "_" + name), **dict(
      dict(RUN, init_checkpoint=files["model"]), **changes))


def trained(files, name, **changes):
  """Trains; returns the output directory and what the program printed."""
  run = run_program(arguments_of(files, name, **changes))
  assert run.returncode == 0, run.stdout
  return files["out"] + "_" + name, run.stdout


@pytest.fixture(scope="module", name="undisturbed")
def fixture_undisturbed(files):
  return trained(
      files, "undisturbed", do_eval=True, eval_input_file=files["eval"],
      export_dir=files["out"] + "_result")


def check_head_steps(found, start, rows, whole=()):
  """Only some rows of two variables, and the variables `whole`, have moved."""
  for name in modeling.variable_shapes(CONFIG):
    value = found[name]
    if name in whole:
      assert (value != start[name]).any(), name
      continue
    kept = np.ones(len(value), bool)
    if name in new_rows.VARIABLES:
      kept[rows] = False
      moved = (value[rows] != start[name][rows])
      assert moved.reshape(len(rows), -1).any(1).all(), name
      assert found[name + "/adam_v"][rows].any(), name
    assert value[kept].tobytes() == start[name][kept].tobytes(), name
    for slot in SLOTS:
      assert not found[name + slot][kept].any(), name


@pytest.mark.slow
def test_old_rows_move_after_the_new_ones(files, undisturbed, rows):
  out, said = undisturbed
  assert ("steps 1 to 4 update newly initialized weights only (12 new rows of "
          "the vocabulary)") in said
  assert "has 12 new entries of the vocabulary" in said
  start = tensors(out, 0)
  for step in (2, NUM_HEAD_STEPS):
    check_head_steps(tensors(out, step), start, rows)
  end = tensors(out, LAST_STEP)
  for name in modeling.variable_shapes(CONFIG):
    if "key/bias" not in name:  # It has no gradient.
      assert (end[name] != start[name]).any(), name
  words = end[new_rows.WORD_EMBEDDINGS] != start[new_rows.WORD_EMBEDDINGS]
  assert words.any(1).all()


@pytest.mark.slow
def test_the_start_is_the_extended_model(files, undisturbed, rows):
  start, model = tensors(undisturbed[0], 0), conversion.read(files["model"])
  for name, value in model.variables.items():
    np.testing.assert_array_equal(start[name], value)
  before = conversion.read(files["before"]).variables
  for name in new_rows.VARIABLES:
    kept = np.setdiff1d(np.arange(len(PIECES)), rows)
    np.testing.assert_array_equal(start[name][kept], before[name][kept])


@pytest.mark.slow
def test_killed_in_both_parts_the_weights_are_those_of_an_undisturbed_run(
    files, undisturbed):
  arguments = arguments_of(files, "killed")
  for line in ("step 3/8", "step 6/8"):
    with started(arguments, line) as program:
      program.send_signal(signal.SIGKILL)
      program.communicate()
  out, _ = trained(files, "killed")
  expected, found = tensors(undisturbed[0], LAST_STEP), tensors(out, LAST_STEP)
  assert sorted(found) == sorted(expected)
  for name, value in expected.items():
    assert found[name].tobytes() == value.tobytes(), name


@pytest.mark.slow
def test_on_several_devices_in_micro_batches(files, undisturbed, rows):
  out, _ = trained(
      files, "mirrored", distribution_strategy="mirrored",
      devices="cpu:0,cpu:1", gradient_accumulation_steps=2,
      save_checkpoints_steps=LAST_STEP)
  start = tensors(undisturbed[0], 0)
  found = tensors(out, NUM_HEAD_STEPS)
  check_head_steps(found, start, rows)
  expected = tensors(undisturbed[0], NUM_HEAD_STEPS)
  for name in new_rows.VARIABLES:
    np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_heads_that_were_new_before_are_trained_with_the_rows(files, rows):
  """As of an encoder without heads, which extend_vocabulary.py completed."""
  folder = files["model"] + "_headless"
  model = conversion.read(files["model"])
  conversion.export(
      model.variables, model.config, model.vocab_file, True, output_tf=folder,
      new_tokens=model.new_tokens._replace(variables=HEADS))
  out, said = trained(files, "headless", init_checkpoint=folder,
                      num_train_steps=NUM_HEAD_STEPS + 1)
  assert " and 12 new rows of the vocabulary)" in said
  found, start = (tensors(out, step) for step in (NUM_HEAD_STEPS, 0))
  check_head_steps(found, start, rows, whole=HEADS)


def masked_lm_losses(out, step, vocab_file, examples):
  """Returns (losses, weights, ids) of all masked pieces of some examples."""
  features = input_pipeline._parse_batch(
      tf.constant(examples), input_pipeline._feature_spec(
          LENGTHS["max_seq_length"], LENGTHS["max_predictions_per_seq"], None))
  config = modeling.BertConfig.from_dict(dict(
      CONFIG.to_dict(), vocab_size=len(tokenization.load_vocab(vocab_file))))
  head = objectives.head_outputs(
      config, features, "nsp", is_training=False,
      use_one_hot_embeddings=False)["masked_lm"]
  values = tensors(out, step)
  with tf.Session() as session:
    for variable in tf.trainable_variables():
      variable.load(values[variable.name.split(":")[0]], session)
    losses, weights, ids = session.run(
        [head.losses, head.weights, head.labels])
  return losses, weights.ravel(), ids.ravel()


@pytest.mark.slow
def test_the_loss_per_character_is_the_ratio_of_the_sums(files, undisturbed):
  out, vocab_file = undisturbed[0], os.path.join(files["model"], "vocab.txt")
  entries = list(tokenization.load_vocab(vocab_file))
  examples = list(e2e.take_write_2_flow(
      [files["eval"]], vocab_file, num_epochs=1, **LENGTHS))
  rows = evaluation.load(out)
  assert [row["step"] for row in rows] == [0, LAST_STEP]
  for row in rows:
    assert row["examples"] == len(examples)
    with tf.Graph().as_default():
      losses, weights, ids = masked_lm_losses(
          out, row["step"], vocab_file, examples)
    total, characters = 0.0, 0
    for loss, weight, number in zip(losses, weights, ids):
      if weight and entries[number] != "[UNK]":
        total += loss
        characters += len(entries[number].replace("##", ""))
    assert row["masked_lm_nats_per_character"] == pytest.approx(
        total / characters, rel=1e-5)
    assert row["masked_lm_loss"] == pytest.approx(
        (losses * weights).sum() / weights.sum(), rel=1e-5)


@pytest.mark.slow
def test_the_result_is_exported(files, undisturbed):
  for kind in ("tf", "hf"):
    folder = os.path.join(files["out"] + "_result", kind)
    model = conversion.read(folder)
    assert model.config.vocab_size == CONFIG.vocab_size + NUM_NEW - 2
    assert model.new_tokens == new_rows.NewTokens()  # They are trained.
    assert tokenization.load_vocab(model.vocab_file) == (
        tokenization.load_vocab(os.path.join(files["model"], "vocab.txt")))


@pytest.mark.slow
def test_a_vocabulary_that_is_not_the_models_is_refused(files, tmp_path):
  vocab = tmp_path / "vocab.txt"
  vocab.write_text("\n".join(PIECES) + "\n")
  run = run_program(arguments_of(files, "refused", vocab_file=str(vocab)))
  assert run.returncode == 1
  assert "new_tokens.json beside " in run.stdout
  assert "Use the vocabulary that was written with the model" in run.stdout
  with open(os.path.join(files["model"], "new_tokens.json")) as stream:
    assert len(json.load(stream)["tokens"]) == NUM_NEW
