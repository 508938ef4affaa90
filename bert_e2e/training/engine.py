"""Where a model trains: one device, several GPUs or machines, a TPU.

This module decides between Estimator and TPUEstimator, their RunConfig, the
tf.distribute.Strategy and the session's config, from plain arguments. It knows
nothing of text.
"""

import contextlib
import os
from typing import Any, NamedTuple, Optional, Sequence

import tensorflow.compat.v1 as tf

from bert_e2e.training import cluster as cluster_lib
from bert_e2e.training import tpu_feeding

STRATEGIES = ("none", "mirrored", "multi_worker_mirrored")
# Of TPUs v2 and v3; it only has to be the same when a run goes on.
_CORES_OF_TPU_HOST = 8
PRECISIONS = ("fp32", "fp16", "bfloat16")


class Options(NamedTuple):
  """What decides the engine; the flags of the same names.

  Attributes:
    train_batch_size: int, sequences an update, over all devices and
      micro-batches; eval_batch_size: int.
    distribution_strategy: one of STRATEGIES.
    num_gpus: int, GPUs of this machine for "mirrored"; None for all.
    devices: sequence of str, devices in place of GPUs, e.g. ["cpu:0", "cpu:1"].
    gradient_accumulation_steps: int, micro-batches of an update.
    precision: one of PRECISIONS.
    use_xla: bool, whether XLA compiles what it can.
    use_tpu: bool; without a TPU it trains on the GPU, if TensorFlow sees one,
      else on the CPU.
    tpu_name: str, name or grpc:// addresses of a TPU; "local" or None for one
      in this machine.
    tpu_coordinator_address: str host:port by which the TPU's hosts reach this
      process; None for a free port.
    tpu_zone, gcp_project: str, where it is, unless the metadata tell.
    master: str, address of a TensorFlow session's master.
    num_tpu_cores: int, cores of the TPU.
    iterations_per_loop: int, steps of a TPU between two returns to the host.
  """
  train_batch_size: int
  eval_batch_size: int = 8
  distribution_strategy: str = "none"
  num_gpus: Optional[int] = None
  devices: Sequence[str] = ()
  gradient_accumulation_steps: int = 1
  precision: str = "fp32"
  use_xla: bool = False
  use_tpu: bool = False
  tpu_name: Optional[str] = None
  tpu_coordinator_address: Optional[str] = None
  tpu_zone: Optional[str] = None
  gcp_project: Optional[str] = None
  master: Optional[str] = None
  num_tpu_cores: int = 8
  iterations_per_loop: int = 1000


class Engine:
  """Trains and evaluates a model where the options say.

  Args:
    options: Options.
    environment: dict with the variables of the environment; os.environ if None.

  Attributes:
    num_replicas: int, devices that share a training batch.
    num_hosts: int, hosts that each read a part of the input: processes of a
      cluster, or machines of a TPU.
    is_cluster: bool, whether several processes train together.
    host: int, which of them this is; number 0 writes the checkpoints and
      evaluates.

  Raises:
    ValueError: options that do not go together, or that this machine can't
      serve.
  """

  def __init__(self, options, environment=None):
    self._options = options
    environment = os.environ if environment is None else environment
    _check_combination(options)
    self._cluster = None
    self._devices = []
    self.num_replicas = self.num_hosts = 1
    if options.use_tpu:
      self.num_replicas = options.num_tpu_cores
      self.num_hosts = -(-options.num_tpu_cores // _CORES_OF_TPU_HOST)
    if options.use_tpu or options.distribution_strategy == "none":
      _check_alone(environment)
    else:
      self._devices = _devices(options)
      self._cluster = _cluster(options, environment)
      if self._cluster:
        self.num_hosts = len(self._cluster.addresses)
      self.num_replicas = len(self._devices) * self.num_hosts
    self.is_cluster = self._cluster is not None
    self.host = self._cluster.host if self._cluster else 0
    _check_batch(options, self.num_replicas)
    self._estimator: Any = None
    self._evaluator: Any = None

  def build(self, model_fn, *, model_dir, random_seed=None, is_training=True):
    """Builds the estimator.

    Args:
      model_fn: function of (features, labels, mode, params, config) that
        returns a TPUEstimatorSpec.
      model_dir: folder of the checkpoints, which a hook of the model's saves.
      random_seed: int, seed of fresh weights; None for others in every run.
      is_training: bool; else the other machines of a cluster are not needed.

    Raises:
      ValueError: the TPU is not found or cannot be reached.
    """
    common = dict(
        model_dir=model_dir, save_checkpoints_steps=None,
        save_checkpoints_secs=None, tf_random_seed=random_seed,
        session_config=self._session_config())
    # Of their own where one evaluates while the other trains; and evaluations
    # are one device's.
    if self._options.distribution_strategy == "none":
      self._evaluator = self._tpu_estimator(model_fn, common)
      self._estimator = self._evaluator
    else:
      self._evaluator = self._plain_estimator(model_fn, common, None)
      self._estimator = self._plain_estimator(
          model_fn, common, self._strategy()) if is_training else None

  def train(self, input_fn, hooks, max_steps):
    """Trains.

    Args:
      input_fn: function of (params, input_context) that returns a dataset of
        batches of params["batch_size"], the share of one device where several
        ones share a batch.
      hooks: list of tf.train.SessionRunHook.
      max_steps: int, the global step to train to.
    """
    if not self.is_cluster:
      self._estimator.train(input_fn, hooks=hooks, max_steps=max_steps)
      return
    tf.estimator.train_and_evaluate(
        self._estimator,
        tf.estimator.TrainSpec(input_fn, max_steps=max_steps, hooks=hooks),
        # Nobody of the cluster evaluates while it trains.
        tf.estimator.EvalSpec(input_fn, steps=1))

  def evaluate(self, input_fn, steps, checkpoint=None, name=None, hooks=()):
    """Evaluates a checkpoint, on one device or a TPU.

    It may be called while `train` is under way, but on a TPU.

    Args:
      input_fn: function of params, see `train`.
      steps: int, batches at the most; None for all that there are, but on a
        TPU.
      checkpoint: str, path prefix; None for the latest one.
      name: str, of the evaluation in TensorBoard; None for "eval".
      hooks: list of tf.train.SessionRunHook.

    Returns:
      dict from a metric's name to its value.
    """
    how = dict(steps=steps, checkpoint_path=checkpoint, name=name,
               hooks=list(hooks))
    if self._options.distribution_strategy != "none":
      params = {"batch_size": self._options.eval_batch_size}
      return self._evaluator.evaluate(lambda: input_fn(params), **how)
    return self._evaluator.evaluate(input_fn, **how)

  def _tpu_estimator(self, model_fn, common):
    """Returns a TPUEstimator, which serves a CPU and a single GPU, too.

    Source: google-research/bert, run_pretraining.main, same settings.
    """
    options, tpu = self._options, tf.estimator.tpu
    resolver = self._resolve_tpu()
    if resolver and common["session_config"]:
      # As without a config of ours: see tpu_feeding.forward.
      common["session_config"].isolate_session_state = True
    config = tpu.RunConfig(
        cluster=resolver,
        master=None if resolver else options.master,
        tpu_config=tpu.TPUConfig(
            iterations_per_loop=options.iterations_per_loop,
            num_shards=options.num_tpu_cores,
            tpu_job_name=tpu_feeding.WORKER_JOB if resolver else None,
            per_host_input_for_training=tpu.InputPipelineConfig.PER_HOST_V2),
        **common)
    return tpu.TPUEstimator(
        use_tpu=options.use_tpu,
        model_fn=model_fn,
        config=config,
        train_batch_size=options.train_batch_size,
        eval_batch_size=options.eval_batch_size)

  def _resolve_tpu(self):
    """Returns the TPUClusterResolver of a TPU of other machines, or None."""
    options = self._options
    if not options.use_tpu:
      return None
    try:
      return tpu_feeding.resolve(
          options.tpu_name, options.tpu_zone, options.gcp_project,
          options.tpu_coordinator_address)
    except (ValueError, OSError, ImportError, RuntimeError,
            tf.errors.OpError) as e:
      raise ValueError("--tpu_name=%s cannot be used: %s" %
                       (options.tpu_name, e)) from e

  def _strategy(self):
    """Returns the tf.distribute.Strategy of a training by several devices."""
    if self._cluster:
      return tf.distribute.experimental.MultiWorkerMirroredStrategy()
    with tf.Graph().as_default():  # Else TensorFlow 2 makes it an eager one.
      return tf.distribute.MirroredStrategy(self._devices)

  def _plain_estimator(self, model_fn, common, strategy):
    """Returns an Estimator that trains by a tf.distribute.Strategy, if any."""
    def estimator_spec(features, labels, mode, params, config):
      return model_fn(features, labels, mode, params, config
                      ).as_estimator_spec()

    with _environment(self._cluster and strategy is None):
      return tf.estimator.Estimator(
          estimator_spec,
          config=tf.estimator.RunConfig(train_distribute=strategy, **common),
          params={"batch_size":
                  self._options.train_batch_size // self.num_replicas})

  def _session_config(self):
    """Returns a tf.ConfigProto, or None for an estimator's own default."""
    options = self._options
    num_cpus = sum("cpu" in device.lower() for device in self._devices)
    if options.precision != "fp16" and not options.use_xla and num_cpus < 2:
      return None
    config = tf.ConfigProto(allow_soft_placement=True)
    if num_cpus > 1:
      config.device_count["CPU"] = num_cpus
    rewriting = config.graph_options.rewrite_options
    if options.precision == "fp16":
      rewriting.auto_mixed_precision = rewriting.ON
    if options.use_xla and not options.use_tpu:
      config.graph_options.optimizer_options.global_jit_level = (
          tf.OptimizerOptions.ON_1)
    return config


@contextlib.contextmanager
def _environment(is_alone):
  """Hides TF_CONFIG, by which a RunConfig goes, from what is one process's."""
  config = os.environ.pop("TF_CONFIG", None) if is_alone else None
  try:
    yield
  finally:
    if config is not None:
      os.environ["TF_CONFIG"] = config


class Replicas:
  """The devices that share a training batch, seen from one of them.

  Args:
    tpu_context: the TPUContext of a TPU's core, or None. Without one, the
      tf.distribute.Strategy counts in whose scope this is called.

  Attributes:
    count: int, how many there are.
    is_tpu: bool, whether they are a TPU's cores, which share one graph.
    index: int or int32 [], which one this is; on a TPU 0 for all.
  """

  def __init__(self, tpu_context=None):
    self.is_tpu = tpu_context is not None
    self.count, self.index = 1, 0
    if self.is_tpu:
      self.count = tpu_context.num_replicas
    elif tf.distribute.has_strategy():
      self._context = tf.distribute.get_replica_context()
      self.count = self._context.num_replicas_in_sync
      self.index = self._context.replica_id_in_sync_group

  def sum(self, tensors):
    """Sums tensors over all replicas.

    Args:
      tensors: list of float32 [].

    Returns:
      list of float32 []. On a TPU, where it is for figures only, what it would
      be if all cores had the same ones.
    """
    if self.count == 1:
      return list(tensors)
    if self.is_tpu:
      return [tensor * self.count for tensor in tensors]
    # Not by the context's all_reduce, whose gradient TensorFlow 1.15 can't make
    # of what depends on variables: none is needed.
    return tf.unstack(self._context.merge_call(
        lambda strategy, values: strategy.extended.reduce_to(
            tf.distribute.ReduceOp.SUM, values, values),
        args=(tf.stack(tensors),)))


def _check_combination(options):
  """Raises ValueError for options that contradict each other."""
  strategy = options.distribution_strategy
  for name, value, choices in (
      ("distribution_strategy", strategy, STRATEGIES),
      ("precision", options.precision, PRECISIONS)):
    if value not in choices:
      raise ValueError("--%s=%s is none of %s." % (
          name, value, ", ".join(choices)))
  if options.use_tpu and strategy != "none":
    raise ValueError(
        "--use_tpu and --distribution_strategy=%s exclude each other: a TPU's "
        "cores share the batch by themselves." % strategy)
  if options.use_tpu and options.precision == "fp16":
    raise ValueError("A TPU does not compute in fp16; pass "
                     "--precision=bfloat16.")
  if options.use_tpu and options.master and not options.tpu_name:
    raise ValueError(
        "--master=%s alone does not let this process feed a TPU; pass its "
        "address as --tpu_name." % options.master)
  if options.master and strategy != "none":
    raise ValueError("--master=%s and --distribution_strategy=%s exclude each "
                     "other." % (options.master, strategy))
  if options.precision == "bfloat16" and not options.use_tpu and (
      tf.__version__.startswith("1.") and _num_gpus()):
    raise ValueError("TensorFlow %s does not compute in bfloat16 on GPUs; pass "
                     "--precision=fp16, or take TensorFlow 2." % tf.__version__)
  if options.num_gpus is not None and strategy != "mirrored":
    raise ValueError("--num_gpus=%d needs --distribution_strategy=mirrored." %
                     options.num_gpus)
  if options.devices and strategy != "mirrored":
    raise ValueError("--devices=%s needs --distribution_strategy=mirrored." %
                     ",".join(options.devices))
  if options.devices and options.num_gpus is not None:
    raise ValueError("--num_gpus and --devices exclude each other.")
  if options.gradient_accumulation_steps < 1:
    raise ValueError(
        "--gradient_accumulation_steps=%d is out of range: it must be at least "
        "1." % options.gradient_accumulation_steps)


def _num_gpus():
  """Returns how many GPUs TensorFlow sees on this machine."""
  return len(tf.config.experimental.list_physical_devices("GPU"))


def _devices(options):
  """Returns this machine's devices for a strategy.

  Raises:
    ValueError: there are fewer GPUs than were asked for.
  """
  if options.devices:
    return list(options.devices)
  found = _num_gpus()
  if options.distribution_strategy == "multi_worker_mirrored":
    # The strategy takes all GPUs itself.
    return ["gpu:%d" % i for i in range(found)] or ["cpu:0"]
  wanted = found if options.num_gpus is None else options.num_gpus
  if wanted < 1 or wanted > found:
    raise ValueError(
        "--distribution_strategy=mirrored was to take %s, but TensorFlow sees "
        "%d on this machine. Pass another --num_gpus, or, to try it without "
        "GPUs, --devices=cpu:0,cpu:1." %
        ("all GPUs" if options.num_gpus is None else "%d GPUs" % wanted, found))
  return ["gpu:%d" % i for i in range(wanted)]


def _cluster(options, environment):
  """Returns the cluster.Cluster of a training by several machines, or None.

  Raises:
    ValueError: TF_CONFIG is missing, or not what the strategy needs.
  """
  cluster = cluster_lib.read(environment)
  if options.distribution_strategy == "mirrored":
    if cluster:
      raise ValueError(
          "TF_CONFIG names several machines, and --distribution_strategy="
          "mirrored is for one. Pass multi_worker_mirrored, or unset it.")
  elif cluster is None:
    raise ValueError(
        "--distribution_strategy=multi_worker_mirrored needs TF_CONFIG in the "
        "environment of each worker: the machines, and which of them it is.")
  return cluster


def _check_alone(environment):
  """Raises ValueError where TF_CONFIG names machines that nothing asks for."""
  count = cluster_lib.count_machines(environment)
  if count > 1:
    raise ValueError(
        "TF_CONFIG names %d machines; pass --distribution_strategy="
        "multi_worker_mirrored to train with all of them, or unset it." % count)


def _check_batch(options, num_replicas):
  """Raises ValueError where a batch can't be shared out evenly."""
  parts = num_replicas * options.gradient_accumulation_steps
  if options.train_batch_size % parts:
    raise ValueError(
        "--train_batch_size=%d does not divide into %d parts (%d devices, %d "
        "micro-batches each). The next that does is %d." %
        (options.train_batch_size, parts, num_replicas,
         options.gradient_accumulation_steps,
         -(-options.train_batch_size // parts) * parts))
  if options.use_tpu and options.eval_batch_size % num_replicas:
    raise ValueError(
        "--eval_batch_size=%d does not divide by the %d cores of the TPU." %
        (options.eval_batch_size, num_replicas))
