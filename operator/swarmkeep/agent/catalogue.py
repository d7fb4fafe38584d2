"""Which versions of a workload exist: the storage says so, the API can only veto."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import structlog

from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.locations import Locations
from swarmkeep.errors import DataError, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.model.checkpoint import CheckpointPhase, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LABEL_WORKLOAD
from swarmkeep.model.wire import parse_time
from swarmkeep.plan.start import Candidate
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

LIST_LIMIT_S = 10.0


class Catalogue:
    """The versions of workloads as a restore has to see them."""

    def __init__(self, client: Client, locations: Locations, damage: KnownDamage) -> None:
        self._client = client
        self._damage = damage
        self._locations = locations

    async def candidates(self, location: str, workload: Ref) -> list[Candidate]:
        """Every version whose manifest is in storage, newest first.

        A version whose record has not reached the API yet counts as well: its node may be dead. One that is being
        deleted, or was found damaged, does not. Raises Unavailable when the storage does not answer; when only the API
        does not, only what is known to be damaged is vetoed: a version that is really deleted has no manifest.
        """

        def read(repository: Repository) -> list[Candidate]:
            return [_candidate(repository, workload, number) for number in repository.versions(str(workload))]

        found = await self._locations.call(location, read, LIST_LIMIT_S)
        vetoed = self._damage.of(workload) | (await self._vetoed(workload) if found else frozenset())
        return sorted(
            (replace(item, usable=item.usable and item.number not in vetoed) for item in found),
            key=lambda item: item.number,
            reverse=True,
        )

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
            if item.version is not None and (item.deleting or item.phase is CheckpointPhase.DELETING or item.is_damaged)
        )


def _candidate(repository: Repository, workload: Ref, number: int) -> Candidate:
    try:
        facts = repository.manifest(str(workload), number).facts
        return Candidate(number, parse_time(facts["takenAt"]), str(facts["specHash"]), str(facts["serviceID"]))
    except (DataError, KeyError) as error:
        log.error(
            "a version is damaged and will not be restored", workload=str(workload), version=number, error=str(error)
        )
        return Candidate(number, datetime.min, "", "", usable=False)
