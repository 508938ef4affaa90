"""Records the output directory of a run that stopped halfway.

  python tests/golden/make_output_dir_golden.py

Trains the tests' small model for one epoch with this version of the program,
keeps what the directory would hold had the run been killed after the checkpoint
of step 8, and stores the weights at the end. Later versions have to resume such
a directory; see tests/integration/test_earlier_version.py. Recorded at commit
5455792 on TensorFlow 1.15.0, before the code moved into packages.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow.compat.v1 as tf

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOLDEN = os.path.join(TESTS, "golden", "output_dir")
ROOT = os.path.dirname(TESTS)
sys.path[:0] = [ROOT, TESTS]

STEP = 8
KEPT = ("model.ckpt-8.data-00000-of-00001", "model.ckpt-8.index", "stream.json",
        "stream_windows.txt", "training_plan.json", "preflight.json")
FLAGS = ["--do_train", "--num_train_epochs=1", "--num_warmup_steps=2",
         "--train_batch_size=8", "--learning_rate=1e-3", "--max_seq_length=16",
         "--max_predictions_per_seq=3", "--save_checkpoints_steps=8",
         "--eval_every_steps=4", "--max_eval_steps=0",
         "--keep_checkpoint_max=0"]


def write_inputs(folder):
  """Writes corpus, vocabulary and config; returns the flags that name them."""
  import program
  contents = {"input_file": ("train.txt", program.text(60)),
              "eval_input_file": ("eval.txt", program.text(9, 100)),
              "vocab_file": ("vocab.txt", "\n".join(program.VOCAB) + "\n"),
              "bert_config_file": ("config.json", json.dumps(dict(
                  program.CONFIG, hidden_dropout_prob=0.2)))}
  flags = []
  for flag, (name, content) in contents.items():
    path = os.path.join(folder, name)
    with open(path, "w") as stream:
      stream.write(content)
    flags.append("--%s=%s" % (flag, path))
  return flags


def main():
  shutil.rmtree(GOLDEN, ignore_errors=True)
  os.makedirs(GOLDEN)
  with tempfile.TemporaryDirectory() as folder:
    out = os.path.join(folder, "out")
    subprocess.run(
        [sys.executable, os.path.join(ROOT, "run_pretraining_e2e.py"),
         "--output_dir=" + out] + FLAGS + write_inputs(folder), check=True)
    for name in KEPT:
      shutil.copy(os.path.join(out, name), GOLDEN)
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(out))
    np.savez_compressed(
        os.path.join(GOLDEN, "at_the_end.npz"),
        **{name.replace("/", "|"): reader.get_tensor(name)
           for name in reader.get_variable_to_shape_map()})
    table = os.path.join(out, "evaluations.jsonl")
    shutil.copy(table, os.path.join(GOLDEN, "evaluations_at_the_end.jsonl"))
    with open(table) as stream:
      rows = [row for row in stream if json.loads(row)["step"] <= STEP]
    with open(os.path.join(GOLDEN, "evaluations.jsonl"), "w") as stream:
      stream.writelines(rows)
  with open(os.path.join(GOLDEN, "checkpoint"), "w") as stream:
    stream.write('model_checkpoint_path: "model.ckpt-%d"\n'
                 'all_model_checkpoint_paths: "model.ckpt-%d"\n' % (STEP, STEP))


if __name__ == "__main__":
  main()
