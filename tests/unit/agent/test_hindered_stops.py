"""A final version that something was in the way of for a moment is tried again, while the task still runs."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent import stops as module
from swarmkeep.agent.stops import Stops
from swarmkeep.agent.tracked import Tracked
from swarmkeep.errors import DumpFailed, DumpHindered
from swarmkeep.model.ident import Ref

from ..objects import policy

TRACKED = Tracked(Ref("default", "redis.1"), "redis", "c", "t", "hash", "boot", datetime.now(UTC), epoch=1)


class Versions:
    """Fails as often as it is told, and then has a version."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.tries = 0
        self.recorded: list[Exception] = []

    async def stage(self, *_: object, **__: object) -> str:
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        return "a version"

    def record_failure(self, *words: Any) -> None:
        self.recorded.append(words[-1])


async def final(versions: Versions) -> object:
    async def cached(_: str) -> object:
        return SimpleNamespace(stop_timeout_s=10.0)

    nothing: Any = SimpleNamespace(save=lambda *_: None, version_failed=lambda *_: None)
    containers = cast(Any, SimpleNamespace(cached=cached))
    stops = Stops(containers, nothing, nothing, nothing, cast(Any, versions), nothing, nothing)
    return await stops._take_final(TRACKED, policy())


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HINDERED_PAUSE_S", 0.0)


async def test_what_was_in_the_way_for_a_moment_costs_nothing() -> None:
    versions = Versions(DumpHindered("a health check"), DumpHindered("a health check"))
    assert await final(versions) == "a version"
    assert (versions.tries, versions.recorded) == (3, [])


async def test_what_stays_in_the_way_is_told_in_the_end() -> None:
    versions = Versions(*[DumpHindered("a session of psql")] * 9)
    assert await final(versions) is None
    assert versions.tries == module.FINAL_TRIES
    assert [str(error) for error in versions.recorded] == ["a session of psql"]


async def test_what_will_never_work_is_not_tried_again() -> None:
    versions = Versions(DumpFailed("a device"))
    assert await final(versions) is None
    assert versions.tries == 1
