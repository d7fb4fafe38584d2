"""The mirror against a real HTTP server: what it holds after outages, cuts and forgotten history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD


class Watched:
    """A running mirror and what it told."""

    def __init__(self, client: Client, **options: Any) -> None:
        self.changes: list[tuple[str, Any, Any]] = []
        self.mirror = Mirror(client, WORKLOAD, "default", on_change=self._note, **options)
        self.task = asyncio.create_task(self.mirror.run())

    def _note(self, ref: Ref, old: Any, new: Any) -> None:
        self.changes.append((ref.name, old and old.get("spec"), new and new.get("spec")))

    @property
    def names(self) -> set[str]:
        return {ref.name for ref in self.mirror.objects}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                assert not self.task.done(), self.task.exception()
                await asyncio.sleep(0.01)


@pytest.fixture
async def watched(client: Client) -> AsyncIterator[Callable[..., Watched]]:
    running: list[Watched] = []

    def start(**options: Any) -> Watched:
        running.append(Watched(client, **options))
        return running[-1]

    yield start
    for one in running:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in running), return_exceptions=True)


async def test_shows_what_is_there_and_what_happens(api: Any, watched: Any) -> None:
    api.put("a", spec=1)
    seen = watched()
    assert not seen.mirror.synced
    await seen.mirror.wait_synced()
    api.put("b", spec=2)
    api.put("a", spec=3)
    api.remove("b")
    await seen.until(lambda: len(seen.changes) == 4)
    assert seen.changes == [("a", None, 1), ("b", None, 2), ("a", 1, 3), ("b", 2, None)]
    assert seen.mirror.get("a", "default")["spec"] == 3
    assert seen.mirror.get("b", "default") is None


async def test_goes_on_from_where_a_cut_stream_ended(api: Any, watched: Any) -> None:
    api.put("a", spec=1)
    seen = watched()
    await seen.until(lambda: seen.mirror.connected)
    api.end_streams()
    api.put("b", spec=2)
    await seen.until(lambda: seen.names == {"a", "b"})
    lists = [request for request in api.requests if "watch" not in request.query]
    assert len(lists) == 1


async def test_objects_stay_while_the_api_is_away_and_the_news_come_afterwards(api: Any, watched: Any) -> None:
    api.put("a", spec=1)
    api.put("b", spec=1)
    seen = watched()
    await seen.until(lambda: seen.mirror.connected)
    await api.stop()
    await seen.until(lambda: not seen.mirror.connected)
    assert seen.names == {"a", "b"}
    assert seen.mirror.synced
    age = seen.mirror.age_s
    await asyncio.sleep(0.05)
    assert seen.mirror.age_s > age
    api.remove("a")
    api.put("c", spec=1)
    await api.start()
    await seen.until(lambda: seen.names == {"b", "c"})
    assert seen.mirror.age_s < 5


async def test_a_deletion_that_nobody_saw_is_told_after_history_was_forgotten(api: Any, watched: Any) -> None:
    api.put("ghost", spec=1)
    api.put("stays", spec=1)
    seen = watched()
    await seen.until(lambda: seen.mirror.connected)
    await api.stop()
    await seen.until(lambda: not seen.mirror.connected)
    seen.changes.clear()
    api.remove("ghost")
    api.compact()
    await api.start()
    await seen.until(lambda: seen.names == {"stays"})
    assert seen.changes == [("ghost", 1, None)]


async def test_an_object_that_was_made_anew_meanwhile_is_told_as_changed(api: Any, watched: Any) -> None:
    api.put("a", spec=1)
    seen = watched()
    await seen.until(lambda: seen.mirror.connected)
    await api.stop()
    api.remove("a")
    api.put("a", spec=2)
    api.compact()
    await api.start()
    await seen.until(lambda: ("a", 1, 2) in seen.changes)


async def test_a_store_that_went_back_in_time_is_listed_again(api: Any, watched: Any, faults: SimpleNamespace) -> None:
    api.put("a", spec=1)
    seen = watched()
    await seen.until(lambda: seen.mirror.connected)
    await api.stop()
    api.objects.clear()
    api.log.clear()
    api.revision = 3
    api.put("b", spec=1)
    api.faults += [faults.streams(faults.line("BOOKMARK", {"metadata": {"resourceVersion": "4"}}), then="silence")]
    await api.start()
    await seen.until(lambda: seen.names == {"b"})
    assert ("a", 1, None) in seen.changes


async def test_a_silent_stream_is_replaced(api: Any, watched: Any, faults: SimpleNamespace) -> None:
    api.put("a", spec=1)
    seen = watched(silence_limit_s=0.3)
    await seen.mirror.wait_synced()
    api.end_streams()
    api.faults += [faults.streams(then="silence")]
    await seen.until(lambda: not api.faults)
    api.put("b", spec=1)
    await seen.until(lambda: seen.names == {"a", "b"})


async def test_a_refusal_is_waited_out_with_pauses(api: Any, watched: Any, faults: SimpleNamespace) -> None:
    api.faults += [faults.answers(403, "Forbidden")] * 3
    api.put("a", spec=1)
    seen = watched()
    await seen.mirror.wait_synced()
    assert seen.names == {"a"}
    assert len(api.requests) <= 5


async def test_equal_objects_are_not_told_again_after_a_second_list(api: Any, watched: Any) -> None:
    api.put("a", spec=1)
    seen = watched()
    await seen.until(lambda: seen.mirror.connected)
    await api.stop()
    api.revision += 5
    api.compact()
    await api.start()
    await seen.until(lambda: seen.mirror.connected)
    assert seen.changes == [("a", None, 1)]


async def test_an_error_in_the_callback_is_not_swallowed(api: Any, client: Client) -> None:
    def broken(ref: Ref, old: Any, new: Any) -> None:
        raise RuntimeError("a bug")

    api.put("a", spec=1)
    with pytest.raises(RuntimeError, match="a bug"):
        await asyncio.wait_for(Mirror(client, WORKLOAD, "default", on_change=broken).run(), 5)


async def test_objects_cannot_be_removed_from_outside(client: Client) -> None:
    with pytest.raises(TypeError):
        Mirror(client, WORKLOAD).objects[Ref("default", "a")] = {}  # type: ignore[index]
