"""The examples of an input flag, raw text or TFRecords, for an estimator."""

import logging
import os
from typing import Any, List

import tensorflow.compat.v1 as tf

from bert_e2e.common import file_io, input_files
from bert_e2e.data import preflight, resume, text_lines
from bert_e2e.data.text_source import TextSource, mix
from bert_e2e.training import evaluation, input_pipeline, input_validation

logger = logging.getLogger(__name__)


class ExampleSource:
  """The examples of a training or an evaluation: of text, a mixture of texts or
  TFRecords.

  Args:
    parts: list of config.MixturePart; more than one for a mixture.
    vocab_file: path; may be None for TFRecords.
    max_seq_length, max_predictions_per_seq: int, L and P of the examples.
    is_skipped: see input_files.expand.
    strategy: see strategies.find; for text only.
    **options: the other arguments of TextSource.from_arguments: random_seed,
      chunk_lines, and the fields of config.ReaderConfig, TokenizerConfig,
      InstanceConfig and PackingConfig.

  Attributes:
    parts: list of config.MixturePart, whose `files` are lists of paths.
    files: list of paths, of all parts.
    text: TextSource, the first one of a mixture; None for TFRecords.
    flow: input_pipeline.Flow of raw text; None for TFRecords, and before
      `open_flow`.

  Raises:
    ValueError: see TextSource, input_validation.are_tfrecords and
      input_validation.check_records.
  """

  def __init__(self, parts, *, vocab_file, max_seq_length,
               max_predictions_per_seq, is_skipped=None, strategy=None,
               **options):
    self.parts = [part._replace(
        files=input_files.expand(part.files, is_skipped)) for part in parts]
    self.files = [path for part in self.parts for path in part.files]
    self.text: Any = None
    self._texts: List[Any] = []
    self._examples: Any = None  # TextSource or Mixture.
    self.flow: Any = None
    self._log: Any = None
    self._skipped = 0
    self._num_hosts = 1
    self._shape = {"max_seq_length": max_seq_length,
                   "max_predictions_per_seq": max_predictions_per_seq}
    if input_validation.are_tfrecords(self.files):
      if len(parts) > 1 or parts[0].is_of_mixture:
        raise ValueError(
            "Raw texts can be mixed, but %s holds examples that were built "
            "before. Pass raw text, or leave out --replay_input_file and "
            "--mixture." % self.files[0])
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
    self._texts = [
        TextSource.from_arguments(
            part.files, vocab_file, max_seq_length=max_seq_length,
            max_predictions_per_seq=max_predictions_per_seq, strategy=strategy,
            **options) for part in self.parts]
    self.text = self._texts[0]
    self._examples = mix(list(zip(self.parts, self._texts)))
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
      self._examples.check()

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
      record = self.record()
      return evaluation.identify(record.text, record.options, *what)
    return evaluation.identify(
        [(os.path.basename(path), file_io.size(path)) for path in self.files],
        *what)

  def record(self, num_hosts=1):
    """Returns the resume.StreamRecord of the text; see TextSource.record."""
    return self._examples.record(num_hosts)

  def sample(self, held_out):
    """Samples each text.

    Args:
      held_out: text_lines.HeldOut to search.

    Returns:
      list of preflight.TextSample; see TextSource.sample.
    """
    return [text.sample(held_out) for text in self._texts]

  def start_preflight(self, samples, in_worker=False):
    """Starts the preflight of each text.

    Args:
      samples: what `sample` returned; in_worker: see TextSource.

    Returns:
      See TextSource.start_preflight.
    """
    started = [text.start_preflight(sampled, in_worker)
               for text, sampled in zip(self._texts, samples)]
    if not self.is_mixture:
      return started[0]
    return lambda: preflight.mix([
        find()._replace(text_name=part.name, weight=float(part.weight))
        for find, part in zip(started, self.parts)])

  @property
  def is_mixture(self):
    """bool, whether there are several texts."""
    return len(self.parts) > 1

  @property
  def formats(self):
    """str, the formats of the texts' files; "" for plain text."""
    return "".join(text.corpus.formats() for text in self._texts)

  def describe(self):
    """Returns the run record's entry for the text, a dict; None for TFRecords.
    """
    if not self.text:
      return None
    found = [text.fingerprint() for text in self._texts]
    entry = {"files": sum(text["files"] for text in found),
             "bytes": sum(text["bytes"] for text in found),
             "fingerprint": evaluation.identify(
                 found if self.is_mixture else found[0])}
    if self.is_mixture:
      entry.update(
          (part.name, "%g %% of the examples; files: %d of %d bytes" % (
              100 * part.weight, text["files"], text["bytes"]))
          for part, text in zip(self.parts, found))
    return entry

  def count_examples(self):
    """Returns the number of examples of one pass, by building or reading it."""
    if self.text:
      return self._examples.count_examples()
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
      return self._examples.open(
          shard=shard, log=self._log,
          first_example=(start - skipped) // shard.num_hosts, **how)

    self.flow = input_pipeline.Flow(open_examples)

  def progress(self, num_examples):
    """Returns how much of each text was trained on.

    Args:
      num_examples: int, examples that the model was trained on.

    Returns:
      list of resume.TextProgress; empty if that is not known. The hosts share
      the texts, and this one's part tells the epochs.
    """
    if self._log is None:
      return []
    number = (num_examples - self._skipped) // self._num_hosts
    return [text._replace(examples=text.examples * self._num_hosts)
            for text in self._examples.progress(number, self._log)]

  def log(self, title):
    """Logs the files as the reference does, of a mixture with the weights."""
    tf.logging.info("*** %s ***", title)
    for part in self.parts:
      if self.is_mixture:
        tf.logging.info("  %s, %g %% of the examples:", part.name,
                        100 * part.weight)
      for path in part.files:
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
