"""This node's containers through the Docker API. The agent lists, inspects, follows and ends them here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
import requests.exceptions
import structlog

from swarmkeep.agent.runtime.creation import Creation
from swarmkeep.agent.runtime.events import ContainerEvent, EventStream
from swarmkeep.agent.runtime.facts import ContainerFacts, read_facts
from swarmkeep.agent.runtime.processes import is_alive, kill_container_processes, kill_members, member
from swarmkeep.agent.runtime.stored_facts import read_swarm_files
from swarmkeep.errors import HostError, NotFound, Unavailable

__all__ = ["ContainerEvent", "ContainerFacts", "Containers", "KillFailed"]

log = structlog.get_logger(__name__)

T = TypeVar("T")

CALL_LIMIT_S = 10.0
"""The longest that one question to Docker may take."""
STOP_SLACK_S = 15.0
"""How much longer than its grace period a stop may take: docker-py waits ten seconds more than it is told."""
PULL_LIMIT_S = 900.0
"""The longest that pulling an image may take."""
PULL_SILENCE_S = 60.0
"""The longest that a pull may say nothing."""
RECONNECT_S = (0.2, 5.0)
"""The first and the longest pause before Docker's events are connected again."""
STEADY_S = 10.0
"""A connection that lasted this long was a good one: the pauses begin anew."""


class KillFailed(HostError):
    """A container goes on running although it was killed."""

    reason = "KillFailed"


@dataclass(frozen=True, slots=True)
class ListedContainer:
    """A container as Docker's list shows it."""

    id: str
    name: str
    labels: Mapping[str, str]
    running: bool
    """Paused or between two tries of its restart policy counts as well."""


class Containers:
    """Docker on this node. Every method answers within a limit or raises Unavailable."""

    def __init__(self, docker_url: str, docker_root: Path | None = None, *, call_limit_s: float = CALL_LIMIT_S) -> None:
        """`docker_url` as in DOCKER_HOST; nothing is connected yet. `docker_root` has what the API does not tell."""
        self._url = docker_url
        self._docker_root = docker_root
        self._call_limit_s = call_limit_s
        self._client: docker.DockerClient | None = None
        self._client_lock = threading.Lock()
        self._known: dict[str, ContainerFacts] = {}

    async def list_running(self) -> list[ContainerFacts]:
        """All running containers, paused ones included; one that ends meanwhile is left out. Raises Unavailable.

        One whose process still lives is not asked about again: while Docker stops a container it answers no question
        about it, and the stop waits for us.
        """
        found = await self._call(lambda client: client.api.containers(filters={"status": ["running", "paused"]}))
        running = []
        for item in found:
            try:
                facts = await self.cached(item["Id"])
            except NotFound:
                continue
            if facts.running:
                running.append(facts)
        return running

    async def list_all(self) -> list[ListedContainer]:
        """All containers, running or not, as far as a list tells. Raises Unavailable."""
        found = await self._call(lambda client: client.api.containers(all=True))
        return [listed for item in found if (listed := _listed(item)) is not None]

    async def inspect(self, container_id: str) -> ContainerFacts:
        """What Docker knows of a container now. Raises NotFound, Unavailable.

        Docker does not answer while it starts or stops that very container: inside a conversation with the shim use
        `cached`, or stored_facts at create.
        """
        facts = read_facts(await self._call(lambda client: self._described(client, container_id)))
        self._known[facts.id] = facts
        return facts

    def _described(self, client: docker.DockerClient, container_id: str) -> Mapping[str, Any]:
        found: dict[str, Any] = client.api.inspect_container(container_id)
        if self._docker_root is not None:
            found |= read_swarm_files(self._docker_root, found["Id"])
        return found

    async def cached(self, container_id: str) -> ContainerFacts:
        """The last known facts, without Docker as long as their process lives: for what cannot wait, as fencing.

        Raises NotFound, Unavailable.
        """
        facts = self.known(container_id)
        return facts if facts is not None else await self.inspect(container_id)

    def known(self, container_id: str) -> ContainerFacts | None:
        """The last known facts as long as their process lives. Asks nobody."""
        facts = self._known.get(container_id)
        return facts if facts is not None and facts.running and is_alive(facts.pid, facts.id) else None

    async def member(self, container_id: str) -> int:
        """A process of a container of which Docker does not tell yet, as while it starts it; 0 for none."""
        return await asyncio.to_thread(member, container_id)

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        self._known.pop(container_id, None)

    async def kill_now(self, facts: ContainerFacts) -> None:
        """Ends a container at once, even frozen, even without Docker; returns when no process of it is left.

        Docker sees it die of SIGKILL and does what its restart policy says. Raises KillFailed.
        """
        if not await kill_container_processes(facts.pid, facts.id):
            raise KillFailed(f"container {facts.name} goes on running after SIGKILL: look at process {facts.pid}")

    async def end_unborn(self, container_id: str) -> None:
        """Kills whatever is in the cgroup of a container that Docker is still starting.

        Of a restore that is CRIU as well, so that it fails.
        """
        await asyncio.to_thread(kill_members, container_id)

    async def stop(self, container_id: str) -> None:
        """Stops a container as `docker stop` does, in its own time; nothing happens when it does not run.

        Raises NotFound, Unavailable.
        """
        limit_s = round((await self.cached(container_id)).stop_timeout_s + self._call_limit_s)

        def stop() -> None:
            # A client of its own: Docker answers only when the container has ended.
            client = docker.DockerClient(base_url=self._url, version="auto", timeout=limit_s)
            try:
                client.api.stop(container_id)
            finally:
                client.close()

        try:
            async with asyncio.timeout(limit_s + STOP_SLACK_S):
                await asyncio.to_thread(stop)
        except docker.errors.NotFound as error:
            raise NotFound(f"Docker does not know it: {error.explanation}") from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, TimeoutError, OSError) as error:
            raise Unavailable(f"Docker at {self._url} has not stopped {container_id}: {str(error)[:300]}") from error

    async def remove(self, container_id: str, *, volumes: bool = False) -> None:
        """Removes a container, running or not; nothing happens when it is gone. Raises Unavailable.

        With `volumes` those of its volumes that have no name go as well.
        """
        with contextlib.suppress(NotFound):
            await self._call(lambda client: client.api.remove_container(container_id, v=volumes, force=True))
        self.forget(container_id)

    async def ids_with_label(self, label: str) -> list[str]:
        """All containers with that label, running or not. Raises Unavailable."""
        found = await self._call(lambda client: client.api.containers(all=True, filters={"label": [label]}))
        return [str(item["Id"]) for item in found]

    async def create(self, config: Mapping[str, Any], name: str) -> str:
        """Has Docker create a container, as POST /containers/create describes it; returns its id.

        Raises Unavailable, NotFound when its image is not here.
        """
        made = await self._call(lambda client: client.api.create_container_from_config(dict(config), name))  # type: ignore[no-untyped-call]
        return str(made["Id"])

    async def start(self, container_id: str, limit_s: float) -> None:
        """Starts a container, which takes as long as the runtime makes it. Raises NotFound, Unavailable."""

        def start() -> None:
            client = docker.DockerClient(base_url=self._url, version="auto", timeout=round(limit_s))
            try:
                client.api.start(container_id)
            finally:
                client.close()

        try:
            async with asyncio.timeout(limit_s + 1):
                await asyncio.to_thread(start)
        except docker.errors.NotFound as error:
            raise NotFound(f"Docker cannot start it: {error.explanation}") from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, TimeoutError, OSError) as error:
            raise Unavailable(f"Docker at {self._url} cannot start it: {str(error)[:1000]}") from error

    async def create_like(self, creation: Creation) -> str:
        """Creates a container on all its networks; returns its id. What is half made is removed again.

        Raises Unavailable, NotFound.
        """
        made = await self.create(creation.body, creation.name)
        try:
            for network, endpoint in creation.further_networks.items():
                await self._call(_connecting(made, network, endpoint))
        except BaseException:
            await asyncio.shield(self.remove(made, volumes=True))
            raise
        return made

    async def image_id(self, reference: str) -> str | None:
        """The id of an image that this node has under that name or id; None when it has none. Raises Unavailable."""
        try:
            return str((await self._call(lambda client: client.images.get(reference))).id)
        except NotFound:
            return None

    async def ensure_image(self, reference: str) -> None:
        """Pulls an image unless this node has it. Raises Unavailable, NotFound when it cannot be had."""
        try:
            await self._call(lambda client: client.images.get(reference))
        except NotFound:
            await self._pull(reference)

    async def info(self) -> Mapping[str, Any]:
        """What GET /info answers. Raises Unavailable."""
        info: Mapping[str, Any] = await self._call(lambda client: client.api.info())
        return info

    async def images(self) -> Mapping[str, str]:
        """Ids of the images that are here by their names, by tag as well as by digest. Raises Unavailable."""
        found = await self._call(lambda client: client.api.images())
        return {
            name: str(item["Id"])
            for item in found
            for name in (*(item.get("RepoTags") or ()), *(item.get("RepoDigests") or ()))
            if "<none>" not in name
        }

    async def volumes(self) -> list[str]:
        """Names of the volumes that are here. Raises Unavailable."""
        found = await self._call(lambda client: client.api.volumes())
        return [str(item["Name"]) for item in found.get("Volumes") or ()]

    async def networks(self) -> list[Mapping[str, Any]]:
        """What GET /networks answers. Raises Unavailable."""
        return list(await self._call(lambda client: client.api.networks()))

    async def events(self) -> AsyncGenerator[ContainerEvent, None]:
        """Follows the containers for ever. A `resync` comes first, and after every gap."""
        pause_s, longest_s = RECONNECT_S
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            async with EventStream(self._connect) as stream:
                async for event in stream:
                    yield event
            if loop.time() - begun > STEADY_S:
                pause_s, _ = RECONNECT_S
            log.info("Docker's events broke off", docker=self._url, error=stream.error, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, longest_s)

    async def close(self) -> None:
        """Closes the connections."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    async def _pull(self, reference: str) -> None:
        def pull() -> None:
            # A client of its own: between two reports of a pull more time may pass than any answer may take.
            client = docker.DockerClient(base_url=self._url, version="auto", timeout=round(PULL_SILENCE_S))
            try:
                for line in client.api.pull(reference, stream=True, decode=True):
                    if "error" in line:
                        raise NotFound(f"Docker cannot pull {reference}: {line['error']}")
            finally:
                client.close()

        try:
            async with asyncio.timeout(PULL_LIMIT_S):
                await asyncio.to_thread(pull)
        except docker.errors.NotFound as error:
            raise NotFound(f"there is no image {reference}: {error.explanation}") from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, TimeoutError, OSError) as error:
            raise Unavailable(f"Docker at {self._url} cannot pull {reference}: {str(error)[:300]}") from error

    async def _call(self, question: Callable[[docker.DockerClient], T]) -> T:
        def ask() -> T:
            self._knock()
            with self._client_lock:
                if self._client is None:
                    self._client = self._connect()
                client = self._client
            return question(client)

        try:
            # The client has the same limit for each read; this one also ends an answer that trickles for ever.
            async with asyncio.timeout(self._call_limit_s + 1):
                return await asyncio.to_thread(ask)
        except docker.errors.NotFound as error:
            raise NotFound(f"Docker does not know it: {error.explanation}") from error
        except docker.errors.APIError as error:
            raise Unavailable(
                f"Docker at {self._url} does not do it: {str(error.explanation or error)[:300]}"
            ) from error
        except (docker.errors.DockerException, requests.exceptions.RequestException, TimeoutError, OSError) as error:
            raise Unavailable(f"Docker at {self._url} does not answer: {str(error)[:300]}") from error

    def _knock(self) -> None:
        """Fails at once when nobody listens; docker-py would leave its socket open then. Raises OSError."""
        if self._url.startswith("unix://"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(self._call_limit_s)
                probe.connect(self._url.removeprefix("unix://"))

    def _connect(self) -> docker.DockerClient:
        self._knock()
        # `auto` asks for the version: a fixed one would break with the next Docker.
        return docker.DockerClient(base_url=self._url, version="auto", timeout=round(self._call_limit_s))


def _listed(item: Mapping[str, Any]) -> ListedContainer | None:
    """One entry of GET /containers/json; None for one that is on its way out and has no name any more."""
    # Names with a second slash are what links of other containers call it.
    names = [name[1:] for name in item.get("Names") or () if name.startswith("/") and "/" not in name[1:]]
    if not names:
        return None
    running = item.get("State") in ("running", "paused", "restarting")
    return ListedContainer(str(item["Id"]), names[0], dict(item.get("Labels") or {}), running)


def _connecting(container_id: str, network: str, endpoint: Mapping[str, Any]) -> Callable[[docker.DockerClient], None]:
    def connect(client: docker.DockerClient) -> None:
        api: Any = client.api
        api.connect_container_to_network(container_id, network, **endpoint)

    return connect
