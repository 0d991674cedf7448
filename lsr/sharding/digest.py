"""A digest of what a collection holds, in any order and however it is cut into segments.

Each document's fields and vectors are hashed; the hashes are added modulo 2**256. So two collections have the same
digest when they hold the same documents with the same vectors, and the digests of shards add up to that of the whole.
A collection's own terms are hashed by name, a model's by number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lsr.search.rows import RowSpace
from lsr.storage.generation import FoundDocument
from lsr.storage.live_state import open_to_read

_MODULUS = 1 << 256
_PIECE = 1024


def digest_of(folder: Path) -> str:
    """Return the digest of the live documents of the collection in `folder`, as 64 hexadecimal digits."""
    state = open_to_read(folder)
    try:
        space = RowSpace(state.generation)
        terms = {name: _bytes_of(vector.dictionary()) for name, vector in state.vectors.items()}
        total = 0
        rows = space.everything().rows(space)
        for first in range(0, len(rows), _PIECE):
            for place in space.places(rows[first : first + _PIECE]):
                total += _document(place, terms, tuple(state.dense))
        return f"{total % _MODULUS:064x}"
    finally:
        state.catalog.close()


def sum_of(digests: Iterable[str]) -> str:
    """Return the digest of several disjoint collections together."""
    return f"{sum(int(digest, 16) for digest in digests) % _MODULUS:064x}"


def _bytes_of(tokens: Sequence[str]) -> list[bytes]:
    return [f"{token}\0".encode(errors="surrogatepass") for token in tokens]


def _document(place: FoundDocument, sparse: Mapping[str, list[bytes]], dense: tuple[str, ...]) -> int:
    document = place.document()
    fields = [document.id, document.title, document.text, document.parent, dict(document.metadata)]
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode(errors="surrogatepass"))
    for name, tokens in sparse.items():
        term_ids, impacts = place.vector(name)
        digest.update(f"\0{name}\0".encode())
        if tokens:
            own = [tokens[number] for number in term_ids.tolist()]
            order = sorted(range(len(own)), key=own.__getitem__)
            digest.update(b"".join(own[at] for at in order))
            impacts = impacts[order]
        else:
            digest.update(term_ids.astype("<i8").tobytes())
        digest.update(impacts.astype("<f4").tobytes())
    for name in dense:
        steps, scale = place.dense(name)
        digest.update(f"\0{name}\0{float(scale)!r}\0".encode())
        digest.update(steps.tobytes())
    return int.from_bytes(digest.digest())
