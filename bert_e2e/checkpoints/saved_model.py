"""Writes an encoder as a SavedModel, for serving and for other programs."""

import os

import tensorflow.compat.v1 as tf

import modeling
from bert_e2e.checkpoints import saver
from bert_e2e.common import file_io, session_config

INPUTS = ("input_ids", "input_mask", "segment_ids")
# What is written to a directory. fingerprint.pb is TensorFlow 2's.
OUTPUT_NAMES = ("saved_model.pb", "fingerprint.pb", "variables", "assets.extra")
# The directory of a SavedModel for files that no loader reads.
_EXTRA = "assets.extra"


def write(directory, variables, config, files):
  """Writes an encoder that TensorFlow 1.15 and 2 load.

  Its graph has the tag "serve" and the signature "serving_default":

  * inputs `input_ids`, `input_mask` and `segment_ids`, int32 [B, S], as of
    modeling.BertModel; B and S are free, S up to max_position_embeddings;
  * outputs `sequence_output`, float32 [B, S, H], and `pooled_output`,
    float32 [B, H].

  The heads are left out.

  Args:
    directory: str; it is created if it is missing. An earlier SavedModel in it
      is replaced; other files must not be there.
    variables: dict from each of the encoder's names in modeling.variable_shapes
      to a float32 array.
    config: modeling.BertConfig.
    files: dict from the name of a file to its bytes, written to assets.extra.

  Raises:
    OSError: it cannot be written.
  """
  try:
    _remove(directory)
    with tf.Graph().as_default(), tf.Session(
        config=session_config.cpu_only()) as session:
      inputs, outputs = _build(config)
      saver.load(((variable, variables[saver.name_of(variable)])
                  for variable in tf.trainable_variables()),
                 session, tf.distribute.get_strategy())
      builder = tf.saved_model.Builder(directory)
      builder.add_meta_graph_and_variables(
          session, [tf.saved_model.tag_constants.SERVING],
          {tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY:
               tf.saved_model.predict_signature_def(inputs, outputs)},
          strip_default_attrs=True)
      extra = os.path.join(directory, _EXTRA)
      tf.io.gfile.makedirs(extra)
      for name, content in files.items():
        file_io.write(os.path.join(extra, name), content)
      builder.save()  # Writes saved_model.pb, without which there is no model.
  except tf.errors.OpError as e:
    raise OSError("%s cannot be written: %s" % (directory, e.message)) from e


def _build(config):
  """Builds the encoder in the default graph; returns (inputs, outputs), dicts
  of tensors."""
  inputs = {name: tf.placeholder(tf.int32, [None, None], name)
            for name in INPUTS}
  # TensorFlow 2 loads no other variables.
  with tf.variable_scope(tf.get_variable_scope(), use_resource=True):
    model = modeling.BertModel(
        config, False, *(inputs[name] for name in INPUTS))
  return inputs, {"sequence_output": model.get_sequence_output(),
                  "pooled_output": model.get_pooled_output()}


def _remove(directory):
  """Removes an earlier SavedModel from a directory."""
  for name in OUTPUT_NAMES:
    path = os.path.join(directory, name)
    if tf.io.gfile.isdir(path):
      tf.io.gfile.rmtree(path)
    elif file_io.exists(path):
      file_io.remove(path)
