"""setup_env.sh finds a supported Python; setup_env.py creates .venv once.

The interpreters on the fake PATHs are small shell scripts: each runs the real
Python of the test, but says that it is of another version.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest

from bert_e2e.common import supported_versions
from scripts import setup_env

ROOT = setup_env.ROOT
SHELL_TOOLS = ("sh", "dirname", "basename", "sed", "uname")

# The probe of setup_env.sh compares sys.version_info; the fake changes it, and
# prints its own name instead of making an environment.
FAKE = """#!{shell}
if [ "$1" = -c ]; then
  code=$2
  shift 2
  exec '{python}' -c "import sys
sys.version_info, sys.prefix = {version}, '{prefix}'
exec(sys.argv.pop(1))" "$code" "$@"
fi
echo "{name} $*"
"""
FAILING_SHIM = "#!{shell}\necho 'pyenv: command not found' >&2\nexit 127\n"


class Machine:
  """A machine with nothing but the interpreters that a test puts there."""

  def __init__(self, folder):
    self.folder = folder
    self.bin = folder / "bin"
    self.home = folder / "home"
    tools = folder / "tools"
    for path in (self.bin, self.home, tools):
      path.mkdir()
    for tool in SHELL_TOOLS:
      os.symlink(str(shutil.which(tool)), str(tools / tool))
    self.path = [str(self.bin), str(tools)]
    self.architecture("x86_64")

  def architecture(self, name):
    """Makes `uname -m` answer this name."""
    self.add(self.bin / "uname", "#!{shell}\necho %s\n" % name)

  def add(self, path, script, version=None, prefix="/usr"):
    """Puts an executable script somewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script.format(
        shell=shutil.which("sh"), python=sys.executable, version=version,
        prefix=prefix, name=path))
    path.chmod(0o755)
    return str(path)

  def python(self, path, *version, prefix="/usr"):
    """Puts a fake interpreter of a version somewhere, e.g. (3, 7)."""
    return self.add(path, FAKE, version + (0,), prefix)

  def find(self, *arguments):
    """Runs setup_env.sh; returns (exit code, its output, its errors)."""
    result = subprocess.run(
        [shutil.which("sh"), os.path.join(ROOT, "scripts", "setup_env.sh")] +
        list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": os.pathsep.join(self.path), "HOME": str(self.home)},
        universal_newlines=True)
    return result.returncode, result.stdout.strip(), result.stderr.strip()

  def found(self, *arguments):
    """Returns the interpreter that was found, and how it would be called."""
    code, output, errors = self.find(*arguments)
    assert code == 0, errors
    python, script = output.split(" ", 1)
    script, _, flags = script.partition(" ")
    assert script == os.path.join(ROOT, "scripts", "setup_env.py")
    return python, flags


@pytest.fixture
def machine(tmp_path):
  return Machine(tmp_path)


def test_python37_comes_first(machine):
  machine.python(machine.bin / "python3.11", 3, 11)
  expected = machine.python(machine.bin / "python3.7", 3, 7)
  assert machine.found() == (expected, "")


def test_failing_shim_is_passed_over(machine):
  machine.add(machine.bin / "python3.7", FAILING_SHIM)
  expected = machine.python(machine.bin / "python3.10", 3, 10)
  assert machine.found() == (expected, "")


def test_second_python_of_a_name_on_the_path_counts(machine):
  machine.add(machine.bin / "python3.7", FAILING_SHIM)
  later = machine.folder / "later"
  expected = machine.python(later / "python3.7", 3, 7)
  machine.path.append(str(later))
  assert machine.found() == (expected, "")


def test_pyenv_behind_a_failing_shim(machine):
  machine.add(machine.bin / "python3.7", FAILING_SHIM)
  machine.python(machine.bin / "python3.11", 3, 11)
  expected = machine.python(
      machine.home / ".pyenv/versions/3.7.16/bin/python", 3, 7)
  assert machine.found() == (expected, "")
  assert machine.found("python3.7") == (expected, "--named")
  assert machine.found("3.7") == (expected, "--named")


def test_uv(machine):
  python = machine.python(machine.folder / "uv/python3.7", 3, 7)
  machine.add(machine.bin / "uv", "#!{shell}\n"
              '[ "$*" = "python find --system 3.7" ] && echo %s\n' % python)
  assert machine.found() == (python, "")


def test_activated_environment_of_ours_is_passed_over(machine):
  machine.python(machine.bin / "python3.7", 3, 7, prefix=ROOT + "/.venv")
  expected = machine.python(machine.bin / "python3.11", 3, 11)
  assert machine.found() == (expected, "")


def test_name_that_lies_about_its_version(machine):
  machine.python(machine.bin / "python3.7", 3, 12)
  expected = machine.python(machine.bin / "python3", 3, 9)
  assert machine.found() == (expected, "")
  code, _, errors = machine.find("python3.7")
  assert code != 0
  assert "PYTHON=python3.7 is not a Python that runs" in errors


def test_no_tensorflow_1_on_arm(machine):
  machine.architecture("aarch64")
  machine.python(machine.bin / "python3.7", 3, 7)
  expected = machine.python(machine.bin / "python3.9", 3, 9)
  assert machine.found() == (expected, "")


def test_other_python3_is_left_to_setup_env(machine):
  expected = machine.python(machine.bin / "python3", 3, 8)
  assert machine.found() == (expected, "")


def test_named_path(machine):
  machine.python(machine.bin / "python3.7", 3, 7)
  expected = machine.python(machine.folder / "my python/python", 3, 11)
  code, output, _ = machine.find(expected)
  assert code == 0
  assert output.startswith(expected + " ")


def test_nothing_found_is_one_sentence(machine):
  machine.add(machine.bin / "python3", FAILING_SHIM)
  code, output, errors = machine.find()
  assert code == 1
  assert output == ""
  assert len(errors.splitlines()) == 1
  assert "install Python 3.7, or 3.9 to 3.11" in errors


@pytest.mark.parametrize("version, expected", [
    ("1.15.0", True), ("1.15.5+nv23.03", True), ("2.12.0", True),
    ("2.15.1", True), ("1.14.0", False), ("2.11.1", False), ("2.16.1", False),
    ("2.1.5", False), ("", False),
])
def test_supported_tensorflow(version, expected):
  assert supported_versions.is_supported_tensorflow(version) is expected


@pytest.mark.parametrize("version, expected", [
    ((3, 6), False), ((3, 7), True), ((3, 8), False), ((3, 9), True),
    ((3, 11), True), ((3, 12), False),
])
def test_python_to_install_for(version, expected):
  assert supported_versions.can_install_tensorflow(version) is expected


def test_shell_script_looks_for_the_versions_that_can_be_installed():
  with open(os.path.join(ROOT, "scripts", "setup_env.sh")) as f:
    script = f.read()
  others, = re.findall(r'^  versions="([\d. ]+)"$', script, re.MULTILINE)
  first, = re.findall(r'versions="([\d.]+) \$versions"', script)
  versions = [tuple(map(int, v.split("."))) for v in [first] + others.split()]
  assert sorted(versions) == [
      (3, minor) for minor in range(30)
      if supported_versions.can_install_tensorflow((3, minor))]


class Project:
  """A copy of the set-up whose pip is replaced by a note of its calls."""

  def __init__(self, folder, monkeypatch):
    self.folder = folder
    self.installed = []
    self.tensorflow = ("", "")
    for name in setup_env.REQUIREMENTS:
      shutil.copy(os.path.join(ROOT, name), str(folder))
    monkeypatch.setattr(setup_env, "ROOT", str(folder))
    monkeypatch.setattr(
        supported_versions, "can_install_tensorflow", lambda version: True)
    monkeypatch.setattr(setup_env, "find_tensorflow", lambda: self.tensorflow)
    monkeypatch.setattr(setup_env, "install", self._install)
    monkeypatch.setattr(sys, "argv", ["setup_env.py"])
    # Without pip an environment is made in no time.
    create = setup_env.venv.create
    monkeypatch.setattr(
        setup_env.venv, "create",
        lambda folder, with_pip, symlinks: create(folder, symlinks=symlinks))

  def _install(self, python, files, log):
    self.installed.append(files)

  def set_up(self):
    """Runs the set-up; returns the requirements that were installed."""
    self.installed = []
    setup_env.main()
    return self.installed


@pytest.fixture
def project(tmp_path, monkeypatch):
  return Project(tmp_path, monkeypatch)


ALL = [["requirements.txt", "requirements-dev.txt"]]


def test_installs_once(project, capsys):
  assert project.set_up() == ALL
  assert project.set_up() == []
  python = capsys.readouterr().out.splitlines()[-1]
  assert python == str(project.folder / ".venv" / "bin" / "python")
  assert subprocess.call([python, "-c", ""]) == 0


def test_changed_requirements_make_it_anew(project):
  project.set_up()
  (project.folder / ".venv" / "left over").write_text("")
  with open(str(project.folder / "requirements-dev.txt"), "a") as f:
    f.write("coverage\n")
  assert project.set_up() == ALL
  assert not (project.folder / ".venv" / "left over").exists()


def test_recovers_from_a_set_up_cut_short(project, monkeypatch):
  def interrupted(python, files, log):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(setup_env, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
      project.set_up()
  assert project.set_up() == ALL


def test_named_interpreter_has_its_own_folder(project, monkeypatch):
  project.set_up()
  monkeypatch.setattr(sys, "argv", ["setup_env.py", "--named"])
  assert project.set_up() == ALL
  assert (project.folder / (".venv-%d.%d" % sys.version_info[:2])).exists()
  monkeypatch.setattr(sys, "argv", ["setup_env.py"])
  assert project.set_up() == []


def test_environment_of_somebody_else_is_left_alone(project):
  theirs = project.folder / ".venv" / "bin"
  theirs.mkdir(parents=True)
  with pytest.raises(SystemExit, match="was not created by this setup"):
    project.set_up()
  assert theirs.exists()


def test_own_tensorflow_is_used_as_it_is(project, monkeypatch):
  project.tensorflow = ("/somewhere/tensorflow/__init__.py", "1.15.5+nv23.03")
  monkeypatch.setattr(
      supported_versions, "can_install_tensorflow", lambda version: False)
  assert project.set_up() == [
      ["requirements-no-tensorflow.txt", "requirements-dev.txt"]]
  python = str(project.folder / ".venv" / "bin" / "python")
  # Packages of this test's interpreter are seen from the environment.
  assert subprocess.call([python, "-c", "import pytest"]) == 0


def test_nothing_serves_is_one_sentence(project, monkeypatch):
  project.tensorflow = ("/somewhere/tensorflow/__init__.py", "2.16.1")
  monkeypatch.setattr(
      supported_versions, "can_install_tensorflow", lambda version: False)
  with pytest.raises(SystemExit) as error:
    project.set_up()
  message = str(error.value)
  assert "Python 3.7" in message and "3.9 to 3.11" in message
  assert "\n" not in message
  assert not (project.folder / ".venv").exists()


def test_requirements_without_tensorflow_name_none():
  with open(os.path.join(ROOT, "requirements-no-tensorflow.txt")) as f:
    lines = [line for line in f if line.strip() and line[0] != "#"]
  assert lines
  assert not any("tensorflow" in line for line in lines)
