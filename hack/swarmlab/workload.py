"""What tests, demo and benchmarks run on the lab: services, a client that never gives up, and the API's view."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from swarmlab.lab import Lab
from swarmlab.node import Node
from swarmlab.process import LabError, wait_until
from swarmlab.settings import CHECKOUT

NETWORK = "lab-net"
"""An attachable overlay network that services and clients share."""


@dataclass(frozen=True)
class Task:
    """A running task of a service."""

    node: Node
    container: str


class Service:
    """A Swarm service in the lab. Made with `dnsrr`, since the lab's kernel may lack IPVS for virtual addresses."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.name = name

    def create(self, image: str, *command: str, options: Sequence[str] = ()) -> None:
        """Creates the service and its network, and returns when its first task runs."""
        manager = alive_manager(self.lab)
        ensure_network(self.lab)
        fixed = ["--detach", "--no-resolve-image", "--endpoint-mode", "dnsrr", "--network", NETWORK]
        fixed += ["--name", self.name, "--restart-delay", "0s"]
        manager.execute(["docker", "service", "create", *fixed, *options, self.lab.image(image), *command])
        self.wait_running()

    def update(self, *options: str) -> None:
        """`docker service update`, not waited for."""
        alive_manager(self.lab).execute(["docker", "service", "update", "--detach", *options, self.name])

    def remove(self) -> None:
        """Removes the service, and waits until its containers are gone."""
        alive_manager(self.lab).execute(["docker", "service", "rm", self.name], check=False)
        wait_until(f"the tasks of {self.name} to end", lambda: self.find() is None, limit_s=60)

    def find(self) -> Task | None:
        """The running task on any live node that can be reached; None when there is none."""
        for node in self.lab.nodes:
            if not node.pid:
                continue
            container = self.lab.running_container(node.name, self.name)
            if container:
                return Task(node, container)
        return None

    def wait_running(self, *, limit_s: float = 60, other_than: str | None = None) -> Task:
        """The running task; `other_than` is a container that does not count."""
        found: list[Task] = []

        def running() -> bool:
            task = self.find()
            if task is not None and task.container != other_than:
                found.append(task)
            return bool(found)

        wait_until(f"a task of {self.name} to run", running, limit_s=limit_s)
        return found[0]

    def execute(self, *command: str, limit_s: float = 60) -> str:
        """Runs a program in the running task's container; returns what it prints."""
        task = self.wait_running()
        return task.node.execute(["docker", "exec", task.container, *command], limit_s=limit_s).stdout.strip()

    def tasks(self) -> list[str]:
        """What the Swarm says of its tasks, newest first."""
        words = [
            "docker",
            "service",
            "ps",
            "--no-trunc",
            "--format",
            "{{.Name}} {{.Node}} {{.CurrentState}} {{.Error}}",
        ]
        return alive_manager(self.lab).execute([*words, self.name], check=False).stdout.splitlines()


class Redis(Service):
    """A Redis service with data that can be checked."""

    def fill(self, keys: int, value_bytes: int) -> None:
        """Writes `key:1` to `key:<keys>`, each with its number and padding."""
        script = (
            "local pad = string.rep('x', tonumber(ARGV[3])) "
            "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('SET', 'key:' .. i, i .. pad) end"
        )
        for first in range(1, keys + 1, 50_000):
            last = min(first + 49_999, keys)
            self.cli("EVAL", script, "0", str(first), str(last), str(value_bytes))

    def good_keys(self, keys: int) -> int:
        """How many of the first `keys` keys have the value that `fill` wrote."""
        script = (
            "local good = 0 for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do local v = redis.call('GET', 'key:' .. i) "
            "if v and string.sub(v, 1, #tostring(i) + 1) == i .. 'x' then good = good + 1 end end return good"
        )
        total = 0
        for first in range(1, keys + 1, 50_000):
            total += int(self.cli("EVAL", script, "0", str(first), str(min(first + 49_999, keys))))
        return total

    def cli(self, *words: str) -> str:
        """`redis-cli` in the container."""
        return self.execute("redis-cli", *words)


class Writer:
    """A client on the service's network that increments a counter as fast as it is answered, and never gives up.

    It notes the time and the value of each acknowledged increment, on this machine's clock.
    """

    PROGRAM = "writer.py"
    IMAGE = "python"
    RUN: Sequence[str] = ("python3",)

    def __init__(self, lab: Lab, node: str, host: str, *, key: str = "counter") -> None:
        """`key` is what it increments there."""
        self._lab = lab
        self._node = lab.node(node)
        self._name = f"writer-{host}"
        self._host = host
        self._key = key
        self._log = lab.settings.shared / ".lab" / f"{self._name}.log"

    def start(self) -> None:
        """Starts it and returns when its first increment was acknowledged."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.write_text("")
        # Its user in the container may be any.
        self._log.chmod(0o666)
        (self._log.parent / self.PROGRAM).write_text((CHECKOUT / "hack/swarmlab" / self.PROGRAM).read_text())
        ensure_network(self._lab)
        self._node.execute(["docker", "rm", "-f", self._name], check=False)
        words = ["docker", "run", "--detach", "--name", self._name, "--network", NETWORK, "-v", "/shared/.lab:/lab"]
        words += [self._lab.image(self.IMAGE), *self.RUN, f"/lab/{self.PROGRAM}", self._host, self._key]
        self._node.execute([*words, f"/lab/{self._log.name}"])
        wait_until(f"{self._name} to be answered", self.samples, limit_s=60)

    def stop(self) -> None:
        """Ends it."""
        self._node.execute(["docker", "rm", "-f", self._name], check=False)

    def samples(self) -> list[tuple[float, int]]:
        """(seconds since the epoch, value) of each acknowledged increment, in order."""
        lines = self._log.read_text().splitlines(keepends=True)
        return [(float(line.split()[0]), int(line.split()[1])) for line in lines if line.endswith("\n")]

    def first_after(self, moment: float, *, limit_s: float = 60) -> tuple[float, int]:
        """The first increment that was acknowledged after `moment`."""
        found: list[tuple[float, int]] = []

        def answered() -> bool:
            found.extend(sample for sample in self.samples() if sample[0] > moment)
            return bool(found)

        wait_until(f"{self._host} to answer its client again", answered, limit_s=limit_s, every_s=0.1)
        return found[0]

    def last_before(self, moment: float) -> tuple[float, int]:
        """The last increment that was acknowledged before `moment`."""
        return [sample for sample in self.samples() if sample[0] <= moment][-1]

    def longest_pause(self, since: float) -> float:
        """The longest time, in seconds, between two acknowledged increments after `since`."""
        moments = [moment for moment, _ in self.samples() if moment >= since]
        return max((later - earlier for earlier, later in pairwise(moments)), default=0.0)


class HttpWriter(Writer):
    """The same for a server that counts: `key` is PORT/PATH, and it asks over one connection that is kept alive."""

    PROGRAM = "http_writer.py"


class SqlWriter(Writer):
    """The same for a PostgreSQL: `key` is a table, and the values are the ids of rows that were committed."""

    PROGRAM = "sql_writer.sh"
    IMAGE = "postgres"
    RUN = ("bash",)


class Api:
    """SwarmKeep's objects, through its own command and the lab's kubeconfig."""

    def __init__(self, lab: Lab) -> None:
        self._environment = os.environ | {"KUBECONFIG": str(lab.kubeconfig()), "PYTHONPATH": str(CHECKOUT / "operator")}

    def run(self, *words: str, input: str | None = None, check: bool = True) -> str:
        """`swarmkeep WORDS`; returns what it prints. Raises LabError when it fails."""
        command = [sys.executable, "-m", "swarmkeep", *words]
        try:
            done = subprocess.run(
                command, env=self._environment, input=input, capture_output=True, text=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"swarmkeep {' '.join(words)} has not ended within 60 s") from None
        if check and done.returncode != 0:
            raise LabError(f"swarmkeep {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *documents: Mapping[str, Any] | Path) -> None:
        """Applies objects, or the files that hold them."""
        for document in documents:
            if isinstance(document, Path):
                self.run("apply", "-f", str(document))
            else:
                self.run("apply", "-f", "-", input=json.dumps(document))

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """One object. Raises LabError when it is not there."""
        found: dict[str, Any] = json.loads(self.run("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def list(self, kind: str, namespace: str = "default", labels: str = "") -> list[dict[str, Any]]:
        """All objects of a kind in a namespace."""
        words = ["get", kind, "-n", namespace, "-o", "json", *(["-l", labels] if labels else [])]
        items: list[dict[str, Any]] = json.loads(self.run(*words))["items"]
        return items

    def answers(self) -> bool:
        """Whether the API can be reached now."""
        try:
            self.run("get", "nodes")
        except LabError:
            return False
        return True

    def wait_claimed(self, workload: str, *, limit_s: float = 30) -> str:
        """Waits until a node has the claim of a workload; returns its name."""
        holder = [""]

        def claimed() -> bool:
            holder[0] = self.get("workload", workload).get("status", {}).get("claim", {}).get("node", "")
            return bool(holder[0])

        wait_until(f"a node to claim {workload}", claimed, limit_s=limit_s)
        return holder[0]

    def newest_version(self, workload: str, namespace: str = "default") -> int:
        """Number of the newest finished version; 0 when there is none."""
        try:
            status = self.get("workload", workload, namespace).get("status", {})
        except LabError:
            return 0
        return int((status.get("newestVersion") or {}).get("number", 0))

    def wait_version(self, workload: str, number: int, *, limit_s: float = 60) -> int:
        """Waits until a workload has a finished version of at least that number; returns the newest."""
        newest = [0]

        def there() -> bool:
            newest[0] = self.newest_version(workload)
            return newest[0] >= number

        wait_until(f"version {number} of {workload}", there, limit_s=limit_s, every_s=0.3)
        return newest[0]


def policy(
    name: str, *, service: str | None = None, every: str = "5s", storage: Sequence[str] = ("main",), **spec: Any
) -> dict[str, Any]:
    """A CheckpointPolicy for a service of the same name, or the one named."""
    return {
        "apiVersion": "swarmkeep.dev/v1alpha1",
        "kind": "CheckpointPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"service": service or name}, "schedule": {"every": every}, "storage": [*storage], **spec},
    }


def alive_manager(lab: Lab) -> Node:
    """A manager that is on and on the network. Raises LabError."""
    for node in lab.managers:
        if node.pid and lab.is_connected(node.name):
            return node
    raise LabError("no manager of the lab is alive")


def label(lab: Lab, name: str, **nodes: str) -> None:
    """Gives nodes a label, for the constraints of services."""
    for node, value in nodes.items():
        _update_node(lab, node, "--label-add", f"{name}={value}")


def availability(lab: Lab, **nodes: str) -> None:
    """Drains nodes, or makes them active again."""
    for node, value in nodes.items():
        _update_node(lab, node, "--availability", value)


def _update_node(lab: Lab, node: str, *options: str) -> None:
    def updated() -> bool:
        # Refused when the Swarm has noted something of the node between Docker's reading and its writing.
        alive_manager(lab).execute(["docker", "node", "update", *options, node], limit_s=10)
        return True

    wait_until(f"{node} to be updated", updated, limit_s=30)


def ensure_network(lab: Lab) -> None:
    """Makes the network that services and clients share."""
    manager = alive_manager(lab)
    if manager.execute(["docker", "network", "inspect", NETWORK], check=False).returncode != 0:
        manager.execute(["docker", "network", "create", "--driver", "overlay", "--attachable", NETWORK])


def join_network(lab: Lab, nodes: Sequence[str]) -> None:
    """Keeps the shared network joined on these nodes, by a container that does nothing.

    Joining it anew waits some 10 s for a peer that has just died.
    """
    ensure_network(lab)
    for name in nodes:
        node = lab.node(name)
        # A node that has just booted knows the Swarm's networks only after a while.
        wait_until(f"{name} to join the network", partial(_hold_network, lab, node), limit_s=60)


def _hold_network(lab: Lab, node: Node) -> bool:
    """Raises LabError while the node cannot join it."""
    if not node.execute(["docker", "ps", "-q", "--filter", "name=^net-holder$"]).stdout.strip():
        node.execute(["docker", "rm", "-f", "net-holder"], check=False)
        words = ["docker", "run", "--detach", "--name", "net-holder", "--network", NETWORK]
        node.execute([*words, lab.images()["shell"], "sleep", "infinity"])
    return True


def now() -> float:
    """Seconds since the epoch: the clock of the writers' logs."""
    return time.time()
