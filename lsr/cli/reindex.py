"""`lsr reindex`: a collection's documents, encoded again, in a new collection."""

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
    directory: Annotated[Path, typer.Argument(help="The collection that is read.", metavar="DIR")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new collection.", metavar="DIR")],
    encoder: Annotated[
        str | None,
        typer.Option(help="bm25, lsr-mini, or a checkpoint's name or path.  [default: lsr-mini]", metavar="NAME|PATH"),
    ] = None,
    setting: SettingOption = None,
    using: Annotated[
        str, typer.Option(help="Which named vector is encoded again; others are copied.", metavar="NAME")
    ] = "default",
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, mps.  [default: auto]", metavar="NAME")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a stopped run left off.")] = False,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.", metavar="N")] = None,
    json: JsonFlag = False,
) -> int:
    """Encode a collection again, into a new one.

    DIR is only read and may be served meanwhile; what is written to it after the start is not in the new one.
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
            raise QueryError(f"there is no vector {using!r}; there is {', '.join(info.vectors)}", field="using")
        vectors = {using: VectorConfig(stored_name(settings.encoder), parse_settings(setting))}
        for name, vector in info.vectors.items():
            if name != using:
                made = dict(collection.encoder(name).settings) if vector.encoder is not None else {}
                vectors[name] = VectorConfig(vector.encoder, made, dtypes=vector.dtypes)
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
    """The live documents of an open collection, without their vectors but for those named in `keep`."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, collection: Collection, using: str, keep: Sequence[str] = ()) -> None:
        self.name = str(collection.path)
        self.position = 0
        self._collection = collection
        self._using = using
        self._keep = tuple(keep)
        info = collection.info()
        self.size: int | None = info.documents
        self._seq = info.seq

    def identity(self) -> str | None:
        """Return the collection's path and its sequence number, which every write raises."""
        return f"{self._collection.path.resolve()}:{self._seq}"

    def __iter__(self) -> Iterator[CorpusLine]:
        from lsr.corpora.corpus import CorpusLine
        from lsr.documents import SparseByToken

        self.position = 0
        for document, _, _ in self._collection.scan(self._using):
            self.position += 1
            kept = {name: SparseByToken(self._collection.vector(document.id, name) or {}) for name in self._keep}
            yield CorpusLine(self.position, replace(document, vectors=kept))
