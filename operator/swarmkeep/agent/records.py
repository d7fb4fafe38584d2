"""Records of versions on their way to the API: kept on disk until it has them, so that none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from swarmkeep.agent.journal import Journal
from swarmkeep.errors import Conflict, Forbidden, InvalidObject, NotFound, SwarmKeepError, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.model.checkpoint import DATA_FINALIZER
from swarmkeep.model.ident import Ref, checkpoint_name
from swarmkeep.model.kinds import CHECKPOINT, LABEL_NODE, LABEL_POLICY, LABEL_WORKLOAD
from swarmkeep.model.wire import section
from swarmkeep.obs import agent_metrics as metrics

log = structlog.get_logger(__name__)

RETRY_S = 2.0


def checkpoint_record(
    *, name: str, workload: Ref, policy: str, node: str, reason: str, status: dict[str, Any]
) -> dict[str, Any]:
    """What the API has to know of one version: an object to create if it is not there, and its status."""
    labels = {LABEL_WORKLOAD: workload.name, LABEL_POLICY: policy, LABEL_NODE: node}
    metadata: dict[str, Any] = {"name": name, "namespace": workload.namespace, "labels": labels}
    if status.get("phase") == "Stored":
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
        self._told: dict[str, str] = {}
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
            if not await self._deliver_all():
                self._more.set()
                await asyncio.sleep(RETRY_S)
            metrics.RECORDS_PENDING.set(len(self._pending))

    async def _deliver_all(self) -> bool:
        """Tries each record once; False when some have to be tried again."""
        whole = True
        for key, record in list(self._pending.items()):
            try:
                done = await self._deliver(record) or await self._make_way(key, record)
            except (Unavailable, Conflict):
                return False
            except InvalidObject as error:
                # The API will never take it. The version itself is safe in storage, and found there by a restore.
                log.error("the API refuses the record of a version", checkpoint=key, error=str(error))
                done = True
            except SwarmKeepError as error:
                # Not the record is wrong but this node's certificate, or something else that a person has to mend.
                if self._told.get(key) != str(error):
                    log.error("cannot record a version, trying again", checkpoint=key, error=str(error))
                self._told[key] = str(error)
                done = False
            if done and self._pending.get(key) is record:
                del self._pending[key]
                self._told.pop(key, None)
                self._journal.remove(key)
            whole = whole and done
        return whole

    async def _make_way(self, key: str, record: dict[str, Any]) -> bool:
        """Another node has the object: the operator gave the wish, or the deletion, to it. True: it is left to that."""
        meta, status = record["metadata"], record["status"]
        own_name = checkpoint_name(record["spec"]["workload"], status["version"]) if "version" in status else None
        if own_name not in (None, meta["name"]):
            # A wish that two nodes fulfilled: this version is there as well, so it is listed, under its own name.
            self.add({**record, "metadata": {**meta, "name": own_name}})
        log.warning("another node answers for a checkpoint now", checkpoint=key, phase=status.get("phase"))
        return True

    async def _deliver(self, record: dict[str, Any]) -> bool:
        """False when the object belongs to another node; raises for everything else that is not delivered."""
        meta = record["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        try:
            await self._client.create(CHECKPOINT, {**record, "status": {}}, namespace)
        except Conflict as conflict:
            if conflict.reason != "AlreadyExists":
                raise
            if not await self._adopt(record):
                return False
        try:
            await self._client.patch(CHECKPOINT, name, {"status": record["status"]}, namespace, subresource="status")
        except NotFound:
            log.info("a checkpoint object was deleted while it was recorded", checkpoint=f"{namespace}/{name}")
        return True

    async def _adopt(self, record: dict[str, Any]) -> bool:
        """Puts our labels on an object that is there already; False when it is another node's."""
        meta = record["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        patch = {"metadata": {"labels": meta["labels"]}}
        if "finalizers" in meta:
            patch["metadata"]["finalizers"] = meta["finalizers"]
        try:
            await self._client.patch(CHECKPOINT, name, patch, namespace)
        except InvalidObject:
            # It is being deleted and takes no new finalizer: the operator will have the data removed.
            log.info("a version was deleted before its record arrived", checkpoint=f"{namespace}/{name}")
        except NotFound as error:
            raise Conflict(f"checkpoint {namespace}/{name} was deleted just now: to be made again") from error
        except Forbidden:
            found = await self._client.get(CHECKPOINT, name, namespace)
            if _node(found) in ("", meta["labels"][LABEL_NODE]):
                raise
            return False
        return True


def _node(obj: Mapping[str, Any]) -> str:
    """The node that answers for a checkpoint now, as the API server sees it."""
    labels = section(obj, "metadata", "labels")
    return str(section(obj, "status").get("node") or labels.get(LABEL_NODE) or "")
