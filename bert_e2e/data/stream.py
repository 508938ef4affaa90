"""The stream: a host's endless, ordered sequence of serialized examples.

    corpus ── splits, shuffled over the whole corpus, dealt to the hosts
      └─ group of 32 splits ── cut into chunks of 1000 lines, chunks shuffled
           └─ window of 16 chunks ── examples shuffled, or packed and shuffled
                └─ example

Every order and every random choice is a pure function of (random_seed, epoch,
place), so the same corpus, vocabulary and options give the same stream, byte
for byte, and a `Position` in it is four numbers: a seek reads one group and
builds one window, nothing before it. Worker processes change the speed, not the
stream. TensorFlow is not needed here.
"""

import itertools
import logging
import os
from typing import Any, Iterator, List, NamedTuple, Set, Tuple

from bert_e2e.config import check_value
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import lending, packing, sampling, text_lines, worker_pool
from bert_e2e.data.example_builder import (  # noqa: F401  StreamOptions: for users.
  ExampleBuilder,
  StreamOptions,
  derived_rng,
)

logger = logging.getLogger(__name__)

SPLITS_PER_GROUP = 32
CHUNKS_PER_WINDOW = 16
# Chunks of a group that are shuffled together, in bytes of text. Only a file
# that can't be split makes a group larger than that.
POOL_BYTES = 1 << 26
# Examples between two checks that the workers are alive.
_EXAMPLES_PER_CHECK = 256


class Position(NamedTuple):
  """A place in a stream: how much of it is complete before that.

  Attributes:
    epoch: int, passes over the corpus.
    group: int, groups of splits of this epoch.
    window: int, windows of this group.
    example: int, examples of this window.
  """
  epoch: int = 0
  group: int = 0
  window: int = 0
  example: int = 0


class _Window(NamedTuple):
  """Examples that are shuffled together.

  Attributes:
    position: Position of the first example.
    epochs: passes over the host's part of the corpus before the window, and
      before its end.
    examples: list of bytes.
  """
  position: Position
  epochs: Tuple[float, float]
  examples: List[bytes] = []


class Shard(NamedTuple):
  """Which host reads: number `host`, from 0, of `num_hosts`."""
  host: int = 0
  num_hosts: int = 1


class ExampleIterator:
  """An iterator over a stream, which can be checked and stopped meanwhile.

  The workers start with the first item and end with the iteration.

  Args:
    mapper: worker_pool.InProcess or WorkerPool, not yet entered.
    items: generator of what is iterated over, which has `mapper` build it.
    shared: see the attribute.

  Attributes:
    shared: set of bytes, the hashes of the held-out documents that were found
      so far.
  """

  def __init__(self, mapper, items, shared):
    self.shared = shared
    self._mapper = mapper
    self._items = _within(mapper, items)

  def __iter__(self):
    return self

  def __next__(self):
    return next(self._items)

  def check(self):
    """Raises worker_pool.WorkerError if a worker has died or hangs."""
    self._mapper.check()

  def stop(self):
    """Makes the iteration end soon, from any thread, whatever it waits for."""
    self._mapper.stop()

  def close(self):
    """Ends the workers. Not while another thread waits for an item."""
    self._items.close()


def _within(mapper, items):
  """Yields items within a context; ends when the mapper is stopped."""
  try:
    with mapper:
      yield from items
  except worker_pool.Stopped:
    pass


class ExampleStream:
  """The stream of one host.

  Args:
    corpus: corpus.Corpus.
    options: StreamOptions.
    num_epochs: how many passes; None continues indefinitely.
    num_workers: processes that build examples; 0 builds them in this one. They
      start with an iterator's first example and end with the iterator.
    shard: the Shard of this host; the hosts' splits are disjoint and together
      the corpus, in every epoch.
    held_out: text_lines.HeldOut; the first document or line of it that is found
      is warned of, and all are counted.
    make_builder: function from (options, held_out) to the ExampleBuilder, whose
      examples are passed on as they are, unless they are packed.
    make_packer: function from a packing.RowShape to the packing.Packer.

  Raises:
    OSError, ValueError: the vocabulary can't be read, or an option, num_workers
      or the shard is out of range.
  """

  def __init__(self, corpus, options, *, num_epochs=None, num_workers=0,
               shard=Shard(), held_out=text_lines.NOTHING_HELD_OUT,
               make_builder=ExampleBuilder, make_packer=packing.Packer):
    _check_num_workers(num_workers)
    if not 0 <= shard.host < shard.num_hosts:
      raise ValueError("There is no host %d among %d; they count from 0." %
                       shard)
    self._corpus = corpus
    self._options = options = options.validated()
    self._num_epochs = num_epochs
    self._num_workers = num_workers
    self._shard = shard
    self._builder = make_builder(options, held_out)
    self._packer = (make_packer(options.row_shape())
                    if options.pack_sequences else None)
    self._held_out = held_out
    self._shared: Set[bytes] = set()
    self._lender = lending.Lender(corpus, options.needs_other_documents)

  def examples(self, start: Position = Position()) -> ExampleIterator:
    """Returns an ExampleIterator from a position on; see `windows`."""
    mapper = self._mapper()
    return ExampleIterator(mapper, (
        example for window in self._windows(start, mapper)
        for example in _checked(window.examples, mapper)), self._shared)

  def examples_from(self, number, log) -> ExampleIterator:
    """Returns an ExampleIterator from the example of a number on.

    Args:
      number: int, examples of the stream to skip.
      log: has `find(number)`, which returns (Position of a window that starts
        at or before the example, number of the window's first example), and
        `add(position, first, count, epochs)`, which is called for every window
        with the number of its first example, how many it has, and the passes
        over the corpus before it and before its end, two floats.
    """
    mapper = self._mapper()
    return ExampleIterator(mapper, self._examples_from(number, log, mapper),
                           self._shared)

  def _examples_from(self, number, log, mapper):
    start, first = log.find(number)
    for window in self._windows(start, mapper):
      log.add(window.position, first, len(window.examples), window.epochs)
      yield from _checked(window.examples[max(0, number - first):], mapper)
      first += len(window.examples)

  def windows(self, start: Position = Position()) -> ExampleIterator:
    """Returns an ExampleIterator over whole windows from a position on.

    Args:
      start: Position of the first example.

    Returns:
      ExampleIterator of (Position of the list's first example, non-empty list
      of bytes). While iterating:

    Raises:
      ValueError: a file can't be read, is not UTF-8, or a whole epoch of this
        host yields no example.
      worker_pool.WorkerError: a worker process died, or raised an error other
        than a ValueError.
    """
    mapper = self._mapper()
    return ExampleIterator(mapper, (
        (window.position, window.examples)
        for window in self._windows(start, mapper)), self._shared)

  def _mapper(self):
    """Returns what builds the chunks: worker processes, or this one."""
    if not self._num_workers:
      return worker_pool.InProcess(self._builder.build_and_compare)
    # While a window is consumed, the next one is built.
    return worker_pool.WorkerPool(
        self._builder.build_and_compare, self._num_workers,
        CHUNKS_PER_WINDOW + 2 * self._num_workers, _describe)

  def _windows(self, start, mapper):
    """Yields the _Windows from `start` on, of chunks that `mapper` builds."""
    examples: List[Any] = []
    epoch, found = None, True
    for (window, is_last), (built, held_out) in mapper.map(
        self._tasks(start)):
      self._count_held_out(held_out)
      position = window.position
      if position.epoch != epoch:
        self._check_found(found)
        epoch = position.epoch
        found = start != Position(epoch) and start.epoch == epoch
      examples.extend(built)
      if not is_last:
        continue
      examples = self._mixed(position, examples)
      skipped = start.example if position == start._replace(example=0) else 0
      if examples[skipped:]:
        yield window._replace(position=position._replace(example=skipped),
                              examples=examples[skipped:])
      found = found or bool(examples)
      examples = []
    self._check_found(found)

  def _mixed(self, position, examples):
    """Returns the examples of the window at a Position in random order."""
    sampler = sampling.StreamSampler(derived_rng(
        self._options.random_seed, *position, "window", self._shard.host))
    sampler.shuffle(examples)
    if self._packer:
      examples = self._packer.pack(examples)
      sampler.shuffle(examples)
    return examples

  def _count_held_out(self, found):
    """Counts held-out documents and lines; warns of the first one."""
    for digest, words in found:
      if not self._shared:
        logger.warning(
            "%s and the training text share %s, which inflates the metrics: "
            "\"%s...\". Their number is logged at the end",
            self._held_out.name, self._held_out.units, words)
      self._shared.add(digest)

  def _tasks(self, start):
    """Yields ((a _Window without examples, whether the chunk is its last one),
    (epoch, chunk)) from the window of `start` on."""
    for epoch in self._epochs(start.epoch):
      found = start != Position(epoch)
      for window, chunks in self._epoch(epoch, start):
        found = True
        for number, chunk in enumerate(chunks, 1):
          rng = derived_rng(self._options.random_seed, epoch, "lend",
                            *chunk.key)
          yield (window, number == len(chunks)), (
              epoch, self._lender.lend(chunk, rng))
      self._check_found(found)
      start = Position(epoch + 1)

  def splits(self, epoch):
    """Returns this host's corpus.Splits of an epoch, in their order."""
    splits = self._corpus.splits()
    derived_rng(self._options.random_seed, epoch, "splits").shuffle(splits)
    return splits[self._shard.host::self._shard.num_hosts]

  def _epochs(self, first):
    if self._num_epochs is None:
      return itertools.count(first)
    return range(first, self._num_epochs)

  def _epoch(self, epoch, start):
    """Yields (_Window, chunks) of an epoch from `start` on."""
    mine = self.splits(epoch)
    sizes = [split.end - split.start for split in mine]
    for group in range(start.group, -(-len(mine) // SPLITS_PER_GROUP)):
      members = slice(group * SPLITS_PER_GROUP, (group + 1) * SPLITS_PER_GROUP)
      size, done = sum(sizes[members]), 0.0
      first = start.window if group == start.group else 0
      windows = self._group(epoch, group, mine[members])
      for window, chunks in enumerate(windows):
        # An estimate if files can't be split.
        before = min(done, size)
        done += sum(map(self._bytes_on_disk, chunks))
        if window >= first:
          before, after = (
              epoch + (sum(sizes[:members.start]) + part) / sum(sizes)
              for part in (before, min(done, size)))
          yield _Window(Position(epoch, group, window),
                        (before, after)), chunks

  def _bytes_on_disk(self, chunk) -> float:
    """Estimates how many bytes of its files a chunk takes up."""
    return sum(len(part.data) * self._corpus.text_of(part.path).disk_ratio()
               for part in chunk.parts)

  def _group(self, epoch, group, splits):
    """Yields a group's windows: lists of chunks, in shuffled order."""
    rng = derived_rng(self._options.random_seed, epoch, "group", group,
                      self._shard.host)
    chunks = itertools.chain.from_iterable(map(self._corpus.chunks, splits))
    for pool in _pools(chunks):
      rng.shuffle(pool)
      while pool:  # What is handed out need not stay in memory here.
        yield pool[:CHUNKS_PER_WINDOW]
        del pool[:CHUNKS_PER_WINDOW]

  def _check_found(self, found):
    """Raises ValueError unless something was found in an epoch."""
    if not found:
      raise no_example_error(self._corpus, self._shard)


def no_example_error(corpus, shard=Shard()):
  """Returns the ValueError for a corpus without an example for a host."""
  several = shard.num_hosts > 1
  return ValueError(
      "The corpus yields no example%s: %s, %d bytes. It needs lines with "
      "text%s." % (" for host %d of %d" % shard if several else "",
         ", ".join(corpus.files[:3]) + (", ..." * (len(corpus.files) > 3)),
         corpus.num_bytes, ", enough for every host" * several))


def _checked(window, mapper):
  """Yields examples; checks from time to time that the workers are alive.

  A slow trainer should learn of a death before the window's end.
  """
  for i in range(0, len(window), _EXAMPLES_PER_CHECK):
    mapper.check()
    yield from window[i:i + _EXAMPLES_PER_CHECK]


def _check_num_workers(num_workers):
  """Raises ValueError for a number of workers that is not supported."""
  check_value("num_workers", num_workers)
  if num_workers and os.name == "nt":
    raise ValueError(
        "--num_workers=%d does not work on Windows; pass --num_workers=0, "
        "which builds the examples in the trainer's process." % num_workers)


def _describe(epoch, chunk):
  """Names a chunk for an error message."""
  part = chunk.parts[0]
  return "the lines of %s from byte %d on, in epoch %d" % (
      part.path, part.offset, epoch)


def _pools(chunks) -> Iterator[List[corpus_lib.Chunk]]:
  """Groups chunks into lists of up to POOL_BYTES of text."""
  pool: List[corpus_lib.Chunk] = []
  size = 0
  for chunk in chunks:
    pool.append(chunk)
    size += chunk.num_bytes
    if size >= POOL_BYTES:
      yield pool
      pool, size = [], 0
  if pool:
    yield pool
