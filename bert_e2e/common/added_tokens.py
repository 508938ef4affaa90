"""Tokens that were added to a vocabulary of WordPieces.

Hugging Face's `tokenizer.add_tokens` adds words and names that the tokenizer
finds in the text before it splits the rest into WordPieces. `Splitter` does the
same, and `read` reads such tokens from the files that transformers writes.
"""

import itertools
import os
import re
import unicodedata
from typing import Dict, NamedTuple, Optional

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
# BERT's own special tokens. They are not looked for in text, where transformers
# would turn them into structure.
SPECIAL_TOKENS = {"unk_token": "[UNK]", "sep_token": "[SEP]",
                  "pad_token": "[PAD]", "cls_token": "[CLS]",
                  "mask_token": "[MASK]"}
# Lists of special tokens; the second one is of transformers 5.
_MORE_SPECIAL_TOKENS = ("additional_special_tokens", "extra_special_tokens")


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


# --------------------------------------------------------------------- in texts


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


# --------------------------------------------------------------------- in files


def read(vocab_file, pieces):
  """Reads the tokens that were added to a vocabulary.

  Args:
    vocab_file: str, a tokenizer.json, which lists them, or a vocab.txt with
      such a file, a tokenizer_config.json or an added_tokens.json beside it. A
      file of another name has none.
    pieces: list of str, the vocabulary in it.

  Returns:
    list of AddedToken without BERT's own special tokens, by id. Ids from
    `len(pieces)` on follow each other; below, the token is a piece.

  Raises:
    OSError: a file can't be read.
    ValueError: one is damaged, or contradicts the vocabulary.
  """
  name = os.path.basename(vocab_file)
  tokens: Dict[str, AddedToken] = {}
  if name.endswith(".json"):
    tokens.update(_of_tokenizer(vocab_file))
  elif name == VOCAB_FILE:
    tokens.update(_of_tokenizer(_beside(vocab_file, TOKENIZER_FILE)))
  if name in (VOCAB_FILE, TOKENIZER_FILE):
    tokens.update(_of_config(_beside(vocab_file, TOKENIZER_CONFIG_FILE)))
    tokens.update(_of_earlier_files(vocab_file, tokens, pieces))
  added = sorted((token for token in tokens.values()
                  if token.content not in SPECIAL_TOKENS.values()),
                 key=lambda token: token.id)
  _check(added, pieces, vocab_file)
  return added


def _beside(path, name):
  return os.path.join(os.path.dirname(path), name)


def _read_object(path):
  """Returns the object in a JSON file, a dict; {} if there is no file."""
  # Workers do without it.
  from bert_e2e.common import json_files  # pylint: disable=import-outside-toplevel
  return json_files.read_object_or_nothing(path)


def _token(content, number, attributes, path):
  """Returns an AddedToken.

  Raises:
    ValueError: an attribute has another type.
  """
  flags = {name: attributes[name] for name in AddedToken._fields[2:]
           if attributes.get(name) is not None}
  flags.setdefault("normalized", not flags.get("special", False))
  if not isinstance(content, str) or not isinstance(number, int) or not all(
      isinstance(flag, bool) for flag in flags.values()):
    raise ValueError(
        "%s: the added token %r has the id %.80r and the attributes %r. Save "
        "the tokenizer again with transformers." %
        (path, content, number, flags))
  return AddedToken(content, number, **flags)


def _of_tokenizer(path):
  """Returns {content: AddedToken} of a tokenizer.json."""
  content = _read_object(path)
  if "model" not in content:  # A dict from pieces to ids.
    return {}
  entries = content.get("added_tokens") or []
  if not isinstance(entries, list) or not all(
      isinstance(entry, dict) for entry in entries):
    raise ValueError("%s: 'added_tokens' is not a list of objects. Save the "
                     "tokenizer again with transformers." % path)
  return {entry.get("content"): _token(
      entry.get("content"), entry.get("id"), entry, path) for entry in entries}


def _of_config(path):
  """Returns {content: AddedToken} of a tokenizer_config.json."""
  entries = _read_object(path).get("added_tokens_decoder") or {}
  if not isinstance(entries, dict) or not all(
      number.isdigit() and isinstance(entry, dict)
      for number, entry in entries.items()):
    raise ValueError("%s: 'added_tokens_decoder' does not map ids to objects. "
                     "Save the tokenizer again with transformers." % path)
  return {entry.get("content"): _token(
      entry.get("content"), int(number), entry, path)
          for number, entry in entries.items()}


def _of_earlier_files(vocab_file, known, pieces):
  """Returns {content: AddedToken} of what only earlier versions' files have."""
  path = _beside(vocab_file, ADDED_TOKENS_FILE)
  ids = _read_object(path)
  special = _special_tokens(vocab_file)
  numbers = {content: number for number, content in enumerate(pieces)
             if content in special}
  numbers.update(ids)
  return {content: _token(content, number, {
      "special": content in special, "normalized": content not in special},
                          path)
          for content, number in numbers.items() if content not in known}


def _special_tokens(vocab_file):
  """Returns the contents of the special tokens that files list, a set."""
  found = set()
  for name in (TOKENIZER_CONFIG_FILE, SPECIAL_TOKENS_FILE):
    content = _read_object(_beside(vocab_file, name))
    for key in _MORE_SPECIAL_TOKENS:
      entries = content.get(key) or []
      if isinstance(entries, dict):
        entries = list(entries.values())
      contents = [entry.get("content") if isinstance(entry, dict) else entry
                  for entry in entries]
      found.update(text for text in contents if isinstance(text, str))
  return found


def _check(added, pieces, vocab_file):
  """Raises ValueError for tokens that a vocabulary can't have."""
  following = len(pieces)
  for content, number, *_ in added:
    if content != content.strip() or len(content.splitlines()) != 1:
      raise ValueError(
          "The added token %r, id %d of the tokenizer of %s, has whitespace at "
          "an end or a line break, which a vocabulary cannot hold. Add it "
          "without, and save the tokenizer again." %
          (content, number, vocab_file))
    there: Optional[str] = None
    if 0 <= number < len(pieces):
      there = pieces[number]
    elif number == following:
      there = content
      following += 1
    if there != content:
      raise ValueError(
          "The added token %r has the id %d, but %s has %s. Use the "
          "vocabulary that the tokens were added to." % (
              content, number, vocab_file,
              "%d pieces, and the next added token the id %d" % (
                  len(pieces), following) if there is None else
              "the piece %r there" % there))
