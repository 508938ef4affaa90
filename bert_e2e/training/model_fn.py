"""The pretraining model of an estimator: `model_fn_builder`."""

import numpy as np
import tensorflow.compat.v1 as tf

import modeling
import optimization
from bert_e2e.checkpoints import examples_seen, hugging_face, saver, validation
from bert_e2e.common import errors
from bert_e2e.training import progress, signals
from bert_e2e.training.replicas import Replicas

# More than it takes to halve the loss scale down to 1.
_MAX_SKIPPED = 50
# Dropout patterns among which a TPU's cores choose.
_TPU_SALTS = 1 << 18


def model_fn_builder(bert_config, init_checkpoint, learning_rate,
                     num_train_steps, num_warmup_steps, use_tpu,
                     use_one_hot_embeddings, *, log_every_steps=100,
                     random_seed=12345, epochs=None,
                     learning_rate_decay="linear", optimizer="adamw",
                     gradient_accumulation_steps=1, precision="fp32",
                     is_chief=True, stop=None, training_hooks=(),
                     on_eta=None):
  """Makes the `model_fn` of an estimator.

  Args:
    bert_config: modeling.BertConfig.
    init_checkpoint: path prefix of the weights to start from, or a Hugging Face
      folder, or None.
    learning_rate: float, the peak.
    num_train_steps, num_warmup_steps: int, see optimization.create_update.
    use_tpu: bool.
    use_one_hot_embeddings: bool; a TPU multiplies faster than it gathers.
    log_every_steps: int, steps between two progress lines.
    random_seed: int, seed of what is dropped out, a function of the step, and
      of heads that a Hugging Face folder lacks.
    epochs: function from a number of examples that were trained on to the
      passes over the text that they are, or None; for the progress lines.
    learning_rate_decay: one of optimization.DECAYS.
    optimizer: one of optimization.OPTIMIZERS.
    gradient_accumulation_steps: int, micro-batches that a batch is cut into.
    precision: one of config.PRECISIONS.
    is_chief: bool, whether this process writes checkpoints and TensorBoard's
      figures.
    stop: signals.SignalHandler by which several processes that train
      together agree when to end, or None.
    training_hooks: further hooks of a training, run behind the check that the
      loss is a number.
    on_eta: see progress.ProgressHook.

  Returns:
    A function from (features, labels, mode, params, config) to a
    TPUEstimatorSpec. `params["batch_size"]` is the sequences of one replica.

  Source: google-research/bert, run_pretraining.model_fn_builder.
  """

  compute_dtype = tf.bfloat16 if precision == "bfloat16" else tf.float32

  def heads_of(features, is_training, seeds=None, **part):
    return _Heads(bert_config, features, use_one_hot_embeddings, is_training,
                  seeds, compute_dtype=compute_dtype, **part)

  def initialize():
    return _initialize(init_checkpoint, bert_config, random_seed, use_tpu)

  def model_fn(features, labels, mode, params, config):
    del labels
    if mode not in (tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.EVAL):
      raise ValueError("Only TRAIN and EVAL are supported, not %s." % mode)
    _log_features(features)
    if mode == tf.estimator.ModeKeys.EVAL:
      heads = heads_of(features, is_training=False)
      return tf.estimator.tpu.TPUEstimatorSpec(
          mode, loss=heads.masked_lm_loss + heads.next_sentence_loss,
          eval_metrics=heads.eval_metrics(),
          scaffold_fn=initialize())
    replicas = Replicas(params.get("context"))
    loss_scale = None
    if precision == "fp16":
      loss_scale = tf.train.experimental.DynamicLossScale()
    gradients, loss, figures = optimization.sum_gradients(
        _share_fn(heads_of, features, replicas, gradient_accumulation_steps,
                  random_seed),
        features, gradient_accumulation_steps, loss_scale)
    scaffold_fn = initialize()
    update = optimization.create_update(
        gradients, learning_rate, num_train_steps, num_warmup_steps, use_tpu,
        decay=learning_rate_decay, optimizer=optimizer, loss_scale=loss_scale)
    batch_size = params["batch_size"] * replicas.count
    train_op = examples_seen.advance(update.op, batch_size)
    saver.use_saver(_fallbacks(batch_size, loss_scale), is_chief)
    votes = [] if stop is None else [_vote(stop)]
    loss, *values = replicas.sum([loss] + list(figures.values()) + votes)
    hooks = list(training_hooks)
    if votes:
      hooks.append(signals.StopHook(stop, values.pop()))
    if not use_tpu:  # A TPU's tensors can't be fetched by a hook.
      figures = dict(zip(["loss"] + list(figures), [loss] + values),
                     learning_rate=update.learning_rate)
      if loss_scale:
        figures["loss_scale"] = loss_scale()
        # What was passed over does not end the run.
        loss = tf.where(update.was_applied, loss, tf.zeros_like(loss))
        hooks.append(SkipHook(update.was_applied))
      hooks.append(progress.ProgressHook(
          figures, features, train_op, log_every_steps, num_train_steps,
          batch_size, config.model_dir if is_chief else None, epochs, on_eta))
    return tf.estimator.tpu.TPUEstimatorSpec(
        mode, loss=loss, train_op=train_op, training_hooks=hooks,
        scaffold_fn=scaffold_fn)

  return model_fn


def _share_fn(heads_of, features, replicas, num_micro_batches, random_seed):
  """Returns the function of optimization.sum_gradients.

  Args:
    heads_of: function that makes the _Heads of features.
    features: dict of tensors, this replica's.
    replicas: Replicas.
    num_micro_batches: int.
    random_seed: int, of what is dropped out.
  """
  num_predictions = tf.reduce_sum(features["masked_lm_weights"])
  # On a TPU each core divides by its own number, as in the reference.
  num_predictions, = replicas.sum([num_predictions])
  first_salt = replicas.index * num_micro_batches
  if replicas.is_tpu:
    # The cores share one graph; what they read tells them apart.
    first_salt = tf.reduce_sum(features["input_ids"]) % _TPU_SALTS

  def share_fn(micro_batch, number):
    seeds = modeling.DropoutSeeds(
        tf.train.get_or_create_global_step(), random_seed, first_salt + number)
    heads = heads_of(
        micro_batch, is_training=True, seeds=seeds,
        num_predictions=num_predictions,
        num_parts=replicas.count * num_micro_batches)
    return (heads.masked_lm_loss + heads.next_sentence_loss,
            heads.training_figures())

  return share_fn


def _vote(stop):
  """Returns float32 [], what this process says; see signals.StopHook."""
  vote = tf.py_func(lambda: np.float32(stop.vote), [], tf.float32)
  return tf.reshape(vote, [])


def _fallbacks(batch_size, loss_scale):
  """Returns what saver.use_saver needs for what a checkpoint may lack."""
  found = []
  counter = examples_seen.get()
  if counter is not None:
    found.append((counter, lambda checkpoint: examples_seen.read(
        checkpoint, batch_size)))
  if loss_scale:
    initial = loss_scale.initial_loss_scale
    scale, good_steps = (
        next(v for v in tf.global_variables() if saver.name_of(v) == name)
        for name in validation.LOSS_SCALE_VARIABLES)
    found += [(scale, lambda _: initial), (good_steps, lambda _: 0)]
  return found


class _Heads:
  """The model with its two heads over a batch of features.

  Args:
    bert_config: modeling.BertConfig.
    features: dict of tensors, see input_fn_builder.
    use_one_hot_embeddings: bool.
    is_training: bool, whether to drop out.
    dropout_seeds: modeling.DropoutSeeds.
    num_predictions: float32 [], the masked_lm_weights of the batch that the
      features are a part of, summed up; None where they are all of it.
    num_parts: int, parts of that batch, of as many sequences each.
    compute_dtype: see modeling.BertModel.

  Attributes:
    masked_lm_loss, next_sentence_loss: float32 [], the part's share in the
      batch's losses, which are the sums of all parts' shares.
  """

  def __init__(self, bert_config, features, use_one_hot_embeddings,
               is_training, dropout_seeds, num_predictions=None, num_parts=1,
               *, compute_dtype=tf.float32):
    self._features = features
    self._num_parts = num_parts
    self._is_real = tf.cast(features["input_mask"][:, 0], tf.float32)  # [B]
    self._num_predictions = num_predictions
    if num_predictions is None:
      self._num_predictions = tf.reduce_sum(features["masked_lm_weights"])
    # The last layer's vectors are read at [CLS] and where a word is masked.
    positions = tf.pad(features["masked_lm_positions"], [[0, 0], [1, 0]])
    model = modeling.BertModel(
        config=bert_config,
        is_training=is_training,
        input_ids=features["input_ids"],
        input_mask=features["input_mask"],
        token_type_ids=features["segment_ids"],
        use_one_hot_embeddings=use_one_hot_embeddings,
        dropout_seeds=dropout_seeds,
        output_positions=positions,
        compute_dtype=compute_dtype)
    self._logits = modeling.masked_lm_logits(
        bert_config, model.get_sequence_output()[:, 1:],
        model.get_embedding_table(), None)  # [B * P, V]
    self.masked_lm_loss, self._masked_lm_losses = modeling.masked_lm_loss(
        self._logits, features["masked_lm_ids"], features["masked_lm_weights"],
        num_predictions=num_predictions)
    next_sentence_loss, self._next_losses, self._next_log_probs = (
        modeling.get_next_sentence_output(
            bert_config, model.get_pooled_output(),
            features["next_sentence_labels"]))
    if not is_training:
      # An evaluation's last batch may be filled up with padding.
      next_sentence_loss = _mean(self._next_losses, self._is_real)
    self.next_sentence_loss = self._share(next_sentence_loss)

  def _share(self, mean):
    """Returns the share of a mean over the part in that over the batch."""
    return mean if self._num_parts == 1 else mean / self._num_parts

  def training_figures(self):
    """Returns name -> float32 [], the part's shares in losses and accuracies.

    Like those of the losses, all parts' shares add up to the batch's figure.
    """
    features = self._features
    labels = tf.reshape(features["next_sentence_labels"], [-1])
    masked_hits = _hits(_guesses(self._logits),
                        tf.reshape(features["masked_lm_ids"], [-1]))
    weights = tf.reshape(features["masked_lm_weights"], [-1])
    return {
        "masked_lm_loss": self.masked_lm_loss,
        "next_sentence_loss": self.next_sentence_loss,
        "masked_lm_accuracy": tf.reduce_sum(masked_hits * weights) /
                              tf.maximum(self._num_predictions, 1.0),
        "next_sentence_accuracy": self._share(tf.reduce_mean(
            _hits(_guesses(self._next_log_probs), labels))),
    }

  def eval_metrics(self):
    """Returns (metric function, its tensors) as TPUEstimatorSpec takes them.

    The tensors are per example, so that a TPU's cores can be joined.
    """
    shape = tf.shape(self._features["masked_lm_ids"])  # [B, P]

    return _metrics, [
        tf.reshape(self._masked_lm_losses, shape),
        tf.reshape(_guesses(self._logits), shape),
        self._features["masked_lm_ids"],
        self._features["masked_lm_weights"],
        self._next_losses,
        _guesses(self._next_log_probs),
        self._features["next_sentence_labels"],
        self._is_real,
    ]


def _mean(values, weights):
  return tf.reduce_sum(values * weights) / tf.maximum(
      tf.reduce_sum(weights), 1.0)


def _guesses(logits):
  return tf.argmax(logits, axis=-1, output_type=tf.int32)


def _hits(guesses, labels):
  return tf.cast(tf.equal(guesses, labels), tf.float32)


def _metrics(masked_lm_losses, masked_lm_guesses, masked_lm_ids,
             masked_lm_weights, next_losses, next_guesses, next_labels,
             is_real):
  """Means over an evaluation: losses in nats, accuracies as shares.

  Args:
    masked_lm_losses, masked_lm_guesses, masked_lm_ids, masked_lm_weights:
      [B, P].
    next_losses, next_guesses: [B]; next_labels: [B, 1].

  Returns:
    dict from name to a tf.metrics pair.
  """
  return {
      "masked_lm_accuracy": tf.metrics.accuracy(
          masked_lm_ids, masked_lm_guesses, weights=masked_lm_weights),
      "masked_lm_loss": tf.metrics.mean(
          masked_lm_losses, weights=masked_lm_weights),
      "next_sentence_accuracy": tf.metrics.accuracy(
          tf.reshape(next_labels, [-1]), next_guesses, weights=is_real),
      "next_sentence_loss": tf.metrics.mean(next_losses, weights=is_real),
  }


def _log_features(features):
  tf.logging.info("*** Features ***")
  for name in sorted(features):
    tf.logging.info("  name = %s, shape = %s", name, features[name].shape)


def _initialize(init_checkpoint, bert_config, random_seed, use_tpu):
  """Takes the weights to start from; logs where each one comes from.

  Returns:
    None where the initializers now do so; else a function that makes the
    Scaffold.
  """
  variables = tf.trainable_variables()
  names = set()
  scaffold_fn = None
  if init_checkpoint and hugging_face.is_directory(init_checkpoint):
    # Not by initializers: the graph would hold the weights.
    load = hugging_face.init_fn(init_checkpoint, bert_config, random_seed)
    names = {variable.name for variable in variables}

    def scaffold_fn():
      return tf.train.Scaffold(init_fn=load)
  elif init_checkpoint:
    assignment, names = modeling.get_assignment_map_from_checkpoint(
        variables, init_checkpoint)

    def initialize():
      tf.train.init_from_checkpoint(init_checkpoint, assignment)
      return tf.train.Scaffold()

    if use_tpu:
      scaffold_fn = initialize
    else:
      initialize()
  tf.logging.info("**** Trainable Variables ****")
  for variable in variables:
    tf.logging.info("  name = %s, shape = %s%s", variable.name, variable.shape,
                    ", *INIT_FROM_CKPT*" if variable.name in names else "")
  return scaffold_fn


class SkipHook(tf.train.SessionRunHook):
  """Tells of steps whose gradients were not finite; ends a run of many.

  Args:
    was_applied: bool [], see optimization.Update.
  """

  def __init__(self, was_applied):
    self._was_applied = was_applied
    self._num_skipped = 0

  def before_run(self, run_context):
    return tf.train.SessionRunArgs(self._was_applied)

  def after_run(self, run_context, run_values):
    if run_values.results:
      self._num_skipped = 0
      return
    self._num_skipped += 1
    tf.logging.info("The gradients of this batch overflowed fp16; it is passed "
                    "over, and the loss scale halved.")
    if self._num_skipped == _MAX_SKIPPED:
      raise errors.InputError(
          "The gradients of %d batches on end were not finite, whatever the "
          "loss scale. Try a lower --learning_rate, or --precision=fp32." %
          _MAX_SKIPPED)
