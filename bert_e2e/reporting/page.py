"""The report's page: one HTML file that stands alone.

Nothing in it points outside: the charts are inline SVG, the colors follow the
reader's light or dark mode, and no script is needed.
"""

import html
import os
import re
import statistics
from typing import List, Tuple

from bert_e2e.data import preflight_text
from bert_e2e.reporting import charts, evaluation_table
from bert_e2e.reporting.markup import (
  format_fixed,
  plural,
  section,
  tag,
  uncapitalize,
)
from bert_e2e.reporting.run_data import is_count, is_finite
from bert_e2e.training import evaluation, metrics

_STYLE_FILE = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "report.css")
_MAX_STARTS = 20


def render(data):
  """Renders a report.

  Args:
    data: run_data.RunData.

  Returns:
    str, the HTML of a page.
  """
  name = html.escape(data.name)
  body = [
      tag("header", "\n".join([
          tag("h1", "Pretraining report"), tag("p", name, class_="run"),
          _highlights(data)])),
      tag("main", "\n".join([
          _warnings(data), evaluation_table.render(data), _curves(data),
          _preflight(data), _run(data)])),
  ]
  with open(_STYLE_FILE, encoding="utf-8") as stream:
    style = "\n" + stream.read()
  return "\n".join([
      "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      '<meta name="color-scheme" content="light dark">',
      "<title>Pretraining report: %s</title>" % name,
      tag("style", style), "</head>", "<body>", *body, "</body>", "</html>",
      ""])


# ---------------------------------------------------------------- at the top


def _median(data, name):
  """Returns the median of a training metric; None if it has no values."""
  values = [value for _, value in data.training.get(name, ())
            if is_finite(value)]
  return statistics.median(values) if values else None


def _highlights(data):
  """Returns the list of the most important metrics."""
  shown = []
  steps = [points[-1][0] for points in data.training.values() if points]
  if steps:
    shown.append(("step", format(max(steps), ",")))
  if data.training.get("epoch"):
    shown.append(("epochs", format_fixed(
        data.training["epoch"][-1][1], 2)))
  for text, found in data.evaluations.items():
    metric = evaluation.main_metric(text)
    name, value = uncapitalize(metric.title), metric.value_in(found[-1].values)
    if text == evaluation.PROBE:
      shown.append((name, format_fixed(metric.factor * value, 1) + " %"))
    else:
      shown.append(("%s, %s text" % (name, text), format_fixed(value, 2)))
  speed = _median(data, "sequences_per_second")
  if speed is not None:
    shown.append(("sequences/s, median", format_fixed(speed, 1)))
  wait = _median(data, "input_wait")
  if wait is not None:
    shown.append(("input wait, median", "%.0f %%" % (100 * wait)))
  items = [tag("div", tag("dt", html.escape(name)) + tag("dd", text))
           for name, text in shown]
  return tag("dl", "".join(items), class_="highlights") if items else ""


def _warnings(data):
  """Returns the section of the preflight's warnings; "" without any."""
  found = data.preflight
  if found is None or not found.warnings:
    return ""
  items = "\n".join(tag("li", _mark_flags(item.text))
                    for item in found.warnings)
  return tag("section", "%s\n%s" % (
      tag("h2", plural(len(found.warnings), "preflight warning")),
      tag("ul", items)), class_="warnings")


# -------------------------------------------------------------- the sections


def _mark_flags(text):
  """Returns a text as HTML, with the flags in it as code, which is not broken
  between lines."""
  return re.sub(r"--\w[\w=.-]*\w", lambda found: tag("code", found.group()),
                html.escape(text))


def _pairs(caption, pairs):
  """Returns a table with two columns.

  Args:
    caption: str.
    pairs: list of (name, list of values), not escaped; each value is a line.
  """
  rows = [tag("tr", tag("th", html.escape(str(name)), scope="row") +
              tag("td", "<br>".join(_mark_flags(str(value))
                                    for value in values)))
          for name, values in pairs]
  return tag("table", "\n".join([
      tag("caption", html.escape(caption)),
      tag("tbody", "\n".join(rows))]), class_="pairs")


def _curves(data):
  """Returns the section of the charts."""
  figures = charts.draw(data)
  if not figures:
    return section("Curves", tag(
        "p", "There are no curves: the output directory has no event files "
        "of a training and no evaluations."))
  note = ("The last value of each curve is next to its name. Thin training "
          "curves show the measured values, thick ones are smoothed.")
  if len(data.starts) > 1:
    note += " Dashed vertical lines mark where the run was resumed."
  return section("Curves", tag("p", note, class_="note") + "\n" + tag(
      "div", "\n".join(figures), class_="curves"))


def _preflight(data):
  """Returns the section of the data checks."""
  found = data.preflight
  if found is None:
    return section("Preflight", tag("p", _mark_flags(
        "The output directory has no preflight.json of this version; "
        "--preflight_only writes one.")))
  pairs: List[Tuple[str, List[str]]] = []
  for name, text in preflight_text.rows(found):
    if name or not pairs:
      pairs.append((name, [text]))
    else:
      pairs[-1][1].append(text)
  warned = ("The warnings are at the top of this page." if found.warnings else
            "There are no warnings.")
  return section("Preflight", _pairs(
      "Checks of the training text before training. " + warned, pairs))


def _run(data):
  """Returns the section of flags, versions, training text and starts."""
  if not data.starts:
    return section("The run", tag(
        "p", "The output directory records no start of the program."))
  start = data.starts[-1]
  flags, versions, corpus = (
      _dict_in(start, name) for name in ("flags", "versions", "corpus"))
  parts = [tag("p", html.escape("Last started at %s, from step %s." % (
      _time(start), _step(start))))]
  if flags:
    parts.append(_pairs("Flags with values other than the defaults",
                        [("--" + str(name), [value])
                         for name, value in flags.items()]))
  else:
    parts.append(tag("p", "All flags have their default values."))
  if versions:
    parts.append(_pairs("Versions", [(name, [value])
                                     for name, value in versions.items()]))
  if corpus:
    parts.append(_pairs("Training text", [
        (name, [format(value, ",") if is_count(value) else value])
        for name, value in corpus.items()]))
  parts.append(_texts(data))
  parts.append(_starts(data))
  return section("The run", "\n".join(parts))


def _texts(data):
  """Returns the table of how much of each text of a mixture was trained on; ""
  without one."""
  pairs = []
  for text, names in metrics.counts_of_texts(data.training).items():
    last = {count: data.training[name][-1][1] for count, name in names.items()}
    pairs.append((text, ["%s examples" % format(
        round(last["examples"]), ",")] * ("examples" in last) + [
            "%.2f epochs" % last["epoch"]] * ("epoch" in last)))
  return _pairs(
      "Texts trained on, by the last stream of the run", pairs) if pairs else ""


def _starts(data):
  """Returns the table of the program's last starts; "" for a single one."""
  count = len(data.starts)
  if count < 2:
    return ""
  rows = [
      tag("tr", tag("th", html.escape(_time(start)), scope="row") +
          tag("td", _step(start)))
      for start in data.starts[-_MAX_STARTS:]
  ]
  caption = "The program was started %d times%s." % (
      count, "; the last %d starts are listed" % _MAX_STARTS
      if count > _MAX_STARTS else "")
  head = (tag("th", "time", scope="col") +
          tag("th", "from step", scope="col"))
  return tag("table", "\n".join([
      tag("caption", caption), tag("thead", tag("tr", head)),
      tag("tbody", "\n".join(rows))]), class_="numbers starts")


def _dict_in(start, name):
  value = start.get(name)
  return value if isinstance(value, dict) else {}


def _time(start):
  return str(start.get("time", "-")).replace("T", " ")


def _step(start):
  step = start.get("step")
  return format(step, ",") if is_count(step) else "-"
