"""The model on packed rows computes what it does on a row for each sequence."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from program import ROOT

import modeling
from bert_e2e.checkpoints import hugging_face as hf
from bert_e2e.data import packing
from bert_e2e.training import input_pipeline, metrics, model_fn, objectives
from tests.golden import make_model_golden as golden
from tests.golden import make_packing_golden as theirs
from tests.model_comparison import TINY

MAX_SEQUENCES = 3
NUM_PREDICTIONS = 4


def sequences(count, max_length, seed=1):
  """Returns random packing.PackableSequences, of 4 tokens or more."""
  random = np.random.RandomState(seed)
  found = []
  for _ in range(count):
    length = random.randint(4, max_length + 1)
    num_masked = random.randint(1, NUM_PREDICTIONS + 1)
    middle = random.randint(2, length)
    found.append(packing.PackableSequence(
        length, bytes(random.randint(1, 50, size=length).tolist()),
        bytes([0] * middle + [1] * (length - middle)),
        sorted(random.choice(
            length, min(num_masked, length), replace=False).tolist()),
        bytes(random.randint(1, 50, size=min(num_masked, length)).tolist()),
        bool(random.randint(2))))
  return found


def batch_of(rows, length, max_predictions, max_sequences):
  """Returns the features of serialized rows, by the input pipeline."""
  return input_pipeline._parse_batch(
      tf.constant(rows), input_pipeline._feature_spec(
          length, max_predictions, max_sequences))


def packed_and_not(length):
  """Returns two batches of the same sequences: packed, and one in each row."""
  found = sequences(9, length // 2)
  shape = packing.RowShape(length, 3 * NUM_PREDICTIONS, MAX_SEQUENCES)
  rows = packing.Packer(shape).pack(found)
  assert len(rows) % 2 == 0 and len(rows) < len(found)
  plain = packing.Packer(shape._replace(max_sequences=2))
  return (batch_of(rows, *shape),
          batch_of([plain.row([sequence]) for sequence in found], length,
                   shape.max_predictions, 2))


def without_packing(features):
  """Turns rows with one sequence each into what the model had before."""
  plain = {name: features[name] for name in (
      "input_ids", "input_mask", "segment_ids", "masked_lm_positions",
      "masked_lm_ids", "masked_lm_weights")}
  return dict(plain, next_sentence_labels=features["next_sentence_labels"][
      :, :1])


def config():
  return modeling.BertConfig(**dict(
      TINY, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))


def outputs(features, objective, is_training=True, part=None):
  with tf.variable_scope(tf.get_variable_scope(), reuse=tf.AUTO_REUSE):
    return objectives.head_outputs(
        config(), features, objective, is_training=is_training,
        use_one_hot_embeddings=False, part=part or objectives.WHOLE_BATCH)


@pytest.mark.parametrize("objective", ["nsp", "sop", "none"])
def test_losses_and_gradients_are_those_of_separate_rows(objective):
  with tf.Graph().as_default():
    packed, separate = packed_and_not(20)
    values = []
    for features in (packed, without_packing(separate)):
      heads = outputs(features, objective)
      loss = sum(head.loss for head in heads.values())
      variables = tf.trainable_variables()
      gradients = [gradient for gradient in tf.gradients(loss, variables)
                   if gradient is not None]
      values.append((loss, metrics.training_values(heads),
                     [tf.convert_to_tensor(g) for g in gradients]))
    with tf.Session() as session:
      golden.start(session)
      (loss, found, slopes), (expected_loss, expected, wanted) = session.run(
          values)
  assert loss == pytest.approx(expected_loss, rel=1e-5)
  assert set(found) == set(expected) and len(found) == (
      2 if objective == "none" else 4)
  for name, value in expected.items():
    assert found[name] == pytest.approx(value, rel=1e-5), name
  assert len(slopes) == len(wanted) > 20
  sizes = [np.abs(want).max() for want in wanted]
  for slope, want, size in zip(slopes, wanted, sizes):
    # Keys have a bias without effect, whose gradient is a rounding error.
    assert np.abs(slope - want).max() <= 1e-5 * max(size, 1e-3 * max(sizes))


def test_evaluations_have_the_same_metrics():
  with tf.Graph().as_default():
    packed, separate = packed_and_not(20)
    pairs = []
    for features in (packed, without_packing(separate)):
      metric_fn, tensors = metrics.eval_metrics(objectives.with_characters(
          outputs(features, "nsp", is_training=False),
          [piece % 5 for piece in range(TINY["vocab_size"])]))
      pairs.append(metric_fn(*tensors))
    with tf.Session() as session:
      golden.start(session)
      session.run(tf.local_variables_initializer())
      session.run([update for found in pairs for _, update in found.values()])
      found, expected = session.run(
          [{name: value for name, (value, _) in metric.items()}
           for metric in pairs])
  assert found == pytest.approx(expected, rel=1e-5)
  assert len(found) == 5 and found["masked_lm_nats_per_character"] > 0


def test_parts_of_a_batch_add_up():
  """Rows have different numbers of sequences, and so have micro-batches."""
  with tf.Graph().as_default():
    packed, _ = packed_and_not(20)
    whole = outputs(packed, "nsp")
    rows = packed["input_ids"].shape.as_list()[0]
    totals = [tf.reduce_sum(packed[name]) for name in (
        "masked_lm_weights", "next_sentence_weights")]
    losses = []
    for half in range(2):
      part = {name: value[half * rows // 2:(half + 1) * rows // 2]
              for name, value in packed.items()}
      heads = outputs(part, "nsp", part=objectives.BatchPart(
          totals[0], 2, totals[1]))
      losses.append({name: head.loss for name, head in heads.items()})
    with tf.Session() as session:
      golden.start(session)
      expected, halves, counts = session.run(
          [{name: head.loss for name, head in whole.items()}, losses,
           tf.reduce_sum(packed["next_sentence_weights"], 1)])
  assert counts[:rows // 2].sum() != counts[rows // 2:].sum()
  for name, value in expected.items():
    assert sum(half[name] for half in halves) == pytest.approx(
        value, rel=1e-5)


@pytest.mark.slow
def test_a_training_step_is_that_of_separate_rows():
  """Through the model function, in micro-batches: weights after two steps."""
  after = []
  for is_packed in (True, False):
    with tf.Graph().as_default():
      features = packed_and_not(20)[not is_packed]
      if not is_packed:
        features = without_packing(features)
      spec = model_fn.model_fn_builder(
          config(), None, 1e-3, 10, 0, False, False,
          gradient_accumulation_steps=2 if is_packed else 1)(
              features, None, tf.estimator.ModeKeys.TRAIN,
              {"batch_size": features["input_ids"].shape.as_list()[0]})
      with tf.Session() as session:
        golden.start(session)
        for _ in range(2):
          session.run(spec.train_op)
        after.append(session.run(
            {v.op.name: v for v in tf.trainable_variables()}))
  for name, value in after[1].items():
    np.testing.assert_allclose(
        after[0][name], value, rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("hidden_act, activation", [
    ("gelu_erf", "gelu"), ("gelu", "gelu_new")])
def test_losses_are_those_of_transformers(hidden_act, activation):
  """BertForPreTraining with a mask of pairs of positions and position ids."""
  with np.load(os.path.join(
      ROOT, "tests", "golden", "transformers", theirs.FILE)) as arrays:
    expected = {name: arrays["%s/%s" % (activation, name)] for name in (
        "masked_lm_losses", "sentence_losses")}
  bert_config = modeling.BertConfig.from_dict(dict(
      {name: value for name, value in theirs.base.CONFIG.items()
       if name in vars(modeling.BertConfig(1))}, hidden_act=hidden_act))
  weights = {"bert." + name: value
             for name, value in theirs.base.weights().items()}
  weights.update(("cls." + name, value)
                 for name, value in theirs.head_weights().items())
  with tf.Graph().as_default():
    features = {name: tf.constant(value)
                for name, value in theirs.rows().items()}
    heads = objectives.head_outputs(
        bert_config, features, "nsp", is_training=False,
        use_one_hot_embeddings=False)
    with tf.Session() as session:
      for variable in tf.trainable_variables():
        name = variable.op.name
        value = weights[hf.weights.torch_name(name)]
        variable.load(value.T if name.endswith("/kernel") else value, session)
      found = session.run({name: head.losses for name, head in heads.items()})
  for head, name, weight in (
      ("masked_lm", "masked_lm_losses", "masked_lm_weights"),
      ("next_sentence", "sentence_losses", "next_sentence_weights")):
    used = theirs.rows()[weight] > 0
    assert used.sum() == sum(map(len, theirs.ROWS))
    np.testing.assert_allclose(
        found[head].reshape(used.shape)[used], expected[name][used],
        rtol=1e-5, atol=1e-5)
