"""Freezing and thawing, on a folder that behaves like a cgroup of version 1."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from swarmkeep.agent.runtime import freezer as module
from swarmkeep.agent.runtime.cgroups import FreezerCgroup, NoCgroup
from swarmkeep.agent.runtime.freezer import FreezeFailed, Freezer
from swarmkeep.errors import HostError

ID = "abc"
PID = 7


class Cgroup:
    """A folder whose state file reads as it was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.set("THAWED")

    def set(self, state: str) -> None:
        (self.folder / "freezer.state").write_text(state)

    @property
    def state(self) -> str:
        return (self.folder / "freezer.state").read_text()


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cgroup:
    """The cgroup of the one container that there is."""
    cgroup = Cgroup(tmp_path / "cgroup")

    def find(pid: int, container_id: str) -> FreezerCgroup:
        if (pid, container_id) != (PID, ID):
            raise NoCgroup("is gone")
        return FreezerCgroup(cgroup.folder, 1)

    monkeypatch.setattr(module, "find_freezer", find)
    return cgroup


@pytest.fixture
def freezer(tmp_path: Path) -> Freezer:
    return Freezer(tmp_path / "run")


def records(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "run/frozen").glob("*"))


async def test_freezes_and_thaws(freezer: Freezer, cgroup: Cgroup, tmp_path: Path) -> None:
    await freezer.freeze(ID, PID, keep=False)
    assert freezer.is_frozen(ID, PID)
    assert records(tmp_path) == ["abc.json"]
    assert freezer.guard_pipe(ID) is not None
    await freezer.thaw(ID, PID)
    assert cgroup.state == "THAWED"
    assert records(tmp_path) == []
    assert freezer.guard_pipe(ID) is None


async def test_may_be_asked_twice(freezer: Freezer, cgroup: Cgroup) -> None:
    await freezer.freeze(ID, PID, keep=False)
    await freezer.freeze(ID, PID, keep=False)
    await freezer.thaw(ID, PID)
    await freezer.thaw(ID, PID)
    assert cgroup.state == "THAWED"


async def test_does_what_comes_beforehand_while_the_container_still_runs(freezer: Freezer, cgroup: Cgroup) -> None:
    seen: list[object] = []

    async def beforehand() -> None:
        seen.extend([cgroup.state, freezer.guard_pipe(ID) is not None])

    await freezer.freeze(ID, PID, keep=False, beforehand=beforehand)
    assert seen == ["THAWED", True]
    assert cgroup.state == "FROZEN"
    await freezer.thaw(ID, PID)


async def test_what_fails_beforehand_leaves_the_container_running_and_no_guard(
    freezer: Freezer, cgroup: Cgroup, tmp_path: Path
) -> None:
    async def fail() -> None:
        raise HostError("runc does not start")

    with pytest.raises(HostError, match="runc"):
        await freezer.freeze(ID, PID, keep=False, beforehand=fail)
    assert cgroup.state == "THAWED"
    assert freezer.guard_pipe(ID) is None
    assert records(tmp_path) == []


async def test_a_container_that_is_gone_is_thawed(freezer: Freezer, cgroup: Cgroup, tmp_path: Path) -> None:
    await freezer.freeze(ID, PID, keep=False)
    await freezer.thaw(ID, PID + 1)
    assert records(tmp_path) == []


async def test_gives_up_on_threads_that_never_stand_still_and_lets_the_rest_go(
    freezer: Freezer, cgroup: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FREEZE_LIMIT_S", 0.1)
    monkeypatch.setattr(module, "THAW_AGAIN_S", 0.03)
    monkeypatch.setattr(FreezerCgroup, "is_frozen", lambda self: False)
    with pytest.raises(FreezeFailed, match="did not stand still"):
        await freezer.freeze(ID, PID, keep=False)
    assert cgroup.state == "THAWED"
    assert records(tmp_path) == []


async def test_leaves_what_a_user_has_paused_paused(freezer: Freezer, cgroup: Cgroup, tmp_path: Path) -> None:
    cgroup.set("FROZEN")
    await freezer.freeze(ID, PID, keep=False)
    await freezer.thaw(ID, PID)
    assert cgroup.state == "FROZEN"
    assert records(tmp_path) == []


async def test_fencing_takes_over_from_a_version_and_needs_no_guard(freezer: Freezer, cgroup: Cgroup) -> None:
    await freezer.freeze(ID, PID, keep=False)
    await freezer.freeze(ID, PID, keep=True)
    assert freezer.guard_pipe(ID) is None
    assert freezer.leftovers() == {ID: True}
    assert cgroup.state == "FROZEN"


async def test_the_next_agent_thaws_what_an_earlier_one_left(cgroup: Cgroup, tmp_path: Path) -> None:
    await Freezer(tmp_path / "run").freeze(ID, PID, keep=True)
    following = Freezer(tmp_path / "run")
    assert await following.thaw_leftovers(keep={ID}) == []
    assert cgroup.state == "FROZEN"
    assert await following.thaw_leftovers() == [ID]
    assert cgroup.state == "THAWED"
    assert following.leftovers() == {}


async def test_a_leftover_whose_container_is_gone_is_forgotten(freezer: Freezer, tmp_path: Path) -> None:
    folder = tmp_path / "run/frozen"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps({"folder": str(tmp_path / "nowhere"), "version": 1, "keep": False}))
    (folder / "y.json").write_text("{")
    assert await freezer.thaw_leftovers() == []
    assert records(tmp_path) == []


AGENT = """
import asyncio, sys
from pathlib import Path
from swarmkeep.agent.runtime import freezer as module
from swarmkeep.agent.runtime.cgroups import FreezerCgroup

module.find_freezer = lambda pid, container_id: FreezerCgroup(Path(sys.argv[1]), 1)

async def main():
    freezer = module.Freezer(Path(sys.argv[2]))
    await freezer.freeze("abc", 7, keep=sys.argv[3] == "keep")
    if sys.argv[3] == "dump":
        await asyncio.create_subprocess_exec(
            "sleep", "0.5", pass_fds=(freezer.guard_pipe("abc"),), start_new_session=True
        )
    print("frozen", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def start_agent(tmp_path: Path, cgroup: Cgroup, how: str) -> subprocess.Popen[str]:
    program = tmp_path / "agent.py"
    program.write_text(textwrap.dedent(AGENT))
    agent = subprocess.Popen(
        [sys.executable, str(program), str(cgroup.folder), str(tmp_path / "run"), how],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert agent.stdout is not None
    assert agent.stdout.readline() == "frozen\n"
    return agent


def end(agent: subprocess.Popen[str]) -> None:
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    assert agent.stdout is not None
    agent.stdout.close()


async def thawed_within(cgroup: Cgroup, seconds: float) -> bool:
    for _ in range(round(seconds / 0.02)):
        if cgroup.state == "THAWED":
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_dead_agent_leaves_nothing_frozen(cgroup: Cgroup, tmp_path: Path) -> None:
    end(start_agent(tmp_path, cgroup, "plain"))
    assert await thawed_within(cgroup, 5)


async def test_the_guard_of_a_dead_agent_waits_for_its_dump(cgroup: Cgroup, tmp_path: Path) -> None:
    end(start_agent(tmp_path, cgroup, "dump"))
    assert not await thawed_within(cgroup, 0.2)
    assert await thawed_within(cgroup, 5)


async def test_a_dead_agent_leaves_what_is_fenced_frozen(cgroup: Cgroup, tmp_path: Path) -> None:
    end(start_agent(tmp_path, cgroup, "keep"))
    assert not await thawed_within(cgroup, 0.5)
