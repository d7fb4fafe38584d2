"""A room with a node in it: the agent's real doors, the real shim, a real store; Docker, the kernel and the API in
memory. Agents are killed in it, and what is outside of them stays."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from swarmkeep.agent.bases import Bases
from swarmkeep.agent.catalogue import Catalogue
from swarmkeep.agent.claims import Claims
from swarmkeep.agent.copier import Copier
from swarmkeep.agent.copies import Copies
from swarmkeep.agent.copy_reports import CopyReports
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.endings import Endings
from swarmkeep.agent.fencer import Fencer
from swarmkeep.agent.freezes import Freezes
from swarmkeep.agent.hooks import Hooks
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.observer import Observer
from swarmkeep.agent.postmortem import Postmortem
from swarmkeep.agent.records import Records
from swarmkeep.agent.runtime.cold_starts import ColdStarts
from swarmkeep.agent.runtime.restores import Restores
from swarmkeep.agent.runtime.traits import TraitsReader
from swarmkeep.agent.scheduler import Scheduler
from swarmkeep.agent.selectors_file import SelectorsFile
from swarmkeep.agent.shim_server import Conversation, Handler, ShimServer
from swarmkeep.agent.specifications import container_spec_hash
from swarmkeep.agent.stale_copies import StaleCopies
from swarmkeep.agent.starts import Starts
from swarmkeep.agent.stops import Stops
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.tryouts import DumpTryouts
from swarmkeep.agent.unseen_starts import UnseenStarts
from swarmkeep.agent.versions import VersionTaker
from swarmkeep.agent.volume_switch import VolumeSwitch
from swarmkeep.agent.volumes import Volumes
from swarmkeep.kube.events import EventRecorder
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.model.policy import parse_policy
from swarmkeep.shim import create as shim
from swarmkeep.shim.arguments import parse_call
from swarmkeep.shim.restore import RestoreFailed
from swarmkeep.shim.settings import Settings
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

from ..objects import policy_object, workload_object
from .host import Container, Docker, Dumper, Heartbeat, Kernel, now_text
from .mortal import Api, Connection, Died, Fate, MortalConversation, MortalHooks, MortalJournal, MortalLocations

IN_THE_ROOM = [
    pytest.mark.usefixtures("fast"),
    # asyncio leaves a connection open that it accepts in the very moment in which the server closes; a death ends it.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
REDIS = Ref("default", "redis.1")
FENCE_AFTER = timedelta(seconds=3)


class Machine:
    """A node: its Docker, its disks, its clock of the lease. Agents come and go on it."""

    def __init__(self, name: str, folder: Path, api: Api, location: Path, **restore: Any) -> None:
        self.name = name
        self.api = api
        self.state, self.run = folder / name / "state", folder / name / "run"
        self.docker_root = folder / name / "docker"
        self.location = location
        self.containers: dict[str, Container] = {}
        self.lease_age = timedelta(0)
        self.lazy_pages = True
        self.dump_error = ""
        """Why no version can be taken."""
        self.cannot_restore: set[str] = set()
        """Versions, as v2, that runc fails to restore."""
        self.orders: list[dict[str, Any]] = []
        """What the shim was told to restore."""
        self.changed = asyncio.Event()
        self.is_slow = False
        """A restore takes until somebody ends it."""
        self.ended = threading.Event()
        self._shims = ThreadPoolExecutor()
        self.policy = policy_object(restore={"pages": "Eager", **restore})
        for each in (self.state, self.run):
            each.mkdir(parents=True)
        self.publish()

    def publish(self) -> None:
        """What an agent did that was here long ago: it told the shim of the policy."""
        SelectorsFile(self.state / "shim" / "selectors").publish([parse_policy(self.policy)])

    def container(self, id: str, plain: str = "") -> Container:
        """Docker has created it, and is about to start it. `plain` names a container that is of no task."""
        container = Container(self.docker_root / "bundles" / id, id, plain)
        (self.docker_root / "containers" / id).mkdir(parents=True)
        self.write_down(container)
        self.containers[id] = container
        return container

    def write_down(self, container: Container) -> None:
        """What Docker keeps on its disk of a container."""
        raw = container.inspection
        folder = self.docker_root / "containers" / raw["Id"]
        stored = {"ID": raw["Id"], **{key: raw[key] for key in ("Name", "Created", "Image", "Config", "State")}}
        (folder / "config.v2.json").write_text(json.dumps(stored))
        (folder / "hostconfig.json").write_text("{}")

    async def start(self, container: Container) -> str:
        """Docker starts it through the shim; returns what the shim says no with, or nothing."""
        words = ["--root", "/run/docker/runtime-runc/moby", "create", "--bundle", str(container.folder)]
        settings = Settings(
            runc="/nonexistent/runc",
            criu="/nonexistent/criu",
            docker_root=str(self.docker_root),
            state_dir=str(self.state / "shim"),
            run_dir=str(self.run),
        )
        try:
            call = parse_call([*words, container.facts.id])
            code = await asyncio.get_running_loop().run_in_executor(self._shims, shim.create, call, settings)
        except shim.Refused as refusal:
            container.inspection["State"]["ExitCode"] = 128
            return str(refusal)
        if code is None:
            container.begin("fresh")
        self.changed.set()
        return ""

    def restored(self, order: dict[str, Any]) -> None:
        """What `runc restore` does, called by the shim: the version that it was told is in the image."""
        self.orders.append(order)
        if self.is_slow:
            assert self.ended.wait(10), "nobody has ended it"
            raise RestoreFailed("runc: criu failed: killed")
        image = Path(order["image"])
        id = Path(order["work"]).name
        version = (image / "pages").read_text()
        if version in self.cannot_restore:
            raise RestoreFailed(f"{version} is no good")
        self.containers[id].begin(f"restored {version}")

    def life(self, dies_at: int = 0) -> Life:
        """The agent starts."""
        return Life(self, Fate(dies_at))


class Life:
    """One process of the agent on a machine."""

    def __init__(self, machine: Machine, fate: Fate) -> None:
        self.machine = machine
        self.fate = fate
        self.client: Any = Connection(machine.api, machine.name, fate)
        self._main: asyncio.Task[None] | None = None

    def _build(self) -> None:
        """As agent.daemon does."""
        machine, fate, client = self.machine, self.fate, self.client
        docker: Any = Docker(machine, fate)
        heartbeat: Any = Heartbeat(machine)
        self.tracked = TrackedContainers(MortalJournal(machine.state / "containers", fate))
        self.freezes = Freezes(Kernel(machine, fate))
        for container in machine.containers.values():
            kept = self.tracked.by_container(container.facts.id)
            if container.frozen and (kept is None or kept.phase != "Fenced"):
                container.frozen = False
        wanted = MortalJournal(machine.state / "desired", Fate())
        wanted.write("policies", {"objects": [machine.policy]})
        location = {"metadata": {"name": "main"}, "spec": {"filesystem": {"path": str(machine.location)}}}
        wanted.write("locations", {"objects": [location]})
        locations = MortalLocations(fate)
        self.desired = Desired(client, wanted, locations, SelectorsFile(machine.state / "shim" / "selectors"))
        self.claims = Claims(client, machine.name)
        self.records = Records(client, MortalJournal(machine.state / "records", fate))
        self.story = Story(EventRecorder(client, "swarmkeep-agent", machine.name), self.claims, machine.name)
        restores = Restores(machine.run / "restore")
        dumper: Any = Dumper(machine, fate)
        damage = KnownDamage(client)
        cache = ImageCache(machine.state / "images", "boot", 1 << 30)
        copies = Copies(locations, MortalJournal(machine.state / "copies", fate), machine.state / "copying", cache)
        copier = Copier(
            self.desired,
            locations,
            self.tracked,
            MortalJournal(machine.state / "replicated", fate),
            copies,
            CopyReports(client, machine.name),
        )
        switch = VolumeSwitch(MortalJournal(machine.state / "volumes", fate))
        volumes = Volumes(docker, switch, (machine.state,))
        self.versions = VersionTaker(
            machine.name,
            {},
            machine.state / "staging",
            docker,
            self.freezes,
            dumper,
            locations,
            self.tracked,
            self.records,
            damage,
            copier,
            cache,
            volumes,
            Hooks(MortalHooks(machine.containers, fate), self.tracked),
        )
        past = MortalJournal(machine.state / "past", fate)
        self.stale = stale = StaleCopies(machine.name, docker, self.claims, self.story, past)
        postmortem = Postmortem(self.desired, restores, self.tracked)
        self.starts = Starts(
            machine.name,
            "boot",
            machine.run,
            machine.docker_root,
            cache,
            Bases(locations, cache),
            docker,
            self.desired,
            self.claims,
            Catalogue(client, locations, damage),
            damage,
            locations,
            self.tracked,
            heartbeat,
            FENCE_AFTER,
            self.story,
            volumes,
            postmortem,
            stale,
            lazy_pages=machine.lazy_pages,
        )
        self.fencer = Fencer(
            machine.name,
            FENCE_AFTER,
            heartbeat,
            self.claims,
            docker,
            self.freezes,
            self.desired,
            self.tracked,
            self.story,
        )
        notes = ColdStarts(machine.state / "shim" / "cold-starts")
        unseen = UnseenStarts(machine.name, notes, docker, self.desired, self.tracked, self.story)
        self.observer = Observer(
            machine.name,
            "boot",
            client,
            docker,
            self.desired,
            self.claims,
            self.freezes,
            self.fencer,
            unseen,
            postmortem,
            stale,
            self.tracked,
            TraitsReader(),
        )
        self.scheduler = Scheduler(
            self.desired, self.freezes, restores, self.tracked, self.versions, cast(DumpTryouts, None)
        )
        self.stops = Stops(docker, self.desired, self.claims, self.freezes, self.versions, self.tracked, self.story)
        self.endings = Endings(
            machine.name,
            client,
            docker,
            self.desired,
            self.claims,
            self.stops,
            self.tracked,
            self.story,
            self.scheduler.is_taking,
        )

    async def __aenter__(self) -> Life:
        self._build()
        self._server = Server(self.machine.run / "shim.sock", {"create": self._create})
        self._main = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """SIGKILL."""
        self.fate.dead.set()
        assert self._main is not None
        self._main.cancel()
        (result,) = await asyncio.gather(self._main, return_exceptions=True)
        await self._server.hang_up()
        await asyncio.gather(*self.fate.last_words - {asyncio.current_task()}, return_exceptions=True)
        for error in _leaves(result):
            if isinstance(error, Exception):
                raise error

    async def _run(self) -> None:
        try:
            finals = self.stops.resume("boot")
            async with self._server.listening(), asyncio.TaskGroup() as group:
                for part in (self.observer, self.fencer, self.records, self.story, self.endings):
                    group.create_task(part.run())
                for staged in finals:
                    group.create_task(self.stops.store_final(staged))
        finally:
            self.fate.dead.set()

    async def _create(self, conversation: Conversation) -> str:
        return await self.starts.converse(MortalConversation(conversation, self.fate))

    async def until(self, what: str, done: Callable[[], Any], limit_s: float = 10.0) -> None:
        """Waits for something that the living agent has to bring about."""
        try:
            async with asyncio.timeout(limit_s):
                while not done():
                    assert not self.fate.dead.is_set(), f"the agent died while waiting for {what}"
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"in vain: {what}; {list(self.tracked)}, {self.machine.api.objects}") from None

    async def take_version(self) -> int:
        """As the scheduler would, if it thinks that it may; returns the version's number."""
        tracked = self.tracked.get(REDIS)
        assert tracked is not None
        assert self.scheduler.can_take(tracked), tracked
        policy = self.desired.policy(Ref("default", "redis"))
        assert policy is not None
        await self.versions.take(tracked, policy, Reason.SCHEDULE)
        assert tracked.failure is None, tracked.failure
        return int((tracked.newest or {})["number"])

    def record(self) -> Tracked:
        tracked = self.tracked.get(REDIS)
        assert tracked is not None
        return tracked


class Server(ShimServer):
    """The real one, whose connections end with the life."""

    def __init__(self, path: Path, handlers: dict[str, Handler]) -> None:
        super().__init__(path, handlers)
        self._open: set[asyncio.Task[Any]] = set()
        self._dead = False

    async def hang_up(self) -> None:
        self._dead = True
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._dead:
            # Accepted in the last moment.
            writer.close()
            return
        self._open.add(task)
        try:
            await super()._serve(reader, writer)
        except (Died, asyncio.CancelledError):
            writer.close()
        finally:
            self._open.discard(task)


ShimIn = Callable[[Machine], None]


def room(
    folder: Path,
    shim_in: ShimIn,
    *versions: int,
    claim: str,
    fencing: str = "Strict",
    attempts: int = 3,
    holdLimit: str = "20s",
    **status: Any,
) -> Machine:
    """Node n2, to which the task of redis.1 comes. The node that has the `claim` is lost unless it is said to live."""
    api = Api()
    api.alive = {"n2"}
    obj = workload_object(claim=claim, **status)
    obj["status"]["claim"]["epoch"] = 3 if versions else 0
    api.put(WORKLOAD, obj)
    location = folder / "location"
    location.mkdir(parents=True)
    repository = Repository.open(LocalBlobStore(location), create=True)
    machine = Machine("n2", folder, api, location, attempts=attempts, holdLimit=holdLimit)
    machine.policy["spec"]["fencing"] = fencing
    machine.publish()
    shim_in(machine)
    spec_hash = container_spec_hash(Container(folder / "example", "example").facts, 0)
    for number in versions:
        source = folder / f"v{number}"
        for name in ("image", "layer"):
            (source / name).mkdir(parents=True)
        (source / "image" / "pages").write_text(f"v{number}")
        facts = {"takenAt": now_text(), "specHash": spec_hash, "serviceID": "svc1"}
        repository.put(str(REDIS), number, source, facts)
    return machine


class Lives:
    """An agent that dies at one of its steps and, at once, its successor."""

    def __init__(self, machine: Machine, dies_at: int) -> None:
        self.died = False
        self.first = machine.life(dies_at)
        self._machine = machine
        self._life = self.first
        self._successor: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Lives:
        await self._life.__aenter__()
        self._successor = asyncio.create_task(self._succeed())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.survivor()
        await self._life.__aexit__()

    async def survivor(self) -> Life:
        """The successor, or the first one, which nothing kills from now on."""
        assert self._successor is not None
        if self._life.fate.dead.is_set() or self.died:
            await self._successor
        else:
            self._life.fate.spare()
            self._successor.cancel()
        return self._life

    async def _succeed(self) -> None:
        await self._life.fate.dead.wait()
        self.died = True
        await self._life.__aexit__()
        self._life = self._machine.life()
        await self._life.__aenter__()


def claim_of(api: Api) -> tuple[str, int]:
    claim = api.status(REDIS).get("claim", {})
    return claim.get("node", ""), claim.get("epoch", 0)


def _leaves(error: object) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error] if isinstance(error, BaseException) else []
