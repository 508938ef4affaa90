"""Groups of TensorFlow's errors by their meaning, and how to report them."""

import re

import tensorflow.compat.v1 as tf

from bert_e2e.common import messages

# Raised when another worker of the cluster dies or becomes unreachable.
LOST_WORKER_ERRORS = (
    tf.errors.UnavailableError, tf.errors.AbortedError,
    tf.errors.FailedPreconditionError, tf.errors.CancelledError,
    tf.errors.DeadlineExceededError)
# What reading a damaged checkpoint raises. TensorFlow 2 raises Python's errors.
CHECKPOINT_ERRORS = (tf.errors.OpError, LookupError, RuntimeError, ValueError)
# What TensorFlow may put in front of the cause.
_LOCATION = re.compile(r"\AGraph execution error:.*^Node: [^\n]*\n"
                       r"|\A\d+ root error\(s\) found\.\n *\(0\) ",
                       re.S | re.M)


def reason(error):
  """Returns the cause of a failed file operation, one line.

  Args:
    error: OSError, tf.errors.OpError or another exception.

  Returns:
    str such as "No space left on device", without the file's name: that of a
    temporary file would be of no use.
  """
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  if isinstance(error, tf.errors.OpError):
    cause = _LOCATION.sub("", str(error)).partition("\n")[0]
    return cause.rpartition("; ")[2]
  return messages.first_line(error)
