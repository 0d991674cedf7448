"""The steps of `lsr import`: copy a server's documents, choose the vectors, index the copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lsr.cli.arguments import stored_name
from lsr.cli.corpus_options import AUTO, ProblemLog, check_not_empty, guessed_schema
from lsr.cli.index import config_for_vectors, index_and_report
from lsr.cli.output import progress_bar, say
from lsr.cli.vector_options import dense_for_vectors

if TYPE_CHECKING:
    from lsr.corpora import Corpus, Fields
    from lsr.errors import ExitCode, InvalidDocument
    from lsr.exchange.import_copy import ImportCopy
    from lsr.exchange.servers import Access, RemoteCollection, RemoteVectors
    from lsr.vectors import VectorConfig

OPTION = "--vector"
_NONE = "none"


@dataclass(frozen=True)
class ImportOptions:
    """The options of `lsr import`; `schema` is JSON, "auto" or None."""

    source: str
    out: Path
    vector: str | None
    encoder: str | None
    settings: Mapping[str, Any]
    terms: Path | None
    weights: str
    fields: Fields
    schema: Mapping[str, Any] | str | None
    resume: bool
    strict: bool
    threads: int | None
    as_json: bool


def import_file(options: ImportOptions) -> ExitCode:
    """Import a file or folder: vectors where it has them, else texts to encode. Raises as `lsr index` does."""
    from lsr.corpora import brings_vectors, open_corpus
    from lsr.documents import DEFAULT_VECTOR

    if options.vector is not None or options.terms is not None:
        raise typer.BadParameter("is for servers", param_hint=OPTION if options.terms is None else "--terms")
    path = Path(options.source)
    lines = path.is_dir() and not _is_table_folder(path)
    lines = lines or any(path.name.removesuffix(end).endswith((".jsonl", ".json")) for end in (".gz", ".zst", ""))
    corpus = open_corpus(options.source, "vectors" if lines else "auto", fields=options.fields)
    check_not_empty(corpus, strict=options.strict)
    if brings_vectors(corpus):
        encoder = None if options.encoder is None else stored_name(options.encoder)
        config = _kept(config_for_vectors(corpus, encoder, options.settings), options)
        configs = {DEFAULT_VECTOR: config, **dense_for_vectors(corpus)}
    else:
        configs = _encoded(options)
    return _index(corpus, options, configs, ProblemLog(corpus.name, strict=options.strict))


def import_remote(options: ImportOptions, access: Access) -> ExitCode:
    """Import a collection of a server; raises SourceFailed, CollectionExists, and as `lsr index` does."""
    from lsr.errors import CollectionExists
    from lsr.exchange.import_copy import ImportCopy
    from lsr.exchange.servers import open_remote
    from lsr.storage.layout import is_collection

    folder = options.out.with_name(f"{options.out.name}.import")
    if is_collection(options.out) and not folder.exists():
        raise CollectionExists(f"{options.out} is a collection already; choose another folder")
    remote = open_remote(options.source, access)
    try:
        names = vector_names(options.vector, remote.vectors)
        configs = _configs(options, names, remote.vectors)
        copy = ImportCopy(folder, options.source, _deciding(options, names), resume=options.resume)
        problems = ImportProblems(options.source, strict=options.strict)
        if not copy.complete:
            _fill(copy, remote, options, names, problems)
    finally:
        remote.close()
    problems.count = max(problems.count, copy.refused)  # those of an interrupted run too
    corpus = copy.corpus()
    problems.id_of = corpus.id_of
    code = _index(corpus, options, configs, problems)
    copy.remove()
    return code


def vector_names(text: str | None, vectors: RemoteVectors) -> dict[str, str]:
    """Return the wanted vectors, the server's name -> ours; raises typer.BadParameter, QueryError.

    Without a choice all of them, a dense one under its own name, the only sparse one as `default`.
    """
    from lsr.documents import DEFAULT_VECTOR
    from lsr.vectors import check_vector_name

    if text == _NONE:
        return {}
    known = (*vectors.sparse, *vectors.dense)
    chosen = dict.fromkeys(known, "")
    if text is not None:
        chosen = {name.strip(): ours.strip() for name, _, ours in (part.partition("=") for part in text.split(","))}
    unknown = [name for name in chosen if name not in known]
    if unknown:
        found = f"its vectors are {', '.join(known)}" if known else "it has no vectors"
        raise typer.BadParameter(f"no vector field is named {unknown[0]}; {found}", param_hint=OPTION)
    sparse = [name for name in chosen if name in vectors.sparse]
    if len(sparse) == 1 and not chosen[sparse[0]]:
        chosen[sparse[0]] = DEFAULT_VECTOR
    names = {name: check_vector_name(ours or name) for name, ours in chosen.items()}
    if len(set(names.values())) < len(names):
        raise typer.BadParameter("two vectors have one name: give FIELD=NAME", param_hint=OPTION)
    return names


class ImportProblems(ProblemLog):
    """Names documents by their ids: a reader knows the server's documents, not the lines of the copy."""

    def __init__(self, corpus_name: str, *, strict: bool = False) -> None:
        super().__init__(corpus_name, strict=strict)
        self.id_of: Any = lambda _: None
        self._refused_id: str | None = None

    def refuse(self, number: int, identifier: str, error: InvalidDocument) -> None:
        """Report a document that does not become one of ours; raises InputRefused as `add` does."""
        self._refused_id = identifier
        self.add(number, error)
        self._refused_id = None

    def place(self, line_number: int) -> str:
        """Return how a document is named in messages."""
        identifier = self._refused_id or self.id_of(line_number)
        return f"{self.name}: document {identifier!r}" if identifier is not None else super().place(line_number)


def _fill(
    copy: ImportCopy,
    remote: RemoteCollection,
    options: ImportOptions,
    names: Mapping[str, str],
    problems: ImportProblems,
) -> None:
    from lsr.errors import PositionExpired
    from lsr.exchange.remote_documents import remote_document
    from lsr.exchange.term_table import read_terms

    terms = None if options.terms is None else read_terms(options.terms).get
    with progress_bar() as progress:

        def fill() -> None:
            copy.fill(
                remote,
                list(names),
                lambda row: remote_document(row, options.fields, names, terms),
                lambda identifier, error: problems.refuse(copy.documents + copy.refused, identifier, error),
                None if progress is None else lambda done: progress("reading", done, remote.count),
            )

        try:
            if copy.documents:
                say(f"{copy.documents:,} documents were read before; reading goes on after them")
            fill()
        except PositionExpired as error:
            say(f"{error}: reading starts again")
            fill()


def _configs(options: ImportOptions, names: Mapping[str, str], vectors: RemoteVectors) -> dict[str, VectorConfig]:
    from lsr.vectors import VectorConfig

    encoder = None if options.encoder is None else stored_name(options.encoder)
    sparse = [ours for name, ours in names.items() if name in vectors.sparse]
    configs = {ours: _kept(VectorConfig(encoder, options.settings), options) for ours in sparse} or _encoded(options)
    for name, ours in names.items():
        if name in vectors.dense:
            configs[ours] = VectorConfig(None, dense=True, dimensions=vectors.dense[name])
    return configs


def _encoded(options: ImportOptions) -> dict[str, VectorConfig]:
    """Return the vectors of a source without sparse ones: its texts are encoded."""
    from lsr.default_pipeline import vectors_for
    from lsr.settings import load_settings

    return vectors_for(stored_name(load_settings({"encoder": options.encoder}).encoder), options.settings)


def _kept(config: VectorConfig, options: ImportOptions) -> VectorConfig:
    return replace(config, index=replace(config.index, impact_dtype=options.weights))


def _deciding(options: ImportOptions, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what decides how a document is read: an import continues with the same."""
    fields = options.fields
    metadata = list(fields.metadata) if isinstance(fields.metadata, tuple) else fields.metadata
    terms = None if options.terms is None else str(options.terms.resolve())
    chosen = {"id": fields.id, "title": fields.title, "text": list(fields.text), "metadata": metadata}
    return {"vectors": dict(names), "terms": terms, **chosen}


def _index(
    corpus: Corpus, options: ImportOptions, configs: Mapping[str, VectorConfig], problems: ProblemLog
) -> ExitCode:
    schema = guessed_schema(corpus) if options.schema == AUTO else options.schema
    return index_and_report(
        corpus,
        options.out,
        configs,
        schema=schema if isinstance(schema, Mapping) else None,
        resume=options.resume,
        threads=options.threads,
        strict=options.strict,
        as_json=options.as_json,
        problems=problems,
    )


def _is_table_folder(path: Path) -> bool:
    from lsr.corpora.tables import is_saved_dataset

    return is_saved_dataset(path) or any(path.glob("*.parquet")) or any(path.glob("corpus.jsonl*"))
