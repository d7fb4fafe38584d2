"""Real servers for integration tests: one etcd member and an API server over it, both on loopback, TLS for the API.

Each is a process of its own and goes with its context, whatever happens in between.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from swarmkeep.pki import authority, kubeconfig
from swarmkeep.pki.roles import Role

START_S = 30
STOP_S = 10
OPERATOR_FOLDER = Path(__file__).parents[2] / "operator"


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Pki:
    """A CA and certificates in a folder."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Pki:
        authority.init(folder)
        authority.issue(folder, Role.API_SERVER, "test", ["127.0.0.1"])
        return cls(folder)

    def kubeconfig(self, url: str, role: str = "admin", name: str = "test") -> Path:
        """Path of a kubeconfig for somebody of that role."""
        certificate, key = authority.issue(self.folder, role, name)
        path = self.folder / f"{role}-{name}-{url.rpartition(':')[2]}.kubeconfig"
        path.write_text(kubeconfig.render([url], self.folder / "ca.crt", certificate, key, name), "utf-8")
        return path

    def client_tls(self, role: str = "admin", name: str = "test") -> ssl.SSLContext:
        """For clients within the test process."""
        certificate, key = authority.issue(self.folder, role, name)
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(certificate, key)
        return context


class Process:
    """A daemon under test, with its output in a file."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.log = log
        self._file = log.open("ab")
        self._process = subprocess.Popen(
            command, stdout=self._file, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, ready: str, context: ssl.SSLContext | None = None) -> None:
        """Until `ready`, a URL, answers with 200; fails with the log if the process ends or the time is up."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(ready, timeout=2, context=context):  # noqa: S310
                return
            time.sleep(0.05)
        raise AssertionError(f"{ready} does not answer:\n{self.log.read_text('utf-8', 'replace')[-4000:]}")

    def kill(self) -> None:
        """As a power cut does."""
        self._process.kill()
        self._process.wait(STOP_S)
        self._file.close()

    def stop(self) -> int:
        """As systemd does; returns the exit code. A process that does not obey is killed and the code negative."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._file.close()
        return self._process.returncode


@contextmanager
def etcd_member(folder: Path) -> Iterator[str]:
    """A single etcd; gives its `host:port`."""
    client, peer = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    command = ["etcd", "--name", "test", "--data-dir", str(folder / "etcd"), "--log-level", "warn"]
    command += ["--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}"]
    command += ["--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}"]
    command += ["--initial-cluster", f"test=http://{peer}"]
    process = Process(command, folder / "etcd.log")
    try:
        process.wait_until(f"http://{client}/health")
        yield client
    finally:
        process.stop()


class ApiServer:
    """`swarmkeep apiserver` as its own process, which can be killed and started again on the same port."""

    def __init__(self, folder: Path, pki: Pki, etcd: str | list[str], name: str = "apiserver") -> None:
        endpoints = [etcd] if isinstance(etcd, str) else etcd
        self.pki = pki
        self._log = folder / f"{name}.log"
        self._config = folder / f"{name}.yaml"
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        certificate = pki.folder / "apiserver-test.crt"
        settings = {
            "node": "test",
            "api": {"servers": [self.url], "ca": str(pki.folder / "ca.crt")},
            "apiserver": {
                "listen": f"127.0.0.1:{port}",
                "certificate": str(certificate),
                "key": str(certificate.with_suffix(".key")),
                "clientCA": str(pki.folder / "ca.crt"),
                "metricsListen": f"127.0.0.1:{free_port()}",
            },
            "etcd": {"endpoints": endpoints, "ca": None, "certificate": None, "key": None},
        }
        self._config.write_text(yaml.safe_dump(settings), "utf-8")
        self.process: Process | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "swarmkeep", "apiserver", "--config", str(self._config)]
        self.process = Process(command, self._log, {"PYTHONPATH": str(OPERATOR_FOLDER)})
        self.process.wait_until(f"{self.url}/readyz", self.pki.client_tls())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def stop(self) -> int:
        return self.process.stop() if self.process else 0


@contextmanager
def api_server(folder: Path, pki: Pki, etcd: str | list[str], name: str = "apiserver") -> Iterator[ApiServer]:
    """An API server that is ready."""
    server = ApiServer(folder, pki, etcd, name)
    try:
        server.start()
        yield server
    finally:
        server.stop()
