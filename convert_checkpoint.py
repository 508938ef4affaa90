"""Converts BERT models between Google's and Hugging Face's format, and to
SavedModels.

    python convert_checkpoint.py --input=out --vocab_file=vocab.txt \\
        --bert_config_file=bert_config.json --output_hf=for_transformers
    python convert_checkpoint.py --input=hugging_face_model --output_tf=bert
    python convert_checkpoint.py --input=bert_model.ckpt \\
        --output_saved_model=for_serving

--input is a checkpoint's path (bert_model.ckpt), an output directory of this
project's or Google's pretraining, or a directory of Hugging Face's
transformers. A complete pretraining model is written: heads that the input does
not have are newly initialized, see hugging_face.complete. A SavedModel holds
the encoder alone. With --average_with, the model that is written is an average:

    python convert_checkpoint.py --input=out --weight=0.5 \\
        --average_with=hugging_face_model --output_hf=for_transformers
"""

import sys

from absl import flags

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import tensorflow.compat.v1 as tf

from bert_e2e import flags as flags_lib
from bert_e2e.checkpoints import averaging, conversion, tf_weights
from bert_e2e.checkpoints.conversion import (  # noqa: F401  Users import them from here.
  CHECKPOINT,
  CONFIG_FILE,
  OUTPUT_FILES,
  VOCAB_FILE,
  check_export,
  check_outputs,
  export,
  find_checkpoint,
  read,
  read_checkpoint,
  write_checkpoint,
)

Source = conversion.SourceModel  # Its earlier name.
_OUTPUTS = ("output_tf", "output_hf", "output_saved_model")


def _define_flags():
  flags_lib.define_path(
      "input", None,
      "The model to convert: a checkpoint's path, e.g. bert_model.ckpt, a "
      "directory with checkpoints, or a Hugging Face directory.")
  flags_lib.define_path(
      "bert_config_file", None,
      "The config of a checkpoint; by default bert_config.json beside it.")
  flags_lib.define_path(
      "vocab_file", None,
      "The vocabulary; by default the one beside the model.")
  flags.DEFINE_bool(
      "do_lower_case", None,
      "Lower-case the text, if --input does not tell.")
  flags.DEFINE_bool(
      "strip_accents", None,
      "Strip accents, if --input does not tell and it differs from "
      "--do_lower_case.")
  flags_lib.define_path(
      "output_tf", None, "Directory to write Google's format to.")
  flags_lib.define_path(
      "output_hf", None, "Directory to write Hugging Face's format to.")
  flags_lib.define_path(
      "output_saved_model", None,
      "Directory to write a SavedModel of the encoder to.")
  flags_lib.define_paths(
      "average_with", (),
      "Models to average with --input, separated by commas, each as for "
      "--input: the one that its training started from, or other checkpoints "
      "of the training. The pretraining heads stay those of --input.")
  flags.DEFINE_float(
      "weight", None,
      "Weight of --input in the average, 0 to 1; the others share the rest "
      "equally. By default all models have the same weight.")
  flags.DEFINE_bool(
      "average_heads", False,
      "Average the pretraining heads, too: for checkpoints of one training.")
  flags.mark_flags_as_required(["input"])


def _read(values):
  """Reads the model that the flags name.

  Returns:
    (conversion.SourceModel, dict or None: what it is an average of).
  """
  files = dict(bert_config_file=values.bert_config_file,
               vocab_file=values.vocab_file,
               do_lower_case=values.do_lower_case)
  if values.average_with:
    source, average = averaging.read(
        values.input, values.average_with, weight=values.weight,
        with_heads=values.average_heads, **files)
    for line in ["averaged " + average.describe(), *average.describe_lacking()]:
      print(line)
    return source, average.record()
  for name in ("weight", "average_heads"):
    if values[name].value != values[name].default:
      raise ValueError("--%s requires --average_with." % name)
  source = conversion.read(values.input, **files)
  return source, conversion.read_average(source.directory)


def _run(values):
  """Reads and writes the model that the flags name."""
  outputs = {name: values[name].value for name in _OUTPUTS
             if values[name].value}
  if not outputs:
    raise ValueError("Nothing to do: pass --output_tf, --output_hf or "
                     "--output_saved_model.")
  conversion.check_outputs(**outputs, inputs={
      "--input": values.input, "--average_with": values.average_with})
  source, average = _read(values)
  if source.root != tf_weights.ROOT:
    print("%s has the encoder as %s..., which is written as %s..." % (
        values.input, source.root, tf_weights.ROOT))
  initialized = source.initialized
  if set(outputs) == {"output_saved_model"}:  # It has no heads.
    initialized = [n for n in initialized if n.startswith(tf_weights.ROOT)]
  for names, message in (
      (initialized, "does not have these variables, which were newly "
       "initialized"),
      (source.unused, "has these weights, which were not converted")):
    if names:
      print("%s %s: %s" % (values.input, message, ", ".join(names)))
  tokenizer = source.tokenizer
  if values.strip_accents is not None:
    tokenizer = dict(tokenizer, strip_accents=values.strip_accents)
  conversion.export(
      source.variables, source.config, source.vocab_file, source.do_lower_case,
      source=source.directory, average=average, new_tokens=source.new_tokens,
      **outputs, **tokenizer)
  for directory in outputs.values():
    print("wrote %s" % directory)


def main(argv):
  tf.logging.set_verbosity(tf.logging.ERROR)
  try:
    flags_lib.check_no_arguments(argv[1:])
    _run(flags.FLAGS)
  except (ValueError, OSError, tf.errors.OpError) as e:
    sys.exit("convert_checkpoint.py: %s" % e)


if __name__ == "__main__":
  _define_flags()
  flags_lib.run(main)
