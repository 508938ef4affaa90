"""Which pieces of Chinese text the authors' functions mask together.

  python tests/golden/make_chinese_golden.py RUN_CHINESE_REF
      writes word_list.txt and groups.json; the file is examples/
      research_projects/mlm_wwm/run_chinese_ref.py of huggingface/transformers
      (of commit 22ee288067fc9e79787d530fcb29cbba91a500c6). Needs transformers
      (4.40.2 wrote them) and jieba (0.42.1 did).
  python tests/golden/make_chinese_golden.py RUN_CHINESE_REF --check
      compares the groups with those of what is installed

Each line is tokenized by BertTokenizer, its words are found by run_chinese_ref,
whose segmenter is replaced by a word list or by jieba, and the groups are those
that DataCollatorForWholeWordMask chooses from. The word list has all words of
jieba's dictionary (MIT License, copyright 2013 Sun Junyi) that are in the text.
"""

import json
import os
import random
import sys
import types
from typing import Any, List

import numpy as np

FOLDER = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "chinese")
WORD_LIST = os.path.join(FOLDER, "word_list.txt")
GOLDEN_FILE = os.path.join(FOLDER, "groups.json")
EXAMPLES = os.path.join(os.path.dirname(FOLDER), "examples")
VOCAB_FILE = os.path.join(EXAMPLES, "vocab", "chinese.txt")
TEXTS = ("chinese_simplified", "chinese_traditional", "chinese_english",
         "japanese", "mixed")
# Characters that are no pieces, are dropped or changed; words with something
# between their characters; words within words; other scripts.
ODD_LINES = (
    "\u5168\u89d2\uff21\uff22\uff23\uff11\uff12\uff13\uff1a\u4e2d\u6587\uff0c"
    "\u4eba\u6743\uff01",
    "\u4ed6\u8bf4:\"Hello\u4e16\u754c,1948\u5e74\u589e\u957f5.2%\u3002\"",
    "T\u6064\u548c\u5361\u62c9OK\u90fd\u5f88\u6d41\u884c",
    "\uf900\u6709\u6b64\u7406 \u8c48\u6709\u6b64\u7406 \u4eba\uf9fe\u6743",
    "\U00020000\U00020001\u4e16\u754c\U0002a6a5\u4eba\u6743",
    "\u4eba\u200b\u6743\u5ba3\u00ad\u8a00 \u4e16\u2060\u754c",
    "\u4e16\x0b\u754c\u4eba\x85\u6743 \u5ba3\x1c\u8a00",
    "\u4eba \u6743 \u4e16\u3000\u754c",
    "\u4eba\uff0c\u6743\u4e16-\u754c\u5ba3a\u8a00",
    "\u4e2d\u56fd\U0001f1e8\U0001f1f3\u4eba\u6743\U0001f600\u4e16\u754c",
    "\u4eba\u4eba\u4eba\u4eba\u6743\u6743\u5229\u5229\u76ca",
    "\u4e2d\u534e\u4eba\u6c11\u5171\u548c\u56fd\u4eba\u6c11\u653f\u5e9c",
    "\u4e16\u754c\u4eba\u6743\u5ba3\u8a00" * 12,
    "\ud55c\uad6d\uc5b4 \u4eba\u6743 \u042f \u4e16\u754c \u03c9",
    "\u4eba\u0301\u6743 caf\u00e9\u4e16\u754c e\u0301\u4eba\u6743",
    "1948\u5e7412\u670810\u65e5\u4e16\u754c\u4eba\u6743\u65e5",
    "--\u4eba\u6743--\u4e16\u754c...",
    "\u202e\u4e16\u754c\u202c\u4eba\u6743",
    "\u9f98\u9f49\u4eba\u6743\u9750\u9750\u4e16\u754c\u9f98",
    "www.\u4e16\u754c.com/\u4eba\u6743?a=1&b=\u4e16\u754c",
    "\u4eba", "\u6743\u4eba", "abc", "\u2e80\u4eba\u6743\u3400\u4e16\u754c",
)


def lines() -> List[str]:
  """Returns the lines that are grouped."""
  found = []
  for name in TEXTS:
    path = os.path.join(EXAMPLES, "text", name + ".txt")
    with open(path, encoding="utf-8") as stream:
      found += [line.strip() for line in stream.read().split("\n")]
  return [line for line in [*found, *ODD_LINES] if line]


def load(path):
  """Returns the module of a file; the segmenter it imports is not needed."""
  segmenter: Any = types.ModuleType("ltp")
  segmenter.LTP = None
  sys.modules["ltp"] = segmenter
  module = types.ModuleType("theirs")
  with open(path, encoding="utf-8") as stream:
    exec(compile(stream.read(), path, "exec"), module.__dict__)
  return module


class Segmenter:
  """Gives words as their segmenter does.

  Args:
    words_of: function from a line to a list of words.
  """

  def __init__(self, words_of):
    self._words_of = words_of

  def pipeline(self, texts, tasks):
    assert tasks == ["cws"]
    return types.SimpleNamespace(cws=[self._words_of(text) for text in texts])


def groups(theirs, words_of):
  """Returns the sizes of each line's groups, in the order of the text."""
  import transformers
  tokenizer = transformers.BertTokenizer(VOCAB_FILE)
  collator = transformers.DataCollatorForWholeWordMask(
      tokenizer, return_tensors="np")
  chosen_from: List[Any] = []
  shuffle = random.shuffle

  def noting(items):
    chosen_from.append([list(item) for item in items])
    shuffle(items)

  vars(random)["shuffle"] = noting
  found = []
  references = theirs.prepare_ref(lines(), Segmenter(words_of), tokenizer)
  for line, reference in zip(lines(), references):
    ids = tokenizer(line)["input_ids"]
    assert len(ids) < 512
    del chosen_from[:]
    collator([{"input_ids": np.array(ids),
               "chinese_ref": np.array(reference, np.int64)}])
    [offsets] = chosen_from
    # All pieces but [CLS] and [SEP].
    assert sum(offsets, []) == list(range(1, len(ids) - 1))
    found.append(" ".join(str(len(group)) for group in offsets))
  vars(random)["shuffle"] = shuffle
  return found


def write_word_list():
  """Writes what jieba's dictionary has of the text's words."""
  import jieba
  text = "\n".join(lines())
  with jieba.get_dict_file() as stream:
    rows = stream.read().decode("utf-8").split("\n")
  with open(WORD_LIST, "w", encoding="utf-8", newline="\n") as stream:
    stream.writelines(row + "\n" for row in rows
                      if row and row.split(" ")[0] in text)


def main():
  import jieba
  jieba.setLogLevel(60)
  theirs = load(sys.argv[1])
  if sys.argv[2:] != ["--check"]:
    write_word_list()
  with open(WORD_LIST, encoding="utf-8") as stream:
    words = [row.split(" ")[0] for row in stream]
  found = {"word list": groups(theirs, lambda line: words),
           "jieba": groups(theirs, jieba.lcut)}
  if sys.argv[2:] == ["--check"]:
    with open(GOLDEN_FILE, encoding="utf-8") as stream:
      sys.exit(json.load(stream) != found)
  with open(GOLDEN_FILE, "w", encoding="utf-8") as stream:
    json.dump(found, stream, indent=0)
    stream.write("\n")


if __name__ == "__main__":
  main()
