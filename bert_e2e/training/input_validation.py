"""Checks of the input: its format, and whether it fits the flags and the model.

Each check raises a ValueError that names the file, the value and the remedy.
"""

import collections

import tensorflow.compat.v1 as tf
from google.protobuf import message

from bert_e2e.common import file_io
from bert_e2e.common.messages import list_names
from bert_e2e.data.pieces import blank_end

# The number of input files whose format is examined.
_SAMPLED_FILES = 32


def first_record(path):
  """Returns the first record of a TFRecord file.

  Args:
    path: str, any file.

  Returns:
    bytes; None if the file is empty or not a TFRecord file. (A record starts
    with its length and a checksum of that, which text does not by chance.)
  """
  try:
    return next(tf.io.tf_record_iterator(path), None)
  except tf.errors.DataLossError:
    return None


def are_tfrecords(input_files):
  """Tells TFRecord files from raw text.

  Args:
    input_files: list of paths; only the first `_SAMPLED_FILES` are read.

  Returns:
    bool, True for TFRecord files.

  Raises:
    ValueError: the files are of both kinds, or one cannot be read.
  """
  kinds = collections.defaultdict(list)
  for path in input_files[:_SAMPLED_FILES]:
    try:
      if file_io.size(path):  # An empty file can be of either kind.
        kinds[first_record(path) is not None].append(path)
    except (tf.errors.OpError, OSError) as e:
      raise ValueError("Input file %s cannot be read: %s" % (path, e)) from e
  if len(kinds) > 1:
    raise ValueError(
        "The input mixes TFRecord files (%s) and raw text (%s). Train on one "
        "kind at a time." % (list_names(kinds[True]), list_names(kinds[False])))
  return True in kinds


def check_files_differ(train_parts, eval_files, flag):
  """Checks that no file is used for both training and evaluation.

  Args:
    train_parts: list of config.MixturePart, whose `files` are lists of paths.
    eval_files: list of paths.
    flag: str, the name of the flag that names `eval_files`.

  Raises:
    ValueError: a file is used for both.
  """
  for part in train_parts:
    trained = set(map(file_io.real_path, part.files))
    shared = [path for path in eval_files if file_io.real_path(path) in trained]
    if shared:
      raise ValueError(
          "--%s and %s both name %s. Metrics on training text say nothing "
          "about other text: hold out some documents for evaluation." %
          (flag, part.in_words, list_names(shared)))


def check_records(input_files, max_seq_length, max_predictions_per_seq):
  """Checks that TFRecord files were created with this run's lengths.

  Args:
    input_files: list of TFRecord files; the first record is checked.
    max_seq_length, max_predictions_per_seq: int, the flags.

  Raises:
    ValueError: the record's lists have other lengths, or it is not a
      pretraining example.
  """
  path = next(path for path in input_files if file_io.size(path))
  try:
    example = tf.train.Example.FromString(first_record(path))
  except message.DecodeError:
    example = tf.train.Example()
  features = example.features.feature
  for name, flag, expected in (
      ("input_ids", "max_seq_length", max_seq_length),
      ("masked_lm_ids", "max_predictions_per_seq", max_predictions_per_seq)):
    if name not in features:
      raise ValueError(
          "%s is a TFRecord file, but its records have no %s: they are not "
          "pretraining examples." % (path, name))
    found = len(features[name].int64_list.value)
    if found != expected:
      raise ValueError(
          "The records of %s were created with --%s=%d, but this run has "
          "--%s=%d. Pass the same value." %
          (path, flag, found, flag, expected))


def check_model(config, config_file, max_seq_length, vocab_size, vocab_file):
  """Checks that the input's ids and lengths fit the model's embedding tables.

  Args:
    config: modeling.BertConfig; config_file: str, its file.
    max_seq_length: int, tokens of an example.
    vocab_size: int, the number of ids of the tokenizer; None without one.
    vocab_file: str, the tokenizer's vocabulary.

  Raises:
    ValueError: an id would be out of an embedding table's range.
  """
  if max_seq_length > config.max_position_embeddings:
    raise ValueError(
        "--max_seq_length=%d exceeds the %d positions of the model "
        "(max_position_embeddings in %s). Pass a smaller value, or "
        "--extend_positions to give the model more." %
        (max_seq_length, config.max_position_embeddings, config_file))
  if config.type_vocab_size < 2:
    raise ValueError(
        "type_vocab_size is %d in %s; sentence pairs need at least 2." %
        (config.type_vocab_size, config_file))
  if vocab_size is not None and vocab_size > config.vocab_size:
    blank = blank_end(vocab_file)
    raise ValueError(
        "The vocabulary %s has %d entries, but the model only has %d "
        "(vocab_size in %s). %s" % (
            vocab_file, vocab_size, config.vocab_size, config_file,
            "Remove the blank lines at its end, which count as entries: line "
            "%s." % ", ".join(map(str, blank)) if blank else
            "Ids beyond the embedding table would result in NaN. Use the "
            "vocabulary that the model was trained with."))
