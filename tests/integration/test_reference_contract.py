"""Names, signatures and flags of google-research/bert stay as they are there.

tests/golden/contract.json describes them. With the environment variable
BERT_REFERENCE naming a checkout, the description is made anew from it, and the
reference's own tests run against our modules, under TensorFlow 1.15.
"""

import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys

import pytest
import tensorflow.compat.v1 as tf
from program import ROOT

from tests.golden import make_contract_golden

GOLDEN_FILE = os.path.join(
    os.path.dirname(make_contract_golden.__file__), "contract.json")
with open(GOLDEN_FILE, encoding="utf-8") as stream:
  CONTRACT = json.load(stream)
# Where the names of the reference's modules are.
MODULES = {"run_pretraining": "run_pretraining_e2e"}
NAMES = [(module, name) for module, names in CONTRACT["modules"].items()
         for name in names]


def reference_checkout():
  """Returns the path in BERT_REFERENCE, or skips the test."""
  checkout = os.environ.get("BERT_REFERENCE")
  if not checkout:
    pytest.skip("BERT_REFERENCE names no checkout of google-research/bert")
  return checkout


def our_object(module, name):
  """Returns our object of a recorded name."""
  found = importlib.import_module(MODULES.get(module, module))
  for part in name.split("."):
    found = getattr(found, part)
  return found


def parameters_of(function, is_method):
  """Returns the inspect.Parameters, without `self` of a class's method."""
  found = list(inspect.signature(function).parameters.values())
  return found[1:] if is_method and inspect.isfunction(function) else found


def check_signature(function, recorded, is_method=False):
  """Fails unless calls that fit to a recorded signature mean the same.

  Args:
    function: function, method or class.
    recorded: list of [name] or [name, default].
    is_method: bool, the function was taken from its class.
  """
  parameters = parameters_of(function, is_method)
  positional, added = parameters[:len(recorded)], parameters[len(recorded):]
  for parameter, (name, *default) in zip(positional, recorded):
    assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    assert name.startswith("_") or parameter.name == name
    if not default:
      assert parameter.default is parameter.empty
    elif isinstance(default[0], dict):
      assert parameter.default.__name__ == default[0]["name"]
    else:
      assert parameter.default == default[0]
      assert type(parameter.default) is type(default[0])
  assert len(positional) == len(recorded)
  for parameter in added:
    assert parameter.kind is parameter.VAR_KEYWORD or (
        parameter.kind is parameter.KEYWORD_ONLY and
        parameter.default is not parameter.empty), parameter


@pytest.mark.parametrize("module, name", NAMES)
def test_signature(module, name):
  check_signature(our_object(module, name), CONTRACT["modules"][module][name],
                  is_method="." in name)


@pytest.mark.parametrize("function", [
    lambda a, c=1: None,  # Another name.
    lambda a, b=2: None,  # Another default.
    lambda a, b=True: None,  # Of another type.
    lambda b=1, a=0: None,  # Another order.
    lambda a: None,  # Missing.
    lambda a, b=1, c=2: None,  # More positions.
])
def test_a_changed_signature_is_found(function):
  check_signature(lambda a, b=1, *, c=2: None, [["a"], ["b", 1]])
  with pytest.raises(AssertionError):
    check_signature(function, [["a"], ["b", 1]])


DEFINE = {
    "create_pretraining_data":
        "import create_pretraining_data as p; p.define_flags()",
    "run_pretraining":
        "from bert_e2e import flags as f; f.define_all()"}
PRINT = ("; import json; from absl import flags; print(json.dumps({"
         "name: [flag.flag_type(), flag.default]"
         " for name, flag in flags.FLAGS._flags().items()}))")
FLAG_TYPES = {"boolean": "bool", "integer": "int"}


@pytest.mark.parametrize("program", make_contract_golden.PROGRAMS)
def test_flags(program):
  printed = subprocess.run(
      [sys.executable, "-c", DEFINE[program] + PRINT], check=True, cwd=ROOT,
      stdout=subprocess.PIPE).stdout
  ours = json.loads(printed.decode("utf-8"))
  for name, (kind, default) in CONTRACT["flags"][program].items():
    assert ours[name] == [FLAG_TYPES.get(kind, kind), default], name


def test_model_fn_takes_the_references_arguments():
  """Also without a config, and so without a directory for events."""
  import modeling
  import run_pretraining_e2e
  from tests.golden import make_model_golden as golden
  model_fn = run_pretraining_e2e.model_fn_builder(
      modeling.BertConfig(**golden.CONFIGS["tiny"]), None, 1e-4, 10, 1, False,
      False)
  names = list(inspect.signature(model_fn).parameters)
  assert names[:4] == ["features", "labels", "mode", "params"]
  with tf.Graph().as_default():
    features = {name: tf.constant(value) for name, value in golden.batch(
        golden.CONFIGS["tiny"], 1).items()}
    features = {
        name: tf.cast(value, tf.int32 if value.dtype.is_integer else tf.float32)
        for name, value in features.items()}
    spec = model_fn(features, None, tf.estimator.ModeKeys.TRAIN,
                    {"batch_size": 4})
    assert spec.loss.shape.as_list() == []


def test_features():
  import create_pretraining_data as cpd
  feature = cpd.create_int_feature(iter([3, 1]))
  assert list(feature.int64_list.value) == [3, 1]
  feature = cpd.create_float_feature([0.5, 2])
  assert list(feature.float_list.value) == [0.5, 2.0]


# ------------------------------------------------------ with a live checkout


def test_the_description_is_that_of_the_checkout(tmp_path):
  path = str(tmp_path / "contract.json")
  make_contract_golden.main(reference_checkout(), path)
  with open(path, encoding="utf-8") as made:
    assert json.load(made) == CONTRACT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["modeling", "optimization", "tokenization"])
def test_the_references_own_tests_pass(tmp_path, name):
  checkout = reference_checkout()
  if not tf.__version__.startswith("1.15"):
    pytest.skip("the reference's tests run under TensorFlow 1.15 only")
  # A copy, as Python would import the modules beside the file.
  shutil.copy(os.path.join(checkout, name + "_test.py"), str(tmp_path))
  done = subprocess.run(
      [sys.executable, str(tmp_path / (name + "_test.py"))],
      env=dict(os.environ, PYTHONPATH=ROOT), stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, check=False)
  output = done.stdout.decode("utf-8", "replace")
  assert done.returncode == 0, output[-5000:]
  assert "OK" in output.splitlines()[-1]
