"""Reads what a run left in its output directory, for the report.

Reads TensorFlow's event files, `evaluations.jsonl`, `preflight.json` and
`runs.jsonl`. Any of them may be missing.
"""

import math
import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

from bert_e2e.common import file_io, json_files
from bert_e2e.data import preflight as preflight_lib
from bert_e2e.data import preflight_text
from bert_e2e.reporting import run_record
from bert_e2e.training import evaluation, metrics

EVALUATIONS_FILE = evaluation.TABLE_FILE
RUNS_FILE = run_record.RUNS_FILE
PREFLIGHT_FILE = preflight_lib.FILE
# The held-out texts that are evaluated on, and with a probe's labelled ones.
TEXTS = (evaluation.DOMAIN, evaluation.GENERAL)
SETS = (*TEXTS, evaluation.PROBE)

_EVENTS = "events.out.tfevents."
# Larger numbers are treated as infinite, so that axes can be computed.
_HUGE = 1e300


def is_finite(value):
  """Tells numbers that can be shown from NaN, infinities and huge numbers.

  Args:
    value: int or float.

  Returns:
    bool.
  """
  return abs(value) < _HUGE


def is_count(value):
  """Tells whether a JSON value is a number of steps, bytes or the like."""
  return (isinstance(value, int) and not isinstance(value, bool)
          and 0 <= value < 1 << 63)


class Evaluation(NamedTuple):
  """An evaluation on a held-out text.

  Attributes:
    step: int, the training step.
    examples: int, the number of examples; None if unknown.
    values: dict from the name of a metric to its value, a float; NaN for what
      is not a finite number.
  """
  step: int
  examples: Optional[int]
  values: Dict[str, float]


class RunData(NamedTuple):
  """The data of a report.

  Attributes:
    name: str, the name of the run: its directory's.
    training: dict from the name of a training metric to its
      [(step, value), ...], steps rising.
    evaluations: dict from a name in SETS to [Evaluation, ...], by step.
    starts: list of dict, one for each start of the program; see run_record.
    preflight: preflight.Preflight, or None.
  """
  name: str
  training: Dict[str, List[Tuple[int, float]]]
  evaluations: Dict[str, List[Evaluation]]
  starts: List[Dict[str, Any]]
  preflight: Optional[preflight_lib.Preflight]


def _events(path):
  """Yields the complete events of a file.

  Raises:
    OSError: the file cannot be read.
  """
  try:
    yield from tf.train.summary_iterator(path)
  except tf.errors.DataLossError:
    return  # The writer was killed while it wrote the last event.
  except tf.errors.OpError as e:
    raise OSError("%s: %s" % (path, e.message)) from e


def read_training(output_dir):
  """Reads the training metrics from a run's event files.

  If a run was killed and resumed from a checkpoint, values between that
  checkpoint and the kill are left out: these steps were trained again.

  Args:
    output_dir: directory, local or with a scheme. Subdirectories are not read.

  Returns:
    dict from NAME to [(step, value), ...], steps rising, of the scalars
    "training/NAME".

  Raises:
    OSError: a file cannot be read.
  """
  files = []
  for name in file_io.names(output_dir):
    if name.startswith(_EVENTS):
      path = os.path.join(output_dir, name)
      first = next(_events(path), None)
      if first is not None:
        files.append((first.wall_time, path))
  found: Dict[str, List[Tuple[int, float]]] = {}
  for _, path in sorted(files):
    for event in _events(path):
      for value in event.summary.value:
        if value.tag.startswith(metrics.TRAINING_TAG) and value.HasField(
            "simple_value"):
          name = value.tag[len(metrics.TRAINING_TAG):]
          points = found.setdefault(name, [])
          while points and points[-1][0] >= event.step:
            points.pop()
          points.append((event.step, value.simple_value))
  return found


def _to_float(value):
  """Returns a JSON value as a float; NaN if it is not a finite number."""
  if isinstance(value, (int, float)) and is_finite(value):
    return float(value)
  return math.nan


def _evaluation(row):
  """Returns a row of evaluations.jsonl as an Evaluation."""
  examples = row.get("examples")
  return Evaluation(
      row["step"], examples if is_count(examples) else None,
      {metric.name: _to_float(row[metric.name])
       for metric in metrics.METRICS if metric.name in row})


def select_evaluations(rows):
  """Selects the evaluations that can be compared.

  Args:
    rows: list of dict, as in evaluations.jsonl, the latest last.

  Returns:
    dict from the name of each text that was evaluated on to its
    [Evaluation, ...] by step. Only rows of the text's latest set of examples
    are selected, and of each step the latest row.
  """
  found = {}
  for text in SETS:
    of_text = [row for row in rows if row.get("text") == text
               and is_count(row.get("step"))]
    if of_text:
      newest = of_text[-1].get("set")
      by_step = {row["step"]: _evaluation(row) for row in of_text
                 if row.get("set") == newest}
      found[text] = [by_step[step] for step in sorted(by_step)]
  return found


def _read_preflight(path):
  """Returns the Preflight of a file; None if it is missing, damaged or of
  another version of this program."""
  if not file_io.exists(path):
    return None
  try:
    return preflight_text.from_dict(json_files.read_object(path))
  except ValueError:
    return None


def read(output_dir):
  """Reads what a run left in its output directory.

  Args:
    output_dir: directory, local or with a scheme.

  Returns:
    RunData.

  Raises:
    OSError: a file cannot be read.
  """
  path = output_dir
  if file_io.is_local(path):
    path = os.path.abspath(path)
  return RunData(
      name=os.path.basename(path.rstrip("/")) or output_dir,
      training=read_training(output_dir),
      evaluations=select_evaluations(json_files.read_lines(
          os.path.join(output_dir, EVALUATIONS_FILE))),
      starts=json_files.read_lines(os.path.join(output_dir, RUNS_FILE)),
      preflight=_read_preflight(os.path.join(output_dir, PREFLIGHT_FILE)))
