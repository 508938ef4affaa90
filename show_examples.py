"""Prints examples as the model sees them, to check a corpus before training.

    python show_examples.py --input_file='corpus/*.txt' --vocab_file=vocab.txt \
        [the flags of the training] [--epoch=2] [--first_example=1000] \
        [--num_examples=3]

These are the examples, in their order, that run_pretraining_e2e.py trains on
with the same flags, decoded from the same bytes. A masked piece is printed as
[MASK](original), one that was replaced by a random piece as
replacement(original), one that was chosen and kept as =(original). Pieces that
were chosen together, as a word, an n-gram or a span, are joined by plus signs.
TensorFlow is not needed.
"""

import dataclasses
import itertools
import logging
import sys
from typing import List, Sequence

from absl import flags

import tokenization
from bert_e2e import flags as flags_lib
from bert_e2e.common import input_files
from bert_e2e.config import InstanceConfig, ReaderConfig, TokenizerConfig
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


class _Builder(ExampleBuilder):
  """Builds ShownExamples."""

  def build(self, epoch, chunk):
    options = self._options.instances
    instances = self.build_instances(epoch, chunk)
    examples = list(map(ShownExample, self.serialize(instances)))
    if options.masks_groups:
      for example, instance in zip(examples, instances):
        example.groups = instance.masked_groups
    return examples


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


def _marked_texts(features, names, groups):
  """Returns (text of A, text of B), the masks marked."""
  length = sum(features["input_mask"])
  shown = [names[i] for i in features["input_ids"][:length]]
  for place, label, weight in zip(
      features["masked_lm_positions"], features["masked_lm_ids"],
      features["masked_lm_weights"]):
    if weight:
      kept = shown[place] == names[label]
      shown[place] = "%s(%s)" % ("=" if kept else shown[place], names[label])
  start_b = length - sum(features["segment_ids"])
  return (_joined(shown, groups, 0, start_b),
          _joined(shown, groups, start_b, length))


def show(example, names, sentence_objective="nsp"):
  """Formats an example for people.

  Args:
    example: ShownExample, or other bytes, a serialized tf.Example.
    names: dict from id to piece.
    sentence_objective: str, see config.InstanceConfig.

  Returns:
    str of four lines; of three for a single sequence.
  """
  features = parse_example(example)
  text_a, text_b = _marked_texts(
      features, names, getattr(example, "groups", ()))
  is_changed = features["next_sentence_labels"] == [1]
  length = sum(features["input_mask"])
  relation = _RELATIONS[is_changed and sentence_objective]
  return (
      "%s%d of %d pieces, %d of them to predict\ninput_ids: %s\n" % (
          "A: %s\nB: %s\n%s; " % (text_a, text_b, relation) if text_b else
          "A: %s\n" % text_a,
          length, len(features["input_mask"]),
          int(sum(features["masked_lm_weights"])),
          " ".join(map(str, features["input_ids"][:length]))))


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
      corpus, options, num_epochs=epoch + 1, make_builder=_Builder)
  examples = stream.examples(stream_lib.Position(epoch))
  found = list(itertools.islice(examples, first, first + count))
  examples.close()
  return found


def _define_flags():
  flags.DEFINE_string(
      "input_file", None,
      "Raw text: files, patterns or directories, separated by commas.")
  flags_lib.define(flags_lib.INSTANCE_FLAGS + ("chunk_lines",))
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
      **dataclasses.asdict(flags_lib.group_from_flags(ReaderConfig, values)))
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
