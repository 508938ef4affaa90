"""The stream is, byte for byte, that of earlier versions."""

import json
import os

import pytest

from tests.golden import make_stream_golden as golden


@pytest.fixture(scope="module")
def text(tmp_path_factory):
  """Returns (path of the demo's text, what was recorded of it)."""
  path, digest = golden.write_text(str(tmp_path_factory.mktemp("text")))
  if not os.path.exists(golden.record_file(digest)):
    pytest.skip("no record of this Python's text; make_stream_golden.py makes "
                "one")
  with open(golden.record_file(digest)) as stream:
    return path, json.load(stream)


def test_every_case_is_recorded(text):
  assert set(text[1]) == set(golden.CASES) | {"python"}


@pytest.mark.parametrize("name", golden.CASES)
def test_examples_are_those_recorded(text, name):
  path, recorded = text
  assert golden.digest(path, golden.CASES[name]) == recorded[name], (
      "The stream has changed: it needs a new resume.STREAM_VERSION or, if "
      "only packed cases fail, a new packing.PACKING_VERSION. Then record it "
      "again with make_stream_golden.py.")
