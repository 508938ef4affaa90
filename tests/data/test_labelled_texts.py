"""Labelled texts of a probe, and the draws of them."""

import collections
import gzip

import pytest

from bert_e2e.data import labelled_texts

LABELS = ["red", "green", "blue"] * 10
# Of Python 3.7; draws have to be the same on every Python.
RECORDED_DRAWS = [
    [6, 9, 10, 26, 29], [12, 13, 20, 23, 26], [5, 15, 17, 20, 23]]


def write(path, lines):
  path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
  return str(path)


def test_labelled_texts(tmp_path):
  path = write(tmp_path / "a.tsv", [
      "\ufeffgood\tone\ttwo ", "", " 好 \t 今天天气很好 ", "bad\tlast"])
  assert labelled_texts.read(path) == (
      path, ["good", "好", "bad"], ["one\ttwo", "今天天气很好", "last"])
  packed = tmp_path / "a.tsv.gz"
  packed.write_bytes(gzip.compress((tmp_path / "a.tsv").read_bytes()))
  assert labelled_texts.read(str(packed))[1:] == (
      labelled_texts.read(path)[1:])


@pytest.mark.parametrize("line, what", [
    ("no label here", "line 2: \"no label here\" has no tab"),
    ("\tno label", "line 2: .* has no label"),
    ("label\t ", "line 2: .* has no text")])
def test_a_line_that_is_none(tmp_path, line, what):
  path = write(tmp_path / "a.tsv", ["x\ty", line])
  with pytest.raises(ValueError, match="a.tsv, " + what):
    labelled_texts.read(path)


def test_files_that_are_none(tmp_path):
  (tmp_path / "latin.tsv").write_bytes(b"a\tb\na\tcaf\xe9\n")
  with pytest.raises(ValueError, match="latin.tsv is not UTF-8: .*line 2"):
    labelled_texts.read(str(tmp_path / "latin.tsv"))
  assert len(labelled_texts.read(
      str(tmp_path / "latin.tsv"), "replace").texts) == 2
  with pytest.raises(ValueError, match="empty.tsv has no labelled texts"):
    labelled_texts.read(write(tmp_path / "empty.tsv", [" "]))


def test_draws_are_a_function_of_the_seed():
  """Those of a number of draws are the first of any more."""
  draws = labelled_texts.draw(LABELS, 5, 3, 7)
  assert draws == RECORDED_DRAWS
  assert labelled_texts.draw(LABELS, 5, 8, 7)[:3] == draws
  assert labelled_texts.draw(LABELS, 5, 3, 8) != draws
  assert all(len(set(drawn)) == 5 for drawn in draws)
  counts = collections.Counter(
      i for drawn in labelled_texts.draw(LABELS, 5, 300, 7) for i in drawn)
  assert len(counts) == 30 and max(counts.values()) < 100


def test_fewer_texts_are_used_once():
  assert labelled_texts.draw(LABELS, 30, 8, 7) == [list(range(30))]


def test_a_draw_has_two_classes():
  labels = ["common"] * 200 + ["rare"]
  for drawn in labelled_texts.draw(labels, 2, 20, 7):
    assert 200 in drawn and len(set(drawn)) == 2
