"""Checks the instances that a user's strategy returns, before they are encoded.

The encoder (tf_example.py) trusts the built-in rules; it would store a wrong
position or segment id, and the model would train on it.
"""

import collections.abc
import operator

from bert_e2e.data.instances import TrainingInstance

_ATTRIBUTES = ("tokens", "segment_ids", "masked_lm_positions",
               "masked_lm_labels", "is_random_next")


def checked(found, vocabulary, options):
  """Checks the instances of a chunk.

  Args:
    found: what a strategy returned, a list of objects with the attributes of
      TrainingInstance, pieces as texts.
    vocabulary: container of str, the WordPieces.
    options: config.InstanceConfig, for the greatest lengths.

  Returns:
    list of TrainingInstance, new ones of lists of str and int.

  Raises:
    ValueError: something else was returned, or an instance is wrong; the
      message names its number.
  """
  if not isinstance(found, collections.abc.Iterable):
    raise ValueError("it returned %s, not a list of TrainingInstance. Return "
                     "[] for lines without an example." % _shown(found))
  instances = []
  for number, instance in enumerate(found):
    try:
      instances.append(_checked(instance, vocabulary, options))
    except ValueError as e:
      raise ValueError("the instance with index %d %s" % (number, e)) from e
  return instances


def _checked(instance, vocabulary, options):
  """Returns an instance as a TrainingInstance; see `checked` for the rest.

  Raises:
    ValueError: it is wrong; the message continues "the instance ...".
  """
  missing = [name for name in _ATTRIBUTES if not hasattr(instance, name)]
  if missing:
    raise ValueError("is %s without %s. Return objects of TrainingInstance." % (
        _shown(instance), ", ".join(missing)))
  tokens, segment_ids, positions, labels = (
      _list_of(instance, name) for name in _ATTRIBUTES[:4])
  _check_tokens(tokens, options.max_seq_length)
  _check_pieces("tokens", tokens, vocabulary)
  _check_segments(segment_ids, len(tokens))
  _check_positions(
      positions, len(tokens), options.max_predictions_per_seq)
  if len(labels) != len(positions):
    raise ValueError(
        "has %d masked_lm_labels for %d masked_lm_positions. Give one label, "
        "the original piece, for each position." % (
            len(labels), len(positions)))
  _check_pieces("masked_lm_labels", labels, vocabulary)
  if instance.is_random_next not in (False, True):
    raise ValueError("has is_random_next=%s. Set it to True or False." %
                     _shown(instance.is_random_next))
  return TrainingInstance(tokens, segment_ids, positions, labels,
                          bool(instance.is_random_next),
                          masked_groups=getattr(instance, "masked_groups", ()))


def _shown(value):
  """Returns a value and its type for a message, a long value shortened."""
  text = " ".join(repr(value).split())
  return "%s of the type %s" % (
      text if len(text) <= 60 else text[:57] + "...", type(value).__name__)


def _list_of(instance, name):
  """Returns an attribute as a list, integers as int."""
  values = getattr(instance, name)
  if isinstance(values, str) or not isinstance(
      values, collections.abc.Iterable):
    raise ValueError("has %s=%s. Set it to a list." % (name, _shown(values)))
  values = list(values)
  if name in ("segment_ids", "masked_lm_positions"):
    for index, value in enumerate(values):
      try:
        values[index] = operator.index(value)
      except TypeError:
        raise ValueError("has %s in %s[%d], which is not an int." % (
            _shown(value), name, index)) from None
  return values


def _check_tokens(tokens, max_seq_length):
  if not tokens:
    raise ValueError("has no tokens. Leave it out.")
  if len(tokens) > max_seq_length:
    raise ValueError(
        "has %d tokens, more than --max_seq_length=%d. Cut it to the argument "
        "max_seq_length." % (len(tokens), max_seq_length))


def _check_pieces(name, pieces, vocabulary):
  for index, piece in enumerate(pieces):
    if not isinstance(piece, str) or piece not in vocabulary:
      raise ValueError(
          "has %r in %s[%d], which is not a piece of the vocabulary. Take "
          "pieces from tokenizer.tokenize." % (piece, name, index))


def _check_segments(segment_ids, num_tokens):
  if len(segment_ids) != num_tokens:
    raise ValueError("has %d segment_ids for %d tokens. Give one for each." % (
        len(segment_ids), num_tokens))
  for index, value in enumerate(segment_ids):
    if value not in (0, 1):
      raise ValueError("has %d in segment_ids[%d]. Set it to 0 or 1." % (
          value, index))


def _check_positions(positions, num_tokens, max_predictions):
  if len(positions) > max_predictions:
    raise ValueError(
        "has %d masked_lm_positions, more than --max_predictions_per_seq=%d. "
        "Mask no more than the argument max_predictions_per_seq." % (
            len(positions), max_predictions))
  for index, position in enumerate(positions):
    if not 0 <= position < num_tokens:
      raise ValueError(
          "has %d in masked_lm_positions[%d], which is outside of its %d "
          "tokens." % (position, index, num_tokens))
    if index and position <= positions[index - 1]:
      raise ValueError(
          "has %d after %d in masked_lm_positions. Sort them, each position "
          "once." % (position, positions[index - 1]))
