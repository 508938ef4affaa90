"""Places in JSON lines as places in the texts of their records, for samples.

The text of a record is followed by what its other fields take. A sample from a
random byte on would often find no text, or the start of a record, so the place
in a record is taken as the same place in its text.
"""

from typing import NamedTuple

from bert_e2e.data.text_lines import DOCUMENT_END


class _Place(NamedTuple):
  """A place in the text of a file.

  Attributes:
    start, end: int, where its record starts and ends.
    share: float, of the record's text that is before the place.
  """
  start: int
  end: int
  share: float

  @property
  def on_disk(self) -> float:
    """The byte of the file that corresponds to the place."""
    return self.start + self.share * (self.end - self.start)


def _text_of_record(file, start, end):
  return file.read_text(start, end - start).rstrip()


def find_text(file, offset, near):
  """Finds the text that corresponds to a byte of a file.

  Args:
    file: readers.TextFile that `splits_by_record`.
    offset: int.
    near: int, bytes within which a line end is near.

  Returns:
    (int, start of the record that has the text; int, offset of the text: the
    start of a line if one is near).

  Raises:
    ValueError: a record has no text.
  """
  start, end = file.record_start(offset), file.next_record(offset + 1)
  if offset == start:
    return start, start
  text = _text_of_record(file, start, end)
  at = int((offset - start) / (end - start) * len(text))
  line_end = text.find(b"\n", at, at + near)
  if line_end >= 0:
    return start, start + line_end + 1
  if len(text) - at <= near:
    return end, end
  while at < len(text) and text[at] & 0xC0 == 0x80:
    at += 1  # Within a character.
  return start, start + at


def measure(file, part):
  """Measures a part of a file; records that are cut count in part.

  Args:
    file: readers.TextFile that `splits_by_record`.
    part: text_lines.Part.

  Returns:
    (float, about how many bytes it takes on disk; float, how many records with
    a text it amounts to).
  """
  first = _place(file, part.offset)
  last = _place(file, part.offset + len(part.data))
  whole = part.data[:max(0, last.start - part.offset)]
  count = sum(map(bool, map(bytes.strip, DOCUMENT_END.split(whole))))
  return last.on_disk - first.on_disk, count + last.share - first.share


def _place(file, offset):
  """Returns the _Place of an offset."""
  start, end = file.record_start(offset), file.next_record(offset + 1)
  if offset == start:
    return _Place(start, end, 0.0)
  size = len(_text_of_record(file, start, end))
  return _Place(start, end, min(1.0, (offset - start) / max(1, size)))
