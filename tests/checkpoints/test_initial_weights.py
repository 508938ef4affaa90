"""What a training starts from: checks, new positions, and the assignment to the
variables, on every kind of engine."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import (
  HEADS,
  assert_same,
  config_of,
  random_tensors,
  random_variables,
  write_folder,
)
from tpu_device import Device, count, estimator_of, input_fn_of

import modeling
from bert_e2e.checkpoints import hugging_face as hf
from bert_e2e.checkpoints import initial_weights


def whole_checkpoint(directory):
  return tf_checkpoints.write(
      directory / "m.ckpt", random_variables(config_of()))


# ----------------------------------------------------------------------- checks


def check(path, config=None, **options):
  return initial_weights.check(path, config or config_of(), "c.json", **options)


def test_a_whole_checkpoint(tmp_path):
  path = whole_checkpoint(tmp_path)
  assert check(path) == initial_weights.InitialWeights([], [], "bert/", None)


def test_missing_heads_and_the_scope(tmp_path):
  encoder = {name: value for name, value in
             random_variables(config_of()).items() if name not in HEADS}
  found = check(tf_checkpoints.write(
      tmp_path / "m.ckpt", tf_checkpoints.renamed(encoder, "teacher/bert/")))
  assert found == initial_weights.InitialWeights(
      HEADS, [], "teacher/bert/", None)


def test_layers_that_the_model_lacks(tmp_path):
  path = whole_checkpoint(tmp_path)
  found = check(path, config_of(num_hidden_layers=1))
  assert found.missing == [] and len(found.unused) == 16
  assert all(name.startswith("bert/encoder/layer_1/") for name in found.unused)


@pytest.mark.parametrize("changes, said", [
    ({"hidden_size": 16}, r"of another model than --bert_config_file=c.json: "
     r".*word_embeddings is \[45, 8\] there and \[45, 16\] by the config"),
    ({"vocab_size": 46}, r"word_embeddings is \[45, 8\] there"),
    ({"max_position_embeddings": 31}, r"position_embeddings is \[32, 8\] ther"),
    ({"max_position_embeddings": 40}, "has 32 positions, but the model has 40 "
     r".*Pass --extend_positions"),
])
def test_shapes_that_differ(tmp_path, changes, said):
  path = whole_checkpoint(tmp_path)
  folder = write_folder(tmp_path / "folder", random_tensors())
  with pytest.raises(ValueError, match="--init_checkpoint=%s .*%s" % (
      path, said)):
    check(path, config_of(**changes))
  if "max_position_embeddings" not in changes:
    return
  with pytest.raises(ValueError, match=said.partition(" is")[0]):
    check(folder, config_of(**changes))


def test_more_positions_are_accepted_on_request(tmp_path):
  path = whole_checkpoint(tmp_path)
  folder = write_folder(tmp_path / "folder", random_tensors())
  for source in (path, folder):
    found = check(source, config_of(max_position_embeddings=40),
                  extend_positions=True)
    assert found == initial_weights.InitialWeights([], [], "bert/", 32)
    assert check(source, extend_positions=True).num_positions is None
    # Nothing else may differ.
    with pytest.raises(ValueError, match="hidden_size|word_embeddings"):
      check(source, config_of(max_position_embeddings=40, hidden_size=16),
            extend_positions=True)


@pytest.mark.parametrize("num_rows, expected", [
    (3, [0, 1, 2]), (4, [0, 1, 2, 2]), (5, [0, 1, 2, 1, 2]),
    (6, [0, 1, 2, 0, 1, 2]), (8, [0, 1, 2, 0, 1, 2, 0, 1])])
def test_new_rows_are_copies_of_the_last_ones(num_rows, expected):
  table = np.array([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]])
  np.testing.assert_array_equal(
      initial_weights.extend_rows(table, num_rows), table[expected])


# ------------------------------------------------------------------- assignment


def assigned(path, config, **options):
  """Returns (values of the variables, names of those that were assigned)."""
  with tf.Graph().as_default(), tf.Session() as session:
    for name, shape in modeling.variable_shapes(config).items():
      tf.get_variable(name, shape, initializer=tf.zeros_initializer())
    load, names = initial_weights.make_init_fn(path, config, 5, **options)
    session.run(tf.global_variables_initializer())
    load(None, session)
    found = session.run({v.name[:-2]: v for v in tf.trainable_variables()})
  return found, names


def test_a_teacher_is_assigned(tmp_path):
  expected = tf_checkpoints.write_teacher(tmp_path / "m.ckpt", config_of(), 20)
  found, names = assigned(str(tmp_path / "m.ckpt"), config_of(),
                          extend_positions=True)
  assert_same(found, expected)
  assert names == set(found)


def test_what_a_checkpoint_lacks_keeps_its_initial_value(tmp_path):
  stored = {name: value for name, value in
            random_variables(config_of()).items() if name not in HEADS}
  found, names = assigned(
      tf_checkpoints.write(tmp_path / "m.ckpt", stored), config_of())
  assert names == set(stored)
  assert_same({name: found[name] for name in stored}, stored)
  assert not any(found[name].any() for name in HEADS)


def test_a_longer_model_of_a_hugging_face_directory(tmp_path):
  folder = write_folder(tmp_path, random_tensors())
  found, _ = assigned(folder, config_of(max_position_embeddings=40),
                      extend_positions=True)
  stored = hf.read(folder).variables
  table = stored[tf_checkpoints.POSITIONS]
  assert_same(found, dict(stored, **{
      tf_checkpoints.POSITIONS: np.concatenate([table, table[24:]])}))


# ---------------------------------------------------------------------- engines


ONE_LAYER = config_of(num_hidden_layers=1)


def hugging_face_encoder(folder):
  return write_folder(folder, {
      n: v for n, v in random_tensors(num_layers=1).items()
      if n.startswith("bert.")}, num_hidden_layers=1)


def teacher(path):
  tf_checkpoints.write_teacher(path, ONE_LAYER, 20)
  return str(path)


SOURCES = {"hugging_face": hugging_face_encoder, "checkpoint": teacher}


def scaffold_fn_of(folder):
  """Creates the model's variables; returns the function that creates their
  Scaffold."""
  config = ONE_LAYER
  for name, shape in modeling.variable_shapes(config).items():
    tf.get_variable(name, shape, initializer=tf.zeros_initializer(),
                    use_resource=True)
  load, _ = initial_weights.make_init_fn(
      folder, config, random_seed=5, extend_positions=True)
  return lambda: tf.train.Scaffold(init_fn=load)


def step():
  """Returns an op that adds 1 to each weight, and to the global step."""
  return tf.group(*[
      variable.assign_add(tf.ones(variable.shape))
      for variable in tf.trainable_variables()] + [
          tf.assign_add(tf.train.get_or_create_global_step(), 1)])


def weights_of(folder):
  reader = tf.train.load_checkpoint(folder)
  return {name: reader.get_tensor(name)
          for name in modeling.variable_shapes(ONE_LAYER)}


def expected_weights(folder, steps):
  if hf.is_directory(folder):
    whole = hf.complete(hf.read(folder).variables, ONE_LAYER,
                        np.random.RandomState(5))
  else:
    whole = tf_checkpoints.write_teacher(folder, ONE_LAYER, 20)
  for _ in range(steps):
    whole = {name: value + np.float32(1) for name, value in whole.items()}
  return whole


@pytest.mark.slow
@pytest.mark.parametrize("source", sorted(SOURCES))
def test_training_starts_from_the_weights(tmp_path, source):
  """And a resumed run keeps its own weights.

  test_start.py has replicas that start from a Hugging Face folder, and
  test_multi_worker.py workers that start from a checkpoint.
  """
  folder = SOURCES[source](tmp_path / source)
  out = str(tmp_path / "out")

  def model_fn(features, labels, mode):
    del labels
    scaffold_fn = scaffold_fn_of(folder)
    train_op = step()
    return tf.estimator.EstimatorSpec(
        mode, loss=tf.reduce_sum(features), train_op=train_op,
        scaffold=scaffold_fn())

  for steps in (1, 3):
    tf.estimator.Estimator(
        model_fn, config=tf.estimator.RunConfig(out)).train(
            lambda: tf.data.Dataset.from_tensors([1.0]).repeat(),
            max_steps=steps)
    assert_same(weights_of(out), expected_weights(folder, steps))


def train_on_tpu(tpu_name, folder, out):
  """Trains for three steps on the two cores of another machine's TPU."""

  def model_fn(features, labels, mode, params):
    del labels, params
    scaffold_fn = scaffold_fn_of(folder)
    with tf.control_dependencies([features["number"]]):
      train_op = step()
    return tf.estimator.tpu.TPUEstimatorSpec(
        mode, loss=tf.constant(0.5), train_op=train_op,
        scaffold_fn=scaffold_fn)

  with Device(1, 2).played():
    estimator_of(tpu_name, model_fn, out, 2).train(
        input_fn_of(count), max_steps=3)


@pytest.mark.slow
@pytest.mark.parametrize("source", sorted(SOURCES))
def test_a_tpu_starts_from_the_weights(coordinator, tmp_path, source):
  """The files need not exist there."""
  folder = SOURCES[source](tmp_path / source)
  coordinator.run(train_on_tpu, folder, str(tmp_path / "out"))
  assert_same(weights_of(str(tmp_path / "out")), expected_weights(folder, 3))
