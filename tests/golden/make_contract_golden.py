"""Records the names, signatures and flags of google-research/bert.

  python tests/golden/make_contract_golden.py <checkout> <output file>

The source is parsed, not imported, so any Python can run this. The result is an
object with two keys:

  modules: module -> {name -> signature}, for functions, classes (of their
    constructor), methods ("Class.method") and named tuples
  flags: program -> {name -> [type, default]}

A signature is a list of [parameter, default]. A default is a literal, or
{"name": ...} for an object of the module; a parameter without one is
[parameter]. Names that start with "_" are left out, but for those in PRIVATE.
"""

import ast
import json
import os
import sys

MODULES = ("modeling", "optimization", "tokenization",
           "create_pretraining_data", "run_pretraining")
PROGRAMS = ("create_pretraining_data", "run_pretraining")
# Private names that other projects import all the same.
PRIVATE = {"_is_whitespace", "_is_control", "_is_punctuation"}


def is_recorded(name):
  return not name.startswith("_") or name in PRIVATE


def default_of(node):
  """Returns the JSON value of a default's expression."""
  try:
    return ast.literal_eval(node)
  except ValueError:
    assert isinstance(node, ast.Name), ast.dump(node)
    return {"name": node.id}


def signature(function, is_method):
  """Returns the signature of an ast.FunctionDef, without `self` or `cls`."""
  arguments = function.args
  names = [argument.arg for argument in arguments.args]
  defaults = [[default_of(node)] for node in arguments.defaults]
  defaults = [[]] * (len(names) - len(defaults)) + defaults
  found = [[name] + default for name, default in zip(names, defaults)]
  is_static = any(getattr(node, "id", None) == "staticmethod"
                  for node in function.decorator_list)
  return found[1:] if is_method and not is_static else found


def named_tuple(node):
  """Returns (name, signature) of an assigned namedtuple, or None."""
  if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and
          getattr(node.value.func, "attr", None) == "namedtuple"):
    return None
  name, fields = [ast.literal_eval(value) for value in node.value.args]
  return name, [[field] for field in fields]


def names_of(tree):
  """Returns name -> signature of a module's public definitions."""
  found = {}
  for node in tree.body:
    if isinstance(node, ast.FunctionDef):
      found[node.name] = signature(node, is_method=False)
    elif isinstance(node, ast.ClassDef):
      found[node.name] = []
      for method in node.body:
        if isinstance(method, ast.FunctionDef):
          if method.name == "__init__":
            found[node.name] = signature(method, is_method=True)
          elif is_recorded(method.name):
            found["%s.%s" % (node.name, method.name)] = signature(
                method, is_method=True)
    elif named_tuple(node):
      name, fields = named_tuple(node)
      found[name] = fields
  return {name: found[name] for name in found if is_recorded(name)}


def flags_of(tree):
  """Returns name -> [type, default] of a program's flags."""
  found = {}
  for node in ast.walk(tree):
    if not isinstance(node, ast.Call):
      continue
    kind = getattr(node.func, "attr", "")
    if kind.startswith("DEFINE_"):
      name, default = [ast.literal_eval(value) for value in node.args[:2]]
      kind = kind[len("DEFINE_"):]
      found[name] = [{"bool": "boolean"}.get(kind, kind), default]
  return found


def main(checkout, output_file):
  trees = {}
  for module in MODULES:
    with open(os.path.join(checkout, module + ".py"), encoding="utf-8") as f:
      trees[module] = ast.parse(f.read())
  contract = {
      "modules": {module: names_of(trees[module]) for module in MODULES},
      "flags": {program: flags_of(trees[program]) for program in PROGRAMS}}
  with open(output_file, "w", encoding="utf-8") as f:
    json.dump(contract, f, indent=1, sort_keys=True)
    f.write("\n")


if __name__ == "__main__":
  main(*sys.argv[1:])
