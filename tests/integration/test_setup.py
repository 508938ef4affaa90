"""setup_env.sh finds a Python; setup_env.py creates .venv once.

The interpreters on the fake PATHs are small shell scripts: each runs the real
Python of the test, but says that it is of another version.
"""

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from bert_e2e.common import supported_versions
from scripts import setup_env

ROOT = setup_env.ROOT
SCRIPT = os.path.join(ROOT, "scripts", "setup_env.sh")
SHELL_TOOLS = ("sh", "dirname", "basename", "sed")

# The probe of setup_env.sh compares sys.version_info; the fake changes it, and
# prints its own name instead of making an environment.
FAKE = """#!{shell}
if [ "$1" = -c ]; then
  code=$2
  shift 2
  exec '{python}' -c "import sys
sys.version_info, sys.prefix = {version}, '/usr'
{more}
exec(sys.argv.pop(1))" "$code" "$@"
fi
echo "$0 $*"
"""
FAILING_SHIM = "#!{shell}\necho 'pyenv: command not found' >&2\nexit 127\n"
WITHOUT_VENV = "sys.modules['ensurepip'] = None"
OF_OURS = "sys.prefix = sys.argv[2] + '/.venv'"


class Machine:
  """A machine with nothing but the interpreters that a test puts there.

  Its PATH has `bin`, `later` and a few tools of the shell; `home` is HOME.
  """

  def __init__(self, folder):
    self.folder = folder
    for tool in SHELL_TOOLS:
      self.path("tools/" + tool).symlink_to(str(shutil.which(tool)))
    self.add("bin/uname", "#!{shell}\necho x86_64\n")
    # A copy: this project may have a Python in its cache.
    self.script = shutil.copy(
        SCRIPT, str(self.path("project/scripts/setup_env.sh")))

  def path(self, name):
    path = self.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

  def add(self, name, script, version="", more=""):
    """Puts an executable script somewhere."""
    path = self.path(name)
    path.write_text(script.format(
        shell=shutil.which("sh"), python=sys.executable, more=more,
        version=tuple(map(int, version.split("."))) if version else None))
    path.chmod(0o755)

  def run(self, *arguments, script=None):
    """Runs setup_env.sh; returns (exit code, its output, its errors)."""
    result = subprocess.run(
        [shutil.which("sh"), script or self.script] + list(arguments),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": ":".join(str(self.folder / name)
                              for name in ("bin", "later", "tools")),
             "HOME": str(self.folder / "home")},
        universal_newlines=True)
    return result.returncode, result.stdout.strip(), result.stderr.strip()

  def found(self, *arguments, script=None):
    """Returns the interpreter that was found, and how it would be called."""
    code, output, errors = self.run(*arguments, script=script)
    assert code == 0, errors
    python, flags = output.split((script or self.script)[:-2] + "py")
    return os.path.relpath(python.strip(), str(self.folder)), flags.strip()


@pytest.fixture
def machine(tmp_path):
  return Machine(tmp_path)


PYENV_37 = "home/.pyenv/versions/3.7.16/bin/python3.7"
UV_37 = "home/.local/share/uv/python/cpython-3.7/bin/python3.7"


@pytest.mark.parametrize("pythons, expected", [
    ({"bin/python3.11": "3.11.4", "bin/python3.7": "3.7.1"}, "bin/python3.7"),
    ({"bin/python3.7": None, "bin/python3.10": "3.10.1"}, "bin/python3.10"),
    ({"bin/python3.7": None, "later/python3.7": "3.7.1"}, "later/python3.7"),
    ({"bin/python3.7": None, "bin/python3.11": "3.11.4", PYENV_37: "3.7.1"},
     PYENV_37),
    ({"bin/python3": "3.12.1", UV_37: "3.7.1"}, UV_37),
    # A name that lies.
    ({"bin/python3.7": "3.12.1", "bin/python3.9": "3.9.1"}, "bin/python3.9"),
    # It may have a TensorFlow of its own.
    ({"bin/python3": None, "later/python3": "3.8.1"}, "later/python3"),
])
def test_search(machine, pythons, expected):
  """None is a shim that fails."""
  for name, version in pythons.items():
    machine.add(name, FAKE if version else FAILING_SHIM, version or "")
  assert machine.found() == (expected, "")


@pytest.mark.parametrize("more", [WITHOUT_VENV, OF_OURS])
def test_unusable_python_is_passed_over(machine, more):
  """Without venv; of our environment, which may be activated."""
  machine.add("bin/python3.7", FAKE, "3.7.1", more=more)
  machine.add("bin/python3.9", FAKE, "3.9.1")
  assert machine.found() == ("bin/python3.9", "")


def test_no_tensorflow_1_on_arm(machine):
  machine.add("bin/uname", "#!{shell}\necho aarch64\n")
  machine.add("bin/python3.7", FAKE, "3.7.1")
  machine.add("bin/python3.9", FAKE, "3.9.1")
  assert machine.found() == ("bin/python3.9", "")


def test_named(machine):
  machine.add("bin/python3.7", FAILING_SHIM)
  machine.add(PYENV_37, FAKE, "3.7.1")
  machine.add("my python/python", FAKE, "3.11.4")
  for name in ("python3.7", "3.7", str(machine.folder / PYENV_37)):
    assert machine.found(name) == (PYENV_37, "--named")
  assert machine.found(str(machine.folder / "my python/python")) == (
      "my python/python", "--named")


def test_nothing_found_is_one_sentence(machine):
  machine.add("bin/python3", FAILING_SHIM)
  machine.add("bin/python3.7", FAKE, "3.12.1")
  for arguments, problem in (
      ((), "No Python was found"),
      (("python3.7",), "PYTHON=python3.7 is not a Python that runs"),
      ((str(machine.folder / "bin/python3.7"),), "is not a Python that runs")):
    code, output, errors = machine.run(*arguments)
    assert code == 1
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert problem in errors and "install Python 3.7, or 3.9 to 3.11" in errors


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
  script = pathlib.Path(SCRIPT).read_text()
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
    self.tensorflow = ""
    for name in setup_env.REQUIREMENTS:
      shutil.copy(os.path.join(ROOT, name), str(folder))
    monkeypatch.setattr(setup_env, "ROOT", str(folder))
    monkeypatch.setattr(
        supported_versions, "can_install_tensorflow", lambda version: True)
    monkeypatch.setattr(
        setup_env, "tensorflow_version", lambda: self.tensorflow)
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
  project.tensorflow = "1.15.5+nv23.03"
  monkeypatch.setattr(
      supported_versions, "can_install_tensorflow", lambda version: False)
  assert project.set_up() == [
      ["requirements-no-tensorflow.txt", "requirements-dev.txt"]]
  python = str(project.folder / ".venv" / "bin" / "python")
  # Packages of this test's interpreter are seen from the environment.
  assert subprocess.call([python, "-c", "import pytest"]) == 0


FAKE_UV = """#!{shell}
[ "$*" = "python install 3.11" ] || exit 2
{mkdir} -p "$UV_PYTHON_INSTALL_DIR/cpython-3.11.9/bin"
{ln} -s '{python}' "$UV_PYTHON_INSTALL_DIR/cpython-3.11.9/bin/python3.11"
""".format(shell=shutil.which("sh"), mkdir=shutil.which("mkdir"),
           ln=shutil.which("ln"), python=sys.executable)


@pytest.fixture
def unsupported(project, monkeypatch, tmp_path):
  """A project whose only Python can't be used; returns the commands' folder."""
  project.tensorflow = "2.16.1"
  monkeypatch.setattr(
      supported_versions, "can_install_tensorflow", lambda version: False)
  commands = tmp_path / "commands"
  commands.mkdir()
  monkeypatch.setenv("PATH", str(commands))
  for name in ("INSTALL_DIR", "INSTALL_BIN", "DOWNLOADS"):
    monkeypatch.setenv("UV_PYTHON_" + name, "")  # Restored at the end.

  def run_another(python, arguments):
    assert arguments == [python, setup_env.__file__]
    raise SystemExit("runs " + python)

  monkeypatch.setattr(os, "execv", run_another)
  return commands


def write_uv(path):
  path.write_text(FAKE_UV)
  path.chmod(0o755)


def serve_wheel(folder, monkeypatch):
  """Lets pip find a uv in a folder, and nothing elsewhere."""
  with zipfile.ZipFile(str(folder / "uv-1.0-py3-none-any.whl"), "w") as wheel:
    for name, content in (
        ("uv-1.0.data/scripts/uv", FAKE_UV),
        ("uv-1.0.dist-info/METADATA",
         "Metadata-Version: 2.1\nName: uv\nVersion: 1.0\n"),
        ("uv-1.0.dist-info/WHEEL",
         "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        ("uv-1.0.dist-info/RECORD", "")):
      info = zipfile.ZipInfo(name)
      info.external_attr = 0o100755 << 16
      wheel.writestr(info, content)
  monkeypatch.setenv("PIP_NO_INDEX", "1")
  monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


@pytest.mark.parametrize("source", ["PATH", "PyPI"])
def test_python_is_obtained_by_uv(
    project, unsupported, monkeypatch, capsys, source):
  if source == "PATH":
    write_uv(unsupported / "uv")
  else:
    serve_wheel(unsupported, monkeypatch)
  python = project.folder / ".cache/python/cpython-3.11.9/bin/python3.11"
  with pytest.raises(SystemExit, match=re.escape("runs %s" % python)):
    project.set_up()
  said, = capsys.readouterr().err.splitlines()
  assert said.endswith(
      ") has no supported TensorFlow: obtaining Python 3.11 with uv.")
  assert not (project.folder / ".venv").exists()


def check_sentence(project):
  with pytest.raises(SystemExit) as error:
    project.set_up()
  message = str(error.value)
  assert "Python 3.7" in message and "3.9 to 3.11" in message
  assert "\n" not in message
  assert not (project.folder / ".venv").exists()


@pytest.mark.parametrize("failing", ["uv", "pip"])
def test_without_a_network_it_is_one_sentence(
    project, unsupported, monkeypatch, failing):
  if failing == "uv":
    write_uv(unsupported / "uv")
    monkeypatch.setattr(setup_env, "OBTAINED", "3.99")
  else:
    monkeypatch.setattr(setup_env, "run_logged", lambda command, log: False)
  check_sentence(project)


def test_python_without_venv_is_named(project, monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: (
      None if name == "ensurepip" else find(name)))
  monkeypatch.setattr(sys, "argv", ["setup_env.py", "--named"])
  with pytest.raises(SystemExit, match="lacks venv .*python3-venv"):
    project.set_up()


def test_a_named_python_is_not_replaced(project, unsupported, monkeypatch):
  write_uv(unsupported / "uv")
  monkeypatch.setattr(sys, "argv", ["setup_env.py", "--named"])
  check_sentence(project)


def test_the_python_obtained_is_found_again(machine):
  """By setup_env.sh, from a project's path with a space."""
  machine.add("bin/python3", FAKE, "3.12.1")
  script = str(machine.path("a project/scripts/setup_env.sh"))
  shutil.copy(SCRIPT, script)
  assert machine.found(script=script) == ("bin/python3", "")
  python = "a project/.cache/python/cpython-3.11.9/bin/python3.11"
  machine.add(python, FAKE, "3.11.9")
  assert machine.found(script=script) == (python, "")


def test_requirements_without_tensorflow_name_none():
  with open(os.path.join(ROOT, "requirements-no-tensorflow.txt")) as f:
    lines = [line for line in f if line.strip() and line[0] != "#"]
  assert lines
  assert not any("tensorflow" in line for line in lines)
