"""The heads of a pretraining model that a model without them is given."""

import collections

import numpy as np

import modeling
from bert_e2e.common import head_variables
from bert_e2e.common.messages import list_names

TRANSFORMS = ("identity", "random")


def complete(variables, config, rng, transform="identity"):
  """Adds newly initialized heads to a model, where they are missing.

  The transform of the masked-LM head is initialized as the identity, so that
  the head scores words by the encoder's own vectors at first. (Up to the
  transform's activation, which is kept.) The pooler and the next-sentence head
  are initialized randomly, as in a new model; biases are 0.

  Args:
    variables: dict from name to float32 array. Any of the heads' variables
      (pooler, masked-LM, next-sentence) may be missing. It is not changed.
    config: modeling.BertConfig.
    rng: numpy.random.RandomState for random values.
    transform: one of TRANSFORMS, the initial kernel of the masked-LM head's
      transform.

  Returns:
    OrderedDict from each name of modeling.variable_shapes, in that order, to a
    float32 array.

  Raises:
    ValueError: a variable of the encoder is missing, or `transform` is unknown.
  """
  if transform not in TRANSFORMS:
    raise ValueError("The transform %r is not one of %s." %
                     (transform, ", ".join(TRANSFORMS)))
  missing = [name for name in modeling.variable_shapes(config)
             if name not in variables and
             not head_variables.is_head(name)]
  if missing:
    raise ValueError("The encoder is incomplete: %s is missing." %
                     list_names(missing))
  completed = collections.OrderedDict()
  for name, shape in modeling.variable_shapes(config).items():
    if name in variables:
      completed[name] = variables[name]
    elif name.endswith("gamma"):
      completed[name] = np.ones(shape, np.float32)
    elif name.endswith(("bias", "beta")):
      completed[name] = np.zeros(shape, np.float32)
    elif (name.startswith(head_variables.MASKED_LM_TRANSFORM) and
          transform == "identity"):
      completed[name] = np.eye(shape[0], dtype=np.float32)
    else:
      completed[name] = truncated_normal(shape, config.initializer_range, rng)
  return completed


def truncated_normal(shape, deviation, rng):
  """Draws values as modeling.create_initializer does.

  Args:
    shape: list of int.
    deviation: float, the standard deviation.
    rng: numpy.random.RandomState.

  Returns:
    float32 array of normal values, none beyond two standard deviations.
  """
  found = rng.standard_normal(shape)
  while True:
    beyond = np.abs(found) > 2
    if not beyond.any():
      return (found * deviation).astype(np.float32)
    found[beyond] = rng.standard_normal(beyond.sum())
