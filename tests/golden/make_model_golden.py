"""Records what a BERT model and optimizer compute: the reference's, or ours.

Run as a program, under TensorFlow 1.15, it records google-research/bert:

  python tests/golden/make_model_golden.py <checkout> tests/golden/model

which writes `tiny.npz` and `reference_checkpoint/`. The tests import this file
and let it record our own modules in the same way, so that both sides get the
same weights, inputs, steps and session settings.
"""

import argparse
import collections
import contextlib
import importlib
import os
import sys
import zlib

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.ops import array_ops

# modeling, optimization: modules; heads: the one with get_masked_lm_output,
# which is run_pretraining in the reference.
Modules = collections.namedtuple("Modules", "modeling optimization heads")

# Head sizes 4 and 64: 1/sqrt of them is exact in binary, as for real models.
CONFIGS = {
    "tiny": dict(
        vocab_size=53, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=20, type_vocab_size=3),
    "wide": dict(
        vocab_size=1009, hidden_size=128, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=512,
        max_position_embeddings=64, type_vocab_size=2),
}
SEQ_LENGTH = 16
NUM_PREDICTIONS = 4
FEATURES = ("input_ids", "input_mask", "segment_ids", "masked_lm_positions",
            "masked_lm_ids", "masked_lm_weights", "next_sentence_labels")

# Warm-up, decay, and two steps beyond the end of the plan.
INIT_LR, TRAIN_STEPS, WARMUP_STEPS, STEPS_RUN = 1e-3, 6, 3, 8
CHECKPOINT_STEP = 4
# (init_lr, num_train_steps, num_warmup_steps) whose rates are recorded.
SCHEDULES = ((5e-5, 100000, 10000), (1e-4, 37, 11), (3e-3, 7, 0), (2e-5, 5, 9))


def session():
  """Returns a session in which sums have one order: a single thread."""
  return tf.Session(config=tf.ConfigProto(
      intra_op_parallelism_threads=1, inter_op_parallelism_threads=1))


def weight(name, shape):
  """Returns fixed values for the variable of that name."""
  random = np.random.RandomState(zlib.crc32(name.encode("utf-8")))
  values = 0.2 * random.randn(*shape)
  if name.endswith("gamma"):
    values += 1.0
  return values.astype(np.float32)


def batch(config, seed):
  """Returns a batch of 3 to 5 sequences, padded, with 1 to 4 predictions."""
  random = np.random.RandomState(seed)
  size = 3 + seed % 3
  lengths = random.randint(5, SEQ_LENGTH + 1, size=size)
  lengths[0] = SEQ_LENGTH
  mask = np.arange(SEQ_LENGTH)[None, :] < lengths[:, None]
  segments = np.arange(SEQ_LENGTH)[None, :] >= lengths[:, None] // 2
  counts = random.randint(1, NUM_PREDICTIONS + 1, size=size)
  used = np.arange(NUM_PREDICTIONS)[None, :] < counts[:, None]
  positions = np.sort(np.stack([
      random.choice(length, NUM_PREDICTIONS, replace=False)
      for length in lengths]), axis=1)
  ids = random.randint(1, config["vocab_size"], size=mask.shape)
  labels = random.randint(1, config["vocab_size"], size=used.shape)
  return {
      "input_ids": ids * mask,
      "input_mask": mask.astype(np.int32),
      "segment_ids": (segments & mask).astype(np.int32),
      "masked_lm_positions": positions * used,
      "masked_lm_ids": labels * used,
      "masked_lm_weights": used.astype(np.float32),
      "next_sentence_labels": random.randint(0, 2, size=[size, 1]),
  }


def placeholders():
  """Returns the features as placeholders of unknown batch size."""
  widths = {"masked_lm_positions": NUM_PREDICTIONS,
            "masked_lm_ids": NUM_PREDICTIONS,
            "masked_lm_weights": NUM_PREDICTIONS, "next_sentence_labels": 1}
  return {
      name: tf.placeholder(
          tf.float32 if name == "masked_lm_weights" else tf.int32,
          [None, widths.get(name, SEQ_LENGTH)])
      for name in FEATURES}


def feed(features, config, seed):
  """Returns the feed_dict of batch `seed`."""
  values = batch(config, seed)
  return {features[name]: values[name] for name in FEATURES}


def build(modules, config, features, is_training):
  """Builds the pretraining model.

  Args:
    modules: Modules.
    config: dict of BertConfig's arguments.
    features: dict of tensors.
    is_training: bool.

  Returns:
    (loss, tensors): the sum of both losses, and a dict of all outputs.
  """
  dropout = 0.0 if is_training else 0.1
  bert_config = modules.modeling.BertConfig(
      hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
      **config)
  model = modules.modeling.BertModel(
      config=bert_config, is_training=is_training,
      input_ids=features["input_ids"], input_mask=features["input_mask"],
      token_type_ids=features["segment_ids"])
  masked_lm = modules.heads.get_masked_lm_output(
      bert_config, model.get_sequence_output(), model.get_embedding_table(),
      features["masked_lm_positions"], features["masked_lm_ids"],
      features["masked_lm_weights"])
  next_sentence = modules.heads.get_next_sentence_output(
      bert_config, model.get_pooled_output(), features["next_sentence_labels"])
  tensors = {"embedding_output": model.get_embedding_output(),
             "sequence_output": model.get_sequence_output(),
             "pooled_output": model.get_pooled_output()}
  for index, layer in enumerate(model.get_all_encoder_layers()):
    tensors["layer_%d" % index] = layer
  for head, outputs in (("masked_lm", masked_lm),
                        ("next_sentence", next_sentence)):
    for name, output in zip(("loss", "per_example_loss", "log_probs"), outputs):
      tensors["%s_%s" % (head, name)] = output
  return masked_lm[0] + next_sentence[0], tensors


def start(sess):
  """Initializes all variables, the trainable ones with `weight`."""
  sess.run(tf.global_variables_initializer())
  for var in tf.trainable_variables():
    name = var.name.split(":")[0]
    var.load(weight(name, var.shape.as_list()), sess)


def record_outputs(modules, config):
  """Returns the outputs in evaluation, and losses and gradients in training."""
  arrays = {}
  with tf.Graph().as_default(), session() as sess:
    features = placeholders()
    _, tensors = build(modules, config, features, is_training=False)
    start(sess)
    for seed in (1, 2):
      values = sess.run(tensors, feed(features, config, seed))
      arrays.update(("eval/%d/%s" % (seed, name), value)
                    for name, value in values.items())
  with tf.Graph().as_default(), session() as sess:
    features = placeholders()
    loss, tensors = build(modules, config, features, is_training=True)
    tvars = tf.trainable_variables()
    tensors = {name: tensors[name] for name in tensors if "loss" in name}
    tensors.update(
        ("gradient/" + var.name.split(":")[0], tf.convert_to_tensor(gradient))
        for var, gradient in zip(tvars, tf.gradients(loss, tvars)))
    start(sess)
    values = sess.run(tensors, feed(features, config, 5))
    arrays.update(("train/" + name, value) for name, value in values.items())
  return arrays


@contextlib.contextmanager
def differentiable_moments():
  """Corrects the second derivatives of the reference's layer normalization.

  It calls tf.nn.moments, which takes the mean for a constant where it computes
  the variance. The first derivative does not depend on that, the second does.
  """
  stop_gradient = array_ops.stop_gradient
  array_ops.stop_gradient = array_ops.identity
  try:
    yield
  finally:
    array_ops.stop_gradient = stop_gradient


def record_second_derivatives(modules, config):
  """Returns the gradients of a gradient penalty.

  The penalty is half the sum of the squares of the training loss's gradients,
  as in https://arxiv.org/abs/1704.00028; its gradients are second derivatives.
  """
  with tf.Graph().as_default(), session() as sess, differentiable_moments():
    features = placeholders()
    loss, _ = build(modules, config, features, is_training=True)
    tvars = tf.trainable_variables()
    penalty = tf.add_n([
        tf.nn.l2_loss(tf.convert_to_tensor(gradient))
        for gradient in tf.gradients(loss, tvars)])
    tensors = {
        "second/" + var.name.split(":")[0]: tf.convert_to_tensor(gradient)
        for var, gradient in zip(tvars, tf.gradients(penalty, tvars))}
    start(sess)
    return sess.run(tensors, feed(features, config, 5))


def train_graph(modules, config):
  """Builds model and train op; returns (features, train_op)."""
  features = placeholders()
  loss, _ = build(modules, config, features, is_training=True)
  train_op = modules.optimization.create_optimizer(
      loss, INIT_LR, TRAIN_STEPS, WARMUP_STEPS, False)
  return features, train_op


def train(sess, config, features, train_op, steps, is_reference):
  """Runs the train op for the given range of steps.

  Args:
    sess: session.
    config: dict.
    features: dict of placeholders.
    train_op: op.
    steps: range of int, the global step before each run.
    is_reference: bool. The reference increments the global step while it
      computes the learning rate from it. So of its train op the update is run
      alone, and the step set afterwards: the rate is that of the step meant.
      (Feeding the step would do as well, but for the last bit: TensorFlow
      optimizes a graph differently around a fed tensor.)
  """
  ops = [train_op]
  if is_reference:
    ops = [op for op in train_op.control_inputs if op.type != "Assign"]
  for step in steps:
    sess.run(ops, feed(features, config, step))
    if is_reference:
      tf.train.get_global_step().load(step + 1, sess)


def record_training(modules, config, is_reference, checkpoint=None):
  """Trains for STEPS_RUN steps.

  Args:
    modules: Modules.
    config: dict.
    is_reference: bool, see `train`.
    checkpoint: str, prefix of a checkpoint to write at CHECKPOINT_STEP.

  Returns:
    dict of arrays, all variables (slots too) after the last step.
  """
  with tf.Graph().as_default(), session() as sess:
    features, train_op = train_graph(modules, config)
    start(sess)
    train(sess, config, features, train_op, range(CHECKPOINT_STEP),
          is_reference)
    if checkpoint:
      tf.train.Saver().save(sess, checkpoint, write_meta_graph=False,
                            write_state=False)
    train(sess, config, features, train_op, range(CHECKPOINT_STEP, STEPS_RUN),
          is_reference)
    return all_variables(sess, "trained/")


def continue_training(modules, config, is_reference, checkpoint):
  """Restores a checkpoint of CHECKPOINT_STEP and trains on to the end.

  Returns:
    dict of arrays as from `record_training`.
  """
  with tf.Graph().as_default(), session() as sess:
    features, train_op = train_graph(modules, config)
    tf.train.Saver().restore(sess, checkpoint)
    train(sess, config, features, train_op, range(CHECKPOINT_STEP, STEPS_RUN),
          is_reference)
    return all_variables(sess, "trained/")


def all_variables(sess, prefix=""):
  """Returns the values of all global variables by prefixed name."""
  values = sess.run({var.name.split(":")[0]: var
                     for var in tf.global_variables()})
  return {prefix + name: value for name, value in values.items()}


def record_optimizer(modules):
  """Returns what AdamWeightDecayOptimizer makes of fixed gradients.

  A dense gradient, a sparse one that names a row twice, one of a variable that
  does not decay, and none at all.
  """
  random = np.random.RandomState(77)
  with tf.Graph().as_default(), session() as sess:
    variables = [tf.get_variable(name, shape) for name, shape in (
        ("dense/kernel", [4, 3]), ("table", [7, 3]), ("LayerNorm/beta", [3]),
        ("unused", [2]))]
    dense = tf.placeholder(tf.float32, [4, 3])
    rows = tf.placeholder(tf.float32, [5, 3])
    beta = tf.placeholder(tf.float32, [3])
    sparse = tf.IndexedSlices(rows, tf.constant([1, 5, 1, 0, 6]),
                              tf.constant([7, 3]))
    optimizer = modules.optimization.AdamWeightDecayOptimizer(
        0.05, weight_decay_rate=0.03, beta_1=0.8, beta_2=0.95, epsilon=1e-4,
        exclude_from_weight_decay=["Norm", "^bias"])
    train_op = optimizer.apply_gradients(
        zip([dense, sparse, beta, None], variables))
    start(sess)
    for _ in range(5):
      sess.run(train_op, {tensor: random.randn(*tensor.shape.as_list())
                          for tensor in (dense, rows, beta)})
    return all_variables(sess, "optimizer/")


def schedule_steps(num_train_steps, num_warmup_steps):
  """Returns the steps at which a schedule is recorded."""
  if num_train_steps < 100:
    return list(range(num_train_steps + 3))
  return sorted(
      set(np.random.RandomState(3).randint(0, num_train_steps, size=40)) |
      {0, 1, num_warmup_steps - 1, num_warmup_steps, num_warmup_steps + 1,
       num_train_steps - 1, num_train_steps, num_train_steps + 1})


def record_schedules(learning_rate_at):
  """Returns the rates of SCHEDULES.

  Args:
    learning_rate_at: function of (global_step, init_lr, num_train_steps,
      num_warmup_steps) that returns a tensor.

  Returns:
    dict of arrays, a rate for each of `schedule_steps`.
  """
  arrays = {}
  for index, schedule in enumerate(SCHEDULES):
    with tf.Graph().as_default(), session() as sess:
      global_step = tf.train.get_or_create_global_step()
      rate = learning_rate_at(global_step, *schedule)
      sess.run(tf.global_variables_initializer())
      values = []
      for step in schedule_steps(*schedule[1:]):
        global_step.load(step, sess)
        values.append(sess.run(rate))
      arrays["schedule/%d" % index] = np.array(values, dtype=np.float32)
  return arrays


def reference_learning_rate(optimization):
  """Returns a `learning_rate_at` that takes the reference's rate.

  It is an argument of the optimizer that create_optimizer makes.
  """
  optimizer = optimization.AdamWeightDecayOptimizer
  original = optimizer.__init__
  rates = []

  def capture(self, learning_rate, **kwargs):
    rates.append(learning_rate)
    original(self, learning_rate, **kwargs)

  def learning_rate_at(unused_global_step, *schedule):
    optimizer.__init__ = capture
    optimization.create_optimizer(
        tf.square(tf.get_variable("w", [])), *schedule, use_tpu=False)
    optimizer.__init__ = original
    return rates[-1]

  return learning_rate_at


def reference_modules(checkout):
  """Imports the reference from a checkout."""
  sys.path.insert(0, checkout)
  return Modules(*[importlib.import_module(name) for name in (
      "modeling", "optimization", "run_pretraining")])


def main():
  """Records the reference to files."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("checkout", help="folder of google-research/bert")
  parser.add_argument("output_dir")
  parser.add_argument("--config", choices=sorted(CONFIGS), default="tiny")
  parser.add_argument(
      "--continue_from", help="prefix of a checkpoint of step %d; only"
      " continued.npz is written, the variables after training on from it"
      % CHECKPOINT_STEP)
  args = parser.parse_args()
  tf.logging.set_verbosity(tf.logging.ERROR)
  modules = reference_modules(os.path.abspath(args.checkout))
  config = CONFIGS[args.config]
  if args.continue_from:
    np.savez_compressed(
        os.path.join(args.output_dir, "continued.npz"),
        **continue_training(modules, config, True, args.continue_from))
    return
  folder = os.path.join(args.output_dir, "reference_checkpoint")
  if not os.path.isdir(folder):
    os.makedirs(folder)
  arrays = record_outputs(modules, config)
  arrays.update(record_second_derivatives(modules, config))
  arrays.update(record_training(
      modules, config, is_reference=True,
      checkpoint=os.path.join(folder, "model.ckpt-%d" % CHECKPOINT_STEP)))
  arrays.update(record_optimizer(modules))
  arrays.update(record_schedules(
      reference_learning_rate(modules.optimization)))
  np.savez_compressed(
      os.path.join(args.output_dir, args.config + ".npz"), **arrays)


if __name__ == "__main__":
  main()
