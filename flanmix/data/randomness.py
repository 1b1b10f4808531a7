"""Randomness on the data side: a seed and the names of what is drawn make a number.

    fold(0, "rte", 3, 17)  ->  always the same 64-bit number

Nothing has a state, so every draw can be made again by itself, on any host and after any restart.
"""

import hashlib


def fold(seed: int, *values: int | str) -> int:
    """Folds numbers and texts into a seed; returns 64 bits, the same on every machine."""
    text = "\x1f".join((str(seed), *map(str, values)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def uniform(seed: int, *values: int | str) -> float:
    """A number from [0, 1) that the arguments decide."""
    return (fold(seed, *values) >> 11) * 2.0**-53
