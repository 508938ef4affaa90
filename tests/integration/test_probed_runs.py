"""Runs with a probe of a user's task."""

import os
import signal
import sys
import types

import hugging_face_models
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tf_checkpoints
from program import (
  LENGTHS,
  command,
  prepared,
  run_program,
  started,
  tensors,
  write_inputs,
)

import modeling
import tokenization
from bert_e2e.checkpoints import hugging_face
from bert_e2e.common import errors, json_files
from bert_e2e.config import EvaluationConfig, HardwareConfig
from bert_e2e.run import Run
from bert_e2e.training import (
  engine,
  evaluation,
  evaluator,
  model_fn,
  probe,
)

RUN = dict(num_train_steps=15, save_checkpoints_steps=7, eval_every_steps=5,
           learning_rate=1e-2, probe_num_labels=12, probe_draws=3,
           keep_best=True, keep_best_metric="probe", do_eval=True,
           max_eval_steps=1)


def labelled(count, first):
  """Returns lines of a task: which half of the words a text has more of."""
  rng = np.random.RandomState(first)
  lines = []
  for _ in range(count):
    is_low = rng.randint(2)
    words = rng.randint(20, size=rng.randint(3, 9)) + 20 * is_low
    words[0] = rng.randint(40)
    lines.append("%s\t%s\n" % (
        ("high", "low")[is_low], " ".join("w%d" % word for word in words)))
  return "".join(lines)


def add_probe(paths, directory):
  """Writes the files of a probe; returns the paths with them."""
  for name, count in (("probe_train", 40), ("probe_eval", 30)):
    (directory / (name + ".tsv")).write_text(labelled(count, count))
  return dict(paths, **{name: str(directory / (name + ".tsv"))
                        for name in ("probe_train", "probe_eval")})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
  directory = tmp_path_factory.mktemp("probed")
  return add_probe(write_inputs(directory), directory)


def arguments(files, **changes):
  return command(files, **dict(
      dict(probe_train_file=files["probe_train"],
           probe_eval_file=files["probe_eval"]), **changes))


def rows_of(out):
  """Returns the rows of a probe, without the times."""
  return [{key: value for key, value in row.items()
           if key not in ("seconds", "time")}
          for row in evaluation.load(out) if row["text"] == "probe"]


def scores_in(row):
  """Returns the scores of a row."""
  return {name: value for name, value in row.items()
          if name.startswith("probe_")}


@pytest.fixture(name="vectors")
def fixture_vectors(monkeypatch):
  """Returns a list to which the vectors of each probe are added."""
  found = []
  score = probe.Probe.score

  def recording(self, features):
    found.append(features)
    return score(self, features)

  monkeypatch.setattr(probe.Probe, "score", recording)
  return found


def pooled(config, weights, sequences):
  """Returns the means of the last layer, computed in float32 one by one."""
  with tf.Graph().as_default(), tf.Session() as session:
    ids = tf.placeholder(tf.int32, [1, None])
    output = modeling.BertModel(config, False, ids).get_sequence_output()
    for variable in tf.trainable_variables():
      variable.load(weights[variable.name.split(":")[0]], session)
    return np.array([session.run(output, {ids: [sequence]})[0].mean(0)
                     for sequence in sequences])


def assert_probed(files, row, vectors, config, weights):
  """The vectors are those of the weights, and the scores those of the vectors.
  """
  tokenizer = tokenization.FullTokenizer(files["vocab"])
  found = probe.Probe.read(
      files["probe_train"], files["probe_eval"],
      num_labels=RUN["probe_num_labels"], num_draws=RUN["probe_draws"])
  pieces = [["[CLS]", *tokenizer.tokenize(text)[:14], "[SEP]"]
            for text in found.texts]
  assert max(map(len, pieces)) <= LENGTHS["max_seq_length"]
  np.testing.assert_allclose(
      vectors, pooled(config, weights, map(
          tokenizer.convert_tokens_to_ids, pieces)), rtol=0, atol=1e-5)
  assert scores_in(row) == probe.summarize(found.score(vectors))


# ------------------------------------------------------- refused at the start


@pytest.mark.parametrize("changes, said", [
    (dict(probe_eval_file=None, do_eval=True),
     "--probe_train_file and --probe_eval_file require each other"),
    ({}, "--probe_train_file requires --do_eval or --eval_every_steps"),
    (dict(eval_every_steps=5, keep_best=True), "--keep_best with "
     "--keep_best_metric=masked_lm_loss requires --eval_input_file, or pass "
     "--keep_best_metric=probe"),
    (dict(eval_every_steps=5, early_stopping_patience=2,
          keep_best_metric="probe", probe_train_file=None,
          probe_eval_file=None), "--eval_every_steps=5 .* requires"),
    (dict(do_eval=True, probe_num_labels=1), "--probe_num_labels=1 is out of"),
    (dict(do_eval=True, probe_eval_file="missing.tsv"),
     "missing.tsv cannot be read: "),
])
def test_flags_that_do_not_fit(inputs, parse_flags, changes, said):
  with pytest.raises(ValueError, match=said):
    prepared(parse_flags(arguments(inputs, **changes)))


@pytest.mark.parametrize("changes", [
    dict(eval_every_steps=5, keep_best=True), dict(do_eval=True)])
def test_the_best_by_the_probe_needs_one(files, parse_flags, changes):
  with pytest.raises(ValueError, match="--keep_best_metric=probe requires "
                     "--probe_train_file and --probe_eval_file"):
    prepared(parse_flags(command(
        files, eval_input_file=files["eval"], keep_best_metric="probe",
        **changes)))


def test_without_scikit_learn(inputs, parse_flags, monkeypatch):
  monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
  with pytest.raises(ValueError, match="--probe_train_file needs scikit-learn, "
                     ".*pip install scikit-learn") as caught:
    prepared(parse_flags(arguments(inputs, do_eval=True)))
  assert "\n" not in str(caught.value)
  assert not os.path.exists(inputs["out"])


# ----------------------------------------------------------------------- runs


@pytest.mark.slow
def test_a_hugging_face_model_is_probed(
    inputs, tmp_path, parse_flags, vectors):
  """Without a training, and with a smaller last batch."""
  folder = hugging_face_models.write_folder(
      tmp_path / "hf", hugging_face_models.random_tensors())
  out = str(tmp_path / "out")
  Run(prepared(parse_flags(arguments(
      dict(inputs, out=out), do_train=False, do_eval=True,
      bert_config_file=None, init_checkpoint=folder, eval_batch_size=7,
      max_eval_steps=1, probe_num_labels=RUN["probe_num_labels"],
      probe_draws=RUN["probe_draws"])))).run()
  row, = rows_of(out)
  assert (row["step"], row["examples"]) == (0, 30)
  assert_probed(inputs, row, vectors[0],
                hugging_face.load_config(folder + "/config.json"),
                hugging_face.read(folder).variables)


def test_patience_begins_after_the_head_steps(inputs, tmp_path, parse_flags):
  """A run that has been evaluated after each step, always the same."""
  out = str(tmp_path / "out")
  folder = hugging_face_models.write_folder(tmp_path / "hf", {
      name: value
      for name, value in hugging_face_models.random_tensors().items()
      if not name.startswith("cls.")})
  made = prepared(parse_flags(arguments(
      dict(inputs, out=out), bert_config_file=None, init_checkpoint=folder,
      num_train_steps=10, num_head_steps=3, eval_every_steps=1,
      early_stopping_patience=2, keep_best_metric="probe")))
  os.makedirs(out)
  for last, is_done in ((3, False), (4, False), (5, True)):
    json_files.write_lines(out + "/" + evaluation.TABLE_FILE, [
        {"text": "probe", "set": made.probe.identity(), "step": step,
         "probe_accuracy": 0.5} for step in range(last + 1)])
    assert Run(made)._is_done(last) == is_done


@pytest.mark.slow
def test_a_run_with_a_probe_survives_a_kill(inputs, parse_flags, vectors):
  whole = dict(inputs, out=inputs["out"] + "_whole")
  run = run_program(arguments(whole, keep_checkpoint_max=0, **RUN))
  assert run.returncode == 0, run.stdout
  assert "probe: 3 draws of 12 of the 40 texts in %s, scored on the 30 in" % (
      inputs["probe_train"]) in run.stdout
  assert "evaluation at step 5, probe text: probe_accuracy 0." in run.stdout
  rows = rows_of(whole["out"])
  assert [row["step"] for row in rows] == [0, 5, 10, 15]
  assert [row["step"] for row in evaluation.load(whole["out"])
          if row["text"] == "training"] == [15]
  best = max(rows, key=lambda row: (row["probe_accuracy"], -row["step"]))
  assert os.path.exists(
      whole["out"] + "/best/model.ckpt-%d.index" % best["step"])
  assert len({row["probe_accuracy"] for row in rows}) > 2
  # The same as an evaluation of a checkpoint alone.
  alone = dict(inputs, out=inputs["out"] + "_alone")
  Run(prepared(parse_flags(arguments(
      alone, do_train=False, do_eval=True, eval_input_file=inputs["eval"],
      max_eval_steps=1, probe_num_labels=RUN["probe_num_labels"],
      probe_draws=RUN["probe_draws"],
      init_checkpoint=whole["out"] + "/model.ckpt-5")))).run()
  assert [scores_in(other) for other in rows_of(alone["out"])] == [
      scores_in(rows[1])]
  assert_probed(
      inputs, rows[1], vectors[0],
      modeling.BertConfig.from_json_file(inputs["config"]),
      tensors(whole["out"], 5))
  events, = tf.io.gfile.glob(whole["out"] + "/eval_probe/events.*")
  scalars = {(event.step, value.tag): value.simple_value
             for event in tf.train.summary_iterator(events)
             for value in event.summary.value}
  for row in rows:
    for name in ("probe_accuracy", "probe_macro_f1_std"):
      assert scalars[row["step"], name] == pytest.approx(row[name])
  with open(whole["out"] + "/report.html", encoding="utf-8") as stream:
    assert "Probe accuracy on labelled texts" in stream.read()

  killed = dict(inputs, out=inputs["out"] + "_killed")
  again = arguments(killed, **RUN)
  with started(again, "evaluation at step 5, probe"):
    pass  # Killed by SIGKILL at once.
  run = run_program(again)
  assert run.returncode == 0, run.stdout
  assert rows_of(killed["out"]) == rows
  assert os.listdir(killed["out"] + "/best") == os.listdir(
      whole["out"] + "/best")


def test_with_a_tpu_the_host_computes_the_vectors(inputs, tmp_path):
  """In float32, so no TPU is needed here."""
  config = modeling.BertConfig.from_json_file(inputs["config"])
  made = engine.Engine(
      HardwareConfig(use_tpu=True, tpu_name="local", precision="bfloat16"),
      8, 8)
  made.build(model_fn.model_fn_builder(
      config, None, 1e-3, 10, 0, use_tpu=True, use_one_hot_embeddings=True,
      precision="bfloat16"), model_dir=str(tmp_path), random_seed=1)
  weights = hugging_face_models.random_variables(config)
  checkpoint = tf_checkpoints.write(
      tmp_path / "model.ckpt-7", dict(weights, global_step=np.int64(7)))
  sequences = [[2, 7, 3], [2, 3]]
  ids, mask = probe.padded(sequences, 4)
  batches = made.predict(lambda: tf.data.Dataset.from_tensors(
      {"input_ids": ids, "input_mask": mask}).repeat(2), checkpoint)
  assert len(batches) == 2
  for batch in batches:
    np.testing.assert_allclose(
        batch[probe.VECTORS], pooled(config, weights, sequences), rtol=0,
        atol=1e-5)


@pytest.mark.parametrize("is_training", [True, False])
def test_a_signal_ends_a_probe(inputs, is_training):
  """In a training without a result; the next start repeats it."""
  stop = types.SimpleNamespace(signal=None)

  class Interrupted:
    """An engine whose prediction is interrupted."""

    def predict(self, input_fn, checkpoint, hooks):
      stop.signal = signal.SIGTERM
      raise tf.errors.CancelledError(None, None, "interrupted")

  made = evaluator.Evaluator(
      Interrupted(), EvaluationConfig(), False, stop, lambda: is_training)
  source = types.SimpleNamespace(input_fn=lambda batch_size: None)
  if is_training:
    assert made.probe(source, inputs["out"], None) is None
  else:
    with pytest.raises(errors.Interrupted):
      made.probe(source, inputs["out"], None)
