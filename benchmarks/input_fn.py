"""Throughput of `input_fn` from a generator, compared with a TFRecord file.

    python benchmarks/input_fn.py --text=corpus.txt --vocab_file=vocab.txt

Some examples are built once; then they are repeatedly delivered to TensorFlow
as parsed batches of 32.
"""

import itertools
import os
import tempfile
import time

import common
import rows
import tensorflow.compat.v1 as tf

import run_pretraining_e2e as e2e

BATCH = 32


def rate(make_dataset, num_batches):
  """Returns the examples/s of a dataset, a 1-tuple."""
  with tf.Graph().as_default():
    iterator = tf.data.make_initializable_iterator(make_dataset())
    # Fetching the batch would copy it to Python.
    done = tf.group(*iterator.get_next().values())
    with tf.Session() as session:
      session.run(iterator.initializer)
      for _ in range(20):
        session.run(done)
      start = time.time()
      for _ in range(num_batches):
        session.run(done)
      return (num_batches * BATCH / (time.time() - start),)


def main():
  options = common.feeding_parser(__doc__.split("\n")[0]).parse_args()
  tf.logging.set_verbosity(tf.logging.ERROR)
  examples = list(itertools.islice(
      e2e.take_write_2_flow([options.text], options.vocab_file),
      options.num_examples))
  flow = e2e.Flow(lambda start, shard: common.cycle(examples))
  params = {"batch_size": BATCH}
  with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "examples.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
      for example in examples:
        writer.write(example)

    def from_records():
      # As for evaluation: without the shuffling that training adds.
      return e2e.input_fn_builder([path], 128, 20, is_training=False)(params)

    def from_flow():
      return e2e.input_fn_builder([], 128, 20, True, flow=flow)(params)

    results = common.medians({
        "flow": lambda: rate(from_flow, options.num_batches),
        "records": lambda: rate(from_records, options.num_batches),
    }, options.rounds)
  print("%s; %s" % (common.machine(), common.describe(options.text)))
  (from_flow_rate,), (from_records_rate,) = results["flow"], results["records"]
  rows.INPUT_FN.show(
      " %s" % tf.__version__,
      "%.0f examples/s, %.2f times the %.0f/s from a TFRecord file" %
      (from_flow_rate, from_flow_rate / from_records_rate, from_records_rate),
      from_flow_rate, common.lacking_for_feeding(options))


if __name__ == "__main__":
  main()
