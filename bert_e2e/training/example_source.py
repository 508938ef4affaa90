"""The examples of an input flag, raw text or TFRecords, for an estimator."""

import logging
import os
from typing import Any

import tensorflow.compat.v1 as tf

from bert_e2e.common import file_io, input_files
from bert_e2e.data import resume, text_lines
from bert_e2e.data.text_source import TextSource
from bert_e2e.training import evaluation, input_pipeline, input_validation

logger = logging.getLogger(__name__)


class ExampleSource:
  """The examples of --input_file or an evaluation's: text or TFRecords.

  Args:
    patterns: files, patterns and directories; see input_files.expand.
    vocab_file: path; may be None for TFRecords.
    max_seq_length, max_predictions_per_seq: int, L and P of the examples.
    is_skipped: see input_files.expand.
    strategy: see strategies.find; for text only.
    **options: the other arguments of TextSource.from_arguments: random_seed,
      chunk_lines, and the fields of config.ReaderConfig, TokenizerConfig,
      InstanceConfig and PackingConfig.

  Attributes:
    files: list of paths.
    text: TextSource; None for TFRecords.
    flow: input_pipeline.Flow of raw text; None for TFRecords, and before
      `open_flow`.

  Raises:
    ValueError: see TextSource, input_validation.are_tfrecords and
      input_validation.check_records.
  """

  def __init__(self, patterns, *, vocab_file, max_seq_length,
               max_predictions_per_seq, is_skipped=None, strategy=None,
               **options):
    self.files = input_files.expand(patterns, is_skipped)
    self.text: Any = None
    self.flow: Any = None
    self._log: Any = None
    self._skipped = 0
    self._num_hosts = 1
    self._shape = {"max_seq_length": max_seq_length,
                   "max_predictions_per_seq": max_predictions_per_seq}
    if input_validation.are_tfrecords(self.files):
      if strategy:
        raise ValueError(
            "--strategy=%s builds instances of raw text, but %s holds examples "
            "that were built before. Pass raw text, or leave out --strategy." %
            (strategy, self.files[0]))
      _check_not_packed(self.files, options)
      input_validation.check_records(self.files, **self._shape)
      return
    if not vocab_file:
      raise ValueError(
          "--vocab_file is missing; raw text such as %s needs it." %
          self.files[0])
    self.text = TextSource.from_arguments(
        self.files, vocab_file, max_seq_length=max_seq_length,
        max_predictions_per_seq=max_predictions_per_seq, strategy=strategy,
        **options)
    if self.text.options.pack_sequences:
      row = self.text.options.row_shape()
      self._shape.update(max_predictions_per_seq=row.max_predictions,
                         max_sequences=row.max_sequences)

  def check(self):
    """Checks that there is an example, before a model is built.

    Raises:
      OSError, ValueError: see TextSource.check. TFRecords are checked when the
        source is created.
    """
    if self.text:
      self.text.check()

  def held_out(self):
    """Returns the text_lines.HeldOut of the text; of nothing for TFRecords."""
    if not self.text:
      return text_lines.NOTHING_HELD_OUT
    return text_lines.HeldOut(
        documents=self.text.document_hashes(), names=("the evaluation text",))

  def identity(self, *what):
    """Returns a short hash of the examples that an evaluation reads.

    Args:
      *what: numbers that it depends on, too.
    """
    if self.text:
      record = self.text.record()
      return evaluation.identify(record.text, record.options, *what)
    return evaluation.identify(
        [(os.path.basename(path), file_io.size(path)) for path in self.files],
        *what)

  def describe(self):
    """Returns the run record's entry for the text, a dict; None for TFRecords.
    """
    if not self.text:
      return None
    text = self.text.fingerprint()
    return {"files": text["files"], "bytes": text["bytes"],
            "fingerprint": evaluation.identify(text)}

  def count_examples(self):
    """Returns the number of examples of one pass, by building or reading it."""
    if self.text:
      return self.text.count_examples()
    return sum(1 for path in self.files
               for _ in tf.io.tf_record_iterator(path))

  def open_flow(self, skipped=0, output_dir=None, **how):
    """Creates the flow of raw text.

    Args:
      skipped: int, number of trained examples at which the stream starts.
      output_dir: where the hosts' resume.WindowLogs are kept, or None.
      **how: num_epochs, num_workers, held_out; see TextSource.open.
    """
    self._skipped = skipped

    def open_examples(start, shard):
      # Hosts take turns: each has provided an equal part of the examples.
      self._num_hosts = shard.num_hosts
      self._log = resume.WindowLog(
          output_dir and resume.windows_file(output_dir, shard))
      return self.text.open(
          shard=shard, log=self._log,
          first_example=(start - skipped) // shard.num_hosts, **how)

    self.flow = input_pipeline.Flow(open_examples)

  def epochs(self, num_examples):
    """Returns how many passes over the text a number of trained examples is, a
    float, or None if that is not known."""
    if self._log is None:
      return None
    return self._log.epochs((num_examples - self._skipped) // self._num_hosts)

  def log(self, title):
    """Logs the files as the reference does."""
    tf.logging.info("*** %s ***", title)
    for path in self.files:
      tf.logging.info("  %s", path)

  def log_built(self, purpose):
    """Logs how many examples were built from raw text."""
    if self.flow:
      logger.info("%d examples built for %s, none of them written to disk",
                  self.flow.num_examples, purpose)

  def input_fn(self, is_training, **how):
    """Returns the estimator's input function; see
    input_pipeline.input_fn_builder."""
    return input_pipeline.input_fn_builder(
        self.files, is_training=is_training, flow=self.flow, **self._shape,
        **how)


def _check_not_packed(files, options):
  """Raises ValueError if TFRecords are to be packed.

  Args:
    files: list of paths; options: dict of the options of raw text.
  """
  if options.get("pack_sequences"):
    raise ValueError(
        "Sequences of raw text can be packed, but %s holds examples that were "
        "built before. Pass raw text, or leave out --pack_sequences and "
        "--pack_eval_sequences." % files[0])
