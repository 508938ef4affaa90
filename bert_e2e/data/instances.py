"""Builds masked-LM instances, sentence pairs or not, from documents.

The functions here are pure: what they return depends on their arguments and on
the random numbers of `sampler` (see sampling.py). Pieces are texts or ids (see
pieces.py). Worker processes import this module, so it must not import
TensorFlow or absl.
"""

import functools
import itertools
from typing import Any, Callable, Iterator, List, NamedTuple, Optional

import tokenization
from bert_e2e.common import file_io
from bert_e2e.config import InstanceConfig, names_of
from bert_e2e.data import (
  chinese_words,
  masking,
  pairing,
  sampling,
  sequences,
  tf_example,
)
from bert_e2e.data.pieces import text_pieces


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
    "sop": Pairing(pairing.sentence_order_pairs),
    "none": Pairing(pairing.consecutive_pairs),
}


class TrainingInstance:
  """A masked example: a sentence pair or a single sequence.

  Args:
    tokens: list of pieces, masked: [CLS] A [SEP] B [SEP], or [CLS], a text and
      [SEP], where a [SEP] may also separate texts of several documents.
    segment_ids: list of int, 1 for B and the [SEP] after it, else 0; bytes of
      them if pieces are ids.
    masked_lm_positions: list of int, the masked offsets into `tokens`,
      ascending.
    masked_lm_labels: list of pieces, the original ones at these offsets.
    is_random_next: bool, whether B is not the text that follows A: a random
      text or, under --sentence_objective=sop, the one before A.
    masked_groups: list of lists of int, the offsets that were masked together:
      see masking.choose_groups. Not part of an example.

  Source: google-research/bert, create_pretraining_data.py, same attributes,
    except for `masked_groups`.
  """

  def __init__(self, tokens, segment_ids, masked_lm_positions, masked_lm_labels,
               is_random_next, *, masked_groups=()):
    self.tokens = tokens
    self.segment_ids = segment_ids
    self.masked_lm_positions = masked_lm_positions
    self.masked_lm_labels = masked_lm_labels
    self.is_random_next = is_random_next
    self.masked_groups = masked_groups

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
  starts, size = [0], 0
  for segment in segments:
    if segment is not None:
      pieces += segment
      if len(pieces) > size:
        size = len(pieces)
        starts.append(size)
    elif pieces:
      documents.append(Document(pieces, starts))
      pieces, starts, size = [], [0], 0
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


def segments_of_text(text, tokenizer, pieces):
  """Returns each line's pieces as ids, None for a blank line; fast.

  Args:
    text: str.
    tokenizer: see pieces.packing_tokenizer.
    pieces: `id_pieces(tokenizer, ...)`.

  Returns:
    iterable.
  """
  segments = tokenizer.lines_to_ids(text)
  if pieces.marker is None:
    return segments
  return pieces.marked(file_io.split_lines(text), segments)


def instances_from_documents(documents, options, pieces, sampler, borrowed=(),
                             encode=None):
  """Builds the instances of some documents.

  Args:
    documents: list of Document; shuffled in place.
    options: config.InstanceConfig.
    pieces: pieces.Pieces.
    sampler: sampling.ReferenceSampler or StreamSampler.
    borrowed: list of Document for random next texts if there is only one
      document; no instance is built from them.
    encode: function from a TrainingInstance to what is returned in its place.
      It is called as soon as the instance is built, which is a sixth faster
      than encoding all of them afterwards: what it reads is still in the
      processor's cache.

  Returns:
    list of TrainingInstance, or of what `encode` returns, shuffled.
  """
  sampler.shuffle(documents)
  example_format = EXAMPLE_FORMATS[options.example_format]
  instances = itertools.chain.from_iterable(
      example_format.instances(documents, borrowed, options, pieces, sampler)
      for _ in range(options.dupe_factor))
  found = list(map(encode, instances) if encode else instances)
  sampler.shuffle(found)
  return found


def _pairs(documents, borrowed, options, pieces, sampler):
  """Yields the sentence pairs of documents; see instances_from_documents."""
  for index in range(len(documents)):
    yield from document_instances(
        documents[index],
        pairing.OtherDocuments(documents, index, borrowed, sampler),
        options, pieces, sampler)


def _single_sequences(form, documents, borrowed, options, pieces, sampler):
  """Yields the single sequences of documents.

  Args:
    form: function from (documents, budget) to the texts of the sequences; see
      sequences.full_sentences.
    documents, borrowed, options, pieces, sampler: see instances_from_documents.
  """
  del borrowed
  for texts in form(documents, options.max_seq_length - SINGLE_SPECIAL):
    tokens = [pieces.cls]
    for text, start, end in texts:
      tokens += text[start:end]
      tokens.append(pieces.sep)
    length_a = len(tokens) - SINGLE_SPECIAL if len(texts) == 1 else None
    yield _masked(tokens, pieces.segment_a * len(tokens), length_a, False,
                  options, pieces, sampler)


# Special tokens of a pair, [CLS] A [SEP] B [SEP], and of a single text.
PAIR_SPECIAL = 3
SINGLE_SPECIAL = 2


class ExampleFormat(NamedTuple):
  """What an example consists of: a row of `EXAMPLE_FORMATS`.

  Attributes:
    instances: function that yields TrainingInstances in the order of the text;
      see `_pairs` for its arguments.
    sequences: function that yields the single sequences of documents, see
      sequences.full_sentences; None for sentence pairs, which have a random
      length (--short_seq_prob) and a label for a sentence objective.
    num_special: int, special tokens of an example of one document.
  """
  instances: Callable[..., Iterator[TrainingInstance]]
  sequences: Optional[Callable[..., Iterator[List[Any]]]] = None
  num_special: int = SINGLE_SPECIAL


def _single(form):
  """Returns the row of a format of single sequences."""
  return ExampleFormat(functools.partial(_single_sequences, form), form)


# --example_format -> ExampleFormat.
EXAMPLE_FORMATS = {
    "segment_pair": ExampleFormat(_pairs, num_special=PAIR_SPECIAL),
    "full_sentences": _single(sequences.full_sentences),
    "doc_sentences": _single(sequences.doc_sentences),
    "line_by_line": _single(sequences.line_by_line),
}


def document_instances(document, others, options, pieces, sampler):
  """Yields the sentence pairs of a document, in the order of the text.

  Args:
    document: Document.
    others: pairing.OtherDocuments.
    options, pieces, sampler: see instances_from_documents.
  """
  max_num_pieces = options.max_seq_length - PAIR_SPECIAL
  target = max_num_pieces
  if sampler.chance(options.short_seq_prob):
    target = sampler.integer(2, max_num_pieces)
  pairs = PAIRINGS[options.sentence_objective].pairs
  cls, sep = pieces.cls, pieces.sep
  segment_a, segment_b = pieces.segment_a, pieces.segment_b
  for text_a, start_a, end_a, text_b, start_b, end_b, is_random in pairs(
      document, others, target, sampler):
    start_a, end_a, start_b, end_b = pairing.truncated_bounds(
        start_a, end_a, start_b, end_b, max_num_pieces, sampler)
    tokens = [cls, *text_a[start_a:end_a], sep, *text_b[start_b:end_b], sep]
    segment_ids = (segment_a * (end_a - start_a + 2) +
                   segment_b * (end_b - start_b + 1))
    yield _masked(tokens, segment_ids, end_a - start_a, is_random, options,
                  pieces, sampler)


def _masked(tokens, segment_ids, length_a, is_random_next, options, pieces,
            sampler):
  """Returns the TrainingInstance of tokens (a list), which are masked in place.

  Args:
    tokens, segment_ids, is_random_next: see TrainingInstance.
    length_a: see masking.maskable_positions.
    options, pieces, sampler: see instances_from_documents.
  """
  groups = masking.choose_groups(
      tokens, masking.maskable_positions(tokens, pieces, length_a), options,
      pieces, sampler)
  positions, labels = masking.replace_groups(
      tokens, groups, options, pieces, sampler)
  return TrainingInstance(
      tokens, segment_ids, positions, labels, is_random_next,
      masked_groups=groups)


def _instances_from_segments(segments, borrowed, options, pieces, sampler,
                             encode=None):
  """Builds the instances of a chunk from its lines' pieces; see group_documents
  for `segments` and `borrowed`, instances_from_documents for the others."""
  return instances_from_documents(
      group_documents(segments), options, pieces, sampler,
      group_documents(borrowed), encode)


def fusion_input_and_out(lines, tokenizer, rng, *, max_seq_length=128,
                         max_predictions_per_seq=20, masked_lm_prob=0.15,
                         short_seq_prob=0.1, dupe_factor=1,
                         do_whole_word_mask=False,
                         example_format="segment_pair",
                         sentence_objective="nsp", mask_replace_prob=0.8,
                         random_replace_prob=0.1, max_ngram_size=1,
                         span_geometric_p=None, span_upper=10, word_list=None,
                         segmenter="none", segmenter_cache=None,
                         borrowed_lines=()):
  """Builds the instances of a chunk of lines, as the stream does.

  Args:
    lines: iterable of str, a sentence each; blank lines end documents.
    tokenizer: has `tokenize(line)`, which returns a list of str, and `vocab`,
      an iterable of all WordPieces, e.g. tokenization.FullTokenizer.
    rng: random.Random; example_builder.derived_rng gives the stream's own.
    max_seq_length, max_predictions_per_seq, masked_lm_prob, short_seq_prob,
      dupe_factor, do_whole_word_mask, example_format, sentence_objective,
      mask_replace_prob, random_replace_prob, max_ngram_size, span_geometric_p,
      span_upper, segmenter, segmenter_cache: see config.InstanceConfig.
    word_list: path of a file of words, which is read once, or a collection of
      words (str).
    borrowed_lines: iterable of str, lines of other documents. If `lines` are a
      single document, random next texts come from these; without them every B
      follows its A.

  Returns:
    list of TrainingInstance, with pieces as texts, shuffled.

  Raises:
    ValueError: an option is out of range; see chinese_words.ChineseWords.

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
  pieces = text_pieces(list(tokenizer.vocab), chinese_words.find(options))
  lines, borrowed_lines = list(lines), list(borrowed_lines)
  return _instances_from_segments(
      pieces.marked(lines, tokenized(lines, tokenizer)),
      pieces.marked(borrowed_lines, tokenized(borrowed_lines, tokenizer)),
      options, pieces, sampling.StreamSampler(rng))


def instances_from_text(text, tokenizer, pieces, options, sampler,
                        borrowed_text="", encode=None):
  """Builds the instances of a chunk of text, with pieces as ids, fast.

  Args:
    text: str, a sentence per line; blank lines end documents.
    tokenizer: see pieces.packing_tokenizer.
    pieces: `id_pieces(tokenizer, ...)`.
    options: config.InstanceConfig.
    sampler: sampling.ReferenceSampler or StreamSampler.
    borrowed_text: str, of other documents; see instances_from_documents.
    encode: see instances_from_documents.

  Returns:
    list of TrainingInstance, or of what `encode` returns, shuffled.
  """
  return _instances_from_segments(
      segments_of_text(text, tokenizer, pieces),
      segments_of_text(borrowed_text, tokenizer, pieces),
      options, pieces, sampler, encode)


def examples_from_text(text, tokenizer, pieces, options, sampler,
                       borrowed_text=""):
  """Builds the serialized examples of a chunk of text, fast.

  Args:
    text, tokenizer, pieces, options, sampler, borrowed_text: see
      instances_from_text.

  Returns:
    list of bytes, shuffled; see tf_example.ExampleSerializer.serialize.
  """
  return instances_from_text(
      text, tokenizer, pieces, options, sampler, borrowed_text,
      tf_example.encoder(tokenizer, options.max_seq_length,
                         options.max_predictions_per_seq))


def printable(value):
  """Writes a list as its items separated by spaces, anything else as it is."""
  if isinstance(value, (bool, str)):
    return str(value)
  return " ".join(
      tokenization.printable_text(x) if isinstance(x, (str, bytes)) else str(x)
      for x in value)
