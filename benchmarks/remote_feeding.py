"""Throughput of feeding prebuilt examples to a TPU host, a second process.

    python benchmarks/remote_feeding.py --text=corpus.txt --vocab_file=vocab.txt

Some examples are built once; then they are repeatedly delivered to a second
process by RPC, and parsed there in batches of 32. Since TensorFlow's servers
listen on all addresses of a machine, both processes run in a network namespace
(`unshare`, Linux).
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time

import common
import rows
import tensorflow.compat.v1 as tf

import run_pretraining_e2e as e2e
from bert_e2e.training import tpu_feeding
from demo import network

BATCH = 32
WORKER = "/job:%s/task:0/device:CPU:0" % tpu_feeding.WORKER_JOB
# Internal options of the two processes.
_WORK, _MEASURE = "--work", "--measure"


def parser_of(example):
  """Returns a function that parses batches of examples of the same format.

  Args:
    example: bytes, a serialized tf.Example.

  Returns:
    A function from string [B] to a dict of int64 and float32 [B, length].
  """
  spec = {}
  features = tf.train.Example.FromString(example).features.feature
  for name, feature in features.items():
    is_float = feature.HasField("float_list")
    values = (feature.float_list if is_float else feature.int64_list).value
    spec[name] = tf.FixedLenFeature(
        [len(values)], tf.float32 if is_float else tf.int64)
  return lambda batch: tf.parse_example(batch, spec)


def rate(tpu_name, flow, parse, num_batches):
  """Returns the examples/s that reach the other process."""
  config = tf.estimator.tpu.RunConfig(cluster=tpu_feeding.resolve(tpu_name))
  with tf.Graph().as_default(), tf.device(WORKER):
    dataset = tpu_feeding.forward(
        lambda: tf.data.Dataset.from_generator(
            flow.lists, tf.string, tf.TensorShape([None])), WORKER)
    dataset = dataset.apply(tf.data.experimental.unbatch())
    dataset = dataset.batch(BATCH, drop_remainder=True)
    dataset = dataset.map(tf.autograph.experimental.do_not_convert(parse))
    iterator = tf.data.make_initializable_iterator(dataset.prefetch(2))

    def take(i):
      with tf.control_dependencies(list(iterator.get_next().values())):
        return i + 1

    # A loop on the worker, like the one that feeds a TPU.
    number = tf.placeholder(tf.int32, [])
    loop = tf.while_loop(lambda i: i < number, take, [tf.constant(0)],
                         parallel_iterations=1)
    with tf.Session(config.master, config=config.session_config) as session:
      session.run(iterator.initializer)
      session.run(loop, {number: 20})
      start = time.time()
      session.run(loop, {number: num_batches})
      return num_batches * BATCH / (time.time() - start)


def measure(options):
  """Starts the second process, which exits with this one; prints the row."""
  worker = subprocess.Popen(
      [sys.executable, os.path.abspath(__file__), _WORK],
      stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
  assert worker.stdin and worker.stdout
  examples = list(itertools.islice(
      e2e.take_write_2_flow([options.text], options.vocab_file),
      options.num_examples))
  parse = parser_of(examples[0])
  tpu_name = "grpc://127.0.0.1:%d" % int(worker.stdout.readline())
  rates = [
      rate(tpu_name, e2e.Flow(
          lambda start, shard: common.cycle(examples)), parse,
           options.num_batches)
      for _ in range(options.rounds)]
  print("%s; %s" % (common.machine(), common.describe(options.text)))
  median = statistics.median(rates)
  rows.FEEDING.show(
      ", TensorFlow %s" % tf.__version__, "%.0f examples/s of %.0f bytes" % (
          median, statistics.mean(map(len, examples))),
      median, common.lacking_for_feeding(options))
  sys.stdout.flush()
  worker.stdin.close()
  worker.wait()
  os._exit(0)  # TensorFlow cannot stop a server.


def main():
  if _WORK in sys.argv:
    network.serve_tpu_host()
  parser = common.feeding_parser(__doc__.split("\n")[0])
  parser.add_argument(_MEASURE, action="store_true", help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.measure:
    network.raise_loopback()
    tf.logging.set_verbosity(tf.logging.ERROR)
    tf.disable_eager_execution()
    measure(options)
  isolating = network.isolating_command()
  if isolating is None:
    sys.exit("Cannot create a network namespace.")
  sys.exit(subprocess.call(
      isolating + [sys.executable, os.path.abspath(__file__), _MEASURE] +
      sys.argv[1:]))


if __name__ == "__main__":
  main()
