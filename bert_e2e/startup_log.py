"""Logs what a run starts from, and what its user may not expect."""

import collections
import logging
import re

import optimization
from bert_e2e import recipes
from bert_e2e.checkpoints import hugging_face, tf_weights
from bert_e2e.common import messages
from bert_e2e.data import preflight as preflight_lib
from bert_e2e.data import preflight_text
from bert_e2e.training import evaluation, objectives

logger = logging.getLogger(__name__)

# Positions of an update of a stage, compared with those of the first one.
_MAX_UPDATE = 1.5
_LAYER = re.compile(r"bert/encoder/(layer_\d+)/")


def log_start(run, step, is_done):
  """Logs input, schedule and initial weights.

  Args:
    run: prepare.PreparedRun.
    step: int, step of the latest checkpoint in --output_dir, or None.
    is_done: bool, whether the training has ended before.
  """
  if run.config.run.output_file:
    logger.warning("--output_file is ignored: no examples are written.")
  if run.training:
    run.training.source.log("Input Files")
    recipe = recipes.describe(run.requested_config)
    if recipe:
      logger.info("%s", recipe)
    _log_epoch_plan(run)
    _log_stages(run)
    _log_strategy(run)
    _log_learning_rate(run, step or 0)
    _log_model(run)
    if not run.training.find_preflight:
      _log_without_preflight(run)
  for source in run.eval_sources.values():
    source.log("Evaluation Files")
  if run.probe:
    logger.info("probe: %s", run.probe.describe())
  if evaluation.TRAINING in run.eval_sources:
    logger.warning(
        "evaluating on the training text; pass --eval_input_file to measure on "
        "held-out text")
  if run.latest:
    _log_resume(run, step, is_done)
  else:
    _log_initial_weights(run)


def _log_epoch_plan(run):
  """Logs the plan of --num_train_epochs, and what makes it inexact."""
  plan = run.training.epoch_plan
  if not plan:
    return
  logger.info("training for %s", plan)
  if run.stage and run.stage.number > 1:
    return  # Another batch size and another stream are what a stage is.
  batch_size = run.config.optimizer.train_batch_size
  changed = []
  if plan.train_batch_size != batch_size:
    changed.append("--train_batch_size was %d and is %d" % (
        plan.train_batch_size, batch_size))
  if run.latest and run.training.stream_record.first_example:
    changed.append("the example stream has changed since")
  if changed:
    logger.warning(
        "the number of steps stays as planned, so the number of epochs will "
        "differ: %s. --num_train_steps sets another number",
        "; ".join(changed))


def _log_stages(run):
  """Logs the stages that are left, and warns of those with larger updates."""
  if not run.stage:
    return
  first = run.planned.stages[0]
  for stage in run.planned.stages[run.stage.number - 1:]:
    logger.info("%s", stage)
    if stage.positions_per_update > _MAX_UPDATE * first.positions_per_update:
      logger.warning(
          "an update of stage %d has %d positions instead of %d, because its "
          "batch has at least one sequence per device and micro-batch: lower "
          "--gradient_accumulation_steps, or raise --train_batch_size",
          stage.number, stage.positions_per_update,
          first.positions_per_update)


def _log_strategy(run):
  """Logs the strategy that builds the training's instances, if any."""
  text = run.training.source.text
  if text and text.options.strategy:
    logger.info("instances are built by the strategy %(name)s (source "
                "%(source)s)", text.options.strategy.record())


def _log_learning_rate(run, step):
  options = run.config.optimizer
  num_head_steps = run.head_plan.num_head_steps
  if step < num_head_steps:
    what = [messages.list_names(run.head_plan.variables)] if (
        run.head_plan.variables) else []
    if run.head_plan.rows:
      what.append("%d new rows of the vocabulary" % len(run.head_plan.rows))
    logger.info(
        "steps 1 to %d update newly initialized weights only (%s), with a "
        "learning rate that falls from %g to 0", num_head_steps,
        " and ".join(what), options.head_learning_rate)
  logger.info(
      "learning rate%s: %s",
      ", counted from step %d" % num_head_steps if num_head_steps else "",
      optimization.describe_learning_rate(
          options.learning_rate, run.num_train_steps - num_head_steps,
          run.num_warmup_steps, options.learning_rate_decay))


def _log_model(run):
  """Logs what the training changes of the model, if that is not as usual."""
  objective = run.config.instances.sentence_objective
  if not objectives.SENTENCE_OBJECTIVES[objective].is_trained:
    logger.info("--sentence_objective=%s: the model is trained on masked words "
                "only; the pooler and the next-sentence head stay as they are",
                objective)
  for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
    rate, usual = (getattr(options, name)
                   for options in (run.config.checkpoint, run.bert_config))
    if rate is not None and rate != usual:
      logger.info("--%s=%g in this training; %g in the config, which exports "
                  "keep", name, rate, usual)


def log_preflight(preflight):
  """Logs the table of a preflight.Preflight and its warnings."""
  logger.info("%s", preflight_text.to_text(
      preflight._replace(warnings=())).rstrip())
  for warning in preflight.warnings:
    logger.warning("%s", warning.text)


def _log_without_preflight(run):
  """Logs what a preflight would say of model and schedule."""
  if run.training.model:
    logger.info("%s", preflight_text.table_of(
        preflight_text.model_rows(run.training.model)).rstrip())
  warning = preflight_lib.warn_of_warmup(
      run.num_warmup_steps, run.num_train_steps, run.head_plan.num_head_steps)
  if warning:
    logger.warning("%s", warning)


def _log_resume(run, step, is_done):
  output_dir = run.config.checkpoint.output_dir
  logger.info("resuming from step %d in %s", step, output_dir)
  if not run.training:
    return
  if step >= run.num_train_steps:
    logger.warning("nothing to train: %d steps were requested, and %s is at "
                   "step %d", run.num_train_steps, output_dir, step)
  elif is_done:
    logger.warning(
        "nothing to train: the last --early_stopping_patience=%d evaluations "
        "in %s were not better than an earlier one",
        run.config.evaluation.early_stopping_patience, output_dir)


def _log_initial_weights(run):
  """Logs what the model starts from, and what of it does not fit."""
  path, initial = run.config.checkpoint.init_checkpoint, run.initial
  if not initial:
    logger.info("starting from newly initialized weights")
    return
  logger.info("starting from the weights of %s", path)
  if initial.root != tf_weights.ROOT:
    logger.warning(
        "the encoder's variables in %s are named %s..., those of the model "
        "%s...: the former are read as the latter", path, initial.root,
        tf_weights.ROOT)
  if initial.num_positions is not None:
    first, last = (initial.num_positions,
                   run.bert_config.max_position_embeddings)
    count = min(first, last - first)
    logger.warning(
        "%s has %d positions: the embeddings of positions %d to %d are copies "
        "of those of %d to %d%s (bert/embeddings/position_embeddings)", path,
        first, first, last - 1, first - count, first - 1,
        ", repeated" if count < last - first else "")
  if initial.unused:
    logger.warning(
        "%s has variables of an encoder that are not in the model and are left "
        "out: %s. Does %s describe another model?", path,
        _count_by_layer(initial.unused),
        run.config.checkpoint.bert_config_file)
  if initial.missing:
    how = ""
    if hugging_face.is_directory(path):
      how = (" (the transform before the masked-LM output as the identity)")
    logger.warning(
        "%s is missing %d of the model's variables; these are newly "
        "initialized%s: %s", path, len(initial.missing), how,
        ", ".join(initial.missing))
  if initial.new_tokens.tokens:
    logger.info("%s has %d new entries of the vocabulary, whose rows were not "
                "trained yet", path, len(initial.new_tokens.tokens))
  if initial.new_tokens.variables:
    logger.info(
        "%s has variables that were newly initialized when it was written: %s",
        path, messages.list_names(initial.new_tokens.variables))


def _count_by_layer(names):
  """Lists variables of an encoder; those of a layer are counted.

  >>> _count_by_layer(["bert/encoder/layer_1/output/dense/kernel",
  ...                  "bert/encoder/layer_1/output/dense/bias", "bert/other"])
  '2 of layer_1, bert/other'
  """
  layers = collections.Counter()
  for name in names:
    match = _LAYER.match(name)
    layers[match.group(1) if match else name] += 1
  return messages.list_names(
      "%d of %s" % (count, name) if name.startswith("layer_") else name
      for name, count in layers.items())
