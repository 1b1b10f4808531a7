"""Logical streams: each packs rows by itself and can stop and go on anywhere.

Stream s of S takes samples s, s + S, s + 2S, ... It keeps a pool of pending examples, packs the
next row from it (`packing`), and fills it up again. Streams know nothing of hosts or of one
another, so rows do not depend on how many hosts there are.

The state is `i64[1 + POOL]`: how many samples the stream has taken, then the numbers (counted
within the stream) of those that are pending, oldest first, and -1 in the rest:

    taken 70, pending 64 and 67  ->  [70, 64, 67, -1, -1, ...]

A restored stream reads its pending samples again and goes on with the same rows, bit for bit.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np
from jaxtyping import Int64

from flanmix.data.examples import ExampleReader
from flanmix.data.packing import POOL, Features, choose_row, pack_row
from flanmix.data.tokens import Example
from flanmix.errors import UserError

# S: streams; K: STATE_WIDTH, numbers in a stream's state.

STATE_WIDTH = 1 + POOL
READ_AHEAD = 64


def new_states(streams: int) -> Int64[np.ndarray, "S K"]:
    """The state of each stream before its first row, i64[streams, STATE_WIDTH]."""
    states = np.full((streams, STATE_WIDTH), -1, np.int64)
    states[:, 0] = 0
    return states


class Stream(grain.IterDataset[Features]):
    """Rows of one logical stream, for ever.

    Args:
        reader: reads examples by sample number.
        number: this stream.
        streams: how many there are.
        pack: whether a row may hold several examples.
    """

    def __init__(self, reader: ExampleReader, number: int, streams: int, pack: bool) -> None:
        super().__init__()
        self.reader = reader
        self.number = number
        self.streams = streams
        self.pack = pack

    def __iter__(self) -> "StreamIterator":
        return StreamIterator(self)


class StreamIterator(grain.DatasetIterator[Features]):
    """Where a stream is: samples taken, and those of them that are pending."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream
        self._taken = 0
        self._pending: list[int] = []
        self._examples: dict[int, Example] = {}  # of the pending numbers
        self._ahead: deque[Example] = deque()  # read, not taken yet; no part of the state

    def __next__(self) -> Features:
        """Packs the next row; its arrays have no batch dimension."""
        self._fill_pool()
        reader = self._stream.reader
        lengths, start_id = reader.lengths, reader.vocabulary.start_id
        indices = [0]
        if self._stream.pack:
            kind = lengths.two_sided, start_id is not None
            sizes = [self._examples[number].size(*kind) for number in self._pending]
            indices = choose_row(np.array(sizes), lengths.row_capacity)
        taken = [self._pending[index] for index in indices]
        self._pending = [number for i, number in enumerate(self._pending) if i not in set(indices)]
        examples = [self._examples.pop(number) for number in taken]
        return pack_row(examples, lengths, start_id)

    def _fill_pool(self) -> None:
        if missing := [number for number in self._pending if number not in self._examples]:
            self._examples.update(zip(missing, self._read(missing), strict=True))
        size = POOL if self._stream.pack else 1
        while len(self._pending) < size:
            if not self._ahead:
                self._ahead.extend(self._read(range(self._taken, self._taken + READ_AHEAD)))
            self._examples[self._taken] = self._ahead.popleft()
            self._pending.append(self._taken)
            self._taken += 1

    def _read(self, numbers: Sequence[int]) -> list[Example]:
        stream = self._stream
        return stream.reader.read([stream.number + stream.streams * k for k in numbers])

    def get_state(self) -> dict[str, Any]:
        """The stream's state: `{"stream": i64[STATE_WIDTH]}`."""
        state = new_states(1)[0]
        state[0] = self._taken
        state[1 : 1 + len(self._pending)] = self._pending
        return {"stream": state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a state; its pending examples are read when the next row is asked for."""
        taken, *pending = (int(number) for number in state["stream"])
        self._taken = taken
        self._pending = [number for number in pending if number >= 0]
        self._examples = {}
        self._ahead.clear()


class HostRows(grain.IterDataset[Features]):
    """A host's part of each global batch: `rows` rows of each of its streams, in order.

    Args:
        streams: the host's streams.
        rows: rows that each gives to a batch.
    """

    def __init__(self, streams: list[Stream], rows: int) -> None:
        super().__init__(streams)
        self.streams = streams
        self.rows = rows

    def __iter__(self) -> "HostRowsIterator":
        return HostRowsIterator([iter(stream) for stream in self.streams], self.rows)


class HostRowsIterator(grain.DatasetIterator[Features]):
    """Stacks the streams' rows into arrays of [rows, length]."""

    def __init__(self, streams: list[StreamIterator], rows: int) -> None:
        super().__init__(streams)
        self._streams = streams
        self._rows = rows

    def __next__(self) -> Features:
        """The next batch of rows."""
        rows = [next(stream) for stream in self._streams for _ in range(self._rows)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def get_state(self) -> dict[str, Any]:
        """The streams' states: `{"streams": i64[streams, STATE_WIDTH]}`."""
        return {"streams": np.stack([s.get_state()["stream"] for s in self._streams])}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to the streams' states."""
        for stream, values in zip(self._streams, state["streams"], strict=True):
            stream.set_state({"stream": values})


def check_states(states: np.ndarray, streams: int) -> Int64[np.ndarray, "S K"]:
    """Checks that an array holds the states of all streams of this run.

    Args:
        states: what a checkpoint gave.
        streams: how many streams this run has.

    Raises:
        UserError: if it is of another number of streams, or damaged.
    """
    states = np.asarray(states)
    if (
        states.shape == (streams, STATE_WIDTH)
        and (states >= -1).all()
        and (states[:, 0] >= 0).all()
    ):
        return states.astype(np.int64)
    found = states.shape[0] if states.ndim == 2 else 0
    if found and found != streams and states.shape[1] == STATE_WIDTH:
        raise UserError(
            f"the checkpoint's data position is of {found} streams and this run has {streams}: "
            f"set STREAMS={found} (and the same BATCH_SIZE) to resume, or start in a new RUN_DIR"
        )
    raise UserError(
        f"the checkpoint's data position has shape {list(states.shape)}, expected "
        f"[{streams}, {STATE_WIDTH}]: it is damaged or of another version; use an older checkpoint"
    )
