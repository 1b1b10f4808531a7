r"""Which part of a rendered conversation the assistant has written, told by renderings alone.

    conversation  user "2 + 3?", assistant "5"
    rendered      <|im_start|>user\n2 + 3?<|im_end|>\n<|im_start|>assistant\n5<|im_end|>\n
    its turn                                                                 5<|im_end|>

A turn begins where the conversation before it ends, rendered with the generation prompt, and ends
with the first control token behind its content; where the template writes none there, with its
content. What stands behind the content is seen by rendering a probe, one character, in its place.

    by prefixes     the conversation up to the turn is how the whole one begins
    by difference   it is not, since the template renders earlier turns otherwise once others follow
                    (Qwen 3 leaves their thoughts out): then the whole conversation is rendered with
                    the probe instead of the turn, and all but the content has to be the same

A template that marks turns itself, with `{% generation %}`, is taken by its word; an end token that
it leaves outside is added, and what follows one inside is not the turn's. A turn that can't be
located exactly is refused.
"""

from collections.abc import Sequence
from datetime import datetime

from flanmix.data.chat.clock import DAY
from flanmix.data.chat.spellings import Spellings, unused
from flanmix.data.chat.template import ChatTemplate
from flanmix.errors import UserError
from flanmix.registry.record import Message

ASSISTANT = "assistant"


class Rendering:
    """One conversation in one template.

    Args:
        messages: the conversation.
        special_tokens: how the vocabulary's control tokens are spelled.
        template: the template.
        now: the day that the template is told, if it asks.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        special_tokens: Sequence[str],
        template: ChatTemplate,
        now: datetime = DAY,
    ) -> None:
        said = "".join([template.text, *template.tokens.values(), *(m.content for m in messages)])
        self.spellings = Spellings(special_tokens, said)
        self._probe, *marks = unused(5, said)[2:]
        self._marks = (marks[0], marks[1])
        self._template = template
        self._now = now
        self._messages = [
            {"role": message.role, "content": self.spellings.guarded(message.content)}
            for message in messages
        ]

    def text(self, upto: int | None = None, *, prompt: bool = False) -> str:
        """Returns the first messages as the template writes them, with guards.

        Args:
            upto: how many messages; None for all.
            prompt: whether it ends with the generation prompt.
        """
        return self._rendered(self._messages[:upto], prompt)

    def turns(self, whole: str) -> list[tuple[int, int]]:
        """Returns where in the rendered conversation the assistant's turns are.

        Args:
            whole: `text()`.

        Raises:
            UserError: a turn can't be located exactly.
        """
        if self._template.program.marks_turns:
            return self._marked(whole)
        numbers = [n for n, m in enumerate(self._messages) if m["role"] == ASSISTANT]
        return [self._by_prefixes(n, whole) or self._by_difference(n, whole) for n in numbers]

    def contents(self, whole: str, controls: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Returns where in the rendered conversation what messages say is found, as it goes.

        It decides what may be truncated. A short text may be found in the template's own words.

        Args:
            whole: the rendered conversation.
            controls: where its control tokens are; no content is looked for there.
        """
        found, position = [], 0
        for message in self._messages:
            content = message["content"].strip()
            start = whole.find(content, position) if content else -1
            while start >= 0 and any(a < start + len(content) and start < b for a, b in controls):
                start = whole.find(content, start + 1)
            if start >= 0:
                position = start + len(content)
                found.append((start, position))
        return found

    def _rendered(self, messages: list[dict[str, str]], prompt: bool) -> str:
        return self._template.render(messages, add_generation_prompt=prompt, now=self._now)

    def _probed(self, messages: list[dict[str, str]], number: int, prompt: bool) -> tuple[str, str]:
        """What stands before and behind a message's content."""
        probe = {**messages[number], "content": self._probe}
        text = self._rendered([*messages[:number], probe, *messages[number + 1 :]], prompt)
        before, found, behind = text.partition(self._probe)
        if not found or self._probe in behind:
            raise self._template.fault(
                f"it writes message {number} of a conversation {text.count(self._probe)} times"
            )
        return before, behind

    def _end(self, behind: str) -> int:
        """How much of what follows a turn's content is the turn's: up to its end token."""
        controls = self.spellings.controls(behind)
        return controls[0][1] if controls else 0

    def _by_prefixes(self, number: int, whole: str) -> tuple[int, int] | None:
        before, after = self.text(number, prompt=True), whole
        if number + 1 < len(self._messages):
            after = self.text(number + 1)
        if not (after.startswith(before) and whole.startswith(after)):
            return None
        _, behind = self._probed(self._messages[: number + 1], number, False)
        if not after.endswith(behind) or len(before) + len(behind) > len(after):
            return None
        return len(before), len(after) - len(behind) + self._end(behind)

    def _by_difference(self, number: int, whole: str) -> tuple[int, int]:
        header, rest = self._probed(self._messages, number, False)
        prompted, bare = self.text(number, prompt=True), self.text(number)
        opening, behind = self._probed(self._messages[: number + 1], number, False)
        end = self._end(behind)
        same = whole.startswith(header) and whole.endswith(rest)
        if same and prompted.startswith(bare) and rest.startswith(behind[:end]):
            prompt = prompted[len(bare) :]
            # What the template itself puts between the generation prompt and the content.
            leads = [opening[len(prompted) :]] if opening.startswith(prompted) else []
            for lead in (*leads, ""):
                if header.endswith(prompt + lead):
                    return len(header) - len(lead), len(whole) - len(rest) + end
        raise self._template.fault(
            f"message {number}, the assistant's, can't be told from what is around it: the "
            "template renders it otherwise once other messages follow; mark what the assistant "
            "writes with {% generation %}, in a copy that CHAT_TEMPLATE names"
        )

    def _marked(self, whole: str) -> list[tuple[int, int]]:
        opened, closed = self._marks
        text = self._template.render(self._messages, marks=self._marks, now=self._now)
        wanted = sum(message["role"] == ASSISTANT for message in self._messages)
        pieces = text.replace(closed, opened).split(opened)
        if (
            text.count(opened) != wanted
            or len(pieces) != 2 * wanted + 1
            or "".join(pieces) != whole
        ):
            raise self._template.fault(
                f"it marks {text.count(opened)} turns with {{% generation %}}, and the assistant "
                f"has {wanted}"
            )
        turns, start = [], 0
        for before, turn in zip(pieces[::2], pieces[1::2], strict=False):
            start += len(before)
            stop = start + len(turn)
            inside = self.spellings.controls(turn)
            if inside and not turn[inside[-1][1] :].strip():
                turns.append((start, start + inside[-1][1]))
            else:
                following = self.spellings.controls(whole[stop:])
                ends = following and following[0][0] == 0
                turns.append((start, stop + (following[0][1] if ends else 0)))
            start = stop
        return turns


def turn_end(special_tokens: Sequence[str], template: ChatTemplate) -> str | None:
    """Returns the control token that ends the assistant's turns; None if the template has none."""
    messages = [Message("user", "a"), Message(ASSISTANT, "b")]
    rendering = Rendering(messages, special_tokens, template)
    try:
        whole = rendering.text()
        _, stop = rendering.turns(whole)[0]
    except UserError:
        return None
    ends = [whole[a:b] for a, b in rendering.spellings.controls(whole) if b == stop]
    return ends[0] if ends else None
