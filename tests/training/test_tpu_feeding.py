"""tpu_feeding through real gRPC: two workers, each a process of its own."""

import contextlib
import random
import re

import pytest
import tensorflow.compat.v1 as tf
from tpu_workers import WORKERS, connect, lists_of

import run_pretraining_e2e as e2e
from bert_e2e.checkpoints import examples_seen
from bert_e2e.training import tpu_feeding

NUM_BLOCKS = 50


# ------------------------------------------ what runs in the coordinator


def read(session, get_next):
  """Returns all elements up to the end, and what ends them: names of errors."""
  elements, errors = [], []
  while len(errors) < 3:
    try:
      elements.append(session.run(get_next).tolist())
    except tf.errors.OpError as e:
      errors.append(type(e).__name__)
  return elements, errors


def block(host, i):
  """Returns list `i` of a host: odd lengths, NULs at the end, nothing."""
  draw = random.Random(1000 * host + i)
  return [bytes(draw.randrange(256) for _ in range(draw.choice([0, 1, 7, 911])))
          + b"\0" * draw.randrange(3) for _ in range(i % 4)]


def blocks(host, num_hosts):
  assert num_hosts == len(WORKERS)
  return (block(int(host), i) for i in range(NUM_BLOCKS))


def read_naively(tpu_name):
  """Places the generator itself on a worker."""
  with tf.Graph().as_default():
    with tf.device(WORKERS[0]):
      iterator = tf.data.make_initializable_iterator(lists_of(blocks, 0, 2))
      get_next = iterator.get_next()
    master, config = connect(tpu_name)
    with tf.Session(master, config=config) as session:
      try:
        session.run(iterator.initializer)
        session.run(get_next)
      except tf.errors.OpError as e:
        return str(e)
  return ""


def read_streams(tpu_name):
  """Reads all lists of both hosts while another session has read some."""
  with tf.Graph().as_default():
    iterators = []
    for host, worker in enumerate(WORKERS):
      dataset = tpu_feeding.forward(
          lambda host=host: lists_of(blocks, host, len(WORKERS)), worker)
      with tf.device(worker):
        iterators.append(tf.data.make_initializable_iterator(dataset))
    initialize = [iterator.initializer for iterator in iterators]
    get_next = [iterator.get_next() for iterator in iterators]
    shapes = [element.shape.as_list() for element in get_next]
    master, config = connect(tpu_name)
    found = []
    with contextlib.ExitStack() as sessions:
      for num_lists in (7, NUM_BLOCKS):
        session = sessions.enter_context(tf.Session(master, config=config))
        session.run(initialize)
        elements = [session.run(get_next) for _ in range(num_lists)]
        found.append([[element.tolist() for element in host]
                      for host in zip(*elements)])
      errors = [read(session, element) for element in get_next]
  return shapes, found, errors


def count(start):
  """Yields the numbers from a start on, as bytes, in lists of six."""
  while True:
    yield [b"%d" % i for i in range(start, start + 6)]
    start += 6


def train(tpu_name, folder, num_steps):
  """Reads batches of four, counts them and saves; returns the batches."""

  class Initialization(tf.train.SessionRunHook):
    """As TPUEstimator's."""

    def after_create_session(self, session, coord):
      session.run(iterator.initializer)

  with tf.Graph().as_default():
    step = tf.train.get_or_create_global_step()
    with tf.device(WORKERS[1]):
      dataset = tpu_feeding.forward(
          lambda: lists_of(
              count, tf.identity(examples_seen.get_or_create())), WORKERS[1])
      dataset = dataset.apply(tf.data.experimental.unbatch()).batch(4)
      iterator = tf.data.make_initializable_iterator(dataset)
    batch = iterator.get_next()
    train_op = examples_seen.advance(tf.assign_add(step, 1), 4)
    master, config = connect(tpu_name)
    with tf.train.MonitoredTrainingSession(
        master, config=config, checkpoint_dir=folder, save_checkpoint_steps=2,
        hooks=[Initialization()]) as session:
      return [session.run([batch, train_op])[0].tolist()
              for _ in range(num_steps)]


def fail(tpu_name):
  """Reads a flow that fails behind 300 examples."""

  def open_examples(start, shard):
    assert (start, shard) == (0, (0, 1))
    for i in range(300):
      yield b"%d" % i
    raise ValueError("the text is no text")

  flow = e2e.Flow(open_examples)
  with tf.Graph().as_default():
    dataset = tpu_feeding.forward(
        lambda: lists_of(flow.lists, 0, 0, 1), WORKERS[0])
    with tf.device(WORKERS[0]):
      iterator = tf.data.make_initializable_iterator(dataset)
    get_next = iterator.get_next()
    master, config = connect(tpu_name)
    with tf.Session(master, config=config) as session:
      session.run(iterator.initializer)
      return read(session, get_next) + (repr(flow.error),)


def describe_cluster(tpu_name):
  """Returns the cluster and the devices of it and of an unpinned variable."""
  resolver = tpu_feeding.resolve(tpu_name, coordinator_address="127.0.0.1:0")
  cluster = resolver.cluster_spec().as_dict()
  again = tpu_feeding.start_coordinator("127.0.0.1:0")
  metadata = tf.RunMetadata()
  master, config = connect(tpu_name)
  with tf.Graph().as_default():
    variable = tf.get_variable("variable", [])
    with tf.Session(master, config=config) as session:
      devices = {device.name for device in session.list_devices()}
      session.run(variable.initializer, run_metadata=metadata,
                  options=tf.RunOptions(output_partition_graphs=True))
  placed = {node.device for graph in metadata.partition_graphs
            for node in graph.node}
  return cluster, again, devices, placed


def take_port(tpu_name):
  """Returns the error of a coordinator at a port that a worker has."""
  address = tpu_name.split("grpc://")[-1]
  try:
    return tpu_feeding.start_coordinator(address)
  except tf.errors.OpError as e:
    return e.message


# ------------------------------------------------------------------- the tests


@pytest.mark.slow
def test_a_generator_does_not_run_on_a_worker(coordinator):
  error = coordinator.run(read_naively)
  assert re.search(r"callback .*\bpyfunc_\d+", error), error


@pytest.mark.slow
def test_each_worker_gets_the_lists_of_its_generator(coordinator):
  shapes, found, ends = coordinator.run(read_streams)
  assert shapes == [[None], [None]]
  for num_lists, hosts in zip((7, NUM_BLOCKS), found):
    assert hosts == [[block(host, i) for i in range(num_lists)]
                     for host in range(2)]
  assert ends == [([], ["OutOfRangeError"] * 3)] * 2
  assert len(found) == 2 and found[1][0] != found[1][1]


@pytest.mark.slow
def test_goes_on_behind_the_restored_position(coordinator, tmp_path):
  """The position is read when the variables are restored, not before."""
  position = 0
  for num_steps in (4, 2, 3):
    batches = coordinator.run(train, str(tmp_path), num_steps)
    assert batches == [[b"%d" % (position + 4 * step + i) for i in range(4)]
                       for step in range(num_steps)]
    position += 4 * num_steps


@pytest.mark.slow
def test_an_error_of_the_generator_is_raised_once(coordinator):
  elements, errors, own = coordinator.run(fail)
  assert elements == [[b"%d" % i for i in range(256)]]
  assert errors == ["InvalidArgumentError"] + ["OutOfRangeError"] * 2
  assert own.startswith("ValueError('the text is no text'")


@pytest.mark.slow
def test_this_process_is_in_the_cluster(coordinator):
  cluster, again, devices, placed = coordinator.run(describe_cluster)
  assert set(cluster) == {"worker", "zcoordinator"}
  assert len(cluster["worker"]) == 2
  assert cluster["zcoordinator"] == [again]
  assert again.startswith("127.0.0.1:") and not again.endswith(":0")
  assert tpu_feeding.coordinator_device() in devices
  assert placed == {"/job:worker/replica:0/task:0/device:CPU:0"}


@pytest.mark.slow
def test_a_port_that_is_taken(coordinator):
  assert "Could not start gRPC server" in coordinator.run(take_port)


@pytest.mark.parametrize("tpu_name", [None, "", "local"])
def test_a_tpu_of_this_machine_needs_no_cluster(tpu_name):
  assert tpu_feeding.resolve(tpu_name) is None


@pytest.mark.parametrize("device, expected", [
    (WORKERS[0], True), ("/replica:0/task:0/device:CPU:0", False)])
def test_a_device_of_another_process(device, expected):
  assert tpu_feeding.is_remote(device) is expected
