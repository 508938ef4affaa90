"""Examples of records: those of the same documents in plain text."""

import collections
import csv
import dataclasses
import io
import json
import random
from pydoc_data import topics

import pyarrow.parquet
import pytest
from record_files import file_of, json_lines, plain
from stream_corpus import (
  FILLERS,
  KNOWN_WORKERS,
  lines_used,
  once,
  seen,
)

import create_pretraining_data as cpd
import tokenization
from bert_e2e.config import ReaderConfig
from bert_e2e.data import (
  lending,
  line_cutter,
  preflight,
  records,
  resume,
  text_lines,
)
from bert_e2e.data import stream as es
from bert_e2e.data.text_source import TextSource, take_write_2_flow

NAMES = ["a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.jsonl.gz", "a.csv.bz2"]


def documents(maker, count, seed=1):
  """Returns documents of unique lines, with blank lines inside."""
  rng = random.Random(seed)
  return [maker.lines(rng.randint(1, 6)).replace(
      "\n", "\n" * rng.randint(1, 2)) for _ in range(count)]


def stream_of(maker, num_epochs=1, reader=None, held_out=None, num_workers=0,
              shard=es.Shard(), **corpus_options):
  reader = reader or {}
  options = maker.options(**reader)
  return es.ExampleStream(
      maker.corpus(reader=options.reader, **corpus_options), options,
      num_epochs=num_epochs, num_workers=num_workers, shard=shard,
      **({"held_out": held_out} if held_out else {}))


@pytest.mark.parametrize("name", NAMES)
def test_the_documents_are_those_of_plain_text(maker, name):
  """Chunks start elsewhere, so pairs differ, but not what they are made of."""
  texts = documents(maker, 60)
  maker.write("plain.txt", plain(texts))
  expected = TextSource(maker.files, maker.options()).document_hashes()
  maker.files[:] = [str(maker.folder / name)]
  (maker.folder / name).write_bytes(file_of(name, texts))
  for split_bytes, chunk_lines in ((None, 5), (150, 3)):
    first, both = (list(stream_of(
        maker, num_epochs, split_bytes=split_bytes,
        chunk_lines=chunk_lines).examples()) for num_epochs in (1, 2))
    assert both[:len(first)] == first
    for examples in (first, both[len(first):]):
      assert lines_used(examples) == once(maker.num_lines)
    assert first != both[len(first):]
  assert TextSource(maker.files, maker.options()).document_hashes() == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_whole_texts_are_the_same(maker, name):
  """create_pretraining_data.py has no chunks, so nothing differs at all."""
  texts = documents(maker, 40)
  paths = maker.write("plain.txt", plain(texts)), str(maker.folder / name)
  (maker.folder / name).write_bytes(file_of(name, texts))
  tokenizer = cpd.packing_tokenizer(maker.vocab_file)
  plain_documents, found = (
      cpd.documents_of_files([path], tokenizer, input_format="auto")
      for path in paths)
  assert found == plain_documents and len(found) == 40
  # By default it reads what the reference reads: each file as text.
  if name == "a.csv":
    assert cpd.documents_of_files([paths[1]], tokenizer) != found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_hosts", [1, 3])
def test_hosts_workers_and_seeks(maker, monkeypatch, name, num_hosts):
  monkeypatch.setattr(es, "SPLITS_PER_GROUP", 4)
  monkeypatch.setattr(es, "CHUNKS_PER_WINDOW", 3)
  for i in range(num_hosts):
    name_i = "%d%s" % (i, name)
    (maker.folder / name_i).write_bytes(
        file_of(name, documents(maker, 50, i)))
    maker.files.append(str(maker.folder / name_i))
  used = collections.Counter()
  for host in range(num_hosts):
    how = dict(shard=es.Shard(host, num_hosts), split_bytes=400)
    windows = list(stream_of(maker, 2, **how).windows())
    if host == num_hosts - 1:
      assert list(stream_of(maker, 2, num_workers=KNOWN_WORKERS[-1],
                            **how).windows()) == windows
    for position, window in windows[::5]:
      found = stream_of(maker, 2, **how).windows(
          position._replace(example=1) if window[1:] else position)
      assert next(found)[1] == (window[1:] or window)
      found.close()
    used += lines_used(example for position, window in windows
                       for example in window if not position.epoch)
  assert used == once(maker.num_lines)


@pytest.mark.parametrize("name", NAMES)
def test_real_texts_are_those_that_pythons_modules_read(maker, name):
  """The topics of Python's help: long ones, with quotes and indented code."""
  texts = [text for _, text in sorted(topics.topics.items())]
  data = file_of(name.replace(".gz", "").replace(".bz2", ""), texts)
  if "jsonl" in name:
    read = [json.loads(line)["text"] for line in data.splitlines()]
  elif name == "a.parquet":
    read = pyarrow.parquet.read_table(
        io.BytesIO(data)).column("text").to_pylist()
  else:
    read = [row["text"] for row in csv.DictReader(
        io.StringIO(data.decode("utf-8"), newline=""),
        delimiter="\t" if name == "a.tsv" else ",")]
  assert read == texts and len(texts) > 50
  (maker.folder / name).write_bytes(file_of(name, texts))
  found = "".join(text_lines.read_texts(str(maker.folder / name)))
  lines = [line.strip() for line in found.split("\n")]
  expected = plain(texts).split("\n")
  assert [line for line in lines if line] == [
      line for line in expected if line]
  # The blank lines, too; JSON lines have none after a text of none.
  assert lines == expected


def test_a_directory_of_files_of_several_formats(maker):
  directory = maker.folder / "texts"
  (directory / "more").mkdir(parents=True)
  for name in ("a.jsonl", "more/b.csv", "c.parquet", "more/d.jsonl.gz"):
    (directory / name).write_bytes(
        file_of(name.rpartition("/")[2], documents(maker, 5)))
  (directory / "e.txt").write_text(plain(documents(maker, 5)))
  found = take_write_2_flow(
      str(directory), maker.vocab_file, num_epochs=1, max_seq_length=160,
      max_predictions_per_seq=24)
  assert lines_used(found) == once(maker.num_lines)
  source = TextSource.from_arguments(str(directory), maker.vocab_file)
  assert source.corpus.formats().startswith("csv, jsonl, parquet, text (")


# -------------------------------------------------------------------- lending


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lent_bytes", [40, 1 << 16])
def test_few_long_records_lend_each_other_text(
    maker, monkeypatch, name, lent_bytes):
  """Also if a record is longer than what is lent, and if it is one line."""
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 60)
  monkeypatch.setattr(lending, "_LENT_BYTES", lent_bytes)
  texts = [maker.lines(70) for _ in range(3)]
  (maker.folder / name).write_bytes(file_of(name, texts))
  maker.files[:] = [str(maker.folder / name)]
  found = seen(stream_of(maker, 3, split_bytes=500).examples())
  random_ones = [e for e in found if e.is_random]
  assert len(random_ones) > 20
  assert not any({i // 70 for i in e.a} & {i // 70 for i in e.b}
                 for e in random_ones)
  assert {i // 70 for e in random_ones for i in e.a} == {0, 1, 2}


def test_a_record_of_one_long_line_lends_a_part_of_it(maker, monkeypatch):
  monkeypatch.setattr(lending, "_LENT_BYTES", 50)
  for line in ("w%d alpha beta ", "\u00e9\u4e2d%d\u6587"):
    texts = ["".join(line % i for i in range(n, n + 90)) for n in (0, 100)]
    (maker.folder / "a.jsonl").write_bytes(
        json_lines(texts, ensure_ascii=False))
    maker.files[:] = [str(maker.folder / "a.jsonl")]
    corpus = maker.corpus(chunk_lines=1)
    lender = lending.Lender(corpus)
    for split in corpus.splits():
      for number, chunk in enumerate(corpus.chunks(split)):
        borrowed = lender.lend(chunk, random.Random(number)).borrowed
        text = text_lines.part_text(borrowed)  # It is cut between characters.
        assert 40 < len(text.encode("utf-8")) <= 50
        assert texts[1 - number].startswith(text)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_what_is_lent_hangs_on_the_chunk_alone(maker, monkeypatch, seed, name):
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 40)
  monkeypatch.setattr(lending, "_SEARCH_BYTES", 300)
  monkeypatch.setattr(lending, "_LENT_BYTES", 80)
  rng = random.Random(seed)
  for i in range(rng.randint(1, 2)):
    texts = [maker.lines(rng.choice((1, 3, 60))) for _ in range(
        rng.randint(1, 4))]
    texts.insert(0, "" if rng.random() < 0.5 else " \n")
    path = maker.folder / ("%d%s" % (i, name))
    path.write_bytes(file_of(name, texts))
    maker.files.append(str(path))
  options = dict(chunk_lines=5, split_bytes=rng.choice((100, 100000)))
  warm = maker.corpus(**options)
  chunks = [c for split in warm.splits() for c in warm.chunks(split)]
  rng.shuffle(chunks)
  lender = lending.Lender(warm)
  for chunk in chunks:
    number = rng.random()
    cold = lending.Lender(maker.corpus(**options))
    lent = lender.lend(chunk, random.Random(number))
    assert lent == cold.lend(chunk, random.Random(number))


def test_a_single_record_has_true_pairs_only(maker, monkeypatch, caplog):
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 40)
  maker.write("a.jsonl", json_lines(["", maker.lines(80), ""]))
  found = seen(stream_of(maker, 2).examples())
  assert found and not any(e.is_random for e in found)
  assert caplog.text.count("always follows the first") == 1


# ------------------------------------------------------------------ preflight


def texts_of_size(num_texts, num_lines, seed=1):
  rng = random.Random(seed)
  return ["".join("w%d %s\n" % (rng.randrange(2000), " ".join(
      rng.choice(FILLERS) for _ in range(rng.randint(1, 12))))
                  for _ in range(rng.randint(1, num_lines)))
          for _ in range(num_texts)]


@pytest.mark.parametrize("num_texts, num_lines, max_bytes", [
    (5000, 6, 1 << 18), (400, 150, 1 << 19), (12, 6000, 1 << 19)])
@pytest.mark.parametrize("other", [
    pytest.param(0, marks=pytest.mark.slow), 600])
def test_estimates_of_json_lines_are_close(
    maker, num_texts, num_lines, max_bytes, other):
  """For short and long records, with other fields or without."""
  rng = random.Random(3)
  texts = texts_of_size(num_texts, num_lines)
  maker.write("a.jsonl", "".join(
      json.dumps({"text": text, "other": "x" * rng.randint(0, 2 * other)}) +
      "\n" for text in texts))
  options = maker.options()
  corpus = maker.corpus(chunk_lines=1000)
  whole = preflight.check_text(corpus, options, max_bytes=1 << 30)
  found = preflight.check_text(corpus, options, max_bytes=max_bytes)
  assert found.is_estimate and not whole.is_estimate
  assert whole.documents == num_texts
  assert whole.sentences == sum(text.count("\n") for text in texts)
  for name in ("sentences", "tokens", "documents", "examples_per_epoch"):
    close = 0.35 if num_texts == 12 else 0.15
    assert getattr(found, name) == pytest.approx(
        getattr(whole, name), rel=close), name


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl.gz"])
def test_estimates_of_other_records_are_close(maker, name):
  texts = texts_of_size(2000, 6)
  (maker.folder / name).write_bytes(file_of(name, texts))
  maker.files[:] = [str(maker.folder / name)]
  options = maker.options()
  corpus = maker.corpus(chunk_lines=1000)
  whole = preflight.check_text(corpus, options, max_bytes=1 << 30)
  found = preflight.check_text(corpus, options, max_bytes=1 << 17)
  assert found.is_estimate and whole.documents == 2000
  for of in ("sentences", "tokens", "documents", "examples_per_epoch"):
    assert getattr(found, of) == pytest.approx(
        getattr(whole, of), rel=0.15), of


@pytest.mark.parametrize("max_bytes", [1 << 14, 1 << 30])
def test_skipped_records_are_reported(maker, max_bytes):
  texts = documents(maker, 400)
  lines = json_lines(texts).splitlines(True)
  lines[::5] = [b'{"body": "%s"}\n' % (b"x" * 90)] * 80
  maker.write("a.jsonl", b"".join(lines))
  options = maker.options(invalid_records="skip")
  corpus = maker.corpus(reader=options.reader, chunk_lines=1000)
  found = preflight.check_text(corpus, options, max_bytes=max_bytes)
  assert found.is_estimate == (max_bytes < 1 << 20)
  assert found.skipped_record_share == pytest.approx(0.2, abs=0.05)
  assert [w for w in found.warnings if w.name == "skipped"]
  with pytest.raises(records.InvalidRecord, match="no field \"text\""):
    preflight.check_text(maker.corpus(), maker.options(), max_bytes=max_bytes)


def test_skipped_records_are_counted_in_each_pass(maker):
  texts = documents(maker, 30)
  lines = json_lines(texts).splitlines(True)
  maker.write("a.jsonl", b"".join(lines[:10] + [b"{}\n"] * 3 + lines[10:]))
  options = maker.options(invalid_records="skip")
  corpus = maker.corpus(reader=options.reader, split_bytes=100)
  for number in (1, 2):
    examples = list(es.ExampleStream(corpus, options, num_epochs=1).examples())
    assert lines_used(examples) == once(maker.num_lines)
    assert corpus.skips.count == 3 * number
  with pytest.raises(records.InvalidRecord, match="line 11: .*no field"):
    list(stream_of(maker).examples())


# ------------------------------------------------------------------ sentences


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_paragraph_is_split_into_sentences(maker, name):
  """In examples, borrowed text, the preflight and the offline program."""
  texts = [" ".join("W%d alpha." % (i + j) for i in range(20))
           for j in (0, 20, 40)]
  data = plain(texts) if name == "a.txt" else file_of(name, texts)
  maker.write(name, data)
  tokenizer = cpd.packing_tokenizer(maker.vocab_file)
  how = dict(input_format="auto", sentence_split="rule")
  found = cpd.documents_of_files(maker.files, tokenizer, **how)
  assert [len(document.starts) for document in found] == [21] * 3
  options = maker.options(sentence_split="rule")
  checked = preflight.check_text(maker.corpus(), options)
  assert (checked.sentences, checked.documents) == (60, 3)
  lines = preflight.check_text(maker.corpus(), maker.options())
  assert (lines.sentences, lines.documents) == (3, 3)
  # A chunk of one document borrows sentences, too.
  chunk_lines = 1
  stream = es.ExampleStream(
      maker.corpus(chunk_lines=chunk_lines), options, num_epochs=4)
  examples = seen(stream.examples())
  assert any(e.is_random for e in examples)
  tokens = tokenization.FullTokenizer(maker.vocab_file).tokenize("W1 alpha.")
  assert tokens == ["w1", "alpha", "[UNK]"]
  assert max(len(e.a) for e in examples) < 20
  hashed = TextSource(maker.files, options).document_hashes()
  assert hashed == TextSource(maker.files, maker.options()).document_hashes()


def test_held_out_lines_are_those_before_the_split(maker):
  line = "W1 alpha beta gamma. W2 alpha beta delta."
  maker.write("a.txt", line + "\nW3 alpha.\n\nW4 beta.\n")
  held_out = text_lines.hold_out_sentences([line])
  stream = stream_of(maker, reader={"sentence_split": "rule"},
                     held_out=held_out).examples()
  list(stream)
  assert len(stream.shared) == 1


# --------------------------------------------------------------------- resume


def record_of(maker, **options):
  return TextSource.from_arguments(
      maker.files, maker.vocab_file, **options).record()


def test_what_identifies_a_stream_of_records(maker):
  maker.write("a.txt", json_lines(documents(maker, 9)))
  text = record_of(maker)
  assert text == record_of(maker, input_format="text") == record_of(
      maker, invalid_records="skip")
  assert not {"input_formats", "text_field", "sentence_split"} & set(
      text.options)
  lines = record_of(maker, input_format="jsonl")
  assert lines.options == dict(text.options, input_formats="jsonl")
  assert record_of(maker, sentence_split="rule").options == dict(
      text.options, sentence_split="rule")
  assert record_of(maker, input_format="jsonl", text_field="id").options == (
      dict(lines.options, text_field="id"))


def test_a_directory_that_was_trained_on_json_lines_as_text(maker, tmp_path):
  """As an earlier version read them."""
  maker.write("a.jsonl", json_lines(documents(maker, 9)))
  before = record_of(maker, input_format="text")
  out = tmp_path / "out"
  out.mkdir()
  before.save(str(out))
  with pytest.raises(ValueError, match="read as plain text and is now read as "
                     "jsonl: pass --input_format=text to read it as before.*or "
                     "pass --accept_new_stream"):
    resume.check_stream(record_of(maker), str(out), accept=False)
  assert resume.check_stream(record_of(maker), str(out), accept=True) is None
  assert resume.check_stream(
      record_of(maker, input_format="text"), str(out), accept=False) == before


def test_a_renamed_file_is_another_stream(maker):
  maker.write("a.jsonl", json_lines(documents(maker, 9)))
  maker.write("b.txt", "text\n" * 9)
  before = record_of(maker)
  for name, new in (("a.jsonl", "a.txt"), ("b.txt", "b.csv")):
    renamed = [path.replace(name, new) for path in maker.files]
    (maker.folder / name).rename(maker.folder / new)
    after = TextSource.from_arguments(renamed, maker.vocab_file).record()
    (maker.folder / new).rename(maker.folder / name)
    assert before.text == after.text
    assert any("input_formats was" in said or "read as" in said
               for said in before.differences(after))


def test_options_are_those_of_the_config():
  fields = {field.name: field.default
            for field in dataclasses.fields(ReaderConfig)}
  defaults = es.StreamOptions("vocab")
  assert {name: getattr(defaults, name) for name in fields} == fields
  assert defaults.reader == ReaderConfig()
  with pytest.raises(ValueError, match="--input_format=xml .* jsonl, csv"):
    es.StreamOptions("vocab", input_format="xml").validated()
