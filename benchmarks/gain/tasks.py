"""The two tasks of domain_gain.py, and the texts of their domains.

Each is a `Corpus`: documents in three splits, and labelled texts of each split.
`write` turns the corpora into files. No document of the test and validation
splits of any task is in the pretraining texts, nor is a line of six or more
words of them.
"""

import collections
import os
from typing import Dict, List, NamedTuple, Sequence, Tuple

from gain import debian_packages, python_sources, texts

# Sections of Debian with programs of a topic. Those of libraries,
# documentation, fonts and single programming languages or desktops are
# recognizable by fixed words.
SECTIONS = (
    "admin", "database", "devel", "editors", "electronics", "games", "graphics",
    "mail", "math", "net", "science", "sound", "text", "utils", "video", "web")
# Minimum number of words of a labelled package's description, and of a
# labelled sentence.
_SHORTEST_DESCRIPTION, _SHORTEST_SENTENCE = 10, 6
# The most labelled sentences of a kind in a split.
_MOST_OF_KIND = {texts.TRAINING: 250, texts.VALIDATION: 100, texts.TEST: 250}

Labelled = List[Tuple[str, str]]


class Corpus(NamedTuple):
  """The text of a task.

  Attributes:
    name: str, for files.
    documents: dict from a split to its documents, lists of lines.
    labelled: dict from a split to its (label, text).
  """
  name: str
  documents: Dict[str, List[Sequence[str]]]
  labelled: Dict[str, Labelled]


def _in_order(items, key):
  """Returns items in a pseudo-random order, always the same."""
  return sorted(items, key=lambda item: texts.hash_of(key(item)))


# ------------------------------------------------------------ Debian sections


def sections(packages):
  """Returns the Corpus of packages: what section is a description of?

  All packages of a source are in the same split. Each source has one labelled
  package, and is one document, with each line of its descriptions once, as
  these share many.

  Args:
    packages: list of debian_packages.Package; those of sections that are not
      among SECTIONS are left out.
  """
  documents, labelled = collections.defaultdict(dict), {}
  for package in _in_order(packages, lambda p: p.name):
    if package.section in SECTIONS:
      documents[package.source].update(dict.fromkeys(package.lines))
      if len(texts.words_of(" ".join(package.lines))) >= _SHORTEST_DESCRIPTION:
        labelled.setdefault(package.source, package)
  found = Corpus("sections", _by_split(), _by_split())
  for source in sorted(documents):
    found.documents[texts.split_of(source)].append(list(documents[source]))
  for source, package in labelled.items():
    found.labelled[texts.split_of(source)].append(
        (package.section, " ".join(package.lines)))
  return found


def _by_split():
  return {split: [] for split in (
      texts.TRAINING, texts.VALIDATION, texts.TEST)}


# ----------------------------------------------- kinds of sentences in sources


def kinds(modules):
  """Returns the Corpus of modules: of what kind is a sentence?

  See python_sources.KINDS. Each module is a document.

  Args:
    modules: list of python_sources.Module. Sentences that occur more than once
      are not labelled.
  """
  count = collections.Counter(
      _normalized(sentence) for module in modules
      for _, sentence in module.sentences)
  found = Corpus("kinds", _by_split(), _by_split())
  for module in modules:
    split = texts.split_of(module.name)
    found.documents[split].append(
        [sentence for _, sentence in module.sentences])
    found.labelled[split].extend(
        (kind, sentence) for kind, sentence in module.sentences
        if count[_normalized(sentence)] == 1 and
        len(texts.words_of(sentence)) >= _SHORTEST_SENTENCE)
  for split, most in _MOST_OF_KIND.items():
    found.labelled[split][:] = _at_most(
        _in_order(found.labelled[split], lambda item: item[1]), most)
  return found


def _normalized(sentence):
  return " ".join(texts.words_of(sentence))


def _at_most(labelled, most):
  """Returns labelled texts without those after the first `most` of a label."""
  count, kept = collections.Counter(), []
  for label, text in labelled:
    count[label] += 1
    if count[label] <= most:
      kept.append((label, text))
  return kept


# ------------------------------------------------------------------------ files


class Task(NamedTuple):
  """The files of a task.

  Attributes:
    name: str.
    labelled: dict from a split to the path of its labelled texts; see
      labelled_texts.read.
    text: str, path of the pretraining text.
    held_out: str, path of the text of the test split.
  """
  name: str
  labelled: Dict[str, str]
  text: str
  held_out: str


def write(corpora, directory, most_labelled, log):
  """Writes the files of some tasks.

  Args:
    corpora: list of Corpus.
    directory: str.
    most_labelled: dict from a split to the most labelled texts to write.
    log: function that takes a str.

  Returns:
    list of Task.

  Raises:
    ValueError: a pretraining text contains held-out text, or a split has no
      labelled texts.
  """
  held_out = [texts.VALIDATION, texts.TEST]
  phrases = texts.Phrases(
      lines for corpus in corpora for split in held_out
      for lines in corpus.documents[split])
  found = []
  for corpus in corpora:
    def path(name, corpus=corpus):
      return os.path.join(directory, "%s_%s" % (corpus.name, name))

    counts = texts.write_text(
        path("text.txt"), corpus.documents[texts.TRAINING], phrases)
    texts.check_disjoint(path("text.txt"), phrases)
    texts.write_text(path("held_out.txt"), corpus.documents[texts.TEST])
    log("%s: %d documents, %d lines to train on; %d lines with held-out text "
        "removed" % ((corpus.name,) + counts))
    labelled = {}
    for split, items in corpus.labelled.items():
      # Texts to train a classifier with share no line with test texts either.
      if split == texts.TRAINING:
        items = [item for item in items
                 if not phrases.matching_lines([item[1]])]
      items = items[:most_labelled[split]]
      if not items:
        raise ValueError("%s: the %s split has no labelled texts." %
                         (corpus.name, split))
      labelled[split] = path(split + ".tsv")
      with open(labelled[split], "w", encoding="utf-8") as stream:
        stream.writelines("%s\t%s\n" % item for item in items)
    log("%s: %s labelled texts" % (corpus.name, ", ".join(
        "%d for %s" % (min(len(corpus.labelled[split]), most_labelled[split]),
                       split) for split in labelled)))
    found.append(Task(corpus.name, labelled, path("text.txt"),
                      path("held_out.txt")))
  return found


def read(packages, descriptions, wheels):
  """Returns the list of Corpus of both tasks.

  Args:
    packages, descriptions: lists of str, apt's Packages and Translation files.
    wheels: list of str, Python packages.

  Raises:
    OSError, ValueError: a file can't be read.
  """
  return [
      sections(debian_packages.read_packages(packages, descriptions)),
      kinds([module for path in wheels
             for module in python_sources.read(path)])]
