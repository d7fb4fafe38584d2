"""Takes a version: freeze, dump, capture the writable layer, thaw - and then everything that is slow."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.freezes import Freezes, Why
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.records import Records, checkpoint_record
from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.containers import ContainerFacts, Containers
from swarmkeep.agent.runtime.dump import Begun, Dumper, DumpRequest, DumpResult, release_gate
from swarmkeep.agent.spare import Spare
from swarmkeep.agent.staged import Staged, find_staged
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.errors import Conflict, DumpFailed, StorageFull, SwarmKeepError
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref, checkpoint_name
from swarmkeep.model.policy import Policy
from swarmkeep.model.wire import format_time
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.protection import SERVICE_ID
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

STORE_LIMIT_S = 600.0
"""The longest that writing one version to storage may take."""


class NotRunning(DumpFailed):
    """The container ended before a version of it could be taken."""

    reason = "NotRunning"


class VersionTaker:
    """Takes versions on this node, one dump at a time."""

    def __init__(
        self,
        node: str,
        host: Mapping[str, str],
        staging: Path,
        containers: Containers,
        freezes: Freezes,
        dumper: Dumper,
        locations: Locations,
        tracked: TrackedContainers,
        records: Records,
    ) -> None:
        self._node = node
        self._host = host
        self._staging = staging
        self._spare = Spare(staging)
        self._containers = containers
        self._freezes = freezes
        self._dumper = dumper
        self._locations = locations
        self._tracked = tracked
        self._records = records
        self._dumping = asyncio.Lock()

    async def take(self, tracked: Tracked, policy: Policy, reason: Reason, checkpoint: str | None = None) -> None:
        """Takes a version of a running container and stores it.

        What goes wrong is recorded on the workload and as a failed Checkpoint; the container goes on in any case.
        `checkpoint` names the object of a user who asked for it.
        """
        started_at = datetime.now(UTC)
        tracked.last_try_at = started_at
        try:
            staged = await self.stage(tracked, policy, reason, final_limit_s=None, checkpoint=checkpoint)
            try:
                await self.store(staged)
            except BaseException:
                shutil.rmtree(staged.folder, ignore_errors=True)
                raise
        except NotRunning as error:
            log.info("no version of a task that has ended", workload=str(tracked.ref), error=str(error))
        except SwarmKeepError as error:
            if isinstance(error, Conflict):
                # Somebody else has written this number: look again at what there is before the next try.
                tracked.number = 0
            self.record_failure(tracked, policy, reason, started_at, error, checkpoint)

    async def stage(
        self,
        tracked: Tracked,
        policy: Policy,
        reason: Reason,
        *,
        final_limit_s: float | None,
        checkpoint: str | None = None,
    ) -> Staged:
        """Dumps the container into the staging folder. With `final_limit_s` its processes end with the dump.

        Raises HostError, after which the container runs as before; `final_limit_s` is then how long that may take.
        """
        number = await self._next_number(tracked, policy)
        folder = self._staging / f"{tracked.ref.namespace}_{tracked.ref.name}" / f"v{number}"
        async with self._dumping:
            facts = await self._containers.cached(tracked.container_id)
            if not facts.running:
                raise NotRunning(f"container {facts.name} is not running any more")
            started_at = datetime.now(UTC)
            try:
                shutil.rmtree(folder, ignore_errors=True)
                (folder / "image").mkdir(parents=True)
                (folder / "work").mkdir()
                self._spare.release()
                dumped, taken_at, frozen_s = await self._dump_frozen(policy, facts, folder, final_limit_s)
            except BaseException as error:
                shutil.rmtree(folder, ignore_errors=True)
                if isinstance(error, OSError):
                    raise _host_error(error, folder) from error
                raise
        shutil.rmtree(folder / "work")
        metrics.FROZEN_SECONDS.labels(str(reason)).observe(frozen_s)
        sizes = {"memory": folder_bytes(folder / "image"), "files": folder_bytes(folder / "layer")}
        common = {
            "takenAt": format_time(taken_at),
            "specHash": tracked.spec_hash,
            "node": self._node,
            "frozenSeconds": round(frozen_s, 4),
            "host": dict(self._host),
        }
        return Staged(
            workload=tracked.ref,
            policy=policy.ref.name,
            location=policy.location,
            reason=reason,
            number=number,
            checkpoint=checkpoint or checkpoint_name(tracked.ref.name, number),
            folder=folder,
            taken_at=taken_at,
            spec_hash=tracked.spec_hash,
            frozen_s=frozen_s,
            bytes=sizes,
            facts=common
            | {
                "workload": str(tracked.ref),
                "policy": policy.ref.name,
                "reason": str(reason),
                "epoch": tracked.epoch,
                "serviceID": facts.labels.get(SERVICE_ID, ""),
                "container": dict(facts.raw),
            },
            status=common
            | {
                "version": number,
                "location": policy.location,
                "startedAt": format_time(started_at),
                "criu": dumped.stats_status(),
            },
        )

    async def store(self, staged: Staged) -> None:
        """Writes a staged version to storage, records it and clears the staging folder. Raises SwarmKeepError.

        May be repeated after any step: a version that is in storage already counts as written.
        """
        begun = time.monotonic()

        def put(repository: Repository) -> int:
            try:
                return repository.put(str(staged.workload), staged.number, staged.folder, staged.facts).stored_bytes
            except Conflict:
                written = repository.manifest(str(staged.workload), staged.number)
                if written.facts == staged.facts:
                    return written.stored_bytes
                raise

        stored = await self._locations.call(staged.location, put, STORE_LIMIT_S)
        self._record(
            staged.checkpoint,
            staged.workload,
            staged.policy,
            staged.reason,
            staged.status
            | {
                "phase": "Stored",
                "storedAt": format_time(datetime.now(UTC)),
                "bytes": {**staged.bytes, "stored": stored},
            },
        )
        tracked = self._tracked.get(staged.workload)
        if tracked is not None and tracked.spec_hash == staged.spec_hash:
            tracked.newest = {
                "number": staged.number,
                "takenAt": format_time(staged.taken_at),
                "reason": str(staged.reason),
                "specHash": staged.spec_hash,
                "frozenSeconds": round(staged.frozen_s, 4),
                "storedBytes": stored,
            }
            tracked.failure = None
            if staged.reason is Reason.FINAL:
                tracked.final_version = staged.number
            self._tracked.save(tracked)
        staged.forget()
        self._spare.keep(staged.folder)
        metrics.VERSIONS.labels(str(staged.reason), "stored").inc()
        for kind, count in {**staged.bytes, "stored": stored}.items():
            metrics.VERSION_BYTES.labels(kind).inc(count)
        metrics.NEWEST_VERSION_TIMESTAMP.labels(staged.workload.namespace, staged.workload.name).set(
            staged.taken_at.timestamp()
        )
        log.info(
            "stored a version",
            workload=str(staged.workload),
            version=staged.number,
            reason=str(staged.reason),
            frozen_seconds=round(staged.frozen_s, 3),
            stored_bytes=stored,
            store_seconds=round(time.monotonic() - begun, 3),
        )

    def record_failure(
        self,
        tracked: Tracked,
        policy: Policy,
        reason: Reason,
        started_at: datetime,
        error: SwarmKeepError,
        checkpoint: str | None = None,
    ) -> None:
        """Writes down that a version could not be taken, on the workload and as a failed Checkpoint."""
        now = datetime.now(UTC)
        tracked.failure = {
            "reason": error.reason,
            "message": str(error),
            "consecutive": tracked.failures + 1,
            "at": format_time(now),
        }
        tracked.last_try_at = now
        metrics.VERSIONS.labels(str(reason), "failed").inc()
        log.error("could not take a version", workload=str(tracked.ref), reason=error.reason, error=str(error))
        if self._tracked.get(tracked.ref) is tracked:
            self._tracked.save(tracked)
        if checkpoint is None and tracked.failures > 1:
            # The workload's status counts on; an object for every failure of a long outage would only hide the first.
            return
        status = {"phase": "Failed", "node": self._node, "startedAt": format_time(started_at), "message": str(error)}
        name = checkpoint or f"{tracked.ref.name}-failed-{started_at:%Y%m%dt%H%M%S}"
        self._record(name, tracked.ref, policy.ref.name, reason, status)

    def clear_staging(self) -> list[Staged]:
        """Removes what an earlier life left half done; returns final versions that still must be stored."""
        self._staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        left = find_staged(self._staging)
        keep = {staged.folder for staged in left}
        for folder in self._staging.glob("*/*"):
            if folder.is_dir() and folder not in keep:
                release_gate(folder / "work")
                shutil.rmtree(folder, ignore_errors=True)
        return left

    async def _dump_frozen(
        self, policy: Policy, facts: ContainerFacts, folder: Path, final_limit_s: float | None
    ) -> tuple[DumpResult, datetime, float]:
        limit_s = policy.max_freeze.total_seconds()
        request = DumpRequest(
            container_id=facts.id,
            pid=facts.pid,
            image_dir=folder / "image",
            work_dir=folder / "work",
            leave_running=final_limit_s is None,
            tcp=str(policy.tcp),
            max_freeze_s=limit_s if final_limit_s is None else min(limit_s, final_limit_s),
        )
        ahead: Begun | None = None
        begun = time.monotonic()

        async def beforehand() -> None:
            nonlocal ahead, begun
            if request.leave_running:
                ahead = await self._dumper.begin(request)
            begun = time.monotonic()

        try:
            await self._freezes.hold(facts.id, facts.pid, Why.VERSION, beforehand)
        except BaseException:
            if ahead is not None:
                await self._dumper.abandon(request, ahead)
            raise
        taken_at = datetime.now(UTC)
        try:
            dumped = await self._dump_and_capture(request, ahead, facts.upper_dir, folder / "layer")
        finally:
            await self._freezes.let_go(facts.id, facts.pid, Why.VERSION)
        return dumped, taken_at, time.monotonic() - begun

    async def _dump_and_capture(
        self, request: DumpRequest, ahead: Begun | None, upper: Path, target: Path
    ) -> DumpResult:
        if not request.leave_running:
            # The layer first: after a final dump there may soon be no container left to read it from.
            await asyncio.to_thread(layer.capture, upper, target)
            return await self._dumper.dump(request)
        captured = asyncio.create_task(asyncio.to_thread(layer.capture, upper, target))
        try:
            return await self._dumper.dump(request, ahead)
        finally:
            # The thread cannot be stopped, and what it reads must stand still until its end.
            await captured

    async def _next_number(self, tracked: Tracked, policy: Policy) -> int:
        if tracked.number == 0:
            known = await self._locations.call(
                policy.location, lambda repository: repository.versions(str(tracked.ref)), 10.0
            )
            tracked.number = max(known, default=0)
        tracked.number += 1
        self._tracked.save(tracked)
        return tracked.number

    def _record(self, name: str, workload: Ref, policy: str, reason: Reason, status: dict[str, Any]) -> None:
        self._records.add(
            checkpoint_record(
                name=name,
                workload=workload,
                policy=policy,
                node=self._node,
                reason=str(reason),
                status=status,
            )
        )


def folder_bytes(folder: Path) -> int:
    """Sum of the sizes of the regular files below `folder`."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _host_error(error: OSError, folder: Path) -> SwarmKeepError:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return StorageFull(f"no space in {folder.parent.parent} for another version; free some or enlarge it")
    return DumpFailed(f"cannot write the dump to {folder}: {error}")
