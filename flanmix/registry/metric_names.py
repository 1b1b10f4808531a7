"""The names of metrics that a card may list, as plain data.

The scorer (`evaluate/metrics.py`) has a function for every name here, and a task that is registered
with SeqIO carries t5's function of the same meaning, so that both report the same figures:

    METRICS["squad"] -> MetricName(t5="squad", reads="texts", primary="f1")
    T5_NAMES["squad"] -> "squad"                 # t5.evaluation.metrics.squad

`reads` says what t5's function takes as one target and one prediction:

    text    target: the first reference, a string; prediction: the text
    texts   target: all references, a list of strings; prediction: the text
    label   target: the answer's index among the options; prediction: its index, -1 for no option
    number  target: the reference as a float; prediction: a float, -1.0 for no number
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flanmix.errors import UserError, nearest


@dataclass(frozen=True)
class MetricName:
    """What is known of a metric without computing it.

    Attributes:
        t5: name of the function in `t5.evaluation.metrics`; `mean_multiclass_f1` is a maker that
            takes the number of classes first.
        reads: `text`, `texts`, `label` or `number`, see the module.
        primary: the key of the metric's result that stands for it in means; empty for a metric that
            is not a score from 0 to 100, which is never averaged over tasks.
    """

    t5: str
    reads: str
    primary: str


METRICS: Mapping[str, MetricName] = MappingProxyType(
    {
        "accuracy": MetricName("accuracy", "text", "accuracy"),
        "exact_match": MetricName("sequence_accuracy", "text", "exact_match"),
        "f1": MetricName("f1_score_with_invalid", "label", "f1"),
        "macro_f1": MetricName("mean_multiclass_f1", "label", "macro_f1"),
        "squad": MetricName("squad", "texts", "f1"),
        "trivia_qa": MetricName("trivia_qa", "texts", "em"),
        "rouge": MetricName("rouge", "text", "rougeLsum"),
        "bleu": MetricName("bleu", "text", "bleu"),
        "edit_distance": MetricName("edit_distance", "text", ""),
        "pearson": MetricName("pearson_corrcoef", "number", "pearson"),
        "spearman": MetricName("spearman_corrcoef", "number", "spearman"),
    }
)

T5_NAMES: Mapping[str, str] = MappingProxyType({name: m.t5 for name, m in METRICS.items()})


def check_metrics(names: Iterable[str], where: str) -> None:
    """Raises UserError for the first name that is no metric; `where` says who named it."""
    for name in names:
        if name not in METRICS:
            way_out = nearest(name, METRICS) or f"; known: {', '.join(METRICS)}"
            raise UserError(f"{where}: metric '{name}' is unknown{way_out}")


def primary_key(names: Iterable[str]) -> str:
    """Returns the result key that stands for a task: that of its first metric which has one."""
    return next((METRICS[name].primary for name in names if METRICS[name].primary), "")
