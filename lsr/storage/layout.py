"""Where the files of a collection are, and what its settings mean; shared by live and offline writers.

The settings in the catalog: `uuid` and `created`; `vectors` (see NamedVector.setting); `schema` (field -> type);
`load`, present only while an offline load is unfinished, and `loaded`, what a finished one was.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from index import IndexConfig
from lsr.errors import CollectionCorrupt, CollectionExists, CollectionNotFound
from lsr.metadata import MetadataSchema
from lsr.storage.catalog import CATALOG_FILE, Catalog
from lsr.storage.files import storage_errors, sync_file
from lsr.storage.segment import SEGMENTS_FOLDER
from lsr.vectors import NamedVector, VectorConfig

LOAD_SETTING = "load"
LOADED_SETTING = "loaded"


@dataclass(frozen=True)
class Contents:
    """A collection's settings, read from its catalog. `load` is None unless an offline load is unfinished."""

    schema: MetadataSchema
    vectors: Mapping[str, NamedVector]
    load: Mapping[str, Any] | None


def is_collection(folder: Path) -> bool:
    """Whether the folder holds a catalog."""
    return (folder / CATALOG_FILE).is_file()


def create_files(
    folder: Path,
    vectors: Mapping[str, VectorConfig],
    schema: MetadataSchema,
    extra: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> Catalog:
    """Make the folder of a new collection; it is none before its catalog has its name.

    `extra` are more settings; `device` is where the encoders will run.

    Raises CollectionExists, UnknownEncoder, SettingError, DeviceUnavailable, StorageFull.
    """
    for config in vectors.values():
        config.check()
    if is_collection(folder):
        raise CollectionExists(f"{folder} is a collection already")
    if folder.exists() and (not folder.is_dir() or any(not _leftover(path) for path in folder.iterdir())):
        raise CollectionExists(f"{folder} is there already and is not empty; nothing was changed")
    named = {name: NamedVector(name, config.located()) for name, config in vectors.items()}
    for vector in named.values():
        vector.device = device
        _ = vector.vocabulary  # loads the encoder: an unknown one is refused before anything is written
    settings = {
        "uuid": str(uuid.uuid4()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "vectors": {name: vector.setting() for name, vector in named.items()},
        "schema": dict(schema.fields),
        **(extra or {}),
    }
    # Under another name until it is whole: a killed creation leaves no half catalog behind.
    temporary = folder / f"creating-{uuid.uuid4()}"
    was_there = folder.exists()
    try:
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / SEGMENTS_FOLDER).mkdir(exist_ok=True)
            temporary.mkdir()
            Catalog.create(temporary / CATALOG_FILE, settings).close()
            sync_file(temporary / CATALOG_FILE)
            (temporary / CATALOG_FILE).rename(folder / CATALOG_FILE)
            shutil.rmtree(temporary)
            sync_file(folder)
            sync_file(folder.parent)
    except BaseException:
        shutil.rmtree(temporary if was_there else folder, ignore_errors=True)
        raise
    return Catalog.open(folder / CATALOG_FILE, "w")


def open_catalog(folder: Path, mode: Literal["r", "w"]) -> Catalog:
    """Open the catalog of a collection, to write only under its lock; raises CollectionNotFound, CollectionCorrupt."""
    if not folder.exists():
        raise CollectionNotFound(f"{folder}: there is no such folder")
    return Catalog.open(folder / CATALOG_FILE, mode)


def read_contents(catalog: Catalog) -> Contents:
    """Read the settings; raises CollectionCorrupt."""
    settings = catalog.settings()
    try:
        schema = MetadataSchema(settings["schema"])
        vectors = {
            name: NamedVector.from_setting(name, setting, catalog.tokens(name))
            for name, setting in settings["vectors"].items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CollectionCorrupt(catalog.path, f"table settings: {error!r}") from error
    return Contents(schema, vectors, settings.get(LOAD_SETTING))


def read_shape(catalog: Catalog) -> tuple[MetadataSchema, dict[str, IndexConfig]]:
    """Read what a segment's files depend on: the metadata schema, and each named vector's index parameters."""
    settings = catalog.settings()
    try:
        indexes = {name: IndexConfig.from_json(setting["index"]) for name, setting in settings["vectors"].items()}
        return MetadataSchema(settings["schema"]), indexes
    except (KeyError, TypeError, ValueError) as error:
        raise CollectionCorrupt(catalog.path, f"table settings: {error!r}") from error


def remove_leftovers(folder: Path, live: Sequence[str]) -> None:
    """Remove what a killed writer left behind: every folder below segments/ that the catalog does not list."""
    for path in (*(folder / SEGMENTS_FOLDER).iterdir(), *folder.glob("creating-*"), *folder.glob("snapshots/taking-*")):
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


def size_on_disk(folder: Path) -> int:
    """Return the bytes of a collection's files; its snapshots, which share most of them, are not counted."""
    total = 0
    for parent, folders, names in os.walk(folder):
        if "snapshots" in folders:
            folders.remove("snapshots")
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size  # noqa: PTH116, PTH118 - called often
            except FileNotFoundError:
                continue  # removed by a merge in between
    return total


def _leftover(path: Path) -> bool:
    """Whether a file in a folder that is no collection comes from a creation that was killed."""
    return path.name.startswith("creating-") or (path.name == SEGMENTS_FOLDER and not any(path.iterdir()))
