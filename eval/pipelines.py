"""A collection that is ranked by a pipeline, or with feedback, as a system to evaluate.

A pipeline is the JSON of search defaults (lsr/search/defaults.py): lists, fusion, rescoring. A figure is a figure of
one pipeline on one set of vectors, so the settings of a result hold all of it. Queries are texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.errors import DatasetMismatch, InputFileError
from eval.ranking import Ranking
from eval.sources.queries import Query
from eval.systems import Pipeline, SearchSettings, precision
from lsr.collection import Collection
from lsr.default_pipeline import vectors_for
from lsr.documents import SparseInput
from lsr.errors import InvalidJson
from lsr.results import VectorInfo
from lsr.search.defaults import SearchDefaults, parse_defaults, stored_defaults
from lsr.strict_json import loads


def read_pipeline(spec: str) -> Pipeline:
    """Return the pipeline that `default` or a JSON file names. Raises InputFileError for a file that holds none."""
    if spec == "default":
        return "default"
    path = Path(spec)
    try:
        value = loads(path.read_bytes())
    except OSError as error:
        raise InputFileError(path, f"cannot be read: {error.strerror or error}; or give `default`") from None
    except InvalidJson as error:
        raise InputFileError(path, str(error)) from None
    if not isinstance(value, dict):
        raise InputFileError(path, "a pipeline is a JSON object, as in `search` of GET /collections/NAME")
    return value


def pipeline_name(search: SearchDefaults, encoders: Mapping[str, str | None]) -> str:
    """Return what tables call a pipeline: its encoders in order, and whether a dense vector rescores.

    encoders  by named vector
    """
    names = " + ".join(dict.fromkeys(encoders.get(leg.using) or leg.using for leg in search.queries))
    return names if search.rescore is None else f"{names}, rescored"


def new_pipeline_name(encoder: str, settings: Mapping[str, Any], search: SearchSettings) -> str:
    """Return the name of a collection that is still to be made of `encoder`; raises QueryError for a bad pipeline."""
    vectors = vectors_for(encoder, settings)
    name = encoder
    if search.pipeline is not None:
        sparse = {name: config for name, config in vectors.items() if not config.dense}
        dense = {name: config for name, config in vectors.items() if config.dense}
        wanted = search.pipeline
        if wanted == "default":
            wanted = next(iter(stored_defaults(vectors).values()), {"queries": [{"using": "default"}]})
        name = pipeline_name(
            parse_defaults(wanted, sparse, dense), {name: one.encoder for name, one in vectors.items()}
        )
    return name + _feedback_name(search)


class PipelineSystem:
    """Ranks by a pipeline, or by one vector with feedback."""

    def __init__(self, collection: Collection, settings: SearchSettings, *, name: str | None = None) -> None:
        """Raises QueryError for a pipeline that the collection's vectors do not allow."""
        self._collection = collection
        self._search = settings
        self._name = name
        self._pipeline = None if settings.pipeline is None else collection.pipeline(settings.pipeline)

    @property
    def name(self) -> str:
        """The pipeline's name, unless another was given."""
        encoders = {name: vector.encoder for name, vector in self._collection.info().vectors.items()}
        if self._name is not None:
            return self._name
        if self._pipeline is None:
            return (encoders[self._search.using] or "vectors") + _feedback_name(self._search)
        return pipeline_name(self._pipeline, encoders) + _feedback_name(self._search)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The whole pipeline, the vectors that it reads with their encoders, and how the first stages search."""
        vectors = self._collection.info().vectors
        if self._pipeline is None:
            read = [self._search.using]
            ranked_by: dict[str, Any] = {"using": self._search.using}
        else:
            # Which answers of near queries are kept has no effect on a ranking.
            pipeline = {key: value for key, value in self._pipeline.to_json().items() if key != "cache"}
            read, ranked_by = [leg.using for leg in self._pipeline.queries], {"pipeline": pipeline}
            if self._pipeline.rescore is not None:
                read.append(self._pipeline.rescore.using)
        used = {name: _described(vectors[name]) for name in dict.fromkeys(read)}
        parameters = {key: value for key, value in self._search.parameters._asdict().items() if value is not None}
        prf = self._search.feedback
        return {**ranked_by, "vectors": used, **parameters, **({} if prf is None else {"feedback": asdict(prf)})}

    def rank(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        """Search for a batch of queries. Raises DatasetMismatch for a query without a text where one is needed."""
        inputs = [self._input(query) for query in queries]
        ranked = self._collection.rank(inputs, k=k, **self._search.rank_keywords())
        for query, (doc_ids, scores) in zip(queries, ranked, strict=True):
            yield Ranking(query.id, doc_ids, descending(doc_ids, scores))

    def _input(self, query: Query) -> str | SparseInput:
        if query.sparse is None:
            return query.text
        if self._pipeline is None:
            return query.sparse
        if not query.text:
            raise DatasetMismatch(f"query {query.id!r} has no text, and a pipeline reads texts", field="dataset")
        return query.text


def descending(doc_ids: Sequence[str], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return scores, float64[n], that keep the order of `doc_ids` when they are sorted.

    A document below the rescored ones may have a higher score than the last of them: then it and all after it are
    shifted down, so that it is 1 below that. Other scores stay as they are.
    """
    found = scores.astype(np.float64)
    rises = np.diff(found, prepend=found[:1])
    tied = np.flatnonzero(rises[1:] == 0) + 1
    wrong = rises > 0
    wrong[tied] = [doc_ids[at] < doc_ids[at - 1] for at in tied.tolist()]
    shifts: NDArray[np.float64] = np.cumsum(np.where(wrong, np.maximum(rises, 0.0) + 1.0, 0.0))
    return found - shifts


def _described(vector: VectorInfo) -> dict[str, Any]:
    """Return the encoder of a vector, and the precision that its model computed in."""
    made = {"encoder": vector.encoder, "fingerprint": vector.fingerprint, **precision(vector)}
    return {**made, "dimensions": vector.dimensions} if vector.kind == "dense" else made


def _feedback_name(search: SearchSettings) -> str:
    return "" if search.feedback is None else f", feedback {search.feedback.when}"
