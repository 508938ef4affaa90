"""TensorFlow sessions that start faster, for models as small as the tests'.

The graph optimizer takes longer than all steps of such a model, and gains
nothing. `use` switches it off for every session of the process. Of sessions
whose config asks for an optimization, mixed precision or that of the cluster's
all-reduce, it switches the other ones off. An operation runs in one thread,
unless the session's config says otherwise.

To warn of deprecated arguments, TensorFlow inspects the signature of a function
with such ones at each call of it. After `use` it inspects each of them once.
Python looks for garbage less often.
"""

import contextlib
import functools
import gc
import inspect

from bert_e2e.common import tensorflow_setup  # isort: skip  # noqa: F401
import tensorflow.compat.v1 as tf
from tensorflow.python.client import session as session_lib
from tensorflow.python.util import tf_inspect

_CREATE = session_lib.BaseSession.__init__


def use():
  """Switches the graph optimizer off in all sessions created from here on."""
  gc.set_threshold(20000)  # A graph has many objects, and few become garbage.
  _inspect_once()

  def create_quickly(self, target="", graph=None, config=None):
    quick = tf.ConfigProto()
    if config is not None:
      quick.CopyFrom(config)
    if not quick.intra_op_parallelism_threads:
      quick.intra_op_parallelism_threads = 1
    rewriting = quick.graph_options.rewrite_options
    wanted = [name for name, switch in (
        ("auto_mixed_precision", rewriting.auto_mixed_precision),
        ("scoped_allocator", rewriting.scoped_allocator_optimization))
              if switch == rewriting.ON]
    rewriting.optimizers[:] = wanted
    rewriting.disable_meta_optimizer = not wanted
    # Before the session's own pass over each part of a graph that it runs.
    quick.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
    _CREATE(self, target, graph, quick)

  session_lib.BaseSession.__init__ = create_quickly


@contextlib.contextmanager
def suspended():
  """Makes sessions within the context as they are without `use`."""
  create = session_lib.BaseSession.__init__
  session_lib.BaseSession.__init__ = _CREATE
  try:
    yield
  finally:
    session_lib.BaseSession.__init__ = create


def _inspect_once():
  """Stores the signatures of functions that TensorFlow inspects."""
  inspect_again = tf_inspect.getfullargspec
  # Functions of the tests are not to be kept for long.
  stored = functools.lru_cache(maxsize=256)(inspect_again)

  def getfullargspec(obj):
    return (stored if inspect.isfunction(obj) else inspect_again)(obj)

  tf_inspect.getfullargspec = getfullargspec
