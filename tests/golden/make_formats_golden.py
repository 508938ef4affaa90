"""Examples of other projects' formats: pairs to order, and single sequences.

  python tests/golden/make_formats_golden.py ALBERT FAIRSEQ
      writes them; ALBERT is google-research/albert's create_pretraining_data.py
      and FAIRSEQ the directory fairseq/data of facebookresearch/fairseq. Needs
      TensorFlow, six, Cython with a C compiler, and transformers (4.57.6)

The documents are those of golden/examples, in several scripts. A piece is
represented by its number in the document, so that an example of ALBERT is
[start of A, end of A, start of B, end of B, label], and a block of fairseq is
[its start, its end] in the concatenated pieces of all documents.
"""

import json
import os
import random
import sys
import types
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]

import golden_examples  # noqa: E402

from bert_e2e.data.instances import group_documents  # noqa: E402
from bert_e2e.data.pieces import packing_tokenizer  # noqa: E402

GOLDEN_FILE = os.path.join(HERE, "formats", "examples.json")
CASES = ("english_uncased", "german_uncased", "chinese_uncased")
MAX_SEQ_LENGTH = 64
SHORT_SEQ_PROB = 0.1
BLOCK_SIZES = (30, 126)
# Lines that are cut off, of every case's first file.
LINES = 60
TRUNCATED_LENGTH = 24


def documents_of(case):
  """Returns, for each document of a case, the numbers of its lines' pieces."""
  tokenizer = packing_tokenizer(
      case.vocab_file, case.flags.get("do_lower_case", True))
  found = []
  for path in case.input_files:
    with open(path, encoding="utf-8") as stream:
      for _, starts in group_documents(tokenizer.lines_to_ids(stream.read())):
        found.append([end - start for start, end in zip(starts, starts[1:])])
  return found


def cases():
  return [case for case in golden_examples.cases() if case.name in CASES]


def load_albert(path):
  """Returns ALBERT's module; examples are not masked."""
  package: Any = types.ModuleType("albert")
  package.tokenization = None
  sys.modules["albert"] = package
  module: Any = types.ModuleType("theirs")
  with open(path) as stream:
    exec(compile(stream.read(), path, "exec"), module.__dict__)
  module.FLAGS(["theirs"], known_only=True)
  module.create_masked_lm_predictions = (
      lambda tokens, *rest: (tokens, [], [], []))
  return module


def ordered_pairs(theirs, sizes, seed):
  """Returns the examples of one document; see the module's docstring."""
  numbers = iter(range(sum(sizes)))
  document = [[next(numbers) for _ in range(size)] for size in sizes]
  found = []
  for instance in theirs.create_instances_from_document(
      [document, [["random"]]], 0, MAX_SEQ_LENGTH, SHORT_SEQ_PROB, 0.15, 20,
      None, random.Random(seed)):
    end_a = instance.tokens.index("[SEP]")
    text_a, text_b = instance.tokens[1:end_a], instance.tokens[end_a + 1:-1]
    if "random" in text_a + text_b:
      return None  # ALBERT gives a run of one segment a random text.
    found.append([text_a[0], text_a[-1] + 1, text_b[0], text_b[-1] + 1,
                  int(instance.is_random_next)])
  return found


def blocks(theirs, documents, size):
  """Returns the blocks of fairseq's RoBERTa input, within documents."""
  import numpy as np
  separator = 1
  sizes = [size for document in documents for size in [*document, separator]]
  return theirs._get_slice_indices_fast(
      np.array(sizes, dtype=np.int64), "complete_doc", size, separator).tolist()


def truncated_lines(case):
  from transformers import BertTokenizer
  tokenizer = BertTokenizer(
      case.vocab_file, do_lower_case=case.flags.get("do_lower_case", True))
  with open(case.input_files[0], encoding="utf-8") as stream:
    lines = [line for line in stream.read().split("\n") if line.strip()]
  return [tokenizer(line, truncation=True, max_length=TRUNCATED_LENGTH)[
      "input_ids"] for line in lines[:LINES]]


def main():
  import pyximport
  pyximport.install(setup_args={"include_dirs": [__import__(
      "numpy").get_include()]}, language_level=3)
  albert = load_albert(sys.argv[1])
  sys.path.insert(0, sys.argv[2])
  sys.modules.setdefault("torch", types.ModuleType("torch"))  # Not needed here.
  import token_block_utils_fast as fairseq  # type: ignore[import]
  found = {}
  del sys.modules["torch"]  # transformers would miss its parts.
  for case in cases():
    documents = documents_of(case)
    found[case.name] = {
        "ordered_pairs": [ordered_pairs(albert, sizes, seed)
                          for seed, sizes in enumerate(documents)],
        "blocks": {str(size): blocks(fairseq, documents, size)
                   for size in BLOCK_SIZES},
        "truncated_lines": truncated_lines(case)}
  os.makedirs(os.path.dirname(GOLDEN_FILE), exist_ok=True)
  with open(GOLDEN_FILE, "w") as stream:
    json.dump(found, stream, separators=(",", ":"))
    stream.write("\n")


if __name__ == "__main__":
  main()
