"""The processes that build examples: their tasks, errors and ends."""

import collections
import gc
import os
import pathlib
import re
import signal
import sys
import textwrap
import threading
import time
from typing import List

import pytest
from stream_corpus import (
  KNOWN_WORKERS,
  PATIENCE_SECONDS,
  SMALL,
  needs_workers,
  start_python,
)

from bert_e2e.data import stream as es
from bert_e2e.data import worker_pool

# ---------------------------------------------------------------- their errors


FUNCTIONS = '''
import os, signal, sys, time

def value_error(x):
  if x == 3:
    raise ValueError("bad file.txt, line 7")
  return x

def key_error(x):
  if x == 3:
    raise KeyError("marrow")
  return x

def stop_iteration(x):
  if x == 3:
    raise StopIteration
  return x

def killed(x):
  if x == 3:
    os.kill(os.getpid(), signal.SIGKILL)
  return x

def exits(x):
  if x == 3:
    sys.exit(7)
  return x

class Probe:
  def __init__(self, builder):
    self.builder = builder

  def __call__(self):
    return sorted(sys.modules), open("/proc/self/status").read()
'''


@pytest.fixture
def functions(tmp_path, monkeypatch):
  (tmp_path / "worker_functions.py").write_text(FUNCTIONS)
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.setenv("PYTHONPATH", str(tmp_path))
  sys.modules.pop("worker_functions", None)
  import worker_functions
  yield worker_functions
  del sys.modules["worker_functions"]


def _map(function, num_workers=2, count=8):
  """Returns (results before the error, the error) of 0, 1, 2, ..."""
  results: List[int] = []
  tasks = (("tag", (x,)) for x in range(count))
  with worker_pool.WorkerPool(function, num_workers, 8,
                                 "number {}".format) as pool:
    mapped = pool.map(tasks)
    try:
      for _, result in mapped:
        results.append(result)
    except Exception as e:
      return results, e
  return results, None


@needs_workers
def test_a_value_error_comes_as_it_is(functions):
  results, error = _map(functions.value_error)
  assert results == [0, 1, 2]
  assert type(error) is ValueError
  assert str(error) == "bad file.txt, line 7"


@needs_workers
@pytest.mark.parametrize("name, text", [
    ("key_error", "KeyError: 'marrow'"), ("stop_iteration", "StopIteration")])
def test_another_exception_comes_with_its_traceback(functions, name, text):
  results, error = _map(getattr(functions, name))
  assert results == [0, 1, 2]
  assert isinstance(error, RuntimeError)
  assert isinstance(error, worker_pool.WorkerError)
  assert re.match(r"Worker [12] of 2 \(process \d+\) ", str(error))
  assert "number 3" in str(error)
  assert "in " + name in str(error)  # A line of the traceback.
  assert text in str(error)


@needs_workers
@pytest.mark.parametrize("name, text", [
    ("killed", "was killed by SIGKILL"), ("exits", "ended with exit code 7")])
def test_a_workers_death_names_it_and_its_task(functions, name, text):
  results, error = _map(getattr(functions, name))
  assert results == [0, 1, 2][:len(results)]
  assert isinstance(error, worker_pool.WorkerError)
  assert re.match(r"Worker [12] of 2 \(process \d+\) ", str(error))
  assert text in str(error)
  assert "number 3." in str(error)


@needs_workers
def test_a_death_is_seen_while_another_worker_is_waited_for(functions):
  """Worker 1 sleeps for longer than the test may take; worker 2 dies."""
  calls = [("tag", (PATIENCE_SECONDS * 10,)), ("tag", ("no number",))]
  with worker_pool.WorkerPool(time.sleep, 2, 2, str) as pool:
    mapped = pool.map(calls)
    pid = pool._workers[1].process.pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(worker_pool.WorkerError, match="process %d" % pid):
      next(mapped)


def stopped_worker(pool):
  """Stops a pool's first worker by SIGSTOP."""
  os.kill(pool._workers[0].process.pid, signal.SIGSTOP)


@needs_workers
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_worker_that_hangs_is_an_error(started, size):
  """It takes the task and gives nothing, or does not even take the task."""
  with worker_pool.WorkerPool(len, 1, 8, "task of {0[0]}".format,
                                 timeout_seconds=0.5) as pool:
    stopped_worker(pool)
    with pytest.raises(worker_pool.WorkerError) as raised:
      list(pool.map((i, ("x" * size,)) for i in range(3)))
  message = str(raised.value)
  assert "Worker 1 of 1 (process %d) has not answered" % started[0] in message
  assert "worked on task of x" in message
  assert all(map(_reaped, started))


@needs_workers
def test_a_time_in_which_all_is_suspended_does_not_count(started, monkeypatch):
  """A scheduler stops trainer and workers, and lets them go on later."""
  suspended = []

  class Results(worker_pool.queue.Queue):  # Slow to wake up, once.
    def get(self, timeout=None):
      if not suspended:
        suspended.append(started[0])
        os.kill(started[0], signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(started[0], signal.SIGCONT)
      return super().get(timeout=timeout)

  monkeypatch.setattr(worker_pool.queue, "SimpleQueue", Results)
  with worker_pool.WorkerPool(time.sleep, 1, 1, str,
                                 timeout_seconds=1) as pool:
    assert list(pool.map([("tag", (0.5,))])) == [("tag", None)]
  assert suspended


@needs_workers
def test_a_worker_that_cannot_read_its_tasks_is_an_error(started, capfd):
  with worker_pool.WorkerPool(len, 1, 8, str) as pool:
    with pytest.raises(worker_pool.WorkerError, match="exit code 1"):
      pool._workers[0].stdin.write(b"\xff" * 8)  # No frame is so long.
      list(pool.map((i, ("x" * 100000,)) for i in range(30)))
  assert "Error" in capfd.readouterr().err


@needs_workers
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_stop_ends_a_wait_for_a_worker_that_hangs(started, size):
  with worker_pool.WorkerPool(len, 1, 8, str) as pool:
    stopped_worker(pool)
    timer = threading.Timer(0.5, pool.stop)
    timer.start()
    with pytest.raises(worker_pool.Stopped):
      list(pool.map((i, ("x" * size,)) for i in range(3)))
    timer.join()
  assert all(map(_reaped, started))


@pytest.mark.parametrize("num_workers", KNOWN_WORKERS)
def test_an_iterator_that_is_stopped_ends(plain_corpus, num_workers):
  examples = plain_corpus.stream(None, num_workers, **SMALL).examples()
  next(examples)
  examples.check()
  examples.stop()
  assert len(list(examples)) < 1000  # The stream itself is endless.
  examples.check()  # Its workers have gone, as they should.


@needs_workers
def test_an_iterator_reports_a_death_without_being_read(plain_corpus, started):
  examples = plain_corpus.stream(None, 2).examples()
  next(examples)
  os.kill(started[1], signal.SIGKILL)
  os.waitid(os.P_PID, started[1], os.WEXITED | os.WNOWAIT)
  with pytest.raises(worker_pool.WorkerError, match="Worker 2 of 2"):
    examples.check()


@needs_workers
def test_an_error_of_the_tasks_comes_behind_their_results():
  def tasks():
    for x in range(5):
      yield x, (x,)
    raise ValueError("no more of file.txt")

  results = []
  with worker_pool.WorkerPool(abs, 2, 8, str) as pool:
    with pytest.raises(ValueError, match="no more of file.txt"):
      for _, result in pool.map(tasks()):
        results.append(result)
  assert results == [0, 1, 2, 3, 4]


# ------------------------------------------------------ the workers' processes


def _until(condition):
  """Waits until a condition holds; fails if it does not for a long time."""
  end = time.monotonic() + PATIENCE_SECONDS
  while not condition():
    assert time.monotonic() < end, "gave up waiting"
    time.sleep(0.02)


def _gone(pid):
  """Tells whether a process, not our child, has ended."""
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return True
  # Where nobody reaps orphans, a dead one stays as a zombie.
  try:
    status = pathlib.Path("/proc/%d/stat" % pid).read_text()
  except FileNotFoundError:
    return True
  return status.rpartition(")")[2].split()[0] == "Z"


def _reaped(pid):
  """Tells whether a child of ours has ended and is no zombie either."""
  try:
    return os.waitpid(pid, os.WNOHANG) == (pid, -1)
  except ChildProcessError:
    return True


@needs_workers
def test_workers_start_with_the_first_example(plain_corpus, started):
  examples = plain_corpus.stream(None, 2).examples()
  assert not started
  next(examples)
  assert len(started) == 2
  examples.close()


@needs_workers
@pytest.mark.parametrize("how", ["closed", "collected", "exhausted"])
def test_no_worker_is_left(plain_corpus, started, how):
  stream = plain_corpus.stream(1 if how == "exhausted" else None, 3)
  examples = stream.examples()
  next(examples)
  assert len(started) == 3
  assert not any(map(_reaped, started))
  if how == "closed":
    examples.close()
  elif how == "collected":
    del examples
    gc.collect()
  else:
    collections.deque(examples, maxlen=0)
  assert all(map(_reaped, started))


@needs_workers
def test_no_worker_is_left_after_a_failed_start(started, monkeypatch):
  """The second process can't be started: the first one is ended."""
  class Popen(worker_pool.subprocess.Popen):

    def __init__(self, *args, **kwargs):
      if started:
        raise OSError("no more processes")
      super().__init__(*args, **kwargs)

  monkeypatch.setattr(worker_pool.subprocess, "Popen", Popen)
  with pytest.raises(OSError, match="no more processes"):
    with worker_pool.WorkerPool(abs, 2, 8, str):
      pytest.fail("the pool has started")
  gc.collect()
  assert len(started) == 1
  _until(lambda: _reaped(started[0]))


@needs_workers
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_killed_worker_is_an_error_in_the_consumer(
    plain_corpus, started, which):
  examples = plain_corpus.stream(None, 3, **SMALL).examples()
  for _ in range(10):
    next(examples)
  os.kill(started[which], signal.SIGKILL)
  with pytest.raises(worker_pool.WorkerError) as raised:
    collections.deque(examples, maxlen=0)  # Endless, unless it raises.
  message = str(raised.value)
  assert "Worker %d of 3 (process %d)" % (which + 1, started[which]) in message
  assert "SIGKILL" in message
  assert all(map(_reaped, started))


@needs_workers
def test_a_death_names_the_chunk(plain_corpus, started, monkeypatch):
  """The only worker is killed while it is known to build nothing yet."""
  path = plain_corpus.files[0]
  del plain_corpus.files[1:]
  send, check = worker_pool.WorkerPool._send, worker_pool.WorkerPool.check

  def stop_and_send(pool, worker, payload):
    if worker.tasks:
      os.kill(worker.process.pid, signal.SIGSTOP)
    send(pool, worker, payload)

  def kill_and_check(pool):
    if pool._workers[0].tasks:  # It may still be told what to do with them.
      os.kill(started[0], signal.SIGKILL)
      _until(lambda: pool._workers[0].process.poll() is not None)
    check(pool)

  monkeypatch.setattr(worker_pool.WorkerPool, "_send", stop_and_send)
  monkeypatch.setattr(worker_pool.WorkerPool, "check", kill_and_check)
  with pytest.raises(worker_pool.WorkerError) as raised:
    next(plain_corpus.stream(1, 1, chunk_lines=1000).examples())
  assert "the lines of %s from byte 0 on" % path in str(raised.value)


@needs_workers
def test_a_slow_consumer_learns_of_a_death_before_the_windows_end(
    plain_corpus, started, monkeypatch):
  monkeypatch.setattr(es, "CHUNKS_PER_WINDOW", 100)
  monkeypatch.setattr(es, "_EXAMPLES_PER_CHECK", 4)
  examples = plain_corpus.stream(1, 1).examples()
  window = sum(1 for _ in plain_corpus.stream(1).examples())
  assert window > 20
  next(examples)
  os.kill(started[0], signal.SIGKILL)
  # Until the death shows; nothing of the pool is called in between.
  os.waitid(os.P_PID, started[0], os.WEXITED | os.WNOWAIT)
  taken = 1
  with pytest.raises(worker_pool.WorkerError):
    for _ in examples:
      taken += 1
  assert taken == 4


@needs_workers
@pytest.mark.skipif(not os.path.exists("/proc/self/status"),
                    reason="reads /proc")
def test_a_worker_is_light_and_has_no_tensorflow(functions, odd_corpus):
  builder = es.ExampleBuilder(odd_corpus.options())
  with worker_pool.WorkerPool(functions.Probe(builder), 1, 1, str) as pool:
    (_, (modules, status)), = pool.map([("tag", ())])
  assert "bert_e2e.data.example_builder" in modules
  assert not {"tensorflow", "numpy", "multiprocessing"} & set(modules)
  resident = int(status.split("VmRSS:")[1].split()[0])
  assert resident < 60000  # KB.


@needs_workers
def test_a_worker_reads_no_file(plain_corpus):
  expected = list(plain_corpus.stream(1).examples())
  stream = plain_corpus.stream(1, 2)
  os.remove(plain_corpus.vocab_file)
  assert list(stream.examples()) == expected


@needs_workers
def test_ctrl_c_does_not_reach_a_worker(plain_corpus, started):
  expected = list(plain_corpus.stream(1, **SMALL).examples())
  examples = plain_corpus.stream(1, 2, **SMALL).examples()
  first = next(examples)
  assert all(os.getpgid(pid) != os.getpgid(0) for pid in started)
  for pid in started:
    os.kill(pid, signal.SIGINT)
  assert [first] + list(examples) == expected


SCRIPT = """
    import glob, os, signal, sys
    # Also where it is ignored, as in the background of a shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from bert_e2e.data import corpus, stream as example_stream
    options = example_stream.StreamOptions(%r)
    stream = example_stream.ExampleStream(
        corpus.Corpus(%r, chunk_lines=5), options, num_workers=2)
    from bert_e2e.data.worker_pool import subprocess
    Popen = subprocess.Popen
    def popen(*args, **kwargs):
      process = Popen(*args, **kwargs)
      print(process.pid, flush=True)
      return process
    subprocess.Popen = popen
    examples = stream.examples()
    %s
    """


def _start_stream(maker, last_lines):
  process = start_python(
      textwrap.dedent(SCRIPT) % (maker.vocab_file, maker.files, last_lines))
  return process, [int(process.stdout.readline()) for _ in range(2)]


@needs_workers
@pytest.mark.parametrize("consumed", [
    "next(examples); print('ready', flush=True); signal.pause()",
    "for _ in examples: pass"])
def test_no_worker_outlives_a_killed_parent(plain_corpus, consumed):
  """One parent idles after its first example, one is at work."""
  process, pids = _start_stream(plain_corpus, consumed)
  if consumed.startswith("next"):
    assert process.stdout.readline() == "ready\n"
  assert not any(map(_gone, pids))
  process.kill()
  out, err = process.communicate(timeout=PATIENCE_SECONDS)
  assert (out, err) == ("", "")
  _until(lambda: all(map(_gone, pids)))


@needs_workers
def test_no_worker_outlives_an_interpreter_that_exits(plain_corpus):
  process, pids = _start_stream(plain_corpus, "next(examples)")
  out, err = process.communicate(timeout=PATIENCE_SECONDS)
  assert (process.returncode, out, err) == (0, "", "")
  _until(lambda: all(map(_gone, pids)))


@needs_workers
def test_ctrl_c_prints_the_parents_traceback_alone(plain_corpus):
  """It is sent to the group as soon as the workers start to start."""
  process, pids = _start_stream(
      plain_corpus, "for example in examples: pass")
  os.killpg(process.pid, signal.SIGINT)
  try:
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
  finally:
    process.kill()
  assert process.returncode != 0
  # One traceback, but for an error that was just being handled.
  assert err.count("KeyboardInterrupt") == 1
  _until(lambda: all(map(_gone, pids)))
