"""A call to storage ends when its caller is called off, and at its limit."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from swarmkeep.agent.locations import Locations
from swarmkeep.errors import Unavailable


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    locations = Locations()
    locations.update({"main": {"spec": {"filesystem": {"path": str(tmp_path)}}}})
    return locations


async def test_a_caller_that_is_called_off_just_as_storage_answers_ends(locations: Locations) -> None:
    """An agent that is told to stop would otherwise go on for ever with what it tries again for ever."""
    for turns in range(8):
        answered = threading.Event()
        task = asyncio.create_task(locations.call("main", lambda _, answered=answered: answered.set(), 5.0))  # type: ignore[misc]
        await asyncio.sleep(0)
        answered.wait(5.0)
        time.sleep(0.01)  # noqa: ASYNC251 - the answer waits for the loop
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_storage_that_does_not_answer_in_time_is_away(locations: Locations) -> None:
    go_on = threading.Event()
    try:
        with pytest.raises(Unavailable, match=r"has not answered within 0\.05 s"):
            await locations.call("main", lambda _: go_on.wait(10.0), 0.05)
    finally:
        go_on.set()
