"""Tiny BERT models with random weights, and their Hugging Face directories."""

import collections
import json

import numpy as np
import safetensors.numpy
from program import CONFIG, VOCAB

import modeling

TINY = dict(CONFIG, num_hidden_layers=2, hidden_act="gelu_erf")
VOCABULARY = "".join(piece + "\n" for piece in VOCAB).encode("utf-8")
# What transformers' BertForPreTraining of that config has, from its state dict.
LAYER_SHAPES = {
    "attention.self.query.weight": [8, 8], "attention.self.query.bias": [8],
    "attention.self.key.weight": [8, 8], "attention.self.key.bias": [8],
    "attention.self.value.weight": [8, 8], "attention.self.value.bias": [8],
    "attention.output.dense.weight": [8, 8],
    "attention.output.dense.bias": [8],
    "attention.output.LayerNorm.weight": [8],
    "attention.output.LayerNorm.bias": [8],
    "intermediate.dense.weight": [16, 8], "intermediate.dense.bias": [16],
    "output.dense.weight": [8, 16], "output.dense.bias": [8],
    "output.LayerNorm.weight": [8], "output.LayerNorm.bias": [8],
}
SHAPES = dict({
    "bert.embeddings.word_embeddings.weight": [45, 8],
    "bert.embeddings.position_embeddings.weight": [32, 8],
    "bert.embeddings.token_type_embeddings.weight": [2, 8],
    "bert.embeddings.LayerNorm.weight": [8],
    "bert.embeddings.LayerNorm.bias": [8],
    "bert.pooler.dense.weight": [8, 8], "bert.pooler.dense.bias": [8],
    "cls.predictions.transform.dense.weight": [8, 8],
    "cls.predictions.transform.dense.bias": [8],
    "cls.predictions.transform.LayerNorm.weight": [8],
    "cls.predictions.transform.LayerNorm.bias": [8],
    "cls.predictions.bias": [45],
    "cls.seq_relationship.weight": [2, 8], "cls.seq_relationship.bias": [2],
}, **{"bert.encoder.layer.%d.%s" % (layer, name): shape
      for layer in (0, 1) for name, shape in LAYER_SHAPES.items()})
HEADS = [
    "bert/pooler/dense/kernel", "bert/pooler/dense/bias",
    "cls/predictions/transform/dense/kernel",
    "cls/predictions/transform/dense/bias",
    "cls/predictions/transform/LayerNorm/beta",
    "cls/predictions/transform/LayerNorm/gamma",
    "cls/predictions/output_bias", "cls/seq_relationship/output_weights",
    "cls/seq_relationship/output_bias",
]


def config_of(**changes):
  return modeling.BertConfig.from_dict(dict(
      modeling.BertConfig(None).to_dict(), **dict(TINY, **changes)))


def random_variables(config, seed=0):
  """Returns random weights, all of a size that an error in any shows."""
  rng = np.random.RandomState(seed)
  return collections.OrderedDict(
      (name, rng.standard_normal(shape).astype(np.float32) * 0.3)
      for name, shape in modeling.variable_shapes(config).items())


def random_tensors(seed=0, num_layers=2):
  """Returns the weights of a BertForPreTraining."""
  rng = np.random.RandomState(seed)
  found = {name: rng.standard_normal(SHAPES[name]).astype(np.float32) * 0.3
           for name in sorted(SHAPES)}
  return {name: value for name, value in found.items()
          if num_layers == 2 or ".layer.1." not in name}


def their_config(**changes):
  """Returns a config.json; a change to None drops a key."""
  content = dict(CONFIG, num_hidden_layers=2, hidden_act="gelu",
                 model_type="bert", architectures=["BertForPreTraining"],
                 layer_norm_eps=1e-12)
  content.update(changes)
  return {key: value for key, value in content.items() if value is not None}


def write_json(path, content):
  path.write_text(json.dumps(content))


def write_folder(folder, tensors, **changes):
  """Writes a folder as transformers does; returns its path."""
  folder.mkdir(exist_ok=True)
  write_json(folder / "config.json", their_config(**changes))
  safetensors.numpy.save_file(
      tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
  return str(folder)


def assert_same(found, expected):
  """Fails unless dicts of arrays are the same, bit for bit."""
  assert sorted(found) == sorted(expected)
  for name, value in expected.items():
    assert found[name].dtype == np.float32
    np.testing.assert_array_equal(found[name], value, err_msg=name)
