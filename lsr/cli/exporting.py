"""What `lsr export` does: a collection's scan as rows of the exchange formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lsr.cli.one_collection import one_collection
from lsr.cli.progress import progress_bar
from lsr.cli.running import say
from lsr.collection import Collection
from lsr.errors import ExitCode
from lsr.exchange import VectorRow, VectorSource, write_vectors


def export_collection(directory: Path, format_name: str, out: str, using: str, scale: float) -> ExitCode:
    """Write the collection to `out`; tell on stderr how many documents that were."""
    with Collection.open(one_collection(directory)) as collection, progress_bar() as progress:
        total = collection.info().documents

        def rows() -> Iterator[VectorRow]:
            for done, (document, term_ids, impacts) in enumerate(collection.scan(using), start=1):
                yield VectorRow(document, term_ids, impacts)
                if progress is not None:
                    progress("exporting", done, total)

        source = VectorSource(
            rows(), lambda ids: collection.tokens(ids, using), using, _encoder_note(collection, using)
        )
        written = write_vectors(source, out, format_name, scale=scale)
    say(f"{written:,} documents written to {'stdout' if out == '-' else out}")
    return ExitCode.OK


def _encoder_note(collection: Collection, using: str) -> dict[str, Any] | None:
    vector = collection.info().vectors.get(using)
    if vector is None or vector.encoder is None:
        return None
    encoder = collection.encoder(using)
    return {"encoder": vector.encoder, "settings": dict(encoder.settings), "fingerprint": encoder.fingerprint}
