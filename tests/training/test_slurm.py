"""The cluster of SLURM's variables, by TensorFlow's own resolver."""

import os

import pytest
import tensorflow.compat.v1 as tf

from bert_e2e.config import HardwareConfig
from bert_e2e.training import engine, slurm

IS_TF1 = tf.__version__.startswith("1.")
# TensorFlow 1.15 asks it for the nodes.
SCONTROL = """#!/bin/sh
[ "$*" = "show hostname" ] || exit 1
echo "$SLURM_JOB_NODELIST" | tr , '\\n'
"""


def allocate(monkeypatch, tmp_path, **changes):
  """Sets the variables of task 2 of 4, two each on two of a job's nodes."""
  scontrol = tmp_path / "scontrol"
  scontrol.write_text(SCONTROL)
  scontrol.chmod(0o755)
  monkeypatch.setenv("PATH", "%s%s%s" % (
      tmp_path, os.pathsep, os.environ["PATH"]))
  monkeypatch.delenv("TF_CONFIG", raising=False)
  for name, value in dict(dict(
      SLURM_JOB_ID="4003", SLURM_JOB_NODELIST="n8,n9,n10", SLURM_PROCID="2",
      SLURM_NTASKS="4", SLURM_STEP_NUM_TASKS="4", SLURM_STEP_NODELIST="n9,n10",
      SLURM_STEP_TASKS_PER_NODE="2(x2)", SLURMD_NODENAME="n10"),
                          **changes).items():
    if value is None:
      monkeypatch.delenv(name, raising=False)
    else:
      monkeypatch.setenv(name, value)


ADDRESSES = ["n9:10048", "n9:10049", "n10:10048", "n10:10049"]


def test_tasks_are_workers_node_by_node(monkeypatch, tmp_path):
  allocate(monkeypatch, tmp_path)
  assert slurm.read() == (ADDRESSES, 2)
  assert os.environ["SLURM_JOB_NODELIST"] == "n8,n9,n10"


def test_the_engine_takes_it_as_tf_config(monkeypatch, tmp_path):
  allocate(monkeypatch, tmp_path)
  options = HardwareConfig(
      distribution_strategy="multi_worker_mirrored", cluster="slurm")
  monkeypatch.setenv("TF_CONFIG", "")  # It is restored at the end.
  for _ in range(2):
    made = engine.Engine(options, 8, 8)
    assert (made.num_hosts, made.num_replicas, made.host) == (4, 4, 2)
    assert made.addresses == ADDRESSES
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    assert resolver.cluster_spec().as_dict() == {"worker": ADDRESSES}
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)
  monkeypatch.setenv("SLURM_PROCID", "3")
  with pytest.raises(ValueError, match="both name a cluster"):
    engine.Engine(options, 8, 8)


@pytest.mark.parametrize("tasks, expected", [
    ("2,1", ["n9:10048", "n9:10049", "n10:10048"]), ("x", None)])
def test_nodes_with_different_numbers_of_tasks(
    monkeypatch, tmp_path, tasks, expected):
  allocate(monkeypatch, tmp_path, SLURM_STEP_TASKS_PER_NODE=tasks,
           SLURM_STEP_NUM_TASKS="3", SLURM_NTASKS="3")
  if IS_TF1 or not expected:
    with pytest.raises(ValueError, match="SLURM_STEP_TASKS_PER_NODE=" + tasks):
      slurm.read()
  else:
    assert slurm.read() == (expected, 2)


@pytest.mark.parametrize("changes, said", [
    ({"SLURM_STEP_NODELIST": None}, "SLURM_STEP_NODELIST is not set.* srun"),
    ({"OMPI_COMM_WORLD_SIZE": "4"}, "by mpirun. Start them with srun"),
    ({"SLURM_STEP_NUM_TASKS": "5"}, "SlurmClusterResolver failed: Requested"),
    # Cyclic distribution: another node has task 2.
    ({"SLURMD_NODENAME": "n9"}, "task 2 of n9:10048, .* than n9"),
    ({"SLURM_PROCID": "4"}, "task 4 of"),
])
def test_refused(monkeypatch, tmp_path, changes, said):
  allocate(monkeypatch, tmp_path, **changes)
  with pytest.raises(ValueError, match=said) as caught:
    slurm.read()
  assert "\n" not in str(caught.value)


@pytest.mark.skipif(not IS_TF1, reason="TensorFlow 2 does not call scontrol")
def test_without_scontrol(monkeypatch, tmp_path):
  allocate(monkeypatch, tmp_path)
  (tmp_path / "scontrol").unlink()
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(ValueError, match="'scontrol'.* set TF_CONFIG instead"):
    slurm.read()
