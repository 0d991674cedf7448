"""Which shard a document belongs to: a hash of its external id, so that every process finds it without asking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsr.storage.id_file import hash_ids


def shards_of(ids: Sequence[str], count: int) -> NDArray[np.int64]:
    """Return the number of each id's shard among `count`, int64[len(ids)]: its 64-bit BLAKE2b hash modulo `count`."""
    return (hash_ids(ids) % np.uint64(count)).astype(np.int64)
