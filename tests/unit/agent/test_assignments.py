"""Versions that go: from every location, and no location that is away keeps another one full."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent import assignments
from swarmkeep.agent.assignments import Assignments
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.model.checkpoint import parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT

from ..controllers.fake_api import FakeApi
from .places import Places

REF = Ref("default", "redis.1-v1")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path)
    for name in places.names:
        places.put(name, 1)
    return places


def api_with(far: str) -> Any:
    api = FakeApi()
    api.put(
        CHECKPOINT,
        {
            "metadata": {"name": REF.name, "namespace": "default", "finalizers": ["swarmkeep.dev/data"]},
            "spec": {"workload": "redis.1"},
            "status": {
                "phase": "Deleting",
                "version": 1,
                "node": "n1",
                "location": "main",
                "locations": [{"name": "main", "state": "Stored"}, {"name": "far", "state": far}],
            },
        },
    )
    return api


async def delete(places: Places, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignments, "DELETE_RETRY_S", 0.0)
    nothing: Any = None
    cache = ImageCache(places.root / "cache", "boot", 1 << 30)
    doing = Assignments("n1", api, nothing, places.locations, nothing, nothing, cache)
    await doing._delete(parse_checkpoint(await api.get(CHECKPOINT, REF.name, "default")))


async def test_a_version_leaves_every_location_and_then_its_object_goes(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_with("Stored")
    await delete(places, api, monkeypatch)
    assert (places.numbers("main"), places.numbers("far")) == ([], [])
    assert api.objects == {}


async def test_a_location_that_has_it_and_is_away_keeps_the_object_and_not_the_other_copy(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_with("Stored")
    places.vanish("far")
    await delete(places, api, monkeypatch)
    assert places.numbers("main") == []
    assert len(api.objects) == 1
    places.come_back("far")
    await delete(places, api, monkeypatch)
    assert places.numbers("far") == []
    assert api.objects == {}


async def test_a_location_that_never_got_it_keeps_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    api = api_with("Pending")
    places.vanish("far")
    await delete(places, api, monkeypatch)
    assert api.objects == {}


async def test_a_location_that_hangs_does_not_keep_the_first_from_letting_go(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = places.locations.call

    async def hanging(name: str, work: Any, limit_s: float) -> Any:
        if name == "far":
            await asyncio.sleep(1000)
        return await call(name, work, limit_s)

    monkeypatch.setattr(places.locations, "call", hanging)
    task = asyncio.create_task(delete(places, api_with("Stored"), monkeypatch))
    async with asyncio.timeout(10):
        while places.numbers("main"):  # noqa: ASYNC110 - what is waited for lies on a disk
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
