"""A TPU of another machine, as far as one can go without a TPU.

TPUEstimator, its hooks, threads, sessions and per-host input loops are the real
ones, with workers in processes of their own. TensorFlow has no kernels for what
a TPU's cores do; `Device` puts ops in place of these ops that the workers'
processors can run.
"""

import collections
import contextlib
from unittest import mock

import pytest
import tensorflow.compat.v1 as tf
from program import CONFIG, LENGTHS
from tensorflow_estimator.python.estimator.tpu import tpu_estimator
from test_tpu_feeding import (  # noqa: F401  `coordinator` is a fixture.
  coordinator,
  lists_of,
)

import modeling
import run_pretraining_e2e as e2e
from bert_e2e.checkpoints import examples_seen
from bert_e2e.training import tpu_feeding

BATCH = 3  # Of a core.
MAX_STEPS = 12
Listed = collections.namedtuple("Listed", ["name"])


# ------------------------------------------------------- what a TPU would do


class Device:
  """A TPU, played by the workers' processors.

  Each core has a queue for its infeed and one for its outfeed. The program runs
  once for all cores, on the first worker: it gets the batches of all of them,
  joined in the order of the cores.

  Args:
    hosts: int, workers that have cores.
    cores_per_host: int.
  """

  def __init__(self, hosts, cores_per_host):
    self._hosts, self._cores_per_host = hosts, cores_per_host
    self._cores = range(hosts * cores_per_host)
    self._queues = {}

  @contextlib.contextmanager
  def listed(self):
    """Adds the cores to the devices that a session lists."""
    real = tf.Session.list_devices

    def list_devices(session):
      return real(session) + [
          Listed("/job:worker/replica:0/task:%d/device:TPU:%d" % (host, core))
          for host in range(self._hosts) for core in range(self._cores_per_host)
          if session.sess_str]

    with mock.patch.object(tf.Session, "list_devices", list_devices):
      yield

  @contextlib.contextmanager
  def played(self):
    """Puts ops for processors in place of a TPU's."""
    ops, tpu = tpu_estimator.tpu_ops, tpu_estimator.tpu
    with contextlib.ExitStack() as stack:
      stack.enter_context(self.listed())
      for module, name, function in (
          (ops, "infeed_enqueue_tuple", self._infeed),
          (ops, "infeed_dequeue_tuple", self._next_of_infeed),
          (ops, "outfeed_enqueue_tuple", self._outfeed),
          (ops, "outfeed_dequeue_tuple", self._next_of_outfeed),
          (tpu, "split_compile_and_shard", self._run),
          # Asks for a sum over the cores.
          (tpu_estimator, "_validate_tpu_training_graph", lambda *_: None),
          (tpu, "initialize_system", lambda **_: tf.no_op()),
          (tpu, "shutdown_system", lambda **_: tf.no_op()),
          (tf.tpu, "initialize_system", lambda **_: tf.no_op()),
          (tf.tpu, "shutdown_system", lambda **_: tf.no_op())):
        stack.enter_context(mock.patch.object(module, name, function))
      yield

  def _place(self, core):
    return "/job:worker/replica:0/task:%d/device:CPU:0" % (
        core // self._cores_per_host)

  def _queue(self, kind, core, dtypes, shapes):
    with tf.init_scope(), tf.device(self._place(core)):
      key = tf.get_default_graph(), kind, core
      if key not in self._queues:
        self._queues[key] = tf.queue.FIFOQueue(
            2, dtypes, shapes, shared_name="%s_%d" % (kind, core))
    return self._queues[key]

  def _enqueue(self, kind, core, tensors):
    queue = self._queue(kind, core, [t.dtype for t in tensors],
                        [t.shape for t in tensors])
    with tf.device(self._place(core)):
      return queue.enqueue(tensors)

  def _dequeue(self, kind, core, dtypes, shapes):
    queue = self._queue(kind, core, dtypes, shapes)
    with tf.device(self._place(core)):
      tensors = queue.dequeue()
    return tensors if isinstance(tensors, list) else [tensors]

  def _core_at(self, ordinal):
    """Returns a core by its number on the host that ops are placed on now."""
    host = tf.DeviceSpec.from_string(tf.no_op().device).task
    return host * self._cores_per_host + int(ordinal)

  def _infeed(self, inputs, shapes, name=None, device_ordinal=-1):
    return self._enqueue("infeed", self._core_at(device_ordinal), inputs)

  def _next_of_infeed(self, dtypes, shapes, name=None):
    tuples = [self._dequeue("infeed", core, dtypes, shapes)
              for core in self._cores]
    return [tf.concat(tensors, axis=0) for tensors in zip(*tuples)]

  def _outfeed(self, inputs, name=None):
    return tf.group(*[self._enqueue("outfeed", core, inputs)
                      for core in self._cores])

  def _next_of_outfeed(self, dtypes, shapes, device_ordinal=-1, name=None):
    return self._dequeue("outfeed", self._core_at(device_ordinal), dtypes,
                         shapes)

  def _run(self, computation, inputs, num_shards, outputs_from_all_shards,
           device_assignment):
    assert num_shards == len(self._cores)
    assert not outputs_from_all_shards and device_assignment is None
    with tf.device(self._place(0)):
      return tf.no_op(), computation(inputs[0][0])


# ------------------------------------------ what runs in the coordinator


def estimator_of(tpu_name, model_fn, folder, cores):
  """Returns a TPUEstimator of so many cores, three steps a loop."""
  tpu = tf.estimator.tpu
  config = tpu.RunConfig(
      cluster=tpu_feeding.resolve(tpu_name), model_dir=folder,
      tpu_config=tpu.TPUConfig(
          iterations_per_loop=3, num_shards=cores,
          tpu_job_name=tpu_feeding.WORKER_JOB,
          per_host_input_for_training=tpu.InputPipelineConfig.PER_HOST_V2))
  return tpu.TPUEstimator(
      model_fn, config=config, use_tpu=True, train_batch_size=BATCH * cores,
      eval_batch_size=BATCH * cores)


def number(host, index):
  """Returns the example `index` of a host, a number."""
  return 1000000 * (host + 1) + index


def count(start, host, num_hosts):
  """Yields a host's examples behind the first `start` of all, in sevens."""
  index = int(start) // int(num_hosts)
  while True:
    yield [b"%d" % number(int(host), i) for i in range(index, index + 7)]
    index += 7


def input_fn_of(generator):
  """Returns an input_fn whose batches are int32 [B]."""

  def input_fn(params):
    device, host, num_hosts, _ = (
        params["context"].current_input_fn_deployment())
    assert tpu_feeding.is_remote(device)
    dataset = tpu_feeding.forward(lambda: lists_of(
        generator, tf.identity(examples_seen.get_or_create()), host,
        num_hosts), device)
    dataset = dataset.apply(tf.data.experimental.unbatch())
    dataset = dataset.batch(params["batch_size"], drop_remainder=True)
    return dataset.map(lambda batch: {
        "number": tf.string_to_number(batch, tf.int32)}).prefetch(2)

  return input_fn


def remembering_model_fn(features, labels, mode, params):
  """Has as weights what the cores saw, the last step last."""
  del labels
  cores = params["context"].num_replicas
  seen = tf.get_variable(
      "seen", [MAX_STEPS, cores * BATCH], tf.int32, trainable=False,
      initializer=tf.zeros_initializer(), use_resource=True)
  train_op = seen.assign(
      tf.concat([seen.read_value()[1:], [features["number"]]], axis=0))
  with tf.control_dependencies([train_op]):
    train_op = tf.assign_add(tf.train.get_global_step(), 1)
  return tf.estimator.tpu.TPUEstimatorSpec(
      mode, loss=tf.constant(0.5),
      train_op=tf.group(examples_seen.advance(train_op, BATCH * cores)))


def train(tpu_name, folder, hosts, cores_per_host, max_steps):
  """Trains up to some steps, and up to others; returns what each core saw."""
  cores = hosts * cores_per_host
  for max_step in max_steps:
    with Device(hosts, cores_per_host).played():
      estimator_of(tpu_name, remembering_model_fn, folder, cores).train(
          input_fn_of(count), max_steps=max_step)
  seen = tf.train.load_variable(folder, "seen")
  return seen.reshape([MAX_STEPS, cores, BATCH]).transpose([1, 0, 2]).tolist()


def fail(tpu_name, folder):
  """Trains on a flow that fails in the middle; returns both errors."""

  def open_examples(start, shard):
    for i in range(300):
      yield b"%d" % i
    raise ValueError("the text is no text")

  flow = e2e.Flow(open_examples)
  with Device(1, 2).played():
    try:
      estimator_of(tpu_name, remembering_model_fn, folder, 2).train(
          input_fn_of(flow.lists), max_steps=1000)
    except tf.errors.OpError as e:
      return type(e).__name__, e.message, repr(flow.error)
  return None


class Built(Exception):
  """The graph is built."""


class StopHook(tf.train.SessionRunHook):
  """Notes the graph and ends the training before there is a session."""

  def begin(self):
    graph = tf.get_default_graph().as_graph_def()
    nodes = list(graph.node)
    for function in graph.library.function:
      nodes.extend(function.node_def)
    raise Built(collections.Counter(node.op for node in nodes))


def build(tpu_name, folder, cores):
  """Builds the graph of the program's training; returns the ops' types."""
  flow = e2e.Flow(lambda start, shard: iter(()))
  lengths = LENGTHS["max_seq_length"], LENGTHS["max_predictions_per_seq"]
  model_fn = e2e.model_fn_builder(
      bert_config=modeling.BertConfig.from_dict(CONFIG), init_checkpoint=None,
      learning_rate=1e-3, num_train_steps=10, num_warmup_steps=1, use_tpu=True,
      use_one_hot_embeddings=True)
  try:
    with Device(1, cores).listed():
      estimator_of(tpu_name, model_fn, folder, cores).train(
          e2e.input_fn_builder([], *lengths, is_training=True, flow=flow),
          hooks=[StopHook()], max_steps=10)
  except Built as built:
    return dict(built.args[0])
  return {}


def train_without(tpu_name, folder):
  """Returns the error of a training where no worker has a TPU."""
  try:
    estimator_of(tpu_name, remembering_model_fn, folder, 2).train(
        input_fn_of(count), max_steps=1)
  except RuntimeError as e:
    return str(e)
  return None


# ------------------------------------------------------------------- the tests


@pytest.mark.parametrize("hosts, cores_per_host", [(1, 2), (2, 1)])
def test_each_core_gets_its_batches_in_order(
    coordinator, tmp_path, hosts, cores_per_host):  # noqa: F811
  """Over the ends of loops, and of a run that another one goes on from."""
  seen = coordinator.run(
      train, str(tmp_path), hosts, cores_per_host, [5, MAX_STEPS])
  for core, batches in enumerate(seen):
    host, place = divmod(core, cores_per_host)
    firsts = [(step * cores_per_host + place) * BATCH
              for step in range(MAX_STEPS)]
    assert batches == [[number(host, first + i) for i in range(BATCH)]
                       for first in firsts]
  assert tf.train.load_variable(
      str(tmp_path), examples_seen.NAME) == MAX_STEPS * BATCH * len(seen)


def test_an_error_of_the_generator_ends_the_training(
    coordinator, tmp_path):  # noqa: F811
  name, message, own = coordinator.run(fail, str(tmp_path))
  assert name == "InvalidArgumentError"
  assert "the text is no text" in message
  assert own.startswith("ValueError('the text is no text'")


@pytest.mark.parametrize("cores", [2, 8])
def test_the_graph_of_the_program(coordinator, tmp_path, cores):  # noqa: F811
  ops = coordinator.run(build, str(tmp_path), cores)
  assert ops["TPUReplicateMetadata"] == ops["TPUCompilationResult"] == 1
  assert ops["InfeedEnqueueTuple"] == ops["OutfeedDequeueTuple"] == cores
  assert ops["InfeedDequeueTuple"] == ops["OutfeedEnqueueTuple"] == 1
  assert ops["CrossReplicaSum"] >= 1


def test_says_that_there_is_no_tpu(coordinator, tmp_path):  # noqa: F811
  assert "Cannot find any TPU cores" in coordinator.run(
      train_without, str(tmp_path))
