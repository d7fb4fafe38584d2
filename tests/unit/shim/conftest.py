"""An agent that says what a test tells it to, and a runc that writes down what it is asked."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.shim.settings import Settings

Script = Callable[[dict[str, Any]], list[dict[str, Any] | bytes | None]]


class Agent:
    """Listens at a socket. `script` gives the lines for a question; None in it reads one line from the shim first."""

    def __init__(self, path: Path) -> None:
        self.script: Script = lambda question: [{"do": "fresh"}]
        self.heard: list[dict[str, Any]] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            # A shim that gives up closes its end at any point.
            with contextlib.suppress(OSError, ValueError), connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            question = json.loads(lines.readline())
            self.heard.append(question)
            for reply in self.script(question):
                if reply is None:
                    self.heard.append(json.loads(lines.readline() or b"{}"))
                elif isinstance(reply, bytes):
                    connection.sendall(reply)
                else:
                    connection.sendall(json.dumps(reply).encode() + b"\n")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A node of its own: folders, a runc and a criu that write down their arguments and succeed."""
    for name in ("run", "state", "docker/containers", "bundle"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bundle" / "config.json").write_text('{"root":{"path":"rootfs"},"mounts":[]}')
    for name in ("runc", "criu"):
        program = tmp_path / name
        # One line for each call; `fail` in the folder makes runc restore fail.
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n'
            "for last; do :; done\n"
            f'case "{name} $*" in\n'
            '  "criu lazy-pages"*) printf x >&3; exec 3>&-; sleep 30 ;;\n'
            f'  *" restore "*) cp {tmp_path}/bundle/config.json {tmp_path}/seen-config; [ ! -e {tmp_path}/fail ] ;;\n'
            "esac\n"
        )
        program.chmod(0o755)
    return Settings(
        runc=str(tmp_path / "runc"),
        criu=str(tmp_path / "criu"),
        docker_root=str(tmp_path / "docker"),
        state_dir=str(tmp_path / "state"),
        run_dir=str(tmp_path / "run"),
        criu_conf=str(tmp_path / "criu.conf"),
    )


@pytest.fixture
def agent(settings: Settings) -> Iterator[Agent]:
    """An agent at the node's socket."""
    agent = Agent(Path(settings.socket))
    yield agent
    agent.close()


@pytest.fixture
def protect(settings: Settings) -> Callable[..., str]:
    """Makes Docker know a container with a label that a selector names; returns its id."""

    def protect(mode: str = "Hold", limit_s: float = 5, *, stop_signal: str = "") -> str:
        folder = Path(settings.docker_root) / "containers" / "abc"
        folder.mkdir(exist_ok=True)
        config = {"Labels": {"keep": "yes"}, "StopSignal": stop_signal}
        (folder / "config.v2.json").write_text(
            json.dumps({"Name": "/redis", "Config": config}, separators=(",", ":")) + "\n"
        )
        Path(settings.selectors).write_text(f"label keep=yes\t{mode}\t{limit_s}\n")
        return "abc"

    return protect


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[str]]:
    """What runc and criu were asked, one line for each call."""

    def calls() -> list[str]:
        path = tmp_path / "calls"
        return path.read_text().splitlines() if path.exists() else []

    return calls


@pytest.fixture
def environment(settings: Settings, tmp_path: Path) -> dict[str, str]:
    """For the front script: it reads its settings from a fixed place, so tests hand it a copy with another one."""
    conf = tmp_path / "shim.conf"
    keys = ("runc", "criu", "docker_root", "state_dir", "run_dir", "criu_conf")
    conf.write_text("".join(f"{key}={getattr(settings, key)}\n" for key in keys))
    return {"PATH": os.environ["PATH"], "CONF": str(conf)}
