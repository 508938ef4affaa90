"""What a model's directory tells about its text is kept by conversions."""

import json
import os

import pytest
from hugging_face_models import (
  VOCABULARY,
  random_tensors,
  write_folder,
  write_json,
)
from program import VOCAB

import tokenization
from bert_e2e.checkpoints import conversion as cc
from bert_e2e.checkpoints import hugging_face as hf

ADDED = [{"id": len(VOCAB) - 2, "content": "Covidomab"},
         {"id": len(VOCAB) - 1, "content": "[DRUG]", "special": True}]


def write_model(folder, options, vocabulary=VOCABULARY):
  """Writes a model with some entries of tokenizer_config.json."""
  path = write_folder(folder, random_tensors())
  (folder / "vocab.txt").write_bytes(vocabulary)
  write_json(folder / "tokenizer_config.json", options)
  return path


def convert(path, tmp_path):
  """Converts a model to both formats; returns their directories."""
  source = cc.read(path)
  outs = {"output_tf": str(tmp_path / "tf"), "output_hf": str(tmp_path / "hf")}
  cc.check_export(source.config, source.vocab_file, source=source.directory,
                  **outs)
  for _ in range(2):  # The second one replaces the first one's files.
    cc.export(source.variables, source.config, source.vocab_file,
              source.do_lower_case, source=source.directory, **outs,
              **source.tokenizer)
  return list(outs.values())


def config_of_tokenizer(directory):
  with open(os.path.join(directory, "tokenizer_config.json")) as stream:
    return json.load(stream)


@pytest.mark.parametrize("options", [
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "tokenize_chinese_chars": False}])
def test_options_are_recorded_in_both_formats(tmp_path, options):
  expected = dict({"tokenize_chinese_chars": True}, **options)
  for out in convert(write_model(tmp_path / "in", options), tmp_path):
    assert hf.read_options(out) == expected
    # No flag is needed to read it again.
    again = cc.read(out)
    assert dict(again.tokenizer, do_lower_case=again.do_lower_case) == expected


def test_added_tokens_are_in_both_formats(tmp_path):
  # Its last two words become added tokens, which no file but these lists.
  short = VOCABULARY.rsplit(b"\n", 3)[0] + b"\n"
  folder = write_model(tmp_path / "in", {
      "do_lower_case": True, "added_tokens_decoder": {
          str(token["id"]): token for token in ADDED}}, short)
  text = "w1 COVIDOMABs [DRUG] w2"
  tokens = ["w1", "Covidomab", "[UNK]", "[DRUG]", "w2"]
  vocabulary = short + b"Covidomab\n[DRUG]\n"
  before = tokenization.read_added_tokens(hf.find_vocab_file(folder))
  for out in convert(folder, tmp_path):
    vocab_file = os.path.join(out, "vocab.txt")
    with open(vocab_file, "rb") as stream:
      assert stream.read() == vocabulary
    assert tokenization.read_added_tokens(vocab_file) == before
    assert tokenization.FullTokenizer(vocab_file).tokenize(text) == tokens
    content = config_of_tokenizer(out)
    assert content["additional_special_tokens"] == ["[DRUG]"]
    # transformers wants BERT's own special tokens there, too.
    assert set(content["added_tokens_decoder"]) == set(map(
        str, [*range(5), len(VOCAB) - 2, len(VOCAB) - 1]))
    assert content["added_tokens_decoder"]["0"] == {
        "content": "[PAD]", "special": True, "normalized": False,
        "single_word": False, "lstrip": False, "rstrip": False}


def test_a_program_for_japanese_is_recorded_again(tmp_path):
  entries = {"tokenizer_class": "BertJapaneseTokenizer",
             "word_tokenizer_type": "mecab", "mecab_kwargs": {"a": "b"},
             "subword_tokenizer_type": "wordpiece"}
  folder = write_model(tmp_path / "in", dict(entries, do_lower_case=False))
  for out in convert(folder, tmp_path):
    found = config_of_tokenizer(out)
    assert {name: found[name] for name in entries} == entries
    with pytest.raises(ValueError, match="words by mecab"):
      hf.read_options(out)


def test_a_training_record_tells_the_options(tmp_path):
  folder = write_model(tmp_path / "in", {"do_lower_case": True})
  out, _ = convert(folder, tmp_path)
  os.remove(os.path.join(out, "tokenizer_config.json"))
  assert cc.read(out).do_lower_case is None
  write_json(tmp_path / "tf" / "stream.json", {
      "first_example": 0, "text": {}, "version": 2, "options": {
          "do_lower_case": True, "strip_accents": False, "chunk_lines": 5}})
  source = cc.read(out)
  assert (source.do_lower_case, source.tokenizer) == (
      True, {"strip_accents": False})
  assert source.directory is None


# ---------------------------------------------------------- sentence encoders


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": "models.Dense"}]


def write_modules(folder, modules):
  write_json(folder / "modules.json", modules)
  write_json(folder / "config_sentence_transformers.json", {"prompts": {}})
  for name in ("1_Pooling", "2_Dense"):
    (folder / name).mkdir()
    write_json(folder / name / "config.json", {"word_embedding_dimension": 8})
  (folder / "2_Dense" / "weights").mkdir()
  (folder / "2_Dense" / "weights" / "dense.bin").write_bytes(b"\x00\xff")
  (folder / "README.md").write_text("It is about the model before.")


def check_modules(out):
  with open(os.path.join(out, "modules.json")) as stream:
    assert json.load(stream) == MODULES
  found = {os.path.relpath(os.path.join(where, name), out)
           for where, _, names in os.walk(out) for name in names}
  assert found - set(hf.OUTPUT_FILES) == {
      "modules.json", "config_sentence_transformers.json",
      "sentence_bert_config.json", "1_Pooling/config.json",
      "2_Dense/config.json", "2_Dense/weights/dense.bin"}


def test_a_sentence_encoder_stays_one(tmp_path):
  folder = tmp_path / "in"
  path = write_model(folder, {"do_lower_case": True})
  write_modules(folder, MODULES)
  write_json(folder / "sentence_bert_config.json", {"max_seq_length": 16})
  tf_out, hf_out = convert(path, tmp_path)
  check_modules(hf_out)
  assert sorted(os.listdir(tf_out)) == sorted(cc.OUTPUT_FILES)


def test_the_encoder_of_a_sentence_encoder_of_the_earlier_layout(tmp_path):
  root = tmp_path / "in"
  root.mkdir()
  encoder = root / "0_Transformer"
  write_model(encoder, {"do_lower_case": True})
  write_modules(root, [dict(MODULES[0], path="0_Transformer")] + MODULES[1:])
  write_json(encoder / "sentence_bert_config.json", {"max_seq_length": 16})
  for path in (str(encoder), str(encoder) + "/"):
    check_modules(convert(path, tmp_path)[1])


@pytest.mark.parametrize("modules, said", [
    ([{"path": "../1_Pooling"}], "names a folder that is not beside it"),
    ([{"idx": 1}], "is damaged"), ({"a": 1}, "is damaged"), (3, "is damaged")])
def test_damaged_modules_are_refused_before_the_training(
    tmp_path, modules, said):
  path = write_model(tmp_path / "in", {"do_lower_case": True})
  write_json(tmp_path / "in" / "modules.json", modules)
  with pytest.raises(ValueError, match="modules.json " + said):
    convert(path, tmp_path)


@pytest.mark.parametrize("modules", [
    {"a": 1}, [dict(MODULES[0], path="other")]])
def test_modules_of_something_else_beside_a_directory(tmp_path, modules):
  write_json(tmp_path / "modules.json", modules)
  _, out = convert(write_model(tmp_path / "in", {"do_lower_case": True}),
                   tmp_path)
  assert sorted(os.listdir(out)) == sorted(hf.OUTPUT_FILES)


def test_a_folder_of_the_users_is_not_replaced(tmp_path):
  (tmp_path / "hf" / "1_Pooling").mkdir(parents=True)
  with pytest.raises(ValueError, match="not empty: it holds 1_Pooling"):
    convert(write_model(tmp_path / "in", {"do_lower_case": True}), tmp_path)
