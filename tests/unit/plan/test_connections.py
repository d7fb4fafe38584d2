"""When connections go on, and when they are closed."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.model.policy import Tcp
from swarmkeep.plan.connections import go_on, tcp_of_dump

HERE = {"back": ("10.0.0.5",)}


@pytest.mark.parametrize(
    ("wanted", "final", "kept", "expected"),
    [
        (Tcp.ESTABLISHED, True, HERE, Tcp.ESTABLISHED),
        (Tcp.ESTABLISHED, False, HERE, Tcp.CLOSE),
        (Tcp.ESTABLISHED, True, {}, Tcp.CLOSE),
        (Tcp.CLOSE, True, HERE, Tcp.CLOSE),
        (Tcp.REFUSE, True, HERE, Tcp.REFUSE),
    ],
)
def test_only_a_version_that_ends_its_process_holds_connections(
    wanted: Tcp, final: bool, kept: dict[str, tuple[str, ...]], expected: Tcp
) -> None:
    assert tcp_of_dump(wanted, final=final, kept=kept) is expected


@pytest.mark.parametrize(
    "changed",
    [
        {"wanted": Tcp.CLOSE},
        {"held": {}},
        {"held": {}, "kept": {}},
        {"kept": {"back": ("10.0.0.6",)}},
        {"kept": {"other": ("10.0.0.5",)}},
        {"kept": {**HERE, "other": ("10.1.0.5",)}},
        {"final_version": 3},
        {"final_version": None},
        {"failed": {4: 1}},
    ],
)
def test_they_go_on_only_right_after_that_end_at_the_same_address_and_at_the_first_try(changed: dict[str, Any]) -> None:
    well: dict[str, Any] = {
        "wanted": Tcp.ESTABLISHED,
        "held": HERE,
        "final_version": 4,
        "failed": {3: 2, 4: 0},
        "kept": HERE,
    }
    assert go_on(version=4, **well)
    assert not go_on(version=4, **{**well, **changed})
