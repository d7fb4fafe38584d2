"""Wherever the agent dies while a task with a volume comes up, process and volume are of the same version."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.volumes import Volume, write_index
from swarmkeep.agent.specifications import container_spec_hash
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.shim.restore import RestoreFailed
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

from ..objects import stamp
from .host import Container
from .mortal import Died
from .room import IN_THE_ROOM, REDIS, Life, Lives, Machine, ShimIn, room
from .test_deaths import Rehearsal, assert_protected, at_each_step

pytestmark = IN_THE_ROOM


class Place:
    """A machine that has the volume `data` with something in it already, and a store with versions 1 and 2."""

    def __init__(self, folder: Path, shim_in: ShimIn, old: str, **spec: Any) -> None:
        self.machine = room(folder, shim_in, claim="n1", lastEnd={"how": "Exited", "at": stamp(900)})
        self.machine.policy["spec"] |= spec
        self.machine.policy["spec"]["checkpoint"] = {
            "volumes": ["data"],
            "hooks": {"after": [{"exec": ["resume"]}]},
        }
        obj = self.machine.api.objects[WORKLOAD.plural, REDIS]
        obj["status"]["claim"]["epoch"] = 3
        self.machine.api.put(WORKLOAD, obj)
        self.path = folder / "volumes" / "data" / "_data"
        self.path.mkdir(parents=True)
        if old:
            (self.path / "file").write_text(old)
        self.container = self._container("c1")
        repository = Repository.open(LocalBlobStore(self.machine.location), create=True)
        facts = {"specHash": container_spec_hash(self.container.facts, 0), "serviceID": "svc1"}
        for number in (1, 2):
            version = folder / f"v{number}"
            for name in ("image", "layer", "content"):
                (version / name).mkdir(parents=True)
            (version / "image" / "pages").write_text(f"v{number}")
            (version / "content" / "file").write_text(f"v{number}")
            volume = Volume("volume", "data", "/data", self.path, 1)
            layer.capture_folder(version / "content", version / "volumes" / volume.key)
            write_index(version / "volumes", [volume])
            (version / "content" / "file").unlink()
            (version / "content").rmdir()
            repository.put(str(REDIS), number, version, facts | {"takenAt": stamp(-number)})

    def _container(self, id: str) -> Container:
        container = self.machine.container(id)
        mount = {"Type": "volume", "Name": "data", "Source": str(self.path), "Destination": "/data", "RW": True}
        container.inspection["Mounts"] = [mount]
        path = self.machine.docker_root / "containers" / id / "config.v2.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"MountPoints": {"/data": mount}}))
        return container

    def content(self) -> str:
        return (self.path / "file").read_text()

    def asides(self) -> list[str]:
        return [(path / "file").read_text() for path in self.path.parent.iterdir() if path != self.path]


async def hooks_are_settled(life: Life, container: Container) -> None:
    """The scheduler sees to it that nothing is owed."""
    scheduling = asyncio.create_task(life.scheduler.run())
    try:
        await life.until("the hooks", lambda: container.hooks[-1:] == ["resume"] and not life.record().owes_hooks)
    finally:
        scheduling.cancel()
        await asyncio.gather(scheduling, return_exceptions=True)


async def rehearse(place: Place, dies_at: int) -> Rehearsal:
    machine, container = place.machine, place.container
    async with Lives(machine, dies_at) as lives:
        assert await machine.start(container) == ""
        steps = list(lives.first.fate.steps)
        # The process is there: it has the volume of its own version.
        came_up = container.came_up[0]
        assert f"restored {place.content()}" == came_up
        assert place.asides().count("foreign") == 1
        (place.path / "file").write_text("written since")
        life = await lives.survivor()
        await life.until(
            "the process to be known", lambda: life.tracked.get(REDIS) and life.record().phase == "Running"
        )
        assert container.hooks == []
        await hooks_are_settled(life, container)
        assert container.hooks == ["resume"]
        await assert_protected(life, machine, container)
        return Rehearsal(steps, (place.content(), "", came_up))


async def test_wherever_the_agent_dies_process_and_volume_are_of_one_version(tmp_path: Path, shim_in: ShimIn) -> None:
    async def end_of(dies_at: int) -> Rehearsal:
        return await rehearse(Place(tmp_path / str(dies_at), shim_in, "foreign"), dies_at)

    undisturbed = await end_of(0)
    assert undisturbed.end == ("written since", "", "restored v2")
    await at_each_step(len(undisturbed.steps), end_of, undisturbed.end)


async def test_wherever_the_agent_dies_during_a_version_the_hooks_after_it_are_run(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    async def end_of(dies_in: int) -> Rehearsal:
        place = Place(tmp_path / str(dies_in), shim_in, "mine", restore={"after": ["Crash"], "pages": "Eager"})
        place.machine.policy["spec"]["checkpoint"]["hooks"]["before"] = [{"exec": ["pause"]}]
        place.machine.policy["spec"]["schedule"]["every"] = "1h"
        container = place.container
        async with Lives(place.machine, 0) as lives:
            assert await place.machine.start(container) == ""
            first = lives.first
            await first.until("the phase", lambda: first.tracked.get(REDIS) and first.record().phase == "Running")
            begun = len(first.fate.steps)
            if dies_in:
                first.fate.die_in(dies_in)
            (result,) = await asyncio.gather(asyncio.create_task(first.take_version()), return_exceptions=True)
            assert isinstance(result, int | Died)
            steps = first.fate.steps[begun:]
            life = await lives.survivor()
            if "pause" in container.hooks:
                await hooks_are_settled(life, container)
            await life.until("the thaw", lambda: not container.frozen)
            # It takes versions as if nothing had been.
            assert await life.take_version() >= 3
            assert container.hooks[-2:] == ["pause", "resume"]
        return Rehearsal(steps, (place.content(), "", container.came_up[0]))

    undisturbed = await end_of(0)
    assert undisturbed.end == ("mine", "", "fresh")
    assert len(undisturbed.steps) > 12
    await at_each_step(len(undisturbed.steps), end_of, undisturbed.end)


async def test_a_version_that_does_not_come_up_gives_the_volume_back_and_the_older_one_gets_it(
    tmp_path: Path, shim_in: ShimIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, shim_in, "foreign", restore={"attempts": 1, "pages": "Eager", "holdLimit": "20s"})
    real = place.machine.restored
    seen = []

    def restored(order: dict[str, Any]) -> None:
        seen.append(place.content())
        if place.content() == "v2":
            raise RestoreFailed("CRIU failed")
        real(order)

    monkeypatch.setattr(Machine, "restored", lambda self, order: restored(order))
    async with place.machine.life():
        assert await place.machine.start(place.container) == ""
    assert seen == ["v2", "v1"]
    assert (place.content(), place.asides()) == ("v1", ["foreign"])


async def test_a_fresh_start_leaves_the_volume_alone(tmp_path: Path, shim_in: ShimIn) -> None:
    place = Place(tmp_path, shim_in, "foreign", restore={"after": ["Crash"]})
    async with place.machine.life():
        assert await place.machine.start(place.container) == ""
    assert place.container.came_up == ["fresh"]
    assert (place.content(), place.asides()) == ("foreign", [])


async def test_a_volume_that_another_container_uses_holds_the_start(tmp_path: Path, shim_in: ShimIn) -> None:
    place = Place(tmp_path, shim_in, "foreign", restore={"holdLimit": "1s"})
    other = place._container("c2")
    other.inspection["Name"] = "/backup"
    other.inspection["Config"]["Labels"] = {}
    other.begin("fresh")
    async with place.machine.life():
        refusal = await place.machine.start(place.container)
    assert "backup to let go of volume data" in refusal
    assert place.container.came_up == []
    assert (place.content(), place.asides()) == ("foreign", [])
