"""What a GPU can compute, and what a training step has to."""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

# A pattern of a card's name, as its driver tells it -> its peak in 10^12
# operations per second on dense matrices, by precision: published figures, of
# the tensor cores where they compute in this precision, accumulating in
# float32. "tf32" is what TensorFlow 2 computes float32 products in, where a
# card can; "fp32" is without tensor cores. The first pattern that matches
# counts.
_PEAKS: List[Tuple[str, Dict[str, float]]] = [
    (r"V100-PCIE", {"fp32": 14.0, "fp16": 112.0}),
    (r"V100-SXM2", {"fp32": 15.7, "fp16": 125.0}),
    (r"\bT4\b", {"fp32": 8.1, "fp16": 65.0}),
    (r"\bA100\b", {"fp32": 19.5, "tf32": 156.0, "fp16": 312.0,
                   "bfloat16": 312.0}),
    (r"\bA10\b", {"fp32": 31.2, "tf32": 62.5, "fp16": 125.0,
                  "bfloat16": 125.0}),
    (r"\bL4\b", {"fp32": 30.3, "tf32": 60.0, "fp16": 121.0,
                 "bfloat16": 121.0}),
    (r"RTX 3090$", {"fp32": 35.6, "tf32": 35.6, "fp16": 71.0,
                    "bfloat16": 71.0}),
    (r"RTX 4090$", {"fp32": 82.6, "tf32": 82.6, "fp16": 165.2,
                    "bfloat16": 165.2}),
    (r"\bH100 PCIe", {"fp32": 51.0, "tf32": 378.0, "fp16": 756.0,
                      "bfloat16": 756.0}),
    (r"\bH[12]00 NVL", {"fp32": 60.0, "tf32": 417.5, "fp16": 835.5,
                        "bfloat16": 835.5}),
    (r"\bH[12]00\b", {"fp32": 67.0, "tf32": 494.5, "fp16": 989.5,
                      "bfloat16": 989.5}),
]


def peak(name, precision, tensorflow_version):
  """Returns the peak of a card in operations per second; None if unknown.

  Args:
    name: str, such as "Tesla T4"; None without a card.
    precision: str, one of config.PRECISIONS.
    tensorflow_version: str such as "2.15.1".
  """
  for pattern, peaks in _PEAKS:
    if re.search(pattern, name or ""):
      if precision == "fp32" and not tensorflow_version.startswith("1."):
        precision = "tf32" if "tf32" in peaks else "fp32"
      return peaks[precision] * 1e12 if precision in peaks else None
  return None


class Shape(NamedTuple):
  """The sizes of a model.

  Attributes:
    layers: int, L.
    hidden: int, H.
    inner: int, I, the size of the feed-forward layers.
    vocabulary: int, V.
  """
  layers: int
  hidden: int
  inner: int
  vocabulary: int = 30522

  def config(self) -> Dict[str, Any]:
    """Returns the model's config, as in bert_config.json."""
    return {
        "vocab_size": self.vocabulary, "hidden_size": self.hidden,
        "num_hidden_layers": self.layers,
        "num_attention_heads": max(1, self.hidden // 64),
        "intermediate_size": self.inner, "max_position_embeddings": 512,
        "type_vocab_size": 2}


def shape_of(model) -> Shape:
  """Returns the Shape of "base", "large", or "LxH", layers and hidden size.

  Raises:
    ValueError: `model` is none of these.
  """
  size = {"base": "12x768", "large": "24x1024"}.get(model, model)
  found = re.match(r"([1-9]\d*)x([1-9]\d*)$", size)
  if not found:
    raise ValueError(
        "model %r is none of base, large, or LxH: layers and hidden size, such "
        "as 2x128." % model)
  layers, hidden = map(int, found.groups())
  return Shape(layers, hidden, 4 * hidden)


def operations_per_row(shape, length, predictions, sequences=1):
  """Returns the operations that training on one row of a batch takes.

  See benchmarks/gpu.py for the formula.

  Args:
    shape: Shape.
    length: int, S, tokens of a row, padding included.
    predictions: int, P, predicted positions of a row, padding included.
    sequences: int, K, most sequences of a row, padding included.

  Returns:
    int.
  """
  hidden, outputs = shape.hidden, sequences + predictions
  keys_and_values = 2 * hidden * hidden
  # At each position that attends: query, output, feed-forward layer, and the
  # scores and the sum over the positions attended to.
  attending = (2 * hidden * hidden + 2 * hidden * shape.inner
               + 2 * length * hidden)
  products = (shape.layers - 1) * length * (keys_and_values + attending)
  products += length * keys_and_values + outputs * attending
  products += predictions * (hidden * hidden + shape.vocabulary * hidden)
  # The pooler and the sentences' labels.
  products += sequences * (hidden * hidden + 2 * hidden)
  return 6 * products


def default_batch_size(shape, length, memory_bytes: Optional[int]):
  """Returns a number of sequences that should fit in fp32.

  Args:
    shape: Shape.
    length: int.
    memory_bytes: int, memory of the card; None without one.

  Returns:
    int, a power of two: 32 for BERT-base with 128 tokens on 16 GB, and in
    proportion for others, but at most 2^15 tokens. Without a card it is 8.
  """
  if memory_bytes is None:
    return 8
  # Attention's memory grows with the square of the length.
  cost = (shape.layers * shape.hidden / (12 * 768)) * (
      length / 128) * (1 + length / 1024)
  fitting = min(2.7 * memory_bytes / 2.0 ** 30 / cost, 2 ** 15 / length)
  return 1 << max(0, int(fitting).bit_length() - 1)
