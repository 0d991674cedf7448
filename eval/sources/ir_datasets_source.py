"""Queries and judgements by ir-datasets id. ir_datasets downloads files at their first use.

It has many errors (a refused connection, a wrong checksum, a truncated file, a licence that must be accepted first);
all are raised as DatasetUnavailable, with the id and the reason. An interrupted download is not kept: the next attempt
starts again.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any

from eval.catalogue import nearest_names
from eval.errors import DatasetUnavailable, UnknownDataset
from eval.sources.queries import Query


def load(identifier: str) -> tuple[dict[str, Query], dict[str, dict[str, int]]]:
    """Return the queries and the judgements of an ir-datasets id.

    Raises UnknownDataset with the nearest names, and DatasetUnavailable if the files cannot be downloaded.
    """
    import ir_datasets  # takes a moment to import, and most evaluations read folders

    try:
        dataset = ir_datasets.load(identifier)
    except KeyError:
        known = tuple(str(name) for name in ir_datasets.registry._registered)
        near = nearest_names(identifier, known)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise UnknownDataset(
            f"{identifier!r} is neither a folder nor a known data set{hint}", field="dataset"
        ) from None
    if not dataset.has_queries() or not dataset.has_qrels():
        splits = [name for name in ir_datasets.registry._registered if str(name).startswith(f"{identifier}/")]
        hint = f"; its parts are {', '.join(splits)}" if splits else ""
        raise UnknownDataset(f"{identifier} has no queries with judgements{hint}", field="dataset")
    try:
        # ir_datasets prints its downloads to stdout, which is for results.
        with redirect_stdout(sys.stderr):
            queries = {query.query_id: Query(query.query_id, _text(query)) for query in dataset.queries_iter()}
            qrels: dict[str, dict[str, int]] = {}
            for judgement in dataset.qrels_iter():
                qrels.setdefault(judgement.query_id, {})[judgement.doc_id] = int(judgement.relevance)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise DatasetUnavailable(
            f"{identifier} could not be read or downloaded: {error}; run the command again with a network connection, "
            "or give the path of a BEIR folder"
        ) from error
    return queries, qrels


def _text(query: Any) -> str:
    """Return the query's main text: the field that ir_datasets chooses, if it chooses one."""
    return str(query.default_text()) if hasattr(query, "default_text") else str(query.text)
