"""A watch that outlives the member that serves it. Used by client.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
import structlog
from etcd3 import etcdrpc

from swarmkeep.etcd.endpoints import Member, Members
from swarmkeep.etcd.failures import Compacted, EtcdUnavailable, describe, failure_of, is_retried
from swarmkeep.etcd.messages import END_OF_STREAM, watch_event, watch_request
from swarmkeep.etcd.records import WatchEvent

log = structlog.get_logger(__name__)

SILENCE_S = 2.0
"""After this long without a word the member is asked whether it still lives."""
PROBE_TIMEOUT_S = 1.5
_PAUSE_S = 0.1, 2.0
_LEADER_REQUIRED = (("hasleader", "true"),)
"""Makes a member that has lost its cluster end the watch; it would stay silent for ever otherwise."""


async def watch(members: Members, prefix: str, start_revision: int) -> AsyncGenerator[list[WatchEvent], None]:
    """As the port says: events from `start_revision` on, through as many members as it takes."""
    next_revision = start_revision
    pause, longest = _PAUSE_S
    while True:
        member = members.current
        try:
            async with aclosing(_stream(member, prefix, next_revision)) as stream:
                async for events in stream:
                    pause = _PAUSE_S[0]
                    if events:
                        next_revision = events[-1].current.mod_revision + 1
                    yield events
        except grpc.RpcError as error:
            if not is_retried(error):
                raise failure_of(error, f"watching {prefix}*") from error
            log.info("a watch lost its etcd member", endpoint=member.endpoint, error=describe(error))
        except EtcdUnavailable as error:
            log.info("a watch leaves its etcd member", endpoint=member.endpoint, error=str(error))
        members.leave(member)
        await asyncio.sleep(pause)
        pause = min(longest, pause * 2)


async def _stream(member: Member, prefix: str, start_revision: int) -> AsyncGenerator[list[WatchEvent], None]:
    """Events from one member. Raises grpc.RpcError, EtcdUnavailable when it hangs, Compacted."""
    call: Any = member.watches.Watch(metadata=_LEADER_REQUIRED)
    reading: asyncio.Task[Any] | None = None
    try:
        await asyncio.wait_for(call.write(watch_request(prefix, start_revision)), PROBE_TIMEOUT_S)
        while True:
            reading = reading or asyncio.ensure_future(call.read())
            done, _ = await asyncio.wait({reading}, timeout=SILENCE_S)
            if not done:
                await _probe(member, prefix)
                continue
            response, reading = reading.result(), None
            if response is END_OF_STREAM:
                raise EtcdUnavailable("the member ended the watch")
            if response.compact_revision:
                raise Compacted(response.compact_revision)
            if response.canceled:
                raise EtcdUnavailable("the member cancelled the watch")
            if response.created:
                yield []
            if response.events:
                yield [watch_event(event) for event in response.events]
    except TimeoutError:
        raise EtcdUnavailable("the member did not take the watch") from None
    except asyncio.InvalidStateError as error:
        # What grpc says of a write to a call that has ended meanwhile; reading tells the reason.
        raise EtcdUnavailable("the member refused the watch") from error
    finally:
        call.cancel()
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _probe(member: Member, prefix: str) -> None:
    """A linearizable read, which only a member in touch with a majority can answer."""
    request = etcdrpc.RangeRequest(key=prefix.encode(), limit=1, count_only=True)
    try:
        await member.kv.Range(request, timeout=PROBE_TIMEOUT_S)
    except grpc.RpcError as error:
        raise EtcdUnavailable(f"the member does not answer ({describe(error)})") from error
