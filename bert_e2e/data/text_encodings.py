"""Recognizes the encoding of text that is not UTF-8, and how to convert it.

A guess is a suggestion for an error message: text is never decoded by it.
"""

import codecs
import re
import shlex
from typing import NamedTuple, Optional

from bert_e2e.common import file_io

# More NUL bytes than this fraction are not damage: they are half of UTF-16's
# Latin characters, or its spaces and line ends in other scripts.
MAX_NULS = 0.01
# With more than this fraction it is not text at all.
MAX_DAMAGED_NULS = 0.2
# Dropping invalid bytes is advised up to this fraction of the text: of text in
# a Latin alphabet, in which they are the letters with accents.
MAX_DROPPED = 0.1

# Characters that are frequent in running text of a script. Of all characters
# but ASCII, they are at least a twelfth (Chinese has many others) or, of an
# alphabet, more than half.
_CHINESE = (
    "的一是不了在人有我他这這个個们們中来來上大为為和国國地到以说說时時要就出会會"
    "可也你对對生能而子那得于於着著下自之年过過发發后後作里裡所如家学學新本用成方"
    "多行法事")
_JAPANESE = "".join(map(chr, range(0x3041, 0x3094))) + "、。ー"
_KOREAN = (
    "이다는에의을가고하지로도한기를은사서자어인라리대니그아들해시일나정수과")
_CYRILLIC = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщфіїєґ"
_GREEK = "αοειντσηρςκπμλυωάίόέήύώγδθβχφ"
_TURKISH = "ğışçöüİâ"
_WESTERN = "éèàçêâîôûëïùœüöäßñáíóúãõåæø°’‘“”–—…«»€"
_EASTERN = "ąćęłńóśźżáčďéěíňřšťúůýžőűöüăâîșțşţ"
_HEBREW = "".join(map(chr, range(0x5D0, 0x5EB)))
_ARABIC = "ابتجحدرسشصعفقكلمنهويةىأإء،"
_THAI = "".join(map(chr, range(0xE01, 0xE3B))) + "เแโใไ่้็์"


class _Encoding(NamedTuple):
  """An encoding.

  Attributes:
    name: str, as iconv knows it; codec: str, as Python does.
    frequent: str, characters that are frequent in such text.
    least: float, the fraction of them among all but ASCII, at least.
    is_latin: bool, whether words also have ASCII letters; None for either.
  """
  name: str
  codec: str
  frequent: str
  least: float
  is_latin: Optional[bool] = None


# Of equally good ones, the first is taken.
_MULTIBYTE = tuple(_Encoding(*row, 1 / 12) for row in (
    ("GB18030", "gb18030", _CHINESE),
    ("BIG5", "big5hkscs", _CHINESE),
    ("SHIFT_JIS", "cp932", _JAPANESE),
    ("EUC-JP", "euc_jp", _JAPANESE),
    ("EUC-KR", "cp949", _KOREAN)))
_SINGLE_BYTE = tuple(
    _Encoding(name, codec, frequent, 0.6, is_latin)
    for name, codec, frequent, is_latin in (
        ("CP1252", "cp1252", _WESTERN, True),
        ("CP1250", "cp1250", _EASTERN, True),
        ("ISO-8859-2", "iso8859_2", _EASTERN, True),
        ("CP1254", "cp1254", _TURKISH, True),
        ("MACINTOSH", "mac_roman", _WESTERN, True),
        ("CP850", "cp850", _WESTERN, True),
        ("CP1251", "cp1251", _CYRILLIC, False),
        ("KOI8-R", "koi8_r", _CYRILLIC, False),
        ("CP866", "cp866", _CYRILLIC, False),
        ("ISO-8859-5", "iso8859_5", _CYRILLIC, False),
        ("CP1253", "cp1253", _GREEK, False),
        ("CP1255", "cp1255", _HEBREW, False),
        ("CP1256", "cp1256", _ARABIC, False),
        ("CP874", "cp874", _THAI, False)))
_WIDE = (("UTF-16LE", "utf_16_le"), ("UTF-16BE", "utf_16_be"),
         ("UTF-32LE", "utf_32_le"), ("UTF-32BE", "utf_32_be"))
_MARKS = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"),
          (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))
# Any script, as it stands in wide characters.
_ANY_FREQUENT = frozenset(
    "\n\r\t" + "".join(map(chr, range(0x20, 0x7F))) + _CHINESE + _JAPANESE +
    _KOREAN + _CYRILLIC + _GREEK + _TURKISH + _WESTERN + _EASTERN + _HEBREW +
    _ARABIC + _THAI)
_LEAST_OF_ANY = 0.25
# Characters that can't be decoded are damage if they are fewer.
_MAX_DAMAGE = 0.01
_WIDE_RUN = re.compile(rb"[\x80-\xff]+")
_BESIDE_LETTER = re.compile(
    rb"(?<=[A-Za-z])[\x80-\xff]+|[\x80-\xff]+(?=[A-Za-z])")
LONE_RETURN = re.compile(rb"\r(?!\n)")


def guess(data) -> Optional[str]:
  """Guesses the encoding of text that is not UTF-8.

  Args:
    data: bytes, some kilobytes from the start of a line on.

  Returns:
    str, the name for iconv; None if it can't be told.
  """
  for mark, name in _MARKS:
    if data.startswith(mark):
      return name
  for name, codec in _WIDE:
    text = _decode(data, codec)
    if text and "\0" not in text and _share(
        text, _ANY_FREQUENT) >= _LEAST_OF_ANY:
      return name
  for rows in (_MULTIBYTE, _SINGLE_BYTE):
    scores = [(_score(data, row), -i) for i, row in enumerate(rows)]
    best, i = max(scores)
    if best >= rows[-i].least:
      return rows[-i].name
  return None


def _score(data, row):
  """Returns the fraction of frequent characters among all but ASCII."""
  if row.is_latin not in (None, _is_latin(data)):
    return 0.0
  text = _decode(data, row.codec)
  return _share(text, frozenset(row.frequent), from_code=0x80) if text else 0.0


def _is_latin(data):
  """Returns whether most bytes beyond ASCII are beside ASCII letters."""
  return 2 * len(_BESIDE_LETTER.findall(data)) >= len(_WIDE_RUN.findall(data))


def _decode(data, codec):
  """Returns data decoded, without a character that is cut off at its end; None
  if too much is invalid or a control character."""
  text = codecs.getincrementaldecoder(codec)("replace").decode(data)
  damaged = text.count("\ufffd") + sum(map(text.count, _CONTROLS))
  wide = sum(char > "\x7f" for char in text)
  return text if damaged <= _MAX_DAMAGE * wide else None


_CONTROLS = [chr(code) for code in (*range(1, 9), *range(0x0E, 0x1B),
                                    *range(0x80, 0x85), *range(0x86, 0xA0))]


def _share(text, chars, from_code=0):
  """Returns the fraction of `chars` among the characters from a code on."""
  counted = [char for char in text if ord(char) >= from_code]
  return sum(char in chars for char in counted) / max(1, len(counted))


def describe_head(head, path, unpacker=""):
  """Says what keeps a file from being read as lines of UTF-8.

  Args:
    head: bytes, the start of its text; path: the file.
    unpacker: str, the command that decompresses it; "" if it isn't compressed.

  Returns:
    str, a sentence or two with a remedy; None if nothing is found. Text in
    another encoding is not found here if it has neither a byte order mark nor
    NUL bytes.
  """
  nuls = head.count(b"\0")
  wide = next((name for mark, name in _MARKS if head.startswith(mark)), None)
  if wide or nuls > max(1, MAX_NULS * len(head)):
    encoding = wide or guess(head)
    if encoding:
      return "%s is %s text, not UTF-8. %s" % (
          path, encoding, _convert(path, encoding, unpacker))
    return "%s is not text: %d of its first %d bytes are NUL. %s" % (
        path, nuls, len(head), "Name files with text only."
        if nuls > MAX_DAMAGED_NULS * len(head) else
        "If it is text that was damaged, remove them with `%s`." %
        _command(path, unpacker, "tr -d '\\000'", ".clean"))
  if b"\n" not in head and len(LONE_RETURN.findall(head)) > 1:
    return (
        "The lines of %s end with a carriage return alone, which is not a line "
        "end. Convert them with `%s`." % (
            path, _command(path, unpacker, "tr '\\r' '\\n'", ".lines")))
  return None


def advise(data, path, unpacker=""):
  """Says what to do with a file that has invalid UTF-8.

  Args:
    data: bytes of its text, some kilobytes, from the start of a line on.
    path: the file.
    unpacker: see `describe_head`.

  Returns:
    str, a sentence.
  """
  invalid, valid = count_invalid(data)
  drop = "pass --invalid_utf8=replace to drop such bytes"
  if valid >= invalid:
    return "The text around it is UTF-8: correct the line, or %s." % drop
  encoding = guess(data)
  if not encoding:
    advice = ("Its encoding is not known: find it out, e.g. by `file -i`, and "
              "convert the file (`iconv -f ENCODING -t UTF-8`)")
  else:
    advice = "It looks like %s. %s" % (
        encoding, _convert(path, encoding, unpacker)[:-1])
  may_drop = invalid <= MAX_DROPPED * len(data)
  return advice + (", or %s." % drop if may_drop else ".")


def count_invalid(data):
  """Counts how much of a text is UTF-8.

  Args:
    data: bytes.

  Returns:
    (number of characters that are not, number of those that are, except ASCII).
  """
  text = data.decode("utf-8", "replace")
  wide = sum(char > "\x7f" for char in text)
  invalid = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
  return invalid, wide - invalid


def _convert(path, encoding, unpacker):
  return "Convert it with `%s`." % _command(
      path, unpacker, "iconv -f %s -t UTF-8" % encoding, ".utf8")


def _command(path, unpacker, program, suffix):
  """Returns a shell command that passes a file through a program.

  >>> _command("a b.gz", "gzip -dc", "tr x y", ".new")
  "gzip -dc 'a b.gz' | tr x y > 'a b.gz.new'"
  """
  if not file_io.is_local(path):
    return program
  source, target = shlex.quote(path), shlex.quote(path + suffix)
  if unpacker:
    return "%s %s | %s > %s" % (unpacker, source, program, target)
  return "%s < %s > %s" % (program, source, target)
