"""Names of kinds as users type them."""

from __future__ import annotations

import pytest

from swarmkeep.cli.resources import Catalogue, Resource, Selected
from swarmkeep.errors import InvalidObject
from swarmkeep.model.kinds import EVENT, NODE, POLICY, WORKLOAD, Kind

READ = ("get", "list", "watch")
WORKLOADS = Resource(WORKLOAD, "workload", ("wl",), ("keep",), READ)
POLICIES = Resource(POLICY, "checkpointpolicy", ("cpol",), ("keep",), READ)
EVENTS = Resource(EVENT, "event", ("ev",), (), READ)
CLUSTER_NODES = Resource(Kind("", "v1", "Node", "nodes", namespaced=False), "node", ("no",), (), READ)
OUR_NODES = Resource(NODE, "node", (), ("keep",), READ)
SILENT = Resource(
    Kind("swarmkeep.dev", "v1alpha1", "Secretive", "secretives", namespaced=True), "secretive", (), ("keep",)
)
CATALOGUE = Catalogue([CLUSTER_NODES, EVENTS, WORKLOADS, POLICIES, OUR_NODES, SILENT])


@pytest.mark.parametrize(
    "word",
    ["workloads", "workload", "wl", "Workload", "WL", "workloads.swarmkeep.dev", "wl.swarmkeep.dev",
     "workloads.v1alpha1.swarmkeep.dev"],
)  # fmt: skip
def test_a_kind_has_many_names(word: str) -> None:
    assert CATALOGUE.named(word) == WORKLOADS


def test_our_kinds_go_before_those_of_a_real_cluster() -> None:
    assert CATALOGUE.named("nodes") == OUR_NODES


@pytest.mark.parametrize(
    ("words", "selected"),
    [
        (["wl"], [Selected(WORKLOADS)]),
        (["wl", "a", "b", "a"], [Selected(WORKLOADS, ("a", "b"))]),
        (["wl,cpol,workloads"], [Selected(WORKLOADS), Selected(POLICIES)]),
        (["wl/a", "cpol/b", "workload/c"], [Selected(WORKLOADS, ("a", "c")), Selected(POLICIES, ("b",))]),
        (["keep"], [Selected(WORKLOADS), Selected(POLICIES), Selected(OUR_NODES)]),
        (["keep,ev"], [Selected(WORKLOADS), Selected(POLICIES), Selected(OUR_NODES), Selected(EVENTS)]),
    ],
)
def test_what_words_ask_for(words: list[str], selected: list[Selected]) -> None:
    assert CATALOGUE.select(words) == selected


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["workloda"], 'doesn\'t have a resource type "workloda", did you mean "workload"'),
        (["xyz"], 'doesn\'t have a resource type "xyz"$'),
        (["wl,cpol", "a"], "for one kind only"),
        (["wl/a", "b"], "'b' must be of the form kind/name"),
        (["wl/a/b"], "must be of the form kind/name"),
        (["wl/"], "must be of the form kind/name"),
        ([], "you must say what"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(InvalidObject, match=complaint):
        CATALOGUE.select(words)


def test_an_objects_kind_needs_the_right_version() -> None:
    body = {"apiVersion": "swarmkeep.dev/v1alpha1", "kind": "Workload"}
    assert CATALOGUE.of_object(body) == WORKLOADS
    with pytest.raises(InvalidObject, match=r'no matches for kind "Worklod".*did you mean Workload in swarmkeep'):
        CATALOGUE.of_object({**body, "kind": "Worklod"})


def test_titles_as_kubectl_prints_them() -> None:
    assert (WORKLOADS.title, EVENTS.title, WORKLOADS.full_name) == (
        "workload.swarmkeep.dev",
        "event",
        "workloads.swarmkeep.dev",
    )
