"""The report's charts: each metric by step, as inline SVG."""

import html
import math
import statistics
from typing import List, NamedTuple, Tuple

from bert_e2e.reporting.markup import plural, tag
from bert_e2e.reporting.run_data import SETS, is_count, is_finite
from bert_e2e.training import evaluation, metrics

# Longer training curves are drawn by the extreme values of equal parts.
_MAX_POINTS = 1000
# The same for an evaluation's markers.
_MAX_MARKERS = 120
# A smoothed curve is added to noisy curves of at least so many points.
_MIN_SMOOTHED = 30
_SMOOTHED_POINTS = 400
# Each smoothed point is the mean of about twice this fraction of the curve.
_SMOOTHING = 1 / 40
_MAX_RESTARTS = 20

# Size of a chart and its margins, in pixels.
_WIDTH, _HEIGHT = 464, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 16, 10, 40

_Points = List[Tuple[float, float]]


def draw(data):
  """Draws the charts of all metrics that have values.

  Args:
    data: run_data.RunData.

  Returns:
    list of str, an HTML <figure> for each chart.
  """
  steps = _steps_range(data)
  figures = [_figure(metric, data, steps) for metric in metrics.METRICS
             if metric.chart]
  return [figure for figure in figures if figure]


# ------------------------------------------------------------ points of a curve


def _thinned(points, limit):
  """Reduces the number of points without losing peaks.

  Args:
    points: list of (step, value).
    limit: int, the number of points to keep at most.

  Returns:
    list of (step, value), in order: the first and the last one, and the least
    and the greatest of equal parts.
  """
  count = len(points)
  if count <= limit:
    return points
  parts = (limit - 2) // 2
  kept = {0, count - 1}
  for part in range(parts):
    within = range(part * count // parts, (part + 1) * count // parts)
    kept.add(min(within, key=lambda i: points[i][1]))
    kept.add(max(within, key=lambda i: points[i][1]))
  return [points[i] for i in sorted(kept)]


def _means(points, limit):
  """Returns the means of at most `limit` equal parts of some points."""
  count = len(points)
  parts = min(count, limit)
  found = []
  for part in range(parts):
    within = points[part * count // parts:(part + 1) * count // parts]
    found.append((statistics.mean(step for step, _ in within),
                  math.fsum(value for _, value in within) / len(within)))
  return found


def _smoothed(points):
  """Returns a smoothed curve of at most `_SMOOTHED_POINTS` points.

  Each is the mean of equally many points before and after it, so the curve
  does not lag, and its steep ends are not flattened.
  """
  means = _means(points, _SMOOTHED_POINTS)
  reach = max(2, int(len(means) * _SMOOTHING))
  found = []
  for i, (step, _) in enumerate(means):
    near = min(reach, i, len(means) - 1 - i)
    values = [value for _, value in means[i - near:i + near + 1]]
    found.append((step, math.fsum(values) / len(values)))
  return found


# ------------------------------------------------------------------------- axes


def _ticks(low, high, count):
  """Returns about `count` round numbers, from `low` or less to `high` or more.

  >>> _ticks(3.1, 9.8, 5)
  [2.0, 4.0, 6.0, 8.0, 10.0]
  """
  rough = (high - low) / count
  power = 10.0 ** math.floor(math.log10(rough))
  step = power * next(
      factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999999)
  first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
  return [i * step for i in range(first, last + 1)]


def _tick_label(value, ticks):
  """Formats a tick's value as briefly as its neighbors allow.

  >>> _tick_label(0.5, [0.0, 0.5, 1.0]), _tick_label(2e-5, [0.0, 1e-5, 2e-5])
  ('0.5', '2e-5')
  >>> _tick_label(5e3, [0.0, 5e3, 1e4]), _tick_label(2e6, [0.0, 2e6])
  ('5k', '2M')
  """
  step, largest = ticks[1] - ticks[0], max(abs(tick) for tick in ticks)
  if abs(value) < step / 2:
    return "0"
  if step < 1e-3 or largest >= 1e10:
    mantissa, exponent = ("%.3e" % value).split("e")
    return "%ge%d" % (float(mantissa), int(exponent))
  if abs(value) >= 1e6:
    return "%gM" % (value / 1e6)
  if largest >= 1e4:
    return "%gk" % (value / 1e3)
  decimals = max(0, -math.floor(math.log10(step) + 1e-6))
  return format(value, ",.%df" % decimals)


class _Frame(NamedTuple):
  """Maps steps and values to pixels.

  Attributes:
    first, last: float, the steps at the left and the right edge.
    step_ticks: list of float.
    value_ticks: list of float; the first and the last are at the lower and the
      upper edge.
  """
  first: float
  last: float
  step_ticks: List[float]
  value_ticks: List[float]

  def x(self, step):
    fraction = (step - self.first) / (self.last - self.first)
    return _LEFT + fraction * (_WIDTH - _LEFT - _RIGHT)

  def y(self, value):
    low, high = self.value_ticks[0], self.value_ticks[-1]
    fraction = (value - low) / (high - low)
    return _HEIGHT - _BOTTOM - fraction * (_HEIGHT - _TOP - _BOTTOM)


def _steps_range(data):
  """Returns (first, last) of all curves' steps: all charts have the same axis.
  """
  steps = [float(step) for points in data.training.values()
           for step, _ in (points[:1] + points[-1:])]
  for evaluations in data.evaluations.values():
    steps += [float(item.step) for item in evaluations]
  first, last = min(steps, default=0.0), max(steps, default=0.0)
  # The axis starts at 0 if that is near, or if there is a single step.
  if first <= last / 10 or last - first <= 1e-9 * last:
    first = min(0.0, first)
  return first, max(last, first + 1)


def _frame(steps, values, from_zero):
  """Returns the _Frame of a chart.

  Args:
    steps: (first, last), floats that differ.
    values: list of float, finite, not empty.
    from_zero: bool, the axis of values includes 0.
  """
  low, high = min(values), max(values)
  if from_zero:
    low, high = min(0.0, low), max(0.0, high)
  if high - low <= 1e-9 * max(abs(low), abs(high), 1e-3):
    margin = abs(high) / 10 if abs(high) > 1e-9 else 1.0
    low, high = max(low - margin, min(low, 0.0)), high + margin
  first, last = steps
  step_ticks = [tick for tick in _ticks(first, max(last, first + 5), 5)
                if first <= tick <= last]
  return _Frame(first, last, step_ticks, _ticks(low, high, 5))


# ----------------------------------------------------------------------- charts


class _Series(NamedTuple):
  """A curve.

  Attributes:
    metric: metrics.Metric.
    kind: str, "training" or a name in run_data.SETS; its class in the HTML.
    points: list of (step, value times the metric's factor), finite.
    num_left_out: int, the number of values that were not finite.
  """
  metric: metrics.Metric
  kind: str
  points: _Points
  num_left_out: int

  @property
  def label(self):
    return (self.kind if self.kind in ("training", evaluation.PROBE) else
            "held-out " + self.kind)

  def format_value(self, index):
    """Returns the value of a point as text."""
    value = self.points[index][1]
    return format(
        value, self.metric.report_format if abs(value) < 1e9 else ".3g")

  def format_point(self, index):
    """Returns the value and the step of a point as text."""
    return "%s at step %s" % (
        self.format_value(index), format(self.points[index][0], ","))


def _series_of(metric, data):
  """Returns the list of a chart's _Series, without those that are empty."""
  curves = {"training": data.training.get(metric.name, [])}
  for text in SETS:
    curves[text] = [(item.step, metric.value_in(item.values))
                    for item in data.evaluations.get(text, ())]
  series = []
  for kind, points in curves.items():
    finite = [(step, value * metric.factor) for step, value in points
              if is_finite(value)]
    if finite:
      series.append(_Series(metric, kind, finite, len(points) - len(finite)))
  return series


def _title(text):
  return tag("title", html.escape(text))


def _grid(frame):
  """Yields the elements of the axes."""
  left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
  for tick in frame.value_ticks:
    y = frame.y(tick)
    yield tag("line", class_="grid", x1=left, y1=y, x2=right, y2=y)
    yield tag("text", _tick_label(tick, frame.value_ticks), class_="value",
              x=left - 7, y=y, dy="0.33em")
  ticks = frame.step_ticks
  for tick in ticks:
    x = frame.x(tick)
    yield tag("line", class_="tick", x1=x, y1=bottom, x2=x, y2=bottom + 4)
    yield tag("text", _tick_label(tick, ticks if len(ticks) > 1 else [0, 1]),
              class_="step", x=x, y=bottom + 17)
  yield tag("line", class_="axis", x1=left, y1=bottom, x2=right, y2=bottom)
  yield tag("text", "step", class_="name", x=(left + right) // 2,
            y=_HEIGHT - 5)


def _polyline(frame, points, classes, title):
  places = " ".join("%.1f,%.1f" % (frame.x(step), frame.y(value))
                    for step, value in points)
  return tag("polyline", _title(title), class_=classes, points=places)


def _marker(frame, kind, step, value, title):
  """Returns a marker: a square for the general text, else a circle."""
  x, y = frame.x(step), frame.y(value)
  if kind == "general":
    return tag("rect", _title(title), class_="general mark", x=x - 3.2,
               y=y - 3.2, width=6.4, height=6.4)
  return tag("circle", _title(title), class_=kind + " mark", cx=x, cy=y, r=3.6)


def _curve(frame, series):
  """Yields the elements of a curve."""
  kind, label, count = series.kind, series.label, len(series.points)
  is_training = kind == "training"
  has_smoothed = (is_training and series.metric.chart.is_noisy and
                  count >= _MIN_SMOOTHED)
  drawn = series._replace(points=_thinned(
      series.points, _MAX_POINTS if is_training else _MAX_MARKERS))
  if count > 1:
    look = "line" if not has_smoothed else (
        "raw dense" if len(drawn.points) < count else "raw")
    yield _polyline(frame, drawn.points, "%s %s" % (kind, look),
                    "%s, %s" % (label, plural(count, "value")))
  if has_smoothed:
    yield _polyline(frame, _smoothed(series.points), kind + " line",
                    label + ", smoothed")
  if not is_training or count == 1:
    for index, (step, value) in enumerate(drawn.points):
      yield _marker(frame, kind, step, value,
                    "%s: %s" % (label, drawn.format_point(index)))


def _restarts(frame, data):
  """Yields a line at each of the last steps that the run was resumed from."""
  steps = {start["step"] for start in data.starts[1:]
           if is_count(start.get("step"))}
  for step in sorted(steps)[-_MAX_RESTARTS:]:
    if frame.first < step < frame.last:
      x = frame.x(step)
      yield tag("line", _title("resumed from step %s" % format(step, ",")),
                class_="restart", x1=x, y1=_TOP, x2=x, y2=_HEIGHT - _BOTTOM)


def _legend(series):
  """Returns the list of a chart's curves, each with its last value."""
  items = [
      tag("li", '%s%s <b>%s</b>' % (
          tag("span", "", class_="key " + item.kind), html.escape(item.label),
          item.format_value(-1)))
      for item in series
  ]
  return tag("ul", "".join(items), class_="legend")


def _figure(metric, data, steps):
  """Returns the figure of a metric's chart; "" if it has no values."""
  series = _series_of(metric, data)
  if not series:
    return ""
  frame = _frame(steps, [value for item in series for _, value in item.points],
                 metric.chart.from_zero)
  parts = [*_grid(frame), *_restarts(frame, data)]
  summaries = []
  for item in series:
    parts += _curve(frame, item)
    summaries.append("%s: %s, %s" % (
        item.label, item.format_point(0), item.format_point(-1)))
  title = html.escape(metric.title)
  if metric.unit:
    title += " " + tag("small", html.escape(metric.unit))
  caption = tag("strong", title) + _legend(series)
  num_left_out = sum(item.num_left_out for item in series)
  if num_left_out:
    caption += tag("p", "%s not drawn: not finite" % plural(
        num_left_out, "value"), class_="note")
  svg = tag(
      "svg", "\n".join(parts), viewBox="0 0 %d %d" % (_WIDTH, _HEIGHT),
      role="img", aria_label="%s by step; %s." % (
          metric.title, "; ".join(summaries)))
  return tag("figure", tag("figcaption", caption) + "\n" + svg)
