"""Worker processes: a function mapped over tasks, in order, beside the trainer.

    parent                                           worker k of N
    tasks ── to the idlest ──> stdin pipe ──> thread ──> queue ──> function
    results <── in the tasks' order <── queue <── thread <── result pipe <──┘

`WorkerPool` is the parent's side; the worker's is worker_main.py. Both send
frames (worker_frames.py). A worker is a fresh interpreter that imports what the
pickle of the function names and nothing else; `multiprocessing` would import
the main program again, and TensorFlow with it. A worker ends when its stdin
does, so none outlives its parent, however that died.
"""

import collections
import contextlib
import itertools
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from typing import Any, Deque, List, Tuple

from bert_e2e.data import worker_frames

# A chunk takes a fraction of a second; on a machine that swaps it takes longer.
TIMEOUT_SECONDS = 300
# How often a parent that waits for a result checks that all workers are alive.
_POLL_SECONDS = 0.2
# How long it may take to read the results that a dead worker left in its pipe.
_DRAIN_SECONDS = 5
_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                        "worker_main.py")

# Linux allows pipes of up to a megabyte. Python's `fcntl` has a name for the
# call from 3.10 on.
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031


class WorkerError(RuntimeError):
  """A worker died, or raised an error other than a ValueError."""


class Stopped(Exception):
  """`stop` was called."""


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
    """Does nothing, because there is no worker."""

  def stop(self):
    """Makes `map` raise Stopped before the next task; from any thread."""
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
    function: what to call; can be pickled, and a fresh interpreter can import
      its module.
    num_workers: int, 1 or more.
    tasks_ahead: int, tasks that are sent before the result of the first one is
      yielded; bounds the memory.
    describe: function from a task's arguments to a str, for the error that
      says what a worker was doing when it died.
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
        here after the results of all tasks before.

    Yields:
      (tag, function(*args)).

    Raises:
      ValueError: the function raised it.
      WorkerError: the function raised another error, whose traceback is the
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
    """Makes `map` raise Stopped soon, whatever it waits for; from any thread.
    """
    self._stopped.set()

  def check(self):
    """Raises WorkerError if a worker has died; from any thread."""
    for worker in list(self._workers):
      # When the pool ends, workers are killed, which is no error.
      if worker.process.poll() is not None and self._end.alive:
        raise WorkerError(
            "%s %s while it %s. If it ran out of memory, use fewer workers "
            "(--num_workers)." % (
                self._name(worker), _how_it_ended(worker.process.returncode),
                worker.doing()))

  def _check_wait(self, worker, num_polls):
    """Raises the error that ends a wait for a worker, if there is one.

    Args:
      worker: _Worker.
      num_polls: int, how many times _POLL_SECONDS were waited. The clock would
        include the time in which a machine sleeps or a job is suspended.
    """
    if self._stopped.is_set():
      raise Stopped
    self.check()
    if num_polls * _POLL_SECONDS > self._timeout_seconds:
      raise WorkerError(
          "%s has not answered for %d seconds while it %s. Is it stopped, or "
          "is the machine out of memory? The same command resumes from the "
          "last checkpoint." % (self._name(worker), self._timeout_seconds,
                                worker.doing()))

  def _send(self, worker, payload):
    num_polls = 0
    try:
      for data in (worker_frames.LENGTH.pack(len(payload)), payload):
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
      # The pipe is closed by the worker's death, often a moment before that can
      # be noticed.
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
    if kind == worker_frames.VALUE_ERROR:
      raise result
    if kind == worker_frames.TRACEBACK:
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
    tasks: deque of str, descriptions of the tasks that were sent to it and
      whose results were not taken.
    results: queue of frames, results that were read and not taken.
  """

  def __init__(self):
    self.tasks: Deque[str] = collections.deque()
    self.results: queue.SimpleQueue = queue.SimpleQueue()
    read_end, write_end = os.pipe()
    _widen(write_end)
    try:
      # In its own session it gets no Ctrl-C, not even while it starts.
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
    # A thread with a reference to the pool would keep it from being collected.
    self._thread = threading.Thread(
        target=worker_frames.read_frames, args=(read_end, self.results),
        daemon=True)
    self._thread.start()

  def num_unfinished(self):
    """Returns how many of its tasks have no result yet."""
    return len(self.tasks) - self.results.qsize()

  def wait_for_room(self, seconds):
    """Waits until the pipe to it takes more; returns whether it does.

    Args:
      seconds: float, how long to wait at most.
    """
    poll = select.poll()
    poll.register(self.stdin, select.POLLOUT)
    return bool(poll.poll(1000 * seconds))

  def doing(self):
    """Returns what the worker is doing, or was doing when it died."""
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
  """Kills and reaps workers; they have nothing to finish."""
  for worker in workers:
    worker.process.kill()
  for worker in workers:
    worker.end()


def _widen(pipe):
  """Enlarges a pipe, if the system allows it, to hold chunks and examples.

  Otherwise each side would often wait for the other one to read.
  """
  if sys.platform.startswith("linux"):
    import fcntl  # pylint: disable=import-outside-toplevel
    with contextlib.suppress(OSError):
      fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)


def _how_it_ended(returncode):
  """Describes how a process ended, given subprocess's return code."""
  if returncode >= 0:
    return "ended with exit code %d" % returncode
  names = {int(s): s.name for s in signal.Signals}
  return "was killed by %s" % names.get(-returncode, "signal %d" % -returncode)
