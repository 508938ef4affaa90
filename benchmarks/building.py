"""Throughput of building examples, compared with google-research/bert.

    python benchmarks/building.py --text=english.txt,chinese.txt \
        --vocab_file=vocab.txt,vocab_zh.txt [--num_workers=0,1,2] \
        [--reference=<checkout of google-research/bert>] \
        [--reference_python=<python with TensorFlow 1>] \
        [--word_list=words.txt] [--segmenter=jieba]

Builds one epoch of each text as `take_write_2_flow` does, from a cold start,
and the same text with the reference's create_pretraining_data.py program (one
pass, the same flags, TFRecords written to a temporary directory). Each runs in
a separate process; they alternate, so that load on the machine affects all of
them alike. The results are medians over `--rounds`; compare the ratios. The
reference is slow on a large text: `--reference_bytes` passes it the start of
the text only (with less than a few MB, its startup time distorts the ratio).
It needs TensorFlow 1: `--reference_python` names an interpreter that has it.
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
import rows

import tokenization

_STREAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from bert_e2e.data.text_source import take_write_2_flow
text, vocab, workers, options = sys.argv[2:]
examples = take_write_2_flow(
    text, vocab, num_epochs=1, num_workers=int(workers), **json.loads(options))
"""
_OURS = _STREAM + """
print(sum(1 for _ in examples))
"""
_OUR_RANDOM_PAIRS = _STREAM + """
from bert_e2e.data.tf_example import parse_example
labels = [parse_example(example)["next_sentence_labels"][0]
          for example in examples]
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

# Modules are compiled once, as where a program is installed.
_COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
# Of a text to tell its language.
_EXAMINED_BYTES = 1 << 16
# The least text, in MB, whose ratio the start of a process does not decide.
_MEGABYTES = 2


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
          max_predictions_per_seq=options.max_predictions_per_seq))],
                    environment=_COMPILED)


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
        options.reference_python, "create_pretraining_data.py",
        "--input_file=" + start,
        "--vocab_file=" + os.path.abspath(vocab_file),
        "--output_file=" + records,
        "--max_seq_length=%d" % options.max_seq_length,
        "--max_predictions_per_seq=%d" % options.max_predictions_per_seq,
        "--dupe_factor=1"], cwd=options.reference, environment=_COMPILED)
    random_pairs, _, _ = common.run(
        [options.reference_python, "-c", _RANDOM_PAIRS_OF_RECORDS, records])
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
    rows.BUILDING_WORDS.show(
        " %s (%s)" % (name, common.describe(text)),
        "%.0f examples/s, %.0f per CPU second; %.2f and %.2f times the time of "
        "whole words alone" % (
            by_clock, by_cpu, base[0] / by_clock, base[1] / by_cpu))


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
  rows.LOADING.show(
      ", %s" % options.segmenter,
      "%.1f s and %.0f MB with its cache, %.1f s and %.0f MB without" % (
          *loaded, *built))


def row_of(text, num_workers):
  """Returns the rows.Row of a text and a number of workers."""
  if num_workers:
    return (rows.BUILDING_2_WORKERS if num_workers == 2 else
            rows.BUILDING_WORKERS)
  with open(text, "rb") as stream:
    start = stream.read(_EXAMINED_BYTES).decode("utf-8", "replace")
  is_chinese = tokenization.count_chinese(start) > len(start) / 4
  return rows.BUILDING_CHINESE if is_chinese else rows.BUILDING_ENGLISH


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
  for count, result in results.items():
    show(text, count, result, base, results.get(0), options)
  if base:
    rows.BUILDING_REFERENCE.show(
        " (%s, its first %.1f MB)" % (os.path.basename(text), min(
            options.reference_bytes or float("inf"),
            os.path.getsize(text)) / 1e6),
        "%.0f examples/s, %.0f per CPU second" % tuple(base[:2]))
  measure_pairs(text, vocab_file, base and base[2], options)


def show(text, num_workers, result, base, one_process, options):
  """Prints the row for a number of workers.

  Args:
    text: str; num_workers: int.
    result, base, one_process: the results of `ours` with these, of `reference`
      and of `ours` without; None for what was not measured.
    options: the parsed arguments.
  """
  by_clock, by_cpu = result
  value = "%.0f examples/s, %.0f per CPU second" % (by_clock, by_cpu)
  figure = None
  if base:
    figure = None if num_workers else by_cpu / base[1]
    value += "; %.1f and %.1f times the reference" % (
        by_clock / base[0], by_cpu / base[1])
  if num_workers and one_process:
    figure = by_clock / one_process[0]
    value += "; %.2f times one process" % figure
  row = row_of(text, num_workers)
  of_workers = " %d worker%s" % (num_workers, "s" * (num_workers > 1))
  row.show(
      "%s (%s)" % ("" if not num_workers or row is rows.BUILDING_2_WORKERS else
                   of_workers, common.describe(text)), value, figure,
      rows.lacking(rounds=(options.rounds, rows.ROUNDS), MB_of_text=(min(
          options.reference_bytes or float("inf"),
          os.path.getsize(text)) / 1e6, _MEGABYTES)))


def measure_pairs(text, vocab_file, of_reference, options):
  """Prints the row for the random pairs of a text.

  Args:
    text, vocab_file: str.
    of_reference: float, the reference's fraction; None if not measured.
    options: the parsed arguments.
  """
  share = our_random_pairs(text, vocab_file, options)
  value, figure = "%.1f %%" % (100 * share), None
  if of_reference is not None:
    value += ", reference: %.1f %%" % (100 * of_reference)
    figure = 100 * abs(share - of_reference)
  rows.RANDOM_PAIRS.show(
      " (%s)" % common.describe(text), value, figure,
      rows.lacking(MB_of_text=(common.megabytes(text), 1)))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument(
      "--text", required=True, help="one or more, comma-separated")
  parser.add_argument(
      "--vocab_file", required=True, help="one for all texts, or one per text")
  parser.add_argument("--reference")
  parser.add_argument(
      "--reference_python", default=sys.executable,
      help="runs the reference, which needs TensorFlow 1")
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
