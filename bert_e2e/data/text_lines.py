"""Text as lines and documents: decoding, blank lines, whole files.

Text is UTF-8, one sentence per line, with a blank line between documents. Lines
end at "\\n" only, and every "\\r" is deleted, as in the reader of
google-research/bert. A line of whitespace alone is blank.
"""

import hashlib
import re
from typing import FrozenSet, NamedTuple, Tuple

import tokenization
from bert_e2e.common import file_io
from bert_e2e.config import ReaderConfig
from bert_e2e.data import readers, records, text_encodings

# How much of a text is examined for its encoding.
_ADVISED_BYTES = 1 << 16
# How much of a document a message quotes.
_QUOTED_CHARACTERS = 60
# Shorter sentences are in many texts.
_MIN_HELD_OUT_WORDS = 6

# What str.strip() removes, except the "\n" that ends a line, in UTF-8.
_SPACE = (
    rb"(?:[\x09\x0b-\x0d\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80"
    rb"|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)")
# The end of a line and the blank lines after it: where a document ends.
DOCUMENT_END = re.compile(rb"\n(?:" + _SPACE + rb"*\n)+")
# The same in decoded text.
_BLANK_LINES = re.compile(r"\n\s*\n")
_BLANKS = re.compile(rb"(?:\n|" + _SPACE + rb")*")


def text_start(data, offset=0) -> int:
  """Returns the offset of the first byte, from `offset` on, that is not
  whitespace; the end of `data` if there is none."""
  return _BLANKS.match(data, offset).end()  # type: ignore[union-attr]


class Part(NamedTuple):
  """Consecutive whole lines of one file.

  Attributes:
    path: the file.
    offset: int, where the lines start in the file's text, in bytes.
    data: bytes, the lines as they are in the file.
  """
  path: str
  offset: int
  data: bytes

  @property
  def text_start(self) -> int:
    """Where the first text in `data` starts; its end if there is none."""
    return text_start(self.data)

  @property
  def has_text(self) -> bool:
    """Whether anything but whitespace is in it."""
    return self.text_start < len(self.data)


class InvalidUtf8(ValueError):
  """Text that is not UTF-8; its message names file, line and byte.

  The file is read to count the lines when the message is formatted. This is
  done by the process that shows it, because a worker process can open local
  files only.

  Args:
    path: the file.
    byte: int, the invalid one; offset: int, where in the text it is.
    place: int, which byte of its line it is, from 1.
    reason: str, what is wrong with it.
    text: bytes, some of the text from the start of the line on.
    options: config.ReaderConfig.
  """

  def __init__(self, path, byte, offset, place, reason, text, options):
    # What is pickled.
    super().__init__(path, byte, offset, place, reason, text, options)

  def __str__(self):
    path, byte, offset, place, reason, text, options = self.args
    file = readers.text_file(path, options)
    if file.has_records:
      return self._describe_record(file)
    return (
        "%s is not UTF-8: byte 0x%02x at byte offset %d, line %d, byte %d of "
        "that line (%s). %s" % (
            path, byte, offset, file.number_at(offset), place, reason,
            text_encodings.advise(text, path, file.compression.unpacker)))

  def _describe_record(self, file):
    path, byte, offset, _, reason, text, _ = self.args
    said = (
        "%s, %s %d: the text of the record is not UTF-8: byte 0x%02x (%s)" % (
            path, file.format.converter.unit, file.number_at(offset), byte,
            reason))
    if byte == records.INVALID_BYTE:
      said += ", which also stands for half a character, such as \"\\ud800\""
    invalid, _ = text_encodings.count_invalid(text)
    if invalid == text.count(byte) or not file.is_text:
      return ("%s. Correct the text, or pass --invalid_utf8=replace to drop "
              "such bytes." % said)
    return "%s. %s" % (said, text_encodings.advise(
        text, path, file.compression.unpacker))


def decode(data, path, offset, options=ReaderConfig()):
  """Decodes UTF-8 text.

  Args:
    data: bytes, whole lines.
    path: the file that they come from, for the error.
    offset: their offset in the file, in bytes, for the error.
    options: config.ReaderConfig; with `invalid_utf8` of "replace", each invalid
      byte is read as U+FFFD (which the tokenizer drops).

  Returns:
    str, with every "\\r" deleted.

  Raises:
    InvalidUtf8: the text is not UTF-8.
  """
  try:
    text = data.decode(
        "utf-8", "replace" if options.invalid_utf8 == "replace" else "strict")
  except UnicodeDecodeError as e:
    line_start = data.rfind(b"\n", 0, e.start) + 1
    raise InvalidUtf8(
        path, data[e.start], offset + e.start, e.start - line_start + 1,
        e.reason, data[line_start:line_start + _ADVISED_BYTES],
        options) from None
  return text.replace("\r", "")


def part_text(part, options=ReaderConfig()):
  """Returns the text of a Part, decoded; see `decode`."""
  return decode(part.data, part.path, part.offset, options)


def read_texts(path, options=ReaderConfig()):
  """Reads a text file, about a megabyte at a time.

  Args:
    path: str.
    options: config.ReaderConfig.

  Yields:
    str, whole lines; joined they are the text of the file, without its "\\r".

  Raises:
    ValueError: the file can't be read or is not UTF-8.
  """
  for part in _whole_lines(readers.text_file(path, options)):
    yield part_text(part, options)


def read_lines(path, options=ReaderConfig()):
  """Reads a text file line by line.

  Args, raises: see `read_texts`.

  Yields:
    str, each line without its end, as file_io.split_lines splits them.
  """
  for text in read_texts(path, options):
    yield from file_io.split_lines(text)


def _whole_lines(file):
  """Yields a readers.TextFile as Parts of whole lines, each of about a block.
  """
  offset = 0
  rest = []
  for block in file.read_blocks(on_skip=records.SkipLog()):
    end = block.rfind(b"\n") + 1
    if not end:
      rest.append(block)
      continue
    data = b"".join(rest + [block[:end]])
    yield Part(file.path, offset, data)
    offset += len(data)
    rest = [block[end:]]
  data = b"".join(rest)
  if data:
    yield Part(file.path, offset, data)


def document_hashes(text):
  """Hashes each document of a text, ignoring differences in whitespace.

  Args:
    text: str, documents separated by blank lines. A document that is cut off at
      the end of the text has another hash than the whole one.

  Yields:
    (bytes [8], the document's first words, str).
  """
  return _hashed(_BLANK_LINES.split(text))


def _hashed(texts):
  """Yields (hash, first words) of each text that is not blank; see
  `document_hashes`."""
  for text in texts:
    words = " ".join(text.split())
    if words:
      yield (hashlib.blake2b(words.encode("utf-8", "surrogatepass"),
                             digest_size=8).digest(),
             words[:_QUOTED_CHARACTERS])


class HeldOut(NamedTuple):
  """Text that should not be trained on, by its hashes.

  Attributes:
    documents: hashes of documents; see `document_hashes`.
    lines: hashes of single lines, in the same way.
    names: what the text is, for messages.
  """
  documents: FrozenSet[bytes] = frozenset()
  lines: FrozenSet[bytes] = frozenset()
  names: Tuple[str, ...] = ()

  def __bool__(self):
    return bool(self.documents or self.lines)

  def union(self, other):
    """Returns the HeldOut of the texts of both."""
    return HeldOut(self.documents | other.documents, self.lines | other.lines,
                   tuple(dict.fromkeys(self.names + other.names)))

  @property
  def name(self):
    """str, what the text is, for messages."""
    return " or ".join(self.names) or "the held-out text"

  @property
  def units(self):
    """str, what of another text is compared with it, for messages."""
    return "documents or lines" if self.lines else "documents"

  def find(self, text):
    """Yields (hash, first words) of each document and line of a text, a str,
    that is held out."""
    for digest, words in document_hashes(text):
      if digest in self.documents:
        yield digest, words
    if self.lines:
      for digest, words in _hashed(file_io.split_lines(text)):
        if digest in self.lines:
          yield digest, words


NOTHING_HELD_OUT = HeldOut()


def hold_out_sentences(sentences):
  """Holds out short texts such as sentences.

  A sentence is a document, and if it has six words or more, also a line of a
  document. An ideograph counts as a word.

  Args:
    sentences: iterable of str.

  Returns:
    HeldOut.
  """
  sentences = list(sentences)
  tokenizer = tokenization.BasicTokenizer()

  def count_words(sentence):
    return sum(any(map(str.isalnum, word))
               for word in tokenizer.tokenize(sentence))

  documents, lines = (
      frozenset(digest for digest, _ in _hashed(texts)) for texts in (
          sentences,
          [sentence for sentence in sentences
           if count_words(sentence) >= _MIN_HELD_OUT_WORDS]))
  return HeldOut(documents, lines)
