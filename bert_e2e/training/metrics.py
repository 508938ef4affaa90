"""The metrics: what each one is called, how it is computed, where it is shown.

`METRICS` has one row, a `Metric`, for each of them. A metric of the model is
added by one more row; it then is in the progress lines, TensorBoard, the
evaluations and the report. Readers of the table (progress, evaluation, the
report) show the metrics that a run has: rows without a value are left out.

The order of the rows is that of the report; `progress_order` sorts the progress
line. The lower part of the module computes the metrics of the model from what
its heads return (`HeadOutput`); nothing is computed at import.

  B  batch size, in rows
  K  sequences that a row of the batch holds: 1, unless they are packed
  P  masked-LM predictions per row
  C  classes that a head scores: the vocabulary, or the labels of a sequence
"""

import math
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional

import tensorflow.compat.v1 as tf

# Prefix of the names of training metrics in TensorBoard.
TRAINING_TAG = "training/"


class HeadOutput(NamedTuple):
  """What a head of the model predicts for a batch, and how wrong that is.

  A training batch may be computed in several parts (by replicas and in
  micro-batches). Losses and metrics are then shares: those of all parts add up
  to the value of the batch.

  Attributes:
    loss: float32 [], this part's share of the batch's loss, in nats.
    losses: float32 [B * P] for the masked-LM head, [B * K] for a head that
      labels sequences ([B] unless rows are packed): the loss of each
      prediction.
    scores: float32 [B * P, C] or [B * K, C], logits or log probabilities.
    labels: int32 [B, P] or [B * K].
    weights: float32 [B, P] or [B * K]; padding has weight 0.0.
    total_weight: float32 [], the sum of the weights over all parts of the
      batch; None if all parts have the same sum.
    characters: float32 [B, P], the number of characters that each label stands
      for; None if it is unknown.
  """
  loss: Any
  losses: Any
  scores: Any
  labels: Any
  weights: Any
  total_weight: Any = None
  characters: Any = None


class Mean(NamedTuple):
  """A metric of a part of a batch: the weighted mean of its values.

  Attributes:
    values, weights: float32 [B, P] or [B * K].
    total_weight: see HeadOutput.
    share: float32 [], this part's share of the batch's mean, if it is known
      already; None to compute it from the others.
  """
  values: Any
  weights: Any
  total_weight: Any = None
  share: Any = None


def _loss(output):
  """Returns the Mean of a head's losses."""
  losses = tf.reshape(output.losses, tf.shape(output.weights))
  return Mean(losses, output.weights, share=output.loss)


def _accuracy(output):
  """Returns the Mean of a head's hits: 1.0 where the label scores best."""
  guesses = tf.reshape(
      tf.argmax(output.scores, axis=-1, output_type=tf.int32),
      tf.shape(output.labels))
  hits = tf.cast(tf.equal(guesses, output.labels), tf.float32)
  return Mean(hits, output.weights, output.total_weight)


def _nats_per_character(output):
  """Returns the Mean of a head's losses per character, each weighted by the
  characters of its label: the sum of the losses, divided by the sum of the
  characters. Labels without any, such as [UNK], count in neither.

  Returns:
    Mean; None if the characters are unknown.
  """
  if output.characters is None:
    return None
  losses = tf.reshape(output.losses, tf.shape(output.weights))
  return Mean(tf.math.divide_no_nan(losses, output.characters),
              output.weights * output.characters)


def _perplexity(values):
  """Returns e to the power of the masked-LM loss; inf beyond a float."""
  loss = values.get("masked_lm_loss", math.nan)
  return math.exp(loss) if loss < 700 else loss * math.inf


class Chart(NamedTuple):
  """The chart of a metric in the report.

  Attributes:
    from_zero: bool, the axis of values includes 0.
    is_noisy: bool, a smoothed curve is drawn over many values.
  """
  from_zero: bool = False
  is_noisy: bool = True


class Metric(NamedTuple):
  """A row of `METRICS`.

  Attributes:
    name: str, the key in evaluations.jsonl and eval_results.txt, and in
      TensorBoard: TRAINING_TAG + name of the training, `name` of an evaluation.
    title: str, the name in the report.
    unit: str, of the values times `factor`.
    higher_is_better: bool; None if neither is.
    head: str, the head (see objectives.py) whose output `measure` is given;
      None for what is not a metric of the model.
    measure: function from a HeadOutput to a Mean, or to None if the output
      does not have what the metric needs.
    derive: function from an evaluation's values (dict by name) to the value of
      a metric that the report computes from others; None for all others.
    progress_format: str, a format of the value in a progress line; None for
      the name and five significant digits.
    progress_order: int, progress lines are sorted by it; metrics with the same
      number are in the order of the rows.
    in_evaluation_line: bool, shown in the line logged after an evaluation.
    in_eval_results: bool, written to eval_results.txt.
    factor: float, the report multiplies values by it.
    report_format: str, format specification of a value times `factor`.
    table_decimals: int, decimals in the report's table of evaluations; None if
      the metric is not in it.
    chart: Chart; None if the report draws none.
  """
  name: str
  title: str
  unit: str = ""
  higher_is_better: Optional[bool] = None
  head: Optional[str] = None
  measure: Optional[Callable[[HeadOutput], Optional[Mean]]] = None
  derive: Optional[Callable[[Mapping[str, float]], float]] = None
  progress_format: Optional[str] = None
  progress_order: int = 3
  in_evaluation_line: bool = False
  in_eval_results: bool = False
  factor: float = 1.0
  report_format: str = ".3f"
  table_decimals: Optional[int] = None
  chart: Optional[Chart] = None

  def to_progress(self, value):
    """Returns the value as a progress line shows it, with its name or unit."""
    form = self.progress_format or self.name + " {:.5g}"
    return form.format(value)

  def value_in(self, values):
    """Returns this metric of an evaluation, a float; NaN if it has none.

    Args:
      values: dict from the names of an evaluation's metrics to floats.
    """
    if self.derive is not None:
      return self.derive(values)
    return values.get(self.name, math.nan)


def _loss_of(head, title, **settings):
  """Returns the row of a head's loss."""
  return Metric(
      name=head + "_loss", title=title, unit="nats", higher_is_better=False,
      head=head, measure=_loss, progress_order=1, in_eval_results=True,
      report_format=".3f", table_decimals=3, chart=Chart(), **settings)


def _accuracy_of(head, title, from_zero=False):
  """Returns the row of a head's accuracy, 0.0 to 1.0, a percentage in reports.
  """
  return Metric(
      name=head + "_accuracy", title=title, unit="%", higher_is_better=True,
      head=head, measure=_accuracy, progress_order=2, in_evaluation_line=True,
      in_eval_results=True, factor=100.0, report_format=".1f",
      table_decimals=1, chart=Chart(from_zero))


def _probe_score(name, title):
  """Returns the rows of a probe's score, 0.0 to 1.0: its mean over draws and
  its standard deviation, as percentages in reports."""
  mean = Metric(
      name="probe_" + name, title="Probe " + title, unit="%",
      higher_is_better=True, in_evaluation_line=True, factor=100.0,
      report_format=".1f", table_decimals=1, chart=Chart(is_noisy=False))
  return mean, mean._replace(
      name=mean.name + "_std", title=mean.title + ", deviation",
      higher_is_better=False, chart=None)


METRICS = (
    _loss_of("masked_lm", "Masked-LM loss", in_evaluation_line=True),
    Metric("perplexity", "Perplexity", higher_is_better=False,
           derive=_perplexity, report_format=".1f", table_decimals=1),
    # Of evaluations only. It compares over vocabularies.
    Metric("masked_lm_nats_per_character", "Masked-LM loss per character",
           unit="nats", higher_is_better=False, head="masked_lm",
           measure=_nats_per_character, in_eval_results=True,
           table_decimals=3),
    _accuracy_of("masked_lm", "Masked-LM accuracy", from_zero=True),
    _loss_of("next_sentence", "Next-sentence loss"),
    _accuracy_of("next_sentence", "Next-sentence accuracy"),
    _loss_of("sentence_order", "Sentence-order loss"),
    _accuracy_of("sentence_order", "Sentence-order accuracy"),
    # What is trained on: the sum of the heads' losses.
    Metric("loss", "Total loss", "nats", higher_is_better=False,
           progress_order=0, in_eval_results=True, report_format=".3f",
           chart=Chart()),
    # Of a user's task, see probe.py: means over draws, and their deviations.
    *_probe_score("accuracy", "accuracy"),
    *_probe_score("macro_f1", "macro-F1"),
    Metric("learning_rate", "Learning rate", report_format=".3g",
           chart=Chart(from_zero=True, is_noisy=False)),
    Metric("sequences_per_second", "Throughput", "sequences/s",
           higher_is_better=True, progress_format="{:.1f} sequences/s",
           progress_order=4, report_format=",.1f",
           chart=Chart(from_zero=True)),
    # WordPieces, special tokens included, without padding.
    Metric("tokens_per_second", "Real tokens", "tokens/s",
           higher_is_better=True, progress_format="{:,.0f} tokens/s",
           progress_order=4, report_format=",.0f",
           chart=Chart(from_zero=True)),
    # The fraction of the positions of all rows.
    Metric("padding", "Padding", "% of the positions", higher_is_better=False,
           progress_format="padding {:.0%}", progress_order=4, factor=100.0,
           report_format=".1f", chart=Chart(from_zero=True)),
    # The fraction of the time that steps wait for their input.
    Metric("input_wait", "Input wait", "% of the time",
           higher_is_better=False, progress_format="input wait {:.0%}",
           progress_order=4, factor=100.0, report_format=".1f",
           chart=Chart(from_zero=True)),
    # By which fp16 training multiplies the loss.
    Metric("loss_scale", "Loss scale", report_format=",.0f",
           chart=Chart(from_zero=True, is_noisy=False)),
    # Passes over the training text so far.
    Metric("epoch", "Epoch", progress_format="epoch {:.3f}", progress_order=4,
           report_format=".2f"),
)
BY_NAME: Dict[str, Metric] = {metric.name: metric for metric in METRICS}


def in_progress_order(names):
  """Returns a list of names of metrics as a progress line orders them."""
  wanted = set(names)
  return [metric.name for metric in sorted(
      METRICS, key=lambda metric: metric.progress_order)
          if metric.name in wanted]


# ------------------------------------------------------ texts of a mixture

# Training metrics of each text: its name, and what is counted.
_TEXT_TAG = "text/%s/%s"
_TEXT_COUNTS = ("examples", "epoch")


def text_to_progress(text):
  """Returns how a progress line shows a resume.TextProgress of a mixture."""
  return "%s: %s examples%s" % (
      text.name, format(text.examples, ","),
      "" if text.epochs is None else ", epoch %.3f" % text.epochs)


def values_of_texts(texts):
  """Returns a dict of the training metrics of a list of resume.TextProgress."""
  return {_TEXT_TAG % (text.name.strip("-"), count): value
          for text in texts
          for count, value in zip(_TEXT_COUNTS, (text.examples, text.epochs))
          if value is not None}


def counts_of_texts(names):
  """Returns the texts among the names of training metrics.

  Args:
    names: iterable of str, keys of `values_of_texts` and others.

  Returns:
    dict from a text to {"examples": name, "epoch": name}, or a part of it.
  """
  found: Dict[str, Dict[str, str]] = {}
  for name in names:
    for count in _TEXT_COUNTS:
      start, end = (_TEXT_TAG % ("\0", count)).split("\0")
      if name.startswith(start) and name.endswith(end):
        found.setdefault(name[len(start):-len(end)], {})[count] = name
  return found


# ------------------------------------------------------ metrics of the model


def _measure(outputs):
  """Returns {name: Mean} of all metrics of some heads, in the rows' order."""
  found = {}
  for metric in METRICS:
    if metric.measure is not None and metric.head in outputs:
      mean = metric.measure(outputs[metric.head])
      if mean is not None:
        found[metric.name] = mean
  return found


def training_values(outputs, num_parts=1):
  """Computes the metrics of the model for a part of a training batch.

  Args:
    outputs: dict from the name of a head to its HeadOutput.
    num_parts: int, the parts of the batch, all with the same number of
      sequences.

  Returns:
    dict from a metric's name to float32 [], this part's share: the sum over all
    parts is the metric of the batch.
  """
  def share(mean):
    if mean.share is not None:
      return mean.share
    total = tf.reduce_sum(mean.values * mean.weights)
    if mean.total_weight is not None:
      return total / tf.maximum(mean.total_weight, 1.0)
    part = total / tf.maximum(tf.reduce_sum(mean.weights), 1.0)
    return part if num_parts == 1 else part / num_parts

  return {name: share(mean) for name, mean in _measure(outputs).items()}


def eval_metrics(outputs):
  """Makes the metrics of an evaluation: means over all of its batches.

  Args:
    outputs: dict from the name of a head to its HeadOutput.

  Returns:
    (function, tensors) as tf.estimator.tpu.TPUEstimatorSpec takes them. The
    function returns a dict from a metric's name to a tf.metrics pair. The
    tensors have the batch as first dimension, so that those of a TPU's cores
    can be concatenated.
  """
  means = _measure(outputs)
  names = list(means)

  def mean_of(values, weights):
    # With the tensors, tf.metrics.mean would add a check of their shapes, which
    # takes longer than the evaluation of a small model.
    weight = tf.reduce_sum(weights)
    return tf.metrics.mean(
        tf.math.divide_no_nan(tf.reduce_sum(values * weights), weight), weight)

  def metric_fn(*tensors):
    return {name: mean_of(*pair)
            for name, *pair in zip(names, tensors[::2], tensors[1::2])}

  return metric_fn, [tensor for mean in means.values()
                     for tensor in (mean.values, mean.weights)]
