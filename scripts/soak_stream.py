"""One random trial of the stream: its guarantees on a random corpus."""

import collections
import itertools
import os
import random
import signal

from bert_e2e.data import resume, tf_example, worker_pool
from bert_e2e.data.text_source import take_write_2_flow
from scripts.soak_checks import TrialFailed, check
from scripts.soak_text import FILLERS, SPECIAL, RandomText, UniqueLines

# Examples of a trial that are compared, at most.
_MAX_EXAMPLES = 3000
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
  return "random text"


def _unique_lines_trial(rng, directory):
  corpus = UniqueLines(rng, directory)
  options = dict(_random_options(rng), masked_lm_prob=0.15,
                 max_seq_length=3 * corpus.longest + 8)
  flow = _Flow(corpus, options)
  num_shards = rng.choice([1, 1, 2, 3])
  used = [_lines_used(_read_shard(flow, host, num_shards))
          for host in range(num_shards)]
  for first, second in itertools.combinations(used, 2):
    check(not set(first) & set(second), "two hosts read the same line")
  total = sum(used, collections.Counter())
  expected = collections.Counter(
      {n: options["dupe_factor"] for n in range(corpus.num_lines)})
  check(total == expected, "lines missing: %s, repeated: %s" % (
      sorted(expected - total)[:5], sorted(total - expected)[:5]))
  return "unique lines on %d hosts" % num_shards


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


def _random_options(rng):
  return dict(
      do_lower_case=rng.random() < 0.5,
      do_whole_word_mask=rng.random() < 0.3,
      max_seq_length=rng.choice([5, 8, 16, 32, 64, 128]),
      max_predictions_per_seq=rng.choice([1, 3, 20]),
      masked_lm_prob=rng.choice([0.0, 0.15, 0.15, 0.5, 1.0]),
      short_seq_prob=rng.choice([0.0, 0.1, 0.1, 1.0]),
      random_seed=rng.randrange(1 << 31),
      chunk_lines=rng.choice([1, 2, 7, 50, 1000]),
      dupe_factor=rng.choice([1, 1, 1, 2, 5]))


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
  for name in ("input_ids", "input_mask", "segment_ids"):
    check(len(features[name]) == size, name + " has another length")
    check(not any(features[name][length:]), name + " is not padded with 0")
  ids, segments = features["input_ids"], features["segment_ids"]
  check(features["input_mask"] == [1] * length + [0] * (size - length),
        "input_mask has gaps")
  check(all(0 <= i < vocab_size for i in ids), "an id out of range")
  check(segments[:length] == sorted(segments[:length]), "segments in disorder")
  check(segments[0] == 0 and segments[length - 1] == 1, "not two segments")
  middle = segments.index(1)
  check(ids[0] == _CLS and ids[middle - 1] == ids[length - 1] == _SEP,
        "special tokens")
  count = int(sum(features["masked_lm_weights"]))
  # None if every word has more pieces than may be masked.
  fewest = 0 if options["do_whole_word_mask"] else 1
  check(fewest <= count <= most, "%d masked pieces" % count)
  positions = features["masked_lm_positions"]
  check(len(positions) == len(features["masked_lm_ids"]) == most,
        "another number of predictions")
  check(positions[:count] == sorted(set(positions[:count])),
        "masked positions in disorder")
  special = {0, middle - 1, length - 1}
  check(all(0 < p < length and p not in special for p in positions[:count]),
        "a special token is masked")
  check(not any(positions[count:] + features["masked_lm_ids"][count:]),
        "predictions are not padded with 0")
  check(features["next_sentence_labels"] in ([0], [1]), "another label")


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
  endless = flow.open(num_workers=num_workers)
  taken = list(itertools.islice(endless, rng.randint(1, len(examples))))
  check(taken == examples[:len(taken)], "an endless stream differs")
  pids = _children()
  os.kill(rng.choice(pids), signal.SIGKILL)
  try:
    for _ in endless:
      pass
  except worker_pool.WorkerError:
    pass
  else:
    raise TrialFailed("the death of a worker was not noticed")
  check(not _children(), "workers were left behind")


def _children():
  """Returns the ids of the processes that this process has started."""
  found = []
  for task in os.listdir("/proc/self/task"):
    with open("/proc/self/task/%s/children" % task) as stream:
      found += map(int, stream.read().split())
  return found


def _lines_used(examples):
  """Counts the lines of A, and of B where it is not random, masks undone."""
  first_line_id = len(SPECIAL) + len(FILLERS)
  found = collections.Counter()
  for example in examples:
    features = tf_example.parse_example(example)
    ids = features["input_ids"]
    for position, label in zip(features["masked_lm_positions"],
                               features["masked_lm_ids"]):
      if position:
        ids[position] = label
    end = features["segment_ids"].index(1)
    if features["next_sentence_labels"] == [0]:
      end = sum(features["input_mask"])
    found.update(i - first_line_id for i in ids[:end] if i >= first_line_id)
  return found
