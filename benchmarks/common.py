"""What the benchmarks share: processes, corpora, rows of the table."""

import argparse
import contextlib
import functools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "run_pretraining_e2e.py")
sys.path.insert(0, ROOT)

# A model that is small, so that its trainer eats fast. The vocabulary's size
# is added.
MODEL = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 128, "max_position_embeddings": 512,
    "type_vocab_size": 2,
}


@functools.lru_cache(maxsize=None)
def machine():
  """Returns a line: processor, usable cores, interpreter, TensorFlow."""
  model = platform.machine()
  if os.path.exists("/proc/cpuinfo"):
    with open("/proc/cpuinfo") as stream:
      names = [line.split(":")[1].strip() for line in stream
               if line.startswith("model name")]
    model = names[0] if names else model
  # In a process of its own: what is measured here may be its absence.
  output, _, _ = run([
      sys.executable, "-c",
      "import tensorflow; print('version', tensorflow.__version__)"])
  return "%s, %d cores, Python %s, TensorFlow %s" % (
      model, len(cores()), platform.python_version(),
      output.split("version ")[-1].strip())


def cores():
  """Returns the numbers of the cores that may be used, in order."""
  return sorted(os.sched_getaffinity(0))


def describe(path):
  """Returns a corpus's name and size."""
  return "%s, %.1f MB" % (os.path.basename(path),
                          os.path.getsize(path) / 1e6)


def row(figure, value, target):
  """Prints a row of the table that `make bench` collects."""
  print("| %s | %s | %s |" % (figure, value, target), flush=True)


def feeding_parser(description):
  """Returns the parser of benchmarks that hand ready-built examples over."""
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--num_examples", type=int, default=4096)
  parser.add_argument("--num_batches", type=int, default=5000)
  parser.add_argument("--rounds", type=int, default=3)
  return parser


def over_and_over(examples):
  """Yields examples endlessly; unlike itertools.cycle, it can be closed."""
  while True:
    yield from examples


def run(command, cwd=None, environment=None):
  """Runs a command; ends the benchmark where it fails.

  Returns:
    (its standard output and error, seconds by the clock, seconds of processor
    time of it and its children).
  """
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  start = time.time()
  result = subprocess.run(
      command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
      check=False, universal_newlines=True,
      env=dict(os.environ, **(environment or {})))
  seconds = time.time() - start
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  if result.returncode:
    sys.exit(result.stdout[-2000:])
  cpu = sum(getattr(after, n) - getattr(before, n)
            for n in ("ru_utime", "ru_stime"))
  return result.stdout, seconds, cpu


def medians(kinds, rounds):
  """Calls each function of {name: function} in turn, so that a busy machine
  slows all alike; returns {name: medians of the numbers that they return}."""
  figures = {name: [] for name in kinds}
  for _ in range(rounds):
    for name, function in kinds.items():
      figures[name].append(function())
  return {name: [statistics.median(column) for column in zip(*calls)]
          for name, calls in figures.items()}


def children(pid):
  """Returns the numbers of a process's child processes, as str."""
  found = []
  try:
    for task in os.listdir("/proc/%s/task" % pid):
      with open("/proc/%s/task/%s/children" % (pid, task)) as stream:
        found += stream.read().split()
  except (FileNotFoundError, ProcessLookupError):
    pass  # It, or a thread of it, has just ended.
  return found


def write_config(folder, vocab_file):
  """Writes the config of MODEL with a vocabulary's size; returns its path."""
  with open(vocab_file, "rb") as stream:
    size = len(stream.read().splitlines())
  path = os.path.join(folder, "config.json")
  with open(path, "w") as stream:
    json.dump(dict(MODEL, vocab_size=size), stream)
  return path


@contextlib.contextmanager
def repeated(path, num_bytes):
  """Gives a file of so many bytes, a text over and over, for a while.

  It may be some less: it ends with a line.
  """
  with tempfile.TemporaryDirectory() as folder:
    large = os.path.join(folder, "corpus.txt")
    with open(path, "rb") as stream:
      text = stream.read() + b"\n"
    with open(large, "wb") as stream:
      while stream.tell() + len(text) <= num_bytes:
        stream.write(text)
      rest = text[:num_bytes - stream.tell()]
      stream.write(rest[:rest.rfind(b"\n") + 1])
    yield large
