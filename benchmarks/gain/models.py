"""Pretraining, fine-tuning and features of models, for domain_gain.py.

  N  texts
  B  batch size
  S  sequence length
  H  hidden size
  C  classes
"""

import os
import shutil
import sys
from typing import List, NamedTuple

import common

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import numpy as np
import tensorflow.compat.v1 as tf

import modeling
import optimization
import tokenization
from bert_e2e.checkpoints import averaging, conversion, hugging_face
from bert_e2e.common import json_files
from bert_e2e.training import probe, weight_sweep

# Where a model's directory has the checkpoint and its losses; see `pretrain`.
_CHECKPOINT = os.path.join("tf", conversion.CHECKPOINT)
_LOSSES = weight_sweep.TABLE_FILE
# Weights of the trained model in averages with the one it started from.
HALF, WHOLE = 0.5, 1.0


class Model(NamedTuple):
  """A model to start from.

  Attributes:
    hugging_face: str, its Hugging Face directory.
    checkpoint: str, path prefix of the same model as a TensorFlow checkpoint.
    config: modeling.BertConfig.
    tokenizer: tokenization.FullTokenizer.
  """
  hugging_face: str
  checkpoint: str
  config: modeling.BertConfig
  tokenizer: tokenization.FullTokenizer

  @classmethod
  def converted(cls, path, directory):
    """Returns the Model of a Hugging Face directory.

    Args:
      path: str.
      directory: str, where the checkpoint is written, or was before.
    """
    source = conversion.read(path)
    _write(source, directory)
    return cls(
        path, checkpoint_in(directory), source.config,
        tokenization.FullTokenizer(
            os.path.join(directory, "tf", conversion.VOCAB_FILE),
            **hugging_face.read_options(path)))


def checkpoint_in(directory):
  """Returns the path prefix of the checkpoint in a model's directory."""
  return os.path.join(directory, _CHECKPOINT)


def _write(source, directory):
  """Writes a conversion.SourceModel, unless the directory exists."""
  if not os.path.exists(directory):
    partial = directory + ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    conversion.export(
        source.variables, source.config, source.vocab_file,
        source.do_lower_case, output_tf=os.path.join(partial, "tf"),
        source=source.directory, **source.tokenizer)
    os.rename(partial, directory)


# ----------------------------------------------------------------- pretraining


def is_trained(directory, held_out):
  """Tells whether `pretrain` has nothing left to do; see its arguments."""
  return os.path.exists(
      directory if held_out is None else os.path.join(directory, _LOSSES))


def pretrain(options, model, text, held_out, seed, flags, directory):
  """Continues the pretraining of a model, and evaluates it.

  An interrupted training is resumed; a complete one is not repeated, unless it
  was not evaluated and is to be.

  Args:
    options: see domain_gain.parse.
    model: Model.
    text: str, path of the pretraining text.
    held_out: str, path of the text to evaluate on; None not to evaluate.
    seed: int.
    flags: list of str, further flags.
    directory: str, where the model is written.
  """
  if is_trained(directory, held_out):
    return
  training, partial = directory + ".training", directory + ".partial"
  evaluation = [] if held_out is None else [
      "--do_eval", "--eval_input_file=" + held_out,
      "--general_eval_input_file=" + options.general, "--eval_batch_size=32",
      "--max_eval_steps=%d" % max(1, options.eval_sequences // 32),
      "--sweep_weights=%g,%g" % (HALF, WHOLE)]
  common.run([
      sys.executable, common.PROGRAM, "--do_train", "--input_file=" + text,
      "--init_checkpoint=" + model.hugging_face, "--output_dir=" + training,
      "--export_dir=" + partial,
      "--max_seq_length=%d" % options.max_seq_length,
      "--max_predictions_per_seq=%d" % round(0.16 * options.max_seq_length),
      "--train_batch_size=%d" % options.train_batch_size,
      "--learning_rate=%g" % options.pretraining_learning_rate,
      "--warmup_proportion=0.1", "--random_seed=%d" % seed,
      "--save_checkpoints_steps=50", "--keep_checkpoint_max=1",
      *evaluation, *flags])
  if held_out is not None:
    os.replace(os.path.join(training, _LOSSES), os.path.join(partial, _LOSSES))
  shutil.rmtree(directory, ignore_errors=True)
  os.rename(partial, directory)
  shutil.rmtree(training)  # With Adam's moments it is large.


def interpolate(model, trained, directory):
  """Writes the mean of the encoders of two models, and the heads of the second.

  Args:
    model: Model.
    trained: str, directory of the second model.
    directory: str, where the result is written.
  """
  source, _ = averaging.read(
      checkpoint_in(trained), [model.hugging_face], weight=HALF)
  _write(source, directory)


def masked_lm_losses(directory, weight):
  """Returns the masked-LM losses of a model that was evaluated.

  Args:
    directory: str, of the trained model.
    weight: HALF for its interpolation, WHOLE for itself.

  Returns:
    dict from "domain" and "general" to float, in nats.
  """
  rows = json_files.read_lines(os.path.join(directory, _LOSSES))
  return {row["text"]: row["masked_lm_loss"]
          for row in rows if row["weight"] == weight}


# -------------------------------------------------------------- frozen encoder


def _batches(model, sequences, order, size):
  """Returns probe.batches for a model."""
  return probe.batches(
      sequences, order, size, model.config.max_position_embeddings)


def _by_length(sequences):
  """Returns the indices of sequences, shortest first, so that batches are of
  similar lengths."""
  return sorted(range(len(sequences)), key=lambda i: len(sequences[i]))


def _restore(checkpoint):
  """Initializes the encoder's variables from a checkpoint."""
  assignment, _ = modeling.get_assignment_map_from_checkpoint(
      tf.trainable_variables(), checkpoint)
  tf.train.init_from_checkpoint(checkpoint, assignment)


def features(model, checkpoint, sequences):
  """Returns the vectors of texts; see probe.mean_pooled.

  Args:
    model: Model.
    checkpoint: str, path prefix.
    sequences: list of N lists of int; see probe.encode.

  Returns:
    float32 [N, H].
  """
  found = np.zeros([len(sequences), model.config.hidden_size], np.float32)
  with tf.Graph().as_default():
    ids = tf.placeholder(tf.int32, [None, None])
    mask = tf.placeholder(tf.int32, [None, None])
    vectors = probe.mean_pooled(model.config, ids, mask)
    _restore(checkpoint)
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      for rows, batch, batch_mask in _batches(
          model, sequences, _by_length(sequences), 64):
        found[rows] = session.run(vectors, {ids: batch, mask: batch_mask})
  return found


# ------------------------------------------------------------------ fine-tuning


class FineTuning(NamedTuple):
  """How a classifier is trained.

  Attributes:
    learning_rate: float, the peak.
    epochs: int.
    batch_size: int.
  """
  learning_rate: float
  epochs: int
  batch_size: int = 16


def _logits(config, ids, mask, num_classes, is_training):
  """Builds the classifier: the mean of the last layer, then a dense layer.

  Args:
    config: modeling.BertConfig.
    ids, mask: int32 [B, S].
    num_classes: int, C.
    is_training: bool, apply dropout.

  Returns:
    float32 [B, C].
  """
  with tf.variable_scope(tf.get_variable_scope(), reuse=tf.AUTO_REUSE):
    mean = probe.mean_pooled(config, ids, mask, is_training, scope="bert")
    if is_training:
      mean = modeling.dropout(mean, config.hidden_dropout_prob)
    with tf.variable_scope("classifier"):
      return modeling.dense(
          mean, num_classes, kernel_initializer=modeling.create_initializer())


def fine_tune(model, checkpoint, how, train, num_classes, tested, seed):
  """Trains a classifier from a checkpoint; returns what it predicts.

  Args:
    model: Model.
    checkpoint: str, path prefix.
    how: FineTuning.
    train: (list of N lists of int, see probe.encode; list of N int, classes).
    num_classes: int.
    tested: list of lists of int, the sequences to classify.
    seed: int, for the order, dropout and the new layer.

  Returns:
    (list of int, the classes of `tested`; float, mean loss of the last epoch).
  """
  sequences, labels = train[0], np.array(train[1])
  rng = np.random.RandomState(seed)
  epochs = [list(_batches(
      model, sequences, rng.permutation(len(sequences)), how.batch_size))
            for _ in range(how.epochs)]
  num_steps = sum(map(len, epochs))
  losses: List[float] = []
  found = np.zeros([len(tested)], np.int64)
  with tf.Graph().as_default():
    tf.set_random_seed(seed)
    ids = tf.placeholder(tf.int32, [None, None])
    mask = tf.placeholder(tf.int32, [None, None])
    classes = tf.placeholder(tf.int32, [None])
    with modeling.fast_gradients():
      loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
          labels=classes, logits=_logits(
              model.config, ids, mask, num_classes, True)))
      _restore(checkpoint)
      update = optimization.create_optimizer(
          loss, how.learning_rate, num_steps, num_steps // 10, use_tpu=False)
    predicted = tf.argmax(
        _logits(model.config, ids, mask, num_classes, False), 1)
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      for epoch in epochs:
        losses = [session.run([loss, update], {
            ids: batch, mask: batch_mask, classes: labels[rows]})[0]
                  for rows, batch, batch_mask in epoch]
      for rows, batch, batch_mask in _batches(
          model, tested, _by_length(tested), 64):
        found[rows] = session.run(predicted, {ids: batch, mask: batch_mask})
  return found.tolist(), float(np.mean(losses))
