"""Versions that are tried: one in storage for `verify: Restore`, or a dump that is thrown away for `doctor --try`."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.examination import Pace
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.records import Records, checkpoint_record
from swarmkeep.agent.room import require_room
from swarmkeep.agent.staged import Staged
from swarmkeep.agent.tracked import Tracked
from swarmkeep.agent.trials import Trials
from swarmkeep.agent.versions import VersionTaker
from swarmkeep.errors import DataError, HostError, SwarmKeepError
from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, Passed, Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Policy
from swarmkeep.model.wire import format_time, section
from swarmkeep.plan.verification import Trial
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.os_errors import on_this_node
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)


class StoredTryouts:
    """Tries versions in storage; what is read is checked byte for byte, and goes to a folder of its own."""

    def __init__(self, locations: Locations, trials: Trials) -> None:
        self._locations = locations
        self._trials = trials

    async def run(self, item: Checkpoint, location: str, pace: Pace, stop: threading.Event, limit_s: float) -> Trial:
        """What came of restoring it out of that location.

        Raises DataError when its bytes are wrong, Unavailable, HostError, NotFound.
        """
        workload, number = str(Ref(item.ref.namespace, item.workload)), item.version or 0
        manifest = await self._locations.call(location, lambda found: found.manifest(workload, number), limit_s)

        async def fetch(target: Path) -> Path:
            def get(repository: Repository) -> Manifest:
                with on_this_node(f"making {target.parent}"):
                    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                require_room(target, manifest.logical_bytes, f"trying {item.ref}")
                return repository.paced(pace).get(
                    workload, number, target, durable=False, limit_s=limit_s, should_stop=stop.is_set
                )

            await self._locations.call(location, get, limit_s)
            return target

        return await self._trials.try_version(section(manifest.facts, "container"), fetch, str(item.ref))


class DumpTryouts:
    """Dumps a running container, tries the dump and throws it away: it never becomes a version."""

    def __init__(self, node: str, versions: VersionTaker, trials: Trials, records: Records) -> None:
        self._node = node
        self._versions = versions
        self._trials = trials
        self._records = records
        self._under_way: set[asyncio.Task[None]] = set()

    async def take(self, tracked: Tracked, policy: Policy, checkpoint: str) -> None:
        """Dumps it; the rest goes on by itself, so that versions are taken on schedule meanwhile."""
        begun = datetime.now(UTC)
        try:
            staged = await self._versions.stage(
                tracked, policy, Reason.ON_DEMAND, final_limit_s=None, checkpoint=checkpoint
            )
        except SwarmKeepError as error:
            log.error("could not dump for a trial", workload=str(tracked.ref), error=str(error))
            self._record(tracked.ref, policy, checkpoint, begun, {"phase": "Failed", "message": str(error)})
            return
        task = asyncio.create_task(self._try(staged, policy, begun))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _try(self, staged: Staged, policy: Policy, begun: datetime) -> None:
        async def fetch(_: Path) -> Path:
            return staged.folder

        try:
            trial = await self._trials.try_version(staged.facts["container"], fetch, staged.checkpoint)
        except (HostError, DataError, OSError) as error:
            trial = Trial(Passed.UNKNOWN, str(error))
        finally:
            await asyncio.to_thread(staged.discard)
        phase = CheckpointPhase.FAILED if trial.passed is Passed.FAILED else CheckpointPhase.TRIED
        found = {
            "phase": str(phase),
            "takenAt": format_time(staged.taken_at),
            "frozenSeconds": staged.status.get("frozenSeconds"),
            "bytes": dict(staged.bytes),
            "trial": trial.wire(datetime.now(UTC), self._node),
        }
        if trial.passed is not Passed.PASSED:
            found["message"] = trial.message
        self._record(staged.workload, policy, staged.checkpoint, begun, found)

    def _record(self, workload: Ref, policy: Policy, name: str, begun: datetime, found: dict[str, Any]) -> None:
        record = checkpoint_record(
            name=name,
            workload=workload,
            policy=policy.ref.name,
            node=self._node,
            reason=str(Reason.ON_DEMAND),
            status={"node": self._node, "startedAt": format_time(begun), **found},
        )
        record["spec"]["trial"] = True
        self._records.add(record)
