#!/bin/sh
# Finds a supported Python and creates the virtual environment by setup_env.py.
#
#   sh scripts/setup_env.sh              creates .venv with the first supported
#                                        Python found
#   sh scripts/setup_env.sh python3.11   creates .venv-3.11 with the named one:
#                                        a command, path or version (3.11)
#
# The last line on standard output is the path of the environment's Python;
# everything else goes to standard error. This is POSIX sh, since it runs before
# any Python is found.
#
# Each version is searched on the PATH, in pyenv and in uv. A Python is usable
# only if it runs, has the requested version, and can create virtual
# environments: a version manager's shim on the PATH may fail, and Debian
# packages venv separately.

root=$(CDPATH= cd "$(dirname "$0")/.." && pwd) || exit 1

# is_usable PYTHON [VERSION]: succeeds if the interpreter is usable. Our own
# .venv, which is on the PATH while it is activated, is not.
is_usable() {
  "$1" -c '
import sys, venv, ensurepip
root, version = sys.argv[1:]
if sys.prefix.startswith(root + "/.venv"):
  sys.exit(1)
if version not in ("", "%d.%d" % sys.version_info[:2]):
  sys.exit(1)
' "$root" "${2-}" </dev/null >/dev/null 2>&1
}

# on_path NAME: prints each executable of that name on the PATH, in order; the
# first may be a failing shim and the second a working Python.
on_path() {
  (
    IFS=:
    for directory in $PATH; do
      [ -x "${directory:-.}/$1" ] && printf '%s\n' "${directory:-.}/$1"
    done
  )
}

# candidates VERSION: prints the interpreters that may have that version.
candidates() {
  on_path "python$1"
  on_path python3
  pyenv=${PYENV_ROOT:-$HOME/.pyenv}/versions
  for python in "$pyenv/$1/bin/python" "$pyenv/$1"[.-]*/bin/python; do
    [ -x "$python" ] && printf '%s\n' "$python"
  done
  # --system: without it, uv prints the .venv of the current directory.
  if command -v uv >/dev/null 2>&1; then
    UV_PYTHON_DOWNLOADS=never uv python find --system "$1" 2>/dev/null
  fi
}

# find_version VERSION: prints the first usable interpreter of that version.
find_version() {
  candidates "$1" | while IFS= read -r python; do
    if is_usable "$python" "$1"; then
      printf '%s\n' "$python"
      break
    fi
  done
}

# find_named PYTHON: prints the interpreter named by a command, path or version.
# If the command fails (a shim), another interpreter of its version is searched.
find_named() {
  version=$(basename "$1" | sed -n 's/^\(python\)\{0,1\}\(3\.[0-9]\{1,\}\).*/\2/p')
  if is_usable "$1" "$version"; then
    command -v "$1"
  elif [ -n "$version" ] && [ "${1#*/}" = "$1" ]; then
    find_version "$version"
  fi
}

# find_any: prints the interpreter to use if none was named: one of the versions
# for which TensorFlow can be installed (bert_e2e/common/supported_versions.py),
# Python 3.7 first, except on ARM, for which its TensorFlow has no build; else
# any usable python3: setup_env.py checks whether it has a TensorFlow.
find_any() {
  versions="3.11 3.10 3.9"
  case $(uname -m) in
    x86_64 | amd64) versions="3.7 $versions" ;;
  esac
  for version in $versions; do
    python=$(find_version "$version")
    [ -n "$python" ] && printf '%s\n' "$python" && return
  done
  on_path python3 | while IFS= read -r python; do
    is_usable "$python" && printf '%s\n' "$python" && break
  done
}

if [ -n "${1-}" ]; then
  python=$(find_named "$1")
  problem="PYTHON=$1 is not a Python that runs and can create virtual \
environments"
else
  python=$(find_any)
  problem="No Python that runs and can create virtual environments was found \
on the PATH, in pyenv or in uv"
fi
if [ -z "$python" ]; then
  echo "$problem; install Python 3.7, or 3.9 to 3.11 (on Debian with its \
python3-venv package), or name one: make PYTHON=/path/to/python3.7 ..." >&2
  exit 1
fi
exec "$python" "$root/scripts/setup_env.py" ${1:+--named}
