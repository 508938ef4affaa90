"""Words that are added to a vocabulary: counted, ranked, listed and placed."""

import bz2
import collections
import gzip
import json
import re
import unicodedata

import pytest

import tokenization
from bert_e2e.config import ReaderConfig
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import new_words, pieces, split_report, word_counts
from tests.golden import make_vocabulary_golden as golden

ENTRIES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
           "[unused1]", "the", "in", "##hib", "##itor", "##s", "in##", "plug",
           "##in", "[unused7]", "cafe", "a", "##b"]


@pytest.fixture(name="tokenizer")
def fixture_tokenizer(tmp_path):
  path = tmp_path / "vocab.txt"
  path.write_text("\n".join(ENTRIES) + "\n")
  return tokenization.FullTokenizer(str(path))


# ----------------------------------------------------------------------- counts


TEXT = ("The inhibitor, the Inhibitor: inhibitors\u2028plug-in\x0bs\n\n"
        "\u4e2d\u56fd caf\u00e9 CAFE\u0301 \u039f\u0394\u039f\u03a3.\n")


def test_words_are_those_of_the_basic_tokenizer(tokenizer):
  basic = tokenizer.basic_tokenizer
  counts = tokenizer.count_words(TEXT)
  assert counts == collections.Counter(
      word for line in TEXT.split("\n") for word in basic.tokenize(line))
  assert counts["inhibitor"] == 2 and counts["cafe"] == 2


@pytest.mark.parametrize("case", golden.CASES)
def test_words_of_many_scripts(case):
  options = golden.CASES[case][0]
  tokenizer = tokenization.FullTokenizer(golden.golden.VOCAB_FILE, **options)
  lines = golden.golden.mixed_strings(300)
  text = "\n".join(lines)
  assert tokenizer.count_words(text) == collections.Counter(
      word for line in text.split("\n") for word in tokenizer.words(line))


def test_few_words_are_kept_and_the_error_is_bounded(tokenizer):
  counts = word_counts.WordCounts(tokenizer, max_words=10)
  exact = collections.Counter()
  for part in range(40):
    text = "often " * 3 + "some " * (part % 2) + " ".join(
        "w%dx%d" % (part, i) for i in range(4))
    counts.add(text)
    exact.update(text.split())
    assert len(counts.counts) <= 10
  assert counts.num_words == sum(exact.values())
  assert counts.max_error > 0
  for word, count in exact.items():
    assert count - counts.max_error <= counts.counts[word] <= count
  assert counts.counts["often"] == 120


def test_a_sample_is_spread_over_the_text(tmp_path):
  path = tmp_path / "text.txt"
  path.write_text("".join("word%d and\n\n" % i for i in range(2000)))
  corpus = corpus_lib.Corpus([str(path)], chunk_lines=5, split_bytes=1000)
  whole = "".join(word_counts.texts(corpus))
  assert whole == path.read_text()
  sample = list(word_counts.texts(corpus, max_bytes=5000))
  numbers = [int(text.split()[0][4:]) for text in sample]
  assert 4000 <= sum(map(len, sample)) <= 6500
  assert numbers == sorted(numbers) and numbers[0] == 0
  assert numbers[-1] > 1500 and len({n // 400 for n in numbers}) == 5


def names_in(texts):
  """Returns a dict from the name of each file in a text of `mixed_files` to
  (bytes of its text, its first line, its last line)."""
  found = {}
  for line in "".join(texts).splitlines():
    if line:
      name, number, _ = line.split()
      size, first, _ = found.get(name, (0, int(number), 0))
      found[name] = size + len(line) + 1, first, int(number)
  return found


def mixed_files(directory):
  """Writes texts that can't be split, and one that can; returns the paths."""
  found = []
  for name, count in (("one.gz", 3000), ("two.gz", 6000), ("plain", 6000),
                      ("three.csv", 3000), ("four.gz", 3000), ("five.bz2", 10)):
    end = "" if name.endswith("csv") else "\n"
    lines = ["%s %d %s%s" % (name, i, "x" * 30, end) for i in range(count)]
    data = ("text\n" * name.endswith("csv") + "\n".join(lines) + "\n").encode()
    path = directory / name
    path.write_bytes({"gz": gzip.compress, "z2": bz2.compress}.get(
        name[-2:], bytes)(data))
    found.append(str(path))
  return found


@pytest.mark.parametrize("split_bytes", [None, 5000])
def test_a_sample_has_the_start_of_every_file_that_cannot_be_split(
    tmp_path, split_bytes):
  files = mixed_files(tmp_path)
  reader = ReaderConfig(text_field="text")
  corpus = corpus_lib.Corpus(files, chunk_lines=20, split_bytes=split_bytes,
                             reader=reader)
  whole = names_in(word_counts.texts(corpus, reader))
  num_bytes = sum(size for size, _, _ in whole.values())
  # The packed files are far smaller.
  assert corpus.num_bytes < 0.6 * num_bytes
  assert word_counts.text_bytes(corpus) == pytest.approx(num_bytes, rel=0.1)
  # Without compression, the text is larger than the sample.
  sample = names_in(word_counts.texts(corpus, reader, num_bytes // 2))
  assert list(sample) == list(whole)
  for name in ("one.gz", "two.gz", "three.csv", "four.gz"):
    size, first, _ = sample[name]
    assert first == 0
    assert size == pytest.approx(whole[name][0] / 2, rel=0.15), name
  assert sample["five.bz2"] == whole["five.bz2"]  # A chunk, at least.
  assert names_in(word_counts.texts(corpus, reader, 2 * num_bytes)) == whole


def test_a_sample_of_very_many_files_leaves_some_out(tmp_path):
  files = []
  for number in range(200):
    path = tmp_path / ("%03d.gz" % number)
    path.write_bytes(gzip.compress(b"%03d 0 %s\n" % (number, b"x" * 90) * 20))
    files.append(str(path))
  corpus = corpus_lib.Corpus(files, chunk_lines=10)
  found = list(names_in(word_counts.texts(corpus, max_bytes=50000)))
  assert found == ["%03d" % (i * 200 // 64) for i in range(64)]


def test_records_and_encodings_are_read_as_in_a_training(tmp_path, tokenizer):
  path = tmp_path / "text.jsonl"
  path.write_text(json.dumps({"body": "The plug\nThe plugin"}) + "\n")
  reader = ReaderConfig(text_field="body")
  counts = word_counts.WordCounts(tokenizer)
  for text in word_counts.texts(
      corpus_lib.Corpus([str(path)], reader=reader), reader):
    counts.add(text)
  assert counts.counts == {"the": 2, "plug": 1, "plugin": 1}


# ------------------------------------------------------------------- candidates


def test_candidates_are_ranked_by_the_pieces_that_they_save(tokenizer):
  ranked = new_words.rank(
      {"inhibitor": 2, "inhibitors": 1, "plugs": 4, "the": 99, "plugin": 4,
       "zebra": 3, "\u4e2d": 2, "rare": 1, "ab": 1, "x" * 101: 9,
       "x" * 300: 9}, tokenizer, min_count=2)
  assert [(item.word, item.gain, item.saved, item.pieces)
          for item in ranked] == [
      ("plugin", 4, 4, ["plug", "##in"]),
      ("plugs", 4, 4, ["plug", "##s"]),
      ("inhibitor", 4, 4, ["in", "##hib", "##itor"]),
      ("zebra", 3, 0, ["[UNK]"]), ("\u4e2d", 2, 0, ["[UNK]"])]
  assert ranked[3].is_unknown and not ranked[0].is_unknown
  assert ranked[2].to_line() == "inhibitor\t2\t4\tin ##hib ##itor\n"


REFUSED = [
    ("two words", "contains whitespace"),
    ("the", "is in the vocabulary already"),
    ("plug-in", "is split by the tokenizer.*: plug - in"),
    ("\u4e2d\u56fd", "is split by the tokenizer.*Chinese"),
    ("[DRUG]", "is split by the tokenizer"), ("##itis", "is split by the"),
    ("Inhibitor", "turns it into inhibitor: list that instead"),
    ("Caf\u00e9", "turns it into cafe, which is in the vocabulary already"),
    ("\u200b", "only characters that the tokenizer drops"),
    ("x" * 101, "has 101 characters"),
]


@pytest.mark.parametrize("word, reason", REFUSED)
def test_what_cannot_be_added(tokenizer, word, reason):
  assert re.search(reason, new_words.why_not(word, tokenizer))


def test_added_tokens_are_found_first(tmp_path):
  (tmp_path / "vocab.txt").write_text("\n".join(ENTRIES) + "\n")
  (tmp_path / "added_tokens.json").write_text(
      json.dumps({"covid": len(ENTRIES)}))
  tokenizer = tokenization.FullTokenizer(str(tmp_path / "vocab.txt"))
  assert "added token" in new_words.why_not("covidomab", tokenizer)
  assert tokenizer.count_words("xcovid covid") == {"x": 1}
  assert new_words.why_not("omab", tokenizer) == ""


def test_a_list_of_words(tmp_path, tokenizer):
  path = tmp_path / "words.txt"
  path.write_bytes(
      "\ufeffinhibitor\r\n\nplugin\t3\t3\tplug ##in\nthe\n inhibitor \n"
      "Zebra\nzebra\n".encode("utf-8"))
  words, refused = new_words.read_words(str(path), tokenizer)
  assert list(words.items()) == [("inhibitor", 1), ("plugin", 3), ("zebra", 7)]
  assert [(item.line, item.word) for item in refused] == [
      (4, "the"), (5, "inhibitor"), (6, "Zebra")]
  assert refused[1].reason == "is on line 1, too"
  path.write_bytes(b"caf\xe9\n")
  with pytest.raises(ValueError, match="words.txt is not UTF-8"):
    new_words.read_words(str(path), tokenizer)


def test_rare_words_of_a_list_are_left_out(tokenizer):
  lines = {"zebra": 2, "plugin": 3, "ab": 7}
  counts = collections.Counter({"plugin": 4, "ab": 5, "the": 9})
  kept, refused = new_words.leave_out_rare(lines, counts, 5)
  assert kept == {"ab": 7}
  assert [tuple(item) for item in refused] == [
      (2, "zebra", "occurs 0 times, --min_count=5"),
      (3, "plugin", "occurs 4 times, --min_count=5")]
  assert list(new_words.leave_out_rare(lines, counts, 4)[0]) == ["plugin", "ab"]


# ----------------------------------------------------------------------- places


def test_unused_entries_are_replaced_in_their_order():
  words = ["w%d" % i for i in range(4)]
  placed = new_words.place(ENTRIES, words, "unused")
  assert placed.ids == {"w0": 1, "w1": 6, "w2": 15, "w3": len(ENTRIES)}
  assert (placed.num_replaced, placed.num_padding) == (3, 0)
  expected = ENTRIES + ["w3"]
  expected[1], expected[6], expected[15] = "w0", "w1", "w2"
  assert placed.entries == expected
  assert placed.to_bytes() == ("\n".join(expected) + "\n").encode()
  # One that is an added token is in use.
  assert new_words.place(ENTRIES, words, "unused", taken={6}).ids["w1"] == 15


def test_appended_and_padded():
  placed = new_words.place(ENTRIES, ["x", "y"], "append", multiple=8)
  assert placed.ids == {"x": 19, "y": 20}
  assert placed.entries[:19] == ENTRIES and len(placed.entries) == 24
  assert placed.entries[21:] == ["[unused8]", "[unused9]", "[unused10]"]
  assert (placed.num_replaced, placed.num_padding) == (0, 3)
  # A model with more rows than entries.
  placed = new_words.place(ENTRIES, ["x"], "append", multiple=8, num_rows=25)
  assert len(placed.entries) == 32
  assert new_words.place(ENTRIES, ["x"], "append", num_rows=25).entries == (
      ENTRIES + ["x"])


def test_padding_cannot_occur(tokenizer):
  placed = new_words.place(ENTRIES, ["x"], "append", multiple=32)
  after = tokenizer.with_tokens(placed.tokens)
  for entry in placed.entries[20:]:
    assert entry not in after.tokenize("%s a%s" % (entry, entry))


# -------------------------------------------------------------- as transformers


@pytest.fixture(scope="module", name="theirs")
def fixture_theirs():
  with open(golden.GOLDEN_FILE, encoding="utf-8") as stream:
    return json.load(stream)


@pytest.mark.parametrize("kind", ["fast", "slow"])
@pytest.mark.parametrize("case", golden.CASES)
def test_extended_vocabularies_split_text_as_in_transformers(
    case, kind, theirs):
  """Where the vocabulary before splits it so; the other one normalizes text."""
  lines, expected = theirs["lines"], theirs[case]
  before, placed = golden.extended(case, lines)
  assert placed.ids == expected["words"] and len(placed.ids) == 150
  after = before.with_tokens(placed.tokens)
  new, num_compared, num_new = set(placed.ids.values()), 0, 0
  for line, ids, ids_before in zip(
      lines, expected[kind], expected[kind + " before"]):
    if before.tokenize_to_ids(line) != ids_before or (
        kind == "slow" and unicodedata.normalize("NFC", line) != line):
      continue
    assert after.tokenize_to_ids(line) == ids, line
    num_compared += 1
    num_new += bool(new & set(ids))
  assert num_compared > 0.4 * len(lines) and num_new > 50


# ---------------------------------------------------------------------- reports


def test_a_text_before_and_after(tokenizer):
  text = "The inhibitors, plugins\n\nplugin zebra the\nthe\n"
  after = tokenizer.with_tokens(
      new_words.place(ENTRIES, ["plugin", "zebra"], "append").tokens)
  found = split_report.measure([text, "the\n"], [tokenizer, after])
  assert [(item.num_words, item.num_pieces, item.num_unknown, item.lengths)
          for item in found] == [
              (9, 15, 2, [9, 5, 1]), (9, 13, 1, [8, 4, 1])]
  lines = split_report.compare(*found)
  assert [line.split()[-5:-2] for line in lines[1:2]] == [
      ["word", "1.667", "1.444"]]
  assert "22.222     11.111   -50.0 %" in lines[2]
  assert "5.0        4.0   -20.0 %" in lines[4]  # The median.


def test_other_words_that_start_with_a_new_entry(tokenizer):
  counts = {"inhibitors": 3, "plugins": 2, "plugin": 9, "ab": 1, "the": 5}
  after = tokenizer.with_tokens(
      new_words.place(ENTRIES, ["plugi", "plugin", "inhib"], "append").tokens)
  changed = split_report.changed_words(
      counts, ["plugi", "plugin", "inhib"], tokenizer, after)
  assert [tuple(item[:4]) for item in changed] == [
      ("inhibitors", 3, ["in", "##hib", "##itor", "##s"],
       ["inhib", "##itor", "##s"]),
      ("plugins", 2, ["plug", "##in", "##s"], ["plugin", "##s"])]
  # One that the rest has no pieces for is unknown afterwards.
  after = tokenizer.with_tokens(
      new_words.place(ENTRIES, ["plu", "plugi"], "append").tokens)
  changed = split_report.changed_words(
      counts, ["plu", "plugi"], tokenizer, after)
  assert changed[0].word == "plugin" and changed[0].after == ["[UNK]"]
  said = split_report.describe_changed(changed, 20)
  assert said[0].startswith("2 other words (11 occurrences, 55.00 %")
  assert said[0].endswith(": 0 into fewer pieces, 0 into as many, 0 into more; "
                          "2 become [UNK].")
  assert said[1] == "  plugin: plug ##in -> [UNK] (9 times)"


@pytest.mark.parametrize("counts, is_chinese", [
    ({"\u4e2d": 3, "\u56fd": 2, "abc": 4}, True),
    ({"\u4e2d": 3, "abc": 4}, False)])
def test_text_that_is_mostly_chinese(tokenizer, counts, is_chinese):
  said = split_report.warn_of_chinese(counts, tokenizer)
  assert bool(said) == is_chinese
  assert not said or said.startswith("56 % of the words are Chinese")


def test_chinese_words_can_be_entries_if_characters_are_no_words(tmp_path):
  path = tmp_path / "vocab.txt"
  path.write_text("\n".join(ENTRIES) + "\n")
  tokenizer = tokenization.FullTokenizer(
      str(path), tokenize_chinese_chars=False)
  text = "\u4e2d\u56fd \u5317\u4eac \u4e2d \u56fd abc"
  counts = tokenizer.count_words(text)
  assert counts["\u4e2d\u56fd"] == 1
  assert split_report.warn_of_chinese(counts, tokenizer) == ""
  assert new_words.why_not("\u4e2d\u56fd", tokenizer) == ""
  assert "punctuation characters are words by themselves: \u4e2d - \u56fd" in (
      new_words.why_not("\u4e2d-\u56fd", tokenizer))


# ------------------------------------------------------------------- characters


def test_characters_of_entries(tmp_path):
  path = tmp_path / "vocab.txt"
  path.write_text("\n".join(ENTRIES + ["\u4e2d", "##", "[x", ""]) + "\n",
                  encoding="utf-8")
  assert pieces.count_characters(str(path), len(ENTRIES) + 6) == [
      0, 0, 0, 0, 0, 0, 0, 3, 2, 3, 4, 1, 4, 4, 2, 0, 4, 1, 1, 1, 2, 2, 0, 0, 0]
  assert len(pieces.count_characters(str(path), 3)) == 3
