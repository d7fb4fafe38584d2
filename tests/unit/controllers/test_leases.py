"""A lease ages by our own clock, from when we saw it change."""

from datetime import timedelta
from typing import Any

from swarmkeep.controllers.leases import Leases


def lease(version: int, seconds: int = 15) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version)}, "spec": {"leaseDurationSeconds": seconds}}


def test_a_lease_ages_until_it_changes() -> None:
    clock = [100.0]
    leases = Leases(lambda: clock[0])
    assert leases.view("n1") is None
    assert not leases.saw("n1", lease(1))
    clock[0] += 10
    assert not leases.saw("n1", lease(1)), "the same version again is no renewal"
    view = leases.view("n1")
    assert view is not None
    assert (view.age, view.duration, view.renewed) == (timedelta(seconds=10), timedelta(seconds=15), False)
    assert leases.saw("n1", lease(2, 4))
    view = leases.view("n1")
    assert view is not None
    assert (view.age, view.duration, view.renewed) == (timedelta(), timedelta(seconds=4), True)


def test_a_lease_that_is_gone_is_forgotten() -> None:
    leases = Leases(lambda: 0.0)
    leases.saw("n1", lease(1))
    leases.gone("n1")
    assert leases.view("n1") is None
