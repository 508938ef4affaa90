"""tables.py: CSV, TSV and Parquet."""

import builtins
import csv
import gzip
import io

import pytest
from record_files import MAKERS, file_of, parquet, plain, table

from bert_e2e.config import ReaderConfig
from bert_e2e.data import readers, records, text_lines
from bert_e2e.data.corpus import Corpus

TEXTS = ["one\ntwo, \"quoted\"", "", "three\r\n\r\n  four\n", "\u00e9\u4e2d",
         "tab\there", "\t \n"]
TABLES = ["a.csv", "a.tsv", "a.parquet"]
ALL = [*TABLES, "a.csv.gz", "a.tsv.bz2", "a.csv.xz"]


@pytest.fixture
def write(tmp_path):
  """Returns a function that writes a file and returns its TextFile."""

  def write(name, data, **options):
    (tmp_path / name).write_bytes(data)
    return readers.text_file(str(tmp_path / name), ReaderConfig(**options))

  return write


def whole(file, **how):
  return b"".join(file.read_blocks(**how))


@pytest.mark.parametrize("name", ALL)
def test_the_text_of_rows(write, name):
  file = write(name, file_of(name, TEXTS))
  assert file.format.name == name.split(".")[1]
  assert not file.is_splittable and file.has_records
  expected = plain(text for text in TEXTS if text.strip()).encode("utf-8")
  assert whole(file) == expected
  for start in range(0, len(expected) + 2, 5):
    assert file.read_text(start, 11) == expected[start:start + 11]
  blocks = list(file.read_blocks(block_bytes=8))
  assert len(blocks) > 2 and b"".join(blocks) == expected


@pytest.mark.parametrize("name", TABLES)
def test_the_column_has_a_name(write, name):
  extension = name.split(".")[1]
  data = MAKERS[extension](["one"], field="body")
  columns = '"id", "body"' + ', "other"' * (extension != "parquet")
  with pytest.raises(ValueError, match=r"%s has no column \"text\"; its "
                     "columns are %s. Pass the name .* --text_field" % (
                         name, columns)):
    whole(write(name, data))
  assert whole(write(name, data, text_field="body")) == b"one\n\n"


def test_the_module_csv_reads_the_same(write):
  """Quotes and line ends of any kind, blocks that end anywhere."""
  data = (b'\xef\xbb\xbf id ,text\r\n1,"a ""b"" c\r\nd"\n\n2,e "f" g\r3,'
          b'"x"y\n4,"only\rone"\n5, "z"\n6,last')
  rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
  expected = plain(row[1] for row in rows[1:] if row)
  for block_bytes in (4, 9, 1 << 20):
    file = write("a.csv", data)
    blocks = [data[i:i + block_bytes] for i in range(0, len(data), block_bytes)]
    found = [text for _, text in file.format.converter.rows(
        file, iter(blocks), None)]
    assert b"".join(text + b"\n\n" for text in found).decode() == expected


def test_a_long_field(write):
  text = "word " * 60000 + "end"
  assert whole(write("a.csv", table([text]))) == (text + "\n\n").encode()


WRONG = [
    ("a.csv", b'id,text\n"1\n",a\n2\n3,b\n', "a.csv, line 4: the row has 1 "
     "fields only, and \"text\" is field 2"),
    ("a.csv", b'id,text\n1,a\n2,b\n3,"open\nc\n',
     "a.csv, line 4: the quote that starts a field of the row does not end"),
    ("a.csv.gz", gzip.compress(b"id,text\n1,a\n2\n3,b\n"),
     "a.csv.gz, line 3: the row has"),
    ("a.parquet", ["a", None, "b"],
     "a.parquet, row 2: the field \"text\" is null"),
]


@pytest.mark.parametrize("name, data, said", WRONG,
                         ids=map(str, range(len(WRONG))))
def test_a_row_without_text_is_named_or_skipped(write, name, data, said):
  data = parquet(data) if isinstance(data, list) else data
  with pytest.raises(records.InvalidRecord) as caught:
    whole(write(name, data))
  assert said in str(caught.value)
  assert str(caught.value).endswith(
      "Or pass --invalid_records=skip to leave out such records.")
  skips = records.SkipLog()
  file = write(name, data, invalid_records="skip")
  assert whole(file, on_skip=skips) == b"a\n\nb\n\n"
  assert skips.count == 1


def test_what_no_record_can_be_skipped_for(write, monkeypatch):
  with pytest.raises(ValueError, match="a.csv has 2 columns \"text\""):
    whole(write("a.csv", b"text,text\n1,2\n", invalid_records="skip"))
  monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1000)
  data = b'text\nfirst\n"' + b"word word\n" * 200 + b'"\nlast\n'
  with pytest.raises(ValueError, match="a.csv, line 3: the row that starts "
                     "here has more than 1000 bytes. Does a quote"):
    whole(write("a.csv", data, invalid_records="skip"))
  data = b"text\nfirst\n" + b"word " * 900 + b"\nlast\n"
  with pytest.raises(ValueError, match="a.csv, line 3: the row"):
    whole(write("a.csv", data))


def test_empty_tables(write):
  for data in (b"", b"text\n", b"\n\n", b"id,text\n1,\n2, \n"):
    assert whole(write("a.csv", data)) == b""
  assert whole(write("a.parquet", b"")) == b""
  with pytest.raises(ValueError, match="corpus is empty"):
    Corpus([write("a.csv", b"").path])


@pytest.mark.parametrize("name", TABLES)
def test_invalid_utf8_names_the_record(write, name):
  if name == "a.parquet":
    import pyarrow
    import pyarrow.parquet
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array(
        [b"caf\xc3\xa9\xc3\xa8", b"caf\xe9"], type=pyarrow.binary())}), stream)
    data, place = stream.getvalue(), "row 2"
  else:
    data = b'text\n"caf\xc3\xa9\n\xc3\xa8"\ncaf\xe9\n'
    place = "line 4"
  file = write(name, data)
  with pytest.raises(text_lines.InvalidUtf8) as caught:
    list(text_lines.read_texts(file.path))
  assert "%s, %s: the text of the record is not UTF-8: byte 0xe9" % (
      name, place) in str(caught.value)
  assert str(caught.value).endswith(
      "--invalid_utf8=replace to drop such bytes.")
  text = "".join(text_lines.read_texts(
      file.path, ReaderConfig(invalid_utf8="replace")))
  assert text.split() == ["caf\u00e9\u00e8" if name == "a.parquet" else
                          "caf\u00e9", *["\u00e8"][name == "a.parquet":],
                          "caf\ufffd"]


# -------------------------------------------------------------------- Parquet


def test_kinds_of_parquet_columns(write):
  import pyarrow
  texts = ["one", "two", "one"]
  for column in (texts, pyarrow.array(texts, type=pyarrow.large_string()),
                 pyarrow.array(texts).dictionary_encode(),
                 pyarrow.array([t.encode() for t in texts])):
    file = write("a.parquet", parquet(column))
    assert whole(file).split() == [b"one", b"two", b"one"]
  for column in ([1, 2], [["a"], ["b"]], [{"a": "b"}] * 2):
    with pytest.raises(ValueError, match="a.parquet: the column \"text\" is of "
                       "the type .*, not string"):
      whole(write("a.parquet", parquet(column)))


def test_parquet_is_told_from_other_files(write):
  with pytest.raises(ValueError, match="a.parquet is not a Parquet file"):
    write("a.parquet", b"text\n")
  with pytest.raises(ValueError, match="compressed with gzip; decompress it"):
    write("a.parquet.gz", gzip.compress(parquet(["a"])))
  data = parquet(["a"])
  with pytest.raises(ValueError, match="a.txt is a Parquet file, not text: "
                     "pass --input_format=parquet"):
    write("a.txt", data)
  assert whole(write("a.txt", data, input_format="parquet")) == b"a\n\n"
  with pytest.raises(ValueError, match="a.parquet cannot be read"):
    whole(write("a.parquet", data[:len(data) // 2]))


def test_parquet_without_pyarrow(write, monkeypatch):
  real = builtins.__import__

  def no_pyarrow(name, *args, **kwargs):
    if name.split(".")[0] == "pyarrow":
      raise ImportError(name)
    return real(name, *args, **kwargs)

  data = parquet(["a"])
  monkeypatch.setattr(builtins, "__import__", no_pyarrow)
  with pytest.raises(ValueError, match="needs pyarrow .pip install pyarrow.. "
                     "Or convert it to JSON lines.*pandas"):
    write("a.parquet", data)


# ------------------------------------------------------- what is on the disk


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet",
                                  "a.jsonl.gz", "a.jsonl"])
def test_how_much_of_the_file_holds_a_text(write, name):
  """Also if other columns are larger than the text."""
  texts = ["%d " % (i * 7919 % 100003) * (i % 50) for i in range(6000)]
  file = write(name, file_of(name, texts))
  size = len(b"".join(readers.read_raw(file.path, 0, 1 << 30).splitlines(True)))
  text_bytes = len(whole(file))
  assert file.disk_ratio() * text_bytes == pytest.approx(size, rel=0.15)


def test_other_columns_are_on_the_disk(write):
  data = b"text,other\n" + b"".join(
      b"word %d,%s\n" % (i, b"x" * 500) for i in range(4000))
  file = write("a.csv", data)
  assert file.disk_ratio() * len(whole(file)) == pytest.approx(
      len(data), rel=0.05)
