"""Policies, services and tasks become workloads; rivals and equal names are told apart."""

import pytest

from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Selector
from swarmkeep.model.swarm import STACK_LABEL, Mode, Service, Snapshot, Task
from swarmkeep.plan.resolve import matches, resolve, task_of

from ..objects import policy, service, task


def swarm(*services: Service, tasks: tuple[Task, ...] = ()) -> Snapshot:
    return Snapshot.of((), services, tasks, {one.id for one in services})


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (Selector(service="shop_redis"), True),
        (Selector(service="redis"), False),
        (Selector(stack="shop"), True),
        (Selector(stack="sho"), False),
        (Selector(match_labels={"keep": "yes"}), True),
        (Selector(match_labels={"inside": "1"}), True),
        (Selector(match_labels={"keep": "yes", "inside": "1"}), False),
        (Selector(match_labels={"keep": "no"}), False),
    ],
)
def test_a_selector_matches_by_name_stack_or_one_set_of_labels(selector: Selector, expected: bool) -> None:
    one = service("shop_redis", labels={"keep": "yes"}, container_labels={"inside": "1", STACK_LABEL: "shop"})
    assert matches(selector, one) is expected


def test_each_wanted_slot_is_a_workload() -> None:
    seen = swarm(service(), tasks=(task(1), task(3, id="t3"), task(2, id="t2", desired="shutdown")))
    found = resolve(policy(), [policy()], seen, {})
    assert sorted(found.workloads) == [Ref("default", "redis.1"), Ref("default", "redis.3")]
    assert found.workloads[Ref("default", "redis.3")].slot == 3
    assert found.services == ("redis",)


def test_each_node_of_a_global_service_is_a_workload() -> None:
    seen = swarm(service(mode=Mode.GLOBAL), tasks=(task(None, node_id="abc"), task(None, id="t2", node_id="")))
    found = resolve(policy(), [policy()], seen, {})
    spec = found.workloads[Ref("default", "redis.abc")]
    assert (spec.slot, spec.node_id) == (None, "abc")
    assert len(found.workloads) == 1


def test_a_stack_in_its_own_namespace_loses_its_prefix() -> None:
    one = service("shop_db", container_labels={STACK_LABEL: "shop"})
    mine = policy(namespace="shop", selector={"stack": "shop"})
    found = resolve(mine, [mine], swarm(one, tasks=(task(),)), {})
    assert list(found.workloads) == [Ref("shop", "db.1")]


def test_the_older_policy_has_the_service() -> None:
    old, new = policy("b-old", age_s=200), policy("a-new", age_s=100)
    seen = swarm(service(), tasks=(task(),))
    assert resolve(old, [new, old], seen, {}).workloads
    lost = resolve(new, [new, old], seen, {})
    assert not lost.workloads
    assert lost.overlaps == {"redis": Ref("default", "b-old")}
    assert lost.services == ("redis",)


def test_of_policies_of_the_same_age_the_first_by_name_has_the_service() -> None:
    first, second = policy("a"), policy("b")
    seen = swarm(service(), tasks=(task(),))
    assert resolve(first, [second, first], seen, {}).workloads
    assert resolve(second, [second, first], seen, {}).overlaps


def test_two_services_never_share_a_workload() -> None:
    stack = service("shop_db", id="a", container_labels={STACK_LABEL: "shop"}, age_s=500)
    plain = service("db", id="b", container_labels={"keep": "yes", STACK_LABEL: "shop"}, age_s=400)
    mine = policy(namespace="shop", selector={"stack": "shop"})
    tasks = (task(service_id="a"), task(service_id="b", id="t2"))
    found = resolve(mine, [mine], swarm(plain, stack, tasks=tasks), {})
    assert found.workloads[Ref("shop", "db.1")].service_name == "shop_db"
    assert found.clashes == {"db": "shop_db"}


def test_a_service_made_anew_takes_its_workload_over() -> None:
    known = resolve(policy(), [policy()], swarm(service(), tasks=(task(),)), {}).workloads
    again = swarm(service(id="svc2"), tasks=(task(service_id="svc2"),))
    found = resolve(policy(), [policy()], again, known)
    assert not found.clashes
    assert found.workloads[Ref("default", "redis.1")].service_id == "svc2"


def test_jobs_are_not_kept_alive() -> None:
    found = resolve(policy(), [policy()], swarm(service(mode=Mode.JOB), tasks=(task(),)), {})
    assert found.jobs == ("redis",)
    assert not found.workloads


def test_the_task_that_swarm_wants_counts_before_the_one_that_ended() -> None:
    spec = next(iter(resolve(policy(), [policy()], swarm(service(), tasks=(task(),)), {}).workloads.values()))
    old, new = task(id="old", desired="shutdown", age_s=5), task(id="new", age_s=50)
    assert task_of(spec, (new, old)) is new
    assert task_of(spec, (task(2),)) is None
    ended = task(id="older", desired="shutdown", age_s=90)
    assert task_of(spec, (ended, old)) is old
