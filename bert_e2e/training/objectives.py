"""What BERT is pretrained on: masked words, and a label of each sentence pair.

`SENTENCE_OBJECTIVES` has a row for each choice of --sentence_objective: what
the model has to tell about a pair of sentences. The pairs and their labels are
made by the function of the same name in bert_e2e.data.instances.PAIRINGS; the
metrics of the head are the rows of metrics.METRICS with its name.

  B  batch size
  S  sequence length
  P  masked-LM predictions per sequence
  H  hidden size
  V  vocabulary size
  K  sequences of a row: 1, or the most that are packed into one
"""

from typing import Any, Callable, Dict, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

import modeling
from bert_e2e.common import head_variables
from bert_e2e.training import metrics

MASKED_LM = "masked_lm"


class SentenceObjective(NamedTuple):
  """A row of `SENTENCE_OBJECTIVES`.

  Attributes:
    head: str, the name of the head in the table of metrics.
    label_feature: str, the feature with the labels, int32 [B, K].
    output_fn: function of (BertConfig, pooled output [B * K, H], labels [B, K])
      that creates the head and returns (loss, per_example_loss, log_probs):
      float32 [] (the mean), [B * K] and [B * K, number of labels].
    is_trained: bool. A head that is not trained is in the model, so that
      checkpoints have the same variables, but adds no loss and no metrics; its
      weights and those of the pooler stay as they are.
  """
  head: str
  label_feature: str
  output_fn: Callable[..., Any]
  is_trained: bool = True


# Next-sentence prediction: does B follow A, or is it from elsewhere?
# Devlin et al. 2018, arXiv 1810.04805, section 3.1.
_NEXT_SENTENCE = SentenceObjective(
    head="next_sentence", label_feature="next_sentence_labels",
    output_fn=modeling.get_next_sentence_output)

SENTENCE_OBJECTIVES: Dict[str, SentenceObjective] = {
    "nsp": _NEXT_SENTENCE,
    # Does B follow A, or A follow B? Lan et al. 2019, arXiv 1909.11942, section
    # 3.1. The weights are those of the next-sentence head.
    "sop": _NEXT_SENTENCE._replace(head="sentence_order"),
    # Masked words only: Liu et al. 2019, arXiv 1907.11692, section 4.2.
    "none": _NEXT_SENTENCE._replace(is_trained=False),
}


def is_trained(name, sentence_objective):
  """Tells whether a training updates the variable of a name.

  Args:
    name: str.
    sentence_objective: str, a key of SENTENCE_OBJECTIVES.
  """
  return (SENTENCE_OBJECTIVES[sentence_objective].is_trained or
          not name.startswith(head_variables.SENTENCE_HEAD))


class BatchPart(NamedTuple):
  """Which part of a training batch some features are.

  A part is the share of one replica, or a micro-batch of that.

  Attributes:
    num_predictions: float32 [], the sum of masked_lm_weights over the batch;
      None if the part is the whole batch.
    num_parts: int, the parts of the batch, all with the same number of rows.
    num_sequences: float32 [], the sum of next_sentence_weights over the batch;
      None if the part is the whole batch, or sequences are not packed.
  """
  num_predictions: Any = None
  num_parts: int = 1
  num_sequences: Any = None


WHOLE_BATCH = BatchPart()


def head_outputs(bert_config, features, sentence_objective, *, is_training,
                 use_one_hot_embeddings, compute_dtype=tf.float32,
                 dropout_seeds=None, part=WHOLE_BATCH):
  """Builds the model and its heads.

  TensorFlow derives the seed of an initializer from the number of ops that the
  graph has by then. So an op that is added, removed or moved here, before the
  last variable is created, changes the newly initialized weights of all runs.

  Args:
    bert_config: modeling.BertConfig.
    features: dict of tensors, see input_pipeline.input_fn_builder.
    sentence_objective: str, a key of SENTENCE_OBJECTIVES.
    is_training: bool, dropout is applied.
    use_one_hot_embeddings: bool, see modeling.BertModel.
    compute_dtype: see modeling.BertModel.
    dropout_seeds: modeling.DropoutSeeds, or None.
    part: BatchPart, which part of the batch the features are.

  Returns:
    dict from the name of a head that is trained to its metrics.HeadOutput.
  """
  rows = _packed_rows(features) if is_packed(features) else _rows(features)
  num_predictions = part.num_predictions
  if num_predictions is None:
    num_predictions = tf.reduce_sum(features["masked_lm_weights"])
  model = modeling.BertModel(
      config=bert_config,
      is_training=is_training,
      input_ids=features["input_ids"],
      input_mask=rows.attention,
      token_type_ids=features["segment_ids"],
      use_one_hot_embeddings=use_one_hot_embeddings,
      dropout_seeds=dropout_seeds,
      output_positions=rows.output_positions,
      position_ids=rows.position_ids,
      num_sequences=rows.num_sequences,
      compute_dtype=compute_dtype)
  objective = SENTENCE_OBJECTIVES[sentence_objective]
  masked_lm = _masked_lm(
      bert_config, model, features, rows.num_sequences, part.num_predictions,
      num_predictions)
  sentence = _sentence(
      objective, bert_config, model, features, rows.weights, is_training, part)
  if not objective.is_trained:
    return {MASKED_LM: masked_lm}
  return {MASKED_LM: masked_lm, objective.head: sentence}


def with_characters(heads, characters):
  """Returns the outputs of heads with the characters of the masked-LM labels.

  After the heads were built, because ops change newly initialized weights; see
  `head_outputs`.

  Args:
    heads: dict as of `head_outputs`.
    characters: list of int, for each entry of the vocabulary the number of
      characters that it stands for; see pieces.count_characters.
  """
  masked_lm = heads[MASKED_LM]
  table = tf.constant(np.array(characters, np.float32))
  return dict(heads, **{MASKED_LM: masked_lm._replace(
      characters=tf.gather(table, masked_lm.labels))})


def is_packed(features):
  """Tells whether the rows of a batch, a dict of tensors, are packed."""
  return "pack_ids" in features


class _Rows(NamedTuple):
  """How sequences lie in the rows of a batch.

  Attributes:
    attention: `input_mask` of modeling.BertModel.
    output_positions: int32 [B, K + P], those of [CLS] and of the masked tokens,
      the only ones that need the last layer.
    weights: float32 [B * K], 0.0 for padding.
    position_ids: see modeling.BertModel.
    num_sequences: int, K.
  """
  attention: Any
  output_positions: Any
  weights: Any
  position_ids: Any = None
  num_sequences: int = 1


def _rows(features):
  """Returns the _Rows of a batch with one sequence in each row."""
  return _Rows(
      attention=features["input_mask"],
      # 0.0 for the sequences that fill up the last batch of an evaluation.
      weights=tf.cast(features["input_mask"][:, 0], tf.float32),
      output_positions=tf.pad(
          features["masked_lm_positions"], [[0, 0], [1, 0]]))


def _packed_rows(features):
  """Returns the _Rows of a batch of packed sequences.

  Each sequence attends to itself only: Krell et al. 2021, arXiv 2107.02027,
  section 3.3.
  """
  pack_ids, cls_positions = features["pack_ids"], features["cls_positions"]
  return _Rows(
      attention=tf.cast(tf.equal(  # [B, S, S]
          tf.expand_dims(pack_ids, 2), tf.expand_dims(pack_ids, 1)), tf.int32),
      output_positions=tf.concat(
          [cls_positions, features["masked_lm_positions"]], 1),
      weights=tf.reshape(features["next_sentence_weights"], [-1]),
      position_ids=features["position_ids"],
      num_sequences=cls_positions.shape.as_list()[1])


def _masked_lm(bert_config, model, features, num_sequences, denominator,
               total_weight):
  """Builds the masked-LM head.

  Args:
    bert_config: modeling.BertConfig.
    model: modeling.BertModel with the output positions of [CLS] and masked
      tokens.
    features: dict of tensors.
    num_sequences: int, K.
    denominator: see `num_predictions` of modeling.masked_lm_loss.
    total_weight: see metrics.HeadOutput.

  Returns:
    metrics.HeadOutput.
  """
  label_ids = features["masked_lm_ids"]
  logits = modeling.masked_lm_logits(
      bert_config, model.get_sequence_output()[:, num_sequences:],
      model.get_embedding_table(), None)  # [B * P, V]
  loss, losses = modeling.masked_lm_loss(
      logits, label_ids, features["masked_lm_weights"],
      num_predictions=denominator)
  return metrics.HeadOutput(
      loss=loss,
      losses=losses,
      scores=logits,
      labels=label_ids,
      weights=features["masked_lm_weights"],
      total_weight=total_weight)


def _sentence(objective, bert_config, model, features, weights, is_training,
              part):
  """Builds the head of a sentence objective.

  Args:
    objective: SentenceObjective.
    bert_config: modeling.BertConfig.
    model: modeling.BertModel.
    features: dict of tensors.
    weights: float32 [B * K], 0.0 for padding.
    is_training: bool.
    part: BatchPart.

  Returns:
    metrics.HeadOutput.
  """
  labels = features[objective.label_feature]
  loss, losses, log_probs = objective.output_fn(
      bert_config, model.get_pooled_output(), labels)
  total_weight = None
  if is_packed(features):
    total_weight = part.num_sequences
    if total_weight is None:
      total_weight = tf.reduce_sum(weights)
    loss = tf.reduce_sum(losses * weights) / tf.maximum(total_weight, 1.0)
  elif not is_training:
    loss = tf.reduce_sum(losses * weights) / tf.maximum(
        tf.reduce_sum(weights), 1.0)
  elif part.num_parts > 1:
    loss /= part.num_parts
  return metrics.HeadOutput(
      loss=loss,
      losses=losses,
      scores=log_probs,
      labels=tf.reshape(labels, [-1]),  # [B * K]
      weights=weights,
      total_weight=total_weight)
