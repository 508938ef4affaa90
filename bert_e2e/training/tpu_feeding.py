"""Feeds a TPU of another machine from a Python generator of this process.

Knows nothing of text. A TPU's input pipeline runs on the TPU's host, in a
process of its own, a `worker`. A Python generator runs in the process that made
it, the `coordinator`, only. So the coordinator joins the cluster (`resolve`);
the generator's dataset and its iterator are placed there, and a dataset on the
worker calls for one element after the other through gRPC (`forward`).
"""

import functools
import socket

import tensorflow.compat.v1 as tf

WORKER_JOB = "worker"
# Behind the worker's in the alphabet: TensorFlow places what is pinned to no
# device, the variables for example, in the first job.
COORDINATOR_JOB = "zcoordinator"
# Elements that a worker has asked for before it needs them.
_AHEAD = 2


def coordinator_device():
  """Returns the device of this process's processor in the cluster, a str."""
  return "/job:%s/replica:0/task:0/device:CPU:0" % COORDINATOR_JOB


def is_remote(device):
  """Tells whether an input pipeline's device, a str, is another process's.

  Then it names a job; that of a TPU in this machine does not.
  """
  return tf.DeviceSpec.from_string(device).job is not None


def forward(dataset_fn, worker_device, ahead=_AHEAD):
  """Gives a worker the elements of a dataset of this process.

  When an iterator of the result is initialized, the dataset's is right before:
  what the dataset reads of variables is read then. That may be done once in a
  session: calls that are still under way for a former iterator would take
  elements from the new one. Sessions do not disturb each other, provided that
  their configs have `isolate_session_state` set. Each call makes an iterator of
  its own, e.g. one for each worker.

  Args:
    dataset_fn: function without arguments that returns a tf.data.Dataset, whose
      elements are one tensor each: string [N] for example, lists, since a call
      through gRPC for each example would take most of the time. It is called
      once, in the current graph, on the coordinator's device. What repeats the
      elements has to be in there: the result can be read only once.
    worker_device: str, device of the worker's processor.
    ahead: int, elements that are kept ready on the worker.

  Returns:
    A tf.data.Dataset on the worker, of the same elements in the same order. It
    ends where the dataset ends. An error of the generator is raised once, as a
    tf.errors.OpError, in place of the next element; then comes the end.
  """
  device = coordinator_device()
  with tf.device(device):
    dataset = dataset_fn()
    dtype = tf.data.get_output_types(dataset)
    shape = tf.data.get_output_shapes(dataset)
    iterator = tf.data.make_initializable_iterator(dataset)
    # The worker's dataset takes it whenever its own iterator is initialized.
    with tf.control_dependencies([iterator.initializer]):
      handle = tf.identity(iterator.string_handle())

    def get_next(handle):
      return tf.data.Iterator.from_string_handle(
          handle, dtype, shape).get_next()

    # Here, so that its operations are the coordinator's as well.
    function = tf.function(get_next, autograph=False).get_concrete_function(
        tf.TensorSpec([], tf.string))

  def call(_):
    element, = tf.raw_ops.RemoteCall(
        target=device, args=[handle], Tout=[dtype], f=function)
    element.set_shape(shape)
    return element

  with tf.device(worker_device):
    calls = tf.data.Dataset.range(2).repeat()  # Endless; the numbers are unused
    # One call at a time: the order of the calls is that of the elements.
    elements = calls.map(tf.autograph.experimental.do_not_convert(call))
    return elements.prefetch(ahead)


def resolve(tpu_name, zone=None, project=None, coordinator_address=None):
  """Finds a TPU and makes this process the coordinator of its cluster.

  The cluster has the jobs WORKER_JOB and COORDINATOR_JOB, so that a TPUConfig
  needs tpu_job_name=WORKER_JOB.

  Args:
    tpu_name: str, name of a TPU, or grpc:// addresses with commas between.
    zone, project: str, where a TPU of that name is, unless the metadata tell.
    coordinator_address: str host:port by which the TPU's hosts reach this
      process, see start_coordinator; None takes a free port and the address
      that this machine has towards them.

  Returns:
    A tf.distribute.cluster_resolver.TPUClusterResolver; or None for "local" and
    for no name, a TPU in this machine: its input pipeline runs in this process.

  Raises:
    ImportError, ValueError, RuntimeError: a name that is not found; see
      TPUClusterResolver.
    OSError: no way to the worker.
    tf.errors.OpError: see start_coordinator.
  """
  if not tpu_name or tpu_name == "local":
    return None
  make_resolver = functools.partial(
      tf.distribute.cluster_resolver.TPUClusterResolver, tpu_name, zone=zone,
      project=project, job_name=WORKER_JOB)
  if coordinator_address is None:
    workers = make_resolver().cluster_spec().job_tasks(WORKER_JOB)
    coordinator_address = "%s:0" % _address_towards(workers[0])
  return make_resolver(coordinator_name=COORDINATOR_JOB,
                       coordinator_address=start_coordinator(
                           coordinator_address))


def _address_towards(worker):
  """Returns the IPv4 address of this machine that a worker, host:port, sees."""
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
    # Sends nothing, so that any port will do.
    connection.connect((worker.partition(":")[0], 1))
    return connection.getsockname()[0]


def start_coordinator(address):
  """Lets the workers of a cluster reach this process, until it ends.

  TensorFlow accepts connections through all of the machine's addresses, not
  only this one, and whoever connects can run what TensorFlow can: the port has
  to be closed to other machines than the workers.

  Args:
    address: str host:port; port 0 takes a free one.

  Returns:
    str host:port, with the port that was taken. Another call for the same
    address returns the same.

  Raises:
    tf.errors.OpError: the port is taken.
  """
  port = _server(address).target.rpartition(":")[2]
  return "%s:%s" % (address.rpartition(":")[0], port)


@functools.lru_cache(maxsize=None)
def _server(address):
  """Returns the tf.train.Server, kept: TensorFlow cannot end one."""
  # The cluster's own names are given when a session begins, and TensorFlow
  # refuses them to a server that was started by them.
  return tf.train.Server({"local": [address]}, job_name="local", task_index=0,
                         config=tf.ConfigProto(device_count={"GPU": 0}))
