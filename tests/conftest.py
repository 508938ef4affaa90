"""Fixtures of the tests that run the program."""

import gc
import sys

import pytest
import quick_sessions
from absl import flags
from program import (
  PROGRAM,
  command,
  copied,
  run_program,
  set_dropout,
  write_inputs,
)
from strategy_modules import Modules
from tpu_workers import Coordinator

import run_pretraining_e2e as e2e

quick_sessions.use()
# TensorFlow's objects need no collection, and there are many.
gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  """Runs the test files that take longest first."""
  if config.getvalue("dist") != "loadfile":
    return None
  import longest_first  # It needs pytest-xdist.

  return longest_first.Scheduling(config, log)


@pytest.fixture
def files(tmp_path):
  """Writes a small corpus, vocabulary and config; returns their paths."""
  return write_inputs(tmp_path)


@pytest.fixture(scope="session")
def run_of_three_steps(tmp_path_factory):
  """Trains for three steps, once; returns paths that `trained` copies."""
  files = write_inputs(tmp_path_factory.mktemp("three_steps"))
  run = run_program(command(files, num_train_steps=3, num_workers=None))
  assert run.returncode == 0, run.stdout
  return files


@pytest.fixture
def trained(run_of_three_steps, tmp_path):
  """Returns the paths of a run of three steps, for a test to change."""
  return copied(run_of_three_steps, tmp_path)


@pytest.fixture
def parse_flags():
  """Returns a function from arguments to parsed flags."""
  if "do_train" not in flags.FLAGS:
    e2e.define_flags()

  def parse(arguments):
    flags.FLAGS.unparse_flags()
    flags.FLAGS([PROGRAM] + arguments)
    return flags.FLAGS

  yield parse
  flags.FLAGS.unparse_flags()


@pytest.fixture
def modules(tmp_path, monkeypatch):
  """Writes modules to a directory, which becomes the working directory."""
  directory = tmp_path / "modules"
  directory.mkdir()
  monkeypatch.chdir(directory)
  monkeypatch.setattr(sys, "path", list(sys.path))
  # Written again within a second, a module would be loaded from its cache.
  monkeypatch.setattr(sys, "dont_write_bytecode", True)
  return Modules(directory)


@pytest.fixture
def dropout_config(files):
  """Turns dropout on: what is dropped has to be repeated, too."""
  set_dropout(files, 0.2)


@pytest.fixture(scope="session")
def coordinator():
  """Starts the coordinator and the workers of a TPU."""
  coordinator = Coordinator()
  yield coordinator
  coordinator.close()
