import json
from pathlib import Path

import pytest

from .conftest import Kubectl, policy

pytestmark = pytest.mark.etcd


@pytest.fixture
def redis(kubectl: Kubectl) -> Kubectl:
    kubectl("apply", "-f", "-", stdin=policy())
    return kubectl


def test_label_and_annotate_add_change_and_remove(redis: Kubectl) -> None:
    redis("label", "cpol", "redis", "a=b", "tier-")
    redis("annotate", "cpol", "redis", "note=hello world")
    metadata = redis.get("cpol", "redis")["metadata"]
    assert metadata["labels"] == {"a": "b"}
    assert metadata["annotations"]["note"] == "hello world"
    assert metadata["generation"] == 1
    redis("label", "cpol", "redis", "a-")
    assert "labels" not in redis.get("cpol", "redis")["metadata"]


def test_label_refuses_to_overwrite_unless_told(redis: Kubectl) -> None:
    assert redis.tries("label", "cpol", "redis", "tier=web").code == 1
    redis("label", "cpol", "redis", "tier=web", "--overwrite")


def test_edit_changes_what_the_editor_changed(redis: Kubectl, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/every: 30s/every: 45s/' \"$1\"\n", "utf-8")
    editor.chmod(0o755)
    assert "edited" in redis("edit", "cpol", "redis", KUBE_EDITOR=str(editor)).out
    assert redis.get("cpol", "redis")["spec"]["schedule"]["every"] == "45s"


def test_edit_without_a_change_changes_nothing(redis: Kubectl) -> None:
    before = redis.get("cpol", "redis")
    answer = redis("edit", "cpol", "redis", KUBE_EDITOR="true")
    assert "no changes made" in answer.out + answer.err
    assert redis.get("cpol", "redis") == before


def test_merge_patch(redis: Kubectl) -> None:
    redis("patch", "cpol", "redis", "--type=merge", "-p", '{"spec":{"schedule":{"suspend":true}}}')
    schedule = redis.get("cpol", "redis")["spec"]["schedule"]
    assert (schedule["every"], schedule["suspend"]) == ("30s", True)


def test_json_patch(redis: Kubectl) -> None:
    patch = [
        {"op": "test", "path": "/spec/schedule/every", "value": "30s"},
        {"op": "replace", "path": "/spec/schedule/every", "value": "1m"},
        {"op": "add", "path": "/metadata/labels/x", "value": "y"},
    ]
    redis("patch", "cpol", "redis", "--type=json", "-p", json.dumps(patch))
    found = redis.get("cpol", "redis")
    assert found["spec"]["schedule"]["every"] == "1m"
    assert found["metadata"]["labels"] == {"tier": "data", "x": "y"}
    answer = redis.tries("patch", "cpol", "redis", "--type=json", "-p", json.dumps(patch))
    assert answer.code == 1
    assert redis.get("cpol", "redis") == found


def test_a_strategic_patch_is_refused_as_on_any_cluster(redis: Kubectl) -> None:
    answer = redis.tries("patch", "cpol", "redis", "-p", '{"spec":{}}')
    assert answer.code == 1
    assert "application/strategic-merge-patch+json is not supported by swarmkeep.dev/v1alpha1" in answer.err


def test_a_patch_that_changes_nothing_writes_nothing(redis: Kubectl) -> None:
    before = redis.get("cpol", "redis")
    out = redis("patch", "cpol", "redis", "--type=merge", "-p", '{"spec":{"schedule":{"every":"30s"}}}').out
    assert "(no change)" in out
    assert redis.get("cpol", "redis") == before


def test_status_and_spec_are_written_apart(redis: Kubectl) -> None:
    patch = '{"spec":{"fencing":"None"},"status":{"workloads":3}}'
    redis("patch", "cpol", "redis", "--type=merge", "-p", patch)
    found = redis.get("cpol", "redis")
    assert found["spec"]["fencing"] == "None"
    assert "workloads" not in found.get("status", {})
    patch = '{"spec":{"fencing":"Strict"},"status":{"workloads":3}}'
    redis("patch", "cpol", "redis", "--subresource=status", "--type=merge", "-p", patch)
    found = redis.get("cpol", "redis")
    assert found["spec"]["fencing"] == "None"
    assert found["status"]["workloads"] == 3
    assert found["metadata"]["generation"] == 2


def test_replace_needs_the_newest_version_of_the_object(redis: Kubectl) -> None:
    old = redis.get("cpol", "redis")
    redis("annotate", "cpol", "redis", "note=1")
    old["spec"]["schedule"]["every"] = "1m"
    answer = redis.tries("replace", "-f", "-", stdin=json.dumps(old))
    assert answer.code == 1
    assert "(Conflict)" in answer.err
    assert "the object has been modified" in answer.err
    new = redis.get("cpol", "redis")
    new["spec"]["schedule"]["every"] = "1m"
    redis("replace", "-f", "-", stdin=json.dumps(new))
    assert redis.get("cpol", "redis")["spec"]["schedule"]["every"] == "1m"


def test_namespaces_are_made_labelled_and_shown(kubectl: Kubectl) -> None:
    kubectl("label", "namespace", kubectl.namespace, "team=shop")
    assert kubectl.get("namespace", kubectl.namespace)["metadata"]["labels"]["team"] == "shop"
    assert kubectl("get", "ns", kubectl.namespace, "--no-headers").rows[0][1] == "Active"
    assert "Active" in kubectl("describe", "ns", kubectl.namespace).out
    kubectl("apply", "-f", "-", stdin=json.dumps(kubectl.get("namespace", kubectl.namespace)))
