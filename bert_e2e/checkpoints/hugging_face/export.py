"""Writes a model as a Hugging Face directory."""

import json
import os

import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints.hugging_face import config as config_lib
from bert_e2e.checkpoints.hugging_face import tokenizer, weights
from bert_e2e.common import file_io

# Written in this order: a directory without the last one is not a model.
OUTPUT_FILES = (weights.SAFETENSORS_FILE, tokenizer.VOCAB_FILE,
                tokenizer.TOKENIZER_CONFIG_FILE, tokenizer.SPECIAL_TOKENS_FILE,
                config_lib.CONFIG_FILE)


def check_writable(config):
  """Checks that a model can be written, before it is trained.

  Args:
    config: modeling.BertConfig.

  Raises:
    ValueError: Hugging Face does not have the activation, or safetensors is not
      installed.
  """
  weights.import_safetensors()
  config_lib.make_config(config, pad_id=0)


def write(directory, variables, config, vocabulary, do_lower_case):
  """Writes a model that transformers loads as its BertForPreTraining.

  Args:
    directory: str; it is created if it is missing. Files of OUTPUT_FILES in it
      are replaced, each atomically.
    variables: dict from each name of modeling.variable_shapes to its value, a
      float32 array.
    config: modeling.BertConfig with the name of an activation.
    vocabulary: bytes, a WordPiece a line.
    do_lower_case: bool, the tokenizer lower-cases.

  Raises:
    OSError: a file cannot be written.
    ValueError: Hugging Face does not have the activation, or safetensors is not
      installed.
  """
  pieces = [line.strip() for line in vocabulary.split(b"\n")]
  pad_id = pieces.index(b"[PAD]") if b"[PAD]" in pieces else 0
  contents = {
      config_lib.CONFIG_FILE: _to_json(config_lib.make_config(config, pad_id)),
      tokenizer.VOCAB_FILE: vocabulary,
      tokenizer.TOKENIZER_CONFIG_FILE: _to_json(
          tokenizer.make_tokenizer_config(config, do_lower_case)),
      tokenizer.SPECIAL_TOKENS_FILE: _to_json(tokenizer.SPECIAL_TOKENS),
      weights.SAFETENSORS_FILE: weights.encode_safetensors(variables, config),
  }
  tf.io.gfile.makedirs(directory)
  for name in OUTPUT_FILES:
    file_io.write(os.path.join(directory, name), contents[name])


def _to_json(content):
  """Encodes an object as indented JSON."""
  return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode("utf-8")
