"""What a run was asked for: its flags, and what follows for those not given.

A folder of Hugging Face's transformers as --init_checkpoint says by itself what
its config, its vocabulary and its case are.
"""

import logging
import types

from bert_e2e.checkpoints import hugging_face

logger = logging.getLogger(__name__)

_AT_LEAST_1 = ("train_batch_size", "eval_batch_size", "num_train_steps",
               "save_checkpoints_steps", "iterations_per_loop",
               "log_every_steps", "chunk_lines", "num_tpu_cores")
# Two flags that say the same thing: the former as a number of steps.
_ALTERNATIVES = (("num_train_steps", "num_train_epochs"),
                 ("num_warmup_steps", "warmup_proportion"))


def resolve(values):
  """Completes and checks the flags, as far as they alone say.

  Args:
    values: absl.flags.FlagValues, parsed.

  Returns:
    types.SimpleNamespace with each flag's value, and `given`, the set of the
    names of those that were passed.

  Raises:
    OSError: a file of a Hugging Face folder can't be read.
    ValueError: a number that no run could mean, flags that contradict each
      other, a folder that says what our tokenizer does not do, a file that is
      needed and not named.
  """
  settings = types.SimpleNamespace(**values.flag_values_dict())
  settings.given = {name for name in values if values[name].present}
  if not settings.do_train and not settings.do_eval:
    raise ValueError("Nothing to do: pass --do_train, --do_eval or both.")
  _check_numbers(settings)
  _check_evaluation(settings)
  if settings.init_checkpoint and hugging_face.is_folder(
      settings.init_checkpoint):
    _take_from_folder(settings)
  if not settings.bert_config_file:
    raise ValueError(
        "--bert_config_file is missing. It is the bert_config.json of the model"
        " to train; only a Hugging Face folder as --init_checkpoint brings its "
        "own.")
  return settings


def _take_from_folder(settings):
  """Takes from a Hugging Face folder what no flag says."""
  folder = settings.init_checkpoint
  config_file = hugging_face.config_file(folder)
  settings.bert_config_file = settings.bert_config_file or config_file
  if not settings.vocab_file:
    settings.vocab_file = hugging_face.find_vocab_file(folder)
  if "do_lower_case" not in settings.given:
    lower = hugging_face.read_do_lower_case(folder)
    if lower is None:
      logger.warning(
          "%s does not say whether its model is an uncased one; taken for "
          "--do_lower_case=%s", folder, settings.do_lower_case)
    else:
      settings.do_lower_case = lower


def _check_evaluation(settings):
  """Raises ValueError where what is to be evaluated, or when, is missing."""
  if settings.eval_every_steps and not (
      settings.do_train and settings.eval_input_file):
    raise ValueError(
        "--eval_every_steps=%d evaluates while it trains, on text that was "
        "held out: it needs --do_train and --eval_input_file." %
        settings.eval_every_steps)
  for name in ("keep_best", "early_stopping_patience"):
    if getattr(settings, name) and not settings.eval_every_steps:
      raise ValueError("--%s needs --eval_every_steps." % name)
  if settings.general_eval_input_file and not (
      settings.do_eval or settings.eval_every_steps):
    raise ValueError("--general_eval_input_file needs --do_eval or "
                     "--eval_every_steps.")
  if settings.export_dir and not settings.do_train:
    raise ValueError("--export_dir needs --do_train; convert_checkpoint.py "
                     "exports what was trained before.")


def num_warmup_steps(settings, num_train_steps):
  """Returns the steps of the warm-up, int, of a run of so many steps."""
  if settings.warmup_proportion is None:
    return settings.num_warmup_steps
  return round(settings.warmup_proportion * num_train_steps)


def _check_numbers(settings):
  """Raises ValueError for a number that no run could mean."""
  for name in _AT_LEAST_1:
    if getattr(settings, name) < 1:
      raise ValueError("--%s=%d is out of range: it must be at least 1." %
                       (name, getattr(settings, name)))
  if settings.num_train_epochs is not None and not (
      0 < settings.num_train_epochs < float("inf")):
    raise ValueError("--num_train_epochs=%s is no positive number." %
                     settings.num_train_epochs)
  for steps, other in _ALTERNATIVES:
    if steps in settings.given and getattr(settings, other) is not None:
      raise ValueError("--%s and --%s say the same thing twice; pass one of "
                       "them." % (steps, other))
  if settings.warmup_proportion is not None and not (
      0 <= settings.warmup_proportion < 1):
    raise ValueError("--warmup_proportion=%s is out of range: it is a share of "
                     "the steps, 0 to 1." % settings.warmup_proportion)
  if not settings.watchdog_seconds > 0:
    raise ValueError("--watchdog_seconds=%s is no positive number." %
                     settings.watchdog_seconds)
  if not settings.keep_checkpoint_every_n_hours > 0:
    raise ValueError("--keep_checkpoint_every_n_hours=%s is no positive number."
                     % settings.keep_checkpoint_every_n_hours)
  for name in ("num_warmup_steps", "max_eval_steps", "keep_checkpoint_max",
               "eval_every_steps", "early_stopping_patience"):
    if getattr(settings, name) < 0:
      raise ValueError("--%s=%d is negative." % (name, getattr(settings, name)))
  if not 0 < settings.learning_rate < float("inf"):
    raise ValueError("--learning_rate=%s is no positive number." %
                     settings.learning_rate)
