"""Finds the model that a path names: a checkpoint or a Hugging Face directory.
"""

import contextlib
import os
import re
from typing import NamedTuple, Optional

import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints import foreign_models, hugging_face
from bert_e2e.common import file_io
from bert_e2e.common.messages import list_names

CONFIG_FILE = "bert_config.json"
_STATE_FILE = "checkpoint"
# The ends of the names of a checkpoint's files.
_FILE_SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_URL = re.compile(r"https?://")
# "bert-base-uncased" or "organization/model".
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
# How far below a directory models are looked for, and in how many entries.
_MAX_DEPTH, _MAX_ENTRIES = 2, 200


class ModelPath(NamedTuple):
  """Where a model is.

  Attributes:
    path: str, path prefix of a TensorFlow checkpoint, or a Hugging Face
      directory.
    config_file: str, the config beside the weights; None if there is none.
    vocab_file: str, the vocabulary beside them; None if there is none.
    is_hugging_face: bool.
  """
  path: str
  config_file: Optional[str]
  vocab_file: Optional[str]
  is_hugging_face: bool


def find(path, flag):
  """Finds a model.

  Args:
    path: str, a checkpoint's path prefix or one of its files; a directory of
      Hugging Face's transformers; or a directory with checkpoints, of which the
      latest is taken, or the only one.
    flag: str, for messages, e.g. "--init_checkpoint".

  Returns:
    ModelPath.

  Raises:
    OSError: the path's file system cannot be read.
    ValueError: there is no model, more than one, or one that is not supported.
  """
  given = "%s=%s" % (flag, path)
  if _URL.match(path):
    raise ValueError(
        "%s is a web address. Download the model, and pass its path." % given)
  path = _FILE_SUFFIX.sub("", path)
  if os.path.basename(path) == _STATE_FILE and not tf.io.gfile.isdir(path):
    path = os.path.dirname(path) or "."
  if file_io.exists(path + ".index"):
    return _at_checkpoint(path)
  if not file_io.exists(path):
    raise ValueError(_describe_missing(path, given))
  if tf.io.gfile.isdir(path):
    return _in_directory(path, given)
  found = foreign_models.of_file(os.path.basename(path))
  if found:
    raise ValueError("%s is %s. %s" % (given, found[1], found[2]))
  return _at_checkpoint(path)  # One file, TensorFlow's first format.


def _at_checkpoint(path):
  """Returns the ModelPath of a checkpoint's path prefix."""
  directory = os.path.dirname(path)
  configs = [os.path.join(directory, name)
             for name in (CONFIG_FILE, hugging_face.CONFIG_FILE)]
  return ModelPath(path, next(filter(file_io.exists, configs), None),
                   hugging_face.find_vocab_file(directory), False)


def _in_directory(path, given):
  """Returns the ModelPath of a directory; ValueError if it has no model."""
  names = file_io.names(path)
  if not _is_hugging_face(names):
    latest = _find_checkpoint(path, names, given)
    if latest:
      return _at_checkpoint(latest)
    if hugging_face.CONFIG_FILE not in names:
      _check_not_foreign(names, given)
    below = _find_models_below(path)
    if below:
      raise ValueError(
          "%s holds no model itself, but directories with models: pass %s." %
          (given, list_names(below, separator=" or ")))
    if hugging_face.CONFIG_FILE not in names:
      raise ValueError(_describe_expected(given))
  # If weights are missing, reading it says so.
  return ModelPath(path, hugging_face.config_file(path),
                   hugging_face.find_vocab_file(path), True)


def _check_not_foreign(names, given):
  """Raises ValueError for a model of transformers without its config, and for
  one of another kind, by the names of its files."""
  weights = list(filter(hugging_face.is_weight_file, names))
  if weights:
    raise ValueError(
        "%s has %s, but no %s. Copy the model's %s to it." % (
            given, weights[0], hugging_face.CONFIG_FILE,
            hugging_face.CONFIG_FILE))
  found = foreign_models.of_directory(names)
  if found:
    raise ValueError("%s holds %s, %s. %s" % ((given,) + found))


def _is_hugging_face(names):
  """Tells by the names of its files whether a directory is a whole model of
  transformers."""
  return hugging_face.CONFIG_FILE in names and any(
      map(hugging_face.is_weight_file, names))


def _checkpoints(names):
  """Returns the names of the checkpoints among the names of files."""
  return [name[:-len(".index")] for name in names if name.endswith(".index")]


def _find_checkpoint(directory, names, given):
  """Returns the path prefix of a directory's checkpoint; None without one.

  Raises:
    ValueError: there are several, and no state file says which is the latest.
  """
  found = _checkpoints(names)
  state = tf.train.get_checkpoint_state(directory)
  if state:
    # The state file may name the place that the directory was moved from.
    latest = os.path.basename(state.model_checkpoint_path)
    if latest in found or latest in names:
      return os.path.join(directory, latest)
  if len(found) > 1:
    raise ValueError(
        "%s holds several checkpoints: %s. Pass the path of one, e.g. %s." %
        (given, list_names(found), os.path.join(directory, found[0])))
  return os.path.join(directory, found[0]) if found else None


def _find_models_below(directory, depth=1):
  """Returns the paths of the directories with models in a directory."""
  found = []
  for name in file_io.names(directory)[:_MAX_ENTRIES]:
    path = os.path.join(directory, name)
    names = []
    if tf.io.gfile.isdir(path):
      with contextlib.suppress(OSError):  # No permission to read it.
        names = file_io.names(path)
    if not names:
      continue
    if _is_hugging_face(names) or _checkpoints(names):
      found.append(path)
    elif depth < _MAX_DEPTH:
      found += _find_models_below(path, depth + 1)
  return found


def _describe_missing(path, given):
  """Returns a message about a path that does not exist."""
  if _HUB_NAME.match(path) and "ckpt" not in path:
    return (
        "There is no model at %s: there is no such file or directory. If it "
        "is the name of a model on the Hugging Face Hub, download it (hf "
        "download %s --local-dir %s), and pass that directory." %
        (given, path, path.rpartition("/")[2]))
  directory, name = os.path.split(path)
  if file_io.exists(directory) and not tf.io.gfile.isdir(directory):
    return ("There is no model at %s: %s is a file, not a directory." %
            (given, directory))
  names = file_io.names(directory or ".")
  if any(other.startswith(name + ".data-") for other in names):
    return ("There is no model at %s: of the checkpoint's files, %s.index is "
            "missing. Copy it, too." % (given, name))
  others = _checkpoints(names)
  if others:
    return ("There is no model at %s. %s holds the checkpoints %s." %
            (given, directory or "The current directory", list_names(others)))
  return _describe_expected(given)


def _describe_expected(given):
  return (
      "There is no model at %s: it is not a checkpoint's path (such as "
      "bert_model.ckpt, without .index or .data-...), a directory with a "
      "checkpoint, or a Hugging Face directory (with a %s)." %
      (given, hugging_face.CONFIG_FILE))
