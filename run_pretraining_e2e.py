"""Continues the pretraining of a BERT on raw text, end to end.

    python run_pretraining_e2e.py --input_file=corpus/*.txt \
        --vocab_file=vocab.txt --bert_config_file=bert_config.json \
        --init_checkpoint=bert_model.ckpt --output_dir=out --do_train --do_eval

A drop-in fork of google-research/bert's run_pretraining.py: the same flags,
names, checkpoints and arithmetic. There, the examples come from TFRecord files
that another program wrote; here, `take_write_2_flow` builds them from the text
while the model trains, with new masks in every epoch and nothing on disk.
"""

import logging
import os
import sys

from absl import flags

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import tensorflow.compat.v1 as tf  # noqa: F401  Users import it from here.

import modeling  # noqa: F401  As in the original, for those who import this.
import optimization  # noqa: F401
from bert_e2e import flags as flags_lib
from bert_e2e.common import errors, logs
from bert_e2e.common.errors import InputError  # noqa: F401  Users import it from here.
from bert_e2e.data.instances import (  # noqa: F401  Users import them from here.
  TrainingInstance,
  fusion_input_and_out,
)
from bert_e2e.data.masking import num_to_predict  # noqa: F401  Users import it from here.
from bert_e2e.data.own_masks import (  # noqa: F401  Users import them from here.
  mask_positions,
  original_tokens,
)
from bert_e2e.data.text_source import take_write_2_flow  # noqa: F401  Users import it from here.
from bert_e2e.data.tf_example import (  # noqa: F401  Users import it from here.
  create_instance_to_example_files,
)
from bert_e2e.prepare import prepare
from bert_e2e.run import Run, run_preflight
from bert_e2e.training import cluster, signals
from bert_e2e.training.input_errors import INPUT_ERRORS
from bert_e2e.training.input_pipeline import (  # noqa: F401  Users import them from here.
  Flow,
  input_fn_builder,
)
from bert_e2e.training.model_fn import model_fn_builder  # noqa: F401  Users import it from here.
from modeling import (  # noqa: F401  Users import them from here.
  gather_indexes,
  get_masked_lm_output,
  get_next_sentence_output,
)

logger = logging.getLogger("run_pretraining_e2e")


def define_flags():
  """Defines the flags: those of both of the reference's programs, and ours."""
  flags_lib.define_all()


def main(argv):
  def read_config():
    flags_lib.check_no_arguments(argv[1:])
    return flags_lib.config_from_flags(flags.FLAGS)

  logs.log_to_terminal()
  with signals.SignalHandler() as stop:
    run = _prepare_run(read_config, stop)
    while run:
      _complete(run, stop)
      run = _next_stage(run, read_config, stop)


def _prepare_run(read_config, stop):
  """Returns the Run of a config; None if only its preflight was wanted."""
  try:
    prepared = prepare(read_config())
    if prepared.config.run.preflight_only:
      run_preflight(prepared)
      return None
    return Run(prepared, stop)
  except INPUT_ERRORS as e:
    sys.exit("run_pretraining_e2e.py: %s" % e)
  except errors.Interrupted:
    sys.exit(stop.exit_code)


def _next_stage(run, read_config, stop):
  """Returns the Run of the next stage of a training; None after the last."""
  try:
    if not run.next_lock:
      return None
    with run.next_lock as lock:
      prepared = prepare(read_config(), has_lock=True)
      return Run(prepared, stop, lock.pop_all())
  except INPUT_ERRORS as e:
    logger.error("the next stage cannot begin: %s", e)
    sys.exit(1)
  except errors.Interrupted:
    run.log_stop(stop.signal.name)
    sys.exit(stop.exit_code)


def _complete(run, stop):
  """Runs a Run to its end; exits if it does not end as it should."""
  try:
    run.run()
  except errors.InputError as e:
    logger.error("%s", e)
    sys.exit(1)
  except cluster.LostWorker as e:
    logger.error("%s", e)
    sys.exit(errors.EXIT_RESTART)
  except errors.Restart:
    os.execv(sys.executable, [sys.executable, *sys.argv])
  except errors.Interrupted:
    pass
  if stop.signal is not None:
    run.log_stop(stop.signal.name)
    sys.exit(stop.exit_code)
  if stop.is_stopping:
    run.log_stop("another worker")
    sys.exit(errors.EXIT_RESTART)


if __name__ == "__main__":
  define_flags()
  flags_lib.run(main)
