"""Several machines: two processes that train together, killed and stopped."""

import os
import signal
import subprocess
import sys
import time

import forked_programs
import numpy as np
import pytest
import tf_checkpoints
from hugging_face_models import assert_same, config_of
from program import ROOT, command, prepared, tensors, text
from two_workers import train

from bert_e2e.common import errors
from bert_e2e.data import resume
from bert_e2e.training import evaluation
from scripts import supervise

# Updates so large that no evaluation is better than the first one: training
# ends one step after the third that is not.
WORSE = dict(num_train_steps=200, learning_rate=0.3, early_stopping_patience=3,
             eval_every_steps=20, save_checkpoints_steps=10)
LAST_STEP = 61
# Long enough for a signal to end one.
EVALUATION = dict(eval_batch_size=1, max_eval_steps=200, do_eval=True,
                  accept_eval_overlap=True, probe_num_labels=10, probe_draws=2)


@pytest.fixture
def run(files, dropout_config, tmp_path):
  """Returns the flags of a training with evaluations, from a checkpoint."""
  (tmp_path / "eval.txt").write_text(text(300, 1000))
  probe = tmp_path / "probe.tsv"
  probe.write_text("".join(
      "label%d\tw%d w%d\n" % (i % 2, i, i % 2) for i in range(30)))
  start = str(tmp_path / "teacher.ckpt")
  tf_checkpoints.write_teacher(start, config_of(num_hidden_layers=1), 20)
  return dict(
      init_checkpoint=start, extend_positions=True,
      eval_input_file=files["eval"], probe_train_file=str(probe),
      probe_eval_file=str(probe), **WORSE, **EVALUATION)


def evaluated(out):
  """Returns the steps of the evaluations; those of text are the probe's."""
  steps, probed = ([row["step"] for row in evaluation.load(out)
                    if row["text"] == name] for name in ("domain", "probe"))
  assert probed == steps
  return steps


@pytest.mark.slow
def test_stopped_and_killed_workers_end_with_the_weights_of_an_undisturbed_run(
    files, run, parse_flags, tmp_path):
  """First a signal to the chief ends an evaluation, which the next start makes.
  Then a signal to the other worker ends both at the same step, and then the
  chief is killed."""
  undisturbed, out = (files["out"] + "_" + name
                      for name in ("undisturbed", "killed"))
  # No worker is lost: a busy machine may take its time.
  patient = dict(run, is_supervised=False, watchdog_seconds=100)
  codes, said = train(
      "undisturbed", files, undisturbed, **dict(patient, num_workers=None))
  check_end(undisturbed, codes, said)

  codes, said = train("stopped_in_evaluation", files, out, **patient)
  assert codes == [128 + signal.SIGTERM, errors.EXIT_RESTART]
  assert said[0] == said[1] and [step for step, _ in said[0]] == ["21"]
  assert evaluated(out) == [0]  # The workers have trained for another step.
  assert tensors(out, 21)["global_step"] == 21
  start = tf_checkpoints.write_teacher(
      str(tmp_path / "again.ckpt"), config_of(num_hidden_layers=1), 20)
  saved = tensors(out, 0)
  assert_same({name: saved[name] for name in start}, start)

  codes, said = train("stopped", files, out, **patient)
  assert codes == [errors.EXIT_RESTART, 128 + signal.SIGTERM]
  assert said[0] == said[1] and len(said[0]) == 1
  step = int(said[0][0][0])
  assert 25 <= step < LAST_STEP
  assert tensors(out, step)["examples_seen"] == 8 * step
  assert evaluated(out)[:2] == [0, 20]

  codes, said = train(
      "killed", files, out, **dict(run, num_workers=None, watchdog_seconds=30))
  check_end(out, codes, said)
  check_same_weights(out, undisturbed)
  check_files(out)
  # One machine alone would go on in another stream.
  assert resume.load(out).options["num_hosts"] == 2
  with pytest.raises(ValueError, match="num_hosts was 2 and is None"):
    prepared(parse_flags(command(dict(files, out=out), num_train_steps=300)))


def check_end(out, codes, said):
  """The workers have ended together, when the evaluations said so."""
  assert codes == [0, 0]
  # The last start's; both workers have the same weights.
  assert said[0][-1] == said[1][-1] and said[0][-1][0] == str(LAST_STEP)
  # The workers agree to stop one step after the evaluation.
  assert evaluated(out) == [0, 20, 40, 60, LAST_STEP]
  assert os.path.exists(os.path.join(out, "eval_results.txt"))


def check_same_weights(out, undisturbed):
  """Two runs have ended with the same variables, to the bit."""
  expected, found = tensors(undisturbed, LAST_STEP), tensors(out, LAST_STEP)
  assert found["examples_seen"] == 8 * LAST_STEP
  assert sorted(found) == sorted(expected)
  different = [n for n in expected if not np.array_equal(found[n], expected[n])]
  assert different == []


def check_files(out):
  """Each worker has a log and windows; one checkpoint will do."""
  names = os.listdir(out)
  assert {"train.log", "train.1.log", "stream_windows.0of2.txt",
          "stream_windows.1of2.txt"} <= set(names)
  assert not [name for _, _, files_there in os.walk(out)
              for name in files_there if name.endswith(".index")
              and name not in names]


class TestWatchdog:

  SCRIPT = """
import sys, time
from bert_e2e.training import cluster
with cluster.Watchdog(float(sys.argv[1]), sys.argv[2] == "needed") as dog:
  for _ in range(int(sys.argv[3])):
    time.sleep(0.02)
    dog.after_run(None, None)
  time.sleep(float(sys.argv[4]))
"""

  @pytest.mark.parametrize("arguments, code", [
      (["0.2", "needed", "0", "60"], errors.EXIT_RESTART),
      (["0.2", "needed", "30", "60"], errors.EXIT_RESTART),
      (["60", "needed", "30", "0"], 0),
      (["0.01", "not", "0", "0.3"], 0),
  ], ids=["no step", "no more steps", "over", "not needed"])
  def test_ends_the_process(self, tmp_path, arguments, code):
    script = tmp_path / "script.py"
    script.write_text(self.SCRIPT)
    run = forked_programs.run([str(script)] + arguments, subprocess.PIPE)
    assert run.returncode == code
    assert ("lost a worker, or one hangs; exiting" in run.stderr) == bool(code)


class TestSupervisor:

  @pytest.mark.parametrize("codes, expected, starts", [
      ([0], 0, 1), ([1], 1, 1), ([75, 75, 0], 0, 3), ([-9, 75, 0], 0, 3),
      ([75, 1], 1, 2), ([75] * 9, 75, 4), ([-9] * 9, 137, 4),
  ])
  def test_starts_again_what_lost_its_peers(
      self, tmp_path, codes, expected, starts):
    """The command ends with each code in turn; a negative one is a signal."""
    count = tmp_path / "count"
    code = ("import os, sys; path, codes = sys.argv[1], list(map(int, "
            "sys.argv[2:])); open(path, 'a').write('x'); "
            "code = codes[os.path.getsize(path) - 1]; "
            "code >= 0 or os.kill(os.getpid(), -code); sys.exit(code)")
    assert supervise.supervise(
        [sys.executable, "-c", code, str(count)] + list(map(str, codes)),
        max_restarts=3, seconds_between=0) == expected
    assert count.stat().st_size == starts

  def test_knows_the_exit_code(self):
    assert supervise.EXIT_RESTART == errors.EXIT_RESTART == 75

  def test_hands_a_signal_on_and_ends(self, tmp_path):
    ready = tmp_path / "ready"
    code = ("import signal, sys, time\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
            "open(sys.argv[1], 'w').close()\ntime.sleep(60)")
    supervisor = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, "scripts/supervise.py"), "--",
         sys.executable, "-c", code, str(ready)])
    deadline = time.monotonic() + 60
    while not ready.exists():
      assert time.monotonic() < deadline
      time.sleep(0.05)
    supervisor.terminate()
    assert supervisor.wait(60) == 75

  def test_needs_a_command(self):
    run = subprocess.run(
        [sys.executable, os.path.join(ROOT, "scripts/supervise.py")],
        stderr=subprocess.PIPE, check=False)
    assert run.returncode == 2 and b"no command to run" in run.stderr
