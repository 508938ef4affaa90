"""scripts/soak.py: some of its trials, and that it notices what is wrong."""

import json
import os

import forked_programs
import pytest
from program import ROOT

from scripts import soak, soak_stream
from scripts.soak_text import RandomText
from tests.stream_corpus import needs_workers

SOAK = os.path.join(ROOT, "scripts", "soak.py")


def soak_command(*arguments):
  return forked_programs.run([SOAK] + list(arguments))


@needs_workers
@pytest.mark.parametrize("seed", [0, 4, 8])
def test_stream_trials_pass(seed):
  result = soak.run("stream", seed)
  assert result["error"] is None and result["what"]


def test_a_trial_is_a_function_of_its_seed(tmp_path):
  texts = []
  for name, seed in (("a", 1), ("b", 1), ("c", 2)):
    (tmp_path / name).mkdir()
    text = RandomText(soak_stream.random.Random(seed), str(tmp_path / name))
    texts.append([open(path, "rb").read() for path in text.files])
  assert texts[0] == texts[1] != texts[2]


class _Lossy(soak_stream._Flow):
  """Loses the second example of what is read from the start."""

  def read(self, **how):
    examples = super().read(**how)
    return examples if how.get("first_example") else (
        examples[:1] + examples[2:])


def test_lost_examples_are_noticed(monkeypatch, capsys):
  monkeypatch.setattr(soak_stream, "_Flow", _Lossy)
  errors = [soak.run("stream", seed, keep_failed=False)["error"]
            for seed in (0, 4, 8)]
  assert any(error and error.startswith("TrialFailed") for error in errors)
  assert "Traceback" in capsys.readouterr().err


def test_finished_trials_are_not_repeated(tmp_path):
  results = str(tmp_path / "results.jsonl")
  first = soak_command("--stream_trials=2", "--results=" + results)
  assert first.returncode == 0, first.stdout
  second = soak_command("--stream_trials=3", "--results=" + results)
  assert second.returncode == 0, second.stdout
  with open(results) as stream:
    assert [json.loads(line)["seed"] for line in stream] == [0, 1, 2]
  assert "| stream |" in second.stdout


@pytest.mark.slow
@needs_workers
def test_a_program_trial_passes():
  done = soak_command("--program_trials=1", "--seed=34")
  assert done.returncode == 0, done.stdout
  assert "| program | whole program | 1 | 0 |" in done.stdout
