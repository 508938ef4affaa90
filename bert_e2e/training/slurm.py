"""The cluster that SLURM started, by TensorFlow's SlurmClusterResolver."""

import contextlib
import os
import re
import subprocess

import tensorflow.compat.v1 as tf

from bert_e2e.training import cluster

# What srun sets for each task that it starts.
_VARIABLES = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS",
              "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
# Jobs may share a node: each uses its own 16 of these ports there.
_FIRST_PORT, _PORT_RANGES, _PORTS = 10000, 1000, 16


def read():
  """Asks TensorFlow's SlurmClusterResolver, which reads the environment.

  Each task of the job step is a worker; task 0 is the chief. SLURM assigns the
  GPUs. TensorFlow 1.15 calls `scontrol` for the names of the nodes.

  Returns:
    A cluster.Cluster.

  Raises:
    ValueError: this is not a task of a job step, or SLURM distributes its tasks
      in a way that the resolver does not support.
  """
  missing = [name for name in _VARIABLES if name not in os.environ]
  if missing or "OMPI_COMM_WORLD_SIZE" in os.environ:
    raise ValueError(
        "--cluster=slurm is for processes that srun starts, and %s. Start them "
        "with srun, e.g. srun --ntasks-per-node=1 python ..." % (
            "%s is not set" % missing[0] if missing else
            "OMPI_COMM_WORLD_SIZE is set, by mpirun"))
  try:
    addresses, host = _resolve()
  except (OSError, RuntimeError, ValueError, LookupError,
          subprocess.CalledProcessError) as e:
    raise ValueError(
        "--cluster=slurm: TensorFlow's SlurmClusterResolver failed: %s. Fix "
        "the cause, or set TF_CONFIG instead." % e) from e
  name = os.environ.get("SLURMD_NODENAME")
  if not host < len(addresses) or (
      name and addresses[host].rpartition(":")[0] != name):
    raise ValueError(
        "--cluster=slurm expects task %d of %s on another node than %s. Start "
        "the tasks node by node (srun --distribution=block), or set TF_CONFIG "
        "instead." % (host, ", ".join(addresses), name))
  return cluster.Cluster(addresses, host)


def _resolve():
  """Returns (addresses, index of this task) of SlurmClusterResolver."""
  environment = os.environ
  counts = _tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
  is_uniform = len(set(counts)) == 1
  if not is_uniform and tf.__version__.startswith("1."):
    raise ValueError(
        "TensorFlow %s needs as many tasks on every node, and "
        "SLURM_STEP_TASKS_PER_NODE=%s" % (
            tf.__version__, environment["SLURM_STEP_TASKS_PER_NODE"]))
  job = int(environment.get("SLURM_JOB_ID", 0)) % _PORT_RANGES
  # The resolver's numbers of GPUs limit its tasks per node, on CPUs as well.
  resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
      jobs={"worker": int(environment["SLURM_STEP_NUM_TASKS"])},
      port_base=_FIRST_PORT + job * _PORTS,
      tasks_per_node=counts[0] if is_uniform else None,
      gpus_per_node=max(counts), gpus_per_task=1, auto_set_gpu=False)
  # scontrol prints the nodes of the job, but a step may use fewer.
  with _variable("SLURM_JOB_NODELIST", environment["SLURM_STEP_NODELIST"]):
    addresses = resolver.cluster_spec().as_dict()["worker"]
  # TensorFlow 2 sorts n10 before n9, SLURM's numbering of tasks does not.
  addresses.sort(key=lambda address: [
      int(part) if part.isdigit() else part
      for part in re.split(r"(\d+)", address)])
  return addresses, int(environment["SLURM_PROCID"])


def _tasks_per_node(text):
  """Parses SLURM's list of counts.

  >>> _tasks_per_node("2(x3),1")
  [2, 2, 2, 1]
  """
  counts = []
  for part in text.split(","):
    match = re.match(r"(\d+)(?:\(x(\d+)\))?$", part)
    if not match:
      raise ValueError("SLURM_STEP_TASKS_PER_NODE=%s is not understood" % text)
    counts += [int(match.group(1))] * int(match.group(2) or 1)
  return counts


@contextlib.contextmanager
def _variable(name, value):
  """Changes an environment variable, for a while."""
  before = os.environ.get(name)
  os.environ[name] = value
  try:
    yield
  finally:
    del os.environ[name]
    if before is not None:
      os.environ[name] = before
