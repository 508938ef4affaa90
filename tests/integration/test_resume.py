"""Resume: kill -9 at any moment, and the run is the uninterrupted one."""

import os
import re

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from program import command, epoch_of, prepared, run_program, started, tensors

import run_pretraining_e2e as e2e
from bert_e2e.checkpoints import examples_seen
from bert_e2e.common import file_io
from bert_e2e.data import corpus as corpus_lib
from bert_e2e.data import resume
from bert_e2e.data import stream as stream_lib
from bert_e2e.run import Run

# Some 140 examples an epoch at this length: 50 steps of 8 reach the third.
RUN = dict(num_train_steps=50, num_warmup_steps=4, save_checkpoints_steps=5,
           log_every_steps=1, learning_rate=1e-2)


def test_killed_twice_the_weights_are_bitwise_those_of_an_undisturbed_run(
    files, dropout_config):
  undisturbed, killed = files["out"] + "1", files["out"] + "2"
  run = run_program(command(dict(files, out=undisturbed), **RUN))
  assert run.returncode == 0, run.stdout
  again = [command(dict(files, out=killed), num_workers=n, **RUN)
           for n in (0, 1, 2)]
  with started(again[0], "step 13/50"):
    pass  # Killed by SIGKILL at once.
  with started(again[1], "step 43/50"):
    pass  # In the third epoch.
  last = run_program(again[2])
  assert last.returncode == 0, last.stdout
  resumed_at = int(re.findall(r"resuming from step (\d+)", last.stdout)[0])
  assert 8 * resumed_at > 2 * epoch_of(files)
  expected, found = tensors(undisturbed, 50), tensors(killed, 50)
  assert sorted(found) == sorted(expected)
  different = [n for n in expected if not np.array_equal(found[n], expected[n])]
  assert different == []
  assert expected["examples_seen"] == 400
  assert "model.ckpt-50.data-00000-of-00001" in os.listdir(killed)


@pytest.mark.slow
def test_another_batch_size_goes_on_at_the_same_example(
    trained, monkeypatch, parse_flags):
  starts = []
  monkeypatch.setattr(
      e2e.Flow, "lists", _noting_start(e2e.Flow.lists, starts))
  Run(prepared(parse_flags(command(
      trained, num_train_steps=5, train_batch_size=4)))).run()
  assert starts == [24]
  assert tensors(trained["out"], 5)["examples_seen"] == 32


def _noting_start(lists, starts):
  def noting(self, start=0, *shard):
    starts.append(int(start))
    return lists(self, start, *shard)
  return noting


class TestOtherStream:
  """A changed corpus or option is an error, unless it is accepted."""

  def test_changes_are_named(self, trained, parse_flags):
    for changes, said in (
        ({"random_seed": 5}, "random_seed was 12345 and is 5"),
        ({"max_predictions_per_seq": 2},
         "max_predictions_per_seq was 3 and is 2")):
      with pytest.raises(ValueError, match=said) as caught:
        prepared(parse_flags(command(trained, **changes)))
      assert "--accept_new_stream" in str(caught.value)
    # What does not change the stream may change.
    prepared(parse_flags(command(trained, num_workers=2, train_batch_size=4,
                                learning_rate=1e-5)))
    with open(trained["train"], "r+b") as stream:
      stream.write(b"W")
    with pytest.raises(ValueError, match="another stream.*text was"):
      prepared(parse_flags(command(trained)))

  @pytest.mark.slow
  def test_an_accepted_stream_starts_at_its_start(
      self, trained, parse_flags):
    for _ in range(2):  # The second time it is the folder's own stream.
      run = run_program(command(
          trained, num_train_steps=5, random_seed=5, accept_new_stream=True))
      assert run.returncode == 0, run.stdout
      record = resume.load(trained["out"])
      assert record.first_example == 24
      assert record.options["random_seed"] == 5
    run = prepared(parse_flags(command(
        trained, num_train_steps=9, random_seed=5)))
    run.training.source.open_flow(
        skipped=run.training.stream_record.first_example,
        output_dir=trained["out"])
    first = next(run.training.source.flow.lists(40))[0]
    flow = e2e.take_write_2_flow(
        [trained["train"]], trained["vocab"], max_seq_length=16,
        max_predictions_per_seq=3, random_seed=5)
    assert list(zip(range(17), flow))[16][1] == first

  def test_a_damaged_record_is_an_error_unless_that_is_accepted(
      self, trained, parse_flags):
    path = os.path.join(trained["out"], resume.STREAM_FILE)
    with open(path, "r+b") as stream:
      stream.truncate(40)
    with pytest.raises(ValueError, match="stream.json is damaged.*Restore it, "
                       "or pass --accept_new_stream"):
      prepared(parse_flags(command(trained)))
    run = prepared(parse_flags(command(trained, accept_new_stream=True)))
    assert run.training.stream_record.first_example == 24

  def test_a_lost_record_is_warned_of(self, trained, parse_flags, caplog):
    os.remove(os.path.join(trained["out"], resume.STREAM_FILE))
    run = prepared(parse_flags(command(trained)))
    assert run.training.stream_record.first_example == 24
    assert "has no stream.json" in caplog.text

  def test_the_record_stays_as_it_is(self, trained, parse_flags):
    path = os.path.join(trained["out"], resume.STREAM_FILE)
    before = os.stat(path).st_ino
    Run(prepared(parse_flags(command(trained))))._write_records(3)
    assert os.stat(path).st_ino == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
class TestFullDisk:

  def test_the_file_is_named(self):
    with pytest.raises(OSError, match="No space left.*'/dev/full'"):
      file_io.append("/dev/full", b"x")

  def test_windows_need_not_be_noted(self, caplog):
    """The run goes on; it is a shortcut that is lost."""
    log = resume.WindowLog("/dev/full")
    for first in (0, 10, 20):
      log.add(stream_lib.Position(), first, 10, (0, 1))
    assert caplog.text.count("will take longer") == 1
    assert log.epochs(20) == 0

  def test_a_file_that_fits_only_in_part_leaves_the_one_before(
      self, tmp_path, monkeypatch):
    path = str(tmp_path / "record")
    file_io.write(path, b"before")
    real = open

    def open_full(name, mode):
      assert mode == "wb"
      os.close(os.open(name, os.O_CREAT))
      return real("/dev/full", mode)

    monkeypatch.setattr(file_io, "open", open_full, raising=False)
    with pytest.raises(OSError, match="record"):
      file_io.write(path, b"after")
    monkeypatch.undo()
    assert os.listdir(str(tmp_path)) == ["record"]
    with open(path, "rb") as stream:
      assert stream.read() == b"before"


def test_a_folder_of_the_references_checkpoints_goes_on(
    trained):
  """Its checkpoints do not count examples: steps times batch size are taken."""
  values = tensors(trained["out"], 3)
  del values[examples_seen.NAME]
  other = trained["out"] + "_reference"
  os.makedirs(other)
  with tf.Graph().as_default():
    for name, value in values.items():
      tf.get_variable(name, initializer=value)
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      tf.train.Saver().save(session, os.path.join(other, "model.ckpt"),
                            global_step=3)
  run = run_program(command(dict(trained, out=other), num_train_steps=4))
  assert run.returncode == 0, run.stdout
  assert "resuming from step 3" in run.stdout
  assert tensors(other, 4)[examples_seen.NAME] == 32


class TestWindowLog:

  def test_finds_the_window_at_or_before_an_example(self, tmp_path):
    path = str(tmp_path / "windows")
    log = resume.WindowLog(path)
    assert log.find(1000) == (stream_lib.Position(), 0)
    for window, first in enumerate((0, 100, 250)):
      log.add(stream_lib.Position(0, 2, window), first, 9, (0, 1))
    log.add(stream_lib.Position(1), 400, 9, (0, 1))
    log = resume.WindowLog(path)
    for number, found in ((0, (0, 2, 0, 0)), (99, (0, 2, 0, 0)),
                          (100, (0, 2, 1, 0)), (399, (0, 2, 2, 0)),
                          (400, (1, 0, 0, 0)), (10**9, (1, 0, 0, 0))):
      assert log.find(number)[0] == found
    assert log.find(300) == ((0, 2, 2, 0), 250)

  def test_what_is_known_is_not_written_again(self, tmp_path):
    path = tmp_path / "windows"
    for _ in range(3):
      log = resume.WindowLog(str(path))
      log.find(0)
      log.add(stream_lib.Position(), 0, 9, (0, 1))
      log.add(stream_lib.Position(0, 0, 1), 70, 9, (0, 1))
    assert path.read_bytes() == b"\n0 0 0 0;\n70 0 0 1;"

  def test_tells_the_epoch_of_an_example(self):
    log = resume.WindowLog(None)
    assert log.epochs(0) is None
    log.add(stream_lib.Position(), 100, 100, (1.0, 1.5))
    assert [log.epochs(n) for n in (90, 100, 150, 250)] == [
        1.0, 1.0, 1.25, 1.5]
    log.add(stream_lib.Position(0, 0, 1), 200, 200, (1.5, 2.0))
    log.add(stream_lib.Position(1), 400, 10, (2.0, 3.0))
    assert [log.epochs(n) for n in (150, 200, 300, 400, 405, 500)] == [
        1.25, 1.5, 1.75, 2.0, 2.5, 3.0]

  @pytest.mark.parametrize("cut", range(1, 12))
  def test_a_line_that_a_kill_cut_short_does_not_count(self, tmp_path, cut):
    path = tmp_path / "windows"
    path.write_bytes(b"\n0 0 0 0;\n70 0 0 1;"[:-cut])
    log = resume.WindowLog(str(path))
    assert log.find(1000)[1] == 0
    log.add(stream_lib.Position(0, 0, 1), 70, 9, (0, 1))
    log.add(stream_lib.Position(0, 0, 2), 150, 9, (0, 1))
    log = resume.WindowLog(str(path))
    assert log.find(1000) == ((0, 0, 2, 0), 150)
    assert log.find(100) == ((0, 0, 1, 0), 70)


def test_a_flow_from_any_example_with_and_without_the_log(
    files, tmp_path):
  options = dict(max_seq_length=16, max_predictions_per_seq=3, num_epochs=3)
  flow = [files["train"]], files["vocab"]
  whole = list(e2e.take_write_2_flow(*flow, **options))
  log = str(tmp_path / "windows")
  for windows_file in (None, log, log):
    for first in (0, 1, 50, len(whole) // 2, len(whole) - 1, len(whole)):
      rest = list(e2e.take_write_2_flow(
          *flow, first_example=first,
          log=resume.WindowLog(windows_file), **options))
      assert rest == whole[first:]


def test_the_log_saves_the_way_there(files, tmp_path, monkeypatch):
  """With the log, a start in the third epoch builds nothing of the others."""
  options = dict(max_seq_length=16, max_predictions_per_seq=3, num_epochs=3,
                 log=resume.WindowLog(str(tmp_path / "windows")))
  flow = [files["train"]], files["vocab"]
  count = len(list(e2e.take_write_2_flow(*flow, **options)))
  epochs = []
  build = stream_lib.ExampleBuilder.build

  def noting(self, epoch, chunk):
    epochs.append(epoch)
    return build(self, epoch, chunk)

  monkeypatch.setattr(stream_lib.ExampleBuilder, "build", noting)
  assert len(list(e2e.take_write_2_flow(
      *flow, first_example=count - 10, **options))) == 10
  assert set(epochs) == {2}


class TestFingerprint:

  def test_follows_the_text_and_nothing_else(self, tmp_path):
    text = "some line of text\n" * 50000
    names = ["one/a.txt", "two/b.txt", "three/a.txt", "three/b.txt"]
    for name in names:
      (tmp_path / name).parent.mkdir(exist_ok=True)
      (tmp_path / name).write_text(text[:-17 if "b.txt" in name else None])
    paths = [str(tmp_path / name) for name in names]
    expected = corpus_lib.Corpus(paths[:2]).fingerprint()
    assert corpus_lib.Corpus(paths[2:]).fingerprint() == expected
    assert corpus_lib.Corpus(paths[1::-1]).fingerprint() != expected
    assert corpus_lib.Corpus(paths[:3]).fingerprint() != expected
    for place in (0, len(text) - 20):
      changed = bytearray(text.encode("ascii"))
      changed[place] = ord("X")
      (tmp_path / names[0]).write_bytes(bytes(changed))
      assert corpus_lib.Corpus(paths[:2]).fingerprint() != expected
