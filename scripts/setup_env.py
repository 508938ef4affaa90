"""Creates the project's virtual environment and prints its Python's path.

setup_env.sh runs this with the interpreter that it found. The environment is
`.venv`, or `.venv-3.11` if the interpreter was named (`make test
PYTHON=python3.11`), so that two runtimes can coexist. A stamp file in it
records the interpreter and the requirements. While they are unchanged, nothing
is done and no network is needed; otherwise, or if the last setup did not
finish, the environment is created from scratch.

If the interpreter already has a supported TensorFlow, that one is used: the
environment then sees the interpreter's packages, and only missing packages are
installed.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import venv

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from bert_e2e.common import supported_versions  # noqa: E402

REQUIREMENTS = ("requirements.txt", "requirements-no-tensorflow.txt",
                "requirements-dev.txt")
UNFINISHED = "unfinished\n"


def find_tensorflow():
  """Finds the TensorFlow among this interpreter's packages.

  Returns:
    (path, version): the path of its __init__.py and its version. Both are empty
    if there is none; the version is empty if it cannot be imported.
  """
  spec = importlib.util.find_spec("tensorflow")
  if spec is None or not spec.origin:
    return "", ""
  result = subprocess.run(
      [sys.executable, "-c", "import tensorflow as tf; print(tf.__version__)"],
      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
  lines = result.stdout.decode().split()
  return spec.origin, lines[-1] if lines and result.returncode == 0 else ""


def fingerprint():
  """Returns a digest of what the environment depends on.

  That is the interpreter, the path of its TensorFlow and the contents of the
  requirements files.
  """
  spec = importlib.util.find_spec("tensorflow")
  digest = hashlib.sha256()
  for part in (ROOT, os.path.realpath(sys.executable), sys.prefix, sys.version,
               str(spec and spec.origin)):
    digest.update(part.encode() + b"\0")
  for name in REQUIREMENTS:
    with open(os.path.join(ROOT, name), "rb") as f:
      digest.update(f.read() + b"\0")
  return digest.hexdigest() + "\n"


def read(path):
  """Returns the content of a text file; None if it does not exist."""
  if not os.path.exists(path):
    return None
  with open(path) as f:
    return f.read()


def write(path, content):
  """Writes a text file."""
  with open(path, "w") as f:
    f.write(content)


def python_in(directory):
  """Returns the path of the Python of a virtual environment."""
  if os.name == "nt":
    return os.path.join(directory, "Scripts", "python.exe")
  return os.path.join(directory, "bin", "python")


def share_packages(python):
  """Adds this interpreter's packages to a virtual environment, after its own.

  Uses a .pth file, since --system-site-packages ignores this interpreter's
  packages if it belongs to a virtual environment itself.

  Args:
    python: str, the Python of the environment.
  """
  packages = subprocess.check_output(
      [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
  paths = list(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
  paths += [p for p in sys.path if p.endswith(("-packages", "-packages/"))]
  if site.ENABLE_USER_SITE:
    paths.append(site.getusersitepackages())
  lines = sorted(set(paths), key=paths.index)
  write(os.path.join(packages.decode().strip(), "interpreter.pth"),
        "".join(line + "\n" for line in lines))


def install(python, files, log):
  """Installs requirements files; on failure prints the end of pip's log.

  Args:
    python: str, the Python of the environment.
    files: list of str, names of requirements files in ROOT.
    log: str, path of the file to write pip's output to.

  Raises:
    SystemExit: pip failed.
  """
  command = [python, "-m", "pip", "install", "--no-input"]
  for name in files:
    command += ["-r", os.path.join(ROOT, name)]
  with open(log, "wb") as out:
    code = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=out,
                           stderr=subprocess.STDOUT)
  if code:
    with open(log, errors="replace") as f:
      sys.stderr.write("".join(f.readlines()[-15:]))
    sys.exit("pip could not install %s (the end of its output is above, the"
             " whole in %s). Fix the cause and run the same command again."
             % (" and ".join(files), log))


def create(directory, stamp):
  """Creates the environment from scratch.

  Args:
    directory: str, where to create it; an existing one is removed.
    stamp: str, path of its stamp file, which is completed last.

  Raises:
    SystemExit: no TensorFlow is supported on this interpreter, or pip failed.
  """
  name = "Python %d.%d" % sys.version_info[:2]
  _, version = find_tensorflow()
  has_tensorflow = supported_versions.is_supported_tensorflow(version)
  if not has_tensorflow and not supported_versions.can_install_tensorflow(
      sys.version_info[:2]):
    sys.exit("%s (%s) has no supported TensorFlow. Supported: %s."
             % (name, sys.executable, supported_versions.SETUP))
  if os.path.exists(directory):
    shutil.rmtree(directory)
  os.makedirs(directory)
  write(stamp, UNFINISHED)
  sys.stderr.write("Creating %s with %s (%s).\n" % (
      os.path.basename(directory), name, sys.executable))
  venv.create(directory, with_pip=True, symlinks=os.name != "nt")
  python = python_in(directory)
  if has_tensorflow:
    sys.stderr.write("Using its TensorFlow %s; installing the other packages.\n"
                     % version)
    share_packages(python)
    runtime = "requirements-no-tensorflow.txt"
  else:
    sys.stderr.write("Installing TensorFlow and the test tools: a one-time"
                     " download of about 500 MB, a few minutes.\n")
    runtime = "requirements.txt"
  install(python, [runtime, "requirements-dev.txt"],
          os.path.join(directory, "install.log"))
  write(stamp, fingerprint())


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--named", action="store_true",
                      help="the interpreter was named: create .venv-X.Y")
  directory = os.path.join(ROOT, ".venv")
  if parser.parse_args().named:
    directory += "-%d.%d" % sys.version_info[:2]
  stamp = os.path.join(directory, "setup.stamp")
  found = read(stamp)
  if found is None and os.path.exists(directory):
    sys.exit("%s was not created by this setup: move it away, or use its Python"
             " directly." % directory)
  if found != fingerprint():
    create(directory, stamp)
  print(python_in(directory))


if __name__ == "__main__":
  main()
