"""preflight.py: what it finds is so, and it reads little to find it."""

import dataclasses
import gzip
import json
import os
import random
import subprocess
import sys
import time
from typing import Any, Dict, Sequence

import forked_programs
import pytest
from program import ROOT, WORDS

import create_pretraining_data as cpd
import show_examples
from bert_e2e.common import file_io
from bert_e2e.config import TokenizerConfig, matching_predictions
from bert_e2e.data import preflight, preflight_text
from bert_e2e.data import stream as stream_lib
from bert_e2e.data.corpus import Corpus
from bert_e2e.data.text_kinds import FoundKind

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CHINESE = "我们将学习大规模部署系统而非仅安装单台计算机"


@pytest.fixture
def write(tmp_path):
  """Returns a function that writes a file and returns its path."""

  def write(name, data):
    data = data.encode("utf-8") if isinstance(data, str) else data
    if name.endswith(".gz"):
      data = gzip.compress(data)
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)

  return write


@pytest.fixture
def options(write):
  """Returns a function that gives StreamOptions for a list of pieces."""

  def options(words=WORDS, do_lower_case=True, invalid_utf8="error", **values):
    vocab = write("vocab", "\n".join([*cpd.SPECIAL_TOKENS, *words]) + "\n")
    values = dict({"max_seq_length": 16, "max_predictions_per_seq": 3},
                  **values)
    return stream_lib.StreamOptions(
        vocab, TokenizerConfig(do_lower_case), cpd.InstanceOptions(**values),
        invalid_utf8=invalid_utf8)

  return options


def check(files, options, num_train_steps=10, num_warmup_steps=1, **changes):
  """Returns the Preflight of files, for a training with batches of 2."""
  return preflight.plan(
      preflight.check_text(Corpus(files), options, **changes),
      num_train_steps, num_warmup_steps, train_batch_size=2)


def names(found):
  return [item.name for item in found.warnings]


def random_text(rng, num_documents, words=WORDS, longest=8):
  """Returns documents of 1 to 9 sentences."""
  return "\n".join(
      "".join("%s\n" % " ".join(rng.choice(words) for _ in range(
          rng.randint(1, longest))) for _ in range(rng.randint(1, 9)))
      for _ in range(num_documents))


def first_epoch(files, options):
  """Returns the examples of the stream's first epoch, parsed; their bytes."""
  examples = list(stream_lib.ExampleStream(
      Corpus(files), options, num_epochs=1).examples())
  return ([show_examples.parse_example(e) for e in examples],
          sum(map(len, examples)))


# --------------------------------------------------------------- known answers


def test_counts_of_a_text(write, options):
  path = write("a.txt", "w0 w1 w2\nw3 xyz\n\n \n\nW5\n\n\u200b\n")
  found = check([path], options())
  assert (found.files, found.num_bytes) == (1, os.path.getsize(path))
  assert found.looked_at == found.num_bytes and not found.is_estimate
  assert (found.lines, found.documents, found.sentences) == (8, 2, 3)
  assert (found.tokens, found.unknown_share) == (6, round(1 / 6, 6))
  assert found.unknown_words == (("xyz", 1),)
  assert (found.sentences_per_document, found.one_sentence_share) == (1.5, 0.5)
  assert found.capital_share == 0.125
  assert found.long_sentence_share == 0


@pytest.mark.parametrize("last", ["", "\n", "\n\n", "\n \n"])
def test_the_end_of_a_file_ends_a_document(write, options, last):
  files = [write("%d.txt" % i, "w1 w2\nw3" + last) for i in range(3)]
  found = check(files, options())
  assert (found.files, found.documents, found.sentences) == (3, 3, 6)
  assert found.lines == 3 * (2 + (last.count("\n") == 2))


@pytest.mark.parametrize("case", [
    "one file", "many files", "gz", "one document", "chunks", "dupe_factor",
    "whole words", "chinese"])
def test_examples_are_those_of_the_first_epoch(write, options, case):
  rng = random.Random(case)
  words: Sequence[str] = WORDS
  changes: Dict[str, Any] = {}
  texts = [random_text(rng, 40)]
  if case == "many files":
    texts = [random_text(rng, 3) for _ in range(12)]
  elif case == "one document":
    texts = ["".join("w%d w2 w3\n" % (i % 40) for i in range(50))]
  elif case == "chunks":
    texts = [random_text(rng, 600)]
  elif case == "dupe_factor":
    changes = {"dupe_factor": 3}
  elif case == "whole words":
    changes = {"do_whole_word_mask": True, "short_seq_prob": 0.5}
  elif case == "chinese":
    words = CHINESE
    texts = [random_text(rng, 40, CHINESE)]
  files = [write("%d.txt%s" % (i, ".gz" * (case == "gz")), text)
           for i, text in enumerate(texts)]
  options = options(words, **changes)
  examples, num_bytes = first_epoch(files, options)
  lengths = sorted(sum(e["input_mask"]) for e in examples)
  found = check(files, options)
  count = len(examples)
  assert not found.is_estimate
  assert found.examples_per_epoch == count
  assert found.epochs == pytest.approx(20 / count, abs=1e-6)
  assert found.mean_length == pytest.approx(sum(lengths) / count, abs=1e-6)
  assert found.length_90 == lengths[-(-count * 9 // 10) - 1]
  assert found.padding_share == pytest.approx(
      1 - sum(lengths) / count / 16, abs=1e-6)
  assert found.random_pair_share == pytest.approx(
      sum(e["next_sentence_labels"][0] for e in examples) / count, abs=1e-6)
  assert found.example_bytes == pytest.approx(num_bytes / count, abs=1e-6)
  assert found.two_step_bytes == round(
      (num_bytes + 16 * count) * 10 / changes.get("dupe_factor", 1))
  assert found.unknown_share == 0


def test_two_steps_write_so_many_bytes(write, options, tmp_path):
  path = write("a.txt", random_text(random.Random(1), 200))
  found = check([path], options())
  output = str(tmp_path / "records")
  run = forked_programs.run([
      os.path.join(ROOT, "create_pretraining_data.py"),
      "--input_file=" + path, "--output_file=" + output,
      "--vocab_file=" + str(tmp_path / "vocab"), "--max_seq_length=16",
      "--max_predictions_per_seq=3"])
  assert run.returncode == 0, run.stdout
  assert found.two_step_bytes == pytest.approx(
      os.path.getsize(output), rel=0.03)


@pytest.mark.parametrize("text, truncated, long_sentences", [
    # All fits: of each pair A is kept, and what is put behind it has room.
    ("w1 w2 w3\nw4 w5 w6\n\nw7 w8 w9\nw1 w1 w1\n", 0, 0),
    # One document of one sentence is cut in two, and 13 of its 30 tokens stay.
    (" ".join(WORDS[:30]) + "\n", 17 / 30, 1),
    # One sentence of 13 fits, without loss where nothing else is to be had.
    (" ".join(WORDS[:13]) + "\n", 0, 0),
    # Both are A once, of a pair that is cut evenly: 6 or 7 of 30 tokens stay.
    ("%s\n\n%s\n" % ((" ".join(WORDS[:30]),) * 2), 46 / 60, 1),
])
def test_share_cut_off(write, options, text, truncated, long_sentences):
  found = check([write("a.txt", text)], options(short_seq_prob=0))
  assert found.truncated_share == pytest.approx(truncated, abs=0.04)
  assert found.truncated_share == 0 or truncated
  assert found.long_sentence_share == long_sentences


def test_words_behind_unk(write, options):
  """By how often they stand; of equal ones by the alphabet; ten."""
  others = ["x%s" % letter for letter in LETTERS[:14]]
  lines = ["W1 %s, w2" % word.upper() for word in others]
  lines += ["xc xd", "xd", "w3"]
  options = options([*WORDS, ","])
  found = check([write("a.txt", "\n".join(lines))], options)
  assert found.unknown_words == (
      ("xd", 3), ("xc", 2),
      *((word, 1) for word in others[:10] if word not in ("xc", "xd")))
  assert found.unknown_share == round(17 / (17 + 3 * 14 + 1), 6)
  assert "most often for xd, xc, xa" in preflight_text.to_text(found)


def test_chinese_text_by_vocabularies(write, options):
  path = write("a.txt", random_text(random.Random(0), 30, CHINESE))
  assert check([path], options(CHINESE)).unknown_share == 0
  found = check([path], options())
  assert found.unknown_share == 1 and "unknown" in names(found)
  assert set("".join(item.word for item in found.unknown_words)) < set(CHINESE)
  assert sum(item.times for item in found.unknown_words) < found.tokens
  half = check([path], options(CHINESE[:5]))
  assert 0.5 < half.unknown_share < 1
  json.loads(preflight_text.to_json(half))


def test_a_gz_file_is_as_good_as_a_plain_one(write, options):
  text = random_text(random.Random(2), 50)
  plain = check([write("a.txt", text)], options())
  packed = check([write("a.txt.gz", text)], options())
  assert packed.num_bytes < plain.num_bytes == packed.looked_at
  assert packed._replace(num_bytes=plain.num_bytes) == plain


# ------------------------------------------------------------------- estimates


def close(found, true, tolerance=0.05, of_documents=None):
  """Checks estimates, and that of the documents with its own tolerance."""
  assert found.is_estimate and not true.is_estimate
  for name in ("lines", "sentences", "tokens", "examples_per_epoch", "epochs",
               "mean_length", "two_step_bytes", "example_bytes"):
    assert getattr(found, name) == pytest.approx(
        getattr(true, name), rel=tolerance), name
  assert found.documents == pytest.approx(
      true.documents, rel=of_documents or tolerance)
  assert found.sentences_per_document == pytest.approx(
      found.sentences / found.documents, rel=tolerance)
  for name in ("one_sentence_share", "long_sentence_share", "padding_share",
               "truncated_share", "random_pair_share", "unknown_share",
               "capital_share"):
    assert getattr(found, name) == pytest.approx(
        getattr(true, name), abs=tolerance), name


@pytest.mark.parametrize("case", [
    "one file", "gz", "many files", "many gz", "a document a file",
    "long documents"])
def test_estimates_are_close(write, options, case):
  rng = random.Random(3)
  words = [*WORDS, "Unknown"]
  count = {"many files": 300, "many gz": 20, "a document a file": 300}.get(
      case, 1)
  if case == "long documents":
    texts = ["\n".join("".join("%s w1 w2\n" % rng.choice(words)
                               for _ in range(rng.randint(30, 1000)))
                       for _ in range(64))]
  elif case == "a document a file":
    texts = ["".join("%s w3\n" % rng.choice(words)
                     for _ in range(rng.randint(20, 99)))
             for _ in range(count)]
  else:
    texts = [random_text(rng, 3000 // count, words) for _ in range(count)]
  ending = ".gz" if "gz" in case else ""
  files = [write("%d.txt%s" % (i, ending), text)
           for i, text in enumerate(texts)]
  num_bytes = sum(len(text) for text in texts)
  found = check(files, options(), max_bytes=num_bytes // 4)
  assert num_bytes // 8 < found.looked_at <= num_bytes // 4
  true = check(files, options(), max_bytes=num_bytes)
  close(found, true, 0.08, 0.5 if case == "long documents" else None)
  assert [item.word for item in found.unknown_words] == ["unknown"]
  assert found.unknown_words[0].times == pytest.approx(
      true.unknown_words[0].times, rel=0.15)


def test_a_gz_file_of_several_parts_is_estimated_by_its_start(write, options):
  """Its end tells the size of its last part only."""
  text = random_text(random.Random(4), 3000).encode("ascii")
  path = write("a.txt.gz", b"")
  with open(path, "wb") as stream:
    for start in range(0, len(text), 50000):
      stream.write(gzip.compress(text[start:start + 50000]))
  found = check([path], options(), max_bytes=len(text) // 4)
  close(found, check([path], options(), max_bytes=len(text)), 0.1)


class CountingFile:
  """A file that adds what is read from it to a list."""

  def __init__(self, file, sizes):
    self._file, self._sizes = file, sizes

  def __enter__(self):
    return self

  def __exit__(self, *exc_info):
    self._file.close()

  def __getattr__(self, name):
    return getattr(self._file, name)

  def read(self, size=-1):
    data = self._file.read(size)
    self._sizes.append(len(data))
    return data


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_reads_few_bytes_of_a_large_corpus(write, options, ending,
                                           monkeypatch):
  words = ["w%d" % i for i in range(40)] + ["w%dx" % i for i in range(200)]
  text = random_text(random.Random(5), 400, words) * 30
  path, options = write("a.txt" + ending, text), options()
  sizes, real = [], file_io.open_binary
  monkeypatch.setattr(
      file_io, "open_binary",
      lambda name, mode="rb": CountingFile(real(name, mode), sizes))
  for max_bytes in (1 << 16, 1 << 18):
    sizes.clear()
    found = check([path], options, max_bytes=max_bytes)
    assert found.is_estimate and found.looked_at <= max_bytes
    # The vocabulary twice or so, and Python's own reading ahead of a .gz file.
    assert sum(sizes) <= max_bytes + 40000 + 140000 * bool(ending)
    assert sum(sizes) < len(text) / 3


def test_a_huge_file_without_text_takes_no_longer(options, tmp_path):
  path = str(tmp_path / "zeros.txt")
  with open(path, "wb") as stream:
    stream.write(b"\n" * (1 << 13))
    stream.truncate(1 << 36)
  start = time.process_time()
  found = check([path], options())
  assert time.process_time() - start < 20
  assert found.num_bytes == 1 << 36
  assert 0 < found.looked_at <= preflight.MAX_BYTES
  assert names(found) == ["empty", "not_plain"]


def test_lines_longer_than_what_is_looked_at(write, options):
  """They are looked at all the same, and warned of."""
  for text in ("w1 w2 w3 " * 40000,
               ("w1 w2 w3 " * 2000 + "\n\n") * 20):
    found = check([write("a.txt", text)], options(), max_bytes=64 << 8)
    assert found.is_estimate and found.examples_per_epoch
    assert found.long_sentence_share > 0.9
    assert "truncated" in names(found)


def test_a_chinese_line_may_be_cut_anywhere(write, options):
  for invalid_utf8 in ("error", "replace"):
    found = check([write("a.txt", CHINESE * 5000)],
                 options(CHINESE, invalid_utf8=invalid_utf8),
                 max_bytes=64 * 301)
    assert found.unknown_share == 0
    assert found.tokens == pytest.approx(5000 * len(CHINESE), rel=0.01)


def test_other_documents_are_lent_where_there_are_some(write, options):
  """A place with but one document has random pairs, unless it is the only one
  of the corpus."""
  document = "w1 w2 w3 w4\n" * 4000
  alone = check([write("a.txt", document)], options(), max_bytes=1 << 14)
  assert alone.random_pair_share == 0 and alone.documents == 1
  assert "one_document" in names(alone)
  none = dataclasses.replace(
      options().instances, sentence_objective="none")
  unpaired = check([write("a.txt", document)],
                   options()._replace(instances=none), max_bytes=1 << 14)
  assert "one_document" not in names(unpaired)
  assert preflight.warnings_of(alone._replace(
      one_sentence_share=1.0, sentence_objective="none")) == (
          unpaired.warnings)
  for files in ([write("b.txt", "\n".join([document] * 8))],
                [write("c.txt", document), write("d.txt", document)]):
    found = check(files, options(), max_bytes=1 << 14)
    assert 0.3 < found.random_pair_share < 0.7
    assert "one_document" not in names(found)


def test_the_draw_of_short_documents_makes_no_estimate_by_chance(
    write, options):
  """Of long documents one in ten gives many examples more than the others."""
  text = "\n".join(["w1 w2\n" * 2000] * 40)
  path, options = write("a.txt", text), options(short_seq_prob=0.3)
  counts = [check([path], options._replace(random_seed=seed),
                 max_bytes=1 << 15).examples_per_epoch for seed in range(8)]
  assert max(counts) < 1.2 * min(counts)


# ------------------------------------------------------------------------ edges


@pytest.mark.parametrize("text", ["\n", " \n\n\u3000\n", "\u200b\n\u200b\n"])
@pytest.mark.parametrize("max_bytes", [1 << 20, 0])
def test_a_text_without_an_example(write, options, text, max_bytes):
  found = check([write("a.txt", text)], options(), max_bytes=max_bytes)
  assert names(found) == ["empty"]
  assert (found.examples_per_epoch, found.epochs, found.tokens) == (0, None, 0)
  assert json.loads(preflight_text.to_json(found))["epochs"] is None
  assert "yield no example" in preflight_text.to_text(found)


def test_empty_files_among_others(write, options):
  files = [write("%d.txt" % i, "w1 w2\nw3\n" * (i % 2 * 50)) for i in range(40)]
  for max_bytes in (1 << 20, 1 << 12):
    found = check(files, options(), max_bytes=max_bytes)
    assert found.files == 40
    assert found.documents == pytest.approx(20, abs=4 * found.is_estimate)


@pytest.mark.parametrize("max_bytes", [1 << 21, 1 << 14])
def test_text_that_is_not_utf8(write, options, max_bytes):
  path = write("a.txt", b"w1 w2\nw3 \xff\n\n" * 4000)
  with pytest.raises(ValueError, match="0xff"):
    check([path], options(), max_bytes=max_bytes)
  found = check([path], options(invalid_utf8="replace"), max_bytes=max_bytes)
  assert found.unknown_share == 0


@pytest.mark.parametrize("max_bytes", [1 << 21, 1 << 10])
def test_a_damaged_gz_file(write, options, max_bytes):
  rng = random.Random(6)
  path = write("a.txt.gz", random_text(rng, 500))
  with open(path, "rb+") as stream:
    stream.seek(20)
    stream.write(bytes(range(200)))
  with pytest.raises(ValueError, match=r"a\.txt\.gz cannot be read"):
    check([path], options(), max_bytes=max_bytes)


def test_options_and_vocabulary_are_checked(write, options):
  path = write("a.txt", "w1\n")
  with pytest.raises(ValueError, match="--max_seq_length=2"):
    check([path], options(max_seq_length=2))
  options = options()
  write("vocab", "[PAD]\n")
  with pytest.raises(ValueError, match=r"\[UNK\]"):
    check([path], options)


@pytest.mark.parametrize("max_bytes", [1 << 21, 1 << 14])
def test_the_same_every_time(write, options, max_bytes):
  path = write("a.txt", random_text(random.Random(7), 1500))
  options = options()
  found = check([path], options, max_bytes=max_bytes)
  assert check([path], options, max_bytes=max_bytes) == found
  other = check([path], options._replace(random_seed=1), max_bytes=max_bytes)
  assert other.tokens == found.tokens
  assert other.examples_per_epoch != found.examples_per_epoch


def test_leaves_the_corpus_as_it_is(write, options):
  """What a stream logs of its progress must not hang on the look before."""
  corpus = Corpus([write("a.txt.gz", random_text(random.Random(8), 2000))])
  before = {name: repr(value) for name, value in vars(corpus).items()}
  preflight.check_text(corpus, options(), max_bytes=1 << 14)
  assert {n: repr(value) for n, value in vars(corpus).items()} == before


# --------------------------------------------------------------------- warnings


@pytest.fixture
def good(write, options):
  """Returns a Preflight without a warning."""
  found = check([write("a.txt", random_text(random.Random(9), 200))], options())
  assert not found.warnings
  return found


@pytest.mark.parametrize("name, fine, bad, said", [
    ("unknown", {"unknown_share": 0.02},
     {"unknown_share": 0.0213, "unknown_words": (
         preflight.UnknownWord("strange", 5),)},
     ["2.13 %", "strange", "--vocab_file"]),
    ("one_sentence", {"one_sentence_share": 0.3},
     {"one_sentence_share": 0.31}, ["31 %", "--input_file"]),
    ("short", {"mean_length": 16 / 3},
     {"mean_length": 5.3, "length_90": 9, "padding_share": 0.7},
     ["5.3 tokens", "70 %", "--max_seq_length=9"]),
    ("short", {"mean_length": 16 / 3},
     {"mean_length": 5.3, "length_90": 16, "padding_share": 0.7},
     ["=16: pass --pack_sequences."]),
    ("truncated", {"long_sentence_share": 0.05},
     {"long_sentence_share": 0.051}, ["5.1 %", "--max_seq_length"]),
    ("truncated", {"truncated_share": 0.25},
     {"truncated_share": 0.253}, ["25.3 %", "--max_seq_length"]),
    ("repeated", {"repeated_document_share": 0.1, "repeated_line_share": 0.3},
     {"repeated_document_share": 0.102}, ["10.2 %", "remove repeated text"]),
    ("repeated", {"repeated_line_share": 0.3}, {"repeated_line_share": 0.31},
     ["31 %", "--input_file"]),
    ("masks", {"masked_share": 0.091, "uncut_masked_share": 0.1},
     {"masked_share": 0.0823, "uncut_masked_share": 0.1509,
      "max_predictions_per_seq": 20, "matching_predictions": 79},
     ["8.23 %", "15.1 %", "because of --max_predictions_per_seq=20: pass "
      "--max_predictions_per_seq=79"]),
    ("not_plain", {"text_kinds": (FoundKind("JSON", "do", 0.05, "a"),)},
     {"text_kinds": (FoundKind("JSON lines", "do this", 0.06, "b.txt"),
                     FoundKind("JSON", "do that", 0.055, "c.txt"))},
     ["6 %", "such as b.txt, looks like JSON lines: do this"]),
    ("epochs", {"epochs": 40.0},
     {"epochs": 40.3, "examples_per_epoch": 500, "train_batch_size": 7},
     ["40.3 times", "500 examples", "--num_train_steps=2857"]),
    ("warmup", {"num_warmup_steps": 9},
     {"num_warmup_steps": 10}, ["10 steps", "--warmup_proportion=0.1"]),
    ("warmup", {"num_head_steps": 4, "num_warmup_steps": 5},
     {"num_head_steps": 4, "num_warmup_steps": 6},
     ["6 steps", "training of 6 after the head steps"]),
    ("case", {"unreachable_piece_share": 0.05},
     {"unreachable_piece_share": 0.06}, ["6 %", "--do_lower_case=False"]),
    ("case", {"do_lower_case": False, "capital_share": 0.005},
     {"do_lower_case": False, "capital_share": 0.006},
     ["0.6 %", "--do_lower_case=True"]),
    ("case", {"do_lower_case": False, "capital_share": 0.04,
              "capital_piece_share": 0.01},
     {"do_lower_case": False, "capital_share": 0.04,
      "capital_piece_share": 0.009}, ["0.9 %", "--do_lower_case=True"]),
    ("one_document", {"documents": 2},
     {"documents": 1, "random_pair_share": 0.0, "sentences": 1234},
     ["1,234 sentences", "--input_file"]),
    ("empty", {"examples_per_epoch": 1}, {"examples_per_epoch": 0},
     ["0 bytes", "--input_file"]),
])
def test_threshold_of_a_warning(good, name, fine, bad, said):
  good = good._replace(looked_at=0)
  assert preflight.warnings_of(good._replace(**fine)) == ()
  warned, = preflight.warnings_of(good._replace(**bad))
  assert warned.name == name
  for part in said:
    assert part in warned.text
  # One sentence.
  assert warned.text.endswith(".") and ". " not in warned.text
  assert len(warned.text) < 300


@pytest.mark.parametrize("name, text, words, changes", [
    ("unknown", "w1 w2 w3 w4\nother\n\nw1 w2 w3 w4\nw1 w2 w3 w4\n" * 9, WORDS,
     {}),
    ("one_sentence", "w1 w2 w3 w4 w5 w6 w7\n\n" * 20, WORDS, {}),
    ("short", "w1\n\nw1\nw1\n\nw2\nw2\n\nw3\nw3\n\n" * 9, WORDS, {}),
    ("truncated", ("w1 " * 40 + "\nw1 w2\n\n") * 9, WORDS, {}),
    ("one_document", "w1 w2 w3 w4\n" * 50, WORDS, {}),
    ("case", "W1 w2 w3 w4\nw1 w2\n\n" * 20, ["W", *WORDS, *LETTERS.upper()],
     {}),
    ("case", "W1 w2 w3 w4\nw1 w2\n\n" * 20, WORDS, {"do_lower_case": False}),
])
def test_a_corpus_that_is_warned_of(write, options, name, text, words,
                                    changes):
  found = check([write("a.txt", text)], options(words, **changes))
  expected = [name]
  if changes:
    expected.insert(0, "unknown")  # Of these, capitals are the reason.
  assert names(found) == expected + ["repeated"]  # As these texts are.


@pytest.mark.parametrize("max_predictions_per_seq, is_cut", [(3, False),
                                                            (1, True)])
@pytest.mark.parametrize("do_whole_word_mask", [False, True])
def test_masked_tokens(write, options, max_predictions_per_seq, is_cut,
                       do_whole_word_mask):
  path = write("a.txt", random_text(random.Random(3), 60))
  options = options(max_predictions_per_seq=max_predictions_per_seq,
                    do_whole_word_mask=do_whole_word_mask)
  examples, _ = first_epoch([path], options)
  tokens = sum(sum(e["input_mask"]) for e in examples)
  found = check([path], options)
  assert found.masked_share == pytest.approx(
      sum(sum(e["masked_lm_weights"]) for e in examples) / tokens, abs=1e-6)
  assert found.uncut_masked_share == pytest.approx(
      sum(max(1, round(0.15 * sum(e["input_mask"]))) for e in examples) /
      tokens, abs=1e-5)
  assert (found.masked_share < found.uncut_masked_share) == is_cut
  assert ("masks" in names(found)) == is_cut
  assert found.matching_predictions == 2


def test_predictions_that_match_a_probability():
  assert [matching_predictions(0.15, length) for length in (
      5, 16, 64, 128, 256, 512)] == [1, 2, 10, 19, 39, 79]
  for length in range(5, 600):
    for probability in (0.0, 0.1, 0.15, 0.2, 0.4, 0.999, 1.0):
      found = matching_predictions(probability, length)
      # As many as the reference masks without a limit, and hardly more.
      masked = max(1, int(round(length * probability)))
      assert masked <= found <= min(length, masked + length // 100 + 1)


@pytest.mark.parametrize("max_bytes", [1 << 21, 1 << 14])
def test_repeated_text(write, options, max_bytes):
  rng = random.Random(4)
  text = random_text(rng, 400, longest=16)
  found = check([write("a.txt", text)], options(), max_bytes=max_bytes)
  assert found.is_estimate == (max_bytes < len(text))
  assert found.repeated_document_share < 0.02
  assert found.repeated_line_share < 0.15 and "repeated" not in names(found)
  header = "\n".join(["w1 w2 w3\nw4 w5 w6 w7\n"] * 600)
  found = check([write("a.txt", text), write("b.txt", header)], options(),
                max_bytes=max_bytes)
  assert found.repeated_document_share > 0.4
  assert found.repeated_line_share > 0.35
  assert "repeated" in names(found)


@pytest.mark.parametrize("max_bytes", [1 << 21, 1 << 14])
def test_text_that_is_not_plain(write, options, max_bytes):
  rng = random.Random(5)
  plain = random_text(rng, 300)
  records = "".join('{"id": %d, "text": "%s"}\n' % (i, rng.choice(WORDS))
                    for i in range(len(plain) // 20))
  found = check([write("a.txt", plain), write("b.txt", records)],
                options(WORDS + ["{", "}", '"', ":", ",", "id", "text"]),
                max_bytes=max_bytes)
  kind, = found.text_kinds
  assert kind.name == "JSON lines" and kind.file.endswith("b.txt")
  assert kind.share == pytest.approx(
      len(records) / (len(records) + len(plain)), abs=0.1)
  assert "not_plain" in names(found)
  shown = preflight_text.to_text(found)
  assert "looks like" in shown and "JSON lines (" in shown
  again = preflight_text.from_dict(json.loads(preflight_text.to_json(found)))
  assert again == found


def test_a_long_training_is_warned_of(write, options):
  path = write("a.txt", random_text(random.Random(1), 30))
  found = check([path], options(), num_train_steps=100000,
               num_warmup_steps=100000)
  assert names(found) == ["epochs", "warmup"]
  steps = 40 * found.examples_per_epoch // 2
  assert "--num_train_steps=%d for 40 epochs" % steps in found.warnings[0].text
  again = check([path], options(), num_train_steps=steps)
  assert names(again) == [] and again.epochs <= 40


@pytest.mark.parametrize("piece, capital, unreachable", [
    ("lower", 0, 0), ("##ing", 0, 0), ("##ING", 1, 1), ("Upper", 1, 1),
    ("caf\u00e9", 0, 1), ("\u00c4", 1, 1), ("\u5b66", 0, 0), (".", 0, 0),
    ("\u1100", 0, 0), ("\uac00", 0, 1)])
def test_case_of_a_vocabulary(write, options, piece, capital, unreachable):
  """Korean syllables, too, do not outlast lower-casing: it takes them apart."""
  found = check([write("a.txt", "w1\n")], options(["w1", piece, "[unused1]"]))
  assert found.capital_piece_share == capital / 2
  assert found.unreachable_piece_share == unreachable / 2


def test_text_that_was_split_before_gets_no_advice_on_case(write, options):
  """Only the model's own tokenizer knows whether it is lower-cased."""
  path, cased = write("a.txt", "W1 W2\nW3 w4\n"), options(do_lower_case=False)
  assert "case" in names(check([path], cased))
  split = cased._replace(tokenizer=TokenizerConfig(False, None, False, False))
  found = check([path], split)
  assert found.is_split_into_words and "case" not in names(found)


# --------------------------------------------------------------- for the reader


def plain(value):
  """Tells whether a value is a number, a string or made of such."""
  if isinstance(value, dict):
    return all(isinstance(k, str) and plain(v) for k, v in value.items())
  if isinstance(value, list):
    return all(map(plain, value))
  return value is None or isinstance(value, (bool, int, float, str))


@pytest.mark.parametrize("max_bytes", [1 << 21, 1 << 14])
def test_json_and_back(write, options, max_bytes):
  path = write("a.txt", random_text(random.Random(1), 900, [*WORDS, "\u5b66"]))
  found = check([path], options(), max_bytes=max_bytes)
  assert found.unknown_words and found.warnings
  written = preflight_text.to_json(found)
  read = json.loads(written)
  assert written.isascii()
  assert tuple(read) == preflight.Preflight._fields
  assert plain(read) and read == preflight_text.to_dict(found)
  assert read["unknown_words"][0]["word"] == "\u5b66"
  assert read["warnings"][0]["name"] == "unknown"
  assert read["is_estimate"] is (max_bytes < 1 << 21)


def test_a_preflight_comes_back_from_json(write, options):
  path = write("a.txt", random_text(random.Random(1), 900, [*WORDS, "\u5b66"]))
  found = check([path], options(), max_bytes=1 << 14)
  assert found.unknown_words and found.warnings
  read = json.loads(preflight_text.to_json(found))
  again = preflight_text.from_dict(dict(read, seconds_left=3.5))
  assert again == found
  assert preflight_text.to_text(again) == preflight_text.to_text(found)
  del read["warnings"]
  assert preflight_text.from_dict(read) == found._replace(warnings=())
  # One of an earlier version has less.
  fields = preflight.Preflight._fields
  for name in fields[fields.index("max_predictions_per_seq"):]:
    del read[name]
  earlier = preflight_text.from_dict(read)
  assert earlier.masked_share is None and earlier.text_kinds == ()
  assert "repeated" not in preflight_text.to_text(earlier)
  assert "masks" not in names(preflight.plan(earlier, 10, 1, 2))
  del read["sentences"], read["documents"]
  with pytest.raises(ValueError, match="has no documents, sentences; write it"):
    preflight_text.from_dict(read)
  with pytest.raises(ValueError, match="another form"):
    preflight_text.from_dict(
        dict(preflight_text.to_dict(found), warnings=[{"a": 1}]))


def test_the_rows_are_those_of_the_text(write, options):
  path = write("a.txt", random_text(random.Random(1), 9, [*WORDS, "other"]))
  found = check([path], options())
  lines = preflight_text.to_text(found).splitlines()
  assert [line.split("  ")[0] for line in lines][:2] == ["sampled", "files"]
  for name, text in preflight_text.rows(found):
    assert any(line.startswith(name) and line.endswith("  " + text)
               for line in lines)


@pytest.mark.parametrize("max_bytes", [1 << 21, 1 << 14])
def test_text_is_an_aligned_table_and_the_warnings(write, options, max_bytes):
  path = write("a.txt", random_text(random.Random(1), 900, [*WORDS, "other"]))
  found = check([path], options(), max_bytes=max_bytes)
  lines = preflight_text.to_text(found).splitlines()
  table = [line for line in lines if not line.startswith("warning: ")]
  assert lines[len(table):] == [
      "warning: " + item.text for item in found.warnings]
  assert 15 <= len(table) <= 32 and max(map(len, table)) <= 80
  start = table[0].index(format(found.looked_at, ","))
  assert all(line[start - 2:start] == "  " and line[start] != " "
             for line in table)
  shown = dict((line[:start].strip(), line[start:]) for line in table)
  about = "~" * found.is_estimate
  assert shown["lines"] == about + format(found.lines, ",")
  assert shown["examples per epoch"] == about + format(
      found.examples_per_epoch, ",")
  assert ("~" in preflight_text.to_text(found)) == found.is_estimate


def test_a_long_word_is_shown_in_part(write, options):
  found = check([write("a.txt", "x" * 5000 + "\n")], options())
  assert found.unknown_words == (("x" * 5000, 1),)
  assert max(map(len, preflight_text.to_text(found).splitlines())) < 300


def test_starts_without_tensorflow():
  code = ("from bert_e2e.data import preflight; import sys; "
          "sys.exit(any(m in sys.modules for m in ('tensorflow', "
          " 'numpy', 'absl', 'google.protobuf')))")
  assert subprocess.call([sys.executable, "-c", code], cwd=ROOT) == 0
