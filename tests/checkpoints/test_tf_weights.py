"""Weights of TensorFlow checkpoints: names, types, and what is no BERT."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import assert_same, config_of, random_variables

import modeling
from bert_e2e.checkpoints import tf_weights


def weights_of(path):
  """Returns (TensorFlowWeights, all its weights by name)."""
  weights = tf_weights.TensorFlowWeights(path)
  return weights, {name: weights.read(name) for name in weights.shapes}


@pytest.mark.parametrize("root, head_root", [
    ("bert/", ""), ("teacher/bert/", ""), ("teacher/bert/", "teacher/"),
    ("module/bert/", "module/"), ("model/", ""), ("a/b/encoder_1/", "c/"),
    ("", "")])
def test_the_scope_of_an_encoder(tmp_path, root, head_root):
  expected = random_variables(config_of())
  weights, found = weights_of(tf_checkpoints.write(
      tmp_path / "m.ckpt", tf_checkpoints.renamed(expected, root, head_root)))
  assert weights.root == root
  assert_same(found, expected)
  assert weights.shapes == {
      name: list(shape)
      for name, shape in modeling.variable_shapes(config_of()).items()}


@pytest.mark.parametrize("dtype", [
    np.float16, tf.bfloat16.as_numpy_dtype, np.float64],
                         ids=["half", "bfloat16", "double"])
def test_other_precisions_become_float32(tmp_path, dtype):
  stored = {name: value.astype(dtype)
            for name, value in random_variables(config_of()).items()}
  _, found = weights_of(tf_checkpoints.write(tmp_path / "m.ckpt", stored))
  assert_same(found, {name: value.astype(np.float32)
                      for name, value in stored.items()})


def test_what_is_quantized_is_refused(tmp_path):
  stored = dict(random_variables(config_of()), **{
      "bert/pooler/dense/kernel": np.zeros([8, 8], np.int8)})
  with pytest.raises(ValueError, match="m.ckpt has bert/pooler/dense/kernel as "
                     "int8.*unquantized"):
    weights_of(tf_checkpoints.write(tmp_path / "m.ckpt", stored))


def test_the_state_of_optimizers_is_left_out(tmp_path):
  expected = random_variables(config_of())
  stored = dict(expected, global_step=np.int64(7), loss_scale=np.float32(2),
                beta1_power=np.float32(0.9))
  for slot in ("adam_m", "lamb_v", "Adam_1", "ExponentialMovingAverage"):
    stored.update((name + "/" + slot, value)
                  for name, value in expected.items())
  # Some programs write them under a scope of their own.
  stored.update(("OptimizeLoss/%s/Adam" % name, value)
                for name, value in expected.items())
  _, found = weights_of(tf_checkpoints.write(tmp_path / "m.ckpt", stored))
  assert_same(found, expected)


def test_other_variables_of_the_encoder_are_kept(tmp_path):
  more = "bert/encoder/layer_0/adapter/kernel"
  stored = dict(random_variables(config_of()), **{
      more: np.zeros([8, 2], np.float32), "other/bert/w": np.zeros([2])})
  weights, _ = weights_of(tf_checkpoints.write(tmp_path / "m.ckpt", stored))
  assert weights.shapes[more] == [8, 2]
  assert "other/bert/w" not in weights.shapes


def test_the_model_itself_goes_before_its_teacher(tmp_path):
  config = config_of()
  expected = random_variables(config)
  teacher = tf_checkpoints.renamed(random_variables(config, 1), "teacher/bert/",
                                   "teacher/")
  weights, found = weights_of(tf_checkpoints.write(
      tmp_path / "m.ckpt", dict(expected, **teacher)))
  assert weights.root == "bert/"
  assert_same(found, expected)


def test_several_encoders_are_refused(tmp_path):
  stored = random_variables(config_of())
  path = tf_checkpoints.write(tmp_path / "m.ckpt", dict(
      tf_checkpoints.renamed(stored, "a/bert/"),
      **tf_checkpoints.renamed(stored, "b/bert/")))
  with pytest.raises(ValueError,
                     match=r"several encoders: a/bert/\.\.\., b/bert/\.\.\.\."):
    tf_weights.TensorFlowWeights(path)


@pytest.mark.parametrize("names, said", [
    (["w"], "does not hold the encoder .* has w where the model has bert/emb"),
    (["bert/pooler/dense/kernel", "cls/predictions/output_bias"],
     "it has bert/pooler/dense/kernel where the model has bert/embeddings/wo"),
    (["tower/word_embedding_table", "a/b"],
     "it has tower/word_embedding_table where the model has"),
    (["_CHECKPOINTABLE_OBJECT_GRAPH",
      "layer/kernel/.ATTRIBUTES/VARIABLE_VALUE"],
     "TensorFlow 2 object-based checkpoint.*tf.compat.v1.train.Saver"),
    (["electra/embeddings/word_embeddings",
      "electra/encoder/layer_0/output/dense/kernel"], "an ELECTRA model"),
    (["bert/embeddings/word_embeddings", "bert/encoder/transformer/group_0/"
      "inner_group_0/attention_1/self/key/kernel"], "an ALBERT model"),
    (["distilbert/embeddings/word_embeddings"], "a DistilBERT model"),
    (["roberta/embeddings/word_embeddings"], "a RoBERTa model"),
    (["bert/embeddings/word_embeddings",
      "bert/encoder/layer_0/bottleneck/input/dense/kernel"], "a MobileBERT"),
    (["encoder/block_000/layer_000/SelfAttention/q"], "a T5 model"),
    (["model/transformer/layer_0/rel_attn/k/kernel"], "an XLNet model"),
    (["model/h0/attn/c_attn/w"], "a GPT-2 model"),
])
def test_what_is_no_bert_is_refused(tmp_path, names, said):
  path = tf_checkpoints.write(tmp_path / "m.ckpt", {
      name: np.zeros([2, 2], np.float32) for name in names})
  with pytest.raises(ValueError, match="m.ckpt.*" + said) as refusal:
    tf_weights.TensorFlowWeights(path)
  assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_checkpoint(tmp_path):
  (tmp_path / "model").write_bytes(b"something else")
  with pytest.raises(ValueError, match="no readable checkpoint at .*model"):
    tf_weights.TensorFlowWeights(str(tmp_path / "model"))
