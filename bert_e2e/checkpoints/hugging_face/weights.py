"""The weight files of a Hugging Face directory, and the names in them."""

import collections
import difflib
import io
import os
import re

import numpy as np

import modeling
from bert_e2e.checkpoints import foreign_models
from bert_e2e.checkpoints.hugging_face.config import CONFIG_FILE
from bert_e2e.common import file_io, json_files
from bert_e2e.common.messages import first_line, list_names

SAFETENSORS_FILE = "model.safetensors"
_TORCH_FILE = "pytorch_model.bin"
# Constant buffers that some versions saved with the weights.
_BUFFERS = (".position_ids", ".token_type_ids")
_NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
# The prefix of the encoder's weights in models with heads. A BertModel by
# itself has none.
_PREFIX = "bert."
_ENCODER_PARTS = ("embeddings.", "encoder.", "pooler.")
_EMBEDDINGS = re.compile(
    r"((?:.*\.)?)embeddings\.(?:word|position)_embeddings\.weight")
_HEAD = re.compile(r"((?:.*?\.)??)cls\.(?:predictions|seq_relationship)\.")
# PyTorch's names that do not follow from ours.
_HEAD_NAMES = {
    "cls/predictions/output_bias": "cls.predictions.bias",
    "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",
    "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
}
# The decoder shares the embeddings' weights; its bias is saved under two names.
_SHARED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def is_weight_file(name):
  """Tells whether a file of this name holds weights, or lists files that do."""
  return name.partition(".index.json")[0] in (SAFETENSORS_FILE, _TORCH_FILE)


def read_weights(directory):
  """Reads a directory's weights.

  Args:
    directory: str.

  Returns:
    (path, weights): str, the weight file or the index of several; dict from
    the name of each weight in the file to a float32 array.

  Raises:
    OSError: a file cannot be read.
    ValueError: there is no weight file, or it is damaged, would run code when
      it is read, or holds something else; the package that reads it is not
      installed.
  """
  for name, read_file in ((SAFETENSORS_FILE, _read_safetensors),
                          (_TORCH_FILE, _read_torch)):
    path = os.path.join(directory, name)
    if file_io.exists(path):
      return path, read_file(path)
    index = path + ".index.json"
    if file_io.exists(index):
      weights = {}
      for shard in _shards(index):
        weights.update(read_file(os.path.join(directory, shard)))
      return index, weights
  found = foreign_models.of_directory(file_io.names(directory))
  if found:
    raise ValueError("%s has %s, %s. %s" % ((directory,) + found))
  raise ValueError("%s has a %s, but neither %s nor %s beside it. Copy the "
                   "whole directory." % (
                       directory, CONFIG_FILE, SAFETENSORS_FILE, _TORCH_FILE))


def _shards(index):
  """Returns the sorted names of the files of an index.

  Raises:
    ValueError: it is not an index, or names files of other directories.
  """
  files = json_files.read_object(index).get("weight_map")
  if not isinstance(files, dict) or not files or not all(
      isinstance(name, str) and re.match(r"[\w-][\w.-]*$", name)
      for name in files.values()):
    raise ValueError(
        "%s is not an index of weights: its 'weight_map' must map each weight "
        "to the name of a file beside it." % index)
  return sorted(set(files.values()))


def import_safetensors():
  """Returns the package safetensors, which only these directories need.

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


def _read_bytes(path):
  """Returns a file's bytes; ValueError for a pointer file of Git LFS."""
  with file_io.open_binary(path) as stream:
    content = stream.read()
  if content.startswith(b"version https://git-lfs"):
    raise ValueError("%s is a Git LFS pointer, not the file itself. Run git "
                     "lfs pull, or download the file." % path)
  return content


def _read_safetensors(path):
  """Returns {PyTorch's name: float32 array} of a safetensors file."""
  library = import_safetensors()
  try:
    # safetensors.numpy would not read bfloat16, which NumPy does not have.
    entries = library.deserialize(_read_bytes(path))
  except library.SafetensorError as e:
    raise ValueError("%s is damaged or not a safetensors file (%s). Copy it "
                     "again." % (path, e)) from e
  weights = {}
  while entries:
    name, entry = entries.pop()
    if name.endswith(_BUFFERS):
      continue
    if entry["dtype"] not in _NUMPY_TYPES:
      raise ValueError(
          "%s: %s is stored as %s, but only %s are supported: quantized "
          "weights cannot be trained. Use the unquantized model." %
          (path, name, entry["dtype"], ", ".join(sorted(_NUMPY_TYPES))))
    array = np.frombuffer(entry["data"], _NUMPY_TYPES[entry["dtype"]])
    if entry["dtype"] == "BF16":  # The upper half of a float32.
      array = (array.astype("<u4") << 16).view("<f4")
    weights[name] = array.astype(np.float32, copy=False).reshape(
        entry["shape"])
  return weights


def _read_torch(path):
  """Returns {PyTorch's name: float32 array} of a PyTorch file."""
  try:
    import torch  # pylint: disable=import-outside-toplevel
  except ImportError as e:
    raise ValueError(
        "Reading %s needs PyTorch (%s): pip install torch, or use the model's "
        "%s." % (path, e, SAFETENSORS_FILE)) from e
  content = io.BytesIO(_read_bytes(path))
  try:
    # A pickle can run any code; weights_only refuses all but tensors.
    found = torch.load(content, map_location="cpu", weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in found.items()
            if not name.endswith(_BUFFERS)}
  # The type of PyTorch's error for a bad file depends on its version.
  except Exception as e:
    raise ValueError(
        "%s is damaged or holds more than weights (%s). Use the model's %s." %
        (path, first_line(e), SAFETENSORS_FILE)) from e


def encode_safetensors(variables, config):
  """Encodes a model's variables as a safetensors file.

  Args:
    variables: dict from each name of modeling.variable_shapes to a float32
      array.
    config: modeling.BertConfig.

  Returns:
    bytes.
  """
  weights = {}
  for name in modeling.variable_shapes(config):
    value = variables[name].T if name.endswith("/kernel") else variables[name]
    weights[torch_name(name)] = np.ascontiguousarray(value, np.float32)
  # transformers refuses a file without this entry.
  return import_safetensors().numpy.save(weights, metadata={"format": "pt"})


# ----------------------------------------------------------------------- names


def torch_name(name):
  """Returns the name of a variable in PyTorch's BertForPreTraining.

  >>> torch_name("bert/encoder/layer_3/output/dense/kernel")
  'bert.encoder.layer.3.output.dense.weight'
  """
  if name in _HEAD_NAMES:
    return _HEAD_NAMES[name]
  name = re.sub(r"/layer_(\d+)/", r"/layer/\1/", name).replace("/", ".")
  name = re.sub(r"\.(kernel|gamma)$", ".weight", name)
  name = re.sub(r"\.beta$", ".bias", name)
  return re.sub(r"_embeddings$", "_embeddings.weight", name)


def by_standard_names(weights, path):
  """Renames weights as in BertForPreTraining.

  Args:
    weights: dict from a name in any of the known forms to an array. All names,
      or those of the encoder, may have a prefix: "module." of DataParallel,
      "_orig_mod." of torch.compile, or the name of an attribute.
    path: str, their file.

  Returns:
    (dict from standard name to array, OrderedDict from name in the file to
    standard name, the encoder's prefix in the file: "bert." or another one).

  Raises:
    ValueError: a weight is stored twice, with different values; there is no
      encoder of a BERT, or more than one.
  """
  prefix = _find_prefix(weights, path)
  found = {}
  names = collections.OrderedDict()
  for name in sorted(weights):
    standard = names[name] = _standard_name(name, prefix)
    if standard in found and not np.array_equal(
        found[standard], weights[name]):
      raise ValueError(
          "%s: %s differs from %s, but BERT shares them. Training such a model "
          "is not supported." % (path, name, next(
              n for n in names if names[n] == standard)))
    found[standard] = weights[name]
  return found, names, prefix


def _find_prefix(names, path):
  """Returns what the names of the encoder's weights begin with.

  Raises:
    ValueError: there is no encoder, or more than one.
  """
  found = sorted({match.group(1) for match in map(
      _EMBEDDINGS.fullmatch, names) if match})
  if _PREFIX in found:
    return _PREFIX
  if not found:
    expected = _PREFIX + "embeddings.word_embeddings.weight"
    similar = difflib.get_close_matches(expected, sorted(names), 1, 0.0)
    raise ValueError(
        "%s does not hold the encoder of a BERT: it has %s where the model has "
        "%s. Save the whole model with save_pretrained." %
        (path, similar[0] if similar else "no weights", expected))
  if len(found) > 1:
    raise ValueError(
        "%s holds several encoders: %s. Save the one to train by itself, with "
        "save_pretrained." % (
            path, list_names(prefix + "embeddings..." for prefix in found)))
  return found[0]


def _standard_name(name, prefix):
  """Returns the name of a weight in BertForPreTraining.

  Args:
    name: str, its name in the file.
    prefix: str, the encoder's prefix there.
  """
  inner = name[len(prefix):]
  head = _HEAD.match(name)
  if name.startswith(prefix) and (
      prefix.endswith(_PREFIX) or inner.startswith(_ENCODER_PARTS)):
    name = _PREFIX + inner
  elif head and prefix.startswith(head.group(1)):
    # module.cls... beside module.bert...
    name = name[head.end(1):]
  # Names in early conversions of Google's checkpoints.
  name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
  name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
  return _SHARED.get(name, name)
