from swarmkeep.apiserver import discovery
from swarmkeep.apiserver.resources import Registry


def test_the_core_group_and_the_named_groups_are_listed_apart(registry: Registry) -> None:
    assert discovery.core_versions(registry)["versions"] == ["v1"]
    names = [group["name"] for group in discovery.api_groups(registry)["groups"]]
    assert names == ["coordination.k8s.io", "apiextensions.k8s.io", "example.dev"]


def test_one_group(registry: Registry) -> None:
    group = discovery.api_group(registry, "example.dev")
    assert group is not None
    assert group["kind"] == "APIGroup"
    assert group["preferredVersion"] == {"groupVersion": "example.dev/v1", "version": "v1"}
    assert discovery.api_group(registry, "other.dev") is None
    assert discovery.api_group(registry, "") is None


def test_the_legacy_list_has_what_kopf_needs(registry: Registry) -> None:
    found = discovery.api_resources(registry, "example.dev", "v1")
    assert found is not None
    widgets, status = found["resources"]
    assert {"list", "watch", "patch"} <= set(widgets["verbs"])
    assert (widgets["singularName"], widgets["shortNames"], widgets["categories"]) == ("widget", ["wdg"], ["keep"])
    assert (status["name"], status["kind"]) == ("widgets/status", "Widget")
    assert set(status["verbs"]) == {"get", "patch", "update"}


def test_the_legacy_list_of_nothing_is_nothing(registry: Registry) -> None:
    assert discovery.api_resources(registry, "example.dev", "v2") is None


def test_the_aggregated_form_says_the_same(registry: Registry) -> None:
    (core,) = discovery.aggregated(registry, core=True)["items"]
    assert [entry["resource"] for entry in core["versions"][0]["resources"]] == ["events", "namespaces"]
    groups = discovery.aggregated(registry, core=False, version="v2beta1")
    assert groups["apiVersion"] == "apidiscovery.k8s.io/v2beta1"
    (widgets,) = groups["items"][-1]["versions"][0]["resources"]
    assert widgets["scope"] == "Namespaced"
    assert widgets["responseKind"] == {"group": "example.dev", "version": "v1", "kind": "Widget"}
    assert widgets["subresources"][0]["subresource"] == "status"


def test_read_only_kinds_have_a_read_only_status(registry: Registry) -> None:
    found = discovery.api_resources(registry, "apiextensions.k8s.io", "v1")
    assert found is not None
    assert [entry["verbs"] for entry in found["resources"]] == [["get", "list", "watch"], ["get"]]
