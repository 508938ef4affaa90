"""What a folder says of how it came about: `runs.jsonl`, a line for each start.

A line is a JSON object: when, from which step, with which flags, on which
versions and which text.
"""

import json
import os
import platform
import time

import numpy as np
import tensorflow.compat.v1 as tf

from bert_e2e.common import file_io

RUNS_FILE = "runs.jsonl"


def versions():
  """Returns a dict from the name of what runs to its version."""
  return {"python": platform.python_version(), "tensorflow": tf.__version__,
          "numpy": np.__version__, "platform": platform.platform()}


def append(output_dir, *, step, flags, corpus):
  """Notes a start.

  Args:
    output_dir: str.
    step: int, the global step that it goes on from.
    flags: dict from the name of each flag that was passed to its value.
    corpus: dict with "files", "bytes" and "fingerprint" of the text to train
      on; None where there is none.

  Raises:
    OSError: it can't be written.
  """
  line = json.dumps({
      "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime()),
      "step": int(step), "flags": flags, "versions": versions(),
      "corpus": corpus}, sort_keys=True)
  path = os.path.join(output_dir, RUNS_FILE)
  before = b""
  if file_io.exists(path):
    with file_io.open_binary(path) as stream:
      before = stream.read()
  # A kill may have cut the last one off.
  separator = "\n" if before and not before.endswith(b"\n") else ""
  file_io.append(path, (separator + line + "\n").encode("utf-8"))
