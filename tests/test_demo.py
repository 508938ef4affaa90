"""The demo's parts: corpus, vocabulary, what it measures and what it prints."""

import json
import os
import re
import struct
from pydoc_data import topics

import pytest

import tokenization
from demo import build_vocab, demo, prepare_corpus

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
  assert demo.holds_examples(str(path)) is expected


def test_tells_examples_that_tensorflow_wrote(tmp_path):
  tf = demo.e2e.tf
  path = str(tmp_path / "examples.tfrecord")
  example = tf.train.Example()
  example.features.feature["input_ids"].int64_list.value.extend(range(300))
  with tf.python_io.TFRecordWriter(path) as writer:
    writer.write(example.SerializeToString())
    writer.write(example.SerializeToString())
  assert demo.holds_examples(path)
  with tf.Graph().as_default():
    events = tf.summary.FileWriter(str(tmp_path))
    events.add_session_log(tf.SessionLog(status=tf.SessionLog.START), 1)
    events.close()
  written, = tmp_path.glob("events.out.tfevents.*")
  assert not demo.holds_examples(str(written))


def test_intermediate_files(tmp_path):
  for folder in ("eval", "tmp", "model.ckpt-10_temp_1"):
    (tmp_path / folder).mkdir()
  for name in ("model.ckpt-10_temp_1/part-00000-of-00001.index", "tmp/tmp1.py",
               "checkpoint", "model.ckpt-10.index", "graph.pbtxt", "train.log",
               "eval_results.txt", "model.ckpt-10.data-00000-of-00001"):
    (tmp_path / name).write_bytes(b"x" * 7)
  (tmp_path / "eval" / "events.out.tfevents.123.host").write_bytes(EVENTS)
  assert demo.intermediate_files(str(tmp_path)) == {}
  stray = tmp_path / "eval" / "part-00000-of-00001"
  stray.write_bytes(b"12345")
  disguised = tmp_path / "events.out.tfevents.124.host"
  disguised.write_bytes(EXAMPLES)
  assert demo.intermediate_files(str(tmp_path)) == {
      str(stray): 5, str(disguised): len(EXAMPLES)}


def test_python_trying_the_folder_is_no_intermediate_file(tmp_path):
  (tmp_path / "random name").write_bytes(b"blat")
  assert demo.intermediate_files(str(tmp_path)) == {}
  (tmp_path / "random name").write_bytes(b"blah")
  assert len(demo.intermediate_files(str(tmp_path))) == 1


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


# -------------------------------------------------------------- what it prints


GOOD = demo.Outcome(steps=demo.STEPS, loss=(9.0, 4.5), accuracy=(0.001, 0.25),
                    baseline=0.05, examples=32000, seconds=100.0,
                    intermediate_bytes=0)


def test_last_line():
  assert demo.summary(GOOD)[-1] == (
      "demo: steps=%d loss=9.000->4.500 accuracy=0.001->0.250 baseline=0.050"
      " examples=32000 intermediate_bytes=0" % demo.STEPS)


@pytest.mark.parametrize("change, words", [
    ({}, None),
    ({"intermediate_bytes": 1}, "intermediate files"),
    ({"loss": (9.0, 9.0)}, "loss did not fall"),
    ({"accuracy": (0.25, 0.25)}, "did not rise"),
    ({"baseline": 0.24}, "not clearly above"),
    ({"baseline": 0.24, "steps": 40}, None),
    ({"accuracy": (0.05, 0.04), "steps": 40}, "did not rise"),
])
def test_shortcomings(change, words):
  found = demo.shortcomings(GOOD._replace(**change))
  assert len(found) == (words is not None)
  assert words is None or words in found[0]


def test_reads_what_the_program_wrote(tmp_path):
  (tmp_path / "eval_results.txt").write_text("global_step = 20\nloss = 6.5\n")
  assert demo.read_results(str(tmp_path)) == {"global_step": 20, "loss": 6.5}
  (tmp_path / "train.log").write_text(
      "INFO: 768 examples built for training, none of them written to disk\n"
      "INFO: 115 examples built for evaluation, none of them written to disk\n")
  assert demo.examples_built(str(tmp_path)) == 768
