"""Rows for new entries of a vocabulary, against a plain computation."""

import json
import os

import numpy as np
import pytest
from hugging_face_models import (
  HEADS,
  config_of,
  random_tensors,
  random_variables,
  write_folder,
)

import modeling
from bert_e2e.checkpoints import new_rows
from bert_e2e.checkpoints.new_rows import NewTokens
from bert_e2e.data import new_words

ENTRIES = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "plug", "##in", "##s"]
PARTS = {"plugin": [4, 5], "plugins": [4, 5, 6], "zebra": [3]}
SIZE = len(ENTRIES)


@pytest.fixture(scope="module", name="model")
def fixture_model():
  config = config_of(vocab_size=SIZE)
  return random_variables(config), config


def extend(model, init="mean", seed=1, **how):
  placed = new_words.place(ENTRIES, list(PARTS), **how)
  variables, config = model
  return (*new_rows.extend(variables, config, placed, PARTS, init,
                           np.random.RandomState(seed)), placed)


@pytest.mark.parametrize("how", [
    {"placement": "append"}, {"placement": "unused"},
    {"placement": "append", "multiple": 8},
    {"placement": "unused", "multiple": 16}])
def test_a_new_row_is_the_mean_of_the_rows_of_the_pieces(model, how):
  before, config = model
  variables, extended, placed = extend(model, **how)
  assert extended.to_dict() == dict(
      config.to_dict(), vocab_size=len(placed.entries))
  for name, value in variables.items():
    if name not in new_rows.VARIABLES:
      assert value is before[name]
      continue
    old = before[name]
    expected = np.zeros((len(placed.entries),) + old.shape[1:], np.float32)
    expected[:SIZE] = old
    expected[SIZE:] = old[0]  # [PAD]'s, for padding.
    for word, row in placed.ids.items():
      total = np.zeros(old.shape[1:], np.float64)
      for piece in PARTS[word]:
        total += old[piece]
      expected[row] = (total / len(PARTS[word])).astype(np.float32)
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, expected, err_msg=name)
  assert [tuple(v.shape) for v in variables.values()] == [
      tuple(shape) for shape in modeling.variable_shapes(extended).values()]


def test_random_rows_are_drawn_as_bert_initializes(model):
  before, config = model
  variables, _, placed = extend(model, "random", placement="append")
  again = extend(model, "random", placement="append")[0]
  other = extend(model, "random", seed=2, placement="append")[0]
  words, bias = (variables[name] for name in new_rows.VARIABLES)
  rows = list(placed.ids.values())
  np.testing.assert_array_equal(words, again["bert/embeddings/word_embeddings"])
  assert (words[rows] != other[new_rows.WORD_EMBEDDINGS][rows]).any()
  assert np.abs(words[rows]).max() <= 2 * config.initializer_range
  assert len(np.unique(words[rows])) == words[rows].size
  assert not bias[rows].any()
  np.testing.assert_array_equal(words[:SIZE], before[new_rows.WORD_EMBEDDINGS])
  np.testing.assert_array_equal(bias[:SIZE], before[new_rows.OUTPUT_BIAS])


def test_rows_without_an_entry_are_used_first(model):
  """As of a model whose table was padded."""
  config = config_of(vocab_size=SIZE + 2)
  before = random_variables(config)
  variables, extended, placed = extend((before, config), placement="append")
  assert list(placed.ids.values()) == [SIZE, SIZE + 1, SIZE + 2]
  assert extended.vocab_size == SIZE + 3
  np.testing.assert_array_equal(
      variables[new_rows.OUTPUT_BIAS][:SIZE],
      before[new_rows.OUTPUT_BIAS][:SIZE])


def test_the_record_is_read_beside_the_model_only(tmp_path):
  record = NewTokens({"plugin": 9, "zebra": 7}, [HEADS[0]])
  assert record.rows == [7, 9]
  (tmp_path / "new_tokens.json").write_text(json.dumps(record._asdict()))
  assert new_rows.read(str(tmp_path / "bert_model.ckpt")) == record
  # A training in the same directory has trained them.
  assert new_rows.read(str(tmp_path / "model.ckpt-5")) == NewTokens()
  assert new_rows.read(None) == NewTokens()
  write_folder(tmp_path, random_tensors())
  assert new_rows.read(str(tmp_path)) == record


@pytest.mark.parametrize("content", [
    "{", "[]", '{"rows": []}', '{"tokens": [3]}', '{"tokens": {"a": "b"}}',
    '{"variables": [1]}'])
def test_a_damaged_record(tmp_path, content):
  (tmp_path / "new_tokens.json").write_text(content)
  with pytest.raises(ValueError, match="new_tokens.json is damaged"):
    new_rows.read(os.path.join(str(tmp_path), "bert_model.ckpt"))


@pytest.mark.parametrize("record, tokens", [
    ({"a": 9}, None), ({"a": -1}, None), ({"a": 1}, ["x", "b"]),
    ({"a": 2}, ["x", "a"])])
def test_a_record_of_another_vocabulary(record, tokens):
  with pytest.raises(ValueError, match=(
      "names 'a' as entry.* written with the model: pass it as --vocab_file")):
    new_rows.check(NewTokens(record), "model", 9, tokens)
  new_rows.check(NewTokens({"a": 1}), "model", 9, ["x", "a"])
