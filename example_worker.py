"""Worker processes: a function mapped over tasks, in order, beside the trainer.

    parent                                           worker k of N
    tasks ── dealt in turn ──> stdin pipe ──> thread ──> queue ──> function
    results <── read in turn <── queue <── thread <── result pipe <──┘

`WorkerPool` is the parent's side; run as a program, this file is the worker's.
Both sides send frames: 8 bytes of length, then a pickle. A worker is a fresh
interpreter that loads what the function's pickle names and nothing else (the
ways of `multiprocessing` load the main program again, and TensorFlow with it).
It ends when its stdin does, so none outlives its parent, however that died.
"""

import collections
import itertools
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import traceback
import weakref
from typing import Any, Deque, List, Tuple

_LENGTH = struct.Struct("<Q")
# Kinds of replies.
_RESULT, _VALUE_ERROR, _TRACEBACK = range(3)
# How often a parent that waits for a result looks whether all workers live.
_POLL_SECONDS = 0.2
# How long the results that a dead worker left in its pipe may take to read.
_DRAIN_SECONDS = 5
# A worker's reading thread has to ask the building one for the interpreter. At
# Python's 5 ms a parent would wait that long for every 64 KB that it sends.
_SWITCH_SECONDS = 0.0005


class WorkerError(RuntimeError):
  """A worker died, or failed on a task in a way that is no ValueError."""


class InProcess:
  """Does what WorkerPool does, one task at a time in this process.

  Args:
    function: what to call.
  """

  def __init__(self, function):
    self._function = function

  def __enter__(self):
    return self

  def __exit__(self, *exc_info):
    pass

  def check(self):
    """Does nothing: there is no worker that could have died."""

  def map(self, tasks):
    """Yields (tag, function(*args)) for each (tag, args) of `tasks`."""
    for tag, args in tasks:
      yield tag, self._function(*args)


class WorkerPool:
  """Maps a function over tasks in worker processes; a context manager.

  The workers start with the pool. They are killed and reaped when the context
  ends, when the pool is garbage-collected and when the interpreter exits.

  Args:
    function: what to call; can be pickled, from a module that a fresh
      interpreter finds.
    num_workers: int, 1 or more.
    tasks_ahead: int, tasks that are sent before the first one's result is
      handed out: what bounds the memory.
    describe: function from a task's arguments to a str, for the error that
      names what a worker died of.

  Raises:
    OSError: a process can't be started.
  """

  def __init__(self, function, num_workers, tasks_ahead, describe):
    self._tasks_ahead = tasks_ahead
    self._describe = describe
    self._workers: List[_Worker] = []
    self._end = weakref.finalize(self, _end_workers, self._workers)
    for _ in range(num_workers):
      self._workers.append(_Worker())
    pickled = pickle.dumps(function, pickle.HIGHEST_PROTOCOL)
    for worker in self._workers:
      self._send(worker, pickled)

  def __enter__(self):
    return self

  def __exit__(self, *exc_info):
    self._end()

  def map(self, tasks):
    """Yields the results of tasks in the order of the tasks.

    Args:
      tasks: iterable of (tag, args). An exception that it raises is raised
        here behind the results of all tasks before.

    Yields:
      (tag, function(*args)).

    Raises:
      ValueError: the function raised one; with its message.
      WorkerError: the function raised something else, whose traceback is the
        message, or a worker died.
    """
    tasks = iter(tasks)
    turns = itertools.cycle(self._workers)
    sent: Deque[Tuple[Any, _Worker]] = collections.deque()
    more, failure = True, None
    while True:
      while more and len(sent) < self._tasks_ahead:
        try:
          tag, args = next(tasks)
        except StopIteration:
          more = False
        except Exception as e:
          more, failure = False, e
        else:
          worker = next(turns)
          worker.tasks.append(self._describe(*args))
          self._send(worker, pickle.dumps(args, pickle.HIGHEST_PROTOCOL))
          sent.append((tag, worker))
      if not sent:
        break
      tag, worker = sent.popleft()
      yield tag, self._receive(worker)
    if failure:
      raise failure

  def check(self):
    """Raises WorkerError if a worker has died."""
    for worker in self._workers:
      if worker.process.poll() is not None:
        raise WorkerError(
            "%s %s while it %s. If it ran out of memory, fewer workers "
            "(--num_workers) need less." % (
                self._name(worker), _how_it_ended(worker.process.returncode),
                worker.doing()))

  def _send(self, worker, payload):
    try:
      _write_frame(worker.stdin, payload)
    except BrokenPipeError:
      # Only its death closes that pipe, maybe a moment before it shows.
      worker.process.wait()
      self.check()

  def _receive(self, worker):
    """Returns the result of the oldest task that a worker has."""
    self.check()
    while True:
      try:
        frame = worker.results.get(timeout=_POLL_SECONDS)
        break
      except queue.Empty:
        self.check()
    task = worker.tasks.popleft()
    kind, result = pickle.loads(frame)
    if kind == _VALUE_ERROR:
      raise ValueError(result)
    if kind == _TRACEBACK:
      raise WorkerError("%s failed on %s:\n%s" %
                        (self._name(worker), task, result))
    return result

  def _name(self, worker):
    return "Worker %d of %d (process %d)" % (
        self._workers.index(worker) + 1, len(self._workers),
        worker.process.pid)


class _Worker:
  """A worker process and the thread that reads its results.

  Attributes:
    process: subprocess.Popen; stdin: its unbuffered pipe for frames.
    tasks: deque of str, the tasks that it was sent and that no result was
      taken of.
    results: queue of frames that were read and not taken.
  """

  def __init__(self):
    self.tasks: Deque[str] = collections.deque()
    self.results: queue.SimpleQueue = queue.SimpleQueue()
    read_end, write_end = os.pipe()
    try:
      # In a session of its own it gets no Ctrl-C, while it starts either.
      self.process = subprocess.Popen(
          [sys.executable, os.path.abspath(__file__), str(write_end)],
          bufsize=0, stdin=subprocess.PIPE, pass_fds=[write_end],
          start_new_session=True)
    except BaseException:
      os.close(read_end)
      raise
    finally:
      os.close(write_end)
    self.stdin: Any = self.process.stdin
    # The thread must not hold the pool, which would then never be collected.
    self._thread = threading.Thread(
        target=_read_frames, args=(read_end, self.results), daemon=True)
    self._thread.start()

  def doing(self):
    """Returns what a dead worker was busy with, for an error message."""
    self._thread.join(_DRAIN_SECONDS)
    done = self.results.qsize()
    if done < len(self.tasks):
      return "worked on " + self.tasks[done]
    return "waited for work"

  def end(self):
    """Reaps the killed process."""
    self.process.wait()
    self.stdin.close()


def _end_workers(workers):
  """Kills and reaps workers: they hold nothing that would be worth a wait."""
  for worker in workers:
    worker.process.kill()
  for worker in workers:
    worker.end()


def _how_it_ended(returncode):
  """Says how a process ended, from subprocess's exit code."""
  if returncode >= 0:
    return "ended with exit code %d" % returncode
  names = {int(s): s.name for s in signal.Signals}
  return "was killed by %s" % names.get(-returncode, "signal %d" % -returncode)


def _write_frame(stream, payload):
  """Writes a frame to an unbuffered stream."""
  for data in (_LENGTH.pack(len(payload)), payload):
    rest = memoryview(data)
    while rest:
      rest = rest[stream.write(rest):]


def _read_exactly(stream, size):
  """Returns `size` bytes of an unbuffered stream, or None at its end."""
  data = bytearray(size)
  rest = memoryview(data)
  while rest:
    count = stream.readinto(rest)
    if not count:
      return None
    rest = rest[count:]
  return data


def _read_frames(fd, frames):
  """Puts the frames of a pipe into a queue until its end; closes it."""
  with open(fd, "rb", buffering=0) as stream:
    while True:
      header = _read_exactly(stream, _LENGTH.size)
      frame = header and _read_exactly(stream, *_LENGTH.unpack(header))
      if frame is None:
        return
      frames.put(frame)


def _read_tasks(frames):
  """A worker's reading thread: ends the process where the tasks end."""
  _read_frames(sys.stdin.fileno(), frames)
  os._exit(0)


def _reply(function, frame):
  """Returns (kind of reply, result or message) of a task."""
  try:
    return _RESULT, function(*pickle.loads(frame))
  except ValueError as e:
    return _VALUE_ERROR, str(e)
  except Exception:
    return _TRACEBACK, traceback.format_exc()


def main(result_fd):
  """Runs a worker.

  Args:
    result_fd: int, the file descriptor to write results to.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  sys.setswitchinterval(_SWITCH_SECONDS)
  frames: queue.SimpleQueue = queue.SimpleQueue()
  threading.Thread(target=_read_tasks, args=(frames,), daemon=True).start()
  function = pickle.loads(frames.get())
  with open(result_fd, "wb", buffering=0) as results:
    while True:
      reply = _reply(function, frames.get())
      try:
        _write_frame(results, pickle.dumps(reply, pickle.HIGHEST_PROTOCOL))
      except BrokenPipeError:
        return


if __name__ == "__main__":
  main(int(sys.argv[1]))
