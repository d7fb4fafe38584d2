"""The room's clockwork runs fast, and its shim restores into the room instead of through runc."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent import endings, fencer, observer, starts
from swarmkeep.shim import create as shim


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(observer, "INTERVAL_S", 0.02)
    monkeypatch.setattr(endings, "LOOK_S", 0.02)
    monkeypatch.setattr(fencer, "TICK_S", 0.01)
    monkeypatch.setattr(starts, "POLL_S", 0.01)
    yield
    # What the dead have left open is none of the next test's.
    gc.collect()


@pytest.fixture
def shim_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Makes the shim's restores on a machine come up in it."""
    machines: dict[str, Any] = {}

    def restore(call: Any, settings: Any, order: dict[str, Any]) -> float:
        Path(settings.container_dir(call.container_id)).mkdir(parents=True, exist_ok=True)
        machines[settings.run_dir].restored(order)
        return 0.01

    monkeypatch.setattr(shim, "restore", restore)
    monkeypatch.setattr(shim, "prepare_fresh", lambda *_: None)
    return lambda machine: machines.update({str(machine.run): machine})
