"""benchmarks/vocabulary.py runs and prints its rows."""

import os
import subprocess
import sys

import forked_programs
import pytest
from hugging_face_models import config_of, random_variables
from program import ROOT, text, write_inputs

from bert_e2e.checkpoints import conversion

FOLDER = os.path.join(ROOT, "benchmarks")
sys.path.insert(0, FOLDER)

import vocabulary  # noqa: E402

# Words of the text, w20 to w39, are split.
PIECES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "w"] + [
    "##%d" % i for i in range(10)] + ["w%d" % i for i in range(20)]


def test_the_mean_of_the_seeds():
  assert vocabulary.spread([1.5], "%.1f") == "1.5"
  assert vocabulary.spread([1.0, 2.0], "%.2f") == "1.50 (1.00, 2.00)"


@pytest.mark.slow
def test_prints_its_rows(tmp_path):
  files = write_inputs(tmp_path)
  (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
  config = config_of(vocab_size=len(PIECES), num_hidden_layers=1)
  conversion.export(random_variables(config), config, files["vocab"], True,
                    output_hf=str(tmp_path / "model"))
  (tmp_path / "general.txt").write_text(text(7, 500))
  for name in ("train.tsv", "eval.tsv"):
    (tmp_path / name).write_text("".join(
        "label%d\tw%d %s\n" % (i % 2, i, name[:5]) for i in range(20)))
  arguments = [
      "--model=%s" % (tmp_path / "model"), "--text=" + files["train"],
      "--held_out=" + files["eval"], "--general=%s" % (
          tmp_path / "general.txt"),
      "--probe_train=%s" % (tmp_path / "train.tsv"),
      "--probe_eval=%s" % (tmp_path / "eval.tsv"), "--quick",
      "--output_dir=%s" % (tmp_path / "results"), "--arms=as it is,mean"]
  run = forked_programs.run(
      [os.path.join(FOLDER, "vocabulary.py")] + arguments, subprocess.PIPE,
      forks_programs=True)
  assert run.returncode == 0, run.stderr
  found = [line.strip("| ").split(" | ")
           for line in run.stdout.splitlines() if line.startswith("| ")]
  names = ["vocabulary, " + name for name in (
      "pieces per word", "held-out text", "general text", "probe")]
  before, after = (float(found[i][1].split()[0]) for i in (0, 4))
  assert 1.4 < before and after == 1
  # As many fewer steps as there are fewer pieces, for the same text.
  assert [row[0] for row in found] == [
      "%s, %s" % (name, arm) for arm in (
          "as it is (4 steps)", "mean (%d steps)" % round(4 / before))
      for name in names]
  for row in found:
    assert float(row[1].split()[0]) > 0
