"""The TensorFlow underneath: which versions serve, and a quiet import.

Programs import this module before TensorFlow. It names the versions that serve
when another one is installed, and keeps TensorFlow's start from burying what
the user should read: NumPy's FutureWarnings, which TensorFlow 1.15 raises by
the dozen while it is imported, and TensorFlow's own C++ messages below ERROR,
on a machine without a GPU all of them (what fails is raised as well; set
TF_CPP_MIN_LOG_LEVEL to 0 to see them).
"""

import glob
import os
import re
import warnings

SERVING_VERSIONS = (
    "TensorFlow 1.15 (Python 3.7; Python 3.8 in NVIDIA's builds) and "
    "TensorFlow 2.12 to 2.15 (Python 3.8 to 3.11)")


def check_version(version):
  """Refuses a TensorFlow that has no Estimator and TPUEstimator for us.

  Args:
    version: str such as "1.15.0" or "2.15.1".

  Raises:
    ImportError: another version than those that serve.
  """
  match = re.match(r"(\d+)\.(\d+)", version)
  number = tuple(map(int, match.groups())) if match else (0, 0)
  if number != (1, 15) and not (2, 12) <= number <= (2, 15):
    raise ImportError(
        "TensorFlow %s does not serve here; these do: %s." %
        (version, SERVING_VERSIONS))


# Without a GPU, TensorFlow 1.15 reports as an error that it finds none.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL",
                      "2" if glob.glob("/dev/nvidia*") else "3")
# TensorFlow's own allocator, for CPUs too: the system's would give large
# tensors back in every step, and fault their pages in anew (a tenth of a step's
# time). Up to a terabyte; by default, 64 GB would be the end.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
os.environ.setdefault("TF_CPU_BFC_MEM_LIMIT_IN_MB", str(1 << 20))
# Where XLA is asked for, it is to compile for CPUs, too. TensorFlow reads this
# once, early.
os.environ.setdefault("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit")
warnings.filterwarnings(
    "ignore", category=FutureWarning, module=r"tensor(flow|board)")

try:
  import tensorflow  # noqa: E402  pylint: disable=wrong-import-position
except ImportError as error:
  raise ImportError(
      "TensorFlow cannot be imported (%s). These serve: %s. The README says "
      "how to install." % (error, SERVING_VERSIONS)) from error

check_version(tensorflow.__version__)
