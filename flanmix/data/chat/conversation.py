r"""A conversation as spans: the assistant's turns have loss, the template's tokens are control.

    render_chat([Message("user", "2 + 3?"), Message("assistant", "5")], vocabulary, template)
    -> Span("<|im_start|>", False, control=True), Span("user\n", False),
       Span("2 + 3?", False, content=True), Span("<|im_end|>", False, control=True),
       Span("\n", False), Span("<|im_start|>", False, control=True), Span("assistant\n", False),
       Span("5", True, content=True), Span("<|im_end|>", True, control=True), Span("\n", False)

A control span is one control token of the vocabulary. A token that begins every sequence of the
vocabulary (`start_id`) is left out where the template writes it too: rows begin with it anyway.
"""

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from flanmix.data.chat.clock import DAY
from flanmix.data.chat.encoding import encode_chats
from flanmix.data.chat.template import ChatTemplate
from flanmix.data.chat.turns import Rendering
from flanmix.data.render import Span
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.registry.record import ROLES, Message


def render_chat(
    messages: Sequence[Message | Mapping[str, str]],
    vocabulary: Vocabulary,
    template: ChatTemplate,
    *,
    add_generation_prompt: bool = False,
    now: datetime = DAY,
) -> list[Span]:
    """Renders a conversation.

    Args:
        messages: the turns, as messages or as mappings of `role` and `content`.
        vocabulary: whose control tokens the template may write.
        template: the model's chat template.
        add_generation_prompt: whether it ends with what comes before an assistant's turn. No span
            has loss then: it is a prompt.
        now: the day that the template is told, if it asks.

    Raises:
        UserError: the template fails, does not end or refuses the messages, or it can't be told
            what the assistant has written.
    """
    turns = [_message(number, message) for number, message in enumerate(messages)]
    if not turns:
        raise UserError("a conversation has at least one message")
    rendering = Rendering(turns, tuple(vocabulary.special_tokens), template, now)
    whole = rendering.text(prompt=add_generation_prompt)
    controls = rendering.spellings.controls(whole)
    losses = [] if add_generation_prompt else rendering.turns(whole)
    contents = rendering.contents(whole, controls)
    ranges = (*controls, *losses, *contents)
    edges = sorted({0, len(whole), *(edge for part in ranges for edge in part)})
    silent = {start for start, stop in losses if start == stop}  # nothing was said, and ends it
    at_control = {edge for part in controls for edge in range(*part)}
    spans = []
    for start, stop in itertools.pairwise(edges):
        if start in at_control and (start, stop) not in controls:
            raise template.fault("a control token reaches into what a message says")
        if start in silent:
            spans.append(Span("", has_loss=True, content=True))
        spans.append(
            Span(
                rendering.spellings.plain(whole[start:stop]),
                _within(start, losses),
                control=start in at_control,
                content=_within(start, contents),
            )
        )
    if len(whole) in silent:
        spans.append(Span("", has_loss=True, content=True))
    first = vocabulary.special_tokens[spans[0].text] if spans and spans[0].control else None
    return spans[1:] if first is not None and first == vocabulary.start_id else spans


def chat_ids(
    messages: Sequence[Message | Mapping[str, str]],
    vocabulary: Vocabulary,
    template: ChatTemplate,
    *,
    now: datetime = DAY,
) -> np.ndarray:
    """Returns the ids of a prompt that asks for the assistant's next turn; arguments as above.

    Without the token that begins every sequence (`Vocabulary.start_id`), which rows begin with.

    Raises:
        UserError: as `render_chat`.
    """
    spans = render_chat(messages, vocabulary, template, add_generation_prompt=True, now=now)
    (encoded,) = encode_chats([spans], vocabulary)
    return np.concatenate([np.empty(0, np.int32), *(span.ids for span in encoded)])


def _message(number: int, message: Message | Mapping[str, str]) -> Message:
    if isinstance(message, Message):
        return message
    role, content = message.get("role"), message.get("content")
    if role not in ROLES or not isinstance(content, str):
        raise UserError(
            f"message {number} of a conversation has no content or role: "
            f"a role is one of {', '.join(ROLES)}"
        )
    return Message(role, content)


def _within(position: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(start <= position < stop for start, stop in ranges)
