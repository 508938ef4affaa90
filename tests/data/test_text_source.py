"""text_source.py: text that is opened, checked and sampled once."""

from typing import Any, Dict

import pytest

import run_pretraining_e2e as e2e
from bert_e2e import config
from bert_e2e.common import file_io
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import preflight, readers, resume
from bert_e2e.data import stream as stream_lib
from bert_e2e.data.text_source import TextSource, take_write_2_flow

LENGTHS: Dict[str, Any] = {"max_seq_length": 16, "max_predictions_per_seq": 3}
WORDS = ["w%d" % i for i in range(40)]


@pytest.fixture
def vocab_file(tmp_path):
  (tmp_path / "vocab.txt").write_text("\n".join(
      ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
  return str(tmp_path / "vocab.txt")


@pytest.fixture
def write(tmp_path):
  """Returns a function that writes a file and returns its path."""

  def write(name, text):
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)

  return write


@pytest.fixture
def files(write):
  return [write("%d.txt" % i, "\n".join(
      "w%d w2 w3\nw4 w%d\nw5 w6\n" % (i, j % 40) for j in range(300)))
          for i in range(3)]


@pytest.fixture
def opened(monkeypatch):
  """The paths that are opened, a list."""
  paths, open_binary = [], file_io.open_binary

  def noting(path, mode="rb"):
    paths.append(path)
    return open_binary(path, mode)

  monkeypatch.setattr(file_io, "open_binary", noting)
  readers._text_file.cache_clear()
  return paths


@pytest.fixture
def built(monkeypatch):
  """The chunks that examples are built of, a list of (epoch, chunk)."""
  chunks, build = [], stream_lib.ExampleBuilder.build

  def noting(self, epoch, chunk):
    chunks.append((epoch, chunk))
    return build(self, epoch, chunk)

  monkeypatch.setattr(stream_lib.ExampleBuilder, "build", noting)
  return chunks


@pytest.fixture
def source(files, vocab_file):
  return TextSource.from_arguments(files, vocab_file, **LENGTHS)


def test_it_opens_the_streams_of_take_write_2_flow(source, files, vocab_file):
  for host, num_hosts in ((0, 1), (1, 3)):
    expected = list(take_write_2_flow(
        files, vocab_file, num_epochs=2, shard_index=host, num_shards=num_hosts,
        **LENGTHS))
    shard = stream_lib.Shard(host, num_hosts)
    assert list(source.open(shard=shard, num_epochs=2)) == expected
    assert list(source.open(
        shard=shard, num_epochs=2, first_example=30)) == expected[30:]
  assert source.count_examples() == len(list(take_write_2_flow(
      files, vocab_file, num_epochs=1, **LENGTHS)))
  assert e2e.take_write_2_flow is take_write_2_flow


def test_each_file_is_opened_once(source, files, vocab_file, opened):
  """Other numbers of hosts only divide it anew."""
  source = TextSource.from_arguments(files, vocab_file, **LENGTHS)
  assert [path for path in opened if path in files] == files
  for num_hosts in (1, 2, 64):
    source.open(shard=stream_lib.Shard(0, num_hosts))
  assert [path for path in opened if path in files] == files


def test_a_corpus_for_other_hosts_is_the_same_as_a_new_one(files, opened):
  corpus = corpus_lib.Corpus(files, chunk_lines=9)
  del opened[:]
  for num_hosts in (1, 2, 5):
    shared = corpus.with_num_hosts(num_hosts)
    assert not opened
    new = corpus_lib.Corpus(files, chunk_lines=9, num_hosts=num_hosts)
    assert shared.splits() == new.splits()
    assert shared.chunk_lines == new.chunk_lines
    del opened[:]
  assert len(corpus.splits()) < len(corpus.with_num_hosts(5).splits())
  fixed = corpus_lib.Corpus(files, split_bytes=500)
  assert fixed.with_num_hosts(5).splits() == fixed.splits()


def test_cut_documents_are_counted_for_each_corpus_of_its_own(
    write, monkeypatch):
  monkeypatch.setattr(corpus_lib.line_cutter, "CARRY_BYTES", 40)
  corpus = corpus_lib.Corpus([write("a.txt", "w1 w2\n" * 500)], chunk_lines=5)
  for each in (corpus, corpus.with_num_hosts(1)):
    assert each.num_cut_documents == 0
    for split in each.splits():
      list(each.chunks(split))
    assert each.num_cut_documents > 9


def test_the_preflight_makes_the_check_superfluous(source, built, opened):
  found = source.preflight()
  assert found == preflight.check_text(source.corpus, source.options)
  assert found.examples_per_epoch == source.count_examples()
  del built[:], opened[:]
  source.check()
  assert not built and not opened


def test_the_check_ends_with_the_first_example_and_is_not_repeated(
    source, built):
  source.check()
  assert len(built) == 1
  source.check()
  assert len(built) == 1


@pytest.mark.parametrize("method", ["check", "preflight"])
def test_text_without_an_example_is_an_error(write, vocab_file, method):
  path = write("a.txt", "\n \n\u200b\n" * 10)
  source = TextSource.from_arguments([path], vocab_file)
  with pytest.raises(ValueError, match="yields no example.*a.txt, 70 bytes"):
    getattr(source, method)()


def test_a_sample_without_an_example_is_not_the_whole_text(
    write, vocab_file, monkeypatch):
  """Then the text is read up to its first example."""
  monkeypatch.setitem(
      preflight.sample_text.__kwdefaults__, "max_bytes", 1 << 12)
  path = write("a.txt", "w1 w2\nw3\n" + "\n" * (1 << 16))
  source = TextSource.from_arguments([path], vocab_file)
  assert [each.name for each in source.preflight().warnings] == [
      "empty", "warmup"]
  source.check()


@pytest.mark.parametrize("changes, said", [
    ({"chunk_lines": 0}, "--chunk_lines=0"),
    ({"max_seq_length": 4}, "--max_seq_length=4"),
    ({"invalid_utf8": "ignore"}, "--invalid_utf8=ignore"),
    ({"input_files": ["none-*.txt"]}, r"none-\*\.txt"),
    ({"vocab_file": __file__}, r"special token \[PAD\]"),
])
def test_what_is_wrong_is_said_when_it_is_created(
    files, vocab_file, changes, said):
  with pytest.raises(ValueError, match=said):
    TextSource.from_arguments(**dict(
        {"input_files": files, "vocab_file": vocab_file}, **changes))


class TestRecord:

  def test_has_the_fields_of_the_config_that_decide_the_stream(self, source):
    options = dict(source.record().options)
    assert len(options.pop("vocabulary")) == 16
    assert options == config.stream_options(
        config.DataConfig(), config.ReaderConfig(), config.TokenizerConfig(),
        config.InstanceConfig(**LENGTHS))
    assert source.record().first_example == 0
    assert source.record().version == resume.STREAM_VERSION

  def test_names_several_hosts_only(self, source):
    one, two = source.record(1), source.record(2)
    assert "num_hosts" not in one.options and one == source.record()
    assert two.options == dict(one.options, num_hosts=2)

  def test_a_read_error_may_be_overcome(self, source, files, vocab_file):
    other = TextSource.from_arguments(
        files, vocab_file, invalid_utf8="replace", **LENGTHS)
    assert other.record() == source.record()

  def test_fingerprints_the_text_once(self, source, opened):
    expected = corpus_lib.Corpus(source.corpus.files).fingerprint()
    del opened[:]
    assert source.record().text == source.fingerprint() == expected
    assert source.record(4).text == expected
    read = [path for path in opened if not path.endswith("vocab.txt")]
    del opened[:]
    # Whose formats are known already.
    corpus_lib.Corpus(source.corpus.files).fingerprint()
    assert len(read) == len(opened) > len(source.corpus.files)
