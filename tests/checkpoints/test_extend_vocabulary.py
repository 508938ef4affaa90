"""extend_vocabulary.py: from a text and a model to a larger model."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys

import forked_programs
import numpy as np
import pytest
from hugging_face_models import (
  HEADS,
  assert_same,
  random_tensors,
  write_folder,
  write_json,
)
from program import ROOT
from test_hugging_face import THEIRS, batch, our_bert, theirs

import tokenization
from bert_e2e.checkpoints import conversion, new_rows

PROGRAM = os.path.join(ROOT, "extend_vocabulary.py")
# As many entries as the tensors have rows.
PIECES = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]",
          "[MASK]", "the", "plug", "##in", "##s", "in", "##hib", "##itor", ".",
          "cafe", "of"]
PIECES += ["##" + chr(c) for c in range(ord("a"), ord("z"))]
PIECES += ["[unused2]", "[unused3]", "z"]
TEXT = ("The plugin of the inhibitors.\nPlugins of plugins.\n\n"
        "Inhibitor of the zebra, zebra, zebra.\n\n") * 3


@pytest.fixture(scope="module", name="files")
def fixture_files(tmp_path_factory):
  """Writes text and a Hugging Face directory; returns the paths."""
  assert len(PIECES) == 45
  directory = tmp_path_factory.mktemp("extend")
  folder = directory / "model"
  path = write_folder(folder, random_tensors())
  (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
  write_json(folder / "tokenizer_config.json", {"do_lower_case": True})
  (directory / "text.txt").write_text(TEXT)
  return dict(input_file=str(directory / "text.txt"), init_checkpoint=path)


def extend(values, **changes):
  """Runs the program; returns the exit status and what it said."""
  run = forked_programs.run([PROGRAM] + [
      "--%s=%s" % item for item in dict(values, **changes).items()
      if item[1] is not None])
  return run.returncode, run.stdout


def extended(files, tmp_path, **changes):
  """Extends; returns (what it said, conversion.SourceModel before, after)."""
  outs = {name: str(tmp_path / name) for name in ("output_tf", "output_hf")}
  code, said = extend(files, **dict(dict(outs, min_count=3), **changes))
  assert code == 0, said
  models = [conversion.read(path) for path in outs.values()]
  assert_same(models[0].variables, models[1].variables)
  assert models[0].config.to_dict() == models[1].config.to_dict()
  assert models[0].new_tokens == models[1].new_tokens
  for model in models[1:]:
    assert tokenization.load_vocab(model.vocab_file) == (
        tokenization.load_vocab(models[0].vocab_file))
  return said, conversion.read(files["init_checkpoint"]), models[0]


def check_rows(before, after):
  """The new rows are means of those of the pieces, all others the old ones."""
  tokens = after.new_tokens.tokens
  old = tokenization.FullTokenizer(before.vocab_file)
  names = tokenization.load_vocab(after.vocab_file)
  for name, value in before.variables.items():
    found = after.variables[name]
    if name not in new_rows.VARIABLES:
      np.testing.assert_array_equal(found, value)
      continue
    kept = [row for row in range(len(value)) if row not in tokens.values()]
    np.testing.assert_array_equal(found[kept], value[kept])
    for token, row in tokens.items():
      assert names[token] == row
      pieces = old.tokenize_to_ids(token)
      np.testing.assert_allclose(
          found[row], value[pieces].astype(np.float64).mean(0), rtol=1e-6)


def test_words_of_the_text_take_unused_places_first(files, tmp_path):
  said, before, after = extended(files, tmp_path, num_new_tokens=5,
                                 pad_vocabulary_to=8)
  # zebra: z ##e ##b ##r ##a, 9 times 4; plugins: 6 times 2; inhibitors: 3 times
  # 3; the comma is [UNK], 6 times; inhibitor: 3 times 2.
  assert after.new_tokens.tokens == {
      "zebra": 1, "plugins": 2, "inhibitors": 42, ",": 43, "inhibitor": 45}
  assert "1 of them are [UNK] so far" in said
  assert after.new_tokens.variables == []
  assert after.config.vocab_size == 48
  assert "     1         9        36  zebra                    z ##e" in said
  assert "5 new entries: 4 in place of [unusedN] entries, 1 appended" in said
  check_rows(before, after)
  tokenizer = tokenization.FullTokenizer(after.vocab_file)
  assert tokenizer.tokenize("Plugins, zebras") == [
      "plugins", ",", "zebra", "##s"]
  assert after.do_lower_case is True


def test_words_are_appended(files, tmp_path):
  said, before, after = extended(
      files, tmp_path, num_new_tokens=2, placement="append")
  assert after.new_tokens.tokens == {"zebra": 45, "plugins": 46}
  assert after.config.vocab_size == 47
  check_rows(before, after)
  assert "pieces per word                   2.158      1.316   -39.0 %" in said
  with open(after.vocab_file) as stream:
    assert stream.read().split("\n") == PIECES + ["zebra", "plugins", ""]


def test_a_second_time(files, tmp_path):
  """A model that was not trained meanwhile has the new rows of both times."""
  (tmp_path / "one").mkdir()
  (tmp_path / "two").mkdir()
  _, _, first = extended(files, tmp_path / "one", num_new_tokens=1)
  _, _, second = extended(
      dict(files, init_checkpoint=str(tmp_path / "one" / "output_tf")),
      tmp_path / "two", num_new_tokens=1)
  assert first.new_tokens.tokens == {"zebra": 1}
  assert second.new_tokens.tokens == {"zebra": 1, "plugins": 2}


def test_candidates_are_edited_and_read_again(files, tmp_path):
  words = tmp_path / "words.tsv"
  code, said = extend(files, min_count=3, candidates_output=str(words))
  assert code == 0, said
  lines = words.read_text().splitlines()
  assert lines[0] == "zebra\t9\t36\tz ##e ##b ##r ##a"
  assert "candidates" in said and len(lines) == 6
  # It is one piece already.
  assert ",\t6\t0\t[UNK]" in lines
  words.write_text("\n".join(lines[1:2] + ["Plugin", "the", "a b", "newword"]))
  said, _, after = extended(
      files, tmp_path, words_file=str(words), min_count=None)
  assert after.new_tokens.tokens == {"plugins": 1, "newword": 2}
  for line, word, reason in (
      (2, "Plugin", "turns it into plugin"), (3, "the", "vocabulary already"),
      (4, "a b", "contains whitespace")):
    assert any("line %d: %s is left out" % (line, word) in found and
               reason in found for found in said.splitlines()), said


def test_a_list_without_text(files, tmp_path):
  words = tmp_path / "words.txt"
  words.write_text("zebra\nplugins\nplugin\n")
  _, before, after = extended(
      files, tmp_path, input_file=None, words_file=str(words),
      min_count=None, num_new_tokens=2, init="random")
  assert after.new_tokens.tokens == {"zebra": 1, "plugins": 2}
  rows = after.variables[new_rows.WORD_EMBEDDINGS]
  assert np.abs(rows[1:3]).max() < 0.05
  np.testing.assert_array_equal(
      rows[3:], before.variables[new_rows.WORD_EMBEDDINGS][3:])


def test_heads_that_the_model_lacks_are_recorded(files, tmp_path):
  folder = tmp_path / "headless"
  write_folder(folder, {
      name[len("bert."):]: value for name, value in random_tensors().items()
      if name.startswith("bert.") and "pooler" not in name},
               architectures=["BertModel"])
  for name in ("vocab.txt", "tokenizer_config.json"):
    shutil.copy(os.path.join(files["init_checkpoint"], name), str(folder))
  out = str(tmp_path / "out")
  code, said = extend(files, init_checkpoint=str(folder), min_count=3,
                      output_tf=out)
  assert code == 0, said
  with open(os.path.join(out, "new_tokens.json")) as stream:
    assert json.load(stream)["variables"] == sorted(HEADS)
  # A conversion passes the record on; an export over it removes it.
  convert = os.path.join(ROOT, "convert_checkpoint.py")
  there = str(tmp_path / "there")
  assert not forked_programs.run([
      convert, "--input=" + out, "--output_hf=" + there]).returncode
  assert new_rows.read(there) == conversion.read(out).new_tokens
  assert not forked_programs.run([
      convert, "--input=" + files["init_checkpoint"],
      "--output_hf=" + there]).returncode
  assert not os.path.exists(os.path.join(there, "new_tokens.json"))


@pytest.mark.parametrize("changes, said", [
    (dict(output_tf=None), "pass --output_tf, --output_hf or --candidates"),
    (dict(input_file=None), "--input_file, or a list as --words_file"),
    (dict(min_count=1000), "No word of --input_file.*occurs 1000 times"),
    (dict(init_checkpoint="nothing"), "no model at --init_checkpoint=nothing"),
    (dict(input_file="nothing*"), "nothing"),
])
def test_what_is_refused(files, tmp_path, changes, said):
  code, found = extend(files, **dict(
      dict(output_tf=str(tmp_path / "out")), **changes))
  assert code == 1 and re.search(said, found), found
  assert "Traceback" not in found and not (tmp_path / "out").exists()


def test_a_directory_with_other_files_is_refused_first(files, tmp_path):
  (tmp_path / "mine.txt").write_text("mine")
  code, said = extend(files, output_hf=str(tmp_path))
  assert code == 1 and "is not empty: it holds mine.txt" in said
  assert os.listdir(str(tmp_path)) == ["mine.txt"]


# Printed when the text was counted.
COUNTED = "different ones"


@pytest.mark.parametrize("changes, said", [
    (dict(eval_input_file="nosuch.txt"), "--eval_input_file=nosuch.txt: No in"),
    (dict(input_file="nosuch.txt"), "--input_file=nosuch.txt: No input file"),
    (dict(words_file="nosuch.txt"), "--words_file=nosuch.txt: nosuch.txt cann"),
    (dict(candidates_output="{text}/c.tsv"), "--candidates_output=.*Not a dir"),
    (dict(candidates_output="{tmp}"), "--candidates_output=.*is a directory"),
    (dict(candidates_output="{text}"), "--candidates_output=.* is read, too"),
    (dict(candidates_output="{model}/vocab.txt"), "is read, too"),
    (dict(words_file="{tmp}/w", candidates_output="{tmp}/w"), "is read, too"),
    (dict(candidates_output="{tmp}/new/"), "--candidates_output=.*a directory"),
    (dict(candidates_output="{tmp}/out/c.tsv"), "c.tsv is in --output_tf="),
    (dict(candidates_output="{tmp}/out/b/c"), "b/c is in --output_tf="),
    (dict(output_hf="{text}/hf"), "--output_hf=.*Not a directory"),
    (dict(vocab_file="{text}"), "--vocab_file=.*no special token"),
    (dict(do_split_on_punc="false"), "--do_split_on_punc=false is for models"),
])
def test_what_is_refused_before_the_text_is_counted(
    files, tmp_path, changes, said):
  places = dict(text=files["input_file"], tmp=tmp_path,
                model=files["init_checkpoint"])
  changes = {name: value.format(**places) for name, value in changes.items()}
  code, found = extend(files, **dict(
      dict(output_tf=str(tmp_path / "out"), min_count=3), **changes))
  assert code == 1 and re.search(said, found), found
  assert COUNTED not in found and "Traceback" not in found
  assert not os.listdir(str(tmp_path))
  with open(files["input_file"]) as stream:
    assert stream.read() == TEXT


def test_a_package_that_the_export_needs_is_missed_first(
    files, tmp_path, monkeypatch):
  """As where safetensors is not installed; --init_checkpoint is Google's."""
  _, _, after = extended(files, tmp_path, num_new_tokens=1)
  hidden = tmp_path / "hidden" / "safetensors"
  hidden.mkdir(parents=True)
  (hidden / "__init__.py").write_text("raise ImportError('hidden')\n")
  again = dict(files, init_checkpoint=after.directory, min_count=3)
  arguments = [PROGRAM] + ["--%s=%s" % item for item in dict(
      again, output_hf=str(tmp_path / "again")).items()]
  run = subprocess.run(
      [sys.executable] + arguments, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, universal_newlines=True, check=False,
      env=dict(os.environ, PYTHONPATH=str(hidden.parent)))
  assert run.returncode == 1 and COUNTED not in run.stdout
  assert re.search("--output_hf=.*not installed", run.stdout), run.stdout


def test_a_vocabulary_that_lacks_earlier_entries_is_refused(files, tmp_path):
  _, _, after = extended(files, tmp_path, num_new_tokens=1)
  code, said = extend(
      files, init_checkpoint=after.directory, do_lower_case="true",
      vocab_file=os.path.join(files["init_checkpoint"], "vocab.txt"),
      output_tf=str(tmp_path / "again"))
  assert code == 1 and COUNTED not in said
  assert "names 'zebra' as entry 1" in said and "--vocab_file" in said


@pytest.mark.parametrize("name", ["output_tf", "output_hf"])
def test_the_model_that_is_read_is_not_overwritten(files, tmp_path, name):
  extended(files, tmp_path, num_new_tokens=1)
  source = str(tmp_path / name)
  os.symlink(source, str(tmp_path / "link"))

  def contents():
    return {path: (tmp_path / name / path).read_bytes()
            for path in os.listdir(source)}

  before = contents()
  again = dict(files, min_count=3, num_new_tokens=1)
  for flag, changes in (
      ("init_checkpoint", {"init_checkpoint": source, name: source}),
      ("init_checkpoint", {"init_checkpoint": source + "/",
                           name: str(tmp_path / "link")}),
      ("vocab_file", {"vocab_file": source + "/vocab.txt", name: source})):
    code, said = extend(again, **changes)
    assert code == 1 and re.search(
        "--%s=.* is the directory of --%s=.*Pass another directory" % (
            name, flag), said), said
    assert contents() == before


def test_an_own_word_tokenizer_may_keep_punctuation(files, tmp_path):
  """transformers then splits by that program, which the export records."""
  folder = tmp_path / "japanese"
  shutil.copytree(files["init_checkpoint"], str(folder))
  entries = {"tokenizer_class": "BertJapaneseTokenizer",
             "word_tokenizer_type": "mecab"}
  write_json(folder / "tokenizer_config.json", entries)
  text = tmp_path / "text.txt"
  text.write_text("plug-in of plug-in\n")
  _, _, after = extended(
      dict(files, init_checkpoint=str(folder), input_file=str(text)), tmp_path,
      min_count=2, do_split_on_punc="false", tokenize_chinese_chars="false")
  assert after.new_tokens.tokens == {"plug-in": 1}
  with open(str(tmp_path / "output_hf" / "tokenizer_config.json")) as stream:
    found = json.load(stream)
  assert {name: found[name] for name in entries} == entries


def test_rare_words_of_a_list_are_left_out(files, tmp_path):
  words = tmp_path / "words.txt"
  words.write_text("newword\nzebra\ninhibitor\n")
  out = str(tmp_path / "new" / "c.tsv")
  changes = dict(words_file=str(words), candidates_output=out)
  code, said = extend(files, min_count=5, **changes)
  assert code == 0, said
  assert "line 1: newword is left out: it occurs 0 times, --min_count=5" in said
  assert "line 3: inhibitor is left out: it occurs 3 times, --min_count" in said
  with open(out) as stream:
    assert [line.split()[0] for line in stream] == ["zebra"]
  assert "1 entries would be new: 1 in place of" in said
  assert "new entries:" not in said
  # By default, all words of the list are taken.
  code, said = extend(files, **changes)
  assert code == 0 and "3 entries would be new" in said
  code, said = extend(files, min_count=50, **changes)
  assert code == 1 and re.search(
      "No word of --words_file=.* occurs 50 times.*--min_count", said)
  code, said = extend(files, input_file=None, min_count=5, **changes)
  assert code == 1 and re.search(
      "--min_count=5 needs text.*pass --input_file", said)


def test_few_words(files, tmp_path):
  code, said = extend(files, min_count=3,
                      candidates_output=str(tmp_path / "c.tsv"))
  assert code == 0, said
  # One of them, the comma, is [UNK].
  assert ("only 6 words that are split into pieces or are [UNK] occur 3 times "
          "or more (--min_count)") in said


def test_the_size_of_packed_text(files, tmp_path):
  path = tmp_path / "text.txt.gz"
  path.write_bytes(gzip.compress((TEXT * 20000).encode()))
  assert os.path.getsize(str(path)) < 1000000
  code, said = extend(
      files, input_file=str(path), eval_input_file=files["input_file"],
      max_megabytes=1, candidates_output=str(tmp_path / "c.tsv"))
  assert code == 0, said
  (size,), (words,) = (
      map(int, re.findall(pattern, said)) for pattern in (
          "a sample of 1 of the text's ([0-9]+) MB", "([0-9]+) words, "))
  assert 0.7 < size * 1e6 / (len(TEXT) * 20000) < 1.4
  assert 0.9e6 < words / (19 * 3) * len(TEXT) < 1.2e6


def test_an_unknown_casing_is_refused(files, tmp_path):
  _, _, after = extended(files, tmp_path, num_new_tokens=1)
  os.remove(os.path.join(after.directory, "tokenizer_config.json"))
  out = str(tmp_path / "again")
  changes = dict(init_checkpoint=after.directory, output_tf=out)
  code, said = extend(files, **changes)
  assert code == 1 and "pass --do_lower_case for an uncased model" in said
  code, said = extend(files, do_lower_case=False, **changes)
  assert code == 0 and conversion.read(out).do_lower_case is False


def test_transformers_computes_the_same(files, tmp_path):
  """Where transformers is installed; see test_hugging_face."""
  assert THEIRS
  _, _, after = extended(files, tmp_path, pad_vocabulary_to=8)
  inputs = batch(after.config.vocab_size)
  arrays, said = theirs(tmp_path, str(tmp_path / "output_hf"), inputs)
  ours = our_bert(after.config, after.variables, *inputs)
  real = inputs[1].astype(bool)
  np.testing.assert_allclose(
      arrays["logits"][real], ours[1][real], rtol=0, atol=1e-4)
  assert not any(said["missing"].values())
