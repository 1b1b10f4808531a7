"""The identity of a batch: a hash of what it holds, the same for any number of hosts.

batch_hash({"encoder_input_tokens": i32[32, 128], ...})        -> "9f2c1b0e5a7d4c38"
joined_hash([*row_digests(first_host), *row_digests(second)])  -> the same
"""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np


def row_digests(features: Mapping[str, np.ndarray]) -> list[bytes]:
    """A digest of each row of a batch, over all its features."""
    arrays = [np.ascontiguousarray(features[name]) for name in sorted(features)]
    names = "\x1f".join(sorted(features)).encode()
    digests = []
    for row in range(len(arrays[0])):
        digest = hashlib.blake2b(names, digest_size=16)
        for array in arrays:
            digest.update(array[row])
        digests.append(digest.digest())
    return digests


def joined_hash(digests: Iterable[bytes]) -> str:
    """The hash of a global batch from the digests of its rows, all hosts' in order."""
    return hashlib.blake2b(b"".join(digests), digest_size=8).hexdigest()


def batch_hash(features: Mapping[str, np.ndarray]) -> str:
    """The hash of a batch: of its rows' digests, in order."""
    return joined_hash(row_digests(features))
