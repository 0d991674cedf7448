"""The targets of `lsr bench`: a file of vectors in a new index, with peers, or an existing collection."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from scipy.sparse import csr_array

from encoders.vocabulary import GrowingVocabulary
from eval.bench.brute_force import BruteForceTarget
from eval.bench.indexes import CollectionTarget, IndexTarget
from eval.bench.kannolo import KannoloTarget, NotBuilt
from eval.bench.qdrant import QdrantTarget
from eval.bench.seismic import SeismicBuild, SeismicTarget
from eval.bench.sindi import DOC_PRUNE_RATIOS, SindiTarget
from eval.bench.sweep import Target
from eval.bench.vectors import Truth, Vectors, as_matrix, read_rows, read_vectors
from lsr.collection import Collection
from lsr.corpora import holds_vectors, open_corpus
from lsr.documents import Document
from lsr.errors import QueryError
from lsr.storage.layout import is_collection

PEERS: Final = ("seismic", "sindi", "kannolo", "qdrant", "scipy")
SEISMIC_BUILDS: Final = (SeismicBuild(2000), SeismicBuild(4000))

_FEWEST_FOR_CALIBRATION: Final = 100


def open_targets(
    target: str,
    queries: str | None,
    *,
    depth: int,
    limit: int,
    using: str = "default",
    peers: Sequence[str] = (),
    builds: Path | None = None,
    seismic: Sequence[SeismicBuild] = SEISMIC_BUILDS,
    build_limit: float = 600.0,
    on_skipped: Callable[[str], None] | None = None,
) -> Iterator[Target]:
    """Yield the targets, one at a time, so that only one is in memory.

    depth         the largest k
    limit         at most this many queries are measured; the others, if enough, calibrate our recall targets
    builds        folder in which indexes are kept for later runs; None: a temporary folder
    on_skipped    called with the reason if a peer could not be built
    build_limit   seconds after which the build of a peer is stopped, because it may take hours

    Raises CorpusUnreadable, QueryError, and what a collection raises.
    """
    for peer in peers:
        if peer not in PEERS:
            raise QueryError(f"no peer {peer!r}; the peers are {', '.join(PEERS)}", field="peers")
    if is_collection(Path(target)):
        if peers:
            raise QueryError("peers need a file of vectors: lsr export DIR --to jsonl writes one", field="peers")
        if queries is None:
            raise QueryError("give queries: --queries FILE", field="queries")
        with Collection.open(Path(target)) as collection:
            yield CollectionTarget(collection, using, _collection_queries(collection, using, queries, limit))
        return
    everything = read_vectors(target, queries, 2 * limit)
    measured, held_out = _split(everything.queries, limit)
    vectors = Vectors(everything.documents, measured)
    truth = Truth(vectors, depth)
    with ExitStack() as stack:
        folder = builds
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lsr-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        makers: list[Callable[[], Target]] = [
            partial(IndexTarget, vectors, held_out, truth, folder, resident=resident) for resident in (True, False)
        ]
        if "seismic" in peers:
            makers += [partial(SeismicTarget, vectors, truth, folder, build) for build in seismic]
        if "sindi" in peers:
            makers += [partial(SindiTarget, vectors, truth, ratio) for ratio in DOC_PRUNE_RATIOS]
        if "kannolo" in peers:
            makers.append(partial(KannoloTarget, vectors, truth, folder, build_limit))
        if "qdrant" in peers:
            shard = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lsr-bench-")))
            makers.append(partial(QdrantTarget, vectors, truth, shard / "shard"))
        if "scipy" in peers:
            makers.append(partial(BruteForceTarget, vectors, truth))
        for make in makers:
            try:
                yield make()
            except NotBuilt as error:
                if on_skipped is not None:
                    on_skipped(str(error))


def _split(queries: csr_array, limit: int) -> tuple[csr_array, csr_array | None]:
    """Return (the queries to measure, the remaining queries for calibration, if enough)."""
    n = queries.shape[0]
    if n - limit < _FEWEST_FOR_CALIBRATION:
        return queries[: min(n, limit)], None
    return queries[:limit], queries[np.arange(limit, n)]


def _collection_queries(collection: Collection, using: str, queries: str, limit: int) -> csr_array:
    """Return the queries as vectors with the collection's term numbers, from vectors or texts."""
    encoder_name = collection.info().vectors[using].encoder if using in collection.info().vectors else None
    if encoder_name is None or holds_vectors(queries):
        vocabulary = GrowingVocabulary(collection.tokens(range(collection.info().vectors[using].terms), using))
        return as_matrix(read_rows(open_corpus(queries, "vectors"), vocabulary, limit), len(vocabulary))
    path = Path(queries) / "queries.jsonl" if Path(queries).is_dir() else Path(queries)
    texts = [line.content.full_text for line in open_corpus(str(path), "jsonl") if isinstance(line.content, Document)]
    return collection.encoder(using).encode_queries(texts[:limit], collection.statistics(using))
