"""charts.py: curves stand where the data are, and nothing breaks them."""

import doctest
import math
import random
import statistics

import pytest
from report_pages import (
  CHARTS,
  Page,
  charts,
  close,
  evaluation,
  falling,
  number,
  render,
)

from bert_e2e.reporting import charts as charts_lib
from bert_e2e.reporting import run_data

# ----------------------------------------------------------------- the numbers


def test_examples_in_docstrings():
  result = doctest.testmod(charts_lib)
  assert result.attempted >= 3 and not result.failed


def test_ticks_are_round_and_reach_around_the_values():
  rng = random.Random(3)
  for _ in range(2000):
    low = rng.choice([0.0, rng.uniform(-1, 1)]) * 10 ** rng.randint(-6, 9)
    high = low + 10 ** rng.uniform(-6, 9)
    if high - low < 1e-8 * max(abs(low), abs(high)):
      continue
    ticks = charts_lib._ticks(low, high, 5)
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
  found = [charts_lib._tick_label(tick, ticks) for tick in ticks]
  assert found == labels.split()
  assert [number(label) for label in found] == pytest.approx(ticks)


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 1001, 12345])
def test_thinning_keeps_ends_and_peaks(count):
  rng = random.Random(1)
  points = [(step, rng.gauss(0, 1)) for step in range(count)]
  if count > 5:
    points[count // 3] = (count // 3, 99.0)
    points[count // 2] = (count // 2, -99.0)
  thinned = charts_lib._thinned(points, 1000)
  assert len(thinned) <= 1000 and (len(thinned) > 500 or count < 1000)
  assert thinned == sorted(thinned) and set(thinned) <= set(points)
  assert thinned[0] == points[0] and thinned[-1] == points[-1]
  for choose in (min, max):
    assert choose(thinned, key=lambda p: p[1]) == choose(
        points, key=lambda p: p[1])
  assert thinned == points or count > 1000


def test_smoothing_follows_the_trend():
  line = [(step, 3.0 - step / 1000) for step in range(0, 2000, 10)]
  for (step, value), expected in zip(charts_lib._smoothed(line), line):
    assert (step, value) == pytest.approx(expected)
  rng = random.Random(2)
  noisy = [(step, value + rng.gauss(0, 0.5)) for step, value in line]
  smoothed = charts_lib._smoothed(noisy)

  def roughness(points):
    return statistics.mean(abs(b[1] - a[1]) for a, b in zip(points, points[1:]))

  assert roughness(smoothed) < roughness(noisy) / 4
  assert len(charts_lib._smoothed(
      [(step, 1.0) for step in range(100000)])) == charts_lib._SMOOTHED_POINTS
  peak = [(step, 1.0) for step in range(100)]
  peak[50] = (50, 1e30)
  assert charts_lib._smoothed(peak)[90] == (90, 1.0)


# ------------------------------------------------------------------- the charts


def test_curves_stand_where_the_data_are():
  training = {"masked_lm_loss": falling(range(0, 400, 20)),
              "masked_lm_accuracy": [(step, step / 1000) for step in
                                     range(0, 400, 20)],
              "learning_rate": [(step, 1e-4 * step / 380) for step in
                                range(0, 400, 20)]}
  evaluations = {
      "domain": [evaluation(step, 9, 6 - step / 100, step / 800)
                 for step in (0, 100, 200, 300)],
      "general": [evaluation(step, 9, 3 + step / 300, 0.5 - step / 2000)
                  for step in (0, 150, 300)]}
  found = charts(render(training, evaluations))
  assert list(found) == ["Masked-LM loss", "Masked-LM accuracy",
                         "Learning rate"]
  chart = found["Masked-LM loss"]
  close(chart.line("training", "line"), training["masked_lm_loss"])
  for text, items in evaluations.items():
    expected = [(item.step, item.values["masked_lm_loss"]) for item in items]
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
  found = charts(render({"loss": points,
                                        "learning_rate": rate}))
  chart = found["Total loss"]
  close(chart.line("training", "raw"), points, step=3)
  close(chart.line("training", "line"), charts_lib._smoothed(points), step=3)
  # This one is no measurement, so its peak stays.
  assert not found["Learning rate"].has_line("raw")
  close(found["Learning rate"].line("training", "line"), rate, step=3)


def test_the_charts_of_a_page_have_the_same_steps():
  found = charts(render(
      {"loss": falling(range(10, 200, 10)), "input_wait": [(5, 0.5)]},
      {"domain": [evaluation(400, 9, 5.0)]}))
  assert {tuple(chart.step_labels()) for chart in found.values()} == {
      ("0", "100", "200", "300", "400")}
  close(found["Input wait"].marks("training"), [(5, 50.0)], value=0.3)
  # One that goes on far from step 0 does not start there.
  found = charts(render(
      {"loss": [(step, 1.0 * step) for step in range(90000, 100001, 500)]}))
  assert found["Total loss"].step_labels() == [
      "90k", "92k", "94k", "96k", "98k", "100k"]


def test_the_legend_names_the_curves_of_a_chart():
  page = Page(render(
      {"loss": [(1, 5.0), (2, 4.25)], "sequences_per_second": [(1, 1234.56)]},
      {"general": [evaluation(2, 9, loss=4.5, masked_lm_loss=4.0)]}))
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
  names = [chart.name for chart in CHARTS]
  training = {name: [(step, rng.gauss(0.5, 0.05))
                     for step in range(100, 1000001, 50)] for name in names}
  training["loss"][12345] = (training["loss"][12345][0], 6.0)
  evaluations = {text: [evaluation(step, 100, rng.gauss(5, 0.1), 0.5, 0.5, 0.5,
                                   0.5) for step in range(0, 1000001, 500)]
                 for text in run_data.TEXTS}
  text = render(training, evaluations)
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
  text = render(
      {chart.name: points for chart in CHARTS},
      {"domain": [evaluation(step, 5, *[value] * 5) for step, value in points]}
      if points else {})
  page = Page(text)
  finite = [value for value in values if abs(value) < 1e300]
  found = charts(text)
  assert len(found) == (len(CHARTS) if finite else 0)
  for chart in found.values():
    inside(chart)
  if not finite:
    assert "There are no curves" in text
  left_out = len(values) - len(finite)
  notes = [note for note in page.texts("p", class_="note") if "drawn" in note]
  if finite and left_out:
    assert notes[0] == "%d values not drawn: not finite" % (
        2 * left_out)
  else:
    assert not notes


def test_a_resumed_run_has_a_line_where_it_resumed():
  starts = [{"time": "2026-11-24T18:00:00", "step": step}
            for step in (0, 100, "x", None, 100, 250)]
  text = render({"loss": falling(range(0, 400, 20))},
                               starts=starts)
  close([(step, 0) for step in charts(text)["Total loss"].restarts()],
        [(100, 0), (250, 0)])
  assert "Dashed vertical" in text
  assert "Dashed vertical" not in render(
      {"loss": falling(range(0, 400, 20))}, starts=starts[:1])
