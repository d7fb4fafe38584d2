"""Docker's events of containers as an asynchronous stream. Opened by Containers.events, once for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import docker

QUEUE_LIMIT = 1000
"""Events that nobody has read yet; when more come, one `resync` stands for all of them."""


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """Something has happened to a container."""

    action: str
    """`start`, `die`, `oom`, `destroy` ... as Docker names it, or `resync`: anything may have happened."""
    container_id: str = ""


RESYNC = ContainerEvent("resync")
_END = ContainerEvent("end")


class EventStream:
    """One connection; it ends when Docker does. The first event is a `resync`, once the connection stands."""

    def __init__(self, connect: Callable[[], docker.DockerClient]) -> None:
        self.error = ""
        """Why it ended."""
        self._connect = connect
        self._queue: asyncio.Queue[ContainerEvent] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._source: Any = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="docker-events", daemon=True)

    async def __aenter__(self) -> EventStream:
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._close_source()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> ContainerEvent:
        event = await self._queue.get()
        if event is _END:
            raise StopAsyncIteration
        return event

    def _follow(self) -> None:
        client = None
        try:
            client = self._connect()
            self._source = client.events(decode=True, filters={"type": ["container"]})
            if self._closed.is_set():
                self._close_source()
            self._hand_over(RESYNC)
            for raw in self._source:
                action = str(raw.get("Action", "")).partition(":")[0]
                self._hand_over(ContainerEvent(action, str((raw.get("Actor") or {}).get("ID", ""))))
            self.error = "Docker closed the connection"
        except Exception as error:
            # Whatever it was, the answer is the same: connect again and look at everything.
            self.error = str(error)[:300] or repr(error)
        finally:
            if client is not None:
                with contextlib.suppress(Exception):
                    client.close()
        self._hand_over(_END)

    def _hand_over(self, event: ContainerEvent) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: ContainerEvent) -> None:
        if self._queue.qsize() >= QUEUE_LIMIT:
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(RESYNC)
        self._queue.put_nowait(event)

    def _close_source(self) -> None:
        if self._source is not None:
            # docker-py reaches into its HTTP library here, which fails when the connection is gone already.
            with contextlib.suppress(Exception):
                self._source.close()
