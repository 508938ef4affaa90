#!/bin/sh
# Finds a Python that serves, and lets setup_env.py make the virtual environment.
#
#   sh scripts/setup_env.sh                 .venv, from the first Python that serves
#   sh scripts/setup_env.sh python3.11      .venv-3.11, from the one named: a command,
#                                   a path or a version (3.11)
#
# The last line on standard output is the path of the environment's Python;
# everything else goes to standard error. POSIX sh, since it runs before any
# Python was found.
#
# Each version is looked for on the PATH, in pyenv and in uv. A Python counts
# only if it runs, is of the version looked for, and can make a virtual
# environment: a version manager's shim may be on the PATH and fail, and Debian
# packs venv separately.

root=$(CDPATH= cd "$(dirname "$0")/.." && pwd) || exit 1

# runs PYTHON [VERSION]: succeeds if the interpreter counts. Our own .venv does
# not (it is on the PATH while it is activated): it is what is to be made.
runs() {
  "$1" -c '
import sys, venv, ensurepip
root, version = sys.argv[1:]
if sys.prefix.startswith(root + "/.venv"):
  sys.exit(1)
if version not in ("", "%d.%d" % sys.version_info[:2]):
  sys.exit(1)
' "$root" "${2-}" </dev/null >/dev/null 2>&1
}

# on_path NAME: prints each file of that name on the PATH, in order; the first
# may be a shim that fails and the second a Python that works.
on_path() {
  (
    IFS=:
    for folder in $PATH; do
      [ -x "${folder:-.}/$1" ] && printf '%s\n' "${folder:-.}/$1"
    done
  )
}

# candidates VERSION: prints the interpreters that may be of that version.
candidates() {
  on_path "python$1"
  on_path python3
  pyenv=${PYENV_ROOT:-$HOME/.pyenv}/versions
  for python in "$pyenv/$1/bin/python" "$pyenv/$1"[.-]*/bin/python; do
    [ -x "$python" ] && printf '%s\n' "$python"
  done
  # --system: uv would else answer with the .venv of the current folder.
  if command -v uv >/dev/null 2>&1; then
    UV_PYTHON_DOWNLOADS=never uv python find --system "$1" 2>/dev/null
  fi
}

# find_version VERSION: prints the first interpreter of that version that runs.
find_version() {
  candidates "$1" | while IFS= read -r python; do
    if runs "$python" "$1"; then
      printf '%s\n' "$python"
      break
    fi
  done
}

# find_named PYTHON: prints the interpreter that a command, path or version
# names. Where the command fails (a shim), its version is looked for.
find_named() {
  version=$(basename "$1" | sed -n 's/^\(python\)\{0,1\}\(3\.[0-9]\{1,\}\).*/\2/p')
  if runs "$1" "$version"; then
    command -v "$1"
  elif [ -n "$version" ] && [ "${1#*/}" = "$1" ]; then
    find_version "$version"
  fi
}

# find_any: prints the interpreter to use where none was named. Python 3.7 comes
# first, where its TensorFlow has a build (for no ARM machine). Without a version
# for which TensorFlow can be installed, any python3 may do that has its own:
# setup_env.py looks at that.
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
    runs "$python" && printf '%s\n' "$python" && break
  done
}

if [ -n "${1-}" ]; then
  python=$(find_named "$1")
  where="PYTHON=$1 names no Python that runs and can make a virtual environment"
else
  python=$(find_any)
  where="No Python that runs and can make a virtual environment was found on \
the PATH, in pyenv or in uv"
fi
if [ -z "$python" ]; then
  echo "$where; install Python 3.7, or 3.9 to 3.11 (on Debian with its \
python3-venv package), or name one: make PYTHON=/path/to/python3.7 ..." >&2
  exit 1
fi
exec "$python" "$root/scripts/setup_env.py" ${1:+--named}
