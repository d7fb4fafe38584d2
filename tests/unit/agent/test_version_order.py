"""In which order a version is taken: what is slow before the container stands still, the rest while it does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent.freezes import Freezes
from swarmkeep.agent.hooks import Hooks
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.dump import DumpRequest, DumpResult
from swarmkeep.agent.runtime.dump_stats import DumpStats
from swarmkeep.agent.runtime.facts import ContainerFacts
from swarmkeep.agent.runtime.volumes import Volume, VolumeCopies
from swarmkeep.agent.staged import Staged
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.versions import NotRunning, VersionTaker
from swarmkeep.agent.volume_switch import VolumeSwitch
from swarmkeep.agent.volumes import Volumes
from swarmkeep.errors import DumpFailed, HostError
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import parse_policy

POLICY = parse_policy(
    {"metadata": {"name": "p"}, "spec": {"selector": {}, "schedule": {"every": "5s"}, "storage": ["main"]}}
)


class Scene:
    """A container that notes what is done to it, and whether it stood still then."""

    def __init__(self, tmp_path: Path) -> None:
        self.frozen = False
        self.done: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.dump_s = 0.01
        tracked = TrackedContainers(Journal(tmp_path / "journal"))
        nobody = cast(Any, None)
        self.taker = VersionTaker(
            "n1",
            {},
            tmp_path / "staging",
            cast(Any, self),
            Freezes(self),
            cast(Any, self),
            nobody,
            tracked,
            nobody,
            nobody,
            nobody,
            cast(Any, SimpleNamespace(make_room=lambda *_: None)),
            Volumes(cast(Any, self), VolumeSwitch(Journal(tmp_path / "volumes")), ()),
            Hooks(cast(Any, self), tracked),
        )

    def note(self, what: str) -> None:
        self.done.append(f"{what} {'frozen' if self.frozen else 'running'}")
        if what in self.fails:
            raise self.fails[what]

    async def stage(self, *, final: bool = False, name: str = "redis.1", limit_s: float = 5.0) -> Staged:
        reason = Reason.FINAL if final else Reason.SCHEDULE
        return await self.taker.stage(self.tracked_as(name), POLICY, reason, final_limit_s=limit_s if final else None)

    def tracked_as(self, name: str) -> Tracked:
        return Tracked(Ref("default", name), "p", "c", "t", "hash", "boot", datetime.now(UTC), number=1)

    # Stands for Docker, for the freezer, and for the dumper.

    async def cached(self, container_id: str) -> ContainerFacts:
        facts: Any = _Facts(id=container_id, pid=7, name="redis", running=True, labels={}, raw={}, upper_dir=Path("/"))
        return cast(ContainerFacts, facts)

    async def freeze(
        self, container_id: str, pid: int, *, keep: bool, beforehand: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        if beforehand is not None:
            await beforehand()
        self.note("freeze")
        self.frozen = True

    async def thaw(self, container_id: str, pid: int) -> None:
        self.frozen = False

    async def begin(self, request: DumpRequest) -> str:
        self.note("begin")
        return "runc"

    async def abandon(self, request: DumpRequest, begun: str) -> None:
        self.note("abandon")

    async def dump(self, request: DumpRequest, begun: str | None = None) -> DumpResult:
        await asyncio.sleep(self.dump_s)
        self.note("dump" if begun is None else "go on")
        return DumpResult(DumpStats(), 0.1)


class _Facts:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(tmp_path)

    def capture(upper: Path, target: Path, check: Callable[[], None]) -> int:
        scene.note("layer")
        target.mkdir()
        return 0

    monkeypatch.setattr(layer, "capture", capture)
    return scene


async def test_starts_runc_while_the_container_runs_and_dumps_beside_the_layer(scene: Scene) -> None:
    await scene.stage()
    assert scene.done == ["begin running", "freeze running", "layer frozen", "go on frozen"]
    assert not scene.frozen


async def test_reads_the_layer_before_a_final_dump_ends_the_container(scene: Scene) -> None:
    await scene.stage(final=True)
    assert scene.done == ["freeze running", "layer frozen", "dump frozen"]


async def test_a_container_that_cannot_be_frozen_is_not_dumped(scene: Scene, tmp_path: Path) -> None:
    scene.fails["freeze"] = HostError("a thread does not stand still")
    with pytest.raises(HostError, match="stand still"):
        await scene.stage()
    assert scene.done[-1] == "abandon running"
    assert not list((tmp_path / "staging").glob("*/*"))


@pytest.mark.parametrize("what", ["layer", "go on"])
async def test_whatever_fails_lets_the_container_go_on_and_leaves_nothing(
    scene: Scene, tmp_path: Path, what: str
) -> None:
    scene.fails[what] = DumpFailed("no")
    with pytest.raises(DumpFailed):
        await scene.stage()
    assert not scene.frozen
    assert not list((tmp_path / "staging").glob("*/*"))


async def test_thaws_only_when_the_layer_is_read_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread cannot be stopped: a dump that failed at once must not let the container change what is still read."""
    read_while: list[bool] = []

    def capture(upper: Path, target: Path, check: Callable[[], None]) -> int:
        time.sleep(0.1)
        read_while.append(scene.frozen)
        return 0

    monkeypatch.setattr(layer, "capture", capture)
    scene.fails["go on"] = DumpFailed("no")
    with pytest.raises(DumpFailed):
        await scene.stage()
    assert read_while == [True]


async def test_a_final_version_does_not_count_its_wait_for_the_dumps_of_others(scene: Scene) -> None:
    scene.dump_s = 0.2
    names = [f"redis.{number}" for number in range(1, 6)]
    taken = await asyncio.gather(*(scene.stage(final=True, name=name, limit_s=0.6) for name in names))
    assert [staged.workload.name for staged in taken] == names


async def test_a_final_dump_that_takes_too_long_itself_is_called_off(scene: Scene, tmp_path: Path) -> None:
    scene.dump_s = 5.0
    with pytest.raises(TimeoutError):
        await scene.stage(final=True, limit_s=0.2)
    assert not scene.frozen
    assert not list((tmp_path / "staging").glob("*/*"))


class SlowCopy:
    """Of a volume that has much to be copied ahead: the first try goes on until it is called off."""

    def __init__(self, scene: Scene, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self._under_way = threading.Event()
        self._scene = scene
        volume = Volume("volume", "data", "/data", folder, 1)
        folder.mkdir()

        async def to_take(facts: ContainerFacts, policy: object) -> tuple[Volume, ...]:
            return (volume,)

        monkeypatch.setattr(scene.taker._volumes, "to_take", to_take)
        monkeypatch.setattr(VolumeCopies, "copy_ahead", lambda copies, check: self._copy(check))

    def _copy(self, check: Callable[[], None]) -> None:
        self.begun += 1
        until = time.monotonic() + 5 * (self.begun == 1)
        self._scene.done.append(f"copy ahead {self.begun}")
        self._under_way.set()
        while time.monotonic() < until:
            check()
            time.sleep(0.01)

    async def is_under_way(self) -> None:
        assert await asyncio.to_thread(self._under_way.wait, 5)


async def test_a_final_version_does_not_wait_for_a_copy_that_is_made_ahead(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = SlowCopy(scene, tmp_path / "volume", monkeypatch)
    scheduled = asyncio.create_task(scene.stage(name="redis.1"))
    await copy.is_under_way()
    begun = time.monotonic()
    assert (await scene.stage(final=True, name="redis.2")).reason is Reason.FINAL
    assert time.monotonic() - begun < 4
    # It is not lost over that, and nothing is left of the try.
    taken = await scheduled
    first, final = ["copy ahead 1"], ["freeze running", "layer frozen", "dump frozen"]
    assert scene.done == [
        *first,
        *final,
        "copy ahead 2",
        "begin running",
        "freeze running",
        "layer frozen",
        "go on frozen",
    ]
    assert [folder.name for folder in (tmp_path / "staging" / "default_redis.1").iterdir()] == [taken.folder.name]


async def test_a_version_that_gave_way_to_the_last_one_of_its_own_container_is_not_taken(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = SlowCopy(scene, tmp_path / "volume", monkeypatch)
    tracked = scene.tracked_as("redis.1")
    scheduled = asyncio.create_task(scene.taker.stage(tracked, POLICY, Reason.SCHEDULE, final_limit_s=None))
    await copy.is_under_way()
    tracked.stop_requested = True
    await scene.taker.stage(tracked, POLICY, Reason.FINAL, final_limit_s=5.0)
    with pytest.raises(NotRunning):
        await scheduled
    assert copy.begun == 1
