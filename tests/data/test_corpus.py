"""Files, splits and chunks: every line once, whatever the cut."""

import gzip
import os
import random

import pytest

from bert_e2e.common import file_io
from bert_e2e.config import ReaderConfig
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import line_cutter, readers, text_lines
from bert_e2e.data.corpus import Corpus

SPACES = ["", " ", "\t", "\u3000", "\u2028", "\x1c \x85", "\r"]


@pytest.fixture
def write(tmp_path):
  """Returns a function that writes a file and returns its path."""

  def write(name, data):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return str(path)

  return write


def random_text(rng, num_documents, prefix):
  """Returns text whose lines of text are all different."""
  lines = []
  for d in range(num_documents):
    for s in range(rng.randint(1, 30)):
      lines.append("%s %d %d %s" % (prefix, d, s, "wörd " * rng.randint(0, 9)))
    lines.extend(rng.choice(SPACES) for _ in range(rng.randint(1, 3)))
  text = "\n".join(lines)
  return text + rng.choice(["", "\n", "\n\n", "\r\n"])


def chunk_lines(chunk, **reader):
  """Returns the lines of a chunk."""
  return file_io.split_lines(corpus_lib.chunk_text(
      chunk, ReaderConfig(**reader)))


def texts(chunks):
  """Returns the stripped lines with text, in order."""
  return [
      line.strip() for chunk in chunks for line in chunk_lines(chunk)
      if line.strip()
  ]


def documents(lines):
  """Returns the documents as lists of stripped lines."""
  found = [[]]
  for line in lines:
    if line.strip():
      found[-1].append(line.strip())
    elif found[-1]:
      found.append([])
  return [d for d in found if d]


@pytest.mark.parametrize("seed", range(6))
def test_every_line_is_in_one_chunk_of_one_split(write, seed):
  """For sizes of splits and chunks that cut everywhere."""
  rng = random.Random(seed)
  content = [random_text(rng, rng.choice([0, 1, 5, 60]), "f%d" % i)
             for i in range(8)]
  files = [write("f%d.txt" % i, text) for i, text in enumerate(content)]
  packed = gzip.compress(random_text(rng, 40, "gz").encode("utf-8"))
  files.insert(3, write("packed.txt.gz", packed))
  content.insert(3, gzip.decompress(packed).decode("utf-8"))
  expected = [
      line.replace("\r", "").strip() for text in content
      for line in text.split("\n") if line.replace("\r", "").strip()
  ]
  whole = [d for text in content
           for d in documents(text.replace("\r", "").split("\n"))]
  for split_bytes in (97, 1000, 5000, 1 << 20):
    for lines_a_chunk in (1, 7, 1000):
      corpus = Corpus(files, chunk_lines=lines_a_chunk,
                      split_bytes=split_bytes)
      chunks = [c for s in corpus.splits() for c in corpus.chunks(s)]
      assert texts(chunks) == expected
      assert len({c.key for c in chunks}) == len(chunks)
      assert [d for c in chunks for d in documents(chunk_lines(c))] == whole
      assert corpus.num_cut_documents == 0


def test_chunks_have_their_lines(write):
  """A chunk ends with the document in which its last line lies."""
  lines = []
  for d in range(50):
    lines += ["d%d s%d" % (d, s) for s in range(9)] + [""]
  corpus = Corpus([write("a.txt", "\n".join(lines))], chunk_lines=25)
  chunks = list(corpus.chunks(corpus.splits()[0]))
  assert [len(chunk_lines(c)) for c in chunks] == [30] * 16 + [19]


def test_small_files_share_a_chunk(write):
  """A document a file, as many have it, still makes chunks of many."""
  files = [write("f%03d.txt" % i, "file %d\nsecond line\n" % i)
           for i in range(100)]
  corpus = Corpus(files)
  chunks = list(corpus.chunks(corpus.splits()[0]))
  assert len(chunks) == 1
  assert documents(chunk_lines(chunks[0])) == [
      ["file %d" % i, "second line"] for i in range(100)]


def test_a_document_beyond_the_cap_is_cut_and_warned_of(
    write, monkeypatch, caplog):
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 200)
  long = "".join("long %d\n" % i for i in range(400))
  path = write("a.txt", "short 1\nshort 2\n\n" + long + "\nlast 1\nlast 2\n")
  for split_bytes in (150, 700, 1 << 20):
    corpus = Corpus([path], chunk_lines=20, split_bytes=split_bytes)
    chunks = [c for s in corpus.splits() for c in corpus.chunks(s)]
    expected = "short 1,short 2," + long.replace("\n", ",") + "last 1,last 2"
    assert ",".join(texts(chunks)) == expected
    assert max(len(p.data) for c in chunks for p in c.parts) < 200 + 20 * 10
    starts = [chunk_lines(c)[0] for c in chunks]
    cut = [line for line in starts if line.startswith("long ")]
    assert len(cut) > 5 and "long 0" not in cut
    assert corpus.num_cut_documents == len(cut)
  assert any("cut number 1)" in r.getMessage() for r in caplog.records)


def test_a_document_that_a_splits_end_cuts_is_counted(write, monkeypatch):
  """Its lines are too long for a chunk to have its number of them."""
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 200)
  path = write("a.txt", "".join("%d %s\n" % (i, "x" * 90) for i in range(60)))
  corpus = Corpus([path], split_bytes=700)
  chunks = [c for s in corpus.splits() for c in corpus.chunks(s)]
  assert len(chunks) > 5
  assert corpus.num_cut_documents == len(chunks) - 1


def test_a_gzip_file_is_in_one_split(write):
  noise = bytes(random.Random(1).choices(range(33, 127), k=2000))
  files = [write("a.txt", "a\n" * 500), write("b.gz", gzip.compress(noise)),
           write("c.txt", "c\n" * 500), write(
               "d.gz", gzip.compress(noise[:100]))]
  corpus = Corpus(files, split_bytes=300)
  end_of_b = 1000 + os.path.getsize(files[1])
  splits = corpus.splits()
  assert [s.end for s in splits[:-1]] == [s.start for s in splits[1:]]
  assert [s.end for s in splits if s.end <= 1000] == [300, 600, 900]
  assert [s.end for s in splits if 1000 < s.end <= end_of_b] == [end_of_b]
  assert splits[-1].end == corpus.num_bytes
  assert all(s.end > s.start for s in splits)


def test_one_endless_line(write, monkeypatch):
  """No line end far and wide: the line stays whole."""
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 100)
  path = write("a.txt", "word " * 5000 + "\nnext\n")
  corpus = Corpus([path], split_bytes=1000)
  chunks = [c for s in corpus.splits() for c in corpus.chunks(s)]
  assert [len(t) for t in texts(chunks)] == [24999, 4]


def test_a_file_without_line_ends_is_refused(write, monkeypatch):
  monkeypatch.setattr(line_cutter, "MAX_LINE_BYTES", 3000)
  corpus = Corpus([write("mac.txt", "one\n" + "line\r" * 1000)],
                  split_bytes=1000)
  with pytest.raises(ValueError, match=r"mac\.txt has no line end.*from byte"):
    texts(c for s in corpus.splits() for c in corpus.chunks(s))


def test_each_byte_is_read_a_few_times_only(write, monkeypatch):
  """With lines almost as long as a split, and chunks of one line."""
  monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 12)
  monkeypatch.setattr(corpus_lib, "_BOUNDARY_BLOCK_BYTES", 1 << 8)
  read = []
  blocks = readers.TextFile.read_blocks

  def noting(*args, **options):
    for block in blocks(*args, **options):
      read.append(len(block))
      yield block

  monkeypatch.setattr(readers.TextFile, "read_blocks", noting)
  text = ("word " * 2000 + "\n") * 10 + "short\n\n" * 2000
  corpus = Corpus([write("a.txt", text)], chunk_lines=1, split_bytes=1 << 14)
  found = texts(c for s in corpus.splits() for c in corpus.chunks(s))
  assert len(found) == 2010
  # Each byte once, and at both ends of a split what leads to the boundary.
  assert sum(read) < 8 * len(text)


def test_lines_end_at_newline_only_and_cr_is_dropped(write):
  path = write("a.txt", "a\rb\r\n\u2028c\x0bd\n\re\n\r\n\x85\nf\r")
  lines = list(text_lines.read_lines(path))
  assert lines == ["ab", "\u2028c\x0bd", "e", "", "\x85", "f"]
  corpus = Corpus([path])
  assert chunk_lines(next(corpus.chunks(corpus.splits()[0]))) == lines


def test_a_rest_of_carriage_returns_is_no_line(write):
  assert list(text_lines.read_lines(write("a.txt", "a\n\r\r"))) == ["a"]


def test_read_lines_across_blocks(write, monkeypatch):
  monkeypatch.setattr(readers, "BLOCK_BYTES", 16)
  lines = ["x" * n for n in (0, 3, 40, 15, 16, 17, 0, 0, 200)]
  for end in ("", "\n"):
    path = write("a.txt", "\n".join(lines) + end)
    assert list(text_lines.read_lines(path)) == lines


def test_multibyte_characters_across_blocks(write, monkeypatch):
  monkeypatch.setattr(readers, "BLOCK_BYTES", 7)
  lines = ["汉字 кириллица €" * n for n in range(6)]
  assert list(text_lines.read_lines(write("a.txt", "\n".join(lines)))) == lines


def test_invalid_utf8_names_file_line_and_byte(write, monkeypatch):
  monkeypatch.setattr(readers, "BLOCK_BYTES", 64)
  good = "".join("ligne numéro %d\n" % i for i in range(100)).encode("utf-8")
  path = write("bad.txt", good + b"caf\xe9 au lait\n" + good)
  message = r"bad\.txt.*0xe9.*offset %d, line 101, byte 4" % (len(good) + 3)
  with pytest.raises(ValueError, match=message):
    list(text_lines.read_lines(path))
  corpus = Corpus([path], chunk_lines=10, split_bytes=500)
  with pytest.raises(ValueError, match=message):
    texts(c for s in corpus.splits() for c in corpus.chunks(s))
  replaced = [chunk_lines(c, invalid_utf8="replace") for s in corpus.splits()
              for c in corpus.chunks(s)]
  assert "caf\ufffd au lait" in [line for lines in replaced for line in lines]


def test_invalid_utf8_in_gzip(write):
  path = write("bad.gz", gzip.compress(b"one\ntwo\n\xff\n"))
  with pytest.raises(ValueError, match="offset 8, line 3"):
    list(text_lines.read_lines(path))


@pytest.mark.parametrize("data", [
    b"\x1f\x8bnot gzip at all", gzip.compress(b"line\n" * 1000)[:-20],
    gzip.compress(b"line\n" * 1000)[:15] + b"\0" * 30],
                         ids=["text", "cut", "zeros"])
def test_broken_gzip_is_one_error(write, data):
  path = write("broken.gz", data)
  with pytest.raises(ValueError, match=r"broken\.gz cannot be read"):
    list(text_lines.read_lines(path))


def test_refusals(write, tmp_path):
  with pytest.raises(ValueError, match="nowhere.txt cannot be read"):
    Corpus([str(tmp_path / "nowhere.txt")])
  with pytest.raises(ValueError, match="cannot be read"):
    Corpus([str(tmp_path)])
  with pytest.raises(ValueError, match=r"empty: .*empty.txt has 0 bytes"):
    Corpus([write("empty.txt", "")])
  with pytest.raises(ValueError, match="empty: no file"):
    Corpus([])
  with pytest.raises(ValueError, match="chunk_lines"):
    Corpus([write("a.txt", "a\n")], chunk_lines=0)


def test_a_file_counts_once(write):
  path = write("a.txt", "a\n")
  corpus = Corpus([path, path])
  assert corpus.files == [path]
  assert corpus.num_bytes == 2


def test_splits_need_sizes_only(write, monkeypatch):
  path = write("a.txt", "line of text\n" * 10000)
  corpus = Corpus([path], split_bytes=1000)
  monkeypatch.setattr(file_io, "open_binary", None)
  splits = corpus.splits()
  assert len(splits) == 130
  assert splits[-1].end == 130000


def test_splits_are_finer_for_many_hosts(write):
  path = write("a.txt", "line of text\n" * 100000)
  assert len(Corpus([path]).splits()) == 2
  assert len(Corpus([path], num_hosts=4).splits()) >= 32
