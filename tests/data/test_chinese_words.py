"""Chinese words: found as the authors' functions do, and masked as a whole."""

import dataclasses
import json
import os
import pickle
import random
import subprocess
import sys

import forked_programs
import pytest
from program import ROOT

import create_pretraining_data as cpd
import run_pretraining_e2e as e2e
import show_examples
import tokenization
from bert_e2e import config
from bert_e2e.data import (
  chinese_words,
  masking,
  preflight,
  sampling,
  tf_example,
)
from bert_e2e.data.corpus import Corpus
from bert_e2e.data.example_builder import ExampleBuilder, StreamOptions
from bert_e2e.data.pieces import id_pieces, packing_tokenizer, text_pieces
from bert_e2e.data.text_source import TextSource

sys.path.append(os.path.join(ROOT, "tests", "golden"))

import make_chinese_golden as golden  # noqa: E402

VOCAB = golden.VOCAB_FILE
TEXT = os.path.join(golden.EXAMPLES, "text", "chinese_simplified.txt")
SEGMENTERS = {"word list": {"word_list": golden.WORD_LIST},
              "jieba": {"segmenter": "jieba"}}
BOTH = pytest.mark.parametrize("which", SEGMENTERS)
RIGHTS, WORLD = "\u4eba\u6743", "\u4e16\u754c"  # Human rights; world.


@pytest.fixture
def write(tmp_path):
  """Returns a function that writes a file and returns its path."""

  def write(name, data):
    data = data.encode("utf-8") if isinstance(data, str) else data
    (tmp_path / name).write_bytes(data)
    return str(tmp_path / name)

  return write


def sizes_of_words(lines, segments, pieces):
  """Returns the sizes of the words of each line, in the form of the golden
  file."""
  return [" ".join(str(len(word)) for word in masking._words(
      range(len(marked)), marked, pieces))
          for marked in map(list, pieces.marked(lines, segments))]


# ------------------------------------------------------- which pieces are words


@BOTH
@pytest.mark.parametrize("kind", ["encoded", "ids", "texts"])
def test_words_are_those_of_the_authors(which, kind):
  lines = golden.lines()
  tokenizer = tokenization.FullTokenizer(VOCAB)
  if kind == "encoded":
    tokenizer = packing_tokenizer(VOCAB)
  words = chinese_words.ChineseWords(**SEGMENTERS[which])
  if kind == "texts":
    pieces = text_pieces(list(tokenizer.vocab), words)
    segments = [tokenizer.tokenize(line) for line in lines]
  else:
    pieces = id_pieces(tokenizer, words)
    segments = list(tokenizer.lines_to_ids("\n".join(lines)))
  with open(golden.GOLDEN_FILE) as stream:
    expected = json.load(stream)[which]
  assert len(lines) > 400
  assert sizes_of_words(lines, segments, pieces) == expected


def marked_text(line, **options):
  """Returns a line with a space before each word."""
  tokenizer = tokenization.FullTokenizer(VOCAB)
  pieces = text_pieces(
      list(tokenizer.vocab), chinese_words.ChineseWords(**options))
  [tokens] = pieces.marked([line], [tokenizer.tokenize(line)])
  return "".join(" " * (not pieces.is_continuation(token)) + token
                 for token in tokens)[1:]


def test_the_longest_word_from_the_start_counts():
  a, b, c, d = "\u4eba", "\u6743", "\u4e16", "\u754c"
  for words, expected in (
      ([a + b, b + c, a + b + c], "%s%s%s %s" % (a, b, c, d)),
      ([a + b, b + c + d], "%s%s %s %s" % (a, b, c, d)),
      # Of one character, or not of Chinese ones alone.
      ([a, b + "x", c + d, "xy"], "%s %s %s%s" % (a, b, c, d)),
      # A part of a word does not count, not even a longer one's start.
      ([a + b + c + d + a], "%s %s %s %s" % (a, b, c, d))):
    assert marked_text(a + b + c + d, word_list=words + [b + a]) == expected


def test_a_list_and_a_segmenter_are_taken_together():
  of = "\u7684"
  line = WORLD + of + RIGHTS + of
  assert marked_text(line, segmenter="jieba") == "%s %s %s %s" % (
      WORLD, of, RIGHTS, of)
  for listed, expected in (
      (RIGHTS[1] + of, "%s %s %s %s" % (WORLD, of, RIGHTS, of)),
      (of + RIGHTS[0], "%s %s%s %s %s" % (WORLD, of, *RIGHTS, of)),
      (WORLD + of, "%s%s %s %s" % (WORLD, of, RIGHTS, of))):
    assert marked_text(
        line, segmenter="jieba", word_list=[listed]) == expected


def test_a_character_that_is_no_piece_is_in_no_word():
  unknown = "\u9f98"
  assert unknown not in tokenization.load_vocab(VOCAB)
  found = marked_text(RIGHTS + unknown + RIGHTS, word_list=[
      unknown + RIGHTS[0], RIGHTS + unknown, RIGHTS])
  assert found == "%s [UNK] %s" % (RIGHTS, RIGHTS)


# ---------------------------------------------------------------- the word list


@pytest.mark.parametrize("data", [
    RIGHTS + "\n" + WORLD + "\n",
    RIGHTS + "\r\n\r\n" + WORLD,
    "\ufeff" + RIGHTS + " 14 n\n\n" + WORLD + "\t7\n",
    " " + RIGHTS + "\n" + WORLD + "\u3000x y\nx\n\u4eba\n"])
def test_forms_of_a_word_list(write, data):
  path = write("words.txt", data)
  words = chinese_words.ChineseWords(path)
  expected = chinese_words.ChineseWords([WORLD, RIGHTS])
  assert words.identity() == expected.identity()
  assert words.in_line("").words == expected.in_line("").words == {
      WORLD, RIGHTS}


def test_a_word_list_is_read_again_if_it_changes(write):
  path = write("words.txt", RIGHTS)
  first = chinese_words.ChineseWords(path).in_line("")
  assert chinese_words.ChineseWords(path).in_line("") is first
  write("words.txt", RIGHTS + "\n" + WORLD)
  second = chinese_words.ChineseWords(path).in_line("")
  assert second.words == {RIGHTS, WORLD}


@pytest.mark.parametrize("data, said", [
    (None, "--word_list: .*words.txt cannot be read"),
    ("", "has no word of two Chinese characters"),
    ("\u4eba\nx y\nabc\n", "has no word of two Chinese characters"),
    (RIGHTS.encode("utf-8") + b"\n" + (RIGHTS + WORLD).encode("gb18030"),
     "words.txt, line 2: byte 0xc8 is not UTF-8 .* `iconv -f GB18030 -t UTF-8"),
    (RIGHTS.encode("utf-16"), "UTF-16"),
    (b"PK\3\4" + bytes(100), "ZIP|zip|archive"),
])
@pytest.mark.parametrize("make", [
    lambda path: TextSource.from_arguments(
        TEXT, VOCAB, do_whole_word_mask=True, word_list=path),
    lambda path: e2e.fusion_input_and_out(
        ["x"], tokenization.FullTokenizer(VOCAB), random.Random(1),
        do_whole_word_mask=True, word_list=path)], ids=["flow", "fusion"])
def test_what_is_no_word_list(write, tmp_path, data, said, make):
  path = str(tmp_path / "words.txt")
  if data is not None:
    write("words.txt", data)
  with pytest.raises(ValueError, match=said):
    make(path)


# --------------------------------------------------------------------- refusals


@pytest.mark.parametrize("changes, said", [
    ({"word_list": "w"}, "--word_list .* requires --do_whole_word_mask or --"),
    ({"segmenter": "jieba"}, "--segmenter=jieba .* requires --do_whole_word"),
    ({"segmenter": "jieba", "max_ngram_size": 3},
     "--segmenter=jieba .* requires --do_whole_word_mask"),
    ({"segmenter": "x"}, "--segmenter=x is invalid.*none, jieba"),
    ({"segmenter_cache": "x", "do_whole_word_mask": True},
     "--segmenter_cache=x requires --segmenter=jieba"),
    ({"segmenter_cache": "x", "word_list": "w", "do_whole_word_mask": True},
     "--segmenter_cache=x requires --segmenter=jieba"),
])
def test_options_that_contradict(changes, said):
  with pytest.raises(ValueError, match=said):
    config.InstanceConfig(**changes).validated()


@pytest.mark.parametrize("changes", [
    {"do_whole_word_mask": True}, {"span_geometric_p": 0.2},
    {"do_whole_word_mask": True, "max_ngram_size": 2}])
def test_options_that_agree(changes):
  config.InstanceConfig(
      word_list="w", segmenter="jieba", segmenter_cache="x",
      **changes).validated()


def test_characters_have_to_be_pieces():
  options = {"do_whole_word_mask": True, "word_list": [RIGHTS]}
  TextSource.from_arguments(TEXT, VOCAB, do_split_on_punc=False, **options)
  with pytest.raises(ValueError, match="--tokenize_chinese_chars=False"):
    TextSource.from_arguments(
        TEXT, VOCAB, tokenize_chinese_chars=False, **options)


def test_the_offline_program_refuses_that_too(tmp_path):
  run = forked_programs.run([
      os.path.join(ROOT, "create_pretraining_data.py"), "--input_file=" + TEXT,
      "--output_file=%s" % (tmp_path / "out"), "--vocab_file=" + VOCAB,
      "--do_whole_word_mask", "--word_list=" + golden.WORD_LIST,
      "--tokenize_chinese_chars=false"])
  assert run.returncode == 1
  assert run.stdout.startswith("create_pretraining_data.py: --word_list and")


def test_jieba_may_be_missing(monkeypatch):
  monkeypatch.setitem(sys.modules, "jieba", None)
  with pytest.raises(ValueError, match="--segmenter=jieba needs the package "
                     "jieba.*`python -m pip install jieba`"):
    TextSource.from_arguments(
        TEXT, VOCAB, do_whole_word_mask=True, segmenter="jieba")


@pytest.mark.parametrize("name", ["none", "gs://bucket/cache"])
def test_the_cache_is_a_directory(name):
  with pytest.raises(ValueError, match="--segmenter_cache=%s is not a dir" %
                     name):
    chinese_words.Jieba(name)


def test_jieba_keeps_its_dictionary_where_it_is_told_to(tmp_path):
  chinese_words._jieba_tokenizer.cache_clear()
  words = chinese_words.Jieba(str(tmp_path))
  assert words.words_in("abc, x") == set()
  [name] = os.listdir(str(tmp_path))
  assert (tmp_path / name).stat().st_size > 1 << 20
  chinese_words._jieba_tokenizer.cache_clear()
  assert words.words_in(WORLD + RIGHTS) == {WORLD, RIGHTS}
  assert os.listdir(str(tmp_path)) == [name]


def test_jieba_is_loaded_only_if_it_is_selected():
  code = """
import sys
from bert_e2e.data.text_source import take_write_2_flow
for words in {}, {"word_list": [%r]}, {"segmenter": "jieba"}:
  next(take_write_2_flow([%r], %r, do_whole_word_mask=True, **words))
  print("jieba" in sys.modules)
""" % (RIGHTS, TEXT, VOCAB)
  said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT)
  assert said.split() == [b"False", b"False", b"True"]


# ----------------------------------------------------------- what pieces remain


@pytest.mark.parametrize("piece", [b"\x12\3", "\u6743", 4711])
def test_a_marked_piece_is_equal_to_the_plain_one(piece):
  marker = chinese_words.Marker(chinese_words.ChineseWords([RIGHTS]), {})
  marked = marker._continued[piece]
  assert isinstance(marked, chinese_words.Continued)
  assert marked == piece and piece == marked and hash(marked) == hash(piece)
  assert {piece: 1}[marked] == 1 and str(marked) == str(piece)
  assert repr(marked) == repr(piece)
  assert marker._continued[piece] is marked
  again = pickle.loads(pickle.dumps(marked))
  assert again == piece and isinstance(again, chinese_words.Continued)
  assert not isinstance(pickle.loads(pickle.dumps(piece)),
                        chinese_words.Continued)


def builder(**options):
  """Returns (an ExampleBuilder, its options) for the text's words."""
  instances = config.InstanceConfig(**dict(
      {"do_whole_word_mask": True, "max_seq_length": 64}, **options))
  return ExampleBuilder(
      StreamOptions(VOCAB, instances=instances).validated()), instances


def chunks():
  corpus = Corpus([TEXT])
  return [chunk for split in corpus.splits() for chunk in corpus.chunks(split)]


@BOTH
def test_examples_are_those_of_plain_pieces(which):
  found, _ = builder(**SEGMENTERS[which])
  [chunk] = chunks()
  instances = found.build_instances(0, chunk)
  plain = [cpd.TrainingInstance(
      list(map(bytes, each.tokens)), each.segment_ids,
      each.masked_lm_positions, list(map(bytes, each.masked_lm_labels)),
      each.is_random_next) for each in instances]
  pieces = [piece for each in instances for piece in each.tokens]
  assert any(isinstance(piece, chinese_words.Continued) for piece in pieces)
  examples = found.build(0, chunk)
  assert examples == found.serialize(plain) == found.serialize(instances)
  assert {type(example) for example in examples} == {bytes}


def test_instances_of_texts_print_and_serialize_as_before():
  tokenizer = tokenization.FullTokenizer(VOCAB)
  with open(TEXT, encoding="utf-8") as stream:
    lines = stream.read().split("\n")
  instances = e2e.fusion_input_and_out(
      lines, tokenizer, random.Random(1), do_whole_word_mask=True,
      word_list=golden.WORD_LIST)
  assert any(isinstance(piece, chinese_words.Continued)
             for each in instances for piece in each.masked_lm_labels)
  plain = [cpd.TrainingInstance(
      list(map(str.__str__, each.tokens)), each.segment_ids,
      each.masked_lm_positions, list(map(str.__str__, each.masked_lm_labels)),
      each.is_random_next) for each in instances]
  assert list(map(str, instances)) == list(map(str, plain))
  assert repr(instances[0].tokens) == repr(plain[0].tokens)
  assert cpd.create_instance_to_example_files(
      instances, tokenizer, 128, 20) == cpd.create_instance_to_example_files(
          plain, tokenizer, 128, 20)


@BOTH
def test_the_stream_is_what_the_function_builds_of_a_chunk(which):
  """With the same random numbers: pieces are ids there and texts here."""
  found, options = builder(**SEGMENTERS[which])
  [chunk] = chunks()
  tokenizer = tokenization.FullTokenizer(VOCAB)
  rng = cpd.random.Random(5)
  by_ids = cpd.examples_from_text(
      open(TEXT, encoding="utf-8").read(), found._tokenizer, found._pieces,
      options, sampling.StreamSampler(random.Random(5)))
  with open(TEXT, encoding="utf-8") as stream:
    instances = e2e.fusion_input_and_out(
        stream.read().split("\n"), tokenizer, rng,
        do_whole_word_mask=True, max_seq_length=64, **SEGMENTERS[which])
  assert by_ids == cpd.create_instance_to_example_files(
      instances, tokenizer, 64, 20)


# ------------------------------------------------------------------- the masks


@BOTH
@pytest.mark.parametrize("changes", [
    {}, {"do_whole_word_mask": False, "span_geometric_p": 0.2},
    {"max_ngram_size": 3}])
def test_words_are_masked_as_a_whole(which, changes):
  """And 15 % of all pieces are masked."""
  found, options = builder(**dict(SEGMENTERS[which], **changes))
  [chunk] = chunks()
  pieces = masked = several = cut = 0
  for epoch in range(20):
    for each in found.build_instances(epoch, chunk):
      tokens = list(each.tokens)
      for place, label in zip(each.masked_lm_positions, each.masked_lm_labels):
        tokens[place] = label
      length_a = len(each.segment_ids) - sum(each.segment_ids) - 2
      words = masking._words(
          masking.maskable_positions(tokens, found._pieces, length_a), tokens,
          found._pieces, True)
      chosen = set(each.masked_lm_positions)
      for word in words:
        inside = chosen.intersection(word)
        several += len(inside) > 1
        cut += 0 < len(inside) < len(word)
      pieces += len(tokens)
      masked += len(chosen)
      # Each group is words side by side.
      for group in each.masked_groups:
        assert group == list(range(group[0], group[-1] + 1)) or (
            options.span_geometric_p)
      assert len(each.masked_groups) <= len(chosen)
  assert several > 500
  # Spans are cut where the number to predict is reached.
  assert (cut > 0) == bool(options.span_geometric_p)
  assert masked / pieces == pytest.approx(0.15, abs=0.01)


def test_a_rest_of_a_chinese_word_at_the_start_of_b_is_a_word():
  """The reference masks a leading "##" piece of B with A's last word."""
  pieces = text_pieces(list(RIGHTS + WORLD),
                       chinese_words.ChineseWords([RIGHTS]))
  [rest] = pieces.marked([RIGHTS], [list(RIGHTS)])
  tokens = ["[CLS]", *WORLD, "[SEP]", rest[1], "[SEP]"]
  for seed in range(50):
    groups = masking.choose_groups(
        tokens, masking.maskable_positions(tokens, pieces),
        config.InstanceConfig(do_whole_word_mask=True, masked_lm_prob=1.0),
        pieces, sampling.StreamSampler(random.Random(seed)))
    assert sorted(groups) == [[1], [2], [4]]


# ------------------------------------------------------------------- the stream


def flow(**options):
  return e2e.take_write_2_flow([TEXT], VOCAB, **dict(
      {"do_whole_word_mask": True, "max_seq_length": 32, "num_epochs": 2,
       "chunk_lines": 20}, **options))


@BOTH
def test_the_stream_is_the_same_for_any_number_of_workers(which):
  options = SEGMENTERS[which]
  examples = list(flow(**options))
  assert len(set(examples)) > 100
  assert list(flow(num_workers=2, **options)) == examples
  assert list(flow(first_example=70, **options)) == examples[70:]
  assert not set(examples) & set(flow())


def test_workers_read_no_word_list(write):
  path = write("words.txt", RIGHTS + "\n" + WORLD)
  expected = list(flow(word_list=[RIGHTS, WORLD]))
  examples = flow(word_list=path, num_workers=2)
  os.remove(path)
  assert list(examples) == expected


def record_of(**options):
  source = TextSource.from_arguments(
      [TEXT], VOCAB, do_whole_word_mask=True, **options)
  return source.record().options


def test_the_words_identify_the_stream(write):
  plain = record_of()
  assert not {"word_list", "segmenter", "segmenter_cache"} & set(plain)
  first = record_of(word_list=write("a.txt", RIGHTS + " 1\n" + WORLD))
  second = record_of(word_list=write("b.txt", WORLD + "\n" + RIGHTS + "\t2"))
  assert first == second == dict(plain, word_list=first["word_list"])
  assert len(first["word_list"]) == 16
  other = record_of(word_list=write("a.txt", RIGHTS))
  assert set(other) == set(first) and other != first


def test_jieba_identifies_the_stream(monkeypatch, tmp_path):
  jieba = pytest.importorskip("jieba")
  found = record_of(segmenter="jieba", segmenter_cache=str(tmp_path))
  assert found == dict(record_of(), segmenter="jieba " + jieba.__version__)
  monkeypatch.setattr(jieba, "__version__", "1.0")
  assert record_of(segmenter="jieba")["segmenter"] == "jieba 1.0"


def test_evaluations_have_no_words(write):
  options = config.InstanceConfig(
      do_whole_word_mask=True, word_list=write("w", RIGHTS), segmenter="jieba",
      segmenter_cache="x")
  assert options.with_default_masks() == config.InstanceConfig()


# ----------------------------------------------------- preflight, show_examples


def warnings_of(path, **options):
  found = preflight.check_text(Corpus([path]), StreamOptions(
      VOCAB, instances=config.InstanceConfig(**options)))
  return {item.name: item.text for item in found.warnings}, found


def test_a_warning_that_whole_words_have_no_effect():
  said, found = warnings_of(TEXT, do_whole_word_mask=True)
  assert "--word_list" in said["characters"]
  assert "--segmenter=jieba" in said["characters"]
  assert 0.8 < found.chinese_share < 1
  assert "%.3g %% of the tokens" % (100 * found.chinese_share) in (
      said["characters"])


@pytest.mark.parametrize("name, options", [
    ("chinese_simplified", {}),
    ("chinese_simplified", {"span_geometric_p": 0.2}),
    ("chinese_simplified", {"do_whole_word_mask": True, "segmenter": "jieba"}),
    ("chinese_simplified", {"do_whole_word_mask": True, "word_list": [RIGHTS]}),
    ("korean", {"do_whole_word_mask": True}),
    ("english", {"do_whole_word_mask": True})])
def test_no_such_warning(name, options):
  said, _ = warnings_of(
      os.path.join(golden.EXAMPLES, "text", name + ".txt"), **options)
  assert "characters" not in said


def test_the_preflight_counts_the_very_masks(write):
  options = StreamOptions(VOCAB, instances=config.InstanceConfig(
      do_whole_word_mask=True, word_list=golden.WORD_LIST, max_seq_length=32))
  found = preflight.check_text(Corpus([TEXT]), options)
  examples = [tf_example.parse_example(example) for example in flow(
      word_list=golden.WORD_LIST, num_epochs=1, chunk_lines=1000)]
  masked = sum(sum(each["masked_lm_weights"]) for each in examples)
  total = sum(sum(each["input_mask"]) for each in examples)
  assert found.masked_share == pytest.approx(masked / total, abs=1e-6)


def test_shown_words_are_joined():
  names = {number: piece for piece, number in
           tokenization.load_vocab(VOCAB).items()}
  options = StreamOptions(VOCAB, instances=config.InstanceConfig(
      do_whole_word_mask=True, segmenter="jieba", max_seq_length=64))
  examples = show_examples.examples_at(Corpus([TEXT]), options, 0, 0, 20)
  joined = alone = 0
  for example in examples:
    text = show_examples.show(example, names)
    places = {place for group in example.groups for place in group}
    features = tf_example.parse_example(example)
    assert sorted(places) == features["masked_lm_positions"][:len(places)]
    shown = text[3:].split("\ninput_ids")[0].split("\nB ")[0]
    words = [word for word in shown.replace("\nB: ", " ").split()
             if "(" in word]
    assert sorted(word.count("(") for word in words) == sorted(
        map(len, example.groups))
    joined += sum("+" in word for word in words)
    alone += sum("+" not in word for word in words)
    # The bytes alone tell masks, but not words.
    plain = show_examples.show(bytes(example), names)
    assert plain == text.replace("+", " ")
  assert joined > 20 and alone > 20


def test_pieces_masked_one_by_one_are_not_joined():
  options = StreamOptions(VOCAB, instances=config.InstanceConfig(
      max_seq_length=64))
  examples = show_examples.examples_at(Corpus([TEXT]), options, 0, 0, 9)
  assert all(example.groups == () for example in examples)
  assert examples == list(flow(
      do_whole_word_mask=False, max_seq_length=64, chunk_lines=1000))[:9]


def test_options_of_words_are_recorded_elsewhere():
  """By their content: see ChineseWords.identity."""
  start = config.InstanceConfig(do_whole_word_mask=True)
  assert config.stream_options(dataclasses.replace(
      start, word_list="w", segmenter="jieba", segmenter_cache="x")) == (
          config.stream_options(start))
