"""A key that is bound to a filter sees what it would see if no other document existed, through every route."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsr.collection import Collection
from lsr.documents import Document, SparseByToken
from lsr.vectors import VectorConfig
from service.auth import ApiKey, KeyFileError, load_api_keys
from service.settings import ServiceSettings

ADMIN, ALPHA, BETA, ONE = (f"{name}-key-0123456789" for name in ("admin", "alpha", "beta", "one"))
SCHEMA = {"tenant": "keyword", "year": "int", "tag": "keyword[]", "at": "date", "price": "float"}
WORDS = ["heron", "lobster", "river", "moon", "survey", "soup", "bridge"]
SECRET = "zanzibar"  # a word that only the other tenant's documents hold


def made(number: int, tenant: str) -> Document:
    words = [WORDS[(number * step + step) % len(WORDS)] for step in (1, 2, 3, 5)]
    if tenant == "beta":
        words.append(SECRET)
    metadata: dict[str, Any] = {"tenant": tenant, "year": 2000 + number % 7, "price": number / 4}
    metadata["tag"] = [f"tag-of-{tenant}", WORDS[number % 3]]
    metadata["at"] = f"20{10 + number % 9}-03-01T00:00:00Z"
    weights = {word: 1.0 + (number + at) % 5 for at, word in enumerate(words)}
    return Document(
        f"{tenant}-{number % 4}#{number}",
        title=f"{words[0]} {tenant if tenant == 'beta' else ''}".strip(),
        text=" ".join(words * (1 + number % 3)),
        parent=f"{tenant}-{number % 4}",
        metadata=metadata,
        vectors={"given": SparseByToken(weights)},
    )


def create(folder: Path, tenants: list[str]) -> None:
    vectors = {"default": VectorConfig("bm25", {"average_length": 6.0}), "given": VectorConfig(None)}
    documents = [made(number, tenant) for number in range(40) for tenant in tenants]
    with Collection.create(folder, vectors=vectors, schema=SCHEMA) as it:
        half = len(documents) // 2
        it.write(documents[:half])
        it.seal()
        it.delete([one.id for one in documents[:half:9]])
        it.write(documents[half:])
    # Deleted documents are others in the two collections: written again, both hold the same of tenant alpha.
    with Collection.open(folder, "w") as it:
        it.write(documents[:half:9])


@pytest.fixture(scope="module")
def client(serve, tmp_path_factory: pytest.TempPathFactory) -> httpx.Client:
    folder = tmp_path_factory.mktemp("tenants")
    create(folder / "shared", ["alpha", "beta"])
    create(folder / "alone", ["alpha"])
    keys = (
        ApiKey.of(ADMIN),
        ApiKey.of(ALPHA, "read", "write", collections=["shared", "later"], condition={"tenant": "alpha"}),
        ApiKey.of(BETA, "read", "write", condition={"tenant": "beta"}),
        ApiKey.of(ONE, "read", collections=["alone"]),
    )
    made_client: httpx.Client = serve(ServiceSettings(api_keys=keys), folder)
    return made_client


def ask(client: httpx.Client, key: str, method: str, path: str, body: object = None) -> httpx.Response:
    return client.request(method, path, json=body, headers={"X-API-Key": key})


def plain(value: Any) -> Any:
    """Return an answer without what differs between two collections with the same documents: term numbers, times."""
    if isinstance(value, dict):
        gone = {"took_ms", "timings", "id"} if "weight" in value and "token" in value else {"took_ms", "timings"}
        gone |= {
            "seq",
            "request_id",
            "instance",
            "next_cursor",
            "segments",
            "deleted",
            "bytes",
            "stored",
            "read_only",
            "name",
            "index",
        }
        return {name: plain(one) for name, one in value.items() if name not in gone}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.replace("shared", "alone") if isinstance(value, str) else value


def same(client: httpx.Client, method: str, path: str, body: object = None) -> httpx.Response:
    """Ask with the bound key, and of the collection of this tenant alone; the answers must be the same."""
    bound = ask(client, ALPHA, method, f"/v1/collections/shared{path}", body)
    alone = ask(client, ADMIN, method, f"/v1/collections/alone{path}", body)
    assert bound.status_code == alone.status_code, (bound.text, alone.text)
    assert plain(bound.json()) == plain(alone.json())
    asked = path + json.dumps(body)
    for secret in ("beta", SECRET):  # where it was asked for, a message may quote it
        assert secret not in bound.text or secret in asked
    return bound


text = st.lists(st.sampled_from([*WORDS, SECRET, "beta", "unseen"]), min_size=1, max_size=4).map(" ".join)
numbers = st.integers(0, 39)
ids = st.tuples(st.sampled_from(["alpha", "beta"]), numbers).map(lambda one: f"{one[0]}-{one[1] % 4}#{one[1]}")
sparse = st.dictionaries(st.sampled_from([*WORDS, SECRET, "unseen"]), st.floats(0.5, 4), min_size=1, max_size=4)
leaf = st.one_of(
    st.builds(lambda year: {"year": {"gte": year}}, st.integers(1999, 2007)),
    st.builds(lambda some: {"ids": some}, st.lists(ids, max_size=5)),
    st.sampled_from([{"tenant": "beta"}, {"tag": "tag-of-beta"}, {"tenant": {"in": ["alpha", "beta"]}}, {}]),
)
condition = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda some: {"or": some}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=4,
)
fusion_leg = st.one_of(
    st.builds(lambda words: {"using": "default", "text": words}, text),
    st.builds(lambda weights: {"using": "given", "sparse": weights}, sparse),
    st.builds(lambda one: {"using": "given", "like": one}, ids),
    st.builds(lambda scores: {"scores": scores}, st.dictionaries(ids, st.floats(0, 1), min_size=1, max_size=5)),
)
query = st.one_of(
    st.builds(lambda words: {"query": {"text": words}, "using": "default"}, text),
    st.builds(lambda weights: {"query": {"sparse": weights}, "using": "given"}, sparse),
    st.builds(lambda one: {"query": {"like": one}}, ids),
    st.builds(lambda one, other: {"query": {"like": {"ids": [one], "unlike": [other]}}, "using": "given"}, ids, ids),
    st.builds(
        lambda legs, method: {"query": {"fusion": {"queries": legs, "method": method}}},
        st.lists(fusion_leg, min_size=1, max_size=3),
        st.sampled_from(["rrf", "scaled", "minmax", "zscore", "sum"]),
    ),
)
options = st.fixed_dictionaries(
    {"k": st.integers(1, 50)},
    optional={
        "filter": condition,
        "must": st.lists(st.sampled_from([*WORDS, SECRET, "unseen"]), min_size=1, max_size=2),
        "total": st.booleans(),
        "facets": st.sampled_from(
            [["tag"], {"fields": ["tag", "year", "at", "price", "tenant"], "over": "matches"}, ["price", "at"]]
        ),
        "prf": st.just({"docs": 3, "terms": 5}),
        "group_by": st.sampled_from(["parent", {"field": "year", "size": 3}]),
        "collapse": st.just({"similarity": 0.9, "using": "given"}),
        "boosts": st.just([{"field": "price", "weight": 0.5}]),
        "neighbours": st.just({"words": 30}),
        "explain": st.sampled_from([{"max_terms": 3}, {"max_terms": 8, "words": True}]),
        "min_score": st.floats(0, 3),
        "params": st.sampled_from([{"exact": True}, {"recall": 0.9}]),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=query, options=options)
def test_every_search_is_answered_as_if_there_were_no_other_documents(
    client: httpx.Client, query: dict[str, Any], options: dict[str, Any]
) -> None:
    for cache in (False, True, True):
        same(client, "POST", "/search", {**query, **options, "cache": cache})


def test_pages_are_those_of_the_part_and_belong_to_their_key(client: httpx.Client) -> None:
    body: dict[str, Any] = {"query": {"text": "heron moon"}, "using": "default", "k": 7, "cursor": True}
    seen: list[str] = []
    while True:
        answer = ask(client, ALPHA, "POST", "/v1/collections/shared/search", body).json()
        seen += [hit["id"] for hit in answer["hits"]]
        if answer["next_cursor"] is None:
            break
        body["cursor"] = answer["next_cursor"]
        for other in (BETA, ADMIN):
            stolen = ask(client, other, "POST", "/v1/collections/shared/search", body)
            assert stolen.status_code == 410, stolen.text
    whole = ask(client, ADMIN, "POST", "/v1/collections/alone/search", {**body, "k": 1000, "cursor": None}).json()
    assert seen == [hit["id"] for hit in whole["hits"]]
    assert len(seen) > 14


def test_an_answer_that_is_kept_for_one_key_is_not_given_to_another(client: httpx.Client) -> None:
    body = {"query": {"text": "heron"}, "using": "default", "k": 100, "include": []}
    found = {
        key: {
            hit["id"].partition("-")[0]
            for hit in ask(client, key, "POST", "/v1/collections/shared/search", body).json()["hits"]
        }
        for key in (ADMIN, ALPHA, BETA, ALPHA, ADMIN)
    }
    assert found == {ADMIN: {"alpha", "beta"}, ALPHA: {"alpha"}, BETA: {"beta"}}


@pytest.mark.parametrize("identifier", ["alpha-0#0", "beta-0#0", "beta-1#5", "alpha-1#1", "none"])
@pytest.mark.parametrize("path", ["/documents/{}", "/vectors/default/{}", "/vectors/given/{}"])
def test_a_document_is_found_by_its_id_inside_the_filter_only(client: httpx.Client, path: str, identifier: str) -> None:
    answer = same(client, "GET", path.format(identifier.replace("#", "%23")))
    assert (answer.status_code == 200) == identifier.startswith("alpha")


@pytest.mark.parametrize("after", [None, "a", "alpha-1%232", "beta", "beta-0%230", "zz"])
def test_lists_and_documents_by_ids_are_those_of_the_part(client: httpx.Client, after: str | None) -> None:
    for size in (1, 7, 100):
        page = same(client, "GET", f"/documents?size={size}&vectors=true" + (f"&after={after}" if after else ""))
        assert page.status_code == 200, page.text
    wanted = ["alpha-0#0", "beta-0#0", "beta-1#5", "alpha-1#1", "none"]
    answer = same(client, "POST", "/documents:get", {"ids": wanted, "vectors": True}).json()
    assert answer["missing"] == ["beta-0#0", "beta-1#5", "none"]


@pytest.mark.parametrize("prefix", ["", "h", "zan", "beta", "heron ", "s"])
def test_suggestions_come_from_the_part(client: httpx.Client, prefix: str) -> None:
    same(client, "GET", f"/suggest?prefix={prefix}&size=20")


def test_counts_and_lists_are_those_of_the_part(client: httpx.Client) -> None:
    shown = ask(client, ALPHA, "GET", "/v1/collections/shared").json()
    assert shown["documents"] == 40
    assert [shown[name] for name in ("bytes", "stored", "segments", "deleted")] == [None] * 4
    assert shown["vectors"]["given"]["terms"] is None
    listed = ask(client, ALPHA, "GET", "/v1/collections").json()
    assert [(one["name"], one["documents"]) for one in listed["collections"]] == [("shared", 40)]
    counted = {"filter": {"year": {"gte": 2003}}, "dry_run": True}
    bound = ask(client, ALPHA, "POST", "/v1/collections/shared/documents:delete", counted).json()
    alone = ask(client, ADMIN, "POST", "/v1/collections/alone/documents:delete", counted).json()
    assert bound["matched"] == alone["matched"] > 0


def test_a_batch_is_bound_too(client: httpx.Client) -> None:
    searches = [{"query": {"text": word}, "using": "default", "total": True} for word in (*WORDS, SECRET)]
    same(client, "POST", "/search:batch", {"searches": searches})


def test_other_collections_are_refused_whether_they_exist_or_not(client: httpx.Client) -> None:
    for method, path, body in [
        ("POST", "/search", {"query": {"text": "heron"}}),
        ("GET", "", None),
        ("GET", "/documents/alpha-0%230", None),
        ("POST", "/documents", {"documents": [{"id": "x"}]}),
        ("POST", "/documents:delete", {"ids": ["x"]}),
    ]:
        answers = [ask(client, ALPHA, method, f"/v1/collections/{name}{path}", body) for name in ("alone", "nowhere")]
        assert [one.status_code for one in answers] == [403, 403]
        details = [one.json()["detail"] for one in answers]
        assert details[0].replace("alone", "nowhere") == details[1]
    missing = ask(client, ALPHA, "GET", "/v1/collections/later")
    assert missing.status_code == 404
    assert "alone" not in missing.text


def test_a_key_that_is_bound_to_a_collection_sees_all_of_it_and_nothing_else(client: httpx.Client) -> None:
    listed = ask(client, ONE, "GET", "/v1/collections").json()
    assert [one["name"] for one in listed["collections"]] == ["alone"]
    assert ask(client, ONE, "GET", "/v1/collections/shared").status_code == 403
    ask(client, ADMIN, "PUT", "/v1/aliases/to-shared", {"collection": "shared"}).raise_for_status()
    ask(client, ADMIN, "PUT", "/v1/aliases/to-alone", {"collection": "alone"}).raise_for_status()
    assert [one["alias"] for one in ask(client, ONE, "GET", "/v1/aliases").json()["aliases"]] == ["to-alone"]
    assert ask(client, ONE, "GET", "/v1/collections/to-alone").status_code == 200
    assert ask(client, ONE, "GET", "/v1/collections/to-shared").status_code == 403
    assert ask(client, ONE, "GET", "/v1/aliases/to-shared").status_code == 403
    for name in ("to-shared", "to-alone"):
        ask(client, ADMIN, "DELETE", f"/v1/aliases/{name}").raise_for_status()


def test_a_route_is_closed_to_bound_keys_unless_it_is_known_to_be_safe(client: httpx.Client) -> None:
    open_to_bound = {
        ("get", "/v1/collections"), ("get", "/v1/collections/{collection}"),
        ("post", "/v1/collections/{collection}/documents"), ("post", "/v1/collections/{collection}/documents:delete"),
        ("get", "/v1/collections/{collection}/documents"), ("post", "/v1/collections/{collection}/documents:get"),
        ("get", "/v1/collections/{collection}/documents/{id}"),
        ("delete", "/v1/collections/{collection}/documents/{id}"),
        ("patch", "/v1/collections/{collection}/documents/{id}"), ("get", "/v1/jobs/{job}"),
        ("get", "/v1/collections/{collection}/suggest"), ("get", "/v1/collections/{collection}/curve"),
        ("get", "/v1/collections/{collection}/vectors/{vector}/{id}"),
        ("post", "/v1/collections/{collection}/search"), ("post", "/v1/collections/{collection}/search:batch"),
        ("post", "/embed_sparse"), ("get", "/info"), ("get", "/health"),
        ("get", "/v1/aliases"), ("get", "/v1/aliases/{alias}"),
        ("get", "/healthz"), ("get", "/readyz"), ("get", "/openapi.json"), ("get", "/"),
    }  # fmt: skip
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            filled = path.format(collection="shared", id="beta-0%230", vector="given", alias="a", job="j", snapshot="s")
            answer = ask(client, ALPHA, method.upper(), filled, {} if method in ("post", "put", "patch") else None)
            assert "zanzibar" not in answer.text
            if (method, path) not in open_to_bound:
                assert answer.status_code == 403, (method, path, answer.text)
    assert ask(client, ALPHA, "GET", "/readyz").json()["broken"] == []


def test_what_a_bound_key_writes_stays_inside_its_filter(client: httpx.Client) -> None:
    def write(key: str, *documents: dict[str, Any]) -> httpx.Response:
        return ask(client, key, "POST", "/v1/collections/shared/documents", {"documents": list(documents)})

    mine = {"id": "mine", "text": "heron", "metadata": {"tenant": "alpha"}}
    answer = write(
        ALPHA,
        mine,
        {"id": "not-mine", "text": "heron", "metadata": {"tenant": "beta"}},
        {"id": "nobodys", "text": "heron"},
        {"id": "beta-0#0", "text": "taken over", "metadata": {"tenant": "alpha"}},
    ).json()
    assert (answer["accepted"], answer["failed"]) == (1, 3)
    assert [(one["line"], one["code"]) for one in answer["errors"]] == [(n, "outside_filter") for n in (2, 3, 4)]
    there = ask(client, ADMIN, "GET", "/v1/collections/shared/documents/beta-0%230").json()
    assert there["metadata"]["tenant"] == "beta"
    moved = ask(client, ALPHA, "PATCH", "/v1/collections/shared/documents/mine", {"metadata": {"tenant": "beta"}})
    assert moved.status_code == 422
    gone = ask(client, ALPHA, "PATCH", "/v1/collections/shared/documents/mine", {"metadata": {"tenant": None}})
    assert gone.status_code == 422
    for path in ("beta-0%230", "none"):
        for method, body in (("PATCH", {"metadata": {"year": 1}}), ("DELETE", None)):
            assert ask(client, ALPHA, method, f"/v1/collections/shared/documents/{path}", body).status_code == 404
    before = ask(client, BETA, "GET", "/v1/collections/shared").json()["documents"]
    deleted = ask(
        client, ALPHA, "POST", "/v1/collections/shared/documents:delete", {"ids": ["mine", "beta-0#0"]}
    ).json()
    assert deleted["deleted"] == 1
    everything = {"filter": {"year": {"gte": 0}}, "dry_run": True}
    assert ask(client, ALPHA, "POST", "/v1/collections/shared/documents:delete", everything).json()["matched"] == 40
    assert ask(client, BETA, "GET", "/v1/collections/shared").json()["documents"] == before


def test_a_job_is_shown_to_its_own_key_only(client: httpx.Client) -> None:
    headers = {"X-API-Key": ALPHA, "Prefer": "respond-async"}
    body = {"ids": [f"none-{number}" for number in range(50_000)]}
    answer = client.post("/v1/collections/shared/documents:delete", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    job = answer.json()["job"]
    assert ask(client, ALPHA, "GET", f"/v1/jobs/{job}").status_code == 200
    assert ask(client, BETA, "GET", f"/v1/jobs/{job}").status_code == 404


def test_a_filter_that_does_not_fit_a_collection_shows_nothing_of_it(client: httpx.Client) -> None:
    ask(client, ADMIN, "PUT", "/v1/collections/later", {"encoder": "bm25"}).raise_for_status()
    refused = ask(client, ALPHA, "POST", "/v1/collections/later/search", {"query": {"text": "heron"}})
    assert (refused.status_code, refused.json()["title"]) == (403, "Filter does not fit")
    ask(client, ADMIN, "DELETE", "/v1/collections/later").raise_for_status()


def test_a_key_on_two_lines_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{ALPHA} read\n{ALPHA} collections=a\n")
    with pytest.raises(KeyFileError, match="two lines"):
        load_api_keys(file)


def test_a_key_file_binds_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(
        f'{ALPHA}  read,write  collections=a,b  filter={{"tenant": "a #1", "year": {{"gte": 2}}}}  # a tenant\n'
        f'{BETA}\tfilter={{"x": 1}}\n{ONE} collections=a\n{ADMIN} read # filter={{}}\n'
    )
    alpha, beta, one, plain_key = load_api_keys(file)
    assert (sorted(alpha.scopes), alpha.collections) == (["read", "write"], frozenset({"a", "b"}))
    assert alpha.condition == {"tenant": "a #1", "year": {"gte": 2}}
    assert (sorted(beta.scopes), beta.collections, beta.condition) == (["read"], None, {"x": 1})
    assert (sorted(one.scopes), one.is_bound) == (["read"], True)
    assert not plain_key.is_bound


@pytest.mark.parametrize(
    "line",
    ["filter={", "filter=[]", "filter={}", 'filter={"and":[{}]}', 'filter={"a":NaN}', 'filter={"a":1,"a":2}',
     'admin filter={"a":1}', "admin collections=a", "collections=Upper", "collections=",
     'filter={"a":1} filter={"b":1}'],
)  # fmt: skip
def test_a_binding_that_is_not_one_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{ALPHA} {line}\n")
    with pytest.raises(KeyFileError) as caught:
        load_api_keys(file)
    assert ALPHA not in str(caught.value)
