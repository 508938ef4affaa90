"""Records what transformers computes of packed sequences.

Run where torch and transformers are installed, from the folder of the project:

  python -m tests.golden.make_packing_golden tests/golden/transformers

which writes `packed.npz`: the losses of transformers' BertForPreTraining on
rows of several sequences, given a mask [B, 1, S, S] by which each attends to
itself only, and position ids that start at 0 in each. The tests import this
file for the same weights and rows; at that, nothing but NumPy is loaded.
"""

import argparse
import os

import numpy as np

from tests.golden import make_transformers_golden as base

FILE = "packed.npz"
LENGTH = base.CONFIG["max_position_embeddings"]
# The lengths of the sequences of each row.
ROWS = ((7, 9, 4), (12, 8), (20,), (5, 5, 3, 4))
MAX_SEQUENCES = 4
MAX_PREDICTIONS = 6


def head_weights():
  """Returns fixed weights of the heads, {PyTorch's name: float32 array}."""
  hidden, vocab = base.CONFIG["hidden_size"], base.CONFIG["vocab_size"]
  return base.weights({
      "predictions.transform.dense.weight": (hidden, hidden),
      "predictions.transform.dense.bias": (hidden,),
      "predictions.transform.LayerNorm.weight": (hidden,),
      "predictions.transform.LayerNorm.bias": (hidden,),
      "predictions.bias": (vocab,),
      "seq_relationship.weight": (2, hidden),
      "seq_relationship.bias": (2,)})


def rows():
  """Returns the features of the rows, as the input pipeline gives them."""
  random = np.random.RandomState(7)
  size = len(ROWS)
  found = {name: np.zeros([size, LENGTH], np.int32) for name in (
      "input_ids", "input_mask", "segment_ids", "pack_ids", "position_ids")}
  found.update({name: np.zeros([size, MAX_PREDICTIONS], np.int32) for name in (
      "masked_lm_positions", "masked_lm_ids")})
  found.update({name: np.zeros([size, MAX_SEQUENCES], np.int32) for name in (
      "cls_positions", "next_sentence_labels")})
  found["masked_lm_weights"] = np.zeros([size, MAX_PREDICTIONS], np.float32)
  found["next_sentence_weights"] = np.zeros([size, MAX_SEQUENCES], np.float32)
  for row, lengths in enumerate(ROWS):
    start = 0
    for number, length in enumerate(lengths):
      place = row, slice(start, start + length)
      found["input_ids"][place] = random.randint(
          1, base.CONFIG["vocab_size"], size=length)
      found["input_mask"][place] = 1
      found["segment_ids"][place] = np.arange(length) >= length // 2
      found["pack_ids"][place] = number + 1
      found["position_ids"][place] = np.arange(length)
      found["cls_positions"][row, number] = start
      found["next_sentence_labels"][row, number] = random.randint(2)
      found["next_sentence_weights"][row, number] = 1.0
      found["masked_lm_positions"][row, number] = (
          start + random.randint(1, length))
      found["masked_lm_ids"][row, number] = random.randint(
          1, base.CONFIG["vocab_size"])
      found["masked_lm_weights"][row, number] = 1.0
      start += length
  return found


def record():
  """Returns the outputs of transformers' BertForPreTraining."""
  import torch
  import transformers
  features = rows()
  arrays = {"transformers": np.array(transformers.__version__)}
  for activation in base.ACTIVATIONS:
    model = transformers.BertForPreTraining(transformers.BertConfig(
        **dict(base.CONFIG, hidden_act=activation)))
    weights = {"bert." + name: value for name, value in base.weights().items()}
    weights.update(("cls." + name, value)
                   for name, value in head_weights().items())
    weights["cls.predictions.decoder.weight"] = weights[
        "bert.embeddings.word_embeddings.weight"]
    weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]
    model.load_state_dict({name: torch.from_numpy(value)
                           for name, value in weights.items()}, strict=False)
    ids = {name: torch.from_numpy(value).long()
           for name, value in features.items()}
    packs = ids["pack_ids"]
    with torch.no_grad():
      encoded = model.eval().bert(
          input_ids=ids["input_ids"], token_type_ids=ids["segment_ids"],
          position_ids=ids["position_ids"],
          attention_mask=(packs[:, :, None] == packs[:, None, :])[:, None])
      vectors = encoded.last_hidden_state
      words = model.cls.predictions(vectors).log_softmax(-1)
      first = torch.gather(vectors, 1, ids["cls_positions"][:, :, None].expand(
          -1, -1, vectors.shape[-1]))
      pooled = model.bert.pooler.activation(model.bert.pooler.dense(first))
      labels = model.cls.seq_relationship(pooled).log_softmax(-1)
      at = torch.gather(words, 1, ids["masked_lm_positions"][:, :, None].expand(
          -1, -1, words.shape[-1]))
      arrays[activation + "/masked_lm_losses"] = -torch.gather(
          at, 2, ids["masked_lm_ids"][:, :, None])[:, :, 0].numpy()
      arrays[activation + "/sentence_losses"] = -torch.gather(
          labels, 2, ids["next_sentence_labels"][:, :, None])[:, :, 0].numpy()
  return arrays


if __name__ == "__main__":
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("directory", help="where to write " + FILE)
  np.savez_compressed(
      os.path.join(parser.parse_args().directory, FILE), **record())
