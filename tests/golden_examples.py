"""Reads the golden examples of the offline program.

The folder `golden/examples/` holds input texts, vocabularies and, for each
case, the examples that google-research/bert's own program wrote for them.
This module hands them to a test; it needs numpy alone. How they were made is
told in `golden/examples/README.md`.

  for case in golden_examples.cases():
    arguments = case.arguments(output_files)  # one name per output
    ...                                       # run the program under test
    assert read_back(output_files) == golden_examples.load(case)
"""

import json
import os

import numpy as np

FOLDER = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "golden", "examples")

# Every feature of an example and the Python type of its values.
FEATURES = {
    "input_ids": int,
    "input_mask": int,
    "segment_ids": int,
    "masked_lm_positions": int,
    "masked_lm_ids": int,
    "masked_lm_weights": float,
    "next_sentence_labels": int,
}


class Case(object):
  """One run of the program: its inputs, its flags, its number of outputs.

  Attributes:
    name: str, unique; also the stem of the case's file in `expected/`.
    about: str, what the case is there for.
    input_files: list of str, absolute paths in the order in which they are
      read, repeats included.
    input_patterns: list of str or None, absolute patterns; where given, each
      pattern's matches in sorted order make `input_files`, so that a program
      that sorts the matches has to give the same examples for both.
    vocab_file: str, absolute path.
    flags: dict, name -> bool, int or float, of those flags alone that differ
      from the reference's defaults.
    num_outputs: int, how many output files the examples are dealt to.
  """

  def __init__(self, entry, folder=FOLDER):
    """Takes one entry of `cases.json`; `folder` is where its paths start."""
    def absolute(names):
      return [os.path.join(folder, *name.split("/")) for name in names]

    patterns = entry.get("input_patterns")
    self.name = entry["name"]
    self.about = entry["about"]
    self.input_files = absolute(entry["input_files"])
    self.input_patterns = absolute(patterns) if patterns else None
    self.vocab_file = absolute([entry["vocab_file"]])[0]
    self.flags = dict(entry["flags"])
    self.num_outputs = entry["num_outputs"]
    self.expected_file = os.path.join(folder, "expected", self.name + ".npz")

  def __repr__(self):
    return "Case(%s)" % self.name

  def arguments(self, output_files, use_patterns=False):
    """Returns the command line's arguments, a list of str.

    Args:
      output_files: list of `num_outputs` str.
      use_patterns: bool, name the inputs by `input_patterns` where the case
        has them.

    Raises:
      ValueError: the number of outputs is not the case's.
    """
    if len(output_files) != self.num_outputs:
      raise ValueError("case %s has %d outputs, %d names were given" % (
          self.name, self.num_outputs, len(output_files)))
    inputs = self.input_files
    if use_patterns and self.input_patterns:
      inputs = self.input_patterns
    return [
        "--input_file=" + ",".join(inputs),
        "--output_file=" + ",".join(output_files),
        "--vocab_file=" + self.vocab_file,
    ] + flag_arguments(self.flags)


def flag_arguments(flags):
  """Returns `--name=value` for each flag, sorted by name.

  >>> flag_arguments({"max_seq_length": 16, "do_lower_case": False})
  ['--do_lower_case=false', '--max_seq_length=16']
  """
  return ["--%s=%s" % (name, json.dumps(flags[name])) for name in sorted(flags)]


def cases():
  """Returns the list of all `Case`s, in the order of `cases.json`."""
  with open(os.path.join(FOLDER, "cases.json"), encoding="utf-8") as reader:
    return [Case(entry) for entry in json.load(reader)]


def load(case):
  """Returns a case's golden examples.

  Args:
    case: a `Case`.

  Returns:
    One list per output file, in order; in it one dict per example, in order:
    feature name -> list of int (`masked_lm_weights`: of float).
  """
  with np.load(case.expected_file) as stored:
    sizes = stored["output_sizes"].tolist()
    columns = {
        name: [[kind(value) for value in row] for row in stored[name].tolist()]
        for name, kind in FEATURES.items()
    }
  outputs = []
  start = 0
  for size in sizes:
    outputs.append([
        {name: columns[name][row] for name in FEATURES}
        for row in range(start, start + size)
    ])
    start += size
  return outputs


def save(path, outputs):
  """Stores examples in the form that `load` reads.

  Args:
    path: str, the .npz file to write.
    outputs: what `load` returns, at least one example.

  Raises:
    ValueError: an example has other features than `FEATURES`, or widths or
      values that the stored form does not hold.
  """
  rows = [example for output in outputs for example in output]
  for row in rows:
    if set(row) != set(FEATURES):
      raise ValueError("unexpected features %s" % sorted(row))
  arrays = {"output_sizes": np.array([len(o) for o in outputs], np.int32)}
  for name, kind in FEATURES.items():
    exact = np.array([row[name] for row in rows])
    # Ids reach into the thousands; masks, segments and labels are bits.
    if kind is float:
      narrow = exact.astype(np.float32)
    else:
      narrow = exact.astype(np.uint8 if exact.max() < 256 else np.uint16)
    if narrow.ndim != 2 or not np.array_equal(narrow, exact):
      raise ValueError("feature %s does not fit the stored form" % name)
    arrays[name] = narrow
  np.savez_compressed(path, **arrays)
