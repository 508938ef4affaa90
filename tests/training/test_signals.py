"""SIGTERM and Ctrl-C, on real processes."""

import os
import pathlib
import re
import select
import signal
import subprocess
import textwrap
import threading
import time

import pytest
import tensorflow.compat.v1 as tf
from forked_programs import ForkedProgram
from program import (
    children,
    command,
    is_gone,
    started,
    tensors,
    text,
)

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task"), reason="reads /proc")


def step_of(folder):
  latest = tf.train.latest_checkpoint(folder)
  return tf.train.load_variable(latest, "global_step")


@pytest.mark.slow
def test_a_signal_in_training_saves_and_ends(files):
  """SIGTERM, and Ctrl-C in the training that goes on."""
  arguments = command(files, num_train_steps=1000000, num_workers=2,
                      log_every_steps=20, do_eval=True)
  step, start = 0, "starting from newly initialized weights"
  for number in (signal.SIGTERM, signal.SIGINT):
    shown = step - step % 20 + 20
    with started(arguments, start) as program:
      assert any(line.startswith("step %d/" % shown) for line in program.stdout)
      workers = children(program.pid)
      assert len(workers) == 2
      program.send_signal(number)
      said = program.stdout.read()
      assert program.wait() == 128 + number
    assert all(map(is_gone, workers))
    step = int(re.findall("stopped by %s; the same command resumes from step "
                          r"(\d+)" % number.name, said)[0])
    assert step >= shown
    assert step_of(files["out"]) == step
    assert tensors(files["out"], step)["examples_seen"] == 8 * step
    assert "Traceback" not in said
    assert not os.path.exists(os.path.join(files["out"], "eval_results.txt"))
    start = "resuming from step %d in" % step


@pytest.mark.slow
def test_a_signal_ends_a_wait_for_a_worker_that_hangs(files):
  """The trainer waits for input, in TensorFlow: no Python handler runs."""
  arguments = command(files, num_train_steps=1000000, num_workers=1,
                      log_every_steps=1)
  with started(arguments, "step 20/") as program:
    worker, = children(program.pid)
    os.kill(worker, signal.SIGSTOP)
    # Until the examples that were built before are used up.
    while select.select([program.stdout], [], [], 1)[0]:
      os.read(program.stdout.fileno(), 1 << 16)
    program.send_signal(signal.SIGTERM)
    said = program.stdout.read()
    assert program.wait() == 128 + signal.SIGTERM
  assert is_gone(worker)
  step = int(re.findall(r"resumes from step (\d+)", said)[0])
  assert step_of(files["out"]) == step


def ended_by(program, number, seconds=60):
  """Sends a signal; returns what was said until nobody could say any more.

  Which is when the program and its workers, which have its output, are gone. A
  program that goes on for so many seconds is killed: another exit code.
  """
  program.send_signal(number)
  timer = threading.Timer(seconds, program.kill)
  timer.start()
  said = program.stdout.read()
  code = program.wait()
  timer.cancel()
  assert code == 128 + number, said
  assert "stopped by %s; " % number.name in said
  assert "Traceback" not in said
  return said


def wait_for(condition, seconds):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.05)


@pytest.mark.slow
def test_a_signal_before_the_first_step(files):
  arguments = command(files, num_train_steps=1000000, num_workers=2,
                      do_eval=True)
  with started(arguments, "starting from newly initialized weights") as program:
    said = ended_by(program, signal.SIGTERM)
  assert "the same command starts again: there is no checkpoint yet" in said
  assert "step 1/" not in said
  assert tf.train.latest_checkpoint(files["out"]) is None
  assert not os.path.exists(os.path.join(files["out"], "eval_results.txt"))


@pytest.mark.slow
def test_a_signal_in_an_evaluation(trained):
  """Of text that takes some seconds; the checkpoint is that of training."""
  pathlib.Path(trained["eval"]).write_text(text(2000, 1000))
  arguments = command(trained, num_train_steps=3, num_workers=1, do_eval=True,
                      eval_input_file=trained["eval"], eval_batch_size=1,
                      max_eval_steps=3000)
  log = pathlib.Path(trained["out"]) / "train.log"
  with started(arguments, "WARNING: nothing to train") as program:
    # TensorFlow says so at every tenth of the steps.
    wait_for(lambda: program.poll() is not None or
             "Evaluation [300/3000]" in log.read_text(), 120)
    assert program.poll() is None
    said = ended_by(program, signal.SIGINT)
  assert "resumes from step 3, in" in said
  assert step_of(trained["out"]) == 3
  assert not os.path.exists(os.path.join(trained["out"], "eval_results.txt"))


@pytest.mark.slow
def test_an_evaluation_that_a_signal_ends_is_repeated(trained):
  """In training, and then at the start from the same checkpoint."""
  pathlib.Path(trained["eval"]).write_text(text(350, 1000))
  arguments = command(trained, num_train_steps=9, eval_every_steps=6,
                      eval_input_file=trained["eval"], eval_batch_size=1,
                      max_eval_steps=500, accept_eval_overlap=True,
                      log_every_steps=1)
  log = pathlib.Path(trained["out"]) / "train.log"
  for start in ("step 5/9", "resuming from step 6"):
    log.unlink()
    with started(arguments, start) as program:
      wait_for(lambda: program.poll() is not None or (
          "Evaluation [50/500]" in log.read_text().partition(
              "model.ckpt-6\n")[2]), 120)
      assert program.poll() is None
      said = ended_by(program, signal.SIGTERM)
    assert "resumes from step 6, in" in said
    assert step_of(trained["out"]) == 6


@pytest.mark.slow
def test_a_signal_in_the_evaluation_before_training(files, tmp_path):
  """It counts for the training, which then has a checkpoint."""
  (tmp_path / "eval.txt").write_text(text(3000, 1000))
  arguments = command(files, num_train_steps=9, do_eval=True,
                      eval_input_file=files["eval"], eval_batch_size=1,
                      max_eval_steps=0, accept_eval_overlap=True)
  with started(arguments, "starting from newly initialized weights") as program:
    log = pathlib.Path(files["out"]) / "train.log"
    wait_for(lambda: program.poll() is not None or
             "***** Running evaluation *****" in log.read_text(), 120)
    time.sleep(1)
    said = ended_by(program, signal.SIGTERM)
  assert "resumes from step 0, in" in said or "goes on from step 1, in" in said
  assert not os.path.exists(os.path.join(files["out"], "evaluations.jsonl"))


@pytest.mark.slow
def test_a_signal_ends_an_evaluations_wait_for_its_input(trained):
  """TensorFlow waits for the first window: 16 chunks, a second each."""
  pathlib.Path(trained["eval"]).write_text(text(4000, 1000))
  arguments = command(trained, num_train_steps=3, num_workers=1, do_eval=True,
                      eval_input_file=trained["eval"], dupe_factor=40,
                      accept_new_stream=True)
  log = pathlib.Path(trained["out"]) / "train.log"
  with started(arguments, "WARNING: nothing to train") as program:
    wait_for(lambda: "Done running local_init_op" in log.read_text().partition(
        "Running evaluation")[2], 60)
    time.sleep(1)
    ended_by(program, signal.SIGTERM, 20)
  assert not os.path.exists(os.path.join(trained["out"], "eval_results.txt"))


SCRIPT = """
    import functools, sys, time
    from bert_e2e.common import errors
    from bert_e2e.training import signals
    with signals.SignalHandler() as stop:
      try:
        if %s:
          for name in ("kept", "removed"):
            stop.add_callback(functools.partial(print, name, flush=True))
          stop.remove_callback(stop._callbacks[-1])
          stop.remove_callback(print)  # Not registered.
          stop.set_training(True)
        print("ready", flush=True)
        while True:
          time.sleep(1)
      except errors.Interrupted:
        print("interrupted")
        sys.exit(stop.exit_code)
    """


@pytest.fixture
def start_script(tmp_path):
  """Returns a function that starts the script; says whether that trains."""
  path = tmp_path / "script.py"

  def start(is_training):
    path.write_text(textwrap.dedent(SCRIPT) % is_training)
    program = ForkedProgram([str(path)], subprocess.DEVNULL)
    assert program.stdout.readline() == "ready\n"
    return program

  return start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(start_script, number):
  """The main thread never ends its step; callbacks are called."""
  process = start_script(True)
  process.send_signal(signal.SIGTERM)
  with pytest.raises(subprocess.TimeoutExpired):
    process.wait(0.5)
  process.send_signal(number)
  out, _ = process.communicate()
  assert process.returncode == 128 + number
  assert out == "kept\n"


def test_a_signal_outside_of_training_ends_the_program(start_script):
  process = start_script(False)
  process.send_signal(signal.SIGINT)
  out, _ = process.communicate()
  assert process.returncode == 130
  assert out == "interrupted\n"
