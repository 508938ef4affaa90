"""Reads a model from a Hugging Face directory."""

import collections
from typing import Any, Dict, List, NamedTuple

import numpy as np

import modeling
from bert_e2e.checkpoints import tf_weights
from bert_e2e.checkpoints.hugging_face import config as config_lib
from bert_e2e.checkpoints.hugging_face import weights
from bert_e2e.common import head_variables


class Model(NamedTuple):
  """A model that was read.

  Attributes:
    config: dict, for modeling.BertConfig.from_dict.
    variables: OrderedDict from Google's name of a variable to its value, a
      float32 array, in the order of modeling.variable_shapes.
    missing: list of str, names of the pretraining model's variables that the
      directory does not have; all belong to heads.
    unused: list of str, PyTorch's names of weights that pretraining does not
      use, of another head.
    root: str, what the names of the encoder's weights begin with: "bert.", "",
      or a prefix, such as "module.bert.", that was replaced.
  """
  config: Dict[str, Any]
  variables: Dict[str, Any]
  missing: List[str]
  unused: List[str]
  root: str

  @property
  def scope(self):
    """str, tf_weights.ROOT if the encoder's names are those of transformers;
    else `root` without the dot at its end."""
    return tf_weights.ROOT if self.root in ("bert.", "") else self.root[:-1]


def read(directory):
  """Reads a BertModel, BertForMaskedLM, BertForPreTraining or a similar model.

  Args:
    directory: str, local or with a scheme.

  Returns:
    Model.

  Raises:
    OSError: a file cannot be read.
    ValueError: see `read_config` and `weights.read_weights`; weights of the
      encoder are missing, or have other sizes than the config's.
  """
  config = config_lib.read_config(directory)
  path, stored = weights.read_weights(directory)
  stored, stored_names, root = weights.by_standard_names(stored, path)
  variables = collections.OrderedDict()  # type: collections.OrderedDict
  missing, different = [], []
  for name, shape in modeling.variable_shapes(
      modeling.BertConfig.from_dict(config)).items():
    value = stored.pop(weights.torch_name(name), None)
    if value is None:
      missing.append(name)
      continue
    if name.endswith("/kernel"):
      value = value.T
    if list(value.shape) != shape:
      different.append("%s is %s there and %s by %s" % (
          name, list(value.shape), shape, config_lib.CONFIG_FILE))
    # This copies a transposed array, so that the stored one is freed.
    variables[name] = np.ascontiguousarray(value)
  different += ["%s is not in the model" % name for name in stored_names
                if stored_names[name] in stored and
                stored_names[name].startswith("bert.")]
  different += ["%s is missing" % name for name in missing
                if not head_variables.is_head(name)]
  if different:
    raise ValueError(
        "%s does not hold the weights of the model that %s describes: %s. Copy "
        "the directory again, with all files of one model." %
        (path, config_lib.config_file(directory),
         config_lib.list_clauses(different)))
  unused = [name for name in stored_names if stored_names[name] in stored]
  return Model(config, variables, missing, unused, root)
