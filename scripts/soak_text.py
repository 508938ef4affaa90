"""Random corpora and vocabularies for soak.py: many scripts, odd lines, and
documents as plain text, JSON lines and CSV."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
from typing import Callable, Dict

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FILLERS = ["alpha", "beta", "gamma", "delta"]
_LETTERS = {
    "latin": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "accents": "\u00e4\u00f6\u00fc\u00df\u00e9\u00e8\u00f1\u00c4\u0130"
               "\u0131\u015f\u0142abc",
    "combining": "e\u0301o\u0308n\u0303abc",
    "greek": "\u03b1\u03b2\u03b3\u03b4\u03c3\u03c2\u03a3\u03ac\u03ce",
    "cyrillic": "\u0430\u0431\u0432\u0433\u0439\u0451\u0416\u042f",
    "chinese": "\u4e00\u4e8c\u4e2d\u56fd\u4eba\u5927\u5b66\U00020000",
    "japanese": "\u3042\u3044\u304b\u304c\u30ab\u30bf\u65e5\u672c",
    "korean": "\ud55c\uad6d\uc5b4\uae00\u1112\u1161",
    "arabic": "\u0627\u0628\u062a\u064e\u0639\u0640",
    "hindi": "\u0915\u0916\u093e\u093f\u094d\u0939",
    "thai": "\u0e01\u0e02\u0e31\u0e48\u0e32",
    "emoji": "\U0001f600\U0001f468\u200d\u2764\ufe0f",
}
_PUNCTUATION = ".,;:!?'\"()-/\u3002\uff0c\u2014\u2019[]#"
# Spaces, and characters that are dropped.
_ODD = " \t\u00a0\u3000\u200b\ufeff\x00\x01\ufffd\u00ad\u2028\x85\x0b"
_ENDS = ["\n", "\n", "\n", "\r\n"]
_COMPRESSED: Dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".bz2": bz2.compress,
    ".xz": lzma.compress}


class RandomText:
  """Writes random files and their vocabulary into a directory.

  Args:
    rng: random.Random, of which everything is a function.
    directory: str, an existing directory.

  Attributes:
    files: list of str, paths.
    vocab_file: str.
  """

  def __init__(self, rng, directory):
    self._rng = rng
    self._scripts = rng.sample(sorted(_LETTERS), rng.randint(1, 3))
    texts = [self._documents() for _ in range(rng.randint(1, 4))]
    if not any(document.strip() for text in texts for document in text):
      texts[0] = ["a line\n"]
    self.files = [self._write(directory, number, text)
                  for number, text in enumerate(texts)]
    self.vocab_file = os.path.join(directory, "vocab.txt")
    write_vocabulary(self.vocab_file, self._pieces(
        [document for text in texts for document in text]))

  def _documents(self):
    """Returns the documents of a file, a list of str."""
    end = self._rng.choice(_ENDS)
    return [self._document(end) for _ in range(self._rng.randint(0, 12))]

  def _document(self, end):
    rng = self._rng
    length = rng.choice([1, 2, rng.randint(1, 8), rng.randint(1, 40)])
    return "".join(self._line() + end for _ in range(length))

  def _line(self):
    rng = self._rng
    if rng.random() < 0.03:  # Text without a token, or nearly.
      return rng.choice(["\x01\x02", "\u200b", ".", "\ufffd x"])
    words = rng.choice([1, rng.randint(1, 6), rng.randint(1, 30)])
    line = "".join(self._word() + (
        " " if rng.random() < 0.9 else rng.choice(_ODD)) for _ in range(words))
    return line.strip("\n") or "x"

  def _word(self):
    rng = self._rng
    if rng.random() < 0.1:
      return rng.choice(_PUNCTUATION)
    if rng.random() < 0.01:
      return "x" * rng.randint(190, 210)  # Around the limit of a word.
    letters = _LETTERS[rng.choice(self._scripts)]
    return "".join(rng.choice(letters) for _ in range(rng.randint(1, 7)))

  def _write(self, directory, number, documents):
    """Writes a file of documents (a list of str); returns its path."""
    form = self._rng.choice(["txt", "txt", "txt", "txt", "jsonl", "csv"])
    extension = self._rng.choice(["", "", "", ".gz", ".bz2", ".xz"])
    text = {"txt": self._plain_text, "jsonl": self._json_lines,
            "csv": self._table}[form](documents)
    data = text.encode("utf-8")
    if self._rng.random() < 0.1:
      data = b"\xef\xbb\xbf" + data
    path = os.path.join(
        directory, "text-%d.%s%s" % (number, form, extension))
    with open(path, "wb") as stream:
      stream.write(_COMPRESSED[extension](data))
    return path

  def _plain_text(self, documents):
    rng = self._rng
    end = "\r\n" if any("\r\n" in each for each in documents) else "\n"
    separator = end * rng.choice([1, 1, 2]) if rng.random() < 0.9 else (
        " \t" + end)
    text = separator.join(documents)
    return text.rstrip("\r\n") if rng.random() < 0.3 else text

  def _json_lines(self, documents):
    rng = self._rng
    end, is_ascii = rng.choice(_ENDS), rng.random() < 0.5
    return "".join(json.dumps(
        rng.choice([{"text": each}, {"id": number, "text": each}]),
        ensure_ascii=is_ascii) + end for number, each in enumerate(documents))

  def _table(self, documents):
    rng = self._rng
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator=rng.choice(_ENDS))
    columns = rng.choice([["text"], ["id", "text"], ["text", "id"]])
    writer.writerow(columns)
    for number, document in enumerate(documents):
      # Python 3.7's csv module cannot read NUL characters.
      row = {"id": number, "text": document.replace("\x00", "")}
      writer.writerow([row[name] for name in columns])
    return stream.getvalue()

  def _pieces(self, texts):
    """Returns characters, continuations and some words of the texts."""
    rng = self._rng
    characters = sorted(set("".join(texts)) - set(_ODD) - set("\r\n"))
    kept = [c for c in characters if rng.random() < 0.9]
    words = sorted({word for text in texts for word in text.split()
                    if 1 < len(word) < 8 and "#" not in word})
    words = rng.sample(words, min(len(words), 200))
    pieces = kept + ["##" + c for c in kept] + words
    pieces += [word.lower() for word in words]
    pieces = [p for p in dict.fromkeys(pieces) if p.strip() == p and p]
    rng.shuffle(pieces)
    return pieces


class UniqueLines:
  """Writes files whose lines are all unique, and their vocabulary.

  Each line is a word of its own, which is one piece, and two fillers, so an
  example tells which lines it is made of.

  Args:
    rng: random.Random.
    directory: str, an existing directory.

  Attributes:
    files, vocab_file: as of RandomText.
    num_lines: int.
    longest: int, pieces of the longest document.
  """

  def __init__(self, rng, directory):
    self.files, self.num_lines, self.longest = [], 0, 0
    for number in range(rng.randint(1, 4)):
      documents = []
      for _ in range(rng.randint(1, 25)):
        size = rng.randint(1, 12)
        self.longest = max(self.longest, 3 * size)
        documents.append("".join(self._line(rng) for _ in range(size)))
      extension = rng.choice(["", "", ".gz", ".bz2"])
      path = os.path.join(directory, "lines-%d.txt%s" % (number, extension))
      with open(path, "wb") as stream:
        stream.write(_COMPRESSED[extension]("\n".join(documents).encode()))
      self.files.append(path)
    self.vocab_file = os.path.join(directory, "vocab.txt")
    write_vocabulary(self.vocab_file, FILLERS + [
        "w%d" % number for number in range(self.num_lines)])

  def _line(self, rng):
    number = self.num_lines
    self.num_lines += 1
    return "w%d %s %s\n" % (number, rng.choice(FILLERS), rng.choice(FILLERS))


def write_vocabulary(path, pieces):
  """Writes a vocabulary of the special tokens and of pieces."""
  with open(path, "w", encoding="utf-8", newline="\n") as stream:
    stream.write("".join(piece + "\n" for piece in SPECIAL + pieces))
