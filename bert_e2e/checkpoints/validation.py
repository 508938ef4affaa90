"""Checks of checkpoints, before anything is built or written.

Each check raises a ValueError that names the file, the value and the remedy.
"""

import tensorflow.compat.v1 as tf

import modeling
import optimization
from bert_e2e.checkpoints import examples_seen, tf_weights
from bert_e2e.common import file_io, head_variables
from bert_e2e.common.messages import list_names

# Variables that an optimizer and the training loop add to the model's weights.
LOSS_SCALE_VARIABLES = ("current_loss_scale", "good_steps")
_NOT_WEIGHTS = optimization.SLOT_SUFFIXES + (
    "global_step", examples_seen.NAME) + LOSS_SCALE_VARIABLES


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


def model_differences(config, variables):
  """Lists what differs between a model and its weights, heads aside.

  Args:
    config, variables: see `differences`.

  Returns:
    list of str, a clause for each weight of another shape, for each one of the
    encoder that is missing, and for each one that the model does not have.
    Weights of heads may be missing.
  """
  shapes = modeling.variable_shapes(config)
  return [
      *differences(config, variables),
      *("%s is missing" % name for name in shapes
        if name not in variables and not head_variables.is_head(name)),
      *("%s is not in the model" % name for name in variables
        if name.startswith(tf_weights.ROOT) and name not in shapes)]


def check_output_dir(output_dir, config, config_file, optimizer=None):
  """Checks that the output directory's checkpoint, if any, is of the model.

  Args:
    output_dir: str, directory; it need not exist.
    config: modeling.BertConfig; config_file: str, its file.
    optimizer: str, the key of optimization.OPTIMIZERS that continues training;
      None if the checkpoint is only evaluated.

  Returns:
    str, path prefix of its latest checkpoint; None without one.

  Raises:
    ValueError: its latest checkpoint is of another model or optimizer, damaged
      or missing.
  """
  if file_io.is_local(output_dir) and tf.io.gfile.exists(
      output_dir) and not tf.io.gfile.isdir(output_dir):
    raise ValueError(
        "--output_dir=%s is a file, not a directory." % output_dir)
  latest = _find_latest(output_dir)
  if not latest:
    return None
  reader = tf_weights.open_checkpoint(latest)
  variables = dict(sorted(reader.get_variable_to_shape_map().items()))
  shapes = modeling.variable_shapes(config)
  others = [name for name in variables
            if name not in shapes and not name.endswith(_NOT_WEIGHTS)]
  # Of another optimizer or program: its slots, and scalars of its state.
  foreign = [name for name in others if tf_weights.is_slot(name) or
             not (variables[name] or name.startswith(("bert/", "cls/")))]
  different = differences(config, variables)
  different += ["%s is missing" % n for n in shapes if n not in variables]
  different += ["%s is not in the model" % n for n in others
                if n not in foreign]
  if different:
    raise ValueError(
        "--output_dir=%s holds a checkpoint (%s) of another model than "
        "--bert_config_file=%s: %s. Choose another directory, or the config "
        "that it was trained with." %
        (output_dir, latest, config_file, list_names(different)))
  _check_restorable(output_dir, latest, reader, shapes, foreign, optimizer)
  for name in variables:
    tf_weights.read_tensor(reader, latest, name)
  return latest


def _check_restorable(output_dir, latest, reader, shapes, foreign, optimizer):
  """Raises ValueError if a run cannot resume from a checkpoint of its model.

  Args:
    output_dir: str; latest: str, the checkpoint's path prefix.
    reader: what tf_weights.open_checkpoint returns.
    shapes: the model's variables.
    foreign: names of the variables of another optimizer or program.
    optimizer: see `check_output_dir`.
  """
  dtypes = reader.get_variable_to_dtype_map()
  problems = ["%s is of type %s, not float32" % (name, dtypes[name].name)
              for name in shapes if dtypes[name] != tf.float32]
  if "global_step" not in dtypes:
    problems.append("global_step is missing")
  if optimizer:
    slots = optimization.OPTIMIZERS[optimizer].SLOTS.values()
    problems += ["it has %s" % name for name in foreign]
    problems += ["%s/%s is missing" % (name, slot) for name in shapes
                 for slot in slots if "%s/%s" % (name, slot) not in dtypes]
  if problems:
    raise ValueError(
        "--output_dir=%s holds a checkpoint (%s) that another program or "
        "optimizer wrote, which cannot be resumed here: %s. To start from its "
        "weights, pass --init_checkpoint=%s and another --output_dir." %
        (output_dir, latest, list_names(problems, limit=3), latest))


def _find_latest(output_dir):
  """Returns the latest checkpoint of a directory, or None.

  Raises:
    ValueError: it is missing. TensorFlow would ignore that and start from
      scratch.
  """
  state = tf.train.get_checkpoint_state(output_dir)
  if not state or not state.model_checkpoint_path:
    return None
  try:
    latest = tf.train.latest_checkpoint(output_dir)
  except tf.errors.NotFoundError:  # Of TensorFlow 1, if its directory is gone.
    latest = None
  if not latest:
    raise ValueError(
        "--output_dir=%s names %s as its latest checkpoint, which does not "
        "exist. Restore it, or name an earlier one in the file %s/checkpoint, "
        "or remove that file to start from scratch." %
        (output_dir, state.model_checkpoint_path, output_dir))
  return latest
