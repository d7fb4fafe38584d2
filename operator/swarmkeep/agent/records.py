"""Records of versions on their way to the API: kept on disk until it has them, so that none is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from swarmkeep.agent.journal import Journal
from swarmkeep.errors import Conflict, InvalidObject, NotFound, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.model.checkpoint import DATA_FINALIZER
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LABEL_NODE, LABEL_POLICY, LABEL_WORKLOAD
from swarmkeep.obs import agent_metrics as metrics

log = structlog.get_logger(__name__)

RETRY_S = 2.0


def checkpoint_record(
    *, name: str, workload: Ref, policy: str, node: str, reason: str, status: dict[str, Any]
) -> dict[str, Any]:
    """What the API has to know of one version: an object to create if it is not there, and its status."""
    labels = {LABEL_WORKLOAD: workload.name, LABEL_POLICY: policy, LABEL_NODE: node}
    metadata: dict[str, Any] = {"name": name, "namespace": workload.namespace, "labels": labels}
    if status.get("phase") in ("Stored", "Replicated"):
        metadata["finalizers"] = [DATA_FINALIZER]
    return {
        "apiVersion": CHECKPOINT.api_version,
        "kind": CHECKPOINT.name,
        "metadata": metadata,
        "spec": {"workload": workload.name, "reason": reason},
        "status": status,
    }


class Records:
    """Delivers records in the order in which they were made, each until the API has it."""

    def __init__(self, client: Client, journal: Journal) -> None:
        self._client = client
        self._journal = journal
        self._pending: dict[str, dict[str, Any]] = dict(journal.items())
        self._more = asyncio.Event()
        self._more.set()

    def add(self, record: dict[str, Any]) -> None:
        """Keeps a record until it is delivered; a later one of the same object takes its place."""
        key = f"{record['metadata']['namespace']}/{record['metadata']['name']}"
        self._journal.write(key, record)
        self._pending[key] = record
        self._more.set()

    async def run(self) -> None:
        """Delivers for ever."""
        while True:
            await self._more.wait()
            self._more.clear()
            metrics.RECORDS_PENDING.set(len(self._pending))
            for key, record in list(self._pending.items()):
                try:
                    await self._deliver(record)
                except (Unavailable, Conflict):
                    self._more.set()
                    await asyncio.sleep(RETRY_S)
                    break
                except InvalidObject as error:
                    # The API will never take it. The version itself is safe in storage, and found there by a restore.
                    log.error("the API refuses the record of a version", checkpoint=key, error=str(error))
                if self._pending.get(key) is record:
                    del self._pending[key]
                    self._journal.remove(key)
            metrics.RECORDS_PENDING.set(len(self._pending))

    async def _deliver(self, record: dict[str, Any]) -> None:
        meta = record["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        try:
            await self._client.create(CHECKPOINT, {**record, "status": {}}, namespace)
        except Conflict as conflict:
            if conflict.reason != "AlreadyExists":
                raise
            patch = {"metadata": {"labels": meta["labels"]}}
            if "finalizers" in meta:
                patch["metadata"]["finalizers"] = meta["finalizers"]
            try:
                await self._client.patch(CHECKPOINT, name, patch, namespace)
            except InvalidObject:
                # It is being deleted and takes no new finalizer: the operator will have the data removed.
                log.info("a version was deleted before its record arrived", checkpoint=f"{namespace}/{name}")
        try:
            await self._client.patch(CHECKPOINT, name, {"status": record["status"]}, namespace, subresource="status")
        except NotFound:
            log.info("a checkpoint object was deleted while it was recorded", checkpoint=f"{namespace}/{name}")
