"""Logging: this project's messages on the terminal, all messages in a log file.

TensorFlow logs a lot that only matters once something has failed. Its messages
therefore only go to `output_dir/train.log`, whereas the messages of this
project's modules also go to the terminal.
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

# Loggers that do not write to the terminal. Fatal errors are raised as
# exceptions as well, which are shown there.
_FILE_ONLY = ("tensorflow", "absl", "py")
_FILE_HANDLER = "train.log"
_FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_TERMINAL_FORMAT = "%(message)s"
# Messages per write to a remote log file.
_REMOTE_BUFFER = 1000
_BAR_WIDTH = 20
_BAR_SECONDS = 0.5
# Messages kept until there is a log file.
_EARLY_BUFFER = 10000


class _Bar:
  """A progress bar on the terminal's last line; does nothing without one."""

  def __init__(self):
    self._drawn = ""
    self._due = 0.0

  def is_due(self):
    """Returns True if there is a terminal and the bar needs a redraw."""
    return sys.stderr.isatty() and time.monotonic() >= self._due

  def draw(self, fraction, text):
    """Redraws the bar.

    Args:
      fraction: float in [0, 1].
      text: str, a single line; truncated to the terminal's width.
    """
    self._due = time.monotonic() + _BAR_SECONDS
    filled = int(fraction * _BAR_WIDTH)
    bar = "[%s%s] %s" % ("#" * filled, "." * (_BAR_WIDTH - filled), text)
    width = shutil.get_terminal_size().columns - 1
    self.clear()
    self._drawn = bar[:width]
    sys.stderr.write(self._drawn)
    sys.stderr.flush()

  def clear(self):
    """Clears the line."""
    if self._drawn:
      self._drawn = ""
      sys.stderr.write("\r\x1b[K")


terminal_bar = _Bar()


class _TerminalHandler(logging.StreamHandler):
  """Writes messages above the bar; skips progress lines on a terminal."""

  def emit(self, record):
    if getattr(record, "is_progress", False) and sys.stderr.isatty():
      return
    terminal_bar.clear()
    super().emit(record)


class _FileHandler(logging.FileHandler):
  """Reports a write error once, on the terminal.

  The run continues without its log if the disk is full.
  """

  _is_reported = False

  def handleError(self, record):
    error = sys.exc_info()[1]
    if not isinstance(error, OSError):
      super().handleError(record)
    elif not self._is_reported:
      self._is_reported = True
      terminal_bar.clear()
      sys.stderr.write("WARNING: %s cannot be written: %s\n" % (
          self.baseFilename, error))


class _TerminalFormatter(logging.Formatter):
  """Prefixes warnings and errors with their level."""

  def format(self, record):
    text = super().format(record)
    if record.levelno >= logging.WARNING:
      text = "%s: %s" % (record.levelname, text)
    return text


def _for_terminal(record):
  return record.name.split(".")[0] not in _FILE_ONLY


def log_to_terminal():
  """Sends this project's messages to standard error.

  Keeps all messages for `log_to_file`.
  """
  root = logging.getLogger()
  for handler in list(root.handlers):
    root.removeHandler(handler)
  root.setLevel(logging.INFO)
  terminal = _TerminalHandler(sys.stderr)
  terminal.setFormatter(_TerminalFormatter(_TERMINAL_FORMAT))
  terminal.addFilter(_for_terminal)
  root.addHandler(terminal)
  # Until log_to_file is called.
  root.addHandler(logging.handlers.MemoryHandler(
      _EARLY_BUFFER, flushLevel=logging.CRITICAL + 1))
  logging.captureWarnings(True)
  # Replace the own handlers of TensorFlow's and absl's loggers by the root's.
  for name in ("tensorflow", "absl"):
    library_logger = logging.getLogger(name)
    for handler in list(library_logger.handlers):
      library_logger.removeHandler(handler)
    library_logger.propagate = True
  tf.logging.set_verbosity(tf.logging.INFO)


def log_to_file(output_dir, host=0):
  """Appends all messages, including earlier ones, to `output_dir/train.log`.

  Another call ends what the one before began.

  Args:
    output_dir: str, an existing directory, local or remote (with a scheme).
    host: int, index of this worker in multi-worker training; all but the first
      write to `train.HOST.log` instead.
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
  handler.set_name(_FILE_HANDLER)
  root = logging.getLogger()
  for early in list(root.handlers):
    if early.get_name() == _FILE_HANDLER:
      root.removeHandler(early)
      early.close()
    elif isinstance(early, logging.handlers.MemoryHandler):
      root.removeHandler(early)
      early.setTarget(handler)
      early.close()
  root.addHandler(handler)
