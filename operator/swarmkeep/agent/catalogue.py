"""Which versions of a workload exist: the storage says so, the API can only veto."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from swarmkeep.agent.locations import Locations
from swarmkeep.agent.reading import TURN_LIMIT_S
from swarmkeep.errors import DataError, Unavailable, WrongKey
from swarmkeep.kube.client import Client
from swarmkeep.model.checkpoint import CheckpointPhase, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LABEL_WORKLOAD
from swarmkeep.model.wire import parse_time
from swarmkeep.plan.start import Candidate
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

LIST_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """What the locations have of a workload."""

    candidates: list[Candidate]
    """Newest first."""
    silent: tuple[str, ...]
    """Locations that did not answer: they may have newer ones."""


class Catalogue:
    """The versions of workloads as a restore has to see them."""

    def __init__(self, client: Client, locations: Locations) -> None:
        self._client = client
        self._locations = locations

    async def look(self, locations: Sequence[str], workload: Ref, newest: int = 0) -> Found:
        """Every version whose manifest is in storage, newest first.

        The locations are asked in their order, and no more of them than needed to find a good version of at least the
        number `newest`. A version whose record has not reached the API yet counts as well: its node may be dead. One
        that is being deleted does not. Raises Unavailable when no location answers, or none of those that answer has a
        version: the others may have. Raises WrongKey when this node does not have the key of the newest version in a
        location and no other location has one as new: the workload has to wait for the key, where an older version will
        do for one that is damaged. When only the API does not answer nothing is vetoed, since a version that is really
        deleted has no manifest.
        """

        def read(repository: Repository) -> list[Candidate]:
            numbers = repository.versions(str(workload))
            return [_candidate(repository, workload, number, number == numbers[-1]) for number in numbers]

        merged: dict[int, Candidate] = {}
        silent: list[str] = []
        problem: Unavailable | None = None
        vetoed: frozenset[int] | None = None
        for name in locations:
            limit_s = LIST_LIMIT_S if name == locations[-1] else TURN_LIMIT_S
            try:
                found = await self._locations.call(name, read, limit_s)
            except Unavailable as error:
                # A missing key outweighs all else: somebody has to bring it.
                problem = problem if isinstance(problem, WrongKey) else error
                silent.append(name)
                continue
            if found and vetoed is None:
                vetoed = await self._vetoed(workload)
            for item in found:
                known = merged.get(item.number)
                if known is None or not known.usable:
                    merged[item.number] = replace(item, usable=item.usable and item.number not in (vetoed or ()))
            if any(item.usable and item.number >= newest for item in merged.values()):
                break
        best = max((item.number for item in merged.values() if item.usable), default=0)
        if problem is not None and (not merged or (isinstance(problem, WrongKey) and best < max(newest, 1))):
            raise problem
        candidates = sorted(merged.values(), key=lambda item: item.number, reverse=True)
        return Found(candidates, tuple(silent))

    async def _vetoed(self, workload: Ref) -> frozenset[int]:
        try:
            listed = await self._client.list(CHECKPOINT, workload.namespace, labels=f"{LABEL_WORKLOAD}={workload.name}")
        except Unavailable as error:
            log.warning("choosing a version without the API", workload=str(workload), error=str(error))
            return frozenset()
        checkpoints = [parse_checkpoint(obj) for obj in listed.items]
        return frozenset(
            item.version
            for item in checkpoints
            if item.version is not None and (item.deleting or item.phase is CheckpointPhase.DELETING)
        )


def _candidate(repository: Repository, workload: Ref, number: int, is_newest: bool) -> Candidate:
    try:
        facts = repository.manifest(str(workload), number).facts
        return Candidate(number, parse_time(facts["takenAt"]), str(facts["specHash"]), str(facts["serviceID"]))
    except WrongKey as error:
        if is_newest:
            raise
        log.warning("no key for an old version", workload=str(workload), version=number, error=str(error))
        return Candidate(number, datetime.min, "", "", usable=False)
    except (DataError, KeyError) as error:
        log.error(
            "a version is damaged and will not be restored", workload=str(workload), version=number, error=str(error)
        )
        return Candidate(number, datetime.min, "", "", usable=False)
