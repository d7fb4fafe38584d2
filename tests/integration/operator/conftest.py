"""A real API server, a real etcd, a simulated Swarm, and our operator in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.config.settings import ApiSettings, Config, EtcdSettings, OperatorSettings
from swarmkeep.controllers.daemon import Operator
from swarmkeep.errors import NotFound
from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import CHECKPOINT, EVENT, LEASE, NODE, NODE_LEASE_NAMESPACE, WORKLOAD, Kind
from swarmkeep.model.wire import format_time
from swarmkeep.pki import authority
from swarmkeep.swarm.simulated import SimulatedSwarm

from ..servers import ApiServer, Pki, api_server, etcd_member

PATIENCE_S = 20.0
TTL = timedelta(seconds=2)


class Cluster:
    """One API and one Swarm, and the hands of users and agents. Made anew for each test."""

    def __init__(self, folder: Path, pki: Pki, etcd: str, server: ApiServer) -> None:
        self.folder = folder
        self.pki = pki
        self.etcd = etcd
        self.server = server
        self.swarm = SimulatedSwarm("n1", "n2")
        self.exits: list[int] = []
        self._loop = asyncio.new_event_loop()
        self._client = Client([server.url], pki.client_tls())

    def close(self) -> None:
        self.call(self._client.close())
        self._loop.close()

    def call(self, work: Any) -> Any:
        """Runs a coroutine of the client."""
        return self._loop.run_until_complete(work)

    def config(self, node: str = "m1") -> Config:
        certificate, key = authority.issue(self.pki.folder, "operator", node)
        return Config(
            node=node,
            api=ApiSettings(servers=(self.server.url,), ca=self.pki.folder / "ca.crt"),
            etcd=EtcdSettings(endpoints=(self.etcd,), ca=None, certificate=None, key=None),
            operator=OperatorSettings(certificate=certificate, key=key, election_ttl=TTL),
        )

    @contextmanager
    def operator(self, node: str = "m1") -> Iterator[Operator]:
        """A candidate; it is stopped at the end."""
        operator = Operator(self.config(node), self.swarm, hard_exit=self.exits.append)
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(operator.run()), name=f"operator-{node}")
        thread.start()
        try:
            yield operator
        finally:
            operator.stop()
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "the operator does not stop"

    def create(self, kind: Kind, name: str, namespace: str | None = None, **parts: Any) -> Any:
        body = {"metadata": {"name": name, **parts.pop("metadata", {})}, **parts}
        return self.call(self._client.create(kind, body, namespace))

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Any:
        return self.call(self._client.get(kind, name, namespace))

    def find(self, kind: Kind, name: str, namespace: str | None = None) -> Any:
        try:
            return self.get(kind, name, namespace)
        except NotFound:
            return None

    def list(self, kind: Kind, namespace: str | None = None, **selectors: str) -> Any:
        return self.call(self._client.list(kind, namespace, **selectors)).items

    def patch(self, kind: Kind, name: str, patch: dict[str, Any], namespace: str | None = None, **how: Any) -> Any:
        return self.call(self._client.patch(kind, name, patch, namespace, **how))

    def status(self, kind: Kind, name: str, namespace: str | None = None, **fields: Any) -> Any:
        return self.patch(kind, name, {"status": fields}, namespace, subresource="status")

    def delete(self, kind: Kind, name: str, namespace: str | None = None) -> None:
        self.call(self._client.delete(kind, name, namespace))

    def node(self, name: str) -> None:
        """An agent reports its node for the first time."""
        self.create(NODE, name)
        self.status(NODE, name, swarmNodeID=self.swarm.node(name).id)
        self.renew(name)

    def sees(self, name: str, *locations: str) -> None:
        """An agent reports which locations it reaches."""
        found = [{"name": location, "reachable": True, "id": f"id-of-{location}"} for location in locations]
        self.status(NODE, name, locations=found)

    def renew(self, name: str, seconds: int = 60) -> None:
        """An agent renews its lease, twice: the first time only shows that there is one."""
        spec = {"holderIdentity": name, "leaseDurationSeconds": seconds}
        for _ in range(2):
            spec["renewTime"] = format_time(datetime.now(UTC))
            if self.find(LEASE, name, NODE_LEASE_NAMESPACE) is None:
                self.create(LEASE, name, NODE_LEASE_NAMESPACE, spec=spec)
            self.patch(LEASE, name, {"spec": spec}, NODE_LEASE_NAMESPACE)
            time.sleep(0.3)

    def runs(self, name: str, node: str, namespace: str = "default") -> None:
        """An agent has claimed a workload and reports that it runs."""
        epoch = self.get(WORKLOAD, name, namespace).get("status", {}).get("claim", {}).get("epoch", 0) + 1
        claim = {"node": node, "epoch": epoch}
        self.status(WORKLOAD, name, namespace, phase="Running", claim=claim, specHash="hash")

    def stores(self, workload: str, number: int, node: str = "n1", **status: Any) -> str:
        """An agent has stored a version and says so; returns the name of the Checkpoint."""
        name, now = f"{workload}-v{number}", format_time(datetime.now(UTC))
        labels = {"swarmkeep.dev/workload": workload, "swarmkeep.dev/node": node}
        metadata = {"labels": labels, "finalizers": ["swarmkeep.dev/data"]}
        self.create(CHECKPOINT, name, "default", metadata=metadata, spec={"workload": workload, "reason": "Schedule"})
        self.status(
            CHECKPOINT,
            name,
            "default",
            **{
                "phase": "Stored",
                "version": number,
                "node": node,
                "location": "main",
                "takenAt": now,
                "specHash": "hash",
                "bytes": {"stored": 1000},
                **status,
            },
        )
        newest = {"number": number, "takenAt": now, "specHash": "hash"}
        self.status(WORKLOAD, workload, "default", newestVersion=newest)
        return name

    def removes(self, name: str) -> None:
        """An agent has deleted a version's data."""
        self.patch(CHECKPOINT, name, {"metadata": {"finalizers": None}}, "default")
        if self.find(CHECKPOINT, name, "default") is not None:
            self.delete(CHECKPOINT, name, "default")

    def events(self, about: str) -> set[str]:
        """Reasons of all events about an object."""
        return {event["reason"] for event in self.list(EVENT) if event["involvedObject"]["name"] == about}

    def until(self, check: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """Waits until `check` gives something true, and returns that."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            found = check()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"not within {patience_s:g} s: {what}")

    def condition(self, kind: Kind, name: str, type_: str, namespace: str | None = None) -> tuple[str, str]:
        """Status and reason of a condition; empty while it is not there."""
        obj = self.find(kind, name, namespace) or {}
        for item in obj.get("status", {}).get("conditions", ()):
            if item["type"] == type_:
                return item["status"], item["reason"]
        return "", ""

    def until_condition(self, kind: Kind, name: str, type_: str, reason: str, namespace: str | None = None) -> None:
        def holds() -> bool:
            return self.condition(kind, name, type_, namespace)[1] == reason

        try:
            self.until(holds, "")
        except AssertionError:
            found = self.find(kind, name, namespace)
            raise AssertionError(f"{kind.name} {name}: {type_} is not {reason}: {found}") from None


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pki = Pki.make(tmp_path / "pki")
    with etcd_member(tmp_path) as etcd, api_server(tmp_path, pki, etcd) as server:
        made = Cluster(tmp_path, pki, etcd, server)
        try:
            yield made
        finally:
            made.close()
