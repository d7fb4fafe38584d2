"""The whole server in this process, over etcd's twin in memory, for tests of the verbs. No TLS: tests say who calls."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from swarmkeep.apiserver.app import make_app
from swarmkeep.apiserver.authn import Role, User
from swarmkeep.apiserver.crds import publish
from swarmkeep.apiserver.drain import drain_namespaces
from swarmkeep.apiserver.namespaces import ensure_permanent
from swarmkeep.apiserver.resources import crd_documents, load_registry
from swarmkeep.apiserver.services import Services, make_services
from swarmkeep.etcd.memory import MemoryEtcd

WIDGETS = "/apis/example.dev/v1/namespaces/default/widgets"
WORKLOADS = "/apis/swarmkeep.dev/v1alpha1/namespaces/default/workloads"
NODE_LEASES = "/apis/coordination.k8s.io/v1/namespaces/swarmkeep-nodes/leases"
EVENTS = "/api/v1/namespaces/default/events"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

ADMIN = User("admin", Role.ADMIN)


class Clock:
    """Time that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reply:
    """What the server said."""

    def __init__(self, code: int, body: Any, headers: Mapping[str, str]) -> None:
        self.code = code
        self.body = body
        self.headers = headers

    @property
    def reason(self) -> str:
        return str(self.body.get("reason"))

    @property
    def message(self) -> str:
        return str(self.body.get("message"))

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.body["items"]]


class Api:
    """Calls the server as `user`."""

    def __init__(self, etcd: MemoryEtcd, services: Services, clock: Clock) -> None:
        self.etcd = etcd
        self.services = services
        self.clock = clock
        self.user = ADMIN
        self.client: TestClient[web.Request, web.Application]

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        data = None if raw is None else io.BytesIO(raw)
        sent = {**({"Content-Type": content_type} if body is not None else {}), **(headers or {})}
        async with self.client.request(method, path, params=query, data=data, headers=sent) as response:
            text = await response.text()
            decoded = json.loads(text) if response.content_type == "application/json" and text else text
            return Reply(response.status, decoded, dict(response.headers))

    async def get(self, path: str, **query: Any) -> Reply:
        return await self.call("GET", path, **query)

    async def create(self, path: str, body: Any, **query: Any) -> Reply:
        return await self.call("POST", path, body, **query)

    async def merge(self, path: str, body: Any, headers: Mapping[str, str] | None = None, **query: Any) -> Reply:
        return await self.call("PATCH", path, body, content_type=MERGE, headers=headers, **query)

    async def until(self, path: str, wanted: Callable[[Reply], bool]) -> None:
        """Asks until the answer is as wanted."""
        async with asyncio.timeout(5):
            while not wanted(await self.get(path)):  # noqa: ASYNC110 - a client has nothing but asking again
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def watch(self, path: str, **query: Any) -> AsyncIterator[Watching]:
        async with self.client.get(path, params={"watch": "true", **query}) as response:
            assert response.status == 200, await response.text()
            yield Watching(response)


class Watching:
    """A watch stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, dict[str, Any]]:
        """Type and object of the next event."""
        async with asyncio.timeout(5):
            line = await self._response.content.readline()
        assert line, "the stream ended"
        event = json.loads(line)
        return event["type"], event["object"]

    async def nothing(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes for a while."""
        try:
            async with asyncio.timeout(seconds):
                return await self._response.content.readline() == b""
        except TimeoutError:
            return True

    async def ended(self) -> bool:
        """Whether the stream ends without another word."""
        async with asyncio.timeout(5):
            return await self._response.content.readline() == b""


def widget(name: str = "w", size: int = 1, **more: Any) -> dict[str, Any]:
    """An object of the made-up kind."""
    metadata = {"name": name, **more.pop("metadata", {})}
    return {"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": size, **more}}


_crd_documents = cache(crd_documents)


@asynccontextmanager
async def serving(widget_crd: dict[str, Any], etcd: MemoryEtcd | None = None) -> AsyncIterator[Api]:
    """A server that follows its etcd, which may be shared with another."""
    etcd, clock = etcd or MemoryEtcd(), Clock()
    documents = [*_crd_documents(), widget_crd]
    services = make_services(etcd, load_registry(documents), clock=clock)
    await ensure_permanent(etcd)
    await publish(etcd, documents)
    api = Api(etcd, services, clock)
    tasks = [asyncio.create_task(services.hub.run()), asyncio.create_task(drain_namespaces(services))]
    await asyncio.wait_for(services.hub.ready.wait(), 5)
    app = make_app(services, authenticate=lambda _: api.user)
    try:
        async with TestClient(TestServer(app)) as client:
            api.client = client
            yield api
            services.history.close()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
