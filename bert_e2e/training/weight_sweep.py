"""Evaluates averages of what a training started from and what it ended with.

The table `weight_sweep.jsonl` has a row, a JSON object, for each weight and
text. The losses of the domain text and of the general one, side by side, show
which weight keeps most of the gain at the least harm.
"""

import contextlib
import logging
import os
from typing import Any, Dict, List, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from bert_e2e.checkpoints import (
  averaging,
  checkpoint_list,
  conversion,
  tf_weights,
)
from bert_e2e.common import errors, file_io, json_files, tensorflow_errors
from bert_e2e.training import metrics, objectives

logger = logging.getLogger(__name__)

TABLE_FILE = "weight_sweep.jsonl"
# Holds the average that is evaluated, in the output directory: a TPU reads it.
DIRECTORY = "weight_sweep"
# The metrics that are printed, of each text that has them: those of the line of
# an evaluation, without the head of a sentence objective.
_PRINTED = [
    metric.name for metric in metrics.METRICS if metric.in_evaluation_line and
    metric.head not in {
        row.head for row in objectives.SENTENCE_OBJECTIVES.values()}]


def run(output_dir, weights, start, checkpoint, bert_config, sets,
        extend_positions=False):
  """Evaluates averages; logs the table and writes it to TABLE_FILE.

  Args:
    output_dir: str, of the training.
    weights: list of float, those of the trained model.
    start, checkpoint, bert_config, extend_positions: see averaging.between.
    sets: list of evaluation.EvaluationSet.

  Returns:
    list of dict, the rows of the table: the metrics of each evaluation, with
    "weight", "step", "text", "set", "checkpoint" and "init_checkpoint".

  Raises:
    errors.InputError: a file cannot be read or written.
    errors.Interrupted: a signal ended an evaluation.
  """
  directory = os.path.join(output_dir, DIRECTORY)
  rows = []
  try:
    with _input_errors():
      average = averaging.between(
          start, checkpoint, bert_config, extend_positions)
      step = int(tf_weights.open_checkpoint(checkpoint).get_tensor(
          "global_step"))
    for weight in sorted(set(weights)):
      with _input_errors():
        path = _write(directory, average(weight).variables, step)
      rows += [
          dict(values, weight=weight, step=step, text=item.text,
               set=item.identity, checkpoint=checkpoint, init_checkpoint=start)
          for item, values in _evaluate(path, sets, "weight_%g" % weight)]
    with _input_errors():
      json_files.write_lines(os.path.join(output_dir, TABLE_FILE), rows)
  finally:
    clear(output_dir)
  logger.info("averages of %s (weight 0) and %s (weight 1):\n%s", start,
              checkpoint, to_text(rows))
  return rows


def clear(output_dir):
  """Removes the average that a sweep has evaluated, or was killed at."""
  directory = os.path.join(output_dir, DIRECTORY)
  if file_io.exists(directory):
    tf.io.gfile.rmtree(directory)


@contextlib.contextmanager
def _input_errors():
  """Raises InputError if an average cannot be read or written."""
  try:
    yield
  except checkpoint_list.ERRORS as e:
    raise errors.InputError(
        "The averages of --sweep_weights cannot be evaluated: %s. Run the same "
        "command to try again." % tensorflow_errors.reason(e)) from e


def _write(directory, variables, step):
  """Writes a checkpoint that replaces the previous one; returns its path."""
  tf.io.gfile.makedirs(directory)
  path = os.path.join(directory, checkpoint_list.name_of(step))
  conversion.write_checkpoint(
      path, dict(variables, global_step=np.int64(step)))
  return path


def _evaluate(checkpoint, sets, name):
  """Yields (EvaluationSet, metrics) of a checkpoint on each text."""
  for item in sets:
    values = item.evaluate(checkpoint, name=name)
    if values is None:
      raise errors.Interrupted
    yield item, values


def to_text(rows):
  """Returns the rows as a table: a line for each weight, and columns for the
  metrics of each text.

  >>> print(to_text([{"weight": w, "text": text, "masked_lm_loss": w}
  ...                for w in (0.0, 0.5) for text in ("domain", "general")]))
  weight  domain masked_lm_loss  general masked_lm_loss
       0                 0.0000                  0.0000
     0.5                 0.5000                  0.5000
  """
  cells: Dict[Tuple[Any, str], str] = {}
  columns: List[str] = []
  for row in rows:
    for name in _PRINTED:
      if name in row:
        column = "%s %s" % (row["text"], name)
        cells[row["weight"], column] = "%.4f" % row[name]
        if column not in columns:
          columns.append(column)
  lines = ["  ".join(["weight", *columns])]
  for weight in sorted({row["weight"] for row in rows}):
    lines.append("  ".join(["%6.4g" % weight] + [
        cells.get((weight, column), "").rjust(len(column))
        for column in columns]))
  return "\n".join(lines)
