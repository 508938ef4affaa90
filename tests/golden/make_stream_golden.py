"""Records digests of the example stream on the demo's text.

  python tests/golden/make_stream_golden.py [--check]

Each digest covers the examples of two epochs, in order. The demo's text comes
from the running Python's `pydoc_data`, so a record belongs to one text, which
its own digest identifies; run the command on each supported Python. --check
writes nothing and exits with 1 if a digest differs from the recorded one.

Packed cases are recorded with packing.PACKING_VERSION. If only their digests
change, increment it before they are recorded again: runs of the earlier version
must not resume with other rows.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stream")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(GOLDEN)))
sys.path.insert(0, ROOT)

# Name -> arguments of take_write_2_flow.
CASES = {
    "defaults": {},
    "workers": {"num_workers": 2},
    "short": {"max_seq_length": 64, "max_predictions_per_seq": 10,
              "short_seq_prob": 0.5},
    "whole_words": {"do_whole_word_mask": True, "dupe_factor": 2,
                    "masked_lm_prob": 0.2},
    "small_chunks": {"chunk_lines": 7, "random_seed": 3},
    "second_of_three_hosts": {"shard_index": 1, "num_shards": 3},
    "seek": {"first_example": 700},
    "packed": {"pack_sequences": True, "short_seq_prob": 0.5},
    "packed_lines": {"pack_sequences": True, "max_sequences_per_pack": 5,
                     "example_format": "line_by_line",
                     "sentence_objective": "none", "do_whole_word_mask": True},
}


def write_text(folder):
  """Writes the demo's text; returns (path, its digest)."""
  subprocess.run([sys.executable, "-m", "demo.prepare_corpus",
                  "--output_dir=" + folder], cwd=ROOT, check=True,
                 stdout=subprocess.DEVNULL)
  path = os.path.join(folder, "train.txt")
  with open(path, "rb") as stream:
    return path, hashlib.sha256(stream.read()).hexdigest()[:16]


def digest(path, options):
  """Returns the digest of two epochs, their number of examples and, of packed
  sequences, the version of the packing."""
  import run_pretraining_e2e as e2e
  from bert_e2e.data import packing
  hashed, count = hashlib.sha256(), 0
  for example in e2e.take_write_2_flow(
      [path], os.path.join(ROOT, "demo", "vocab.txt"), num_epochs=2,
      **options):
    hashed.update(len(example).to_bytes(8, "little"))
    hashed.update(example)
    count += 1
  found = {"examples": count, "sha256": hashed.hexdigest()}
  if options.get("pack_sequences"):
    found["packing_version"] = packing.PACKING_VERSION
  return found


def record_file(text_digest):
  """Returns the path of the record of a text."""
  return os.path.join(GOLDEN, text_digest + ".json")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--check", action="store_true")
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    path, text_digest = write_text(folder)
    found = {name: digest(path, case) for name, case in CASES.items()}
  found["python"] = sys.version.split()[0]
  if options.check:
    with open(record_file(text_digest)) as stream:
      sys.exit(0 if json.load(stream) == found else 1)
  os.makedirs(GOLDEN, exist_ok=True)
  with open(record_file(text_digest), "w") as stream:
    json.dump(found, stream, indent=1, sort_keys=True)
    stream.write("\n")


if __name__ == "__main__":
  main()
