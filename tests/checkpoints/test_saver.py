"""Checkpoints are complete or not listed, even if killed or on a full disk.

Hook and program alike are killed, and run out of space, at chosen moments, by
disturbed_program.py.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import disturbed_program
import forked_programs
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from disturbed_program import MOMENTS, train
from google.protobuf import text_format
from program import CONFIG, VOCAB, command, save_checkpoint, tensors, text

from bert_e2e.checkpoints import checkpoint_list, saver
from bert_e2e.checkpoints.checkpoint_list import Checkpoint, CheckpointState
from bert_e2e.training import evaluation

HOUR = 3600.0
# The weights are the largest file, so that only they exceed LIMIT.
LARGE = dict(CONFIG, vocab_size=20000)
LIMIT = 1800000
RUN = dict(num_train_steps=10, save_checkpoints_steps=3, keep_checkpoint_max=2,
           num_workers=0, log_every_steps=1, learning_rate=1e-2)


def ask(what, arguments, **disturbances):
  """Has disturbed_program.py do something; returns (exit code, output)."""
  run = forked_programs.run([disturbed_program.__file__, json.dumps(
      {"what": what, "arguments": arguments, "disturbances": disturbances})])
  return run.returncode, run.stdout


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
  """Returns the paths of the program's input."""
  folder = tmp_path_factory.mktemp("inputs")
  paths = {}
  for name, content in (("train", text(60)), ("eval", text(9, 100)),
                        ("vocab", "\n".join(VOCAB) + "\n"),
                        ("config", json.dumps(LARGE))):
    (folder / name).write_text(content)
    paths[name] = str(folder / name)
  return paths


@pytest.fixture
def run(inputs, tmp_path):
  """Returns a function that runs the program in an output directory."""
  def running(folder, disturbances=None, **changes):
    return ask("program", command(
        dict(inputs, out=str(folder)), **dict(RUN, **changes)),
        **disturbances or {})
  return running


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory):
  """Runs the program to its end; returns its output directory."""
  out = str(tmp_path_factory.mktemp("undisturbed") / "out")
  code, said = ask("program", command(dict(inputs, out=out), **RUN))
  assert code == 0, said
  return out


def checkpoints(folder):
  """Returns the steps of a directory's checkpoints; all are complete."""
  found = {}
  for name in os.listdir(str(folder)):
    match = re.match(r"model\.ckpt-(\d+)\.(.*)$", name)
    if match:
      found.setdefault(int(match.group(1)), set()).add(match.group(2))
    else:
      assert "temp" not in name and ".tmp" not in name
  for files in found.values():
    assert files == {"index", "meta", "data-00000-of-00001"}
  return sorted(found)


def listed(folder):
  """Returns the steps that TensorFlow finds listed; all are readable."""
  state = tf.train.get_checkpoint_state(str(folder))
  if not state:
    return []
  for path in state.all_model_checkpoint_paths:
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
      reader.get_tensor(name)
  assert state.all_model_checkpoint_paths[-1] == state.model_checkpoint_path
  assert tf.train.latest_checkpoint(str(folder)) == state.model_checkpoint_path
  return list(map(checkpoint_list.step_of, state.all_model_checkpoint_paths))


def assert_same(folder, other, step):
  """All variables are bitwise equal."""
  expected, found = (tensors(str(f), step) for f in (other, folder))
  assert sorted(found) == sorted(expected)
  for name in expected:
    np.testing.assert_array_equal(found[name], expected[name], name)


def lines(folder):
  with open(os.path.join(str(folder), "runs.jsonl")) as stream:
    return [json.loads(line) for line in stream]


# --------------------------------------------------------------- which are kept


def state_of(*hours, **values):
  return CheckpointState(tuple(
      Checkpoint("model.ckpt-%d" % i, 1e9 + hour * HOUR)
      for i, hour in enumerate(hours)), **values)


class TestRetain:

  @pytest.mark.parametrize("max_to_keep, removed", [
      (0, []), (1, [0, 1, 2, 3]), (2, [0, 1, 2]), (5, []), (9, [])])
  def test_only_the_latest_ones_stay(self, max_to_keep, removed):
    state, names = checkpoint_list.retain(
        state_of(0, 1, 2, 3, 4), max_to_keep, float("inf"))
    assert names == ["model.ckpt-%d" % step for step in removed]
    assert state.names() == [
        "model.ckpt-%d" % step for step in range(5) if step not in removed]
    assert state.last_preserved == 1e9

  def test_one_in_so_many_hours_is_kept_permanently(self):
    state, names = checkpoint_list.retain(state_of(0, 1, 2, 3, 4, 5), 1, 2)
    assert names == ["model.ckpt-%d" % step for step in (0, 1, 3)]
    assert state.names() == ["model.ckpt-5"]
    assert state.last_preserved == 1e9 + 4 * HOUR

  def test_restarts_change_nothing(self, tmp_path):
    """Each checkpoint is saved after another start of the program."""
    removed, preserved = [], []
    for i, item in enumerate(state_of(*range(12)).checkpoints):
      (tmp_path / (item.name + ".index")).write_text("")
      before = checkpoint_list.load_state(str(tmp_path))
      state, names = checkpoint_list.retain(
          before._replace(checkpoints=(*before.checkpoints, item)), 2, 3)
      state.save(str(tmp_path))
      removed += map(checkpoint_list.step_of, names)
      for name in names:
        checkpoint_list.remove(str(tmp_path), name)
      if i == 0:
        preserved.append(state.last_preserved)
    assert removed == [0, 1, 2, 4, 5, 7, 8]
    assert listed_names(tmp_path) == [3, 6, 9, 10, 11]
    assert checkpoint_list.load_state(str(tmp_path)).names() == [
        "model.ckpt-10", "model.ckpt-11"]
    assert preserved == [1e9]

  def test_a_state_without_times_begins_now(self, tmp_path):
    for step in (1, 2):
      (tmp_path / ("model.ckpt-%d.index" % step)).write_text("")
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt-2"\n'
        'all_model_checkpoint_paths: "model.ckpt-1"\n'
        'all_model_checkpoint_paths: "model.ckpt-2"\n')
    before = time.time()
    state = checkpoint_list.load_state(str(tmp_path))
    assert state.names() == ["model.ckpt-1", "model.ckpt-2"]
    assert state.last_preserved is None
    state, names = checkpoint_list.retain(state, 1, 1)
    assert names == ["model.ckpt-1"]
    assert before <= state.last_preserved <= time.time()


def listed_names(folder):
  return sorted(int(re.findall(r"\d+", name)[0])
                for name in os.listdir(str(folder)) if "index" in name)


class TestState:

  def test_tensorflow_reads_it_wherever_the_directory_is(self, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for step in (3, 6):
      save_checkpoint(str(one / ("model.ckpt-%d" % step)), {"v": [2]})
    state = CheckpointState((Checkpoint("model.ckpt-3", 5.25),
                             Checkpoint("model.ckpt-6", 1e9 + 1 / 3)), 4.5)
    state.save(str(one))
    assert checkpoint_list.load_state(str(one)) == state
    one.rename(two)
    assert checkpoint_list.load_state(str(two)) == state
    found = tf.train.get_checkpoint_state(str(two))
    assert list(found.all_model_checkpoint_timestamps) == [5.25, 1e9 + 1 / 3]
    assert found.last_preserved_timestamp == 4.5
    assert listed(two) == [3, 6]

  def test_it_lists_existing_checkpoints_of_the_run(self, tmp_path):
    """And an earlier one that the user has made the latest is last."""
    for name in ("model.ckpt-3", "model.ckpt-9", "bert_model.ckpt"):
      (tmp_path / (name + ".index")).write_text("")
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt-3"\n' + "".join(
            'all_model_checkpoint_paths: "%s"\n' % name for name in (
                "bert_model.ckpt", "model.ckpt-3", "model.ckpt-6",
                "model.ckpt-9")))
    assert checkpoint_list.load_state(str(tmp_path)).names() == [
        "model.ckpt-9", "model.ckpt-3"]

  def test_an_empty_one_has_no_file(self, tmp_path):
    assert checkpoint_list.load_state(str(tmp_path)) == CheckpointState()
    state_of(1).save(str(tmp_path))
    for _ in range(2):
      CheckpointState().save(str(tmp_path))
      assert os.listdir(str(tmp_path)) == []

  @pytest.mark.parametrize("is_relative", [False, True])
  def test_a_directory_of_tensorflows_own_saver_is_continued(
      self, tmp_path, is_relative):
    train(str(tmp_path / "before"), 1)
    with tf.Graph().as_default(), tf.Session() as session:
      tf.train.create_global_step()
      tf.get_variable("weights", [1 << 16])
      saver = tf.train.Saver(save_relative_paths=is_relative)
      saver.restore(session, str(tmp_path / "before" / "model.ckpt-1"))
      (tmp_path / "out").mkdir()
      for step in (0, 1):
        saver.save(session, str(tmp_path / "out" / "model.ckpt"), step)
    train(str(tmp_path / "out"), 4, max_to_keep=2)
    assert listed(tmp_path / "out") == checkpoints(tmp_path / "out") == [3, 4]
    train(str(tmp_path / "whole"), 4)
    assert_same(tmp_path / "out", tmp_path / "whole", 4)


# --------------------------------------------------------------------- the hook


def test_a_restored_checkpoint_is_not_saved_again(tmp_path):
  train(str(tmp_path), 4)
  before = os.stat(str(tmp_path / "model.ckpt-4.index"))
  state = (tmp_path / "checkpoint").read_text()
  train(str(tmp_path), 5, max_to_keep=0)
  assert listed(tmp_path) == checkpoints(tmp_path) == [0, 3, 4, 5]
  after = os.stat(str(tmp_path / "model.ckpt-4.index"))
  assert (after.st_ino, after.st_mtime) == (before.st_ino, before.st_mtime)
  # The times of the previous checkpoints are unchanged, too.
  assert state.splitlines()[1:] == (
      tmp_path / "checkpoint").read_text().splitlines()[1:len(
          state.splitlines()) - 1] + state.splitlines()[-1:]


def meta_graph_of(path, as_text=False):
  """Returns the MetaGraphDef in a file."""
  if as_text:
    return text_format.Parse(path.read_text(), tf.MetaGraphDef())
  return tf.MetaGraphDef.FromString(path.read_bytes())


class TestMetaGraph:

  @pytest.fixture
  def exports(self, monkeypatch):
    """Returns the list of the paths that TensorFlow's own saver exports to."""
    found = []
    real = tf.train.Saver.export_meta_graph

    def export(self, filename=None, *args, **kwargs):
      found.append(filename)
      return real(self, filename, *args, **kwargs)

    monkeypatch.setattr(tf.train.Saver, "export_meta_graph", export)
    return found

  def test_a_training_exports_its_graph_once(self, tmp_path, exports):
    train(str(tmp_path), 7, max_to_keep=0)
    assert len(exports) == 1
    first, *others = [meta_graph_of(tmp_path / ("model.ckpt-%d.meta" % step))
                      for step in (0, 3, 6, 7)]
    assert others == [first] * 3
    with tf.Graph().as_default(), tf.Session() as session:
      loaded = tf.train.import_meta_graph(str(tmp_path / "model.ckpt-7.meta"))
      loaded.restore(session, str(tmp_path / "model.ckpt-7"))
      assert session.run(tf.train.get_global_step()) == 7

  @pytest.mark.parametrize("options", [
      {}, {"as_text": True}, {"collection_list": []},
      {"collection_list": ["variables"], "as_text": True},
      {"strip_default_attrs": True}], ids=str)
  @pytest.mark.parametrize("is_finalized", [False, True])
  def test_it_is_exported_as_by_tensorflows_own_saver(
      self, tmp_path, is_finalized, options):
    with tf.Graph().as_default() as graph:
      tf.get_variable("weights", [2])
      saver.use_saver([])
      mine, = tf.get_collection(tf.GraphKeys.SAVERS)
      mine.build()
      if is_finalized:
        graph.finalize()
      expected = tf.train.Saver.export_meta_graph(
          mine, str(tmp_path / "expected"), **options)
      for _ in range(2):
        assert mine.export_meta_graph(**options) == expected
        found = mine.export_meta_graph(
            filename=str(tmp_path / "found"), **options)
        assert found == expected
        for name in ("found", "expected"):
          assert meta_graph_of(
              tmp_path / name, options.get("as_text")) == expected
        found.Clear()  # The caller's own.

  def test_what_was_added_is_exported(self):
    with tf.Graph().as_default():
      tf.get_variable("weights", [2])
      saver.use_saver([])
      mine, = tf.get_collection(tf.GraphKeys.SAVERS)
      mine.build()
      mine.export_meta_graph()
      tf.constant(1, name="added")
      assert "added" in [
          node.name for node in mine.export_meta_graph().graph_def.node]


def test_only_the_chief_saves(tmp_path):
  train(str(tmp_path / "out"), 4, is_chief=False)
  assert not (tmp_path / "out").exists()


def test_checkpoints_after_one_gone_back_to_are_saved_again(tmp_path):
  train(str(tmp_path), 9)
  state = checkpoint_list.load_state(str(tmp_path))
  state._replace(checkpoints=state.checkpoints[:2]).save(str(tmp_path))
  path = tmp_path / "checkpoint"
  path.write_text(path.read_text() + "".join(
      'all_model_checkpoint_paths: "model.ckpt-%d"\n'
      "all_model_checkpoint_timestamps: 1e9\n" % step for step in (6, 9)))
  train(str(tmp_path), 7, max_to_keep=3)
  assert listed(tmp_path) == checkpoints(tmp_path) == [3, 6, 7]


def test_a_failed_removal_does_not_end_the_run(
    tmp_path, monkeypatch, caplog):
  real = checkpoint_list._remove

  def remove(folder, entries):
    if entries:
      raise PermissionError(13, "Permission denied", entries[0])
    real(folder, entries)

  monkeypatch.setattr(checkpoint_list, "_remove", remove)
  train(str(tmp_path), 6, max_to_keep=2)
  assert listed(tmp_path) == [3, 6]
  assert caplog.text.count(
      "model.ckpt-0 in %s cannot be removed: Permission denied" %
      tmp_path) == 1


class TestLeftovers:

  def test_partial_ones_are_removed_and_complete_ones_stay(self, tmp_path):
    """As a kill leaves them, with either TensorFlow."""
    train(str(tmp_path), 9, max_to_keep=2)
    whole = set(os.listdir(str(tmp_path)))
    # One that is kept permanently, whose graph the user has removed.
    for name in ("index", "data-00000-of-00001"):
      shutil.copy(str(tmp_path / ("model.ckpt-6." + name)),
                  str(tmp_path / ("model.ckpt-5." + name)))
    kept = {"model.ckpt-5.index", "model.ckpt-5.data-00000-of-00001",
            "model.ckpt-9_template", "checkpoint.txt", "model.ckpt-best.index"}
    for name in kept:
      (tmp_path / name).open("a").close()
    for name in ("model.ckpt-12_temp", "model.ckpt-9_temp_0123"):
      (tmp_path / name).mkdir()
      (tmp_path / name / "part-00000-of-00001.index").write_text("")
    for name in ("model.ckpt-12.data-00000-of-00001", "checkpoint.tmp",
                 "model.ckpt-9.meta.tmp0123", "graph.pbtxt.tmp0123",
                 "model.ckpt-4.meta",
                 # A truncated index; a checkpoint without a graph yet.
                 "model.ckpt-7.index", "model.ckpt-7.meta",
                 "model.ckpt-15.index"):
      (tmp_path / name).write_text("")
    shutil.copy(str(tmp_path / "model.ckpt-9.index"),
                str(tmp_path / "model.ckpt-15.index"))
    checkpoint_list.remove_incomplete(str(tmp_path))
    assert set(os.listdir(str(tmp_path))) == whole | kept

  def test_the_directory_may_be_missing(self, tmp_path):
    checkpoint_list.remove_incomplete(str(tmp_path / "out"))


class TestCopy:

  @pytest.fixture
  def saved(self, tmp_path):
    train(str(tmp_path / "out"), 4)
    return tmp_path

  def test_replaces_the_previous_one(self, saved):
    for step in (3, 4, 0):
      (saved / "best").mkdir(exist_ok=True)
      (saved / "best" / "model.ckpt-1.index").write_text("")
      path = checkpoint_list.copy(str(saved / "out" / ("model.ckpt-%d" % step)),
                         str(saved / "best"))
      assert path == str(saved / "best" / ("model.ckpt-%d" % step))
      assert listed(saved / "best") == checkpoints(saved / "best") == [step]

  def test_on_a_full_disk_the_previous_one_stays(self, saved):
    checkpoint_list.copy(
        str(saved / "out" / "model.ckpt-3"), str(saved / "best"))
    source, best = str(saved / "out" / "model.ckpt-4"), str(saved / "best")
    code, said = ask("copy", {"checkpoint": source, "directory": best},
                     limit=1 << 16)
    assert code == 1
    assert re.match(r"%s cannot be copied to %s: File too large\. Run "
                    r"the same command to try again\.\n$" % (source, best),
                    said)
    assert listed(saved / "best") == checkpoints(saved / "best") == [3]

  @pytest.mark.parametrize("before", [3, 4])
  def test_a_kill_leaves_a_complete_one_or_none(self, saved, before):
    checkpoint_list.copy(str(saved / "out" / ("model.ckpt-%d" % before)),
                str(saved / "best"))
    arguments = {"checkpoint": str(saved / "out" / "model.ckpt-4"),
                 "directory": str(saved / "best")}
    code, said = ask("copy", arguments, kill_copying=True)
    assert code == -signal.SIGKILL, said
    assert listed(saved / "best") == ([3] if before == 3 else [])
    assert ask("copy", arguments) == (0, "")
    assert listed(saved / "best") == checkpoints(saved / "best") == [4]


class TestKill:

  @pytest.fixture(scope="class")
  def whole(self, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(str(folder), 10)
    return folder

  @pytest.mark.parametrize("moment", [
      moment if moment == "it is whole" else
      pytest.param(moment, marks=pytest.mark.slow) for moment in MOMENTS])
  def test_during_a_save(self, tmp_path, whole, moment):
    arguments = {"folder": str(tmp_path / "out"), "last_step": 10,
                 "max_to_keep": 2}
    code, said = ask("train", arguments, kill=moment)
    assert code == -signal.SIGKILL, said
    latest = 6 if moment in list(MOMENTS)[6:] else 3
    # A thread polls for these two moments; on a busy machine it may be late.
    is_late = moment in list(MOMENTS)[1:3] and 6 in listed(tmp_path / "out")
    assert listed(tmp_path / "out") == (
        [3, 6] if is_late else [latest - 3, latest])
    checkpoint_list.remove_incomplete(str(tmp_path / "out"))
    found = checkpoints(tmp_path / "out")
    assert set(found) - {0, 6} == {3}
    # The one that is no longer listed may be one that is kept permanently.
    left = sorted(set(found) - set(listed(tmp_path / "out")) - {6})
    assert is_late or left == [0] * (moment == "the old one is there")
    code, said = ask("train", arguments)
    assert code == 0, said
    assert checkpoints(tmp_path / "out") == left + [9, 10]
    assert listed(tmp_path / "out") == [9, 10]
    assert_same(tmp_path / "out", whole, 10)

  @pytest.mark.slow
  def test_at_any_time_large_weights_are_complete(self, tmp_path):
    # More steps than there is time for, so that each run is killed.
    arguments = {"folder": str(tmp_path / "out"), "last_step": 10 ** 6,
                 "max_to_keep": 2, "size": 1 << 21}
    rng = random.Random(5)
    before = 0
    for _ in range(3):
      code, said = ask("train", arguments, kill_later=rng.uniform(0.1, 0.5))
      assert code == -signal.SIGKILL, said
      steps = listed(tmp_path / "out")
      assert len(steps) <= 2
      assert max(steps + [before]) == (steps or [before])[-1]
      before = max(steps + [before])
    last = before + 7
    code, said = ask("train", dict(arguments, last_step=last))
    assert code == 0, said
    assert listed(tmp_path / "out")[-1] == checkpoints(tmp_path / "out")[-1]
    assert listed(tmp_path / "out") == [before + 6, last]
    train(str(tmp_path / "whole"), last, size=1 << 21, max_to_keep=1)
    assert_same(tmp_path / "out", tmp_path / "whole", last)


# ------------------------------------------------------------------ the program


def test_a_run_keeps_the_checkpoints_it_was_asked_to(undisturbed):
  assert listed(undisturbed) == checkpoints(undisturbed) == [9, 10]
  line, = lines(undisturbed)
  assert line["step"] == 0
  assert line["flags"]["keep_checkpoint_max"] == 2
  assert line["flags"]["output_dir"] == undisturbed
  assert "random_seed" not in line["flags"]  # It was not given.
  assert line["versions"]["tensorflow"] == tf.__version__
  assert line["versions"]["numpy"] == np.__version__
  with open(os.path.join(undisturbed, "stream.json")) as stream:
    recorded = json.load(stream)["text"]
  assert line["corpus"] == {
      "files": 1, "bytes": recorded["bytes"],
      "fingerprint": evaluation.identify(recorded)}


@pytest.mark.slow
def test_steps_are_multiples_wherever_a_run_resumes(
    run, tmp_path, undisturbed):
  code, said = run(tmp_path / "out", {"stop": 7}, keep_checkpoint_max=0)
  assert code == 128 + signal.SIGTERM, said
  odd = listed(tmp_path / "out")[-1]
  assert odd in (7, 8)
  assert checkpoints(tmp_path / "out") == [0, 3, 6, odd]
  code, said = run(tmp_path / "out", keep_checkpoint_max=0)
  assert code == 0, said
  steps = [0, 3, 6, odd, 9, 10]
  assert checkpoints(tmp_path / "out") == listed(tmp_path / "out") == steps
  assert_same(tmp_path / "out", undisturbed, 10)
  assert [line["step"] for line in lines(tmp_path / "out")] == [0, odd]
  # From now on fewer are kept, including those of earlier starts.
  code, said = run(tmp_path / "out", num_train_steps=11)
  assert code == 0, said
  assert checkpoints(tmp_path / "out") == listed(tmp_path / "out") == [10, 11]


@pytest.mark.slow
def test_all_are_kept_permanently_for_a_tiny_number_of_hours(run, tmp_path):
  code, said = run(tmp_path / "out", num_train_steps=3,
                   save_checkpoints_steps=1, keep_checkpoint_every_n_hours=1e-7)
  assert code == 0, said
  # The hours are counted from the time of the first one.
  assert checkpoints(tmp_path / "out") == [1, 2, 3]
  assert listed(tmp_path / "out") == [2, 3]


@pytest.mark.slow
def test_a_resumed_training_keeps_as_many_permanently(tmp_path):
  for steps in ([3, 6, 9], [3, 6, 9, 12, 15]):
    train(str(tmp_path), steps[-1], max_to_keep=2, keep_every_n_hours=1e-7)
    assert checkpoints(tmp_path) == steps
    assert listed(tmp_path) == steps[-2:]


@pytest.mark.slow
def test_weights_of_a_nan_loss_are_not_saved(run, tmp_path):
  code, said = run(tmp_path / "out", save_checkpoints_steps=1,
                   keep_checkpoint_max=0, num_warmup_steps=0,
                   learning_rate=1e30)
  assert code == 1
  assert "Loss became NaN." in said
  steps = listed(tmp_path / "out")
  assert steps == checkpoints(tmp_path / "out") == list(range(len(steps)))
  shown = [float(loss) for loss in re.findall(r"step \d+/10  loss (\S+)", said)]
  # Only the last step that was started has no checkpoint.
  assert steps[-1] == len([loss for loss in shown if np.isfinite(loss)])
  assert steps[-1] < 10


def said_once(said, folder, what, reason, latest, log_may_be_full=False):
  """The run ended with one error message, with cause and remedy.

  With `log_may_be_full`, a line may follow: that the log cannot be written.
  """
  assert "Traceback" not in said
  sentence, = [line for line in said.splitlines() if line.startswith("ERROR")]
  assert re.match(
      r"ERROR: %s cannot be written to %s: %s\. %s\. Run the same command "
      r"to resume\.$" % (what, folder, reason, latest), sentence), sentence
  lines = said.splitlines()
  if log_may_be_full and re.match(
      r"WARNING: \S*/train\.log cannot be written: ", lines[-1]):
    lines.pop()
  assert sentence == lines[-1]


@pytest.fixture
def small_disk(tmp_path):
  """Returns a directory on a disk of 20 MB; None if none can be mounted."""
  folder = tmp_path / "disk"
  folder.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
  try:
    subprocess.run(mount, check=True, stderr=subprocess.PIPE)
  except (OSError, subprocess.CalledProcessError):
    yield None
  else:
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_full_disks_and_a_kill_change_nothing(
    run, tmp_path, small_disk, undisturbed):
  """Files of a limited size, a disk without space if there is one, a kill."""
  out = (small_disk or tmp_path) / "out"
  code, said = run(out, {"limit": LIMIT})
  assert code == 1
  said_once(said, out, "The checkpoint of step 0", "File too large",
            "There is no checkpoint yet")
  assert checkpoints(out) == listed(out) == []
  if small_disk:
    check_no_space_left(run, out, small_disk / "filler")
  else:
    code, said = run(out, {"limit_later": LIMIT})
    assert code == 1
    said_once(said, out, "The checkpoint of step 6", "File too large",
              "The last complete checkpoint is model.ckpt-3")
  assert checkpoints(out) == listed(out) == [0, 3]
  code, said = run(out, {"kill": "the old one is half removed"})
  assert code == -signal.SIGKILL, said
  assert "resuming from step 3 in" in said
  assert listed(out) == [3, 6]
  code, said = run(out)
  assert code == 0, said
  assert checkpoints(out) == listed(out) == [9, 10]
  assert_same(out, undisturbed, 10)
  starts = [line["step"] for line in lines(out)]
  assert starts[:2] == [0, 0] and starts[-2:] == [3, 6]


def check_no_space_left(run, out, filler):
  """Fills the disk with a file before the checkpoint of step 6."""
  code, said = run(out, {"fill": str(filler)})
  assert code == 1
  said_once(said, out, "The checkpoint of step 6", "No space left on device",
            "The last complete checkpoint is model.ckpt-3")
  assert checkpoints(out) == listed(out) == [0, 3]
  # The disk is still full: trying again loses nothing.
  code, said = run(out)
  assert code == 1
  said_once(said, out, "graph.pbtxt", "No space left on device",
            "The last complete checkpoint is model.ckpt-3",
            log_may_be_full=True)
  filler.unlink()
