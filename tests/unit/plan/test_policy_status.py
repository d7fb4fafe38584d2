"""Whether a policy is carried out, in words that say what to do."""

from dataclasses import replace
from typing import Any

import pytest

from swarmkeep.model.conditions import Condition, Status, merge_conditions
from swarmkeep.model.ident import Ref
from swarmkeep.model.node import SeenContainer
from swarmkeep.model.swarm import Mode, Snapshot
from swarmkeep.model.traits import ContainerTraits
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Replica
from swarmkeep.plan.actions import Plan, PutWorkload
from swarmkeep.plan.policy_status import Member, PolicyView, plan_policy
from swarmkeep.plan.resolve import resolve

from ..objects import NOW, ago, newest, policy, service, task, workload


def conditions(*items: Condition) -> tuple[Any, ...]:
    return tuple(merge_conditions([], items, NOW, 1))


REACHABLE = conditions(Condition("Reachable", Status.TRUE, "Reachable", "fine"))
SWARM = Snapshot.of((), (service(),), (task(),), {"svc1"})
KNOWN = resolve(policy(), [policy()], SWARM, {}).workloads


def member(*, protected: bool = True, failure: str = "", extra: tuple[Condition, ...] = (), **status: Any) -> Member:
    said = Condition("Protected", Status.TRUE if protected else Status.FALSE, "x", "because")
    return Member(workload(**{"newestVersion": newest(), **status}), conditions(said, *extra), failure)


def view(**fields: Any) -> PolicyView:
    base = PolicyView(
        ref=Ref("default", "redis"),
        generation=3,
        policy=policy(),
        problem="",
        rivals=(policy(),),
        swarm=SWARM,
        swarm_problem="",
        known=KNOWN,
        members=(member(),),
        locations={"main": REACHABLE},
    )
    return replace(base, **fields)


def condition(plan: Plan, type_: str) -> Condition:
    assert plan.status is not None
    return next(item for item in plan.status.conditions if item.type == type_)


def test_all_is_well() -> None:
    plan = plan_policy(view(), NOW)
    assert plan.actions == ()
    assert plan.status is not None
    assert plan.status.fields == {
        "observedGeneration": 3,
        "selects": "service/redis",
        "services": ["redis"],
        "workloads": 1,
        "protected": 1,
        "restorable": 1,
        "oldestVersionAt": format_time(ago(3)),
    }
    assert [item.status for item in plan.status.conditions] == ["True", "True", "True", "False", "Unknown"]


def test_missing_workloads_are_made_and_changed_ones_put_right() -> None:
    plan = plan_policy(view(known={}), NOW)
    (action,) = plan.actions
    assert isinstance(action, PutWorkload)
    assert action.ref == Ref("default", "redis.1")
    forced = Snapshot.of((), (service(force_update=2),), (task(),), {"svc1"})
    (action,) = plan_policy(view(swarm=forced), NOW).actions
    assert isinstance(action, PutWorkload)
    assert action.spec.force_update == 2


@pytest.mark.parametrize(
    ("fields", "status", "reason", "words"),
    [
        ({"policy": None, "problem": "spec.x is wrong"}, "False", "InvalidSpec", "spec.x is wrong"),
        ({"swarm": None, "swarm_problem": "no manager"}, "Unknown", "SwarmUnavailable", "no manager"),
        ({"locations": {"main": None}}, "False", "StorageLocationMissing", "StorageLocation main"),
        ({"locations": {"main": ()}}, "Unknown", "StorageUnreachable", "no node has looked"),
        (
            {"locations": {"main": conditions(Condition("Reachable", Status.FALSE, "x", "n2: not mounted"))}},
            "False",
            "StorageUnreachable",
            "n2: not mounted",
        ),
        ({"rivals": (policy(), policy("older", age_s=900))}, "False", "Overlap", "default/older"),
        ({"swarm": Snapshot()}, "False", "NothingSelected", "service/redis"),
        (
            {"swarm": Snapshot.of((), (service(mode=Mode.JOB),), (), {"svc1"})},
            "False",
            "OnlyJobs",
            "jobs are not kept alive",
        ),
        ({"policy": policy(schedule={"every": "5s", "suspend": True})}, "True", "Suspended", "suspend"),
    ],
)
def test_ready_says_what_is_in_the_way(fields: dict[str, Any], status: str, reason: str, words: str) -> None:
    found = condition(plan_policy(view(**fields), NOW), "Ready")
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


def test_portable_tells_of_services_that_start_first() -> None:
    others = service("other", id="svc2", start_first=True)
    eager = replace(SWARM, services={"svc1": service(start_first=True), "svc2": others})
    known = replace(member(), traits=ContainerTraits("redis@sha256:aa", "sha256:1", False, False, (), (), (), False))
    found = condition(plan_policy(view(swarm=eager, members=(known,)), NOW), "Portable")
    assert (found.reason, found.message.partition(":")[0]) == ("StartFirst", "redis")


def test_while_the_swarm_is_away_nothing_is_made_and_the_numbers_stay() -> None:
    plan = plan_policy(view(swarm=None, known={}), NOW)
    assert plan.actions == ()
    assert plan.status is not None
    assert "services" not in plan.status.fields
    assert "workloads" not in plan.status.fields
    assert plan.status.fields["protected"] == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "AllProtected"),
        ({"swarm": Snapshot()}, "NoWorkloads"),
        ({"members": ()}, "NotAllProtected"),
        ({"members": (member(protected=False),)}, "NotAllProtected"),
    ],
)
def test_protected(fields: dict[str, Any], reason: str) -> None:
    assert condition(plan_policy(view(**fields), NOW), "Protected").reason == reason


def test_unprotected_workloads_are_named_with_their_reason() -> None:
    found = condition(plan_policy(view(members=(member(protected=False),)), NOW), "Protected")
    assert found.message == "1 of 1 workloads have no version that is young enough: redis.1: because"


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (member(), "AsPromised"),
        (member(phase="Lost"), "NodeLost"),
        (member(phase="Held"), "Held"),
        (member(extra=(Condition("Drift", Status.TRUE, "ColdStart", "came up fresh"),)), "Drift"),
        (member(extra=(Condition("CrashLoop", Status.TRUE, "OutOfMemory", "again and again"),)), "CrashLoop"),
        (member(extra=(Condition("Restorable", Status.FALSE, "TestRestoreFailed", "no"),)), "TestRestoreFailed"),
        (member(failure="disk full"), "VersionsFail"),
    ],
)
def test_degraded(one: Member, reason: str) -> None:
    found = condition(plan_policy(view(members=(one,)), NOW), "Degraded")
    assert found.reason == reason
    assert found.status == ("False" if reason == "AsPromised" else "True")


def test_without_any_version_there_is_no_recovery_point() -> None:
    plan = plan_policy(view(members=(member(protected=False, newestVersion=None),)), NOW)
    assert plan.status is not None
    assert plan.status.fields["oldestVersionAt"] is None
    assert plan.status.fields["restorable"] == 0


def test_a_location_that_is_behind_degrades_the_policy() -> None:
    two = policy(storage=["main", "far"])
    behind = replace(member(), replicas=(Replica("far", 4, ago(60), "n1: no answer"),))
    plan = plan_policy(
        view(policy=two, rivals=(two,), locations={"main": REACHABLE, "far": REACHABLE}, members=(behind,)), NOW
    )
    assert condition(plan, "Replicated").status == Status.FALSE
    degraded = condition(plan, "Degraded")
    assert (degraded.status, degraded.reason) == (Status.TRUE, "ReplicationBehind")
    assert "version 4 of 5: n1: no answer" in degraded.message
    assert condition(plan, "Ready").status == Status.TRUE


def of_web(*nodes: str, **fields: Any) -> PolicyView:
    """The view of a policy for the plain container `web`, which runs on these nodes."""
    web = policy("web", selector={"container": "web"})
    seen = tuple(SeenContainer(node, "web", f"web-{node}", True, (web.ref,)) for node in nodes)
    given: dict[str, Any] = {
        "swarm": None,
        "swarm_problem": "no manager",
        "members": (),
        "known": {},
        "containers": seen,
    }
    return view(**{"ref": web.ref, "policy": web, "rivals": (web,), **given, **fields})


def test_plain_containers_need_no_swarm() -> None:
    plan = plan_policy(of_web("n1"), NOW)
    (action,) = plan.actions
    assert isinstance(action, PutWorkload)
    assert (action.ref, action.spec.container) == (Ref("default", "web"), "web")
    assert plan.status is not None
    assert plan.status.fields["containers"] == ["web"]
    ready = condition(plan, "Ready")
    assert (ready.status, ready.reason, ready.message) == ("True", "Selected", "selects web")


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        (of_web(), "NothingSelected", "no container matches container/web"),
        (of_web("n2", "n1"), "SameNameTwice", "container web runs on n1, n2"),
        (
            of_web(containers=(SeenContainer("n1", "web", "c", True, (Ref("a", "older"), Ref("default", "web"))),)),
            "Overlap",
            "container web belongs to the older policy a/older",
        ),
    ],
)
def test_ready_says_what_is_wrong_with_plain_containers(given: PolicyView, reason: str, words: str) -> None:
    found = condition(plan_policy(given, NOW), "Ready")
    assert (found.status, found.reason) == ("False", reason)
    assert words in found.message
