"""One random trial of the stream: its guarantees on a random corpus."""

import collections
import contextlib
import itertools
import os
import random
import signal
import time
from typing import NamedTuple, Set

from bert_e2e.config import InstanceConfig, names_of
from bert_e2e.data import resume, tf_example, worker_pool
from bert_e2e.data.stream import StreamOptions
from bert_e2e.data.text_source import take_write_2_flow
from scripts.soak_checks import TrialFailed, check
from scripts.soak_text import FILLERS, SPECIAL, RandomText, UniqueLines

# Examples of a trial that are compared, at most.
_MAX_EXAMPLES = 3000
# Until a worker's death is noticed.
_PATIENCE_SECONDS = 120
_CLS, _SEP = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]")


def run_trial(seed, directory):
  """Runs a trial.

  Args:
    seed: int, of which the trial is a function.
    directory: str, an empty directory.

  Returns:
    str, what was tried, in a few words.

  Raises:
    TrialFailed: a guarantee of the stream does not hold.
  """
  rng = random.Random("stream %d" % seed)
  if rng.random() < 0.3:
    return _unique_lines_trial(rng, directory)
  return _random_text_trial(rng, directory)


def _random_text_trial(rng, directory):
  corpus = RandomText(rng, directory)
  options = _random_options(rng)
  is_mixed = rng.random() < 0.25
  if is_mixed:
    folder = os.path.join(directory, "replay")
    os.mkdir(folder)
    options.update(replay_input_file=",".join(RandomText(rng, folder).files),
                   replay_proportion=rng.choice([0.01, 0.25, 0.6]))
  flow = _Flow(corpus, options)
  try:
    examples = flow.read(num_epochs=2)
  except ValueError as e:
    check("yields no example" in str(e), str(e))
    return "no example"
  with open(corpus.vocab_file, encoding="utf-8") as stream:
    vocab_size = len(stream.readlines())
  for example in examples:
    check_example(example, options, vocab_size)
  _check_epochs(flow, examples)
  _check_seek(rng, flow, examples, directory)
  if rng.random() < 0.25:
    _check_workers(rng, flow, examples)
  return "%s text%s" % ("mixed" if is_mixed else "random",
                        ", packed" if options.get("pack_sequences") else "")


def _unique_lines_trial(rng, directory):
  corpus = UniqueLines(rng, directory)
  options = dict(_random_options(rng), masked_lm_prob=0.15,
                 max_seq_length=3 * corpus.longest + 8)
  flow = _Flow(corpus, options)
  num_shards = rng.choice([1, 1, 2, 3])
  used = [_lines_used(_read_shard(flow, host, num_shards), options)
          for host in range(num_shards)]
  for first, second in itertools.combinations(used, 2):
    check(not set(first) & set(second), "two hosts read the same line")
  total = sum(used, collections.Counter())
  expected = collections.Counter(
      {n: options["dupe_factor"] for n in range(corpus.num_lines)})
  check(total == expected, "lines missing: %s, repeated: %s" % (
      sorted(expected - total)[:5], sorted(total - expected)[:5]))
  return "unique lines%s on %d hosts" % (
      ", packed" if options.get("pack_sequences") else "", num_shards)


def _read_shard(flow, host, num_shards):
  """Returns the examples of one host; none if it has no document."""
  try:
    return flow.read(num_epochs=1, shard_index=host, num_shards=num_shards)
  except ValueError as e:
    check(num_shards > 1 and "yields no example for host" in str(e), str(e))
    return []


class _Flow:
  """Reads the stream of a corpus with fixed options."""

  def __init__(self, corpus, options):
    self._corpus, self._options = corpus, options

  def open(self, **how):
    return take_write_2_flow(
        self._corpus.files, self._corpus.vocab_file, **self._options, **how)

  def read(self, **how):
    return list(itertools.islice(self.open(**how), _MAX_EXAMPLES))


# Options of the form of examples.
FORMS = [
    {}, {}, {"sentence_objective": "sop"}, {"sentence_objective": "none"},
    {"example_format": "full_sentences", "sentence_objective": "none"},
    {"example_format": "doc_sentences", "sentence_objective": "none"},
    {"example_format": "line_by_line", "sentence_objective": "none"}]
# Options of masks.
_MASKS = [
    {}, {}, {"do_whole_word_mask": True}, {"max_ngram_size": 3},
    {"span_geometric_p": 0.2}]


def _random_options(rng):
  options = dict(
      do_lower_case=rng.random() < 0.5,
      max_seq_length=rng.choice([5, 8, 16, 32, 64, 128]),
      max_predictions_per_seq=rng.choice([1, 3, 20]),
      masked_lm_prob=rng.choice([0.0, 0.15, 0.15, 0.5, 1.0]),
      short_seq_prob=rng.choice([0.0, 0.1, 0.1, 1.0]),
      random_seed=rng.randrange(1 << 31),
      chunk_lines=rng.choice([1, 2, 7, 50, 1000]),
      dupe_factor=rng.choice([1, 1, 1, 2, 5]),
      **rng.choice(FORMS), **rng.choice(_MASKS))
  if "example_format" in options:
    del options["short_seq_prob"]  # Only pairs have it.
  if rng.random() < 0.3:
    options.update(pack_sequences=True,
                   max_sequences_per_pack=rng.choice([2, 8, 30]))
  return options


class _Sequence(NamedTuple):
  """A sequence of an example.

  Attributes:
    ids, segments: lists of int, of its tokens.
    masked: dict from an offset in it to the original id.
    label: int, of next_sentence_labels.
  """
  ids: list
  segments: list
  masked: dict
  label: int


def _sequences(example):
  """Returns the _Sequences of an example, one or those of a packed row."""
  features = tf_example.parse_example(example)
  end = sum(features["input_mask"])
  starts = [0]
  if "cls_positions" in features:
    starts = features["cls_positions"][
        :int(sum(features["next_sentence_weights"]))]
  masked = {position: label for position, label, weight in zip(
      features["masked_lm_positions"], features["masked_lm_ids"],
      features["masked_lm_weights"]) if weight}
  return [
      _Sequence(features["input_ids"][start:stop],
                features["segment_ids"][start:stop],
                {place - start: label for place, label in masked.items()
                 if start <= place < stop}, label)
      for start, stop, label in zip(
          starts, starts[1:] + [end], features["next_sentence_labels"])]


def check_example(example, options, vocab_size):
  """Checks that an example is a valid input of the model.

  Args:
    example: bytes, a serialized tf.Example.
    options: dict of arguments of take_write_2_flow.
    vocab_size: int.
  """
  features = tf_example.parse_example(example)
  length = sum(features["input_mask"])
  size, most = options["max_seq_length"], options["max_predictions_per_seq"]
  is_packed = "pack_sequences" in options
  for name in ("input_ids", "input_mask", "segment_ids") + (
      ("pack_ids", "position_ids") if is_packed else ()):
    check(len(features[name]) == size, name + " has another length")
    check(not any(features[name][length:]), name + " is not padded with 0")
  check(features["input_mask"] == [1] * length + [0] * (size - length),
        "input_mask has gaps")
  count = int(sum(features["masked_lm_weights"]))
  positions = features["masked_lm_positions"]
  check(len(positions) == len(features["masked_lm_ids"]) and (
      is_packed or len(positions) == most), "another number of predictions")
  check(positions[:count] == sorted(set(positions[:count])),
        "masked positions in disorder")
  check(not any(positions[count:] + features["masked_lm_ids"][count:]),
        "predictions are not padded with 0")
  sequences = _sequences(example)
  check(sum(len(sequence.masked) for sequence in sequences) == count,
        "a mask outside of the sequences")
  if is_packed:
    _check_row(features, sequences, options)
  for sequence in sequences:
    _check_sequence(sequence, options, vocab_size)


def _check_row(features, sequences, options):
  """Checks what only packed rows have; see `check_example`."""
  length = sum(len(sequence.ids) for sequence in sequences)
  shape = StreamOptions(
      vocab_file="", instances=InstanceConfig(**{
          name: options[name] for name in names_of(InstanceConfig)
          if name in options}), pack_sequences=True,
      max_sequences_per_pack=options["max_sequences_per_pack"]).row_shape()
  check(len(features["masked_lm_positions"]) == shape.max_predictions,
        "another number of predictions")
  check(all(len(features[name]) == shape.max_sequences for name in (
      "cls_positions", "next_sentence_labels", "next_sentence_weights")),
        "another number of sequences")
  check(len(sequences) <= shape.max_sequences,
        "%d sequences in a row" % len(sequences))
  check(features["pack_ids"][:length] == [
      number for number, sequence in enumerate(sequences, 1)
      for _ in sequence.ids], "pack_ids")
  check(features["position_ids"][:length] == [
      place for sequence in sequences
      for place in range(len(sequence.ids))], "position_ids")


def _check_sequence(sequence, options, vocab_size):
  """Checks a _Sequence; see `check_example`."""
  ids, segments, masked, label = sequence
  check(all(0 <= i < vocab_size for i in ids), "an id out of range")
  check(ids[0] == _CLS and ids[-1] == _SEP, "special tokens")
  check(segments == sorted(segments) and segments[0] == 0,
        "segments in disorder")
  if "example_format" in options:
    check(segments[-1] == 0, "not one segment")
  else:
    check(segments[-1] == 1, "not two segments")
    check(ids[segments.index(1) - 1] == _SEP, "no [SEP] after A")
  # None if every word has more pieces than may be masked.
  fewest = 0 if options.keys() & {
      "do_whole_word_mask", "max_ngram_size", "span_geometric_p"} else 1
  check(fewest <= len(masked) <= options["max_predictions_per_seq"],
        "%d masked pieces" % len(masked))
  check(not {_CLS, _SEP} & set(masked.values()), "a special token is masked")
  check(label in ((0,) if options.get("sentence_objective") == "none" else
                  (0, 1)), "another label")


def _check_epochs(flow, examples):
  """Checks that the stream repeats, and that its first epoch is its start."""
  check(flow.read(num_epochs=2) == examples, "two readings differ")
  first = flow.read(num_epochs=1)
  check(examples[:len(first)] == first,
        "the first epoch depends on the second")


def _check_seek(rng, flow, examples, directory):
  """Checks that the stream continues at any example, with a record and without.
  """
  log_file = os.path.join(directory, "windows.txt")
  number = rng.randint(0, len(examples))
  written = flow.open(num_epochs=2, log=resume.WindowLog(log_file))
  list(itertools.islice(written, number))
  written.close()
  for log in (None, resume.WindowLog(log_file)):
    found = flow.read(num_epochs=2, first_example=number, log=log)
    expected = examples[number:]
    check(found[:len(expected)] == expected, "seek to example %d" % number)


def _check_workers(rng, flow, examples):
  """Checks that worker processes build the same, and that a death is noticed.
  """
  num_workers = rng.randint(1, 3)
  check(flow.read(num_epochs=2, num_workers=num_workers) == examples,
        "%d workers build another stream" % num_workers)
  before = _children()
  endless = flow.open(num_workers=num_workers)
  taken = list(itertools.islice(endless, rng.randint(1, len(examples))))
  check(taken == examples[:len(taken)], "an endless stream differs")
  os.kill(rng.choice(sorted(_children() - before)), signal.SIGKILL)
  end = time.monotonic() + _PATIENCE_SECONDS
  try:
    for _ in endless:
      check(time.monotonic() < end, "the death of a worker was not noticed")
  except worker_pool.WorkerError:
    pass
  else:
    raise TrialFailed("the death of a worker ended the stream without an error")
  check(not _children() - before, "workers were left behind")


def _children():
  """Returns the ids of the processes that this process has started, a set."""
  found: Set[int] = set()
  for task in os.listdir("/proc/self/task"):
    with contextlib.suppress(OSError):  # The thread has just ended.
      with open("/proc/self/task/%s/children" % task) as stream:
        found.update(map(int, stream.read().split()))
  return found


def _lines_used(examples, options):
  """Counts the lines of A, and of B where it is not random, masks undone."""
  first_line_id = len(SPECIAL) + len(FILLERS)
  has_random = "sentence_objective" not in options
  found = collections.Counter()
  for sequence in itertools.chain.from_iterable(map(_sequences, examples)):
    ids = [sequence.masked.get(place, number)
           for place, number in enumerate(sequence.ids)]
    if has_random and sequence.label == 1:
      ids = ids[:sequence.segments.index(1)]
    found.update(i - first_line_id for i in ids if i >= first_line_id)
  return found
