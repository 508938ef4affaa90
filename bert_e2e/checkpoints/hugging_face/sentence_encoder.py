"""The files that make a Hugging Face directory a sentence encoder.

A directory of the package sentence-transformers has a `modules.json`, which
lists the modules that turn the encoder's vectors into one: a folder for each,
such as `1_Pooling`. They do not depend on the encoder's weights, so an export
keeps them, and that package loads it.
"""

import contextlib
import json
import os
import re

import tensorflow.compat.v1 as tf

from bert_e2e.common import file_io

MODULES_FILE = "modules.json"
_POOLING_FOLDER = re.compile(r"\d+_Pooling")
# Beside the modules, and beside the encoder's weights.
_ROOT_FILES = ("config_sentence_transformers.json",)
_ENCODER_FILES = ("sentence_bert_config.json",)
_FOLDER = re.compile(r"[\w-][\w.-]*")


def read(directory):
  """Reads what makes a directory a sentence encoder.

  Args:
    directory: str, a Hugging Face directory: the whole sentence encoder, or
      the folder of its encoder, such as 0_Transformer, in it.

  Returns:
    dict from the path of a file in an exported directory to its content, bytes;
    {} if the directory is not a sentence encoder.

  Raises:
    OSError: a file cannot be read.
    ValueError: modules.json is damaged.
  """
  root, encoder = directory, ""
  modules = _read_modules(root)
  if not modules:
    root, encoder = os.path.split(directory.rstrip("/"))
    # A file above the directory may be of anything else.
    with contextlib.suppress(ValueError):
      modules = _read_modules(root)
  paths = [module["path"] for module in modules]
  if encoder not in paths:
    return {}
  for module in modules:
    if module["path"] == encoder:
      module["path"] = ""  # The export has the encoder beside modules.json.
  files = {MODULES_FILE: json.dumps(modules, indent=2).encode("utf-8")}
  for folder, names in ((root, _ROOT_FILES), (directory, _ENCODER_FILES)):
    files.update((name, _read(os.path.join(folder, name))) for name in names
                 if file_io.exists(os.path.join(folder, name)))
  for path in paths:
    if path not in ("", encoder):
      files.update(_read_folder(root, path))
  return files


def is_sentence_encoder(directory):
  """Tells whether a directory is a sentence encoder, or the folder of the
  encoder in one.

  Args:
    directory: str. Its modules.json may be damaged or, if there is a folder
      such as 1_Pooling, missing.

  Raises:
    OSError: the directory cannot be read.
  """
  names = file_io.names(directory)
  if MODULES_FILE in names or any(map(_POOLING_FOLDER.fullmatch, names)):
    return True
  root, name = os.path.split(directory.rstrip("/"))
  with contextlib.suppress(OSError, ValueError):  # A file of anything else.
    return any(module["path"] == name for module in _read_modules(root))
  return False


def names_in(directory):
  """Returns the names of the files and folders that make a directory a sentence
  encoder, a list; empty if it is not one.

  Raises:
    OSError, ValueError: see `read`.
  """
  modules = _read_modules(directory)
  if not modules:
    return []
  return [MODULES_FILE, *_ROOT_FILES, *_ENCODER_FILES,
          *(module["path"] for module in modules)]


def _read(path):
  with file_io.open_binary(path) as stream:
    return stream.read()


def _read_modules(root):
  """Returns the list of modules of a modules.json; [] if there is no file."""
  path = os.path.join(root, MODULES_FILE)
  if not file_io.exists(path):
    return []
  try:
    modules = json.loads(_read(path).decode("utf-8-sig"))
    is_valid = all(module["path"] == "" or _FOLDER.fullmatch(module["path"])
                   for module in modules)
  except (ValueError, TypeError, KeyError) as e:
    raise ValueError("%s is damaged (%s). Copy it again, or remove it." %
                     (path, e)) from e
  if not is_valid:
    raise ValueError("%s names a folder that is not beside it. Copy the "
                     "directory again, or remove that file." % path)
  return modules


def _read_folder(root, folder):
  """Returns {path from the root: content} of all files in a folder."""
  found = {}
  for where, _, names in tf.io.gfile.walk(os.path.join(root, folder)):
    for name in names:
      path = os.path.join(where, name)
      found[os.path.relpath(path, root)] = _read(path)
  return found
