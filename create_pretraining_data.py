"""Creates BERT's pretraining examples offline: documents -> TFRecord files.

    python create_pretraining_data.py --input_file=corpus.txt \
        --output_file=examples.tfrecord --vocab_file=vocab.txt

Writes the examples that google-research/bert's program of the same name writes,
one for one and in order, for the same flags and seed. It also has the functions
with the reference's names, which take and return pieces as texts.
`run_pretraining_e2e.py` builds its examples by the same rules, which are in
bert_e2e/data/instances.py.
"""

import collections
import contextlib
import dataclasses
import itertools
import logging
import os
import random
import sys

import tokenization
from bert_e2e import flags as flags_lib
from bert_e2e.common import file_io
from bert_e2e.common import input_files as input_files_lib
from bert_e2e.config import (  # noqa: F401  Users import them from here.
  MIN_SEQ_LENGTH,
  InstanceConfig,
  ReaderConfig,
  TokenizerConfig,
  check_chinese_words,
)
from bert_e2e.data import (
  chinese_words,
  masking,
  pairing,
  sentences,
  strategies,
  text_lines,
)
from bert_e2e.data import instances as instances_lib
from bert_e2e.data.instances import (  # noqa: F401  Users import them from here.
  Document,
  TrainingInstance,
  examples_from_text,
  fusion_input_and_out,
  group_documents,
  instances_from_documents,
)
from bert_e2e.data.masking import num_to_predict  # noqa: F401  Users import it from here.
from bert_e2e.data.own_masks import (  # noqa: F401  Users import them from here.
  mask_positions,
  original_tokens,
)
from bert_e2e.data.pieces import (  # noqa: F401  Users import them from here.
  SPECIAL_TOKENS,
  Pieces,
  check_vocabulary,
  id_pieces,
  packing_tokenizer,
  text_pieces,
  warn_of_repeated_pieces,
)
from bert_e2e.data.sampling import ReferenceSampler
from bert_e2e.data.tf_example import (  # noqa: F401  Users import them from here.
  FLOAT_LIST,
  INT64_LIST,
  ExampleSerializer,
  create_instance_to_example_files,
  to_example,
)
from bert_e2e.flags import check_no_arguments

logger = logging.getLogger("create_pretraining_data")

# Former names.
InstanceOptions = InstanceConfig
ReferenceDraws = ReferenceSampler

# A masked token: its offset in the example and the original token.
MaskedLmInstance = collections.namedtuple("MaskedLmInstance", "index label")

_NUM_LOGGED_EXAMPLES = 20
# As the reference reads all files.
_INPUT_FORMAT = "text"


def _read_texts(input_files, **options):
  """Yields the text of files, str of whole lines, a sentence per line.

  Args:
    input_files: list of paths.
    **options: fields of config.ReaderConfig.
  """
  reader = ReaderConfig(**dict(
      {"input_format": _INPUT_FORMAT}, **options)).validated()
  for path in input_files:
    for text in text_lines.read_texts(path, reader):
      yield sentences.split(text, reader.sentence_split)


def documents_of_files(input_files, tokenizer, invalid_utf8="error",
                       pieces=None, **reader):
  """Reads whole files; their pieces are ids.

  Args:
    input_files: list of paths, read in this order, repeats included; the end of
      a file of plain text does not end a document.
    tokenizer: see pieces.packing_tokenizer.
    invalid_utf8: see config.ReaderConfig.
    pieces: `id_pieces(tokenizer, ...)`, by default without Chinese words.
    **reader: the other fields of config.ReaderConfig. The default of
      `input_format` is "text", whatever the files' extensions are.

  Returns:
    list of Document.

  Raises:
    ValueError: a file can't be read or is not UTF-8, or a record has no text.
  """
  pieces = pieces or id_pieces(tokenizer)
  return group_documents(
      segment for text in _read_texts(
          input_files, invalid_utf8=invalid_utf8, **reader)
      for segment in instances_lib.segments_of_text(text, tokenizer, pieces))


def _lines_of_files(input_files, **reader):
  """Returns an iterator over the lines of files; see `documents_of_files`."""
  return itertools.chain.from_iterable(
      map(file_io.split_lines, _read_texts(input_files, **reader)))


class _SegmentLists:
  """Documents that are lists of segments, as a sequence of Documents.

  Args:
    documents: list of lists of lists of pieces. Each is concatenated when it is
      accessed, because only a few of a large corpus are needed at a time.
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


def create_training_instances(input_files, tokenizer, max_seq_length,
                              dupe_factor, short_seq_prob, masked_lm_prob,
                              max_predictions_per_seq, rng, *,
                              do_whole_word_mask=False, invalid_utf8="error",
                              **reader):
  """Builds the instances of whole files, with pieces as texts.

  Args:
    input_files: list of paths, read in this order, repeats included; the end of
      a file of plain text does not end a document.
    tokenizer: has `tokenize(line)` and `vocab`.
    max_seq_length, dupe_factor, short_seq_prob, masked_lm_prob,
      max_predictions_per_seq, do_whole_word_mask: see config.InstanceConfig.
    rng: random.Random.
    invalid_utf8, **reader: see `documents_of_files`.

  Returns:
    list of TrainingInstance, shuffled; all of them in memory.

  Raises:
    ValueError: a file can't be read or is not UTF-8, or a record has no text;
      an option is out of range.

  Source: google-research/bert, function of the same name, same result for the
    same `rng`. Changed: whole-word masking is an argument, not a flag.
  """
  options = InstanceConfig(
      max_seq_length, max_predictions_per_seq, masked_lm_prob, short_seq_prob,
      dupe_factor, do_whole_word_mask).validated()
  documents = group_documents(instances_lib.tokenized(
      _lines_of_files(input_files, invalid_utf8=invalid_utf8, **reader),
      tokenizer))
  return instances_from_documents(
      documents, options, text_pieces(list(tokenizer.vocab)),
      ReferenceSampler(rng))


def create_instances_from_document(
    all_documents, document_index, max_seq_length, short_seq_prob,
    masked_lm_prob, max_predictions_per_seq, vocab_words, rng, *,
    do_whole_word_mask=False):
  """Builds the instances of one document, with pieces as texts.

  Args:
    all_documents: list of documents, lists of segments, which are lists of
      pieces; random next sentences come from them.
    document_index: int, which of them.
    max_seq_length, short_seq_prob, masked_lm_prob, max_predictions_per_seq,
      do_whole_word_mask: see config.InstanceConfig.
    vocab_words: list of str, all WordPieces.
    rng: random.Random.

  Returns:
    list of TrainingInstance, in the order of the text.

  Source: google-research/bert, function of the same name, same result for the
    same `rng`. Changed: whole-word masking is an argument, not a flag.
  """
  options = InstanceConfig(
      max_seq_length, max_predictions_per_seq, masked_lm_prob, short_seq_prob,
      do_whole_word_mask=do_whole_word_mask)
  sampler = ReferenceSampler(rng)
  documents = _SegmentLists(all_documents)
  return list(
      instances_lib.document_instances(
          documents[document_index],
          pairing.OtherDocuments(documents, document_index, (), sampler),
          options, text_pieces(vocab_words), sampler))


def truncate_seq_pair(tokens_a, tokens_b, max_num_tokens, rng):
  """Shortens a pair to a length, piece by piece from the longer one.

  Args:
    tokens_a, tokens_b: lists of pieces; shortened in place, B if both have one
      length, at the front or at the back with equal probability.
    max_num_tokens: int, how many pieces of both together remain at most.
    rng: random.Random; one number for each removed piece.

  Source: google-research/bert, function of the same name, same result for the
    same `rng`.
  """
  start_a, end_a, start_b, end_b = pairing.truncated_bounds(
      0, len(tokens_a), 0, len(tokens_b), max_num_tokens, ReferenceSampler(rng))
  tokens_a[:] = tokens_a[start_a:end_a]
  tokens_b[:] = tokens_b[start_b:end_b]


def create_masked_lm_predictions(tokens, masked_lm_prob,
                                 max_predictions_per_seq, vocab_words, rng, *,
                                 do_whole_word_mask=False):
  """Masks an example, with pieces as texts.

  Args:
    tokens: list of str, with [CLS] and [SEP], which are never masked.
    masked_lm_prob, max_predictions_per_seq, do_whole_word_mask: see
      config.InstanceConfig.
    vocab_words: list of str, all WordPieces.
    rng: random.Random.

  Returns:
    (tokens with masks; masked offsets, ascending; the original tokens there):
    three lists.

  Source: google-research/bert, function of the same name, same result for the
    same `rng`. Changed: whole-word masking is an argument, not a flag.
  """
  options = InstanceConfig(
      masked_lm_prob=masked_lm_prob,
      max_predictions_per_seq=max_predictions_per_seq,
      do_whole_word_mask=do_whole_word_mask)
  pieces = text_pieces(vocab_words)
  masked = list(tokens)
  positions, labels = masking.mask_tokens(
      masked, masking.maskable_positions(tokens, pieces), options, pieces,
      ReferenceSampler(rng))
  return masked, positions, labels


def write_instance_to_example_files(instances, tokenizer, max_seq_length,
                                    max_predictions_per_seq, output_files):
  """Writes instances to TFRecord files in turn; logs the first of them.

  Args:
    instances: iterable of TrainingInstance, pieces as texts or as ids.
    tokenizer: has `convert_tokens_to_ids` and, if pieces are ids,
      `convert_ids_to_tokens`.
    max_seq_length, max_predictions_per_seq: the lengths to pad to.
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
      example = to_example(serializer, tokenizer, instance)
      writer.write(example)
      if total < _NUM_LOGGED_EXAMPLES:
        _log_example(tf.train.Example.FromString(example), instance, tokenizer)
      total += 1
  logger.info("Wrote %d total instances", total)


def create_int_feature(values):
  """Returns the tf.train.Feature of an iterable of int, an int64 list."""
  import tensorflow.compat.v1 as tf  # pylint: disable=import-outside-toplevel
  return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def create_float_feature(values):
  """Returns the tf.train.Feature of an iterable of float, a float list."""
  import tensorflow.compat.v1 as tf  # pylint: disable=import-outside-toplevel
  return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _log_example(example, instance, tokenizer):
  """Logs an example's tokens and features, a line each."""
  tokens = instance.tokens
  if not isinstance(tokens[0], str):
    tokens = tokenizer.convert_ids_to_tokens(tokens)
  logger.info("*** Example ***")
  logger.info("tokens: %s", instances_lib.printable(tokens))
  for name, feature in sorted(example.features.feature.items()):
    values = feature.int64_list.value or feature.float_list.value
    logger.info("%s: %s", name, instances_lib.printable(values))


def options_from_flags(values):
  """Returns the config.InstanceConfig of parsed flags, validated."""
  return flags_lib.group_from_flags(InstanceConfig, values)


def define_instance_flags(dupe_factor):
  """Defines the flags that determine how instances are built.

  Args:
    dupe_factor: int, the default of --dupe_factor.
  """
  flags_lib.define(flags_lib.INSTANCE_FLAGS, dupe_factor=dupe_factor,
                   input_format=_INPUT_FORMAT)


def define_flags():
  """Defines this program's flags: the reference's, and a few more."""
  from absl import flags  # pylint: disable=import-outside-toplevel
  flags.DEFINE_string(
      "input_file", None,
      "Raw text: files, patterns or directories, separated by commas; one "
      "sentence per line, a blank line between documents.")
  flags.DEFINE_string(
      "output_file", None, "TFRecord files to write, separated by commas.")
  define_instance_flags(dupe_factor=10)
  flags.mark_flags_as_required(["input_file", "output_file", "vocab_file"])


def _check_output(output_files):
  """Raises ValueError for a file that can't be written, before hours of work.
  """
  for path in output_files:
    directory = os.path.dirname(path) or "."
    if not file_io.is_local(path):
      continue
    if not os.path.isdir(directory):
      raise ValueError("--output_file=%s: the directory %s does not exist. "
                       "Create it." % (path, directory))
    if os.path.isdir(path) or not os.access(
        path if os.path.exists(path) else directory, os.W_OK):
      raise ValueError("--output_file=%s cannot be written." % path)


def _run(values):
  """Runs the program on parsed flags."""
  options = options_from_flags(values)
  tokenizer_options = flags_lib.group_from_flags(TokenizerConfig, values)
  check_chinese_words(tokenizer_options, options)
  strategy = strategies.find(values.strategy)
  if strategy:
    strategy.check_options(options)
  output_files = [file_io.expand_user(path) for path in
                  input_files_lib.split_list(values.output_file)]
  _check_output(output_files)
  input_files = input_files_lib.expand(values.input_file)
  warn_of_repeated_pieces(
      values.vocab_file, check_vocabulary(values.vocab_file))
  logger.info("*** Reading from input files ***")
  for path in input_files:
    logger.info("  %s", path)
  make_tokenizer = (
      tokenization.FullTokenizer if strategy else packing_tokenizer)
  tokenizer = make_tokenizer(
      values.vocab_file, **dataclasses.asdict(tokenizer_options))
  reader = dataclasses.asdict(flags_lib.group_from_flags(ReaderConfig, values))
  rng = random.Random(values.random_seed)
  if strategy:
    instances = strategy.build(
        list(_lines_of_files(input_files, **reader)), tokenizer, rng, options,
        "the text of --input_file=%s" % values.input_file)
  else:
    pieces = id_pieces(tokenizer, chinese_words.find(options))
    instances = instances_from_documents(
        documents_of_files(input_files, tokenizer, pieces=pieces, **reader),
        options, pieces, ReferenceSampler(rng))
  if not instances:
    raise ValueError("%s yields no example: it needs lines with text." %
                     values.input_file)
  logger.info("*** Writing to output files ***")
  for path in output_files:
    logger.info("  %s", path)
  write_instance_to_example_files(
      instances, tokenizer, options.max_seq_length,
      options.max_predictions_per_seq, output_files)


def main(argv):
  from absl import flags  # pylint: disable=import-outside-toplevel
  root = logging.getLogger()
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
  root.handlers[:] = [handler]  # Replaces the one that absl installed.
  root.setLevel(logging.INFO)
  try:
    check_no_arguments(argv[1:])
    _run(flags.FLAGS)
  except (ValueError, OSError) as e:
    sys.exit("create_pretraining_data.py: %s" % e)


if __name__ == "__main__":
  define_flags()
  flags_lib.run(main)
