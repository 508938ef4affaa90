"""The evaluations of a run: which are due, their table, the best checkpoint.

The table `evaluations.jsonl` has a row, a JSON object, for each evaluation of a
text at a step. It is all that a resumed run knows of earlier evaluations.
"""

import logging
import math
import os
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from bert_e2e.checkpoints import checkpoint_list
from bert_e2e.common import errors, file_io, json_files
from bert_e2e.common.digests import digest_of_json
from bert_e2e.training import metrics

logger = logging.getLogger(__name__)

TABLE_FILE = "evaluations.jsonl"
BEST_DIR = "best"
# The kinds of text: held-out text of the kind that is trained on, text of
# another kind, or, if none of the former is held out, the training text, which
# is evaluated after the training only.
DOMAIN, GENERAL, TRAINING = "domain", "general", "training"
# The texts of a probe, which are labelled.
PROBE = "probe"


def main_metric(text):
  """Returns the metrics.Metric by which checkpoints are compared on a text."""
  return metrics.BY_NAME["probe_accuracy" if text == PROBE else
                         "masked_lm_loss"]


class EvaluationSet(NamedTuple):
  """A text to evaluate on.

  Attributes:
    text: one of DOMAIN, GENERAL, TRAINING, PROBE.
    identity: str, identifies the text and all options that decide its examples;
      see `identify`. Only evaluations with the same identity can be compared.
    evaluate: function of the path prefix of a checkpoint, or None for the
      estimator's default, and an optional `name`, see Evaluator.evaluate.
      Returns a dict of metrics, with "examples" and "global_step", or None if a
      signal stopped the evaluation.
  """
  text: str
  identity: str
  evaluate: Callable[..., Optional[Dict[str, Any]]]


def identify(*details):
  """Returns a short hash (str) of all that an evaluation's metrics depend on.

  Args:
    *details: values that JSON can represent.
  """
  return digest_of_json(details)


def load(output_dir):
  """Reads the table of a directory.

  Args:
    output_dir: str, local or with a scheme.

  Returns:
    list of dict, without the rows that a later row replaces.

  Raises:
    OSError: the table cannot be read.
  """
  rows = json_files.read_lines(os.path.join(output_dir, TABLE_FILE))
  return _latest(row for row in rows if {"step", "text", "set"} <= set(row))


class Evaluations:
  """The evaluations of a run.

  Args:
    output_dir: str.
    sets: list of EvaluationSet, in the order in which they are evaluated.
    every_steps: int, steps between two evaluations during training; 0 for
      evaluations before and after training only.
    last_step: int, the last step of the training, which is evaluated after it.
    keep_best: bool, copy the best checkpoint to BEST_DIR.
    patience: int, number of consecutive evaluations without a better one that
      end the training; 0 to never end it.
    is_before: bool, evaluate what the run starts from.
    decisive: the text whose main metric decides which checkpoint is the best;
      None for that of the first set but for TRAINING.
    num_head_steps: int, the first steps, in which the encoder does not change.
  """

  def __init__(self, output_dir, sets, *, every_steps=0, last_step=0,
               keep_best=False, patience=0, is_before=False, decisive=None,
               num_head_steps=0):
    self._output_dir = output_dir
    self._sets = sets
    self._held_out = [item for item in sets if item.text != TRAINING]
    self._decisive = decisive or (
        self._held_out[0].text if self._held_out else None)
    self._every_steps = every_steps
    self._last_step = last_step
    self._keep_best = keep_best
    self._patience = patience
    self._is_before = is_before
    self._num_head_steps = num_head_steps
    self._first_step = 0
    self._rows = load(output_dir)

  @property
  def sets(self):
    """list of EvaluationSet."""
    return self._sets

  @property
  def _path(self):
    return os.path.join(self._output_dir, TABLE_FILE)

  def start(self, step):
    """Removes the rows of steps after the one that a run resumes from; has
    BEST_DIR hold the best checkpoint of the others.

    Args:
      step: int; None if the run starts from the beginning.
    """
    self._first_step = step or 0
    self._rows = [] if step is None else [
        row for row in self._rows if row["step"] <= step]
    if file_io.exists(self._path):
      json_files.write_lines(self._path, self._rows)
    if self._keep_best and self.best():
      self._restore_best(self.best()["step"])

  def is_due(self, step):
    """Tells whether a checkpoint is to be evaluated during training."""
    if step >= self._last_step or not self._held_out:
      return False
    if self._every_steps and step % self._every_steps == 0:
      return True
    # What the run starts from: also if earlier parts of it had no evaluations.
    return self._is_before and step == self._first_step and (step == 0 or bool(
        self._every_steps and not self.rows(self._decisive)))

  def is_missed(self, step):
    """Tells whether a signal may have ended the evaluation of an earlier
    checkpoint: it is due, and not before the last one that was recorded."""
    rows = self.rows(self._held_out[0].text) if self._held_out else []
    return bool(rows) and step >= rows[-1]["step"] and self.is_due(step)

  def is_awaited(self, step):
    """Tells whether another process, the chief, has not yet recorded the
    evaluation of a checkpoint that is due; reads the table again."""
    if not self.is_due(step):
      return False
    self._rows = load(self._output_dir)
    return not all(self._has_row(item.text, step) for item in self._held_out)

  def targets(self):
    """Yields the steps at which a training that cannot evaluate meanwhile has
    to stop for an evaluation, the last step included."""
    if self._every_steps:
      yield from range(self._every_steps, self._last_step, self._every_steps)
    yield self._last_step

  def rows(self, text):
    """Returns the comparable rows of a text, sorted by step."""
    identity = next(
        (item.identity for item in self._sets if item.text == text), None)
    return sorted((row for row in self._rows
                   if row["text"] == text and row["set"] == identity),
                  key=lambda row: row["step"])

  def best(self):
    """Returns the row of the best checkpoint, or None."""
    # Of rows that are as good as each other the first one, as the checkpoint
    # of a later one is not copied.
    return max((row for row in self.rows(self._decisive) if not _is_nan(row)),
               key=_goodness, default=None)

  def is_exhausted(self):
    """Tells whether the last `patience` evaluations were all no better.

    Evaluations in the head steps don't count if a probe decides: it sees the
    encoder only.
    """
    if not self._patience:
      return False
    best = self.best()
    frozen = self._num_head_steps if self._decisive == PROBE else 0
    since = [row for row in self.rows(self._decisive)
             if (best is None or row["step"] > best["step"]) and
             not 0 < row["step"] <= frozen]
    return len(since) >= self._patience

  def run(self, step, checkpoint, anew=False, is_last=False):
    """Evaluates a checkpoint on each text for which it has no row yet.

    Args:
      step: int, the global step of the checkpoint; None if the estimator
        chooses the checkpoint.
      checkpoint: str, path prefix, or None.
      anew: bool, evaluate even if there is a row, and replace it.
      is_last: bool, the training has ended: evaluate on TRAINING, too.

    Returns:
      bool, True if the training should end.
    """
    for item in self._sets if is_last else self._held_out:
      if not anew and self._has_row(item.text, step):
        continue
      started = time.time()
      values = item.evaluate(checkpoint)
      if values is None:
        return False
      self._add(dict(
          values, step=int(values["global_step"]), text=item.text,
          set=item.identity, seconds=round(time.time() - started, 3),
          time=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime())),
                checkpoint)
    if not self.is_exhausted():
      return False
    if is_last:
      return True
    best = self.best()
    logger.info(
        "no improvement in %d consecutive evaluations: training ends%s",
        self._patience,
        "; the best is at step %d" % best["step"] if best else "")
    return True

  def _add(self, row, checkpoint):
    """Records a row; first copies its checkpoint if that is the best.

    In this order, because a kill in between must not lose the best checkpoint.

    Args:
      row: dict.
      checkpoint: str, path prefix, or None.
    """
    earlier = self.rows(row["text"])
    if self._keep_best and checkpoint and self._is_best(row):
      checkpoint_list.copy(
          checkpoint, os.path.join(self._output_dir, BEST_DIR))
    try:
      json_files.append_line(self._path, row)
    except OSError as e:
      raise errors.InputError(
          "The evaluation of step %d cannot be recorded: %s. The same command "
          "evaluates it again." % (row["step"], e)) from e
    self._rows = _latest(self._rows + [row])
    _log_row(row, earlier[0] if earlier else row)

  def _restore_best(self, step):
    """Copies the checkpoint of a step to BEST_DIR if it is not there, because
    another one was the best by what decided before, or none was kept."""
    directory = os.path.join(self._output_dir, BEST_DIR)
    kept = [checkpoint_list.step_of(name)
            for name in checkpoint_list.load_state(directory).names()]
    if step in kept:
      return
    path = os.path.join(self._output_dir, checkpoint_list.name_of(step))
    if file_io.exists(path + ".index"):
      checkpoint_list.copy(path, directory)
    # A kill may have come between the copy and its row, which is added now.
    elif self._first_step not in kept or self._has_row(
        self._decisive, self._first_step):
      logger.warning(
          "the best checkpoint, of step %d, is no longer in %s, so %s until "
          "there is a better one", step, self._output_dir,
          "%s keeps that of step %d" % (directory, kept[0]) if kept else
          "%s stays empty" % directory)

  def _has_row(self, text, step):
    """Tells whether a text was evaluated at a step."""
    return any(row["step"] == step for row in self.rows(text))

  def _is_best(self, row):
    """Tells whether a new row is better than all others of its text."""
    if row["text"] != self._decisive or _is_nan(row):
      return False
    best = self.best()
    return best is None or _goodness(row) > _goodness(best)


def _goodness(row):
  """Returns the main metric of a row, or its negative: the higher the better.
  """
  metric = main_metric(row["text"])
  return row[metric.name] if metric.higher_is_better else -row[metric.name]


def _is_nan(row):
  return math.isnan(_goodness(row))


def _latest(rows):
  """Returns rows without those that a later one (same text and step) replaces.
  """
  found: Dict[Any, Dict[str, Any]] = {
      (row["text"], row["set"], row["step"]): row for row in rows}
  return list(found.values())


def _log_row(row, first):
  """Logs a row, and how its main metric changed since the text's first row."""
  main = main_metric(row["text"])
  words: List[str] = []
  for metric in metrics.METRICS:
    if metric.in_evaluation_line and metric.name in row:
      word = "%s %.4f" % (metric.name, row[metric.name])
      if metric is main and first["step"] < row["step"]:
        word += " (%+.4f since step %d)" % (
            row[main.name] - first[main.name], first["step"])
      words.append(word)
  logger.info("evaluation at step %d, %s text: %s  %d examples in %.1f s",
              row["step"], row["text"], "  ".join(words), row["examples"],
              row["seconds"])
