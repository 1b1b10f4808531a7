#!/usr/bin/env bash
# From nothing to an instruction-tuned model: prepares the embedded pocket collection, trains a tiny T5 on it,
# and ends with its scores before and after and the path of a report page. Sets itself up; safe to run twice.
#   scripts/quickstart.sh            RUN_DIR=/data/runs/a PYTHON=python3.12 scripts/quickstart.sh
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment .venv requirements.txt
cd "$ROOT"

STORE="${STORE:-runs/store}"
RUN_DIR="${RUN_DIR:-runs/quickstart}"

"$BIN/flanmix" prepare pocket --store "$STORE"
"$BIN/flanmix" train --gin_file=gin/recipes/quickstart.gin \
  --gin.STORE="$STORE" --gin.RUN_DIR="$RUN_DIR"

"$BIN/python" - "$RUN_DIR/scores.json" <<'PY'
import json
import sys

scores = json.load(open(sys.argv[1]))
groups = ("seen_templates", "unseen_templates", "unseen_tasks", "majority")
print(f"\n{'accuracy, %':<18}{'before':>8}{'after':>8}")
for group in groups:
    print(f"{group:<18}{scores['before'][group]:>8.1f}{scores['after'][group]:>8.1f}")
PY
echo "report: $("$BIN/flanmix" report "$RUN_DIR")"
