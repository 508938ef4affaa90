"""Starts the project's programs without loading TensorFlow for each of them.

This process loads the programs once and forks a process for every run. A run is
a program like any other, with its own arguments, environment, output and exit
code: it may be stopped, killed and waited for.

It listens on the Unix socket that its argument names, until standard input is
closed. `forking_python.connect` describes requests and answers. Clients in
another network namespace get processes in that namespace.
"""

import array
import contextlib
import ctypes
import gc
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys

# This directory is on the path already.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import forking_python
import numpy as np
import quick_sessions

import convert_checkpoint  # noqa: F401  Loaded for the processes forked.
import create_pretraining_data  # noqa: F401
import run_pretraining_e2e as e2e
import show_examples  # noqa: F401

_NUM_FILES = 3


def receive(connection):
  """Returns a request, with the three open files in "files"."""
  size = array.array("i").itemsize
  _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_LEN(_NUM_FILES * size))
  files = array.array("i")
  files.frombytes(ancillary[0][2])
  with connection.makefile("rb") as stream:
    return dict(json.loads(stream.readline()), files=list(files))


def enter_namespaces(pid):
  """Moves this process to the user's and network namespace of another one."""
  for name in ("user", "net"):
    path = "/proc/%%s/ns/%s" % name
    if os.readlink(path % "self") != os.readlink(path % pid):
      with open(path % pid) as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
          raise OSError(ctypes.get_errno(), "setns", path % pid)


def become(request):
  """Makes this process the one that a request describes."""
  for number, file in enumerate(request["files"]):
    os.dup2(file, number)
    os.close(file)
  enter_namespaces(request["client"])
  os.environ.clear()
  os.environ.update(request["environment"])
  os.chdir(request["directory"])
  random.seed()
  np.random.seed()
  sys.executable = os.environ.get(
      forking_python.PYTHON_VARIABLE, sys.executable)
  program, *arguments = request["command"]
  if program == "-c":
    sys.argv, sys.path[0] = [program, *arguments[1:]], ""
  else:
    sys.argv = [program, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(program))


def run(command):
  """Runs a program, or code, as Python does; the interpreter then exits."""
  if command[0] == "-c":
    exec(compile(command[1], "<string>", "exec"), {"__name__": "__main__"})
  else:
    runpy.run_path(command[0], run_name="__main__")


class Server:
  """The server.

  Args:
    address: str, path of its socket.
  """

  def __init__(self, address):
    self._listener = socket.socket(socket.AF_UNIX)
    self._listener.bind(address + ".partial")
    self._listener.listen(16)
    os.rename(address + ".partial", address)  # Now it can be connected to.
    self._connections = {}  # By the numbers of the running processes.
    self._ended, wake_up = os.pipe()
    os.set_blocking(wake_up, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)
    self._events = selectors.DefaultSelector()
    for source in (sys.stdin.fileno(), self._listener.fileno(), self._ended):
      self._events.register(source, selectors.EVENT_READ)

  def serve(self):
    """Answers requests; returns, in a forked process, the request to run."""
    while True:
      for key, _ in self._events.select():
        if key.fd == sys.stdin.fileno():
          for pid in self._connections:
            os.kill(pid, signal.SIGKILL)
          return None
        if key.fd == self._listener.fileno():
          request = self._fork()
          if request:
            return request
        elif key.fd == self._ended:
          os.read(self._ended, 100)
          self._answer_ends()
        elif key.data in self._connections:  # The client has closed it.
          self._events.unregister(key.fileobj)
          os.kill(key.data, signal.SIGKILL)

  def _fork(self):
    """Starts a process; returns, in that process, its request."""
    connection, _ = self._listener.accept()
    request = receive(connection)
    pid = os.fork()
    if not pid:
      signal.set_wakeup_fd(-1)
      signal.signal(signal.SIGCHLD, signal.SIG_DFL)
      self._events.close()
      for one in [self._listener, connection, *self._connections.values()]:
        one.close()
      return request
    for file in request["files"]:
      os.close(file)
    connection.sendall(b"%d\n" % pid)
    self._connections[pid] = connection
    self._events.register(connection, selectors.EVENT_READ, pid)
    return None

  def _answer_ends(self):
    """Sends the exit codes of the processes that have ended."""
    for pid in list(self._connections):
      ended, status = os.waitpid(pid, os.WNOHANG)
      if ended:
        connection = self._connections.pop(pid)
        with contextlib.suppress(KeyError):
          self._events.unregister(connection)
        with contextlib.suppress(OSError):  # The client may have gone.
          connection.sendall(b"%d\n" % (
              -os.WTERMSIG(status) if os.WIFSIGNALED(status) else
              os.WEXITSTATUS(status)))
        connection.close()


if __name__ == "__main__":
  server = Server(sys.argv[1])
  quick_sessions.use()
  e2e.tf.estimator.tpu.RunConfig  # noqa: B018  TensorFlow loads it when used.
  with contextlib.suppress(ImportError):
    import sklearn.linear_model  # noqa: F401  So do probes.
  gc.freeze()  # Else the first collection of each process copies all pages.
  request = server.serve()
  if request:
    become(request)
    run(request["command"])
