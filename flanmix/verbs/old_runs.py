"""Run records of the first form: they hold a gin text instead of the model's configuration.

    upgraded_record({"configuration": "...T5Config.d_model = 128...", "data": {...}, ...})
    -> the same with "model", "compute", "vocabulary" and "lengths"

A record of today's form comes back as it is.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from flanmix.errors import UserError
from flanmix.model.api import MODELS

_COMPUTE = ("dtype", "remat")


def upgraded_record(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a run record with everything that reading its model needs.

    Raises:
        UserError: its gin text does not say what the model is.
    """
    if "model" in run:
        return run
    text = run["configuration"]
    named = re.search(r"^MODEL = @(\w+)\(\)", text, flags=re.MULTILINE)
    if named is None or named[1] not in MODELS:
        raise UserError("the checkpoint's configuration does not say what its model is")
    kind = named[1]
    bound = {
        name: ast.literal_eval(value)
        for name, value in re.findall(rf"^{kind}\.(\w+) = (.+)$", text, flags=re.MULTILINE)
    }
    known = {field.name for field in fields(MODELS[kind])}
    vocabulary = re.search(r"^VOCABULARY = (.+)$", text, flags=re.MULTILINE)
    return {
        **run,
        "model": {"kind": kind, **{name: bound[name] for name in bound if name in known}},
        "compute": {name: bound[name] for name in _COMPUTE if name in bound},
        "vocabulary": ast.literal_eval(vocabulary[1]) if vocabulary else "pocket",
        "lengths": [run["data"]["INPUTS_LENGTH"], run["data"]["TARGETS_LENGTH"]],
    }
