"""Builds masked-LM and sentence-pair instances from documents.

The functions here are pure: what they return depends on their arguments and on
the random numbers of `sampler` (see sampling.py). Pieces are texts or ids (see
pieces.py). Worker processes import this module, so it must not import
TensorFlow or absl.
"""

from typing import Any, Callable, Iterator, List, NamedTuple

import tokenization
from bert_e2e.config import InstanceConfig, names_of
from bert_e2e.data import masking, pairing, sampling, tf_example
from bert_e2e.data.pieces import text_pieces

# Special tokens of an example ([CLS] A [SEP] B [SEP]).
NUM_SPECIAL = 3


class Pairing(NamedTuple):
  """How the pairs of a sentence objective are formed: a row of `PAIRINGS`.

  Attributes:
    pairs: function that yields the pairing.Pairs of a document, with
      `is_random` as the label; see pairing.next_sentence_pairs for its
      arguments.
    needs_other_documents: bool, whether it takes texts of other documents.
  """
  pairs: Callable[..., Iterator[pairing.Pair]]
  needs_other_documents: bool = False


# --sentence_objective -> Pairing.
PAIRINGS = {
    "nsp": Pairing(pairing.next_sentence_pairs, needs_other_documents=True),
    "none": Pairing(pairing.consecutive_pairs),
}


class TrainingInstance:
  """A masked sentence pair.

  Args:
    tokens: list of pieces, [CLS] A [SEP] B [SEP], masked.
    segment_ids: list of int, 0 for [CLS], A and the first [SEP], else 1.
    masked_lm_positions: list of int, the masked offsets into `tokens`,
      ascending.
    masked_lm_labels: list of pieces, the original ones at these offsets.
    is_random_next: bool, whether B is a random text, not the one that follows.

  Source: google-research/bert, create_pretraining_data.py, same attributes.
  """

  def __init__(self, tokens, segment_ids, masked_lm_positions, masked_lm_labels,
               is_random_next):
    self.tokens = tokens
    self.segment_ids = segment_ids
    self.masked_lm_positions = masked_lm_positions
    self.masked_lm_labels = masked_lm_labels
    self.is_random_next = is_random_next

  def __str__(self):
    names = ("tokens", "segment_ids", "is_random_next", "masked_lm_positions",
             "masked_lm_labels")
    return "".join(
        "%s: %s\n" % (name, printable(getattr(self, name)))
        for name in names) + "\n"

  __repr__ = __str__


class Document(NamedTuple):
  """A document: the concatenated pieces of its segments.

  Attributes:
    pieces: list of pieces.
    starts: list of int, ascending from 0: where each segment starts in
      `pieces`, and finally the number of all pieces.
  """
  pieces: List[Any]
  starts: List[int]


def group_documents(segments):
  """Groups lines into documents.

  A blank line ends a document. A line with text of which no piece is left is
  neither a segment nor an end.

  Args:
    segments: iterable that gives for each line its pieces, an iterable, or None
      for a blank line.

  Returns:
    list of Document with at least one segment, of at least one piece each.

  >>> group_documents([["a", "b"], [], ["c"], None, None, ["d"]])[0]
  Document(pieces=['a', 'b', 'c'], starts=[0, 2, 3])
  """
  documents = []
  pieces: List[Any] = []
  starts = [0]
  for segment in segments:
    if segment is not None:
      pieces += segment
      if len(pieces) > starts[-1]:
        starts.append(len(pieces))
    elif pieces:
      documents.append(Document(pieces, starts))
      pieces, starts = [], [0]
  if pieces:
    documents.append(Document(pieces, starts))
  return documents


def tokenized(lines, tokenizer):
  """Yields each line's pieces as texts, None for a blank line.

  Args:
    lines: iterable of str.
    tokenizer: has `tokenize(line)`.
  """
  for line in lines:
    line = line.strip()
    yield tokenizer.tokenize(line) if line else None


def instances_from_documents(documents, options, pieces, sampler, borrowed=()):
  """Builds the instances of some documents.

  Args:
    documents: list of Document; shuffled in place.
    options: config.InstanceConfig.
    pieces: pieces.Pieces.
    sampler: sampling.ReferenceSampler or StreamSampler.
    borrowed: list of Document for random next texts if there is only one
      document; no instance is built from them.

  Returns:
    list of TrainingInstance, shuffled.
  """
  sampler.shuffle(documents)
  instances = [
      instance for _ in range(options.dupe_factor)
      for index in range(len(documents))
      for instance in document_instances(
          documents[index],
          pairing.OtherDocuments(documents, index, borrowed, sampler),
          options, pieces, sampler)
  ]
  sampler.shuffle(instances)
  return instances


def document_instances(document, others, options, pieces, sampler):
  """Yields the instances of a document, in the order of the text.

  Args:
    document: Document.
    others: pairing.OtherDocuments.
    options, pieces, sampler: see instances_from_documents.
  """
  max_num_pieces = options.max_seq_length - NUM_SPECIAL
  target = max_num_pieces
  if sampler.chance(options.short_seq_prob):
    target = sampler.integer(2, max_num_pieces)
  pairing_row = PAIRINGS[options.sentence_objective]
  for pair in pairing_row.pairs(document, others, target, sampler):
    start_a, end_a, start_b, end_b = pairing.truncated_bounds(
        pair.start_a, pair.end_a, pair.start_b, pair.end_b, max_num_pieces,
        sampler)
    tokens = [pieces.cls, *pair.pieces_a[start_a:end_a], pieces.sep,
              *pair.pieces_b[start_b:end_b], pieces.sep]
    positions, labels = masking.mask_tokens(
        tokens, masking.maskable_positions(tokens, pieces, end_a - start_a),
        options, pieces, sampler)
    segment_ids = [0] * (end_a - start_a + 2) + [1] * (end_b - start_b + 1)
    yield TrainingInstance(tokens, segment_ids, positions, labels,
                           pair.is_random)


def _instances_from_segments(segments, borrowed, options, pieces, sampler):
  """Builds the instances of a chunk from its lines' pieces; see group_documents
  for `segments` and `borrowed`, instances_from_documents for the others."""
  return instances_from_documents(
      group_documents(segments), options, pieces, sampler,
      group_documents(borrowed))


def fusion_input_and_out(lines, tokenizer, rng, *, max_seq_length=128,
                         max_predictions_per_seq=20, masked_lm_prob=0.15,
                         short_seq_prob=0.1, dupe_factor=1,
                         do_whole_word_mask=False, sentence_objective="nsp",
                         mask_replace_prob=0.8, random_replace_prob=0.1,
                         max_ngram_size=1, span_geometric_p=None, span_upper=10,
                         borrowed_lines=()):
  """Builds the instances of a chunk of lines, as the stream does.

  Args:
    lines: iterable of str, a sentence each; blank lines end documents.
    tokenizer: has `tokenize(line)`, which returns a list of str, and `vocab`,
      an iterable of all WordPieces, e.g. tokenization.FullTokenizer.
    rng: random.Random; example_builder.derived_rng gives the stream's own.
    max_seq_length, max_predictions_per_seq, masked_lm_prob, short_seq_prob,
      dupe_factor, do_whole_word_mask, sentence_objective, mask_replace_prob,
      random_replace_prob, max_ngram_size, span_geometric_p, span_upper: see
      config.InstanceConfig.
    borrowed_lines: iterable of str, lines of other documents. If `lines` are a
      single document, random next texts come from these; without them every B
      follows its A.

  Returns:
    list of TrainingInstance, with pieces as texts, shuffled.

  Raises:
    ValueError: an option is out of range.

  >>> import random
  >>> class Words:
  ...   vocab = ["[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e"]
  ...   tokenize = staticmethod(str.split)
  >>> instance, *_ = fusion_input_and_out(
  ...     ["a b c", "d e", "", "e d", "c b a"], Words, random.Random(2))
  >>> instance.tokens
  ['[CLS]', 'e', 'd', '[SEP]', '[MASK]', 'b', 'a', '[SEP]']
  >>> instance.masked_lm_positions, instance.masked_lm_labels
  ([4], ['c'])
  >>> instance.is_random_next
  False
  """
  arguments = locals()
  options = InstanceConfig(**{
      name: arguments[name] for name in names_of(InstanceConfig)}).validated()
  return _instances_from_segments(
      tokenized(lines, tokenizer), tokenized(borrowed_lines, tokenizer),
      options, text_pieces(list(tokenizer.vocab)), sampling.StreamSampler(rng))


def examples_from_text(text, tokenizer, pieces, options, sampler,
                       borrowed_text=""):
  """Builds the serialized examples of a chunk of text, fast.

  Args:
    text: str, a sentence per line; blank lines end documents.
    tokenizer: see pieces.packing_tokenizer.
    pieces: `id_pieces(tokenizer)`.
    options: config.InstanceConfig.
    sampler: sampling.ReferenceSampler or StreamSampler.
    borrowed_text: str, of other documents; see instances_from_documents.

  Returns:
    list of bytes, shuffled; see tf_example.ExampleSerializer.serialize.
  """
  instances = _instances_from_segments(
      tokenizer.lines_to_ids(text), tokenizer.lines_to_ids(borrowed_text),
      options, pieces, sampler)
  return tf_example.create_instance_to_example_files(
      instances, tokenizer, options.max_seq_length,
      options.max_predictions_per_seq)


def printable(value):
  """Writes a list as its items separated by spaces, anything else as it is."""
  if isinstance(value, (bool, str)):
    return str(value)
  return " ".join(
      tokenization.printable_text(x) if isinstance(x, (str, bytes)) else str(x)
      for x in value)
