"""Which mounts a version takes along."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarmkeep.model.traits import Mount
from swarmkeep.plan.volumes import is_covered

NAMES = st.sampled_from(["", "a", "b", "/a", "/b"])
MOUNTS = st.builds(Mount, st.sampled_from(["volume", "bind", "tmpfs", "npipe"]), NAMES, st.just("/t"), st.booleans())
WISHES = st.lists(st.sampled_from(["a", "b", "/a", "/b", "*"]), unique=True)


@given(MOUNTS, WISHES)
def test_nothing_is_taken_that_was_not_asked_for(mount: Mount, wishes: list[str]) -> None:
    if is_covered(mount, wishes):
        assert mount.type in ("volume", "bind")
        assert mount.source in wishes or (mount.type == "volume" and "*" in wishes)


@given(MOUNTS, WISHES, WISHES)
def test_asking_for_more_never_takes_less(mount: Mount, wishes: list[str], more: list[str]) -> None:
    assert is_covered(mount, [*wishes, *more]) >= is_covered(mount, wishes)
