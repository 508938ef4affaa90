"""Tokens that were added to a vocabulary of WordPieces, found in text.

Hugging Face's `tokenizer.add_tokens` adds words and names that the tokenizer
finds in the text before it splits the rest into WordPieces. `Splitter` does the
same. added_token_files.py reads which tokens those are.
"""

import itertools
import os
import re
import unicodedata
from typing import NamedTuple


class AddedToken(NamedTuple):
  """A token that is found in text as it is.

  Attributes:
    content: str, the text.
    id: int.
    single_word: bool, whether it is found only where no letter, digit or
      underscore is beside it. Otherwise it is found inside of words, too.
    normalized: bool, whether it is looked for in normalized (such as
      lower-cased) text, and normalized itself for that.
    special: bool, whether transformers can leave it out when it decodes.
    lstrip, rstrip: bool, whether it takes the whitespace beside it, which has
      no effect on the tokens of a BERT.
  """
  content: str
  id: int
  single_word: bool = False
  normalized: bool = True
  special: bool = False
  lstrip: bool = False
  rstrip: bool = False

  def attributes(self):
    """Returns a dict as the files of transformers have it, without the id."""
    return {name: value for name, value in self._asdict().items()
            if name != "id"}


class Splitter:
  """Splits texts at added tokens.

  It finds the tokens that transformers' fast tokenizers find: first those that
  are not normalized; then, in the normalized text between them, the others. The
  leftmost token is taken, and the longest of several at the same place.

  Args:
    tokens: iterable of AddedToken. Of two that normalization makes equal, the
      first special one or else the first one is found.
    normalize: function from str to str.

  Source: Hugging Face's tokenizers, AddedVocabulary, same result.
  """

  def __init__(self, tokens, normalize):
    tokens = sorted(tokens, key=lambda token: not token.special)
    self._normalize = normalize
    self._exact = _Matcher(
        {token.content: token for token in reversed(tokens)
         if not token.normalized})
    self._normalized = _Matcher(
        {normalize(token.content): token for token in reversed(tokens)
         if token.normalized})

  def split(self, text):
    """Splits a text.

    Args:
      text: str.

    Returns:
      list of (str, bool): the text's parts, or normalized parts, in order, and
      whether a part is the content of an added token.
    """
    parts = []
    for part, is_token in self._exact.split(text):
      if is_token:
        parts.append((part, True))
        continue
      found = self._normalized.split(self._normalize(part))
      parts += found if len(found) > 1 or found[0][1] else [(part, False)]
    return parts


class _Matcher:
  """Finds tokens by what they look like.

  Args:
    tokens: dict from str to AddedToken.
  """

  def __init__(self, tokens):
    self._tokens = {text: token for text, token in tokens.items() if text}
    self._pattern = None
    if self._tokens:
      self._pattern = re.compile(_longest_of(self._tokens))

  def split(self, text):
    """Returns a list of (part, whether it is a token's content); not empty."""
    if self._pattern is None:
      return [(text, False)]
    parts = []
    start = 0
    for match in self._pattern.finditer(text):
      token = self._tokens[match.group()]
      if token.single_word and not _is_between_words(text, *match.span()):
        continue
      if start < match.start():
        parts.append((text[start:match.start()], False))
      parts.append((token.content, True))
      start = match.end()
    if start < len(text) or not parts:
      parts.append((text[start:], False))
    return parts


def _longest_of(texts):
  """Returns a pattern of the longest of some texts that matches.

  It branches at the characters in which they differ, so that the time of a
  search does not grow with their number.

  >>> _longest_of(["ab", "abcd", "x"])
  'ab(?:cd)?|x'
  """
  branches = []
  for _, group in itertools.groupby(sorted(texts), key=lambda text: text[0]):
    alike = list(group)
    start = os.path.commonprefix(alike)
    rests = [text[len(start):] for text in alike if text != start]
    branches.append(re.escape(start))
    if rests:
      branches[-1] += "(?:%s)%s" % (
          _longest_of(rests), "?" if len(rests) < len(alike) else "")
  return "|".join(branches)


def _is_between_words(text, start, end):
  """Tells whether no character of a word is beside a part of a text."""
  beside = text[start - 1:start] + text[end:end + 1]
  return not any(map(_is_in_word, beside))


def _is_in_word(char):
  """Tells whether a character is of a word: a letter, mark, digit or "_"."""
  category = unicodedata.category(char)
  return (category[0] in "LM" or category in ("Nd", "Nl", "Pc") or
          char in "\u200c\u200d")
