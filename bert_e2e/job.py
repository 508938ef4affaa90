"""A run of the program, from its flags to its results."""

import contextlib
import functools
import logging
import os
import time
from concurrent import futures
from typing import Any, FrozenSet

import numpy as np
import tensorflow.compat.v1 as tf

import optimization
import tokenization
from bert_e2e import settings
from bert_e2e.checkpoints import (
  conversion,
  examples_seen,
  hugging_face,
  saver,
  validation,
)
from bert_e2e.common import errors, file_io, logs
from bert_e2e.common.errors import InputError
from bert_e2e.data import instances as instances_lib
from bert_e2e.data import preflight, resume, worker_pool
from bert_e2e.reporting import report, run_record
from bert_e2e.training import (
  cluster,
  engine,
  evaluation,
  progress,
  signals,
  training_plan,
)
from bert_e2e.training.example_source import ExampleSource
from bert_e2e.training.model_fn import model_fn_builder

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.5
# Of eval_results.txt, as the original writes it.
_FIGURES = ("loss", "masked_lm_accuracy", "masked_lm_loss",
            "next_sentence_accuracy", "next_sentence_loss")
# What a flow may end with that needs no traceback to be understood.
INPUT_ERRORS = (ValueError, OSError, worker_pool.WorkerError)


class Job:
  """A run, checked from end to end before anything is built or written.

  Args:
    values: the parsed flags.
    stop: signals.Interruption that may end it.

  Raises:
    ValueError: bad input; see the checks.
  """

  def __init__(self, values, stop=None):
    self._values = values = settings.resolve(values)
    self._stop = stop or signals.Interruption()
    self._engine = engine.Engine(engine.Options(**{
        name: getattr(values, name) for name in engine.Options._fields}))
    tokenization.validate_case_matches_checkpoint(
        values.do_lower_case, values.init_checkpoint)
    self._config = self._read_config()
    self._latest = validation.check_output_dir(
        values.output_dir, self._config, values.bert_config_file)
    # Names of weights that the run starts from something else than a file.
    self._fresh = []
    if values.init_checkpoint:
      self._fresh = validation.check_init_checkpoint(
          values.init_checkpoint, self._config, values.bert_config_file)
    self._train_input: Any = None
    self._record: Any = None
    self._plan: Any = None
    self._found: Any = None
    self._num_train_steps = values.num_train_steps
    self._eval_inputs = self._find_eval_inputs()
    self._held_out: FrozenSet[bytes] = frozenset()
    if values.do_train:
      self._train_input = ExampleSource(values, values.input_file)
      self._check_held_out()
      if self._train_input.options:
        self._record = self._find_record()
        self._found = self._look()
      if values.num_train_epochs is not None:
        self._plan = self._find_plan()
        self._num_train_steps = self._plan.num_train_steps
    self._num_warmup_steps = settings.num_warmup_steps(
        values, self._num_train_steps)
    if self._found:
      self._found = preflight.plan(
          self._found, self._num_train_steps, self._num_warmup_steps,
          values.train_batch_size)
    self._export_folders = self._check_export()
    self._evaluations = self._find_evaluations()
    self._watchdog: Any = None

  def _read_config(self):
    """Returns the model's BertConfig; checks that the vocabulary fits to it."""
    values = self._values
    with _named("bert_config_file", values.bert_config_file):
      config = hugging_face.load_config(values.bert_config_file)
    vocab_size = None
    if values.vocab_file:
      with _named("vocab_file", values.vocab_file):
        instances_lib.check_vocabulary(values.vocab_file)
        vocab = tokenization.load_vocab(values.vocab_file)
      vocab_size = max(vocab.values()) + 1
    validation.check_model(config, values.bert_config_file,
                       values.max_seq_length, vocab_size, values.vocab_file)
    return config

  def _find_record(self):
    """Returns the StreamRecord that the training goes by."""
    record = self._train_input.record(self._engine.num_hosts)
    if self._latest is None:
      return record
    values = self._values
    before = validation.check_stream(record, values.output_dir,
                                 values.accept_new_stream)
    if before:
      return before
    if (examples_seen.is_counted(self._latest) and
        not resume.exists(values.output_dir)):
      logger.warning(
          "%s lacks %s, so where in its stream the run was is not known: it "
          "goes on at the start of a new one", values.output_dir,
          resume.STREAM_FILE)
    return record._replace(first_example=examples_seen.read(
        self._latest, values.train_batch_size))

  def _find_plan(self):
    """Returns the training_plan.TrainingPlan that the training goes by."""
    values = self._values
    if not self._train_input.options:
      raise ValueError(
          "--num_train_epochs needs raw text, and --input_file=%s holds "
          "TFRecords; pass --num_train_steps." % values.input_file)
    return training_plan.find(
        # A run that has saved nothing yet may be planned anew.
        self._latest and values.output_dir, values.num_train_epochs,
        values.train_batch_size, self._estimate)

  def _estimate(self):
    """Returns about how many examples a pass over the text has."""
    found = self._found or self._train_input.look(frozenset())
    if not found.examples_per_epoch:
      raise ValueError(
          "A sample of --input_file=%s yields no example, so an epoch's can't "
          "be estimated. Pass --num_train_steps in place of "
          "--num_train_epochs." % self._values.input_file)
    return found.examples_per_epoch

  def _find_eval_inputs(self):
    """Returns a dict from what a text is, see evaluation.py, to its examples.
    """
    values = self._values
    patterns = []
    if values.eval_input_file:
      patterns.append((evaluation.DOMAIN, values.eval_input_file))
    elif values.do_eval:
      patterns.append((evaluation.TRAINING, values.input_file))
    if values.general_eval_input_file:
      patterns.append((evaluation.GENERAL, values.general_eval_input_file))
    if not values.do_eval and not values.eval_every_steps:
      return {}
    return {text: ExampleSource(values, files) for text, files in patterns}

  def _held_out_inputs(self):
    """Returns (flag, ExampleSource) of the texts that nobody should train on.
    """
    flags = {evaluation.DOMAIN: "eval_input_file",
             evaluation.GENERAL: "general_eval_input_file"}
    return [(flags[text], source) for text, source in self._eval_inputs.items()
            if text in flags]

  def _check_held_out(self):
    """Hashes what is held out; refuses files that are trained on, too."""
    for flag, source in self._held_out_inputs():
      validation.check_files_differ(self._train_input.files, source.files, flag)
      self._held_out |= source.document_hashes()

  def _look(self):
    """Returns the Preflight of the text, where a run begins; else None.

    Raises:
      ValueError: it has documents that are evaluation text, too.
    """
    values = self._values
    if self._latest and not values.preflight_only:
      return None
    found = self._train_input.look(self._held_out)
    if found.held_out and not values.accept_eval_overlap:
      raise ValueError(
          "The text to train on, --input_file=%s, and the evaluation text "
          "share documents, which would be judged too well: %d in the sample "
          "that was looked at, e.g. \"%s...\". Take them out of one of the "
          "two, or pass --accept_eval_overlap." % (
              values.input_file, len(found.held_out), found.held_out[0]))
    return found

  def _check_export(self):
    """Returns the folders, for TensorFlow and Hugging Face, that the result is
    exported to; checks that it can be."""
    folder = self._values.export_dir
    if not folder:
      return {}
    folders = {"output_tf": os.path.join(folder, "tf"),
               "output_hf": os.path.join(folder, "hf")}
    conversion.check_export(
        self._config, self._values.vocab_file, **folders)
    return folders

  def _find_evaluations(self):
    """Returns the evaluation.Evaluations of the run."""
    values = self._values
    held_out = [
        evaluation.HeldOut(
            text, source.identity(values.eval_batch_size,
                                  values.max_eval_steps),
            functools.partial(self._evaluate, source, text))
        for text, source in self._eval_inputs.items()]
    return evaluation.Evaluations(
        values.output_dir, held_out,
        every_steps=values.eval_every_steps, last_step=self._num_train_steps,
        keep_best=values.keep_best, patience=values.early_stopping_patience,
        is_before=bool(values.do_train and self._held_out_inputs()))

  def _open_flow(self):
    """Opens the flow of raw text to train on."""
    values = self._values
    self._train_input.open_flow(
        skipped=self._record.first_example, folder=values.output_dir,
        num_workers=values.num_workers, held_out=self._held_out)

  def _write_records(self):
    """Writes what the folder is to say of the run; from here on it is one."""
    values = self._values
    step = self._latest_step()
    if self._plan:
      self._plan.save(values.output_dir)
    if self._record:
      self._record.save(values.output_dir)
    if self._found:
      self._write_preflight()
    if self._train_input:
      self._evaluations.start(step)
    run_record.append(
        values.output_dir, step=step or 0,
        flags={name: getattr(values, name) for name in values.given},
        corpus=self._train_input and self._train_input.described())

  def _write_preflight(self):
    file_io.write(os.path.join(self._values.output_dir, preflight.FILE),
                  preflight.to_json(self._found).encode("utf-8"))

  def preflight(self):
    """Shows what a look at the text finds, and writes it to preflight.json.

    Raises:
      ValueError: there is no text to train on.
    """
    if not self._found:
      raise ValueError("--preflight_only looks at raw text to train on; pass "
                       "--do_train, and text as --input_file.")
    tf.io.gfile.makedirs(self._values.output_dir)
    self._write_preflight()
    print(preflight.to_text(self._found), flush=True)

  def run(self):
    """Trains and evaluates, as the flags say."""
    values = self._values
    try:
      tf.io.gfile.makedirs(values.output_dir)
      logs.log_to_file(values.output_dir, self._engine.host)
      if self._is_chief:
        self._write_records()
    except (OSError, tf.errors.OpError) as e:
      raise InputError("--output_dir=%s cannot be written: %s" %
                       (values.output_dir, e)) from e
    self._log_start()
    # What is done needs no others: they may be gone.
    is_training = bool(self._train_input) and not self._is_done()
    is_cluster = is_training and self._engine.is_cluster
    with cluster.lost_peers(is_cluster), cluster.Watchdog(
        values.watchdog_seconds, is_cluster) as self._watchdog:
      self._build(is_training)
      if is_training:
        self._train()
      if is_cluster and not (self._stop.is_stopping or self._stop.is_finished):
        self._await_checkpoint()
    if not self._is_chief:
      return
    try:
      if self._stop.signal is None and not self._stop.is_stopping:
        self._finish(is_training)
    finally:
      if self._train_input:
        self._write_report()

  def _write_report(self):
    """Writes report.html; the run is one without it."""
    try:
      report.write(self._values.output_dir)
    except (OSError, tf.errors.OpError) as e:
      logger.warning("the report cannot be written: %s", e)

  @property
  def _is_chief(self):
    return self._engine.host == 0

  def _train(self):
    tf.logging.info("***** Running training *****")
    tf.logging.info("  Batch size = %d", self._values.train_batch_size)
    targets = [self._num_train_steps]
    if self._values.use_tpu:
      # Which can't do both at once.
      targets = [step for step in self._evaluations.targets()
                 if step > (self._latest_step() or -1)]
    for target in targets:
      self._train_to(target)
      if self._stop.is_stopping or (
          self._values.use_tpu and self._evaluate_listed()):
        return

  def _train_to(self, target):
    """Trains to a global step, or to what ends the training before."""
    source = self._train_input
    if self._record:
      self._open_flow()
    hooks = [self._watchdog]
    if self._engine.is_cluster:
      hooks.append(cluster.DigestHook())
    else:
      hooks.append(signals.StopHook(self._stop))
    if source.flow:
      hooks.append(_FlowHook(source.flow))
      # A TPU's loop, and other machines, would wait for the examples.
      if not self._engine.is_cluster and not self._values.use_tpu:
        self._stop.on_first(source.flow.stop)
    try:
      with own_errors(source.flow):
        self._engine.train(source.input_fn(is_training=True), hooks, target)
    finally:
      self._stop.train(False)
      if source.flow:
        source.flow.close()
    self._log_flow(source, "training")
    if source.flow and source.flow.num_shared:
      logger.warning(
          "%d documents of the evaluation text were met in the text that was "
          "trained on: its figures are too good", source.flow.num_shared)

  def _on_saved(self, step, checkpoint):
    """Evaluates a checkpoint, if it is due; returns whether training ends."""
    if self._values.use_tpu or not self._evaluations.is_due(step):
      return False
    started = time.monotonic()
    with progress.clock.stopped(), self._watchdog.held():
      self._stop.is_finished = self._evaluations.run(step, checkpoint)
    seconds = time.monotonic() - started
    if self._engine.is_cluster and seconds > self._values.watchdog_seconds / 2:
      logger.warning(
          "evaluations take %d seconds, during which the other machines wait: "
          "they give up after --watchdog_seconds=%g; raise it", seconds,
          self._values.watchdog_seconds)
    # Several processes end behind the same step: see StopHook.
    return self._stop.is_finished and not self._engine.is_cluster

  def _evaluate_listed(self):
    """Evaluates what is due of the folder's checkpoints, between two trainings;
    returns whether training ends."""
    folder = self._values.output_dir
    for name in saver.load_state(folder).names():
      step = saver.step_of(name)
      if self._evaluations.is_due(step) and self._evaluations.run(
          step, os.path.join(folder, name)):
        return True
    return False

  def _evaluate(self, source, text, checkpoint):
    """Evaluates a checkpoint on a text, for evaluation.HeldOut."""
    values = self._values
    tf.logging.info("***** Running evaluation *****")
    tf.logging.info("  Batch size = %d", values.eval_batch_size)
    steps = values.max_eval_steps or None
    if not steps and values.use_tpu:
      steps = -(-source.count_examples() // values.eval_batch_size)
    if source.options:
      # Some hundred batches: not worth processes of their own.
      source.open_flow(num_epochs=1)
      self._stop.on_first(source.flow.stop)
    input_fn = source.input_fn(
        is_training=False, fixed_batches=values.use_tpu,
        whole=not values.max_eval_steps)
    name = None if text != evaluation.GENERAL else text
    count = _CountHook(self._stop)
    try:
      # In a thread of its own nothing of a training's graph, session and
      # strategy is in force.
      with own_errors(source.flow), futures.ThreadPoolExecutor(1) as thread:
        result = thread.submit(self._engine.evaluate, input_fn, steps,
                               checkpoint, name, [count]).result()
    except Exception as e:
      if self._stop.signal is None:
        raise
      if self._watchdog.is_training:
        return None
      # Interrupted, raised inside TensorFlow, may come out as another error.
      raise errors.Interrupted from e
    finally:
      if source.flow:
        source.flow.close()
    if self._stop.signal is not None:
      return None
    examples = count.num_batches * values.eval_batch_size
    if source.flow:
      examples = min(examples, source.flow.num_examples)
    metrics = {name: float(value) for name, value in result.items()}
    return dict(metrics, global_step=int(result["global_step"]),
                examples=examples)

  def _finish(self, is_trained):
    """Evaluates and hands over what was trained, or what there is.

    Args:
      is_trained: bool, whether this process has trained.
    """
    values = self._values
    latest = tf.train.latest_checkpoint(values.output_dir)
    step = self._latest_step()
    if self._eval_inputs:
      self._evaluations.run(step, latest, anew=not is_trained)
    if self._stop.signal is not None:
      raise errors.Interrupted
    if values.do_eval:
      for source in self._eval_inputs.values():
        self._log_flow(source, "evaluation")
      text = next(iter(self._eval_inputs))
      try:
        _write_results(self._evaluations.rows(text)[-1], values.output_dir)
      except (OSError, tf.errors.OpError) as e:
        raise InputError("eval_results.txt cannot be written: %s. The same "
                         "command does so again." % e) from e
    if self._export_folders and latest:
      self._export(latest)

  def _export(self, checkpoint):
    """Writes the result as others read it: the best checkpoint, if one is kept.
    """
    values = self._values
    best = tf.train.latest_checkpoint(
        os.path.join(values.output_dir, evaluation.BEST_FOLDER))
    if values.keep_best and best:
      checkpoint = best
    try:
      conversion.export(
          conversion.read_checkpoint(checkpoint, self._config),
          self._config, values.vocab_file, values.do_lower_case,
          **self._export_folders)
    except (OSError, ValueError, tf.errors.OpError) as e:
      raise InputError("--export_dir=%s cannot be written: %s" %
                       (values.export_dir, e)) from e
    logger.info("exported %s to %s", checkpoint,
                " and ".join(sorted(self._export_folders.values())))

  def _latest_step(self):
    """Returns the step of the output folder's latest checkpoint, or None."""
    latest = tf.train.latest_checkpoint(self._values.output_dir)
    # Not by load_variable, which takes some remote prefixes for folders.
    return int(tf.train.NewCheckpointReader(latest).get_tensor(
        "global_step")) if latest else None

  def _is_done(self):
    """Tells whether the output folder's latest checkpoint is the last one."""
    step = self._latest_step()
    return step is not None and (step >= self._num_train_steps or
                                 self._evaluations.is_exhausted())

  def _await_checkpoint(self):
    """Waits for the chief's last checkpoint: should it be killed before, it
    needs the others once more."""
    while not self._is_done():
      time.sleep(_SECONDS_BETWEEN_LOOKS)

  def _build(self, is_training):
    """Builds the estimator."""
    values = self._values
    try:
      self._engine.build(
          self._model_fn(), model_dir=values.output_dir,
          random_seed=values.random_seed, is_training=is_training)
    except ValueError as e:
      raise InputError(str(e)) from e

  def _model_fn(self):
    values = self._values
    return model_fn_builder(
        bert_config=self._config,
        init_checkpoint=values.init_checkpoint,
        learning_rate=values.learning_rate,
        num_train_steps=self._num_train_steps,
        num_warmup_steps=self._num_warmup_steps,
        use_tpu=values.use_tpu,
        use_one_hot_embeddings=values.use_tpu,
        log_every_steps=values.log_every_steps,
        random_seed=values.random_seed,
        epochs=self._train_input and self._train_input.epochs,
        learning_rate_decay=values.learning_rate_decay,
        optimizer=values.optimizer,
        gradient_accumulation_steps=values.gradient_accumulation_steps,
        precision=values.precision,
        is_chief=self._is_chief,
        on_eta=self._on_eta,
        stop=self._stop if self._engine.is_cluster else None,
        training_hooks=[self._checkpoint_hook()])

  def _checkpoint_hook(self):
    values = self._values
    return saver.CheckpointHook(
        values.output_dir, self._is_saved,
        max_to_keep=values.keep_checkpoint_max,
        keep_every_n_hours=values.keep_checkpoint_every_n_hours,
        is_chief=self._is_chief,
        steps_per_run=values.iterations_per_loop if values.use_tpu else 1,
        on_saved=self._on_saved)

  def _is_saved(self, step):
    """Tells whether a checkpoint is due at a step."""
    return (step % self._values.save_checkpoints_steps == 0 or
            self._evaluations.is_due(step))

  def _on_eta(self, seconds):
    if self._found and self._is_chief:
      self._found = self._found._replace(eta_seconds=round(seconds))
      try:
        self._write_preflight()
      except OSError as e:  # On a full disk the next checkpoint ends the run.
        logger.warning("%s", e)

  def _log_start(self):
    """Logs what the run starts from, and what the user may not expect."""
    values = self._values
    if values.output_file:
      logger.warning("--output_file is not used: no example is written.")
    if self._train_input:
      self._train_input.log("Input Files")
      if self._plan:
        logger.info("training for %s", self._plan)
        self._warn_of_plan()
      self._log_learning_rate()
      self._log_preflight()
    for source in self._eval_inputs.values():
      source.log("Evaluation Files")
    if evaluation.TRAINING in self._eval_inputs:
      logger.warning(
          "evaluation reads the training text; pass --eval_input_file to "
          "measure on text that was held out")
    if self._latest:
      step = self._latest_step()
      logger.info("going on from step %d in %s", step, values.output_dir)
      if values.do_train and step >= self._num_train_steps:
        logger.warning(
            "nothing to train: %d steps were asked for, and %s is at step %d",
            self._num_train_steps, values.output_dir, step)
      elif values.do_train and self._is_done():
        logger.warning(
            "nothing to train: the last --early_stopping_patience=%d "
            "evaluations in %s were no better than one before",
            values.early_stopping_patience, values.output_dir)
    elif values.init_checkpoint:
      logger.info("starting from the weights of %s", values.init_checkpoint)
      if self._fresh:
        how = "start fresh"
        if hugging_face.is_folder(values.init_checkpoint):
          how = ("are made, the transform before the masked-LM output as the "
                 "identity")
        logger.warning(
            "%s lacks %d of the model's variables; these %s: %s",
            values.init_checkpoint, len(self._fresh), how,
            ", ".join(self._fresh))
    else:
      logger.info("starting from fresh random weights")

  def _log_learning_rate(self):
    """Logs how the learning rate goes."""
    values = self._values
    logger.info("learning rate: %s", optimization.describe_learning_rate(
        values.learning_rate, self._num_train_steps, self._num_warmup_steps,
        values.learning_rate_decay))

  def _log_preflight(self):
    """Logs the table of what was found in the text, and what it warns of."""
    if self._found:
      logger.info("%s", preflight.to_text(
          self._found._replace(warnings=())).rstrip())
      for item in self._found.warnings:
        logger.warning("%s", item.text)
    elif self._num_warmup_steps >= self._num_train_steps:
      logger.warning("%s", preflight.warn_of_warmup(
          self._num_warmup_steps, self._num_train_steps))

  def _warn_of_plan(self):
    """Warns where a kept plan's epochs are no longer those of the run."""
    values = self._values
    changed = []
    if self._plan.train_batch_size != values.train_batch_size:
      changed.append("--train_batch_size was %d and is %d" % (
          self._plan.train_batch_size, values.train_batch_size))
    if self._latest and self._record.first_example:
      changed.append("the stream is another one since")
    if changed:
      logger.warning(
          "the number of steps stays the planned one, so the epochs will be "
          "others: %s. --num_train_steps sets another number",
          "; ".join(changed))

  def log_stop(self, reason):
    """Logs what ended the run too early, and where it will go on."""
    step = self._latest_step()
    where = ("anew: there is no checkpoint yet" if step is None else
             "from step %d" % step)
    logger.warning("stopped by %s; the same command goes on %s, in %s",
                   reason, where, self._values.output_dir)

  def _log_flow(self, source, purpose):
    if source.flow:
      logger.info("%d examples built for %s, none of them written to disk",
                  source.flow.num_examples, purpose)


class _FlowHook(tf.train.SessionRunHook):
  """Ends a training whose worker has died, before the examples run out."""

  def __init__(self, flow):
    self._flow = flow

  def after_run(self, run_context, run_values):
    self._flow.check()


@contextlib.contextmanager
def own_errors(flow):
  """Raises the flow's own error in place of TensorFlow's wrapping of it."""
  try:
    yield
  except worker_pool.WorkerError as e:
    raise InputError(str(e)) from e
  except tf.train.NanLossDuringTrainingError as e:
    raise InputError("The loss is not a number any more. Try a lower "
                     "--learning_rate, or a longer warm-up.") from e
  except tf.errors.OpError as e:
    if flow is None and isinstance(e, tf.errors.DataLossError):
      raise InputError("A TFRecord file of the input is damaged: %s. Copy it "
                       "again." % e.message.splitlines()[0]) from e
    if flow is None or not isinstance(flow.error, INPUT_ERRORS):
      raise
    raise InputError(str(flow.error)) from flow.error


@contextlib.contextmanager
def _named(flag, path):
  """Names the flag of a file that cannot be read."""
  try:
    yield
  except (OSError, tf.errors.OpError) as e:
    raise ValueError("--%s=%s cannot be read: %s" % (flag, path, e)) from e


class _CountHook(tf.train.SessionRunHook):
  """Counts an evaluation's batches; ends it at a signal.

  Args:
    stop: signals.Interruption.
  """

  def __init__(self, stop):
    self._stop = stop
    self.num_batches = 0

  def after_run(self, run_context, run_values):
    self.num_batches += 1
    if self._stop.signal is not None:
      run_context.request_stop()


def _write_results(row, output_dir):
  """Logs an evaluation's results and writes them to eval_results.txt.

  Args:
    row: dict, of the table of evaluations.
    output_dir: str.
  """
  logger.info("***** Eval results *****")
  # The figures were, and are shown as, float32.
  result = dict({name: np.float32(row[name]) for name in _FIGURES},
                global_step=row["global_step"])
  lines = ["%s = %s" % (key, result[key]) for key in sorted(result)]
  for line in lines:
    logger.info("  %s", line)
  path = os.path.join(output_dir, "eval_results.txt")
  with tf.io.gfile.GFile(path, "w") as writer:
    writer.write("".join(line + "\n" for line in lines))
