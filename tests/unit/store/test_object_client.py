"""Servers that are not there, do not answer, or are no S3 servers: an error that says so, and in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from swarmkeep.errors import HostError, SwarmKeepError, Unavailable
from swarmkeep.store.object_client import ObjectClient

from ...etcd_cluster import free_ports
from ...s3_server import settings, silent_port

CALLS: dict[str, Callable[[ObjectClient], object]] = {
    "put": lambda client: client.put("k", b"x", only_new=True),
    "get": lambda client: client.get("k", 10),
    "size": lambda client: client.size("k"),
    "read": lambda client: client.read("k", 1, 2),
    "list": lambda client: list(client.list("a/")),
    "delete": lambda client: client.delete("k"),
}


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Host and port of a server that gives every request the same answer and hangs up."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def http(status: str, body: str = "", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", body]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize("name", CALLS)
def test_nobody_at_the_port(name: str) -> None:
    client = ObjectClient(settings(f"127.0.0.1:{free_ports(1)[0]}"))
    with pytest.raises(Unavailable, match="Connection refused"):
        CALLS[name](client)


@pytest.mark.parametrize("name", CALLS)
def test_somebody_who_takes_the_connection_and_never_answers(name: str) -> None:
    with silent_port() as address:
        client = ObjectClient(settings(address, answer_limit_s=0.5))
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="has not answered within"):
            CALLS[name](client)
        assert 0.5 <= time.monotonic() - begun < 3


def test_a_name_that_no_name_server_knows() -> None:
    with pytest.raises(Unavailable, match="lookup address"):
        ObjectClient(settings("nowhere.invalid:80")).get("k", 1)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        ("503 Service Unavailable", "<Error><Code>SlowDown</Code></Error>", Unavailable, "503 SlowDown"),
        ("500 Internal Server Error", "", Unavailable, "500"),
        ("404 Not Found", "nginx", Unavailable, "no server of S3"),
        ("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>", Unavailable, "no such bucket; create it"),
        ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>", HostError, "credentials may not do that: 403"),
        ("403 Forbidden", "<Error><Code>QuotaExceeded</Code></Error>", HostError, "no space left"),
        ("507 Insufficient Storage", "", HostError, "no space left"),
        ("409 Conflict", "<Error><Code>ConditionalRequestConflict</Code></Error>", Unavailable, "409"),
        ("400 Bad Request", "<Error><Code>AuthorizationHeaderMalformed</Code></Error>", HostError, "Malformed"),
        ("301 Moved Permanently", "", HostError, "region"),
        ("501 Not Implemented", "<Error><Code>NotImplemented</Code></Error>", HostError, "NotImplemented"),
    ],
)
def test_an_answer_that_is_none_says_what_it_was(
    name: str, status: str, body: str, error: type[SwarmKeepError], words: str
) -> None:
    with answering(http(status, body)) as address, pytest.raises(error, match=words):
        CALLS[name](ObjectClient(settings(address)))


@pytest.mark.parametrize("name", ["get", "read"])
def test_a_body_that_ends_early_is_no_content(name: str) -> None:
    headers = ("ETag: x", "Last-Modified: Tue, 24 Nov 2026 21:40:49 GMT", "Content-Range: bytes 1-2/10")
    answer = http("206 Partial Content" if name == "read" else "200 OK", "xx", *headers)
    cut = answer[:-1]
    with answering(cut) as address, pytest.raises(Unavailable, match="broke in the middle"):
        CALLS[name](ObjectClient(settings(address)))


def test_another_range_than_the_one_asked_for_is_refused() -> None:
    headers = ("ETag: x", "Last-Modified: Tue, 24 Nov 2026 21:40:49 GMT")
    for answer in (
        http("206 Partial Content", "xx", *headers, "Content-Range: bytes 4-5/10"),
        http("200 OK", "0123456789", *headers),
    ):
        with answering(answer) as address, pytest.raises(Unavailable):
            ObjectClient(settings(address)).read("k", 1, 2)


def test_what_is_no_tls_is_not_spoken_to() -> None:
    with answering(http("200 OK")) as address:
        plain = settings(address)
        client = ObjectClient(type(plain)(f"https://{address}", "b", "a", "s"))
        with pytest.raises(Unavailable):
            client.get("k", 1)


def test_settings_that_no_client_can_be_made_of_are_the_operators_matter() -> None:
    plain = settings("127.0.0.1:1")
    with pytest.raises(HostError, match="cannot be used with these settings"):
        ObjectClient(type(plain)("https://127.0.0.1:1", "b", "a", "s", ca=b"no certificate"))
