"""Examples and instances: equal to the reference's, and equal to protobuf's."""

import os
import random

import forked_programs
import golden_examples
import pytest
import tensorflow.compat.v1 as tf

import create_pretraining_data as cpd
import tokenization
from bert_e2e.data import sampling

ROOT = os.path.dirname(os.path.abspath(cpd.__file__))
PROGRAM = os.path.join(ROOT, "create_pretraining_data.py")
CASES = golden_examples.cases()


def parse(example):
  """Returns a serialized tf.Example as golden_examples.load gives one."""
  features = tf.train.Example.FromString(example).features.feature
  return {
      name: list(feature.int64_list.value or feature.float_list.value)
      for name, feature in features.items()
  }


def run_program(arguments):
  return forked_programs.run([PROGRAM] + arguments)


def examples_of(case):
  """Returns a case's examples by the functions that the program calls."""
  flags = dict(case.flags)
  tokenizer = cpd.packing_tokenizer(
      case.vocab_file, flags.pop("do_lower_case", True))
  rng = random.Random(flags.pop("random_seed", 12345))
  options = cpd.InstanceOptions(
      **dict({"dupe_factor": 10}, **flags)).validated()
  instances = cpd.instances_from_documents(
      cpd.documents_of_files(case.input_files, tokenizer), options,
      cpd.id_pieces(tokenizer), sampling.ReferenceSampler(rng))
  return cpd.create_instance_to_example_files(
      instances, tokenizer, options.max_seq_length,
      options.max_predictions_per_seq)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_examples_are_the_references(case):
  """The same examples, one for one and in order, dealt to outputs in turn."""
  expected = golden_examples.load(case)
  examples = [parse(example) for example in examples_of(case)]
  assert [
      examples[i::case.num_outputs] for i in range(case.num_outputs)
  ] == expected


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.name in
             ("three_outputs", "patterns", "odd_characters_cased_words")],
    ids=lambda case: case.name)
def test_program_writes_the_references_examples(case, tmp_path):
  outputs = [str(tmp_path / str(i)) for i in range(case.num_outputs)]
  result = run_program(case.arguments(outputs, use_patterns=True))
  assert result.returncode == 0, result.stdout
  written = [
      [parse(record) for record in tf.io.tf_record_iterator(path)]
      for path in outputs
  ]
  assert written == golden_examples.load(case)
  total = sum(map(len, written))
  assert "Wrote %d total instances" % total in result.stdout
  assert result.stdout.count("*** Example ***") == min(20, total)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.name.startswith(("english", "chinese"))],
    ids=lambda case: case.name)
def test_pieces_as_texts_give_the_same_instances(case):
  """create_training_instances, which takes and gives texts, has one meaning."""
  flags = dict(case.flags)
  tokenizer = tokenization.FullTokenizer(
      case.vocab_file, flags.pop("do_lower_case", True))
  rng = random.Random(flags.pop("random_seed", 12345))
  options = cpd.InstanceOptions(**dict({"dupe_factor": 10}, **flags))
  instances = cpd.create_training_instances(
      case.input_files, tokenizer, options.max_seq_length, options.dupe_factor,
      options.short_seq_prob, options.masked_lm_prob,
      options.max_predictions_per_seq, rng,
      do_whole_word_mask=options.do_whole_word_mask)
  assert all(isinstance(t, str) for i in instances for t in i.tokens)
  examples = cpd.create_instance_to_example_files(
      instances, tokenizer, options.max_seq_length,
      options.max_predictions_per_seq)
  assert [parse(e) for e in examples] == golden_examples.load(case)[0]


def test_bytes_are_those_of_deterministic_protobuf():
  """For every golden example: packed by hand, and by protobuf's own code."""
  for case in CASES[:6]:
    for example in examples_of(case):
      message = tf.train.Example.FromString(example)
      assert message.SerializeToString(deterministic=True) == example


def test_bytes_of_large_numbers_and_no_negative_ones():
  serializer = cpd.ExampleSerializer(3, 2)
  with pytest.raises(ValueError, match="negative"):
    serializer.serialize([5, -1], [0, 1], [1], [5], True)
  example = serializer.serialize([70000, 2**31 - 1], [0, 1], [1], [1 << 40],
                                 True)
  assert parse(example) == {
      "input_ids": [70000, 2**31 - 1, 0],
      "input_mask": [1, 1, 0],
      "segment_ids": [0, 1, 0],
      "masked_lm_positions": [1, 0],
      "masked_lm_ids": [1 << 40, 0],
      "masked_lm_weights": [1.0, 0.0],
      "next_sentence_labels": [1],
  }
  message = tf.train.Example.FromString(example)
  assert message.SerializeToString(deterministic=True) == example


def test_an_instance_that_is_too_long_is_refused():
  instance = cpd.TrainingInstance([1] * 9, [0] * 9, [1], [5], False)
  with pytest.raises(ValueError, match="9 pieces.*max_seq_length=8"):
    cpd.create_instance_to_example_files([instance], None, 8, 4)


def test_instance_prints_its_parts():
  instance = cpd.TrainingInstance(
      ["[CLS]", "a", "[SEP]", "[MASK]", "[SEP]"], [0, 0, 0, 1, 1], [3], ["b"],
      True)
  assert str(instance) == (
      "tokens: [CLS] a [SEP] [MASK] [SEP]\nsegment_ids: 0 0 0 1 1\n"
      "is_random_next: True\nmasked_lm_positions: 3\nmasked_lm_labels: b\n\n")
  assert repr(instance) == str(instance)


def test_truncation_keeps_the_middle():
  a, b = list(range(10)), list(range(100, 130))
  cpd.truncate_seq_pair(a, b, 12, random.Random(1))
  assert len(a) + len(b) == 12 and abs(len(a) - len(b)) <= 1
  assert a == list(range(a[0], a[0] + len(a)))
  assert b == list(range(b[0], b[0] + len(b)))
  assert 0 < a[0] < 5 and 100 < b[0] < 124


def test_masks_follow_the_paper():
  """About 80 % [MASK], 10 % kept, 10 % random, over many draws."""
  words = ["w%d" % i for i in range(1000)]
  tokens = ["[CLS]"] + words[:120] + ["[SEP]"]
  rng = random.Random(3)
  kinds = {"mask": 0, "kept": 0, "random": 0}
  for _ in range(500):
    masked, positions, labels = cpd.create_masked_lm_predictions(
        tokens, 0.15, 20, words, rng)
    assert positions == sorted(positions) and len(positions) == 18
    assert labels == [tokens[i] for i in positions]
    assert masked[0] == "[CLS]" and masked[-1] == "[SEP]"
    for i, token in enumerate(masked):
      if i not in positions:
        assert token == tokens[i]
      elif token == "[MASK]":
        kinds["mask"] += 1
      else:
        kinds["kept" if token == tokens[i] else "random"] += 1
  total = sum(kinds.values())
  assert total == 9000
  assert abs(kinds["mask"] / total - 0.8) < 0.02
  assert abs(kinds["kept"] / total - 0.1) < 0.02


def test_whole_words_are_masked_together():
  tokens = "[CLS] un ##aff ##able dog s ##at [SEP]".split()
  words = {(1, 2, 3), (4,), (5, 6)}
  rng = random.Random(5)
  for _ in range(50):
    _, positions, _ = cpd.create_masked_lm_predictions(
        tokens, 0.6, 20, ["x"], rng, do_whole_word_mask=True)
    covered = [word for word in words if word[0] in positions]
    assert sorted(i for word in covered for i in word) == positions


def test_group_documents():
  segments = [None, iter("ab"), None, "c", [], "de", None, None, [], "f"]
  assert cpd.group_documents(segments) == [
      (["a", "b"], [0, 2]), (["c", "d", "e"], [0, 1, 3]), (["f"], [0, 1])]
  assert cpd.group_documents([None, []]) == []


class _Words:
  """A tokenizer of somebody's own: words, special tokens among them."""

  vocab = {w: i for i, w in enumerate(
      ["w%d" % i for i in range(50)] + ["##x", "##y", "[SEP]", "[CLS]"])}
  tokenize = staticmethod(str.split)


@pytest.mark.parametrize("whole_words", [False, True])
def test_document_by_document_gives_the_same_instances(tmp_path, whole_words):
  """The loop of the reference's create_training_instances, by hand."""
  rng = random.Random(8)
  words = list(_Words.vocab)
  documents = [
      [rng.choices(words, k=rng.randint(1, 12))
       for _ in range(rng.randint(1, 9))] for _ in range(20)]
  path = tmp_path / "text.txt"
  path.write_text("\n\n".join(
      "\n".join(map(" ".join, document)) for document in documents))
  whole = cpd.create_training_instances(
      [str(path)], _Words, 24, 1, 0.4, 0.3, 5, random.Random(3),
      do_whole_word_mask=whole_words)
  rng = random.Random(3)
  rng.shuffle(documents)
  instances = [
      instance for index in range(len(documents))
      for instance in cpd.create_instances_from_document(
          documents, index, 24, 0.4, 0.3, 5, words, rng,
          do_whole_word_mask=whole_words)]
  rng.shuffle(instances)
  assert list(map(str, instances)) == list(map(str, whole))
  assert len(instances) > 40
  assert not any(label in ("[SEP]", "[CLS]") for instance in instances
                 for label in instance.masked_lm_labels)


@pytest.mark.parametrize("name, value", [
    ("max_seq_length", 4), ("max_predictions_per_seq", 0),
    ("masked_lm_prob", 1.1), ("masked_lm_prob", -0.1),
    ("short_seq_prob", 2.0), ("short_seq_prob", float("nan")),
    ("dupe_factor", 0), ("max_seq_length", -1),
])
def test_options_out_of_range_are_refused(name, value):
  with pytest.raises(ValueError, match="--%s" % name):
    cpd.InstanceOptions(**{name: value}).validated()


class TestProgramRefuses:
  """Bad input: one sentence, exit code 1, no traceback, no output file."""

  @pytest.fixture
  def run(self, tmp_path):
    case = CASES[0]
    self.out = tmp_path / "out.tfrecord"

    def run(input_file=None, output_file=None, vocab_file=None, more=()):
      result = run_program([
          "--input_file=%s" % (input_file or case.input_files[0]),
          "--output_file=%s" % (output_file or self.out),
          "--vocab_file=%s" % (vocab_file or case.vocab_file)] + list(more))
      assert result.returncode == 1
      assert "Traceback" not in result.stdout
      assert not self.out.exists()
      return result.stdout

    return run

  def test_no_match(self, run, tmp_path):
    assert "no-such-*.txt" in run(input_file=str(tmp_path / "no-such-*.txt"))

  def test_no_text(self, run, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n\n")
    assert "no example" in run(input_file=str(tmp_path / "empty.txt"))

  def test_invalid_utf8(self, run, tmp_path):
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"one\ntwo\ncaf\xe9 au lait\n")
    said = run(input_file=str(path))
    assert "latin1.txt" in said and "line 3" in said and "offset 11" in said
    assert "--invalid_utf8=replace" in said

  def test_vocabulary(self, run, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nword\n")
    assert "[MASK]" in run(vocab_file=str(path))
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[CLS]\n")
    assert "lines [3, 6]" in run(vocab_file=str(path))

  def test_missing_vocabulary(self, run, tmp_path):
    assert "nowhere.txt" in run(vocab_file=str(tmp_path / "nowhere.txt"))

  def test_output_folder(self, run, tmp_path):
    assert "does not exist" in run(output_file=str(tmp_path / "no" / "out"))
    assert "cannot be written" in run(output_file=str(tmp_path))

  def test_vocabulary_that_is_not_utf8(self, run, tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    said = run(vocab_file=str(tmp_path / "vocab.txt"))
    assert "vocab.txt" in said and "--invalid_utf8" not in said

  def test_arguments_without_a_flag(self, run):
    assert "Arguments without a flag: b.txt" in run(more=["b.txt"])

  def test_option(self, run):
    assert "--masked_lm_prob" in run(more=["--masked_lm_prob=15"])


def test_invalid_utf8_can_be_replaced(tmp_path):
  path = tmp_path / "latin1.txt"
  path.write_bytes(b"some text here\ncaf\xe9 au lait\nand some more\n")
  out = tmp_path / "out"
  result = run_program([
      "--input_file=%s" % path, "--output_file=%s" % out,
      "--vocab_file=%s" % CASES[0].vocab_file, "--invalid_utf8=replace"])
  assert result.returncode == 0, result.stdout
  assert len(list(tf.io.tf_record_iterator(str(out)))) > 0
