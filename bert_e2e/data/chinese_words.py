"""Chinese words: found in a line of text, and marked in its pieces.

BERT makes each Chinese character a piece of its own, so pieces do not tell
words. A word list or a segmenter tells which characters form one: each piece of
a word but the first is replaced by a `Continued` one, which equals it. Masking
takes it for the continuation of a word, as it does a piece that starts with
"##"; for everything else it is the piece that it was.
"""

import collections
import functools
import importlib
import itertools
import logging
import os
from typing import Any, Dict, FrozenSet, Optional, Set, Tuple

import tokenization
from bert_e2e.common import file_io
from bert_e2e.common.digests import digest
from bert_e2e.config import ReaderConfig
from bert_e2e.data import readers, text_encodings, text_lines

# Stands for a piece that is not one Chinese character.
_OTHER = "\0"
# Word lists that are kept after they were read.
_KEPT_LISTS = 4
_BYTE_ORDER_MARK = "\ufeff"
_READER = ReaderConfig(input_format="text")


class Continued:
  """A piece that continues a Chinese word; equals the plain piece."""
  __slots__ = ()


class ContinuedText(Continued, str):
  """The text of such a piece."""
  __slots__ = ()


class ContinuedId(Continued, bytes):
  """The encoded id of such a piece."""
  __slots__ = ()


class ContinuedNumber(Continued, int):
  """The id of such a piece."""
  __slots__ = ()


_CONTINUED: Dict[type, Any] = {
    str: ContinuedText, bytes: ContinuedId, int: ContinuedNumber}


class _ContinuedPieces(dict):
  """The Continued of each piece, always the same one."""

  def __missing__(self, piece):
    found = self[piece] = _CONTINUED[type(piece)](piece)
    return found


class WordSet:
  """Words that are looked up in text.

  Args:
    words: iterable of str, of two characters or more each.

  Attributes:
    words: frozenset of str.
    lengths: dict from the first two characters of words to their lengths, a
      tuple of int, descending.
  """

  def __init__(self, words):
    self.words = frozenset(words)
    lengths = collections.defaultdict(set)
    for word in self.words:
      lengths[word[:2]].add(len(word))
    # Few tuples differ.
    same: Dict[Tuple[int, ...], Tuple[int, ...]] = {}
    self.lengths = {}
    for start, found in lengths.items():
      descending = tuple(sorted(found, reverse=True))
      self.lengths[start] = same.setdefault(descending, descending)

  def digest(self):
    """Returns a short hash of the words, a str."""
    return digest("\n".join(sorted(self.words)))


class _Union:
  """The words of two WordSets, looked up as those of one."""

  def __init__(self, first, second):
    self._sets = first, second
    self.words = self.lengths = self

  def __contains__(self, word):
    return any(word in each.words for each in self._sets)

  def get(self, start, default):
    found = {length for each in self._sets
             for length in each.lengths.get(start, default)}
    return sorted(found, reverse=True)


class Jieba:
  """Finds words by the segmenter jieba.

  Args:
    cache_dir: directory in which jieba keeps its dictionary in a form that
      loads faster; None for the system's directory of temporary files.

  Attributes:
    version: str.

  Raises:
    ValueError: jieba is not installed; there is no such directory.
  """

  def __init__(self, cache_dir=None):
    if cache_dir is not None and not os.path.isdir(cache_dir):
      raise ValueError(
          "--segmenter_cache=%s is not a directory of this machine. Create it, "
          "or leave the flag out." % cache_dir)
    self._cache_dir = cache_dir
    self.version = _import_jieba().__version__

  def words_in(self, line):
    """Returns the words of a line that are two or more Chinese characters."""
    return {word for word in _jieba_tokenizer(self._cache_dir).cut(line)
            if len(word) > 1 and tokenization.is_chinese(word)}


@functools.lru_cache(maxsize=1)
def _jieba_tokenizer(cache_dir):
  """Returns jieba's Tokenizer, which a process loads when it first needs it."""
  tokenizer = _import_jieba().Tokenizer()
  tokenizer.tmp_dir = cache_dir
  return tokenizer


def _import_jieba():
  """Returns the module jieba, which is optional."""
  try:
    jieba = importlib.import_module("jieba")
  except ImportError as e:
    raise ValueError(
        "--segmenter=jieba needs the package jieba, which cannot be imported "
        "(%s); install it with `python -m pip install jieba`." % e) from e
  jieba.setLogLevel(logging.WARNING)
  return jieba


class ChineseWords:
  """The words that --word_list and --segmenter choose.

  It can be pickled; the words of a list are pickled with it.

  Args:
    word_list: path, or a collection of str; None for no list.
    segmenter: see config.InstanceConfig.
    segmenter_cache: see Jieba.

  Raises:
    ValueError: see `read_word_list` and Jieba.
  """

  def __init__(self, word_list=None, segmenter="none", segmenter_cache=None):
    self._listed: Optional[WordSet] = None
    self._jieba: Optional[Jieba] = None
    if word_list is not None:
      self._listed = _listed_words(word_list)
    if segmenter == "jieba":
      self._jieba = Jieba(segmenter_cache)

  def in_line(self, line):
    """Returns what to look up in a line (str): a WordSet, or like one."""
    if self._jieba is None:
      return self._listed
    words = WordSet(self._jieba.words_in(line))
    return words if self._listed is None else _Union(self._listed, words)

  def identity(self):
    """Returns what identifies the words in a stream's record, a dict."""
    found: Dict[str, Any] = {}
    if self._listed:
      found["word_list"] = self._listed.digest()
    if self._jieba:
      found["segmenter"] = "jieba %s" % self._jieba.version
    return found


def find(options) -> Optional[ChineseWords]:
  """Returns the ChineseWords of a config.InstanceConfig; None without any.

  Raises:
    ValueError: see ChineseWords.
  """
  if not options.finds_chinese_words:
    return None
  return ChineseWords(
      options.word_list, options.segmenter, options.segmenter_cache)


class Marker:
  """Marks the pieces that continue Chinese words.

  Args:
    words: ChineseWords.
    characters: dict from each piece that is one Chinese character to that
      character, a str.
  """

  def __init__(self, words, characters):
    self._words = words
    self._characters = characters
    self._continued = _ContinuedPieces()

  def mark(self, lines, segments):
    """Yields the pieces of each line, those that continue a word marked.

    From the start of a line on, each word is the longest one at its place.

    Args:
      lines: iterable of str.
      segments: iterable that gives for each line its pieces, an iterable, or
        None for a blank line.

    Source: huggingface/transformers, run_chinese_ref.py, add_sub_symbol, same
      words.
    """
    for line, pieces in zip(lines, segments):
      yield pieces and self._mark_line(line, list(pieces))

  def _mark_line(self, line, pieces):
    """Does so for one line; returns the list."""
    text = "".join(map(self._characters.get, pieces, itertools.repeat(_OTHER)))
    if not text.strip(_OTHER):
      return pieces
    found = self._words.in_line(line)
    words, lengths = found.words, found.lengths
    start, end = 0, len(text)
    while start < end:
      stop = start + 1
      for length in lengths.get(text[start:start + 2], ()):
        # A word of two is known by its start.
        if length == 2 or text[start:start + length] in words:
          stop = min(start + length, end)  # A shorter word may end the text.
          break
      for i in range(start + 1, stop):
        pieces[i] = self._continued[pieces[i]]
      start = stop
    return pieces


# -------------------------------------------------------------- the word list


def _listed_words(word_list) -> WordSet:
  """Returns the WordSet of a path or a collection of str."""
  if not isinstance(word_list, str):
    return _with_words(word_list, "word_list")
  state = None
  if file_io.is_local(word_list) and os.path.isfile(word_list):
    found = os.stat(word_list)
    state = found.st_mtime_ns, found.st_size, found.st_ino
  return _read_word_list(word_list, state)


@functools.lru_cache(maxsize=_KEPT_LISTS)
def _read_word_list(path, state) -> WordSet:
  """Reads a word list; `state` changes when the file does."""
  del state
  return _with_words(read_word_list(path), "--word_list=%s" % path)


def _with_words(words, name):
  """Returns the WordSet of those words that can be found in text.

  Raises:
    ValueError: there is none.
  """
  kept = {word for word in words
          if len(word) > 1 and tokenization.is_chinese(word)}
  if not kept:
    raise ValueError(
        "%s has no word of two Chinese characters or more. Write one word per "
        "line; what follows a space or a tab is ignored." % name)
  return WordSet(kept)


def read_word_list(path) -> FrozenSet[str]:
  """Reads a word list: one word per line, in UTF-8.

  What follows a space or a tab on a line is ignored, such as the frequencies in
  a dictionary of jieba's.

  Args:
    path: str, local or with a scheme; see readers.COMPRESSIONS for compressed
      files.

  Returns:
    frozenset of str, all words.

  Raises:
    ValueError: the file can't be read, or is not UTF-8; the message names file
      and line.
  """
  words: Set[str] = set()
  try:
    for line in text_lines.read_lines(path, _READER):
      words.update(line.lstrip(_BYTE_ORDER_MARK).split(None, 1)[:1])
  except text_lines.InvalidUtf8 as e:
    _, byte, offset, _, reason, text, _ = e.args
    raise ValueError(
        "--word_list=%s, line %d: byte 0x%02x is not UTF-8 (%s). Convert the "
        "list with `iconv -f %s -t UTF-8`." % (
            path, readers.text_file(path, _READER).number_at(offset), byte,
            reason, text_encodings.guess(text) or "ENCODING")) from e
  except ValueError as e:
    raise ValueError("--word_list: %s" % e) from e
  return frozenset(words)
