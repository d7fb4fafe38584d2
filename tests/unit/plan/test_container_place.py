"""Is a plain container still wanted? Stopped by somebody, removed, or lost with its node."""

import pytest

from swarmkeep.model.node import SeenContainer
from swarmkeep.model.workload import parse_workload
from swarmkeep.plan.container_place import container_place
from swarmkeep.plan.workload_status import Place


def seen(node: str, *, running: bool) -> SeenContainer:
    return SeenContainer(node, "web", "c", running, ())


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
    workload = parse_workload(
        {
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"policy": "web", "type": "Container", "container": {"name": "web"}},
            "status": {"phase": phase, "claim": {"node": claim, "epoch": 1}},
        }
    )
    items = [seen(node, running=running) for node, running in containers]
    assert container_place(workload, items, frozenset(lost)) is expected
