"""Counts what sampled text contains, and what the stream makes of it."""

import collections
import dataclasses
from typing import Dict

import tokenization
from bert_e2e.common import file_io
from bert_e2e.data import instances as instances_lib
from bert_e2e.data import preflight_formats, sampling, tf_example
from bert_e2e.data.example_builder import (
  StrategyBuilder,
  derived_rng,
  sentence_texts,
)
from bert_e2e.data.preflight_numbers import ratio


class SampleCounter:
  """Adds up counts over samples, each with its weight.

  Args:
    options: example_builder.StreamOptions, validated.
    is_whole: bool, whether the samples are the whole corpus.

  Attributes:
    tokenizer: tokenization.FullTokenizer.
    total: dict from a name to a weighted sum over the samples: of `lines`,
      `sentences`, `long_sentences`, `tokens`, `unknown` tokens; `documents`;
      `skipped` records; those `started` in a sample, and the `single` ones of
      one sentence among them; `examples` with their `example_tokens` and
      `bytes`, the `random_pairs` among them, the tokens of the text `kept` in
      them and the `masked` ones; `cased_letters` and the `capitals` among
      these; `chinese` characters.
    formats: preflight_formats.FormatCounter.
    lengths: dict from the number of tokens of an example to the weighted number
      of examples.
    unknown_words: dict from a word that becomes [UNK] to its weighted number.

  Raises:
    OSError, ValueError: the vocabulary can't be read.
  """

  def __init__(self, options, is_whole):
    self._options = options
    self._is_whole = is_whole
    self.tokenizer = options.make_tokenizer()
    self._pieces = options.make_pieces(self.tokenizer)
    self._strategy = StrategyBuilder(options) if options.strategy else None
    self._unknown = self.tokenizer.vocab["[UNK]"]
    self._is_unknown: Dict[str, bool] = {}  # Of words that were tokenized.
    self.total: Dict[str, float] = collections.defaultdict(float)
    self.lengths: Dict[int, float] = collections.defaultdict(float)
    self.unknown_words: Dict[str, float] = collections.defaultdict(float)
    self.formats = preflight_formats.FormatCounter()

  def add(self, sample):
    """Counts what a preflight_sample.Sample contains.

    Raises:
      ValueError: it is not UTF-8; the strategy failed.
    """
    options = self._options.instances
    text, borrowed_text = sentence_texts(sample.chunk, self._options.reader)
    documents = instances_lib.group_documents(
        self._segments(text, sample.weight))
    self._add(sample.weight, _text_counts(text))
    self._add(sample.weight, _document_counts(
        documents, sample, options.max_seq_length -
        instances_lib.EXAMPLE_FORMATS[options.example_format].num_special))
    borrowed = instances_lib.group_documents(instances_lib.segments_of_text(
        borrowed_text, self.tokenizer, self._pieces))
    self.formats.add(documents, options, sample.weight)
    for fraction, mixed in self._mixture():
      rng = derived_rng(
          self._options.random_seed, 0, "chunk", *sample.chunk.key)
      if self._strategy:
        instances = self._strategy.build(0, sample.chunk, mixed, rng)
      else:
        instances = instances_lib.instances_from_documents(
            documents, mixed, self._pieces, sampling.StreamSampler(rng),
            borrowed)
      self._add_examples(fraction * sample.weight, instances)

  def _mixture(self):
    """Returns the options by which the examples of a sample are built.

    A long document that is cut into short examples yields many of them. One in
    ten is, and a sample might contain none of these, or several. So every
    document is cut both ways, and the results are averaged.

    Returns:
      list of (fraction of the examples, InstanceConfig). If the samples are the
      whole corpus, the very examples of the first epoch are built.
    """
    options, strategy = self._options.instances, self._options.strategy
    row = instances_lib.EXAMPLE_FORMATS[options.example_format]
    if self._is_whole or row.sequences or (
        strategy and not strategy.accepts("short_seq_prob")):
      return [(1.0, options)]
    fractions = {0.0: 1 - options.short_seq_prob, 1.0: options.short_seq_prob}
    return [
        (fraction, dataclasses.replace(options, short_seq_prob=probability))
        for probability, fraction in fractions.items() if fraction]

  def _add(self, weight, counts):
    for name, count in counts.items():
      self.total[name] += weight * count

  def _add_examples(self, weight, instances):
    options = self._options.instances
    examples = tf_example.create_instance_to_example_files(
        instances, self.tokenizer, options.max_seq_length,
        options.max_predictions_per_seq)
    self._add(weight, _example_counts(instances, examples, self._pieces.sep))
    pairing = instances_lib.PAIRINGS[options.sentence_objective]
    if pairing.needs_other_documents:
      self._add(weight, _random_text_counts(instances))
    for instance in instances:
      self.lengths[len(instance.tokens)] += weight

  def _segments(self, text, weight):
    """Yields each line's tokens, None for a blank line; counts [UNK]."""
    lines = file_io.split_lines(text)
    for line, tokens in zip(lines, instances_lib.segments_of_text(
        text, self.tokenizer, self._pieces)):
      if tokens is not None:
        tokens = list(tokens)
        if self._unknown in tokens:
          self.total["unknown"] += weight * tokens.count(self._unknown)
          self._count_unknown(line, weight)
      yield tokens

  def _count_unknown(self, line, weight):
    """Counts the words of a line that become [UNK]."""
    wordpiece = self.tokenizer.wordpiece_tokenizer
    for word in self.tokenizer.words(line):
      if word not in self._is_unknown:
        self._is_unknown[word] = (
            wordpiece.tokenize(word) == [wordpiece.unk_token])
      if self._is_unknown[word]:
        self.unknown_words[word] += weight


def _text_counts(text):
  """Returns a dict of the counts of a text (str): see SampleCounter."""
  capitals = sum(map(str.isupper, text))
  return {"capitals": capitals,
          "cased_letters": capitals + sum(map(str.islower, text)),
          "chinese": tokenization.count_chinese(text)}


def _document_counts(documents, sample, max_tokens):
  """Returns a dict of the counts of documents: see SampleCounter.

  Args:
    documents: list of instances.Document, of a sample.
    sample: preflight_sample.Sample.
    max_tokens: int, tokens of the text that an example can hold.
  """
  started = documents if sample.starts_document else documents[1:]
  num_documents = sample.num_documents
  ended = started if sample.ends_document else started[:-1]
  lengths = [end - start for _, starts in documents
             for start, end in zip(starts, starts[1:])]
  return {
      "lines": sum(len(file_io.split_lines(part.data))
                   for part in sample.chunk.parts),
      "sentences": len(lengths),
      "long_sentences": sum(length > max_tokens for length in lengths),
      "tokens": sum(lengths),
      "documents": (len(documents) if num_documents is None else
                    num_documents),
      "skipped": sample.num_skipped,
      "started": len(started),
      "single": sum(len(document.starts) == 2 for document in ended),
  }


def _example_counts(instances, examples, sep):
  """Returns a dict of the counts of examples: see SampleCounter.

  Args:
    instances: list of TrainingInstance; examples: list of bytes, the same ones
      serialized.
    sep: the piece [SEP], of which there is one after each text.
  """
  tokens = special = masked = 0
  for instance in instances:
    tokens += len(instance.tokens)
    positions = instance.masked_lm_positions
    # A random piece that masks another one may be [SEP].
    special += 1 + instance.tokens.count(sep) - sum(
        instance.tokens[position] == sep for position in positions)
    masked += len(positions)
  return {"examples": len(instances), "example_tokens": tokens,
          "kept": tokens - special, "masked": masked,
          "bytes": sum(map(len, examples))}


def _random_text_counts(instances):
  """Returns the number of pairs with a random text, and what it takes from
  `kept` that it is not the document's; see SampleCounter."""
  texts = [sum(instance.segment_ids) - 1 for instance in instances
           if instance.is_random_next]
  return {"random_pairs": len(texts), "kept": -sum(texts)}


def vocabulary_shares(vocab, strip_accents=None):
  """Measures the case of a vocabulary.

  Args:
    vocab: iterable of WordPieces; special ones do not count.
    strip_accents: see config.TokenizerConfig.

  Returns:
    (fraction with a capital letter, fraction that can't occur in lower-cased
    text because of capitals or accents).
  """
  lower_case = tokenization.BasicTokenizer(strip_accents=strip_accents)
  pieces = [piece[2:] if piece.startswith("##") else piece for piece in vocab
            if not (piece.startswith("[") and piece.endswith("]"))]
  capitals = sum(any(map(str.isupper, piece)) for piece in pieces)
  unreachable = sum(
      piece != (piece.lower() if piece.isascii() else
                "".join(lower_case.tokenize(piece))) for piece in pieces)
  return ratio(capitals, len(pieces)), ratio(unreachable, len(pieces))
