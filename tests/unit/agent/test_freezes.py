"""A container runs only when nobody wants it to stand still."""

from collections.abc import Awaitable, Callable

import pytest

from swarmkeep.agent.freezes import Freezes, Why
from swarmkeep.errors import HostError


class RecordingFreezer:
    """Knows whether a container stands still, and can be made to fail."""

    def __init__(self) -> None:
        self.frozen: dict[str, bool] = {}
        self.kept: dict[str, bool] = {}
        self.broken = False

    async def freeze(
        self, container_id: str, pid: int, *, keep: bool, beforehand: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        if beforehand is not None:
            await beforehand()
        if self.broken:
            raise HostError("the cgroup does not freeze")
        self.frozen[container_id] = True
        self.kept[container_id] = keep

    async def thaw(self, container_id: str, pid: int) -> None:
        self.frozen[container_id] = False


async def test_a_version_does_not_thaw_what_is_fenced() -> None:
    freezer = RecordingFreezer()
    freezes = Freezes(freezer)
    await freezes.hold("c", 1, Why.VERSION)
    await freezes.hold("c", 1, Why.FENCED)
    await freezes.let_go("c", 1, Why.VERSION)
    assert freezer.frozen["c"]
    assert freezer.kept["c"]
    await freezes.let_go("c", 1, Why.FENCED)
    assert not freezer.frozen["c"]


async def test_only_fencing_outlives_the_agent() -> None:
    freezer = RecordingFreezer()
    await Freezes(freezer).hold("c", 1, Why.VERSION)
    assert freezer.kept["c"] is False


async def test_what_could_not_be_frozen_is_not_held() -> None:
    freezer = RecordingFreezer()
    freezes = Freezes(freezer)
    freezer.broken = True
    with pytest.raises(HostError):
        await freezes.hold("c", 1, Why.VERSION)
    assert not freezes.is_held("c", Why.VERSION)
    assert freezer.frozen["c"] is False


async def test_what_has_to_be_done_beforehand_and_fails_leaves_nothing_held() -> None:
    freezer = RecordingFreezer()
    freezes = Freezes(freezer)

    async def fail() -> None:
        raise HostError("runc does not start")

    with pytest.raises(HostError, match="runc"):
        await freezes.hold("c", 1, Why.VERSION, fail)
    assert not freezes.is_held("c", Why.VERSION)
    assert not freezer.frozen["c"]


async def test_failing_to_freeze_again_keeps_the_first_hold() -> None:
    freezer = RecordingFreezer()
    freezes = Freezes(freezer)
    await freezes.hold("c", 1, Why.FENCED)
    freezer.broken = True
    with pytest.raises(HostError):
        await freezes.hold("c", 1, Why.FENCED)
    assert freezes.is_held("c", Why.FENCED)
    assert freezer.frozen["c"]
