"""Programs in processes that are forked by program_server.py."""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

TESTS = os.path.dirname(os.path.abspath(__file__))


class _Server:
  """The server's process, started with the first request."""

  def __init__(self):
    self._process = None
    self._lock = threading.Lock()

  def ask(self, **request):
    """Returns the answer to a request."""
    with self._lock:
      if self._process is None:
        self._process = subprocess.Popen(
            [sys.executable, os.path.join(TESTS, "program_server.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            universal_newlines=True)
        atexit.register(self._process.communicate)
      process = self._process
      assert process.stdin and process.stdout
      process.stdin.write(json.dumps(request) + "\n")
      process.stdin.flush()
      return json.loads(process.stdout.readline())


_server = _Server()


def _start(command, *outputs):
  """Starts a program with files as its outputs; returns its process's number.
  """
  return _server.ask(
      command=command, outputs=outputs, directory=os.getcwd(),
      environment=dict(os.environ))


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
    with tempfile.TemporaryDirectory() as directory:
      output = os.path.join(directory, "output")
      os.mkfifo(output)
      self.pid = _start(command, output,
                        output if stderr == subprocess.STDOUT else os.devnull)
      self.stdout = open(output)

  def _wait(self, is_waiting):
    if self.returncode is None:
      self.returncode = _server.ask(pid=self.pid, is_waiting=is_waiting)
    return self.returncode

  def poll(self):
    """Returns `returncode`, without waiting."""
    return self._wait(False)

  def wait(self, timeout=None):
    """Waits until the program has ended; returns `returncode`.

    Raises:
      subprocess.TimeoutExpired: that took longer than `timeout` seconds.
    """
    if timeout is None:
      return self._wait(True)
    end = time.monotonic() + timeout
    while self.poll() is None:
      if time.monotonic() > end:
        raise subprocess.TimeoutExpired("program %d" % self.pid, timeout)
      time.sleep(0.02)
    return self.returncode

  def communicate(self):
    """Waits for its end; returns (its further output, None)."""
    output = self.stdout.read()
    self._wait(True)
    return output, None

  def send_signal(self, number):
    """Sends a signal, unless it was waited for."""
    if self.returncode is None:
      os.kill(self.pid, number)

  def kill(self):
    """Sends SIGKILL."""
    self.send_signal(9)


def run(command, stderr=subprocess.STDOUT):
  """Runs a program to its end.

  Args:
    command: list of str, the path of a Python program and its arguments.
    stderr: subprocess.STDOUT or subprocess.PIPE.

  Returns:
    subprocess.CompletedProcess.
  """
  with tempfile.NamedTemporaryFile("r") as output, (
      tempfile.NamedTemporaryFile("r")) as errors:
    pid = _start(command, output.name,
                 (errors if stderr == subprocess.PIPE else output).name)
    code = _server.ask(pid=pid, is_waiting=True)
    return subprocess.CompletedProcess(
        command, code, output.read(), errors.read())
