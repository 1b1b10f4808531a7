#!/usr/bin/env bash
# Trains, evaluates and generates from a prepared store where neither TensorFlow nor SeqIO is installed: in an
# environment of requirements-train.txt and nothing else, .venv-train. Sets itself up.
#   scripts/test_train_only.sh            STORE=/data/store PYTHON=python3.12 scripts/test_train_only.sh
# STORE is a store in which `pocket` is prepared; if it is not given, one is prepared here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment .venv-train requirements-train.txt
cd "$ROOT"

export JAX_PLATFORMS=cpu XLA_FLAGS=--xla_backend_optimization_level=0
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

"$BIN/python" - requirements-train.txt <<'PY'
import ast
import re
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

# What only preparing TFDS and SeqIO tasks, and handing tasks over to SeqIO, needs.
ABSENT = {"seqio", "t5", "tensorflow", "tensorflow_datasets", "tensorflow_text"}

listed = set(re.findall(r"^([a-z0-9.-]+)==", Path(sys.argv[1]).read_text(), re.MULTILINE))
installed = {re.sub("[-_.]+", "-", d.metadata["Name"]).lower() for d in distributions()}
beside = installed - listed - {"pip", "flanmix"}
assert not beside, f"installed, but not in the list: {sorted(beside)}: remove .venv-train"
assert not any(map(find_spec, ABSENT)), "TensorFlow or SeqIO is installed: remove .venv-train"

used = set()
for path in Path("flanmix").rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            used |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            used.add(node.module.partition(".")[0])
missing = {name for name in used - ABSENT if find_spec(name) is None}
assert not missing, f"flanmix imports what is not in the list: {sorted(missing)}"
print(f"{len(listed)} packages, none of {', '.join(sorted(ABSENT))}")
PY

if [ -z "${STORE:-}" ]; then
  STORE="$folder/store"
  "$BIN/flanmix" prepare pocket --limit 40 --store "$STORE"
fi
"$BIN/flanmix" train --gin_file=gin/recipes/quickstart.gin --gin.STORE="$STORE" --gin.RUN_DIR="$folder/run" \
  --gin.STEPS=4 --gin.BATCH_SIZE=4 --gin.CHECKPOINT_EVERY=2 --gin.EVAL_EVERY=0 \
  --gin.Evaluation.before=False --gin.Evaluation.examples=1 --gin.Evaluation.groups={}
"$BIN/flanmix" evaluate --gin_file="$folder/run/config.gin" --json \
  --gin.Evaluation.groups="{'accuracy': 'film_opinion', 'bleu': 'english_to_talu', 'rouge': 'trip_sentence'}" \
  >"$folder/scores.json"
"$BIN/flanmix" generate --checkpoint "$folder/run" --prompt "A red cat sat." --json >"$folder/texts.json"

"$BIN/python" - "$folder" <<'PY'
import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
steps = [json.loads(line)["step"] for line in (folder / "run" / "metrics.jsonl").open()]
scores = json.loads((folder / "scores.json").read_text())
texts = json.loads((folder / "texts.json").read_text())
assert steps == [1, 2, 3, 4] and len(scores["tasks"]) == 3 and "text" in texts[0]
print(f"trained {len(steps)} steps, scored {len(scores['tasks'])} tasks, generated: no TensorFlow")
PY
