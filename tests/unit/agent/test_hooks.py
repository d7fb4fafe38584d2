"""Hooks are run before a version in their order, and those after it whatever became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent.hooks import Hooks
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.runtime.hook import HookFailed
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.errors import DumpFailed
from swarmkeep.model.ident import Ref

from ..objects import policy

FACTS: Any = SimpleNamespace(id="c1", pid=7, name="redis")


class Scene:
    """Notes what is run, how long it may take, and whether hooks were owed then as far as the journal knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: list[str] = []
        self.limits: list[float] = []
        self.owed: list[bool] = []
        self.takes_s = 0.0
        self.fails: set[str] = set()
        self.all = TrackedContainers(Journal(folder))
        self.tracked = Tracked(Ref("default", "redis.1"), "redis", "c1", "t", "hash", "boot", datetime.now(UTC))
        self.all.save(self.tracked)
        self.hooks = Hooks(self, self.all)

    async def run(self, container_id: str, pid: int, command: Sequence[str], limit_s: float) -> None:
        self.note(" ".join(command))
        self.limits.append(limit_s)
        await asyncio.sleep(self.takes_s)
        if self.done[-1] in self.fails:
            raise HookFailed(f"{self.done[-1]} failed")

    def note(self, what: str) -> None:
        self.done.append(what)
        (kept,) = TrackedContainers(Journal(self.folder))
        self.owed.append(kept.owes_hooks)

    async def version(self, before: list[Any], after: list[Any], final_limit_s: float | None = None) -> None:
        def read(hooks: list[Any]) -> list[Any]:
            return [hook if isinstance(hook, dict) else {"exec": [hook]} for hook in hooks]

        wanted = policy(checkpoint={"hooks": {"before": read(before), "after": read(after)}})
        async with self.hooks.around(self.tracked, wanted, cast(Any, FACTS), final_limit_s):
            self.note("dump")
            if "dump" in self.fails:
                raise DumpFailed("no")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "containers")


async def test_a_policy_without_hooks_runs_none(scene: Scene) -> None:
    await scene.version([], [])
    assert (scene.done, scene.owed) == (["dump"], [False])


async def test_those_after_are_owed_before_the_first_is_run_until_the_last_was(scene: Scene) -> None:
    await scene.version(["a", "b"], ["y", "z"])
    assert scene.done == ["a", "b", "dump", "y", "z"]
    assert all(scene.owed)
    scene.note("end")
    assert not scene.owed[-1]


@pytest.mark.parametrize(
    ("fails", "done", "error"),
    [
        ("a", ["a", "y", "z"], r"hooks\.before\[0\]: a failed"),
        ("dump", ["a", "b", "dump", "y", "z"], "no"),
        ("y", ["a", "b", "dump", "y", "z"], r"hooks\.after\[0\]: y failed"),
        ("dump y", ["a", "b", "dump", "y", "z"], "no"),
    ],
)
async def test_whatever_fails_those_after_are_run(scene: Scene, fails: str, done: list[str], error: str) -> None:
    scene.fails = set(fails.split())
    with pytest.raises(DumpFailed, match=error):
        await scene.version(["a", "b"], ["y", "z"])
    assert scene.done == done
    assert not scene.tracked.owes_hooks


async def test_a_failure_that_does_not_matter_does_not_matter(scene: Scene) -> None:
    scene.fails = {"a", "z"}
    tolerant = [{"exec": [name], "onFailure": "Continue"} for name in ("a", "z")]
    await scene.version([tolerant[0], "b"], [tolerant[1]])
    assert scene.done == ["a", "b", "dump", "z"]


async def test_after_a_final_version_there_is_nothing_to_run_them_in(scene: Scene) -> None:
    await scene.version(["a"], ["z"], final_limit_s=5.0)
    assert scene.done == ["a", "dump"]
    assert not scene.tracked.owes_hooks


async def test_hooks_of_a_final_version_fit_into_the_grace_period(scene: Scene) -> None:
    scene.fails = {"dump"}
    scene.takes_s = 0.3
    with pytest.raises(DumpFailed):
        await scene.version(["a", {"exec": ["b"], "timeout": "1m"}], [{"exec": ["z"], "timeout": "1m"}], 2.0)
    first, second, last = scene.limits
    assert first <= 2.0
    assert 1.0 < second <= 1.7
    assert 1.0 <= last <= 1.4


async def test_a_version_that_is_called_off_runs_those_after(scene: Scene) -> None:
    scene.takes_s = 0.2
    taking = asyncio.create_task(scene.version(["a"], ["z"]))
    await asyncio.sleep(0.05)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert scene.done == ["a", "z"]


async def test_what_is_owed_to_a_restored_process_is_run_once(scene: Scene) -> None:
    scene.tracked.owes_hooks = True
    scene.fails = {"z"}
    wanted = policy(checkpoint={"hooks": {"after": [{"exec": ["z"]}]}})
    with pytest.raises(HookFailed):
        await scene.hooks.settle(scene.tracked, wanted, FACTS)
    assert not scene.tracked.owes_hooks
