"""The promises of the stream, on small corpora whose every line is unique."""

import collections
import dataclasses
import gzip
import hashlib
import os
import pathlib
import random
from typing import List

import pytest
from stream_corpus import (
  KNOWN_WORKERS,
  PATIENCE_SECONDS,
  SMALL,
  int_features,
  lines_used,
  needs_workers,
  once,
  seen,
  start_python,
)

import create_pretraining_data as cpd
import tokenization
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import (
  lending,
  line_cutter,
  pairing,
  readers,
  sampling,
  text_lines,
  worker_pool,
)
from bert_e2e.data import stream as es

# -------------------------------------------------------------------- complete


@pytest.mark.parametrize("num_workers, split_bytes, chunk_lines", [
    (0, split_bytes, chunk_lines) for split_bytes in (None, 64, 333)
    for chunk_lines in (1, 5, 1000)] + [(KNOWN_WORKERS[-1], 333, 5)])
def test_every_line_is_used_once_an_epoch(
    odd_corpus, num_workers, split_bytes, chunk_lines):
  # 1000 lines at once are long documents: these need longer sequences.
  stream = odd_corpus.stream(
      num_epochs=1, num_workers=num_workers, split_bytes=split_bytes,
      chunk_lines=chunk_lines)
  if chunk_lines == 1000:
    stream = es.ExampleStream(
        odd_corpus.corpus(split_bytes=split_bytes, chunk_lines=chunk_lines),
        odd_corpus.options()._replace(instances=cpd.InstanceOptions(
            max_seq_length=700, max_predictions_per_seq=110)), num_epochs=1)
  assert lines_used(stream.examples()) == once(odd_corpus.num_lines)


def test_a_second_epoch_is_complete_too(odd_corpus):
  first = list(odd_corpus.stream(1).examples())
  both = list(odd_corpus.stream(2).examples())
  assert both[:len(first)] == first
  assert lines_used(both[len(first):]) == once(odd_corpus.num_lines)


def test_the_cap_cut_the_long_document(odd_corpus):
  corpus = odd_corpus.corpus()
  for split in corpus.splits():
    list(corpus.chunks(split))
  assert corpus.num_cut_documents > 1


# ----------------------------------------------------------------------- fresh


def test_epochs_differ_in_order_pairs_and_masks(plain_corpus):
  epochs = collections.defaultdict(list)
  for position, window in plain_corpus.stream(3, **SMALL).windows():
    epochs[position.epoch].extend(seen(window))
  assert len(epochs) == 3
  orders = [[e.used for e in epoch] for epoch in epochs.values()]
  pairs = [{e.pair for e in epoch} for epoch in epochs.values()]
  masks = [{e.pair: e.masked for e in epoch} for epoch in epochs.values()]
  for i, j in ((0, 1), (0, 2), (1, 2)):
    assert orders[i] != orders[j]
    assert pairs[i] != pairs[j]
    same = set(masks[i]) & set(masks[j])
    assert same  # Else the next line would say nothing.
    assert any(masks[i][pair] != masks[j][pair] for pair in same)


# --------------------------------------------------------------- deterministic


@needs_workers
@pytest.mark.parametrize("num_workers", [1, 2, 3])
@pytest.mark.parametrize("split_bytes", [None, 100])
def test_any_number_of_workers_gives_the_same_stream(
    plain_corpus, num_workers, split_bytes):
  expected = list(plain_corpus.stream(2, split_bytes=split_bytes).windows())
  assert len(expected) > 4
  assert expected == list(
      plain_corpus.stream(
          2, num_workers=num_workers, split_bytes=split_bytes).windows())


@pytest.mark.parametrize("num_workers", KNOWN_WORKERS)
def test_the_same_in_another_process_with_another_hash_seed(
    odd_corpus, num_workers):
  stream = odd_corpus.stream(2)
  script = """
      import hashlib, sys
      from bert_e2e.data import corpus, line_cutter
      from bert_e2e.config import InstanceConfig
      from bert_e2e.data import stream as example_stream
      line_cutter.CARRY_BYTES = 120
      stream = example_stream.ExampleStream(
          corpus.Corpus(%r, chunk_lines=5),
          example_stream.StreamOptions(
              %r, instances=InstanceConfig(
                  max_seq_length=160, max_predictions_per_seq=24)),
          num_epochs=2, num_workers=%d)
      digest = hashlib.sha256()
      for example in stream.examples():
        digest.update(example)
      print(digest.hexdigest())
      """ % (odd_corpus.files, odd_corpus.vocab_file, num_workers)
  digest = hashlib.sha256(b"".join(stream.examples())).hexdigest()
  process = start_python(script, PYTHONHASHSEED="4242")
  out, _ = process.communicate(timeout=PATIENCE_SECONDS)
  assert out.strip() == digest


def test_the_same_twice_from_one_stream(plain_corpus):
  stream = plain_corpus.stream(2, **SMALL)
  assert list(stream.examples()) == list(stream.examples())


def test_windows_joined_are_the_examples(plain_corpus):
  stream = plain_corpus.stream(2, **SMALL)
  assert [example for _, window in stream.windows() for example in window
         ] == list(stream.examples())


def test_seeds_differ(plain_corpus):
  by_seed = [list(plain_corpus.stream(seed=seed).examples())
             for seed in (1, 2, 12345)]
  assert by_seed[0] != by_seed[1] != by_seed[2] != by_seed[0]
  uses = [[e.used for e in seen(examples)] for examples in by_seed]
  assert uses[0] != uses[1] != uses[2] != uses[0]


def test_draws_are_the_same_on_every_python():
  """Fixed figures: a change of them changes every user's stream."""
  assert [es.derived_rng(*place).randint(0, 10**6) for place in (
      (12345, 0, "splits"), (12345, 0, "chunk", 0, 0),
      (12345, 1, "chunk", 0, 0))] == [240430, 24947, 629427]


def test_a_chunks_examples_are_those_of_create_pretraining_data(odd_corpus):
  """The same rules on pieces as texts, with the stream's draws."""
  options = odd_corpus.options()
  builder = es.ExampleBuilder(options)
  tokenizer = tokenization.FullTokenizer(odd_corpus.vocab_file)
  corpus = odd_corpus.corpus()
  chunks = chunks_of(corpus)
  assert len(chunks) > 10
  assert any(chunk.borrowed for chunk in chunks)
  for epoch, chunk in enumerate(chunks):
    rng = es.derived_rng(
        12345, epoch, "chunk", chunk.file_index, chunk.parts[0].offset)
    texts = [corpus_lib.chunk_text(chunk)]
    if chunk.borrowed:
      texts.append(text_lines.part_text(chunk.borrowed))
    documents = [
        cpd.group_documents(
            tokenizer.tokenize(line) if line.strip() else None
            for line in text.split("\n")) for text in texts]
    instances = cpd.instances_from_documents(
        documents[0], options.instances,
        cpd.text_pieces(list(tokenizer.vocab)), sampling.StreamSampler(rng),
        *documents[1:])
    assert builder.build(epoch, chunk) == cpd.create_instance_to_example_files(
        instances, tokenizer, 160, 24)


def chunks_of(corpus):
  """Returns all chunks of a corpus, with what they borrow."""
  lender = lending.Lender(corpus)
  return [lender.lend(chunk, random.Random(1)) for split in corpus.splits()
          for chunk in corpus.chunks(split)]


# ------------------------------------------------------------- better pairs


def documents_of_lines(maker):
  """Returns line -> the number of its document."""
  found, count = {}, 0
  for path in maker.files:
    data = pathlib.Path(path).read_bytes()
    text = (gzip.decompress(data) if path.endswith(".gz") else data).decode()
    for line in text.split("\n"):
      if not line.strip():
        count += 1
      else:
        found[int(line.split()[0][1:])] = count
    count += 1
  return found


@pytest.mark.parametrize("chunk_lines", [1, 5])
@pytest.mark.parametrize("sizes", [(40, 30), (1, 90), (90, 1), (7,) * 12])
@pytest.mark.parametrize("kind", ["one.txt", "one.txt.gz"])
def test_a_random_next_is_of_another_document(
    maker, monkeypatch, sizes, chunk_lines, kind):
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 40)
  maker.write(kind, "\n \n" + maker.documents(*sizes) + "\n\n")
  document = documents_of_lines(maker)
  found = seen(maker.stream(3, chunk_lines=chunk_lines,
                            split_bytes=150).examples())
  random_ones = [e for e in found if e.is_random]
  assert random_ones
  for example in random_ones:
    assert not {document[i] for i in example.a} & {
        document[i] for i in example.b}


def test_a_random_next_comes_from_other_files(maker, monkeypatch):
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 40)
  for i in range(3):  # Each a document that is cut into many chunks.
    maker.write("%d.txt" % i, maker.documents(60))
  document = documents_of_lines(maker)
  pairs = collections.Counter(
      (document[e.a[0]], document[e.b[0]])
      for e in seen(maker.stream(4, chunk_lines=5).examples()) if e.is_random)
  assert set(pairs) == {(a, b) for a in set(document.values())
                        for b in set(document.values()) if a != b}


@pytest.mark.parametrize("blank", ["", "\n\n"])
@pytest.mark.parametrize("num_workers", KNOWN_WORKERS)
def test_a_single_document_has_true_pairs_only_and_one_warning(
    maker, monkeypatch, caplog, blank, num_workers):
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 40)
  maker.write("one.txt", blank + maker.lines(80) + "w0\n" + blank)
  found = seen(maker.stream(2, num_workers, chunk_lines=5,
                            split_bytes=300).examples())
  assert not any(e.is_random for e in found)
  used = collections.Counter(i for e in found for i in e.a + e.b)
  assert used == collections.Counter(
      {i: 2 + 2 * (i == 0) for i in range(80)})
  messages = [r.getMessage() for r in caplog.records
              if "always follows the first" in r.getMessage()]
  assert len(messages) == 1 and maker.files[0] in messages[0]


def test_without_a_sentence_objective_no_text_is_borrowed(
    maker, monkeypatch, caplog):
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 40)
  maker.write("one.txt", maker.lines(80))
  options = maker.options()
  options = options._replace(instances=dataclasses.replace(
      options.instances, sentence_objective="none"))
  found = seen(es.ExampleStream(
      maker.corpus(split_bytes=300), options, num_epochs=1).examples())
  assert found and not any(e.is_random for e in found)
  assert "always follows the first" not in caplog.text


def test_a_document_of_one_line_is_cut_in_two(maker):
  maker.write("one.txt", maker.lines(1))
  example, = maker.stream(1).examples()
  features = int_features(example)
  assert features["next_sentence_labels"] == [0]
  ends = sum(features["segment_ids"])
  assert 2 <= ends <= 3  # One or two of its three pieces, and [SEP].


def test_lending_reads_little_of_a_large_document(maker, monkeypatch):
  """Once no other document was found, it is not looked for again."""
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 40)
  maker.write("one.txt", maker.lines(1500))
  corpus = maker.corpus(chunk_lines=10)
  lender = lending.Lender(corpus)
  chunks = [c for split in corpus.splits() for c in corpus.chunks(split)]
  for chunk in chunks:
    lender.lend(chunk, random.Random(1))
  read = _calls(monkeypatch, readers.TextFile, "read_blocks")
  for chunk in chunks:
    assert lender.lend(chunk, random.Random(2)).borrowed is None
  assert not read


@pytest.mark.parametrize("seed", range(6))
def test_what_is_lent_hangs_on_the_chunk_alone(maker, monkeypatch, seed):
  """Not on what was lent before: a resumed run has lent nothing yet."""
  monkeypatch.setattr(line_cutter, "CARRY_BYTES", 40)
  monkeypatch.setattr(lending, "_SEARCH_BYTES", 300)
  monkeypatch.setattr(lending, "_LENT_BYTES", 80)
  rng = random.Random(seed)
  for i in range(rng.randint(1, 3)):
    sizes = [rng.choice((1, 3, 80)) for _ in range(rng.randint(1, 3))]
    maker.write("%d.txt" % i, rng.choice(("", "\n\u3000\n")) + (
        "\n%s\n" % rng.choice(("", " \u2003"))).join(
            maker.lines(size)[:-1] for size in sizes) + "\n")
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


@pytest.mark.parametrize("space", ["", " ", "\u3000", "\t\u2003"])
def test_whitespace_of_any_script_is_no_text_of_a_document(maker, space):
  """Neither behind a document's end nor as a file of its own."""
  blank = space + "\n"
  maker.write("blank.txt", blank)
  maker.write("own.txt", blank * 2 + maker.lines(8) + blank * 2)
  chunk, = chunks_of(maker.corpus(chunk_lines=1000))
  own = chunk.only_document
  assert own.path == maker.files[1]
  assert own.data[own.text_start:].startswith(b"w0 ")


def test_every_borrowed_document_may_come_next():
  documents = [cpd.Document(list(range(9)), [0, 3, 6, 9])]
  borrowed = [cpd.Document([i] * 4, [0, 2, 4]) for i in (101, 102, 103)]
  sampler = sampling.StreamSampler(random.Random(4))
  others = pairing.OtherDocuments(documents, 0, borrowed, sampler)
  assert others.exist
  drawn = collections.Counter(
      others.random_text(2)[0][0] for _ in range(3000))
  assert set(drawn) == {101, 102, 103}
  assert min(drawn.values()) > 900


# --------------------------------------------------------- epochs, in examples


@pytest.mark.parametrize("names", [("a.txt",), ("a.gz",), ("a.txt", "b.gz")])
def test_the_epoch_that_is_told_rises_evenly(maker, monkeypatch, names):
  monkeypatch.setattr(es, "CHUNKS_PER_WINDOW", 2)
  for name in names:
    maker.write(name, maker.documents(*[5, 3, 6, 4, 2] * 40))
  stream = maker.stream(2, split_bytes=150)
  windows = list(stream._windows(es.Position(), stream._mapper()))
  epochs = [bound for window in windows for bound in window.epochs]
  assert epochs == sorted(epochs)
  assert epochs[0] == 0 and abs(epochs[-1] - 2) < 0.1
  steps = [after - before for before, after in zip(epochs, epochs[1:])]
  assert max(steps) < 0.2


# ------------------------------------------------------------------------ seek


def test_any_position_continues_the_stream(plain_corpus):
  stream = plain_corpus.stream(2, **SMALL)
  windows = list(stream.windows())
  assert len({(p.epoch, p.group) for p, _ in windows}) > 4
  assert max(p.window for p, _ in windows) > 0
  assert {p.epoch for p, _ in windows} == {0, 1}
  for i in range(0, len(windows), 4):
    position, window = windows[i]
    assert position.example == 0
    assert list(stream.windows(position)) == windows[i:]
    inside = position._replace(example=len(window) // 2)
    rest = list(stream.windows(inside))
    if window[inside.example:]:
      assert rest[0] == (inside, window[inside.example:])
      rest = rest[1:]
    assert rest == windows[i + 1:]


@needs_workers
def test_a_position_with_workers_and_at_a_windows_end(plain_corpus):
  windows = list(plain_corpus.stream(2, **SMALL).windows())
  stream = plain_corpus.stream(2, num_workers=2, **SMALL)
  i = next(i for i, (p, _) in enumerate(windows)
           if p.epoch == 1 and p.group == 1)
  position, window = windows[i]
  examples = list(stream.examples(position._replace(example=1)))
  assert examples == window[1:] + [e for _, w in windows[i + 1:] for e in w]
  assert list(stream.windows(position._replace(example=len(window)))
             ) == windows[i + 1:]


def test_a_position_behind_the_end_gives_nothing(plain_corpus):
  assert list(plain_corpus.stream(2).windows(es.Position(2))) == []
  assert list(plain_corpus.stream(2).windows(es.Position(1, 999))) == []


def test_a_seek_reads_one_group_and_builds_one_window(
    plain_corpus, monkeypatch):
  stream = plain_corpus.stream(None, **SMALL)
  read, built = _count_calls(monkeypatch, stream)
  next(stream.windows(es.Position(7, 1)))
  assert len(read) == es.SPLITS_PER_GROUP
  assert len(built) == es.CHUNKS_PER_WINDOW
  assert {epoch for epoch, _ in built} == {7}


def _count_calls(monkeypatch, stream):
  """Returns lists of (split,) read and of (epoch, chunk) built from now on."""
  return (_calls(monkeypatch, stream._corpus, "chunks"),
          _calls(monkeypatch, stream._builder, "build"))


def _calls(monkeypatch, thing, name):
  """Returns a list that the arguments of a method's calls are put into."""
  calls, method = [], getattr(thing, name)

  def noted(*args):
    calls.append(args)
    return method(*args)

  monkeypatch.setattr(thing, name, noted)
  return calls


def _noted(items, drawn):
  """Yields items; puts each into `drawn` first."""
  for item in items:
    drawn.append(item)
    yield item


# --------------------------------------------------------------------- bounded


def test_pools_hold_a_bounded_number_of_bytes(monkeypatch):
  monkeypatch.setattr(es, "POOL_BYTES", 1000)
  chunks = [corpus_lib.Chunk(0, [text_lines.Part("a", i, b"x" * 300)])
            for i in range(10)]
  drawn: List[object] = []
  pools = es._pools(_noted(chunks, drawn))
  assert len(next(pools)) == len(drawn) == 4
  assert [len(pool) for pool in pools] == [4, 2]


@needs_workers
@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_pool_reads_a_bounded_number_of_tasks_ahead(num_workers):
  drawn: List[object] = []
  tasks = ((i, (-i,)) for i in _noted(range(100), drawn))
  with worker_pool.WorkerPool(abs, num_workers, 7, str) as pool:
    results = pool.map(tasks)
    assert drawn == []
    for i in range(100):
      assert next(results) == (i, i)
      assert len(drawn) == min(i + 7, 100)
    assert list(results) == []


@needs_workers
def test_workers_are_ahead_over_windows_and_epochs(plain_corpus, monkeypatch):
  stream = plain_corpus.stream(None, num_workers=2)  # Of one split.
  read = _calls(monkeypatch, stream._corpus, "chunks")
  monkeypatch.setattr(es, "CHUNKS_PER_WINDOW", 30)
  windows = stream.windows()
  next(windows)
  windows.close()
  assert len(read) >= 2  # The second epoch's chunks are on their way.


# --------------------------------------------------------------------- sharded


@pytest.mark.parametrize("num_hosts", [1, 2, 3])
def test_hosts_share_the_corpus(odd_corpus, num_hosts):
  for epoch in range(2):
    shares = [
        lines_used(
            e for p, window in odd_corpus.stream(
                2, shard=es.Shard(host, num_hosts), num_hosts=num_hosts,
                split_bytes=200).windows(es.Position(epoch))
            if p.epoch == epoch for e in window) for host in range(num_hosts)
    ]
    assert all(shares)
    # Each line once in the sum: so the shares are disjoint as well.
    assert sum(shares, collections.Counter()) == once(odd_corpus.num_lines)


def test_a_host_reads_its_own_splits_only(plain_corpus, monkeypatch):
  by_host = []
  for host in range(2):
    stream = plain_corpus.stream(1, shard=es.Shard(host, 2), **SMALL)
    read, _ = _count_calls(monkeypatch, stream)
    list(stream.windows())
    by_host.append(set(read))
  assert not by_host[0] & by_host[1]
  assert by_host[0] | by_host[1] == {
      (split,) for split in plain_corpus.corpus(**SMALL).splits()}


# -------------------------------------------------------------------- shuffled


def test_chunks_are_shuffled_over_the_whole_corpus(plain_corpus, monkeypatch):
  stream = plain_corpus.stream(1, **SMALL)
  _, built = _count_calls(monkeypatch, stream)
  list(stream.windows())
  keys = [chunk.key for _, chunk in built]
  assert len(set(keys)) == len(keys) > 20
  assert keys != sorted(keys)
  # The first third of the epoch has chunks of every file.
  assert {file for file, _ in keys[:len(keys) // 3]} == {0, 1, 2}


def test_chunks_of_one_group_are_shuffled(plain_corpus, monkeypatch):
  stream = plain_corpus.stream(1)  # One split: only the group is shuffled.
  _, built = _count_calls(monkeypatch, stream)
  list(stream.windows())
  keys = [chunk.key for _, chunk in built]
  assert len(keys) > 20
  assert keys != sorted(keys)


def test_examples_are_shuffled_within_a_window(plain_corpus, monkeypatch):
  stream = plain_corpus.stream(1, **SMALL)
  _, built = _count_calls(monkeypatch, stream)
  mixed = 0
  for _, window in stream.windows():
    chunks = built[-es.CHUNKS_PER_WINDOW:]
    plain = [e for epoch, chunk in chunks
             for e in es.ExampleBuilder(plain_corpus.options()).build(
                 epoch, chunk)]
    # The last window of a pool may be short: its chunks are the last ones.
    assert set(window) <= set(plain)
    mixed += window != plain[-len(window):]
  assert mixed > 3


def test_packed_rows_are_shuffled_within_a_window(plain_corpus, monkeypatch):
  """Best fit orders them by the length of their longest sequence."""
  monkeypatch.setattr(es, "CHUNKS_PER_WINDOW", 10)
  stream = es.ExampleStream(
      plain_corpus.corpus(**SMALL),
      plain_corpus.options(pack_sequences=True, max_sequences_per_pack=2),
      num_epochs=1)
  pack = stream._packer.pack
  packed = _calls(monkeypatch, stream._packer, "pack")
  mixed = 0
  for _, window in stream.windows():
    best_fit = pack(*packed[-1])
    assert sorted(window) == sorted(best_fit)
    mixed += window != best_fit
  assert mixed > 3


# ------------------------------------------------------------------------ loud


def test_invalid_utf8_names_file_line_and_byte(plain_corpus):
  """The examples before it are the same; the error names the place."""
  good = plain_corpus.lines(30).encode()
  path = plain_corpus.write(
      "bad.txt", good + b"w1 \xff\n" + plain_corpus.lines(30).encode())
  before = []
  for num_workers in KNOWN_WORKERS:
    examples = []
    with pytest.raises(ValueError) as raised:
      for example in plain_corpus.stream(1, num_workers, **SMALL).examples():
        examples.append(example)
    before.append(examples)
    message = str(raised.value)
    assert path in message
    assert "line 31," in message
    assert "byte offset %d," % (len(good) + 3) in message
  assert before[0] == before[-1] != []


@pytest.mark.parametrize("num_workers", KNOWN_WORKERS)
def test_invalid_utf8_can_be_replaced(plain_corpus, num_workers):
  before = plain_corpus.num_lines
  plain_corpus.write("bad.txt", plain_corpus.lines(9).encode() + b"\xff\n")
  stream = es.ExampleStream(
      plain_corpus.corpus(), plain_corpus.options(invalid_utf8="replace"),
      num_epochs=1, num_workers=num_workers)
  assert lines_used(stream.examples()) == once(before + 9)


@pytest.mark.parametrize("num_workers", KNOWN_WORKERS)
@pytest.mark.parametrize("num_epochs", [None, 2])
def test_an_epoch_without_an_example_is_an_error(
    maker, num_workers, num_epochs):
  path = maker.write("blank.txt", "\n \n" * 50)
  stream = maker.stream(num_epochs, num_workers, split_bytes=32)
  with pytest.raises(ValueError, match="yields no example") as raised:
    list(stream.examples())
  assert path in str(raised.value)


@pytest.mark.parametrize("num_epochs", [None, 1])
def test_a_host_without_a_split_is_an_error(maker, num_epochs):
  maker.write("a.txt", maker.documents(3))
  stream = maker.stream(num_epochs, shard=es.Shard(1, 2))
  with pytest.raises(ValueError, match="for host 1 of 2"):
    next(stream.examples())


def test_a_later_epoch_without_an_example_is_an_error(maker):
  path = maker.write("a.txt", maker.documents(3))
  examples = maker.stream(None).examples()
  next(examples)
  pathlib.Path(path).write_text("\n" * os.path.getsize(path))
  with pytest.raises(ValueError, match="yields no example"):
    list(examples)


def test_a_negative_number_of_workers_is_refused(plain_corpus):
  with pytest.raises(ValueError, match="--num_workers=-1"):
    plain_corpus.stream(num_workers=-1)


def test_windows_has_no_workers(plain_corpus, monkeypatch):
  plain_corpus.corpus()
  with monkeypatch.context() as patch:
    patch.setattr(es.os, "name", "nt")
    with pytest.raises(ValueError) as raised:
      es.ExampleStream(None, plain_corpus.options(), num_workers=1)
    es.ExampleStream(None, plain_corpus.options(), num_workers=0)
  assert "Windows" in str(raised.value)
  assert "--num_workers=0" in str(raised.value)
