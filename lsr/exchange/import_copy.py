"""The local copy of a remote collection: an import reads the server once, and indexes from the copy.

    NAME.import/documents.jsonl   the documents in our own format
    NAME.import/progress.json     source and options, the position on the server, bytes and counts up to there

A page is written and synced before the position after it is: what follows those bytes is of a page that was cut off,
and is removed. So a copy that was stopped at any time continues with the next page, and no document is lost or twice.
Memory: one page.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from lsr.corpora.corpus import CorpusLine
from lsr.corpora.jsonl import JsonlCorpus
from lsr.corpora.line_source import LineSource
from lsr.documents import Document
from lsr.errors import CollectionExists, InvalidDocument, LsrError, PositionExpired
from lsr.exchange.remote_documents import document_line
from lsr.exchange.servers import RemoteCollection, RemoteRow

ToDocument = Callable[[RemoteRow], Document]
OnRefused = Callable[[str, InvalidDocument], None]  # (the id on the server, the error)

_DOCUMENTS: Final = "documents.jsonl"
_PROGRESS: Final = "progress.json"


@dataclass
class _State:
    source: str
    options: Any  # a JSON value: what decides how a document is read
    position: Any = None
    bytes: int = 0
    documents: int = 0
    refused: int = 0
    complete: bool = False


class ImportCopy:
    """The copy in `folder`, new or continued."""

    def __init__(self, folder: Path, source: str, options: Any, *, resume: bool) -> None:
        """Raises CollectionExists for an existing copy without `resume`, LsrError for one of another import."""
        self.folder = folder
        self._path = folder / _DOCUMENTS
        if (folder / _PROGRESS).exists():
            if not resume:
                raise CollectionExists(
                    f"{folder} is an import that was stopped: continue it with --resume or remove it"
                )
            self._state = _State(**orjson.loads((folder / _PROGRESS).read_bytes()))
            if (self._state.source, self._state.options) != (source, options):
                raise LsrError(f"{folder} is an import of {self._state.source} or with other options; remove it first")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._state = _State(source, options)
            self._path.write_bytes(b"")
            self._save()

    @property
    def documents(self) -> int:
        """Documents in the copy."""
        return self._state.documents

    @property
    def refused(self) -> int:
        """Documents of the server that were refused."""
        return self._state.refused

    @property
    def complete(self) -> bool:
        """Whether all pages were read."""
        return self._state.complete

    def fill(
        self,
        remote: RemoteCollection,
        wanted: list[str],
        to_document: ToDocument,
        on_refused: OnRefused,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Read the pages after the position; raises SourceFailed, PositionExpired (after which it is empty)."""
        with self._path.open("r+b") as file:
            file.truncate(self._state.bytes)
            file.seek(self._state.bytes)
            try:
                for page in remote.pages(self._state.position, wanted):
                    self._add(file, page.rows, to_document, on_refused)
                    self._state.position = page.position
                    self._state.complete = page.position is None
                    self._save()
                    if progress is not None:
                        progress(self._state.documents)
            except PositionExpired:
                self._state = _State(self._state.source, self._state.options)
                self._save()
                raise

    def corpus(self) -> CopiedCorpus:
        """Return the documents of a complete copy."""
        return CopiedCorpus(self._state.source, LineSource(self._path))

    def remove(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self.folder)

    def _add(self, file: Any, rows: list[RemoteRow], to_document: ToDocument, on_refused: OnRefused) -> None:
        for row in rows:
            try:
                line = orjson.dumps(document_line(to_document(row)), option=orjson.OPT_APPEND_NEWLINE)
            except InvalidDocument as error:
                self._state.refused += 1
                on_refused(row.id, error)
            except orjson.JSONEncodeError as error:  # an integer of more than 64 bits in the metadata
                self._state.refused += 1
                on_refused(row.id, InvalidDocument("invalid_metadata", f"metadata: {error}", field="metadata"))
            else:
                file.write(line)
                self._state.documents += 1
        file.flush()
        os.fsync(file.fileno())
        self._state.bytes = file.tell()

    def _save(self) -> None:
        unfinished = self.folder / f"{_PROGRESS}.unfinished"
        with unfinished.open("wb") as file:
            file.write(orjson.dumps(asdict(self._state)))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.folder / _PROGRESS)


class CopiedCorpus(JsonlCorpus):
    """The documents of a copy; `id_of` names the document of a line that was read lately."""

    def __init__(self, name: str, source: LineSource) -> None:
        super().__init__(name, source)
        self._ids: dict[int, str] = {}

    def __iter__(self) -> Iterator[CorpusLine]:
        for line in super().__iter__():
            if isinstance(line.content, Document):
                self._ids[line.line_number] = line.content.id
                self._ids.pop(line.line_number - _REMEMBERED, None)
            yield line

    def id_of(self, line_number: int) -> str | None:
        """Return the id of the document in a line that was read lately."""
        return self._ids.get(line_number)


_REMEMBERED: Final = 4096  # lines; a load checks its lines in batches of 1,024
