"""Raw text as a source of examples: opened, checked and sampled once.

`TextSource` is built once from files and options, checks and describes itself,
and opens streams of its examples; a mixture.Mixture does the same with several
of them. `take_write_2_flow` opens a stream in a call. TensorFlow is not needed
here.
"""

import itertools
import logging
import os
from typing import Any, Dict, Optional

from bert_e2e import config
from bert_e2e.common import file_io
from bert_e2e.common.input_files import expand
from bert_e2e.data import chinese_words, resume, text_lines
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import mixture as mixture_lib
from bert_e2e.data import packing as packing_lib
from bert_e2e.data import stream as stream_lib
from bert_e2e.data.pieces import check_vocabulary

logger = logging.getLogger(__name__)

# Of an evaluation text; the hashes take memory in each worker.
_MAX_HASHED_BYTES = 1 << 26
_LOGGED_SPLITS = 16
# The arguments of `take_write_2_flow` that decide the examples of a text.
_OPTIONS = (*config.names_of(config.ReaderConfig),
            *config.names_of(config.TokenizerConfig),
            *config.names_of(config.InstanceConfig),
            *config.names_of(config.PackingConfig),
            "random_seed", "chunk_lines", "strategy")


class TextSource:
  """Raw text as a source of examples.

  Args:
    files: list of paths; a file that is named again is taken once.
    options: stream.StreamOptions.
    chunk_lines: int, lines that are turned into examples at once.

  Attributes:
    corpus: corpus.Corpus.
    options: as given.

  Raises:
    OSError, ValueError: a file can't be read, there is none, or all are empty;
      the vocabulary can't be read or has no special tokens; an option is out of
      range; see chinese_words.ChineseWords.
  """

  def __init__(self, files, options, *, chunk_lines=1000):
    self.options = options.validated()
    check_vocabulary(options.vocab_file)
    self._words = chinese_words.find(options.instances)
    self.corpus = corpus_lib.Corpus(
        files, chunk_lines=chunk_lines, reader=options.reader)
    self._fingerprint: Optional[Dict[str, Any]] = None
    self._has_example = False

  @classmethod
  def from_arguments(cls, input_files, vocab_file, *, random_seed=12345,
                     chunk_lines=1000, strategy=None, **options):
    """Returns the TextSource of the arguments of `take_write_2_flow`."""
    tokenizer, reader, packing = (
        {name: options.pop(name) for name in config.names_of(group)
         if name in options}
        for group in (config.TokenizerConfig, config.ReaderConfig,
                      config.PackingConfig))
    return cls(expand(input_files), stream_lib.StreamOptions(
        vocab_file=vocab_file, tokenizer=config.TokenizerConfig(**tokenizer),
        instances=config.InstanceConfig(**options), random_seed=random_seed,
        strategy=strategy, **reader, **packing), chunk_lines=chunk_lines)

  def check(self):
    """Checks that the text yields an example, unless that is known already.

    Text is read, and examples are built, until the first one is found.

    Raises:
      OSError, ValueError: the vocabulary can't be read; the text yields no
        example, or can't be read up to its first one.
    """
    if self._has_example:
      return
    corpus = self.corpus.with_num_hosts(1)
    builder = stream_lib.ExampleBuilder(self.options)
    for split in corpus.splits():
      if any(builder.build(0, chunk) for chunk in corpus.chunks(split)):
        self._has_example = True
        return
    raise stream_lib.no_example_error(corpus)

  def preflight(self, held_out=text_lines.NOTHING_HELD_OUT):
    """Checks a sample of the text, and that it yields an example.

    Args:
      held_out: text_lines.HeldOut to search.

    Returns:
      preflight.Preflight, without a training schedule.

    Raises:
      OSError, ValueError: see `sample` and `start_preflight`.
    """
    return self.start_preflight(self.sample(held_out))()

  def sample(self, held_out=text_lines.NOTHING_HELD_OUT):
    """Returns the preflight.TextSample of the text, which is taken quickly.

    Raises:
      OSError, ValueError: see preflight.sample_text; there is no text at all.
    """
    # A stream alone starts sooner without it.
    from bert_e2e.data import preflight  # pylint: disable=import-outside-toplevel
    sampled = preflight.sample_text(
        self.corpus.with_num_hosts(1), self.options, held_out=held_out)
    if not any(part.has_text for part in sampled.parts):
      self.check()
    return sampled

  def start_preflight(self, sampled, in_worker=False):
    """Starts the preflight, which takes a second or two.

    Args:
      sampled: what `sample` returned.
      in_worker: bool, go on meanwhile and leave it to a worker process, which
        can open local files only.

    Returns:
      A function without arguments that waits for the preflight.Preflight,
      without a training schedule, and returns it; it raises OSError, ValueError
      or worker_pool.WorkerError: see preflight.check_sample and `check`.
    """
    from bert_e2e.data import pending, preflight  # pylint: disable=import-outside-toplevel
    files = [*self.corpus.files, self.options.vocab_file,
             str(self.options.instances.word_list or "")]
    started = pending.Pending(
        preflight.check_sample, sampled, self.options,
        what="the preflight of the text",
        in_worker=(in_worker and os.name != "nt" and
                   all(map(file_io.is_local, files))))

    def result():
      found = started.result()
      self._has_example = self._has_example or found.examples_per_epoch > 0
      self.check()
      return found

    return result

  def document_hashes(self):
    """Returns the hashes of the text's documents, or of its first megabytes'.

    Returns:
      frozenset of bytes, see text_lines.document_hashes.

    Raises:
      ValueError: a file can't be read or is not UTF-8.
    """
    hashes, num_bytes = set(), 0
    corpus = self.corpus.with_num_hosts(1)
    for chunk in itertools.chain.from_iterable(
        map(corpus.chunks, corpus.splits())):
      text = corpus_lib.chunk_text(chunk, self.options.reader)
      hashes.update(digest for digest, _ in text_lines.document_hashes(text))
      num_bytes += chunk.num_bytes
      if num_bytes > _MAX_HASHED_BYTES:
        logger.warning(
            "only the first %d megabytes of the evaluation text %s are "
            "compared with the training text", _MAX_HASHED_BYTES >> 20,
            self.corpus.files[0])
        break
    return frozenset(hashes)

  def fingerprint(self):
    """Returns what identifies the text, a dict; see Corpus.fingerprint."""
    if self._fingerprint is None:
      self._fingerprint = self.corpus.fingerprint()
    return self._fingerprint

  def record(self, num_hosts=1):
    """Returns the resume.StreamRecord of a stream that starts now.

    Args:
      num_hosts: int, how many hosts share the text.
    """
    options = config.stream_options(
        self.options.reader, self.options.tokenizer, self.options.instances,
        self.options.packing)
    # A run that met an invalid byte may be resumed with --invalid_utf8=replace:
    # up to there the stream is the same. So that option is not recorded, and
    # neither is --invalid_records.
    options.update(
        random_seed=self.options.random_seed,
        chunk_lines=self.corpus.chunk_lines)
    if self.options.pack_sequences:
      options[resume.PACKING] = packing_lib.PACKING_VERSION
    if self.options.strategy:
      options["strategy"] = self.options.strategy.record()
    if self._words:
      options.update(self._words.identity())
    formats = self.corpus.formats()
    if formats:  # A record without them is of plain text.
      options[resume.FORMATS] = formats
    if num_hosts > 1:  # A record without the number is of one host.
      options["num_hosts"] = num_hosts
    return resume.describe(
        self.fingerprint(), self.options.vocab_file, options)

  def count_examples(self):
    """Returns the number of examples of the first epoch, by building them."""
    return sum(1 for _ in self.open(num_epochs=1))

  def open(self, *, shard=stream_lib.Shard(), first_example=0, log=None,
           **how):
    """Opens the stream of a host.

    Args:
      shard: stream.Shard; several hosts divide a small text more finely.
      first_example: int, examples at the start of the stream to skip.
      log: resume.WindowLog, or None.
      **how: num_epochs, num_workers, held_out; see stream.ExampleStream.

    Returns:
      stream.ExampleIterator.

    Raises:
      OSError, ValueError: see stream.ExampleStream.
    """
    stream = stream_lib.ExampleStream(
        self.corpus.with_num_hosts(shard.num_hosts), self.options, shard=shard,
        **how)
    if shard.num_hosts > 1:
      splits = stream.splits(0)
      logger.info(
          "host %d of %d reads %d splits of the corpus; in the first epoch, in "
          "bytes of all files: %s%s", shard.host, shard.num_hosts, len(splits),
          ", ".join("%d-%d" % split for split in splits[:_LOGGED_SPLITS]),
          ", ..." * (len(splits) > _LOGGED_SPLITS))
    return stream.examples_from(first_example, log or resume.WindowLog(None))


  def progress(self, number, log):
    """Returns how much of the text there is before an example.

    Args:
      number: int, of the example in a host's stream.
      log: resume.WindowLog of that stream.

    Returns:
      list of a resume.TextProgress.
    """
    return [log.progress(number)]


def mix(texts):
  """Returns the source of the examples of one or several texts.

  Args:
    texts: list of (config.MixturePart, TextSource).

  Returns:
    The TextSource if there is one; else a mixture.Mixture.
  """
  if len(texts) == 1:
    return texts[0][1]
  return mixture_lib.Mixture(
      [mixture_lib.MixedText(part, source) for part, source in texts])


def take_write_2_flow(input_files, vocab_file, *, do_lower_case=True,
                      strip_accents=None, tokenize_chinese_chars=True,
                      do_split_on_punc=True, do_whole_word_mask=False,
                      example_format="segment_pair", sentence_objective="nsp",
                      max_seq_length=128, max_predictions_per_seq=20,
                      masked_lm_prob=0.15, short_seq_prob=0.1,
                      mask_replace_prob=0.8,
                      random_replace_prob=0.1, max_ngram_size=1,
                      span_geometric_p=None, span_upper=10, word_list=None,
                      segmenter="none", segmenter_cache=None, random_seed=12345,
                      chunk_lines=1000, num_workers=0, num_epochs=None,
                      dupe_factor=1, input_format="auto", text_field="text",
                      invalid_records="error", invalid_utf8="error",
                      sentence_split="line", pack_sequences=False,
                      max_sequences_per_pack=8, replay_input_file=None,
                      replay_proportion=0.05, mixture=None, shard_index=0,
                      num_shards=1, first_example=0, log=None,
                      held_out=frozenset(), strategy=None):
  """Turns raw text into a stream of serialized tf.Examples.

  The text is read in chunks of `chunk_lines` lines, each extended to the end of
  its last document; every epoch has another order, other sentence pairs and
  other masks. The same arguments give the same stream.

  Args:
    input_files: list of files, patterns and directories, or one str of them,
      separated by commas; see input_files.expand. None with a `mixture`.
    vocab_file: path of the vocabulary.
    do_lower_case, strip_accents, tokenize_chinese_chars, do_split_on_punc: see
      config.TokenizerConfig.
    do_whole_word_mask, example_format, sentence_objective, max_seq_length,
      max_predictions_per_seq, masked_lm_prob, short_seq_prob,
      mask_replace_prob, random_replace_prob, max_ngram_size, span_geometric_p,
      span_upper, word_list, segmenter, segmenter_cache, dupe_factor: see
      config.InstanceConfig; `word_list` may be a collection of words, too.
    random_seed, chunk_lines: see config.DataConfig.
    num_workers: int, processes that build examples; 0 builds in this one.
    num_epochs: int, passes over the text; None continues indefinitely. See
      mixture.Mixture.open for those of several texts.
    input_format, text_field, invalid_records, invalid_utf8, sentence_split:
      see config.ReaderConfig.
    pack_sequences, max_sequences_per_pack: see config.PackingConfig. A row of
      several sequences is one example.
    replay_input_file, replay_proportion, mixture: see config.MixtureConfig.
    shard_index, num_shards: the part of the text that this host reads.
    first_example: int, examples at the start of the stream to skip.
    log: a resume.WindowLog, whose file tells a later call where its
      `first_example` is.
    held_out: set of bytes, text_lines.document_hashes of what to warn of.
    strategy: function to call instead of fusion_input_and_out, or its name.

  Returns:
    stream.ExampleIterator of tf_example.ExampleSerializer's bytes; of those of
    packing.Packer's rows with pack_sequences. A mixture.MixedIterator of
    several texts.

  Raises:
    ValueError: no file, an unreadable or empty one, a vocabulary without the
      special tokens, an option out of range, a strategy that can't be used.
      While iterating: text that is not UTF-8, a strategy that fails, or a whole
      epoch without an example.

  >>> next(take_write_2_flow("a.txt", "vocab.txt"))  # doctest: +SKIP
  """
  arguments = locals()
  options = {name: arguments[name] for name in _OPTIONS}
  parts = config.MixtureConfig(
      replay_input_file, replay_proportion, mixture).validated().parts(
          input_files)
  source = mix([(part, TextSource.from_arguments(
      part.files, vocab_file, **options)) for part in parts])
  return source.open(
      shard=stream_lib.Shard(shard_index, num_shards), log=log,
      first_example=first_example, num_epochs=num_epochs,
      num_workers=num_workers, held_out=text_lines.HeldOut(held_out))
