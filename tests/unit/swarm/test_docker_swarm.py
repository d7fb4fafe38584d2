"""A Docker that is away, hangs, or is no manager: said in words, in time."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from swarmkeep.errors import Unavailable
from swarmkeep.swarm.docker_swarm import DockerSwarm

NOBODY = "tcp://127.0.0.1:1"


class Engine(BaseHTTPRequestHandler):
    """Answers as a Docker Engine whose Swarm has a problem."""

    answers: ClassVar[dict[str, tuple[int, Any]]] = {}
    hang = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/version":
            self._send(200, {"ApiVersion": "1.51", "MinAPIVersion": "1.24"})
            return
        what = self.path.split("/")[2].partition("?")[0]
        if what not in self.answers:
            self.hang.wait(10)
            return
        self._send(*self.answers[what])

    def _send(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def engine() -> Iterator[str]:
    Engine.answers, Engine.hang = {}, threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"tcp://127.0.0.1:{server.server_port}"
    Engine.hang.set()
    server.shutdown()
    server.server_close()


async def test_a_docker_that_is_not_there() -> None:
    swarm = DockerSwarm(NOBODY)
    with pytest.raises(Unavailable, match=r"tcp://127\.0\.0\.1:1 does not answer"):
        await swarm.nodes()
    await swarm.close()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("This node is not a swarm manager. Use ...", "is no manager of a Swarm"),
        ("rpc error: The swarm does not have a leader.", "has no leader: most of its managers are away"),
    ],
)
async def test_a_docker_that_cannot_tell(engine: str, message: str, said: str) -> None:
    Engine.answers = {"nodes": (503, {"message": message})}
    swarm = DockerSwarm(engine)
    with pytest.raises(Unavailable, match=said):
        await swarm.nodes()
    await swarm.close()


async def test_a_docker_that_hangs_is_given_up_in_time(engine: str) -> None:
    swarm = DockerSwarm(engine, call_limit_s=0.5)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="has not answered within"):
        await swarm.services()
    assert time.monotonic() - begun < 3
    Engine.hang.set()
    await swarm.close()


async def test_what_a_docker_says_is_read(engine: str) -> None:
    Engine.answers = {"nodes": (200, [{"ID": "x", "Status": {"State": "ready", "Addr": "10.0.0.1"}}])}
    swarm = DockerSwarm(engine)
    (node,) = await swarm.nodes()
    assert (node.id, node.ready) == ("x", True)
    await swarm.close()


async def test_listening_goes_on_while_docker_is_away() -> None:
    swarm = DockerSwarm(NOBODY)
    async with aclosing(swarm.changes()) as changes:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await anext(changes)
    await swarm.close()
