"""Groups of TensorFlow's errors by their meaning."""

import tensorflow.compat.v1 as tf

# Raised when another worker of the cluster dies or becomes unreachable.
LOST_WORKER_ERRORS = (
    tf.errors.UnavailableError, tf.errors.AbortedError,
    tf.errors.FailedPreconditionError, tf.errors.CancelledError,
    tf.errors.DeadlineExceededError)
