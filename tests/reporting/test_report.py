"""report.py: the page of a run's directory is written there."""

import json
import os

import pytest
from report_pages import (
  CHARTS,
  FOUND,
  STARTS,
  Page,
  charts,
  close,
  events,
  loss,
  row,
)

from bert_e2e.common import file_io
from bert_e2e.data import preflight_text
from bert_e2e.reporting import report, run_data


def test_an_empty_directory_makes_a_report(tmp_path):
  path = report.write(str(tmp_path))
  assert path == str(tmp_path / "report.html")
  assert os.listdir(str(tmp_path)) == ["report.html"]
  page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
  assert page.texts("p")[0] == tmp_path.name
  assert len(page.texts("section")) == 4 and not page.texts("figure")


def test_a_complete_directory(tmp_path):
  events(tmp_path / "events.out.tfevents.10.a", 10, [
      (step, {"training/" + chart.name: step / 100 for chart in CHARTS})
      for step in range(5, 100, 5)])
  (tmp_path / "evaluations.jsonl").write_text("".join(
      json.dumps(row(step, text, masked_lm_loss=5 - step / 100)) + "\n"
      for text in run_data.TEXTS for step in (0, 50)) + '{"step": 99, "te')
  (tmp_path / "runs.jsonl").write_text("".join(
      json.dumps(start) + "\n" for start in STARTS))
  (tmp_path / "preflight.json").write_text(json.dumps(
      dict(preflight_text.to_dict(FOUND), seconds_left=9.0)))
  read = run_data.read(str(tmp_path) + "/")
  assert read.name == tmp_path.name and read.preflight == FOUND
  assert read.starts == STARTS
  report.write(str(tmp_path))
  text = (tmp_path / "report.html").read_text(encoding="utf-8")
  page = Page(text)
  assert len(page.texts("figure")) == len(CHARTS)
  close(charts(text)["Masked-LM loss"].marks("domain"), [(0, 5.0), (50, 4.5)])
  close(charts(text)["Masked-LM loss"].line("training", "line"),
        [(step, step / 100) for step in range(5, 100, 5)])
  assert page.texts("p", class_="verdict") == [
      "Masked-LM loss on domain text: 5.00 \u2192 4.50 (better by 0.50); "
      "general text: 5.00 \u2192 4.50 (better by 0.50)."]


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


def test_a_directory_with_a_scheme(tmp_path):
  """TensorFlow opens `file://`, which Python's own `open` does not know."""
  events(tmp_path / "events.out.tfevents.10.a", 10, loss([8, 16]))
  (tmp_path / "evaluations.jsonl").write_text(json.dumps(row(0)) + "\n")
  folder = "file://" + str(tmp_path)
  assert run_data.read_training(folder) == {"loss": [(8, 9.0), (16, 8.0)]}
  assert report.write(folder) == folder + "/report.html"
  text = (tmp_path / "report.html").read_text(encoding="utf-8")
  assert Page(text).texts("p")[0] == tmp_path.name
  assert list(charts(text)) == [
      "Masked-LM loss", "Masked-LM accuracy", "Next-sentence loss",
      "Next-sentence accuracy", "Total loss"]
