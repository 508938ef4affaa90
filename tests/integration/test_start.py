"""A run that starts from a Hugging Face folder, and what it hands over."""

import json
import os
import pathlib
from typing import Any, Dict

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hugging_face_models import (
  HEADS,
  VOCABULARY,
  assert_same,
  config_of,
  random_tensors,
  their_config,
  write_folder,
  write_json,
)
from program import (
  VOCAB,
  command,
  prepared,
  run_program,
  tensors,
  write_inputs,
)

import modeling
from bert_e2e import config
from bert_e2e.checkpoints import hugging_face
from bert_e2e.training.input_errors import INPUT_ERRORS

# What the folder says by itself.
BY_FOLDER: Dict[str, Any] = dict(bert_config_file=None, vocab_file=None)
ONE_LAYER: Dict[str, Any] = {"num_hidden_layers": 1}


def write_model(folder):
  """Writes a whole model of transformers, cased; returns its path."""
  path = write_folder(folder, random_tensors(num_layers=1), **ONE_LAYER)
  (folder / "vocab.txt").write_bytes(VOCABULARY)
  write_json(folder / "tokenizer_config.json", {"do_lower_case": False})
  return path


@pytest.fixture
def folder(tmp_path):
  """The directory of a model."""
  return write_model(tmp_path / "model")


def without_heads(tmp_path):
  """A BertModel without its pooler: what sentence encoders often are."""
  whole = random_tensors(num_layers=1)
  kept = {name[len("bert."):]: value for name, value in whole.items()
          if name.startswith("bert.") and "pooler" not in name}
  return write_folder(tmp_path / "headless", kept,
                      architectures=["BertModel"], **ONE_LAYER)


def weights(out, step):
  """Returns the model's variables of a checkpoint."""
  found = tensors(out, step)
  names = modeling.variable_shapes(config_of(**ONE_LAYER))
  return {name: found[name] for name in names}


def trained(files, **changes: Any):
  run = run_program(command(files, num_train_steps=1, **changes))
  assert run.returncode == 0, run.stdout
  assert "Traceback" not in run.stdout
  return run.stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """Trains a model for a step and exports it.

  Returns:
    dict of paths, those of the input and `out`, `model` and `export`; and the
    program's output as `said`.
  """
  directory = tmp_path_factory.mktemp("exported")
  run = dict(write_inputs(directory), model=write_model(directory / "model"),
             export=str(directory / "export"))
  return dict(run, said=trained(
      run, init_checkpoint=run["model"], export_dir=run["export"], **BY_FOLDER))


def check_start(out, folder, said):
  """The run began with the folder's weights, config and vocabulary."""
  assert "starting from the weights of " + folder in said
  assert "is missing" not in said and "--do_lower_case=False" in said
  assert_same(weights(out, 0), hugging_face.read(folder).variables)
  # And each of them trains.
  after = tensors(out, 1)
  assert all(after[name + "/adam_m"].any() for name in weights(out, 1)
             if not name.endswith("key/bias"))


def test_the_folders_weights_config_and_vocabulary(exported):
  check_start(exported["out"], exported["model"], exported["said"])


@pytest.mark.slow
def test_each_replica_starts_from_the_folder(files, folder):
  check_start(files["out"], folder, trained(
      files, init_checkpoint=folder, distribution_strategy="mirrored",
      devices="cpu:0,cpu:1", **BY_FOLDER))


@pytest.mark.slow
def test_what_it_lacks_is_made_and_listed(files, tmp_path):
  headless = without_heads(tmp_path)
  said = trained(files, init_checkpoint=headless,
                 **dict(BY_FOLDER, vocab_file=files["vocab"]))
  assert "is missing 9 of the model's variables; these are newly " in said
  assert all(name in said for name in HEADS)
  found = weights(files["out"], 0)
  expected = hugging_face.complete(
      hugging_face.read(headless).variables, config_of(**ONE_LAYER),
      np.random.RandomState(12345))
  assert_same(found, expected)
  np.testing.assert_array_equal(
      found["cls/predictions/transform/dense/kernel"], np.eye(8))
  # The case is not said there, which is told.
  assert "does not say whether its model is uncased" in said


def test_the_activation_is_theirs(folder, files, parse_flags):
  """gelu is the erf form there, and the tanh form in Google's files."""
  made = prepared(parse_flags(command(
      files, init_checkpoint=folder, **BY_FOLDER)))
  assert made.bert_config.hidden_act == "gelu_erf"
  path = os.path.join(os.path.dirname(folder), "theirs.json")
  with open(path, "w") as stream:
    json.dump(their_config(hidden_act="gelu_new", **ONE_LAYER), stream)
  with pytest.raises(ValueError, match="hidden_act is 'gelu_erf' there and "
                     "'gelu' by the config"):
    prepared(parse_flags(command(
        files, init_checkpoint=folder, vocab_file=None,
        bert_config_file=path)))


@pytest.mark.slow
def test_a_vocabulary_of_tokenizer_json(folder, files, exported):
  """All that transformers 5 writes."""
  os.remove(os.path.join(folder, "vocab.txt"))
  with open(os.path.join(folder, "tokenizer.json"), "w") as stream:
    json.dump({"model": {"type": "WordPiece", "vocab": {
        piece: i for i, piece in enumerate(VOCAB)}}}, stream)
  trained(files, init_checkpoint=folder, num_workers=1, **BY_FOLDER)
  # The same pieces are in the vocab.txt of the other run's model.
  assert_same(weights(files["out"], 1), weights(exported["out"], 1))


@pytest.mark.parametrize("given, lower", [({}, False), (
    {"do_lower_case": True}, True), ({"do_lower_case": False}, False)])
def test_a_flag_goes_before_the_folder(folder, files, parse_flags, given,
                                       lower):
  made = prepared(parse_flags(command(
      files, init_checkpoint=folder, **dict(BY_FOLDER, **given))))
  assert made.config.tokenizer.do_lower_case is lower


@pytest.mark.parametrize("given, expected", [
    ({}, config.TokenizerConfig(True, False, False)),
    ({"strip_accents": True}, config.TokenizerConfig(True, True, False)),
    ({"tokenize_chinese_chars": True, "do_lower_case": False},
     config.TokenizerConfig(False, False, True))])
def test_the_tokenizer_is_the_folders(folder, files, parse_flags, given,
                                      expected):
  write_json(pathlib.Path(folder) / "tokenizer_config.json", {
      "do_lower_case": True, "strip_accents": False,
      "tokenize_chinese_chars": False})
  made = prepared(parse_flags(command(
      files, init_checkpoint=folder, **dict(BY_FOLDER, **given))))
  assert made.config.tokenizer == expected
  assert made.training.source.text.options.tokenizer == expected


def test_text_that_a_program_for_japanese_has_split(folder, files, parse_flags):
  write_json(pathlib.Path(folder) / "tokenizer_config.json", {
      "word_tokenizer_type": "mecab", "subword_tokenizer_type": "wordpiece"})
  for flags in ({}, {"do_lower_case": False}, {"do_split_on_punc": False},
                {"tokenize_chinese_chars": False}):
    with pytest.raises(ValueError, match="splits text into words by mecab"):
      prepared(parse_flags(command(
          files, init_checkpoint=folder, **dict(BY_FOLDER, **flags))))
  made = prepared(parse_flags(command(
      files, init_checkpoint=folder, do_split_on_punc=False,
      tokenize_chinese_chars=False, **BY_FOLDER)))
  assert made.config.tokenizer == config.TokenizerConfig(
      False, False, False, False)


def test_another_model_is_named_before_its_tokenizer(files, parse_flags,
                                                     tmp_path):
  folder = write_folder(tmp_path / "model", random_tensors(),
                        model_type="roberta",
                        architectures=["RobertaForMaskedLM"])
  write_json(tmp_path / "model" / "tokenizer_config.json",
             {"tokenizer_class": "RobertaTokenizer"})
  with pytest.raises(ValueError, match="describes a RoBERTa, with byte-level"):
    prepared(parse_flags(command(files, init_checkpoint=folder, **BY_FOLDER)))


def test_an_exported_checkpoint_tells_how_text_is_split(exported, files,
                                                        parse_flags):
  beside = os.path.join(exported["export"], "tf")
  made = prepared(parse_flags(command(
      files, init_checkpoint=os.path.join(beside, "bert_model.ckpt"),
      vocab_file=os.path.join(beside, "vocab.txt"),
      bert_config_file=os.path.join(beside, "bert_config.json"))))
  assert made.config.tokenizer == config.TokenizerConfig(do_lower_case=False)


def test_refusals(folder, files, parse_flags, tmp_path):

  def refused(**changes):
    with pytest.raises(INPUT_ERRORS) as caught:
      prepared(parse_flags(command(files, **changes)))
    assert "\n" not in str(caught.value)
    return str(caught.value)

  assert "--bert_config_file is missing" in refused(bert_config_file=None)
  assert "There is no model at --init_checkpoint=" in refused(
      bert_config_file=None, init_checkpoint=str(tmp_path / "none"))
  assert "--vocab_file is missing" in refused(
      init_checkpoint=without_heads(tmp_path), **BY_FOLDER)
  os.remove(os.path.join(folder, "model.safetensors"))
  assert "neither model.safetensors nor" in refused(
      init_checkpoint=folder, **BY_FOLDER)


# ------------------------------------------------------------------ handed over


def test_the_result_is_exported(exported):
  out = exported["export"]
  assert "exported %s/model.ckpt-1 to " % exported["out"] in exported["said"]
  model = hugging_face.read(os.path.join(out, "hf"))
  assert_same(model.variables, weights(exported["out"], 1))
  assert model.config["hidden_act"] == "gelu_erf"
  assert hugging_face.read_options(
      os.path.join(out, "hf"))["do_lower_case"] is False
  checkpoint = os.path.join(out, "tf", "bert_model.ckpt")
  assert {name for name, _ in tf.train.list_variables(checkpoint)} == set(
      model.variables)


def test_a_run_starts_from_an_exported_folder(exported, files):
  trained(files, init_checkpoint=os.path.join(exported["export"], "hf"),
          **BY_FOLDER)
  assert_same(weights(files["out"], 0), weights(exported["out"], 1))


@pytest.mark.slow
def test_a_run_starts_from_an_exported_checkpoint(exported, files):
  beside = os.path.join(exported["export"], "tf")
  trained(files, init_checkpoint=os.path.join(beside, "bert_model.ckpt"),
          do_lower_case=False, vocab_file=os.path.join(beside, "vocab.txt"),
          bert_config_file=os.path.join(beside, "bert_config.json"))
  assert_same(weights(files["out"], 0), weights(exported["out"], 1))


def test_a_run_that_is_done_exports_again(exported, tmp_path):
  out = str(tmp_path / "export")
  trained(exported, init_checkpoint=exported["model"], export_dir=out,
          **BY_FOLDER)
  assert_same(hugging_face.read(os.path.join(out, "hf")).variables,
              weights(exported["out"], 1))


@pytest.mark.slow
def test_the_best_checkpoint_is_exported_where_one_is_kept(files, folder,
                                                           tmp_path):
  out = str(tmp_path / "export")
  run = run_program(command(
      files, init_checkpoint=folder, export_dir=out, keep_best=True,
      eval_input_file=files["eval"], eval_every_steps=2, num_train_steps=4,
      max_eval_steps=2, num_warmup_steps=0, learning_rate=0.5, **BY_FOLDER))
  assert run.returncode == 0, run.stdout
  assert "exported %s/best/model.ckpt-" % files["out"] in run.stdout
  best = int(tf.train.latest_checkpoint(
      os.path.join(files["out"], "best")).rpartition("-")[2])
  assert_same(hugging_face.read(os.path.join(out, "hf")).variables,
              weights(files["out"], best))


def test_an_export_is_refused_before_the_training(files, parse_flags, tmp_path):
  (tmp_path / "export" / "hf").mkdir(parents=True)
  (tmp_path / "export" / "hf" / "mine.txt").write_text("x")
  with pytest.raises(ValueError, match="hf is not empty: it holds mine.txt"):
    prepared(parse_flags(command(files, export_dir=str(tmp_path / "export"))))
  assert not os.path.exists(files["out"])
