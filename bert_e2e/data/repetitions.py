"""How much of sampled text is a repetition of other text in the sample."""

from typing import Dict, Iterator, NamedTuple, Set

from bert_e2e.common import file_io
from bert_e2e.config import ReaderConfig
from bert_e2e.data import text_lines
from bert_e2e.data.preflight_numbers import ratio
from bert_e2e.data.text_lines import Part


class Repetitions(NamedTuple):
  """Fractions of a sample that equal earlier parts of it.

  Attributes:
    documents: float, of the documents, whatever their whitespace.
    lines: float, of the lines that are not blank.
  """
  documents: float
  lines: float


def count(parts, options=ReaderConfig()) -> Repetitions:
  """Counts repeated documents and lines.

  Args:
    parts: iterable of text_lines.Part. What is in several of them because they
      overlap in a file does not count as repeated.
    options: config.ReaderConfig.

  Returns:
    Repetitions. Of a sample of a large text, these are lower bounds, because
    text may be repeated outside of the sample.

  Raises:
    ValueError: a part is not UTF-8.
  """
  documents: Set[bytes] = set()
  lines: Set[str] = set()
  num_documents = num_lines = 0
  for part in _without_overlaps(parts):
    text = text_lines.part_text(part, options)
    for digest, _ in text_lines.document_hashes(text):
      documents.add(digest)
      num_documents += 1
    for line in map(str.strip, file_io.split_lines(text)):
      if line:
        lines.add(line)
        num_lines += 1
  return Repetitions(ratio(num_documents - len(documents), num_documents),
                     ratio(num_lines - len(lines), num_lines))


def _without_overlaps(parts) -> Iterator[Part]:
  """Yields parts, each without the lines that an earlier one has."""
  ends: Dict[str, int] = {}
  for part in sorted(parts, key=lambda part: (part.path, part.offset)):
    start = max(part.offset, ends.get(part.path, 0))
    end = part.offset + len(part.data)
    if start < end:
      ends[part.path] = end
      yield part._replace(offset=start, data=part.data[start - part.offset:])
