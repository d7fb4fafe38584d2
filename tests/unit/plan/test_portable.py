"""The doctor's findings as a policy's condition."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmkeep.model.traits import ContainerTraits, Mount
from swarmkeep.plan.portable import portable

from ..objects import policy

WELL = ContainerTraits("redis@sha256:aa", "sha256:1", True, False, (), (), (), connections=True)
BOUND = replace(WELL, mounts=(Mount("bind", "/srv", "/data", False),))
DEVICE = replace(WELL, devices=("/dev/dri",))


@pytest.mark.parametrize(
    ("traits", "status", "reason"),
    [
        ({}, "Unknown", "NotRunning"),
        ({"redis.1": None}, "Unknown", "NotRunning"),
        ({"redis.1": WELL, "redis.2": None}, "True", "NothingFound"),
        ({"redis.1": WELL, "redis.2": BOUND}, "True", "BindMount"),
        ({"redis.1": BOUND, "redis.2": DEVICE}, "False", "Devices"),
    ],
)
def test_the_worst_finding_decides(traits: dict[str, ContainerTraits | None], status: str, reason: str) -> None:
    found = portable(policy(), traits)
    assert (found.type, found.status, found.reason) == ("Portable", status, reason)


def test_equal_findings_of_many_workloads_are_told_once() -> None:
    found = portable(policy(), {f"redis.{slot}": BOUND for slot in range(1, 6)})
    assert found.message == (
        "redis.1, redis.2, redis.3 and 2 more: it writes to folders of its node, which are not part of a version "
        "(/srv at /data); name them in checkpoint.volumes of the policy, or see to it that every node has them with "
        "the same content, as on a shared file system"
    )


def test_a_long_list_is_cut_and_says_where_the_rest_is() -> None:
    many = replace(
        WELL,
        image="redis:7",
        host_namespaces=("PID", "IPC", "Network"),
        mounts=(Mount("bind", "/srv", "/data", False), Mount("volume", "data", "/d", False)),
    )
    found = portable(policy(), {"redis.1": many})
    assert found.reason == "HostPid"
    assert found.message.count("redis.1: ") == 3
    assert found.message.endswith("; and 3 more, see swarmkeep doctor")


def test_a_service_that_starts_first_is_told_with_what_to_do() -> None:
    found = portable(policy(), {"redis.1": WELL}, ["redis"])
    assert (found.status, found.reason) == ("True", "StartFirst")
    assert found.message.startswith("redis: an update starts the new task before")
    assert found.message.endswith("--update-order stop-first")
