"""Rankings of many queries by one sparse list, without documents: what evaluation and exports ask for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import SearchParameters
from lsr.documents import SparseInput
from lsr.search.query_vectors import QueryVector, encode_queries
from lsr.search.request import check_integer
from lsr.search.rows import RowSpace
from lsr.storage.generation import Generation
from lsr.vectors import NamedVector


def rank(
    generation: Generation,
    vector: NamedVector,
    queries: Sequence[str | SparseInput] | csr_array,
    k: int,
    parameters: SearchParameters,
    threads: int,
) -> list[tuple[list[str], NDArray[np.float32]]]:
    """Return (external ids, scores) of the best k of each query; see Collection.rank.

    Raises CollectionCorrupt where a segment was taken out, since a list has no place to say so.
    """
    check_integer("k", k, 1, None)
    generation.require_whole()
    encoded = encode_queries(vector, queries, generation.statistics(vector.name))

    space = RowSpace(generation)
    everything = space.everything()

    def one(query: QueryVector) -> tuple[list[str], NDArray[np.float32]]:
        found = space.search(vector.name, query, k, parameters, everything)
        return space.ids(found.rows), found.scores

    if threads == 1:
        return [one(query) for query in encoded]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, encoded))
