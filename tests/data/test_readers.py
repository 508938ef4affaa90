"""readers.py: the table of input formats is the only place that knows them."""

import ast
import bz2
import gzip
import os
import random
from typing import Callable, Dict

import pytest
from program import ROOT

from bert_e2e.common import file_io
from bert_e2e.data import preflight, readers, text_lines
from bert_e2e.data import stream as stream_lib
from bert_e2e.data.corpus import Corpus

LINES = b"".join(b"line %d of the text\n" % i for i in range(3000))
BZIP2 = readers.Format("bzip2", (".bz2",), bz2.BZ2File, compress=bz2.compress)
COMPRESSORS: Dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "txt": bytes}


@pytest.fixture
def with_bzip2(monkeypatch):
  """A format more: a row of the table."""
  monkeypatch.setattr(readers, "FORMATS", (BZIP2, *readers.FORMATS))


@pytest.fixture
def write(tmp_path):
  """Returns a function that writes a compressed file and returns its path."""

  def write(name, data=LINES):
    (tmp_path / name).write_bytes(COMPRESSORS[name.split(".")[-1]](data))
    return str(tmp_path / name)

  return write


@pytest.mark.parametrize("path, name", [
    ("a.txt", "text"), ("a", "text"), ("gz", "text"), ("a.gz.txt", "text"),
    ("a.gz", "gzip"), ("gs://bucket/dir.txt/a.txt.gz", "gzip")])
def test_the_format_is_recognized_by_the_suffix(path, name):
  assert readers.format_of(path).name == name


@pytest.mark.parametrize("name", ["a.txt", "a.gz", "a.bz2"])
def test_all_formats_give_the_same_text(with_bzip2, write, name, monkeypatch):
  path = write(name)
  assert b"".join(readers.read_blocks(path)) == LINES
  assert readers.read_text(path, 0, 100) == LINES[:100]
  monkeypatch.setattr(readers, "BLOCK_BYTES", 1000)
  blocks = list(readers.read_blocks(path, 0, 2500, block_bytes=300))
  assert list(map(len, blocks)) == [300, 600, 1000, 600]
  assert b"".join(blocks) == LINES[:2500]
  lines = list(text_lines.read_lines(path))
  assert lines == LINES.decode("ascii").splitlines()


def test_text_is_read_from_any_byte(write):
  path = write("a.txt")
  assert readers.read_text(path, 77, 1000) == LINES[77:1077]
  assert b"".join(readers.read_blocks(path, len(LINES) - 5)) == LINES[-5:]
  assert readers.read_text(path, len(LINES), 5) == b""


def test_raw_bytes_are_those_on_disk(write):
  path = write("a.gz")
  data = open(path, "rb").read()
  assert readers.read_raw(path, 3, 50) == data[3:50]


def test_a_gzip_file_states_the_size_of_its_text(write):
  path = write("a.gz")
  kind = readers.format_of(path)
  assert kind.stated_text_bytes(path, file_io.size(path)) == len(LINES)
  assert readers.format_of("a.txt").stated_text_bytes("a.txt", 9) is None


@pytest.mark.parametrize("name", ["a.gz", "a.bz2"])
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_file_is_one_error(with_bzip2, write, name, damage):
  path = write(name)
  data = open(path, "rb").read()
  with open(path, "wb") as stream:
    stream.write(data[:len(data) // 2] if damage == "cut" else
                 data[:40] + bytes(200) + data[240:])
  with pytest.raises(ValueError, match=r"a\.(gz|bz2) cannot be read"):
    list(readers.read_blocks(path))


def test_a_missing_file_is_one_error(tmp_path):
  with pytest.raises(ValueError, match=r"none\.txt cannot be read"):
    list(readers.read_blocks(str(tmp_path / "none.txt")))


def test_a_row_is_all_that_a_format_needs(with_bzip2, write, tmp_path):
  """Splits, chunks, the stream and the preflight follow the table."""
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
  for name in ("a.txt", "a.bz2"):
    corpus = Corpus([write(name, text)], split_bytes=1 << 20)
    assert len(corpus.splits()) == 1
    checked = preflight.check_text(corpus, options)
    examples = list(stream_lib.ExampleStream(
        corpus, options, num_epochs=1).examples())
    found[name] = examples, checked._replace(num_bytes=0)
  assert found["a.txt"] == found["a.bz2"]
  assert found["a.txt"][1].examples_per_epoch == len(found["a.txt"][0]) > 100
  corpus = Corpus([write("b.txt", text), write("a.bz2", text)], split_bytes=999)
  splits = corpus.splits()
  assert sum(split.start >= len(text) for split in splits) <= 1 < len(splits)
  estimated = preflight.check_text(
      Corpus([write("a.bz2", text)]), options, max_bytes=len(text) // 2)
  assert estimated.is_estimate
  assert estimated.lines == pytest.approx(text.count(b"\n"), rel=0.1)


def test_no_other_module_knows_a_suffix():
  """Neither of a row nor of any other format."""
  for where in ("bert_e2e/data", "bert_e2e/training", "."):
    directory = os.path.join(ROOT, where)
    for name in sorted(os.listdir(directory)):
      path = os.path.join(directory, name)
      if not name.endswith(".py") or path.endswith("data/readers.py"):
        continue
      with open(path, encoding="utf-8") as stream:
        tree = ast.parse(stream.read())
      strings = {node.s for node in ast.walk(tree) if isinstance(node, ast.Str)}
      assert not {".gz", ".bz2"} & strings, path
