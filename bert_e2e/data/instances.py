"""Builds masked-LM and next-sentence instances from documents.

The functions here are pure: what they return depends on their arguments and on
the random numbers that `draws` supplies (see sampling.py).

A **piece** is one WordPiece, either as its text (what the functions that carry
the reference's names take and return) or as its id, packed as an example holds
it (faster; used by the programs). The rules are the same for both. Worker
processes import this module, so it must not import TensorFlow or absl.
"""

import bisect
import collections
import functools
from typing import Any, Callable, List, NamedTuple, Sequence

import tokenization
from bert_e2e.common import file_io
from bert_e2e.data import tf_example

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
        "%s: %s\n" % (name, printable(getattr(self, name)))
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
  return tokenization.FullTokenizer(vocab_file, do_lower_case).with_ids(
      tf_example.varint)


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
      for instance in document_instances(
          documents[index], RandomNext(documents, index, borrowed, draws),
          options, pieces, draws)
  ]
  draws.shuffle(instances)
  return instances


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


class RandomNext:
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


def document_instances(document, random_next, options, pieces, draws):
  """Yields a document's instances; draws as they are asked for."""
  max_num_pieces = options.max_seq_length - _NUM_SPECIAL
  target = max_num_pieces
  if draws.chance(options.short_seq_prob):
    target = draws.integer(2, max_num_pieces)
  find_pairs = _sentence_pairs if random_next.is_there else _true_pairs
  for pair in find_pairs(document, random_next, target, draws):
    start_a, end_a, start_b, end_b = truncated_bounds(
        pair.start_a, pair.end_a, pair.start_b, pair.end_b, max_num_pieces,
        draws)
    tokens = [pieces.cls, *pair.pieces_a[start_a:end_a], pieces.sep,
              *pair.pieces_b[start_b:end_b], pieces.sep]
    positions, labels = mask_tokens(
        tokens, maskable_positions(tokens, pieces, end_a - start_a), options,
        pieces, draws)
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


def truncated_bounds(start_a, end_a, start_b, end_b, max_num_tokens, draws):
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


def maskable_positions(tokens, pieces, length_a=None):
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


def mask_tokens(tokens, offsets, options, pieces, draws):
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


def printable(value):
  """Writes a list as its items with spaces between, anything else as it is."""
  if isinstance(value, (bool, str)):
    return str(value)
  return " ".join(
      tokenization.printable_text(x) if isinstance(x, (str, bytes)) else str(x)
      for x in value)


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
  return tf_example.create_instance_to_example_files(
      instances_from_documents(documents, options, pieces, draws, borrowed),
      tokenizer, options.max_seq_length, options.max_predictions_per_seq)


def options_from_flags(values):
  """Returns the InstanceOptions of parsed flags, validated."""
  return InstanceOptions(
      **{name: getattr(values, name) for name in InstanceOptions._fields
        }).validated()
