"""The learning-rate schedule, Adam with decoupled weight decay, the train op.

`create_optimizer` joins the three parts, which can also be used alone:
`learning_rate_at` is the schedule, a function of the step, and
`AdamWeightDecayOptimizer` updates variables by gradients.
"""

import math
import re

import tensorflow.compat.v1 as tf

# The graph collection in which `create_optimizer` leaves the learning rate, for
# logs and summaries: the very tensor that the update multiplies by, e.g.
#   rate = tf.get_collection(optimization.LEARNING_RATE)[-1]
LEARNING_RATE = "learning_rate"

OPTIMIZERS = ("adamw", "lamb")

# What the learning rate may do behind the warm-up.
DECAYS = ("linear", "constant", "cosine")

# The settings that BERT was pretrained with.
_WEIGHT_DECAY_RATE = 0.01
_NOT_DECAYED = ("LayerNorm", "layer_norm", "bias")
_CLIP_NORM = 1.0


def learning_rate_at(global_step, init_lr, num_train_steps, num_warmup_steps,
                     *, decay="linear"):
  """Linear warm-up, then a decay.

  Below `num_warmup_steps` W the rate is init_lr * step / W. From there on, up
  to `num_train_steps` N, it is by `decay`:
  * "linear": init_lr * (1 - step / N). Both lines start at step 0, so the rate
    drops at W, from init_lr to init_lr * (1 - W / N).
  * "cosine": init_lr * (1 + cos(pi * (step - W) / (N - W))) / 2, half a wave
    from init_lr at W to 0 at N.
  * "constant": init_lr.

  Args:
    global_step: integer tensor [], the number of updates before this one.
    init_lr: float, the peak.
    num_train_steps: int, N, from which on the rate is 0, unless it is constant.
    num_warmup_steps: int, W; 0 or None for no warm-up.
    decay: one of DECAYS.

  Returns:
    float32 tensor [].

  Raises:
    ValueError: `num_train_steps` is below 1, or `decay` none of DECAYS.

  Source: google-research/bert, optimization.create_optimizer; "linear" gives
  the same values to the last bit. "cosine": Loshchilov and Hutter 2016, arXiv
  1608.03983, equation 5, without restarts.
  """
  if num_train_steps < 1:
    raise ValueError("num_train_steps must be at least 1 to train, got %r."
                     % (num_train_steps,))
  if decay not in DECAYS:
    raise ValueError("decay=%r is none of %s." % (decay, ", ".join(DECAYS)))
  num_warmup_steps = num_warmup_steps or 0
  step = tf.cast(global_step, tf.float32)
  decayed = init_lr * _decay_factor(
      step, num_train_steps, num_warmup_steps, decay)
  if not num_warmup_steps:
    return decayed
  warmup = tf.cast(tf.constant(num_warmup_steps), tf.float32)
  return tf.where(step < warmup, init_lr * (step / warmup), decayed)


def _decay_factor(step, num_train_steps, num_warmup_steps, decay):
  """Returns the rate's share of its peak behind the warm-up, float32 []."""
  if decay == "constant":
    return tf.ones_like(step)
  end = tf.cast(tf.constant(num_train_steps), tf.float32)
  if decay == "linear":
    return 1.0 - tf.minimum(step, end) / end
  warmup = float(min(num_warmup_steps, num_train_steps - 1))
  done = (tf.minimum(step, end) - warmup) / (end - warmup)
  return (1.0 + tf.cos(math.pi * tf.maximum(done, 0.0))) / 2.0


def describe_learning_rate(init_lr, num_train_steps, num_warmup_steps, decay):
  """Says in one sentence how the rate goes; see `learning_rate_at`.

  >>> describe_learning_rate(1e-4, 1000, 100, "linear")
  '0 to 0.0001 in 100 steps, then from 9e-05 linearly to 0 at step 1000'
  """
  end = {"linear": "linearly to 0 at step %d", "constant": "on, to step %d",
         "cosine": "by half a cosine wave to 0 at step %d"}[decay]
  if not num_warmup_steps:
    return "from %g %s" % (init_lr, end % num_train_steps)
  rising = "0 to %g in %d steps" % (init_lr, num_warmup_steps)
  if num_warmup_steps >= num_train_steps:
    return "%s, of which %d are trained" % (rising, num_train_steps)
  start = init_lr
  if decay == "linear":
    start *= 1 - num_warmup_steps / num_train_steps
  return "%s, then from %g %s" % (rising, start, end % num_train_steps)


def create_optimizer(loss, init_lr, num_train_steps, num_warmup_steps, use_tpu,
                     *, decay="linear", optimizer="adamw"):
  """Makes the op that updates all trainable variables once.

  Gradients are clipped to a global norm of 1.0; the weight decay rate is 0.01.
  `tf.get_collection(LEARNING_RATE)[-1]` is the rate that the op uses.

  Args:
    loss: float32 tensor [].
    init_lr: float, the schedule's peak, see `learning_rate_at`.
    num_train_steps: int.
    num_warmup_steps: int.
    use_tpu: bool, whether to average the gradients of a TPU's cores.
    decay: one of DECAYS, see `learning_rate_at`.
    optimizer: one of OPTIMIZERS: AdamWeightDecayOptimizer or LambOptimizer.

  Returns:
    An op. One run of it updates the variables at the rate of the current
    global step, and then adds 1 to the global step.

  Source: google-research/bert, optimization.create_optimizer, the same
  arithmetic. Changed: there, the global step is read while it is being
  incremented, so that a step could train at the next one's rate.
  """
  global_step = tf.train.get_or_create_global_step()
  learning_rate = learning_rate_at(
      global_step, init_lr, num_train_steps, num_warmup_steps, decay=decay)
  tf.add_to_collection(LEARNING_RATE, learning_rate)
  optimizer = _make_optimizer(optimizer, learning_rate, global_step)
  if use_tpu:
    optimizer = tf.tpu.CrossShardOptimizer(optimizer)

  tvars = tf.trainable_variables()
  grads, _ = tf.clip_by_global_norm(tf.gradients(loss, tvars), _CLIP_NORM)
  update = optimizer.apply_gradients(zip(grads, tvars))
  # Behind the update, hence behind the rate it was computed with; the rate's
  # own dependency covers a model without a single variable to update.
  with tf.control_dependencies([update, learning_rate]):
    return tf.group(tf.assign_add(global_step, 1))


def _make_optimizer(name, learning_rate, global_step):
  """Returns the optimizer of a name, with the settings of BERT."""
  settings = dict(weight_decay_rate=_WEIGHT_DECAY_RATE,
                  exclude_from_weight_decay=list(_NOT_DECAYED))
  if name == "adamw":
    return AdamWeightDecayOptimizer(learning_rate, **settings)
  if name == "lamb":
    return LambOptimizer(learning_rate, global_step, **settings)
  raise ValueError("optimizer=%r is none of %s." %
                   (name, ", ".join(OPTIMIZERS)))


class AdamWeightDecayOptimizer(tf.train.Optimizer):
  """Adam without bias correction, with decoupled weight decay.

  Of a variable p with gradient g, at the rate r:
    m <- beta_1 * m + (1 - beta_1) * g
    v <- beta_2 * v + (1 - beta_2) * g^2
    p <- p - r * (m / (sqrt(v) + epsilon) + weight_decay_rate * p)

  m and v are the variables `<p>/adam_m` and `<p>/adam_v`, which start at 0.

  Source: Kingma and Ba 2014, arXiv 1412.6980, without the correction of
  section 3; Loshchilov and Hutter 2017, arXiv 1711.05101, algorithm 2;
  google-research/bert, optimization.AdamWeightDecayOptimizer, the same
  arithmetic to the last bit.
  """

  def __init__(self,
               learning_rate,
               weight_decay_rate=0.0,
               beta_1=0.9,
               beta_2=0.999,
               epsilon=1e-6,
               exclude_from_weight_decay=None,
               name="AdamWeightDecayOptimizer"):
    """Makes an optimizer.

    Args:
      learning_rate: float, or float32 tensor [].
      weight_decay_rate: float.
      beta_1: float, decay of the mean of gradients.
      beta_2: float, decay of the mean of squared gradients.
      epsilon: float, added to the root of the latter.
      exclude_from_weight_decay: list of str, regular expressions; a variable in
        whose name one of them is found does not decay.
      name: str, prefix of the created ops.
    """
    super().__init__(False, name)
    self.learning_rate = learning_rate
    self.weight_decay_rate = weight_decay_rate
    self.beta_1 = beta_1
    self.beta_2 = beta_2
    self.epsilon = epsilon
    self.exclude_from_weight_decay = exclude_from_weight_decay

  def apply_gradients(self, grads_and_vars, global_step=None, name=None):
    """Updates variables by gradients.

    Args:
      grads_and_vars: pairs of gradient (tensor or IndexedSlices) and variable;
        a pair with a None is passed over.
      global_step: not touched; here for the base class's signature.
      name: str, name of the returned op.

    Returns:
      An op.
    """
    updates = [self._update(grad, var) for grad, var in grads_and_vars
               if grad is not None and var is not None]
    return tf.group(*updates, name=name)

  def _update(self, grad, var):
    """Returns the op that updates a variable and its two slots."""
    # The rows of IndexedSlices are summed up here, once: m and v of every row
    # change anyway, as they decay.
    grad = tf.convert_to_tensor(grad)
    adam_m = self._zeros_slot(var, "m", "adam_m")
    adam_v = self._zeros_slot(var, "v", "adam_v")
    # 1 - beta in Python's double precision, rounded once to float32.
    next_m = self.beta_1 * adam_m + (1.0 - self.beta_1) * grad
    next_v = self.beta_2 * adam_v + (1.0 - self.beta_2) * tf.square(grad)
    update = self._direction(next_m, next_v)
    is_decayed = self._do_use_weight_decay(self._get_variable_name(var.name))
    if is_decayed:
      update += self.weight_decay_rate * var
    next_var = var - self._rate(var, update, is_decayed) * update
    return tf.group(*[
        variable.assign(value, read_value=False) for variable, value in (
            (var, next_var), (adam_m, next_m), (adam_v, next_v))])

  def _direction(self, mean, mean_square):
    """Returns where to go by the means of the gradients and their squares."""
    return mean / (tf.sqrt(mean_square) + self.epsilon)

  def _rate(self, var, update, is_decayed):
    """Returns how far to go, as a multiple of the update."""
    del var, update, is_decayed
    return self.learning_rate

  def _do_use_weight_decay(self, param_name):
    """Tells whether the variable of that name decays."""
    if not self.weight_decay_rate:
      return False
    return not any(re.search(pattern, param_name)
                   for pattern in self.exclude_from_weight_decay or ())

  @staticmethod
  def _get_variable_name(param_name):
    """Returns a variable's name without the ":0" of its tensor."""
    return re.sub(r":\d+$", "", param_name)


class LambOptimizer(AdamWeightDecayOptimizer):
  """LAMB: Adam with steps in proportion to each variable, for large batches.

  With m and v as in AdamWeightDecayOptimizer, in the t-th update:
    u <- m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)
         + weight_decay_rate * p
    p <- p - r * (|p| / |u|) * u

  |.| is the Euclidean norm over the variable; where one is 0, and of variables
  that do not decay (biases, layer norms), the ratio is 1.

  Source: You et al. 2019, arXiv 1904.00962, algorithm 2, with the identity for
  phi; the exclusion is that of the authors' experiments on BERT.
  """

  def __init__(self, learning_rate, num_updates, name="LambOptimizer",
               **settings):
    """Makes an optimizer.

    Args:
      learning_rate: float, or float32 tensor [].
      num_updates: integer tensor [], the number of updates before this one.
      name: str, prefix of the created ops.
      **settings: see AdamWeightDecayOptimizer.
    """
    super().__init__(learning_rate, name=name, **settings)
    self._t = tf.cast(num_updates, tf.float32) + 1.0

  def _direction(self, mean, mean_square):
    return super()._direction(
        mean / (1.0 - tf.pow(self.beta_1, self._t)),
        mean_square / (1.0 - tf.pow(self.beta_2, self._t)))

  def _rate(self, var, update, is_decayed):
    if not is_decayed:
      return self.learning_rate
    norm, update_norm = tf.norm(var), tf.norm(update)
    ratio = tf.where(norm * update_norm > 0.0, tf.math.divide_no_nan(
        norm, update_norm), 1.0)
    return self.learning_rate * ratio
