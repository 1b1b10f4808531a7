"""Tasks without instructions: the two ways of asking that instructions are compared with.

    plain   It rained.                            the fields, and nothing else
            The street is wet.
    name    [natural language inference: rte]     before them the cluster's and the dataset's names
            It rained.
            The street is wet.

Source: Wei et al. 2022, section 4.3, "role of instructions". The fields are those that every record
has and that the task's own templates show when they ask for the answer, in the card's order.
"""

from dataclasses import replace
from typing import Literal

from flanmix.errors import UserError
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import Template

Wording = Literal["instructions", "plain", "name"]


def reworded(spec: TaskSpec, wording: Wording) -> TaskSpec:
    """Returns the task with one template, that of a wording without instructions.

    Raises:
        UserError: if no field is in every record and shown by a template.
    """
    shown = set().union(*(spec.templates[i].input_fields for i in spec.forward_templates))
    fields = [name for name in spec.fields if name in shown and name not in spec.optional]
    if not fields:
        raise UserError(f"task '{spec.name}' has no field that it always shows: it can't be plain")
    text = "\n".join(f"{{{name}}}" for name in fields)
    if wording == "name":
        text = f"[{_words(spec.cluster)}: {_words(spec.name)}]\n{text}"
    return replace(spec, templates=(Template(text),))


def _words(name: str) -> str:
    return name.replace("_", " ")
