#!/usr/bin/env bash
# Everything that CI checks: lint, format, types, dependencies, tests, the tests that need eight devices, and
# training where TensorFlow is not installed. Sets itself up.
#   scripts/test.sh            PYTHON=python3.12 scripts/test.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment .venv requirements.txt
cd "$ROOT"

export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}" TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
SUMMARY=""
FAILED=0

step() {
  local name="$1" start=$SECONDS verdict=ok
  shift
  echo "== $name"
  "$@" || verdict=FAILED
  [ "$verdict" = ok ] || FAILED=1
  SUMMARY+="$(printf '%-14s %-7s %5d s' "$name" "$verdict" $((SECONDS - start)))"$'\n'
}

step "lint" "$BIN/ruff" check .
step "format" "$BIN/ruff" format --check .
step "types" "$BIN/pyrefly" check --python-interpreter-path "$BIN/python"
step "dependencies" "$BIN/python" scripts/check_dependencies.py
step "tests" "$BIN/python" -m pytest -q -n logical --maxprocesses 8 --dist loadfile \
  --durations=15 -m "not multidevice and not slow"
# Eight simulated devices are slow to compile for; what these tests look at does not need an optimised program.
step "eight devices" env XLA_FLAGS="--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0" \
  "$BIN/python" -m pytest -q -n logical --maxprocesses 4 --dist loadfile --durations=5 -m "multidevice and not slow"
step "train only" env PYTHON="$BIN/python" scripts/test_train_only.sh

printf '\n%s' "$SUMMARY"
exit "$FAILED"
