"""The supported versions of TensorFlow and Python.

scripts/setup_env.py imports this module before anything is installed, so it
must run on any Python 3 and import only the standard library.
"""

import re

TENSORFLOW = (
    "TensorFlow 1.15 (Python 3.7; Python 3.8 in NVIDIA's builds) and "
    "TensorFlow 2.12 to 2.15 (Python 3.8 to 3.11)")
SETUP = (
    "Python 3.7 (installs TensorFlow 1.15.0), Python 3.9 to 3.11 (installs "
    "TensorFlow 2.15.1), and any Python that already has TensorFlow 1.15.x or "
    "2.12 to 2.15")


def is_supported_tensorflow(version):
  """Returns True if a version of TensorFlow has all that this project needs.

  TensorFlow 2.16 removed Estimator and TPUEstimator.

  Args:
    version: str.

  >>> [is_supported_tensorflow(v)
  ...  for v in ("1.15.5+nv23.3", "2.15.1", "2.16.1", "1.14.0", "")]
  [True, True, False, False, False]
  """
  return re.match(r"(1\.15|2\.1[2-5])(\D|$)", version) is not None


def can_install_tensorflow(python_version):
  """Returns True if requirements.txt installs a TensorFlow for (major, minor).

  >>> [can_install_tensorflow((3, minor)) for minor in (6, 7, 8, 9, 11, 12)]
  [False, True, False, True, True, False]
  """
  return python_version == (3, 7) or (3, 9) <= python_version <= (3, 11)
