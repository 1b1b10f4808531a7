"""What a SeqIO task scores with: t5's own metrics where it has them, ours where it has not.

    scoring(task with metrics [squad])
    -> {"metric_fns": [t5.evaluation.metrics.squad], "postprocess_fn": ...}

The post-processor turns a text into what the metric's function takes: all references for SQuAD, the
option's index for an F1 by class, a number for a correlation (`Metric.reads`). Metrics of one task
that take different things get all of them, and each picks its own.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flanmix.errors import UserError
from flanmix.evaluate.metrics import METRICS, Metric
from flanmix.registry.task import TaskSpec

Function = Callable[[Sequence[Any], Sequence[Any]], Mapping[str, Any]]


def scoring(task: TaskSpec) -> dict[str, Any]:
    """Returns the task's `metric_fns`, and the `postprocess_fn` that gives what they take.

    Raises:
        UserError: for an unknown metric.
    """
    chosen = {name: METRICS[name] for name in task.metrics}
    functions = [_function(task, name, metric) for name, metric in chosen.items()]
    kinds = {_kind(metric) for metric in chosen.values()}
    if len(kinds) == 1:
        return {
            "metric_fns": functions,
            "postprocess_fn": functools.partial(_postprocess, kind=kinds.pop()),
        }
    several = [
        _taking(_kind(metric), function)
        for metric, function in zip(chosen.values(), functions, strict=True)
    ]
    return {
        "metric_fns": several,
        "postprocess_fn": functools.partial(_postprocess_several, kinds=frozenset(kinds)),
    }


def _kind(metric: Metric) -> str:
    """What the function of a metric takes; ours, which stands in for a missing twin, all texts."""
    return metric.reads if metric.t5 is not None else "texts"


def _function(task: TaskSpec, name: str, metric: Metric) -> Function:
    if metric.t5 is None:
        return _ours(task, name, metric)
    try:
        from t5.evaluation import metrics
    except ImportError:
        return _missing_t5(name)
    function = getattr(metrics, metric.t5)
    # The only one of t5's that is a maker of functions.
    return function(len(task.options)) if metric.t5 == "mean_multiclass_f1" else function


def _ours(task: TaskSpec, name: str, metric: Metric) -> Function:
    def function(targets: Sequence[Any], predictions: Sequence[Any]) -> Mapping[str, Any]:
        classes = (task.options,) if metric.by_class else ()
        return metric.function([tuple(texts) for texts in targets], predictions, *classes)

    function.__name__ = name
    return function


def _missing_t5(name: str) -> Function:
    def function(targets: Sequence[Any], predictions: Sequence[Any]) -> Mapping[str, Any]:
        raise UserError(f"metric '{name}' is t5's: pip install --no-deps t5==0.9.4")

    function.__name__ = name
    return function


def _postprocess(
    output: str, example: Mapping[str, Any] | None = None, is_target: bool = False, *, kind: str
) -> Any:
    """A target or a prediction as a metric of this kind takes it."""
    example = example or {}
    options = [text.decode() for text in example.get("options", ())]
    if kind == "texts" and is_target:
        return [text.decode() for text in example["references"]]
    if kind == "label":
        return options.index(output) if output in options else -1
    if kind == "number":
        try:
            return float(output)
        except ValueError:
            return -1.0
    return output


def _postprocess_several(
    output: str,
    example: Mapping[str, Any] | None = None,
    is_target: bool = False,
    *,
    kinds: frozenset[str],
) -> Mapping[str, Any]:
    return {kind: _postprocess(output, example, is_target, kind=kind) for kind in kinds}


def _taking(kind: str, function: Function) -> Function:
    @functools.wraps(function)
    def taking(targets: Sequence[Any], predictions: Sequence[Any]) -> Mapping[str, Any]:
        return function([t[kind] for t in targets], [p[kind] for p in predictions])

    return taking
