"""`docker checkpoint create`, as Docker has it: into its own data folder, without the writable layer."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from benchmarks.peers import Restored, Taken, fill, sync_files
from benchmarks.usage import find_processes, measured, run_measured
from swarmlab.lab import Lab
from swarmlab.node import Node
from swarmlab.process import LabError

CONTAINER = "bench-docker"


class DockerCheckpoint:
    """A plain container that runc runs without SwarmKeep's shim."""

    name = "docker checkpoint"

    def __init__(self, lab: Lab, node: Node) -> None:
        self._lab = lab
        self._node = node
        self._checkpoints = 0
        self._container = ""

    def start(self, megabytes: int) -> None:
        """Also lets CRIU dump open connections: without that Docker's checkpoint fails for any server in use."""
        if self._container:
            return
        self._node.write("/etc/criu/runc.conf", "tcp-established\n")
        words = ["docker", "run", "--detach", "--runtime", "runc", "--name", CONTAINER, self._lab.images()["redis"]]
        self._container = self._node.execute(words).stdout.strip()
        fill(self.redis, megabytes)

    def address(self) -> str:
        shown = self._node.execute(["docker", "inspect", "-f", "{{.NetworkSettings.IPAddress}}", CONTAINER])
        return shown.stdout.strip()

    def redis(self, *words: str) -> str:
        return self._node.execute(["docker", "exec", CONTAINER, "redis-cli", *words]).stdout.strip()

    def take(self) -> Taken:
        self._checkpoints += 1
        name = f"c{self._checkpoints}"
        self._forget(f"c{self._checkpoints - 1}")
        words = ["docker", "checkpoint", "create", "--leave-running", CONTAINER, name]
        begun = time.perf_counter()
        with measured(find_processes(self._node, "dockerd", "containerd", "containerd-shim-runc-v2")) as daemons:
            done = run_measured([*self._node.entering(), *words])
            folder = f"/var/lib/docker/containers/{self._container}/checkpoints/{name}"
            run_measured(sync_files(self._node, folder, "*"))
            safe_s = time.perf_counter() - begun
        stored = _folder_bytes(self._node.state / folder.removeprefix("/var/lib/"))
        return Taken(safe_s, stored, daemons.cpu_s + done.cpu_s, daemons.memory_bytes, None)

    def restore(self) -> Restored | None:
        self._node.execute(["docker", "kill", CONTAINER])
        begun = time.time()
        words = ["docker", "start", "--checkpoint", f"c{self._checkpoints}", CONTAINER]
        for _ in range(2):
            try:
                self._node.execute(words, limit_s=120)
                return Restored(begun, self.address())
            except LabError as error:
                if "already exists" not in str(error):
                    return None
                # containerd still has the last checkpoint's content; its garbage collection follows some seconds later.
                time.sleep(10)
        return None

    def remove(self) -> None:
        self._node.execute(["docker", "rm", "-f", CONTAINER], check=False)
        self._container = ""

    def _forget(self, name: str) -> None:
        with contextlib.suppress(LabError):
            self._node.execute(["docker", "checkpoint", "rm", CONTAINER, name])


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
