"""The copy of a plain container on a node that was lost: removed when another node has gone on with it, else left."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent import stale_copies
from swarmkeep.agent.claims import Claims
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.stale_copies import StaleCopies, is_stale
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import Tracked
from swarmkeep.errors import NotFound, Unavailable
from swarmkeep.model.ident import Ref
from swarmkeep.model.workload import Assignment, Claim

from ..objects import NOW

WEB = Ref("default", "web")
MOVED = Assignment("n2", "NodeLoss", NOW, 3)


@pytest.mark.parametrize(
    ("epoch", "claim", "placement", "expected"),
    [
        (3, Claim("n2", 4), MOVED, True),
        # It goes on here, or nowhere.
        (3, Claim("n1", 4), MOVED, False),
        (3, Claim("", 4), MOVED, False),
        # It never ran under a claim: it only has the same name.
        (0, Claim("n2", 4), MOVED, False),
        # Somebody started another one by hand: whether this one is of use is theirs to say.
        (3, Claim("n2", 4), None, False),
        (5, Claim("n2", 6), MOVED, False),
        # It was sent here.
        (3, Claim("n2", 4), Assignment("n1", "NodeLoss", NOW, 3), False),
    ],
)
def test_only_what_ran_under_an_older_claim_and_was_moved_is_stale(
    epoch: int, claim: Claim, placement: Assignment | None, expected: bool
) -> None:
    assert is_stale(epoch, claim, placement, "n1") is expected


class World:
    """Docker and the API as far as stale copies see them."""

    def __init__(self) -> None:
        self.claim = Claim("n1", 3)
        self.placement: Assignment | None = None
        self.there = True
        self.docker_away = False
        self.told: list[str] = []

    async def read(self, _: Ref) -> Any:
        return SimpleNamespace(claim=self.claim, placement=self.placement)

    async def inspect(self, container_id: str) -> Any:
        if self.docker_away:
            raise Unavailable("Docker starts it just now")
        if not self.there:
            raise NotFound(container_id)
        return SimpleNamespace(id=container_id)

    async def remove(self, _: str) -> None:
        self.there = False

    def stale_copy_removed(self, _: Ref, holder: str) -> None:
        self.told.append(holder)

    def copies(self, folder: Path) -> StaleCopies:
        me = cast(Any, self)
        return StaleCopies("n1", cast(Containers, me), cast(Claims, me), cast(Story, me), Journal(folder))


def ended(*, epoch: int = 3, plain: bool = True) -> Tracked:
    return Tracked(WEB, "web", "c1", "", "hash", "boot", NOW, epoch=epoch, plain=plain)


async def run_for(copies: StaleCopies, seconds: float = 0.1) -> None:
    task = asyncio.create_task(copies.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait({task})


async def test_it_is_removed_once_another_node_has_gone_on_though_the_agent_died_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_copies, "LOOK_S", 0.01)
    world = World()
    world.copies(tmp_path).ended(ended())
    copies = world.copies(tmp_path)
    assert copies.epoch_of(None, WEB, "c1") == 3
    world.claim = Claim("", 3)
    await run_for(copies)
    assert world.there
    world.claim, world.placement, world.docker_away = Claim("n2", 4), MOVED, True
    await run_for(copies)
    assert world.there
    world.docker_away = False
    await run_for(copies)
    assert not world.there
    assert world.told == ["n2"]
    assert world.copies(tmp_path).epoch_of(None, WEB, "c1") == 0


async def test_one_that_comes_up_here_again_is_not_looked_after_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_copies, "LOOK_S", 0.01)
    world = World()
    copies = world.copies(tmp_path)
    copies.ended(ended())
    world.claim = Claim("n1", 4)
    await run_for(copies)
    assert world.there
    assert copies.epoch_of(None, WEB, "c1") == 0


def test_a_task_and_what_never_had_the_claim_are_not_remembered(tmp_path: Path) -> None:
    copies = World().copies(tmp_path)
    copies.ended(ended(plain=False))
    copies.ended(ended(epoch=0))
    assert copies.epoch_of(None, WEB, "c1") == 0
    assert copies.epoch_of(ended(plain=False), WEB, "c1") == 0
    assert copies.epoch_of(ended(), WEB, "c1") == 3
