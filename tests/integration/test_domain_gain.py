"""The benchmark domain_gain: texts, statistics, stored results, a run."""

import json
import os
import random
import subprocess
import sys
import zipfile

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
from gain import (  # noqa: E402
  debian_packages,
  models,
  python_sources,
  results,
  tasks,
  texts,
)

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


# -------------------------------------------------------------- Python sources


SOURCE = '''# The license of this file.
"""Reads files. It also writes them."""

class Reader:
  """Reads, e.g. text.

  It opens (and closes) files. `None` is none.

      code = 1

  Args:
    path (str): where the file is.

  Returns:
    A reader of it. Never None.
  """

  def read(self, size):
    """Reads from it.

    Parameters
    ----------
    size : int
        How much to read. All if it is 0.
    """
    # The first line of a comment
    # goes on here. And ends.
    #
    # x = 1  # Behind code.
    x = "# no comment"  # Behind code, too.
    if size < 0:
      raise ValueError("The size of %s is %d, %(name)r." % (1, 2))
    raise OSError(f"There is no {x}, " + "or {0} not.".format(x) + str(x))

def skip(n):
  """Skips lines.

  :param n: how many to skip.
  :returns: the next one.
  """
  raise ValueError

def close():
  """Closes it.

  @return: L{True} if it was open.
  """
  raise make("error")(n)
'''


def test_a_python_source():
  assert python_sources.parse("reader.py", SOURCE) == ("reader.py", [
      ("summary", "Reads files."), ("summary", "It also writes them."),
      ("summary", "Reads, e.g. text."),
      ("details", "It opens (and closes) files."),
      ("details", "`None` is none."),
      ("parameter", "where the file is."), ("returns", "A reader of it."),
      ("returns", "Never None."), ("summary", "Reads from it."),
      ("parameter", "How much to read."), ("parameter", "All if it is 0."),
      ("comment", "The first line of a comment goes on here."),
      ("comment", "And ends."), ("comment", "x = 1 # Behind code."),
      ("error", "The size of X is X, X."),
      ("error", "There is no X, or X not.X"),
      ("summary", "Skips lines."), ("parameter", "how many to skip."),
      ("returns", "the next one."), ("summary", "Closes it."),
      ("returns", "L{True} if it was open.")])


def test_a_source_of_another_python():
  with pytest.raises(SyntaxError):
    python_sources.parse("old.py", "print 1\n")


def wheel(path, sources):
  """Writes a wheel of sources; returns its path."""
  with zipfile.ZipFile(str(path), "w") as archive:
    for name, source in sources.items():
      archive.writestr(name, source)
  return str(path)


def test_reads_a_wheel(tmp_path):
  path = wheel(tmp_path / "a.whl", {
      "a/b.py": "# One.\n", "a/test_b.py": "# Two.\n", "a/old.py": "print 1",
      "a/data.txt": "# Three.\n", "a/__init__.py": "", "a/a.py": "# Four.\n",
      "a/latin.py": "# \u00e9\n".encode("latin-1")})
  assert list(python_sources.read(path)) == [
      ("a/a.py", [("comment", "Four.")]), ("a/b.py", [("comment", "One.")])]
  with pytest.raises(ValueError, match="no.whl is no wheel: "):
    list(python_sources.read(written(tmp_path / "no.whl", "no archive")))


def test_kinds_label_sentences_that_occur_once():
  long = "one two three four five six %s"
  modules = [
      python_sources.Module("a.py", [
          ("summary", long % "seven"), ("comment", "Short one."),
          ("comment", long % "ten")]),
      python_sources.Module("b.py", [("error", long % "SEVEN.")])]
  found = tasks.kinds(modules)
  assert [item for items in found.labelled.values() for item in items] == [
      ("comment", long % "ten")]
  documents = [lines for split in found.documents.values() for lines in split]
  assert sorted(documents) == sorted([
      [long % "seven", "Short one.", long % "ten"], [long % "SEVEN."]])


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


def test_a_short_document_is_removed():
  phrases = texts.Phrases([["One two.", "Three."]])
  assert phrases.remove_from(["one", "two three"]) == []
  assert phrases.remove_from(["one two three", "x"]) == ["one two three", "x"]


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


def sources(path, count):
  """Writes a wheel of modules with sentences of two kinds."""
  rng = random.Random(1)

  def sentences():
    return " ".join(" ".join(rng.choices(WORDS, k=9)).capitalize() + "."
                    for _ in range(3))

  return wheel(path, {
      "p%d.py" % n: '"""%s"""\n# %s\n' % (sentences(), sentences())
      for n in range(count)})


def test_a_control_is_trained_again_to_be_evaluated(tmp_path):
  path = tmp_path / "kinds_recommended_1"
  assert not models.is_trained(str(path), None)
  path.mkdir()
  assert models.is_trained(str(path), None)
  assert not models.is_trained(str(path), "held_out.txt")
  (path / models._LOSSES).write_text("")
  assert models.is_trained(str(path), "held_out.txt")


@pytest.mark.slow
def test_a_whole_run_and_its_repetition(tmp_path):
  pytest.importorskip("sklearn")
  out = str(tmp_path / "out")
  command = [
      os.path.join(FOLDER, "domain_gain.py"), "--quick", "--tasks=kinds",
      "--max_seq_length=16",
      "--model=" + model_folder(tmp_path / "model"), "--output_dir=" + out,
      "--wheels=" + sources(tmp_path / "p.whl", 40),
      "--general=" + written(tmp_path / "general", text(30, 50))
  ] + archive(tmp_path, 150)
  first = forked_programs.run(
      command, subprocess.PIPE, forks_programs=True)
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
  again = forked_programs.run(
      command, subprocess.PIPE, forks_programs=True)
  assert again.returncode == 0, again.stderr
  assert again.stdout.splitlines()[:-1] == lines[:-1]
  with open(os.path.join(out, "results.jsonl")) as stream:
    assert stream.read() == before
  assert not models.is_trained(
      os.path.join(out, "models", "sections_recommended_1"), "held_out.txt")
  assert sorted(os.listdir(os.path.join(out, "models"))) == [
      "kinds_half_1", "kinds_plain_1", "kinds_recommended_1", "sections_half_1",
      "sections_recommended_1", "start"]
