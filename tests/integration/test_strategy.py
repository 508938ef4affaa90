"""A strategy of the user in the programs, and the one of docs/strategy.md."""

import os
import re

import forked_programs
import pytest
import tensorflow.compat.v1 as tf
from program import (
  LENGTHS,
  ROOT,
  check_a_kill_changes_nothing,
  command,
  prepared,
  run_program,
)
from strategy_modules import BUILT_IN

import create_pretraining_data as cpd
import run_pretraining_e2e as e2e
from bert_e2e.data import preflight, preflight_text, resume
from bert_e2e.data.text_source import TextSource
from bert_e2e.data.tf_example import parse_example

# As many instances as lines; the masks depend on the random numbers.
LINES = """
    from create_pretraining_data import TrainingInstance, mask_positions

    def one_per_line(lines, tokenizer, rng, max_seq_length,
                     max_predictions_per_seq):
      for line in filter(None, lines):
        pieces = tokenizer.tokenize(line)[:max_seq_length - 2]
        tokens = ["[CLS]", *pieces, "[SEP]"]
        masked = mask_positions(
            tokens, rng.sample(range(1, 1 + len(pieces)), 2),
            list(tokenizer.vocab), rng)
        yield TrainingInstance(
            masked[0], [0] * len(tokens), masked[1], masked[2], False)
    """
NUM_LINES = 240  # Of program.write_inputs.
TERM_WORDS = ("my", "##ocardial", "infarction", "troponin", "stent")


def flow_of(files, **options):
  return e2e.take_write_2_flow(
      [files["train"]], files["vocab"], **dict(LENGTHS, **options))


# ------------------------------------------------------------- in a training


@pytest.mark.slow
def test_killed_it_ends_with_the_weights_of_an_undisturbed_run(
    files, modules, parse_flags):
  """And a changed strategy does not resume."""
  name = modules.write(LINES)
  arguments = dict(num_train_steps=13, strategy=name + ":one_per_line")
  files = check_a_kill_changes_nothing(files, strategy=arguments["strategy"])
  with open(os.path.join(files["out"], "train.log")) as stream:
    log = stream.read()
  assert "instances are built by the strategy %s:one_per_line" % name in log
  assert "epoch 0.400" in log  # 96 of 240 examples.
  source = resume.load(files["out"]).options["strategy"]["source"]

  # By another name it is the same.
  renamed = modules.write(LINES) + ":one_per_line"
  run = prepared(parse_flags(command(
      files, num_train_steps=13, strategy=renamed)))
  assert run.training.stream_record == resume.load(files["out"])

  modules.write(LINES.replace("pieces), 2)", "pieces), 1)") + "# Changed.\n",
                name)
  with pytest.raises(ValueError) as caught:
    prepared(parse_flags(command(files, **arguments)))
  said = "strategy was %s:one_per_line with the source %s and is %s:" % (
      name, source, name)
  assert said in str(caught.value)
  assert "--accept_new_stream" in str(caught.value)
  with pytest.raises(ValueError, match="strategy was .* and is None"):
    prepared(parse_flags(command(files, num_train_steps=13)))
  run = prepared(parse_flags(command(
      files, accept_new_stream=True, **arguments)))
  assert run.training.stream_record.first_example == 96
  assert run.training.stream_record.options["strategy"]["source"] != source


def test_evaluations_are_built_in(files, modules, parse_flags):
  run = prepared(parse_flags(command(
      files, do_eval=True, eval_input_file=files["eval"],
      general_eval_input_file=files["eval"], strategy=modules.write(
          LINES) + ":one_per_line")))
  assert run.training.source.text.options.strategy.name.endswith("per_line")
  assert len(run.eval_sources) == 2
  for source in run.eval_sources.values():
    assert source.text.options.strategy is None
    assert "strategy" not in source.text.record().options
    assert list(source.text.open(num_epochs=1)) == list(
        flow_of(dict(files, train=files["eval"]), num_epochs=1))


def test_records_are_refused(files, modules, parse_flags, tmp_path):
  path = str(tmp_path / "examples.tfrecord")
  with tf.io.TFRecordWriter(path) as writer:
    writer.write(next(flow_of(files)))
  name = modules.write(LINES) + ":one_per_line"
  with pytest.raises(ValueError, match="--strategy=%s builds instances of raw "
                     "text, but %s holds examples" % (name, path)):
    prepared(parse_flags(command(files, input_file=path, strategy=name)))
  # To evaluate on some is no problem.
  prepared(parse_flags(command(
      files, do_eval=True, eval_input_file=path, strategy=name)))


@pytest.mark.parametrize("strategy, said", [
    ("no_such_module:f", "the module no_such_module cannot be imported"),
    ("json:no_such_function", "no_such_function in the module json"),
    ("mine", "package.module:function"),
])
def test_what_is_not_found_ends_the_program_with_a_sentence(
    files, modules, strategy, said):
  run = run_program(command(files, strategy=strategy))
  assert run.returncode == 1
  line, = run.stdout.splitlines()
  assert line.startswith("run_pretraining_e2e.py: --strategy=" + strategy)
  assert said in line
  assert not os.path.exists(files["out"])


def test_an_evaluation_alone_does_not_need_it(files, modules, parse_flags):
  run = prepared(parse_flags(command(
      files, do_train=False, do_eval=True, eval_input_file=files["eval"],
      strategy="no_such_module:f")))
  assert run.training is None


def test_an_error_while_training_is_a_sentence(files, modules):
  name = modules.write(LINES + """
    def failing(lines, *others, **options):
      if "w7 w8" in "".join(lines):  # In all chunks.
        raise KeyError("k")
    """) + ":failing"
  run = run_program(command(files, strategy=name, masked_lm_prob=0.2))
  assert run.returncode == 1
  line, = run.stdout.splitlines()
  assert line.startswith(
      "run_pretraining_e2e.py: The strategy %s failed on the lines of %s from "
      "line 1, byte 0, on, in epoch 0: KeyError: 'k', raised in " % (
          name, files["train"]))


# ------------------------------------------------------------- the preflight


def preflight_of(files, **options):
  return TextSource.from_arguments(
      [files["train"]], files["vocab"], **dict(LENGTHS, **options)).preflight()


def test_the_preflight_counts_the_strategys_examples(files, modules):
  name = modules.write(LINES) + ":one_per_line"
  found = preflight_of(files, strategy=name)
  assert found.strategy == name
  assert found.examples_per_epoch == NUM_LINES
  assert found.mean_length == found.length_90 == 7  # Of 5 words.
  assert found.masked_share == pytest.approx(2 / 7, abs=1e-5)
  assert found.random_pair_share == 0
  assert found.truncated_share is None and found.uncut_masked_share is None
  assert preflight_text.from_dict(preflight_text.to_dict(found)) == found
  text = preflight_text.to_text(found)
  assert re.search(r"^strategy +%s$" % name, text, re.M)
  assert "which tokens it truncates or leaves out is not counted" in text
  assert "tokens truncated" not in text


def test_the_preflight_of_the_built_in_strategy_is_the_default_one(
    files, modules, monkeypatch):
  name = modules.write(BUILT_IN) + ":built_in"
  for max_bytes in (1 << 21, 4000):  # The whole text, and a sample.
    monkeypatch.setitem(
        preflight.sample_text.__kwdefaults__, "max_bytes", max_bytes)
    expected, found = preflight_of(files), preflight_of(files, strategy=name)
    assert expected.is_estimate == (max_bytes == 4000)
    different = {key for key, value in found._asdict().items()
                 if value != getattr(expected, key)}
    assert different <= {"strategy", "truncated_share", "uncut_masked_share",
                         "formats", "format_advice", "warnings"}
    assert {"strategy", "truncated_share"} <= different


# -------------------------------------------------------- the other programs


def run_other(program, files, **flags):
  values = dict({"input_file": files["train"], "vocab_file": files["vocab"]},
                **dict(LENGTHS, **flags))
  return forked_programs.run([os.path.join(ROOT, program)] + [
      "--%s=%s" % item for item in values.items()])


def test_show_examples_shows_the_strategys(files, modules):
  name = modules.write(LINES) + ":one_per_line"
  run = run_other("show_examples.py", files, strategy=name, num_examples=3)
  assert run.returncode == 0, run.stdout
  shown = [list(map(int, line.split()[1:])) for line in run.stdout.splitlines()
           if line.startswith("input_ids: ")]
  expected = [parse_example(example)["input_ids"][:7] for example, _ in zip(
      flow_of(files, strategy=name), range(3))]
  assert shown == expected
  assert run.stdout.count("7 of 16 pieces, 2 of them to predict") == 3


def test_create_pretraining_data_calls_it_with_all_lines(
    files, modules, tmp_path):
  name = modules.write(LINES)
  path = str(tmp_path / "examples.tfrecord")
  other = str(tmp_path / "other.txt")
  with open(other, "w") as stream:
    stream.write("w1 w2 w3\nw4 w5\n")
  flags = dict(input_file=files["train"] + "," + other, output_file=path,
               strategy=name + ":one_per_line")
  run = run_other("create_pretraining_data.py", files, **flags)
  assert run.returncode == 1
  assert "--dupe_factor=10 would have no effect" in run.stdout
  run = run_other("create_pretraining_data.py", files, dupe_factor=1, **flags)
  assert run.returncode == 0, run.stdout
  records = list(tf.io.tf_record_iterator(path))
  assert len(records) == NUM_LINES + 2

  # In the function's order.
  vocab = cpd.tokenization.load_vocab(files["vocab"])
  last = parse_example(records[-1])
  for position, label in zip(last["masked_lm_positions"],
                             last["masked_lm_ids"][:2]):
    last["input_ids"][position] = label
  assert last["input_ids"][:4] == [
      vocab[piece] for piece in ("[CLS]", "w4", "w5", "[SEP]")]

  modules.write(LINES.replace("yield TrainingInstance", "TrainingInstance"),
                name)
  run = run_other("create_pretraining_data.py", files, dupe_factor=1, **flags)
  assert run.returncode == 1
  assert ("The strategy %s:one_per_line failed on the text of --input_file=%s"
          ": it returned None" % (name, flags["input_file"])) in run.stdout


def test_create_pretraining_data_with_fusion_input_and_out(
    files, modules, tmp_path):
  """It accepts dupe_factor, which is 10 there."""
  path = str(tmp_path / "examples.tfrecord")
  run = run_other("create_pretraining_data.py", files, output_file=path,
                  strategy=modules.write(BUILT_IN) + ":built_in")
  assert run.returncode == 0, run.stdout
  once = sum(1 for _ in flow_of(files, num_epochs=1))
  assert 8 < sum(1 for _ in tf.io.tf_record_iterator(path)) / once < 12


# --------------------------------------------------------- docs/strategy.md


@pytest.fixture
def documented(modules):
  """Writes the module of docs/strategy.md; returns its strategy's name."""
  with open(os.path.join(ROOT, "docs", "strategy.md")) as stream:
    code, = re.findall(
        r"^<!-- file: domain_terms.py -->\n```python\n(.*?)^```$",
        stream.read(), re.M | re.S)
  return modules.write(code, "domain_terms") + ":mask_terms_first"


@pytest.fixture
def term_files(files, tmp_path):
  """A corpus in which one word in seven is a term of the documentation."""
  terms = ("Myocardial infarction", "troponin", "Stent")
  words = ["w%d" % i for i in range(1, 40)]
  lines, place = [], 0
  for number in range(300):
    line = []
    for _ in range(9):
      place += 1
      line.append(terms[place % 3] if place % 7 == 0 else
                  words[place * place % 39])
    lines.append(" ".join(line) + "\n" * (number % 5 == 4))
  train, vocab = tmp_path / "terms.txt", tmp_path / "terms_vocab.txt"
  train.write_text("\n".join(lines) + "\n")
  vocab.write_text("\n".join([*cpd.SPECIAL_TOKENS, *TERM_WORDS, *words]) + "\n")
  return dict(files, train=str(train), vocab=str(vocab))


def places_of_terms(ids, vocab):
  """Returns the sets of the positions of each term in an example."""
  found = []
  for pieces in (TERM_WORDS[:3], TERM_WORDS[3:4], TERM_WORDS[4:5]):
    term = [vocab[piece] for piece in pieces]
    found += [set(range(start, start + len(term))) for start in range(len(ids))
              if ids[start:start + len(term)] == term]
  return found


@pytest.mark.parametrize("probability", [0.15, 0.3])
def test_the_documented_strategy_masks_terms_first(
    documented, term_files, probability):
  options = dict(strategy=documented, max_seq_length=64, num_epochs=1,
                 max_predictions_per_seq=12, masked_lm_prob=probability)
  examples = list(flow_of(term_files, **options))
  assert list(flow_of(term_files, num_workers=2, **options)) == examples
  vocab = cpd.tokenization.load_vocab(term_files["vocab"])
  num_full = num_places = num_masks = num_replaced = 0
  for features in map(parse_example, examples):
    length = sum(features["input_mask"])
    count = int(sum(features["masked_lm_weights"]))
    assert count == e2e.num_to_predict(length, probability, 12)
    masked = features["masked_lm_positions"][:count]
    ids = features["input_ids"][:length]
    num_masks += ids.count(vocab["[MASK]"])
    num_replaced += count
    for position, label in zip(masked, features["masked_lm_ids"]):
      ids[position] = label
    places = places_of_terms(ids, vocab)
    full = [place for place in places if place <= set(masked)]
    covered = set().union(*full)
    # A term is left out only where it does not fit any more.
    assert all(len(covered | place) > count for place in places
               if place not in full)
    num_places, num_full = num_places + len(places), num_full + len(full)
  assert len(examples) > 50 and num_places > 300
  assert num_full / num_places > (0.4 if probability == 0.15 else 0.9)
  assert 0.7 < num_masks / num_replaced < 0.9
