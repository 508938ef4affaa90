"""The model function of an estimator: see `model_fn_builder`."""

import contextlib
import functools
import operator
from typing import Any, Callable, List, NamedTuple, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

import modeling
import optimization
from bert_e2e.checkpoints import (
  examples_seen,
  initial_weights,
  saver,
  validation,
)
from bert_e2e.training import (
  heads_first,
  metrics,
  objectives,
  probe,
  progress,
  session_hooks,
  signals,
)
from bert_e2e.training.replicas import Replicas

# Number of different dropout patterns that the cores of a TPU choose from.
_TPU_SALTS = 1 << 18


class ModelOptions(NamedTuple):
  """Options of `model_fn_builder` that the reference's does not have.

  Attributes:
    sentence_objective: str, a key of objectives.SENTENCE_OBJECTIVES.
    log_every_steps: int, steps between two progress lines.
    random_seed: int, seed of dropout, which is a function of the step, and of
      the heads that a Hugging Face directory does not have.
    text_progress: see progress.ProgressHook.
    learning_rate_decay: str, a key of optimization.DECAYS.
    optimizer: str, a key of optimization.OPTIMIZERS.
    gradient_accumulation_steps: int, micro-batches per batch.
    precision: one of config.PRECISIONS.
    fast_gradients: bool, use the gradients of modeling.fast_gradients.
    head_phase: heads_first.HeadPhase, the first steps of the training.
    extend_positions: bool, see initial_weights.make_init_fn.
    characters: sequence of int [V], the characters of each entry of the
      vocabulary, for the loss per character; None if they are unknown.
    is_chief: bool, this process writes checkpoints and TensorBoard events.
    stop: signals.SignalHandler by which the processes of a multi-worker run
      agree when to stop, or None.
    training_hooks: further session hooks of a training, which run after the
      check that the loss is not NaN.
    on_eta: see progress.ProgressHook.
  """
  sentence_objective: str = "nsp"
  log_every_steps: int = 100
  random_seed: int = 12345
  text_progress: Optional[Callable[[int], List[Any]]] = None
  learning_rate_decay: str = "linear"
  optimizer: str = "adamw"
  gradient_accumulation_steps: int = 1
  precision: str = "fp32"
  fast_gradients: bool = True
  head_phase: heads_first.HeadPhase = heads_first.HeadPhase()
  extend_positions: bool = False
  characters: Optional[Sequence[int]] = None
  is_chief: bool = True
  stop: Optional[signals.SignalHandler] = None
  training_hooks: Sequence[Any] = ()
  on_eta: Optional[Callable[[float], None]] = None


def model_fn_builder(bert_config, init_checkpoint, learning_rate,
                     num_train_steps, num_warmup_steps, use_tpu,
                     use_one_hot_embeddings, **options):
  """Returns the `model_fn` of a TPUEstimator.

  Args:
    bert_config: modeling.BertConfig.
    init_checkpoint: path prefix of the checkpoint to start from, or a Hugging
      Face directory, or None.
    learning_rate: float, the peak.
    num_train_steps, num_warmup_steps: int, see optimization.create_update.
    use_tpu: bool.
    use_one_hot_embeddings: bool, look up word embeddings by a matrix product,
      which is faster on a TPU.
    **options: the fields of ModelOptions.

  Returns:
    A function of (features, labels, mode, params, config=None) that returns a
    TPUEstimatorSpec. `params["batch_size"]` is the number of sequences of one
    replica; without a config, no TensorBoard events are written.

  Source: google-research/bert, run_pretraining.model_fn_builder.
  """
  model = _Model(
      bert_config, init_checkpoint, learning_rate, num_train_steps,
      num_warmup_steps, use_tpu, use_one_hot_embeddings,
      ModelOptions(**options))

  def model_fn(features, labels, mode, params, config=None):
    del labels
    if mode == tf.estimator.ModeKeys.PREDICT:
      return model.predict_spec(features)
    _log_features(features)
    if mode == tf.estimator.ModeKeys.EVAL:
      return model.eval_spec(features)
    if mode != tf.estimator.ModeKeys.TRAIN:
      raise ValueError("mode=%r is none of tf.estimator.ModeKeys." % (mode,))
    return model.train_spec(
        features, params, None if config is None else config.model_dir)

  return model_fn


class _Model(NamedTuple):
  """The arguments of `model_fn_builder`, and the parts of its model_fn."""
  bert_config: modeling.BertConfig
  init_checkpoint: Optional[str]
  learning_rate: float
  num_train_steps: int
  num_warmup_steps: int
  use_tpu: bool
  use_one_hot_embeddings: bool
  options: ModelOptions

  def eval_spec(self, features):
    """Returns the TPUEstimatorSpec of an evaluation."""
    heads = self._heads(features, is_training=False)
    if self.options.characters is not None:
      heads = objectives.with_characters(heads, self.options.characters)
    return tf.estimator.tpu.TPUEstimatorSpec(
        tf.estimator.ModeKeys.EVAL, loss=_total_loss(heads),
        eval_metrics=metrics.eval_metrics(heads),
        scaffold_fn=self._initialize())

  def predict_spec(self, features):
    """Returns the TPUEstimatorSpec of a prediction of vectors, not on a TPU.

    Args:
      features: dict of input_ids and input_mask, int32 [B, S].
    """
    vectors = probe.mean_pooled(
        self.bert_config, features["input_ids"], features["input_mask"],
        compute_dtype=tf.float32 if self.use_tpu else self._compute_dtype)
    return tf.estimator.tpu.TPUEstimatorSpec(
        tf.estimator.ModeKeys.PREDICT, predictions={probe.VECTORS: vectors},
        scaffold_fn=self._initialize())

  def train_spec(self, features, params, model_dir):
    """Returns the TPUEstimatorSpec of a training.

    Args:
      features: dict of tensors, the batch of this replica.
      params: dict with "batch_size", and on a TPU "context".
      model_dir: str, where TensorBoard events are written; None for none.
    """
    options = self.options
    replicas = Replicas(params.get("context"))
    loss_scale = None
    if options.precision == "fp16":
      loss_scale = tf.train.experimental.DynamicLossScale()
    gradients, loss, values = optimization.sum_gradients(
        self._share_fn(features, replicas), features,
        options.gradient_accumulation_steps, loss_scale,
        is_trained=options.head_phase.is_trained)
    scaffold_fn = self._initialize()
    update = optimization.create_update(
        gradients, use_tpu=self.use_tpu, optimizer=options.optimizer,
        loss_scale=loss_scale, has_all_slots=True,
        rows=options.head_phase.trained_rows(),
        **options.head_phase.schedule(
            self.learning_rate, self.num_train_steps, self.num_warmup_steps,
            options.learning_rate_decay))
    batch_size = params["batch_size"] * replicas.count
    values = dict(values, **progress.counts(features))
    train_op = examples_seen.advance(update.op, batch_size)
    saver.use_saver(
        _fallbacks(batch_size, loss_scale, model_dir), options.is_chief)
    # From here on of the whole batch.
    loss, values, votes = self._sum_over_replicas(replicas, loss, values)
    hooks = list(options.training_hooks)
    if votes is not None:
      hooks.append(signals.StopHook(options.stop, votes))
    if not self.use_tpu:  # Hooks cannot fetch the tensors of a TPU.
      counts = {name: values.pop(name) for name in progress.COUNTS}
      values = dict(values, loss=loss, learning_rate=update.learning_rate)
      if loss_scale:
        values["loss_scale"] = loss_scale()
        # The loss of a skipped update may be NaN, which must not end the run.
        loss = tf.where(update.was_applied, loss, tf.zeros_like(loss))
        hooks.append(session_hooks.SkipHook(update.was_applied))
      hooks.append(progress.ProgressHook(
          values, features, train_op, options.log_every_steps,
          self.num_train_steps, batch_size,
          model_dir if options.is_chief else None,
          options.text_progress, options.on_eta, counts))
    return tf.estimator.tpu.TPUEstimatorSpec(
        tf.estimator.ModeKeys.TRAIN, loss=loss, train_op=train_op,
        training_hooks=hooks, scaffold_fn=scaffold_fn)

  def _heads(self, features, **details):
    """Returns what objectives.head_outputs returns; see there."""
    with contextlib.ExitStack() as stack:
      if self.options.fast_gradients:
        stack.enter_context(modeling.fast_gradients())
      return objectives.head_outputs(
          self.options.head_phase.config_of(self.bert_config), features,
          self.options.sentence_objective,
          use_one_hot_embeddings=self.use_one_hot_embeddings,
          compute_dtype=self._compute_dtype, **details)

  @property
  def _compute_dtype(self):
    return (tf.bfloat16 if self.options.precision == "bfloat16" else
            tf.float32)

  def _share_fn(self, features, replicas):
    """Returns the function that optimization.sum_gradients calls.

    Args:
      features: dict of tensors, the batch of this replica.
      replicas: replicas.Replicas.
    """
    num_micro_batches = self.options.gradient_accumulation_steps
    totals = [tf.reduce_sum(features["masked_lm_weights"])]
    if objectives.is_packed(features):
      totals.append(tf.reduce_sum(features["next_sentence_weights"]))
    # On a TPU each core divides by its own number, as in the reference.
    num_predictions, *num_sequences = replicas.sum(totals)
    part = objectives.BatchPart(
        num_predictions, replicas.count * num_micro_batches, *num_sequences)
    first_salt = replicas.index * num_micro_batches
    if replicas.is_tpu:
      # The cores share one graph, so only what they read tells them apart.
      first_salt = tf.reduce_sum(features["input_ids"]) % _TPU_SALTS

    def share_fn(micro_batch, number):
      seeds = modeling.DropoutSeeds(
          tf.train.get_or_create_global_step(), self.options.random_seed,
          first_salt + number)
      heads = self._heads(
          micro_batch, is_training=True, dropout_seeds=seeds, part=part)
      return _total_loss(heads), metrics.training_values(heads, part.num_parts)

    return share_fn

  def _sum_over_replicas(self, replicas, loss, values):
    """Sums shares of a batch, and the votes of processes, over all replicas.

    Args:
      replicas: replicas.Replicas.
      loss: float32 [].
      values: dict from names to float32 [].

    Returns:
      (loss, values, votes): the sums; votes is float32 [], see
      signals.StopHook, or None if one process trains alone.
    """
    stop = self.options.stop
    votes = [] if stop is None else [_vote(stop)]
    loss, *sums = replicas.sum([loss] + list(values.values()) + votes)
    return loss, dict(zip(values, sums)), sums[-1] if votes else None

  def _initialize(self):
    """Initializes the model with `init_checkpoint`; logs all variables.

    Returns:
      The scaffold_fn of a TPUEstimatorSpec: a function that returns a
      tf.train.Scaffold, or None if the initializers do it.
    """
    if not self.init_checkpoint:
      _log_variables(tf.trainable_variables(), ())
      return None
    # By an init_fn: initializers would hold the weights in the graph, or could
    # not convert them.
    load, names = initial_weights.make_init_fn(
        self.init_checkpoint, self.bert_config, self.options.random_seed,
        self.options.extend_positions)
    _log_variables(tf.trainable_variables(), names)
    return lambda: tf.train.Scaffold(init_fn=load)


def _total_loss(heads):
  """Returns the sum of the losses of all heads, float32 []."""
  return functools.reduce(operator.add, [head.loss for head in heads.values()])


def _vote(stop):
  """Returns float32 [], the vote of this process; see signals.StopHook."""
  vote = tf.py_func(lambda: np.float32(stop.vote), [], tf.float32)
  return tf.reshape(vote, [])


def _fallbacks(batch_size, loss_scale, model_dir):
  """Returns the values of variables that the checkpoint to resume from lacks.

  Args:
    batch_size: int, sequences of a step.
    loss_scale: tf.train.experimental.LossScale, or None.
    model_dir: str, the directory of the checkpoint; None if it is unknown,
      which then may lack any of them.

  Returns:
    list of (variable, function of the checkpoint), see saver.use_saver.
  """
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
  if model_dir is None:
    return found
  latest = tf.train.latest_checkpoint(model_dir)
  if latest is None:
    return []
  reader = tf.train.load_checkpoint(latest)
  return [(variable, fallback) for variable, fallback in found
          if not reader.has_tensor(saver.name_of(variable))]


def _log_features(features):
  tf.logging.info("*** Features ***")
  for name in sorted(features):
    tf.logging.info("  name = %s, shape = %s", name, features[name].shape)


def _log_variables(variables, initialized):
  """Logs all variables; marks those that `initialized` names."""
  tf.logging.info("**** Trainable Variables ****")
  for variable in variables:
    mark = ""
    if saver.name_of(variable) in initialized:
      mark = ", *INIT_FROM_CKPT*"
    tf.logging.info("  name = %s, shape = %s%s", variable.name, variable.shape,
                    mark)
