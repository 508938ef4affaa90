"""Throughput of building examples, compared with google-research/bert.

    python benchmarks/building.py --text=english.txt,chinese.txt \
        --vocab_file=vocab.txt,vocab_zh.txt [--num_workers=0,1,2] \
        [--reference=<checkout of google-research/bert>] \
        [--word_list=words.txt] [--segmenter=jieba]

Builds one epoch of each text as `take_write_2_flow` does, from a cold start,
and the same text with the reference's create_pretraining_data.py program (one
pass, the same flags, TFRecords written to a temporary directory). Each runs in
a separate process; they alternate, so that load on the machine affects all of
them alike. The results are medians over `--rounds`; compare the ratios. The
reference is slow on a large text: `--reference_bytes` passes it the start of
the text only (with less than a few MB, its startup time distorts the ratio).
The fraction of examples whose segment B is random is counted separately.

With a word list or a segmenter, whole words are masked as well, with and
without Chinese words, and the segmenter is loaded in a process of its own.
"""

import argparse
import json
import os
import sys
import tempfile
from typing import Any, Callable, Dict

import common

_STREAM = """
import sys
sys.path.insert(0, sys.argv[1])
import create_pretraining_data as cpd
from bert_e2e.data import corpus, stream as es
import json
text, vocab, workers, instances = sys.argv[2:]
stream = es.ExampleStream(
    corpus.Corpus([text]),
    es.StreamOptions(vocab, instances=cpd.InstanceOptions(
        **json.loads(instances))),
    num_epochs=1, num_workers=int(workers))
"""
_OURS = _STREAM + """
print(sum(1 for _ in stream.examples()))
"""
_OUR_RANDOM_PAIRS = _STREAM + """
import show_examples
labels = [show_examples.parse_example(example)["next_sentence_labels"][0]
          for example in stream.examples()]
print(sum(labels) / len(labels))
"""
_RANDOM_PAIRS_OF_RECORDS = """
import sys
import tensorflow.compat.v1 as tf
labels = [
    tf.train.Example.FromString(record).features.feature[
        "next_sentence_labels"].int64_list.value[0]
    for record in tf.io.tf_record_iterator(sys.argv[1])]
print(sum(labels) / len(labels))
"""

# With jieba's dictionary built, and then loaded from jieba's cache.
_LOAD = """
import resource, sys, tempfile, time
sys.path.insert(0, sys.argv[1])
from bert_e2e.data import chinese_words, example_builder

def peak():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before, start = peak(), time.time()
chinese_words.Jieba(sys.argv[2]).words_in("\\u4eba\\u6743")
print(time.time() - start, peak() - before)
"""

# Number of workers -> target.
_TARGETS = {0: "20 times the reference, at least 12",
            2: "1.8 times one process"}


def run_ours(code, text, vocab_file, num_workers, options, **masks):
  """Runs code on the example stream; returns the results of common.run.

  Args:
    code, text, vocab_file: str.
    num_workers: int.
    options: the parsed arguments.
    **masks: fields of config.InstanceConfig.
  """
  return common.run([
      sys.executable, "-c", code, common.ROOT, text, vocab_file,
      str(num_workers), json.dumps(dict(
          masks, max_seq_length=options.max_seq_length,
          max_predictions_per_seq=options.max_predictions_per_seq))])


def ours(text, vocab_file, num_workers, options, **masks):
  """Returns (examples per wall-clock second, examples per CPU second)."""
  output, seconds, cpu = run_ours(
      _OURS, text, vocab_file, num_workers, options, **masks)
  count = int(output.split()[-1])
  return count / seconds, count / cpu


def our_random_pairs(text, vocab_file, options):
  """Returns the fraction of random pairs among the examples of an epoch."""
  output, _, _ = run_ours(_OUR_RANDOM_PAIRS, text, vocab_file, 0, options)
  return float(output.split()[-1])


def reference(text, vocab_file, options):
  """Returns the results of `ours` for the reference, and its random pairs."""
  with tempfile.TemporaryDirectory() as directory:
    start = os.path.join(directory, "text")
    records = os.path.join(directory, "examples")
    with open(text, "rb") as source, open(start, "wb") as stream:
      data = source.read(options.reference_bytes)
      stream.write(data[:data.rfind(b"\n") + 1])
    output, seconds, cpu = common.run([
        sys.executable, "create_pretraining_data.py", "--input_file=" + start,
        "--vocab_file=" + os.path.abspath(vocab_file),
        "--output_file=" + records,
        "--max_seq_length=%d" % options.max_seq_length,
        "--max_predictions_per_seq=%d" % options.max_predictions_per_seq,
        "--dupe_factor=1"], cwd=options.reference)
    random_pairs, _, _ = common.run(
        [sys.executable, "-c", _RANDOM_PAIRS_OF_RECORDS, records])
  count = int(output.split("Wrote ")[-1].split()[0])
  return count / seconds, count / cpu, float(random_pairs.split()[-1])


def measure_words(text, vocab_file, options):
  """Prints the rows for masks of whole words, with and without Chinese ones."""
  def of_masks(**masks):
    return lambda: ours(text, vocab_file, 0, options, do_whole_word_mask=True,
                        **masks)

  kinds: Dict[str, Callable] = {"whole words": of_masks()}
  if options.word_list:
    kinds["word list"] = of_masks(word_list=options.word_list)
  if options.segmenter:
    kinds[options.segmenter] = of_masks(segmenter=options.segmenter)
  results = common.medians(kinds, options.rounds)
  base = results["whole words"]
  for name, (by_clock, by_cpu) in results.items():
    common.row(
        "building, %s (%s)" % (name, common.describe(text)),
        "%.0f examples/s, %.0f per CPU second; %.2f and %.2f times the time of "
        "whole words alone" % (
            by_clock, by_cpu, base[0] / by_clock, base[1] / by_cpu), "")


def measure_segmenter(options):
  """Prints the row for loading the segmenter."""
  def load(directory):
    output, _, _ = common.run(
        [sys.executable, "-c", _LOAD, common.ROOT, directory])
    return tuple(map(float, output.split()[-2:]))

  with tempfile.TemporaryDirectory() as directory:
    built = load(directory)
    [loaded] = common.medians(
        {"loaded": lambda: load(directory)}, options.rounds).values()
  common.row(
      "loading %s" % options.segmenter,
      "%.1f s and %.0f MB with its cache, %.1f s and %.0f MB without" % (
          *loaded, *built), "")


def measure(text, vocab_file, options):
  """Prints the rows for a text."""
  def of_workers(count):
    return lambda: ours(text, vocab_file, count, options)

  kinds: Dict[Any, Callable] = {
      count: of_workers(count)
      for count in map(int, options.num_workers.split(","))}
  if options.reference:
    kinds["reference"] = lambda: reference(text, vocab_file, options)
  results = common.medians(kinds, options.rounds)
  base = results.pop("reference", None)
  for count, (by_clock, by_cpu) in results.items():
    value = "%.0f examples/s, %.0f per CPU second" % (by_clock, by_cpu)
    if base:
      value += "; %.1f and %.1f times the reference" % (
          by_clock / base[0], by_cpu / base[1])
    if count and 0 in results:
      value += "; %.2f times one process" % (by_clock / results[0][0])
    common.row(
        "building, %s (%s)" % (
            "%d workers" % count if count else "in one process",
            common.describe(text)), value, _TARGETS.get(count, ""))
  if base:
    size = min(options.reference_bytes or float("inf"), os.path.getsize(text))
    common.row(
        "building, the reference (%s, its first %.1f MB)" % (
            os.path.basename(text), size / 1e6),
        "%.0f examples/s, %.0f per CPU second" % tuple(base[:2]), "")
  value = "%.1f %%" % (100 * our_random_pairs(text, vocab_file, options))
  if base:
    value += ", reference: %.1f %%" % (100 * base[2])
  common.row("random pairs (%s)" % common.describe(text), value,
             "the reference's fraction")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument(
      "--text", required=True, help="one or more, comma-separated")
  parser.add_argument(
      "--vocab_file", required=True, help="one for all texts, or one per text")
  parser.add_argument("--reference")
  parser.add_argument("--reference_bytes", type=int, default=None)
  parser.add_argument("--num_workers", default="0,1,2")
  parser.add_argument("--max_seq_length", type=int, default=128)
  parser.add_argument("--max_predictions_per_seq", type=int, default=20)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--word_list", help="see run_pretraining_e2e.py")
  parser.add_argument("--segmenter", choices=["jieba"])
  options = parser.parse_args()
  texts = options.text.split(",")
  vocab_files = options.vocab_file.split(",")
  if len(vocab_files) == 1:
    vocab_files *= len(texts)
  if len(vocab_files) != len(texts):
    parser.error("--vocab_file has %d files for %d texts." % (
        len(vocab_files), len(texts)))
  print(common.machine())
  for text, vocab_file in zip(texts, vocab_files):
    measure(text, vocab_file, options)
    if options.word_list or options.segmenter:
      measure_words(text, vocab_file, options)
  if options.segmenter:
    measure_segmenter(options)


if __name__ == "__main__":
  main()
