"""More metadata fields for a collection, over HTTP and on the shell."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from lsr.cli.running import run
from lsr.collection import Collection, verify_collection
from lsr.documents import Document
from service.auth import ApiKey
from service.settings import ServiceSettings

NAME = "/v1/collections/menu"
DISHES: list[dict[str, Any]] = [
    {"id": "a", "text": "lobster roll", "metadata": {"year": 2019, "lang": "en", "price": 12}},
    {"id": "b", "text": "lobster soup", "metadata": {"year": 2020, "lang": "fr"}},
    {"id": "c", "text": "crab roll", "metadata": {}},
]


@pytest.fixture
def menu(serve, tmp_path: Path) -> httpx.Client:
    """A collection with documents in a segment, deleted ones in it, and pending ones."""
    with Collection.create(tmp_path / "menu", schema={"year": "int"}) as collection:
        collection.write(
            [Document(**one) for one in DISHES[:2]] + [Document("x", text="lobster", metadata={"lang": 5})]
        )
        collection.seal()
        collection.delete(["x"])
        collection.write([Document(**DISHES[2])])
    return serve(folder=tmp_path)


def found(client: httpx.Client, **more: Any) -> list[str]:
    answer = client.post(f"{NAME}/search", json={"query": {"text": "lobster roll"}, **more})
    assert answer.status_code == 200, answer.text
    return sorted(hit["id"] for hit in answer.json()["hits"])


def test_every_way_to_read_knows_a_new_field_right_after_the_answer(menu: httpx.Client) -> None:
    assert found(menu) == ["a", "b", "c"]
    unknown = menu.post(f"{NAME}/search", json={"query": {"text": "roll"}, "filter": {"lang": "en"}})
    assert unknown.status_code == 422
    seq = menu.get(NAME).json()["seq"]
    changed = menu.patch(NAME, json={"schema": {"lang": "keyword", "price": "float", "year": "int"}})
    assert changed.status_code == 200, changed.text
    assert changed.json()["schema"] == {"lang": "keyword", "price": "float", "year": "int"}
    assert changed.json() == {**menu.get(NAME).json()}
    assert changed.json()["seq"] == seq + 1
    added = menu.post(
        f"{NAME}/documents", json={"documents": [{"id": "d", "text": "lobster", "metadata": {"lang": "en"}}]}
    )
    assert added.json()["accepted"] == 1
    assert found(menu, filter={"lang": "en"}) == ["a", "d"]
    assert found(menu, filter={"lang": {"exists": False}}) == ["c"]
    facets = menu.post(
        f"{NAME}/search", json={"query": {"text": "lobster roll"}, "facets": {"fields": ["lang"]}}
    ).json()["facets"]["lang"]
    assert facets["values"] == [{"value": "en", "count": 2}, {"value": "fr", "count": 1}]
    assert facets["missing"] == 1
    ordered = menu.post(f"{NAME}/search", json={"query": {"text": "lobster"}, "sort": {"field": "price"}}).json()
    assert ordered["hits"][0]["id"] == "a"
    grouped = menu.post(f"{NAME}/search", json={"query": {"text": "lobster roll"}, "group_by": {"field": "lang"}})
    assert len(grouped.json()["hits"]) == 3
    assert menu.get(f"{NAME}/documents/a").json()["metadata"] == DISHES[0]["metadata"]
    listed = menu.get(f"{NAME}/documents").json()["documents"]
    assert [one["metadata"].get("lang") for one in listed] == ["en", "fr", None, "en"]
    deleted = menu.post(f"{NAME}/documents:delete", json={"filter": {"lang": "fr"}})
    assert deleted.json()["deleted"] == 1
    assert found(menu) == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"schema": {"year": "keyword"}}, "schema.year", "has the type int and cannot become"),
        ({"schema": {"year": None}}, "schema.year", "fields are not removed"),
        ({"schema": {"lang": None}}, "schema.lang", "fields are not removed"),
        ({"schema": {"lang": "int"}}, "schema.lang", "the document 'a' does not fit"),
        ({"schema": {"lang": "text"}}, "schema.lang", ""),
        ({"schema": {"or": "int"}}, "schema.or", "is not a field name"),
        ({"schema": {f"f{n}": "int" for n in range(256)}}, "schema", "at most 256"),
        ({"schema": {f"f{n}": "int" for n in range(257)}}, "schema", ""),
        ({"schema": ["lang"]}, "schema", ""),
        ({}, "body", "give schema, search or query_sample"),
        ({"schema": None}, "body", "give schema, search or query_sample"),
        ({"mappings": {"lang": "keyword"}}, "mappings", "declared in schema"),
        ({"schema": {"lang": "keyword"}, "search": {"queries": [{"using": "no"}]}}, "search.queries[0].using", ""),
    ],
)
def test_a_change_that_cannot_be_made_names_its_field_and_changes_nothing(
    menu: httpx.Client, body: dict[str, Any], field: str, words: str
) -> None:
    before = menu.get(NAME).json()
    refused = menu.patch(NAME, json=body)
    assert refused.status_code == 422, refused.text
    assert field in [error["field"] for error in refused.json()["errors"]]
    assert words in refused.text
    assert menu.get(NAME).json() == before


def test_schema_and_search_defaults_change_together(menu: httpx.Client) -> None:
    body = {"schema": {"lang": "keyword"}, "search": {"queries": [{"using": "default", "limit": 5}]}}
    shown = menu.patch(NAME, json=body).json()
    assert shown["schema"] == {"lang": "keyword", "year": "int"}
    assert shown["search"]["queries"] == [{"using": "default", "limit": 5}]


def test_searches_and_writes_meanwhile_get_no_error(menu: httpx.Client) -> None:
    def search(number: int) -> int:
        return menu.post(
            f"{NAME}/search", json={"query": {"text": f"lobster {number}"}, "filter": {"year": 2019}}
        ).status_code

    def write(number: int) -> int:
        document = {"id": f"w{number}", "text": "lobster", "metadata": {"color": "red"}}
        return menu.post(f"{NAME}/documents", json={"documents": [document]}).status_code

    def extend(number: int) -> int:
        return menu.patch(NAME, json={"schema": {f"f{number}": "keyword", "color": "keyword"}}).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = [pool.submit(one, number) for number in range(15) for one in (search, write, extend)]
        assert {code.result() for code in codes} == {200}
    assert len(menu.get(NAME).json()["schema"]) == 17
    assert len(found(menu, filter={"color": "red"}, k=50)) == 15


def test_only_an_admin_key_adds_fields(serve, tmp_path: Path) -> None:
    keys = (ApiKey.of("a" * 32), ApiKey.of("b" * 32, "read", "write"))
    client = serve(ServiceSettings(api_keys=keys), tmp_path)
    owner, other = {"Authorization": f"Bearer {'a' * 32}"}, {"Authorization": f"Bearer {'b' * 32}"}
    assert client.put("/v1/collections/one", json={}, headers=owner).status_code == 201
    assert client.patch("/v1/collections/one", json={"schema": {"n": "int"}}, headers=other).status_code == 403
    assert client.patch("/v1/collections/one", json={"schema": {"n": "int"}}, headers=owner).status_code == 200


def test_the_shell_shows_and_adds_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "menu")
    with Collection.create(folder) as collection:
        collection.write([Document(**one) for one in DISHES])
        collection.seal()
    assert run(["schema", folder]) == 0
    assert "no fields; --add declares some" in capsys.readouterr().err
    assert run(["schema", folder, "--add", '{"lang": "keyword"}', "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": {"lang": "keyword"}, "added": ["lang"]}
    assert run(["schema", folder]) == 0
    assert capsys.readouterr().out.splitlines() == ["field  type", "lang   keyword"]
    assert run(["schema", folder, "--add", '{"lang": "int"}']) == 2
    assert "lsr reindex --schema" in capsys.readouterr().err
    assert run(["schema", folder, "--add", '{"price": "keyword"}']) == 2
    assert "the document 'a' does not fit" in capsys.readouterr().err
    assert run(["search", folder, "lobster", "--filter", '{"lang": "fr"}', "--json"]) == 0
    assert [hit["id"] for hit in json.loads(capsys.readouterr().out)["hits"]] == ["b"]
    other = str(tmp_path / "other")
    assert run(["reindex", folder, "--out", other, "--schema", '{"year": "int"}', "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["copied"] == ["default"]
    with Collection.open(other) as collection:
        assert dict(collection.schema.fields) == {"year": "int"}
        assert collection.matching({"year": {"gte": 2020}}) == ["b"]
    assert verify_collection(folder) == []
