"""Two programs that train into the same directory."""

import json
import os
import shutil
import signal

import forked_programs
import pytest
from program import PROGRAM, command, prepared, run_program, started

from bert_e2e.common.errors import InputError
from bert_e2e.run import Run, run_preflight
from bert_e2e.training import run_lock
from bert_e2e.training.run_lock import LOCK_FILE, InUse, RunLock

ENDLESS = dict(num_train_steps=1000000, log_every_steps=1)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
  monkeypatch.setattr(run_lock, "_RETRY_SECONDS", 0.2)


def listing(directory):
  """Returns {path: size} of all files."""
  return {path: os.path.getsize(path)
          for path in (os.path.join(folder, name)
                       for folder, _, names in os.walk(directory)
                       for name in names)}


@pytest.mark.slow
def test_the_second_is_refused_and_a_kill_leaves_no_lock(
    files, parse_flags, monkeypatch):
  with started(command(files, num_workers=1, save_checkpoints_steps=1000000,
                       **ENDLESS), "step 1/") as first:
    changed = dict(ENDLESS, learning_rate=1e-2)
    before = set(listing(files["out"]))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(InUse) as caught:
      prepared(parse_flags(command(files, **changed)))
    said = str(caught.value)
    assert "--output_dir=%s is in use" % files["out"] in said
    assert "(process %d on " % first.pid in said
    assert "(SLURM_STEP_NUM_TASKS=4), " in said and "--cluster=slurm" in said
    assert set(listing(files["out"])) == before
    # It may be evaluated. The evaluation does not share the processors then.
    first.send_signal(signal.SIGSTOP)
    evaluated = run_program(command(
        files, do_train=None, do_eval=True, eval_input_file=files["eval"],
        max_eval_steps=1))
    assert evaluated.returncode == 0, evaluated.stdout
    first.kill()
    first.wait()
  with prepared(parse_flags(command(files, **changed))).lock:
    pass


@pytest.mark.slow
def test_of_two_that_start_together_one_trains(files):
  both = [forked_programs.ForkedProgram(
      [PROGRAM] + command(files, num_workers=0, **ENDLESS)) for _ in range(2)]
  try:
    refused = None
    while refused is None:
      refused = next((one for one in both if one.poll() is not None), None)
    other, = (one for one in both if one is not refused)
    assert any(line.startswith("step 2/") for line in other.stdout)
    assert refused.wait() == 1
    said = refused.stdout.read()
    assert "in use: another run trains in it" in said and (
        "Traceback" not in said)
    assert other.poll() is None
  finally:
    for one in both:
      one.kill()
      one.wait()
      one.stdout.close()


def test_a_preflight_leaves_that_of_a_run_that_trains(
    files, parse_flags, caplog, capsys):
  os.mkdir(files["out"])
  path = os.path.join(files["out"], "preflight.json")
  run = prepared(parse_flags(command(files, preflight_only=True)))
  with RunLock(files["out"]):
    run_preflight(run)
  assert not os.path.exists(path)
  assert "preflight.json is not written: --output_dir=%s is in use" % (
      files["out"]) in caplog.text
  assert "examples per epoch" in capsys.readouterr().out
  run_preflight(run)
  assert os.path.exists(path)


def test_workers_join_their_own_cluster_only(files, parse_flags, monkeypatch):
  def worker(*addresses):
    monkeypatch.setenv("TF_CONFIG", json.dumps({
        "cluster": {"worker": addresses},
        "task": {"type": "worker", "index": 1}}))
    return prepared(parse_flags(command(
        files, distribution_strategy="multi_worker_mirrored")))

  os.mkdir(files["out"])
  with RunLock(files["out"], ["a:1", "b:1"]):
    assert worker("a:1", "b:1").lock is None
    with pytest.raises(InUse):
      worker("a:2", "b:2")
  assert worker("a:2", "b:2").lock is None


def test_a_run_that_was_prepared_before_another_one_trained(
    trained, tmp_path, parse_flags):
  files = dict(trained, out=str(tmp_path / "late"))
  late = Run(prepared(parse_flags(command(files))))
  shutil.copytree(trained["out"], files["out"])
  before = listing(files["out"])
  with pytest.raises(InputError, match="Another run has trained in"):
    late.run()
  assert listing(files["out"]) == before
  assert os.path.join(files["out"], LOCK_FILE) in before
