"""The event recorder against a real HTTP server that keeps events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from swarmkeep import errors
from swarmkeep.kube import events
from swarmkeep.kube.client import Client
from swarmkeep.kube.events import EventKind, EventRecorder

WORKLOAD = {
    "apiVersion": "swarmkeep.dev/v1alpha1",
    "kind": "Workload",
    "metadata": {"name": "redis.1", "namespace": "shop", "uid": "u1", "resourceVersion": "7"},
}
MADE_ANEW = {**WORKLOAD, "metadata": {"name": "redis.1", "namespace": "shop", "uid": "u9"}}
NODE = {"apiVersion": "swarmkeep.dev/v1alpha1", "kind": "Node", "metadata": {"name": "n1", "uid": "u2"}}
START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class EventStore:
    """Answers what the recorder asks, from a dictionary of events by path."""

    def __init__(self, api: Any, faults: SimpleNamespace) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self.away = False
        self.posted = asyncio.Event()
        self._faults = faults
        api._serve = self._serve

    @property
    def only(self) -> dict[str, Any]:
        (event,) = self.stored.values()
        return event

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        refuse = self._faults.answers
        if self.away:
            return await refuse(503, "ServiceUnavailable")(request)  # type: ignore[no-any-return]
        if request.method == "POST":
            event = json.loads(body)
            path = f"{request.path}/{event['metadata']['name']}"
            if path in self.stored:
                return await refuse(409, "AlreadyExists")(request)  # type: ignore[no-any-return]
            self.stored[path] = event
            self.posted.set()
            return web.json_response(event, status=201)
        if request.path not in self.stored:
            return await refuse(404, "NotFound")(request)  # type: ignore[no-any-return]
        if request.method == "PATCH":
            self.stored[request.path] |= json.loads(body)
        return web.json_response(self.stored[request.path])


@pytest.fixture
async def store(faults: SimpleNamespace) -> AsyncIterator[tuple[EventStore, Client]]:
    api = faults.scripted_api()
    store = EventStore(api, faults)
    await api.start()
    async with Client([api.url], None, timeout_s=0.3) as client:
        yield store, client
    await api.stop()


def recorder(client: Client, clock: Clock | None = None) -> EventRecorder:
    return EventRecorder(client, "swarmkeep-agent", "n1", now=clock or Clock())


async def test_an_event_names_object_teller_and_time(store: tuple[EventStore, Client]) -> None:
    server, client = store
    teller = recorder(client)
    teller.record(WORKLOAD, EventKind.NORMAL, "Stored", "version 3 is stored")
    await teller.flush()
    event = server.only
    assert event["involvedObject"] == {
        "apiVersion": "swarmkeep.dev/v1alpha1",
        "kind": "Workload",
        "name": "redis.1",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "7",
    }
    assert event["metadata"]["namespace"] == "shop"
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Stored", "version 3 is stored")
    assert (event["count"], event["firstTimestamp"]) == (1, "2026-01-31T12:00:00Z")
    assert event["source"] == {"component": "swarmkeep-agent", "host": "n1"}


async def test_events_of_cluster_scoped_objects_are_kept_in_default(store: tuple[EventStore, Client]) -> None:
    server, client = store
    teller = recorder(client)
    teller.record(NODE, EventKind.WARNING, "NodeLost", "silent for 15s")
    await teller.flush()
    assert server.only["metadata"]["namespace"] == "default"
    assert "namespace" not in server.only["involvedObject"]


async def test_the_same_again_counts_up(store: tuple[EventStore, Client]) -> None:
    server, client = store
    clock = Clock()
    teller = recorder(client, clock)
    for _ in range(3):
        teller.record(WORKLOAD, EventKind.NORMAL, "Stored", "stored")
        await teller.flush()
        clock.now += timedelta(minutes=1)
    assert server.only["count"] == 3
    assert server.only["firstTimestamp"] == "2026-01-31T12:00:00Z"
    assert server.only["lastTimestamp"] == "2026-01-31T12:02:00Z"


async def test_the_count_goes_on_after_a_restart_of_the_teller(store: tuple[EventStore, Client]) -> None:
    server, client = store
    for _ in range(2):
        teller = recorder(client)
        teller.record(WORKLOAD, EventKind.NORMAL, "Stored", "stored")
        await teller.flush()
    assert server.only["count"] == 2


async def test_what_differs_is_told_apart(store: tuple[EventStore, Client]) -> None:
    server, client = store
    teller = recorder(client)
    teller.record(WORKLOAD, EventKind.NORMAL, "Stored", "version 1 is stored")
    teller.record(WORKLOAD, EventKind.NORMAL, "Stored", "version 2 is stored")
    teller.record(MADE_ANEW, EventKind.NORMAL, "Stored", "version 2 is stored")
    await teller.flush()
    assert len(server.stored) == 3


async def test_events_wait_for_the_api_and_come_in_order(store: tuple[EventStore, Client]) -> None:
    server, client = store
    server.away = True
    teller = recorder(client)
    teller.record(WORKLOAD, EventKind.NORMAL, "Frozen", "one")
    teller.record(WORKLOAD, EventKind.NORMAL, "Stored", "two")
    teller.record(WORKLOAD, EventKind.NORMAL, "Frozen", "one")
    with pytest.raises(errors.Unavailable):
        await teller.flush()
    assert teller.waiting == 2
    server.away = False
    await teller.flush()
    assert [(event["message"], event["count"]) for event in server.stored.values()] == [("one", 2), ("two", 1)]


async def test_the_background_task_posts_after_an_outage(store: tuple[EventStore, Client]) -> None:
    server, client = store
    server.away = True
    teller = recorder(client)
    task = asyncio.create_task(teller.run())
    teller.record(WORKLOAD, EventKind.NORMAL, "Frozen", "one")
    await asyncio.sleep(0.1)
    server.away = False
    await asyncio.wait_for(server.posted.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert server.only["message"] == "one"


async def test_too_many_waiting_events_drop_the_oldest(
    store: tuple[EventStore, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = store
    monkeypatch.setattr(events, "QUEUE_LIMIT", 2)
    teller = recorder(client)
    for message in ("one", "two", "three"):
        teller.record(WORKLOAD, EventKind.NORMAL, "Stored", message)
    await teller.flush()
    assert sorted(event["message"] for event in server.stored.values()) == ["three", "two"]
    assert teller.dropped == 1


async def test_long_names_and_messages_fit_the_limits(store: tuple[EventStore, Client]) -> None:
    server, client = store
    teller = recorder(client)
    long_name = {**WORKLOAD, "metadata": {"name": "x" * 253, "namespace": "shop"}}
    teller.record(long_name, EventKind.WARNING, "DumpFailed", "m" * 5000)
    await teller.flush()
    assert len(server.only["metadata"]["name"]) <= 253
    assert len(server.only["message"]) == 1024
