"""Tests of tokenization.py: equal to the reference, fast path equal to plain.

With the environment variable BERT_REFERENCE naming a checkout of
google-research/bert, its tokenizer is compared directly as well.
"""

import collections
import importlib.machinery
import json
import os
import pickle
import random
import subprocess
import sys
import types
import unicodedata

import hypothesis
import hypothesis.strategies as st
import pytest

import tokenization

_ROOT = os.path.dirname(os.path.abspath(tokenization.__file__))


def _load_generator():
  """Imports the maker of the golden digests, whose inputs are ours, too."""
  loader = importlib.machinery.SourceFileLoader(
      "make_tokenizer_golden",
      os.path.join(_ROOT, "tests", "golden", "make_tokenizer_golden.py"))
  module = types.ModuleType(loader.name)
  # The generator finds its folder by its own path.
  module.__dict__["__file__"] = loader.path
  loader.exec_module(module)
  return module


golden = _load_generator()

# The Unicode versions of the Pythons on which the project promises to run.
_PROMISED_VERSIONS = ("11.0.0", "12.1.0", "13.0.0", "14.0.0")


def _tokenizer(lower, module=tokenization, vocab_file=golden.VOCAB_FILE):
  return module.FullTokenizer(vocab_file, do_lower_case=lower)


def _writer(folder):
  def write(content):
    path = folder / "vocab.txt"
    path.write_bytes(content)
    return str(path)
  return write


@pytest.fixture(name="write_vocab")
def _write_vocab(tmp_path):
  """Returns a function of bytes that returns a vocabulary file's path."""
  return _writer(tmp_path)


@pytest.fixture(name="write_shared_vocab", scope="module")
def _write_shared_vocab(tmp_path_factory):
  """The same for a test of many vocabularies, one after the other."""
  return _writer(tmp_path_factory.mktemp("vocab"))


@pytest.fixture(name="reference", scope="module")
def _reference():
  checkout = os.environ.get("BERT_REFERENCE")
  if not checkout:
    pytest.skip("BERT_REFERENCE does not name a checkout of the reference")
  return golden.load_reference(checkout)


def _assert_fast_is_plain(tokenizer, text):
  expected = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
  assert tokenizer.tokenize_to_ids(text) == expected, ascii(text)


# --- The reference's results -------------------------------------------------


def test_promised_unicode_versions_have_golden_digests():
  missing = [version for version in _PROMISED_VERSIONS
             if not os.path.isfile(golden.golden_file(version))]
  assert missing == []


def test_golden_vocabulary_is_what_its_command_makes():
  with open(os.path.join(_ROOT, "LICENSE"), encoding="utf-8") as reader:
    tokens = golden.vocabulary(reader.read())
  assert list(tokenization.load_vocab(golden.VOCAB_FILE)) == tokens


def _is_sampled(block, texts):
  """Tells whether a block is tested: if it has assigned characters, or is one
  of 16 without. Unassigned and private characters are all alike, a million."""
  if not block.startswith("U+") or ord(texts[0][0]) % 0x10000 == 0:
    return True
  return any(unicodedata.category(text[0]) not in ("Cn", "Co")
             for text in texts)


def _golden_digests():
  path = golden.golden_file()
  if not os.path.isfile(path):
    pytest.skip("no golden digests for this Python's Unicode version, %s"
                % unicodedata.unidata_version)
  with open(path, encoding="ascii") as reader:
    return json.load(reader)


@pytest.mark.parametrize("casing", ["cased", "uncased"])
def test_code_points_and_mixed_strings_equal_the_reference(casing):
  """Every fourth block; the test below has all."""
  expected = _golden_digests()[casing]
  tokenizer = _tokenizer(casing == "uncased")
  blocks = dict(golden.blocks())
  assert len(blocks) == 272 + 20
  assert sorted(blocks) == sorted(expected)
  sampled = [block for block, texts in blocks.items()
             if _is_sampled(block, texts)]
  assert 60 < len(sampled) < 130
  actual = {block: golden.digest(golden.tokenized(tokenizer, blocks[block]))
            for block in sampled[::4]}
  different = [block for block in actual if actual[block] != expected[block]]
  assert different == []


@pytest.mark.slow
@pytest.mark.parametrize("casing", ["cased", "uncased"])
def test_all_blocks_equal_the_reference_and_the_fast_path_is_the_plain_one(
    casing):
  """Cased text skips a step of the same path: the fast path of every third
  block is tested. So it is a second time, with the caches filled."""
  expected = _golden_digests()[casing]
  tokenizer = _tokenizer(casing == "uncased")
  to_ids = tokenizer.convert_tokens_to_ids
  different = []
  for number, (block, texts) in enumerate(golden.blocks()):
    is_sampled = _is_sampled(block, texts)
    if not is_sampled:
      # Unassigned and private characters are all alike (a million, most of
      # this test's time otherwise): one a block stands for them.
      texts = texts[:1]
    results = golden.tokenized(tokenizer, texts)
    if is_sampled and golden.digest(results) != expected[block]:
      different.append(block)
    if block.startswith("U+"):
      kept = [number for number, text in enumerate(texts) if number == 0 or
              unicodedata.category(text[0]) not in ("Cn", "Co")]
      texts, results = ([items[i] for i in kept] for items in (texts, results))
    ids = [to_ids(pieces) for _, pieces in results]
    states = ("cold", "warm") if number % 3 == 0 else (
        ("cold",) if casing == "uncased" else ())
    for state in states:
      if list(map(tokenizer.tokenize_to_ids, texts)) != ids:
        different.append("%s, %s" % (block, state))
  assert different == []


@pytest.mark.parametrize("lower", [True, False])
def test_tokenize_joins_the_two_tokenizers(lower):
  tokenizer = _tokenizer(lower)
  for text in golden.mixed_strings(1000):
    [(_, pieces)] = golden.tokenized(tokenizer, [text])
    assert tokenizer.tokenize(text) == pieces, ascii(text)


def test_split_drops_what_cleaning_joins_for_no_other_character():
  # The premise of the fast path: after the joiners are gone, str.split() and
  # the rules see the same words.
  chars = list(map(chr, range(sys.maxunicode + 1)))
  joiners = [char for char in chars
             if char.isspace() and tokenization._is_control(char)]
  assert "".join(joiners) == tokenization._JOINERS
  unsplit = [char for char in chars
             if tokenization._is_whitespace(char) and not char.isspace()]
  assert unsplit == []


# --- Random text -------------------------------------------------------------

_ODD = st.sampled_from(
    "\x00\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\xad\u0130\u03a3\u0301\u200b"
    "\u200d\u2028\u2029\u3000\u4e00\u4e2d\uf900\ufffd\U0002f800aAb,.[]#-")
_TEXT = st.lists(
    st.one_of(
        st.text(alphabet=_ODD, max_size=8), st.text(max_size=8),
        st.sampled_from(["the", "License", "##s", "[MASK]", "warranties",
                         "\u4e00\u4e01", "x" * 199, "y" * 201, "e\u0301" * 150])
    ), max_size=12).map("".join)
# A few slow examples don't matter; shared runners are slow at times.
_SETTINGS = hypothesis.settings(
    deadline=None, max_examples=500, derandomize=True)
_WARM = {lower: _tokenizer(lower) for lower in (True, False)}


@_SETTINGS
@hypothesis.given(_TEXT, st.booleans())
def test_fast_path_equals_plain_path(text, lower):
  _assert_fast_is_plain(_WARM[lower], text)


@_SETTINGS
@hypothesis.given(
    st.lists(st.text(alphabet="ab#\u00e9\u4e00", max_size=5), max_size=12),
    st.text(alphabet="abAB# \u00e9\u00c9\u4e00,", max_size=20))
def test_fast_path_equals_plain_path_with_odd_vocabularies(
    write_shared_vocab, tokens, text):
  tokens = tokens + ["[UNK]"] + tokens[:2]  # Repeated entries as well.
  tokenizer = tokenization.FullTokenizer(write_shared_vocab(
      "".join("%s\n" % t for t in tokens).encode("utf-8")))
  _assert_fast_is_plain(tokenizer, text)
  _assert_fast_is_plain(tokenizer, text)


@_SETTINGS
@hypothesis.given(_TEXT, st.booleans())
def test_random_text_equals_the_reference(reference, text, lower):
  theirs = _tokenizer(lower, reference)
  ours = _WARM[lower]
  assert ours.tokenize(text) == theirs.tokenize(text)
  basic, their_basic = ours.basic_tokenizer, theirs.basic_tokenizer
  assert basic.tokenize(text) == their_basic.tokenize(text)
  for helper in ("_run_strip_accents", "_run_split_on_punc", "_clean_text",
                 "_tokenize_chinese_chars"):
    assert getattr(basic, helper)(text) == getattr(their_basic, helper)(text)


@_SETTINGS
@hypothesis.given(
    st.sets(st.text(alphabet="ab#", min_size=1, max_size=6), max_size=12),
    st.text(alphabet="ab# ", max_size=20), st.integers(0, 12))
def test_wordpiece_equals_the_reference(reference, vocab, text, limit):
  ours, theirs = (
      module.WordpieceTokenizer(vocab, "?", max_input_chars_per_word=limit)
      for module in (tokenization, reference))
  assert ours.tokenize(text) == theirs.tokenize(text)


@pytest.mark.parametrize("content", [
    b"", b"\n", b"a\n\nb", b"a\r\nb\rc\r\n\r", b" a \n\xe3\x80\x80b\n",
    b"a\nb\na\nc\n", b"a\x0bb\n\xe2\x80\xa8\nc\x85"[:-1], b"x\x00y\n"])
def test_load_vocab_equals_the_reference(reference, write_vocab, content):
  path = write_vocab(content)
  expected = reference.load_vocab(path)
  assert list(tokenization.load_vocab(path).items()) == list(expected.items())


def test_character_classes_equal_the_reference(reference):
  for name in ("_is_whitespace", "_is_control", "_is_punctuation"):
    ours, theirs = getattr(tokenization, name), getattr(reference, name)
    different = [hex(point) for point in range(sys.maxunicode + 1)
                 if ours(chr(point)) != theirs(chr(point))]
    assert different == [], name
  ours, theirs = (module.BasicTokenizer()._is_chinese_char
                  for module in (tokenization, reference))
  assert [hex(point) for point in range(sys.maxunicode + 1)
          if ours(point) != theirs(point)] == []


# --- The public names --------------------------------------------------------


def test_load_vocab_counts_lines_and_drops_carriage_returns(write_vocab):
  # What TensorFlow's GFile.readline and str.strip make of these bytes.
  vocab = tokenization.load_vocab(write_vocab(
      b"[UNK]\r\nb\r\r\n\n \xc3\xa9\xc2\xa0\nx\ry\n[UNK]\nu\xe2\x80\xa8v\n\r"))
  assert isinstance(vocab, collections.OrderedDict)
  assert list(vocab.items()) == [
      ("[UNK]", 5), ("b", 1), ("", 2), ("\u00e9", 3), ("xy", 4),
      ("u\u2028v", 6)]


def test_load_vocab_names_file_and_line_of_bad_utf8(write_vocab):
  path = write_vocab(b"a\nb\xff\n")
  with pytest.raises(ValueError) as error:
    tokenization.load_vocab(path)
  assert path in str(error.value)
  assert "line 2" in str(error.value)


def test_load_vocab_of_a_missing_file(tmp_path):
  with pytest.raises(OSError):
    tokenization.load_vocab(str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    "convert", [tokenization.convert_to_unicode, tokenization.printable_text])
def test_convert_to_unicode(convert):
  assert convert("\u00e9") == "\u00e9"
  assert convert(b"a\xc3\xa9\xffb\xe4\xb8") == "a\u00e9b"
  for wrong in (None, 3, bytearray(b"a"), ["a"]):
    with pytest.raises(ValueError, match=type(wrong).__name__):
      convert(wrong)


def test_text_of_a_wrong_type_is_refused():
  for function in (_WARM[True].tokenize, _WARM[True].tokenize_to_ids,
                   tokenization.BasicTokenizer().tokenize,
                   tokenization.WordpieceTokenizer({"a": 0}).tokenize):
    with pytest.raises(ValueError, match="int"):
      function(3)


def test_bytes_are_tokenized_as_utf8():
  data = "The caf\u00e9,".encode("utf-8") + b"\xff"
  expected = ["the", "[UNK]", ","]
  tokenizer = _WARM[True]
  assert tokenizer.tokenize(data) == tokenizer.tokenize("the cafe ,")
  assert tokenizer.tokenize("The \U000f0000,") == expected
  _assert_fast_is_plain(tokenizer, data)


def test_conversions_between_tokens_and_ids():
  vocab = {"a": 0, "b": 1}
  assert tokenization.convert_by_vocab(vocab, ["b", "a", "b"]) == [1, 0, 1]
  assert tokenization.convert_tokens_to_ids(vocab, ("a",)) == [0]
  assert tokenization.convert_ids_to_tokens({0: "a", 1: "b"}, [1]) == ["b"]
  with pytest.raises(KeyError):
    tokenization.convert_tokens_to_ids(vocab, ["c"])
  tokenizer = _WARM[True]
  ids = tokenizer.convert_tokens_to_ids(["the", "##s"])
  assert tokenizer.convert_ids_to_tokens(ids) == ["the", "##s"]


def test_basic_tokenizer():
  lower = tokenization.BasicTokenizer()
  text = " \tHeLLo!how  \n Are \u00c4 yoU\u535a\u63a8zz\u200b? "
  assert lower.tokenize(text) == [
      "hello", "!", "how", "are", "a", "you", "\u535a", "\u63a8", "zz", "?"]
  cased = tokenization.BasicTokenizer(do_lower_case=False)
  assert cased.tokenize(text) == [
      "HeLLo", "!", "how", "Are", "\u00c4", "yoU", "\u535a", "\u63a8", "zz",
      "?"]
  assert cased._run_split_on_punc("a b,,c$") == ["a b", ",", ",", "c", "$"]
  assert cased._run_split_on_punc("") == []
  assert cased._tokenize_chinese_chars("a\u4e00\u4e01") == (
      "a \u4e00  \u4e01 ")
  assert cased._run_strip_accents("\u00c9e\u0301\ud55c") == (
      "Ee\u1112\u1161\u11ab")
  assert cased._clean_text("a\x00\tb\u3000\ufffd\x0b\u200bc") == "a b c"


def test_wordpiece_tokenizer():
  vocab = dict.fromkeys(
      ["[UNK]", "want", "##want", "##ed", "wa", "un", "runn", "##ing"], 0)
  wordpiece = tokenization.WordpieceTokenizer(vocab)
  assert wordpiece.tokenize("") == []
  assert wordpiece.tokenize("unwanted running") == [
      "un", "##want", "##ed", "runn", "##ing"]
  assert wordpiece.tokenize("unwantedX running") == ["[UNK]", "runn", "##ing"]


def test_wordpiece_word_of_more_than_200_characters_is_unknown():
  wordpiece = tokenization.WordpieceTokenizer({"a": 0, "##a": 1})
  assert wordpiece.tokenize("a" * 200) == ["a"] + ["##a"] * 199
  assert wordpiece.tokenize("a" * 201) == ["[UNK]"]
  short = tokenization.WordpieceTokenizer(
      {"abc"}, unk_token="?", max_input_chars_per_word=2)
  assert short.tokenize("abc") == ["?"]


def test_wordpiece_without_vocabulary():
  assert tokenization.WordpieceTokenizer({}).tokenize("a b") == ["[UNK]"] * 2


def test_entries_added_to_the_vocabulary_are_seen(write_vocab):
  tokenizer = tokenization.FullTokenizer(write_vocab(b"[UNK]\na\n"))
  assert tokenizer.tokenize_to_ids("abcde a") == [0, 1]
  tokenizer.vocab["##bcde"] = 2
  assert tokenizer.tokenize("abcde") == ["a", "##bcde"]
  assert tokenizer.tokenize_to_ids("abcde a") == [1, 2, 1]


def test_full_tokenizer_attributes(write_vocab):
  tokenizer = tokenization.FullTokenizer(
      write_vocab(b"[UNK]\na\n##a\nb\n##b\n##a\n"), do_lower_case=False)
  assert list(tokenizer.vocab.items()) == [
      ("[UNK]", 0), ("a", 1), ("##a", 5), ("b", 3), ("##b", 4)]
  assert tokenizer.inv_vocab == {0: "[UNK]", 1: "a", 5: "##a", 3: "b", 4: "##b"}
  assert tokenizer.continuation_ids == frozenset([4, 5])
  assert tokenizer.basic_tokenizer.do_lower_case is False
  assert tokenizer.wordpiece_tokenizer.vocab is tokenizer.vocab
  assert tokenizer.tokenize("aab") == ["a", "##a", "##b"]
  assert tokenizer.tokenize_to_ids("aab") == [1, 5, 4]


def test_vocabulary_without_special_tokens(write_vocab):
  tokenizer = tokenization.FullTokenizer(write_vocab(b"a\n##b\n"))
  assert tokenizer.tokenize("ab x") == ["a", "##b", "[UNK]"]
  assert tokenizer.tokenize_to_ids("ab a") == [0, 1, 0]
  for _ in range(2):  # An unknown word is not remembered as known.
    with pytest.raises(KeyError, match="UNK"):
      tokenizer.tokenize_to_ids("ab x")
  assert tokenizer.tokenize_to_ids("ab a") == [0, 1, 0]


@pytest.mark.parametrize("lower, name, is_right", [
    (True, "uncased_L-12_H-768_A-12", True),
    (False, "uncased_L-12_H-768_A-12", False),
    (False, "uncased_L-24_H-1024_A-16", False),
    (False, "multilingual_L-12_H-768_A-12", False),
    (False, "chinese_L-12_H-768_A-12", False),
    (True, "cased_L-12_H-768_A-12", False),
    (True, "cased_L-24_H-1024_A-16", False),
    (True, "multi_cased_L-12_H-768_A-12", False),
    (False, "multi_cased_L-12_H-768_A-12", True),
    (False, "my_uncased_L-12_H-768_A-12", True),
    (True, "elsewhere", True)])
def test_validate_case_matches_checkpoint(lower, name, is_right):
  path = "some/folder/%s/bert_model.ckpt" % name
  if is_right:
    tokenization.validate_case_matches_checkpoint(lower, path)
    return
  with pytest.raises(ValueError) as error:
    tokenization.validate_case_matches_checkpoint(lower, path)
  assert path in str(error.value)
  assert "--do_lower_case=%s" % (not lower) in str(error.value)


@pytest.mark.parametrize("path", [
    None, "", "cased_L-12_H-768_A-12", "cased_L-12_H-768_A-12/model.ckpt-7"])
def test_validate_case_passes_what_it_does_not_know(path):
  tokenization.validate_case_matches_checkpoint(True, path)


# --- Caches and processes ----------------------------------------------------


def test_caches_are_bounded_and_stay_right(monkeypatch):
  monkeypatch.setattr(tokenization, "_WORD_ENTRIES", 8)
  monkeypatch.setattr(tokenization, "_TABLE_ENTRIES", 16)
  tokenizer = _tokenizer(True)
  for text in golden.mixed_strings(500):
    _assert_fast_is_plain(tokenizer, text)
    assert tokenizer._word_ids.size() <= 2 * 8
  assert tokenizer._word_ids.size() >= 8
  table = tokenization._CharTable(tokenization._is_punctuation)
  for point in range(1000):
    assert table[chr(point)] == tokenization._is_punctuation(chr(point))
    assert len(table) <= 16


def test_parts_are_split_at_punctuation_only():
  for first, last in tokenization._OTHER_PUNCTUATION_RANGES:
    for point in range(first, last + 1):
      assert tokenization._is_punctuation(chr(point)), hex(point)


@pytest.mark.parametrize("options", [
    {}, {"do_split_on_punc": False}, {"tokenize_chinese_chars": False},
    {"strip_accents": False}], ids=str)
@pytest.mark.parametrize("lower", [True, False])
def test_punctuation_beside_letters_marks_and_ideographs(lower, options):
  tokenizer = tokenization.FullTokenizer(
      golden.VOCAB_FILE, lower, **options)
  rng = random.Random(23)
  letters = ("aAbZ1 .,\u00e9\u0130\u0391\u03a3\u03c2\u0301\u0327\u2044"
             "\u4e00\u6743")
  punctuation = [chr(point) for bounds in
                 tokenization._OTHER_PUNCTUATION_RANGES for point in bounds]
  for _ in range(600):
    _assert_fast_is_plain(tokenizer, "".join(
        rng.choice(letters if rng.random() < 0.6 else punctuation)
        for _ in range(rng.randint(1, 9))))


def test_words_in_use_survive_a_full_cache():
  computed = []

  def compute(word):
    computed.append(word)
    return (len(word),)

  cache = tokenization._IdCache(compute, 4)
  for number in range(40):
    assert cache["common"] == (6,)
    assert cache["rare%d" % number] == (len("rare%d" % number),)
  assert computed.count("common") == 1
  assert len(computed) == 41


def test_long_words_are_not_kept():
  tokenizer = _tokenizer(True)
  longest = tokenization._LONGEST_CACHED_WORD
  tokenizer.tokenize_to_ids("a" * longest + " " + "b" * (longest + 1))
  assert list(tokenizer._word_ids) == ["a" * longest]


def test_ideographs_are_cached_one_by_one():
  tokenizer = _tokenizer(True)
  tokenizer.tokenize_to_ids("\u4e00\u4e01\u4e00a\u4e01 \u4e00")
  assert sorted(tokenizer._word_ids) == ["a", "\u4e00", "\u4e01"]


def test_pickled_tokenizer_leaves_its_cache_behind():
  tokenizer = _tokenizer(False)
  text = "The License, \u4e00 unwarranted"
  expected = tokenizer.tokenize_to_ids(text)
  copy = pickle.loads(pickle.dumps(tokenizer))
  assert copy._word_ids.size() == 0
  assert copy.tokenize_to_ids(text) == expected
  assert copy.tokenize(text) == tokenizer.tokenize(text)
  assert copy.continuation_ids == tokenizer.continuation_ids
  assert tokenizer._word_ids.size() > 0


def test_tensorflow_is_not_imported():
  code = (
      "import sys, tokenization\n"
      "tokenizer = tokenization.FullTokenizer(sys.argv[1])\n"
      "assert tokenizer.tokenize_to_ids('the licensed \\u4e00')\n"
      "assert tokenizer.tokenize('the')\n"
      "loaded = [m for m in sys.modules if m.startswith('tensorflow')]\n"
      "sys.exit(str(loaded) if loaded else 0)\n")
  subprocess.run([sys.executable, "-c", code, golden.VOCAB_FILE], cwd=_ROOT,
                 check=True, timeout=300)
