"""text_kinds.py and repetitions.py: what sampled text looks like."""

import csv
import io
import json
import random

import pytest

from bert_e2e.data import repetitions, text_kinds
from bert_e2e.data.text_lines import Part

SENTENCES = [
    "The first sentence has a comma, and some more words follow.",
    "\"Is it,\" she asked, \"a quotation?\"", "It is 3 < 4, and 5 > 2.",
    "A {brace} or [two] may occur; so may a | bar or a \\ backslash.",
    "Short.", "See section 2.1 (page 7), e.g. for x = a[i], or C++.",
    "Tags such as <b> are rare in prose.", "A list: one, two, three and four.",
    "Das sind, wie man sagt, \u201eKleinigkeiten\u201c.", "1. Introduction"]


def prose(num_documents=20, seed=1):
  rng = random.Random(seed)
  return "\n".join("".join(
      rng.choice(SENTENCES) + "\n" for _ in range(rng.randint(3, 9)))
                   for _ in range(num_documents))


def records():
  return [{"id": i, "text": prose(2, i), "url": "http://x.org/%d" % i}
          for i in range(30)]


def table(delimiter, quoting=csv.QUOTE_MINIMAL, clean=lambda text: text):
  stream = io.StringIO()
  writer = csv.writer(stream, delimiter=delimiter, quoting=quoting)
  writer.writerow(["id", "text", "url"])
  for record in records():
    writer.writerow([record["id"], clean(record["text"]), record["url"]])
  return stream.getvalue()


def one_line(text):
  return " ".join(text.split()).replace('"', "").replace("\t", " ")


def json_lines():
  return "".join(json.dumps(record) + "\n" for record in records())


def html():
  return "".join("<p>%s</p>\n" % line for line in prose().split("\n"))


def wiki_extract():
  """The output of a common program that extracts Wikipedia's text."""
  return "".join('<doc id="%d" url="http://x.org/" title="x">\n%s</doc>\n' % (
      i, prose(2, i)) for i in range(20))


def part_of(text, path="a.txt", offset=0):
  data = text if isinstance(text, bytes) else text.encode("utf-8")
  return Part(path, offset, data)


def names(text):
  return [kind.name for kind in text_kinds.find_kinds([part_of(text)])]


@pytest.mark.parametrize("text, name", [
    (json_lines(), "JSON lines"),
    (json.dumps(records(), indent=2), "JSON"),
    (json.dumps(records()), "JSON"),
    (table(","), "a table (CSV or TSV)"),
    (table(";", csv.QUOTE_ALL), "a table (CSV or TSV)"),
    (table("\t", csv.QUOTE_NONE, one_line), "a table (CSV or TSV)"),
    # From the middle of a field.
    (table(",")[300:], "a table (CSV or TSV)"),
    (html(), "HTML or XML"), (wiki_extract(), "HTML or XML"),
    ("<?xml version='1.0'?>\n<doc>\n" + html() + "</doc>\n", "HTML or XML"),
    ("'''A''' is [[b|c]] in [[d]].\n{{box}}\nMore text.\n" * 9,
     "MediaWiki markup"),
    ("\\section{One}\nA text \\cite{x}.\n\\begin{itemize}\n" * 9, "LaTeX"),
    (prose().encode("utf-16-le"), "UTF-16LE text"),
    (b"\x00\x01\x02\x03 word\n" * 99, "binary data"),
    ("\u6211\u4eec\u7684\u4e00\u4e2a\u4eba\n".encode("gb18030") * 99,
     "GB18030 text"),
    (b"\x81\x8d\x9d word\n" * 9, "text that is not UTF-8"),
    ("a line\ranother line\rand a third\r\n" * 9,
     "lines that end with a carriage return alone"),
], ids=lambda value: value if len(value) < 50 else "")
def test_text_that_is_not_plain(text, name):
  found, = text_kinds.find_kinds([part_of(text)])
  assert found.name == name and found.share == 1 and found.file == "a.txt"
  assert found.remedy and not found.remedy.endswith(".")


@pytest.mark.parametrize("text", [
    prose(), prose().replace("\n", "\r\n"), prose(1), "", "\n\n", "word",
    # Verses, figures, a dialogue, Chinese, code that is quoted.
    "Tiger, tiger, burning bright\nIn the forests of the night,\n" * 20,
    "1 2 3\n4 5\n6 7 8 9\n" * 20, "- Yes, I do.\n- No.\n- Why, then?\n" * 20,
    "\u6211\u4eec\uff0c\u4ed6\u4eec\u3002\n" * 20,
    "Write if (a[i] == b) { x(); } here.\nThen go on.\n" * 20,
    'He said, "Yes, go."\n"No," she said, "not I."\n' * 20,
    "By N. N. <nn at x.org>\nand <m@y.org>\n" * 20,
    "Title\n=====\nCall <name> with <file>.\n" * 20],
                         ids=range(14))
def test_plain_text(text):
  assert names(text) == []


def test_few_invalid_bytes_do_not_change_what_text_is():
  assert names(prose().encode("utf-8").replace(b"sentence", b"\xe9", 2)) == []


def test_a_line_that_is_longer_than_a_sample(tmp_path):
  """The start of its file tells."""
  path = tmp_path / "a.txt"
  text = json.dumps({"text": "word " * 99999}) + "\n"
  path.write_text(text * 2)
  part = Part(str(path), 1000, text[1000:30000].encode("ascii"))
  found, = text_kinds.find_kinds([part])
  assert found.name == "JSON lines"


def test_shares_of_several_kinds():
  plain, lines, tags = prose(), json_lines(), html()
  total = len((plain + lines + tags).encode("utf-8"))
  found = text_kinds.find_kinds([
      part_of(plain, "a"), part_of(tags, "b"), part_of(lines, "c")])
  assert [(kind.name, kind.file) for kind in found] == [
      ("JSON lines", "c"), ("HTML or XML", "b")]
  for kind, text in zip(found, (lines, tags)):
    assert kind.share == pytest.approx(len(text.encode("utf-8")) / total,
                                       abs=1e-6)


# ----------------------------------------------------------------- repetitions


@pytest.mark.parametrize("texts, documents, lines", [
    (["a b\nc\n\nd\n"], 0, 0), ([""], 0, 0), (["\n \n"], 0, 0),
    (["a b\nc\n\na  b\nc \n\nd\n"], 1 / 3, 1 / 5),
    (["a\nb\n\na\nc\n\na\nd\n"], 0, 2 / 6),
    (["x\n", "y\n", "x\n", "x\n"], 2 / 4, 2 / 4)])
def test_repeated_documents_and_lines(texts, documents, lines):
  found = repetitions.count(
      part_of(text, str(i)) for i, text in enumerate(texts))
  assert found == pytest.approx((documents, lines), abs=1e-6)


def test_parts_that_overlap_are_no_repetition():
  lines = b"".join(b"line %d\n" % i for i in range(100))
  ends = [lines.index(b"line %d\n" % i) for i in (0, 20, 40, 60)]
  parts = [Part("a", start, lines[start:end])
           for start, end in zip(ends, ends[2:])]
  assert repetitions.count(reversed(parts)) == (0, 0)
  assert repetitions.count([parts[0], parts[0]]) == (0, 0)
  other = parts[0]._replace(path="b")
  assert repetitions.count([parts[0], other]).lines == 0.5
