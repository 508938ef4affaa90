"""Trains by two processes on this machine.

TensorFlow's servers listen on all addresses. So each training runs in a network
namespace that has nothing but its own loopback, started by a process in it,
this file as a program.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

if __name__ == "__main__":  # This directory is on the path already.
  sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import pytest

from demo import multi_worker, network

# The end of the name of the directory of what the workers print.
_SAID = "_said"

# --------------------------------------------------- what runs in the namespace


def undisturbed(workers):
  return workers.wait()


def killed(workers):
  """The chief is killed."""
  workers.wait_for(0, r"step 45/")
  workers.kill_trainer(0)
  return workers.wait()


def stopped(workers):
  """One gets a signal: both end at the same step, the chief saves."""
  workers.wait_for(1, r"step 25/")
  workers.processes[1].send_signal(signal.SIGTERM)
  return [process.wait() for process in workers.processes]


def stopped_in_evaluation(workers):
  """The chief gets a signal while it evaluates the checkpoint of step 20."""
  log = os.path.join(workers.output_dir, "train.log")
  workers.wait_for(0, "evaluation at step 0")
  while "Evaluation [20/200]" not in read(log).partition(
      "model.ckpt-20\n")[2]:
    time.sleep(0.05)
  workers.processes[0].send_signal(signal.SIGTERM)
  return [process.wait() for process in workers.processes]


def read(path):
  with open(path) as stream:
    return stream.read()


def slurm(workers):
  return workers.wait()


class SlurmWorkers(multi_worker.Workers):
  """Workers with the variables of the two tasks of a SLURM job step."""

  def environment(self, ports, host):
    del ports  # The resolver chooses them.
    bin_directory = tempfile.mkdtemp(dir=os.path.dirname(self._files[host]))
    scontrol = os.path.join(bin_directory, "scontrol")
    with open(scontrol, "w") as stream:  # TensorFlow 1.15 calls it.
      stream.write("#!/bin/sh\necho $SLURM_JOB_NODELIST\n")
    os.chmod(scontrol, 0o755)
    return {
        "PATH": bin_directory + os.pathsep + os.environ["PATH"],
        "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "127.0.0.1",
        "SLURMD_NODENAME": "127.0.0.1", "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(host), "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_STEP_TASKS_PER_NODE": "2"}


def run_inside(name, folder, arguments):
  network.raise_loopback()
  make = SlurmWorkers if name == "slurm" else multi_worker.Workers
  with make(folder, arguments) as workers:
    workers.output_dir = folder[:-len(_SAID)]
    codes = globals()[name](workers)
    said = [workers.matches(host, r"weights at step (\d+): (\w+)")
            for host in range(2)]
  print("outcome", json.dumps([codes, said]))


# -------------------------------------------------------------- for the tests


def train(name, files, out, is_supervised=True, **changes):
  """Trains by two workers; returns (exit codes, [(step, digest)] of each)."""
  import forked_programs
  from forking_python import PYTHON_VARIABLE
  from program import PROGRAM, command  # Loads TensorFlow.

  isolating = network.isolating_command() or pytest.skip(
      "no network namespace can be made here")
  os.makedirs(out + _SAID, exist_ok=True)
  arguments = [forked_programs.python(), PROGRAM] + command(
      dict(files, out=out), **dict(dict(
          num_train_steps=20, save_checkpoints_steps=5, log_every_steps=1,
          learning_rate=1e-2, watchdog_seconds=10,
          distribution_strategy="multi_worker_mirrored"), **changes))
  if is_supervised:
    arguments = multi_worker.supervised(arguments)
  run = subprocess.run(
      isolating + [sys.executable, os.path.abspath(__file__), name,
                   out + _SAID] + arguments,
      stdout=subprocess.PIPE, universal_newlines=True, check=True,
      # For what starts itself again.
      env=dict(os.environ, **{PYTHON_VARIABLE: forked_programs.python()}))
  return json.loads(run.stdout.split("outcome")[-1])


if __name__ == "__main__":
  run_inside(sys.argv[1], sys.argv[2], sys.argv[3:])
