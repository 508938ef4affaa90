"""The weights of a BERT in a TensorFlow checkpoint, by the model's names.

A checkpoint may have them under another scope, as wrappers and teachers do
(`teacher/bert/...`), and in another floating-point type.
"""

import collections
import difflib
import re

import numpy as np
import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints import foreign_models
from bert_e2e.common import tensorflow_errors
from bert_e2e.common.messages import first_line, list_names

ROOT = "bert/"
_HEADS = "cls/"
_FIRST_VARIABLE = ROOT + "embeddings/word_embeddings"
# A scope, and the name of one of the encoder's variables in it.
_ENCODER_VARIABLE = re.compile(
    r"(.*/|)(embeddings/(\w+_embeddings|LayerNorm/(beta|gamma))"
    r"|encoder/layer_\d+/(attention|intermediate|output)/"
    r"([\w/]+/)?(kernel|bias|beta|gamma))$")
_HEAD_VARIABLE = re.compile(
    r"(.*/|)cls/(predictions/(transform/\w+/(kernel|bias|beta|gamma)|"
    r"output_bias)|seq_relationship/output_(weights|bias))$")
# What an optimizer or a moving average stores beside a weight.
_SLOT = re.compile(r"(.*/)?(kernel|bias|beta|gamma|\w+_embeddings|"
                   r"output_weights|output_bias)/.")


def open_checkpoint(checkpoint):
  """Opens a checkpoint.

  Args:
    checkpoint: str, path prefix.

  Returns:
    What tf.train.NewCheckpointReader returns.

  Raises:
    ValueError: there is no checkpoint, or it cannot be read.
  """
  try:
    # tf.train.load_checkpoint takes some remote prefixes for directories.
    return tf.train.NewCheckpointReader(checkpoint)
  except tensorflow_errors.CHECKPOINT_ERRORS as e:
    raise ValueError(
        "There is no readable checkpoint at %s (%s)." %
        (checkpoint, first_line(e))) from e


def is_slot(name):
  """Tells whether a variable belongs to another one, e.g. an optimizer's.

  >>> is_slot("bert/pooler/dense/kernel/lamb_m")
  True
  >>> is_slot("bert/pooler/dense/kernel")
  False
  """
  return _SLOT.match(name) is not None


class TensorFlowWeights:
  """The weights in a checkpoint.

  Args:
    checkpoint: str, path prefix.

  Attributes:
    shapes: OrderedDict from the model's name of a weight to its shape, a list
      of int: everything in the encoder's scope, and the heads. Slots of
      optimizers are left out.
    root: str, the encoder's scope there; "bert/" in Google's checkpoints.

  Raises:
    ValueError: the checkpoint cannot be read, or does not hold one encoder of a
      BERT.
  """

  def __init__(self, checkpoint):
    self._checkpoint = checkpoint
    self._reader = open_checkpoint(checkpoint)
    variables = self._reader.get_variable_to_shape_map()
    self.root = _find_root(checkpoint, sorted(variables))
    self._stored_names = _by_model_names(
        sorted(name for name in variables if not is_slot(name)), self.root)
    self.shapes = collections.OrderedDict(
        (name, list(variables[stored]))
        for name, stored in self._stored_names.items())

  def read(self, name):
    """Reads a weight.

    Args:
      name: str, a key of `shapes`.

    Returns:
      float32 array; half and double precision are converted.

    Raises:
      ValueError: it cannot be read, or is not of a floating-point type.
    """
    stored = self._stored_names[name]
    dtype = self._reader.get_variable_to_dtype_map()[stored]
    if not dtype.is_floating:
      raise ValueError(
          "The checkpoint %s has %s as %s, not as floating-point numbers. Use "
          "the unquantized model." % (self._checkpoint, stored, dtype.name))
    return np.asarray(
        read_tensor(self._reader, self._checkpoint, stored), np.float32)


def read_tensor(reader, checkpoint, name):
  """Reads a variable of a checkpoint.

  Args:
    reader: what `open_checkpoint` returns.
    checkpoint: str, its path prefix, for the message.
    name: str, the variable's name there.

  Returns:
    array.

  Raises:
    ValueError: it cannot be read: the data file is truncated, for example.
  """
  try:
    return reader.get_tensor(name)
  except tensorflow_errors.CHECKPOINT_ERRORS as e:
    raise ValueError(
        "The checkpoint %s is damaged: %s cannot be read (%s). Copy it again, "
        "or use an earlier one." % (checkpoint, name, first_line(e))) from e


def _find_root(checkpoint, names):
  """Returns the scope of a checkpoint's encoder.

  Args:
    checkpoint: str, for messages.
    names: sorted list of str, its variables.

  Raises:
    ValueError: there is no encoder of a BERT, or more than one.
  """
  foreign = foreign_models.of_variables(names)
  if foreign:
    raise ValueError("%s is %s (it has %s). %s" % (
        checkpoint, foreign[1], foreign[0], foreign[2]))
  roots = sorted({match.group(1) for match in map(
      _ENCODER_VARIABLE.match, names) if match})
  if ROOT in roots:
    return ROOT
  if not roots:
    similar = difflib.get_close_matches(_FIRST_VARIABLE, names, 1, 0.0)
    raise ValueError(
        "%s does not hold the encoder of a BERT: it has %s where the model has "
        "%s. Pass the checkpoint of a pretrained BERT." %
        (checkpoint, similar[0] if similar else "no variables",
         _FIRST_VARIABLE))
  if len(roots) > 1:
    raise ValueError(
        "%s holds several encoders: %s. Write a checkpoint with one of them." %
        (checkpoint, list_names(root + "..." for root in roots)))
  return roots[0]


def _by_model_names(names, root):
  """Returns an OrderedDict from the model's names to a checkpoint's.

  Args:
    names: sorted list of str, variables that are not slots.
    root: str, the encoder's scope.
  """
  found = collections.OrderedDict()
  for name in names:
    inner = name[len(root):]
    if name.startswith(root) and (
        root or inner.startswith(("embeddings/", "encoder/", "pooler/"))):
      found[ROOT + inner] = name
  head_roots = {match.group(1) for match in map(_HEAD_VARIABLE.match, names)
                if match}
  # teacher/cls/... beside teacher/bert/..., or cls/... alone.
  beside = root[:-len(ROOT)] if root.endswith(ROOT) else root
  for head_root in (beside, "", *sorted(head_roots)):
    if head_root in head_roots:
      scope = head_root + _HEADS
      found.update((name[len(head_root):], name) for name in names
                   if name.startswith(scope))
      break
  return found
