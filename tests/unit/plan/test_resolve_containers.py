"""Plain containers, as the agents report them, become workloads; equal names are told apart."""

from swarmkeep.model.ident import Ref
from swarmkeep.model.node import SeenContainer
from swarmkeep.model.swarm import Snapshot
from swarmkeep.plan.actions import WorkloadSpec
from swarmkeep.plan.resolve import Resolution, matches, resolve
from swarmkeep.plan.resolve_containers import resolve_containers

from ..objects import policy, service, task

WEB = policy("web", selector={"container": "web"})
REF = Ref("default", "web")


def seen(node: str = "n1", name: str = "web", *, running: bool = True, by: tuple[str, ...] = ("web",)) -> SeenContainer:
    return SeenContainer(node, name, f"{name}-{node}", running, tuple(Ref("default", policy) for policy in by))


def found(
    *items: SeenContainer, lost: tuple[str, ...] = (), known: dict[Ref, WorkloadSpec] | None = None
) -> Resolution:
    return resolve_containers(WEB, items, frozenset(lost), known or {})


def test_a_container_is_a_workload_of_its_name_on_whichever_node() -> None:
    one = found(seen("n2"))
    assert one.workloads == {REF: WorkloadSpec("web", "", "", None, None, 0, container="web")}
    assert one.containers == ("web",)
    assert one.workloads[REF].source == "web"


def test_a_stopped_container_keeps_its_workload() -> None:
    assert list(found(seen(running=False)).workloads) == [REF]


def test_the_older_policy_has_the_container() -> None:
    lost = found(seen(by=("older", "web")))
    assert not lost.workloads
    assert lost.overlaps == {"web": Ref("default", "older")}


def test_two_that_run_under_one_name_are_told() -> None:
    both = found(seen("n2"), seen("n1"), seen("n3", running=False))
    assert both.doubles == {"web": ("n1", "n2")}
    assert list(both.workloads) == [REF]


def test_what_a_lost_node_said_last_is_no_second_one() -> None:
    assert not found(seen("n1"), seen("n2"), lost=("n1",)).doubles


def test_a_container_never_takes_the_workload_of_a_service() -> None:
    slot = WorkloadSpec("redis", "svc1", "web", 1, None, 0)
    clash = found(seen(name="web.1"), known={Ref("default", "web.1"): slot})
    assert not clash.workloads
    assert clash.clashes == {"web.1": "web"}


def test_a_service_never_takes_the_workload_of_a_container() -> None:
    swarm = Snapshot.of((), (service("web"),), (task(),), {"svc1"})
    mine = policy(selector={"service": "web"})
    known = {Ref("default", "web.1"): WorkloadSpec("web", "", "", None, None, 0, container="web.1")}
    assert resolve(mine, [mine], swarm, known).clashes == {"web": "web.1"}


def test_a_selector_of_containers_matches_no_service() -> None:
    for selector in ({"container": "web"}, {"composeProject": "web"}, {"containerLabels": {"a": "b"}}):
        assert not matches(policy(selector=selector).selector, service("web", labels={"a": "b"}))
