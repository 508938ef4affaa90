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
import functools
import itertools
import logging
import os
import sys
from typing import Any, Dict, List

from absl import app, flags

import runtime  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import tensorflow.compat.v1 as tf

import checks
import console
import corpus as corpus_lib
import create_pretraining_data as cpd
import engine
import example_counter
import example_stream
import example_worker
import file_io
import interruption
import modeling
import optimization
import stream_record
import tokenization
import training_plan
from create_pretraining_data import (  # noqa: F401  Users import it from here.
    create_instance_to_example_files,
)
from modeling import (  # noqa: F401  Users import them from here.
    gather_indexes,
    get_masked_lm_output,
    get_next_sentence_output,
)

logger = logging.getLogger("run_pretraining_e2e")

# Examples that cross from Python to TensorFlow at once: one at a time, the
# crossing would cost more than all else (a tenth of the speed).
_EXAMPLES_PER_LIST = 256
_BATCHES_AHEAD = 2
_RECORD_SHUFFLE_BUFFER = 100
# What a flow may end with that needs no traceback to be understood.
_INPUT_ERRORS = (ValueError, OSError, example_worker.WorkerError)


# ----------------------------------------------------------------- the examples


def take_write_2_flow(input_files, vocab_file, *, do_lower_case=True,
                      do_whole_word_mask=False, max_seq_length=128,
                      max_predictions_per_seq=20, masked_lm_prob=0.15,
                      short_seq_prob=0.1, random_seed=12345, chunk_lines=1000,
                      num_workers=0, num_epochs=None, dupe_factor=1,
                      invalid_utf8="error", shard_index=0, num_shards=1,
                      first_example=0, log=None):
  """Turns raw text into a flow of serialized tf.Examples.

  The text is read in chunks of `chunk_lines` lines, each carried on to the end
  of its last document; every epoch comes in another order, with other sentence
  pairs and masks. The same arguments give the same flow.

  Args:
    input_files: list of files or patterns (each one's matches sorted, each file
      once), or one str of them with commas between.
    vocab_file: path of the vocabulary.
    do_lower_case: bool, whether the model is an uncased one.
    do_whole_word_mask, max_seq_length, max_predictions_per_seq, masked_lm_prob,
      short_seq_prob, dupe_factor: see create_pretraining_data.InstanceOptions.
    random_seed: int, seed of all draws.
    chunk_lines: int, lines that are turned into examples at once.
    num_workers: int, processes that build examples; 0 builds in this one.
    num_epochs: int, passes over the text; None goes on for ever.
    invalid_utf8: "error" or "replace".
    shard_index, num_shards: which part of the text this host reads.
    first_example: int, examples at the start of the flow to leave out.
    log: a stream_record.WindowLog, whose file this call reads and writes: by it
      a later one finds its `first_example` without building those before.

  Returns:
    An example_stream.Reading, an iterator over bytes; see
    create_pretraining_data.ExampleSerializer.

  Raises:
    ValueError: no file, an unreadable or empty one, a vocabulary without the
      special tokens, an option out of range. While iterating: text that is not
      UTF-8, or a whole epoch without an example.

  >>> flow = take_write_2_flow(["corpus.txt"], "vocab.txt", num_epochs=1)
  >>> example = tf.train.Example.FromString(next(flow))  # doctest: +SKIP
  """
  cpd.check_vocabulary(vocab_file)
  corpus, options = _text(
      input_files, vocab_file, do_lower_case=do_lower_case,
      do_whole_word_mask=do_whole_word_mask, max_seq_length=max_seq_length,
      max_predictions_per_seq=max_predictions_per_seq,
      masked_lm_prob=masked_lm_prob, short_seq_prob=short_seq_prob,
      random_seed=random_seed, chunk_lines=chunk_lines,
      dupe_factor=dupe_factor, invalid_utf8=invalid_utf8,
      num_hosts=num_shards)
  stream = example_stream.ExampleStream(
      corpus, options, num_epochs=num_epochs, num_workers=num_workers,
      shard=example_stream.Shard(shard_index, num_shards))
  return stream.examples_from(first_example,
                              log or stream_record.WindowLog(None))


def _text(input_files, vocab_file, *, do_lower_case, random_seed, chunk_lines,
          invalid_utf8, num_hosts=1, **instances):
  """Returns (Corpus, StreamOptions) of the arguments of take_write_2_flow."""
  options = example_stream.StreamOptions(
      vocab_file=vocab_file,
      do_lower_case=do_lower_case,
      instances=cpd.InstanceOptions(**instances),
      random_seed=random_seed,
      invalid_utf8=invalid_utf8).validated()
  return corpus_lib.Corpus(
      file_io.expand(input_files), chunk_lines=chunk_lines,
      num_hosts=num_hosts), options


class Flow:
  """A flow that `input_fn` can open, and what became of it.

  TensorFlow wraps an error of a Python generator in an operation's error of
  many lines; the error itself is kept here. Several hosts of one process open
  it once each.

  Args:
    open_examples: function from the number of examples to leave out, over all
      hosts, and the example_stream.Shard of a host to an
      example_stream.Reading of that host's serialized examples; e.g. of
      `take_write_2_flow`.

  Attributes:
    num_examples: int, examples that went to TensorFlow.
    error: the exception that ended the flow, or None.
  """

  def __init__(self, open_examples):
    self._open_examples = open_examples
    self._readings: List[example_stream.Reading] = []
    self._is_stopped = False
    self.num_examples = 0
    self.error = None

  def lists(self, start=0, host=0, num_hosts=1):
    """Yields lists of a host's examples, from a number of examples on."""
    try:
      examples = self._open_examples(
          int(start), example_stream.Shard(int(host), int(num_hosts)))
      self._readings.append(examples)
      with contextlib.closing(examples):
        while not self._is_stopped:
          # A list, not a NumPy array of bytes, which would lose trailing NULs.
          block = list(itertools.islice(examples, _EXAMPLES_PER_LIST))
          if not block:
            return
          self.num_examples += len(block)
          yield block
    except Exception as e:
      self.error = e
      raise

  def check(self):
    """Raises example_worker.WorkerError if a worker has died."""
    for reading in self._readings:
      reading.check()

  def stop(self):
    """Lets all hosts' examples end soon, from any thread."""
    self._is_stopped = True
    for reading in self._readings:
      reading.stop()

  def close(self):
    """Ends the workers, too, once nobody needs the examples any more."""
    self.stop()
    for reading in self._readings:
      try:
        reading.close()
      except ValueError:
        pass  # A thread of TensorFlow's is in it, which `stop` makes end it.


def input_fn_builder(input_files, max_seq_length, max_predictions_per_seq,
                     is_training, num_cpu_threads=4, *, flow=None,
                     fixed_batches=False):
  """Makes the `input_fn` of an estimator.

  Args:
    input_files: list of TFRecord files; not read where there is a `flow`.
    max_seq_length, max_predictions_per_seq: int, L and P of the examples.
    is_training: bool; TFRecords are shuffled and interleaved for training.
    num_cpu_threads: int, TFRecord files read at once.
    flow: a Flow of examples to read instead of files.
    fixed_batches: bool; an evaluation of a flow gives each example once and a
      smaller last batch, unless this is set (a TPU needs fixed shapes): then
      it repeats them.

  Returns:
    A function from `params` (with "batch_size", B) and optionally a
    tf.distribute.InputContext to a tf.data.Dataset of dicts. Of a flow, each
    host reads its part; which host that is, the input context tells or, on a
    TPU, `params["context"]`. The dicts: input_ids, input_mask, segment_ids
    int32 [B, L];
    masked_lm_positions, masked_lm_ids int32 [B, P]; masked_lm_weights
    float32 [B, P]; next_sentence_labels int32 [B, 1].

  Source: google-research/bert, run_pretraining.input_fn_builder, the same for
    TFRecords.
  """

  def input_fn(params, input_context=None):
    if flow is None:
      dataset = _record_dataset(input_files, is_training, num_cpu_threads)
    else:
      dataset = _flow_dataset(flow, is_training,
                              _shard(params, input_context))
      if fixed_batches and not is_training:
        dataset = dataset.repeat()
    once = flow is not None and not is_training and not fixed_batches
    dataset = dataset.batch(params["batch_size"], drop_remainder=not once)
    parse = functools.partial(
        _parse_batch, max_seq_length=max_seq_length,
        max_predictions_per_seq=max_predictions_per_seq)
    # There is nothing to convert, and TensorFlow would write its source, as it
    # does with what it converts, to a temporary file.
    parse = tf.autograph.experimental.do_not_convert(parse)
    return dataset.map(parse).prefetch(_BATCHES_AHEAD)

  return input_fn


def _shard(params, input_context):
  """Returns the example_stream.Shard of the host that an input_fn is for."""
  if input_context is not None:
    return example_stream.Shard(input_context.input_pipeline_id,
                                input_context.num_input_pipelines)
  context = params.get("context")  # A TPUContext, on a TPU.
  if context is None:
    return example_stream.Shard()
  _, host, num_hosts, _ = context.current_input_fn_deployment()
  return example_stream.Shard(host, num_hosts)


def _flow_dataset(flow, is_training, shard):
  """Returns a dataset of a host's serialized examples of a flow.

  In an estimator's training it starts behind the examples that the restored
  checkpoint was trained on: the counter is read when the dataset's iterator is
  initialized, which is after the variables are.
  """
  start = tf.constant(0, tf.int64)
  if is_training and tf.train.get_global_step() is not None:
    start = tf.identity(example_counter.get_or_create())
  lists = tf.data.Dataset.from_generator(
      flow.lists, tf.string, tf.TensorShape([None]),
      args=(start,) + tuple(shard))
  return lists.apply(tf.data.experimental.unbatch())


def _record_dataset(input_files, is_training, num_cpu_threads):
  """Returns an endless dataset of the records of TFRecord files."""
  if not is_training:
    # A fixed number of steps is evaluated: the end must not come before it.
    return tf.data.TFRecordDataset(input_files).repeat()
  files = tf.data.Dataset.from_tensor_slices(tf.constant(input_files))
  files = files.repeat().shuffle(buffer_size=len(input_files))
  records = files.apply(
      tf.data.experimental.parallel_interleave(
          tf.data.TFRecordDataset, sloppy=True,
          cycle_length=min(num_cpu_threads, len(input_files))))
  return records.shuffle(buffer_size=_RECORD_SHUFFLE_BUFFER)


def _parse_batch(examples, max_seq_length, max_predictions_per_seq):
  """Parses serialized examples: string [B] -> dict of features."""
  ints = {
      "input_ids": max_seq_length,
      "input_mask": max_seq_length,
      "segment_ids": max_seq_length,
      "masked_lm_positions": max_predictions_per_seq,
      "masked_lm_ids": max_predictions_per_seq,
      "next_sentence_labels": 1,
  }
  spec = {n: tf.FixedLenFeature([size], tf.int64) for n, size in ints.items()}
  spec["masked_lm_weights"] = tf.FixedLenFeature(
      [max_predictions_per_seq], tf.float32)
  features = tf.parse_example(examples, spec)
  # tf.Example knows int64 only, and a TPU int32 only.
  return {
      name: tf.cast(value, tf.int32) if name in ints else value
      for name, value in features.items()
  }


# -------------------------------------------------------------------- the model


def model_fn_builder(bert_config, init_checkpoint, learning_rate,
                     num_train_steps, num_warmup_steps, use_tpu,
                     use_one_hot_embeddings, *, log_every_steps=100,
                     random_seed=12345, epochs=None,
                     learning_rate_decay="linear", optimizer="adamw"):
  """Makes the `model_fn` of an estimator.

  Args:
    bert_config: modeling.BertConfig.
    init_checkpoint: path prefix of the weights to start from, or None.
    learning_rate: float, the peak.
    num_train_steps, num_warmup_steps: int, see optimization.create_optimizer.
    use_tpu: bool.
    use_one_hot_embeddings: bool; a TPU multiplies faster than it gathers.
    log_every_steps: int, steps between two progress lines.
    random_seed: int, seed of what is dropped out, a function of the step.
    epochs: function from a number of examples that were trained on to the
      passes over the text that they are, or None; for the progress lines.
    learning_rate_decay: one of optimization.DECAYS.
    optimizer: one of optimization.OPTIMIZERS.

  Returns:
    A function from (features, labels, mode, params, config) to a
    TPUEstimatorSpec.

  Source: google-research/bert, run_pretraining.model_fn_builder.
  """

  def model_fn(features, labels, mode, params, config):
    del labels
    if mode not in (tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.EVAL):
      raise ValueError("Only TRAIN and EVAL are supported, not %s." % mode)
    _log_features(features)
    is_training = mode == tf.estimator.ModeKeys.TRAIN
    seeds = modeling.DropoutSeeds(
        tf.train.get_or_create_global_step(), random_seed)
    heads = _Heads(bert_config, features, use_one_hot_embeddings, is_training,
                   seeds)
    loss = heads.masked_lm_loss + heads.next_sentence_loss
    scaffold_fn = _initialize(init_checkpoint, use_tpu)
    if mode == tf.estimator.ModeKeys.EVAL:
      return tf.estimator.tpu.TPUEstimatorSpec(
          mode, loss=loss, eval_metrics=heads.eval_metrics(),
          scaffold_fn=scaffold_fn)
    train_op = optimization.create_optimizer(
        loss, learning_rate, num_train_steps, num_warmup_steps, use_tpu,
        decay=learning_rate_decay, optimizer=optimizer)
    # On a TPU the parameter is a core's share.
    context = params.get("context")
    batch_size = params["batch_size"] * (context.num_replicas if context else 1)
    train_op = example_counter.advance(train_op, batch_size)
    example_counter.use_saver(batch_size, config.keep_checkpoint_max)
    hooks = []
    if not use_tpu:  # A TPU's tensors can't be fetched by a hook.
      figures = {"loss": loss}
      figures.update(heads.training_figures())
      figures["learning_rate"] = tf.get_collection(
          optimization.LEARNING_RATE)[-1]
      hooks.append(console.ProgressHook(
          figures, features, log_every_steps, num_train_steps, batch_size,
          config.model_dir, epochs))
    return tf.estimator.tpu.TPUEstimatorSpec(
        mode, loss=loss, train_op=train_op, training_hooks=hooks,
        scaffold_fn=scaffold_fn)

  return model_fn


class _Heads:
  """The model with its two heads over a batch of features.

  Args:
    bert_config: modeling.BertConfig.
    features: dict of tensors, see input_fn_builder.
    use_one_hot_embeddings: bool.
    is_training: bool, whether to drop out.
    dropout_seeds: modeling.DropoutSeeds.

  Attributes:
    masked_lm_loss, next_sentence_loss: float32 [].
  """

  def __init__(self, bert_config, features, use_one_hot_embeddings,
               is_training, dropout_seeds):
    self._features = features
    model = modeling.BertModel(
        config=bert_config,
        is_training=is_training,
        input_ids=features["input_ids"],
        input_mask=features["input_mask"],
        token_type_ids=features["segment_ids"],
        use_one_hot_embeddings=use_one_hot_embeddings,
        dropout_seeds=dropout_seeds)
    self._logits = modeling.masked_lm_logits(
        bert_config, model.get_sequence_output(), model.get_embedding_table(),
        features["masked_lm_positions"])  # [B * P, V]
    self.masked_lm_loss, self._masked_lm_losses = modeling.masked_lm_loss(
        self._logits, features["masked_lm_ids"], features["masked_lm_weights"])
    self.next_sentence_loss, self._next_losses, self._next_log_probs = (
        get_next_sentence_output(bert_config, model.get_pooled_output(),
                                 features["next_sentence_labels"]))

  def training_figures(self):
    """Returns name -> float32 [], losses and accuracies of the batch."""
    def accuracy(guesses, labels, weights):
      hits = tf.cast(tf.equal(guesses, labels), tf.float32) * weights
      return tf.reduce_sum(hits) / tf.maximum(tf.reduce_sum(weights), 1.0)

    features = self._features
    labels = tf.reshape(features["next_sentence_labels"], [-1])
    return {
        "masked_lm_loss": self.masked_lm_loss,
        "next_sentence_loss": self.next_sentence_loss,
        "masked_lm_accuracy": accuracy(
            _guesses(self._logits),
            tf.reshape(features["masked_lm_ids"], [-1]),
            tf.reshape(features["masked_lm_weights"], [-1])),
        "next_sentence_accuracy": accuracy(
            _guesses(self._next_log_probs), labels,
            tf.ones_like(labels, tf.float32)),
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
  _define_tpu_flags()
  flags.mark_flags_as_required(["input_file", "bert_config_file", "output_dir"])


def _define_tpu_flags():
  """Defines the flags that say where to train."""
  flags.DEFINE_bool("use_tpu", False, "Whether to train on a TPU.")
  flags.DEFINE_string(
      "tpu_name", None, "Name or grpc:// address of the TPU.")
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
    self._text = _text(self.files, self._vocab_file, **self.options)
    # What is wrong with the text should be said before a model is built.
    example_stream.check_corpus(*self._text)

  def epoch_examples(self):
    """Returns about how many examples a pass over the text has."""
    return example_stream.estimate_epoch_examples(*self._text)

  def record(self):
    """Returns the stream_record.StreamRecord of the stream."""
    # A run that met a bad byte may go on with --invalid_utf8=replace: up to
    # there the stream is the same.
    deciding = {n: v for n, v in self.options.items() if n != "invalid_utf8"}
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
    return self._log.epochs(num_examples - self._skipped)

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
    record = self._train_input.record()
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
    if self._plan:
      self._plan.save(values.output_dir)
    if self._record:
      self._record.save(values.output_dir)
      self._train_input.open_flow(
          skipped=self._record.first_example, folder=values.output_dir,
          num_workers=values.num_workers)
    if self._eval_input and self._eval_input.options:
      # Some hundred batches: not worth processes of their own.
      self._eval_input.open_flow(num_epochs=1)

  def run(self):
    """Trains and evaluates, as the flags say."""
    values = self._values
    try:
      tf.io.gfile.makedirs(values.output_dir)
      console.log_to_file(values.output_dir)
      self._open_flows()
    except (OSError, tf.errors.OpError) as e:
      raise InputError("--output_dir=%s cannot be written: %s" %
                       (values.output_dir, e)) from e
    self._log_start()
    estimator = self._estimator()
    if self._train_input:
      self._train(estimator)
    if self._eval_input and self._stop.signal is None:
      self._evaluate(estimator)

  def _train(self, estimator):
    source = self._train_input
    tf.logging.info("***** Running training *****")
    tf.logging.info("  Batch size = %d", self._values.train_batch_size)
    hooks = [interruption.StopHook(self._stop)]
    if source.flow:
      self._stop.on_first(source.flow.stop)
      hooks.append(_FlowHook(source.flow))
    try:
      with _own_errors(source.flow):
        estimator.train(
            input_fn=source.input_fn(is_training=True), hooks=hooks,
            max_steps=self._num_train_steps)
    finally:
      self._stop.train(False)
      if source.flow:
        source.flow.close()
    self._log_flow(source, "training")

  def _evaluate(self, estimator):
    source = self._eval_input
    tf.logging.info("***** Running evaluation *****")
    tf.logging.info("  Batch size = %d", self._values.eval_batch_size)
    if source.flow:
      self._stop.on_first(source.flow.stop)
    try:
      with _own_errors(source.flow):
        result = estimator.evaluate(
            input_fn=source.input_fn(
                is_training=False, fixed_batches=self._values.use_tpu),
            steps=self._values.max_eval_steps)
    except Exception as e:
      if self._stop.signal is None:
        raise
      # Interrupted, raised inside TensorFlow, may come out as another error.
      raise interruption.Interrupted from e
    self._log_flow(source, "evaluation")
    if self._stop.signal is None:
      _write_results(result, self._values.output_dir)

  def _estimator(self):
    values = self._values
    model_fn = model_fn_builder(
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
        optimizer=values.optimizer)
    return engine.build_estimator(
        model_fn,
        model_dir=values.output_dir,
        train_batch_size=values.train_batch_size,
        eval_batch_size=values.eval_batch_size,
        save_checkpoints_steps=values.save_checkpoints_steps,
        random_seed=values.random_seed,
        iterations_per_loop=values.iterations_per_loop,
        use_tpu=values.use_tpu,
        tpu_name=values.tpu_name,
        tpu_zone=values.tpu_zone,
        gcp_project=values.gcp_project,
        master=values.master,
        num_tpu_cores=values.num_tpu_cores)

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
      step = tf.train.load_variable(self._latest, "global_step")
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

  def log_stop(self):
    """Logs that a signal ended the run, and where it will go on."""
    folder = self._values.output_dir
    latest = tf.train.latest_checkpoint(folder)
    where = "anew: there is no checkpoint yet"
    if latest:
      where = "from step %d" % tf.train.load_variable(latest, "global_step")
    logger.warning("stopped by %s; the same command goes on %s, in %s",
                   self._stop.signal.name, where, folder)

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
               "max_eval_steps", "log_every_steps", "chunk_lines"):
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
  if values.num_warmup_steps < 0:
    raise ValueError("--num_warmup_steps=%d is negative." %
                     values.num_warmup_steps)
  if not 0 < values.learning_rate < float("inf"):
    raise ValueError("--learning_rate=%s is no positive number." %
                     values.learning_rate)


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
    except _INPUT_ERRORS as e:
      sys.exit("run_pretraining_e2e.py: %s" % e)
    except interruption.Interrupted:
      sys.exit(stop.exit_code)
    try:
      job.run()
    except InputError as e:
      logger.error("%s", e)
      sys.exit(1)
    except interruption.Interrupted:
      pass
    if stop.signal is not None:
      job.log_stop()
      sys.exit(stop.exit_code)


if __name__ == "__main__":
  define_flags()
  app.run(main)
