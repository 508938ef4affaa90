"""Continues the pretraining of a BERT on raw text, end to end.

    python run_pretraining_e2e.py --input_file=corpus/*.txt \
        --vocab_file=vocab.txt --bert_config_file=bert_config.json \
        --init_checkpoint=bert_model.ckpt --output_dir=out --do_train --do_eval

A drop-in fork of google-research/bert's run_pretraining.py: the same flags,
names, checkpoints and arithmetic. There, the examples come from TFRecord files
that another program wrote; here, `take_write_2_flow` builds them from the text
while the model trains, with new masks in every epoch and nothing on disk.
"""

import contextlib
import logging
import os
import sys
import time
from typing import Any, Dict

from absl import app, flags

import runtime  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import numpy as np
import tensorflow.compat.v1 as tf

import checks
import cluster
import console
import create_pretraining_data as cpd
import engine
import example_counter
import example_stream
import example_worker
import file_io
import input_pipeline
import interruption
import modeling
import optimization
import preflight
import saving
import stream_record
import tokenization
import training_plan
from create_pretraining_data import (  # noqa: F401  Users import it from here.
    create_instance_to_example_files,
)
from input_pipeline import (  # noqa: F401  Users import them from here.
    Flow,
    input_fn_builder,
    take_write_2_flow,
)
from modeling import (  # noqa: F401  Users import them from here.
    gather_indexes,
    get_masked_lm_output,
    get_next_sentence_output,
)

logger = logging.getLogger("run_pretraining_e2e")

# More than it takes to halve the loss scale down to 1.
_MAX_SKIPPED = 50
# Dropout patterns among which a TPU's cores choose.
_TPU_SALTS = 1 << 18
_SECONDS_BETWEEN_LOOKS = 0.5
# What a flow may end with that needs no traceback to be understood.
_INPUT_ERRORS = (ValueError, OSError, example_worker.WorkerError)


# -------------------------------------------------------------------- the model


def model_fn_builder(bert_config, init_checkpoint, learning_rate,
                     num_train_steps, num_warmup_steps, use_tpu,
                     use_one_hot_embeddings, *, log_every_steps=100,
                     random_seed=12345, epochs=None,
                     learning_rate_decay="linear", optimizer="adamw",
                     gradient_accumulation_steps=1, precision="fp32",
                     is_chief=True, stop=None):
  """Makes the `model_fn` of an estimator.

  Args:
    bert_config: modeling.BertConfig.
    init_checkpoint: path prefix of the weights to start from, or None.
    learning_rate: float, the peak.
    num_train_steps, num_warmup_steps: int, see optimization.create_update.
    use_tpu: bool.
    use_one_hot_embeddings: bool; a TPU multiplies faster than it gathers.
    log_every_steps: int, steps between two progress lines.
    random_seed: int, seed of what is dropped out, a function of the step.
    epochs: function from a number of examples that were trained on to the
      passes over the text that they are, or None; for the progress lines.
    learning_rate_decay: one of optimization.DECAYS.
    optimizer: one of optimization.OPTIMIZERS.
    gradient_accumulation_steps: int, micro-batches that a batch is cut into.
    precision: one of engine.PRECISIONS.
    is_chief: bool, whether this process writes checkpoints and TensorBoard's
      figures.
    stop: interruption.Interruption by which several processes that train
      together agree when to end, or None.

  Returns:
    A function from (features, labels, mode, params, config) to a
    TPUEstimatorSpec. `params["batch_size"]` is the sequences of one replica.

  Source: google-research/bert, run_pretraining.model_fn_builder.
  """

  compute_dtype = tf.bfloat16 if precision == "bfloat16" else tf.float32

  def heads_of(features, is_training, seeds=None, **part):
    return _Heads(bert_config, features, use_one_hot_embeddings, is_training,
                  seeds, compute_dtype=compute_dtype, **part)

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
          scaffold_fn=_initialize(init_checkpoint, use_tpu))
    replicas = engine.Replicas(params.get("context"))
    loss_scale = None
    if precision == "fp16":
      loss_scale = tf.train.experimental.DynamicLossScale()
    gradients, loss, figures = optimization.sum_gradients(
        _share_fn(heads_of, features, replicas, gradient_accumulation_steps,
                  random_seed),
        features, gradient_accumulation_steps, loss_scale)
    scaffold_fn = _initialize(init_checkpoint, use_tpu)
    update = optimization.create_update(
        gradients, learning_rate, num_train_steps, num_warmup_steps, use_tpu,
        decay=learning_rate_decay, optimizer=optimizer, loss_scale=loss_scale)
    batch_size = params["batch_size"] * replicas.count
    train_op = example_counter.advance(update.op, batch_size)
    saving.use_saver(
        _fallbacks(batch_size, loss_scale), config.keep_checkpoint_max,
        is_chief)
    votes = [] if stop is None else [_vote(stop)]
    loss, *values = replicas.sum([loss] + list(figures.values()) + votes)
    hooks = []
    if votes:
      hooks.append(interruption.StopHook(stop, values.pop()))
    if not use_tpu:  # A TPU's tensors can't be fetched by a hook.
      figures = dict(zip(["loss"] + list(figures), [loss] + values),
                     learning_rate=update.learning_rate)
      if loss_scale:
        figures["loss_scale"] = loss_scale()
        # What was passed over does not end the run.
        loss = tf.where(update.was_applied, loss, tf.zeros_like(loss))
        hooks.append(_SkipHook(update.was_applied))
      hooks.append(console.ProgressHook(
          figures, features, train_op, log_every_steps, num_train_steps,
          batch_size, config.model_dir if is_chief else None, epochs))
    return tf.estimator.tpu.TPUEstimatorSpec(
        mode, loss=loss, train_op=train_op, training_hooks=hooks,
        scaffold_fn=scaffold_fn)

  return model_fn


def _share_fn(heads_of, features, replicas, num_micro_batches, random_seed):
  """Returns the function of optimization.sum_gradients.

  Args:
    heads_of: function that makes the _Heads of features.
    features: dict of tensors, this replica's.
    replicas: engine.Replicas.
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
  """Returns float32 [], 1 where this process has got a signal."""
  vote = tf.py_func(lambda: np.float32(stop.signal is not None), [], tf.float32)
  return tf.reshape(vote, [])


def _fallbacks(batch_size, loss_scale):
  """Returns what saving.use_saver needs for what a checkpoint may lack."""
  found = []
  counter = example_counter.get()
  if counter is not None:
    found.append((counter, lambda checkpoint: example_counter.read(
        checkpoint, batch_size)))
  if loss_scale:
    initial = loss_scale.initial_loss_scale
    scale, good_steps = (
        next(v for v in tf.global_variables() if saving.name_of(v) == name)
        for name in checks.LOSS_SCALE_VARIABLES)
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
        get_next_sentence_output(bert_config, model.get_pooled_output(),
                                 features["next_sentence_labels"]))
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
    ]


def _guesses(logits):
  return tf.argmax(logits, axis=-1, output_type=tf.int32)


def _hits(guesses, labels):
  return tf.cast(tf.equal(guesses, labels), tf.float32)


def _metrics(masked_lm_losses, masked_lm_guesses, masked_lm_ids,
             masked_lm_weights, next_losses, next_guesses, next_labels):
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
          tf.reshape(next_labels, [-1]), next_guesses),
      "next_sentence_loss": tf.metrics.mean(next_losses),
  }


def _log_features(features):
  tf.logging.info("*** Features ***")
  for name in sorted(features):
    tf.logging.info("  name = %s, shape = %s", name, features[name].shape)


def _initialize(init_checkpoint, use_tpu):
  """Takes the weights that a checkpoint has; logs where each one comes from.

  Returns:
    None, or on a TPU a function that makes the Scaffold.
  """
  variables = tf.trainable_variables()
  names = {}
  scaffold_fn = None
  if init_checkpoint:
    assignment, names = modeling.get_assignment_map_from_checkpoint(
        variables, init_checkpoint)

    def initialize():
      tf.train.init_from_checkpoint(init_checkpoint, assignment)
      return tf.train.Scaffold()

    if use_tpu:
      scaffold_fn = initialize
    else:
      tf.train.init_from_checkpoint(init_checkpoint, assignment)
  tf.logging.info("**** Trainable Variables ****")
  for variable in variables:
    tf.logging.info("  name = %s, shape = %s%s", variable.name, variable.shape,
                    ", *INIT_FROM_CKPT*" if variable.name in names else "")
  return scaffold_fn


# ------------------------------------------------------------------ the program


def define_flags():
  """Defines the flags: those of both of the reference's programs, and ours."""
  flags.DEFINE_string(
      "input_file", None,
      "Raw text, or TFRecords of examples: files or patterns, separated by "
      "commas. Text: one sentence a line, a blank line between documents.")
  flags.DEFINE_string(
      "eval_input_file", None,
      "Held-out raw text or TFRecords for --do_eval; without it, evaluation "
      "reads --input_file.")
  flags.DEFINE_string(
      "bert_config_file", None, "The model's config: a JSON file.")
  flags.DEFINE_string(
      "output_dir", None, "Folder for checkpoints, results and train.log.")
  flags.DEFINE_string(
      "init_checkpoint", None,
      "Checkpoint to start from, e.g. bert_model.ckpt of a pretrained BERT.")
  flags.DEFINE_string(
      "output_file", None,
      "Accepted for old command lines and not used: no example is written.")
  cpd.define_instance_flags(dupe_factor=1)
  flags.DEFINE_integer(
      "chunk_lines", 1000, "Lines of text that become examples at once.")
  flags.DEFINE_integer(
      "num_workers", example_stream.default_num_workers(),
      "Processes that build examples for training; 0 builds them in the "
      "trainer's process.")
  flags.DEFINE_bool(
      "accept_new_stream", False,
      "Whether to go on from a checkpoint with a corpus, vocabulary or options "
      "other than those it was trained with, at the start of the new stream.")
  flags.DEFINE_bool(
      "preflight_only", False,
      "Whether to end behind a look at the text to train on: what it holds, "
      "and what would spoil the run.")
  flags.DEFINE_bool("do_train", False, "Whether to train.")
  flags.DEFINE_bool("do_eval", False, "Whether to evaluate, after training.")
  flags.DEFINE_integer(
      "train_batch_size", 32, "Sequences a training step, over all devices.")
  flags.DEFINE_integer("eval_batch_size", 8, "Sequences an evaluation step.")
  flags.DEFINE_float("learning_rate", 5e-5, "The peak learning rate.")
  flags.DEFINE_integer("num_train_steps", 100000, "Training steps.")
  flags.DEFINE_float(
      "num_train_epochs", None,
      "Passes over the text, in place of --num_train_steps. How many steps "
      "these are is estimated at the first start, and kept from then on.")
  flags.DEFINE_integer(
      "num_warmup_steps", 10000, "Steps over which the learning rate rises.")
  flags.DEFINE_float(
      "warmup_proportion", None,
      "Share of the steps over which the learning rate rises, in place of "
      "--num_warmup_steps.")
  flags.DEFINE_enum(
      "learning_rate_decay", "linear", list(optimization.DECAYS),
      "What the learning rate does behind the warm-up: falls in a line (the "
      "original's, which starts below the peak), stays, or falls by half a "
      "cosine wave.")
  flags.DEFINE_enum(
      "optimizer", "adamw", list(optimization.OPTIMIZERS),
      "The original's Adam with decoupled weight decay, or LAMB, which bears "
      "larger batches.")
  flags.DEFINE_integer(
      "save_checkpoints_steps", 1000, "Steps between two checkpoints.")
  flags.DEFINE_integer(
      "log_every_steps", 100, "Steps between two progress lines.")
  flags.DEFINE_integer(
      "iterations_per_loop", 1000,
      "Steps that a TPU does between two returns to the host.")
  flags.DEFINE_integer(
      "max_eval_steps", 100, "Evaluation steps at the most.")
  _define_engine_flags()
  flags.mark_flags_as_required(["input_file", "bert_config_file", "output_dir"])


def _define_engine_flags():
  """Defines the flags that say where and how to train."""
  flags.DEFINE_enum(
      "distribution_strategy", "none", list(engine.STRATEGIES),
      "Whether the GPUs of this machine share each batch (mirrored), or those "
      "of the machines that TF_CONFIG names.")
  flags.DEFINE_integer(
      "num_gpus", None, "GPUs of this machine for mirrored; all by default.")
  flags.DEFINE_float(
      "watchdog_seconds", 600.0,
      "Of several machines: how long one waits for a step to end before it "
      "takes another one for lost, and ends.")
  flags.DEFINE_list(
      "devices", [],
      "Devices for mirrored in place of GPUs, with commas between: cpu:0,cpu:1 "
      "to try it without.")
  flags.DEFINE_integer(
      "gradient_accumulation_steps", 1,
      "Parts that a device's share of --train_batch_size is cut into, to be "
      "computed one after the other: the same update with less memory.")
  flags.DEFINE_enum(
      "precision", "fp32", list(engine.PRECISIONS),
      "fp16: on GPUs, what may be is computed in half precision, with dynamic "
      "loss scaling. bfloat16: on TPUs and GPUs that know it.")
  flags.DEFINE_bool(
      "use_xla", False, "Whether XLA compiles what it can.")
  flags.DEFINE_bool("use_tpu", False, "Whether to train on a TPU.")
  flags.DEFINE_string(
      "tpu_name", None,
      "Name or grpc:// address of the TPU; local for one in this machine.")
  flags.DEFINE_string(
      "tpu_coordinator_address", None,
      "host:port by which the TPU's hosts reach this machine; by default its "
      "address towards them and a free port.")
  flags.DEFINE_string(
      "tpu_zone", None, "Zone of the TPU, unless the metadata tell.")
  flags.DEFINE_string(
      "gcp_project", None, "Project of the TPU, unless the metadata tell.")
  flags.DEFINE_string("master", None, "Address of a TensorFlow master.")
  flags.DEFINE_integer("num_tpu_cores", 8, "Cores of the TPU.")


class _Input:
  """The examples of --input_file or --eval_input_file: text or TFRecords.

  Args:
    values: the parsed flags.
    patterns: str, files and patterns with commas between.

  Attributes:
    files: list of paths.
    options: dict, the arguments of `take_write_2_flow` that decide what the
      stream is; empty for TFRecords.
    flow: Flow of raw text; None for TFRecords, and before `open_flow`.

  Raises:
    ValueError: see `take_write_2_flow`, checks.are_tfrecords and
      checks.check_records; a corpus that yields no example.
  """

  def __init__(self, values, patterns):
    self.files = file_io.expand(patterns)
    self.options: Dict[str, Any] = {}
    self.flow: Any = None
    self._log: Any = None
    self._skipped = 0
    self._num_hosts = 1
    self._vocab_file = values.vocab_file
    self._lengths = values.max_seq_length, values.max_predictions_per_seq
    if checks.are_tfrecords(self.files):
      checks.check_records(self.files, *self._lengths)
      return
    if not values.vocab_file:
      raise ValueError(
          "--vocab_file is missing; raw text such as %s needs it." %
          self.files[0])
    self.options = dict(cpd.options_from_flags(values)._asdict())
    for name in ("do_lower_case", "random_seed", "invalid_utf8", "chunk_lines"):
      self.options[name] = getattr(values, name)
    self._text = input_pipeline.text_of(
        self.files, self._vocab_file, **self.options)
    # What is wrong with the text should be said before a model is built.
    example_stream.check_corpus(*self._text)

  def epoch_examples(self):
    """Returns about how many examples a pass over the text has."""
    return example_stream.estimate_epoch_examples(*self._text)

  def preflight(self, **plan):
    """Returns the preflight.Preflight of the text; see preflight.look."""
    return preflight.look(*self._text, **plan)

  def record(self, num_hosts):
    """Returns the stream_record.StreamRecord of the stream of so many hosts."""
    # A run that met a bad byte may go on with --invalid_utf8=replace: up to
    # there the stream is the same.
    deciding = {n: v for n, v in self.options.items() if n != "invalid_utf8"}
    if num_hosts > 1:  # A record without is of one.
      deciding["num_hosts"] = num_hosts
    corpus, _ = self._text
    return stream_record.describe(corpus, self._vocab_file, deciding)

  def open_flow(self, skipped=0, folder=None, **how):
    """Makes the flow.

    Args:
      skipped: int, what to subtract from the number of trained examples to get
        that of the examples to leave out.
      folder: where the hosts' stream_record.WindowLogs are kept, or None.
      **how: arguments of `take_write_2_flow` that say how to read the stream.
    """
    self._skipped = skipped

    def open_examples(start, shard):
      # The hosts take turns: each has given its share of the examples so far.
      self._num_hosts = shard.num_hosts
      self._log = stream_record.WindowLog(
          folder and stream_record.windows_file(folder, shard))
      return take_write_2_flow(
          self.files, self._vocab_file, shard_index=shard.host,
          num_shards=shard.num_hosts, log=self._log,
          first_example=(start - skipped) // shard.num_hosts,
          **dict(self.options, **how))

    self.flow = Flow(open_examples)

  def epochs(self, num_examples):
    """Returns the passes over the text that trained examples are, or None."""
    if self._log is None:
      return None
    return self._log.epochs((num_examples - self._skipped) // self._num_hosts)

  def log(self, title):
    """Logs the files as the reference does."""
    tf.logging.info("*** %s ***", title)
    for path in self.files:
      tf.logging.info("  %s", path)

  def input_fn(self, is_training, fixed_batches=False):
    """Returns the estimator's input function."""
    return input_fn_builder(
        self.files, *self._lengths, is_training=is_training, flow=self.flow,
        fixed_batches=fixed_batches)


class Job:
  """A run, checked from end to end before anything is built or written.

  Args:
    values: the parsed flags.
    stop: interruption.Interruption that may end it.

  Raises:
    ValueError: bad input; see the checks.
  """

  def __init__(self, values, stop=None):
    self._values = values
    self._stop = stop or interruption.Interruption()
    if not values.do_train and not values.do_eval:
      raise ValueError(
          "Nothing to do: pass --do_train, --do_eval or both.")
    _check_numbers(values)
    self._engine = engine.Engine(engine.Options(**{
        name: getattr(values, name) for name in engine.Options._fields}))
    tokenization.validate_case_matches_checkpoint(
        values.do_lower_case, values.init_checkpoint)
    with _named("bert_config_file", values.bert_config_file):
      self._config = modeling.BertConfig.from_json_file(values.bert_config_file)
    vocab_size = None
    if values.vocab_file:
      with _named("vocab_file", values.vocab_file):
        cpd.check_vocabulary(values.vocab_file)
        vocab = tokenization.load_vocab(values.vocab_file)
      vocab_size = max(vocab.values()) + 1
    checks.check_model(self._config, values.bert_config_file,
                       values.max_seq_length, vocab_size, values.vocab_file)
    self._latest = checks.check_output_dir(
        values.output_dir, self._config, values.bert_config_file)
    self._fresh = []
    if values.init_checkpoint:
      self._fresh = checks.check_init_checkpoint(
          values.init_checkpoint, self._config, values.bert_config_file)
    self._train_input: Any = None
    self._eval_input: Any = None
    self._record: Any = None
    self._plan: Any = None
    self._num_train_steps = values.num_train_steps
    if values.do_train:
      self._train_input = _Input(values, values.input_file)
      if self._train_input.options:
        self._record = self._find_record()
      if values.num_train_epochs is not None:
        self._plan = self._find_plan()
        self._num_train_steps = self._plan.num_train_steps
    self._num_warmup_steps = _num_warmup_steps(values, self._num_train_steps)
    if values.do_eval:
      self._eval_input = _Input(
          values, values.eval_input_file or values.input_file)

  def _find_record(self):
    """Returns the StreamRecord that the training goes by."""
    record = self._train_input.record(self._engine.num_hosts)
    if self._latest is None:
      return record
    values = self._values
    before = checks.check_stream(record, values.output_dir,
                                 values.accept_new_stream)
    if before:
      return before
    if (example_counter.is_counted(self._latest) and
        not stream_record.exists(values.output_dir)):
      logger.warning(
          "%s lacks %s, so where in its stream the run was is not known: it "
          "goes on at the start of a new one", values.output_dir,
          stream_record.STREAM_FILE)
    return record._replace(first_example=example_counter.read(
        self._latest, values.train_batch_size))

  def _find_plan(self):
    """Returns the training_plan.TrainingPlan that the training goes by."""
    values = self._values
    if not self._train_input.options:
      raise ValueError(
          "--num_train_epochs needs raw text, and --input_file=%s holds "
          "TFRecords; pass --num_train_steps." % values.input_file)
    return training_plan.find(
        # A run that has saved nothing yet may be planned anew.
        self._latest and values.output_dir, values.num_train_epochs,
        values.train_batch_size, self._train_input.epoch_examples)

  def _open_flows(self):
    """Opens the flows of raw text; from here on a record is kept."""
    values = self._values
    is_chief = self._engine.host == 0
    if self._plan and is_chief:
      self._plan.save(values.output_dir)
    if self._record:
      if is_chief:
        self._record.save(values.output_dir)
      self._train_input.open_flow(
          skipped=self._record.first_example, folder=values.output_dir,
          num_workers=values.num_workers)
    if self._eval_input and self._eval_input.options and is_chief:
      # Some hundred batches: not worth processes of their own.
      self._eval_input.open_flow(num_epochs=1)

  def preflight(self):
    """Shows what a look at the text finds, and writes it to preflight.json.

    Raises:
      ValueError: there is no text to train on.
    """
    values = self._values
    if not self._train_input or not self._train_input.options:
      raise ValueError("--preflight_only looks at raw text to train on; pass "
                       "--do_train, and text as --input_file.")
    found = self._train_input.preflight(
        num_train_steps=self._num_train_steps,
        num_warmup_steps=self._num_warmup_steps,
        train_batch_size=values.train_batch_size)
    tf.io.gfile.makedirs(values.output_dir)
    file_io.write(os.path.join(values.output_dir, "preflight.json"),
                  preflight.to_json(found).encode("utf-8"))
    print(preflight.to_text(found), flush=True)

  def run(self):
    """Trains and evaluates, as the flags say."""
    values = self._values
    try:
      tf.io.gfile.makedirs(values.output_dir)
      console.log_to_file(values.output_dir, self._engine.host)
      self._open_flows()
    except (OSError, tf.errors.OpError) as e:
      raise InputError("--output_dir=%s cannot be written: %s" %
                       (values.output_dir, e)) from e
    self._log_start()
    # What is done needs no others: they may be gone.
    is_training = bool(self._train_input) and not self._is_done()
    is_cluster = is_training and self._engine.is_cluster
    with cluster.lost_peers(is_cluster), _own_errors(
        self._train_input and self._train_input.flow), cluster.Watchdog(
            values.watchdog_seconds, is_cluster) as watchdog:
      self._build(is_training)
      if is_training:
        self._train([watchdog])
      if is_cluster and not self._stop.is_stopping:
        self._await_checkpoint()
    if (self._eval_input and self._engine.host == 0 and
        self._stop.signal is None and not self._stop.is_stopping):
      self._evaluate()

  def _train(self, hooks):
    source = self._train_input
    tf.logging.info("***** Running training *****")
    tf.logging.info("  Batch size = %d", self._values.train_batch_size)
    if self._engine.is_cluster:
      hooks.append(cluster.DigestHook())
    else:
      hooks.append(interruption.StopHook(self._stop))
    if source.flow:
      hooks.append(_FlowHook(source.flow))
      # A TPU's loop, and other machines, would wait for the examples.
      if not self._engine.is_cluster and not self._values.use_tpu:
        self._stop.on_first(source.flow.stop)
    try:
      self._engine.train(
          source.input_fn(is_training=True), hooks, self._num_train_steps)
    finally:
      self._stop.train(False)
      if source.flow:
        source.flow.close()
    self._log_flow(source, "training")

  def _evaluate(self):
    source = self._eval_input
    tf.logging.info("***** Running evaluation *****")
    tf.logging.info("  Batch size = %d", self._values.eval_batch_size)
    if source.flow:
      self._stop.on_first(source.flow.stop)
    try:
      with _own_errors(source.flow):
        result = self._engine.evaluate(
            source.input_fn(
                is_training=False, fixed_batches=self._values.use_tpu),
            self._values.max_eval_steps)
    except Exception as e:
      if self._stop.signal is None:
        raise
      # Interrupted, raised inside TensorFlow, may come out as another error.
      raise interruption.Interrupted from e
    self._log_flow(source, "evaluation")
    if self._stop.signal is None:
      _write_results(result, self._values.output_dir)

  def _latest_step(self):
    """Returns the step of the output folder's latest checkpoint, or None."""
    latest = tf.train.latest_checkpoint(self._values.output_dir)
    return tf.train.load_variable(latest, "global_step") if latest else None

  def _is_done(self):
    """Tells whether the output folder's latest checkpoint is the last one."""
    step = self._latest_step()
    return step is not None and step >= self._num_train_steps

  def _await_checkpoint(self):
    """Waits for the chief's last checkpoint: should it be killed before, it
    needs the others once more."""
    while not self._is_done():
      time.sleep(_SECONDS_BETWEEN_LOOKS)

  def _build(self, is_training):
    """Builds the estimator."""
    values = self._values
    try:
      self._engine.build(
          self._model_fn(), model_dir=values.output_dir,
          save_checkpoints_steps=values.save_checkpoints_steps,
          random_seed=values.random_seed, is_training=is_training)
    except ValueError as e:
      raise InputError(str(e)) from e

  def _model_fn(self):
    values = self._values
    return model_fn_builder(
        bert_config=self._config,
        init_checkpoint=values.init_checkpoint,
        learning_rate=values.learning_rate,
        num_train_steps=self._num_train_steps,
        num_warmup_steps=self._num_warmup_steps,
        use_tpu=values.use_tpu,
        use_one_hot_embeddings=values.use_tpu,
        log_every_steps=values.log_every_steps,
        random_seed=values.random_seed,
        epochs=self._train_input and self._train_input.epochs,
        learning_rate_decay=values.learning_rate_decay,
        optimizer=values.optimizer,
        gradient_accumulation_steps=values.gradient_accumulation_steps,
        precision=values.precision,
        is_chief=self._engine.host == 0,
        stop=self._stop if self._engine.is_cluster else None)

  def _log_start(self):
    """Logs what the run starts from, and what the user may not expect."""
    values = self._values
    if values.output_file:
      logger.warning("--output_file is not used: no example is written.")
    if self._train_input:
      self._train_input.log("Input Files")
      if self._plan:
        logger.info("training for %s", self._plan)
        self._warn_of_plan()
      self._log_learning_rate()
    if self._eval_input:
      self._eval_input.log("Evaluation Files")
      if not values.eval_input_file:
        logger.warning(
            "evaluation reads the training text; pass --eval_input_file to "
            "measure on text that was held out")
    if self._latest:
      step = self._latest_step()
      logger.info("going on from step %d in %s", step, values.output_dir)
      if values.do_train and step >= self._num_train_steps:
        logger.warning(
            "nothing to train: %d steps were asked for, and %s is at step %d",
            self._num_train_steps, values.output_dir, step)
    elif values.init_checkpoint:
      logger.info("starting from the weights of %s", values.init_checkpoint)
      if self._fresh:
        logger.warning(
            "%s lacks %d of the model's variables; these start fresh: %s",
            values.init_checkpoint, len(self._fresh), ", ".join(self._fresh))
    else:
      logger.info("starting from fresh random weights")

  def _log_learning_rate(self):
    """Logs how the learning rate goes; warns where it never has its peak."""
    values = self._values
    logger.info("learning rate: %s", optimization.describe_learning_rate(
        values.learning_rate, self._num_train_steps, self._num_warmup_steps,
        values.learning_rate_decay))
    if self._num_warmup_steps >= self._num_train_steps:
      logger.warning(
          "--num_warmup_steps=%d is no less than the %d steps of the run: the "
          "learning rate ends at %g and never is --learning_rate=%g. Pass e.g. "
          "--warmup_proportion=0.1", self._num_warmup_steps,
          self._num_train_steps, values.learning_rate *
          (self._num_train_steps - 1) / self._num_warmup_steps,
          values.learning_rate)

  def _warn_of_plan(self):
    """Warns where a kept plan's epochs are no longer those of the run."""
    values = self._values
    changed = []
    if self._plan.train_batch_size != values.train_batch_size:
      changed.append("--train_batch_size was %d and is %d" % (
          self._plan.train_batch_size, values.train_batch_size))
    if self._latest and self._record.first_example:
      changed.append("the stream is another one since")
    if changed:
      logger.warning(
          "the number of steps stays the planned one, so the epochs will be "
          "others: %s. --num_train_steps sets another number",
          "; ".join(changed))

  def log_stop(self, reason):
    """Logs what ended the run too early, and where it will go on."""
    step = self._latest_step()
    where = ("anew: there is no checkpoint yet" if step is None else
             "from step %d" % step)
    logger.warning("stopped by %s; the same command goes on %s, in %s",
                   reason, where, self._values.output_dir)

  def _log_flow(self, source, purpose):
    if source.flow:
      logger.info("%d examples built for %s, none of them written to disk",
                  source.flow.num_examples, purpose)


def _num_warmup_steps(values, num_train_steps):
  """Returns the steps of the warm-up that the flags ask for."""
  if values.warmup_proportion is None:
    return values.num_warmup_steps
  return round(values.warmup_proportion * num_train_steps)


def _check_numbers(values):
  """Raises ValueError for a number that no run could mean."""
  for name in ("train_batch_size", "eval_batch_size", "num_train_steps",
               "save_checkpoints_steps", "iterations_per_loop",
               "max_eval_steps", "log_every_steps", "chunk_lines",
               "num_tpu_cores"):
    if getattr(values, name) < 1:
      raise ValueError("--%s=%d is out of range: it must be at least 1." %
                       (name, getattr(values, name)))
  if values.num_train_epochs is not None and not (
      0 < values.num_train_epochs < float("inf")):
    raise ValueError("--num_train_epochs=%s is no positive number." %
                     values.num_train_epochs)
  for steps, other in (("num_train_steps", "num_train_epochs"),
                       ("num_warmup_steps", "warmup_proportion")):
    if values[steps].present and getattr(values, other) is not None:
      raise ValueError("--%s and --%s say the same thing twice; pass one of "
                       "them." % (steps, other))
  if values.warmup_proportion is not None and not (
      0 <= values.warmup_proportion < 1):
    raise ValueError("--warmup_proportion=%s is out of range: it is a share of "
                     "the steps, 0 to 1." % values.warmup_proportion)
  if not values.watchdog_seconds > 0:
    raise ValueError("--watchdog_seconds=%s is no positive number." %
                     values.watchdog_seconds)
  if values.num_warmup_steps < 0:
    raise ValueError("--num_warmup_steps=%d is negative." %
                     values.num_warmup_steps)
  if not 0 < values.learning_rate < float("inf"):
    raise ValueError("--learning_rate=%s is no positive number." %
                     values.learning_rate)


class _SkipHook(tf.train.SessionRunHook):
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
      raise InputError(
          "The gradients of %d batches on end were not finite, whatever the "
          "loss scale. Try a lower --learning_rate, or --precision=fp32." %
          _MAX_SKIPPED)


class _FlowHook(tf.train.SessionRunHook):
  """Ends a training whose worker has died, before the examples run out."""

  def __init__(self, flow):
    self._flow = flow

  def after_run(self, run_context, run_values):
    self._flow.check()


class InputError(Exception):
  """Something outside the program ended it: one sentence for the user."""


@contextlib.contextmanager
def _own_errors(flow):
  """Raises the flow's own error in place of TensorFlow's wrapping of it."""
  try:
    yield
  except example_worker.WorkerError as e:
    raise InputError(str(e)) from e
  except tf.train.NanLossDuringTrainingError as e:
    raise InputError("The loss is not a number any more. Try a lower "
                     "--learning_rate, or a longer warm-up.") from e
  except tf.errors.OpError as e:
    if flow is None and isinstance(e, tf.errors.DataLossError):
      raise InputError("A TFRecord file of the input is damaged: %s. Copy it "
                       "again." % e.message.splitlines()[0]) from e
    if flow is None or not isinstance(flow.error, _INPUT_ERRORS):
      raise
    raise InputError(str(flow.error)) from flow.error


@contextlib.contextmanager
def _named(flag, path):
  """Names the flag of a file that cannot be read."""
  try:
    yield
  except (OSError, tf.errors.OpError) as e:
    raise ValueError("--%s=%s cannot be read: %s" % (flag, path, e)) from e


def _write_results(result, output_dir):
  """Logs an evaluation's results and writes them to eval_results.txt."""
  logger.info("***** Eval results *****")
  lines = ["%s = %s" % (key, result[key]) for key in sorted(result)]
  for line in lines:
    logger.info("  %s", line)
  path = os.path.join(output_dir, "eval_results.txt")
  with tf.io.gfile.GFile(path, "w") as writer:
    writer.write("".join(line + "\n" for line in lines))


def main(argv):
  console.log_to_terminal()
  with interruption.Interruption() as stop:
    try:
      cpd.check_no_arguments(argv[1:])
      job = Job(flags.FLAGS, stop)
      if flags.FLAGS.preflight_only:
        job.preflight()
        return
    except _INPUT_ERRORS as e:
      sys.exit("run_pretraining_e2e.py: %s" % e)
    except interruption.Interrupted:
      sys.exit(stop.exit_code)
    try:
      job.run()
    except InputError as e:
      logger.error("%s", e)
      sys.exit(1)
    except cluster.LostPeer as e:
      logger.error("%s", e)
      sys.exit(cluster.EXIT_CODE)
    except interruption.Interrupted:
      pass
    if stop.signal is not None:
      job.log_stop(stop.signal.name)
      sys.exit(stop.exit_code)
    if stop.is_stopping:
      job.log_stop("another worker")
      sys.exit(cluster.EXIT_CODE)


if __name__ == "__main__":
  define_flags()
  app.run(main)
