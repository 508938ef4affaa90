"""Several machines that train together: who they are, and what if one is gone.

TensorFlow's collective operations wait for a dead or hung peer for ever. So a
thread looks whether steps still come, and ends the process where they do not;
`supervise.py` then starts it again, from the latest checkpoint.
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

_PATIENCE = 4

logger = logging.getLogger(__name__)


class Cluster(NamedTuple):
  """The machines of a training, as TF_CONFIG names them.

  Attributes:
    addresses: list of str, host:port of each one, the chief's first.
    host: int, the place in it of this one.
  """
  addresses: Sequence[str]
  host: int


def read(environment):
  """Reads TF_CONFIG.

  Args:
    environment: dict with the variables of the environment.

  Returns:
    A Cluster; None where TF_CONFIG is not set.

  Raises:
    ValueError: it is not what a training by several workers needs.
  """
  value = environment.get("TF_CONFIG")
  if not value:
    return None
  expected = (
      "TF_CONFIG=%s does not name the machines. It must be like {\"cluster\": "
      "{\"worker\": [\"host1:2222\", \"host2:2222\"]}, \"task\": {\"type\": "
      "\"worker\", \"index\": 0}}; \"chief\" may be a task type, too." % value)
  try:
    config = json.loads(value)
    jobs, task = config["cluster"], config["task"]
    chiefs = list(jobs.get("chief", []))
    host = int(task["index"]) + (task["type"] != "chief" and len(chiefs))
    cluster = Cluster(chiefs + list(jobs.get("worker", [])), host)
    is_known = set(jobs) <= {"chief", "worker"} and task["type"] in jobs
  except (ValueError, TypeError, LookupError, AttributeError) as e:
    raise ValueError(expected) from e
  if not is_known or not 0 <= cluster.host < len(cluster.addresses):
    raise ValueError(expected)
  return cluster


def count_machines(environment):
  """Returns how many machines TF_CONFIG names.

  It need not be right: others than TensorFlow's clusters have one, too.

  Args:
    environment: dict with the variables of the environment.
  """
  try:
    jobs = json.loads(environment.get("TF_CONFIG") or "{}")["cluster"]
    return sum(len(addresses) for addresses in jobs.values())
  except (ValueError, TypeError, LookupError, AttributeError):
    return 0


class LostPeer(Exception):
  """Another machine of the training is gone."""


@contextlib.contextmanager
def lost_peers(is_cluster):
  """Raises LostPeer for what TensorFlow raises where a machine is gone.

  Args:
    is_cluster: bool; else errors stay what they are.
  """
  try:
    yield
  except tensorflow_errors.LOST_PEER_ERRORS as e:
    if not is_cluster:
      raise
    raise LostPeer("another worker is gone (%s). This one ends, so that all "
                   "can start again from the latest checkpoint" %
                   e.message.splitlines()[0]) from e


class DigestHook(tf.train.SessionRunHook):
  """Logs a digest of the weights at the end: the same one on all machines."""

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
  """Ends the process where no step ends for a time; a context manager.

  It watches from its start on, since TensorFlow waits for the others before it
  builds anything; up to the first step's end it has more patience.

  Args:
    seconds: float; to the first step's end, _PATIENCE times as many.
    is_needed: bool; where there are no others, it does nothing.
  """

  def __init__(self, seconds, is_needed=True):
    self._is_needed = is_needed
    self._seconds = seconds
    self._is_over = threading.Event()
    self.is_training = False
    self._limit = self._due = 0.0

  def __enter__(self):
    self._feed(_PATIENCE)
    if self._is_needed:
      threading.Thread(target=self._watch, daemon=True).start()
    self.is_training = True
    return self

  def __exit__(self, *exc_info):
    self._is_over.set()
    self.is_training = False

  def after_run(self, run_context, run_values):
    self._feed()

  @contextlib.contextmanager
  def held(self):
    """Keeps still while this process does something else than train."""
    self._limit = self._due = float("inf")
    try:
      yield
    finally:
      self._feed()

  def _feed(self, factor=1):
    self._limit = factor * self._seconds
    self._due = time.monotonic() + self._limit

  def _watch(self):
    """The thread."""
    while not self._is_over.wait(min(
        self._seconds, max(0.0, self._due - time.monotonic()))):
      if time.monotonic() >= self._due:
        logger.error(
            "no step in %g seconds: another worker is gone or hangs. This one "
            "ends, so that all can start again from the latest checkpoint",
            self._limit)
        logging.shutdown()
        os._exit(errors.EXIT_RESTART)
