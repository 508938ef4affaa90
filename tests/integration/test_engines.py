"""Each engine trains the same weights on the same batches.

Several devices are virtual CPUs here.
"""

import functools
import os
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_checkpoints
from hugging_face_models import config_of, random_variables
from program import (
  PROGRAM,
  command,
  prepared,
  run_command,
  run_program,
  set_dropout,
  tensors,
  write_inputs,
)

import run_pretraining_e2e as e2e
from bert_e2e.run import Run

pytestmark = pytest.mark.slow

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


@pytest.fixture(scope="module")
def start(tmp_path_factory):
  """Returns paths, with weights to start from; there is no dropout."""
  directory = tmp_path_factory.mktemp("start")
  files = write_inputs(directory)
  set_dropout(files, 0.0)
  weights = random_variables(config_of(num_hidden_layers=1))
  return dict(files, start=tf_checkpoints.write(
      directory / "bert_model.ckpt", weights))


def arguments_of(start, name, **changes):
  """Returns the arguments of a training of six steps on uneven sequences."""
  values = dict(
      UNEVEN, init_checkpoint=start["start"], num_train_steps=6,
      num_warmup_steps=0, learning_rate=1e-2, log_every_steps=1)
  return command(dict(start, out=start["out"] + "_" + name),
                 **dict(values, **changes))


def run(start, parse_flags, name, **changes):
  """Trains in this process; returns the output directory."""
  made = Run(prepared(parse_flags(arguments_of(start, name, **changes))))
  made.run()
  assert not made._stop._callbacks
  return start["out"] + "_" + name


def train(start, parse_flags, name, **changes):
  """Trains for six steps; returns the tensors of the checkpoint."""
  return tensors(run(start, parse_flags, name, **changes), 6)


@pytest.fixture(scope="module")
def plain(start):
  """Returns the tensors after six steps of one device in fp32."""
  done = run_program(arguments_of(start, "plain"))
  assert done.returncode == 0, done.stdout
  return tensors(start["out"] + "_plain", 6)


def losses(out):
  """Returns the losses that a training wrote for TensorBoard, by step."""
  found = {}
  for name in sorted(os.listdir(out)):
    if name.startswith("events"):
      for event in tf.train.summary_iterator(os.path.join(out, name)):
        for value in event.summary.value:
          if value.tag.startswith("training/") and value.tag.endswith("loss"):
            found[event.step, value.tag] = value.simple_value
  return found


BOTH = dict(TWO_CPUS, gradient_accumulation_steps=2)


def check_engine(start, parse_flags, name, one, **changes):
  """The weights and losses of a training are those of the training `one`."""
  found = train(start, parse_flags, name, **changes)
  if changes.get("precision") == "fp16":
    assert found.pop("current_loss_scale") == 2.0 ** 15
    assert found.pop("good_steps") == 6
  expected = tensors(start["out"] + "_" + one, 6)
  assert expected["examples_seen"] == 48
  assert_close(found, expected, 1e-5)
  told, wanted = (losses(start["out"] + "_" + n) for n in (name, one))
  assert sorted(told) == sorted(wanted) and len(wanted) == 18
  for key, value in wanted.items():
    assert told[key] == pytest.approx(value, abs=2e-5), key


@pytest.mark.usefixtures("plain")
def test_parts_of_a_batch_make_the_same_of_it(start, parse_flags):
  check_engine(
      start, parse_flags, "micro", "plain", gradient_accumulation_steps=4)


def test_devices_with_parts_each_make_the_same_of_a_batch(start, parse_flags):
  """With a power of 2 as a scale of the loss, which changes nothing.

  test_heads_first.py has several devices without accumulation.
  """
  train(start, parse_flags, "lamb", optimizer="lamb")
  check_engine(
      start, parse_flags, "both", "lamb", optimizer="lamb", precision="fp16",
      **BOTH)


def test_devices_with_parts_each_make_the_same_of_packed_rows(
    start, parse_flags):
  """Rows have unequal numbers of sequences, too."""
  packed = {"pack_sequences": True, "max_sequences_per_pack": 3,
            "max_seq_length": 24}
  train(start, parse_flags, "packed", **packed)
  check_engine(start, parse_flags, "packed_both", "packed", precision="fp16",
               **dict(packed, **BOTH))


def test_predictions_of_the_parts_are_uneven(files):
  """Else the test above could not tell means of means from means."""
  flow = e2e.take_write_2_flow(
      [files["train"]], files["vocab"], max_seq_length=16, **UNEVEN)
  counts = [sum(tf.train.Example.FromString(next(flow)).features.feature[
      "masked_lm_weights"].float_list.value) for _ in range(48)]
  sums = np.reshape(counts, [6, 2, 4]).sum(axis=-1)
  assert np.mean(sums[:, 0] != sums[:, 1]) > 0.5


class TestFp16:
  """A CPU computes in fp32 all the same; what is tested is the loss's scale."""

  @pytest.mark.usefixtures("plain")
  def test_an_overflow_skips_the_update_and_not_the_examples(
      self, start, parse_flags, monkeypatch):
    """After a checkpoint without a scale; then without one again."""
    monkeypatch.setattr(
        tf.train.experimental, "DynamicLossScale", functools.partial(
            tf.train.experimental.DynamicLossScale,
            initial_loss_scale=2.0 ** 70))
    shutil.copytree(start["out"] + "_plain", start["out"] + "_scale")
    # Several steps: the largest gradients are among these.
    out = run(start, parse_flags, "scale", num_train_steps=10,
              precision="fp16", **TWO_CPUS)
    once = tensors(out, 10)
    assert once["global_step"] == 10
    skipped = once["examples_seen"] // 8 - 10
    assert skipped >= 1 and once["examples_seen"] % 8 == 0
    # Halved with every skip; each infinite gradient left the slots alone.
    assert once["current_loss_scale"] == 2.0 ** (70 - skipped)
    assert 1 <= once["good_steps"] <= 4
    assert all(np.isfinite(value).all() for value in once.values())
    # From here on it is a run on the examples that follow.
    starts = []
    lists = e2e.Flow.lists

    def noting(self, start=0, *shard):
      starts.append(int(start))
      return lists(self, start, *shard)

    monkeypatch.setattr(e2e.Flow, "lists", noting)
    run(start, parse_flags, "scale", num_train_steps=11, precision="fp16")
    assert starts == [once["examples_seen"]]
    twice = tensors(out, 11)
    assert twice["current_loss_scale"] == once["current_loss_scale"]
    assert twice["good_steps"] == once["good_steps"] + 1
    assert twice["examples_seen"] == once["examples_seen"] + 8
    run(start, parse_flags, "scale", num_train_steps=12, precision="fp32")
    last = tensors(out, 12)
    assert "current_loss_scale" not in last
    assert last["examples_seen"] == twice["examples_seen"] + 8


def test_xla_compiles(start, plain):
  """To the same weights; that it does compile, TensorFlow's log says."""
  done = run_command([PROGRAM] + arguments_of(start, "xla", use_xla=True),
                     TF_CPP_MIN_LOG_LEVEL="0")
  assert done.returncode == 0, done.stdout
  assert "Compiled cluster using XLA" in done.stdout
  assert_close(tensors(start["out"] + "_xla", 6), plain, 1e-4)


def test_bfloat16_trains_float32_weights(start, plain, parse_flags):
  found = train(start, parse_flags, "bfloat16", precision="bfloat16")
  assert sorted(found) == sorted(plain)
  assert all(value.dtype == plain[name].dtype
             for name, value in found.items())
  assert any(not np.array_equal(found[name], plain[name])
             for name in plain)
  told, wanted = (losses(start["out"] + "_" + n) for n in ("bfloat16", "plain"))
  for key, value in wanted.items():
    assert told[key] == pytest.approx(value, rel=0.05), key
