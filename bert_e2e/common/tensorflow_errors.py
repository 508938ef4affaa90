"""TensorFlow's errors: which ones mean what."""

import tensorflow.compat.v1 as tf

# What TensorFlow raises when another worker of the training is gone.
LOST_PEER_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError,
                    tf.errors.FailedPreconditionError, tf.errors.CancelledError,
                    tf.errors.DeadlineExceededError)
