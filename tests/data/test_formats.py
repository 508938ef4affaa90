"""Example formats and sentence objectives, against other projects' own."""

import collections
import json
import random

import golden_examples
import hypothesis
import hypothesis.strategies as st
import pytest

import run_pretraining_e2e as e2e
import tokenization
from bert_e2e import config
from bert_e2e.data import instances as instances_lib
from bert_e2e.data import pairing, sampling, sequences
from bert_e2e.data.instances import Document
from bert_e2e.data.pieces import id_pieces, packing_tokenizer
from tests.golden import make_formats_golden as golden

SINGLE = ("full_sentences", "doc_sentences", "line_by_line")
CASES = {case.name: case for case in golden_examples.cases()
         if case.name in golden.CASES}
LINES = ["a b c", "d e", "", "e d", "c b a", "", "b e d a", "c c"]


class Words:
  """A tokenizer of words."""

  vocab = ["[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e"]
  tokenize = staticmethod(str.split)


@pytest.fixture(scope="module")
def theirs():
  with open(golden.GOLDEN_FILE) as stream:
    return json.load(stream)


def document_of(sizes):
  """Returns a Document of numbered pieces, with segments of some sizes."""
  starts = [0]
  for size in sizes:
    starts.append(starts[-1] + size)
  return Document(list(range(starts[-1])), starts)


# ------------------------------------------------------- against the authors'


@pytest.mark.parametrize("name", golden.CASES)
def test_ordered_pairs_are_alberts(name, theirs):
  """The same pairs, truncation and labels for the same random numbers."""
  expected = theirs[name]["ordered_pairs"]
  sizes = golden.documents_of(CASES[name])
  assert len(sizes) == len(expected)
  compared = 0
  for seed, pairs in enumerate(expected):
    # A last segment of one piece is ALBERT's B, but belongs to our last run.
    if pairs is None or sizes[seed][-1] == 1:
      continue
    assert _ordered_pairs(document_of(sizes[seed]), seed) == pairs
    compared += len(pairs)
  assert compared > 20


def _ordered_pairs(document, seed):
  sampler = sampling.ReferenceSampler(random.Random(seed))
  budget = target = golden.MAX_SEQ_LENGTH - 3
  if sampler.chance(golden.SHORT_SEQ_PROB):
    target = sampler.integer(2, budget)
  return [
      [*pairing.truncated_bounds(
          pair.start_a, pair.end_a, pair.start_b, pair.end_b, budget, sampler),
       int(pair.is_random)]
      for pair in pairing.sentence_order_pairs(document, None, target, sampler)]


@pytest.mark.parametrize("size", golden.BLOCK_SIZES)
@pytest.mark.parametrize("name", golden.CASES)
def test_sequences_of_a_document_are_fairseqs(name, size, theirs):
  """Where lines fit: fairseq makes a block of a longer one, which its input
  cuts off. It takes a line of one piece for the end of a document."""
  offset, compared = 0, 0
  for sizes in golden.documents_of(CASES[name]):
    document = document_of(sizes)
    end = offset + len(document.pieces)
    if min(sizes) > 1 and max(sizes) <= size:
      found = [
          [offset + start, offset + stop] for (_, start, stop), in
          sequences.doc_sentences([document], size)]
      assert found == [block for block in theirs[name]["blocks"][str(size)]
                       if offset <= block[0] < end]
      compared += len(found)
    offset = end + 1  # The documents' separator.
  assert compared >= 8


@pytest.mark.parametrize("name", golden.CASES)
def test_line_by_line_has_the_ids_of_transformers(name, theirs):
  case = CASES[name]
  tokenizer = packing_tokenizer(
      case.vocab_file, case.flags.get("do_lower_case", True))
  with open(case.input_files[0], encoding="utf-8") as stream:
    documents = instances_lib.group_documents(
        tokenizer.lines_to_ids(stream.read()))
  options = config.InstanceConfig(
      max_seq_length=golden.TRUNCATED_LENGTH, sentence_objective="none",
      example_format="line_by_line", mask_replace_prob=0, random_replace_prob=0)
  sampler = sampling.StreamSampler(random.Random(1))
  pieces = id_pieces(tokenizer)
  vocab = tokenization.load_vocab(case.vocab_file)
  found = [
      [vocab[piece] for piece in tokenizer.convert_ids_to_tokens(
          instance.tokens)]
      for instance in instances_lib.EXAMPLE_FORMATS["line_by_line"].instances(
          documents, (), options, pieces, sampler)]
  expected = theirs[name]["truncated_lines"]
  assert len(expected) > 20 and found[:len(expected)] == expected
  assert any(len(ids) == golden.TRUNCATED_LENGTH for ids in expected)


# ---------------------------------------------------------------- the formats


def build(lines, seed=1, **options):
  """Returns [(tokens before masking, label)] of the instances of lines."""
  found = e2e.fusion_input_and_out(
      lines, Words, random.Random(seed), mask_replace_prob=0,
      random_replace_prob=0, **options)
  for instance in found:
    assert len(instance.segment_ids) == len(instance.tokens)
    masked = [instance.tokens[i] for i in instance.masked_lm_positions]
    assert masked == instance.masked_lm_labels and masked
    assert not {"[CLS]", "[SEP]"} & set(masked)
  return [(" ".join(instance.tokens), instance.is_random_next)
          for instance in found]


def single(lines, example_format, **options):
  found = build(lines, example_format=example_format,
                sentence_objective="none", **options)
  assert not any(label for _, label in found)
  return sorted(tokens for tokens, _ in found)


def test_line_by_line():
  assert single(LINES, "line_by_line") == sorted(
      "[CLS] %s [SEP]" % line for line in LINES if line)
  assert single(["a b c d e", "", "a"], "line_by_line", max_seq_length=5) == [
      "[CLS] a [SEP]", "[CLS] a b c [SEP]"]


def test_doc_sentences():
  assert single(LINES, "doc_sentences") == [
      "[CLS] a b c d e [SEP]", "[CLS] b e d a c c [SEP]",
      "[CLS] e d c b a [SEP]"]
  assert single(LINES, "doc_sentences", max_seq_length=6) == [
      "[CLS] a b c [SEP]", "[CLS] b e d a [SEP]", "[CLS] c b a [SEP]",
      "[CLS] c c [SEP]", "[CLS] d e [SEP]", "[CLS] e d [SEP]"]


def test_full_sentences():
  """In every order of the documents, with a [SEP] between two of them."""
  whole = {single(LINES, "full_sentences", seed=seed)[0] for seed in range(60)}
  parts = ["a b c d e", "e d c b a", "b e d a c c"]
  assert whole == {
      "[CLS] %s [SEP]" % " [SEP] ".join([parts[i], parts[j], parts[3 - i - j]])
      for i in range(3) for j in range(3) if i != j}
  assert single(["a b", "", "c d"], "full_sentences", max_seq_length=6) == [
      "[CLS] a b [SEP]", "[CLS] c d [SEP]"]


def test_the_rest_of_a_long_line_starts_the_next_sequence():
  assert single(["a", "b c d e a b c d", "e"], "doc_sentences",
                max_seq_length=5) == [
      "[CLS] a [SEP]", "[CLS] b c d [SEP]", "[CLS] c d e [SEP]",
      "[CLS] e a b [SEP]"]


DOCUMENTS = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=6),
                     min_size=1, max_size=6)


@hypothesis.given(DOCUMENTS, st.integers(3, 20))
@hypothesis.settings(deadline=None)
def test_every_piece_is_in_one_sequence_and_lines_stay_whole(sizes, budget):
  documents = [document_of(row) for row in sizes]
  for form in (sequences.full_sentences, sequences.doc_sentences):
    found = list(form(documents, budget))
    position = [0] * len(documents)
    for texts in found:
      assert sum(end - start for _, start, end in texts) + len(texts) - 1 <= (
          budget)
      assert len(texts) == 1 or form is sequences.full_sentences
      for pieces, start, end in texts:
        index = next(i for i, document in enumerate(documents)
                     if document.pieces is pieces)
        assert start == position[index] < end
        position[index] = end
        starts = documents[index].starts
        if end not in starts:
          line = max(i for i in starts if i < end)
          length = min(i for i in starts if i > end) - line
          assert length > budget and (end - line) % budget == 0
          assert texts[-1] == (pieces, start, end)
    assert position == [len(document.pieces) for document in documents]
    if form is sequences.full_sentences:
      _check_none_could_be_longer(found, documents, budget)


def _check_none_could_be_longer(found, documents, budget):
  """The next line, or its first part, would not have fitted."""
  for texts, following in zip(found, found[1:]):
    used = sum(end - start for _, start, end in texts) + len(texts) - 1
    pieces, start, end = following[0]
    starts = next(document.starts for document in documents
                  if document.pieces is pieces)
    if start not in starts:
      assert used == budget
      continue
    line = starts[starts.index(start) + 1] - start
    assert used + line + (pieces is not texts[-1][0]) > budget


def test_sequences_mask_as_pairs_do():
  """15 % of the pieces between the special ones, and no [SEP] among them."""
  lines = ["a b c d e " * 4, "b c d " * 5] * 40
  counts = collections.Counter()
  for instance in e2e.fusion_input_and_out(
      lines + [""] + lines, Words, random.Random(3), max_seq_length=64,
      example_format="full_sentences", sentence_objective="none"):
    counts["masked"] += len(instance.masked_lm_positions)
    counts["tokens"] += len(instance.tokens)
    assert instance.segment_ids == [0] * len(instance.tokens)
  assert 0.14 < counts["masked"] / counts["tokens"] < 0.16


def test_examples_have_the_features_of_pairs():
  class WithIds(Words):

    @staticmethod
    def convert_tokens_to_ids(tokens):
      return [Words.vocab.index(token) for token in tokens]

  found = e2e.fusion_input_and_out(
      LINES, WithIds, random.Random(1), max_seq_length=16,
      example_format="full_sentences", sentence_objective="none")
  for example in e2e.create_instance_to_example_files(found, WithIds, 16, 20):
    features = instances_lib.tf_example.parse_example(example)
    assert features["next_sentence_labels"] == [0]
    assert features["segment_ids"] == [0] * 16


# ---------------------------------------------------------- sentence objectives


def test_half_of_the_ordered_pairs_are_swapped():
  lines = [word for _ in range(200) for word in ("a b", "c d", "")]
  found = build(lines, sentence_objective="sop", short_seq_prob=0)
  assert {tokens: label for tokens, label in found} == {
      "[CLS] a b [SEP] c d [SEP]": False, "[CLS] c d [SEP] a b [SEP]": True}
  swapped = sum(label for _, label in found)
  assert len(found) == 200 and 75 < swapped < 125


def test_one_line_is_cut_in_two_to_order():
  found = {build(["a b c"], seed, sentence_objective="sop")[0]
           for seed in range(40)}
  assert found == {
      ("[CLS] a [SEP] b c [SEP]", False), ("[CLS] b c [SEP] a [SEP]", True),
      ("[CLS] a b [SEP] c [SEP]", False), ("[CLS] c [SEP] a b [SEP]", True)}


def test_every_format_and_objective_has_a_row():
  assert tuple(instances_lib.EXAMPLE_FORMATS) == config.EXAMPLE_FORMATS
  assert tuple(instances_lib.PAIRINGS) == config.SENTENCE_OBJECTIVES


@pytest.mark.parametrize("example_format", SINGLE)
@pytest.mark.parametrize("objective", ["nsp", "sop"])
def test_sequences_have_no_sentence_objective(example_format, objective):
  with pytest.raises(ValueError, match=(
      "--example_format=%s has no sentence pairs to train "
      "--sentence_objective=%s on: pass --sentence_objective=none" % (
          example_format, objective))):
    build(LINES, example_format=example_format, sentence_objective=objective)


def test_sequences_have_no_random_length():
  with pytest.raises(ValueError, match="--short_seq_prob=0.3 has no effect "):
    single(LINES, "doc_sentences", short_seq_prob=0.3)
  assert single(LINES, "doc_sentences", short_seq_prob=0) == single(
      LINES, "doc_sentences")


def test_fast_and_plain_examples_agree():
  """Those of ids, which the stream builds, and those of texts."""
  case = CASES["chinese_uncased"]
  tokenizer = tokenization.FullTokenizer(case.vocab_file, True)
  fast = packing_tokenizer(case.vocab_file, True)
  with open(case.input_files[0], encoding="utf-8") as stream:
    text = stream.read()
  for objective, example_format in [("sop", "segment_pair")] + [
      ("none", name) for name in SINGLE]:
    options = config.InstanceConfig(
        sentence_objective=objective, example_format=example_format)
    instances = e2e.fusion_input_and_out(
        text.split("\n"), tokenizer, random.Random(5),
        sentence_objective=objective, example_format=example_format)
    assert len(instances) > 5
    assert e2e.create_instance_to_example_files(
        instances, tokenizer, 128, 20) == instances_lib.examples_from_text(
            text, fast, id_pieces(fast), options,
            sampling.StreamSampler(random.Random(5)))
