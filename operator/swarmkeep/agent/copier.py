"""Copies finished versions from a policy's first location to its others, in the background, as fast as those take them.

Level-triggered: what is to be copied is what the first location has and another one lacks, so nothing has to be
remembered but which workloads to look at. Neither taking nor storing a version ever waits for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog

from swarmkeep.agent.copies import Copies
from swarmkeep.agent.copy_reports import CopyReports, Entry
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.tracked import TrackedContainers
from swarmkeep.errors import Conflict, DataError, NotFound, SwarmKeepError, Unavailable
from swarmkeep.model.checkpoint import CopyState, Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.wire import format_time, parse_time
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.backoff import backoff
from swarmkeep.plan.replication import Original, next_copy
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

LIST_LIMIT_S = 10.0
LOOK_S = 60.0
"""How often each workload is looked at although nothing has happened."""
REPORT_RETRY_S = 5.0
REPORT_WITHIN = timedelta(minutes=10)
"""The object of a version that is older than that is not waited for any more: it was deleted."""


@dataclass(slots=True)
class _Lane:
    """The work for one location, one version at a time."""

    due: set[Ref] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    failed: set[Ref] = field(default_factory=set)
    """Workloads of which the last try failed: the others go first."""
    complete: set[Ref] = field(default_factory=set)
    """Workloads of which nothing was missing at the last look."""
    failures: int = 0


class Copier:
    """Keeps the further locations up. Every node copies the versions of what it runs, and what it has last stored."""

    def __init__(
        self,
        desired: Desired,
        locations: Locations,
        tracked: TrackedContainers,
        journal: Journal,
        copies: Copies,
        reports: CopyReports,
    ) -> None:
        self._desired = desired
        self._locations = locations
        self._tracked = tracked
        self._journal = journal
        self._copies = copies
        self._reports = reports
        self._wanted = {Ref.parse(key): tuple(record["locations"]) for key, record in journal.items()}
        """Locations of the workloads that this node has stored versions of, until all of these are everywhere."""
        self._lanes: dict[str, _Lane] = {}
        self._known: dict[tuple[Ref, int], Original] = {}
        self._unfit: dict[tuple[str, Ref, int], str] = {}
        """Versions that cannot be copied to a location, and why: not tried again in this life."""
        self._more = asyncio.Event()

    def stored(self, workload: Ref, locations: tuple[str, ...]) -> None:
        """A version has reached the first of these locations."""
        if len(locations) < 2:
            return
        if self._wanted.get(workload) != locations:
            self._wanted[workload] = locations
            self._journal.write(str(workload), {"locations": list(locations)})
        for name in locations[1:]:
            self._lane(name).complete.discard(workload)
            self._look_at(workload, name)

    async def run(self) -> None:
        """Copies for ever."""
        running: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                for workload, locations in self._workloads().items():
                    for name in locations[1:]:
                        self._look_at(workload, name)
                for name in self._lanes.keys() - running:
                    running.add(name)
                    group.create_task(self._serve(name))
                self._more.clear()
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._more.wait()
                except TimeoutError:
                    self._reports.forget()

    def _lane(self, name: str) -> _Lane:
        if name not in self._lanes:
            self._lanes[name] = _Lane()
            self._more.set()
        return self._lanes[name]

    def _workloads(self) -> dict[Ref, tuple[str, ...]]:
        """The workloads that this node looks after, and their locations."""
        found = dict(self._wanted)
        for tracked in self._tracked:
            policy = self._desired.policy(Ref(tracked.ref.namespace, tracked.policy))
            if policy is not None and tracked.epoch > 0:
                found[tracked.ref] = policy.locations
        return {ref: locations for ref, locations in found.items() if len(locations) > 1}

    async def _serve(self, name: str) -> None:
        lane = self._lane(name)
        while True:
            await lane.wake.wait()
            lane.wake.clear()
            problem = await self._round(name)
            if problem is not None:
                lane.failures += 1
                metrics.COPIES.labels(name, "failed").inc()
                if lane.failures == 1:
                    log.warning("cannot copy to a location, trying again", location=name, error=str(problem))
                await asyncio.sleep(backoff(lane.failures).total_seconds())
                lane.wake.set()
            elif lane.failures:
                log.info("copying to a location works again", location=name, after_failures=lane.failures)
                lane.failures = 0

    async def _round(self, name: str) -> SwarmKeepError | None:
        """Copies one version of each workload that is due; returns what went wrong."""
        lane = self._lane(name)
        problem: SwarmKeepError | None = None
        try:
            await self._copies.settle(name)
        except SwarmKeepError as error:
            problem = error
        for workload in sorted(lane.due, key=lambda ref: (ref in lane.failed, ref)):
            lane.due.discard(workload)
            locations = self._workloads().get(workload, ())
            if name not in locations[1:]:
                continue
            try:
                await self._advance(workload, locations, name)
                lane.failed.discard(workload)
            except SwarmKeepError as error:
                problem = problem or error
                lane.due.add(workload)
                lane.failed.add(workload)
                self._failed(workload, locations, name, error, lane.failures + 1)
                if isinstance(error, Unavailable):
                    # The others would wait for the same answer.
                    break
        return problem

    async def _advance(self, workload: Ref, locations: tuple[str, ...], name: str) -> None:
        """Copies the next version of a workload, if any. Raises SwarmKeepError."""
        first, lane = locations[0], self._lane(name)
        originals = await self._originals(workload, first)
        present = await self._numbers(name, workload)
        unfit = {number for at, ref, number in self._unfit if at == name and ref == workload}
        now = datetime.now(UTC)
        number = next_copy(originals, present | unfit, now)
        done = None
        if number is not None:
            done = await self._copy(workload, locations, name, number)
            if done is not None:
                present.add(number)
            # There may be more, or a newer one by now.
            self._look_at(workload, name)
        elif all(item.number in present | unfit for item in originals):
            lane.complete.add(workload)
        entries = self._entries(workload, name, originals, present)
        if number is not None and done is not None:
            entries[number] = done
        self._note(workload, locations, name, originals, present)
        unheard = await self._reports.tell(workload, entries)
        if any(item.number in unheard and now - item.taken_at < REPORT_WITHIN for item in originals):
            asyncio.get_running_loop().call_later(REPORT_RETRY_S, self._look_at, workload, name)
        elif self._tracked.get(workload) is None and all(
            workload in self._lane(other).complete for other in locations[1:]
        ):
            self._release(workload)

    async def _copy(self, workload: Ref, locations: tuple[str, ...], name: str, number: int) -> Entry | None:
        """Copies one version; None when it cannot be, for good. Raises SwarmKeepError when it may be later."""
        try:
            new_bytes = await self._copies.make(workload, number, locations, name)
        except (NotFound, DataError, Conflict) as error:
            # Pruned meanwhile, damaged where it is read, or another version of that number is there already.
            log.warning(
                "a version is not copied", workload=str(workload), version=number, location=name, error=str(error)
            )
            self._unfit[name, workload, number] = str(error)
            metrics.COPIES.labels(name, "refused").inc()
            return None
        metrics.COPIES.labels(name, "stored").inc()
        log.info("copied a version", workload=str(workload), version=number, location=name, stored_bytes=new_bytes)
        return Entry(name, CopyState.STORED, datetime.now(UTC), new_bytes)

    async def _originals(self, workload: Ref, first: str) -> list[Original]:
        numbers = await self._numbers(first, workload)
        for key in [key for key in self._known if key[0] == workload and key[1] not in numbers]:
            del self._known[key]
        for unfit in [key for key in self._unfit if key[1] == workload and key[2] not in numbers]:
            del self._unfit[unfit]
        found = []
        for number in sorted(numbers):
            known = self._known.get((workload, number))
            if known is None:
                known = await self._locations.call(first, partial(_original, workload, number), LIST_LIMIT_S)
            if known is not None:
                self._known[workload, number] = known
                found.append(known)
        return found

    async def _numbers(self, name: str, workload: Ref) -> set[int]:
        return set(
            await self._locations.call(name, lambda repository: repository.versions(str(workload)), LIST_LIMIT_S)
        )

    def _failed(
        self, workload: Ref, locations: tuple[str, ...], name: str, error: SwarmKeepError, failures: int
    ) -> None:
        tracked = self._tracked.get(workload)
        if tracked is not None and failures > 1:
            known = next((item for item in tracked.replicas if item["location"] == name), {"location": name})
            self._remember(workload, locations, {**known, "message": str(error)})

    def _note(
        self, workload: Ref, locations: tuple[str, ...], name: str, originals: list[Original], present: set[int]
    ) -> None:
        there = [item for item in originals if item.number in present]
        newest = max(there, key=lambda item: item.number, default=None)
        replica: dict[str, Any] = {"location": name}
        if newest is not None:
            replica |= {"version": newest.number, "takenAt": format_time(newest.taken_at)}
        self._remember(workload, locations, replica)

    def _entries(self, workload: Ref, name: str, originals: list[Original], present: set[int]) -> dict[int, Entry]:
        """What the location has of each version."""
        newest = max((item.number for item in originals if item.number in present), default=0)
        entries = {}
        for number in (item.number for item in originals):
            unfit = self._unfit.get((name, workload, number))
            if number in present:
                entries[number] = Entry(name, CopyState.STORED)
            elif unfit:
                entries[number] = Entry(name, CopyState.FAILED, message=unfit)
            else:
                waits = "newer versions went first" if number < newest else ""
                entries[number] = Entry(name, CopyState.PENDING, message=waits)
        return entries

    def _look_at(self, workload: Ref, name: str) -> None:
        self._lane(name).due.add(workload)
        self._lane(name).wake.set()

    def _remember(self, workload: Ref, locations: tuple[str, ...], replica: dict[str, Any]) -> None:
        """Puts it into the workload's status, which the observer reports."""
        tracked = self._tracked.get(workload)
        if tracked is None:
            return
        known = {item["location"]: item for item in tracked.replicas} | {replica["location"]: replica}
        replicas = [known[location] for location in locations[1:] if location in known]
        if replicas != tracked.replicas:
            tracked.replicas = replicas
            self._tracked.save(tracked)

    def _release(self, workload: Ref) -> None:
        """All of it is everywhere, and nothing of it runs here any more."""
        if self._wanted.pop(workload, None) is not None:
            self._journal.remove(str(workload))


def _original(workload: Ref, number: int, repository: Repository) -> Original | None:
    try:
        facts = repository.manifest(str(workload), number).facts
        return Original(number, parse_time(facts["takenAt"]), Reason(facts["reason"]))
    except (NotFound, DataError, KeyError, ValueError):
        # Pruned meanwhile, or damaged: there is nothing good to copy.
        return None
