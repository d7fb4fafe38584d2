"""The lab for end-to-end tests: brought up once for all of them, taken down at the end."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmlab import Lab, LabError
from swarmlab.process import wait_until
from swarmlab.settings import CHECKOUT
from swarmlab.workload import Api, alive_manager


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here boots or uses real nodes: that takes longer than a unit test may."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab with three nodes, SwarmKeep and the StorageLocation `main`.

    With SWARMKEEP_LAB_KEEP set it stays up afterwards, for the next run while developing.
    """
    lab = Lab()
    try:
        lab.up()
        Api(lab).apply(CHECKOUT / "manifests/samples/storage.yaml")
        yield lab
    finally:
        if "SWARMKEEP_LAB_KEEP" not in os.environ:
            lab.down()


@pytest.fixture
def api(lab: Lab) -> Api:
    """SwarmKeep's objects."""
    return Api(lab)


def _clear(lab: Lab) -> bool:
    """Every node active and no service left. Raises LabError while the Swarm has no leader or does not answer."""
    manager = alive_manager(lab)
    for node in lab.nodes:
        manager.execute(["docker", "node", "update", "--availability", "active", node.name], limit_s=10)
    for service in manager.execute(["docker", "service", "ls", "-q"], limit_s=10).stdout.split():
        manager.execute(["docker", "service", "rm", service], limit_s=10)
    return True


@pytest.fixture(autouse=True)
def tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test does to the lab is taken back: nodes on, cables whole, no services, no policies."""
    if "lab" not in request.fixturenames:
        yield
        return
    lab: Lab = request.getfixturevalue("lab")
    yield
    for node in lab.nodes:
        if not node.pid:
            lab.boot(node.name)
        elif not lab.is_connected(node.name):
            lab.mend(node.name)
    wait_until("the Swarm to do as it is told again", lambda: _clear(lab), limit_s=120)
    api = Api(lab)
    with contextlib.suppress(LabError):
        api.run("delete", "checkpointpolicies", "--all", "-n", "default")
    for node in lab.nodes:
        node.execute(["sh", "-c", "docker ps -aq | xargs -r docker rm -f"], check=False)
