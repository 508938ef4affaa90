"""The examples in docstrings run, and print what they say."""

import doctest
import glob
import importlib
import os

import pytest
from program import ROOT


def modules_with_examples():
  """Returns the names of the modules whose docstrings have examples."""
  found = []
  for path in glob.glob(os.path.join(ROOT, "*.py")) + glob.glob(
      os.path.join(ROOT, "bert_e2e", "**", "*.py"), recursive=True):
    with open(path, encoding="utf-8") as stream:
      if "  >>> " in stream.read():
        name = os.path.relpath(path, ROOT)[:-len(".py")]
        found.append(name.replace(os.sep, "."))
  return sorted(found)


def test_there_are_examples():
  assert len(modules_with_examples()) > 20


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_in_docstrings_run(name):
  assert not doctest.testmod(importlib.import_module(name)).failed
