"""A final version is the only copy of its state once CRIU has ended the process: nothing may lose it."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.dump import ENDED, DumpRequest, DumpResult
from swarmkeep.agent.runtime.volumes import read_index
from swarmkeep.agent.starts import Refused, Starts
from swarmkeep.errors import HostError, NotFound
from swarmkeep.store.repository import Repository

from ..objects import policy
from .node_that_dies import BOOT, IMAGE, REF, TABLE, Agent, Node, install


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> dict[str, Node]:
    """The node that lives now, under `node`."""
    current: dict[str, Node] = {}
    install(monkeypatch, current)
    return current


async def live(current: dict[str, Node], node: Node, boot_id: str = BOOT, **more: Any) -> Agent:
    current["node"] = node
    agent = Agent(node, boot_id)
    await agent.live(**more)
    return agent


async def stop_with_deaths(
    current: dict[str, Node], node: Node, until: Callable[[], bool] | None = None
) -> list[tuple[str, Node]]:
    """Stops the container in a first life; returns what was left at each of its steps."""
    deaths: list[tuple[str, Node]] = []
    node.deaths = deaths
    await live(current, node, asked_to_stop=True, until=until)
    node.deaths = None
    return deaths


def assert_safe(node: Node, agent: Agent, step: str) -> None:
    assert node.repository().versions(str(REF)) == [7], step
    target = node.root / "restored"
    node.repository().get(str(REF), 7, target)
    assert (target / "image" / "pages-1.img").read_bytes() == IMAGE, step
    assert sorted(path.name for path in target.iterdir()) == ["image", "layer", "volumes"], step
    (captured,) = read_index(target).values()
    (node.root / "put").mkdir()
    layer.apply(captured, node.root / "put")
    assert (node.root / "put" / "table").read_bytes() == TABLE, step
    (checkpoint,) = node.api.checkpoints()
    assert checkpoint["metadata"]["name"] == "redis.1-v7", step
    assert checkpoint["status"]["phase"] == "Stored", step
    assert node.api.claim() == {"node": "", "epoch": 4}, step
    assert node.given_back == 1, step
    assert node.stored_when_given_back == [7], step
    assert node.staged() == [], step
    assert agent.tracked.get(REF) is None, step


async def test_a_stop_stores_the_final_version_and_then_gives_the_claim_back(
    current: dict[str, Node], tmp_path: Path
) -> None:
    node = Node.with_container(tmp_path / "node")
    agent = await live(current, node, asked_to_stop=True)
    assert agent.replies == [{"do": "handled"}]
    assert_safe(node, agent, "undisturbed")


@pytest.mark.parametrize("disk_full", [False, True])
async def test_whenever_the_agent_dies_in_a_stop_the_next_one_stores_what_was_dumped(
    current: dict[str, Node], tmp_path: Path, disk_full: bool
) -> None:
    node = Node.with_container(tmp_path / "node", disk_full=disk_full)
    deaths = await stop_with_deaths(current, node)
    steps = {step for step, _ in deaths}
    assert {"before the record", "frozen", "after the layer", "half dumped", "process ended", "thawed"} <= steps
    assert {"before a blob", "after a blob", "checkpoints patched", "workloads patched", "answered"} <= steps
    assert {"after renaming the record", "after dropping the data", "after forgetting the record"} <= steps
    ended = 0
    for number, (step, left) in enumerate(deaths):
        if left.running:
            continue
        ended += 1
        agent = await live(current, left)
        assert_safe(left, agent, f"step {number}, {step}")
    assert ended > 20


async def test_an_agent_that_dies_before_the_process_ended_leaves_no_version_and_no_claim_for_ever(
    current: dict[str, Node], tmp_path: Path
) -> None:
    deaths = await stop_with_deaths(current, Node.with_container(tmp_path / "node"))
    alive = [(step, left) for step, left in deaths if left.running]
    assert {"after the record", "frozen", "half dumped"} <= {step for step, _ in alive}
    for step, left in alive:
        # The shim has seen the agent die and had the signal delivered.
        left.running, left.exit_code = False, 0
        agent = await live(current, left)
        assert left.repository().versions(str(REF)) == [], step
        assert left.staged() == [], step
        assert left.api.claim() == {"node": "", "epoch": 4}, step
        assert left.given_back == 1, step
        assert agent.tracked.get(REF) is None, step


@pytest.mark.parametrize("disk_full", [False, True])
async def test_a_final_version_waits_for_storage_over_any_number_of_deaths(
    current: dict[str, Node], tmp_path: Path, disk_full: bool
) -> None:
    node = Node.with_container(tmp_path / "node", disk_full=disk_full)
    node.storage(there=False)
    deaths = await stop_with_deaths(current, node, until=node.has_synced)
    assert node.api.claim()["node"] == "n1"
    for number, (step, left) in enumerate(deaths):
        if left.running:
            continue
        await live(current, left, seconds=0.05)
        assert left.api.claim()["node"] == "n1", step
        left.storage(there=True)
        agent = await live(current, left)
        assert_safe(left, agent, f"step {number}, {step}")


async def test_a_version_that_reached_the_disk_outlives_a_power_cut(current: dict[str, Node], tmp_path: Path) -> None:
    node = Node.with_container(tmp_path / "node")
    node.storage(there=False)
    await live(current, node, asked_to_stop=True, until=node.has_synced)
    node.storage(there=True)
    agent = await live(current, node, "boot-2")
    assert_safe(node, agent, "after the power cut")


async def test_a_version_that_may_not_have_reached_the_disk_is_not_stored_after_a_power_cut(
    current: dict[str, Node], tmp_path: Path
) -> None:
    deaths = await stop_with_deaths(current, Node.with_container(tmp_path / "node"))
    left = next(left for step, left in deaths if step == "before a blob")
    assert "v7.staged.json" in left.staged()
    await live(current, left, "boot-2")
    assert left.repository().versions(str(REF)) == []
    assert left.api.claim() == {"node": "", "epoch": 4}
    assert left.staged() == []


async def test_a_number_that_is_taken_costs_a_final_version_only_its_number(
    current: dict[str, Node], tmp_path: Path
) -> None:
    node = Node.with_container(tmp_path / "node")
    put_another(node, 7)
    deaths = await stop_with_deaths(current, node)
    assert node.repository().versions(str(REF)) == [7, 8]
    assert node.repository().manifest(str(REF), 8).facts["epoch"] == 4
    assert node.api.checkpoints()[-1]["metadata"]["name"] == "redis.1-v8"
    assert node.api.claim()["node"] == ""
    for step, left in deaths:
        if not left.running:
            await live(current, left)
            assert left.repository().versions(str(REF)) == [7, 8], step
            assert left.given_back == 1, step


async def test_a_final_version_that_others_have_gone_past_is_given_up_once(
    current: dict[str, Node], tmp_path: Path
) -> None:
    """The node was away until another took the claim and ran on from version 6: this must not become the newest."""
    node = Node.with_container(tmp_path / "node")
    node.storage(there=False)
    await live(current, node, asked_to_stop=True, until=node.has_synced)
    node.storage(there=True)
    node.api.objects["workloads", REF]["status"]["claim"] = {"node": "n2", "epoch": 5}
    agent = await live(current, node)
    assert node.repository().versions(str(REF)) == []
    assert [told.split(":")[0] for told in agent.told] == ["FinalVersionLost"]
    assert "n2 took the claim" in agent.told[0]
    assert node.api.claim() == {"node": "n2", "epoch": 5}
    (checkpoint,) = node.api.checkpoints()
    assert checkpoint["status"]["phase"] == "Failed"
    assert node.staged() == []
    assert agent.tracked.get(REF) is None


async def test_a_final_version_whose_data_somebody_removed_is_given_up_once(
    current: dict[str, Node], tmp_path: Path
) -> None:
    node = Node.with_container(tmp_path / "node")
    node.storage(there=False)
    await live(current, node, asked_to_stop=True, until=node.has_synced)
    node.storage(there=True)
    shutil.rmtree(node.root / "staging" / "default_redis.1" / "v7")
    agent = await live(current, node)
    assert "somebody removed" in agent.told[-1]
    assert node.api.claim() == {"node": "", "epoch": 4}


async def test_an_error_that_nobody_has_thought_of_is_told_once_and_tried_again(
    current: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node.with_container(tmp_path / "node")
    real, tries = Repository.put, 0

    def put(*args: Any, **more: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise RuntimeError("a bug")
        return real(*args, **more)

    monkeypatch.setattr(Repository, "put", put)
    agent = await live(current, node, asked_to_stop=True)
    assert [told.split(":")[0] for told in agent.told] == ["FinalVersionWaits", "FinalVersion 7"]
    assert_safe(node, agent, "after the bug")


async def test_a_damaged_record_is_set_aside_with_its_data_and_stops_nobody(
    current: dict[str, Node], tmp_path: Path
) -> None:
    node = Node.with_container(tmp_path / "node")
    folder = node.root / "staging" / "default_redis.1"
    (folder / "v5" / "image").mkdir(parents=True)
    (folder / "v5.staged.json").write_text('{"workload": "default/re')
    (folder / "v4.nonsense.json").write_text("[]")
    (folder / "v3").mkdir()
    agent = await live(current, node, asked_to_stop=True)
    assert agent.replies == [{"do": "handled"}]
    assert node.staged() == ["v4.nonsense.damaged", "v5", "v5.staged.damaged"]


async def test_a_dump_that_goes_on_without_its_agent_is_waited_for(current: dict[str, Node], tmp_path: Path) -> None:
    deaths = await stop_with_deaths(current, Node.with_container(tmp_path / "node"))
    left = next(left for step, left in deaths if step == "half dumped")
    work = left.root / "staging" / "default_redis.1" / "v7.work"
    with (work / "runc.out").open("wb") as output:
        fcntl.flock(output, fcntl.LOCK_EX)
        living = asyncio.create_task(live(current, left))
        await asyncio.sleep(0.3)
        assert left.staged() == ["v7", "v7.intent.json", "v7.work"]
        (left.root / "staging" / "default_redis.1" / "v7" / "image" / "pages-1.img").write_bytes(IMAGE)
        (work / "dump.log").write_text(f"(00.1) {ENDED}\n")
        left.running, left.exit_code = False, 137
        await asyncio.sleep(0.1)
        assert left.api.claim()["node"] == "n1"
    assert_safe(left, await living, "after the other's dump")


async def test_a_waiting_version_keeps_its_number_to_itself(current: dict[str, Node], tmp_path: Path) -> None:
    node = Node.with_container(tmp_path / "node")
    node.storage(there=False)
    await live(current, node, asked_to_stop=True, until=node.has_synced)
    agent = Agent(node)
    tracked = agent.tracked.get(REF)
    assert tracked is not None
    tracked.number = 6
    assert await agent.versions._next_number(tracked, policy()) == 8


async def test_a_claim_waits_for_the_final_version_even_when_the_record_of_the_container_is_lost(
    current: dict[str, Node], tmp_path: Path
) -> None:
    node = Node.with_container(tmp_path / "node")
    node.storage(there=False)
    await live(current, node, asked_to_stop=True, until=node.has_synced)
    shutil.rmtree(node.root / "containers")
    node.storage(there=True)
    assert_safe(node, await live(current, node), "without the journal")


async def test_a_container_that_cannot_be_thawed_after_its_end_takes_nothing_back(
    current: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node.with_container(tmp_path / "node")

    async def thaw(*_: Any) -> None:
        raise HostError("the cgroup is busy")

    monkeypatch.setattr(node, "thaw", thaw)
    assert_safe(node, await live(current, node, asked_to_stop=True), "not thawed")


async def test_a_runtime_that_goes_away_after_the_process_has_ended_takes_nothing_back(
    current: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node.with_container(tmp_path / "node")
    current["node"] = node
    thawing = asyncio.Event()

    async def thaw(*_: Any) -> None:
        thawing.set()
        await asyncio.sleep(0.05)

    monkeypatch.setattr(node, "thaw", thaw)
    agent = Agent(node)
    stopping = asyncio.create_task(agent.stop())
    await thawing.wait()
    stopping.cancel()
    assert await stopping == "handled"
    await agent.live()
    assert_safe(node, agent, "called off too late")
    assert "frozenSeconds" in node.api.checkpoints()[0]["status"]


async def test_a_dump_that_breaks_after_it_has_ended_the_process_counts(
    current: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node.with_container(tmp_path / "node")
    real = node.dump

    async def dump(request: DumpRequest) -> DumpResult:
        await real(request)
        raise RuntimeError("a bug")

    monkeypatch.setattr(node, "dump", dump)
    assert_safe(node, await live(current, node, asked_to_stop=True), "after the bug")


async def test_a_stop_that_is_called_off_in_the_middle_of_the_dump_leaves_the_claim_to_the_living(
    current: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime went away: the dump is taken back, and the container runs on until somebody stops it anew."""
    node = Node.with_container(tmp_path / "node")
    current["node"] = node
    begun = asyncio.Event()

    async def dump(_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(node, "dump", dump)
    agent = Agent(node)
    stopping = asyncio.create_task(agent.stop())
    await begun.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert node.staged() == []
    tracked = agent.tracked.get(REF)
    assert tracked is not None
    assert not tracked.finalizing


@pytest.mark.parametrize("container_id", ["c1", "c2"])
async def test_no_task_starts_before_the_final_version_of_the_one_before_is_stored(
    current: dict[str, Node], tmp_path: Path, container_id: str
) -> None:
    """Neither the same container started anew, nor another when Docker has removed the old one already."""
    node = Node.with_container(tmp_path / "node")
    node.storage(there=False)
    agent = await live(current, node, asked_to_stop=True, until=node.has_synced)
    starts: Any = Starts.__new__(Starts)
    starts._tracked, starts._containers = agent.tracked, SimpleNamespace(cached=removed)
    start: Any = SimpleNamespace(
        ref=REF,
        facts=SimpleNamespace(id=container_id),
        conversation=SimpleNamespace(),
        policy=policy(),
        deadline=datetime.now(UTC) + timedelta(seconds=0.3),
    )
    with pytest.raises(Refused, match=r"for the final version of default/redis\.1 to be stored"):
        await starts._await_old_copy(start)
    node.storage(there=True)
    starts._tracked = (await live(current, node)).tracked
    await starts._await_old_copy(start)


async def removed(container_id: str) -> None:
    raise NotFound(f"Docker does not know {container_id}")


def put_another(node: Node, number: int) -> None:
    """A version of somebody else."""
    source = node.root / "another"
    source.mkdir()
    (source / "file").write_bytes(b"another")
    node.repository().put(str(REF), number, source, {"dump": "another", "epoch": 3})
