# Sourced by the other scripts. `use_environment FOLDER LIST` makes FOLDER, an environment in the checkout, from
# a pinned list when it is missing or stale, and sets BIN (its bin). Nothing is installed or upgraded while the
# pins are unchanged. Sets ROOT, the checkout.
#   PYTHON=/path/to/python3.12 chooses the Python; otherwise the first suitable one that is found.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

fail() {
  echo "flanmix: $*" >&2
  exit 2
}

suitable() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
    >/dev/null 2>&1
}

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    suitable "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13 with venv and pip"
    echo "$PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11 \
    "$HOME"/.pyenv/versions/3.1[123]*/bin/python \
    "$HOME"/.local/share/uv/python/cpython-3.1[123]*/bin/python3; do
    if suitable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "no suitable Python: install 3.11, 3.12 or 3.13 with venv and pip, or name one in PYTHON=..."
}

minor_version() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# What an environment was made from: the pins and the packaging, byte by byte.
pins_hash() {
  "$1" -c 'import hashlib, sys
print(hashlib.sha256(b"".join(open(p, "rb").read() for p in sys.argv[1:])).hexdigest())' \
    "$2" "$ROOT/setup.py"
}

use_environment() {
  local folder="$ROOT/$1" list="$ROOT/$2" python
  local stamp="$folder/flanmix-pins"
  BIN="$folder/bin"
  if [ -n "${PYTHON:-}" ] && [ -x "$BIN/python" ]; then
    suitable "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13 with venv and pip"
    if [ "$(minor_version "$PYTHON")" != "$(minor_version "$BIN/python")" ]; then
      rm -rf "$folder"
    fi
  fi
  if ! suitable "$BIN/python"; then
    python="$(find_python)" || exit 2
    echo "making $1 with $python ($(minor_version "$python"))" >&2
    rm -rf "$folder"
    "$python" -m venv "$folder"
  fi
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$(pins_hash "$BIN/python" "$list")" ]; then
    echo "installing the pinned list $2 (once; a few minutes)" >&2
    # Compiling all that is never imported would take as long as installing it.
    "$BIN/python" -m pip install --quiet --no-compile --no-deps -r "$list"
    "$BIN/python" -m pip install --quiet --no-deps --no-build-isolation -e "$ROOT"
    pins_hash "$BIN/python" "$list" >"$stamp"
  fi
}
