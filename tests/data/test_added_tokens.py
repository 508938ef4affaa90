"""Tokens that were added to a vocabulary, and the tokenizer's other options.

The expected tokens are those of Hugging Face's fast tokenizers.
"""

import importlib.machinery
import json
import os
import pickle
import random
import types

import pytest

import tokenization
from bert_e2e.common import added_tokens
from bert_e2e.config import InstanceConfig, TokenizerConfig
from bert_e2e.data import preflight_counts, text_source
from bert_e2e.data.tf_example import parse_example

_ROOT = os.path.dirname(os.path.abspath(tokenization.__file__))


def _load_generator():
  """Imports the maker of the golden tokens, for its cases and lines."""
  loader = importlib.machinery.SourceFileLoader(
      "make_added_tokens_golden",
      os.path.join(_ROOT, "tests", "golden", "make_added_tokens_golden.py"))
  module = types.ModuleType(loader.name)
  module.__dict__["__file__"] = loader.path
  loader.exec_module(module)
  return module


golden = _load_generator()
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "co", "##vid",
          "vid", "d", "##s", "s", "q", "-", "19", "[", "]"]


def write_vocab(folder, pieces=PIECES):
  folder.mkdir(exist_ok=True)
  path = folder / "vocab.txt"
  path.write_text("".join(piece + "\n" for piece in pieces), encoding="utf-8")
  return str(path)


def write_json(path, content):
  path.write_text(json.dumps(content), encoding="utf-8")
  return str(path)


def write_tokenizer_json(folder, added, pieces=PIECES):
  """Writes what transformers 5 does; returns its path."""
  folder.mkdir(exist_ok=True)
  special = [{"id": pieces.index(token), "content": token, "special": True,
              "normalized": False} for token in pieces if token[0] == "["
             and len(token) > 1]
  return write_json(folder / "tokenizer.json", {
      "added_tokens": special + added,
      "model": {"type": "WordPiece", "vocab": {
          piece: number for number, piece in enumerate(pieces)}}})


def numbered(added, pieces):
  """Returns (id, token) for tokens, as transformers numbers them."""
  found, following = [], len(pieces)
  for token in sorted(added, key=lambda token: token.get("special", False)):
    if token["content"] in pieces:
      found.append((pieces.index(token["content"]), token))
    else:
      found.append((following, token))
      following += 1
  return found


@pytest.mark.parametrize("case", sorted(golden.CASES))
def test_the_tokens_are_those_of_transformers(tmp_path, case):
  options, added = golden.CASES[case]
  with open(golden.VOCAB_FILE, encoding="utf-8") as stream:
    pieces = stream.read().split("\n")[:-1]
  vocab_file = write_vocab(tmp_path, pieces)
  write_json(tmp_path / "tokenizer_config.json", {"added_tokens_decoder": {
      str(number): token for number, token in numbered(added, pieces)}})
  tokenizer = tokenization.FullTokenizer(vocab_file, **options)
  with open(golden.GOLDEN_FILE, encoding="utf-8") as stream:
    expected = json.load(stream)[case]
  for line, ids in zip(golden.LINES, expected):
    found = tokenizer.tokenize(line)
    assert tokenizer.convert_tokens_to_ids(found) == ids, line
    assert tokenizer.tokenize_to_ids(line) == ids, line
  lines = [line.replace("\r", "") for line in golden.LINES]
  by_line = list(tokenizer.lines_to_ids("\n".join(lines)))
  assert [ids and list(ids) for ids in by_line] == [
      ids if line.strip() else None for line, ids in zip(lines, expected)]


ADDED = [
    {"id": 17, "content": "covidomab", "normalized": True, "special": False},
    {"id": 18, "content": "q-s", "single_word": True, "normalized": True,
     "special": False},
    {"id": 19, "content": "[DRUG]", "normalized": False, "special": True}]
TEXT = "The Covidomabs q-s xq-s [DRUG] [MASK]"
TOKENS = ["the", "covidomab", "s", "q-s", "[UNK]", "-", "s", "[DRUG]", "[",
          "[UNK]", "]"]


def of_transformers_5(folder):
  return write_tokenizer_json(folder, ADDED)


def of_transformers_4(folder):
  write_tokenizer_json(folder, ADDED)
  write_json(folder / "added_tokens.json",
             {token["content"]: token["id"] for token in ADDED})
  write_json(folder / "tokenizer_config.json", {
      "additional_special_tokens": ["[DRUG]"], "added_tokens_decoder": {
          str(token["id"]): token for token in ADDED}})
  return write_vocab(folder)


def of_a_slow_tokenizer(folder):
  write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": {
      str(token["id"]): token for token in ADDED}})
  return write_vocab(folder)


def of_our_export(folder):
  """The words are in vocab.txt, too, but not pieces of other words."""
  of_a_slow_tokenizer(folder)
  return write_vocab(folder, PIECES + [token["content"] for token in ADDED])


@pytest.mark.parametrize("write", [
    of_transformers_5, of_transformers_4, of_a_slow_tokenizer, of_our_export])
def test_files_that_list_added_tokens(tmp_path, write):
  (tmp_path / "in").mkdir()
  vocab_file = write(tmp_path / "in")
  tokenizer = tokenization.FullTokenizer(vocab_file)
  assert tokenizer.tokenize(TEXT) == TOKENS
  for other in (pickle.loads(pickle.dumps(tokenizer)),
                tokenizer.with_ids(lambda number: number)):
    assert other.tokenize_to_ids(TEXT) == tokenizer.convert_tokens_to_ids(
        TOKENS)
  assert tokenizer.words(TEXT) == ["the", "s", "xq", "-", "s", "[", "mask", "]"]
  assert tokenization.load_vocab(vocab_file)["[DRUG]"] == 19
  assert tokenization.read_vocabulary(vocab_file).decode().split() == (
      PIECES + ["covidomab", "q-s", "[DRUG]"])


def test_files_of_earlier_versions(tmp_path):
  """They tell no attributes, and a special token may be a piece."""
  vocab_file = write_vocab(tmp_path, PIECES[:-1] + ["[E1]", "]"])
  write_json(tmp_path / "added_tokens.json", {"Covidomab": 18, "[E2]": 19})
  write_json(tmp_path / "special_tokens_map.json", {
      "additional_special_tokens": ["[E1]", {"content": "[E2]"}]})
  assert [token[:5] for token in tokenization.read_added_tokens(
      vocab_file)] == [("[E1]", 16, False, False, True),
                       ("Covidomab", 18, False, True, False),
                       ("[E2]", 19, False, False, True)]
  assert tokenization.FullTokenizer(vocab_file).tokenize(
      "covidomab[E1][E2] [e1]") == [
          "Covidomab", "[E1]", "[E2]", "[", "[UNK]", "]"]


def test_a_vocabulary_of_another_name_has_no_added_tokens(tmp_path):
  of_transformers_4(tmp_path)
  path = tmp_path / "mine.txt"
  path.write_text("".join(piece + "\n" for piece in PIECES))
  assert tokenization.read_added_tokens(str(path)) == []
  assert len(tokenization.load_vocab(str(path))) == len(PIECES)


@pytest.mark.parametrize("added, said", [
    ([{"id": 18, "content": "x"}],
     "'x' has the id 18, but .* has 17 pieces, and the next .* the id 17"),
    ([{"id": 5, "content": "x"}], "id 5, but .* has the piece 'the' there"),
    ([{"id": 17, "content": "x"}, {"id": 17, "content": "y"}],
     "'y' has the id 17"),
    ([{"id": 17, "content": " x"}], "' x', id 17 .* whitespace at an end"),
    ([{"id": 17, "content": "x\ny"}], "whitespace at an end or a line break"),
    ([{"id": 17, "content": ""}], "has whitespace at an end"),
    ([{"id": "17", "content": "x"}], "'x' has the id '17'"),
    ([{"id": 17, "content": "x", "lstrip": "no"}], "attributes .*'no'"),
    ([17], "'added_tokens' is not a list of objects"),
])
def test_added_tokens_that_are_refused(tmp_path, added, said):
  path = tmp_path / "tokenizer.json"
  write_json(path, {"added_tokens": added, "model": {
      "type": "WordPiece", "vocab": {
          piece: number for number, piece in enumerate(PIECES)}}})
  with pytest.raises(ValueError, match=said) as refusal:
    tokenization.load_vocab(str(path))
  assert str(tmp_path) in str(refusal.value)


def test_a_damaged_tokenizer_config_is_refused(tmp_path):
  vocab_file = write_vocab(tmp_path)
  write_json(tmp_path / "tokenizer_config.json", {
      "added_tokens_decoder": {"x": {"content": "y"}}})
  with pytest.raises(ValueError, match="tokenizer_config.json: 'added_tok"):
    tokenization.load_vocab(vocab_file)


def test_many_tokens_are_found_like_each_by_itself():
  """The longest of the leftmost, as by trying all tokens at every place."""
  rng = random.Random(1)
  tokens = sorted({"".join(rng.choice("abc.") for _ in range(rng.randint(1, 6)))
                   for _ in range(60)})
  splitter = added_tokens.Splitter(
      [added_tokens.AddedToken(token, number) for number, token in
       enumerate(tokens)], str.lower)
  for _ in range(200):
    text = "".join(rng.choice("abcd .") for _ in range(30))
    expected, start = [], 0
    while start < len(text):
      found = max((token for token in tokens if text.startswith(token, start)),
                  key=len, default=None)
      if found:
        expected.append((found, True))
      elif expected and not expected[-1][1]:
        expected[-1] = (expected[-1][0] + text[start], False)
      else:
        expected.append((text[start], False))
      start += len(found or "x")
    assert splitter.split(text) == expected


# ------------------------------------------------------------- in the example


LENGTHS = {"max_seq_length": 16, "max_predictions_per_seq": 3}


def source_of(tmp_path, vocab_file, **options):
  text = tmp_path / "text.txt"
  text.write_text("the covidomab q-s\nthe [DRUG] s\n\nd covidomabs\nq the\n")
  return text_source.TextSource.from_arguments(
      [str(text)], vocab_file, **dict(LENGTHS, **options))


@pytest.mark.parametrize("num_workers", [
    0, pytest.param(1, marks=pytest.mark.slow)])
def test_examples_hold_added_tokens(tmp_path, num_workers):
  source = source_of(tmp_path, of_transformers_4(tmp_path))
  found = set()
  for example in source.open(num_epochs=3, num_workers=num_workers):
    found.update(parse_example(example)["input_ids"])
  assert {17, 18, 19} < found


def test_the_record_of_a_stream_names_added_tokens_only_if_there_are_any(
    tmp_path):
  plain = source_of(tmp_path, write_vocab(tmp_path / "plain")).record().options
  (tmp_path / "in").mkdir()
  found = source_of(tmp_path, of_a_slow_tokenizer(tmp_path / "in")).record()
  assert set(found.options) - set(plain) == {"added_tokens"}
  # The same vocabulary file.
  assert found.options["vocabulary"] == plain["vocabulary"]


def test_the_record_of_a_stream_names_options_only_if_they_are_changed(
    tmp_path):
  vocab_file = write_vocab(tmp_path)
  plain = source_of(tmp_path, vocab_file).record().options
  changed = {"strip_accents": False, "tokenize_chinese_chars": False,
             "do_split_on_punc": False}
  found = source_of(tmp_path, vocab_file, **changed).record().options
  assert found == dict(plain, **changed)


@pytest.mark.parametrize("options, expected", [
    ({}, ["cafe", ",", "\u4e2d", "\u56fd", "x", ".", "y"]),
    ({"strip_accents": False},
     ["caf\u00e9", ",", "\u4e2d", "\u56fd", "x", ".", "y"]),
    ({"do_lower_case": False},
     ["Caf\u00e9", ",", "\u4e2d", "\u56fd", "x", ".", "Y"]),
    ({"do_lower_case": False, "strip_accents": True},
     ["Cafe", ",", "\u4e2d", "\u56fd", "x", ".", "Y"]),
    ({"tokenize_chinese_chars": False},
     ["cafe", ",", "\u4e2d\u56fd", "x", ".", "y"]),
    ({"do_split_on_punc": False}, ["cafe,", "\u4e2d", "\u56fd", "x.y"]),
    ({"do_split_on_punc": False, "tokenize_chinese_chars": False},
     ["cafe,", "\u4e2d\u56fd", "x.y"]),
])
def test_options_of_the_basic_tokenizer(tmp_path, options, expected):
  text = "Caf\u00e9, \u4e2d\u56fd x.Y"
  basic = tokenization.BasicTokenizer(**options)
  assert basic.tokenize(text) == expected
  vocab_file = write_vocab(tmp_path, ["[UNK]"] + expected + ["##x"])
  tokenizer = tokenization.FullTokenizer(vocab_file, **options)
  for line in (text, text + " \u03a3", text.replace("\u4e2d\u56fd", "x")):
    expected = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(line))
    assert tokenizer.tokenize_to_ids(line) == expected


def test_accents_of_a_vocabulary_are_reachable_where_they_are_kept():
  vocab = ["[CLS]", "caf\u00e9", "the", "X", "a"]
  assert preflight_counts.vocabulary_shares(vocab) == (0.25, 0.5)
  assert preflight_counts.vocabulary_shares(vocab, False) == (0.25, 0.25)


def test_the_options_are_one_group():
  assert TokenizerConfig().validated() == TokenizerConfig(
      True, None, True, True)
  with pytest.raises(TypeError):
    InstanceConfig(strip_accents=False)  # type: ignore[call-arg]
