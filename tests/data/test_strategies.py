"""strategies.py: the user's function in place of the built-in rules."""

import inspect
import os
import pickle
import random
import subprocess
import sys
import textwrap

import pytest
from program import ROOT
from strategy_modules import BUILT_IN
from stream_corpus import KNOWN_WORKERS, needs_workers

import create_pretraining_data as cpd
import run_pretraining_e2e as e2e
import tokenization
from bert_e2e import config
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import instance_checks, lending, strategies
from bert_e2e.data.text_source import TextSource

LENGTHS = {"max_seq_length": 32, "max_predictions_per_seq": 5}
# One instance of each line, of a single text.
LINES = """
    from create_pretraining_data import TrainingInstance, mask_positions

    def one_per_line(lines, tokenizer, rng, max_seq_length,
                     max_predictions_per_seq):
      for line in filter(str.strip, lines):
        tokens = ["[CLS]", *tokenizer.tokenize(line), "[SEP]"][:max_seq_length]
        yield TrainingInstance(
            tokens, [0] * len(tokens), [1], [tokens[1]], rng.random() < 0.5)
    """


def flow_of(maker, **options):
  return e2e.take_write_2_flow(
      maker.files, maker.vocab_file, **{
          **LENGTHS, "num_epochs": 1, "chunk_lines": 5, **options})


# ----------------------------------------------------------------- the stream


@pytest.mark.parametrize("options", [
    {}, {"sentence_objective": "none"},
    {"span_geometric_p": 0.2, "span_upper": 4, "dupe_factor": 2,
     "max_predictions_per_seq": "auto", "mask_replace_prob": 0.5}], ids=str)
def test_the_built_in_strategy_gives_the_default_stream(
    odd_corpus, modules, options):
  """With the text that chunks of one document borrow."""
  expected = list(flow_of(odd_corpus, num_epochs=2, **options))
  name = modules.write(BUILT_IN) + ":built_in"
  assert list(flow_of(
      odd_corpus, num_epochs=2, strategy=name, **options)) == expected
  assert len(expected) > 80


@needs_workers
def test_any_number_of_workers_gives_the_same_stream(odd_corpus, modules):
  name = modules.write(LINES) + ":one_per_line"
  expected = list(flow_of(odd_corpus, num_epochs=2, strategy=name))
  assert len(expected) == 2 * odd_corpus.num_lines
  assert expected[:odd_corpus.num_lines] != expected[odd_corpus.num_lines:]
  for num_workers in (1, 3):
    assert list(flow_of(odd_corpus, num_epochs=2, strategy=name,
                        num_workers=num_workers)) == expected
  function = strategies.find(name).function
  assert list(flow_of(odd_corpus, num_epochs=2, strategy=function,
                      num_workers=2, first_example=70)) == expected[70:]
  assert list(flow_of(odd_corpus, random_seed=1, strategy=name)) != (
      expected[:odd_corpus.num_lines])


def test_hosts_share_the_corpus(odd_corpus, modules, monkeypatch):
  monkeypatch.setattr(corpus_lib, "MIN_SPLIT_BYTES", 200)
  name = modules.write(LINES) + ":one_per_line"
  parts = [list(flow_of(odd_corpus, strategy=name, shard_index=i, num_shards=2))
           for i in range(2)]
  assert all(parts)
  assert sum(map(len, parts)) == odd_corpus.num_lines


def test_what_it_is_called_with(odd_corpus, modules):
  """Lines of str, a tokenizer of int ids, and the options that it accepts."""
  name = modules.write("""
      calls = []

      def noting(lines, tokenizer, rng, dupe_factor, *, max_seq_length,
                 max_predictions_per_seq, borrowed_lines):
        calls.append((lines, tokenizer, rng.random(), dupe_factor,
                      max_seq_length, max_predictions_per_seq, borrowed_lines))
        return []
      """)
  source = TextSource.from_arguments(
      odd_corpus.files, odd_corpus.vocab_file, strategy=name + ":noting",
      dupe_factor=3, chunk_lines=5, **LENGTHS)
  with pytest.raises(ValueError, match="yields no example"):
    list(source.open(num_epochs=1))
  calls = sys.modules[name].calls
  lines = [line for call in calls for line in call[0]]
  assert sum(map(bool, map(str.strip, lines))) == odd_corpus.num_lines
  assert any(not line for line in lines) and not any(
      "\n" in line or "\r" in line for line in lines)
  assert all(isinstance(call[1], tokenization.FullTokenizer) for call in calls)
  assert calls[0][1].convert_tokens_to_ids(["[PAD]", "w0"]) == [
      0, calls[0][1].vocab["w0"]]
  assert len({call[2] for call in calls}) == len(calls)
  assert {call[3:6] for call in calls} == {(3, 32, 5)}
  assert 0 < sum(bool(call[6]) for call in calls) < len(calls)
  assert all(isinstance(line, str) for call in calls for line in call[6])


def test_text_is_lent_only_if_it_accepts_it(odd_corpus, modules, monkeypatch):
  needed = []
  make = lending.Lender.__init__

  def noting(self, corpus, is_needed=True):
    needed.append(is_needed)
    make(self, corpus, is_needed)

  monkeypatch.setattr(lending.Lender, "__init__", noting)
  built_in = modules.write(BUILT_IN) + ":built_in"
  flow_of(odd_corpus)
  flow_of(odd_corpus, strategy=built_in)
  flow_of(odd_corpus, strategy=built_in, sentence_objective="none")
  flow_of(odd_corpus, strategy=modules.write(LINES) + ":one_per_line")
  assert needed == [True, True, False, False]


def test_a_chunk_may_have_no_example(odd_corpus, modules):
  name = modules.write(LINES + """
    def few(lines, *others, max_seq_length, max_predictions_per_seq):
      options = {"max_seq_length": max_seq_length,
                 "max_predictions_per_seq": max_predictions_per_seq}
      is_chosen = any("w50 " in line for line in lines)
      return one_per_line(lines, *others, **options) if is_chosen else []
    """)
  every = set(flow_of(odd_corpus, strategy=name + ":one_per_line"))
  found = list(flow_of(odd_corpus, strategy=name + ":few"))
  assert 1 <= len(found) < 20 and set(found) < every


def test_a_worker_has_the_path_of_the_trainer(odd_corpus, modules, tmp_path):
  """The script's directory, the working directory, PYTHONPATH, what was added.

  The module of the strategy is in one, a module that it imports in another.
  """
  for name in ("script", "work", "pythonpath", "added"):
    (tmp_path / name).mkdir()
  for name, text in (("script/in_script", "A = 1"), ("work/in_work", "B = 2"),
                     ("pythonpath/in_pythonpath", "C = 3"),
                     ("added/in_added", "D = 4")):
    (tmp_path / (name + ".py")).write_text(text)
  (tmp_path / "pythonpath" / "mine.py").write_text(textwrap.dedent("""
      import in_script
      from create_pretraining_data import fusion_input_and_out
      def mine(lines, tokenizer, rng, **options):
        import in_work, in_pythonpath, in_added
        return fusion_input_and_out(lines, tokenizer, rng, **options)
      """))
  script = tmp_path / "script" / "program.py"
  script.write_text(textwrap.dedent("""
      import sys
      sys.path.append(%r)
      from bert_e2e.data.text_source import take_write_2_flow
      from mine import mine
      arguments = dict(%r, num_epochs=1, strategy="mine:mine")
      one = list(take_write_2_flow(%r, %r, **arguments))
      arguments.update(strategy=mine, num_workers=%d)
      assert list(take_write_2_flow(%r, %r, **arguments)) == one != []
      """) % (str(tmp_path / "added"), LENGTHS, odd_corpus.files,
              odd_corpus.vocab_file, KNOWN_WORKERS[-1], odd_corpus.files,
              odd_corpus.vocab_file))
  run = subprocess.run(
      [sys.executable, str(script)], cwd=str(tmp_path / "work"),
      env=dict(os.environ, PYTHONPATH=os.pathsep.join(
          [ROOT, str(tmp_path / "pythonpath")])),
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
      universal_newlines=True)
  assert run.returncode == 0, run.stdout


# ------------------------------------------------------------- the fingerprint


class TestSource:

  def record(self, maker, strategy):
    return TextSource.from_arguments(
        maker.files, maker.vocab_file, strategy=strategy, **LENGTHS).record()

  def test_joins_the_record_by_its_source_not_by_its_name(
      self, odd_corpus, modules):
    one, two = (self.record(odd_corpus, modules.write(LINES) + ":one_per_line")
                for _ in range(2))
    assert one.options["strategy"]["name"] != two.options["strategy"]["name"]
    assert one.differences(two) == []
    without = self.record(odd_corpus, None)
    assert "strategy" not in without.options
    assert one._replace(options={
        name: value for name, value in one.options.items()
        if name != "strategy"}) == without
    difference, = without.differences(one)
    assert difference == (
        "strategy was None and is %(name)s with the source %(source)s" %
        one.options["strategy"])

  @pytest.mark.parametrize("changed", [
      LINES.replace("0.5", "0.25"), LINES + "\n    HELPER = 1\n"])
  def test_of_the_function_and_of_its_module_counts(
      self, odd_corpus, modules, changed):
    before = self.record(odd_corpus, modules.write(LINES) + ":one_per_line")
    now = self.record(odd_corpus, modules.write(changed) + ":one_per_line")
    difference, = before.differences(now)
    assert before.options["strategy"]["name"] in difference
    assert now.options["strategy"]["name"] in difference

  def test_of_another_function_of_the_module_is_another(self, modules):
    name = modules.write(
        "def a(lines, tokenizer, rng): return []\n"
        "def b(lines, tokenizer, rng): return []\n")
    assert strategies.find(name + ":a").source != (
        strategies.find(name + ":b").source)

  def test_is_compared_in_each_process(self, modules):
    name = modules.write(LINES)
    pickled = pickle.dumps(strategies.find(name + ":one_per_line"))
    assert pickle.loads(pickled).function.__name__ == "one_per_line"
    modules.write(LINES + "\n    LATER = 2\n", name)
    with pytest.raises(ValueError, match="The source of --strategy=%s:one_per_"
                       "line has changed since" % name):
      assert pickle.loads(pickled).function


# --------------------------------------------------------- what can't be found


def defined_here(lines, tokenizer, rng):
  del lines, tokenizer, rng
  return []


class Methods:

  @staticmethod
  def static(lines, tokenizer, rng):
    del lines, tokenizer, rng
    return []


def test_functions_are_found_by_their_names():
  assert strategies.find(None) is None
  for function in (defined_here, Methods.static):
    found = strategies.find(function)
    assert found.name == "%s:%s" % (__name__, function.__qualname__)
    assert found.function is function
    assert strategies.find(found) is found
    assert strategies.find(found.name).function is function


@pytest.mark.parametrize("name, said", [
    ("", "--strategy= is not the name of a function in the form"),
    ("mine", "--strategy=mine is not the name"),
    ("my/file.py:f", "--strategy=my/file.py:f is not the name"),
    ("a:b:c", "is not the name"), ("a.:b", "is not the name"),
    ("1a:b", "is not the name"),
    ("__main__:f", "--strategy=__main__:f is in the program that runs"),
    ("no_such_module:f", "no_such_module cannot be imported .*No module named "
     "'no_such_module'"),
    ("os.none:f", "os.none cannot be imported"),
    ("json:nothing", r"nothing in the module json \(.*json.__init__.py\) is "
     "not a function. The functions there: .*dumps"),
    ("json:JSONDecoder", "JSONDecoder in the module json .* is not a function"),
    ("json.decoder:JSONDecoder.none", "is not a function"),
    ("json:dumps", "cannot be called as strategy.lines, tokenizer, rng, "),
])
def test_names_that_are_refused(modules, name, said):
  with pytest.raises(ValueError, match=said) as caught:
    strategies.find(name)
  assert "--strategy=%s" % name in str(caught.value)


def test_an_import_error_names_what_was_tried(modules, monkeypatch):
  monkeypatch.setenv("PYTHONPATH", "/some/where")
  with pytest.raises(ValueError) as caught:
    strategies.find("no_such_module:f")
  assert os.getcwd() in str(caught.value)
  assert "PYTHONPATH (/some/where)" in str(caught.value)


@pytest.mark.parametrize("code, said", [
    ("x = (\n", "SyntaxError: "),
    ("\nraise KeyError('k')\n", "KeyError: 'k', raised in .*py, line 2"),
    ("import json\njson.loads('{')\n", "JSONDecodeError: .*, raised in"),
    ("import sys\nsys.exit(3)\n", "SystemExit: 3, raised in .*py, line 2"),
    ("\n\nimport no_such_module\n",
     "No module named 'no_such_module', raised in .*py, line 3"),
])
def test_a_module_that_fails(modules, code, said):
  name = modules.write(code)
  with pytest.raises(ValueError, match="module %s cannot be imported .*%s" % (
      name, said)) as caught:
    strategies.find(name + ":f")
  assert "\n" not in str(caught.value)


def test_functions_that_cannot_be_imported_are_refused(monkeypatch):
  def nested(lines, tokenizer, rng):
    del lines, tokenizer, rng

  for function, said in (
      (lambda lines, tokenizer, rng: [], "<lambda> is a lambda"),
      (nested, "nested is a function within another function"),
      (len, "built-in function len> is neither a function nor the name"),
      (Methods, "is neither a function nor the name"),
      (("a", "b"), "strategy=.'a', 'b'. is neither a function nor the name")):
    with pytest.raises(ValueError, match=said):
      strategies.find(function)
  original = defined_here
  monkeypatch.setattr(sys.modules[__name__], "defined_here", Methods.static)
  with pytest.raises(ValueError, match="gives another function. Define it"):
    strategies.find(original)
  monkeypatch.setattr(original, "__module__", "__main__")
  with pytest.raises(ValueError, match="__main__:defined_here is a function of "
                     "the program that runs, .* Define it with `def`"):
    strategies.find(original)


def test_a_function_without_source_is_refused(modules):
  name = modules.write(
      "exec('def f(lines, tokenizer, rng, **options): return []')\n")
  with pytest.raises(ValueError, match="its source cannot be read .OSError.*"
                     "Define it in a .py file"):
    strategies.find(name + ":f")


@pytest.mark.parametrize("parameters, said", [
    ("lines, tokenizer", "too many positional arguments"),
    ("lines, tokenizer, rng, terms", "missing a required argument: 'terms'"),
    ("lines, tokenizer, rng, *, terms",
     "missing a required argument: 'terms'"),
    ("*, lines, tokenizer, rng", "too many positional arguments"),
])
def test_functions_that_cannot_be_called(modules, parameters, said):
  name = modules.write("def f(%s): return []\n" % parameters)
  with pytest.raises(ValueError, match="--strategy=%s:f cannot be called as .*"
                     "%s" % (name, said)):
    strategies.find(name + ":f")


@pytest.mark.parametrize("parameters, accepted", [
    ("lines, tokenizer, rng", set()),
    ("lines, tokenizer, rng, masked_lm_prob=0.1, *, span_upper",
     {"masked_lm_prob", "span_upper"}),
    ("masked_lm_prob, tokenizer, rng, borrowed_lines=None, other=1",
     {"borrowed_lines"}),
    ("lines, tokenizer, rng, **options",
     {*config.names_of(config.InstanceConfig), "borrowed_lines"}),
    ("*arguments, dupe_factor, **options",
     {*config.names_of(config.InstanceConfig), "borrowed_lines"}),
])
def test_the_options_that_a_function_accepts(modules, parameters, accepted):
  found = strategies.find(
      modules.write("def f(%s): return []\n" % parameters) + ":f")
  names = {*config.names_of(config.InstanceConfig), "borrowed_lines"}
  assert {name for name in names if found.accepts(name)} == accepted


def test_the_options_are_those_of_fusion_input_and_out():
  parameters = inspect.signature(e2e.fusion_input_and_out).parameters
  assert set(strategies._KEYWORDS) == set(parameters) - {
      "lines", "tokenizer", "rng"}


@pytest.mark.parametrize("changes, said", [
    ({"masked_lm_prob": 0.2}, "--masked_lm_prob=0.2 .* default, 0.15"),
    ({"span_geometric_p": 0.2}, "--span_geometric_p=0.2 .* default, None"),
    ({"do_whole_word_mask": True}, "--do_whole_word_mask=True"),
    ({"max_predictions_per_seq": "auto"}, "--max_predictions_per_seq=19"),
])
def test_an_option_that_would_have_no_effect_is_refused(
    odd_corpus, modules, changes, said):
  name = modules.write(
      "def f(lines, tokenizer, rng, max_seq_length): return []\n")
  with pytest.raises(ValueError, match=said) as caught:
    e2e.take_write_2_flow(
        odd_corpus.files, odd_corpus.vocab_file, strategy=name + ":f",
        **changes)
  assert "--strategy=%s:f does not accept" % name in str(caught.value)
  e2e.take_write_2_flow(odd_corpus.files, odd_corpus.vocab_file,
                        strategy=name + ":f", max_seq_length=64)


# -------------------------------------------------- errors of the function


RAISING = """
    import json
    def helper(text):
      return json.loads(text)
    def raising(lines, tokenizer, rng, **options):
      if "w40 " in "".join(lines):
        %s
      return []
    """


@pytest.mark.parametrize("num_workers", KNOWN_WORKERS)
@pytest.mark.parametrize("code, said", [
    ("raise KeyError('k')", r"KeyError: 'k', raised in \S+py, line 7\."),
    ("raise AssertionError", r"AssertionError, raised in \S+py, line 7\."),
    ("helper('{')", r"JSONDecodeError: [^\n]*, raised in \S*decoder.py, line "
     r"\d+, called in \S+py, line 4\."),
    ("return (1 / 0 for line in lines)",
     r"ZeroDivisionError: division by zero, raised in \S+py, line 7\."),
    ("return None", "it returned None of the type NoneType, not a list of"),
])
def test_an_error_names_strategy_chunk_and_place(
    maker, modules, num_workers, code, said):
  text = maker.documents(40, 3)
  path = maker.write("a.txt", text)
  maker.write("b.txt", maker.documents(9))
  name = modules.write(RAISING % code) + ":raising"
  with pytest.raises(ValueError, match=said) as caught:
    list(flow_of(maker, strategy=name, num_workers=num_workers))
  # The blank line ends the first document, and the chunk with it.
  offset = text.index("w40 ")
  assert str(caught.value).startswith(
      "The strategy %s failed on the lines of %s from line 42, byte %d, on, in "
      "epoch 0: " % (name, path, offset))
  assert "\n" not in str(caught.value)


def instance(**changes):
  """Returns the code of a list of a good instance and a changed one."""
  values = dict({
      "tokens": ["[CLS]", "w1", "[MASK]", "w3", "[SEP]"],
      "segment_ids": [0, 0, 0, 1, 1], "masked_lm_positions": [2, 3],
      "masked_lm_labels": ["w2", "w3"], "is_random_next": False}, **changes)
  return cpd.TrainingInstance(*values.values())


VOCAB = ["[CLS]", "[SEP]", "[MASK]", "w1", "w2", "w3"]
OPTIONS = config.InstanceConfig(max_seq_length=6, max_predictions_per_seq=2)


@pytest.mark.parametrize("changes, said", [
    ({"tokens": "w1 w2"}, "has tokens='w1 w2' of the type str. Set it to a"),
    ({"tokens": None}, "has tokens=None"),
    ({"tokens": []}, "has no tokens"),
    ({"tokens": ["w1"] * 7}, "has 7 tokens, more than --max_seq_length=6"),
    ({"tokens": ["[CLS]", "w1", "x", "w3", "[SEP]"]},
     r"has 'x' in tokens\[2\], which is not a piece of the vocabulary"),
    ({"tokens": [1, 2, 3, 4, 5]}, r"has 1 in tokens\[0\]"),
    ({"tokens": ["w1", []]}, r"has \[\] in tokens\[1\]"),
    ({"segment_ids": [0, 0, 0]}, "has 3 segment_ids for 5 tokens"),
    ({"segment_ids": [0, 0, 0, 1, 2]}, r"has 2 in segment_ids\[4\]"),
    ({"segment_ids": [0, -1, 0, 1, 1]}, r"has -1 in segment_ids\[1\]"),
    ({"segment_ids": [0, 0, 0, 1, 1.0]},
     r"has 1.0 of the type float in segment_ids\[4\]"),
    ({"segment_ids": 3}, "has segment_ids=3"),
    ({"masked_lm_positions": [2, 5]},
     r"has 5 in masked_lm_positions\[1\], which is outside of its 5 tokens"),
    ({"masked_lm_positions": [-1, 2]}, r"has -1 in masked_lm_positions\[0\]"),
    ({"masked_lm_positions": [3, 2]}, "has 2 after 3 in masked_lm_positions"),
    ({"masked_lm_positions": [3, 3]}, "has 3 after 3 in masked_lm_positions"),
    ({"masked_lm_positions": [1, 2, 3]},
     "has 3 masked_lm_positions, more than --max_predictions_per_seq=2"),
    ({"masked_lm_positions": ["1", 2]}, "has '1' of the type str in"),
    ({"masked_lm_labels": ["w2"]},
     "has 1 masked_lm_labels for 2 masked_lm_positions"),
    ({"masked_lm_labels": ["w2", "y"]}, r"has 'y' in masked_lm_labels\[1\]"),
    ({"is_random_next": None}, "has is_random_next=None"),
    ({"is_random_next": "no"}, "has is_random_next='no'"),
])
def test_wrong_instances_are_refused_by_their_number(changes, said):
  found = [instance(), instance(), instance(**changes)]
  with pytest.raises(ValueError, match="^the instance with index 2 " + said):
    instance_checks.checked(found, VOCAB, OPTIONS)


@pytest.mark.parametrize("found, said", [
    ([b"bytes"], "index 0 is b'bytes' of the type bytes without tokens, "),
    ([instance(), object()], "index 1 is .* of the type object without"),
    ({"tokens": []}, "index 0 is 'tokens' of the type str without tokens"),
    (7, "it returned 7 of the type int, not a list of TrainingInstance"),
])
def test_other_objects_are_refused(found, said):
  with pytest.raises(ValueError, match=said):
    instance_checks.checked(found, VOCAB, OPTIONS)


def test_what_is_right_is_copied():
  class Other:
    tokens, segment_ids = ("[CLS]", "w1", "[SEP]"), bytes(3)
    masked_lm_positions, masked_lm_labels = range(1, 2), ("w2",)
    is_random_next = 1

  one = instance(masked_lm_positions=[], masked_lm_labels=[])
  found = instance_checks.checked([one, Other], VOCAB, OPTIONS)
  assert [type(each) for each in found] == [cpd.TrainingInstance] * 2
  assert vars(found[0]) == vars(one)
  assert found[0].tokens is not one.tokens
  assert vars(found[1]) == {
      "tokens": ["[CLS]", "w1", "[SEP]"], "segment_ids": [0, 0, 0],
      "masked_lm_positions": [1], "masked_lm_labels": ["w2"],
      "is_random_next": True, "masked_groups": ()}
  assert instance_checks.checked(iter(()), VOCAB, OPTIONS) == []


@pytest.mark.parametrize("num_workers", KNOWN_WORKERS)
def test_a_wrong_instance_in_a_stream(maker, modules, num_workers):
  path = maker.write("a.txt", "\n\n" + maker.documents(3))
  name = modules.write("""
      from create_pretraining_data import TrainingInstance
      def wrong(lines, tokenizer, rng, max_seq_length, **others):
        right = TrainingInstance(["[CLS]", "[SEP]"], [0, 0], [], [], False)
        return [right, TrainingInstance(
            ["[CLS]"] * (max_seq_length + 1), [], [], [], False)]
      """) + ":wrong"
  with pytest.raises(ValueError) as caught:
    list(flow_of(maker, strategy=name, num_workers=num_workers))
  assert str(caught.value) == (
      "The strategy %s failed on the lines of %s from line 1, byte 0, on, in "
      "epoch 0: the instance with index 1 has 33 tokens, more than "
      "--max_seq_length=32. Cut it to the argument max_seq_length." % (
          name, path))


# ------------------------------------------------------------------ own masks


def test_original_tokens_undoes_the_masks(maker):
  maker.write("a.txt", maker.documents(9, 9))
  tokenizer = tokenization.FullTokenizer(maker.vocab_file)
  with open(maker.files[0]) as stream:
    lines = stream.read().split("\n")
  texts = []
  for probability in (0.15, 0.9):
    found = e2e.fusion_input_and_out(
        lines, tokenizer, random.Random(1), short_seq_prob=0, **dict(
            LENGTHS, masked_lm_prob=probability, max_predictions_per_seq=40))
    assert any("[MASK]" in each.tokens for each in found)
    texts.append({tuple(e2e.original_tokens(each)) for each in found
                  if not each.is_random_next})
    assert not any("[MASK]" in text for text in texts[-1])
  words = {word for line in lines for word in line.split()}
  assert all({*text} <= {*words, "[CLS]", "[SEP]"}
             for each in texts for text in each)


def test_mask_positions_has_the_configured_probabilities():
  tokens = ["[CLS]", *["w1"] * 40, "[SEP]"]
  counts = {"[MASK]": 0, "w1": 0, "w2": 0}
  for seed in range(200):
    masked, positions, labels = e2e.mask_positions(
        tokens, (40, *range(1, 40), 1), ["w2"], random.Random(seed),
        mask_replace_prob=0.5, random_replace_prob=0.2)
    assert positions == list(range(1, 41)) and labels == ["w1"] * 40
    assert (masked[0], masked[-1]) == ("[CLS]", "[SEP]")
    for token in masked[1:-1]:
      counts[token] += 1
  assert tokens[1:-1] == ["w1"] * 40  # Not changed.
  assert abs(counts["[MASK]"] / 8000 - 0.5) < 0.02
  assert abs(counts["w2"] / 8000 - 0.2) < 0.02


@pytest.mark.parametrize("position", [-1, 3])
def test_mask_positions_refuses_others(position):
  with pytest.raises(ValueError, match="position %d to mask .* 3 tokens" %
                     position):
    e2e.mask_positions(["[CLS]", "a", "[SEP]"], [1, position], ["a"],
                       random.Random(1))


def test_num_to_predict_is_what_the_built_in_rules_mask(maker):
  maker.write("a.txt", maker.documents(9, 9))
  tokenizer = tokenization.FullTokenizer(maker.vocab_file)
  with open(maker.files[0]) as stream:
    found = e2e.fusion_input_and_out(stream, tokenizer, random.Random(1),
                                     max_seq_length=40)
  for each in found:
    assert len(each.masked_lm_positions) == e2e.num_to_predict(
        len(each.tokens), 0.15, 20)


def test_what_an_author_needs_is_public():
  for name in ("TrainingInstance", "fusion_input_and_out", "mask_positions",
               "num_to_predict", "original_tokens"):
    assert getattr(e2e, name) is getattr(cpd, name)
