from pathlib import Path

import pytest

from .conftest import Kubectl, policy

pytestmark = pytest.mark.etcd

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"


def test_apply_creates_configures_and_leaves_alone(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=policy()).out == "checkpointpolicy.swarmkeep.dev/redis created\n"
    before = kubectl.get("cpol", "redis")
    assert kubectl("apply", "-f", "-", stdin=policy()).out == "checkpointpolicy.swarmkeep.dev/redis unchanged\n"
    assert kubectl.get("cpol", "redis") == before
    out = kubectl("apply", "-f", "-", stdin=policy(every="1m")).out
    assert out == "checkpointpolicy.swarmkeep.dev/redis configured\n"
    after = kubectl.get("cpol", "redis")
    assert after["spec"]["schedule"]["every"] == "1m"
    assert after["metadata"]["generation"] == 2
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_apply_fills_in_the_defaults(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=policy())
    spec = kubectl.get("cpol", "redis")["spec"]
    assert spec["retention"] == {"keepLast": 5}
    assert spec["restore"]["after"] == ["NodeLoss", "Crash", "Reschedule"]


def test_what_apply_no_longer_says_goes(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=policy() + "  retention: {keepLast: 9}\n")
    kubectl("apply", "-f", "-", stdin=policy())
    assert kubectl.get("cpol", "redis")["spec"]["retention"] == {"keepLast": 5}


def test_the_samples_can_be_applied_as_a_folder_and_again(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", str(SAMPLES))
    again = kubectl("apply", "-f", str(SAMPLES)).out.splitlines()
    assert again
    assert all(line.endswith(" unchanged") for line in again)
    kubectl("delete", "-f", str(SAMPLES))


def test_several_documents_in_one_stream(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=f"{policy('a')}---\n{policy('b')}---\n")
    assert {item["metadata"]["name"] for item in kubectl.get("cpol")["items"]} == {"a", "b"}


def test_server_side_apply_creates_updates_and_removes(kubectl: Kubectl) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    out = kubectl(*apply, stdin=policy() + "  retention: {keepLast: 9}\n").out
    assert out == "checkpointpolicy.swarmkeep.dev/redis serverside-applied\n"
    before = kubectl.get("cpol", "redis")
    kubectl(*apply, stdin=policy() + "  retention: {keepLast: 9}\n")
    assert kubectl.get("cpol", "redis") == before
    kubectl(*apply, stdin=policy(every="1m"))
    spec = kubectl.get("cpol", "redis")["spec"]
    assert spec["schedule"]["every"] == "1m"
    assert spec["retention"] == {"keepLast": 5}


def test_server_side_apply_reports_conflicts_and_can_be_forced(kubectl: Kubectl) -> None:
    apply = ("apply", "--server-side", "-f", "-", "--field-manager")
    kubectl(*apply, "alice", stdin=policy())
    answer = kubectl.tries(*apply, "bob", stdin=policy(every="1m"))
    assert answer.code == 1
    assert 'conflict with "alice" using swarmkeep.dev/v1alpha1: .spec.schedule.every' in answer.err
    assert "--force-conflicts" in answer.err
    kubectl(*apply, "bob", "--force-conflicts", stdin=policy(every="1m"))
    managed = kubectl("get", "cpol", "redis", "-o", "json", "--show-managed-fields").json["metadata"]["managedFields"]
    assert [entry["manager"] for entry in managed if entry["operation"] == "Apply"] == ["alice", "bob"]


def test_an_object_of_client_side_apply_can_go_on_with_server_side_apply(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=policy())
    kubectl("apply", "--server-side", "-f", "-", stdin=policy(every="1m"))
    kubectl("apply", "--server-side", "-f", "-", stdin=policy(every="2m"))
    assert kubectl.get("cpol", "redis")["spec"]["schedule"]["every"] == "2m"


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_diff_shows_the_change_and_changes_nothing(kubectl: Kubectl, how: tuple[str, ...]) -> None:
    kubectl("apply", *how, "-f", "-", stdin=policy())
    before = kubectl.get("cpol", "redis")
    answer = kubectl.tries("diff", *how, "-f", "-", stdin=policy(every="1m"))
    assert answer.code == 1
    changes = [line for line in answer.out.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert "-    every: 30s" in changes
    assert "+    every: 1m" in changes
    assert kubectl.get("cpol", "redis") == before
    assert kubectl.tries("diff", *how, "-f", "-", stdin=policy()).code == 0


def test_diff_of_a_new_object(kubectl: Kubectl) -> None:
    answer = kubectl.tries("diff", "-f", "-", stdin=policy())
    assert answer.code == 1
    assert "+kind: CheckpointPolicy" in answer.out
    assert kubectl.get("cpol")["items"] == []


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_a_server_side_dry_run_checks_everything_and_stores_nothing(kubectl: Kubectl, how: tuple[str, ...]) -> None:
    out = kubectl("apply", *how, "--dry-run=server", "-f", "-", stdin=policy()).out
    assert "(server dry run)" in out
    assert kubectl.tries("apply", *how, "--dry-run=server", "-f", "-", stdin=policy(every="soon")).code == 1
    assert kubectl.get("cpol")["items"] == []


def test_create_refuses_what_is_there(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=policy())
    answer = kubectl.tries("create", "-f", "-", stdin=policy())
    assert answer.code == 1
    assert '(AlreadyExists): error when creating "STDIN": checkpointpolicies.swarmkeep.dev "redis" already exists' in (
        answer.err
    )


def test_create_makes_up_a_name(kubectl: Kubectl) -> None:
    body = policy().replace("name: redis\n", "generateName: redis-\n", 1)
    name = kubectl("create", "-f", "-", "-o", "name", stdin=body).out.strip()
    assert name.startswith("checkpointpolicy.swarmkeep.dev/redis-")
    assert kubectl.get(name)["metadata"]["generateName"] == "redis-"


def test_a_namespace_that_is_not_there_is_named(kubectl: Kubectl) -> None:
    answer = kubectl.tries("create", "-f", "-", "--namespace=nowhere", stdin=policy())
    assert answer.code == 1
    assert 'namespaces "nowhere" not found' in answer.err
