"""Which images leave a cache."""

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.ident import Ref
from swarmkeep.plan.caching import Image, cache_limit, plan_eviction

from ..objects import ago

A, B = Ref("default", "a.1"), Ref("default", "b.1")


def image(workload: Ref, number: int, age_s: float = 0, size: int = 10) -> Image:
    return Image(workload, number, ago(age_s), size)


def left(images: list[Image], limit: int, *in_use: tuple[Ref, int]) -> list[tuple[str, int]]:
    going = plan_eviction(images, frozenset(in_use), limit)
    return [(item.workload.name, item.number) for item in images if item not in going]


def test_the_newest_of_each_workload_stays_while_there_is_room() -> None:
    images = [image(A, 1), image(A, 3), image(A, 2), image(B, 9, 900)]
    assert left(images, 1000) == [("a.1", 3), ("b.1", 9)]


def test_the_oldest_goes_first_when_there_is_not() -> None:
    images = [image(A, 2, 2), image(A, 3, 1), image(B, 9, 900)]
    assert left(images, 20) == [("a.1", 3), ("b.1", 9)]
    assert left(images, 10) == [("a.1", 3)]
    assert left(images, 0) == []


def test_what_is_in_use_stays() -> None:
    images = [image(A, 1), image(A, 2), image(A, 3)]
    assert left(images, 0, (A, 1)) == [("a.1", 1)]


def test_the_disk_limits_more_than_the_settings_can() -> None:
    assert cache_limit(100, 1000, 0) == 100
    assert cache_limit(100, 100, 20) == 60
    assert cache_limit(0, 1000, 0) == 0


@given(
    st.lists(st.builds(image, st.sampled_from([A, B]), st.integers(1, 9), st.integers(0, 99), st.integers(0, 50))),
    st.integers(0, 200),
)
def test_afterwards_the_limits_hold(images: list[Image], limit: int) -> None:
    images = list({(item.workload, item.number): item for item in images}.values())
    going = plan_eviction(images, frozenset(), limit)
    stay = [item for item in images if item not in going]
    assert sum(item.bytes for item in stay) <= limit
    assert all(sum(item.workload == ref for item in stay) <= 1 for ref in (A, B))
    assert len(set(going)) == len(going)
