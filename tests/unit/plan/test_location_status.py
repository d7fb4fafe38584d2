"""Whether every node sees the same storage."""

import re
from dataclasses import replace
from typing import Any

import pytest

from swarmkeep.model.conditions import Condition
from swarmkeep.plan.actions import Plan
from swarmkeep.plan.location_status import LocationView, Report, plan_location, where_of

from ..objects import NOW

GOOD = (Report("n1", True, "abc", ""), Report("n2", True, "abc", ""))


def view(**fields: Any) -> LocationView:
    return replace(LocationView("main", 1, "filesystem", "/shared", "", GOOD, (), 7, 4096), **fields)


def reachable(plan: Plan) -> Condition:
    assert plan.status is not None
    return next(item for item in plan.status.conditions if item.type == "Reachable")


def test_the_identity_is_what_the_nodes_found() -> None:
    plan = plan_location(view(), NOW)
    assert plan.status is not None
    assert plan.status.fields["id"] == "abc"
    assert (plan.status.fields["versions"], plan.status.fields["storedBytes"]) == (7, 4096)
    assert reachable(plan).status == "True"


def test_an_identity_on_record_is_never_replaced() -> None:
    plan = plan_location(view(id="first"), NOW)
    assert plan.status is not None
    assert plan.status.fields["id"] == "first"


@pytest.mark.parametrize(
    ("fields", "status", "reason", "words"),
    [
        ({"reports": ()}, "Unknown", "NoNodes", "no node"),
        ({"silent": ("n3",)}, "Unknown", "Waiting", "n3"),
        ({"reports": (*GOOD, Report("n3", False, "", "not mounted"))}, "False", "Unreachable", "n3: not mounted"),
        ({"reports": (*GOOD, Report("n3", True, "xyz", ""))}, "False", "NotShared", "n3 sees xyz"),
    ],
)
def test_what_is_in_the_way_is_said(fields: dict[str, Any], status: str, reason: str, words: str) -> None:
    plan = plan_location(view(**fields), NOW)
    found = reachable(plan)
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


def test_different_folders_give_no_identity() -> None:
    plan = plan_location(view(reports=(Report("n1", True, "a", ""), Report("n2", True, "b", ""))), NOW)
    assert plan.status is not None
    assert "id" not in plan.status.fields


def test_it_is_said_that_nothing_is_encrypted() -> None:
    plan = plan_location(view(), NOW)
    assert plan.status is not None
    assert [(item.status, item.reason) for item in plan.status.conditions if item.type == "Encrypted"] == [
        ("False", "NotEncrypted")
    ]


def keyed(node: str, key: str = "k1", left: int | None = 0, said: str = "") -> Report:
    return Report(node, True, "abc", "", key_id=key, left=left, key_message=said)


@pytest.mark.parametrize(
    ("reports", "status", "reason", "words"),
    [
        ((), "Unknown", "Waiting", "no node"),
        ((Report("n1", False, "", "there is no key file"),), "Unknown", "Waiting", "no node"),
        ((keyed("n1"), keyed("n2")), "True", "Encrypted", "AES-256-GCM, key k1, for every version"),
        ((keyed("n1"), keyed("n2", left=None)), "True", "Encrypted", "key k1"),
        ((keyed("n1"), Report("n2", False, "", "no key file")), "True", "Encrypted", "key k1"),
        ((keyed("n1"), keyed("n2", left=3)), "True", "Rewrapping", "3 versions are still under other keys"),
        ((keyed("n1", left=2, said="no key k0"),), "True", "Rewrapping", "2 versions are .*n1: no key k0"),
        ((keyed("n1", left=None),), "True", "Rewrapping", "nobody has looked yet"),
        ((keyed("n1"), keyed("n2", said="mode 0644")), "True", "KeyExposed", "key k1; n2: mode 0644"),
        ((keyed("n1"), keyed("n2", "k2")), "True", "KeysDiffer", "n1 has k1, n2 has k2.*same key file"),
    ],
)
def test_how_it_is_encrypted_is_said(reports: tuple[Report, ...], status: str, reason: str, words: str) -> None:
    plan = plan_location(view(reports=reports, encrypted=True), NOW)
    assert plan.status is not None
    (found,) = [item for item in plan.status.conditions if item.type == "Encrypted"]
    assert (found.status, found.reason) == (status, reason)
    assert re.search(words, found.message)


def test_what_is_worse_than_it_could_be_is_said_once_and_harms_nothing() -> None:
    reports = tuple(Report(node, True, "abc", "ranges are slow") for node in ("n1", "n2"))
    found = reachable(plan_location(view(reports=reports), NOW))
    assert found.status == "True"
    assert found.message.endswith("reads and writes it; ranges are slow")


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"filesystem": {"path": "/shared/x"}}, "/shared/x"),
        ({"s3": {"bucket": "b", "endpoint": "https://e"}}, "s3://b at https://e"),
        ({"s3": {"bucket": "b", "prefix": "p/q", "endpoint": "https://e"}}, "s3://b/p/q at https://e"),
    ],
)
def test_where_it_is_can_be_read(spec: dict[str, Any], where: str) -> None:
    assert where_of(spec) == where
    plan = plan_location(view(where=where), NOW)
    assert plan.status is not None
    assert (plan.status.fields["type"], plan.status.fields["where"]) == ("filesystem", where)
