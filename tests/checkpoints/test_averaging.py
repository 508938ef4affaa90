"""Averages of models, of every kind of input."""

import json
import os

import forked_programs
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import (
  HEADS,
  VOCABULARY,
  assert_same,
  config_of,
  random_tensors,
  random_variables,
  write_folder,
  write_json,
)
from program import ROOT

import modeling
from bert_e2e.checkpoints import averaging, conversion, hugging_face
from bert_e2e.checkpoints.initial_weights import in_memory

CONFIG = config_of()
NAMES = list(modeling.variable_shapes(CONFIG))
POOLER = "bert/pooler/dense/kernel"


def expected_average(models, weights, names=NAMES):
  """Computes an average with NumPy; the heads are those of the first model."""
  found = {}
  for name in names:
    values = [model[name].astype(np.float64) for model in models]
    found[name] = (
        sum(w * value for w, value in zip(weights, values)).astype(np.float32)
        if name.startswith("bert/") else models[0][name])
  return found


@pytest.fixture(scope="module")
def trained():
  return random_variables(CONFIG, seed=1)


@pytest.fixture
def output_dir(tmp_path, trained):
  """Writes what a run leaves in its output directory; returns its path.

  There are the optimizer's variables, neither config nor vocabulary, and the
  record of the stream.
  """
  folder = tmp_path / "out"
  folder.mkdir()
  arrays = dict(trained, global_step=np.int64(20), **{
      name + "/adam_m": value for name, value in trained.items()})
  tf_checkpoints.write(folder / "model.ckpt-20", arrays)
  (folder / "checkpoint").write_text(
      'model_checkpoint_path: "model.ckpt-20"\n')
  write_json(folder / "stream.json", {
      "first_example": 0, "text": {}, "options": {
          "do_lower_case": False, "strip_accents": True}})
  return str(folder)


@pytest.fixture
def start(tmp_path):
  """Writes a Hugging Face directory; returns its path."""
  folder = tmp_path / "start"
  path = write_folder(folder, random_tensors(seed=2), hidden_act="gelu")
  (folder / "vocab.txt").write_bytes(VOCABULARY)
  write_json(folder / "tokenizer_config.json", {"do_lower_case": True})
  return path


def read_start(path):
  return hugging_face.read(path).variables


def google(folder, variables, config=CONFIG):
  """Writes a model in Google's format; returns its directory."""
  folder.mkdir()
  (folder / "v.txt").write_bytes(VOCABULARY)
  out = str(folder / "model")
  conversion.export(
      variables, config, str(folder / "v.txt"), None, output_tf=out)
  return out


# ------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.5, 1 / 3, 1.0])
def test_the_sum_is_exact_and_the_heads_stay(trained, weight):
  other = random_variables(CONFIG, seed=2)
  made = averaging.average(
      NAMES, [in_memory("a", trained), in_memory("b", other)], weight)
  assert list(made.variables) == NAMES
  assert_same(made.variables, expected_average(
      [trained, other], [weight, 1 - weight]))
  assert made.models == [("a", weight), ("b", 1 - weight)]
  assert made.lacking == {}


def test_the_ends_are_bitwise_the_models():
  """Also where a sum would be another number."""
  special = np.array([-0.0, np.inf, np.nan, 1e-45, -3.4e38], np.float32)
  other = np.array([1.0, np.nan, -np.inf, -0.0, 3.4e38], np.float32)
  models = [in_memory("a", {"bert/x": special}), in_memory("b", {
      "bert/x": other})]
  for weight, value in ((1.0, special), (0.0, other)):
    found = averaging.average(["bert/x"], models, weight).variables["bert/x"]
    assert found.tobytes() == value.tobytes()


def test_sums_of_many_are_rounded_once():
  """2**24 + 1 is no float32, but its third is one."""
  values = [np.array([x], np.float32) for x in (2.0 ** 24, 1.0, 1.0)]
  models = [in_memory(str(i), {"bert/x": v}) for i, v in enumerate(values)]
  found = averaging.average(["bert/x"], models).variables["bert/x"]
  assert found == np.float32((2.0 ** 24 + 2.0) / 3)
  same = averaging.average(["bert/x"], [
      in_memory("a", {"bert/x": np.float32([0.1, -0.0])})] * 3)
  assert same.variables["bert/x"].tobytes() == np.float32(
      [0.1, -0.0]).tobytes()


def test_several_models_and_their_weights(trained):
  others = [random_variables(CONFIG, seed=seed) for seed in (2, 3)]
  models = [in_memory(str(i), m) for i, m in enumerate([trained, *others])]
  for weight, shares in ((None, [1 / 3] * 3), (0.5, [0.5, 0.25, 0.25])):
    made = averaging.average(NAMES, models, weight)
    assert_same(made.variables, expected_average([trained, *others], shares))
  heads = averaging.average(NAMES, models, 0.5, with_heads=True).variables
  name = "cls/predictions/output_bias"
  np.testing.assert_allclose(
      heads[name], 0.5 * trained[name] + 0.25 * (
          others[0][name] + others[1][name]), rtol=1e-6)


def test_what_a_model_lacks_is_the_first_ones_that_has_it(trained):
  other = random_variables(CONFIG, seed=2)
  without = {n: v for n, v in other.items() if n not in HEADS}
  made = averaging.average(
      NAMES, [in_memory("a", trained), in_memory("b", without)], 0.25)
  assert made.lacking == {"b": [n for n in HEADS if n.startswith("bert/")]}
  assert made.describe_lacking() == [
      "b lacks these variables, which are not averaged: "
      "bert/pooler/dense/kernel, bert/pooler/dense/bias"]
  assert_same({n: made.variables[n] for n in HEADS},
              {n: trained[n] for n in HEADS})
  # The trained model lacks them: not averaged with random numbers.
  made = averaging.average(
      NAMES, [in_memory("b", without), in_memory("a", trained)], 0.25)
  assert made.lacking == {"b": HEADS}
  assert_same({n: made.variables[n] for n in HEADS},
              {n: trained[n] for n in HEADS})
  assert made.record()["models"] == [
      {"path": "b", "weight": 0.25}, {"path": "a", "weight": 0.75}]


# ---------------------------------------------------------------- reading files


def test_a_run_and_the_directory_that_it_started_from(
    output_dir, start, trained):
  """What the output directory does not have comes from the other."""
  source, made = averaging.read(output_dir, [start], weight=0.25)
  assert_same(source.variables, expected_average(
      [trained, read_start(start)], [0.25, 0.75]))
  assert source.vocab_file == start + "/vocab.txt"
  assert source.config.hidden_act == "gelu_erf"
  # Recorded by the run, which decides.
  assert source.do_lower_case is False
  assert source.tokenizer == {"strip_accents": True}
  assert source.directory == start
  assert made.models == [
      (output_dir + "/model.ckpt-20", 0.25), (start, 0.75)]
  os.remove(output_dir + "/stream.json")
  source, _ = averaging.read(output_dir, [start])
  assert source.do_lower_case is True and source.tokenizer == {}
  assert averaging.read(
      output_dir, [start], do_lower_case=False)[0].do_lower_case is False


def test_every_kind_of_model(tmp_path, output_dir, start, trained):
  """A directory, a checkpoint under another scope in half precision."""
  slim = random_variables(CONFIG, seed=3)
  halves = {name: value.astype(np.float16)
            for name, value in random_variables(CONFIG, seed=4).items()}
  others = [start, google(tmp_path / "slim", slim),
            tf_checkpoints.write(tmp_path / "t.ckpt", tf_checkpoints.renamed(
                halves, "teacher/bert/"))]
  source, _ = averaging.read(output_dir, others)
  assert_same(source.variables, expected_average(
      [trained, read_start(start), slim, {
          n: v.astype(np.float32) for n, v in halves.items()}], [0.25] * 4))


def test_heads_that_only_the_other_model_has(tmp_path, start):
  encoder = write_folder(tmp_path / "encoder", {
      n: v for n, v in random_tensors(seed=5).items()
      if n.startswith("bert.") and "pooler" not in n})
  source, made = averaging.read(encoder, [start], weight=0.5)
  assert source.initialized == []
  assert made.lacking == {encoder: HEADS}
  assert_same({n: source.variables[n] for n in HEADS},
              {n: read_start(start)[n] for n in HEADS})
  # Neither has them.
  source, made = averaging.read(encoder, [encoder])
  assert source.initialized == HEADS and POOLER not in made.variables
  assert list(source.variables) == NAMES
  assert_same({n: v for n, v in source.variables.items() if n not in HEADS},
              hugging_face.read(encoder).variables)


@pytest.mark.parametrize("changes, said", [
    ({"max_position_embeddings": 40}, "max_position_embeddings is 40 there and "
     "32 by the config"),
    ({"num_hidden_layers": 3}, "num_hidden_layers is 3 there"),
    ({"hidden_size": 16}, "hidden_size is 16 there"),
    ({"num_attention_heads": 4}, "num_attention_heads is 4 there and 2"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu' there and 'gelu_erf' by")])
def test_other_architectures_are_refused(
    tmp_path, start, changes, said):
  config = config_of(**changes)
  other = google(tmp_path / "other", random_variables(config), config)
  with pytest.raises(ValueError) as caught:
    averaging.read(start, [other])
  assert str(caught.value).startswith(
      "--average_with=%s is of another model than --input=%s: " % (
          other, start))
  assert said in str(caught.value)
  # Without a config, the weights tell, but for what has none.
  os.remove(other + "/bert_config.json")
  if set(changes) <= {"num_attention_heads", "hidden_act"}:
    averaging.read(start, [other])
    return
  with pytest.raises(ValueError, match=r"is of another model than .*: bert/.* "
                     r"(is \[.* there and \[|is not in the model)"):
    averaging.read(start, [other])


def test_a_model_without_a_layer_is_refused(tmp_path, start):
  path = tf_checkpoints.write(tmp_path / "m.ckpt", random_variables(
      config_of(num_hidden_layers=1)))
  with pytest.raises(ValueError, match="bert/encoder/layer_1/.* is missing"):
    averaging.read(start, [path])


def test_other_vocabularies_are_refused(tmp_path, start):
  other = google(tmp_path / "other", random_variables(CONFIG))
  with open(other + "/vocab.txt", "wb") as stream:
    stream.write(VOCABULARY.replace(b"w3\n", b"x3\n"))
  with pytest.raises(ValueError, match="start/vocab.txt and .*other/model/vocab"
                     ".txt are different vocabularies, from line 9 on"):
    averaging.read(start, [other])
  # A line more, and other ends of lines.
  with open(other + "/vocab.txt", "wb") as stream:
    stream.write(VOCABULARY.replace(b"\n", b"\r\n"))
  averaging.read(start, [other])
  with open(other + "/vocab.txt", "ab") as stream:
    stream.write(b"more\n")
  with pytest.raises(ValueError, match="from line 46 on"):
    averaging.read(start, [other])


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_weights_are_checked(start, weight):
  with pytest.raises(ValueError, match=r"--weight=\S+ is out of range: it must "
                     "be at least 0 and at most 1."):
    averaging.read(start, [start], weight=weight)


def test_a_missing_model_is_named_by_its_flag(start):
  with pytest.raises(ValueError, match="no model at --average_with=.*/none"):
    averaging.read(start, [start, start + "/none"])


# ------------------------------------------------------------------ the program


def convert(**values):
  return forked_programs.run(
      [os.path.join(ROOT, "convert_checkpoint.py")] +
      ["--%s=%s" % item for item in values.items()])


def test_the_program_writes_every_format(tmp_path, output_dir, start, trained):
  outs = {name: str(tmp_path / name)
          for name in ("output_tf", "output_hf", "output_saved_model")}
  run = convert(input=output_dir, average_with=start, weight=0.25, **outs)
  checkpoint = output_dir + "/model.ckpt-20"
  assert (run.returncode, run.stdout) == (
      0, "averaged 0.25 * %s + 0.75 * %s\n" % (checkpoint, start) + "".join(
          "wrote %s\n" % out for out in outs.values()))
  expected = expected_average([trained, read_start(start)], [0.25, 0.75])
  assert_same(conversion.read(outs["output_tf"]).variables, expected)
  assert_same(hugging_face.read(outs["output_hf"]).variables, expected)
  record = {"models": [{"path": checkpoint, "weight": 0.25},
                       {"path": start, "weight": 0.75}],
            "has_averaged_heads": False, "lacking": {}}
  for out in (outs["output_tf"], outs["output_hf"],
              outs["output_saved_model"] + "/assets.extra"):
    with open(os.path.join(out, "average.json")) as stream:
      assert json.load(stream) == record
    assert hugging_face.read_options(out)["do_lower_case"] is False
  with tf.Graph().as_default(), tf.Session() as session:
    tf.saved_model.load(session, ["serve"], outs["output_saved_model"])
    np.testing.assert_array_equal(
        session.run(POOLER + "/Read/ReadVariableOp:0"), expected[POOLER])
  # A conversion keeps the record, a new export without one removes it.
  run = convert(input=outs["output_tf"], output_hf=outs["output_hf"])
  assert run.returncode == 0, run.stdout
  assert conversion.read_average(outs["output_hf"]) == record
  run = convert(input=start, output_hf=outs["output_hf"])
  assert run.returncode == 0, run.stdout
  assert not os.path.exists(outs["output_hf"] + "/average.json")


@pytest.mark.parametrize("values, said", [
    ({"weight": 0.5}, "--weight requires --average_with."),
    ({"average_heads": True}, "--average_heads requires --average_with."),
    ({"weight": 2, "average_with": "%(start)s"}, "--weight=2.0 is out of")])
def test_the_program_refuses_with_one_message(tmp_path, start, values, said):
  run = convert(input=start, output_tf=str(tmp_path / "new"), **{
      name: str(value) % {"start": start} for name, value in values.items()})
  assert run.returncode == 1
  line, = run.stdout.splitlines()
  assert line.startswith("convert_checkpoint.py: " + said)
  assert not (tmp_path / "new").exists()
