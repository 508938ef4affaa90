"""BERT: the configuration, the encoder, the pretraining heads and their losses.

A graph-mode model for TensorFlow 1.15 and 2.x. Shapes in this file use these
letters:

  B  batch size (may be unknown until the graph runs)
  S  sequence length
  F  length of the attending sequence ("from"), T of the one attended to ("to")
  N  number of attention heads, D size of each head
  H  hidden size, N * D
  P  masked-LM predictions per sequence
  Q  positions of the last layer's output: all S, or the requested ones
  K  sequences that a row of the batch holds: 1, unless they are packed
  V  vocabulary size

Variables have the names that Google's checkpoints use (`variable_shapes` lists
them). All randomness of the forward pass is in one function, `dropout`.
Gradients are TensorFlow's own, except within `fast_gradients`.
"""

import collections
import contextlib
import copy
import functools
import itertools
import json
import math
import re
import threading

import tensorflow.compat.v1 as tf

from bert_e2e.common import json_files

_LAYER_NORM_EPSILON = 1e-12
# Added to the attention scores of masked positions: so far below any other
# score that their probability is 0 after the softmax.
_MASKED_SCORE = -10000.0
# Keeps the masked-LM loss finite for a batch without predictions.
_DENOMINATOR_EPSILON = 1e-5


class _GradientMode(threading.local):
  """The mode of the current thread; see `fast_gradients`."""
  is_fast = False


_gradient_mode = _GradientMode()


@contextlib.contextmanager
def fast_gradients():
  """A context in which ops are created with faster gradients.

  The values are the same. The gradients of `gelu`, `dense`, `layer_norm` and
  `masked_lm_loss` are equal up to float precision, but written by hand: on a
  CPU they take less time and memory than those that TensorFlow derives. They
  are meant for training: the graph gets ops that no output depends on.

  The context is that of the current thread, so it has to be entered within a
  `model_fn`.
  """
  before = _gradient_mode.is_fast
  _gradient_mode.is_fast = True
  try:
    yield
  finally:
    _gradient_mode.is_fast = before


def _with_fast_gradient(function):
  """A decorator: `tf.custom_gradient` within `fast_gradients`.

  Args:
    function: function of tensors that returns (output, gradient), see
      tf.custom_gradient.

  Returns:
    A function of the same tensors that returns the output.
  """
  with_custom_gradient = tf.custom_gradient(function)

  @functools.wraps(function)
  def call(*tensors):
    if _gradient_mode.is_fast:
      return with_custom_gradient(*tensors)
    return function(*tensors)[0]

  return call


class BertConfig:
  """Configuration of a BERT model.

  Source: google-research/bert, modeling.BertConfig; the same keys, order and
  defaults; unknown keys are kept. Changed: `from_json_file` validates values.
  """

  def __init__(self,
               vocab_size,
               hidden_size=768,
               num_hidden_layers=12,
               num_attention_heads=12,
               intermediate_size=3072,
               hidden_act="gelu",
               hidden_dropout_prob=0.1,
               attention_probs_dropout_prob=0.1,
               max_position_embeddings=512,
               type_vocab_size=16,
               initializer_range=0.02):
    """Creates a configuration.

    Args:
      vocab_size: int, V, number of word embeddings.
      hidden_size: int, H, a multiple of `num_attention_heads`.
      num_hidden_layers: int, number of Transformer layers.
      num_attention_heads: int, N.
      intermediate_size: int, size of the feed-forward layer.
      hidden_act: str for `get_activation`, or a function of a tensor.
      hidden_dropout_prob: float, dropout probability of embeddings and of the
        outputs of layers.
      attention_probs_dropout_prob: float, dropout probability of attention
        probabilities.
      max_position_embeddings: int, the maximum sequence length.
      type_vocab_size: int, number of segment ids.
      initializer_range: float, standard deviation of newly initialized weights.
    """
    self.vocab_size = vocab_size
    self.hidden_size = hidden_size
    self.num_hidden_layers = num_hidden_layers
    self.num_attention_heads = num_attention_heads
    self.hidden_act = hidden_act
    self.intermediate_size = intermediate_size
    self.hidden_dropout_prob = hidden_dropout_prob
    self.attention_probs_dropout_prob = attention_probs_dropout_prob
    self.max_position_embeddings = max_position_embeddings
    self.type_vocab_size = type_vocab_size
    self.initializer_range = initializer_range

  @classmethod
  def from_dict(cls, json_object):
    """Creates a configuration from a dict; all keys become attributes."""
    config = cls(vocab_size=None)
    vars(config).update(json_object)
    return config

  @classmethod
  def from_json_file(cls, json_file):
    """Reads a configuration such as Google's `bert_config.json`.

    Args:
      json_file: str, path of a UTF-8 JSON file.

    Returns:
      A BertConfig.

    Raises:
      ValueError: the file is not a JSON object, or a value is invalid; the
        message names file, key and value.
    """
    config = cls.from_dict(json_files.read_object(json_file))
    check_config(config, json_file)
    return config

  def to_dict(self):
    """Returns a deep copy of all attributes as a dict."""
    return copy.deepcopy(vars(self))

  def to_json_string(self):
    """Returns the attributes as indented JSON with sorted keys."""
    return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def is_number(value, types):
  """Tells whether `value` is one of `types` (to Python, True is an int)."""
  return isinstance(value, types) and not isinstance(value, bool)


def check_config(config, source):
  """Checks that a model can be built from a configuration.

  Args:
    config: BertConfig.
    source: str, the file that it was read from, for the message.

  Raises:
    ValueError: a value is invalid, or sizes contradict each other.
  """
  for key in ("vocab_size", "hidden_size", "num_hidden_layers",
              "num_attention_heads", "intermediate_size",
              "max_position_embeddings", "type_vocab_size"):
    value = getattr(config, key)
    if not is_number(value, int) or value < 1:
      raise ValueError("%s: %r must be an integer of at least 1, but %s." % (
          source, key, "is missing" if value is None else "is %r" % value))
  for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
    value = getattr(config, key)
    if not is_number(value, (int, float)) or not 0 <= value < 1:
      raise ValueError("%s: %r must be at least 0 and less than 1, got %r." %
                       (source, key, value))
  if not (is_number(config.initializer_range, (int, float))
          and config.initializer_range >= 0):
    raise ValueError("%s: 'initializer_range' must be at least 0, got %r." %
                     (source, config.initializer_range))
  try:
    _head_size(config.hidden_size, config.num_attention_heads)
    get_activation(config.hidden_act)
  except ValueError as error:
    raise ValueError("%s: %s" % (source, error)) from error


def _head_size(hidden_size, num_attention_heads):
  """Returns D, the size of one attention head."""
  if hidden_size % num_attention_heads:
    raise ValueError(
        "hidden_size %d is not a multiple of num_attention_heads %d."
        % (hidden_size, num_attention_heads))
  return hidden_size // num_attention_heads


def variable_shapes(config):
  """Lists the trainable variables of the pretraining model without building it.

  Args:
    config: BertConfig.

  Returns:
    OrderedDict from variable name to shape (list of int): the variables that
    `BertModel`, `get_masked_lm_output` and `get_next_sentence_output` create in
    the root scope, in the order of their creation.
  """
  hidden, inner = config.hidden_size, config.intermediate_size
  shapes = collections.OrderedDict()  # type: collections.OrderedDict

  def add_dense(scope, fan_in, fan_out):
    shapes[scope + "/dense/kernel"] = [fan_in, fan_out]
    shapes[scope + "/dense/bias"] = [fan_out]

  def add_layer_norm(scope):
    shapes[scope + "/LayerNorm/beta"] = [hidden]
    shapes[scope + "/LayerNorm/gamma"] = [hidden]

  for name, rows in (("word", config.vocab_size),
                     ("token_type", config.type_vocab_size),
                     ("position", config.max_position_embeddings)):
    shapes["bert/embeddings/%s_embeddings" % name] = [rows, hidden]
  add_layer_norm("bert/embeddings")
  for layer in range(config.num_hidden_layers):
    scope = "bert/encoder/layer_%d" % layer
    for name in ("query", "key", "value"):
      shapes["%s/attention/self/%s/kernel" % (scope, name)] = [hidden, hidden]
      shapes["%s/attention/self/%s/bias" % (scope, name)] = [hidden]
    add_dense(scope + "/attention/output", hidden, hidden)
    add_layer_norm(scope + "/attention/output")
    add_dense(scope + "/intermediate", hidden, inner)
    add_dense(scope + "/output", inner, hidden)
    add_layer_norm(scope + "/output")
  add_dense("bert/pooler", hidden, hidden)
  add_dense("cls/predictions/transform", hidden, hidden)
  add_layer_norm("cls/predictions/transform")
  shapes["cls/predictions/output_bias"] = [config.vocab_size]
  shapes["cls/seq_relationship/output_weights"] = [2, hidden]
  shapes["cls/seq_relationship/output_bias"] = [2]
  return shapes


class BertModel:
  """The encoder: embeddings, Transformer layers and pooler.

  ```python
  config = modeling.BertConfig(vocab_size=32000)
  model = modeling.BertModel(
      config=config, is_training=True,
      input_ids=tf.constant([[31, 51, 99], [15, 5, 0]]),
      input_mask=tf.constant([[1, 1, 1], [1, 1, 0]]),
      token_type_ids=tf.constant([[0, 0, 1], [0, 1, 0]]))
  vectors = model.get_sequence_output()  # float32 [2, 3, 768]
  ```
  """

  def __init__(self,
               config,
               is_training,
               input_ids,
               input_mask=None,
               token_type_ids=None,
               use_one_hot_embeddings=False,
               scope=None,
               *,
               dropout_seeds=None,
               output_positions=None,
               position_ids=None,
               num_sequences=1,
               compute_dtype=tf.float32):
    """Builds the graph.

    Args:
      config: BertConfig; it is not modified.
      is_training: bool, dropout is applied.
      input_ids: int32 [B, S], WordPiece ids.
      input_mask: int32 [B, S], 1 for a token and 0 for padding; all 1 if None.
        Or int32 [B, S, S], 1 where a position attends to another one.
      token_type_ids: int32 [B, S], segment ids; all 0 if None.
      use_one_hot_embeddings: bool, look up words by a matrix product, which is
        faster on a TPU only.
      scope: str or variable scope to build in, "bert" if None.
      dropout_seeds: DropoutSeeds, for dropout that a resumed run reproduces;
        None for TensorFlow's ordinary random numbers.
      output_positions: int32 [B, Q], the positions in [0, S) at which the last
        layer is computed; None for all. The first `num_sequences` must be those
        of [CLS], for the pooler.
      position_ids: int32 [B, S], in [0, max_position_embeddings); None for the
        offsets in the row.
      num_sequences: int, K.
      compute_dtype: tf.float32 or tf.bfloat16, the type of matrix products,
        activations and outputs. Variables, the sums of embeddings and of
        residuals, softmax, dropout and layer normalization are always float32.

    Raises:
      ValueError: a tensor has another rank, or the sizes contradict each other.

    Source: google-research/bert, modeling.BertModel; Devlin et al. 2018,
    arXiv 1810.04805. Changed: the attention mask stays [B, 1, S] and is
    broadcast over the attending positions where it is added; the last layer
    can be computed at selected positions only; several sequences can share a
    row.
    """
    batch_size, seq_length = get_shape_list(input_ids, expected_rank=2)
    if input_mask is None:
      input_mask = tf.ones([batch_size, seq_length], dtype=tf.int32)
    if token_type_ids is None:
      token_type_ids = tf.zeros([batch_size, seq_length], dtype=tf.int32)
    hidden_dropout = config.hidden_dropout_prob if is_training else 0.0
    attention_dropout = (
        config.attention_probs_dropout_prob if is_training else 0.0)

    with tf.variable_scope(scope, default_name="bert"):
      with tf.variable_scope("embeddings"):
        word_embeddings, self.embedding_table = embedding_lookup(
            input_ids, config.vocab_size, config.hidden_size,
            initializer_range=config.initializer_range,
            use_one_hot_embeddings=use_one_hot_embeddings)
        self.embedding_output = tf.cast(embedding_postprocessor(
            word_embeddings,
            use_token_type=True,
            token_type_ids=token_type_ids,
            token_type_vocab_size=config.type_vocab_size,
            initializer_range=config.initializer_range,
            max_position_embeddings=config.max_position_embeddings,
            dropout_prob=hidden_dropout,
            dropout_seeds=dropout_seeds,
            position_ids=position_ids), compute_dtype)
      with tf.variable_scope("encoder"):
        self.all_encoder_layers = transformer_model(
            self.embedding_output,
            attention_mask=_attention_mask(input_mask),
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            intermediate_act_fn=get_activation(config.hidden_act),
            hidden_dropout_prob=hidden_dropout,
            attention_probs_dropout_prob=attention_dropout,
            initializer_range=config.initializer_range,
            do_return_all_layers=True,
            dropout_seeds=dropout_seeds,
            output_positions=output_positions)
      self.sequence_output = self.all_encoder_layers[-1]
      with tf.variable_scope("pooler"):
        # The vector at [CLS] represents the whole sequence.
        self.pooled_output = dense(
            _first_vectors(self.sequence_output, num_sequences),
            config.hidden_size,
            activation=tf.tanh,
            kernel_initializer=create_initializer(config.initializer_range))

  # The outputs have the type `compute_dtype`.

  def get_pooled_output(self):
    """Returns [B * K, H], the [CLS] vectors after one more tanh layer."""
    return self.pooled_output

  def get_sequence_output(self):
    """Returns [B, Q, H], the output of the last layer."""
    return self.sequence_output

  def get_all_encoder_layers(self):
    """Returns a list of the layers' outputs: [B, S, H], the last [B, Q, H]."""
    return self.all_encoder_layers

  def get_embedding_output(self):
    """Returns [B, S, H], the input of the first layer.

    It is the sum of word, position and segment embeddings after layer
    normalization and dropout.
    """
    return self.embedding_output

  def get_embedding_table(self):
    """Returns the word embeddings, a float32 variable [V, H]."""
    return self.embedding_table


def _attention_mask(input_mask):
  """Returns `input_mask` of BertModel as [B, 1, S] or [B, S, S]."""
  if input_mask.shape.ndims == 3:
    return input_mask
  return tf.expand_dims(input_mask, 1)


def _first_vectors(sequence_output, count):
  """Returns the first `count` vectors of each row, [B * count, H]."""
  if count == 1:
    return sequence_output[:, 0, :]
  return reshape_to_matrix(sequence_output[:, :count, :])


def gelu(x):
  """Gaussian error linear unit, the tanh approximation.

  Args:
    x: float tensor.

  Returns:
    A tensor like `x`: x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).

  Source: Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2;
  google-research/bert, modeling.gelu. Changed: (1 + tanh(z)) / 2 is computed as
  sigmoid(2 z), which takes fewer passes over memory.
  """
  return _gelu(tf.convert_to_tensor(x))


@_with_fast_gradient
def _gelu(x):
  """`gelu` of a tensor.

  The fast gradient recomputes the sigmoid from x, so that no other tensor is
  kept for it.
  """
  linear = 2.0 * math.sqrt(2.0 / math.pi)
  cubic = 0.044715 * linear

  def gradient(upstream):
    with tf.control_dependencies([upstream]):
      again = tf.identity(x)  # Not recomputed before it is needed.
    square = tf.square(again)
    sigmoid = tf.sigmoid(again * (cubic * square + linear))
    # x times the derivative of the sigmoid with respect to x.
    slope = tf.raw_ops.SigmoidGrad(
        y=sigmoid, dy=again * (3.0 * cubic * square + linear))
    return upstream * (sigmoid + slope)

  return x * tf.sigmoid(x * (cubic * tf.square(x) + linear)), gradient


def gelu_erf(x):
  """Gaussian error linear unit, exact: x * Phi(x), with Phi computed by erf.

  Args:
    x: float tensor.

  Returns:
    A tensor like `x`.

  Source: Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2. Hugging Face's
  "gelu" is this form; Google's "gelu" is the tanh form.
  """
  return x * (0.5 * (1.0 + tf.erf(x * math.sqrt(0.5))))


def get_activation(activation_string):
  """Returns the activation function of a name.

  Args:
    activation_string: str, "gelu" (tanh form), "gelu_erf", "relu", "tanh" or
      "linear", in upper or lower case; None; or a function, which is returned.

  Returns:
    A function of a tensor; None for "linear", "" and None.

  Raises:
    ValueError: the name is unknown.
  """
  if activation_string is not None and not isinstance(activation_string, str):
    return activation_string
  functions = {"": None, "linear": None, "relu": tf.nn.relu, "gelu": gelu,
               "gelu_erf": gelu_erf, "tanh": tf.tanh}
  name = (activation_string or "").lower()
  if name not in functions:
    raise ValueError("Unknown activation %r; it must be one of %s." % (
        activation_string, ", ".join(sorted(filter(None, functions)))))
  return functions[name]


def get_assignment_map_from_checkpoint(tvars, init_checkpoint):
  """Finds the variables that a checkpoint can initialize, by their names.

  Args:
    tvars: list of variables.
    init_checkpoint: str, path or prefix of a TensorFlow checkpoint.

  Returns:
    (assignment_map, initialized_variable_names): an OrderedDict from each
    common name to itself, in the order of the checkpoint, for
    `tf.train.init_from_checkpoint`; and a dict whose keys are the same names,
    each with and without ":0".
  """
  names = {re.sub(r":\d+$", "", var.name) for var in tvars}
  assignment_map = collections.OrderedDict(
      (name, name) for name, _ in tf.train.list_variables(init_checkpoint)
      if name in names)
  initialized_variable_names = {}
  for name in assignment_map:
    initialized_variable_names[name] = 1
    initialized_variable_names[name + ":0"] = 1
  return assignment_map, initialized_variable_names


def create_initializer(initializer_range=0.02):
  """Returns a truncated normal initializer of the given standard deviation."""
  return tf.truncated_normal_initializer(stddev=initializer_range)


class DropoutSeeds:
  """A seed for each place in a model where dropout is applied.

  With these seeds dropout is a pure function of step, place and salt, so a
  resumed run reproduces the masks of an uninterrupted one. Otherwise TensorFlow
  uses random generators whose state is not saved in checkpoints.

  Args:
    step: integer tensor [], the global step.
    random_seed: int, the seed of the run.
    salt: int or integer tensor [], at least 0; different for each replica and
      micro-batch of a step.
  """

  _MAX_PLACES = 1 << 12

  def __init__(self, step, random_seed=0, salt=0):
    offset = random_seed * 2654435761 % (1 << 30)  # Knuth's spread of small
    self._step = tf.cast(step, tf.int32) + offset  # numbers over many bits.
    self._salt = tf.cast(salt, tf.int32) * self._MAX_PLACES
    self._places = itertools.count()

  def next(self):
    """Returns int32 [2], the seed of the next place."""
    return tf.stack([self._salt + next(self._places), self._step])


def dropout(input_tensor, dropout_prob, *, seeds=None):
  """Sets random elements to 0 and scales the others up.

  All dropout of the model is applied by this function.

  Args:
    input_tensor: float tensor.
    dropout_prob: float, the probability of dropping an element; if it is 0.0
      or None, the input itself is returned.
    seeds: DropoutSeeds; None for TensorFlow's ordinary random numbers.

  Returns:
    A tensor like `input_tensor`.
  """
  if not dropout_prob:
    return input_tensor
  shape = tf.shape(input_tensor)
  if seeds is None:
    uniform = tf.random.uniform(shape)
  else:
    uniform = tf.random.stateless_uniform(shape, seeds.next())
  # 1 for an element to keep, else 0. Faster than a comparison, whose booleans
  # would have to be cast.
  kept = tf.cast(tf.floor(uniform + (1.0 - dropout_prob)), input_tensor.dtype)
  # The factors are multiplied first: this leaves one product with the input
  # here, and one in the gradient.
  return input_tensor * (kept * (1.0 / (1.0 - dropout_prob)))


def dense(input_tensor, units, activation=None, kernel_initializer=None,
          name=None):
  """A fully connected layer over the last dimension.

  Args:
    input_tensor: float32 or bfloat16 [..., width]; its type is computed in.
    units: int, size of the output.
    activation: function of a tensor, or None.
    kernel_initializer: initializer of `kernel` [width, units]; `bias` [units]
      starts at 0.
    name: str, variable scope; "dense" (made unique) if None.

  Returns:
    [..., units], of the type of the input.
  """
  shape = get_shape_list(input_tensor)
  with tf.variable_scope(name, default_name="dense"):
    kernel = tf.get_variable("kernel", [shape[-1], units], dtype=tf.float32,
                             initializer=kernel_initializer)
    bias = tf.get_variable("bias", [units], dtype=tf.float32,
                           initializer=tf.zeros_initializer())
    output = _affine(
        reshape_to_matrix(input_tensor),
        tf.cast(kernel, input_tensor.dtype), tf.convert_to_tensor(bias))
    if activation is not None:
      output = activation(output)
    return reshape_from_matrix(output, shape)


@_with_fast_gradient
def _affine(rows, kernel, bias):
  """Multiplies a matrix by a kernel and adds a bias to the rows.

  Args:
    rows: float32 or bfloat16 [number of rows, width].
    kernel: of the same type, [width, units].
    bias: float32 [units].

  Returns:
    [number of rows, units], of the type of `rows`.
  """
  product = tf.cast(tf.matmul(rows, kernel), tf.float32)

  def gradient(upstream):
    rows_gradient = tf.matmul(upstream, kernel, transpose_b=True)
    width, units = kernel.shape.as_list()
    if width > units:  # On a CPU faster with the larger dimension last.
      kernel_gradient = tf.transpose(
          tf.matmul(upstream, rows, transpose_a=True))
    else:
      kernel_gradient = tf.matmul(rows, upstream, transpose_a=True)
    # In float32: a sum over so many rows is far off in bfloat16.
    bias_gradient = tf.reduce_sum(tf.cast(upstream, tf.float32), 0)
    return rows_gradient, kernel_gradient, bias_gradient

  return tf.cast(tf.nn.bias_add(product, bias), rows.dtype), gradient


def layer_norm(input_tensor, name=None):
  """Layer normalization over the last dimension.

  Args:
    input_tensor: float32 or bfloat16 [..., width]; computed in float32.
    name: str, variable scope; "LayerNorm" (made unique) if None.

  Returns:
    A tensor like `input_tensor`, with `gamma` and `beta` [width] applied.

  Source: Ba et al. 2016, arXiv 1607.06450; google-research/bert,
  modeling.layer_norm. Changed: second derivatives are right. There they are
  not, as tf.nn.moments takes the mean for a constant in the variance.
  """
  shape = get_shape_list(input_tensor)
  width = shape[-1]
  with tf.variable_scope(name, default_name="LayerNorm"):
    beta = tf.get_variable("beta", [width], dtype=tf.float32,
                           initializer=tf.zeros_initializer())
    gamma = tf.get_variable("gamma", [width], dtype=tf.float32,
                            initializer=tf.ones_initializer())
    output = _normalize(
        tf.cast(reshape_to_matrix(input_tensor), tf.float32),
        tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta))
    return tf.cast(reshape_from_matrix(output, shape), input_tensor.dtype)


@_with_fast_gradient
def _normalize(rows, gamma, beta):
  """Normalizes the rows of a matrix to mean 0 and variance 1.

  Args:
    rows: float32 [number of rows, width].
    gamma: float32 [width], the scale of the normalized columns.
    beta: float32 [width], their offset.

  Returns:
    A tensor like `rows`. Let n be a normalized row, s the standard deviation of
    the row, d the gradient of the output, and mean() the mean over the row.
    Then the fast gradient of the row is
    (d gamma - mean(d gamma) - n mean(d gamma n)) / s.
  """
  centered = rows - tf.reduce_mean(rows, -1, keepdims=True)
  variance = tf.reduce_mean(tf.square(centered), -1, keepdims=True)
  inverse = tf.rsqrt(variance + _LAYER_NORM_EPSILON)
  normalized = centered * inverse

  def gradient(upstream):
    product = upstream * normalized
    scaled = upstream * gamma
    mean = tf.reduce_mean(scaled, -1, keepdims=True)
    slope = tf.reduce_mean(product * gamma, -1, keepdims=True)
    rows_gradient = (scaled - (normalized * slope + mean)) * inverse
    return rows_gradient, tf.reduce_sum(product, 0), tf.reduce_sum(upstream, 0)

  return normalized * gamma + beta, gradient


def layer_norm_and_dropout(input_tensor, dropout_prob, name=None, *,
                           seeds=None):
  """Applies `layer_norm`, then `dropout`; shapes as there."""
  return dropout(layer_norm(input_tensor, name), dropout_prob, seeds=seeds)


def embedding_lookup(input_ids,
                     vocab_size,
                     embedding_size=128,
                     initializer_range=0.02,
                     word_embedding_name="word_embeddings",
                     use_one_hot_embeddings=False):
  """Looks up word embeddings.

  Args:
    input_ids: int32 [B, S], or [B, S, K] to concatenate K embeddings.
    vocab_size: int, V.
    embedding_size: int, E, size of an embedding.
    initializer_range: float, standard deviation of a newly initialized table.
    word_embedding_name: str, name of the table.
    use_one_hot_embeddings: bool, use a matrix product instead of a gather.

  Returns:
    (embeddings, table): float32 [B, S, E] (or [B, S, K * E]) and the variable
    [V, E].
  """
  table = tf.get_variable(
      word_embedding_name, [vocab_size, embedding_size],
      initializer=create_initializer(initializer_range))
  flat_ids = tf.reshape(input_ids, [-1])
  if use_one_hot_embeddings:
    output = tf.matmul(tf.one_hot(flat_ids, depth=vocab_size), table)
  else:
    output = tf.gather(table, flat_ids)
  shape = get_shape_list(input_ids)
  if len(shape) == 2:
    shape.append(1)
  output_shape = shape[:-1] + [shape[-1] * embedding_size]
  return tf.reshape(output, output_shape), table


def embedding_postprocessor(input_tensor,
                            use_token_type=False,
                            token_type_ids=None,
                            token_type_vocab_size=16,
                            token_type_embedding_name="token_type_embeddings",
                            use_position_embeddings=True,
                            position_embedding_name="position_embeddings",
                            initializer_range=0.02,
                            max_position_embeddings=512,
                            dropout_prob=0.1,
                            *,
                            dropout_seeds=None,
                            position_ids=None):
  """Adds segment and position embeddings; applies layer norm and dropout.

  Args:
    input_tensor: float32 [B, S, H], word embeddings.
    use_token_type: bool, add segment embeddings.
    token_type_ids: int32 [B, S]; required if `use_token_type`.
    token_type_vocab_size: int, number of segment ids.
    token_type_embedding_name: str, name of the table
      [token_type_vocab_size, H].
    use_position_embeddings: bool, add position embeddings.
    position_embedding_name: str, name of the table
      [max_position_embeddings, H].
    initializer_range: float, standard deviation of newly initialized tables.
    max_position_embeddings: int, the maximum S.
    dropout_prob: float.
    dropout_seeds: see `dropout`.
    position_ids: int32 [B, S], or None; see BertModel.

  Returns:
    float32 [B, S, H].

  Raises:
    ValueError: `token_type_ids` is missing, or S is known and too long.
  """
  _, seq_length, width = get_shape_list(input_tensor, expected_rank=3)
  initializer = create_initializer(initializer_range)
  output = input_tensor
  if use_token_type:
    if token_type_ids is None:
      raise ValueError("use_token_type requires token_type_ids.")
    table = tf.get_variable(
        token_type_embedding_name, [token_type_vocab_size, width],
        initializer=initializer)
    output += _segment_embeddings(
        table, token_type_ids, get_shape_list(input_tensor))
  if use_position_embeddings:
    table = tf.get_variable(
        position_embedding_name, [max_position_embeddings, width],
        initializer=initializer)
    if position_ids is None:
      output += _position_embeddings(table, seq_length, max_position_embeddings)
    else:
      output += tf.gather(table, position_ids)
  return layer_norm_and_dropout(output, dropout_prob, seeds=dropout_seeds)


def _segment_embeddings(table, token_type_ids, output_shape):
  """Looks up segment embeddings, float32 [B, S, H].

  A matrix product with so few rows is as fast as a gather, and its gradient is
  one small product instead of a sum over all B * S rows.
  """
  one_hot_ids = tf.one_hot(
      tf.reshape(token_type_ids, [-1]), depth=table.shape.as_list()[0])
  return tf.reshape(tf.matmul(one_hot_ids, table), output_shape)


def _position_embeddings(table, seq_length, max_position_embeddings):
  """Returns the first S position embeddings, float32 [1, S, H]."""
  too_long = ("The sequence length %s is greater than the model's"
              " max_position_embeddings %d.")
  checks = []
  if not isinstance(seq_length, int):
    checks.append(tf.debugging.assert_less_equal(
        seq_length, max_position_embeddings,
        message=too_long % ("of this batch", max_position_embeddings)))
  elif seq_length > max_position_embeddings:
    raise ValueError(too_long % (seq_length, max_position_embeddings))
  with tf.control_dependencies(checks):
    return tf.expand_dims(tf.slice(table, [0, 0], [seq_length, -1]), 0)


def create_attention_mask_from_input_mask(from_tensor, to_mask):
  """Creates a mask that says which positions attend to which.

  Args:
    from_tensor: tensor [B, F, ...].
    to_mask: int32 [B, T], 1 for a token and 0 for padding.

  Returns:
    float32 [B, F, T], `to_mask` repeated for each attending position, padding
    included.
  """
  shape = get_shape_list(from_tensor, expected_rank=[2, 3])
  assert_rank(to_mask, 2)
  ones = tf.ones([shape[0], shape[1], 1], dtype=tf.float32)
  return ones * tf.expand_dims(tf.cast(to_mask, tf.float32), 1)


def attention_layer(from_tensor,
                    to_tensor,
                    attention_mask=None,
                    num_attention_heads=1,
                    size_per_head=512,
                    query_act=None,
                    key_act=None,
                    value_act=None,
                    attention_probs_dropout_prob=0.0,
                    initializer_range=0.02,
                    do_return_2d_tensor=False,
                    batch_size=None,
                    from_seq_length=None,
                    to_seq_length=None,
                    *,
                    dropout_seeds=None):
  """Multi-headed attention from one sequence to another, or to itself.

  Args:
    from_tensor: float32 or bfloat16 [B, F, width], or [B * F, width].
    to_tensor: of the same type, [B, T, width], or [B * T, width].
    attention_mask: [B, F, T], or [B, 1, T] for all attending positions: 1 for a
      position to attend to, 0 for one to ignore.
    num_attention_heads: int, N.
    size_per_head: int, D.
    query_act: activation function of the queries, or None.
    key_act: activation of the keys.
    value_act: activation of the values.
    attention_probs_dropout_prob: float.
    initializer_range: float, standard deviation of newly initialized kernels.
    do_return_2d_tensor: bool, see Returns.
    batch_size: B; like the next two, required for tensors of rank 2 only.
    from_seq_length: F.
    to_seq_length: T.
    dropout_seeds: see `dropout`.

  Returns:
    [B, F, N * D], or [B * F, N * D] if `do_return_2d_tensor`, of the type of
    the arguments; the softmax is computed in float32.

  Raises:
    ValueError: the ranks differ, or a size is missing.

  Source: Vaswani et al. 2017, arXiv 1706.03762, section 3.2;
  google-research/bert, modeling.attention_layer. Changed: the queries, which
  are fewer numbers, are scaled by 1/sqrt(D) instead of the scores. The results
  are bitwise the same if that is a power of two (D = 16 or 64, as in all of
  Google's models).
  """
  from_shape = get_shape_list(from_tensor, expected_rank=[2, 3])
  to_shape = get_shape_list(to_tensor, expected_rank=[2, 3])
  if len(from_shape) != len(to_shape):
    raise ValueError("from_tensor and to_tensor differ in rank: %d and %d."
                     % (len(from_shape), len(to_shape)))
  if len(from_shape) == 3:
    batch_size, from_seq_length = from_shape[:2]
    to_seq_length = to_shape[1]
  elif batch_size is None or from_seq_length is None or to_seq_length is None:
    raise ValueError("Tensors of rank 2 require batch_size, from_seq_length"
                     " and to_seq_length.")

  def heads(tensor, seq_length, activation, name):
    """Projects [..., width] to [B, N, seq_length, D]."""
    projected = dense(
        reshape_to_matrix(tensor), num_attention_heads * size_per_head,
        activation, create_initializer(initializer_range), name)
    return tf.transpose(tf.reshape(projected, [
        batch_size, seq_length, num_attention_heads, size_per_head
    ]), [0, 2, 1, 3])

  query = heads(from_tensor, from_seq_length, query_act, "query")
  key = heads(to_tensor, to_seq_length, key_act, "key")
  value = heads(to_tensor, to_seq_length, value_act, "value")
  scores = tf.cast(tf.matmul(  # [B, N, F, T]
      query * (1.0 / math.sqrt(size_per_head)), key, transpose_b=True),
                   tf.float32)
  if attention_mask is not None:
    scores += _mask_adder(attention_mask)
  probs = tf.cast(dropout(tf.nn.softmax(scores), attention_probs_dropout_prob,
                          seeds=dropout_seeds), value.dtype)
  context = tf.transpose(tf.matmul(probs, value), [0, 2, 1, 3])  # [B, F, N, D]
  width = num_attention_heads * size_per_head
  if do_return_2d_tensor:
    return tf.reshape(context, [batch_size * from_seq_length, width])
  return tf.reshape(context, [batch_size, from_seq_length, width])


def _mask_adder(attention_mask):
  """Converts a mask [B, F or 1, T] to a summand of scores [B, N, F, T]."""
  mask = tf.expand_dims(tf.cast(attention_mask, tf.float32), 1)
  return (1.0 - mask) * _MASKED_SCORE  # [B, 1, F or 1, T]


def transformer_model(input_tensor,
                      attention_mask=None,
                      hidden_size=768,
                      num_hidden_layers=12,
                      num_attention_heads=12,
                      intermediate_size=3072,
                      intermediate_act_fn=gelu,
                      hidden_dropout_prob=0.1,
                      attention_probs_dropout_prob=0.1,
                      initializer_range=0.02,
                      do_return_all_layers=False,
                      *,
                      dropout_seeds=None,
                      output_positions=None):
  """A stack of Transformer encoder layers.

  Args:
    input_tensor: float32 or bfloat16 [B, S, H].
    attention_mask: [B, S, S] or [B, 1, S], see `attention_layer`.
    hidden_size: int, H.
    num_hidden_layers: int.
    num_attention_heads: int, N.
    intermediate_size: int, size of the feed-forward layer.
    intermediate_act_fn: its activation function, or None.
    hidden_dropout_prob: float.
    attention_probs_dropout_prob: float.
    initializer_range: float, standard deviation of newly initialized kernels.
    do_return_all_layers: bool, see Returns.
    dropout_seeds: see `dropout`.
    output_positions: int32 [B, Q], the positions at which the last layer is
      computed; None for all. They attend to all S positions.

  Returns:
    [B, Q, H], the output of the last layer, of the type of the input. If
    `do_return_all_layers`, a list of the outputs of all layers, the others
    [B, S, H].

  Raises:
    ValueError: H is not a multiple of N, or not the size of the input.

  Source: Vaswani et al. 2017, arXiv 1706.03762; google-research/bert,
  modeling.transformer_model, the same arithmetic.
  """
  size_per_head = _head_size(hidden_size, num_attention_heads)
  input_shape = get_shape_list(input_tensor, expected_rank=3)
  batch_size, seq_length, width = input_shape
  if width != hidden_size:
    raise ValueError("The size of the input is %s, but hidden_size is %d: both"
                     " are added, so they must be equal." %
                     (width, hidden_size))
  initializer = create_initializer(initializer_range)

  def add_and_norm(tensor, residual):
    """Projects to H; applies dropout, the residual and layer norm."""
    projected = dense(tensor, hidden_size, kernel_initializer=initializer)
    dropped = dropout(tf.cast(projected, tf.float32), hidden_dropout_prob,
                      seeds=dropout_seeds)
    normalized = layer_norm(dropped + tf.cast(residual, tf.float32))
    return tf.cast(normalized, tensor.dtype)

  outputs = []
  # A matrix [B * S, H] throughout: most operations are matrix products.
  hidden = reshape_to_matrix(input_tensor)
  attending, output_shape = hidden, input_shape
  for layer in range(num_hidden_layers):
    if output_positions is not None and layer == num_hidden_layers - 1:
      attending = gather_indexes(
          reshape_from_matrix(hidden, input_shape), output_positions)
      attention_mask = _mask_at(attention_mask, output_positions)
      output_shape = get_shape_list(output_positions) + [width]
    with tf.variable_scope("layer_%d" % layer):
      with tf.variable_scope("attention"):
        with tf.variable_scope("self"):
          context = attention_layer(
              attending, hidden, attention_mask, num_attention_heads,
              size_per_head,
              attention_probs_dropout_prob=attention_probs_dropout_prob,
              initializer_range=initializer_range, do_return_2d_tensor=True,
              batch_size=batch_size, from_seq_length=output_shape[1],
              to_seq_length=seq_length, dropout_seeds=dropout_seeds)
        with tf.variable_scope("output"):
          attended = add_and_norm(context, attending)
      with tf.variable_scope("intermediate"):
        inner = dense(attended, intermediate_size, intermediate_act_fn,
                      initializer)
      with tf.variable_scope("output"):
        hidden = attending = add_and_norm(inner, attended)
    outputs.append(reshape_from_matrix(hidden, output_shape))
  return outputs if do_return_all_layers else outputs[-1]


def _mask_at(attention_mask, positions):
  """Returns the rows [B, Q, T] of some positions of a mask [B, F, T].

  None and a mask [B, 1, T] for all positions are returned as they are.
  """
  if attention_mask is None or attention_mask.shape.as_list()[1] == 1:
    return attention_mask
  rows = gather_indexes(attention_mask, positions)
  return reshape_from_matrix(rows, get_shape_list(positions) + [None])


def get_masked_lm_output(bert_config, input_tensor, output_weights, positions,
                         label_ids, label_weights):
  """The masked-LM head: loss and log probabilities.

  Args:
    bert_config: BertConfig.
    input_tensor: [B, S, H], the encoder's output.
    output_weights: float32 [V, H], the word embeddings.
    positions: int32 [B, P], token offsets in [0, S); see `masked_lm_logits`.
    label_ids: int32 [B, P], the original ids at these positions, in [0, V).
    label_weights: float32 [B, P], 1.0 for a prediction and 0.0 for padding.

  Returns:
    (loss, per_example_loss, log_probs): float32 [], [B * P] and [B * P, V].
    `log_probs` is only computed if it is fetched. The predicted ids are also
    the argmax of `masked_lm_logits`, which is cheaper.

  Source: google-research/bert, run_pretraining.get_masked_lm_output. Changed:
  the loss is computed without a one-hot matrix [B * P, V] and without log
  probabilities; it is equal up to float precision.
  """
  logits = masked_lm_logits(
      bert_config, input_tensor, output_weights, positions)
  loss, per_example_loss = masked_lm_loss(logits, label_ids, label_weights)
  return loss, per_example_loss, tf.nn.log_softmax(logits, axis=-1)


def masked_lm_logits(bert_config, input_tensor, output_weights, positions):
  """Returns a score of each word at each masked position.

  Args:
    bert_config: BertConfig.
    input_tensor: float32 or bfloat16 [B, S, H], the encoder's output; matrix
      products are computed in its type.
    output_weights: float32 [V, H], the word embeddings.
    positions: int32 [B, P], token offsets in [0, S); None if `input_tensor` is
      [B, P, H], the vectors at the masked positions.

  Returns:
    float32 [B * P, V]; row b * P + p belongs to positions[b, p].
  """
  if positions is None:
    masked = reshape_to_matrix(input_tensor)
  else:
    masked = gather_indexes(input_tensor, positions)  # [B * P, H]
  with tf.variable_scope("cls/predictions"):
    with tf.variable_scope("transform"):
      masked = layer_norm(dense(
          masked, bert_config.hidden_size,
          get_activation(bert_config.hidden_act),
          create_initializer(bert_config.initializer_range)))
    output_bias = tf.get_variable(
        "output_bias", [bert_config.vocab_size],
        initializer=tf.zeros_initializer())
    logits = tf.matmul(masked, tf.cast(output_weights, masked.dtype),
                       transpose_b=True)
    return tf.nn.bias_add(tf.cast(logits, tf.float32), output_bias)


def masked_lm_loss(logits, label_ids, label_weights, *, num_predictions=None):
  """The cross-entropy of masked words.

  Args:
    logits: float32 [B * P, V].
    label_ids: int32 [B, P], in [0, V).
    label_weights: float32 [B, P].
    num_predictions: float32 [], the sum of the weights of a larger batch that
      this one is a part of; None for the sum of label_weights.

  Returns:
    (loss, per_example_loss): float32 [], the weighted sum over the batch
    divided by (num_predictions + 1e-5); and [B * P], in nats, unweighted.
  """
  weights = tf.reshape(label_weights, [-1])
  per_example_loss = _cross_entropy(logits, tf.reshape(label_ids, [-1]))
  total = tf.reduce_sum(weights * per_example_loss)
  if num_predictions is None:
    num_predictions = tf.reduce_sum(weights)
  loss = total / (num_predictions + _DENOMINATOR_EPSILON)
  return loss, per_example_loss


@_with_fast_gradient
def _cross_entropy(logits, labels):
  """The cross-entropy of each row, in nats.

  TensorFlow's fused operation takes two to three times as long on a CPU, where
  it computes the gradient element by element, and has no second derivative.

  Args:
    logits: float32 [rows, V].
    labels: int32 [rows], in [0, V).

  Returns:
    float32 [rows]: log(sum over v of exp(logits[v])) - logits[label].
  """
  label_indices = tf.stack(  # [rows, 2]
      [tf.range(tf.size(labels)), labels], axis=1)
  largest = tf.reduce_max(logits, -1, keepdims=True)
  exponentials = tf.exp(logits - largest)
  total = tf.reduce_sum(exponentials, -1)

  def gradient(upstream):
    softmax = exponentials * tf.expand_dims(upstream / total, 1)
    return tf.tensor_scatter_sub(softmax, label_indices, upstream), None

  losses = (tf.log(total) + tf.squeeze(largest, 1)
            - tf.gather_nd(logits, label_indices))
  return losses, gradient


def get_next_sentence_output(bert_config, input_tensor, labels):
  """The next-sentence head: loss and log probabilities.

  Args:
    bert_config: BertConfig.
    input_tensor: [B * K, H], the pooled output; it is cast to float32.
    labels: int32 [B] or [B, 1], or [B, K] of packed rows; 0 if text B follows
      text A, 1 if it is random.

  Returns:
    (loss, per_example_loss, log_probs): float32 [] (the mean), [B * K],
    [B * K, 2].

  Source: google-research/bert, run_pretraining.get_next_sentence_output, the
  same values. Changed: the log probability of the label is selected, not
  computed by a product with one-hot labels.
  """
  with tf.variable_scope("cls/seq_relationship"):
    output_weights = tf.get_variable(
        "output_weights", [2, bert_config.hidden_size],
        initializer=create_initializer(bert_config.initializer_range))
    output_bias = tf.get_variable(
        "output_bias", [2], initializer=tf.zeros_initializer())
    logits = tf.matmul(tf.cast(input_tensor, tf.float32), output_weights,
                       transpose_b=True)
    log_probs = tf.nn.log_softmax(tf.nn.bias_add(logits, output_bias))
  is_random = tf.equal(tf.reshape(labels, [-1]), 1)  # [B * K]
  losses = -tf.where(is_random, log_probs[:, 1], log_probs[:, 0])
  return tf.reduce_mean(losses), losses, log_probs


def gather_indexes(sequence_tensor, positions):
  """Gathers the vectors at the masked positions of a minibatch.

  Args:
    sequence_tensor: [B, S, H], the encoder's output.
    positions: int32 [B, P], token offsets in [0, S); padding is 0 and carries
      weight 0.0 downstream.

  Returns:
    [B * P, H]; row b * P + p is sequence_tensor[b, positions[b, p]].

  Raises:
    ValueError: `sequence_tensor` is not of rank 3.

  Source: google-research/bert, run_pretraining.gather_indexes, same contract.
  """
  batch_size, seq_length, _ = get_shape_list(sequence_tensor, expected_rank=3)
  row_starts = tf.expand_dims(tf.range(batch_size) * seq_length, 1)  # [B, 1]
  rows = tf.reshape(tf.cast(positions, tf.int32) + row_starts, [-1])  # [B * P]
  return tf.gather(reshape_to_matrix(sequence_tensor), rows)


def get_shape_list(tensor, expected_rank=None, name=None):
  """Returns a tensor's shape, in integers as far as it is known.

  Args:
    tensor: tensor of known rank.
    expected_rank: int or list of int to check the rank against, or None.
    name: str for the message of that check.

  Returns:
    list of int, with a scalar int32 tensor for each unknown dimension.

  Raises:
    ValueError: the rank is not the expected one.
  """
  if expected_rank is not None:
    assert_rank(tensor, expected_rank, name)
  static = tensor.shape.as_list()
  if None not in static:
    return static
  dynamic = tf.shape(tensor)
  return [dynamic[i] if size is None else size for i, size in enumerate(static)]


def reshape_to_matrix(input_tensor):
  """Flattens all dimensions but the last: [..., width] to [rows, width]."""
  rank = input_tensor.shape.ndims
  if rank < 2:
    raise ValueError("The tensor must have rank 2 or more, got shape %s."
                     % input_tensor.shape)
  if rank == 2:
    return input_tensor
  return tf.reshape(input_tensor, [-1, input_tensor.shape.as_list()[-1]])


def reshape_from_matrix(output_tensor, orig_shape_list):
  """Reverts `reshape_to_matrix`.

  Args:
    output_tensor: tensor [rows, width].
    orig_shape_list: result of `get_shape_list` for the original tensor; the
      last entry is ignored, as the width may have changed.

  Returns:
    Tensor [..., width].
  """
  if len(orig_shape_list) == 2:
    return output_tensor
  width = get_shape_list(output_tensor)[-1]
  return tf.reshape(output_tensor, orig_shape_list[:-1] + [width])


def assert_rank(tensor, expected_rank, name=None):
  """Checks a tensor's rank.

  Args:
    tensor: tensor.
    expected_rank: int, or list of int.
    name: str for the message; the tensor's own if None.

  Raises:
    ValueError: the tensor has another rank.
  """
  expected = ([expected_rank] if isinstance(expected_rank, int)
              else list(expected_rank))
  if tensor.shape.ndims not in expected:
    raise ValueError(
        "Tensor %s (scope %r) has shape %s, rank %s; expected rank %s."
        % (name or tensor.name, tf.get_variable_scope().name, tensor.shape,
           tensor.shape.ndims, " or ".join(map(str, expected))))
