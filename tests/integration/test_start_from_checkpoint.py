"""Runs that start from, or meet, TensorFlow checkpoints of other programs."""

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import assert_same, config_of, random_variables
from program import CONFIG, VOCAB, command, prepared, run_program, tensors

from bert_e2e.checkpoints import initial_weights


def read(path):
  with open(path, encoding="utf-8") as stream:
    return stream.read()


@pytest.fixture
def teacher(tmp_path):
  """Writes a teacher (see tf_checkpoints) of 10 positions, in a directory.

  Returns:
    (directory, the weights that a model of 16 positions starts from).
  """
  folder = tmp_path / "teacher"
  folder.mkdir()
  sizes = dict(CONFIG, hidden_act="gelu", max_position_embeddings=10)
  (folder / "bert_config.json").write_text(json.dumps(sizes))
  (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
  return str(folder), tf_checkpoints.write_teacher(
      folder / "bert_model.ckpt",
      config_of(num_hidden_layers=1, max_position_embeddings=16), 10)


def test_a_run_starts_from_it_and_resumes(teacher, files, parse_flags):
  """With its own config and vocabulary, and more positions."""
  folder, expected = teacher
  out = os.path.join(os.path.dirname(files["out"]), "export")
  run = dict(init_checkpoint=folder, bert_config_file=None, vocab_file=None,
             extend_positions=True, num_train_steps=1, export_dir=out)
  said = run_program(command(files, **run))
  assert said.returncode == 0, said.stdout
  for text in (said.stdout, read(os.path.join(files["out"], "train.log"))):
    assert "starting from the weights of %s/bert_model.ckpt" % folder in text
    assert ("are named teacher/bert/..., those of the model bert/...: the "
            "former are read as the latter") in text
    assert ("not in the model and are left out: 16 of layer_1. Does "
            "%s/bert_config.json describe" % folder) in text
    assert ("has 10 positions: the embeddings of positions 10 to 15 are copies "
            "of those of 4 to 9 (") in text
    assert "newly initialized:" not in text
  found = tensors(files["out"], 0)
  assert_same({name: found[name] for name in expected}, expected)
  with open(os.path.join(out, "tf", "bert_config.json")) as stream:
    assert json.load(stream)["max_position_embeddings"] == 16
  # The next start resumes, with the same positions.
  made = prepared(parse_flags(command(files, **dict(run, num_train_steps=2))))
  assert made.latest == files["out"] + "/model.ckpt-1"
  assert made.bert_config.max_position_embeddings == 16
  with pytest.raises(ValueError, match="--max_seq_length=16 exceeds the 10 "
                     "positions.*--extend_positions"):
    prepared(parse_flags(command(files, **dict(run, extend_positions=None))))
  # An export is such a directory itself.
  made = prepared(parse_flags(command(files, **dict(
      run, init_checkpoint=out + "/tf", extend_positions=None,
      export_dir=None))))
  assert made.initial == initial_weights.InitialWeights([], [])
  assert made.config.data.vocab_file == out + "/tf/vocab.txt"


def test_flags_go_before_what_lies_beside(teacher, files, parse_flags):
  folder, _ = teacher
  made = prepared(parse_flags(command(
      files, init_checkpoint=folder, extend_positions=True)))
  assert made.config.checkpoint.bert_config_file == files["config"]
  assert made.config.data.vocab_file == files["vocab"]
  assert made.initial.num_positions == 10
  assert made.bert_config.max_position_embeddings == 32


@pytest.mark.parametrize("changes, said", [
    (dict(init_checkpoint=None, extend_positions=True),
     "--extend_positions requires --init_checkpoint"),
    (dict(init_checkpoint="bert-base-uncased", bert_config_file=None),
     "--init_checkpoint=bert-base-uncased: there is no such file"),
    (dict(), "has 10 positions, but the model has 32.*--extend_positions"),
])
def test_refusals(teacher, files, parse_flags, changes, said):
  with pytest.raises(ValueError, match=said):
    prepared(parse_flags(command(
        files, **dict(dict(init_checkpoint=teacher[0]), **changes))))
  assert not os.path.exists(files["out"])


# ------------------------------------------------- checkpoints in --output_dir


def lamb(arrays):
  """Slots of another optimizer."""
  return {name.replace("/adam_", "/lamb_"): value
          for name, value in arrays.items()}


def with_state(arrays):
  """Variables of a program with its own loss scale and optimizer."""
  return dict(arrays, beta1_power=np.float32(0.9), loss_scale=np.float32(8))


def without_slots(arrays):
  return {name: value for name, value in arrays.items() if "adam" not in name}


def weights_only(arrays):
  """As the checkpoints of published models."""
  return {name: value for name, value in without_slots(arrays).items()
          if name.startswith(("bert/", "cls/"))}


def half(arrays):
  return {name: value.astype(np.float16) if value.dtype == np.float32 else value
          for name, value in arrays.items()}


@pytest.mark.parametrize("change, said, is_evaluated", [
    (lamb, "it has bert/.*/lamb_m.*", True),
    (with_state, "it has (beta1_power|loss_scale)", True),
    (without_slots, "bert/.*/adam_m is missing", True),
    (weights_only, "global_step is missing", False),
    (half, "bert/embeddings/.* is of type float16, not float32", False),
])
def test_a_checkpoint_of_another_program(trained, parse_flags, change, said,
                                         is_evaluated):
  """It is named as what to start from, in another directory."""
  path = trained["out"] + "/model.ckpt-3"
  tf_checkpoints.write(path, change(tensors(trained["out"], 3)))
  with pytest.raises(ValueError, match="another program or optimizer wrote.*"
                     "%s.*pass --init_checkpoint=%s and another --output_dir" %
                     (said, path)):
    prepared(parse_flags(command(trained)))
  evaluated = parse_flags(command(trained, do_train=None, do_eval=True))
  if is_evaluated:
    assert prepared(evaluated).latest == path
  else:
    with pytest.raises(ValueError, match=said):
      prepared(evaluated)
  # What the message recommends.
  made = prepared(parse_flags(command(
      trained, init_checkpoint=path, output_dir=trained["out"] + "_next")))
  assert made.initial == initial_weights.InitialWeights([], [])


@pytest.mark.slow
def test_half_precision_is_evaluated(files, tmp_path):
  """The reference evaluates --init_checkpoint if there is no other."""
  path = tf_checkpoints.write(tmp_path / "m.ckpt", half(
      random_variables(config_of(num_hidden_layers=1))))
  run = run_program(command(files, do_train=None, do_eval=True,
                            init_checkpoint=path, max_eval_steps=2))
  assert run.returncode == 0, run.stdout
  assert tf.io.gfile.exists(files["out"] + "/eval_results.txt")


def test_a_second_stage_splits_text_as_the_first_did(
    trained, parse_flags, tmp_path):
  """The record of the first run's stream says how."""
  record = os.path.join(trained["out"], "stream.json")
  with open(record) as stream:
    content = json.load(stream)
  content["options"]["do_lower_case"] = False
  with open(record, "w") as stream:
    json.dump(content, stream)
  second = dict(trained, out=str(tmp_path / "second"))
  for changes, expected in (({}, False), ({"do_lower_case": True}, True)):
    run = prepared(parse_flags(command(
        second, init_checkpoint=trained["out"], **changes)))
    assert run.config.tokenizer.do_lower_case is expected
