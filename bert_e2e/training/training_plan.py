"""The number of training steps of a run whose length is given in epochs.

The number of examples per epoch is an estimate, and the learning rate schedule
depends on the number of steps. The steps are therefore computed once, when a
run first starts, and stored in `training_plan.json` next to the checkpoints.
"""

import math
import os
from typing import NamedTuple

from bert_e2e.common import json_files

PLAN_FILE = "training_plan.json"


class TrainingPlan(NamedTuple):
  """The contents of `training_plan.json`.

  Attributes:
    num_train_epochs: float, the requested number of epochs.
    epoch_examples: int, estimated number of examples per epoch.
    train_batch_size: int, examples per step.
    num_train_steps: int, the resulting number of steps, at least 1.
  """
  num_train_epochs: float
  epoch_examples: int
  train_batch_size: int
  num_train_steps: int

  def __str__(self):
    return "%g epochs of about %d examples = %d steps of %d" % (
        self.num_train_epochs, self.epoch_examples, self.num_train_steps,
        self.train_batch_size)

  def save(self, output_dir):
    """Writes the plan to a directory, local or remote (with a scheme)."""
    json_files.write_record(os.path.join(output_dir, PLAN_FILE), self)


def make(num_train_epochs, epoch_examples, train_batch_size):
  """Returns the TrainingPlan of a new run."""
  steps = math.ceil(num_train_epochs * epoch_examples / train_batch_size)
  return TrainingPlan(num_train_epochs, epoch_examples, train_batch_size,
                      max(1, steps))


def load(output_dir):
  """Returns the TrainingPlan stored in a directory, or None.

  Raises:
    ValueError: the stored plan is damaged.
  """
  return json_files.read_record(
      os.path.join(output_dir, PLAN_FILE), TrainingPlan,
      "It stores the number of training steps of this run; pass that number as "
      "--num_train_steps.")


def find(output_dir, num_train_epochs, train_batch_size, estimate):
  """Returns the stored plan of a run, or a new one.

  Args:
    output_dir: str, directory of the run; None for a new run.
    num_train_epochs: float.
    train_batch_size: int.
    estimate: function that returns the number of examples per epoch; only
      called for a new plan.

  Raises:
    ValueError: the stored plan is for a different number of epochs.
  """
  plan = output_dir and load(output_dir)
  if not plan:
    return make(num_train_epochs, estimate(), train_batch_size)
  if plan.num_train_epochs != num_train_epochs:
    raise ValueError(
        "--num_train_epochs=%g, but the run in --output_dir=%s was started "
        "with %s, which determines its learning rate schedule. Pass "
        "--num_train_epochs=%g, or --num_train_steps to change the number of "
        "steps." %
        (num_train_epochs, output_dir, plan, plan.num_train_epochs))
  return plan
