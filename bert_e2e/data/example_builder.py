"""Builds the examples of a chunk: what worker processes run.

Everything here is a pure function of the text, the options and the place in the
stream. This module must stay light: workers import it and nothing heavier.
"""

import dataclasses
import functools
import hashlib
import random
from typing import Any, List, NamedTuple, Tuple

import tokenization
from bert_e2e.common import file_io
from bert_e2e.config import (
  InstanceConfig,
  PackingConfig,
  ReaderConfig,
  TokenizerConfig,
  check_chinese_words,
  names_of,
)
from bert_e2e.data import (
  chinese_words,
  readers,
  sampling,
  sentences,
  strategies,
  text_lines,
  tf_example,
)
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import instances as instances_lib
from bert_e2e.data import packing as packing_lib
from bert_e2e.data.pieces import id_pieces, packing_tokenizer


class StreamOptions(NamedTuple):
  """What the stream depends on besides the corpus; the flags of the same names.

  Attributes:
    vocab_file: path.
    tokenizer: config.TokenizerConfig.
    instances: config.InstanceConfig.
    random_seed: int.
    invalid_utf8, input_format, text_field, invalid_records, sentence_split: see
      config.ReaderConfig.
    pack_sequences, max_sequences_per_pack: see config.PackingConfig.
    strategy: the user's function that builds instances, see strategies.find;
      None for the built-in rules.
  """
  vocab_file: str
  tokenizer: TokenizerConfig = TokenizerConfig()
  instances: InstanceConfig = InstanceConfig()
  random_seed: int = 12345
  invalid_utf8: str = "error"
  input_format: str = "auto"
  text_field: str = "text"
  invalid_records: str = "error"
  sentence_split: str = "line"
  pack_sequences: bool = False
  max_sequences_per_pack: int = 8
  strategy: Any = None

  @property
  def reader(self) -> ReaderConfig:
    """How text is read, as a group of the config."""
    return ReaderConfig(**{
        name: getattr(self, name) for name in names_of(ReaderConfig)})

  @property
  def packing(self) -> PackingConfig:
    """How many sequences a row holds, as a group of the config."""
    return PackingConfig(self.pack_sequences, self.max_sequences_per_pack)

  def row_shape(self) -> packing_lib.RowShape:
    """Returns the shape of packed rows; of validated options."""
    return packing_lib.row_shape(
        self.instances, self.packing, bool(self.strategy))

  def validated(self):
    """Returns self with a number for each "auto", and a strategies.Strategy.

    Raises:
      ValueError: a value is out of its range, or contradicts another one; the
        strategy can't be imported, or does not accept an option.
    """
    self.reader.validated()
    self.packing.validated().check_used()
    check_chinese_words(self.tokenizer, self.instances)
    instances = self.instances.validated()
    strategy = strategies.find(self.strategy)
    if strategy:
      strategy.check_options(instances)
    return self._replace(instances=instances, strategy=strategy)

  @property
  def needs_other_documents(self):
    """bool, whether chunks of one document borrow text of others.

    See instances.Pairing.
    """
    pairing = instances_lib.PAIRINGS[self.instances.sentence_objective]
    return pairing.needs_other_documents and (
        not self.strategy or self.strategy.accepts("borrowed_lines"))

  def make_tokenizer(self):
    """Returns the tokenizer; see pieces.packing_tokenizer."""
    return packing_tokenizer(
        self.vocab_file, **dataclasses.asdict(self.tokenizer))

  def make_pieces(self, tokenizer):
    """Returns the pieces.Pieces of the tokenizer of `make_tokenizer`."""
    return id_pieces(tokenizer, chinese_words.find(self.instances))


def derived_rng(*place):
  """Returns a random.Random of its own for a place in the stream.

  Args:
    *place: numbers and strings that identify the place.

  Returns:
    random.Random; the same in every process for the same place.
  """
  digest = hashlib.sha256(repr(place).encode("utf-8")).digest()
  return random.Random(int.from_bytes(digest[:16], "big"))


def sentence_texts(chunk, options):
  """Returns the texts of a chunk, decoded, a sentence per line.

  Args:
    chunk: corpus.Chunk.
    options: config.ReaderConfig.

  Returns:
    (str, the chunk's text; str, the text that it borrows, "" if it borrows
    none).

  Raises:
    ValueError: the text is not UTF-8.
  """
  borrowed = chunk.borrowed and text_lines.part_text(chunk.borrowed, options)
  return (
      sentences.split(
          corpus_lib.chunk_text(chunk, options), options.sentence_split),
      sentences.split(borrowed or "", options.sentence_split))


class ChunkPlace(NamedTuple):
  """Names a chunk in an epoch, for an error message.

  Attributes:
    path: of the file; offset: int, byte of its text; epoch: int.
    reader: config.ReaderConfig.
  """
  path: str
  offset: int
  epoch: int
  reader: ReaderConfig

  def __str__(self):
    file = readers.text_file(self.path, self.reader)
    return "the lines of %s from line %d, byte %d, on, in epoch %d" % (
        self.path, file.number_at(self.offset), self.offset, self.epoch)


class StrategyBuilder:
  """Turns chunks into instances, by the user's strategy.

  Args:
    options: StreamOptions, validated, with a strategy.

  Raises:
    OSError, ValueError: the vocabulary can't be read.
  """

  def __init__(self, options):
    self._strategy = options.strategy
    self._reader = options.reader
    # Unlike that of StreamOptions, its ids are int.
    self._tokenizer = tokenization.FullTokenizer(
        options.vocab_file, **dataclasses.asdict(options.tokenizer))

  def build(self, epoch, chunk, options, rng):
    """Returns the instances of a chunk, in the strategy's order.

    Args:
      epoch: int; chunk: corpus.Chunk.
      options: config.InstanceConfig, validated.
      rng: random.Random.

    Returns:
      list of TrainingInstance, with pieces as texts.

    Raises:
      ValueError: see strategies.Strategy.build; the chunk is not UTF-8.
    """
    lines, borrowed_lines = map(
        file_io.split_lines, sentence_texts(chunk, self._reader))
    first = chunk.parts[0]
    return self._strategy.build(
        lines, self._tokenizer, rng, options,
        ChunkPlace(first.path, first.offset, epoch, self._reader),
        borrowed_lines)


class ExampleBuilder:
  """Turns chunks into examples.

  It is pickled with its vocabulary and its Chinese words, so that a worker
  reads no file.

  Args:
    options: StreamOptions, validated if there is a strategy.
    held_out: text_lines.HeldOut, what should not be trained on.

  Raises:
    OSError, ValueError: the vocabulary can't be read; see
      chinese_words.ChineseWords.
  """

  def __init__(self, options, held_out=text_lines.NOTHING_HELD_OUT):
    self._options = options
    self._reader = options.reader
    self._held_out = held_out
    self._tokenizer = options.make_tokenizer()
    self._pieces = options.make_pieces(self._tokenizer)
    self._strategy = StrategyBuilder(options) if options.strategy else None

  def build(self, epoch, chunk) -> List[Any]:
    """Returns the examples of a chunk in an epoch, in their order.

    Args:
      epoch: int; every epoch has other pairs and masks.
      chunk: corpus.Chunk.

    Returns:
      list of bytes, see tf_example.ExampleSerializer.serialize; with packing,
      of packing.PackableSequence, from which the stream makes examples.

    Raises:
      ValueError: the chunk is not UTF-8; the strategy failed.
    """
    return self.build_instances(epoch, chunk, self._encoder())

  def serialize(self, instances):
    """Returns what `build` does, of instances, a list."""
    return list(map(self._encoder(), instances))

  def _encoder(self):
    """Returns the function from an instance to what the stream takes."""
    if self._options.pack_sequences:
      return functools.partial(packing_lib.encode, tokenizer=self._tokenizer)
    options = self._options.instances
    return tf_example.encoder(self._tokenizer, options.max_seq_length,
                              options.max_predictions_per_seq)

  def build_instances(self, epoch, chunk, encode=None):
    """Returns the same as a list of instances.TrainingInstance, with pieces as
    encoded ids; see `build`.

    Args:
      epoch, chunk: see `build`.
      encode: see instances.instances_from_documents.
    """
    rng = derived_rng(self._options.random_seed, epoch, "chunk", *chunk.key)
    options = self._options.instances
    if self._strategy:
      instances = self._strategy.build(epoch, chunk, options, rng)
      return list(map(encode, instances)) if encode else instances
    text, borrowed_text = sentence_texts(chunk, self._reader)
    return instances_lib.instances_from_text(
        text, self._tokenizer, self._pieces, options,
        sampling.StreamSampler(rng), borrowed_text, encode)

  def build_and_compare(self, epoch, chunk):
    """Returns (the examples of a chunk, what of its text is held out).

    Args, raises: see `build`.

    Returns:
      (what `build` returns, list of (hash, first words)).
    """
    found: List[Tuple[bytes, str]] = []
    if self._held_out:
      found = list(self._held_out.find(
          corpus_lib.chunk_text(chunk, self._reader)))
    return self.build(epoch, chunk), found
