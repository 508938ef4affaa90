"""Small corpora whose lines are all unique, and what examples tell of them.

Every line is `wN` with two fillers, wN being a WordPiece of its own, so that an
example tells which lines it is made of. Sequences are long enough for a whole
document, so nothing is truncated.
"""

import collections
import gzip
import os
import subprocess
import sys
import textwrap

import pytest
from program import ROOT

import create_pretraining_data as cpd
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import stream as es
from bert_e2e.data import tf_example

SPECIAL = list(cpd.SPECIAL_TOKENS)
FILLERS = ["alpha", "beta", "gamma", "delta"]
FIRST_WORD_ID = len(SPECIAL) + len(FILLERS)
NUM_WORDS = 2000
# Generous: a busy machine must not fail a test.
PATIENCE_SECONDS = 60
KNOWN_WORKERS = (0,) if os.name == "nt" else (0, 2)
SMALL = {"split_bytes": 100}

needs_workers = pytest.mark.skipif(
    os.name == "nt", reason="there are no worker processes on Windows")


class CorpusMaker:
  """Writes files of unique lines and a vocabulary of their words."""

  def __init__(self, folder):
    self.folder = folder
    self.files = []
    self.num_lines = 0
    self.vocab_file = str(folder / "vocab.txt")
    words = ["w%d" % i for i in range(NUM_WORDS)]
    (folder / "vocab.txt").write_text(
        "\n".join(SPECIAL + FILLERS + words) + "\n")

  def lines(self, count):
    """Returns `count` new lines, each with a line end."""
    numbers = range(self.num_lines, self.num_lines + count)
    self.num_lines += count
    return "".join(
        "w%d %s %s\n" % (n, FILLERS[n % 4], FILLERS[n // 4 % 4])
        for n in numbers)

  def documents(self, *sizes):
    """Returns documents of so many new lines, with a blank line between."""
    return "\n".join(self.lines(size) for size in sizes)

  def write(self, name, text):
    path = self.folder / name
    data = text if isinstance(text, bytes) else text.encode("utf-8")
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    self.files.append(str(path))
    return str(path)

  def corpus(self, **options):
    options.setdefault("chunk_lines", 5)
    return corpus_lib.Corpus(self.files, **options)

  def options(self, **changes):
    instances = cpd.InstanceOptions(
        max_seq_length=160, max_predictions_per_seq=24)
    return es.StreamOptions(self.vocab_file, instances=instances, **changes)

  def stream(self, num_epochs=1, num_workers=0, shard=es.Shard(), seed=12345,
             **corpus_options):
    return es.ExampleStream(
        self.corpus(**corpus_options), self.options(random_seed=seed),
        num_epochs=num_epochs, num_workers=num_workers, shard=shard)


def int_features(example):
  """Returns name -> list of int of a serialized tf.Example."""
  features = tf_example.parse_example(example)
  del features["masked_lm_weights"]
  return features


class Seen:
  """An example, with the masks undone: the lines of A and B."""

  def __init__(self, example):
    features = int_features(example)
    size = sum(features["input_ids"][i] != 0 or features["input_mask"][i]
               for i in range(len(features["input_ids"])))
    ids = features["input_ids"][:size]
    self.masked = tuple(ids)
    positions = features["masked_lm_positions"]
    for position, label in zip(positions, features["masked_lm_ids"]):
      if position:
        ids[position] = label
    middle = features["segment_ids"].index(1)
    self.a = self._words(ids[:middle])
    self.b = self._words(ids[middle:])
    self.is_random = features["next_sentence_labels"] == [1]
    self.used = self.a + (() if self.is_random else self.b)
    self.pair = (self.a, self.b, self.is_random)

  @staticmethod
  def _words(ids):
    return tuple(i - FIRST_WORD_ID for i in ids if i >= FIRST_WORD_ID)


def seen(examples):
  return [Seen(example) for example in examples]


def lines_used(examples):
  return collections.Counter(
      line for example in seen(examples) for line in example.used)


def once(num_lines):
  return collections.Counter(range(num_lines))


def start_python(script, **environment):
  """Starts an interpreter for a script, in a process group of its own."""
  return subprocess.Popen(
      [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
      start_new_session=True, env=dict(os.environ, **environment))
