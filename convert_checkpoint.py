"""Turns BERT checkpoints into others: Google's, Hugging Face's, a training's.

    python convert_checkpoint.py --input=out --vocab_file=vocab.txt \\
        --bert_config_file=bert_config.json --output_hf=for_transformers
    python convert_checkpoint.py --input=a_hugging_face_folder --output_tf=bert

--input is a checkpoint's path (bert_model.ckpt), a folder that this project's
or Google's pretraining trained in, or a folder of Hugging Face's transformers.
What is written is a whole pretraining model: heads that the input lacks are
made, see hugging_face.complete.
"""

import sys

from absl import app, flags

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import tensorflow.compat.v1 as tf

from bert_e2e import flags as flags_lib
from bert_e2e.checkpoints import conversion


def _define_flags():
  flags.DEFINE_string(
      "input", None,
      "What to convert: a checkpoint's path, e.g. bert_model.ckpt, a folder "
      "with checkpoints, or a Hugging Face folder.")
  flags.DEFINE_string(
      "bert_config_file", None,
      "Of a checkpoint: the model's config; by default bert_config.json beside "
      "it.")
  flags.DEFINE_string(
      "vocab_file", None,
      "The vocabulary; by default the one beside the model.")
  flags.DEFINE_bool(
      "do_lower_case", None,
      "Whether the tokenizer lower-cases, where the input does not say.")
  flags.DEFINE_string(
      "output_tf", None, "Folder to write bert_model.ckpt to.")
  flags.DEFINE_string(
      "output_hf", None, "Folder to write a Hugging Face model to.")
  flags.mark_flags_as_required(["input"])


def _run(values):
  """Converts as the flags say."""
  if not values.output_tf and not values.output_hf:
    raise ValueError("Nothing to do: pass --output_tf, --output_hf or both.")
  conversion.check_outputs(values.output_tf, values.output_hf)
  source = conversion.read(
      values.input, values.bert_config_file, values.vocab_file,
      values.do_lower_case)
  for names, said in (
      (source.made, "lacked these variables, which were made"),
      (source.unused, "has these weights, which were left out")):
    if names:
      print("%s %s: %s" % (values.input, said, ", ".join(names)))
  conversion.export(source.variables, source.config, source.vocab_file,
         source.do_lower_case, values.output_tf, values.output_hf)
  for folder in filter(None, (values.output_tf, values.output_hf)):
    print("wrote %s" % folder)


def main(argv):
  try:
    flags_lib.check_no_arguments(argv[1:])
    _run(flags.FLAGS)
  except (ValueError, OSError, tf.errors.OpError) as e:
    sys.exit("convert_checkpoint.py: %s" % e)


if __name__ == "__main__":
  _define_flags()
  app.run(main)
