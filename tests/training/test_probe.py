"""The probe of a user's task: features and scores of labelled texts."""

import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from model_comparison import TINY, assert_close, golden, recorded_arrays
from sklearn import linear_model

import modeling
import tokenization
from bert_e2e.data.labelled_texts import LabelledTexts, draw
from bert_e2e.training import probe

LABELS = ["red", "green", "blue"] * 10


def write(path, lines):
  path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
  return str(path)


# ------------------------------------------------------------- labelled texts


def test_texts_of_one_class_are_refused(tmp_path):
  one = write(tmp_path / "one.tsv", ["a\tx", "a\ty"])
  with pytest.raises(ValueError, match="one.tsv have the label \"a\""):
    probe.Probe.read(one, one)


def test_odd_texts_are_warned_of(tmp_path, caplog):
  train = write(tmp_path / "train.tsv", ["a\tx", "b\ty"])
  held_out = write(tmp_path / "eval.tsv", ["a\tx", "c\tz"])
  probe.Probe.read(train, held_out)
  assert "do not occur in %s count as errors of the probe: c" % train in (
      caplog.text)
  assert "share 1 texts" in caplog.text and '"x"' in caplog.text


# ----------------------------------------------------- features and classifier


def test_the_mean_of_the_last_layer():
  """Of the output that the reference's model recorded."""
  expected = recorded_arrays()["eval/1/sequence_output"]
  counts = golden.batch(TINY, 1)["input_mask"].sum(1)
  assert counts.min() < counts.max()
  with tf.Graph().as_default(), golden.session() as session:
    given = golden.placeholders()
    features = probe.mean_pooled(
        modeling.BertConfig(**TINY), given["input_ids"], given["input_mask"],
        token_type_ids=given["segment_ids"])
    golden.start(session)
    found = session.run(features, golden.feed(given, TINY, 1))
  assert_close(found, np.stack([
      vectors[:count].mean(0) for vectors, count in zip(expected, counts)
  ]), "features")


def test_padding_changes_no_feature():
  with tf.Graph().as_default(), tf.Session() as session:
    ids = tf.placeholder(tf.int32, [None, None])
    mask = tf.placeholder(tf.int32, [None, None])
    features = probe.mean_pooled(modeling.BertConfig(**TINY), ids, mask)
    golden.start(session)
    short, long = (
        session.run(features, dict(zip((ids, mask), probe.padded(
            [[2, 7, 3], [2, 3]], length)))) for length in (3, 9))
    empty = session.run(features, {ids: [[0, 0]], mask: [[0, 0]]})
  np.testing.assert_allclose(short, long, rtol=0, atol=1e-6)
  assert not empty.any()


def test_scores_are_those_of_scikit_learn():
  rng = np.random.RandomState(0)
  labels = rng.choice(["a", "b", "c"], 90)
  centers = {label: rng.randn(6) for label in "abc"}
  features = np.stack([centers[label] for label in labels]) + rng.randn(90, 6)
  features = (5 * features + 3).astype(np.float32)
  train, held_out = slice(0, 60), slice(60, 90)
  score = probe.fit_and_score(
      features[train], labels[train], features[held_out], labels[held_out])
  mean, deviation = (features[train].astype(np.float64).mean(0),
                     features[train].astype(np.float64).std(0))
  classifier = linear_model.LogisticRegression(C=probe.C, max_iter=1000).fit(
      (features[train] - mean) / deviation, labels[train])
  predicted = classifier.predict((features[held_out] - mean) / deviation)
  expected = labels[held_out]
  assert 0.5 < score.accuracy < 1
  assert score.accuracy == np.mean(predicted == expected)
  f1 = [2 * np.sum((predicted == label) & (expected == label)) / (
      np.sum(predicted == label) + np.sum(expected == label))
        for label in "abc"]
  assert score.macro_f1 == pytest.approx(np.mean(f1))
  # A class that the held-out texts lack is none of the mean's.
  without = probe.fit_and_score(
      features[train], labels[train], features[held_out][expected != "c"],
      expected[expected != "c"])
  assert without.macro_f1 > 0.4


def test_a_probe_scores_each_draw():
  rng = np.random.RandomState(0)
  features = rng.randn(40, 4)
  train = LabelledTexts("t", LABELS, ["t%d" % i for i in range(30)])
  held_out = LabelledTexts(
      "e", LABELS[:10], ["e%d" % i for i in range(10)])
  draws = draw(LABELS, 4, 2, 1)
  made = probe.Probe(train, held_out, draws)
  used = sorted({*draws[0], *draws[1]})
  assert made.texts == ["t%d" % i for i in used] + held_out.texts
  scores = made.score(features[used + list(range(30, 40))])
  assert scores == [
      probe.fit_and_score(features[drawn], [LABELS[i] for i in drawn],
                          features[30:], LABELS[:10]) for drawn in draws]
  summary = probe.summarize(scores)
  accuracies = [score.accuracy for score in scores]
  assert summary["probe_accuracy"] == pytest.approx(np.mean(accuracies))
  assert summary["probe_accuracy_std"] == pytest.approx(
      np.std(accuracies, ddof=1))
  assert set(probe.summarize(scores[:1])) == {
      "probe_accuracy", "probe_macro_f1"}
  # Of an encoder whose training has diverged.
  for value in (np.nan, np.inf):
    features[35, 2] = value
    diverged = probe.summarize(made.score(
        features[used + list(range(30, 40))]))
    assert set(diverged) == set(summary)
    assert all(map(np.isnan, diverged.values()))


def test_without_scikit_learn(monkeypatch):
  probe.check_installed()
  monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
  with pytest.raises(ValueError) as caught:
    probe.check_installed()
  assert "python -m pip install scikit-learn" in str(caught.value)
  assert "\n" not in str(caught.value)


def test_texts_as_batches(tmp_path):
  vocab = write(tmp_path / "vocab.txt", [
      "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "今", "天", "##s", "day"])
  tokenizer = tokenization.FullTokenizer(vocab)
  encoded = probe.encode(tokenizer, ["今天 days", "Day", ""], 5)
  assert encoded == [[2, 5, 6, 8, 3], [2, 8, 3], [2, 3]]
  ids, mask = probe.padded(encoded[1:], 4)
  assert ids.tolist() == [[2, 8, 3, 0], [2, 3, 0, 0]]
  assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
  assert ids.dtype == mask.dtype == np.int32
