"""The stream: a host's endless, ordered sequence of serialized examples.

    corpus ── splits, shuffled over the whole corpus, dealt to the hosts
      └─ group of 32 splits ── cut into chunks of 1000 lines, chunks shuffled
           └─ window of 16 chunks ── examples shuffled
                └─ example

Every order and every draw is a pure function of (random_seed, epoch, place), so
the same corpus, vocabulary and options give the same stream, byte for byte, and
a `Position` in it is four numbers: going there reads one group and builds one
window, nothing before it. TensorFlow is not needed here.
"""

import hashlib
import itertools
import logging
import random
from typing import Iterator, List, NamedTuple, Optional

import corpus as corpus_lib
import create_pretraining_data as cpd
import tokenization

logger = logging.getLogger(__name__)

SPLITS_PER_GROUP = 32
CHUNKS_PER_WINDOW = 16
# Chunks of a group that are shuffled together, in bytes of text. Only a .gz
# file, which can't be cut into splits, makes a group larger than that.
POOL_BYTES = 1 << 26


class Position(NamedTuple):
  """A place in a stream: the number of what is complete before it.

  Attributes:
    epoch: passes over the corpus.
    group: groups of splits of this epoch.
    window: windows of this group.
    example: examples of this window.
  """
  epoch: int = 0
  group: int = 0
  window: int = 0
  example: int = 0


class Shard(NamedTuple):
  """Which host reads: `index` of `count`."""
  index: int = 0
  count: int = 1


class StreamOptions(NamedTuple):
  """What the stream depends on beside the corpus; the flags of the same names.

  Attributes:
    vocab_file: path.
    do_lower_case: bool.
    instances: create_pretraining_data.InstanceOptions.
    random_seed: int.
    invalid_utf8: see corpus.decode.
  """
  vocab_file: str
  do_lower_case: bool = True
  instances: cpd.InstanceOptions = cpd.InstanceOptions()
  random_seed: int = 12345
  invalid_utf8: str = "error"


def derived_rng(*place):
  """Returns a random.Random of its own for a place in the stream.

  Args:
    *place: numbers and strings that name the place.

  Returns:
    random.Random; the same in every process for the same place.
  """
  digest = hashlib.sha256(repr(place).encode("utf-8")).digest()
  return random.Random(int.from_bytes(digest[:16], "big"))


class ExampleBuilder:
  """Turns chunks into examples: what a worker process does.

  Args:
    options: StreamOptions.
  """

  def __init__(self, options):
    self._options = options
    self._tokenizer = tokenization.FullTokenizer(
        options.vocab_file, options.do_lower_case)
    self._pieces = cpd.id_pieces(self._tokenizer)

  def build(self, epoch, chunk) -> List[bytes]:
    """Returns the examples of a chunk in an epoch, in their order.

    Args:
      epoch: int; every epoch has other pairs and masks.
      chunk: corpus.Chunk.

    Returns:
      list of bytes; see create_pretraining_data.ExampleSerializer.

    Raises:
      ValueError: the chunk is not UTF-8.
    """
    rng = derived_rng(self._options.random_seed, epoch, "chunk", *chunk.key)
    lines = corpus_lib.chunk_lines(chunk, self._options.invalid_utf8)
    return cpd.examples_from_lines(lines, self._tokenizer, self._pieces,
                                   self._options.instances, rng)


class ExampleStream:
  """The stream of one host.

  Args:
    corpus: corpus.Corpus.
    options: StreamOptions.
    num_epochs: how many passes; None goes on for ever.
    shard: the Shard of this host; the hosts' splits are disjoint and together
      the corpus, in every epoch.

  Raises:
    ValueError: the vocabulary can't be read.
  """

  def __init__(self, corpus, options, *, num_epochs=None, num_workers=0,
               shard=Shard()):
    self._corpus = corpus
    self._options = options
    self._num_epochs = num_epochs
    self._shard = shard
    self._builder = ExampleBuilder(options)

  def examples(self, start: Position = Position()) -> Iterator[bytes]:
    """Yields the examples from a position on."""
    return itertools.chain.from_iterable(
        window for _, window in self.windows(start))

  def windows(self, start: Position = Position()):
    """Yields the examples from a position on, a window at a time.

    Args:
      start: Position of the first example.

    Yields:
      (Position of the list's first example, non-empty list of bytes).

    Raises:
      ValueError: a file can't be read, is not UTF-8, or a whole epoch of this
        host yields no example.
    """
    for epoch in self._epochs(start.epoch):
      found = start != Position(epoch)
      for position, chunks in self._epoch(epoch, start):
        window = self._build_window(position, chunks)
        skipped = start.example if position == start._replace(example=0) else 0
        if window[skipped:]:
          found = True
          yield position._replace(example=skipped), window[skipped:]
      if not found:
        raise ValueError(self._no_example())
      start = Position(epoch + 1)

  def _epochs(self, first):
    if self._num_epochs is None:
      return itertools.count(first)
    return range(first, self._num_epochs)

  def _epoch(self, epoch, start):
    """Yields (Position, chunks) of an epoch's windows from `start` on."""
    splits = self._corpus.splits()
    derived_rng(self._options.random_seed, epoch, "splits").shuffle(splits)
    mine = splits[self._shard.index::self._shard.count]
    for group in range(start.group, -(-len(mine) // SPLITS_PER_GROUP)):
      first = start.window if group == start.group else 0
      windows = self._group(
          epoch, group,
          mine[group * SPLITS_PER_GROUP:(group + 1) * SPLITS_PER_GROUP])
      for window, chunks in enumerate(windows):
        if window >= first:
          yield Position(epoch, group, window), chunks

  def _group(self, epoch, group, splits):
    """Yields a group's windows: lists of chunks, in shuffled order."""
    rng = derived_rng(self._options.random_seed, epoch, "group", group,
                      self._shard.index)
    chunks = itertools.chain.from_iterable(map(self._corpus.chunks, splits))
    for pool in _pools(chunks):
      rng.shuffle(pool)
      for i in range(0, len(pool), CHUNKS_PER_WINDOW):
        yield pool[i:i + CHUNKS_PER_WINDOW]

  def _build_window(self, position, chunks):
    """Returns the shuffled examples of a window."""
    window = [
        example for chunk in chunks
        for example in self._builder.build(position.epoch, chunk)
    ]
    derived_rng(self._options.random_seed, *position, "window",
                self._shard.index).shuffle(window)
    return window

  def _no_example(self):
    return (
        "The corpus yields no example for host %d of %d: %s, %d bytes. It needs "
        "lines with text%s." % (
            self._shard.index + 1, self._shard.count,
            ", ".join(self._corpus.files[:3]) +
            (", ..." if len(self._corpus.files) > 3 else ""),
            self._corpus.num_bytes,
            "" if self._shard.count == 1 else ", enough for every host"))


def _pools(chunks) -> Iterator[List[corpus_lib.Chunk]]:
  """Groups chunks into lists of up to POOL_BYTES of text."""
  pool, size = [], 0
  for chunk in chunks:
    pool.append(chunk)
    size += sum(len(part.data) for part in chunk.parts)
    if size >= POOL_BYTES:
      yield pool
      pool, size = [], 0
  if pool:
    yield pool
