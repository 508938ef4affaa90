#!/bin/sh
# Finds a Python and runs setup_env.py with it, which creates the environment.
#
#   sh scripts/setup_env.sh              creates .venv with the first supported
#                                        Python found
#   sh scripts/setup_env.sh python3.11   creates .venv-3.11 with the named one:
#                                        a command, path or version (3.11)
#
# The last line on standard output is the path of the environment's Python;
# everything else goes to standard error. This is POSIX sh, since it runs before
# any Python is found.

root=$(CDPATH= cd "$(dirname "$0")/.." && pwd) || exit 1

# The Pythons of pyenv, of uv and of setup_env.py, which the PATH may lack.
for bin in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin \
    "${XDG_DATA_HOME:-$HOME/.local/share}"/uv/python/*/bin \
    "$root"/.cache/python/*/bin; do
  PATH=$PATH:$bin
done

# is_usable PYTHON [VERSION]: succeeds if the interpreter runs (a shim may fail),
# is not our own .venv, which is on the PATH while it is activated, and, if a
# version is given, has it and can create virtual environments (Debian packages
# venv separately).
is_usable() {
  "$1" -c '
import sys
root, version = sys.argv[1:]
if version:
  import venv, ensurepip
sys.exit(sys.prefix.startswith(root + "/.venv") or
         version not in ("", "%d.%d" % sys.version_info[:2]))
' "$root" "${2-}" </dev/null >/dev/null 2>&1
}

# run NAME [VERSION [FLAG]]: runs setup_env.py with the first usable interpreter
# of that name on the PATH; returns if there is none. The first one of a name may
# be a failing shim and the second a working Python.
run() {
  directories=$PATH:
  while [ -n "$directories" ]; do
    python=${directories%%:*}/$1
    directories=${directories#*:}
    if [ -x "$python" ] && is_usable "$python" "${2-}"; then
      exec "$python" "$root/scripts/setup_env.py" ${3-}
    fi
  done
}

if [ -n "${1-}" ]; then
  version=$(basename "$1" | sed -n 's/^\(python\)\{0,1\}\(3\.[0-9]\{1,\}\).*/\2/p')
  case $1 in
    */*) is_usable "$1" "$version" && exec "$1" "$root/scripts/setup_env.py" --named ;;
    *) run "${version:+python}${version:-$1}" "$version" --named ;;
  esac
  problem="PYTHON=$1 is not a Python that runs and can create virtual \
environments"
else
  # Those for which TensorFlow can be installed, see
  # bert_e2e/common/supported_versions.py. TensorFlow 1.15 has no build for ARM.
  versions="3.11 3.10 3.9"
  case $(uname -m) in
    x86_64 | amd64) versions="3.7 $versions" ;;
  esac
  for version in $versions; do
    run "python$version" "$version"
  done
  # Another one may have a TensorFlow; if not, it obtains Python 3.11.
  run python3
  problem="No Python was found on the PATH, in pyenv or in uv"
fi
echo "$problem; install Python 3.7, or 3.9 to 3.11 (on Debian with its \
python3-venv package), or name one: make PYTHON=/path/to/python3.7 ..." >&2
exit 1
