"""page.py: the page shows what the run left, stands alone, can be read."""

import math
import re

import pytest
from report_pages import (
  CHARTS,
  FOUND,
  STARTS,
  Page,
  evaluation,
  falling,
  render,
  run,
)

from bert_e2e.data import preflight, preflight_text
from bert_e2e.reporting import page as page_lib
from bert_e2e.reporting import run_data


def test_the_last_start_is_shown_in_full_and_all_are_listed():
  page = Page(render(starts=STARTS))
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
  page = Page(render(starts=starts))
  assert ("The program was started 50 times; the last 20 starts are listed."
          in page.texts("caption"))
  assert [cells[1] for cells in page.rows() if cells[0].startswith("2026")] == [
      str(step) for step in range(30, 50)]


@pytest.mark.parametrize("start", [
    {}, {"flags": None, "versions": [], "corpus": None, "step": "x"},
    {"flags": {}, "time": None, "corpus": {"bytes": None}}])
def test_a_start_may_lack_anything(start):
  page = Page(render(starts=[start]))
  assert "All flags have their default values." in page.texts("p")


def test_the_preflight_is_shown_and_its_warnings_before_all():
  text = render(found=FOUND)
  page = Page(text)
  assert page.texts("section", class_="warnings") == [
      "1 preflight warning\n"
      "Too often: pass --num_train_steps=9, or give <more> text."]
  assert "--num_train_steps=9" in page.texts("code")
  assert text.index('class="warnings"') < text.index("<h2>Before and after")
  rows = page.rows()
  expected = list(preflight_text.rows(FOUND))
  for i, (name, said) in enumerate(expected):
    if name:
      follows = dict(expected[i + 1:i + 2]).get("", "")
      assert [name, said + follows] in rows
  assert ["lines", "~100"] in rows
  quiet = render(found=FOUND._replace(warnings=()))
  assert 'class="warnings"' not in quiet and "There are no warnings." in quiet


def test_metrics_at_the_top():
  page = Page(render(
      {"loss": falling(range(0, 2000, 10)), "epoch": [(1990, 12.25)],
       "sequences_per_second": [(1, 5.0), (2, 300.0), (3, 310.0)],
       "input_wait": [(1, 0.9), (2, math.nan), (3, 0.02), (4, 0.01)]},
      {"domain": [evaluation(0, 9, 5.0), evaluation(9, 9, 4.0)]}))
  assert dict(zip(page.texts("dt"), page.texts("dd"))) == {
      "step": "1,990", "epochs": "12.25",
      "masked-LM loss, domain text": "4.00", "sequences/s, median": "300.0",
      "input wait, median": "2 %"}


def full():
  return run(
      {chart.name: falling(range(0, 2000, 10)) for chart in CHARTS},
      {text: [evaluation(step, 9, 5.0, 0.5, 0.5, 0.5, 5.5)
              for step in (0, 1000)] for text in run_data.TEXTS}, STARTS, FOUND)


def test_a_page_stands_alone():
  text = page_lib.render(full())
  lower = text.lower()
  for outside in ("http", "src=", "url(", "@import", "href", "<script", "<link",
                  "<img", "<iframe", "<object", "//", "@font-face", " on"
                  "click", "javascript"):
    assert outside not in lower, outside
  assert page_lib.render(full()) == text


def test_the_page_is_what_browsers_and_readers_expect():
  page = Page(page_lib.render(full()))
  tags = [tag for tag, _, _ in page.tags]
  attributes_of = {tag: attributes for tag, attributes, _ in page.tags}
  assert attributes_of["html"] == {"lang": "en"}
  metas = [attributes for tag, attributes, _ in page.tags if tag == "meta"]
  assert metas[0] == {"charset": "utf-8"}
  assert {"name": "viewport", "content": "width=device-width, initial-scale=1"
          } in metas
  assert tags.count("h1") == tags.count("main") == tags.count("header") == 1
  assert tags.count("figure") == tags.count("figcaption") == len(CHARTS)
  assert page.texts("h2") == ["1 preflight warning", "Before and after",
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
      warnings=(preflight.PreflightWarning("case", EVIL + " --flag=" + EVIL),))
  text = render(
      {EVIL: [(1, 2.0)], "loss": [(1, 2.0)]},
      {"domain": [evaluation(0, 9, 5.0)]}, [start, start], found, EVIL)
  page = Page(text)
  assert not page.texts("script") and "onload=alert(1)>" not in text
  assert len(page.texts("svg")) == 2  # Of the two losses.
  assert EVIL in page.texts("td") and "--" + EVIL in page.texts("th")
  assert page.texts("p", class_="run") == [EVIL]
  assert page.texts("title")[0] == "Pretraining report: " + EVIL
  assert EVIL + " --flag=" + EVIL in page.texts("li")
  assert any(EVIL[:20] in cell for cell in page.texts("td"))


# ------------------------------------------------------------------ the colors


def luminance(color):
  """Returns the relative luminance of "#rrggbb", as WCAG 2 defines it."""
  parts = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
  red, green, blue = (
      part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
      for part in parts)
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
  low, high = sorted((luminance(one), luminance(other)))
  return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colors_can_be_read(mode):
  style = Page(render()).texts("style")[0]
  light, dark = style.split("@media (prefers-color-scheme: dark) {", 1)
  dark = dark.split("}")[0]
  colors, others = (dict(re.findall(r"--([\w-]+): (#\w{6})", part))
                     for part in ((light, dark) if mode == "light" else
                                  (dark, light)))
  assert colors.keys() == others.keys() and colors != others
  # Only variables have colors, so that no text is of the other mode.
  assert len(re.findall(r"#[0-9a-fA-F]{3,8}\b", style)) == 2 * len(colors)
  assert set(re.findall(r"var\(--([\w-]+)\)", style)) == set(colors)
  for name in ("text", "faint", "better", "worse", "training", "domain",
               "general"):
    for background in ("page", "panel") if name in ("text", "faint") else (
        "page",):
      assert contrast(colors[name], colors[background]) >= 4.5, name
  assert contrast(colors["warned-text"], colors["warned"]) >= 7
  assert "color-scheme: light dark" in style
  assert (luminance(colors["page"]) > 0.5) == (mode == "light")
