"""Shared by the benchmarks: processes, corpora, rows of the table."""

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

import rows

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "run_pretraining_e2e.py")
sys.path.insert(0, ROOT)


@functools.lru_cache(maxsize=None)
def machine():
  """Returns a line with the processor, usable cores, Python and TensorFlow."""
  model = platform.machine()
  if os.path.exists("/proc/cpuinfo"):
    with open("/proc/cpuinfo") as stream:
      names = [line.split(":")[1].strip() for line in stream
               if line.startswith("model name")]
    model = names[0] if names else model
  # In a separate process: some benchmarks must not import TensorFlow.
  output, _, _ = run([sys.executable, __file__])
  return "%s, %d cores, Python %s, TensorFlow %s" % (
      model, len(cores()), platform.python_version(),
      output.split("version ")[-1].strip())


def cores():
  """Returns the sorted numbers of the cores that this process may use."""
  return sorted(os.sched_getaffinity(0))


def describe(path):
  """Returns a corpus's file name and size."""
  return "%s, %.1f MB" % (os.path.basename(path),
                          megabytes(path))


def megabytes(path):
  """Returns a file's size in MB."""
  return os.path.getsize(path) / 1e6


def layers_and_size(model):
  """Returns the layers and the hidden size of a model, given as "LxH"."""
  layers, hidden_size = map(int, model.split("x"))
  return layers, hidden_size


def feeding_parser(description):
  """Returns the parser of the benchmarks that deliver prebuilt examples."""
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--num_examples", type=int, default=4096)
  parser.add_argument("--num_batches", type=int, default=5000)
  parser.add_argument("--rounds", type=int, default=3)
  return parser


def lacking_for_feeding(options):
  """Says what the options of `feeding_parser` lack for a measure."""
  return rows.lacking(rounds=(options.rounds, rows.ROUNDS),
                      batches=(options.num_batches, 1000))


def cycle(examples):
  """Repeats examples endlessly; unlike itertools.cycle, it can be closed."""
  while True:
    yield from examples


def run(command, cwd=None, environment=None):
  """Runs a command; exits the benchmark if it fails.

  Args:
    command: list of str.
    cwd: str, working directory.
    environment: dict of environment variables to add.

  Returns:
    (standard output and error, wall-clock seconds, CPU seconds of the command
    and its children).
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
  """Repeats measurements and returns their medians.

  They alternate, so that load on the machine affects all of them alike.

  Args:
    kinds: dict from name to a function that returns a sequence of numbers.
    rounds: int, calls of each function.

  Returns:
    dict from name to a list of numbers, their medians over the rounds.
  """
  results = {name: [] for name in kinds}
  for _ in range(rounds):
    for name, function in kinds.items():
      results[name].append(function())
  return {name: [statistics.median(column) for column in zip(*calls)]
          for name, calls in results.items()}


def children(pid):
  """Returns the ids of a process's children, a list of str."""
  found = []
  try:
    for task in os.listdir("/proc/%s/task" % pid):
      with open("/proc/%s/task/%s/children" % (pid, task)) as stream:
        found += stream.read().split()
  except (FileNotFoundError, ProcessLookupError):
    pass  # The process, or one of its threads, has just exited.
  return found


def vocab_size(vocab_file):
  """Returns the number of entries of a vocabulary file."""
  with open(vocab_file, "rb") as stream:
    return len(stream.read().splitlines())


def write_config(directory, num_entries, layers=1, hidden_size=32):
  """Writes a model's config.

  Args:
    directory: str.
    num_entries: int, of the vocabulary.
    layers, hidden_size: int; by default a model so small that training it only
      shows that everything runs.

  Returns:
    str, the config's path.
  """
  path = os.path.join(directory, "config.json")
  with open(path, "w") as stream:
    json.dump({
        "vocab_size": num_entries, "hidden_size": hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": max(2, hidden_size // 64),
        "intermediate_size": 4 * hidden_size, "max_position_embeddings": 512,
        "type_vocab_size": 2}, stream)
  return path


@contextlib.contextmanager
def repeated(path, num_bytes):
  """Provides a temporary file that repeats a text.

  Args:
    path: str, the text.
    num_bytes: int, size of the file, rounded down to complete lines.

  Yields:
    str, path of the file.
  """
  with tempfile.TemporaryDirectory() as directory:
    large = os.path.join(directory, "corpus.txt")
    with open(path, "rb") as stream:
      text = stream.read() + b"\n"
    with open(large, "wb") as stream:
      while stream.tell() + len(text) <= num_bytes:
        stream.write(text)
      rest = text[:num_bytes - stream.tell()]
      stream.write(rest[:rest.rfind(b"\n") + 1])
    yield large


if __name__ == "__main__":  # See `machine`.
  import tensorflow

  print("version", tensorflow.__version__)
