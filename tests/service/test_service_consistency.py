"""Rules that hold for a whole kind of field or answer: what is nothing, what is everything, what takes time."""

from __future__ import annotations

from time import monotonic, sleep
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsr.collection import Collection
from lsr.documents import Document
from lsr.errors import QueryError
from lsr.metadata import MetadataSchema
from lsr.search.filters import Filter, matches_everything
from lsr.search.request import RankingOptions, Sort
from lsr.storage.pending import columns_of
from service.settings import ServiceSettings

DISHES = "/v1/collections/dishes"


@pytest.mark.parametrize(
    "field", ["must", "rescore", "facets", "boosts", "cursor", "sort", "prf", "collapse", "filter"]
)
@pytest.mark.parametrize("value", [0, "", 0.0])
def test_a_value_of_another_type_is_refused_although_it_is_false(client: httpx.Client, field: str, value: Any) -> None:
    if (field, value) == ("cursor", ""):
        return  # a string is its type: this cursor is kept nowhere, and begins no pages
    answer = client.post(f"{DISHES}/search", json={"query": {"text": "lobster"}, field: value})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("field", ["rescore", "cache"])
@pytest.mark.parametrize("value", [0, "", [], {}, 0.0])
def test_search_defaults_ignore_nothing(client: httpx.Client, field: str, value: Any) -> None:
    search = {"queries": [{"using": "default"}], field: value}
    assert client.patch(DISHES, json={"search": search}).status_code == 422
    for nothing in (None, False):
        assert client.patch(DISHES, json={"search": {**search, field: nothing}}).status_code == 200


def test_must_checks_its_vector_also_without_words(client: httpx.Client) -> None:
    for words in ([], ["x"]):
        body = {"query": {"text": "lobster"}, "must": {"words": words, "using": "nope"}}
        assert client.post(f"{DISHES}/search", json=body).status_code == 422


def test_a_least_score_of_0_with_a_sort_is_refused_as_any_other_is() -> None:
    for score in (0.0, 1.0):
        with pytest.raises(QueryError, match="min_score"):
            RankingOptions(sort=Sort("year"), min_score=score)


@pytest.mark.parametrize(
    "condition",
    [{}, {"and": [{}]}, {"or": [{}, {"year": 1}]}, {"not": {"ids": []}}, {"not": {"year": {"in": []}}},
     {"and": [{"and": [{}]}, {"not": {"or": [{"ids": []}]}}]}, {"not": {"not": {}}}],
)  # fmt: skip
def test_a_filter_without_a_condition_deletes_nothing(client: httpx.Client, condition: dict[str, Any]) -> None:
    before = client.get(DISHES).json()["documents"]
    for dry_run in (True, False):
        body = {"filter": condition, "dry_run": dry_run}
        answer = client.post(f"{DISHES}/documents:delete", json=body)
        assert answer.status_code == 422, answer.text
        assert "matches everything" in answer.text
    assert client.get(DISHES).json()["documents"] == before > 0


def test_a_filter_that_happens_to_match_all_is_a_choice(client: httpx.Client) -> None:
    body = {"filter": {"year": {"gte": 0}}, "dry_run": True}
    answer = client.post(f"{DISHES}/documents:delete", json=body).json()
    assert answer["matched"] == client.get(DISHES).json()["documents"]


conditions = st.recursive(
    st.sampled_from([{}, {"ids": []}, {"year": {"in": []}}, {"year": 1}, {"ids": ["a"]}, {"year": {"gte": 1}}]),
    lambda inner: st.one_of(
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda some: {"and": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"or": some}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)


@given(condition=conditions)
def test_matches_everything_is_true_only_of_filters_that_do(condition: dict[str, Any]) -> None:
    schema = MetadataSchema({"year": "int"})
    documents = [Document("a", metadata={"year": 1}), Document("b", metadata={"year": 0}), Document("c")]
    if matches_everything(condition):
        assert Filter(condition, schema).mask(columns_of(documents, schema)).all()


def test_the_searches_of_a_batch_report_their_own_time(client: httpx.Client) -> None:
    searches = [{"query": {"text": f"lobster {number}"}, "cache": False} for number in range(8)]
    answer = client.post(f"{DISHES}/search:batch", json={"searches": searches}).json()
    assert sum(one["took_ms"] for one in answer["results"]) <= answer["took_ms"]


def test_timings_hold_explanation_and_highlighting(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.runtime import searches

    def slow(name: str, seconds: float) -> None:
        function = getattr(searches, name)

        def later(*arguments: Any) -> Any:
            sleep(seconds)
            return function(*arguments)

        monkeypatch.setattr(searches, name, later)

    slow("_highlights", 0.03)
    slow("words_of_lists", 0.03)
    body = {"query": {"text": "lobster"}, "highlight": True, "explain": {"words": True}, "cache": False}
    answer = client.post(f"{DISHES}/search", json=body).json()
    assert answer["timings"]["explain"] >= 60
    assert sum(answer["timings"].values()) <= answer["took_ms"]


def test_an_answer_that_was_kept_does_not_claim_the_time_of_its_first_search(client: httpx.Client) -> None:
    body = {"query": {"text": "lobster kept"}}
    for _ in range(3):
        answer = client.post(f"{DISHES}/search", json=body).json()
        assert sum(answer["timings"].values()) <= answer["took_ms"]


def test_a_long_snapshot_is_a_job_and_holds_up_nothing_else(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(ServiceSettings(write_wait=0.05))
    client.put("/v1/collections/c", json={"encoder": "bm25"}).raise_for_status()
    client.post("/v1/collections/c/documents", json={"documents": [{"id": "a", "text": "heron"}]}).raise_for_status()
    take, started = Collection.snapshot, monotonic()

    def slow(self: Collection, name: str | None = None) -> Any:
        while len(listed) < 3 and monotonic() < started + 60:
            sleep(0.01)
        return take(self, name)

    listed: list[int] = []
    monkeypatch.setattr(Collection, "snapshot", slow)
    answer = client.post("/v1/collections/c/snapshots", json={"name": "s"})
    assert (answer.status_code, answer.json()["status"]) == (202, "waiting")
    for _ in range(3):
        listed.append(client.get("/v1/collections").status_code)
    assert listed == [200, 200, 200]
    while (job := client.get(answer.headers["location"]).json())["status"] == "waiting":
        sleep(0.02)
    assert (job["status"], job["result"]["name"], job["result"]["documents"]) == ("done", "s", 1)
    assert [one["name"] for one in client.get("/v1/collections/c/snapshots").json()["snapshots"]] == ["s"]
