"""The results of domain_gain.py: stored as they come, compared, in tables.

What an arm predicts for the texts of a test is a `Predictions`: R pretrainings
(1 for the model as it is) times D draws of labelled texts, or seeds, times N
test texts.
"""

import json
import os
import statistics
from typing import NamedTuple

import numpy as np

REPLICATES = 2000
# Percentiles of a 95 % interval.
_INTERVAL = (2.5, 97.5)


class Store:
  """Results in a file, so that an interrupted benchmark continues.

  Args:
    path: str, of a file with a JSON object per line.
    settings: dict, what the results depend on.

  Raises:
    ValueError: the file has results of other settings.
  """

  def __init__(self, path, settings):
    self._path = path
    self._found = {}
    if os.path.exists(path):
      with open(path, encoding="utf-8") as stream:
        # A line without an end was being written when the program was killed.
        lines = [json.loads(line) for line in stream if line.endswith("\n")]
      self._found = {item["key"]: item["value"] for item in lines}
    if self._get("settings", lambda: settings) != json.loads(
        json.dumps(settings)):
      raise ValueError(
          "%s has results of other settings (%s). Pass another --output_dir." %
          (path, json.dumps(self._found["settings"])))

  def _get(self, key, compute):
    if key not in self._found:
      self._found[key] = compute()
      complete = b""
      if os.path.exists(self._path):
        with open(self._path, "rb") as stream:
          complete = stream.read()
        complete = complete[:complete.rfind(b"\n") + 1]
      with open(self._path + ".partial", "wb") as stream:
        stream.write(complete + json.dumps(
            {"key": key, "value": self._found[key]}).encode() + b"\n")
      os.replace(self._path + ".partial", self._path)
    return self._found[key]

  def get(self, *key, compute):
    """Returns a result; computes it if it is not stored.

    Args:
      *key: str or int, what tells it from others.
      compute: function without arguments that returns what JSON can store.
    """
    return self._get(" / ".join(map(str, key)), compute)


# ------------------------------------------------------------------- statistics


class Predictions(NamedTuple):
  """What an arm predicts.

  Attributes:
    classes: int [R, D, N].
    labels: int [N], the right ones.
  """
  classes: np.ndarray
  labels: np.ndarray

  def accuracy(self):
    """Returns float [R, D], percentages."""
    return 100 * np.mean(self.classes == self.labels, axis=2)

  def macro_f1(self):
    """Returns float [R, D], percentages: means over the classes of `labels`."""
    scores = []
    for label in np.unique(self.labels):
      is_label, is_predicted = self.labels == label, self.classes == label
      both = np.sum(is_predicted & is_label, axis=2)
      scores.append(2 * both / (
          np.sum(is_label) + np.sum(is_predicted, axis=2)))
    return 100 * np.mean(scores, axis=0)


class Difference(NamedTuple):
  """A difference between two arms, in percentage points.

  Attributes:
    mean: float.
    low, high: float, its 95 % interval.
  """
  mean: float
  low: float
  high: float

  def __str__(self):
    return "%+.1f (%+.1f to %+.1f)" % self


def difference(ours, theirs, replicates=REPLICATES, seed=1):
  """Compares the accuracy of two arms by a paired bootstrap.

  Each replicate draws, with replacement, pretrainings, draws of labelled texts
  (or seeds), and test texts. The two arms share the latter two.

  Args:
    ours, theirs: Predictions with the same D and N.
    replicates: int.
    seed: int.

  Returns:
    Difference; its interval is that of the percentiles.

  Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap,
    section 13.3.
  """
  hits = [arm.classes == arm.labels for arm in (ours, theirs)]
  rng = np.random.RandomState(seed)
  found = []
  _, num_draws, num_texts = hits[0].shape
  for _ in range(replicates):
    draws = rng.randint(num_draws, size=num_draws)
    texts = rng.randint(num_texts, size=num_texts)
    means = []
    for arm in hits:
      runs = rng.randint(len(arm), size=len(arm))
      means.append(np.mean(arm[np.ix_(runs, draws, texts)]))
    found.append(100 * (means[0] - means[1]))
  mean = float(np.mean(ours.accuracy()) - np.mean(theirs.accuracy()))
  return Difference(mean, *map(float, np.percentile(found, _INTERVAL)))


def spread(values, decimals=1):
  """Returns "mean ± standard deviation" of an array, or of its only value."""
  values = np.ravel(values).tolist()
  text = "%.*f" % (decimals, statistics.mean(values))
  if len(values) > 1:
    text += " ± %.*f" % (decimals, statistics.stdev(values))
  return text


# ----------------------------------------------------------------------- tables


def markdown(header, rows):
  """Returns the lines of a table; cells are converted to str."""
  return ["| %s |" % " | ".join(map(str, row)) for row in [
      header, ["---"] * len(header), *rows]]
