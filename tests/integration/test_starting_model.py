"""The kind of the model that a run starts from, as the preflight names it."""

import dataclasses
import json
import logging
import os

import pytest
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import (
  VOCABULARY,
  config_of,
  random_tensors,
  random_variables,
  write_folder,
  write_json,
)
from program import LENGTHS, command, prepared

import run_pretraining_e2e as e2e
from bert_e2e import run, startup_log
from bert_e2e.checkpoints import hugging_face
from bert_e2e.common import head_variables
from bert_e2e.data import preflight_text
from bert_e2e.reporting import report


def write_model(folder, *, without=(), modules=False):
  """Writes a model of transformers without weights whose names start so."""
  kept = {name: value for name, value in random_tensors().items()
          if not name.startswith(tuple(without))}
  if "cls." in without:  # As BertModel saves itself.
    kept = {name[len("bert."):]: value for name, value in kept.items()}
  path = write_folder(folder, kept)
  (folder / "vocab.txt").write_bytes(VOCABULARY)
  if modules:
    write_modules(folder)
  return path


def write_modules(folder, encoder=""):
  write_json(folder / "modules.json", [
      {"idx": 0, "name": "0", "path": encoder, "type": "Transformer"},
      {"idx": 1, "name": "1", "path": "1_Pooling", "type": "Pooling"}])


def write_checkpoint(folder, num_layers):
  """Writes a checkpoint of an encoder without heads; returns its path."""
  folder.mkdir()
  variables = random_variables(config_of(num_hidden_layers=num_layers))
  return tf_checkpoints.write(folder / "model.ckpt", {
      name: value for name, value in variables.items()
      if not head_variables.is_head(name)})


def of_kind(kind, directory):
  """Writes a model of a kind; returns the flags that start from it."""
  folder = directory / "model"
  if kind == "pretraining":
    return {"init_checkpoint": write_model(folder)}
  if kind == "masked_lm":
    return {"init_checkpoint": write_model(
        folder, without=["bert.pooler", "cls.seq_relationship"])}
  if kind == "encoder":
    return {"init_checkpoint": write_model(
        folder, without=["cls.", "bert.pooler"])}
  config = str(directory / "layers.json")
  with open(config, "w") as stream:
    stream.write(config_of().to_json_string())
  return {"init_checkpoint": write_checkpoint(
      folder, 1 if kind == "partial" else 2), "bert_config_file": config}


@pytest.fixture(name="prepare")
def fixture_prepare(files, parse_flags):
  """Returns a function from flags to a PreparedRun, of a short training."""

  def prepare(**flags):
    return prepared(parse_flags(command(files, **dict(dict(
        bert_config_file=None, learning_rate=None, num_warmup_steps=None,
        num_train_steps=40), **flags))))

  return prepare


@pytest.mark.parametrize("written, kind", [
    ("pretraining", "pretraining"), ("masked_lm", "masked_lm"),
    ("encoder", "encoder"), ("checkpoint", "encoder"), ("partial", "partial")])
def test_the_kind_of_a_model(prepare, tmp_path, written, kind):
  flags = of_kind(written, tmp_path)
  made = prepare(**flags)
  model = made.training.model
  assert (model.kind, model.is_sentence_encoder) == (kind, False)
  assert made.training.preflight.model == model
  head_steps = made.head_plan.num_head_steps
  assert ("first %d steps" % head_steps in model.meaning) == (
      kind == "encoder")
  suggested = " ".join(item.flags for item in model.suggestions)
  assert ("--sentence_objective=none" in suggested) == (kind != "partial")
  assert ("--learning_rate=0.0001" in suggested) == (kind == "encoder")
  # Nothing is changed.
  options = made.config
  assert options.instances.sentence_objective == "nsp"
  assert options.optimizer.learning_rate == 5e-5


@pytest.mark.parametrize("objective, num_head_steps", [
    ("none", 0), ("nsp", 10)])
def test_head_steps_are_of_heads_that_are_trained(
    prepare, tmp_path, caplog, objective, num_head_steps):
  made = prepare(**of_kind("masked_lm", tmp_path), num_head_steps=10,
                 sentence_objective=objective)
  assert made.head_plan.num_head_steps == num_head_steps
  assert made.training.model.kind == "masked_lm"
  assert ("--num_head_steps=10 has no effect: it is for weights that "
          "--init_checkpoint lacks and for new rows of its vocabulary, and "
          "there are none that are trained"
          in caplog.text) == (not num_head_steps)


@pytest.mark.parametrize("layout", [
    "modules", "pooling", "encoder_folder", "damaged"])
def test_a_sentence_encoder(prepare, tmp_path, layout):
  folder = tmp_path / "model"
  if layout == "encoder_folder":
    folder.mkdir()
    path = write_model(folder / "0_Transformer", without=["cls."])
    write_modules(folder, "0_Transformer")
  else:
    path = write_model(folder, without=["cls."], modules=layout == "modules")
  if layout == "pooling":
    (folder / "1_Pooling").mkdir()
  if layout == "damaged":
    (folder / "modules.json").write_text("[{")
  model = prepare(init_checkpoint=path).training.model
  assert (model.kind, model.is_sentence_encoder) == ("encoder", True)
  assert model.name.startswith("a sentence encoder: the encoder of a BERT")
  assert model.suggestions[-1].flags == "--export_weight=0.5"


def test_other_folders_make_no_sentence_encoder(tmp_path):
  path = write_model(tmp_path / "model", without=["cls."])
  for content in ("{", "[1]", '[{"path": "0_Transformer"}]'):
    (tmp_path / "modules.json").write_text(content)
    assert not hugging_face.is_sentence_encoder(path)
    assert not hugging_face.is_sentence_encoder(path + "/")
  (tmp_path / "modules.json").unlink()
  (tmp_path / "modules.json").mkdir()
  assert not hugging_face.is_sentence_encoder(path)


def test_what_is_asked_for_is_not_suggested(prepare, tmp_path):
  path = write_model(tmp_path / "model", without=["cls."])
  model = prepare(
      init_checkpoint=path, num_warmup_steps=4, sentence_objective="nsp",
      hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.0).training.model
  assert [item.flags for item in model.suggestions] == [
      "--learning_rate=0.0001"]
  # The head of the sentence objective is still one that is not there.
  assert model.kind == "encoder"


def test_a_field_of_plain_text_is_refused(prepare, tmp_path):
  with pytest.raises(ValueError, match=(
      "--text_field=body has no effect: no file of --input_file is read as "
      "records. Name their format, such as --input_format=jsonl")):
    prepare(init_checkpoint=write_model(tmp_path / "model"), text_field="body")


def test_tfrecords_keep_their_pairs(prepare, files, tmp_path):
  records = str(tmp_path / "records")
  with tf.io.TFRecordWriter(records) as writer:
    for example in e2e.take_write_2_flow(
        [files["train"]], files["vocab"], num_epochs=1, **LENGTHS):
      writer.write(example)
  path = write_model(tmp_path / "model")
  from_text = prepare(init_checkpoint=path).training.model
  assert "--sentence_objective=none" in [
      item.flags for item in from_text.suggestions]
  model = prepare(init_checkpoint=path, input_file=records).training.model
  # Nor is it known how often they are read.
  assert model == from_text._replace(suggestions=())
  for name, value in (("example_format", "line_by_line"),
                      ("max_ngram_size", 2)):
    with pytest.raises(ValueError, match=(
        "--%s=%s has no effect on TFRecords" % (name, value))):
      prepare(init_checkpoint=path, input_file=records,
              sentence_objective="none", **{name: value})


def test_it_is_shown_wherever_the_preflight_is(prepare, tmp_path, caplog,
                                               capsys):
  """On the terminal, in preflight.json, the log and the report."""
  made = prepare(init_checkpoint=write_model(
      tmp_path / "model", without=["cls."], modules=True), preflight_only=True)
  model = made.training.model
  expected = preflight_text.table_of(preflight_text.model_rows(model))
  run.run_preflight(made)
  said = capsys.readouterr().out
  for line in expected.splitlines():
    assert line.split(None, 2)[-1] in said
  out = made.config.checkpoint.output_dir
  with open(os.path.join(out, "preflight.json")) as stream:
    values = json.load(stream)
  assert values["model"]["kind"] == "encoder"
  assert preflight_text.from_dict(values).model == model
  with caplog.at_level(logging.INFO):
    startup_log.log_preflight(made.training.preflight)
    assert model.name in caplog.text and "--learning_rate" in caplog.text
    # Also for TFRecords, which have no preflight.
    caplog.clear()
    startup_log.log_start(dataclasses.replace(
        made, training=dataclasses.replace(
            made.training, find_preflight=None, starting_model=model)),
                          None, False)
    assert expected.rstrip() in caplog.messages
  report.write(out)
  with open(os.path.join(out, "report.html")) as stream:
    page = stream.read()
  assert model.name in page
  assert "<code>--learning_rate=0.0001</code>" in page


def test_new_weights_and_a_training_that_resumes_have_no_such_model(
    trained, parse_flags):
  made = prepared(parse_flags(command(
      dict(trained, out=trained["out"] + "_new"))))
  assert made.training.model is None
  assert "starts from" not in preflight_text.to_text(made.training.preflight)
  again = prepared(parse_flags(command(
      trained, init_checkpoint=os.path.join(trained["out"], "model.ckpt-3"),
      preflight_only=True)))
  assert again.training.model is None
  assert again.training.preflight.model is None
