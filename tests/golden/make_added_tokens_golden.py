"""What Hugging Face's fast tokenizers make of text, with added tokens.

Each case is a tokenizer with the vocabulary of make_tokenizer_golden.py, some
options and some added tokens; each line is tokenized by all of them.

  python tests/golden/make_added_tokens_golden.py
      writes the ids; needs transformers (4.57.6 wrote them, and
      5.24.0 gives the same)
  python tests/golden/make_added_tokens_golden.py --check
      compares the ids with those of the installed transformers
"""

import json
import os
import sys
from typing import Any, Dict, List, Tuple

FOLDER = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "tokenizer")
VOCAB_FILE = os.path.join(FOLDER, "vocab.txt")
GOLDEN_FILE = os.path.join(FOLDER, "hugging_face.json")

# Name -> (options, added tokens as transformers' AddedToken takes them).
CASES: Dict[str, Tuple[Dict[str, bool], List[Dict[str, Any]]]] = {
    "uncased": ({"do_lower_case": True}, []),
    "cased": ({"do_lower_case": False}, []),
    "accents": ({"do_lower_case": True, "strip_accents": False}, []),
    "cased without accents": (
        {"do_lower_case": False, "strip_accents": True}, []),
    "no chinese words": (
        {"do_lower_case": True, "tokenize_chinese_chars": False}, []),
    "words": ({"do_lower_case": True}, [
        {"content": "covidomab"}, {"content": "covid"}, {"content": "Brca1"},
        {"content": "license"}, {"content": "Stra\u00dfe"},
        {"content": "caf\u00e9"}, {"content": "\u4e2d\u56fd"}]),
    "words of a cased model": ({"do_lower_case": False}, [
        {"content": "covidomab"}, {"content": "Brca1"},
        {"content": "caf\u00e9"}, {"content": "\u0e20\u0e32\u0e29"}]),
    "several parts": ({"do_lower_case": True}, [
        {"content": "q-protein"}, {"content": "covid 19"}, {"content": "a.b"},
        {"content": "<br>"}, {"content": "##x"}]),
    "special": ({"do_lower_case": True}, [
        {"content": "[DRUG]", "special": True, "normalized": False},
        {"content": "[Drug 2]", "special": True, "normalized": False},
        {"content": "covidomab"}]),
    "not normalized": ({"do_lower_case": True}, [
        {"content": "COVID", "normalized": False},
        {"content": "caf\u00e9", "normalized": False},
        {"content": "covidomab"}]),
    "single words": ({"do_lower_case": True}, [
        {"content": "covid", "single_word": True},
        {"content": "covidomab", "single_word": True},
        {"content": "the", "single_word": True},
        {"content": "x-y", "single_word": True, "normalized": False}]),
    "whitespace beside": ({"do_lower_case": True}, [
        {"content": "covid", "lstrip": True, "rstrip": True},
        {"content": "[E1]", "lstrip": True, "special": True,
         "normalized": False}]),
    "alike": ({"do_lower_case": True}, [
        {"content": "Covid"}, {"content": "covid"}]),
}
LINES = (
    "The covidomab trial: Covidomab, COVIDOMAB and covidomabs.",
    "xcovidomabx covidcovidomab covid19 covid 19 covid-19",
    "q-protein Q-Protein q - protein (q-protein)",
    "a.b A.B. <br><BR>text##x ##x # #",
    "[DRUG] [drug][DRUG]  [ DRUG ] [Drug 2]x [E1] x[E1]y",
    "COVID Covid covid _covid covid_ 5covid covid5 covid's",
    "x-y ax-y x-yz x-y. the The other there",
    "BRCA1 brca1 Brca12 license licenses relicensed",
    "stra\u00dfe STRASSE Stra\u00dfen cafe caf\u00e9 cafe\u0301 CAF\u00c9",
    "\u4e2d\u56fd \u4e2d\u56fd\u4eba x\u4e2d\u56fdx \u4e2d \u56fd \u4e2dcovid",
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0e20\u0e32\u0e29covid",
    "\u00fcber Stra\u00dfe \u0130stanbul na\u00efve \u00c5ngstr\u00f6m "
    "ma\u00f1ana",
    "\u043f\u0440\u0438\u0432\u0435\u0442 \u0419\u0451 \u03b1\u03ac\u03c9\u03cc"
    " \u05e9\u05c1\u05dc\u05d5\u05dd \u0627\u064e\u0644",
    "\ud55c\uae00covid \u3072\u3089\u304c\u306a\u30ab\u30ac "
    "\u0928\u092e\u0938\u094d\u0924\u0947",
    "a\u00adcovid co\u200bvid co\u0301vid covid\u0301 covi\u0000d",
    "tab\tcovid\u00a0covidomab\u3000end\u2028covid",
    "\U0001f600covid\U0001f600 \u20accovid 3.14covid http://covid.org/a.b",
    "don't covidomab... \u2018covid\u2019 \u201cq-protein\u201d",
    "", "   ", "covid", "[DRUG]")


def tokenize_all():
  """Returns {case: list of the ids of each line}."""
  import transformers  # pylint: disable=import-outside-toplevel
  result = {}
  for name, (options, added) in CASES.items():
    tokenizer = transformers.BertTokenizerFast(VOCAB_FILE, **options)
    for special in (False, True):  # These are two lists there.
      tokenizer.add_tokens(
          [transformers.AddedToken(**token) for token in added
           if token.get("special", False) == special], special_tokens=special)
    result[name] = [
        tokenizer(line, add_special_tokens=False)["input_ids"]
        for line in LINES]
  return result


def main(arguments):
  """Runs the command line; returns the exit status."""
  found = tokenize_all()
  if arguments == ["--check"]:
    with open(GOLDEN_FILE, encoding="utf-8") as reader:
      expected = json.load(reader)
    different = [(name, line) for name in CASES for line, one, other in zip(
        LINES, found[name], expected[name]) if one != other]
    print("%d cases, %d lines differ" % (len(CASES), len(different)))
    for item in different:
      print(*item)
    return 1 if different else 0
  with open(GOLDEN_FILE, "w", encoding="utf-8") as writer:
    writer.write("{\n%s\n}\n" % ",\n".join(
        "%s: [\n%s\n]" % (json.dumps(name), ",\n".join(
            map(json.dumps, lines))) for name, lines in found.items()))
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
