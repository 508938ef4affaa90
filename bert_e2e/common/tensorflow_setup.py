"""Configures TensorFlow, imports it quietly and checks its version.

Programs import this module before TensorFlow. It suppresses messages that would
bury the program's own output: the dozens of NumPy FutureWarnings that importing
TensorFlow 1.15 triggers, and TensorFlow's C++ messages below ERROR, or all of
them on a machine without a GPU (failures are raised as exceptions anyway; set
TF_CPP_MIN_LOG_LEVEL=0 to see the messages).
"""

import glob
import os
import warnings

from bert_e2e.common import supported_versions


def check_version(version):
  """Checks that a version of TensorFlow is supported.

  Args:
    version: str such as "1.15.0" or "2.15.1".

  Raises:
    ImportError: it is not.
  """
  if not supported_versions.is_supported_tensorflow(version):
    raise ImportError("TensorFlow %s is not supported. Supported: %s." %
                      (version, supported_versions.TENSORFLOW))


# Without a GPU, TensorFlow 1.15 logs an error that it found none.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL",
                      "2" if glob.glob("/dev/nvidia*") else "3")
# Use TensorFlow's allocator on CPUs, too: the system allocator releases large
# tensors after every step and faults their pages in again, a tenth of a step's
# time. The limit is 1 TB; the default is 64 GB.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
os.environ.setdefault("TF_CPU_BFC_MEM_LIMIT_IN_MB", str(1 << 20))
# Let --use_xla compile for CPUs, too. TensorFlow reads this once, at import.
os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit")
warnings.filterwarnings(
    "ignore", category=FutureWarning, module=r"tensor(flow|board)")

try:
  import tensorflow  # noqa: E402  pylint: disable=wrong-import-position
except ImportError as error:
  raise ImportError(
      "TensorFlow cannot be imported (%s). Supported: %s. See the README for "
      "how to install it." % (error, supported_versions.TENSORFLOW)) from error

check_version(tensorflow.__version__)
