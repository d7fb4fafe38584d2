"""Real etcd members on loopback for tests: one, or several that form a cluster, each a process that can be hurt."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

START_S = 30


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in sockets]


class EtcdMember:
    """One member; its data outlives its process."""

    def __init__(self, folder: Path, name: str, client_port: int, peer_port: int, cluster: str) -> None:
        self.endpoint = f"127.0.0.1:{client_port}"
        self._log = folder / f"{name}.log"
        client, peer = f"http://{self.endpoint}", f"http://127.0.0.1:{peer_port}"
        self._command = ["etcd", "--name", name, "--data-dir", str(folder / name), "--log-level", "warn"]
        self._command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        self._command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        self._command += ["--initial-cluster", cluster]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._is_healthy():
                return
            time.sleep(0.05)
        raise AssertionError(f"etcd does not come up:\n{self._log.read_text('utf-8', 'replace')[-3000:]}")

    def _is_healthy(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://{self.endpoint}/health", timeout=2) as answer:
            return b"true" in answer.read()
        return False

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@contextmanager
def etcd_cluster(folder: Path, size: int) -> Iterator[list[EtcdMember]]:
    """A healthy cluster of `size` members, gone without a trace afterwards."""
    ports = free_ports(2 * size)
    clients, peers = ports[:size], ports[size:]
    cluster = ",".join(f"m{index}=http://127.0.0.1:{peer}" for index, peer in enumerate(peers))
    members = [EtcdMember(folder, f"m{i}", clients[i], peers[i], cluster) for i in range(size)]
    try:
        for member in members:
            member.start()
        for member in members:
            member.wait_until_healthy()
        yield members
    finally:
        for member in members:
            member.kill()
