"""Building shards from a corpus, in steps that any process can run: the plan, its parts, and the shards.

    plan     what is built from what; written first, so that a run that goes on builds the same
    part     a worker reads a part of one input file and spools its documents by shard; it also measures BM25's lengths
             and lists the terms in the order of their first occurrence
    common   the parts' counts together: one average length, one dictionary, so a term has one number in all shards, in
             the order that an unsharded load gives it (a term that only refused lines have gets one too)
    shard    a worker encodes the documents of one shard and writes an ordinary collection

Each step is complete when its last file has its name. A step that was interrupted is run again (a shard goes on after
its last segment), so a run that was killed and goes on gives the same documents and vectors. Every step reads and
writes a folder that all workers see; what a step returns is small.
"""

from __future__ import annotations

import errno
import heapq
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from index import IndexConfig
from lsr.corpora import Corpus, Fields, open_corpus
from lsr.corpora.corpus import CorpusLine
from lsr.dense_vectors import Vectors, new_vectors
from lsr.documents import Document
from lsr.errors import CorpusDamaged, InvalidDocument, LsrError
from lsr.metadata import MetadataSchema
from lsr.results import IndexReport
from lsr.sharding.digest import digest_of
from lsr.sharding.manifest import COMMON, generation_folder, shard_name
from lsr.sharding.new_terms import TokenFinder
from lsr.sharding.placement import shards_of
from lsr.sharding.splitting import Template
from lsr.sharding.spool import SpooledCorpus, SpoolWriter
from lsr.storage.files import sync_file, sync_tree
from lsr.storage.live_state import open_to_read
from lsr.vectors import NamedVector, VectorConfig
from lsr.writing.document_vectors import document_vectors

BLOCK_LINES: Final = 1024  # consecutive lines of one part; the next ones belong to the next part
_FILE_BITS: Final = 40  # a line's number in the whole corpus: the file's number above, the line's in its file below
_PLAN_FILE: Final = "plan.json"
_PART_FILE: Final = "part.json"

Progress = Callable[[int], None]  # called with a number of lines that are done
OnProblem = Callable[[str, int, InvalidDocument], None]  # the file, the line in it, the error


@dataclass(frozen=True, slots=True)
class Plan:
    """What is built. All of it is JSON values, so that a plan can be sent and compared."""

    inputs: tuple[str, ...]
    identities: tuple[str | None, ...]
    format: str
    chunk: int | None
    fields: Mapping[str, Any]
    shards: int
    parts: int  # of each input file
    generation: int
    vectors: Mapping[str, Any]
    schema: Mapping[str, str]
    search: Mapping[str, Any] | None
    device: str = "auto"

    def configs(self) -> dict[str, VectorConfig]:
        """Return the named vectors."""
        return {
            name: VectorConfig(**{**one, "index": IndexConfig.from_json(one["index"]), "dtypes": tuple(one["dtypes"])})
            for name, one in self.vectors.items()
        }

    def open_input(self, number: int) -> Corpus:
        """Open one input file; raises CorpusUnreadable."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in self.fields.items()
        }
        return open_corpus(self.inputs[number], self.format, chunk=self.chunk, fields=Fields(**given))


def new_plan(
    inputs: Sequence[str],
    *,
    format: str,  # noqa: A002 - as open_corpus names it
    chunk: int | None,
    fields: Fields,
    shards: int,
    workers: int,
    generation: int,
    vectors: Mapping[str, VectorConfig],
    schema: Mapping[str, str] | None,
    search: Mapping[str, Any] | None,
    device: str,
) -> Plan:
    """Return a plan; raises CorpusUnreadable, and LsrError for an input that can be read only once."""
    plan = Plan(
        tuple(inputs),
        (),
        format,
        chunk,
        json.loads(json.dumps(asdict(fields))),
        shards,
        max(1, -(-2 * workers // len(inputs))),
        generation,
        {
            name: {**asdict(config), "settings": dict(config.settings), "index": config.index.to_json()}
            for name, config in located(vectors).items()
        },
        dict(MetadataSchema(schema).fields),
        None if search is None else dict(search),
        device,
    )
    identities = tuple(plan.open_input(number).identity() for number in range(len(inputs)))
    if None in identities:
        once = inputs[identities.index(None)]
        raise LsrError(f"{once} can be read only once: save it to a file, which workers can read")
    return replace(plan, identities=identities)


def located(vectors: Mapping[str, VectorConfig]) -> dict[str, VectorConfig]:
    """Return the named vectors with absolute paths of their encoders."""
    return {name: config.located() for name, config in vectors.items()}


class Build:
    """The folder of a build: `work/` has the plan and the parts, the generation's folder the shards."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root = root
        self.plan = plan
        self.work = root / "building" / f"{plan.generation:06d}"

    @classmethod
    def begin(cls, root: Path, plan: Plan, *, resume: bool) -> Build:
        """Write the plan, or go on with one that was begun; raises LsrError where another one was begun."""
        build = cls(root, plan)
        path = build.work / _PLAN_FILE
        if path.exists():
            before = json.loads(path.read_bytes())
            if not resume:
                raise LsrError(f"{build.work} has a build that was stopped: go on with --resume, or remove that folder")
            wanted = json.loads(json.dumps(asdict(plan)))
            differing = [key for key in wanted if wanted[key] != before.get(key) and key != "parts"]
            if differing:
                key = differing[0]
                raise LsrError(f"{build.work} was begun with {key} = {before.get(key)!r}, not {wanted[key]!r}")
            return cls(root, replace(plan, parts=before["parts"]))
        _write_last(path, asdict(plan))
        return build

    @property
    def part_numbers(self) -> list[tuple[int, int]]:
        """The parts: (number of the input file, number of the part of it)."""
        return [(number, part) for number in range(len(self.plan.inputs)) for part in range(self.plan.parts)]

    @property
    def common(self) -> Path:
        """The folder of the collection without documents."""
        return self.root / generation_folder(self.plan.generation) / COMMON

    def shard(self, number: int) -> Path:
        """The folder of a shard."""
        return self.root / generation_folder(self.plan.generation) / shard_name(number, self.plan.shards)

    def part_folder(self, part: tuple[int, int]) -> Path:
        """The folder of a part."""
        return self.work / f"part-{part[0]:06d}-{part[1]:04d}"

    def part_report(self, part: tuple[int, int]) -> dict[str, Any] | None:
        """Return what a part counted, None where it is not complete."""
        path = self.part_folder(part) / _PART_FILE
        found: dict[str, Any] | None = json.loads(path.read_bytes()) if path.exists() else None
        return found

    def abandon(self) -> None:
        """Remove what this build has made so far, so that another one can begin."""
        shutil.rmtree(self.work, ignore_errors=True)

    def finish(self) -> None:
        """Remove what only the build needed."""
        shutil.rmtree(self.root / "building", ignore_errors=True)


def make_part(build: Build, part: tuple[int, int], progress: Progress | None = None) -> dict[str, Any]:
    """Spool one part by shard, and return its counts; one that is complete is left as it is.

    Two workers may run this at the same time: the worker of a machine that is lost to the cluster may go on. The first
    one that is ready gives its folder the part's name. Raises what reading the corpus raises, StorageFull.
    """
    known = build.part_report(part)
    if known is not None:
        return known
    folder = build.part_folder(part)
    temporary = folder.with_name(f"{folder.name}.unfinished-{uuid.uuid4()}")
    temporary.mkdir(parents=True)
    try:
        report = _spool(build.plan, part, temporary, progress)
        _write_last(temporary / _PART_FILE, report)
        try:
            temporary.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync_file(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return report


def _spool(plan: Plan, part: tuple[int, int], folder: Path, progress: Progress | None) -> dict[str, Any]:
    """Write the documents and terms of a part to `folder`, and return its counts."""
    writers = [SpoolWriter(folder / f"shard-{number:04d}.arrow") for number in range(plan.shards)]
    growing = [_Terms(name, config) for name, config in plan.configs().items() if not config.dense]
    lines = [0] * plan.shards
    try:
        for batch in _own_lines(plan, part):
            ids = [line.content.id if isinstance(line.content, Document) else "" for line in batch]
            for line, owner in zip(batch, shards_of(ids, plan.shards).tolist(), strict=True):
                at = owner if isinstance(line.content, Document) else line.line_number % plan.shards
                writers[at].add(line)
                lines[at] += 1
                if isinstance(line.content, Document):
                    for terms in growing:
                        terms.add(line.line_number, line.content)
            if progress is not None:
                progress(len(batch))
        for writer in writers:
            writer.close()
    except BaseException:
        for writer in writers:
            writer.abandon()
        raise
    for terms in growing:
        terms.write(folder / f"terms-{terms.name}.arrow")
    return {"lines": lines, "lengths": {terms.name: [terms.texts, terms.length] for terms in growing}}


def make_common(build: Build) -> None:
    """Create the collection that all shards share, from the counts of all parts; once it is there it stays.

    Raises what loading an encoder raises.
    """
    if (build.common / "catalog.sqlite").exists():
        return
    shutil.rmtree(build.common, ignore_errors=True)
    plan = build.plan
    reports = {part: build.part_report(part) for part in build.part_numbers}
    sparse: dict[str, NamedVector] = {}
    for name, config in plan.configs().items():
        if config.dense or config.encoder not in (None, "bm25"):
            continue
        tokens = list(_dictionary([build.part_folder(part) / f"terms-{name}.arrow" for part in build.part_numbers]))
        settings = dict(config.settings)
        if config.encoder == "bm25" and settings.get("average_length") is None:
            counts = [report["lengths"][name] for report in reports.values() if report is not None]
            texts, length = (sum(one[at] for one in counts) for at in (0, 1))
            if texts:
                settings["average_length"] = max(length / texts, 1.0)
        sparse[name] = NamedVector(name, replace(config, settings=settings), tokens=tokens)
    vectors = new_vectors(plan.configs(), Vectors(sparse, {}))
    for vector in vectors.sparse.values():
        if vector.config.encoder is not None:
            vector.device = plan.device
            _ = vector.encoder  # loaded for its fingerprint, which all shards store
    for dense in vectors.dense.values():
        if dense.source is not None:
            dense.source.device = plan.device
            _ = dense.encoder
    Template(vectors, MetadataSchema(plan.schema), plan.search).create_common(build.common)


def make_shard(
    build: Build, number: int, progress: Progress | None = None, on_problem: OnProblem | None = None
) -> dict[str, Any]:
    """Load one shard, or go on with it, and return its counts and its digest. Raises what `load_corpus` raises."""
    files = [build.part_folder(part) / f"shard-{number:04d}.arrow" for part in build.part_numbers]
    reports = [build.part_report(part) for part in build.part_numbers]
    lines = sum(report["lines"][number] for report in reports if report is not None)
    identity = json.dumps([build.plan.identities, number, build.plan.shards])
    corpus = SpooledCorpus(shard_name(number, build.plan.shards), files, identity, lines)
    template = Template.of(state := open_to_read(build.common))
    done = 0

    def report_progress(phase: str, position: int, _: int | None) -> None:
        nonlocal done
        if phase == "indexing" and progress is not None:
            progress(position - done)
            done = position

    def refused(key: int, error: InvalidDocument) -> None:
        if on_problem is not None:
            on_problem(build.plan.inputs[key >> _FILE_BITS], key & ((1 << _FILE_BITS) - 1), error)

    try:
        report: IndexReport = template.load(
            corpus,
            build.shard(number),
            document_vectors,
            threads=1,
            device=build.plan.device,
            progress=report_progress,
            on_problem=refused,
        )
    finally:
        state.catalog.close()
    sync_tree(build.shard(number))
    return {"report": asdict(report), "digest": digest_of(build.shard(number))}


def _own_lines(plan: Plan, part: tuple[int, int]) -> Iterator[list[CorpusLine]]:
    """Yield the lines of a part, block by block, with their numbers in the whole corpus."""
    number, own = part
    lines = iter(plan.open_input(number))
    block = 0
    while batch := list(islice(lines, BLOCK_LINES)):
        if block % plan.parts == own:
            yield [CorpusLine((number << _FILE_BITS) | line.line_number, line.content) for line in batch]
        block += 1


class _Terms:
    """The terms of one named vector in the order of their first occurrence, and what BM25 measures.

    A model's vocabulary is fixed and needs neither.
    """

    def __init__(self, name: str, config: VectorConfig) -> None:
        self.name = name
        self.texts = self.length = 0
        self._finder = TokenFinder(name, config)
        self._first: dict[str, int] = {}

    def add(self, line: int, document: Document) -> None:
        """Add the terms of a document: those of its text, or those that it brings."""
        tokens, is_text = self._finder.tokens(document)
        if is_text:
            self.texts += 1
            self.length += len(tokens)
        for token in tokens:
            self._first.setdefault(token, line)

    def write(self, path: Path) -> None:
        """Write the terms and the line in which each occurs first."""
        table = pa.table(
            {"line": pa.array(self._first.values(), pa.int64()), "term": pa.array(self._first, pa.large_string())}
        )
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=1 << 16)
        sync_file(path)


def _dictionary(files: Sequence[Path]) -> Iterator[str]:
    """Yield each term once, in the order of the first occurrence in the corpus."""
    seen: set[str] = set()
    for _, term in heapq.merge(*map(_read_terms, files), key=lambda pair: pair[0]):
        if term not in seen:
            seen.add(term)
            yield term


def _read_terms(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                yield from zip(batch.column("line").to_pylist(), batch.column("term").to_pylist(), strict=True)
    except (OSError, pa.ArrowException) as error:
        raise CorpusDamaged(f"{path} cannot be read ({error}): remove its folder and run with --resume") from error


def _write_last(path: Path, value: Mapping[str, Any]) -> None:
    """Write the file that says that a step is complete, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.unfinished")
    temporary.write_bytes(json.dumps(value, indent=1).encode())
    sync_file(temporary)
    temporary.replace(path)
    sync_file(path.parent)
