"""What transformers makes of text with vocabularies that were extended.

Each case is a way to extend the vocabulary of make_tokenizer_golden.py by words
of `lines`, ranked as extend_vocabulary.py ranks them. Directories with such a
vocabulary are read by transformers' AutoTokenizer and by its tokenizer in
Python, and all lines are tokenized; also with the vocabulary as it was, because
in some lines the words differ from ours, such as [MASK].

  python tests/golden/make_vocabulary_golden.py
      writes the words and ids; needs transformers (5.24.0 wrote them)
  python tests/golden/make_vocabulary_golden.py --check
      compares them with those of the installed transformers
"""

import json
import os
import sys
import tempfile
import unicodedata
from typing import Any, Dict

_ROOT = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, _ROOT)

import tokenization  # noqa: E402
from bert_e2e.data import new_words  # noqa: E402
from tests.golden import make_added_tokens_golden as added_golden  # noqa: E402
from tests.golden import make_tokenizer_golden as golden  # noqa: E402

GOLDEN_FILE = os.path.join(golden.FOLDER, "extended.json")
NUM_STRINGS = 150
# What is treated in another way there: a capital sigma that ends a word, and
# characters that split a line for Python but not for BERT.
_OTHERS = "\u03a3\0\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029"
# Case -> (the tokenizer's options, how words are added, how many).
CASES: Dict[str, Any] = {
    "uncased": ({"do_lower_case": True}, {"placement": "append"}, 150),
    "uncased, unused": (
        {"do_lower_case": True}, {"placement": "unused", "multiple": 64}, 150),
    "cased": ({"do_lower_case": False}, {"placement": "unused"}, 150),
    "accents": ({"do_lower_case": True, "strip_accents": False},
                {"placement": "append", "multiple": 8}, 150),
    "no chinese words": ({"do_lower_case": True,
                          "tokenize_chinese_chars": False},
                         {"placement": "append"}, 150),
}


def lines():
  """Returns the lines of text: those of make_added_tokens_golden, and random
  ones of many scripts, without characters that are unassigned, private,
  surrogates, or of `_OTHERS`."""
  return [
      "".join(char for char in text if char not in _OTHERS and
              unicodedata.category(char) not in ("Cn", "Co", "Cs"))
      for text in (*added_golden.LINES, *golden.mixed_strings(NUM_STRINGS))]


def extended(case, text):
  """Extends the vocabulary by the words of a list of lines; returns
  (tokenization.FullTokenizer before, new_words.Placed)."""
  options, how, count = CASES[case]
  tokenizer = tokenization.FullTokenizer(golden.VOCAB_FILE, **options)
  ranked = new_words.rank(
      tokenizer.count_words("\n".join(text)), tokenizer, min_count=1)
  with open(golden.VOCAB_FILE, encoding="utf-8") as stream:
    entries = stream.read().splitlines()
  return tokenizer, new_words.place(
      entries, [item.word for item in ranked[:count]], **how)


def config_of(case):
  """Returns the entries of tokenizer_config.json that decide the tokens."""
  return dict(dict(strip_accents=None, tokenize_chinese_chars=True),
              tokenizer_class="BertTokenizer", **CASES[case][0])


def tokenize(case, text):
  """Returns what transformers makes of a case, a dict: the new `words`, and the
  ids of each line by the `fast` and the `slow` tokenizer, and by these with the
  vocabulary as it was, `fast before` and `slow before`."""
  import transformers  # pylint: disable=import-outside-toplevel
  from transformers.models.bert import tokenization_bert_legacy  # pylint: disable=import-outside-toplevel
  _, placed = extended(case, text)
  found = {"words": placed.ids}
  with open(golden.VOCAB_FILE, "rb") as stream:
    original = stream.read()
  for suffix, vocabulary in (("", placed.to_bytes()), (" before", original)):
    with tempfile.TemporaryDirectory() as folder:
      with open(os.path.join(folder, "vocab.txt"), "wb") as stream:
        stream.write(vocabulary)
      with open(os.path.join(folder, "tokenizer_config.json"), "w") as stream:
        json.dump(config_of(case), stream)
      for name, tokenizer in (
          ("fast", transformers.AutoTokenizer),
          ("slow", tokenization_bert_legacy.BertTokenizerLegacy)):
        tokenizer = tokenizer.from_pretrained(folder)
        found[name + suffix] = [
            tokenizer(line, add_special_tokens=False)["input_ids"]
            for line in text]
  return found


def main(arguments):
  """Runs the command line; returns the exit status."""
  text = lines()
  found = dict({case: tokenize(case, text) for case in CASES}, lines=text)
  if arguments == ["--check"]:
    with open(GOLDEN_FILE, encoding="utf-8") as reader:
      expected = json.load(reader)
    different = [case for case in found if found[case] != expected[case]]
    print("%d cases, %d differ" % (len(CASES), len(different)), *different)
    return 1 if different else 0
  with open(GOLDEN_FILE, "w", encoding="utf-8") as writer:
    json.dump(found, writer, separators=(",", ":"))
    writer.write("\n")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
