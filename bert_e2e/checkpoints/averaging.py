"""Averages of the weights of several models.

Between the weights that a training started from and those that it ended with
are models that keep more of what the first could do, at most of the last one's
gain (Wortsman et al. 2022, arXiv 2109.01903). The average of the last
checkpoints of a training is often better than each of them (Izmailov et al.
2018, arXiv 1803.05407).

With the weight w of a trained model, and n others, a variable of the average is

  w * trained + (1 - w) / n * (other_1 + ... + other_n),

summed in float64 and rounded to float32 once. This is done for the encoder,
`bert/...`. The heads, `cls/...`, are those of the trained model unless they are
to be averaged as well: the others may have none, or some that were not trained
with this encoder.
"""

import collections
import functools
import operator
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

import tokenization
from bert_e2e.checkpoints import (
  conversion,
  hugging_face,
  initial_weights,
  model_path,
  tf_weights,
  validation,
)
from bert_e2e.common.messages import list_names

_INPUT, _OTHERS = "--input", "--average_with"  # The flags, for messages.


class Average(NamedTuple):
  """An average of models.

  Attributes:
    variables: OrderedDict from name to float32 array.
    models: list of (path, weight): the trained model's, then the others'. The
      weights, floats, add up to 1.
    has_averaged_heads: bool.
    lacking: dict from the path of a model to the list of the names that it
      lacks. They are those of the first model that has them.
  """
  variables: Dict[str, Any]
  models: List[Tuple[str, float]]
  has_averaged_heads: bool
  lacking: Dict[str, List[str]]

  def record(self):
    """Returns what to record of the average, a dict that JSON can represent."""
    return {
        "models": [{"path": path, "weight": weight}
                   for path, weight in self.models],
        "has_averaged_heads": self.has_averaged_heads, "lacking": self.lacking}

  def describe(self):
    """Returns the average in words, e.g. "0.5 * a.ckpt + 0.5 * b.ckpt"."""
    return " + ".join("%g * %s" % (weight, path)
                      for path, weight in self.models)

  def describe_lacking(self):
    """Returns a list of str, a clause on what each model lacks."""
    return ["%s lacks these variables, which are not averaged: %s" % (
        path, list_names(names)) for path, names in self.lacking.items()]


def shares(num_others, weight=None):
  """Returns the weights of a trained model and of the others, a list.

  Args:
    num_others: int, at least 1.
    weight: float, that of the trained model, 0 to 1; None for equal weights.

  >>> shares(1), shares(3), shares(2, 0.5)
  ([0.5, 0.5], [0.25, 0.25, 0.25, 0.25], [0.5, 0.25, 0.25])
  """
  if weight is None:
    return [1 / (1 + num_others)] * (1 + num_others)
  return [weight] + [(1 - weight) / num_others] * num_others


def average(names, models, weight=None, with_heads=False):
  """Averages models.

  Args:
    names: list of str, the variables of the average.
    models: list of initial_weights.StoredWeights with the same shapes, the
      trained model first. Variables that one of them lacks are not averaged,
      but those of the first model that has them.
    weight: see `shares`. At 0 and 1, the variables are bit for bit those of the
      other model or of the trained one.
    with_heads: bool, average the heads, too.

  Returns:
    Average; it lacks what all models lack.

  Raises:
    OSError, ValueError: weights cannot be read.
  """
  weights = shares(len(models) - 1, weight)
  variables = collections.OrderedDict()
  lacking = collections.OrderedDict()
  averaged = [name for name in names
              if with_heads or name.startswith(tf_weights.ROOT)]
  for model in models:
    expected = names if model is models[0] else averaged
    missing = [name for name in expected if name not in model.shapes]
    if missing:
      lacking.setdefault(model.path, missing)
  for name in names:
    having = [model for model in models if name in model.shapes]
    if name in averaged and len(having) == len(models):
      variables[name] = _sum(models, weights, name)
    elif having:
      variables[name] = having[0].read(name)
  return Average(
      variables, [(model.path, share) for model, share in zip(models, weights)],
      with_heads, lacking)


def _sum(models, weights, name):
  """Returns the weighted sum of a variable of some models, a float32 array."""
  parts = [(weight, model) for weight, model in zip(weights, models) if weight]
  if len(parts) == 1:
    return parts[0][1].read(name)
  return functools.reduce(operator.add, [
      weight * model.read(name).astype(np.float64)
      for weight, model in parts]).astype(np.float32)


def between(start, checkpoint, config, extend_positions=False):
  """Returns the models between a training's start and its result.

  Args:
    start: str, path prefix of a checkpoint, or a Hugging Face directory, that
      the training started from.
    checkpoint: str, path prefix of a checkpoint of the training.
    config: modeling.BertConfig.
    extend_positions: bool, see initial_weights.extend_rows.

  Returns:
    function from a weight, see `average`, to an Average.

  Raises:
    OSError, ValueError: weights cannot be read.
  """
  trained = initial_weights.in_memory(
      checkpoint, conversion.read_checkpoint(checkpoint, config))
  first = initial_weights.open_start(start, config, extend_positions)
  return lambda weight: average(
      list(trained.shapes), [trained, first], weight)


# ------------------------------------------------------ models that users name


def read(path, others, *, weight=None, with_heads=False, bert_config_file=None,
         vocab_file=None, do_lower_case=None):
  """Reads models and averages them.

  What is not found beside `path`, as for an output directory, is taken from the
  first of the other models that has it: the config, the vocabulary, the options
  of the tokenizer, and what makes a model a sentence encoder.

  Args:
    path: str, the trained model, see model_path.find.
    others: list of str, the other models, see model_path.find.
    weight, with_heads: see `average`.
    bert_config_file, vocab_file, do_lower_case: see conversion.read.

  Returns:
    (conversion.SourceModel, Average). What all models lack is newly
    initialized in the former.

  Raises:
    OSError: a file cannot be read.
    ValueError: the weight is not between 0 and 1; a model is not found, damaged
      or of another architecture or vocabulary; see conversion.read, too.
  """
  if weight is not None and not 0 <= weight <= 1:
    raise ValueError("--weight=%s is out of range: it must be at least 0 and "
                     "at most 1." % weight)
  found = [model_path.find(path, _INPUT),
           *(model_path.find(other, _OTHERS) for other in others)]
  source = conversion.read(
      path, bert_config_file or (None if found[0].is_hugging_face else
                                 _first(model.config_file for model in found)),
      vocab_file or _first(model.vocab_file for model in found), do_lower_case)
  _check_vocabularies(source.vocab_file, found[1:])
  stored = [initial_weights.in_memory(found[0].path, {
      name: value for name, value in source.variables.items()
      if name not in source.initialized})]
  for given, model in zip(others, found[1:]):
    stored.append(initial_weights.open_weights(model.path))
    _check_same_model(source.config, path, given, model, stored[-1])
  made = average(list(source.variables), stored, weight, with_heads)
  source = _with_tokenizer(source, found, do_lower_case)
  return source._replace(
      variables=dict(source.variables, **made.variables),
      initialized=[name for name in source.initialized
                   if name not in made.variables]), made


def _first(values):
  """Returns the first value that is not None or empty, else None."""
  return next(filter(None, values), None)


def _check_same_model(config, path, given, model, stored):
  """Raises ValueError if a model cannot be averaged with another one.

  Args:
    config: modeling.BertConfig of the trained model; path: str, its path.
    given: str, the path of the other one.
    model: model_path.ModelPath; stored: initial_weights.StoredWeights of it.
  """
  different = []
  if model.config_file:
    different = hugging_face.config_differences(
        hugging_face.load_config(model.config_file), config)
  # What their weights differ in follows from their configs.
  different = different or validation.model_differences(config, stored.shapes)
  if different:
    raise ValueError(
        "%s=%s is of another model than %s=%s: %s. Pass models with the same "
        "config." % (_OTHERS, given, _INPUT, path,
                     list_names(different, limit=4, separator="; ")))


def _check_vocabularies(vocab_file, models):
  """Raises ValueError if a model has another vocabulary.

  Args:
    vocab_file: str, the trained model's, or None.
    models: list of model_path.ModelPath, the others.
  """
  if not vocab_file:
    return
  pieces, _ = tokenization.read_tokens(vocab_file)
  for model in models:
    if not model.vocab_file:
      continue
    theirs, _ = tokenization.read_tokens(model.vocab_file)
    if theirs != pieces:
      line = next((i for i, pair in enumerate(zip(pieces, theirs))
                   if pair[0] != pair[1]), min(len(pieces), len(theirs)))
      raise ValueError(
          "%s and %s are different vocabularies, from line %d on, so the "
          "weights of their models cannot be averaged." % (
              vocab_file, model.vocab_file, line + 1))


def _with_tokenizer(source, models, do_lower_case):
  """Returns a SourceModel with the tokenizer of the first model that records
  it, and the directory of the first one that has such files.

  Args:
    source: conversion.SourceModel of the first model.
    models: list of model_path.ModelPath.
    do_lower_case: bool, which takes precedence, or None.
  """
  tokenizer = dict(_first(
      conversion.recorded_tokenizer(model.path, is_split_into_words=True)
      for model in models) or {})
  recorded = tokenizer.pop("do_lower_case", None)
  return source._replace(
      tokenizer=tokenizer,
      do_lower_case=recorded if do_lower_case is None else do_lower_case,
      directory=_first(hugging_face.find_directory(model.path)
                       for model in models))
