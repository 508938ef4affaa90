"""Texts of documents: written to files, and searched for held-out phrases."""

import collections
import hashlib
import re

# Lines of a held-out document are phrases if they have at least that many
# words; shorter ones may be common.
_LONG_LINE = 6
# Length of the prefix by which phrases are indexed, in words.
_KEY = 5
# Percentages of the sources for test and validation.
_TEST, _VALIDATION = 20, 10
TRAINING, VALIDATION, TEST = "training", "validation", "test"
_SENTENCE_END = re.compile(
    r"(?:(?<=[^\W_A-Z][.!?])|(?<=[.!?)\]'\"`][.!?)\"'`]))"
    r"(?<!e\.g\.)(?<!i\.e\.) +(?=[^\W\da-z_]|[(`])")


def hash_of(text):
  """Returns a deterministic hash of a text, an int."""
  return int(hashlib.md5(text.encode("utf-8")).hexdigest()[:12], 16)


def digest(paths):
  """Returns a digest of the contents of files, a str."""
  found = hashlib.sha256()
  for path in paths:
    with open(path, "rb") as stream:
      found.update(hashlib.sha256(stream.read()).digest())
  return found.hexdigest()[:16]


def split_of(source):
  """Returns the split that a source of texts belongs to: TRAINING, ..."""
  percent = hash_of("side of " + source) % 100
  if percent < _TEST:
    return TEST
  return VALIDATION if percent < _TEST + _VALIDATION else TRAINING


def words_of(text):
  """Returns the words of a text, lower-cased and without punctuation."""
  return re.findall(r"\w+", text.lower())


def sentences(paragraph):
  """Returns the sentences of a paragraph, a list of str.

  >>> sentences("Use it, e.g. here.\\nNot there!")
  ['Use it, e.g. here.', 'Not there!']
  """
  text = " ".join(paragraph.split())
  return [sentence for sentence in _SENTENCE_END.split(text) if sentence]


class Phrases:
  """Held-out documents as a whole, and their long lines.

  Short documents count if they are all of another one, too.

  Args:
    documents: iterable of lists of str, their lines.
  """

  def __init__(self, documents):
    self._by_start = collections.defaultdict(set)
    self._documents = set()
    for lines in documents:
      self._documents.add(tuple(words_of(" ".join(lines))))
      for text in [*lines, " ".join(lines)]:
        words = tuple(words_of(text))
        if len(words) >= _LONG_LINE:
          self._by_start[words[:_KEY]].add(words)

  def matching_lines(self, lines):
    """Finds phrases in a document.

    Args:
      lines: list of str; a phrase may span several lines.

    Returns:
      set of int, the indices of lines with any part of a phrase.
    """
    split = [words_of(line) for line in lines]
    words = tuple(word for line in split for word in line)
    numbers = [n for n, line in enumerate(split) for _ in line]
    found = set()
    for start in range(len(words) - _LONG_LINE + 1):
      for phrase in self._by_start.get(words[start:start + _KEY], ()):
        end = start + len(phrase)
        if words[start:end] == phrase:
          found.update(numbers[start:end])
    return found

  def remove_from(self, lines):
    """Returns the lines without those that match a phrase.

    Repeated until there is none: removing lines may join parts of a phrase.
    """
    matching = self.matching_lines(lines)
    while matching:
      lines = [line for n, line in enumerate(lines) if n not in matching]
      matching = self.matching_lines(lines)
    is_held_out = tuple(words_of(" ".join(lines))) in self._documents
    return [] if is_held_out else lines


def documents(path):
  """Yields the documents of a text file, lists of str."""
  document = []
  with open(path, encoding="utf-8") as stream:
    for line in stream:
      if line.strip():
        document.append(line.strip())
      elif document:
        yield document
        document = []
  if document:
    yield document


def write_text(path, texts, phrases=None):
  """Writes a pretraining text without duplicate documents.

  Args:
    path: str.
    texts: iterable of sequences of str, the documents' lines.
    phrases: Phrases to remove, or None.

  Returns:
    (documents written, lines written, lines removed), three int.
  """
  seen, num_lines, num_removed = set(), 0, 0
  with open(path, "w", encoding="utf-8") as stream:
    for text in texts:
      lines = phrases.remove_from(list(text)) if phrases else list(text)
      num_removed += len(text) - len(lines)
      if lines and tuple(lines) not in seen:
        seen.add(tuple(lines))
        num_lines += len(lines)
        stream.write("\n".join(lines) + "\n\n")
  return len(seen), num_lines, num_removed


def check_disjoint(path, phrases):
  """Checks that a text file contains no phrase and no held-out document.

  Raises:
    ValueError: it does.
  """
  for document in documents(path):
    kept = phrases.remove_from(document)
    if kept != document:
      raise ValueError("%s contains held-out text: %r." % (
          path, next(line for line in document if line not in kept)))


