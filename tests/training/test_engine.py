"""Engines: what is refused, and how they are configured."""

import collections
import json

import pytest
import tensorflow.compat.v1 as tf

from bert_e2e.common import errors
from bert_e2e.config import HardwareConfig
from bert_e2e.training import cluster, engine, session_hooks
from bert_e2e.training.replicas import Replicas


def test_replicas_drop_out_differently():
  """Their salts differ; so do those of the micro-batches of each."""
  def salt():
    replicas = Replicas()
    return tf.convert_to_tensor(replicas.index) * 3

  with tf.Graph().as_default():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    with strategy.scope():
      salts = strategy.experimental_local_results(
          strategy.extended.call_for_each_replica(salt))
    config = tf.ConfigProto(device_count={"CPU": 2})
    with tf.Session(config=config) as session:
      assert session.run(list(salts)) == [0, 3]


def make_engine(environment, train_batch_size=8, eval_batch_size=8, **options):
  return engine.Engine(HardwareConfig(**options).validated(), train_batch_size,
                       eval_batch_size, environment)


@pytest.mark.parametrize("changes, said", [
    ({"use_tpu": True, "distribution_strategy": "mirrored"},
     "--use_tpu and --distribution_strategy=mirrored are mutually exclusive"),
    ({"use_tpu": True, "precision": "fp16"}, "--precision=bfloat16"),
    ({"distribution_strategy": "mirrored", "num_gpus": 64},
     "requested 64 GPUs, but TensorFlow finds"),
    ({"distribution_strategy": "mirrored", "num_gpus": 0}, "0 GPUs"),
    ({"num_gpus": 2}, "--num_gpus=2 requires --distribution_strategy=mirrored"),
    ({"devices": ["cpu:0"]}, "--devices=cpu:0 requires"),
    ({"devices": ["cpu:0"], "num_gpus": 1,
      "distribution_strategy": "mirrored"}, "are mutually exclusive"),
    ({"distribution_strategy": "mirrored", "devices": ["cpu:0", "cpu:1"],
      "train_batch_size": 9}, "9 is not divisible by 2 .*valid size is 10"),
    ({"distribution_strategy": "mirrored", "devices": ["cpu:0"],
      "master": "grpc://a:1"}, "--master=grpc://a:1 and"),
    ({"use_tpu": True, "master": "grpc://a:1"}, "pass the TPU's address as"),
    ({"gradient_accumulation_steps": 3}, "8 is not divisible by 3"),
    ({"gradient_accumulation_steps": 0}, "at least 1"),
    ({"use_tpu": True, "train_batch_size": 12}, "12 is not divisible by 8"),
    ({"use_tpu": True, "eval_batch_size": 12}, "--eval_batch_size=12"),
    ({"distribution_strategy": "multi_worker_mirrored"}, "requires TF_CONFIG"),
    ({"cluster": "slurm"}, "--cluster=slurm requires --distribution_strategy="),
    ({"distribution_strategy": "horovod"}, "must be one of none, mirrored"),
    ({"precision": "int8"}, "must be one of fp32, fp16, bfloat16"),
])
def test_refused(changes, said):
  with pytest.raises(ValueError, match=said) as caught:
    make_engine({}, **changes)
  assert "\n" not in str(caught.value)


def tf_config(**changes):
  return {"TF_CONFIG": json.dumps(dict({
      "cluster": {"worker": ["a:1", "b:1"]},
      "task": {"type": "worker", "index": 1}}, **changes))}


class TestCluster:

  def test_is_read(self):
    assert cluster.read({}) is None
    assert cluster.read(tf_config()) == (["a:1", "b:1"], 1)
    jobs = {"chief": ["c:1"], "worker": ["a:1", "b:1"]}
    assert cluster.read(tf_config(cluster=jobs)) == (
        ["c:1", "a:1", "b:1"], 2)
    assert cluster.read(tf_config(
        cluster=jobs, task={"type": "chief", "index": 0})).host == 0

  @pytest.mark.parametrize("environment", [
      {"TF_CONFIG": "{"}, {"TF_CONFIG": "[]"}, {"TF_CONFIG": "{}"},
      tf_config(task={"type": "worker", "index": 2}),
      tf_config(task={"type": "ps", "index": 0}),
      tf_config(task={"type": "chief", "index": 0}),
      tf_config(cluster={"worker": ["a:1", "b:1"], "ps": ["c:1"]}),
  ])
  def test_is_refused(self, environment):
    with pytest.raises(ValueError, match="does not describe a cluster"):
      cluster.read(environment)

  def test_makes_the_engine(self):
    made = make_engine(
        tf_config(), distribution_strategy="multi_worker_mirrored")
    assert (made.num_hosts, made.num_replicas, made.host) == (2, 2, 1)

  @pytest.mark.parametrize("changes", [{}, {"use_tpu": True}])
  def test_is_not_passed_over(self, changes):
    with pytest.raises(ValueError, match="names 2 workers.*unset TF_CONFIG"):
      make_engine(tf_config(), **changes)
    for value in ("no JSON", "{}", '{"cluster": {"worker": ["a:1"]}}'):
      make_engine({"TF_CONFIG": value}, **changes)

  def test_is_not_for_one_machine(self):
    with pytest.raises(ValueError, match="uses a single machine"):
      make_engine(tf_config(), distribution_strategy="mirrored",
                  devices=["cpu:0"])


@pytest.mark.parametrize("environment, said", [
    ({"SLURM_STEP_NUM_TASKS": "4"}, "SLURM_STEP_NUM_TASKS=4"),
    ({"SLURM_NTASKS": "4"}, None),
    ({"SLURM_STEP_NUM_TASKS": "1", "OMPI_COMM_WORLD_SIZE": "2"},
     "OMPI_COMM_WORLD_SIZE=2"),
    ({"PMI_SIZE": "3"}, "PMI_SIZE=3"),
    ({"SLURM_STEP_NUM_TASKS": "1", "PMI_SIZE": "many"}, None),
])
def test_launchers_of_several_processes_are_noticed(environment, said):
  advice = cluster.launcher_advice(environment)
  if said is None:
    assert advice == ""
  else:
    assert said in advice and "--cluster=slurm" in advice


class TestFp16:

  def test_gradients_that_never_are_finite_end_the_run(self):
    hook = session_hooks.SkipHook(None)
    values = collections.namedtuple("values", "results")
    for _ in range(2):
      for _ in range(49):
        hook.after_run(None, values(False))
      hook.after_run(None, values(True))
    for _ in range(49):
      hook.after_run(None, values(False))
    with pytest.raises(errors.InputError,
                       match="50 consecutive batches .*--precision=fp32"):
      hook.after_run(None, values(False))

  def test_the_graph_is_rewritten_for_gpus(self):
    config = make_engine({}, precision="fp16")._session_config()
    rewriting = config.graph_options.rewrite_options
    assert rewriting.auto_mixed_precision == rewriting.ON
    assert make_engine({})._session_config() is None
