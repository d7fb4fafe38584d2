import pytest

from .conftest import Kubectl

pytestmark = pytest.mark.etcd


def test_api_resources_lists_our_kinds_with_short_names(kubectl: Kubectl) -> None:
    rows = {row[0]: row for row in kubectl("api-resources", "--api-group=swarmkeep.dev", "--no-headers").rows}
    assert rows["checkpointpolicies"] == [
        "checkpointpolicies",
        "cpol",
        "swarmkeep.dev/v1alpha1",
        "true",
        "CheckpointPolicy",
    ]
    assert rows["nodes"][-2:] == ["false", "Node"]
    assert {"workloads", "checkpoints", "storagelocations"} <= rows.keys()


def test_api_resources_says_what_can_be_done_and_to_which_category_it_belongs(kubectl: Kubectl) -> None:
    out = kubectl("api-resources", "--categories=keep", "-o", "wide", "--no-headers").out
    kinds = {"CheckpointPolicy", "Workload", "Checkpoint", "StorageLocation", "Node", "Restore", "Migration"}
    assert {word for line in out.splitlines() for word in line.split()} >= kinds
    assert len(out.splitlines()) == len(kinds)
    assert all("list" in line and "watch" in line and "keep" in line for line in out.splitlines())


def test_api_versions(kubectl: Kubectl) -> None:
    assert {"swarmkeep.dev/v1alpha1", "v1", "coordination.k8s.io/v1"} <= set(kubectl("api-versions").out.split())


def test_explain_prints_the_descriptions_of_nested_fields(kubectl: Kubectl) -> None:
    out = kubectl("explain", "cpol.spec.schedule").out
    assert "When versions are taken." in out
    assert "every\t<string> -required-" in out
    assert "True stops taking versions on schedule." in out


def test_explain_prints_enumerations_and_leaf_fields(kubectl: Kubectl) -> None:
    out = " ".join(kubectl("explain", "checkpointpolicy.spec.restore.otherwise").out.split())
    assert "FIELD: otherwise <string>" in out
    assert "ENUM: Fresh Hold" in out
    assert "What to do when no version can be restored." in out


def test_explain_goes_through_the_whole_tree(kubectl: Kubectl) -> None:
    out = kubectl("explain", "workload", "--recursive").out
    assert "ownerReferences\t<[]OwnerReference>" in out or "ownerReferences\t<[]Object>" in out
    assert "epoch\t<integer>" in out


def test_explain_knows_the_builtin_kinds_as_well(kubectl: Kubectl) -> None:
    assert "Who holds the lease." in kubectl("explain", "lease.spec.holderIdentity").out
    assert "Standard object metadata." in kubectl("explain", "event.metadata").out


def test_explain_of_a_field_that_is_not_there_says_so(kubectl: Kubectl) -> None:
    answer = kubectl.tries("explain", "cpol.spec.nothing")
    assert answer.code == 1
    assert 'field "nothing" does not exist' in answer.err


def test_the_definitions_are_objects(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=condition=Established", "crd/workloads.swarmkeep.dev", "--timeout=5s")
    assert "workloads.swarmkeep.dev" in kubectl("get", "crd").out


def test_the_definitions_cannot_be_changed(kubectl: Kubectl) -> None:
    answer = kubectl.tries("delete", "crd", "workloads.swarmkeep.dev", "--wait=false")
    assert answer.code == 1
    assert "workloads.swarmkeep.dev" in kubectl("get", "crd", "-o", "name").out


def test_version(kubectl: Kubectl) -> None:
    assert kubectl("version", "-o", "json").json["serverVersion"]["gitVersion"].startswith("v1.")


def test_auth_can_i_and_whoami(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "cpol").out.strip() == "yes"
    assert "test" in kubectl("auth", "whoami").out


def test_a_kind_that_is_not_served(kubectl: Kubectl) -> None:
    answer = kubectl.tries("get", "pods")
    assert answer.code == 1
    assert 'the server doesn\'t have a resource type "pods"' in answer.err
