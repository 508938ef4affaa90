"""Multi-worker training: the cluster, and what happens when a worker is lost.

TF_CONFIG names the workers, or SLURM does (see slurm.py).

TensorFlow's collective operations wait indefinitely for a dead or hung worker.
A watchdog thread therefore checks that training steps still complete, and exits
the process if they do not; `scripts/supervise.py` then restarts it from the
latest checkpoint.
"""

import contextlib
import hashlib
import json
import logging
import os
import threading
import time
from typing import NamedTuple, Sequence

import tensorflow.compat.v1 as tf

from bert_e2e.common import errors, tensorflow_errors

# The first step includes waiting for the other workers and building the graph.
_FIRST_STEP_FACTOR = 4

logger = logging.getLogger(__name__)


class Cluster(NamedTuple):
  """The workers that train together, as named by TF_CONFIG or SLURM.

  Attributes:
    addresses: list of str, host:port of each worker, the chief's first.
    host: int, index of this process in `addresses`.
  """
  addresses: Sequence[str]
  host: int


def read(environment):
  """Reads TF_CONFIG.

  Args:
    environment: dict of environment variables.

  Returns:
    A Cluster; None if TF_CONFIG is not set.

  Raises:
    ValueError: it does not describe a cluster for multi-worker training.
  """
  value = environment.get("TF_CONFIG")
  if not value:
    return None
  message = (
      "TF_CONFIG=%s does not describe a cluster. Expected: {\"cluster\": "
      "{\"worker\": [\"host1:2222\", \"host2:2222\"]}, \"task\": {\"type\": "
      "\"worker\", \"index\": 0}}, optionally with a \"chief\" task." % value)
  try:
    config = json.loads(value)
    jobs, task = config["cluster"], config["task"]
    chiefs = list(jobs.get("chief", []))
    host = int(task["index"]) + (task["type"] != "chief" and len(chiefs))
    cluster = Cluster(chiefs + list(jobs.get("worker", [])), host)
    is_known = set(jobs) <= {"chief", "worker"} and task["type"] in jobs
  except (ValueError, TypeError, LookupError, AttributeError) as e:
    raise ValueError(message) from e
  if not is_known or not 0 <= cluster.host < len(cluster.addresses):
    raise ValueError(message)
  return cluster


def tf_config(cluster):
  """Returns the TF_CONFIG of a Cluster, which `read` reads; a str."""
  return json.dumps({"cluster": {"worker": list(cluster.addresses)},
                     "task": {"type": "worker", "index": cluster.host}})


def launcher_advice(environment):
  """Returns what to do if a launcher started several single processes.

  Args:
    environment: dict of environment variables.

  Returns:
    str, sentences; "" if no launcher did.
  """
  # SLURM_NTASKS is set in a batch script as well, where one process starts.
  for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
    value = environment.get(name, "")
    if value.isdigit() and int(value) > 1:
      return (
          "A launcher started several processes (%s=%s), and each is a run of "
          "its own: to train with all of them, start them with srun and pass "
          "--distribution_strategy=multi_worker_mirrored --cluster=slurm, or "
          "set TF_CONFIG for each." % (name, value))
  return ""


def count_workers(environment):
  """Returns the number of processes that TF_CONFIG names.

  An invalid TF_CONFIG counts as none: tools other than TensorFlow set it, too.

  Args:
    environment: dict of environment variables.
  """
  try:
    jobs = json.loads(environment.get("TF_CONFIG") or "{}")["cluster"]
    return sum(len(addresses) for addresses in jobs.values())
  except (ValueError, TypeError, LookupError, AttributeError):
    return 0


class LostWorker(Exception):
  """Another worker of the cluster died or became unreachable."""


@contextlib.contextmanager
def lost_workers(is_cluster):
  """Raises LostWorker for the errors by which TensorFlow reports a lost worker.

  Args:
    is_cluster: bool; if False, these errors pass unchanged.
  """
  try:
    yield
  except tensorflow_errors.LOST_WORKER_ERRORS as e:
    if not is_cluster:
      raise
    raise LostWorker(
        "lost a worker (%s); exiting so that all workers can restart from the "
        "latest checkpoint" % e.message.splitlines()[0]) from e


class DigestHook(tf.train.SessionRunHook):
  """Logs a digest of the final weights; it must be equal on all workers."""

  def begin(self):
    self._step = tf.train.get_global_step().read_value()
    self._weights = [variable.read_value() for variable in sorted(
        tf.trainable_variables(), key=lambda variable: variable.name)]

  def end(self, session):
    digest = hashlib.sha256()
    step, weights = session.run([self._step, self._weights])
    for value in weights:
      digest.update(value.tobytes())
    logger.info("weights at step %d: %s", step, digest.hexdigest()[:16])


class Watchdog(tf.train.SessionRunHook):
  """Exits the process if no training step completes in time.

  A context manager, and a training hook. It is active from the moment the
  context is entered, since TensorFlow waits for the other workers before it
  builds the graph. The first step has a longer limit.

  Args:
    seconds: float, time limit per step; the first step has _FIRST_STEP_FACTOR
      times as long.
    is_enabled: bool; False for a single worker.

  Attributes:
    is_training: bool, True inside the context.
  """

  def __init__(self, seconds, is_enabled=True):
    self._is_enabled = is_enabled
    self._seconds = seconds
    self._is_over = threading.Event()
    self.is_training = False
    self._limit = self._deadline = 0.0

  def __enter__(self):
    self._reset(_FIRST_STEP_FACTOR)
    if self._is_enabled:
      threading.Thread(target=self._watch, daemon=True).start()
    self.is_training = True
    return self

  def __exit__(self, *exc_info):
    self._is_over.set()
    self.is_training = False

  def after_run(self, run_context, run_values):
    self._reset()

  @contextlib.contextmanager
  def paused(self):
    """Suspends the watchdog, e.g. while this process evaluates."""
    self._limit = self._deadline = float("inf")
    try:
      yield
    finally:
      self._reset()

  def _reset(self, factor=1):
    self._limit = factor * self._seconds
    self._deadline = time.monotonic() + self._limit

  def _watch(self):
    """Runs in its own thread."""
    while not self._is_over.wait(min(
        self._seconds, max(0.0, self._deadline - time.monotonic()))):
      if time.monotonic() >= self._deadline:
        logger.error(
            "no step completed in %g seconds: lost a worker, or one hangs; "
            "exiting so that all workers can restart from the latest "
            "checkpoint", self._limit)
        logging.shutdown()
        os._exit(errors.EXIT_RESTART)
