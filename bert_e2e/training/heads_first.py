"""Heads first: in the first steps of a run only newly initialized weights move.

These are variables that the model to start from lacks, and rows of new entries
of its vocabulary. A Hugging Face directory often has no pretraining heads. The
gradients of newly initialized heads are large and arbitrary, and what they do
to a pretrained encoder in the first steps is not undone in a short training. So
the heads are trained first, on the features of the encoder as it is; the
encoder's own training follows, with its own schedule.

Source: Kumar et al. 2022, arXiv 2202.10054 (linear probing, then fine-tuning).

The plan is stored in `head_steps.json` at the first start of a run, so that a
resumed run keeps it.
"""

import logging
import os
from typing import Any, Callable, Dict, List, NamedTuple

from bert_e2e.checkpoints import new_rows
from bert_e2e.common import file_io, head_variables, json_files
from bert_e2e.config import AUTO
from bert_e2e.training import dropout

logger = logging.getLogger(__name__)

PLAN_FILE = "head_steps.json"
# What --num_head_steps=auto means where the transform before the masked-LM
# output, or a row of the vocabulary, is newly initialized.
_MAX_AUTO_STEPS = 100
_AUTO_FRACTION = 0.05


class HeadPlan(NamedTuple):
  """The contents of `head_steps.json`.

  Attributes:
    num_head_steps: int, the steps that only update `variables` and `rows`.
    variables: list of str, names of the newly initialized variables.
    rows: list of int, the rows of new_rows.VARIABLES that are newly
      initialized.
  """
  num_head_steps: int = 0
  variables: List[str] = []
  rows: List[int] = []

  def save(self, output_dir):
    """Writes the plan to a directory, local or remote.

    A plan without steps needs no file, but replaces that of an earlier start
    that ended before its first checkpoint.
    """
    path = os.path.join(output_dir, PLAN_FILE)
    if self.num_head_steps or file_io.exists(path):
      json_files.write_record(path, self)


class HeadPhase(NamedTuple):
  """What `model_fn` needs to know of a HeadPlan.

  Attributes:
    plan: HeadPlan.
    learning_rate: float, at the first step; it falls linearly to 0.
    is_active: function that tells whether the graph to build is that of the
      head steps.
  """
  plan: HeadPlan = HeadPlan()
  learning_rate: float = 1e-3
  is_active: Callable[[], bool] = lambda: False

  def config_of(self, bert_config):
    """Returns the BertConfig to build: without dropout in the head steps."""
    if not self.is_active():
      return bert_config
    return dropout.with_rates(bert_config, 0.0, 0.0)

  def is_trained(self, name):
    """Tells whether the variable of a name, or a part of it, is updated."""
    return (not self.is_active() or name in self.plan.variables or
            name in self.trained_rows())

  def trained_rows(self):
    """Returns which variables have only some rows updated: a dict from a name
    to a list of int."""
    if not (self.is_active() and self.plan.rows):
      return {}
    return {name: self.plan.rows for name in new_rows.VARIABLES
            if name not in self.plan.variables}

  def schedule(self, learning_rate, num_train_steps, num_warmup_steps, decay):
    """Returns the arguments of optimization.create_update, a dict.

    Args:
      learning_rate, num_train_steps, num_warmup_steps, decay: those of the
        run; the warm-up starts after the head steps.
    """
    num_head_steps = self.plan.num_head_steps
    if self.is_active():
      return dict(init_lr=self.learning_rate, num_train_steps=num_head_steps,
                  num_warmup_steps=0, decay="linear")
    found: Dict[str, Any] = dict(
        init_lr=learning_rate, num_train_steps=num_train_steps - num_head_steps,
        num_warmup_steps=num_warmup_steps, decay=decay)
    return dict(found, first_step=num_head_steps) if num_head_steps else found


def find(output_dir, num_head_steps, missing, num_train_steps, rows=()):
  """Returns the HeadPlan of a run.

  Args:
    output_dir: str, directory of the run to resume; None for a new run.
    num_head_steps: int or "auto", as requested.
    missing: list of str, the newly initialized variables that are trained;
      empty if the run starts without --init_checkpoint, as all are new then.
    num_train_steps: int.
    rows: list of int, the newly initialized rows of the vocabulary.

  Raises:
    ValueError: the run in output_dir has another number of head steps, or none
      of the training steps is left.
  """
  if output_dir:
    return _find_stored(output_dir, num_head_steps)
  if num_head_steps == AUTO:
    num_head_steps = 0
    if rows or any(name.startswith(head_variables.MASKED_LM_TRANSFORM)
                   for name in missing):
      num_head_steps = min(
          _MAX_AUTO_STEPS, int(_AUTO_FRACTION * num_train_steps))
  elif num_head_steps and not (missing or rows):
    logger.warning(
        "--num_head_steps=%d has no effect: it is for weights that "
        "--init_checkpoint lacks and for new rows of its vocabulary, and there "
        "are none that are trained", num_head_steps)
    num_head_steps = 0
  if num_head_steps >= num_train_steps:
    raise ValueError(
        "--num_head_steps=%d leaves none of the %d training steps for the "
        "encoder." % (num_head_steps, num_train_steps))
  if not num_head_steps:
    return HeadPlan()
  return HeadPlan(num_head_steps, sorted(missing), sorted(rows))


def _find_stored(output_dir, num_head_steps):
  """Returns the HeadPlan of the run in a directory."""
  stored = json_files.read_record(
      os.path.join(output_dir, PLAN_FILE), HeadPlan,
      "It stores which weights the run trains first; restore the file, or "
      "start a new run.") or HeadPlan()
  if num_head_steps not in (AUTO, stored.num_head_steps):
    if stored.num_head_steps:
      raise ValueError(
          "--num_head_steps=%d, but the run in --output_dir=%s was started "
          "with %d, which determines its learning rate schedule. Pass "
          "--num_head_steps=%d, or drop the flag." % (
              num_head_steps, output_dir, stored.num_head_steps,
              stored.num_head_steps))
    logger.warning(
        "--num_head_steps=%d has no effect: the run in --output_dir=%s was "
        "started without", num_head_steps, output_dir)
  return stored
