"""One life of an agent: it can end before and after everything that it does to the world outside itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from swarmkeep.agent.journal import Journal
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.shim_server import Conversation
from swarmkeep.kube.answers import ApiForbidden, ApiUnavailable, LeaseAlive
from swarmkeep.kube.client import EventType, Fence, ObjectList, WatchEvent
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD, Kind
from swarmkeep.model.wire import section
from swarmkeep.store.repository import Repository

from ..controllers.fake_api import FakeApi

T = TypeVar("T")


class Died(BaseException):
    """The agent's process was killed here. Nothing may catch it, and nothing of it does anything afterwards."""


class Fate:
    """Counts the steps of one life and ends it at one of them."""

    def __init__(self, dies_at: int = 0) -> None:
        """`dies_at` 0 means that it lives on."""
        self.steps: list[str] = []
        self.dead = asyncio.Event()
        self.last_words: set[asyncio.Task[Any]] = set()
        """Tasks that were in the middle of something; their end is nobody's business."""
        self._dies_at = dies_at
        self._is_over = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def spare(self) -> None:
        """It lives on after all."""
        self._dies_at = 0

    def die_in(self, steps: int) -> None:
        """It dies at that step from now on."""
        self._dies_at = len(self.steps) + steps

    def step(self, what: str) -> None:
        """The agent may die here; in a thread of its own as well."""
        try:
            self._loop, task = asyncio.get_running_loop(), asyncio.current_task()
        except RuntimeError:
            task = None
        if not (self._is_over or self.dead.is_set()):
            self.steps.append(what)
            if len(self.steps) == self._dies_at:
                self._is_over = True
                if task is None and self._loop is not None:
                    self._loop.call_soon_threadsafe(self.dead.set)
                else:
                    self.dead.set()
        if self._is_over or self.dead.is_set():
            if task is not None:
                self.last_words.add(task)
            raise Died(what)


class Api(FakeApi):
    """The operator's API in memory, with what agents use besides: leases, claims of one's own only, and watches."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: set[str] = set()
        """Nodes whose lease has not run out."""
        self.log: list[WatchEvent] = []
        self.news = asyncio.Event()
        self.lost_answers = 0
        """So many of the next writes are carried out, and their answers lost."""

    def put(self, kind: Kind, obj: Mapping[str, Any]) -> None:
        super().put(kind, obj)
        ref = Ref(obj["metadata"].get("namespace") or "", obj["metadata"]["name"])
        self._tell(EventType.MODIFIED, kind, self.objects[kind.plural, ref])

    def remove(self, kind: Kind, ref: Ref) -> None:
        """Behind everybody's back."""
        self.revision += 1
        obj = self.objects.pop((kind.plural, ref))
        self._tell(EventType.DELETED, kind, obj | {"metadata": obj["metadata"] | {"resourceVersion": self.revision}})

    def status(self, ref: Ref) -> dict[str, Any]:
        found: dict[str, Any] = self.objects[WORKLOAD.plural, ref]["status"]
        return found

    def reasons(self) -> list[str]:
        """Of all Events, in the order in which they were told."""
        return [obj["reason"] for (plural, _), obj in self.objects.items() if plural == "events"]

    def _tell(self, type_: EventType, kind: Kind, obj: dict[str, Any]) -> None:
        self.log.append(WatchEvent(type_, {"kind": kind.name, **obj}))
        self.news.set()
        self.news = asyncio.Event()


class Connection:
    """Stands for kube.Client of one life on one node."""

    def __init__(self, api: Api, node: str, fate: Fate) -> None:
        self._api = api
        self._node = node
        self._fate = fate
        self.cut = False
        """Whether the network is."""

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> dict[str, Any]:
        await self._reach(f"get {kind.name}")
        return await self._api.get(kind, name, namespace)

    async def list(self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = "") -> ObjectList:
        await self._reach(f"list {kind.plural}")
        found = await self._api.list(kind, namespace)
        return ObjectList([obj for obj in found.items if _matches(obj, fields)], found.resource_version)

    async def create(
        self, kind: Kind, body: Mapping[str, Any], namespace: str | None = None, *, fence: Fence | None = None
    ) -> dict[str, Any]:
        await self._reach(f"create {kind.name}")
        return await self._write(f"created {kind.name}", self._api.create(kind, body, namespace))

    async def patch(
        self,
        kind: Kind,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
        *,
        subresource: str = "",
        expired_lease: str | None = None,
    ) -> dict[str, Any]:
        await self._reach(f"patch {kind.name}")
        if expired_lease in self._api.alive:
            raise LeaseAlive(f"{expired_lease} lives", retry_after_s=0.02)
        if kind is WORKLOAD:
            holder = section(await self._api.get(kind, name, namespace), "status", "claim").get("node")
            if holder not in (None, "", self._node, expired_lease):
                raise ApiForbidden(f"{name} is claimed by {holder}")
        written = self._api.patch(kind, name, patch, namespace, subresource=subresource)
        return await self._write(f"patched {kind.name}", written)

    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str,
        silence_limit_s: float = 60.0,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        if on_open is not None:
            on_open()
        sent = int(resource_version)
        while True:
            news = self._api.news
            for event in list(self._api.log):
                if int(event.resource_version) <= sent or event.object["kind"] != kind.name:
                    continue
                sent = int(event.resource_version)
                gone = event.type is EventType.DELETED or not _matches(event.object, fields)
                yield WatchEvent(EventType.DELETED if gone else EventType.MODIFIED, event.object)
            await news.wait()

    async def _reach(self, what: str) -> None:
        self._fate.step(what)
        await asyncio.sleep(0)
        if self.cut:
            raise ApiUnavailable("the network is cut")

    async def _write(self, what: str, written: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await written
        if self._api.lost_answers:
            self._api.lost_answers -= 1
            raise ApiUnavailable(f"{what}, and the answer was lost")
        self._fate.step(what)
        return answer


class MortalJournal(Journal):
    """A real journal."""

    def __init__(self, folder: Path, fate: Fate) -> None:
        super().__init__(folder)
        self._fate = fate

    def write(self, key: str, value: dict[str, Any]) -> None:
        self._fate.step(f"write {key}")
        super().write(key, value)
        self._fate.step(f"wrote {key}")

    def remove(self, key: str) -> None:
        self._fate.step(f"remove {key}")
        super().remove(key)
        self._fate.step(f"removed {key}")


class MortalLocations(Locations):
    """Real locations."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    async def call(self, name: str, work: Callable[[Repository], T], limit_s: float) -> T:
        self._fate.step("call storage")
        result = await super().call(name, work, limit_s)
        self._fate.step("called storage")
        return result


class MortalHooks:
    """Stands for runtime.hook.HookRunner: hooks are noted on the container that they are run in."""

    def __init__(self, containers: Mapping[str, Any], fate: Fate) -> None:
        self._containers = containers
        self._fate = fate

    async def run(self, container_id: str, pid: int, command: Sequence[str], limit_s: float) -> None:
        self._fate.step("run a hook")
        container = self._containers[container_id]
        assert container.running
        assert not container.frozen
        container.hooks.append(" ".join(command))
        self._fate.step("ran a hook")


class MortalConversation(Conversation):
    """A real conversation with the shim."""

    def __init__(self, inner: Conversation, fate: Fate) -> None:
        super().__init__(inner.question, inner._reader, inner._writer)
        self._write_lock = inner._write_lock
        self._inner = inner
        self._fate = fate

    async def answer(self, reply: dict[str, Any]) -> None:
        self._fate.step(f"answer {next(iter(reply.items()))}")
        await super().answer(reply)
        self._fate.step(f"answered {next(iter(reply.items()))}")

    async def outcome(self) -> dict[str, Any]:
        self._fate.step("await the outcome")
        outcome = await super().outcome()
        self._fate.step("have the outcome")
        return outcome


def _matches(obj: Mapping[str, Any], fields: str) -> bool:
    for term in filter(None, fields.split(",")):
        path, _, wanted = term.partition("=")
        *folders, last = path.rstrip("!").split(".")
        if (str(section(obj, *folders).get(last) or "") == wanted) is path.endswith("!"):
            return False
    return True
