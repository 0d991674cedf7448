"""Pairs of query and document, and how they are read from each kind of source.

A document's text is stored once, however many queries it answers; a query that occurs twice has several positives.
Lines without the fields are errors and not skipped: with a wrong field name a model would train on half the data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lsr.corpora import open_corpus
from lsr.corpora.line_source import LineSource, refuse_array
from lsr.documents import Document
from lsr.errors import InvalidDocument, InvalidJson
from lsr.strict_json import loads
from lsr.training.config import DataConfig, Sentence
from lsr.training.errors import DatasetUnavailable, TrainingDataError
from lsr.training.unlabelled import FEWEST_TEXT_WORDS, FEWEST_WORDS, MOST_WORDS, query_and_text, sentence_and_rest

HUB = "hub:"
_GRADE = re.compile(r"[+-]?[0-9]{1,18}")
_SHOWN = 5  # invalid lines in a message


@dataclass
class Pairs:
    """`positives[i]` are the numbers of the documents that answer `queries[i]`, in reading order."""

    queries: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    positives: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._query_numbers = {text: number for number, text in enumerate(self.queries)}
        self._document_numbers = {text: number for number, text in enumerate(self.documents)}

    def add(self, query: str, document: str) -> None:
        """Add one pair; a known pair changes nothing."""
        query_number = self._query_numbers.setdefault(query, len(self.queries))
        if query_number == len(self.queries):
            self.queries.append(query)
            self.positives.append([])
        document_number = self.add_document(document)
        if document_number not in self.positives[query_number]:
            self.positives[query_number].append(document_number)

    def add_document(self, text: str) -> int:
        """Add a document that answers no query, a candidate for negatives; return its number."""
        number = self._document_numbers.setdefault(text, len(self.documents))
        if number == len(self.documents):
            self.documents.append(text)
        return number

    def hash(self) -> str:
        """Return the SHA-256 of all pairs and documents."""
        digest = hashlib.sha256()
        for texts in (self.queries, self.documents):
            for text in texts:
                digest.update(text.encode() + b"\0")
            digest.update(b"\1")
        digest.update(repr(self.positives).encode())
        return digest.hexdigest()


def read_pairs(sources: tuple[DataConfig, ...], progress: Callable[[int], None] | None = None) -> Pairs:
    """Return the pairs of all sources, in order.

    Raises TrainingDataError naming file and lines, CorpusUnreadable, CorpusDamaged, DatasetUnavailable.
    """
    pairs = Pairs()
    for source in sources:
        before = len(pairs.queries)
        known = 0  # pairs that were read
        for query, document in _rows(source):
            if query is None:
                pairs.add_document(document)
                continue
            pairs.add(query, document)
            known += 1
            if progress and len(pairs.queries) % 1000 == 0:
                progress(len(pairs.queries))
            if source.limit is not None and len(pairs.queries) - before >= source.limit:
                break
        if len(pairs.queries) == before:
            raise TrainingDataError(f"{source.path}: {_why_nothing(source, known)}")
    return pairs


def _why_nothing(source: DataConfig, known: int) -> str:
    if known:
        return f"it has {known:,} pairs, but no query that the sources before it do not have; remove it"
    if source.unlabelled:
        return (
            f"no document makes a training pair. A pair is a title, or a first sentence, of {FEWEST_WORDS} to "
            f"{MOST_WORDS} words, and at least {FEWEST_TEXT_WORDS} more words of text; give longer documents"
        )
    return "it has no pair; give a file with a query and a text on each line"


def _rows(source: DataConfig) -> Iterator[tuple[str | None, str]]:
    if source.path.startswith(HUB):
        return _from_hub(source)
    path = Path(source.path)
    if not path.exists():
        raise TrainingDataError(
            f"{source.path}: no such file or folder (a data set on the hub is written {HUB}{source.path})"
        )
    if source.unlabelled:
        return _from_corpus(source)
    if path.is_dir():
        return _from_beir(source)
    return _from_objects(source, _json_lines(path))


def _from_objects(source: DataConfig, rows: Iterator[tuple[int, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of numbered JSON values; raise TrainingDataError after the first invalid ones."""
    bad: list[str] = []
    for number, value in rows:
        problem = value if isinstance(value, str) else _problem(source, value)
        if problem:
            bad.append(f"{source.path}:{number}: {problem}")
            if len(bad) == _SHOWN:
                break
        elif not bad and _taken(source, value):
            text = " ".join(str(value[name]).strip() for name in source.document if value.get(name))
            queries = dict.fromkeys(str(value[name]).strip() for name in source.query if value.get(name))
            yield " ".join(queries), text
            if source.sentence is not None:
                found = sentence_and_rest(text, last=source.sentence is Sentence.LAST)
                if found is not None:
                    yield found[0], text
    if bad:
        more = f"\nand perhaps more: reading stopped after {_SHOWN}" if len(bad) == _SHOWN else ""
        raise TrainingDataError("\n".join(bad) + more)


def _problem(source: DataConfig, value: Any) -> str | None:
    """Return what is wrong with one object; None if nothing is, or if the filter excludes it."""
    if not isinstance(value, Mapping):
        return "not a JSON object"
    for name in source.where:
        if name not in value:
            return f"the field {name!r}, which [[data]] where needs, is missing"
    if not _taken(source, value):
        return None
    for what, names in (("query", source.query), ("document", source.document)):
        for name in names:
            if name not in value or not isinstance(value[name], str | None):
                return (
                    f"the {what} field {name!r} is {_what(value.get(name))}; the fields are "
                    f"{', '.join(map(str, value))}"
                )
        if not any(str(value[name] or "").strip() for name in names):
            return f"the {what} ({', '.join(names)}) is empty"
    return None


def _what(value: Any) -> str:
    if value is None:
        return "missing"
    return "empty" if isinstance(value, str) else f"not a text but {type(value).__name__}"


def _taken(source: DataConfig, value: Mapping[str, Any]) -> bool:
    return all(any(fnmatchcase(str(value[name]), one) for one in wanted) for name, wanted in source.where.items())


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number, value), or instead of a value a text that says what is wrong with the line."""
    source = LineSource(path)
    refuse_array(source)
    for number, line in source:
        if line is None:
            yield number, "the line is too long"
        elif not line.isspace():
            try:
                value = loads(line)
            except InvalidJson as error:
                yield number, str(error)
                continue
            yield number, [] if isinstance(value, str) else value


def _from_beir(source: DataConfig) -> Iterator[tuple[str | None, str]]:
    """Yield a pair for each judgement above 0, then the other documents."""
    folder = Path(source.path)
    judgements = folder / "qrels" / f"{source.split}.tsv"
    documents: dict[str, str] = {}
    for line in open_corpus(source.path, "beir"):
        if isinstance(line.content, InvalidDocument):
            raise TrainingDataError(f"{folder / 'corpus.jsonl'}:{line.line_number}: {line.content}")
        documents[line.content.id] = line.content.full_text
    queries: dict[str, str] = {}
    file = next((path for path in (folder / "queries.jsonl", folder / "queries.jsonl.zst") if path.exists()), None)
    if file is None or not judgements.exists():
        raise TrainingDataError(f"{folder}: a BEIR folder has queries.jsonl and qrels/{source.split}.tsv")
    for number, value in _json_lines(file):
        if not isinstance(value, dict) or not isinstance(value.get("text"), str) or "_id" not in value:
            raise TrainingDataError(f"{file}:{number}: a query has _id and text")
        queries[str(value["_id"])] = value["text"]
    used: set[str] = set()
    for raw_number, raw in LineSource(judgements):
        fields = (raw or b"").decode(errors="replace").rstrip("\r\n").split("\t")
        if raw_number == 1 and fields[:1] == ["query-id"]:
            continue
        if len(fields) != 3 or not _GRADE.fullmatch(fields[2]):
            raise TrainingDataError(
                f"{judgements}:{raw_number}: a judgement is query-id, corpus-id and an integer score, separated by tabs"
            )
        query_id, document_id, grade = fields
        if query_id not in queries or document_id not in documents:
            kind, missing = ("query", query_id) if query_id not in queries else ("document", document_id)
            raise TrainingDataError(f"{judgements}:{raw_number}: there is no {kind} {missing!r}")
        if int(grade) > 0 and documents[document_id].strip() and queries[query_id].strip():
            used.add(document_id)
            yield queries[query_id], documents[document_id]
    for document_id, text in documents.items():
        if document_id not in used and text.strip():
            yield None, text


def _from_corpus(source: DataConfig) -> Iterator[tuple[str | None, str]]:
    """Yield a pair for each document that makes one, and each other document alone."""
    for line in open_corpus(source.path):
        if not isinstance(line.content, Document):
            raise TrainingDataError(f"{source.path}:{line.line_number}: {line.content}")
        found = query_and_text(line.content)
        if found is not None:
            yield found
        elif line.content.full_text.strip():
            yield None, line.content.full_text


def _from_hub(source: DataConfig) -> Iterator[tuple[str, str]]:
    name = source.path.removeprefix(HUB)
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError:
        raise DatasetUnavailable(
            f"{source.path}: reading from the hub needs the package `datasets` (pip install datasets); "
            "or download the data set and give its file"
        ) from None
    try:
        rows = datasets.load_dataset(name, split=source.split, streaming=True)
        yield from _from_objects(source, ((number, dict(row)) for number, row in enumerate(rows, start=1)))
    except TrainingDataError:
        raise
    except Exception as error:  # the package raises its own errors, the hub's, and those of several network packages
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise DatasetUnavailable(
            f"{source.path}: the hub's data set {name!r} cannot be read here ({type(error).__name__}: {reason}). "
            "Offline, download it elsewhere and give the path of its JSON lines"
        ) from None


def unlabelled(path: str) -> DataConfig:
    """Return the source that makes pairs from a corpus without queries."""
    return dataclasses.replace(DataConfig(path), unlabelled=True)
