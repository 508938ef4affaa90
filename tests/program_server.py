"""Starts the project's programs without loading TensorFlow for each of them.

This process loads the programs once and forks a process for every run. A run is
a program like any other, with its own arguments, environment, output and exit
code: it may be stopped, killed and waited for.

Requests are lines of JSON on standard input, answers lines of JSON on standard
output. `forked_programs.py` sends them.
"""

import gc
import json
import os
import random
import runpy
import signal
import sys

# This directory is on the path already.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np
import quick_sessions

import convert_checkpoint  # noqa: F401  Loaded for the processes forked.
import create_pretraining_data  # noqa: F401
import run_pretraining_e2e as e2e
import show_examples  # noqa: F401


def become(request):
  """Makes this process the one that a request describes."""
  output, errors = request["outputs"]
  os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
  os.dup2(os.open(output, os.O_WRONLY | os.O_APPEND), 1)
  os.dup2(1 if errors == output else
          os.open(errors, os.O_WRONLY | os.O_APPEND), 2)
  os.environ.clear()
  os.environ.update(request["environment"])
  os.chdir(request["directory"])
  random.seed()
  np.random.seed()
  sys.argv = request["command"]
  sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))


def serve():
  """Answers requests; returns, in a forked process, the request to run."""
  running = set()
  for line in sys.stdin:
    request = json.loads(line)
    answer = None
    if "command" in request:
      answer = os.fork()
      if not answer:
        return request
      running.add(answer)
    else:
      pid, status = os.waitpid(
          request["pid"], 0 if request["is_waiting"] else os.WNOHANG)
      if pid:
        running.remove(pid)
        answer = (-os.WTERMSIG(status) if os.WIFSIGNALED(status) else
                  os.WEXITSTATUS(status))
    print(json.dumps(answer), flush=True)
  for pid in running:
    os.kill(pid, signal.SIGKILL)
  return None


if __name__ == "__main__":
  quick_sessions.use()
  e2e.tf.estimator.tpu.RunConfig  # noqa: B018  TensorFlow loads it when used.
  gc.freeze()  # Else the first collection of each process copies all pages.
  request = serve()
  if request:
    become(request)
    # As `python program.py` does; the interpreter then exits as it does there.
    runpy.run_path(request["command"][0], run_name="__main__")
