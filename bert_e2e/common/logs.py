"""What the user sees: progress and results on the terminal, all in a log file.

TensorFlow logs a great deal that matters after something went wrong and hardly
before. So its messages go to `output_dir/train.log` alone, while the messages
of this project's own modules go there and to the terminal.
"""

import logging
import logging.handlers
import os
import shutil
import sys
import time

import tensorflow.compat.v1 as tf

from bert_e2e.common import file_io

LOG_FILE = "train.log"

logger = logging.getLogger(__name__)

# Loggers that stay away from the terminal. What ends the run is raised as well,
# and shown as that.
_FILE_ONLY = ("tensorflow", "absl", "py")
_FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_TERMINAL_FORMAT = "%(message)s"
# Steps behind the first one that tell how long the others take.
_TIMED_STEPS = 10
# A remote log file is written that many messages at a time.
_REMOTE_BUFFER = 1000
_BAR_WIDTH = 20
_BAR_SECONDS = 0.5
# Messages that may come before there is a log file.
_EARLY_BUFFER = 10000


class _Bar:
  """A bar in the terminal's last line; nothing where there is no terminal."""

  def __init__(self):
    self._drawn = ""
    self._due = 0.0

  def is_due(self):
    """Tells whether there is a terminal, and the bar is due anew."""
    return sys.stderr.isatty() and time.monotonic() >= self._due

  def draw(self, share, text):
    """Draws the bar anew.

    Args:
      share: float, 0 to 1; text: str, one line; what is too long is cut off.
    """
    self._due = time.monotonic() + _BAR_SECONDS
    filled = int(share * _BAR_WIDTH)
    bar = "[%s%s] %s" % ("#" * filled, "." * (_BAR_WIDTH - filled), text)
    width = shutil.get_terminal_size().columns - 1
    self.clear()
    self._drawn = bar[:width]
    sys.stderr.write(self._drawn)
    sys.stderr.flush()

  def clear(self):
    """Empties the line."""
    if self._drawn:
      self._drawn = ""
      sys.stderr.write("\r\x1b[K")


terminal_bar = _Bar()


class _TerminalHandler(logging.StreamHandler):
  """Writes messages above the bar; progress lines only without a terminal."""

  def emit(self, record):
    if getattr(record, "is_progress", False) and sys.stderr.isatty():
      return
    terminal_bar.clear()
    super().emit(record)


class _FileHandler(logging.FileHandler):
  """Says once, on the terminal, that the file can't be written: a full disk
  takes the log, not the run."""

  _is_told = False

  def handleError(self, record):
    error = sys.exc_info()[1]
    if not isinstance(error, OSError):
      super().handleError(record)
    elif not self._is_told:
      self._is_told = True
      terminal_bar.clear()
      sys.stderr.write("WARNING: %s cannot be written: %s\n" % (
          self.baseFilename, error))


class _TerminalFormatter(logging.Formatter):
  """Marks warnings and errors, leaves progress lines as they are."""

  def format(self, record):
    text = super().format(record)
    if record.levelno >= logging.WARNING:
      text = "%s: %s" % (record.levelname, text)
    return text


def _for_terminal(record):
  return record.name.split(".")[0] not in _FILE_ONLY


def log_to_terminal():
  """Sends this project's messages to standard error."""
  root = logging.getLogger()
  for handler in list(root.handlers):
    root.removeHandler(handler)
  root.setLevel(logging.INFO)
  terminal = _TerminalHandler(sys.stderr)
  terminal.setFormatter(_TerminalFormatter(_TERMINAL_FORMAT))
  terminal.addFilter(_for_terminal)
  root.addHandler(terminal)
  # Until there is a log file.
  root.addHandler(logging.handlers.MemoryHandler(
      _EARLY_BUFFER, flushLevel=logging.CRITICAL + 1))
  logging.captureWarnings(True)
  # TensorFlow's and absl's loggers have handlers of their own; the root's
  # handlers take their place.
  for name in ("tensorflow", "absl"):
    noisy = logging.getLogger(name)
    for handler in list(noisy.handlers):
      noisy.removeHandler(handler)
    noisy.propagate = True
  tf.logging.set_verbosity(tf.logging.INFO)


def log_to_file(output_dir, host=0):
  """Appends all messages, earlier ones too, to `output_dir/train.log`.

  Args:
    output_dir: folder, local or with a scheme; it must exist.
    host: int, which one this is of several processes that log there; those
      behind the first have a `train.HOST.log`.
  """
  name, extension = os.path.splitext(LOG_FILE)
  path = os.path.join(output_dir, LOG_FILE if not host else "%s.%d%s" % (
      name, host, extension))
  if file_io.is_local(path):
    handler = _FileHandler(path, encoding="utf-8")  # type: logging.Handler
  else:
    stream = logging.StreamHandler(tf.io.gfile.GFile(path, "a"))
    stream.setFormatter(logging.Formatter(_FILE_FORMAT))
    handler = logging.handlers.MemoryHandler(
        _REMOTE_BUFFER, flushLevel=logging.ERROR, target=stream)
  handler.setFormatter(logging.Formatter(_FILE_FORMAT))
  root = logging.getLogger()
  for early in list(root.handlers):
    if isinstance(early, logging.handlers.MemoryHandler):
      root.removeHandler(early)
      early.setTarget(handler)
      early.close()
  root.addHandler(handler)
