"""A dump that is tried and thrown away: what is recorded of it, and that it never stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent.records import Records
from swarmkeep.agent.tracked import Tracked
from swarmkeep.agent.trials import Trials
from swarmkeep.agent.tryouts import DumpTryouts
from swarmkeep.agent.versions import VersionTaker
from swarmkeep.errors import DumpFailed, StorageFull
from swarmkeep.model.checkpoint import Passed, Reason, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.plan.verification import Trial

from ..objects import NOW, policy

REDIS = Ref("default", "redis.1")


class Room:
    """Version taker, room of trials and records in one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failure: Exception | None = None
        self.outcome: Trial | Exception = Trial(Passed.PASSED, "2 processes came up", 2, 0.5)
        self.records: list[dict[str, Any]] = []
        self.recorded = asyncio.Event()

    async def stage(self, tracked: Any, policy: Any, reason: Reason, **how: Any) -> Any:
        assert how["final_limit_s"] is None, "the container runs on"
        if self.failure is not None:
            raise self.failure
        await asyncio.to_thread(self.folder.mkdir)
        return SimpleNamespace(
            workload=tracked.ref,
            checkpoint=how["checkpoint"],
            folder=self.folder,
            facts={"container": {"Id": "c1"}},
            status={"frozenSeconds": 0.25},
            taken_at=NOW,
            bytes={"memory": 4096, "files": 0},
            discard=self.folder.rmdir,
        )

    async def try_version(self, inspection: Any, fetch: Callable[[Path], Awaitable[Path]], what: str) -> Trial:
        assert inspection == {"Id": "c1"}
        assert await fetch(Path("/nowhere")) == self.folder
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def add(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        self.recorded.set()

    async def attempt(self) -> dict[str, Any]:
        tryouts = DumpTryouts("n1", cast(VersionTaker, self), cast(Trials, self), cast(Records, self))
        tracked = cast(Tracked, SimpleNamespace(ref=REDIS))
        await tryouts.take(tracked, policy(), "redis.1-try-1")
        async with asyncio.timeout(5):
            await self.recorded.wait()
        (record,) = self.records
        return record


@pytest.mark.parametrize(
    ("outcome", "phase", "result"),
    [
        (Trial(Passed.PASSED, "2 processes came up", 2, 0.5), "Tried", "Passed"),
        (Trial(Passed.FAILED, "no such file"), "Failed", "Failed"),
        (Trial(Passed.UNKNOWN, "it is privileged"), "Tried", "Unknown"),
        (StorageFull("no space"), "Tried", "Unknown"),
    ],
)
async def test_what_came_of_it_is_recorded_and_the_dump_is_gone(
    tmp_path: Path, outcome: Trial | Exception, phase: str, result: str
) -> None:
    room = Room(tmp_path / "v1")
    room.outcome = outcome
    record = await room.attempt()
    assert not room.folder.exists()
    assert (record["status"]["phase"], record["status"]["trial"]["result"]) == (phase, result)
    assert ("message" in record["status"]) is (result != "Passed")
    item = parse_checkpoint(record)
    assert item.trial
    assert not item.is_stored, "nobody restores it"
    assert "finalizers" not in record["metadata"]


async def test_a_dump_that_fails_is_recorded_with_its_cause(tmp_path: Path) -> None:
    room = Room(tmp_path / "v1")
    room.failure = DumpFailed("it has a GPU")
    record = await room.attempt()
    assert record["status"]["phase"] == "Failed"
    assert record["status"]["message"] == "it has a GPU"
    assert "trial" not in record["status"]
