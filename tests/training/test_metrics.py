"""The table of metrics, and what the model's metrics are computed to."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert_e2e.training import metrics

HEADS = {"masked_lm": (6, 3), "next_sentence": (6,)}
# Of the predictions of each head, whether the best score is the label's.
HITS = {"masked_lm": [[1, 0, 1], [1, 1, 0], [0, 0, 1],
                      [1, 0, 0], [0, 1, 1], [1, 1, 1]],
        "next_sentence": [1, 0, 1, 1, 0, 1]}
# Of the masked-LM labels; 0 for [UNK].
CHARACTERS = np.array([[3, 0, 1], [2, 5, 4], [7, 1, 1],
                       [0, 0, 2], [1, 2, 3], [9, 9, 9]])
WEIGHTS = {"masked_lm": [[1, 1, 1], [1, 0, 0], [1, 1, 0],
                         [1, 1, 1], [1, 1, 1], [0, 0, 0]],
           "next_sentence": [1, 1, 1, 1, 1, 1]}


def losses(head):
  """Returns the losses of a head's predictions, an array."""
  return np.random.RandomState(len(head)).rand(*HEADS[head]).astype(np.float32)


def outputs(start, end, has_characters=False):
  """Returns the HeadOutput of each head for some sequences of the batch."""
  found = {}
  for head in HEADS:
    labels = np.random.RandomState(1).randint(0, 2, HEADS[head])
    right = np.array(HITS[head])
    best = np.where(right, labels, 1 - labels)[start:end]
    weights = np.array(WEIGHTS[head], np.float32)
    found[head] = metrics.HeadOutput(
        loss=tf.constant(float(start)),
        losses=tf.constant(losses(head)[start:end].reshape([-1])),
        scores=tf.one_hot(best.reshape([-1]), 2),
        labels=tf.constant(labels[start:end], tf.int32),
        weights=tf.constant(weights[start:end]),
        total_weight=(tf.constant(weights.sum()) if head == "masked_lm"
                      else None),
        characters=(tf.constant(CHARACTERS[start:end], tf.float32)
                    if has_characters and head == "masked_lm" else None))
  return found


def accuracy(head):
  return np.average(HITS[head], weights=WEIGHTS[head])


@pytest.fixture(autouse=True)
def fixture_graph():
  """Gives each test a graph of its own."""
  with tf.Graph().as_default():
    yield


def test_names_are_unique_and_rows_are_complete():
  names = [metric.name for metric in metrics.METRICS]
  assert len(set(names)) == len(names) == len(metrics.BY_NAME)
  for metric in metrics.METRICS:
    assert (metric.head is None) == (metric.measure is None)
    if metric.table_decimals is not None:
      assert metric.higher_is_better is not None, metric.name
    assert format(12.5 * metric.factor, metric.report_format)


def test_the_order_and_the_words_of_a_progress_line():
  # Those of a probe are of evaluations only, and so are those per character.
  names = [metric.name for metric in metrics.METRICS if metric.derive is None
           and not metric.name.startswith("probe_")
           and not metric.name.endswith("_per_character")]
  ordered = metrics.in_progress_order(reversed(names))
  assert ordered == [
      "loss", "masked_lm_loss", "next_sentence_loss", "sentence_order_loss",
      "masked_lm_accuracy", "next_sentence_accuracy",
      "sentence_order_accuracy", "learning_rate", "loss_scale",
      "sequences_per_second", "tokens_per_second", "padding", "input_wait",
      "epoch"]
  assert [metrics.BY_NAME[name].to_progress(0.123456) for name in ordered] == [
      "loss 0.12346", "masked_lm_loss 0.12346", "next_sentence_loss 0.12346",
      "sentence_order_loss 0.12346", "masked_lm_accuracy 0.12346",
      "next_sentence_accuracy 0.12346", "sentence_order_accuracy 0.12346",
      "learning_rate 0.12346", "loss_scale 0.12346", "0.1 sequences/s",
      "0 tokens/s", "padding 12%", "input wait 12%", "epoch 0.123"]


def test_perplexity_is_derived_from_the_loss():
  perplexity = metrics.BY_NAME["perplexity"].value_in
  assert perplexity({"masked_lm_loss": 2.0}) == pytest.approx(7.389056)
  assert perplexity({"masked_lm_loss": 800.0}) == float("inf")
  assert np.isnan(perplexity({"masked_lm_loss": float("nan")}))
  assert np.isnan(perplexity({}))
  loss = metrics.BY_NAME["masked_lm_loss"].value_in
  assert loss({"masked_lm_loss": 2.5}) == 2.5
  assert np.isnan(loss({"loss": 2.5}))


@pytest.mark.parametrize("bounds", [(0, 6), (0, 3, 6), (0, 2, 4, 6)])
def test_shares_of_parts_add_up_to_the_metrics_of_the_batch(bounds):
  parts = list(zip(bounds, bounds[1:]))
  shares = [metrics.training_values(outputs(*part), num_parts=len(parts))
            for part in parts]
  assert list(shares[0]) == [
      "masked_lm_loss", "masked_lm_accuracy",
      "next_sentence_loss", "next_sentence_accuracy"]
  with tf.Session() as session:
    values = session.run(shares)
  sums = {name: sum(value[name] for value in values) for name in values[0]}
  for head in HEADS:
    # The share of the loss is the head's own.
    assert sums[head + "_loss"] == sum(bounds[:-1])
    assert sums[head + "_accuracy"] == pytest.approx(accuracy(head), rel=1e-6)


def test_an_evaluation_takes_the_mean_over_its_batches():
  """Weighted by predictions, not by batches."""
  batches = tf.data.Dataset.from_tensor_slices([0, 4])
  start = tf.data.make_one_shot_iterator(batches).get_next()
  metric_fn, first = metrics.eval_metrics(outputs(0, 4, True))
  _, second = metrics.eval_metrics(outputs(4, 6, True))
  is_first = tf.equal(start, 0)
  pairs = metric_fn(*[tf.cond(is_first, lambda a=a: a, lambda b=b: b)
                      for a, b in zip(first, second)])
  with tf.Session() as session:
    session.run(tf.local_variables_initializer())
    for _ in range(2):
      session.run([update for _, update in pairs.values()])
    found = session.run({name: value for name, (value, _) in pairs.items()})
  for head in HEADS:
    assert found[head + "_accuracy"] == pytest.approx(accuracy(head), rel=1e-6)
    assert found[head + "_loss"] == pytest.approx(
        np.average(losses(head), weights=WEIGHTS[head]), rel=1e-6)


  # The sum of all losses by the sum of all characters, not a mean of ratios.
  weights = np.array(WEIGHTS["masked_lm"]) * (CHARACTERS > 0)
  assert found["masked_lm_nats_per_character"] == pytest.approx(
      (losses("masked_lm") * weights).sum() / (CHARACTERS * weights).sum(),
      rel=1e-6)


def test_there_is_no_loss_per_character_of_unknown_characters():
  _, tensors = metrics.eval_metrics(outputs(0, 6))
  _, more = metrics.eval_metrics(outputs(0, 6, True))
  assert len(more) == len(tensors) + 2
  assert "masked_lm_nats_per_character" not in metrics.training_values(
      outputs(0, 6))


def test_metrics_of_heads_that_a_model_lacks_are_left_out():
  only = {"masked_lm": outputs(0, 6)["masked_lm"]}
  assert list(metrics.training_values(only)) == [
      "masked_lm_loss", "masked_lm_accuracy"]
