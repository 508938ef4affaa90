"""Digests of what google-research/bert's tokenizer makes of fixed inputs.

The inputs are every code point, as a word and between letters, and random
strings of many scripts. Results go into blocks, each with a digest of its own,
so that a mismatch names a block small enough to look into. They depend on the
Unicode tables of the Python that runs, so each Unicode version has a file.

  python tests/golden/make_tokenizer_golden.py <checkout of the reference>
      writes the digests for this Python's Unicode version
  python tests/golden/make_tokenizer_golden.py --check
      compares the project's tokenizer with them, and lists blocks that differ
  python tests/golden/make_tokenizer_golden.py --vocabulary
      writes the vocabulary that all digests are made with

Any Python from 3.7 serves, without further packages.
"""

import hashlib
import importlib.machinery
import json
import os
import random
import re
import sys
import types
import unicodedata
from typing import Any, Dict

_ROOT = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(_ROOT, "tests", "golden", "tokenizer")
VOCAB_FILE = os.path.join(FOLDER, "vocab.txt")

BLOCK_CODE_POINTS = 4096
BLOCK_STRINGS = 500
NUM_STRINGS = 10000
STRINGS_SEED = 20181011

_SUFFIXES = ("s", "ed", "ing", "er", "ly", "tion", "able", "ment", "est", "ity")
# First and last code point of what the vocabulary holds character by character,
# as a word and as a continuation.
_VOCAB_RANGES = (
    (0x21, 0x7E), (0xA1, 0x24F), (0x300, 0x30C), (0x370, 0x3FF), (0x400, 0x45F),
    (0x5D0, 0x5EA), (0x620, 0x652), (0x904, 0x94D), (0xE01, 0xE4E),
    (0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2), (0x2010, 0x2026),
    (0x20A0, 0x20BF), (0x3001, 0x3011), (0x3041, 0x3096), (0x30A1, 0x30FC),
    (0x4E00, 0x5200), (0xAC00, 0xAC80), (0xFF01, 0xFF5E), (0x1F600, 0x1F64F))

# What the random strings draw from: name, first and last code point.
_STRING_RANGES = (
    ("ascii", 0x20, 0x7E), ("ascii letters", 0x61, 0x7A),
    ("controls", 0x00, 0x1F), ("more controls", 0x7F, 0x9F),
    ("latin", 0xA0, 0x24F), ("marks", 0x300, 0x36F), ("greek", 0x370, 0x3FF),
    ("cyrillic", 0x400, 0x52F), ("hebrew", 0x590, 0x5FF),
    ("arabic", 0x600, 0x6FF), ("devanagari", 0x900, 0x97F),
    ("thai", 0xE00, 0xE7F), ("georgian", 0x10A0, 0x10FF),
    ("jamo", 0x1100, 0x11FF), ("cherokee", 0x13A0, 0x13FF),
    ("vietnamese", 0x1E00, 0x1EFF), ("spaces, dashes", 0x2000, 0x206F),
    ("currency", 0x20A0, 0x20CF), ("symbols", 0x2100, 0x27BF),
    ("cjk punctuation, kana", 0x3000, 0x30FF), ("cjk extension a", 0x3400,
                                                0x4DBF),
    ("cjk", 0x4E00, 0x9FFF), ("common cjk", 0x4E00, 0x5200),
    ("hangul", 0xAC00, 0xD7A3), ("surrogates", 0xD800, 0xDFFF),
    ("private", 0xE000, 0xE010), ("cjk compatibility", 0xF900, 0xFAFF),
    ("forms", 0xFB00, 0xFB4F), ("full width", 0xFF00, 0xFFEF),
    ("specials", 0xFFF0, 0xFFFF), ("mathematical letters", 0x1D400, 0x1D7FF),
    ("emoji", 0x1F300, 0x1F6FF), ("cjk extension b", 0x20000, 0x200FF),
    ("cjk compatibility supplement", 0x2F800, 0x2FA1D),
    ("tags", 0xE0000, 0xE007F))
_WORDS = (
    "the", "The", "License", "licensed", "WARRANTIES", "Stra\u00dfe",
    "\u0130stanbul", "na\u00efve", "cafe\u0301", "\u039f\u0394\u039f\u03a3",
    "don't", "e.g.", "U.S.", "[MASK]", "[UNK]", "##s", "http://x.org/a_b?c=1",
    "3.14", "\u4e2d\u56fd", "\u4e00\u4e8c\u4e09abc\u56db", "\ud55c\uae00",
    "\u3072\u3089\u304c\u306a", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\U0001f469\u200d\U0001f467", "x\u00ady", "a\u200bb", "\ufeffbom")
_SPACES = (
    " ", " ", " ", "  ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u3000", "\u2003",
    "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85",
    "\u200b", "\x00", "\ufffd", "")


def vocabulary(text):
  """Lists a vocabulary of several scripts.

  Args:
    text: str, English; its words, in their own and in lower case, become
      entries, as do the ends of long words as continuations.

  Returns:
    list of str without repeats: special tokens, words, suffixes, characters.
  """
  tokens = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]",
            "[MASK]"]
  for word in re.findall("[A-Za-z]{2,}", text):
    tokens += [word, word.lower()]
    if len(word) > 8:
      tokens += [word[:4].lower(), "##" + word[4:].lower(), "##" + word[-3:]]
  tokens += ["##" + suffix for suffix in _SUFFIXES]
  for first, last in _VOCAB_RANGES:
    for char in map(chr, range(first, last + 1)):
      tokens += [char, "##" + char]
  return list(dict.fromkeys(tokens))


def mixed_strings(count=NUM_STRINGS, seed=STRINGS_SEED):
  """Makes random strings, the same ones under every Python.

  Args:
    count: int, how many.
    seed: int.

  Returns:
    list of `count` str: words, runs of characters of one script or of several,
    and odd whitespace and controls between them; one in a hundred has a word
    of 150 to 250 characters, round the limit of WordPiece.
  """
  # random() alone is stable over versions by its documentation.
  rng = random.Random(seed)

  def below(number):
    return int(rng.random() * number)

  def run(length):
    _, first, last = _STRING_RANGES[below(len(_STRING_RANGES))]
    return "".join(chr(first + below(last - first + 1)) for _ in range(length))

  def part():
    kind = below(5)
    if kind == 0:
      return "".join(run(1) for _ in range(1 + below(6)))
    if kind < 3:
      return run(1 + below(8))
    return _WORDS[below(len(_WORDS))]

  strings = []
  for index in range(count):
    parts = []
    for _ in range(1 + below(10)):
      parts += [part(), _SPACES[below(len(_SPACES))]]
    if index % 100 == 0:
      letter = "ab\u00e9\u4e2d\ud55c"[below(5)]
      parts.append(letter * (150 + below(101)))
    strings.append("".join(parts))
  return strings


def blocks():
  """Yields all inputs.

  Yields:
    (name, texts): str, the block's name, and list of str.
  """
  for first in range(0, sys.maxunicode + 1, BLOCK_CODE_POINTS):
    chars = map(chr, range(first, first + BLOCK_CODE_POINTS))
    texts = ["%s a%sb" % (char, char) for char in chars]
    yield "U+%04X to U+%04X" % (first, first + BLOCK_CODE_POINTS - 1), texts
  strings = mixed_strings()
  for first in range(0, len(strings), BLOCK_STRINGS):
    last = first + BLOCK_STRINGS
    yield "strings %d to %d" % (first, last - 1), strings[first:last]


def tokenized(tokenizer, texts):
  """Tokenizes texts.

  Args:
    tokenizer: FullTokenizer, the reference's or the project's.
    texts: list of str.

  Returns:
    list of (words, pieces), for each text the list of str of the basic
    tokenizer and that of the WordPiece tokenizer.
  """
  results = []
  for text in texts:
    words = tokenizer.basic_tokenizer.tokenize(text)
    results.append((words, [
        piece for word in words
        for piece in tokenizer.wordpiece_tokenizer.tokenize(word)]))
  return results


def digest(results):
  """Condenses a block's results.

  Args:
    results: list as `tokenized` returns it.

  Returns:
    str, the first 64 bits, in hexadecimal, of the SHA-256 of each text's
    words, "\\x1e", its pieces, "\\x1f", joined by "\\n"; no token holds one of
    these.
  """
  tokens = []
  for words, pieces in results:
    tokens += words + ["\x1e"] + pieces + ["\x1f"]
  # Lone surrogates have no UTF-8 of their own.
  data = "\n".join(tokens).encode("utf-8", "surrogatepass")
  return hashlib.sha256(data).hexdigest()[:16]


def digest_all(module):
  """Returns {casing: {block: digest}} for a tokenization module."""
  tokenizers = [
      (name, module.FullTokenizer(VOCAB_FILE, do_lower_case=lower))
      for name, lower in (("cased", False), ("uncased", True))]
  result: Dict[str, Any] = {name: {} for name, _ in tokenizers}
  for block, texts in blocks():
    for name, tokenizer in tokenizers:
      result[name][block] = digest(tokenized(tokenizer, texts))
  return result


def golden_file(unicode_version=unicodedata.unidata_version):
  """Returns the path of the digests for a Unicode version, as "11.0.0"."""
  return os.path.join(FOLDER, "unicode-%s.json" % unicode_version)


class _File(object):
  """Reads a local file as tensorflow.gfile.GFile does: no "\\r" arrives."""

  def __init__(self, path, mode):
    with open(path, mode + "b") as reader:
      text = reader.read().replace(b"\r", b"").decode("utf-8")
    self._lines = iter(re.findall("[^\n]*\n|[^\n]+", text))

  def __enter__(self):
    return self

  def __exit__(self, *error):
    return None

  def readline(self):
    return next(self._lines, "")


def load_reference(checkout):
  """Imports the reference's tokenization module under a name of its own.

  Its only use of TensorFlow is GFile, and of six to know Python 3: stand-ins
  with just these are in `sys.modules` while it is imported.

  Args:
    checkout: str, path of a checkout of google-research/bert.

  Returns:
    The module.
  """
  tensorflow = types.ModuleType("tensorflow")
  tensorflow.__dict__["gfile"] = types.SimpleNamespace(GFile=_File)
  six = types.ModuleType("six")
  six.__dict__.update(PY2=False, PY3=True)
  stand_ins = {"tensorflow": tensorflow, "six": six}
  replaced = {name: sys.modules.get(name) for name in stand_ins}
  loader = importlib.machinery.SourceFileLoader(
      "reference_tokenization", os.path.join(checkout, "tokenization.py"))
  module = types.ModuleType(loader.name)
  sys.modules.update(stand_ins)
  try:
    loader.exec_module(module)
  finally:
    for name, original in replaced.items():
      if original is None:
        del sys.modules[name]
      else:
        sys.modules[name] = original
  return module


def _check():
  """Compares the project's tokenizer; returns the exit status."""
  sys.path.insert(0, _ROOT)
  import tokenization  # pylint: disable=import-outside-toplevel
  with open(golden_file(), encoding="ascii") as reader:
    expected = json.load(reader)
  actual = digest_all(tokenization)
  different = [
      "%s, %s" % (casing, block) for casing in expected
      for block in expected[casing]
      if actual[casing].get(block) != expected[casing][block]]
  print("Unicode %s: %d blocks, %d differ" % (
      unicodedata.unidata_version, sum(map(len, actual.values())),
      len(different)))
  for name in different:
    print(name)
  return 1 if different or actual.keys() != expected.keys() else 0


def main(arguments):
  """Runs the command line; returns the exit status."""
  if len(arguments) != 1:
    print(__doc__)
    return 2
  if arguments[0] == "--check":
    return _check()
  if arguments[0] == "--vocabulary":
    with open(os.path.join(_ROOT, "LICENSE"), encoding="utf-8") as reader:
      tokens = vocabulary(reader.read())
    with open(VOCAB_FILE, "wb") as writer:
      writer.write("".join("%s\n" % token for token in tokens).encode("utf-8"))
    return 0
  result = digest_all(load_reference(arguments[0]))
  with open(golden_file(), "w", encoding="ascii", newline="\n") as writer:
    json.dump(result, writer, indent=0, sort_keys=True)
    writer.write("\n")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
