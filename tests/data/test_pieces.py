"""pieces.py: what is wrong with a vocabulary is said."""

import json
import logging
import os

import forked_programs
import pytest
from program import CONFIG, ROOT, VOCAB, command, prepared

import modeling
import tokenization
from bert_e2e.data import pieces
from bert_e2e.training import input_validation

VOCABULARY = "".join(piece + "\n" for piece in VOCAB)


@pytest.fixture
def write(tmp_path):
  """Returns a function that writes a vocabulary and returns its path."""

  def write(content, name="vocab.txt"):
    (tmp_path / name).write_bytes(
        content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(tmp_path / name)

  return write


@pytest.mark.parametrize("content, name", [
    ("\ufeff" + VOCABULARY, "vocab.txt"),
    (VOCABULARY.replace("\n", "\r\n"), "vocab.txt"),
    (json.dumps({piece: i for i, piece in enumerate(VOCAB)}), "vocab.json"),
    ("\ufeff" + json.dumps({piece: VOCAB.index(piece)
                            for piece in sorted(VOCAB)}), "vocab.json"),
    (json.dumps({"model": {"type": "WordPiece", "vocab": {
        piece: i for i, piece in enumerate(VOCAB)}}}), "tokenizer.json")])
def test_forms_of_a_vocabulary(write, content, name):
  path = write(content, name)
  pieces.check_vocabulary(path)
  assert list(tokenization.load_vocab(path).items()) == [
      (piece, i) for i, piece in enumerate(VOCAB)]


def test_a_piece_may_be_called_model(write):
  words = [*VOCAB, "model"]
  path = write(json.dumps({word: i for i, word in enumerate(words)}), "v.json")
  assert list(tokenization.load_vocab(path)) == words


@pytest.mark.parametrize("content, name, said", [
    (json.dumps({"hidden_size": 8, "hidden_act": "gelu"}), "config.json",
     "has no vocabulary of WordPieces numbered from 0. Use"),
    (json.dumps({piece: i + 1 for i, piece in enumerate(VOCAB)}), "vocab.json",
     "has no vocabulary of WordPieces numbered from 0. Use"),
    (json.dumps({"a": 0, "b": 1}), "vocab.json", "no special token .PAD. in"),
    (json.dumps(["a"]), "vocab.json", "is not a vocabulary in JSON"),
    ("[PAD]", "vocab.json", "is not a vocabulary in JSON"),
    (VOCABULARY.encode("utf-16"), "vocab.txt", "`iconv -f UTF-16 -t UTF-8"),
    (VOCABULARY.replace("\n", "\r"), "vocab.txt", "carriage return alone"),
    (b"\x1f\x8b\x08\x00", "vocab.txt", "compressed with gzip"),
    (b"\x80\x02}q\x00.", "vocab.txt", "is a Python pickle"),
    (VOCABULARY + "[SEP]\n", "vocab.txt", r"\[SEP\] more than once, on lines "),
])
def test_what_is_no_vocabulary(write, content, name, said):
  with pytest.raises(ValueError, match=said):
    pieces.check_vocabulary(write(content, name))


def test_pieces_that_stand_twice(write, caplog):
  path = write(VOCABULARY + "w3\nnew\nw3\n\n\nw5\n")
  with caplog.at_level(logging.WARNING):
    pieces.warn_of_repeated_pieces(path)
  said, = caplog.messages
  assert '"w3" on lines 9 and 46 and 48; "w5" on lines 11 and 51. The' in said
  caplog.clear()
  pieces.warn_of_repeated_pieces(write(VOCABULARY + "\n\n"))
  assert not caplog.messages


@pytest.mark.parametrize("end, said", [
    ("\n", "blank lines at its end, which count as entries: line 46."),
    (" \n\n", "blank lines at its end, which count as entries: line 46, 47."),
    ("more\n", "Use the vocabulary that the model was trained with."),
    ("\nmore\n", "Use the vocabulary that the model was trained with.")])
def test_more_entries_than_the_model_has(write, end, said):
  path = write(VOCABULARY + end)
  vocab_size = max(tokenization.load_vocab(path).values()) + 1
  with pytest.raises(ValueError, match="the model only has 45") as caught:
    input_validation.check_model(
        modeling.BertConfig(len(VOCAB)), "config.json", 16, vocab_size, path)
  assert str(caught.value).endswith(said)


@pytest.mark.parametrize("program", [
    "show_examples.py", "create_pretraining_data.py"])
def test_the_programs_warn(write, files, tmp_path, program):
  run = forked_programs.run([
      os.path.join(ROOT, program), "--input_file=" + files["eval"],
      "--vocab_file=" + write(VOCABULARY + "w3\n"), "--max_seq_length=16"] + (
          ["--output_file=%s" % (tmp_path / "examples")]
          if program.startswith("create") else []))
  assert run.returncode == 0, run.stdout
  assert run.stdout.count('pieces more than once: "w3" on lines 9 and 46') == 1


def test_the_training_warns(write, files, parse_flags, caplog):
  with open(files["config"], "w") as stream:
    json.dump(dict(CONFIG, vocab_size=len(VOCAB) + 1), stream)
  with caplog.at_level(logging.WARNING):
    prepared(parse_flags(command(
        files, vocab_file=write(VOCABULARY + "w3\n"))))
  assert sum('"w3" on lines 9 and 46' in said for said in caplog.messages) == 1
