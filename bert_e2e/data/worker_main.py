"""The program that a worker process runs; see worker_pool.py.

A worker is a fresh interpreter that imports what the pickle of its function
names, and nothing else of this project. A strategy of the user is imported when
it is called first; see strategies.py.
"""

import gc
import os
import pickle
import queue
import signal
import sys
import threading
import traceback

# Python puts the directory of this file first on the path. Imports need the
# project's root there, and modules of this directory would hide other packages.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

from bert_e2e.data import worker_frames  # noqa: E402

# The thread that reads tasks needs the interpreter, which another one uses to
# build examples. With Python's default of 5 ms, the trainer would wait so long
# for every 64 KB that it sends.
_SWITCH_SECONDS = 0.0005
# New objects between two searches for reference cycles.
_COLLECT_EVERY = 50000


def _read_tasks(frames):
  """Reads tasks in a thread; ends the process when they end or are damaged."""
  code = 1
  try:
    worker_frames.read_frames(sys.stdin.fileno(), frames)
    code = 0
  except Exception:
    traceback.print_exc()
    sys.stderr.flush()  # os._exit does not.
  finally:
    os._exit(code)


def _reply(function, frame):
  """Returns (kind of reply; result, exception or message) of a task."""
  try:
    return worker_frames.RESULT, function(*pickle.loads(frame))
  except ValueError as e:
    return worker_frames.VALUE_ERROR, e
  except Exception:
    return worker_frames.TRACEBACK, traceback.format_exc()


def main(result_fd):
  """Runs a worker.

  Args:
    result_fd: int, the file descriptor to write results to.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  sys.setswitchinterval(_SWITCH_SECONDS)
  # A chunk's examples are thousands of objects, without reference cycles.
  gc.set_threshold(_COLLECT_EVERY)
  frames: queue.SimpleQueue = queue.SimpleQueue()
  threading.Thread(target=_read_tasks, args=(frames,), daemon=True).start()
  function = pickle.loads(frames.get())
  with open(result_fd, "wb", buffering=0) as results:
    while True:
      reply = _reply(function, frames.get())
      try:
        worker_frames.write_frame(
            results, pickle.dumps(reply, pickle.HIGHEST_PROTOCOL))
      except BrokenPipeError:
        return


if __name__ == "__main__":
  main(int(sys.argv[1]))
