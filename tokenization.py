"""Text to WordPiece tokens and ids, equal to google-research/bert's.

`FullTokenizer.tokenize` returns tokens. `FullTokenizer.lines_to_ids` returns
their ids, and is fast because it caches the ids of words, without the
punctuation around them. Both follow the same rules, which are implemented once,
in `BasicTokenizer` and `WordpieceTokenizer`.

Character classes are those of the running Python's `unicodedata`, as in the
reference, so results for a few code points depend on the Python version.

TensorFlow is not imported here (see file_io.py for paths with a scheme such as
"gs://").
"""

import codecs
import collections
import copy
import functools
import itertools
import re
import string
import unicodedata

from bert_e2e.common import added_token_files, added_tokens, file_io

# Directory names of the published checkpoints whose casing is known.
_LOWER_CASED_MODELS = frozenset([
    "uncased_L-24_H-1024_A-16", "uncased_L-12_H-768_A-12",
    "multilingual_L-12_H-768_A-12", "chinese_L-12_H-768_A-12"])
_CASED_MODELS = frozenset([
    "cased_L-12_H-768_A-12", "cased_L-24_H-1024_A-16",
    "multi_cased_L-12_H-768_A-12"])
_MODEL_FOLDER = re.compile(r"([A-Za-z0-9_-]+)/bert_model\.ckpt")

# Ideographs, each of which becomes a word. Kana and Hangul are not among them:
# the reference treats those like the letters of other scripts.
_CJK_RANGES = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F))
_CJK_CLASS = "".join("%c-%c" % bounds for bounds in _CJK_RANGES)
_CJK_RUN = re.compile("([%s]+)" % _CJK_CLASS)

# Frequent punctuation outside of ASCII, by its first and last character.
_OTHER_PUNCTUATION_RANGES = (
    (0xA1, 0xA1), (0xA7, 0xA7), (0xAB, 0xAB), (0xB6, 0xB7), (0xBB, 0xBB),
    (0xBF, 0xBF), (0x2010, 0x2027), (0x2030, 0x2043), (0x3001, 0x3003),
    (0x3008, 0x3011), (0x3014, 0x301F), (0xFF01, 0xFF03), (0xFF05, 0xFF0A),
    (0xFF0C, 0xFF0F), (0xFF1A, 0xFF1B), (0xFF1F, 0xFF20), (0xFF3B, 0xFF3D),
    (0xFF3F, 0xFF3F), (0xFF5B, 0xFF5B), (0xFF5D, 0xFF5D), (0xFF5F, 0xFF65))
_OTHER_PUNCTUATION_CLASS = "".join(
    "%c-%c" % bounds for bounds in _OTHER_PUNCTUATION_RANGES)

_ASCII_PUNCTUATION = frozenset(string.punctuation)
_PUNCTUATION_CLASS = re.escape(string.punctuation)
_ASCII_PARTS = re.compile("[{0}]|[^{0}]+".format(_PUNCTUATION_CLASS))


@functools.lru_cache(maxsize=None)
def _parts(single):
  """Returns the pattern of the parts that a text is split into.

  It is made when it is needed first, because that takes some milliseconds.

  Args:
    single: str, a class of characters that are parts by themselves. Whitespace
      separates parts, and everything else between them is one part.
  """
  return re.compile("[{0}]|[^\\s{0}]+".format(single) if single else r"\S+")


# Characters that are parts by themselves: in any text; where ideographs are
# not; in ASCII, a quarter faster; in a text with a capital sigma. Other
# punctuation stays with the letters beside it, which is split later.
#
# A text may be split at punctuation before it is lower-cased and decomposed,
# because each character is converted independently of others. The exception is
# the capital sigma, whose lower case depends on the letters on both sides, even
# beyond punctuation.
_SINGLE_WITHOUT_CJK = _PUNCTUATION_CLASS + _OTHER_PUNCTUATION_CLASS
_SINGLE = _SINGLE_WITHOUT_CJK + _CJK_CLASS
_SINGLE_IN_ASCII = _PUNCTUATION_CLASS
_SINGLE_WITH_SIGMA = _CJK_CLASS
_SIGMA = "\u03a3"
_WHITESPACE_CONTROLS = frozenset("\t\n\r")

# Control characters at which str.split() splits, but which the rules below drop
# and so join what is on both sides. These are all such characters of Unicode.
_JOINERS = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"

# Bounds that keep a process small whatever it reads. A cache holds up to two
# generations of this many entries; longer words are rare and not cached.
_TABLE_ENTRIES = 1 << 15
_WORD_ENTRIES = 1 << 17
_LONGEST_CACHED_WORD = 24
# Attributes of a FullTokenizer that its vocabulary determines.
_DERIVED = ("inv_vocab", "continuation_ids")


def validate_case_matches_checkpoint(do_lower_case, init_checkpoint):
  """Rejects a casing that contradicts a published checkpoint's directory name.

  Args:
    do_lower_case: bool, the casing that the tokenizer uses.
    init_checkpoint: str, path prefix of a checkpoint, or None. Only paths like
      `<name of a published model>/bert_model.ckpt...` are checked.

  Raises:
    ValueError: a model of that name was trained with the other casing.

  Source: google-research/bert, tokenization.py, same contract.
  """
  match = _MODEL_FOLDER.search(init_checkpoint or "")
  if match is None:
    return
  name = match.group(1)
  expected = {True: _LOWER_CASED_MODELS, False: _CASED_MODELS}
  if name not in expected[not do_lower_case]:
    return
  raise ValueError(
      "--do_lower_case=%s contradicts --init_checkpoint=%s: the model %s was "
      "trained on %s text. Pass --do_lower_case=%s, or, if the directory just "
      "has that name, rename it."
      % (bool(do_lower_case), init_checkpoint, name,
         "cased" if do_lower_case else "lower-cased", not do_lower_case))


def convert_to_unicode(text):
  """Returns `text` as str.

  Args:
    text: str, or bytes in UTF-8, of which invalid ones are dropped.

  Returns:
    str.

  Raises:
    ValueError: `text` has another type.

  Source: google-research/bert, tokenization.py, same contract.
  """
  if isinstance(text, str):
    return text
  if isinstance(text, bytes):
    return text.decode("utf-8", "ignore")
  raise ValueError(
      "Text must be str or UTF-8 bytes, not %s: %r." % (type(text), text))


def printable_text(text):
  """Returns `text` (str or UTF-8 bytes) as str, for print and logging."""
  return convert_to_unicode(text)


def read_vocabulary(path):
  """Reads a vocabulary file, or the vocabulary in a JSON file.

  Args:
    path: str, a text file with one WordPiece per line, or *.json: a file of
      Hugging Face's tokenizers, or a dict from each WordPiece to its id.

  Returns:
    bytes, one WordPiece per line, without a byte order mark, followed by the
    tokens that were added to them; see `read_added_tokens`.

  Raises:
    OSError: it can't be read.
    ValueError: a JSON file without a vocabulary of WordPieces; see
      `read_added_tokens`, too.
  """
  content = _read_pieces(path)
  pieces = _decoded(content, path)
  added = [token.content for token in added_token_files.read(path, pieces)
           if token.id >= len(pieces)]
  if added and content and not content.endswith(b"\n"):
    content += b"\n"
  return content + "".join(token + "\n" for token in added).encode("utf-8")


def read_added_tokens(path):
  """Reads the tokens that were added to the vocabulary of a Hugging Face model.

  Args:
    path: str, a vocabulary; see added_token_files.read for the files that list
      them.

  Returns:
    list of added_tokens.AddedToken.

  Raises:
    OSError: a file can't be read.
    ValueError: see `read_vocabulary` and added_token_files.read.
  """
  return read_tokens(path)[1]


def read_tokens(path):
  """Reads the tokens of a vocabulary, and which of them were added.

  Args:
    path: see `read_vocabulary`.

  Returns:
    (list of str, one for each line, with added ones at its end; list of the
    added_tokens.AddedToken, see `read_added_tokens`).

  Raises:
    OSError, ValueError: see `read_vocabulary`; a line is not UTF-8.
  """
  pieces = _decoded(_read_pieces(path), path)
  added = added_token_files.read(path, pieces)
  return [*pieces, *(
      token.content for token in added if token.id >= len(pieces))], added


def _numbered(tokens):
  """Returns an OrderedDict from tokens to their numbers; see `load_vocab`."""
  return collections.OrderedDict(zip(tokens, itertools.count()))


def _read_pieces(path):
  """Returns the vocabulary of a file without added tokens, as bytes."""
  with file_io.open_binary(path) as reader:
    content = reader.read()
  if content.startswith(codecs.BOM_UTF8):
    content = content[len(codecs.BOM_UTF8):]
  if not path.endswith(".json"):
    return content
  import json  # Workers do without it.  pylint: disable=import-outside-toplevel
  try:
    tokenizer = json.loads(content.decode("utf-8"))
    model = tokenizer.get("model") or {}
    if isinstance(model, int) or "model" not in tokenizer:
      model = {"type": "WordPiece", "vocab": tokenizer}
    kind, ids = model.get("type"), model.get("vocab")
  except (ValueError, AttributeError) as error:  # Not UTF-8, or not JSON.
    raise ValueError("%s is not a vocabulary in JSON (%s)." % (
        path, error)) from error
  if kind != "WordPiece" or not isinstance(ids, dict) or (
      # Compared as text, because they may be of any type.
      sorted(map(repr, ids.values())) != sorted(map(repr, range(len(ids))))):
    raise ValueError(
        "%s has no vocabulary of WordPieces numbered from 0%s. Use the model's "
        "vocab.txt." % (
            path, "" if kind == "WordPiece" else " (its model is %r)" % kind))
  pieces = sorted(ids, key=ids.__getitem__)
  return "".join(piece + "\n" for piece in pieces).encode("utf-8")


def load_vocab(vocab_file):
  """Reads a vocabulary: one token per line, numbered from 0.

  Lines end at "\\n" only; every "\\r" and the whitespace around a token are
  dropped. An empty line has a number too. A repeated token has its last number,
  and the place of its first one in the order of the dict.

  Args:
    vocab_file: str, path of a UTF-8 text file, or see `read_vocabulary`.

  Returns:
    collections.OrderedDict of str to int.

  Raises:
    OSError: the file cannot be opened.
    ValueError: a line is not UTF-8.

  Source: google-research/bert, tokenization.py, same contract.
  """
  return _numbered(read_tokens(vocab_file)[0])


@functools.lru_cache(maxsize=1)
def _decoded(content, path):
  """Returns a tuple of the tokens in a vocabulary.

  A vocabulary is read by several components when a program starts; the last one
  is kept.

  Raises:
    ValueError: a line is not UTF-8.
  """
  content = content.replace(b"\r", b"")
  try:
    return tuple(map(str.strip, file_io.split_lines(content.decode("utf-8"))))
  except UnicodeDecodeError:
    pass  # Which line it is is found below.
  pieces = []
  for line in file_io.split_lines(content):
    try:
      pieces.append(line.decode("utf-8").strip())
    except UnicodeDecodeError as error:
      raise ValueError(
          "%s, line %d: %r is not UTF-8 (%s). Save the vocabulary as UTF-8."
          % (path, len(pieces) + 1, line, error)) from error
  return tuple(pieces)


def convert_by_vocab(vocab, items):
  """Looks up items.

  Args:
    vocab: dict from tokens to ids, or from ids to tokens.
    items: iterable of keys of `vocab`.

  Returns:
    list of the values, in order.

  Raises:
    KeyError: an item is not in `vocab`.

  Source: google-research/bert, tokenization.py, same contract.
  """
  return [vocab[item] for item in items]


def convert_tokens_to_ids(vocab, tokens):
  """Returns the ids of tokens; see `convert_by_vocab`."""
  return convert_by_vocab(vocab, tokens)


def convert_ids_to_tokens(inv_vocab, ids):
  """Returns the tokens of ids; see `convert_by_vocab`."""
  return convert_by_vocab(inv_vocab, ids)


def whitespace_tokenize(text):
  """Returns a list of the parts of `text` between whitespace (str.isspace)."""
  return text.split()


def is_chinese(text):
  """Returns whether `text` is ideographs alone, each of which is a word."""
  return bool(_CJK_RUN.fullmatch(text))


def count_chinese(text):
  """Returns the number of ideographs in a text (str)."""
  return sum(map(len, _CJK_RUN.findall(text)))


def _is_whitespace(char):
  """Returns whether the rules treat a character as whitespace."""
  return (char in _WHITESPACE_CONTROLS or unicodedata.category(char) == "Zs")


def _is_control(char):
  """Returns whether the rules drop a character as a control or format one."""
  return (char not in _WHITESPACE_CONTROLS
          and unicodedata.category(char) in ("Cc", "Cf"))


def _is_punctuation(char):
  """Returns whether a character is punctuation, and thus a word by itself.

  All of ASCII except letters, digits, space and controls is, including "$", "^"
  and "`", which Unicode classifies as symbols.
  """
  return (char in _ASCII_PUNCTUATION
          or unicodedata.category(char).startswith("P"))


class _CharTable(dict):
  """Caches the result of a rule for up to _TABLE_ENTRIES characters."""

  def __init__(self, rule):
    super(_CharTable, self).__init__()
    self._rule = rule

  def __missing__(self, char):
    result = self._rule(char)
    if len(self) < _TABLE_ENTRIES:
      self[char] = result
    return result


def _cleaned(code_point):
  """Returns what str.translate replaces a code point by; None drops it."""
  char = chr(code_point)
  if code_point in (0, 0xFFFD) or _is_control(char):
    return None
  return " " if _is_whitespace(char) else code_point


def _without_mark(code_point):
  """Returns None for a nonspacing mark, any other code point unchanged."""
  is_mark = unicodedata.category(chr(code_point)) == "Mn"
  return None if is_mark else code_point


_CLEANED = _CharTable(_cleaned)
_WITHOUT_MARK = _CharTable(_without_mark)
_PUNCTUATION = _CharTable(_is_punctuation)


class BasicTokenizer(object):
  """Splits text into words and punctuation, lower-cased or not.

  Example:
    BasicTokenizer().tokenize("Caf\\u00e9, 5\\u20ac.")
    == ["cafe", ",", "5\\u20ac", "."]

  Source: google-research/bert, tokenization.py, same contract. The other
    options are additions, with the names and meanings that they have in Hugging
    Face's transformers.
  """

  def __init__(self, do_lower_case=True, *, strip_accents=None,
               tokenize_chinese_chars=True, do_split_on_punc=True):
    """Creates a tokenizer.

    Args:
      do_lower_case: bool, lower-case.
      strip_accents: bool, remove accents; by default as `do_lower_case`.
      tokenize_chinese_chars: bool, make each ideograph a word.
      do_split_on_punc: bool, make each punctuation character a word.
    """
    self.do_lower_case = do_lower_case
    self.strip_accents = (
        do_lower_case if strip_accents is None else strip_accents)
    self.tokenize_chinese_chars = tokenize_chinese_chars
    self.do_split_on_punc = do_split_on_punc

  def tokenize(self, text):
    """Splits a text.

    Args:
      text: str or UTF-8 bytes.

    Returns:
      list of str, none of them empty or containing whitespace.

    Raises:
      ValueError: `text` has another type.
    """
    words = self.normalize(convert_to_unicode(text)).split()
    if not self.do_split_on_punc:
      return words
    return list(itertools.chain.from_iterable(
        map(self._run_split_on_punc, words)))

  def normalize(self, text):
    """Returns a text, a str, as it is before it is split into words."""
    is_ascii = text.isascii()
    text = self._clean_text(text)
    if self.tokenize_chinese_chars and not is_ascii:
      text = self._tokenize_chinese_chars(text)
    if self.do_lower_case:
      text = text.lower()
    if self.strip_accents and not is_ascii:
      text = self._run_strip_accents(text)
    return text

  def independent_parts(self, text):
    """Splits a text into parts that can be tokenized independently.

    These are ideographs and frequent punctuation, if they are words, and the
    parts between them: few enough different ones for a cache to hold most of a
    text.

    Args:
      text: str without the characters of _JOINERS.

    Returns:
      list of str.
    """
    if text.isascii():
      return self.ascii_parts(text)
    splits_cjk = self.tokenize_chinese_chars
    if not self.do_split_on_punc or _SIGMA in text:
      single = _SINGLE_WITH_SIGMA if splits_cjk else ""
    else:
      single = _SINGLE if splits_cjk else _SINGLE_WITHOUT_CJK
    return _parts(single).findall(text)

  @property
  def ascii_parts(self):
    """A function that does what `independent_parts` does, for ASCII text."""
    return _parts(_SINGLE_IN_ASCII if self.do_split_on_punc else "").findall

  def _run_strip_accents(self, text):
    """Returns `text` decomposed (NFD), without nonspacing marks."""
    return unicodedata.normalize("NFD", text).translate(_WITHOUT_MARK)

  def _run_split_on_punc(self, text):
    """Returns a list of punctuation characters and of the parts between them.
    """
    if text.isascii():
      return _ASCII_PARTS.findall(text)
    parts = []
    start = 0
    for place, char in enumerate(text):
      if _PUNCTUATION[char]:
        if start < place:
          parts.append(text[start:place])
        parts.append(char)
        start = place + 1
    if start < len(text):
      parts.append(text[start:])
    return parts

  def _tokenize_chinese_chars(self, text):
    """Returns `text` with a space on each side of every ideograph."""
    parts = _CJK_RUN.split(text)  # Other text and runs in turn.
    parts[1::2] = map("  ".join, parts[1::2])
    return " ".join(parts)

  def _is_chinese_char(self, cp):
    """Returns whether the code point `cp` (int) is an ideograph."""
    return any(first <= cp <= last for first, last in _CJK_RANGES)

  def _clean_text(self, text):
    """Returns `text` without NUL, U+FFFD and controls; whitespace as spaces."""
    if text.isascii() and text.isprintable():
      return text
    return text.translate(_CLEANED)


class WordpieceTokenizer(object):
  """Splits words into WordPieces of a vocabulary, the longest match first.

  Example:
    WordpieceTokenizer({"un": 0, "##able": 1, "##aff": 2}).tokenize("unaffable")
    == ["un", "##aff", "##able"]

  Source: google-research/bert, tokenization.py, same contract. Changed: the
    search starts with the length of the longest entry of the vocabulary, not
    with the whole word.
  """

  def __init__(self, vocab, unk_token="[UNK]", max_input_chars_per_word=200):
    """Creates a tokenizer.

    Args:
      vocab: dict (or set) of tokens. Entries may be added later.
      unk_token: str, the token of a word without a split into pieces.
      max_input_chars_per_word: int, longer words become `unk_token`.
    """
    self.vocab = vocab
    self.unk_token = unk_token
    self.max_input_chars_per_word = max_input_chars_per_word
    self._measure()

  def _measure(self):
    """Collects the pieces inside words, and the lengths of the longest pieces.
    """
    self._measured = len(self.vocab)
    self._longest_first = max(map(len, self.vocab), default=0)
    # Looking up a piece without "##" costs half as much as with it.
    self._next = frozenset(
        token[2:] for token in self.vocab if token.startswith("##"))
    self._longest_next = max(map(len, self._next), default=0)

  def tokenize(self, text):
    """Splits words into pieces.

    Args:
      text: str or UTF-8 bytes, words separated by whitespace, as from
        `BasicTokenizer`.

    Returns:
      list of str: pieces, with the prefix "##" inside a word.

    Raises:
      ValueError: `text` has another type.
    """
    pieces = []
    for word in whitespace_tokenize(convert_to_unicode(text)):
      pieces.extend(self.split_word(word))
    return pieces

  def split_word(self, word):
    """Returns a list of the pieces of one word, a str without whitespace."""
    if len(self.vocab) != self._measured:
      self._measure()
    if len(word) > self.max_input_chars_per_word:
      return [self.unk_token]
    if word in self.vocab:
      return [word]
    pieces = []
    start = 0
    prefix, known, longest = "", self.vocab, self._longest_first
    while start < len(word):
      for end in range(min(len(word), start + longest), start, -1):
        if word[start:end] in known:
          break
      else:
        return [self.unk_token]
      pieces.append(prefix + word[start:end])
      start = end
      prefix, known, longest = "##", self._next, self._longest_next
    return pieces


class _IdCache(dict):
  """A bounded cache from words to tuples of ids, or lists of words.

  When it holds `entries` words, these become the older generation and a new one
  starts empty; a word that is found in the older generation is moved. So words
  in use stay, at the cost of one more lookup per word and generation.
  """

  def __init__(self, compute, entries):
    """Creates an empty cache.

    Args:
      compute: function from str to what is cached.
      entries: int, words per generation; there are at most two.
    """
    super(_IdCache, self).__init__()
    self._compute = compute
    self._entries = entries
    self._older = {}

  def __missing__(self, word):
    ids = self._older.get(word)
    if ids is None:
      ids = self._compute(word)
    if len(word) <= _LONGEST_CACHED_WORD:
      if len(self) >= self._entries:
        self._older = dict(self)
        self.clear()
      self[word] = ids
    return ids

  def size(self):
    """Returns the number of entries of both generations."""
    return len(self) + len(self._older)


def _without_added(vocab, added):
  """Returns a vocabulary without the added tokens at its end, which are not
  pieces of other words."""
  if not added:
    return vocab
  ids = {token.id for token in added}
  end = max(vocab.values()) + 1
  while end - 1 in ids:
    end -= 1
  return {token: index for token, index in vocab.items() if index < end}


class FullTokenizer(object):
  """Splits text into the WordPieces of a vocabulary file, as tokens or as ids.

  Tokens that were added to the vocabulary (see `read_added_tokens`) are found
  first. A tokenizer can be pickled, without its caches.

  Attributes:
    vocab: OrderedDict from token (str) to id (int); a dict with other ids, see
      `with_ids`. Entries may be added, but not replaced.
    inv_vocab: dict from id to token.
    continuation_ids: frozenset of int, the ids of the file's tokens that start
      with "##", which continue a word.
    basic_tokenizer: BasicTokenizer; do not change it.
    wordpiece_tokenizer: WordpieceTokenizer; do not change it.

  Example:
    tokenizer = FullTokenizer("vocab.txt")
    tokens = tokenizer.tokenize("Some text")
    tokenizer.tokenize_to_ids("Some text")
    == tokenizer.convert_tokens_to_ids(tokens)

  Source: google-research/bert, tokenization.py, same contract;
    `tokenize_to_ids`, `lines_to_ids`, `words`, `count_words`, `with_ids`,
    `with_tokens` and `continuation_ids` are additions.
  """

  def __init__(self, vocab_file, do_lower_case=True, **options):
    """Loads a vocabulary.

    Args:
      vocab_file: str, path of a UTF-8 text file with one token per line, or see
        `read_vocabulary`.
      do_lower_case: bool, lower-case and strip accents.
      **options: the other arguments of BasicTokenizer.

    Raises:
      OSError: the file cannot be opened.
      ValueError: the file is not UTF-8.
    """
    tokens, self._added = read_tokens(vocab_file)
    self.basic_tokenizer = BasicTokenizer(do_lower_case, **options)
    self._splitter = self._added and added_tokens.Splitter(
        self._added, self.basic_tokenizer.normalize)
    self._use(tokens)

  def _use(self, tokens):
    """Uses a list of tokens, which are numbered from 0."""
    self.vocab = _numbered(tokens)
    self.wordpiece_tokenizer = WordpieceTokenizer(
        vocab=_without_added(self.vocab, self._added))
    self._start_caches()

  def with_tokens(self, tokens):
    """Returns a FullTokenizer of another vocabulary, which splits text into
    words in the same way.

    Args:
      tokens: list of str, numbered from 0. Added tokens have the numbers that
        they have in this one's vocabulary.
    """
    other = copy.copy(self)
    other._use(tokens)
    return other

  def __getattr__(self, name):
    """Computes `inv_vocab` and `continuation_ids` when they are needed first:
    most uses need neither."""
    if name == "inv_vocab":
      self.inv_vocab = {index: token for token, index in self.vocab.items()}
      return self.inv_vocab
    if name == "continuation_ids":
      self.continuation_ids = frozenset([
          index for token, index in self.vocab.items()
          if token.startswith("##")])
      return self.continuation_ids
    raise AttributeError("FullTokenizer has no attribute %r." % name)

  def with_ids(self, function):
    """Returns a FullTokenizer with other ids for the same tokens.

    Args:
      function: from an id to what replaces it, e.g. its encoding. It is called
        once for each entry of the vocabulary.
    """
    other = copy.copy(self)
    other.vocab = dict(zip(self.vocab, map(function, self.vocab.values())))
    other._start_caches()
    return other

  def _start_caches(self):
    """Creates empty caches for the current vocabulary."""
    self._cached_vocab_size = len(self.vocab)
    self._word_ids = _IdCache(self._ids_of_word, _WORD_ENTRIES)
    self._words_of_part = _IdCache(
        self.basic_tokenizer.tokenize, _WORD_ENTRIES)

  def __getstate__(self):
    return {name: value for name, value in self.__dict__.items()
            if name not in ("_word_ids", "_words_of_part", *_DERIVED)}

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._start_caches()

  def _ids_of_word(self, word):
    """Returns the tuple of ids of a part; see
    BasicTokenizer.independent_parts."""
    if word.isalnum() and word.isascii() or (
        len(word) == 1 and "\u4e00" <= word <= "\u9fff"):
      # A token by itself: there is nothing to clean, to split or to decompose.
      tokens = [word.lower() if self.basic_tokenizer.do_lower_case else word]
    else:
      tokens = self.basic_tokenizer.tokenize(word)
    split, vocab = self.wordpiece_tokenizer.split_word, self.vocab
    return tuple([vocab[piece] for token in tokens for piece in split(token)])

  def tokenize(self, text):
    """Splits text into WordPiece tokens.

    Args:
      text: str or UTF-8 bytes.

    Returns:
      list of str.

    Raises:
      ValueError: `text` has another type.
    """
    tokens = []
    for part, is_token in self._split(convert_to_unicode(text)):
      if is_token:
        tokens.append(part)
        continue
      for word in self.basic_tokenizer.tokenize(part):
        tokens.extend(self.wordpiece_tokenizer.tokenize(word))
    return tokens

  def words(self, text):
    """Returns a list of the words of a text, a str, without added tokens."""
    return [word for part, is_token in self._split(text) if not is_token
            for word in self.basic_tokenizer.tokenize(part)]

  def count_words(self, text):
    """Counts the words of a text, without added tokens; faster than `words`.

    Args:
      text: str.

    Returns:
      collections.Counter of str.
    """
    texts = file_io.split_lines(self._prepared(text))
    if self._splitter:
      texts = [part for line in texts for part, is_token in self._split(line)
               if not is_token]
    parts = collections.Counter(itertools.chain.from_iterable(
        map(self.basic_tokenizer.independent_parts, texts)))
    counts = collections.Counter()
    for part, count in parts.items():
      for word in self._words_of_part[part]:
        counts[word] += count
    return counts

  def _split(self, text):
    """Returns a list of (part of a text, whether it is an added token)."""
    return self._splitter.split(text) if self._splitter else [(text, False)]

  def tokenize_to_ids(self, text):
    """Splits text into WordPiece tokens and returns their ids; fast.

    Args:
      text: str or UTF-8 bytes.

    Returns:
      list of int, `convert_tokens_to_ids(tokenize(text))`.

    Raises:
      KeyError: there is an unknown word and no [UNK] in the vocabulary.
      ValueError: `text` has another type.
    """
    return list(self._ids_of_line(
        self._prepared(convert_to_unicode(text))) or ())

  def lines_to_ids(self, text):
    """Does `tokenize_to_ids` for each line of a text; faster.

    Args:
      text: str, lines as file_io.split_lines splits them.

    Yields:
      For each line an iterable of ids; None for a line of whitespace alone.

    Raises:
      KeyError: there is an unknown word and no [UNK] in the vocabulary.
    """
    # Line by line, because text that is not ASCII takes longer, and only a few
    # lines may contain any.
    lines = file_io.split_lines(self._prepared(text))
    if self._splitter:
      yield from map(self._ids_of_line, lines)
      return
    parts_of = self.basic_tokenizer.independent_parts
    ascii_parts = self.basic_tokenizer.ascii_parts
    ids_of, joined = self._word_ids.__getitem__, itertools.chain.from_iterable
    for line in lines:
      words = ascii_parts(line) if line.isascii() else parts_of(line)
      yield joined(map(ids_of, words)) if words else None

  def _ids_of_line(self, line):
    """Returns an iterable of the ids of a line; None for whitespace alone."""
    if not line.strip():
      return None
    ids = []
    for part, is_token in self._split(line):
      if is_token:
        ids.append(self.vocab[part])
        continue
      for word in self.basic_tokenizer.independent_parts(part):
        ids.extend(self._word_ids[word])
    return ids

  def _prepared(self, text):
    """Returns `text` without what str.split(), but not the rules, treats as
    whitespace; resets the caches if the vocabulary has grown."""
    if len(self.vocab) != self._cached_vocab_size:
      self._start_caches()
    for joiner in _JOINERS:
      if joiner in text:
        text = text.replace(joiner, "")
    return text

  def convert_tokens_to_ids(self, tokens):
    """Returns the ids of tokens; see `convert_by_vocab`."""
    return convert_by_vocab(self.vocab, tokens)

  def convert_ids_to_tokens(self, ids):
    """Returns the tokens of ids; see `convert_by_vocab`."""
    return convert_by_vocab(self.inv_vocab, ids)
