"""The files that a run writes to its output directory, by kind.

The module that writes a file owns its name; this is the list of all of them. A
run does not take them as input, and tests, the demo and benchmarks check that
nothing else is left on disk: a run writes no training examples.
"""

import fnmatch
import os

from bert_e2e.checkpoints import checkpoint_list
from bert_e2e.common import file_io, logs
from bert_e2e.data import preflight, resume
from bert_e2e.reporting import report, run_record
from bert_e2e.training import (
  evaluation,
  heads_first,
  run_lock,
  training_plan,
  weight_sweep,
)

EVAL_RESULTS_FILE = "eval_results.txt"


def _variants(name):
  """Returns patterns for a file of which each worker writes its own.

  >>> _variants("train.log")
  ('train.log', 'train.*.log')
  """
  root, extension = os.path.splitext(name)
  return name, root + ".*" + extension


# Patterns of file names. Also matched are NAME.tmp*, under which a file is
# written before it is renamed, and the contents of a directory of that name:
# TensorFlow writes a checkpoint's parts to model.ckpt-N_temp_* first.
_KINDS = {
    "checkpoints": (checkpoint_list.STATE_FILE, "model.ckpt-*"),
    "events and graph": ("events.out.tfevents.*", checkpoint_list.GRAPH_FILE),
    "logs": _variants(logs.LOG_FILE),
    "stream records": (resume.STREAM_FILE, training_plan.PLAN_FILE,
                       heads_first.PLAN_FILE) + _variants(resume.WINDOWS_FILE),
    "results": (EVAL_RESULTS_FILE, evaluation.TABLE_FILE,
                weight_sweep.TABLE_FILE, run_record.RUNS_FILE, preflight.FILE,
                report.REPORT_FILE),
    "lock": (run_lock.LOCK_FILE,),
}


def kind_of(path):
  """Returns the kind of a file in an output directory.

  Args:
    path: str, relative to the output directory.

  Returns:
    str, e.g. "checkpoints"; None if a run does not write such a file.

  >>> kind_of("best/model.ckpt-10.index"), kind_of("examples.tfrecord")
  ('checkpoints', None)
  """
  for kind, patterns in _KINDS.items():
    for pattern in patterns:
      for name in path.split(os.sep):
        if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(
            name, pattern + ".tmp*"):
          return kind
  return None


def is_output(path, output_dir, export_dirs=()):
  """Tells whether a run writes a file.

  Args:
    path: str.
    output_dir: str, of the run, or None.
    export_dirs: paths of the directories that it exports to; all files in them
      count.

  Returns:
    bool. Another file in `output_dir`, such as text, does not count.
  """
  within = _relative(path, output_dir) if output_dir else None
  if within is not None and kind_of(within):
    return True
  return any(_relative(path, directory) is not None
             for directory in export_dirs)


def _relative(path, directory):
  """Returns a path relative to a directory that it is in, else None."""
  if file_io.is_local(path) != file_io.is_local(directory):
    return None
  if file_io.is_local(path):
    path, directory = os.path.realpath(path), os.path.realpath(directory)
  start = os.path.join(directory, "")
  return path[len(start):] if path.startswith(start) else None
