"""`reindex`: a collection's documents in a new collection, with vectors added, encoded again or left out.

The new collection holds what the old one held at the start. Vectors that stay are copied: impacts, int8 rows and term
numbers, so their scores stay the same to the last bit. Added ones are encoded from the stored title and text. The old
collection is only read. A run that was stopped goes on with `resume`, as an offline load does (writing/bulk_load.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from index import IndexConfig
from lsr.default_pipeline import defaults_for
from lsr.dense_vectors import Vectors
from lsr.documents import DEFAULT_VECTOR, Document
from lsr.errors import QueryError
from lsr.metadata import MetadataSchema
from lsr.results import IndexReport
from lsr.search.defaults import parse_defaults
from lsr.storage.live_state import LiveState, open_to_read
from lsr.storage.sample_queries import AT_LEAST
from lsr.storage.segment_fields import NewColumns
from lsr.vectors import VectorConfig, check_vector_name, with_index_settings
from lsr.writing.bulk_load import Progress, load_corpus
from lsr.writing.stored_corpus import StoredCorpus

PIPELINE: Final = "pipeline"


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """What a reindexing did. `without_text` counts the documents whose encoded vectors are empty for want of a text."""

    load: IndexReport
    copied: tuple[str, ...]
    encoded: tuple[str, ...]
    removed: tuple[str, ...]
    without_text: int
    seq: int  # the number of the old collection's last change when it was read

    def to_json(self) -> dict[str, Any]:
        """Return one flat JSON object."""
        parts = {"copied": self.copied, "encoded": self.encoded, "removed": self.removed}
        return {
            **asdict(self.load),
            **{name: list(part) for name, part in parts.items()},
            "without_text": self.without_text,
            "seq": self.seq,
        }


def reindex(
    source: Path | str,
    out: Path | str,
    *,
    add: Mapping[str, VectorConfig] | None = None,
    replace: Mapping[str, VectorConfig] | None = None,
    remove: Collection[str] = (),
    schema: Mapping[str, str] | None = None,
    search: Mapping[str, Any] | Literal["pipeline"] | None = None,
    index_settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> ReindexReport:
    """Put the documents of the collection `source` into a new collection in folder `out`.

    add       new named vectors, encoded from the stored texts
    replace   named vectors of the collection that are encoded again
    remove    named vectors that are left out; an added one may have such a name
    schema    the new metadata fields; None: those of the old collection. Every document must fit
    search    the new search defaults as JSON, "pipeline" for those of default_pipeline.py; None: the old ones, or where
              the old collection has none the pipeline if its vectors are there
    index_settings   build parameters of the index, see lsr.vectors.with_index_settings; the others stay as they are
    resume    go on with an interrupted run of the same collection, unchanged since; starts afresh when there is none
    device    where encoders run: auto, cpu, cuda, …
    threads   for building the index; None: all cores
    progress  called with (phase, done, total): "reading", and those of `index_corpus`

    BM25 measures its average length over all texts first. A document without a text has no vector of the encoded
    names. Raises QueryError for a name that exists or is missing, a vector without encoder, search defaults that name
    no vector, and documents without any text; what `index_corpus` raises, before anything is written where it can be
    known; EncoderMismatch where a copied vector's encoder, which also makes an added one, has changed.
    """
    state = open_to_read(Path(source))
    try:
        declared = state.schema if schema is None else _fitting_schema(state, schema)
        plan = _Plan(state, add or {}, replace or {}, remove, search, index_settings or {})
        without_text = plan.count_without_text(progress)
        if plan.corpus.size and plan.corpus.size >= AT_LEAST:
            _load_encoders(plan.kept)
        report = load_corpus(
            plan.corpus,
            Path(out),
            plan.configs,
            declared,
            search=plan.search,
            resume=resume,
            device=device,
            threads=threads,
            progress=progress,
            kept=plan.kept,
            make_vectors=plan.corpus.vectors,
        )
    finally:
        state.catalog.close()
    return ReindexReport(
        report,
        copied=tuple(sorted((*plan.kept.sparse, *plan.kept.dense))),
        encoded=tuple(sorted(plan.made)),
        removed=tuple(sorted(set(remove) - set(plan.made))),
        without_text=without_text,
        seq=state.generation.seq,
    )


def _fitting_schema(state: LiveState, schema: Mapping[str, str]) -> MetadataSchema:
    """Return the new schema; raises QueryError for a bad one, and for a document that does not fit."""
    wanted = MetadataSchema(schema)
    wanted.check_size()
    old = state.schema.fields
    columns = NewColumns({name: kind for name, kind in wanted.fields.items() if old.get(name) != kind})
    for view in state.generation.segments:
        columns.of_segment(view)
    for chunk in state.generation.pending.chunks:
        columns.of_chunk(chunk)
    columns.require_fit()
    return wanted


class _Plan:
    """What becomes of each vector of a collection, and of its search defaults. Checks everything but the encoders."""

    def __init__(
        self,
        state: LiveState,
        add: Mapping[str, VectorConfig],
        replace: Mapping[str, VectorConfig],
        remove: Collection[str],
        search: Mapping[str, Any] | str | None,
        index_settings: Mapping[str, Any],
    ) -> None:
        old = (*state.vectors, *state.dense)
        for field, names in (("using", replace), ("remove", remove)):
            for name in names:
                if name not in old:
                    raise QueryError(f"there is no vector {name!r}; there is {', '.join(sorted(old))}", field=field)
        gone = {*remove, *replace}
        self.made = {**replace, **add}
        for name, config in self.made.items():
            check_vector_name(name)
            if name in add and name in old and name not in remove:
                raise QueryError(f"there is a vector {name!r} already: choose another name, or remove it", field="add")
            if config.encoder is None:
                raise QueryError(f"vectors.{name}: an encoder is needed for the stored texts", field=f"vectors.{name}")
        kept = {name: vector for name, vector in state.vectors.items() if name not in gone}
        dense = {name: vector for name, vector in state.dense.items() if name not in gone}
        configs = {name: vector.config for part in (kept, dense) for name, vector in part.items()} | self.made
        self.configs: dict[str, VectorConfig] = with_index_settings(configs, index_settings, "index setting")
        self.made = {name: self.configs[name] for name in self.made}
        for name, vector in kept.items():
            _check_same_impacts(name, vector.config.index, self.configs[name].index)
            kept[name] = vector.with_index(self.configs[name].index)
        self.kept = Vectors(kept, dense)
        if all(config.dense for config in self.configs.values()):
            raise QueryError("a collection needs a sparse vector at least: no other one remains", field="remove")
        self.search = _search_defaults(state, self.configs, search)
        self.corpus = StoredCorpus(state, self.kept, list(self.made))

    def count_without_text(self, progress: Progress | None) -> int:
        """Return how many documents have no text; raises QueryError where that is all of them. 0 if none is needed."""
        if not self.made or not self.corpus.size:
            return 0
        count = 0
        for line in self.corpus:
            count += isinstance(line.content, Document) and not line.content.full_text.strip()
            if progress is not None and line.line_number % 1024 == 0:
                progress("reading", self.corpus.position, self.corpus.size)
        if count == self.corpus.size:
            raise QueryError(
                f"{self.corpus.name}: no document has a text that {', '.join(self.made)} could be encoded from",
                field="add",
            )
        return count


def _search_defaults(
    state: LiveState, configs: Mapping[str, VectorConfig], wanted: Mapping[str, Any] | str | None
) -> dict[str, Any] | None:
    sparse = {name: config for name, config in configs.items() if not config.dense}
    dense = {name: config for name, config in configs.items() if config.dense}
    if wanted is None and state.search is not None:
        try:
            return parse_defaults(state.search, sparse, dense).to_json()
        except QueryError as error:
            raise QueryError(
                f"the search defaults of the collection do not fit its new vectors: {error}; give others",
                field="search",
            ) from error
    pipeline = defaults_for(configs)
    if wanted is None:
        wanted = pipeline if pipeline is not None else _only_vector(state, sparse)
    elif isinstance(wanted, str):
        if wanted != PIPELINE:
            raise QueryError(f"search is an object or {PIPELINE!r}, not {wanted!r:.80}", field="search")
        if pipeline is None:
            raise QueryError(
                "the pipeline needs the vectors default=lsr-mini, bm25=bm25 and meaning=dense:lsr-mini; "
                f"there is {', '.join(sorted(configs))}",
                field="search",
            )
        wanted = pipeline
    return None if wanted is None else parse_defaults(wanted, sparse, dense).to_json()


def _check_same_impacts(name: str, old: IndexConfig, new: IndexConfig) -> None:
    """Raise QueryError for another type of the impacts that are copied: scores would change."""
    if old.impact_dtype != new.impact_dtype:
        raise QueryError(
            f"index setting {name}.impact_dtype: the impacts are copied as {old.impact_dtype}; "
            f"encode the vector again to store {new.impact_dtype}",
            field=f"{name}.impact_dtype",
        )


def _only_vector(state: LiveState, sparse: Mapping[str, VectorConfig]) -> Mapping[str, Any] | None:
    """Return search defaults for a collection whose only sparse vector had another name than "default".

    A text was ranked by that one; next to a second sparse vector it would have to be named.
    """
    if DEFAULT_VECTOR in sparse or len(state.vectors) != 1 or len(sparse) == 1:
        return None
    (only,) = state.vectors
    return {"queries": [{"using": only}]} if only in sparse else None


def _load_encoders(kept: Vectors) -> None:
    """Load the encoders of copied vectors whose segments measure recall targets: one that is missing shows now."""
    for vector in kept.sparse.values():
        if vector.config.encoder is not None:
            _ = vector.encoder
