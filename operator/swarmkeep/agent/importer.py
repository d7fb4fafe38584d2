"""Makes Checkpoint objects of the manifests in a location, when the operator has given that to this node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.locations import Locations
from swarmkeep.errors import Conflict, DataError, Forbidden, InvalidObject, NotFound, SwarmKeepError, Unavailable
from swarmkeep.kube.answers import AlreadyExists
from swarmkeep.kube.client import Client
from swarmkeep.model.checkpoint import DATA_FINALIZER, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LABEL_IMPORTED, LABEL_NODE, LABEL_POLICY, LABEL_WORKLOAD, LOCATION
from swarmkeep.model.wire import format_time, section
from swarmkeep.plan.importing import Found, ImportState, Leave, Make, decide
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

T = TypeVar("T")

LOOK_S = 2.0
LIST_LIMIT_S = 60.0
READ_LIMIT_S = 120.0
READ_AT_ONCE = 20
"""Manifests read in one go."""
TRIES = 5
"""How often one workload is tried while storage or API do not answer."""
RETRY_S = 3.0
NAMED = 100
"""Workloads and problems that the answer names before it only counts."""


@dataclass(slots=True)
class _Tally:
    """What an import has come to so far."""

    found: int = 0
    known: int = 0
    made: int = 0
    failed: int = 0
    workloads: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)

    def problem(self, version: str, error: object) -> None:
        self.failed += 1
        if len(self.problems) < NAMED:
            self.problems.append({"version": version, "problem": str(error)[:300]})


class Importer:
    """Every step may be repeated, and an order is open until it was answered: it may die at any time."""

    def __init__(self, node: str, client: Client, desired: Desired, locations: Locations) -> None:
        self._node = node
        self._client = client
        self._desired = desired
        self._locations = locations
        self._answered: dict[str, tuple[str, int]] = {}
        """Orders that are done, which the mirror may still show as open for a moment, by location."""

    async def run(self) -> None:
        """Works for ever."""
        while True:
            for ref, obj in list(self._desired.locations.items()):
                order = section(obj, "status", "import")
                state = ImportState({}, order, section(obj, "status", "imported"))
                mark = (str(obj["metadata"].get("uid")), int(order.get("number") or 0))
                if state.is_open and order.get("node") == self._node and self._answered.get(ref.name) != mark:
                    await self._carry_out(ref.name, order)
                    self._answered[ref.name] = mark
            await asyncio.sleep(LOOK_S)

    async def _carry_out(self, location: str, order: Mapping[str, Any]) -> None:
        tally = _Tally()
        trouble = None
        try:
            workloads = await self._patiently(
                lambda: self._locations.call(location, lambda repository: repository.workloads(), LIST_LIMIT_S)
            )
            for workload in workloads:
                await self._import_workload(location, Ref.parse(workload), order, tally)
        except SwarmKeepError as error:
            trouble = str(error)
            log.warning("an import ended before its time", location=location, error=trouble)
        answer = {
            "number": order["number"],
            "requestedAt": order.get("requestedAt"),
            "at": format_time(datetime.now(UTC)),
            "node": self._node,
            "dryRun": bool(order.get("dryRun")),
            "found": tally.found,
            "known": tally.known,
            "made": tally.made,
            "failed": tally.failed,
            "workloads": tally.workloads,
            "problems": tally.problems or None,
            "trouble": trouble,
        }
        log.info("imported a location", location=location, found=tally.found, made=tally.made, failed=tally.failed)
        await self._answer(location, answer)

    async def _import_workload(self, location: str, workload: Ref, order: Mapping[str, Any], tally: _Tally) -> None:
        # Manifests first, objects after: what has no object then is not about to be deleted either.
        numbers = await self._patiently(
            lambda: self._locations.call(location, lambda repository: repository.versions(str(workload)), LIST_LIMIT_S)
        )
        listed = await self._patiently(
            lambda: self._client.list(CHECKPOINT, workload.namespace, fields=f"spec.workload={workload.name}")
        )
        known = [parse_checkpoint(obj) for obj in listed.items]
        have = {item.version for item in known}
        unknown = [number for number in numbers if number not in have]
        tally.found += len(numbers)
        tally.known += len(numbers) - len(unknown)
        made: dict[int, str] = {}
        for first in range(0, len(unknown), READ_AT_ONCE):
            for number, found in (await self._read(location, workload, unknown[first : first + READ_AT_ONCE])).items():
                where = f"{workload} version {number}"
                try:
                    if isinstance(found, SwarmKeepError):
                        raise found
                    verdict = decide(found, known, self._node, datetime.now(UTC))
                    if isinstance(verdict, Leave):
                        tally.problem(where, verdict.why)
                        continue
                    if not order.get("dryRun"):
                        await self._make(workload, verdict, adopt=bool(order.get("adopt")))
                    made[number] = verdict.name
                except NotFound as error:
                    # Of a manifest: deleted since. Of an object: its namespace does not exist.
                    if not isinstance(found, NotFound):
                        tally.problem(where, f"{error}: make the namespace {workload.namespace} and import again")
                except (DataError, InvalidObject, Conflict, Forbidden) as error:
                    tally.problem(where, error)
        gone = await self._drop_deleted(location, workload, made) if made and not order.get("dryRun") else 0
        tally.made += len(made) - gone
        if len(tally.workloads) < NAMED:
            tally.workloads.append(
                {
                    "workload": str(workload),
                    "versions": len(numbers),
                    "newest": max(numbers, default=None),
                    "made": len(made) - gone,
                }
            )

    async def _read(self, location: str, workload: Ref, numbers: list[int]) -> dict[int, Found | NotFound | DataError]:
        def read(repository: Repository) -> dict[int, Found | NotFound | DataError]:
            found: dict[int, Found | NotFound | DataError] = {}
            for number in numbers:
                try:
                    found[number] = _found(repository.manifest(str(workload), number), workload, location)
                except (NotFound, DataError) as error:
                    found[number] = error
            return found

        return await self._patiently(lambda: self._locations.call(location, read, READ_LIMIT_S))

    async def _make(self, workload: Ref, make: Make, *, adopt: bool) -> None:
        labels = {LABEL_WORKLOAD: workload.name, LABEL_NODE: self._node, LABEL_IMPORTED: "true"}
        if make.policy:
            labels[LABEL_POLICY] = make.policy
        body = {
            "metadata": {
                "name": make.name,
                "namespace": workload.namespace,
                "labels": labels,
                "finalizers": [DATA_FINALIZER],
            },
            "spec": {"workload": workload.name, "reason": str(make.reason), "adopt": adopt},
        }

        async def create() -> None:
            try:
                await self._client.create(CHECKPOINT, body, workload.namespace)
            except AlreadyExists:
                # Our own, of an import that died or whose answer was lost; else it is not ours to write.
                there = parse_checkpoint(await self._client.get(CHECKPOINT, make.name, workload.namespace))
                mine = there.is_imported and there.workload == workload.name
                if not mine or there.version not in (None, make.status["version"]):
                    raise
            await self._client.patch(
                CHECKPOINT, make.name, {"status": make.status}, workload.namespace, subresource="status"
            )

        await self._patiently(create)

    async def _drop_deleted(self, location: str, workload: Ref, made: Mapping[int, str]) -> int:
        """Takes back the objects of versions that were deleted while they were made; returns how many."""
        left = await self._patiently(
            lambda: self._locations.call(location, lambda repository: repository.versions(str(workload)), LIST_LIMIT_S)
        )
        gone = [name for number, name in made.items() if number not in left]
        for name in gone:

            async def drop(name: str = name) -> None:
                with suppress(NotFound):
                    await self._client.patch(CHECKPOINT, name, {"metadata": {"finalizers": None}}, workload.namespace)
                    await self._client.delete(CHECKPOINT, name, workload.namespace)

            await self._patiently(drop)
        return len(gone)

    async def _answer(self, location: str, answer: Mapping[str, Any]) -> None:
        while True:
            try:
                await self._client.patch(LOCATION, location, {"status": {"imported": answer}}, subresource="status")
            except (Unavailable, Conflict) as error:
                log.info("cannot report an import yet", location=location, error=str(error))
                await asyncio.sleep(RETRY_S)
            except (NotFound, Forbidden, InvalidObject) as error:
                # Another node has the order by now, or the location is gone.
                log.warning("the API refuses the answer to an import", location=location, error=str(error))
                return
            else:
                return

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeats a step a few times while the other side does not answer."""
        for left in reversed(range(TRIES)):
            try:
                return await step()
            except Unavailable as error:
                if not left:
                    raise
                log.info("an import waits", error=str(error))
                await asyncio.sleep(RETRY_S)
        raise AssertionError("unreachable")


def _found(manifest: Manifest, workload: Ref, location: str) -> Found:
    sizes = {"memory": 0, "files": 0}
    parts = {b"image": "memory", b"layer": "files", b"volumes": "volumes"}
    for entry in manifest.entries:
        part = parts.get(entry.path.partition(b"/")[0])
        if part is not None:
            sizes[part] = sizes.get(part, 0) + entry.size
    sizes["stored"] = manifest.stored_bytes
    return Found(workload, manifest.version, location, manifest.taken_at, sizes, manifest.facts)
