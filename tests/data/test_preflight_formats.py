"""The preflight's comparison of example formats, and what it recommends."""

import random

import pytest

from bert_e2e import config
from bert_e2e.data import preflight_formats, sampling
from bert_e2e.data.instances import EXAMPLE_FORMATS, Document
from bert_e2e.data.pieces import text_pieces

PIECES = text_pieces(["[CLS]", "[SEP]", "[MASK]", "x"])


def documents_of(*sizes):
  """Returns Documents with lines of some numbers of pieces."""
  found = []
  for row in sizes:
    starts = [sum(row[:i]) for i in range(len(row) + 1)]
    found.append(Document(["x"] * starts[-1], starts))
  return found


def shapes_of(documents, weight=1.0, **changes):
  counter = preflight_formats.FormatCounter()
  options = config.InstanceConfig(max_seq_length=32, **changes)
  counter.add(documents, options, weight)
  return {shape.example_format: shape for shape in counter.shapes(options)}


LONG = documents_of(*[[7, 12, 9, 3, 40, 11] * 4] * 5)
SHORT = documents_of(*[[9]] * 60)
MIXED = documents_of(*[[random.Random(i).randint(1, 45) for _ in range(i % 9)]
                       for i in range(1, 60) if i % 9])


@pytest.mark.parametrize("documents", [LONG, SHORT, MIXED])
@pytest.mark.parametrize("name", EXAMPLE_FORMATS)
def test_shapes_are_those_of_the_examples(name, documents):
  """Of the real ones, with consecutive pairs of full length."""
  options = config.InstanceConfig(
      max_seq_length=32, sentence_objective="none", example_format=name,
      short_seq_prob=0, dupe_factor=2)
  found = [instance for seed in range(2)
           for instance in EXAMPLE_FORMATS[name].instances(
               documents, (), options, PIECES,
               sampling.StreamSampler(random.Random(seed)))]
  shape = shapes_of(documents, weight=3, dupe_factor=2)[name]
  assert shape.examples == 3 * len(found)
  used = sum(len(instance.tokens) for instance in found)
  assert shape.padding_share == pytest.approx(
      1 - used / (32 * len(found)), abs=1e-5)
  text = 2 * sum(len(document.pieces) for document in documents)
  kept = sum(instance.tokens.count("x") + instance.tokens.count("[MASK]")
             for instance in found)
  replaced = sum(
      instance.tokens[i] in ("[CLS]", "[SEP]") for instance in found
      for i in instance.masked_lm_positions)
  assert shape.truncated_share == pytest.approx(
      1 - (kept + replaced) / text, abs=1e-5)


def recommend(documents, example_format="segment_pair", one=0.0):
  return preflight_formats.recommend(
      tuple(shapes_of(documents).values()), example_format, one)


def test_long_documents_are_to_end_their_sequences():
  advice = recommend(LONG)
  assert advice.flags == (
      "--example_format=doc_sentences --sentence_objective=none")
  assert advice.reason.startswith("0 % of the tokens are truncated instead of ")
  assert "train no sentence objective" in advice.reason
  assert recommend(LONG, "doc_sentences") is None


def test_short_documents_are_to_share_sequences():
  for name in ("segment_pair", "doc_sentences", "line_by_line"):
    advice = recommend(SHORT, name, 1.0)
    assert advice.flags.startswith("--example_format=full_sentences ")
    assert "100 % of the documents have one sentence" in advice.reason
    assert ("no sentence objective" in advice.reason) == (
        name == "segment_pair")
  assert recommend(SHORT, "full_sentences") is None


def test_nothing_is_recommended_that_gains_little():
  """Documents that fill an example, or text without an example."""
  assert recommend(documents_of(*[[15, 14]] * 9)) is None
  assert recommend([]) is None
