"""A hook runs in the container and leaves nothing behind, whatever it does."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmkeep.agent.runtime import hook as module
from swarmkeep.agent.runtime.hook import MARK, OUTPUT_BYTES, HookFailed, HookRunner

# As `runc --root R exec --env MARK ID COMMAND...` does, without another namespace.
RUNC = """#!/bin/sh
[ "$1 $2 $3 $4" = "--root /run/runc exec --env" ] || exit 99
mark=$5
shift 6
exec env "$mark" "$@"
"""


def all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def left_over() -> list[int]:
    """Processes that bear a hook's mark, this one not being one."""
    found = []
    for pid in all_processes():
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if f"{MARK}=".encode() in environ and state != "Z":
            found.append(pid)
    return found


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HookRunner:
    runc = tmp_path / "runc"
    runc.write_text(RUNC)
    runc.chmod(0o755)
    monkeypatch.setattr(module, "find_freezer", lambda *_: SimpleNamespace(processes=all_processes))
    return HookRunner(runc, Path("/run/runc"))


async def run(runner: HookRunner, *command: str, limit_s: float = 20.0) -> None:
    await runner.run("c1", 1, command, limit_s)


async def test_a_hook_gets_its_words_as_they_are(runner: HookRunner, tmp_path: Path) -> None:
    await run(runner, "sh", "-c", 'printf %s "$1" >"$2"', "x", "a  b; $HOME", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "a  b; $HOME"


async def test_what_it_printed_last_is_told_when_it_fails(runner: HookRunner) -> None:
    with pytest.raises(HookFailed, match=r"ended with 7: out\nerr$"):
        await run(runner, "sh", "-c", "echo out; echo err >&2; exit 7")
    with pytest.raises(HookFailed, match="printed nothing"):
        await run(runner, "false")
    with pytest.raises(HookFailed) as caught:
        await run(runner, "sh", "-c", "yes | head -c 3000000; echo end; exit 1")
    assert str(caught.value).endswith("end")
    assert len(str(caught.value)) < OUTPUT_BYTES + 200


async def test_one_that_hangs_is_killed_with_all_that_it_started(runner: HookRunner) -> None:
    begun = time.monotonic()
    script = "trap '' TERM HUP; setsid sleep 1000 & (sleep 1000 &) ; echo waiting; sleep 1000"
    with pytest.raises(HookFailed, match=r"longer than 0\.5 s and was killed: waiting"):
        await run(runner, "sh", "-c", script, limit_s=0.5)
    assert time.monotonic() - begun < 10
    assert left_over() == []


async def test_what_a_hook_leaves_running_is_ended_though_it_went_well(runner: HookRunner) -> None:
    await run(runner, "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &")
    assert left_over() == []


async def test_one_that_is_called_off_is_ended_as_well(runner: HookRunner) -> None:
    running = asyncio.create_task(run(runner, "sleep", "1000"))
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(left_over):
            continue
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left_over() == []


async def test_one_that_does_not_die_is_told(runner: HookRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_LIMIT_S", 0.3)
    killed: list[int] = []
    real: Any = os.kill

    def kill(pid: int, number: int) -> None:
        killed.append(pid)

    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", kill)
        with pytest.raises(HookFailed, match="cannot be ended: process"):
            await run(runner, "sleep", "1000", limit_s=0.2)
    real(killed[0], 9)
    async with asyncio.timeout(20):
        while killed[0] in await asyncio.to_thread(all_processes):
            continue


async def test_without_runc_the_hook_fails_in_words(tmp_path: Path) -> None:
    with pytest.raises(HookFailed, match="cannot start"):
        await run(HookRunner(tmp_path / "none", Path("/run/runc")), "true")
