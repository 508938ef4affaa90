"""The rows that the benchmarks print: their names, units and aims.

A row has a name, a result and the aim of one figure in it, with a verdict on
the aim. Quick settings measure too little for one, which the verdict says.
docs/performance.md has the same rows; a test compares them.
"""

import sys
from typing import Callable, NamedTuple, Optional

MET, MISSED, NO_MEASURE = "met", "missed", "no measure"
# Fewer rounds are no measure on a machine with other work.
ROUNDS = 3


class Row(NamedTuple):
  """A row of the table of results.

  Attributes:
    name: str, what its first cell begins with.
    unit: str, in its second cell.
    aim: str, what the aim's figure should be; "" for none.
    is_met: function from that figure to whether the aim is met; None for none.
  """
  name: str
  unit: str
  aim: str = ""
  is_met: Optional[Callable[[float], bool]] = None

  def without_aim(self):
    """Returns the Row of settings for which there is no aim."""
    return self._replace(aim="", is_met=None)

  def show(self, detail, result, figure=None, lacks=""):
    """Prints the row; `make bench` collects it.

    Args:
      detail: str, what is specific to this measurement.
      result: str, figures with their units.
      figure: float, what the aim is about; None if it was not measured.
      lacks: str, what keeps it from being a measure; see `lacking`.
    """
    print("| %s%s | %s | %s |" % (
        self.name, detail, result, self._judged(figure, lacks)), flush=True)

  def _judged(self, figure, lacks):
    """Returns the aim and the verdict."""
    if not self.is_met:
      return ""
    if figure is None:
      verdict = NO_MEASURE
    elif lacks:
      verdict = "%s (%s)" % (NO_MEASURE, lacks)
    else:
      verdict = MET if self.is_met(figure) else MISSED
    return "%s: %s" % (self.aim, verdict)


def summary(lines):
  """Counts the verdicts in printed rows.

  >>> summary(["| a | 3 s | at most 5 s: met |", "| b | 1 |  |"])
  '1 aims met, 0 missed, 0 no measure'
  """
  cells = [line.rstrip(" |").rpartition("|")[2] for line in lines]
  counts = [sum(": " + verdict in cell for cell in cells)
            for verdict in (MET, MISSED, NO_MEASURE)]
  return "%d aims met, %d missed, %d no measure" % tuple(counts)


def lacking(**settings):
  """Says which settings are too small for a measure.

  Args:
    **settings: name -> (value, the least value of a measure).

  Returns:
    str, "" if none is.

  >>> lacking(rounds=(1, 3), steps=(20, 20))
  '1 of 3 rounds'
  """
  return ", ".join(
      "%g of %g %s" % (value, least, name.replace("_", " "))
      for name, (value, least) in settings.items() if value < least)


def _at_least(bound):
  return lambda figure: figure >= bound


def _at_most(bound):
  return lambda figure: figure <= bound


_BUILDING = 25 if sys.version_info >= (3, 11) else 20

BUILDING_ENGLISH = Row(
    "building English in one process", "times the reference",
    "at least 20 times the reference per core, 25 on Python 3.11",
    _at_least(_BUILDING))
BUILDING_CHINESE = Row(
    "building Chinese in one process", "times the reference",
    "at least 15 times the reference per core", _at_least(15))
BUILDING_2_WORKERS = Row(
    "building with 2 workers", "times one process",
    "at least 1.8 times one process", _at_least(1.8))
BUILDING_WORKERS = Row("building with", "times one process")
BUILDING_REFERENCE = Row("the reference", "examples/s")
RANDOM_PAIRS = Row(
    "random pairs", "%", "within 6 points of the reference", _at_most(6))
BUILDING_WORDS = Row(
    "building, masks of", "times the time of whole words alone")
LOADING = Row("loading a segmenter", "s and")
BUILDING_PAIRS = Row("building pairs", "times the default")
BUILDING_SINGLE = Row(
    "building single sequences", "times the default",
    "at least as fast as pairs", _at_least(1))
OBJECTIVES = Row("objectives", "real tokens/s")
REPLAY = Row("replay", "nats")
GRADIENTS = Row("gradients", "times as fast", "no slower: at least 0.97 times",
                _at_least(0.97))
GPU_BUILDING = Row("building on this host", "examples/s")
GPU_CHECK = Row("check", ":")
INPUT_FN = Row("transfer to TensorFlow", "examples/s",
               "at least 60,000 examples/s", _at_least(60000))
FEEDING = Row("feeding a remote process", "examples/s",
              "at least 20,000 examples/s", _at_least(20000))
STEP = Row("training step", "sequences/s",
           "at least 1.25 times the reference", _at_least(1.25))
PACKING_128 = Row(
    "packing short documents, length 128", "times the real tokens/s",
    "at least 1.5 times", _at_least(1.5))
PACKING_512 = Row(
    "packing short documents, length 512", "times the real tokens/s",
    "at least 2.2 times", _at_least(2.2))
# At other lengths.
PACKING_SHORT = Row("packing short documents", "times the real tokens/s")
PACKING_PADDING = Row(
    "padding of packed short documents", "% of the positions",
    "at most 5 %", _at_most(0.05))
PACKING_LONG = Row(
    "packing long documents", "times the real tokens/s",
    "no loss: at least 0.97 times", _at_least(0.97))
TRAINING = Row("training from text", "sequences/s",
               "at most 3 % below TFRecords", _at_least(-0.03))
FIRST_STEP = Row("first step", "s compared with TFRecords",
                 "at most 2 s later than from TFRecords", _at_most(2))
RESUMING = Row("resuming in the third epoch", "s after opening the flow",
               "at most 5 s", _at_most(5))
RESUMING_WITHOUT_LOG = Row(
    "resuming there without the window log", "s: builds all earlier")
MEMORY = Row("memory, corpus", "MB")
MEMORY_GROWTH = Row(
    "memory, large compared with small corpus", "%",
    "at most 10 % more", _at_most(0.1))
MEMORY_NEW_WORDS = Row("memory, no repeated word", "MB",
                       "at most 200 MB", _at_most(200))
DISK = Row("disk, training from text", "bytes of examples",
           "no example, no unknown file", _at_most(0))
DISK_RECORDS = Row("disk, stream records", "bytes per chunk of text",
                   "at most 32 bytes per chunk", _at_most(32))
VOCABULARY_PIECES = Row("vocabulary, pieces per word", "pieces")
VOCABULARY_DOMAIN = Row("vocabulary, held-out text", "nats per character")
VOCABULARY_GENERAL = Row("vocabulary, general text", "nats per character")
VOCABULARY_PROBE = Row("vocabulary, probe", "% accuracy")
DISK_TWO_STEPS = Row("disk, two steps", "bytes of TFRecords")

ALL = tuple(row for row in list(globals().values()) if isinstance(row, Row))
