"""Feeds a remote TPU from a Python generator in this process.

A TPU's input pipeline runs on the TPU's host in a separate process, the
`worker`, whereas a Python generator can only run in the process that created
it, the `coordinator`. Therefore the coordinator joins the cluster (`resolve`),
the generator's dataset and its iterator are placed on the coordinator, and a
dataset on the worker requests one element after the other by RPC (`forward`).
This module knows nothing about text.
"""

import functools
import socket

import tensorflow.compat.v1 as tf

from bert_e2e.common import session_config

WORKER_JOB = "worker"
# Sorts after the worker's job: TensorFlow places whatever is not pinned to a
# device, such as variables, in the first job in alphabetical order.
COORDINATOR_JOB = "zcoordinator"
# Elements that a worker prefetches.
_PREFETCHED = 2


def coordinator_device():
  """Returns the name of this process's CPU device in the cluster, a str."""
  return "/job:%s/replica:0/task:0/device:CPU:0" % COORDINATOR_JOB


def is_remote(device):
  """Returns True if an input pipeline's device belongs to another process.

  The name of such a device has a job; that of a TPU attached to this machine
  has none.

  Args:
    device: str, a device name.
  """
  return tf.DeviceSpec.from_string(device).job is not None


def forward(dataset_fn, worker_device, num_prefetched=_PREFETCHED):
  """Makes the elements of a dataset in this process available to a worker.

  Initializing an iterator of the result first initializes the iterator of the
  dataset, which reads its variables at that time. Do so only once per session:
  pending calls of an earlier iterator would take elements from the new one.
  Sessions are independent if their configs set `isolate_session_state`. Each
  call of this function creates its own iterator, e.g. one per worker.

  Args:
    dataset_fn: function without arguments that returns a tf.data.Dataset with
      one tensor per element. Batch the examples into string [N] tensors: one
      RPC per example would dominate the time. It is called once, in the current
      graph, on the coordinator's device. Any repetition must be part of it: the
      result can only be read once.
    worker_device: str, the worker's CPU device.
    num_prefetched: int, elements to prefetch on the worker.

  Returns:
    A tf.data.Dataset on the worker with the same elements in the same order,
    which ends with that dataset. An error of the generator is raised once, as a
    tf.errors.OpError, in place of the next element; then the dataset ends.
  """
  device = coordinator_device()
  with tf.device(device):
    dataset = dataset_fn()
    dtype = tf.data.get_output_types(dataset)
    shape = tf.data.get_output_shapes(dataset)
    iterator = tf.data.make_initializable_iterator(dataset)
    # Evaluated whenever the iterator of the worker's dataset is initialized.
    with tf.control_dependencies([iterator.initializer]):
      handle = tf.identity(iterator.string_handle())

    def get_next(handle):
      return tf.data.Iterator.from_string_handle(
          handle, dtype, shape).get_next()

    # Traced here, so that its operations are placed on the coordinator, too.
    function = tf.function(get_next, autograph=False).get_concrete_function(
        tf.TensorSpec([], tf.string))

  def call(_):
    element, = tf.raw_ops.RemoteCall(
        target=device, args=[handle], Tout=[dtype], f=function)
    element.set_shape(shape)
    return element

  with tf.device(worker_device):
    calls = tf.data.Dataset.range(2).repeat()  # Endless; its values are unused.
    # Sequential calls, which keep the order of the elements.
    elements = calls.map(tf.autograph.experimental.do_not_convert(call))
    return elements.prefetch(num_prefetched)


def resolve(tpu_name, zone=None, project=None, coordinator_address=None):
  """Finds a TPU and makes this process the coordinator of its cluster.

  The cluster has the jobs WORKER_JOB and COORDINATOR_JOB, so a TPUConfig needs
  tpu_job_name=WORKER_JOB.

  Args:
    tpu_name: str, name of a TPU, or comma-separated grpc:// addresses.
    zone, project: str, location of the TPU; None reads the metadata.
    coordinator_address: str host:port at which the TPU hosts reach this process
      (see start_coordinator); None picks a free port and the local address on
      the route to the hosts.

  Returns:
    A tf.distribute.cluster_resolver.TPUClusterResolver. None if `tpu_name` is
    "local" or empty: the input pipeline of a TPU attached to this machine runs
    in this process.

  Raises:
    ImportError, ValueError, RuntimeError: the TPU is not found; see
      TPUClusterResolver.
    OSError: there is no route to the worker.
    tf.errors.OpError: see start_coordinator.
  """
  if not tpu_name or tpu_name == "local":
    return None
  make_resolver = functools.partial(
      tf.distribute.cluster_resolver.TPUClusterResolver, tpu_name, zone=zone,
      project=project, job_name=WORKER_JOB)
  if coordinator_address is None:
    workers = make_resolver().cluster_spec().job_tasks(WORKER_JOB)
    coordinator_address = "%s:0" % _local_address(workers[0])
  return make_resolver(coordinator_name=COORDINATOR_JOB,
                       coordinator_address=start_coordinator(
                           coordinator_address))


def _local_address(worker):
  """Returns this machine's IPv4 address on the route to a worker, host:port."""
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
    # Nothing is sent, so the port does not matter.
    connection.connect((worker.partition(":")[0], 1))
    return connection.getsockname()[0]


def start_coordinator(address):
  """Starts a server through which the workers of a cluster reach this process.

  It runs until the process exits. TensorFlow listens on all addresses of the
  machine, not only this one, and any client can run arbitrary TensorFlow
  operations: a firewall must restrict the port to the workers.

  Args:
    address: str host:port; port 0 picks a free port.

  Returns:
    str host:port, with the actual port. Further calls with the same address
    return the same result.

  Raises:
    tf.errors.OpError: the port is in use.
  """
  port = _server(address).target.rpartition(":")[2]
  return "%s:%s" % (address.rpartition(":")[0], port)


@functools.lru_cache(maxsize=None)
def _server(address):
  """Returns a tf.train.Server, cached: TensorFlow cannot stop a server."""
  # Under another job name: the session passes the cluster's job names later,
  # and TensorFlow rejects them if the server was started with them.
  return tf.train.Server({"local": [address]}, job_name="local", task_index=0,
                         config=session_config.cpu_only())
