"""Rankings of many queries, for tools that evaluate: PyTerrier, beir, mteb.

Those tools sort by score, and break ties in ways of their own. So that they judge the service's own order, each score
is below the one before it: of equal scores, and only there, the later one is lowered by less than a millionth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lsr_client.client import Client
from lsr_client.models import Hit, SearchAnswer

MOST = 1000  # hits of a search
_STEP = 2.0**-22  # a float32, as trec_eval reads scores, has 24 bits
# Nobody waits for a single answer of an evaluation: a search may take as long as the service allows.
EVALUATION: Mapping[str, Any] = {"params": {"exact": True}, "timeout_ms": 60_000}


def answers(
    client: Client, collection: str, texts: Sequence[str], options: Mapping[str, Any], batch: int = 20
) -> Iterator[SearchAnswer]:
    """Yield the answer of each text in order, `batch` texts per request. A search is exact unless `params` differ."""
    common = {**EVALUATION, **options}
    for first in range(0, len(texts), batch):
        searches = [{"query": {"text": text}, **common} for text in texts[first : first + batch]]
        yield from client.search_many(collection, searches)


def descending(hits: Iterable[Hit]) -> Iterator[tuple[Hit, float]]:
    """Yield each hit with its score, or with a slightly lower one where it would not be below the score before."""
    previous: float | None = None
    for hit in hits:
        score = hit.score
        if previous is not None and score > (below := previous - abs(previous) * _STEP - 1e-12):
            score = below
        previous = score
        yield hit, score
