"""run_pretraining_e2e.py, measured from inside; benchmarks/gpu.py starts it.

    python benchmarks/gpu_program.py [options] -- <flags>

The flags are those of run_pretraining_e2e.py. What the training itself reports
is in its events for TensorBoard. With --measured=<file>, a further session hook
ends it when enough steps were timed, and writes what cannot be seen from
outside as JSON:

  first_step_seconds  from --started to the end of the first step
  peak_bytes          the largest memory in use on the GPU, null if TensorFlow
                      does not tell; without a GPU the largest resident set
  cpu_seconds         processor time of the timed steps
  num_timed           number of timed steps
"""

import argparse
import json
import os
import resource
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import tensorflow.compat.v1 as tf

import run_pretraining_e2e as program
from bert_e2e import flags as flags_lib
from bert_e2e import training_loop
from bert_e2e.training import engine


def _peak_op():
  """Returns the op of TensorFlow 1 for the peak of a GPU's allocator, or None.
  """
  # What tf.contrib loads, without the rest of it.
  path = os.path.join(
      tf.sysconfig.get_lib(), "contrib", "memory_stats", "python", "ops",
      "_memory_stats_ops.so")
  if not _has_gpu() or not os.path.exists(path):
    return None
  library = tf.load_op_library(path)
  with tf.device("/gpu:0"):
    return library.max_bytes_in_use()


def _has_gpu():
  return bool(tf.config.experimental.list_physical_devices("GPU"))


def _peak_bytes(session, op):
  """Returns the peak of the memory in use; see the top of the file."""
  try:
    if op is not None:
      return int(session.run(op))
    if _has_gpu():
      # In graph mode, too: all sessions of a process share a GPU's allocator.
      return tf.config.experimental.get_memory_info("GPU:0")["peak"]
  except (AttributeError, ValueError, RuntimeError, tf.errors.OpError) as e:
    print("The memory in use is unknown: %s" % e)
    return None
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class MeasureHook(tf.train.SessionRunHook):
  """Ends the process when enough steps were timed.

  Args:
    options: the parsed arguments.
  """

  def __init__(self, options):
    self._options = options
    self._num_steps = 0
    self._found = {}

  def begin(self):
    self._peak = _peak_op()

  def before_run(self, run_context):
    options = self._options
    num_timed = self._num_steps - options.warm_up
    if num_timed == 0:
      self._start, self._used = time.time(), time.process_time()
    # After a line of progress: the hook that writes it ran after this one.
    if num_timed >= options.min_steps and num_timed % options.every == 0 and (
        time.time() - self._start >= options.seconds):
      self._found["num_timed"] = num_timed
      self._found["cpu_seconds"] = time.process_time() - self._used
      self._finish(run_context.session)

  def after_run(self, run_context, run_values):
    self._num_steps += 1
    if self._num_steps == 1:
      self._found["first_step_seconds"] = (
          time.time() - self._options.started)

  def _finish(self, session):
    """Writes the results; ends the process without a last checkpoint."""
    self._found["peak_bytes"] = _peak_bytes(session, self._peak)
    tf.summary.FileWriterCache.get(program.flags.FLAGS.output_dir).flush()
    with open(self._options.measured + ".partial", "w") as stream:
      json.dump(self._found, stream)
    os.rename(self._options.measured + ".partial", self._options.measured)
    os._exit(0)


def measure(options):
  """Changes the program: trainings get the hook and the chosen gradients."""
  if options.measured:
    engines: Any = engine.Engine
    train = engines.train
    engines.train = lambda self, input_fn, hooks, max_steps: train(
        self, input_fn, [*hooks, MeasureHook(options)], max_steps)
  if options.gradients:
    build = training_loop.model_fn_builder
    training_loop.model_fn_builder = lambda **arguments: build(**dict(
        arguments, fast_gradients=options.gradients == "fast"))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--measured")
  parser.add_argument("--started", type=float, default=0.0,
                      help="the time at which the program was started")
  parser.add_argument("--warm_up", type=int, default=10)
  parser.add_argument("--every", type=int, default=5)
  parser.add_argument("--min_steps", type=int, default=10)
  parser.add_argument("--seconds", type=float, default=8)
  parser.add_argument("--gradients", choices=["fast", "plain"])
  split = sys.argv.index("--")
  measure(parser.parse_args(sys.argv[1:split]))
  sys.argv = [program.__file__] + sys.argv[split + 1:]
  program.define_flags()
  flags_lib.run(program.main)


if __name__ == "__main__":
  main()
