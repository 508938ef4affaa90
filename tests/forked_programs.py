"""Programs in processes that are forked by program_server.py."""

import atexit
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import forking_python

TESTS = os.path.dirname(os.path.abspath(__file__))


class _Server:
  """The server's process, started when it is needed first."""

  def __init__(self):
    self._directory: Any = None
    self._lock = threading.Lock()

  def directory(self):
    """Returns the directory of its socket, which listens, and of `python`."""
    with self._lock:
      if self._directory is None:
        self._directory = tempfile.TemporaryDirectory()
        address = self._path("socket")
        process = subprocess.Popen(
            [sys.executable, os.path.join(TESTS, "program_server.py"), address],
            stdin=subprocess.PIPE)
        atexit.register(self._directory.cleanup)
        atexit.register(process.communicate)
        self._write_python()
        os.environ[forking_python.SOCKET_VARIABLE] = address
        while not os.path.exists(address):
          assert process.poll() is None, "The program server failed."
          time.sleep(0.05)
      return self._directory.name

  def _path(self, name):
    return os.path.join(self._directory.name, name)

  def _write_python(self):
    with open(self._path("python"), "w") as stream:
      stream.write('#!/bin/sh\nexec "%s" -S -E "%s" "$@"\n' % (
          sys.executable, forking_python.__file__))
    os.chmod(self._path("python"), 0o755)


_server = _Server()


def python():
  """Returns the path of a `python` that starts the project's programs quickly.

  It is for programs that a test starts through another one. See
  forking_python.py.
  """
  return os.path.join(_server.directory(), "python")


def _start(command, output, errors, environment=None):
  """Starts a program; see forking_python.connect."""
  with open(os.devnull) as nothing:
    return forking_python.connect(
        os.path.join(_server.directory(), "socket"), command,
        [nothing.fileno(), output, errors], dict(environment or os.environ))


class ForkedProgram:
  """A program that runs; used like a subprocess.Popen.

  Args:
    command: list of str, the path of a Python program and its arguments.
    stderr: subprocess.STDOUT or subprocess.DEVNULL.

  Attributes:
    pid: int.
    stdout: text stream of its output.
    returncode: int, its exit code or, negative, the signal that killed it; None
      until it was waited for.
  """

  def __init__(self, command, stderr=subprocess.STDOUT):
    self.returncode: Any = None
    output, write_end = os.pipe()
    with open(os.devnull, "w") as nothing:
      self._answers, self.pid = _start(
          command, write_end, write_end if stderr == subprocess.STDOUT else
          nothing.fileno())
    os.close(write_end)
    self.stdout = open(output)

  def poll(self):
    """Returns `returncode`, without waiting."""
    if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
      return self.wait()
    return self.returncode

  def wait(self, timeout=None):
    """Waits until the program has ended; returns `returncode`.

    Raises:
      subprocess.TimeoutExpired: that took longer than `timeout` seconds.
    """
    if self.returncode is None:
      if not select.select([self._answers], [], [], timeout)[0]:
        raise subprocess.TimeoutExpired("program %d" % self.pid, timeout)
      self.returncode = int(self._answers.readline())
      self._answers.close()
    return self.returncode

  def communicate(self):
    """Waits for its end; returns (its further output, None)."""
    output = self.stdout.read()
    self.wait()
    return output, None

  def send_signal(self, number):
    """Sends a signal, unless it was waited for."""
    if self.returncode is None:
      os.kill(self.pid, number)

  def kill(self):
    """Sends SIGKILL."""
    self.send_signal(9)


def run(command, stderr=subprocess.STDOUT, forks_programs=False):
  """Runs a program to its end.

  Args:
    command: list of str, the path of a Python program and its arguments.
    stderr: subprocess.STDOUT or subprocess.PIPE.
    forks_programs: bool, the programs that it starts are forked, too.

  Returns:
    subprocess.CompletedProcess.
  """
  environment = dict(os.environ)
  if forks_programs:
    environment[forking_python.PYTHON_VARIABLE] = python()
  with tempfile.TemporaryFile("w+") as output, (
      tempfile.TemporaryFile("w+")) as errors:
    answers, _ = _start(
        command, output.fileno(),
        (errors if stderr == subprocess.PIPE else output).fileno(), environment)
    with answers:
      code = int(answers.readline())
    output.seek(0)
    errors.seek(0)
    return subprocess.CompletedProcess(
        command, code, output.read(), errors.read())
