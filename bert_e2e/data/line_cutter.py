"""Cuts a byte range of a file into runs of whole lines and documents."""

from typing import NamedTuple, Optional

from bert_e2e.data import readers, records
from bert_e2e.data.text_lines import DOCUMENT_END, Part

# How many bytes past its lines a run is extended to reach a document's end.
CARRY_BYTES = 1 << 20
# No sentence is longer; a file without a line end for so long is not text.
MAX_LINE_BYTES = records.MAX_RECORD_BYTES


class Run(NamedTuple):
  """Lines that were cut off a range of a file.

  Attributes:
    part: Part, the lines.
    num_lines: int, how many they are.
    ends_document: bool, whether the last of them ends a document.
  """
  part: Part
  num_lines: int
  ends_document: bool


class LineCutter:
  """Cuts a byte range of a file into runs of whole lines.

  Holds one run and a block in memory, not the range.

  Args:
    file: readers.TextFile.
    start, end, block_bytes, on_skip: see readers.TextFile.read_blocks.
  """

  def __init__(self, file, start, end, block_bytes=None, on_skip=None):
    self._path = file.path
    self._blocks = file.read_blocks(start, end, block_bytes, on_skip)
    self._buffer = b""
    self._buffer_offset = start  # Of the buffer, in the file.
    self._start = 0  # Offset in the buffer of what is not yet cut off.

  def at_end(self) -> bool:
    """Returns whether nothing is left to cut."""
    return self._start == len(self._buffer) and not self._fill()

  def cut(self, num_lines) -> Optional[Run]:
    """Cuts off `num_lines` lines and the rest of the document they end in.

    Args:
      num_lines: int, 1 or more.

    Returns:
      A Run; the end of the range also ends a document. None at the end.
    """
    if self._start >= readers.BLOCK_BYTES:
      self._buffer = self._buffer[self._start:]
      self._buffer_offset += self._start
      self._start = 0
    if self.at_end():
      return None
    end, count = self._skip_lines(num_lines)
    if count < num_lines:
      return self._take(len(self._buffer), count, True)
    return self._extend(end, count)

  def _skip_lines(self, num_lines):
    """Returns (the end of that many lines in the buffer, how many there were).
    """
    position = searched = self._start
    count = 0
    while count < num_lines:
      end = self._buffer.find(b"\n", searched)
      if end >= 0:
        position = searched = end + 1
        count += 1
        continue
      searched = len(self._buffer)
      if searched - position > MAX_LINE_BYTES:
        raise ValueError(
            "%s has no line end in the %d bytes from byte %d. Lines must end "
            "with \"\\n\" (not \"\\r\" alone), one sentence per line." %
            (self._path, searched - position, self._buffer_offset + position))
      if not self._fill():
        # The rest of the file is a line without an end.
        return len(self._buffer), count + (position < len(self._buffer))
    return position, count

  def _extend(self, position, count):
    """Takes all up to the document's end if that is within CARRY_BYTES, else
    up to the last line end that is.

    `position` is right after a line end, with which the document may end.
    """
    searched = position - 1
    while True:
      limit = position + CARRY_BYTES
      found = DOCUMENT_END.search(self._buffer, searched, limit)
      # A match at the buffer's end may continue in the next block.
      if found and (found.end() < len(self._buffer) or not self._fill()):
        end = found.end()
        return self._take(end, count + self._buffer.count(b"\n", position, end),
                          True)
      if found:
        continue
      if len(self._buffer) >= limit:
        end = self._buffer.rfind(b"\n", position, limit) + 1 or position
        return self._take(end, count + self._buffer.count(b"\n", position, end),
                          False)
      if not self._fill():
        rest = self._buffer.count(b"\n", position)
        return self._take(len(self._buffer), count + rest, True)

  def _fill(self):
    """Reads one more block; returns False at the end of the range."""
    block = next(self._blocks, b"")
    self._buffer += block
    return bool(block)

  def _take(self, end, num_lines, ends_document):
    """Cuts off the buffer up to `end`; returns it as a Run."""
    part = Part(self._path, self._buffer_offset + self._start,
                self._buffer[self._start:end])
    self._start = end
    return Run(part, num_lines, ends_document)
