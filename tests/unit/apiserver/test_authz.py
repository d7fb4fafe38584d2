"""Who may do what."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.apiserver.authn import Role, User, user_of
from swarmkeep.apiserver.authz import Access, denial, write_denial

ADMIN, OPERATOR, AGENT, NOBODY = (
    User("a", Role.ADMIN),
    User("o", Role.OPERATOR),
    User("n1", Role.AGENT),
    User("x", Role.NONE),
)
OURS, CORE, COORDINATION = "swarmkeep.dev", "", "coordination.k8s.io"


def certificate(organization: str | None, name: str | None = "n1") -> dict[str, Any]:
    subject = [(("organizationName", organization),)] if organization is not None else []
    return {"subject": (*subject, *(((("commonName", name),),) if name is not None else ()))}


@pytest.mark.parametrize(
    ("presented", "user"),
    [
        (certificate("swarmkeep:admin"), User("n1", Role.ADMIN)),
        (certificate("swarmkeep:operator"), User("n1", Role.OPERATOR)),
        (certificate("swarmkeep:agent"), User("n1", Role.AGENT)),
        (certificate("swarmkeep:apiserver"), User("n1", Role.NONE)),
        (certificate("swarmkeep:"), User("n1", Role.NONE)),
        (certificate("swarmkeep:Admin"), User("n1", Role.NONE)),
        (certificate("admin"), User("n1", Role.NONE)),
        (certificate(None), User("n1", Role.NONE)),
        (certificate("swarmkeep:agent", None), User("system:unknown", Role.NONE)),
        (certificate("swarmkeep:agent", ""), User("system:unknown", Role.NONE)),
        ({}, User("system:unknown", Role.NONE)),
        (None, User("system:unknown", Role.NONE)),
    ],
)
def test_the_certificate_says_who_calls(presented: Any, user: User) -> None:
    assert user_of(presented) == user


@pytest.mark.parametrize("verb", ["get", "list", "watch"])
@pytest.mark.parametrize("plural", ["workloads", "secrets", "leases"])
def test_everybody_with_a_role_reads_everything(verb: str, plural: str) -> None:
    for user in (ADMIN, OPERATOR, AGENT):
        assert denial(user, Access(verb, OURS, plural, "default", "x")) is None
    assert denial(NOBODY, Access(verb, OURS, plural, "default", "x"))


@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        (Access("create", OURS, "workloads", "default"), True),
        (Access("deletecollection", OURS, "checkpoints", "default"), True),
        (Access("patch", OURS, "nodes", "", "n1", "status"), True),
        (Access("patch", OURS, "migrations", "default", "m", "status"), True),
        (Access("patch", CORE, "events", "default", "e"), True),
        (Access("update", COORDINATION, "leases", "default", "l"), True),
        (Access("create", CORE, "namespaces"), True),
        (Access("patch", "apiextensions.k8s.io", "customresourcedefinitions", "", "x"), False),
        (Access("create", "other.dev", "events", "default"), False),
        (Access("create", "other.dev", "workloads", "default"), False),
    ],
)
def test_what_the_operator_may_write(access: Access, allowed: bool) -> None:
    assert (denial(OPERATOR, access) is None) is allowed
    assert denial(ADMIN, access) is None


@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        (Access("create", OURS, "nodes", "", ""), True),
        (Access("create", OURS, "nodes", "", "n1"), True),
        (Access("create", OURS, "nodes", "", "n2"), False),
        (Access("patch", OURS, "nodes", "", "n1", "status"), True),
        (Access("patch", OURS, "nodes", "", "n2", "status"), False),
        (Access("delete", OURS, "nodes", "", "n2"), False),
        (Access("deletecollection", OURS, "nodes"), False),
        (Access("patch", COORDINATION, "leases", "swarmkeep-nodes", "n1"), True),
        (Access("patch", COORDINATION, "leases", "swarmkeep-nodes", "n2"), False),
        (Access("create", COORDINATION, "leases", "swarmkeep-nodes", "n2"), False),
        (Access("patch", COORDINATION, "leases", "default", "n1"), False),
        (Access("deletecollection", COORDINATION, "leases", "swarmkeep-nodes"), False),
        (Access("create", CORE, "events", "default"), True),
        (Access("patch", CORE, "events", "default", "e"), True),
        (Access("delete", CORE, "events", "default", "e"), False),
        (Access("create", CORE, "namespaces"), False),
        (Access("create", OURS, "checkpoints", "default"), True),
        (Access("delete", OURS, "checkpoints", "default", "c"), True),
        (Access("deletecollection", OURS, "checkpoints", "default"), False),
        (Access("patch", OURS, "workloads", "default", "w", "status"), True),
        (Access("update", OURS, "workloads", "default", "w", "status"), True),
        (Access("patch", OURS, "workloads", "default", "w"), False),
        (Access("create", OURS, "workloads", "default"), False),
        (Access("delete", OURS, "workloads", "default", "w"), False),
        (Access("create", OURS, "restores", "default"), False),
        (Access("patch", OURS, "restores", "default", "r", "status"), False),
        (Access("patch", OURS, "checkpointpolicies", "default", "p"), False),
        (Access("patch", OURS, "storagelocations", "", "s", "status"), True),
        (Access("patch", OURS, "storagelocations", "", "s"), False),
        (Access("create", OURS, "storagelocations", ""), False),
        (Access("delete", OURS, "storagelocations", "", "s"), False),
        (Access("create", OURS, "migrations", "default"), False),
        (Access("patch", OURS, "migrations", "default", "m", "status"), False),
        (Access("delete", OURS, "migrations", "default", "m"), False),
        (Access("patch", "other.dev", "nodes", "", "n1"), False),
    ],
)
def test_what_an_agent_may_ask_for(access: Access, allowed: bool) -> None:
    assert (denial(AGENT, access) is None) is allowed


def checkpoint(label: str = "", node: str = "") -> dict[str, Any]:
    metadata = {"labels": {"swarmkeep.dev/node": label}} if label else {}
    return {"metadata": metadata, **({"status": {"node": node}} if node else {})}


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        (None, checkpoint("n1"), True),
        (None, checkpoint("n2"), False),
        (None, checkpoint(), False),
        (checkpoint(), checkpoint("n1"), True),
        (checkpoint(), checkpoint("", "n1"), True),
        (checkpoint(), checkpoint(), False),
        (checkpoint("n1"), checkpoint("n1", "n1"), True),
        (checkpoint("n1", "n1"), checkpoint("n1", "n2"), False),
        (checkpoint("n2"), checkpoint("n1"), False),
        (checkpoint("n1", "n2"), checkpoint("n1", "n1"), False),
        (checkpoint("n1"), None, True),
        (checkpoint("n2"), None, False),
        (checkpoint("", "n2"), None, False),
        (checkpoint(), None, False),
    ],
)
def test_which_checkpoints_an_agent_may_write(old: Any, new: Any, allowed: bool) -> None:
    access = Access("patch", OURS, "checkpoints", "default", "c")
    assert (write_denial(AGENT, access, old, new, "") is None) is allowed
    assert write_denial(OPERATOR, access, old, new, "") is None


def ordered(verifier: str, verified: Any = None, **status: Any) -> dict[str, Any]:
    """A version of n2 that a node has to verify."""
    found = {"node": "n2", "phase": "Stored", "verification": {"node": verifier, "number": 1}, **status}
    if verified is not None:
        found["verified"] = verified
    return {"metadata": {"labels": {"swarmkeep.dev/node": "n2"}}, "status": found}


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        (ordered("n1"), ordered("n1", {"number": 1}), True),
        (ordered("n1", {"number": 0}), ordered("n1", {"number": 1}), True),
        (ordered("n3"), ordered("n3", {"number": 1}), False),
        (ordered(""), ordered("", {"number": 1}), False),
        (ordered("n1"), ordered("n1", {"number": 1}, phase="Deleting"), False),
        (ordered("n1"), ordered("n1", {"number": 1}, node="n1"), False),
        (ordered("n1"), {**ordered("n1"), "spec": {"pinned": False}}, False),
        (ordered("n1"), None, False),
        (None, ordered("n1", {"number": 1}), False),
    ],
)
def test_an_agent_answers_what_it_was_told_to_verify_and_writes_nothing_else(old: Any, new: Any, allowed: bool) -> None:
    access = Access("patch", OURS, "checkpoints", "default", "c", "status")
    assert (write_denial(AGENT, access, old, new, "") is None) is allowed


def location(importer: str, imported: Any = None, **status: Any) -> dict[str, Any]:
    found = {"import": {"node": importer, "number": 1}, **status}
    if imported is not None:
        found["imported"] = imported
    return {"metadata": {"name": "main"}, "status": found}


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        (location("n1"), location("n1", {"number": 1}), True),
        (location("n2"), location("n2", {"number": 1}), False),
        (location("n1"), location("n1", {"number": 1}, id="other"), False),
        (location("n1"), location("n2"), False),
        ({"metadata": {}}, {"metadata": {}, "status": {"versions": 3}}, False),
        ({"metadata": {}}, None, False),
    ],
)
def test_an_agent_answers_what_it_was_told_to_import_and_writes_nothing_else(old: Any, new: Any, allowed: bool) -> None:
    access = Access("patch", OURS, "storagelocations", "", "main", "status")
    assert (write_denial(AGENT, access, old, new, "") is None) is allowed
    assert write_denial(OPERATOR, access, old, new, "") is None


def workload(node: str | None, epoch: int | None = None) -> dict[str, Any]:
    return {"metadata": {}, "status": {"claim": {"node": node, **({} if epoch is None else {"epoch": epoch})}}}


@pytest.mark.parametrize(
    ("old", "new", "expired", "allowed"),
    [
        (workload(""), workload("n1", 1), "", True),
        (workload(None), workload("n1", 1), "", True),
        ({"metadata": {}}, workload("n1", 1), "", True),
        ({"metadata": {}, "status": None}, workload("n1", 1), "", True),
        (workload("", 4), workload("n1", 5), "", True),
        (workload("", 4), workload("n1", 4), "", False),
        (workload("", 4), workload("n1", 6), "", False),
        (workload("n1", 4), workload("n1", 4), "", True),
        (workload("n1", 4), workload("n1", 5), "", True),
        (workload("n1", 4), workload("n1", 1), "", False),
        (workload("n1", 4), workload("", 4), "", True),
        (workload("n1", 4), workload("", 0), "", False),
        (workload("", 4), workload("", 4), "", True),
        (workload("", 4), workload(""), "", False),
        (workload("n1"), workload("n1"), "", True),
        (workload("n1"), workload(""), "", True),
        (workload("n1"), {"metadata": {}}, "", True),
        (workload("n1"), workload("n2"), "", False),
        (workload(""), workload("n2"), "", False),
        (workload("n2"), workload("n2"), "", False),
        (workload("n2"), workload("n1"), "", False),
        (workload("n2", 4), workload("n1", 5), "n2", True),
        (workload("n2", 4), workload("n1", 4), "n2", False),
        (workload("n2"), workload(""), "n2", True),
        (workload("n2"), workload("n1"), "n3", False),
        (workload("n2"), workload("n3"), "n2", False),
        (None, workload("n1"), "", False),
    ],
)
def test_whose_workloads_an_agent_may_claim(old: Any, new: Any, expired: str, allowed: bool) -> None:
    access = Access("patch", OURS, "workloads", "default", "w", "status")
    assert (write_denial(AGENT, access, old, new, expired) is None) is allowed


def event(reporter: str, host: str = "") -> dict[str, Any]:
    return {"reportingInstance": reporter, "source": {"host": host}}


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        (None, event("n1"), True),
        (None, event("", "n1"), True),
        (None, event("n2"), False),
        (None, {}, False),
        (event("n1"), event("n1"), True),
        (event("n1"), event("n2"), False),
        (event("n2"), event("n1"), False),
    ],
)
def test_whose_events_an_agent_may_write(old: Any, new: Any, allowed: bool) -> None:
    access = Access("patch", CORE, "events", "default", "e")
    assert (write_denial(AGENT, access, old, new, "") is None) is allowed
    assert write_denial(OPERATOR, access, old, new, "") is None
