"""More metadata fields for a collection: every answer is that of a collection that had the fields from the start."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lsr.collection import Collection, verify_collection
from lsr.documents import Document, SparseByToken
from lsr.errors import CollectionCorrupt, InvalidDocument, LsrError, QueryError, StorageFull, UnknownField
from lsr.metadata import MAX_FIELDS, MetadataSchema
from lsr.part import Part
from lsr.reindexing import reindex
from lsr.search.request import Boost, Facets, GroupBy, Sort
from lsr.storage.segment import SEGMENTS_FOLDER
from lsr.vectors import VectorConfig

SPARSE = {"default": VectorConfig(None)}
OLD = {"year": "int"}
ADDED = {"lang": "keyword", "price": "float", "fresh": "bool", "tag": "keyword[]", "at": "date", "n": "int"}
METADATA: list[dict[str, Any]] = [
    {"year": 2019, "lang": "fr", "tag": ["food", "sea"], "at": "2019-05-01", "price": 2, "n": 7},
    {"year": 2020},
    {"lang": "en", "tag": [], "price": -0.0, "fresh": False, "free": {"lang": "no", "form": ["lang", None]}},
    {},
    {"year": 2021, "lang": "en", "fresh": True, "at": "2020-01-01T00:30:00+01:00", "n": None},
    {"year": 2022, "note": '"lang"', "lang": "日本"},
]
QUERY = SparseByToken({"x": 1.0, "y": 0.5})


def document(number: int, metadata: dict[str, Any]) -> Document:
    vector = SparseByToken({"x": 1.0 + number / 8, f"t{number}": 1.0})
    return Document(f"d{number}", text=f"text {number}", metadata=metadata, vectors={"default": vector})


def all_pending(collection: Collection) -> None:
    collection.write([document(number, metadata) for number, metadata in enumerate(METADATA)])


def all_sealed(collection: Collection) -> None:
    all_pending(collection)
    collection.seal()


def two_segments_and_pending(collection: Collection) -> None:
    for start in (0, 2, 4):
        collection.write([document(number, METADATA[number]) for number in (start, start + 1)])
        if start < 4:
            collection.seal()


def with_deletions(collection: Collection) -> None:
    two_segments_and_pending(collection)
    collection.write([document(9, {"lang": 5}), document(8, {"lang": "de"})])
    collection.seal()
    collection.delete(["d0", "d9"])
    collection.write([document(2, {"year": 1999, "lang": "it"})])


LAYOUTS: list[Callable[[Collection], None]] = [all_pending, all_sealed, two_segments_and_pending, with_deletions]


def answers(collection: Collection) -> dict[str, Any]:
    """Return what can be asked that reads a metadata column."""
    conditions: list[Any] = [
        {"lang": "en"}, {"lang": {"in": ["fr", "日本"]}}, {"lang": {"exists": False}}, {"not": {"lang": "en"}},
        {"price": {"gte": 0}}, {"price": 0}, {"fresh": True}, {"fresh": {"ne": True}}, {"tag": "sea"},
        {"tag": {"exists": True}}, {"at": {"lt": "2020-01-01"}}, {"n": 7}, {"year": {"gt": 2019}, "lang": "en"},
    ]  # fmt: skip

    def ids(**options: Any) -> list[tuple[str, float]]:
        return [(hit.id, hit.score) for hit in collection.search(QUERY, k=20, **options).hits]

    return {
        "filters": [(ids(filter=one), sorted(collection.matching(one))) for one in conditions],
        "facets": collection.search(QUERY, facets=Facets(tuple(ADDED), over="matches")).facets,
        "sort": [ids(sort=Sort(field, order)) for field in ("price", "at", "n", "lang") for order in ("asc", "desc")],
        "group_by": ids(group_by=GroupBy("lang")),
        "boosts": [ids(boosts=(Boost("price", 0.5),)), ids(boosts=(Boost("n", 0.25),))],
        "pages": [[one.id for one in collection.page(None, 3, filter=where)] for where in (None, {"lang": "en"})],
        "documents": [(one, scores.tolist()) for one, _, scores in collection.scan()],
        "schema": collection.schema.fields,
    }


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("afterwards", ["nothing", "seal", "merge", "reopen"])
def test_every_answer_is_that_of_a_collection_that_had_the_fields_from_the_start(
    layout: Callable[[Collection], None], afterwards: str, tmp_path: Path
) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE, schema=OLD) as collection:
        layout(collection)
        seq = collection.info().seq
        returned = collection.extend_schema(ADDED)
        assert returned.fields == {**OLD, **ADDED}
        assert collection.info().seq > seq
    with Collection.create(tmp_path / "wanted", vectors=SPARSE, schema=OLD | ADDED) as wanted:
        live = [one for one, _, _ in Collection.open(tmp_path / "c").scan()]
        wanted.write([document(int(one.id[1:]), dict(one.metadata)) for one in live])
        with Collection.open(tmp_path / "c", "w") as collection:
            if afterwards == "seal":
                collection.seal()
            elif afterwards == "merge":
                collection.seal()
                collection.merge()
            expected = answers(wanted)
            expected["documents"].sort(key=lambda pair: pair[0].id)
            found = answers(collection)
            found["documents"].sort(key=lambda pair: pair[0].id)
            assert found == expected
    assert verify_collection(tmp_path / "c") == []
    names = {path.name for path in (tmp_path / "c" / SEGMENTS_FOLDER).iterdir()}
    with Collection.open(tmp_path / "c") as collection:
        assert names == {view.segment.row.uuid for view in collection._state.generation.segments}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_new_documents_are_found_next_to_old_ones_at_once(layout: Callable[[Collection], None], tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        layout(collection)
        before = collection.search(QUERY, k=20)
        with pytest.raises(UnknownField):
            collection.search(QUERY, filter={"lang": "sv"})
        collection.extend_schema({"lang": "keyword"})
        assert collection.search(QUERY, filter={"lang": "sv"}).hits == ()
        collection.write([document(20, {"lang": "sv"})])
        collection.patch("d1", {"lang": "sv"})
        assert {hit.id for hit in collection.search(QUERY, filter={"lang": "sv"}).hits} == {"d1", "d20"}
        assert {hit.id for hit in collection.search(QUERY, k=20).hits} == {hit.id for hit in before.hits} | {"d20"}
        with pytest.raises(InvalidDocument, match=r"metadata\.lang"):
            collection.write([document(21, {"lang": 7})])


def test_the_same_fields_again_change_nothing(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE, schema=OLD) as collection:
        all_sealed(collection)
        collection.extend_schema({"lang": "keyword"})
        seq, generation = collection.info().seq, collection._state.generation
        collection.extend_schema({"lang": "keyword", "year": "int"})
        collection.extend_schema({})
        assert collection.info().seq == seq
        assert collection._state.generation is generation


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"year": "keyword"}, "schema.year", "has the type int and cannot become 'keyword'.*lsr reindex --schema"),
        ({"year": None}, "schema.year", "cannot be removed.*lsr reindex --schema"),
        ({"lang": "text"}, "schema.lang", "'text' is not a type"),
        ({"lang": None}, "schema.lang", "None is not a type"),
        ({"and": "int"}, "schema.and", "is not a field name"),
        ({"a b": "int"}, "schema.a b", "is not a field name"),
        ({f"f{number}": "int" for number in range(MAX_FIELDS)}, "schema", "257 fields; .* at most 256"),
        ({"lang": "int"}, "schema.lang", r"the document 'd0' does not fit: metadata\.lang: 'fr'.*3 more such values"),
        ({"note": "keyword", "free": "keyword"}, "schema.free", "'d2' does not fit"),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS[:3])
def test_what_does_not_fit_is_refused_and_nothing_changes(
    layout: Callable[[Collection], None], fields: dict[str, Any], field: str, message: str, tmp_path: Path
) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE, schema=OLD) as collection:
        layout(collection)
        folders = set((tmp_path / "c" / SEGMENTS_FOLDER).iterdir())
        generation, settings = collection._state.generation, collection._state.catalog.settings()
        with pytest.raises(QueryError, match=message) as refused:
            collection.extend_schema(fields)
        assert refused.value.field == field
        assert collection._state.generation is generation
        assert collection._state.catalog.settings() == settings
        assert set((tmp_path / "c" / SEGMENTS_FOLDER).iterdir()) == folders
        with pytest.raises(QueryError, match="at most 256"):
            Collection.create(tmp_path / "d", schema={f"f{number}": "int" for number in range(MAX_FIELDS + 1)})


def test_a_deleted_document_cannot_refuse_a_field(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        collection.write([document(0, {"lang": 5}), document(1, {"lang": "en"})])
        collection.seal()
        collection.write([document(2, {"lang": 6})])
        collection.delete(["d0", "d2"])
        collection.extend_schema({"lang": "keyword"})
        assert collection.matching({"lang": "en"}) == ["d1"]


def test_writes_that_run_meanwhile_see_the_old_schema_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that was checked before the change, and is committed after it, is checked again."""
    from lsr.writing import changes

    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        all_sealed(collection)
        encode, extended = changes.document_vectors, threading.Event()

        def encode_and_extend(*arguments: Any) -> Any:
            if not extended.is_set():
                extended.set()
                collection.extend_schema({"color": "keyword"})
            return encode(*arguments)

        monkeypatch.setattr(changes, "document_vectors", encode_and_extend)
        problems: list[tuple[int, str]] = []
        batch = [document(30, {"color": 5}), Document(""), document(31, {"color": "red"})]
        written = collection.write(batch, on_problem=lambda at, error: problems.append((at, error.code)))
        assert extended.is_set()
        assert written.accepted == 1
        assert problems == [(1, "invalid_id"), (0, "invalid_metadata")]
        assert collection.matching({"color": "red"}) == ["d31"]
        assert collection.get("d30") is None


def test_documents_written_while_segments_are_copied_are_kept_or_refuse_the_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsr.upkeep import schema_change

    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        all_sealed(collection)
        copy = schema_change.extend_segment
        lang: list[Any] = [5, "sv"]

        def copy_and_write(*arguments: Any) -> Any:
            collection.write([document(40, {"lang": lang.pop(0)})])
            collection.delete(["d4"])
            return copy(*arguments)

        monkeypatch.setattr(schema_change, "extend_segment", copy_and_write)
        with pytest.raises(QueryError, match="'d40' does not fit"):
            collection.extend_schema({"lang": "keyword"})
        assert len(list((tmp_path / "c" / SEGMENTS_FOLDER).iterdir())) == 1
        collection.patch("d40", {"lang": "sv"})
        collection.extend_schema({"lang": "keyword"})
        assert collection.matching({"lang": {"in": ["sv", "en"]}}) == ["d2", "d40"]
        assert collection.get("d4") is None
    with Collection.open(tmp_path / "c") as collection:
        assert collection.matching({"lang": {"in": ["sv", "en"]}}) == ["d2", "d40"]


def test_searches_and_writes_from_many_threads_never_fail(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE, schema=OLD) as collection:
        two_segments_and_pending(collection)
        stop, errors, searches = threading.Event(), [], 0

        def search() -> None:
            nonlocal searches
            while not stop.is_set():
                known = list(collection.schema.fields)
                try:
                    collection.search(
                        QUERY, cache=False, filter={known[-1]: {"exists": False}}, facets=Facets((known[0],))
                    )
                    searches += 1
                except LsrError as error:
                    errors.append(error)

        def write() -> None:
            number = 100
            while not stop.is_set():
                number += 1
                collection.write([document(number, {"year": number})])

        threads = [threading.Thread(target=one) for one in (search, search, write)]
        for thread in threads:
            thread.start()
        for number in range(8):
            collection.extend_schema({f"f{number:02}": "keyword"})
            if number == 4:
                collection.seal()
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == []
        assert searches > 0
        assert len(collection.schema.fields) == 9
    assert verify_collection(tmp_path / "c") == []


def test_a_snapshot_of_before_brings_the_old_schema_back(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE, schema=OLD) as collection:
        two_segments_and_pending(collection)
        collection.snapshot("before")
        collection.extend_schema(ADDED)
        found = answers(collection)
        collection.snapshot("after")
        collection.restore("before")
        assert dict(collection.schema.fields) == OLD
        with pytest.raises(UnknownField):
            collection.matching({"lang": "en"})
        collection.extend_schema(ADDED)
        assert answers(collection) == found
        collection.restore("after")
        assert answers(collection) == found
    assert verify_collection(tmp_path / "c") == []


def test_a_process_that_reads_follows(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE, schema=OLD) as collection:
        two_segments_and_pending(collection)
        with Collection.open(tmp_path / "c") as reader:
            collection.extend_schema({"lang": "keyword"})
            assert reader.search(QUERY, filter={"year": 2019}).hits  # of files that are removed by now
            assert reader.follow()
            assert sorted(reader.matching({"lang": "en"})) == ["d2", "d4"]


def test_a_tenants_filter_can_name_a_new_field(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        two_segments_and_pending(collection)
        with pytest.raises(UnknownField):
            Part(collection, {"lang": "en"})
        collection.extend_schema({"lang": "keyword"})
        part = Part(collection, {"lang": "en"})
        assert sorted(one.id for one in part.page()) == ["d2", "d4"]
        collection.extend_schema({"n": "int"})
        assert part.matching({"n": {"exists": False}}) == ["d2", "d4"]
        part.write([document(50, {"lang": "en", "n": 3})])
        assert part.matching({"n": 3}) == ["d50"]


def test_a_reindexed_collection_has_the_fields_and_can_have_other_ones(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors={"default": VectorConfig("bm25")}, schema=OLD) as collection:
        collection.write([Document(f"d{at}", text="words", metadata=one) for at, one in enumerate(METADATA)])
        collection.seal()
        collection.extend_schema({"lang": "keyword"})
        reindex(tmp_path / "c", tmp_path / "same", replace={"default": VectorConfig("bm25")})
        with pytest.raises(QueryError, match=r"schema\.fresh: the document 'd2' does not fit.*1 more such value\)"):
            reindex(tmp_path / "c", tmp_path / "other", schema={"lang": "keyword", "fresh": "int"})
        assert not (tmp_path / "other").exists()
        collection.patch("d2", {"fresh": 1})
        collection.patch("d4", {"fresh": 2})
        reindex(tmp_path / "c", tmp_path / "other", schema={"lang": "keyword", "fresh": "int"})
    with Collection.open(tmp_path / "same") as same:
        assert dict(same.schema.fields) == {"lang": "keyword", "year": "int"}
        assert sorted(same.matching({"lang": "en"})) == ["d2", "d4"]
    with Collection.open(tmp_path / "other") as other:
        assert dict(other.schema.fields) == {"fresh": "int", "lang": "keyword"}
        assert other.matching({"lang": "fr"}) == ["d0"]
        assert other.matching({"fresh": {"gte": 2}}) == ["d4"]
        assert other.info().documents == len(METADATA)


def test_a_full_disk_refuses_the_fields_and_the_next_attempt_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsr.storage import segment_fields

    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        two_segments_and_pending(collection)
        found = collection.search(QUERY).hits

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        for step in ("publish", "write_file"):
            with monkeypatch.context() as patched:
                patched.setattr(segment_fields, step, full)
                with pytest.raises(StorageFull):
                    collection.extend_schema({"lang": "keyword"})
        with monkeypatch.context() as patched:
            patched.setattr("lsr.storage.catalog.write_state", full)
            with pytest.raises(OSError, match="No space left"):
                collection.extend_schema({"lang": "keyword"})
        assert collection.schema.fields == {}
        assert collection.search(QUERY, cache=False).hits == found
        collection.extend_schema({"lang": "keyword"})
        assert sorted(collection.matching({"lang": "en"})) == ["d2", "d4"]
        names = {path.name for path in (tmp_path / "c" / SEGMENTS_FOLDER).iterdir()}
        assert names == {view.segment.row.uuid for view in collection._state.generation.segments}


def test_damage_is_found_before_it_is_copied(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        two_segments_and_pending(collection)
        path = collection._state.generation.segments[0].segment.folder / "documents.arrow"
        content = bytearray(path.read_bytes())
        content[content.index(b"text 1")] ^= 1
        path.write_bytes(content)
        with pytest.raises(CollectionCorrupt, match="checksum"):
            collection.extend_schema({"lang": "keyword"})
        assert [damage.path for damage in collection.damage] == [path]
        with pytest.raises(CollectionCorrupt, match="out of reach"):
            collection.extend_schema({"lang": "keyword"})


def test_the_search_defaults_change_in_the_same_transaction_or_nothing_does(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        with pytest.raises(QueryError, match="does not exist"):
            collection.extend_schema({"lang": "keyword"}, search={"queries": [{"using": "nope"}]})
        assert collection.schema.fields == {}
        collection.extend_schema({"lang": "keyword"}, search={"queries": [{"using": "default", "limit": 7}]})
        assert collection.search_defaults.queries[0].limit == 7
    with Collection.open(tmp_path / "c") as collection:
        assert collection.search_defaults.queries[0].limit == 7
        assert collection.schema.fields == {"lang": "keyword"}


def test_a_file_system_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    with Collection.create(tmp_path / "c", vectors=SPARSE) as collection:
        all_sealed(collection)
        monkeypatch.setattr("lsr.storage.segment_fields.os.link", no_links)
        collection.extend_schema({"lang": "keyword"})
        assert collection.matching({"lang": "fr"}) == ["d0"]
    assert verify_collection(tmp_path / "c") == []


def test_the_schema_does_not_depend_on_the_order_of_its_fields() -> None:
    assert list(MetadataSchema({"b": "int", "a": "int"}).extended({"aa": "int"}).fields) == ["a", "aa", "b"]
