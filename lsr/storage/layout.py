"""The paths of a collection's files and the meaning of its settings; shared by live and offline writers.

The settings in the catalog: `uuid` and `created`; `vectors` (see NamedVector.setting); `dense` (see
DenseVector.setting), only where there are dense vectors; `schema` (field -> type);
`load`, present only while an offline load is unfinished, and `loaded`, what a finished one was; `search`, the search
defaults; `recall_curves`, what was measured after a segment was written.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from index import IndexConfig
from lsr.dense_vectors import NO_VECTORS, DenseVector, Vectors, dense_from_settings, new_vectors
from lsr.errors import CollectionCorrupt, CollectionExists, CollectionNotFound, QueryError
from lsr.metadata import MetadataSchema
from lsr.storage.catalog import CATALOG_FILE, Catalog
from lsr.storage.files import LOCK_FILE, WriterLock, storage_errors, sync_file
from lsr.storage.segment import SEGMENTS_FOLDER, SegmentShape
from lsr.vectors import NamedVector, VectorConfig

DENSE_SETTING = "dense"
LOAD_SETTING = "load"
LOADED_SETTING = "loaded"
SCHEMA_SETTING = "schema"
SEARCH_SETTING = "search"
RECALL_SETTING = "recall_curves"  # see recall_curves.py


@dataclass(frozen=True)
class Contents:
    """A collection's settings, from its catalog. `load` is None unless an offline load is unfinished."""

    schema: MetadataSchema
    vectors: Mapping[str, NamedVector]
    dense: Mapping[str, DenseVector]
    format_version: int
    load: Mapping[str, Any] | None
    search: Any
    recall: Any = None  # curves that were measured after their segment was written, as they are stored


def is_collection(folder: Path) -> bool:
    """Whether the folder has a catalog."""
    return (folder / CATALOG_FILE).is_file()


def signature(folder: Path) -> tuple[int, ...]:
    """Return device and inode of the catalog, and what changes with its content; empty where it cannot be read."""
    try:
        found = (folder / CATALOG_FILE).stat()
        log = folder / f"{CATALOG_FILE}-wal"
        size = log.stat().st_size if log.exists() else 0
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, size


def create_files(
    folder: Path,
    vectors: Mapping[str, VectorConfig],
    schema: MetadataSchema,
    extra: Mapping[str, Any] | None = None,
    device: str = "auto",
    kept: Vectors = NO_VECTORS,
) -> tuple[Catalog, WriterLock]:
    """Create the folder of a new collection. It is a collection once its catalog has its final name.

    The lock is acquired before that, so that no process that watches the folder is faster; the caller releases it.

    `extra` are more settings; `device` is where the encoders run. The `vectors` in `kept` belong to another collection:
    they keep their settings, fingerprints and dictionaries, and their encoders are not loaded.

    Raises CollectionExists, QueryError, UnknownEncoder, SettingError, DeviceUnavailable, StorageFull.
    """
    for config in vectors.values():
        config.check()
    if is_collection(folder):
        raise CollectionExists(f"{folder} is a collection already")
    if folder.exists() and (not folder.is_dir() or any(not _leftover(path) for path in folder.iterdir())):
        raise CollectionExists(f"{folder} exists and is not empty; nothing was changed")
    named, dense = new_vectors(vectors, kept)
    run_on(device, named, dense)
    for name, vector in named.items():
        if name not in kept.sparse:
            _ = vector.vocabulary  # loads the encoder: an unknown one is refused before anything is written
    for name, dense_vector in dense.items():
        if name not in kept.dense and dense_vector.source is not None:
            _ = dense_vector.encoder
    settings = {
        "uuid": str(uuid.uuid4()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "vectors": {name: vector.setting() for name, vector in named.items()},
        **dense_settings(dense),
        SCHEMA_SETTING: dict(schema.fields),
        **(extra or {}),
    }
    # The catalog has a temporary name until it is complete, so that a killed creation leaves no partial catalog.
    temporary = folder / f"creating-{uuid.uuid4()}"
    existed = folder.exists()
    lock = None
    try:
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(folder)
            (folder / SEGMENTS_FOLDER).mkdir(exist_ok=True)
            temporary.mkdir()
            _create_catalog(temporary / CATALOG_FILE, settings, kept)
            sync_file(temporary / CATALOG_FILE)
            (temporary / CATALOG_FILE).rename(folder / CATALOG_FILE)
            shutil.rmtree(temporary)
            sync_file(folder)
            sync_file(folder.parent)
        return Catalog.open(folder / CATALOG_FILE, "w"), lock
    except BaseException:
        shutil.rmtree(temporary if existed else folder, ignore_errors=True)
        if lock is not None:
            lock.release()
        raise


def _create_catalog(path: Path, settings: dict[str, Any], kept: Vectors) -> None:
    catalog = Catalog.create(path, settings)
    try:
        growing = {name: vector.dictionary() for name, vector in kept.sparse.items()}
        if any(growing.values()):
            with catalog.transaction() as change:
                for name, tokens in growing.items():
                    change.append_terms(name, 0, tokens)
    finally:
        catalog.close()


def open_catalog(folder: Path, mode: Literal["r", "w"]) -> Catalog:
    """Open a collection's catalog; writing needs the writer's lock. Raises CollectionNotFound, CollectionCorrupt."""
    if not folder.exists():
        raise CollectionNotFound(f"{folder}: no such folder")
    return Catalog.open(folder / CATALOG_FILE, mode)


def is_unfinished(folder: Path) -> bool:
    """Whether an offline load of this collection runs, or was interrupted. Reads only. Raises as `open_catalog`."""
    catalog = open_catalog(folder, "r")
    try:
        return LOAD_SETTING in catalog.settings()
    finally:
        catalog.close()


def read_contents(catalog: Catalog) -> Contents:
    """Read the settings; raises CollectionCorrupt."""
    settings = catalog.settings()
    try:
        schema = MetadataSchema(settings[SCHEMA_SETTING])
        vectors = {
            name: NamedVector.from_setting(name, setting, catalog.tokens(name))
            for name, setting in settings["vectors"].items()
        }
        dense = dense_from_settings(settings.get(DENSE_SETTING, {}), vectors)
    except (KeyError, TypeError, ValueError, QueryError) as error:
        raise CollectionCorrupt(catalog.path, f"table settings: {error!r}") from error
    return Contents(
        schema,
        vectors,
        dense,
        catalog.format_version,
        settings.get(LOAD_SETTING),
        settings.get(SEARCH_SETTING),
        settings.get(RECALL_SETTING),
    )


def shape_of(contents: Contents) -> SegmentShape:
    """Return what the files of a collection's segments depend on."""
    return SegmentShape(
        contents.schema,
        {name: vector.config.index for name, vector in contents.vectors.items()},
        {name: vector.dims for name, vector in contents.dense.items()},
        contents.format_version,
    )


def dense_settings(dense: Mapping[str, DenseVector]) -> dict[str, Any]:
    """Return the setting of the dense vectors, by its key; nothing where there are none."""
    return {DENSE_SETTING: {name: vector.setting() for name, vector in dense.items()}} if dense else {}


def run_on(device: str, vectors: Mapping[str, NamedVector], dense: Mapping[str, DenseVector]) -> None:
    """Say where the encoders run, before they are loaded."""
    for vector in vectors.values():
        vector.device = device
    for dense_vector in dense.values():
        if dense_vector.source is not None:
            dense_vector.source.device = device


def read_shape(catalog: Catalog) -> SegmentShape:
    """Read what the files of a collection's segments depend on."""
    settings = catalog.settings()
    try:
        return SegmentShape(
            MetadataSchema(settings[SCHEMA_SETTING]),
            {name: IndexConfig.from_json(setting["index"]) for name, setting in settings["vectors"].items()},
            {name: int(setting["dimensions"]) for name, setting in settings.get(DENSE_SETTING, {}).items()},
            catalog.format_version,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CollectionCorrupt(catalog.path, f"table settings: {error!r}") from error


def remove_leftovers(folder: Path, live: Sequence[str]) -> None:
    """Remove what a killed writer left: temporary files, and folders in segments/ that the catalog does not list."""
    others = (path for pattern in ("creating-*", "snapshots/taking-*", "*.writing") for path in folder.glob(pattern))
    for path in (*(folder / SEGMENTS_FOLDER).iterdir(), *others):
        if path.name in live:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_files(folder: Path, *, folder_too: bool) -> None:
    """Remove everything in the folder of a collection that nobody has open, and perhaps the folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if folder_too:
        folder.rmdir()


def _leftover(path: Path) -> bool:
    """Whether a file in a folder that is not a collection comes from a creation that was killed."""
    return path.name.startswith("creating-") or path.name == LOCK_FILE or _is_empty_segments(path)


def _is_empty_segments(path: Path) -> bool:
    return path.name == SEGMENTS_FOLDER and not any(path.iterdir())
