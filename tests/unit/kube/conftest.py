"""A small real HTTP server that behaves like the API, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from swarmkeep.kube.client import Client

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]

COLLECTION = "/apis/swarmkeep.dev/v1alpha1/namespaces/default/workloads"


class ScriptedApi:
    """Workloads of one namespace in memory, with a log that watches are served from.

    `faults` are used up one for each request before it is served; `requests` tells what was asked.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[int, str, dict[str, Any]]] = []
        self.revision = 10
        self.compacted = 0
        self.faults: list[Fault] = []
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.page_size = 0
        self.url = ""
        self._news = asyncio.Event()
        self._streams: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        self.end_streams()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def put(self, name: str, **fields: Any) -> dict[str, Any]:
        """Creates or changes an object behind the clients' backs."""
        self.revision += 1
        known = name in self.objects
        metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": str(self.revision)}
        obj = {"apiVersion": "swarmkeep.dev/v1alpha1", "kind": "Workload", "metadata": metadata, **fields}
        self.objects[name] = obj
        self._tell("MODIFIED" if known else "ADDED", obj)
        return obj

    def remove(self, name: str) -> None:
        self.revision += 1
        obj = self.objects.pop(name)
        self._tell("DELETED", {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}})

    def compact(self) -> None:
        """Forgets the log: watches that begin before now get 410."""
        self.compacted = self.revision
        self.log.clear()

    def end_streams(self) -> None:
        """Cuts all open watches without a word."""
        for task in self._streams:
            task.cancel()

    def _tell(self, type_: str, obj: dict[str, Any]) -> None:
        self.log.append((self.revision, type_, obj))
        self._news.set()
        self._news = asyncio.Event()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        if self.faults:
            return await self.faults.pop(0)(request)
        if request.path.startswith(COLLECTION + "/"):
            obj = self.objects.get(request.path.rpartition("/")[2])
            return web.json_response(obj) if obj else status_response(404, "NotFound", "no such workload")
        if request.query.get("watch"):
            return await self._watch(request)
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        start = int(request.query.get("continue") or 0)
        items = [self.objects[name] for name in sorted(self.objects)]
        metadata = {"resourceVersion": str(self.revision)}
        if self.page_size and "limit" in request.query and start + self.page_size < len(items):
            metadata["continue"] = str(start + self.page_size)
            items = items[start : start + self.page_size]
        else:
            items = items[start:]
        return web.json_response({"kind": "WorkloadList", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        sent = int(request.query["resourceVersion"])
        try:
            if sent < self.compacted:
                await response.write(line("ERROR", status(410, "Expired", "too old resource version")))
                return response
            while True:
                news = self._news
                for revision, type_, obj in self.log:
                    if revision > sent:
                        await response.write(line(type_, obj))
                        sent = revision
                await news.wait()
        finally:
            self._streams.discard(task)


def line(type_: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": obj}).encode() + b"\n"


def status(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


def status_response(code: int, reason: str, message: str, **headers: str) -> web.Response:
    return web.json_response(status(code, reason, message), status=code, headers=headers)


def answers(code: int, reason: str, message: str = "no", **headers: str) -> Fault:
    """Refuses one request."""

    async def fault(request: web.Request) -> web.StreamResponse:
        return status_response(
            code, reason, message, **{name.replace("_", "-"): text for name, text in headers.items()}
        )

    return fault


async def hangs(request: web.Request) -> web.StreamResponse:
    """Never answers."""
    await asyncio.sleep(60)
    raise AssertionError("unreachable")


async def cuts(request: web.Request) -> web.StreamResponse:
    """Closes the connection instead of answering."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def streams(*chunks: bytes, then: str = "end") -> Fault:
    """Answers a watch with these bytes, then ends the stream, cuts it, or stays silent."""

    async def fault(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then == "silence":
            await asyncio.sleep(60)
        if then == "cut":
            assert request.transport is not None
            request.transport.close()
        return response

    return fault


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    api = ScriptedApi()
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
async def client(api: ScriptedApi) -> AsyncIterator[Client]:
    async with Client([api.url], None, timeout_s=2.0) as client:
        yield client


@pytest.fixture
def faults() -> SimpleNamespace:
    """What the tests build misbehaviour from; conftest modules cannot be imported."""
    return SimpleNamespace(
        answers=answers, hangs=hangs, cuts=cuts, streams=streams, line=line, status=status, scripted_api=ScriptedApi
    )
