"""Engines: what is refused, and that each one makes the same of the same batch.

Several devices are virtual CPUs here.
"""

import collections
import functools
import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from program import (
  CONFIG,
  PROGRAM,
  command,
  prepared,
  run_command,
  run_program,
  started,
  tensors,
)

import run_pretraining_e2e as e2e
from bert_e2e.common import errors
from bert_e2e.config import HardwareConfig
from bert_e2e.run import Run
from bert_e2e.training import cluster, engine, session_hooks
from bert_e2e.training.replicas import Replicas

# Sequences of uneven lengths, so that predictions are uneven, too.
UNEVEN = {"short_seq_prob": 0.9, "masked_lm_prob": 0.4,
          "max_predictions_per_seq": 6}
TWO_CPUS = {"distribution_strategy": "mirrored", "devices": "cpu:0,cpu:1"}


def assert_close(found, expected, tolerance):
  """Fails if weights differ by more than rounding adds up to."""
  assert sorted(found) == sorted(expected)
  for name, value in expected.items():
    np.testing.assert_allclose(
        found[name], value, rtol=0, atol=tolerance, err_msg=name)


def write_config(files, dropout=0.0):
  with open(files["config"], "w") as stream:
    json.dump(dict(CONFIG, hidden_dropout_prob=dropout,
                   attention_probs_dropout_prob=dropout), stream)


@pytest.fixture
def start(files):
  """Writes weights to start from; no dropout from here on."""
  write_config(files)
  first = dict(files, out=files["out"] + "_start")
  run = run_program(command(first, num_train_steps=1))
  assert run.returncode == 0, run.stdout
  return dict(files, start=first["out"] + "/model.ckpt-1")


def train(start, parse_flags, name, **changes):
  """Trains for six steps; returns the tensors of the checkpoint."""
  out = start["out"] + "_" + name
  Run(prepared(parse_flags(command(
      dict(start, out=out), init_checkpoint=start["start"], num_train_steps=6,
      learning_rate=1e-2, num_warmup_steps=0, **changes)))).run()
  return tensors(out, 6)


def losses(out):
  """Returns the losses that a training wrote for TensorBoard, by step."""
  found = {}
  for name in sorted(os.listdir(out)):
    if name.startswith("events"):
      for event in tf.train.summary_iterator(os.path.join(out, name)):
        for value in event.summary.value:
          if value.tag.startswith("training/") and "loss" in value.tag:
            found[event.step, value.tag] = value.simple_value
  return found


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_every_engine_makes_the_same_of_a_batch(
    start, parse_flags, optimizer):
  common = dict(UNEVEN, optimizer=optimizer, log_every_steps=1)
  expected = train(start, parse_flags, "one", **common)
  assert expected["examples_seen"] == 48
  kinds = {
      "mirrored": TWO_CPUS,
      "micro": {"gradient_accumulation_steps": 4},
      "both": dict(TWO_CPUS, gradient_accumulation_steps=2),
  }
  for name, changes in kinds.items():
    found = train(start, parse_flags, name, **dict(common, **changes))
    assert_close(found, expected, 1e-5)
    told, wanted = (losses(start["out"] + "_" + n) for n in (name, "one"))
    assert sorted(told) == sorted(wanted) and len(wanted) == 18
    for key, value in wanted.items():
      assert told[key] == pytest.approx(value, abs=2e-5), key


def test_predictions_of_the_parts_are_uneven(files):
  """Else the test above could not tell means of means from means."""
  flow = e2e.take_write_2_flow(
      [files["train"]], files["vocab"], max_seq_length=16, **UNEVEN)
  counts = [sum(tf.train.Example.FromString(next(flow)).features.feature[
      "masked_lm_weights"].float_list.value) for _ in range(48)]
  sums = np.reshape(counts, [6, 2, 4]).sum(axis=-1)
  assert np.mean(sums[:, 0] != sums[:, 1]) > 0.5


@pytest.mark.slow
def test_mirrored_goes_on_where_it_was_killed(files, parse_flags):
  """Bitwise, with dropout; and it evaluates on one device."""
  write_config(files, dropout=0.2)
  run = dict(TWO_CPUS, num_train_steps=30, save_checkpoints_steps=5,
             log_every_steps=1, learning_rate=1e-2)
  undisturbed, killed = files["out"] + "1", files["out"] + "2"
  Run(prepared(parse_flags(command(dict(files, out=undisturbed), **run)))).run()
  with started(command(dict(files, out=killed), **run), "step 13/30"):
    pass  # Killed by SIGKILL at once.
  last = run_program(command(
      dict(files, out=killed), do_eval=True, eval_input_file=files["eval"],
      **run))
  assert last.returncode == 0, last.stdout
  assert "resuming from step 10" in last.stdout
  assert os.path.exists(os.path.join(killed, "eval_results.txt"))
  expected, found = tensors(undisturbed, 30), tensors(killed, 30)
  assert sorted(found) == sorted(expected)
  different = [n for n in expected if not np.array_equal(found[n], expected[n])]
  assert different == []


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


class TestFp16:
  """A CPU computes in fp32 all the same; what is tested is the loss's scale."""

  @pytest.mark.slow
  def test_fp32_is_that_of_a_plain_run(self, start, parse_flags):
    """A power of 2 as a scale changes nothing."""
    expected = train(start, parse_flags, "fp32")
    found = train(start, parse_flags, "fp16", precision="fp16")
    assert found.pop("current_loss_scale") == 2.0 ** 15
    assert found.pop("good_steps") == 6
    assert_close(found, expected, 1e-5)

  @pytest.mark.slow
  @pytest.mark.parametrize("changes", [
      {}, TWO_CPUS, {"gradient_accumulation_steps": 2}],
      ids=["one", "mirrored", "micro"])
  def test_an_overflow_skips_the_update_and_not_the_examples(
      self, start, parse_flags, monkeypatch, changes):
    monkeypatch.setattr(
        tf.train.experimental, "DynamicLossScale", functools.partial(
            tf.train.experimental.DynamicLossScale,
            initial_loss_scale=2.0 ** 70))
    out = start["out"] + "_overflow"
    flags = dict(changes, init_checkpoint=start["start"], precision="fp16",
                 num_warmup_steps=0, log_every_steps=1)
    flow = e2e.Flow
    Run(prepared(parse_flags(command(
        dict(start, out=out), num_train_steps=1, **flags)))).run()
    once = tensors(out, 1)
    assert once["global_step"] == 1
    skipped = once["examples_seen"] // 8 - 1
    assert skipped >= 1 and once["examples_seen"] % 8 == 0
    # Halved with every skip; each infinite gradient left the slots alone.
    assert once["current_loss_scale"] == 2.0 ** (70 - skipped)
    assert once["good_steps"] == 1
    assert all(np.isfinite(value).all() for value in once.values())
    # From here on it is a run on the examples that follow.
    starts = []
    lists = flow.lists

    def noting(self, start=0, *shard):
      starts.append(int(start))
      return lists(self, start, *shard)

    monkeypatch.setattr(flow, "lists", noting)
    Run(prepared(parse_flags(command(
        dict(start, out=out), num_train_steps=2, **flags)))).run()
    assert starts == [once["examples_seen"]]
    twice = tensors(out, 2)
    assert twice["current_loss_scale"] == once["current_loss_scale"]
    assert twice["good_steps"] == 2

  @pytest.mark.slow
  def test_a_checkpoint_without_a_scale_goes_on_with_one_and_back(
      self, start, parse_flags):
    run = dict(init_checkpoint=start["start"], **TWO_CPUS)
    for steps, precision in ((2, "fp32"), (4, "fp16"), (6, "fp32")):
      Run(prepared(parse_flags(command(
          start, num_train_steps=steps, precision=precision, **run)))).run()
      found = tensors(start["out"], steps)
      assert ("current_loss_scale" in found) == (precision == "fp16")
      assert found["examples_seen"] == 8 * steps

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


@pytest.mark.slow
def test_xla_compiles(start, parse_flags):
  """To the same weights; that it does compile, TensorFlow's log says."""
  expected = train(start, parse_flags, "plain")
  arguments = command(
      dict(start, out=start["out"] + "_xla"), init_checkpoint=start["start"],
      num_train_steps=6, learning_rate=1e-2, num_warmup_steps=0, use_xla=True)
  run = run_command([PROGRAM] + arguments, TF_CPP_MIN_LOG_LEVEL="0")
  assert run.returncode == 0, run.stdout
  assert "Compiled cluster using XLA" in run.stdout
  assert_close(tensors(start["out"] + "_xla", 6), expected, 1e-4)


@pytest.mark.slow
def test_bfloat16_trains_float32_weights(start, parse_flags):
  expected = train(start, parse_flags, "fp32", log_every_steps=1)
  found = train(start, parse_flags, "bfloat16", log_every_steps=1,
                precision="bfloat16")
  assert sorted(found) == sorted(expected)
  assert all(value.dtype == expected[name].dtype
             for name, value in found.items())
  assert any(not np.array_equal(found[name], expected[name])
             for name in expected)
  told, wanted = (losses(start["out"] + "_" + n) for n in ("bfloat16", "fp32"))
  for key, value in wanted.items():
    assert told[key] == pytest.approx(value, rel=0.05), key
