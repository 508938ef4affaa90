"""The benchmarks run and print their rows; the results do not matter here."""

import os
import re
import subprocess
import sys

import forked_programs
import pytest
from program import ROOT

FOLDER = os.path.join(ROOT, "benchmarks")
sys.path.insert(0, FOLDER)

import common  # noqa: E402
import disk  # noqa: E402
import text_of_packages  # noqa: E402

# Name -> (arguments, what its rows begin with). The lengths are the defaults.
BENCHMARKS = {
    "building": (
        # The program of ours takes the reference's flags.
        ["--rounds=1", "--num_workers=0,2", "--reference=" + ROOT],
        ["building, in one process", "building, 2 workers",
         "building, the reference", "random pairs (train.txt, "]),
    "objectives": (
        ["--num_tokens=200", "--max_seq_length=16", "--batch_size=2",
         "--choices=line_by_line/none"],
        ["objectives, long documents, line_by_line, none",
         "objectives, one-sentence documents, line_by_line, none"]),
    "input_fn": (
        ["--rounds=1", "--num_batches=5", "--num_examples=8"],
        ["input_fn, TensorFlow"]),
    "remote_feeding": (
        ["--rounds=1", "--num_batches=5", "--num_examples=8"],
        ["feeding a remote process"]),
    "training": (
        ["--rounds=1", "--corpus_megabytes=0.1", "--num_steps=20",
         "--batch_size=2"],
        ["training from text of 0.1 MB", "first step, corpus of 0.1 MB"]),
    "memory": (
        ["--megabytes=0.1,0.2", "--num_examples=128",
         "--new_words_megabytes=0.1"],
        ["memory, corpus of 0.1 MB", "memory, corpus of 0.2 MB",
         "memory, large compared with small corpus",
         "memory, no repeated word"]),
    "resuming": (
        ["--corpus_megabytes=1", "--small_megabytes=0.1"],
        ["resuming in the third epoch of 1 MB",
         "resuming in the third epoch of 0.1 MB, really read",
         "resuming there without the window log"]),
    "step": (
        ["--rounds=1", "--models=1x8", "--batch_size=2", "--num_steps=1",
         "--max_seq_length=16"],
        ["training step, 1x8, batch 2 of 16"]),
    "disk": (
        ["--num_steps=2"],
        ["disk, training from text", "disk, stream records",
         "disk, two steps"]),
}


def run(name, arguments):
  return forked_programs.run(
      [os.path.join(FOLDER, name + ".py")] + arguments, subprocess.PIPE,
      forks_programs=True)


def rows(output):
  return [[cell.strip() for cell in line.strip("|").split("|")]
          for line in output.splitlines() if line.startswith("| ")]


def test_building_formats(files):
  result = run("objectives", [
      "--text=" + files["train"], "--vocab_file=" + files["vocab"],
      "--building", "--rounds=1", "--choices=doc_sentences/none"])
  assert result.returncode == 0, result.stderr
  names = [name for name, _, _ in rows(result.stdout)]
  assert names == ["building, %s documents, %s" % (documents, choice)
                   for documents in ("long", "one-sentence")
                   for choice in ("segment_pair, nsp", "doc_sentences, none")]


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_prints_its_rows(files, name):
  arguments, figures = BENCHMARKS[name]
  if name != "step":
    arguments = ["--text=" + files["train"],
                 "--vocab_file=" + files["vocab"]] + arguments
  if name == "objectives":
    arguments.append("--held_out=" + files["eval"])
  result = run(name, arguments)
  assert result.returncode == 0, result.stderr
  found = rows(result.stdout)
  assert len(found) == len(figures)
  for (figure, value, _), expected in zip(found, figures):
    assert figure.startswith(expected)
    assert any(c.isdigit() for c in value)
  first = result.stdout.splitlines()[0]
  assert " cores, Python " in first and ", TensorFlow " in first


def test_fraction_of_random_pairs(files):
  result = run("building", ["--text=" + files["train"], "--num_workers=0",
                            "--vocab_file=" + files["vocab"], "--rounds=1"])
  assert result.returncode == 0, result.stderr
  figure, value, _ = rows(result.stdout)[-1]
  assert figure.startswith("random pairs (train.txt, ")
  assert 0 <= float(re.findall(r"^([0-9.]+) %$", value)[0]) <= 100


def test_chinese_words(files, tmp_path):
  """The words' characters need not be in the text."""
  words = tmp_path / "words.txt"
  words.write_text("\u4eba\u6743\n", encoding="utf-8")
  result = run("building", [
      "--text=" + files["train"], "--num_workers=0", "--rounds=1",
      "--vocab_file=" + files["vocab"], "--word_list=%s" % words,
      "--segmenter=jieba"])
  assert result.returncode == 0, result.stderr
  found = {figure.split(" (")[0]: value
           for figure, value, _ in rows(result.stdout)}
  assert found["building, whole words"].endswith(
      "; 1.00 and 1.00 times the time of whole words alone")
  assert {"building, word list", "building, jieba"} < set(found)
  assert re.match(r"[0-9.]+ s and \d+ MB with its cache, ",
                  found["loading jieba"])


def test_the_kernel_may_count_nothing():
  assert disk.counted(1024) == "the kernel counted 1024 bytes written"
  assert disk.counted(0) == "the kernel counted no bytes written"


def test_records_of_an_epoch(files, tmp_path):
  """A window of one chunk: the corpus is smaller than that."""
  path = tmp_path / "windows"
  assert disk.window_log_of_epoch(
      files["train"], files["vocab"], str(path)) == (len("\n0 0 0 0;"), 1, 1)
  assert path.read_text() == "\n0 0 0 0;"


def test_every_benchmark_is_tried():
  # domain_gain has tests of its own, as it takes most of an hour.
  helpers = {"all", "common", "text_of_packages", "domain_gain"}
  names = {name[:-3] for name in os.listdir(FOLDER) if name.endswith(".py")}
  assert names == set(BENCHMARKS) | helpers


def test_what_fails_ends_the_benchmark(files, tmp_path):
  empty = tmp_path / "empty.txt"
  empty.write_text("")
  result = run("building", ["--text=%s" % empty, "--rounds=1",
                            "--vocab_file=" + files["vocab"]])
  assert result.returncode == 1
  assert "The corpus is empty" in result.stderr
  assert not rows(result.stdout)


def test_what_fails_ends_them_all(files, tmp_path):
  result = run("all", ["--text=%s" % (tmp_path / "none.txt"),
                       "--vocab_file=" + files["vocab"]])
  assert result.returncode == 1
  assert result.stderr.endswith("building.py failed.\n")


def test_repeats_a_text_up_to_a_size(tmp_path):
  text = tmp_path / "text.txt"
  text.write_bytes(b"one.\ntwo.\n")
  for num_bytes, expected in (
      (7, b"one.\n"), (11, b"one.\ntwo.\n\n"),
      (28, b"one.\ntwo.\n\none.\ntwo.\n\none.\n")):
    with common.repeated(str(text), num_bytes) as path:
      with open(path, "rb") as stream:
        assert stream.read() == expected


PAGE = """<html><head><title>Left out</title></head><body><h1>2. A title</h1>
<p>One <b>sentence</b>.  Then
"another" one. e.g. 3.5 is a number.</p><script>left(out)</script>
<ul><li>An item<li>你好。再见。</ul></body></html>"""


@pytest.mark.parametrize("pattern, expected", [
    ("", ["2. A title", "One sentence.", 'Then "another" one.'
          " e.g. 3.5 is a number.", "An item", "你好。", "再见。"]),
    ("[一-鿿]", ["你好。", "再见。"]),
])
def test_sentences_of_a_page(pattern, expected):
  assert text_of_packages.sentences(PAGE, re.compile(pattern)) == expected
