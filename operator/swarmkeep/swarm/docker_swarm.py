"""A real Swarm, through the Docker of one of its managers. Used by the operator."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from swarmkeep import errors
from swarmkeep.errors import Unavailable
from swarmkeep.model.swarm import Service, SwarmNode, Task
from swarmkeep.swarm.engine_api import read_node, read_service, read_task

T = TypeVar("T")

CALL_LIMIT_S = 10.0
"""The longest that one call may take."""
RECONNECT_S = 1.0
_SERVICES_AT_ONCE = 200
"""Services named in one question for tasks, so that the URL stays short."""
_EVENT_TYPES = ["node", "service"]


class DockerSwarm:
    """Keeps the port in port.py. docker-py is synchronous: each call runs in a thread of a small pool of its own."""

    def __init__(self, url: str, *, call_limit_s: float = CALL_LIMIT_S) -> None:
        """`url` is that of a Docker which is a manager, for example unix:///var/run/docker.sock."""
        self._url = url
        self._call_limit_s = call_limit_s
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="docker")
        self._client: docker.APIClient | None = None
        self._connecting = threading.Lock()

    async def nodes(self) -> tuple[SwarmNode, ...]:
        """As the port says."""
        return tuple(map(read_node, await self._call(lambda client: client.nodes())))

    async def services(self) -> tuple[Service, ...]:
        """As the port says."""
        return tuple(map(read_service, await self._call(lambda client: client.services())))  # type: ignore[no-untyped-call]

    async def tasks(self, service_ids: Collection[str]) -> tuple[Task, ...]:
        """As the port says."""
        wanted = sorted(service_ids)
        found: list[Task] = []
        for start in range(0, len(wanted), _SERVICES_AT_ONCE):
            part = wanted[start : start + _SERVICES_AT_ONCE]
            found += map(read_task, await self._call(lambda client, part=part: _tasks(client, part)))  # type: ignore[misc]
        return tuple(found)

    async def constrain(self, service_id: str, constraints: Collection[str], version: int) -> None:
        """As the port says."""

        def add(client: docker.APIClient) -> None:
            raw = _inspect(client, service_id)
            if raw is None:
                raise errors.NotFound(f"the service {service_id} is gone")
            if raw["Version"]["Index"] != version:
                raise errors.Conflict(f"the service {raw['Spec']['Name']} has changed meanwhile")
            there = _constraints(raw)
            missing = [item for item in constraints if item not in there]
            if missing:
                _write_constraints(client, raw, there + missing)

        await self._call(add)

    async def release(self, service_id: str, constraints: Collection[str], version: int) -> None:
        """As the port says."""

        def remove(client: docker.APIClient) -> None:
            raw = _inspect(client, service_id)
            if raw is None:
                return
            there = _constraints(raw)
            left = [item for item in there if item not in constraints]
            if left != there or raw["Version"]["Index"] == version:
                _write_constraints(client, raw, left)

        await self._call(remove)

    async def changes(self) -> AsyncGenerator[None, None]:
        """As the port says."""
        loop = asyncio.get_running_loop()
        while True:
            news = asyncio.Event()
            ended = asyncio.Event()
            try:
                stream = await self._call(lambda client: client.events(filters={"type": _EVENT_TYPES}))
            except Unavailable:
                await asyncio.sleep(RECONNECT_S)
                continue
            reader = threading.Thread(
                target=_follow, args=(stream, loop, news, ended), name="docker-events", daemon=True
            )
            reader.start()
            news.set()
            try:
                while not ended.is_set():
                    await news.wait()
                    news.clear()
                    yield
            finally:
                with contextlib.suppress(Exception):
                    stream.close()
            await asyncio.sleep(RECONNECT_S)

    async def close(self) -> None:
        """As the port says."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    async def _call(self, work: Callable[[docker.APIClient], T]) -> T:
        def run() -> T:
            try:
                return work(self._connected())
            except APIError as error:
                raise Unavailable(self._explain(error)) from error
            except (DockerException, requests.RequestException, OSError) as error:
                raise Unavailable(f"Docker at {self._url} does not answer: {error}") from error

        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, run)
        except RuntimeError:
            raise Unavailable(f"the connection to Docker at {self._url} was closed") from None
        try:
            return await asyncio.wait_for(future, self._call_limit_s)
        except TimeoutError:
            raise Unavailable(f"Docker at {self._url} has not answered within {self._call_limit_s:g} s") from None

    def _connected(self) -> docker.APIClient:
        with self._connecting:
            if self._client is None:
                # Asks the daemon for its version: it must be there for that.
                self._client = docker.APIClient(self._url, version="auto", timeout=max(1, round(self._call_limit_s)))
            return self._client

    def _explain(self, error: APIError) -> str:
        said = str(error.explanation or error)
        if error.status_code == 503 and "manager" in said:
            return (
                f"Docker at {self._url} is no manager of a Swarm (any more); run the operator on manager nodes: {said}"
            )
        if (error.status_code or 0) >= 500 and "leader" in said:
            return f"the Swarm has no leader: most of its managers are away ({said})"
        return f"Docker at {self._url} refused: {said}"


def _inspect(client: docker.APIClient, service_id: str) -> dict[str, Any] | None:
    try:
        return dict(client.inspect_service(service_id))  # type: ignore[no-untyped-call]
    except NotFound:
        return None


def _constraints(raw: dict[str, Any]) -> list[str]:
    return list((raw["Spec"]["TaskTemplate"].get("Placement") or {}).get("Constraints") or ())


def _write_constraints(client: Any, raw: dict[str, Any], constraints: list[str]) -> None:
    """Sends the service's own specification back, with other constraints. Raises Conflict.

    By hand, since docker-py's own call takes a specification to pieces and would lose what it does not know.
    """
    spec = raw["Spec"]
    placement = spec["TaskTemplate"].setdefault("Placement", {})
    placement["Constraints"] = constraints
    url = client._url("/services/{0}/update", raw["ID"])
    try:
        client._raise_for_status(client._post_json(url, data=spec, params={"version": raw["Version"]["Index"]}))
    except APIError as error:
        if "out of sequence" in str(error.explanation or error):
            raise errors.Conflict(f"the service {spec['Name']} has changed meanwhile") from None
        raise


def _tasks(client: docker.APIClient, service_ids: list[str]) -> list[dict[str, Any]]:
    """Docker refuses the whole question when one of the services is gone; then each half is asked by itself."""
    try:
        return list(client.tasks({"service": service_ids}))  # type: ignore[no-untyped-call]
    except NotFound:
        if len(service_ids) == 1:
            return []
    middle = len(service_ids) // 2
    return _tasks(client, service_ids[:middle]) + _tasks(client, service_ids[middle:])


def _follow(stream: Any, loop: asyncio.AbstractEventLoop, news: asyncio.Event, ended: asyncio.Event) -> None:
    """Runs in a thread of its own: turns each line of Docker's event stream into a nudge."""
    try:
        for _ in stream:
            loop.call_soon_threadsafe(news.set)
    except Exception:  # noqa: S110 - whatever cut the stream, the reader's end says so, and polls go on
        pass
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(ended.set)
        loop.call_soon_threadsafe(news.set)
