"""lightkube, a typed client, against the real API server."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from lightkube.types import CascadeType, PatchType

from ..servers import ApiServer

pytestmark = pytest.mark.etcd

Policy: Any = create_namespaced_resource("swarmkeep.dev", "v1alpha1", "CheckpointPolicy", "checkpointpolicies")

_numbers = itertools.count(1)


@pytest.fixture
def client(server: ApiServer) -> Iterator[Client]:
    """A client with a new namespace as its default."""
    namespace = f"lightkube-{next(_numbers)}"
    config = KubeConfig.from_file(str(server.pki.kubeconfig(server.url, name="lightkube")))
    with Client(config=config, namespace=namespace, field_manager="lightkube") as client:
        client.create(Namespace(metadata=ObjectMeta(name=namespace)))
        yield client
        client.delete(Namespace, namespace)


def policy(name: str, every: str = "30s", **labels: str) -> GenericNamespacedResource:
    spec = {"selector": {"service": name}, "schedule": {"every": every}, "storage": ["main"]}
    made = Policy(
        apiVersion="swarmkeep.dev/v1alpha1", kind="CheckpointPolicy", metadata=ObjectMeta(name=name), spec=spec
    )
    made.metadata.labels = labels
    assert isinstance(made, GenericNamespacedResource)
    return made


def test_create_get_replace_delete(client: Client) -> None:
    made = client.create(policy("a"))
    assert made.metadata is not None
    assert made.metadata.uid
    made["spec"]["schedule"]["every"] = "1m"
    client.replace(made)
    assert client.get(Policy, "a")["spec"]["schedule"]["every"] == "1m"
    with pytest.raises(ApiError) as caught:
        client.replace(made)
    assert caught.value.status.code == 409
    client.delete(Policy, "a", grace_period=0, cascade=CascadeType.BACKGROUND)
    with pytest.raises(ApiError) as caught:
        client.get(Policy, "a")
    assert (caught.value.status.code, caught.value.status.reason) == (404, "NotFound")


def test_patches_and_status(client: Client) -> None:
    client.create(policy("a"))
    client.patch(Policy, "a", {"spec": {"schedule": {"suspend": True}}}, patch_type=PatchType.MERGE)
    operations: Any = [{"op": "replace", "path": "/spec/schedule/every", "value": "2m"}]
    client.patch(Policy, "a", operations, patch_type=PatchType.JSON)
    status: Any = {"status": {"workloads": 2}}
    client.patch(Policy.Status, "a", status, patch_type=PatchType.MERGE)
    found = client.get(Policy, "a")
    assert found["spec"]["schedule"] == {"every": "2m", "suspend": True, "jitter": "10%"}
    assert found["status"] == {"workloads": 2}


def test_server_side_apply(client: Client) -> None:
    client.apply(policy("a"), field_manager="one")
    client.apply(policy("a", every="1m"), field_manager="one")
    with pytest.raises(ApiError) as caught:
        client.apply(policy("a", every="2m"), field_manager="two")
    assert caught.value.status.code == 409
    client.apply(policy("a", every="2m"), field_manager="two", force=True)
    assert client.get(Policy, "a")["spec"]["schedule"]["every"] == "2m"


def test_list_with_selectors_and_in_chunks(client: Client) -> None:
    for name, tier in (("a", "data"), ("b", "web"), ("c", "data")):
        client.create(policy(name, tier=tier))
    assert {found.metadata.name for found in client.list(Policy, labels={"tier": ["data", "cache"]})} == {"a", "c"}
    assert len(list(client.list(Policy, chunk_size=1))) == 3
    assert [found.metadata.name for found in client.list(Policy, fields={"metadata.name": "b"})] == ["b"]
    client.deletecollection(Policy)
    assert list(client.list(Policy)) == []


def test_watch_gives_what_is_there_and_what_comes(client: Client) -> None:
    client.create(policy("a"))
    later = threading.Timer(0.5, lambda: client.create(policy("b")))
    later.start()
    watch: Any = client.watch(Policy, server_timeout=20)
    with closing(watch):
        seen = [(event, found.metadata.name) for event, found in itertools.islice(watch, 2)]
    later.join()
    assert seen == [("ADDED", "a"), ("ADDED", "b")]
