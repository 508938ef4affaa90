"""The benchmark domain_gain: data, metrics, a whole small run."""

import os
import random
import re
import subprocess
import sys

import forked_programs
import numpy as np
import pytest
from hugging_face_models import random_variables
from program import CONFIG, ROOT, VOCAB, WORDS, text

import modeling
from bert_e2e.checkpoints import hugging_face

FOLDER = os.path.join(ROOT, "benchmarks")
# Last: modules of both folders have one name.
sys.path.append(FOLDER)

import domain_gain as gain  # noqa: E402

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
  return gain.Package(name, lines=lines, **fields)


def written(path, content):
  path.write_text(content)
  return str(path)


# --------------------------------------------------------------------- the data


def test_reads_packages(tmp_path):
  packages = written(tmp_path / "Packages", PACKAGES)
  descriptions = written(tmp_path / "Translation-en", DESCRIPTIONS)
  assert gain.read_packages([packages], [descriptions]) == [
      package("a", "tool for networks", "It reads packets.",
              "It writes them, e.g. to files.", "Features:", "one goes on",
              "two"),
      package("b-tools", "game", source="b", section="games")]


def test_stanzas():
  assert list(gain.stanzas(["\n", "A: 1\n", " 2\n", "B:\n", "\n", "\n",
                            "A: x: y"])) == [
      {"A": "1\n 2", "B": ""}, {"A": "x: y"}]


def test_a_file_that_cannot_be_unpacked(tmp_path):
  path = written(tmp_path / "Packages.xz", "no archive")
  if not os.path.exists(gain._APT_HELPER):
    pytest.skip("No apt here.")
  with pytest.raises(ValueError, match="Packages.xz cannot be unpacked"):
    gain.read_packages([path], [])


def test_unpacks_what_apt_unpacks(tmp_path):
  if not os.path.exists(gain._APT_HELPER):
    pytest.skip("No apt here.")
  path = written(tmp_path / "a", PACKAGES)
  subprocess.check_call(["gzip", path])
  with gain.lines_in(path + ".gz") as stream:
    assert "".join(stream) == PACKAGES


def test_the_source_decides_the_split():
  splits = [gain.split_of("source%d" % n) for n in range(1000)]
  assert splits == [gain.split_of("source%d" % n) for n in range(1000)]
  assert 150 < splits.count("test") < 250
  assert 60 < splits.count("validation") < 140


def test_labels_one_package_per_source():
  long = " ".join(WORDS[:10])
  packages = [
      package("a", long), package("a-data", long, source="a"),
      package("short", "two words"), package("b", long, section="libs"),
      package("c", long, section="games")]
  found = gain.labelled(packages)
  assert {p.source for p in found} == {"a", "c"}
  assert len(found) == 2
  assert gain.labelled(packages[::-1]) == found


def test_one_document_per_source():
  assert gain.documents_of([
      package("a", "one", "two"), package("b", "three"),
      package("libc", "four", section="libs"),
      package("a-data", "one", "five", source="a")]) == [
          ["one", "two", "five"], ["three"]]


# ------------------------------------------- removing test packages from texts


HELD_OUT = package("held", "A game of old wars, for two!", "Few words.",
                   "It has six words or more.")


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
  assert gain.Phrases([HELD_OUT]).remove_from(lines) == kept


def test_a_whole_description_of_short_lines():
  phrases = gain.Phrases([package("p", "one two three", "four five six")])
  assert phrases.remove_from(["one two three four", "five six"]) == []
  assert phrases.remove_from(["one two three", "x"]) == ["one two three", "x"]


def test_writes_each_document_once(tmp_path):
  path = str(tmp_path / "text")
  texts = [["x", "y"], ["x", "it has six words or more", "y"],
           ["it has six words or more"], ("z",)]
  phrases = gain.Phrases([HELD_OUT])
  assert gain.write_text(path, texts, phrases) == (2, 3, 2)
  assert list(gain.documents(path)) == [["x", "y"], ["z"]]
  gain.check_disjoint(path, phrases)
  assert gain.write_text(path, texts) == (4, 7, 0)


def test_the_check_finds_a_leak(tmp_path):
  path = written(tmp_path / "text", "x\n\ny\nIt has six words or more.\n")
  with pytest.raises(ValueError, match=r"text contains text of a held-out "
                     r"package: 'It has six words or more.'"):
    gain.check_disjoint(path, gain.Phrases([HELD_OUT]))


# ------------------------------------------------------------------ the metrics


def test_accuracy_and_f1():
  labels = np.array([0, 0, 0, 1, 2, 5])
  predicted = np.array([0, 0, 1, 1, 4, 5])
  assert gain.accuracy(labels, predicted) == pytest.approx(4 / 6)
  # Of 0: 2 of 3 and 2 of 2. Of 1: 1 of 1 and 1 of 2. 2 and 4: never both.
  assert gain.macro_f1(labels, predicted) == pytest.approx(
      (0.8 + 2 / 3 + 0 + 0 + 1) / 5)
  assert gain.macro_f1(labels, labels) == 1


def test_spread():
  assert gain.spread([0.5, 0.7], 100, 1) == "60.0 ± 14.1"
  assert gain.spread([0.5], 1, 2, sign="+") == "+0.50"


def test_differences_are_of_pairs():
  results = {
      gain.BEFORE: {"accuracy": [0.1, 0.5], "macro-F1": [0, 0],
                    "domain loss": [9], "general loss": [8]},
      gain.DOMAIN: {"accuracy": [0.2, 0.6], "macro-F1": [0, 0],
                    "domain loss": [4, 4], "general loss": [7, 9]},
      gain.CONTROL: {"accuracy": [0.1, 0.4], "macro-F1": [0, 0],
                     "domain loss": [5, 5], "general loss": [8, 8]}}
  lines = gain.table(results)
  assert lines[2] == ("| unchanged | 30.00 ± 28.28 | 0.00 ± 0.00 | 9.000 | "
                      "8.000 |")
  assert lines[5] == (
      "| after the domain's text, minus unchanged | +10.00 ± 0.00 | "
      "+0.00 ± 0.00 | -5.000 ± 0.000 | +0.000 ± 1.414 |")
  assert len(lines) == 8


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
    section = gain.SECTIONS[n % 2]
    words = rng.choices(WORDS[20 * (n % 2):][:20], k=12)
    packages.append("Package: p%d\nSection: %s\nDescription-md5: %d\n" %
                    (n, section, n))
    descriptions.append(
        "Package: p%d\nDescription-md5: %d\nDescription-en: %s n%d\n %s\n" %
        (n, n, " ".join(words[:4]), n, " ".join(words[4:])))
  return ["--packages=" + written(folder / "Packages", "\n".join(packages)),
          "--descriptions=" + written(folder / "Translation-en",
                                      "\n".join(descriptions))]


def small_run(tmp_path, count, *arguments):
  command = [os.path.join(FOLDER, "domain_gain.py"), "--quick",
             "--max_seq_length=16"]
  command += ["--model=" + model_folder(tmp_path / "model")]
  command += archive(tmp_path, count)
  command += ["--control=" + written(tmp_path / "control", text(30)),
              "--general=" + written(tmp_path / "general", text(30, 50))]
  return forked_programs.run(command + list(arguments), subprocess.PIPE)


@pytest.mark.slow
def test_a_whole_run(tmp_path):
  result = small_run(tmp_path, 150)
  assert result.returncode == 0, result.stderr
  lines = result.stdout.splitlines()
  assert " cores, Python " in lines[0] and ", TensorFlow " in lines[0]
  rows = [line.strip("| ").split(" | ") for line in lines
          if line.startswith("| ")]
  assert [row[0] for row in rows[1:4]] == list(gain.ARMS)
  for row in rows[1:4]:
    right, f1, domain_loss, general_loss = map(float, row[1:])
    assert 0 <= f1 <= 100 and 0 <= right <= 100
    assert 1 < domain_loss < 10 and 1 < general_loss < 10
  assert len(rows) == 7
  assert re.match(r"\d+ packages for test; [\d.]+ % of them are in \w+\.$",
                  lines[-2])
  assert re.match(r"\d+ s of wall-clock time, \d+ s of CPU time$", lines[-1])


@pytest.mark.slow
def test_fine_tuning_learns_and_repeats_itself(tmp_path):
  """Two sections with words of their own."""
  config = modeling.BertConfig.from_dict(CONFIG)
  rng = np.random.RandomState(0)
  labels = rng.randint(0, 2, 96).astype(np.int32)
  ids = rng.randint(5, 25, [96, 8]).astype(np.int32) + 20 * labels[:, None]
  checkpoint = str(tmp_path / "bert_model.ckpt")
  save(checkpoint, random_variables(config))
  options = gain.parse([
      "--model=", "--packages=", "--descriptions=", "--control=", "--general=",
      "--epochs=60", "--fine_tuning_learning_rate=1e-2"])
  predicted = [gain.fine_tune(options, config, checkpoint,
                              (ids[:64], labels[:64]), ids[64:], seed=3)
               for _ in range(2)]
  assert gain.accuracy(labels[64:], predicted[0]) == 1
  np.testing.assert_array_equal(*predicted)


def save(path, variables):
  tf = gain.tf
  with tf.Graph().as_default(), tf.Session() as session:
    for name, value in variables.items():
      tf.get_variable(name, initializer=value)
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, path)


@pytest.mark.parametrize("count, arguments, message", [
    (10, [], "have 7 labelled packages for training and 3 for test; at least 32"
     " and 1 are required"),
    (10, ["--packages=nowhere/P*"], "No file matches nowhere/P*."),
    (10, ["--control=nowhere"], "No such file or directory: 'nowhere'"),
])
def test_input_errors_are_one_sentence(tmp_path, count, arguments, message):
  result = small_run(tmp_path, count, *arguments)
  assert result.returncode == 1
  assert message in result.stderr.splitlines()[-1]
  assert "Traceback" not in result.stderr
