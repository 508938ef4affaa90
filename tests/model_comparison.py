"""What the tests of the model and of the optimizer share."""

import os

import numpy as np

import modeling
import optimization
from tests.golden import make_model_golden as golden

FOLDER = os.path.join(os.path.dirname(__file__), "golden", "model")
CHECKPOINT = os.path.join(FOLDER, "reference_checkpoint", "model.ckpt-4")
OURS = golden.Modules(modeling, optimization, modeling)
TINY = golden.CONFIGS["tiny"]


def recorded_arrays():
  """Returns the reference's recorded arrays by name."""
  with np.load(os.path.join(FOLDER, "tiny.npz")) as arrays:
    return dict(arrays)


def assert_close(actual, expected, name):
  """Fails if arrays differ by more than float32 rounding adds up to.

  The tolerance is 1e-5 of the tensor's largest value, plus a floor for tensors
  whose true value is 0 (the gradient of a key's bias is nothing but rounding).
  """
  floor = 2e-6
  if name.endswith("/adam_v"):
    floor = 1e-12
  elif "gradient/" in name and "/key/bias" in name:
    floor = 2e-7
  elif name.endswith("/adam_m") or "gradient/" in name:
    floor = 5e-8
  elif name.startswith("second/"):
    floor = 1e-6
  assert actual.shape == expected.shape, name
  assert actual.dtype == expected.dtype, name
  largest = np.abs(expected).max() if expected.size else 0.0
  np.testing.assert_allclose(
      actual, expected, rtol=0, atol=1e-5 * largest + floor, err_msg=name)


def ancestors(ops):
  """Returns the ops and all that they need, as a set."""
  found, todo = set(), list(ops)
  while todo:
    op = todo.pop()
    if op not in found:
      found.add(op)
      todo.extend([tensor.op for tensor in op.inputs])
      todo.extend(op.control_inputs)
  return found
