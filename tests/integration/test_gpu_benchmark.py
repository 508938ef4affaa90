"""benchmarks/gpu.py, tried on a CPU with small shapes."""

import argparse
import os
import re
import subprocess
import sys
import time

import forked_programs
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from program import ROOT

FOLDER = os.path.join(ROOT, "benchmarks")
sys.path.insert(0, FOLDER)

import gpu  # noqa: E402
from on_gpu import cards, checks, inputs, rows  # noqa: E402

import modeling  # noqa: E402
from bert_e2e.common import json_files  # noqa: E402
from bert_e2e.training.model_fn import model_fn_builder  # noqa: E402

# With text and vocabulary that are made up.
SMALL = ["--models=1x8", "--lengths=16", "--vocabulary_size=300",
         "--text_bytes=30000", "--seconds=0", "--warm_up=1", "--min_steps=5",
         "--built_before=10"]
TRAINING = rows.Training("1x8", 16, "fp32", False, False, "", 4)


def run(*arguments):
  return forked_programs.run(
      [os.path.join(FOLDER, "gpu.py"), *SMALL, *arguments], subprocess.PIPE,
      forks_programs=True)


def table(output):
  """Returns the rows of the trainings, a dict from names to other cells."""
  cells = [[cell.strip() for cell in line.strip("|").split("|")]
           for line in output.splitlines() if line.startswith("| 1x8")]
  return {name: others for name, *others in cells}


# --- The rows ---


@pytest.mark.slow
def test_rows_are_printed_and_written(tmp_path):
  path = str(tmp_path / "results.jsonl")
  result = run("--results=" + path, "--precisions=fp32", "--xla=off",
               "--gradients=plain", "--batch_sizes=1x8/64:4",
               "--lengths=64", "--num_workers=1")
  assert result.returncode == 0, result.stderr
  first = result.stdout.splitlines()[0]
  assert " cores, Python " in first and ", TensorFlow " in first
  found = table(result.stdout)
  assert list(found) == [
      "1x8, length 64, fp32", "1x8, length 64, fp32, plain gradients",
      "1x8, length 64, fp32, packed"]
  for batch, rate, tokens, wait, memory, share, seconds in found.values():
    assert batch == "4"
    assert 4 * float(rate) < float(tokens.replace(",", "")) <= (
        64.1 * float(rate))
    assert 0 <= float(wait[:-2]) <= 100 and "%" in wait
    assert 0.01 < float(memory) < 100 and float(seconds) >= 0
    assert share == "unknown" or share.endswith(" %")
  assert re.search(
      r"\| building on this host, length 128, 1 worker, \d+ cores \| \d+ ",
      result.stdout)
  measured = list(json_files.read_lines(path))
  assert [row["kind"] for row in measured] == [
      "training", "building", "training", "training"]
  unpacked, packed = measured[0]["found"], measured[-1]["found"]
  assert unpacked["rows_per_second"] == pytest.approx(
      unpacked["sequences_per_second"], rel=1e-4)
  assert packed["rows_per_second"] < packed["sequences_per_second"]


@pytest.fixture
def options(tmp_path):
  """Returns options of gpu.py, and files to train on."""
  found = gpu._parser().parse_args(SMALL)
  return found, inputs.files_of(
      "", "", str(tmp_path), found.vocabulary_size, found.text_bytes)


@pytest.mark.slow
def test_what_does_not_fit_is_a_row(options, monkeypatch):
  monkeypatch.setenv("TF_CPU_BFC_MEM_LIMIT_IN_MB", "30")
  monkeypatch.setattr(sys, "executable", forked_programs.python())
  found = rows.measure(
      TRAINING._replace(model="2x64", length=128, batch_size=64), options[1],
      options[0], 300)
  assert found["result"] == rows.OUT_OF_MEMORY, found
  line = rows.to_markdown(TRAINING, found, None, "2.15.1")
  assert line == (
      "| 1x8, length 16, fp32 | 4 | out of memory | | | | | |")


DEVICE = {"card": None, "tensorflow": "2.15.1", "memory_bytes": None}
VALUES = {"result": rows.MEASURED, "sequences_per_second": 40.0,
          "real_tokens_per_second": 1234.5, "input_wait": 0.25,
          "peak_bytes": 2 * 10 ** 9, "first_step_seconds": 3.4,
          "rows_per_second": 10.0, "operations_per_row": 10 ** 11}


def test_an_interrupted_benchmark_goes_on(options, monkeypatch, capsys,
                                          tmp_path):
  settings, files = options
  vars(settings).update(
      results=str(tmp_path / "results.jsonl"), packed=[False], xla=[False],
      gradients=[], num_workers=[])
  tried = []

  def measure(training, *_):
    tried.append(training.precision)
    return dict(VALUES, result={"fp16": rows.FAILED}.get(
        training.precision, rows.MEASURED), detail="lost")

  monkeypatch.setattr(rows, "measure", measure)
  gpu.measure(settings, files, DEVICE)
  once = capsys.readouterr().out
  with open(settings.results, "a") as stream:
    stream.write('{"kind": "training", "of')  # Killed.
  gpu.measure(settings, files, DEVICE)
  assert tried == ["fp32", "fp16", "bfloat16", "fp16"]
  assert capsys.readouterr().out == once
  assert "| 1x8, length 16, fp32 | 8 | 40.0 | 1,234 | 25.0 % | 2.0" in once
  assert "| 1x8, length 16, fp16 | 8 | failed: lost | " in once
  # Rows of another card, and nothing after the time is over.
  gpu.measure(settings, files, dict(DEVICE, card="Tesla T4"))
  assert len(tried) == 7 and "| 12.3 % |" in capsys.readouterr().out
  settings.budget_seconds = 0
  gpu.measure(settings, files, dict(DEVICE, card="Tesla V100"))
  assert len(tried) == 7 and "is over" in capsys.readouterr().out


def test_half_the_batch_is_tried_next(options, monkeypatch, capsys):
  tried = []

  def measure(training, *_):
    tried.append(training.batch_size)
    return {"result": rows.FAILED if training.batch_size == 1 else
            rows.OUT_OF_MEMORY, "detail": "a | b"}

  monkeypatch.setattr(rows, "measure", measure)
  gpu.measure_training(TRAINING, options[1], options[0],
                       gpu.Results("", DEVICE), DEVICE, time.time() + 100)
  assert tried == [4, 2, 1]
  assert "| 1 | failed: a / b | " in capsys.readouterr().out
  gpu.measure_training(TRAINING, options[1], options[0],
                       gpu.Results("", DEVICE), DEVICE, time.time())
  assert len(tried) == 3


def test_what_takes_too_long_is_killed():
  code, output = rows.run(
      [sys.executable, "-c",
       "import time; print('begun', flush=True); time.sleep(600)"], 2)
  assert code is None and output in ("begun\n", "")
  assert rows._failure(code, output)["result"] == rows.TIMED_OUT
  assert rows._failure(-9, "")["detail"] == "exit code -9: no output"


def test_the_most_important_come_first():
  options = gpu._parser().parse_args([])
  found = rows.in_order(options, lambda model, length: length)
  assert len(found) == 8 * 6 + 6 and len(set(found)) == len(found)
  assert [training.name() for training in found[:6]] == [
      "base, length 128, fp32", "base, length 128, fp16",
      "base, length 128, bfloat16", "base, length 128, fp32, XLA",
      "base, length 128, fp16, XLA", "base, length 128, bfloat16, XLA"]
  assert all(training.gradients == "plain" for training in found[6:12])
  assert [training.model for training in found[12:]] == 18 * [
      "base"] + 24 * ["large"]


@pytest.mark.parametrize("length, packed, shape", [
    (128, False, (128, 20, 1)), (128, True, (128, 21, 8)),
    (512, False, (512, 80, 1)), (512, True, (512, 80, 16))])
def test_rows_of_a_batch(length, packed, shape):
  training = TRAINING._replace(length=length, packed=packed)
  assert training.row_shape() == shape
  assert "--max_predictions_per_seq=%d" % (80 if length == 512 else 20) in (
      training.flags())
  assert packed == (
      "--max_sequences_per_pack=%d" % shape[2] in training.flags())


@pytest.mark.parametrize("arguments, said", [
    (["--models=tiny"], "model 'tiny' is none of base, large"),
    (["--text=a.txt"], "--text and --vocab_file require each other"),
    (["--precisions=fp8"], "fp8: none of fp32"),
])
def test_wrong_arguments(arguments, said):
  result = run(*arguments)
  assert result.returncode == 2 and said in result.stderr


# --- Operations and peaks ---


def _products(graph):
  """Returns the operations of all matrix products of a graph."""
  total = 0
  for op in graph.get_operations():
    if op.type in ("MatMul", "BatchMatMul", "BatchMatMulV2"):
      output = op.outputs[0].shape.as_list()
      transposed = op.get_attr(
          "transpose_a" if op.type == "MatMul" else "adj_x")
      inner = op.inputs[0].shape.as_list()[-2 if transposed else -1]
      total += 2 * int(np.prod(output)) * inner
  return total


@pytest.mark.parametrize("fast, sequences", [
    (True, 1), (True, 3), pytest.param(False, 1, marks=pytest.mark.slow)])
def test_operations_are_those_of_the_graph(fast, sequences):
  shape = cards.Shape(layers=3, hidden=16, inner=40, vocabulary=70)
  batch, length, predictions = 5, 12, 4
  settings = dict(shape.config(), num_attention_heads=2)
  with tf.Graph().as_default() as graph:
    tf.train.get_or_create_global_step()
    ids = tf.ones([batch, length], tf.int32)
    masked = tf.ones([batch, predictions], tf.int32)
    labels = tf.ones([batch, sequences], tf.int32)
    packed = {"pack_ids": ids, "position_ids": ids, "cls_positions": labels,
              "next_sentence_weights": tf.ones([batch, sequences])}
    model_fn_builder(
        modeling.BertConfig(**settings), None, 1e-4, 10, 1, False, False,
        fast_gradients=fast)({
            "input_ids": ids, "input_mask": ids, "segment_ids": ids,
            "masked_lm_positions": masked, "masked_lm_ids": masked,
            "masked_lm_weights": tf.ones([batch, predictions]),
            "next_sentence_labels": labels,
            **(packed if sequences > 1 else {})},
                             None, "train", {"batch_size": batch})
  assert fast == any(op.type == "IdentityN" for op in graph.get_operations())
  # Segments are looked up by a product with 2 rows. One of its gradients is in
  # the graph, but does not run.
  segments = 3 * 2 * batch * length * 2 * shape.hidden
  assert _products(graph) == segments + batch * cards.operations_per_row(
      shape, length, predictions, sequences)


def test_operations_of_bert_base():
  """Six times the parameters of a layer and what attention adds."""
  found = cards.operations_per_row(cards.shape_of("base"), 128, 20)
  roughly = 6 * 128 * 12 * (12 * 768 ** 2 + 2 * 128 * 768)
  assert 0.9 < found / roughly < 1.05
  assert cards.shape_of("large") == cards.Shape(24, 1024, 4096)


@pytest.mark.parametrize("name, precision, version, expected", [
    ("Tesla V100-SXM2-16GB", "fp16", "1.15.0", 125),
    ("Tesla V100-SXM2-16GB", "bfloat16", "2.15.1", None),
    ("Tesla T4", "fp32", "2.15.1", 8.1),
    ("NVIDIA A100-SXM4-80GB", "fp32", "2.15.1", 156),
    ("NVIDIA A100-SXM4-80GB", "fp32", "1.15.0", 19.5),
    ("NVIDIA A10", "bfloat16", "2.15.1", 125),
    ("NVIDIA A10G", "fp16", "2.15.1", None),
    ("NVIDIA L4", "fp16", "2.15.1", 121),
    ("NVIDIA L40", "fp16", "2.15.1", None),
    ("NVIDIA GeForce RTX 3090", "fp16", "2.15.1", 71),
    ("NVIDIA GeForce RTX 3090 Ti", "fp16", "2.15.1", None),
    ("NVIDIA H100 80GB HBM3", "bfloat16", "2.15.1", 989.5),
    ("NVIDIA H100 PCIe", "bfloat16", "2.15.1", 756),
    ("NVIDIA H200", "fp16", "2.15.1", 989.5),
    (None, "fp32", "2.15.1", None),
])
def test_peaks(name, precision, version, expected):
  found = cards.peak(name, precision, version)
  assert found == (expected and expected * 1e12)


@pytest.mark.parametrize("model, length, gigabytes, expected", [
    ("base", 128, 14, 32), ("base", 512, 14, 4), ("large", 128, 14, 8),
    ("large", 512, 14, 2), ("base", 128, 77, 128), ("large", 512, 77, 8),
    ("large", 512, 1, 1), ("1x8", 16, 77, 2048), ("base", 128, None, 8),
])
def test_default_batch_sizes(model, length, gigabytes, expected):
  assert cards.default_batch_size(
      cards.shape_of(model), length,
      gigabytes and gigabytes * 2 ** 30) == expected


# --- Text that is made up ---


def test_a_text_and_its_vocabulary_are_made_up(tmp_path):
  vocab, text = str(tmp_path / "vocab.txt"), str(tmp_path / "text.txt")
  words, endings = inputs.write_vocabulary(vocab, 2000)
  with open(vocab) as stream:
    pieces = stream.read().splitlines()
  assert len(pieces) == len(set(pieces)) == 2000
  assert sum(piece.startswith("##") for piece in pieces) == 400
  inputs.write_text(text, words, endings, 20000)
  with open(text) as stream:
    content = stream.read()
  assert 20000 <= len(content) < 40000
  assert 5 < content.count("\n\n") < content.count("\n") / 5
  split = [word for word in content.split() if word not in words]
  assert 0.05 < len(split) / len(content.split()) < 0.15


# --- The checks ---


@pytest.mark.slow
def test_checks_pass_on_a_cpu():
  """Those with other options each, without XLA, which compiles for long."""
  names = ["plain gradients", "resumed", "fp16"]
  result = run("--checks", "--check_model=1x16", "--check_steps=30",
               "--check_learning_rate=5e-3", "--only=" + ",".join(names))
  lines = [line for line in result.stdout.splitlines()
           if line.startswith("| check, ")]
  assert result.returncode == 0, result.stdout + result.stderr
  assert [line.split(" | ")[0][9:] for line in lines] == [
      "fp32", "fp32 without dropout"] + names
  assert all(" | pass: " in line for line in lines)
  # On a CPU a resumed training is the undisturbed one to the last bit.
  assert "differs by 0, at most 0.01; weights by 0 |" in lines[3]


def trained(losses, skipped=0):
  return checks.Trained(np.array(losses, float), {"w": np.ones(2)}, skipped)


def test_weights_have_to_be_numbers():
  found = checks.Trained(np.ones(20), {"v": np.ones(2), "w": np.array(
      [1.0, np.nan])}, 0)
  passes, _ = checks.compare(checks.Check("fp16", [], is_exact=False), found,
                             found._replace(weights={
                                 "v": np.zeros(2), "w": np.ones(2)}))
  assert not passes


@pytest.mark.parametrize("check, losses, skipped, passes", [
    (checks.Check("again", []), 20 * [1.0], 0, True),
    (checks.Check("again", []), 19 * [1.0] + [1.02], 0, False),
    (checks.Check("fp16", [], is_exact=False), 19 * [1.0] + [1.02], 3, True),
    (checks.Check("fp16", [], is_exact=False), 20 * [1.06], 3, False),
    (checks.Check("fp16", [], is_exact=False), 20 * [1.0], 21, False),
    (checks.Check("XLA", []), 19 * [1.0] + [np.nan], 0, False),
])
def test_comparisons(check, losses, skipped, passes):
  found, says = checks.compare(
      check, trained(losses, skipped), trained(20 * [1.0]))
  assert found == passes
  assert "weights by 0" in says


def test_a_failed_check_is_told(options, monkeypatch, capsys):
  """The other checks go on."""
  def train(self, check):
    if check.name == "mirrored":
      raise checks.Failure("exit code 1: no such device")
    return trained(np.linspace(3.0, 2.0, 20))

  monkeypatch.setattr(checks.Trainer, "train", train)
  assert not checks.run(
      argparse.Namespace(**vars(options[0])), options[1], {"num_gpus": 1})
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 2 + len(checks.all_checks(1))
  failed, = [line for line in lines if "FAIL" in line]
  assert failed == "| check, mirrored | FAIL: exit code 1: no such device |  |"
