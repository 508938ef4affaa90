"""A Python interpreter that starts the project's programs quickly.

  python -S -E tests/forking_python.py program.py arguments...
  python -S -E tests/forking_python.py -c code arguments...

Of a program that program_server.py has loaded, and of code, the process is
forked by that server, which listens on the socket that the environment variable
names; this process forwards signals to it and ends as it does. If this process
is killed, so is the program. Everything else is run by Python itself, as are
programs when no server is known. `forked_programs.python` is a command of it.
"""

import array
import json
import os
import signal
import socket
import sys

# The server's socket.
SOCKET_VARIABLE = "TESTS_PROGRAM_SERVER"
# The interpreter that a forked process starts other programs with.
PYTHON_VARIABLE = "TESTS_PYTHON"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Directories whose programs are forked.
_LOADED = (ROOT, os.path.join(ROOT, "benchmarks"), os.path.join(ROOT, "tests"))
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1,
              signal.SIGUSR2)


def connect(address, command, files, environment):
  """Asks the server for a program's process.

  Args:
    address: str, path of the server's socket.
    command: list of str, the path of a Python program, or "-c" and Python code,
      and its arguments.
    files: list of three int, its standard input, output and error stream.
    environment: dict.

  Returns:
    (binary stream of answers, int, the process's number). A second answer is
    its exit code, or, negative, the signal that killed it. When the stream is
    closed before that, the program is killed.
  """
  with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(address)
    connection.sendmsg([b" "], [(
        socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])
    connection.sendall(json.dumps({
        "command": command, "environment": environment,
        "directory": os.getcwd(), "client": os.getpid()}).encode() + b"\n")
    answers = connection.makefile("rb")
  return answers, json.loads(answers.readline())


def _fork(address, arguments):
  """Runs a program to its end, which becomes the end of this process."""
  answers, pid = connect(address, arguments, [0, 1, 2], dict(os.environ))
  for number in _FORWARDED:
    if signal.getsignal(number) != signal.SIG_IGN:
      signal.signal(number, lambda number, _: os.kill(pid, number))
  answer = answers.readline()
  code = json.loads(answer) if answer else 1  # The server was killed.
  if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
  os._exit(code)


def _is_forked(arguments):
  """Tells whether the server runs what Python would run with arguments."""
  if arguments[:1] == ["-c"]:
    return len(arguments) > 1
  return bool(arguments) and arguments[0].endswith(".py") and (
      os.path.dirname(os.path.realpath(arguments[0])) in _LOADED)


if __name__ == "__main__":
  arguments = sys.argv[1:]
  address = os.environ.get(SOCKET_VARIABLE)
  if address and _is_forked(arguments):
    _fork(address, arguments)
  os.execv(sys.executable, [sys.executable] + arguments)
