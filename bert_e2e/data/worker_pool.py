"""Worker processes: a function mapped over tasks, in order, beside the trainer.

    parent                                           worker k of N
    tasks ── to the idlest ──> stdin pipe ──> thread ──> queue ──> function
    results <── in the tasks' order <── queue <── thread <── result pipe <──┘

`WorkerPool` is the parent's side, `main` the worker's (see worker_main.py).
Both sides send frames: 8 bytes of length, then a pickle. A worker is a fresh
interpreter that loads what the function's pickle names and nothing else (the
ways of `multiprocessing` load the main program again, and TensorFlow with it).
It ends when its stdin does, so none outlives its parent, however that died.
"""

import collections
import contextlib
import gc
import itertools
import os
import pickle
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
import weakref
from typing import Any, Deque, List, Tuple

_LENGTH = struct.Struct("<Q")
# Kinds of replies.
_RESULT, _VALUE_ERROR, _TRACEBACK = range(3)
# A chunk takes a fraction of a second; a machine that swaps takes longer.
TIMEOUT_SECONDS = 300
# How often a parent that waits for a result looks whether all workers live.
_POLL_SECONDS = 0.2
# How long the results that a dead worker left in its pipe may take to read.
_DRAIN_SECONDS = 5
# A worker's reading thread has to ask the building one for the interpreter. At
# Python's 5 ms a parent would wait that long for every 64 KB that it sends.
_SWITCH_SECONDS = 0.0005
_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                        "worker_main.py")
# New objects of a worker between two looks for cycles.
_COLLECT_EVERY = 50000


# Linux lets anybody have pipes of up to a megabyte. Python's `fcntl` knows the
# name of the call from 3.10 on.
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031


class WorkerError(RuntimeError):
  """A worker died, or failed on a task in a way that is no ValueError."""


class Stopped(Exception):
  """Somebody called `stop`."""


class InProcess:
  """Does what WorkerPool does, one task at a time in this process.

  Args:
    function: what to call.
  """

  def __init__(self, function):
    self._function = function
    self._stopped = threading.Event()

  def __enter__(self):
    return self

  def __exit__(self, *exc_info):
    pass

  def check(self):
    """Does nothing: there is no worker that could have died."""

  def stop(self):
    """Lets `map` raise Stopped before the next task."""
    self._stopped.set()

  def map(self, tasks):
    """Yields (tag, function(*args)) for each (tag, args) of `tasks`."""
    for tag, args in tasks:
      if self._stopped.is_set():
        raise Stopped
      yield tag, self._function(*args)


class WorkerPool:
  """Maps a function over tasks in worker processes; a context manager.

  The workers start with the context. They are killed and reaped when it ends,
  when the pool is garbage-collected and when the interpreter exits.

  Args:
    function: what to call; can be pickled, from a module that a fresh
      interpreter finds.
    num_workers: int, 1 or more.
    tasks_ahead: int, tasks that are sent before the first one's result is
      handed out: what bounds the memory.
    describe: function from a task's arguments to a str, for the error that
      names what a worker died of.
    timeout_seconds: float, how long a worker may take for a task.
  """

  def __init__(self, function, num_workers, tasks_ahead, describe,
               timeout_seconds=TIMEOUT_SECONDS):
    self._function = function
    self._num_workers = num_workers
    self._tasks_ahead = tasks_ahead
    self._describe = describe
    self._timeout_seconds = timeout_seconds
    self._stopped = threading.Event()
    self._workers: List[_Worker] = []
    self._end = weakref.finalize(self, _end_workers, self._workers)

  def __enter__(self):
    """Starts the workers; raises OSError if a process can't be started."""
    try:
      for _ in range(self._num_workers):
        self._workers.append(_Worker())
      pickled = pickle.dumps(self._function, pickle.HIGHEST_PROTOCOL)
      for worker in self._workers:
        self._send(worker, pickled)
    except BaseException:
      self._end()
      raise
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
      ValueError: the function raised it.
      WorkerError: the function raised something else, whose traceback is the
        message, or a worker died or hangs.
      Stopped: `stop` was called.
    """
    tasks = iter(tasks)
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
          worker = min(self._workers, key=_Worker.num_unfinished)
          worker.tasks.append(self._describe(*args))
          self._send(worker, pickle.dumps(args, pickle.HIGHEST_PROTOCOL))
          sent.append((tag, worker))
      if not sent:
        break
      tag, worker = sent.popleft()
      yield tag, self._receive(worker)
    if failure:
      raise failure

  def stop(self):
    """Lets `map` raise Stopped soon, whatever it waits for; from any thread."""
    self._stopped.set()

  def check(self):
    """Raises WorkerError if a worker has died; from any thread."""
    for worker in list(self._workers):
      # Those that died of the pool's end are no error.
      if worker.process.poll() is not None and self._end.alive:
        raise WorkerError(
            "%s %s while it %s. If it ran out of memory, fewer workers "
            "(--num_workers) need less." % (
                self._name(worker), _how_it_ended(worker.process.returncode),
                worker.doing()))

  def _check_wait(self, worker, num_polls):
    """Raises what should end a wait for a worker.

    Args:
      worker: _Worker.
      num_polls: int, how often _POLL_SECONDS were waited. Not the time on the
        clock, which goes on while a machine sleeps or a job is suspended.
    """
    if self._stopped.is_set():
      raise Stopped
    self.check()
    if num_polls * _POLL_SECONDS > self._timeout_seconds:
      raise WorkerError(
          "%s has not answered for %d seconds while it %s. Is it stopped, or "
          "the machine out of memory? The same command goes on from the last "
          "checkpoint." % (self._name(worker), self._timeout_seconds,
                           worker.doing()))

  def _send(self, worker, payload):
    num_polls = 0
    try:
      for data in (_LENGTH.pack(len(payload)), payload):
        rest = memoryview(data)
        while rest:
          count = worker.stdin.write(rest)
          if count is None:  # The pipe is full: its reader is busy, or hangs.
            self._check_wait(worker, num_polls)
            num_polls += not worker.wait_for_room(_POLL_SECONDS)
          else:
            rest = rest[count:]
            num_polls = 0
    except BrokenPipeError:
      # Its death closes that pipe, mostly a moment before it shows.
      while True:
        self._check_wait(worker, num_polls)
        time.sleep(_POLL_SECONDS)
        num_polls += 1

  def _receive(self, worker):
    """Returns the result of the oldest task that a worker has."""
    for num_polls in itertools.count():
      self._check_wait(worker, num_polls)
      try:
        frame = worker.results.get(timeout=_POLL_SECONDS)
        break
      except queue.Empty:
        pass
    task = worker.tasks.popleft()
    kind, result = pickle.loads(frame)
    if kind == _VALUE_ERROR:
      raise result
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
    _widen(write_end)
    try:
      # In a session of its own it gets no Ctrl-C, while it starts either.
      self.process = subprocess.Popen(
          [sys.executable, _PROGRAM, str(write_end)],
          bufsize=0, stdin=subprocess.PIPE, pass_fds=[write_end],
          start_new_session=True)
    except BaseException:
      os.close(read_end)
      raise
    finally:
      os.close(write_end)
    self.stdin: Any = self.process.stdin
    _widen(self.stdin.fileno())
    os.set_blocking(self.stdin.fileno(), False)
    # The thread must not hold the pool, which would then never be collected.
    self._thread = threading.Thread(
        target=_read_frames, args=(read_end, self.results), daemon=True)
    self._thread.start()

  def num_unfinished(self):
    """Returns how many tasks there is no result of."""
    return len(self.tasks) - self.results.qsize()

  def wait_for_room(self, seconds):
    """Returns whether the pipe to it takes more, after so many seconds at the
    most."""
    poll = select.poll()
    poll.register(self.stdin, select.POLLOUT)
    return bool(poll.poll(1000 * seconds))

  def doing(self):
    """Returns what a worker is busy with, or was when it died."""
    if self.process.poll() is not None:
      self._thread.join(_DRAIN_SECONDS)
    unfinished = self.num_unfinished()
    return ("worked on " + self.tasks[-unfinished] if unfinished else
            "waited for work")

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


def _widen(pipe):
  """Lets a pipe hold chunks and their examples, where the system lets it: else
  each side would wait for the other to read."""
  if sys.platform.startswith("linux"):
    import fcntl  # pylint: disable=import-outside-toplevel
    with contextlib.suppress(OSError):
      fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)


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
  """A worker's reading thread: ends the process where the tasks end, or can't
  be read."""
  code = 1
  try:
    _read_frames(sys.stdin.fileno(), frames)
    code = 0
  except Exception:
    traceback.print_exc()
    sys.stderr.flush()  # The end below does not.
  finally:
    os._exit(code)


def _reply(function, frame):
  """Returns (kind of reply, result, exception or message) of a task."""
  try:
    return _RESULT, function(*pickle.loads(frame))
  except ValueError as e:
    return _VALUE_ERROR, e
  except Exception:
    return _TRACEBACK, traceback.format_exc()


def main(result_fd):
  """Runs a worker.

  Args:
    result_fd: int, the file descriptor to write results to.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  sys.setswitchinterval(_SWITCH_SECONDS)
  # A chunk's examples are thousands of objects, and no cycle is among them.
  gc.set_threshold(_COLLECT_EVERY)
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
