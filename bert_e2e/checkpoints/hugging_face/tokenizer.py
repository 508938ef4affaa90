"""The tokenizer's files in a Hugging Face directory."""

import os
import re

from bert_e2e.checkpoints.hugging_face.config import CONFIG_FILE, is_directory
from bert_e2e.common import added_tokens, file_io, json_files
from bert_e2e.common.added_token_files import (
  SPECIAL_TOKENS,
  SPECIAL_TOKENS_FILE,
  TOKENIZER_CONFIG_FILE,
  TOKENIZER_FILE,
  VOCAB_FILE,
)

OUTPUT_FILES = (VOCAB_FILE, TOKENIZER_CONFIG_FILE, SPECIAL_TOKENS_FILE)
# What a directory may state of config.TokenizerConfig.
_OPTIONS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
# Tokenizer classes that split text as BertTokenizer does, and the generic ones,
# for which tokenizer.json tells.
_SUPPORTED_CLASS = re.compile(
    "(Bert|ConvBert|DistilBert|Electra|Funnel|LayoutLM|Lxmert|MobileBert|MPNet|"
    "RetriBert|SqueezeBert)Tokenizer(Fast)?|PreTrainedTokenizerFast|"
    "TokenizersBackend")
# The class whose words come from a program for Japanese.
_JAPANESE_CLASS = "BertJapaneseTokenizer"
# Its entries of tokenizer_config.json, which an export keeps.
_JAPANESE_ENTRIES = (
    "tokenizer_class", "word_tokenizer_type", "subword_tokenizer_type",
    "do_word_tokenize", "do_subword_tokenize", "mecab_kwargs", "sudachi_kwargs",
    "jumanpp_kwargs")
# Parts of a tokenizer.json, with the only type that is supported.
_PARTS = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}


def find_vocab_file(directory):
  """Finds a directory's vocabulary.

  Args:
    directory: str.

  Returns:
    str, the path of its vocab.txt; of its tokenizer.json if there is no other
    (transformers 5 writes no vocab.txt); None if both are missing.
  """
  for name in (VOCAB_FILE, TOKENIZER_FILE):
    path = os.path.join(directory, name)
    if file_io.exists(path):
      return path
  return None


def find_directory(path):
  """Finds the directory that records how a model's text is split.

  Args:
    path: str, a Hugging Face directory, or a checkpoint's path prefix; or None.

  Returns:
    str, that directory, or the one of the checkpoint if it holds a
    tokenizer_config.json, as exports do; else None.
  """
  if not path or is_directory(path):
    return path or None
  directory = os.path.dirname(path) or "."
  is_recorded = file_io.exists(os.path.join(directory, TOKENIZER_CONFIG_FILE))
  return directory if is_recorded else None


# --------------------------------------------------------------------- reading


def read_options(directory, is_split_into_words=False):
  """Reads how a directory's tokenizer splits text.

  Args:
    directory: str.
    is_split_into_words: bool, whether the text was split into words before, or
      no text is split; the model may then have another word tokenizer.

  Returns:
    dict from the names of config.TokenizerConfig's fields to their values, of
    those that the directory states.

  Raises:
    OSError: a file cannot be read.
    ValueError: one is not JSON, or processes text in a way that our tokenizer
      does not.
  """
  content = _read_object(directory, TOKENIZER_CONFIG_FILE)
  options = _options_of_tokenizer(directory)
  # If both files have an option, transformers uses tokenizer_config.json's.
  options.update((name, content[name]) for name in _OPTIONS
                 if content.get(name) is not None)
  for name, value in options.items():
    if not isinstance(value, bool):
      raise ValueError("%s: %r must be true or false, got %r." %
                       (directory, name, value))
  if content.get("do_basic_tokenize", True) is False:
    raise ValueError(
        "The tokenizer in %s has do_basic_tokenize=false, so it does not split "
        "text into words. Remove that entry if the model was trained on "
        "BERT's words." % directory)
  _check_class(directory, content, is_split_into_words)
  if _has_japanese_words(directory, content):
    options = dict(do_lower_case=options.get("do_lower_case", False),
                   strip_accents=False)
  return options


def _read_object(directory, name):
  """Returns the object in a directory's file, a dict; {} without that file."""
  return json_files.read_object_or_nothing(os.path.join(directory, name))


def _options_of_tokenizer(directory):
  """Returns the options that a tokenizer.json states, a dict."""
  content = _read_object(directory, TOKENIZER_FILE)
  for name, kind in _PARTS.items():
    found = (content.get(name) or {}).get("type", kind)
    if found != kind:
      raise ValueError(
          "%s has the %s %s, where BERT's tokenizer has %s: it splits text "
          "into other pieces than this program would. Use a model with BERT's "
          "tokenizer, or train this one with transformers." % (
              os.path.join(directory, TOKENIZER_FILE), name, found, kind))
  normalizer = content.get("normalizer") or {}
  if normalizer.get("clean_text", True) is False:
    raise ValueError(
        "%s: the normalizer has clean_text=false, which is not supported: "
        "control characters are always removed. Use a model with BERT's "
        "tokenizer." % os.path.join(directory, TOKENIZER_FILE))
  options = {"do_lower_case": normalizer.get("lowercase"),
             "strip_accents": normalizer.get("strip_accents"),
             "tokenize_chinese_chars": normalizer.get("handle_chinese_chars")}
  return {name: value for name, value in options.items() if value is not None}


def _class_of(directory, content):
  """Returns the name of a tokenizer's class, or None; `content` is that of its
  tokenizer_config.json."""
  return content.get("tokenizer_class") or _read_object(
      directory, CONFIG_FILE).get("tokenizer_class")


def has_own_words(directory):
  """Tells whether a program for another language splits text into words.

  Args:
    directory: str, with a tokenizer_config.json or not.

  Returns:
    bool. If so, an export of the model records that program again.

  Raises:
    OSError, ValueError: a file cannot be read or is not JSON.
  """
  return _has_japanese_words(
      directory, _read_object(directory, TOKENIZER_CONFIG_FILE))


def _has_japanese_words(directory, content):
  """Tells whether a program for Japanese splits text into words."""
  default = ("mecab" if _class_of(directory, content) == _JAPANESE_CLASS
             else "basic")
  return content.get("word_tokenizer_type", default) != "basic"


def _check_class(directory, content, is_split_into_words):
  """Raises ValueError for a tokenizer that splits text in another way."""
  name = _class_of(directory, content)
  subwords = content.get("subword_tokenizer_type", "wordpiece")
  is_japanese = _has_japanese_words(directory, content)
  if subwords not in ("wordpiece", "character") or (
      name and name != _JAPANESE_CLASS and
      not _SUPPORTED_CLASS.fullmatch(name)):
    raise ValueError(
        "The tokenizer in %s (%s, %s) does not split words into WordPieces as "
        "BERT's does, so the model would be trained on pieces that it has "
        "never seen. Use a model with BERT's tokenizer, or train this one with "
        "transformers." % (directory, name or "no class named", subwords))
  if (is_japanese or subwords == "character") and not is_split_into_words:
    raise ValueError(
        "The tokenizer in %s (%s) splits text into words by %s%s, not by "
        "BERT's rules. Split the text with it first, with a space between two "
        "parts, and pass --tokenize_chinese_chars=false "
        "--do_split_on_punc=false." % (
            directory, name or "no class named",
            content.get("word_tokenizer_type", "mecab"),
            ", and these into characters" if subwords == "character" else ""))


# --------------------------------------------------------------------- writing


def make_files(config, vocabulary, do_lower_case, *, strip_accents=None,
               tokenize_chinese_chars=True, added=(), source=None):
  """Returns the files of a tokenizer.

  Args:
    config: modeling.BertConfig.
    vocabulary: bytes, a token a line, added ones included.
    do_lower_case: bool; None if it is unknown, then it is not recorded.
    strip_accents, tokenize_chinese_chars: see config.TokenizerConfig.
    added: list of added_tokens.AddedToken.
    source: str, the directory that the model came from, or None: where that one
      has a word tokenizer of its own, it is recorded again.

  Returns:
    dict from each name of OUTPUT_FILES to an object, or to bytes for the
    vocabulary.
  """
  content = dict(
      SPECIAL_TOKENS, model_max_length=config.max_position_embeddings,
      strip_accents=strip_accents,
      tokenize_chinese_chars=tokenize_chinese_chars,
      tokenizer_class="BertTokenizer")
  if do_lower_case is not None:
    content["do_lower_case"] = bool(do_lower_case)
  if added:
    content["added_tokens_decoder"] = _added_tokens_decoder(added, vocabulary)
  special = [token.content for token in added if token.special]
  more = {"additional_special_tokens": special} if special else {}
  content.update(more)
  if source:
    content.update(_japanese_entries(source))
  return {VOCAB_FILE: vocabulary, TOKENIZER_CONFIG_FILE: content,
          SPECIAL_TOKENS_FILE: dict(SPECIAL_TOKENS, **more)}


def _added_tokens_decoder(added, vocabulary):
  """Returns the entry of that name, which has BERT's special tokens, too."""
  lines = [line.decode("utf-8").strip()
           for line in file_io.split_lines(vocabulary)]
  special = [added_tokens.AddedToken(
      token, lines.index(token), normalized=False, special=True)
             for token in SPECIAL_TOKENS.values() if token in lines]
  return {str(token.id): token.attributes() for token in special + list(added)}


def _japanese_entries(directory):
  """Returns the entries of a directory's tokenizer_config.json that name a
  program for Japanese; {} if there is none."""
  content = _read_object(directory, TOKENIZER_CONFIG_FILE)
  if not _has_japanese_words(directory, content):
    return {}
  found = {name: content[name] for name in _JAPANESE_ENTRIES if name in content}
  return dict(found, tokenizer_class=_class_of(directory, content))
