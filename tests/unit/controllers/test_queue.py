"""The queue: once each, one at a time, later when asked, slower after failures. Time is the loop's, and is faked."""

from __future__ import annotations

import asyncio

import pytest

from swarmkeep.controllers.queue import Key, KeyedQueue
from swarmkeep.model.ident import Ref

pytestmark = pytest.mark.looptime

A, B = Key("Workload", Ref("default", "a")), Key("Workload", Ref("default", "b"))


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_key_waits_only_once() -> None:
    queue = KeyedQueue()
    for key in (A, B, A, A):
        queue.add(key)
    assert len(queue) == 2
    assert [await queue.take(), await queue.take()] == [A, B]


async def test_a_key_that_is_worked_on_comes_again_afterwards_and_not_before() -> None:
    queue = KeyedQueue()
    queue.add(A)
    key = await queue.take()
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0
    queue.done(key)
    assert await queue.take() == A
    queue.done(A)
    assert len(queue) == 0


async def test_of_several_wishes_for_later_the_earliest_counts() -> None:
    queue = KeyedQueue()
    begun = now()
    for after_s in (30, 5, 60):
        queue.add(A, after_s)
    assert await queue.take() == A
    assert now() - begun == pytest.approx(5)
    queue.done(A)
    assert queue.scheduled == 0


async def test_wake_ups_come_in_their_order() -> None:
    queue = KeyedQueue()
    queue.add(A, 20)
    queue.add(B, 10)
    assert await queue.take() == B
    assert await queue.take() == A


async def test_failures_wait_longer_each_time_and_a_success_forgets_them() -> None:
    queue = KeyedQueue()
    queue.add(A)
    pauses = []
    for _ in range(10):
        begun = now()
        key = await queue.take()
        pauses.append(now() - begun)
        queue.failed(key)
    assert pauses[1:5] == pytest.approx([0.2, 0.4, 0.8, 1.6], abs=0.01)
    assert pauses[-1] == pytest.approx(30)
    await queue.take()
    queue.done(A)
    queue.add(A)
    queue.failed(await queue.take())
    begun = now()
    await queue.take()
    assert now() - begun == pytest.approx(0.2)


async def test_news_during_a_failure_does_not_cut_the_pause_short() -> None:
    queue = KeyedQueue()
    queue.add(A)
    key = await queue.take()
    queue.add(A)
    queue.failed(key, at_least_s=10)
    begun = now()
    await queue.take()
    assert now() - begun == pytest.approx(10)


async def test_done_may_ask_for_another_look() -> None:
    queue = KeyedQueue()
    queue.add(A)
    queue.done(await queue.take(), again_after_s=7)
    begun = now()
    await queue.take()
    assert now() - begun == pytest.approx(7)


async def test_a_forgotten_key_does_not_wake() -> None:
    queue = KeyedQueue()
    queue.add(A, 5)
    queue.add(B, 10)
    queue.forget(A)
    assert await queue.take() == B


async def test_a_cancelled_worker_leaves_its_turn_to_another() -> None:
    queue = KeyedQueue()
    first, second = asyncio.create_task(queue.take()), asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add(A)
    first.cancel()
    assert await second == A
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_the_age_of_the_oldest_is_known() -> None:
    queue = KeyedQueue()
    assert queue.oldest_s == 0
    queue.add(A)
    await asyncio.sleep(3)
    queue.add(B)
    assert queue.oldest_s == pytest.approx(3)


async def test_many_workers_never_share_a_key() -> None:
    queue = KeyedQueue()
    keys = [Key("Workload", Ref("default", str(number))) for number in range(20)]
    working: set[Key] = set()
    seen: dict[Key, int] = dict.fromkeys(keys, 0)

    async def work() -> None:
        while True:
            key = await queue.take()
            assert key not in working
            working.add(key)
            await asyncio.sleep(0.3)
            working.remove(key)
            seen[key] += 1
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for _ in range(20):
        for key in keys:
            queue.add(key)
        await asyncio.sleep(0.25)
    await asyncio.sleep(10)
    assert all(count >= 2 for count in seen.values())
    assert not [worker for worker in workers if worker.done()]
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
