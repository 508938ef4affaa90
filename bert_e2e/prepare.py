"""Checks and plans a run, before anything is built or written.

`prepare` turns a Config into a PreparedRun or raises one ValueError that names
the flag, the file and the remedy. run.py then trains and evaluates.
"""

import contextlib
import dataclasses
import functools
import logging
import os
from typing import Callable, Dict, Optional

import tensorflow.compat.v1 as tf

import modeling
import tokenization
from bert_e2e import output_files, recipes
from bert_e2e.checkpoints import (
  checkpoint_list,
  conversion,
  examples_seen,
  hugging_face,
  initial_weights,
  model_path,
  new_rows,
  validation,
)
from bert_e2e.common import file_io, input_files
from bert_e2e.config import Config, MixturePart
from bert_e2e.data import preflight as preflight_lib
from bert_e2e.data import (
  preflight_model,
  preflight_text,
  resume,
  strategies,
  text_lines,
)
from bert_e2e.data.pieces import (
  check_vocabulary,
  read_pieces,
  warn_of_repeated_pieces,
)
from bert_e2e.training import (
  cluster,
  evaluation,
  heads_first,
  input_validation,
  objectives,
  stages,
  training_plan,
)
from bert_e2e.training import engine as engine_lib
from bert_e2e.training import probe as probe_lib
from bert_e2e.training.example_source import ExampleSource
from bert_e2e.training.probe_source import ProbeSource
from bert_e2e.training.run_lock import RunLock

logger = logging.getLogger(__name__)

# The flags that name text which should not be trained on.
_HELD_OUT_FLAGS = {evaluation.DOMAIN: "eval_input_file",
                   evaluation.GENERAL: "general_eval_input_file"}


@dataclasses.dataclass(frozen=True)
class PreparedTraining:
  """What a run trains on.

  Attributes:
    source: ExampleSource of --input_file.
    held_out: text_lines.HeldOut of the evaluation texts and the probe.
    stream_record: resume.StreamRecord of the example stream; None for
      TFRecords.
    epoch_plan: training_plan.TrainingPlan; None without --num_train_epochs.
    find_preflight: function that waits for the preflight of the text and
      returns it; None for TFRecords and for a run that resumes.
    starting_model: see `model`; None for a run with a preflight, which has it.
  """
  source: ExampleSource
  held_out: text_lines.HeldOut = text_lines.NOTHING_HELD_OUT
  stream_record: Optional[resume.StreamRecord] = None
  epoch_plan: Optional[training_plan.TrainingPlan] = None
  find_preflight: Optional[Callable[[], preflight_lib.Preflight]] = None
  starting_model: Optional[preflight_model.StartingModel] = None

  @property
  def preflight(self):
    """preflight.Preflight of the text, or None, as soon as it is there.

    Raises:
      OSError, ValueError, worker_pool.WorkerError: see
        TextSource.start_preflight.
    """
    return self.find_preflight and self.find_preflight()

  @property
  def model(self):
    """preflight_model.StartingModel, which the run starts from; None without
    --init_checkpoint and for a run that resumes. Waits for the preflight."""
    preflight = self.preflight
    return preflight.model if preflight else self.starting_model


@dataclasses.dataclass(frozen=True)
class PreparedRun:
  """A run that was checked and planned from end to end.

  Attributes:
    config: the Config, completed by what --init_checkpoint implies.
    bert_config: modeling.BertConfig.
    engine: engine.Engine.
    latest: path prefix of the latest checkpoint in --output_dir when the run
      was prepared, or None.
    initial: initial_weights.InitialWeights of --init_checkpoint; None without
      one.
    training: PreparedTraining; None without --do_train.
    eval_sources: dict from the kind of a text (see evaluation.py) to its
      ExampleSource.
    probe: probe_source.ProbeSource; None without --probe_train_file.
    num_train_steps, num_warmup_steps: int; the warm-up follows the head steps.
    planned: stages.Plan; None, or without stages, without --stages. If the
      current stage is not the last one, the next one is prepared when it ends.
    head_plan: heads_first.HeadPlan.
    export_dirs: dict with "output_tf" and "output_hf"; empty without
      --export_dir.
    lock: RunLock of --output_dir, to hold while the run writes there; None for
      a run that only evaluates, for workers after the first one, and if the
      process holds it already.
  """
  config: Config
  bert_config: modeling.BertConfig
  engine: engine_lib.Engine
  latest: Optional[str]
  initial: Optional[initial_weights.InitialWeights]
  training: Optional[PreparedTraining]
  eval_sources: Dict[str, ExampleSource]
  probe: Optional[ProbeSource]
  num_train_steps: int
  num_warmup_steps: int
  head_plan: heads_first.HeadPlan
  export_dirs: Dict[str, str]
  lock: Optional[RunLock]
  planned: Optional[stages.Plan] = None

  @property
  def requested_config(self):
    """Config: `config` without what the current stage sets."""
    return self.planned.config if self.planned else self.config

  @property
  def stage(self):
    """stages.Stage that is trained, or was last; None without --stages."""
    return self.planned and self.planned.current

  @property
  def last_step(self):
    """int, the global step at which the training of this run ends: the last
    one, or that of its stage."""
    return self.stage.last_step if self.stage else self.num_train_steps

  @property
  def has_held_out_text(self):
    """bool, whether there is text to evaluate on that is not trained on."""
    return bool(self.probe) or any(
        text in _HELD_OUT_FLAGS for text in self.eval_sources)


def prepare(config, has_lock=False):
  """Checks and plans a run.

  Args:
    config: Config, validated.
    has_lock: bool, whether this process holds the lock of --output_dir.

  Returns:
    PreparedRun.

  Raises:
    OSError: a file of a Hugging Face directory can't be read.
    ValueError: the input cannot be used; the message says why and what to do.
  """
  if config.run.do_train:
    strategies.find(config.data.strategy)  # Before anything that takes time.
  config = _with_defaults_of_model(config)
  checkpoint = config.checkpoint
  engine = _make_engine(config)
  config = recipes.with_micro_batches(config, engine.num_replicas)
  lock = None if has_lock else _check_lock(config, engine)
  bert_config = _read_bert_config(config)
  config = _with_tokenizer_of_model(config)
  tokenization.validate_case_matches_checkpoint(
      config.tokenizer.do_lower_case, checkpoint.init_checkpoint)
  latest = validation.check_output_dir(
      checkpoint.output_dir, bert_config, checkpoint.bert_config_file,
      config.optimizer.optimizer if config.run.do_train else None)
  initial = None
  if checkpoint.init_checkpoint:
    initial = initial_weights.check(
        checkpoint.init_checkpoint, bert_config, checkpoint.bert_config_file,
        checkpoint.extend_positions)
    _check_new_tokens(config, initial.new_tokens, bert_config)
  _check_sweep(config, latest)
  planned = _plan_stages(config, engine, latest)
  _check_stages(config, planned)
  config = planned.for_evaluation(config)
  eval_sources, probe = _make_eval_sources(config), _make_probe(config)
  config = planned.for_training(config)
  training = None
  if config.run.do_train:
    engine = _make_engine(config)
    training = _prepare_training(
        config, engine, latest, planned, eval_sources, probe)
  num_train_steps = config.optimizer.num_train_steps
  if training and training.epoch_plan:
    num_train_steps = training.epoch_plan.num_train_steps
  planned = planned.with_steps(num_train_steps)
  head_plan = _find_head_plan(config, latest, initial, num_train_steps)
  num_warmup_steps = _num_warmup_steps(
      config.optimizer, num_train_steps - head_plan.num_head_steps)
  run = PreparedRun(
      config, bert_config, engine, latest, initial, training,
      eval_sources, probe, num_train_steps, num_warmup_steps, head_plan,
      _check_export(config, bert_config), lock, planned)
  return _with_report(run)


# ------------------------------------------------------------ model and engine


def _with_defaults_of_model(config):
  """Finds the initial model, and fills in what it says and no flag does.

  Raises:
    ValueError: there is no model, or --bert_config_file is missing.
  """
  checkpoint, data = config.checkpoint, config.data
  if checkpoint.init_checkpoint:
    model = model_path.find(checkpoint.init_checkpoint, "--init_checkpoint")
    checkpoint = dataclasses.replace(
        checkpoint, init_checkpoint=model.path,
        bert_config_file=checkpoint.bert_config_file or model.config_file)
    data = dataclasses.replace(
        data, vocab_file=data.vocab_file or model.vocab_file)
  if not checkpoint.bert_config_file:
    raise ValueError(
        "--bert_config_file is missing. Pass the bert_config.json of the model "
        "to train; it is only found by itself beside --init_checkpoint.")
  return dataclasses.replace(config, checkpoint=checkpoint, data=data)


def _with_tokenizer_of_model(config):
  """Fills in how the text of the model to start from is split, as far as it is
  recorded and no flag says."""
  path = config.checkpoint.init_checkpoint
  if not path:
    return config
  tokenizer = config.tokenizer
  recorded = conversion.recorded_tokenizer(
      path, is_split_into_words=not (
          tokenizer.tokenize_chinese_chars or tokenizer.do_split_on_punc))
  directory = hugging_face.find_directory(path)
  if directory and "do_lower_case" not in {*recorded, *config.given}:
    logger.warning(
        "%s does not say whether its model is uncased; assuming "
        "--do_lower_case=%s", directory, tokenizer.do_lower_case)
  return dataclasses.replace(config, tokenizer=dataclasses.replace(
      tokenizer, **{name: value for name, value in recorded.items()
                    if name not in config.given}))


def _make_engine(config):
  """Returns the Engine for the batch sizes of a Config."""
  return engine_lib.Engine(
      config.hardware, config.optimizer.train_batch_size,
      config.evaluation.eval_batch_size)


def _plan_stages(config, engine, latest):
  """Returns the stages.Plan of --stages; one without stages without the flag.

  The number of steps of a new run of --num_train_epochs is not known yet.
  """
  output_dir = config.checkpoint.output_dir
  steps = config.optimizer.num_train_steps
  if latest and config.optimizer.num_train_epochs is not None:
    stored = training_plan.load(output_dir)
    if not stored and config.optimizer.stages and config.run.do_train:
      raise ValueError(
          "--num_train_epochs needs %s of the run in --output_dir=%s to tell "
          "its --stages. Pass the number of its steps as --num_train_steps." % (
              training_plan.PLAN_FILE, output_dir))
    steps = stored.num_train_steps if stored else steps
  return stages.plan(
      config, checkpoint_list.latest_step(output_dir) if latest else 0,
      engine.num_replicas * config.hardware.gradient_accumulation_steps, steps)


def _check_stages(config, planned):
  """Raises ValueError if the input or the strategy does not fit all stages."""
  if not config.run.do_train or not planned.stages:
    return
  if config.data.input_file and input_validation.are_tfrecords(
      input_files.expand(config.data.input_file, _is_own_output(config))):
    config.check_for_records()
  strategy = strategies.find(config.data.strategy)
  if strategy:
    for stage in planned.stages:
      strategy.check_options(stage.apply(config).instances.validated())


def _check_lock(config, engine):
  """Returns PreparedRun.lock; checks that no other run holds it."""
  if not config.run.do_train or config.run.preflight_only:
    return None
  is_chief = engine.host == 0
  lock = RunLock(
      config.checkpoint.output_dir, engine.addresses,
      "" if engine.is_cluster else cluster.launcher_advice(os.environ))
  lock.check(is_member=not is_chief)
  return lock if is_chief else None


@contextlib.contextmanager
def _naming(flag, path):
  """Names the flag of a file that cannot be read."""
  try:
    yield
  except (OSError, tf.errors.OpError) as e:
    raise ValueError("--%s=%s cannot be read: %s" % (flag, path, e)) from e


def _read_bert_config(config):
  """Returns the BertConfig; checks that vocabulary and lengths fit to it."""
  path, vocab_file = config.checkpoint.bert_config_file, config.data.vocab_file
  with _naming("bert_config_file", path):
    bert_config = hugging_face.load_config(path)
  vocab_size = None
  if vocab_file:
    with _naming("vocab_file", vocab_file):
      pieces = check_vocabulary(vocab_file)
    warn_of_repeated_pieces(vocab_file, pieces)
    vocab_size = len(pieces)
  max_seq_length = max(
      (stage.max_seq_length for stage in config.optimizer.stage_shares()),
      default=config.instances.max_seq_length)
  if config.checkpoint.extend_positions:
    bert_config.max_position_embeddings = max(
        max_seq_length, bert_config.max_position_embeddings)
  input_validation.check_model(
      bert_config, path, max_seq_length, vocab_size, vocab_file)
  return bert_config


def _check_new_tokens(config, new_tokens, bert_config):
  """Raises ValueError if the new rows of the initial model are of another
  vocabulary; see new_rows.check."""
  vocab_file = config.data.vocab_file
  if new_tokens.tokens:
    new_rows.check(
        new_tokens, config.checkpoint.init_checkpoint, bert_config.vocab_size,
        read_pieces(vocab_file) if vocab_file else None)


def _check_sweep(config, latest):
  """Raises ValueError if there will be no trained model for --sweep_weights."""
  if config.evaluation.sweep_weights and not (config.run.do_train or latest):
    raise ValueError(
        "--sweep_weights needs a trained model, but --output_dir=%s has no "
        "checkpoint. Pass the output directory of a training, or --do_train." %
        config.checkpoint.output_dir)


def _check_export(config, bert_config):
  """Returns PreparedRun.export_dirs; checks that they can be written."""
  export_dirs = _export_dirs(config)
  if export_dirs:
    conversion.check_export(
        bert_config, config.data.vocab_file, **export_dirs,
        source=hugging_face.find_directory(config.checkpoint.init_checkpoint))
  return export_dirs


def _export_dirs(config):
  """Returns PreparedRun.export_dirs."""
  directory = config.checkpoint.export_dir
  if not directory:
    return {}
  return {"output_tf": os.path.join(directory, "tf"),
          "output_hf": os.path.join(directory, "hf")}


def _find_head_plan(config, latest, initial, num_train_steps):
  """Returns PreparedRun.head_plan."""
  if not config.run.do_train:
    return heads_first.HeadPlan()
  missing = [name for name in (initial.untrained if initial else ())
             if objectives.is_trained(
                 name, config.instances.sentence_objective)]
  return heads_first.find(
      latest and config.checkpoint.output_dir, config.optimizer.num_head_steps,
      missing, num_train_steps, initial.new_tokens.rows if initial else ())


def _num_warmup_steps(optimizer, num_train_steps):
  """Returns the number of warmup steps of a schedule of so many steps, int."""
  if optimizer.warmup_proportion is None:
    return optimizer.num_warmup_steps
  return round(optimizer.warmup_proportion * num_train_steps)


# --------------------------------------------------------------------- the text


def _is_own_output(config):
  """Returns the function that tells whether a run writes a file itself."""
  return functools.partial(
      output_files.is_output, output_dir=config.checkpoint.output_dir,
      export_dirs=_export_dirs(config).values())


def _make_source(config, parts):
  """Returns the ExampleSource of a list of config.MixtureParts."""
  data = config.data
  return ExampleSource(
      parts, vocab_file=data.vocab_file, random_seed=data.random_seed,
      chunk_lines=data.chunk_lines, strategy=data.strategy,
      is_skipped=_is_own_output(config),
      **dataclasses.asdict(config.reader),
      **dataclasses.asdict(config.tokenizer),
      **dataclasses.asdict(config.instances),
      **dataclasses.asdict(config.packing))


def _make_eval_sources(config):
  """Returns PreparedRun.eval_sources."""
  options = config.evaluation
  if not config.run.do_eval and not options.eval_every_steps:
    return {}
  texts = {}
  if options.eval_input_file:
    texts[evaluation.DOMAIN] = [
        MixturePart("--eval_input_file", options.eval_input_file)]
  elif config.run.do_eval:
    texts[evaluation.TRAINING] = [
        part for part in config.mixture.parts(config.data.input_file)
        if not part.is_replay]
  if options.general_eval_input_file:
    texts[evaluation.GENERAL] = [MixturePart(
        "--general_eval_input_file", options.general_eval_input_file)]
  # Built and masked in one way whatever the training's is, so that metrics
  # compare.
  config = dataclasses.replace(
      config, instances=config.instances.with_default_masks(),
      packing=config.packing.of_text(options.pack_eval_sequences),
      data=dataclasses.replace(config.data, strategy=None))
  sources = {
      text: _make_source(config, parts) for text, parts in texts.items()}
  for source in sources.values():
    source.check()
  return sources


def _make_probe(config):
  """Returns PreparedRun.probe."""
  options, data = config.evaluation, config.data
  if not options.probe_train_file:
    return None
  probe_lib.check_installed()
  if not data.vocab_file:
    raise ValueError("--vocab_file is missing; --probe_train_file needs it.")
  return ProbeSource(
      options, vocab_file=data.vocab_file, tokenizer=config.tokenizer,
      max_seq_length=config.instances.max_seq_length,
      random_seed=data.random_seed, invalid_utf8=config.reader.invalid_utf8)


def _prepare_training(config, engine, latest, planned, eval_sources, probe):
  """Returns the PreparedTraining; its preflight has no schedule and no model.
  """
  packing = config.packing.of_text(config.packing.pack_sequences)
  source = _make_source(dataclasses.replace(config, packing=packing),
                        config.mixture.parts(config.data.input_file))
  if not source.text:
    config.check_for_records()
  elif not source.formats:
    config.reader.check_for_plain_text()
  held_out = _hash_held_out(source, eval_sources, probe)
  record = find_preflight = plan = None
  if source.text:
    record = _find_stream_record(config, source, engine, latest, planned)
    find_preflight = _start_preflight(config, source, latest, held_out)
  if config.optimizer.num_train_epochs is not None:
    plan = _find_epoch_plan(config, source, latest, find_preflight)
  return PreparedTraining(source, held_out, record, plan, find_preflight)


def _hash_held_out(train_source, eval_sources, probe):
  """Hashes what is evaluated on; refuses files that are also trained on."""
  held_out_sources = {
      flag: eval_sources[text] for text, flag in _HELD_OUT_FLAGS.items()
      if text in eval_sources}
  sources = list(held_out_sources.values())
  files = {flag: source.files for flag, source in held_out_sources.items()}
  if probe:
    sources.append(probe)
    files.update((flag, [path]) for flag, path in probe.files.items())
  for flag, paths in files.items():
    input_validation.check_files_differ(train_source.parts, paths, flag)
  held_out = text_lines.NOTHING_HELD_OUT
  for source in sources:
    held_out = held_out.union(source.held_out())
  return held_out


def _find_stream_record(config, source, engine, latest, planned):
  """Returns the StreamRecord of the stream that training reads."""
  record = source.record(engine.num_hosts)
  if latest is None:
    return record
  output_dir = config.checkpoint.output_dir
  if planned.begins_stage() and resume.is_stream_of(
      record.with_options(planned.previous_options()), output_dir):
    return record._replace(first_example=examples_seen.read(
        latest, config.optimizer.train_batch_size))
  try:
    before = resume.check_stream(
        record, output_dir, config.data.accept_new_stream)
  except ValueError as e:
    if planned.current:
      raise ValueError("%s According to --stages, step %d is in %s." % (
          e, planned.step, planned.current)) from e
    raise
  if before:
    return before
  if examples_seen.is_counted(latest) and not resume.exists(output_dir):
    logger.warning(
        "%s has no %s, so the position in the example stream is unknown: "
        "training continues at the start of a new stream", output_dir,
        resume.STREAM_FILE)
  return record._replace(first_example=examples_seen.read(
      latest, config.optimizer.train_batch_size))


def _start_preflight(config, source, latest, held_out):
  """Starts the preflight of the text at the start of a run.

  Returns:
    See TextSource.start_preflight; None for a run that resumes.

  Raises:
    ValueError: the text shares documents with the evaluation texts, or
      documents or lines with the probe.
  """
  if latest and not config.run.preflight_only:
    source.check()
    return None
  samples = source.sample(held_out)
  for part, sampled in zip(source.parts, samples):
    if sampled.held_out and not config.evaluation.accept_eval_overlap:
      raise ValueError(
          "The training text, %s, and %s share %s, which would inflate the "
          "metrics: %d in the sample, e.g. \"%s...\". Remove them from one of "
          "the two, or pass --accept_eval_overlap." % (
              part.in_words, held_out.name, held_out.units,
              len(sampled.held_out), sampled.held_out[0]))
  return source.start_preflight(
      # Its errors are those of the user's code, which end a run at once.
      samples, in_worker=bool(config.data.num_workers) and (
          config.data.strategy is None))


def _find_epoch_plan(config, source, latest, find_preflight):
  """Returns the TrainingPlan of --num_train_epochs."""
  if not source.text:
    raise ValueError(
        "--num_train_epochs%s needs raw text, but --input_file=%s holds "
        "TFRecords; pass --num_train_steps." % (
            " of --recipe=%s" % config.run.recipe
            if "num_train_epochs" in config.filled_in else "",
            config.data.input_file))

  def estimate():
    find = find_preflight or source.start_preflight(
        source.sample(text_lines.NOTHING_HELD_OUT))
    num_examples = preflight_lib.epoch_examples(find())
    if not num_examples:
      raise ValueError(
          "A sample of %s yields no examples, so the length of an epoch cannot "
          "be estimated. Pass --num_train_steps instead of --num_train_epochs."
          % source.parts[0].in_words)
    return num_examples

  return training_plan.find(
      # A run without a checkpoint may be planned again.
      latest and config.checkpoint.output_dir,
      config.optimizer.num_train_epochs, config.optimizer.train_batch_size,
      estimate)


def _with_report(run):
  """Returns a PreparedRun with the plan of steps, and the model that it starts
  from, in its preflight, if any."""
  if not run.training:
    return run
  find = run.training.find_preflight
  if not find:
    return dataclasses.replace(run, training=dataclasses.replace(
        run.training, starting_model=_describe_model(run)))

  @functools.lru_cache(maxsize=None)
  def find_planned():
    planned = preflight_lib.plan(
        find(), run.num_train_steps, run.num_warmup_steps,
        run.config.optimizer.train_batch_size, run.head_plan.num_head_steps,
        run.engine.num_replicas *
        run.config.hardware.gradient_accumulation_steps,
        ",".join(run.config.optimizer.stages),
        _max_epochs(run))
    return planned._replace(model=_describe_model(run, planned))

  return dataclasses.replace(run, training=dataclasses.replace(
      run.training, find_preflight=find_planned))


def _max_epochs(run):
  """Returns the epochs that raise no warning; None for the usual number. Those
  of a recipe, rounded up to whole steps, are as many as they may be."""
  if "num_train_epochs" not in run.config.filled_in:
    return None
  plan = run.training.epoch_plan
  return 1.001 * plan.num_train_steps * plan.train_batch_size / (
      plan.epoch_examples)


def _describe_model(run, preflight=None):
  """Returns the StartingModel of a training, a PreparedRun; None if it starts
  from new weights or has started before."""
  if not run.initial or run.latest:
    return None
  config = run.config
  options = {name: config.get(name) for name in preflight_model.OPTIONS}
  for name, value in options.items():
    if value is None:
      options[name] = getattr(run.bert_config, name, None)
  num_sequences = run.num_train_steps * config.optimizer.train_batch_size
  if preflight and preflight.pack_sequences:
    num_sequences = round(num_sequences * preflight.mean_sequences_per_pack)
  return preflight_model.describe(preflight_model.Start(
      missing=tuple(run.initial.untrained),
      is_sentence_encoder=run.initial.is_sentence_encoder,
      trains_sentences=objectives.SENTENCE_OBJECTIVES[
          config.instances.sentence_objective].is_trained,
      num_head_steps=run.head_plan.num_head_steps,
      num_sequences=num_sequences,
      epochs=preflight.epochs if preflight else None,
      has_text=bool(run.training.source.text), options=options,
      given=frozenset(filter(config.is_given, options))))


def write_preflight(preflight, output_dir):
  """Writes preflight.json; raises OSError if that fails."""
  file_io.write(os.path.join(output_dir, preflight_lib.FILE),
                preflight_text.to_json(preflight).encode("utf-8"))
