"""Labelled texts: read from a file, and drawn to fit classifiers to."""

import logging
from typing import List, NamedTuple

from bert_e2e.common.messages import list_names
from bert_e2e.config import ReaderConfig
from bert_e2e.data import text_lines
from bert_e2e.data.example_builder import derived_rng

logger = logging.getLogger(__name__)

_BYTE_ORDER_MARK = "\ufeff"
_QUOTED_CHARACTERS = 40


class LabelledTexts(NamedTuple):
  """A file of labelled texts.

  Attributes:
    path: str.
    labels, texts: lists of str, in the order of the lines; none is empty.
  """
  path: str
  labels: List[str]
  texts: List[str]


def read(path, invalid_utf8="error"):
  """Reads labelled texts: a label, a tab and a text per line, in UTF-8.

  Whitespace around a label and a text is removed, and blank lines are skipped.
  A text may contain tabs.

  Args:
    path: str, local or with a scheme. The file may be compressed; see
      readers.COMPRESSIONS.
    invalid_utf8: see text_lines.decode.

  Returns:
    LabelledTexts.

  Raises:
    ValueError: the file can't be read, is not UTF-8 or has no texts, or a line
      has no tab, no label or no text. The message names file and line.
  """
  found = LabelledTexts(path, [], [])
  options = ReaderConfig(input_format="text", invalid_utf8=invalid_utf8)
  for number, line in enumerate(text_lines.read_lines(path, options), 1):
    if number == 1 and line.startswith(_BYTE_ORDER_MARK):
      line = line[1:]
    if not line.strip():
      continue
    label, tab, text = line.partition("\t")
    label, text = label.strip(), text.strip()
    if not (label and text):
      raise ValueError(
          "%s, line %d: \"%s\" has no %s; write a label, a tab and a text on "
          "each line." % (
              path, number, line[:_QUOTED_CHARACTERS],
              "tab" if not tab else "text" if label else "label"))
    found.labels.append(label)
    found.texts.append(text)
  if not found.texts:
    raise ValueError(
        "%s has no labelled texts; write a label, a tab and a text on each "
        "line." % path)
  return found


def draw(labels, num_labels, num_draws, random_seed):
  """Draws labelled texts to fit classifiers to.

  A draw has at least two classes: if all of its texts are of one class, the
  last one is replaced by a text of another class.

  Args:
    labels: list of str, at least two of them different.
    num_labels: int, texts of a draw, at least 2.
    num_draws: int. There is a single draw, of all texts, if there are no more
      than `num_labels`.
    random_seed: int; the draw of a number is the same for the same seed.

  Returns:
    list of lists of int, sorted indices in `labels`; one list for each draw.
  """
  if len(labels) <= num_labels:
    return [list(range(len(labels)))]
  found = []
  for number in range(num_draws):
    order = list(range(len(labels)))
    derived_rng(random_seed, "probe", number).shuffle(order)
    drawn = order[:num_labels]
    if len({labels[i] for i in drawn}) < 2:
      drawn[-1] = next(i for i in order if labels[i] != labels[drawn[0]])
    found.append(sorted(drawn))
  return found


def warn_of_odd_texts(train, held_out):
  """Warns of held-out texts that can't be told right, or too easily.

  Args:
    train, held_out: LabelledTexts.
  """
  unknown = sorted(set(held_out.labels) - set(train.labels))
  if unknown:
    logger.warning(
        "labels in %s that do not occur in %s count as errors of the probe: %s",
        held_out.path, train.path, list_names(unknown))
  shared = set(train.texts).intersection(held_out.texts)
  if shared:
    logger.warning(
        "%s and %s share %d texts, which inflates the probe's scores, e.g. "
        "\"%s\"", train.path, held_out.path, len(shared),
        min(shared)[:_QUOTED_CHARACTERS])
