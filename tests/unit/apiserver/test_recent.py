"""What is remembered of objects is bounded, and never goes back in time."""

from __future__ import annotations

from swarmkeep.apiserver.recent import RecentObjects
from swarmkeep.apiserver.store import Stored
from swarmkeep.etcd.records import EventType, KeyValue, WatchEvent


def change(key: str, revision: int, value: bytes = b"x", type_: EventType = EventType.PUT) -> WatchEvent:
    return WatchEvent(type_, KeyValue(key, value, 1, revision), None)


def test_the_newest_state_is_kept_in_whatever_order_it_comes() -> None:
    recent = RecentObjects()
    recent.remember("a", Stored(b"new", 7))
    recent.observe(change("a", 5, b"old"))
    assert recent.get("a") == Stored(b"new", 7)
    recent.observe(change("a", 6, type_=EventType.DELETE))
    assert recent.get("a") == Stored(b"new", 7)
    recent.observe(change("a", 8, type_=EventType.DELETE))
    assert recent.get("a") is None


def test_what_was_not_used_for_long_is_forgotten_first() -> None:
    recent = RecentObjects(limit_bytes=5_000)
    for name in "abc":
        recent.remember(name, Stored(bytes(1000), 1))
    assert recent.get("a") is not None
    recent.remember("d", Stored(bytes(1000), 1))
    assert [name for name in "abcd" if recent.get(name)] == ["a", "c", "d"]


def test_changes_of_one_object_do_not_add_up() -> None:
    recent = RecentObjects(limit_bytes=5_000)
    recent.remember("other", Stored(b"x", 1))
    for revision in range(1, 100):
        recent.observe(change("a", revision, bytes(1000)))
    assert recent.get("other") is not None
