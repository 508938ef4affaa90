"""Refuses what would spoil a run, before anything is built or written.

Each check raises one ValueError that names the file, the value and the remedy.
"""

import collections
import logging
import os

import tensorflow.compat.v1 as tf
from google.protobuf import message

import modeling
import optimization
from bert_e2e.checkpoints import examples_seen, hugging_face
from bert_e2e.common import file_io
from bert_e2e.data import resume

logger = logging.getLogger(__name__)

# How many names a message lists before it says "and N more".
_LISTED = 8
# Files of an input list that are looked into.
_SAMPLED_FILES = 32
# Not weights of the model: what an optimizer and a training loop add to them.
LOSS_SCALE_VARIABLES = ("current_loss_scale", "good_steps")
_NOT_WEIGHTS = optimization.SLOT_SUFFIXES + (
    "global_step", examples_seen.NAME) + LOSS_SCALE_VARIABLES


def list_names(names):
  """Joins names for a message, cut short where there are many."""
  names = list(names)
  text = ", ".join(names[:_LISTED])
  if len(names) > _LISTED:
    text += " and %d more" % (len(names) - _LISTED)
  return text


def first_record(path):
  """Returns the first record of a TFRecord file.

  Args:
    path: any file.

  Returns:
    bytes; None if the file is empty or not a TFRecord file (its first bytes
    are a length and that length's checksum, which no text has by chance).
  """
  try:
    return next(tf.io.tf_record_iterator(path), None)
  except tf.errors.DataLossError:
    return None


def are_tfrecords(input_files):
  """Tells whether the input files are TFRecords, not raw text.

  Args:
    input_files: list of paths; the first ones are looked into.

  Returns:
    bool.

  Raises:
    ValueError: some are and some are not, or a file can't be read.
  """
  kinds = collections.defaultdict(list)
  for path in input_files[:_SAMPLED_FILES]:
    try:
      if file_io.size(path):  # An empty one may be either.
        kinds[first_record(path) is not None].append(path)
    except (tf.errors.OpError, OSError) as e:
      raise ValueError("Input file %s cannot be read: %s" % (path, e)) from e
  if len(kinds) > 1:
    raise ValueError(
        "The input mixes TFRecord files (%s) and raw text (%s). Train from one "
        "kind at a time." % (list_names(kinds[True]), list_names(kinds[False])))
  return True in kinds


def check_files_differ(train_files, eval_files, flag):
  """Checks that no file is both trained on and evaluated on.

  Args:
    train_files, eval_files: lists of paths.
    flag: str, by which the latter were named.

  Raises:
    ValueError: one is.
  """
  def real(path):
    return os.path.realpath(path) if file_io.is_local(path) else path

  trained = set(map(real, train_files))
  shared = [path for path in eval_files if real(path) in trained]
  if shared:
    raise ValueError(
        "--%s and --input_file both name %s. What is trained on tells nothing "
        "about other text: hold some documents out." %
        (flag, list_names(shared)))


def check_records(input_files, max_seq_length, max_predictions_per_seq):
  """Checks that a TFRecord file was made for the lengths of this run.

  Args:
    input_files: list of TFRecord files; the first record counts.
    max_seq_length, max_predictions_per_seq: int, the flags.

  Raises:
    ValueError: the records hold lists of another length, or something else.
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
          "%s is a TFRecord file, but its records have no %s: it does not hold "
          "pretraining examples." % (path, name))
    found = len(features[name].int64_list.value)
    if found != expected:
      raise ValueError(
          "The records of %s were made with --%s=%d, and this run has --%s=%d. "
          "Pass the same value." % (path, flag, found, flag, expected))


def check_model(config, config_file, max_seq_length, vocab_size, vocab_file):
  """Checks that text and model fit together.

  Args:
    config: modeling.BertConfig; config_file: where it was read.
    max_seq_length: int, pieces of an example.
    vocab_size: int, ids that the tokenizer gives, or None where there is none;
      vocab_file: where it was read.

  Raises:
    ValueError: an id would lie beyond a table of embeddings.
  """
  if max_seq_length > config.max_position_embeddings:
    raise ValueError(
        "--max_seq_length=%d is beyond the %d positions of the model "
        "(max_position_embeddings in %s). Pass a smaller one." %
        (max_seq_length, config.max_position_embeddings, config_file))
  if config.type_vocab_size < 2:
    raise ValueError(
        "type_vocab_size is %d in %s; sentence pairs need 2 at the least." %
        (config.type_vocab_size, config_file))
  if vocab_size is not None and vocab_size > config.vocab_size:
    raise ValueError(
        "The vocabulary %s has %d entries, the model only %d (vocab_size in "
        "%s). Larger ids would train on NaN. Use the vocabulary that the model "
        "was trained with." %
        (vocab_file, vocab_size, config.vocab_size, config_file))


def _variables(checkpoint):
  """Returns {name: shape} of a checkpoint; raises ValueError if unreadable."""
  try:
    return dict(tf.train.list_variables(checkpoint))
  except (tf.errors.OpError, ValueError) as e:
    raise ValueError(
        "There is no readable checkpoint at %s (%s). Give the path without "
        ".index or .data-..., e.g. bert_model.ckpt." %
        (checkpoint, _first_line(e))) from e


def _first_line(error):
  return (str(error).splitlines() or [type(error).__name__])[0]


def _check_whole(checkpoint, names):
  """Raises ValueError if a variable's values can't be read: a cut-off file."""
  reader = tf.train.load_checkpoint(checkpoint)
  for name in names:
    try:
      reader.get_tensor(name)
    # TensorFlow 2.15 raises Python's own errors here.
    except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as e:
      raise ValueError(
          "The checkpoint %s is damaged: %s cannot be read (%s). Copy it "
          "again, or take an earlier one." %
          (checkpoint, name, _first_line(e))) from e


def differences(config, variables):
  """Lists the weights whose shapes differ between config and checkpoint."""
  return [
      "%s is %s there and %s by the config" % (name, variables[name], shape)
      for name, shape in modeling.variable_shapes(config).items()
      if name in variables and list(variables[name]) != list(shape)
  ]


def check_init_checkpoint(init_checkpoint, config, config_file):
  """Checks that a checkpoint holds weights of this model.

  Args:
    init_checkpoint: path prefix of the checkpoint, or a Hugging Face folder.
    config: modeling.BertConfig; config_file: where it was read.

  Returns:
    list of str, the model's variables that it lacks, which start fresh.

  Raises:
    ValueError: no checkpoint there or a damaged one, none of its variables is
      the model's, or shapes differ; of a folder see hugging_face.read, too.
  """
  if hugging_face.is_folder(init_checkpoint):
    if config_file != hugging_face.config_file(init_checkpoint):
      hugging_face.check_config(init_checkpoint, config, config_file)
    return hugging_face.read(init_checkpoint).missing
  variables = _variables(init_checkpoint)
  shapes = modeling.variable_shapes(config)
  if not set(shapes) & set(variables):
    raise ValueError(
        "No variable of --init_checkpoint=%s is one of this model. It holds "
        "%s; the model has %s." %
        (init_checkpoint, list_names(sorted(variables)), list_names(shapes)))
  different = differences(config, variables)
  if different:
    raise ValueError(
        "--init_checkpoint=%s is of another model than --bert_config_file=%s: "
        "%s." % (init_checkpoint, config_file, list_names(different)))
  _check_whole(init_checkpoint, [n for n in shapes if n in variables])
  return [name for name in shapes if name not in variables]


def check_output_dir(output_dir, config, config_file):
  """Checks that a checkpoint in the output folder, if any, is of this model.

  Args:
    output_dir: folder; it need not exist.
    config: modeling.BertConfig; config_file: where it was read.

  Returns:
    path of its latest checkpoint; None without one.

  Raises:
    ValueError: it holds a checkpoint of another model, or a damaged one, or
      names one that is not there.
  """
  if file_io.is_local(output_dir) and tf.io.gfile.exists(
      output_dir) and not tf.io.gfile.isdir(output_dir):
    raise ValueError("--output_dir=%s is a file, not a folder." % output_dir)
  latest = tf.train.latest_checkpoint(output_dir)
  if not latest:
    _check_none_is_lost(output_dir)
    return None
  variables = _variables(latest)
  weights = [v for v in variables if not v.endswith(_NOT_WEIGHTS)]
  shapes = modeling.variable_shapes(config)
  different = differences(config, variables)
  different += ["%s is not in it" % n for n in list(shapes) + ["global_step"]
                if n not in variables]
  different += ["%s is not in the model" % n for n in weights
                if n not in shapes]
  if different:
    raise ValueError(
        "--output_dir=%s holds a checkpoint (%s) of another model than "
        "--bert_config_file=%s: %s. Choose another folder, or the config that "
        "it was trained with." %
        (output_dir, latest, config_file, list_names(different)))
  _check_whole(latest, variables)
  return latest


def _check_none_is_lost(output_dir):
  """Raises ValueError if a folder names a checkpoint that is not there.

  TensorFlow would pass over it and start anew.
  """
  state = tf.train.get_checkpoint_state(output_dir)
  if state and state.model_checkpoint_path:
    raise ValueError(
        "--output_dir=%s names %s as its latest checkpoint, which is not "
        "there. Restore it, or name an earlier one in the file %s/checkpoint, "
        "or remove that file to start anew." %
        (output_dir, state.model_checkpoint_path, output_dir))


def check_stream(record, output_dir, accept):
  """Checks that a resumed run goes on in the stream that it was in.

  Args:
    record: resume.StreamRecord of the stream that was asked for.
    output_dir: folder; what it says of its stream, if anything, counts.
    accept: bool, whether another stream is to be accepted.

  Returns:
    The folder's own StreamRecord if it is of this stream, else None.

  Raises:
    ValueError: it is of another stream, and that is not to be accepted.
  """
  try:
    before = resume.load(output_dir)
    if before is None:
      return None
    differences = before.differences(record)
    if not differences:
      return before
    said = ("--output_dir=%s was trained on another stream of examples: %s. "
            "Restore what changed" % (output_dir, "; ".join(differences)))
  except ValueError as e:
    said = "%s Restore it" % e
  if not accept:
    raise ValueError(
        "%s, or pass --accept_new_stream to go on with these weights at the "
        "start of the new stream." % said)
  return None
