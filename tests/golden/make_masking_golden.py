"""How the authors' functions choose n-grams and spans: counts over many draws.

  python tests/golden/make_masking_golden.py MODELS SPANBERT
      writes the counts; the first file is official/nlp/data/
      create_pretraining_data.py of tensorflow/models, the second one
      pretraining/fairseq/data/masking.py of facebookresearch/SpanBERT

Each case masks one sentence of words of one to four pieces, `DRAWS` times.
"""

import collections
import json
import os
import random
import sys
import types
from typing import Any

GOLDEN_FILE = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "masking", "counts.json")
DRAWS = 20000
# Pieces of each word; B follows A after [SEP].
WORDS_A = [1, 1, 2, 1, 3, 1, 1, 4, 1, 2, 1, 1, 1, 2, 1, 1, 3, 1, 1, 1]
WORDS_B = [2, 1, 1, 1, 2, 3, 1, 1, 1, 1, 4, 1, 1]
VOCABULARY = ["v%d" % i for i in range(50)]
NGRAM_SIZES = (2, 3)
# (p, upper)
SPANS = ((0.2, 10), (0.5, 4))
PROBABILITY = 0.15


def text(words):
  """Returns the pieces of words of some sizes."""
  return ["##p" if i else "w" for size in words for i in range(size)]


def pair():
  """Returns the pieces of an example of two texts."""
  return ["[CLS]", *text(WORDS_A), "[SEP]", *text(WORDS_B), "[SEP]"]


def count(draws):
  """Summarizes draws.

  Args:
    draws: iterable of (list of int, masked offsets; list of str, "mask", "same"
      or "random" of each; or None where these are not known).

  Returns:
    dict: "offsets", how often each offset was masked; "runs", how often so many
    adjacent ones were; "choices", how often two adjacent ones of a run became
    the same or different ones of "mask", "same" and "random".
  """
  found = {name: collections.Counter()
           for name in ("offsets", "runs", "choices")}
  for offsets, choices in draws:
    found["offsets"].update(offsets)
    run = 0
    for i, offset in enumerate(offsets):
      run += 1
      if i + 1 == len(offsets) or offsets[i + 1] != offset + 1:
        found["runs"][run] += 1
        run = 0
      elif choices:
        found["choices"][" ".join(sorted(choices[i:i + 2]))] += 1
  return {name: {str(key): value for key, value in sorted(counter.items())}
          for name, counter in found.items()}


def choices_of(before, after, offsets):
  """Returns what became of the pieces at some offsets."""
  return ["mask" if after[i] == "[MASK]" else
          "same" if after[i] == before[i] else "random" for i in offsets]


def _load(path, package=""):
  """Returns a module of a file; its own package is replaced by `package`."""
  with open(path) as stream:
    source = stream.read().replace("from . import", "from %s import" % package)
  module = types.ModuleType("theirs")
  exec(compile(source, path, "exec"), module.__dict__)
  return module


def ngrams_of(theirs, size):
  rng = random.Random(1)
  random.seed(1)  # One of their choices uses it.
  for _ in range(DRAWS):
    after, offsets, _ = theirs.create_masked_lm_predictions(
        pair(), PROBABILITY, 20, VOCABULARY, rng, True, size)
    yield offsets, choices_of(pair(), after, offsets)


def spans_of(theirs, p, upper):
  import numpy as np

  class Dictionary:
    is_start_word = staticmethod(lambda piece: not piece.startswith("##"))

  theirs.span_masking = lambda sentence, spans, *rest, **options: (
      sorted(rest[4]), None, None)
  options = types.SimpleNamespace(
      mask_ratio=PROBABILITY, max_pair_targets=1, span_lower=1,
      span_upper=upper, geometric_p=p, tagged_anchor_prob=0.0,
      replacement_method="span", endpoints="external", return_only_spans=False)
  scheme = theirs.PairWithSpanMaskingScheme(
      options, VOCABULARY, 0, 1, theirs.ParagraphInfo(Dictionary))
  np.random.seed(1)
  for _ in range(DRAWS):
    yield [int(i) for i in scheme.mask(text(WORDS_A))[0]], None


def main():
  # Imported, but not needed here.
  for name in ("torch", "tqdm", "package"):
    module: Any = types.ModuleType(name)
    module.tqdm = module.data_utils = None
    module.FairseqDataset = object
    sys.modules[name] = module
  models, spanbert = _load(sys.argv[1]), _load(sys.argv[2], "package")
  counts = {}
  for size in NGRAM_SIZES:
    counts["ngrams %d" % size] = count(ngrams_of(models, size))
  for p, upper in SPANS:
    counts["spans %g %d" % (p, upper)] = count(spans_of(spanbert, p, upper))
  with open(GOLDEN_FILE, "w") as stream:
    json.dump(counts, stream, indent=1)
    stream.write("\n")


if __name__ == "__main__":
  main()
