"""Where a run stands in its stream: two small records beside the checkpoints.

A checkpoint counts the examples that it was trained on. To go on behind them,
a run has to know that the stream is still the one that it counted in, and where
in it that example stands:

* `stream.json` says what stream it is: a fingerprint of the corpus, and the
  options that decide what is made of it.
* `stream_windows.txt` has a line for each window of the stream that was built,
  with the number of its first example: up to 32 bytes for 16 chunks of text. If
  it is lost, the windows are counted anew from the nearest known one on, which
  takes longer and gives the same.
"""

import hashlib
import logging
import os
import re
from typing import List, NamedTuple, Tuple

from bert_e2e.common import file_io, json_files
from bert_e2e.data import stream as stream_lib

logger = logging.getLogger(__name__)

STREAM_FILE = "stream.json"
WINDOWS_FILE = "stream_windows.txt"
# Counted up when the same text and options begin to give another stream.
STREAM_VERSION = 2
# Windows that may lie between the one being built and the one in training.
_RECENT_WINDOWS = 1000
# A line starts anew behind one that a kill cut short, which lacks the ";".
_LINE = re.compile(rb"^(\d+) (\d+) (\d+) (\d+);$", re.MULTILINE)


def windows_file(output_dir, shard):
  """Returns the path of a host's WindowLog.

  Args:
    output_dir: folder.
    shard: stream_lib.Shard; several hosts have a file each.
  """
  path = os.path.join(output_dir, WINDOWS_FILE)
  if shard.num_hosts == 1:
    return path
  root, extension = os.path.splitext(path)
  return "%s.%dof%d%s" % (root, shard.host, shard.num_hosts, extension)


class WindowLog:
  """The numbers of the examples that a stream's windows start with, in a file.

  Args:
    path: the file; it need not exist. None for no log.
  """

  def __init__(self, path):
    self._path = path
    self._last = -1
    # What was told of late: (first, count, epochs), see `add`.
    self._recent: List[Tuple[int, int, Tuple[float, float]]] = []

  def find(self, number) -> Tuple[stream_lib.Position, int]:
    """Looks up the last known window that starts at or before an example.

    Args:
      number: int, examples before it in the stream.

    Returns:
      (Position of the window, number of its first example); the stream's start
      if nothing nearer is known.
    """
    best = stream_lib.Position(), 0
    for line in self._lines():
      first, epoch, group, window = map(int, line)
      self._last = max(self._last, first)
      if best[1] <= first <= number:
        best = stream_lib.Position(epoch, group, window), first
    return best

  def _lines(self):
    if not self._path or not file_io.exists(self._path):
      return []
    with file_io.open_binary(self._path) as stream:
      return _LINE.findall(stream.read())

  def add(self, position, first, count, epochs):
    """Notes a window, in the file unless it or a later one is known.

    Args:
      position: stream_lib.Position of the window.
      first: int, the number of its first example; count: int, how many it has.
      epochs: (float, float), passes over the corpus before it and before its
        end.
    """
    # A list of its own for each state: another thread may be in `epochs`.
    self._recent = self._recent[-_RECENT_WINDOWS:] + [(first, count, epochs)]
    if self._path and first > self._last:
      self._last = first
      self._write(b"\n%d %d %d %d;" % (
          first, position.epoch, position.group, position.window))

  def _write(self, line):
    """Appends to the file. Where that fails, the run goes on: a later one then
    finds its place in a longer way."""
    try:
      file_io.append(self._path, line)
    except OSError as e:
      logger.warning("%s; a resumed run will take longer to find its place", e)
      self._path = None

  def epochs(self, number):
    """Returns how many passes over the corpus an example lies behind its start.

    Args:
      number: int, examples of the stream before it; of a window that was built
        of late.

    Returns:
      float, e.g. 1.25; None before the first window is known.
    """
    recent = self._recent
    for first, count, (before, after) in reversed(recent):
      if first <= number or first == recent[0][0]:
        share = min(1.0, max(0.0, (number - first) / count))
        return before + share * (after - before)
    return None


class StreamRecord(NamedTuple):
  """What `stream.json` holds.

  Attributes:
    first_example: int, the number of trained examples at which the stream
      starts: not 0 where a run went over to another corpus.
    text: dict, see corpus.Corpus.fingerprint.
    options: dict of what else decides the stream.
    version: int, STREAM_VERSION when it was written.
  """
  first_example: int
  text: dict
  options: dict
  version: int = STREAM_VERSION

  def differences(self, other):
    """Says how another record's stream differs, a list of clauses."""
    found = []
    if self.version != other.version:
      found.append("this version of the program gives another stream")
    for kind in ("text", "options"):
      before, now = getattr(self, kind), getattr(other, kind)
      found += [
          "%s was %s and is %s" % (name, before.get(name), now.get(name))
          for name in sorted(set(before) | set(now))
          if before.get(name) != now.get(name)
      ]
    return found

  def save(self, output_dir):
    """Writes the record and drops the windows of another stream, unless it is
    there already."""
    path = os.path.join(output_dir, STREAM_FILE)
    if json_files.holds_record(path, self):
      return
    root = os.path.splitext(WINDOWS_FILE)[0]
    for name in file_io.names(output_dir):
      if name.startswith(root):
        file_io.remove(os.path.join(output_dir, name))
    json_files.write_record(path, self)


def exists(output_dir):
  """Tells whether a folder has a record, be it a damaged one."""
  return file_io.exists(os.path.join(output_dir, STREAM_FILE))


def load(output_dir):
  """Returns the StreamRecord of a folder, or None without one.

  Raises:
    ValueError: there is one that can't be read.
  """
  return json_files.read_record(
      os.path.join(output_dir, STREAM_FILE), StreamRecord,
      "It says which stream of examples the run is in.")


def check_stream(record, output_dir, accept):
  """Checks that a resumed run continues its own stream.

  Args:
    record: StreamRecord of the stream that the flags ask for.
    output_dir: str, directory; the stream that it records, if any, counts.
    accept: bool, accept another stream.

  Returns:
    The directory's StreamRecord if it is of this stream, else None.

  Raises:
    ValueError: it is of another stream, which is not accepted.
  """
  try:
    before = load(output_dir)
    if before is None:
      return None
    differences = before.differences(record)
    if not differences:
      return before
    said = ("--output_dir=%s was trained on another stream of examples: %s. "
            "Restore what changed" % (output_dir, "; ".join(differences)))
  except ValueError as e:
    said = "%s Restore it" % e
  if not accept:
    raise ValueError(
        "%s, or pass --accept_new_stream to continue with these weights at the "
        "start of the new stream." % said)
  return None


def describe(text, vocab_file, options):
  """Returns the StreamRecord of a stream that starts now.

  Args:
    text: dict, see corpus.Corpus.fingerprint.
    vocab_file: path.
    options: dict, name -> number, bool or str, of what else determines the
      stream.
  """
  with file_io.open_binary(vocab_file) as stream:
    vocabulary = hashlib.sha256(stream.read()).hexdigest()[:16]
  return StreamRecord(0, text, dict(options, vocabulary=vocabulary))
