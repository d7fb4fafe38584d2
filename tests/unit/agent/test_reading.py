"""Which location a version is read from, and what is said when none has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from swarmkeep.agent import reading
from swarmkeep.agent.reading import DAMAGE_FIRST, SILENCE_FIRST, read_from_first
from swarmkeep.errors import DataError, NotFound, SwarmKeepError, Unavailable
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository

from .places import WL, Places

BOTH = ("main", "far")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path)
    for name in BOTH:
        places.put(name, 1)
    return places


def damage(places: Places, name: str) -> None:
    for pack in (places.root / name / "packs").rglob("*-*"):
        pack.chmod(0o600)
        pack.write_bytes(b"rubbish")


async def read(
    places: Places, worst_first: Sequence[type[SwarmKeepError]] = DAMAGE_FIRST, names: Sequence[str] = BOTH
) -> Manifest:
    target = places.root / "target"

    def get(repository: Repository) -> Manifest:
        return repository.get(str(WL), 1, target, durable=False)

    return await read_from_first(places.locations, names, WL, 1, get, 60.0, worst_first)


@pytest.mark.parametrize("trouble", ["away", "damaged", "deleted"])
async def test_whatever_is_wrong_with_the_first_the_next_one_serves(places: Places, trouble: str) -> None:
    if trouble == "away":
        places.vanish("main")
    elif trouble == "damaged":
        damage(places, "main")
    else:
        places.repository("main").delete(str(WL), 1)
    await read(places)
    assert (places.root / "target/layer/file").read_text() == "version 1"


async def test_who_can_take_another_version_hears_of_damage_and_who_can_wait_of_silence(places: Places) -> None:
    damage(places, "main")
    places.vanish("far")
    with pytest.raises(DataError):
        await read(places, DAMAGE_FIRST)
    with pytest.raises(Unavailable):
        await read(places, SILENCE_FIRST)


async def test_a_version_is_gone_only_when_every_location_says_so(places: Places) -> None:
    places.repository("main").delete(str(WL), 1)
    places.vanish("far")
    with pytest.raises(Unavailable):
        await read(places)
    places.come_back("far")
    places.repository("far").delete(str(WL), 1)
    with pytest.raises(NotFound):
        await read(places)
    with pytest.raises(NotFound, match="no location"):
        await read(places, names=())


async def test_a_location_that_hangs_is_left_before_it_is_trusted_with_all_of_it(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = places.locations.call
    limits = []

    async def hanging(name: str, work: object, limit_s: float) -> object:
        if name == "main":
            limits.append(limit_s)
            raise Unavailable("main has not answered")
        return await call(name, work, limit_s)  # type: ignore[arg-type]

    monkeypatch.setattr(places.locations, "call", hanging)
    await read(places)
    assert limits == [reading.TURN_LIMIT_S]
