"""Stages: parts of a training with sequences of different lengths.

BERT was pretrained on sequences of 128 tokens for 90 % of the steps and of 512
tokens for the rest, because attention is quadratic in the length (Devlin et al.
2018, arXiv 1810.04805, appendix A.2). A stage is such a part. All stages share
one schedule of the learning rate; each has a stream of its own, and a batch
size by which an update has as many tokens.
"""

import dataclasses
from typing import Any, List, NamedTuple, Optional

from bert_e2e.config import AUTO, matching_predictions, option_of


class Stage(NamedTuple):
  """A part of a training.

  Attributes:
    number: int, from 1; num_stages: int, how many there are.
    max_seq_length, max_predictions_per_seq, max_sequences_per_pack,
      train_batch_size: int, as the flags of these names, in this stage.
    is_packed: bool, whether the training packs sequences.
    first_step, last_step: int, the global steps at which it begins and ends.
  """
  number: int
  num_stages: int
  max_seq_length: int
  max_predictions_per_seq: int
  max_sequences_per_pack: int
  train_batch_size: int
  first_step: int
  last_step: int
  is_packed: bool = False

  def __str__(self):
    return "stage %d of %d: steps %d to %d, %s" % (
        self.number, self.num_stages, self.first_step + 1, self.last_step,
        " ".join("--%s=%d" % item for item in [
            *self.stream_options.items(),
            ("train_batch_size", self.train_batch_size)]))

  @property
  def stream_options(self):
    """The options of the stage's stream that other stages have other values of,
    a dict."""
    names = ["max_seq_length", "max_predictions_per_seq"]
    if self.is_packed:
      names.append("max_sequences_per_pack")
    return {name: getattr(self, name) for name in names}

  @property
  def positions_per_update(self):
    """int, positions of the rows of an update."""
    return self.max_seq_length * self.train_batch_size

  def apply(self, config):
    """Returns a Config with the lengths and the batch size of this stage."""
    return dataclasses.replace(
        config,
        instances=dataclasses.replace(
            config.instances, max_seq_length=self.max_seq_length,
            max_predictions_per_seq=self.max_predictions_per_seq),
        packing=dataclasses.replace(
            config.packing, max_sequences_per_pack=self.max_sequences_per_pack),
        optimizer=dataclasses.replace(
            config.optimizer, train_batch_size=self.train_batch_size))


class Plan(NamedTuple):
  """The stages of a training.

  Attributes:
    stages: list of Stage; empty without --stages.
    step: int, the global step that the training has reached.
    config: config.Config, and divisor: int, what they follow from.
  """
  stages: List[Stage]
  step: int
  config: Any
  divisor: int

  @property
  def current(self) -> Optional[Stage]:
    """The Stage that trains next, the last one at the end; None without any."""
    return next((stage for stage in self.stages if self.step < stage.last_step),
                self.stages[-1] if self.stages else None)

  def with_steps(self, num_train_steps):
    """Returns the Plan for another number of training steps."""
    return plan(self.config, self.step, self.divisor, num_train_steps)

  def for_training(self, config):
    """Returns a Config with the lengths and the batch size of the current
    stage."""
    return self.current.apply(config) if self.current else config

  def for_evaluation(self, config):
    """Returns a Config with the lengths of the last stage."""
    return self.stages[-1].apply(config) if self.stages else config

  def begins_stage(self):
    """Tells whether a stage after the first one begins at the current step."""
    stage = self.current
    return bool(stage and stage.number > 1 and stage.first_step == self.step)

  def previous_options(self):
    """Returns the Stage.stream_options of the stage before, a dict."""
    before = self.stages[self.current.number - 2]  # type: ignore[union-attr]
    return before.stream_options


def plan(config, step, divisor, num_train_steps) -> Plan:
  """Returns the Plan of a training.

  Args:
    config: config.Config, validated.
    step: int, the global step of the latest checkpoint, or 0.
    divisor: int, what a batch size has to be a multiple of: the devices times
      the micro-batches.
    num_train_steps: int.

  Raises:
    ValueError: a stage has no step.
  """
  shares = config.optimizer.stage_shares()
  stages: List[Stage] = []
  total, begin = 0.0, 0
  for number, (length, share) in enumerate(shares, 1):
    total += share
    end = num_train_steps if number == len(shares) else round(
        total * num_train_steps)
    if end <= begin:
      raise ValueError(
          "--stages=%s: the stage of length %d has none of the %d training "
          "steps. Raise its fraction, or --num_train_steps." % (
              ",".join(config.optimizer.stages), length, num_train_steps))
    first_length = shares[0].max_seq_length
    stages.append(Stage(
        number, len(shares), length, _predictions(config, length, first_length),
        _sequences_per_pack(config, length, first_length),
        _batch_size(config, length, first_length, divisor), begin, end,
        config.packing.pack_sequences))
    begin = end
  return Plan(stages, step, config, divisor)


def _predictions(config, length, first_length):
  """Returns the --max_predictions_per_seq of a stage."""
  given = config.instances.max_predictions_per_seq
  if given == AUTO:
    return matching_predictions(config.instances.masked_lm_prob, length)
  return min(length, -(-given * length // first_length))


def _sequences_per_pack(config, length, first_length):
  """Returns the --max_sequences_per_pack of a stage: as many per position."""
  given = config.packing.max_sequences_per_pack
  if not (config.packing.pack_sequences or
          config.evaluation.pack_eval_sequences):
    return given
  return max(option_of("max_sequences_per_pack").minimum,
             -(-given * length // first_length))


def _batch_size(config, length, first_length, divisor):
  """Returns the --train_batch_size of a stage."""
  first = config.optimizer.train_batch_size
  if length == first_length:
    return first
  return max(1, round(first * first_length / length / divisor)) * divisor
