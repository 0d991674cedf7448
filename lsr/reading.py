"""`Reader`: everything that can be asked of a collection's documents; `Collection` adds what changes them.

All methods may be called from many threads. Each uses the generation that was current when it started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.encoder import CorpusStatistics, Encoder, Vocabulary
from encoders.models_extra import INSTALL
from index import SearchOptions, SearchParameters
from index.searching.calibration import Calibration
from lsr.documents import DEFAULT_VECTOR, Document, SparseInput
from lsr.errors import CollectionCorrupt, QueryError
from lsr.metadata import MetadataSchema
from lsr.results import CacheCounts, CollectionInfo, Damage, SampleInfo, SearchResult, VectorInfo
from lsr.search import listing, ranking, scanning
from lsr.search.answers import Answers
from lsr.search.defaults import SearchDefaults, defaults_of, parse_defaults
from lsr.search.filters import Filter
from lsr.search.plan import OnQuery, Searched
from lsr.search.request import Feedback, Query, RankingOptions, SearchKeywords, split_keywords
from lsr.search.suggestions import Suggested, Suggestions, sampled
from lsr.storage.index_info import index_info, largest_index
from lsr.storage.live_state import ReadState
from lsr.storage.sample_queries import spaced_texts
from lsr.storage.sizes import sizes_on_disk
from lsr.vectors import VectorConfig, vector_of


class Reader:
    """The documents of an open collection, or a part of them."""

    waits_for_others = False  # whether a search asks other processes

    def __init__(self, path: Path, name: str | None, answers: Answers) -> None:
        """Internal."""
        self.path = path
        self._name = name
        self._answers = answers
        self._suggestions: Suggestions | None = None

    @property
    def _state(self) -> ReadState:
        """The current state; a caller that needs two things of one moment reads it once."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What the collection is called: its folder's name, unless it was opened under another one."""
        return self._name or self.path.resolve().name

    @property
    def read_only(self) -> str | None:
        """Why nothing can be written here now; None where writes are accepted."""
        raise NotImplementedError

    @property
    def schema(self) -> MetadataSchema:
        """The metadata fields that filters can use."""
        return self._state.generation.schema

    @property
    def dense_names(self) -> tuple[str, ...]:
        """The names of the dense vectors."""
        return tuple(self._state.dense)

    @property
    def damage(self) -> tuple[Damage, ...]:
        """The damage that `scrub`, a merge or a search has found since the collection was opened."""
        return self._state.generation.damage

    def get(self, identifier: str) -> Document | None:
        """Return a document by its id, without its vectors; None if it does not exist.

        Raises CollectionCorrupt if it may be in a damaged segment.
        """
        place = self._state.generation.find(identifier)
        return None if place is None else place.document()

    def vector(self, identifier: str, using: str = DEFAULT_VECTOR) -> dict[str, float] | None:
        """Return a document's sparse vector by token; None if the document does not exist. Raises QueryError."""
        state = self._state
        vector = vector_of(state.vectors, using)
        place = state.generation.find(identifier)
        if place is None:
            return None
        term_ids, impacts = place.vector(vector.name)
        try:
            return dict(zip(vector.vocabulary.tokens(term_ids), impacts.tolist(), strict=True))
        except IndexError as error:
            raise CollectionCorrupt(self.path, f"document {identifier!r}: {error}") from error

    def dense_vector(self, identifier: str, using: str) -> NDArray[np.float32] | None:
        """Return a document's dense vector as it is kept, float32[dimensions], of length 1; zeros where it has none.

        None when the document does not exist. Raises QueryError for an unknown name.
        """
        state = self._state
        if using not in state.dense:
            known = ", ".join(sorted(state.dense)) or "none"
            raise QueryError(f"dense vector {using!r} does not exist; known: {known}", field="using")
        place = state.generation.find(identifier)
        if place is None:
            return None
        steps, scale = place.dense(using)
        return steps.astype(np.float32) * scale

    def search(
        self,
        query: Query,
        *,
        timeout_ms: float | None = None,
        scope: str = "",
        sampled: bool = True,
        **options: Unpack[SearchKeywords],
    ) -> SearchResult:
        """Return the best k documents, by descending score, then ascending id.

        query           a text, a sparse query, documents to be like (Like), or several lists (Fusion)
        using           rank by this vector alone, unrescored; without it a text is ranked by the collection's defaults
        k               how many hits
        rescore         a Rescore, or False to leave out the default one
        filter          metadata conditions, see filters.py; exact: k come back when k match
        must            words that a hit holds as written (Must)
        prf             feedback from the first hits (Feedback)
        facets, total   counts of metadata values (Facets); whether the matches are counted exactly
        sort            all matches by a metadata field instead of by score (Sort)
        boosts          numbers and dates of the metadata, added to the score (Boost, …)
        min_score       leave out hits below it
        group_by, collapse   one hit per value of a field (GroupBy); near-duplicates folded (Collapse)
        neighbours      words of the passages before and after each hit
        explain_terms   how many matched terms to show for each list of each hit
        cursor          True begins pages, a `next_cursor` goes on with them: the same query and options, any k
        timeout_ms      give up after this time, with SearchStopped; on_late="skip" leaves out late stages instead
        cache           False computes an answer that may be kept from before
        scope           answers are kept apart by it
        sampled         False leaves the query out of the sample that the collection may keep
        exact, recall, query_cut, heap_factor, n_knn   how thorough the first stages are, see index.SearchParameters

        The types are in lsr/search/request.py. Raises QueryError, UnknownField, SearchParameterError, VectorError,
        SearchStopped, EncoderMismatch, CursorGone.
        """
        ranking_options, parameters = split_keywords(options)
        on_query = self._on_query() if sampled else None
        return self._answers.search(
            self._searched_with(on_query), query, ranking_options, parameters, timeout_ms, scope
        )

    def _on_query(self) -> OnQuery | None:
        """Return what is to be called with each encoded query, None for nothing."""
        return None

    @property
    def search_defaults(self) -> SearchDefaults:
        """How a text is ranked that names no vector."""
        return defaults_of(self._state)

    @property
    def _searched(self) -> Searched:
        return self._searched_with(None)

    def _searched_with(self, on_query: OnQuery | None) -> Searched:
        state = self._state
        return Searched(
            state.generation,
            state.vectors,
            state.dense,
            defaults_of(state),
            self._answers.encodings,
            on_query=on_query,
        )

    def rank(
        self,
        queries: Sequence[str | SparseInput] | csr_array,
        *,
        using: str | None = None,
        pipeline: Mapping[str, Any] | Literal["default"] | None = None,
        prf: Feedback | None = None,
        k: int = 10,
        threads: int = 1,
        **options: Unpack[SearchOptions],
    ) -> list[tuple[list[str], NDArray[np.float32]]]:
        """Return (external ids, scores float32) of the best k documents of each query, without fetching documents.

        queries   texts, sparse queries, or a float32 csr_array [n, terms] in the collection's term numbers
        using     the vector that ranks; without it and without a pipeline the one called `default`
        pipeline  "default", or search defaults as JSON (see search/defaults.py): every query is a text, ranked as a
                  search ranks it; documents below the rescored ones may have a higher score than they have
        prf       feedback from the first hits; queries are texts or sparse queries

        `options` are those of `search`; exact is True if not given. Raises as `search` does, and QueryError for a
        pipeline whose rescoring no model can run here.
        """
        options.setdefault("exact", True)
        parameters = SearchParameters(**options)
        if pipeline is None and prf is None:
            searched = self._searched
            vector = vector_of(searched.vectors, using or DEFAULT_VECTOR)
            return ranking.rank(searched, vector, queries, k, parameters, threads)
        if pipeline is not None and using is not None:
            raise QueryError("using names one vector, and a pipeline its own: give one of them", field="using")
        wanted = RankingOptions(using=None if pipeline is not None else using or DEFAULT_VECTOR, k=k, prf=prf)
        searched = self._searched if pipeline is None else replace(self._searched, defaults=self.pipeline(pipeline))
        return ranking.rank_by_pipeline(searched, queries, wanted, parameters, threads)

    def pipeline(self, pipeline: Mapping[str, Any] | Literal["default"]) -> SearchDefaults:
        """Return search defaults given as JSON, checked against this collection; "default": its own. Raises
        QueryError."""
        state = self._state
        return defaults_of(state) if pipeline == "default" else parse_defaults(pipeline, state.vectors, state.dense)

    def candidates(
        self,
        texts: Sequence[str],
        *,
        using: Sequence[str],
        dense: str | None = None,
        depth: int = 100,
        **options: Unpack[SearchOptions],
    ) -> Iterator[ranking.Candidates]:
        """Yield for each text the best `depth` documents of each sparse vector in `using`, with all their scores.

        `dense` names a dense vector: every candidate's similarity is added. `options` as in `rank`. Raises QueryError,
        CollectionCorrupt.
        """
        options.setdefault("exact", True)
        return ranking.candidates(self._searched, texts, using, dense, depth, SearchParameters(**options))

    def scan(self, using: str = DEFAULT_VECTOR, *, dense: Sequence[str] = ()) -> Iterator[scanning.Scanned]:
        """Yield every live document with a vector of it: (document, term numbers int64, impacts float32).

        The dense vectors named in `dense` are in the document's `vectors`, where it has them. All of one moment,
        segment by segment and then what is pending, at bounded memory. Raises QueryError, and CollectionCorrupt where
        a segment was found damaged.
        """
        state = self._state
        for name in dense:
            if name not in state.dense:
                raise QueryError(f"dense vector {name!r} does not exist", field="dense")
        return scanning.scan(state.generation, vector_of(state.vectors, using), dense)

    def matching(self, filter: object) -> list[str]:  # noqa: A002 - the name users of search engines know
        """Return the ids of all documents that match a filter, in any order; raises QueryError, UnknownField."""
        generation = self._state.generation
        return list(generation.matching(Filter(filter, generation.schema)))

    def page(self, after: str | None = None, size: int = 100, *, filter: object = None) -> list[Document]:  # noqa: A002
        """Return the first `size` documents with an id above `after`, by ascending id, without their vectors.

        With the last id of a page as `after` the next one follows: documents that are not changed meanwhile neither
        repeat nor are left out. Raises QueryError, UnknownField, CollectionCorrupt.
        """
        generation = self._state.generation
        row_filter = None if filter is None else Filter(filter, generation.schema)
        return [place.document() for place in listing.page(generation, after, size, row_filter)]

    def sample_texts(self, count: int = 100) -> list[str]:
        """Return short texts of about `count` documents, evenly spaced: titles, or the first words of texts."""
        return spaced_texts(self._state.generation, count)

    def tokens(self, term_ids: Sequence[int] | NDArray[np.int64], using: str = DEFAULT_VECTOR) -> list[str]:
        """Return the tokens of term numbers; raises QueryError, IndexError for a number that was never assigned."""
        return vector_of(self._state.vectors, using).vocabulary.tokens(term_ids)

    def vocabulary(self, using: str = DEFAULT_VECTOR) -> Vocabulary:
        """Return the meaning of a sparse vector's term numbers; raises QueryError, EncoderMismatch."""
        return vector_of(self._state.vectors, using).vocabulary

    def info(self) -> CollectionInfo:
        """Return the collection's counts, sizes, vectors and schema."""
        state = self._state
        generation = state.generation
        return CollectionInfo(
            name=self.name,
            documents=generation.document_count,
            segments=len(generation.segments),
            pending=len(generation.pending),
            deleted=sum(len(view.dead) for view in generation.segments),
            stored=sizes_on_disk(self.path, state.dense),
            vectors={
                name: VectorInfo(
                    vector.config.encoder,
                    vector.fingerprint,
                    vector.term_count,
                    dtypes=vector.dtypes,
                    query_dtype=vector.query_dtype,
                    index=None if generation.is_part else index_info(generation, name, vector.config.index),
                )
                for name, vector in state.vectors.items()
            }
            | {
                name: VectorInfo(
                    dense.config.encoder,
                    dense.fingerprint,
                    kind="dense",
                    dimensions=dense.dims,
                    dtypes=dense.dtypes,
                    query_dtype=dense.query_dtype,
                )
                for name, dense in state.dense.items()
            },
            schema=dict(generation.schema.fields),
            seq=generation.seq,
            damage=generation.damage,
            search=defaults_of(state).to_json(),
            notes=self._notes(),
            read_only=self.read_only,
            query_sample=self.query_sample,
        )

    @property
    def query_sample(self) -> SampleInfo | None:
        """The sample of real queries that the collection keeps; None if it keeps none, or is not written here."""
        return None

    def _notes(self) -> tuple[str, ...]:
        rescore = self.search_defaults.rescore
        if rescore is None or self._state.dense[rescore.using].can_encode:
            return ()
        return (f"queries are not rescored by {rescore.using!r}, since no model can run here: {INSTALL}",)

    def suggest(self, prefix: str, size: int = 8) -> Suggested:
        """Return titles and words of the collection that continue `prefix`; without one, titles as example queries.

        See search/suggestions.py. The first call after a change reads a sample of the documents anew.
        Raises CollectionCorrupt.
        """
        generation = self._state.generation
        found = self._suggestions
        if found is None or found.seq != generation.seq:
            found = self._suggestions = Suggestions(generation.seq, sampled(generation))
        return found.complete(prefix, size)

    def recall_curve(self, using: str = DEFAULT_VECTOR) -> Calibration | None:
        """Return the measured recall and cost of the largest segment of a sparse vector; None where none is measured.

        Small segments and collections of flat impacts, such as BM25's, are searched exactly and have none.
        Raises QueryError.
        """
        state = self._state
        name = vector_of(state.vectors, using).name
        index = largest_index(state.generation, name)
        return None if index is None else index.calibration

    def statistics(self, using: str = DEFAULT_VECTOR) -> CorpusStatistics:
        """Return the current number of live documents and their document frequencies. Raises QueryError."""
        state = self._state
        return state.generation.statistics(vector_of(state.vectors, using).name)

    def encoder(self, using: str = DEFAULT_VECTOR) -> Encoder:
        """Return the encoder of a named vector; raises QueryError if it has none, EncoderMismatch."""
        encoder = self.find_encoder(using)
        if encoder is None:
            raise QueryError(f"the vector {using!r} has no encoder", field="using")
        return encoder

    def find_encoder(self, using: str = DEFAULT_VECTOR) -> Encoder | None:
        """Return the encoder of a named vector; None if its vectors are always ready-made.

        Raises QueryError for an unknown name, EncoderMismatch.
        """
        vector = vector_of(self._state.vectors, using)
        return None if vector.config.encoder is None else vector.encoder

    def cache_counts(self) -> CacheCounts:
        """Return what the caches of answers and encoded queries did since the collection was opened."""
        return self._answers.counts()

    def can_rescore(self, using: str) -> bool:
        """Whether a text can be rescored by this dense vector: it has an encoder, whose model can run here."""
        return self._state.dense[using].can_encode

    def looks_queries_up(self, using: str | None) -> bool:
        """Whether a text is ranked by `using` (None: by the defaults) without running a model."""
        if using is None:
            defaults = self.search_defaults
            if defaults.rescore is not None and self._state.dense[defaults.rescore.using].can_encode:
                return False
            return all(self.looks_queries_up(leg.using) for leg in defaults.queries)
        encoder = self.find_encoder(using)
        return encoder is None or encoder.looks_queries_up

    def vector_config(self, using: str) -> VectorConfig:
        """Return how a named vector is made, sparse or dense, with all settings in force (BM25's average length too).

        Loads the encoder, where there is one. Raises QueryError for an unknown name, EncoderMismatch.
        """
        state = self._state
        if using in state.dense:
            dense = state.dense[using]
            if dense.source is not None:
                _ = dense.encoder
            return replace(dense.config, dimensions=dense.dims)
        vector = vector_of(state.vectors, using)
        _ = vector.vocabulary
        return replace(vector.config, settings=vector.setting()["settings"])
