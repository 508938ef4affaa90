"""Packs several short sequences into each row of a batch.

A row has a fixed number of positions; without packing, those that its sequence
leaves are padding. The sequences of a window are packed together, so a row
holds as many as fit and costs hardly more than before. Each attends to itself
only and has position ids of its own, so the model computes for it what it would
compute in a row of its own.

The packing is that of Krell et al. 2021, arXiv 2107.02027, section 3.2: best
fit, the longest sequence first. Worker processes import this module, so it must
not import TensorFlow.
"""

import functools
import math
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from bert_e2e.data import tf_example
from bert_e2e.data.masking import num_to_predict
from bert_e2e.data.tf_example import FLOAT_LIST, INT64_LIST

# Incremented when the same sequences give other rows.
PACKING_VERSION = 2
# Tokens of the shortest sequence: [CLS], a piece and [SEP].
_MIN_LENGTH = 3


class PackableSequence(NamedTuple):
  """An instance, encoded as far as possible before its place in a row is known.

  Attributes:
    length: int, its tokens.
    input_ids, segment_ids: bytes, the varints of its ids.
    masked_lm_positions: list of int, offsets in the sequence.
    masked_lm_ids: bytes, the varints of the original ids there.
    is_random_next: bool, see instances.TrainingInstance.
    masked_groups: see instances.TrainingInstance; empty unless wanted.
  """
  length: int
  input_ids: bytes
  segment_ids: bytes
  masked_lm_positions: List[int]
  masked_lm_ids: bytes
  is_random_next: bool
  masked_groups: Sequence[Any] = ()


def encode(instance, tokenizer):
  """Returns the PackableSequence of a TrainingInstance.

  Args:
    instance, tokenizer: see tf_example.create_instance_to_example_files.
  """
  tokens, labels = tf_example.ids_of(tokenizer, instance)
  return PackableSequence(
      len(tokens), tf_example.encode_ints(tokens), bytes(instance.segment_ids),
      instance.masked_lm_positions, tf_example.encode_ints(labels),
      instance.is_random_next)


class RowShape(NamedTuple):
  """The sizes of a row.

  Attributes:
    max_seq_length: int, S, positions.
    max_predictions: int, P, masked-LM predictions.
    max_sequences: int, K, sequences.
  """
  max_seq_length: int
  max_predictions: int
  max_sequences: int


def row_shape(instances, packing, has_strategy=False):
  """Returns the RowShape of packed instances.

  Args:
    instances: config.InstanceConfig, validated; packing: config.PackingConfig.
    has_strategy: bool, whether the masks are those of a user's strategy, which
      may mask more of a sequence than its share.

  Returns:
    RowShape. The model computes all P predictions of a row, used or not, so
    they are as few as possible: enough for any row of equally long sequences
    with built-in masks, at least min(ceil(p S), K max_predictions_per_seq), and
    at least max_predictions_per_seq with a strategy. With the default p, rows
    of other sequences rarely need more; see `best_fit`.
  """
  length, count = instances.max_seq_length, packing.max_sequences_per_pack
  most = instances.max_predictions_per_seq
  predictions = max(
      min(count, length // each) *
      num_to_predict(each, instances.masked_lm_prob, most)
      for each in range(min(_MIN_LENGTH, length), length + 1))
  predictions = max(predictions, min(
      count * most, math.ceil(instances.masked_lm_prob * length)))
  return RowShape(
      length, max(predictions, most) if has_strategy else predictions, count)


def best_fit(sizes, shape):
  """Assigns sequences to rows.

  From the longest one on, each is put into a row with the least space that
  still holds it, or into a new row if there is none. A row that has the space
  but too few predictions left does not hold it, and one without any left is
  full. Of rows with equal space, only the latest one is considered.

  Args:
    sizes: list of (length, number of predictions), those of the sequences.
    shape: RowShape.

  Returns:
    list of rows, lists of the numbers of their sequences.

  >>> best_fit([(3, 1), (6, 1), (4, 1), (7, 1)], RowShape(10, 4, 2))
  [[3, 0], [1, 2]]
  >>> best_fit([(3, 1), (6, 1), (4, 1), (7, 2)], RowShape(10, 2, 2))
  [[3], [1, 2], [0]]
  """
  rows: List[List[int]] = []
  # By free positions: rows, each with its free predictions.
  open_rows: List[List[Tuple[List[int], int]]] = [
      [] for _ in range(shape.max_seq_length + 1)]
  is_open = 0  # Bit n is set if there is a row with n free positions.
  for number in sorted(range(len(sizes)), key=lambda i: -sizes[i][0]):
    length, predictions = sizes[number]
    fitting = is_open >> length << length
    while fitting:
      bit = fitting & -fitting
      free = bit.bit_length() - 1
      if open_rows[free][-1][1] >= predictions:
        row, free_predictions = open_rows[free].pop()
        if not open_rows[free]:
          is_open ^= bit
        break
      fitting ^= bit
    else:
      row, free, free_predictions = [], shape.max_seq_length, (
          shape.max_predictions)
      rows.append(row)
    row.append(number)
    free -= length
    free_predictions -= predictions
    if len(row) < shape.max_sequences and free and free_predictions:
      open_rows[free].append((row, free_predictions))
      is_open |= 1 << free
  return rows


class Packer:
  """Packs the sequences of windows.

  Args:
    shape: RowShape.
  """

  def __init__(self, shape):
    self._shape = shape
    self._serializer = _RowSerializer(shape)

  def pack(self, sequences):
    """Packs sequences.

    Args:
      sequences: list of PackableSequence.

    Returns:
      list of bytes, the rows as serialized tf.Examples; see
      _RowSerializer.serialize.

    Raises:
      ValueError: a sequence does not fit into a row.
    """
    sizes = [(sequence.length, len(sequence.masked_lm_positions))
             for sequence in sequences]
    for size in sizes:
      if size[0] > self._shape.max_seq_length or (
          size[1] > self._shape.max_predictions):
        raise ValueError(
            "A sequence of %d pieces and %d predictions does not fit into a "
            "row of %d and %d." % (*size, *self._shape[:2]))
    return [self.row([sequences[number] for number in row])
            for row in best_fit(sizes, self._shape)]

  def row(self, sequences):
    """Returns the bytes of the row of some PackableSequences, a list."""
    return self._serializer.serialize(sequences)


class _RowSerializer:
  """Encodes rows as serialized tf.Examples.

  Args:
    shape: RowShape.
  """

  def __init__(self, shape):
    self._shape = shape

    def with_padding(name, kind, one, zero, size):
      return tf_example.Memo(lambda count: tf_example.feature(
          name, kind, one * count + zero * (size - count)))

    length, predictions, sequences = shape
    self._input_mask = with_padding(
        b"input_mask", INT64_LIST, b"\1", b"\0", length)
    self._masked_lm_weights = with_padding(
        b"masked_lm_weights", FLOAT_LIST, tf_example.FLOAT_ONE, bytes(4),
        predictions)
    self._next_sentence_weights = with_padding(
        b"next_sentence_weights", FLOAT_LIST, tf_example.FLOAT_ONE, bytes(4),
        sequences)
    self._position_ids = tf_example.Memo(
        lambda size: tf_example.encode_ints(list(range(size))))

  def serialize(self, sequences):
    """Returns the tf.Example of a row.

    Args:
      sequences: list of PackableSequence that fit into it, one or more.

    Returns:
      bytes: `input_ids`, `input_mask` (1 for every token), `segment_ids`,
      `pack_ids` (1 for the tokens of the first sequence, 2 for those of the
      second, 0 for padding) and `position_ids` (from 0 in each sequence), int64
      [S]; `masked_lm_positions` (offsets in the row), `masked_lm_ids` int64 [P]
      and `masked_lm_weights` float [P]; `cls_positions` (where each sequence
      starts), `next_sentence_labels` int64 [K] and `next_sentence_weights`
      float [K].
    """
    starts, positions, end = [], [], 0
    for sequence in sequences:
      starts.append(end)
      positions += [end + place for place in sequence.masked_lm_positions]
      end += sequence.length
    length, predictions, count = (
        most - used for most, used in zip(
            self._shape, (end, len(positions), len(sequences))))
    return tf_example.example(b"".join((
        _ints(b"cls_positions", tf_example.encode_ints(starts), count),
        _ints(b"input_ids", b"".join(s.input_ids for s in sequences), length),
        self._input_mask[end],
        _ints(b"masked_lm_ids", b"".join(s.masked_lm_ids for s in sequences),
              predictions),
        _ints(b"masked_lm_positions", tf_example.encode_ints(positions),
              predictions),
        self._masked_lm_weights[len(positions)],
        _ints(b"next_sentence_labels",
              bytes(bool(s.is_random_next) for s in sequences), count),
        self._next_sentence_weights[len(sequences)],
        _ints(b"pack_ids", b"".join(
            tf_example.varint_of(number) * sequence.length
            for number, sequence in enumerate(sequences, 1)), length),
        _ints(b"position_ids", b"".join(
            self._position_ids[s.length] for s in sequences), length),
        _ints(b"segment_ids", b"".join(s.segment_ids for s in sequences),
              length))))


@functools.lru_cache(maxsize=4096)
def _header(name, size):
  return tf_example.feature_header(name, INT64_LIST, size)


def _ints(name, numbers, padding):
  """Encodes a feature of ints: their varints (bytes) and `padding` zeros."""
  return b"".join((_header(name, len(numbers) + padding), numbers,
                   bytes(padding)))


class PackedShape(NamedTuple):
  """What packing makes of the sequences of a text.

  Attributes:
    rows: float, their number.
    padding_share: of the positions of all rows.
  """
  rows: float
  padding_share: float


def estimate(lengths, instances, shape, num_windows,
             masked_share=None) -> PackedShape:
  """Estimates what packing makes of a text, by packing a window like its own.

  Args:
    lengths: dict from the number of tokens of a sequence to the number of
      sequences, a float.
    instances: config.InstanceConfig, validated.
    shape: RowShape.
    num_windows: int, the windows into which the stream divides them.
    masked_share: float, fraction of a sequence's tokens that a user's strategy
      masks; None for built-in masks.
  """
  window: List[Tuple[int, int]] = []
  total: Dict[str, float] = {"sequences": 0.0, "tokens": 0.0}
  for length, times in sorted(lengths.items()):
    total["sequences"] += times
    total["tokens"] += length * times
    size = length, num_to_predict(
        length, masked_share or instances.masked_lm_prob,
        instances.max_predictions_per_seq)
    # The sum is rounded, not each summand, which may be small.
    window += [size] * (round(total["sequences"] / num_windows) - len(window))
  if not window:
    return PackedShape(0.0, 0.0)
  num_rows = len(best_fit(window, shape)) * total["sequences"] / len(window)
  places = num_rows * shape.max_seq_length
  return PackedShape(num_rows, 1 - total["tokens"] / places)
