"""Chinese whole words in a training: its stream, its evaluations, a kill."""

import json
import os
import sys
from typing import Any, Dict

import numpy as np
import pytest
from program import (
  CONFIG,
  ROOT,
  command,
  prepared,
  run_program,
  started,
  tensors,
)

from bert_e2e import config

sys.path.append(os.path.join(ROOT, "tests", "golden"))

import make_chinese_golden as golden  # noqa: E402

WORDS: Dict[str, Any] = {
    "do_whole_word_mask": True, "word_list": golden.WORD_LIST}
RUN = dict(WORDS, num_train_steps=6, save_checkpoints_steps=2,
           log_every_steps=1, learning_rate=1e-2)


@pytest.fixture
def chinese(files):
  """The paths of `files`, with Chinese text and its vocabulary."""
  with open(files["config"], "w") as stream:
    json.dump(dict(CONFIG, vocab_size=1500), stream)
  text = os.path.join(golden.EXAMPLES, "text", "chinese_simplified.txt")
  return dict(files, train=text, vocab=golden.VOCAB_FILE, eval=os.path.join(
      golden.EXAMPLES, "text", "chinese_traditional.txt"))


def test_evaluations_mask_as_by_default(chinese, parse_flags):
  run = prepared(parse_flags(command(
      chinese, do_eval=True, eval_input_file=chinese["eval"],
      segmenter="jieba", **WORDS)))
  assert run.training.source.text.options.instances == config.InstanceConfig(
      16, 3, segmenter="jieba", **WORDS)
  assert set(run.training.stream_record.options) >= {"word_list", "segmenter"}
  for source in run.eval_sources.values():
    assert source.text.options.instances == config.InstanceConfig(16, 3)
    assert not {"word_list", "segmenter"} & set(source.text.record().options)


@pytest.mark.slow
def test_killed_it_ends_with_the_weights_of_an_undisturbed_run(
    chinese, tmp_path):
  """The list may be at another place then; other words are another stream."""
  undisturbed, killed = chinese["out"] + "1", chinese["out"] + "2"
  first = run_program(command(dict(chinese, out=undisturbed), **RUN))
  assert first.returncode == 0, first.stdout
  with started(command(dict(chinese, out=killed), **RUN), "step 3/6"):
    pass  # Killed by SIGKILL at once.
  copy, other = tmp_path / "words.txt", tmp_path / "other.txt"
  with open(golden.WORD_LIST, encoding="utf-8") as stream:
    rows = stream.read().split("\n")
  copy.write_text("\n".join(reversed(rows)), encoding="utf-8")
  other.write_text("\n".join(rows[:-9]), encoding="utf-8")
  refused = run_program(command(
      dict(chinese, out=killed), **dict(RUN, word_list=other)))
  assert refused.returncode == 1
  assert "another stream of examples: word_list was " in refused.stdout
  last = run_program(command(
      dict(chinese, out=killed), num_workers=2, **dict(RUN, word_list=copy)))
  assert last.returncode == 0, last.stdout
  assert "resuming from step 2" in last.stdout
  expected, found = tensors(undisturbed, 6), tensors(killed, 6)
  assert sorted(found) == sorted(expected)
  assert all(np.array_equal(found[name], expected[name]) for name in expected)
