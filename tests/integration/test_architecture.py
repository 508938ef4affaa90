"""The rules of the code base that a machine can check."""

import ast
import importlib
import os
import subprocess
import sys

import forked_programs
import pytest
from program import ROOT

LAYERS_FILE = os.path.join(ROOT, "bert_e2e", "layers.txt")
DIRECTORIES = ("", "bert_e2e", "scripts", "demo", "benchmarks")
# The package's directories that worker processes import from.
IN_WORKERS = ("bert_e2e.data",)
MAX_LINES, MAX_METHODS = 60, 20
# Longer for their docstrings, which state the shape of every tensor, or for the
# long list of arguments that they document.
LONG_FUNCTIONS = {
    "bert_e2e.data.text_source.take_write_2_flow", "modeling.__init__",
    "modeling.attention_layer",
    "modeling.transformer_model"}
DROP_IN_MODULES = {"run_pretraining_e2e", "create_pretraining_data", "modeling",
                   "optimization", "tokenization"}

# What users may import of these modules, as of the first release.
PUBLIC_NAMES = {
    "convert_checkpoint": """
        CHECKPOINT CONFIG_FILE OUTPUT_FILES Source VOCAB_FILE check_export
        check_outputs export find_checkpoint main read read_checkpoint
        write_checkpoint
    """,
    "create_pretraining_data": """
        Document ExampleSerializer FLOAT_LIST INT64_LIST InstanceOptions
        MIN_SEQ_LENGTH Pieces ReferenceDraws SPECIAL_TOKENS TrainingInstance
        check_no_arguments check_vocabulary create_instance_to_example_files
        create_instances_from_document create_masked_lm_predictions
        create_training_instances define_instance_flags documents_of_files
        examples_from_text group_documents id_pieces instances_from_documents
        logger main options_from_flags packing_tokenizer text_pieces
        truncate_seq_pair write_instance_to_example_files
    """,
    "modeling": """
        BertConfig BertModel DropoutSeeds assert_rank attention_layer
        check_config create_attention_mask_from_input_mask create_initializer
        dense dropout embedding_lookup embedding_postprocessor gather_indexes
        gelu gelu_erf get_activation get_assignment_map_from_checkpoint
        get_masked_lm_output get_next_sentence_output get_shape_list is_number
        layer_norm layer_norm_and_dropout masked_lm_logits masked_lm_loss
        reshape_from_matrix reshape_to_matrix transformer_model
        variable_shapes
    """,
    "optimization": """
        AdamWeightDecayOptimizer DECAYS LEARNING_RATE LambOptimizer OPTIMIZERS
        Update create_optimizer create_update describe_learning_rate
        learning_rate_at sum_gradients
    """,
    "run_pretraining_e2e": """
        Flow INPUT_ERRORS InputError create_instance_to_example_files
        define_flags gather_indexes get_masked_lm_output
        get_next_sentence_output input_fn_builder logger main model_fn_builder
        take_write_2_flow
    """,
    "show_examples": """
        examples_at main parse_example show
    """,
    "tokenization": """
        BasicTokenizer FullTokenizer WordpieceTokenizer convert_by_vocab
        convert_ids_to_tokens convert_to_unicode convert_tokens_to_ids
        load_vocab printable_text read_vocabulary
        validate_case_matches_checkpoint whitespace_tokenize
    """,
}


def find_modules():
  """Returns {dotted name: path} of the project's own modules."""
  found = {}
  for top in DIRECTORIES:
    for where, directories, names in os.walk(os.path.join(ROOT, top)):
      if not top:
        directories[:] = []
      for name in names:
        if name.endswith(".py"):
          path = os.path.relpath(os.path.join(where, name), ROOT)
          found[path[:-3].replace(os.sep, ".").replace(".__init__", "")] = path
  return found


MODULES = find_modules()
PRODUCT = sorted(name for name in MODULES
                 if not name.startswith(("demo", "benchmarks")))


def tree_of(module):
  with open(os.path.join(ROOT, MODULES[module]), encoding="utf-8") as stream:
    return ast.parse(stream.read())


def imports_of(module):
  """Returns the names of all modules that a module imports, anywhere in it."""
  found = set()
  for node in ast.walk(tree_of(module)):
    if isinstance(node, ast.Import):
      found.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, "%s: relative import" % module
      for alias in node.names:
        name = "%s.%s" % (node.module, alias.name)
        found.add(name if name in MODULES else node.module)
  return found


def read_layers():
  """Returns the layers of layers.txt: a list of sets of modules."""
  layers = []
  with open(LAYERS_FILE, encoding="utf-8") as stream:
    for line in stream:
      if line.startswith("#"):
        continue
      layer = set()
      for entry in line.split():
        dotted = entry.rstrip("/").replace("/", ".")
        names = {name for name in MODULES if name == dotted or (
            entry.endswith("/") and name.startswith(dotted + "."))}
        assert names, "layers.txt: there is no %s" % entry
        layer |= names
      layers.append(layer)
  return layers


def test_the_drop_in_modules_are_at_the_top():
  assert DROP_IN_MODULES < set(MODULES)


def test_imports_run_one_way():
  layers = read_layers()
  named = set().union(*layers)
  assert sum(map(len, layers)) == len(named), "a module is in two layers"
  assert named == set(MODULES) - {"bert_e2e"}, "layers.txt is incomplete"
  for number, layer in enumerate(layers):
    allowed = set().union(*layers[:number + 1])
    for module in layer:
      upward = (imports_of(module) & set(MODULES)) - allowed - {"bert_e2e"}
      assert not upward, "%s imports %s" % (module, sorted(upward))


def test_no_import_cycles():
  """Not within a layer either."""
  graph = {module: imports_of(module) & set(MODULES) for module in MODULES}
  while graph:
    leaves = [module for module, used in graph.items()
              if not used & set(graph) - {module}]
    assert leaves, "a cycle among %s" % sorted(graph)
    for module in leaves:
      del graph[module]


@pytest.mark.parametrize("package", [
    "common", "data", "checkpoints", "training", "reporting", ""])
def test_package_initializers_are_empty(package):
  """Worker processes import them."""
  path = os.path.join(ROOT, "bert_e2e", package, "__init__.py")
  assert os.path.getsize(path) == 0


def loaded_by(statement):
  """Returns which heavy packages a fresh interpreter loads for a statement."""
  code = ("%s; import sys; print(' '.join(sorted(m for m in sys.modules if "
          "m.startswith(('tensorflow', 'numpy', 'google.protobuf', 'absl')))))"
          % statement)
  return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True,
                        stdout=subprocess.PIPE).stdout.decode().split()


@pytest.mark.parametrize("statement", [
    "import " + ", ".join(sorted(
        module for module in PRODUCT if module.startswith(IN_WORKERS))),
    "import tokenization",
], ids=["data", "tokenization"])
def test_what_workers_load_is_free_of_tensorflow(statement):
  """And of everything else that takes long to load."""
  assert not loaded_by(statement)


def test_data_modules_import_nothing_heavy_even_in_functions():
  heavy = {"tensorflow", "numpy", "absl", "google"}
  for module in PRODUCT:
    if module.startswith(IN_WORKERS):
      assert not {name.split(".")[0] for name in imports_of(module)} & heavy


@pytest.mark.parametrize("module", PRODUCT)
def test_tensorflow_is_used_by_its_stable_name(module):
  """compat.v1 on both runtimes; no contrib, which TensorFlow 2 lacks."""
  names = {n for n in imports_of(module) if n.split(".")[0] == "tensorflow"}
  # This one checks the version before anything else is imported.
  expected = {"tensorflow"} if module.endswith("tensorflow_setup") else {
      "tensorflow.compat.v1"}
  assert names <= expected
  attributes = {n.attr for n in ast.walk(tree_of(module))
                if isinstance(n, ast.Attribute)}
  assert "contrib" not in attributes


@pytest.mark.parametrize("module", PRODUCT)
def test_random_numbers_come_from_a_generator_that_was_passed(module):
  """No module uses the shared state of `random`."""
  for node in ast.walk(tree_of(module)):
    if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        and node.value.id == "random"):
      assert node.attr == "Random"


@pytest.mark.parametrize("module", PRODUCT)
def test_input_is_not_checked_by_assert(module):
  assert not [n for n in ast.walk(tree_of(module)) if isinstance(n, ast.Assert)]


@pytest.mark.parametrize("module", PRODUCT)
def test_flags_are_read_in_programs_only(module):
  """`flags.FLAGS` is used in `main`, and where a command line is parsed."""
  tree = tree_of(module)
  allowed = "_parse" if module == "bert_e2e.flags" else "main"
  mains = [n for n in tree.body
           if isinstance(n, ast.FunctionDef) and n.name == allowed]
  inside = {id(n) for main in mains for n in ast.walk(main)}
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and node.attr == "FLAGS":
      assert id(node) in inside, "line %d" % node.lineno


def size_of(function):
  """Returns the number of lines of a function, its docstring included."""
  lines = [node.lineno for node in ast.walk(function)
           if hasattr(node, "lineno")]
  return max(lines) - function.lineno + 1


def test_functions_fit_on_a_screen():
  long = {}
  for module in PRODUCT:
    for node in ast.walk(tree_of(module)):
      if isinstance(node, ast.FunctionDef) and size_of(node) > MAX_LINES:
        long["%s.%s" % (module, node.name)] = size_of(node)
  assert set(long) == LONG_FUNCTIONS, long


def test_classes_have_few_methods():
  for module in PRODUCT:
    for node in ast.walk(tree_of(module)):
      if isinstance(node, ast.ClassDef):
        methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
        assert len(methods) <= MAX_METHODS, (module, node.name)


def test_the_architecture_page_names_every_module():
  path = os.path.join(ROOT, "docs", "architecture.md")
  with open(path, encoding="utf-8") as stream:
    text = stream.read()
  missing = [path for module, path in sorted(MODULES.items())
             if module in PRODUCT and not path.endswith("__init__.py")
             and "`%s`" % os.path.basename(path) not in text]
  assert not missing


@pytest.mark.parametrize("module", sorted(PUBLIC_NAMES))
def test_public_names_stay_where_they_are(module):
  found = importlib.import_module(module)
  assert not [n for n in PUBLIC_NAMES[module].split() if not hasattr(found, n)]


def test_both_programs_import_together(tmp_path):
  """In the reference both define flags at import, so this fails there."""
  script = tmp_path / "script.py"
  script.write_text("import create_pretraining_data, run_pretraining_e2e as e\n"
                    "e.define_flags()\n")
  run = forked_programs.run([str(script)])
  assert run.returncode == 0, run.stdout
