"""What the agent makes of what Docker, the shim and the API show: ends, starts that nobody saw, claims."""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent import observer, starts
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.plan import crashes
from swarmkeep.shim import create as shim
from swarmkeep.shim.arguments import parse_call
from swarmkeep.shim.settings import Settings

from ..objects import stamp, workload_object
from .room import IN_THE_ROOM, REDIS, Life, Machine, ShimIn, claim_of, room

pytestmark = IN_THE_ROOM


def note(machine: Machine, id: str, reason: str = "AgentAway") -> None:
    """The shim started it without asking."""
    settings = Settings(state_dir=str(machine.state / "shim"))
    shim.note_cold_start(parse_call(["create", "--bundle", "/", id]), settings, reason, "no agent answers")


async def step_of(folder: Path, shim_in: ShimIn, what: str) -> int:
    """The number of that step in an undisturbed start of the same kind."""
    machine = room(folder, shim_in, 1, claim="n1")
    async with machine.life() as life:
        await running(life, machine)
        return life.fate.steps.index(what) + 1


async def running(life: Life, machine: Machine, id: str = "c1") -> None:
    assert await machine.start(machine.container(id)) == ""
    await life.until("the claim", lambda: life.record().epoch > 0 and life.record().start is not None)
    await life.until("the report", lambda: machine.api.status(REDIS).get("container", {}).get("id") == id)


async def ended(life: Life, machine: Machine, id: str, exit_code: int) -> None:
    machine.containers[id].end(exit_code)
    machine.changed.set()
    await life.until("the end to be reported", lambda: machine.api.status(REDIS)["claim"].get("node") == "")


async def test_a_claim_whose_answer_was_lost_is_taken_again_with_the_same_end(tmp_path: Path, shim_in: ShimIn) -> None:
    # That end is of the task before the one that was lost.
    machine = room(tmp_path, shim_in, 1, claim="n1", lastEnd={"how": "Exited", "at": stamp(900)})
    machine.api.lost_answers = 1
    async with machine.life() as life:
        await running(life, machine)
    assert machine.containers["c1"].came_up == ["restored v1"]
    assert machine.api.status(REDIS)["lastStart"]["reason"] == "NodeLoss"


async def test_a_start_without_an_agent_is_told_once_it_is_back(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = room(tmp_path, shim_in, 1, claim="", lastEnd={"how": "Stopped", "at": stamp(900)})
    container = machine.container("c1")
    note(machine, "c1")
    container.begin("fresh")
    async with machine.life() as life:
        await life.until("the reason", lambda: machine.api.status(REDIS).get("lastStart", {}).get("how") == "Fresh")
        start = machine.api.status(REDIS)["lastStart"]
        assert (start["reason"], start["message"], start["taskID"]) == ("AgentAway", "no agent answers", "task-c1")
        await life.until("the event", lambda: "ColdStart" in machine.api.reasons())
        await life.until("the note to be done with", lambda: not list((machine.state / "shim").glob("cold-starts*")))
        assert machine.api.reasons().count("ColdStart") == 1
    note(machine, "unknown")
    async with machine.life() as life:
        await life.until("a useless note to go", lambda: not list((machine.state / "shim").glob("cold-starts*")))
    assert machine.api.reasons().count("ColdStart") == 1


async def test_a_note_outweighs_what_the_agent_had_in_mind_when_it_died(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = room(tmp_path, shim_in, 1, claim="n1", fencing="None")
    machine.policy["spec"]["restore"]["holdLimit"] = "1s"
    machine.publish()
    container = machine.container("c1")
    # It has chosen version 1 and dies before the shim hears of it.
    async with machine.life(await step_of(tmp_path / "before", shim_in, "answer ('do', 'restore')")):
        assert await machine.start(container) == ""
    assert container.came_up == ["fresh"]
    async with machine.life() as life:
        await life.until("the phase", lambda: life.record().phase == "Running" and life.record().attempt is None)
        assert (life.record().start or {})["reason"] == "AgentAway"
    assert container.came_up == ["fresh"]


async def test_a_version_that_comes_up_and_dies_at_once_gives_way_to_the_one_before(
    tmp_path: Path, shim_in: ShimIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = room(tmp_path, shim_in, 1, 2, claim="n1", attempts=2)
    came_up = []
    async with machine.life() as life:
        for number in range(1, 4):
            await running(life, machine, f"c{number}")
            came_up += machine.containers[f"c{number}"].came_up
            if number < 3:
                await ended(life, machine, f"c{number}", 139)
                assert machine.api.status(REDIS)["failedRestores"] == {"2": number}
        assert came_up == ["restored v2", "restored v2", "restored v1"]
        assert machine.api.status(REDIS)["crashes"]["inRow"] == 2
        assert await life.take_version() == 3
        assert machine.api.status(REDIS)["failedRestores"] == {"2": 2}
        monkeypatch.setattr(crashes, "EARLY_DEATH", timedelta(0))
        assert await life.take_version() == 4
        await life.until("the counts to go", lambda: "failedRestores" not in machine.api.status(REDIS))
        await ended(life, machine, "c3", 1)
        assert "failedRestores" not in machine.api.status(REDIS)
        await running(life, machine, "c4")
    assert machine.containers["c4"].came_up == ["restored v4"]


async def test_versions_of_a_process_that_crashes_again_and_again_count_together_and_restores_come_more_rarely(
    tmp_path: Path, shim_in: ShimIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = room(tmp_path, shim_in, 1, 2, claim="n1", attempts=2)
    pause = timedelta(seconds=1.5)
    monkeypatch.setattr(crashes, "FIRST_PAUSE", pause)
    came_up, moments = [], []
    async with machine.life() as life:
        for number in range(1, 6):
            await running(life, machine, f"c{number}")
            came_up += machine.containers[f"c{number}"].came_up
            moments.append(time.monotonic())
            if number < 4:
                # The poison that it was restored with goes on into every version that is taken of it.
                await life.take_version()
            await ended(life, machine, f"c{number}", 137 if number == 4 else 3)
        status = machine.api.status(REDIS)
    assert came_up == ["restored v2", "restored v3", "restored v1", "restored v5", "fresh"]
    assert status["failedRestores"] == {"1": 2, "2": 2, "3": 2, "4": 2, "5": 2}
    assert (status["crashes"]["inRow"], status["crashes"]["freshToo"]) == (4, True)
    waits = [later - earlier for earlier, later in pairwise(moments)]
    assert max(waits[:2]) < pause.total_seconds() <= waits[2]


async def test_a_task_that_must_not_start_waits_instead_of_being_refused_again_and_again(
    tmp_path: Path, shim_in: ShimIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "HOLD_LOOK", timedelta(seconds=0.1))
    machine = room(tmp_path, shim_in, 1, claim="n1", holdLimit="2s")
    machine.policy["spec"]["restore"] |= {"otherwise": "Hold", "maxAge": "0s"}
    begun = time.monotonic()
    async with machine.life() as life:
        assert "is held: none of 1 versions" in await machine.start(machine.container("c1"))
        assert time.monotonic() - begun > 1.5
        await life.until("the event", lambda: "Held" in machine.api.reasons())


async def test_a_process_that_runs_well_ends_a_row_of_crashes(
    tmp_path: Path, shim_in: ShimIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = room(tmp_path, shim_in, 1, claim="n1")
    async with machine.life() as life:
        await running(life, machine, "c1")
        await ended(life, machine, "c1", 3)
        assert machine.api.status(REDIS)["crashes"]["inRow"] == 1
        await running(life, machine, "c2")
        monkeypatch.setattr(crashes, "RAN_WELL", timedelta(0))
        await life.until("the row to end", lambda: "crashes" not in machine.api.status(REDIS))


async def test_a_version_whose_pages_were_lost_counts_as_failed_however_late_it_dies(
    tmp_path: Path, shim_in: ShimIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crashes, "EARLY_DEATH", timedelta(0))
    machine = room(tmp_path, shim_in, 1, claim="n1")
    async with machine.life() as life:
        await running(life, machine)
        work = machine.run / "restore" / "c1"
        (work / "lazy-pages.failed").write_text("1")
        await ended(life, machine, "c1", 137)
        assert machine.api.status(REDIS)["failedRestores"] == {"1": 1}
        assert not work.exists()


async def test_a_workload_made_anew_is_reported_again(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = room(tmp_path, shim_in, 1, claim="n1")
    async with machine.life() as life:
        await running(life, machine)
        await life.until("quiet", lambda: life.observer._is_shown(life.record()))
        epoch = life.record().epoch
        machine.api.remove(WORKLOAD, REDIS)
        machine.api.put(WORKLOAD, fresh_workload())
        await life.until("the claim", lambda: claim_of(machine.api) == ("n2", epoch))
        assert machine.api.status(REDIS)["lastStart"]["how"] == "Restored"
        assert machine.containers["c1"].running


async def test_a_copy_ends_when_another_node_claims_the_workload_that_was_made_anew(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = room(tmp_path, shim_in, 1, claim="n1")
    machine.api.alive |= {"n3"}
    async with machine.life() as life:
        await running(life, machine)
        machine.api.remove(WORKLOAD, REDIS)
        obj = fresh_workload()
        obj["status"]["claim"] = {"node": "n3", "epoch": 1}
        machine.api.put(WORKLOAD, obj)
        await life.until("the copy to end", lambda: not machine.containers["c1"].running)
        await life.until("the event", lambda: "CopyKilled" in machine.api.reasons())
    assert claim_of(machine.api) == ("n3", 1)


async def test_a_running_copy_without_a_claim_is_frozen_while_cut_off_and_ended_when_another_has_it(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = room(tmp_path, shim_in, claim="")
    machine.api.remove(WORKLOAD, REDIS)
    async with machine.life() as life:
        # The operator has not made the workload: it starts all the same, for there is nothing to lose.
        assert await machine.start(machine.container("c1")) == ""
        await life.until("the record", lambda: life.tracked.get(REDIS) is not None)
        life.client.cut = True
        machine.lease_age = timedelta(seconds=10)
        await life.until("the freeze", lambda: machine.containers["c1"].frozen)
        obj = fresh_workload()
        obj["status"]["claim"] = {"node": "n3", "epoch": 1}
        machine.api.put(WORKLOAD, obj)
        machine.api.alive |= {"n3"}
        life.client.cut = False
        machine.lease_age = timedelta(0)
        await life.until("the copy to end", lambda: not machine.containers["c1"].running)


async def test_a_running_copy_that_nobody_claimed_goes_on_when_the_node_is_back(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = room(tmp_path, shim_in, claim="")
    machine.api.remove(WORKLOAD, REDIS)
    async with machine.life() as life:
        assert await machine.start(machine.container("c1")) == ""
        await life.until("the record", lambda: life.tracked.get(REDIS) is not None)
        machine.lease_age = timedelta(seconds=10)
        await life.until("the freeze", lambda: machine.containers["c1"].frozen)
        machine.api.put(WORKLOAD, fresh_workload())
        machine.lease_age = timedelta(0)
        await life.until("the claim", lambda: claim_of(machine.api) == ("n2", 1))
        assert machine.containers["c1"].running
        await life.until("the thaw", lambda: not machine.containers["c1"].frozen)


async def test_a_copy_found_running_beside_that_of_another_node_is_ended(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = room(tmp_path, shim_in, 1, claim="n3")
    machine.api.alive |= {"n3"}
    machine.container("c1").begin("fresh")
    async with machine.life() as life:
        await life.until("the copy to end", lambda: not machine.containers["c1"].running)
    assert claim_of(machine.api) == ("n3", 3)


async def test_a_refused_task_leaves_the_end_of_the_one_before_as_it_was(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = room(tmp_path, shim_in, 1, claim="", lastEnd={"how": "Exited", "at": stamp(900)}, holdLimit="1s")
    machine.publish()
    shutil.move(machine.location, machine.location.with_name("away"))
    async with machine.life() as life:
        assert "location" in await machine.start(machine.container("c1"))
        await life.until("the claim to go back", lambda: claim_of(machine.api) == ("", 4))
        shutil.move(machine.location.with_name("away"), machine.location)
        await running(life, machine, "c2")
    assert machine.api.status(REDIS)["lastStart"]["reason"] == "Completed"


def fresh_workload() -> dict[str, Any]:
    obj = workload_object(claim="")
    obj["metadata"]["uid"] = "another"
    obj["status"] = {"phase": "Pending"}
    return obj


async def test_the_end_of_the_old_task_is_settled_while_the_next_one_already_waits(
    tmp_path: Path, shim_in: ShimIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = room(tmp_path, shim_in, 1, claim="n1", holdLimit="3s")
    async with machine.life() as life:
        await running(life, machine)
        monkeypatch.setattr(observer, "INTERVAL_S", 60.0)
        await asyncio.sleep(0.1)
        machine.containers["c1"].end(1)
        starting = asyncio.create_task(machine.start(machine.container("c2")))
        await life.until("the question", lambda: life.tracked.coming_up.get(REDIS) == "c2")
        assert life.record().end is None
        machine.changed.set()
        assert await starting == ""
    assert machine.containers["c2"].came_up == ["restored v1"]
