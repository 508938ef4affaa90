"""evaluation_table.py: what became of each metric, in rows and in words."""

import doctest
import math

import pytest
from report_pages import Page, evaluation, render

from bert_e2e.reporting import evaluation_table, markup
from bert_e2e.training import metrics


@pytest.mark.parametrize("module", [evaluation_table, markup])
def test_examples_in_docstrings(module):
  result = doctest.testmod(module)
  assert result.attempted and not result.failed


@pytest.mark.parametrize("text, losses, expected", [
    ("domain", [4.85, 3.9],
     "domain text: 4.85 \u2192 3.90 (better by 0.95)"),
    ("general", [3.5, 3.7],
     "general text: 3.50 \u2192 3.70 (worse by 0.20: forgetting)"),
    ("general", [3.5, 3.4, 3.45], "general text: 3.50 \u2192 3.45 (better by "
     "0.05), best 3.40 at step 100"),
    ("domain", [3.5, 3.6], "domain text: 3.50 \u2192 3.60 (worse by 0.10)"),
    # The difference of the values that are shown.
    ("domain", [4.854, 3.896],
     "domain text: 4.85 \u2192 3.90 (better by 0.95)"),
    ("general", [3.5, 3.501], "general text: 3.50 \u2192 3.50 (unchanged)"),
    ("domain", [4.0], "domain text: 4.00 at step 0, the only evaluation"),
    ("domain", [math.nan, 4.0], "domain text: - \u2192 4.00"),
    ("domain", [math.nan], "domain text: - at step 0, the only evaluation"),
])
def test_the_verdict(text, losses, expected):
  found = [evaluation(100 * i, 9, value) for i, value in enumerate(losses)]
  assert evaluation_table._verdict(text, found) == expected
  page = Page(render(evaluations={text: found}))
  assert page.texts("p", class_="verdict") == [
      "Masked-LM loss on %s." % expected]


def test_the_table_of_evaluations():
  page = Page(render(evaluations={
      "domain": [evaluation(0, 1220, 5.0, 0.1, 0.7, 0.5),
                 evaluation(50, 1220, 3.0, 0.4, 0.6, 0.6),
                 evaluation(100, 1220, 4.0, 0.3, 0.5, 0.7)],
      "general": [evaluation(0, 1, 2.0, 0.5, 0.25, 1.0),
                  evaluation(100, 1, 2.5, 0.5, math.nan, 0.9)]}))
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
      ["change", "", "+0.500 worse", "+4.8 worse", "unchanged", "-",
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
  found = [evaluation(0, 9, 5.0, 0.1, 0.7, 0.5),
           evaluation(9, None, value, value, value, value)]
  for evaluations in (found, found[1:], found[::-1]):
    Page(render(evaluations={"domain": evaluations}))


def test_a_metric_without_a_value_has_no_column():
  page = Page(render(evaluations={
      "domain": [evaluation(0, masked_lm_loss=5.0)],
      "general": [evaluation(0, masked_lm_accuracy=0.5)]}))
  head, *rows = page.rows()
  assert head[3:] == ["masked-LM loss nats", "perplexity",
                      "masked-LM accuracy %"]
  assert [row[-3:] for row in rows] == [["5.000", "148.4", "-"],
                                        ["-", "-", "50.0"]]


def test_a_new_metric_is_in_the_table_and_has_a_chart(monkeypatch):
  """One more row in metrics.py is all that it takes."""
  rows = metrics.METRICS + (
      metrics.Metric("rank", "Rank", "places", False, table_decimals=2,
                     factor=10.0, report_format=".1f", chart=metrics.Chart()),
      metrics.Metric("calls", "Calls", table_decimals=0))
  monkeypatch.setattr(metrics, "METRICS", rows)
  found = [evaluation(step, masked_lm_loss=5.0, rank=rank, calls=calls)
           for step, rank, calls in ((0, 0.75, 3), (50, 0.5, 7))]
  page = Page(render({"rank": [(5, 0.25), (9, 0.125)]}, {"domain": found}))
  head, first, last, change = page.rows()
  assert head[-2:] == ["rank places", "calls"]
  assert first[-2:] == ["7.50", "3"] and last[-2:] == ["5.00", "7"]
  assert change[-2:] == ["\u22122.50 better", "+4"]
  assert page.texts("strong") == ["Masked-LM loss nats", "Rank places"]
  assert page.texts("ul", class_="legend")[1] == (
      "training 1.2held-out domain 5.0")


def test_a_probe_has_its_own_table():
  def probed(step, accuracy, deviation):
    return evaluation(step, 200, probe_accuracy=accuracy,
                      probe_accuracy_std=deviation)

  page = Page(render(evaluations={
      "domain": [evaluation(0, 9, 5.0), evaluation(50, 9, 4.0)],
      "probe": [probed(0, 0.621, 0.016), probed(20, 0.706, 0.022),
                probed(50, 0.688, 0.024)]}))
  assert page.texts("p", class_="verdict") == [
      "Masked-LM loss on domain text: 5.00 \u2192 4.00 (better by 1.00).",
      "Probe accuracy on labelled texts: 62.1 \u2192 68.8 % (better by 6.7), "
      "best 70.6 % at step 20."]
  rows = page.rows()
  start = rows.index(["text", "evaluation", "step", "probe accuracy %",
                      "probe accuracy, deviation %"])
  assert rows[start + 1:start + 5] == [
      ["labelled texts 200 examples", "first", "0", "62.1", "1.6"],
      ["best", "20", "70.6", "2.2"], ["last", "50", "68.8", "2.4"],
      ["change", "", "+6.7 better", "+0.8 worse"]]
  assert page.texts("dd")[-1] == "68.8 %"
  assert "probe" in page.texts("ul", class_="legend")[-1]
