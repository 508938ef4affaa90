"""The config.json of a Hugging Face directory."""

import os

import modeling
from bert_e2e.common import file_io, json_files, messages

CONFIG_FILE = "config.json"

# Our name of an activation -> Hugging Face's names; the first one is written.
_ACTIVATIONS = {
    "gelu": ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast"),
    "gelu_erf": ("gelu", "gelu_python"),
    "relu": ("relu",),
    "tanh": ("tanh",),
    "linear": ("linear",),
}
# The config's keys, with transformers.BertConfig's defaults. (Ours differ.)
_DEFAULTS = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512, "type_vocab_size": 2,
    "initializer_range": 0.02,
}
# Of these, what only training depends on.
_TRAINING_KEYS = ("hidden_dropout_prob", "attention_probs_dropout_prob",
                  "initializer_range")
# Each config of Hugging Face has one of these; Google's have none of them.
_THEIR_KEYS = ("model_type", "architectures", "layer_norm_eps")
# Options that change the model, with the only value that ours supports.
_REQUIRED_VALUES = {"position_embedding_type": "absolute", "is_decoder": False,
                    "add_cross_attention": False}
# What people pass instead of a BERT, by its model_type.
_OTHER_MODELS = {
    "albert": "an ALBERT, whose layers share their weights",
    "bart": "a BART, an encoder and decoder",
    "big_bird": "a BigBird, with sparse attention",
    "camembert": "a CamemBERT, with SentencePiece instead of WordPieces",
    "convbert": "a ConvBERT, with convolutions in its layers",
    "deberta": "a DeBERTa, with relative positions",
    "deberta-v2": "a DeBERTa, with relative positions",
    "distilbert": "a DistilBERT, without token types and pooler",
    "electra": "an ELECTRA, whose discriminator predicts no words",
    "ernie": "an ERNIE, with task embeddings",
    "funnel": "a Funnel Transformer, which shortens its sequences",
    "gpt2": "a GPT-2, a decoder",
    "longformer": "a Longformer, with sparse attention",
    "mobilebert": "a MobileBERT, with bottlenecks in its layers",
    "modernbert": "a ModernBERT, with rotary positions and another tokenizer",
    "mpnet": "an MPNet, with relative positions",
    "mt5": "an mT5, an encoder and decoder",
    "nomic_bert": "a Nomic BERT, with rotary positions",
    "roberta": "a RoBERTa, with byte-level BPE instead of WordPieces",
    "roformer": "a RoFormer, with rotary positions",
    "t5": "a T5, an encoder and decoder",
    "xlm-roberta": "an XLM-RoBERTa, with SentencePiece instead of WordPieces",
    "xlnet": "an XLNet, which is trained on permutations",
}
_LAYER_NORM_EPSILON = 1e-12
# Up to this, the epsilon has no effect on a variance of 1 in float32.
_MAX_LAYER_NORM_EPSILON = 1e-7


def is_directory(path):
  """Tells whether a path is a Hugging Face directory, by its config.json."""
  return file_io.exists(config_file(path))


def config_file(directory):
  """Returns the path of a directory's config.json."""
  return os.path.join(directory, CONFIG_FILE)


def load_config(path):
  """Reads Google's or Hugging Face's config file.

  They use the name "gelu" for different activations.

  Args:
    path: str, e.g. of a bert_config.json or config.json.

  Returns:
    modeling.BertConfig.

  Raises:
    OSError: the file cannot be read.
    ValueError: see modeling.BertConfig.from_json_file and `read_config`.
  """
  try:
    content = json_files.read_object(path)
    is_theirs = any(key in content for key in _THEIR_KEYS)
  except ValueError:
    is_theirs = False
  if is_theirs:
    return modeling.BertConfig.from_dict(read_config(path))
  return modeling.BertConfig.from_json_file(path)


def read_config(path):
  """Reads a config.json.

  Args:
    path: str, the file or its directory.

  Returns:
    dict with the keys of modeling.BertConfig and our name of the activation.

  Raises:
    OSError: the file cannot be read.
    ValueError: it is not JSON, not of a BERT, or has a value that our BERT does
      not support. The message names file, key and value.
  """
  if not path.endswith(".json"):
    path = config_file(path)
  content = json_files.read_object(path)
  _check_architecture(content, path)
  config = {key: content.get(key, default)
            for key, default in _DEFAULTS.items()}
  config["hidden_act"] = _our_activation(content.get("hidden_act", "gelu"),
                                         path)
  modeling.check_config(modeling.BertConfig.from_dict(config), path)
  return config


def check_config(directory, config, config_file):
  """Checks that a config is of a directory's model; only dropout may differ.

  Args:
    directory: str, a Hugging Face directory.
    config: modeling.BertConfig.
    config_file: str, the file of `config`.

  Raises:
    ValueError: sizes or the activation differ, or see `read_config`.
  """
  different = config_differences(
      modeling.BertConfig.from_dict(read_config(directory)), config)
  if different:
    raise ValueError("%s is of another model than %s: %s." % (
        directory, config_file, list_clauses(different)))


def config_differences(theirs, config):
  """Lists what makes a config another model's: sizes and the activation.

  Args:
    theirs, config: modeling.BertConfig.

  Returns:
    list of str, a clause for each difference.
  """
  found = []
  for key in ("hidden_act", *_DEFAULTS):
    values = [getattr(item, key) for item in (theirs, config)]
    if key == "hidden_act":
      values = [(value or "").lower() for value in values]
    if values[0] != values[1] and key not in _TRAINING_KEYS:
      found.append("%s is %r there and %r by the config" % (key, *values))
  return found


def make_config(config, pad_id):
  """Returns the content of a config.json.

  Args:
    config: modeling.BertConfig.
    pad_id: int, the id of [PAD].

  Returns:
    dict.

  Raises:
    ValueError: Hugging Face does not have the activation.
  """
  activation = (config.hidden_act or "linear").lower()
  if activation not in _ACTIVATIONS:
    raise ValueError(
        "Hugging Face has no activation %r. These are supported: %s." %
        (activation, ", ".join(_ACTIVATIONS)))
  return dict({key: getattr(config, key) for key in _DEFAULTS},
              architectures=["BertForPreTraining"], model_type="bert",
              hidden_act=_ACTIVATIONS[activation][0],
              layer_norm_eps=_LAYER_NORM_EPSILON, pad_token_id=pad_id,
              position_embedding_type="absolute")


def list_clauses(clauses):
  """Joins the differences of a model for a message; a long list is shortened.
  """
  return messages.list_names(clauses, limit=4, separator="; ")


def _check_architecture(content, path):
  """Raises ValueError if a config.json describes a model that is not ours."""
  kind = content.get("model_type", "bert")
  architectures = content.get("architectures") or []
  if kind != "bert" or (architectures and not any(
      str(name).startswith("Bert") for name in architectures)):
    raise ValueError(
        "%s describes %s (model_type %r, %s), which is not supported: only "
        "BERT is. Start from a BERT (BertModel, BertForMaskedLM or "
        "BertForPreTraining), or train this model with transformers." % (
            path, _OTHER_MODELS.get(kind, "another model than BERT"), kind,
            ", ".join(map(str, architectures)) or "no architectures named"))
  for key, value in _REQUIRED_VALUES.items():
    if content.get(key, value) != value:
      raise ValueError("%s: %r is %r, but only %r is supported." %
                       (path, key, content[key], value))
  epsilon = content.get("layer_norm_eps", _LAYER_NORM_EPSILON)
  if not modeling.is_number(epsilon, (int, float)) or not (
      0 <= epsilon <= _MAX_LAYER_NORM_EPSILON):
    raise ValueError("%s: 'layer_norm_eps' is %r, but only %g is supported." %
                     (path, epsilon, _LAYER_NORM_EPSILON))


def _our_activation(name, path):
  """Returns our name of an activation; ValueError if there is none."""
  for ours, theirs in _ACTIVATIONS.items():
    if name in theirs:
      return ours
  raise ValueError(
      "%s: the activation %r is not supported. These are: %s." %
      (path, name, ", ".join(n for names in _ACTIVATIONS.values()
                             for n in names)))
