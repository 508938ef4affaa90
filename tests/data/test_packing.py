"""Packed rows hold exactly the sequences of the stream without packing."""

import collections
import itertools
import math

import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given
from hypothesis import strategies as st
from program import VOCAB, WORDS
from stream_corpus import KNOWN_WORKERS

from bert_e2e.config import InstanceConfig, PackingConfig
from bert_e2e.data import packing, preflight, preflight_text, text_source
from bert_e2e.data import stream as es
from bert_e2e.data.tf_example import parse_example

KINDS = {
    "nsp": {},
    "sop": {"sentence_objective": "sop"},
    "none": {"sentence_objective": "none"},
    "full": {"example_format": "full_sentences", "sentence_objective": "none"},
    "line": {"example_format": "line_by_line", "sentence_objective": "none"},
    "words": {"do_whole_word_mask": True},
    "spans": {"span_geometric_p": 0.2},
}
LENGTHS = {"max_seq_length": 48, "max_predictions_per_seq": 7}


def short_documents(count):
  """Returns text of documents of one to three sentences of 2 to 9 words."""
  lines = []
  for number in range(count):
    for line in range(1 + number % 3):
      lines.append(" ".join(
          WORDS[(number * 7 + line * 3 + i) % 40]
          for i in range(2 + (number + line) % 8)))
    lines.append("")
  return "\n".join(lines)


@pytest.fixture
def corpus(tmp_path, monkeypatch):
  """Returns a function of options of take_write_2_flow that opens a stream."""
  monkeypatch.setattr(es, "CHUNKS_PER_WINDOW", 2)
  (tmp_path / "text.txt").write_text(short_documents(300))
  (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")

  def flow(**options):
    return text_source.take_write_2_flow(
        str(tmp_path / "text.txt"), str(tmp_path / "vocab.txt"),
        **dict(dict(LENGTHS, chunk_lines=50, num_epochs=1), **options))

  return flow


def sequence_of(features):
  """Returns what an unpacked example says of its sequence, hashable."""
  length = sum(features["input_mask"])
  count = int(sum(features["masked_lm_weights"]))
  return (tuple(features["input_ids"][:length]),
          tuple(features["segment_ids"][:length]),
          tuple(features["masked_lm_positions"][:count]),
          tuple(features["masked_lm_ids"][:count]),
          features["next_sentence_labels"][0])


def sequences_of(row):
  """Returns the sequences of a packed row; checks the row itself."""
  features = parse_example(row)
  ids, end = features["input_ids"], sum(features["input_mask"])
  assert features["input_mask"] == [1] * end + [0] * (len(ids) - end)
  count = int(sum(features["next_sentence_weights"]))
  assert features["next_sentence_weights"] == [1.0] * count + [0.0] * (
      len(features["next_sentence_weights"]) - count)
  starts = features["cls_positions"][:count]
  assert set(features["cls_positions"][count:]) <= {0}
  num_masked = int(sum(features["masked_lm_weights"]))
  assert features["masked_lm_weights"][:num_masked] == [1.0] * num_masked
  masks = list(zip(features["masked_lm_positions"],
                   features["masked_lm_ids"]))[:num_masked]
  pack_ids, position_ids, found = [], [], []
  for number, (start, stop) in enumerate(zip(starts, starts[1:] + [end])):
    inside = [(place - start, label) for place, label in masks
              if start <= place < stop]
    found.append((
        tuple(ids[start:stop]), tuple(features["segment_ids"][start:stop]),
        tuple(place for place, _ in inside), tuple(x for _, x in inside),
        features["next_sentence_labels"][number]))
    pack_ids += [number + 1] * (stop - start)
    position_ids += range(stop - start)
  padding = [0] * (len(ids) - end)
  assert features["pack_ids"] == pack_ids + padding
  assert features["position_ids"] == position_ids + padding
  assert features["segment_ids"][end:] == ids[end:] == padding
  return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_rows_hold_the_sequences_of_the_unpacked_stream(corpus, kind):
  plain = collections.Counter(
      sequence_of(parse_example(example)) for example in corpus(**KINDS[kind]))
  rows = list(corpus(pack_sequences=True, **KINDS[kind]))
  packed = [sequences_of(row) for row in rows]
  assert collections.Counter(itertools.chain.from_iterable(packed)) == plain
  assert 1 < max(map(len, packed)) <= 8
  if kind != "full":
    assert len(rows) < sum(plain.values()) / 2


def test_rows_are_what_protobuf_writes(corpus):
  for row in itertools.islice(corpus(pack_sequences=True), 20):
    example = tf.train.Example.FromString(row)
    assert example.SerializeToString(deterministic=True) == row


@pytest.mark.parametrize("num_workers", KNOWN_WORKERS)
def test_seeks_and_workers_give_the_same_rows(corpus, num_workers):
  rows = list(corpus(pack_sequences=True, num_epochs=2))
  for first in (0, 1, len(rows) // 3, len(rows) - 1):
    assert rows[first:] == list(corpus(
        pack_sequences=True, num_epochs=2, num_workers=num_workers,
        first_example=first))


def test_hosts_divide_the_sequences(corpus):
  plain = collections.Counter(
      sequence_of(parse_example(example))[0] for host in range(2)
      for example in corpus(
          shard_index=host, num_shards=2, sentence_objective="none"))
  packed = collections.Counter(
      sequence[0] for host in range(2) for row in corpus(
          shard_index=host, num_shards=2, sentence_objective="none",
          pack_sequences=True) for sequence in sequences_of(row))
  assert packed == plain


@given(st.data())
def test_best_fit_keeps_its_limits(data):
  shape = packing.RowShape(
      data.draw(st.integers(5, 60)), data.draw(st.integers(3, 20)),
      data.draw(st.integers(2, 9)))
  sizes = data.draw(st.lists(st.tuples(
      st.integers(1, shape.max_seq_length),
      st.integers(0, min(3, shape.max_predictions)))))
  rows = packing.best_fit(sizes, shape)
  assert sorted(itertools.chain.from_iterable(rows)) == list(range(len(sizes)))
  for row in rows:
    assert 1 <= len(row) <= shape.max_sequences
    assert sum(sizes[i][0] for i in row) <= shape.max_seq_length
    assert sum(sizes[i][1] for i in row) <= shape.max_predictions


@given(st.data())
def test_best_fit_leaves_no_two_rows_that_fit_into_one(data):
  shape = packing.RowShape(
      data.draw(st.integers(5, 60)), 10, data.draw(st.integers(2, 9)))
  lengths = data.draw(st.lists(st.integers(1, shape.max_seq_length)))
  rows = packing.best_fit([(length, 0) for length in lengths], shape)
  small = [row for row in rows if
           2 * sum(lengths[i] for i in row) <= shape.max_seq_length and
           2 * len(row) <= shape.max_sequences]
  assert len(small) <= 1


def test_best_fit_is_the_papers_order():
  """From the longest one on, into the fullest row that has space."""
  shape = packing.RowShape(10, 100, 8)
  assert packing.best_fit([(2, 0), (7, 0), (3, 0), (6, 0), (2, 0)], shape) == [
      [1, 2], [3, 0, 4]]


def test_best_fit_takes_another_row_if_predictions_are_used_up():
  """5 fits best beside 9, but that row has only one prediction left."""
  shape = packing.RowShape(14, 3, 8)
  assert packing.best_fit([(9, 2), (8, 1), (5, 1)], shape) == [[0, 2], [1]]
  assert packing.best_fit([(9, 2), (8, 1), (5, 2)], shape) == [[0], [1, 2]]
  # A row without predictions left is full.
  assert packing.best_fit([(9, 3), (5, 0)], shape) == [[0], [1]]


@pytest.mark.parametrize("length, limit, predictions", [
    (128, 8, 21), (512, 16, 80), (512, 3, 78)])
def test_a_row_has_few_predictions(length, limit, predictions):
  """Those of equally long sequences with built-in masks, and hardly more than
  the share of a row."""
  options = InstanceConfig(
      max_seq_length=length, max_predictions_per_seq="auto").validated()
  shape = packing.row_shape(options, PackingConfig(True, limit))
  assert shape == (length, predictions, limit)
  assert predictions <= math.ceil(options.masked_lm_prob * length) + 3
  for size in range(3, length + 1):
    count = min(limit, length // size)
    assert count * max(1, round(0.15 * size)) <= predictions


def test_a_row_has_no_more_predictions_than_its_sequences():
  options = InstanceConfig(max_seq_length=512, max_predictions_per_seq=20)
  assert packing.row_shape(
      options, PackingConfig(True, 2)).max_predictions == 40


def test_rows_of_an_earlier_version_are_another_stream(tmp_path):
  """They had more predictions, and their record has no version."""
  (tmp_path / "text.txt").write_text(short_documents(9))
  (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")

  def record(**options):
    return text_source.TextSource.from_arguments(
        str(tmp_path / "text.txt"), str(tmp_path / "vocab.txt"), **LENGTHS,
        **options).record()

  packed = record(pack_sequences=True)
  options = dict(packed.options)
  del options["packing_version"]
  assert packed._replace(options=options).differences(packed) == [
      "this version of the program packs sequences into other rows"]
  plain = record()
  assert "packing_version" not in plain.options
  assert plain.differences(packed) == ["pack_sequences was False and is True"]


def test_a_strategy_may_mask_more_than_its_share(corpus, modules):
  name = modules.write("""
      from run_pretraining_e2e import TrainingInstance

      def build(lines, tokenizer, rng, **options):
        words = tokenizer.tokenize(lines[0])[:6]
        return 5 * [TrainingInstance(
            ["[CLS]"] + ["[MASK]"] * len(words) + ["[SEP]"],
            [0] * (len(words) + 2), list(range(1, len(words) + 1)), words,
            False)]
      """)
  # Built-in masks would need two predictions, one for each sequence.
  rows = list(corpus(
      strategy=name + ":build", pack_sequences=True, max_sequences_per_pack=2,
      masked_lm_prob=0.01, max_seq_length=24))
  assert rows
  for sequence in itertools.chain.from_iterable(map(sequences_of, rows)):
    assert len(sequence[2]) == len(sequence[0]) - 2


@pytest.mark.parametrize("length, limit", [(48, 8), (192, 24)])
def test_little_padding_is_left(corpus, length, limit):
  rows = list(corpus(
      pack_sequences=True, max_seq_length=length, chunk_lines=1000,
      max_sequences_per_pack=limit))
  used = sum(sum(parse_example(row)["input_mask"]) for row in rows)
  assert used > 0.95 * length * len(rows)


@pytest.mark.parametrize("changes", [
    {}, {"max_seq_length": 128, "max_sequences_per_pack": 4},
    {"sentence_objective": "none", "dupe_factor": 2}], ids=str)
def test_the_preflight_estimates_rows_and_padding(tmp_path, changes):
  (tmp_path / "text.txt").write_text(short_documents(700))
  (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
  options = dict(dict(LENGTHS, pack_sequences=True), **changes)
  source = text_source.TextSource.from_arguments(
      str(tmp_path / "text.txt"), str(tmp_path / "vocab.txt"), chunk_lines=60,
      **options)
  found = source.preflight()
  rows = list(source.open(num_epochs=1))
  used = sum(sum(parse_example(row)["input_mask"]) for row in rows)
  padding = 1 - used / len(rows) / options["max_seq_length"]
  sequences = sum(len(sequences_of(row)) for row in rows)
  assert found.examples_per_epoch == pytest.approx(len(rows), rel=0.02)
  assert found.padding_share == pytest.approx(padding, abs=0.02)
  assert found.sequences_per_pack == pytest.approx(
      sequences / len(rows), rel=0.02)


def test_the_preflight_knows_how_much_a_strategy_masks(tmp_path, modules):
  """Predictions, not positions, limit the rows of one that masks half."""
  (tmp_path / "text.txt").write_text(short_documents(700))
  (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
  name = modules.write("""
      from create_pretraining_data import TrainingInstance, mask_positions

      def mask_half(lines, tokenizer, rng, max_seq_length,
                    max_predictions_per_seq):
        for line in filter(None, lines):
          pieces = tokenizer.tokenize(line)
          tokens = ["[CLS]", *pieces, "[SEP]"]
          masked = mask_positions(
              tokens, range(1, 1 + len(pieces), 2), list(tokenizer.vocab), rng)
          yield TrainingInstance(
              masked[0], [0] * len(tokens), masked[1], masked[2], False)
      """)
  source = text_source.TextSource.from_arguments(
      str(tmp_path / "text.txt"), str(tmp_path / "vocab.txt"), chunk_lines=60,
      max_seq_length=64, max_predictions_per_seq=10, pack_sequences=True,
      strategy=name + ":mask_half")
  rows = list(source.open(num_epochs=1))
  found = source.preflight()
  assert found.examples_per_epoch == pytest.approx(len(rows), rel=0.05)


@pytest.mark.parametrize("packs", [False, True])
def test_the_preflight_suggests_more_sequences_per_row(tmp_path, packs):
  """Where --max_sequences_per_pack leaves rows half empty."""
  (tmp_path / "text.txt").write_text(short_documents(700))
  (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
  source = text_source.TextSource.from_arguments(
      str(tmp_path / "text.txt"), str(tmp_path / "vocab.txt"), chunk_lines=60,
      **dict(LENGTHS, max_seq_length=512, pack_sequences=packs))
  found = preflight.plan(source.preflight(), 100, 10, 32)
  eight, more = found.packed_padding_share, found.more_sequences
  assert eight > 0.5 and more.padding_share < 0.1
  assert more.max_sequences == 48 and 20 < more.sequences_per_pack < 40
  now = 8.0 if packs else 1.0
  rows = round(32 * now / more.sequences_per_pack)
  assert found.packing_advice.flags == (
      ("" if packs else "--pack_sequences ") +
      "--max_sequences_per_pack=48 --train_batch_size=%d" % rows)
  assert preflight_text.from_dict(preflight_text.to_dict(found)) == found
  # What is suggested is what packing then does.
  wide = text_source.TextSource.from_arguments(
      str(tmp_path / "text.txt"), str(tmp_path / "vocab.txt"), chunk_lines=60,
      **dict(LENGTHS, max_seq_length=512, pack_sequences=True,
             max_sequences_per_pack=48))
  assert wide.preflight().padding_share == more.padding_share
  assert wide.preflight().more_sequences is None


def test_options_without_effect_are_refused(corpus):
  with pytest.raises(ValueError, match="requires --pack_sequences"):
    corpus(max_sequences_per_pack=4)
  with pytest.raises(ValueError, match="at least 2"):
    corpus(pack_sequences=True, max_sequences_per_pack=1)


def test_a_sequence_that_does_not_fit_is_named():
  sequence = packing.PackableSequence(9, b"\1" * 9, bytes(9), [1], b"\1", False)
  with pytest.raises(ValueError, match="9 pieces and 1 predictions"):
    packing.Packer(packing.RowShape(8, 4, 2)).pack([sequence])
