"""Splits lines of text into sentences by a rule, for --sentence_split=rule.

A sentence ends with a mark such as `.`, `!`, `?` or `…`, and the quotes and
brackets that close after it, if a space follows; `。！？` and the danda need
none. A full stop does not end a sentence after an abbreviation, an initial or
an ordinal number, and no mark does if a lower-case letter follows. In doubt a
line is not cut: a missing cut makes a long sentence, a wrong one two fragments.

Only whitespace changes, so the sentences joined are the line. The rule is the
same in every process.
"""

import functools
import re

# Abbreviations, in lower case and without their last full stop. Those of single
# letters (z. B.) and with full stops inside (e.g., U.S.) are known by that.
# A name or a noun follows these:
_TITLES = frozenset("""
    adm capt cf cmdr col cpl dr drs gen gov hon lt maj messrs mgr mme mlle mr
    mrs ms mt prof pseud rep rev sen sgt sr sra srta st ste supt vs viz
    bspw bzgl bzw ca dgl dipl ehem einschl evtl frl geb gem ggf hl hr
    hrsg inkl insb insbes lfd lt nr sog sogen spez str vgl vorm zb zit zzgl
    approx av avda dna dott ed eds ej esp excmo feat gral ing lic núm resp sig
    tel univ ул им гг стр тел рис табл напр проф акад डॉ प्रो
""".split())
# A number follows these, or else they are words:
_NUMBERED = frozenset("""
    abb abs abschn anm apr art aug bd bl ch chap dec eq eqs fig figs feb jan jul
    jun kap mar no nos nov oct op p par pp sec sep sept tab vol vols
    aufl okt dez pág págs
""".split())
# These may also end a sentence:
_MAYBE = frozenset("""
    al assn bros co corp dept est etc inc jr ltd mio mrd
    usf usw ecc тыс млн млрд руб др пр
""".split())
# Words that mostly start a sentence.
_STARTERS = frozenset("""
    A After Although An And As At But By For From He Her His However I If In It
    Its On Our She So Some Such That The Their Then There These They This Those
    Thus To We What When Where While Who With You
    Aber Als Auch Auf Aus Bei Da Das Dabei Daher Dann Der Deshalb Die Dies Diese
    Dieser Doch Ein Eine Er Es Im Mit Nach Nun Seit Sie So Und Von Wenn Wir Zu
""".split())
_ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
_ROMAN = re.compile(r"[IVX]+")
# The word before a mark, and what is before that on its line.
_WORD = re.compile(r"[^\s(\[\"'\u2018\u201c\u201e\u00ab\u2013\u2014]*\Z")
_MAX_WORD = 24
_LETTER_BEFORE = re.compile(r"(?:\A|[\s(])[^\W\d_]\.\s?\Z")

_CLOSING = "\"'\u2018\u2019\u201c\u201d\u00ab\u00bb\u2039\u203a)\\]}"
_OPENING = (
    "\"'\u2018\u201a\u201c\u201e\u00ab\u2039\u00bb\u203a(\\[{\u00a1\u00bf\u2013"
    "\u2014\u00a0 -")
_WIDE_CLOSING = (
    "\"'\u2019\u201d\u300d\u300f\u3011\u3015\u300b\u3009\uff09\uff02)\\]")
_WIDE_LETTERS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
# After a closing bracket, the sentence around the quotation goes on with these.
_PARTICLES = "\u3068\u3063\u306f\u304c\u306e\u3092\u306b\u3067\u3082\u3084"


@functools.lru_cache(maxsize=None)
def _mark():
  """Returns the pattern of marks, made when it is needed first: that takes some
  milliseconds."""
  return re.compile(
      # . ! ? and the like, what closes, and a footnote; a space; the next word.
      "(?P<mark>[.!?\u2026\u061f\u06d4\u203c\u2047-\u2049]+)"
      "(?:[" + _CLOSING + "]|[ \u00a0\u202f][\u00bb\u203a])*"
      r"(?:\[\d{1,3}\])*"
      r"(?P<space>[^\S\n]+)(?=\S)"
      "(?=[" + _OPENING + r"]{0,6}(?P<next>\w{0,12}))"
      # Full-width marks and the danda; what closes; any space.
      "|(?:[\u3002\uff01\uff1f\uff61\u0964\u0965]+"
      "|(?<=[" + _WIDE_LETTERS + "])[!?]+(?=[" + _WIDE_CLOSING + "]*["
      + _WIDE_LETTERS + "]))"
      "[" + _WIDE_CLOSING + r"]*(?P<gap>[^\S\n]*)"
      "(?!(?<=[\u300d\u300f])[" + _PARTICLES + "])"
      r"(?=[^\s,;:\uff0c\u3001\uff1b\uff1a" + _WIDE_CLOSING + "])")


def split(text, how="rule"):
  """Splits each line of a text into sentences.

  Args:
    text: str.
    how: "rule", or "line" to leave the text as it is; see --sentence_split.

  Returns:
    str, a sentence per line.

  >>> split("It was 3.14 (see Dr. No). Really? \\"Yes.\\" he said.")
  'It was 3.14 (see Dr. No).\\nReally?\\n"Yes." he said.'
  """
  return text if how == "line" else _mark().sub(_cut, text)


def _cut(match):
  """Returns a match of `_mark`, with a line end if a sentence ends there."""
  found = match.group()
  space = match.group("space")
  if space is None:
    return found[:len(found) - len(match.group("gap"))] + "\n"
  if match.group("next")[:1].islower() or (
      match.group("mark") == "." and _continues(match)):
    return found
  return found[:-len(space)] + "\n"


def _continues(match):
  """Tells whether a sentence goes on after a full stop."""
  end = match.start()
  before = match.string[max(0, end - _MAX_WORD):end]
  word = _WORD.search(before).group()  # type: ignore[union-attr]
  before = before[:len(before) - len(word)]
  following = match.group("next")
  lower = word.lower()
  if lower in _TITLES:
    return True
  if lower in _NUMBERED:
    return following[:1].isdigit()
  is_short = word.isdigit() and len(word) <= 2
  is_letter = len(word) == 1 and word.isalpha()
  if is_short or is_letter or lower in _MAYBE or _ACRONYM.fullmatch(
      word) or _ROMAN.fullmatch(word):
    # The number of a list's item, or the end of "z. B.".
    return (following not in _STARTERS or
            not before.rpartition("\n")[2].strip() or
            (is_letter and bool(_LETTER_BEFORE.search(before))))
  return False
