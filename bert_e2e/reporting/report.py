"""A report to look at: what a run left in its folder, as one HTML file.

Nothing in the file points outside of it: the curves are inline SVG, the colours
follow the reader's light or dark mode, and no script is needed. It is made of
TensorFlow's event files, `evaluations.jsonl`, `preflight.json` and
`runs.jsonl`; whichever is missing is missing in the report only.
"""

import html
import math
import os
import re
import statistics
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

from bert_e2e.common import file_io, json_files
from bert_e2e.data import preflight as preflight_lib
from bert_e2e.reporting import run_record
from bert_e2e.training import evaluation

REPORT_FILE = "report.html"
EVALUATIONS_FILE = evaluation.TABLE_FILE
RUNS_FILE = run_record.RUNS_FILE
PREFLIGHT_FILE = preflight_lib.FILE
# The held-out texts that an evaluation may be of.
TEXTS = (evaluation.DOMAIN, evaluation.GENERAL)

_EVENTS = "events.out.tfevents."
_TAG = "training/"
# A curve of more points is drawn by the least and the greatest of its parts.
_MAX_POINTS = 1000
_MAX_MARKERS = 120
# From so many points on a smoothed line stands above a curve.
_MANY_POINTS = 30
_SMOOTHED_POINTS = 400
# Each smoothed point is the mean of twice this part of the curve, about.
_SMOOTHING = 1 / 40
# Beyond this a number is as good as infinite: axes are to be computed from it.
_HUGE = 1e300
_SHOWN_STARTS = 20

_WIDTH, _HEIGHT = 464, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 16, 10, 40

_Points = List[Tuple[float, float]]


class Evaluation(NamedTuple):
  """How good the model was on a held-out text.

  Attributes:
    step: int, of the training.
    examples: int, what it was measured on; None if that is not known.
    masked_lm_loss, next_sentence_loss, loss: float, in nats.
    masked_lm_accuracy, next_sentence_accuracy: float, 0 to 1.
  """
  step: int
  examples: Optional[int] = None
  masked_lm_loss: float = math.nan
  masked_lm_accuracy: float = math.nan
  next_sentence_loss: float = math.nan
  next_sentence_accuracy: float = math.nan
  loss: float = math.nan


class Content(NamedTuple):
  """What is reported.

  Attributes:
    name: str, what the run is called.
    training: dict from a figure's name to its [(step, value), ...], by step.
    evaluations: dict from "domain" or "general" to [Evaluation, ...], by step.
    starts: list of dict, one for each start of the program; see
      run_record.
    preflight: preflight.Preflight, or None.
  """
  name: str
  training: Dict[str, List[Tuple[int, float]]]
  evaluations: Dict[str, List[Evaluation]]
  starts: List[Dict[str, Any]]
  preflight: Optional[preflight_lib.Preflight]


# --------------------------------------------------------------------- reading


def _events(path):
  """Yields the events of a file as far as they are whole.

  Raises:
    OSError: the file can't be read.
  """
  try:
    yield from tf.train.summary_iterator(path)
  except tf.errors.DataLossError:
    return  # Its writer was killed in the midst of the last one.
  except tf.errors.OpError as e:
    raise OSError("%s: %s" % (path, e.message)) from e


def read_training(output_dir):
  """Reads the figures of a training from its event files.

  Where a training was killed and went on from a checkpoint, what it did behind
  that checkpoint before the kill is left out: the weights were lost, and these
  steps come again.

  Args:
    output_dir: folder, local or with a scheme; the folders in it are not read.

  Returns:
    dict from NAME to [(step, value), ...], steps rising, of the scalars
    "training/NAME".

  Raises:
    OSError: a file can't be read.
  """
  files = []
  for name in file_io.names(output_dir):
    if name.startswith(_EVENTS):
      path = os.path.join(output_dir, name)
      first = next(_events(path), None)
      if first is not None:
        files.append((first.wall_time, path))
  found: Dict[str, List[Tuple[int, float]]] = {}
  for _, path in sorted(files):
    for event in _events(path):
      for value in event.summary.value:
        if value.tag.startswith(_TAG) and value.HasField("simple_value"):
          points = found.setdefault(value.tag[len(_TAG):], [])
          while points and points[-1][0] >= event.step:
            points.pop()
          points.append((event.step, value.simple_value))
  return found


def _is_count(value):
  """Tells whether what JSON gave is a number of steps, bytes or the like."""
  return (isinstance(value, int) and not isinstance(value, bool)
          and 0 <= value < 1 << 63)


def _figure_of(value):
  """Returns what JSON gave as a float; NaN where it is none to show."""
  if isinstance(value, (int, float)) and abs(value) < _HUGE:
    return float(value)
  return math.nan


def _evaluation(row):
  """Returns a row of evaluations.jsonl as an Evaluation."""
  examples = row.get("examples")
  return Evaluation(
      row["step"], examples if _is_count(examples) else None,
      *(_figure_of(row.get(name)) for name in Evaluation._fields[2:]))


def select_evaluations(rows):
  """Selects what can be compared.

  Args:
    rows: list of dict, as in evaluations.jsonl, the latest last.

  Returns:
    dict from the name of a text, if there is any, to its [Evaluation, ...] by
    step. Of a step it is the latest; all are of the set of examples that the
    text's latest row is of.
  """
  found = {}
  for text in TEXTS:
    of_text = [row for row in rows if row.get("text") == text
               and _is_count(row.get("step"))]
    if of_text:
      newest = of_text[-1].get("set")
      by_step = {row["step"]: _evaluation(row) for row in of_text
                 if row.get("set") == newest}
      found[text] = [by_step[step] for step in sorted(by_step)]
  return found


def _read_preflight(path):
  """Returns the Preflight of a file; None where there is none.

  One that another version of this program wrote is as good as none.
  """
  if not file_io.exists(path):
    return None
  try:
    return preflight_lib.from_dict(json_files.read_object(path))
  except ValueError:
    return None


def read(output_dir):
  """Reads what a run left in its folder.

  Args:
    output_dir: folder, local or with a scheme.

  Returns:
    Content.

  Raises:
    OSError: a file can't be read.
  """
  folder = output_dir
  if file_io.is_local(folder):
    folder = os.path.abspath(folder)
  return Content(
      name=os.path.basename(folder.rstrip("/")) or output_dir,
      training=read_training(output_dir),
      evaluations=select_evaluations(
          json_files.read_lines(os.path.join(output_dir, EVALUATIONS_FILE))),
      starts=json_files.read_lines(os.path.join(output_dir, RUNS_FILE)),
      preflight=_read_preflight(os.path.join(output_dir, PREFLIGHT_FILE)))


# ------------------------------------------------------------ points of a curve


def _thinned(points, limit):
  """Thins points out, so that peaks stay.

  Args:
    points: list of (step, value); limit: int, how many to keep at the most.

  Returns:
    list of (step, value), in order: the ends, and the least and greatest of
    each of equal parts.
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
  """Returns the means of equal parts of some points, `limit` at the most."""
  count = len(points)
  parts = min(count, limit)
  found = []
  for part in range(parts):
    within = points[part * count // parts:(part + 1) * count // parts]
    found.append((statistics.mean(step for step, _ in within),
                  math.fsum(value for _, value in within) / len(within)))
  return found


def _smoothed(points):
  """Returns a smoothed curve, of `_SMOOTHED_POINTS` at the most.

  Each is the mean of as many points before it as behind it, so that the curve
  is not late, and not held back at its ends where these are steep.
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
  """Returns round numbers, about `count`, from `low` or less to `high` or more.

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
  """Writes a number of an axis as short as its neighbours allow.

  >>> _tick_label(0.5, [0.0, 0.5, 1.0]), _tick_label(2e-5, [0.0, 1e-5, 2e-5])
  ('0.5', '2e-5')
  >>> _tick_label(5e3, [0.0, 5e3, 1e4]), _tick_label(2e6, [0.0, 2e6])
  ('5k', '2M')
  """
  step, most = ticks[1] - ticks[0], max(
      abs(tick) for tick in ticks)
  if abs(value) < step / 2:
    return "0"
  if step < 1e-3 or most >= 1e10:
    mantissa, exponent = ("%.3e" % value).split("e")
    return "%ge%d" % (float(mantissa), int(exponent))
  if abs(value) >= 1e6:
    return "%gM" % (value / 1e6)
  if most >= 1e4:
    return "%gk" % (value / 1e3)
  decimals = max(0, -math.floor(math.log10(step) + 1e-6))
  return format(value, ",.%df" % decimals)


class _Frame(NamedTuple):
  """Where numbers stand in a chart.

  Attributes:
    first, last: float, steps at the left and the right side.
    step_ticks, value_ticks: lists of float; the values' ends are the chart's.
  """
  first: float
  last: float
  step_ticks: List[float]
  value_ticks: List[float]

  def x(self, step):
    share = (step - self.first) / (self.last - self.first)
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

  def y(self, value):
    low, high = self.value_ticks[0], self.value_ticks[-1]
    share = (value - low) / (high - low)
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _steps_range(content):
  """Returns (first, last) of the steps of all curves, so that charts align."""
  steps = [float(step) for points in content.training.values()
           for step, _ in (points[:1] + points[-1:])]
  for evaluations in content.evaluations.values():
    steps += [float(item.step) for item in evaluations]
  first, last = min(steps, default=0.0), max(steps, default=0.0)
  # From 0 where that is near, and where all is at one step.
  if first <= last / 10 or last - first <= 1e-9 * last:
    first = min(0.0, first)
  return first, max(last, first + 1)


def _frame(steps, values, from_zero):
  """Returns the _Frame of a chart.

  Args:
    steps: (first, last), floats that differ.
    values: list of float, finite, at least one.
    from_zero: bool, whether the values' axis has a zero.
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


class _Chart(NamedTuple):
  """A chart of a figure, in training and on held-out text.

  Attributes:
    name: str, the figure's, as in "training/NAME" and in Evaluation.
    title, unit: str.
    form: str, how a value is written.
    from_zero: bool, whether its axis has a zero.
    factor: float, what the figures are shown times.
    is_noisy: bool, whether many values are smoothed.
  """
  name: str
  title: str
  unit: str
  form: str
  from_zero: bool = False
  factor: float = 1.0
  is_noisy: bool = True


_CHARTS = (
    _Chart("masked_lm_loss", "Masked-LM loss", "nats", ".3f"),
    _Chart("masked_lm_accuracy", "Masked-LM accuracy", "%", ".1f", True, 100.0),
    _Chart("next_sentence_loss", "Next-sentence loss", "nats", ".3f"),
    _Chart("next_sentence_accuracy", "Next-sentence accuracy", "%", ".1f",
           factor=100.0),
    _Chart("loss", "Total loss", "nats", ".3f"),
    _Chart("learning_rate", "Learning rate", "", ".3g", True, is_noisy=False),
    _Chart("sequences_per_second", "Throughput", "sequences/s", ",.1f", True),
    _Chart("input_wait", "Input wait", "% of the time", ".1f", True, 100.0),
    _Chart("loss_scale", "Loss scale", "", ",.0f", True, is_noisy=False),
)


class _Series(NamedTuple):
  """A curve.

  Attributes:
    chart: _Chart that it is in.
    kind: str, "training", "domain" or "general"; its class in the HTML.
    points: list of (step, value), finite.
    num_left_out: int, values that were not.
  """
  chart: _Chart
  kind: str
  points: _Points
  num_left_out: int

  @property
  def label(self):
    return (self.kind if self.kind == "training" else
            "held-out " + self.kind)

  def said(self, index):
    """Writes a value."""
    value = self.points[index][1]
    return format(value, self.chart.form if abs(value) < 1e9 else ".3g")

  def said_at(self, index):
    """Writes a value and its step."""
    return "%s at step %s" % (
        self.said(index), format(self.points[index][0], ","))


def _series_of(chart, content):
  """Returns the list of _Series of a chart; those without a value are not."""
  found = {"training": content.training.get(chart.name, [])}
  if chart.name in Evaluation._fields:
    for text in TEXTS:
      found[text] = [(item.step, getattr(item, chart.name))
                     for item in content.evaluations.get(text, ())]
  series = []
  for kind, points in found.items():
    finite = [(step, value * chart.factor) for step, value in points
              if abs(value) < _HUGE]
    if finite:
      series.append(_Series(chart, kind, finite, len(points) - len(finite)))
  return series


def _tag(name, text=None, **attributes):
  """Returns an element.

  Args:
    name: str.
    text: str, HTML that is inside; None for an element without an inside.
    **attributes: numbers and strings, which are escaped here. `_` in a name is
      for `-`, and one at its end is for nothing.

  Returns:
    str.
  """
  inside = "".join(
      ' %s="%s"' % (key.rstrip("_").replace("_", "-"), html.escape(
          "%.1f" % value if isinstance(value, float) else str(value)))
      for key, value in attributes.items())
  if text is None:
    return "<%s%s/>" % (name, inside)
  return "<%s%s>%s</%s>" % (name, inside, text, name)


def _title(text):
  return _tag("title", html.escape(text))


def _grid(frame):
  """Yields the elements of the axes."""
  left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
  for tick in frame.value_ticks:
    y = frame.y(tick)
    yield _tag("line", class_="grid", x1=left, y1=y, x2=right, y2=y)
    yield _tag("text", _tick_label(tick, frame.value_ticks), class_="value",
               x=left - 7, y=y, dy="0.33em")
  ticks = frame.step_ticks
  for tick in ticks:
    x = frame.x(tick)
    yield _tag("line", class_="tick", x1=x, y1=bottom, x2=x, y2=bottom + 4)
    yield _tag("text", _tick_label(tick, ticks if len(ticks) > 1 else [0, 1]),
               class_="step", x=x, y=bottom + 17)
  yield _tag("line", class_="axis", x1=left, y1=bottom, x2=right, y2=bottom)
  yield _tag("text", "step", class_="name", x=(left + right) // 2,
             y=_HEIGHT - 5)


def _polyline(frame, points, kind, title):
  places = " ".join("%.1f,%.1f" % (frame.x(step), frame.y(value))
                    for step, value in points)
  return _tag("polyline", _title(title), class_=kind, points=places)


def _marker(frame, kind, step, value, title):
  """Returns a marker: a square for the general text, else a circle."""
  x, y = frame.x(step), frame.y(value)
  if kind == "general":
    return _tag("rect", _title(title), class_="general mark", x=x - 3.2,
                y=y - 3.2, width=6.4, height=6.4)
  return _tag("circle", _title(title), class_=kind + " mark", cx=x, cy=y, r=3.6)


def _curve(frame, series):
  """Yields the elements of a curve."""
  kind, label, count = series.kind, series.label, len(series.points)
  is_training = kind == "training"
  has_smoothed = (is_training and series.chart.is_noisy and
                  count >= _MANY_POINTS)
  drawn = series._replace(points=_thinned(
      series.points, _MAX_POINTS if is_training else _MAX_MARKERS))
  if count > 1:
    look = "line" if not has_smoothed else (
        "raw dense" if len(drawn.points) < count else "raw")
    yield _polyline(frame, drawn.points, "%s %s" % (kind, look),
                    "%s, %s" % (label, _plural(count, "value")))
  if has_smoothed:
    yield _polyline(frame, _smoothed(series.points), kind + " line",
                    label + ", smoothed")
  if not is_training or count == 1:
    for index, (step, value) in enumerate(drawn.points):
      yield _marker(frame, kind, step, value,
                    "%s: %s" % (label, drawn.said_at(index)))


def _restarts(frame, content):
  """Yields a line for each step at which the run went on; some, if many."""
  steps = {start["step"] for start in content.starts[1:]
           if _is_count(start.get("step"))}
  for step in sorted(steps)[-_SHOWN_STARTS:]:
    if frame.first < step < frame.last:
      x = frame.x(step)
      yield _tag("line", _title("went on at step %s" % format(step, ",")),
                 class_="restart", x1=x, y1=_TOP, x2=x, y2=_HEIGHT - _BOTTOM)


def _legend(series):
  """Returns the list of a chart's curves, each with its last value."""
  items = [
      _tag("li", '%s%s <b>%s</b>' % (
          _tag("span", "", class_="key " + item.kind), html.escape(item.label),
          item.said(-1)))
      for item in series
  ]
  return _tag("ul", "".join(items), class_="legend")


def _figure(chart, content, steps):
  """Returns the figure of a chart; "" where there is nothing to draw."""
  series = _series_of(chart, content)
  if not series:
    return ""
  frame = _frame(steps, [value for item in series for _, value in item.points],
                 chart.from_zero)
  parts = [*_grid(frame), *_restarts(frame, content)]
  said = []
  for item in series:
    parts += _curve(frame, item)
    said.append("%s: %s, %s" % (
        item.label, item.said_at(0), item.said_at(-1)))
  title = html.escape(chart.title)
  if chart.unit:
    title += " " + _tag("small", html.escape(chart.unit))
  caption = _tag("strong", title) + _legend(series)
  num_left_out = sum(item.num_left_out for item in series)
  if num_left_out:
    caption += _tag("p", "%s not drawn: not a finite number" % _plural(
        num_left_out, "value"), class_="note")
  svg = _tag(
      "svg", "\n".join(parts), viewBox="0 0 %d %d" % (_WIDTH, _HEIGHT),
      role="img", aria_label="%s by step; %s." % (
          chart.title, "; ".join(said)))
  return _tag("figure", _tag("figcaption", caption) + "\n" + svg)


def _curves(content):
  steps = _steps_range(content)
  figures = [_figure(chart, content, steps) for chart in _CHARTS]
  drawn = [figure for figure in figures if figure]
  if not drawn:
    return _section("Curves", _tag(
        "p", "There are no curves: no event file of a training, and no "
        "evaluation, is in the folder."))
  note = ("Beside each name stands its last value. Of the training, the thin "
          "line is as measured and the thick one is smoothed.")
  if len(content.starts) > 1:
    note += " At a dashed upright line the run went on after a stop."
  return _section("Curves", _tag("p", note, class_="note") + "\n" + _tag(
      "div", "\n".join(drawn), class_="curves"))


# ----------------------------------------------------------- before and after


class _Column(NamedTuple):
  """A figure of the table of evaluations.

  Attributes:
    title, unit: str.
    values: function from an Evaluation to a float.
    decimals: int.
    sign: 1 if more is better, -1 if less is.
  """
  title: str
  unit: str
  value: Any
  decimals: int
  sign: int


def _perplexity(item):
  """Returns e to the masked-LM loss; inf where that is beyond a float."""
  return math.exp(item.masked_lm_loss) if item.masked_lm_loss < 700 else (
      item.masked_lm_loss * math.inf)


_COLUMNS = (
    _Column("masked-LM loss", "nats", lambda item: item.masked_lm_loss, 3, -1),
    _Column("perplexity", "", _perplexity, 1, -1),
    _Column("masked-LM accuracy", "%",
            lambda item: 100 * item.masked_lm_accuracy, 1, 1),
    _Column("next-sentence loss", "nats",
            lambda item: item.next_sentence_loss, 3, -1),
    _Column("next-sentence accuracy", "%",
            lambda item: 100 * item.next_sentence_accuracy, 1, 1),
)


def _fixed(value, decimals):
  """Writes a number with so many decimals, "-" for none."""
  if not abs(value) < _HUGE:
    return "-"
  return (format(value, ",.%df" % decimals) if abs(value) < 1e7 else
          "%.2e" % value)


def _best(found):
  """Returns the Evaluation of the least masked-LM loss; the last, without."""
  return min(
      (item for item in found if not math.isnan(item.masked_lm_loss)),
      key=lambda item: item.masked_lm_loss, default=found[-1])


def _change(column, before, after):
  """Returns the cell that says how a figure changed."""
  # Of the figures as they are shown, so that the reader's sum comes out.
  change = round(column.value(after), column.decimals) - round(
      column.value(before), column.decimals)
  if not abs(change) < _HUGE:
    return _tag("td", "-")
  shown = _fixed(abs(change), column.decimals)
  if not round(abs(change), column.decimals):
    return _tag("td", "same")
  is_better = change * column.sign > 0
  return _tag("td", "%s%s <small>%s</small>" % (
      "+" if change > 0 else "\u2212", shown,
      "better" if is_better else "worse"),
              class_="better" if is_better else "worse")


def _evaluation_rows(text, found):
  """Returns the rows of a text."""
  first, best, last = found[0], _best(found), found[-1]
  names: Dict[Evaluation, List[str]] = {}
  for name, item in (("first", first), ("best", best), ("last", last)):
    names.setdefault(item, []).append(name)
  ordered = sorted(names.items(), key=lambda pair: pair[0].step)
  has_change = first is not last
  examples = "" if last.examples is None else _tag(
      "small", _plural(last.examples, "example"))
  head = _tag("th", html.escape(text) + " text " + examples, scope="rowgroup",
              rowspan=len(ordered) + has_change)
  rows = []
  for item, labels in ordered:
    label = ", ".join(labels) if len(found) > 1 else "only"
    cells = [_tag("th", label, scope="row"),
             _tag("td", format(item.step, ","))]
    cells += [_tag("td", _fixed(column.value(item), column.decimals))
              for column in _COLUMNS]
    rows.append("".join(cells))
  if has_change:
    rows.append(_tag("th", "change", scope="row") + _tag("td", "") + "".join(
        _change(column, first, last) for column in _COLUMNS))
  rows[0] = head + rows[0]
  return _tag("tbody", "\n".join(_tag("tr", row) for row in rows))


def _verdict(text, found):
  """Says in a sentence what became of a text's masked-LM loss.

  >>> _verdict("general", [Evaluation(0, 9, 3.5), Evaluation(9, 9, 3.7)])
  'general text: 3.50 \u2192 3.70 (worse by 0.20: forgotten)'
  """
  before, after = (round(item.masked_lm_loss, 2)
                   for item in (found[0], found[-1]))
  if len(found) == 1:
    return "%s text: %s at step %s, the only evaluation" % (
        text, _fixed(before, 2), format(found[0].step, ","))
  said = "%s text: %s \u2192 %s" % (text, _fixed(before, 2), _fixed(after, 2))
  change = round(after - before, 2)
  if not abs(change) < _HUGE:
    return said
  if not change:
    return said + " (as before)"
  said += " (%s by %s%s)" % (
      "worse" if change > 0 else "better", _fixed(abs(change), 2),
      ": forgotten" if change > 0 and text == "general" else "")
  best = _best(found)
  if round(best.masked_lm_loss, 2) < min(before, after):
    said += ", at its best %s at step %s" % (
        _fixed(best.masked_lm_loss, 2), format(best.step, ","))
  return said


def _before_and_after(content):
  if not content.evaluations:
    return _section("Before and after", _tag(
        "p", "No evaluation on held-out text is recorded in the folder."))
  verdicts = "; ".join(_verdict(text, found)
                       for text, found in content.evaluations.items())
  head = [_tag("th", name, scope="col")
          for name in ("text", "evaluation", "step")]
  for column in _COLUMNS:
    unit = column.unit and " " + _tag("small", column.unit)
    head.append(_tag("th", column.title + unit, scope="col"))
  bodies = [_evaluation_rows(text, found)
            for text, found in content.evaluations.items()]
  counts = "; ".join(
      "%s text: %s on %s" % (
          text, _plural(len(found), "evaluation"),
          "an unknown number of examples" if found[-1].examples is None else
          _plural(found[-1].examples, "example"))
      for text, found in content.evaluations.items())
  table = _tag("table", "\n".join([
      _tag("thead", _tag("tr", "".join(head))), *bodies]), class_="numbers")
  return _section("Before and after", "\n".join([
      _tag("p", "Masked-LM loss on %s." % html.escape(verdicts),
           class_="verdict"),
      _scrolled(table, "Evaluations"),
      _tag("p", "Held-out text. Best is the least masked-LM loss; the change "
           "is from the first to the last. %s." % html.escape(
               counts[:1].upper() + counts[1:]), class_="note")]))


# ----------------------------------------------------------- the other sections


def _plural(count, noun):
  return "%s %s%s" % (format(count, ","), noun, "" if count == 1 else "s")


def _with_flags(text):
  """Returns a text as HTML, the flags in it as code that stays together."""
  return re.sub(r"--\w[\w=.]*\w", lambda found: _tag("code", found.group()),
                html.escape(text))


def _section(title, inside):
  return _tag("section", _tag("h2", html.escape(title)) + "\n" + inside)


def _scrolled(table, label):
  """Returns a table that is moved sideways where it is wider than the page."""
  return _tag("div", table, class_="wide", role="region", tabindex=0,
              aria_label=label)


def _pairs(caption, pairs):
  """Returns a table of names and texts, neither escaped before."""
  rows = [_tag("tr", _tag("th", html.escape(str(name)), scope="row") +
               _tag("td", "<br>".join(_with_flags(str(text))
                                      for text in texts)))
          for name, texts in pairs]
  return _tag("table", "\n".join([
      _tag("caption", html.escape(caption)),
      _tag("tbody", "\n".join(rows))]), class_="pairs")


def _warnings(content):
  found = content.preflight
  if found is None or not found.warnings:
    return ""
  items = "\n".join(_tag("li", _with_flags(item.text))
                    for item in found.warnings)
  return _tag("section", "%s\n%s" % (
      _tag("h2", "%s of the preflight" % _plural(
          len(found.warnings), "warning").capitalize()),
      _tag("ul", items)), class_="warnings")


def _preflight(content):
  found = content.preflight
  if found is None:
    return _section("Preflight", _tag("p", _with_flags(
        "No look at the text before the training is in the folder, or none of "
        "this version; --preflight_only takes one.")))
  pairs: List[Tuple[str, List[str]]] = []
  for name, text in preflight_lib.rows(found):
    if name or not pairs:
      pairs.append((name, [text]))
    else:
      pairs[-1][1].append(text)
  warned = ("The warnings stand at the top." if found.warnings else
            "It warns of nothing.")
  return _section("Preflight", _pairs(
      "The text as a look before the training found it. " + warned, pairs))


def _time(start):
  return str(start.get("time", "-")).replace("T", " ")


def _step(start):
  step = start.get("step")
  return format(step, ",") if _is_count(step) else "-"


def _starts(content):
  """Returns the table of the starts of the program; "" for a single one."""
  count = len(content.starts)
  if count < 2:
    return ""
  rows = [
      _tag("tr", _tag("th", html.escape(_time(start)), scope="row") +
           _tag("td", _step(start)))
      for start in content.starts[-_SHOWN_STARTS:]
  ]
  caption = "The program was started %d times%s." % (
      count, "; the last %d" % _SHOWN_STARTS if count > _SHOWN_STARTS else "")
  head = (_tag("th", "time", scope="col") +
          _tag("th", "went on at step", scope="col"))
  return _tag("table", "\n".join([
      _tag("caption", caption), _tag("thead", _tag("tr", head)),
      _tag("tbody", "\n".join(rows))]), class_="numbers starts")


def _dict_of(start, name):
  value = start.get(name)
  return value if isinstance(value, dict) else {}


def _run(content):
  """Returns the section of flags, versions, text and starts."""
  if not content.starts:
    return _section("The run", _tag(
        "p", "No start of the program is recorded in the folder."))
  start = content.starts[-1]
  flags, versions, corpus = (
      _dict_of(start, name) for name in ("flags", "versions", "corpus"))
  parts = [_tag("p", html.escape("Started last at %s, at step %s." % (
      _time(start), _step(start))))]
  if flags:
    parts.append(_pairs("Flags that are not at their defaults",
                        [("--" + str(name), [value])
                         for name, value in flags.items()]))
  else:
    parts.append(_tag("p", "All flags are at their defaults."))
  if versions:
    parts.append(_pairs("Versions", [(name, [value])
                                     for name, value in versions.items()]))
  if corpus:
    parts.append(_pairs("Training text", [
        (name, [format(value, ",") if _is_count(value) else value])
        for name, value in corpus.items()]))
  parts.append(_starts(content))
  return _section("The run", "\n".join(parts))


def _middle(content, name):
  """Returns the median of a figure of the training; None without one."""
  values = [value for _, value in content.training.get(name, ())
            if abs(value) < _HUGE]
  return statistics.median(values) if values else None


def _highlights(content):
  """Returns the figures that stand at the top."""
  shown = []
  steps = [points[-1][0] for points in content.training.values() if points]
  if steps:
    shown.append(("step", format(max(steps), ",")))
  if content.training.get("epoch"):
    shown.append(("passes over the text", _fixed(
        content.training["epoch"][-1][1], 2)))
  for text, found in content.evaluations.items():
    shown.append(("masked-LM loss, %s text" % text, _fixed(
        found[-1].masked_lm_loss, 2)))
  speed = _middle(content, "sequences_per_second")
  if speed is not None:
    shown.append(("sequences/s, median", _fixed(speed, 1)))
  wait = _middle(content, "input_wait")
  if wait is not None:
    shown.append(("input wait, median", "%.0f %%" % (100 * wait)))
  items = [_tag("div", _tag("dt", html.escape(name)) + _tag("dd", text))
           for name, text in shown]
  return _tag("dl", "".join(items), class_="highlights") if items else ""


_STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --panel: #f5f7f9; --text: #1c2126; --faint: #59636e;
  --rule: #dfe4e9; --axis: #8a949e;
  --training: #0a6ab6; --domain: #c84c09; --general: #0b7f62;
  --better: #17713a; --worse: #b3261e;
  --warned: #fff5d9; --warned-rule: #b07d12; --warned-text: #443300;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --panel: #1c2024; --text: #e5e9ed; --faint: #9ea8b3;
    --rule: #31373e; --axis: #6d7781;
    --training: #62b5f5; --domain: #ff9a57; --general: #45d0a7;
    --better: #62cf8e; --worse: #ff8f85;
    --warned: #2f270f; --warned-rule: #cf9f34; --warned-text: #f4e2b4;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem;
  background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
    Helvetica, Arial, sans-serif;
}
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; }
h2 { margin: 2.75rem 0 .75rem; font-size: 1.25rem; line-height: 1.3; }
p { margin: .5rem 0; }
small { color: var(--faint); font-size: .8125em; font-weight: 400; }
.of { margin: .25rem 0 0; color: var(--faint); overflow-wrap: anywhere; }
.note { color: var(--faint); font-size: .875rem; }
.highlights {
  display: grid; gap: .75rem; margin: 1.25rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr));
}
.highlights div {
  padding: .625rem .875rem; border-radius: .5rem; background: var(--panel);
  display: flex; flex-direction: column-reverse; justify-content: flex-end;
}
.highlights dt { color: var(--faint); font-size: .8125rem; line-height: 1.35; }
.highlights dd {
  margin: 0; font-size: 1.5rem; font-weight: 600; line-height: 1.3;
  font-variant-numeric: tabular-nums;
}
.warnings {
  margin-top: 1.5rem; padding: .875rem 1.125rem; border-radius: .25rem;
  background: var(--warned); color: var(--warned-text);
  border-left: .25rem solid var(--warned-rule); overflow-wrap: anywhere;
}
.warnings h2 { margin: 0 0 .375rem; font-size: 1rem; }
.warnings ul { margin: 0; padding-left: 1.125rem; }
.warnings li + li { margin-top: .375rem; }
.verdict { font-size: 1.0625rem; }
code {
  display: inline-block; max-width: 100%; overflow-wrap: anywhere;
  font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
    monospace;
}
.wide { overflow-x: auto; }
.wide table { margin-bottom: 0; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0 1.5rem; }
caption {
  padding-bottom: .375rem; color: var(--faint); font-size: .875rem;
  text-align: left;
}
th, td {
  padding: .375rem .75rem; border-top: 1px solid var(--rule);
  font-size: .9375rem; text-align: left; vertical-align: baseline;
}
.pairs th, .starts th:first-child, [scope=rowgroup],
thead th:first-child { padding-left: 0; }
th { font-weight: 400; color: var(--faint); }
td { overflow-wrap: anywhere; }
thead th { border-top: 0; font-size: .8125rem; vertical-align: bottom; }
.numbers td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.numbers td, .numbers thead th:nth-child(n+3) { text-align: right; }
.numbers th[scope=row] { white-space: nowrap; padding-right: 1rem; }
.numbers th[scope=rowgroup] {
  color: var(--text); font-weight: 600; white-space: nowrap;
}
.numbers th[scope=rowgroup] small { display: block; }
.numbers thead small { display: block; }
.starts { width: auto; }
.starts td, .starts thead th { text-align: right; }
.starts thead th:first-child { text-align: left; }
.pairs th { width: 14rem; overflow-wrap: anywhere; }
.better { color: var(--better); } .worse { color: var(--worse); }
.better small, .worse small { color: inherit; }
.curves {
  display: grid; gap: 2rem 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr));
}
figure { margin: 0; min-width: 0; display: flex; flex-direction: column; }
figcaption { flex: 1; font-size: .9375rem; }
.curves { margin-top: 1rem; }
.legend {
  display: flex; flex-wrap: wrap; gap: 0 1rem; margin: .125rem 0 .375rem;
  padding: 0; list-style: none; color: var(--faint); font-size: .8125rem;
}
.legend b {
  color: var(--text); font-weight: 600; font-variant-numeric: tabular-nums;
}
.key {
  display: inline-block; width: .625rem; height: .625rem; margin-right: .375rem;
  background: currentColor;
}
.key.training { height: .1875rem; width: .875rem; vertical-align: .1875rem; }
.key.domain { border-radius: 50%; }
.training { color: var(--training); }
.domain { color: var(--domain); }
.general { color: var(--general); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--faint); font-size: 12.5px; }
svg .value { text-anchor: end; }
svg .step, svg .name { text-anchor: middle; }
svg .grid { stroke: var(--rule); }
svg .axis, svg .tick { stroke: var(--axis); }
svg .restart { stroke: var(--axis); stroke-dasharray: 3 3; }
polyline {
  fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round;
  stroke-linecap: round;
}
polyline.raw { stroke-width: 1; stroke-opacity: .45; }
polyline.dense { stroke-opacity: .25; }
.mark { fill: currentColor; stroke: var(--page); stroke-width: 1.2; }
@media (max-width: 32rem) {
  body { padding-top: 1rem; }
  .pairs { table-layout: fixed; }
  .pairs th { width: 42%; }
  .pairs td { padding-right: 0; }
  .highlights { grid-template-columns: 1fr 1fr; }
}
@media print {
  body { max-width: none; padding: 0; }
  figure, tr, .warnings { break-inside: avoid; }
}
"""


def render(content):
  """Writes a report.

  Args:
    content: Content.

  Returns:
    str, HTML of one page that needs nothing from outside.
  """
  name = html.escape(content.name)
  body = [
      _tag("header", "\n".join([
          _tag("h1", "Pretraining report"), _tag("p", name, class_="of"),
          _highlights(content)])),
      _tag("main", "\n".join([
          _warnings(content), _before_and_after(content), _curves(content),
          _preflight(content), _run(content)])),
  ]
  return "\n".join([
      "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      '<meta name="color-scheme" content="light dark">',
      "<title>Pretraining report: %s</title>" % name,
      _tag("style", _STYLE), "</head>", "<body>", *body, "</body>", "</html>",
      ""])


def write(output_dir):
  """Writes the report of a run, from what the run left in its folder.

  Args:
    output_dir: folder, local or with a scheme.

  Returns:
    str, path of the report.

  Raises:
    OSError: a file can't be read or written.
  """
  path = os.path.join(output_dir, REPORT_FILE)
  # A name on disk may hold what is no text.
  page = render(read(output_dir)).encode("utf-8", "replace")
  file_io.write(path, page)
  return path
