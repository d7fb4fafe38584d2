"""The members of an etcd cluster: one channel each, and which one is talked to now. Used by client.py."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from etcd3 import etcdrpc

from swarmkeep.errors import HostError, InvalidObject

_OPTIONS: tuple[tuple[str, int], ...] = (
    # Lists of objects are larger than gRPC's 4 MiB; etcd itself limits what it takes.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A member that hangs without closing its connections is found out by this; etcd allows no less than 5 s.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # gRPC's own waits between connection attempts grow to two minutes; a member that is back is to be used soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Members must not share a connection's fate, nor go through a proxy that is meant for the web.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files."""

    ca: Path
    certificate: Path
    key: Path


class Member:
    """One endpoint with its stubs."""

    def __init__(self, endpoint: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.endpoint = endpoint
        target = _target(endpoint)
        self._channel: Any = (
            grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(target, options=_OPTIONS)
        )
        self.kv = etcdrpc.KVStub(self._channel)
        self.watches = etcdrpc.WatchStub(self._channel)
        self.leases = etcdrpc.LeaseStub(self._channel)

    async def close(self) -> None:
        """Breaks the connection and every call on it."""
        await self._channel.close()


class Members:
    """All endpoints; the one in use changes when it fails."""

    def __init__(self, endpoints: Sequence[str], tls: TlsFiles | None) -> None:
        if not endpoints:
            raise InvalidObject("no etcd endpoint is configured: set etcd.endpoints to at least one host:port")
        credentials = _credentials(tls) if tls else None
        self._members = [Member(endpoint, credentials) for endpoint in endpoints]
        self._current = 0

    def __len__(self) -> int:
        return len(self._members)

    @property
    def current(self) -> Member:
        """The member to talk to."""
        return self._members[self._current]

    def leave(self, member: Member) -> None:
        """Turns to the next member, unless somebody else has turned away from `member` already."""
        if self.current is member:
            self._current = (self._current + 1) % len(self._members)

    async def close(self) -> None:
        """Closes all connections."""
        for member in self._members:
            await member.close()


def _target(endpoint: str) -> str:
    """gRPC's name of `host:port`; a scheme as in etcd's own client URLs is accepted and left out."""
    address = endpoint.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidObject(f"etcd endpoint {endpoint!r} must be host:port")
    try:
        version = ipaddress.ip_address(host.strip("[]")).version
    except ValueError:
        return f"dns:///{address}"
    return f"ipv{version}:{address}"


def _credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    contents = []
    for path in (tls.ca, tls.key, tls.certificate):
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            raise HostError(f"cannot read {path}, which is needed to speak to etcd: {error.strerror}") from error
    return grpc.ssl_channel_credentials(*contents)
