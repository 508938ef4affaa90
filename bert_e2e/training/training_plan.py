"""How long a run trains, where that was asked for in epochs.

The number of an epoch's examples is an estimate, and the learning rate of every
step hangs on the number of steps. So the steps are counted out once, at a run's
first start, and kept in `training_plan.json` beside the checkpoints.
"""

import math
import os
from typing import NamedTuple

from bert_e2e.common import json_files

PLAN_FILE = "training_plan.json"


class TrainingPlan(NamedTuple):
  """What `training_plan.json` holds.

  Attributes:
    num_train_epochs: float, what was asked for.
    epoch_examples: int, examples of an epoch, estimated.
    train_batch_size: int, examples of a step.
    num_train_steps: int, what follows: at least 1.
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
    """Writes the plan into a folder, local or with a scheme."""
    json_files.write_record(os.path.join(output_dir, PLAN_FILE), self)


def make(num_train_epochs, epoch_examples, train_batch_size):
  """Returns the TrainingPlan of a run that starts now."""
  steps = math.ceil(num_train_epochs * epoch_examples / train_batch_size)
  return TrainingPlan(num_train_epochs, epoch_examples, train_batch_size,
                      max(1, steps))


def load(output_dir):
  """Returns the TrainingPlan of a folder, or None without one.

  Raises:
    ValueError: there is one that can't be read.
  """
  return json_files.read_record(
      os.path.join(output_dir, PLAN_FILE), TrainingPlan,
      "It holds the number of steps that this run trains; pass it as "
      "--num_train_steps.")


def find(output_dir, num_train_epochs, train_batch_size, estimate):
  """Returns the plan that a run goes by: the folder's, or a new one.

  Args:
    output_dir: folder, or None for a run that starts now.
    num_train_epochs: float; train_batch_size: int.
    estimate: function that returns the examples of an epoch, called for a new
      plan only.

  Raises:
    ValueError: the folder's run was planned for another number of epochs.
  """
  plan = output_dir and load(output_dir)
  if not plan:
    return make(num_train_epochs, estimate(), train_batch_size)
  if plan.num_train_epochs != num_train_epochs:
    raise ValueError(
        "--num_train_epochs=%g, but --output_dir=%s was started with %s, and "
        "the learning rate goes by that. Pass --num_train_epochs=%g, or "
        "--num_train_steps to set another number of steps." %
        (num_train_epochs, output_dir, plan, plan.num_train_epochs))
  return plan
