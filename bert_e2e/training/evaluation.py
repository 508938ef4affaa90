"""Evaluations of a run: which are due, their table, the best one.

The table `evaluations.jsonl` has a row, a JSON object, for each evaluation of a
text at a step. It is all that a run that goes on needs to know of those before.
"""

import hashlib
import json
import logging
import os
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from bert_e2e.checkpoints import checkpoint_list
from bert_e2e.common import errors, file_io

logger = logging.getLogger(__name__)

TABLE_FILE = "evaluations.jsonl"
BEST_FOLDER = "best"
# What a text is to the run: held-out text of the kind that is trained on, text
# of another kind, or, where nothing is held out, the text that is trained on.
DOMAIN, GENERAL, TRAINING = "domain", "general", "training"
# By it the best checkpoint is found.
FIGURE = "masked_lm_loss"


class HeldOut(NamedTuple):
  """A text to evaluate on.

  Attributes:
    text: one of DOMAIN, GENERAL, TRAINING.
    identity: str, of the text and all options that decide its examples: see
      `identify`. Only evaluations of the same one can be compared.
    evaluate: function from a checkpoint's path prefix, or None for the
      estimator's own choice, to a dict of metrics with "examples"; to None
      where a signal ended it.
  """
  text: str
  identity: str
  evaluate: Callable[[Optional[str]], Optional[Dict[str, Any]]]


def identify(*what):
  """Returns a short hash of what an evaluation's figures hang on, a str."""
  text = json.dumps(what, sort_keys=True)
  return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def load(output_dir):
  """Returns the rows of a folder's table, a list of dicts.

  A line that a kill cut off is no row.
  """
  path = os.path.join(output_dir, TABLE_FILE)
  if not file_io.exists(path):
    return []
  with file_io.open_binary(path) as stream:
    lines = stream.read().decode("utf-8", "replace").splitlines()
  rows: List[Dict[str, Any]] = []
  for line in lines:
    try:
      row = json.loads(line)
    except ValueError:
      continue
    if isinstance(row, dict) and {"step", "text", "set"} <= set(row):
      rows.append(row)
  return _latest(rows)


class Evaluations:
  """The evaluations of one run.

  Args:
    output_dir: str.
    held_out: list of HeldOut; the first one's FIGURE decides on the best.
    every_steps: int, steps between two evaluations while it trains; 0 for
      those before and behind the training alone.
    last_step: int, the training's last step, which is evaluated behind it.
    keep_best: bool, whether the best checkpoint is kept in BEST_FOLDER.
    patience: int, evaluations in a row without a better one that end the
      training; 0 for no such end.
    is_before: bool, whether what the run starts from is evaluated, too.
  """

  def __init__(self, output_dir, held_out, *, every_steps=0, last_step=0,
               keep_best=False, patience=0, is_before=False):
    self._output_dir = output_dir
    self._held_out = held_out
    self._every_steps = every_steps
    self._last_step = last_step
    self._keep_best = keep_best
    self._patience = patience
    self._is_before = is_before
    self._first_step = 0
    self._rows = load(output_dir)

  def start(self, step):
    """Drops the rows of what is not there any more.

    Args:
      step: int, where the training goes on; None where it begins.
    """
    self._first_step = step or 0
    rows = [] if step is None else [
        row for row in self._rows if row["step"] <= step]
    path = os.path.join(self._output_dir, TABLE_FILE)
    if file_io.exists(path):  # Rewritten, as its last line may be cut off.
      file_io.write(path, "".join(map(_line, rows)).encode("utf-8"))
    self._rows = rows

  def is_due(self, step):
    """Tells whether a checkpoint of a step is evaluated while it trains."""
    if step >= self._last_step or not self._held_out:
      return False
    if self._every_steps and step % self._every_steps == 0:
      return True
    # The first of all, also where evaluations begin in the middle of a run.
    return self._is_before and step == self._first_step and (step == 0 or bool(
        self._every_steps and not self.rows(self._held_out[0].text)))

  def targets(self):
    """Yields the steps behind which a training that has to end for an
    evaluation does so, the last one included."""
    if self._every_steps:
      yield from range(self._every_steps, self._last_step, self._every_steps)
    yield self._last_step

  def rows(self, text):
    """Returns the rows of a text that can be compared, by their step."""
    identity = next(
        (item.identity for item in self._held_out if item.text == text), None)
    return sorted((row for row in self._rows
                   if row["text"] == text and row["set"] == identity),
                  key=lambda row: row["step"])

  def best(self):
    """Returns the row of the best checkpoint, or None."""
    rows = self.rows(self._held_out[0].text) if self._held_out else []
    # A loss that is not a number is no good one.
    rows = [row for row in rows if row[FIGURE] == row[FIGURE]]
    return min(rows, key=lambda row: row[FIGURE]) if rows else None

  def is_exhausted(self):
    """Tells whether the training only gets worse, as far as patience goes."""
    if not self._patience or not self._held_out:
      return False
    rows, best = self.rows(self._held_out[0].text), self.best()
    since = [row for row in rows if best is None or row["step"] > best["step"]]
    return len(since) >= self._patience

  def run(self, step, checkpoint, anew=False):
    """Evaluates a checkpoint on each text that its row is missing of.

    Args:
      step: int, its global step; None for what the estimator chooses, whose
        metrics then tell.
      checkpoint: str, path prefix, or None.
      anew: bool, whether a row that is there is no reason not to.

    Returns:
      bool, whether the training should end.
    """
    for item in self._held_out:
      if not anew and any(
          row["step"] == step for row in self.rows(item.text)):
        continue
      started = time.time()
      metrics = item.evaluate(checkpoint)
      if metrics is None:
        return False
      row = dict(
          metrics, step=int(metrics["global_step"]), text=item.text,
          set=item.identity, seconds=round(time.time() - started, 3),
          time=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime()))
      self._add(row, checkpoint if item is self._held_out[0] else None)
    if self.is_exhausted():
      best = self.best()
      logger.info(
          "%d evaluations without a better one: training ends%s",
          self._patience, best and "; the best is that of step %d" %
          best["step"] or "")
      return True
    return False

  def _add(self, row, checkpoint):
    """Keeps a row, and, should it be the best, its checkpoint (or None)."""
    before = self.rows(row["text"])
    best = self.best()
    if self._keep_best and checkpoint and row[FIGURE] == row[FIGURE] and (
        best is None or row[FIGURE] < best[FIGURE]):
      # First, as a kill may come between the two.
      checkpoint_list.copy(
          checkpoint, os.path.join(self._output_dir, BEST_FOLDER))
    try:
      file_io.append(os.path.join(self._output_dir, TABLE_FILE),
                     _line(row).encode("utf-8"))
    except OSError as e:
      raise errors.InputError(
          "The evaluation of step %d cannot be noted: %s. The same command "
          "evaluates it again." % (row["step"], e)) from e
    self._rows = _latest(self._rows + [row])
    since = ""
    if before and before[0]["step"] < row["step"]:
      since = " (%+.4f since step %d)" % (
          row[FIGURE] - before[0][FIGURE], before[0]["step"])
    logger.info(
        "evaluation at step %d, %s text: %s %.4f%s  masked_lm_accuracy %.4f  "
        "next_sentence_accuracy %.4f  %d examples in %.1f s", row["step"],
        row["text"], FIGURE, row[FIGURE], since, row["masked_lm_accuracy"],
        row["next_sentence_accuracy"], row["examples"], row["seconds"])


def _latest(rows):
  """Returns rows without those that a later one of the same takes the place of.
  """
  found = {(row["text"], row["set"], row["step"]): row for row in rows}
  return list(found.values())


def _line(row):
  return json.dumps(row, sort_keys=True) + "\n"
