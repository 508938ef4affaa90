"""Builds the examples of a chunk: what worker processes run.

Everything here is a pure function of the text, the options and the place in the
stream. This module must stay light: workers import it and nothing heavier.
"""

import dataclasses
import hashlib
import random
from typing import List, NamedTuple, Tuple

from bert_e2e.config import InstanceConfig, TokenizerConfig, check_value
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import instances as instances_lib
from bert_e2e.data import sampling, text_lines
from bert_e2e.data.pieces import id_pieces, packing_tokenizer


class StreamOptions(NamedTuple):
  """What the stream depends on besides the corpus; the flags of the same names.

  Attributes:
    vocab_file: path.
    tokenizer: config.TokenizerConfig.
    instances: config.InstanceConfig.
    random_seed: int.
    invalid_utf8: see text_lines.decode.
  """
  vocab_file: str
  tokenizer: TokenizerConfig = TokenizerConfig()
  instances: InstanceConfig = InstanceConfig()
  random_seed: int = 12345
  invalid_utf8: str = "error"

  def validated(self):
    """Returns self with a number for each "auto".

    Raises:
      ValueError: a value is out of its range.
    """
    check_value("invalid_utf8", self.invalid_utf8)
    return self._replace(instances=self.instances.validated())

  def make_tokenizer(self):
    """Returns the tokenizer; see pieces.packing_tokenizer."""
    return packing_tokenizer(
        self.vocab_file, **dataclasses.asdict(self.tokenizer))


def derived_rng(*place):
  """Returns a random.Random of its own for a place in the stream.

  Args:
    *place: numbers and strings that identify the place.

  Returns:
    random.Random; the same in every process for the same place.
  """
  digest = hashlib.sha256(repr(place).encode("utf-8")).digest()
  return random.Random(int.from_bytes(digest[:16], "big"))


class ExampleBuilder:
  """Turns chunks into examples.

  It is pickled with its vocabulary, so that a worker reads no file.

  Args:
    options: StreamOptions.
    held_out: text_lines.HeldOut, what should not be trained on.

  Raises:
    OSError, ValueError: the vocabulary can't be read.
  """

  def __init__(self, options, held_out=text_lines.NOTHING_HELD_OUT):
    self._options = options
    self._held_out = held_out
    self._tokenizer = options.make_tokenizer()
    self._pieces = id_pieces(self._tokenizer)

  def build(self, epoch, chunk) -> List[bytes]:
    """Returns the examples of a chunk in an epoch, in their order.

    Args:
      epoch: int; every epoch has other pairs and masks.
      chunk: corpus.Chunk.

    Returns:
      list of bytes; see tf_example.ExampleSerializer.serialize.

    Raises:
      ValueError: the chunk is not UTF-8.
    """
    rng = derived_rng(self._options.random_seed, epoch, "chunk", *chunk.key)
    invalid_utf8 = self._options.invalid_utf8
    borrowed = chunk.borrowed and text_lines.part_text(
        chunk.borrowed, invalid_utf8)
    return instances_lib.examples_from_text(
        corpus_lib.chunk_text(chunk, invalid_utf8), self._tokenizer,
        self._pieces, self._options.instances, sampling.StreamSampler(rng),
        borrowed or "")

  def build_and_compare(self, epoch, chunk):
    """Returns (the examples of a chunk, what of its text is held out).

    Args, raises: see `build`.

    Returns:
      (list of bytes, list of (hash, first words)).
    """
    found: List[Tuple[bytes, str]] = []
    if self._held_out:
      found = list(self._held_out.find(
          corpus_lib.chunk_text(chunk, self._options.invalid_utf8)))
    return self.build(epoch, chunk), found
