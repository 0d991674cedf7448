"""Searches that are known to be short run on the event loop, the others in threads; the answers are the same."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time

import httpx
import pytest

from encoders.bm25 import BM25Encoder
from index.errors import SearchStopped
from lsr.collection import Collection
from service.problems import Overloaded, TimedOut
from service.runtime import search_turns
from service.runtime.work_pool import WorkPool
from service.settings import ServiceSettings

ENOUGH = 11  # searches of zero time until their average, which starts at twice the limit, is below it
LOOP = "lsr-server"
SEARCH = "/v1/collections/c/search"
HERON = {"query": {"text": "heron"}}


@pytest.fixture
def client(serve) -> httpx.Client:
    """A client of a new service on which every search below one second counts as short."""
    client = serve(ServiceSettings(quick_search_ms=1_000))
    client.put("/v1/collections/c", json={}).raise_for_status()
    documents = [{"id": str(number), "text": "heron " * (number + 1)} for number in range(20)]
    client.post("/v1/collections/c/documents", json={"documents": documents}).raise_for_status()
    return client


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the thread of each search."""
    seen: list[str] = []
    search = Collection.search

    def noted(self, *args, **more):
        seen.append(threading.current_thread().name)
        return search(self, *args, **more)

    monkeypatch.setattr(Collection, "search", noted)
    return seen


def ask(client: httpx.Client, request=HERON, times: int = 1) -> list[httpx.Response]:
    return [client.post(SEARCH, json=request) for _ in range(times)]


def without_times(response: httpx.Response) -> dict[str, object]:
    return {name: value for name, value in response.json().items() if name not in ("took_ms", "timings")}


def test_a_kind_of_search_that_was_short_often_enough_runs_on_the_loop_and_answers_the_same(client, places) -> None:
    answers = ask(client, times=ENOUGH + 2)
    assert LOOP not in places[:ENOUGH]
    assert places[ENOUGH:] == [LOOP, LOOP]
    assert without_times(answers[0])["hits"]
    assert all(without_times(answer) == without_times(answers[0]) for answer in answers)


@pytest.mark.parametrize(
    "request_",
    [
        {**HERON, "using": "default", "highlight": True},
        {**HERON, "params": {"exact": True}},
        {**HERON, "k": 11},
        {"query": {"sparse": {"heron": 1.0}}},
    ],
    ids=["highlight", "exact", "k", "sparse"],
)
def test_searches_of_another_kind_are_judged_by_their_own_times(client, places, request_) -> None:
    ask(client, times=ENOUGH + 1)
    ask(client, request_)
    assert places[-2] == LOOP
    assert places[-1] != LOOP


@pytest.mark.parametrize(
    "request_",
    [
        {**HERON, "k": 101},
        {"query": {"text": "heron " * 200}},
        {"query": {"sparse": {f"t{number}": 1.0 for number in range(101)}}},
        {"query": {"sparse": {"indices": list(range(101)), "values": [1.0] * 101}}},
    ],
    ids=["k", "text", "sparse by token", "sparse by index"],
)
def test_large_requests_never_run_on_the_loop(client, places, request_) -> None:
    assert {answer.status_code for answer in ask(client, request_, ENOUGH + 2)} <= {200, 422}
    assert LOOP not in places


def test_what_a_model_encodes_never_runs_on_the_loop(client, places, monkeypatch) -> None:
    monkeypatch.setattr(BM25Encoder, "looks_queries_up", False)
    ask(client, times=ENOUGH + 2)
    assert LOOP not in places


def test_a_search_that_takes_longer_than_its_turn_is_answered_by_a_thread_and_so_are_the_next(
    client, places, monkeypatch
) -> None:
    first = ask(client, times=ENOUGH + 1)[0]
    search = Collection.search  # the wrapped one, which records the thread

    def slow(self, *args, timeout_ms, **more):
        if timeout_ms <= search_turns._TURN_MS:
            places.append("stopped on " + threading.current_thread().name)
            raise SearchStopped("its time is over")
        return search(self, *args, timeout_ms=timeout_ms, **more)

    monkeypatch.setattr(Collection, "search", slow)
    answers = ask(client, times=3)
    assert all(without_times(answer) == without_times(first) for answer in answers)
    assert places[ENOUGH + 1] == "stopped on " + LOOP
    assert LOOP not in places[ENOUGH + 2 :]


def test_a_search_that_took_long_sends_its_kind_back_to_the_threads(client, places, monkeypatch) -> None:
    ask(client, times=ENOUGH + 1)
    assert places[-1] == LOOP
    monkeypatch.setattr(search_turns, "thread_time", itertools.cycle([0.0, 100.0]).__next__)
    ask(client, times=3)
    assert places[-3] == LOOP
    assert places[-1] != LOOP


def test_a_kind_comes_back_to_the_loop_however_long_a_search_took(client, places, monkeypatch) -> None:
    monkeypatch.setattr(search_turns, "thread_time", itertools.cycle([0.0, 1e9]).__next__)
    ask(client)
    monkeypatch.setattr(search_turns, "thread_time", lambda: 0.0)
    ask(client, times=60)
    assert places[-1] == LOOP


def test_one_search_in_many_that_takes_twice_the_limit_does_not_move_the_others(client, places, monkeypatch) -> None:
    times = itertools.cycle([0.0, 2.0] + 20 * [0.0, 0.1])  # seconds; the limit is one
    monkeypatch.setattr(search_turns, "thread_time", times.__next__)
    ask(client, times=63)
    assert set(places[42:]) == {LOOP}


def test_a_turn_does_not_outlast_the_time_that_the_caller_gives(client, places, monkeypatch) -> None:
    ask(client, times=ENOUGH)

    def stopped(self, *args, timeout_ms, **more):
        places.append(threading.current_thread().name)
        raise SearchStopped(f"{timeout_ms} ms are over")

    monkeypatch.setattr(Collection, "search", stopped)
    (answer,) = ask(client, {**HERON, "timeout_ms": 5})
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/timeout")
    assert places[ENOUGH:] == [LOOP]


def test_a_restored_collection_is_measured_again(client, places) -> None:
    client.post("/v1/collections/c/snapshots", json={"name": "before"}).raise_for_status()
    ask(client, times=ENOUGH + 1)
    assert places[-1] == LOOP
    client.post("/v1/collections/c/snapshots/before:restore").raise_for_status()
    assert ask(client)[0].status_code == 200
    assert places[-1] != LOOP


def test_without_a_limit_every_search_runs_in_a_thread(serve, places) -> None:
    client = serve(ServiceSettings(quick_search_ms=0))
    client.put("/v1/collections/c", json={}).raise_for_status()
    ask(client, times=ENOUGH + 2)
    assert LOOP not in places


def test_turns_are_counted_refused_and_timed_as_jobs_in_threads_are() -> None:
    async def scenario() -> None:
        pool = WorkPool("searches", 1, 1)
        late = pool.take_turn(lambda: 1, timeout_ms=1e-6)
        good = pool.take_turn(lambda: 2)
        assert pool.in_flight == 2
        with pytest.raises(Overloaded):
            pool.take_turn(lambda: 3)
        with pytest.raises(Overloaded):
            pool.submit(lambda: 3)
        with pytest.raises(TimedOut):
            await late
        assert await good == 2
        bad = pool.take_turn(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await bad
        await asyncio.sleep(0)
        assert pool.in_flight == 0
        pool.close()

    asyncio.run(scenario())


def test_many_turns_leave_the_loop_time_for_everything_else() -> None:
    async def scenario() -> tuple[list[float], list[int]]:
        pool = WorkPool("searches", 1, 100)
        done: list[int] = []
        turns = [pool.take_turn(lambda number=number: done.append(number) or time.sleep(0.004)) for number in range(50)]
        time.sleep(0.1)  # a long check of the sockets
        looks = []
        while len(done) < 50:
            looks.append(time.perf_counter())
            await asyncio.sleep(0)
        await asyncio.gather(*turns)
        pool.close()
        return looks, done

    looks, done = asyncio.run(scenario())
    assert done == list(range(50))
    assert len(looks) >= 50 * 4 / 24  # the longest turns: 20 ms plus the running job


def test_searches_get_most_of_the_time_while_refusals_take_the_rest() -> None:
    async def scenario() -> float:
        pool = WorkPool("searches", 1, 1_000)
        began = time.perf_counter()
        turns = [pool.take_turn(lambda: time.sleep(0.001)) for _ in range(100)]
        looking = 0.0
        while not all(turn.done() for turn in turns):
            before = time.perf_counter()
            time.sleep(0.005)  # the time of refusals between two turns
            looking += time.perf_counter() - before
            await asyncio.sleep(0)
        pool.close()
        return looking / (time.perf_counter() - began)

    assert asyncio.run(scenario()) < 0.5  # with one search per check it would be five sixths
