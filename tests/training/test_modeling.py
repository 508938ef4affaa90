"""The model: the reference's values and variable names, clear errors.

If the environment variable BERT_REFERENCE names a checkout of
google-research/bert, and on TensorFlow 1.15, the reference is run as well: with
the arithmetic of four ops replaced by its own, all values except second
derivatives are bitwise equal. Otherwise they are compared with its recorded
outputs (tests/golden/model), up to the tolerances of `assert_close`.
"""

import collections
import contextlib
import json
import math
import os
import subprocess
import sys
from typing import Any, Callable, Dict

import numpy as np
import pytest
import quick_sessions
import tensorflow.compat.v1 as tf

import modeling
import optimization
from tests.golden import make_model_golden as golden
from tests.model_comparison import (
  CHECKPOINT,
  OURS,
  TINY,
  ancestors,
  assert_close,
  recorded_arrays,
)


@pytest.fixture(scope="module", name="recorded")
def fixture_recorded():
  """The reference's recorded arrays by name."""
  return recorded_arrays()


@pytest.fixture(autouse=True)
def fixture_graph():
  """Gives each test a graph of its own."""
  with tf.Graph().as_default():
    yield


def run(tensors, feed_dict=None):
  """Initializes all variables and evaluates tensors."""
  with golden.session() as sess:
    golden.start(sess)
    return sess.run(tensors, feed_dict)


# --- Equal to the reference ---


MODES: Dict[str, Callable[[], Any]] = {
    "plain": contextlib.suppress, "fast": modeling.fast_gradients}


@pytest.mark.parametrize("mode", MODES)
def test_outputs_and_gradients_match_the_reference(recorded, mode):
  with MODES[mode]():
    actual = golden.record_outputs(OURS, TINY)
  names = {name for name in recorded if name.startswith(("eval/", "train/"))}
  assert set(actual) == names
  for name in sorted(names):
    assert_close(actual[name], recorded[name], name)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_second_derivatives_match_the_reference(recorded, mode):
  with MODES[mode]():
    actual = golden.record_second_derivatives(OURS, TINY)
  assert set(actual) == {
      name for name in recorded if name.startswith("second/")}
  for name in sorted(actual):
    assert_close(actual[name], recorded[name], name)
    # A key's bias adds the same to all scores of a position: no gradient.
    assert np.abs(recorded[name]).max() > 0.1 or "key/bias" in name, name


def test_second_derivatives_match_finite_differences():
  """Those of layer normalization, which are wrong in the reference."""
  x = tf.placeholder(tf.float32, [3, 5])
  with tf.variable_scope("norm"):
    output = tf.reduce_sum(tf.sin(3.0 * modeling.layer_norm(x)))
  first, = tf.gradients(output, x)
  second, = tf.gradients(tf.nn.l2_loss(first), x)
  random = np.random.RandomState(5)
  values, step = random.randn(3, 5), 1e-3
  with golden.session() as sess:
    golden.start(sess)
    direction, product = sess.run([first, second], {x: values})
    ahead, behind = [
        sess.run(first, {x: values + sign * step * direction})
        for sign in (1, -1)]
  np.testing.assert_allclose((ahead - behind) / (2 * step), product,
                             atol=2e-2 * np.abs(product).max())


def test_fast_gradients_end_with_their_context():
  with modeling.fast_gradients():
    with modeling.fast_gradients():
      pass
    inside = modeling.gelu(tf.ones([2]))
  outside = modeling.gelu(tf.ones([2]))
  assert [output.op.type for output in (inside, outside)] == [
      "IdentityN", "Mul"]


def test_all_ops_of_a_model_are_reachable_from_its_outputs():
  """But for those that each variable has, whether they are used or not."""
  ids = tf.constant(golden.batch(TINY, 1)["input_ids"], tf.int32)
  model = modeling.BertModel(modeling.BertConfig(**TINY), True, ids)
  outputs = [model.get_pooled_output(), model.get_embedding_table(),
             *model.get_all_encoder_layers()]
  found = ancestors([tf.global_variables_initializer()] +
                    [tf.convert_to_tensor(output).op for output in outputs])
  unreachable = set(tf.get_default_graph().get_operations()) - found
  assert {op.type for op in unreachable} <= {
      "VarIsInitializedOp", "ReadVariableOp"}
  assert not [op.name for op in unreachable
              if op.type == "ReadVariableOp" and
              not op.name.endswith("/Read/ReadVariableOp")]


def reference_masked_lm_loss(logits, label_ids, label_weights):
  """The cross-entropy by one-hot labels, as in the reference."""
  log_probs = tf.nn.log_softmax(logits, axis=-1)
  one_hot = tf.one_hot(
      tf.reshape(label_ids, [-1]), depth=logits.shape.as_list()[-1])
  losses = -tf.reduce_sum(log_probs * one_hot, axis=[-1])
  weights = tf.reshape(label_weights, [-1])
  loss = tf.reduce_sum(weights * losses) / (tf.reduce_sum(weights) + 1e-5)
  return loss, losses


def reference_gelu(x):
  inner = math.sqrt(2 / math.pi) * (x + 0.044715 * tf.pow(x, 3))
  return x * (0.5 * (1.0 + tf.tanh(inner)))


def reference_normalize(rows, gamma, beta):
  mean, variance = tf.nn.moments(rows, axes=[-1], keep_dims=True)
  return tf.nn.batch_normalization(
      rows, mean, variance, offset=beta, scale=gamma, variance_epsilon=1e-12)


def reference_affine(rows, kernel, bias):
  return tf.nn.bias_add(tf.matmul(rows, kernel), bias)


def reference_checkout():
  """Returns the checkout's path, or skips the test."""
  checkout = os.environ.get("BERT_REFERENCE")
  if not checkout:
    pytest.skip("BERT_REFERENCE names no checkout of google-research/bert")
  if not tf.__version__.startswith("1.15"):
    pytest.skip("the reference runs under TensorFlow 1.15 only")
  return checkout


def run_reference(*args):
  """Runs the generator of golden arrays in a subprocess."""
  subprocess.run([sys.executable, golden.__file__, reference_checkout()]
                 + [str(arg) for arg in args], check=True)


@pytest.fixture(scope="module", name="live")
def fixture_live(tmp_path_factory):
  """The arrays of a wider model, from the reference on this machine."""
  folder = tmp_path_factory.mktemp("live")
  run_reference(folder, "--config=wide")
  with np.load(str(folder / "wide.npz")) as arrays:
    return dict(arrays)


def test_bitwise_equal_with_the_references_arithmetic(live, monkeypatch):
  """In those functions whose arithmetic is not the reference's."""
  monkeypatch.setattr(modeling, "masked_lm_loss", reference_masked_lm_loss)
  monkeypatch.setattr(modeling, "gelu", reference_gelu)
  monkeypatch.setattr(modeling, "_normalize", reference_normalize)
  monkeypatch.setattr(modeling, "_affine", reference_affine)
  config = golden.CONFIGS["wide"]
  with quick_sessions.suspended():  # As in the reference's process.
    actual = golden.record_outputs(OURS, config)
    actual.update(golden.record_training(OURS, config, is_reference=False))
    actual.update(golden.record_optimizer(OURS))
    actual.update(golden.record_schedules(optimization.learning_rate_at))
  # Second derivatives have another order of sums; they are compared with the
  # recorded ones in test_second_derivatives_match_the_reference.
  first = {name for name in live if not name.startswith("second/")}
  assert set(actual) == first
  different = [name for name in sorted(first)
               if actual[name].tobytes() != live[name].tobytes()]
  assert not different


@pytest.mark.parametrize("mode", MODES)
def test_outputs_and_gradients_of_a_wider_model_match_the_reference(live, mode):
  with MODES[mode]():
    actual = golden.record_outputs(OURS, golden.CONFIGS["wide"])
  for name in actual:
    assert_close(actual[name], live[name], name)


def test_the_reference_resumes_our_checkpoint(tmp_path):
  reference_checkout()
  prefix = str(tmp_path / "ours.ckpt")
  expected = golden.record_training(
      OURS, TINY, is_reference=False, checkpoint=prefix)
  run_reference(tmp_path, "--continue_from", prefix)
  with np.load(str(tmp_path / "continued.npz")) as arrays:
    assert set(arrays) == set(expected)
    for name in expected:
      assert_close(expected[name], arrays[name], name)


def test_evaluation_has_no_dropout_and_training_has():
  config = modeling.BertConfig(
      hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5, **TINY)
  ids = tf.constant(golden.batch(TINY, 1)["input_ids"], tf.int32)
  with tf.variable_scope("", reuse=tf.AUTO_REUSE):
    models = [modeling.BertModel(config, is_training, ids, scope="bert")
              for is_training in (False, True)]
  with golden.session() as sess:
    golden.start(sess)
    first, second = [
        sess.run([model.get_sequence_output() for model in models])
        for _ in range(2)]
  assert first[0].tobytes() == second[0].tobytes()
  assert np.abs(first[1] - second[1]).max() > 0.1
  assert config.hidden_dropout_prob == 0.5


def training_output(config, ids, **seeds):
  """Returns the output [B, S, H] of a model in training, weights all 0.1."""
  with tf.variable_scope("", reuse=tf.AUTO_REUSE,
                         initializer=tf.constant_initializer(0.1)):
    model = modeling.BertModel(
        config, True, ids, scope="bert",
        dropout_seeds=modeling.DropoutSeeds(**seeds))
  return model.get_sequence_output()


def test_seeded_dropout_is_a_function_of_step_seed_and_salt():
  config = modeling.BertConfig(
      hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3, **TINY)
  ids = tf.constant(golden.batch(TINY, 1)["input_ids"], tf.int32)
  step = tf.placeholder(tf.int64, [])
  outputs = [training_output(config, ids, step=step, random_seed=seed,
                             salt=salt)
             for seed, salt in ((7, 0), (7, 0), (8, 0), (7, 1))]
  with golden.session() as sess:
    golden.start(sess)
    at_5, again, at_6 = [sess.run(outputs, {step: n}) for n in (5, 5, 6)]
  assert [a.tobytes() for a in at_5] == [a.tobytes() for a in again]
  assert at_5[0].tobytes() == at_5[1].tobytes()
  different = [at_5[0], at_5[2], at_5[3], at_6[0]]
  for i, one in enumerate(different):
    for other in different[:i]:
      assert np.abs(one - other).max() > 0.01


def test_seeded_dropout_differs_from_place_to_place():
  seeds = modeling.DropoutSeeds(tf.constant(3))
  first, second = run([
      modeling.dropout(tf.ones([1000]), 0.5, seeds=seeds) for _ in range(2)])
  # Two independent masks agree on about half of the places.
  assert 400 < (first == second).sum() < 600


@pytest.mark.parametrize("seeded", [False, True])
def test_dropout_rate_and_scale(seeded):
  tf.set_random_seed(1)
  seeds = modeling.DropoutSeeds(tf.constant(1)) if seeded else None
  values = run(modeling.dropout(tf.ones([100000]), 0.1, seeds=seeds))
  assert set(np.unique(values)) == {np.float32(0), np.float32(1 / 0.9)}
  assert abs((values == 0).mean() - 0.1) < 0.005
  ones = tf.ones([2])
  assert modeling.dropout(ones, 0.0) is ones
  assert modeling.dropout(ones, None) is ones


def test_training_creates_few_tensors_of_the_size_of_the_vocabulary():
  with modeling.fast_gradients():
    loss, _ = golden.build(OURS, TINY, golden.placeholders(), is_training=True)
  gradients = tf.gradients(loss, tf.trainable_variables())
  wide = collections.Counter(
      op.type for op in ancestors([tf.convert_to_tensor(gradient).op
                                   for gradient in gradients])
      for output in op.outputs
      if output.shape.ndims == 2 and output.shape.as_list()[-1] == 53)
  assert wide == {"MatMul": 1, "BiasAdd": 1, "Sub": 1, "Exp": 1, "Mul": 1,
                  "TensorScatterSub": 1, "IdentityN": 1}


def test_argmax_of_logits_is_that_of_log_probs(recorded):
  features = golden.placeholders()
  config = modeling.BertConfig(
      hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **TINY)
  model = modeling.BertModel(
      config, False, features["input_ids"], features["input_mask"],
      features["segment_ids"])
  logits = modeling.masked_lm_logits(
      config, model.get_sequence_output(), model.get_embedding_table(),
      features["masked_lm_positions"])
  guesses = run(tf.argmax(logits, axis=-1), golden.feed(features, TINY, 1))
  expected = recorded["eval/1/masked_lm_log_probs"].argmax(axis=-1)
  assert guesses.tolist() == expected.tolist()


# --- Output positions, bfloat16, gradients ---


def without_dropout(sizes):
  return modeling.BertConfig(
      hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)


def loss_of(config, features, is_training=True, rows_only=False, **options):
  """Returns (both losses' sum, gradients of all variables, outputs)."""
  positions = features["masked_lm_positions"]
  if rows_only:
    options["output_positions"] = tf.pad(positions, [[0, 0], [1, 0]])
  with tf.variable_scope("", reuse=tf.AUTO_REUSE):
    model = modeling.BertModel(
        config, is_training, features["input_ids"], features["input_mask"],
        features["segment_ids"], scope="bert", **options)
    output = model.get_sequence_output()
    losses = [
        modeling.get_masked_lm_output(
            config, output[:, 1:] if rows_only else output,
            model.get_embedding_table(), None if rows_only else positions,
            features["masked_lm_ids"], features["masked_lm_weights"])[0],
        modeling.get_next_sentence_output(
            config, model.get_pooled_output(),
            features["next_sentence_labels"])[0]]
  variables = tf.trainable_variables()
  gradients = [tf.convert_to_tensor(gradient)
               for gradient in tf.gradients(sum(losses), variables)]
  if not rows_only:
    output = tf.gather(output, tf.pad(positions, [[0, 0], [1, 0]]),
                       batch_dims=1)
  return losses[0] + losses[1], gradients, output


@pytest.mark.parametrize("one_hot", [
    False, pytest.param(True, marks=pytest.mark.slow)])
def test_last_layer_at_some_positions_is_the_same_there(one_hot):
  config = without_dropout(TINY)
  features = golden.placeholders()
  full, some = [
      loss_of(config, features, rows_only=rows_only,
              use_one_hot_embeddings=one_hot) for rows_only in (False, True)]
  assert some[2].shape.as_list() == [None, 1 + golden.NUM_PREDICTIONS, 16]
  full, some = run([full, some], golden.feed(features, TINY, 3))
  assert_close(some[0], full[0], "loss")
  assert_close(some[2], full[2], "output")
  for var, actual, expected in zip(tf.trainable_variables(), some[1], full[1]):
    assert_close(actual, expected, "gradient/" + var.name)


def test_output_positions_select_rows_of_the_attention_mask():
  random = np.random.RandomState(4)
  inputs = tf.constant(random.randn(2, 5, 8), tf.float32)
  mask = tf.constant(random.randint(0, 2, [2, 5, 5]))
  positions = tf.constant([[0, 3, 3], [4, 0, 1]])
  outputs = []
  for output_positions in (None, positions):
    with tf.variable_scope("a", reuse=tf.AUTO_REUSE):
      outputs.append(modeling.transformer_model(
          inputs, mask, hidden_size=8, num_hidden_layers=2,
          num_attention_heads=2, intermediate_size=8, hidden_dropout_prob=0.0,
          attention_probs_dropout_prob=0.0, do_return_all_layers=True,
          output_positions=output_positions))
  full, some = run(outputs)
  assert some[0].tobytes() == full[0].tobytes()
  expected = np.stack([full[1][0, [0, 3, 3]], full[1][1, [4, 0, 1]]])
  np.testing.assert_allclose(some[1], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_bfloat16_is_near_float32_and_trains_float32_variables():
  config = without_dropout(golden.CONFIGS["wide"])
  features = golden.placeholders()
  exact, rough = [
      loss_of(config, features, rows_only=True, compute_dtype=dtype)
      for dtype in (tf.float32, tf.bfloat16)]
  assert rough[2].dtype == tf.bfloat16 and rough[0].dtype == tf.float32
  shapes = modeling.variable_shapes(config)
  assert [var.name[:-2] for var in tf.global_variables()] == list(shapes)
  assert all(var.dtype.base_dtype == tf.float32
             for var in tf.global_variables())
  batch_products = [op for op in ancestors([rough[0].op])
                    if op.type.startswith("BatchMatMul")]
  assert {tensor.dtype for op in batch_products for tensor in op.inputs} == {
      tf.bfloat16}
  exact, rough = run([exact[:2], rough[:2]],
                     golden.feed(features, golden.CONFIGS["wide"], 2))
  assert abs(rough[0] - exact[0]) < 2e-2 * exact[0]
  for name, actual, expected in zip(shapes, rough[1], exact[1]):
    error = np.linalg.norm(actual - expected)
    # A key's bias adds the same to all scores of a position: no gradient.
    if not name.endswith("key/bias"):
      assert error < 0.1 * np.linalg.norm(expected), name


@pytest.mark.slow
def test_bfloat16_trains():
  config = modeling.BertConfig(**TINY)
  features = golden.placeholders()
  loss, _, _ = loss_of(config, features, rows_only=True,
                       compute_dtype=tf.bfloat16,
                       dropout_seeds=modeling.DropoutSeeds(tf.constant(1)))
  train_op = optimization.create_optimizer(loss, 1e-2, 100, 0, False)
  with golden.session() as sess:
    golden.start(sess)
    feed = golden.feed(features, TINY, 1)
    losses = [sess.run([loss, train_op], feed)[0] for _ in range(20)]
  assert losses[-1] < 0.5 * losses[0]


FUNCTIONS = ("gelu", "affine", "affine_narrowing", "normalize",
             "cross_entropy")


def functions():
  """Returns name -> (function, the reference's, inputs)."""
  random = np.random.RandomState(6)

  def values(*shape):
    return tf.constant(random.randn(*shape) * 2, tf.float32)

  labels = tf.constant([3, 0, 6, 3])
  return {
      "gelu": (modeling.gelu, reference_gelu, [values(40, 5)]),
      "affine": (modeling._affine, reference_affine,
                 [values(6, 4), values(4, 5), values(5)]),
      "affine_narrowing": (modeling._affine, reference_affine,
                           [values(6, 5), values(5, 4), values(4)]),
      "normalize": (modeling._normalize, reference_normalize,
                    [values(6, 7) + 3.0, values(7), values(7)]),
      "cross_entropy": (
          lambda logits: modeling._cross_entropy(logits, labels),
          lambda logits: tf.nn.sparse_softmax_cross_entropy_with_logits(
              labels=labels, logits=logits), [values(4, 7) * 9]),
  }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_match_those_of_the_references_arithmetic(name, mode):
  own, reference, inputs = functions()[name]
  with MODES[mode]():
    outputs = [own(*inputs), reference(*inputs)]
  upstream = tf.constant(np.random.RandomState(7).randn(
      *outputs[0].shape.as_list()), tf.float32)
  actual, expected = run([
      [output] + tf.gradients(output, inputs, upstream) for output in outputs])
  for one, other in zip(actual, expected):
    np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_fast_gradients_match_finite_differences(name):
  own, _, inputs = functions()[name]
  with modeling.fast_gradients():
    output = own(*inputs)
  with golden.session():
    for tensor in inputs:
      error = tf.test.compute_gradient_error(
          tensor, tensor.shape.as_list(), output, output.shape.as_list(),
          delta=1e-2)
      assert error < 2e-2


def test_fast_gradients_in_a_loop():
  """As in gradient accumulation."""
  own = functions()

  def gradients():
    with modeling.fast_gradients():
      return [gradient for function, _, inputs in own.values()
              for gradient in tf.gradients(function(*inputs), inputs)]

  once = gradients()
  _, sums = tf.while_loop(
      lambda i, _: i < 3,
      lambda i, sums: (i + 1, [a + b for a, b in zip(sums, gradients())]),
      (0, [tf.zeros_like(gradient) for gradient in once]), back_prop=False)
  once, sums = run([once, sums])
  for one, total in zip(once, sums):
    np.testing.assert_allclose(total, 3 * one, rtol=1e-5, atol=1e-5)


def test_losses_of_extreme_logits():
  loss, losses = run(modeling.masked_lm_loss(
      tf.constant([[0.0, 500.0], [0.0, 500.0]]), tf.constant([[1], [0]]),
      tf.ones([2, 1])))
  assert losses.tolist() == [0.0, 500.0]
  assert abs(loss - 250.0) < 0.01


# --- Variables ---


@pytest.mark.parametrize("sizes", [TINY, dict(TINY, num_hidden_layers=11)])
def test_variable_shapes_match_the_graph(sizes):
  golden.build(OURS, sizes, golden.placeholders(), is_training=True)
  graph = collections.OrderedDict(
      (var.name[:-2], var.shape.as_list()) for var in tf.trainable_variables())
  assert modeling.variable_shapes(modeling.BertConfig(**sizes)) == graph


def test_assignment_map_names_what_the_checkpoint_has():
  tf.get_variable("fresh", [2])
  tf.get_variable("bert/pooler/dense/bias", [16])
  tf.get_variable("bert/embeddings/word_embeddings", [53, 16])
  mapping, names = modeling.get_assignment_map_from_checkpoint(
      tf.trainable_variables(), CHECKPOINT)
  shared = ["bert/embeddings/word_embeddings", "bert/pooler/dense/bias"]
  assert list(mapping.items()) == [(name, name) for name in shared]
  assert set(names) == {name + end for name in shared for end in ("", ":0")}


def test_a_second_model_gets_variables_of_its_own():
  ids = tf.zeros([1, 4], tf.int32)
  config = modeling.BertConfig(**TINY)
  for _ in range(2):
    modeling.BertModel(config, False, ids)
  modeling.BertModel(config, False, ids, scope="other")
  assert {var.name.split("/")[0] for var in tf.trainable_variables()} == {
      "bert", "bert_1", "other"}


# --- Configuration ---


def test_config_file(tmp_path):
  path = tmp_path / "bert_config.json"
  path.write_bytes(b"\xef\xbb\xbf" + json.dumps(
      dict(TINY, hidden_act="gelu_erf", pooler_type="first")).encode("utf-8"))
  config = modeling.BertConfig.from_json_file(str(path))
  assert config.pooler_type == "first"
  assert config.hidden_size == 16 and config.initializer_range == 0.02
  again = modeling.BertConfig.from_dict(json.loads(config.to_json_string()))
  assert again.to_dict() == config.to_dict()
  again.to_dict()["vocab_size"] = 1
  assert again.vocab_size == 53


@pytest.mark.parametrize("content, message", [
    (b"{", "JSON"),
    (b"\xff", "JSON"),
    (b"[1]", "list"),
    (b"{}", "'vocab_size' must be an integer of at least 1, but is missing"),
    (b'{"vocab_size": 0}', "'vocab_size'.*but is 0"),
    (b'{"vocab_size": true}', "'vocab_size'.*but is True"),
    (b'{"vocab_size": 9, "hidden_size": "8"}', "'hidden_size'.*but is '8'"),
    (b'{"vocab_size": 9, "hidden_size": 10}', "10 is not a multiple.* 12"),
    (b'{"vocab_size": 9, "hidden_act": "swish"}', "activation 'swish'"),
    (b'{"vocab_size": 9, "hidden_dropout_prob": 1}', "'hidden_dropout_prob'"),
    (b'{"vocab_size": 9, "initializer_range": -1}', "'initializer_range'"),
])
def test_bad_config_file_is_named(tmp_path, content, message):
  path = tmp_path / "bad_config.json"
  path.write_bytes(content)
  with pytest.raises(ValueError, match="bad_config.json.*" + message):
    modeling.BertConfig.from_json_file(str(path))


# --- Parts ---


def test_gelu_takes_arrays_and_keywords_and_far_values():
  values = run(modeling.gelu(x=np.array([-1e4, -20, 0, 20, 1e4], np.float32)))
  np.testing.assert_allclose(values, [0, 0, 0, 20, 1e4], rtol=1e-6, atol=1e-6)


def test_activations():
  x = np.linspace(-4, 4, 33, dtype=np.float32)
  tanh_form = [v / 2 * (1 + math.tanh(
      math.sqrt(2 / math.pi) * (v + 0.044715 * v ** 3))) for v in x.tolist()]
  erf_form = [v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
  assert np.abs(np.subtract(tanh_form, erf_form)).max() > 1e-4
  values = run([modeling.get_activation(name)(tf.constant(x))
                for name in ("GELU", "gelu_erf", "relu", "tanh")])
  for value, expected in zip(
      values, (tanh_form, erf_form, np.maximum(x, 0), np.tanh(x))):
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6)
  assert modeling.get_activation(tf.abs) is tf.abs
  for name in ("linear", "", None):
    assert modeling.get_activation(name) is None
  with pytest.raises(ValueError, match="'mish'.*gelu_erf"):
    modeling.get_activation("mish")


def test_layer_norm_has_mean_0_and_deviation_1():
  values = np.random.RandomState(0).randn(3, 4, 50) * 7 + 2
  outputs = run(modeling.layer_norm_and_dropout(
      tf.constant(values, tf.float32), 0.0, name="norm_gamma"))
  assert [var.name for var in tf.trainable_variables()] == [
      "norm_gamma/beta:0", "norm_gamma/gamma:0"]
  gamma = golden.weight("norm_gamma/gamma", [50])
  beta = golden.weight("norm_gamma/beta", [50])
  plain = (outputs - beta) / gamma
  np.testing.assert_allclose(plain.mean(-1), 0, atol=1e-4)
  np.testing.assert_allclose(plain.std(-1), 1, atol=1e-4)


def test_lookup_by_one_hot_equals_gather():
  ids = tf.constant([[3, 1, 3], [0, 4, 2]])
  with tf.variable_scope("", reuse=tf.AUTO_REUSE):
    gathered, table = modeling.embedding_lookup(ids, 5, 8)
    product, _ = modeling.embedding_lookup(
        ids, 5, 8, use_one_hot_embeddings=True)
    joined, _ = modeling.embedding_lookup(tf.expand_dims(ids, 1), 5, 8)
  gathered, product, joined, table = run([gathered, product, joined, table])
  assert gathered.tolist() == table[np.array([[3, 1, 3], [0, 4, 2]])].tolist()
  assert product.tolist() == gathered.tolist()
  assert joined.tolist() == gathered.reshape([2, 1, 24]).tolist()


def test_too_long_sequences_are_refused():
  def embed(vectors):
    with tf.variable_scope(None, default_name="embeddings"):
      return modeling.embedding_postprocessor(
          vectors, max_position_embeddings=4, dropout_prob=0.0)

  with pytest.raises(ValueError, match="5 .*max_position_embeddings 4"):
    embed(tf.zeros([1, 5, 8]))
  unknown = tf.placeholder(tf.float32, [1, None, 8])
  output = embed(unknown)
  assert run(output, {unknown: np.zeros([1, 4, 8])}).shape == (1, 4, 8)
  with pytest.raises(tf.errors.InvalidArgumentError, match="this batch"):
    run(output, {unknown: np.zeros([1, 5, 8])})
  with pytest.raises(ValueError, match="token_type_ids"):
    modeling.embedding_postprocessor(unknown, use_token_type=True)


def test_attention_masks():
  to_mask = tf.constant([[1, 1, 0], [1, 0, 0]])
  mask = modeling.create_attention_mask_from_input_mask(
      tf.zeros([2, 4, 8]), to_mask)
  short = tf.expand_dims(to_mask, 1)
  source = tf.constant(np.random.RandomState(2).randn(2, 4, 8), tf.float32)
  target = tf.constant(np.random.RandomState(3).randn(2, 3, 8), tf.float32)
  changed = target + tf.constant(
      [[[0.0], [0.0], [9.0]], [[0.0], [9.0], [9.0]]])

  def attend(target, mask):
    return modeling.attention_layer(
        source, target, mask, num_attention_heads=2, size_per_head=4)

  with tf.variable_scope("attention", reuse=tf.AUTO_REUSE):
    outputs = [attend(target, mask), attend(target, short),
               attend(changed, mask), attend(target, None)]
    flat = modeling.attention_layer(
        tf.reshape(source, [8, 8]), tf.reshape(target, [6, 8]), mask,
        num_attention_heads=2, size_per_head=4, do_return_2d_tensor=True,
        batch_size=2, from_seq_length=4, to_seq_length=3)
  mask, outputs, flat = run([mask, outputs, flat])
  assert mask.tolist() == [[[1, 1, 0]] * 4, [[1, 0, 0]] * 4]
  assert outputs[0].shape == (2, 4, 8)
  assert outputs[1].tobytes() == outputs[0].tobytes()
  assert outputs[2].tobytes() == outputs[0].tobytes()
  assert np.abs(outputs[3] - outputs[0]).max() > 0.01
  assert flat.tobytes() == outputs[0].tobytes()


def test_wrong_shapes_are_refused():
  with pytest.raises(ValueError, match="differ in rank: 2 and 3"):
    modeling.attention_layer(tf.zeros([4, 8]), tf.zeros([2, 2, 8]))
  with pytest.raises(ValueError, match="batch_size"):
    modeling.attention_layer(tf.zeros([4, 8]), tf.zeros([4, 8]), batch_size=2)
  with pytest.raises(ValueError, match="10 is not a multiple.* 4"):
    modeling.transformer_model(
        tf.zeros([1, 2, 10]), hidden_size=10, num_attention_heads=4)
  with pytest.raises(ValueError, match="input is 6, but hidden_size is 8"):
    modeling.transformer_model(
        tf.zeros([1, 2, 6]), hidden_size=8, num_attention_heads=2)
  with pytest.raises(ValueError, match="'here'.*rank 1; expected rank 2 or"):
    with tf.variable_scope("here"):
      modeling.get_shape_list(tf.zeros([3]), expected_rank=[2, 3])
  with pytest.raises(ValueError, match="rank 2 or more"):
    modeling.reshape_to_matrix(tf.zeros([3]))
  with pytest.raises(ValueError, match="expected rank 3"):
    modeling.gather_indexes(tf.zeros([3, 4]), tf.zeros([3, 1], tf.int32))


def test_transformer_returns_its_last_layer_by_default():
  inputs = tf.constant(np.random.RandomState(2).randn(2, 3, 8), tf.float32)
  options = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                 intermediate_size=8, hidden_dropout_prob=0.0,
                 attention_probs_dropout_prob=0.0)
  with tf.variable_scope("a"):
    layers = modeling.transformer_model(
        inputs, do_return_all_layers=True, **options)
  with tf.variable_scope("a", reuse=True):
    last = modeling.transformer_model(inputs, **options)
  layers, last = run([layers, last])
  assert len(layers) == 2
  assert last.tobytes() == layers[1].tobytes() != layers[0].tobytes()


def test_gather_indexes():
  sequence = np.arange(2 * 5 * 3, dtype=np.float32).reshape([2, 5, 3])
  positions = tf.placeholder(tf.int64, [None, 2])
  unknown = tf.placeholder(tf.float32, [None, 5, 3])
  rows = run(modeling.gather_indexes(unknown, positions),
             {unknown: sequence, positions: [[4, 1], [0, 3]]})
  assert rows.tolist() == [sequence[0, 4].tolist(), sequence[0, 1].tolist(),
                           sequence[1, 0].tolist(), sequence[1, 3].tolist()]


def test_shapes_are_integers_where_known():
  unknown = tf.placeholder(tf.float32, [None, 3, None])
  shape = modeling.get_shape_list(unknown)
  assert shape[1] == 3
  values = run([shape[0], shape[2]], {unknown: np.zeros([2, 3, 4])})
  assert values == [2, 4]
  matrix = modeling.reshape_to_matrix(tf.zeros([2, 3, 4]))
  assert matrix.shape.as_list() == [6, 4]
  back = modeling.reshape_from_matrix(matrix, [2, 3, 9])
  assert back.shape.as_list() == [2, 3, 4]


def test_a_batch_without_predictions_has_a_loss_of_0():
  loss, losses = modeling.masked_lm_loss(
      tf.constant([[1.0, 2.0]]), tf.constant([[0]]), tf.constant([[0.0]]))
  loss, losses = run([loss, losses])
  assert loss == 0.0 and losses[0] > 1.0
