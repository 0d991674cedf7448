"""Shards that are built from a corpus in parts, in any order and with interruptions, equal the unsharded collection."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsr.collection import Collection
from lsr.corpora import Fields, open_corpus
from lsr.errors import CorpusDamaged, InvalidDocument, LsrError, QueryError, ShardMismatch
from lsr.results import SearchResult, Timings
from lsr.sharding.building import Build, Plan, make_common, make_part, make_shard, new_plan
from lsr.sharding.digest import digest_of, sum_of
from lsr.sharding.local import open_shards
from lsr.sharding.manifest import Publication, parse_publication
from lsr.sharding.places import place_of
from lsr.sharding.publishing import find_published, next_generation, publish, published
from lsr.sharding.resharding import reshard_publication
from lsr.sharding.splitting import describe_generation, split_collection
from lsr.upkeep.verification import verify_collection
from lsr.vectors import VectorConfig
from lsr.writing.bulk_load import index_corpus

SHARDS = 3
VECTORS = {"default": VectorConfig("bm25"), "own": VectorConfig(None)}
SCHEMA = {"year": "int"}
WORDS = ("lobster", "roll", "heart", "attack", "sparse", "vector", "river", "stone", "light", "seven", "words")
QUERIES = ("lobster roll", "river stone of light", "heart attack engine", "seven sparse words")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """JSON lines of two files together: most are documents, some are not, some ids occur twice."""
    rng = random.Random(3)
    words = (*WORDS,)
    made = []
    for number in range(3000):
        text = " ".join(rng.choices([*words, f"w{rng.randint(0, 400)}"], k=rng.randint(0, 12)))
        document: dict[str, Any] = {"id": f"d{number}", "text": text, "metadata": {"year": 2000 + number % 7}}
        if number % 5 == 0:
            document["vectors"] = {"own": {"sparse": {f"t{rng.randint(0, 30)}": 1.5, f"u{number % 11}": 0.25}}}
        made.append(json.dumps(document))
    for number in range(0, 3000, 400):
        made[number] = "{not JSON"
    made[1700] = json.dumps({"id": "d5", "text": "the second document of this id"})
    return made


@pytest.fixture(scope="module")
def inputs(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Two files, one of them compressed; and one with all lines."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "a.jsonl").write_text("\n".join(lines[:1600]) + "\n")
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.write("\n".join(lines[1600:]) + "\n")
    (folder / "all.jsonl").write_text("\n".join(lines) + "\n")
    return [str(folder / "a.jsonl"), str(folder / "b.jsonl.gz")], folder / "all.jsonl"


@pytest.fixture(scope="module")
def whole(inputs: tuple[list[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "c"
    index_corpus(open_corpus(str(inputs[1])), folder, vectors=VECTORS, schema=SCHEMA)
    return folder


def plan(inputs: list[str], **changed: Any) -> Plan:
    options: dict[str, Any] = {
        "format": "auto", "chunk": None, "fields": Fields(), "shards": SHARDS, "workers": 2, "generation": 1,
        "vectors": VECTORS, "schema": SCHEMA, "search": None, "device": "auto",
    }  # fmt: skip
    return new_plan(inputs, **{**options, **changed})


def run(build: Build, order: Callable[[list[Any]], list[Any]] = list) -> Publication:
    for part in order(build.part_numbers):
        make_part(build, part)
    make_common(build)
    reports = {number: make_shard(build, number) for number in order(list(range(build.plan.shards)))}
    digests = [reports[number]["digest"] for number in range(build.plan.shards)]
    return describe_generation(build.root, build.plan.generation, build.plan.shards, digests)


def shown(result: SearchResult) -> SearchResult:
    """The answer without times and term numbers: a term that only a refused line has gets a number in shards."""
    terms = tuple(replace(term, term_id=0) for term in result.query_terms)
    return replace(result, timings=Timings(0, 0, 0), query_terms=terms)


def backwards(items: list[Any]) -> list[Any]:
    return items[::-1]


def test_shards_built_in_any_order_equal_the_unsharded_collection(
    inputs: tuple[list[str], Path], whole: Path, tmp_path: Path
) -> None:
    build = Build.begin(tmp_path / "out", plan(inputs[0]), resume=False)
    assert len(build.part_numbers) > len(inputs[0])
    publication = run(build, backwards)
    assert sum_of(entry.digest for entry in publication.shards) == digest_of(whole)
    with Collection.open(whole) as unsharded, open_shards(build.root, publication, "c") as sharded:
        assert sharded.info().documents == unsharded.info().documents == 3000 - 8 - 1
        kinds = {(one.kind, one.vector) for one in sharded.info().stored}
        assert kinds == {(one.kind, one.vector) for one in unsharded.info().stored}
        assert sharded.info().bytes == sum(file.bytes for entry in publication.shards for file in entry.files.values())
        assert sharded.vector_config("default").settings == unsharded.vector_config("default").settings
        for query in QUERIES:
            found, expected = (
                shown(one.search(query, k=50, exact=True, explain_terms=5)) for one in (sharded, unsharded)
            )
            assert found == expected
            assert len(found.hits) >= 10
    for number in range(SHARDS):
        assert verify_collection(build.shard(number), "full") == []
        with Collection.open(build.shard(number)) as shard:
            assert shard.search("lobster", k=3).hits


def test_a_build_that_is_stopped_anywhere_goes_on_to_the_same_shards(
    inputs: tuple[list[str], Path], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsr.writing.bulk_load.SEGMENT_DOCUMENTS", 300)
    monkeypatch.setattr("lsr.writing.bulk_load.BATCH_LINES", 100)
    monkeypatch.setattr("lsr.sharding.building.BLOCK_LINES", 100)
    rng = random.Random(1)
    stops = 0

    class Stopped(Exception):
        pass

    def maybe_stop(_: int) -> None:
        nonlocal stops
        if stops < 10 and rng.random() < 0.4:
            stops += 1
            raise Stopped

    for attempt in range(200):
        build = Build.begin(tmp_path / "out", plan(inputs[0]), resume=attempt > 0)
        try:
            for part in build.part_numbers:
                make_part(build, part, maybe_stop)
            make_common(build)
            digests = [make_shard(build, number, maybe_stop)["digest"] for number in range(SHARDS)]
            break
        except Stopped:
            continue
    assert stops == 10
    assert sum_of(digests) == digest_of(whole)
    publication = describe_generation(build.root, 1, SHARDS, digests)
    publish(place_of(str(build.root)), publication, build.root)
    build.finish()
    assert not (build.root / "building").exists()
    assert published(place_of(str(build.root))) == publication


def test_a_part_that_two_workers_make_at_the_same_time_is_made_once(
    inputs: tuple[list[str], Path], whole: Path, tmp_path: Path
) -> None:
    """The worker of a machine that is lost to the cluster goes on, while another one has its step."""
    build = Build.begin(tmp_path / "out", plan(inputs[0]), resume=False)
    others: list[Any] = []

    def make_it_too(_: int) -> None:
        if not others:
            others.append(None)
            others[0] = make_part(build, (0, 0))

    assert make_part(build, (0, 0), make_it_too) == others[0] == build.part_report((0, 0))
    publication = run(build)
    assert sum_of(entry.digest for entry in publication.shards) == digest_of(whole)
    assert list(build.work.glob("*unfinished*")) == []


def test_refused_lines_are_reported_once_with_their_file_and_line(
    inputs: tuple[list[str], Path], tmp_path: Path
) -> None:
    build = Build.begin(tmp_path / "out", plan(inputs[0]), resume=False)
    for part in build.part_numbers:
        make_part(build, part)
    make_common(build)
    found: list[tuple[str, int, str]] = []

    def refused(file: str, line: int, error: InvalidDocument) -> None:
        found.append((Path(file).name, line, error.code))

    for number in range(SHARDS):
        make_shard(build, number, on_problem=refused)
    json_errors = [(name, line) for name, line, code in found if code == "malformed_json"]
    assert sorted(json_errors) == [("a.jsonl", at + 1) for at in range(0, 1600, 400)] + [
        ("b.jsonl.gz", at + 1) for at in range(0, 1400, 400)
    ]
    assert [one for one in found if one[2] == "duplicate_id"] == [("b.jsonl.gz", 101, "duplicate_id")]


def test_another_build_in_the_same_place_is_refused(inputs: tuple[list[str], Path], tmp_path: Path) -> None:
    Build.begin(tmp_path, plan(inputs[0]), resume=False)
    with pytest.raises(LsrError, match="go on with --resume"):
        Build.begin(tmp_path, plan(inputs[0]), resume=False)
    with pytest.raises(LsrError, match="was begun with shards = 3, not 4"):
        Build.begin(tmp_path, plan(inputs[0], shards=4), resume=True)
    # Another number of workers is no other build: the parts stay those of the first run.
    again = Build.begin(tmp_path, plan(inputs[0], workers=7), resume=True)
    assert again.plan.parts == plan(inputs[0]).parts


def test_a_damaged_part_names_what_to_do(inputs: tuple[list[str], Path], tmp_path: Path) -> None:
    build = Build.begin(tmp_path, plan(inputs[0]), resume=False)
    for part in build.part_numbers:
        make_part(build, part)
    make_common(build)
    spooled = build.part_folder((1, 0)) / "shard-0002.arrow"
    spooled.write_bytes(spooled.read_bytes()[:1000])
    with pytest.raises(CorpusDamaged, match="run with --resume"):
        make_shard(build, 2)


def test_a_collection_is_split_into_shards_again_without_its_texts_being_encoded(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a text was encoded")

    monkeypatch.setattr("encoders.bm25.BM25Encoder.encode_documents", refuse)
    publication = split_collection(whole, tmp_path, 5, generation=7)
    assert publication.generation == 7
    assert sum_of(entry.digest for entry in publication.shards) == digest_of(whole)
    with Collection.open(whole) as unsharded, open_shards(tmp_path, publication, "c") as sharded:
        for query in QUERIES:
            (ids, scores), (own_ids, own_scores) = (one.rank([query], k=30)[0] for one in (unsharded, sharded))
            assert ids == own_ids
            np.testing.assert_array_equal(scores, own_scores)


def test_another_number_of_shards_holds_the_same_documents_and_answers(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of(str(tmp_path))
    publish(place, split_collection(whole, tmp_path, 3), tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a text was encoded")

    monkeypatch.setattr("encoders.bm25.BM25Encoder.encode_documents", refuse)
    changed = reshard_publication(place, published(place), tmp_path, 2, generation=next_generation(place))
    publish(place, changed, tmp_path)
    assert len(changed.shards) == 2
    assert sum_of(entry.digest for entry in changed.shards) == digest_of(whole)
    with Collection.open(whole) as unsharded, open_shards(tmp_path, published(place), "c") as sharded:
        for query in QUERIES:
            found, expected = (
                shown(one.search(query, k=50, exact=True, explain_terms=5)) for one in (sharded, unsharded)
            )
            assert found == expected


def test_a_generation_is_published_as_a_whole_and_only_once(whole: Path, tmp_path: Path) -> None:
    place = place_of(str(tmp_path / "place"))
    assert find_published(place) is None
    assert next_generation(place) == 1
    first = split_collection(whole, tmp_path / "scratch", 2, generation=1)
    publish(place, first, tmp_path / "scratch")
    assert published(place) == first
    second = split_collection(whole, tmp_path / "scratch", 3, generation=next_generation(place))
    missing = tmp_path / "scratch" / second.shards[2].folder / "catalog.sqlite"
    kept = missing.read_bytes()
    missing.unlink()
    with pytest.raises(Exception, match=r"catalog\.sqlite"):
        publish(place, second, tmp_path / "scratch")
    assert published(place) == first  # nothing is half-published
    missing.write_bytes(kept)
    publish(place, second, tmp_path / "scratch")
    assert published(place) == second
    with pytest.raises(ShardMismatch, match="generation 2 is published already"):
        publish(place, second, tmp_path / "scratch")


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(format_version=9),
        lambda value: value["shards"].clear(),
        lambda value: value["shards"][0].update(folder="../elsewhere"),
        lambda value: value["shards"][0]["files"].update({"/etc/passwd": {"bytes": 1, "sha256": "0" * 64}}),
        lambda value: value["common"].pop("files"),
        lambda value: value["shards"][0].update(documents=-1),
        lambda value: value["shards"][0]["files"]["catalog.sqlite"].update(sha256="short"),
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_refused_in_one_line(whole: Path, tmp_path: Path, change: Any) -> None:
    value = json.loads(split_collection(whole, tmp_path, 1).to_json())
    change(value)
    with pytest.raises(ShardMismatch) as caught:
        parse_publication(json.dumps(value).encode(), "here/shards.json")
    assert "here/shards.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shards_that_do_not_fit_together_are_refused(whole: Path, tmp_path: Path) -> None:
    publication = split_collection(whole, tmp_path, 2)
    other = replace(publication.shards[0], documents=publication.shards[0].documents + 1)
    with pytest.raises(ShardMismatch, match="restart its replicas"):
        open_shards(tmp_path, replace(publication, shards=(other, publication.shards[1])), "c")
    with pytest.raises(ShardMismatch, match="was encoded with"):
        open_shards(tmp_path, replace(publication, vectors={"default": "another"}), "c")
    with pytest.raises(QueryError, match="--shards is a number"):
        split_collection(whole, tmp_path / "none", 0)
