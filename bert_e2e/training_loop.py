"""Trains: one training of a run, with its hooks and its evaluations on the way.
"""

import logging
import os
import time
from typing import Any

import tensorflow.compat.v1 as tf

from bert_e2e import startup_log
from bert_e2e.checkpoints import (
  checkpoint_hook,
  checkpoint_list,
  examples_seen,
)
from bert_e2e.common import errors
from bert_e2e.data import pieces
from bert_e2e.prepare import write_preflight
from bert_e2e.training import cluster, dropout, heads_first, progress, signals
from bert_e2e.training.input_errors import INPUT_ERRORS, input_errors
from bert_e2e.training.model_fn import model_fn_builder
from bert_e2e.training.session_hooks import CheckWorkersHook, SessionHook

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


class TrainingLoop:
  """Trains what prepare.py prepared.

  Args:
    prepared: prepare.PreparedRun.
    evaluations: evaluation.Evaluations of the run.
    stop: signals.SignalHandler that may end it.
    watchdog: cluster.Watchdog, entered before the training begins.
  """

  def __init__(self, prepared, evaluations, stop, watchdog):
    self._prepared = prepared
    self._config = prepared.config
    self._engine = prepared.engine
    self._evaluations = evaluations
    self._stop = stop
    self._watchdog = watchdog
    self._output_dir = prepared.config.checkpoint.output_dir
    self._preflight: Any = None  # Until `_report_preflight`.
    self._is_head_phase = False
    self._first_step = 0

  def model_fn(self):
    """Returns the `model_fn` of the estimator."""
    config, training = self._config, self._prepared.training
    optimizer, hardware = config.optimizer, config.hardware
    return model_fn_builder(
        bert_config=dropout.with_rates(
            self._prepared.bert_config, config.checkpoint.hidden_dropout_prob,
            config.checkpoint.attention_probs_dropout_prob),
        init_checkpoint=config.checkpoint.init_checkpoint,
        learning_rate=optimizer.learning_rate,
        num_train_steps=self._prepared.num_train_steps,
        num_warmup_steps=self._prepared.num_warmup_steps,
        use_tpu=hardware.use_tpu,
        use_one_hot_embeddings=hardware.use_tpu,
        sentence_objective=config.instances.sentence_objective,
        log_every_steps=config.run.log_every_steps,
        random_seed=config.data.random_seed,
        text_progress=training and training.source.progress,
        learning_rate_decay=optimizer.learning_rate_decay,
        optimizer=optimizer.optimizer,
        gradient_accumulation_steps=hardware.gradient_accumulation_steps,
        precision=hardware.precision,
        head_phase=heads_first.HeadPhase(
            self._prepared.head_plan, optimizer.head_learning_rate,
            lambda: self._is_head_phase),
        extend_positions=config.checkpoint.extend_positions,
        characters=config.data.vocab_file and pieces.count_characters(
            config.data.vocab_file, self._prepared.bert_config.vocab_size),
        is_chief=self._engine.host == 0,
        on_eta=self._on_eta,
        stop=self._stop if self._engine.is_cluster else None,
        training_hooks=[self._checkpoint_hook()])

  def _checkpoint_hook(self):
    options, hardware = self._config.checkpoint, self._config.hardware
    return checkpoint_hook.CheckpointHook(
        self._output_dir, self._is_checkpoint_due,
        max_to_keep=options.keep_checkpoint_max,
        keep_every_n_hours=options.keep_checkpoint_every_n_hours,
        is_chief=self._engine.host == 0,
        steps_per_run=hardware.iterations_per_loop if hardware.use_tpu else 1,
        on_saved=self._on_saved)

  def train(self):
    """Trains to the last step, or until the training is stopped.

    Raises:
      errors.Restart: the next part of the training needs a new process.
    """
    tf.logging.info("***** Running training *****")
    tf.logging.info(
        "  Batch size = %d", self._config.optimizer.train_batch_size)
    use_tpu = self._config.hardware.use_tpu
    num_head_steps = self._prepared.head_plan.num_head_steps
    step = checkpoint_list.latest_step(self._output_dir) or 0
    last_step = self._prepared.last_step
    targets = {num_head_steps, last_step}
    if use_tpu:  # It cannot train and evaluate at the same time.
      targets.update(self._evaluations.targets())
    for target in sorted(
        target for target in targets if step < target <= last_step):
      self._is_head_phase = target <= num_head_steps
      self._first_step, step = step, target
      self._train_to(target)
      if use_tpu and not self._stop.is_stopping:
        self._stop.is_finished |= self._evaluate_checkpoints()
      if self._stop.is_stopping or self._stop.is_finished:
        return
      if target < self._prepared.num_train_steps and self._engine.is_cluster:
        self._restart_at(target)

  def _restart_at(self, step):
    """Raises errors.Restart when there is the chief's checkpoint of a step, and
    its evaluation, which may end the training.

    A process can join a cluster once: TensorFlow 2 hangs in a second training.
    """
    while (checkpoint_list.latest_step(self._output_dir) or 0) < step or (
        self._engine.host != 0 and self._evaluations.is_awaited(step)):
      time.sleep(_POLL_SECONDS)
    raise errors.Restart

  def _train_to(self, target):
    """Trains to a global step, or until the training is stopped."""
    training = self._prepared.training
    source = training.source
    if training.stream_record:
      source.open_flow(
          skipped=training.stream_record.first_example,
          output_dir=self._output_dir,
          num_workers=self._config.data.num_workers,
          held_out=training.held_out)
      self._open_early(source.flow)
    try:
      with input_errors(source.flow):
        self._engine.train(source.input_fn(is_training=True),
                           self._training_hooks(source), target)
    finally:
      self._stop.set_training(False)
      if source.flow:
        self._stop.remove_callback(source.flow.stop)
        source.flow.close()
    source.log_built("training")
    if source.flow and source.flow.num_shared:
      logger.warning(
          "%d %s of %s occur in the training text: its metrics are inflated",
          source.flow.num_shared, training.held_out.units,
          training.held_out.name)

  def _open_early(self, flow):
    """Has the workers build the first examples while the graph is built.

    Not on several hosts, of which each reads another part of the text, and not
    in this process, which has enough to do.
    """
    if not self._config.data.num_workers or self._engine.num_hosts > 1:
      return
    latest = tf.train.latest_checkpoint(self._output_dir)
    flow.open_early(examples_seen.read(
        latest, self._config.optimizer.train_batch_size) if latest else 0)

  def _report_preflight(self):
    """Waits for the preflight, if there is one, logs and writes it.

    It was computed while the graph was built and the session created.

    Raises:
      InputError: the text cannot be used, or preflight.json not be written.
    """
    training = self._prepared.training
    if self._preflight or not training.find_preflight:
      return
    try:
      self._preflight = training.preflight
    except INPUT_ERRORS as e:
      raise errors.InputError(str(e)) from e
    startup_log.log_preflight(self._preflight)
    if self._engine.host == 0:
      try:
        write_preflight(self._preflight, self._output_dir)
      except (OSError, tf.errors.OpError) as e:
        raise errors.InputError("--output_dir=%s cannot be written: %s" % (
            self._output_dir, e)) from e

  def _training_hooks(self, source):
    """Returns the hooks of a training on an ExampleSource."""
    # The first one: what the preflight refuses is refused before all others.
    hooks = [SessionHook(self._report_preflight), self._watchdog]
    if self._engine.is_cluster:
      hooks.append(cluster.DigestHook())
    else:
      hooks.append(signals.StopHook(self._stop))
    if source.flow:
      hooks.append(CheckWorkersHook(source.flow))
      # A TPU's loop, and other workers, would wait for the examples.
      if not self._engine.is_cluster and not self._config.hardware.use_tpu:
        self._stop.add_callback(source.flow.stop)
    return hooks

  def _is_checkpoint_due(self, step):
    """Tells whether a checkpoint is saved at a step."""
    return (step % self._config.checkpoint.save_checkpoints_steps == 0 or
            self._evaluations.is_due(step))

  def _on_saved(self, step, checkpoint):
    """Evaluates a checkpoint if it is due; tells whether training ends.

    At the start, it also evaluates one for which a signal came in between:
    several workers have to train for another step then.
    """
    hardware = self._config.hardware
    if hardware.use_tpu:
      return False
    due = [(step, checkpoint)] if self._evaluations.is_due(step) else []
    if step == self._first_step:
      due = self.missed_evaluations(step) + due
    if not due:
      return False
    started = time.monotonic()
    with progress.clock.stopped(), self._watchdog.paused():
      self._stop.is_finished = any(
          [self._evaluations.run(*item) for item in due])
    seconds = time.monotonic() - started
    if self._engine.is_cluster and seconds > hardware.watchdog_seconds / 2:
      logger.warning(
          "evaluations take %d seconds, during which the other workers wait; "
          "they give up after --watchdog_seconds=%g. Increase it", seconds,
          hardware.watchdog_seconds)
    if self._engine.is_cluster:
      return False  # They have to end after the same step: see StopHook.
    if self._stop.signal is not None and step == self._first_step:
      raise errors.Interrupted  # There is nothing to save.
    # Without a further step after a signal: the start from this checkpoint
    # repeats an evaluation that the signal has ended.
    return self._stop.is_finished or self._stop.signal is not None

  def _evaluate_checkpoints(self):
    """Evaluates the directory's checkpoints that are due, between two parts of
    a training; tells whether training ends."""
    return any(self._evaluations.run(*item) for item in self._listed()
               if self._evaluations.is_due(item[0]))

  def missed_evaluations(self, step):
    """Returns the (step, path prefix) of the checkpoints before a step whose
    evaluation a signal has ended, a list."""
    return [item for item in self._listed()
            if item[0] < step and self._evaluations.is_missed(item[0])]

  def _listed(self):
    """Returns a list of (step, path prefix) of the directory's checkpoints."""
    return [(checkpoint_list.step_of(name),
             os.path.join(self._output_dir, name))
            for name in checkpoint_list.load_state(self._output_dir).names()]

  def _on_eta(self, seconds):
    """Adds the estimated training time to preflight.json."""
    if self._engine.host != 0 or not self._preflight:
      return
    self._preflight = self._preflight._replace(eta_seconds=round(seconds))
    try:
      write_preflight(self._preflight, self._output_dir)
    except OSError as e:  # On a full disk the next checkpoint ends the run.
      logger.warning("%s", e)
