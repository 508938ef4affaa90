"""A TPU played by processors, and a TPUEstimator that trains on it.

TensorFlow has no kernels for what a TPU's cores do; `Device` puts ops in place
of these ops that the workers' processors can run.
"""

import collections
import contextlib
from unittest import mock

import tensorflow.compat.v1 as tf
from tensorflow_estimator.python.estimator.tpu import tpu_estimator
from tpu_workers import lists_of

from bert_e2e.checkpoints import examples_seen
from bert_e2e.training import tpu_feeding

BATCH = 3  # Of a core.
Listed = collections.namedtuple("Listed", ["name"])


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
