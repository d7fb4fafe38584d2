"""A node with one protected container, whose agent may die at any step of a stop.

A dead process runs no `finally`: so nothing is raised here. At each step everything that outlives the agent is copied:
its folders, the API, and whether the container still runs. A second agent then lives on with each of the copies.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarmkeep.agent import journal, staged, stops
from swarmkeep.agent.claims import Claims
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.freezes import Freezes
from swarmkeep.agent.hooks import Hooks
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.observer import Observer
from swarmkeep.agent.postmortem import Postmortem
from swarmkeep.agent.records import Records
from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.cold_starts import ColdStarts
from swarmkeep.agent.runtime.dump import ENDED, DumpRequest, DumpResult
from swarmkeep.agent.runtime.dump_stats import DumpStats
from swarmkeep.agent.runtime.restores import Restores
from swarmkeep.agent.runtime.traits import TraitsReader
from swarmkeep.agent.staged import Staged
from swarmkeep.agent.stale_copies import StaleCopies
from swarmkeep.agent.stops import Stops
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.unseen_starts import UnseenStarts
from swarmkeep.agent.versions import VersionTaker
from swarmkeep.agent.volume_switch import VolumeSwitch
from swarmkeep.agent.volumes import Volumes
from swarmkeep.errors import NotFound, StorageFull
from swarmkeep.kube.client import Client
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, WORKLOAD, Kind
from swarmkeep.plan.protection import SERVICE_ID
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

from ..controllers.fake_api import FakeApi
from ..objects import policy, workload_object

REF = Ref("default", "redis.1")
BOOT = "boot-1"
LIFE_S = 20.0
IMAGE = b"memory" * 20_000
TABLE = b"row" * 20_000
"""Of the file `table` in the folder that its versions take along."""


class Api(FakeApi):
    """Tells the node of each write, before and after it."""

    node: Node

    def __deepcopy__(self, memo: dict[int, Any]) -> Api:
        twin = Api()
        twin.objects, twin.revision = copy.deepcopy(self.objects), self.revision
        return twin

    async def patch(
        self, kind: Kind, name: str, patch: Mapping[str, Any], namespace: str | None = None, **more: Any
    ) -> dict[str, Any]:
        more.pop("expired_lease", None)
        holder = self.claim()["node"]
        answer = await super().patch(kind, name, patch, namespace, **more)
        if holder != self.claim()["node"]:
            self.node.claim_changed()
        self.node.step(f"{kind.plural} patched")
        return answer

    def claim(self) -> dict[str, Any]:
        claim: dict[str, Any] = self.objects[WORKLOAD.plural, REF]["status"]["claim"]
        return claim

    def checkpoints(self) -> list[dict[str, Any]]:
        return [obj for (plural, _), obj in sorted(self.objects.items()) if plural == CHECKPOINT.plural]

    def _enter(self) -> None:
        super()._enter()
        self.node.step("API asked to write")


@dataclass
class Node:
    """What outlives an agent."""

    root: Path
    api: Api = field(default_factory=Api)
    running: bool = True
    exit_code: int | None = None
    disk_full: bool = False
    """The dump fills the disk with the agent's folders; it is full as long as the dump lies there."""
    deaths: list[tuple[str, Node]] | None = None
    """Copies at each step so far, with the step's name; None when this life is not to be looked at."""
    given_back: int = 0
    stored_when_given_back: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api.node = self

    @classmethod
    def with_container(cls, root: Path, **more: Any) -> Node:
        """A node on which redis.1 runs under epoch 4, with version 6 as the newest."""
        node = cls(root, **more)
        (root / "upper").mkdir(parents=True)
        (root / "upper" / "file").write_bytes(b"written" * 1000)
        (root / "data").mkdir()
        (root / "data" / "table").write_bytes(TABLE)
        (root / "storage").mkdir()
        obj = workload_object()
        obj["status"] |= {"phase": "Running", "claim": {"node": "n1", "epoch": 4}}
        node.api.put(WORKLOAD, obj)
        TrackedContainers(Journal(root / "containers")).save(
            Tracked(
                ref=REF,
                policy="redis",
                container_id="c1",
                task_id="t1",
                spec_hash="hash",
                boot_id=BOOT,
                started_at=datetime.now(UTC),
                epoch=4,
                number=6,
            )
        )
        return node

    def step(self, name: str) -> None:
        """The agent may die here."""
        if self.deaths is None:
            return
        twin = Node(
            self.root.with_name(f"{self.root.name}-{len(self.deaths)}"),
            copy.deepcopy(self.api),
            self.running,
            self.exit_code,
            self.disk_full,
            None,
            self.given_back,
            list(self.stored_when_given_back),
        )
        shutil.copytree(self.root, twin.root)
        self.deaths.append((name, twin))

    def claim_changed(self) -> None:
        self.given_back += 1
        self.stored_when_given_back = self.repository().versions(str(REF))

    def repository(self) -> Repository:
        return Repository.open(LocalBlobStore(self.root / "storage"), create=True)

    def storage(self, there: bool) -> None:
        names = ("away", "storage") if there else ("storage", "away")
        (self.root / names[0]).rename(self.root / names[1])

    def staged(self) -> list[str]:
        """What lies in the staging folder."""
        return sorted(path.name for path in (self.root / "staging").glob("*/*"))

    def has_synced(self) -> bool:
        """Whether the final version waits on the disk."""
        return "v7.synced.json" in self.staged()

    def has_no_space(self) -> bool:
        return self.disk_full and any((self.root / "staging").glob("*/v*/image/*"))

    # Docker, the freezer, CRIU.

    def facts(self) -> Any:
        return SimpleNamespace(
            id="c1",
            name="redis.1.t1",
            pid=4_194_305,
            running=self.running,
            labels={},
            raw={"Id": "c1", "Config": {"Labels": {SERVICE_ID: "svc1"}}, "Mounts": [self.mount()]},
            stop_timeout_s=10.0,
            upper_dir=self.root / "upper",
            exit_code=self.exit_code,
            ended_at=None,
            failed_to_start=False,
            oom_killed=False,
            image_ref="redis",
            image_id="sha256:1",
            tty=False,
            networks=(),
        )

    def mount(self) -> dict[str, Any]:
        return {"Type": "bind", "Source": str(self.root / "data"), "Destination": "/data", "RW": True}

    async def cached(self, container_id: str) -> Any:
        if container_id != "c1":
            raise NotFound(container_id)
        return self.facts()

    inspect = cached

    async def list_running(self) -> list[Any]:
        return [self.facts()] if self.running else []

    def forget(self, container_id: str) -> None:
        """Nothing is remembered."""

    async def freeze(
        self, container_id: str, pid: int, *, keep: bool, beforehand: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        if beforehand is not None:
            await beforehand()
        self.step("frozen")

    async def thaw(self, container_id: str, pid: int) -> None:
        self.step("thawed")

    async def begin(self, request: DumpRequest) -> None:
        """Nothing can be begun early here."""

    async def dump(self, request: DumpRequest, begun: None = None) -> DumpResult:
        (request.work_dir / "runc.out").touch()
        (request.image_dir / "pages-1.img").write_bytes(IMAGE[:-100])
        self.step("half dumped")
        (request.image_dir / "pages-1.img").write_bytes(IMAGE)
        (request.work_dir / "dump.log").write_text(f"(00.1) {ENDED}\n")
        self.running, self.exit_code = False, 137
        self.step("process ended")
        return DumpResult(DumpStats(), 0.1)


class Agent:
    """One life on a node."""

    def __init__(self, node: Node, boot_id: str = BOOT) -> None:
        self.node = node
        self.told: list[str] = []
        self.replies: list[dict[str, Any]] = []
        with_folder = policy(checkpoint={"volumes": [node.mount()["Source"]]})
        protection = SimpleNamespace(workload=REF, policy=with_folder, task_id="t1")
        desired: Any = SimpleNamespace(policy=lambda ref: protection.policy, protection=lambda labels: protection)
        story: Any = SimpleNamespace(
            version_failed=lambda ref, reason, message: self.told.append(f"{reason}: {message}"),
            final_version=lambda ref, number: self.told.append(f"FinalVersion {number}"),
        )
        client, docker = cast(Client, node.api), cast(Any, node)
        self.tracked = TrackedContainers(Journal(node.root / "containers"))
        self.tracked.settle_earlier_boots(boot_id, datetime.now(UTC))
        locations = Locations()
        locations.update({"main": {"spec": {"filesystem": {"path": str(node.root / "storage")}}}})
        claims, freezes = Claims(client, "n1"), Freezes(docker)
        self.records = Records(client, Journal(node.root / "records"))
        self.versions = VersionTaker(
            "n1",
            {},
            node.root / "staging",
            docker,
            freezes,
            docker,
            locations,
            self.tracked,
            self.records,
            KnownDamage(client),
            cast(Any, SimpleNamespace(stored=lambda *_: None)),
            ImageCache(node.root / "images", boot_id, 1 << 30),
            Volumes(docker, VolumeSwitch(Journal(node.root / "volumes")), ()),
            Hooks(docker, self.tracked),
        )
        self.stops = Stops(docker, desired, claims, freezes, self.versions, self.tracked, story)
        unseen = UnseenStarts("n1", ColdStarts(node.root / "cold-starts"), docker, desired, self.tracked, story)
        self.observer = Observer(
            "n1",
            boot_id,
            client,
            docker,
            desired,
            claims,
            freezes,
            cast(Any, None),
            unseen,
            Postmortem(desired, Restores(node.root / "restore"), self.tracked),
            StaleCopies("n1", docker, claims, story, Journal(node.root / "past")),
            self.tracked,
            TraitsReader(),
        )
        self.finals = self.stops.resume(boot_id)

    async def live(
        self, *, asked_to_stop: bool = False, seconds: float | None = None, until: Callable[[], bool] | None = None
    ) -> None:
        """Runs until the claim is given back and all records are delivered, or `until`, which must come; or so long."""
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self.records.run())]
        tasks += [asyncio.create_task(self.stops.store_final(final)) for final in self.finals]
        try:
            with contextlib.suppress(*([] if seconds is None else [TimeoutError])):
                async with asyncio.timeout(LIFE_S if seconds is None else seconds):
                    if asked_to_stop:
                        tasks.append(asyncio.create_task(self.stop()))
                    while not (until or self._done)():
                        await self.observer._reconcile()
                        await asyncio.sleep(0.002)
        finally:
            tasks += self.stops._storing
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def stop(self) -> str:
        """Docker stops the container; if the agent says `deliver` it dies of that."""

        async def answer(reply: dict[str, Any]) -> None:
            self.replies.append(reply)
            self.node.step("answered")
            if reply == {"do": "deliver"}:
                self.node.running, self.node.exit_code = False, 0

        conversation: Any = SimpleNamespace(container_id="c1", question={"op": "kill", "signal": 15}, answer=answer)
        return await self.stops.converse(conversation)

    def _done(self) -> bool:
        return self.tracked.get(REF) is None and not list((self.node.root / "records").glob("*.json"))


def install(monkeypatch: pytest.MonkeyPatch, current: dict[str, Node]) -> None:
    """Makes the steps inside SwarmKeep's own code known to `current["node"]`, and its disk as full as that says."""

    def around(owner: Any, name: str, what: str) -> None:
        real = getattr(owner, name)

        def wrapped(*args: Any, **more: Any) -> Any:
            if "node" in current:
                current["node"].step(f"before {what}")
            result = real(*args, **more)
            if "node" in current:
                current["node"].step(f"after {what}")
            return result

        monkeypatch.setattr(owner, name, wrapped)

    def on_this_disk(owner: Any, what: str) -> None:
        real = owner.write_atomically

        def write(path: Path, data: bytes) -> None:
            if "node" in current and current["node"].has_no_space():
                raise StorageFull("no space left")
            real(path, data)

        monkeypatch.setattr(owner, "write_atomically", write)
        around(owner, "write_atomically", what)

    on_this_disk(journal, "the journal")
    on_this_disk(staged, "the record")
    around(layer, "capture", "the layer")
    around(LocalBlobStore, "put", "a blob")
    around(Staged, "_rename_record", "renaming the record")
    around(Staged, "drop_data", "dropping the data")
    around(Staged, "forget", "forgetting the record")
    monkeypatch.setattr(stops, "STORE_RETRY", stops.STORE_RETRY / 200)
