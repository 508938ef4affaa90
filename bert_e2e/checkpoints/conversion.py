"""Reads models, and writes them as Google's or Hugging Face's format.

A complete pretraining model is written: heads that the input does not have are
newly initialized, see hugging_face.complete.
"""

import collections
import os
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf

import modeling
import tokenization
from bert_e2e.checkpoints import (
  hugging_face,
  model_path,
  new_rows,
  saved_model,
  tf_weights,
  validation,
)
from bert_e2e.checkpoints.model_path import CONFIG_FILE
from bert_e2e.common import file_io, json_files, session_config
from bert_e2e.common.added_token_files import TOKENIZER_CONFIG_FILE, VOCAB_FILE
from bert_e2e.common.messages import list_names
from bert_e2e.config import TokenizerConfig, names_of
from bert_e2e.data import resume
from bert_e2e.data.pieces import check_vocabulary

CHECKPOINT = new_rows.CHECKPOINT
# The files of Google's format, in the order in which they are written.
OUTPUT_FILES = (VOCAB_FILE, TOKENIZER_CONFIG_FILE, CONFIG_FILE,
                CHECKPOINT + ".data-00000-of-00001", CHECKPOINT + ".index")
# Written beside a model that is an average: what it was made of, see averaging.
AVERAGE_FILE = "average.json"
# The files that an export may have beside those of its format.
_RECORDS = (AVERAGE_FILE, new_rows.FILE)
_RANDOM_SEED = 12345
_INPUT = "--input"  # The flag, for messages.


class SourceModel(NamedTuple):
  """A model that was read, with completed heads.

  Attributes:
    variables: dict from each name of modeling.variable_shapes to a float32
      array.
    config: modeling.BertConfig.
    vocab_file: str, for tokenization.read_vocabulary; None if unknown.
    do_lower_case: bool; None if unknown.
    initialized: list of str, variables that were newly initialized.
    unused: list of str, weights of the input that pretraining does not use.
    root: str, the scope of the encoder's variables in a checkpoint.
    tokenizer: dict, what is known of the other options of
      config.TokenizerConfig.
    directory: str, where it was found, for `export`'s source; None if nothing
      there tells how text is split.
    new_tokens: new_rows.NewTokens, what of it was never trained, as far as it
      is recorded.
  """
  variables: Dict[str, Any]
  config: modeling.BertConfig
  vocab_file: Optional[str]
  do_lower_case: Optional[bool]
  initialized: List[str]
  unused: List[str]
  root: str = tf_weights.ROOT
  tokenizer: Dict[str, Any] = {}
  directory: Optional[str] = None
  new_tokens: new_rows.NewTokens = new_rows.NewTokens()


# ---------------------------------------------------------------------- reading


def read(path, bert_config_file=None, vocab_file=None, do_lower_case=None,
         flag=_INPUT):
  """Reads a model, its config and its tokenizer's options.

  Args:
    path: str, see model_path.find.
    bert_config_file: str, the config of a checkpoint; by default the
      bert_config.json beside it.
    vocab_file: str; by default the vocabulary beside the model.
    do_lower_case: bool; by default as recorded in the directory.
    flag: str, the flag that names the model, for messages.

  Returns:
    SourceModel.

  Raises:
    OSError: a file cannot be read.
    ValueError: there is no model, or it is damaged or contradicts its config.
  """
  model = model_path.find(path, flag)
  if model.is_hugging_face:
    if bert_config_file:
      raise ValueError(
          "--bert_config_file=%s is for checkpoints, but %s=%s has its own "
          "%s." % (bert_config_file, flag, path, hugging_face.CONFIG_FILE))
    return _read_hugging_face(model, vocab_file, do_lower_case)
  config_file = bert_config_file or model.config_file
  if not config_file:
    raise ValueError("There is no %s beside %s; pass --bert_config_file." %
                     (CONFIG_FILE, model.path))
  config = hugging_face.load_config(config_file)
  tokenizer = recorded_tokenizer(model.path, is_split_into_words=True)
  recorded = tokenizer.pop("do_lower_case", None)
  weights = tf_weights.TensorFlowWeights(model.path)
  variables = _read_variables(weights, model.path, config)
  missing = [n for n in modeling.variable_shapes(config) if n not in variables]
  return SourceModel(
      _complete(variables, config), config, vocab_file or model.vocab_file,
      recorded if do_lower_case is None else do_lower_case, missing, [],
      weights.root, tokenizer, hugging_face.find_directory(model.path),
      new_rows.read(model.path))


def _read_hugging_face(model, vocab_file, do_lower_case):
  """Returns the SourceModel of a Hugging Face directory; see `read`."""
  found = hugging_face.read(model.path)
  config = modeling.BertConfig.from_dict(found.config)
  tokenizer = hugging_face.read_options(model.path, is_split_into_words=True)
  recorded = tokenizer.pop("do_lower_case", None)
  return SourceModel(
      _complete(found.variables, config), config,
      vocab_file or model.vocab_file,
      recorded if do_lower_case is None else do_lower_case, found.missing,
      found.unused, found.scope, tokenizer, model.path,
      new_rows.read(model.path))


def _complete(variables, config):
  """Returns the variables with newly initialized heads where they lack some."""
  return hugging_face.complete(
      variables, config, np.random.RandomState(_RANDOM_SEED))


def recorded_tokenizer(path, is_split_into_words=False):
  """Reads how the text of a model is split, as far as it is recorded.

  Args:
    path: str, a Hugging Face directory, or a checkpoint's path prefix. Beside a
      checkpoint are the files of an export, or the record of a run's stream.
    is_split_into_words: bool, see hugging_face.read_options.

  Returns:
    dict, values of fields of config.TokenizerConfig.

  Raises:
    ValueError: see hugging_face.read_options.
  """
  directory = hugging_face.find_directory(path)
  if directory:
    return hugging_face.read_options(directory, is_split_into_words)
  record = resume.load(os.path.dirname(path))
  return {name: value for name, value in (
      record.options if record else {}).items()
          if name in names_of(TokenizerConfig) and name != "do_split_on_punc"}


def find_checkpoint(path):
  """Finds a checkpoint.

  Args:
    path: str, see model_path.find.

  Returns:
    str, a path prefix.

  Raises:
    OSError, ValueError: see model_path.find; or the model there is a Hugging
      Face directory.
  """
  model = model_path.find(path, _INPUT)
  if model.is_hugging_face:
    raise ValueError(
        "%s=%s is a Hugging Face directory, not a checkpoint: convert it with "
        "--output_tf first." % (_INPUT, path))
  return model.path


def read_checkpoint(checkpoint, config):
  """Reads the model's variables from a checkpoint, without the optimizer's.

  Args:
    checkpoint: str, a path prefix.
    config: modeling.BertConfig.

  Returns:
    OrderedDict from name to float32 array, in the order of
    modeling.variable_shapes; variables of heads may be missing.

  Raises:
    ValueError: it is damaged, or of another model than the config.
  """
  return _read_variables(
      tf_weights.TensorFlowWeights(checkpoint), checkpoint, config)


def _read_variables(weights, checkpoint, config):
  """Returns what `read_checkpoint` does, from a TensorFlowWeights."""
  different = validation.model_differences(config, weights.shapes)
  if different:
    raise ValueError(
        "The checkpoint %s is of another model than the config: %s." %
        (checkpoint, list_names(different)))
  return collections.OrderedDict(
      (name, weights.read(name)) for name in modeling.variable_shapes(config)
      if name in weights.shapes)


# ---------------------------------------------------------------------- writing


def check_outputs(output_tf=None, output_hf=None, output_saved_model=None,
                  inputs=None):
  """Checks that nothing is lost when directories are written to.

  Args:
    output_tf, output_hf, output_saved_model: str, directories that need not
      exist; or None.
    inputs: dict from flag, such as "--init_checkpoint", to the path, a list of
      paths, or None, of what is read: no output may be its directory.

  Raises:
    ValueError: one holds other files than those of an earlier `export`, or an
      input; or two are the same.
  """
  input_of: Dict[str, Any] = {}
  for flag, paths in (inputs or {}).items():
    paths = [paths] if isinstance(paths, str) else paths or ()
    for path in filter(None, paths):
      input_of.setdefault(os.path.realpath(_directory_of(path)), (flag, path))
  flag_of = {}
  for flag, directory, own_names in (
      ("--output_tf", output_tf, lambda _: (*OUTPUT_FILES, *_RECORDS)),
      ("--output_hf", output_hf,
       lambda path: (*hugging_face.own_names(path), *_RECORDS)),
      ("--output_saved_model", output_saved_model,
       lambda _: saved_model.OUTPUT_NAMES)):
    if not directory:
      continue
    found = input_of.get(os.path.realpath(directory))
    if found:
      raise ValueError(
          "%s=%s is the directory of %s=%s, which would be overwritten. Pass "
          "another directory." % (flag, directory, *found))
    other = flag_of.setdefault(os.path.realpath(directory), flag)
    if other != flag:
      raise ValueError("%s and %s are the same directory, %s. Pass two "
                       "directories." % (other, flag, directory))
    if file_io.exists(directory) and not tf.io.gfile.isdir(directory):
      raise ValueError("%s is a file, not a directory to write to." % directory)
    own = own_names(directory)
    others = [name for name in file_io.names(directory) if name not in own]
    if others:
      raise ValueError(
          "The directory %s is not empty: it holds %s. Pass another one. "
          "Nothing was written." % (directory, list_names(others)))


def _directory_of(path):
  """Returns the directory of a model or file: a path itself if it is one."""
  return path if tf.io.gfile.isdir(path) else os.path.dirname(path) or "."


def check_export(config, vocab_file, output_tf, output_hf, *, source=None):
  """Checks, before training, that the model can be exported afterwards.

  Args:
    config: modeling.BertConfig; vocab_file: str or None.
    output_tf, output_hf, source: str, see `export`.

  Raises:
    ValueError: see `check_outputs` and hugging_face.check_writable; or there is
      no vocabulary.
  """
  if not vocab_file:
    raise ValueError("--vocab_file is missing: --export_dir writes it beside "
                     "the model.")
  check_outputs(output_tf, output_hf)
  hugging_face.check_writable(config, source)


def export(variables, config, vocab_file, do_lower_case, output_tf=None,
           output_hf=None, output_saved_model=None, *, strip_accents=None,
           tokenize_chinese_chars=True, source=None, average=None,
           vocabulary=None, new_tokens=None):
  """Writes a model, its config and its vocabulary.

  Args:
    variables: dict from each name of modeling.variable_shapes to a float32
      array.
    config: modeling.BertConfig.
    vocab_file: str, for tokenization.read_vocabulary.
    do_lower_case: bool, the tokenizer lower-cases; it may be None, for unknown,
      without `output_hf`.
    output_tf: str, directory for Google's format: bert_model.ckpt,
      bert_config.json, vocab.txt and a tokenizer_config.json; or None.
    output_hf: str, directory for Hugging Face's format; or None.
    output_saved_model: str, directory for a SavedModel of the encoder, with the
      vocabulary and the config in assets.extra; or None.
    strip_accents, tokenize_chinese_chars: see config.TokenizerConfig.
    source: str, the directory that the model came from, or None; see
      hugging_face.write.
    average: dict, what the model is an average of, see averaging.Average; None
      if it is none.
    vocabulary: bytes, the model's vocabulary if it is not that of `vocab_file`,
      whose added tokens it has at the same places; or None.
    new_tokens: new_rows.NewTokens, what of the model was never trained; or
      None.

  Raises:
    OSError: a file cannot be read or written.
    ValueError: see `check_outputs` and hugging_face.write; the vocabulary has
      more entries than the model, or a special token is missing from it; it or
      `do_lower_case` is unknown.
  """
  check_outputs(output_tf, output_hf, output_saved_model)
  _check_tokenizer(vocab_file, do_lower_case, output_hf)
  if vocabulary is None:
    vocabulary = read_vocabulary(vocab_file, config)
  tokenizer = dict(
      strip_accents=strip_accents,
      tokenize_chinese_chars=tokenize_chinese_chars, source=source,
      added=tokenization.read_added_tokens(vocab_file))
  files = _small_files(config, vocabulary, do_lower_case, tokenizer)
  for directory in filter(None, (output_tf, output_hf)):
    tf.io.gfile.makedirs(directory)
    _write_records(directory, average, new_tokens)
  if output_tf:
    for name, content in files.items():
      file_io.write(os.path.join(output_tf, name), content)
    write_checkpoint(
        os.path.join(output_tf, CHECKPOINT),
        {name: variables[name] for name in modeling.variable_shapes(config)})
  if output_hf:
    hugging_face.write(
        output_hf, variables, config, vocabulary, do_lower_case, **tokenizer)
  if output_saved_model:
    if average:
      files[AVERAGE_FILE] = hugging_face.to_bytes(average)
    saved_model.write(output_saved_model, variables, config, files)


def _check_tokenizer(vocab_file, do_lower_case, output_hf):
  """Raises ValueError if what `export` has to write is unknown."""
  if not vocab_file:
    raise ValueError(
        "There is no vocabulary beside the model; pass --vocab_file.")
  if output_hf and do_lower_case is None:
    raise ValueError(
        "The model does not tell whether its tokenizer lower-cases; pass "
        "--do_lower_case for an uncased model, or --do_lower_case=false.")


def read_vocabulary(vocab_file, config):
  """Reads the vocabulary of a model.

  Args:
    vocab_file: str, for tokenization.read_vocabulary.
    config: modeling.BertConfig.

  Returns:
    bytes, see tokenization.read_vocabulary.

  Raises:
    OSError: it cannot be read.
    ValueError: it has more entries than the model, or lacks a special token.
  """
  vocabulary = tokenization.read_vocabulary(vocab_file)
  check_vocabulary(vocab_file)
  num_pieces = len(file_io.split_lines(vocabulary))
  if num_pieces > config.vocab_size:
    raise ValueError(
        "The vocabulary %s has %d entries, but the model only has %d. Pass the "
        "one that the model was trained with." %
        (vocab_file, num_pieces, config.vocab_size))
  return vocabulary


def _small_files(config, vocabulary, do_lower_case, tokenizer):
  """Returns what Google's format has beside the checkpoint: an OrderedDict from
  the name of a file to its content, bytes."""
  made = hugging_face.make_files(
      config, vocabulary, do_lower_case, **tokenizer)
  files = collections.OrderedDict(
      (name, hugging_face.to_bytes(made[name]))
      for name in (VOCAB_FILE, TOKENIZER_CONFIG_FILE))
  files[CONFIG_FILE] = config.to_json_string().encode("utf-8")
  return files


def _write_records(directory, average, new_tokens):
  """Writes the files of _RECORDS; removes those of an earlier export that there
  is nothing to write to; see `export`."""
  is_new = new_tokens is not None and any(new_tokens)
  for name, record in zip(_RECORDS, (
      average, new_tokens._asdict() if is_new else None)):
    path = os.path.join(directory, name)
    if record:
      file_io.write(path, hugging_face.to_bytes(record))
    elif file_io.exists(path):
      file_io.remove(path)


def read_average(directory):
  """Reads what the model in a directory is an average of.

  Args:
    directory: str, or None.

  Returns:
    dict, see `export`; None if nothing is recorded.

  Raises:
    OSError, ValueError: see json_files.read_object.
  """
  return (json_files.read_object_or_nothing(
      os.path.join(directory, AVERAGE_FILE)) if directory else None) or None


def write_checkpoint(checkpoint, variables):
  """Writes a TensorFlow checkpoint.

  Args:
    checkpoint: str, the path prefix; its directory must exist.
    variables: dict from name to array.

  Raises:
    OSError: it cannot be written.
  """
  with tf.Graph().as_default(), tf.Session(
      config=session_config.cpu_only()) as session:
    values = [tf.placeholder(np.asarray(value).dtype, np.shape(value))
              for value in variables.values()]
    save = tf.raw_ops.SaveV2(
        prefix=checkpoint, tensor_names=list(variables),
        shape_and_slices=[""] * len(values), tensors=values)
    try:
      session.run(save, dict(zip(values, variables.values())))
    except tf.errors.OpError as e:
      raise OSError("%s cannot be written: %s" % (checkpoint, e.message)) from e
