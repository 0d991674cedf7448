"""`lsr reindex`: encodes a collection's documents again, into a new collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lsr.cli.arguments import SettingOption, parse_settings, stored_name
from lsr.cli.output import JsonFlag

if TYPE_CHECKING:
    from lsr.collection import Collection
    from lsr.corpora.corpus import CorpusLine


def reindex(
    directory: Annotated[Path, typer.Argument(help="The collection to read.", metavar="DIR")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new collection.", metavar="DIR")],
    encoder: Annotated[
        str | None,
        typer.Option(help="bm25, lsr-mini, or a checkpoint's name or path.  [default: lsr-mini]", metavar="NAME|PATH"),
    ] = None,
    setting: SettingOption = None,
    using: Annotated[
        str, typer.Option(help="The named vector to encode again; others are copied.", metavar="NAME")
    ] = "default",
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps.  [default: auto]", metavar="NAME")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads; default: all cores.", metavar="N")] = None,
    json: JsonFlag = False,
) -> int:
    """Encode a collection again, into a new one.

    DIR is only read, and a service may serve it at the same time; documents written to it after the start are not in
    the new collection.
    """
    from lsr.cli.arguments import one_collection
    from lsr.cli.index import index_and_report
    from lsr.collection import Collection
    from lsr.errors import QueryError
    from lsr.settings import load_settings
    from lsr.vectors import VectorConfig

    settings = load_settings({"encoder": encoder, "device": device, "threads": threads})
    with Collection.open(one_collection(directory)) as collection:
        info = collection.info()
        if using not in info.vectors:
            raise QueryError(f"no vector {using!r}; the vectors are: {', '.join(info.vectors)}", field="using")
        dense = info.vectors[using].kind == "dense"
        made = parse_settings(setting)
        dimensions = made.pop("dimensions", None) if dense else None
        vectors = {using: VectorConfig(stored_name(settings.encoder), made, dense=dense, dimensions=dimensions)}
        vectors |= {name: collection.vector_config(name) for name in info.vectors if name != using}
        corpus = CollectionCorpus(collection, using, keep=[name for name in vectors if name != using])
        return index_and_report(
            corpus,
            out,
            vectors,
            schema=info.schema,
            resume=resume,
            threads=settings.threads,
            device=settings.device,
            as_json=json,
        )


class CollectionCorpus:
    """The live documents of an open collection, with only the vectors named in `keep`."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, collection: Collection, using: str, keep: Sequence[str] = ()) -> None:
        self.name = str(collection.path)
        self.position = 0
        self._collection = collection
        info = collection.info()
        self._dense = [name for name in keep if info.vectors[name].kind == "dense"]
        self._sparse = [name for name in keep if name not in self._dense]
        # What is scanned is a sparse vector, whatever is encoded again.
        self._scanned = using if info.vectors[using].kind == "sparse" else self._sparse[0]
        self.size: int | None = info.documents
        self._seq = info.seq

    def identity(self) -> str | None:
        """Return the collection's path and its sequence number, which every write increments."""
        return f"{self._collection.path.resolve()}:{self._seq}"

    def __iter__(self) -> Iterator[CorpusLine]:
        from lsr.corpora.corpus import CorpusLine
        from lsr.documents import SparseByToken

        self.position = 0
        for document, _, _ in self._collection.scan(self._scanned, dense=self._dense):
            self.position += 1
            kept = {name: SparseByToken(self._collection.vector(document.id, name) or {}) for name in self._sparse}
            yield CorpusLine(self.position, replace(document, vectors={**document.vectors, **kept}))
