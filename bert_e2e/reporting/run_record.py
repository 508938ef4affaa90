"""The log of program starts in an output directory: `runs.jsonl`.

Each line is a JSON object: the time, the step it started from, the flags, the
versions of the software and the training text.
"""

import os
import platform
import time

import numpy as np
import tensorflow.compat.v1 as tf

from bert_e2e.common import json_files

RUNS_FILE = "runs.jsonl"


def versions():
  """Returns a dict from the name of each piece of software to its version."""
  return {"python": platform.python_version(), "tensorflow": tf.__version__,
          "numpy": np.__version__, "platform": platform.platform()}


def append(output_dir, *, step, flags, corpus):
  """Records a start of the program.

  Args:
    output_dir: str, directory, local or with a scheme.
    step: int, the global step that it starts or resumes from.
    flags: dict from the name of each flag that was passed to its value.
    corpus: dict with "files", "bytes" and "fingerprint" of the training text;
      None without training text.

  Raises:
    OSError: the file cannot be written.
  """
  json_files.append_line(os.path.join(output_dir, RUNS_FILE), {
      "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime()),
      "step": int(step), "flags": flags, "versions": versions(),
      "corpus": corpus})
