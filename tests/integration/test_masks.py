"""Other masks, formats and objectives in a training: its stream and its
evaluations. test_packed_runs.py and test_chinese_masks.py kill such ones."""

from typing import Any, Dict

import pytest
from program import LENGTHS, command, prepared

import run_pretraining_e2e as e2e
from bert_e2e import config

SPANS: Dict[str, Any] = {
    "span_geometric_p": 0.3, "span_upper": 4, "masked_lm_prob": 0.3,
    "max_predictions_per_seq": "auto", "sentence_objective": "sop"}
NGRAMS: Dict[str, Any] = {
    "max_ngram_size": 3, "mask_replace_prob": 0.9, "random_replace_prob": 0.05,
    "example_format": "full_sentences", "sentence_objective": "none"}
BOTH = pytest.mark.parametrize("options", [SPANS, NGRAMS])


def flow_of(files, **options):
  return e2e.take_write_2_flow(
      [files["train"]], files["vocab"], **dict(LENGTHS, **options))


@BOTH
def test_the_stream_is_the_same_for_any_number_of_workers(files, options):
  examples = list(flow_of(files, num_epochs=2, **options))
  assert len(set(examples)) > 200
  assert list(flow_of(files, num_epochs=2, num_workers=2, **options)) == (
      examples)
  assert list(flow_of(files, num_epochs=2, first_example=150, **options)) == (
      examples[150:])
  assert not set(examples) & set(flow_of(files, num_epochs=2))


def test_only_what_is_not_a_default_is_recorded():
  defaults = config.stream_options(config.InstanceConfig())
  assert not set(SPANS).union(NGRAMS) - {
      "masked_lm_prob", "max_predictions_per_seq"} & set(defaults)
  assert config.stream_options(config.InstanceConfig(**NGRAMS)) == dict(
      defaults, **NGRAMS)


@BOTH
def test_evaluations_mask_as_by_default(files, parse_flags, options):
  run = prepared(parse_flags(command(
      files, do_eval=True, eval_input_file=files["eval"], **dict(
          options, do_whole_word_mask=True))))
  instances = run.training.source.text.options.instances
  assert {name: getattr(instances, name) for name in options} == dict(
      options, **{"max_predictions_per_seq": 5} if options == SPANS else {})
  assert list(run.eval_sources) == ["domain"]
  for source in run.eval_sources.values():
    expected: Dict[str, Any] = dict(LENGTHS)
    if options == SPANS:
      expected["max_predictions_per_seq"] = 5
    assert source.text.options.instances == config.InstanceConfig(
        **expected, **{name: options[name] for name in options if name in (
            "example_format", "sentence_objective")})
