"""readers.py: its tables are the only place that knows how files are read."""

import ast
import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import sqlite3
import tarfile
import tempfile
import zipfile
from typing import Callable, Dict, Tuple

import pytest
from program import ROOT

from bert_e2e.common import file_io
from bert_e2e.data import file_types, preflight, readers, text_lines
from bert_e2e.data import stream as stream_lib
from bert_e2e.data.corpus import Corpus

LINES = b"".join(b"line %d of the text\n" % i for i in range(3000))
COMPRESSORS: Dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE), "txt": bytes}
COMPRESSED = ["a.gz", "a.bz2", "a.xz", "a.lzma"]


@pytest.fixture
def write(tmp_path):
  """Returns a function that writes a compressed file and returns its path."""

  def write(name, data=LINES):
    (tmp_path / name).write_bytes(COMPRESSORS[name.split(".")[-1]](data))
    return str(tmp_path / name)

  return write


@pytest.mark.parametrize("suffix, name", [
    ("txt", "none"), ("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz"),
    ("lzma", "xz")])
@pytest.mark.parametrize("data", [LINES, b"x", b""])
def test_the_compression_is_recognized_by_the_content(
    tmp_path, suffix, name, data):
  """Whatever the file is called."""
  for called in ("a", "a.txt", "a.GZ", "a.bz2", "b.gz"):
    path = tmp_path / called
    path.write_bytes(COMPRESSORS[suffix](data))
    file = readers.text_file(str(path))
    assert (file.compression.name, file.format.name) == (name, "text")
    assert b"".join(file.read_blocks()) == data


@pytest.mark.parametrize("start", [
    b"BZh9 is no header", b"PK or not", b"]x", b"7zip", b"%PDF", b"Rar!"])
def test_text_may_start_like_another_format(write, start):
  path = write("a.txt", start + LINES)
  assert readers.text_file(path).read_text(0, 99) == (start + LINES)[:99]


def test_a_file_that_changes_is_recognized_again(write, tmp_path):
  path = write("a.gz")
  assert readers.text_file(path).compression.name == "gzip"
  (tmp_path / "a.gz").write_bytes(b"text\n")
  assert readers.text_file(path).compression.name == "none"


@pytest.mark.parametrize("name", ["a.txt", *COMPRESSED])
def test_all_formats_give_the_same_text(write, name, monkeypatch):
  path = write(name)
  file = readers.text_file(path)
  assert b"".join(file.read_blocks()) == LINES
  assert file.read_text(0, 100) == LINES[:100]
  monkeypatch.setattr(readers, "BLOCK_BYTES", 1000)
  blocks = list(file.read_blocks(0, 2500, block_bytes=300))
  assert list(map(len, blocks)) == [300, 600, 1000, 600]
  assert b"".join(blocks) == LINES[:2500]
  lines = list(text_lines.read_lines(path))
  assert lines == LINES.decode("ascii").splitlines()


def test_text_is_read_from_any_byte(write):
  file = readers.text_file(write("a.txt"))
  assert file.read_text(77, 1000) == LINES[77:1077]
  assert b"".join(file.read_blocks(len(LINES) - 5)) == LINES[-5:]
  assert file.read_text(len(LINES), 5) == b""


def test_raw_bytes_are_those_on_disk(write):
  path = write("a.gz")
  data = open(path, "rb").read()
  assert readers.read_raw(path, 3, 50) == data[3:50]


def test_a_gzip_file_states_the_size_of_its_text(write):
  path = write("a.gz")
  kind = readers.text_file(path).compression
  assert kind.stated_bytes(path, file_io.size(path)) == len(LINES)
  path = write("a.txt")
  assert readers.text_file(path).compression.stated_bytes(path, 9) is None


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_file_is_one_error(write, name, damage):
  path = write(name)
  data = open(path, "rb").read()
  with open(path, "wb") as stream:
    stream.write(data[:len(data) // 2] if damage == "cut" else
                 data[:40] + bytes(200) + data[240:])
  with pytest.raises(ValueError, match=r"a\.\w+ cannot be read"):
    list(readers.text_file(path).read_blocks())


def test_a_missing_file_is_one_error(tmp_path):
  with pytest.raises(ValueError, match=r"none\.txt cannot be read"):
    readers.text_file(str(tmp_path / "none.txt"))


@pytest.fixture
def with_turned(monkeypatch):
  """A compression more: a row of the table. Each byte is turned."""

  def turn(data):
    return bytes(byte ^ 0x80 for byte in data)

  class Turned(io.BytesIO):

    def __init__(self, stream):
      super().__init__(turn(stream.read()))

  monkeypatch.setattr(readers, "COMPRESSIONS", (
      readers.Compression(
          "turned", lambda path, head: path.endswith(".turned"), (".turned",),
          Turned), *readers.COMPRESSIONS))
  monkeypatch.setitem(COMPRESSORS, "turned", turn)
  readers._text_file.cache_clear()


def test_a_row_is_all_that_a_compression_needs(with_turned, write, tmp_path):
  """Splits, chunks, the stream and the preflight follow the table."""
  name = "a.turned"
  words = ["w%d" % i for i in range(3000)]
  rng = random.Random(5)
  text = "".join(
      " ".join(rng.choice(words) for _ in range(8)) + "\n" * rng.choice((1, 2))
      for _ in range(4000)).encode("ascii")
  vocab = tmp_path / "vocab"
  vocab.write_text("\n".join(
      ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
  options = stream_lib.StreamOptions(str(vocab))
  found = {}
  for path in (write("a.txt", text), write(name, text)):
    corpus = Corpus([path], split_bytes=1 << 20)
    assert len(corpus.splits()) == 1
    checked = preflight.check_text(corpus, options)
    examples = list(stream_lib.ExampleStream(
        corpus, options, num_epochs=1).examples())
    found[path] = examples, checked._replace(num_bytes=0)
  of_text, of_format = found.values()
  assert of_text == of_format
  assert of_text[1].examples_per_epoch == len(of_text[0]) > 100
  corpus = Corpus([write("b.txt", text), write(name, text)], split_bytes=999)
  splits = corpus.splits()
  assert sum(split.start >= len(text) for split in splits) <= 1 < len(splits)
  estimated = preflight.check_text(
      Corpus([write(name, text)]), options, max_bytes=len(text) // 2)
  assert estimated.is_estimate
  assert estimated.lines == pytest.approx(text.count(b"\n"), rel=0.1)


# ------------------------------------------------------------- what is no text


def tar(mode="w"):
  stream = io.BytesIO()
  with tarfile.open(mode=mode, fileobj=stream) as archive:
    member = tarfile.TarInfo("a.txt")
    member.size = len(LINES)
    archive.addfile(member, io.BytesIO(LINES))
  return stream.getvalue()


def zipped(*names):
  stream = io.BytesIO()
  with zipfile.ZipFile(stream, "w") as archive:
    for name in names:
      archive.writestr(name, LINES)
  return stream.getvalue()


def database():
  with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "a")
    connection = sqlite3.connect(path)
    connection.execute("create table t (x text)")
    connection.commit()
    connection.close()
    with open(path, "rb") as stream:
      return stream.read()


REFUSED: Dict[str, Tuple[Callable[[], bytes], str]] = {
    "tar": (tar, "is a tar archive.*unpack it"),
    "tar.gz": (lambda: tar("w:gz"), "contains a tar archive.*unpack it"),
    "tar.bz2": (lambda: tar("w:bz2"), "contains a tar archive"),
    "tar.xz": (lambda: tar("w:xz"), "contains a tar archive"),
    "zip": (lambda: zipped("a.txt"), "is a ZIP archive.*unpack it"),
    "docx": (lambda: zipped("[Content_Types].xml", "word/document.xml"),
             "is a Word, Excel or PowerPoint document.*export its text"),
    "odt": (lambda: zipped("mimetype"), "is an OpenDocument or EPUB document"),
    "twice": (lambda: gzip.compress(gzip.compress(LINES)),
              "contains data compressed with gzip.*decompress it"),
    "zst": (lambda: b"\x28\xb5\x2f\xfd\x04\x58" + LINES,
            "compressed with zstd"),
    "lz4": (lambda: b"\x04\x22\x4d\x18\x64@" + LINES, "compressed with lz4"),
    "7z": (lambda: b"7z\xbc\xaf\x27\x1c\x00\x04" + LINES, "is a 7z archive"),
    "pdf": (lambda: b"%PDF-1.5\n" + LINES, "is a PDF document.*pdftotext"),
    "doc": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + LINES, "is a Word"),
    "parquet": (lambda: b"PAR1\x15\x04" + LINES, "is a Parquet file.*parquet"),
    "arrow": (lambda: b"\xff\xff\xff\xff\x10\x02\x00\x00" + LINES,
              "is an Arrow"),
    "sqlite": (database, "is a SQLite database"),
    "pickle": (lambda: pickle.dumps([LINES], protocol=2), "a Python pickle"),
    "pickle4": (lambda: pickle.dumps([LINES], protocol=4), "a Python pickle"),
    "png": (lambda: b"\x89PNG\r\n\x1a\n" + LINES, "is an image.*remove it"),
    "tfrecord.gz": (lambda: gzip.compress(
        b"\x40\x01\x00\x00\x00\x00\x00\x00abcd\x0a\xbd" + LINES),
                    "contains a TFRecord file.*uncompressed TFRecords"),
}


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_other_files_are_refused_with_what_they_are(tmp_path, kind):
  content, said = REFUSED[kind]
  path = tmp_path / "a.txt"  # The name does not tell.
  path.write_bytes(content())
  for function in (lambda path: readers.text_file(path),
                   lambda path: Corpus([path]),
                   lambda path: list(text_lines.read_lines(path))):
    with pytest.raises(ValueError, match=r"a\.txt .*" + said) as caught:
      function(str(path))
    assert len(str(caught.value)) < 250 + len(str(path))


def test_each_type_has_a_name_and_a_remedy():
  for row in file_types.TYPES:
    assert not row.signature.match(LINES) and not row.signature.match(b"")
    assert row.name and row.remedy and not row.remedy.endswith(".")


def test_no_other_module_knows_a_format():
  """Neither by a row nor by a suffix."""
  for where in ("bert_e2e/data", "bert_e2e/training", "."):
    directory = os.path.join(ROOT, where)
    for name in sorted(os.listdir(directory)):
      path = os.path.join(directory, name)
      if not name.endswith(".py") or path.endswith("data/readers.py"):
        continue
      with open(path, encoding="utf-8") as stream:
        tree = ast.parse(stream.read())
      strings = {node.s for node in ast.walk(tree) if isinstance(node, ast.Str)}
      assert not {".gz", ".bz2", ".xz"} & strings, path
