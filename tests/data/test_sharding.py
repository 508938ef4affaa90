"""input_fn: each host reads its part of the text."""

import collections
import time

import pytest
import tensorflow.compat.v1 as tf
from program import LENGTHS
from stream_corpus import lines_used, once
from tensorflow_estimator.python.estimator.tpu import tpu_context

import run_pretraining_e2e as e2e
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import stream as stream_lib


class TpuContext:
  """What a TPUEstimator gives an input_fn of host `host`."""

  def __init__(self, host, num_hosts):
    self._deployment = "/device:CPU:0", host, num_hosts, 8

  def current_input_fn_deployment(self):
    return self._deployment


def test_the_tpu_context_is_like_that():
  assert callable(tpu_context.TPUContext.current_input_fn_deployment)
  assert "num_replicas" in vars(tpu_context.TPUContext)


def by_tpu(input_fn, host, num_hosts):
  return input_fn({"batch_size": 1, "context": TpuContext(host, num_hosts)})


def by_input_context(input_fn, host, num_hosts):
  return input_fn({"batch_size": 1}, input_context=tf.distribute.InputContext(
      num_input_pipelines=num_hosts, input_pipeline_id=host))


def read(dataset):
  """Returns the input_ids of all batches as tuples."""
  get_next = tf.data.make_one_shot_iterator(dataset).get_next()
  found = []
  with tf.Session() as session:
    while True:
      try:
        found.append(tuple(session.run(get_next)["input_ids"][0].tolist()))
      except tf.errors.OutOfRangeError:
        return found


@pytest.mark.parametrize("by", [by_tpu, by_input_context])
@pytest.mark.parametrize("num_hosts", [1, 2, 3])
def test_hosts_share_an_epoch(
    maker, monkeypatch, by, num_hosts):
  monkeypatch.setattr(corpus_lib, "MIN_SPLIT_BYTES", 100)
  for name in ("a.txt", "b.txt.gz", "c.txt", "d.txt"):
    maker.write(name, maker.documents(*[5, 3, 6, 4, 2] * 4))
  lengths = dict(max_seq_length=160, max_predictions_per_seq=24)
  built = collections.defaultdict(list)

  def open_examples(start, shard):
    assert start == 0
    reading = e2e.take_write_2_flow(
        maker.files, maker.vocab_file, num_epochs=1, chunk_lines=5,
        shard_index=shard.host, num_shards=shard.num_hosts, **lengths)
    for example in reading:
      built[shard].append(example)
      yield example

  flow = e2e.Flow(open_examples)
  with tf.Graph().as_default():
    input_fn = e2e.input_fn_builder(
        [], 160, 24, is_training=True, flow=flow)
    for host in range(num_hosts):
      shard = stream_lib.Shard(host, num_hosts)
      ids = read(by(input_fn, host, num_hosts))
      assert ids == [
          tuple(tf.train.Example.FromString(e).features.feature[
              "input_ids"].int64_list.value) for e in built[shard]]
  assert len(built) == num_hosts
  used = [lines_used(examples) for examples in built.values()]
  assert all(used)
  assert sum(used, collections.Counter()) == once(maker.num_lines)


def test_a_flow_that_is_closed_leaves_no_worker(files):
  """Training is over; an evaluation may go on for long."""
  flow = e2e.Flow(lambda start, shard: e2e.take_write_2_flow(
      [files["train"]], files["vocab"], num_workers=2, **LENGTHS))
  with tf.Graph().as_default(), tf.Session() as session:
    session.run(tf.data.make_one_shot_iterator(e2e.input_fn_builder(
        [], LENGTHS["max_seq_length"], LENGTHS["max_predictions_per_seq"],
        is_training=True, flow=flow)({"batch_size": 4})).get_next())
  workers = [worker.process for examples in flow._iterators
             for worker in examples._mapper._workers]
  assert len(workers) == 2
  flow.close()
  deadline = time.monotonic() + 60
  while any(w.poll() is None for w in workers):
    assert time.monotonic() < deadline
    time.sleep(0.05)
