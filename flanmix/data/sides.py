"""From spans of text to two sides of ids: what a model reads, and what it learns to write.

    spans    "ask" (no loss), "answer" (loss)       ->  Inputs(ids of ask), Targets(ids of answer)
    a chat   <user> ask <end> <bot> answer <end>    ->  Inputs(<user> ask <end> <bot>),
                                                        Targets(ids of answer, end=<end>)

`flanmix.data.tokens` says how several turns become two sides, and truncates them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flanmix.data.chat.encoding import Encoded, encode_chats
from flanmix.data.render import TextExample
from flanmix.data.vocabulary import Vocabulary

_NOTHING = np.empty(0, np.int32)


class Inputs(NamedTuple):
    """What is read, before it is truncated.

    Attributes:
        ids: its ids, without EOS.
        content: which of them may be left out, since a message says them; None for all.
        separator: ids that stand behind it, where there is anything; a chat brings its own.
    """

    ids: np.ndarray
    content: np.ndarray | None = None
    separator: np.ndarray = _NOTHING


class Targets(NamedTuple):
    """What is written, before it is truncated.

    Attributes:
        ids: its ids, without EOS or what ends it instead.
        has_loss: which of them have loss; None for all.
        end: the id that ends it; None for EOS.
    """

    ids: np.ndarray
    has_loss: np.ndarray | None = None
    end: int | None = None


def two_sides(
    examples: Sequence[TextExample],
    vocabulary: Vocabulary,
    two_sided: bool,
    separator: np.ndarray = _NOTHING,
) -> list[tuple[Inputs, Targets]]:
    """Encodes rendered examples, and divides each into what is read and what is written.

    Args:
        examples: rendered examples.
        vocabulary: the vocabulary.
        two_sided: whether the model is an encoder-decoder.
        separator: ids between inputs and targets, where no chat template says what is there.
    """
    plain = [span.text for e in examples if not e.chat for span in e.spans]
    texts = list(dict.fromkeys(plain))  # the options of a question have its inputs in common
    ids = dict(zip(texts, vocabulary.encode_batch(texts), strict=True))
    chats = iter(encode_chats([e.spans for e in examples if e.chat], vocabulary))
    sides = []
    for example in examples:
        if example.chat:
            sides.append(_sides_of_chat(next(chats), two_sided))
        else:
            spans = [(ids[span.text], span.has_loss) for span in example.spans]
            inputs, targets, has_loss = _divided(spans, two_sided, separator)
            sides.append((Inputs(inputs, None, separator), Targets(targets, has_loss)))
    return sides


def _sides_of_chat(spans: Sequence[Encoded], two_sided: bool) -> tuple[Inputs, Targets]:
    """The two sides of a conversation in a chat template; its end token is no part of them."""
    both = [(span.ids, span.has_loss) for span in spans]
    ids, targets, has_loss = _divided(both, two_sided, _NOTHING)
    content = np.concatenate([np.full(len(span.ids), span.content) for span in spans])
    inputs = Inputs(ids, content[: len(ids)])
    last = next((s for s in reversed(spans) if s.has_loss and len(s.ids)), None)
    if last is None or not last.control:
        return inputs, Targets(targets, has_loss)
    return inputs, Targets(
        targets[:-1], None if has_loss is None else has_loss[:-1], int(targets[-1])
    )


def _divided(
    spans: Sequence[tuple[np.ndarray, bool]], two_sided: bool, separator: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Divides spans of ids into inputs and targets; (inputs, targets, which targets have loss).

    None stands for all of the targets. A separator is put before later turns with loss, not between
    inputs and targets: what is truncated there stands before it.
    """
    if not any(has_loss and len(ids) for ids, has_loss in spans):  # to be written is EOS alone
        first = next(number for number, (_, has_loss) in enumerate(spans) if has_loss)
        return _joined([ids for ids, _ in spans[:first]]), _joined([]), None
    spans = [span for span in spans if len(span[0])]
    losses = [has_loss for _, has_loss in spans]
    last = len(losses) - 1 - losses[::-1].index(True)
    first = losses.index(True)
    if two_sided:
        first = last
        while first and losses[first - 1]:
            first -= 1
    inputs = _joined([ids for ids, _ in spans[:first]])
    if all(losses[first : last + 1]):
        return inputs, _joined([ids for ids, _ in spans[first : last + 1]]), None
    written: list[tuple[np.ndarray, bool]] = []
    for number in range(first, last + 1):
        if number > first and losses[number] and not losses[number - 1]:
            written.append((separator, False))
        written.append(spans[number])
    has_loss = np.concatenate([np.full(len(ids), loss) for ids, loss in written])
    return inputs, _joined([ids for ids, _ in written]), has_loss


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int32), *parts])
