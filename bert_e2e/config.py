"""The configuration of a run: one frozen dataclass for each concern.

A field states its default, its help text and its bounds, once. The flags of
the programs (flags.py), their validation and docs/flags.md are generated from
these fields, and each component receives the group that it needs. Worker
processes import this module, so it must stay light.
"""

import dataclasses
import fractions
import math
import os
import re
from typing import (
  Any,
  Dict,
  FrozenSet,
  List,
  NamedTuple,
  Optional,
  Sequence,
  Tuple,
  Union,
)

from bert_e2e.common import input_files

CLUSTERS = ("tf_config", "slurm")
DECAYS = ("linear", "constant", "cosine")
DISTRIBUTION_STRATEGIES = ("none", "mirrored", "multi_worker_mirrored")
INPUT_FORMATS = ("auto", "text", "jsonl", "csv", "tsv", "parquet")
INVALID_RECORDS_CHOICES = ("error", "skip")
INVALID_UTF8_CHOICES = ("error", "replace")
EXAMPLE_FORMATS = ("segment_pair", "full_sentences", "doc_sentences",
                   "line_by_line")
OPTIMIZERS = ("adamw", "lamb")
KEEP_BEST_METRICS = ("masked_lm_loss", "probe")
PRECISIONS = ("fp32", "fp16", "bfloat16")
RECIPES = ("none", "dapt", "tapt")
SEGMENTERS = ("none", "jieba")
SENTENCE_OBJECTIVES = ("nsp", "sop", "none")
SENTENCE_SPLITS = ("line", "rule")

# Fields of InstanceConfig that decide what is masked.
_MASKING = ("masked_lm_prob", "do_whole_word_mask", "mask_replace_prob",
            "random_replace_prob", "max_ngram_size", "span_geometric_p",
            "span_upper", "word_list", "segmenter", "segmenter_cache")
# The value of a flag that the program chooses.
AUTO = "auto"
# What the texts of these flags are called in a mixture.
INPUT, REPLAY = "--input_file", "--replay_input_file"
# [CLS] A [SEP] B [SEP] with one piece in each of A and B.
MIN_SEQ_LENGTH = 5
MAX_DEFAULT_WORKERS = 8


class Option(NamedTuple):
  """What is known of a field besides its name and its default.

  Attributes:
    kind: "string", "path" (of one file or directory), "integer",
      "integer_or_auto", "float", "boolean", "enum", "list" (of str) or
      "floats" (a list; both are separated by commas on the command line). The
      bounds of "floats" are those of each number.
    help: str, one or more sentences.
    minimum, maximum: inclusive bounds, or None. They do not apply to None.
    above, below: exclusive bounds, or None.
    choices: the values of an enum.
    is_required: whether run_pretraining_e2e.py needs the flag.
    in_original: whether google-research/bert has the flag, with this default.
    default_text: str, the default for readers, where it is computed.
    fingerprint: how the field enters the fingerprint of the example stream:
      None (it does not decide the examples), "always", or "if_changed" (only
      if it differs from its default, so that older output directories resume).
  """
  kind: str
  help: str
  minimum: Optional[float] = None
  maximum: Optional[float] = None
  above: Optional[float] = None
  below: Optional[float] = None
  choices: Tuple[str, ...] = ()
  is_required: bool = False
  in_original: bool = False
  default_text: str = ""
  fingerprint: Optional[str] = None

  def bounds(self) -> str:
    """Returns the bounds in words, "" if there are none.

    >>> Option("float", "", above=0, maximum=1).bounds()
    'greater than 0 and at most 1'
    """
    parts = [text % bound for text, bound in (
        ("at least %g", self.minimum), ("greater than %g", self.above),
        ("at most %g", self.maximum), ("less than %g", self.below))
             if bound is not None]
    return " and ".join(parts)

  def is_valid(self, value) -> bool:
    """Tells whether a value, other than None, is within the bounds."""
    if self.kind == "enum":
      return value in self.choices
    if self.kind == "floats":
      return all(map(self._replace(kind="float").is_valid, value))
    if self.kind not in ("integer", "integer_or_auto", "float"):
      return True
    if value == AUTO:
      return self.kind == "integer_or_auto"
    return (not math.isnan(value) and
            (self.kind != "float" or not math.isinf(value)) and
            (self.minimum is None or value >= self.minimum) and
            (self.maximum is None or value <= self.maximum) and
            (self.above is None or value > self.above) and
            (self.below is None or value < self.below))


def _field(kind, default, help_text, **details) -> Any:
  """Returns a dataclass field with an Option; see there for `details`."""
  option = Option(kind, help_text, **details)
  if callable(default):
    return dataclasses.field(
        default_factory=default, metadata={"option": option})
  return dataclasses.field(default=default, metadata={"option": option})


def _string(default, help_text, **details) -> Any:
  return _field("string", default, help_text, **details)


def _path(default, help_text, **details) -> Any:
  return _field("path", default, help_text, **details)


def _integer(default, help_text, **details) -> Any:
  return _field("integer", default, help_text, **details)


def _float(default, help_text, **details) -> Any:
  return _field("float", default, help_text, **details)


def _boolean(default, help_text, **details) -> Any:
  return _field("boolean", default, help_text, **details)


def _enum(choices, help_text, **details) -> Any:
  """The first choice is the default."""
  return _field("enum", choices[0], help_text, choices=choices, **details)


def default_num_workers() -> int:
  """Returns the number of usable cores less one, at most MAX_DEFAULT_WORKERS.

  On Windows, where worker processes are not supported, it is 0.
  """
  if os.name == "nt":
    return 0
  if hasattr(os, "sched_getaffinity"):
    cores = len(os.sched_getaffinity(0))
  else:
    cores = os.cpu_count() or 1
  return min(cores - 1, MAX_DEFAULT_WORKERS)


class _Group:
  """What all groups can do."""

  def validated(self):
    """Returns self.

    Raises:
      ValueError: a value is out of bounds; the message names flag and bounds.
    """
    for field in dataclasses.fields(self):  # type: ignore[arg-type]
      check_value(field.name, getattr(self, field.name))
    return self


@dataclasses.dataclass(frozen=True)
class DataConfig(_Group):
  """The text to train on, and its order."""

  input_file: Optional[str] = _string(
      None, "Raw text, or TFRecords of examples: files, glob patterns (`**` is "
      "any number of directories) or directories, separated by commas (`\\,` "
      "is a comma in a name). Text has one sentence per line and a blank line "
      "between documents; see --input_format for records.",
      default_text="required without --mixture", in_original=True)
  vocab_file: Optional[str] = _path(
      None, "The vocabulary that the model was trained with: one WordPiece per "
      "line, or a tokenizer.json or vocab.json. By default the one beside "
      "--init_checkpoint.", in_original=True)
  chunk_lines: int = _integer(
      1000, "Number of lines that are turned into examples at once.",
      minimum=1, fingerprint="always")
  random_seed: int = _integer(
      12345, "Seed of everything random: the order of the text, sentence "
      "pairs, masks, new weights and dropout.", in_original=True,
      fingerprint="always")
  num_workers: int = _integer(
      default_num_workers, "Number of processes that build examples for "
      "training. 0 builds them in the trainer's process.", minimum=0,
      default_text="usable cores less one, at most %d" % MAX_DEFAULT_WORKERS)
  strategy: Optional[str] = _string(
      None, "Function that builds the training instances of each chunk of "
      "lines in place of the built-in rules, as package.module:function; see "
      "docs/strategy.md. It is imported from the working directory, PYTHONPATH "
      "or the installed packages. Evaluations do not use it.")
  accept_new_stream: bool = _boolean(
      False, "Continue from a checkpoint although the corpus, the vocabulary "
      "or the options differ from those it was trained with. Training "
      "continues at the start of the new example stream.")


# Examples after which the schedule of a mixture repeats itself, at most.
MAX_MIXTURE_PERIOD = 1000


def mixture_period(weights) -> int:
  """Returns the least common denominator of a list of fractions.Fraction."""
  period = 1
  for weight in weights:
    period *= weight.denominator // math.gcd(period, weight.denominator)
  return period


class MixturePart(NamedTuple):
  """A text of a mixture.

  Attributes:
    name: str, what messages call it.
    files: files, patterns and directories; see input_files.expand.
    weight: fractions.Fraction, its part of the examples.
  """
  name: str
  files: Any
  weight: fractions.Fraction = fractions.Fraction(1)

  @property
  def is_replay(self) -> bool:
    """Whether it is the text of --replay_input_file."""
    return self.name == REPLAY

  @property
  def is_of_mixture(self) -> bool:
    """Whether it is a text of --mixture."""
    return not self.name.startswith("--")

  @property
  def in_words(self) -> str:
    """The text in a message: a flag, or a part of --mixture."""
    return self.name if not self.is_of_mixture else (
        "\"%s\" of --mixture" % self.name)


@dataclasses.dataclass(frozen=True)
class MixtureConfig(_Group):
  """Several texts to train on, each with its part of the examples."""

  replay_input_file: Optional[str] = _string(
      None, "Raw text like the model's original pretraining text, to mix with "
      "--input_file against forgetting: files, patterns or directories, as "
      "there. The number of steps stays the same.")
  replay_proportion: float = _float(
      0.05, "Fraction of the examples that are of --replay_input_file, of "
      "up to three digits.", above=0, below=1)
  mixture: Optional[str] = _string(
      None, "Raw texts to train on instead of --input_file, each with its "
      "weight, e.g. papers/*.txt:0.7,notes:0.2,web.txt:0.1. A text is a file, "
      "a pattern or a directory; a weight is its part of the sum of all, of up "
      "to three digits.")

  def validated(self):
    """Returns self; see _Group.validated."""
    super().validated()
    if self.replay_proportion != default_of("replay_proportion") and (
        not self.replay_input_file):
      raise ValueError("--replay_proportion=%g requires --replay_input_file." %
                       self.replay_proportion)
    if self.mixture and self.replay_input_file:
      raise ValueError(
          "--replay_input_file is a second text beside --input_file; add it to "
          "--mixture=%s with its weight instead." % self.mixture)
    return self

  def parts(self, files) -> List[MixturePart]:
    """Returns the MixtureParts of a training text; their weights add up to 1.

    Args:
      files: those of --input_file; None or empty with a mixture.

    Raises:
      ValueError: there is no text, or there are two of the same; the mixture
        has another form.
    """
    if self.mixture:
      if files:
        raise ValueError(
            "--input_file=%s and --mixture=%s both name the text to train on; "
            "pass only one of them." % (files, self.mixture))
      return self._weighted()
    if not files:
      raise ValueError("--input_file is missing: pass the text to train on.")
    if not self.replay_input_file:
      return [MixturePart(INPUT, files)]
    replayed = fractions.Fraction(str(self.replay_proportion))
    if replayed.denominator > MAX_MIXTURE_PERIOD:
      raise ValueError(
          "--replay_proportion=%s is too fine: round it to three digits." %
          self.replay_proportion)
    return [MixturePart(INPUT, files, 1 - replayed),
            MixturePart(REPLAY, self.replay_input_file, replayed)]

  def _weighted(self) -> List[MixturePart]:
    """Returns the MixtureParts of --mixture."""
    given, found = "--mixture=%s" % self.mixture, {}
    for item in input_files.split_list(self.mixture):
      name, _, weight = item.rpartition(":")
      name = name.strip()
      if not name or not _WEIGHT.match(weight.strip()):
        raise ValueError(
            "%s is invalid: \"%s\" is not a text and its weight, such as "
            "notes.txt:0.2." % (given, item))
      if name in found:
        raise ValueError("%s is invalid: it names %s twice." % (given, name))
      found[name] = fractions.Fraction(weight.strip())
      if not found[name]:
        raise ValueError("%s is invalid: the weight of %s is 0; leave it out." %
                         (given, name))
    parts = [MixturePart(name, [name], weight / sum(found.values()))
             for name, weight in found.items()]
    period = mixture_period([part.weight for part in parts])
    if period > MAX_MIXTURE_PERIOD:
      raise ValueError(
          "%s has weights that are too fine: they are multiples of 1 / %d of "
          "their sum, and 1 / %d is the limit. Round them." % (
              given, period, MAX_MIXTURE_PERIOD))
    return parts


_WEIGHT = re.compile(r"(\d+\.?\d*|\.\d+)$")


@dataclasses.dataclass(frozen=True)
class ReaderConfig(_Group):
  """How raw text is read from files. These flags apply to --input_file,
  --eval_input_file and --general_eval_input_file."""

  input_format: str = _enum(
      INPUT_FORMATS, "Format of the raw text: text (a sentence per line), or "
      "records of which each is a document: jsonl (a JSON object per line), "
      "csv or tsv (with a header row), parquet. auto: by each file's extension;"
      " without one of these, text.")
  text_field: str = _string(
      "text", "Name of the field or column of a record that contains its text. "
      "A line of it is a sentence.", fingerprint="if_changed")
  invalid_records: str = _enum(
      INVALID_RECORDS_CHOICES, "What to do with a record that can't be parsed "
      "or has no text: stop with an error that names the place, or skip it.")
  invalid_utf8: str = _enum(
      INVALID_UTF8_CHOICES, "What to do with text that is not UTF-8: stop with "
      "an error that names the place, or read each invalid byte as U+FFFD, "
      "which the tokenizer drops.")
  sentence_split: str = _enum(
      SENTENCE_SPLITS, "What a sentence is: a line of the text, or what a rule "
      "finds in each line, by punctuation and abbreviations, for paragraphs as "
      "lines.", fingerprint="if_changed")

  def check_for_plain_text(self):
    """Raises ValueError for an option that has no effect on plain text."""
    if self.text_field != default_of("text_field"):
      raise ValueError(
          "--text_field=%s has no effect: no file of --input_file is read as "
          "records. Name their format, such as --input_format=jsonl; it is "
          "known by extensions such as .jsonl." % self.text_field)


@dataclasses.dataclass(frozen=True)
class TokenizerConfig(_Group):
  """How text is split into words, as the model's pretraining did. Where
  --init_checkpoint records it (a Hugging Face directory, or an export of this
  project), the record replaces the first three defaults."""

  do_lower_case: bool = _boolean(
      True, "Lowercase the text and strip accents: true for uncased models, "
      "false for cased ones.", in_original=True, fingerprint="always")
  strip_accents: Optional[bool] = _boolean(
      None, "Strip accents: false for uncased models with accents, as some for "
      "German or Spanish are.", default_text="as --do_lower_case",
      fingerprint="if_changed")
  tokenize_chinese_chars: bool = _boolean(
      True, "Make each Chinese character a word.", fingerprint="if_changed")
  do_split_on_punc: bool = _boolean(
      True, "Make each punctuation character a word. Pass false, and false for "
      "--tokenize_chinese_chars, for text that a tokenizer of another language "
      "has split into words before, with spaces between them.",
      fingerprint="if_changed")


@dataclasses.dataclass(frozen=True)
class InstanceConfig(_Group):
  """How text is turned into training instances."""

  max_seq_length: int = _integer(
      128, "Maximum number of WordPieces of an example, including [CLS] and "
      "[SEP].", minimum=MIN_SEQ_LENGTH, in_original=True, fingerprint="always")
  max_predictions_per_seq: Union[int, str] = _field(
      "integer_or_auto", 20, "Maximum number of masked WordPieces of an "
      "example. auto: what --masked_lm_prob of --max_seq_length needs, such as "
      "79 for 512.", minimum=1, in_original=True, fingerprint="always")
  masked_lm_prob: float = _float(
      0.15, "Fraction of an example's WordPieces to mask.", minimum=0,
      maximum=1, in_original=True, fingerprint="always")
  short_seq_prob: float = _float(
      0.1, "Fraction of the documents that are cut into examples of a random, "
      "shorter length.", minimum=0, maximum=1, in_original=True,
      fingerprint="always")
  dupe_factor: int = _integer(
      1, "Number of times each chunk is used in an epoch, each time with other "
      "masks. (The original's default is 10, since its masks are static.)",
      minimum=1, fingerprint="always")
  do_whole_word_mask: bool = _boolean(
      False, "Mask all WordPieces of a word together.", in_original=True,
      fingerprint="always")
  example_format: str = _enum(
      EXAMPLE_FORMATS, "What an example of raw text consists of: two segments "
      "of text; as many whole lines as fit, across the ends of documents "
      "(full_sentences) or of one document (doc_sentences); or one line. All "
      "but the first require --sentence_objective=none.",
      fingerprint="if_changed")
  sentence_objective: str = _enum(
      SENTENCE_OBJECTIVES, "The objective trained beside the masked LM: nsp "
      "(next-sentence prediction), sop (sentence-order prediction, for raw "
      "text: do two consecutive segments come in order, or swapped?), or none. "
      "With none the second segment of a pair of raw text always follows the "
      "first (TFRecords keep their pairs), and the pooler and the "
      "next-sentence head stay as they are.",
      fingerprint="if_changed")
  mask_replace_prob: float = _float(
      0.8, "Fraction of the masked WordPieces that become [MASK].", minimum=0,
      maximum=1, fingerprint="if_changed")
  random_replace_prob: float = _float(
      0.1, "Fraction of the masked WordPieces that become a random one of the "
      "vocabulary. The rest stay as they are, and are predicted.", minimum=0,
      maximum=1, fingerprint="if_changed")
  max_ngram_size: int = _integer(
      1, "Mask up to so many consecutive WordPieces together, or words with "
      "--do_whole_word_mask: n of them with a probability proportional to "
      "1 / n.", minimum=1, fingerprint="if_changed")
  span_geometric_p: Optional[float] = _float(
      None, "Mask spans of whole words; their length in words has a geometric "
      "distribution with this parameter (SpanBERT: 0.2).", above=0, below=1,
      default_text="no spans", fingerprint="if_changed")
  span_upper: int = _integer(
      10, "Maximum number of words of a span.", minimum=1,
      fingerprint="if_changed")
  # What the next two choose is recorded by chinese_words.ChineseWords.
  word_list: Any = _path(
      None, "A file of Chinese words, one per line; what follows a space or a "
      "tab is ignored. For masks of whole words, the characters of a word are "
      "one word: the longest of the list at each place.",
      default_text="each Chinese character is a word")
  segmenter: str = _enum(
      SEGMENTERS, "What finds Chinese words in each line, besides "
      "--word_list: jieba, a package to install separately.")
  segmenter_cache: Optional[str] = _path(
      None, "Directory in which jieba keeps its dictionary in a form that "
      "loads faster.", default_text="the system's for temporary files")

  def validated(self):
    """Returns self with a number for each "auto"; see _Group.validated."""
    super().validated()
    self._check_format()
    if self.mask_replace_prob + self.random_replace_prob > 1:
      raise ValueError(
          "--mask_replace_prob=%g and --random_replace_prob=%g are fractions "
          "of the same WordPieces; their sum must be at most 1." % (
              self.mask_replace_prob, self.random_replace_prob))
    if self.max_ngram_size > 1 and self.span_geometric_p:
      raise ValueError(
          "--max_ngram_size=%d and --span_geometric_p=%g are two ways to "
          "choose what is masked; pass only one of them." % (
              self.max_ngram_size, self.span_geometric_p))
    if self.span_upper != default_of("span_upper") and (
        not self.span_geometric_p):
      raise ValueError("--span_upper=%d requires --span_geometric_p." %
                       self.span_upper)
    self._check_chinese_words()
    if self.max_predictions_per_seq != AUTO:
      return self
    return dataclasses.replace(self, max_predictions_per_seq=(
        matching_predictions(self.masked_lm_prob, self.max_seq_length)))

  @property
  def replaces_groups(self):
    """bool, whether the pieces that are masked together are all replaced in one
    way."""
    return bool(self.span_geometric_p) or self.max_ngram_size > 1

  @property
  def masks_groups(self):
    """bool, whether several pieces are masked together."""
    return self.replaces_groups or self.do_whole_word_mask

  @property
  def finds_chinese_words(self):
    """bool, whether Chinese words of several characters are found."""
    return self.word_list is not None or self.segmenter != "none"

  def _check_chinese_words(self):
    """Raises ValueError if an option of Chinese words has no effect."""
    if self.segmenter_cache is not None and self.segmenter == "none":
      raise ValueError(
          "--segmenter_cache=%s requires --segmenter=jieba, which keeps its "
          "dictionary there." % self.segmenter_cache)
    if self.finds_chinese_words and not (
        self.do_whole_word_mask or self.span_geometric_p):
      raise ValueError(
          "%s tells which Chinese characters are masked together as a word; it "
          "requires --do_whole_word_mask or --span_geometric_p." % (
              "--segmenter=%s" % self.segmenter if self.word_list is None else
              "--word_list"))

  def _check_format(self):
    """Raises ValueError for options that are for sentence pairs only."""
    if self.example_format == default_of("example_format"):
      return
    if self.sentence_objective != "none":
      raise ValueError(
          "--example_format=%s has no sentence pairs to train "
          "--sentence_objective=%s on: pass --sentence_objective=none." % (
              self.example_format, self.sentence_objective))
    if self.short_seq_prob not in (0, default_of("short_seq_prob")):
      raise ValueError(
          "--short_seq_prob=%g has no effect with --example_format=%s: only "
          "sentence pairs are of random length. Leave it out." % (
              self.short_seq_prob, self.example_format))

  def check_for_records(self):
    """Raises ValueError for an option that has no effect on TFRecords."""
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if (field.metadata["option"].fingerprint != "always" and
          field.name != "sentence_objective" and value != field.default):
        raise ValueError(
            "--%s=%s has no effect on TFRecords, whose examples are complete: "
            "pass it to create_pretraining_data.py, or pass the text as "
            "--input_file." % (field.name, value))

  def with_default_masks(self):
    """Returns the same with the defaults of what decides the masks, except for
    their greatest number."""
    return dataclasses.replace(
        self, **{name: default_of(name) for name in _MASKING})


@dataclasses.dataclass(frozen=True)
class PackingConfig(_Group):
  """How many sequences of raw text a row of a batch holds."""

  pack_sequences: bool = _boolean(
      False, "Put several short sequences into each row of a training batch, "
      "instead of one and padding. A sequence attends to itself only. "
      "--train_batch_size then counts rows.", fingerprint="if_changed")
  max_sequences_per_pack: int = _integer(
      8, "Maximum number of sequences of a row, with --pack_sequences or "
      "--pack_eval_sequences.", minimum=2, fingerprint="if_changed")

  def of_text(self, pack_sequences):
    """Returns the PackingConfig of a text that is packed or not, without a
    number of sequences that has no effect."""
    return PackingConfig(True, self.max_sequences_per_pack) if (
        pack_sequences) else PackingConfig()

  def check_used(self):
    """Raises ValueError if a number of sequences is given, but none packed."""
    if not self.pack_sequences and (
        self.max_sequences_per_pack != default_of("max_sequences_per_pack")):
      raise ValueError(
          "--max_sequences_per_pack=%d requires --pack_sequences, or for "
          "evaluations --pack_eval_sequences." % self.max_sequences_per_pack)


class StageShare(NamedTuple):
  """A stage of --stages: the length of its sequences, and its fraction of the
  training steps."""
  max_seq_length: int
  share: float


_STAGE = re.compile(r"\s*(\d+)\s*:\s*(\d+\.?\d*|\.\d+)\s*$")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(_Group):
  """The update of the weights and its schedule."""

  train_batch_size: int = _integer(
      32, "Number of sequences per training step, over all devices.",
      minimum=1, in_original=True)
  learning_rate: float = _float(
      5e-5, "Peak learning rate.", above=0, in_original=True)
  num_train_steps: int = _integer(
      100000, "Number of training steps.", minimum=1, in_original=True)
  stages: Sequence[str] = _field(
      "list", (), "Parts of the training with sequences of different lengths, "
      "each with its fraction of the steps, e.g. 128:0.9,512:0.1. Replaces "
      "--max_seq_length. --train_batch_size and --max_predictions_per_seq are "
      "those of the first stage; in the others an update has as many tokens, "
      "and an example as large a fraction of masked ones. "
      "--max_sequences_per_pack is proportional to the length. Evaluations use "
      "the last length.")
  num_train_epochs: Optional[float] = _float(
      None, "Number of passes over the text; replaces --num_train_steps. The "
      "number of steps is estimated at the first start and kept from then on.",
      above=0)
  num_warmup_steps: int = _integer(
      10000, "Number of steps in which the learning rate rises linearly from "
      "0 to its peak.", minimum=0, in_original=True)
  warmup_proportion: Optional[float] = _float(
      None, "Fraction of the training steps used for warmup; replaces "
      "--num_warmup_steps.", minimum=0, below=1)
  num_head_steps: Union[int, str] = _field(
      "integer_or_auto", AUTO, "Number of steps at the start that only update "
      "newly initialized weights, such as heads that --init_checkpoint lacks "
      "or new entries of its vocabulary, on an encoder without dropout. The "
      "schedule of the learning rate follows. auto: 5 % of the steps, at most "
      "100, if the transform before the masked-LM output or an entry of the "
      "vocabulary is newly initialized; else 0.", minimum=0)
  head_learning_rate: float = _float(
      1e-3, "Learning rate of the first of --num_head_steps; it falls linearly "
      "to 0.", above=0)
  learning_rate_decay: str = _enum(
      DECAYS, "Schedule after warmup: linear (the original's, which drops "
      "below the peak at the end of warmup), constant or cosine decay.")
  optimizer: str = _enum(
      OPTIMIZERS, "adamw, the original's Adam with decoupled weight decay, or "
      "lamb (You et al. 2019) for large batches.")

  def validated(self):
    """Returns self; see _Group.validated."""
    super().validated()
    self.stage_shares()
    return self

  def stage_shares(self) -> List[StageShare]:
    """Returns the StageShares of --stages; an empty list without stages.

    Raises:
      ValueError: it has another form, or the fractions do not add up to 1.
    """
    given = "--stages=%s" % ",".join(self.stages)
    found = []
    for item in self.stages:
      match = _STAGE.match(item)
      if not match:
        raise ValueError(
            "%s is invalid: %s is not a length and a fraction of the steps, "
            "such as 128:0.9." % (given, item or "an empty part"))
      found.append(StageShare(int(match.group(1)), float(match.group(2))))
    for length, share in found:
      if not option_of("max_seq_length").is_valid(length):
        raise ValueError("%s is invalid: the length %d must be %s." % (
            given, length, option_of("max_seq_length").bounds()))
      if not share:
        raise ValueError(
            "%s is invalid: the stage of length %d has no steps; leave it out."
            % (given, length))
    lengths = [length for length, _ in found]
    for length in lengths:
      if lengths.count(length) > 1:
        raise ValueError(
            "%s is invalid: two stages have the length %d, so they would train "
            "on the same examples. Give each length one stage." % (
                given, length))
    if found and abs(sum(share for _, share in found) - 1) > 1e-6:
      raise ValueError(
          "%s is invalid: the fractions of the steps add up to %g, not 1." % (
              given, sum(share for _, share in found)))
    return found


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(_Group):
  """What is evaluated, when, and what follows from it."""

  eval_input_file: Optional[str] = _string(
      None, "Held-out raw text or TFRecords to evaluate on. Without it, "
      "--do_eval reads --input_file, as the original does.")
  general_eval_input_file: Optional[str] = _string(
      None, "Text like the model's original pretraining text, or TFRecords: "
      "evaluated too, to measure forgetting.")
  eval_batch_size: int = _integer(
      8, "Number of sequences per evaluation step.", minimum=1,
      in_original=True)
  pack_eval_sequences: bool = _boolean(
      False, "Put several sequences into each row of an evaluation batch, too. "
      "--eval_batch_size and --max_eval_steps then count rows and batches of "
      "rows, so as many steps cover more sequences. Over the same text, the "
      "metrics of masked words and sentences are the same up to rounding.")
  max_eval_steps: int = _integer(
      100, "Maximum number of batches per evaluation; 0 evaluates the whole "
      "text once.", minimum=0, in_original=True)
  sweep_weights: Sequence[float] = _field(
      "floats", (), "After the evaluation, evaluate averages of "
      "--init_checkpoint and the trained model, too, with these weights of the "
      "trained model, separated by commas, e.g. 0,0.25,0.5,0.75,1; see "
      "--export_weight.", minimum=0, maximum=1)
  eval_every_steps: int = _integer(
      0, "Number of training steps between two evaluations; 0 evaluates only "
      "before and after training.", minimum=0)
  keep_best: bool = _boolean(
      False, "Keep the best checkpoint of all that are evaluated in "
      "output_dir/best.")
  keep_best_metric: str = _enum(
      KEEP_BEST_METRICS, "What makes a checkpoint the best one, for "
      "--keep_best and --early_stopping_patience: the lowest masked-LM loss on "
      "--eval_input_file, or the highest mean accuracy of the probe.")
  early_stopping_patience: int = _integer(
      0, "Stop training after this many consecutive evaluations without a new "
      "best one; 0 disables early stopping.", minimum=0)
  accept_eval_overlap: bool = _boolean(
      False, "Train even if the training text shares documents with the "
      "evaluation text, or documents or lines with the probe.")
  probe_train_file: Optional[str] = _path(
      None, "Labelled texts of a task, to probe the encoder at each "
      "evaluation: a label, a tab and a text per line. Classifiers are fitted "
      "to draws of them; the encoder is not changed. Needs scikit-learn.")
  probe_eval_file: Optional[str] = _path(
      None, "Other labelled texts of that task, which the classifiers are "
      "scored on.")
  probe_num_labels: int = _integer(
      100, "Number of labelled texts in a draw.", minimum=2)
  probe_draws: int = _integer(
      8, "Number of draws. If --probe_train_file has no more than "
      "--probe_num_labels texts, there is a single one, of all texts.",
      minimum=1)


@dataclasses.dataclass(frozen=True)
class CheckpointConfig(_Group):
  """The model, and where weights are read from and written to."""

  bert_config_file: Optional[str] = _path(
      None, "The model's config, a JSON file. By default the one beside "
      "--init_checkpoint.", in_original=True)
  init_checkpoint: Optional[str] = _path(
      None, "Initial weights: a TensorFlow checkpoint such as bert_model.ckpt "
      "of a pretrained BERT, its directory, or a Hugging Face directory.",
      in_original=True)
  extend_positions: bool = _boolean(
      False, "Give the model more positions than --init_checkpoint has, if the "
      "config or --max_seq_length requires them. The embeddings of the new "
      "positions are copies of the last ones.")
  hidden_dropout_prob: Optional[float] = _float(
      None, "Dropout of the outputs of layers and embeddings in this training. "
      "Exports keep the value of the config.", minimum=0, below=1,
      default_text="the config's")
  attention_probs_dropout_prob: Optional[float] = _float(
      None, "Dropout of the attention weights in this training. Exports keep "
      "the value of the config.", minimum=0, below=1,
      default_text="the config's")
  output_dir: Optional[str] = _path(
      None, "Directory for checkpoints, results and train.log. A run resumes "
      "from the latest checkpoint in it.", is_required=True, in_original=True)
  export_dir: Optional[str] = _path(
      None, "Directory for the final model: a checkpoint without optimizer "
      "slots in tf/ and a Hugging Face directory in hf/.")
  export_weight: float = _float(
      1.0, "Weight of the trained model in what is exported, an average with "
      "--init_checkpoint. The pretraining heads are those of the trained "
      "model.", minimum=0, maximum=1)
  save_checkpoints_steps: int = _integer(
      1000, "Number of steps between two checkpoints.", minimum=1,
      in_original=True)
  keep_checkpoint_max: int = _integer(
      5, "Number of latest checkpoints to keep; 0 keeps all.", minimum=0)
  keep_checkpoint_every_n_hours: float = _float(
      10000.0, "Keep one more checkpoint for each N hours of training.",
      above=0)


@dataclasses.dataclass(frozen=True)
class HardwareConfig(_Group):
  """The devices and machines that train, and the arithmetic they use."""

  distribution_strategy: str = _enum(
      DISTRIBUTION_STRATEGIES, "Share each batch between the GPUs of this "
      "machine (mirrored), or between the workers of a cluster "
      "(multi_worker_mirrored).")
  cluster: str = _enum(
      CLUSTERS, "What names the workers of multi_worker_mirrored: the variable "
      "TF_CONFIG in each worker's environment (tf_config), or the variables of "
      "the tasks that SLURM's srun starts (slurm).")
  num_gpus: Optional[int] = _integer(
      None, "Number of GPUs of this machine to use with mirrored.",
      default_text="all GPUs")
  devices: Sequence[str] = _field(
      "list", (), "Devices to use with mirrored instead of GPUs, separated by "
      "commas; cpu:0,cpu:1 tries it without GPUs.")
  gradient_accumulation_steps: int = _integer(
      1, "Number of micro-batches into which each device splits its share of "
      "--train_batch_size. The update is the same; it needs less memory.",
      minimum=1)
  precision: str = _enum(
      PRECISIONS, "fp16 computes in half precision on GPUs, with dynamic loss "
      "scaling; bfloat16 is for TPUs and for GPUs that support it.")
  use_xla: bool = _boolean(False, "Compile the model with XLA.")
  watchdog_seconds: float = _float(
      600.0, "Multi-worker training: number of seconds without a completed "
      "step after which a worker assumes that another one is lost, and exits.",
      above=0)
  use_tpu: bool = _boolean(False, "Train on a TPU.", in_original=True)
  tpu_name: Optional[str] = _string(
      None, "Name or grpc:// address of the TPU; local for a TPU in this "
      "machine.", in_original=True)
  tpu_coordinator_address: Optional[str] = _string(
      None, "host:port at which the TPU's hosts reach this machine.",
      default_text="this machine's address and a free port")
  tpu_zone: Optional[str] = _string(
      None, "Zone of the TPU, if the metadata server does not provide it.",
      in_original=True)
  gcp_project: Optional[str] = _string(
      None, "Project of the TPU, if the metadata server does not provide it.",
      in_original=True)
  master: Optional[str] = _string(
      None, "Address of a TensorFlow master.", in_original=True)
  num_tpu_cores: int = _integer(
      8, "Number of TPU cores.", minimum=1, in_original=True)
  iterations_per_loop: int = _integer(
      1000, "Number of steps that a TPU runs before it returns to the host.",
      minimum=1, in_original=True)


@dataclasses.dataclass(frozen=True)
class RunConfig(_Group):
  """What the program does."""

  do_train: bool = _boolean(False, "Train.", in_original=True)
  do_eval: bool = _boolean(
      False, "Evaluate after training, or the latest checkpoint.",
      in_original=True)
  recipe: str = _enum(
      RECIPES, "Published settings as defaults of the flags of the schedule "
      "and the batch: dapt (text of a domain) or tapt (the text of a task), "
      "Gururangan et al. 2020. --gradient_accumulation_steps is chosen for the "
      "batch. Flags that are passed have precedence.")
  preflight_only: bool = _boolean(
      False, "Run the data checks, print them and exit.")
  log_every_steps: int = _integer(
      100, "Number of steps between two progress lines.", minimum=1)
  output_file: Optional[str] = _string(
      None, "Accepted for existing command lines and ignored: no examples are "
      "written.")


@dataclasses.dataclass(frozen=True)
class Config:
  """All groups.

  Attributes:
    given: names of the flags that were passed, which have precedence over what
      follows from other flags.
    filled_in: names of those that were not passed, but set by --recipe.
  """
  run: RunConfig = RunConfig()
  data: DataConfig = DataConfig()
  mixture: MixtureConfig = MixtureConfig()
  reader: ReaderConfig = ReaderConfig()
  tokenizer: TokenizerConfig = TokenizerConfig()
  instances: InstanceConfig = InstanceConfig()
  packing: PackingConfig = PackingConfig()
  optimizer: OptimizerConfig = OptimizerConfig()
  evaluation: EvaluationConfig = EvaluationConfig()
  checkpoint: CheckpointConfig = CheckpointConfig()
  hardware: HardwareConfig = HardwareConfig()
  given: FrozenSet[str] = frozenset()
  filled_in: FrozenSet[str] = frozenset()

  def validated(self):
    """Returns self.

    Raises:
      ValueError: a value is out of bounds, or flags contradict each other.
    """
    for name in GROUPS:
      getattr(self, name).validated()
    _check_combinations(self)
    return self

  def check_for_records(self):
    """Raises ValueError for an option that has no effect on TFRecords."""
    self.instances.check_for_records()
    if self.optimizer.stages:
      raise ValueError(
          "--stages=%s needs raw text, but --input_file=%s holds TFRecords, "
          "whose examples have one length." % (
              ",".join(self.optimizer.stages), self.data.input_file))

  def get(self, name):
    """Returns the value of a field of any group."""
    return getattr(getattr(self, group_of(name)), name)

  def is_given(self, name):
    """Tells whether a flag, or another one for the same thing, was passed."""
    return bool(self.given_for(name))

  def given_for(self, name) -> List[str]:
    """Returns which of a flag and others for the same thing were passed."""
    same = {other for names in ((name,), *_ALTERNATIVES) if name in names
            for other in names}
    return sorted(same & self.given)


GROUPS = {
    "run": RunConfig, "data": DataConfig, "mixture": MixtureConfig,
    "reader": ReaderConfig, "tokenizer": TokenizerConfig,
    "instances": InstanceConfig, "packing": PackingConfig,
    "optimizer": OptimizerConfig, "evaluation": EvaluationConfig,
    "checkpoint": CheckpointConfig, "hardware": HardwareConfig}

# Name of a field -> (name of its group, dataclasses.Field).
_FIELDS: Dict[str, Tuple[str, Any]] = {
    field.name: (group, field) for group, group_class in GROUPS.items()
    for field in dataclasses.fields(group_class)}

# Two flags for the same thing; the first one has a default.
_ALTERNATIVES = (("num_train_steps", "num_train_epochs"),
                 ("num_warmup_steps", "warmup_proportion"),
                 ("max_seq_length", "stages"))


def matching_predictions(masked_lm_prob, max_seq_length):
  """Returns the --max_predictions_per_seq that fits to a masking probability.

  Args:
    masked_lm_prob: float, fraction of an example's tokens to mask.
    max_seq_length: int, tokens of an example.

  Returns:
    int: no example has more masked tokens, and few padded predictions are
    computed.

  Source: google-research/electra's default, int((p + 0.005) * L); at least the
    number that the reference masks in an example of full length.

  >>> matching_predictions(0.15, 512), matching_predictions(0.15, 128)
  (79, 19)
  """
  fitting = max(int((masked_lm_prob + 0.005) * max_seq_length),
                int(round(masked_lm_prob * max_seq_length)), 1)
  return min(fitting, max_seq_length)


def names_of(group) -> Tuple[str, ...]:
  """Returns the names of the fields of a group, a class."""
  return tuple(field.name for field in dataclasses.fields(group))


def is_field(name) -> bool:
  """Tells whether a group has a field of this name."""
  return name in _FIELDS


def group_of(name) -> str:
  """Returns the name of the group that a field is in."""
  return _FIELDS[name][0]


def option_of(name) -> Option:
  """Returns the Option of a field."""
  return _FIELDS[name][1].metadata["option"]


def default_of(name):
  """Returns the default of a field."""
  field = _FIELDS[name][1]
  if field.default_factory is not dataclasses.MISSING:
    return field.default_factory()
  return field.default


def check_value(name, value):
  """Checks a value against the bounds of its field.

  Args:
    name: name of a field, which is the name of its flag.
    value: None is always valid.

  Raises:
    ValueError: the value is out of bounds.
  """
  option = option_of(name)
  if value is None or option.is_valid(value):
    return
  if option.kind == "enum":
    raise ValueError("--%s=%s is invalid: it must be one of %s." % (
        name, value, ", ".join(option.choices)))
  if option.kind == "floats":
    value = ",".join(map(str, value))
  raise ValueError("--%s=%s is out of range: it must be %s." % (
      name, value, option.bounds() or "a finite number"))


def check_chinese_words(tokenizer, instances):
  """Checks that Chinese words can be found.

  Args:
    tokenizer: TokenizerConfig; instances: InstanceConfig.

  Raises:
    ValueError: words are to be found, but characters are no pieces of their
      own.
  """
  if instances.finds_chinese_words and not tokenizer.tokenize_chinese_chars:
    raise ValueError(
        "--word_list and --segmenter join Chinese characters, each of which "
        "has to be a WordPiece, but --tokenize_chinese_chars=False leaves them "
        "in the words of the text. Pass --tokenize_chinese_chars, or leave "
        "--word_list and --segmenter out.")


def stream_options(*groups) -> Dict[str, Any]:
  """Returns the values that decide the example stream, by name.

  Args:
    *groups: instances of the groups to consider.

  Returns:
    dict; a field with fingerprint="if_changed" is left out at its default.
  """
  found = {}
  for group in groups:
    for field in dataclasses.fields(group):
      kind = field.metadata["option"].fingerprint
      value = getattr(group, field.name)
      if kind == "always" or (
          kind == "if_changed" and value != default_of(field.name)):
        found[field.name] = value
  return found


def _check_combinations(config):
  """Raises ValueError for flags that contradict each other."""
  run, evaluation = config.run, config.evaluation
  if not run.do_train and not run.do_eval:
    raise ValueError("Nothing to do: pass --do_train, --do_eval or both.")
  for name, other in _ALTERNATIVES:
    value = config.get(other)
    if name in config.given and value is not None and value not in ((), []):
      raise ValueError(
          "--%s and --%s set the same thing; pass only one of them." %
          (name, other))
  _check_evaluation(run, evaluation)
  _check_packing(config.packing, evaluation)
  if config.checkpoint.extend_positions and (
      not config.checkpoint.init_checkpoint):
    raise ValueError("--extend_positions requires --init_checkpoint, whose "
                     "positions it copies.")
  if config.checkpoint.export_dir and not run.do_train:
    raise ValueError("--export_dir requires --do_train; convert_checkpoint.py "
                     "exports a model that was trained before.")
  _check_averages(config)


def _check_packing(packing, evaluation):
  """Raises ValueError if an option of packing has no effect."""
  if not evaluation.pack_eval_sequences:
    packing.check_used()


def _check_averages(config):
  """Raises ValueError if averages with the initial weights lack a flag."""
  checkpoint, evaluation = config.checkpoint, config.evaluation
  if checkpoint.export_weight != default_of("export_weight") and not (
      checkpoint.export_dir and checkpoint.init_checkpoint):
    raise ValueError(
        "--export_weight=%g requires --export_dir, and --init_checkpoint to "
        "average the trained model with." % checkpoint.export_weight)
  if evaluation.sweep_weights and not (
      config.run.do_eval and checkpoint.init_checkpoint and
      (evaluation.eval_input_file or evaluation.probe_train_file)):
    raise ValueError(
        "--sweep_weights requires --do_eval, --eval_input_file or "
        "--probe_train_file to evaluate on, and --init_checkpoint to average "
        "the trained model with.")


def _check_evaluation(run, evaluation):
  """Raises ValueError for flags of evaluations that contradict each other."""
  has_probe = bool(evaluation.probe_train_file)
  if has_probe != bool(evaluation.probe_eval_file):
    raise ValueError("--probe_train_file and --probe_eval_file require each "
                     "other.")
  if evaluation.eval_every_steps and not (
      run.do_train and (evaluation.eval_input_file or has_probe)):
    raise ValueError(
        "--eval_every_steps=%d evaluates held-out text during training; it "
        "requires --do_train, and --eval_input_file or --probe_train_file." %
        evaluation.eval_every_steps)
  for name in ("general_eval_input_file", "probe_train_file"):
    if getattr(evaluation, name) and not (
        run.do_eval or evaluation.eval_every_steps):
      raise ValueError(
          "--%s requires --do_eval or --eval_every_steps." % name)
  _check_best(evaluation)


def _check_best(evaluation):
  """Raises ValueError if there is nothing to tell the best checkpoint by."""
  has_probe = bool(evaluation.probe_train_file)
  metric = evaluation.keep_best_metric
  if metric == "probe" and not has_probe:
    raise ValueError(
        "--keep_best_metric=probe requires --probe_train_file and "
        "--probe_eval_file.")
  for name in ("keep_best", "early_stopping_patience"):
    if not getattr(evaluation, name):
      continue
    if not evaluation.eval_every_steps:
      raise ValueError("--%s requires --eval_every_steps." % name)
    if metric != "probe" and not evaluation.eval_input_file:
      raise ValueError(
          "--%s with --keep_best_metric=%s requires --eval_input_file%s." % (
              name, metric,
              ", or pass --keep_best_metric=probe" if has_probe else ""))
