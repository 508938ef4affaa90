"""Checks of checkpoints, before anything is built or written.

Each check raises a ValueError that names the file, the value and the remedy.
"""

import tensorflow.compat.v1 as tf

import modeling
import optimization
from bert_e2e.checkpoints import examples_seen, hugging_face
from bert_e2e.common import file_io, tensorflow_errors
from bert_e2e.common.messages import first_line, list_names

# Variables that an optimizer and the training loop add to the model's weights.
LOSS_SCALE_VARIABLES = ("current_loss_scale", "good_steps")
_NOT_WEIGHTS = optimization.SLOT_SUFFIXES + (
    "global_step", examples_seen.NAME) + LOSS_SCALE_VARIABLES


def _variables(checkpoint):
  """Returns {name: shape} of a checkpoint; raises ValueError if unreadable."""
  try:
    return dict(tf.train.list_variables(checkpoint))
  except (tf.errors.OpError, ValueError) as e:
    raise ValueError(
        "There is no readable checkpoint at %s (%s). Pass the path without "
        ".index or .data-..., e.g. bert_model.ckpt." %
        (checkpoint, first_line(e))) from e


def _check_readable(checkpoint, names):
  """Raises ValueError if a variable's values cannot be read: the data file is
  truncated, for example."""
  reader = tf.train.load_checkpoint(checkpoint)
  for name in names:
    try:
      reader.get_tensor(name)
    except tensorflow_errors.CHECKPOINT_ERRORS as e:
      raise ValueError(
          "The checkpoint %s is damaged: %s cannot be read (%s). Copy it "
          "again, or use an earlier one." %
          (checkpoint, name, first_line(e))) from e


def differences(config, variables):
  """Lists the weights whose shapes differ between model and checkpoint.

  Args:
    config: modeling.BertConfig.
    variables: dict from the name of each of the checkpoint's variables to its
      shape.

  Returns:
    list of str, a clause for each weight. Missing weights are not listed.
  """
  return [
      "%s is %s there and %s by the config" % (name, variables[name], shape)
      for name, shape in modeling.variable_shapes(config).items()
      if name in variables and list(variables[name]) != list(shape)
  ]


def check_init_checkpoint(init_checkpoint, config, config_file):
  """Checks that a checkpoint holds weights of the model.

  Args:
    init_checkpoint: str, path prefix of a checkpoint, or a Hugging Face
      directory.
    config: modeling.BertConfig; config_file: str, its file.

  Returns:
    list of str, the model's variables that are missing from the checkpoint.

  Raises:
    ValueError: there is no checkpoint, or it is damaged; it holds none of the
      model's variables, or one of another shape. For a Hugging Face directory
      see hugging_face.read, too.
  """
  if hugging_face.is_directory(init_checkpoint):
    if config_file != hugging_face.config_file(init_checkpoint):
      hugging_face.check_config(init_checkpoint, config, config_file)
    return hugging_face.read(init_checkpoint).missing
  variables = _variables(init_checkpoint)
  shapes = modeling.variable_shapes(config)
  if not set(shapes) & set(variables):
    raise ValueError(
        "--init_checkpoint=%s holds no variable of this model. It holds %s; "
        "the model has %s." %
        (init_checkpoint, list_names(sorted(variables)), list_names(shapes)))
  different = differences(config, variables)
  if different:
    raise ValueError(
        "--init_checkpoint=%s is of another model than --bert_config_file=%s: "
        "%s." % (init_checkpoint, config_file, list_names(different)))
  _check_readable(init_checkpoint, [n for n in shapes if n in variables])
  return [name for name in shapes if name not in variables]


def check_output_dir(output_dir, config, config_file):
  """Checks that the output directory's checkpoint, if any, is of the model.

  Args:
    output_dir: str, directory; it need not exist.
    config: modeling.BertConfig; config_file: str, its file.

  Returns:
    str, path prefix of its latest checkpoint; None without one.

  Raises:
    ValueError: its latest checkpoint is of another model, damaged or missing.
  """
  if file_io.is_local(output_dir) and tf.io.gfile.exists(
      output_dir) and not tf.io.gfile.isdir(output_dir):
    raise ValueError(
        "--output_dir=%s is a file, not a directory." % output_dir)
  latest = tf.train.latest_checkpoint(output_dir)
  if not latest:
    _check_latest_exists(output_dir)
    return None
  variables = _variables(latest)
  weights = [v for v in variables if not v.endswith(_NOT_WEIGHTS)]
  shapes = modeling.variable_shapes(config)
  different = differences(config, variables)
  different += ["%s is missing" % n for n in list(shapes) + ["global_step"]
                if n not in variables]
  different += ["%s is not in the model" % n for n in weights
                if n not in shapes]
  if different:
    raise ValueError(
        "--output_dir=%s holds a checkpoint (%s) of another model than "
        "--bert_config_file=%s: %s. Choose another directory, or the config "
        "that it was trained with." %
        (output_dir, latest, config_file, list_names(different)))
  _check_readable(latest, variables)
  return latest


def _check_latest_exists(output_dir):
  """Raises ValueError if the latest checkpoint of a directory is missing.

  TensorFlow would ignore that and start from scratch.
  """
  state = tf.train.get_checkpoint_state(output_dir)
  if state and state.model_checkpoint_path:
    raise ValueError(
        "--output_dir=%s names %s as its latest checkpoint, which does not "
        "exist. Restore it, or name an earlier one in the file %s/checkpoint, "
        "or remove that file to start from scratch." %
        (output_dir, state.model_checkpoint_path, output_dir))
