"""SwarmKeep itself: a Swarm service under a policy, and a Checkpoint object for each version."""

from __future__ import annotations

import asyncio
import select
import subprocess
import time
from datetime import datetime
from typing import Any

from benchmarks.peers import Restored, Taken, fill
from benchmarks.usage import find_processes, measured
from swarmkeep.errors import NotFound
from swarmkeep.kube.client import Client
from swarmkeep.kube.connect import client_from_context
from swarmkeep.kube.kubeconfig import load_context
from swarmkeep.model.kinds import CHECKPOINT
from swarmlab.lab import Lab
from swarmlab.node import Node
from swarmlab.process import LabError
from swarmlab.settings import CHECKOUT
from swarmlab.workload import Api, Redis, policy

SERVICE = "bench"
VERSION_LIMIT_S = 180.0
LOOK_S = 0.1
RESTART_LIMIT_S = 60.0


class SwarmKeep:
    """The agent of the node takes the versions; its manager runs on the same node and is not counted."""

    name = "SwarmKeep"

    def __init__(self, lab: Lab, node: Node) -> None:
        self._lab = lab
        self._node = node
        self._service = Redis(lab, SERVICE)
        self._versions = 0
        self._runs = False

    def start(self, megabytes: int) -> None:
        if self._runs:
            return
        api = Api(self._lab)
        api.apply(CHECKOUT / "manifests/samples/storage.yaml")
        # Only versions that are asked for, and none pruned beside them. A measurement is not given up.
        api.apply(policy(SERVICE, every="24h", retention={"keepLast": 1000}, checkpoint={"maxFreeze": "60s"}))
        time.sleep(2)
        self._service.create("redis")
        api.wait_claimed(f"{SERVICE}.1")
        self._runs = True
        fill(self.redis, megabytes)

    def address(self) -> str:
        return self._address_of(self._service.wait_running().container)

    def redis(self, *words: str) -> str:
        return self._service.cli(*words)

    def take(self) -> Taken:
        self._versions += 1
        with measured(find_processes(self._node, "swarmkeep agent")) as agent:
            status = asyncio.run(self._version(f"bench-{time.time_ns()}"))
        safe_s = (_moment(status["storedAt"]) - _moment(status["startedAt"])).total_seconds()
        criu_s = status["criu"]["frozenSeconds"]
        return Taken(safe_s, status["bytes"]["stored"], agent.cpu_s, agent.memory_bytes, criu_s)

    def restore(self) -> Restored | None:
        """Ends the container; Swarm makes another, and the shim restores it. Counted from when that one exists."""
        old = self._service.wait_running().container
        words = [
            "docker",
            "events",
            "--filter",
            "event=start",
            "--filter",
            f"label=com.docker.swarm.service.name={SERVICE}",
        ]
        events = subprocess.Popen(
            [*self._node.entering(), *words, "--format", "{{.ID}}"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert events.stdout is not None
            time.sleep(0.5)
            self._node.execute(["docker", "kill", old])
            if not select.select([events.stdout], [], [], RESTART_LIMIT_S)[0]:
                raise LabError(f"no new task of {SERVICE} within {RESTART_LIMIT_S:g} s")
            container = events.stdout.readline().strip()
        finally:
            events.kill()
            events.wait()
        created = self._node.execute(["docker", "inspect", "-f", "{{.Created}}", container]).stdout.strip()
        return Restored(_moment(created[:26] + "+00:00").timestamp(), self._address_of(container))

    def remove(self) -> None:
        if not self._runs:
            return
        self._service.remove()
        self._runs = False

    async def _version(self, name: str) -> dict[str, Any]:
        """Asks for a version and waits until it is stored; light, since it shares the processors with the agent."""
        context = load_context([self._lab.kubeconfig()])
        async with client_from_context(context, timeout_s=20, field_manager="bench") as client:
            body = {"metadata": {"name": name, "namespace": "default"}, "spec": {"workload": f"{SERVICE}.1"}}
            await client.create(CHECKPOINT, body, "default")
            deadline = time.monotonic() + VERSION_LIMIT_S
            while time.monotonic() < deadline:
                status = await _status(client, name)
                if status.get("phase") == "Stored":
                    return status
                if status.get("phase") == "Failed":
                    raise LabError(f"version {name} failed: {status.get('message')}")
                await asyncio.sleep(LOOK_S)
        raise LabError(f"version {name} was not stored within {VERSION_LIMIT_S:g} s")

    def _address_of(self, container: str) -> str:
        """Its address on the bridge of this node, which every container of a service has beside the overlay network."""
        pid = self._node.execute(["docker", "inspect", "-f", "{{.State.Pid}}", container]).stdout.strip()
        shown = self._node.execute(["nsenter", "-t", pid, "-n", "hostname", "-I"]).stdout.split()
        for address in shown:
            if address.startswith("172."):
                return address
        raise LabError(f"container {container[:12]} has no address on the node's bridge: {shown}")


async def _status(client: Client, name: str) -> dict[str, Any]:
    try:
        return dict((await client.get(CHECKPOINT, name, "default")).get("status") or {})
    except NotFound:
        return {}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
