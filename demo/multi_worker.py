"""Multi-worker training on one machine: two workers train on the demo's text.

    python -m demo.multi_worker     (from the project's root; or:
                                     make multi-worker-demo)

Each worker is a process under `supervise.py`, as it would be on separate
machines, and reads its own part of the text. One of them is killed during
training; both restart from the latest checkpoint. The last line of the output
is machine-readable; the exit code is 1 if the workers' weights differ, or if
they read the same part.

The environment variable DEMO_STEPS=40 shortens the training.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from demo import network

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join("demo", "out_multi_worker")
STEPS = 300
NUM_WORKERS = 2
# How long a worker waits for the other one before it exits.
WATCHDOG_SECONDS = 15
_INSIDE = "--inside"


class Workers:
  """The worker processes of a training; a context manager that ends them.

  Args:
    directory: str, for the workers' output: worker-0.txt and so on.
    command: list of str, the command that each worker runs.
    count: int, number of workers.
  """

  def __init__(self, directory, command, count=NUM_WORKERS):
    self._files = [os.path.join(directory, "worker-%d.txt" % host)
                   for host in range(count)]
    ports = network.free_ports(count)
    self.processes = [
        self._start(command, ports, host) for host in range(count)]

  def _start(self, command, ports, host):
    with open(self._files[host], "wb") as output:
      return subprocess.Popen(
          command, stdout=output, stderr=subprocess.STDOUT,
          env=dict(os.environ, **self.environment(ports, host)))

  def environment(self, ports, host):
    """Returns the environment variables that name the cluster to a worker."""
    config = {"cluster": {"worker": ["127.0.0.1:%d" % port for port in ports]},
              "task": {"type": "worker", "index": host}}
    return {"TF_CONFIG": json.dumps(config)}

  def __enter__(self):
    return self

  def __exit__(self, *exc_info):
    for process in self.processes:
      process.terminate()
    for process in self.processes:
      process.wait()

  def matches(self, host, pattern):
    """Returns all matches of a pattern in a worker's output."""
    with open(self._files[host], encoding="utf-8", errors="replace") as stream:
      return re.findall(pattern, stream.read())

  def wait_for(self, host, pattern):
    """Waits until a worker's output matches a pattern.

    Raises:
      RuntimeError: a worker exited before that.
    """
    while not self.matches(host, pattern):
      if any(process.poll() is not None for process in self.processes):
        raise RuntimeError("A worker exited early; see %s." % self._files)
      time.sleep(0.1)

  def wait(self):
    """Waits until all workers exit, or one fails; returns their exit codes."""
    while True:
      codes = [process.poll() for process in self.processes]
      if any(codes) or None not in codes:
        return codes
      time.sleep(0.1)

  def kill_trainer(self, host):
    """Kills the child process of a worker's supervisor."""
    pid = self.processes[host].pid
    with open("/proc/%d/task/%d/children" % (pid, pid)) as stream:
      os.kill(int(stream.read().split()[0]), signal.SIGKILL)


def supervised(command):
  """Returns the command that runs a command under a supervisor."""
  return [sys.executable, os.path.join(ROOT, "scripts/supervise.py"),
          "--"] + command


def train(workers, steps):
  """Kills a worker halfway, waits for the end and returns the exit codes."""
  workers.wait_for(0, r"step %d/" % (steps // 2))
  print("step %d: killing worker 1" % (steps // 2), flush=True)
  workers.kill_trainer(1)
  return workers.wait()


def summarize(workers, steps):
  """Prints the results; returns True if they are correct."""
  matches = workers.matches
  weights = [matches(host, r"weights at step %d: (\w+)" % steps)[-1]
             for host in range(NUM_WORKERS)]
  splits = [set(re.findall(r"\d+-\d+", matches(host, r"all files: (.*)")[-1]))
            for host in range(NUM_WORKERS)]
  starts = [1 + len(matches(host, r"; restart \d+ of \d+"))
            for host in range(NUM_WORKERS)]
  for host in range(NUM_WORKERS):
    print("worker %d: started %d times, weights %s at step %d, reads these "
          "bytes of the text in an epoch: %s" % (
              host, starts[host], weights[host], steps,
              ", ".join(sorted(splits[host]))))
  shared = set.intersection(*splits)
  is_good = len(set(weights)) == 1 and all(splits) and not shared
  print("\nmulti-worker demo: steps=%d workers=%d restarts=%d same_weights=%d "
        "shared_splits=%d" % (steps, NUM_WORKERS, sum(starts) - NUM_WORKERS,
                              len(set(weights)) == 1, len(shared)))
  return is_good


def main():
  from demo import demo  # Loads TensorFlow, which importing this does not.

  os.chdir(ROOT)
  isolating = network.isolating_command()
  if _INSIDE in sys.argv:
    network.raise_loopback()
  elif isolating:
    sys.exit(subprocess.call(
        isolating + [sys.executable, "-m", "demo.multi_worker", _INSIDE]))
  else:
    print("Cannot create a network namespace: other machines can reach this "
          "program's ports while it runs.", flush=True)
  steps = int(os.environ.get("DEMO_STEPS", STEPS))
  shutil.rmtree(OUT, ignore_errors=True)
  os.makedirs(OUT)
  demo.prepare_corpus()
  command = demo.pretraining_command(
      os.path.join(OUT, "bert"), *demo.training_flags(steps))
  command += [
      "--distribution_strategy=multi_worker_mirrored",
      "--watchdog_seconds=%d" % WATCHDOG_SECONDS,
      "--log_every_steps=%d" % max(1, steps // 20),
      "--save_checkpoints_steps=%d" % max(1, steps // 8)]
  with Workers(OUT, supervised([sys.executable] + command)) as workers:
    codes = train(workers, steps)
    if any(codes):
      sys.exit("The workers exited with %s; see %s." % (codes, OUT))
    sys.exit(0 if summarize(workers, steps) else 1)


if __name__ == "__main__":
  main()
