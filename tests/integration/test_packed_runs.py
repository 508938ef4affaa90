"""Runs with --pack_sequences: what they log, and that they resume exactly."""

import json
import os
import re

import pytest
import record_files
import tf_checkpoints
from hugging_face_models import random_variables
from program import (
  LENGTHS,
  WORDS,
  check_a_kill_changes_nothing,
  command,
  prepared,
  run_program,
)

import modeling
import run_pretraining_e2e as e2e
from bert_e2e.data import preflight_text

PACKED = {"pack_sequences": True, "max_seq_length": 32,
          "max_predictions_per_seq": 5}


@pytest.fixture
def short_files(files):
  """Replaces the text by documents of one or two short sentences."""
  with open(files["train"], "w") as stream:
    for number in range(400):
      for line in range(1 + number % 2):
        stream.write(" ".join(
            WORDS[(number * 7 + line * 3 + i) % 40]
            for i in range(2 + number % 4)) + "\n")
      stream.write("\n")
  return files


def metrics_of(path):
  """Returns what eval_results.txt says, {name: float}."""
  with open(os.path.join(path, "eval_results.txt")) as stream:
    return {name: float(value) for name, value in (
        line.split(" = ") for line in stream)}


@pytest.mark.slow
def test_killed_on_a_table_it_ends_with_the_weights_of_an_undisturbed_run(
    short_files, dropout_config, tmp_path):
  """With masks of spans."""
  path = tmp_path / "train.csv"
  with open(short_files["train"]) as stream:
    path.write_bytes(record_files.table(
        stream.read().strip().split("\n\n"), field="body"))
  check_a_kill_changes_nothing(
      short_files, input_file=str(path), text_field="body",
      sentence_split="rule", gradient_accumulation_steps=2,
      **dict(PACKED, span_geometric_p=0.3, span_upper=4, masked_lm_prob=0.3,
             max_predictions_per_seq="auto", sentence_objective="sop"))


@pytest.mark.slow
def test_the_log_and_the_record(short_files):
  run = run_program(command(short_files, log_every_steps=1, **PACKED))
  assert run.returncode == 0, run.stdout
  with open(os.path.join(short_files["out"], "stream.json")) as stream:
    assert json.load(stream)["options"]["pack_sequences"] is True
  last = next(line for line in run.stdout.splitlines() if "step 4/4" in line)
  (sequences, tokens, padding), = [map(float, found) for found in re.findall(
      r"([\d.]+) sequences/s.* ([\d,]+) tokens/s.*padding (\d+)%",
      last.replace(",", ""))]
  assert padding <= 10
  # Sequences have three special tokens and 4 to 10 others.
  assert 5 < tokens / sequences < 15
  assert re.search(r"sequences per row +[2-5]\.\d", run.stdout)
  assert re.search(r"an update has \d+ sequences\n +with "
                   r"--train_batch_size=\d it would have \d", run.stdout)
  # Padding returns with the other stream, which has to be accepted.
  options = dict(PACKED, num_train_steps=6, pack_sequences=None)
  refused = run_program(command(short_files, **options))
  assert refused.returncode == 1
  assert "pack_sequences was True and is False" in refused.stdout
  more = run_program(command(
      short_files, accept_new_stream=True, log_every_steps=1, **options))
  assert more.returncode == 0, more.stdout
  padding, = re.findall(r"step 6/6.*padding (\d+)%", more.stdout)
  assert int(padding) > 40


@pytest.mark.slow
def test_an_evaluation_has_the_same_metrics_packed(short_files):
  found = []
  options = dict(PACKED, pack_sequences=None, do_eval=True, do_train=None,
                 eval_input_file=short_files["train"], max_eval_steps=0)
  first = run_program(command(short_files, **PACKED))
  assert first.returncode == 0, first.stdout
  for packs in (None, True):
    run = run_program(command(
        short_files, pack_eval_sequences=packs, **options))
    assert run.returncode == 0, run.stdout
    found.append(metrics_of(short_files["out"]))
  plain, packed = found
  # TensorFlow's mean of the batches' losses depends on what a batch is.
  assert plain.pop("loss") == pytest.approx(packed.pop("loss"), rel=0.05)
  assert len(plain) == 6
  assert packed == pytest.approx(plain, rel=1e-5)


def test_the_preflight_suggests_it(short_files, parse_flags):
  options = {name: value for name, value in PACKED.items()
             if name != "pack_sequences"}
  run = prepared(parse_flags(command(
      short_files, train_batch_size=24, gradient_accumulation_steps=3,
      **options)))
  flags, reason = run.training.preflight.packing_advice
  # A multiple of the micro-batches.
  assert flags in ("--pack_sequences --train_batch_size=6",
                   "--pack_sequences --train_batch_size=9")
  assert "of the positions are padding instead of" in reason
  packed = prepared(parse_flags(command(
      short_files, train_batch_size=24, **PACKED)))
  assert packed.training.preflight.packing_advice is None
  # As many micro-batches as rows, so a smaller batch is not possible.
  flags, reason = prepared(parse_flags(command(
      short_files, train_batch_size=4, gradient_accumulation_steps=4,
      **options))).training.preflight.packing_advice
  assert flags == "--pack_sequences"
  assert re.search(r"and an update \d+ instead of 4\.$", reason)
  said = preflight_text.to_text(prepared(parse_flags(command(
      short_files, train_batch_size=4, gradient_accumulation_steps=4,
      **PACKED))).training.preflight)
  assert "an update has" in said and "it would have" not in said


def test_a_short_training_is_one_of_few_sequences(
    short_files, parse_flags, tmp_path):
  """Not of few rows."""
  path = tf_checkpoints.write(tmp_path / "model.ckpt", {
      name: value for name, value in random_variables(
          modeling.BertConfig.from_json_file(short_files["config"])).items()
      if name.startswith("bert/")})
  advised = []
  for packs in (None, True):
    run = prepared(parse_flags(command(
        short_files, init_checkpoint=path, learning_rate=None,
        num_train_steps=2000, **dict(PACKED, pack_sequences=packs))))
    advised.append("16,000 sequences" in preflight_text.to_text(
        run.training.preflight))
  assert advised == [True, False]


def test_evaluations_alone_are_packed(files, parse_flags):
  run = prepared(parse_flags(command(
      files, eval_input_file=files["eval"], do_eval=True,
      pack_eval_sequences=True, max_sequences_per_pack=4)))
  assert not run.training.source.text.options.pack_sequences
  source, = run.eval_sources.values()
  assert source.text.options.packing.max_sequences_per_pack == 4


@pytest.mark.parametrize("changes, said", [
    ({"max_sequences_per_pack": 4}, "requires --pack_sequences"),
    ({"pack_sequences": True, "max_sequences_per_pack": 1}, "at least 2"),
], ids=str)
def test_options_without_effect_are_refused(
    files, parse_flags, changes, said):
  with pytest.raises(ValueError, match=said):
    prepared(parse_flags(command(files, **changes)))


def test_tfrecords_are_not_packed(files, parse_flags, tmp_path):
  path = tmp_path / "records"
  with e2e.tf.io.TFRecordWriter(str(path)) as writer:
    for example in e2e.take_write_2_flow(
        files["train"], files["vocab"], num_epochs=1, **LENGTHS):
      writer.write(example)
  with pytest.raises(ValueError, match="leave out --pack_sequences"):
    prepared(parse_flags(command(
        files, input_file=str(path), pack_sequences=True)))
  with pytest.raises(ValueError, match="--pack_eval_sequences"):
    prepared(parse_flags(command(
        files, eval_input_file=str(path), do_eval=True,
        pack_eval_sequences=True)))
