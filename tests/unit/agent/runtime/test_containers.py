"""Docker's API, answered by a small server at a unix socket that a test can break."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from swarmkeep.agent.runtime import containers as module
from swarmkeep.agent.runtime.containers import ContainerEvent, Containers, ListedContainer
from swarmkeep.agent.runtime.events import RESYNC
from swarmkeep.errors import NotFound, Unavailable

from .test_facts import INSPECTION, changed


class Docker:
    """Knows some containers; can fall silent, break off its events, and go away."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.containers: dict[str, dict[str, Any]] = {}
        self.listed: dict[str, Any] = {}
        """What the list says of each, beside its id."""
        self.slow_s = 0.0
        self.stop_s = 0.0
        self.stopped: list[str] = []
        """What each stop said of the grace period: nothing, so that the container's own holds."""
        self.pulled: list[tuple[str, dict[str, Any]]] = []
        """Images that were pulled, and who said that he may."""
        self.events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._path = path
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/version", self._version)
        app.router.add_get("/{api}/containers/json", self._list)
        app.router.add_get("/{api}/containers/{id}/json", self._inspect)
        app.router.add_post("/{api}/containers/{id}/stop", self._stop)
        app.router.add_delete("/{api}/containers/{id}", self._remove)
        app.router.add_get("/{api}/images/json", self._images)
        app.router.add_get("/{api}/images/{name:.+}/json", self._image)
        app.router.add_post("/{api}/images/create", self._pull)
        app.router.add_get("/{api}/events", self._events)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._path)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": "1.51"})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response([{"Id": container_id, **self.listed} for container_id in self.containers])

    async def _images(self, _: web.Request) -> web.Response:
        tagged = {"Id": "sha256:1", "RepoTags": ["redis:7", "redis:latest"], "RepoDigests": ["redis@sha256:aa"]}
        dangling = {"Id": "sha256:2", "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}
        return web.json_response([tagged, dangling, {"Id": "sha256:3", "RepoTags": None}])

    async def _image(self, _: web.Request) -> web.Response:
        return web.json_response({"message": "No such image"}, status=404)

    async def _pull(self, request: web.Request) -> web.Response:
        raw = request.headers.get("X-Registry-Auth", "")
        self.pulled.append((request.query["fromImage"], json.loads(base64.urlsafe_b64decode(raw)) if raw else {}))
        return web.json_response({"status": "Pulling"})

    async def _inspect(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.slow_s)
        found = self.containers.get(request.match_info["id"])
        if not found:
            return web.json_response({"message": "No such container"}, status=404)
        return web.json_response(found)

    async def _stop(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.stop_s)
        if request.match_info["id"] not in self.containers:
            return web.json_response({"message": "No such container"}, status=404)
        self.stopped.append(request.query_string)
        return web.Response(status=204)

    async def _remove(self, request: web.Request) -> web.Response:
        if self.containers.pop(request.match_info["id"], None) is None:
            return web.json_response({"message": "No such container"}, status=404)
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while (event := await self.events.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response


@pytest.fixture
async def docker(tmp_path: Path) -> AsyncIterator[Docker]:
    docker = Docker(tmp_path / "docker.sock")
    docker.containers["a"] = {**INSPECTION, "Id": "a"}
    await docker.start()
    yield docker
    await docker.stop()


@pytest.fixture
async def containers(docker: Docker) -> AsyncIterator[Containers]:
    containers = Containers(docker.url, call_limit_s=2)
    yield containers
    await containers.close()


async def test_lists_what_runs(docker: Docker, containers: Containers) -> None:
    docker.containers["b"] = {**changed(State__Running=False), "Id": "b"}
    docker.containers["vanished"] = {}
    assert [facts.id for facts in await containers.list_running()] == ["a"]


@pytest.mark.parametrize(
    ("state", "running"),
    [("running", True), ("paused", True), ("restarting", True), ("exited", False), ("dead", False)],
)
async def test_lists_all_with_their_own_names(
    docker: Docker, containers: Containers, state: str, running: bool
) -> None:
    docker.listed = {"Names": ["/proxy/link", "/web"], "Labels": {"keep": "yes"}, "State": state}
    assert await containers.list_all() == [ListedContainer("a", "web", {"keep": "yes"}, running)]
    docker.listed = {"Names": [], "Labels": None, "State": "removing"}
    assert await containers.list_all() == []


async def test_names_images_by_tag_and_by_digest(docker: Docker, containers: Containers) -> None:
    assert await containers.images() == dict.fromkeys(("redis:7", "redis:latest", "redis@sha256:aa"), "sha256:1")


async def test_says_that_a_container_is_not_there(containers: Containers) -> None:
    with pytest.raises(NotFound):
        await containers.inspect("x")


async def test_adds_to_an_inspection_what_only_dockers_files_tell(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "containers/a/mounts/secrets").mkdir(parents=True)
    (tmp_path / "containers/a/mounts/secrets/s1").touch()
    docker.containers["b"] = {**INSPECTION, "Id": "b"}
    containers = Containers(docker.url, tmp_path, call_limit_s=2)
    facts = await containers.inspect("a")
    assert facts.settled == ("secret or config s1",)
    assert facts.raw["SwarmFiles"] == ["s1"]
    # Of one whose files are gone, or lie elsewhere, the API still tells all that fencing needs.
    assert (await containers.inspect("b")).running
    await containers.close()


async def test_says_that_docker_is_away_and_finds_it_again(docker: Docker, containers: Containers) -> None:
    assert (await containers.inspect("a")).name == "redis.1.xyz"
    await docker.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        await containers.inspect("a")
    await docker.start()
    assert (await containers.inspect("a")).name == "redis.1.xyz"


async def test_does_not_wait_for_ever(docker: Docker) -> None:
    containers = Containers(docker.url, call_limit_s=1)
    docker.slow_s = 5
    with pytest.raises(Unavailable):
        await containers.inspect("a")
    await containers.close()


async def test_remembers_facts_for_when_docker_is_away(
    docker: Docker, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = await containers.inspect("a")
    await docker.stop()
    monkeypatch.setattr(module, "is_alive", lambda pid, container_id: (pid, container_id) == (323, "a"))
    assert await containers.cached("a") == facts
    monkeypatch.setattr(module, "is_alive", lambda pid, container_id: False)
    with pytest.raises(Unavailable):
        await containers.cached("a")


async def test_removes_what_may_be_gone_already(docker: Docker, containers: Containers) -> None:
    await containers.remove("a")
    await containers.remove("a")
    assert docker.containers == {}


async def test_stops_in_the_containers_own_time(docker: Docker, tmp_path: Path) -> None:
    containers = Containers(docker.url, call_limit_s=1.0)
    await containers.inspect("a")
    docker.stop_s = 2.5
    await containers.stop("a")
    assert docker.stopped == [""], "slower than any answer may be, and with no grace period but its own"
    docker.stop_s = 0.0
    with pytest.raises(NotFound):
        await containers.stop("b")
    await docker.stop()
    with pytest.raises(Unavailable):
        await containers.stop("a")
    await containers.close()


async def test_follows_events_over_a_broken_connection(
    docker: Docker, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECONNECT_S", (0.01, 0.05))
    events = containers.events()
    async with asyncio.timeout(20):
        assert await anext(events) == RESYNC
        docker.events.put_nowait({"Action": "exec_start: sh -c x", "Actor": {"ID": "a"}})
        docker.events.put_nowait({"Action": "die", "Actor": {"ID": "a"}})
        assert await anext(events) == ContainerEvent("exec_start", "a")
        assert await anext(events) == ContainerEvent("die", "a")
        docker.events.put_nowait(None)
        assert await anext(events) == RESYNC
        await docker.stop()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await docker.start()
        assert await waiting == RESYNC
    await events.aclose()


async def test_an_image_is_pulled_as_who_has_logged_in_on_the_node(
    docker: Docker, containers: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    await containers.ensure_image("registry.example.com/redis@sha256:aa")
    (tmp_path / "config").mkdir()
    login = base64.b64encode(b"swarm:secret").decode()
    (tmp_path / "config/config.json").write_text(json.dumps({"auths": {"registry.example.com": {"auth": login}}}))
    # Logged in meanwhile: nothing has to be restarted.
    await containers.ensure_image("registry.example.com/redis@sha256:aa")
    await containers.ensure_image("other.example.com/redis@sha256:aa")
    names = [(image, found.get("username"), found.get("password")) for image, found in docker.pulled]
    assert names == [
        ("registry.example.com/redis", None, None),
        ("registry.example.com/redis", "swarm", "secret"),
        ("other.example.com/redis", None, None),
    ]
