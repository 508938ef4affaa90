"""WordPieces as the instance rules see them, and vocabularies.

A **piece** is one WordPiece, either as its text (what the functions with the
reference's names take and return) or as its id, encoded as an example stores it
(faster; used by the programs). The rules are the same for both.
"""

import functools
import logging
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import tokenization
from bert_e2e.common import file_io
from bert_e2e.common.messages import list_names
from bert_e2e.data import chinese_words, file_types, tf_example

logger = logging.getLogger(__name__)

# Entries that BERT's vocabularies reserve for their users. They can't occur in
# text, because brackets are words by themselves.
UNUSED_ENTRY = re.compile(r"\[unused(\d+)\]")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Pieces(NamedTuple):
  """What the rules need to know of the pieces, be they texts or ids.

  Attributes:
    cls, sep, mask: the special pieces.
    vocabulary: sequence of the pieces that random replacements are chosen from.
    is_continuation: function from a piece to whether it continues a word.
    special_in_text: bool, whether `cls` or `sep` may occur in text: a custom
      tokenizer may produce them, FullTokenizer never does.
    segment_a, segment_b: the segment ids of a piece of A and of one of B, as a
      sequence of one int: lists, or bytes, as an example stores them.
    marker: chinese_words.Marker of the pieces that continue a Chinese word;
      None if each Chinese character is a word.
  """
  cls: Any
  sep: Any
  mask: Any
  vocabulary: Sequence[Any]
  is_continuation: Callable[[Any], bool]
  special_in_text: bool
  segment_a: Sequence[int]
  segment_b: Sequence[int]
  marker: Optional[chinese_words.Marker] = None

  def marked(self, lines, segments):
    """Returns the pieces of lines, those that continue a Chinese word marked.

    Args:
      lines: iterable of str.
      segments: iterable that gives for each line its pieces, an iterable, or
        None for a blank line.

    Returns:
      An iterable like `segments`.
    """
    return self.marker.mark(lines, segments) if self.marker else segments


def text_pieces(vocab_words, words=None):
  """Returns the Pieces that are texts.

  Args:
    vocab_words: list of str, all WordPieces.
    words: chinese_words.ChineseWords, or None.
  """
  return _with_words(
      Pieces("[CLS]", "[SEP]", "[MASK]", vocab_words,
             lambda piece: piece.startswith("##"), True, [0], [1]),
      words, zip(vocab_words, vocab_words))


def packing_tokenizer(vocab_file, do_lower_case=True, **options):
  """Returns a tokenization.FullTokenizer whose ids are encoded varints.

  Args:
    vocab_file, do_lower_case, **options: see tokenization.FullTokenizer.

  Raises:
    OSError, ValueError: the vocabulary can't be read.
  """
  tokenizer = tokenization.FullTokenizer(vocab_file, do_lower_case, **options)
  ids = tf_example.varints(max(tokenizer.vocab.values(), default=0) + 1)
  return tokenizer.with_ids(ids.__getitem__)


def id_pieces(tokenizer, words=None):
  """Returns the Pieces that are a FullTokenizer's ids, encoded or not.

  Args:
    tokenizer: tokenization.FullTokenizer.
    words: chinese_words.ChineseWords, or None.
  """
  vocab = tokenizer.vocab
  return _with_words(
      Pieces(vocab["[CLS]"], vocab["[SEP]"], vocab["[MASK]"],
             list(vocab.values()), tokenizer.continuation_ids.__contains__,
             False, b"\0", b"\1"),
      words, vocab.items())


def _with_words(pieces, words, vocab):
  """Returns Pieces with the marker of Chinese words.

  Args:
    pieces: Pieces without it.
    words: chinese_words.ChineseWords; None returns them unchanged.
    vocab: iterable of (text of a piece, piece).
  """
  if words is None:
    return pieces
  marker = chinese_words.Marker(words, {
      piece: text for text, piece in vocab
      if len(text) == 1 and tokenization.is_chinese(text)})
  return pieces._replace(marker=marker, is_continuation=functools.partial(
      _is_continuation, pieces.is_continuation))


def _is_continuation(is_plain_continuation, piece):
  """Tells whether a piece continues a word, a Chinese one or another."""
  return (isinstance(piece, chinese_words.Continued) or
          is_plain_continuation(piece))


def read_pieces(vocab_file) -> List[str]:
  """Reads the pieces of a vocabulary.

  Args:
    vocab_file: path, for tokenization.read_tokens.

  Returns:
    list of str, one for each line; "" for blank lines.

  Raises:
    OSError: the file can't be read.
    ValueError: it is not a text file, or not UTF-8.
  """
  with file_io.open_binary(vocab_file) as stream:
    file_types.check(stream.read(file_types.HEAD_BYTES), vocab_file)
  return tokenization.read_tokens(vocab_file)[0]


def count_characters(vocab_file, size) -> List[int]:
  """Counts the characters of text that each entry of a vocabulary stands for.

  Args:
    vocab_file: path.
    size: int, of the list to return: the model's, which may be larger.

  Returns:
    list of int: the length of the entry, without "##". It is 0 for what stands
    for no text, or for text of an unknown length: special tokens, [UNK] among
    them, and "[unused0]" and the like.

  Raises:
    OSError, ValueError: see `read_pieces`.
  """
  counts = [
      0 if piece in SPECIAL_TOKENS or UNUSED_ENTRY.fullmatch(piece) else
      len(piece) - 2 * (piece.startswith("##") and len(piece) > 2)
      for piece in read_pieces(vocab_file)[:size]]
  return counts + [0] * (size - len(counts))


def lines_of_pieces(pieces) -> Dict[str, List[int]]:
  """Returns where the pieces of a vocabulary are.

  Args:
    pieces: what `read_pieces` returned.

  Returns:
    dict from each piece to the numbers of its lines, from 1.
  """
  lines: Dict[str, List[int]] = {}
  for number, piece in enumerate(pieces, 1):
    lines.setdefault(piece, []).append(number)
  return lines


def check_vocabulary(vocab_file) -> List[str]:
  """Checks that a vocabulary file contains each special token once.

  A tokenizer works without most of them, but examples do not.

  Args:
    vocab_file: path, for tokenization.read_vocabulary.

  Returns:
    See `read_pieces`.

  Raises:
    OSError: the file can't be read.
    ValueError: it is not UTF-8, or a special token is missing or duplicated.
  """
  pieces = read_pieces(vocab_file)
  for token in SPECIAL_TOKENS:
    count = pieces.count(token)
    if not count:
      raise ValueError(
          "The vocabulary %s has no special token %s in its %d lines. Is it a "
          "BERT vocabulary?" % (vocab_file, token, len(pieces)))
    if count > 1:
      raise ValueError(
          "The vocabulary %s has the special token %s more than once, on lines "
          "%s. Remove all but one." % (
              vocab_file, token, lines_of_pieces(pieces)[token]))
  return pieces


def warn_of_repeated_pieces(vocab_file, pieces=None):
  """Logs a warning if a vocabulary has pieces on several lines.

  A piece has the number of its last line, as in google-research/bert, so the
  vectors of the others are never used.

  Args:
    vocab_file: path.
    pieces: what `read_pieces` returns; None reads them.

  Raises:
    OSError, ValueError: see `read_pieces`.
  """
  pieces = pieces or read_pieces(vocab_file)
  repeated = ["\"%s\" on lines %s" % (piece, " and ".join(map(str, numbers)))
              for piece, numbers in lines_of_pieces(pieces).items()
              if piece and len(numbers) > 1]
  if repeated:
    logger.warning(
        "the vocabulary %s has pieces more than once: %s. The last line of "
        "each counts; if the model was trained with another vocabulary, use "
        "that one", vocab_file, list_names(repeated, separator="; "))


def blank_end(vocab_file) -> List[int]:
  """Returns the numbers of the blank lines at the end of a vocabulary, which
  count as entries; see `read_pieces`."""
  lines = lines_of_pieces(read_pieces(vocab_file))
  last = max((numbers[-1] for piece, numbers in lines.items() if piece),
             default=0)
  return [number for number in lines.get("", []) if number > last]
