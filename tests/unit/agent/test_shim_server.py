"""The conversation with the runtime shim over a real socket."""

import asyncio
import contextlib
import json
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent import shim_server
from swarmkeep.agent.shim_server import Conversation, ShimServer
from swarmkeep.errors import Unavailable

Handler = Callable[[Conversation], Awaitable[str]]


async def exchange(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    for line in lines:
        writer.write(line)
    await writer.drain()
    replies = [json.loads(line) async for line in reader]
    writer.close()
    return replies


async def serve_once(path: Path, handler: Handler, *lines: bytes) -> list[dict[str, Any]]:
    async with ShimServer(path, {"create": handler}).listening(), asyncio.timeout(10):
        return await exchange(path, *lines)


async def test_an_answer_reaches_the_shim(tmp_path: Path) -> None:
    async def fresh(conversation: Conversation) -> str:
        assert conversation.container_id == "c1"
        await conversation.answer({"do": "fresh"})
        return "fresh"

    assert await serve_once(tmp_path / "s", fresh, b'{"op":"create","id":"c1"}\n') == [{"do": "fresh"}]


async def test_a_shim_that_waits_is_told_what_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim_server, "WAIT_INTERVAL_S", 0.02)

    async def slow(conversation: Conversation) -> str:
        conversation.waiting_for = "the claim"
        await asyncio.sleep(0.1)
        await conversation.answer({"do": "fresh"})
        return "fresh"

    replies = await serve_once(tmp_path / "s", slow, b'{"op":"create","id":"c1"}\n')
    assert {"wait": "the claim"} in replies
    assert replies[-1] == {"do": "fresh"}


async def test_what_cannot_be_decided_is_refused_with_the_reason(tmp_path: Path) -> None:
    async def lost(_: Conversation) -> str:
        raise Unavailable("the API does not answer")

    replies = await serve_once(tmp_path / "s", lost, b'{"op":"create","id":"c1"}\n')
    assert replies == [{"do": "refuse", "message": "the API does not answer"}]


async def test_the_outcome_of_a_restore_is_heard(tmp_path: Path) -> None:
    async def restore(conversation: Conversation) -> str:
        await conversation.answer({"do": "restore"})
        outcome = await conversation.outcome()
        await conversation.answer({"done": outcome["outcome"] == "restored"})
        return "restored"

    lines = (b'{"op":"create","id":"c1"}\n', b'{"outcome":"restored"}\n')
    assert await serve_once(tmp_path / "s", restore, *lines) == [{"do": "restore"}, {"done": True}]


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[1]\n", b'{"op":"rm -rf"}\n', b"\xff\n", b"x" * 100_000 + b"\n"])
async def test_nonsense_ends_the_connection_and_nothing_else(tmp_path: Path, line: bytes) -> None:
    asked = []

    async def note(conversation: Conversation) -> str:
        asked.append(conversation.container_id)
        await conversation.answer({"do": "fresh"})
        return "fresh"

    async with ShimServer(tmp_path / "s", {"create": note}).listening(), asyncio.timeout(10):
        with contextlib.suppress(ConnectionResetError):
            assert await exchange(tmp_path / "s", line) == []
        assert await exchange(tmp_path / "s", b'{"op":"create","id":"c2"}\n') == [{"do": "fresh"}]
    assert asked == ["c2"]


async def test_a_shim_that_goes_away_ends_the_thinking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim_server, "WAIT_INTERVAL_S", 0.02)
    ended = asyncio.Event()

    async def think(_: Conversation) -> str:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return "never"

    async with ShimServer(tmp_path / "s", {"create": think}).listening():
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b'{"op":"create","id":"c1"}\n')
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        async with asyncio.timeout(10):
            await ended.wait()


async def test_only_root_may_ask(tmp_path: Path) -> None:
    async with ShimServer(tmp_path / "s", {}).listening():
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    assert not (tmp_path / "s").exists()
