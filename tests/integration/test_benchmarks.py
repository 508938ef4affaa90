"""The benchmarks run and print their rows; the results do not matter here."""

import os
import re
import struct
import subprocess
import sys
import types

import forked_programs
import pytest
from program import ROOT

FOLDER = os.path.join(ROOT, "benchmarks")
sys.path.insert(0, FOLDER)

import common  # noqa: E402
import disk  # noqa: E402
import packing  # noqa: E402
import rows as rows_lib  # noqa: E402
import text_of_packages  # noqa: E402

# Name -> (arguments, what its rows begin with). The lengths are the defaults.
BENCHMARKS = {
    "building": (
        # The program of ours takes the reference's flags.
        ["--rounds=1", "--num_workers=0,2", "--reference=" + ROOT],
        ["building English in one process", "building with 2 workers",
         "the reference", "random pairs (train.txt, "]),
    "objectives": (
        ["--num_tokens=200", "--max_seq_length=16", "--batch_size=2",
         "--choices=line_by_line/none"],
        ["objectives, long documents, line_by_line, none",
         "objectives, one-sentence documents, line_by_line, none"]),
    "input_fn": (
        ["--rounds=1", "--num_batches=5", "--num_examples=8"],
        ["transfer to TensorFlow"]),
    "remote_feeding": (
        ["--rounds=1", "--num_batches=5", "--num_examples=8"],
        ["feeding a remote process"]),
    "training": (
        ["--rounds=1", "--corpus_megabytes=0.1", "--num_steps=20",
         "--batch_size=2", "--model=1x32"],
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
    "packing": (
        ["--rounds=1", "--lengths=128:3", "--num_steps=3", "--model=1x8",
         "--num_positions=512"],
        ["packing short documents, length 128",
         "padding of packed short documents", "packing long documents"]),
    "gradients": (
        ["--rounds=1", "--model=1x8", "--batch_size=2", "--xla=off",
         "--max_seq_length=32", "--precisions=bfloat16"],
        ["gradients, bfloat16, 1x8, batch 2 of 32"]),
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


@pytest.mark.slow
def test_building_formats(files):
  result = run("objectives", [
      "--text=" + files["train"], "--vocab_file=" + files["vocab"],
      "--building", "--rounds=1", "--choices=doc_sentences/none"])
  assert result.returncode == 0, result.stderr
  names = [name for name, _, _ in rows(result.stdout)]
  assert names == [
      "building %s, %s documents, %s" % (kind, documents, choice)
      for documents in ("long", "one-sentence")
      for kind, choice in (("pairs", "segment_pair, nsp"),
                           ("single sequences", "doc_sentences, none"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_prints_its_rows(files, name):
  arguments, figures = BENCHMARKS[name]
  if name not in ("step", "gradients"):
    arguments = ["--text=" + files["train"],
                 "--vocab_file=" + files["vocab"]] + arguments
  if name == "objectives":
    arguments.append("--held_out=" + files["eval"])
  result = run(name, arguments)
  assert result.returncode == 0, result.stderr
  found = rows(result.stdout)
  assert len(found) == len(figures)
  for (figure, value, aim), expected in zip(found, figures):
    assert figure.startswith(expected)
    row = row_of(figure)
    assert row.unit in value and any(c.isdigit() for c in value)
    # So little is no measure of anything but the disk.
    verdict = rows_lib.MET if name == "disk" else rows_lib.NO_MEASURE
    assert aim.startswith("%s: %s" % (row.aim, verdict) if row.aim else "")
    assert bool(aim) == bool(row.aim)
  first = result.stdout.splitlines()[0]
  assert " cores, Python " in first and ", TensorFlow " in first


# Rows of other tables than that of docs/performance.md.
ELSEWHERE = (rows_lib.OBJECTIVES, rows_lib.BUILDING_PAIRS,
             rows_lib.BUILDING_SINGLE, rows_lib.BUILDING_WORDS,
             rows_lib.LOADING, rows_lib.GRADIENTS, rows_lib.GPU_BUILDING,
             rows_lib.GPU_CHECK, rows_lib.PACKING_128, rows_lib.PACKING_512,
             rows_lib.PACKING_SHORT, rows_lib.PACKING_PADDING,
             rows_lib.PACKING_LONG,
             rows_lib.VOCABULARY_PIECES, rows_lib.VOCABULARY_DOMAIN,
             rows_lib.VOCABULARY_GENERAL, rows_lib.VOCABULARY_PROBE,
             rows_lib.REPLAY)


def row_of(name):
  """Returns the rows.Row whose name is the longest start of a row's name."""
  return max((row for row in rows_lib.ALL if name.startswith(row.name)),
             key=lambda row: len(row.name))


def documented_rows():
  """Returns the cells of the rows of the documentation's table of results."""
  with open(os.path.join(ROOT, "docs", "performance.md")) as stream:
    table = stream.read().split("| goal |\n")[1].split("\n\n")[0]
  return rows(table)


def test_the_documentation_has_the_rows_that_are_printed():
  """With their units and aims."""
  found = [(row_of(name), value, aim)
           for name, value, aim in documented_rows()]
  for row, value, aim in found:
    assert aim == row.aim, row.name
    assert row.unit in value.replace("*", ""), row.name
  assert {row for row, _, _ in found} == set(rows_lib.ALL) - set(ELSEWHERE)


@pytest.mark.parametrize("figure, lacks, expected", [
    (1.25, "", "met"), (1.2, "", "missed"), (None, "", "no measure"),
    (1.3, "1 of 3 rounds", "no measure (1 of 3 rounds)")])
def test_a_row_says_whether_its_aim_is_met(capsys, figure, lacks, expected):
  rows_lib.STEP.show(", 2x128", "many", figure, lacks)
  line = "| training step, 2x128 | many | %s: %s |" % (
      rows_lib.STEP.aim, expected)
  assert capsys.readouterr().out == line + "\n"
  counted = rows_lib.summary([line])
  assert "%s" % counted == "%d aims met, %d missed, %d no measure" % tuple(
      expected.startswith(verdict) for verdict in (
          "met", "missed", "no measure"))


@pytest.mark.parametrize("row, met, missed", [
    (rows_lib.TRAINING, -0.03, -0.04), (rows_lib.FIRST_STEP, 2, 2.1),
    (rows_lib.DISK, 0, 1), (rows_lib.BUILDING_CHINESE, 15, 14.9),
    (rows_lib.INPUT_FN, 60000, 59999)])
def test_what_meets_an_aim(row, met, missed):
  assert row.is_met(met) and not row.is_met(missed)


@pytest.mark.parametrize("length, goals", [
    (128, ["at least 1.5 times: met", "at most 5 %: met",
           "no loss: at least 0.97 times: met"]),
    (512, ["at least 2.2 times: met", "at most 5 %: met",
           "no loss: at least 0.97 times: met"]),
    (256, ["", "", ""])])
def test_only_the_default_lengths_of_packing_have_goals(
    monkeypatch, capsys, length, goals):
  monkeypatch.setattr(packing, "train", lambda text, config, options, length,
                      limit: packing.Rates(3.0, 9.0 if limit else 3.0))
  monkeypatch.setattr(packing, "padding", lambda *_: (0.04, 1000))
  options = types.SimpleNamespace(model="1x8", rounds=3, num_steps=30)
  for is_short in (True, False):
    packing.measure("text", is_short, options, length, 8)
  found = rows(capsys.readouterr().out)
  assert [aim for _, _, aim in found] == goals
  sequences = ", length %d, at most 8 sequences" % length
  assert [name for name, _, _ in found] == [
      "packing short documents%s, model 1x8" % sequences,
      "padding of packed short documents%s" % sequences,
      "packing long documents%s, model 1x8" % sequences]


def test_files_that_a_run_should_not_write(tmp_path):
  """By what they hold, and by their names."""
  example = b"\n\x03abc"
  record = struct.pack("<Q", len(example)) + b"CRC4" + example + b"CRC4"
  for name, data in (("preflight.json", b"{}"), ("report.html", b"<html>"),
                     ("runs.jsonl", b"{}"), ("train.log", record),
                     ("part-1", b"12345")):
    (tmp_path / name).write_bytes(data)
  assert disk.sizes(str(tmp_path)) == {
      "examples": len(record), "results": 10, "unknown: part-1": 5}


@pytest.mark.slow
def test_fraction_of_random_pairs(files):
  result = run("building", ["--text=" + files["train"], "--num_workers=0",
                            "--vocab_file=" + files["vocab"], "--rounds=1"])
  assert result.returncode == 0, result.stderr
  figure, value, _ = rows(result.stdout)[-1]
  assert figure.startswith("random pairs (train.txt, ")
  assert 0 <= float(re.findall(r"^([0-9.]+) %$", value)[0]) <= 100


@pytest.mark.slow
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
  assert found["building, masks of whole words"].endswith(
      "; 1.00 and 1.00 times the time of whole words alone")
  assert {"building, masks of word list",
          "building, masks of jieba"} < set(found)
  assert re.match(r"[0-9.]+ s and \d+ MB with its cache, ",
                  found["loading a segmenter, jieba"])


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
  # domain_gain and vocabulary, which take most of an hour, and gpu have tests
  # of their own.
  helpers = {"all", "common", "rows", "text_of_packages", "domain_gain", "gpu",
             "gpu_program", "replay", "vocabulary"}
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
