"""Corpora, and the worker processes that are started."""

import subprocess

import pytest
from stream_corpus import CorpusMaker

from bert_e2e.data import line_cutter, worker_pool
from bert_e2e.data import stream as es


@pytest.fixture
def maker(tmp_path):
  return CorpusMaker(tmp_path)


@pytest.fixture
def odd_corpus(maker, monkeypatch):
  """Files with odd ends, and a document that is longer than the cap."""
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 120)
  maker.write("a.txt", maker.documents(7, 1, 12, 3, 9, 4, 6, 2, 8))
  maker.write("b.txt", "\n\n \t\n" + maker.documents(4, 5)[:-1])
  for i in range(9):
    maker.write("tiny%d.txt" % i, maker.documents(1 + i % 2) + "\n" * (i % 3))
  maker.write("c.txt.gz", maker.documents(6, 11, 2, 7) + "\n\u3000\n\n")
  maker.write("long.txt", maker.lines(90) + "\n" + maker.lines(2))
  maker.write("d.txt", maker.documents(3, 3, 3).replace("\n", "\r\n")[:-2])
  return maker


@pytest.fixture
def plain_corpus(maker, monkeypatch):
  """Three files, cut into several groups of several windows an epoch."""
  monkeypatch.setattr(es, "SPLITS_PER_GROUP", 4)
  monkeypatch.setattr(es, "CHUNKS_PER_WINDOW", 3)
  for name in ("a.txt", "b.txt", "c.txt"):
    maker.write(name, maker.documents(*[5, 3, 6, 4, 2] * 6))
  return maker


@pytest.fixture
def started(monkeypatch):
  """The pids of the processes that are started."""
  pids = []

  class Popen(subprocess.Popen):

    def __init__(self, *args, **kwargs):
      super().__init__(*args, **kwargs)
      pids.append(self.pid)

  monkeypatch.setattr(worker_pool.subprocess, "Popen", Popen)
  return pids
