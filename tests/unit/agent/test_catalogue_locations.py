"""Which versions a restore sees, when not every location answers or is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from swarmkeep.agent.catalogue import Catalogue, Found
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.errors import Unavailable, WrongKey
from swarmkeep.kube.client import ObjectList
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import Kind

from .places import WL, Places

BOTH = ("main", "far")


class Undamaged:
    """Stands for KnownDamage."""

    def of(self, workload: Ref, location: str) -> frozenset[int]:
        return frozenset()


class Api:
    """Lists these Checkpoints."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = list(objects)

    async def list(self, kind: Kind, namespace: str, *, labels: str) -> ObjectList:
        return ObjectList(self.objects, "1")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path)
    places.put("main", 1)
    places.put("far", 1)
    places.put("main", 2)
    return places


async def look(places: Places, newest: int = 0, *objects: dict[str, Any]) -> Found:
    api: Any = Api(*objects)
    return await Catalogue(api, places.locations, cast(KnownDamage, Undamaged())).look(BOTH, WL, "svc1", newest)


def numbers(found: Found) -> list[tuple[int, bool]]:
    return [(item.number, item.usable) for item in found.candidates]


async def test_the_first_location_is_enough_while_it_has_the_newest(places: Places) -> None:
    places.vanish("far")
    found = await look(places, 2)
    assert numbers(found) == [(2, True), (1, True)]
    assert found.silent == ()


async def test_without_the_first_the_next_one_says_what_it_has_and_who_is_silent(places: Places) -> None:
    places.vanish("main")
    found = await look(places, 2)
    assert numbers(found) == [(1, True)]
    assert found.silent == ("main",)


async def test_nothing_found_while_a_location_is_silent_is_no_answer(places: Places) -> None:
    places.repository("far").delete(str(WL), 1)
    places.vanish("main")
    with pytest.raises(Unavailable):
        await look(places)


async def test_a_manifest_that_is_damaged_in_the_first_is_good_in_the_next(places: Places) -> None:
    for number in (1, 2):
        (manifest,) = (places.root / "main/manifests").rglob(f"{number:09}")
        manifest.chmod(0o600)
        manifest.write_bytes(b"rubbish")
    assert numbers(await look(places, 2)) == [(2, False), (1, True)]


async def test_what_is_being_deleted_is_not_restored_from_any_location(places: Places) -> None:
    going = {
        "metadata": {"name": "redis.1-v2", "namespace": "default"},
        "spec": {"workload": "redis.1"},
        "status": {"phase": "Deleting", "version": 2, "node": "n1", "location": "main"},
    }
    assert numbers(await look(places, 2, going)) == [(2, False), (1, True)]


async def test_a_missing_key_is_waited_for_unless_another_location_has_a_version_as_new(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = places.locations.call

    async def keyless(name: str, work: Any, limit_s: float) -> Any:
        if name == "main":
            raise WrongKey("main is under another key")
        return await call(name, work, limit_s)

    monkeypatch.setattr(places.locations, "call", keyless)
    with pytest.raises(WrongKey):
        await look(places, 2)
    assert numbers(await look(places, 1)) == [(1, True)]
    places.put("far", 2)
    assert numbers(await look(places, 2)) == [(2, True), (1, True)]
