"""The table of sentence objectives, and the model function that uses it."""

import pytest
import tensorflow.compat.v1 as tf

import modeling
import run_pretraining_e2e as e2e
from bert_e2e import config
from bert_e2e.data import instances as instances_lib
from bert_e2e.training import metrics, objectives
from tests.golden import make_model_golden as golden
from tests.model_comparison import TINY


def test_each_objective_has_a_head_a_pairing_and_a_choice():
  names = set(objectives.SENTENCE_OBJECTIVES)
  assert names == set(instances_lib.PAIRINGS)
  assert names == set(config.SENTENCE_OBJECTIVES)


def test_each_head_has_metrics_and_each_metric_a_head():
  heads = [objectives.MASKED_LM] + [
      row.head for row in objectives.SENTENCE_OBJECTIVES.values()]
  measured = {metric.head for metric in metrics.METRICS} - {None}
  assert set(heads) == measured
  for head in heads:
    assert metrics.BY_NAME[head + "_loss"].head == head


def test_an_objective_that_is_not_trained_keeps_its_variables():
  for name in ("bert/pooler/dense/kernel", "cls/seq_relationship/output_bias"):
    assert objectives.is_trained(name, "nsp")
    assert not objectives.is_trained(name, "none")
  for name in ("bert/embeddings/LayerNorm/beta", "cls/predictions/output_bias"):
    assert objectives.is_trained(name, "none")


def tiny_model_fn(**options):
  return e2e.model_fn_builder(
      bert_config=modeling.BertConfig(**TINY), init_checkpoint=None,
      learning_rate=1e-2, num_train_steps=10, num_warmup_steps=0,
      use_tpu=False, use_one_hot_embeddings=False, **options)


def build(mode, **options):
  """Returns the TPUEstimatorSpec of a batch of four sequences."""
  features = {
      name: tf.constant(value, tf.float32 if "weights" in name else tf.int32)
      for name, value in golden.batch(TINY, 1).items()}
  tf.train.get_or_create_global_step()
  return tiny_model_fn(**options)(features, None, mode, {"batch_size": 4})


# The first weight of each variable below, recorded from commit 5455792.
# TensorFlow 1.15 seeds initializers with the number of ops in the graph.
FIRST_WEIGHTS = {
    ("1.15", "train"): (0.00546863, -0.0275712, 0.0197619, -0.00124833),
    ("1.15", "eval"): (-0.00383544, -0.00281195, -0.0210607, 0.0273567),
    ("2.15", "train"): (0.00610409, -0.00425064, -0.026002, -0.0122995),
    ("2.15", "eval"): (0.00610409, -0.00425064, -0.026002, -0.0122995),
}


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_new_weights_are_those_of_earlier_versions(mode):
  version = ".".join(tf.__version__.split(".")[:2])
  if (version, mode) not in FIRST_WEIGHTS:
    pytest.skip("no weights are recorded for TensorFlow %s" % version)
  with tf.Graph().as_default():
    tf.set_random_seed(1)
    build(mode)
    variables = {var.op.name: var for var in tf.trainable_variables()}
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      found = session.run([variables[name] for name in (
          "bert/embeddings/word_embeddings", "bert/pooler/dense/kernel",
          "cls/predictions/transform/dense/kernel",
          "cls/seq_relationship/output_weights")])
  assert [value[0][0] for value in found] == pytest.approx(
      FIRST_WEIGHTS[version, mode], rel=1e-5)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_model_fn_is_called_as_in_the_reference(mode):
  """Without a config: `model_fn(features, labels, mode, params)`."""
  with tf.Graph().as_default():
    spec = build(mode)
    with tf.Session() as session:
      session.run([tf.global_variables_initializer(),
                   tf.local_variables_initializer()])
      if mode == "train":
        losses = [session.run([spec.loss, spec.train_op])[0]
                  for _ in range(10)]
        assert losses[-1] < losses[0]
      else:
        metric_fn, tensors = spec.eval_metrics
        found = metric_fn(*tensors)
        session.run([tf.local_variables_initializer()])
        session.run([update for _, update in found.values()])
        values = session.run({name: value for name, (value, _)
                              in found.items()})
        assert session.run(spec.loss) == pytest.approx(
            values["masked_lm_loss"] + values["next_sentence_loss"], rel=1e-4)


@pytest.mark.parametrize("options", [
    {}, {"optimizer": "lamb", "gradient_accumulation_steps": 2}], ids=str)
def test_without_a_sentence_objective_only_masked_words_are_trained(options):
  with tf.Graph().as_default():
    tf.set_random_seed(1)
    spec = build("train", sentence_objective="none", **options)
    weights = {var.op.name: var for var in tf.trainable_variables()}
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      before = session.run(weights)
      for _ in range(3):
        session.run(spec.train_op)
      after = session.run(weights)
  assert set(modeling.variable_shapes(modeling.BertConfig(**TINY))) == set(
      weights)
  for name in weights:
    # A key's bias adds the same to all scores of a position: no gradient.
    if "key/bias" not in name:
      moved = (before[name] != after[name]).any()
      assert moved == objectives.is_trained(name, "none"), name


def test_without_a_sentence_objective_its_figures_are_not_evaluated():
  with tf.Graph().as_default():
    spec = build("eval", sentence_objective="none")
    metric_fn, tensors = spec.eval_metrics
    names = set(metric_fn(*tensors))
    with tf.Session() as session:
      session.run([tf.global_variables_initializer(),
                   tf.local_variables_initializer()])
      loss, losses, weights = session.run([spec.loss] + tensors[:2])
  assert names == {"masked_lm_loss", "masked_lm_accuracy"}
  assert loss == pytest.approx((losses * weights).sum() / weights.sum(), 1e-5)


def test_an_unknown_option_is_refused():
  with pytest.raises(TypeError, match="momentum"):
    tiny_model_fn(momentum=0.9)


def test_a_prediction_is_the_vectors_of_texts():
  with tf.Graph().as_default():
    spec = build(tf.estimator.ModeKeys.PREDICT)
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      vectors, = session.run(spec.predictions).values()
  assert vectors.shape == (4, TINY["hidden_size"])
  assert (vectors[0] != vectors[1]).any()


def test_another_mode_is_refused():
  with tf.Graph().as_default(), pytest.raises(ValueError, match="mode='serve'"):
    build("serve")
