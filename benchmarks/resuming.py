"""How soon a resumed run has its first example, deep in a large corpus.

    python benchmarks/resuming.py --text=corpus.txt --vocab_file=vocab.txt \
        [--corpus_megabytes=1000]

The text is repeated up to that size. A record of windows as long as that of a
run in its third epoch is laid down, whose last line is a place in the middle of
that epoch; timed is the flow from its opening and from its first pull. Of a
small corpus the first epochs are really read, and their record serves or is
lost: then everything before has to be built again. Its next example must be the
right one.
"""

import argparse
import os
import sys
import tempfile
import time

import common

import run_pretraining_e2e as e2e
from bert_e2e.data import resume
from bert_e2e.data import stream as stream_lib

_PLACE = stream_lib.Position(2, 15, 9)
_EXAMPLES_PER_WINDOW = 3000
# Where the small corpus is left, in epochs.
_LEFT_AT = 2.5


def lay_record(path, corpus_megabytes):
  """Writes a record of windows; returns an example's number in the last."""
  place = _PLACE._replace(group=min(_PLACE.group, corpus_megabytes // 64))
  log = resume.WindowLog(path)
  num_windows = 3 * corpus_megabytes
  for i in range(num_windows):
    where = place if i == num_windows - 1 else place._replace(epoch=0)
    log.add(where, i * _EXAMPLES_PER_WINDOW, _EXAMPLES_PER_WINDOW, (0, 1))
  return (num_windows - 1) * _EXAMPLES_PER_WINDOW + 100


def resume_at(text, options, number, path):
  """Opens a flow behind so many examples.

  Returns:
    (its first example, seconds to open it, seconds to the example from there).
  """
  start = time.time()
  flow = e2e.take_write_2_flow(
      [text], options.vocab_file, num_workers=options.num_workers,
      first_example=number, log=resume.WindowLog(path))
  opened = time.time()
  example = next(flow)
  pulled = time.time()
  flow.close()
  return example, opened - start, pulled - opened


def read_epochs(text, options, path):
  """Reads the stream up to the middle of its third epoch, with a record.

  Returns:
    (number of examples read, the next example, seconds).
  """
  start = time.time()
  log = resume.WindowLog(path)
  flow = e2e.take_write_2_flow(
      [text], options.vocab_file, num_workers=options.num_workers, log=log)
  for number, _ in enumerate(flow, 1):
    if log.epochs(number) >= _LEFT_AT:
      break
  expected = next(flow)
  flow.close()
  return number, expected, time.time() - start


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--corpus_megabytes", type=int, default=1000)
  parser.add_argument("--small_megabytes", type=int, default=20)
  parser.add_argument("--num_workers", type=int, default=1)
  options = parser.parse_args()
  print("%s; %s" % (common.machine(), common.describe(options.text)))
  with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "windows")
    number = lay_record(path, options.corpus_megabytes)
    with common.repeated(
        options.text, options.corpus_megabytes * 10**6) as text:
      _, opening, pull = resume_at(text, options, number, path)
    common.row(
        "resuming in the third epoch of %d MB" % options.corpus_megabytes,
        "first example %.1f s after the first pull (opening: %.1f s)" %
        (pull, opening), "5 s")
    path = os.path.join(folder, "small_windows")
    with common.repeated(
        options.text, options.small_megabytes * 10**6) as text:
      number, expected, reading = read_epochs(text, options, path)
      example, _, pull = resume_at(text, options, number, path)
      other, _, pull_without = resume_at(text, options, number, None)
  if not example == other == expected:
    sys.exit("The resumed flow gave another example.")
  common.row("resuming in the third epoch of %d MB, really read in %.0f s" %
             (options.small_megabytes, reading),
             "first example %.1f s after the first pull" % pull, "5 s")
  common.row("resuming there, the record lost",
             "%.1f s: builds again what was trained on" % pull_without, "")


if __name__ == "__main__":
  main()
