"""The documentation: its commands run, and what it names exists.

Every fenced `bash` and `python` block of README.md and docs/ is run, unless an
HTML comment before it, `<!-- not run: reason -->`, says why it cannot be. The
blocks of a page run in order, in a directory that holds a small corpus,
vocabulary and model under the names that the documentation uses. A block after
the comment `<!-- file: name -->` is a file there instead. `python` is a
wrapper there that appends flags which keep training short.
"""

import json
import os
import pathlib
import random
import re
import shutil
import subprocess
from typing import List, NamedTuple, Optional

import forked_programs
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import modeling

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Not run, but what they name has to exist as well.
MORE_PAGES = [ROOT / "README.zh.md", ROOT / "CONTRIBUTING.md",
              ROOT / "CHANGELOG.md"]
MAX_README_BYTES = 9000
PROGRAMS = ("run_pretraining_e2e.py", "create_pretraining_data.py",
            "show_examples.py", "convert_checkpoint.py",
            "extend_vocabulary.py")
# Directories whose programs define their options by argparse.
ARGPARSE_SOURCES = ("benchmarks", "demo", "scripts")
# The beginnings of TensorBoard's, SLURM's and Docker's.
OTHERS_FLAGS = {"logdir", "cpus", "distribution", "gpus", "job", "kill",
                "nodes", "ntasks", "rm", "signal", "time", "line_by_line"}
# Paths that the project's commands create.
CREATED = ("demo/out", "demo/corpus", "demo/model")

WORDS = ["word%d" % i for i in range(40)]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS
CONFIG = {
    "vocab_size": len(VOCAB), "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 32, "type_vocab_size": 2,
}
# The last value of a flag counts.
TRAINING_FLAGS = ("--max_seq_length=16 --max_predictions_per_seq=3 "
                  "--train_batch_size=8 --max_eval_steps=1 --num_workers=1")
WRAPPER = """#!/bin/sh
script=$1
shift
if [ "$script" = run_pretraining_e2e.py ]; then
  case " $*" in
    *--stages=*) ;;
    *--init_checkpoint=extended*)
      set -- "$@" %(flags)s --num_train_epochs=0.1 --num_head_steps=1 ;;
    *--num_train_epochs=*) set -- "$@" %(flags)s --num_train_epochs=0.1 ;;
    *) set -- "$@" %(flags)s --num_train_steps=2 ;;
  esac
  case " $*" in
    *--sweep_weights=*) set -- "$@" --sweep_weights=0.5 ;;
  esac
fi
exec "%(python)s" "%(root)s/$script" "$@"
"""
# What the commands of a page are documented to write.
WRITTEN = {
    "README.md": (
        "out/eval_results.txt", "out/model.ckpt-2.index", "out_hf/report.html",
        "out_hf/training_plan.json", "result/tf/bert_model.ckpt.index",
        "result/hf/config.json"),
    "checkpoints.md": (
        "for_transformers/config.json", "bert/bert_model.ckpt.index",
        "bert/vocab.txt", "bert/bert_config.json",
        "for_serving/saved_model.pb", "out/weight_sweep.jsonl",
        "result/hf/average.json", "averaged/average.json"),
    "data.md": ("out_preflight/preflight.json", "examples.tfrecord"),
    "mixtures.md": ("out_replay/stream_windows.text1.txt",
                    "out_mixture/model.ckpt-2.index"),
    "packing.md": ("out_packed/stream.json",),
    "strategy.md": ("out/stream.json",),
    "vocabulary.md": (
        "extended/new_tokens.json", "extended/bert_model.ckpt.index",
        "words.tsv", "extended_hf/model.safetensors",
        "out_vocabulary/head_steps.json", "out_vocabulary/eval_results.txt",
        "result/hf/vocab.txt"),
    "training.md": (
        "out/best/checkpoint", "out/evaluations.jsonl", "out/preflight.json",
        "out/report.html", "out/runs.jsonl", "out/train.log",
        "out/training_plan.json", "out/stream.json", "out/stream_windows.txt",
        "out_stages/model.ckpt-4.index",
        "out/eval_results.txt", "result/tf/bert_config.json",
        "result/hf/model.safetensors"),
}

_FENCE = re.compile(r"^```(\w*)\s*$")
_NOT_RUN = re.compile(r"^<!-- not run: (\S.*) -->$")
_FILE = re.compile(r"^<!-- file: (\S+) -->$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
_FLAG = re.compile(r"(?<![\w-])--([a-z]\w*)")
_INLINE_CODE = re.compile(r"`([^`\n]+)`")
_MAKE = re.compile(r"(?:^|[`\s])make ([a-z][a-z-]+)")
_PATH = re.compile(r"(?:benchmarks|bert_e2e|demo|docs|scripts|tests)/[\w./-]*$")


class Block(NamedTuple):
  """A fenced block.

  Attributes:
    page: str, the file's name; line: int, of its opening fence, from 1.
    language: str.
    code: str.
    not_run: str, the stated reason; None for a block that is to run.
    file: str, the name of the file that the block is; None for others.
  """
  page: str
  line: int
  language: str
  code: str
  not_run: Optional[str]
  file: Optional[str]

  def __str__(self):
    return "%s:%d\n%s" % (self.page, self.line, self.code)


def blocks_of(page) -> List[Block]:
  """Returns the fenced blocks of a page."""
  found = []
  lines = page.read_text(encoding="utf-8").splitlines()
  start = None
  for number, line in enumerate(lines):
    fence = _FENCE.match(line)
    if start is None and fence:
      start, language = number, fence.group(1)
    elif start is not None and line.rstrip() == "```":
      above = lines[start - 1] if start else ""
      reason, file = _NOT_RUN.match(above), _FILE.match(above)
      found.append(Block(
          page.name, start + 1, language,
          "".join(line + "\n" for line in lines[start + 1:number]),
          reason.group(1) if reason else None,
          file.group(1) if file else None))
      start = None
  assert start is None, "%s: the fence on line %d is not closed" % (
      page.name, start + 1)
  return found


def prose_of(page):
  """Returns a page's text without fenced blocks."""
  return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"),
                flags=re.M | re.S)


def anchors_of(page):
  """Returns the anchors that GitHub gives a page's headings."""
  titles = re.findall(r"^#+ (.+)$", prose_of(page), flags=re.M)
  return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
          for title in titles}


def name_of(page):
  return page.name


# ------------------------------------------------------- what the pages name


def test_the_readme_is_short():
  assert len((ROOT / "README.md").read_bytes()) <= MAX_README_BYTES


@pytest.mark.parametrize("page", PAGES + MORE_PAGES, ids=name_of)
def test_blocks_name_their_language_and_reasons_belong_to_blocks(page):
  blocks = blocks_of(page)
  for block in blocks:
    assert block.language in ("bash", "python", "text"), str(block)
  reasons = re.findall(r"^<!-- *not run", prose_of(page), flags=re.M)
  assert len(reasons) == sum(block.not_run is not None for block in blocks)


def test_the_pages_have_blocks_of_both_languages_to_run():
  languages = [block.language for page in PAGES for block in blocks_of(page)
               if block.not_run is None]
  assert languages.count("bash") >= 7
  assert languages.count("python") >= 2


@pytest.mark.parametrize("page", PAGES + MORE_PAGES, ids=name_of)
def test_relative_links_resolve(page):
  prose = _INLINE_CODE.sub("", prose_of(page))
  for path, anchor in _LINK.findall(prose):
    if re.match(r"[a-z]+:", path):
      continue
    target = page.parent / path if path else page
    assert target.exists(), path
    if anchor:
      assert anchor in anchors_of(target), "%s#%s" % (path, anchor)


def test_every_page_of_docs_is_linked_from_the_readme():
  linked = {path for path, _ in _LINK.findall(prose_of(ROOT / "README.md"))}
  assert {"docs/" + page.name for page in PAGES[1:]} <= linked


@pytest.fixture(scope="module")
def known_flags():
  """The names of all flags that the programs define."""
  names = set()
  for name in PROGRAMS:
    said = forked_programs.run([str(ROOT / name), "--helpfull"]).stdout
    found = re.findall(r"^ +(?:-\w,)?--(\[no\])?(\w+)", said, flags=re.M)
    assert "--input" in said, said
    names.update(name for _, name in found)
    names.update("no" + name for negated, name in found if negated)
  for folder in ARGPARSE_SOURCES:
    for path in (ROOT / folder).glob("*.py"):
      names.update(re.findall(r'add_argument\(\s*"--(\w+)"',
                              path.read_text(encoding="utf-8")))
  return names


@pytest.mark.parametrize("page", PAGES + MORE_PAGES, ids=name_of)
def test_flags_exist(page, known_flags):
  named = set(_FLAG.findall(page.read_text(encoding="utf-8")))
  assert not named - known_flags - OTHERS_FLAGS


@pytest.mark.parametrize("page", PAGES + MORE_PAGES, ids=name_of)
def test_make_targets_and_paths_exist(page):
  makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
  targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.M))
  spans = _INLINE_CODE.findall(prose_of(page))
  code = "\n".join(spans + [block.code for block in blocks_of(page)
                            if block.language == "bash"])
  assert not set(_MAKE.findall(code)) - targets
  for path in filter(_PATH.match, spans):
    assert path.startswith(CREATED) or (ROOT / path).exists(), path


def test_the_chinese_readme_shows_the_same_commands():
  page = ROOT / "README.zh.md"
  assert len(page.read_bytes()) <= MAX_README_BYTES
  english, chinese = (
      [(block.language, block.code) for block in blocks_of(readme)]
      for readme in (ROOT / "README.md", page))
  assert english == chinese


# ------------------------------------------------------------ the blocks, run


def write_text(path, seed, num_documents):
  """Writes documents of four sentences of five words."""
  rng = random.Random(seed)
  path.write_text("\n\n".join(
      "\n".join(" ".join(rng.choice(WORDS) for _ in range(5))
                for _ in range(4))
      for _ in range(num_documents)) + "\n")


def write_checkpoint(prefix):
  """Writes a model as Google's pretraining saves it, of small random numbers.
  """
  rng = np.random.RandomState(1)
  shapes = modeling.variable_shapes(modeling.BertConfig.from_dict(CONFIG))
  with tf.Graph().as_default(), tf.Session() as session:
    for name, shape in shapes.items():
      tf.get_variable(name, initializer=rng.normal(
          scale=0.02, size=shape).astype(np.float32))
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, str(prefix), write_meta_graph=False)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
  """A directory with the files that the documentation's commands read."""
  folder = tmp_path_factory.mktemp("inputs")
  (folder / "corpus").mkdir()
  write_text(folder / "corpus" / "part-1.txt", 1, 30)
  write_text(folder / "corpus" / "part-2.txt", 2, 30)
  write_text(folder / "held_out.txt", 3, 9)
  write_text(folder / "general.txt", 4, 9)
  write_text(folder / "old.txt", 5, 20)
  (folder / "domain").mkdir()
  for source, copy in (
      ("tests/golden/examples/text/python_1.txt", "domain/1.txt"),
      ("tests/golden/examples/text/python_2.txt", "domain/2.txt"),
      ("LICENSE", "domain_held_out.txt")):
    shutil.copy(str(ROOT / source), str(folder / copy))
  (folder / "articles.jsonl").write_text("".join(
      json.dumps({"id": i, "body": " ".join(WORDS[i:i + 5])}) + "\n"
      for i in range(9)))
  for name in ("task_train.tsv", "task_eval.tsv"):
    (folder / name).write_text("".join(
        "label%d\t%s\n" % (i % 2, " ".join([WORDS[i], name[5:7]]))
        for i in range(20)))
  (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
  (folder / "bert_config.json").write_text(json.dumps(CONFIG))
  write_checkpoint(folder / "bert_model.ckpt")
  run = forked_programs.run([
      str(ROOT / "convert_checkpoint.py"), "--do_lower_case",
      "--input=" + str(folder / "bert_model.ckpt"),
      "--output_hf=" + str(folder / "hf_model")])
  assert run.returncode == 0, run.stdout
  (folder / "checkpoint").unlink()
  return folder


@pytest.fixture
def workspace(inputs, tmp_path):
  """A copy of `inputs` with the wrapper `python` in bin/."""
  folder = tmp_path / "workspace"
  shutil.copytree(str(inputs), str(folder))
  (folder / "bin").mkdir()
  wrapper = folder / "bin" / "python"
  wrapper.write_text(WRAPPER % {
      "flags": TRAINING_FLAGS, "python": forked_programs.python(),
      "root": ROOT})
  wrapper.chmod(0o755)
  return folder


def run(command, workspace, blocks):
  """Runs a command in the workspace; shows the blocks if it fails."""
  environment = dict(
      os.environ, PYTHONPATH=str(ROOT), TMPDIR=str(workspace.parent),
      PATH="%s%s%s" % (workspace / "bin", os.pathsep, os.environ["PATH"]))
  environment.pop("TF_CONFIG", None)
  result = subprocess.run(
      command, cwd=str(workspace), env=environment, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, universal_newlines=True, check=False)
  assert result.returncode == 0, "%s\n%s" % (
      "\n".join(map(str, blocks)), result.stdout)
  assert "Traceback" not in result.stdout


def run_python(blocks, workspace, monkeypatch):
  """Runs Python blocks as one program in the workspace."""
  program = workspace / "blocks.py"
  program.write_text("".join(block.code for block in blocks))
  monkeypatch.chdir(workspace)
  result = forked_programs.run([str(program)])
  assert result.returncode == 0, "%s\n%s" % (
      "\n".join(map(str, blocks)), result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("page", [
    page for page in PAGES
    if any(block.language != "text" and block.not_run is None
           for block in blocks_of(page))], ids=name_of)
def test_blocks_run(page, workspace, monkeypatch):
  """Of Python blocks the later ones use names of the earlier ones."""
  blocks = [block for block in blocks_of(page) if block.not_run is None]
  for block in blocks:
    if block.file:
      (workspace / block.file).write_text(block.code)
  blocks = [block for block in blocks if not block.file]
  for block in blocks:
    if block.language == "bash":
      run(["bash", "-euo", "pipefail", "-c", block.code], workspace, [block])
  python = [block for block in blocks if block.language == "python"]
  if python:
    run_python(python, workspace, monkeypatch)
  for path in WRITTEN[page.name]:
    assert (workspace / path).exists(), path
