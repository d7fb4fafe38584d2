"""Containers that the operator has sent here are created out of their newest version, or it is told why not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent import placements
from swarmkeep.agent.catalogue import Found
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.placements import Placements
from swarmkeep.agent.postmortem import Postmortem
from swarmkeep.agent.runtime.containers import ListedContainer
from swarmkeep.agent.runtime.creation import Creation
from swarmkeep.agent.runtime.facts import ContainerFacts, read_facts
from swarmkeep.agent.runtime.restores import Restores
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.errors import HostError, NotFound, SwarmKeepError, Unavailable
from swarmkeep.model.crashes import Crashes
from swarmkeep.model.ident import Ref
from swarmkeep.model.workload import Workload, parse_workload
from swarmkeep.plan.protection import find_protection
from swarmkeep.plan.start import Candidate

from ..objects import NOW, newest, policy, stamp
from .runtime.test_creation import inspection

WEB = Ref("default", "web")
POLICY = policy("web", selector={"container": "web"})
CRASHES = Crashes(2, 0, NOW, NOW, NOW)


def bind(source: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Destination": "/data", "RW": True}


class Node:
    """Docker, storage and the API as far as Placements sees them."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {"redis:7": "sha256:1"}
        self.registry: dict[str, str] = {}
        self.there: dict[str, bool] = {}
        """Containers by name, and whether they run."""
        self.started: list[str] = []
        self.created: list[Creation] = []
        self.start_error: SwarmKeepError | None = None
        self.policies = {POLICY.ref: POLICY}
        self.version = inspection("bridge")
        self.usable = True
        self.workload = self.sent()
        self.told: list[str] = []
        self.tracked: Any = SimpleNamespace(starting=set(), by_container=lambda _: None)
        self.postmortem: Any = None
        self.remove_error: SwarmKeepError | None = None
        self.volumes_left = True
        """Of the container that was removed, those without a name."""

    def sent(self, *, claim: str = "n1", epoch: int = 3, to: str = "n2") -> Workload:
        return parse_workload(
            {
                "metadata": {"namespace": "default", "name": "web"},
                "spec": {"policy": "web", "type": "Container", "container": {"name": "web"}},
                "status": {
                    "claim": {"node": claim, "epoch": epoch},
                    "placement": {"node": to, "reason": "NodeLoss", "epoch": 3},
                    "newestVersion": newest(7),
                },
            }
        )

    async def carry_out(self) -> list[dict[str, Any]]:
        """Carries the placement out; returns what the Node reports then."""
        made = self.placements()
        await made._carry_out(self.workload)
        return made.report()

    def placements(self) -> Placements:
        me: Any = self
        story: Any = SimpleNamespace(
            created=lambda *_: self.told.append("Created"), not_created=lambda *_: self.told.append("PlacementFailed")
        )
        locations: Any = SimpleNamespace(call=self.call)
        catalogue: Any = SimpleNamespace(look=self.look)
        return Placements("n2", me, me, me, me, locations, catalogue, story, self.tracked, self.postmortem)

    # The API and the policies.

    async def read(self, _: Ref) -> Workload:
        return self.workload

    def policy(self, ref: Ref) -> Any:
        return self.policies.get(ref)

    def protection(self, facts: ContainerFacts) -> Any:
        return find_protection(facts.name, facts.labels, self.policies.values())

    # Storage.

    async def look(self, *_: object) -> Found:
        damaged = Candidate(8, NOW, "hash", "", usable=False)
        return Found([damaged, Candidate(7, NOW, "hash", "", usable=self.usable)], ())

    async def call(self, _: str, work: Callable[[Any], Any], __: float) -> Any:
        return work(SimpleNamespace(manifest=lambda *_: SimpleNamespace(facts={"container": self.version})))

    # Docker.

    async def image_id(self, reference: str) -> str | None:
        return self.images.get(reference) or (reference if reference in self.images.values() else None)

    async def ensure_image(self, reference: str) -> None:
        if reference not in self.images:
            if reference not in self.registry:
                raise NotFound(f"there is no image {reference}")
            self.images[reference] = self.registry[reference]

    async def list_all(self) -> list[ListedContainer]:
        return [ListedContainer(name, name, {}, running) for name, running in self.there.items()]

    async def inspect(self, name: str) -> ContainerFacts:
        raw = {**inspection("bridge"), "Id": name, "Name": f"/{name}", "Created": "2026-01-01T00:00:00Z"}
        return read_facts({**raw, "State": {"Running": self.there[name], "Pid": 0, "ExitCode": 0}})

    async def create_like(self, creation: Creation) -> str:
        self.created.append(creation)
        self.there[creation.name] = False
        return creation.name

    async def start(self, container_id: str, _: float) -> None:
        if self.start_error is not None:
            raise self.start_error
        self.started.append(container_id)
        self.there[container_id] = True

    async def remove(self, container_id: str, *, volumes: bool = False) -> None:
        if self.remove_error is not None:
            raise self.remove_error
        self.volumes_left = not volumes
        del self.there[container_id]


async def test_it_is_created_as_it_was_and_started() -> None:
    node = Node()
    assert await node.carry_out() == []
    (made,) = node.created
    assert made.body["Image"] == "redis:7"
    assert made.body["Env"] == ["A=b"]
    assert node.started == ["web"]
    assert node.told == ["Created"]


@pytest.mark.parametrize(
    ("images", "registry", "expected"),
    [
        ({}, {"redis:7": "sha256:1"}, "redis:7"),
        # The name means another image here, and the very one is there without a name.
        ({"redis:7": "sha256:2", "other": "sha256:1"}, {}, "sha256:1"),
    ],
)
async def test_it_gets_the_very_image(images: dict[str, str], registry: dict[str, str], expected: str) -> None:
    node = Node()
    node.images, node.registry = images, registry
    assert await node.carry_out() == []
    assert node.created[0].body["Image"] == expected


def _no_image(node: Node) -> None:
    node.images = {}


def _other_image(node: Node) -> None:
    node.images, node.registry = {}, {"redis:7": "sha256:2"}


def _no_version(node: Node) -> None:
    node.usable = False


def _no_policy(node: Node) -> None:
    node.policies = {}


def _taken_name(node: Node) -> None:
    node.there["web"] = True


def _no_folder(node: Node) -> None:
    node.version = {**inspection("bridge"), "Mounts": [bind("/nonexistent/srv")]}


def _no_sense(node: Node) -> None:
    node.version = {}


def _other_container(node: Node) -> None:
    node.version = {**inspection("bridge"), "Name": "/other"}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_image, "does not have the image redis:7"),
        (_other_image, "redis:7 is another image by now"),
        (_no_version, "no good version"),
        (_no_policy, "no policy web"),
        (_taken_name, "another container web"),
        (_no_folder, "does not have /nonexistent/srv, which is mounted into it"),
        (_no_sense, "not understood"),
        (_other_container, "of a container other"),
    ],
)
async def test_what_is_in_the_way_is_told_and_nothing_is_left_behind(spoil: Callable[[Node], None], words: str) -> None:
    node = Node()
    spoil(node)
    before = dict(node.there)
    (told,) = await node.carry_out()
    assert (told["workload"], told["epoch"]) == ("default/web", 3)
    assert words in told["message"]
    assert node.there == before
    assert not node.created
    assert node.told == ["PlacementFailed"]


@pytest.mark.parametrize("error", [HostError("swarmkeep: held"), Unavailable("Docker does not answer")])
async def test_a_container_that_does_not_start_is_removed_again(error: SwarmKeepError) -> None:
    node = Node()
    node.start_error = error
    taken = replace(node.workload, claim=replace(node.workload.claim, node="", epoch=4))
    begun = node.start

    async def start(container_id: str, limit_s: float) -> None:
        # The claim was taken for it, and went back when it did not come up.
        node.workload = taken
        await begun(container_id, limit_s)

    cast(Any, node).start = start
    (told,) = await node.carry_out()
    assert told["epoch"] == 4
    assert node.there == {}
    assert not node.volumes_left
    assert node.told == ["Created", "PlacementFailed"]


@pytest.mark.parametrize(
    "meanwhile",
    [{"to": "n3", "claim": "n3", "epoch": 4}, {"to": "n3", "claim": "", "epoch": 4}, {"claim": "n3", "epoch": 4}],
    ids=["given to another and running", "given to another and stopped", "taken by another"],
)
async def test_a_failure_is_not_one_of_the_claim_that_another_node_took_meanwhile(meanwhile: dict[str, Any]) -> None:
    node = Node()
    node.start_error = HostError("swarmkeep: held")
    begun = node.start

    async def start(container_id: str, limit_s: float) -> None:
        node.workload = node.sent(**meanwhile)
        await begun(container_id, limit_s)

    cast(Any, node).start = start
    made = node.placements()
    await made._carry_out(node.workload)
    assert [item["epoch"] for item in made.report()] == [3]


def restored(node: Node, folder: Path) -> Tracked:
    """Has Docker fail at the container after the runtime has restored it; returns what the agent knows of it."""
    node.tracked = TrackedContainers(Journal(folder / "containers"))
    node.postmortem = Postmortem(cast(Any, node), Restores(folder / "restore"), node.tracked)
    before = {"how": "NodeLoss", "at": stamp(60), "exitCode": None, "finalVersion": None}
    tracked = Tracked(
        WEB,
        "web",
        "web",
        "",
        "hash",
        "boot",
        NOW,
        epoch=4,
        number_before=7,
        start={"how": "Restored", "version": 7, "order": "o1", "at": stamp(0)},
        end_before=before,
        crashes=CRASHES,
        plain=True,
    )

    async def start(container_id: str, _: float) -> None:
        assert node.tracked.starting == {container_id}
        node.tracked.save(tracked)
        raise Unavailable("Docker cannot start it: could not attach to network web: no such peer")

    cast(Any, node).start = start
    return tracked


async def test_a_container_that_docker_could_not_finish_starting_speaks_for_no_version(tmp_path: Path) -> None:
    node = Node()
    tracked = restored(node, tmp_path)
    (told,) = await node.carry_out()
    assert "could not attach to network" in told["message"]
    assert node.there == {}
    assert node.tracked.starting == set()
    kept = TrackedContainers(Journal(tmp_path / "containers")).get(WEB)
    assert kept is not None
    assert kept.end == tracked.end_before
    # So the API goes on telling of the start before, which is older than that end, and the order stays open.
    assert (kept.start, kept.attempt, kept.order) == (None, None, "")
    assert kept.failed_restores == {}
    assert kept.crashes == CRASHES


async def test_a_container_that_cannot_be_removed_either_may_run_and_has_not_ended(tmp_path: Path) -> None:
    node = Node()
    tracked = restored(node, tmp_path)
    node.remove_error = Unavailable("Docker does not answer")
    await node.carry_out()
    assert tracked.end is None
    assert tracked.start is not None
    assert node.tracked.starting == set()


async def test_an_old_copy_that_does_not_run_makes_room() -> None:
    node = Node()
    node.there["web"] = False
    assert await node.carry_out() == []
    assert node.started == ["web"]


async def test_an_order_that_went_to_another_node_meanwhile_is_left_alone() -> None:
    node = Node()
    node.workload = node.sent(to="n3")
    assert await node.carry_out() == []
    assert not node.created


async def test_an_order_is_carried_out_once_and_after_a_failure_only_when_that_is_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node()
    _no_image(node)
    made = node.placements()
    async with asyncio.TaskGroup() as group:
        made._begin(node.workload, group)
        made._begin(node.workload, group)
    assert node.told == ["PlacementFailed"]
    node.images = {"redis:7": "sha256:1"}
    async with asyncio.TaskGroup() as group:
        made._begin(node.workload, group)
    assert not node.created
    monkeypatch.setattr(placements, "time", SimpleNamespace(monotonic=lambda: float("inf")))
    async with asyncio.TaskGroup() as group:
        made._begin(node.workload, group)
    assert node.started == ["web"]


@pytest.mark.parametrize("order", [{"to": "n3"}, {"epoch": 4}, {"claim": "n2"}])
async def test_what_is_of_no_concern_is_left_alone(order: dict[str, Any]) -> None:
    node = Node()
    made = node.placements()
    async with asyncio.TaskGroup() as group:
        made._begin(node.sent(**order), group)
    assert not node.created


async def test_a_folder_that_is_there_or_comes_with_the_version_is_no_obstacle(tmp_path: Path) -> None:
    node = Node()
    node.version = {**inspection("bridge"), "Mounts": [bind(str(tmp_path)), bind("/nonexistent/taken-along")]}
    taken_along = policy("web", selector={"container": "web"}, checkpoint={"volumes": ["/nonexistent/taken-along"]})
    node.policies = {taken_along.ref: taken_along}
    assert await node.carry_out() == []
    assert node.started == ["web"]
