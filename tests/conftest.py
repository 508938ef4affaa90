"""Fixtures of the tests that run the program."""

import collections
import gc
import json

import pytest
import quick_sessions
from absl import flags
from program import CONFIG, PROGRAM, VOCAB, text
from tpu_workers import Coordinator

import run_pretraining_e2e as e2e

quick_sessions.use()
# TensorFlow's objects need no collection, and there are many.
gc.freeze()


@pytest.fixture
def files(tmp_path):
  """Writes a small corpus, vocabulary and config; returns their paths."""
  paths = collections.OrderedDict()
  for name, content in (("train.txt", text(60)), ("eval.txt", text(9, 100)),
                        ("vocab.txt", "\n".join(VOCAB) + "\n"),
                        ("config.json", json.dumps(CONFIG))):
    (tmp_path / name).write_text(content)
    paths[name.split(".")[0]] = str(tmp_path / name)
  paths["out"] = str(tmp_path / "out")
  return paths


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
def dropout_config(files):
  """Turns dropout on: what is dropped has to be repeated, too."""
  with open(files["config"], "w") as stream:
    json.dump(dict(CONFIG, hidden_dropout_prob=0.2,
                   attention_probs_dropout_prob=0.2), stream)


@pytest.fixture(scope="session")
def coordinator():
  """Starts the coordinator and the workers of a TPU."""
  coordinator = Coordinator()
  yield coordinator
  coordinator.close()
