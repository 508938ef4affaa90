"""Mixtures of texts: which text an example is from, and where in it."""

import fractions
import itertools
import math
import os
import random
from typing import Any, Dict, List

import pytest
from program import LENGTHS, VOCAB, children, text

from bert_e2e.config import MAX_MIXTURE_PERIOD, REPLAY, MixtureConfig
from bert_e2e.data import preflight, preflight_text, resume
from bert_e2e.data import stream as es
from bert_e2e.data.mixture import Schedule
from bert_e2e.data.text_source import TextSource, mix, take_write_2_flow

F = fractions.Fraction


def random_weights(seed):
  """Returns two to seven weights whose sum is 1."""
  rng = random.Random(seed)
  total = rng.choice([10, 37, 100, 360, MAX_MIXTURE_PERIOD])
  cuts = sorted(rng.sample(range(1, total), rng.randint(1, 6)))
  return [F(end - start, total)
          for start, end in zip([0] + cuts, cuts + [total])]


@pytest.mark.parametrize("share", [
    F(1, 20), F(1, 4), F(2, 5), F(1, 2), F(333, 1000), F(1, 1000), F(99, 100)],
                         ids=str)
def test_of_two_texts_the_second_one_comes_as_late_as_it_may(share):
  """Example n is replay iff floor((n + 1) p) > floor(n p)."""
  texts = Schedule([1 - share, share]).texts(0)
  for number in range(2500):
    assert next(texts) == (
        math.floor((number + 1) * share) > math.floor(number * share))


@pytest.mark.parametrize("weights", [
    *map(random_weights, range(40)), [F(1, 7)] * 7, [F(1)]], ids=str)
def test_counts_are_within_one_for_every_prefix(weights):
  schedule = Schedule(weights)
  counts = [0] * len(weights)
  for number, chosen in enumerate(itertools.islice(
      schedule.texts(0), 2 * len(schedule.order) + 5)):
    assert schedule.counts(number) == counts
    for count, weight in zip(counts, weights):
      assert math.floor(number * weight) <= count <= math.ceil(number * weight)
    counts[chosen] += 1


def test_an_order_goes_on_anywhere():
  schedule = Schedule([F(5, 11), F(4, 11), F(2, 11)])
  whole = list(itertools.islice(schedule.texts(0), 60))
  for number in (1, 5, 10, 11, 12, 40):
    assert list(itertools.islice(
        schedule.texts(number), 60 - number)) == whole[number:]


def test_weights_that_are_too_fine_are_refused():
  with pytest.raises(ValueError, match="multiples of 1 / 12347 of their sum"):
    parts_of("a.txt:1,b.txt:12346")
  with pytest.raises(ValueError, match="--replay_proportion=0.0005 is too"):
    MixtureConfig("old.txt", 0.0005).parts("new.txt")


# ------------------------------------------------------------------ the config


def parts_of(mixture, files=None):
  return MixtureConfig(mixture=mixture).validated().parts(files)


def test_parts_of_a_mixture():
  found = parts_of("a/*.txt:0.5, gs://b/c.txt:.3 ,d\\,e.txt:1")
  assert [(part.name, part.files, part.weight) for part in found] == [
      ("a/*.txt", ["a/*.txt"], F(5, 18)),
      ("gs://b/c.txt", ["gs://b/c.txt"], F(3, 18)),
      ("d,e.txt", ["d,e.txt"], F(10, 18))]
  replay = MixtureConfig("old.txt", 0.05).validated().parts("new.txt")
  assert [(part.files, part.weight, part.is_replay) for part in replay] == [
      ("new.txt", F(19, 20), False), ("old.txt", F(1, 20), True)]
  assert [part.weight for part in MixtureConfig().parts("new.txt")] == [1]


@pytest.mark.parametrize("mixture, said", [
    ("a.txt", "\"a.txt\" is not a text and its weight"),
    ("a.txt:x", "\"a.txt:x\" is not a text and its weight"),
    ("a.txt:1,:2", "\":2\" is not a text"),
    ("a.txt:-1", "is not a text and its weight"),
    ("a.txt:1,a.txt:2", "names a.txt twice"),
    ("a.txt:1,b.txt:0", "the weight of b.txt is 0")])
def test_mixtures_of_another_form_are_refused(mixture, said):
  with pytest.raises(ValueError, match="--mixture=") as caught:
    parts_of(mixture)
  assert said in str(caught.value)


def test_texts_that_contradict_each_other_are_refused():
  with pytest.raises(ValueError, match="both name the text to train on"):
    parts_of("a.txt:1", "b.txt")
  with pytest.raises(ValueError, match="--input_file is missing"):
    parts_of(None)
  with pytest.raises(ValueError, match="requires --replay_input_file"):
    MixtureConfig(replay_proportion=0.1).validated()
  with pytest.raises(ValueError, match="add it to --mixture=a.txt:1"):
    MixtureConfig("old.txt", mixture="a.txt:1").validated()
  with pytest.raises(ValueError, match="--replay_proportion=1 is out of range"):
    MixtureConfig("old.txt", 1).validated()


# ------------------------------------------------------------------ the stream


@pytest.fixture
def paths(tmp_path, monkeypatch):
  """Three texts, the last one the smallest, and a vocabulary."""
  monkeypatch.setattr(es, "CHUNKS_PER_WINDOW", 2)
  for number, documents in enumerate((60, 40, 9)):
    (tmp_path / ("%d.txt" % number)).write_text(
        text(documents, first=100 * number))
  (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
  return [str(tmp_path / name)
          for name in ("0.txt", "1.txt", "2.txt", "vocab.txt")]


KINDS: Dict[str, Dict[str, Any]] = {
    "replay": {"replay_proportion": 0.25},
    "mixture": {},
    "packed": {"replay_proportion": 0.4, "pack_sequences": True,
               "max_seq_length": 64},
}


@pytest.fixture(params=sorted(KINDS))
def flows(request, paths):
  """A mixture.

  Returns:
    (function from options to the mixture's stream, one to the list of the
    streams of its texts, their weights)
  """
  first, second, third, vocab_file = paths
  options = dict(LENGTHS, chunk_lines=20, **KINDS[request.param])
  files, weights = [first, third], [F(3, 4), F(1, 4)]
  if request.param == "packed":
    weights = [F(3, 5), F(2, 5)]
  mixed = {"replay_input_file": third}
  if request.param == "mixture":
    files, weights = [first, second, third], [F(5, 10), F(3, 10), F(2, 10)]
    mixed = {"mixture": "%s:5,%s:3,%s:2" % (first, second, third)}

  def flow(**changes):
    return take_write_2_flow(
        None if "mixture" in mixed else first, vocab_file,
        **dict(options, **mixed, **changes))

  options_of_texts = {name: value for name, value in options.items()
                      if name != "replay_proportion"}

  def texts(**changes):
    return [take_write_2_flow(path, vocab_file, **options_of_texts, **changes)
            for path in files]

  return flow, texts, weights


def test_its_examples_are_those_of_the_texts_in_the_schedules_order(flows):
  flow, texts, weights = flows
  streams = texts()
  expected = [next(streams[number]) for number in itertools.islice(
      Schedule(weights).texts(0), 400)]
  assert list(itertools.islice(flow(), 400)) == expected
  assert list(itertools.islice(flow(num_workers=3), 400)) == expected


def test_it_goes_on_at_any_example(flows, tmp_path):
  flow, _, _ = flows
  path = str(tmp_path / "windows.txt")
  whole = list(itertools.islice(flow(log=resume.WindowLog(path)), 300))
  assert (tmp_path / "windows.text1.txt").exists()
  for number in (0, 1, 7, 130, 299):
    for log in (None, resume.WindowLog(path)):
      found = flow(first_example=number, log=log, num_workers=2 * bool(log))
      assert list(itertools.islice(found, 300 - number)) == whole[number:]


def test_it_ends_with_the_first_text_that_is_complete(flows):
  """A replayed text is repeated instead."""
  flow, texts, weights = flows
  left: List[float] = [len(list(each)) for each in texts(num_epochs=1)]
  if len(left) == 2:
    left[1] = math.inf
  expected = 0
  for number in Schedule(weights).texts(0):
    left[number] -= 1
    if left[number] < 0:
      break
    expected += 1
  found = flow(num_epochs=1)
  assert len(list(found)) == expected > 20
  assert not list(found)  # It stays at its end.


def test_hosts_share_each_text(paths, tmp_path):
  first, _, _, vocab_file = paths
  second = str(tmp_path / "long.txt")
  (tmp_path / "long.txt").write_text(text(200, first=500))
  options = dict(LENGTHS, chunk_lines=20, num_shards=2)
  for host in (0, 1):
    parts = [take_write_2_flow(path, vocab_file, shard_index=host, **options)
             for path in (first, second)]
    found = take_write_2_flow(
        first, vocab_file, replay_input_file=second, replay_proportion=0.5,
        shard_index=host, **options)
    assert list(itertools.islice(found, 60)) == [
        next(parts[number % 2]) for number in range(60)]


def test_an_error_of_any_text_ends_it(paths, tmp_path):
  first, _, _, vocab_file = paths
  bad = tmp_path / "bad.txt"
  bad.write_bytes(b"w1 w2 w3\n\n" * 10 + b"w1 \xff\xff w2\n")
  found = take_write_2_flow(
      first, vocab_file, replay_input_file=str(bad), replay_proportion=0.5,
      num_workers=2, **LENGTHS)
  before = set(children(os.getpid()))
  with pytest.raises(ValueError, match="bad.txt.*UTF-8"):
    for _ in range(200):
      next(found)
  # The workers of the other text, too.
  assert set(children(os.getpid())) <= before


def test_the_end_of_a_text_ends_the_workers_of_all(paths):
  first, second, _, vocab_file = paths
  before = set(children(os.getpid()))
  found = take_write_2_flow(
      first, vocab_file, replay_input_file=second, replay_proportion=0.5,
      num_epochs=1, num_workers=2, **LENGTHS)
  assert list(found)
  assert set(children(os.getpid())) <= before
  with pytest.raises(StopIteration):
    next(found)


def test_it_can_be_stopped_and_closed(paths):
  first, _, third, vocab_file = paths
  found = take_write_2_flow(
      first, vocab_file, replay_input_file=third, num_workers=2, **LENGTHS)
  next(found)
  found.check()
  found.stop()
  assert len(list(itertools.islice(found, 5000))) < 5000
  found.close()
  with pytest.raises(StopIteration):
    next(found)


# ----------------------------------------------------------------- the records


def mixture_of(paths, **options):
  """Returns the mixture.Mixture of two texts."""
  first, second, _, vocab_file = paths
  return mix([(part, TextSource.from_arguments(
      part.files, vocab_file, **LENGTHS))
              for part in MixtureConfig(second, **options).parts(first)])


def test_the_record_tells_mixtures_apart(paths):
  record = mixture_of(paths, replay_proportion=0.25).record()
  assert record.options["replay_proportion"] == 0.25
  plain = TextSource.from_arguments(paths[0], paths[3], **LENGTHS).record()
  assert [clause.partition(" was ")[0] for clause in plain.differences(record)
          ] == ["replay_input_file", "replay_proportion"]
  other = mixture_of(paths, replay_proportion=0.2).record()
  assert record.differences(other) == ["replay_proportion was 0.25 and is 0.2"]
  with open(paths[1], "a") as stream:
    stream.write("w1 w2\n")
  changed, = record.differences(
      mixture_of(paths, replay_proportion=0.25).record())
  assert changed.startswith("replay_input_file was text of ")


def test_progress_of_each_text(paths):
  source = mixture_of(paths, replay_proportion=0.25)
  log = resume.WindowLog(None)
  examples = source.open(log=log)
  assert [each.epochs for each in source.progress(0, log)] == [None, None]
  for number in range(1, 200):
    next(examples)
    first, second = source.progress(number, log)
    assert (first.examples, second.examples) == (
        number - number // 4, number // 4)
  assert (first.name, second.name) == ("--input_file", REPLAY)
  per_epoch = [each.source.count_examples() for each in source.texts]
  for progress, count in zip((first, second), per_epoch):
    assert progress.epochs == pytest.approx(progress.examples / count, abs=0.4)


# --------------------------------------------------------------- the preflight


def preflights_of(paths):
  first, _, third, vocab_file = paths
  found = [TextSource.from_arguments(path, vocab_file, **LENGTHS).preflight()
           for path in (first, third)]
  return preflight.mix([
      each._replace(text_name=name, weight=weight) for each, name, weight in
      zip(found, ("--input_file", REPLAY), (0.75, 0.25))])


def test_the_preflight_counts_each_text(paths):
  found = preflight.plan(preflights_of(paths), 40, 4, 8)
  other, = found.mixed_with
  for each in (found, other):
    assert each.epochs == pytest.approx(
        320 * each.weight / each.examples_per_epoch, rel=1e-5)
  assert preflight.epoch_examples(found) == found.examples_per_epoch
  named = found._replace(mixed_with=(other._replace(text_name="b.txt"),))
  assert preflight.epoch_examples(named) == (
      found.examples_per_epoch + other.examples_per_epoch)
  table = preflight_text.to_text(found)
  assert "75 % of the examples are of --input_file" in table
  assert "--replay_input_file, 25 % of the examples" in table
  assert preflight_text.from_dict(preflight_text.to_dict(found)) == found


def test_packed_rows_are_those_of_all_texts(paths):
  found = preflights_of(paths)._replace(
      pack_sequences=True, sequences_per_pack=2.0, more_sequences=None)
  other, = found.mixed_with
  found = preflight.plan(found._replace(mixed_with=(
      other._replace(sequences_per_pack=6.0),)), 40, 4, 16)
  assert found.mean_sequences_per_pack == 3.0  # 3/4 of 2 and 1/4 of 6.
  assert found.mixed_with[0].mean_sequences_per_pack == 6.0
  table = preflight_text.to_text(found)
  assert "an update has 48 sequences" in table
  assert "with --train_batch_size=5 it would have 15" in table


def test_the_preflight_warns_of_each_text(paths):
  """The replayed text is so small that it is repeated most often."""
  found = preflight.plan(preflights_of(paths), 1000, 100, 8)
  of_input, of_replay = [warning.text for warning in found.warnings
                         if warning.name == "epochs"]
  assert of_input.startswith("--input_file: The training repeats the text")
  assert of_replay.startswith("--replay_input_file: The training repeats")
  assert of_replay.endswith(
      "lower --replay_proportion, or add text to --replay_input_file.")
  steps = int(of_input.split("--num_train_steps=")[1].split()[0])
  planned = preflight.plan(preflights_of(paths), steps, 100, 8)
  assert planned.epochs == pytest.approx(preflight.MAX_EPOCHS, rel=0.1)
  # A warning on the flags is that of the training.
  short = preflight.plan(preflights_of(paths), 10, 100, 8)
  assert [warning.text.split(" ")[0] for warning in short.warnings
          if warning.name == "warmup"] == ["The"]
  # A recipe's epochs raise none, more of them do.
  for max_epochs, count in ((1000, 0), (60, 1)):
    planned = preflight.plan(
        preflights_of(paths), 1000, 100, 8, max_epochs=max_epochs)
    assert [warning.name for warning in planned.warnings].count(
        "epochs") == count + (max_epochs < planned.epochs)


def test_texts_that_share_a_file_are_refused(paths, tmp_path):
  link = tmp_path / "link.txt"
  link.symlink_to(paths[0])
  for mixed in (dict(replay_input_file=str(link)),
                dict(replay_input_file=",".join(paths[:2]))):
    with pytest.raises(ValueError, match=(
        "--input_file and --replay_input_file both name ")):
      take_write_2_flow(paths[0], paths[3], **mixed, **LENGTHS)
  with pytest.raises(ValueError, match="of --mixture and \".*link.txt\" of"):
    take_write_2_flow(None, paths[3], mixture="%s:1,%s:1" % (
        paths[0], link), **LENGTHS)
