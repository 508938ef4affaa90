"""The house rules that a machine can check."""

import ast
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODULES = sorted(
    name[:-3] for name in os.listdir(ROOT)
    if name.endswith(".py") and not name.startswith("setup_env"))
# What a process that builds examples loads.
WITHOUT_TENSORFLOW = ("corpus", "create_pretraining_data", "example_stream",
                      "example_worker", "file_io", "preflight",
                      "random_draws", "tokenization")


def tree_of(module):
  with open(os.path.join(ROOT, module + ".py"), encoding="utf-8") as stream:
    return ast.parse(stream.read())


def imports_of(module):
  """Returns all modules that a module imports, anywhere in it."""
  found = set()
  for node in ast.walk(tree_of(module)):
    if isinstance(node, ast.Import):
      found.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      found.add(node.module)
  return found


def test_the_expected_modules_are_there():
  assert {"run_pretraining_e2e", "create_pretraining_data", "modeling",
          "optimization", "tokenization"} < set(MODULES)
  assert set(WITHOUT_TENSORFLOW) < set(MODULES)


def test_imports_run_one_way_as_the_readme_says():
  """Each module imports only those above it in the README's table."""
  with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as stream:
    table = stream.read().split("\n## Architecture\n")[1].split("\n## ")[0]
  rooms = [name for line in table.splitlines() if line.startswith("| `")
           for name in re.findall(r"`(\w+)\.py`", line.split("|")[1])]
  assert set(MODULES) == set(rooms) - {"setup_env"}
  for i, module in enumerate(rooms):
    if module != "setup_env":
      assert imports_of(module) & set(MODULES) <= set(rooms[:i]), module


def test_libraries_know_nothing_of_what_is_above_them():
  assert not imports_of("corpus") & {"tokenization", "create_pretraining_data"}
  assert not imports_of("create_pretraining_data") & {"example_stream"}
  assert not imports_of("tokenization") & {"corpus"}
  assert not imports_of("modeling") & {"corpus", "tokenization", "engine"}
  assert not imports_of("optimization") & set(MODULES)
  assert not imports_of("engine") & {"corpus", "example_stream", "modeling"}


@pytest.mark.parametrize("module", WITHOUT_TENSORFLOW)
def test_what_workers_load_is_free_of_tensorflow(module):
  """And of what takes long to load: a worker's start is waited for."""
  code = ("import sys, %s; loaded = sorted(m for m in sys.modules if "
          "m.startswith(('tensorflow', 'numpy', 'google.protobuf', 'absl'))); "
          "sys.exit(' '.join(loaded) or 0)" % module)
  result = subprocess.run([sys.executable, "-c", code], cwd=ROOT,
                          stderr=subprocess.PIPE, check=False)
  assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", MODULES)
def test_tensorflow_is_used_by_its_stable_name(module):
  """compat.v1 on both runtimes; no contrib, which TensorFlow 2 lacks."""
  names = {n for n in imports_of(module) if n.split(".")[0] == "tensorflow"}
  # runtime.py looks at the version before anything else is imported.
  expected = {"tensorflow"} if module == "runtime" else {
      "tensorflow.compat.v1"}
  assert names <= expected
  attributes = {n.attr for n in ast.walk(tree_of(module))
                if isinstance(n, ast.Attribute)}
  assert "contrib" not in attributes


@pytest.mark.parametrize("module", MODULES)
def test_random_draws_come_from_an_rng_that_was_passed(module):
  """No module draws from the shared state of `random`."""
  for node in ast.walk(tree_of(module)):
    if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        and node.value.id == "random"):
      assert node.attr == "Random"


@pytest.mark.parametrize("module", MODULES)
def test_input_is_not_checked_by_assert(module):
  assert not [n for n in ast.walk(tree_of(module)) if isinstance(n, ast.Assert)]


@pytest.mark.parametrize("module", MODULES)
def test_flags_are_read_in_programs_only(module):
  """`flags.FLAGS` stands in `main` and nowhere else."""
  tree = tree_of(module)
  mains = [n for n in tree.body
           if isinstance(n, ast.FunctionDef) and n.name == "main"]
  inside = {id(n) for main in mains for n in ast.walk(main)}
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and node.attr == "FLAGS":
      assert id(node) in inside, "line %d" % node.lineno


def test_both_programs_import_together():
  """In the reference both define flags at import, so this fails there."""
  code = ("import create_pretraining_data, run_pretraining_e2e as e; "
          "e.define_flags()")
  subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
