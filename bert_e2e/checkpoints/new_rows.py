"""Rows of the embedding table for new entries of a vocabulary.

A row belongs to two variables: the word embeddings, which also score the words
that the masked-LM head predicts, and the bias of that score. The file
`new_tokens.json` beside a model names what in it was never trained, so that a
training can begin with that (see heads_first).

  V  vocabulary size
  H  hidden size
"""

import os
from typing import Any, Dict, List, NamedTuple

import numpy as np

import modeling
from bert_e2e.checkpoints import hugging_face
from bert_e2e.common import json_files

FILE = "new_tokens.json"
# The checkpoint that the file is about: a training beside it has others.
CHECKPOINT = "bert_model.ckpt"
WORD_EMBEDDINGS = "bert/embeddings/word_embeddings"
OUTPUT_BIAS = "cls/predictions/output_bias"
# All variables with a row for each entry: [V, H] and [V].
VARIABLES = (WORD_EMBEDDINGS, OUTPUT_BIAS)
MEAN, RANDOM = INITIALIZATIONS = ("mean", "random")


class NewTokens(NamedTuple):
  """The contents of `new_tokens.json`.

  Attributes:
    tokens: dict from each new entry of the vocabulary to its number.
    variables: list of str, newly initialized variables of the model.
  """
  tokens: Dict[str, int] = {}
  variables: List[str] = []

  @property
  def rows(self):
    """list of int, the numbers of the rows, sorted."""
    return sorted(self.tokens.values())


def read(path):
  """Reads what of a model was never trained.

  Args:
    path: str, path prefix of a checkpoint, or a Hugging Face directory; or
      None.

  Returns:
    NewTokens; an empty one if nothing is recorded.

  Raises:
    OSError: the file can't be read.
    ValueError: it is damaged.
  """
  if not path:
    return NewTokens()
  directory = path
  if not hugging_face.is_directory(path):
    if os.path.basename(path) != CHECKPOINT:
      return NewTokens()
    directory = os.path.dirname(path)
  file = os.path.join(directory, FILE)
  remedy = ("It names the new rows of the model; write the model again, or "
            "remove the file to train them like all others.")
  found = json_files.read_record(file, NewTokens, remedy) or NewTokens()
  _check_types(found, file, remedy)
  return found


def _check_types(found, file, remedy):
  """Raises ValueError for a record that `read` can't have written."""
  if not (isinstance(found.tokens, dict) and
          isinstance(found.variables, list) and
          all(type(row) is int for row in found.tokens.values()) and
          all(isinstance(name, str) for name in found.variables)):
    raise ValueError("%s is damaged (not an object of numbers, and a list of "
                     "names). %s" % (file, remedy))


def check(found, path, vocab_size, tokens=None):
  """Checks that a record is of a model and its vocabulary.

  Args:
    found: NewTokens; path: str, of the model.
    vocab_size: int, of the model.
    tokens: list of str, the vocabulary; None if it is unknown.

  Raises:
    ValueError: it is of another one.
  """
  for token, row in found.tokens.items():
    there = None
    if tokens is not None and 0 <= row < len(tokens):
      there = tokens[row]
    if not 0 <= row < vocab_size or tokens is not None and there != token:
      raise ValueError(
          "%s beside %s names %r as entry %d, but the vocabulary has %s there. "
          "Use the vocabulary that was written with the model: pass it as "
          "--vocab_file." % (
              FILE, path, token, row,
              "nothing" if there is None else repr(there)))


def extend(variables, config, placed, parts, init, rng):
  """Gives a model rows for new entries of its vocabulary.

  With "mean", a new row is the mean of the rows of the pieces that the word
  was split into before, in the word embeddings and in the bias. With "random",
  it is drawn as BERT initializes its weights, and the bias is 0. Rows of
  padding are copies of that of [PAD], which is never predicted either.

  Args:
    variables: dict from each name of modeling.variable_shapes to a float32
      array. It is not changed.
    config: modeling.BertConfig.
    placed: new_words.Placed.
    parts: dict from each new word to the numbers of its pieces before.
    init: one of INITIALIZATIONS.
    rng: numpy.random.RandomState, for "random".

  Returns:
    (dict like `variables`, modeling.BertConfig with the new `vocab_size`). All
    rows but the new ones are bitwise those of `variables`.
  """
  vocab_size = max(config.vocab_size, len(placed.entries))
  extended = modeling.BertConfig.from_dict(
      dict(config.to_dict(), vocab_size=vocab_size))
  pad = placed.tokens.index("[PAD]")
  tables: Dict[str, Any] = {}
  for name in VARIABLES:
    old = variables[name]
    added = np.repeat(old[pad:pad + 1], vocab_size - len(old), axis=0)
    tables[name] = np.concatenate([old, added])
  for word, row in placed.ids.items():
    if init == RANDOM:
      tables[WORD_EMBEDDINGS][row] = hugging_face.truncated_normal(
          [config.hidden_size], config.initializer_range, rng)
      tables[OUTPUT_BIAS][row] = 0.0
    else:
      for name in VARIABLES:
        tables[name][row] = np.mean(
            variables[name][parts[word]], axis=0, dtype=np.float64)
  return dict(variables, **tables), extended
