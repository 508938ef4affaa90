"""The tokenizer's files in a Hugging Face directory."""

import os

from bert_e2e.common import file_io, json_files

VOCAB_FILE = "vocab.txt"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
SPECIAL_TOKENS = {"unk_token": "[UNK]", "sep_token": "[SEP]",
                  "pad_token": "[PAD]", "cls_token": "[CLS]",
                  "mask_token": "[MASK]"}
_TOKENIZER_FILE = "tokenizer.json"
# Options that change the tokens, with the only value that our tokenizer
# supports.
_REQUIRED_VALUES = {"tokenize_chinese_chars": True,
                    "word_tokenizer_type": "basic",
                    "subword_tokenizer_type": "wordpiece"}


def find_vocab_file(directory):
  """Finds a directory's vocabulary.

  Args:
    directory: str.

  Returns:
    str, the path of its vocab.txt; of its tokenizer.json if there is no other
    (transformers 5 writes no vocab.txt); None if both are missing.
  """
  for name in (VOCAB_FILE, _TOKENIZER_FILE):
    path = os.path.join(directory, name)
    if file_io.exists(path):
      return path
  return None


def read_do_lower_case(directory):
  """Reads whether a directory's tokenizer lower-cases.

  Args:
    directory: str.

  Returns:
    bool; None if neither tokenizer_config.json nor tokenizer.json tells.

  Raises:
    ValueError: one of them is not JSON, or processes text in a way that our
      tokenizer does not.
  """
  options = _read_options(directory)
  lower = options.get("do_lower_case")
  if lower is not None and not isinstance(lower, bool):
    raise ValueError("%s: 'do_lower_case' must be true or false, got %r." %
                     (directory, lower))
  ours = dict(_REQUIRED_VALUES)
  if lower is not None:
    ours["strip_accents"] = lower
  for key, value in ours.items():
    if options.get(key, value) != value:
      raise ValueError(
          "The tokenizer in %s has %s=%r, Google's BERT has %r: some text "
          "would be split into other tokens. Pass --do_lower_case to use "
          "Google's anyway." % (directory, key, options[key], value))
  return lower


def _read_options(directory):
  """Returns the options of a directory's tokenizer, a dict."""
  options = {}
  # If both files have an option, transformers uses tokenizer_config.json's.
  for name in (_TOKENIZER_FILE, TOKENIZER_CONFIG_FILE):
    path = os.path.join(directory, name)
    if not file_io.exists(path):
      continue
    content = json_files.read_object(path)
    if name == _TOKENIZER_FILE:
      normalizer = content.get("normalizer") or {}
      content = {"do_lower_case": normalizer.get("lowercase"),
                 "strip_accents": normalizer.get("strip_accents"),
                 "tokenize_chinese_chars":
                     normalizer.get("handle_chinese_chars")}
    options.update((key, value) for key, value in content.items()
                   if value is not None)
  return options


def make_tokenizer_config(config, do_lower_case):
  """Returns the content of a tokenizer_config.json, a dict.

  Args:
    config: modeling.BertConfig.
    do_lower_case: bool.
  """
  return dict(
      SPECIAL_TOKENS, do_lower_case=bool(do_lower_case),
      model_max_length=config.max_position_embeddings, strip_accents=None,
      tokenize_chinese_chars=True, tokenizer_class="BertTokenizer")
