"""What is around the agents of the room: a container, and stand-ins for Docker, the kernel, CRIU and the lease."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmkeep.agent.runtime.containers import ContainerEvent, ContainerFacts
from swarmkeep.agent.runtime.dump import ENDED, LOG, DumpRequest, DumpResult
from swarmkeep.agent.runtime.dump_stats import DumpStats
from swarmkeep.agent.runtime.facts import read_facts
from swarmkeep.errors import DumpFailed, HostError, NotFound
from swarmkeep.plan.protection import SERVICE_ID, SERVICE_NAME, TASK_ID, TASK_NAME

from .mortal import Fate

if TYPE_CHECKING:
    from .room import Machine

NEVER = "0001-01-01T00:00:00Z"


class Container:
    """One container of Docker's and its process."""

    def __init__(self, folder: Path, id: str, plain: str = "") -> None:
        self.folder = folder
        self.frozen = False
        self._ended = asyncio.Event()
        self.hooks: list[str] = []
        """What was run in it."""
        self.came_up: list[str] = []
        """How its process came up: `fresh` or `restored vN`. More than one is a disaster."""
        for name in ("upper", "rootfs"):
            (folder / name).mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"root": {"path": str(folder / "rootfs")}}))
        labels = {SERVICE_ID: "svc1", SERVICE_NAME: "redis", TASK_ID: f"task-{id}", TASK_NAME: f"redis.1.task-{id}"}
        if plain:
            labels = {}
        self.inspection: dict[str, Any] = {
            "Id": id,
            "Name": f"/{plain or f'redis.1.{id}'}",
            "Created": "2026-01-01T00:00:00Z",
            "Image": "sha256:1",
            "Config": {"Labels": labels, "Image": "redis", "Cmd": ["redis-server"]},
            "State": {"Running": False, "Pid": 0, "ExitCode": 0, "StartedAt": NEVER, "FinishedAt": NEVER},
            "HostConfig": {},
            "GraphDriver": {"Data": {"UpperDir": str(folder / "upper")}},
            "Mounts": [],
        }

    @property
    def facts(self) -> ContainerFacts:
        return read_facts(json.loads(json.dumps(self.inspection)))

    @property
    def running(self) -> bool:
        return bool(self.inspection["State"]["Running"])

    async def gone(self, limit_s: float) -> None:
        """Until its process is, whoever has ended it."""
        async with asyncio.timeout(limit_s):
            await self._ended.wait()

    def begin(self, how: str) -> None:
        self.came_up.append(how)
        self.inspection["State"] |= {"Running": True, "Pid": 4711, "StartedAt": now_text()}

    def end(self, exit_code: int) -> None:
        self._ended.set()
        self.frozen = False
        self.inspection["State"] |= {"Running": False, "Pid": 0, "ExitCode": exit_code, "FinishedAt": now_text()}


class Heartbeat:
    """Stands for agent.heartbeat.Heartbeat."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def age(self) -> timedelta:
        return self._machine.lease_age


class Docker:
    """Stands for runtime.containers.Containers."""

    def __init__(self, machine: Machine, fate: Fate) -> None:
        self._machine = machine
        self._fate = fate

    async def list_running(self) -> list[ContainerFacts]:
        return [container.facts for container in self._machine.containers.values() if container.running]

    async def inspect(self, container_id: str) -> ContainerFacts:
        if container_id not in self._machine.containers:
            raise NotFound(f"there is no container {container_id}")
        return self._machine.containers[container_id].facts

    async def cached(self, container_id: str) -> ContainerFacts:
        return await self.inspect(container_id)

    def known(self, container_id: str) -> ContainerFacts | None:
        container = self._machine.containers.get(container_id)
        return container.facts if container is not None and container.running else None

    async def member(self, container_id: str) -> int:
        facts = self.known(container_id)
        return facts.pid if facts is not None else 0

    def forget(self, container_id: str) -> None:
        pass

    async def end_unborn(self, container_id: str) -> None:
        self._machine.ended.set()

    async def remove(self, container_id: str) -> None:
        self._machine.containers.pop(container_id, None)

    async def kill_now(self, facts: ContainerFacts) -> None:
        self._fate.step("kill")
        if self._machine.containers[facts.id].running:
            self._machine.containers[facts.id].end(137)
        self._fate.step("killed")

    async def events(self) -> AsyncGenerator[ContainerEvent, None]:
        while True:
            await self._machine.changed.wait()
            self._machine.changed.clear()
            yield ContainerEvent("", "start")


class Kernel:
    """Stands for runtime.freezer.Freezer."""

    def __init__(self, machine: Machine, fate: Fate) -> None:
        self._machine = machine
        self._fate = fate

    async def freeze(
        self, container_id: str, pid: int, *, keep: bool, beforehand: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        if beforehand is not None:
            await beforehand()
        self._fate.step("freeze")
        if not self._machine.containers[container_id].running:
            raise HostError("no such process")
        self._machine.containers[container_id].frozen = True
        self._fate.step("froze")

    async def thaw(self, container_id: str, pid: int) -> None:
        self._fate.step("thaw")
        self._machine.containers[container_id].frozen = False
        self._fate.step("thawed")


class Dumper:
    """Stands for runtime.dump.Dumper: the image says which version it is."""

    def __init__(self, machine: Machine, fate: Fate) -> None:
        self._machine = machine
        self._fate = fate

    async def begin(self, request: DumpRequest) -> None:
        """Nothing can be begun early here."""
        assert not self._machine.containers[request.container_id].frozen

    async def dump(self, request: DumpRequest, begun: None = None) -> DumpResult:
        assert self._machine.containers[request.container_id].frozen
        container = self._machine.containers[request.container_id]
        self._fate.step("dump")
        if self._machine.dump_error:
            raise DumpFailed(self._machine.dump_error)
        (request.image_dir / "pages").write_text(request.image_dir.parent.name)
        if not request.leave_running:
            (request.work_dir / LOG).write_text(ENDED)
            container.end(137)
            self._fate.step("dumped")
        return DumpResult(DumpStats(), 0.0)


def now_text() -> str:
    """The time as Docker writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
