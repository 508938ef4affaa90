"""report.py: the page shows what the run left, and nothing breaks it."""

import doctest
import html.parser
import json
import math
import os
import random
import re
import statistics
import xml.etree.ElementTree

import pytest
import tensorflow.compat.v1 as tf

from bert_e2e.common import file_io
from bert_e2e.data import preflight
from bert_e2e.reporting import report
from bert_e2e.reporting.report import Evaluation

VOID = {"meta", "br"}
FOUND = preflight.Preflight(
    files=2, num_bytes=12345, looked_at=2345, is_estimate=True, lines=100,
    documents=9, sentences=90, tokens=1200, sentences_per_document=10.0,
    one_sentence_share=0.1, long_sentence_share=0.0, examples_per_epoch=80,
    example_bytes=300.0, num_train_steps=400, num_warmup_steps=40,
    train_batch_size=16, epochs=80.0, max_seq_length=64, mean_length=50.0,
    length_90=64, padding_share=0.2, truncated_share=0.1,
    random_pair_share=0.5, unknown_share=0.03,
    unknown_words=(preflight.UnknownWord("<b>&\"'", 7),), do_lower_case=True,
    capital_share=0.0, capital_piece_share=0.0, unreachable_piece_share=0.0,
    two_step_bytes=99999,
    warnings=(preflight.Warned("epochs", "Too often: pass --num_train_steps=9,"
                               " or give <more> text."),))


def content(training=None, evaluations=None, starts=(), found=None, name="run"):
  return report.Content(name, training or {}, evaluations or {}, list(starts),
                        found)


# -------------------------------------------------------------- reading a page


class Page(html.parser.HTMLParser):
  """A parsed page; fails on tags that do not nest.

  Attributes:
    tags: list of (name, attributes, text inside with that of the tags in it).
  """

  def __init__(self, text):
    super().__init__()
    self.tags = []
    self._open = []
    self.feed(text)
    self.close()
    assert not self._open, self._open

  def handle_starttag(self, tag, attrs):
    self.tags.append([tag, dict(attrs), ""])
    if tag not in VOID:
      self._open.append(self.tags[-1])

  def handle_startendtag(self, tag, attrs):
    self.tags.append([tag, dict(attrs), ""])

  def handle_endtag(self, tag):
    assert self._open.pop()[0] == tag

  def handle_data(self, data):
    for item in self._open:
      item[2] += data

  def texts(self, name, **attributes):
    """Returns the texts of the tags with these attributes; class_ is class."""
    wanted = {key.rstrip("_"): value for key, value in attributes.items()}
    return [text for tag, found, text in self.tags if tag == name
            and all(found.get(key) == value for key, value in wanted.items())]

  def rows(self):
    """Returns the rows of all tables, each a list of its cells' texts."""
    rows = []
    for tag, _, text in self.tags:
      if tag == "tr":
        rows.append([])
      elif tag in ("th", "td"):
        rows[-1].append(text)
    return rows


def number(label):
  """Returns what an axis' label says."""
  factor = {"k": 1e3, "M": 1e6}.get(label[-1], 1.0)
  return float(label.rstrip("kM").replace(",", "")) * factor


class Chart:
  """A chart as a reader reads it: places by the labels of the axes."""

  def __init__(self, text):
    self.svg = xml.etree.ElementTree.fromstring(text)
    self.label = self.svg.get("aria-label")
    self._steps = [(float(item.get("x")), number(item.text))
                   for item in self._of("step")]
    self._values = [(float(item.get("y")), number(item.text))
                    for item in self._of("value")]

  def _of(self, *classes):
    return [item for item in self.svg
            if set(classes) <= set(item.get("class", "").split())]

  @staticmethod
  def _between(pairs, place):
    (place_0, value_0), (place_1, value_1) = pairs[0], pairs[-1]
    return value_0 + (place - place_0) * (value_1 - value_0) / (
        place_1 - place_0)

  def _data(self, x, y):
    return self._between(self._steps, x), self._between(self._values, y)

  def places(self):
    """Returns all (x, y) that something is drawn at."""
    found = []
    for item in self.svg:
      for x, y in (("x", "y"), ("x1", "y1"), ("x2", "y2"), ("cx", "cy")):
        if x in item.attrib:
          found.append((float(item.attrib[x]), float(item.attrib[y])))
      for pair in item.get("points", "").split():
        x, y = pair.split(",")
        found.append((float(x), float(y)))
    return found

  def line(self, *classes):
    """Returns the data of a curve: [(step, value), ...]."""
    item, = [item for item in self._of(*classes) if item.tag == "polyline"]
    return [self._data(*map(float, pair.split(",")))
            for pair in item.get("points").split()]

  def has_line(self, *classes):
    return any(item.tag == "polyline" for item in self._of(*classes))

  def marks(self, kind):
    """Returns the data of a curve's markers, and what they say."""
    found = []
    for item in self._of(kind, "mark"):
      if item.tag == "rect":
        x, y = (float(item.get(key)) + float(item.get(side)) / 2
                for key, side in (("x", "width"), ("y", "height")))
      else:
        x, y = float(item.get("cx")), float(item.get("cy"))
      found.append((*self._data(x, y), item.find("title").text))
    return found

  def restarts(self):
    return [self._between(self._steps, float(item.get("x1")))
            for item in self._of("restart")]

  def value_range(self):
    return self._values[0][1], self._values[-1][1]

  def step_labels(self):
    return [item.text for item in self._of("step")]


def charts(text):
  """Returns the charts of a page, by title."""
  found = re.findall(r"<figcaption><strong>([^<]+?) ?<.*?(<svg.*?</svg>)", text,
                     re.DOTALL)
  assert len(found) == text.count("<svg")
  return {title: Chart(svg) for title, svg in found}


def close(found, expected, step=2.0, value=0.02):
  """Compares data; a tenth of a pixel and a label's digits are lost."""
  assert len(found) == len(expected)
  for (s, v, *_), (step_0, value_0) in zip(found, expected):
    assert abs(s - step_0) <= step and abs(v - value_0) <= value, (s, v)


# --------------------------------------------------------------- reading a run


def events(path, wall_time, steps):
  """Writes an event file; returns its path.

  Args:
    path: pathlib.Path.
    wall_time: float.
    steps: list of (step, {tag: value}).
  """
  path.parent.mkdir(exist_ok=True)
  with tf.io.TFRecordWriter(str(path)) as writer:
    writer.write(tf.Event(wall_time=wall_time, file_version="brain.Event:2"
                          ).SerializeToString())
    for i, (step, values) in enumerate(steps):
      summary = tf.Summary(value=[tf.Summary.Value(tag=tag, simple_value=value)
                                  for tag, value in values.items()])
      writer.write(tf.Event(wall_time=wall_time + i, step=step, summary=summary
                            ).SerializeToString())
  return path


def loss(steps, first=10.0):
  return [(step, {"training/loss": first - step / 8}) for step in steps]


def test_the_scalars_of_a_training_are_read(tmp_path):
  events(tmp_path / "events.out.tfevents.10.host", 10, [
      (1, {"training/loss": 4.5, "training/epoch": 0.25, "loss": 7.0,
           "global_step/sec": 3.0}),
      (5, {"training/loss": 4.0}), (6, {"training/loss": 3.5})])
  events(tmp_path / "eval" / "events.out.tfevents.11.host", 11,
         [(7, {"training/loss": 9.0})])
  (tmp_path / "train.log").write_text("training/loss")
  assert report.read_training(str(tmp_path)) == {
      "loss": [(1, 4.5), (5, 4.0), (6, 3.5)], "epoch": [(1, 0.25)]}


def test_what_a_filewriter_writes_is_read(tmp_path):
  with tf.Graph().as_default() as graph:
    with tf.summary.FileWriter(str(tmp_path), graph) as writer:
      writer.add_summary(tf.Summary(value=[tf.Summary.Value(
          tag="training/loss", simple_value=2.5)]), 3)
  assert report.read_training(str(tmp_path)) == {"loss": [(3, 2.5)]}


def test_a_resumed_run_shows_each_step_once(tmp_path):
  """The later file wins by its time, not its name; what the kill lost goes."""
  events(tmp_path / "events.out.tfevents.20.b", 900,
         loss([1, 5, 10, 15, 20, 25, 30]))
  events(tmp_path / "events.out.tfevents.30.a", 100, loss([1, 2, 3]))
  events(tmp_path / "events.out.tfevents.10.c", 1000, loss([16, 20, 24], 8.0))
  # One that trained no step.
  events(tmp_path / "events.out.tfevents.40.d", 2000, [])
  assert report.read_training(str(tmp_path))["loss"] == [
      *((step, 10 - step / 8) for step in (1, 5, 10, 15)),
      *((step, 8 - step / 8) for step in (16, 20, 24))]


@pytest.mark.parametrize("cut", [1, 4, 9, 17, 30])
def test_a_record_that_was_cut_off_is_left_out(tmp_path, cut):
  path = events(tmp_path / "events.out.tfevents.10.a", 10, loss(range(9)))
  path.write_bytes(path.read_bytes()[:-cut])
  found = report.read_training(str(tmp_path))["loss"]
  assert found == [(step, 10 - step / 8) for step in range(8)]
  events(tmp_path / "events.out.tfevents.20.a", 20, loss([7, 8, 9], 6.0))
  found = report.read_training(str(tmp_path))["loss"]
  assert [step for step, _ in found] == list(range(10))
  assert found[7:] == [(7, 5.125), (8, 5.0), (9, 4.875)]


@pytest.mark.parametrize("data", [b"", b"\0" * 40, b"not an event" * 9])
def test_files_without_an_event_are_passed_over(tmp_path, data):
  (tmp_path / "events.out.tfevents.10.a").write_bytes(data)
  assert report.read_training(str(tmp_path)) == {}
  events(tmp_path / "events.out.tfevents.20.a", 20, loss([8]))
  assert report.read_training(str(tmp_path)) == {"loss": [(8, 9.0)]}


def test_a_folder_that_is_missing_has_no_training(tmp_path):
  assert report.read_training(str(tmp_path / "none")) == {}


def row(step, text="domain", chosen="a", **values):
  return dict({"step": step, "text": text, "set": chosen, "examples": 100,
               "masked_lm_loss": 5.0, "masked_lm_accuracy": 0.25,
               "next_sentence_loss": 0.5, "next_sentence_accuracy": 0.75,
               "loss": 5.5, "global_step": step, "seconds": 1.0,
               "time": "2026-11-24T18:00:00"}, **values)


def test_only_what_can_be_compared_is_selected():
  rows = [
      row(0, chosen="old"), row(200, chosen="old"), row(100), row(0),
      row(0, "general", "g"), row(100, masked_lm_loss=3.0),
      row(100, "general", "g", masked_lm_loss=4), row(5, "other"),
      {"text": "domain"}, row("7"), row(True), row(-1), row(2.0), row(None),
      row(50, loss=None, examples="many", masked_lm_loss=4.5),
      row(200, masked_lm_loss=10 ** 400)]
  found = report.select_evaluations(rows)
  assert list(found) == ["domain", "general"]
  assert [(item.step, item.masked_lm_loss, item.examples)
          for item in found["domain"][:-1]] == [
              (0, 5.0, 100), (50, 4.5, None), (100, 3.0, 100)]
  assert math.isnan(found["domain"][1].loss)
  assert math.isnan(found["domain"][-1].masked_lm_loss)
  assert found["general"] == [
      Evaluation(0, 100, 5.0, 0.25, 0.5, 0.75, 5.5),
      Evaluation(100, 100, 4.0, 0.25, 0.5, 0.75, 5.5)]
  assert report.select_evaluations([]) == {}


# ----------------------------------------------------------------- the numbers


def test_examples_in_docstrings():
  result = doctest.testmod(report)
  assert result.attempted >= 4 and not result.failed


def test_ticks_are_round_and_reach_around_the_values():
  rng = random.Random(3)
  for _ in range(2000):
    low = rng.choice([0.0, rng.uniform(-1, 1)]) * 10 ** rng.randint(-6, 9)
    high = low + 10 ** rng.uniform(-6, 9)
    if high - low < 1e-8 * max(abs(low), abs(high)):
      continue
    ticks = report._ticks(low, high, 5)
    step = float("%.0e" % (ticks[1] - ticks[0]))
    assert ticks[0] <= low + 1e-5 * step and ticks[-1] >= high - 1e-5 * step
    assert 3 <= len(ticks) <= 8
    assert ticks[1] - ticks[0] == pytest.approx(step)
    assert ("%.0e" % step)[0] in "125"
    assert all(abs(tick / step - round(tick / step)) < 1e-5 for tick in ticks)


@pytest.mark.parametrize("ticks, labels", [
    ([0.0, 0.2, 0.4, 3 * 0.2], "0 0.2 0.4 0.6"),
    ([8.0, 9.0, 10.0], "8 9 10"),
    ([0.0, 500.0, 1000.0], "0 500 1,000"),
    ([0.0, 5e3, 1e4, 1.5e4], "0 5k 10k 15k"),
    ([0.0, 5e5, 1e6, 1.5e6], "0 500k 1M 1.5M"),
    ([0.0, 2e-4, 4e-4, 1e-3], "0 2e-4 4e-4 1e-3"),
    ([0.0, 0.005, 0.01], "0 0.005 0.010"),
    ([-20.0, 0.0, 20.0], "-20 0 20"),
    ([0.0, 1e38, 2e38], "0 1e38 2e38"),
])
def test_labels_of_an_axis(ticks, labels):
  found = [report._tick_label(tick, ticks) for tick in ticks]
  assert found == labels.split()
  assert [number(label) for label in found] == pytest.approx(ticks)


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 1001, 12345])
def test_thinning_keeps_ends_and_peaks(count):
  rng = random.Random(1)
  points = [(step, rng.gauss(0, 1)) for step in range(count)]
  if count > 5:
    points[count // 3] = (count // 3, 99.0)
    points[count // 2] = (count // 2, -99.0)
  thinned = report._thinned(points, 1000)
  assert len(thinned) <= 1000 and (len(thinned) > 500 or count < 1000)
  assert thinned == sorted(thinned) and set(thinned) <= set(points)
  assert thinned[0] == points[0] and thinned[-1] == points[-1]
  for choose in (min, max):
    assert choose(thinned, key=lambda p: p[1]) == choose(
        points, key=lambda p: p[1])
  assert thinned == points or count > 1000


def test_smoothing_follows_the_trend():
  line = [(step, 3.0 - step / 1000) for step in range(0, 2000, 10)]
  for (step, value), expected in zip(report._smoothed(line), line):
    assert (step, value) == pytest.approx(expected)
  rng = random.Random(2)
  noisy = [(step, value + rng.gauss(0, 0.5)) for step, value in line]
  smoothed = report._smoothed(noisy)

  def roughness(points):
    return statistics.mean(abs(b[1] - a[1]) for a, b in zip(points, points[1:]))

  assert roughness(smoothed) < roughness(noisy) / 4
  assert len(report._smoothed(
      [(step, 1.0) for step in range(100000)])) == report._SMOOTHED_POINTS
  peak = [(step, 1.0) for step in range(100)]
  peak[50] = (50, 1e30)
  assert report._smoothed(peak)[90] == (90, 1.0)


# ------------------------------------------------------------------- the charts


def falling(steps, start=9.0):
  return [(step, start * math.exp(-step / 400)) for step in steps]


def test_curves_stand_where_the_data_are():
  training = {"masked_lm_loss": falling(range(0, 400, 20)),
              "masked_lm_accuracy": [(step, step / 1000) for step in
                                     range(0, 400, 20)],
              "learning_rate": [(step, 1e-4 * step / 380) for step in
                                range(0, 400, 20)]}
  evaluations = {
      "domain": [Evaluation(step, 9, 6 - step / 100, step / 800)
                 for step in (0, 100, 200, 300)],
      "general": [Evaluation(step, 9, 3 + step / 300, 0.5 - step / 2000)
                  for step in (0, 150, 300)]}
  found = charts(report.render(content(training, evaluations)))
  assert list(found) == ["Masked-LM loss", "Masked-LM accuracy",
                         "Learning rate"]
  chart = found["Masked-LM loss"]
  close(chart.line("training", "line"), training["masked_lm_loss"])
  for text, items in evaluations.items():
    expected = [(item.step, item.masked_lm_loss) for item in items]
    close(chart.line(text, "line"), expected)
    close(chart.marks(text), expected)
    assert [title for _, _, title in chart.marks(text)] == [
        "held-out %s: %.3f at step %d" % (text, value, step)
        for step, value in expected]
  assert chart.label == (
      "Masked-LM loss by step; training: 9.000 at step 0, 3.481 at step 380; "
      "held-out domain: 6.000 at step 0, 3.000 at step 300; held-out general: "
      "3.000 at step 0, 4.000 at step 300.")
  chart = found["Masked-LM accuracy"]
  close(chart.line("training", "line"),
        [(step, 100 * v) for step, v in training["masked_lm_accuracy"]],
        value=0.2)
  close(chart.marks("general"), [(0, 50.0), (150, 42.5), (300, 35.0)],
        value=0.2)
  assert chart.value_range() == (0, 50)
  close(found["Learning rate"].line("training", "line"),
        training["learning_rate"], value=2e-7)


def test_many_points_are_smoothed_and_shown_as_measured():
  rng = random.Random(5)
  points = [(step, 5 - step / 1000 + rng.gauss(0, 0.3))
            for step in range(5, 1005, 5)]
  rate = [(step, 1.0 - abs(step - 100) / 1000) for step in range(5, 1005, 5)]
  found = charts(report.render(content({"loss": points,
                                        "learning_rate": rate})))
  chart = found["Total loss"]
  close(chart.line("training", "raw"), points, step=3)
  close(chart.line("training", "line"), report._smoothed(points), step=3)
  # This one is no measurement, so its peak stays.
  assert not found["Learning rate"].has_line("raw")
  close(found["Learning rate"].line("training", "line"), rate, step=3)


def test_the_charts_of_a_page_have_the_same_steps():
  found = charts(report.render(content(
      {"loss": falling(range(10, 200, 10)), "input_wait": [(5, 0.5)]},
      {"domain": [Evaluation(400, 9, 5.0)]})))
  assert {tuple(chart.step_labels()) for chart in found.values()} == {
      ("0", "100", "200", "300", "400")}
  close(found["Input wait"].marks("training"), [(5, 50.0)], value=0.3)
  # One that goes on far from step 0 does not start there.
  found = charts(report.render(content(
      {"loss": [(step, 1.0 * step) for step in range(90000, 100001, 500)]})))
  assert found["Total loss"].step_labels() == [
      "90k", "92k", "94k", "96k", "98k", "100k"]


def test_the_legend_names_the_curves_of_a_chart():
  page = Page(report.render(content(
      {"loss": [(1, 5.0), (2, 4.25)], "sequences_per_second": [(1, 1234.56)]},
      {"general": [Evaluation(2, 9, loss=4.5, masked_lm_loss=4.0)]})))
  assert page.texts("ul", class_="legend") == [
      "held-out general 4.000", "training 4.250held-out general 4.500",
      "training 1,234.6"]
  for tag, attributes, text in page.tags:
    if tag == "svg":
      assert attributes["role"] == "img" and "by step; " in attributes[
          "aria-label"]
      assert "step" in text


def test_a_long_run_makes_a_small_page_with_its_peaks():
  rng = random.Random(7)
  names = [chart.name for chart in report._CHARTS]
  training = {name: [(step, rng.gauss(0.5, 0.05))
                     for step in range(100, 1000001, 50)] for name in names}
  training["loss"][12345] = (training["loss"][12345][0], 6.0)
  evaluations = {text: [Evaluation(step, 100, rng.gauss(5, 0.1), 0.5, 0.5, 0.5,
                                   0.5) for step in range(0, 1000001, 500)]
                 for text in report.TEXTS}
  text = report.render(content(training, evaluations))
  assert len(text.encode()) < 1000000
  found = charts(text)
  assert len(found) == len(names)
  assert max(value for _, value in found["Total loss"].line(
      "training", "raw")) == pytest.approx(6.0, abs=0.01)
  for chart in found.values():
    inside(chart)


def inside(chart):
  """Fails on what is no number or stands outside of a chart."""
  _, _, width, height = map(float, chart.svg.get("viewBox").split())
  for x, y in chart.places():
    assert 0 <= x <= width and 0 <= y <= height


@pytest.mark.parametrize("values", [
    [], [1.0], [0.0], [0.0, 0.0], [2.5] * 3, [-1.0, -1.0], [1e-30, 1e-30],
    [math.nan], [math.nan, 1.0, math.inf], [-math.inf, math.nan],
    [3e38, -3e38], [1e300, 0.0], [1e299, -1e299], [5.0, 5.0 + 1e-12],
    [1e-320, 1.0], [1e9, 1e9 + 1], [float(i) for i in range(31)],
    [math.nan] * 20 + [1.0] * 40,
])
@pytest.mark.parametrize("first", [0, 7, 10 ** 6, 2 ** 62])
def test_no_values_break_a_chart(values, first):
  points = [(first + 100 * i, value) for i, value in enumerate(values)]
  text = report.render(content(
      {chart.name: points for chart in report._CHARTS},
      {"domain": [Evaluation(step, 5, *[value] * 5) for step, value in points]}
      if points else {}))
  page = Page(text)
  finite = [value for value in values if abs(value) < 1e300]
  found = charts(text)
  assert len(found) == (len(report._CHARTS) if finite else 0)
  for chart in found.values():
    inside(chart)
  if not finite:
    assert "There are no curves" in text
  left_out = len(values) - len(finite)
  notes = [note for note in page.texts("p", class_="note") if "drawn" in note]
  if finite and left_out:
    assert notes[0] == "%d values not drawn: not a finite number" % (
        2 * left_out)
  else:
    assert not notes


def test_a_resumed_run_has_a_line_where_it_went_on():
  starts = [{"time": "2026-11-24T18:00:00", "step": step}
            for step in (0, 100, "x", None, 100, 250)]
  text = report.render(content({"loss": falling(range(0, 400, 20))},
                               starts=starts))
  close([(step, 0) for step in charts(text)["Total loss"].restarts()],
        [(100, 0), (250, 0)])
  assert "dashed" in text
  assert "dashed upright" not in report.render(content(
      {"loss": falling(range(0, 400, 20))}, starts=starts[:1]))


# ------------------------------------------------------------ before and after


@pytest.mark.parametrize("text, losses, expected", [
    ("domain", [4.85, 3.9],
     "domain text: 4.85 \u2192 3.90 (better by 0.95)"),
    ("general", [3.5, 3.7],
     "general text: 3.50 \u2192 3.70 (worse by 0.20: forgotten)"),
    ("general", [3.5, 3.4, 3.45], "general text: 3.50 \u2192 3.45 (better by "
     "0.05), at its best 3.40 at step 100"),
    ("domain", [3.5, 3.6], "domain text: 3.50 \u2192 3.60 (worse by 0.10)"),
    # The reader's sum, not that of what is not shown.
    ("domain", [4.854, 3.896],
     "domain text: 4.85 \u2192 3.90 (better by 0.95)"),
    ("general", [3.5, 3.501], "general text: 3.50 \u2192 3.50 (as before)"),
    ("domain", [4.0], "domain text: 4.00 at step 0, the only evaluation"),
    ("domain", [math.nan, 4.0], "domain text: - \u2192 4.00"),
    ("domain", [math.nan], "domain text: - at step 0, the only evaluation"),
])
def test_the_verdict(text, losses, expected):
  found = [Evaluation(100 * i, 9, value) for i, value in enumerate(losses)]
  assert report._verdict(text, found) == expected
  page = Page(report.render(content(evaluations={text: found})))
  assert page.texts("p", class_="verdict") == [
      "Masked-LM loss on %s." % expected]


def test_the_table_of_evaluations():
  page = Page(report.render(content(evaluations={
      "domain": [Evaluation(0, 1220, 5.0, 0.1, 0.7, 0.5),
                 Evaluation(50, 1220, 3.0, 0.4, 0.6, 0.6),
                 Evaluation(100, 1220, 4.0, 0.3, 0.5, 0.7)],
      "general": [Evaluation(0, 1, 2.0, 0.5, 0.25, 1.0),
                  Evaluation(100, 1, 2.5, 0.5, math.nan, 0.9)]})))
  head, *rows = page.rows()
  assert head == [
      "text", "evaluation", "step", "masked-LM loss nats", "perplexity",
      "masked-LM accuracy %", "next-sentence loss nats",
      "next-sentence accuracy %"]
  assert rows == [
      ["domain text 1,220 examples", "first", "0", "5.000", "148.4", "10.0",
       "0.700", "50.0"],
      ["best", "50", "3.000", "20.1", "40.0", "0.600", "60.0"],
      ["last", "100", "4.000", "54.6", "30.0", "0.500", "70.0"],
      ["change", "", "\u22121.000 better", "\u221293.8 better",
       "+20.0 better", "\u22120.200 better", "+20.0 better"],
      ["general text 1 example", "first, best", "0", "2.000", "7.4", "50.0",
       "0.250", "100.0"],
      ["last", "100", "2.500", "12.2", "50.0", "-", "90.0"],
      ["change", "", "+0.500 worse", "+4.8 worse", "same", "-",
       "\u221210.0 worse"]]
  assert page.texts("td", class_="worse") == [
      "+0.500 worse", "+4.8 worse", "\u221210.0 worse"]
  scopes = [attributes["scope"] for tag, attributes, _ in page.tags
            if tag == "th"]
  assert scopes.count("col") == 8 and scopes.count("rowgroup") == 2
  assert [attributes["rowspan"] for tag, attributes, _ in page.tags
          if "rowspan" in attributes] == ["4", "3"]
  assert "domain text: 3 evaluations on 1,220 examples; general text: 2 " \
      "evaluations on 1 example." in page.texts("p", class_="note")[0].replace(
          "Domain", "domain")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e299, -5.0])
def test_odd_evaluations_do_not_break_the_table(value):
  found = [Evaluation(0, 9, 5.0, 0.1, 0.7, 0.5),
           Evaluation(9, None, value, value, value, value)]
  for evaluations in (found, found[1:], found[::-1]):
    Page(report.render(content(evaluations={"domain": evaluations})))


# ----------------------------------------------------------------- what is said


STARTS = [
    {"time": "2026-11-24T18:00:00", "step": 0, "flags": {"old_flag": 1}},
    {"time": "2026-11-24T19:00:00", "step": 12000,
     "flags": {"output_dir": "<out>", "do_train": True, "learning_rate": 1e-3},
     "versions": {"python": "3.7.16", "tensorflow": "1.15.0"},
     "corpus": {"files": 3, "bytes": 1234567, "fingerprint": "00ff"}}]


def test_the_last_start_is_shown_in_full_and_all_are_listed():
  page = Page(report.render(content(starts=STARTS)))
  rows = page.rows()
  for expected in (
      ["--output_dir", "<out>"], ["--do_train", "True"],
      ["--learning_rate", "0.001"], ["python", "3.7.16"],
      ["tensorflow", "1.15.0"], ["files", "3"], ["bytes", "1,234,567"],
      ["fingerprint", "00ff"], ["2026-11-24 18:00:00", "0"],
      ["2026-11-24 19:00:00", "12,000"]):
    assert rows.count(expected) == 1
  assert not any("old_flag" in text for cells in rows for text in cells)
  assert "The program was started 2 times." in page.texts("caption")


def test_of_many_starts_the_last_are_listed():
  starts = [dict(STARTS[0], step=step) for step in range(50)]
  page = Page(report.render(content(starts=starts)))
  assert "The program was started 50 times; the last 20." in page.texts(
      "caption")
  assert [cells[1] for cells in page.rows() if cells[0].startswith("2026")] == [
      str(step) for step in range(30, 50)]


@pytest.mark.parametrize("start", [
    {}, {"flags": None, "versions": [], "corpus": None, "step": "x"},
    {"flags": {}, "time": None, "corpus": {"bytes": None}}])
def test_a_start_may_lack_anything(start):
  page = Page(report.render(content(starts=[start])))
  assert "All flags are at their defaults." in page.texts("p")


def test_the_preflight_is_shown_and_its_warnings_before_all():
  text = report.render(content(found=FOUND))
  page = Page(text)
  assert page.texts("section", class_="warnings") == [
      "1 warning of the preflight\n"
      "Too often: pass --num_train_steps=9, or give <more> text."]
  assert "--num_train_steps=9" in page.texts("code")
  assert text.index('class="warnings"') < text.index("<h2>Before and after")
  rows = page.rows()
  expected = list(preflight.rows(FOUND))
  for i, (name, said) in enumerate(expected):
    if name:
      follows = dict(expected[i + 1:i + 2]).get("", "")
      assert [name, said + follows] in rows
  assert ["lines", "~100"] in rows
  quiet = report.render(content(found=FOUND._replace(warnings=())))
  assert 'class="warnings"' not in quiet and "It warns of nothing." in quiet


def test_figures_at_the_top():
  page = Page(report.render(content(
      {"loss": falling(range(0, 2000, 10)), "epoch": [(1990, 12.25)],
       "sequences_per_second": [(1, 5.0), (2, 300.0), (3, 310.0)],
       "input_wait": [(1, 0.9), (2, math.nan), (3, 0.02), (4, 0.01)]},
      {"domain": [Evaluation(0, 9, 5.0), Evaluation(9, 9, 4.0)]})))
  assert dict(zip(page.texts("dt"), page.texts("dd"))) == {
      "step": "1,990", "passes over the text": "12.25",
      "masked-LM loss, domain text": "4.00", "sequences/s, median": "300.0",
      "input wait, median": "2 %"}


def full():
  return content(
      {chart.name: falling(range(0, 2000, 10)) for chart in report._CHARTS},
      {text: [Evaluation(step, 9, 5.0, 0.5, 0.5, 0.5, 5.5)
              for step in (0, 1000)] for text in report.TEXTS}, STARTS, FOUND)


def test_a_page_stands_alone():
  text = report.render(full())
  lower = text.lower()
  for outside in ("http", "src=", "url(", "@import", "href", "<script", "<link",
                  "<img", "<iframe", "<object", "//", "@font-face", " on"
                  "click", "javascript"):
    assert outside not in lower, outside
  assert report.render(full()) == text


def test_the_page_is_what_browsers_and_readers_expect():
  page = Page(report.render(full()))
  tags = [tag for tag, _, _ in page.tags]
  attributes_of = {tag: attributes for tag, attributes, _ in page.tags}
  assert attributes_of["html"] == {"lang": "en"}
  metas = [attributes for tag, attributes, _ in page.tags if tag == "meta"]
  assert metas[0] == {"charset": "utf-8"}
  assert {"name": "viewport", "content": "width=device-width, initial-scale=1"
          } in metas
  assert tags.count("h1") == tags.count("main") == tags.count("header") == 1
  assert tags.count("figure") == tags.count("figcaption") == len(report._CHARTS)
  assert page.texts("h2") == ["1 warning of the preflight", "Before and after",
                              "Curves", "Preflight", "The run"]
  ths = [attributes for tag, attributes, _ in page.tags if tag == "th"]
  assert ths and all(
      attributes["scope"] in ("row", "col", "rowgroup") for attributes in ths)


EVIL = "</td><script>alert('x')</script>&amp;\"><svg onload=alert(1)>"


def test_all_texts_are_escaped():
  start = {"time": EVIL, "step": 3, "flags": {EVIL: EVIL},
           "versions": {EVIL: [EVIL]}, "corpus": {EVIL: EVIL}}
  found = FOUND._replace(
      unknown_words=(preflight.UnknownWord(EVIL[:20], 1),),
      warnings=(preflight.Warned("case", EVIL + " --flag=" + EVIL),))
  text = report.render(content(
      {EVIL: [(1, 2.0)], "loss": [(1, 2.0)]},
      {"domain": [Evaluation(0, 9, 5.0)]}, [start, start], found, EVIL))
  page = Page(text)
  assert not page.texts("script") and "onload=alert(1)>" not in text
  assert len(page.texts("svg")) == 2  # Of the two losses.
  assert EVIL in page.texts("td") and "--" + EVIL in page.texts("th")
  assert page.texts("p", class_="of") == [EVIL]
  assert page.texts("title")[0] == "Pretraining report: " + EVIL
  assert EVIL + " --flag=" + EVIL in page.texts("li")
  assert any(EVIL[:20] in cell for cell in page.texts("td"))


# ------------------------------------------------------------------ the colours


def luminance(colour):
  """Returns the relative luminance of "#rrggbb", as WCAG 2 defines it."""
  parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
  red, green, blue = (
      part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
      for part in parts)
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
  low, high = sorted((luminance(one), luminance(other)))
  return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_can_be_read(mode):
  style = Page(report.render(content())).texts("style")[0]
  light, dark = style.split("@media (prefers-color-scheme: dark) {", 1)
  dark = dark.split("}")[0]
  colours, others = (dict(re.findall(r"--([\w-]+): (#\w{6})", part))
                     for part in ((light, dark) if mode == "light" else
                                  (dark, light)))
  assert colours.keys() == others.keys() and colours != others
  # Only variables have colours, so that no text is of the other mode.
  assert len(re.findall(r"#[0-9a-fA-F]{3,8}\b", style)) == 2 * len(colours)
  assert set(re.findall(r"var\(--([\w-]+)\)", style)) == set(colours)
  for name in ("text", "faint", "better", "worse", "training", "domain",
               "general"):
    for behind in ("page", "panel") if name in ("text", "faint") else (
        "page",):
      assert contrast(colours[name], colours[behind]) >= 4.5, name
  assert contrast(colours["warned-text"], colours["warned"]) >= 7
  assert "color-scheme: light dark" in style
  assert (luminance(colours["page"]) > 0.5) == (mode == "light")


# --------------------------------------------------------------- a run's folder


def test_an_empty_folder_makes_a_report(tmp_path):
  path = report.write(str(tmp_path))
  assert path == str(tmp_path / "report.html")
  assert os.listdir(str(tmp_path)) == ["report.html"]
  page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
  assert page.texts("p")[0] == tmp_path.name
  assert len(page.texts("section")) == 4 and not page.texts("figure")


def test_a_folder_with_everything(tmp_path):
  events(tmp_path / "events.out.tfevents.10.a", 10, [
      (step, {"training/" + chart.name: step / 100 for chart in report._CHARTS})
      for step in range(5, 100, 5)])
  (tmp_path / "evaluations.jsonl").write_text("".join(
      json.dumps(row(step, text, masked_lm_loss=5 - step / 100)) + "\n"
      for text in report.TEXTS for step in (0, 50)) + '{"step": 99, "te')
  (tmp_path / "runs.jsonl").write_text("".join(
      json.dumps(start) + "\n" for start in STARTS))
  (tmp_path / "preflight.json").write_text(json.dumps(
      dict(preflight.to_dict(FOUND), seconds_left=9.0)))
  read = report.read(str(tmp_path) + "/")
  assert read.name == tmp_path.name and read.preflight == FOUND
  assert read.starts == STARTS
  report.write(str(tmp_path))
  text = (tmp_path / "report.html").read_text(encoding="utf-8")
  page = Page(text)
  assert len(page.texts("figure")) == len(report._CHARTS)
  close(charts(text)["Masked-LM loss"].marks("domain"), [(0, 5.0), (50, 4.5)])
  close(charts(text)["Masked-LM loss"].line("training", "line"),
        [(step, step / 100) for step in range(5, 100, 5)])
  assert page.texts("p", class_="verdict") == [
      "Masked-LM loss on domain text: 5.00 \u2192 4.50 (better by 0.50); "
      "general text: 5.00 \u2192 4.50 (better by 0.50)."]


@pytest.mark.parametrize("data", ["", "{", "[]", '{"files": 1}'])
def test_a_preflight_of_another_version_is_left_out(tmp_path, data):
  (tmp_path / "preflight.json").write_text(data)
  assert report.read(str(tmp_path)).preflight is None


def test_a_report_is_whole_or_as_it_was(tmp_path, monkeypatch):
  (tmp_path / "report.html").write_text("before")

  def fail(*unused):
    raise OSError("no")

  monkeypatch.setattr(file_io.os, "replace", fail)
  with pytest.raises(OSError):
    report.write(str(tmp_path))
  monkeypatch.undo()
  assert os.listdir(str(tmp_path)) == ["report.html"]
  assert (tmp_path / "report.html").read_text() == "before"


def test_a_folder_behind_a_scheme(tmp_path):
  """TensorFlow opens `file://`, which Python's own `open` does not know."""
  events(tmp_path / "events.out.tfevents.10.a", 10, loss([8, 16]))
  (tmp_path / "evaluations.jsonl").write_text(json.dumps(row(0)) + "\n")
  folder = "file://" + str(tmp_path)
  assert report.read_training(folder) == {"loss": [(8, 9.0), (16, 8.0)]}
  assert report.write(folder) == folder + "/report.html"
  text = (tmp_path / "report.html").read_text(encoding="utf-8")
  assert Page(text).texts("p")[0] == tmp_path.name
  assert list(charts(text)) == [
      "Masked-LM loss", "Masked-LM accuracy", "Next-sentence loss",
      "Next-sentence accuracy", "Total loss"]
