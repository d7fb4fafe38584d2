"""kopf, the operator framework that our own operator stands on, against the real API server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kopf
import pytest

from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import EVENT, NAMESPACE, POLICY
from swarmkeep.pki import authority

from ..servers import ApiServer

pytestmark = pytest.mark.etcd

PATIENCE_S = 20
NAMESPACE_NAME = "kopf"


def registry_for(server: ApiServer, seen: list[tuple[str, str]]) -> kopf.OperatorRegistry:
    """An operator with one handler of each sort that needs something of the API."""
    registry = kopf.OperatorRegistry()
    certificate, key = authority.issue(server.pki.folder, "admin", "kopf")

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=server.url,
            ca_path=str(server.pki.folder / "ca.crt"),
            certificate_path=str(certificate),
            private_key_path=str(key),
        )

    @kopf.on.startup(registry=registry)
    def settle(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.persistence.finalizer = "test.swarmkeep.dev/kopf"
        settings.peering.standalone = True
        settings.scanning.disabled = True

    where = ("swarmkeep.dev", "v1alpha1", "checkpointpolicies")

    @kopf.on.create(*where, registry=registry)
    async def created(name: str, patch: kopf.Patch, body: kopf.Body, **_: Any) -> None:
        patch.status["workloads"] = 1
        kopf.event(body, type="Normal", reason="Seen", message="a policy came")
        seen.append(("created", name))

    @kopf.on.update(*where, field="spec.schedule.every", registry=registry)
    async def updated(name: str, new: Any, **_: Any) -> None:
        seen.append(("updated", f"{name} {new}"))

    @kopf.on.delete(*where, registry=registry)
    async def deleted(name: str, **_: Any) -> None:
        seen.append(("deleted", name))

    @kopf.on.event(*where, registry=registry)
    async def noticed(type: str | None, name: str, **_: Any) -> None:
        if type == "DELETED":
            seen.append(("gone", name))

    return registry


@contextmanager
def running(registry: kopf.OperatorRegistry) -> Iterator[None]:
    """The operator in a thread with a loop of its own, as it must be."""
    stop, ready = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            operator = kopf.operator(registry=registry, namespaces=[NAMESPACE_NAME], stop_flag=stop, ready_flag=ready)
            asyncio.run(operator)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S), failed
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert failed == []


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def test_an_operator_sees_creation_change_and_deletion(server: ApiServer) -> None:
    client = Client([server.url], server.pki.client_tls(name="kopf-test"))
    await client.create(NAMESPACE, {"metadata": {"name": NAMESPACE_NAME}})
    body = {
        "metadata": {"name": "redis"},
        "spec": {"selector": {"service": "redis"}, "schedule": {"every": "30s"}, "storage": ["main"]},
    }
    seen: list[tuple[str, str]] = []
    try:
        with running(registry_for(server, seen)):
            await client.create(POLICY, body, NAMESPACE_NAME)
            await until(lambda: ("created", "redis") in seen)
            await asyncio.sleep(1)  # the status and kopf's annotation are written after the handler
            found = await client.get(POLICY, "redis", NAMESPACE_NAME)
            assert found["status"]["workloads"] == 1
            assert found["metadata"]["finalizers"] == ["test.swarmkeep.dev/kopf"]

            await client.patch(POLICY, "redis", {"spec": {"schedule": {"every": "1m"}}}, NAMESPACE_NAME)
            await until(lambda: ("updated", "redis 1m") in seen)

            await client.delete(POLICY, "redis", NAMESPACE_NAME)
            await until(lambda: ("deleted", "redis") in seen and ("gone", "redis") in seen)

            events = await client.list(EVENT, NAMESPACE_NAME)
            assert "Seen" in {event["reason"] for event in events.items}
    finally:
        await client.close()
