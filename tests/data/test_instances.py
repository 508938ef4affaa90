"""fusion_input_and_out: the instances of the stream, from lines of text."""

import random

import golden_examples
import pytest

import create_pretraining_data as cpd
import run_pretraining_e2e as e2e
import tokenization
from bert_e2e import config
from bert_e2e.data import instances as instances_lib
from bert_e2e.data import lending, line_cutter, pairing, text_lines
from bert_e2e.data.corpus import Corpus, chunk_text
from bert_e2e.data.example_builder import (
  ExampleBuilder,
  StreamOptions,
  derived_rng,
)

# English, German, Chinese, Japanese, Hebrew, ..., odd characters and lines.
CASES = golden_examples.cases()
LINES = ["a b c", "d e", "", "e d", "c b a", "", "b e d a", "c c"]


class Words:
  """A tokenizer of somebody's own: words."""

  vocab = ["[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e"]
  tokenize = staticmethod(str.split)


def test_the_public_names():
  assert e2e.fusion_input_and_out is instances_lib.fusion_input_and_out
  assert cpd.fusion_input_and_out is instances_lib.fusion_input_and_out


def chunks_of(corpus):
  """Returns all chunks of a corpus, with what they borrow."""
  lender = lending.Lender(corpus)
  return [lender.lend(chunk, random.Random(1)) for split in corpus.splits()
          for chunk in corpus.chunks(split)]


def lines_of(text):
  return text.split("\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_examples_are_those_of_the_stream(case, monkeypatch):
  """Chunk by chunk, before the examples of a window are shuffled."""
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 500)
  changes = dict(case.flags)
  do_lower_case = changes.pop("do_lower_case", True)
  seed = changes.pop("random_seed", 12345)
  tokenizer = tokenization.FullTokenizer(case.vocab_file, do_lower_case)
  options = StreamOptions(
      case.vocab_file, config.TokenizerConfig(do_lower_case),
      config.InstanceConfig(**changes), seed)
  builder = ExampleBuilder(options)
  count = 0
  chunks = chunks_of(Corpus(case.input_files, chunk_lines=20))
  for epoch, chunk in enumerate(chunks):
    borrowed = chunk.borrowed and lines_of(
        text_lines.part_text(chunk.borrowed))
    instances = e2e.fusion_input_and_out(
        lines_of(chunk_text(chunk)), tokenizer,
        derived_rng(seed, epoch, "chunk", *chunk.key),
        borrowed_lines=borrowed or (), **changes)
    assert all(isinstance(token, str) for instance in instances
               for token in instance.tokens)
    assert e2e.create_instance_to_example_files(
        instances, tokenizer, options.instances.max_seq_length,
        options.instances.max_predictions_per_seq) == builder.build(
            epoch, chunk)
    count += len(instances)
  assert count


def test_some_of_these_chunks_borrow_and_most_do_not(monkeypatch):
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 500)
  borrows = [bool(chunk.borrowed) for case in CASES
             for chunk in chunks_of(Corpus(case.input_files, chunk_lines=20))]
  assert 10 < sum(borrows) < len(borrows) - 10


def test_a_custom_tokenizer():
  """One that has `tokenize` and `vocab`, and nothing else."""
  for seed in range(50):
    for instance in e2e.fusion_input_and_out(
        LINES, Words, random.Random(seed), max_seq_length=9):
      tokens = unmasked(instance)
      assert tokens[0] == "[CLS]" and tokens[-1] == "[SEP]"
      assert tokens.count("[SEP]") == 2 and 5 <= len(tokens) <= 9
      assert len(instance.masked_lm_positions) == len(
          instance.masked_lm_labels) == 1
      assert set(instance.masked_lm_labels) < set("abcde")


def test_the_same_rng_gives_the_same_instances():
  def build(seed):
    return list(map(str, e2e.fusion_input_and_out(
        iter(LINES), Words, random.Random(seed))))

  assert build(3) == build(3)
  assert len({tuple(build(seed)) for seed in range(9)}) == 9


def test_borrowed_lines_are_for_a_single_document():
  """Without them its B is what follows A; others need none."""
  def labels(lines, borrowed_lines=()):
    return {(instance.is_random_next, "x" in unmasked(instance))
            for seed in range(60) for instance in e2e.fusion_input_and_out(
                lines, Words, random.Random(seed), masked_lm_prob=0,
                borrowed_lines=borrowed_lines)}

  assert labels(LINES[:2]) == {(False, False)}
  assert labels(LINES[:2], ["x x", "", "x"]) == {(False, False), (True, True)}
  assert labels(LINES, ["x x", "", "x"]) == {(False, False), (True, False)}


def test_without_a_sentence_objective_b_follows_a_and_no_text_is_lost():
  """Each document of LINES fits into one example."""
  documents = ["abcde", "edcba", "bedacc"]
  for seed in range(20):
    found = e2e.fusion_input_and_out(
        LINES, Words, random.Random(seed), masked_lm_prob=0, short_seq_prob=0,
        sentence_objective="none", borrowed_lines=["x x"])
    assert not any(instance.is_random_next for instance in found)
    assert sorted("".join(token for token in unmasked(instance) if
                          len(token) == 1) for instance in found) == sorted(
                              documents)


@pytest.mark.parametrize("changes", [
    {"max_seq_length": 4}, {"masked_lm_prob": 1.5}, {"dupe_factor": 0}],
                         ids=str)
def test_options_are_checked(changes):
  name, = changes
  with pytest.raises(ValueError, match="--%s=" % name):
    e2e.fusion_input_and_out(LINES, Words, random.Random(1), **changes)


def test_the_defaults_are_those_of_the_config():
  defaults = dict(e2e.fusion_input_and_out.__kwdefaults__)
  assert defaults.pop("borrowed_lines") == ()
  known = config.InstanceConfig()
  assert defaults == {name: getattr(known, name) for name in defaults}
  assert set(defaults) == set(vars(known))


def test_every_objective_has_a_pairing():
  assert set(instances_lib.PAIRINGS) == set(config.SENTENCE_OBJECTIVES)


def test_a_pairing_is_all_that_an_objective_needs(monkeypatch):
  """One that puts the texts of each true pair in order or not."""
  def ordered_pairs(document, others, target, sampler):
    del others
    pieces, starts = document
    for pair in pairing.next_sentence_pairs(
        document, pairing.OtherDocuments([document], 0, (), sampler), target,
        sampler):
      if sampler.chance(0.5):
        yield pairing.Pair(pieces, pair.start_b, pair.end_b, pieces,
                           pair.start_a, pair.end_a, True)
      else:
        yield pair

  monkeypatch.setitem(instances_lib.PAIRINGS, "swapped", instances_lib.Pairing(
      ordered_pairs))
  options = config.InstanceConfig(masked_lm_prob=0,
                                  sentence_objective="swapped")
  found = set()
  for seed in range(40):
    sampler = instances_lib.sampling.StreamSampler(random.Random(seed))
    for instance in instances_lib.instances_from_documents(
        [cpd.Document(list("abcd"), [0, 2, 4])], options,
        cpd.text_pieces(Words.vocab), sampler):
      text = "".join(
          label if label != "[CLS]" else "" for label in unmasked(instance))
      found.add((text, instance.is_random_next))
  assert ("ab[SEP]cd[SEP]", False) in found
  assert ("cd[SEP]ab[SEP]", True) in found


def unmasked(instance):
  """Returns the tokens of an instance before they were masked."""
  tokens = list(instance.tokens)
  for position, label in zip(instance.masked_lm_positions,
                             instance.masked_lm_labels):
    tokens[position] = label
  return tokens
