"""Runs random trials of the example stream and of the whole program.

    python scripts/soak.py --stream_trials=900 --program_trials=100

A stream trial makes a random corpus (scripts, file formats, compression, line
ends, odd lines, document lengths) and random options (among them examples,
masks, packing and replay), and asserts what the stream guarantees. A program
trial trains a tiny model on such a corpus twice, some with stages: once
undisturbed, once killed, stopped, out of disk space or started twice at random
moments. The final weights and evaluations must be equal to the bit.

A trial is a function of its seed. Failed trials keep their directory and are
listed with the command that repeats them. With --results, finished trials are
written to a file, and the same command continues after them.
"""

import argparse
import collections
import importlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

KINDS = ("stream", "program")


def run(kind, seed, keep_failed=True):
  """Runs one trial.

  Args:
    kind: one of KINDS.
    seed: int.
    keep_failed: bool, keep the directory of a failed trial.

  Returns:
    dict: kind, seed, what (str, what was tried), error (str, or None), seconds.
  """
  trial = importlib.import_module("scripts.soak_" + kind)
  directory = tempfile.mkdtemp(prefix="soak-%s-%d-" % (kind, seed))
  started = time.monotonic()
  what, error = "", None
  try:
    what = trial.run_trial(seed, directory)
  except Exception as e:  # A trial may fail in any way; the others go on.
    traceback.print_exc()
    error = "%s: %s" % (type(e).__name__, e)
  if error and keep_failed:
    print("kept: %s" % directory, file=sys.stderr)
  else:
    shutil.rmtree(directory, ignore_errors=True)
  return {"kind": kind, "seed": seed, "what": what, "error": error,
          "python": platform.python_version(),
          "seconds": round(time.monotonic() - started, 2)}


def table(results):
  """Returns the results as the lines of a Markdown table."""
  groups = collections.OrderedDict()
  for result in results:
    key = result["python"], result["kind"], result["what"].split(" on ")[0]
    groups.setdefault(key if result["kind"] == "stream" else key[:2] + (
        "whole program",), []).append(result)
  lines = ["| Python | trial | | trials | failed | seeds |",
           "|---|---|---|---|---|---|"]
  for (version, kind, what), group in sorted(groups.items()):
    seeds = [result["seed"] for result in group]
    lines.append("| %s | %s | %s | %d | %d | %d to %d |" % (
        version, kind, what or "failed", len(group),
        sum(result["error"] is not None for result in group), min(seeds),
        max(seeds)))
  return lines


def _read_results(path):
  """Returns the results of an earlier call of this Python."""
  if not path or not os.path.exists(path):
    return []
  with open(path, encoding="utf-8") as stream:
    return [json.loads(line) for line in stream]


def main(arguments=None):
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--stream_trials", type=int, default=0)
  parser.add_argument("--program_trials", type=int, default=0)
  parser.add_argument("--seed", type=int, default=0, help="of the first trial")
  parser.add_argument("--results", default="", help="file of finished trials")
  options = parser.parse_args(arguments)
  logging.getLogger().setLevel(logging.ERROR)  # The texts are odd on purpose.
  results = _read_results(options.results)
  done = {(r["kind"], r["seed"]) for r in results
          if r["python"] == platform.python_version()}
  for kind in KINDS:
    for seed in range(options.seed, options.seed + getattr(
        options, kind + "_trials")):
      if (kind, seed) in done:
        continue
      result = run(kind, seed)
      results.append(result)
      if options.results:
        with open(options.results, "a", encoding="utf-8") as stream:
          stream.write(json.dumps(result) + "\n")
      if result["error"]:
        print("FAILED: python scripts/soak.py --%s_trials=1 --seed=%d  # %s" % (
            kind, seed, result["error"]), flush=True)
  print("\n".join(table(results)))
  return any(result["error"] for result in results)


if __name__ == "__main__":
  sys.exit(main())
