"""Records what transformers computes with a BERT of fixed weights.

Run where torch and transformers are installed:

  python tests/golden/make_transformers_golden.py tests/golden/transformers

which writes `bert_model.npz`. The tests import this file for the same weights
and inputs; at that, nothing but NumPy is loaded.
"""

import argparse
import os
import zlib
from typing import Any, Dict

import numpy as np

CONFIG: Dict[str, Any] = dict(
    vocab_size=53, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=24, max_position_embeddings=20, type_vocab_size=2,
    hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
    initializer_range=0.02, layer_norm_eps=1e-12, model_type="bert",
    architectures=["BertModel"])
# transformers' names: the erf form and the tanh form.
ACTIVATIONS = ("gelu", "gelu_new")
# (number of sequences, their length): of several sizes, to the longest.
SHAPES = ((3, 12), (1, 20), (4, 1))
FILE = "bert_model.npz"


def shapes():
  """Returns {PyTorch's name: shape} of a BertModel's weights."""
  hidden, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
  found: Dict[str, Any] = {
      "embeddings.%s_embeddings.weight" % table: (CONFIG[rows], hidden)
      for table, rows in (("word", "vocab_size"),
                          ("position", "max_position_embeddings"),
                          ("token_type", "type_vocab_size"))}

  def add(name, *shape):
    found[name + ".weight"] = shape
    found[name + ".bias"] = shape[:1]

  add("embeddings.LayerNorm", hidden)
  for layer in range(CONFIG["num_hidden_layers"]):
    scope = "encoder.layer.%d." % layer
    for name in ("query", "key", "value"):
      add(scope + "attention.self." + name, hidden, hidden)
    add(scope + "attention.output.dense", hidden, hidden)
    add(scope + "attention.output.LayerNorm", hidden)
    add(scope + "intermediate.dense", inner, hidden)
    add(scope + "output.dense", hidden, inner)
    add(scope + "output.LayerNorm", hidden)
  add("pooler.dense", hidden, hidden)
  return found


def weights(of=None):
  """Returns fixed weights, {PyTorch's name: float32 array}.

  Args:
    of: dict from a weight's name to its shape; None for those of `shapes`.
  """
  found = {}
  for name, shape in (of or shapes()).items():
    random = np.random.RandomState(zlib.crc32(name.encode("utf-8")))
    values = 0.2 * random.randn(*shape)
    if name.endswith("LayerNorm.weight"):
      values += 1.0
    found[name] = values.astype(np.float32)
  return found


def batch(size, length):
  """Returns int32 (ids, mask, segments) [size, length], some of it padding."""
  random = np.random.RandomState(size)
  lengths = random.randint(1, length + 1, size=[size, 1])
  lengths[0] = length
  mask = (np.arange(length)[None] < lengths).astype(np.int32)
  segments = (np.arange(length)[None] >= lengths // 2).astype(np.int32) * mask
  ids = random.randint(1, CONFIG["vocab_size"], size=mask.shape)
  return ids.astype(np.int32) * mask, mask, segments


def record():
  """Returns the outputs of transformers' BertModel, a dict of arrays."""
  import torch
  import transformers
  arrays = {"transformers": np.array(transformers.__version__)}
  for activation in ACTIVATIONS:
    model = transformers.BertModel(transformers.BertConfig(
        **dict(CONFIG, hidden_act=activation)))
    model.load_state_dict({name: torch.from_numpy(value)
                           for name, value in weights().items()}, strict=False)
    for shape in SHAPES:
      ids, mask, segments = (torch.from_numpy(a).long() for a in batch(*shape))
      with torch.no_grad():
        found = model.eval()(input_ids=ids, attention_mask=mask,
                             token_type_ids=segments)
      key = "%s/%dx%d/" % ((activation,) + shape)
      arrays[key + "sequence_output"] = found.last_hidden_state.numpy()
      arrays[key + "pooled_output"] = found.pooler_output.numpy()
  return arrays


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("directory", help="where to write " + FILE)
  np.savez_compressed(
      os.path.join(parser.parse_args().directory, FILE), **record())
