"""Repairs: what is damaged in one location is written there again, and nothing comes back that was deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from swarmkeep.agent import mender as module
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.mender import Mender
from swarmkeep.errors import DataError, SwarmKeepError, Unavailable
from swarmkeep.kube.answers import ApiNotFound
from swarmkeep.kube.client import Client
from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, CopyState

from ..objects import checkpoint
from .places import WL, Places

BOTH = {"main": CopyState.STORED, "far": CopyState.STORED}


class Scene:
    """Version 1 of a workload in two locations, its object, and the agent that repairs."""

    def __init__(self, root: Path) -> None:
        self.places = Places(root)
        for name in ("main", "far"):
            self.places.put(name, 1)
        self.item: Checkpoint = checkpoint(1, CheckpointPhase.REPLICATED, copies=BOTH)
        self.is_deleted = False
        self.away = 0
        self.before_get: Callable[[], None] = lambda: None
        self._root = root
        self.mender = self.next_life()

    def next_life(self) -> Mender:
        client = cast(Client, self)
        return Mender(client, self.places.locations, Journal(self._root / "mended"), self._root / "mending")

    async def get(self, kind: object, name: str, namespace: str) -> dict[str, Any]:
        self.before_get()
        if self.away:
            self.away -= 1
            raise Unavailable("no answer")
        if self.is_deleted:
            raise ApiNotFound(name)
        status = {"phase": "Replicated", "version": 1, "location": "main"}
        return {"metadata": {"name": name, "namespace": namespace}, "spec": {"workload": WL.name}, "status": status}

    def pack(self, name: str) -> Path:
        (found,) = (self.places.root / name / "packs").rglob("*-*")
        return found

    def hurt(self, name: str) -> None:
        pack = self.pack(name)
        content = bytearray(pack.read_bytes())
        content[20] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)

    async def mend(self, location: str = "main", *sources: str) -> str:
        return await self.mender.mend(self.item, location, sources or ("far",), lambda: False)

    def problems(self, name: str) -> int:
        return len(self.places.repository(name).verify(str(WL), 1))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    return Scene(tmp_path)


async def test_a_damaged_version_is_whole_again_and_the_other_copy_untouched(scene: Scene) -> None:
    scene.hurt("main")
    good = scene.pack("far").read_bytes()
    assert scene.problems("main") > 0
    assert await scene.mend() == "far"
    assert scene.problems("main") == 0
    assert scene.pack("far").read_bytes() == good
    old, new = (scene.places.repository(name).manifest(str(WL), 1) for name in ("far", "main"))
    assert (new.facts, new.taken_at) == (old.facts, old.taken_at)
    assert list((scene.places.root / "mended").iterdir()) == []
    assert not (scene.places.root / "mending/default/redis.1-v1").exists()


async def test_a_version_whose_manifest_is_gone_comes_back(scene: Scene) -> None:
    (scene.places.root / "main/manifests/default/redis.1/000000001").unlink()
    await scene.mend()
    assert scene.problems("main") == 0


async def test_out_of_damaged_bytes_nothing_is_repaired(scene: Scene) -> None:
    scene.hurt("main")
    scene.hurt("far")
    before = scene.places.repository("main").manifest(str(WL), 1)
    with pytest.raises(DataError):
        await scene.mend()
    assert scene.places.repository("main").manifest(str(WL), 1) == before


async def test_the_next_source_serves_when_the_first_cannot(scene: Scene, tmp_path: Path) -> None:
    scene.hurt("main")
    assert await scene.mend("main", "nowhere", "far") == "far"
    assert scene.problems("main") == 0


async def test_what_was_deleted_meanwhile_does_not_come_back(scene: Scene) -> None:
    scene.hurt("main")
    scene.is_deleted = True
    scene.away = 2
    await scene.mend()
    assert scene.places.numbers("main") == []


async def test_nor_does_it_when_the_agent_dies_before_it_could_look(scene: Scene) -> None:
    scene.hurt("main")

    def die() -> None:
        raise KeyboardInterrupt

    scene.before_get = die
    with pytest.raises(KeyboardInterrupt):
        await scene.mend()
    assert scene.places.numbers("main") == [1]
    scene.before_get, scene.is_deleted, scene.away = lambda: None, True, 1
    await scene.next_life().run()
    assert scene.places.numbers("main") == []
    assert list((scene.places.root / "mended").iterdir()) == []


async def test_a_location_that_is_away_stays_as_it_is(scene: Scene) -> None:
    scene.hurt("main")
    scene.places.vanish("main")
    with pytest.raises(SwarmKeepError):
        await scene.mend()
    scene.places.come_back("main")
    assert scene.problems("main") > 0
