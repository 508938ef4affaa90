"""A look at the text before the training: what will spoil a run, in seconds.

A small corpus is looked at as a whole: its chunks, lent lines and examples are
those of the stream's first epoch. Of a larger one a few megabytes are, spread
evenly over it: the text behind each of some places, from the end of a document
to the end of a document where these are near. What the corpus has is estimated
from these; each place stands for an equal part of the bytes on disk.

A .gz file can't be read from within, so it is judged by its start. TensorFlow
is not needed here.
"""

import bisect
import collections
import gzip
import itertools
import json
import zlib
from typing import Dict, List, NamedTuple, Optional, Tuple

import tokenization
from bert_e2e.common import file_io
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import instances as instances_lib
from bert_e2e.data import sampling, tf_example
from bert_e2e.data import stream as stream_lib

# What a run's folder has of it.
FILE = "preflight.json"
# Bytes of text that are looked at, at the most.
MAX_BYTES = 1 << 21
_PLACES = 64
_GOLDEN_RATIO = 0.6180339887498949
# Files that are opened for the text of a place, at the most.
_FILES_PER_PLACE = 64
# A document's end is near if it is within this part of a place's text.
_NEAR = 0.25
# Where no document ends in a sample, one is looked for in so many bytes behind
# each of so many places.
_SEARCHED_PLACES = 16
_SEARCHED_BYTES = 1 << 20
# How a TFRecord file frames a record: its length, and two checksums.
_FRAME_BYTES = 16
# What create_pretraining_data.py takes where nothing else is said.
_TWO_STEP_DUPE_FACTOR = 10

# [CLS], [SEP] and [SEP] of an example.
_NUM_SPECIAL = 3
_NUM_WORDS = 10
_SHOWN_CHARACTERS = 30

# Beyond these a run is warned of.
MAX_UNKNOWN = 0.02
MAX_ONE_SENTENCE = 0.3
MIN_FILLED = 1 / 3
MAX_EPOCHS = 40
MAX_LONG_SENTENCES = 0.05
MAX_TRUNCATED = 0.25
# Of a vocabulary's pieces: more can't be met in lower-cased text.
MAX_UNREACHABLE = 0.05
# A vocabulary with fewer capitals is one of lower case; a text with more in its
# letters is not.
MIN_CAPITAL_PIECES = 0.01
MAX_CAPITALS = 0.005


class UnknownWord(NamedTuple):
  """A word that becomes [UNK], and how often it stands in the corpus."""
  word: str
  times: int


class Warned(NamedTuple):
  """What will spoil a run.

  Attributes:
    name: str, one of "empty", "unknown", "one_document", "one_sentence",
      "short", "truncated", "epochs", "warmup", "case".
    text: str, a sentence with the numbers and a remedy.
  """
  name: str
  text: str


class Preflight(NamedTuple):
  """What was found. Shares are from 0 to 1; 0 where there is nothing to share.

  Attributes:
    files: int; num_bytes: int, on disk.
    looked_at: int, bytes of text that were.
    is_estimate: bool, whether that is a sample; what follows, but for steps,
      batch, options and vocabulary, is then estimated from it.
    lines, documents, sentences: int. Sentences are lines with a token, and
      documents have at least one.
    tokens: int, WordPieces of the text.
    sentences_per_document: float, the mean.
    one_sentence_share: of the documents.
    long_sentence_share: of the sentences; more tokens than an example holds.
    examples_per_epoch: int.
    example_bytes: float, mean of an example's bytes, serialized.
    num_train_steps, num_warmup_steps, train_batch_size: int, as asked for.
    epochs: float, passes of the training over the text; None without examples.
    max_seq_length: int, as asked for.
    mean_length: float, tokens of an example, special ones included.
    length_90: int, what 90 % of the examples do not exceed.
    padding_share: of all places of the examples.
    truncated_share: of the text's tokens, in no example, to fit the others in.
    random_pair_share: of the examples.
    unknown_share: [UNK] among the text's tokens.
    unknown_words: tuple of UnknownWord, the commonest ten, often first.
    do_lower_case: bool, as asked for.
    capital_share: of the text's letters that could be capitals.
    capital_piece_share: of the vocabulary's pieces, with a capital.
    unreachable_piece_share: of these, with what lower-casing takes away,
      capitals or accents.
    two_step_bytes: int, TFRecords that create_pretraining_data.py would write.
    warnings: tuple of Warned.
    held_out: tuple of str, first words of the documents that were looked at and
      are evaluation text as well.
    eta_seconds: int, how long the training takes, as its first steps tell;
      None before.
  """
  files: int
  num_bytes: int
  looked_at: int
  is_estimate: bool
  lines: int
  documents: int
  sentences: int
  tokens: int
  sentences_per_document: float
  one_sentence_share: float
  long_sentence_share: float
  examples_per_epoch: int
  example_bytes: float
  num_train_steps: int
  num_warmup_steps: int
  train_batch_size: int
  epochs: Optional[float]
  max_seq_length: int
  mean_length: float
  length_90: int
  padding_share: float
  truncated_share: float
  random_pair_share: float
  unknown_share: float
  unknown_words: Tuple[UnknownWord, ...]
  do_lower_case: bool
  capital_share: float
  capital_piece_share: float
  unreachable_piece_share: float
  two_step_bytes: int
  warnings: Tuple[Warned, ...] = ()
  held_out: Tuple[str, ...] = ()
  eta_seconds: Optional[int] = None


# ------------------------------------------------------------------ the sample


class _Sample(NamedTuple):
  """Text of the corpus.

  Attributes:
    chunk: corpus.Chunk.
    weight: float, how many like it the corpus has.
    starts_document, ends_document: bool, whether its ends are a document's.
    num_documents: float, how many start in as much text; None where all that do
      are in it. (It may be cut to documents, so this is of what was read.)
  """
  chunk: corpus_lib.Chunk
  weight: float = 1.0
  starts_document: bool = True
  ends_document: bool = True
  num_documents: Optional[float] = None


def _read(path, start, size, raw=False):
  """Reads a file's text.

  Args:
    path: file, plain or .gz.
    start: int, byte of the text, 0 for a .gz file; size: int, bytes to read.
    raw: bool, whether to read a .gz file as it is on disk.

  Returns:
    (bytes, whether the file ends there).

  Raises:
    ValueError: it can't be read.
  """
  try:
    with file_io.open_binary(path) as stream:
      if path.endswith(".gz") and not raw:
        with gzip.GzipFile(fileobj=stream) as text:
          data = text.read(size + 1)
      else:
        if start:
          stream.seek(start)
        data = stream.read(size + 1)
  except (OSError, EOFError, zlib.error) as e:
    raise ValueError("%s cannot be read: %s" % (path, e)) from e
  return data[:size], len(data) <= size


def _fits(corpus, max_bytes):
  """Tells whether the text of a corpus has so many bytes at the most."""
  left = max_bytes
  if corpus.num_bytes > left:
    return False
  for path, size in zip(corpus.files, corpus.sizes):
    if path.endswith(".gz"):
      data, at_end = _read(path, 0, left)
      if not at_end:
        return False
      size = len(data)
    left -= size
    if left < 0:
      return False
  return True


def _whole(corpus, random_seed):
  """Returns a corpus as _Samples: the chunks of its first epoch."""
  chunks = [chunk for split in corpus.splits()
            for chunk in corpus.chunks(split)]
  return [
      _Sample(corpus.lend(chunk, stream_lib.derived_rng(
          random_seed, 0, "lend", *chunk.key)))
      for chunk in chunks
  ]


def _places(corpus, count):
  """Returns places in a corpus, one in each of so many equal parts of it.

  They are not at even distances, as what a text has may recur at such.

  Args:
    corpus: corpus.Corpus; count: int.

  Returns:
    dict from (number of a file, byte of its text) to how many parts it is for:
    of a .gz file there is but one, its start.
  """
  starts = [0, *itertools.accumulate(corpus.sizes)]
  places: Dict[Tuple[int, int], int] = collections.defaultdict(int)
  for part in range(count):
    within = (0.5 + part * _GOLDEN_RATIO) % 1
    place = int((part + within) * corpus.num_bytes / count)
    index = bisect.bisect_right(starts, place) - 1
    is_gzip = corpus.files[index].endswith(".gz")
    places[index, 0 if is_gzip else place - starts[index]] += 1
  return places


def _spread(corpus, max_bytes):
  """Returns _Samples that are spread evenly over a corpus.

  Args:
    corpus: corpus.Corpus.
    max_bytes: int, of text, all together.

  Raises:
    ValueError: a file can't be read.
  """
  found = []
  for (index, offset), count in _places(corpus, _PLACES).items():
    sample, on_disk = _text_behind(
        corpus, index, offset, count * max(1, max_bytes // _PLACES))
    if on_disk:
      found.append((sample, count, on_disk))
  part = corpus.num_bytes / max(1, sum(count for _, count, _ in found))
  samples = [sample._replace(weight=count * part / on_disk)
             for sample, count, on_disk in found]
  return _lent(samples) if _is_several(corpus, max_bytes) else samples


def _is_several(corpus, max_bytes):
  """Tells whether a corpus has several documents, as far as a look shows.

  One at so many bytes that are spread over it may show none; then one at some
  megabytes more follows.
  """
  if len(corpus.files) > 1:
    return True
  path = corpus.files[0]
  for num_places, size in ((_PLACES, max_bytes // _PLACES),
                           (_SEARCHED_PLACES, _SEARCHED_BYTES)):
    for (_, offset), count in _places(corpus, num_places).items():
      data, _ = _read(path, offset, count * size)
      if _document_starts(data, not offset) > (not offset):
        return True
  return False


def _text_behind(corpus, index, offset, size):
  """Reads the text behind a place, across the ends of files.

  Args:
    corpus: corpus.Corpus.
    index: int, number of a file; offset: int, byte of its text.
    size: int, bytes to read.

  Returns:
    (_Sample of so many bytes or fewer, what these take on disk, about).

  Raises:
    ValueError: a file can't be read.
  """
  parts: List[corpus_lib.Part] = []
  on_disk, num_starts, num_read = 0.0, 0, 0
  starts_document, near = not offset, int(_NEAR * size)
  for number in range(index, min(index + _FILES_PER_PLACE, len(corpus.files))):
    path = corpus.files[number]
    data, at_end = _read(path, offset, size - num_read)
    num_read += len(data)
    num_starts += _document_starts(data, not offset)
    part, starts, ends_document = _cut(
        corpus_lib.Part(path, offset, data), at_end, near)
    if part.data:
      starts_document = starts if not parts else starts_document
      parts.append(part)
      on_disk += _bytes_on_disk(
          part, corpus.sizes[number], at_end and not offset)
    if not at_end or num_read >= size:
      break
    offset = 0
  chunk = corpus_lib.Chunk(index, parts)
  return _Sample(
      chunk, 1.0, starts_document, ends_document,
      num_starts * chunk.num_bytes / max(1, num_read)), on_disk


def _document_starts(data, is_start):
  """Counts where text begins behind a blank line, or at a file's start.

  Args:
    data: bytes, of a file.
    is_start: bool, whether they are its start; else their first line is the
      rest of one.
  """
  lines = file_io.split_lines(data)
  blanks = [is_start, *map(_is_blank, lines[not is_start:])]
  return sum(before and not blank
             for before, blank in zip(blanks, blanks[1:]))


def _bytes_on_disk(part, size, is_all):
  """Returns what a part takes on disk; of a .gz file an estimate.

  Args:
    part: corpus.Part, not empty.
    size: int, bytes of its file on disk; is_all: bool, whether it is all of it.

  Raises:
    ValueError: the file can't be read.
  """
  num_bytes = len(part.data)
  if is_all or not part.path.endswith(".gz"):
    return size if is_all else num_bytes
  text_bytes = size * num_bytes / len(zlib.compress(part.data))
  data, _ = _read(part.path, size - 4, 4, raw=True)
  # The end of the file says how much its text is, or the last part of its text,
  # or that less a multiple of 4 GB.
  stated = int.from_bytes(data, "little")
  if 0.75 * text_bytes <= stated <= 4 * text_bytes:
    text_bytes = stated
  return size * num_bytes / text_bytes


def _cut(part, at_end, near):
  """Cuts what was read of a file to whole lines, or, if near, to documents.

  Args:
    part: corpus.Part; a line's rest and start may be at its ends.
    at_end: bool, whether the file ends with it.
    near: int, bytes within which a document's end is near.

  Returns:
    (corpus.Part, whether a document starts with it, whether one ends with it).
    It is empty if it is the rest of a file, or the start of one, without a
    document and not longer than `near`. One without a whole line stays as it
    is, but for bytes that are no character.
  """
  data = part.data
  start, starts = 0, not part.offset
  end, ends = len(data), at_end
  if not starts:
    start, starts = _document_start(data, near)
  if not at_end:
    end, ends = _document_end(data, near)
  is_short = len(data) <= near
  if start < end and (starts and ends or not is_short):
    return part._replace(offset=part.offset + start,
                         data=data[start:end]), starts, ends
  if at_end or is_short:
    return part._replace(data=b""), True, True
  return part._replace(
      data=data.decode("utf-8", "ignore").encode("utf-8")), False, False


def _is_blank(line):
  return not line.decode("utf-8", "replace").strip()


def _document_start(data, near):
  """Returns (where a line starts behind the first one's end, whether a document
  does): a document if that is near."""
  first = place = data.find(b"\n") + 1
  while 0 < place <= near:
    end = data.find(b"\n", place) + 1
    if end and _is_blank(data[place:end]):
      return end, True
    place = end
  return first or len(data), False


def _document_end(data, near):
  """Returns (where the last line ends, whether a document does): a document if
  that is near."""
  last = place = data.rfind(b"\n") + 1
  while place > max(0, len(data) - near):
    start = data.rfind(b"\n", 0, place - 1) + 1
    if _is_blank(data[start:place]):
      return place, True
    place = start
  return last, False


def _lent(samples):
  """Returns _Samples, with lines of the next one's for each of one document.

  Corpus.lend, which does so for the stream, might read much of the corpus.
  """
  texts = [next((part for part in sample.chunk.parts
                 if part.text_start < len(part.data)), None)
           for sample in samples]
  lent = []
  for i, sample in enumerate(samples):
    if sample.chunk.only_document:
      others = texts[i + 1:] + texts[:i]
      sample = sample._replace(chunk=sample.chunk._replace(
          borrowed=next(filter(None, others), None)))
    lent.append(sample)
  return lent


# ------------------------------------------------------------------ the counts


def _text_counts(text):
  """Returns a dict of the counts of a text (str): see _Looker."""
  capitals = sum(map(str.isupper, text))
  return {"capitals": capitals,
          "cased_letters": capitals + sum(map(str.islower, text))}


def _document_counts(documents, sample, max_tokens):
  """Returns a dict of the counts of documents: see _Looker.

  Args:
    documents: list of instances_lib.Document, of a sample.
    sample: _Sample; max_tokens: int, what an example holds of a text.
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
      "started": len(started),
      "single": sum(len(document.starts) == 2 for document in ended),
  }


def _example_counts(instances, examples):
  """Returns a dict of the counts of examples: see _Looker.

  Args:
    instances: list of TrainingInstance; examples: list of bytes, these.
  """
  tokens = kept = random_pairs = 0
  for instance in instances:
    length, length_b = len(instance.tokens), sum(instance.segment_ids) - 1
    tokens += length
    kept += length - _NUM_SPECIAL
    if instance.is_random_next:
      random_pairs += 1
      kept -= length_b
  return {"examples": len(instances), "example_tokens": tokens, "kept": kept,
          "random_pairs": random_pairs, "bytes": sum(map(len, examples))}


def _mixture(options, is_whole):
  """Returns what stands for the examples of a sample, on average.

  A long document that is cut into short examples gives many of them. One in ten
  is, which a sample might catch none of, or several. So all are cut both ways.

  Args:
    options: instances_lib.InstanceOptions.
    is_whole: bool, whether the samples are the whole corpus: then the examples
      of the first epoch are asked for, with its draws.

  Returns:
    list of (share of the examples, InstanceOptions that they are built by).
  """
  if is_whole:
    return [(1.0, options)]
  shares = {0.0: 1 - options.short_seq_prob, 1.0: options.short_seq_prob}
  return [(share, options._replace(short_seq_prob=probability))
          for probability, share in shares.items() if share]


class _Looker:
  """Counts in samples what they are, and what the stream makes of them.

  Args:
    options: stream_lib.StreamOptions.
    is_whole: bool, whether the samples are the whole corpus.

  Attributes:
    tokenizer: tokenization.FullTokenizer.
    total: dict from a name to a weighted sum over the samples: of `lines`,
      `sentences`, `long_sentences`, `tokens`, `unknown` tokens; `documents`;
      those `started` in a sample, and the `single` ones of a sentence among
      them; `examples` with their `example_tokens` and `bytes`, the
      `random_pairs` among them, and the tokens of the text `kept` in them;
      `cased_letters` and the `capitals` among these.
    lengths: dict from an example's tokens to the weighted number of examples.
    unknown_words: dict from a word to a weighted number.

  Raises:
    OSError, ValueError: the vocabulary can't be read.
  """

  def __init__(self, options, is_whole):
    self._options = options
    self._is_whole = is_whole
    self.tokenizer = instances_lib.packing_tokenizer(
        options.vocab_file, options.do_lower_case)
    self._pieces = instances_lib.id_pieces(self.tokenizer)
    self._unknown = self.tokenizer.vocab["[UNK]"]
    self._is_unknown: Dict[str, bool] = {}  # What is known of words.
    self.total: Dict[str, float] = collections.defaultdict(float)
    self.lengths: Dict[int, float] = collections.defaultdict(float)
    self.unknown_words: Dict[str, float] = collections.defaultdict(float)

  def add(self, sample):
    """Counts in a _Sample.

    Raises:
      ValueError: it is not UTF-8.
    """
    options = self._options.instances
    text = corpus_lib.chunk_text(sample.chunk, self._options.invalid_utf8)
    documents = instances_lib.group_documents(
        self._segments(text, sample.weight))
    self._add(sample.weight, _text_counts(text))
    self._add(sample.weight, _document_counts(
        documents, sample, options.max_seq_length - _NUM_SPECIAL))
    borrowed = sample.chunk.borrowed and corpus_lib.part_text(
        sample.chunk.borrowed, self._options.invalid_utf8)
    borrowed = instances_lib.group_documents(
        self.tokenizer.lines_to_ids(borrowed or ""))
    for share, mixed in _mixture(options, self._is_whole):
      rng = stream_lib.derived_rng(
          self._options.random_seed, 0, "chunk", *sample.chunk.key)
      instances = instances_lib.instances_from_documents(
          documents, mixed, self._pieces, sampling.StreamDraws(rng), borrowed)
      self._add_examples(share * sample.weight, instances)

  def _add(self, weight, counts):
    for name, count in counts.items():
      self.total[name] += weight * count

  def _add_examples(self, weight, instances):
    options = self._options.instances
    examples = tf_example.create_instance_to_example_files(
        instances, self.tokenizer, options.max_seq_length,
        options.max_predictions_per_seq)
    self._add(weight, _example_counts(instances, examples))
    for instance in instances:
      self.lengths[len(instance.tokens)] += weight

  def _segments(self, text, weight):
    """Yields each line's tokens, None for whitespace alone; counts [UNK]."""
    lines = file_io.split_lines(text)
    for line, tokens in zip(lines, self.tokenizer.lines_to_ids(text)):
      if tokens is not None:
        tokens = list(tokens)
        if self._unknown in tokens:
          self.total["unknown"] += weight * tokens.count(self._unknown)
          self._count_unknown(line, weight)
      yield tokens

  def _count_unknown(self, line, weight):
    """Counts the words of a line that become [UNK]."""
    wordpiece = self.tokenizer.wordpiece_tokenizer
    for word in self.tokenizer.basic_tokenizer.tokenize(line):
      if word not in self._is_unknown:
        self._is_unknown[word] = (
            wordpiece.tokenize(word) == [wordpiece.unk_token])
      if self._is_unknown[word]:
        self.unknown_words[word] += weight


def _vocabulary_shares(vocab):
  """Returns the shares of a vocabulary's pieces (with capitals, that can't be
  met in lower-cased text); special ones do not count."""
  lower_case = tokenization.BasicTokenizer(do_lower_case=True)
  pieces = [piece[2:] if piece.startswith("##") else piece for piece in vocab
            if not (piece.startswith("[") and piece.endswith("]"))]
  capitals = sum(any(map(str.isupper, piece)) for piece in pieces)
  unreachable = sum(
      piece != (piece.lower() if piece.isascii() else
                "".join(lower_case.tokenize(piece))) for piece in pieces)
  return _ratio(capitals, len(pieces)), _ratio(unreachable, len(pieces))


def _ratio(part, whole):
  return round(part / whole, 6) if whole else 0.0


def _quantile(counts, share):
  """Returns the least key of a dict of numbers which, with what is below, has a
  share of their sum; 0 of none."""
  left = share * sum(counts.values())
  for key in sorted(counts):
    left -= counts[key]
    if left <= 0:
      return key
  return 0


def look(corpus, options, *, num_train_steps, num_warmup_steps,
         train_batch_size, held_out=frozenset(), max_bytes=MAX_BYTES):
  """Looks at a corpus before the training.

  Args:
    corpus: corpus.Corpus; options: stream_lib.StreamOptions.
    num_train_steps, num_warmup_steps, train_batch_size: int, of the training.
    held_out: set of bytes, hashes of documents to look for; see
      corpus.document_hashes.
    max_bytes: int, bytes of text to look at, at the most; a corpus of no more
      is looked at as a whole.

  Returns:
    Preflight; the same for the same text and arguments. A text, or sample,
    without an example has a warning "empty".

  Raises:
    OSError, ValueError: the vocabulary or a file can't be read, the text is not
      UTF-8, or an option is out of range.
  """
  options.validated()
  instances_lib.check_vocabulary(options.vocab_file)
  is_whole = _fits(corpus, max_bytes)
  samples = (_whole(corpus, options.random_seed) if is_whole else
             _spread(corpus, max_bytes))
  looker = _Looker(options, is_whole)
  shared: Dict[bytes, str] = {}
  for sample in samples:
    looker.add(sample)
    if held_out:
      shared.update(item for item in corpus_lib.document_hashes(
          corpus_lib.chunk_text(sample.chunk, options.invalid_utf8))
                    if item[0] in held_out)
  found = Preflight(
      files=len(corpus.files), num_bytes=corpus.num_bytes,
      looked_at=sum(sample.chunk.num_bytes for sample in samples),
      is_estimate=not is_whole, num_train_steps=0, num_warmup_steps=0,
      train_batch_size=0, do_lower_case=bool(options.do_lower_case),
      held_out=tuple(shared.values()),
      **_of_text(looker, 0 if is_whole else sum(map(bool, corpus.sizes))),
      **_of_examples(looker, options.instances))
  return plan(found, num_train_steps, num_warmup_steps, train_batch_size)


def plan(found, num_train_steps, num_warmup_steps, train_batch_size):
  """Says what a training of so many steps is to a text.

  Args:
    found: Preflight of the text.
    num_train_steps, num_warmup_steps, train_batch_size: int.

  Returns:
    Preflight with these numbers, the epochs and the warnings that follow.
  """
  epochs = None
  if found.examples_per_epoch:
    epochs = _ratio(num_train_steps * train_batch_size,
                    found.examples_per_epoch)
  found = found._replace(
      num_train_steps=num_train_steps, num_warmup_steps=num_warmup_steps,
      train_batch_size=train_batch_size, epochs=epochs)
  return found._replace(warnings=warnings_of(found))


def _of_text(looker, least_documents):
  """Returns a dict of what Preflight says of the text and the vocabulary.

  Args:
    looker: _Looker, which has looked.
    least_documents: int, how many there are for certain if there is a sentence.
  """
  total = looker.total
  documents = total["documents"]
  if total["sentences"]:
    documents = max(documents, least_documents)
  words = sorted(looker.unknown_words.items(), key=lambda item: (
      -item[1], item[0]))[:_NUM_WORDS]
  capitals, unreachable = _vocabulary_shares(looker.tokenizer.vocab)
  return {
      "lines": round(total["lines"]), "documents": round(documents),
      "sentences": round(total["sentences"]), "tokens": round(total["tokens"]),
      "sentences_per_document": _ratio(total["sentences"], documents),
      "one_sentence_share": _ratio(total["single"], total["started"]),
      "long_sentence_share": _ratio(
          total["long_sentences"], total["sentences"]),
      "unknown_share": _ratio(total["unknown"], total["tokens"]),
      "unknown_words": tuple(
          UnknownWord(word, round(times)) for word, times in words),
      "capital_share": _ratio(total["capitals"], total["cased_letters"]),
      "capital_piece_share": capitals, "unreachable_piece_share": unreachable,
  }


def _of_examples(looker, options):
  """Returns a dict of what Preflight says of the examples.

  Args:
    looker: _Looker, which has looked.
    options: instances_lib.InstanceOptions.
  """
  total = looker.total
  examples = total["examples"]
  tokens = total["tokens"] * options.dupe_factor
  places = examples * options.max_seq_length
  record_bytes = total["bytes"] + _FRAME_BYTES * examples
  return {
      "examples_per_epoch": round(examples),
      "example_bytes": _ratio(total["bytes"], examples),
      "epochs": None,
      "max_seq_length": options.max_seq_length,
      "mean_length": _ratio(total["example_tokens"], examples),
      "length_90": _quantile(looker.lengths, 0.9),
      "padding_share": _ratio(places - total["example_tokens"], places),
      "truncated_share": _ratio(tokens - total["kept"], tokens),
      "random_pair_share": _ratio(total["random_pairs"], examples),
      "two_step_bytes": round(
          record_bytes * _TWO_STEP_DUPE_FACTOR / options.dupe_factor),
  }


# ---------------------------------------------------------------- the warnings


def _percent(share):
  return "%.3g %%" % (100 * share)


def _shown(word):
  """Returns a word, a long one shortened."""
  if len(word) <= _SHOWN_CHARACTERS:
    return word
  return word[:_SHOWN_CHARACTERS] + "..."


def _shown_words(found, count):
  return ", ".join(_shown(item.word) for item in found.unknown_words[:count])


def _empty(found):
  if not found.examples_per_epoch:
    return ("No example comes of the %s bytes of text that were looked at: "
            "--input_file needs lines with text." %
            format(found.looked_at, ","))
  return None


def _unknown(found):
  if found.unknown_share > MAX_UNKNOWN:
    return ("%s of the tokens are [UNK], most often for %s: --vocab_file lacks "
            "what the text is written in; take one of its language, and see "
            "whether it is for --do_lower_case=%s." % (
                _percent(found.unknown_share), _shown_words(found, 3),
                found.do_lower_case))
  return None


def _one_document(found):
  if found.documents == 1 and not found.random_pair_share and (
      found.examples_per_epoch):
    return ("All text of --input_file seems to be one document of %s sentences,"
            " with which every next sentence is the true one and nothing is "
            "learnt from it: put a blank line between documents." %
            format(found.sentences, ","))
  return None


def _one_sentence(found):
  if found.one_sentence_share > MAX_ONE_SENTENCE:
    return ("%s of the documents have one sentence only, which is never "
            "followed by its true next one: in --input_file write one sentence "
            "a line, and blank lines between documents only." %
            _percent(found.one_sentence_share))
  return None


def _short(found):
  if (found.examples_per_epoch and
      found.mean_length < MIN_FILLED * found.max_seq_length):
    return ("Examples have %.1f tokens on average, and %s of what is computed "
            "is padding up to --max_seq_length=%d: pass --max_seq_length=%d, "
            "which 90 %% of them do not exceed, or join short documents." % (
                found.mean_length, _percent(found.padding_share),
                found.max_seq_length, found.length_90))
  return None


def _truncated(found):
  if (found.long_sentence_share > MAX_LONG_SENTENCES or
      found.truncated_share > MAX_TRUNCATED):
    return ("%s of the lines are longer than an example of --max_seq_length=%d,"
            " and %s of the text's tokens are cut off: write one sentence a "
            "line, or raise --max_seq_length." % (
                _percent(found.long_sentence_share), found.max_seq_length,
                _percent(found.truncated_share)))
  return None


def _epochs(found):
  if found.epochs is not None and found.epochs > MAX_EPOCHS:
    steps = MAX_EPOCHS * found.examples_per_epoch // found.train_batch_size
    return ("The training goes over the text %.1f times, %s examples each, and "
            "may learn it by heart: pass --num_train_steps=%d, for %d times, "
            "or give more text to --input_file." % (
                found.epochs, format(found.examples_per_epoch, ","),
                max(1, steps), MAX_EPOCHS))
  return None


def _warmup(found):
  if found.num_warmup_steps >= found.num_train_steps:
    return warn_of_warmup(found.num_warmup_steps, found.num_train_steps)
  return None


def warn_of_warmup(num_warmup_steps, num_train_steps):
  """Says what a warm-up means that is not shorter than the run."""
  return ("The warm-up of %d steps is no shorter than the run of %d, so the "
          "learning rate never has its peak: pass --warmup_proportion=0.1." %
          (num_warmup_steps, num_train_steps))


def _case(found):
  if (found.do_lower_case and
      found.unreachable_piece_share > MAX_UNREACHABLE):
    return ("--vocab_file is a cased one, as %s of its pieces have capitals or "
            "accents, which --do_lower_case=True takes from the text: pass "
            "--do_lower_case=False." % _percent(found.unreachable_piece_share))
  if (not found.do_lower_case and found.capital_share > MAX_CAPITALS and
      found.capital_piece_share < MIN_CAPITAL_PIECES):
    return ("%s of the text's letters are capitals, which --do_lower_case=False"
            " keeps, but only %s of the pieces of --vocab_file have any: pass "
            "--do_lower_case=True." % (_percent(found.capital_share),
                                       _percent(found.capital_piece_share)))
  return None


_CHECKS = (
    ("empty", _empty), ("unknown", _unknown), ("case", _case),
    ("one_document", _one_document), ("one_sentence", _one_sentence),
    ("short", _short), ("truncated", _truncated), ("epochs", _epochs),
    ("warmup", _warmup))


def warnings_of(found):
  """Returns a tuple of the Warned that the numbers of a Preflight give."""
  said = ((name, check(found)) for name, check in _CHECKS)
  return tuple(Warned(name, text) for name, text in said if text)


# -------------------------------------------------------------- for the reader


def to_dict(found):
  """Returns a Preflight as a dict of numbers, strings, lists and dicts."""
  return dict(
      found._asdict(),
      unknown_words=[dict(item._asdict()) for item in found.unknown_words],
      warnings=[dict(item._asdict()) for item in found.warnings],
      held_out=list(found.held_out))


def to_json(found):
  """Returns a Preflight as JSON (str, ASCII); its keys are the attributes."""
  return json.dumps(to_dict(found), indent=1)


def from_dict(values):
  """Returns the Preflight that `to_dict` was given; the way back from JSON.

  Args:
    values: dict, as of `to_dict`. What is not a Preflight's is passed over;
      what has a default may be missing.

  Raises:
    ValueError: it lacks something, or has another form.
  """
  values = dict(Preflight._field_defaults, **values)
  missing = sorted(set(Preflight._fields) - set(values))
  if missing:
    raise ValueError("The preflight lacks %s; make it anew with "
                     "--preflight_only." % ", ".join(missing))
  kept = {name: values[name] for name in Preflight._fields}
  try:
    kept["unknown_words"] = tuple(
        UnknownWord(**item) for item in kept["unknown_words"])
    kept["warnings"] = tuple(Warned(**item) for item in kept["warnings"])
    kept["held_out"] = tuple(kept["held_out"])
  except TypeError as e:
    raise ValueError("The preflight's words or warnings have another form "
                     "(%s); make it anew with --preflight_only." % e) from e
  return Preflight(**kept)


def rows(found):
  """Yields the rows of a table of a Preflight for a reader.

  Args:
    found: Preflight.

  Yields:
    (name, text), both str. A row without a name goes on with the one above it.
  """
  about = "~" if found.is_estimate else ""

  def count(number):
    return about + format(number, ",")

  yield "looked at", "%s bytes of text%s" % (
      format(found.looked_at, ","),
      "; ~ marks what is estimated from them" if about else ", all of it")
  yield "files", "%s of %s bytes" % (
      format(found.files, ","), format(found.num_bytes, ","))
  yield "lines", count(found.lines)
  yield "sentences", "%s; %s longer than an example" % (
      count(found.sentences), about + _percent(found.long_sentence_share))
  yield "documents", "%s of %s%.1f sentences; %s of one only" % (
      count(found.documents), about, found.sentences_per_document,
      about + _percent(found.one_sentence_share))
  yield "tokens", "%s; %s [UNK]" % (
      count(found.tokens), about + _percent(found.unknown_share))
  if found.unknown_words:
    yield "", "most often for " + _shown_words(found, _NUM_WORDS)
  yield "tokens cut off", about + _percent(found.truncated_share)
  yield "capitals in the text", about + _percent(found.capital_share)
  yield "", "in the vocabulary's pieces %s; --do_lower_case=%s" % (
      _percent(found.capital_piece_share), found.do_lower_case)
  yield "examples an epoch", count(found.examples_per_epoch)
  yield "tokens of an example", "%s%.1f of %d; 90 %% have up to %d" % (
      about, found.mean_length, found.max_seq_length, found.length_90)
  yield "padding", about + _percent(found.padding_share)
  yield "random pairs", about + _percent(found.random_pair_share)
  yield "steps", "%s of %s examples; warm-up %s" % (
      format(found.num_train_steps, ","), format(found.train_batch_size, ","),
      format(found.num_warmup_steps, ","))
  yield "epochs", "-" if found.epochs is None else about + format(
      found.epochs, ",.1f")
  if found.eta_seconds is not None:
    yield "seconds to train", format(found.eta_seconds, ",")
  yield "TFRecords not written", "%s bytes, at --dupe_factor=%d" % (
      count(found.two_step_bytes), _TWO_STEP_DUPE_FACTOR)


def to_text(found):
  """Returns a Preflight as a table for a terminal, the warnings below (str)."""
  table = list(rows(found))
  width = max(len(name) for name, _ in table)
  lines = ["%-*s  %s" % (width, name, text) for name, text in table]
  lines += ["warning: " + item.text for item in found.warnings]
  return "\n".join(lines) + "\n"
