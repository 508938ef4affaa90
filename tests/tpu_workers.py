"""Two hosts of a TPU and their coordinator, each a process of its own.

TensorFlow's servers listen on all addresses of the machine. Here they run in a
network namespace that has nothing but its own loopback: a process in it, the
coordinator, starts the workers and runs the functions that the tests name.
"""

import importlib
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
import traceback
from typing import Any

if __name__ == "__main__":  # This directory is on the path already.
  sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import forked_programs
import pytest

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401
import tensorflow.compat.v1 as tf
from program import is_gone

from bert_e2e.training import tpu_feeding
from demo import network

WORKERS = ["/job:worker/task:%d/device:CPU:0" % i for i in range(2)]
_ANSWER_SECONDS = 120


def isolated():
  """Returns the command that runs a program with a network of its own."""
  return network.isolating_command() or pytest.skip(
      "no network namespace can be made here")


class Coordinator:
  """The coordinator's process, which ends, with its workers, at `close`."""

  def __init__(self):
    self._process = subprocess.Popen(
        isolated() + [forked_programs.python(), os.path.abspath(__file__)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    self.workers = self._answer()

  def run(self, function, *arguments):
    """Returns what a function of a test module returns there.

    It is called with the workers' addresses, as of --tpu_name, and arguments.
    """
    stdin = self._process.stdin
    assert stdin
    directory = os.path.dirname(function.__code__.co_filename)
    pickle.dump((directory, function.__module__, function.__name__, arguments),
                stdin)
    stdin.flush()
    answer, failure = self._answer()
    assert not failure, failure
    return answer

  def _answer(self):
    timer = threading.Timer(_ANSWER_SECONDS, self._process.kill)
    timer.start()
    try:
      assert self._process.stdout
      return pickle.load(self._process.stdout)
    finally:
      timer.cancel()

  def close(self):
    """Ends it; the workers notice that it is gone."""
    for stream in (self._process.stdin, self._process.stdout):
      assert stream
      stream.close()
    try:
      self._process.wait(10)
    finally:
      self._process.kill()
      self._process.wait()
    deadline = time.monotonic() + 10
    while not all(map(is_gone, self.workers)):
      assert time.monotonic() < deadline
      time.sleep(0.05)


def fork_worker():
  """Starts a worker, which ends with this process; returns (pid, port)."""
  from_parent, to_child = os.pipe()
  from_child, to_parent = os.pipe()
  pid = os.fork()
  if not pid:
    os.close(to_child)
    os.dup2(from_parent, 0)
    os.dup2(to_parent, 1)
    network.serve_tpu_host()
  os.close(from_parent)
  os.close(to_parent)
  with os.fdopen(from_child) as stream:
    return pid, int(stream.readline())


def coordinate():
  """The main function of the coordinator."""
  network.raise_loopback()
  workers = [fork_worker() for _ in WORKERS]
  answers = os.fdopen(os.dup(1), "wb")
  os.dup2(2, 1)  # What anything prints is no answer.
  requests: queue.Queue = queue.Queue()

  def read():
    while True:
      try:
        requests.put(pickle.load(sys.stdin.buffer))
      except EOFError:
        os._exit(0)

  threading.Thread(target=read, daemon=True).start()
  answer: Any = [pid for pid, _ in workers]
  tpu_name = ",".join("grpc://127.0.0.1:%d" % port for _, port in workers)
  tf.disable_eager_execution()
  while True:
    pickle.dump(answer, answers)
    answers.flush()
    directory, module, function, arguments = requests.get()
    if directory not in sys.path:
      sys.path.append(directory)
    try:
      answer = getattr(importlib.import_module(module), function)(
          tpu_name, *arguments), None
    except Exception:
      answer = None, traceback.format_exc()


# ------------------------------------------ what runs in the coordinator


def connect(tpu_name):
  """Returns (address of the master, tf.ConfigProto) of a session."""
  config = tf.estimator.tpu.RunConfig(cluster=tpu_feeding.resolve(tpu_name))
  return config.master, config.session_config


def lists_of(generator, *arguments):
  return tf.data.Dataset.from_generator(
      generator, tf.string, tf.TensorShape([None]), args=arguments)


if __name__ == "__main__":
  coordinate()
