"""show_examples.py: what it prints is what the model gets."""

import os
import subprocess
import sys

import forked_programs
import pytest
import tensorflow.compat.v1 as tf
from program import LENGTHS, ROOT

import run_pretraining_e2e as e2e
import show_examples
import tokenization

PROGRAM = os.path.join(ROOT, "show_examples.py")


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
