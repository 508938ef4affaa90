"""Where a model trains: one device, several GPUs, several workers or a TPU.

From the hardware configuration this module chooses Estimator or TPUEstimator,
their RunConfig, the tf.distribute.Strategy and the session config. It knows
nothing about text.
"""

import contextlib
import os
from typing import Any

import tensorflow.compat.v1 as tf

from bert_e2e.training import cluster as cluster_lib
from bert_e2e.training import slurm, tpu_feeding

# TPU v2 and v3 hosts have 8 cores each. The number of hosts derived from this
# shards the input, so it must not change when a run is resumed.
_CORES_PER_TPU_HOST = 8


class Engine:
  """Trains and evaluates a model on the configured hardware.

  Args:
    hardware: config.HardwareConfig, validated.
    train_batch_size: int, sequences per update, over all devices and
      micro-batches.
    eval_batch_size: int, sequences per evaluation batch.
    environment: dict of environment variables; None for os.environ.

  Attributes:
    num_replicas: int, number of devices that share a training batch.
    num_hosts: int, number of hosts that each read a part of the input: workers
      of a cluster, or hosts of a TPU.
    is_cluster: bool, True if several workers train together.
    addresses: list of str, host:port of each worker of the cluster; [] without
      one.
    host: int, index of this process; host 0 writes the checkpoints and
      evaluates.

  Raises:
    ValueError: the options contradict each other, or this machine does not
      support them.
  """

  def __init__(self, hardware, train_batch_size, eval_batch_size,
               environment=None):
    self._hardware = hardware
    self._train_batch_size = train_batch_size
    self._eval_batch_size = eval_batch_size
    environment = os.environ if environment is None else environment
    _check_combination(hardware)
    self._cluster = None
    self._devices = []
    self.num_replicas = self.num_hosts = 1
    if hardware.use_tpu:
      self.num_replicas = hardware.num_tpu_cores
      self.num_hosts = -(-hardware.num_tpu_cores // _CORES_PER_TPU_HOST)
    if hardware.use_tpu or hardware.distribution_strategy == "none":
      _check_no_cluster(environment)
    else:
      self._devices = _devices(hardware)
      self._cluster = _cluster(hardware, environment)
      if self._cluster:
        self.num_hosts = len(self._cluster.addresses)
      self.num_replicas = len(self._devices) * self.num_hosts
    self.is_cluster = self._cluster is not None
    self.addresses = list(self._cluster.addresses) if self._cluster else []
    self.host = self._cluster.host if self._cluster else 0
    _check_batch_sizes(
        hardware, train_batch_size, eval_batch_size, self.num_replicas)
    self._estimator: Any = None
    self._evaluator: Any = None
    self._make_predictor: Any = None

  def build(self, model_fn, *, model_dir, random_seed=None, is_training=True):
    """Builds the estimator.

    Args:
      model_fn: function of (features, labels, mode, params, config) that
        returns a TPUEstimatorSpec.
      model_dir: str, directory of the checkpoints; the model's training hooks
        save them.
      random_seed: int, seed for newly initialized weights; None for a different
        one in every run.
      is_training: bool; if False, only the evaluator is built, which does not
        need the other workers of a cluster.

    Raises:
      ValueError: the TPU is not found or unreachable.
    """
    common = dict(
        model_dir=model_dir, save_checkpoints_steps=None,
        save_checkpoints_secs=None, tf_random_seed=random_seed,
        session_config=self._session_config())
    # With a strategy, evaluation has its own estimator: it may run during
    # training, and always on a single device.
    if self._hardware.distribution_strategy == "none":
      self._evaluator = self._tpu_estimator(model_fn, common)
      self._estimator = self._evaluator
      self._make_predictor = lambda: self._plain_estimator(
          model_fn, common, None)
    else:
      self._evaluator = self._plain_estimator(model_fn, common, None)
      self._make_predictor = lambda: self._evaluator
      self._estimator = self._plain_estimator(
          model_fn, common, self._strategy()) if is_training else None

  def train(self, input_fn, hooks, max_steps):
    """Trains up to a global step.

    Args:
      input_fn: function of (params, input_context) that returns a dataset with
        batches of params["batch_size"] examples: the per-replica batch size if
        several devices share a batch.
      hooks: list of tf.train.SessionRunHook.
      max_steps: int, the global step to train to.
    """
    if not self.is_cluster:
      self._estimator.train(input_fn, hooks=hooks, max_steps=max_steps)
      return
    tf.estimator.train_and_evaluate(
        self._estimator,
        tf.estimator.TrainSpec(input_fn, max_steps=max_steps, hooks=hooks),
        # Required, but no task of the cluster is an evaluator.
        tf.estimator.EvalSpec(input_fn, steps=1))

  def evaluate(self, input_fn, steps, checkpoint=None, name=None, hooks=()):
    """Evaluates a checkpoint on one device or a TPU.

    Except on a TPU, it may be called while `train` is running.

    Args:
      input_fn: function of params, see `train`.
      steps: int, maximum number of batches; None for all (not on a TPU).
      checkpoint: str, path prefix; None for the latest checkpoint.
      name: str, name of the evaluation in TensorBoard; None for "eval".
      hooks: list of tf.train.SessionRunHook.

    Returns:
      dict from metric name to value.
    """
    kwargs = dict(steps=steps, checkpoint_path=checkpoint, name=name,
                  hooks=list(hooks))
    if self._hardware.distribution_strategy != "none":
      params = {"batch_size": self._eval_batch_size}
      return self._evaluator.evaluate(lambda: input_fn(params), **kwargs)
    return self._evaluator.evaluate(input_fn, **kwargs)

  def predict(self, input_fn, checkpoint=None, hooks=()):
    """Predicts with a checkpoint on one device; with a TPU, on this machine.

    It may be called while `train` is running.

    Args:
      input_fn: function that returns a dataset of batches of features.
      checkpoint, hooks: see `evaluate`.

    Returns:
      list of dict, the predictions of each batch, as arrays.
    """
    return list(self._make_predictor().predict(
        input_fn, hooks=list(hooks), checkpoint_path=checkpoint,
        yield_single_examples=False))

  def _tpu_estimator(self, model_fn, common):
    """Returns a TPUEstimator; it also runs on a CPU or a single GPU.

    Source: google-research/bert, run_pretraining.main, same settings.
    """
    hardware, tpu = self._hardware, tf.estimator.tpu
    resolver = self._resolve_tpu()
    if resolver and common["session_config"]:
      # TensorFlow's default for a TPU, required by tpu_feeding.forward.
      common["session_config"].isolate_session_state = True
    config = tpu.RunConfig(
        cluster=resolver,
        master=None if resolver else hardware.master,
        tpu_config=tpu.TPUConfig(
            iterations_per_loop=hardware.iterations_per_loop,
            num_shards=hardware.num_tpu_cores,
            tpu_job_name=tpu_feeding.WORKER_JOB if resolver else None,
            per_host_input_for_training=tpu.InputPipelineConfig.PER_HOST_V2),
        **common)
    return tpu.TPUEstimator(
        use_tpu=hardware.use_tpu,
        model_fn=model_fn,
        config=config,
        train_batch_size=self._train_batch_size,
        eval_batch_size=self._eval_batch_size)

  def _resolve_tpu(self):
    """Returns the TPUClusterResolver of a remote TPU, or None."""
    hardware = self._hardware
    if not hardware.use_tpu:
      return None
    try:
      return tpu_feeding.resolve(
          hardware.tpu_name, hardware.tpu_zone, hardware.gcp_project,
          hardware.tpu_coordinator_address)
    except (ValueError, OSError, ImportError, RuntimeError,
            tf.errors.OpError) as e:
      raise ValueError("--tpu_name=%s cannot be used: %s" %
                       (hardware.tpu_name, e)) from e

  def _strategy(self):
    """Returns the tf.distribute.Strategy to train with."""
    if self._cluster:
      return tf.distribute.experimental.MultiWorkerMirroredStrategy()
    # TensorFlow 2 would otherwise create the strategy in eager mode.
    with tf.Graph().as_default():
      return tf.distribute.MirroredStrategy(self._devices)

  def _plain_estimator(self, model_fn, common, strategy):
    """Returns an Estimator; `strategy` is None to use a single device."""
    def estimator_spec(features, labels, mode, params, config):
      return model_fn(features, labels, mode, params, config
                      ).as_estimator_spec()

    with _hidden_tf_config(self._cluster and strategy is None):
      return tf.estimator.Estimator(
          estimator_spec,
          config=tf.estimator.RunConfig(train_distribute=strategy, **common),
          params={"batch_size": self._train_batch_size // self.num_replicas})

  def _session_config(self):
    """Returns a tf.ConfigProto, or None for the estimator's default."""
    hardware = self._hardware
    num_cpus = sum("cpu" in device.lower() for device in self._devices)
    if hardware.precision != "fp16" and not hardware.use_xla and num_cpus < 2:
      return None
    config = tf.ConfigProto(allow_soft_placement=True)
    if num_cpus > 1:
      config.device_count["CPU"] = num_cpus
    rewriting = config.graph_options.rewrite_options
    if hardware.precision == "fp16":
      rewriting.auto_mixed_precision = rewriting.ON
    if hardware.use_xla and not hardware.use_tpu:
      config.graph_options.optimizer_options.global_jit_level = (
          tf.OptimizerOptions.ON_1)
    return config


@contextlib.contextmanager
def _hidden_tf_config(is_hidden):
  """Hides TF_CONFIG, which RunConfig reads, from a single-process estimator."""
  config = os.environ.pop("TF_CONFIG", None) if is_hidden else None
  try:
    yield
  finally:
    if config is not None:
      os.environ["TF_CONFIG"] = config


def _check_combination(hardware):
  """Raises ValueError for options that contradict each other."""
  strategy = hardware.distribution_strategy
  if hardware.use_tpu and strategy != "none":
    raise ValueError(
        "--use_tpu and --distribution_strategy=%s are mutually exclusive: TPU "
        "cores share the batch without a strategy." % strategy)
  if hardware.use_tpu and hardware.precision == "fp16":
    raise ValueError("TPUs do not support fp16; pass --precision=bfloat16.")
  if hardware.use_tpu and hardware.master and not hardware.tpu_name:
    raise ValueError(
        "--master=%s alone is not enough to feed a TPU; pass the TPU's address "
        "as --tpu_name." % hardware.master)
  if hardware.master and strategy != "none":
    raise ValueError("--master=%s and --distribution_strategy=%s are mutually "
                     "exclusive." % (hardware.master, strategy))
  if hardware.precision == "bfloat16" and not hardware.use_tpu and (
      tf.__version__.startswith("1.") and _num_gpus()):
    raise ValueError("TensorFlow %s does not support bfloat16 on GPUs; pass "
                     "--precision=fp16, or use TensorFlow 2." % tf.__version__)
  if hardware.cluster != "tf_config" and strategy != "multi_worker_mirrored":
    raise ValueError(
        "--cluster=%s requires --distribution_strategy=multi_worker_mirrored." %
        hardware.cluster)
  if hardware.num_gpus is not None and strategy != "mirrored":
    raise ValueError("--num_gpus=%d requires --distribution_strategy=mirrored."
                     % hardware.num_gpus)
  if hardware.devices and strategy != "mirrored":
    raise ValueError("--devices=%s requires --distribution_strategy=mirrored." %
                     ",".join(hardware.devices))
  if hardware.devices and hardware.num_gpus is not None:
    raise ValueError("--num_gpus and --devices are mutually exclusive.")


def _num_gpus():
  """Returns the number of GPUs that TensorFlow finds on this machine."""
  return len(tf.config.experimental.list_physical_devices("GPU"))


def _devices(hardware):
  """Returns the names of this machine's devices for a strategy.

  Raises:
    ValueError: there are fewer GPUs than requested.
  """
  if hardware.devices:
    return list(hardware.devices)
  found = _num_gpus()
  if hardware.distribution_strategy == "multi_worker_mirrored":
    # The strategy uses all local GPUs.
    return ["gpu:%d" % i for i in range(found)] or ["cpu:0"]
  wanted = found if hardware.num_gpus is None else hardware.num_gpus
  if wanted < 1 or wanted > found:
    requested = "all" if hardware.num_gpus is None else wanted
    raise ValueError(
        "--distribution_strategy=mirrored requested %s GPUs, but TensorFlow "
        "finds %d on this machine. Pass another --num_gpus, or "
        "--devices=cpu:0,cpu:1 to try it without GPUs." % (requested, found))
  return ["gpu:%d" % i for i in range(wanted)]


def _cluster(hardware, environment):
  """Returns the cluster.Cluster of multi-worker training, else None.

  Sets TF_CONFIG, which TensorFlow reads, if the cluster comes from elsewhere.

  Raises:
    ValueError: TF_CONFIG is missing, invalid, set for "mirrored", or set beside
      another source of the cluster; or that source cannot be used.
  """
  cluster = cluster_lib.read(environment)
  if hardware.cluster == "slurm":
    named, cluster = cluster, slurm.read()
    if named not in (None, cluster):
      raise ValueError(
          "TF_CONFIG and --cluster=slurm both name a cluster; unset TF_CONFIG, "
          "or drop the flag.")
    environment["TF_CONFIG"] = cluster_lib.tf_config(cluster)
  if hardware.distribution_strategy == "mirrored":
    if cluster:
      raise ValueError(
          "TF_CONFIG names several workers, but --distribution_strategy="
          "mirrored uses a single machine. Pass multi_worker_mirrored, or "
          "unset TF_CONFIG.")
  elif cluster is None:
    raise ValueError(
        "--distribution_strategy=multi_worker_mirrored requires TF_CONFIG in "
        "the environment of each worker (the cluster's addresses and this "
        "worker's index), or --cluster=slurm.")
  return cluster


def _check_no_cluster(environment):
  """Raises ValueError if TF_CONFIG names several workers."""
  count = cluster_lib.count_workers(environment)
  if count > 1:
    raise ValueError(
        "TF_CONFIG names %d workers; pass --distribution_strategy="
        "multi_worker_mirrored to train with all of them, or unset TF_CONFIG." %
        count)


def _check_batch_sizes(hardware, train_batch_size, eval_batch_size,
                       num_replicas):
  """Raises ValueError if a batch does not divide evenly among the replicas."""
  parts = num_replicas * hardware.gradient_accumulation_steps
  if train_batch_size % parts:
    raise ValueError(
        "--train_batch_size=%d is not divisible by %d (%d devices x %d "
        "micro-batches). The next valid size is %d." %
        (train_batch_size, parts, num_replicas,
         hardware.gradient_accumulation_steps,
         -(-train_batch_size // parts) * parts))
  if hardware.use_tpu and eval_batch_size % num_replicas:
    raise ValueError(
        "--eval_batch_size=%d is not divisible by the %d cores of the TPU." %
        (eval_batch_size, num_replicas))
