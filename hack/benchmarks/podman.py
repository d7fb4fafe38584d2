"""`podman container checkpoint --export`, with and without zstd: one archive for each version."""

from __future__ import annotations

import json
import time

from benchmarks.peers import Restored, Taken, fill, sync_files
from benchmarks.usage import run_measured
from swarmlab.lab import Lab
from swarmlab.node import Node

CONTAINER = "bench-podman"
FOLDER = "/shared/bench-podman"
_STORAGE = """[storage]
driver = "overlay"
graphroot = "/var/lib/containerd/podman"
runroot = "/run/podman"
"""
_ENGINE = """[engine]
cgroup_manager = "cgroupfs"
runtime = "crun"
events_logger = "file"
"""
_PODMAN = ("env", "PODMAN_IGNORE_CGROUPSV1_WARNING=1", "podman")


class Podman:
    """One of these for each kind of compression; they share the container."""

    def __init__(self, lab: Lab, node: Node, compression: str) -> None:
        self.name = "podman" if compression == "none" else f"podman {compression}"
        self._lab = lab
        self._node = node
        self._compression = compression
        self._archive = f"{FOLDER}/{compression}.tar"

    def start(self, megabytes: int) -> None:
        if self._runs():
            return
        self._node.write("/etc/containers/storage.conf", _STORAGE)
        self._node.write("/etc/containers/containers.conf", _ENGINE)
        self._node.execute(["mkdir", "-p", FOLDER])
        image = self._lab.images()["redis"]
        self._podman("pull", "--quiet", "--tls-verify=false", image, limit_s=120)
        parent = f"/{self._node.settings.cgroup}/{self._node.name}"
        self._podman("run", "--detach", "--name", CONTAINER, "--cgroup-parent", parent, image)
        fill(self.redis, megabytes)

    def address(self) -> str:
        return self._podman("inspect", "-f", "{{.NetworkSettings.IPAddress}}", CONTAINER)

    def redis(self, *words: str) -> str:
        return self._podman("exec", CONTAINER, "redis-cli", *words)

    def take(self) -> Taken:
        words = ["container", "checkpoint", "--leave-running", "--print-stats", "--tcp-established"]
        words += ["--compress", self._compression, "--export", self._archive, CONTAINER]
        begun = time.perf_counter()
        done = run_measured([*self._node.entering(), *_PODMAN, *words])
        run_measured(sync_files(self._node, FOLDER, f"{self._compression}.tar"))
        safe_s = time.perf_counter() - begun
        figures = json.loads(done.output[done.output.index("{") :])["container_statistics"][0]["criu_statistics"]
        stored = (self._lab.settings.shared / self._archive.removeprefix("/shared/")).stat().st_size
        return Taken(safe_s, stored, done.cpu_s, done.memory_bytes, figures["frozen_time"] / 1e6)

    def restore(self) -> Restored | None:
        self._podman("rm", "--force", "--time", "0", CONTAINER)
        begun = time.time()
        self._podman("container", "restore", "--tcp-established", "--import", self._archive, limit_s=120)
        return Restored(begun, self.address())

    def remove(self) -> None:
        self._node.execute([*_PODMAN, "rm", "--force", "--ignore", "--time", "0", CONTAINER], check=False)
        self._node.execute(["rm", "-rf", self._archive], check=False)

    def _runs(self) -> bool:
        return bool(self._podman("ps", "--quiet", "--filter", f"name={CONTAINER}"))

    def _podman(self, *words: str, limit_s: float = 60) -> str:
        return self._node.execute([*_PODMAN, *words], limit_s=limit_s).stdout.strip()
