"""The position of a run in its stream: two small files beside the checkpoints.

A checkpoint stores how many examples it was trained on. To resume after them, a
run has to know that the stream is still the same, and where in it the next
example is:

* `stream.json` identifies the stream: a fingerprint of the corpus, and the
  options that determine the examples.
* `stream_windows.txt` has a line for each window of the stream that was built,
  with the number of its first example: up to 32 bytes for 16 chunks of text. If
  it is lost, windows are built and counted again from the nearest known one,
  which takes longer and has the same result. Of several texts (mixture.py) each
  has such a file.
"""

import logging
import os
import re
from typing import Dict, List, NamedTuple, Optional, Tuple

import tokenization
from bert_e2e import config
from bert_e2e.common import file_io, json_files
from bert_e2e.common.digests import digest
from bert_e2e.data import stream as stream_lib

logger = logging.getLogger(__name__)

STREAM_FILE = "stream.json"
WINDOWS_FILE = "stream_windows.txt"
# Incremented when the same text and options give another stream.
STREAM_VERSION = 2
# The option of a record that names the formats of the files, see
# corpus.Corpus.formats. A record without it is of plain text.
FORMATS = "input_formats"
# The option that names packing.PACKING_VERSION, of packed sequences only.
PACKING = "packing_version"
_IS_PACKED = "pack_sequences"
# Windows between the one being built and the one being trained on, at most.
_RECENT_WINDOWS = 1000
# Of a line that a killed process wrote in part the ";" is missing; the next one
# starts on a new line.
_LINE = re.compile(rb"^(\d+) (\d+) (\d+) (\d+);$", re.MULTILINE)


def windows_file(output_dir, shard):
  """Returns the path of a host's WindowLog.

  Args:
    output_dir: str, directory.
    shard: stream.Shard; each of several hosts has its own file.
  """
  path = os.path.join(output_dir, WINDOWS_FILE)
  if shard.num_hosts == 1:
    return path
  root, extension = os.path.splitext(path)
  return "%s.%dof%d%s" % (root, shard.host, shard.num_hosts, extension)


class TextProgress(NamedTuple):
  """How much of a text was trained on.

  Attributes:
    name: str, what the text is called in a mixture; "" without one.
    examples: int.
    epochs: float, passes over the text; None before they are known.
  """
  name: str
  examples: int
  epochs: Optional[float]


class WindowLog:
  """A file with the number of the first example of each window of a stream.

  Args:
    path: the file; it need not exist. None keeps the log in memory only.
  """

  def __init__(self, path):
    self._path = path
    self._last = -1
    # The latest windows: (first, count, epochs), see `add`.
    self._recent: List[Tuple[int, int, Tuple[float, float]]] = []
    self._others: Dict[int, WindowLog] = {}

  def of_text(self, number):
    """Returns the WindowLog of another text of a mixture.

    Args:
      number: int, its place in the mixture, from 0; the first one has this log.
    """
    if not number:
      return self
    if number not in self._others:
      path = self._path
      if path:
        root, extension = os.path.splitext(path)
        path = "%s.text%d%s" % (root, number, extension)
      self._others[number] = WindowLog(path)
    return self._others[number]

  def find(self, number) -> Tuple[stream_lib.Position, int]:
    """Looks up the last known window that starts at or before an example.

    Args:
      number: int, of the example: how many are before it in the stream.

    Returns:
      (Position of the window, number of its first example); the start of the
      stream if no such window is known.
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
    """Adds a window; appends it to the file unless it or a later one is there.

    Args:
      position: stream.Position of the window.
      first: int, the number of its first example; count: int, how many it has.
      epochs: (float, float), passes over the corpus before it and before its
        end.
    """
    # Not changed in place, because another thread may be in `epochs`.
    self._recent = self._recent[-_RECENT_WINDOWS:] + [(first, count, epochs)]
    if self._path and first > self._last:
      self._last = first
      self._write(b"\n%d %d %d %d;" % (
          first, position.epoch, position.group, position.window))

  def _write(self, line):
    """Appends to the file. If that fails, training continues, but a resumed run
    has to count windows again."""
    try:
      file_io.append(self._path, line)
    except OSError as e:
      logger.warning(
          "%s; a resumed run will take longer to find its position", e)
      self._path = None

  def progress(self, number, name=""):
    """Returns the TextProgress before an example.

    Args:
      number: see `epochs`; name: str, see TextProgress.
    """
    return TextProgress(name, number, self.epochs(number))

  def epochs(self, number):
    """Returns how many passes over the corpus are complete before an example.

    Args:
      number: int, of the example; it is in one of the latest windows.

    Returns:
      float, e.g. 1.25; None before the first window is known.
    """
    recent = self._recent
    for first, count, (before, after) in reversed(recent):
      if first <= number or first == recent[0][0]:
        fraction = min(1.0, max(0.0, (number - first) / count))
        return before + fraction * (after - before)
    return None


def _identity(value):
  """Returns what counts of an option: of a strategy its source, by any name."""
  return value["source"] if isinstance(value, dict) else value


def _in_words(value):
  """Returns an option's value for a message."""
  return "%(name)s with the source %(source)s" % value if (
      isinstance(value, dict)) else value


class StreamRecord(NamedTuple):
  """The content of `stream.json`.

  Attributes:
    first_example: int, the number of trained examples at which the stream
      starts; not 0 if a run switched to another corpus.
    text: dict, see corpus.Corpus.fingerprint.
    options: dict of what else determines the stream: number, bool or str; of a
      strategy a dict, see strategies.Strategy.record.
    version: int, STREAM_VERSION when it was written.
  """
  first_example: int
  text: dict
  options: dict
  version: int = STREAM_VERSION

  def with_options(self, changes):
    """Returns the same with some options changed, a dict."""
    return self._replace(options=dict(self.options, **changes))

  def differences(self, other):
    """Returns how another record's stream differs, a list of clauses."""
    found = []
    if self.version != other.version:
      found.append("this version of the program builds another stream")
    for kind in ("text", "options"):
      before, now = getattr(self, kind), getattr(other, kind)
      values = {name: (_recorded(before, name), _recorded(now, name))
                for name in sorted(set(before) | set(now))}
      changed = [name for name, pair in values.items()
                 if _identity(pair[0]) != _identity(pair[1])]
      if PACKING in changed and _IS_PACKED in changed:
        changed.remove(PACKING)  # It follows from the other one.
      found += [_describe_change(name, *values[name]) for name in changed]
    return found

  def save(self, output_dir):
    """Writes the record and removes the windows of another stream, unless the
    same record is there already."""
    path = os.path.join(output_dir, STREAM_FILE)
    if json_files.holds_record(path, self):
      return
    root = os.path.splitext(WINDOWS_FILE)[0]
    for name in file_io.names(output_dir):
      if name.startswith(root):
        file_io.remove(os.path.join(output_dir, name))
    json_files.write_record(path, self)


def _recorded(values, name):
  """Returns a value of a record; the default of an option that is left out of
  it because it has its default."""
  if name not in values and config.is_field(name) and (
      config.option_of(name).fingerprint == "if_changed"):
    return config.default_of(name)
  return values.get(name)


def _describe_change(name, before, now):
  """Says that a value was another one before, a clause."""
  if name == FORMATS and before is None:
    return ("the input was read as plain text and is now read as %s: pass "
            "--input_format=text to read it as before" % now)
  if name == PACKING:
    return "this version of the program packs sequences into other rows"
  return "%s was %s and is %s" % (name, _in_words(before), _in_words(now))


def exists(output_dir):
  """Returns whether a directory has a record, possibly a damaged one."""
  return file_io.exists(os.path.join(output_dir, STREAM_FILE))


def load(output_dir):
  """Returns the StreamRecord of a directory, or None if there is none.

  Raises:
    ValueError: it can't be read.
  """
  return json_files.read_record(
      os.path.join(output_dir, STREAM_FILE), StreamRecord,
      "It identifies the example stream of the run.")


def is_stream_of(record, output_dir):
  """Tells whether a directory's record is of the stream of a StreamRecord; not
  if it can't be read."""
  try:
    before = load(output_dir)
  except ValueError:  # `check_stream` says what is wrong.
    return False
  return before is not None and not before.differences(record)


def check_stream(record, output_dir, accept):
  """Checks that a resumed run continues its own stream.

  Args:
    record: StreamRecord of the stream that the flags describe.
    output_dir: str, directory; its own record, if any, is compared.
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
    options: dict of what else determines the stream; see StreamRecord.
  """
  with file_io.open_binary(vocab_file) as stream:
    vocabulary = digest(stream.read())
  options = dict(options, vocabulary=vocabulary)
  added = tokenization.read_added_tokens(vocab_file)
  if added:  # A record without them is of a tokenizer that has none.
    options["added_tokens"] = digest(repr([tuple(token) for token in added]))
  return StreamRecord(0, text, options)
