"""Recipes: published settings of continued pretraining, as defaults of flags.

A recipe fills in the flags of its schedule that were not passed. The rest of a
run is as without it.
"""

import dataclasses
from typing import Any, Dict

# Positions of a micro-batch on a device, at most: those of BERT's default
# batch, 32 sequences of 128 tokens.
MICRO_BATCH_POSITIONS = 32 * 128

# Recipe -> flag -> value. Gururangan et al. 2020, "Don't Stop Pretraining"
# (arXiv 2004.10964), appendix B; the decay after the warm-up is linear.
RECIPES: Dict[str, Dict[str, Any]] = {
    # Domain-adaptive pretraining: much text of the domain.
    "dapt": {"train_batch_size": 2048, "learning_rate": 5e-4,
             "num_train_steps": 12500, "warmup_proportion": 0.06,
             "learning_rate_decay": "linear"},
    # Task-adaptive pretraining: the text of a task, without its labels.
    "tapt": {"train_batch_size": 256, "learning_rate": 1e-4,
             "num_train_epochs": 100.0, "warmup_proportion": 0.06,
             "learning_rate_decay": "linear"},
}


def apply(config):
  """Returns a Config with the values of its --recipe for what was not passed.

  Args:
    config: config.Config. A flag counts as passed if another one for the same
      thing was, such as --num_train_epochs for --num_train_steps.

  Returns:
    Config, with the names of these flags in `filled_in` and in `given`.
  """
  values = RECIPES.get(config.run.recipe, {})
  filled = {name: value for name, value in values.items()
            if not config.is_given(name)}
  return dataclasses.replace(
      config, filled_in=frozenset(filled),
      given=config.given | frozenset(filled),
      optimizer=dataclasses.replace(config.optimizer, **filled))


def with_micro_batches(config, num_replicas):
  """Returns a Config with the --gradient_accumulation_steps that a recipe's
  batch needs, unless they were passed.

  Args:
    config: config.Config.
    num_replicas: int, devices that share a batch.

  Returns:
    Config with the fewest equal micro-batches, of at most MICRO_BATCH_POSITIONS
    or of one sequence, into which a device's share of a batch can be split.
  """
  if config.run.recipe not in RECIPES or (
      config.is_given("gradient_accumulation_steps")):
    return config
  share = config.optimizer.train_batch_size // num_replicas
  stages = config.optimizer.stage_shares()
  length = stages[0].max_seq_length if stages else (
      config.instances.max_seq_length)
  parts = next(
      parts for parts in range(1, share + 1)
      if share % parts == 0 and (
          share // parts * length <= MICRO_BATCH_POSITIONS or parts == share))
  return dataclasses.replace(
      config, filled_in=config.filled_in | {"gradient_accumulation_steps"},
      given=config.given | {"gradient_accumulation_steps"},
      hardware=dataclasses.replace(
          config.hardware, gradient_accumulation_steps=parts))


def describe(config):
  """Says what a recipe has filled in, and what was passed instead.

  Args:
    config: config.Config, of `apply` and `with_micro_batches`.

  Returns:
    str, e.g. "--recipe=tapt: --train_batch_size=256 ..."; "" without a recipe.
  """
  if config.run.recipe not in RECIPES:
    return ""
  names = [*RECIPES[config.run.recipe], "gradient_accumulation_steps"]
  filled = [name for name in names if name in config.filled_in]
  passed = [other for name in names if name not in filled
            for other in config.given_for(name)]
  said = "--recipe=%s sets %s" % (
      config.run.recipe, _in_words(config, filled) or "nothing")
  if passed:
    said += "; passed: " + _in_words(config, passed)
  return said


def _in_words(config, names):
  """Returns flags and their values as on a command line."""
  return " ".join("--%s=%s" % (name, config.get(name)) for name in names)
