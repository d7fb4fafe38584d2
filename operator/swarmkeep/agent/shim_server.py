"""The socket at which the runtime shim asks: one connection for each call, one JSON object on each line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.errors import SwarmKeepError
from swarmkeep.obs import agent_metrics as metrics

log = structlog.get_logger(__name__)

LINE_LIMIT = 64 * 1024
WAIT_INTERVAL_S = 1.0
"""How often a shim that waits is told that the agent lives; it gives up after 5 s of silence."""
OUTCOME_LIMIT_S = 300.0
"""The longest that a restore may take before the shim has to tell how it went."""


class ShimGone(SwarmKeepError):
    """The shim closed its connection before the conversation was over."""

    reason = "ShimGone"


class Conversation:
    """One call of the shim: the question, waits while it is thought about, an answer, perhaps an outcome."""

    def __init__(self, question: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.question = question
        self.waiting_for = "the agent"
        """What the shim is told while it waits."""
        self._reader = reader
        self._writer = writer
        self._write_lock = asyncio.Lock()

    async def answer(self, reply: dict[str, Any]) -> None:
        """Sends one line. Raises ShimGone."""
        async with self._write_lock:
            try:
                self._writer.write(json.dumps(reply, separators=(",", ":")).encode() + b"\n")
                await self._writer.drain()
            except OSError as error:
                raise ShimGone(f"the runtime of container {self.container_id} went away") from error

    async def outcome(self) -> dict[str, Any]:
        """Reads the shim's report after an answer that it has to carry out. Raises ShimGone."""
        try:
            async with asyncio.timeout(OUTCOME_LIMIT_S):
                return await read_line(self._reader)
        except (TimeoutError, ValueError, OSError) as error:
            raise ShimGone(f"the runtime of container {self.container_id} did not say how the restore went") from error

    @property
    def container_id(self) -> str:
        """The container that the call is about."""
        return str(self.question.get("id", ""))


Handler = Callable[[Conversation], Awaitable[str]]
"""Holds a conversation to its end and returns one word for the metric."""


async def read_line(reader: asyncio.StreamReader) -> dict[str, Any]:
    """One JSON object. Raises ValueError for anything else, the end of the stream included."""
    value = json.loads(await reader.readline() or b"null")
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _listen(path: Path) -> socket.socket:
    """A socket at that path, which was never open to anybody but root.

    It gets its mode in a folder of its own: the process' umask would change what other threads make meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as private:
            made = Path(private, "s")
            listener.bind(str(made))
            made.chmod(0o600)
            made.rename(path)
    except BaseException:
        listener.close()
        raise
    return listener


class ShimServer:
    """Listens on the socket; only root may speak to it."""

    def __init__(self, path: Path, handlers: dict[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers

    @contextlib.asynccontextmanager
    async def listening(self) -> Any:
        """Answers questions inside the `async with` block. Raises OSError when the socket cannot be made."""
        server = await asyncio.start_unix_server(self._serve, sock=_listen(self._path), limit=LINE_LIMIT)
        try:
            yield
        finally:
            server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        op = "unknown"
        answer = "error"
        try:
            async with asyncio.timeout(5):
                question = await read_line(reader)
            op = str(question.get("op"))
            handler = self._handlers[op]
            answer = await self._hold(handler, Conversation(question, reader, writer))
        except ShimGone as error:
            answer = "gone"
            log.warning("a runtime went away before it had its answer", op=op, error=str(error))
        except (TimeoutError, ValueError, KeyError, OSError) as error:
            log.warning("a question that the agent does not understand", op=op, error=repr(error))
        finally:
            metrics.SHIM_QUESTIONS.labels(op if op in self._handlers else "unknown", answer).inc()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _hold(self, handler: Handler, conversation: Conversation) -> str:
        """Runs the handler and tells the shim every second that it is alive."""
        thinking = asyncio.ensure_future(handler(conversation))
        try:
            while not thinking.done():
                await asyncio.wait({thinking}, timeout=WAIT_INTERVAL_S)
                if not thinking.done():
                    await conversation.answer({"wait": conversation.waiting_for})
            return thinking.result()
        except SwarmKeepError as error:
            if isinstance(error, ShimGone):
                raise
            # What cannot be decided is refused, never guessed: the Swarm tries the task again.
            log.error("cannot decide about a container", container=conversation.container_id, error=str(error))
            await conversation.answer({"do": "refuse", "message": str(error)})
            return "refused"
        finally:
            if not thinking.done():
                thinking.cancel()
                with contextlib.suppress(asyncio.CancelledError, SwarmKeepError):
                    await thinking
