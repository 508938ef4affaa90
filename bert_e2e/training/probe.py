"""A probe of a user's task: how well labels are told from an encoder's vectors.

A classifier, logistic regression, is fitted to a few labelled texts and scored
on others. It sees a text as the mean of the encoder's last layer, and the
encoder is not changed. So the score says what pretraining has done for the
task, within seconds. It is repeated on several draws of labelled texts, as the
scores of single draws of a hundred texts differ by several points.

  N  texts
  B  batch size
  S  sequence length
  H  hidden size
"""

import importlib
import math
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

import modeling
from bert_e2e.data import labelled_texts

# Inverse strength of the classifier's L2 penalty, as scikit-learn defines it.
C = 0.1
# The key of an estimator's prediction: float32 [B, H], see `mean_pooled`.
VECTORS = "vectors"
_MAX_ITERATIONS = 1000
# Batches are as long as their longest text, up to a multiple of this: few
# different shapes, for which XLA would compile the model.
_LENGTH_STEP = 16


def check_installed():
  """Raises ValueError if scikit-learn, which is optional, can't be imported."""
  try:
    importlib.import_module("sklearn.linear_model")
  except ImportError as e:
    raise ValueError(
        "--probe_train_file needs scikit-learn, which cannot be imported (%s); "
        "install it with `python -m pip install scikit-learn`." % e) from e


class Probe:
  """Labelled texts, drawn for some classifiers and held out for their scores.

  Args:
    train: labelled_texts.LabelledTexts to draw from.
    held_out: labelled_texts.LabelledTexts to score on.
    draws: list of lists of int, indices in `train`; see labelled_texts.draw.

  Attributes:
    train, held_out, draws: as given.
  """

  def __init__(self, train, held_out, draws):
    self.train = train
    self.held_out = held_out
    self.draws = draws
    self._used = sorted(set().union(*draws))

  @classmethod
  def read(cls, train_file, eval_file, *, num_labels=100, num_draws=8,
           random_seed=12345, invalid_utf8="error"):
    """Reads and draws the texts of a probe.

    Args:
      train_file, eval_file: see labelled_texts.read.
      num_labels, num_draws, random_seed: see labelled_texts.draw.
      invalid_utf8: see labelled_texts.read.

    Returns:
      Probe.

    Raises:
      ValueError: see labelled_texts.read; or all training texts are of one
        class.
    """
    train = labelled_texts.read(train_file, invalid_utf8)
    held_out = labelled_texts.read(eval_file, invalid_utf8)
    classes = sorted(set(train.labels))
    if len(classes) < 2:
      raise ValueError(
          "All texts of %s have the label \"%s\"; a probe needs two classes or "
          "more." % (train_file, classes[0]))
    labelled_texts.warn_of_odd_texts(train, held_out)
    return cls(train, held_out, labelled_texts.draw(
        train.labels, num_labels, num_draws, random_seed))

  @property
  def texts(self):
    """list of str, the texts whose vectors `score` needs, in their order."""
    return [self.train.texts[i] for i in self._used] + self.held_out.texts

  def score(self, features):
    """Scores a classifier for each draw.

    Args:
      features: float [N, H], vectors of `texts`; see `mean_pooled`.

    Returns:
      list of Score; they are NaN unless all vectors are finite.
    """
    if not np.isfinite(features).all():
      return [Score(math.nan, math.nan)] * len(self.draws)
    row_of = {index: row for row, index in enumerate(self._used)}
    eval_features = features[len(self._used):]
    return [
        fit_and_score(features[[row_of[i] for i in drawn]],
                      [self.train.labels[i] for i in drawn],
                      eval_features, self.held_out.labels)
        for drawn in self.draws]


# ----------------------------------------------------- features and classifier


def mean_pooled(bert_config, input_ids, input_mask, is_training=False,
                **options):
  """Builds an encoder; returns the mean of its last layer over a text's pieces.

  [CLS] and [SEP] are pieces as well, as in the mean pooling of
  sentence-transformers (Reimers and Gurevych 2019, arXiv 1908.10084).

  Args:
    bert_config: modeling.BertConfig.
    input_ids: int32 [B, S], WordPiece ids.
    input_mask: int32 [B, S], 1 for a piece and 0 for padding.
    is_training: bool, the encoder applies dropout.
    **options: other arguments of modeling.BertModel. By default, segment ids
      are 0.

  Returns:
    float32 [B, H]; 0 for a row of padding alone.
  """
  model = modeling.BertModel(
      bert_config, is_training, input_ids, input_mask, **options)
  vectors = tf.cast(model.get_sequence_output(), tf.float32)  # [B, S, H]
  weights = tf.expand_dims(tf.cast(input_mask, tf.float32), 2)  # [B, S, 1]
  return (tf.reduce_sum(vectors * weights, 1) /
          tf.maximum(tf.reduce_sum(weights, 1), 1.0))  # [B, H]


class Score(NamedTuple):
  """The score of a classifier.

  Attributes:
    accuracy: float, the fraction of texts that get their label.
    macro_f1: float, the mean of F1 over the classes of the texts.
  """
  accuracy: float
  macro_f1: float


def fit_and_predict(features, labels, eval_features, c=C):
  """Fits logistic regression to vectors, and classifies others.

  The vectors are standardized: mean 0 and variance 1 in each dimension, as
  measured on `features`. The classifier is multinomial with an L2 penalty,
  fitted by L-BFGS, which needs no random numbers.

  Args:
    features, eval_features: float [N, H].
    labels: sequence of N labels, str or int, of `features`.
    c: float, the inverse strength of the penalty; see scikit-learn's
      LogisticRegression.

  Returns:
    array [N] with the labels of `eval_features`.

  Raises:
    ImportError: scikit-learn is not installed; see `check_installed`.
  """
  # Optional, so it is imported where it is used.
  from sklearn import linear_model, preprocessing
  classifier = linear_model.LogisticRegression(C=c, max_iter=_MAX_ITERATIONS)
  scaler = preprocessing.StandardScaler()
  classifier.fit(
      scaler.fit_transform(np.asarray(features, np.float64)), labels)
  return classifier.predict(
      scaler.transform(np.asarray(eval_features, np.float64)))


def fit_and_score(features, labels, eval_features, eval_labels, c=C):
  """Returns the Score of what `fit_and_predict` gives; see there.

  Args:
    features, labels, eval_features, c: see `fit_and_predict`.
    eval_labels: sequence of N labels of `eval_features`.
  """
  from sklearn import metrics
  predicted = fit_and_predict(features, labels, eval_features, c)
  return Score(
      float(metrics.accuracy_score(eval_labels, predicted)),
      float(metrics.f1_score(
          eval_labels, predicted, labels=sorted(set(eval_labels)),
          average="macro", zero_division=0)))


def summarize(scores: Sequence[Score]) -> Dict[str, float]:
  """Returns the metrics of a probe: means over draws, and their spread.

  Args:
    scores: list of Score, one for each draw.

  Returns:
    dict from a name in metrics.METRICS to a float. The sample standard
    deviations, whose names end with "_std", need two scores or more.
  """
  found = {}
  for name in Score._fields:
    values = [getattr(score, name) for score in scores]
    found["probe_" + name] = float(np.mean(values))
    if len(values) > 1:
      found["probe_%s_std" % name] = float(np.std(values, ddof=1))
  return found


# -------------------------------------------------------------------- batches


def encode(tokenizer, texts, max_seq_length) -> List[List[int]]:
  """Converts texts to ids of WordPieces: [CLS] text [SEP].

  Args:
    tokenizer: tokenization.FullTokenizer.
    texts: list of str.
    max_seq_length: int, pieces of a text at most, [CLS] and [SEP] included; the
      rest is cut off.

  Returns:
    list of lists of int.
  """
  first, last = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
  return [[first, *tokenizer.tokenize_to_ids(text)[:max_seq_length - 2], last]
          for text in texts]


def batches(sequences, order, batch_size, max_seq_length):
  """Yields batches of sequences, each about as long as its longest one.

  Args:
    sequences: list of lists of int.
    order: sequence of int, the indices in `sequences` to take.
    batch_size: int, B; the last batch may be smaller.
    max_seq_length: int, S, the length of the longest batch.

  Yields:
    (sequence of B int, the indices; int32 [B, S'] ids; int32 [B, S'] mask), see
    `padded`. S' is a multiple of 16, or S.
  """
  for start in range(0, len(order), batch_size):
    indices = order[start:start + batch_size]
    batch = [sequences[i] for i in indices]
    length = -(-max(map(len, batch)) // _LENGTH_STEP) * _LENGTH_STEP
    yield (indices,) + padded(batch, min(length, max_seq_length))


def padded(sequences, length) -> Tuple[np.ndarray, np.ndarray]:
  """Returns sequences of ids as a batch.

  Args:
    sequences: list of B lists of int.
    length: int, S, at least that of the longest.

  Returns:
    (int32 [B, S] ids, 0 for padding; int32 [B, S] mask, 1 for an id).
  """
  ids = np.zeros([len(sequences), length], np.int32)
  mask = np.zeros_like(ids)
  for row, sequence in enumerate(sequences):
    ids[row, :len(sequence)] = sequence
    mask[row, :len(sequence)] = 1
  return ids, mask
