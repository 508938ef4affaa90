"""Adds the words of a domain to the vocabulary of a BERT, before its training.

    python extend_vocabulary.py --input_file='corpus/*.txt' \\
        --init_checkpoint=hf_model --num_new_tokens=1000 --output_tf=extended
    python run_pretraining_e2e.py --init_checkpoint=extended \\
        --input_file='corpus/*.txt' --output_dir=out --do_train

The words of the text that the vocabulary splits into pieces are ranked by the
number of pieces that they would save: count * (pieces - 1). The first ones get
an entry of the vocabulary and a row of the model's embedding table, initialized
as the mean of the rows of the word's pieces. All other rows stay bitwise what
they are. The table of words and what changes in the text are printed.

To choose the words yourself, write the candidates to a file, edit it, and pass
it as the list of words:

    python extend_vocabulary.py --input_file='corpus/*.txt' \\
        --init_checkpoint=hf_model --candidates_output=words.tsv
    python extend_vocabulary.py --input_file='corpus/*.txt' \\
        --init_checkpoint=hf_model --words_file=words.tsv --output_tf=extended

The model that is written is read by run_pretraining_e2e.py and, with
--output_hf, by transformers. See docs/vocabulary.md.
"""

import contextlib
import logging
import os
import sys
from typing import Any, Dict, List, NamedTuple

from absl import flags

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import numpy as np
import tensorflow.compat.v1 as tf

import tokenization
from bert_e2e import flags as flags_lib
from bert_e2e.checkpoints import conversion, hugging_face, new_rows
from bert_e2e.common import file_io, input_files
from bert_e2e.config import ReaderConfig, TokenizerConfig, names_of
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import new_words, split_report, word_counts

_OUTPUTS = ("output_tf", "output_hf")
_TEXTS = ("input_file", "eval_input_file")
# Files that a file of candidates may not replace, beside text and vocabulary.
_READ_FILES = ("words_file", "bert_config_file")
_READER_FLAGS = ("input_format", "text_field", "invalid_records",
                 "invalid_utf8")
# So much of the text is split by both vocabularies for the report.
_MEASURED_BYTES = 1 << 23
_SHOWN = 30
_SHOWN_REFUSALS = 20


def _define_flags():
  """Defines the flags of text, model, words and output."""
  flags_lib.define_path(
      "init_checkpoint", None,
      "The model to extend: a checkpoint's path, e.g. bert_model.ckpt, a "
      "directory with checkpoints, or a Hugging Face directory.")
  flags_lib.define_path(
      "bert_config_file", None,
      "The config of a checkpoint; by default bert_config.json beside it.")
  flags_lib.define_path(
      "vocab_file", None,
      "The vocabulary; by default the one beside the model.")
  flags_lib.define(names_of(TokenizerConfig))
  flags.DEFINE_string(
      "input_file", None,
      "Text of the domain: files, patterns or directories, separated by "
      "commas.")
  flags.DEFINE_string(
      "eval_input_file", None,
      "Text to report on, in place of --input_file.")
  flags_lib.define(_READER_FLAGS)
  flags.DEFINE_integer(
      "max_megabytes", 300,
      "Of larger text, count the words of a sample of so many megabytes of "
      "text, spread evenly over the files (of each file that can't be split, "
      "such as a compressed one, its start); 0 to read all.", lower_bound=0)
  flags.DEFINE_integer(
      "num_new_tokens", 1000,
      "Number of words to add; with --words_file, by default all of its words.",
      lower_bound=1)
  flags.DEFINE_integer(
      "min_count", 5, "Add words only that occur so often in --input_file. "
      "With --words_file, all of its words are added unless this is passed.",
      lower_bound=1)
  flags_lib.define_path(
      "words_file", None,
      "The words to add, one per line, instead of the most frequent ones.")
  flags_lib.define_path(
      "candidates_output", None,
      "File to write all candidates to, ranked, to edit and pass as "
      "--words_file: word, count, pieces saved and pieces, separated by tabs.")
  flags.DEFINE_enum(
      "placement", new_words.UNUSED, new_words.PLACEMENTS,
      "unused: replace the [unusedN] entries of the vocabulary first, then "
      "append. append: leave these.")
  flags.DEFINE_integer(
      "pad_vocabulary_to", 1,
      "Append entries that can't occur in text, to make the vocabulary's size "
      "a multiple of this number, such as 8.", lower_bound=1)
  flags.DEFINE_enum(
      "init", new_rows.MEAN, new_rows.INITIALIZATIONS,
      "How new rows start: as the mean of the rows of the word's pieces, or "
      "random, as BERT initializes weights.")
  flags.DEFINE_integer("random_seed", 12345, "Seed for --init=random.",
                       lower_bound=0, upper_bound=(1 << 32) - 1)
  flags_lib.define_path(
      "output_tf", None, "Directory to write Google's format to.")
  flags_lib.define_path(
      "output_hf", None, "Directory to write Hugging Face's format to.")
  flags.mark_flags_as_required(["init_checkpoint"])


class _Inputs(NamedTuple):
  """What the flags name, opened and checked before anything takes long.

  Attributes:
    source: conversion.SourceModel.
    options: dict, those of its tokenizer.
    entries: list of str, the lines of its vocabulary.
    tokenizer: tokenization.FullTokenizer of it.
    corpora: dict from "input_file" and "eval_input_file", as far as they are
      passed, to their corpus.Corpus.
    reader: config.ReaderConfig of these.
    lines: dict from each word of --words_file that can be added to its line;
      None without that flag.
  """
  source: conversion.SourceModel
  options: Dict[str, Any]
  entries: List[str]
  tokenizer: tokenization.FullTokenizer
  corpora: Dict[str, corpus_lib.Corpus]
  reader: ReaderConfig
  lines: Any


class _Words(NamedTuple):
  """What the text and the list of words say.

  Attributes:
    counts: word_counts.WordCounts of the text; None without one.
    ranked: list of new_words.Candidate, of the text or of the list.
    chosen: list of new_words.Candidate, those to add.
  """
  counts: Any
  ranked: List[new_words.Candidate]
  chosen: List[new_words.Candidate]


@contextlib.contextmanager
def _naming(values, name):
  """Names a flag in the errors about its value."""
  try:
    yield
  except (ValueError, OSError) as e:
    raise ValueError("--%s=%s: %s" % (name, values[name].value, e)) from e


# ---------------------------------------------------------------------- reading


def _read_model(values):
  """Returns the conversion.SourceModel, and the options of its tokenizer, a
  dict, as recorded or by flags."""
  source = conversion.read(
      values.init_checkpoint, values.bert_config_file, values.vocab_file,
      values.do_lower_case if values["do_lower_case"].present else None,
      flag="--init_checkpoint")
  if not source.vocab_file:
    raise ValueError(
        "There is no vocabulary beside --init_checkpoint=%s; pass --vocab_file."
        % values.init_checkpoint)
  if source.do_lower_case is None:
    raise ValueError(
        "--init_checkpoint=%s does not tell whether its tokenizer lower-cases; "
        "pass --do_lower_case for an uncased model, or --do_lower_case=false." %
        values.init_checkpoint)
  options = dict(source.tokenizer, do_lower_case=source.do_lower_case)
  for name in names_of(TokenizerConfig):
    if values[name].present or name not in options:
      options[name] = values[name].value
  if source.directory:  # Its tokenizer may need text that was split before.
    hugging_face.read_options(source.directory, is_split_into_words=not (
        options["tokenize_chinese_chars"] or options["do_split_on_punc"]))
  tokenization.validate_case_matches_checkpoint(
      source.do_lower_case, values.init_checkpoint)
  return source, options


def _check_tokenizer(values, source, options):
  """Raises ValueError if transformers would not split words as the options, a
  dict, say."""
  if not (options["do_split_on_punc"] or source.directory and
          hugging_face.has_own_words(source.directory)):
    raise ValueError(
        "--do_split_on_punc=false is for models with a word tokenizer of their "
        "own, such as Japanese ones, but --init_checkpoint=%s has BERT's. A "
        "tokenizer_config.json has no such option, so transformers would never "
        "find new entries with punctuation, such as plug-in. Leave the flag "
        "out." % values.init_checkpoint)


def _read_entries(values, source):
  """Returns the lines of the model's vocabulary, a list of str."""
  with _naming(values, "vocab_file" if values.vocab_file else
               "init_checkpoint"):
    entries = file_io.split_lines(conversion.read_vocabulary(
        source.vocab_file, source.config).decode("utf-8").replace("\r", ""))
  new_rows.check(source.new_tokens, values.init_checkpoint,
                 source.config.vocab_size, [entry.strip() for entry in entries])
  return entries


def _open(values, reader):
  """Returns _Inputs.corpora."""
  corpora = {}
  for name in _TEXTS:
    if values[name].value:
      with _naming(values, name):
        corpora[name] = corpus_lib.Corpus(
            input_files.expand(values[name].value), reader=reader)
  return corpora


def _read_list(values, tokenizer):
  """Returns _Inputs.lines; prints which lines are left out."""
  if not values.words_file:
    return None
  with _naming(values, "words_file"):
    lines, refused = new_words.read_words(values.words_file, tokenizer)
  _show_refused(values, refused)
  if not lines:
    raise ValueError("--words_file=%s names no word that can be added." %
                     values.words_file)
  return lines


def _show_refused(values, refused):
  """Prints a list of new_words.Refusal of --words_file."""
  for item in refused[:_SHOWN_REFUSALS]:
    print("%s, line %d: %s is left out: it %s" % (
        values.words_file, item.line, item.word, item.reason))
  if len(refused) > _SHOWN_REFUSALS:
    print("%d more lines are left out" % (len(refused) - _SHOWN_REFUSALS))


def _read(values, outputs):
  """Returns the _Inputs; ValueError if something can't be read, or what is
  made of them can't be written."""
  source, options = _read_model(values)
  _check_tokenizer(values, source, options)
  if "output_hf" in outputs:
    with _naming(values, "output_hf"):
      hugging_face.check_writable(source.config, source.directory)
  entries = _read_entries(values, source)
  tokenizer = tokenization.FullTokenizer(source.vocab_file, **options)
  reader = flags_lib.group_from_flags(ReaderConfig, values)
  corpora = _open(values, reader)
  _check_not_read(values, [source.vocab_file] + [
      path for corpus in corpora.values() for path in corpus.files])
  return _Inputs(source, options, entries, tokenizer, corpora, reader,
                 _read_list(values, tokenizer))


# --------------------------------------------------------------------- choosing


def _count(values, inputs):
  """Returns the word_counts.WordCounts of --input_file."""
  corpus = inputs.corpora["input_file"]
  max_bytes = values.max_megabytes * 1000 * 1000
  num_bytes = word_counts.text_bytes(corpus)
  if 0 < max_bytes < num_bytes:
    print("counting the words of a sample of %d of the text's %d MB" % (
        values.max_megabytes, num_bytes // 1000000))
  found = word_counts.WordCounts(inputs.tokenizer)
  for text in word_counts.texts(corpus, inputs.reader, max_bytes):
    found.add(text)
  print("%d words, %d different ones" % (found.num_words, len(found.counts)))
  if found.max_error:
    print("there are more different words than fit: rare ones were forgotten, "
          "so a count may be too low by %d" % found.max_error)
  warning = split_report.warn_of_chinese(found.counts, inputs.tokenizer)
  if warning:
    print(warning)
  return found


def _choose(values, inputs):
  """Returns the _Words to add."""
  counts = _count(values, inputs) if values.input_file else None
  if inputs.lines is not None:
    return _choose_listed(values, inputs, counts)
  ranked = new_words.rank(counts.counts, inputs.tokenizer, values.min_count)
  if not ranked:
    raise ValueError(
        "No word of --input_file=%s that is split into pieces or is [UNK] "
        "occurs %d times or more (--min_count): there is nothing to add." % (
            values.input_file, values.min_count))
  return _Words(counts, ranked, ranked[:values.num_new_tokens])


def _choose_listed(values, inputs, counts):
  """Returns the _Words to add of --words_file."""
  lines = inputs.lines
  if values["min_count"].present:
    lines, rare = new_words.leave_out_rare(
        lines, counts.counts, values.min_count)
    _show_refused(values, rare)
    if not lines:
      raise ValueError(
          "No word of --words_file=%s that can be added occurs %d times or "
          "more in --input_file=%s. Pass a smaller --min_count." % (
              values.words_file, values.min_count, values.input_file))
  listed = [new_words.candidate(
      word, counts.counts[word] if counts else 0, inputs.tokenizer)
            for word in lines]
  chosen = (listed[:values.num_new_tokens]
            if values["num_new_tokens"].present else listed)
  return _Words(counts, listed, chosen)


# ---------------------------------------------------------------------- writing


def _report(inputs, words, after):
  """Prints what changes in the text.

  Args:
    inputs: _Inputs; words: _Words.
    after: tokenization.FullTokenizer.
  """
  if not inputs.corpora:
    return
  before = inputs.tokenizer
  name = list(inputs.corpora)[-1]  # The text to report on, if there is one.
  corpus = inputs.corpora[name]
  found = split_report.measure(word_counts.texts(
      corpus, inputs.reader, _MEASURED_BYTES), [before, after])
  is_sample = word_counts.text_bytes(corpus) > _MEASURED_BYTES
  print("\n--%s, %s:" % (name, "a sample of %d MB" % (
      _MEASURED_BYTES >> 20) if is_sample else "all of it"))
  print("\n".join(split_report.compare(*found)))
  if words.counts:
    changed = split_report.changed_words(
        words.counts.counts, [item.word for item in words.chosen], before,
        after)
    print("\n".join([""] + split_report.describe_changed(
        changed, words.counts.num_words)))


def _place(values, inputs, chosen, is_written):
  """Returns the new_words.Placed of the words to add, a list of
  new_words.Candidate; `is_written` tells whether there is an output."""
  source = inputs.source
  added = tokenization.read_added_tokens(source.vocab_file)
  placed = new_words.place(
      inputs.entries, [item.word for item in chosen], values.placement,
      num_rows=source.config.vocab_size, multiple=values.pad_vocabulary_to,
      taken={token.id for token in added})
  print("\n%d %s: %d in place of [unusedN] entries, %d appended" % (
      len(placed.ids), "new entries" if is_written else "entries would be new",
      placed.num_replaced, len(placed.ids) - placed.num_replaced))
  unknown = sum(item.is_unknown for item in chosen)
  if unknown:
    print("%d of them are [UNK] so far%s" % (
        unknown, "; the mean of their pieces is the row of [UNK], so only "
        "training tells them apart" if values.init == new_rows.MEAN else ""))
  return placed


def _write(values, inputs, placed, chosen, outputs):
  """Writes the extended model.

  Args:
    inputs: _Inputs.
    placed: new_words.Placed; chosen: list of new_words.Candidate.
    outputs: dict with "output_tf" and "output_hf" as far as they are wanted.
  """
  source, options = inputs.source, inputs.options
  numbers = tokenization.load_vocab(source.vocab_file)
  parts = {item.word: [numbers[piece] for piece in item.pieces]
           for item in chosen}
  variables, config = new_rows.extend(
      source.variables, source.config, placed, parts, values.init,
      np.random.RandomState(values.random_seed))
  known = source.new_tokens
  conversion.export(
      variables, config, source.vocab_file, source.do_lower_case,
      strip_accents=options["strip_accents"],
      tokenize_chinese_chars=options["tokenize_chinese_chars"],
      source=source.directory,
      average=conversion.read_average(source.directory),
      vocabulary=placed.to_bytes(), new_tokens=new_rows.NewTokens(
          dict(known.tokens, **placed.ids),
          sorted({*known.variables, *source.initialized})), **outputs)
  print("the model has %d rows instead of %d%s" % (
      config.vocab_size, source.config.vocab_size,
      "; %d are padding" % placed.num_padding if placed.num_padding else ""))
  for directory in outputs.values():
    print("wrote %s; %s names the new rows, which --num_head_steps trains first"
          % (directory, os.path.join(directory, new_rows.FILE)))


def _check(values):
  """Returns the dict of output directories; ValueError for flags that
  contradict each other."""
  outputs = {name: values[name].value for name in _OUTPUTS
             if values[name].value}
  if not outputs and not values.candidates_output:
    raise ValueError("Nothing to do: pass --output_tf, --output_hf or "
                     "--candidates_output.")
  if not values.input_file and not values.words_file:
    raise ValueError("There are no words: pass text as --input_file, or a list "
                     "as --words_file.")
  if values["min_count"].present and not values.input_file:
    raise ValueError(
        "--min_count=%d needs text, to count the words of --words_file=%s: "
        "pass --input_file." % (values.min_count, values.words_file))
  conversion.check_outputs(**outputs, inputs={
      "--" + name: values[name].value
      for name in ("init_checkpoint", "vocab_file", "bert_config_file")})
  for name, directory in outputs.items():
    with _naming(values, name):
      file_io.check_can_write_to(directory)
  _check_candidates(values, outputs)
  return outputs


def _check_candidates(values, outputs):
  """Raises ValueError if --candidates_output can't be written; `outputs` are
  the directories of the model, a dict."""
  path = values.candidates_output
  if not path:
    return
  with _naming(values, "candidates_output"):
    if not os.path.basename(path) or tf.io.gfile.isdir(path):
      raise ValueError("This is a directory. Pass the path of a file.")
    file_io.check_can_write_to(os.path.dirname(path) or ".")
  for name, directory in outputs.items():
    own = os.path.realpath(directory)
    if os.path.commonpath([own, os.path.realpath(path)]) == own:
      raise ValueError(
          "--candidates_output=%s is in --%s=%s, which has the files of the "
          "model only. Pass a path in another directory." % (
              path, name, directory))
  _check_not_read(values, [values[name].value for name in _READ_FILES])


def _check_not_read(values, files):
  """Raises ValueError if --candidates_output would replace one of the files, a
  list of str or None."""
  path = values.candidates_output
  if path and os.path.realpath(path) in map(
      os.path.realpath, filter(None, files)):
    raise ValueError(
        "--candidates_output=%s is read, too: it would be overwritten. Pass "
        "another file." % path)


def _run(values):
  """Chooses the words, reports, and writes."""
  outputs = _check(values)
  inputs = _read(values, outputs)
  words = _choose(values, inputs)
  print("\n".join([""] + split_report.describe_candidates(
      words.chosen, _SHOWN)))
  if len(words.chosen) < values.num_new_tokens and not values.words_file:
    print("only %d words that are split into pieces or are [UNK] occur %d "
          "times or more (--min_count)" % (len(words.chosen), values.min_count))
  if values.candidates_output:
    tf.io.gfile.makedirs(os.path.dirname(values.candidates_output) or ".")
    file_io.write(values.candidates_output, "".join(
        item.to_line() for item in words.ranked).encode("utf-8"))
    print("wrote %s: %d candidates" % (
        values.candidates_output, len(words.ranked)))
  placed = _place(values, inputs, words.chosen, bool(outputs))
  _report(inputs, words, inputs.tokenizer.with_tokens(placed.tokens))
  if outputs:
    _write(values, inputs, placed, words.chosen, outputs)


def main(argv):
  logging.basicConfig(format="%(levelname)s: %(message)s")
  tf.logging.set_verbosity(tf.logging.ERROR)
  try:
    flags_lib.check_no_arguments(argv[1:])
    _run(flags.FLAGS)
  except (ValueError, OSError, tf.errors.OpError) as e:
    sys.exit("extend_vocabulary.py: %s" % e)


if __name__ == "__main__":
  _define_flags()
  flags_lib.run(main)
