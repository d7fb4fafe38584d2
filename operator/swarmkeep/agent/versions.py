"""Takes a version: freeze, dump, capture the writable layer, thaw - and then everything that is slow."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from swarmkeep.agent.copier import Copier
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.freezes import Freezes
from swarmkeep.agent.hooks import Hooks
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.records import Records, checkpoint_record
from swarmkeep.agent.room import require_room
from swarmkeep.agent.runtime import layer
from swarmkeep.agent.runtime.addresses import addresses_wire, kept_addresses
from swarmkeep.agent.runtime.cgroups import memory_bytes
from swarmkeep.agent.runtime.containers import ContainerFacts, Containers
from swarmkeep.agent.runtime.dump import (
    Dumper,
    DumpRequest,
    DumpResult,
    has_ended_processes,
    is_dumping,
)
from swarmkeep.agent.runtime.volumes import FOLDER, Volume, VolumeCopies
from swarmkeep.agent.spare import Spare
from swarmkeep.agent.staged import Progress, Staged, find_staged, is_set_aside, is_taken
from swarmkeep.agent.standstill import Copy, Standstill
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.volumes import Volumes, volumes_facts
from swarmkeep.errors import Conflict, DumpFailed, StorageFull, SwarmKeepError
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref, checkpoint_name
from swarmkeep.model.policy import Policy, Tcp
from swarmkeep.model.wire import format_time
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.connections import tcp_of_dump
from swarmkeep.plan.crashes import has_outlived
from swarmkeep.plan.protection import SERVICE_ID
from swarmkeep.plan.verification import must_stand_alone
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

STORE_LIMIT_S = 600.0
"""The longest that writing one version to storage may take."""
DUMP_POLL_S = 0.2
OLD_DUMP_LIMIT_S = 60.0
"""How long the dump of an earlier agent may go on before somebody is told."""
NUMBER_LIMIT_S = 10.0
"""The longest that asking the first location for the newest number may take."""
FURTHER_LIMIT_S = 2.0
"""For the other locations: one that is slow or gone must not delay a version."""


class NotRunning(DumpFailed):
    """The container ended before a version of it could be taken."""

    reason = "NotRunning"


class GaveWay(DumpFailed):
    """A final version of another container, or of this one, had to go first."""

    reason = "GaveWay"


class VersionTaker:
    """Takes versions on this node, one dump at a time. What is copied ahead gives way to final versions."""

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
        damage: KnownDamage,
        copier: Copier,
        cache: ImageCache,
        volumes: Volumes,
        hooks: Hooks,
    ) -> None:
        self._node = node
        self._host = host
        self._staging = staging
        self._spare = Spare(staging)
        self._containers = containers
        self._standstill = Standstill(freezes, dumper)
        self._locations = locations
        self._tracked = tracked
        self._records = records
        self._damage = damage
        self._copier = copier
        self._cache = cache
        self._volumes = volumes
        self._hooks = hooks
        self._staged_bytes: dict[Ref, int] = {}
        self._dumping = asyncio.Lock()
        self._finals = 0
        """Final versions that are under way or wait for their turn."""

    async def take(self, tracked: Tracked, policy: Policy, reason: Reason, checkpoint: str | None = None) -> None:
        """Takes a version of a running container and stores it.

        What goes wrong is recorded on the workload and as a failed Checkpoint; the container goes on in any case.
        `checkpoint` names the object of a user who asked for it.
        """
        started_at = datetime.now(UTC)
        tracked.last_try_at = started_at
        self._tracked.taking[tracked.ref] = tracked
        try:
            staged = await self.stage(tracked, policy, reason, final_limit_s=None, checkpoint=checkpoint)
            try:
                await self.store(staged)
            except BaseException:
                staged.discard()
                raise
        except NotRunning as error:
            log.info("no version of a task that has ended", workload=str(tracked.ref), error=str(error))
        except SwarmKeepError as error:
            if isinstance(error, Conflict):
                # Somebody else has written this number: look again at what there is before the next try.
                tracked.number = 0
            self.record_failure(tracked, policy, reason, started_at, error, checkpoint)
        finally:
            self._tracked.taking.pop(tracked.ref, None)

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

        Raises HostError or TimeoutError, after which the container runs as before; `final_limit_s` is how long its own
        dump may take, once it is its turn. A final version is written down before its dump and stays, come what may,
        once the dump has ended the processes. Another one begins anew when it has given way to a final version.
        """
        while True:
            number = await self._next_number(tracked, policy)
            if final_limit_s is not None:
                self._finals += 1
                try:
                    return await self._stage(tracked, policy, reason, number, final_limit_s, checkpoint)
                finally:
                    self._finals -= 1
            try:
                return await self._stage(tracked, policy, reason, number, None, checkpoint)
            except GaveWay as error:
                if tracked.stop_requested or tracked.finalizing or tracked.ending:
                    raise NotRunning(f"the container of {tracked.ref} is being stopped") from error
                # Behind those that wait already: it cannot be in their way again.
                log.info("a version gave way, and begins anew", workload=str(tracked.ref), version=number)

    async def _stage(
        self,
        tracked: Tracked,
        policy: Policy,
        reason: Reason,
        number: int,
        final_limit_s: float | None,
        checkpoint: str | None,
    ) -> Staged:
        final = final_limit_s is not None
        async with self._dumping, asyncio.timeout(final_limit_s):
            facts = await self._containers.cached(tracked.container_id)
            if not facts.running:
                raise NotRunning(f"container {facts.name} is not running any more")
            volumes = await self._volumes.to_take(facts, policy)
            self._spare.release()
            # Before the container is frozen: it must not stand still for a dump that cannot be written.
            await asyncio.to_thread(self._find_room, tracked.ref, facts)
            staged = self._intent(tracked, policy, reason, number, checkpoint, facts, volumes)
            copies = VolumeCopies(volumes, staged.folder)
            whole: Staged | None = None
            try:
                if volumes and not final:
                    # Before the hooks: an application that waits for the end of a version must not wait for this.
                    await self._standstill.copy_ahead(partial(self._copy_ahead, tracked, copies))
                async with self._hooks.around(tracked, policy, facts, final_limit_s):
                    whole = await self._dump(staged, tracked, policy, facts, copies, final_limit_s)
            except BaseException as error:
                (whole or staged).discard()
                if isinstance(error, OSError):
                    raise _host_error(error, staged.folder) from error
                raise
            return whole

    def _copy_ahead(self, tracked: Tracked, copies: VolumeCopies, check: Callable[[], None]) -> None:
        """Copies for minutes, if need be, and holds the turn meanwhile; who is being stopped must not wait for that."""

        def go_on() -> None:
            check()
            if self._finals or tracked.ending:
                raise GaveWay("a container is being stopped on this node: its final version goes first")

        copies.copy_ahead(go_on)

    async def _dump(
        self,
        staged: Staged,
        tracked: Tracked,
        policy: Policy,
        facts: ContainerFacts,
        copies: VolumeCopies,
        final_limit_s: float | None,
    ) -> Staged:
        final = final_limit_s is not None
        try:
            (staged.folder / "image").mkdir(parents=True)
            staged.work.mkdir()
            if final:
                staged.save()
            dumped, taken_at, frozen_s = await self._dump_frozen(policy, facts, staged, copies, final_limit_s)
        except BaseException as error:
            if final and has_ended_processes(staged.work):
                # Whatever went wrong then, and whoever called it off: the version is there, and the process gone.
                log.error("trouble after a final dump", workload=str(tracked.ref), error=repr(error))
                return self._ended(staged.measured(staged.taken_at, None, _sizes(staged.folder), None))
            raise
        metrics.FROZEN_SECONDS.labels(str(staged.reason)).observe(frozen_s)
        staged = staged.measured(taken_at, frozen_s, _sizes(staged.folder), dumped.stats_status())
        self._staged_bytes[tracked.ref] = sum(staged.bytes.values())
        if final:
            return self._ended(staged)
        shutil.rmtree(staged.work, ignore_errors=True)
        return staged

    def _intent(
        self,
        tracked: Tracked,
        policy: Policy,
        reason: Reason,
        number: int,
        checkpoint: str | None,
        facts: ContainerFacts,
        volumes: Sequence[Volume],
    ) -> Staged:
        now = datetime.now(UTC)
        common = {
            "takenAt": format_time(now),
            "specHash": tracked.spec_hash,
            "node": self._node,
            "host": dict(self._host),
        }
        return Staged(
            workload=tracked.ref,
            policy=policy.ref.name,
            location=policy.location,
            further=policy.locations[1:],
            reason=reason,
            number=number,
            checkpoint=checkpoint or checkpoint_name(tracked.ref.name, number),
            folder=self._folder(tracked.ref, number),
            taken_at=now,
            spec_hash=tracked.spec_hash,
            boot_id=tracked.boot_id,
            frozen_s=None,
            bytes={},
            facts=common
            | {
                "workload": str(tracked.ref),
                "policy": policy.ref.name,
                "reason": str(reason),
                "epoch": tracked.epoch,
                "serviceID": facts.labels.get(SERVICE_ID, ""),
                "checkpoint": checkpoint or checkpoint_name(tracked.ref.name, number),
                "container": dict(facts.raw),
                "dump": secrets.token_hex(8),
                "leftBehind": tracked.line,
                "order": tracked.order,
                **({"volumes": volumes_facts(volumes)} if volumes else {}),
            },
            status=common | {"version": number, "location": policy.location, "startedAt": format_time(now)},
        )

    async def store(self, staged: Staged) -> None:
        """Writes a staged version to storage, records it and clears the staging folder. Raises SwarmKeepError.

        May be repeated after any step: a version that is in storage already counts as written.
        """
        begun = time.monotonic()
        tracked = self._tracked.get(staged.workload)
        damaged = self._damage.ever_of(staged.workload, staged.location)
        alone = must_stand_alone(damaged, tracked.clean_from if tracked else 0)

        def put(repository: Repository) -> int:
            try:
                return repository.put(
                    str(staged.workload), staged.number, staged.folder, staged.facts, alone=alone
                ).stored_bytes
            except Conflict:
                written = repository.manifest(str(staged.workload), staged.number)
                if written.facts.get("dump") == staged.facts["dump"]:
                    return written.stored_bytes
                raise

        stored = await self._locations.call(staged.location, put, STORE_LIMIT_S)
        stored_at = format_time(datetime.now(UTC))
        first = {"name": staged.location, "state": "Stored", "storedAt": stored_at, "bytes": stored}
        await self._volumes.taken(staged.workload, staged.facts)
        await self._keep_ready(staged)
        if staged.reason is Reason.FINAL:
            # On a full disk the rest can be written only now; its own record still says that all this is to be done.
            staged.drop_data()
        self._record(
            staged.checkpoint,
            staged.workload,
            staged.policy,
            staged.reason,
            staged.status
            | {
                "phase": "Stored",
                "storedAt": stored_at,
                "bytes": {**staged.bytes, "stored": stored},
                "locations": [first, *({"name": name, "state": "Pending"} for name in staged.further)],
            },
        )
        tracked = self._tracked.get(staged.workload)
        if tracked is not None and alone:
            log.warning(
                "stored a version whole: older ones are damaged", workload=str(tracked.ref), version=staged.number
            )
            tracked.clean_from = staged.number
            self._tracked.save(tracked)
        # Of an earlier task it says nothing about this one, which did not go on from it.
        if tracked is not None and (tracked.epoch, tracked.spec_hash) == (staged.epoch, staged.spec_hash):
            tracked.newest = {
                "number": staged.number,
                "takenAt": format_time(staged.taken_at),
                "reason": str(staged.reason),
                "specHash": staged.spec_hash,
                "storedBytes": stored,
            }
            if staged.frozen_s is not None:
                tracked.newest["frozenSeconds"] = round(staged.frozen_s, 4)
            tracked.failure = None
            if has_outlived(datetime.now(UTC) - tracked.started_at):
                tracked.failed_restores = {}
            if staged.reason is Reason.FINAL:
                tracked.final_version = staged.number
            self._tracked.save(tracked)
        staged.forget()
        # Nothing is left of it where the cache has taken it.
        self._spare.keep(staged.folder)
        staged.drop_data()
        self._copier.stored(staged.workload, (staged.location, *staged.further))
        metrics.VERSIONS.labels(str(staged.reason), "stored").inc()
        for kind, count in {**staged.bytes, "stored": stored}.items():
            metrics.VERSION_BYTES.labels(kind).inc(count)
        log.info(
            "stored a version",
            workload=str(staged.workload),
            version=staged.number,
            reason=str(staged.reason),
            frozen_seconds=None if staged.frozen_s is None else round(staged.frozen_s, 3),
            stored_bytes=stored,
            store_seconds=round(time.monotonic() - begun, 3),
        )

    async def settle_hooks(self, tracked: Tracked, policy: Policy) -> None:
        """Runs the hooks that are owed to a running container; what goes wrong is recorded as that of a version is."""
        started_at = datetime.now(UTC)
        try:
            await self._hooks.settle(tracked, policy, await self._containers.cached(tracked.container_id))
        except SwarmKeepError as error:
            self.record_failure(tracked, policy, Reason.SCHEDULE, started_at, error)

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

    def clear_staging(self, boot_id: str) -> list[Staged]:
        """Removes what an earlier life left half done; returns final versions that may still have to be stored.

        `boot_id` is of the present boot: what had not reached the disk before it may be anything now.
        """
        self._staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        left = []
        for staged in find_staged(self._staging):
            if staged.boot_id == boot_id or staged.progress is Progress.SYNCED:
                left.append(staged)
                continue
            log.error(
                "the node went down before a final version was in storage or on its disk; an older one has to do",
                workload=str(staged.workload),
                version=staged.number,
            )
            staged.discard()
        keep = {folder for staged in left for folder in (staged.folder, staged.work)}
        for folder in self._staging.glob("*/*"):
            if folder.is_dir() and folder not in keep and not is_set_aside(folder):
                shutil.rmtree(folder, ignore_errors=True)
        for unfinished in self._staging.glob("*/.*.tmp"):
            unfinished.unlink(missing_ok=True)
        return left

    async def settle(self, staged: Staged) -> Staged | None:
        """What became of a final version of an earlier life; None when its dump did not end the process.

        That dump may still go on, since it does not end with its agent. Raises DumpFailed when it takes too long.
        """
        if staged.progress is not Progress.INTENT:
            return staged
        waited_s = 0.0
        while is_dumping(staged.work):
            if waited_s > OLD_DUMP_LIMIT_S:
                raise DumpFailed(f"the dump that an earlier agent began still goes on; look for criu on {self._node}")
            await asyncio.sleep(DUMP_POLL_S)
            waited_s += DUMP_POLL_S
        if not has_ended_processes(staged.work):
            staged.discard()
            return None
        return self._ended(staged.measured(staged.taken_at, None, _sizes(staged.folder), None))

    async def renumber(self, staged: Staged) -> Staged:
        """A final version whose number is another version's gets the next one that is free. Raises SwarmKeepError."""

        def choose(repository: Repository) -> int:
            numbers = [number for number in repository.versions(str(staged.workload)) if number > staged.number]
            for number in numbers:
                if repository.manifest(str(staged.workload), number).facts.get("dump") == staged.facts["dump"]:
                    return number
            return max(numbers, default=staged.number) + 1

        return self._ended(staged.numbered(await self._locations.call(staged.location, choose, NUMBER_LIMIT_S)))

    def give_up(self, staged: Staged, why: str) -> None:
        """Removes a final version that nobody can use any more; a failed Checkpoint says why."""
        status = {"phase": "Failed", "node": self._node, "startedAt": staged.status["startedAt"], "message": why}
        name = f"{staged.workload.name}-failed-{staged.taken_at:%Y%m%dt%H%M%S}"
        self._record(name, staged.workload, staged.policy, staged.reason, status)
        staged.discard()

    def _ended(self, staged: Staged) -> Staged:
        """Writes down what is known of a final version whose process is gone: as much as can be written."""
        try:
            staged.save()
        except (StorageFull, OSError) as error:
            log.error(
                "cannot write down all about a final version; it will be stored from memory",
                workload=str(staged.workload),
                version=staged.number,
                error=str(error),
            )
        return staged

    async def _dump_frozen(
        self,
        policy: Policy,
        facts: ContainerFacts,
        staged: Staged,
        volumes: VolumeCopies,
        final_limit_s: float | None,
    ) -> tuple[DumpResult, datetime, float]:
        limit_s = policy.max_freeze.total_seconds()
        kept = kept_addresses(facts.raw)
        tcp = tcp_of_dump(policy.tcp, final=final_limit_s is not None, kept=kept)
        if tcp is Tcp.ESTABLISHED:
            staged.facts["connections"] = addresses_wire(kept)
        request = DumpRequest(
            container_id=facts.id,
            pid=facts.pid,
            image_dir=staged.folder / "image",
            work_dir=staged.work,
            leave_running=final_limit_s is None,
            tcp=str(tcp),
            max_freeze_s=limit_s if final_limit_s is None else min(limit_s, final_limit_s),
        )
        copies: list[Copy] = [lambda check: layer.capture(facts.upper_dir, staged.folder / "layer", check)]
        return await self._standstill.take(request, [*copies, volumes.capture])

    def _folder(self, workload: Ref, number: int) -> Path:
        return self._staging / f"{workload.namespace}_{workload.name}" / f"v{number}"

    async def _keep_ready(self, staged: Staged) -> None:
        """Moves a folder that is in storage now into the cache."""
        if self._cache.is_filling(staged.workload, staged.number):
            # A task that comes up here already reads it from storage: that must not keep this one's claim.
            return
        async with self._cache.filling(staged.workload, staged.number):
            await asyncio.to_thread(self._cache.adopt, staged.workload, staged.number, staged.taken_at, staged.folder)

    async def _next_number(self, tracked: Tracked, policy: Policy) -> int:
        if tracked.number == 0:
            found = await asyncio.gather(
                self._highest_number(policy.location, tracked.ref, NUMBER_LIMIT_S),
                *(self._highest_number(name, tracked.ref, FURTHER_LIMIT_S) for name in policy.locations[1:]),
                return_exceptions=True,
            )
            if isinstance(found[0], BaseException):
                raise found[0]
            # A first location that was replaced starts anew; numbers must not, as long as another has old versions.
            tracked.number = max(number for number in found if isinstance(number, int))
        tracked.number += 1
        while is_taken(self._folder(tracked.ref, tracked.number)):
            tracked.number += 1
        self._tracked.save(tracked)
        return tracked.number

    def _find_room(self, workload: Ref, facts: ContainerFacts) -> None:
        needed = max(self._staged_bytes.get(workload, 0), memory_bytes(facts.pid, facts.id))
        try:
            self._staging.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._cache.make_room(needed, self._staging)
            require_room(self._staging, needed, f"another version of {workload}")
        except OSError as error:
            raise _host_error(error, self._staging / "x" / "x") from error

    async def _highest_number(self, location: str, workload: Ref, limit_s: float) -> int:
        known = await self._locations.call(location, lambda repository: repository.versions(str(workload)), limit_s)
        return max(known, default=0)

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


def _sizes(folder: Path) -> dict[str, int]:
    try:
        sizes = {"memory": folder_bytes(folder / "image"), "files": folder_bytes(folder / "layer")}
        volumes = folder / FOLDER
        return sizes | ({"volumes": folder_bytes(volumes)} if volumes.exists() else {})
    except OSError as error:
        # They are only told: a version does not fail over them.
        log.warning("cannot tell the size of a version", folder=str(folder), error=str(error))
        return {}


def _host_error(error: OSError, folder: Path) -> SwarmKeepError:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return StorageFull(f"no space in {folder.parent.parent} for another version; free some or enlarge it")
    return DumpFailed(f"cannot write the dump to {folder}: {error}")
