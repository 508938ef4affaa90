"""show_examples.py: what it prints is what the model gets."""

import collections
import itertools
import os
import re
import subprocess
import sys
from typing import Any, Dict

import forked_programs
import pytest
import tensorflow.compat.v1 as tf
from program import LENGTHS, ROOT

import create_pretraining_data as cpd
import run_pretraining_e2e as e2e
import show_examples
import tokenization
from bert_e2e.config import InstanceConfig
from bert_e2e.data.corpus import Corpus
from bert_e2e.data.example_builder import StreamOptions

PROGRAM = os.path.join(ROOT, "show_examples.py")
# Words of several pieces.
PIECES = list(cpd.SPECIAL_TOKENS) + ["w"] + ["##%d" % i for i in range(10)]
SINGLE = {"example_format": "line_by_line", "sentence_objective": "none"}
# Options of sequences, all of which are packed.
KINDS: Dict[str, Dict[str, Any]] = {
    "nsp": {},
    "sop": {"sentence_objective": "sop"},
    "single": SINGLE,
    "words": {"do_whole_word_mask": True},
    "spans": {"span_geometric_p": 0.2},
    "single_words": dict(SINGLE, do_whole_word_mask=True),
}
# Those whose pieces are masked together.
GROUPS = {"words", "spans", "single_words"}


def run(files, **changes):
  values = dict({"input_file": files["train"], "vocab_file": files["vocab"]},
                **dict(LENGTHS, **changes))
  return forked_programs.run(
      [PROGRAM] + ["--%s=%s" % v for v in values.items()], subprocess.PIPE)


def flow_of(files, num_epochs):
  return list(e2e.take_write_2_flow(
      [files["train"]], files["vocab"], num_epochs=num_epochs, **LENGTHS))


def test_parses_what_tensorflow_parses(files):
  for example in flow_of(files, 1):
    features = tf.train.Example.FromString(example).features.feature
    assert show_examples.parse_example(example) == {
        name: list(f.int64_list.value or f.float_list.value)
        for name, f in features.items()}


@pytest.mark.parametrize("epoch, first", [(0, 0), (2, 7)])
def test_shows_the_examples_that_are_trained_on(files, epoch, first):
  before = len(flow_of(files, epoch)) if epoch else 0
  expected = flow_of(files, epoch + 1)[before + first:][:3]
  result = run(files, epoch=epoch, first_example=first, num_examples=3)
  assert result.returncode == 0, result.stderr
  shown = [line.split()[1:] for line in result.stdout.splitlines()
           if line.startswith("input_ids: ")]
  assert len(shown) == 3
  for ids, example in zip(shown, expected):
    features = show_examples.parse_example(example)
    length = sum(features["input_mask"])
    assert list(map(int, ids)) == features["input_ids"][:length]
  assert "--- epoch %d, example %d\n" % (epoch, first) in result.stdout


def test_marks_masks_and_pair(files):
  names = tokenization.FullTokenizer(files["vocab"]).inv_vocab
  said = [show_examples.show(e, names) for e in flow_of(files, 3)]
  assert any("B follows A; " in text for text in said)
  assert any("B is a random text and does not follow A; " in text
             for text in said)
  assert all(text.startswith("A: [CLS] ") for text in said)
  joined = "".join(said)
  for mark in ("[MASK](w", " =(w"):
    assert mark in joined
  for text, example in zip(said, flow_of(files, 3)):
    features = show_examples.parse_example(example)
    marks = sum("(" in word for word in text.split("\nB ")[0].split())
    masked = int(sum(features["masked_lm_weights"]))
    assert marks == masked
    assert ", %d of them to predict" % masked in text


def shown_of(files, pack_sequences, **instances):
  """Returns ([what is shown of each example of an epoch], [example])."""
  names = dict(enumerate(PIECES))
  with open(files["vocab"], "w") as stream:
    stream.write("\n".join(PIECES) + "\n")
  options = StreamOptions(
      files["vocab"], pack_sequences=pack_sequences,
      instances=InstanceConfig(max_seq_length=128, **instances).validated())
  examples = show_examples.examples_at(
      Corpus([files["train"]], chunk_lines=60), options, 0, 0, 10**6)
  return [show_examples.show(example, names,
                             options.instances.sentence_objective)
          for example in examples], examples


def parts_of(shown):
  """Returns what is shown of a packed row: [its first line, then what is shown
  of each sequence]."""
  return re.split("^(?=A: )", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_shows_packed_sequences_as_unpacked_ones(files, kind):
  """Pieces, marks, plus signs, labels and numbers; not the unused length."""
  unpacked, _ = shown_of(files, False, **KINDS[kind])
  rows, _ = shown_of(files, True, **KINDS[kind])
  found = list(itertools.chain.from_iterable(
      parts_of(row)[1:] for row in rows))
  assert collections.Counter(found) == collections.Counter(
      text.replace(" of 128 pieces", " pieces") for text in unpacked)
  assert 10 < len(rows) < len(found) / 1.5
  assert ("+" in "".join(found)) == (kind in GROUPS)
  for text in found:
    masked, = re.findall(r" pieces, (\d+) of them to predict\n", text)
    assert text.count("(") == int(masked) > 0


@pytest.mark.parametrize("kind, of_label_1", [
    ("nsp", "B is a random text and does not follow A; "),
    ("sop", "A follows B: they are swapped; ")])
def test_shows_the_labels_of_packed_sequences(files, kind, of_label_1):
  rows, examples = shown_of(files, True, **KINDS[kind])
  mixed = 0
  for row, example in zip(rows, examples):
    found = [of_label_1 in text for text in parts_of(row)[1:]]
    features = show_examples.parse_example(example)
    assert found == list(map(
        bool, features["next_sentence_labels"][:len(found)]))
    mixed += len(set(found)) == 2
  assert mixed > 3


@pytest.mark.parametrize("kind", ["nsp", "single"])
def test_the_first_line_counts_sequences_and_positions(files, kind):
  rows, examples = shown_of(files, True, **KINDS[kind])
  for row, example in zip(rows, examples):
    first, *sequences = parts_of(row)
    ids = [int(number) for text in sequences
           for number in text.split("\ninput_ids: ")[1].split()]
    features = show_examples.parse_example(example)
    assert ids == features["input_ids"][:sum(features["input_mask"])]
    assert first == "%d sequences, %d of 128 positions\n" % (
        len(sequences), len(ids))
    assert len(sequences) == max(features["pack_ids"])


def test_the_program_shows_the_rows_that_are_trained_on(files):
  lengths = {"max_seq_length": 48, "max_sequences_per_pack": 3}
  rows = list(e2e.take_write_2_flow(
      [files["train"]], files["vocab"], num_epochs=1, pack_sequences=True,
      **dict(LENGTHS, **lengths)))
  names = tokenization.FullTokenizer(files["vocab"]).inv_vocab
  result = run(files, pack_sequences=True, first_example=1, num_examples=3,
               **lengths)
  assert result.returncode == 0, result.stderr
  assert result.stdout == "".join(
      "--- epoch 0, example %d\n%s\n" % (
          number, show_examples.show(rows[number], names))
      for number in (1, 2, 3))


def test_errors_are_one_sentence(files):
  for flag, value, said in (
      ("input_file", "nowhere.txt", "nowhere.txt"),
      ("first_example", 100000, "no more than 100000"),
      ("max_seq_length", 3, "max_seq_length")):
    result = run(files, **{flag: value})
    assert result.returncode == 1
    assert result.stderr.startswith("show_examples.py: ")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_starts_without_tensorflow():
  code = "import show_examples, sys; sys.exit('tensorflow' in sys.modules)"
  assert subprocess.call([sys.executable, "-c", code], cwd=ROOT) == 0
