"""SavedModels: they load everywhere, and compute what transformers does."""

import os

import forked_programs
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import (
  VOCABULARY,
  assert_same,
  config_of,
  random_variables,
)
from program import ROOT
from tensorflow.python.eager import context

import modeling
from bert_e2e.checkpoints import conversion as cc
from bert_e2e.checkpoints import hugging_face as hf
from bert_e2e.checkpoints import saved_model
from tests.golden import make_transformers_golden as golden

GOLDEN = os.path.join(ROOT, "tests", "golden", "transformers", golden.FILE)
ACTIVATIONS = {"gelu": "gelu_erf", "gelu_new": "gelu"}


def golden_model(activation):
  """Returns the (config, variables) of the model whose outputs are recorded."""
  config = modeling.BertConfig.from_dict(dict(
      {name: value for name, value in golden.CONFIG.items()
       if name in vars(modeling.BertConfig(1))},
      hidden_act=ACTIVATIONS[activation]))
  theirs = golden.weights()
  variables = {}
  for name in modeling.variable_shapes(config):
    if name.startswith("bert/"):
      value = theirs[hf.weights.torch_name(name)[len("bert."):]]
      variables[name] = value.T if name.endswith("/kernel") else value
  return config, variables


@pytest.fixture(scope="module")
def golden_models(tmp_path_factory):
  """Writes the SavedModel of each activation; returns their directories."""
  directories = {}
  for activation in ACTIVATIONS:
    directories[activation] = str(tmp_path_factory.mktemp(activation))
    config, variables = golden_model(activation)
    saved_model.write(directories[activation], variables, config,
                      {"vocab.txt": VOCABULARY})
  return directories


def load_1(directory):
  """Loads as TensorFlow 1 does; returns a function from inputs to outputs."""
  graph = tf.Graph()
  with graph.as_default():
    session = tf.Session()
    loaded = tf.saved_model.load(session, ["serve"], directory)
  signature = loaded.signature_def["serving_default"]

  def run(*inputs):
    return session.run(
        {name: tensor.name for name, tensor in signature.outputs.items()},
        {signature.inputs[name].name: value
         for name, value in zip(saved_model.INPUTS, inputs)})

  return run


def load_2(directory):
  """Loads as TensorFlow 2 does; returns a function from inputs to outputs."""
  with context.eager_mode():
    # The model has to stay alive.
    loaded = tf.saved_model.load_v2(directory)

  def run(*inputs):
    with context.eager_mode():
      outputs = loaded.signatures["serving_default"](**{
          name: tf.constant(value)
          for name, value in zip(saved_model.INPUTS, inputs)})
      return {name: tensor.numpy() for name, tensor in outputs.items()}

  return run


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("load", [load_1, load_2])
def test_it_computes_what_transformers_does(golden_models, load, activation):
  """For any number of sequences of any length."""
  run = load(golden_models[activation])
  with np.load(GOLDEN) as expected:
    for shape in golden.SHAPES:
      outputs = run(*golden.batch(*shape))
      assert sorted(outputs) == ["pooled_output", "sequence_output"]
      for name, value in outputs.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(
            value, expected["%s/%dx%d/%s" % ((activation,) + shape + (name,))],
            rtol=0, atol=1e-5)


def test_the_signature(golden_models):
  directory = golden_models["gelu"]
  with tf.Graph().as_default(), tf.Session() as session:
    signature = tf.saved_model.load(
        session, ["serve"], directory).signature_def["serving_default"]
    assert sorted(v.name[:-2] for v in tf.trainable_variables()) == sorted(
        golden_model("gelu")[1])
    # It can be fine-tuned by programs that do not have our gradients.
    assert not [node.name for node in tf.get_default_graph().as_graph_def().node
                if "_gradient_op_type" in node.attr]
  found = {name: (tensor.dtype, [d.size for d in tensor.tensor_shape.dim])
           for values in (signature.inputs, signature.outputs)
           for name, tensor in values.items()}
  int32, float32 = tf.int32.as_datatype_enum, tf.float32.as_datatype_enum
  assert found == dict(
      {name: (int32, [-1, -1]) for name in saved_model.INPUTS},
      sequence_output=(float32, [-1, -1, 16]),
      pooled_output=(float32, [-1, 16]))
  with open(directory + "/assets.extra/vocab.txt", "rb") as stream:
    assert stream.read() == VOCABULARY


def test_too_long_a_sequence_is_refused(golden_models):
  with pytest.raises(tf.errors.InvalidArgumentError,
                     match="max_position_embeddings 20"):
    load_1(golden_models["gelu"])(*golden.batch(1, 21))


def test_the_program_writes_one(tmp_path):
  """An earlier one is replaced; what is not one stays."""
  config = config_of(hidden_act="gelu")
  encoder = {name: value for name, value in random_variables(config).items()
             if name.startswith("bert/")}
  path = tf_checkpoints.write(tmp_path / "m.ckpt", encoder)
  (tmp_path / "bert_config.json").write_text(config.to_json_string())
  (tmp_path / "vocab.txt").write_bytes(VOCABULARY)
  out = str(tmp_path / "saved")
  (tmp_path / "saved" / "variables").mkdir(parents=True)
  for name in ("saved_model.pb", "variables/variables.data-00001-of-00002"):
    (tmp_path / "saved" / name).write_bytes(b"of an earlier model")
  run = forked_programs.run([
      os.path.join(ROOT, "convert_checkpoint.py"), "--input=" + path,
      "--output_saved_model=" + out])
  assert (run.returncode, run.stdout) == (0, "wrote %s\n" % out)
  assert sorted(os.listdir(out + "/variables")) == [
      "variables.data-00000-of-00001", "variables.index"]
  assert sorted(os.listdir(out + "/assets.extra")) == [
      "bert_config.json", "tokenizer_config.json", "vocab.txt"]
  # The checkpoint in it is that of the model.
  reader = tf.train.load_checkpoint(out + "/variables/variables")
  assert_same({name: reader.get_tensor(name) for name in encoder}, encoder)
  (tmp_path / "saved" / "notes.txt").write_text("mine")
  with pytest.raises(ValueError, match="not empty: it holds notes.txt"):
    cc.check_outputs(output_saved_model=out)
  with pytest.raises(ValueError, match="--output_tf and --output_saved_model "
                     "are the same directory"):
    cc.check_outputs(output_tf=out + "2", output_saved_model=out + "2/")
