"""The examples of an input flag: raw text or TFRecords."""

import itertools
import logging
import os
from typing import Any, Dict

import tensorflow.compat.v1 as tf

from bert_e2e.common import file_io
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import instances as instances_lib
from bert_e2e.data import preflight, resume
from bert_e2e.data import stream as stream_lib
from bert_e2e.training import evaluation, input_pipeline, input_validation

logger = logging.getLogger(__name__)

# Of an evaluation text; what is looked for costs memory in each worker.
_MAX_HASHED_BYTES = 1 << 26


class ExampleSource:
  """The examples of --input_file or --eval_input_file: text or TFRecords.

  Args:
    values: the parsed flags.
    patterns: str, files and patterns with commas between.

  Attributes:
    files: list of paths.
    options: dict, the arguments of `take_write_2_flow` that decide what the
      stream is; empty for TFRecords.
    flow: Flow of raw text; None for TFRecords, and before `open_flow`.

  Raises:
    ValueError: see `take_write_2_flow`, input_validation.are_tfrecords
      and input_validation.check_records; a corpus that yields no example.
  """

  def __init__(self, values, patterns):
    self.files = file_io.expand(patterns)
    self.options: Dict[str, Any] = {}
    self.flow: Any = None
    self._log: Any = None
    self._skipped = 0
    self._num_hosts = 1
    self._vocab_file = values.vocab_file
    self._lengths = values.max_seq_length, values.max_predictions_per_seq
    if input_validation.are_tfrecords(self.files):
      input_validation.check_records(self.files, *self._lengths)
      return
    if not values.vocab_file:
      raise ValueError(
          "--vocab_file is missing; raw text such as %s needs it." %
          self.files[0])
    self.options = dict(instances_lib.options_from_flags(values)._asdict())
    for name in ("do_lower_case", "random_seed", "invalid_utf8", "chunk_lines"):
      self.options[name] = getattr(values, name)
    self._text = input_pipeline.text_of(
        self.files, self._vocab_file, **self.options)
    # What is wrong with the text should be said before a model is built.
    stream_lib.check_corpus(*self._text)

  def look(self, held_out):
    """Returns the preflight.Preflight of the text, without a training's plan.

    Args:
      held_out: see preflight.look.
    """
    return preflight.look(*self._text, held_out=held_out, num_train_steps=0,
                          num_warmup_steps=0, train_batch_size=0)

  def document_hashes(self):
    """Returns the hashes of the text's documents, or of its first megabytes'.

    Returns:
      frozenset of bytes, see corpus.document_hashes; empty for TFRecords.

    Raises:
      ValueError: a file can't be read or is not UTF-8.
    """
    if not self.options:
      return frozenset()
    corpus, options = self._text
    hashes, num_bytes = set(), 0
    for chunk in itertools.chain.from_iterable(
        map(corpus.chunks, corpus.splits())):
      text = corpus_lib.chunk_text(chunk, options.invalid_utf8)
      hashes.update(digest for digest, _ in corpus_lib.document_hashes(text))
      num_bytes += chunk.num_bytes
      if num_bytes > _MAX_HASHED_BYTES:
        logger.warning(
            "of the evaluation text %s only the first %d megabytes are "
            "compared with the text to train on", self.files[0],
            _MAX_HASHED_BYTES >> 20)
        break
    return frozenset(hashes)

  def identity(self, *what):
    """Returns a short hash of the examples that an evaluation reads.

    Args:
      *what: numbers on which these hang, too.
    """
    if self.options:
      record = self.record(num_hosts=1)
      return evaluation.identify(record.text, record.options, *what)
    return evaluation.identify(
        [(os.path.basename(path), file_io.size(path)) for path in self.files],
        *what)

  def described(self):
    """Returns what a run's record says of the text, a dict; None of TFRecords.
    """
    if not self.options:
      return None
    corpus, _ = self._text
    return {"files": len(corpus.files), "bytes": corpus.num_bytes,
            "fingerprint": evaluation.identify(corpus.fingerprint())}

  def count_examples(self):
    """Returns how many examples one pass gives; it is made for that."""
    if self.options:
      return sum(1 for _ in input_pipeline.take_write_2_flow(
          self.files, self._vocab_file, num_epochs=1, **self.options))
    return sum(1 for path in self.files
               for _ in tf.io.tf_record_iterator(path))

  def record(self, num_hosts):
    """Returns the resume.StreamRecord of the stream of so many hosts."""
    # A run that met a bad byte may go on with --invalid_utf8=replace: up to
    # there the stream is the same.
    deciding = {n: v for n, v in self.options.items() if n != "invalid_utf8"}
    if num_hosts > 1:  # A record without is of one.
      deciding["num_hosts"] = num_hosts
    corpus, _ = self._text
    return resume.describe(corpus, self._vocab_file, deciding)

  def open_flow(self, skipped=0, folder=None, **how):
    """Makes the flow.

    Args:
      skipped: int, what to subtract from the number of trained examples to get
        that of the examples to leave out.
      folder: where the hosts' resume.WindowLogs are kept, or None.
      **how: arguments of `take_write_2_flow` that say how to read the stream.
    """
    self._skipped = skipped

    def open_examples(start, shard):
      # The hosts take turns: each has given its share of the examples so far.
      self._num_hosts = shard.num_hosts
      self._log = resume.WindowLog(
          folder and resume.windows_file(folder, shard))
      return input_pipeline.take_write_2_flow(
          self.files, self._vocab_file, shard_index=shard.host,
          num_shards=shard.num_hosts, log=self._log,
          first_example=(start - skipped) // shard.num_hosts,
          **dict(self.options, **how))

    self.flow = input_pipeline.Flow(open_examples)

  def epochs(self, num_examples):
    """Returns the passes over the text that trained examples are, or None."""
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
    """Returns the estimator's input function; see input_fn_builder."""
    return input_pipeline.input_fn_builder(
        self.files, *self._lengths, is_training=is_training, flow=self.flow,
        **how)
