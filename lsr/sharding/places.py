"""Where a publication lies: a folder, or an object store that pyarrow.fs reaches (S3 and compatible ones).

    place_of("shards/papers")                                      a local or shared folder
    place_of("s3://bucket/papers?endpoint_override=host:9000&scheme=http")   keys come from the environment

Files are written under their final name once and never changed, but for the manifest. Nothing is ever listed.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from lsr.errors import ObjectStoreError
from lsr.storage.files import storage_errors, sync_file

_PIECE: Final = 1 << 20
_URI: Final = re.compile(r"[a-z][a-z0-9+]+://")
_NAME: Final = re.compile(r"[^a-z0-9_-]+")
_T = TypeVar("_T")


class FileMissing(ObjectStoreError):
    """A file that the manifest names does not exist."""


class Place:
    """A folder in a file system or an object store. Safe to use from many threads."""

    def __init__(self, uri: str, files: pafs.FileSystem, root: str, folder: Path | None) -> None:
        """Internal: use `place_of`. `folder` is the path on this machine, None for an object store."""
        self.uri = uri
        self.folder = folder
        self._files = files
        self._root = root.rstrip("/")

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where it does not exist; raises ObjectStoreError."""

        def read() -> bytes | None:
            try:
                with self._files.open_input_stream(self._at(path)) as stream:
                    content: bytes = stream.read()
                    return content
            except FileNotFoundError:
                return None

        return self._asking(path, read)

    def size(self, path: str) -> int | None:
        """Return a file's size, None where it does not exist; raises ObjectStoreError."""

        def size() -> int | None:
            found: Any = self._files.get_file_info(self._at(path))
            return int(found.size) if found.type == pafs.FileType.File else None

        return self._asking(path, size)

    def write(self, path: str, content: bytes) -> None:
        """Write a small file, replacing it as a whole; raises ObjectStoreError, StorageFull."""
        if self.folder is not None:
            _replace(self.folder / path, content)
            return

        def write() -> None:
            stream = self._files.open_output_stream(self._at(path))
            stream.write(content)
            stream.close()  # only now does the object change; a failed write is never closed

        self._asking(path, write)
        self._check_size(path, len(content))

    def upload(self, source: Path, path: str) -> None:
        """Copy a file to the place, and check that it arrived as a whole; raises ObjectStoreError, StorageFull."""

        def upload() -> None:
            with source.open("rb") as file:
                stream = self._files.open_output_stream(self._at(path))
                while piece := file.read(_PIECE):
                    stream.write(piece)
                stream.close()

        if self.folder is not None:
            with storage_errors(self.folder):
                (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        self._asking(path, upload)
        self._check_size(path, source.stat().st_size)

    def download(self, path: str, target: Path, on_piece: Callable[[bytes], None]) -> None:
        """Copy a file from the place, and pass each piece to `on_piece`; raises ObjectStoreError, StorageFull."""

        def download() -> None:
            with self._files.open_input_stream(self._at(path)) as stream, target.open("wb") as file:
                while piece := stream.read(_PIECE):
                    on_piece(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())

        self._asking(path, download)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _check_size(self, path: str, expected: int) -> None:
        found = self.size(path)
        if found != expected:
            raise ObjectStoreError(
                f"{self.uri}: {path} has {'no' if found is None else found} bytes after the upload, not {expected}: "
                "nothing was published; run the command again"
            )

    def _asking(self, path: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except FileNotFoundError as error:
            raise FileMissing(f"{self.uri}: {path} does not exist: publish the shards again") from error
        except (OSError, pa.ArrowException) as error:
            if self.folder is not None:
                with storage_errors(self.folder):
                    raise
            raise ObjectStoreError(
                f"{self.uri}: {path}: {_first_line(error)}; check the address, that the bucket exists, and the rights "
                "of AWS_ACCESS_KEY_ID"
            ) from error


def place_of(uri: str) -> Place:
    """Return the place that a path or a URI names; raises ObjectStoreError for a URI that cannot be opened."""
    if not _URI.match(uri):
        folder = Path(uri).expanduser().absolute()
        return Place(str(folder), pafs.LocalFileSystem(), str(folder), folder)
    try:
        files, root = pafs.FileSystem.from_uri(uri)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ObjectStoreError(
            f"{uri} cannot be opened: {_first_line(error)}. Use a folder, or s3://BUCKET/PATH with AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY in the environment"
        ) from error
    if isinstance(files, pafs.LocalFileSystem):
        return Place(uri, files, root, Path(root))
    return Place(uri, files, root, None)


def collection_name(uri: str) -> str:
    """Return the name of the collection that is published at a place: the last part of its path."""
    path = uri.split("?", 1)[0].rstrip("/")
    return _NAME.sub("-", path.rsplit("/", 1)[-1].lower()).strip("-_") or "collection"


def is_uri(text: str) -> bool:
    """Whether a text names an object store rather than a path."""
    return bool(_URI.match(text))


def _replace(path: Path, content: bytes) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4()}")
        try:
            temporary.write_bytes(content)
            sync_file(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_file(path.parent)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
