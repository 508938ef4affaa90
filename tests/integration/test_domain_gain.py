"""The benchmark domain_gain: texts, statistics, stored results, a run."""

import gzip
import json
import os
import random
import shutil
import subprocess
import sys

import forked_programs
import numpy as np
import pytest
from hugging_face_models import random_variables
from program import CONFIG, ROOT, VOCAB, WORDS, text

import modeling
from bert_e2e.checkpoints import hugging_face
from bert_e2e.data import labelled_texts

FOLDER = os.path.join(ROOT, "benchmarks")
# Last: modules of both folders have one name.
sys.path.append(FOLDER)

import domain_gain  # noqa: E402
from gain import debian_packages, manual_pages, results, tasks, texts  # noqa: E402

PACKAGES = """Package: b-tools
Source: b (1.2-3)
Section: contrib/games
Description: game
 with more
Description-md5: 2

Package: a
Section: net
Description-md5: 1

Package: without
Section: net
Description-md5: 3
"""
DESCRIPTIONS = """Package: a
Description-md5: 1
Description-en: tool for networks
 It reads packets. It writes
 them, e.g. to files.
 .
 Features:
  * one
    goes on
  - two

Package: b-tools
Description-md5: 2
Description-en: game
"""


def package(name, *lines, **changes):
  fields = dict({"source": name, "section": "net"}, **changes)
  return debian_packages.Package(name, lines=lines, **fields)


def written(path, content):
  path.write_text(content)
  return str(path)


# ----------------------------------------------------------- Debian packages


def test_reads_packages(tmp_path):
  packages = written(tmp_path / "Packages", PACKAGES)
  descriptions = written(tmp_path / "Translation-en", DESCRIPTIONS)
  assert debian_packages.read_packages([packages], [descriptions]) == [
      package("a", "tool for networks", "It reads packets.",
              "It writes them, e.g. to files.", "Features:", "one goes on",
              "two"),
      package("b-tools", "game", source="b", section="games")]


def test_stanzas():
  assert list(debian_packages.stanzas([
      "\n", "A: 1\n", " 2\n", "B:\n", "\n", "\n", "A: x: y"])) == [
      {"A": "1\n 2", "B": ""}, {"A": "x: y"}]


def test_a_file_that_cannot_be_unpacked(tmp_path):
  path = written(tmp_path / "Packages.xz", "no archive")
  if not os.path.exists(debian_packages._APT_HELPER):
    pytest.skip("No apt here.")
  with pytest.raises(ValueError, match="Packages.xz cannot be unpacked"):
    debian_packages.read_packages([path], [])


def test_unpacks_what_apt_unpacks(tmp_path):
  if not os.path.exists(debian_packages._APT_HELPER):
    pytest.skip("No apt here.")
  path = written(tmp_path / "a", PACKAGES)
  subprocess.check_call(["gzip", path])
  with debian_packages.lines_in(path + ".gz") as stream:
    assert "".join(stream) == PACKAGES


def test_the_source_decides_the_split():
  splits = [texts.split_of("source%d" % n) for n in range(1000)]
  assert splits == [texts.split_of("source%d" % n) for n in range(1000)]
  assert 150 < splits.count("test") < 250
  assert 60 < splits.count("validation") < 140


def test_sections_label_one_package_per_source():
  long = " ".join(WORDS[:10])
  packages = [
      package("a", long), package("a-data", long, "five", source="a"),
      package("short", "two words"), package("b", long, section="libs"),
      package("c", long, section="games")]
  found = tasks.sections(packages)
  assert found == tasks.sections(packages[::-1])
  labelled = [item for items in found.labelled.values() for item in items]
  assert sorted(labelled) in (
      [("games", long), ("net", long)], [("games", long),
                                         ("net", long + " five")])
  documents = [sorted(lines) for split in found.documents.values()
               for lines in split]
  assert sorted(documents) == sorted([[long], ["five", long], ["two words"]])


# ---------------------------------------------------------------- manual pages


PAGE = r"""'\" t
.\" A comment.
.TH open 2
.SH NAME
open \- open a file
.SH "RETURN VALUE"
On success,
.BR open ()
returns a \fIfile\-descriptor\fP.
It is \(aqnew\(aq (see
.IR fd "(2), e.g."
 Linux).
.PP
.nf
    int code = 1;
.fi
.TP
.B EACCES
The file may not be \*(lqread\*(rq.
.TS
l l.
a	b
.TE
.SH ERRORS
.TP
.B "TWO WORDS"
.\" between
Nothing is wrong. (But see below.) And
"""


def test_a_manual_page():
  assert manual_pages.parse("open.2", PAGE.replace("\\\\", "\\")) == (
      "open.2", [
          ("NAME", ["open - open a file"]),
          ("RETURN VALUE", [
              "On success, open() returns a file-descriptor.",
              "It is 'new' (see fd(2), e.g. Linux).",
              "The file may not be read."]),
          ("ERRORS", ["Nothing is wrong.", "(But see below.)", "And"])])


def test_a_page_of_other_macros_is_none():
  assert manual_pages.parse("ls.1", ".Dd today\n.Sh NAME\ntext\n") is None


def test_reads_the_english_pages_of_a_package(tmp_path):
  if not shutil.which("dpkg-deb"):
    pytest.skip("No dpkg here.")
  package_of_pages(tmp_path, {"fr/man2/open.2": "un", "man2/open.2": "one",
                              "fr/man3/a.3": "deux"})
  assert [(page.name, page.sections) for page in manual_pages.read(
      str(tmp_path / "pages.deb"), "fr")] == [
          ("open.2", [("NOTES", ["un"])]), ("a.3", [("NOTES", ["deux"])])]
  with pytest.raises(ValueError, match="no.deb cannot be unpacked"):
    list(manual_pages.read(written(tmp_path / "no.deb", "no archive"), "fr"))


def package_of_pages(directory, pages, part="NOTES"):
  """Writes a Debian package of manual pages; returns its path.

  Args:
    directory: pathlib.Path.
    pages: dict from a path below usr/share/man to text of a section, or to a
      whole page if it starts with a macro.
    part: str, the section.
  """
  root = directory / "package"
  (root / "DEBIAN").mkdir(parents=True)
  (root / "DEBIAN" / "control").write_text(
      "Package: pages\nVersion: 1\nArchitecture: all\nMaintainer: me <a@b.c>\n"
      "Description: pages\n")
  for name, content in pages.items():
    path = root / "usr/share/man" / (name + ".gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(str(path), "wt") as stream:
      stream.write(content if content.startswith(".") else
                   ".SH %s\n%s\n" % (part, content))
  subprocess.run(["dpkg-deb", "-b", str(root), str(directory / "pages.deb")],
                 check=True, stdout=subprocess.PIPE)
  return str(directory / "pages.deb")


def test_parts_label_sentences_that_occur_once():
  long = "one two three four five six seven eight %s"
  pages = [
      manual_pages.Page("a.1", [("NOTES", [long % "nine", "Short one."]),
                                ("VOIR AUSSI", [long % "b(1)"]),
                                ("HISTORY", [long % "ten"])]),
      manual_pages.Page(
          "b.1", [("ERREURS", [long % "NINE.", long % "twelve"])])]
  found = tasks.parts(pages)
  assert [item for items in found.labelled.values() for item in items] == [
      ("ERREURS", long % "twelve")]
  documents = [lines for split in found.documents.values() for lines in split]
  assert sorted(documents) == sorted([
      [long % "nine", "Short one.", long % "ten"],
      [long % "NINE.", long % "twelve"]])


def test_no_label_has_too_many_texts():
  labelled = [("a", str(n)) for n in range(5)] + [("b", "x")]
  assert tasks._at_most(labelled, 2) == [("a", "0"), ("a", "1"), ("b", "x")]


# ------------------------------------------- ---- removing held-out text


HELD_OUT = ["A game of old wars, for two!", "Few words.",
            "It has six words or more."]


@pytest.mark.parametrize("lines, kept", [
    (["before", "IT has six  words, or more", "behind"], ["before", "behind"]),
    (["And yes: it has six words or more of it", "x"], ["x"]),
    (["it has six", "words or more", "x"], ["x"]),  # Over two lines.
    (["it has six words", "or less"], ["it has six words", "or less"]),
    (["Few words.", "x"], ["Few words.", "x"]),
    # Removing one phrase joins the parts of another.
    (["it has six", "a game of old wars for two", "words or more", "x"], ["x"]),
])
def test_phrases_are_removed(lines, kept):
  assert texts.Phrases([HELD_OUT]).remove_from(lines) == kept


def test_a_whole_description_of_short_lines():
  phrases = texts.Phrases([["one two three", "four five six"]])
  assert phrases.remove_from(["one two three four", "five six"]) == []
  assert phrases.remove_from(["one two three", "x"]) == ["one two three", "x"]


def test_writes_each_document_once(tmp_path):
  path = str(tmp_path / "text")
  documents = [["x", "y"], ["x", "it has six words or more", "y"],
           ["it has six words or more"], ("z",)]
  phrases = texts.Phrases([HELD_OUT])
  assert texts.write_text(path, documents, phrases) == (2, 3, 2)
  assert list(texts.documents(path)) == [["x", "y"], ["z"]]
  texts.check_disjoint(path, phrases)
  assert texts.write_text(path, documents) == (4, 7, 0)


def test_the_check_finds_a_leak(tmp_path):
  path = written(tmp_path / "text", "x\n\ny\nIt has six words or more.\n")
  with pytest.raises(ValueError, match=r"text contains held-out text: "
                     r"'It has six words or more.'"):
    texts.check_disjoint(path, texts.Phrases([HELD_OUT]))


def test_the_files_of_tasks(tmp_path):
  """No text of a split is in the pretraining text of any task."""
  held_out = "it has six words or more"
  corpora = [
      tasks.Corpus("one", {"training": [["x y"], [held_out, "z"]],
                           "validation": [], "test": [["a b c d e f g"]]},
                   {"training": [("l", "p"), ("l", held_out), ("m", "q")],
                    "validation": [("m", "r")], "test": [("l", "s")]}),
      tasks.Corpus("two", {"training": [["k", "So: a b c d e f g"]],
                           "validation": [[held_out]], "test": [["v"]]},
                   {split: [("l", split)] for split in (
                       "training", "validation", "test")})]
  said = []
  one, two = tasks.write(corpora, str(tmp_path), dict.fromkeys(
      ("training", "validation", "test"), 2), said.append)
  assert list(texts.documents(one.text)) == [["x y"], ["z"]]
  assert list(texts.documents(two.text)) == [["k"]]
  assert list(texts.documents(one.held_out)) == [["a b c d e f g"]]
  assert labelled_texts.read(one.labelled["training"])[1:] == (
      ["l", "m"], ["p", "q"])
  assert "1 lines with held-out text removed" in said[0]
  corpora[0].labelled["test"].clear()
  with pytest.raises(ValueError, match="one: the test split has no labelled"):
    tasks.write(corpora, str(tmp_path), dict.fromkeys(
        ("training", "validation", "test"), 2), said.append)


# ------------------------------------------------------------------ statistics


def predictions(classes, labels):
  return results.Predictions(np.array(classes), np.array(labels))


def test_accuracy_and_f1():
  found = predictions([[[0, 0, 1, 1, 4, 5], [0, 0, 0, 1, 2, 5]]],
                      [0, 0, 0, 1, 2, 5])
  np.testing.assert_allclose(found.accuracy(), [[400 / 6, 100]])
  # Of 0: 2 of 3 and 2 of 2. Of 1: 1 of 1 and 1 of 2. 2: never.
  np.testing.assert_allclose(
      found.macro_f1(), [[100 * (0.8 + 2 / 3 + 0 + 1) / 4, 100]])


def test_macro_f1_is_that_of_scikit_learn():
  metrics = pytest.importorskip("sklearn.metrics")
  rng = np.random.RandomState(0)
  labels, classes = rng.randint(4, size=50), rng.randint(5, size=50)
  assert predictions([[classes]], labels).macro_f1()[0, 0] == pytest.approx(
      100 * metrics.f1_score(labels, classes, average="macro",
                             labels=np.unique(labels)))


def test_the_interval_of_a_difference():
  """Of independent hits it is that of the normal distribution."""
  rng = np.random.RandomState(0)
  count = 4000
  labels = np.ones([count], int)
  ours = predictions((rng.rand(1, 1, count) < 0.6).astype(int), labels)
  theirs = predictions((rng.rand(1, 1, count) < 0.5).astype(int), labels)
  found = results.difference(ours, theirs)
  assert found.mean == pytest.approx(
      ours.accuracy()[0, 0] - theirs.accuracy()[0, 0])
  expected = 1.96 * 100 * np.sqrt((0.24 + 0.25) / count)
  assert found.high - found.mean == pytest.approx(expected, rel=0.15)
  assert found.mean - found.low == pytest.approx(expected, rel=0.15)


def test_differences_are_of_pairs():
  """What is the same for both arms does not widen the interval."""
  rng = np.random.RandomState(0)
  hits = (rng.rand(1, 6, 500) < 0.5).astype(int)
  hits[:, :, 0] = 0
  better = np.array(hits)
  better[:, :, 0] = 1
  labels = np.ones([500], int)
  found = results.difference(
      predictions(np.repeat(better, 2, axis=0), labels),
      predictions(hits, labels))
  assert found.mean == pytest.approx(0.2)
  assert 0 <= found.low and found.high < 1
  same = results.difference(predictions(hits, labels),
                            predictions(hits, labels))
  assert same == (0, 0, 0) and str(same) == "+0.0 (+0.0 to +0.0)"


def test_spread():
  assert results.spread([[50.0], [70.0]]) == "60.0 ± 14.1"
  assert results.spread([0.5], 2) == "0.50"


# -------------------------------------------------------------- stored results


def test_a_result_is_computed_once(tmp_path):
  path = str(tmp_path / "results.jsonl")
  store = results.Store(path, {"rates": [1, 2]})
  assert store.get("a", 1, compute=lambda: [[1, 2], 0.5]) == [[1, 2], 0.5]
  # The program is killed while it writes the next one.
  with open(path, "a") as stream:
    stream.write('{"key": "a / 2", "va')
  for _ in range(2):
    store = results.Store(path, {"rates": [1, 2]})
    assert store.get("a", 1, compute=lambda: pytest.fail()) == [[1, 2], 0.5]
    assert store.get("a", 2, compute=lambda: 3) == 3
  with open(path) as stream:
    assert [json.loads(line)["key"] for line in stream] == [
        "settings", "a / 1", "a / 2"]
  with pytest.raises(ValueError, match="results of other settings"):
    results.Store(path, {"rates": [1, 3]})


# ------------------------------------------------------------ a whole small run


def model_folder(folder):
  folder.mkdir()
  config = modeling.BertConfig.from_dict(dict(
      CONFIG, hidden_act="gelu", hidden_dropout_prob=0.1))
  hugging_face.write(str(folder), random_variables(config), config,
                     ("\n".join(VOCAB) + "\n").encode(), True)
  return str(folder)


def archive(folder, count):
  """Writes apt's two files on packages whose words tell their section."""
  packages, descriptions = [], []
  rng = random.Random(0)
  for n in range(count):
    section = tasks.SECTIONS[n % 2]
    words = rng.choices(WORDS[20 * (n % 2):][:20], k=12)
    packages.append("Package: p%d\nSection: %s\nDescription-md5: %d\n" %
                    (n, section, n))
    descriptions.append(
        "Package: p%d\nDescription-md5: %d\nDescription-en: %s n%d\n %s\n" %
        (n, n, " ".join(words[:4]), n, " ".join(words[4:])))
  return ["--packages=" + written(folder / "Packages", "\n".join(packages)),
          "--descriptions=" + written(folder / "Translation-en",
                                      "\n".join(descriptions))]


def manuals(folder, count):
  """Writes a package of manual pages with two parts each."""
  rng = random.Random(1)

  def sentences():
    return "\n.PP\n".join(
        " ".join(rng.choices(WORDS, k=9)) + "." for _ in range(3))

  return package_of_pages(folder, {
      "fr/man1/p%d.1" % n: ".SH NOTES\n%s\n.SH ERREURS\n%s\n" % (
          sentences(), sentences()) for n in range(count)})


@pytest.mark.slow
def test_a_whole_run_and_its_repetition(tmp_path):
  if not shutil.which("dpkg-deb"):
    pytest.skip("No dpkg here.")
  pytest.importorskip("sklearn")
  out = str(tmp_path / "out")
  command = [
      os.path.join(FOLDER, "domain_gain.py"), "--quick", "--tasks=parts",
      "--max_seq_length=16",
      "--model=" + model_folder(tmp_path / "model"), "--output_dir=" + out,
      "--manuals=" + manuals(tmp_path, 40),
      "--general=" + written(tmp_path / "general", text(30, 50))
  ] + archive(tmp_path, 150)
  first = forked_programs.run(command, subprocess.PIPE)
  assert first.returncode == 0, first.stderr
  lines = first.stdout.splitlines()
  assert " cores, Python " in lines[0] and ", TensorFlow " in lines[0]
  rows = [line.strip("| ").split(" | ") for line in lines
          if line.startswith("| ")]
  cells = [row for row in rows if row[0] in domain_gain.ARMS]
  # Frozen, fine-tuned, and losses.
  assert len(cells) == 6 + 3 + 3
  for row in cells:
    for cell in row[1:]:
      assert 0 <= float(cell.split(" ")[0]) <= 100
  assert sum("minus as it is" in row[0] for row in rows) == 5 + 2
  # The second time, everything is known.
  with open(os.path.join(out, "results.jsonl")) as stream:
    before = stream.read()
  again = forked_programs.run(command, subprocess.PIPE)
  assert again.returncode == 0, again.stderr
  assert again.stdout.splitlines()[:-1] == lines[:-1]
  with open(os.path.join(out, "results.jsonl")) as stream:
    assert stream.read() == before
  assert sorted(os.listdir(os.path.join(out, "models"))) == [
      "parts_half_1", "parts_plain_1", "parts_recommended_1", "sections_half_1",
      "sections_recommended_1", "start"]
