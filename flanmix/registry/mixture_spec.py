"""A mixture as it is declared: the keys of `mixtures.yaml`, each checked when it is read.

    MixtureSpec("pocket_train", tasks=("pocket",), rates={"pocket_nli": math.inf})
    -> ValueError: rates: pocket_nli is inf: it must be a positive, finite number

What the keys mean is said in flanmix/registry/mixture.py.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

RateKind = Literal["proportional", "equal", "explicit"]

_NO_KEY = {"key": False}  # metadata of a field that is no key of a declaration


@dataclass(frozen=True)
class MixtureSpec:
    """A mixture as declared; each key is a field.

    Attributes:
        name: the name that it was asked for by, with what follows the colon.
        tasks: names of tasks, collections, `collection/cluster`, globs and other mixtures.
        without: names, as in `tasks`, that are left out.
        rate: how a task's rate is made: of its number of records, the same for all, or by `rates`.
        cap: records beyond so many do not raise a proportional rate; null for no cap.
        temperature: a proportional rate is `min(records, cap) ** (1 / temperature)`.
        rates: tasks or member mixtures that get this rate instead.
        templates: numbers of the templates that are used, or N for the first N; null for all.
        few_shot: exemplars before the query, in the examples that have any.
        few_shot_share: share of the examples that have exemplars, 0 to 1.
        loss_weights: factor of the loss of a task's examples, by task.
        transform: `file.py:function` beside `mixtures.yaml`, applied to all of the above.
        argument: what follows the colon, or None; for the transform.
        folder: where the transform's file is.

    Raises:
        ValueError: where a key is out of its range.
    """

    name: str = field(metadata=_NO_KEY)
    tasks: tuple[str, ...]
    without: tuple[str, ...] = ()
    rate: RateKind = "proportional"
    cap: int | None = 3000
    temperature: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    templates: tuple[int, ...] | None = None
    few_shot: int = 0
    few_shot_share: float = 0.0
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    transform: str | None = None
    argument: str | None = field(default=None, metadata=_NO_KEY)
    folder: Path | None = field(default=None, metadata=_NO_KEY)

    def __post_init__(self) -> None:
        for key in ("tasks", "without"):
            names = getattr(self, key)
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{key} is {names!r}: write a list of names")
        if not self.tasks:
            raise ValueError("tasks is empty: name at least one")
        if self.rate not in get_args(RateKind):
            raise ValueError(f"rate is {self.rate!r}: one of {', '.join(get_args(RateKind))}")
        if self.cap is not None and not (is_number(self.cap) and self.cap >= 1):
            raise ValueError(f"cap is {self.cap!r}: a number from 1, or null for none")
        if not (is_number(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature is {self.temperature!r}: it must be a positive number")
        for key in ("rates", "loss_weights"):
            _check_numbers(key, getattr(self, key))
        if self.templates is not None and not _are_numbers_from_0(self.templates):
            shown = list(self.templates) if isinstance(self.templates, tuple) else self.templates
            raise ValueError(f"templates is {shown}: numbers from 0, at least one")
        if not is_whole(self.few_shot) or not is_number(self.few_shot_share):
            raise ValueError(
                f"few_shot is {self.few_shot!r} and few_shot_share {self.few_shot_share!r}: "
                "a whole number and a share"
            )
        if self.few_shot < 0 or not 0 <= self.few_shot_share <= 1:
            raise ValueError("few_shot counts exemplars, few_shot_share lies between 0 and 1")
        if bool(self.few_shot) != bool(self.few_shot_share):
            raise ValueError("few_shot and few_shot_share go together: give both or neither")
        if self.transform is not None and not isinstance(self.transform, str):
            raise ValueError(f"transform is {self.transform!r}: write file.py:function")
        if self.argument is not None and self.transform is None:
            raise ValueError(
                f"':{self.argument}' is for a transform, and the mixture has no key 'transform'"
            )


def is_whole(value: object) -> bool:
    """Whether it is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _check_numbers(key: str, values: object) -> None:
    """Checks a mapping of names to positive numbers."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{key} is {values!r}: write name: number")
    for name, value in values.items():
        if not is_number(value) or not value > 0:
            raise ValueError(f"{key}: {name} is {value!r}: it must be a positive, finite number")


def _are_numbers_from_0(values: object) -> bool:
    if not isinstance(values, tuple) or not values:
        return False
    return all(is_whole(value) and value >= 0 for value in values)


def mixture_keys() -> list[str]:
    """The keys that a mixture's declaration may have."""
    return [entry.name for entry in fields(MixtureSpec) if entry.metadata.get("key", True)]
