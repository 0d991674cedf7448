"""Offline bulk load: a corpus directly into segments, in bounded memory, resumable at every segment.

The load reads the corpus in batches of a fixed size: it checks the lines, drops duplicates, encodes, and adds the
documents to the current segment. A segment is closed when its vectors or texts reach a limit; the transaction that
lists it in the catalog also stores the number of lines read and the counts so far. Until the last segment is listed,
the catalog has the setting `load`, and the folder is refused as a collection. A load that was stopped resumes after its
last listed segment, splits the rest at the same lines, and produces the same collection.

BM25 needs the average document length before it can encode. If it is not given, a first pass over the corpus measures
it, and the catalog stores it permanently.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import EncoderError, StatisticsMissing
from lsr.corpora import Corpus, CorpusLine
from lsr.default_pipeline import defaults_for, vectors_for
from lsr.dense_vectors import NO_VECTORS, DenseVector, Vectors
from lsr.documents import Document
from lsr.errors import InputRefused, InvalidDocument
from lsr.metadata import MetadataSchema
from lsr.results import IndexReport
from lsr.storage import layout
from lsr.storage.catalog import Catalog
from lsr.storage.catalog_digest import write_digest
from lsr.storage.id_file import hash_ids
from lsr.storage.sample_queries import SampledTexts
from lsr.storage.segment import Segment
from lsr.storage.segment_writer import NewSegment, SegmentWriter
from lsr.vectors import NamedVector, VectorConfig
from lsr.writing.document_vectors import NewVectors, check_document, document_vectors, settle_vectors
from lsr.writing.load_folder import finished_report, start_load

BATCH_LINES = 1024  # encoded together; segments are cut between batches
SEGMENT_POSTINGS = 64_000_000  # 512 MB of term numbers and weights
SEGMENT_TEXT_BYTES = 1 << 30
SEGMENT_DENSE_BYTES = 512 << 20
SEGMENT_DOCUMENTS = 2_000_000

Progress = Callable[[str, int, int | None], None]
OnProblem = Callable[[int, InvalidDocument], None]
MakeVectors = Callable[[Mapping[str, NamedVector], Mapping[str, DenseVector], Sequence[Document]], NewVectors]


def index_corpus(
    corpus: Corpus,
    out: Path | str,
    *,
    encoder: str | None = None,
    vectors: Mapping[str, VectorConfig] | None = None,
    schema: Mapping[str, str] | None = None,
    search: Mapping[str, Any] | None = None,
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    on_problem: OnProblem | None = None,
) -> IndexReport:
    """Load a corpus into a new collection in folder `out`.

    encoder     short for the vectors that default_pipeline.py has for it; lsr-mini if neither is given
    schema      metadata fields to filter by
    search      the search defaults as JSON, checked; default: the default pipeline, if its vectors exist
    resume      continue an interrupted load of the same corpus; starts a new load if there is none
    device      where encoders run: auto, cpu, cuda, …
    threads     for building the index; None: all cores
    progress    called with (phase, done, total); phases "measuring", "indexing", "building"; unit: corpus.unit
    on_problem  called with (line number, error) for each line that is skipped

    Of several lines with the same id the first is kept; the others are such errors. Raises CollectionExists,
    CollectionLocked, StorageFull, EncoderError, CorpusUnreadable, CorpusDamaged. After any error or interruption
    `resume` can finish the load. Only an encoder that fails, or an InputRefused of `on_problem`, before the first
    segment leaves no folder.
    """
    configs = dict(vectors) if vectors is not None else vectors_for(encoder)
    declared = MetadataSchema(schema)
    declared.check_size()
    return load_corpus(
        corpus,
        Path(out),
        configs,
        declared,
        search=search or defaults_for(configs),
        resume=resume,
        device=device,
        threads=threads,
        progress=progress,
        on_problem=on_problem,
    )


def load_corpus(
    corpus: Corpus,
    folder: Path,
    configs: Mapping[str, VectorConfig],
    schema: MetadataSchema,
    *,
    search: Mapping[str, Any] | None,
    resume: bool,
    device: str,
    threads: int | None,
    progress: Progress | None = None,
    on_problem: OnProblem | None = None,
    kept: Vectors = NO_VECTORS,
    make_vectors: MakeVectors = document_vectors,
) -> IndexReport:
    """Load as `index_corpus` does; all of `configs` are given.

    kept          vectors of another collection that are taken over, with settings, fingerprints and dictionaries
    make_vectors  returns the vectors of some documents, a row for each
    """
    started = time.perf_counter()
    finished = finished_report(folder, corpus, resume)
    if finished is not None:
        return finished
    was_there, continued = folder.exists(), layout.is_collection(folder)
    catalog, lock = start_load(folder, corpus, configs, schema, resume, device, search, kept)
    useless = False
    try:
        load = _Load(folder, catalog, corpus, device, threads, progress, on_problem, make_vectors)
        load.measure({name for name in configs if name not in kept.sparse})
        report = load.run()
    except (EncoderError, InputRefused):
        useless = not continued and not catalog.segments()
        raise
    finally:
        catalog.close()
        write_digest(folder)
        lock.release()
        if useless:
            layout.remove_files(folder, folder_too=not was_there)
    return IndexReport(**{**asdict(report), "seconds": time.perf_counter() - started})


class _Load:
    """One run of a load, from the position in the catalog to the end."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        corpus: Corpus,
        device: str,
        threads: int | None,
        progress: Progress | None,
        on_problem: OnProblem | None,
        make_vectors: MakeVectors,
    ) -> None:
        contents = layout.read_contents(catalog)
        self._folder = folder
        self._catalog = catalog
        self._corpus = corpus
        self._threads = threads
        self._progress = progress or _ignore
        self._on_problem = on_problem or _ignore
        self._make_vectors = make_vectors
        self._schema = contents.schema
        self._vectors = contents.vectors
        self._dense = contents.dense
        self._shape = layout.shape_of(contents)
        layout.run_on(device, self._vectors, self._dense)
        self._load = dict(contents.load or {})
        rows = catalog.segments()
        layout.remove_leftovers(folder, [row.uuid for row in rows])
        self._segments = [Segment(folder, row, self._shape) for row in rows]
        self._report = IndexReport(**self._load["report"])
        self._counts = {key: int(value) for key, value in asdict(self._report).items() if key != "seconds"}
        self._ids: set[str] = set()  # of the current segment
        self._sampled = SampledTexts()  # of the current segment

    def measure(self, names: Container[str]) -> None:
        """Fix the average document length of each BM25 vector of `names` that has none, in one pass over the corpus."""
        for name, vector in self._vectors.items():
            if name not in names or not vector.needs_average_length:
                continue
            try:
                vector.measure(self._texts(vector.name))
            except StatisticsMissing:
                continue  # no text at all: the first document with a text will fix it
            with self._catalog.transaction() as change:
                change.set_setting("vectors", {name: v.setting() for name, v in self._vectors.items()})

    def run(self) -> IndexReport:
        """Read the corpus from the first line that is in no segment."""
        lines = iter(self._corpus)
        for _ in islice(lines, self._counts["lines"]):
            pass
        writer = self._new_writer()
        try:
            while batch := list(islice(lines, BATCH_LINES)):
                self._add(writer, batch)
                self._progress("indexing", self._corpus.position, self._corpus.size)
                if _is_full(writer):
                    self._close_segment(writer, last=False)
                    writer = self._new_writer()
            self._close_segment(writer, last=True)
        except BaseException:
            writer.abandon()
            raise
        return IndexReport(**self._counts)

    def _texts(self, vector: str) -> Iterator[str]:
        for number, line in enumerate(self._corpus):
            if number % BATCH_LINES == 0:
                self._progress("measuring", self._corpus.position, self._corpus.size)
            document = line.content
            if isinstance(document, Document) and vector not in self._settled(document).vectors:
                text = document.full_text
                if text.strip():
                    yield text

    def _add(self, writer: SegmentWriter, batch: list[CorpusLine]) -> None:
        documents = self._good_documents(batch)
        self._counts["lines"] += len(batch)
        if not documents:
            return
        made = self._make_vectors(self._vectors, self._dense, documents)
        lengths = sum((np.diff(matrix.indptr) for matrix in made.sparse.values()), np.zeros(len(documents), np.int64))
        self._counts["empty"] += int((lengths == 0).sum())
        self._counts["accepted"] += len(documents)
        writer.add(documents, made.sparse, made.dense)
        self._sampled.add(documents)

    def _good_documents(self, batch: list[CorpusLine]) -> list[Document]:
        known = self._known([line.content.id for line in batch if isinstance(line.content, Document)])
        documents = []
        for line in batch:
            try:
                if isinstance(line.content, InvalidDocument):
                    raise line.content
                if line.content.id in self._ids or line.content.id in known:
                    raise InvalidDocument(
                        "duplicate_id",
                        f"the id {line.content.id!r} occurred before; the first document is kept",
                        field="id",
                    )
                document = self._settled(line.content)
                check_document(document, self._schema, self._vectors, self._dense)
            except InvalidDocument as error:
                self._counts["failed"] += 1
                self._on_problem(line.line_number, error)
            else:
                self._ids.add(document.id)
                documents.append(document)
        return documents

    def _settled(self, document: Document) -> Document:
        return settle_vectors(document, self._vectors, self._dense)

    def _known(self, ids: list[str]) -> set[str]:
        """Return the ids that an earlier segment has."""
        if not self._segments or not ids:
            return set()
        hashes = hash_ids(ids)
        found = np.zeros(len(ids), dtype=np.bool_)
        for segment in self._segments:
            found |= segment.find(ids, hashes) >= 0
        return {ids[at] for at in np.flatnonzero(found)}

    def _new_writer(self) -> SegmentWriter:
        self._ids.clear()
        self._sampled = SampledTexts()
        return SegmentWriter(NewSegment(self._folder, str(uuid.uuid4()), self._shape))

    def _close_segment(self, writer: SegmentWriter, *, last: bool) -> None:
        """Finish the segment and list it, together with the load's position."""
        if len(writer):
            self._progress("building", len(self._segments), None)
            finished = writer.finish(self._threads, self._sampled.encode(self._vectors))
            self._counts["segments"] += 1
        else:
            writer.abandon()
            finished = None
        state: dict[str, Any] = {**self._load, "report": {**self._counts, "seconds": 0.0}}
        new_tokens = {name: vector.new_tokens() for name, vector in self._vectors.items()}
        with self._catalog.transaction() as change:
            for name, vector in self._vectors.items():
                change.append_terms(name, vector.persisted_terms, new_tokens[name])
            change.set_setting("vectors", {name: vector.setting() for name, vector in self._vectors.items()})
            for key, setting in layout.dense_settings(self._dense).items():
                change.set_setting(key, setting)
            if finished is not None:
                number = change.add_segment(finished.uuid, finished.documents, finished.manifest_sha256)
            if last:
                change.remove_setting(layout.LOAD_SETTING)
                change.set_setting(layout.LOADED_SETTING, state)
            else:
                change.set_setting(layout.LOAD_SETTING, state)
        for name, vector in self._vectors.items():
            vector.persisted_terms += len(new_tokens[name])
        if finished is not None:
            self._segments.append(Segment(self._folder, finished.row(number), self._shape))


def _is_full(writer: SegmentWriter) -> bool:
    return (
        writer.postings >= SEGMENT_POSTINGS
        or writer.text_bytes >= SEGMENT_TEXT_BYTES
        or writer.dense_bytes >= SEGMENT_DENSE_BYTES
        or len(writer) >= SEGMENT_DOCUMENTS
    )


def _ignore(*_: object) -> None:
    """Replace a callback that was not given."""
