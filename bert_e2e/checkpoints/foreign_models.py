"""Models in other formats or of other architectures: what they are and what to
do about them.
"""

import re
from typing import NamedTuple


class _Kind(NamedTuple):
  """A kind of model that cannot be read.

  Attributes:
    pattern: str, a regular expression that the name of one of its files, or of
      one of its variables, matches.
    what: str, what it is.
    remedy: str, a sentence.
  """
  pattern: str
  what: str
  remedy: str


_SAVE_AGAIN = ("Load it with transformers (version 4, %s=True), write it with "
               "save_pretrained, and pass that directory.")
# By the name of a file.
_MODELS = (
    _Kind(r"adapter_(config\.json|model\.(bin|safetensors))$",
          "a LoRA or other PEFT adapter, not a whole model",
          "Merge it into its base model (peft's merge_and_unload), write that "
          "with save_pretrained, and pass its directory."),
    _Kind(r".*\.msgpack$", "a Flax model", _SAVE_AGAIN % "from_flax"),
    _Kind(r".*\.(h5|hdf5|keras)$", "a Keras model", _SAVE_AGAIN % "from_tf"),
    _Kind(r".*\.onnx$", "an ONNX model, which cannot be trained",
          "Pass the model that it was exported from."),
    _Kind(r"saved_model\.pb(txt)?$", "a SavedModel",
          "Pass the checkpoint in it, variables/variables."),
)
_FILES = _MODELS + (
    _Kind(r".*\.(pb|tflite)$", "a graph for inference, which cannot be trained",
          "Pass the model that it was exported from."),
    _Kind(r".*\.(safetensors|bin|pt|pth)$|config\.json$",
          "one file of a Hugging Face directory",
          "Pass the directory, which also holds the model's config.json."),
    _Kind(r".*\.(zip|tar|tgz|gz|bz2|xz|7z)$", "an archive",
          "Unpack it, and pass the model in it."),
)

_ONLY_BERT = "Only BERT is supported: start from a BERT checkpoint."
# By the name of a variable.
_ARCHITECTURES = (
    _Kind(r".*\.ATTRIBUTES/VARIABLE_VALUE$",
          "a TensorFlow 2 object-based checkpoint, as Keras writes it",
          "Write the model as a checkpoint of named variables "
          "(tf.compat.v1.train.Saver, with Google's names), or with "
          "transformers as a Hugging Face directory."),
    _Kind(r"(.*/)?(electra|generator|discriminator_predictions|"
          r"generator_predictions)/", "an ELECTRA model", _ONLY_BERT),
    _Kind(r".*/inner_group_\d+/|.*/embedding_hidden_mapping_in/",
          "an ALBERT model", _ONLY_BERT),
    _Kind(r"(.*/)?distilbert/", "a DistilBERT model", _ONLY_BERT),
    _Kind(r"(.*/)?roberta/", "a RoBERTa model", _ONLY_BERT),
    _Kind(r".*/bottleneck/", "a MobileBERT model", _ONLY_BERT),
    _Kind(r"(.*/)?block_\d+/layer_\d+/", "a T5 model", _ONLY_BERT),
    _Kind(r".*/rel_attn/", "an XLNet model", _ONLY_BERT),
    _Kind(r"(.*/)?h\d+/attn/", "a GPT-2 model", _ONLY_BERT),
)


def of_file(name):
  """Tells what a file is, if it is not a model that can be read.

  Args:
    name: str, its name without the directory.

  Returns:
    (name, what, remedy): str, the file that tells, what it is, and a sentence
    about what to do; None if it is of no known kind.
  """
  return _find(_FILES, [name])


def of_directory(names):
  """Tells what model a directory holds, if it cannot be read.

  Args:
    names: list of str, the names in the directory.

  Returns:
    (name, what, remedy), see `of_file`.
  """
  return _find(_MODELS, names)


def of_variables(names):
  """Tells what architecture the variables of a checkpoint belong to.

  Args:
    names: list of str, the variables' names.

  Returns:
    (name, what, remedy), see `of_file`; None if it may be a BERT.
  """
  return _find(_ARCHITECTURES, names)


def _find(kinds, names):
  for kind in kinds:
    for name in names:
      if re.match(kind.pattern, name):
        return name, kind.what, kind.remedy
  return None
