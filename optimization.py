"""Learning-rate schedules, optimizers, gradient accumulation, the train op.

`create_optimizer` combines the parts, which can also be used alone:
`learning_rate_at` is the schedule as a function of the step, `sum_gradients`
computes the gradients of a batch, in micro-batches if that saves memory, and
the classes in `OPTIMIZERS` update variables given gradients.

A batch may be split over several replicas, by a tf.distribute.Strategy or on a
TPU. The loss of a replica is then its share of the batch's loss: the losses of
all replicas, and likewise their gradients, sum to those of the batch.

To add an optimizer, write a class and add a row to `OPTIMIZERS`; to add a
learning-rate decay, write a function and add a row to `DECAYS`.
"""

import functools
import math
import re
from typing import Any, Callable, Dict, NamedTuple, Optional

import tensorflow.compat.v1 as tf

# The graph collection in which `create_optimizer` puts the learning rate, for
# logs and summaries. It is the very tensor that the update uses:
#   rate = tf.get_collection(optimization.LEARNING_RATE)[-1]
LEARNING_RATE = "learning_rate"

# The settings that BERT was pretrained with.
_WEIGHT_DECAY_RATE = 0.01
_NOT_DECAYED = ("LayerNorm", "layer_norm", "bias")
_CLIP_NORM = 1.0


# --- Learning-rate schedules ---


class Decay(NamedTuple):
  """How the learning rate decays after the warm-up.

  N and W are the numbers of training and of warm-up steps, W < N.

  Attributes:
    factor: function from the step (float32 []), N (float32 []) and W (float)
      to the rate as a fraction of its peak, float32 []. Called for any step; a
      step after N counts as N.
    description: str, a format with the rate at the end of the warm-up, {start},
      and N, {end}.
    start: function from W and N (ints) to the fraction of the peak at step W.
  """
  factor: Callable[..., tf.Tensor]
  description: str
  start: Callable[[int, int], float] = lambda warmup, end: 1.0


def _linear(step, end, warmup):
  del warmup
  return 1.0 - tf.minimum(step, end) / end


def _constant(step, end, warmup):
  del end, warmup
  return tf.ones_like(step)


def _cosine(step, end, warmup):
  progress = (tf.minimum(step, end) - warmup) / (end - warmup)
  return (1.0 + tf.cos(math.pi * tf.maximum(progress, 0.0))) / 2.0


DECAYS: Dict[str, Decay] = {
    "linear": Decay(
        _linear, "decays linearly from {start:g} to 0 at step {end}",
        start=lambda warmup, end: 1 - warmup / end),
    "constant": Decay(_constant, "stays at {start:g} until step {end}"),
    "cosine": Decay(
        _cosine, "decays along a half cosine from {start:g} to 0 at step {end}"
    ),
}


def learning_rate_at(global_step, init_lr, num_train_steps, num_warmup_steps,
                     *, decay="linear"):
  """The learning rate at a step: linear warm-up, then a decay.

  In the first `num_warmup_steps` W steps the rate is init_lr * step / W. After
  that, up to `num_train_steps` N, it depends on `decay`:
  * "linear": init_lr * (1 - step / N). Both lines start at step 0, so the rate
    drops at W, from init_lr to init_lr * (1 - W / N).
  * "cosine": init_lr * (1 + cos(pi * (step - W) / (N - W))) / 2, half a period
    from init_lr at W to 0 at N.
  * "constant": init_lr.

  Args:
    global_step: integer tensor [], the number of updates so far.
    init_lr: float, the peak.
    num_train_steps: int, N; from there on the rate stays what it is at N.
    num_warmup_steps: int, W; 0 or None for no warm-up.
    decay: str, a key of DECAYS.

  Returns:
    float32 tensor [].

  Raises:
    ValueError: `num_train_steps` is less than 1, or `decay` is not in DECAYS.

  Source: google-research/bert, optimization.create_optimizer; "linear" gives
  bitwise the same values. "cosine": Loshchilov and Hutter 2016, arXiv
  1608.03983, equation 5, without restarts.
  """
  if num_train_steps < 1:
    raise ValueError("num_train_steps must be at least 1, got %r."
                     % (num_train_steps,))
  if decay not in DECAYS:
    raise ValueError("decay=%r is not one of %s." % (decay, ", ".join(DECAYS)))
  num_warmup_steps = num_warmup_steps or 0
  step = tf.cast(global_step, tf.float32)
  end = tf.cast(tf.constant(num_train_steps), tf.float32)
  decayed = init_lr * DECAYS[decay].factor(
      step, end, float(min(num_warmup_steps, num_train_steps - 1)))
  if not num_warmup_steps:
    return decayed
  warmup = tf.cast(tf.constant(num_warmup_steps), tf.float32)
  return tf.where(step < warmup, init_lr * (step / warmup), decayed)


def describe_learning_rate(init_lr, num_train_steps, num_warmup_steps, decay):
  """Describes a schedule in one sentence; see `learning_rate_at`.

  >>> describe_learning_rate(1e-4, 1000, 0, "linear")
  'decays linearly from 0.0001 to 0 at step 1000'
  """
  row = DECAYS[decay]
  if not num_warmup_steps:
    return row.description.format(start=init_lr, end=num_train_steps)
  warmup = "rises from 0 to %g in %d steps" % (init_lr, num_warmup_steps)
  if num_warmup_steps >= num_train_steps:
    return "%s, but training ends at step %d" % (warmup, num_train_steps)
  start = init_lr * row.start(num_warmup_steps, num_train_steps)
  return "%s, then %s" % (
      warmup, row.description.format(start=start, end=num_train_steps))


# --- The train op ---


def create_optimizer(loss, init_lr, num_train_steps, num_warmup_steps, use_tpu,
                     *, decay="linear", optimizer="adamw"):
  """Creates the op that updates all trainable variables once.

  Args:
    loss: float32 tensor [], this replica's share of the batch's loss.
    init_lr, num_train_steps, num_warmup_steps, use_tpu, decay, optimizer: see
      `create_update`.

  Returns:
    An op; see `Update`.

  Source: google-research/bert, optimization.create_optimizer, the same
  arithmetic. Changed: there, the global step is read while it is incremented,
  so a step could use the learning rate of the next one; and on a TPU the
  gradient of each core is clipped before they are summed.
  """
  gradients = tf.gradients(loss, tf.trainable_variables())
  return create_update(
      gradients, init_lr, num_train_steps, num_warmup_steps, use_tpu,
      decay=decay, optimizer=optimizer).op


class Update(NamedTuple):
  """An update of all trainable variables.

  Attributes:
    op: updates the variables with the learning rate of the current global
      step, then adds 1 to the global step, unless the update is skipped (see
      `was_applied`).
    learning_rate: float32 [], the rate that the op uses.
    was_applied: bool [], True if the gradients were finite; otherwise only the
      loss scale was changed. None without a loss scale: gradients that are not
      finite then end up in the weights.
  """
  op: tf.Operation
  learning_rate: tf.Tensor
  was_applied: Optional[tf.Tensor] = None


def create_update(gradients, init_lr, num_train_steps, num_warmup_steps,
                  use_tpu, *, decay="linear", optimizer="adamw",
                  loss_scale=None, first_step=0, has_all_slots=False,
                  rows=None):
  """Creates the update of all trainable variables given a batch's gradients.

  Gradients are summed over the replicas and then clipped to a global norm of
  1.0; the weight decay rate is 0.01.

  Args:
    gradients: list with this replica's share of the batch's gradient for each
      trainable variable: a tensor, IndexedSlices, or None.
    init_lr: float, the peak of the schedule, see `learning_rate_at`.
    num_train_steps: int.
    num_warmup_steps: int.
    use_tpu: bool, the replicas are the cores of a TPU.
    decay: str, a key of DECAYS.
    optimizer: str, a key of OPTIMIZERS.
    loss_scale: tf.train.experimental.LossScale that the loss was multiplied
      by, or None.
    first_step: int, the global step at which the schedule begins.
    has_all_slots: bool, variables whose gradient is None get slots, too.
    rows: dict from the name of a variable to a list of int, the only rows of it
      that are updated; or None.

  Returns:
    An Update; its rate is also in `tf.get_collection(LEARNING_RATE)`.

  Raises:
    ValueError: unknown optimizer or decay.
  """
  if optimizer not in OPTIMIZERS:
    raise ValueError("optimizer=%r is not one of %s." %
                     (optimizer, ", ".join(OPTIMIZERS)))
  global_step = tf.train.get_or_create_global_step()
  learning_rate = learning_rate_at(
      global_step - first_step if first_step else global_step, init_lr,
      num_train_steps, num_warmup_steps, decay=decay)
  tf.add_to_collection(LEARNING_RATE, learning_rate)
  created = OPTIMIZERS[optimizer].create(
      learning_rate, global_step, weight_decay_rate=_WEIGHT_DECAY_RATE,
      exclude_from_weight_decay=list(_NOT_DECAYED), clip_norm=_CLIP_NORM,
      loss_scale=loss_scale, has_all_slots=has_all_slots, rows=rows)
  applying = tf.tpu.CrossShardOptimizer(created) if use_tpu else created
  update = applying.apply_gradients(zip(gradients, tf.trainable_variables()))
  was_applied = created.was_applied
  increment = 1 if was_applied is None else tf.cast(was_applied, tf.int64)
  # After the update, and hence after its rate was computed. The dependency on
  # the rate itself covers a model that has no variable to update.
  with tf.control_dependencies([update, learning_rate]):
    advance = tf.assign_add(global_step, increment)
  return Update(tf.group(advance), learning_rate, was_applied)


# --- Gradient accumulation ---


def sum_gradients(share_fn, features, num_micro_batches=1, loss_scale=None, *,
                  is_trained=lambda name: True):
  """Computes the gradients of a batch, one micro-batch after the other.

  The graph holds the model at most twice: for the first micro-batch, which
  creates the variables, and in a loop over the others. Activations take the
  memory of one micro-batch.

  Args:
    share_fn: function of a micro-batch (a dict like `features`) and its number
      (int or int32 []) that returns (loss, metrics): its share of the batch's
      loss, float32 [], and a dict of other float32 [] shares, which also sum to
      the values of the batch.
    features: dict of tensors [B, ...], B known.
    num_micro_batches: int, K; 1 for no loop.
    loss_scale: tf.train.experimental.LossScale by which the loss is multiplied
      before the gradients are computed, or None.
    is_trained: function of a variable's name that tells whether it is updated.

  Returns:
    (gradients, loss, metrics): a list with the gradient of each trainable
    variable, None for those that are not updated, and the sums of what
    share_fn returns. `gradients` are multiplied by the loss scale, the others
    are not.

  Raises:
    ValueError: B is not a multiple of K.
  """
  def compute(micro_batch, number, reuse=None):
    # Entering the scope resets the counters by which TensorFlow makes the
    # default names of layers unique, so the names are the same each time.
    with tf.variable_scope(tf.get_variable_scope(), reuse=reuse):
      loss, metrics = share_fn(micro_batch, number)
    scaled = loss if loss_scale is None else loss * loss_scale()
    return _gradients_of(scaled, is_trained), loss, metrics

  if num_micro_batches == 1:
    return compute(features, 0)
  micro_batch = _micro_batches(features, num_micro_batches)
  gradients, loss, metrics = compute(micro_batch(0), 0)
  used = [i for i, gradient in enumerate(gradients) if gradient is not None]

  def add(number, sums):
    more, more_loss, more_metrics = compute(
        micro_batch(number), number, reuse=True)
    values = [more[i] for i in used] + [more_loss] + [
        more_metrics[name] for name in metrics]
    return number + 1, [total + tf.convert_to_tensor(value)
                        for total, value in zip(sums, values)]

  start = [tf.convert_to_tensor(gradients[i]) for i in used] + [loss] + list(
      metrics.values())
  _, sums = tf.while_loop(
      lambda number, _: number < num_micro_batches, add, (1, start),
      parallel_iterations=1, back_prop=False)
  for place, i in enumerate(used):
    gradients[i] = sums[place]
  return gradients, sums[len(used)], dict(zip(metrics, sums[len(used) + 1:]))


def _gradients_of(loss, is_trained):
  """Returns the gradient of each trainable variable, see `sum_gradients`."""
  variables = tf.trainable_variables()
  trained = [i for i, variable in enumerate(variables)
             if is_trained(re.sub(r":\d+$", "", variable.name))]
  gradients = [None] * len(variables)
  for i, gradient in zip(trained, tf.gradients(
      loss, [variables[i] for i in trained])):
    gradients[i] = gradient
  return gradients


def _micro_batches(features, num_micro_batches):
  """Returns a function from a number to a micro-batch of a batch."""
  stacked = {name: _split_batch(tensor, num_micro_batches)
             for name, tensor in features.items()}
  return lambda number: {
      name: tensor[number] for name, tensor in stacked.items()}


def _split_batch(tensor, num_micro_batches):
  """Reshapes [B, ...] to [K, B / K, ...] for K micro-batches."""
  size = tensor.shape.as_list()[0]
  if size is None or size % num_micro_batches:
    raise ValueError("A batch of %s cannot be split into %d micro-batches." %
                     (size, num_micro_batches))
  return tf.reshape(
      tensor, [num_micro_batches, size // num_micro_batches]
      + tensor.shape.as_list()[1:])


# --- Optimizers ---


class AdamWeightDecayOptimizer(tf.train.Optimizer):
  """Adam without bias correction, with decoupled weight decay.

  For a variable p with gradient g, at the learning rate r:
    m <- beta_1 * m + (1 - beta_1) * g
    v <- beta_2 * v + (1 - beta_2) * g^2
    p <- p - r * (m / (sqrt(v) + epsilon) + weight_decay_rate * p)

  m and v are the variables `<p>/adam_m` and `<p>/adam_v`, initialized to 0.

  Under a tf.distribute.Strategy `apply_gradients` first sums the gradients of
  all replicas, and all of them make the same update.

  An optimizer with another rule is a subclass that has its own `SLOTS`,
  `_step`, and, where the rule needs more than the learning rate, `_factors`.

  Attributes:
    SLOTS: dict from the name of a slot to the suffix of its variables' names.
    was_applied: bool [], of the last `apply_gradients`: True if the gradients
      were finite, so that the update is made. None without a loss scale.

  Source: Kingma and Ba 2014, arXiv 1412.6980, without the correction of
  section 3; Loshchilov and Hutter 2017, arXiv 1711.05101, algorithm 2;
  google-research/bert, optimization.AdamWeightDecayOptimizer, bitwise the same
  arithmetic.
  """

  SLOTS = {"m": "adam_m", "v": "adam_v"}

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
               loss_scale=None,
               has_all_slots=False,
               rows=None):
    """Creates an optimizer.

    Args:
      learning_rate: float, or float32 tensor [].
      weight_decay_rate: float.
      beta_1: float, decay rate of the mean of the gradients.
      beta_2: float, decay rate of the mean of the squared gradients.
      epsilon: float, added to the square root of the latter.
      exclude_from_weight_decay: list of str, regular expressions; a variable
        is not decayed if one of them is found in its name.
      name: str, prefix of the created ops.
      clip_norm: float, the global norm that larger gradients are scaled down
        to, or None.
      loss_scale: tf.train.experimental.LossScale by which the gradients are to
        be divided, or None. It is updated with the variables; gradients that
        are not finite then change no variable.
      has_all_slots: bool, variables whose gradient is None get slots, too.
      rows: dict from the name of a variable to a list of int, the only rows of
        it that are updated: the rule is that of a variable that consists of
        these rows. The others, and their rows of the slots, stay bitwise what
        they are.
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
    self._has_all_slots = has_all_slots
    self._rows = rows or {}
    self.was_applied: Optional[tf.Tensor] = None

  @classmethod
  def create(cls, learning_rate, global_step, **settings):
    """Creates an optimizer for `create_update`.

    Args:
      learning_rate: float32 tensor [].
      global_step: integer tensor [], the number of updates so far.
      **settings: see `__init__`.
    """
    del global_step
    return cls(learning_rate, **settings)

  def apply_gradients(self, grads_and_vars, global_step=None, name=None):
    """Updates variables.

    Args:
      grads_and_vars: pairs of a gradient (tensor or IndexedSlices) and its
        variable; pairs with a None are ignored.
      global_step: ignored; part of the base class's signature.
      name: str, name of the returned op.

    Returns:
      An op.
    """
    # Makes IndexedSlices dense, once: m and v of all rows change anyway, as
    # they decay.
    grads_and_vars = list(grads_and_vars)
    pairs = [(_take_rows(tf.convert_to_tensor(grad), self._rows_of(var)), var)
             for grad, var in grads_and_vars
             if grad is not None and var is not None]
    if not pairs:
      return tf.no_op(name=name)
    idle = [var for grad, var in grads_and_vars
            if grad is None and self._has_all_slots]
    update, self.was_applied = tf.distribute.get_replica_context().merge_call(
        self._apply, args=(pairs, idle, self._factors()), kwargs={"name": name})
    return update

  def _factors(self):
    """Returns the scalar tensors that `_step` and `_rate` are passed."""
    return [tf.convert_to_tensor(self.learning_rate, tf.float32)]

  def _apply(self, strategy, pairs, idle, factors, name):
    """Updates the variables of all replicas with the sums of their gradients.

    Args:
      strategy: tf.distribute.Strategy, which may be the default one.
      pairs: (gradient, variable) pairs, each one of all replicas.
      idle: list of further variables that get slots, but no update.
      factors: result of `_factors`.
      name: str, name of the returned op.

    Returns:
      (op, bool [] for `was_applied` or None).
    """
    extended = strategy.extended
    grads = list(extended.batch_reduce_to(
        tf.distribute.ReduceOp.SUM, pairs))
    # All scalars of the update, including the norm, are taken from one device,
    # so that all devices make bitwise the same update.
    first = [strategy.experimental_local_results(value)[0]
             for value in grads + factors]
    factors = first[len(grads):]
    factor, is_finite, updates = self._norm_factor(first[:len(grads)])
    for grad, (_, var) in zip(grads, pairs):
      slots = self._slots_of(var)
      # Not by the name of a variable that this calls `_update` with, which is
      # another one on each device.
      update = functools.partial(self._update, self._rows_of(var))
      updates.append(extended.update(
          var, update, args=(grad, slots, factor, is_finite, factors)))
    for var in idle:
      self._slots_of(var)
    return tf.group(*updates, name=name), is_finite

  def _slots_of(self, var):
    """Returns the variables of `SLOTS` of a variable."""
    with tf.init_scope():
      return [self._zeros_slot(var, slot, suffix)
              for slot, suffix in self.SLOTS.items()]

  def _norm_factor(self, grads):
    """Returns the factor that clips and unscales the gradients.

    Args:
      grads: list of tensors.

    Returns:
      (factor, is_finite, updates): float32 [], or None for 1; bool [], True if
      all gradients are finite, or None without a loss scale; list of ops to
      run with the update.
    """
    if self._clip_norm is None and self._loss_scale is None:
      return None, None, []
    norm, scale = tf.global_norm(grads), 1.0
    is_finite, updates = None, []
    if self._loss_scale is not None:
      scale = self._loss_scale()
      # The scale must be read before it is updated.
      with tf.control_dependencies([scale]):
        update, is_finite = self._loss_scale.update([norm])
      updates.append(update)
      norm /= scale
    if self._clip_norm is None:
      return 1.0 / scale, is_finite, updates
    factor = self._clip_norm * tf.minimum(1.0 / norm, 1.0 / self._clip_norm)
    # NaN if the norm is not finite, so that no element of such a gradient
    # looks as if it were usable.
    factor = tf.where(tf.is_finite(norm), factor, norm - norm)
    return factor / scale, is_finite, updates

  def _rows_of(self, var):
    """Returns the list of the rows of a variable that are updated; None for
    all."""
    return self._rows.get(self._get_variable_name(var.name))

  def _update(self, rows, var, grad, slots, factor, is_finite, factors):
    """Returns the op that updates a variable and its slots on one device.

    Args:
      rows: list of int, the only rows that are updated; None for all.
      var: tf.Variable; slots: list of its slots' variables.
      grad: float32, its gradient, or the rows of that.
      factor, is_finite: see `_norm_factor`.
      factors: see `_factors`.
    """
    def assign():
      scaled = grad if factor is None else grad * factor
      value, *moments = (
          _take_rows(variable, rows) for variable in [var] + slots)
      update, next_slots = self._step(scaled, moments, *factors)
      is_decayed = self._do_use_weight_decay(self._get_variable_name(var.name))
      if is_decayed:
        update += self.weight_decay_rate * value
      rate = self._rate(value, update, is_decayed, *factors)
      next_values = [value - rate * update] + next_slots
      return tf.group(*[
          variable.assign(
              _put_rows(variable, rows, updated), read_value=False)
          for variable, updated in zip([var] + slots, next_values)])

    return assign() if is_finite is None else tf.cond(
        is_finite, assign, tf.no_op)

  def _step(self, grad, slots, learning_rate):
    """Computes the direction of an update.

    Args:
      grad: float32, the clipped gradient of a variable.
      slots: list of the values of `SLOTS`, of the same shape.
      learning_rate: float32 [], like all that `_factors` returns.

    Returns:
      (direction, next_slots): what is subtracted from the variable times the
      rate, before weight decay; and the new values of the slots.
    """
    del learning_rate
    mean, mean_square = self._moments(grad, slots)
    return self._ratio(mean, mean_square), [mean, mean_square]

  def _moments(self, grad, slots):
    """Returns the next means of the gradients and of their squares."""
    adam_m, adam_v = slots
    # 1 - beta in Python's double precision, rounded once to float32.
    return (self.beta_1 * adam_m + (1.0 - self.beta_1) * grad,
            self.beta_2 * adam_v + (1.0 - self.beta_2) * tf.square(grad))

  def _ratio(self, mean, mean_square):
    return mean / (tf.sqrt(mean_square) + self.epsilon)

  def _rate(self, var, update, is_decayed, learning_rate):
    """Returns what the update (with weight decay) is multiplied by."""
    del var, update, is_decayed
    return learning_rate

  def _do_use_weight_decay(self, param_name):
    """Tells whether the variable of that name is decayed."""
    if not self.weight_decay_rate:
      return False
    return not any(re.search(pattern, param_name)
                   for pattern in self.exclude_from_weight_decay or ())

  @staticmethod
  def _get_variable_name(param_name):
    """Returns a variable's name without the ":0" of its tensor."""
    return re.sub(r":\d+$", "", param_name)


def _take_rows(tensor, rows):
  """Returns some rows of a tensor; all of it for None."""
  return tensor if rows is None else tf.gather(tensor, rows)


def _put_rows(tensor, rows, updated):
  """Returns a tensor with its `_take_rows` replaced by `updated`."""
  if rows is None:
    return updated
  return tf.tensor_scatter_nd_update(tensor, tf.expand_dims(rows, 1), updated)


class LambOptimizer(AdamWeightDecayOptimizer):
  """LAMB: Adam with a layer-wise adapted learning rate, for large batches.

  With m and v as in AdamWeightDecayOptimizer, in the t-th update:
    u <- m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)
         + weight_decay_rate * p
    p <- p - r * (|p| / |u|) * u

  |.| is the Euclidean norm over the variable. The ratio is 1 where a norm is 0
  and for variables that are not decayed (biases, layer norms).

  Source: You et al. 2019, arXiv 1904.00962, algorithm 2, with phi the identity;
  the exclusion is the one of the authors' experiments on BERT.
  """

  def __init__(self, learning_rate, num_updates, name="LambOptimizer",
               **settings):
    """Creates an optimizer.

    Args:
      learning_rate: float, or float32 tensor [].
      num_updates: integer tensor [], the number of updates so far.
      name: str, prefix of the created ops.
      **settings: see AdamWeightDecayOptimizer.
    """
    super().__init__(learning_rate, name=name, **settings)
    self._t = tf.cast(num_updates, tf.float32) + 1.0

  @classmethod
  def create(cls, learning_rate, global_step, **settings):
    return cls(learning_rate, global_step, **settings)

  def _factors(self):
    return super()._factors() + [self._t]

  def _step(self, grad, slots, learning_rate, t):
    del learning_rate
    mean, mean_square = self._moments(grad, slots)
    direction = self._ratio(mean / (1.0 - tf.pow(self.beta_1, t)),
                            mean_square / (1.0 - tf.pow(self.beta_2, t)))
    return direction, [mean, mean_square]

  def _rate(self, var, update, is_decayed, learning_rate, t):
    del t
    if not is_decayed:
      return learning_rate
    norm, update_norm = tf.norm(var), tf.norm(update)
    ratio = tf.where(norm * update_norm > 0.0, tf.math.divide_no_nan(
        norm, update_norm), 1.0)
    return learning_rate * ratio


# The choices of --optimizer. A class has `create`, `apply_gradients`, `SLOTS`
# and `was_applied`: see AdamWeightDecayOptimizer.
OPTIMIZERS: Dict[str, Any] = {
    "adamw": AdamWeightDecayOptimizer,
    "lamb": LambOptimizer,
}

# The ends of the names of all variables that optimizers add to a checkpoint.
SLOT_SUFFIXES = tuple(sorted({
    "/" + suffix for optimizer_class in OPTIMIZERS.values()
    for suffix in optimizer_class.SLOTS.values()}))
