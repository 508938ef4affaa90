"""The `input_fn` of an estimator: batches of a stream or of TFRecord files.

`Flow` hands a stream of serialized tf.Examples to TensorFlow;
`input_fn_builder` makes batches of it, or of TFRecord files.
"""

import contextlib
import functools
import itertools
import threading
from typing import Any, List

import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints import examples_seen
from bert_e2e.data.stream import ExampleIterator, Shard
from bert_e2e.data.text_source import (  # noqa: F401  Users import it from here.
  take_write_2_flow,
)
from bert_e2e.training import tpu_feeding

# Examples that are passed from Python to TensorFlow at once. One at a time,
# passing them would take longer than all the rest (a tenth of the speed).
_EXAMPLES_PER_LIST = 256
_BATCHES_AHEAD = 2
_RECORD_SHUFFLE_BUFFER = 100


class Flow:
  """A stream that an `input_fn` opens, and the state it is in.

  TensorFlow wraps an error of a Python generator in an operation's error of
  many lines; the error itself is kept here. If a process feeds several hosts,
  each of them opens the stream once.

  Args:
    open_examples: function from the number of examples to skip, over all hosts,
      and the stream.Shard of a host to a stream.ExampleIterator of that host's
      serialized examples; e.g. by `take_write_2_flow`.

  Attributes:
    num_examples: int, examples that were passed to TensorFlow.
    error: the exception that ended the stream, or None.
  """

  def __init__(self, open_examples):
    self._open_examples = open_examples
    self._iterators: List[ExampleIterator] = []
    self._early: Any = None  # See `open_early`.
    self._is_stopped = False
    self.num_examples = 0
    self.error = None

  def lists(self, start=0, host=0, num_hosts=1):
    """Yields lists of a host's examples; skips `start` examples of all hosts.
    """
    try:
      place = int(start), Shard(int(host), int(num_hosts))
      examples, block = self._take_early(place)
      if examples is None:
        examples, block = self._open(place)
      with contextlib.closing(examples):
        while block:
          self.num_examples += len(block)
          yield block
          if self._is_stopped:
            return
          block = _next_block(examples)
    except Exception as e:
      self.error = e
      raise

  def open_early(self, start):
    """Has a thread open the stream of a single host and build its first
    examples, while TensorFlow does something else.

    Args:
      start: int, the number of examples that TensorFlow will probably skip; if
        it skips another one, `lists` opens the stream again.
    """
    place = start, Shard()
    early = _Early(place, lambda: self._open(place))
    early.start()
    self._early = early

  def _open(self, place):
    """Returns an ExampleIterator and its first list of examples.

    Args:
      place: (examples to skip, Shard).
    """
    examples = self._open_examples(*place)
    self._iterators.append(examples)
    if self._is_stopped:
      examples.stop()
    block = _next_block(examples)
    if self._is_stopped:  # `close` could not close what was running.
      examples.close()
    return examples, block

  def _take_early(self, place):
    """Returns what `open_early` has opened, once, if it was at this place; else
    (None, None)."""
    early, self._early = self._early, None
    if early is None:
      return None, None
    if early.place == place:
      return early.result()
    for examples in self._iterators:  # No other one was opened before.
      examples.stop()
    early.close()
    self._iterators = []
    return None, None

  @property
  def num_shared(self):
    """How many held-out documents and lines were found in the text so far."""
    return len(set().union(*(each.shared for each in self._iterators)))

  def check(self):
    """Raises worker_pool.WorkerError if a worker has died."""
    for examples in self._iterators:
      examples.check()

  def stop(self):
    """Makes all hosts' examples end soon, from any thread."""
    self._is_stopped = True
    for examples in self._iterators:
      examples.stop()

  def close(self):
    """Ends the workers, too, once the examples are no longer needed."""
    self.stop()
    for examples in self._iterators:
      try:
        examples.close()
      except ValueError:
        pass  # A thread of TensorFlow is reading it, and ends due to `stop`.


class _Early(threading.Thread):
  """Opens a stream in a thread.

  Args:
    place: see Flow; as an attribute, too.
    function: see Flow._open.
  """

  def __init__(self, place, function):
    super().__init__(daemon=True)
    self.place = place
    self._function = function
    self._opened: Any = None
    self._error: Any = None

  def run(self):
    try:
      self._opened = self._function()
    except Exception as e:
      self._error = e

  def result(self):
    """Waits for the thread, and returns or raises what the function did."""
    self.join()
    if self._error:
      raise self._error
    return self._opened

  def close(self):
    """Ends the workers of the stream."""
    self.join()
    if self._opened:
      self._opened[0].close()


def _next_block(examples):
  """Returns the next examples of an iterator, a list; empty at its end."""
  # A list, not a NumPy array of bytes, which would lose trailing NULs.
  return list(itertools.islice(examples, _EXAMPLES_PER_LIST))


def input_fn_builder(input_files, max_seq_length, max_predictions_per_seq,
                     is_training, num_cpu_threads=4, *, flow=None,
                     fixed_batches=False, whole=False, max_sequences=None):
  """Returns the `input_fn` of an estimator.

  Args:
    input_files: list of TFRecord files; not read if there is a `flow`.
    max_seq_length, max_predictions_per_seq: int, L and P of the examples.
    is_training: bool; TFRecords are shuffled and interleaved for training.
    num_cpu_threads: int, TFRecord files that are read at once.
    flow: Flow of examples to read instead of files.
    fixed_batches: bool, all batches have one size, as a TPU requires. An
      evaluation of a flow then repeats it; otherwise it gives each example once
      and a smaller last batch.
    whole: bool, an evaluation of TFRecords gives each example once as well.
      With fixed batches the last one is filled up with padding, examples whose
      input_mask is 0, and endless batches of padding follow.
    max_sequences: int, K, if each example is a row of up to K packed sequences.

  Returns:
    A function from `params` (with "batch_size", B) and optionally a
    tf.distribute.InputContext to a tf.data.Dataset of dicts. Each host reads
    its part of a flow, or of the files if there are at least as many as hosts.
    The input context or, on a TPU, `params["context"]` says which host it is.
    The dicts: input_ids, input_mask, segment_ids int32 [B, L];
    masked_lm_positions, masked_lm_ids int32 [B, P]; masked_lm_weights
    float32 [B, P]; next_sentence_labels int32 [B, 1]. With packed sequences:
    next_sentence_labels, cls_positions int32 [B, K]; next_sentence_weights
    float32 [B, K]; pack_ids, position_ids int32 [B, L]; see
    packing._RowSerializer.serialize.

  Source: google-research/bert, run_pretraining.input_fn_builder, the same for
    TFRecords.
  """

  spec = _feature_spec(
      max_seq_length, max_predictions_per_seq, max_sequences)

  def input_fn(params, input_context=None):
    shard = _shard(params, input_context)
    if flow is None:
      dataset = _record_dataset(
          input_files, is_training, shard, num_cpu_threads,
          is_repeated=not whole)
    else:
      dataset = _flow_dataset(
          flow, is_training, shard, _remote_device(params),
          fixed_batches and not is_training and not whole)
    if whole and fixed_batches:
      dataset = dataset.concatenate(
          tf.data.Dataset.from_tensors(_padding_example(spec)).repeat())
    once = (flow is not None or whole) and not is_training and not fixed_batches
    dataset = dataset.batch(params["batch_size"], drop_remainder=not once)
    parse = functools.partial(_parse_batch, spec=spec)
    # AutoGraph has nothing to convert, and would write the function's source to
    # a temporary file.
    parse = tf.autograph.experimental.do_not_convert(parse)
    return dataset.map(parse).prefetch(_BATCHES_AHEAD)

  return input_fn


def _shard(params, input_context):
  """Returns the Shard of the host that an input_fn is for."""
  if input_context is not None:
    return Shard(input_context.input_pipeline_id,
                 input_context.num_input_pipelines)
  context = params.get("context")  # A TPUContext, on a TPU.
  if context is None:
    return Shard()
  _, host, num_hosts, _ = context.current_input_fn_deployment()
  return Shard(host, num_hosts)


def _remote_device(params):
  """Returns the device of the host that an input_fn is for, if it is another
  process; else None."""
  context = params.get("context")
  device = context and context.current_input_fn_deployment()[0]
  return device if device and tpu_feeding.is_remote(device) else None


def _flow_dataset(flow, is_training, shard, remote_device, is_repeated):
  """Returns a dataset of a host's serialized examples of a flow.

  In an estimator's training it starts after the examples that the restored
  checkpoint was trained on: the counter is read when the dataset's iterator is
  initialized, which happens after the variables are.
  """
  # With a tf.distribute.Strategy an estimator creates its input before the
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

  # The generator runs in this process.
  lists = tpu_feeding.forward(
      make_lists, remote_device) if remote_device else make_lists()
  return lists.apply(tf.data.experimental.unbatch())


def _padding_example(spec):
  """Returns a serialized example of padding alone; see `_feature_spec`."""
  feature = {}
  for name, (size, dtype) in spec.items():
    if dtype == tf.float32:
      feature[name] = tf.train.Feature(
          float_list=tf.train.FloatList(value=[0.0] * size))
    else:
      feature[name] = tf.train.Feature(
          int64_list=tf.train.Int64List(value=[0] * size))
  return tf.train.Example(
      features=tf.train.Features(feature=feature)).SerializeToString()


def _record_dataset(input_files, is_training, shard, num_cpu_threads,
                    is_repeated):
  """Returns a dataset of the records of a host, repeated or not.

  An evaluation, and each host if there are fewer files than hosts, reads all
  files.
  """
  if is_training and len(input_files) >= shard.num_hosts:
    input_files = input_files[shard.host::shard.num_hosts]
  if not is_training:
    records = tf.data.TFRecordDataset(input_files)
    # A fixed number of steps is evaluated, and the data must last for it.
    return records.repeat() if is_repeated else records
  files = tf.data.Dataset.from_tensor_slices(tf.constant(input_files))
  files = files.repeat().shuffle(buffer_size=len(input_files))
  records = files.apply(
      tf.data.experimental.parallel_interleave(
          tf.data.TFRecordDataset, sloppy=True,
          cycle_length=min(num_cpu_threads, len(input_files))))
  return records.shuffle(buffer_size=_RECORD_SHUFFLE_BUFFER)


def _feature_spec(max_seq_length, max_predictions, max_sequences):
  """Returns a dict from the name of each feature to (its length, its dtype).

  Args:
    max_seq_length, max_predictions: int, L and P.
    max_sequences: int, K, of packed sequences; else None.
  """
  ints = dict.fromkeys(("input_ids", "input_mask", "segment_ids"),
                       max_seq_length)
  ints.update(dict.fromkeys(("masked_lm_positions", "masked_lm_ids"),
                            max_predictions))
  ints["next_sentence_labels"] = max_sequences or 1
  spec = {"masked_lm_weights": (max_predictions, tf.float32)}
  if max_sequences:
    ints.update(cls_positions=max_sequences, pack_ids=max_seq_length,
                position_ids=max_seq_length)
    spec["next_sentence_weights"] = (max_sequences, tf.float32)
  spec.update((name, (size, tf.int64)) for name, size in ints.items())
  return spec


def _parse_batch(examples, spec):
  """Parses serialized examples: string [B] -> dict of features.

  Args:
    examples: string [B].
    spec: see `_feature_spec`.
  """
  features = tf.parse_example(examples, {
      name: tf.FixedLenFeature([size], dtype)
      for name, (size, dtype) in spec.items()})
  # tf.Example knows int64 only, and a TPU int32 only.
  return {
      name: tf.cast(value, tf.int32) if spec[name][1] == tf.int64 else value
      for name, value in features.items()
  }
