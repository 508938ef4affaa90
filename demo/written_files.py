"""What a training has left on disk that it should not have written."""

import fnmatch
import os
import struct

from bert_e2e import output_files

# TMPDIR during training, within the output directory, and the files that may
# appear there: Python code that TensorFlow's AutoGraph generates.
TEMPORARY = "tmp"
GENERATED_CODE = ("tmp*.py", "__autograph_generated_file*.py")


def holds_examples(path):
  """Returns True if a file is a TFRecord file of tf.Examples.

  A record consists of its length (8 bytes), a checksum (4), the data, and
  another checksum (4). TensorFlow's event files have the same framing, but the
  first byte of an event is 0x09, and that of a tf.Example 0x0a.

  Args:
    path: str.
  """
  size = os.path.getsize(path)
  with open(path, "rb") as f:
    position = 0
    while position < size:
      header = f.read(13)
      if len(header) < 13 or header[12:] != b"\n":
        return False
      position += 16 + struct.unpack("<Q", header[:8])[0]
      if position > size:
        return False
      f.seek(position)
  return size > 0


def kind_of(name):
  """Returns the kind of a file that training may write, else None.

  Args:
    name: str, path relative to the output directory.

  Returns:
    str, see output_files.kind_of; "generated code" for what is in TMPDIR.
  """
  if os.path.dirname(name) == TEMPORARY and any(
      fnmatch.fnmatch(os.path.basename(name), pattern)
      for pattern in GENERATED_CODE):
    return "generated code"
  return output_files.kind_of(name)


def is_expected(directory, path):
  """Returns True if training may write a file.

  Args:
    directory: str, the output directory.
    path: str, a file in it.
  """
  if kind_of(os.path.relpath(path, directory)):
    return not holds_examples(path)
  # Python's tempfile module tests whether it can write to a directory with a
  # file that contains b"blat", which it removes immediately.
  with open(path, "rb") as f:
    return f.read(5) == b"blat"


def intermediate_files(directory):
  """Finds the files that training should not have written.

  Those are all files with unexpected names, and all that hold examples.

  Args:
    directory: str, an output directory; searched recursively.

  Returns:
    dict from path to size in bytes.
  """
  found = {}
  for parent, _, names in os.walk(directory):
    for name in names:
      path = os.path.join(parent, name)
      try:
        if not is_expected(directory, path):
          found[path] = os.path.getsize(path)
      except FileNotFoundError:
        pass  # Removed since it was listed: training is running.
  return found
