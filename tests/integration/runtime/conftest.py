"""One real node: Docker, containerd, runc, CRIU and the shim, with a stand-in for the agent that does as it is told."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmlab import Lab
from swarmlab.node import Node
from swarmlab.process import wait_until
from swarmlab.rootfs import VENV
from swarmlab.settings import Settings

HERE = Path(__file__).parent
PROGRAM = "/opt/node_program.py"
STATE = "/var/lib/swarmkeep-test"
RUN = "/run/swarmkeep-test"
VERSION = "/var/lib/docker/version"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here uses a real node."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)
            item.add_marker(pytest.mark.timeout(300))


class RuntimeNode:
    """The node, and what tests do on it."""

    def __init__(self, lab: Lab, node: Node) -> None:
        self.images = lab.images()
        self._node = node
        self._agent: subprocess.Popen[bytes] | None = None

    def sh(self, script: str, *, check: bool = True, limit_s: float = 60) -> str:
        """Runs a shell script on the node; returns what it printed, errors too."""
        done = self._node.execute(["sh", "-c", f"exec 2>&1; {script}"], check=check, limit_s=limit_s)
        return done.stdout.strip()

    def run(self, name: str, image: str, *command: str, options: str = "", check: bool = True) -> str:
        """Starts a container that a selector names."""
        words = shlex.join(command)
        return self.sh(
            f"docker run -d --name {name} --label keep=yes {options} {self.images[image]} {words}", check=check
        )

    def exec(self, name: str, *command: str, limit_s: float = 20) -> str:
        """Runs a program in a container."""
        return self.sh(f"docker exec {name} {shlex.join(command)}", limit_s=limit_s)

    def version(self, name: str, folder: str = VERSION, **options: Any) -> dict[str, Any]:
        """Takes a version; see node_program."""
        words = f"{VENV}/bin/python {PROGRAM} version {name} {folder} {shlex.quote(json.dumps(options))}"
        result: dict[str, Any] = json.loads(self.sh(words).splitlines()[-1])
        return result

    def start_version(self, name: str) -> subprocess.Popen[bytes]:
        """Takes a version and returns as soon as the container stands still."""
        words = [f"{VENV}/bin/python", PROGRAM, "version", name, VERSION, "{}"]
        process = subprocess.Popen([*self._node.entering(), *words], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"frozen\n"
        return process

    def agent(self, **order: Any) -> None:
        """Puts a stand-in in place that answers so from now on."""
        self.stop_agent()
        words = [f"{VENV}/bin/python", PROGRAM, "serve", json.dumps(order)]
        self._agent = subprocess.Popen([*self._node.entering(), *words], stdout=subprocess.PIPE)
        assert self._agent.stdout is not None
        assert self._agent.stdout.readline() == b"ready\n"

    def stop_agent(self) -> None:
        """Nobody answers the shim any more."""
        if self._agent is not None:
            assert self._agent.stdout is not None
            self.sh(f"pkill -f '{PROGRAM} [s]erve'", check=False)
            self._agent.wait()
            self._agent.stdout.close()
            self._agent = None

    def select(self, line: str) -> None:
        """Writes the selectors file."""
        self._node.write(f"{STATE}/selectors", line + "\n")

    def freezer_states(self) -> set[str]:
        """States of all containers' freezers."""
        containers = self.sh("docker ps -q --no-trunc").split()
        return {self._node.freezer_state(container) or "gone" for container in containers}

    def tidy(self) -> None:
        """Back to a node on which nothing runs."""
        self.stop_agent()
        self.sh("docker ps -aq | xargs -r docker rm -f")
        self.sh(f"rm -rf {VERSION}* {STATE}/cold-starts {RUN}/restore")


@pytest.fixture(scope="session")
def booted() -> Iterator[RuntimeNode]:
    """The node, booted once."""
    lab = Lab(Settings(name="runtime", network="10.98.0"))
    try:
        lab.up(count=1)
        node = lab.node("n1")
        node.write(PROGRAM, (HERE / "node_program.py").read_text())
        node.write("/etc/swarmkeep/shim.conf", f"state_dir={STATE}\nrun_dir={RUN}\n")
        yield RuntimeNode(lab, node)
    finally:
        lab.down()


@pytest.fixture
def node(booted: RuntimeNode) -> Iterator[RuntimeNode]:
    """The node with one selector: containers with the label keep=yes are held for a second without an agent."""
    booted.select("label keep=yes\tHold\t1")
    booted.agent()
    yield booted
    booted.tidy()


@pytest.fixture
def redis(node: RuntimeNode) -> RuntimeNode:
    """The node with a Redis of 200 MB under the name `redis`."""
    node.run("redis", "redis", *REDIS)
    wait_until("Redis to answer", lambda: "PONG" in node.exec("redis", "redis-cli", "ping"), limit_s=20)
    node.exec("redis", "redis-cli", "debug", "populate", "400000", "key", "400")
    return node


REDIS = ("redis-server", "--save", "", "--protected-mode", "no", "--enable-debug-command", "yes")


@contextlib.contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Waits for a process in the end and closes its output."""
    try:
        yield process
    finally:
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
