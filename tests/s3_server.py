"""A real S3 server on loopback for tests, and a proxy before it that makes it as bad as servers and networks are."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from swarmkeep.store.object_client import ObjectSettings
from swarmlab import s3_server
from swarmlab.s3_server import sign

from .etcd_cluster import free_ports

ACCESS_KEY, SECRET_KEY = "tests", "very-secret"
BUCKET = "versions"
START_S = 90


def settings(address: str, prefix: str = "", **others: object) -> ObjectSettings:
    """The tests' bucket, as it is reached at `address` (host:port)."""
    return ObjectSettings(
        endpoint=f"http://{address}",
        bucket=BUCKET,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        prefix=prefix,
        **others,  # type: ignore[arg-type]
    )


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """Gives host and port; the server is gone afterwards, whatever happens."""
    port = free_ports(1)[0]
    log = folder / "s3.log"
    command = [sys.executable, s3_server.__file__, str(folder / "s3"), "127.0.0.1", str(port), ACCESS_KEY, SECRET_KEY]
    with log.open("wb") as errors:
        process = subprocess.Popen([*command, BUCKET], stdout=subprocess.PIPE, stderr=errors)
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_S)
        line = process.stdout.readline() if ready else b""
        assert line == b"ready\n", f"the S3 server does not come up:\n{log.read_text('utf-8', 'replace')[-3000:]}"
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


class FaultyProxy:
    """Passes requests on to a server, but for the faults that it is told of.

    `faults` has one for each of the next requests; where it ends they pass. `hang` never answers, `503` answers just
    that, `lost` does as asked and closes the connection without an answer, `cut` closes it in the middle of the answer.
    """

    def __init__(self, upstream: str, tls: ssl.SSLContext | None = None) -> None:
        self.faults: deque[str] = deque()
        self.ignores_conditions = False
        """Like a server that does not know If-None-Match."""
        self.ignores_offsets = False
        """Like a server that answers each request for a range with as many bytes from the start."""
        self.forbids_writing = False
        """Like a server that is asked with keys that may only read."""
        self.requests: list[str] = []
        """Method and path of each."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with suppress(ConnectionError):
                    super().handle_one_request()

            def do_GET(self) -> None:
                proxy._answer(self, upstream)

            do_PUT = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _answer(self, handler: BaseHTTPRequestHandler, upstream: str) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.requests.append(f"{handler.command} {handler.path}")
        fault = self.faults.popleft() if self.faults else ""
        handler.close_connection = True
        if fault == "hang":
            self._stopped.wait(60)
            return
        if fault == "503":
            handler.wfile.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if self.forbids_writing and handler.command != "GET":
            denied = b"<Error><Code>AccessDenied</Code></Error>"
            head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(denied)}\r\nConnection: close\r\n\r\n"
            handler.wfile.write(head.encode() + denied)
            return
        status, headers, content = self._ask(handler, upstream, body)
        if fault == "lost":
            return
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    def _ask(
        self, handler: BaseHTTPRequestHandler, upstream: str, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = dict(handler.headers.items())
        if self.ignores_conditions and "if-none-match" in headers:
            # The header is part of what was signed.
            headers = sign(handler.command, upstream, handler.path, body, ACCESS_KEY, SECRET_KEY)
        connection = http.client.HTTPConnection(upstream, timeout=30)
        try:
            connection.request(handler.command, handler.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if self.ignores_offsets and answer.status == 206:
                content = self._from_start(upstream, handler.path, len(content))
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _BY_HAND]
            return answer.status, kept, content
        finally:
            connection.close()

    @staticmethod
    def _from_start(upstream: str, path: str, length: int) -> bytes:
        connection = http.client.HTTPConnection(upstream, timeout=30)
        try:
            connection.request("GET", path, headers=sign("GET", upstream, path, b"", ACCESS_KEY, SECRET_KEY))
            return connection.getresponse().read()[:length]
        finally:
            connection.close()


_BY_HAND = ("content-length", "transfer-encoding", "connection", "date", "server")


@contextmanager
def silent_port() -> Iterator[str]:
    """Host and port of somebody who takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"127.0.0.1:{listening.getsockname()[1]}"
