r"""FORMAT = 'chat': what a task asks becomes a conversation, in training and in evaluation alike.

    chat = open_chat("models/smollm2", vocabulary, "causal", system="Be brief.")
    chat.example(TextExample.of_pair("2 + 3?", "5")).targets        -> "5<|im_end|>"

The inputs are the user's turn, exemplars and all, and the targets are the assistant's; a record
that has a conversation of its own keeps it, with loss on each of the assistant's turns. A decoder
reads it by its chat template. An encoder-decoder has none: its turns are joined by blank lines, the
last one of the assistant's is its targets, and what comes before it is its inputs.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from flanmix.data.chat.clock import DAY
from flanmix.data.chat.conversation import chat_ids, render_chat
from flanmix.data.chat.template import ChatTemplate, find_template
from flanmix.data.chat.turns import ASSISTANT, turn_end
from flanmix.data.render import Span, TextExample
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.registry.record import Message

PLAIN, CHAT = "plain", "chat"  # what DataConfig.format may be
_BETWEEN = "\n\n"  # of an encoder-decoder's turns


@dataclass(frozen=True)
class ChatFormat:
    """How a model is spoken to.

    Attributes:
        vocabulary: its vocabulary.
        template: its chat template; None for an encoder-decoder.
        system: what a conversation begins with that has no system message of its own.
    """

    vocabulary: Vocabulary
    template: ChatTemplate | None
    system: str | None = None

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end what a model writes: that of the template's end of a turn is the first."""
        ends = self.vocabulary.end_ids
        if self.template is None:
            return ends
        token = turn_end(tuple(self.vocabulary.special_tokens), self.template)
        own = () if token is None else (self.vocabulary.special_tokens[token],)
        return tuple(dict.fromkeys((*own, *ends)))

    def example(self, pair: TextExample) -> TextExample:
        """Returns an example as a conversation, all of whose assistant's turns have loss.

        Args:
            pair: the example in plain text; its record's conversation is taken where it has one.

        Raises:
            UserError: the template fails or refuses it, or nobody says anything in it that has
                loss.
        """
        messages = pair.messages or self.exchange(pair.inputs, pair.targets)
        return self._rendered(pair, messages)

    def answered(self, pair: TextExample, answer: str) -> TextExample:
        """Returns the conversation that asks for an answer, and has this one; it alone has loss.

        Args:
            pair: the example in plain text.
            answer: what the assistant says last.

        Raises:
            UserError: the template fails or refuses it.
        """
        asked = [*pair.messages]
        if asked and asked[-1].role == ASSISTANT:
            del asked[-1]
        messages = [*asked, Message(ASSISTANT, answer)] if asked else None
        example = self._rendered(pair, messages or self.exchange(pair.inputs, answer))
        last = max(number for number, span in enumerate(example.spans) if span.has_loss)
        first = last
        while first and example.spans[first - 1].has_loss:
            first -= 1
        spans = [
            span if number >= first else span._replace(has_loss=False)
            for number, span in enumerate(example.spans)
        ]
        return replace(example, spans=tuple(spans))

    def prompt_ids(self, messages: Sequence[Message], *, now: datetime = DAY) -> np.ndarray:
        """Returns the ids that ask for the assistant's next turn, however many they are.

        Args:
            messages: the conversation so far.
            now: the day that the template is told, if it asks.

        Raises:
            UserError: the template fails or refuses it.
        """
        messages = self.conversation(messages)
        if self.template is not None:
            return chat_ids(messages, self.vocabulary, self.template, now=now)
        text = "".join(span.text for span in _joined([*messages, Message(ASSISTANT, "")]))
        return np.array([*self.vocabulary.encode(text), self.vocabulary.eos_id], np.int32)

    def recorded(self) -> dict[str, Any]:
        """Returns what a run's record keeps of it, so that its checkpoints need no other file."""
        template = self.template
        if template is None:
            return {"system": self.system}
        return {"system": self.system, "template": template.text, "tokens": dict(template.tokens)}

    def digest(self) -> str:
        """Returns a hash of the template and of the tokens that it may put in."""
        text = json.dumps(self.recorded(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def conversation(self, messages: Sequence[Message]) -> list[Message]:
        """Returns the messages, with the system message where they have none."""
        if self.system is None or any(message.role == "system" for message in messages):
            return list(messages)
        return [Message("system", self.system), *messages]

    @staticmethod
    def exchange(inputs: str, targets: str) -> tuple[Message, Message]:
        """Returns what is asked and what is answered, as two messages."""
        return Message("user", inputs), Message(ASSISTANT, targets)

    def _rendered(self, pair: TextExample, messages: Sequence[Message]) -> TextExample:
        place = f"task '{pair.task}', record {pair.record}" if pair.task else "the prompt"
        if not any(message.role == ASSISTANT for message in messages):
            raise UserError(f"{place}: its conversation has no turn of the assistant's to learn")
        messages = self.conversation(messages)
        if self.template is None:
            return replace(pair, spans=_joined(messages))
        try:
            spans = render_chat(messages, self.vocabulary, self.template)
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        last = max(number for number, span in enumerate(spans) if span.has_loss)
        return replace(pair, spans=tuple(spans[: last + 1]), chat=True)  # the rest teaches nothing


def _joined(messages: Sequence[Message]) -> tuple[Span, ...]:
    """The turns as plain text; what is between two of them is not the assistant's."""
    spans = []
    for number, message in enumerate(messages):
        said = message.role == ASSISTANT
        if number and not (said and number == len(messages) - 1):
            spans.append(Span(_BETWEEN, False))
        spans.append(Span(message.content, said))
    return tuple(spans)


def recorded_chat(
    recorded: Mapping[str, Any] | None, vocabulary: Vocabulary, place: str
) -> ChatFormat | None:
    """Returns the chat format that a run's record keeps; None where it keeps none.

    Args:
        recorded: what `ChatFormat.recorded` returned.
        vocabulary: the vocabulary.
        place: where the record is, for messages.
    """
    if recorded is None:
        return None
    template = None
    if "template" in recorded:
        template = ChatTemplate(recorded["template"], recorded["tokens"], f"of {place}")
    return ChatFormat(vocabulary, template, recorded["system"])


def open_chat(
    vocabulary_name: str,
    vocabulary: Vocabulary,
    architecture: str,
    *,
    system: str | None = None,
    template: str | None = None,
) -> ChatFormat:
    """Returns the chat format of a model.

    Args:
        vocabulary_name: where the vocabulary is, and its chat template beside it.
        vocabulary: the vocabulary.
        architecture: the model's.
        system: the system message, if there is one.
        template: a file of Jinja to take instead of the vocabulary's own.

    Raises:
        UserError: a decoder has no template, or it can't render the shortest conversation.
    """
    if architecture == "encoder_decoder" and template is not None:
        raise UserError(
            "CHAT_TEMPLATE is of decoder-only models: an encoder-decoder reads the turns joined"
        )
    found = vocabulary_chat(vocabulary_name, vocabulary, architecture, template)
    if found is None:
        raise UserError(
            f"FORMAT is 'chat', and vocabulary '{vocabulary_name}' has no chat template: name a "
            "file of Jinja in CHAT_TEMPLATE, or train with FORMAT='plain'"
        )
    chat = replace(found, system=system)
    if chat.template is not None:  # an error now, and not at the first record
        render_chat(chat.conversation(chat.exchange("a", "b")), vocabulary, chat.template)
    return chat


def vocabulary_chat(
    name: str | os.PathLike[str],
    vocabulary: Vocabulary,
    architecture: str,
    template: str | None = None,
) -> ChatFormat | None:
    """Returns the chat format of a vocabulary; None if it has no template and needs one.

    Args:
        name: where the vocabulary is.
        vocabulary: the vocabulary.
        architecture: the model's.
        template: a file of Jinja to take instead of the vocabulary's own.

    Raises:
        UserError: the template is none, or can't be read.
    """
    if architecture == "encoder_decoder":
        return ChatFormat(vocabulary, None)
    found = find_template(str(name), template)
    if found is None:
        return None
    _ = found.program  # an error now, and not at the first record
    return ChatFormat(vocabulary, found)
