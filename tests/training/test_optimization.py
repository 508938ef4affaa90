"""The optimizers: the reference's values and slots, without its race."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

import optimization
from tests.golden import make_model_golden as golden
from tests.model_comparison import (
    CHECKPOINT,
    OURS,
    TINY,
    ancestors,
    assert_close,
    recorded_arrays,
)


@pytest.fixture(scope="module", name="recorded")
def fixture_recorded():
  """The reference's recorded arrays by name."""
  return recorded_arrays()


@pytest.fixture(autouse=True)
def fixture_graph():
  """Gives each test a graph of its own."""
  with tf.Graph().as_default():
    yield


@pytest.fixture(name="variable_kind", params=["ref", "resource"])
def fixture_variable_kind(request):
  """Runs a test with both kinds of variables on both runtimes."""
  was_resource = tf.resource_variables_enabled()
  switch = {True: tf.enable_resource_variables,
            False: tf.disable_resource_variables}
  switch[request.param == "resource"]()
  yield request.param
  switch[was_resource]()


def assert_all_close(actual, recorded, prefix):
  """Compares all arrays of a prefix."""
  names = {name for name in recorded if name.startswith(prefix)}
  assert set(actual) == names
  for name in sorted(names):
    assert_close(actual[name], recorded[name], name)


# --- Equal to the reference ---


def test_trained_weights_and_slots_match_the_reference(recorded, variable_kind):
  actual = golden.record_training(OURS, TINY, is_reference=False)
  assert_all_close(actual, recorded, "trained/")


@pytest.mark.parametrize("variable_kind", [
    "ref", pytest.param("resource", marks=pytest.mark.slow)], indirect=True)
def test_training_resumes_from_a_checkpoint_of_the_reference(
    recorded, variable_kind):
  actual = golden.continue_training(
      OURS, TINY, is_reference=False, checkpoint=CHECKPOINT)
  assert_all_close(actual, recorded, "trained/")


def test_variables_match_a_checkpoint_of_the_reference():
  golden.train_graph(OURS, TINY)
  ours = {var.name[:-2]: (var.shape.as_list(), var.dtype.base_dtype)
          for var in tf.global_variables()}
  reader = tf.train.load_checkpoint(CHECKPOINT)
  dtypes = reader.get_variable_to_dtype_map()
  assert ours == {
      name: (shape, dtypes[name])
      for name, shape in reader.get_variable_to_shape_map().items()}


def test_fixed_gradients(recorded, variable_kind):
  assert_all_close(golden.record_optimizer(OURS), recorded, "optimizer/")


def test_schedule(recorded):
  actual = golden.record_schedules(optimization.learning_rate_at)
  for index, (peak, _, _) in enumerate(golden.SCHEDULES):
    name = "schedule/%d" % index
    np.testing.assert_allclose(
        actual[name], recorded[name], rtol=0, atol=2e-7 * peak, err_msg=name)


# --- The learning rate has no race ---


def rate(step, peak, end, warmup):
  """The schedule in plain Python."""
  return peak * (step / warmup if step < warmup
                 else max(0.0, 1.0 - step / end))


def test_each_update_uses_the_rate_of_its_own_step(variable_kind):
  """Shown by the weights: the rate of the next step would be 1/40 higher.

  The gradient is constant, with a norm below 1 (no clipping), so the slots and
  each update, apart from its rate, are known.
  """
  peak, end, warmup, steps = 0.1, 80, 40, 90
  weights = tf.get_variable("bias", [500], initializer=tf.zeros_initializer())
  train_op = optimization.create_optimizer(
      0.001 * tf.reduce_sum(weights), peak, end, warmup, False)
  learning_rate = tf.get_collection(optimization.LEARNING_RATE)[-1]
  rates, deltas = [], []
  with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    before = sess.run(weights)
    for step in range(steps):
      rates.append(sess.run([train_op, learning_rate])[1])
      after, counted = sess.run([weights, tf.train.get_global_step()])
      assert counted == step + 1
      deltas.append(before[0] - after[0])
      before = after
  expected = [rate(step, peak, end, warmup) for step in range(steps)]
  np.testing.assert_allclose(rates, expected, rtol=0, atol=1e-6 * peak)
  m = v = 0.0
  for step in range(steps):
    m, v = 0.9 * m + 0.1 * 0.001, 0.999 * v + 0.001 * 0.001 ** 2
    np.testing.assert_allclose(
        deltas[step], expected[step] * m / (v ** 0.5 + 1e-6), atol=2e-5,
        rtol=1e-3, err_msg="step %d" % step)


def test_the_step_is_advanced_after_the_update(variable_kind):
  """Holds for any timing: the increment depends on every assignment."""
  weights = tf.get_variable("kernel", [3])
  train_op = optimization.create_optimizer(
      tf.reduce_sum(tf.square(weights)), 0.1, 10, 2, False)
  graph_ops = tf.get_default_graph().get_operations()
  initializers = {var.initializer for var in tf.global_variables()}
  updates = {op for op in graph_ops
             if op.type in ("Assign", "AssignVariableOp")} - initializers
  increments = [op for op in graph_ops
                if op.type in ("AssignAdd", "AssignAddVariableOp")]
  learning_rate = tf.get_collection(optimization.LEARNING_RATE)[-1]
  assert len(updates) == 3 and len(increments) == 1
  assert updates | {learning_rate.op} < ancestors(increments)
  assert increments[0] in ancestors([train_op])


# --- Parts ---


def test_a_run_without_steps_is_refused():
  with pytest.raises(ValueError, match="num_train_steps.* got 0"):
    optimization.learning_rate_at(tf.constant(3), 0.1, 0, 0)


def lamb_by_numpy(p, gradients, rate, decay):
  """Returns a variable after updates by LAMB, in double precision."""
  m = v = np.zeros_like(p)
  for t, g in enumerate(gradients, 1):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    u = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6)
    ratio = 1.0
    if decay:
      u += decay * p
      norms = np.linalg.norm(p), np.linalg.norm(u)
      ratio = norms[0] / norms[1] if all(norms) else 1.0
    p = p - rate * ratio * u
  return p


@pytest.mark.parametrize("name, start", [
    ("dense/kernel", [[0.5, -1.0], [2.0, 0.0]]), ("dense/bias", [3.0, -0.2]),
    ("LayerNorm/gamma", [1.0, 1.0]), ("zeros", [0.0, 0.0])])
def test_lamb_matches_the_paper(name, start, variable_kind):
  rng = np.random.RandomState(0)
  gradients = [rng.standard_normal(np.shape(start)) for _ in range(6)]
  gradients[3][:] = 0
  variable = tf.get_variable(name, initializer=tf.constant(start))
  gradient = tf.placeholder(tf.float32, np.shape(start))
  step = tf.placeholder(tf.int64, [])
  optimizer = optimization.LambOptimizer(
      0.1, step, weight_decay_rate=0.01,
      exclude_from_weight_decay=["LayerNorm", "bias"])
  update = optimizer.apply_gradients([(gradient, variable)])
  assert [v.op.name for v in tf.global_variables()] == [
      name, name + "/adam_m", name + "/adam_v"]
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for number, value in enumerate(gradients):
      session.run(update, {gradient: value, step: number})
    found = session.run(variable)
  decay = 0.0 if "bias" in name or "LayerNorm" in name else 0.01
  np.testing.assert_allclose(
      found, lamb_by_numpy(np.array(start), gradients, 0.1, decay), rtol=2e-5,
      atol=1e-6)


def test_create_optimizer_takes_lamb(variable_kind):
  variable = tf.get_variable("kernel", initializer=tf.constant([3.0, 4.0]))
  train_op = optimization.create_optimizer(
      tf.reduce_sum(tf.square(variable)), 0.1, 10, 0, False, optimizer="lamb")
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    session.run(train_op)
    # 0.1 times the norm, 5, in the direction (1, 1) apart from weight decay.
    moved = np.array([3.0, 4.0]) - session.run(variable)
    assert session.run(tf.train.get_global_step()) == 1
  assert np.linalg.norm(moved) == pytest.approx(0.5, rel=1e-5)


def test_an_unknown_optimizer_is_refused():
  with pytest.raises(ValueError, match="'sgd' is not one of adamw, lamb"):
    optimization.create_optimizer(
        tf.constant(1.0), 0.1, 10, 0, False, optimizer="sgd")


class Momentum(optimization.AdamWeightDecayOptimizer):
  """An optimizer that has a single slot of its own."""

  SLOTS = {"momentum": "momentum"}

  def _step(self, grad, slots, learning_rate):
    mean = self.beta_1 * slots[0] + grad
    return mean, [mean]


def test_an_optimizer_is_a_class_and_a_row(variable_kind, monkeypatch):
  monkeypatch.setitem(optimization.OPTIMIZERS, "momentum", Momentum)
  variable = tf.get_variable("kernel", initializer=tf.constant([0.5]))
  train_op = optimization.create_optimizer(
      tf.reduce_sum(0.25 * variable), 0.1, 10, 0, False, decay="constant",
      optimizer="momentum")
  slot, = [v for v in tf.global_variables() if "momentum" in v.op.name]
  assert slot.op.name == "kernel/momentum"
  expected = 0.5
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for mean in (0.25, 0.9 * 0.25 + 0.25):
      session.run(train_op)
      expected -= 0.1 * (mean + 0.01 * expected)
      assert session.run(slot)[0] == pytest.approx(mean)
      assert session.run(variable)[0] == pytest.approx(expected)


@pytest.mark.parametrize("optimizer", optimization.OPTIMIZERS)
def test_slot_suffixes_are_those_of_the_variables(optimizer):
  names = ("kernel", "bias")
  for name in names:
    tf.get_variable(name, [2])
  optimization.create_optimizer(
      tf.add_n([tf.nn.l2_loss(v) for v in tf.trainable_variables()]), 0.1, 10,
      0, False, optimizer=optimizer)
  slots = [v.op.name for v in tf.global_variables()
           if v.op.name.endswith(optimization.SLOT_SUFFIXES)]
  assert optimization.SLOT_SUFFIXES == ("/adam_m", "/adam_v")
  assert sorted(slots) == sorted(
      name + suffix for name in names for suffix in optimization.SLOT_SUFFIXES)


def rates(steps, *schedule, **options):
  """Returns the schedule's rates at some steps."""
  step = tf.placeholder(tf.int64, [])
  rate = optimization.learning_rate_at(step, *schedule, **options)
  with tf.Session() as session:
    return [session.run(rate, {step: number}) for number in steps]


@pytest.mark.parametrize("num_warmup_steps", [0, 10])
def test_a_cosine_falls_from_the_peak_to_0(num_warmup_steps):
  steps = np.arange(0, 120)
  expected = 0.3 * (1 + np.cos(np.pi * np.clip(
      (steps - num_warmup_steps) / (100 - num_warmup_steps), 0, 1))) / 2
  expected[:num_warmup_steps] = 0.3 * steps[:num_warmup_steps] / 10
  np.testing.assert_allclose(
      rates(steps, 0.3, 100, num_warmup_steps, decay="cosine"), expected,
      rtol=1e-5, atol=1e-7)


def test_a_constant_rate_stays(variable_kind):
  assert rates((0, 5, 10, 99, 1000), 0.5, 100, 10, decay="constant") == [
      0, 0.25, 0.5, 0.5, 0.5]


def test_another_decay_is_refused():
  with pytest.raises(ValueError,
                     match="'square' is not one of linear, constant, cosine"):
    optimization.learning_rate_at(tf.constant(3), 0.1, 9, 0, decay="square")


@pytest.mark.parametrize("schedule, said", [
    ((1e-4, 1000, 100, "linear"),
     "rises from 0 to 0.0001 in 100 steps, then decays linearly from 9e-05 to "
     "0 at step 1000"),
    ((1e-4, 1000, 0, "linear"),
     "decays linearly from 0.0001 to 0 at step 1000"),
    ((1e-4, 1000, 100, "constant"),
     "rises from 0 to 0.0001 in 100 steps, then stays at 0.0001 until step "
     "1000"),
    ((1e-4, 1000, 100, "cosine"),
     "rises from 0 to 0.0001 in 100 steps, then decays along a half cosine "
     "from 0.0001 to 0 at step 1000"),
    ((1e-4, 50, 100, "cosine"),
     "rises from 0 to 0.0001 in 100 steps, but training ends at step 50"),
])
def test_a_schedule_is_described(schedule, said):
  assert optimization.describe_learning_rate(*schedule) == said


def test_gradients_are_clipped_to_a_norm_of_1(variable_kind):
  first = tf.get_variable("a", [2], initializer=tf.zeros_initializer())
  second = tf.get_variable("b", [1], initializer=tf.zeros_initializer())
  tf.get_variable("unused", [1])
  loss = tf.reduce_sum(first * [30.0, 0.0]) + tf.reduce_sum(second * 40.0)
  train_op = optimization.create_optimizer(loss, 0.1, 10, 0, False)
  slots = {var.name: var for var in tf.global_variables()
           if "/adam_" in var.name}
  assert set(slots) == {"a/adam_m:0", "a/adam_v:0", "b/adam_m:0", "b/adam_v:0"}
  with golden.session() as sess:
    sess.run(tf.global_variables_initializer())
    sess.run(train_op)
    means = sess.run([slots["a/adam_m:0"], slots["b/adam_m:0"]])
  np.testing.assert_allclose(means[0], [0.06, 0.0], rtol=1e-5)
  np.testing.assert_allclose(means[1], [0.08], rtol=1e-5)


def test_apply_gradients_leaves_the_global_step_alone(variable_kind):
  weights = tf.get_variable("w", [2], initializer=tf.zeros_initializer())
  step = tf.train.get_or_create_global_step()
  optimizer = optimization.AdamWeightDecayOptimizer(learning_rate=0.1)
  train_op = optimizer.apply_gradients(
      [(tf.constant([1.0, -1.0]), weights), (tf.constant(1.0), None)],
      global_step=step, name="update")
  assert train_op.name == "update"
  with golden.session() as sess:
    sess.run(tf.global_variables_initializer())
    sess.run(train_op)
    moved, counted = sess.run([weights, step])
  assert counted == 0
  assert moved[0] < 0 < moved[1]


def test_decay_is_excluded_by_a_search_in_the_name():
  optimizer = optimization.AdamWeightDecayOptimizer(
      0.1, weight_decay_rate=0.01,
      exclude_from_weight_decay=["LayerNorm", "layer_norm", "bias"])
  decays = optimizer._do_use_weight_decay
  assert decays("bert/pooler/dense/kernel")
  assert not decays("bert/pooler/dense/bias")
  assert not decays("cls/predictions/output_bias")
  assert not decays("bert/embeddings/LayerNorm/gamma")
  optimizer.weight_decay_rate = 0.0
  assert not decays("bert/pooler/dense/kernel")


def test_gradients_of_tpu_cores_are_summed_before_the_update():
  """The graph only: CPUs have no kernel for the sum over cores."""
  for name in "ab":
    tf.get_variable(name, [2])
  optimization.create_optimizer(
      tf.add_n([tf.nn.l2_loss(var) for var in tf.trainable_variables()]),
      0.1, 10, 0, True)
  graph_ops = tf.get_default_graph().get_operations()
  sums = {op for op in graph_ops if op.type == "CrossReplicaSum"}
  increments = [op for op in graph_ops
                if op.type in ("AssignAdd", "AssignAddVariableOp")]
  assert len(sums) == 2 and len(increments) == 1
  assert sums < ancestors(increments)


# --- Several replicas ---


def train_replicas(optimizer, loss_scale=False):
  """Trains with two replicas, each of which has a part of the gradient.

  Returns:
    list with the values of a variable and its slots, for each replica.
  """
  def step():
    half = tf.cast(
        tf.distribute.get_replica_context().replica_id_in_sync_group,
        tf.float32)
    tf.get_variable("kernel", initializer=tf.constant([3.0, -4.0]))
    tf.get_variable("rows", initializer=tf.constant([[1.0], [2.0]]))
    scale = tf.train.experimental.DynamicLossScale() if loss_scale else None
    factor = scale() if scale else 1.0
    return optimization.create_update(
        [factor * tf.stack([30.0 * half, 40.0 - 40.0 * half]),
         tf.IndexedSlices(factor * tf.constant([[0.5], [0.25]]),
                          tf.constant([1, 1]), tf.constant([2, 1]))],
        0.1, 100, 0, False, optimizer=optimizer, loss_scale=scale).op

  strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
  with strategy.scope():
    tf.train.get_or_create_global_step()
    train_op = strategy.group(strategy.extended.call_for_each_replica(step))
  copies = [strategy.experimental_local_results(variable)
            for variable in tf.global_variables()
            if variable.name.startswith(("kernel", "rows"))]
  assert [len(copy) for copy in copies] == [2] * 6
  with tf.Session(config=tf.ConfigProto(device_count={"CPU": 2})) as session:
    session.run(tf.global_variables_initializer())
    for _ in range(5):
      session.run(train_op)
    assert session.run(tf.train.get_global_step()) == 5
    return [session.run([copy[i] for copy in copies]) for i in range(2)]


def train_one(optimizer):
  """Trains one device with the sums of the gradients of `train_replicas`."""
  weights = tf.get_variable("kernel", initializer=tf.constant([3.0, -4.0]))
  rows = tf.get_variable("rows", initializer=tf.constant([[1.0], [2.0]]))
  train_op = optimization.create_optimizer(
      tf.reduce_sum(weights * [30.0, 40.0]) + 1.5 * tf.reduce_sum(rows[1]), 0.1,
      100, 0, False, optimizer=optimizer)
  variables = [v for v in tf.global_variables()
               if v.name.startswith(("kernel", "rows"))]
  with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(5):
      session.run(train_op)
    return session.run(variables)


@pytest.mark.parametrize("loss_scale", [False, True])
@pytest.mark.parametrize("optimizer", optimization.OPTIMIZERS)
def test_replicas_make_the_same_update_bitwise(
    optimizer, loss_scale):
  first, second = train_replicas(optimizer, loss_scale)
  for one, other in zip(first, second):
    np.testing.assert_array_equal(one, other)
  with tf.Graph().as_default():
    expected = train_one(optimizer)
  for found, value in zip(first, expected):
    np.testing.assert_allclose(found, value, rtol=1e-6, atol=1e-7)


def test_rows_of_a_sparse_gradient_are_summed(variable_kind):
  optimizer = optimization.AdamWeightDecayOptimizer(0.1, clip_norm=1.0)
  found = []
  for name, gradient in (
      ("sparse", tf.IndexedSlices(tf.constant([[3.0], [5.0], [6.0]]),
                                  tf.constant([2, 0, 0]), tf.constant([4, 1]))),
      ("dense", tf.constant([[11.0], [0.0], [3.0], [0.0]]))):
    variable = tf.get_variable(name, [4, 1], initializer=tf.ones_initializer())
    update = optimizer.apply_gradients([(gradient, variable)])
    with golden.session() as session:
      session.run(tf.global_variables_initializer())
      session.run(update)
      found.append(session.run([variable, optimizer.get_slot(variable, "m"),
                                optimizer.get_slot(variable, "v")]))
  for sparse, dense in zip(*found):
    np.testing.assert_array_equal(sparse, dense)


def test_micro_batches_add_up_to_the_batch(variable_kind):
  """Also for a variable with sparse gradients."""
  features = {"ids": tf.constant([[0], [2], [2], [1]]),
              "x": tf.constant([[1.0], [2.0], [3.0], [4.0]])}

  def share(batch, number):
    del number
    table = tf.get_variable("table", [3, 2], initializer=tf.ones_initializer())
    tf.get_variable("unused", [1])
    rows = tf.gather(table, batch["ids"][:, 0])
    loss = tf.reduce_sum(tf.square(rows) * batch["x"])
    return loss, {"sum": tf.reduce_sum(batch["x"])}

  whole, parts = [], []
  for found, count in ((whole, 1), (parts, 2)):
    with tf.variable_scope(tf.get_variable_scope(), reuse=tf.AUTO_REUSE):
      (gradient, nothing), loss, figures = optimization.sum_gradients(
          share, features, count)
    assert nothing is None
    with golden.session() as session:
      session.run(tf.global_variables_initializer())
      found += session.run(
          [tf.convert_to_tensor(gradient), loss, figures["sum"]])
  for one, other in zip(whole, parts):
    np.testing.assert_allclose(one, other, rtol=1e-6)
  with pytest.raises(ValueError, match="4 cannot be split into 3"):
    optimization.sum_gradients(share, features, 3)


# --- Some rows of a variable ---


def train_rows(optimizer):
  """Trains rows 3 and 1 of a table and of a bias, and a kernel.

  Returns:
    (values of all variables and slots by name, those of a model whose table and
    bias consist of these rows): at the start, and after each of three steps.
  """
  rng = np.random.RandomState(7)
  table, bias = rng.randn(5, 2), rng.randn(5)
  table[0, 0] = bias[2] = -0.0
  kernel, rows = rng.randn(3), [3, 1]
  slopes = [rng.randn(5, 2), rng.randn(5), rng.randn(3)]
  found = []
  for is_whole in (True, False):
    with tf.Graph().as_default():
      values = [table, bias, kernel]
      gradients = slopes
      if not is_whole:
        values = [table[rows], bias[rows], kernel]
        gradients = [slopes[0][rows], slopes[1][rows], slopes[2]]
      for name, value in zip(("table", "bias", "kernel"), values):
        tf.get_variable(name, initializer=value.astype(np.float32))
      tf.get_variable("idle", initializer=tf.ones([2]))
      update = optimization.create_update(
          [tf.constant(gradient, tf.float32) for gradient in gradients] + [
              None], 0.1, 10, 0, False, optimizer=optimizer, has_all_slots=True,
          rows={"table": rows, "bias": rows} if is_whole else None).op
      with golden.session() as session:
        session.run(tf.global_variables_initializer())
        variables = {v.name: v for v in tf.global_variables()}
        steps = [session.run(variables)]
        for _ in range(3):
          session.run(update)
          steps.append(session.run(variables))
      found.append(steps)
  return found


@pytest.mark.parametrize("optimizer", optimization.OPTIMIZERS)
def test_some_rows_are_updated_like_a_variable_of_these_rows(
    optimizer, variable_kind):
  whole, part = train_rows(optimizer)
  for step, (found, expected) in enumerate(zip(whole, part)):
    for name, value in expected.items():
      is_table = name.startswith(("table", "bias"))
      ours = found[name][[3, 1]] if is_table else found[name]
      np.testing.assert_allclose(ours, value, rtol=1e-6, atol=1e-7)
      if is_table:
        # Bitwise, with the signs of zeros.
        others = [row for row in range(5) if row not in (3, 1)]
        assert found[name][others].tobytes() == (
            whole[0][name][others].tobytes()), name
        assert step == 0 or (ours != whole[0][name][[3, 1]]).all()
  assert "idle/%s:0" % optimization.OPTIMIZERS[optimizer].SLOTS["m"] in whole[0]
