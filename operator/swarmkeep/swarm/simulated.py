"""A Swarm in memory, for tests and rehearsals: schedules, reschedules and forgets as Docker's does, on command.

Time does not pass by itself: what Swarm would do in the background is done by `settle`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from swarmkeep.errors import Conflict, NotFound, Unavailable
from swarmkeep.model.swarm import STACK_LABEL, Mode, Service, SwarmNode, Task
from swarmkeep.plan.placement import may_run_on

_TASKS_REMEMBERED = 5
"""Docker's default for --task-history-limit."""


class SimulatedSwarm:
    """Keeps the port in port.py; the other methods are the hands of whoever rehearses."""

    def __init__(self, *node_names: str) -> None:
        self._ids = itertools.count(1)
        self._clock = datetime.now(UTC)
        self._nodes: dict[str, SwarmNode] = {}
        self._services: dict[str, Service] = {}
        self._tasks: dict[str, Task] = {}
        self._listeners: set[asyncio.Event] = set()
        self.problem = ""
        """When set, every call raises Unavailable with this text."""
        for name in node_names:
            self.add_node(name)

    async def nodes(self) -> tuple[SwarmNode, ...]:
        """As the port says."""
        self._check()
        return tuple(self._nodes.values())

    async def services(self) -> tuple[Service, ...]:
        """As the port says."""
        self._check()
        return tuple(self._services.values())

    async def tasks(self, service_ids: Collection[str]) -> tuple[Task, ...]:
        """As the port says."""
        self._check()
        wanted = frozenset(service_ids)
        return tuple(task for task in self._tasks.values() if task.service_id in wanted)

    async def constrain(self, service_id: str, constraints: Collection[str], version: int) -> None:
        """As the port says."""
        self._check()
        service = self._services.get(service_id)
        if service is None:
            raise NotFound(f"the service {service_id} is gone")
        if service.version != version:
            raise Conflict(f"the service {service.name} has changed meanwhile")
        missing = tuple(item for item in constraints if item not in service.constraints)
        if missing:
            self._rewrite(service, constraints=service.constraints + missing)

    async def release(self, service_id: str, constraints: Collection[str], version: int) -> None:
        """As the port says."""
        self._check()
        service = self._services.get(service_id)
        if service is None:
            return
        left = tuple(item for item in service.constraints if item not in constraints)
        if left != service.constraints or service.version == version:
            self._rewrite(service, constraints=left)

    async def changes(self) -> AsyncGenerator[None, None]:
        """As the port says."""
        news = asyncio.Event()
        news.set()
        self._listeners.add(news)
        try:
            while True:
                await news.wait()
                news.clear()
                yield
        finally:
            self._listeners.discard(news)

    async def close(self) -> None:
        """As the port says."""

    def add_node(self, name: str) -> SwarmNode:
        """A new worker joins."""
        node = SwarmNode(f"node{next(self._ids)}", name, True, "active", False, f"10.0.0.{len(self._nodes) + 1}")
        self._nodes[node.id] = node
        self._tell()
        return node

    def node(self, name: str) -> SwarmNode:
        """The node of that host name. Raises KeyError."""
        return next((node for node in self._nodes.values() if node.hostname == name), None) or self._nodes[name]

    def set_node(self, name: str, *, ready: bool = True, availability: str = "active") -> None:
        """A node dies, comes back, is drained."""
        node = self.node(name)
        self._nodes[node.id] = replace(node, ready=ready, availability=availability)
        self.settle()

    def create(
        self,
        name: str,
        *,
        replicas: int = 1,
        mode: Mode = Mode.REPLICATED,
        labels: Mapping[str, str] | None = None,
        stack: str | None = None,
        constraints: tuple[str, ...] = (),
    ) -> Service:
        """`docker service create`."""
        marks = {**(labels or {}), **({STACK_LABEL: stack} if stack else {})}
        service = Service(
            id=f"svc{next(self._ids)}",
            name=name,
            mode=mode,
            replicas=replicas if mode is Mode.REPLICATED else 0,
            image="simulated:1",
            force_update=0,
            created_at=self._tick(),
            labels=marks,
            container_labels={STACK_LABEL: stack} if stack else {},
            constraints=constraints,
            version=next(self._ids),
        )
        self._services[service.id] = service
        self.settle()
        return service

    def service(self, name: str) -> Service:
        """The service of that name. Raises KeyError."""
        return next((one for one in self._services.values() if one.name == name), None) or self._services[name]

    def scale(self, name: str, replicas: int) -> None:
        """`docker service scale`."""
        service = self.service(name)
        self._rewrite(service, replicas=replicas)

    def force(self, name: str) -> None:
        """`docker service update --force`: new tasks in the same slots."""
        service = self.service(name)
        for task in self._live(service):
            self._end(task, "shutdown")
        self._rewrite(service, force_update=service.force_update + 1)

    def remove(self, name: str) -> None:
        """`docker service rm`: its tasks are gone at once."""
        service = self.service(name)
        del self._services[service.id]
        for task in [task for task in self._tasks.values() if task.service_id == service.id]:
            del self._tasks[task.id]
        self._tell()

    def fail_task(self, name: str, slot: int = 1) -> None:
        """The container of a slot ends by itself; Swarm makes another."""
        for task in self._live(self.service(name)):
            if task.slot == slot:
                self._end(task, "failed", "task: non-zero exit (1)")
        self.settle()

    def task(self, name: str, slot: int = 1) -> Task:
        """The task of a slot that Swarm wants now. Raises LookupError."""
        found = [task for task in self._live(self.service(name)) if task.slot == slot]
        if not found:
            raise LookupError(f"no live task in slot {slot} of {name}")
        return found[0]

    def settle(self) -> None:
        """Does what Swarm's orchestrators would: ends tasks without a place, makes the missing, forgets the old."""
        able = {node.id for node in self._nodes.values() if node.ready and node.availability == "active"}
        for service in self._services.values():
            if service.mode is Mode.JOB:
                continue
            for task in self._live(service):
                if task.node_id not in able or not may_run_on(service.constraints, self._nodes[task.node_id]):
                    self._end(task, "shutdown" if self._nodes[task.node_id].ready else task.state)
            fitting = [node_id for node_id in able if may_run_on(service.constraints, self._nodes[node_id])]
            self._fill(service, sorted(fitting))
            self._forget(service)
        self._tell()

    def _rewrite(self, service: Service, **fields: Any) -> None:
        self._services[service.id] = replace(service, version=next(self._ids), **fields)
        self.settle()

    def _fill(self, service: Service, able: list[str]) -> None:
        live = self._live(service)
        if service.mode is Mode.GLOBAL:
            for node_id in able:
                if all(task.node_id != node_id for task in live):
                    self._start(service, None, node_id)
            return
        for task in sorted(live, key=lambda task: task.slot or 0)[service.replicas :]:
            self._end(task, "shutdown")
        taken = {task.slot for task in self._live(service)}
        for slot in itertools.count(1):
            if len(taken) >= service.replicas or not able:
                return
            if slot not in taken:
                wanted = [task for task in self._tasks.values() if task.wanted]

                def load(node_id: str, wanted: list[Task] = wanted) -> tuple[int, int, str]:
                    mine = [task.service_id for task in wanted if task.node_id == node_id]
                    return mine.count(service.id), len(mine), node_id

                self._start(service, slot, min(able, key=load))
                taken.add(slot)

    def _start(self, service: Service, slot: int | None, node_id: str) -> None:
        now = self._tick()
        task_id = f"task{next(self._ids)}"
        self._tasks[task_id] = Task(
            task_id, service.id, slot, node_id, "running", "running", f"container-of-{task_id}", "started", now, now
        )

    def _end(self, task: Task, state: str, message: str = "") -> None:
        self._tasks[task.id] = replace(
            task, state=state, desired_state="shutdown", message=message, state_since=self._tick()
        )

    def _forget(self, service: Service) -> None:
        places: dict[int | str, list[Task]] = {}
        for task in self._tasks.values():
            if task.service_id == service.id and not task.wanted:
                places.setdefault(task.slot or task.node_id, []).append(task)
        for ended in places.values():
            for task in sorted(ended, key=lambda task: str(task.created_at))[:-_TASKS_REMEMBERED]:
                del self._tasks[task.id]

    def _live(self, service: Service) -> list[Task]:
        return [task for task in self._tasks.values() if task.service_id == service.id and task.wanted]

    def _tick(self) -> datetime:
        """Every happening has a time of its own, near the real one."""
        self._clock = max(self._clock + timedelta(microseconds=1), datetime.now(UTC))
        return self._clock

    def _check(self) -> None:
        if self.problem:
            raise Unavailable(self.problem)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener.set()
