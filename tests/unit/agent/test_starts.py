"""How a task is brought up."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..objects import stamp
from .room import IN_THE_ROOM, ShimIn, room

pytestmark = IN_THE_ROOM


@pytest.mark.parametrize(
    ("pages", "can", "lazily"), [("Lazy", True, True), ("Lazy", False, False), ("Eager", True, False)]
)
async def test_memory_comes_on_demand_where_the_policy_wants_it_and_the_node_can(
    tmp_path: Path, shim_in: ShimIn, pages: str, can: bool, lazily: bool
) -> None:
    machine = room(tmp_path, shim_in, 1, claim="", lastEnd={"how": "Stopped", "at": stamp(900)})
    machine.policy["spec"]["restore"]["pages"] = pages
    machine.lazy_pages = can
    container = machine.container("c1")
    async with machine.life():
        assert await machine.start(container) == ""
    assert container.came_up == ["restored v1"]
    assert [order["lazy"] for order in machine.orders] == [lazily]
