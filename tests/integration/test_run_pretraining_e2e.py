"""The program: input, model, training, evaluation, results and refusals."""

import glob
import json
import os
import re
import signal
import textwrap

import forked_programs
import pytest
import tensorflow.compat.v1 as tf
from program import (
  CONFIG,
  LENGTHS,
  ROOT,
  VOCAB,
  WORDS,
  children,
  command,
  prepared,
  run_program,
  save_checkpoint,
  started,
  text,
)

import run_pretraining_e2e as e2e
from bert_e2e.common import errors
from bert_e2e.training import input_validation
from bert_e2e.training.input_errors import input_errors


def read(path):
  with open(path, encoding="utf-8") as stream:
    return stream.read()


def results(out):
  """Returns eval_results.txt as a dict."""
  lines = read(os.path.join(out, "eval_results.txt")).splitlines()
  assert lines == sorted(lines)
  return {k: float(v) for k, v in (line.split(" = ") for line in lines)}


# What a progress line shows behind its step -> its name in TensorBoard.
FIGURES = {
    r"loss ([\d.]+)": "loss",
    r"masked_lm_loss ([\d.]+)": "masked_lm_loss",
    r"next_sentence_loss ([\d.]+)": "next_sentence_loss",
    r"masked_lm_accuracy ([\d.]+)": "masked_lm_accuracy",
    r"next_sentence_accuracy ([\d.]+)": "next_sentence_accuracy",
    r"learning_rate ([\d.e-]+)": "learning_rate",
    r"([\d.]+) sequences/s": "sequences_per_second",
    r"([\d,]+) tokens/s": "tokens_per_second",
    r"padding (\d+)%": "padding",
    r"input wait (\d+)%": "input_wait",
    r"epoch ([\d.]+)": "epoch",
}


def progress(output, last_step):
  """Returns the progress lines' figures: {name: {step: number}}."""
  found = {name: {} for name in FIGURES.values()}
  lines = re.findall(r"^step (\d+)/%d  (.*)$" % last_step, output, re.MULTILINE)
  pattern = "  ".join(FIGURES)
  for number, (step, words) in enumerate(lines):
    eta = r"  ETA \d+:\d\d:\d\d" if number else ""
    match = re.match("^%s%s$" % (pattern, eta), words)
    assert match, words
    for name, value in zip(FIGURES.values(), match.groups()):
      found[name][int(step)] = float(value.replace(",", ""))
  for name in ("input_wait", "padding"):
    found[name] = {
        step: percent / 100 for step, percent in found[name].items()}
  return found


def scalars(out):
  """Returns TensorBoard's figures of a training: {name: {step: number}}."""
  found = {}
  for path in glob.glob(os.path.join(out, "events.out.tfevents.*")):
    for event in tf.train.summary_iterator(path):
      for value in event.summary.value:
        if value.tag.startswith("training/"):
          found.setdefault(value.tag[len("training/"):], {})[event.step] = (
              value.simple_value)
  return found


def batches(input_fn, batch_size, limit=1000):
  """Returns the batches of an input_fn as dicts of arrays."""
  with tf.Graph().as_default():
    dataset = input_fn({"batch_size": batch_size})
    features = tf.data.make_one_shot_iterator(dataset).get_next()
    found = []
    with tf.Session() as session:
      try:
        while len(found) < limit:
          found.append(session.run(features))
      except tf.errors.OutOfRangeError:
        pass
    return {n: t.dtype for n, t in features.items()}, found


def flow_of(files, **changes):
  options = dict(LENGTHS, **dict({"num_epochs": 1}, **changes))
  return list(e2e.take_write_2_flow([files["train"]], files["vocab"],
                                    **options))


class TestFlow:

  def test_takes_patterns_and_yields_examples(self, files, tmp_path):
    flow = flow_of(files)
    example = tf.train.Example.FromString(flow[0]).features.feature
    assert len(example["input_ids"].int64_list.value) == 16
    assert len(example["masked_lm_weights"].float_list.value) == 3
    both = list(e2e.take_write_2_flow(
        str(tmp_path / "*.txt"), files["vocab"], num_epochs=1, **LENGTHS))
    # Some lines of the vocabulary are text, too.
    assert len(both) > len(flow)

  def test_epochs_are_fresh_and_runs_are_equal(self, files):
    two = flow_of(files, num_epochs=2)
    one = flow_of(files)
    assert two[:len(one)] == one
    assert two[len(one):] != one
    assert flow_of(files) == one
    assert flow_of(files, random_seed=1) != one

  def test_dupe_factor(self, files):
    assert 2.5 < len(flow_of(files, dupe_factor=3)) / len(flow_of(files)) < 3.5

  def test_defaults_are_the_references(self):
    defaults = e2e.take_write_2_flow.__kwdefaults__
    assert defaults["max_seq_length"] == 128
    assert defaults["max_predictions_per_seq"] == 20
    assert defaults["masked_lm_prob"] == 0.15
    assert defaults["short_seq_prob"] == 0.1
    assert defaults["random_seed"] == 12345
    assert defaults["chunk_lines"] == 1000
    assert defaults["num_workers"] == 0
    assert defaults["num_epochs"] is None
    assert defaults["dupe_factor"] == 1

  def test_bad_arguments_are_refused_at_the_call(self, files):
    for changes, said in (
        ({"max_seq_length": 2}, "max_seq_length"),
        ({"chunk_lines": 0}, "chunk_lines"),
        ({"num_workers": -1}, "num_workers")):
      with pytest.raises(ValueError, match=said):
        e2e.take_write_2_flow([files["train"]], files["vocab"], **changes)
    with pytest.raises(ValueError, match="nowhere"):
      e2e.take_write_2_flow(["nowhere.txt"], files["vocab"])


class TestInputFn:

  def flow(self, files):
    return e2e.Flow(lambda start, shard: e2e.take_write_2_flow(
        [files["train"]], files["vocab"], num_epochs=1, first_example=start,
        **LENGTHS))

  def expected_ids(self, examples):
    return [
        list(tf.train.Example.FromString(e).features.feature[
            "input_ids"].int64_list.value) for e in examples]

  def test_training_batches_are_the_flow_in_order(self, files):
    flow = self.flow(files)
    dtypes, found = batches(e2e.input_fn_builder(
        [], 16, 3, is_training=True, flow=flow), 8)
    ids = [row.tolist() for b in found for row in b["input_ids"]]
    expected = self.expected_ids(flow_of(files))
    assert ids == expected[:len(expected) // 8 * 8]
    assert flow.num_examples == len(expected)
    assert found[0]["next_sentence_labels"].shape == (8, 1)
    assert found[0]["masked_lm_weights"].shape == (8, 3)
    assert set(dtypes) == {
        "input_ids", "input_mask", "segment_ids", "masked_lm_positions",
        "masked_lm_ids", "masked_lm_weights", "next_sentence_labels"}
    for name, dtype in dtypes.items():
      is_weight = name == "masked_lm_weights"
      assert dtype == (tf.float32 if is_weight else tf.int32)

  def test_evaluation_takes_each_example_once(self, files):
    flow = self.flow(files)
    _, found = batches(e2e.input_fn_builder(
        [], 16, 3, is_training=False, flow=flow), 7)
    ids = [row.tolist() for b in found for row in b["input_ids"]]
    assert ids == self.expected_ids(flow_of(files))
    assert 0 < len(found[-1]["input_ids"]) < 7

  def test_evaluation_on_fixed_shapes_repeats(self, files):
    flow = self.flow(files)
    _, found = batches(e2e.input_fn_builder(
        [], 16, 3, is_training=False, flow=flow, fixed_batches=True), 7, 40)
    assert len(found) == 40
    assert {len(b["input_ids"]) for b in found} == {7}

  def test_records(self, files, tmp_path):
    path = str(tmp_path / "records")
    examples = flow_of(files)
    with tf.io.TFRecordWriter(path) as writer:
      for example in examples:
        writer.write(example)
    ids = self.expected_ids(examples)
    _, found = batches(
        e2e.input_fn_builder([path], 16, 3, is_training=False), 7, 40)
    evaluated = [row.tolist() for b in found for row in b["input_ids"]]
    assert evaluated == (ids * 10)[:280]
    _, found = batches(
        e2e.input_fn_builder([path, path], 16, 3, is_training=True), 7, 40)
    trained = [row.tolist() for b in found for row in b["input_ids"]]
    assert len(trained) == 280
    assert trained[:len(ids)] != ids
    assert set(map(tuple, trained)) <= set(map(tuple, ids))

  def test_a_flows_error_is_kept(self):
    def broken(start, shard):
      yield b"never parsed"
      raise ValueError("the file is bad")

    flow = e2e.Flow(broken)
    with pytest.raises(errors.InputError, match="^the file is bad$"):
      with input_errors(flow):
        batches(e2e.input_fn_builder([], 16, 3, True, flow=flow), 1)
    assert isinstance(flow.error, ValueError)


class TestProgram:

  def test_trains_evaluates_and_resumes(self, files):
    """One run, a second that goes on, and a third with nothing to train."""
    arguments = dict(do_eval=True, eval_input_file=files["eval"],
                     log_every_steps=2, num_workers=None)
    first = run_program(command(files, **arguments))
    assert first.returncode == 0, first.stdout
    out = files["out"]
    assert results(out)["global_step"] == 4
    assert set(results(out)) == {
        "global_step", "loss", "masked_lm_accuracy", "masked_lm_loss",
        "masked_lm_nats_per_character",
        "next_sentence_accuracy", "next_sentence_loss"}
    for line in ("starting from newly initialized weights", "step 1/4  loss ",
                 "step 2/4  loss ", "step 4/4  loss ", "masked_lm_accuracy = "):
      assert line in first.stdout
    assert "step 3/4" not in first.stdout
    assert len(first.stdout.splitlines()) < 46
    self.same_figures_on_terminal_and_tensorboard(first.stdout, out)
    log = read(os.path.join(out, "train.log"))
    for line in ("*** Input Files ***", "*** Features ***",
                 "name = input_ids, shape = (8, 16)",
                 "**** Trainable Variables ****",
                 "name = cls/predictions/output_bias:0, shape = (45,)",
                 "***** Running training *****", "  Batch size = 8",
                 "***** Running evaluation *****", "step 4/4  loss ",
                 "***** Eval results *****"):
      assert line in log
    names = {n for n, _ in tf.train.list_variables(out)}
    assert "bert/pooler/dense/kernel/adam_m" in names

    second = run_program(command(files, num_train_steps=6, **arguments))
    assert "resuming from step 4" in second.stdout
    assert results(out)["global_step"] == 6
    assert read(os.path.join(out, "train.log")).startswith(log)

    third = run_program(command(files, num_train_steps=6))
    assert third.returncode == 0
    assert "nothing to train" in third.stdout
    self.no_examples_on_disk(out)

  def same_figures_on_terminal_and_tensorboard(self, output, out):
    shown, written = progress(output, 4), scalars(out)
    assert set(shown) == set(written)
    # What is shown is rounded: to five digits, or else to these places.
    places = {"sequences_per_second": 1, "tokens_per_second": 0, "padding": 2,
              "input_wait": 2, "epoch": 3}
    for name, values in shown.items():
      assert list(values) == [1, 2, 4]
      error = 0.51 * 10**-places[name] if name in places else 0
      assert written[name] == pytest.approx(values, rel=1e-4, abs=error), name
    assert written["learning_rate"] == pytest.approx(
        {1: 0.0, 2: 5e-4, 4: 2.5e-4})

  def no_examples_on_disk(self, out):
    for folder, _, names in os.walk(out):
      for name in names:
        if "tfevents" not in name:
          path = os.path.join(folder, name)
          assert input_validation.first_record(path) is None

  def test_old_command_line_on_records(self, files, tmp_path):
    """What the two programs of the reference did, flag for flag."""
    records = str(tmp_path / "examples.tfrecord")
    made = forked_programs.run([
        os.path.join(ROOT, "create_pretraining_data.py"),
        "--input_file=" + files["train"], "--output_file=" + records,
        "--vocab_file=" + files["vocab"], "--dupe_factor=2",
        "--max_seq_length=16", "--max_predictions_per_seq=3"])
    assert made.returncode == 0, made.stdout
    run = run_program(command(files, input_file=records, vocab_file=None,
                              do_eval=True, max_eval_steps=3))
    assert run.returncode == 0, run.stdout
    assert results(files["out"])["global_step"] == 4
    assert "evaluating on the training text" in run.stdout

    # An output that got no example, among others.
    (tmp_path / "empty").write_text("")
    both = ",".join([str(tmp_path / "empty"), records])
    again = run_program(command(files, input_file=both, vocab_file=None,
                                num_train_steps=5))
    assert again.returncode == 0, again.stdout

    refused = run_program(command(files, input_file=records, vocab_file=None,
                                  max_seq_length=32))
    assert refused.returncode == 1
    assert "--max_seq_length=16, but this run has --max_seq_length=32" in (
        refused.stdout)

  @pytest.mark.slow
  def test_text_that_goes_bad_while_training(self, files, tmp_path):
    """One sentence with file, line and byte, after the steps before it.

    The look before the training is made to miss it.
    """
    with open(files["train"], "ab") as stream:
      stream.write(b"w1 w2\n" * 600 + b"\xff\n")
    with open(files["train"], "ab") as stream:
      stream.write(text(800).encode("utf-8"))
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent("""
        from absl import app
        import run_pretraining_e2e
        from bert_e2e.data import preflight
        preflight.sample_text.__kwdefaults__["max_bytes"] = 1000
        run_pretraining_e2e.define_flags()
        app.run(run_pretraining_e2e.main)"""))
    run = forked_programs.run([str(script)] + command(
        files, num_train_steps=100000, chunk_lines=10, num_workers=None))
    assert run.returncode == 1
    assert "Traceback" not in run.stdout
    # As an error of the program, and not wrapped in one of TensorFlow's.
    assert "ERROR: %s is not UTF-8" % files["train"] in run.stdout
    assert "line 901" in run.stdout

  def test_a_preflight_that_refuses_the_text_late(self, files, tmp_path):
    """The graph is built and the session created meanwhile, but no step done.
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent("""
        import tensorflow.compat.v1 as tf
        from absl import app
        import run_pretraining_e2e
        from bert_e2e.data.text_source import TextSource

        def refuse():
          raise ValueError("Refused; the graph is complete: %s." %
                           tf.get_default_graph().finalized)

        TextSource.start_preflight = lambda *_, **__: refuse
        run_pretraining_e2e.define_flags()
        app.run(run_pretraining_e2e.main)"""))
    run = forked_programs.run([str(script)] + command(files))
    assert run.returncode == 1
    assert "Traceback" not in run.stdout
    assert "ERROR: Refused; the graph is complete: True." in run.stdout
    assert "step 1/" not in run.stdout
    assert not tf.train.latest_checkpoint(files["out"])

  @pytest.mark.slow
  def test_invalid_utf8_need_not_end_a_run(self, files):
    with open(files["train"], "ab") as stream:
      stream.write(b"w1 \xff w2\n")
    run = run_program(command(files, invalid_utf8="replace"))
    assert run.returncode == 0, run.stdout

  def test_flags_are_the_union_of_both_programs(self, parse_flags, files):
    values = parse_flags(command(files, output_file="x.tfrecord"))
    expected = {
        "do_lower_case": True, "do_whole_word_mask": False,
        "random_seed": 12345, "dupe_factor": 1, "masked_lm_prob": 0.15,
        "short_seq_prob": 0.1, "init_checkpoint": None, "do_eval": False,
        "eval_batch_size": 8, "save_checkpoints_steps": 1000,
        "iterations_per_loop": 1000, "max_eval_steps": 100, "use_tpu": False,
        "tpu_name": None, "tpu_zone": None, "gcp_project": None,
        "master": None, "num_tpu_cores": 8, "output_file": "x.tfrecord",
    }
    assert {name: getattr(values, name) for name in expected} == expected

  @pytest.mark.slow
  def test_a_workers_death_ends_the_run_with_one_sentence(self, files):
    arguments = command(files, num_train_steps=1000000, num_workers=1,
                        log_every_steps=20)
    with started(arguments, "step 20/") as program:
      # The worker is a child of the thread that TensorFlow runs it in.
      worker, = children(program.pid)
      os.kill(worker, signal.SIGKILL)
      said = program.stdout.read()
      assert program.wait() == 1
    assert re.search(r"ERROR: Worker 1 of 1 \(process \d+\) was killed by "
                     "SIGKILL while it", said), said
    assert "Traceback" not in said

  def test_arguments_without_a_flag(self, files):
    """What the shell makes of --input_file *.txt."""
    run = run_program(command(files) + ["b.txt", "c.txt"])
    assert run.returncode == 1
    assert "Arguments without a flag: b.txt c.txt" in run.stdout

  def test_output_dir_that_cannot_be_made(self, files):
    run = run_program(command(
        files, output_dir=os.path.join(files["train"], "out")))
    assert run.returncode == 1
    assert "cannot be written" in run.stdout
    assert "Traceback" not in run.stdout

  def test_names_that_users_import(self):
    for name in ("model_fn_builder", "get_masked_lm_output", "gather_indexes",
                 "get_next_sentence_output", "input_fn_builder",
                 "take_write_2_flow", "create_instance_to_example_files"):
      assert callable(getattr(e2e, name))


class TestRefusals:
  """Bad input: one sentence before anything is built or written."""

  @pytest.fixture
  def refused(self, files, parse_flags):
    """Returns a function: flag changes -> the sentence."""

    def refused(**changes):
      values = parse_flags(command(files, **changes))
      with pytest.raises((ValueError, OSError)) as caught:
        prepared(values)
      assert not os.path.exists(files["out"])
      assert "\n" not in str(caught.value)
      return str(caught.value)

    return refused

  def test_nothing_to_do(self, refused):
    assert "--do_train" in refused(do_train=False)

  @pytest.mark.parametrize("name, value", [
      ("train_batch_size", 0), ("num_train_steps", 0), ("learning_rate", 0),
      ("learning_rate", "inf"), ("learning_rate", "nan"),
      ("num_warmup_steps", -1), ("max_eval_steps", -1), ("dupe_factor", 0),
      ("keep_checkpoint_max", -1), ("keep_checkpoint_every_n_hours", 0),
      ("masked_lm_prob", 1.5), ("max_predictions_per_seq", 0),
      ("chunk_lines", 0), ("save_checkpoints_steps", 0)])
  def test_numbers(self, refused, name, value):
    assert name in refused(**{name: value})

  def test_files(self, refused, files, tmp_path):
    assert "no-such" in refused(input_file=str(tmp_path / "no-such-*"))
    assert "no-such" in refused(do_eval=True, eval_input_file="no-such.txt")
    assert "no-such" in refused(bert_config_file="no-such.json")
    assert "--vocab_file=no-such" in refused(vocab_file="no-such.txt")
    assert "--vocab_file is missing" in refused(vocab_file=None)
    (tmp_path / "empty.txt").write_text("")
    assert "empty.txt has 0 bytes" in refused(
        input_file=str(tmp_path / "empty.txt"))
    (tmp_path / "blank.txt").write_text("\n \n")
    assert "no example" in refused(input_file=str(tmp_path / "blank.txt"))
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9\n")
    assert "latin1.txt is not UTF-8" in refused(
        input_file=str(tmp_path / "latin1.txt"))

  def test_mixed_input(self, refused, files, tmp_path):
    path = str(tmp_path / "records")
    with tf.io.TFRecordWriter(path) as writer:
      writer.write(b"anything")
    (tmp_path / "empty").write_text("")
    assert "mixes" in refused(input_file=files["train"] + "," + path)
    assert "no input_ids" in refused(input_file=path)

  def test_vocabulary(self, refused, tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("\n".join(VOCAB[:4] + WORDS))
    assert "has no special token [MASK]" in refused(vocab_file=str(path))
    path.write_text("\n".join(VOCAB + ["[SEP]"]))
    assert "more than once" in refused(vocab_file=str(path))
    path.write_text("\n".join(VOCAB + ["more"]))
    said = refused(vocab_file=str(path))
    assert "46 entries" in said and "45" in said and "NaN" in said

  def test_config(self, refused, tmp_path):
    assert "--max_seq_length=64" in refused(max_seq_length=64)
    path = tmp_path / "c.json"
    path.write_text(json.dumps(dict(CONFIG, type_vocab_size=1)))
    assert "type_vocab_size" in refused(bert_config_file=str(path))
    path.write_text("{")
    assert "c.json" in refused(bert_config_file=str(path))

  def test_case(self, refused, tmp_path):
    checkpoint = save_checkpoint(
        str(tmp_path / "uncased_L-12_H-768_A-12" / "bert_model.ckpt"),
        {"bert/embeddings/word_embeddings": [45, 8]})
    said = refused(do_lower_case=False, init_checkpoint=checkpoint)
    assert "--do_lower_case" in said

  def test_init_checkpoint(self, refused, files, tmp_path):
    assert "no-such.ckpt" in refused(init_checkpoint="no-such.ckpt")
    other = save_checkpoint(str(tmp_path / "other"), {"x/y": [2]})
    said = refused(init_checkpoint=other)
    assert "does not hold the encoder of a BERT: it has x/y where" in said
    shapes = {"bert/embeddings/word_embeddings": [45, 9]}
    said = refused(init_checkpoint=save_checkpoint(str(tmp_path / "s"), shapes))
    assert "word_embeddings is [45, 9] there and [45, 8]" in said

  def test_damaged_checkpoint(self, refused, tmp_path):
    path = save_checkpoint(str(tmp_path / "cut" / "bert.ckpt"),
                           {"bert/embeddings/word_embeddings": [45, 8]})
    data = path + ".data-00000-of-00001"
    with open(data, "r+b") as stream:
      stream.truncate(100)
    said = refused(init_checkpoint=path)
    assert "damaged" in said and "bert/embeddings/word_embeddings" in said

  def test_output_dir(self, files, parse_flags, tmp_path):
    """Another model's checkpoint stays as it is."""
    out = tmp_path / "out"
    out.mkdir()
    save_checkpoint(str(out / "model.ckpt"),
                    {"bert/pooler/dense/kernel": [16, 16], "global_step": []})
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(ValueError, match="another model.*dense/kernel is"):
      prepared(parse_flags(command(files)))
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    for missing in ("model.ckpt-9", "/gone/model.ckpt-9"):
      (out / "checkpoint").write_text(
          'model_checkpoint_path: "%s"\n' % missing)
      with pytest.raises(ValueError, match="model.ckpt-9.*does not exist"):
        prepared(parse_flags(command(files)))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
      prepared(parse_flags(command(files, output_dir=str(tmp_path / "file"))))


@pytest.mark.slow
def test_partial_init_checkpoint_lists_what_stays_fresh(files, tmp_path):
  path = save_checkpoint(
      str(tmp_path / "part" / "bert.ckpt"),
      {"bert/embeddings/word_embeddings": [45, 8],
       "bert/pooler/dense/kernel": [8, 8]})
  run = run_program(command(files, init_checkpoint=path, num_train_steps=1))
  assert run.returncode == 0, run.stdout
  assert "is missing 28 of the model's variables" in run.stdout
  assert "cls/predictions/output_bias" in run.stdout
  log = read(os.path.join(files["out"], "train.log"))
  assert ("name = bert/pooler/dense/kernel:0, shape = (8, 8), "
          "*INIT_FROM_CKPT*") in log


class TestPreflight:

  def test_shows_the_text_and_ends(self, files):
    run = run_program(command(files, num_train_steps=1000, preflight_only=True,
                              num_warmup_steps=2000))
    assert run.returncode == 0, run.stdout
    assert re.search(r"documents +60 of 4(\.0)? sentences", run.stdout)
    assert "--warmup_proportion" in run.stdout and "epochs" in run.stdout
    assert os.listdir(files["out"]) == ["preflight.json"]
    with open(os.path.join(files["out"], "preflight.json")) as stream:
      assert json.load(stream)["documents"] == 60

  @pytest.mark.parametrize("num_workers", [0, 1])
  def test_is_reported_before_the_first_step(self, files, num_workers):
    run = run_program(command(files, num_workers=num_workers,
                              num_train_steps=1))
    assert run.returncode == 0, run.stdout
    log = read(os.path.join(files["out"], "train.log"))
    places = [log.index(words) for words in (
        "Trainable Variables", "examples per epoch", "step 1/1")]
    assert places == sorted(places)
    with open(os.path.join(files["out"], "preflight.json")) as stream:
      assert json.load(stream)["num_train_steps"] == 1

  @pytest.mark.parametrize("num_workers", [0, 1])
  def test_text_without_an_example_is_not_trained_on(self, files, num_workers):
    """Of zero-width spaces, which the tokenizer drops."""
    with open(files["train"], "w", encoding="utf-8") as stream:
      stream.write("\u200b\n" * 9)
    run = run_program(command(files, num_workers=num_workers))
    assert run.returncode == 1
    assert "The corpus yields no example: %s, 36 bytes" % files["train"] in (
        run.stdout)
    assert "Traceback" not in run.stdout and "step 1/" not in run.stdout
    assert not any(map(re.compile("model").match, (
        os.listdir(files["out"]) if os.path.exists(files["out"]) else [])))

  def test_needs_text_to_train_on(self, files):
    run = run_program(command(files, do_train=None, do_eval=True,
                              preflight_only=True))
    assert run.returncode == 1
    assert "--preflight_only samples raw text" in run.stdout
    assert "Traceback" not in run.stdout
