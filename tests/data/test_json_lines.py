"""json_lines.py: the text of records takes the bytes of their lines."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_files import file_of, json_lines, plain

from bert_e2e.config import ReaderConfig
from bert_e2e.data import json_lines as json_lines_lib
from bert_e2e.data import line_cutter, readers, records, text_lines
from bert_e2e.data.corpus import Corpus

TEXTS = ["one\ntwo", "", "three \"3\"\r\n\r\n  four\n",
         "\u00e9\u4e2d\U0001f600", "five\n\nsix", "\t \n"]


@pytest.fixture
def write(tmp_path):
  """Returns a function that writes JSON lines and returns their TextFile."""

  def write(data, name="a.jsonl", **options):
    (tmp_path / name).write_bytes(data)
    return readers.text_file(str(tmp_path / name), ReaderConfig(**options))

  return write


def whole(file):
  return b"".join(file.read_blocks())


def lines_of(data):
  """Returns the lines of documents, lists of str."""
  return [[line for line in document.split("\n") if line.strip()]
          for document in plain_documents(data.decode("utf-8"))]


def plain_documents(text):
  found = [[]]
  for line in text.split("\n"):
    if line.strip():
      found[-1].append(line)
    elif found[-1]:
      found.append([])
  return ["\n".join(lines) for lines in found if lines]


@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\n\n \t\n"])
def test_the_text_has_the_bytes_of_the_file(write, ensure_ascii, ends):
  data = json_lines(TEXTS, ensure_ascii=ensure_ascii).replace(
      b"\n", ends.encode())
  for content in (data, data[:-1], b"\xef\xbb\xbf" + data):
    text = whole(write(content))
    assert len(text) == len(content)
    assert lines_of(text) == [
        ["one", "two"], ["three \"3\"", "four"], ["\u00e9\u4e2d\U0001f600"],
        ["five", "six"]]
    # At the granularity of records, an offset is one into the file.
    place = 0
    for line in content.split(b"\n")[:-1]:
      place += len(line) + 1
      assert text[place - 1:place] == b"\n"


def test_the_shortest_records(write):
  data = b'{"":"ab"}\n{"":""}\n\n{"":"c"}'
  text = whole(write(data, text_field=""))
  assert text == b"ab\n      \n" + b"       \n" + b"\n" + b"c\n     \n"


@pytest.mark.parametrize("seed_text", TEXTS)
def test_a_range_is_the_same_wherever_blocks_end(write, monkeypatch, seed_text):
  data = json_lines([seed_text, "x" * 50, *TEXTS])
  file = write(data)
  text = whole(file)
  starts = {0} | {i + 1 for i, byte in enumerate(data) if byte == 10}
  for block_bytes in (1, 7, 64):
    monkeypatch.setattr(readers, "BLOCK_BYTES", block_bytes)
    for start in range(0, len(data) + 1, 3):
      end = start + 41
      found = file.read_text(start, 41)
      assert len(found) == min(41, len(data) - start)
      next_start = min((s for s in starts if s >= start), default=len(data))
      rest = min(next_start, end, len(data)) - start
      assert not found[:rest].strip(b" \n")
      assert found[rest:] == text[start + rest:end]
      if 2 <= rest < min(41, len(data) - start):
        assert found[:rest].endswith(b"\n\n")


def test_a_partial_record_is_not_parsed(write):
  file = write(b'{"text": "a"}\nno JSON at all\n{"text": "b"}\n')
  for start in range(15, 28):
    assert file.read_text(start, 99).split() == [b"b"]
  with pytest.raises(records.InvalidRecord, match="line 2"):
    file.read_text(14, 99)
  assert file.read_text(0, 14) == b"a\n           \n"


def test_the_next_record(write, monkeypatch):
  data = json_lines(TEXTS)
  file = write(data)
  starts = [0, *(i + 1 for i, byte in enumerate(data) if byte == 10)]
  for block_bytes in (3, 1 << 14):
    monkeypatch.setattr(json_lines_lib, "_SEARCHED_BYTES", block_bytes)
    for offset in range(len(data) + 1):
      assert file.next_record(offset) == min(s for s in starts if s >= offset)
  assert write(data[:-1]).next_record(len(data) - 2) == len(data) - 1


WRONG = [
    (b"no JSON", "not valid JSON \\(Expecting value, at character 1\\)"),
    (b'{"text": "a\tb"}', "not valid JSON \\(Invalid control character"),
    (b"[" * 200000, "nested too deeply|not valid JSON"),
    (b"[1, 2]", "is a list, not an object with a field \"text\""),
    (b"null", "is null, not"), (b"3", "is a number, not"),
    (b'"text"', "is a string, not"), (b"true", "is a boolean, not"),
    (b'{"text": null}', "the field \"text\" is null, not a string"),
    (b'{"text": ["a"]}', "the field \"text\" is a list, not a string"),
    (b'{"text": 123456789012345678901234567890}', "is a number, not"),
    (b"{}", "its fields are none. Pass the name"),
    (b'{"id": 3, "title": "a", "body": "a longer one"}',
     "the record has no field \"text\"; its fields are \"id\", \"title\", "
     "\"body\". Pass --text_field=body. Or pass --invalid_records=skip"),
]


@pytest.mark.parametrize("line, said", WRONG)
@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz"])
def test_a_record_without_text_is_named(write, line, said, name):
  data = b'\n{"text": "a"}\n' + line + b'\n{"text": "b"}\n'
  if name.endswith("gz"):
    import gzip
    data = gzip.compress(data)
  with pytest.raises(records.InvalidRecord, match=r"%s, line 3: .*%s" % (
      name.replace(".", r"\."), said)):
    whole(write(data, name))


@pytest.mark.parametrize("line, said", WRONG)
def test_a_record_without_text_may_be_skipped(write, line, said, caplog):
  data = b'{"text": "a"}\n' + (line + b"\n") * 12 + b'{"text": "b"}\n'
  file = write(data, invalid_records="skip")
  skips = records.SkipLog()
  text = b"".join(file.read_blocks(on_skip=skips))
  assert text.split() == [b"a", b"b"] and len(text) == len(data)
  assert skips.count == 12
  logged = [record.getMessage() for record in caplog.records]
  assert ["skipped record number %d)" % n in said
          for n, said in zip((1, 10), logged)] == [True, True]
  assert len(logged) == 2 and "a.jsonl, line 2: " in logged[0]
  # Records after the range are no part of it.
  skips = records.SkipLog()
  list(file.read_blocks(0, 14, on_skip=skips))
  assert skips.count == 0


def test_a_record_that_is_too_long_is_named(write, monkeypatch):
  monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1000)
  data = json_lines(["short", "long " * 300, "short"])
  monkeypatch.setattr(readers, "BLOCK_BYTES", 256)
  for options in ({}, {"invalid_records": "skip"}):
    file = write(data, **options)
    said = r"a\.jsonl, line 2: the record has more than 1000 bytes"
    with pytest.raises(ValueError, match=said):
      whole(file)
    with pytest.raises(ValueError, match=said):
      file.next_record(60)
    assert file.read_text(len(data) - 60, 99).split() == [b"short"]


# -------------------------------------------------------------- invalid UTF-8


def invalid(file):
  with pytest.raises(text_lines.InvalidUtf8) as caught:
    list(text_lines.read_texts(file.path, file.options))
  return str(caught.value)


def test_invalid_utf8_names_the_record(write):
  lines = [b'{"text": "caf\xc3\xa9 one\\ntwo"}\n'] * 3
  lines[1] = b'{"text": "one\\ncaf\xe9 au lait"}\n'
  said = invalid(write(b"".join(lines)))
  assert "a.jsonl, line 2: the text of the record is not UTF-8" in said
  assert "byte 0xe9" in said
  assert said.endswith("pass --invalid_utf8=replace to drop such bytes.")
  file = write(b"".join(lines), invalid_utf8="replace")
  text = "".join(text_lines.read_texts(file.path, file.options))
  assert text.split() == ["caf\u00e9", "one", "two", "one", "caf\ufffd", "au",
                          "lait", "caf\u00e9", "one", "two"]


def test_a_file_in_another_encoding_is_to_be_converted(write):
  said = invalid(write(json.dumps(
      {"text": "Les \u00e9l\u00e8ves ont \u00e9t\u00e9 re\u00e7us"},
      ensure_ascii=False).encode("latin-1") + b"\n"))
  assert "iconv -f CP1252 -t UTF-8" in said


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc80", "\\udfff\\ud83d"])
def test_half_a_character_is_invalid(write, escape):
  data = ('{"text": "a\\n%s b"}\n' % escape).encode("ascii") * 2
  said = invalid(write(data))
  assert "line 1: " in said and 'such as "\\ud800"' in said
  assert said.endswith("pass --invalid_utf8=replace to drop such bytes.")
  file = write(data, invalid_utf8="replace")
  text = "".join(text_lines.read_texts(file.path, file.options))
  assert set(text.split()) == {"a", "\ufffd" * (len(escape) // 6), "b"}


# ------------------------------------------------------------------ properties

ALPHABET = "ab\u00e9\u4e2d\U0001f600\n\r \"\\\t\u2028\x00"
RECORDS = st.lists(st.tuples(
    st.text(alphabet=ALPHABET, max_size=40),
    st.booleans(), st.sampled_from(["", "\n", " \r\n", "[1]\n", "{}\n"])),
                   max_size=12)


@settings(max_examples=60, deadline=None)
@given(found=RECORDS, split_bytes=st.integers(1, 90),
       chunk_lines=st.integers(1, 5), has_end=st.booleans())
def test_every_record_is_in_one_chunk(
    tmp_path_factory, found, split_bytes, chunk_lines, has_end):
  """For any division, with other lines between the records."""
  lines = "".join(
      json.dumps({"text": text}, ensure_ascii=ascii) + "\n" + between
      for text, ascii, between in found)
  data = (lines if has_end else lines.rstrip("\n")).encode("utf-8")
  expected = [d.split("\n") for d in plain(
      text for text, _, _ in found).split("\n\n") if d]
  path = tmp_path_factory.mktemp("data") / "a.jsonl"
  path.write_bytes(data or b"\n")
  reader = ReaderConfig(invalid_records="skip")
  corpus = Corpus([str(path)], chunk_lines=chunk_lines,
                  split_bytes=split_bytes, reader=reader)
  chunks = [c for split in corpus.splits() for c in corpus.chunks(split)]
  parts = [part for chunk in chunks for part in chunk.parts]
  assert b"".join(part.data for part in parts) == whole(
      readers.text_file(str(path), reader))
  assert [part.offset for part in parts] == [
      sum(len(part.data) for part in parts[:i]) for i in range(len(parts))]
  documents = [
      [line.strip() for line in document]
      for chunk in chunks for document in lines_of(b"".join(
          part.data for part in chunk.parts))]
  assert [d for d in documents if d] == expected
  assert corpus.skips.count == sum(
      between in ("[1]\n", "{}\n") for _, _, between in found)
  assert corpus.num_cut_documents == 0


def test_a_split_never_cuts_a_long_record(write, monkeypatch):
  """Within a pass, its text is cut as that of a long document is."""
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 200)
  texts = ["".join("line %d of %d\n" % (i, j) for i in range(100))
           for j in range(3)]
  file = write(json_lines(texts))
  for split_bytes in (150, 700, 1 << 20):
    corpus = Corpus([file.path], chunk_lines=20, split_bytes=split_bytes)
    starts = [0, *(i + 1 for i, byte in enumerate(json_lines(texts))
                   if byte == 10)]
    assert {corpus.boundary(split.start).offset for split in corpus.splits()
           } <= set(starts)
    chunks = [c for split in corpus.splits() for c in corpus.chunks(split)]
    found = b"".join(p.data for c in chunks for p in c.parts)
    assert found == whole(file)
    assert len(chunks) > 9 and corpus.num_cut_documents > 5


def test_formats_go_by_the_extension(write):
  for name, expected in (
      ("a.jsonl", "jsonl"), ("a.JSONL", "jsonl"), ("a.ndjson", "jsonl"),
      ("a.jsonl.txt", "text"), ("jsonl", "text"), ("a.json", "text")):
    assert write(b'{"text": "a"}\n', name).format.name == expected
  file = write(file_of("a.jsonl.xz", ["a"]), "a.jsonl.xz")
  assert (file.format.name, file.compression.name) == ("jsonl", "xz")
  assert not file.is_splittable and not file.splits_by_record
  assert write(b"a\n", "a.jsonl", input_format="text").format.name == "text"
  assert write(b'{"text": "a"}\n', "a.txt",
               input_format="jsonl").splits_by_record
