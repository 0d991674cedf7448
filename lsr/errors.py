"""The errors of a collection, and what each one means to a caller.

LsrError                          the root of this package's errors
├── InvalidJson                   not JSON, or JSON that two parsers read differently; says where
├── InvalidDocument               a document that is rejected; names the field
├── CorpusUnreadable              a file or data set that cannot be read as the given corpus
├── SourceFailed                  a server to import from that does not answer, or refuses; names server and request
├── PositionExpired               a server does not know any longer where an interrupted import stopped
├── InputRefused                  too many lines of an input are refused, or one where none may be
├── CorpusDamaged                 a corpus file that is truncated or has a wrong checksum
├── SettingsError                 an invalid setting in lsr.toml, the environment or a flag
├── QueryError                    an invalid query or search parameter; names the field
├── CollectionNotFound            no collection of that name, or a folder that is not a collection
├── CollectionExists              the collection to create exists already
├── CollectionLocked              another process writes to this collection
├── CollectionReadOnly            files that this process is not allowed to change: a read-only disk, missing rights
├── CollectionCorrupt             a file that is missing, damaged or not what the catalog says
├── EncoderMismatch               the query's encoder is not the one that made the vectors
├── UnknownField                  a name that the schema does not have
├── CursorGone                    a cursor that is too old, or of another search
├── TooManyPending                the cap on unsealed writes is reached; try again later
├── ShardUnavailable              a shard that does not answer, or none of its replicas
├── ShardMismatch                 shards of different generations or encoders, or a damaged publication
├── ObjectStoreError              an object store that refuses, or a file there that is not as published
├── ClusterUnavailable            no Ray cluster at the address, or Ray is not installed
├── StorageFull                   the disk is full; nothing was acknowledged
└── Interrupted                   stopped on request (Ctrl-C, a deadline)

index/errors.py and encoders/errors.py show the other two trees (those packages do not import this one).
`describe` covers all three in one table: the HTTP status and problem type, and the exit code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from encoders import errors as encoder_errors
from index import errors as index_errors


class LsrError(Exception):
    """Root of the collection's errors."""


class InvalidJson(LsrError, ValueError):
    """A text that is not strict JSON; `position` counts characters from 0, `field` is a path or None."""

    def __init__(self, reason: str, position: int, *, field: str | None = None) -> None:
        where = f" at {field}" if field else ""
        super().__init__(f"malformed JSON: {reason}{where} (character {position})")
        self.reason = reason
        self.position = position
        self.field = field


class InvalidDocument(LsrError, ValueError):
    """A rejected document; `field` is a path such as `metadata.year`, `code` one of a fixed set."""

    def __init__(self, code: str, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field


class CorpusUnreadable(LsrError):
    """A file or data set that is missing, or that cannot be read as the given corpus."""


class SourceFailed(LsrError):
    """A server to import from or export to does not answer, or refuses; `status` is that of HTTP, if it answered."""

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


class PositionExpired(LsrError):
    """A server does not know any longer where an interrupted import stopped: it starts again."""


class InputRefused(LsrError):
    """Reading stopped because too many lines of the input are refused, or one where none may be, or it has no line."""


class CorpusDamaged(LsrError):
    """A corpus file that is truncated or has a wrong checksum; the message names the file and the last good line."""


class SettingsError(LsrError, ValueError):
    """An invalid setting in lsr.toml, the environment or a flag; the message names its source."""


class QueryError(LsrError, ValueError):
    """An invalid query or search parameter; `field` is a path such as `query.sparse.values`."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class CollectionNotFound(LsrError):
    """No collection has that name, or the folder is not a collection."""


class CollectionExists(LsrError):
    """A collection of that name exists already."""


class CollectionLocked(LsrError):
    """Another process holds the collection's writer lock."""


class CollectionReadOnly(LsrError):
    """The collection's files cannot be changed by this process: the file system or their rights forbid it."""


class CollectionCorrupt(LsrError):
    """A file of the collection is missing, damaged, or differs from what the catalog says."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class EncoderMismatch(LsrError):
    """The encoder is not the one that produced the stored vectors; `lsr reindex` encodes them again."""


class UnknownField(QueryError):
    """A field that the collection's schema does not have."""


class CursorGone(LsrError):
    """The cursor's list is not kept any longer, or it belongs to another search."""


class TooManyPending(LsrError):
    """The limit on unsealed writes is reached; the writer should try again later."""


class ShardUnavailable(LsrError):
    """A shard does not answer; the message names it."""


class ShardMismatch(LsrError):
    """Shards that do not belong together, or are not what was published."""


class ObjectStoreError(LsrError):
    """An object store refuses, or what it returns is not what was published."""


class ClusterUnavailable(LsrError):
    """No Ray cluster answers at the address, or Ray is not installed."""


class StorageFull(LsrError):
    """The disk is full. Nothing of the refused write was acknowledged."""


class Interrupted(LsrError):
    """Stopped on request: a deadline passed, or the caller disconnected."""


class ExitCode(IntEnum):
    """The exit codes of `lsr`."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    CORRUPT = 3
    PARTIAL = 4
    INTERRUPTED = 130


@dataclass(frozen=True)
class Meaning:
    """What an error class means over HTTP and to the shell."""

    status: int
    slug: str  # of the problem type, `/problems/<slug>`
    title: str
    exit_code: ExitCode


_FALLBACK = Meaning(500, "internal", "Internal error", ExitCode.FAILURE)

# The order does not matter: an exception's MRO starts with its most specific class.
_MEANINGS: dict[type[BaseException], Meaning] = {
    InvalidJson: Meaning(400, "malformed-json", "Malformed JSON", ExitCode.USAGE),
    InvalidDocument: Meaning(422, "invalid-document", "Invalid document", ExitCode.USAGE),
    CorpusUnreadable: Meaning(422, "corpus-unreadable", "Corpus cannot be read", ExitCode.USAGE),
    CorpusDamaged: Meaning(422, "corpus-damaged", "Corpus damaged", ExitCode.CORRUPT),
    SettingsError: Meaning(422, "invalid-setting", "Invalid setting", ExitCode.USAGE),
    QueryError: Meaning(422, "invalid-query", "Invalid query", ExitCode.USAGE),
    CursorGone: Meaning(410, "cursor-gone", "Cursor gone", ExitCode.USAGE),
    UnknownField: Meaning(422, "unknown-field", "Unknown field", ExitCode.USAGE),
    CollectionNotFound: Meaning(404, "collection-not-found", "Collection not found", ExitCode.USAGE),
    CollectionExists: Meaning(409, "collection-exists", "Collection exists", ExitCode.USAGE),
    CollectionLocked: Meaning(409, "collection-locked", "Collection locked by another writer", ExitCode.FAILURE),
    CollectionReadOnly: Meaning(403, "read-only", "Read only", ExitCode.FAILURE),
    CollectionCorrupt: Meaning(503, "collection-corrupt", "Collection damaged", ExitCode.CORRUPT),
    EncoderMismatch: Meaning(409, "encoder-mismatch", "Encoder mismatch", ExitCode.FAILURE),
    TooManyPending: Meaning(429, "too-many-pending", "Too many pending writes", ExitCode.FAILURE),
    ShardUnavailable: Meaning(503, "shard-unavailable", "Shard unavailable", ExitCode.FAILURE),
    ShardMismatch: Meaning(503, "shard-mismatch", "Shards do not fit", ExitCode.CORRUPT),
    ObjectStoreError: Meaning(503, "object-store", "Object store refuses", ExitCode.FAILURE),
    ClusterUnavailable: Meaning(503, "cluster-unavailable", "No cluster", ExitCode.FAILURE),
    StorageFull: Meaning(507, "storage-full", "Disk full", ExitCode.FAILURE),
    Interrupted: Meaning(503, "interrupted", "Interrupted", ExitCode.INTERRUPTED),
    index_errors.VectorError: Meaning(422, "invalid-vector", "Invalid vector", ExitCode.USAGE),
    index_errors.SearchParameterError: Meaning(422, "invalid-query", "Invalid query", ExitCode.USAGE),
    index_errors.ConfigError: Meaning(422, "invalid-config", "Invalid index configuration", ExitCode.USAGE),
    index_errors.IndexCorrupt: Meaning(503, "collection-corrupt", "Collection damaged", ExitCode.CORRUPT),
    index_errors.IndexFormatUnsupported: Meaning(503, "format-unsupported", "Another format", ExitCode.CORRUPT),
    index_errors.SearchStopped: Meaning(503, "interrupted", "Interrupted", ExitCode.INTERRUPTED),
    index_errors.IndexBuildInterrupted: Meaning(503, "interrupted", "Interrupted", ExitCode.INTERRUPTED),
    encoder_errors.UnknownEncoder: Meaning(422, "unknown-encoder", "Unknown encoder", ExitCode.USAGE),
    encoder_errors.CheckpointError: Meaning(422, "bad-checkpoint", "Bad checkpoint", ExitCode.CORRUPT),
    encoder_errors.RemoteCodeRefused: Meaning(422, "remote-code-refused", "Remote code refused", ExitCode.USAGE),
    encoder_errors.ModelsMissing: Meaning(501, "models-missing", "Models not installed", ExitCode.FAILURE),
    encoder_errors.DeviceUnavailable: Meaning(422, "device-unavailable", "Device unavailable", ExitCode.USAGE),
    encoder_errors.SettingError: Meaning(422, "invalid-setting", "Invalid encoder setting", ExitCode.USAGE),
    encoder_errors.TextError: Meaning(422, "invalid-text", "Invalid text", ExitCode.USAGE),
    encoder_errors.StatisticsMissing: Meaning(409, "statistics-missing", "No statistics yet", ExitCode.FAILURE),
    # Errors without a class of their own, such as a write to a collection that is open for reading only.
    LsrError: Meaning(409, "refused", "Refused", ExitCode.FAILURE),
    KeyboardInterrupt: Meaning(503, "interrupted", "Interrupted", ExitCode.INTERRUPTED),
}

# Expected errors (a user's mistake, a full disk), not bugs: shown as a message, never as a traceback.
EXPECTED_ERRORS = (LsrError, index_errors.SparseIndexError, encoder_errors.EncoderError)


def describe(error: BaseException) -> Meaning:
    """Return what `error` means over HTTP and to the shell; an unexpected error is a 500."""
    for cls in type(error).__mro__:
        if cls in _MEANINGS:
            return _MEANINGS[cls]
    return _FALLBACK
