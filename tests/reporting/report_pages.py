"""Shared by the tests of the report: data to report, and a page's reader."""

import html.parser
import math
import re
import xml.etree.ElementTree

import tensorflow.compat.v1 as tf

from bert_e2e.data import preflight
from bert_e2e.reporting import page as page_lib
from bert_e2e.reporting import run_data
from bert_e2e.training import metrics

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
    warnings=(preflight.PreflightWarning(
        "epochs",
        "Too often: pass --num_train_steps=9, or give <more> text."),))


# The metrics of an evaluation, in the order of `evaluation`'s arguments.
NAMES = ("masked_lm_loss", "masked_lm_accuracy", "next_sentence_loss",
         "next_sentence_accuracy", "loss")
CHARTS = [metric for metric in metrics.METRICS if metric.chart]
STARTS = [
    {"time": "2026-11-24T18:00:00", "step": 0, "flags": {"old_flag": 1}},
    {"time": "2026-11-24T19:00:00", "step": 12000,
     "flags": {"output_dir": "<out>", "do_train": True, "learning_rate": 1e-3},
     "versions": {"python": "3.7.16", "tensorflow": "1.15.0"},
     "corpus": {"files": 3, "bytes": 1234567, "fingerprint": "00ff"}}]


def evaluation(step, examples=9, *values, **named):
  """Returns an Evaluation; values are in the order of NAMES."""
  found = dict(zip(NAMES, values), **named)
  return run_data.Evaluation(step, examples, found)


def run(training=None, evaluations=None, starts=(), found=None, name="run"):
  return run_data.RunData(name, training or {}, evaluations or {}, list(starts),
                          found)


def render(*args, **options):
  """Renders a page of what `run` makes."""
  return page_lib.render(run(*args, **options))


# ------------------------------------------------------------- writing a run


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


def row(step, text="domain", chosen="a", **values):
  return dict({"step": step, "text": text, "set": chosen, "examples": 100,
               "masked_lm_loss": 5.0, "masked_lm_accuracy": 0.25,
               "next_sentence_loss": 0.5, "next_sentence_accuracy": 0.75,
               "loss": 5.5, "global_step": step, "seconds": 1.0,
               "time": "2026-11-24T18:00:00"}, **values)


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


def falling(steps, start=9.0):
  return [(step, start * math.exp(-step / 400)) for step in steps]
