"""SIGTERM and Ctrl-C, on real processes."""

import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import textwrap

import pytest
import tensorflow.compat.v1 as tf
from program import ROOT, command, run_program, started

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task"), reason="reads /proc")


def children(program):
  """Returns the pids of the processes that its threads have started."""
  return [int(pid)
          for path in pathlib.Path("/proc/%d/task" % program.pid).iterdir()
          for pid in (path / "children").read_text().split()]


def is_gone(pid):
  try:
    stat = pathlib.Path("/proc/%d/stat" % pid).read_text()
  except OSError:
    return True
  return stat.rpartition(")")[2].split()[0] == "Z"


def step_of(folder):
  latest = tf.train.latest_checkpoint(folder)
  return tf.train.load_variable(latest, "global_step")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_training_saves_and_ends(files, number):
  arguments = command(files, num_train_steps=1000000, num_workers=2,
                      log_every_steps=20, do_eval=True)
  with started(arguments, "step 20/") as program:
    workers = children(program)
    assert len(workers) == 2
    program.send_signal(number)
    said = program.stdout.read()
    assert program.wait() == 128 + number
  assert all(map(is_gone, workers))
  step = int(re.findall("stopped by %s; the same command goes on from step "
                        r"(\d+)" % number.name, said)[0])
  assert step >= 20
  assert step_of(files["out"]) == step
  assert "Traceback" not in said
  assert not os.path.exists(os.path.join(files["out"], "eval_results.txt"))
  again = run_program(command(files, num_train_steps=step + 2))
  assert again.returncode == 0, again.stdout
  assert "going on from step %d in" % step in again.stdout


def test_a_signal_ends_a_wait_for_a_worker_that_hangs(files):
  """The trainer waits for input, in TensorFlow: no Python handler runs."""
  arguments = command(files, num_train_steps=1000000, num_workers=1,
                      log_every_steps=1)
  with started(arguments, "step 20/") as program:
    worker, = children(program)
    os.kill(worker, signal.SIGSTOP)
    # Until the examples that were built before are used up.
    while select.select([program.stdout], [], [], 1)[0]:
      os.read(program.stdout.fileno(), 1 << 16)
    program.send_signal(signal.SIGTERM)
    said = program.stdout.read()
    assert program.wait() == 128 + signal.SIGTERM
  assert is_gone(worker)
  step = int(re.findall(r"goes on from step (\d+)", said)[0])
  assert step_of(files["out"]) == step


SCRIPT = """
    import sys, time
    import interruption
    with interruption.Interruption() as stop:
      try:
        stop.train(%s)
        print("ready", flush=True)
        while True:
          time.sleep(1)
      except interruption.Interrupted:
        print("interrupted")
        sys.exit(stop.exit_code)
    """


def start_script(is_training):
  process = subprocess.Popen(
      [sys.executable, "-c", textwrap.dedent(SCRIPT) % is_training], cwd=ROOT,
      stdout=subprocess.PIPE, universal_newlines=True)
  assert process.stdout and process.stdout.readline() == "ready\n"
  return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(number):
  """The main thread never comes to the end of its step."""
  process = start_script(True)
  process.send_signal(signal.SIGTERM)
  with pytest.raises(subprocess.TimeoutExpired):
    process.wait(0.5)
  process.send_signal(number)
  out, _ = process.communicate()
  assert process.returncode == 128 + number
  assert out == ""


def test_a_signal_outside_of_training_ends_the_program():
  process = start_script(False)
  process.send_signal(signal.SIGINT)
  out, _ = process.communicate()
  assert process.returncode == 130
  assert out == "interrupted\n"
