"""Flags, their bounds and their documentation come from config.py."""

import dataclasses
import inspect
import os

import forked_programs
import pytest
from absl import flags as absl_flags
from program import ROOT

import optimization
import run_pretraining_e2e as e2e
from bert_e2e import config, flags
from scripts import formats_page


def fields():
  return [(group, field) for group in config.GROUPS.values()
          for field in dataclasses.fields(group)]


def test_each_field_has_one_name_and_a_help_text():
  names = [field.name for _, field in fields()]
  assert len(names) == len(set(names))
  for name in names:
    assert config.option_of(name).help.endswith((".", ")"))


def test_defaults_are_valid():
  config.Config(run=config.RunConfig(do_train=True)).validated()


def test_the_documentation_is_up_to_date():
  with open(os.path.join(ROOT, "docs", "flags.md"), encoding="utf-8") as stream:
    assert stream.read() == flags.to_markdown(), (
        "run python -m bert_e2e.flags > docs/flags.md")


def test_the_formats_page_is_up_to_date():
  with open(os.path.join(ROOT, "docs", "formats.md"), encoding="utf-8") as (
      stream):
    assert stream.read() == formats_page.page(), (
        "run python -m scripts.formats_page > docs/formats.md")


def test_the_formats_page_shows_every_choice():
  shown = {choice[:2] for choice in formats_page.CHOICES}
  assert {name for name, _ in shown} == set(config.EXAMPLE_FORMATS)
  assert {name for _, name in shown} == set(config.SENTENCE_OBJECTIVES)


def test_the_documentation_names_every_flag():
  text = flags.to_markdown()
  for _, field in fields():
    assert ("`--%s`" % field.name in text) == flags.is_flag(field.name)


@pytest.mark.parametrize("name, value, bounds", [
    ("train_batch_size", 0, "at least 1"),
    ("num_warmup_steps", -1, "at least 0"),
    ("learning_rate", 0.0, "greater than 0"),
    ("learning_rate", float("nan"), "greater than 0"),
    ("num_train_epochs", float("inf"), "greater than 0"),
    ("warmup_proportion", 1.0, "at least 0 and less than 1"),
    ("masked_lm_prob", 1.5, "at least 0 and at most 1"),
    ("max_seq_length", 4, "at least 5"),
])
def test_bounds(name, value, bounds):
  group = config.GROUPS[config.group_of(name)]
  with pytest.raises(ValueError) as caught:
    group(**{name: value}).validated()
  assert str(caught.value) == "--%s=%s is out of range: it must be %s." % (
      name, value, bounds)


def test_an_unknown_choice_is_refused():
  with pytest.raises(ValueError, match="--optimizer=sgd .* adamw, lamb"):
    config.OptimizerConfig(optimizer="sgd").validated()


def test_the_config_cannot_be_changed():
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.DataConfig().input_file = "other.txt"  # type: ignore[misc]


@pytest.mark.parametrize("function, others", [
    # Alone, the generator starts no processes.
    (e2e.take_write_2_flow, {"num_workers": 0}),
    (e2e.fusion_input_and_out, {})])
def test_functions_have_the_defaults_of_the_flags(function, others):
  parameters = inspect.signature(function).parameters.values()
  found = {p.name: p.default for p in parameters
           if config.is_field(p.name) and p.kind is p.KEYWORD_ONLY}
  assert {"max_seq_length", "masked_lm_prob", "dupe_factor"} < set(found)
  for name, default in found.items():
    assert default == others.get(name, config.default_of(name)), name


def test_tables_and_choices_agree():
  assert set(optimization.OPTIMIZERS) == set(config.OPTIMIZERS)
  assert set(optimization.DECAYS) == set(config.DECAYS)


def test_new_options_leave_the_fingerprint_of_old_runs_alone():
  found = config.stream_options(*(
      group() for group in config.GROUPS.values()))
  assert set(found) == {
      "do_lower_case", "chunk_lines", "random_seed", "max_seq_length",
      "max_predictions_per_seq", "masked_lm_prob", "short_seq_prob",
      "dupe_factor", "do_whole_word_mask"}


@pytest.fixture
def values():
  """FlagValues with a flag of each kind that a command line may have."""
  values = absl_flags.FlagValues()
  absl_flags.DEFINE_bool("lower", True, "", flag_values=values)
  absl_flags.DEFINE_string("name", None, "", flag_values=values)
  return values


@pytest.mark.parametrize("arguments, remedy", [
    (["--lower", "False"], "--lower=False"),
    (["--name=x", "-lower", "0", "--name=y"], "--lower=False"),
    (["--lower", "yes"], "--lower=True"),
    (["--name", "--lower", "--lower", "TRUE"], "--lower=True"),
])
def test_a_boolean_flag_with_a_separate_value(values, arguments, remedy):
  with pytest.raises(ValueError) as caught:
    flags.check_booleans(arguments, values)
  assert str(caught.value).endswith("write %s." % remedy)


@pytest.mark.parametrize("arguments", [
    ["--lower"], ["--lower", "--name", "False"], ["--name", "--lower", "False"],
    ["--lower=False", "False"], ["--lower", "x.txt"], ["--nolower", "False"],
    ["--", "--lower", "False"], ["--other", "False"]])
def test_other_arguments_are_left_to_absl(values, arguments):
  flags.check_booleans(arguments, values)


@pytest.mark.parametrize("program", [
    "run_pretraining_e2e.py", "create_pretraining_data.py",
    "show_examples.py", "convert_checkpoint.py", "extend_vocabulary.py"])
def test_programs_refuse_what_is_no_flag(program, tmp_path):
  """Before they miss the flags after it."""
  run = forked_programs.run([os.path.join(ROOT, program), "--do_lower_case",
                             "False", "--vocab_file=v"])
  assert run.returncode == 1
  assert run.stdout.endswith("write --do_lower_case=False.\n")
  assert run.stdout.count("\n") == 1


def test_paths_of_flags_begin_at_the_home_directory(parse_flags, monkeypatch):
  monkeypatch.setenv("HOME", "/home/me")
  names = [field.name for _, field in fields()
           if config.option_of(field.name).kind == "path"]
  assert {"vocab_file", "output_dir", "init_checkpoint", "export_dir",
          "bert_config_file"} <= set(names)
  parsed = parse_flags(
      ["--input_file=x"] + ["--%s=~/%s" % (name, name) for name in names])
  for name in names:
    assert parsed[name].value == "/home/me/" + name
    assert parsed[name].flag_type() == "string"
  with pytest.raises(absl_flags.IllegalFlagValueError, match="nobody-here"):
    parse_flags(["--input_file=x", "--output_dir=~nobody-here/out"])


def test_lists_of_paths_and_numbers(parse_flags, monkeypatch):
  monkeypatch.setenv("HOME", "/home/me")
  assert flags._PathsParser().parse("~/a, b\\,c") == ["/home/me/a", "b,c"]
  required = ["--input_file=x", "--output_dir=y"]
  for text, expected in (("0,0.5, 1", [0.0, 0.5, 1.0]), ("", [])):
    assert parse_flags(required + ["--sweep_weights=" + text]
                       ).sweep_weights == expected
  with pytest.raises(absl_flags.IllegalFlagValueError, match="'half'"):
    parse_flags(required + ["--sweep_weights=0,half"])
