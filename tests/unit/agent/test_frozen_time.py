"""A container stands still no longer than its policy allows: for its layer and its dump together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent import standstill as module
from swarmkeep.agent.runtime import file_copy, layer
from swarmkeep.agent.runtime.dump import DumpRequest, DumpResult
from swarmkeep.agent.runtime.dump_stats import DumpStats
from swarmkeep.agent.runtime.file_copy import no_check
from swarmkeep.errors import DumpFailed
from swarmkeep.model.checkpoint import Reason

from ..objects import policy
from .node_that_dies import REF, Agent, Node


class Stage:
    """A node whose container is dumped while it runs on; counts what happens to it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = Node.with_container(root)
        self.frozen_at = 0.0
        self.stood_still_s = 0.0
        self.dump_s = 0.0
        self.asked: list[DumpRequest] = []
        for name in ("freeze", "thaw", "dump"):
            monkeypatch.setattr(self.node, name, getattr(self, name))
        self.agent = Agent(self.node)

    async def freeze(self, *_: Any, beforehand: Callable[[], Awaitable[None]], **more: Any) -> None:
        await beforehand()
        self.frozen_at = time.monotonic()

    async def thaw(self, *_: Any) -> None:
        self.stood_still_s = time.monotonic() - self.frozen_at

    async def dump(self, request: DumpRequest, begun: None = None) -> DumpResult:
        self.asked.append(request)
        await asyncio.sleep(self.dump_s)
        return DumpResult(DumpStats(), 0.0)

    async def take(self, max_freeze_s: float, final_limit_s: float | None = None) -> None:
        tracked = self.agent.tracked.get(REF)
        assert tracked is not None
        limited = replace(policy(), max_freeze=timedelta(seconds=max_freeze_s))
        reason = Reason.FINAL if final_limit_s else Reason.SCHEDULE
        await self.agent.versions.stage(tracked, limited, reason, final_limit_s=final_limit_s)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path / "node", monkeypatch)


def capture_for(seconds: float, *, looks: bool = True) -> Callable[..., int]:
    """A copy that takes so long, and looks at the time as the real one does, or hangs in the kernel."""

    def capture(upper: Path, target: Path, check: Callable[[], None] = no_check) -> int:
        target.mkdir()
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            time.sleep(0.01)
            if looks:
                check()
        return 0

    return capture


async def test_a_layer_that_takes_too_long_is_given_up_in_words(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "capture", capture_for(20.0))
    with pytest.raises(module.LayerTooSlow, match=r"longer than the 0\.2 s that checkpoint\.maxFreeze allows"):
        await stage.take(0.2)
    assert 0.2 <= stage.stood_still_s < 0.2 + module.STOP_COPY_S
    assert stage.node.staged() == []


async def test_a_copy_that_hangs_in_the_kernel_does_not_hold_the_container(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_COPY_S", 0.1)
    monkeypatch.setattr(layer, "capture", capture_for(1.5, looks=False))
    with pytest.raises(module.LayerTooSlow):
        await stage.take(0.2)
    assert stage.stood_still_s < 1.2


async def test_layer_and_dump_are_taken_beside_each_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "capture", capture_for(1.0))
    stage.dump_s = 1.0
    await stage.take(5.0)
    assert 1.0 <= stage.stood_still_s < 1.9


async def test_a_final_dump_gets_what_the_layer_left_of_the_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "capture", capture_for(0.3))
    await stage.take(5.0, final_limit_s=5.0)
    (request,) = stage.asked
    assert request.max_freeze_s == 5.0
    assert 0.3 <= request.stood_still_s < 3.0


async def test_a_copy_that_is_called_off_ends_before_its_folder_is_removed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = False

    def capture(*args: Any) -> int:
        nonlocal ended
        try:
            return capture_for(20.0)(*args)
        finally:
            ended = True

    monkeypatch.setattr(layer, "capture", capture)
    taking = asyncio.create_task(stage.take(10.0))
    await asyncio.sleep(0.2)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert ended
    assert stage.stood_still_s > 0
    assert stage.node.staged() == []


def test_a_large_file_is_given_up_between_two_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system can share blocks there is nothing to wait for; here it cannot."""
    monkeypatch.setattr(file_copy, "_FICLONE", 0)
    monkeypatch.setattr(file_copy, "_CHUNK", 1000)
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper" / "large").write_bytes(b"x" * 10_000)
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise DumpFailed("too slow")

    with pytest.raises(DumpFailed, match="too slow"):
        layer.capture(tmp_path / "upper", tmp_path / "layer", check)
    assert not (tmp_path / "layer" / "index.jsonl").exists()
    (copy,) = (tmp_path / "layer" / "files").iterdir()
    assert copy.read_bytes().count(b"x") == 3000
