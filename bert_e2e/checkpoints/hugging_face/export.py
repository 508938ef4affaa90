"""Writes a model as a Hugging Face directory."""

import json
import os

import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints.hugging_face import config as config_lib
from bert_e2e.checkpoints.hugging_face import (
  sentence_encoder,
  tokenizer,
  weights,
)
from bert_e2e.common import file_io

# Written in this order: a directory without the last one is not a model.
OUTPUT_FILES = (weights.SAFETENSORS_FILE, *tokenizer.OUTPUT_FILES,
                config_lib.CONFIG_FILE)


def check_writable(config, source=None):
  """Checks that a model can be written, before it is trained.

  Args:
    config: modeling.BertConfig.
    source: str, see `write`.

  Raises:
    OSError: a file of `source` cannot be read.
    ValueError: Hugging Face does not have the activation, safetensors is not
      installed, or a file of `source` is damaged.
  """
  weights.import_safetensors()
  config_lib.make_config(config, pad_id=0)
  if source:
    sentence_encoder.read(source)


def own_names(directory):
  """Returns the names that `write` may have written to a directory, a list."""
  return [*OUTPUT_FILES, *sentence_encoder.names_in(directory)]


def write(directory, variables, config, vocabulary, do_lower_case, *,
          source=None, **options):
  """Writes a model that transformers loads as its BertForPreTraining.

  Args:
    directory: str; it is created if it is missing. Files of an earlier export
      in it are replaced, each atomically.
    variables: dict from each name of modeling.variable_shapes to its value, a
      float32 array.
    config: modeling.BertConfig with the name of an activation.
    vocabulary: bytes, a WordPiece a line.
    do_lower_case: bool, the tokenizer lower-cases.
    source: str, the directory that the model came from, or None. If that one is
      a sentence encoder, the files that make it one are copied.
    **options: other arguments of tokenizer.make_files.

  Raises:
    OSError: a file cannot be written, or one of `source` not read.
    ValueError: Hugging Face does not have the activation, safetensors is not
      installed, or a file of `source` is damaged.
  """
  pieces = [line.strip() for line in vocabulary.split(b"\n")]
  pad_id = pieces.index(b"[PAD]") if b"[PAD]" in pieces else 0
  contents = sentence_encoder.read(source) if source else {}
  contents.update(tokenizer.make_files(
      config, vocabulary, do_lower_case, source=source, **options))
  contents[weights.SAFETENSORS_FILE] = weights.encode_safetensors(
      variables, config)
  contents[config_lib.CONFIG_FILE] = config_lib.make_config(config, pad_id)
  tf.io.gfile.makedirs(directory)
  first = [name for name in contents if name not in OUTPUT_FILES]
  for name in (*first, *OUTPUT_FILES):
    path = os.path.join(directory, name)
    tf.io.gfile.makedirs(os.path.dirname(path))
    file_io.write(path, to_bytes(contents[name]))


def to_bytes(content):
  """Encodes an object as indented JSON; bytes stay as they are."""
  if isinstance(content, bytes):
    return content
  return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode("utf-8")
