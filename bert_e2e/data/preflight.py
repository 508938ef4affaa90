"""The preflight: checks the text before the training, in seconds.

It samples the corpus (preflight_sample.py), builds examples of the sample as
the stream does (preflight_counts.py), and warns of what would spoil a run.
preflight_text.py writes the result for people and programs. TensorFlow is not
needed here.
"""

import math
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from bert_e2e.config import INPUT, REPLAY, PackingConfig, matching_predictions
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import (
  packing,
  preflight_sample,
  repetitions,
  stream,
  text_lines,
)
from bert_e2e.data.instances import PAIRINGS
from bert_e2e.data.masking import num_to_predict
from bert_e2e.data.pieces import check_vocabulary
from bert_e2e.data.preflight_counts import SampleCounter, vocabulary_shares
from bert_e2e.data.preflight_formats import (
  MIN_PADDING,
  FormatShape,
  recommend,
)
from bert_e2e.data.preflight_model import StartingModel, Suggestion
from bert_e2e.data.preflight_numbers import percent, quantile, ratio
from bert_e2e.data.text_kinds import FoundKind, find_kinds

# The file of an output directory that holds the result.
FILE = "preflight.json"
# The most text that is sampled.
MAX_BYTES = 1 << 21
# A TFRecord file stores a length and two checksums with each record.
_FRAME_BYTES = 16
# The default of create_pretraining_data.py.
TWO_STEP_DUPE_FACTOR = 10

_NUM_WORDS = 10
_SHOWN_CHARACTERS = 30
# The largest --max_sequences_per_pack that is suggested.
_MAX_SEQUENCES = 64

# A run is warned of values beyond these.
MAX_UNKNOWN = 0.02
MAX_ONE_SENTENCE = 0.3
MIN_FILLED = 1 / 3
MAX_EPOCHS = 40
MAX_LONG_SENTENCES = 0.05
MAX_TRUNCATED = 0.25
# Fractions of a sample that repeat other parts of it.
MAX_REPEATED_DOCUMENTS = 0.1
MAX_REPEATED_LINES = 0.3
# Fraction of the sampled bytes in files that are not plain text.
MAX_NOT_PLAIN = 0.05
# Of the tokens that --masked_lm_prob masks, the least fraction that
# --max_predictions_per_seq leaves.
MIN_MASKED = 0.9
# Fraction of the records that are skipped.
MAX_SKIPPED = 0.05
# Fraction of a vocabulary's pieces that can't occur in lower-cased text.
MAX_UNREACHABLE = 0.05
# A vocabulary with fewer pieces with capitals is an uncased one; a text with
# more capitals among its letters is a cased one.
MIN_CAPITAL_PIECES = 0.01
MAX_CAPITALS = 0.005
# Fraction of the text's tokens that are Chinese characters, from which on it is
# Chinese text.
MIN_CHINESE = 0.5


class UnknownWord(NamedTuple):
  """A word that becomes [UNK], and how often the corpus contains it."""
  word: str
  times: int


class PreflightWarning(NamedTuple):
  """Something that would spoil a run.

  Attributes:
    name: str, a name of WARNINGS.
    text: str, a sentence with the numbers and a remedy.
  """
  name: str
  text: str


class PackedText(NamedTuple):
  """What packing makes of a text.

  Attributes:
    max_sequences: int, the --max_sequences_per_pack.
    sequences_per_pack: float, mean number of sequences of a row.
    padding_share: float, of the positions of the rows.
  """
  max_sequences: int
  sequences_per_pack: float
  padding_share: float


class Preflight(NamedTuple):
  """The result. Shares are fractions from 0 to 1; 0 if the whole is empty.

  Attributes:
    files: int; num_bytes: int, on disk.
    looked_at: int, bytes of text that were sampled.
    is_estimate: bool, whether the sample is a part of the corpus. Everything
      below, except steps, batch size, options and vocabulary, is then estimated
      from it.
    lines, documents, sentences: int. Sentences are lines with a token, and
      documents have at least one.
    tokens: int, WordPieces of the text.
    sentences_per_document: float, the mean.
    one_sentence_share: of the documents.
    long_sentence_share: of the sentences; more tokens than an example holds.
    examples_per_epoch: int.
    example_bytes: float, mean size of a serialized example.
    num_train_steps, num_warmup_steps, train_batch_size: int, as requested.
    epochs: float, passes of the training over the text; None without examples.
    max_seq_length: int, as requested.
    mean_length: float, tokens of an example, special ones included.
    length_90: int, the 90th percentile of these.
    padding_share: of the positions of all examples.
    truncated_share: of the text's tokens; in no example, due to truncation.
      None with a strategy, which may repeat or leave out text.
    random_pair_share: of the examples.
    unknown_share: [UNK] among the text's tokens.
    unknown_words: tuple of UnknownWord, the ten most frequent, in this order.
    do_lower_case: bool, as requested.
    capital_share: capitals among the text's letters of scripts with case.
    capital_piece_share: of the vocabulary's pieces; with a capital.
    unreachable_piece_share: of the vocabulary's pieces; can't occur in
      lower-cased text because of capitals or accents.
    two_step_bytes: int, TFRecords that create_pretraining_data.py would write.
    warnings: tuple of PreflightWarning.
    held_out: tuple of str, first words of the sampled documents and lines that
      are in the evaluation text as well.
    eta_seconds: int, how long the training takes, as estimated from its first
      steps; None before.
    max_predictions_per_seq: int, as requested. This and what follows is None or
      empty in a preflight of an earlier version.
    matching_predictions: int, the value that fits to --masked_lm_prob.
    masked_share: masked tokens among those of the examples.
    uncut_masked_share: the same if --max_predictions_per_seq cut off none. None
      with a strategy, which may mask any number.
    repeated_document_share, repeated_line_share: of the sample's documents and
      lines; they equal another one of the sample.
    text_kinds: tuple of FoundKind, what text that is not plain looks like.
    is_split_into_words: bool, whether another tokenizer has split the text
      before (--do_split_on_punc=false).
    sentence_objective: str, as requested.
    num_head_steps: int, those of the training steps that precede the warm-up.
    example_format: str, as requested.
    formats: tuple of FormatShape, one for each format.
    format_advice: Suggestion of another format; None for none.
    chinese_share: Chinese characters among the text's tokens.
    masks_characters: bool, whether whole words are masked, and each Chinese
      character is one.
    model: StartingModel, which the training starts from; None for new weights
      and for a training that has started before.
    strategy: str, the name of the strategy that builds the examples, or None.
    skipped_record_share: of the records; left out by --invalid_records=skip.
    pack_sequences: bool, as requested. If so, an example is a row of several
      sequences in what is said above of numbers of examples and of padding, and
      one sequence elsewhere.
    sequences_per_pack: float, mean number of sequences of a row if they are
      packed, whether requested or not.
    packed_padding_share: of the positions of these rows. This and what precedes
      it is None in a preflight of an earlier version.
    more_sequences: PackedText of a larger --max_sequences_per_pack; None if
      that would not save MIN_PADDING of the positions.
    packing_advice: Suggestion to pack sequences, or more of them; None for
      none.
    batch_divisor: int, what --train_batch_size has to be a multiple of.
    stages: str, as requested; what is said of lengths is then of the first one.
    text_name: str, what the text is called in a mixture; "" without one.
    weight: float, the fraction of the training's examples that are of this
      text; `epochs` are passes of these over it.
    mixed_with: tuple of Preflight, the other texts of a mixture.
    max_epochs: float, more epochs than that raise a warning.
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
  truncated_share: Optional[float]
  random_pair_share: float
  unknown_share: float
  unknown_words: Tuple[UnknownWord, ...]
  do_lower_case: bool
  capital_share: float
  capital_piece_share: float
  unreachable_piece_share: float
  two_step_bytes: int
  warnings: Tuple[PreflightWarning, ...] = ()
  held_out: Tuple[str, ...] = ()
  eta_seconds: Optional[int] = None
  max_predictions_per_seq: Optional[int] = None
  matching_predictions: Optional[int] = None
  masked_share: Optional[float] = None
  uncut_masked_share: Optional[float] = None
  repeated_document_share: Optional[float] = None
  repeated_line_share: Optional[float] = None
  text_kinds: Tuple[FoundKind, ...] = ()
  is_split_into_words: bool = False
  sentence_objective: str = "nsp"
  num_head_steps: int = 0
  example_format: str = "segment_pair"
  formats: Tuple[FormatShape, ...] = ()
  format_advice: Optional[Suggestion] = None
  chinese_share: float = 0.0
  masks_characters: bool = False
  model: Optional[StartingModel] = None
  strategy: Optional[str] = None
  skipped_record_share: float = 0
  pack_sequences: bool = False
  sequences_per_pack: Optional[float] = None
  packed_padding_share: Optional[float] = None
  more_sequences: Optional[PackedText] = None
  packing_advice: Optional[Suggestion] = None
  batch_divisor: int = 1
  stages: str = ""
  text_name: str = ""
  weight: float = 1.0
  mixed_with: Tuple[Any, ...] = ()
  max_epochs: float = MAX_EPOCHS

  @property
  def mean_sequences_per_pack(self) -> float:
    """`sequences_per_pack`, of a mixture the mean over the rows of its texts.
    """
    texts = (self, *self.mixed_with)
    return sum(text.weight * (text.sequences_per_pack or 1.0)
               for text in texts) / sum(text.weight for text in texts)


class TextSample(NamedTuple):
  """What of a corpus is sampled.

  Attributes:
    samples: list of preflight_sample.Sample.
    is_whole: bool, whether they are the whole corpus.
    files, num_bytes: int, of the corpus; see Preflight.
    least_documents: int, how many documents there certainly are if there is a
      sentence.
    held_out: tuple of str; see Preflight.
    chunk_lines: int, lines of a chunk of the corpus.
  """
  samples: List[preflight_sample.Sample]
  is_whole: bool
  files: int
  num_bytes: int
  least_documents: int
  held_out: Tuple[str, ...]
  chunk_lines: int

  @property
  def parts(self):
    """list of text_lines.Part, the text."""
    return [part for sample in self.samples for part in sample.chunk.parts]


def sample_text(corpus, options, *, held_out=text_lines.NOTHING_HELD_OUT,
                max_bytes=MAX_BYTES):
  """Samples a corpus, and searches the sample for held-out text; quick.

  Args:
    corpus: corpus.Corpus; options: example_builder.StreamOptions.
    held_out: text_lines.HeldOut to search.
    max_bytes: int, the most text to sample; a corpus with no more is taken as a
      whole.

  Returns:
    TextSample. The same for the same text and arguments.

  Raises:
    ValueError: a file can't be read, or the text is not UTF-8.
  """
  samples, is_whole = preflight_sample.take(
      corpus, options.random_seed, max_bytes, options.needs_other_documents)
  shared: Dict[bytes, str] = {}
  for sample in samples:
    text = corpus_lib.chunk_text(sample.chunk, options.reader)
    if held_out:
      shared.update(held_out.find(text))
  return TextSample(
      samples, is_whole, len(corpus.files), corpus.num_bytes,
      0 if is_whole else sum(map(bool, corpus.sizes)), tuple(shared.values()),
      corpus.chunk_lines)


def check_text(corpus, options, *, held_out=text_lines.NOTHING_HELD_OUT,
               max_bytes=MAX_BYTES):
  """Checks a corpus before the training: `sample_text` and `check_sample`.

  Args: see `sample_text`.

  Returns:
    Preflight, see `check_sample`.

  Raises:
    OSError, ValueError: see `sample_text` and `check_sample`; the vocabulary
      has no special tokens, or an option is out of range.
  """
  options = options.validated()
  check_vocabulary(options.vocab_file)
  return check_sample(
      sample_text(corpus, options, held_out=held_out, max_bytes=max_bytes),
      options)


def check_sample(sampled, options):
  """Finds what sampled text contains, and what the stream makes of it.

  Args:
    sampled: TextSample.
    options: example_builder.StreamOptions, validated.

  Returns:
    Preflight, without a training schedule: see `plan`. The same for the same
    text and arguments. Text, or a sample, without an example has the warning
    "empty".

  Raises:
    OSError, ValueError: the vocabulary or a file can't be read, or the strategy
      failed.
  """
  counter = SampleCounter(options, sampled.is_whole)
  for sample in sampled.samples:
    counter.add(sample)
  parts = sampled.parts
  repeated = repetitions.count(parts, options.reader)
  found = Preflight(
      files=sampled.files, num_bytes=sampled.num_bytes,
      looked_at=sum(len(part.data) for part in parts),
      is_estimate=not sampled.is_whole, num_train_steps=0, num_warmup_steps=0,
      train_batch_size=0, do_lower_case=bool(options.tokenizer.do_lower_case),
      held_out=sampled.held_out,
      repeated_document_share=repeated.documents,
      repeated_line_share=repeated.lines,
      text_kinds=find_kinds(parts, options.reader),
      is_split_into_words=not options.tokenizer.do_split_on_punc,
      sentence_objective=options.instances.sentence_objective,
      example_format=options.instances.example_format,
      masks_characters=(options.instances.do_whole_word_mask and
                        not options.instances.finds_chinese_words),
      strategy=options.strategy and options.strategy.name,
      pack_sequences=options.pack_sequences,
      **_text_values(counter, sampled.least_documents,
                     options.tokenizer.strip_accents),
      **_example_values(counter, options.instances))
  found = _with_packing(found, counter, options, sampled.chunk_lines)
  if found.strategy:
    found = found._replace(truncated_share=None, uncut_masked_share=None)
  else:
    shapes = counter.formats.shapes(options.instances)
    found = found._replace(formats=shapes, format_advice=recommend(
        shapes, found.example_format, found.one_sentence_share,
        found.pack_sequences))
  return plan(found, 0, 0, 0)


def plan(found, num_train_steps, num_warmup_steps, train_batch_size,
         num_head_steps=0, batch_divisor=1, stages="", max_epochs=None):
  """Adds what a training schedule means for a text.

  Args:
    found: Preflight of the text.
    num_train_steps, num_warmup_steps, train_batch_size: int.
    num_head_steps: int, those of the training steps that precede the warm-up;
      see --num_head_steps.
    batch_divisor, stages, max_epochs: see Preflight.

  Returns:
    Preflight with these numbers, the epochs and the warnings that follow.
  """
  epochs = None
  if found.examples_per_epoch:
    epochs = ratio(found.weight * num_train_steps * train_batch_size,
                   found.examples_per_epoch)
  others = tuple(
      plan(other, num_train_steps, num_warmup_steps, train_batch_size,
           num_head_steps, batch_divisor, stages, max_epochs)
      for other in found.mixed_with)
  found = found._replace(
      mixed_with=others,
      num_train_steps=num_train_steps, num_warmup_steps=num_warmup_steps,
      train_batch_size=train_batch_size, epochs=epochs,
      num_head_steps=num_head_steps, batch_divisor=batch_divisor,
      stages=stages, max_epochs=max_epochs or MAX_EPOCHS)
  return found._replace(
      warnings=_all_warnings(found, others),
      packing_advice=_advise_packing(found))


def mix(preflights):
  """Returns the Preflight of a mixture: that of its first text, with the others
  in it.

  Args:
    preflights: list of Preflight, with the `text_name` and `weight` of each.
  """
  return preflights[0]._replace(mixed_with=tuple(preflights[1:]))


def epoch_examples(found):
  """Returns the examples of an epoch of --num_train_epochs, int: one pass over
  each text of a Preflight, except for that of --replay_input_file."""
  return found.examples_per_epoch + sum(
      other.examples_per_epoch for other in found.mixed_with
      if other.text_name != REPLAY)


def _with_packing(found, counter, options, chunk_lines):
  """Adds what packing makes of the examples to a Preflight.

  Args:
    found: Preflight.
    counter: SampleCounter, which has counted.
    options: example_builder.StreamOptions.
    chunk_lines: int, lines of a chunk.
  """
  windows = ratio(found.lines, stream.CHUNKS_PER_WINDOW * chunk_lines)

  def packed(max_sequences):
    shape = packing.row_shape(
        options.instances, PackingConfig(True, max_sequences),
        bool(options.strategy))
    rows, padding_share = packing.estimate(
        counter.lengths, options.instances, shape, max(1, round(windows)),
        options.strategy and found.masked_share)
    return rows, PackedText(
        max_sequences, ratio(counter.total["examples"], rows), padding_share)

  rows, now = packed(options.max_sequences_per_pack)
  found = found._replace(
      sequences_per_pack=now.sequences_per_pack,
      packed_padding_share=now.padding_share)
  wanted = _enough_sequences(found)
  if wanted > now.max_sequences:
    _, more = packed(wanted)
    if now.padding_share - more.padding_share >= MIN_PADDING:
      found = found._replace(more_sequences=more)
  if not options.pack_sequences:
    return found
  return found._replace(examples_per_epoch=math.ceil(rows),
                        padding_share=now.padding_share)


def _enough_sequences(found):
  """Returns a --max_sequences_per_pack that hardly limits rows: half as many
  again as there are sequences of the mean length in a row, a multiple of 8."""
  count = 1.5 * ratio(found.max_seq_length, found.mean_length)
  return min(_MAX_SEQUENCES, 8 * math.ceil(count / 8))


def rows_per_update(found, sequences_per_pack=None):
  """Returns how many packed rows have as many sequences as an update of a
  Preflight's training has examples, an int.

  Args:
    found: Preflight.
    sequences_per_pack: float, mean number of sequences of a row, by default
      that of all texts of the Preflight.
  """
  count = ratio(found.train_batch_size,
                sequences_per_pack or found.mean_sequences_per_pack)
  return max(1, round(count / found.batch_divisor)) * found.batch_divisor


def _advise_packing(found):
  """Returns the Suggestion to pack sequences, or more of them, or None."""
  more = found.more_sequences
  if not found.train_batch_size or found.packed_padding_share is None or (
      found.pack_sequences and not more):
    return None
  padding, count = found.packed_padding_share, found.mean_sequences_per_pack
  flags = "" if found.pack_sequences else "--pack_sequences "
  if more:
    padding, count = more.padding_share, more.sequences_per_pack
    flags += "--max_sequences_per_pack=%d " % more.max_sequences
  if found.padding_share - padding < MIN_PADDING:
    return None
  # An update that is packed already has more sequences than rows.
  now = found.mean_sequences_per_pack if found.pack_sequences else 1.0
  rows = rows_per_update(found, count / now)
  reason = ("%s of the positions are padding instead of %s: a row holds %.1f "
            "sequences" % (percent(padding), percent(found.padding_share),
                           count))
  if rows < found.train_batch_size:
    return Suggestion(
        flags + "--train_batch_size=%d" % rows, reason +
        ". The smaller batch would have about as many sequences.")
  return Suggestion(
      flags.rstrip(), reason + ", and an update %d instead of %d." % (
          round(found.train_batch_size * count),
          round(found.train_batch_size * now)))


def _text_values(counter, least_documents, strip_accents):
  """Returns a dict of the Preflight's values for text and vocabulary.

  Args:
    counter: SampleCounter, which has counted.
    least_documents: int, how many there certainly are if there is a sentence.
    strip_accents: see config.TokenizerConfig.
  """
  total = counter.total
  documents = total["documents"]
  if total["sentences"]:
    documents = max(documents, least_documents)
  words = sorted(counter.unknown_words.items(), key=lambda item: (
      -item[1], item[0]))[:_NUM_WORDS]
  capitals, unreachable = vocabulary_shares(
      counter.tokenizer.vocab, strip_accents)
  return {
      "lines": round(total["lines"]), "documents": round(documents),
      "sentences": round(total["sentences"]), "tokens": round(total["tokens"]),
      "sentences_per_document": ratio(total["sentences"], documents),
      "one_sentence_share": ratio(total["single"], total["started"]),
      "long_sentence_share": ratio(
          total["long_sentences"], total["sentences"]),
      "skipped_record_share": ratio(
          total["skipped"], total["skipped"] + documents),
      "unknown_share": ratio(total["unknown"], total["tokens"]),
      "unknown_words": tuple(
          UnknownWord(word, round(times)) for word, times in words),
      "capital_share": ratio(total["capitals"], total["cased_letters"]),
      "chinese_share": ratio(total["chinese"], total["tokens"]),
      "capital_piece_share": capitals, "unreachable_piece_share": unreachable,
  }


def _example_values(counter, options):
  """Returns a dict of the Preflight's values for the examples.

  Args:
    counter: SampleCounter, which has counted.
    options: config.InstanceConfig.
  """
  total = counter.total
  examples = total["examples"]
  tokens = total["tokens"] * options.dupe_factor
  places = examples * options.max_seq_length
  record_bytes = total["bytes"] + _FRAME_BYTES * examples
  return {
      "examples_per_epoch": round(examples),
      "example_bytes": ratio(total["bytes"], examples),
      "epochs": None,
      "max_seq_length": options.max_seq_length,
      "mean_length": ratio(total["example_tokens"], examples),
      "length_90": quantile(counter.lengths, 0.9),
      "padding_share": ratio(places - total["example_tokens"], places),
      "truncated_share": ratio(tokens - total["kept"], tokens),
      "random_pair_share": ratio(total["random_pairs"], examples),
      "two_step_bytes": round(
          record_bytes * TWO_STEP_DUPE_FACTOR / options.dupe_factor),
      **_masking_values(counter, options),
  }


def _masking_values(counter, options):
  """Returns a dict of the Preflight's values for the masks; see
  `_example_values`."""
  uncut = cut = 0.0
  for length, times in counter.lengths.items():
    uncut += times * num_to_predict(length, options.masked_lm_prob, length)
    cut += times * num_to_predict(
        length, options.masked_lm_prob, options.max_predictions_per_seq)
  masked = ratio(counter.total["masked"], counter.total["example_tokens"])
  return {
      "max_predictions_per_seq": options.max_predictions_per_seq,
      "matching_predictions": matching_predictions(
          options.masked_lm_prob, options.max_seq_length),
      "masked_share": masked,
      # Whole words that do not fit are masked in neither case.
      "uncut_masked_share": round(masked * uncut / cut, 6) if cut else masked,
  }


# ---------------------------------------------------------------- the warnings


def list_words(found, count=_NUM_WORDS):
  """Lists up to `count` unknown words of a Preflight, long ones shortened."""
  return ", ".join(
      item.word if len(item.word) <= _SHOWN_CHARACTERS else
      item.word[:_SHOWN_CHARACTERS] + "..."
      for item in found.unknown_words[:count])


def _empty(found):
  if not found.examples_per_epoch:
    return ("The %s bytes of text that were sampled yield no example: "
            "%s needs lines with text." % (
                format(found.looked_at, ","), found.text_name or INPUT))
  return None


def _unknown(found):
  if found.unknown_share > MAX_UNKNOWN:
    return ("%s of the tokens are [UNK], most often for %s: pass a --vocab_file"
            " of the text's language, and check whether it is meant for "
            "--do_lower_case=%s." % (
                percent(found.unknown_share), list_words(found, 3),
                found.do_lower_case))
  return None


def _needs_pairs(found):
  """Tells whether the model learns which text follows another one, and the
  built-in rules form the pairs."""
  return not found.strategy and (
      PAIRINGS[found.sentence_objective].needs_other_documents)


def _one_document(found):
  if (found.documents == 1 and not found.random_pair_share and
      found.examples_per_epoch and _needs_pairs(found)):
    return ("All text of %s seems to be one document of %s sentences, so every "
            "next sentence is the true one and next-sentence prediction learns "
            "nothing: put a blank line between documents." % (
                found.text_name or INPUT, format(found.sentences, ",")))
  return None


def _one_sentence(found):
  if found.one_sentence_share > MAX_ONE_SENTENCE and _needs_pairs(found):
    return ("%s of the documents have one sentence only, which has no true next"
            " sentence: write one sentence per line in %s, and blank lines "
            "between documents only; or, for such documents, pass "
            "--example_format=full_sentences --sentence_objective=none." % (
                percent(found.one_sentence_share), found.text_name or INPUT))
  return None


def _length(found, length):
  """Returns a length of examples, as it is set."""
  return ("a length of %d in --stages" if found.stages else
          "--max_seq_length=%d") % length


def _short(found):
  if (found.examples_per_epoch and not found.pack_sequences and
      found.mean_length < MIN_FILLED * found.max_seq_length):
    shorter = ", or %s, the 90th percentile of their lengths" % (
        _length(found, found.length_90))
    return ("Examples have %.1f tokens on average, and %s of the computation is"
            " spent on padding to %s: pass --pack_sequences%s." % (
                found.mean_length, percent(found.padding_share),
                _length(found, found.max_seq_length),
                shorter if found.length_90 < found.max_seq_length else ""))
  return None


def _truncated(found):
  if found.truncated_share is None:
    return None
  if (found.long_sentence_share > MAX_LONG_SENTENCES or
      found.truncated_share > MAX_TRUNCATED):
    return ("%s of the lines are longer than an example with %s, and %s of the "
            "text's tokens are truncated: write one sentence per line, pass "
            "--sentence_split=rule if lines are paragraphs, or raise %s." % (
                percent(found.long_sentence_share),
                _length(found, found.max_seq_length),
                percent(found.truncated_share),
                "the length in --stages" if found.stages else
                "--max_seq_length"))
  return None


def _masks(found):
  if (found.masked_share is not None and
      found.uncut_masked_share is not None and
      found.masked_share < MIN_MASKED * found.uncut_masked_share):
    return ("Only %s of the examples' tokens are masked instead of %s, because "
            "of --max_predictions_per_seq=%d: pass "
            "--max_predictions_per_seq=%d." % (
                percent(found.masked_share), percent(found.uncut_masked_share),
                found.max_predictions_per_seq, found.matching_predictions))
  return None


def _characters(found):
  if found.masks_characters and found.chinese_share > MIN_CHINESE:
    return ("%s of the tokens are Chinese characters, each of which counts as "
            "a word, so --do_whole_word_mask has no effect on them: pass "
            "--word_list with a list of words, or --segmenter=jieba." %
            percent(found.chinese_share))
  return None


def _not_plain(found):
  if found.text_kinds and found.text_kinds[0].share > MAX_NOT_PLAIN:
    kind = found.text_kinds[0]
    return "%s of the sampled text, such as %s, looks like %s: %s." % (
        percent(kind.share), kind.file, kind.name, kind.remedy)
  return None


def _skipped(found):
  if found.skipped_record_share > MAX_SKIPPED:
    return ("%s of the sampled records have no text and are skipped: read what "
            "the log says of the first one, and check --text_field." %
            percent(found.skipped_record_share))
  return None


def _repeated(found):
  if found.examples_per_epoch and (
      (found.repeated_document_share or 0) > MAX_REPEATED_DOCUMENTS or
      (found.repeated_line_share or 0) > MAX_REPEATED_LINES):
    return ("%s of the sampled documents and %s of the lines repeat others, "
            "which the model may memorize: remove repeated text from %s." % (
                percent(found.repeated_document_share),
                percent(found.repeated_line_share), found.text_name or INPUT))
  return None


def _epochs(found):
  if found.epochs is None or found.epochs <= found.max_epochs:
    return None
  if found.text_name == REPLAY:
    remedy = "lower --replay_proportion"
  elif found.text_name and found.text_name != INPUT:
    remedy = "lower its weight in --mixture"
  else:
    steps = int(found.max_epochs * found.examples_per_epoch /
                (found.weight * found.train_batch_size))
    remedy = "pass --num_train_steps=%d for %d epochs" % (
        max(1, steps), found.max_epochs)
  return ("The training repeats the text %.1f times, %s examples each, and may "
          "overfit: %s, or add text to %s." % (
              found.epochs, format(found.examples_per_epoch, ","), remedy,
              found.text_name or INPUT))


def _warmup(found):
  return warn_of_warmup(found.num_warmup_steps, found.num_train_steps,
                        found.num_head_steps)


def warn_of_warmup(num_warmup_steps, num_train_steps, num_head_steps=0):
  """Warns of a warm-up that takes the whole training.

  Args:
    num_warmup_steps, num_train_steps, num_head_steps: int, see `plan`.

  Returns:
    str; None if the warm-up is shorter than the training.
  """
  if num_warmup_steps < num_train_steps - num_head_steps:
    return None
  return ("The warm-up of %d steps is no shorter than the training of %d%s, so "
          "the learning rate never reaches its peak: pass "
          "--warmup_proportion=0.1." % (
              num_warmup_steps, num_train_steps - num_head_steps,
              " after the head steps" if num_head_steps else ""))


def _case(found):
  if found.is_split_into_words:
    return None  # Only the model's own tokenizer knows.
  if (found.do_lower_case and
      found.unreachable_piece_share > MAX_UNREACHABLE):
    return ("--vocab_file is a cased one: %s of its pieces have capitals or "
            "accents, which --do_lower_case=True removes from the text; pass "
            "--do_lower_case=False." % percent(found.unreachable_piece_share))
  if (not found.do_lower_case and found.capital_share > MAX_CAPITALS and
      found.capital_piece_share < MIN_CAPITAL_PIECES):
    return ("%s of the text's letters are capitals, which --do_lower_case=False"
            " keeps, but only %s of the pieces of --vocab_file have any: pass "
            "--do_lower_case=True." % (percent(found.capital_share),
                                       percent(found.capital_piece_share)))
  return None


# The warnings that are not on a text.
_ON_FLAGS = ("case", "masks", "warmup")
# Name -> function from a Preflight to a sentence, or to None if all is well.
WARNINGS = {
    "empty": _empty,
    "not_plain": _not_plain,
    "skipped": _skipped,
    "unknown": _unknown,
    "case": _case,
    "one_document": _one_document,
    "one_sentence": _one_sentence,
    "short": _short,
    "truncated": _truncated,
    "repeated": _repeated,
    "masks": _masks,
    "characters": _characters,
    "epochs": _epochs,
    "warmup": _warmup,
}


def warnings_of(found):
  """Returns a tuple of the PreflightWarnings that a Preflight's values cause.
  """
  said = ((name, check(found)) for name, check in WARNINGS.items())
  return tuple(PreflightWarning(name, text) for name, text in said if text)


def _all_warnings(found, others):
  """Returns a tuple of the PreflightWarnings on a text and on the other ones of
  a mixture, each with the name of its text; those on the flags once.

  Args:
    found: Preflight; others: tuple of Preflight, with their warnings.
  """
  warnings = warnings_of(found)
  if not others:
    return warnings
  return tuple(
      warning if warning.name in _ON_FLAGS else warning._replace(
          text="%s: %s" % (text.text_name, warning.text))
      for text, said in [(found, warnings)] + [
          (other, other.warnings) for other in others] for warning in said
      if text is found or warning.name not in _ON_FLAGS)
