"""Which versions of a workload exist: the storage says so, the API can only veto."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.runtime.facts import read_facts
from swarmkeep.agent.specifications import container_spec_hash
from swarmkeep.errors import DataError, InvalidObject, Unavailable, WrongKey
from swarmkeep.kube.client import Client
from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LABEL_WORKLOAD
from swarmkeep.model.wire import parse_time, section
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

    async def candidates(self, location: str, workload: Ref, service_id: str) -> list[Candidate]:
        """Every version whose manifest is in storage, newest first, as a task of that service has to see it.

        A version that may be adopted passes for one of the service itself.

        A version whose record has not reached the API yet counts as well: its node may be dead. One that is being
        deleted, or was found damaged, does not. Raises Unavailable when the storage does not answer, and WrongKey when
        this node does not have the key of the newest: with it the workload has to wait, where an older one will do for
        one that is damaged. When only the API does not answer, only what is known to be damaged is vetoed: a version
        that is really deleted has no manifest.
        """

        def read(repository: Repository) -> list[_Stored]:
            numbers = repository.versions(str(workload))
            return [_stored(repository, workload, number, number == numbers[-1]) for number in numbers]

        found = await self._locations.call(location, read, LIST_LIMIT_S)
        found.sort(key=lambda item: item.candidate.number, reverse=True)
        known = await self._known(workload) if found else []
        if known is None and _is_foreign(found, service_id):
            raise Unavailable(f"only the API knows whether {workload} may go on from another service's versions")
        vetoed = self._damage.of(workload) | {
            item.version
            for item in known or ()
            if item.deleting or item.phase is CheckpointPhase.DELETING or item.is_damaged
        }
        adopted = {item.version for item in known or () if item.adopt}
        candidates = [
            _adopt(item, service_id) if item.candidate.number in adopted else item.candidate for item in found
        ]
        return [replace(item, usable=item.usable and item.number not in vetoed) for item in candidates]

    async def _known(self, workload: Ref) -> list[Checkpoint] | None:
        """The workload's Checkpoint objects; None when the API does not answer."""
        try:
            listed = await self._client.list(CHECKPOINT, workload.namespace, labels=f"{LABEL_WORKLOAD}={workload.name}")
        except Unavailable as error:
            log.warning("choosing a version without the API", workload=str(workload), error=str(error))
            return None
        return [parse_checkpoint(obj) for obj in listed.items]


@dataclass(frozen=True, slots=True)
class _Stored:
    """A version in storage, and the container that it was taken of as Docker showed it."""

    candidate: Candidate
    container: Mapping[str, Any]


def _is_foreign(found: Sequence[_Stored], service_id: str) -> bool:
    """Whether the newest version that can be read is of another service."""
    newest = next((item.candidate for item in found if item.candidate.spec_hash), None)
    return newest is not None and newest.service_id != service_id


def _adopt(item: _Stored, service_id: str) -> Candidate:
    """The version as if it were the service's own, which was never updated by force."""
    if item.candidate.service_id == service_id or not item.candidate.spec_hash:
        return item.candidate
    try:
        spec_hash = container_spec_hash(read_facts(item.container), 0)
    except Unavailable as error:
        log.error("a version cannot be adopted", version=item.candidate.number, error=str(error))
        return item.candidate
    return replace(item.candidate, service_id=service_id, spec_hash=spec_hash)


def _stored(repository: Repository, workload: Ref, number: int, is_newest: bool) -> _Stored:
    try:
        facts = repository.manifest(str(workload), number).facts
        candidate = Candidate(number, parse_time(facts["takenAt"]), str(facts["specHash"]), str(facts["serviceID"]))
        return _Stored(candidate, section(facts, "container"))
    except WrongKey as error:
        if is_newest:
            raise
        log.warning("no key for an old version", workload=str(workload), version=number, error=str(error))
        return _Stored(Candidate(number, datetime.min, "", "", usable=False), {})
    except (DataError, InvalidObject, KeyError) as error:
        log.error(
            "a version is damaged and will not be restored", workload=str(workload), version=number, error=str(error)
        )
        return _Stored(Candidate(number, datetime.min, "", "", usable=False), {})
