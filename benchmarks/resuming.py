"""Time to the first example of a resumed run, deep in a large corpus.

    python benchmarks/resuming.py --text=corpus.txt --vocab_file=vocab.txt \
        [--corpus_megabytes=1000]

The text is repeated up to that size. A window log as long as that of a run in
its third epoch is written, with a last entry in the middle of that epoch; the
opening of the flow and its first example are timed. Of a small corpus, the
first epochs are really read, and the flow is resumed with and without its
window log; without it, all earlier examples are built again. Both must return
the correct next example.
"""

import argparse
import os
import sys
import tempfile
import time

import common
import rows

import run_pretraining_e2e as e2e
from bert_e2e.data import resume
from bert_e2e.data import stream as stream_lib

_PLACE = stream_lib.Position(2, 15, 9)
_EXAMPLES_PER_WINDOW = 3000
# Where reading the small corpus stops, in epochs.
_STOP_EPOCH = 2.5


def write_log(path, corpus_megabytes):
  """Writes a window log; returns the number of an example in the last window.
  """
  place = _PLACE._replace(group=min(_PLACE.group, corpus_megabytes // 64))
  log = resume.WindowLog(path)
  num_windows = 3 * corpus_megabytes
  for i in range(num_windows):
    where = place if i == num_windows - 1 else place._replace(epoch=0)
    log.add(where, i * _EXAMPLES_PER_WINDOW, _EXAMPLES_PER_WINDOW, (0, 1))
  return (num_windows - 1) * _EXAMPLES_PER_WINDOW + 100


def resume_at(text, options, number, path):
  """Opens a flow after a number of examples.

  Args:
    text: str, path of the corpus.
    options: the parsed options.
    number: int, number of examples to skip.
    path: str, path of the window log; None for none.

  Returns:
    (its first example, seconds to open it, further seconds to the example).
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
  """Reads the stream up to the middle of its third epoch, with a window log.

  Returns:
    (number of examples read, the next example, seconds).
  """
  start = time.time()
  log = resume.WindowLog(path)
  flow = e2e.take_write_2_flow(
      [text], options.vocab_file, num_workers=options.num_workers, log=log)
  for number, _ in enumerate(flow, 1):
    if log.epochs(number) >= _STOP_EPOCH:
      break
  expected = next(flow)
  flow.close()
  return number, expected, time.time() - start


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--corpus_megabytes", type=int, default=1000)
  parser.add_argument("--small_megabytes", type=float, default=20)
  parser.add_argument("--num_workers", type=int, default=1)
  options = parser.parse_args()
  print("%s; %s" % (common.machine(), common.describe(options.text)))
  with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "windows")
    number = write_log(path, options.corpus_megabytes)
    with common.repeated(
        options.text, options.corpus_megabytes * 10**6) as text:
      _, opening, pull = resume_at(text, options, number, path)
    rows.RESUMING.show(
        " of %d MB" % options.corpus_megabytes,
        "first example %.1f s after opening the flow (opening: %.1f s)" %
        (pull, opening), pull,
        rows.lacking(MB_of_text=(options.corpus_megabytes, 100)))
    path = os.path.join(directory, "small_windows")
    with common.repeated(
        options.text, int(options.small_megabytes * 10**6)) as text:
      number, expected, reading = read_epochs(text, options, path)
      example, _, pull = resume_at(text, options, number, path)
      other, _, pull_without = resume_at(text, options, number, None)
  if not example == other == expected:
    sys.exit("The resumed flow returned a wrong example.")
  rows.RESUMING.show(
      " of %g MB, really read in %.0f s" % (options.small_megabytes, reading),
      "first example %.1f s after opening the flow" % pull, pull,
      rows.lacking(MB_of_text=(options.small_megabytes, 20)))
  rows.RESUMING_WITHOUT_LOG.show(
      "", "%.1f s: builds all earlier examples again" % pull_without)


if __name__ == "__main__":
  main()
