"""Masked-LM and next-sentence examples for BERT: documents -> tf.Examples.

The functions here are pure: what they return depends on their arguments and on
the `rng` that they are given. Two programs use them: `run_pretraining_e2e.py`,
chunk by chunk in memory, and the one at the end of this file, which writes the
examples of a whole corpus to TFRecord files as google-research/bert's program
of the same name does: for the same flags and seed the same examples, one for
one and in order.

A **piece** is one WordPiece, either as its text (what the functions that carry
the reference's names take and return) or as its id, packed as an example holds
it (faster; what the programs use). The rules are the same for both and stand
here once. TensorFlow and absl are loaded by the functions that need them, so
that a worker process starts without them.
"""

import bisect
import collections
import contextlib
import functools
import itertools
import logging
import os
import random
import struct
import sys
from typing import Any, Callable, List, NamedTuple, Sequence

import corpus
import file_io
import tokenization
from random_draws import ReferenceDraws

logger = logging.getLogger("create_pretraining_data")

_NUM_LOGGED_EXAMPLES = 20
# Special tokens that an example holds ([CLS] A [SEP] B [SEP]).
_NUM_SPECIAL = 3
MIN_SEQ_LENGTH = _NUM_SPECIAL + 2
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class TrainingInstance:
  """A masked sentence pair.

  Args:
    tokens: list of pieces, [CLS] A [SEP] B [SEP], masked.
    segment_ids: list of int, 0 for [CLS], A and the first [SEP], else 1.
    masked_lm_positions: list of int, the masked offsets into `tokens`, rising.
    masked_lm_labels: list of pieces, what stood at these offsets.
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
        "%s: %s\n" % (name, _printable(getattr(self, name)))
        for name in names) + "\n"

  __repr__ = __str__


class InstanceOptions(NamedTuple):
  """How instances are made; the flags of the same names.

  Attributes:
    max_seq_length: pieces of an example with its special tokens; 5 or more.
    max_predictions_per_seq: masked pieces of an example at the most.
    masked_lm_prob: share of the pieces of an example to mask.
    short_seq_prob: share of the documents that are cut into shorter examples,
      of a random length.
    dupe_factor: passes over the documents, each with masks of its own.
    do_whole_word_mask: mask all pieces of a word together.
  """
  max_seq_length: int = 128
  max_predictions_per_seq: int = 20
  masked_lm_prob: float = 0.15
  short_seq_prob: float = 0.1
  dupe_factor: int = 1
  do_whole_word_mask: bool = False

  def validated(self):
    """Returns self; raises ValueError for a value out of its range."""
    low = {"max_seq_length": MIN_SEQ_LENGTH, "max_predictions_per_seq": 1,
           "dupe_factor": 1}
    for name, least in low.items():
      if getattr(self, name) < least:
        raise ValueError("--%s=%s is out of range: it must be at least %d." %
                         (name, getattr(self, name), least))
    for name in ("masked_lm_prob", "short_seq_prob"):
      if not 0.0 <= getattr(self, name) <= 1.0:
        raise ValueError("--%s=%s is out of range: it is a probability, 0 to 1."
                         % (name, getattr(self, name)))
    return self


class Pieces(NamedTuple):
  """What the rules need to know of the pieces, be they texts or ids.

  Attributes:
    cls, sep, mask: the special pieces.
    vocabulary: sequence of pieces that a random replacement is drawn from.
    is_continuation: tells whether a piece goes on with the word before it.
    special_in_text: whether `cls` or `sep` may stand in a text: a tokenizer of
      somebody's own may give them, FullTokenizer never does.
  """
  cls: Any
  sep: Any
  mask: Any
  vocabulary: Sequence[Any]
  is_continuation: Callable[[Any], bool]
  special_in_text: bool


def text_pieces(vocab_words):
  """Returns the Pieces that are texts, for a list of all WordPieces."""
  return Pieces("[CLS]", "[SEP]", "[MASK]", vocab_words,
                lambda piece: piece.startswith("##"), True)


def packing_tokenizer(vocab_file, do_lower_case):
  """Returns a tokenization.FullTokenizer whose ids are packed.

  Raises:
    OSError, ValueError: the vocabulary can't be read.
  """
  return tokenization.FullTokenizer(vocab_file, do_lower_case).with_ids(_varint)


def id_pieces(tokenizer):
  """Returns the Pieces that a FullTokenizer's ids are, packed or not."""
  vocab = tokenizer.vocab
  return Pieces(vocab["[CLS]"], vocab["[SEP]"], vocab["[MASK]"],
                list(vocab.values()), tokenizer.continuation_ids.__contains__,
                False)


def check_vocabulary(vocab_file):
  """Checks that each special token stands in a vocabulary file once.

  A tokenizer does without most of them, but examples do not.

  Args:
    vocab_file: path, a WordPiece a line.

  Raises:
    OSError: the file can't be read.
    ValueError: it is not UTF-8, or a special token is missing or stands on
      several lines.
  """
  tokenization.load_vocab(vocab_file)  # Says what is wrong with its encoding.
  lines = collections.defaultdict(list)
  number = 0
  for number, line in enumerate(file_io.split_lines(
      tokenization.read_vocabulary(vocab_file)), 1):
    lines[line.decode("utf-8").strip()].append(number)
  for token in SPECIAL_TOKENS:
    if not lines[token]:
      raise ValueError(
          "The vocabulary %s lacks the special token %s (of its %d lines, none "
          "is that). Is it a BERT vocabulary?" % (vocab_file, token, number))
    if len(lines[token]) > 1:
      raise ValueError(
          "The vocabulary %s has the special token %s more than once, on lines "
          "%s. Remove all but one." % (vocab_file, token, lines[token]))


# ------------------------------------------------------ documents -> instances


class Document(NamedTuple):
  """A document: its segments' pieces end to end.

  Attributes:
    pieces: list of pieces.
    starts: list of int, rising from 0: where each segment starts in `pieces`,
      and behind them the number of all pieces.
  """
  pieces: List[Any]
  starts: List[int]


def group_documents(segments):
  """Groups lines into documents.

  A line of whitespace alone ends a document. A line with text of which no piece
  is left is neither a segment nor an end.

  Args:
    segments: iterable that gives for each line its pieces, an iterable, or None
      for whitespace alone.

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


def _tokenized(lines, tokenize):
  """Yields each line's pieces as texts, None for whitespace alone."""
  for line in lines:
    line = line.strip()
    yield tokenize(line) if line else None


def documents_of_files(input_files, tokenizer, invalid_utf8="error"):
  """Reads whole files; their pieces are ids.

  Args:
    input_files: list of paths, read in this order, repeats included; the end of
      a file does not end a document.
    tokenizer: see packing_tokenizer.
    invalid_utf8: see corpus.decode.

  Returns:
    list of Document.

  Raises:
    ValueError: a file can't be read or is not UTF-8.
  """
  return group_documents(
      segment for path in input_files
      for text in corpus.read_texts(path, invalid_utf8)
      for segment in tokenizer.lines_to_ids(text))


class _SegmentLists:
  """Documents that are lists of segments, as a sequence of Documents.

  Args:
    documents: list of lists of lists of pieces. Of a large corpus a few are
      asked for at a time, so none is laid end to end before.
  """

  def __init__(self, documents):
    self._documents = documents

  def __len__(self):
    return len(self._documents)

  def __getitem__(self, index):
    segments = self._documents[index]
    return Document(
        list(itertools.chain.from_iterable(segments)),
        [0, *itertools.accumulate(map(len, segments))])


def instances_from_documents(documents, options, pieces, draws, borrowed=()):
  """Makes the instances of some documents.

  Args:
    documents: list of Document; shuffled in place.
    options: InstanceOptions.
    pieces: Pieces.
    draws: random_draws.ReferenceDraws or StreamDraws.
    borrowed: list of Document that a random next text comes from where there is
      but one document; no instance is made of them.

  Returns:
    list of TrainingInstance, shuffled.
  """
  draws.shuffle(documents)
  instances = [
      instance for _ in range(options.dupe_factor)
      for index in range(len(documents))
      for instance in _document_instances(
          documents[index], _RandomNext(documents, index, borrowed, draws),
          options, pieces, draws)
  ]
  draws.shuffle(instances)
  return instances


def create_training_instances(input_files, tokenizer, max_seq_length,
                              dupe_factor, short_seq_prob, masked_lm_prob,
                              max_predictions_per_seq, rng, *,
                              do_whole_word_mask=False, invalid_utf8="error"):
  """Makes the instances of whole files, with pieces as texts.

  Args:
    input_files: list of paths, read in this order, repeats included; the end of
      a file does not end a document.
    tokenizer: has `tokenize(line)` and `vocab`.
    max_seq_length, dupe_factor, short_seq_prob, masked_lm_prob,
      max_predictions_per_seq, do_whole_word_mask: see InstanceOptions.
    rng: random.Random.
    invalid_utf8: see corpus.decode.

  Returns:
    list of TrainingInstance, shuffled; all of them in memory.

  Raises:
    ValueError: a file can't be read or is not UTF-8; an option is out of range.

  Source: google-research/bert, function of the same name, same draws. Changed:
    whole-word masking is an argument, not a flag.
  """
  options = InstanceOptions(
      max_seq_length, max_predictions_per_seq, masked_lm_prob, short_seq_prob,
      dupe_factor, do_whole_word_mask).validated()
  lines = itertools.chain.from_iterable(
      corpus.read_file(path, invalid_utf8) for path in input_files)
  documents = group_documents(_tokenized(lines, tokenizer.tokenize))
  return instances_from_documents(
      documents, options, text_pieces(list(tokenizer.vocab)),
      ReferenceDraws(rng))


def create_instances_from_document(
    all_documents, document_index, max_seq_length, short_seq_prob,
    masked_lm_prob, max_predictions_per_seq, vocab_words, rng, *,
    do_whole_word_mask=False):
  """Makes the instances of one document, with pieces as texts.

  Args:
    all_documents: list of documents, lists of segments, which are lists of
      pieces; random next sentences come from them.
    document_index: int, which of them.
    max_seq_length, short_seq_prob, masked_lm_prob, max_predictions_per_seq,
      do_whole_word_mask: see InstanceOptions.
    vocab_words: list of str, all WordPieces.
    rng: random.Random.

  Returns:
    list of TrainingInstance, in the order of the text.

  Source: google-research/bert, function of the same name, same draws.
  """
  options = InstanceOptions(
      max_seq_length, max_predictions_per_seq, masked_lm_prob, short_seq_prob,
      do_whole_word_mask=do_whole_word_mask)
  draws = ReferenceDraws(rng)
  documents = _SegmentLists(all_documents)
  return list(
      _document_instances(
          documents[document_index],
          _RandomNext(documents, document_index, (), draws), options,
          text_pieces(vocab_words), draws))


class _Pair(NamedTuple):
  """Two texts, each a stretch of a document's pieces.

  Attributes:
    pieces_a, start_a, end_a: A is pieces_a[start_a:end_a].
    pieces_b, start_b, end_b: B, likewise.
    is_random: bool, whether B does not follow A.
  """
  pieces_a: List[Any]
  start_a: int
  end_a: int
  pieces_b: List[Any]
  start_b: int
  end_b: int
  is_random: bool


class _RandomNext:
  """Gives texts that do not follow: of a random other document.

  Args:
    documents: sequence of Document; index: int, which of them is worked on.
    borrowed: Documents to take instead where there is no other one.
    draws: random_draws.ReferenceDraws or StreamDraws.

  Attributes:
    is_there: bool, whether there is such a text. The reference's draws take the
      document itself where there is no other one.
  """

  def __init__(self, documents, index, borrowed, draws):
    self._draws = draws
    self._documents, self._index = documents, index
    if len(documents) == 1 and borrowed:
      self._documents, self._index = borrowed, None  # It is none of them.
    self.is_there = (draws.OTHER_MAY_BE_SAME or self._index is None or
                     len(self._documents) > 1)

  def stretch(self, target):
    """Returns (pieces, start, end): segments from a random one on that fill a
    length."""
    count = len(self._documents)
    other = (self._draws.integer(0, count - 1) if self._index is None else
             self._draws.other(self._index, count))
    pieces, starts = self._documents[other]
    first = self._draws.integer(0, len(starts) - 2)
    return pieces, starts[first], starts[_run_end(starts, first, target)]


def _document_instances(document, random_next, options, pieces, draws):
  """Yields a document's instances; draws as they are asked for."""
  max_num_pieces = options.max_seq_length - _NUM_SPECIAL
  target = max_num_pieces
  if draws.chance(options.short_seq_prob):
    target = draws.integer(2, max_num_pieces)
  find_pairs = _sentence_pairs if random_next.is_there else _true_pairs
  for pair in find_pairs(document, random_next, target, draws):
    start_a, end_a, start_b, end_b = _truncated(
        pair.start_a, pair.end_a, pair.start_b, pair.end_b, max_num_pieces,
        draws)
    tokens = [pieces.cls, *pair.pieces_a[start_a:end_a], pieces.sep,
              *pair.pieces_b[start_b:end_b], pieces.sep]
    positions, labels = _mask(
        tokens, _maskable(tokens, pieces, end_a - start_a), options, pieces,
        draws)
    segment_ids = [0] * (end_a - start_a + 2) + [1] * (end_b - start_b + 1)
    yield TrainingInstance(tokens, segment_ids, positions, labels,
                           pair.is_random)


def _sentence_pairs(document, random_next, target, draws):
  """Yields _Pairs until a document's segments are used up.

  A run of segments that fills the target length is cut in two at random. Half
  of the time its second part is B; else B is drawn from another document, and
  the second part starts the next run.
  """
  pieces, starts = document
  first = 0
  while first < len(starts) - 1:
    end = _run_end(starts, first, target)
    cut = first + 1
    if end - first > 1:
      cut = first + draws.integer(1, end - first - 1)
    start_a, end_a = starts[first], starts[cut]
    if end == cut or draws.chance(0.5):
      pieces_b, start_b, end_b = random_next.stretch(
          target - (end_a - start_a))
      yield _Pair(pieces, start_a, end_a, pieces_b, start_b, end_b, True)
      first = cut
    else:
      yield _Pair(pieces, start_a, end_a, pieces, end_a, starts[end], False)
      first = end


def _true_pairs(document, random_next, target, draws):
  """Does what _sentence_pairs does where no other document is to be had.

  Every run is cut in two, one of a single segment inside it. A last segment of
  a single piece, which can't be cut, belongs to the run before.
  """
  del random_next
  pieces, starts = document
  last = len(starts) - 1
  first = 0
  while first < last:
    end = _run_end(starts, first, target)
    if end == last - 1 and starts[last] - starts[end] == 1:
      end = last
    cuts = starts[first + 1:end]
    if not cuts:
      cuts = range(starts[first] + 1, starts[end])
    if cuts:
      cut = cuts[draws.integer(0, len(cuts) - 1)]
      yield _Pair(pieces, starts[first], cut, pieces, cut, starts[end], False)
    first = end


def _run_end(starts, first, target):
  """Returns the end of the run of segments from `first` that fills `target`."""
  return bisect.bisect_left(
      starts, starts[first] + target, first + 1, len(starts) - 1)


def truncate_seq_pair(tokens_a, tokens_b, max_num_tokens, rng):
  """Shortens a pair to a length, piece by piece from the longer one.

  Args:
    tokens_a, tokens_b: lists of pieces; shortened in place, B where both are
      of one length, at the front or at the back by an even chance.
    max_num_tokens: int, what remains of both together at the most.
    rng: random.Random; one draw for each piece that goes.

  Source: google-research/bert, function of the same name, same draws.
  """
  start_a, end_a, start_b, end_b = _truncated(
      0, len(tokens_a), 0, len(tokens_b), max_num_tokens, ReferenceDraws(rng))
  tokens_a[:] = tokens_a[start_a:end_a]
  tokens_b[:] = tokens_b[start_b:end_b]


def _truncated(start_a, end_a, start_b, end_b, max_num_tokens, draws):
  """Returns the bounds of a pair that is shortened; see truncate_seq_pair."""
  length_a, length_b = end_a - start_a, end_b - start_b
  excess = length_a + length_b - max_num_tokens
  if excess > 0:
    # The longer one loses the difference; then they lose in turn, B first.
    longer = 0 if length_a > length_b else 1
    losers = [longer] * min(abs(length_a - length_b), excess)
    rest = excess - len(losers)
    losers += ([1, 0] * (rest // 2 + 1))[:rest]
    front_a, front_b = draws.cuts_in_front(losers)
    lost_b = sum(losers)
    start_a += front_a
    end_a -= excess - lost_b - front_a
    start_b += front_b
    end_b -= lost_b - front_b
  return start_a, end_a, start_b, end_b


def create_masked_lm_predictions(tokens, masked_lm_prob,
                                 max_predictions_per_seq, vocab_words, rng, *,
                                 do_whole_word_mask=False):
  """Masks an example, with pieces as texts.

  Args:
    tokens: list of str, with [CLS] and [SEP], which are never masked.
    masked_lm_prob, max_predictions_per_seq, do_whole_word_mask: see
      InstanceOptions.
    vocab_words: list of str, all WordPieces.
    rng: random.Random.

  Returns:
    (tokens with masks, masked offsets rising, what stood there): three lists.

  Source: google-research/bert, function of the same name, same draws. Changed:
    whole-word masking is an argument, not a flag.
  """
  options = InstanceOptions(
      masked_lm_prob=masked_lm_prob,
      max_predictions_per_seq=max_predictions_per_seq,
      do_whole_word_mask=do_whole_word_mask)
  pieces = text_pieces(vocab_words)
  masked = list(tokens)
  positions, labels = _mask(masked, _maskable(tokens, pieces), options, pieces,
                            ReferenceDraws(rng))
  return masked, positions, labels


def _maskable(tokens, pieces, length_a=None):
  """Returns the offsets of all tokens but the special ones, rising.

  Args:
    tokens: list of pieces, an example.
    pieces: Pieces.
    length_a: int, pieces of A, for an example of two texts.
  """
  if pieces.special_in_text or length_a is None:
    special = (pieces.cls, pieces.sep)
    return [i for i, token in enumerate(tokens) if token not in special]
  return _text_offsets(length_a, len(tokens))


@functools.lru_cache(maxsize=1 << 10)
def _text_offsets(length_a, length):
  """Returns the offsets of A and B in an example of so many pieces."""
  return (*range(1, length_a + 1), *range(length_a + 2, length - 1))


def _mask(tokens, offsets, options, pieces, draws):
  """Masks an example in place; see create_masked_lm_predictions.

  Args:
    tokens: list of pieces.
    offsets: sequence of int, rising, where it may be masked.
    options: InstanceOptions; pieces: Pieces; draws: see random_draws.

  Returns:
    (masked offsets rising, what stood there): two lists.
  """
  num_to_predict = min(
      options.max_predictions_per_seq,
      max(1, int(round(len(tokens) * options.masked_lm_prob))))
  if options.do_whole_word_mask:
    positions = _whole_words(
        draws.order(_words(offsets, tokens, pieces)), num_to_predict)
  else:
    positions = draws.subset(offsets, num_to_predict)
  rising = sorted(positions)
  labels = [tokens[position] for position in rising]
  drawn = draws.replacements(len(positions), pieces.mask, pieces.vocabulary)
  for position, replacement in zip(positions, drawn):
    if replacement is not None:
      tokens[position] = replacement
  return rising, labels


def _whole_words(words, num_to_predict):
  """Returns the offsets of words, in their order, as far as they fit."""
  positions: List[int] = []
  for word in words:
    if len(positions) + len(word) <= num_to_predict:
      positions.extend(word)
      if len(positions) == num_to_predict:
        break
  return positions


def _words(offsets, tokens, pieces):
  """Groups offsets into lists that are masked together.

  As in the reference a leading "##" piece of B counts to A's last word.
  """
  words: List[List[int]] = []
  for i in offsets:
    if words and pieces.is_continuation(tokens[i]):
      words[-1].append(i)
    else:
      words.append([i])
  return words


# ------------------------------------------------------ instances -> tf.Example


class _Memo(dict):
  """What a function gives for the keys that were asked for."""

  def __init__(self, function):
    super().__init__()
    self._function = function

  def __missing__(self, key):
    value = self[key] = self._function(key)
    return value


def _varint(value):
  """Encodes a number, 0 or more, as a protobuf varint."""
  if value < 0:
    raise ValueError("An id or position is negative: %d." % value)
  encoded = bytearray()
  while value > 0x7f:
    encoded.append(value & 0x7f | 0x80)
    value >>= 7
  encoded.append(value)
  return bytes(encoded)


_varint_of = _Memo(_varint).__getitem__


def _header(field, size):
  """Encodes what stands before `size` bytes of a field of wire type 2."""
  return _varint(field << 3 | 2) + _varint(size)


_ONE = struct.pack("<f", 1.0)
# Kinds of lists in a tf.train.Feature: the numbers of its fields.
FLOAT_LIST, INT64_LIST = 2, 3


def _feature_header(name, kind, size):
  """Encodes what stands before the packed numbers of a feature.

  That is the entry of the map from names to features, the name, the feature,
  its list and the list's values; it depends on their size in bytes alone.
  """
  header = b""
  for field in (1, kind, 2):
    header = _header(field, len(header) + size) + header
  header = _header(1, len(name)) + name + header
  return _header(1, len(header) + size) + header


class ExampleSerializer:
  """Packs instances into serialized tf.Examples.

  The bytes are those of protobuf's deterministic serialization (features by
  name, packed lists), the same in every run and without protobuf's objects.
  What recurs among the examples is packed once.

  Args:
    max_seq_length: L, to which the lists over pieces are padded with zeros.
    max_predictions_per_seq: P, to which the lists over masks are padded.
  """

  def __init__(self, max_seq_length, max_predictions_per_seq):
    self._max_seq_length = max_seq_length
    self._max_predictions = max_predictions_per_seq

    def feature(name, kind, packed):
      return _feature_header(name, kind, len(packed)) + packed

    def headers(name):  # By the size of the packed numbers.
      return _Memo(functools.partial(_feature_header, name, INT64_LIST))

    self._input_ids = headers(b"input_ids")
    self._input_mask = _Memo(lambda length: feature(
        b"input_mask", INT64_LIST,
        b"\1" * length + bytes(max_seq_length - length)))
    self._masked_lm_ids = headers(b"masked_lm_ids")
    self._masked_lm_positions = headers(b"masked_lm_positions")
    self._masked_lm_weights = _Memo(lambda count: feature(
        b"masked_lm_weights", FLOAT_LIST,
        _ONE * count + bytes(4 * (max_predictions_per_seq - count))))
    self._next_sentence_labels = _Memo(lambda is_random: feature(
        b"next_sentence_labels", INT64_LIST, b"\1" if is_random else b"\0"))
    self._segment_ids = headers(b"segment_ids")
    self._examples = _Memo(functools.partial(_header, 1))

  def serialize(self, input_ids, segment_ids, masked_lm_positions,
                masked_lm_ids, is_random_next):
    """Returns the tf.Example of one instance.

    Args:
      input_ids: list of int of 0 or more, or of bytes, packed ones; at most L.
      segment_ids: as many int, 0 or 1.
      masked_lm_positions: list of int, at most P; masked_lm_ids: as many, like
        `input_ids`.
      is_random_next: bool.

    Returns:
      bytes: `input_ids`, `input_mask`, `segment_ids` int64 [L];
      `masked_lm_positions`, `masked_lm_ids` int64 [P]; `masked_lm_weights`
      float [P]; `next_sentence_labels` int64 [1], 1 for a random next.

    Raises:
      ValueError: a list is too long, or an id negative.
    """
    length, count = len(input_ids), len(masked_lm_positions)
    padding = self._max_seq_length - length
    mask_padding = self._max_predictions - count
    if padding < 0 or mask_padding < 0:
      raise ValueError(
          "An instance of %d pieces and %d predictions does not fit into "
          "max_seq_length=%d and max_predictions_per_seq=%d." %
          (length, count, self._max_seq_length, self._max_predictions))
    ids = _packed(input_ids, padding)
    labels = _packed(masked_lm_ids, mask_padding)
    positions = _packed(masked_lm_positions, mask_padding)
    segments = bytes(segment_ids) + bytes(padding)
    features = b"".join((
        self._input_ids[len(ids)], ids,
        self._input_mask[length],
        self._masked_lm_ids[len(labels)], labels,
        self._masked_lm_positions[len(positions)], positions,
        self._masked_lm_weights[count],
        self._next_sentence_labels[bool(is_random_next)],
        self._segment_ids[len(segments)], segments))
    return self._examples[len(features)] + features


def _packed(values, padding):
  """Packs a list of numbers, or of packed ones, and so many zeros."""
  if values and not isinstance(values[0], bytes):
    values = map(_varint_of, values)
  return b"".join(values) + bytes(padding)


@functools.lru_cache(maxsize=None)
def _serializer(max_seq_length, max_predictions_per_seq):
  """Returns an ExampleSerializer that is kept with what it has packed."""
  return ExampleSerializer(max_seq_length, max_predictions_per_seq)


def create_instance_to_example_files(instances, tokenizer, max_seq_length,
                                     max_predictions_per_seq):
  """Turns instances into serialized tf.Examples, in memory.

  Args:
    instances: iterable of TrainingInstance, pieces as texts or as ids.
    tokenizer: has `convert_tokens_to_ids`; not used for ids.
    max_seq_length, max_predictions_per_seq: what to pad to.

  Returns:
    list of bytes, one for each instance; see ExampleSerializer.serialize.

  Raises:
    ValueError: an instance is too long.
  """
  serializer = _serializer(max_seq_length, max_predictions_per_seq)
  return [_to_example(serializer, tokenizer, i) for i in instances]


def _to_example(serializer, tokenizer, instance):
  return serializer.serialize(
      _ids(tokenizer, instance.tokens), instance.segment_ids,
      instance.masked_lm_positions, _ids(tokenizer, instance.masked_lm_labels),
      instance.is_random_next)


def _ids(tokenizer, pieces):
  if pieces and isinstance(pieces[0], str):
    return tokenizer.convert_tokens_to_ids(pieces)
  return pieces


def examples_from_text(text, tokenizer, pieces, options, draws,
                       borrowed_text=""):
  """Makes the serialized examples of a text: what the stream is made of.

  Args:
    text: str, a sentence a line; lines of whitespace alone end documents.
    tokenizer: see packing_tokenizer.
    pieces: `id_pieces(tokenizer)`.
    options: InstanceOptions.
    draws: random_draws.ReferenceDraws or StreamDraws.
    borrowed_text: str, of other documents; see instances_from_documents.

  Returns:
    list of bytes, shuffled; see ExampleSerializer.serialize.
  """
  documents = group_documents(tokenizer.lines_to_ids(text))
  borrowed = group_documents(tokenizer.lines_to_ids(borrowed_text))
  return create_instance_to_example_files(
      instances_from_documents(documents, options, pieces, draws, borrowed),
      tokenizer, options.max_seq_length, options.max_predictions_per_seq)


# ---------------------------------------------------------- the offline program


def write_instance_to_example_files(instances, tokenizer, max_seq_length,
                                    max_predictions_per_seq, output_files):
  """Writes instances to TFRecord files in turn; logs the first of them.

  Args:
    instances: iterable of TrainingInstance, pieces as texts or as ids.
    tokenizer: has `convert_tokens_to_ids` and, where pieces are ids,
      `convert_ids_to_tokens`.
    max_seq_length, max_predictions_per_seq: what to pad to.
    output_files: list of paths; instance i goes to file i modulo their number.

  Raises:
    ValueError: an instance is too long.

  Source: google-research/bert, function of the same name. Changed: the bytes of
    an example are the same in every run.
  """
  import tensorflow.compat.v1 as tf  # pylint: disable=import-outside-toplevel
  serializer = ExampleSerializer(max_seq_length, max_predictions_per_seq)
  total = 0
  with contextlib.ExitStack() as stack:
    writers = [
        stack.enter_context(tf.io.TFRecordWriter(path)) for path in output_files
    ]
    for instance, writer in zip(instances, itertools.cycle(writers)):
      example = _to_example(serializer, tokenizer, instance)
      writer.write(example)
      if total < _NUM_LOGGED_EXAMPLES:
        _log_example(tf.train.Example.FromString(example), instance, tokenizer)
      total += 1
  logger.info("Wrote %d total instances", total)


def _log_example(example, instance, tokenizer):
  """Logs an example's tokens and features, a line each."""
  tokens = instance.tokens
  if not isinstance(tokens[0], str):
    tokens = tokenizer.convert_ids_to_tokens(tokens)
  logger.info("*** Example ***")
  logger.info("tokens: %s", _printable(tokens))
  for name, feature in sorted(example.features.feature.items()):
    values = feature.int64_list.value or feature.float_list.value
    logger.info("%s: %s", name, _printable(values))


def _printable(value):
  """Writes a list as its items with spaces between, anything else as it is."""
  if isinstance(value, (bool, str)):
    return str(value)
  return " ".join(
      tokenization.printable_text(x) if isinstance(x, (str, bytes)) else str(x)
      for x in value)


def define_instance_flags(dupe_factor):
  """Defines the flags that say how instances are made.

  Args:
    dupe_factor: the default of --dupe_factor, which the programs differ in.
  """
  from absl import flags  # pylint: disable=import-outside-toplevel
  flags.DEFINE_string(
      "vocab_file", None,
      "The vocabulary that the model was trained with, a WordPiece a line.")
  flags.DEFINE_bool(
      "do_lower_case", True,
      "Whether to lower-case the text: True for uncased models, False for "
      "cased ones.")
  flags.DEFINE_bool(
      "do_whole_word_mask", False,
      "Whether to mask all WordPieces of a word together.")
  flags.DEFINE_integer(
      "max_seq_length", 128,
      "WordPieces of an example at the most, special tokens included.")
  flags.DEFINE_integer(
      "max_predictions_per_seq", 20,
      "Masked WordPieces of an example at the most.")
  flags.DEFINE_float(
      "masked_lm_prob", 0.15, "Share of an example's WordPieces to mask.")
  flags.DEFINE_float(
      "short_seq_prob", 0.1,
      "Share of the documents that are cut into shorter examples.")
  flags.DEFINE_integer(
      "dupe_factor", dupe_factor,
      "How often to go over the text, each time with other masks.")
  flags.DEFINE_integer(
      "random_seed", 12345, "Seed of all random draws over the text.")
  flags.DEFINE_enum(
      "invalid_utf8", "error", list(corpus.INVALID_UTF8_CHOICES),
      "What to do about text that is not UTF-8: end with an error that names "
      "the place, or read the bad bytes as U+FFFD, which is dropped.")


def options_from_flags(values):
  """Returns the InstanceOptions of parsed flags, validated."""
  return InstanceOptions(
      **{name: getattr(values, name) for name in InstanceOptions._fields
        }).validated()


def _define_flags():
  """Defines this program's flags: the reference's, and --invalid_utf8."""
  from absl import flags  # pylint: disable=import-outside-toplevel
  flags.DEFINE_string(
      "input_file", None,
      "Raw text: files or patterns, separated by commas; one sentence a line, "
      "a blank line between documents.")
  flags.DEFINE_string(
      "output_file", None, "TFRecord files to write, separated by commas.")
  define_instance_flags(dupe_factor=10)
  flags.mark_flags_as_required(["input_file", "output_file", "vocab_file"])


def _check_output(output_files):
  """Raises ValueError for a file that could not be written hours from now."""
  for path in output_files:
    folder = os.path.dirname(path) or "."
    if not file_io.is_local(path):
      continue
    if not os.path.isdir(folder):
      raise ValueError("--output_file=%s: there is no folder %s. Create it." %
                       (path, folder))
    if os.path.isdir(path) or not os.access(
        path if os.path.exists(path) else folder, os.W_OK):
      raise ValueError("--output_file=%s cannot be written." % path)


def _run(values):
  """Runs the program on parsed flags."""
  options = options_from_flags(values)
  output_files = values.output_file.split(",")
  _check_output(output_files)
  input_files = file_io.expand(values.input_file)
  check_vocabulary(values.vocab_file)
  tokenizer = packing_tokenizer(values.vocab_file, values.do_lower_case)
  pieces = id_pieces(tokenizer)
  logger.info("*** Reading from input files ***")
  for path in input_files:
    logger.info("  %s", path)
  documents = documents_of_files(input_files, tokenizer, values.invalid_utf8)
  instances = instances_from_documents(
      documents, options, pieces,
      ReferenceDraws(random.Random(values.random_seed)))
  if not instances:
    raise ValueError(
        "%s yields no example: it holds no line with text." % values.input_file)
  logger.info("*** Writing to output files ***")
  for path in output_files:
    logger.info("  %s", path)
  write_instance_to_example_files(
      instances, tokenizer, options.max_seq_length,
      options.max_predictions_per_seq, output_files)


def check_no_arguments(arguments):
  """Raises ValueError for arguments beside the flags.

  Unquoted, --input_file=*.txt is one flag, but --input_file *.txt becomes a
  flag with the first file and arguments with the others.
  """
  if arguments:
    raise ValueError(
        "Arguments without a flag: %s. Quote a pattern of several files, or "
        "join them by commas." % " ".join(arguments))


def main(argv):
  from absl import flags  # pylint: disable=import-outside-toplevel
  root = logging.getLogger()
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
  root.handlers[:] = [handler]  # In place of the one that absl put there.
  root.setLevel(logging.INFO)
  try:
    check_no_arguments(argv[1:])
    _run(flags.FLAGS)
  except (ValueError, OSError) as e:
    sys.exit("create_pretraining_data.py: %s" % e)


if __name__ == "__main__":
  from absl import app
  _define_flags()
  app.run(main)
