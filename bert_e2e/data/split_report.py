"""What a larger vocabulary changes in how a text is split into pieces."""

import collections
import itertools
import statistics
from typing import Any, Dict, List, NamedTuple

import tokenization
from bert_e2e.common import messages

# Examples of words that are split in another way.
_EXAMPLES = 8
# From this share of ideographs on, a text is mostly Chinese.
_MOSTLY = 0.5
_LONGEST_SHOWN = 24


class TextMeasure:
  """What a tokenizer makes of a text.

  Args:
    tokenizer: tokenization.FullTokenizer.

  Attributes:
    num_words, num_pieces, num_unknown: int, the text's words, the pieces that
      they are split into, and the words that are [UNK]. Added tokens are not
      among them.
    lengths: list of int, the pieces of each document, added tokens included.
  """

  def __init__(self, tokenizer):
    self._tokenizer = tokenizer
    self.num_words = self.num_pieces = self.num_unknown = 0
    self.lengths: List[int] = []

  def add_words(self, counts):
    """Measures words, a dict from each of them to its number."""
    wordpiece = self._tokenizer.wordpiece_tokenizer
    for word, count in counts.items():
      pieces = wordpiece.tokenize(word)
      self.num_words += count
      self.num_pieces += count * len(pieces)
      self.num_unknown += count * (pieces == [wordpiece.unk_token])

  def add_documents(self, text):
    """Measures the documents of a text, a str."""
    length = 0
    for ids in itertools.chain(self._tokenizer.lines_to_ids(text), [None]):
      if ids is not None:
        length += len(tuple(ids))
      elif length:
        self.lengths.append(length)
        length = 0

  @property
  def pieces_per_word(self):
    """float, 0.0 without words."""
    return self.num_pieces / max(1, self.num_words)

  @property
  def unknown_rate(self):
    """float, the fraction of the words that are [UNK]."""
    return self.num_unknown / max(1, self.num_words)


def measure(texts, tokenizers):
  """Measures a text by several tokenizers that find the same words in it.

  Args:
    texts: iterable of str, whole documents; their different words are kept in
      memory.
    tokenizers: list of tokenization.FullTokenizer.

  Returns:
    list of TextMeasure.
  """
  found = [TextMeasure(tokenizer) for tokenizer in tokenizers]
  counts = collections.Counter()
  for text in texts:
    counts.update(tokenizers[0].count_words(text))
    for item in found:
      item.add_documents(text)
  for item in found:
    item.add_words(counts)
  return found


def compare(before, after):
  """Returns a table of two TextMeasures of a text, a list of str."""
  rows = [("pieces per word", "%.3f", before.pieces_per_word,
           after.pieces_per_word),
          ("words that are [UNK], %", "%.3f", 100 * before.unknown_rate,
           100 * after.unknown_rate)]
  if before.lengths:
    for name, function in (("mean", statistics.mean),
                           ("median", statistics.median)):
      rows.append(("pieces per document, " + name, "%.1f",
                   function(before.lengths), function(after.lengths)))
  lines = ["%-28s %10s %10s %9s" % ("", "before", "after", "change")]
  for name, form, old, new in rows:
    change = "%+.1f %%" % (100 * (new - old) / old) if old else "-"
    lines.append("%-28s %10s %10s %9s" % (name, form % old, form % new, change))
  return lines


class Changed(NamedTuple):
  """A word that is split in another way, though it is no new entry.

  Attributes:
    word: str; occurrences: int, how often it occurs.
    before, after: list of str, its pieces.
    is_unknown: bool, whether it is [UNK] afterwards.
  """
  word: str
  occurrences: int
  before: List[str]
  after: List[str]
  is_unknown: bool = False


def changed_words(counts, new_words, before, after):
  """Finds the words that new entries change without being them.

  WordPiece takes the longest entry that a word starts with, so a new entry also
  is the first piece of the longer words that start with it.

  Args:
    counts: dict from word to its number; new_words: collection of str.
    before, after: tokenization.FullTokenizer.

  Returns:
    list of Changed, the most frequent first.
  """
  new = set(new_words)
  lengths = sorted(set(map(len, new)))
  found = []
  for word, count in counts.items():
    if word in after.vocab or not any(
        word[:length] in new for length in lengths if length < len(word)):
      continue
    splits = [tokenizer.wordpiece_tokenizer.tokenize(word)
              for tokenizer in (before, after)]
    if splits[0] != splits[1]:
      found.append(Changed(
          word, count, splits[0], splits[1],
          splits[1] == [after.wordpiece_tokenizer.unk_token]))
  return sorted(found, key=lambda item: (-item.occurrences, item.word))


def describe_changed(changed, num_words):
  """Says what `changed_words` found, a list of str, lines.

  Args:
    changed: list of Changed; num_words: int, all words that were counted.
  """
  if not changed:
    return ["No other word is split in another way."]
  count = sum(item.occurrences for item in changed)
  by_size: Dict[Any, int] = {-1: 0, 0: 0, 1: 0, None: 0}
  for item in changed:
    old, new = len(item.before), len(item.after)
    by_size[None if item.is_unknown else (new > old) - (new < old)] += 1
  lines = [
      "%d other words (%d occurrences, %.2f %% of all words) start with a new "
      "entry and are split in another way: %d into fewer pieces, %d into as "
      "many, %d into more; %d become [UNK]." % (
          len(changed), count, 100 * count / max(1, num_words), by_size[-1],
          by_size[0], by_size[1], by_size[None])]
  worse = [item for item in changed
           if item.is_unknown or len(item.after) > len(item.before)]
  for item in changed[:_EXAMPLES] + [
      item for item in worse[:_EXAMPLES // 2] if item not in
      changed[:_EXAMPLES]]:
    lines.append("  %s: %s -> %s (%d times)" % (
        item.word, " ".join(item.before), " ".join(item.after),
        item.occurrences))
  return lines


def describe_candidates(ranked, num_shown):
  """Returns a table of the first of a list of new_words.Candidates, a list of
  str."""
  lines = ["%6s %9s %9s  %-*s %s" % (
      "rank", "count", "saved", _LONGEST_SHOWN, "word", "pieces now")]
  for number, item in enumerate(ranked[:num_shown], 1):
    lines.append("%6d %9d %9d  %-*s %s" % (
        number, item.occurrences, item.saved, _LONGEST_SHOWN, item.word,
        messages.list_names(item.pieces, limit=12, separator=" ")))
  if len(ranked) > num_shown:
    lines.append("%6s and %d more" % ("", len(ranked) - num_shown))
  return lines


def warn_of_chinese(counts, tokenizer):
  """Says that there is little to add for a text that is mostly Chinese.

  Args:
    counts: dict from word to its number.
    tokenizer: tokenization.FullTokenizer, which found the words.

  Returns:
    str, "" for another text, and if Chinese characters are not words by
    themselves.
  """
  if not tokenizer.basic_tokenizer.tokenize_chinese_chars:
    return ""
  total = sum(counts.values())
  chinese = sum(count for word, count in counts.items()
                if tokenization.is_chinese(word))
  if chinese <= _MOSTLY * total:
    return ""
  return ("%.0f %% of the words are Chinese characters. Each of them is a word "
          "by itself, so no sequence of them can be an entry: only single "
          "characters that the vocabulary lacks, and words in other scripts, "
          "can be added." % (100 * chinese / total))
