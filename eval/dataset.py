"""A test collection: queries, judgements, a corpus, and the rules of its benchmark.

`open_dataset` accepts a BEIR folder or an ir-datasets id (`beir/scifact/test`, or the short names of datasets.toml,
such as `scifact`); `from_trec_files` accepts plain topics and qrels. The corpus is not read here: the data set only
names it, and indexing reads it. Every query with judgements is evaluated, also if nothing is found for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from eval.catalogue import KnownDataset, find_known
from eval.errors import DatasetMismatch, UnknownDataset
from eval.own_documents import KEPT, OwnDocumentRule, own_document_rule
from eval.qrels import Qrels, count_judgements, read_qrels
from eval.sources import beir_folder, ir_datasets_source
from eval.sources.queries import Query
from eval.sources.text_lines import content_hash
from eval.sources.trec_topics import read_encoded_topics, read_topics


@dataclass(frozen=True)
class Dataset:
    """Queries by id, their judgements, and the corpus (an argument of `lsr index`, or None)."""

    name: str
    split: str
    queries: Mapping[str, Query]
    qrels: Qrels
    corpus: str | None
    own_document: OwnDocumentRule = KEPT
    relevance: int = 1  # the lowest relevant grade, for measures with binary relevance
    known: KnownDataset | None = None
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def judged_queries(self) -> Iterator[Query]:
        """Yield the queries that have judgements, in the order of the judgements."""
        return (self.queries[query_id] for query_id in self.qrels)

    @property
    def has_vectors(self) -> bool:
        """Whether the queries are ready-made sparse vectors, so that no encoder is needed."""
        return all(query.sparse is not None for query in self.queries.values())

    def data_hash(self) -> str | None:
        """Return the SHA-256 over queries, judgements and corpus files; None if they are not plain files."""
        return content_hash(self.files) if self.files else None


def open_dataset(spec: str | Path, *, split: str | None = None, drop_own_document: bool | None = None) -> Dataset:
    """Open a BEIR folder or an ir-datasets id.

    drop_own_document   whether the document with the query's id is left out of its ranking; None: see own_documents.py

    Raises UnknownDataset with the nearest known names, DatasetUnavailable if it cannot be downloaded, InputFileError
    for a damaged file, DatasetMismatch if queries and judgements do not belong together.
    """
    folder = Path(spec)
    if folder.is_dir():
        return _from_beir_folder(folder, split, drop_own_document)
    name = str(spec)
    known = find_known(name)
    if known is not None and known.parts:
        parts = ", ".join(known.parts[:3])
        raise UnknownDataset(
            f"{name} is the mean over {len(known.parts)} data sets; evaluate each of them ({parts}, …)", field="dataset"
        )
    if known is not None and known.id is None:
        raise UnknownDataset(f"{name} cannot be downloaded; give the path of its BEIR folder", field="dataset")
    identifier = known.id if known is not None and known.id is not None else name
    queries, qrels = ir_datasets_source.load(identifier)
    return _checked(
        Dataset(
            name=known.name if known is not None else identifier,
            split=known.split if known is not None else split or "",
            queries=queries,
            qrels=qrels,
            corpus=f"ir-datasets:{identifier}",
            own_document=own_document_rule(qrels, beir=identifier.startswith("beir/"), choice=drop_own_document),
            relevance=known.relevance if known is not None else 1,
            known=known,
        ),
        where=identifier,
    )


def from_trec_files(
    topics: Path,
    qrels: Path,
    *,
    corpus: str | None = None,
    name: str | None = None,
    relevance: int | None = None,
    encoded: bool = False,
    drop_own_document: bool | None = None,
) -> Dataset:
    """Return a data set from a topics file and a qrels file; `corpus` is the CORPUS argument of `lsr index`.

    name        the name of a known data set applies its rules; any other name has no effect
    relevance   the lowest relevant grade; default: the known data set's, or 1
    drop_own_document   as for `open_dataset`; None keeps it, unless the known data set `name` is one of BEIR
    encoded     the topics are word pieces, each repeated as often as its weight, like Anserini's encoded topics
    """
    known = find_known(name) if name is not None else None
    judgements = read_qrels(qrels)
    beir = known is not None and known.exclude_query_id
    return _checked(
        Dataset(
            name=name or qrels.name.removeprefix("qrels.").rsplit(".", maxsplit=1)[0],
            split=known.split if known is not None else "",
            queries=read_encoded_topics(topics) if encoded else read_topics(topics),
            qrels=judgements,
            corpus=corpus,
            own_document=own_document_rule(judgements, beir=beir, choice=drop_own_document),
            relevance=relevance or (known.relevance if known is not None else 1),
            known=known,
            files=(topics, qrels),
        ),
        where=f"{topics} and {qrels}",
    )


def _from_beir_folder(folder: Path, split: str | None, drop_own_document: bool | None) -> Dataset:
    resolved = folder.resolve()
    # BEIR keeps the forums of CQADupStack in a folder of that name.
    known = find_known(f"{resolved.parent.name}/{resolved.name}") or find_known(resolved.name)
    split = split or (known.split if known is not None else "test")
    paths = beir_folder.find_files(folder, split)
    queries, qrels = beir_folder.read_queries(paths.queries), read_qrels(paths.qrels, header_optional=True)
    return _checked(
        Dataset(
            name=known.name if known is not None else resolved.name,
            split=split,
            queries=queries,
            qrels=qrels,
            corpus=str(folder),
            own_document=own_document_rule(qrels, beir=True, choice=drop_own_document),
            relevance=known.relevance if known is not None else 1,
            known=known if known is not None and known.split == split else None,
            files=(paths.corpus, paths.queries, paths.qrels),
        ),
        where=f"{paths.qrels} and {paths.queries}",
    )


def _checked(dataset: Dataset, *, where: str) -> Dataset:
    """Refuse judgements of unknown queries, and warn about counts that differ from the official ones."""
    unknown = [query_id for query_id in dataset.qrels if query_id not in dataset.queries]
    if unknown:
        raise DatasetMismatch(
            f"{where}: {len(unknown)} of {len(dataset.qrels)} judged queries are not among the {len(dataset.queries)} "
            f"queries, for example {unknown[0]!r}; are judgements and queries from the same split?",
            field="dataset",
        )
    if dataset.known is None:
        return dataset
    counts = (
        ("judged queries", len(dataset.qrels), dataset.known.queries),
        ("judgements", count_judgements(dataset.qrels), dataset.known.judgements),
    )
    warnings = tuple(
        f"{dataset.name} ({dataset.split}) has {found:,} {what}; the official number is {official:,}"
        for what, found, official in counts
        if official is not None and found != official
    )
    return replace(dataset, warnings=warnings)
