"""Is a plain container still wanted? Stopped by somebody, removed, or lost with its node."""

from typing import Any

import pytest

from swarmkeep.model.node import SeenContainer
from swarmkeep.model.workload import Workload, parse_workload
from swarmkeep.plan.container_place import container_place, is_adrift
from swarmkeep.plan.workload_status import Place


def seen(node: str, *, running: bool) -> SeenContainer:
    return SeenContainer(node, "web", "c", running, ())


def web(claim: str, phase: str = "Running", **status: Any) -> Workload:
    return parse_workload(
        {
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"policy": "web", "type": "Container", "container": {"name": "web"}},
            "status": {"phase": phase, "claim": {"node": claim, "epoch": 4}, **status},
        }
    )


@pytest.mark.parametrize(
    ("containers", "claim", "phase", "lost", "expected"),
    [
        ([("n1", True)], "n1", "Running", (), Place.WANTED),
        ([("n1", False)], "", "Stopped", (), Place.NOT_WANTED),
        ([], "", "Stopped", (), Place.CONTAINER_GONE),
        # The node died with it.
        ([("n1", True)], "n1", "Running", ("n1",), Place.WANTED),
        ([("n1", True)], "n1", "Lost", ("n1",), Place.WANTED),
        # Its Node object was deleted as well, but nobody has stopped the container.
        ([], "n1", "Lost", ("n1",), Place.WANTED),
        # It was stopped before its node died.
        ([("n1", False)], "", "Stopped", ("n1",), Place.NOT_WANTED),
        # It runs elsewhere by now.
        ([("n1", True), ("n2", True)], "n2", "Running", ("n1",), Place.WANTED),
        # It was moved and then stopped where it went; the lost node's last word counts for nothing.
        ([("n1", True), ("n2", False)], "", "Stopped", ("n1",), Place.NOT_WANTED),
    ],
)
def test_what_has_become_of_it(
    containers: list[tuple[str, bool]], claim: str, phase: str, lost: tuple[str, ...], expected: Place
) -> None:
    workload = web(claim, phase)
    items = [seen(node, running=running) for node, running in containers]
    assert container_place(workload, items, frozenset(lost)) is expected


@pytest.mark.parametrize(
    ("sent_at", "failed", "expected"),
    [
        # The lost node came back and gave its claim up, since it was rebooted: the other one goes on.
        (4, False, Place.WANTED),
        # The other one took the claim, could not bring it up, and gave the claim back.
        (3, True, Place.WANTED),
        # It was moved, came up, and was then stopped by somebody.
        (3, False, Place.NOT_WANTED),
    ],
)
def test_what_was_to_go_on_elsewhere_and_has_not_is_wanted(sent_at: int, failed: bool, expected: Place) -> None:
    workload = web("", "Stopped", placement={"node": "n2", "epoch": sent_at})
    assert container_place(workload, [seen("n1", running=False)], frozenset(), failed=failed) is expected


@pytest.mark.parametrize(
    ("claim", "containers", "lost", "place", "expected"),
    [
        ("n1", [("n1", True)], {"n1"}, Place.WANTED, True),
        ("n1", [("n1", True)], set(), Place.WANTED, False),
        ("", [("n1", False)], set(), Place.NOT_WANTED, False),
        # Its claim went back while it was on its way, or after a node had tried in vain.
        ("", [("n1", True)], {"n1"}, Place.WANTED, True),
        # It has come up, and its agent is about to claim it.
        ("", [("n2", True)], set(), Place.WANTED, False),
    ],
)
def test_adrift_is_what_nobody_stopped_and_nobody_runs(
    claim: str, containers: list[tuple[str, bool]], lost: set[str], place: Place, expected: bool
) -> None:
    items = [seen(node, running=running) for node, running in containers]
    assert is_adrift(web(claim), items, frozenset(lost), place) is expected
