"""The documents of a data set in the ir-datasets catalogue, which downloads missing files.

Importing ir-datasets takes long, so it is imported when the first data set is opened.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Literal

from lsr.corpora.corpus import CorpusLine
from lsr.documents import Document, parse_document
from lsr.errors import CorpusUnreadable, InvalidDocument

PREFIX = "ir-datasets:"

_TEXT_FIELDS = ("text", "body", "abstract", "contents")


class IrDatasetsCorpus:
    """The documents of one data set, in its own order."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, name: str) -> None:
        """Open `ir-datasets:ID`.

        Raises CorpusUnreadable if the id is unknown, the data set has no documents, or it cannot be downloaded.
        """
        import ir_datasets

        self.name = name
        self.position = 0
        self._id = name.removeprefix(PREFIX)
        try:
            self._dataset: Any = ir_datasets.load(self._id)
        except KeyError:
            near = difflib.get_close_matches(self._id, list(ir_datasets.registry), n=3, cutoff=0.5)
            hint = f"; similar names: {', '.join(near)}" if near else ""
            raise CorpusUnreadable(f"ir-datasets has no data set {self._id!r}{hint}") from None
        if not self._dataset.has_docs():
            raise CorpusUnreadable(f"the data set {self._id!r} has no documents")
        try:
            self.size: int | None = self._dataset.docs_count()
        except Exception as error:  # it downloads: any error of its sources arrives here
            raise self._unavailable(error) from error

    def identity(self) -> str | None:
        """Return the id: published data sets do not change."""
        return self._id

    def __iter__(self) -> Iterator[CorpusLine]:
        self.position = 0
        try:
            for record in self._dataset.docs_iter():
                self.position += 1
                yield CorpusLine(self.position, _content(record))
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> CorpusUnreadable:
        return CorpusUnreadable(
            f"ir-datasets could not load {self._id!r}: {str(error) or type(error).__name__}. It downloads on first "
            "use; without a network, put the files into its folder (IR_DATASETS_HOME, ~/.ir_datasets)"
        )


def _content(record: Any) -> Document | InvalidDocument:
    fields = record._asdict()
    title = fields.get("title") or ""
    text = next((fields[name] for name in _TEXT_FIELDS if fields.get(name)), None)
    if text is None:
        title, text = "", record.default_text()
    try:
        return parse_document({"id": record.doc_id, "title": title, "text": text})
    except InvalidDocument as error:
        return error
