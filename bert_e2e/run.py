"""Runs what prepare.py prepared: trains, evaluates, exports."""

import contextlib
import functools
import logging
import os
import time
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from bert_e2e import recipes, startup_log
from bert_e2e.checkpoints import (
  averaging,
  checkpoint_list,
  conversion,
  hugging_face,
)
from bert_e2e.common import errors, logs, tensorflow_errors
from bert_e2e.common.errors import InputError
from bert_e2e.data import preflight as preflight_lib
from bert_e2e.data import preflight_text
from bert_e2e.output_files import EVAL_RESULTS_FILE
from bert_e2e.prepare import write_preflight
from bert_e2e.reporting import report, run_record
from bert_e2e.training import (
  cluster,
  evaluation,
  metrics,
  run_lock,
  signals,
  weight_sweep,
)
from bert_e2e.training.evaluator import Evaluator
from bert_e2e.training_loop import TrainingLoop

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


def run_preflight(run):
  """Prints the preflight of the text and writes it to preflight.json.

  While another run trains in the output directory, that run's stays.

  Args:
    run: prepare.PreparedRun.

  Raises:
    ValueError: there is no text to train on.
  """
  if not run.training or not run.training.preflight:
    raise ValueError("--preflight_only samples raw text to train on; pass "
                     "--do_train, and text as --input_file.")
  output_dir = run.config.checkpoint.output_dir
  try:
    run_lock.RunLock(output_dir).check(is_waiting=True)
    tf.io.gfile.makedirs(output_dir)
    write_preflight(run.training.preflight, output_dir)
  except run_lock.InUse as e:
    logger.warning("%s is not written: %s", preflight_lib.FILE, e)
  recipe = recipes.describe(run.requested_config)
  if recipe:
    print(recipe)
  print(preflight_text.to_text(run.training.preflight), flush=True)


class Run:
  """A prepared run.

  Args:
    prepared: prepare.PreparedRun.
    stop: signals.SignalHandler that may end it.
    lock: contextlib.ExitStack that holds the lock of the output directory since
      the stage before; None unless this process has trained that.

  Attributes:
    next_lock: the same for the next stage, when this one has ended; None if
      there is no next stage.
  """

  def __init__(self, prepared, stop=None, lock=None):
    self.next_lock: Any = None
    self._lock = lock
    self._prepared = prepared
    self._config = config = prepared.config
    self._engine = prepared.engine
    self._stop = stop or signals.SignalHandler()
    self._output_dir = config.checkpoint.output_dir
    self._watchdog: Any = None
    self._loop: Any = None
    self._evaluator = Evaluator(
        prepared.engine, config.evaluation, config.hardware.use_tpu,
        self._stop, lambda: self._watchdog.is_training)
    self._evaluations = _make_evaluations(prepared, self._evaluator)

  def run(self):
    """Trains and evaluates, as the flags say.

    Raises:
      InputError: the input or the output directory ended the run.
      cluster.LostWorker: another worker was lost.
      errors.Interrupted: a signal arrived outside of training.
      errors.Restart: the same command has to be run again to continue.
    """
    with self._lock or contextlib.ExitStack() as stack:
      step = self._begin(stack)
      self._train_and_finish(step)
      if self._has_next_stage():
        self.next_lock = stack.pop_all()

  def _train_and_finish(self, step):
    """Trains, evaluates and exports.

    Args:
      step: int, the step of the latest checkpoint, or None.
    """
    # A finished training needs no other workers, which may be gone.
    is_training = (
        self._prepared.training is not None and not self._is_done(step))
    is_cluster = is_training and self._engine.is_cluster
    self._watchdog = cluster.Watchdog(
        self._config.hardware.watchdog_seconds, is_cluster)
    self._loop = TrainingLoop(
        self._prepared, self._evaluations, self._stop, self._watchdog)
    with cluster.lost_workers(is_cluster), self._watchdog:
      self._build(self._loop.model_fn(), is_training)
      if is_training:
        self._loop.train()
      if is_cluster and not (self._stop.is_stopping or self._stop.is_finished):
        self._await_checkpoint()
    if not self._is_chief:
      return
    try:
      if self._stop.signal is None and not self._stop.is_stopping and (
          not self._has_next_stage()):
        self._finish(is_training)
    finally:
      if self._prepared.training:
        _write_report(self._output_dir)

  def _has_next_stage(self):
    """Tells whether another stage of the training follows this one, which has
    ended."""
    stage = self._prepared.stage
    return bool(
        stage and self._prepared.training and self._stop.signal is None and
        not self._stop.is_stopping and not self._stop.is_finished and
        checkpoint_list.latest_step(self._output_dir) == stage.last_step and
        stage.number < stage.num_stages)

  def log_stop(self, reason):
    """Logs what stopped the run early, and where it will resume."""
    step = checkpoint_list.latest_step(self._output_dir)
    where = ("starts again: there is no checkpoint yet" if step is None else
             "resumes from step %d" % step)
    logger.warning("stopped by %s; the same command %s, in %s", reason, where,
                   self._output_dir)

  def _begin(self, stack):
    """Opens the output directory and logs what the run starts from.

    Args:
      stack: contextlib.ExitStack, which is given the lock to release.

    Returns:
      int, the step of the latest checkpoint, or None.
    """
    try:
      tf.io.gfile.makedirs(self._output_dir)
      if self._prepared.lock:
        stack.enter_context(self._prepared.lock)
        self._check_unchanged()
        weight_sweep.clear(self._output_dir)
      logs.log_to_file(self._output_dir, self._engine.host)
      step = checkpoint_list.latest_step(self._output_dir)
      if self._is_chief:
        self._write_records(step)
    except run_lock.InUse as e:
      raise InputError(str(e)) from e
    except (OSError, tf.errors.OpError) as e:
      raise InputError("--output_dir=%s cannot be written: %s" %
                       (self._output_dir, e)) from e
    startup_log.log_start(self._prepared, step, self._is_done(step))
    return step

  def _check_unchanged(self):
    """Raises InputError if another run has trained since `prepare`."""
    if tf.train.latest_checkpoint(self._output_dir) != self._prepared.latest:
      raise InputError(
          "Another run has trained in --output_dir=%s since this one was "
          "started. Run the same command again to continue from its "
          "checkpoint." % self._output_dir)

  def _write_records(self, step):
    """Writes the records that identify the directory's run."""
    training = self._prepared.training
    if training:
      if training.epoch_plan:
        training.epoch_plan.save(self._output_dir)
      if step is None:
        self._prepared.head_plan.save(self._output_dir)
      if training.stream_record:
        training.stream_record.save(self._output_dir)
      self._evaluations.start(step)
    if self._lock:
      return  # Of the same start of the program.
    config = self._prepared.requested_config
    run_record.append(
        self._output_dir, step=step or 0,
        flags={name: config.get(name) for name in config.given},
        corpus=training and training.source.describe())

  def _build(self, model_fn, is_training):
    """Builds the estimator."""
    try:
      self._engine.build(
          model_fn, model_dir=self._output_dir,
          random_seed=self._config.data.random_seed, is_training=is_training)
    except ValueError as e:
      raise InputError(str(e)) from e

  def _finish(self, is_trained):
    """Evaluates and exports the latest checkpoint.

    Args:
      is_trained: bool, whether this process has trained.
    """
    latest = tf.train.latest_checkpoint(self._output_dir)
    eval_sources = self._prepared.eval_sources
    if eval_sources or self._prepared.probe:
      step = checkpoint_list.latest_step(self._output_dir)
      for item in self._loop.missed_evaluations(step or 0):
        self._evaluations.run(*item)
      self._evaluations.run(
          step, latest, anew=not is_trained, is_last=True)
    if self._stop.signal is not None:
      raise errors.Interrupted
    if self._config.run.do_eval:
      for source in eval_sources.values():
        source.log_built("evaluation")
      text = next(iter(eval_sources))
      _write_results(self._evaluations.rows(text)[-1], self._output_dir)
    if self._prepared.export_dirs and latest:
      self._export(self._find_result(latest))
    if self._config.evaluation.sweep_weights:
      self._sweep_weights(self._find_result(latest))

  def _find_result(self, latest):
    """Returns the latest checkpoint, or the best one if it is kept, or was by
    the training if this run does not train."""
    if self._prepared.training and not self._config.evaluation.keep_best:
      return latest
    return tf.train.latest_checkpoint(
        os.path.join(self._output_dir, evaluation.BEST_DIR)) or latest

  def _sweep_weights(self, checkpoint):
    """Evaluates averages of a checkpoint and what its training started from."""
    config = self._config
    weight_sweep.run(
        self._output_dir, config.evaluation.sweep_weights,
        config.checkpoint.init_checkpoint, checkpoint,
        self._prepared.bert_config, self._evaluations.sets,
        config.checkpoint.extend_positions)

  def _read_result(self, checkpoint):
    """Reads what is exported of a checkpoint.

    Returns:
      (dict of variables by name, averaging.Average or None): of the checkpoint,
      or of its average with --init_checkpoint.
    """
    options, bert_config = self._config.checkpoint, self._prepared.bert_config
    weight, start = options.export_weight, options.init_checkpoint
    what = "--export_dir: %s" % checkpoint
    try:
      if weight == 1:
        return conversion.read_checkpoint(checkpoint, bert_config), None
      what = "--export_weight=%g: the average of %s and --init_checkpoint=%s"
      what %= weight, checkpoint, start
      average = averaging.between(
          start, checkpoint, bert_config, options.extend_positions)(weight)
      return average.variables, average
    except checkpoint_list.ERRORS as e:
      raise InputError("%s cannot be read: %s. Run the same command to try "
                       "again." % (what, tensorflow_errors.reason(e))) from e

  def _export(self, checkpoint):
    """Exports a checkpoint, or its average with --init_checkpoint."""
    config = self._config
    variables, average = self._read_result(checkpoint)
    try:
      conversion.export(
          variables, self._prepared.bert_config,
          config.data.vocab_file, config.tokenizer.do_lower_case,
          strip_accents=config.tokenizer.strip_accents,
          tokenize_chinese_chars=config.tokenizer.tokenize_chinese_chars,
          source=hugging_face.find_directory(
              config.checkpoint.init_checkpoint),
          average=average and average.record(), **self._prepared.export_dirs)
    except (OSError, ValueError, tf.errors.OpError) as e:
      raise InputError("--export_dir=%s cannot be written: %s" %
                       (config.checkpoint.export_dir, e)) from e
    for clause in average.describe_lacking() if average else ():
      logger.warning("%s", clause)
    logger.info("exported %s to %s",
                average.describe() if average else checkpoint,
                " and ".join(sorted(self._prepared.export_dirs.values())))

  @property
  def _is_chief(self):
    return self._engine.host == 0

  def _is_done(self, step):
    """Tells whether the latest checkpoint, of this step, ends the training."""
    return step is not None and (
        step >= self._prepared.num_train_steps or
        self._evaluations.is_exhausted())

  def _await_checkpoint(self):
    """Waits for the chief's last checkpoint: if the chief is killed before, it
    needs the other workers again."""
    while not self._is_done(checkpoint_list.latest_step(self._output_dir)):
      time.sleep(_POLL_SECONDS)


def _make_evaluations(prepared, evaluator):
  """Returns the evaluation.Evaluations of a run."""
  options = prepared.config.evaluation
  sets = [
      evaluation.EvaluationSet(
          text, source.identity(options.eval_batch_size,
                                options.max_eval_steps),
          functools.partial(evaluator.evaluate, source, text))
      for text, source in prepared.eval_sources.items()]
  output_dir, probe = prepared.config.checkpoint.output_dir, prepared.probe
  if probe:
    sets.append(evaluation.EvaluationSet(
        evaluation.PROBE, probe.identity(),
        functools.partial(evaluator.probe, probe, output_dir)))
  return evaluation.Evaluations(
      output_dir, sets,
      decisive=(evaluation.PROBE if options.keep_best_metric == "probe" else
                None),
      every_steps=options.eval_every_steps,
      last_step=prepared.num_train_steps, keep_best=options.keep_best,
      patience=options.early_stopping_patience,
      is_before=prepared.training is not None and prepared.has_held_out_text,
      num_head_steps=prepared.head_plan.num_head_steps)


def _write_report(output_dir):
  """Writes report.html. Training has succeeded even if this fails."""
  try:
    report.write(output_dir)
  except (OSError, tf.errors.OpError) as e:
    logger.warning("the report cannot be written: %s", e)


def _write_results(row, output_dir):
  """Logs an evaluation's results and writes them to eval_results.txt.

  Args:
    row: dict, a row of the table of evaluations.
    output_dir: str.
  """
  logger.info("***** Eval results *****")
  # As the original, which formats NumPy's float32.
  result = dict(
      {metric.name: np.float32(row[metric.name]) for metric in metrics.METRICS
       if metric.in_eval_results and metric.name in row},
      global_step=row["global_step"])
  lines = ["%s = %s" % (key, result[key]) for key in sorted(result)]
  for line in lines:
    logger.info("  %s", line)
  try:
    path = os.path.join(output_dir, EVAL_RESULTS_FILE)
    with tf.io.gfile.GFile(path, "w") as writer:
      writer.write("".join(line + "\n" for line in lines))
  except (OSError, tf.errors.OpError) as e:
    raise InputError("%s cannot be written: %s. The same command writes it "
                     "again." % (EVAL_RESULTS_FILE, e)) from e
