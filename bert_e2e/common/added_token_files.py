"""The files of a tokenizer, and the added tokens that they list.

transformers writes the tokens that `tokenizer.add_tokens` added to several
files, depending on its version. `read` reads them from all of these.
"""

import os
from typing import Dict, Optional

from bert_e2e.common.added_tokens import AddedToken

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
             if content in special} if special else {}
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
