"""Wherever the agent dies while a task comes up, its successor brings it to the one end that is right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ..objects import stamp
from .host import Container
from .room import IN_THE_ROOM, REDIS, Life, Lives, Machine, ShimIn, claim_of, room

pytestmark = IN_THE_ROOM


async def assert_protected(life: Life, machine: Machine, container: Container) -> None:
    """It runs once, the API knows it, it is fenced when it must be, and versions of it are taken."""
    api = machine.api
    id = container.facts.id
    await life.until("the workload to be reported", lambda: api.status(REDIS).get("container", {}).get("id") == id)
    await life.until("the phase", lambda: api.status(REDIS)["phase"] == "Running")
    assert len(container.came_up) == 1
    assert container.running
    assert claim_of(api)[0] == "n2"
    machine.lease_age = timedelta(seconds=10)
    await life.until("the freeze", lambda: container.frozen and life.record().phase == "Fenced")
    machine.lease_age = timedelta(0)
    await life.until("the thaw", lambda: not container.frozen and life.record().phase == "Running")
    taken = await life.take_version()
    await life.until("the version", lambda: api.status(REDIS).get("newestVersion", {}).get("number") == taken)


@dataclass(frozen=True)
class Rehearsal:
    """How a start went at which the agent died or not."""

    steps: list[str]
    """What the first agent did until the start was over, or until it died."""
    end: tuple[str, str, str]
    """What the API knows of the start, and how the process really came up."""


async def rehearse(machine: Machine, dies_at: int) -> Rehearsal:
    container = machine.container("c1")
    async with Lives(machine, dies_at) as lives:
        assert await machine.start(container) == ""
        steps = list(lives.first.fate.steps)
        life = await lives.survivor()
        await assert_protected(life, machine, container)
        start = machine.api.status(REDIS)["lastStart"]
        return Rehearsal(steps, (start["how"], start["reason"], container.came_up[0]))


SCENES: list[tuple[str, tuple[int, ...], str, dict[str, Any], tuple[str, str, str]]] = [
    (
        "node loss",
        (1, 2),
        "n1",
        {"lastEnd": {"how": "Exited", "at": stamp(900)}},
        ("Restored", "NodeLoss", "restored v2"),
    ),
    (
        "reschedule",
        (1, 2),
        "",
        {"lastEnd": {"how": "Stopped", "at": stamp(900)}},
        ("Restored", "Reschedule", "restored v2"),
    ),
    ("completed", (1, 2), "", {"lastEnd": {"how": "Exited", "at": stamp(900)}}, ("Fresh", "Completed", "fresh")),
    ("first start", (), "", {}, ("Fresh", "NoVersion", "fresh")),
]


async def at_each_step(
    steps: int, end_of: Callable[[int], Awaitable[Rehearsal]], expected: tuple[str, str, str]
) -> None:
    """Rehearses a death at each of the steps, some at the same time, and compares the ends."""
    for first in range(1, steps + 1, 8):
        batch = range(first, min(first + 8, steps + 1))
        for dies_at, found in zip(batch, await asyncio.gather(*map(end_of, batch)), strict=True):
            assert found.end == expected, f"died at step {dies_at}: {found.steps}"


@pytest.mark.parametrize(
    ("versions", "claim", "status", "expected"), [scene[1:] for scene in SCENES], ids=[scene[0] for scene in SCENES]
)
async def test_wherever_the_agent_dies_the_task_comes_up_once_and_is_protected(
    tmp_path: Path,
    shim_in: ShimIn,
    versions: tuple[int, ...],
    claim: str,
    status: dict[str, Any],
    expected: tuple[str, str, str],
) -> None:
    async def end_of(dies_at: int) -> Rehearsal:
        machine = room(tmp_path / str(dies_at), shim_in, *versions, claim=claim, **status)
        return await rehearse(machine, dies_at)

    undisturbed = await end_of(0)
    assert undisturbed.end == expected
    assert len(undisturbed.steps) > 12
    await at_each_step(len(undisturbed.steps), end_of, expected)


async def test_when_no_agent_came_back_in_time_the_next_task_comes_up_as_the_refused_one_would_have(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    async def end_of(dies_at: int) -> Rehearsal:
        folder = tmp_path / str(dies_at)
        machine = room(
            folder, shim_in, 1, 2, claim="n1", holdLimit="500ms", lastEnd={"how": "Exited", "at": stamp(900)}
        )
        container = machine.container("c1")
        async with machine.life(dies_at) as life:
            refusal = await machine.start(container)
            steps = list(life.fate.steps)
        machine.policy["spec"]["restore"]["holdLimit"] = "20s"
        async with machine.life() as life:
            if not container.running:
                assert "must not start unasked" in refusal
                container = machine.container("c2")
                assert await machine.start(container) == ""
            await assert_protected(life, machine, container)
            start = machine.api.status(REDIS)["lastStart"]
            came_up = [how for each in machine.containers.values() for how in each.came_up]
            assert len(came_up) == 1
            return Rehearsal(steps, (start["how"], start["reason"], came_up[0]))

    expected = ("Restored", "NodeLoss", "restored v2")
    undisturbed = await end_of(0)
    assert undisturbed.end == expected
    await at_each_step(len(undisturbed.steps), end_of, expected)
