"""Prints examples as the model sees them, to check a corpus before training.

    python show_examples.py --input_file='corpus/*.txt' --vocab_file=vocab.txt \
        [the flags of the training] [--epoch=2] [--first_example=1000] \
        [--num_examples=3]

These are the examples, in their order, that run_pretraining_e2e.py trains on
with the same flags, decoded from the same bytes. A masked piece is printed as
[MASK](original), one that was replaced by a random piece as
replacement(original), one that was chosen and kept as =(original). Pieces that
were chosen together, as a word, an n-gram or a span, are joined by plus signs.
A row of packed sequences (--pack_sequences) is printed sequence by sequence.
TensorFlow is not needed.
"""

import dataclasses
import itertools
import logging
import sys
from typing import List, NamedTuple, Sequence

from absl import flags

import tokenization
from bert_e2e import flags as flags_lib
from bert_e2e.common import input_files
from bert_e2e.config import (
  InstanceConfig,
  PackingConfig,
  ReaderConfig,
  TokenizerConfig,
  names_of,
)
from bert_e2e.data import packing
from bert_e2e.data import stream as stream_lib
from bert_e2e.data.example_builder import ExampleBuilder
from bert_e2e.data.pieces import warn_of_repeated_pieces
from bert_e2e.data.text_source import TextSource
from bert_e2e.data.tf_example import parse_example

# What B is: if the label is 1, by the sentence objective.
_RELATIONS = {False: "B follows A",
              "nsp": "B is a random text and does not follow A",
              "sop": "A follows B: they are swapped"}


class ShownExample(bytes):
  """A serialized tf.Example that knows what was masked together.

  Attributes:
    groups: list of lists of int, offsets; see masking.choose_groups. It has one
      for each word, n-gram or span, and is empty where pieces are masked one by
      one.
  """

  groups: Sequence[List[int]] = ()

  @classmethod
  def of(cls, example, groups):
    """Returns the ShownExample of bytes and their groups."""
    shown = cls(example)
    shown.groups = groups
    return shown


class _Builder(ExampleBuilder):
  """Builds ShownExamples."""

  def build(self, epoch, chunk):
    options = self._options.instances
    instances = self.build_instances(epoch, chunk)
    examples = self.serialize(instances)
    groups = [instance.masked_groups if options.masks_groups else ()
              for instance in instances]
    if self._options.pack_sequences:
      return [sequence._replace(masked_groups=found)
              for sequence, found in zip(examples, groups)]
    return list(map(ShownExample.of, examples, groups))


class _Packer(packing.Packer):
  """Makes ShownExamples."""

  def row(self, sequences):
    starts = itertools.accumulate([0] + [each.length for each in sequences])
    return ShownExample.of(super().row(sequences), [
        [start + place for place in places]
        for start, sequence in zip(starts, sequences)
        for places in sequence.masked_groups])


def _joined(shown, groups, start, end):
  """Returns the text of some pieces, those of a group joined by plus signs."""
  group_of = {place: number for number, places in enumerate(groups)
              for place in places}
  text = ""
  for place in range(start, end):
    group = group_of.get(place)
    is_joined = group is not None and group_of.get(place - 1) == group
    text += ("+" if is_joined else " " if text else "") + shown[place]
  return text


def _marked(features, names):
  """Returns the pieces of an example, a list of str, the masks marked."""
  length = sum(features["input_mask"])
  shown = [names[i] for i in features["input_ids"][:length]]
  for place, label, weight in zip(
      features["masked_lm_positions"], features["masked_lm_ids"],
      features["masked_lm_weights"]):
    if weight:
      kept = shown[place] == names[label]
      shown[place] = "%s(%s)" % ("=" if kept else shown[place], names[label])
  return shown


class _Extent(NamedTuple):
  """Where a sequence lies in an example: its first offset and its end, and its
  label of next_sentence_labels, an int."""
  start: int
  end: int
  label: int


def _extents(features):
  """Returns the _Extents of the sequences of an example."""
  end = sum(features["input_mask"])
  labels = features["next_sentence_labels"]
  if "pack_ids" not in features:
    return [_Extent(0, end, labels[0])]
  count = int(sum(features["next_sentence_weights"]))
  starts = features["cls_positions"][:count] + [end]
  return list(map(_Extent, starts, starts[1:], labels))


def show(example, names, sentence_objective="nsp"):
  """Formats an example for people.

  Args:
    example: ShownExample, or other bytes, a serialized tf.Example.
    names: dict from id to piece.
    sentence_objective: str, see config.InstanceConfig.

  Returns:
    str of four lines for each of its sequences; of three for one that is not a
    pair. Before those of a packed row, a line says how many sequences it has
    and how many of its positions they take: "3 sequences, 120 of 128
    positions".
  """
  features = parse_example(example)
  shown, groups = _marked(features, names), getattr(example, "groups", ())
  extents = _extents(features)
  first = ""
  if "pack_ids" in features:
    first = "%d sequences, %d of %d positions\n" % (
        len(extents), extents[-1].end, len(features["input_mask"]))
  return first + "".join(
      _show_sequence(features, extent, shown, groups, sentence_objective)
      for extent in extents)


def _show_sequence(features, extent, shown, groups, sentence_objective):
  """Formats the sequence of an _Extent; see `show` and `_marked`."""
  start, end, label = extent
  start_b = end - sum(features["segment_ids"][start:end])
  text_a, text_b = (_joined(shown, groups, first, last)
                    for first, last in ((start, start_b), (start_b, end)))
  relation = _RELATIONS[label == 1 and sentence_objective]
  num_masked = sum(
      weight and start <= place < end for place, weight in zip(
          features["masked_lm_positions"], features["masked_lm_weights"]))
  length = len(features["input_mask"])
  return (
      "%s%d%s pieces, %d of them to predict\ninput_ids: %s\n" % (
          "A: %s\nB: %s\n%s; " % (text_a, text_b, relation) if text_b else
          "A: %s\n" % text_a,
          end - start, "" if "pack_ids" in features else " of %d" % length,
          int(num_masked),
          " ".join(map(str, features["input_ids"][start:end]))))


def examples_at(corpus, options, epoch, first, count):
  """Returns the examples at a place in an epoch of a stream.

  Args:
    corpus: corpus.Corpus; options: stream.StreamOptions.
    epoch: int, from 0.
    first: int, examples of the epoch to skip, which are built nevertheless.
    count: int.

  Returns:
    list of ShownExample; fewer than `count` at the end of the epoch.

  Raises:
    ValueError: the text can't be read, or yields no example.
  """
  stream = stream_lib.ExampleStream(
      corpus, options, num_epochs=epoch + 1, make_builder=_Builder,
      make_packer=_Packer)
  examples = stream.examples(stream_lib.Position(epoch))
  found = list(itertools.islice(examples, first, first + count))
  examples.close()
  return found


def _define_flags():
  flags.DEFINE_string(
      "input_file", None,
      "Raw text: files, patterns or directories, separated by commas.")
  flags_lib.define(flags_lib.INSTANCE_FLAGS + names_of(PackingConfig) + (
      "chunk_lines",))
  flags.DEFINE_integer(
      "epoch", 0, "The epoch to show, from 0.", lower_bound=0)
  flags.DEFINE_integer(
      "first_example", 0, "Number of the epoch's first example to show.",
      lower_bound=0)
  flags.DEFINE_integer(
      "num_examples", 5, "Number of examples to show.", lower_bound=1)
  flags.mark_flags_as_required(["input_file", "vocab_file"])


def _run(values):
  """Prints the examples that the flags select."""
  options = stream_lib.StreamOptions(
      values.vocab_file,
      flags_lib.group_from_flags(TokenizerConfig, values),
      flags_lib.group_from_flags(InstanceConfig, values), values.random_seed,
      strategy=values.strategy,
      **dataclasses.asdict(flags_lib.group_from_flags(ReaderConfig, values)),
      **dataclasses.asdict(flags_lib.group_from_flags(PackingConfig, values)))
  source = TextSource(input_files.expand(values.input_file), options,
                      chunk_lines=values.chunk_lines)
  warn_of_repeated_pieces(values.vocab_file)
  vocab = tokenization.load_vocab(values.vocab_file)
  names = {number: piece for piece, number in vocab.items()}
  found = examples_at(source.corpus, options, values.epoch,
                      values.first_example, values.num_examples)
  if not found:
    raise ValueError("Epoch %d has no more than %d examples." %
                     (values.epoch, values.first_example))
  for number, example in enumerate(found, values.first_example):
    print("--- epoch %d, example %d" % (values.epoch, number))
    print(show(example, names, options.instances.sentence_objective))


def main(argv):
  logging.basicConfig(format="%(levelname)s: %(message)s")
  try:
    flags_lib.check_no_arguments(argv[1:])
    _run(flags.FLAGS)
  except BrokenPipeError:  # From `| head`.
    sys.stderr.close()
  except (ValueError, OSError) as e:
    sys.exit("show_examples.py: %s" % e)


if __name__ == "__main__":
  _define_flags()
  flags_lib.run(main)
