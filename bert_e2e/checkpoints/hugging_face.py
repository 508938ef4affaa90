"""BERT models in the folders of Hugging Face's transformers: read and written.

Such a folder holds `config.json`, the weights in `model.safetensors` (or
`pytorch_model.bin`; or several of either, and an index) and the tokenizer's
files. The same model is described in other words there:

* PyTorch's names for the variables, and kernels [units, width], where ours are
  [width, units];
* activations: Hugging Face's "gelu" is our "gelu_erf", and Google's "gelu", the
  tanh form, is "gelu_new" there;
* a model may lack heads that pretraining needs; `complete` makes them.

Letters in shapes are those of modeling.py.
"""

import collections
import io
import json
import os
import re
from typing import Any, Dict, List, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

import modeling
from bert_e2e.checkpoints import saver
from bert_e2e.common import file_io, json_files
from bert_e2e.common.messages import first_line, list_names

CONFIG_FILE = "config.json"
VOCAB_FILE = "vocab.txt"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TOKENIZER_FILE = "tokenizer.json"
SAFETENSORS_FILE = "model.safetensors"
TORCH_FILE = "pytorch_model.bin"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
# What `write` writes, in that order: without the last one it is no model.
OUTPUT_FILES = (SAFETENSORS_FILE, VOCAB_FILE, TOKENIZER_CONFIG_FILE,
                SPECIAL_TOKENS_FILE, CONFIG_FILE)
TRANSFORMS = ("identity", "random")

# Our name of an activation -> those of Hugging Face, the written one first.
_ACTIVATIONS = {
    "gelu": ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast"),
    "gelu_erf": ("gelu", "gelu_python"),
    "relu": ("relu",),
    "tanh": ("tanh",),
    "linear": ("linear",),
}
# The config's keys, with transformers.BertConfig's defaults (ours differ).
_DEFAULTS = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512, "type_vocab_size": 2,
    "initializer_range": 0.02,
}
# Some of these are in each config of theirs, and none in Google's.
_THEIR_KEYS = ("model_type", "architectures", "layer_norm_eps")
# What would make it another model, with the only value that there is here.
_FIXED = {"position_embedding_type": "absolute", "is_decoder": False,
          "add_cross_attention": False}
_LAYER_NORM_EPSILON = 1e-12
# Up to here a variance of 1 is divided by what float32 can't tell from it.
_LARGEST_EPSILON = 1e-7
# What a tokenizer would do otherwise, with the only value that there is here.
_TOKENIZER = {"tokenize_chinese_chars": True, "word_tokenizer_type": "basic",
              "subword_tokenizer_type": "wordpiece"}
_SPECIAL_TOKENS = {"unk_token": "[UNK]", "sep_token": "[SEP]",
                   "pad_token": "[PAD]", "cls_token": "[CLS]",
                   "mask_token": "[MASK]"}
# Numbers that count up, which some versions saved with the weights.
_BUFFERS = (".position_ids", ".token_type_ids")
_NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
# PyTorch's names that ours do not follow from.
_HEAD_NAMES = {
    "cls/predictions/output_bias": "cls.predictions.bias",
    "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",
    "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
}
# The decoder's weights are the embeddings; its bias stands in two places.
_SHARED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


class Model(NamedTuple):
  """What a folder holds.

  Attributes:
    config: dict, for modeling.BertConfig.from_dict.
    variables: OrderedDict from Google's name of a variable to its value, a
      float32 array, in the order of modeling.variable_shapes.
    missing: list of str, variables of the pretraining model that are not
      there: of its heads.
    unused: list of str, PyTorch's names of weights that are of no use in
      pretraining: of another head.
  """
  config: Dict[str, Any]
  variables: Dict[str, Any]
  missing: List[str]
  unused: List[str]


# ---------------------------------------------------------------------- reading


def is_folder(path):
  """Tells whether there is a Hugging Face folder, by its config.json."""
  return file_io.exists(config_file(path))


def config_file(folder):
  """Returns the path of a folder's config.json."""
  return os.path.join(folder, CONFIG_FILE)


def read(folder):
  """Reads a model: BertModel, BertForMaskedLM, BertForPreTraining and the like.

  Args:
    folder: str, with or without a scheme.

  Returns:
    Model.

  Raises:
    OSError: a file can't be read.
    ValueError: see `read_config`; a file is damaged, would run code when it is
      read, or is none of weights; weights of the encoder are missing, or have
      other sizes than the config says; the package that reads them is missing.
  """
  config = read_config(folder)
  path, tensors = _read_weights(folder)
  tensors, stored_names = _by_standard_names(tensors, path)
  variables = collections.OrderedDict()  # type: collections.OrderedDict
  missing, different = [], []
  for name, shape in modeling.variable_shapes(
      modeling.BertConfig.from_dict(config)).items():
    tensor = tensors.pop(_torch_name(name), None)
    if tensor is None:
      missing.append(name)
      continue
    if name.endswith("/kernel"):
      tensor = tensor.T
    if list(tensor.shape) != shape:
      different.append("%s is %s there and %s by %s" % (
          name, list(tensor.shape), shape, CONFIG_FILE))
    # A copy where it is transposed; then the stored one can go.
    variables[name] = np.ascontiguousarray(tensor)
  different += ["%s is not in the model" % name for name in stored_names
                if stored_names[name] in tensors and
                stored_names[name].startswith("bert.")]
  different += ["%s is missing" % name for name in missing
                if not is_head(name)]
  if different:
    raise ValueError(
        "%s does not hold the weights of the model that %s describes: %s. Copy "
        "the folder again, all files of one model." %
        (path, os.path.join(folder, CONFIG_FILE), _list_clauses(different)))
  unused = [name for name in stored_names if stored_names[name] in tensors]
  return Model(config, variables, missing, unused)


def load_config(path):
  """Reads a config file, be it Google's or Hugging Face's.

  In the latter "gelu" means another activation.

  Args:
    path: str, e.g. of a bert_config.json or config.json.

  Returns:
    modeling.BertConfig.

  Raises:
    OSError: it can't be read.
    ValueError: see modeling.BertConfig.from_json_file and `read_config`.
  """
  try:
    is_theirs = any(key in json_files.read_object(path) for key in _THEIR_KEYS)
  except ValueError:
    is_theirs = False
  if is_theirs:
    return modeling.BertConfig.from_dict(read_config(path))
  return modeling.BertConfig.from_json_file(path)


def check_config(folder, config, config_file):
  """Checks that a config is of a folder's model; its dropout may be another.

  Args:
    folder: str.
    config: modeling.BertConfig; config_file: where it was read.

  Raises:
    ValueError: sizes or the activation differ, or see `read_config`.
  """
  theirs = read_config(folder)
  ours = dict(config.to_dict(), hidden_act=(config.hidden_act or "").lower())
  different = ["%s is %r there and %r by the config" % (
      key, value, ours[key]) for key, value in theirs.items()
               if ours[key] != value and not key.endswith("_prob") and
               key != "initializer_range"]
  if different:
    raise ValueError("%s is of another model than %s: %s." % (
        folder, config_file, _list_clauses(different)))


def read_config(path):
  """Reads a config.json.

  Args:
    path: str, of it or of the folder that it is in.

  Returns:
    dict with the keys of modeling.BertConfig, its activation by our name.

  Raises:
    OSError: there is none.
    ValueError: it is not JSON, is not a BERT's, or says something that our BERT
      does not do; the message names file, key and value.
  """
  if not path.endswith(".json"):
    path = os.path.join(path, CONFIG_FILE)
  content = json_files.read_object(path)
  _check_architecture(content, path)
  config = {key: content.get(key, default)
            for key, default in _DEFAULTS.items()}
  config["hidden_act"] = _our_activation(content.get("hidden_act", "gelu"),
                                         path)
  modeling.check_config(modeling.BertConfig.from_dict(config), path)
  return config


def is_head(name):
  """Tells whether a variable is of the heads (or pooler), which may be missing.
  """
  return name.startswith(("cls/", "bert/pooler/"))


def find_vocab_file(folder):
  """Finds a folder's vocabulary.

  Args:
    folder: str.

  Returns:
    str, the path of its vocab.txt; of its tokenizer.json where that is all
    there is (transformers 5 writes no other); None without both.
  """
  for name in (VOCAB_FILE, TOKENIZER_FILE):
    path = os.path.join(folder, name)
    if file_io.exists(path):
      return path
  return None


def read_do_lower_case(folder):
  """Reads whether a folder's tokenizer lower-cases.

  Args:
    folder: str.

  Returns:
    bool; None where neither tokenizer_config.json nor tokenizer.json says.

  Raises:
    ValueError: one of them is not JSON, or does something with the text that
      our tokenizer does not do.
  """
  said, normalizer = {}, {}
  for name in (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE):
    path = os.path.join(folder, name)
    if not file_io.exists(path):
      continue
    content = json_files.read_object(path)
    if name == TOKENIZER_FILE:
      normalizer = content.get("normalizer") or {}
      content = {"do_lower_case": normalizer.get("lowercase"),
                 "strip_accents": normalizer.get("strip_accents"),
                 "tokenize_chinese_chars":
                     normalizer.get("handle_chinese_chars")}
    # The later, which transformers goes by, says it where both do.
    said.update((key, value) for key, value in content.items()
                if value is not None)
  lower = said.get("do_lower_case")
  if lower is not None and not isinstance(lower, bool):
    raise ValueError("%s: 'do_lower_case' must be true or false, got %r." %
                     (folder, lower))
  ours = dict(_TOKENIZER)
  if lower is not None:
    ours["strip_accents"] = lower
  for key, value in ours.items():
    if said.get(key, value) != value:
      raise ValueError(
          "The tokenizer in %s has %s=%r, Google's BERT has %r: some text "
          "would give other pieces. Pass --do_lower_case to take Google's all "
          "the same." % (folder, key, said[key], value))
  return lower


def _check_architecture(content, path):
  """Raises ValueError if a config.json describes something else than a BERT."""
  kind = content.get("model_type", "bert")
  architectures = content.get("architectures") or []
  if kind != "bert" or (architectures and not any(
      str(name).startswith("Bert") for name in architectures)):
    raise ValueError(
        "%s describes a model of the type %r (%s), and only BERT can be read: "
        "BertModel, BertForMaskedLM or BertForPreTraining." %
        (path, kind, ", ".join(map(str, architectures)) or
         "no architectures named"))
  for key, value in _FIXED.items():
    if content.get(key, value) != value:
      raise ValueError(
          "%s: %r is %r, and the BERT of this program has %r only." %
          (path, key, content[key], value))
  epsilon = content.get("layer_norm_eps", _LAYER_NORM_EPSILON)
  if not modeling.is_number(epsilon, (int, float)) or not (
      0 <= epsilon <= _LARGEST_EPSILON):
    raise ValueError(
        "%s: 'layer_norm_eps' is %r, and the BERT of this program has %g." %
        (path, epsilon, _LAYER_NORM_EPSILON))


def _our_activation(name, path):
  """Returns our name of an activation; ValueError if there is none."""
  for ours, theirs in _ACTIVATIONS.items():
    if name in theirs:
      return ours
  raise ValueError("%s: the activation %r is unknown here; known are %s." % (
      path, name, ", ".join(n for names in _ACTIVATIONS.values()
                            for n in names)))


def _list_clauses(clauses):
  """Joins what a message says of several weights or keys."""
  return list_names(clauses, limit=4, separator="; ")


# ------------------------------------------------------------- files of weights


def _read_weights(folder):
  """Reads a folder's weights.

  Returns:
    (str, the path of their file or index; dict from PyTorch's name to float32
    array).
  """
  for name, read_file in ((SAFETENSORS_FILE, _read_safetensors),
                          (TORCH_FILE, _read_torch)):
    path = os.path.join(folder, name)
    if file_io.exists(path):
      return path, read_file(path)
    index = path + ".index.json"
    if file_io.exists(index):
      tensors = {}  # type: Dict[str, Any]
      for shard in _shards(index):
        tensors.update(read_file(os.path.join(folder, shard)))
      return index, tensors
  raise ValueError("%s has a %s, but neither %s nor %s beside it." % (
      folder, CONFIG_FILE, SAFETENSORS_FILE, TORCH_FILE))


def _shards(index):
  """Returns the sorted names of the files that an index spreads weights over.

  Raises:
    ValueError: it is no such index, or leads out of its folder.
  """
  files = json_files.read_object(index).get("weight_map")
  if not isinstance(files, dict) or not files or not all(
      isinstance(name, str) and re.match(r"[\w-][\w.-]*$", name)
      for name in files.values()):
    raise ValueError(
        "%s is no index of weights: its 'weight_map' must give each one the "
        "name of a file beside it." % index)
  return sorted(set(files.values()))


def _safetensors():
  """Imports safetensors, which only these folders need.

  Raises:
    ValueError: it is not installed.
  """
  try:
    import safetensors.numpy  # pylint: disable=import-outside-toplevel
  except ImportError as e:
    raise ValueError(
        "Hugging Face's %s needs a package that is not installed (%s): pip "
        "install safetensors (on Python 3.7: safetensors==0.4.5)." %
        (SAFETENSORS_FILE, e)) from e
  return safetensors


def _read_whole(path):
  """Returns a file's bytes; ValueError for the stand-in that Git LFS leaves."""
  with file_io.open_binary(path) as stream:
    content = stream.read()
  if content.startswith(b"version https://git-lfs"):
    raise ValueError("%s is not the file itself but Git LFS's note of it. Run "
                     "git lfs pull, or download the file." % path)
  return content


def _read_safetensors(path):
  """Returns {PyTorch's name: float32 array} of a safetensors file."""
  library = _safetensors()
  try:
    # Of this one NumPy need not know the types: it has no bfloat16.
    entries = library.deserialize(_read_whole(path))
  except library.SafetensorError as e:
    raise ValueError("%s is damaged or no safetensors file (%s). Copy it "
                     "again." % (path, e)) from e
  tensors = {}  # type: Dict[str, Any]
  while entries:
    name, entry = entries.pop()
    if name.endswith(_BUFFERS):
      continue
    if entry["dtype"] not in _NUMPY_TYPES:
      raise ValueError(
          "%s: %s is stored as %s, and only %s can be read: quantized weights "
          "can't be trained on. Take the unquantized model." %
          (path, name, entry["dtype"], ", ".join(sorted(_NUMPY_TYPES))))
    array = np.frombuffer(entry["data"], _NUMPY_TYPES[entry["dtype"]])
    if entry["dtype"] == "BF16":  # The upper half of a float32.
      array = (array.astype("<u4") << 16).view("<f4")
    tensors[name] = array.astype(np.float32, copy=False).reshape(
        entry["shape"])
  return tensors


def _read_torch(path):
  """Returns {PyTorch's name: float32 array} of a PyTorch file."""
  try:
    import torch  # pylint: disable=import-outside-toplevel
  except ImportError as e:
    raise ValueError(
        "%s can be read where PyTorch is installed (%s): pip install torch, or "
        "take the model's %s." % (path, e, SAFETENSORS_FILE)) from e
  content = io.BytesIO(_read_whole(path))
  try:
    # A pickle may run any code; weights_only refuses all but tensors.
    found = torch.load(content, map_location="cpu", weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in found.items()
            if not name.endswith(_BUFFERS)}
  # What PyTorch raises for a bad file is of many types, by its version.
  except Exception as e:
    raise ValueError(
        "%s is damaged or holds more than weights (%s). Take the model's %s." %
        (path, first_line(e), SAFETENSORS_FILE)) from e


def _by_standard_names(tensors, path):
  """Gives weights the names that BertForPreTraining has.

  Args:
    tensors: dict from a name in any of the known forms to an array.
    path: str, where they are from.

  Returns:
    (dict from standard name to array, OrderedDict from the name in the file to
    the standard one).

  Raises:
    ValueError: a weight is there twice, with different values.
  """
  found = {}  # type: Dict[str, Any]
  names = collections.OrderedDict()
  for name in sorted(tensors):
    standard = names[name] = _standard_name(name)
    if standard in found and not np.array_equal(
        found[standard], tensors[name]):
      raise ValueError(
          "%s: %s differs from %s, which a BERT shares. It cannot be continued "
          "here." % (path, name, next(
              n for n in names if names[n] == standard)))
    found[standard] = tensors[name]
  return found, names


def _standard_name(name):
  """Returns BertForPreTraining's name of a weight."""
  if name.startswith(("embeddings.", "encoder.", "pooler.")):
    name = "bert." + name  # A BertModel's.
  # Of the first conversions of Google's checkpoints.
  name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
  name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
  return _SHARED.get(name, name)


def _torch_name(name):
  """Returns BertForPreTraining's name of a variable of ours."""
  if name in _HEAD_NAMES:
    return _HEAD_NAMES[name]
  name = re.sub(r"/layer_(\d+)/", r"/layer/\1/", name).replace("/", ".")
  name = re.sub(r"\.(kernel|gamma)$", ".weight", name)
  name = re.sub(r"\.beta$", ".bias", name)
  return re.sub(r"_embeddings$", "_embeddings.weight", name)


# ---------------------------------------------------------------- missing heads


def complete(variables, config, rng, transform="identity"):
  """Adds the heads that a model lacks.

  A missing transform of the masked-LM head is made the identity, so that the
  head scores words by the encoder's own vectors at the start. (Its activation
  stays, so it is one up to that.) A missing pooler or next-sentence head is
  random, as in a fresh model; missing biases are 0.

  Args:
    variables: dict from name to float32 array; of the heads (pooler, masked-LM,
      next-sentence) any may be missing. It is not changed.
    config: modeling.BertConfig.
    rng: numpy.random.RandomState, for what is random.
    transform: one of TRANSFORMS: what a missing kernel of the masked-LM
      transform is.

  Returns:
    OrderedDict from each name of modeling.variable_shapes, in that order, to a
    float32 array.

  Raises:
    ValueError: a variable of the encoder is missing; another transform.
  """
  if transform not in TRANSFORMS:
    raise ValueError("The transform %r is none of %s." %
                     (transform, ", ".join(TRANSFORMS)))
  lost = [name for name in modeling.variable_shapes(config)
          if name not in variables and not is_head(name)]
  if lost:
    raise ValueError("Without %s there is no encoder to complete." %
                     list_names(lost))
  whole = collections.OrderedDict()
  for name, shape in modeling.variable_shapes(config).items():
    if name in variables:
      whole[name] = variables[name]
    elif name.endswith("gamma"):
      whole[name] = np.ones(shape, np.float32)
    elif name.endswith(("bias", "beta")):
      whole[name] = np.zeros(shape, np.float32)
    elif name.startswith("cls/predictions/") and transform == "identity":
      whole[name] = np.eye(shape[0], dtype=np.float32)
    else:
      whole[name] = _truncated_normal(shape, config.initializer_range, rng)
  return whole


def _truncated_normal(shape, deviation, rng):
  """Returns float32 normal numbers, none beyond two deviations: see
  modeling.create_initializer."""
  found = rng.standard_normal(shape)
  while True:
    beyond = np.abs(found) > 2
    if not beyond.any():
      return (found * deviation).astype(np.float32)
    found[beyond] = rng.standard_normal(beyond.sum())


def init_fn(folder, config, random_seed):
  """Makes what gives the graph's variables a folder's weights.

  Args:
    folder: str, of a model of that config.
    config: modeling.BertConfig.
    random_seed: int, of the heads that the folder lacks.

  Returns:
    An `init_fn` of tf.train.Scaffold, for the trainable variables that the
    default graph has now. TensorFlow calls it behind the initializers, where
    no checkpoint is restored. It sends the values into the session, wherever
    that is: on each replica of the tf.distribute.Strategy in whose scope this
    was called, or on a TPU's host. The folder is read there and then, so that
    nothing keeps its weights.
  """
  variables = tf.trainable_variables()
  strategy = tf.distribute.get_strategy()

  def load(scaffold, session):
    del scaffold
    values = complete(read(folder).variables, config,
                      np.random.RandomState(random_seed))
    for variable in variables:
      saver.load(variable, values[saver.name_of(variable)], session, strategy)

  return load


# ---------------------------------------------------------------------- writing


def check_writable(config):
  """Checks that a model can be written as transformers reads it.

  Args:
    config: modeling.BertConfig.

  Raises:
    ValueError: Hugging Face has no such activation; safetensors is missing.
  """
  _safetensors()
  _their_config(config, pad_id=0)


def write(folder, variables, config, vocabulary, do_lower_case):
  """Writes a model that transformers loads as its BertForPreTraining.

  Args:
    folder: str; it is made if it is not there. Files of OUTPUT_FILES in it are
      replaced, each whole or not at all.
    variables: dict from each name of modeling.variable_shapes to its value, a
      float32 array.
    config: modeling.BertConfig, whose activation is known by name.
    vocabulary: bytes, a WordPiece a line.
    do_lower_case: bool, whether the tokenizer lower-cases.

  Raises:
    OSError: it can't be written.
    ValueError: Hugging Face has no such activation; safetensors is missing.
  """
  pieces = [line.strip() for line in vocabulary.split(b"\n")]
  pad_id = pieces.index(b"[PAD]") if b"[PAD]" in pieces else 0
  tokenizer = dict(
      _SPECIAL_TOKENS, do_lower_case=bool(do_lower_case),
      model_max_length=config.max_position_embeddings, strip_accents=None,
      tokenize_chinese_chars=True, tokenizer_class="BertTokenizer")
  contents = {
      CONFIG_FILE: _to_json(_their_config(config, pad_id)),
      VOCAB_FILE: vocabulary,
      TOKENIZER_CONFIG_FILE: _to_json(tokenizer),
      SPECIAL_TOKENS_FILE: _to_json(_SPECIAL_TOKENS),
      SAFETENSORS_FILE: _to_safetensors(variables, config),
  }
  tf.io.gfile.makedirs(folder)
  for name in OUTPUT_FILES:
    file_io.write(os.path.join(folder, name), contents[name])


def _to_json(content):
  """Returns an object as the bytes of indented JSON."""
  return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode("utf-8")


def _their_config(config, pad_id):
  """Returns what config.json says."""
  activation = (config.hidden_act or "linear").lower()
  if activation not in _ACTIVATIONS:
    raise ValueError("Hugging Face has no activation %r; it has ours of the "
                     "names %s." % (activation, ", ".join(_ACTIVATIONS)))
  return dict({key: getattr(config, key) for key in _DEFAULTS},
              architectures=["BertForPreTraining"], model_type="bert",
              hidden_act=_ACTIVATIONS[activation][0],
              layer_norm_eps=_LAYER_NORM_EPSILON, pad_token_id=pad_id,
              position_embedding_type="absolute")


def _to_safetensors(variables, config):
  """Returns the variables as the bytes of a model.safetensors."""
  tensors = {}
  for name in modeling.variable_shapes(config):
    value = variables[name].T if name.endswith("/kernel") else variables[name]
    tensors[_torch_name(name)] = np.ascontiguousarray(value, np.float32)
  # transformers reads no file that does not say whose names these are.
  return _safetensors().numpy.save(tensors, metadata={"format": "pt"})
