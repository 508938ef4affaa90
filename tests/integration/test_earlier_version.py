"""An output directory of an earlier version is resumed."""

import json
import os
import shutil

import numpy as np
import pytest
from program import run_program, tensors

from bert_e2e.training import evaluation
from tests.golden import make_output_dir_golden as golden

pytestmark = pytest.mark.slow
NOT_REPEATED = {"seconds", "time"}


def rows_of(path):
  with open(path) as stream:
    return [json.loads(line) for line in stream]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
  """Resumes a copy of the directory; returns it, and what the program said."""
  directory = tmp_path_factory.mktemp("earlier")
  out = str(directory / "out")
  shutil.copytree(golden.GOLDEN, out)
  run = run_program(["--output_dir=" + out] + golden.FLAGS +
                    golden.write_inputs(str(directory)))
  assert run.returncode == 0, run.stdout
  return out, run.stdout


def test_the_run_is_resumed_and_its_stream_continued(resumed):
  out, said = resumed
  assert "resuming from step %d in" % golden.STEP in said
  assert "WARNING" not in said
  with np.load(os.path.join(golden.GOLDEN, "at_the_end.npz")) as expected:
    last = int(expected["global_step"])
    assert last > golden.STEP
    assert int(expected["examples_seen"]) == 8 * last
  assert tensors(out, last)["examples_seen"] == 8 * last
  with open(os.path.join(out, "stream.json")) as stream:
    assert json.load(stream)["first_example"] == 0


def test_the_weights_at_the_end_are_those_of_that_version(resumed):
  """Up to rounding, which depends on the processor and on TensorFlow."""
  with np.load(os.path.join(golden.GOLDEN, "at_the_end.npz")) as arrays:
    expected = {name.replace("|", "/"): arrays[name] for name in arrays}
  found = tensors(resumed[0], int(expected["global_step"]))
  assert sorted(found) == sorted(expected)
  for name, value in expected.items():
    np.testing.assert_allclose(
        found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_evaluations_are_those_of_that_version(resumed):
  found = rows_of(os.path.join(resumed[0], evaluation.TABLE_FILE))
  expected = rows_of(
      os.path.join(golden.GOLDEN, "evaluations_at_the_end.jsonl"))
  assert len(found) == len(expected)
  before = rows_of(os.path.join(golden.GOLDEN, evaluation.TABLE_FILE))
  assert found[:len(before)] == before
  for row, other in zip(found, expected):
    # That version did not have the loss per character.
    assert set(row) - {"masked_lm_nats_per_character"} == set(other)
    for name in set(other) - NOT_REPEATED:
      assert row[name] == (
          other[name] if not isinstance(other[name], float) else
          pytest.approx(other[name], abs=1e-4)), name
