"""WordPieces as the instance rules see them, and vocabularies.

A **piece** is one WordPiece, either as its text (what the functions with the
reference's names take and return) or as its id, encoded as an example stores it
(faster; used by the programs). The rules are the same for both.
"""

import collections
from typing import Any, Callable, NamedTuple, Sequence

import tokenization
from bert_e2e.common import file_io
from bert_e2e.data import tf_example

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Pieces(NamedTuple):
  """What the rules need to know of the pieces, be they texts or ids.

  Attributes:
    cls, sep, mask: the special pieces.
    vocabulary: sequence of the pieces that random replacements are chosen from.
    is_continuation: function from a piece to whether it continues a word.
    special_in_text: bool, whether `cls` or `sep` may occur in text: a custom
      tokenizer may produce them, FullTokenizer never does.
  """
  cls: Any
  sep: Any
  mask: Any
  vocabulary: Sequence[Any]
  is_continuation: Callable[[Any], bool]
  special_in_text: bool


def text_pieces(vocab_words):
  """Returns the Pieces that are texts, for a list of all WordPieces."""
  return Pieces("[CLS]", "[SEP]", "[MASK]", vocab_words,
                lambda piece: piece.startswith("##"), True)


def packing_tokenizer(vocab_file, do_lower_case=True, **options):
  """Returns a tokenization.FullTokenizer whose ids are encoded varints.

  Args:
    vocab_file, do_lower_case, **options: see tokenization.FullTokenizer.

  Raises:
    OSError, ValueError: the vocabulary can't be read.
  """
  return tokenization.FullTokenizer(
      vocab_file, do_lower_case, **options).with_ids(tf_example.varint)


def id_pieces(tokenizer):
  """Returns the Pieces that are a FullTokenizer's ids, encoded or not."""
  vocab = tokenizer.vocab
  return Pieces(vocab["[CLS]"], vocab["[SEP]"], vocab["[MASK]"],
                list(vocab.values()), tokenizer.continuation_ids.__contains__,
                False)


def check_vocabulary(vocab_file):
  """Checks that a vocabulary file contains each special token once.

  A tokenizer works without most of them, but examples do not.

  Args:
    vocab_file: path, a WordPiece per line.

  Raises:
    OSError: the file can't be read.
    ValueError: it is not UTF-8, or a special token is missing or duplicated.
  """
  tokenization.load_vocab(vocab_file)  # Names the line of a bad encoding.
  lines = collections.defaultdict(list)
  number = 0
  for number, line in enumerate(file_io.split_lines(
      tokenization.read_vocabulary(vocab_file)), 1):
    lines[line.decode("utf-8").strip()].append(number)
  for token in SPECIAL_TOKENS:
    if not lines[token]:
      raise ValueError(
          "The vocabulary %s has no special token %s in its %d lines. Is it a "
          "BERT vocabulary?" % (vocab_file, token, number))
    if len(lines[token]) > 1:
      raise ValueError(
          "The vocabulary %s has the special token %s more than once, on lines "
          "%s. Remove all but one." % (vocab_file, token, lines[token]))
