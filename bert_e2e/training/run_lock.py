"""One training per output directory: a lock that ends with its process.

The file `run.lock` in the output directory names the run that trains in it, and
two mechanisms tell whether that run is alive:

- The run holds the operating system's lock (flock) on the file. The system
  releases it when the process ends, by SIGKILL as well. Linux forwards it to
  the server of an NFS mount, so it holds between machines.
- The run rewrites the file every few seconds. Where there are no file locks
  (`gs://`, some network file systems), and where the lock was free but the file
  names a run on another host (some file systems lock within a host only), a
  start waits to see whether the file still changes.

Without file locks, two runs that start at the same moment both write the file;
after a pause, the one whose record remains trains.
"""

import errno
import json
import logging
import os
import socket
import threading
import time
import uuid
from typing import Any, NamedTuple

from bert_e2e.common import file_io
from bert_e2e.common.digests import digest

LOCK_FILE = "run.lock"
# How often the holder rewrites the file, and how long a start waits for that.
_BEAT_SECONDS = 10.0
_LEASE_SECONDS = 30.0
# Without file locks: longer than a write takes to become visible.
_SETTLE_SECONDS = 3.0
# How long a held lock is tried again: a process that was killed, or a check by
# another start, may hold it for a moment.
_RETRY_SECONDS = 2.0
_POLL_SECONDS = 0.1
# How often a remote record is read that cannot be understood.
_READ_ATTEMPTS = 10
# A record is padded to this size, so that it is overwritten in place.
_RECORD_BYTES = 512
_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)

logger = logging.getLogger(__name__)


class Holder(NamedTuple):
  """The run that the lock file names.

  Attributes:
    host: str, name of the machine; pid: int, number of the process there.
    since: str, local time at which it began.
    token: str, unique to this run.
    cluster: str, digest of the addresses of its workers; "" for a single
      process.
    beat: int, how often the file was rewritten.
    is_over: bool, whether the run has ended properly.
  """
  host: str
  pid: int
  since: str
  token: str
  cluster: str = ""
  beat: int = 0
  is_over: bool = False

  def __str__(self):
    return "process %d on %s, since %s" % (self.pid, self.host, self.since)


class InUse(ValueError):
  """Another run trains in the output directory."""


class RunLock:
  """The lock of an output directory; a context manager that holds it.

  Args:
    output_dir: str, directory, local or with a scheme; for `__enter__` it must
      exist.
    addresses: list of str, host:port of each worker of a multi-worker training.
    advice: str, sentences that end the message of a refusal.

  Raises (on entering):
    InUse: another run trains in the directory.
    OSError: the lock file cannot be written.
  """

  def __init__(self, output_dir, addresses=(), advice=""):
    self._output_dir = output_dir
    self._path = os.path.join(output_dir, LOCK_FILE)
    self._advice = advice
    self._cluster = _digest(addresses)
    self._me: Any = None
    self._file: Any = None
    self._is_over = threading.Event()
    self._thread: Any = None

  def check(self, is_member=False, is_waiting=False):
    """Checks that no other run trains in the directory; changes nothing.

    Args:
      is_member: bool, whether this process is a worker that leaves the lock to
        the first one of its cluster.
      is_waiting: bool, whether to wait where a file lock does not tell; else
        this finds only what one tells, which takes no time.

    Raises:
      InUse: another run does.
    """
    is_locked = None
    if file_io.is_local(self._path):
      if not os.path.exists(self._path):
        return
      with open(self._path, "rb") as stream:
        is_locked = _lock(stream, is_shared=True)
    if is_locked is not False:
      if is_waiting:
        self._await_end(is_locked)
      return
    holder = self._read()
    if not is_member or (holder and holder.cluster != self._cluster):
      raise self._refusal(holder)

  def __enter__(self):
    self._me = Holder(
        socket.gethostname(), os.getpid(),
        time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime()),
        uuid.uuid4().hex, self._cluster)
    try:
      self._acquire()
    except BaseException:
      self._close()
      raise
    self._is_over.clear()
    self._thread = threading.Thread(target=self._keep, daemon=True)
    self._thread.start()
    return self

  def __exit__(self, *exc_info):
    self._is_over.set()
    self._thread.join()
    try:
      holder = self._read()
      if holder and holder.token != self._me.token:
        logger.warning(
            "another run has taken over --output_dir=%s (%s), which stays in "
            "%s", self._output_dir, holder, LOCK_FILE)
      else:
        self._write(is_over=True)
    except OSError as e:
      logger.warning("%s cannot be written: %s", self._path, e)
    self._close()

  def _acquire(self):
    """Takes the lock, or raises InUse."""
    is_locked = None
    if file_io.is_local(self._path):
      self._file = os.fdopen(
          os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", 0)
      is_locked = _lock(self._file)
      if is_locked is False:
        raise self._refusal(self._read())
      if is_locked is None:
        logger.warning(
            "the file system of %s has no file locks: a second run in it is "
            "found by the changes of %s instead", self._output_dir, LOCK_FILE)
    self._await_end(is_locked)
    self._write()
    if not is_locked:
      time.sleep(_SETTLE_SECONDS)
      holder = self._read()
      if holder and holder.token != self._me.token:
        raise self._refusal(holder)

  def _await_end(self, is_locked):
    """Waits until the run that the file names must be dead.

    Raises:
      InUse: it is alive.
    """
    before = self._read()
    if not before or before.is_over or (
        is_locked and before.host == socket.gethostname()):
      return
    logger.info(
        "%s names a run that did not end properly (%s); waiting %g seconds to "
        "see whether it still trains", self._path, before, _LEASE_SECONDS)
    deadline = time.monotonic() + _LEASE_SECONDS
    while time.monotonic() < deadline:
      time.sleep(_BEAT_SECONDS / 10)
      holder = self._read()
      if holder and holder != before:
        if holder.is_over:
          return
        raise self._refusal(holder)

  def _keep(self):
    """Rewrites the file until the run ends; runs in its own thread."""
    is_reported = False
    while not self._is_over.wait(_BEAT_SECONDS):
      try:
        holder = self._read()
        if holder and holder.token != self._me.token:
          self._end_process(holder)
        self._write(beat=self._me.beat + 1)
      except OSError as e:
        if not is_reported:
          logger.warning("%s cannot be rewritten: %s", self._path, e)
        is_reported = True

  def _end_process(self, holder):
    """Ends this process, as two runs must not train in the same directory."""
    logger.error(
        "another run has taken over --output_dir=%s (%s): this one was "
        "suspended, or the directory was replaced; exiting", self._output_dir,
        holder)
    logging.shutdown()
    os._exit(1)

  def _read(self):
    """Returns the Holder that the file names; None if there is none."""
    for _ in range(_READ_ATTEMPTS):
      try:
        if not file_io.exists(self._path):
          return None
        with file_io.open_binary(self._path) as stream:
          return Holder(**json.loads(stream.read().decode("utf-8")))
      except (OSError, ValueError, TypeError):
        if file_io.is_local(self._path):
          break
        # HDFS creates a file before its content is there.
        time.sleep(_POLL_SECONDS)
    return None

  def _write(self, **changes):
    """Writes this run's record.

    In place: the lock is on the file, not on its name.
    """
    self._me = self._me._replace(**changes)
    data = json.dumps(self._me._asdict()).encode("utf-8")
    data = data.ljust(_RECORD_BYTES - 1) + b"\n"
    if self._file is None:
      file_io.write(self._path, data)
      return
    self._file.seek(0)
    self._file.write(data)
    os.fsync(self._file.fileno())

  def _close(self):
    if self._file is not None:
      self._file.close()  # This releases the lock.
      self._file = None

  def _refusal(self, holder):
    """Returns the InUse error."""
    return InUse(
        "--output_dir=%s is in use: another run trains in it (%s). Wait until "
        "it has ended, or choose another directory.%s" % (
            self._output_dir, holder or "it has just started",
            self._advice and " " + self._advice))


def _digest(addresses):
  """Returns a short str that tells clusters apart."""
  return digest(" ".join(addresses)) if addresses else ""


def _lock(stream, is_shared=False):
  """Locks an open file; closing it releases the lock.

  A process that is forked inherits the lock, but a program that it executes
  does not: Python closes the file there.

  Args:
    stream: file object.
    is_shared: bool, whether others may hold such a lock at the same time.

  Returns:
    bool, whether the file is locked now; None if its file system, or this
    operating system, does not support that.
  """
  try:
    import fcntl  # pylint: disable=import-outside-toplevel
  except ImportError:  # Windows.
    return None
  operation = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
  deadline = time.monotonic() + _RETRY_SECONDS
  while True:
    try:
      fcntl.flock(stream, operation | fcntl.LOCK_NB)
      return True
    except OSError as e:
      if e.errno not in _HELD:
        return None
    if time.monotonic() > deadline:
      return False
    time.sleep(_POLL_SECONDS)
