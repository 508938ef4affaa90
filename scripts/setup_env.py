"""Makes the virtual environment of this project, once, and names its Python.

Run by setup_env.sh with the interpreter that it found. The folder is `.venv`,
or `.venv-3.11` for an interpreter that was named (`make test
PYTHON=python3.11`), so that two runtimes live side by side. A stamp inside
tells what it was made from: as long as that is still so, nothing is done and
no network is needed. Otherwise it is made anew from nothing, and so it is after
a set-up that was cut short.

A TensorFlow that the interpreter already has, and that serves, is used as it
is: the environment then sees the interpreter's packages and gets only what is
missing.
"""

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import venv

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REQUIREMENTS = ("requirements.txt", "requirements-no-tensorflow.txt",
                "requirements-dev.txt")
UNFINISHED = "unfinished\n"
SERVES = ("Python 3.7 (TensorFlow 1.15.0 is installed) and Python 3.9 to 3.11"
          " (TensorFlow 2.15.1) do, and so does a Python that already has"
          " TensorFlow 1.15.x or 2.12 to 2.15")


def serves(tensorflow_version):
  """Tells whether the programs run on a TensorFlow of this version.

  >>> [serves(v) for v in ("1.15.5+nv23.3", "2.15.1", "2.16.1", "1.14.0")]
  [True, True, False, False]
  """
  return re.match(r"(1\.15|2\.1[2-5])(\D|$)", tensorflow_version) is not None


def can_install(python_version):
  """Tells whether requirements.txt has a TensorFlow for (major, minor)."""
  return python_version == (3, 7) or (3, 9) <= python_version <= (3, 11)


def own_tensorflow():
  """Looks for a TensorFlow among this interpreter's packages.

  Returns:
    (path, version): the path of its __init__.py and its version; two empty
    strings where there is none, the version empty where it fails to import.
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
  """Returns a digest of all that the environment is made from.

  Those are the interpreter, the place of its own TensorFlow and the contents
  of the requirements files.
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
  """Returns a small text file's content, None where there is no file."""
  if not os.path.exists(path):
    return None
  with open(path) as f:
    return f.read()


def write(path, content):
  """Writes a small text file."""
  with open(path, "w") as f:
    f.write(content)


def python_in(folder):
  """Returns the path of the Python of a virtual environment."""
  if os.name == "nt":
    return os.path.join(folder, "Scripts", "python.exe")
  return os.path.join(folder, "bin", "python")


def share_packages(python):
  """Lets a virtual environment see this interpreter's packages behind its own.

  A .pth file does so also where this interpreter is one of a virtual
  environment itself, whose packages venv's own switch
  (--system-site-packages) would pass by.
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
  """Installs requirements files; on failure shows the end of pip's log.

  Args:
    python: str, the Python of the environment.
    files: names of requirements files, beside this file.
    log: str, the path of the file that takes pip's output.

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
    sys.exit("pip could not install %s (its last lines are above, all of them"
             " in %s). Run the same command again once that is mended."
             % (" and ".join(files), log))


def make(folder, stamp):
  """Makes the environment from nothing.

  Args:
    folder: str, where; what a former set-up left there is removed.
    stamp: str, the path of its stamp, written last.

  Raises:
    SystemExit: no TensorFlow serves this interpreter, or pip failed.
  """
  name = "Python %d.%d" % sys.version_info[:2]
  _, version = own_tensorflow()
  if not serves(version) and not can_install(sys.version_info[:2]):
    sys.exit("%s (%s) has no TensorFlow that serves; %s."
             % (name, sys.executable, SERVES))
  if os.path.exists(folder):
    shutil.rmtree(folder)
  os.makedirs(folder)
  write(stamp, UNFINISHED)
  sys.stderr.write("Making %s with %s (%s).\n" % (
      os.path.basename(folder), name, sys.executable))
  venv.create(folder, with_pip=True, symlinks=os.name != "nt")
  python = python_in(folder)
  if serves(version):
    sys.stderr.write("Using its TensorFlow %s as it is; installing the rest.\n"
                     % version)
    share_packages(python)
    runtime = "requirements-no-tensorflow.txt"
  else:
    sys.stderr.write("Installing TensorFlow and the test tools, once: some"
                     " 500 MB to download, a few minutes.\n")
    runtime = "requirements.txt"
  install(python, [runtime, "requirements-dev.txt"],
          os.path.join(folder, "install.log"))
  write(stamp, fingerprint())


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--named", action="store_true",
                      help="the interpreter was named: make .venv-X.Y")
  folder = os.path.join(ROOT, ".venv")
  if parser.parse_args().named:
    folder += "-%d.%d" % sys.version_info[:2]
  stamp = os.path.join(folder, "setup.stamp")
  found = read(stamp)
  if found is None and os.path.exists(folder):
    sys.exit("%s was not made by this set-up: move it away, or use its own"
             " Python directly." % folder)
  if found != fingerprint():
    make(folder, stamp)
  print(python_in(folder))


if __name__ == "__main__":
  main()
