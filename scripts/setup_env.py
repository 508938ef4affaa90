"""Creates the project's virtual environment and prints its Python's path.

setup_env.sh runs this with the interpreter that it found. The environment is
`.venv`, or `.venv-3.11` if the interpreter was named (`make test
PYTHON=python3.11`), so that two runtimes can coexist. A stamp file in it
records the interpreter and the requirements. While they are unchanged, nothing
is done and no network is needed; otherwise, or if the last setup did not
finish, the environment is created from scratch.

If the interpreter already has a supported TensorFlow, that one is used: the
environment then sees the interpreter's packages, and only missing packages are
installed. If it neither has one nor can install one, uv installs Python 3.11 in
the project's `.cache`.
"""

import argparse
import glob
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import venv

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from bert_e2e.common import supported_versions  # noqa: E402

REQUIREMENTS = ("requirements.txt", "requirements-no-tensorflow.txt",
                "requirements-dev.txt")
# What uv installs where no supported Python is found.
OBTAINED = "3.11"


def say(text):
  """Prints a line to standard error."""
  print(text, file=sys.stderr, flush=True)


def tensorflow_version():
  """Returns the version of this interpreter's TensorFlow; "" without one."""
  if importlib.util.find_spec("tensorflow") is None:
    return ""
  result = subprocess.run(
      [sys.executable, "-c", "import tensorflow as tf; print(tf.__version__)"],
      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
  return result.stdout.decode().split()[-1] if result.returncode == 0 else ""


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
    digest.update(pathlib.Path(ROOT, name).read_bytes() + b"\0")
  return digest.hexdigest() + "\n"


def run_logged(command, log):
  """Runs a command; returns whether it succeeded. Its output goes to a file."""
  pathlib.Path(log).parent.mkdir(parents=True, exist_ok=True)
  try:
    with open(log, "wb") as out:
      return subprocess.call(command, stdin=subprocess.DEVNULL, stdout=out,
                             stderr=subprocess.STDOUT) == 0
  except OSError:  # It is not a program for this machine.
    return False


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
  if not run_logged(command, log):
    with open(log, errors="replace") as f:
      sys.stderr.write("".join(f.readlines()[-15:]))
    sys.exit("pip could not install %s (the end of its output is above, the"
             " whole in %s). Fix the cause and run the same command again."
             % (" and ".join(files), log))


def find_uv(cache, log):
  """Returns the path of uv: on the PATH, or from PyPI; None if that fails."""
  found = shutil.which("uv")
  directory = os.path.join(cache, "uv")
  uv = os.path.join(directory, "bin", "uv")
  if found or os.path.exists(uv):
    return found or uv
  pip = ["-m", "pip", "install", "--no-input", "uv"]
  # Debian packages pip and venv separately; either will do.
  if run_logged([sys.executable] + pip + ["--target", directory], log) or (
      run_logged([sys.executable, "-m", "venv", "--clear", directory], log) and
      run_logged([os.path.join(directory, "bin", "python")] + pip, log)):
    return uv
  return None


def obtain_python():
  """Installs Python 3.11 with uv, in the project's `.cache`.

  Returns:
    str, its path; None if that failed.
  """
  cache = os.path.join(ROOT, ".cache")
  log = os.path.join(cache, "uv.log")
  uv = find_uv(cache, log)
  os.environ.update(UV_PYTHON_INSTALL_DIR=os.path.join(cache, "python"),
                    UV_PYTHON_INSTALL_BIN="0", UV_PYTHON_DOWNLOADS="manual")
  if not uv or not run_logged([uv, "python", "install", OBTAINED], log):
    return None
  found = glob.glob(os.path.join(
      glob.escape(cache), "python", "*", "bin", "python" + OBTAINED))
  return found[0] if found else None


def describe():
  """Returns this interpreter in words."""
  return "Python %d.%d (%s)" % (*sys.version_info[:2], sys.executable)


def create(directory, stamp, is_named):
  """Creates the environment from scratch.

  Args:
    directory: pathlib.Path, where to create it; an existing one is removed.
    stamp: pathlib.Path of its stamp file, which is completed last.
    is_named: bool, whether to use this interpreter or none.

  Raises:
    SystemExit: this interpreter cannot be used, or pip failed.
  """
  version = tensorflow_version()
  has_tensorflow = supported_versions.is_supported_tensorflow(version)
  problem = ""
  if not importlib.util.find_spec("ensurepip"):
    problem = "lacks venv (on Debian: install python3-venv)"
  elif not has_tensorflow and not supported_versions.can_install_tensorflow(
      sys.version_info[:2]):
    problem = "has no supported TensorFlow"
  if problem and not is_named and not has_tensorflow:
    say("%s %s: obtaining Python %s with uv." % (
        describe(), problem, OBTAINED))
    python = obtain_python()
    if python:
      os.execv(python, [python, os.path.abspath(__file__)])
    problem += ", and uv could not install another one (see .cache/uv.log)"
  if problem:
    sys.exit("%s %s. Supported: %s." % (
        describe(), problem, supported_versions.SETUP))
  if directory.exists():
    shutil.rmtree(str(directory))
  directory.mkdir()
  stamp.write_text("unfinished\n")
  say("Creating %s with %s." % (directory.name, describe()))
  venv.create(str(directory), with_pip=True, symlinks=True)
  runtime = "requirements.txt"
  if has_tensorflow:
    say("Using its TensorFlow %s; installing the other packages." % version)
    # --system-site-packages would ignore the packages of this interpreter if it
    # belongs to a virtual environment itself.
    shared = [p for p in sys.path if p.rstrip("/").endswith("-packages")]
    packages, = directory.glob("lib/python*/site-packages")
    (packages / "interpreter.pth").write_text("\n".join(shared) + "\n")
    runtime = "requirements-no-tensorflow.txt"
  else:
    say("Installing TensorFlow and the test tools: a one-time download of about"
        " 500 MB, a few minutes.")
  install(python_in(directory), [runtime, "requirements-dev.txt"],
          str(directory / "install.log"))
  stamp.write_text(fingerprint())


def python_in(directory):
  """Returns the path of the Python of a virtual environment."""
  return str(directory / "bin" / "python")


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--named", action="store_true",
                      help="the interpreter was named: create .venv-X.Y")
  is_named = parser.parse_args().named
  directory = pathlib.Path(ROOT, ".venv" + (
      "-%d.%d" % sys.version_info[:2] if is_named else ""))
  stamp = directory / "setup.stamp"
  if directory.exists() and not stamp.exists():
    sys.exit("%s was not created by this setup: move it away, or use its Python"
             " directly." % directory)
  if not stamp.exists() or stamp.read_text() != fingerprint():
    create(directory, stamp, is_named)
  print(python_in(directory))


if __name__ == "__main__":
  main()
