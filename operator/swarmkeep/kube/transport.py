"""HTTP to the API servers: a time limit for every call, failover between servers, refusals as exceptions.

Used by swarmkeep.kube.client for objects, and by the command for discovery, tables and OpenAPI.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import aiohttp

from swarmkeep.kube.answers import ApiError, ApiUnavailable, error_of
from swarmkeep.kube.backoff import Backoff

CONNECT_LIMIT_S = 1.0
"""A server that does not even accept a connection for this long is passed over while there are others."""

SILENCE_LIMIT_S = 70.0
"""A stream without a byte for this long is dead: the API sends a bookmark at least every 60 s."""

LINE_LIMIT_BYTES = 64 << 20
"""The longest line of a stream that is believed; etcd's own limit for an object is 1.5 MiB."""

_TOO_BUSY = (429, 503)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Answer:
    """A success of the API."""

    code: int
    body: Any
    """Decoded JSON; the text when the answer's content type says that it is none."""
    headers: Mapping[str, str]


class Transport:
    """A pool of connections to any of several servers that give the same answers. Use it in one event loop only."""

    def __init__(
        self,
        servers: Sequence[str],
        tls: ssl.SSLContext | None,
        *,
        timeout_s: float,
        token: str | None = None,
        server_name: str | None = None,
        user_agent: str = "swarmkeep",
        insist: bool = True,
    ) -> None:
        """`servers` are URLs. With `insist`, calls go on trying servers that cannot be reached until `timeout_s` are
        over; without it each server is tried once, which suits a person who waits. `server_name` is what the servers'
        certificates must say when it is not what the URLs say."""
        if not servers:
            raise ValueError("at least one server is needed")
        self.servers = tuple(server.rstrip("/") for server in servers)
        self.timeout_s = timeout_s
        self.on_warning: Callable[[str], None] | None = None
        """Told the text of each Warning header."""
        self._tls = tls
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._server_name = server_name
        self._insist = insist
        self._good = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool,
        timeout_s: float | None = None,
    ) -> Answer:
        """One call. `body` is sent as JSON. Raises ApiError's subclasses, ApiUnavailable after `timeout_s` in all.

        `repeatable` says that a second identical call would do no harm. Only such calls are sent again when the
        connection broke after the first was sent; for others nobody knows then whether they were carried out, and the
        error says so.
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        call = _Call(method, path, params, data, headers, repeatable)
        budget_s = self.timeout_s if timeout_s is None else timeout_s
        return await self._try_servers(call, self._answer, budget_s)

    async def lines(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        silence_limit_s: float = SILENCE_LIMIT_S,
        on_open: Callable[[], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The lines of an endless answer, as `Client.watch` describes; half a line at the end is dropped.

        Raises as `request` does until the answer has begun, then ApiUnavailable when the connection breaks or stays
        silent for `silence_limit_s`.
        """
        response = await self._open(path, params, headers, silence_limit_s)
        try:
            if on_open is not None:
                on_open()
            async for line in _split(response):
                yield line
        except TimeoutError:
            raise ApiUnavailable(f"watch {path}: nothing heard for {silence_limit_s:g}s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ApiUnavailable(
                f"watch {path}: the connection broke: {_describe(error.__cause__ or error)}"
            ) from error
        finally:
            _abandon(response)

    async def _open(
        self,
        path: str,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        silence_limit_s: float,
    ) -> aiohttp.ClientResponse:
        call = _Call("GET", path, params, None, headers, repeatable=True)

        async def connect(server: str, call: _Call, share_s: float) -> aiohttp.ClientResponse:
            limits = aiohttp.ClientTimeout(
                total=None, sock_connect=self._connect_limit_s(share_s), sock_read=silence_limit_s
            )
            async with asyncio.timeout(share_s):
                response = await self._send(server, call, limits)
            if response.status != 200:
                async with asyncio.timeout(share_s):
                    await self._read(response, call)
                raise ApiUnavailable(f"{call} was answered with {response.status} where a stream was expected")
            _notice_dead_peer(response)
            return response

        return await self._try_servers(call, connect, self.timeout_s)

    async def _try_servers(
        self, call: _Call, attempt: Callable[[str, _Call, float], Awaitable[_Result]], budget_s: float
    ) -> _Result:
        """Runs `attempt` against one server after the other, the last good one first, for `budget_s` in all."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + budget_s
        pauses = Backoff(0.05, 1.0)
        while True:
            count = len(self.servers)
            order = [(self._good + offset) % count for offset in range(count)]
            failure, reachable = ApiUnavailable(f"{call}: no answer within {budget_s:g}s"), False
            for position, index in enumerate(order):
                share_s = (deadline - clock()) / (count - position)
                if share_s <= 0:
                    break
                try:
                    result = await attempt(self.servers[index], call, share_s)
                except ApiUnavailable as error:
                    if error.status_code not in _TOO_BUSY:
                        self._good = index
                        raise
                    failure, reachable = error, True
                except ApiError:
                    self._good = index
                    raise
                except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                    failure = ApiUnavailable(f"cannot reach {self.servers[index]}: {_describe(error)}")
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    failure = ApiUnavailable(f"{self.servers[index]} did not answer {call}: {_describe(error)}")
                    if not call.repeatable:
                        raise ApiUnavailable(f"{failure}; it may or may not have been carried out") from error
                    reachable = True
                else:
                    self._good = index
                    return result
            pause_s = max(pauses.next_s(), failure.retry_after_s or 0)
            if clock() + pause_s >= deadline or not (reachable or self._insist):
                raise failure
            await asyncio.sleep(pause_s)

    async def _answer(self, server: str, call: _Call, share_s: float) -> Answer:
        limits = aiohttp.ClientTimeout(total=share_s, sock_connect=self._connect_limit_s(share_s))
        response = await self._send(server, call, limits)
        return await self._read(response, call)

    async def _send(self, server: str, call: _Call, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        if self._session is None:
            # No limit on connections: each watch holds one, and nothing may wait behind them.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=self._headers)
        headers = dict(call.headers or {})
        if call.data is not None:
            headers.setdefault("Content-Type", "application/json")
        return await self._session.request(
            call.method,
            server + call.path,
            params=call.params,
            data=call.data,
            headers=headers,
            timeout=limits,
            ssl=self._tls if self._tls is not None else True,
            server_hostname=self._server_name if server.startswith("https") else None,
            allow_redirects=False,
        )

    async def _read(self, response: aiohttp.ClientResponse, call: _Call) -> Answer:
        """The whole answer; raises the ApiError that it stands for when it is no success."""
        async with response:
            raw = await response.read()
        text = raw.decode("utf-8", "replace")
        body: Any = text
        if response.content_type.endswith("json"):
            try:
                body = json.loads(raw)
            except ValueError:
                raise ApiUnavailable(f"{call} was answered with broken JSON: {text[:200]!r}") from None
        for warning in response.headers.getall("Warning", []):
            if self.on_warning is not None:
                self.on_warning(_warning_text(warning))
        if not 200 <= response.status < 300:
            raise error_of(response.status, body, response.headers, str(call))
        return Answer(response.status, body, response.headers)

    def _connect_limit_s(self, share_s: float) -> float:
        return min(share_s, CONNECT_LIMIT_S) if len(self.servers) > 1 else share_s


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    params: Mapping[str, str] | None
    data: bytes | None
    headers: Mapping[str, str] | None
    repeatable: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


async def _split(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    pending = bytearray()
    async for chunk in response.content.iter_any():
        start = len(pending)
        pending += chunk
        # Only the new bytes can hold a line feed: a long line is not searched again and again.
        while (end := pending.find(b"\n", start)) >= 0:
            line = bytes(pending[:end])
            del pending[: end + 1]
            start = 0
            if line.strip():
                yield line
        if len(pending) > LINE_LIMIT_BYTES:
            raise ApiUnavailable(f"a line of the answer is longer than {LINE_LIMIT_BYTES} bytes")


def _describe(error: BaseException) -> str:
    """An exception in words; some of asyncio's have none of their own."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    if verdict := getattr(cause, "verify_message", None):
        return f"its certificate is not trusted: {verdict}"
    if isinstance(cause, OSError) and type(cause) is not ssl.SSLError and (cause.errno or 0) > 0:
        return os.strerror(cause.errno or 0)
    return str(cause) or type(error).__name__


def _warning_text(header: str) -> str:
    """The sentence in a Warning header: `299 - "text"`."""
    _, quote, rest = header.partition('"')
    if not quote:
        return header
    return rest.rpartition('"')[0].replace('\\"', '"').replace("\\\\", "\\")


def _abandon(response: aiohttp.ClientResponse) -> None:
    """Ends a stream at once: a polite end of TLS would wait for a peer that may be dead."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


def _notice_dead_peer(response: aiohttp.ClientResponse) -> None:
    """Has the kernel probe the peer, so that a server whose power was cut ends its streams within seconds."""
    transport = response.connection.transport if response.connection is not None else None
    peer: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
