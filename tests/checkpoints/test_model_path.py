"""What a path of a model may be: files, directories and names."""

import os
import re

import pytest

from bert_e2e.checkpoints import model_path

CHECKPOINT_SUFFIXES = (".index", ".data-00000-of-00001")


def touch(directory, *names):
  """Creates empty files, which only their names matter of; returns the path."""
  for name in names:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
  return str(directory)


def checkpoint(name):
  """Returns the names of a checkpoint's files."""
  return [name + suffix for suffix in CHECKPOINT_SUFFIXES]


def find(path):
  return model_path.find(path, "--init_checkpoint")


def refused(path):
  with pytest.raises(ValueError) as refusal:
    find(path)
  said = str(refusal.value)
  assert said.count("--init_checkpoint=" + path) == 1 and "\n" not in said
  return said


@pytest.mark.parametrize("suffix", [
    "", ".index", ".meta", ".data-00000-of-00001"])
def test_the_files_of_a_checkpoint(tmp_path, suffix):
  folder = touch(tmp_path, *checkpoint("bert_model.ckpt"))
  path = os.path.join(folder, "bert_model.ckpt")
  assert find(path + suffix) == model_path.ModelPath(path, None, None, False)


def test_what_lies_beside_a_checkpoint(tmp_path):
  folder = touch(tmp_path, "bert_config.json", "config.json", "vocab.txt",
                 *checkpoint("bert_model.ckpt"))
  expected = model_path.ModelPath(
      folder + "/bert_model.ckpt", folder + "/bert_config.json",
      folder + "/vocab.txt", False)
  # The directory or the checkpoint, although the former has a config.json.
  assert find(folder) == find(folder + "/") == expected._replace(
      path=folder + "/bert_model.ckpt")
  assert find(folder + "/bert_model.ckpt.index") == expected
  os.remove(folder + "/bert_config.json")
  assert find(folder).config_file == folder + "/config.json"


@pytest.mark.parametrize("weights", [
    "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"])
def test_a_hugging_face_directory(tmp_path, weights):
  folder = touch(tmp_path, "config.json", "vocab.txt", weights,
                 "checkpoint-5/config.json", "checkpoint-5/model.safetensors")
  assert find(folder) == model_path.ModelPath(
      folder, folder + "/config.json", folder + "/vocab.txt", True)


def test_a_checkpoint_in_the_current_directory(tmp_path, monkeypatch):
  touch(tmp_path, "vocab.txt", *checkpoint("bert_model.ckpt"))
  monkeypatch.chdir(str(tmp_path))
  assert find("bert_model.ckpt.meta") == model_path.ModelPath(
      "bert_model.ckpt", None, "vocab.txt", False)
  assert "holds the checkpoints bert_model.ckpt" in refused("model.ckpt")


def test_the_latest_of_several_checkpoints(tmp_path):
  folder = touch(tmp_path, *checkpoint("model.ckpt-5"),
                 *checkpoint("model.ckpt-9"))
  assert ("several checkpoints: model.ckpt-5, model.ckpt-9. Pass the path of "
          "one, e.g. %s/model.ckpt-5." % folder) in refused(folder)
  (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-5"')
  for path in (folder, folder + "/checkpoint"):
    assert find(path).path == folder + "/model.ckpt-5"
  # A state file of another place, such as one that was moved.
  (tmp_path / "checkpoint").write_text(
      'model_checkpoint_path: "/gone/model.ckpt-9"')
  assert find(folder).path == folder + "/model.ckpt-9"
  (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/gone/m-1"')
  assert "several checkpoints" in refused(folder)
  os.remove(folder + "/model.ckpt-9.index")
  assert find(folder).path == folder + "/model.ckpt-5"


def test_a_checkpoint_in_tensorflows_first_format(tmp_path):
  folder = touch(tmp_path, "old.ckpt", "old.ckpt.meta")
  (tmp_path / "checkpoint").write_text('model_checkpoint_path: "old.ckpt"')
  for path in (folder, folder + "/old.ckpt", folder + "/old.ckpt.meta"):
    assert find(path).path == folder + "/old.ckpt"


@pytest.mark.parametrize("names, below", [
    (["trainer_state.json", "checkpoint-500/config.json",
      "checkpoint-500/model.safetensors"], ["checkpoint-500"]),
    (["modules.json", "config.json", "0_Transformer/config.json",
      "0_Transformer/pytorch_model.bin", "1_Pooling/config.json"],
     ["0_Transformer"]),
    (["refs/main", "snapshots/0a1b/config.json",
      "snapshots/0a1b/model.safetensors"], ["snapshots/0a1b"]),
    (["hf/config.json", "hf/model.safetensors"] +
     ["tf/" + name for name in checkpoint("bert_model.ckpt")], ["hf", "tf"]),
])
def test_directories_with_models_below(tmp_path, names, below):
  said = refused(touch(tmp_path, *names))
  assert said.endswith("but directories with models: pass %s." % " or ".join(
      str(tmp_path / name) for name in below))


@pytest.mark.parametrize("names, said", [
    (["adapter_config.json", "adapter_model.safetensors"],
     "holds adapter_config.json, a LoRA.*merge_and_unload"),
    (["flax_model.msgpack"], "holds flax_model.msgpack, a Flax model.*from_fl"),
    (["tf_model.h5"], "holds tf_model.h5, a Keras model.*from_tf"),
    (["model.keras"], "a Keras model"),
    (["model.onnx"], "an ONNX model.*that it was exported from"),
    (["saved_model.pb"] +
     ["variables/" + name for name in checkpoint("variables")],
     "holds saved_model.pb, a SavedModel. Pass the checkpoint in it, "),
    (["model.safetensors"], "has model.safetensors, but no config.json"),
    (["notes.txt"], "it is not a checkpoint's path"), ([], "There is no model"),
    (["bert_model.ckpt.data-00000-of-00001"], "it is not a checkpoint's path"),
])
def test_directories_that_are_refused(tmp_path, names, said):
  assert re.search(said, refused(touch(tmp_path, *names)))


@pytest.mark.parametrize("name, said", [
    ("model.safetensors", "one file of a Hugging Face directory. Pass the dir"),
    ("pytorch_model.bin", "one file of a Hugging Face directory"),
    ("config.json", "one file of a Hugging Face directory"),
    ("weights.h5", "is a Keras model"), ("m.keras", "is a Keras model"),
    ("flax_model.msgpack", "is a Flax model"), ("m.onnx", "is an ONNX model"),
    ("adapter_model.bin", "is a LoRA"), ("saved_model.pb", "is a SavedModel"),
    ("frozen.pb", "a graph for inference"), ("m.tflite", "for inference"),
    ("uncased_L-12_H-768_A-12.zip", "is an archive. Unpack it"),
    ("m.tar.gz", "is an archive"),
])
def test_files_that_are_refused(tmp_path, name, said):
  touch(tmp_path, name)
  assert said in refused(str(tmp_path / name))


@pytest.mark.parametrize("name", ["bert-base-uncased", "google/bert_base.v2"])
def test_a_name_of_the_hub(name):
  assert ("no such file or directory. If it is the name of a model on the "
          "Hugging Face Hub, download it (hf download %s --local-dir %s)" %
          (name, name.split("/")[-1])) in refused(name)


def test_what_is_not_there(tmp_path):
  assert "is a web address" in refused("https://example.org/bert")
  touch(tmp_path, "bert_model.ckpt.data-00000-of-00001")
  assert "bert_model.ckpt.index is missing" in refused(
      str(tmp_path / "bert_model.ckpt"))
  assert "There is no model at" in refused(str(tmp_path / "none" / "m.ckpt"))
  touch(tmp_path, "file")
  assert "/file is a file, not a directory." in refused(
      str(tmp_path / "file" / "m.ckpt"))
