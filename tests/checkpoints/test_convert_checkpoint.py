"""Conversions of models, with the program and with its functions."""

import json
import os

import forked_programs
import numpy as np
import pytest
import safetensors.numpy
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import (
  VOCABULARY,
  assert_same,
  config_of,
  random_tensors,
  random_variables,
  write_folder,
  write_json,
)
from program import CONFIG, ROOT, VOCAB, command, run_program

import modeling
import tokenization
from bert_e2e.checkpoints import conversion as cc
from bert_e2e.checkpoints import hugging_face

PROGRAM = os.path.join(ROOT, "convert_checkpoint.py")


def convert(**values):
  """Runs the program; returns what it said."""
  return forked_programs.run(
      [PROGRAM] + ["--%s=%s" % item for item in values.items()])


def arrays_of(checkpoint):
  """Returns all variables of a checkpoint, {name: array}."""
  reader = tf.train.load_checkpoint(checkpoint)
  return {name: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map()}


def tensors_of(folder):
  return safetensors.numpy.load_file(os.path.join(folder, "model.safetensors"))


@pytest.fixture
def whole(tmp_path):
  """Writes a complete Hugging Face directory; returns its path."""
  folder = tmp_path / "whole"
  path = write_folder(folder, random_tensors())
  (folder / "vocab.txt").write_bytes(VOCABULARY)
  write_json(folder / "tokenizer_config.json", {"do_lower_case": False})
  return path


@pytest.fixture
def slim(tmp_path):
  """Exports a model in Google's format; returns (directory, variables)."""
  config = config_of(hidden_act="gelu")
  variables = random_variables(config)
  (tmp_path / "v.txt").write_bytes(VOCABULARY)
  out = str(tmp_path / "slim")
  cc.export(variables, config, str(tmp_path / "v.txt"), None, output_tf=out)
  return out, variables


# ------------------------------------------------------------------ the program


def test_from_hugging_face_to_google_and_back(whole, tmp_path):
  """Bit for bit."""
  google, back = str(tmp_path / "google"), str(tmp_path / "back")
  run = convert(input=whole, output_tf=google)
  assert (run.returncode, run.stdout) == (0, "wrote %s\n" % google)
  assert sorted(os.listdir(google)) == sorted(cc.OUTPUT_FILES)
  with open(os.path.join(google, "bert_config.json")) as stream:
    config = json.load(stream)
  assert config == dict(CONFIG, num_hidden_layers=2, hidden_act="gelu_erf",
                        hidden_dropout_prob=0.1, initializer_range=0.02,
                        attention_probs_dropout_prob=0.1)
  # The directory, or the checkpoint in it.
  for i, path in enumerate((google, os.path.join(google, "bert_model.ckpt"))):
    out = back + str(i)
    run = convert(input=path, output_hf=out)
    assert (run.returncode, run.stdout) == (0, "wrote %s\n" % out)
    assert_same(tensors_of(out), random_tensors())
    found = hugging_face.read(out)
    assert found.config == hugging_face.read(whole).config
    assert hugging_face.read_options(out)["do_lower_case"] is False


def test_from_google_to_both_and_back(slim, tmp_path):
  """Bit for bit, with Google's activation."""
  google, variables = slim
  outs = [str(tmp_path / name) for name in ("tf", "hf", "back")]
  run = convert(input=google, output_tf=outs[0], output_hf=outs[1],
                do_lower_case=True)
  assert run.returncode == 0, run.stdout
  assert_same(arrays_of(outs[0] + "/bert_model.ckpt"), variables)
  with open(os.path.join(outs[1], "config.json")) as stream:
    assert json.load(stream)["hidden_act"] == "gelu_new"
  run = convert(input=outs[1], output_tf=outs[2])
  assert run.returncode == 0, run.stdout
  assert_same(arrays_of(outs[2] + "/bert_model.ckpt"), variables)
  for name in cc.OUTPUT_FILES:
    contents = set()
    # The first one does not know whether its model is uncased.
    first = [] if name == cc.TOKENIZER_CONFIG_FILE else [google]
    for out in first + [outs[0], outs[2]]:
      with open(os.path.join(out, name), "rb") as stream:
        contents.add(stream.read())
    assert len(contents) == 1, name


@pytest.mark.slow
def test_an_output_directory(files, tmp_path):
  """The latest checkpoint, without the optimizer's variables, and the casing.

  And a training starts from what is written.
  """
  run = run_program(command(files, num_train_steps=2, do_lower_case=False))
  assert run.returncode == 0, run.stdout
  tf_out, hf_out = str(tmp_path / "tf"), str(tmp_path / "hf")
  run = convert(input=files["out"], bert_config_file=files["config"],
                vocab_file=files["vocab"], output_tf=tf_out, output_hf=hf_out)
  assert run.returncode == 0, run.stdout
  trained = arrays_of(tf.train.latest_checkpoint(files["out"]))
  shapes = modeling.variable_shapes(modeling.BertConfig.from_json_file(
      files["config"]))
  assert len(trained) == 3 * len(shapes) + 2
  found = arrays_of(tf_out + "/bert_model.ckpt")
  assert_same(found, {name: trained[name] for name in shapes})
  assert_same(hugging_face.read(hf_out).variables, found)
  assert hugging_face.read_options(hf_out)["do_lower_case"] is False
  run = run_program(command(
      dict(files, out=str(tmp_path / "next")), num_train_steps=1,
      init_checkpoint=tf_out + "/bert_model.ckpt",
      bert_config_file=tf_out + "/bert_config.json",
      vocab_file=tf_out + "/vocab.txt"))
  assert run.returncode == 0, run.stdout
  assert "newly initialized:" not in run.stdout


def test_another_scope_in_half_precision(slim, tmp_path):
  folder, variables = slim
  halves = {name: value.astype(np.float16)
            for name, value in variables.items()}
  tf_checkpoints.write(folder + "/bert_model.ckpt", tf_checkpoints.renamed(
      halves, "teacher/bert/"))
  out = str(tmp_path / "out")
  run = convert(input=folder + "/bert_model.ckpt.index", output_tf=out)
  assert (run.returncode, run.stdout) == (
      0, "%s/bert_model.ckpt.index has the encoder as teacher/bert/..., which "
      "is written as bert/...\nwrote %s\n" % (folder, out))
  assert_same(arrays_of(out + "/bert_model.ckpt"), {
      name: value.astype(np.float32) for name, value in halves.items()})


def test_newly_initialized_heads_are_listed(tmp_path):
  tensors = {n: v for n, v in random_tensors().items() if "cls" not in n}
  tensors["classifier.bias"] = np.zeros(2, np.float32)
  folder = write_folder(tmp_path / "in", tensors)
  (tmp_path / "vocab.txt").write_bytes(VOCABULARY)
  out = str(tmp_path / "out")
  run = convert(input=folder, vocab_file=str(tmp_path / "vocab.txt"),
                output_tf=out)
  assert run.returncode == 0, run.stdout
  assert ("does not have these variables, which were newly initialized: "
          "cls/predictions/transform/dense/kernel, ") in run.stdout
  assert "which were not converted: classifier.bias\n" in run.stdout
  found = arrays_of(out + "/bert_model.ckpt")
  np.testing.assert_array_equal(
      found["cls/predictions/transform/dense/kernel"], np.eye(8))
  assert_same(cc.read(folder).variables, found)


def test_a_vocabulary_of_transformers_5(whole, tmp_path):
  """It is in tokenizer.json only."""
  os.remove(os.path.join(whole, "vocab.txt"))
  os.remove(os.path.join(whole, "tokenizer_config.json"))
  (tmp_path / "whole" / "tokenizer.json").write_text(json.dumps({
      "normalizer": {"lowercase": True},
      "model": {"type": "WordPiece",
                "vocab": {piece: i for i, piece in enumerate(VOCAB)}}}))
  out = str(tmp_path / "out")
  source = cc.read(whole)
  cc.export(source.variables, source.config, source.vocab_file,
            source.do_lower_case, output_hf=out)
  assert tokenization.read_vocabulary(out + "/vocab.txt") == VOCABULARY
  assert hugging_face.read_options(out)["do_lower_case"] is True


# --------------------------------------------------------------------- refusals


@pytest.mark.parametrize("values, said", [
    ({}, "Nothing to do"),
    ({"output_hf": "%(folder)s/new", "vocab_file": "%(folder)s/none"},
     "No such file")])
def test_the_program_refuses_with_one_message(whole, tmp_path, values, said):
  before = sorted(os.listdir(str(tmp_path)))
  run = convert(input=whole, **{
      name: value % {"folder": tmp_path} for name, value in values.items()})
  assert run.returncode == 1
  line, = run.stdout.splitlines()
  assert line.startswith("convert_checkpoint.py: ") and said in line
  assert sorted(os.listdir(str(tmp_path))) == before


@pytest.mark.parametrize("flag", ["input", "average_with"])
def test_the_program_does_not_write_over_what_it_reads(whole, tmp_path, flag):
  out = str(tmp_path / "out")
  assert convert(input=whole, output_hf=out).returncode == 0
  before = {name: (tmp_path / "out" / name).read_bytes()
            for name in os.listdir(out)}
  run = convert(**dict({"input": whole}, **{flag: out}), output_hf=out)
  assert run.returncode == 1
  assert "--output_hf=%s is the directory of --%s=%s" % (
      out, flag, out) in run.stdout
  assert before == {name: (tmp_path / "out" / name).read_bytes()
                    for name in os.listdir(out)}


def test_directories_with_other_files_are_refused(tmp_path):
  out = str(tmp_path)
  with pytest.raises(ValueError, match="are the same directory"):
    cc.check_outputs(out, out + "/")
  (tmp_path / "notes.txt").write_text("mine")
  for folders in ((out, None), (None, out)):
    with pytest.raises(ValueError, match="not empty: it holds notes.txt"):
      cc.check_outputs(*folders)
  with pytest.raises(ValueError, match="notes.txt is a file, not a directory"):
    cc.check_outputs(output_hf=out + "/notes.txt")


@pytest.mark.parametrize("path", ["in", "in/", "in/model.ckpt", "link"])
def test_an_output_that_is_an_input_is_refused(tmp_path, path):
  (tmp_path / "in").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "in")
  inputs = {"--other": None, "--init_checkpoint": str(tmp_path) + "/" + path}
  for out in ("in", "link", "x/../in"):
    with pytest.raises(ValueError, match=(
        "--output_hf=.* is the directory of --init_checkpoint=.* Pass another "
        "directory")):
      cc.check_outputs(output_hf=str(tmp_path / out), inputs=inputs)
  cc.check_outputs(output_hf=str(tmp_path / "in" / "sub"), inputs=inputs)
  with pytest.raises(ValueError, match="are the same directory"):
    cc.check_outputs(str(tmp_path / "in"), str(tmp_path / "link"))


@pytest.mark.parametrize("name", ["none", ""])
def test_a_missing_model_is_refused(tmp_path, name):
  with pytest.raises(ValueError, match="There is no model at"):
    cc.read(str(tmp_path / name))


def test_missing_files_of_a_checkpoint_are_asked_for(slim, tmp_path):
  folder, variables = slim
  os.remove(folder + "/bert_config.json")
  with pytest.raises(ValueError, match="no bert_config.json beside .*bert_model"
                     ".ckpt; pass --bert_config_file"):
    cc.read(folder)
  config = config_of(hidden_act="gelu")
  with open(folder + "/bert_config.json", "w") as stream:
    stream.write(config.to_json_string())
  source = cc.read(folder)
  assert_same(source.variables, variables)
  assert source.vocab_file == folder + "/vocab.txt"
  assert source.do_lower_case is None
  with pytest.raises(ValueError, match="pass --do_lower_case"):
    cc.export(variables, config, source.vocab_file, None,
              output_hf=str(tmp_path / "out"))
  with pytest.raises(ValueError, match="pass --vocab_file"):
    cc.export(variables, config, None, True, output_hf=str(tmp_path / "out"))
  assert not (tmp_path / "out").exists()


def test_a_config_for_a_hugging_face_directory_is_refused(whole):
  with pytest.raises(ValueError,
                     match="--bert_config_file=c.json is for checkpoints"):
    cc.read(whole, bert_config_file="c.json")


@pytest.mark.parametrize("changes, said", [
    ({"num_hidden_layers": 3},
     "bert/encoder/layer_2/attention/self/query/kernel is missing"),
    ({"num_hidden_layers": 1},
     "bert/encoder/layer_1/.* is not in the model"),
    ({"intermediate_size": 32},
     r"layer_0/intermediate/dense/kernel is \[8, 16\] there and \[8, 32\] by"),
])
def test_a_config_of_another_model_is_refused(slim, changes, said):
  folder, _ = slim
  with open(folder + "/bert_config.json", "w") as stream:
    stream.write(config_of(**changes).to_json_string())
  with pytest.raises(ValueError, match=said):
    cc.read(folder)


def test_a_damaged_checkpoint_is_refused(slim):
  folder, _ = slim
  path = folder + "/bert_model.ckpt.data-00000-of-00001"
  with open(path, "rb") as stream:
    content = stream.read()
  with open(path, "wb") as stream:
    stream.write(content[:len(content) // 2])
  with pytest.raises(ValueError, match="bert_model.ckpt is damaged"):
    cc.read(folder)


def test_a_checkpoint_of_no_bert_is_refused(tmp_path):
  cc.write_checkpoint(str(tmp_path / "m.ckpt"), {"w": np.ones(3, np.float32)})
  with pytest.raises(ValueError, match="m.ckpt does not hold the encoder of a "
                     "BERT: it has w where the model has bert/embeddings/word"):
    cc.read_checkpoint(str(tmp_path / "m.ckpt"), config_of())


@pytest.mark.parametrize("vocabulary, said", [
    (VOCABULARY + b"more\n", "has 46 entries, but the model only has 45"),
    (VOCABULARY.replace(b"[MASK]", b"<mask>"),
     r"has no special token \[MASK\]")])
def test_a_vocabulary_of_another_model_is_refused(tmp_path, vocabulary, said):
  config = config_of()
  (tmp_path / "vocab.txt").write_bytes(vocabulary)
  with pytest.raises(ValueError, match=said):
    cc.export(random_variables(config), config, str(tmp_path / "vocab.txt"),
              True, output_tf=str(tmp_path / "out"))
  assert not (tmp_path / "out").exists()


def test_files_of_an_earlier_export_are_replaced(slim, tmp_path):
  folder, _ = slim
  config = config_of(hidden_act="gelu")
  later = random_variables(config, seed=1)
  for _ in range(2):
    cc.export(later, config, str(tmp_path / "v.txt"), True, output_tf=folder,
              output_hf=str(tmp_path / "hf"))
  assert_same(arrays_of(folder + "/bert_model.ckpt"), later)
  assert_same(hugging_face.read(str(tmp_path / "hf")).variables, later)


def test_find_checkpoint(slim, whole):
  directory, _ = slim
  prefix = os.path.join(directory, cc.CHECKPOINT)
  for path in (directory, prefix, prefix + ".index"):
    assert cc.find_checkpoint(path) == prefix
  with pytest.raises(ValueError, match="whole is a Hugging Face dir"):
    cc.find_checkpoint(whole)
