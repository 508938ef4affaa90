"""Speed of a training step, compared with google-research/bert.

    python benchmarks/step.py [--reference=<checkout of google-research/bert>] \
        [--models=2x128,6x384] [--num_steps=20]

Both train the same models on the same batch of random tokens with the train_op
of their `model_fn`, in separate processes that alternate; no input is read.
Reported are sequences/s and the peak resident set size. A model is given as
LxH, layers and hidden size. The reference requires TensorFlow 1.15.
"""

import argparse
import os
import sys
import tempfile
from typing import Callable, Dict

import common
import rows

_VOCAB_SIZE = 30522
_TRAIN = """
import importlib, resource, sys, time
root, name, config_file, batch_size, length, num_steps = sys.argv[1:]
sys.path[0] = root  # Replaces the current directory.
program = importlib.import_module(name)
import numpy as np
tf, modeling = program.tf, program.modeling
graph = tf.Graph().as_default()
graph.__enter__()  # Disables eager execution for the rest of the program.
config = modeling.BertConfig.from_json_file(config_file)
batch_size, length, masked = int(batch_size), int(length), 20
rng = np.random.RandomState(1)

def ids(size):
  return tf.constant(rng.randint(1000, config.vocab_size, size), tf.int32)

size = [batch_size, length]
features = {
    "input_ids": ids(size), "input_mask": tf.ones(size, tf.int32),
    "segment_ids": tf.zeros(size, tf.int32),
    "masked_lm_positions": tf.constant(
        rng.randint(1, length, [batch_size, masked]), tf.int32),
    "masked_lm_ids": ids([batch_size, masked]),
    "masked_lm_weights": tf.ones([batch_size, masked]),
    "next_sentence_labels": tf.zeros([batch_size, 1], tf.int32),
}
model_fn = program.model_fn_builder(
    bert_config=config, init_checkpoint=None, learning_rate=1e-4,
    num_train_steps=1000, num_warmup_steps=10, use_tpu=False,
    use_one_hot_embeddings=False)
arguments = dict(features=features, labels=None,
                 mode=tf.estimator.ModeKeys.TRAIN,
                 params={"batch_size": batch_size})
if "config" in model_fn.__code__.co_varnames[:model_fn.__code__.co_argcount]:
  arguments["config"] = tf.estimator.tpu.RunConfig()
tf.train.get_or_create_global_step()
train_op = model_fn(**arguments).train_op
with tf.Session() as session:
  session.run(tf.global_variables_initializer())
  for _ in range(3):
    session.run(train_op)
  start, used = time.time(), time.process_time()
  for _ in range(int(num_steps)):
    session.run(train_op)
  seconds, used = time.time() - start, time.process_time() - used
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print("measured", int(num_steps) * batch_size / seconds, peak, used)
"""


def train(root, program, config, options):
  """Returns (sequences/s, peak resident set size in MB, CPU seconds)."""
  output, _, _ = common.run([
      sys.executable, "-c", _TRAIN, root, program, config,
      str(options.batch_size), str(options.max_seq_length),
      str(options.num_steps)])
  return tuple(map(float, output.split("measured ")[-1].split()[:3]))


def measure(model, options):
  """Prints the row for a model."""
  with tempfile.TemporaryDirectory() as directory:
    config = common.write_config(
        directory, _VOCAB_SIZE, *common.layers_and_size(model))
    kinds: Dict[str, Callable] = {
        "ours": lambda: train(
            common.ROOT, "run_pretraining_e2e", config, options)}
    if options.reference:
      kinds["reference"] = lambda: train(
          os.path.abspath(options.reference), "run_pretraining", config,
          options)
    results = common.medians(kinds, options.rounds)
  rate, peak, used = results["ours"]
  value, gain = "%.1f sequences/s, %.0f MB" % (rate, peak), None
  if "reference" in results:
    base_rate, base_peak, base_used = results["reference"]
    gain = rate / base_rate
    value += ("; %.2f times the %.1f/s of the reference (%.2f by CPU time), "
              "%.2f times its %.0f MB" % (
                  gain, base_rate, base_used / used,
                  peak / base_peak, base_peak))
  rows.STEP.show(
      ", %s, batch %d of %d" % (
          model, options.batch_size, options.max_seq_length), value, gain,
      rows.lacking(rounds=(options.rounds, rows.ROUNDS),
                   steps=(options.num_steps, 20)))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--reference")
  parser.add_argument("--models", default="2x128,6x384")
  parser.add_argument("--batch_size", type=int, default=32)
  parser.add_argument("--max_seq_length", type=int, default=128)
  parser.add_argument("--num_steps", type=int, default=20)
  parser.add_argument("--rounds", type=int, default=3)
  options = parser.parse_args()
  print(common.machine())
  for model in options.models.split(","):
    measure(model, options)


if __name__ == "__main__":
  main()
