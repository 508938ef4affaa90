"""One training per output directory: who is refused, and what a kill leaves."""

import contextlib
import errno
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from program import ROOT

from bert_e2e.common import file_io
from bert_e2e.training import run_lock
from bert_e2e.training.run_lock import LOCK_FILE, Holder, InUse, RunLock

# Holds the lock of a directory until it is killed.
HOLDER = """
import subprocess, sys, time
from bert_e2e.training import run_lock
run_lock._BEAT_SECONDS = 0.05
with run_lock.RunLock(sys.argv[1]):
  worker = subprocess.Popen(["sleep", "60"])
  print(worker.pid, flush=True)
  time.sleep(60)
"""


@pytest.fixture(autouse=True)
def fast(monkeypatch, caplog):
  """Waits for fractions of a second; captures all messages."""
  caplog.set_level(logging.INFO)
  for name, seconds in (("BEAT", 0.05), ("LEASE", 0.5), ("SETTLE", 0.6),
                        ("RETRY", 0.3), ("POLL", 0.02)):
    monkeypatch.setattr(run_lock, "_%s_SECONDS" % name, seconds)


class Remote:
  """What tf.io.gfile does, for `remote://directory`."""

  @staticmethod
  def local(path):
    assert path.startswith("remote:/")
    return path[len("remote:/"):]

  def GFile(self, path, mode):
    return open(self.local(path), mode)

  def exists(self, path):
    return os.path.exists(self.local(path))


@pytest.fixture(params=["locks", "no locks", "remote"])
def directory(request, tmp_path, monkeypatch):
  """A directory on a file system with file locks, without them, or remote."""
  if request.param == "locks":
    return str(tmp_path)
  if request.param == "no locks":
    fcntl = pytest.importorskip("fcntl")

    def flock(stream, operation):
      raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    return str(tmp_path)
  monkeypatch.setattr(
      file_io, "_gfile", lambda path: contextlib.nullcontext(Remote()))
  return "remote:/" + str(tmp_path)


def write(tmp_path, **changes):
  """Writes the record of another run; returns it."""
  holder = Holder(**dict(dict(
      host="elsewhere", pid=7, since="2020-01-01 00:00:00 +0000",
      token="theirs"), **changes))
  (tmp_path / LOCK_FILE).write_text(json.dumps(holder._asdict()))
  return holder


def test_a_second_run_is_refused_until_the_first_has_ended(directory):
  with RunLock(directory):
    with pytest.raises(InUse) as caught, RunLock(directory, advice="Advice."):
      pass
    assert ("in use: another run trains in it (process %d on %s, since 20" % (
        os.getpid(), socket.gethostname())) in str(caught.value)
    assert str(caught.value).endswith("another directory. Advice.")
  with RunLock(directory):
    pass


def test_a_check_finds_what_holds_a_file_lock(tmp_path):
  directory = str(tmp_path / "new")
  RunLock(directory).check()
  os.mkdir(directory)
  with RunLock(directory):
    with pytest.raises(InUse, match="process %d on" % os.getpid()):
      RunLock(directory).check()
  RunLock(directory).check()


def test_a_check_that_waits_finds_every_run(directory, tmp_path, caplog):
  lock = RunLock(directory)
  lock.check(is_waiting=True)
  with RunLock(directory):
    with pytest.raises(InUse, match="process %d on" % os.getpid()):
      lock.check(is_waiting=True)
  lock.check(is_waiting=True)
  caplog.clear()
  theirs = write(tmp_path)  # A run that was killed.
  lock.check(is_waiting=True)
  assert lock._read() == theirs and "did not end properly" in caplog.text


def test_exactly_one_of_those_that_start_together_trains(directory):
  outcomes = []
  start, end = threading.Barrier(4), threading.Barrier(4)

  def run():
    start.wait()
    try:
      with RunLock(directory):
        outcomes.append("trains")
        end.wait()
    except InUse:
      outcomes.append("refused")
      end.wait()

  threads = [threading.Thread(target=run) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert sorted(outcomes) == ["refused"] * 3 + ["trains"]


@contextlib.contextmanager
def other_process(directory):
  """Starts HOLDER; yields the process once it holds the lock."""
  process = subprocess.Popen(
      [sys.executable, "-c", HOLDER, directory], stdout=subprocess.PIPE,
      stderr=subprocess.PIPE, universal_newlines=True, cwd=ROOT)
  assert process.stdout
  worker = int(process.stdout.readline())
  try:
    yield process
  finally:
    process.kill()
    os.kill(worker, signal.SIGKILL)
    process.communicate()


def test_a_killed_process_leaves_no_lock(tmp_path, caplog):
  """Not even while a worker process outlives it."""
  with other_process(str(tmp_path)) as process:
    with pytest.raises(InUse, match="process %d on" % process.pid):
      RunLock(str(tmp_path)).check()
    process.kill()
    process.wait()
    with RunLock(str(tmp_path)):
      assert "did not end properly" not in caplog.text  # It did not wait.


def test_a_run_whose_lock_was_taken_over_ends(tmp_path):
  with other_process(str(tmp_path)) as process:
    write(tmp_path)
    assert process.wait(60) == 1
    assert process.stderr
    assert "(process 7 on elsewhere, since 2020-" in process.stderr.readline()


def test_a_run_that_ends_leaves_the_record_of_another_one(
    directory, tmp_path, monkeypatch, caplog):
  monkeypatch.setattr(run_lock, "_BEAT_SECONDS", 60)
  with RunLock(directory):
    theirs = write(tmp_path)
  assert Holder(**json.loads((tmp_path / LOCK_FILE).read_text())) == theirs
  assert "taken over --output_dir=%s (process 7 on " % directory in caplog.text


class TestRecordOfAnotherHost:
  """Some file systems lock within a host: the lock is free, and yet."""

  def test_it_still_changes(self, tmp_path):
    before = write(tmp_path)
    is_over = threading.Event()

    def beat():
      count = 0
      while not is_over.wait(0.05):
        count += 1
        write(tmp_path, beat=count)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
      with pytest.raises(InUse, match="process 7 on elsewhere"), RunLock(
          str(tmp_path)):
        pass
    finally:
      is_over.set()
      thread.join()
    assert json.loads((tmp_path / LOCK_FILE).read_text())["beat"] > before.beat

  def test_it_was_killed(self, directory, tmp_path):
    write(tmp_path)
    started = time.monotonic()
    with RunLock(directory):
      assert time.monotonic() - started >= run_lock._LEASE_SECONDS
      with pytest.raises(InUse), RunLock(directory):
        pass

  def test_it_has_ended(self, tmp_path, caplog):
    write(tmp_path, is_over=True)
    with RunLock(str(tmp_path)):
      assert "did not end properly" not in caplog.text


def test_a_damaged_record_keeps_nobody_out(directory, tmp_path):
  (tmp_path / LOCK_FILE).write_text("{")
  with RunLock(directory):
    assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_a_record_that_is_being_replaced_is_read_again(tmp_path, monkeypatch):
  contents = iter([b"", b'{"host": "else'])

  class Hdfs(Remote):

    def GFile(self, path, mode):
      found = next(contents, None)
      return (super().GFile(path, mode) if found is None else
              io.BytesIO(found))

  monkeypatch.setattr(
      file_io, "_gfile", lambda path: contextlib.nullcontext(Hdfs()))
  theirs = write(tmp_path)
  assert RunLock("remote:/" + str(tmp_path))._read() == theirs


def test_workers_of_the_same_cluster_are_not_refused(tmp_path):
  ours, theirs = ["a:1", "b:1"], ["a:2", "b:2"]
  with RunLock(str(tmp_path), ours):
    RunLock(str(tmp_path), ours).check(is_member=True)
    for addresses in (theirs, []):
      with pytest.raises(InUse):
        RunLock(str(tmp_path), addresses).check(is_member=True)
    # A second chief.
    with pytest.raises(InUse):
      RunLock(str(tmp_path), ours).check()
