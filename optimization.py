"""The learning-rate schedule, Adam with decoupled weight decay, the train op.

`create_optimizer` joins the parts, which can also be used alone:
`learning_rate_at` is the schedule, a function of the step, `sum_gradients` gets
the gradients of a batch, in pieces if that saves memory, and
`AdamWeightDecayOptimizer` updates variables by gradients.

A batch may be spread over several replicas, by a tf.distribute.Strategy or on a
TPU. Each replica's loss is then its share of the batch's, so that all replicas'
losses, and their gradients, add up to the batch's.
"""

import math
import re
from typing import NamedTuple, Optional

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

  Args:
    loss: float32 tensor [], this replica's share of the batch's loss.
    init_lr, num_train_steps, num_warmup_steps, use_tpu, decay, optimizer: see
      `create_update`.

  Returns:
    An op; see `Update`.

  Source: google-research/bert, optimization.create_optimizer, the same
  arithmetic. Changed: there, the global step is read while it is being
  incremented, so that a step could train at the next one's rate; and on a TPU
  each core's gradient is clipped, and then the sum of them taken.
  """
  gradients = tf.gradients(loss, tf.trainable_variables())
  return create_update(
      gradients, init_lr, num_train_steps, num_warmup_steps, use_tpu,
      decay=decay, optimizer=optimizer).op


class Update(NamedTuple):
  """An update of all trainable variables.

  Attributes:
    op: one run of it updates the variables at the rate of the current global
      step, and then adds 1 to the global step, unless it skips (see
      `was_applied`).
    learning_rate: float32 [], the rate that the op uses.
    was_applied: bool [], whether the gradients were finite; else nothing but
      the loss scale was changed. None without a loss scale, where gradients
      that are not finite spoil the weights.
  """
  op: tf.Operation
  learning_rate: tf.Tensor
  was_applied: Optional[tf.Tensor] = None


def create_update(gradients, init_lr, num_train_steps, num_warmup_steps,
                  use_tpu, *, decay="linear", optimizer="adamw",
                  loss_scale=None):
  """Makes the update of all trainable variables by a batch's gradients.

  Gradients are summed over the replicas and then clipped to a global norm of
  1.0; the weight decay rate is 0.01.

  Args:
    gradients: list, for each trainable variable this replica's share of the
      batch's gradient: a tensor, IndexedSlices, or None.
    init_lr: float, the schedule's peak, see `learning_rate_at`.
    num_train_steps: int.
    num_warmup_steps: int.
    use_tpu: bool, whether the replicas are a TPU's cores.
    decay: one of DECAYS, see `learning_rate_at`.
    optimizer: one of OPTIMIZERS: AdamWeightDecayOptimizer or LambOptimizer.
    loss_scale: a tf.train.experimental.LossScale that the loss was multiplied
      by, or None.

  Returns:
    An Update; `tf.get_collection(LEARNING_RATE)` has its rate, too.

  Raises:
    ValueError: no such optimizer or decay.
  """
  global_step = tf.train.get_or_create_global_step()
  learning_rate = learning_rate_at(
      global_step, init_lr, num_train_steps, num_warmup_steps, decay=decay)
  tf.add_to_collection(LEARNING_RATE, learning_rate)
  made = _make_optimizer(optimizer, learning_rate, global_step, loss_scale)
  applying = tf.tpu.CrossShardOptimizer(made) if use_tpu else made
  update = applying.apply_gradients(zip(gradients, tf.trainable_variables()))
  was_applied = made.was_applied
  increment = 1 if was_applied is None else tf.cast(was_applied, tf.int64)
  # Behind the update, hence behind the rate it was computed with; the rate's
  # own dependency covers a model without a single variable to update.
  with tf.control_dependencies([update, learning_rate]):
    advance = tf.assign_add(global_step, increment)
  return Update(tf.group(advance), learning_rate, was_applied)


def _make_optimizer(name, learning_rate, global_step, loss_scale):
  """Returns the optimizer of a name, with the settings of BERT."""
  settings = dict(weight_decay_rate=_WEIGHT_DECAY_RATE,
                  exclude_from_weight_decay=list(_NOT_DECAYED),
                  clip_norm=_CLIP_NORM, loss_scale=loss_scale)
  if name == "adamw":
    return AdamWeightDecayOptimizer(learning_rate, **settings)
  if name == "lamb":
    return LambOptimizer(learning_rate, global_step, **settings)
  raise ValueError("optimizer=%r is none of %s." %
                   (name, ", ".join(OPTIMIZERS)))


def sum_gradients(share_fn, features, num_micro_batches=1, loss_scale=None):
  """Computes a batch's gradients, one micro-batch after the other.

  The graph of the model stands in it twice at the most: for the first
  micro-batch, which makes the variables, and in a loop over the others. The
  memory for activations is that of one micro-batch.

  Args:
    share_fn: function of a dict like `features` of one micro-batch, and its
      number (int or int32 []), that makes (loss, figures): its share of the
      batch's loss, float32 [], and a dict of other float32 [], of which the
      batch's are the sums over the micro-batches, too.
    features: dict of tensors [B, ...], B known.
    num_micro_batches: int, K; 1 for no loop.
    loss_scale: a tf.train.experimental.LossScale to multiply the loss by for
      the gradients, or None.

  Returns:
    (gradients, loss, figures): a list with one for each trainable variable, and
    what share_fn makes, summed up. `gradients` are multiplied by loss_scale.

  Raises:
    ValueError: B does not divide by K.
  """
  def compute(micro_batch, number, reuse=None):
    # The scope has the names of layers without one counted anew each time.
    with tf.variable_scope(tf.get_variable_scope(), reuse=reuse):
      loss, figures = share_fn(micro_batch, number)
    scaled = loss if loss_scale is None else loss * loss_scale()
    return tf.gradients(scaled, tf.trainable_variables()), loss, figures

  if num_micro_batches == 1:
    return compute(features, 0)
  pieces = {name: _in_pieces(tensor, num_micro_batches)
            for name, tensor in features.items()}

  def piece(number):
    return {name: tensor[number] for name, tensor in pieces.items()}

  gradients, loss, figures = compute(piece(0), 0)
  used = [i for i, gradient in enumerate(gradients) if gradient is not None]

  def add(number, sums):
    more, more_loss, more_figures = compute(piece(number), number, reuse=True)
    values = [more[i] for i in used] + [more_loss] + [
        more_figures[name] for name in figures]
    return number + 1, [total + tf.convert_to_tensor(value)
                        for total, value in zip(sums, values)]

  start = [tf.convert_to_tensor(gradients[i]) for i in used] + [loss] + list(
      figures.values())
  _, sums = tf.while_loop(
      lambda number, _: number < num_micro_batches, add, (1, start),
      parallel_iterations=1, back_prop=False)
  for place, i in enumerate(used):
    gradients[i] = sums[place]
  return gradients, sums[len(used)], dict(zip(figures, sums[len(used) + 1:]))


def _in_pieces(tensor, num_pieces):
  """Reshapes [B, ...] to [num_pieces, B / num_pieces, ...]."""
  size = tensor.shape.as_list()[0]
  if size is None or size % num_pieces:
    raise ValueError("A batch of %s does not divide into %d micro-batches." %
                     (size, num_pieces))
  return tf.reshape(
      tensor, [num_pieces, size // num_pieces] + tensor.shape.as_list()[1:])


class AdamWeightDecayOptimizer(tf.train.Optimizer):
  """Adam without bias correction, with decoupled weight decay.

  Of a variable p with gradient g, at the rate r:
    m <- beta_1 * m + (1 - beta_1) * g
    v <- beta_2 * v + (1 - beta_2) * g^2
    p <- p - r * (m / (sqrt(v) + epsilon) + weight_decay_rate * p)

  m and v are the variables `<p>/adam_m` and `<p>/adam_v`, which start at 0.

  Under a tf.distribute.Strategy the gradients of the replicas are summed up
  first, in `apply_gradients`, and all replicas make the same update.

  Attributes:
    was_applied: bool [] of the last `apply_gradients` where there is a loss
      scale: whether the gradients were finite, so that the update is made.

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
               name="AdamWeightDecayOptimizer",
               *,
               clip_norm=None,
               loss_scale=None):
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
      clip_norm: float, the global norm beyond which gradients are scaled down
        to it, or None.
      loss_scale: a tf.train.experimental.LossScale by which the gradients are
        to be divided, or None. It is updated with the variables, and gradients
        that are not finite are then passed over.
    """
    super().__init__(False, name)
    self.learning_rate = learning_rate
    self.weight_decay_rate = weight_decay_rate
    self.beta_1 = beta_1
    self.beta_2 = beta_2
    self.epsilon = epsilon
    self.exclude_from_weight_decay = exclude_from_weight_decay
    self._clip_norm = clip_norm
    self._loss_scale = loss_scale
    self.was_applied: Optional[tf.Tensor] = None

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
    # The rows of IndexedSlices are summed up here, once: m and v of every row
    # change anyway, as they decay.
    pairs = [(tf.convert_to_tensor(grad), var) for grad, var in grads_and_vars
             if grad is not None and var is not None]
    if not pairs:
      return tf.no_op(name=name)
    update, self.was_applied = tf.distribute.get_replica_context().merge_call(
        self._apply, args=(pairs, self._factors()), kwargs={"name": name})
    return update

  def _factors(self):
    """Returns the tensors [] that `_direction` and `_rate` are given."""
    return [tf.convert_to_tensor(self.learning_rate, tf.float32)]

  def _apply(self, strategy, pairs, factors, name):
    """Updates the variables of all replicas by the sums of their gradients.

    Args:
      strategy: tf.distribute.Strategy, which may be the default one.
      pairs: gradients and variables, each one of all replicas.
      factors: what `_factors` gives.
      name: str, name of the returned op.

    Returns:
      (op, bool [] for `was_applied` or None).
    """
    extended = strategy.extended
    grads = list(extended.batch_reduce_to(
        tf.distribute.ReduceOp.SUM, pairs))
    # What the update goes by is one device's, the sums' norm, too: so that all
    # of them do the very same.
    first = [strategy.experimental_local_results(value)[0]
             for value in grads + factors]
    factors = first[len(grads):]
    factor, is_finite, updates = self._norm_factor(first[:len(grads)])
    for grad, (_, var) in zip(grads, pairs):
      with tf.init_scope():
        slots = [self._zeros_slot(var, "m", "adam_m"),
                 self._zeros_slot(var, "v", "adam_v")]
      updates.append(extended.update(
          var, self._update, args=(grad, slots, factor, is_finite, factors)))
    return tf.group(*updates, name=name), is_finite

  def _norm_factor(self, grads):
    """Returns what the gradients are to be multiplied by.

    Args:
      grads: list of tensors.

    Returns:
      (float32 [] or None for 1, bool [] whether all gradients are finite or
      None where that does not matter, list of ops to run with the update).
    """
    if self._clip_norm is None and self._loss_scale is None:
      return None, None, []
    norm, scale = tf.global_norm(grads), 1.0
    is_finite, updates = None, []
    if self._loss_scale is not None:
      scale = self._loss_scale()
      # The update changes the scale that was just read.
      with tf.control_dependencies([scale]):
        update, is_finite = self._loss_scale.update([norm])
      updates.append(update)
      norm /= scale
    if self._clip_norm is None:
      return 1.0 / scale, is_finite, updates
    factor = self._clip_norm * tf.minimum(1.0 / norm, 1.0 / self._clip_norm)
    # Of an infinite gradient no element is left as if it were one to train on.
    factor = tf.where(tf.is_finite(norm), factor, norm - norm)
    return factor / scale, is_finite, updates

  def _update(self, var, grad, slots, factor, is_finite, factors):
    """Returns the op that updates one device's variable and its two slots."""
    def assign():
      scaled = grad if factor is None else grad * factor
      adam_m, adam_v = slots
      # 1 - beta in Python's double precision, rounded once to float32.
      next_m = self.beta_1 * adam_m + (1.0 - self.beta_1) * scaled
      next_v = self.beta_2 * adam_v + (1.0 - self.beta_2) * tf.square(scaled)
      update = self._direction(next_m, next_v, *factors)
      is_decayed = self._do_use_weight_decay(self._get_variable_name(var.name))
      if is_decayed:
        update += self.weight_decay_rate * var
      rate = self._rate(var, update, is_decayed, *factors)
      next_var = var - rate * update
      return tf.group(*[
          variable.assign(value, read_value=False) for variable, value in (
              (var, next_var), (adam_m, next_m), (adam_v, next_v))])

    return assign() if is_finite is None else tf.cond(
        is_finite, assign, tf.no_op)

  def _direction(self, mean, mean_square, learning_rate):
    """Returns where to go by the means of the gradients and their squares."""
    del learning_rate
    return mean / (tf.sqrt(mean_square) + self.epsilon)

  def _rate(self, var, update, is_decayed, learning_rate):
    """Returns how far to go, as a multiple of the update."""
    del var, update, is_decayed
    return learning_rate

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

  def _factors(self):
    return super()._factors() + [self._t]

  def _direction(self, mean, mean_square, learning_rate, t):
    return super()._direction(
        mean / (1.0 - tf.pow(self.beta_1, t)),
        mean_square / (1.0 - tf.pow(self.beta_2, t)), learning_rate)

  def _rate(self, var, update, is_decayed, learning_rate, t):
    del t
    if not is_decayed:
      return learning_rate
    norm, update_norm = tf.norm(var), tf.norm(update)
    ratio = tf.where(norm * update_norm > 0.0, tf.math.divide_no_nan(
        norm, update_norm), 1.0)
    return learning_rate * ratio
