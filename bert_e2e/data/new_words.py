"""Words that are added to a vocabulary: which ones, and in which places.

WordPiece looks a whole word up first, so an entry without "##" that equals a
word makes it one piece. Only what the basic tokenizer takes for one word can be
such an entry: no punctuation, no whitespace, and a single ideograph at most.
"""

from typing import Dict, List, NamedTuple

from bert_e2e.config import ReaderConfig
from bert_e2e.data import text_lines
from bert_e2e.data.pieces import UNUSED_ENTRY

APPEND, UNUSED = PLACEMENTS = ("append", "unused")
# A longer word is [UNK] for transformers, whatever the vocabulary.
_MAX_CHARACTERS = 100
# Between the columns of a file of candidates.
_SEPARATOR = "\t"
_READER = ReaderConfig(input_format="text")


class Candidate(NamedTuple):
  """A word that can be added to a vocabulary.

  Attributes:
    word: str.
    occurrences: int, how often it occurs.
    pieces: list of str, what it is split into now; [UNK] alone if it is
      unknown.
    is_unknown: bool, whether it is.
  """
  word: str
  occurrences: int
  pieces: List[str]
  is_unknown: bool

  @property
  def saved(self):
    """int, by how many pieces the text gets shorter with the word as an entry:
    none for an unknown word, which is one piece already."""
    return self.occurrences * (len(self.pieces) - 1)

  @property
  def gain(self):
    """int, what candidates are ranked by: `saved`; for an unknown word its
    occurrences, as if it were two pieces, because it gains a meaning."""
    return self.occurrences if self.is_unknown else self.saved

  def to_line(self):
    """Returns the line of a file of candidates; `read_words` reads it."""
    return _SEPARATOR.join([
        self.word, str(self.occurrences), str(self.saved),
        " ".join(self.pieces)]) + "\n"


def candidate(word, occurrences, tokenizer):
  """Returns the Candidate of a word.

  Args:
    word: str.
    occurrences: int, how often it occurs.
    tokenizer: tokenization.FullTokenizer.
  """
  wordpiece = tokenizer.wordpiece_tokenizer
  pieces = wordpiece.tokenize(word)
  return Candidate(word, occurrences, pieces, pieces == [wordpiece.unk_token])


def rank(counts, tokenizer, min_count):
  """Finds the words whose addition shortens the text most.

  Args:
    counts: dict from word (str) to int.
    tokenizer: tokenization.FullTokenizer.
    min_count: int, rarer words are no candidates.

  Returns:
    list of Candidate, by `gain`, the highest first.
  """
  found = [candidate(word, count, tokenizer) for word, count in counts.items()
           if count >= min_count and word not in tokenizer.vocab and
           not why_not(word, tokenizer)]
  return sorted(
      found, key=lambda item: (-item.gain, -item.occurrences, item.word))


# ---------------------------------------------------------------- words by name


def why_not(word, tokenizer):
  """Tells why a word can't be added to a vocabulary.

  Args:
    word: str, not empty.
    tokenizer: tokenization.FullTokenizer.

  Returns:
    str, a clause; "" if it can be added.
  """
  if word.split() != [word]:
    return "contains whitespace"
  if word in tokenizer.vocab:
    return "is in the vocabulary already"
  parts = tokenizer.basic_tokenizer.tokenize(word)
  if not parts:
    return "has only characters that the tokenizer drops"
  if len(parts) > 1:
    single = ("punctuation and Chinese characters are words" if
              tokenizer.basic_tokenizer.tokenize_chinese_chars else
              "punctuation characters are words")
    return ("is split by the tokenizer, for which %s by themselves: %s" % (
        single, " ".join(parts[:8])))
  if parts != [word]:
    return ("can't occur, because the tokenizer turns it into %s" % (
        parts[0] + (", which is in the vocabulary already" if parts[0] in
                    tokenizer.vocab else ": list that instead")))
  if len(word) > _MAX_CHARACTERS:
    return "has %d characters; words of more than %d are unknown" % (
        len(word), _MAX_CHARACTERS)
  if word.startswith("##"):
    return "starts with ##, which marks pieces inside of words"
  if tokenizer.words(word) != parts:
    return "contains an added token, which is found first"
  return ""


class Refusal(NamedTuple):
  """A line of a list of words that names no word to add.

  Attributes:
    line: int, from 1.
    word: str.
    reason: str, a clause.
  """
  line: int
  word: str
  reason: str


def read_words(path, tokenizer):
  """Reads a list of words to add.

  Args:
    path: str, a UTF-8 file with a word on each line. What follows a tab is
      ignored, as in a file of candidates, and so are blank lines.
    tokenizer: tokenization.FullTokenizer.

  Returns:
    (dict from each word, in the order of the file, to its line, int, from 1;
    list of Refusal).

  Raises:
    OSError, ValueError: the file can't be read or is not UTF-8.
  """
  lines: Dict[str, int] = {}
  refused = []
  for number, line in enumerate(text_lines.read_lines(path, _READER), 1):
    word = line.split(_SEPARATOR)[0].strip("\ufeff \r")
    if not word:
      continue
    reason = ("is on line %d, too" % lines[word] if word in lines else
              why_not(word, tokenizer))
    if reason:
      refused.append(Refusal(number, word, reason))
    else:
      lines[word] = number
  return lines, refused


def leave_out_rare(lines, counts, min_count):
  """Leaves out the words of a list that are too rare in a text.

  Args:
    lines: dict from word to its line, see `read_words`.
    counts: collections.Counter of the words of the text.
    min_count: int, rarer words are left out.

  Returns:
    (dict like `lines`, list of Refusal).
  """
  kept = {word: line for word, line in lines.items()
          if counts[word] >= min_count}
  return kept, [
      Refusal(line, word, "occurs %d times, --min_count=%d" % (
          counts[word], min_count))
      for word, line in lines.items() if word not in kept]


# ------------------------------------------------------------- the vocabulary


class Placed(NamedTuple):
  """A vocabulary with new words.

  Attributes:
    entries: list of str, all of its entries.
    ids: dict from each new word to its number.
    num_replaced: int, how many of them replace another entry.
    num_padding: int, entries at the end that can't occur in text.
  """
  entries: List[str]
  ids: Dict[str, int]
  num_replaced: int
  num_padding: int

  @property
  def tokens(self):
    """list of str, the entries as a tokenizer reads them."""
    return [entry.strip() for entry in self.entries]

  def to_bytes(self):
    """Returns the content of a vocabulary file."""
    return "".join(entry + "\n" for entry in self.entries).encode("utf-8")


def place(entries, words, placement, *, num_rows=0, multiple=1, taken=()):
  """Adds words to a vocabulary.

  Args:
    entries: list of str, its lines.
    words: list of str.
    placement: UNUSED replaces `[unusedN]` entries first, in their order;
      further words, and with APPEND all of them, come after the last entry.
    num_rows: int, rows of the model's embedding table, which may be more than
      the entries: the first words that are appended use those.
    multiple: int, entries that can't occur are appended until the number of
      entries, or of rows if that is larger, is a multiple of it.
    taken: collection of int, numbers of entries that are not replaced.

  Returns:
    Placed.
  """
  entries = list(entries)
  matches = [UNUSED_ENTRY.fullmatch(entry.strip()) for entry in entries]
  free = [number for number, match in enumerate(matches)
          if match and placement == UNUSED and number not in taken]
  ids = dict(zip(words, free))
  for word, number in ids.items():
    entries[number] = word
  num_replaced = len(ids)
  for word in words[num_replaced:]:
    ids[word] = len(entries)
    entries.append(word)
  num_entries = len(entries)
  if multiple > 1:
    name = max((int(match.group(1)) for match in matches if match), default=-1)
    size = max(num_rows, num_entries)
    while len(entries) < size + -size % multiple:
      name += 1
      entries.append("[unused%d]" % name)
  return Placed(entries, ids, num_replaced, len(entries) - num_entries)
