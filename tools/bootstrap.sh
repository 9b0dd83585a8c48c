# Sourced by the other scripts: from a bare checkout to a venv with the engine compiled.
#
#   bootstrap EXTRA...   sets ROOT (the checkout) and VENV, and makes sure that the project is
#                        installed in VENV with these extras and compiled for the ENGINE_* switches
#   exec_python ...      becomes the venv's Python, with what a sanitizer build needs
#
# Two stamps keep a second run quick. VENV/engine-installed: what was installed (a digest of
# pyproject.toml and the Python version) and with which extras. build/fresh-*: what was compiled (a
# digest of setup.py, ext/ and the switches); it lives in the checkout because the compiled modules
# do, and setup.py removes it at every build, so that one made by hand is noticed.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${ENGINE_VENV:-$ROOT/.venv}
[[ $VENV = /* ]] || VENV=$PWD/$VENV

SWITCHES_HELP="\
Environment:
  ENGINE_VENV=DIR        the venv to use (default: .venv in the checkout; made if missing)
  ENGINE_DEBUG=1         build with every Cython check and assert on, -O1 -g
  ENGINE_TRACE=1         build with line tracing, for coverage
  ENGINE_SANITIZE=LIST   build with -fsanitize=LIST, e.g. address,undefined
  ENGINE_FORCE=1         rebuild even if nothing changed
Without switches: a release build. A changed switch rebuilds by itself."

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# Sets PYTHON to the venv's interpreter, or else to the first on the PATH that is new enough.
find_python() {
  local enough='import sys; sys.exit(sys.version_info < (3, 11))'
  for PYTHON in "$VENV/bin/python" python3 python3.14 python3.13 python3.12 python3.11; do
    "$PYTHON" -c "$enough" >/dev/null 2>&1 && return
  done
  die "no Python 3.11 or newer found (tried python3, python3.14 to python3.11): install one"
}

# The compiler that setuptools will use.
compiler() {
  local built_with='import sysconfig; print(sysconfig.get_config_var("CC") or "cc")'
  echo "${CC:-$("$PYTHON" -c "$built_with")}"
}

check_machine() {
  local command
  read -r command _ < <(compiler)
  command -v "$command" >/dev/null ||
    die "no C compiler found ($command): install gcc or clang, or name one in CC"
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$PYTHON has no venv module: install it (Debian: python3-venv)"
  "$PYTHON" -c '
import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' ||
    die "$PYTHON has no C headers (Python.h): install them (Debian: python3-dev)"
}

# Sets WANT_INSTALL and WANT_BUILD to digests, BUILD_STAMP to a path, and IS_BUILT to 1 if every
# compiled module is there (how new it is, only the stamp knows).
take_digests() {
  local answer
  answer=$("$PYTHON" - "$ROOT" <<'PYTHON'
import hashlib, os, pathlib, sys, sysconfig
root = pathlib.Path(sys.argv[1])
def digest(paths, *words):
    total = hashlib.sha256(repr((sys.version, *words)).encode())
    for path in paths:
        total.update(repr((str(path), path.read_bytes())).encode())
    return total.hexdigest()
sources = sorted(p for s in ("*.pyx", "*.pxd", "*.pxi", "*.h") for p in (root / "ext").rglob(s))
switches = [os.environ.get(f"ENGINE_{s}", "") for s in ("DEBUG", "TRACE", "SANITIZE")]
suffix = sysconfig.get_config_var("EXT_SUFFIX")
print(digest([root / "pyproject.toml"]))
print(digest([root / "setup.py", *sources], *switches))
print(root / "build" / f"fresh-{sys.implementation.cache_tag}")
print(int(all((root / "engine" / "core" / (p.stem + suffix)).exists()
              for p in sources if p.suffix == ".pyx")))
PYTHON
) || die "cannot read the sources"
  { read -r WANT_INSTALL; read -r WANT_BUILD; read -r BUILD_STAMP; read -r IS_BUILT; } <<<"$answer"
}

# Runs a command in the checkout, showing its output only if it fails, or if SHOW is set.
quietly() {
  if [ -n "${SHOW:-}" ]; then
    (cd "$ROOT" && "$@") || die "failed: $*"
    return
  fi
  local log
  log=$(mktemp)
  if ! (cd "$ROOT" && "$@") >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "failed: $*"
  fi
  rm -f "$log"
}

say() {
  echo "$(basename "$0"): $*" >&2
}

bootstrap() {
  find_python
  take_digests
  local stamp=$VENV/engine-installed was_installed="" extras="" was_built=""
  if [ -f "$stamp" ]; then { read -r was_installed; read -r extras; } <"$stamp"; fi
  if [ -f "$BUILD_STAMP" ]; then read -r was_built <"$BUILD_STAMP"; fi

  # What was installed stays: an extra asked for once is asked for again. test contains the others.
  local wanted=" ${extras:-build} " extra
  for extra in "$@"; do
    case $wanted in *" test "* | *" $extra "*) ;; *) wanted="$wanted$extra " ;; esac
  done
  wanted=${wanted# } wanted=${wanted% }

  if [ "$was_installed" != "$WANT_INSTALL" ] || [ "$extras" != "$wanted" ]; then
    check_machine
    if [ "$PYTHON" != "$VENV/bin/python" ]; then
      say "making a venv in $VENV"
      # Only what is a venv already is emptied: one whose Python is gone, or too old.
      local clear=()
      [ ! -f "$VENV/pyvenv.cfg" ] || clear=(--clear)
      quietly "$PYTHON" -m venv ${clear[@]+"${clear[@]}"} "$VENV"
    fi
    say "installing and compiling (extras: $wanted)"
    rm -f "$stamp"
    quietly "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
      --editable ".[${wanted// /,}]"
    printf '%s\n' "$WANT_INSTALL" "$wanted" >"$stamp"
  elif [ "$was_built:$IS_BUILT:${ENGINE_FORCE:-0}" != "$WANT_BUILD:1:0" ]; then
    check_machine
    say "compiling"
    quietly "$VENV/bin/python" setup.py build_ext --inplace
  else
    [ -z "${SHOW:-}" ] || say "up to date"
    return 0
  fi
  echo "$WANT_BUILD" >"$BUILD_STAMP"
}

# Replaces the shell by the venv's Python. A sanitizer's runtime must be in a process from its
# start, which an ordinary Python doesn't see to; the C++ library goes with it, for compiled
# dependencies that throw.
exec_python() {
  case ${ENGINE_SANITIZE:-} in *address*)
    local cc
    cc=$(compiler)
    LD_PRELOAD="$($cc -print-file-name=libasan.so) $($cc -print-file-name=libstdc++.so)"
    export LD_PRELOAD ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc ;;
  esac
  exec "$VENV/bin/python" "$@"
}
