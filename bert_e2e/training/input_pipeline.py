"""From raw text to the batches that an estimator trains on.

`take_write_2_flow` is the generator of serialized tf.Examples, `Flow` keeps
what became of it, `input_fn_builder` makes the estimator's `input_fn` of it.
"""

import contextlib
import functools
import itertools
import logging
from typing import List

import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints import examples_seen
from bert_e2e.common import file_io
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import instances as instances_lib
from bert_e2e.data import resume
from bert_e2e.data import stream as stream_lib
from bert_e2e.training import tpu_feeding

logger = logging.getLogger(__name__)

# Examples that cross from Python to TensorFlow at once: one at a time, the
# crossing would cost more than all else (a tenth of the speed).
_EXAMPLES_PER_LIST = 256
_BATCHES_AHEAD = 2
_LOGGED_SPLITS = 16
_RECORD_SHUFFLE_BUFFER = 100


def take_write_2_flow(input_files, vocab_file, *, do_lower_case=True,
                      do_whole_word_mask=False, max_seq_length=128,
                      max_predictions_per_seq=20, masked_lm_prob=0.15,
                      short_seq_prob=0.1, random_seed=12345, chunk_lines=1000,
                      num_workers=0, num_epochs=None, dupe_factor=1,
                      invalid_utf8="error", shard_index=0, num_shards=1,
                      first_example=0, log=None, held_out=frozenset()):
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
    log: a resume.WindowLog, whose file this call reads and writes: by it
      a later one finds its `first_example` without building those before.
    held_out: set of bytes, see corpus.document_hashes: documents that are
      warned of should they be in the text.

  Returns:
    An stream_lib.Reading, an iterator over bytes; see
    create_pretraining_data.ExampleSerializer.

  Raises:
    ValueError: no file, an unreadable or empty one, a vocabulary without the
      special tokens, an option out of range. While iterating: text that is not
      UTF-8, or a whole epoch without an example.

  >>> flow = take_write_2_flow(["corpus.txt"], "vocab.txt", num_epochs=1)
  >>> example = tf.train.Example.FromString(next(flow))  # doctest: +SKIP
  """
  instances_lib.check_vocabulary(vocab_file)
  corpus, options = text_of(
      input_files, vocab_file, do_lower_case=do_lower_case,
      do_whole_word_mask=do_whole_word_mask, max_seq_length=max_seq_length,
      max_predictions_per_seq=max_predictions_per_seq,
      masked_lm_prob=masked_lm_prob, short_seq_prob=short_seq_prob,
      random_seed=random_seed, chunk_lines=chunk_lines,
      dupe_factor=dupe_factor, invalid_utf8=invalid_utf8,
      num_hosts=num_shards)
  stream = stream_lib.ExampleStream(
      corpus, options, num_epochs=num_epochs, num_workers=num_workers,
      shard=stream_lib.Shard(shard_index, num_shards), held_out=held_out)
  if num_shards > 1:
    splits = stream.splits(0)
    logger.info(
        "host %d of %d reads %d splits of the corpus; in its first epoch, in "
        "bytes of all files: %s%s", shard_index, num_shards, len(splits),
        ", ".join("%d-%d" % split for split in splits[:_LOGGED_SPLITS]),
        ", ..." * (len(splits) > _LOGGED_SPLITS))
  return stream.examples_from(first_example,
                              log or resume.WindowLog(None))


def text_of(input_files, vocab_file, *, do_lower_case, random_seed, chunk_lines,
          invalid_utf8, num_hosts=1, **instances):
  """Returns (Corpus, StreamOptions) of the arguments of take_write_2_flow."""
  options = stream_lib.StreamOptions(
      vocab_file=vocab_file,
      do_lower_case=do_lower_case,
      instances=instances_lib.InstanceOptions(**instances),
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
      hosts, and the stream_lib.Shard of a host to an
      stream_lib.Reading of that host's serialized examples; e.g. of
      `take_write_2_flow`.

  Attributes:
    num_examples: int, examples that went to TensorFlow.
    error: the exception that ended the flow, or None.
  """

  def __init__(self, open_examples):
    self._open_examples = open_examples
    self._readings: List[stream_lib.Reading] = []
    self._is_stopped = False
    self.num_examples = 0
    self.error = None

  def lists(self, start=0, host=0, num_hosts=1):
    """Yields lists of a host's examples, from a number of examples on."""
    try:
      examples = self._open_examples(
          int(start), stream_lib.Shard(int(host), int(num_hosts)))
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

  @property
  def num_shared(self):
    """How many held-out documents were met in the text so far."""
    return len(set().union(*(reading.shared for reading in self._readings)))

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
                     fixed_batches=False, whole=False):
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
    whole: bool; an evaluation gives each example of TFRecords, too, once; of
      fixed batches the last one is filled up with padding, examples whose
      input_mask is 0, and endless further ones.

  Returns:
    A function from `params` (with "batch_size", B) and optionally a
    tf.distribute.InputContext to a tf.data.Dataset of dicts. Of a flow, and of
    as many files as there are hosts, each host reads its part; which host that
    is, the input context tells or, on a TPU, `params["context"]`. The dicts:
    input_ids, input_mask, segment_ids int32 [B, L];
    masked_lm_positions, masked_lm_ids int32 [B, P]; masked_lm_weights
    float32 [B, P]; next_sentence_labels int32 [B, 1].

  Source: google-research/bert, run_pretraining.input_fn_builder, the same for
    TFRecords.
  """

  def input_fn(params, input_context=None):
    if flow is None:
      shard = _shard(params, input_context)
      # Fewer files than hosts can't be dealt out.
      files = input_files[shard.host::shard.num_hosts]
      if not is_training or len(input_files) < shard.num_hosts:
        files = input_files
      dataset = _record_dataset(files, is_training, num_cpu_threads,
                                is_repeated=not whole)
    else:
      dataset = _flow_dataset(
          flow, is_training, _shard(params, input_context),
          _remote_device(params),
          fixed_batches and not is_training and not whole)
    if whole and fixed_batches:
      dataset = dataset.concatenate(
          tf.data.Dataset.from_tensors(_padding_example(
              max_seq_length, max_predictions_per_seq)).repeat())
    once = (flow is not None or whole) and not is_training and not fixed_batches
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
  """Returns the stream_lib.Shard of the host that an input_fn is for."""
  if input_context is not None:
    return stream_lib.Shard(input_context.input_pipeline_id,
                                input_context.num_input_pipelines)
  context = params.get("context")  # A TPUContext, on a TPU.
  if context is None:
    return stream_lib.Shard()
  _, host, num_hosts, _ = context.current_input_fn_deployment()
  return stream_lib.Shard(host, num_hosts)


def _remote_device(params):
  """Returns the device of the host that an input_fn is for, if it is another
  process; else None."""
  context = params.get("context")
  device = context and context.current_input_fn_deployment()[0]
  return device if device and tpu_feeding.is_remote(device) else None


def _flow_dataset(flow, is_training, shard, remote_device, is_repeated):
  """Returns a dataset of a host's serialized examples of a flow.

  In an estimator's training it starts behind the examples that the restored
  checkpoint was trained on: the counter is read when the dataset's iterator is
  initialized, which is after the variables are.
  """
  # A tf.distribute.Strategy has an estimator make its input first, before the
  # global step.
  is_counted = is_training and (tf.train.get_global_step() is not None or
                                tf.distribute.has_strategy())

  def make_lists():
    start = tf.constant(0, tf.int64)
    if is_counted:
      start = tf.identity(examples_seen.get_or_create())
    lists = tf.data.Dataset.from_generator(
        flow.lists, tf.string, tf.TensorShape([None]),
        args=(start,) + tuple(shard))
    return lists.repeat() if is_repeated else lists

  # The generator lives in this process.
  lists = tpu_feeding.forward(
      make_lists, remote_device) if remote_device else make_lists()
  return lists.apply(tf.data.experimental.unbatch())


def _padding_example(max_seq_length, max_predictions_per_seq):
  """Returns a serialized example of padding alone."""
  def zeros(size):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[0] * size))

  feature = {name: zeros(size) for name, size in _int_features(
      max_seq_length, max_predictions_per_seq).items()}
  feature["masked_lm_weights"] = tf.train.Feature(float_list=tf.train.FloatList(
      value=[0.0] * max_predictions_per_seq))
  return tf.train.Example(
      features=tf.train.Features(feature=feature)).SerializeToString()


def _record_dataset(input_files, is_training, num_cpu_threads, is_repeated):
  """Returns a dataset of the records of TFRecord files, endless by default."""
  if not is_training:
    records = tf.data.TFRecordDataset(input_files)
    # A fixed number of steps is evaluated: the end must not come before it.
    return records.repeat() if is_repeated else records
  files = tf.data.Dataset.from_tensor_slices(tf.constant(input_files))
  files = files.repeat().shuffle(buffer_size=len(input_files))
  records = files.apply(
      tf.data.experimental.parallel_interleave(
          tf.data.TFRecordDataset, sloppy=True,
          cycle_length=min(num_cpu_threads, len(input_files))))
  return records.shuffle(buffer_size=_RECORD_SHUFFLE_BUFFER)


def _int_features(max_seq_length, max_predictions_per_seq):
  """Returns a dict from the name of each feature of ints to its length."""
  return {
      "input_ids": max_seq_length,
      "input_mask": max_seq_length,
      "segment_ids": max_seq_length,
      "masked_lm_positions": max_predictions_per_seq,
      "masked_lm_ids": max_predictions_per_seq,
      "next_sentence_labels": 1,
  }


def _parse_batch(examples, max_seq_length, max_predictions_per_seq):
  """Parses serialized examples: string [B] -> dict of features."""
  ints = _int_features(max_seq_length, max_predictions_per_seq)
  spec = {n: tf.FixedLenFeature([size], tf.int64) for n, size in ints.items()}
  spec["masked_lm_weights"] = tf.FixedLenFeature(
      [max_predictions_per_seq], tf.float32)
  features = tf.parse_example(examples, spec)
  # tf.Example knows int64 only, and a TPU int32 only.
  return {
      name: tf.cast(value, tf.int32) if name in ints else value
      for name, value in features.items()
  }
