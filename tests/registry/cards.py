"""A small collection on disk for the tests of this room."""

from pathlib import Path

CARD = """
name: {name}
version: 1
kind: classification
source: {{jsonl: "."}}
splits: {{train: "rows.jsonl[:-2]", test: "rows.jsonl[-2:]"}}
fields: {{premise: text.premise, hypothesis: hypothesis}}
answer: label
options: ["yes", "no"]
templates:
  - inputs: "{{premise}} Then {{hypothesis}}?\\n{{options}}"
  - inputs: "Is '{{hypothesis}}' so, if {{premise}} Say {{choices}}."
  - inputs: "Write what follows ({{answer}}) from {{premise}}"
    targets: "{{hypothesis}}"
    inverted: true
metrics: [accuracy]
"""


def write_card(root: Path, place: str, text: str = CARD) -> Path:
    """Writes a card at `<collection>/<cluster>/<name>` under the root."""
    path = root / f"{place}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(name=path.stem) if text is CARD else text)
    return path
