"""The benchmark of replay runs; its results do not matter here."""

import os
import re
import subprocess

import forked_programs
import pytest
from hugging_face_models import random_variables
from program import CONFIG, ROOT, VOCAB, WORDS, text

import modeling
from bert_e2e.checkpoints import hugging_face


@pytest.mark.slow
def test_prints_a_row_for_each_proportion(tmp_path):
  config = modeling.BertConfig.from_dict(CONFIG)
  model = str(tmp_path / "model")
  hugging_face.write(model, random_variables(config), config,
                     ("\n".join(VOCAB) + "\n").encode(), True)
  files = {name: str(tmp_path / name) for name in (
      "general", "general_held_out", "domain", "domain_held_out",
      "probe_train", "probe_eval")}
  for number, path in enumerate(files.values()):
    with open(path, "w") as stream:
      if "probe" in path:
        stream.write("".join("%s\t%s %s\n" % (
            "ab"[i % 2], WORDS[i], WORDS[number + i]) for i in range(20)))
      else:
        stream.write(text(20, first=100 * number))
  result = forked_programs.run(
      [os.path.join(ROOT, "benchmarks", "replay.py"), "--model=" + model,
       "--general_steps=0", "--num_steps=1", "--proportions=0.5",
       "--batch_size=4", "--max_seq_length=16", "--max_eval_steps=1",
       "--probe_draws=1", "--output_dir=%s" % (tmp_path / "out")] + [
           "--%s=%s" % item for item in files.items()],
      subprocess.PIPE, forks_programs=True)
  assert result.returncode == 0, result.stderr
  rows = [line.strip("|").split("|") for line in result.stdout.splitlines()
          if line.startswith("| ")]
  assert [row[0].strip() for row in rows] == [
      "replay, before the domain's text", "replay of 50 %, 1 steps of 4"]
  for row in rows:
    assert re.match(r" domain text \d\.\d+ nats.*, general text \d\.\d+ nats"
                    r".*, probe \d+\.\d %", row[1])
  assert "no measure (1 of 200 steps)" in rows[1][1]
