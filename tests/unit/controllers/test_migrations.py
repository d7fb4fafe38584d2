"""A move from its wish to its end: what the Swarm is told and when, and that no death on the way leaves it told."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.errors import Conflict
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LEASE, LOCATION, MIGRATION, NODE, POLICY, WORKLOAD
from swarmkeep.model.wire import format_time
from swarmkeep.obs import operator_metrics as metrics
from swarmkeep.swarm.simulated import SimulatedSwarm

from ..objects import NOW, policy_object, stamp, workload_object
from .fake_api import Crash, FakeApi
from .rehearsal import Life

READY = {"type": "Ready", "status": "True", "reason": "AgentAlive", "message": "", "lastTransitionTime": stamp(9)}
VERSIONS = {"docker": "28.5.2", "runc": "1.3.6", "criu": "4.2.1", "kernel": "6.12.0-1"}
OWN = ("node.hostname!=n9",)
"""What the user had said himself."""


class MortalSwarm(SimulatedSwarm):
    """Its changes may be the last thing that an operator does; with `deaf` it takes them and does not act."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.writes = 0
        self.crash_at = 0
        self.carried_out = False
        self.deaf = False

    async def constrain(self, service_id: str, constraints: Collection[str], version: int) -> None:
        self._die(before=True)
        await super().constrain(service_id, constraints, version)
        self._die(before=False)

    async def release(self, service_id: str, constraints: Collection[str], version: int) -> None:
        self._die(before=True)
        await super().release(service_id, constraints, version)
        self._die(before=False)

    def settle(self) -> None:
        if not self.deaf:
            super().settle()

    def _die(self, *, before: bool) -> None:
        self.writes += before
        if self.writes == self.crash_at and self.carried_out is not before:
            raise Crash


class Stage:
    """An API, a Swarm, and the agents of its nodes: they do what agents do, when `act` is called."""

    def __init__(self, mode: str = "StopAndCopy", *, final: bool = True, to: str = "n2", dry_run: bool = False) -> None:
        self.api = FakeApi()
        self.swarm = MortalSwarm("n1", "n2", "n3")
        self.final = final
        self.now = NOW
        self.service = self.swarm.create("redis", constraints=OWN)
        self.first = self.swarm.task("redis").id
        for name in ("n1", "n2", "n3"):
            found: dict[str, Any] = {
                "conditions": [READY],
                "swarmNodeID": self.swarm.node(name).id,
                "versions": VERSIONS,
            }
            found |= {"locations": [{"name": "main", "reachable": True, "id": "abc"}]}
            found |= {"features": {"cgroupVersion": 2, "lazyPages": True, "createsContainers": True}}
            self.api.put(NODE, {"metadata": {"name": name, "uid": name, "generation": 1}, "status": found})
            lease = {"metadata": {"name": name, "namespace": "swarmkeep-nodes"}, "spec": {}}
            self.api.put(LEASE, lease)
        self.api.put(LOCATION, {"metadata": {"name": "main", "generation": 1}, "spec": {"filesystem": {"path": "/s"}}})
        self.api.put(POLICY, policy_object(retention={"keepLast": 50}))
        start = {"how": "Fresh", "reason": "NoVersion", "taskID": self.first, "at": stamp(90)}
        newest = {"number": 1, "takenAt": stamp(3), "specHash": "hash"}
        self.api.put(
            WORKLOAD, workload_object(service_id=self.service.id, newestVersion=newest, lastStart=start, claim="n1")
        )
        self.wish(mode, to=to, dry_run=dry_run)

    def wish(self, mode: str = "StopAndCopy", *, name: str = "move", to: str = "n2", dry_run: bool = False) -> None:
        metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1}
        metadata["creationTimestamp"] = stamp(1 if name == "move" else 0)
        spec: dict[str, Any] = {"workload": "redis.1", "to": {"node": to}, "mode": mode, "dryRun": dry_run}
        self.api.put(MIGRATION, {"metadata": metadata, "spec": spec})

    def status(self, name: str = "move") -> dict[str, Any]:
        return dict(self.api.objects["migrations", Ref("default", name)].get("status", {}))

    @property
    def workload(self) -> dict[str, Any]:
        return self.api.objects["workloads", Ref("default", "redis.1")]

    @property
    def constraints(self) -> tuple[str, ...]:
        return self.swarm.service("redis").constraints

    @property
    def phases(self) -> list[str]:
        return [item["phase"] for item in self.status()["phases"]]

    def act(self) -> None:
        """The agents: versions that were asked for are taken and brought along; a task that moved is restored."""
        status = self.workload["status"]
        for (plural, ref), obj in list(self.api.objects.items()):
            found = obj.get("status", {})
            if plural == "checkpoints" and found.get("phase") == "Pending":
                number = status["newestVersion"]["number"] + 1
                self._store(ref.name, number, "OnDemand", bytes_=40_000_000 >> number)
                self._workload(newestVersion={"number": number, "takenAt": format_time(self.now), "specHash": "hash"})
        status = self.workload["status"]
        standby = status.get("standby", {}).get("node")
        for name in ("n1", "n2", "n3"):
            ready = [{"workload": "default/redis.1", "version": status["newestVersion"]["number"]}]
            node = self.api.objects["nodes", Ref("", name)]
            wanted = {**node["status"], "standbys": ready if name == standby else []}
            if wanted != node["status"]:
                self.api.put(NODE, {**node, "status": wanted})
        task = next((task for task in self.swarm._live(self.service)), None)
        if task is None or task.id == status["lastStart"]["taskID"] or not self.swarm._nodes[task.node_id].ready:
            return
        number, home = status["newestVersion"]["number"], self.swarm._nodes[task.node_id].hostname
        if self.final:
            number += 1
            self._store(f"redis.1-v{number}", number, "Final", bytes_=1_000_000)
        start = {"how": "Restored", "reason": "Reschedule", "taskID": task.id, "version": number}
        self._workload(
            phase="Running",
            claim={"node": home, "epoch": status["claim"]["epoch"] + 1},
            newestVersion={"number": number, "takenAt": format_time(self.now), "specHash": "hash"},
            lastEnd={"how": "Stopped", "at": format_time(self.now), "finalVersion": number if self.final else None},
            lastStart={**start, "at": format_time(self.now + timedelta(seconds=1.5))},
        )

    def lose(self, name: str) -> None:
        """A node dies, and everybody sees it."""
        node = self.api.objects["nodes", Ref("", name)]
        lost = {**READY, "status": "False", "reason": "NodeLost"}
        self.api.put(NODE, {**node, "status": {**node["status"], "conditions": [lost]}})
        self.api.objects.pop(("leases", Ref("swarmkeep-nodes", name)), None)
        self.swarm.set_node(name, ready=False)

    async def live(self) -> Life:
        """One operator, until it has nothing left to do. Raises Crash when it dies."""
        life = Life(self.api, self.now, self.swarm)
        await life.know(self.swarm)
        await life.settle()
        return life

    async def until_ended(self, cycles: int = 30) -> None:
        for _ in range(cycles):
            await self.live()
            self.act()
            if self.status().get("phase") in ("Done", "Failed"):
                break
            self.now += timedelta(seconds=3)
        await self.live()

    def _store(self, name: str, number: int, reason: str, bytes_: int) -> None:
        known = self.api.objects.get(("checkpoints", Ref("default", name)), {})
        metadata = {"name": name, "namespace": "default", "creationTimestamp": format_time(self.now)}
        found: dict[str, Any] = {
            "phase": "Stored",
            "version": number,
            "node": "n1",
            "location": "main",
            "specHash": "hash",
        }
        found |= {"takenAt": format_time(self.now), "bytes": {"stored": bytes_}}
        labels = {"swarmkeep.dev/node": "n1", **known.get("metadata", {}).get("labels", {})}
        spec = {"workload": "redis.1", "reason": reason}
        self.api.put(CHECKPOINT, {"metadata": {**metadata, "labels": labels}, "spec": spec, "status": found})

    def _workload(self, **status: Any) -> None:
        self.api.put(WORKLOAD, {**self.workload, "status": {**self.workload["status"], **status}})


def ended(mode: str, result: str) -> float:
    """What the metrics count."""
    labels = {"mode": mode, "result": result}
    return metrics.REGISTRY.get_sample_value("swarmkeep_operator_migrations_total", labels) or 0.0


def test_a_move_by_stop_and_copy() -> None:
    stage = Stage()
    before = ended("StopAndCopy", "Done")
    asyncio.run(stage.until_ended())
    status = stage.status()
    assert stage.phases == ["Pending", "Moving", "Restoring", "Done"]
    assert (status["from"], status["runsOn"], status["version"]) == ("n1", "n2", 2)
    assert (status["bytes"], status["downtimeSeconds"]) == (1_000_000, 1.5)
    assert ended("StopAndCopy", "Done") == before + 1
    assert stage.constraints == OWN
    assert stage.api.objects["migrations", Ref("default", "move")]["metadata"].get("finalizers") is None
    assert "standby" not in stage.workload["status"]


def test_a_move_by_pre_copy_brings_versions_until_they_get_no_smaller() -> None:
    stage = Stage("PreCopy")
    asyncio.run(stage.until_ended())
    status = stage.status()
    assert stage.phases == ["Pending", "PreCopying", "Moving", "Restoring", "Done"]
    written = [item["bytes"] for item in status["rounds"]]
    assert written == [10_000_000, 5_000_000, 2_500_000], "the last is small"
    assert status["bytes"] == sum(written) + 1_000_000
    assert all(item["readyAt"] >= item["startedAt"] for item in status["rounds"])
    assert "standby" not in stage.workload["status"], "it is nobody's standby any more"


def test_the_target_is_the_standby_while_versions_are_brought_to_it() -> None:
    stage = Stage("PreCopy", to="n3")
    asyncio.run(stage.live())
    assert stage.workload["status"]["standby"] == {"node": "n3"}
    assert stage.constraints == OWN


def test_a_dry_run_says_what_would_be_and_touches_nothing() -> None:
    stage = Stage(dry_run=True)
    asyncio.run(stage.until_ended())
    assert stage.phases == ["Done"]
    assert "could go from n1 to n2" in stage.status()["message"]
    assert stage.swarm.writes == 0


def test_what_cannot_be_is_refused_and_nothing_stopped() -> None:
    stage = Stage(to="n7")
    asyncio.run(stage.until_ended())
    assert stage.status()["message"] == "nothing was stopped, it runs on n1 as before: there is no node n7"
    assert (stage.swarm.writes, stage.swarm.task("redis").id) == (0, stage.first)


def test_only_one_move_of_a_workload_at_a_time() -> None:
    stage = Stage()
    stage.wish(name="other", to="n3")
    asyncio.run(stage.until_ended())
    assert stage.status()["phase"] == "Done"
    assert "migration move of it is under way" in stage.status("other")["message"]


def test_a_move_without_a_final_version_says_what_was_lost() -> None:
    stage = Stage(final=False)
    asyncio.run(stage.until_ended())
    assert stage.status()["phase"] == "Failed"
    assert "no final version could be taken; it went on from version 1" in stage.status()["message"]
    assert stage.status()["runsOn"] == "n2"


def test_a_target_that_dies_lets_it_run_elsewhere_again() -> None:
    async def rehearse() -> None:
        stage = Stage()
        for _ in range(3):
            await stage.live()
        assert stage.swarm.task("redis").node_id == stage.swarm.node("n2").id
        assert stage.constraints != OWN
        stage.lose("n2")
        await stage.live()
        assert stage.constraints == OWN, "the Swarm may place it anywhere at once"
        await stage.until_ended()
        status = stage.status()
        assert (status["phase"], status["failure"]) == ("Failed", "n2 was lost")
        assert status["message"] == f"n2 was lost; it runs on {status['runsOn']}"
        assert status["runsOn"] == stage.workload["status"]["claim"]["node"] != "n2"

    asyncio.run(rehearse())


def test_a_swarm_that_does_not_do_it_in_time_is_told_that_all_is_as_before() -> None:
    async def rehearse() -> None:
        stage = Stage()
        stage.swarm.deaf = True
        for _ in range(2):
            await stage.live()
        assert stage.constraints != OWN
        stage.now += timedelta(minutes=6)
        await stage.until_ended()
        assert stage.status()["phase"] == "Failed"
        assert "has not ended on n1 within 5 minutes" in stage.status()["message"]
        assert stage.status()["runsOn"] == "n1"
        assert stage.constraints == OWN

    asyncio.run(rehearse())


@pytest.mark.parametrize("lives", range(1, 5))
def test_a_move_that_is_deleted_leaves_nothing_in_the_swarm(lives: int) -> None:
    async def rehearse() -> None:
        stage = Stage()
        for _ in range(lives):
            await stage.live()
        if lives > 1:
            assert (
                "swarmkeep.dev/placement"
                in stage.api.objects["migrations", Ref("default", "move")]["metadata"]["finalizers"]
            )
        await stage.api.delete(MIGRATION, "move", "default")
        await stage.live()
        assert stage.constraints == OWN
        assert ("migrations", Ref("default", "move")) not in stage.api.objects

    asyncio.run(rehearse())


def test_a_spec_that_is_changed_on_the_way_does_not_count() -> None:
    async def rehearse() -> None:
        stage = Stage()
        for _ in range(2):
            await stage.live()
        obj = stage.api.objects["migrations", Ref("default", "move")]
        spec = {**obj["spec"], "to": {"node": "n3"}, "workload": "other.1"}
        stage.api.put(MIGRATION, {**obj, "spec": spec})
        await stage.until_ended()
        assert (stage.status()["phase"], stage.status()["runsOn"]) == ("Done", "n2")
        assert stage.constraints == OWN

    asyncio.run(rehearse())


def test_a_service_that_somebody_changes_in_between_is_asked_anew() -> None:
    async def rehearse() -> None:
        stage = Stage()
        stage.swarm.crash_at = 1
        with pytest.raises(Crash):
            await stage.live()
        assert stage.status()["phase"] == "Moving"
        stage.swarm.scale("redis", 1)
        stage.swarm.crash_at = 0
        noted = stage.status()["placement"]
        with pytest.raises(Conflict):
            await stage.swarm.constrain(noted["serviceID"], noted["constraints"], noted["serviceVersion"])
        await stage.until_ended()
        assert stage.status()["phase"] == "Done"
        assert stage.constraints == OWN

    asyncio.run(rehearse())


deaths = st.tuples(st.sampled_from(["api", "swarm"]), st.integers(1, 8), st.booleans())


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["StopAndCopy", "PreCopy"]),
    st.lists(deaths, min_size=1, max_size=4),
    st.sampled_from(["", "n1", "n2", "deleted"]),
    st.integers(0, 6),
)
def test_whenever_it_dies_its_successor_comes_to_an_end_and_the_swarm_is_as_it_was(
    mode: str, kills: list[tuple[str, int, bool]], mishap: str, after: int
) -> None:
    async def rehearse() -> None:
        stage = Stage(mode)
        pending = list(kills)
        noted: list[dict[str, Any]] = []
        for cycle in range(40):
            known = stage.api.objects.get(("migrations", Ref("default", "move")))
            ended = known is None or known.get("status", {}).get("phase") in ("Done", "Failed")
            if ended and not pending and cycle > after + 2:
                break
            stage.api.writes = stage.swarm.writes = 0
            stage.api.crash_at = stage.swarm.crash_at = 0
            if pending:
                where, at, carried_out = pending.pop()
                victim: Any = stage.api if where == "api" else stage.swarm
                victim.crash_at, victim.carried_out = at, carried_out
            if cycle == after and mishap.startswith("n"):
                stage.lose(mishap)
            if cycle == after and mishap == "deleted":
                stage.api.crash_at = 0
                await stage.api.delete(MIGRATION, "move", "default")
            try:
                await stage.live()
            except Crash:
                continue
            finally:
                obj = stage.api.objects.get(("migrations", Ref("default", "move")))
                placement = (obj or {}).get("status", {}).get("placement")
                if placement and placement not in noted:
                    noted.append(placement)
                assert stage.constraints == OWN or (placement and "returnedAt" not in placement), (
                    "noted before it is so"
                )
            stage.act()
            stage.now += timedelta(seconds=5)
        stage.api.crash_at = stage.swarm.crash_at = 0
        await stage.live()
        assert stage.constraints == OWN
        for placement in noted:
            # An operator that was thought dead comes too late.
            with pytest.raises(Conflict):
                await stage.swarm.constrain(
                    placement["serviceID"], placement["constraints"], placement["serviceVersion"]
                )
        live = stage.swarm._live(stage.service)
        assert len(live) == 1
        holder = stage.workload["status"]["claim"]["node"]
        assert stage.swarm._nodes[live[0].node_id].hostname == holder
        obj = stage.api.objects.get(("migrations", Ref("default", "move")))
        if mishap == "deleted":
            assert obj is None
            return
        assert obj is not None
        assert obj["status"]["phase"] in ("Done", "Failed")
        if not (mishap == "n2" and obj["status"]["phase"] == "Done"):
            # In that case the target died when all was over.
            assert obj["status"]["runsOn"] == holder or obj["status"]["message"].startswith("nothing was stopped")
        if not mishap:
            assert obj["status"]["phase"] == "Done"

    asyncio.run(rehearse())


class ContainerStage(Stage):
    """The same with a plain container, which the nodes' agents stop and create, as they do when `act` is called."""

    def __init__(self, mode: str = "StopAndCopy") -> None:
        super().__init__(mode)
        self.swarm.remove("redis")
        obj = self.workload
        obj["spec"] = {"policy": "redis", "type": "Container", "container": {"name": "web"}}
        policy = policy_object(retention={"keepLast": 50}, selector={"container": "web"})
        self.api.put(POLICY, policy)
        self.api.put(WORKLOAD, obj)
        self._workload(container={"id": "c1"}, lastStart={"how": "Fresh", "reason": "NoVersion", "at": stamp(90)})
        self._store("redis.1-v1", 1, "Schedule", bytes_=10)
        self.lost: set[str] = set()
        self.slow = False
        """Storage is away: what is stopped ends, and its final version waits."""
        self.ending = False
        self._report()

    def _report(self) -> None:
        """What the agents see of Docker."""
        holder = self.workload["status"]["claim"]["node"]
        for name in {"n1", "n2", "n3"} - self.lost:
            node = self.api.objects["nodes", Ref("", name)]
            mine = [{"name": "web", "id": "c1", "running": not self.ending, "policies": ["default/redis"]}]
            self.api.put(NODE, {**node, "status": {**node["status"], "containers": mine if name == holder else []}})

    def lose(self, name: str) -> None:
        super().lose(name)
        self.lost.add(name)

    def act(self) -> None:
        self._act()
        self._report()

    def _act(self) -> None:
        super().act()
        status = self.workload["status"]
        claim, sent = status["claim"], status.get("placement") or {}
        obj = self.api.objects.get(("migrations", Ref("default", "move")), {"metadata": {}})
        order = obj.get("status", {}).get("stop", {})
        stands = obj.get("status", {}).get("phase") == "Moving" and not obj["status"].get("failure")
        stands = stands and "withdrawnAt" not in order and "deletionTimestamp" not in obj["metadata"]
        number = status["newestVersion"]["number"]
        stops = stands and (claim["node"], claim["epoch"]) == (order["node"], order["epoch"]) and "n1" not in self.lost
        if (stops or self.ending) and self.slow:
            self.ending = True
            return
        if stops or self.ending:
            self.ending = False
            self._store(f"redis.1-v{number + 1}", number + 1, "Final", bytes_=1_000_000)
            ended = {"how": "Stopped", "at": format_time(self.now), "finalVersion": number + 1}
            newest = {"number": number + 1, "takenAt": format_time(self.now), "specHash": "hash"}
            self._workload(phase="Stopped", claim={**claim, "node": ""}, lastEnd=ended, newestVersion=newest)
            return
        goes_on = sent.get("epoch") == claim["epoch"] and sent.get("node") not in (claim["node"], *self.lost)
        if goes_on and (not claim["node"] or claim["node"] in self.lost):
            start = {"how": "Restored", "reason": "Reschedule", "version": number}
            self._workload(
                phase="Running",
                claim={"node": sent["node"], "epoch": claim["epoch"] + 1},
                lastStart={**start, "at": format_time(self.now + timedelta(seconds=1))},
            )


@pytest.mark.parametrize("mode", ["StopAndCopy", "PreCopy"])
def test_a_plain_container_is_stopped_by_its_agent_and_sent_to_the_target(mode: str) -> None:
    stage = ContainerStage(mode)
    asyncio.run(stage.until_ended())
    status = stage.status()
    assert stage.phases[-3:] == ["Moving", "Restoring", "Done"], status
    assert (status["runsOn"], status["downtimeSeconds"]) == ("n2", 4.0)
    assert stage.workload["status"]["placement"]["reason"] == "Migration"
    assert stage.api.objects["migrations", Ref("default", "move")]["metadata"].get("finalizers") is None


@pytest.mark.parametrize("mishap", ["n2", "deleted"])
def test_a_plain_container_whose_final_version_takes_longer_than_the_move_goes_on_where_it_was(mishap: str) -> None:
    async def rehearse() -> None:
        stage = ContainerStage()
        stage.slow = True
        while not stage.ending:
            await stage.live()
            stage.act()
        if mishap == "deleted":
            await stage.api.delete(MIGRATION, "move", "default")
        else:
            stage.lose(mishap)
        for _ in range(15):
            await stage.live()
            stage.act()
            assert stage.status()["phase"] == "Moving"
            stage.now += timedelta(minutes=1)
        assert "it goes on when its final version is stored" in stage.status()["message"]
        stage.slow = False
        for _ in range(4):
            stage.act()
            await stage.live()
        assert stage.workload["status"]["phase"] == "Running"
        assert stage.workload["status"]["claim"] == {"node": "n1", "epoch": 2}
        if mishap == "deleted":
            assert ("migrations", Ref("default", "move")) not in stage.api.objects
        else:
            assert (stage.status()["phase"], stage.status()["runsOn"]) == ("Failed", "n1")

    asyncio.run(rehearse())


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["StopAndCopy", "PreCopy"]),
    st.lists(st.tuples(st.integers(1, 8), st.booleans()), min_size=0, max_size=4),
    st.sampled_from(["", "n1", "n2", "deleted"]),
    st.integers(0, 6),
)
def test_a_plain_container_is_never_left_without_a_node_to_go_on(
    mode: str, kills: list[tuple[int, bool]], mishap: str, after: int
) -> None:
    async def rehearse() -> None:
        stage = ContainerStage(mode)
        pending = list(kills)
        for cycle in range(60):
            stage.api.writes, stage.api.crash_at = 0, 0
            obj = stage.api.objects.get(("migrations", Ref("default", "move")))
            ended = obj is None or obj.get("status", {}).get("phase") in ("Done", "Failed")
            if ended and not pending and cycle > after + 3:
                break
            if cycle == after and mishap.startswith("n"):
                stage.lose(mishap)
            if cycle == after and mishap == "deleted":
                await stage.api.delete(MIGRATION, "move", "default")
            if pending:
                at, carried_out = pending.pop()
                stage.api.crash_at, stage.api.carried_out = stage.api.writes + at, carried_out
            try:
                await stage.live()
            except Crash:
                continue
            stage.act()
            stage.now += timedelta(seconds=10)
        status = stage.workload["status"]
        assert status["phase"] == "Running"
        assert status["claim"]["node"] not in ("", *stage.lost)
        obj = stage.api.objects.get(("migrations", Ref("default", "move")))
        if mishap == "deleted":
            assert obj is None
            return
        assert obj is not None
        assert obj["status"]["phase"] in ("Done", "Failed")
        if not mishap:
            assert (obj["status"]["phase"], status["claim"]) == ("Done", {"node": "n2", "epoch": 2})

    asyncio.run(rehearse())
