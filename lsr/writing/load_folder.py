"""The folder of a bulk load: new, interrupted and resumed, or finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lsr.corpora import Corpus
from lsr.dense_vectors import NO_VECTORS, Vectors
from lsr.errors import CollectionExists, LsrError
from lsr.metadata import MetadataSchema
from lsr.results import IndexReport
from lsr.storage import layout
from lsr.storage.catalog import Catalog
from lsr.storage.catalog_digest import remove_digest
from lsr.storage.files import WriterLock
from lsr.vectors import VectorConfig


def finished_report(folder: Path, corpus: Corpus, resume: bool) -> IndexReport | None:
    """Return the report of a finished load of this corpus; None if there is none."""
    if not resume or not layout.is_collection(folder):
        return None
    catalog = layout.open_catalog(folder, "r")
    try:
        loaded = catalog.settings().get(layout.LOADED_SETTING)
    finally:
        catalog.close()
    if loaded is None or loaded["source"] is None or loaded["source"] != corpus.identity():
        return None
    return IndexReport(**loaded["report"])


def start_load(
    folder: Path,
    corpus: Corpus,
    configs: Mapping[str, VectorConfig],
    schema: MetadataSchema,
    resume: bool,
    device: str,
    search: Mapping[str, Any] | None = None,
    kept: Vectors = NO_VECTORS,
) -> tuple[Catalog, WriterLock]:
    """Open the unfinished load in `folder`, or create it.

    `search` are a new collection's search defaults; `kept` are vectors that it takes over from another one.
    """
    if layout.is_collection(folder):
        if not resume:
            raise CollectionExists(
                f"{folder} is a collection already; choose another folder, or resume an interrupted load with --resume"
            )
        lock = WriterLock(folder)
        catalog = layout.open_catalog(folder, "w")
        try:
            _check_same_load(folder, catalog, corpus, configs, schema)
            remove_digest(folder)
        except BaseException:
            catalog.close()
            lock.release()
            raise
        return catalog, lock
    load = {"source": corpus.identity(), "report": asdict(IndexReport())}
    extra = {layout.LOAD_SETTING: load, **({layout.SEARCH_SETTING: dict(search)} if search is not None else {})}
    return layout.create_files(folder, configs, schema, extra, device, kept)


def _check_same_load(
    folder: Path, catalog: Catalog, corpus: Corpus, configs: Mapping[str, VectorConfig], schema: MetadataSchema
) -> None:
    contents = layout.read_contents(catalog)
    if contents.load is None:
        raise CollectionExists(f"{folder} is a finished collection of another corpus; choose another folder")
    if corpus.identity() is None:
        raise LsrError(
            f"{corpus.name}: a load from an input that can be read only once cannot be resumed; remove {folder}"
        )
    if contents.load["source"] != corpus.identity():
        raise LsrError(f"{corpus.name} is not the input that {folder} was started with, or it has changed since")
    stored = {name: _kind(vector.config) for name, vector in contents.vectors.items()}
    stored |= {name: _kind(vector.config) for name, vector in contents.dense.items()}
    wanted = {name: _kind(config.located()) for name, config in configs.items()}
    if stored != wanted:
        raise LsrError(f"{folder} was started with the vectors {stored}, not {wanted}")
    for name, config in configs.items():
        vector = contents.vectors.get(name)
        started = vector.config.settings if vector is not None else contents.dense[name].config.settings
        for setting, value in config.settings.items():
            if started.get(setting) != value:
                raise LsrError(f"{folder} was started with {setting} = {started.get(setting)!r}, not {value!r}")
    for name, vector in contents.vectors.items():
        if vector.config.index != configs[name].index:
            old, new = vector.config.index.to_json(), configs[name].index.to_json()
            raise LsrError(f"{folder} was started with the index settings {old} of {name}, not {new}")
    before, now = dict(contents.schema.fields), dict(schema.fields)
    if before != now:
        raise LsrError(f"{folder} was started with the schema {before}, not {now}")


def _kind(config: VectorConfig) -> str | None:
    return f"dense:{config.encoder or ''}" if config.dense else config.encoder
