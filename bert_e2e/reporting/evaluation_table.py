"""The report's section on evaluations: the first, the best and the last one."""

import html
import math
from typing import Dict, List

from bert_e2e.reporting.markup import (
  format_fixed,
  plural,
  scrollable,
  section,
  tag,
  uncapitalize,
)
from bert_e2e.reporting.run_data import is_finite
from bert_e2e.training import evaluation, metrics


def render(data):
  """Returns the section as HTML.

  Args:
    data: run_data.RunData.
  """
  if not data.evaluations:
    return section("Before and after", tag(
        "p", "The output directory records no evaluation on held-out text."))
  # The metrics of a probe are others, so it has a table of its own.
  texts = {text: found for text, found in data.evaluations.items()
           if text != evaluation.PROBE}
  probe = {text: found for text, found in data.evaluations.items()
           if text == evaluation.PROBE}
  parts = []
  for evaluations, name in ((texts, "Evaluations"), (probe, "Probe")):
    if evaluations:
      parts += [
          tag("p", html.escape(_verdicts(evaluations)), class_="verdict"),
          scrollable(_table(evaluations), name),
          tag("p", html.escape(_note(evaluations)), class_="note")]
  return section("Before and after", "\n".join(parts))


def _name(text):
  return "labelled texts" if text == evaluation.PROBE else text + " text"


def _verdicts(evaluations):
  """Returns a sentence on the main metric of texts that have the same one."""
  metric = evaluation.main_metric(next(iter(evaluations)))
  return "%s on %s." % (metric.title, "; ".join(
      _verdict(text, found) for text, found in evaluations.items()))


def _note(evaluations):
  """Returns what the table of some texts shows, in sentences."""
  metric = evaluation.main_metric(next(iter(evaluations)))
  counts = "; ".join(
      "%s: %s on %s" % (
          _name(text), plural(len(found), "evaluation"),
          "an unknown number of examples" if found[-1].examples is None else
          plural(found[-1].examples, "example"))
      for text, found in evaluations.items())
  return (
      "All evaluations are on held-out text. The best one has the %s %s; the "
      "change is from the first to the last. %s." % (
          "highest" if metric.higher_is_better else "lowest",
          uncapitalize(metric.title), counts[:1].upper() + counts[1:]))


def _best(text, found):
  """Returns the best of a list of Evaluations of a text; the last one if their
  main metric is NaN in all."""
  metric = evaluation.main_metric(text)
  known = [item for item in found if not math.isnan(metric.value_in(
      item.values))]
  choose = max if metric.higher_is_better else min
  return choose(known, key=lambda item: metric.value_in(item.values),
                default=found[-1])


def _verdict(text, found):
  """Says in a clause how the main metric of a text changed.

  >>> from bert_e2e.reporting.run_data import Evaluation
  >>> _verdict("general", [Evaluation(0, 9, {"masked_lm_loss": 3.5}),
  ...                      Evaluation(9, 9, {"masked_lm_loss": 3.7})])
  'general text: 3.50 \u2192 3.70 (worse by 0.20: forgetting)'
  >>> _verdict("probe", [Evaluation(0, 9, {"probe_accuracy": 0.62}),
  ...                    Evaluation(9, 9, {"probe_accuracy": 0.68})])
  'labelled texts: 62.0 \u2192 68.0 % (better by 6.0)'
  """
  metric, name = evaluation.main_metric(text), _name(text)
  decimals, unit = (1, " %") if text == evaluation.PROBE else (2, "")

  def value_of(item):
    return round(_shown_value(metric, item), decimals)

  before, after = value_of(found[0]), value_of(found[-1])
  if len(found) == 1:
    return "%s: %s%s at step %s, the only evaluation" % (
        name, format_fixed(before, decimals), unit, format(found[0].step, ","))
  said = "%s: %s \u2192 %s%s" % (
      name, format_fixed(before, decimals), format_fixed(after, decimals), unit)
  change = round(after - before, decimals)
  if not is_finite(change):
    return said
  if not change:
    return said + " (unchanged)"
  is_better = (change > 0) == metric.higher_is_better
  said += " (%s by %s%s)" % (
      "better" if is_better else "worse", format_fixed(abs(change), decimals),
      ": forgetting" if text == evaluation.GENERAL and not is_better else "")
  best = _best(text, found)
  if value_of(best) not in (before, after):
    said += ", best %s%s at step %s" % (
        format_fixed(value_of(best), decimals), unit, format(best.step, ","))
  return said


# ------------------------------------------------------------------- the table


def _columns(evaluations):
  """Returns the metrics of the table: those that have a value anywhere."""
  return [
      metric for metric in metrics.METRICS
      if metric.table_decimals is not None and any(
          not math.isnan(metric.value_in(item.values))
          for found in evaluations.values() for item in found)
  ]


def _table(evaluations):
  """Returns the table of a RunData's evaluations."""
  columns = _columns(evaluations)
  head = [tag("th", name, scope="col")
          for name in ("text", "evaluation", "step")]
  for metric in columns:
    unit = metric.unit and " " + tag("small", metric.unit)
    head.append(tag("th", uncapitalize(metric.title) + unit, scope="col"))
  bodies = [_rows(text, found, columns) for text, found in evaluations.items()]
  return tag("table", "\n".join([
      tag("thead", tag("tr", "".join(head))), *bodies]), class_="numbers")


def _rows(text, found, columns):
  """Returns the rows of a text as a <tbody>."""
  first, best, last = found[0], _best(text, found), found[-1]
  labels: Dict[int, List[str]] = {}
  for label, item in (("first", first), ("best", best), ("last", last)):
    labels.setdefault(item.step, []).append(label)
  shown = [item for item in found if item.step in labels]
  has_change = first is not last
  examples = "" if last.examples is None else tag(
      "small", plural(last.examples, "example"))
  head = tag("th", html.escape(_name(text)) + " " + examples, scope="rowgroup",
             rowspan=len(shown) + has_change)
  rows = []
  for item in shown:
    label = ", ".join(labels[item.step]) if len(found) > 1 else "only"
    cells = [tag("th", label, scope="row"), tag("td", format(item.step, ","))]
    cells += [tag("td", format_fixed(_shown_value(metric, item),
                                     metric.table_decimals))
              for metric in columns]
    rows.append("".join(cells))
  if has_change:
    rows.append(tag("th", "change", scope="row") + tag("td", "") + "".join(
        _change(metric, first, last) for metric in columns))
  rows[0] = head + rows[0]
  return tag("tbody", "\n".join(tag("tr", row) for row in rows))


def _shown_value(metric, item):
  """Returns a metric of an Evaluation in the unit of the table, a float."""
  return metric.factor * metric.value_in(item.values)


def _change(metric, first, last):
  """Returns the cell that says how a metric changed between two Evaluations."""
  decimals = metric.table_decimals
  # Of the rounded values, so that it is the difference of what is shown.
  change = round(_shown_value(metric, last), decimals) - round(
      _shown_value(metric, first), decimals)
  if not is_finite(change):
    return tag("td", "-")
  shown = format_fixed(abs(change), decimals)
  if not round(abs(change), decimals):
    return tag("td", "unchanged")
  if metric.higher_is_better is None:
    return tag("td", ("+" if change > 0 else "\u2212") + shown)
  verdict = "better" if (change > 0) == metric.higher_is_better else "worse"
  return tag("td", "%s%s <small>%s</small>" % (
      "+" if change > 0 else "\u2212", shown, verdict), class_=verdict)
