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
import sys

from absl import app, flags

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import tensorflow.compat.v1 as tf  # noqa: F401  Users import it from here.

import modeling  # noqa: F401  As in the original, for those who import this.
import optimization
from bert_e2e import flags as flags_lib
from bert_e2e.common import errors, logs
from bert_e2e.common.errors import InputError
from bert_e2e.data import stream as stream_lib
from bert_e2e.data.tf_example import (  # noqa: F401  Users import it from here.
  create_instance_to_example_files,
)
from bert_e2e.job import INPUT_ERRORS, Job
from bert_e2e.training import cluster, engine, signals
from bert_e2e.training.input_pipeline import (  # noqa: F401  Users import them from here.
  Flow,
  input_fn_builder,
  take_write_2_flow,
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
  flags.DEFINE_string(
      "input_file", None,
      "Raw text, or TFRecords of examples: files or patterns, separated by "
      "commas. Text: one sentence a line, a blank line between documents.")
  flags.DEFINE_string(
      "eval_input_file", None,
      "Held-out raw text or TFRecords to evaluate on; without it, --do_eval "
      "reads --input_file.")
  flags.DEFINE_string(
      "general_eval_input_file", None,
      "Text of the kind that the model was pretrained on, or TFRecords: shows "
      "what is forgotten.")
  flags.DEFINE_string(
      "bert_config_file", None,
      "The model's config: a JSON file. By default that of --init_checkpoint, "
      "where that is a Hugging Face folder; so with --vocab_file and "
      "--do_lower_case.")
  flags.DEFINE_string(
      "output_dir", None, "Folder for checkpoints, results and train.log.")
  flags.DEFINE_string(
      "init_checkpoint", None,
      "Weights to start from: a checkpoint, e.g. bert_model.ckpt of a "
      "pretrained BERT, or a folder of Hugging Face's transformers.")
  flags.DEFINE_string(
      "output_file", None,
      "Accepted for old command lines and not used: no example is written.")
  flags_lib.define_instance_flags(dupe_factor=1)
  flags.DEFINE_integer(
      "chunk_lines", 1000, "Lines of text that become examples at once.")
  flags.DEFINE_integer(
      "num_workers", stream_lib.default_num_workers(),
      "Processes that build examples for training; 0 builds them in the "
      "trainer's process.")
  flags.DEFINE_bool(
      "accept_new_stream", False,
      "Whether to go on from a checkpoint with a corpus, vocabulary or options "
      "other than those it was trained with, at the start of the new stream.")
  flags.DEFINE_bool(
      "preflight_only", False,
      "Whether to end behind a look at the text to train on: what it holds, "
      "and what would spoil the run.")
  flags.DEFINE_bool("do_train", False, "Whether to train.")
  flags.DEFINE_bool("do_eval", False, "Whether to evaluate, after training.")
  flags.DEFINE_integer(
      "train_batch_size", 32, "Sequences a training step, over all devices.")
  flags.DEFINE_integer("eval_batch_size", 8, "Sequences an evaluation step.")
  flags.DEFINE_float("learning_rate", 5e-5, "The peak learning rate.")
  flags.DEFINE_integer("num_train_steps", 100000, "Training steps.")
  flags.DEFINE_float(
      "num_train_epochs", None,
      "Passes over the text, in place of --num_train_steps. How many steps "
      "these are is estimated at the first start, and kept from then on.")
  flags.DEFINE_integer(
      "num_warmup_steps", 10000, "Steps over which the learning rate rises.")
  flags.DEFINE_float(
      "warmup_proportion", None,
      "Share of the steps over which the learning rate rises, in place of "
      "--num_warmup_steps.")
  flags.DEFINE_enum(
      "learning_rate_decay", "linear", list(optimization.DECAYS),
      "What the learning rate does behind the warm-up: falls in a line (the "
      "original's, which starts below the peak), stays, or falls by half a "
      "cosine wave.")
  flags.DEFINE_enum(
      "optimizer", "adamw", list(optimization.OPTIMIZERS),
      "The original's Adam with decoupled weight decay, or LAMB, which bears "
      "larger batches.")
  flags.DEFINE_integer(
      "save_checkpoints_steps", 1000, "Steps between two checkpoints.")
  flags.DEFINE_integer(
      "keep_checkpoint_max", 5, "Latest checkpoints that are kept; 0 for all.")
  flags.DEFINE_float(
      "keep_checkpoint_every_n_hours", 10000.0,
      "Hours of training behind which one more checkpoint is kept for good.")
  flags.DEFINE_integer(
      "log_every_steps", 100, "Steps between two progress lines.")
  flags.DEFINE_integer(
      "iterations_per_loop", 1000,
      "Steps that a TPU does between two returns to the host.")
  _define_evaluation_flags()
  _define_engine_flags()
  flags.mark_flags_as_required(["input_file", "output_dir"])


def _define_evaluation_flags():
  """Defines the flags that say when to evaluate, and what becomes of it."""
  flags.DEFINE_integer(
      "max_eval_steps", 100,
      "Batches of an evaluation at the most; 0 for the whole text, once.")
  flags.DEFINE_integer(
      "eval_every_steps", 0,
      "Training steps between two evaluations; 0 for those before and after "
      "the training alone.")
  flags.DEFINE_bool(
      "keep_best", False,
      "Whether the checkpoint with the least masked-LM loss on "
      "--eval_input_file is kept in output_dir/best.")
  flags.DEFINE_integer(
      "early_stopping_patience", 0,
      "Evaluations in a row without a better one that end the training; 0 for "
      "no such end.")
  flags.DEFINE_bool(
      "accept_eval_overlap", False,
      "Whether to train on text that shares documents with the evaluation "
      "text.")
  flags.DEFINE_string(
      "export_dir", None,
      "Folder for the result: as a checkpoint without an optimizer's slots in "
      "tf/, as a Hugging Face folder in hf/.")


def _define_engine_flags():
  """Defines the flags that say where and how to train."""
  flags.DEFINE_enum(
      "distribution_strategy", "none", list(engine.STRATEGIES),
      "Whether the GPUs of this machine share each batch (mirrored), or those "
      "of the machines that TF_CONFIG names.")
  flags.DEFINE_integer(
      "num_gpus", None, "GPUs of this machine for mirrored; all by default.")
  flags.DEFINE_float(
      "watchdog_seconds", 600.0,
      "Of several machines: how long one waits for a step to end before it "
      "takes another one for lost, and ends.")
  flags.DEFINE_list(
      "devices", [],
      "Devices for mirrored in place of GPUs, with commas between: cpu:0,cpu:1 "
      "to try it without.")
  flags.DEFINE_integer(
      "gradient_accumulation_steps", 1,
      "Parts that a device's share of --train_batch_size is cut into, to be "
      "computed one after the other: the same update with less memory.")
  flags.DEFINE_enum(
      "precision", "fp32", list(engine.PRECISIONS),
      "fp16: on GPUs, what may be is computed in half precision, with dynamic "
      "loss scaling. bfloat16: on TPUs and GPUs that know it.")
  flags.DEFINE_bool(
      "use_xla", False, "Whether XLA compiles what it can.")
  flags.DEFINE_bool("use_tpu", False, "Whether to train on a TPU.")
  flags.DEFINE_string(
      "tpu_name", None,
      "Name or grpc:// address of the TPU; local for one in this machine.")
  flags.DEFINE_string(
      "tpu_coordinator_address", None,
      "host:port by which the TPU's hosts reach this machine; by default its "
      "address towards them and a free port.")
  flags.DEFINE_string(
      "tpu_zone", None, "Zone of the TPU, unless the metadata tell.")
  flags.DEFINE_string(
      "gcp_project", None, "Project of the TPU, unless the metadata tell.")
  flags.DEFINE_string("master", None, "Address of a TensorFlow master.")
  flags.DEFINE_integer("num_tpu_cores", 8, "Cores of the TPU.")


def main(argv):
  logs.log_to_terminal()
  with signals.Interruption() as stop:
    try:
      flags_lib.check_no_arguments(argv[1:])
      job = Job(flags.FLAGS, stop)
      if flags.FLAGS.preflight_only:
        job.preflight()
        return
    except INPUT_ERRORS as e:
      sys.exit("run_pretraining_e2e.py: %s" % e)
    except errors.Interrupted:
      sys.exit(stop.exit_code)
    try:
      job.run()
    except InputError as e:
      logger.error("%s", e)
      sys.exit(1)
    except cluster.LostPeer as e:
      logger.error("%s", e)
      sys.exit(errors.EXIT_RESTART)
    except errors.Interrupted:
      pass
    if stop.signal is not None:
      job.log_stop(stop.signal.name)
      sys.exit(stop.exit_code)
    if stop.is_stopping:
      job.log_stop("another worker")
      sys.exit(errors.EXIT_RESTART)


if __name__ == "__main__":
  define_flags()
  app.run(main)
