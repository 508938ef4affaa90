"""Peak memory of trainer and workers, for a small and a large corpus.

    python benchmarks/memory.py --text=corpus.txt --vocab_file=vocab.txt \
        [--megabytes=100,1000] [--num_examples=200000]

A process reads examples through TensorFlow's dataset, as a trainer does, with
two workers. Reported is the peak resident set size of each process. The corpora
repeat the text with a new word on every line, so that the word caches fill up,
and are read for the same number of examples each. A corpus of less than 32 MB,
a group of the stream, uses less memory than larger ones. The last corpus
consists of new words only and, being slower, is read for a quarter of the
examples.
"""

import argparse
import os
import random
import sys
import tempfile

import common
import rows

_CONSUMER = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import run_pretraining_e2e as e2e
tf = e2e.tf
text, vocab, count = sys.argv[2:]
flow = e2e.Flow(lambda start, shard: e2e.take_write_2_flow(
    [text], vocab, num_workers=2))

def peak(pid):
  status = pathlib.Path("/proc/%s/status" % pid).read_text()
  return int(status.split("VmHWM:")[1].split()[0]) // 1024

with tf.Graph().as_default(), tf.Session() as session:
  features = tf.data.make_one_shot_iterator(e2e.input_fn_builder(
      [], 128, 20, True, flow=flow)({"batch_size": 32})).get_next()
  done = tf.group(*features.values())
  for _ in range(int(count) // 32):
    session.run(done)
  workers = [pid for path in pathlib.Path("/proc/self/task").iterdir()
             for pid in (path / "children").read_text().split()]
  print("peaks", peak("self"), *map(peak, workers))
"""


def write_corpus(path, lines, num_bytes, only_new_words):
  """Writes a corpus of repeated lines with words that never repeat.

  Args:
    path: str.
    lines: list of str, the text.
    num_bytes: int, size of the corpus.
    only_new_words: bool, write words that never repeat only.
  """
  rng = random.Random(1)
  with open(path, "w", encoding="utf-8") as stream:
    written = i = 0
    while written < num_bytes:
      if only_new_words:
        line = " ".join("%012x" % rng.getrandbits(48) for _ in range(12)) + "\n"
        line += "\n" * (i % 20 == 0)
      else:
        line = lines[i % len(lines)]
        if line.strip():
          line = "%s %x\n" % (line[:-1], rng.getrandbits(48))
      written += stream.write(line)
      i += 1


def peaks(path, options, num_examples):
  """Returns the peak sizes of the trainer and of each worker, in MB."""
  output, _, _ = common.run([
      sys.executable, "-c", _CONSUMER, common.ROOT, path, options.vocab_file,
      str(num_examples)])
  return [int(n) for n in output.split("peaks ")[-1].split("\n")[0].split()]


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", required=True)
  parser.add_argument("--vocab_file", required=True)
  parser.add_argument("--megabytes", default="100,1000")
  parser.add_argument("--new_words_megabytes", type=float, default=50)
  parser.add_argument("--num_examples", type=int, default=200000)
  options = parser.parse_args()
  with open(options.text, encoding="utf-8") as stream:
    lines = stream.readlines()
  print("%s; %s" % (common.machine(), common.describe(options.text)))
  found = {}
  with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "corpus.txt")
    for megabytes in map(float, options.megabytes.split(",")):
      write_corpus(path, lines, megabytes * 10**6, False)
      trainer, *workers = peaks(path, options, options.num_examples)
      found[megabytes] = trainer, max(workers)
      rows.MEMORY.show(
          " of %g MB" % megabytes, "trainer %d MB, workers %s MB" % (
              trainer, " and ".join(map(str, workers))))
    write_corpus(path, lines, options.new_words_megabytes * 10**6, True)
    _, *workers = peaks(path, options, options.num_examples // 4)
  growth = [large / small - 1
            for small, large in zip(found[min(found)], found[max(found)])]
  # Caches fill up with the examples.
  lacks = rows.lacking(examples=(options.num_examples, 200000))
  rows.MEMORY_GROWTH.show(
      "", "trainer %+.1f %%, worker %+.1f %%" % tuple(
          100 * part for part in growth), max(growth), rows.lacking(
              MB_of_text=(min(found), 32)) or lacks)
  rows.MEMORY_NEW_WORDS.show(
      "", "workers %s MB" % " and ".join(map(str, workers)), max(workers),
      rows.lacking(MB_of_text=(options.new_words_megabytes, 50)) or lacks)


if __name__ == "__main__":
  main()
