"""The text to train on: the user's, or one that is made up.

The latter is for machines that cannot download. Its words follow Zipf's law, a
tenth of them consists of two WordPieces, and sentences and documents vary in
length, so that building examples, padding and the masked words cost about what
those of a real text do. There is little to learn from it.
"""

import os
import random
from typing import NamedTuple

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_SYLLABLES = [a + b for a in "bcdfghjklmnprstvwz" for b in "aeiou"]
_COMPOUND, _MEAN_WORDS, _MEAN_SENTENCES = 0.1, 20, 25


class Files(NamedTuple):
  """The input of the trainings.

  Attributes:
    text, vocab_file: str, paths.
    vocabulary_size: int.
  """
  text: str
  vocab_file: str
  vocabulary_size: int

  def flags(self):
    """Returns flags of run_pretraining_e2e.py, a list of str."""
    return ["--input_file=" + self.text, "--vocab_file=" + self.vocab_file]


def files_of(text, vocab_file, directory, vocabulary_size, num_bytes) -> Files:
  """Returns the files to train on; makes them up if none are given.

  Args:
    text, vocab_file: str, paths; "" for none.
    directory: str, where to write.
    vocabulary_size: int, WordPieces of a vocabulary that is made up.
    num_bytes: int, size of such a text.

  Raises:
    ValueError: only one of the two is given.
  """
  if bool(text) != bool(vocab_file):
    raise ValueError("--text and --vocab_file require each other.")
  if text:
    with open(vocab_file, "rb") as stream:
      return Files(text, vocab_file, len(stream.read().splitlines()))
  made = Files(os.path.join(directory, "made_up.txt"),
               os.path.join(directory, "vocab.txt"), vocabulary_size)
  words, endings = write_vocabulary(made.vocab_file, vocabulary_size)
  write_text(made.text, words, endings, num_bytes)
  return made


def _word(number):
  """Returns the word of a number, at least two syllables."""
  syllables = []
  number += len(_SYLLABLES)
  while number:
    number, syllable = divmod(number, len(_SYLLABLES))
    syllables.append(_SYLLABLES[syllable])
  return "".join(syllables)


def write_vocabulary(path, size):
  """Writes a vocabulary.

  Args:
    path: str.
    size: int, number of WordPieces; a fifth of them continues words.

  Returns:
    (list of words, list of endings): str without "##".
  """
  num_endings = size // 5
  words = [_word(i) for i in range(size - num_endings - len(_SPECIAL))]
  endings = [_word(i) for i in range(num_endings)]
  with open(path, "w") as stream:
    stream.writelines(piece + "\n" for piece in _SPECIAL + words)
    stream.writelines("##%s\n" % piece for piece in endings)
  return words, endings


def write_text(path, words, endings, num_bytes, seed=1):
  """Writes a text: a sentence per line, an empty line after each document.

  Args:
    path: str.
    words, endings: see `write_vocabulary`.
    num_bytes: int, at least the size of the file.
    seed: int.
  """
  rng = random.Random(seed)

  def some(pieces):  # Zipf's law, cut off at the number of pieces.
    return pieces[int(len(pieces) ** rng.random()) - 1]

  written = 0
  with open(path, "w") as stream:
    while written < num_bytes:
      for _ in range(1 + int(rng.expovariate(1.0 / _MEAN_SENTENCES))):
        sentence = [
            some(words) + (some(endings) if rng.random() < _COMPOUND else "")
            for _ in range(1 + int(rng.expovariate(1.0 / _MEAN_WORDS)))]
        written += stream.write(" ".join(sentence) + "\n")
      written += stream.write("\n")
