"""Where a model trains: the estimator for CPU, GPU and TPU.

Knows nothing of text: it takes a `model_fn` and plain arguments.
"""

import tensorflow.compat.v1 as tf


def build_estimator(model_fn, *, model_dir, train_batch_size, eval_batch_size,
                    save_checkpoints_steps, random_seed=None,
                    iterations_per_loop=1000,
                    use_tpu=False, tpu_name=None, tpu_zone=None,
                    gcp_project=None, master=None, num_tpu_cores=8):
  """Builds the estimator that trains and evaluates.

  Args:
    model_fn: function of (features, labels, mode, params) that returns a
      TPUEstimatorSpec.
    model_dir: folder of the checkpoints.
    train_batch_size, eval_batch_size: int, sequences a step, over all devices.
    save_checkpoints_steps: int, steps between two checkpoints.
    random_seed: int, seed of fresh weights; None for others in every run.
    iterations_per_loop: int, steps of a TPU between two returns to the host.
    use_tpu: bool; without a TPU it trains on the GPU, if TensorFlow sees one,
      else on the CPU.
    tpu_name: str, name or grpc:// address of a TPU.
    tpu_zone, gcp_project: str, where it is, unless the metadata tell.
    master: str, address of a TensorFlow session's master.
    num_tpu_cores: int, cores of the TPU.

  Returns:
    A tf.estimator.tpu.TPUEstimator.

  Source: google-research/bert, run_pretraining.main, same settings.
  """
  cluster = None
  if use_tpu and tpu_name:
    cluster = tf.distribute.cluster_resolver.TPUClusterResolver(
        tpu_name, zone=tpu_zone, project=gcp_project)
  tpu = tf.estimator.tpu
  config = tpu.RunConfig(
      cluster=cluster,
      master=master,
      model_dir=model_dir,
      save_checkpoints_steps=save_checkpoints_steps,
      tf_random_seed=random_seed,
      tpu_config=tpu.TPUConfig(
          iterations_per_loop=iterations_per_loop,
          num_shards=num_tpu_cores,
          per_host_input_for_training=tpu.InputPipelineConfig.PER_HOST_V2))
  return tpu.TPUEstimator(
      use_tpu=use_tpu,
      model_fn=model_fn,
      config=config,
      train_batch_size=train_batch_size,
      eval_batch_size=eval_batch_size)
