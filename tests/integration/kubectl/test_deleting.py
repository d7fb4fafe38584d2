import time

import pytest

from .conftest import Kubectl, policy

pytestmark = pytest.mark.etcd


def with_finalizer(name: str = "redis") -> str:
    return policy(name).replace(f"name: {name}\n", f"name: {name}\n  finalizers: [example.dev/hold]\n", 1)


def test_delete_by_name_by_label_by_file_and_all(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin="---\n".join(policy(name) for name in "abcde"))
    kubectl("label", "cpol", "b", "go=now")
    assert kubectl("delete", "cpol", "a").out.startswith('checkpointpolicy.swarmkeep.dev "a" deleted')
    kubectl("delete", "cpol", "-l", "go=now")
    kubectl("delete", "-f", "-", stdin=policy("c"))
    assert kubectl("get", "cpol", "-o", "name").out.split() == [
        "checkpointpolicy.swarmkeep.dev/d",
        "checkpointpolicy.swarmkeep.dev/e",
    ]
    kubectl("delete", "cpol", "--all")
    assert kubectl.get("cpol")["items"] == []


def test_delete_of_what_is_not_there(kubectl: Kubectl) -> None:
    assert "NotFound" in kubectl.tries("delete", "cpol", "nothing").err
    kubectl("delete", "cpol", "nothing", "--ignore-not-found")


def test_a_finalizer_holds_the_object_until_it_goes(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=with_finalizer())
    kubectl("delete", "cpol", "redis", "--wait=false")
    held = kubectl.get("cpol", "redis")["metadata"]
    assert held["deletionTimestamp"]
    assert held["finalizers"] == ["example.dev/hold"]
    waiting = kubectl.started("wait", "--for=delete", "cpol/redis", "--timeout=20s")
    time.sleep(0.5)
    assert waiting.poll() is None
    kubectl("patch", "cpol", "redis", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    out, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    assert "condition met" in out or "deleted" in out
    assert kubectl.tries("get", "cpol", "redis").code == 1


def test_delete_waits_for_finalizers(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=with_finalizer())
    deleting = kubectl.started("delete", "cpol", "redis", "--timeout=20s")
    deadline = time.monotonic() + 10
    while "deletionTimestamp" not in kubectl.get("cpol", "redis")["metadata"]:
        assert time.monotonic() < deadline
    assert deleting.poll() is None
    patch = '[{"op":"remove","path":"/metadata/finalizers/0"}]'
    kubectl("patch", "cpol", "redis", "--type=json", "-p", patch)
    deleting.communicate(timeout=20)
    assert deleting.returncode == 0


def test_no_finalizer_can_be_added_to_an_object_that_is_going(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=with_finalizer())
    kubectl("delete", "cpol", "redis", "--wait=false")
    patch = '{"metadata":{"finalizers":["example.dev/hold","example.dev/more"]}}'
    answer = kubectl.tries("patch", "cpol", "redis", "--type=merge", "-p", patch)
    assert answer.code == 1
    assert "finalizers" in answer.err
    kubectl("patch", "cpol", "redis", "--type=merge", "-p", '{"metadata":{"finalizers":[]}}')


def test_a_dry_run_deletes_nothing(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=policy())
    assert "server dry run" in kubectl("delete", "cpol", "redis", "--dry-run=server").out
    kubectl.get("cpol", "redis")


def test_a_namespace_goes_with_all_that_is_in_it(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=policy())
    kubectl("delete", "namespace", kubectl.namespace, "--timeout=20s")
    assert kubectl.tries("get", "ns", kubectl.namespace).code == 1
    assert kubectl.get("cpol")["items"] == []
