"""Which versions a restore may choose from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from swarmkeep.agent.catalogue import Catalogue
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.runtime.facts import read_facts
from swarmkeep.agent.specifications import container_spec_hash
from swarmkeep.errors import Unavailable
from swarmkeep.kube.client import Client, ObjectList
from swarmkeep.model.ident import Ref
from swarmkeep.plan.start import Candidate
from swarmkeep.store.blob_memory import MemoryBlobStore
from swarmkeep.store.repository import Repository

from ..objects import stamp
from .runtime.test_facts import INSPECTION

T = TypeVar("T")
W = Ref("default", "redis.1")
FORCED = container_spec_hash(read_facts(INSPECTION), 3)
NEW = container_spec_hash(read_facts(INSPECTION), 0)


class Scene:
    """Stands for Locations, Client and KnownDamage."""

    def __init__(self, folder: Path) -> None:
        self.repository = Repository.open(MemoryBlobStore(), create=True)
        self.objects: list[dict[str, Any]] = []
        self.away = False
        self.damaged: frozenset[int] = frozenset()
        self._folder = folder
        self.catalogue = Catalogue(cast(Client, self), cast(Locations, self), cast(KnownDamage, self))

    def put(self, number: int, service_id: str = "svc1", *, known: bool = True, **parts: Any) -> None:
        facts = {"takenAt": stamp(60), "specHash": FORCED, "serviceID": service_id, "container": INSPECTION}
        self.repository.put(str(W), number, self._folder, facts | parts.pop("facts", {}))
        metadata = {"name": f"redis.1-v{number}", "namespace": "default", **parts.pop("metadata", {})}
        spec = {"workload": "redis.1", **parts.pop("spec", {})}
        status = {"phase": "Stored", "version": number, "location": "main", **parts}
        if known:
            self.objects.append({"metadata": metadata, "spec": spec, "status": status})

    async def call(self, name: str, work: Callable[[Repository], T], limit_s: float) -> T:
        return work(self.repository)

    def of(self, workload: Ref, location: str) -> frozenset[int]:
        return self.damaged

    async def look(self, service_id: str = "svc1") -> list[Candidate]:
        return (await self.catalogue.look(["main"], W, service_id)).candidates

    async def usable(self, service_id: str = "svc1") -> list[int]:
        return [item.number for item in await self.look(service_id) if item.usable]

    async def list(self, *_: object, **__: object) -> ObjectList:
        if self.away:
            raise Unavailable("no answer")
        return ObjectList(self.objects, "1")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "image").mkdir()
    return Scene(tmp_path)


async def test_what_is_in_storage_counts_whether_the_api_knows_it_or_not(scene: Scene) -> None:
    scene.put(1)
    scene.put(2, known=False)
    assert await scene.usable() == [2, 1]


@pytest.mark.parametrize("moment", ["yesterday", "0001-01-01T00:00:00+23:00", 7])
async def test_a_version_that_says_nonsense_is_not_restored_and_stops_no_other(scene: Scene, moment: Any) -> None:
    scene.put(1)
    scene.put(2, facts={"takenAt": moment})
    assert await scene.usable() == [1]


async def test_what_goes_or_is_damaged_does_not(scene: Scene) -> None:
    scene.put(1)
    scene.put(2, metadata={"deletionTimestamp": stamp()})
    scene.put(3, phase="Deleting")
    scene.put(4, verified={"number": 1, "result": "Damaged"})
    scene.put(5, verified={"number": 1, "result": "Good"})
    assert await scene.usable() == [5, 1]
    newest = next(item for item in await scene.look() if item.number == 4)
    assert newest.spec_hash == FORCED, "it still tells what was there"


async def test_while_the_api_is_away_known_damage_is_remembered(scene: Scene) -> None:
    scene.put(1)
    scene.put(2)
    scene.away, scene.damaged = True, frozenset({2})
    assert await scene.usable() == [1]


async def test_an_adopted_version_passes_for_one_of_the_new_service(scene: Scene) -> None:
    scene.put(1, "old", spec={"adopt": True})
    scene.put(2, "old")
    second, first = await scene.look("new")
    assert (first.service_id, first.spec_hash) == ("new", NEW)
    assert (second.service_id, second.spec_hash) == ("old", FORCED)


async def test_adoption_changes_nothing_for_the_service_itself(scene: Scene) -> None:
    scene.put(1, "svc1", spec={"adopt": True})
    (only,) = await scene.look("svc1")
    assert (only.service_id, only.spec_hash) == ("svc1", FORCED)


async def test_a_version_whose_container_is_not_understood_is_not_adopted(scene: Scene) -> None:
    scene.put(1, "old", spec={"adopt": True}, facts={"container": {"Id": "x"}})
    (only,) = await scene.look("new")
    assert only.service_id == "old"


async def test_nobody_starts_fresh_because_the_api_could_not_say_what_is_adopted(scene: Scene) -> None:
    scene.put(1, "old", spec={"adopt": True})
    scene.away = True
    with pytest.raises(Unavailable, match="only the API knows"):
        await scene.look("new")
    assert await scene.usable("old") == [1]
