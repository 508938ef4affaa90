"""A TPU of another machine, as far as one can go without a TPU.

TPUEstimator, its hooks, threads, sessions and per-host input loops are the real
ones, with workers in processes of their own; their processors play the cores.
"""

import collections

import pytest
import tensorflow.compat.v1 as tf
from program import CONFIG, LENGTHS
from tpu_device import BATCH, Device, count, estimator_of, input_fn_of, number

import modeling
import run_pretraining_e2e as e2e
from bert_e2e.checkpoints import examples_seen

pytestmark = pytest.mark.slow

MAX_STEPS = 12


# ------------------------------------------ what runs in the coordinator


def remembering_model_fn(features, labels, mode, params):
  """Has as weights what the cores saw, the last step last."""
  del labels
  cores = params["context"].num_replicas
  seen = tf.get_variable(
      "seen", [MAX_STEPS, cores * BATCH], tf.int32, trainable=False,
      initializer=tf.zeros_initializer(), use_resource=True)
  train_op = seen.assign(
      tf.concat([seen.read_value()[1:], [features["number"]]], axis=0))
  with tf.control_dependencies([train_op]):
    train_op = tf.assign_add(tf.train.get_global_step(), 1)
  return tf.estimator.tpu.TPUEstimatorSpec(
      mode, loss=tf.constant(0.5),
      train_op=tf.group(examples_seen.advance(train_op, BATCH * cores)))


def train(tpu_name, folder, hosts, cores_per_host, max_steps):
  """Trains up to some steps, and up to others; returns what each core saw."""
  cores = hosts * cores_per_host
  for max_step in max_steps:
    with Device(hosts, cores_per_host).played():
      estimator_of(tpu_name, remembering_model_fn, folder, cores).train(
          input_fn_of(count), max_steps=max_step)
  seen = tf.train.load_variable(folder, "seen")
  return seen.reshape([MAX_STEPS, cores, BATCH]).transpose([1, 0, 2]).tolist()


def fail(tpu_name, folder):
  """Trains on a flow that fails in the middle; returns both errors."""

  def open_examples(start, shard):
    for i in range(300):
      yield b"%d" % i
    raise ValueError("the text is no text")

  flow = e2e.Flow(open_examples)
  with Device(1, 2).played():
    try:
      estimator_of(tpu_name, remembering_model_fn, folder, 2).train(
          input_fn_of(flow.lists), max_steps=1000)
    except tf.errors.OpError as e:
      return type(e).__name__, e.message, repr(flow.error)
  return None


class Built(Exception):
  """The graph is built."""


class StopHook(tf.train.SessionRunHook):
  """Notes the graph and ends the training before there is a session."""

  def begin(self):
    graph = tf.get_default_graph().as_graph_def()
    nodes = list(graph.node)
    for function in graph.library.function:
      nodes.extend(function.node_def)
    raise Built(collections.Counter(node.op for node in nodes))


def build(tpu_name, folder, cores, max_sequences):
  """Builds the graph of the program's training; returns the ops' types."""
  flow = e2e.Flow(lambda start, shard: iter(()))
  lengths = LENGTHS["max_seq_length"], LENGTHS["max_predictions_per_seq"]
  model_fn = e2e.model_fn_builder(
      bert_config=modeling.BertConfig.from_dict(CONFIG), init_checkpoint=None,
      learning_rate=1e-3, num_train_steps=10, num_warmup_steps=1, use_tpu=True,
      use_one_hot_embeddings=True)
  try:
    with Device(1, cores).listed():
      estimator_of(tpu_name, model_fn, folder, cores).train(
          e2e.input_fn_builder([], *lengths, is_training=True, flow=flow,
                               max_sequences=max_sequences),
          hooks=[StopHook()], max_steps=10)
  except Built as built:
    return dict(built.args[0])
  return {}


def train_without(tpu_name, folder):
  """Returns the error of a training where no worker has a TPU."""
  try:
    estimator_of(tpu_name, remembering_model_fn, folder, 2).train(
        input_fn_of(count), max_steps=1)
  except RuntimeError as e:
    return str(e)
  return None


# ------------------------------------------------------------------- the tests


@pytest.mark.parametrize("hosts, cores_per_host", [(1, 2), (2, 1)])
def test_each_core_gets_its_batches_in_order(
    coordinator, tmp_path, hosts, cores_per_host):
  """Over the ends of loops, and of a run that another one goes on from."""
  seen = coordinator.run(
      train, str(tmp_path), hosts, cores_per_host, [5, MAX_STEPS])
  for core, batches in enumerate(seen):
    host, place = divmod(core, cores_per_host)
    firsts = [(step * cores_per_host + place) * BATCH
              for step in range(MAX_STEPS)]
    assert batches == [[number(host, first + i) for i in range(BATCH)]
                       for first in firsts]
  assert tf.train.load_variable(
      str(tmp_path), examples_seen.NAME) == MAX_STEPS * BATCH * len(seen)


def test_an_error_of_the_generator_ends_the_training(
    coordinator, tmp_path):
  name, message, own = coordinator.run(fail, str(tmp_path))
  assert name == "InvalidArgumentError"
  assert "the text is no text" in message
  assert own.startswith("ValueError('the text is no text'")


@pytest.mark.parametrize("cores, max_sequences", [(2, None), (8, None), (2, 3)])
def test_the_graph_of_the_program(coordinator, tmp_path, cores, max_sequences):
  """Of packed rows, too."""
  ops = coordinator.run(build, str(tmp_path), cores, max_sequences)
  assert ops["TPUReplicateMetadata"] == ops["TPUCompilationResult"] == 1
  assert ops["InfeedEnqueueTuple"] == ops["OutfeedDequeueTuple"] == cores
  assert ops["InfeedDequeueTuple"] == ops["OutfeedEnqueueTuple"] == 1
  assert ops["CrossReplicaSum"] >= 1


def test_says_that_there_is_no_tpu(coordinator, tmp_path):
  assert "Cannot find any TPU cores" in coordinator.run(
      train_without, str(tmp_path))
