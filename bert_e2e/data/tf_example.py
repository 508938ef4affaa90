"""Encodes instances as serialized tf.Examples, and decodes them.

The encoder writes protobuf's wire format directly, which is much faster than
protobuf's own objects. Worker processes import this module, so it must not
import TensorFlow.
"""

import functools
import struct


class Memo(dict):
  """Results of a function, by its argument."""

  def __init__(self, function):
    super().__init__()
    self._function = function

  def __missing__(self, key):
    value = self[key] = self._function(key)
    return value


def varint(value):
  """Encodes an int, 0 or more, as a protobuf varint; returns bytes.

  Raises:
    ValueError: it is negative.
  """
  if value < 0:
    raise ValueError("An id or position is negative: %d." % value)
  encoded = bytearray()
  while value > 0x7f:
    encoded.append(value & 0x7f | 0x80)
    value >>= 7
  encoded.append(value)
  return bytes(encoded)


def varints(count):
  """Encodes the numbers below `count`, quickly.

  Returns:
    list of bytes.

  >>> varints(300) == [varint(i) for i in range(300)]
  True
  """
  found = [bytes((i,)) for i in range(0x80)]
  if count > 0x80:
    lows = [bytes((i | 0x80,)) for i in range(0x80)]
    found += [low + high for high in varints(-(-count // 0x80))[1:]
              for low in lows]
  return found[:count]


varint_of = Memo(varint).__getitem__


def message_header(field, size):
  """Encodes what precedes `size` bytes of a field of wire type 2."""
  return varint(field << 3 | 2) + varint(size)


FLOAT_ONE = struct.pack("<f", 1.0)
# Kinds of lists in a tf.train.Feature: the numbers of its fields.
FLOAT_LIST, INT64_LIST = 2, 3


def feature_header(name, kind, size):
  """Encodes what precedes the packed numbers of a feature.

  That is the entry of the map from names to features, the name, the feature,
  its list and the list's values; it depends only on their size in bytes.
  """
  header = b""
  for field in (1, kind, 2):
    header = message_header(field, len(header) + size) + header
  header = message_header(1, len(name)) + name + header
  return message_header(1, len(header) + size) + header


def feature(name, kind, packed):
  """Encodes a feature of packed numbers.

  Args:
    name: bytes.
    kind: FLOAT_LIST or INT64_LIST.
    packed: bytes, the numbers.
  """
  return feature_header(name, kind, len(packed)) + packed


_example_header = Memo(functools.partial(message_header, 1)).__getitem__


def example(features):
  """Encodes a tf.Example.

  Args:
    features: bytes, its features (see `feature`), sorted by name.
  """
  return _example_header(len(features)) + features


class ExampleSerializer:
  """Encodes instances as serialized tf.Examples.

  The bytes are those of protobuf's deterministic serialization (features by
  name, packed lists), the same in every run and without protobuf's objects.
  Whatever is the same in many examples is encoded once.

  Args:
    max_seq_length: L, to which the lists over pieces are padded with zeros.
    max_predictions_per_seq: P, to which the lists over masks are padded.
  """

  def __init__(self, max_seq_length, max_predictions_per_seq):
    self._max_seq_length = max_seq_length
    self._max_predictions = max_predictions_per_seq

    def headers(name):  # By the size of the packed numbers.
      return Memo(functools.partial(feature_header, name, INT64_LIST))

    self._input_ids = headers(b"input_ids")
    self._input_mask = Memo(lambda length: feature(
        b"input_mask", INT64_LIST,
        b"\1" * length + bytes(max_seq_length - length)))
    self._masked_lm_ids = headers(b"masked_lm_ids")
    self._masked_lm_positions = headers(b"masked_lm_positions")
    self._masked_lm_weights = Memo(lambda count: feature(
        b"masked_lm_weights", FLOAT_LIST,
        FLOAT_ONE * count + bytes(4 * (max_predictions_per_seq - count))))
    self._next_sentence_labels = Memo(lambda is_random: feature(
        b"next_sentence_labels", INT64_LIST, b"\1" if is_random else b"\0"))
    self._segment_ids = headers(b"segment_ids")

  def serialize(self, input_ids, segment_ids, masked_lm_positions,
                masked_lm_ids, is_random_next):
    """Returns the tf.Example of one instance.

    Args:
      input_ids: list of int, 0 or more, or of bytes, their varints; at most L.
      segment_ids: list of int, 0 or 1, of the same length, or bytes of them.
      masked_lm_positions: list of int, at most P.
      masked_lm_ids: list of the same length, like `input_ids`.
      is_random_next: bool.

    Returns:
      bytes: `input_ids`, `input_mask`, `segment_ids` int64 [L];
      `masked_lm_positions`, `masked_lm_ids` int64 [P]; `masked_lm_weights`
      float [P]; `next_sentence_labels` int64 [1], 1 for a random next.

    Raises:
      ValueError: a list is too long, or an id negative.
    """
    length, count = len(input_ids), len(masked_lm_positions)
    padding = self._max_seq_length - length
    mask_padding = self._max_predictions - count
    if padding < 0 or mask_padding < 0:
      raise ValueError(
          "An instance of %d pieces and %d predictions does not fit into "
          "max_seq_length=%d and max_predictions_per_seq=%d." %
          (length, count, self._max_seq_length, self._max_predictions))
    ids = encode_ints(input_ids, padding)
    labels = encode_ints(masked_lm_ids, mask_padding)
    positions = encode_ints(masked_lm_positions, mask_padding)
    segments = bytes(segment_ids) + bytes(padding)
    return example(b"".join((
        self._input_ids[len(ids)], ids,
        self._input_mask[length],
        self._masked_lm_ids[len(labels)], labels,
        self._masked_lm_positions[len(positions)], positions,
        self._masked_lm_weights[count],
        self._next_sentence_labels[bool(is_random_next)],
        self._segment_ids[len(segments)], segments)))


def encode_ints(values, padding=0):
  """Encodes a list of ints, or of varints, followed by `padding` zeros."""
  if values and isinstance(values[0], bytes):
    return b"".join(values) + bytes(padding)
  return _varints_of(values) + bytes(padding)


def _varints_of(numbers):
  """Encodes a list of ints; those below 128 are varints as they are."""
  try:
    encoded = bytes(numbers)
    if encoded.isascii():
      return encoded
  except ValueError:
    pass  # One is larger than a byte, or negative.
  return b"".join(map(varint_of, numbers))


@functools.lru_cache(maxsize=None)
def _serializer(max_seq_length, max_predictions_per_seq):
  """Returns an ExampleSerializer; the same for the same lengths."""
  return ExampleSerializer(max_seq_length, max_predictions_per_seq)


def create_instance_to_example_files(instances, tokenizer, max_seq_length,
                                     max_predictions_per_seq):
  """Turns instances into serialized tf.Examples, in memory.

  Args:
    instances: iterable of TrainingInstance, pieces as texts or as ids.
    tokenizer: has `convert_tokens_to_ids`; not used for ids.
    max_seq_length, max_predictions_per_seq: the lengths to pad to.

  Returns:
    list of bytes, one for each instance; see ExampleSerializer.serialize.

  Raises:
    ValueError: an instance is too long.
  """
  return list(map(
      encoder(tokenizer, max_seq_length, max_predictions_per_seq), instances))


def encoder(tokenizer, max_seq_length, max_predictions_per_seq):
  """Returns a function from an instance to its serialized tf.Example; see
  create_instance_to_example_files for the arguments."""
  return functools.partial(
      to_example, _serializer(max_seq_length, max_predictions_per_seq),
      tokenizer)


def to_example(serializer, tokenizer, instance):
  """Returns the serialized tf.Example of an instance.

  Args:
    serializer: ExampleSerializer.
    tokenizer, instance: see create_instance_to_example_files.
  """
  tokens, labels = ids_of(tokenizer, instance)
  return serializer.serialize(
      tokens, instance.segment_ids, instance.masked_lm_positions, labels,
      instance.is_random_next)


def ids_of(tokenizer, instance):
  """Returns (the tokens of an instance, its labels) as ids: two lists."""
  tokens, labels = instance.tokens, instance.masked_lm_labels
  if tokens and isinstance(tokens[0], str):
    return (tokenizer.convert_tokens_to_ids(tokens),
            tokenizer.convert_tokens_to_ids(labels))
  return tokens, labels


def _read_varint(data, offset):
  """Returns (number, offset after it)."""
  number = shift = 0
  while True:
    byte = data[offset]
    number |= (byte & 0x7f) << shift
    offset, shift = offset + 1, shift + 7
    if byte < 0x80:
      return number, offset


def _read_fields(data):
  """Yields (number, bytes) of the fields of a message, all of wire type 2."""
  offset = 0
  while offset < len(data):
    key, offset = _read_varint(data, offset)
    size, offset = _read_varint(data, offset)
    yield key >> 3, data[offset:offset + size]
    offset += size


def _read_list(kind, packed):
  """Returns the numbers of a packed list."""
  if kind == FLOAT_LIST:
    return [number for number, in struct.iter_unpack("<f", packed)]
  numbers, offset = [], 0
  while offset < len(packed):
    number, offset = _read_varint(packed, offset)
    numbers.append(number)
  return numbers


def parse_example(example):
  """Decodes an example that ExampleSerializer encoded.

  Args:
    example: bytes, a serialized tf.Example.

  Returns:
    dict from a feature's name to its list of int or float.
  """
  found = {}
  (_, features), = _read_fields(example)
  for _, entry in _read_fields(features):
    (_, name), (_, feature) = _read_fields(entry)
    (kind, numbers), = _read_fields(feature)
    (_, packed), = _read_fields(numbers)
    found[name.decode("ascii")] = _read_list(kind, packed)
  return found
