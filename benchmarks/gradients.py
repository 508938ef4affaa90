"""Speed of a training step with the hand-written gradients and with plain ones.

    python benchmarks/gradients.py [--model=1x256] [--xla=off,on] \
        [--precisions=fp32,bfloat16] [--rounds=30]

The gradients of modeling.fast_gradients are compared with those that TensorFlow
derives. Both train the same model on the same batch of random tokens, with and
without XLA, in one process in which they alternate; no input is read. Reported
are the medians of the processor time of a step; the ratio is that of each
round's two times. Where XLA compiles, the number of compiled parts of the graph
tells whether one kind of gradients keeps ops apart that the other does not. On
a machine with a GPU the step runs there: its rows in benchmarks/gpu.py say
more.
"""

import argparse
import statistics
import sys
import time

import common

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import tensorflow.compat.v1 as tf
from on_gpu import cards, rows
from rows import GRADIENTS, lacking

import modeling
from bert_e2e import config
from bert_e2e.training.model_fn import model_fn_builder

_VOCAB_SIZE, _PREDICTIONS, _STEPS = 8000, 20, 4
_ROUNDS = 30


def features(batch_size, length):
  """Returns a batch of random tokens that the graph takes for input."""
  def ids(size):
    return tf.random.stateless_uniform(
        size, [1, size[1]], 0, _VOCAB_SIZE, tf.int32)

  size, masked = [batch_size, length], [batch_size, _PREDICTIONS]
  found = {
      "input_ids": ids(size), "input_mask": tf.ones(size, tf.int32),
      "segment_ids": tf.zeros(size, tf.int32),
      "masked_lm_positions": ids(masked) % length,
      "masked_lm_ids": ids(masked), "masked_lm_weights": tf.ones(masked),
      "next_sentence_labels": tf.zeros([batch_size, 1], tf.int32)}
  return {name: tf.placeholder_with_default(tensor, tensor.shape)
          for name, tensor in found.items()}


def make_step(is_fast, precision, xla, options):
  """Builds a training.

  Args:
    is_fast: bool, hand-written gradients.
    precision: str, one of config.PRECISIONS.
    xla: bool.
    options: the parsed arguments.

  Returns:
    (function that trains a step, number of parts that XLA compiled).
  """
  shape = cards.shape_of(options.model)._replace(vocabulary=_VOCAB_SIZE)
  with tf.Graph().as_default():
    model_fn = model_fn_builder(
        modeling.BertConfig(**shape.config()), None, 1e-4, 1000, 10, False,
        False, precision=precision, fast_gradients=is_fast)
    tf.train.get_or_create_global_step()
    train_op = model_fn(
        features(options.batch_size, options.max_seq_length), None,
        tf.estimator.ModeKeys.TRAIN,
        {"batch_size": options.batch_size}).train_op
    session_config = tf.ConfigProto(allow_soft_placement=True)
    if xla:
      session_config.graph_options.optimizer_options.global_jit_level = (
          tf.OptimizerOptions.ON_1)
    session = tf.Session(config=session_config)
    session.run(tf.global_variables_initializer())
    metadata = tf.RunMetadata()
    session.run(train_op, options=tf.RunOptions(output_partition_graphs=True),
                run_metadata=metadata)
    num_compiled = sum(node.op == "_XlaCompile"
                       for graph in metadata.partition_graphs
                       for node in graph.node)
  return lambda: session.run(train_op), num_compiled


def measure(precision, xla, options):
  """Prints the row of a precision, with or without XLA."""
  made = {is_fast: make_step(is_fast, precision, xla, options)
          for is_fast in (True, False)}
  used = {is_fast: [] for is_fast in made}
  for _ in range(1 + options.rounds):
    for is_fast, (train, _) in made.items():
      start = time.process_time()
      for _ in range(_STEPS):
        train()
      used[is_fast].append((time.process_time() - start) / _STEPS)
  fast, plain = used[True][1:], used[False][1:]  # The first ones may compile.
  gain = statistics.median([b / a for a, b in zip(fast, plain)])
  says = "%.1f ms, %.2f times as fast as %.1f ms with plain ones" % (
      1000 * statistics.median(fast), gain, 1000 * statistics.median(plain))
  if xla:
    says += "; %d compiled parts, %d with plain ones" % (
        made[True][1], made[False][1])
  GRADIENTS.show(
      ", %s%s, %s, batch %d of %d" % (
          precision, ", XLA" * xla, options.model, options.batch_size,
          options.max_seq_length), says, gain,
      lacking(rounds=(options.rounds, _ROUNDS)))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--model", default="1x256")
  parser.add_argument("--precisions", type=rows.words(config.PRECISIONS),
                      default="fp32,bfloat16")
  parser.add_argument("--xla", type=rows.switches, default="off,on")
  parser.add_argument("--batch_size", type=int, default=8)
  parser.add_argument("--max_seq_length", type=int, default=128)
  parser.add_argument("--rounds", type=int, default=_ROUNDS)
  options = parser.parse_args()
  tf.logging.set_verbosity(tf.logging.ERROR)
  print(common.machine())
  try:
    for xla in options.xla:
      for precision in options.precisions:
        measure(precision, xla, options)
  except ValueError as e:
    sys.exit(str(e))


if __name__ == "__main__":
  main()
