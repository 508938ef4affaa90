"""Chinese whole words in a training: its stream, its evaluations, a kill."""

import json
import os
import sys
from typing import Any, Dict

import pytest
import record_files
from program import (
  CONFIG,
  ROOT,
  check_a_kill_changes_nothing,
  command,
  prepared,
)

from bert_e2e import config

sys.path.append(os.path.join(ROOT, "tests", "golden"))

import make_chinese_golden as golden  # noqa: E402

WORDS: Dict[str, Any] = {
    "do_whole_word_mask": True, "word_list": golden.WORD_LIST}
NGRAMS: Dict[str, Any] = {
    "max_ngram_size": 3, "mask_replace_prob": 0.9, "random_replace_prob": 0.05,
    "example_format": "full_sentences", "sentence_objective": "none"}


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
def test_killed_on_json_lines_it_ends_with_the_weights_of_an_undisturbed_run(
    chinese, tmp_path, parse_flags):
  """With n-grams of words. The list may be at another place then; other words
  are another stream."""
  path = tmp_path / "train.jsonl"
  with open(chinese["train"], encoding="utf-8") as stream:
    path.write_bytes(record_files.json_lines(
        stream.read().strip().split("\n\n"), field="body"))
  copy, other = tmp_path / "words.txt", tmp_path / "other.txt"
  with open(golden.WORD_LIST, encoding="utf-8") as stream:
    rows = stream.read().split("\n")
  copy.write_text("\n".join(reversed(rows)), encoding="utf-8")
  other.write_text("\n".join(rows[:-9]), encoding="utf-8")
  run = dict(WORDS, input_file=str(path), text_field="body",
             sentence_split="rule", **NGRAMS)
  killed = check_a_kill_changes_nothing(
      chinese, {"word_list": str(copy)}, **run)
  with pytest.raises(
      ValueError, match="another stream of examples: word_list was "):
    prepared(parse_flags(command(killed, **dict(run, word_list=str(other)))))
