"""The weights that a training starts from: checked, and assigned to the model.

They are read from a TensorFlow checkpoint or a Hugging Face directory.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf

import modeling
from bert_e2e.checkpoints import (
  hugging_face,
  new_rows,
  saver,
  tf_weights,
  validation,
)
from bert_e2e.common.messages import list_names

_POSITIONS = "bert/embeddings/position_embeddings"


class InitialWeights(NamedTuple):
  """What `check` finds.

  Attributes:
    missing: list of str, the model's variables that are not there.
    unused: list of str, variables in the encoder's scope that the model does
      not have, by the names that they would have in it.
    root: str, the scope of the encoder's variables there.
    num_positions: int, the number of position embeddings there, if the model
      has more, which are copied from these; else None.
    is_sentence_encoder: bool, see hugging_face.is_sentence_encoder.
    new_tokens: new_rows.NewTokens, what is there and was never trained.
  """
  missing: List[str]
  unused: List[str]
  root: str = tf_weights.ROOT
  num_positions: Optional[int] = None
  is_sentence_encoder: bool = False
  new_tokens: new_rows.NewTokens = new_rows.NewTokens()

  @property
  def untrained(self):
    """list of str, the model's variables that are newly initialized, now or
    when the model was written."""
    return self.missing + [name for name in self.new_tokens.variables
                           if name not in self.missing]


class StoredWeights(NamedTuple):
  """The weights of a model, in files or in memory.

  Attributes:
    path: str, path prefix of a checkpoint, or a Hugging Face directory.
    shapes: dict from the model's name of a weight to its shape, a list of int.
    read: function from a key of `shapes` to its value, a float32 array.
    root: str, the scope of the encoder's variables there.
  """
  path: str
  shapes: Dict[str, List[int]]
  read: Callable[[str], Any]
  root: str = tf_weights.ROOT


def in_memory(path, variables, root=tf_weights.ROOT):
  """Returns the StoredWeights of a model that was read.

  Args:
    path: str, where it was read; root: str, see StoredWeights.
    variables: dict from name to float32 array.
  """
  return StoredWeights(
      path, {name: list(value.shape) for name, value in variables.items()},
      variables.__getitem__, root)


def open_weights(path):
  """Opens the weights of a model.

  Args:
    path: str, path prefix of a checkpoint, or a Hugging Face directory.

  Returns:
    StoredWeights.

  Raises:
    OSError: a file of a Hugging Face directory cannot be read.
    ValueError: see hugging_face.read and tf_weights.TensorFlowWeights.
  """
  if hugging_face.is_directory(path):
    model = hugging_face.read(path)
    return in_memory(path, model.variables, model.scope)
  weights = tf_weights.TensorFlowWeights(path)
  return StoredWeights(path, weights.shapes, weights.read, weights.root)


def open_start(path, config, extend_positions=False):
  """Opens the weights that a training starts from.

  Args:
    path: str, see `open_weights`.
    config: modeling.BertConfig of the model that is trained.
    extend_positions: bool, see `extend_rows`.

  Returns:
    StoredWeights, with the positions of the model. Those that are newly
    initialized are missing.

  Raises:
    OSError, ValueError: see `open_weights`.
  """
  stored = open_weights(path)
  if not extend_positions or _POSITIONS not in stored.shapes:
    return stored

  def read(name):
    value = stored.read(name)
    if name == _POSITIONS:
      value = extend_rows(value, config.max_position_embeddings)
    return value

  shapes = dict(stored.shapes)
  shapes[_POSITIONS] = [config.max_position_embeddings, *shapes[_POSITIONS][1:]]
  return stored._replace(shapes=shapes, read=read)


def check(path, config, config_file, extend_positions=False):
  """Checks that a model can start from a checkpoint; reads all weights once.

  Args:
    path: str, path prefix of a checkpoint, or a Hugging Face directory.
    config: modeling.BertConfig; config_file: str, its file.
    extend_positions: bool, the model may have more positions; see
      `extend_rows`.

  Returns:
    InitialWeights.

  Raises:
    ValueError: there is no checkpoint, or it is damaged; it does not hold an
      encoder, or has a weight of another shape. For a Hugging Face directory
      see hugging_face.read, too.
  """
  if hugging_face.is_directory(path) and (
      config_file != hugging_face.config_file(path)):
    _check_config(path, config, config_file)
  stored = open_weights(path)
  shapes = dict(stored.shapes)
  num_positions = None
  if _has_fewer_positions(shapes, config):
    num_positions = shapes.pop(_POSITIONS)[0]
  different = validation.differences(config, shapes)
  if different:
    raise ValueError(
        "--init_checkpoint=%s is of another model than --bert_config_file=%s: "
        "%s. Pass the config of the checkpoint." %
        (path, config_file, list_names(different)))
  if num_positions is not None and not extend_positions:
    raise ValueError(
        "--init_checkpoint=%s has %d positions, but the model has %d "
        "(max_position_embeddings in %s). Pass --extend_positions to copy the "
        "last ones to the others, or the config of the checkpoint." %
        (path, num_positions, config.max_position_embeddings, config_file))
  expected = modeling.variable_shapes(config)
  for name in expected:
    if name in stored.shapes:
      stored.read(name)
  directory = hugging_face.find_directory(path)
  return InitialWeights(
      [name for name in expected if name not in stored.shapes],
      [name for name in stored.shapes
       if name not in expected and name.startswith(tf_weights.ROOT)],
      stored.root, num_positions, directory is not None and
      hugging_face.is_sentence_encoder(directory), new_rows.read(path))


def _check_config(directory, config, config_file):
  """Checks that a config is of a directory's model, but for more positions."""
  theirs = hugging_face.read_config(directory)["max_position_embeddings"]
  compared = dict(config.to_dict(), max_position_embeddings=min(
      theirs, config.max_position_embeddings))
  hugging_face.check_config(
      directory, modeling.BertConfig.from_dict(compared), config_file)


def _has_fewer_positions(shapes, config):
  """Tells whether position embeddings are only too few for a model."""
  shape = shapes.get(_POSITIONS)
  return bool(shape) and shape[1:] == [config.hidden_size] and (
      shape[0] < config.max_position_embeddings)


def extend_rows(table, num_rows):
  """Returns a table with more rows, which are copies of its last ones.

  With n rows and c = min(n, num_rows - n), the new row n + j is a copy of row
  n - c + j % c: the last c rows in their order, repeated if there are not
  enough.

  Args:
    table: [n, H] array.
    num_rows: int, at least n.

  Returns:
    [num_rows, H] array.

  >>> extend_rows(np.array([[1], [2], [3]]), 5).ravel()
  array([1, 2, 3, 2, 3])
  """
  added = num_rows - len(table)
  if not added:
    return table
  last = table[-min(len(table), added):]
  return np.concatenate(
      [table, np.resize(last, (added,) + table.shape[1:])], axis=0)


def make_init_fn(path, config, random_seed, extend_positions=False):
  """Returns a function that assigns stored weights to the model's variables.

  Args:
    path: str, path prefix of a checkpoint, or a Hugging Face directory, of a
      model with that config.
    config: modeling.BertConfig.
    random_seed: int, for heads that a Hugging Face directory does not have;
      see hugging_face.complete. Variables that a checkpoint does not have keep
      the values of their initializers.
    extend_positions: bool, see `extend_rows`.

  Returns:
    (init_fn, names): an `init_fn` of tf.train.Scaffold for the trainable
    variables that the default graph has now, and the set of the names of the
    variables that it assigns. TensorFlow calls the function after the
    initializers, unless it restores a checkpoint. It feeds the values to the
    session, wherever that runs: to each replica of the tf.distribute.Strategy
    in whose scope this was called, or to a TPU's host. The weights are read in
    that call, so nothing keeps them in memory.

  Raises:
    ValueError: see `check`.
  """
  variables = tf.trainable_variables()
  strategy = tf.distribute.get_strategy()
  names = set(map(saver.name_of, variables))
  if not hugging_face.is_directory(path):
    names &= set(open_weights(path).shapes)

  def load(scaffold, session):
    del scaffold
    read = _complete_reader(
        open_start(path, config, extend_positions), config, random_seed)
    saver.load(((variable, read(saver.name_of(variable)))
                for variable in variables if saver.name_of(variable) in names),
               session, strategy)

  return load, names


def _complete_reader(stored, config, random_seed):
  """Returns a function from a name to its weight; heads that a Hugging Face
  directory does not have are newly initialized."""
  if not hugging_face.is_directory(stored.path):
    return stored.read
  return hugging_face.complete(
      {name: stored.read(name) for name in stored.shapes}, config,
      np.random.RandomState(random_seed)).__getitem__
