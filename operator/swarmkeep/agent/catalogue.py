"""Which versions of a workload exist: the storage says so, the API can only veto."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.reading import TURN_LIMIT_S
from swarmkeep.agent.runtime.addresses import parse_addresses
from swarmkeep.agent.runtime.facts import read_facts
from swarmkeep.agent.specifications import container_spec_hash
from swarmkeep.errors import DataError, InvalidObject, Unavailable, WrongKey
from swarmkeep.kube.client import Client
from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LABEL_WORKLOAD
from swarmkeep.model.line import parse_line
from swarmkeep.model.wire import parse_time, section
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

    def __init__(self, client: Client, locations: Locations, damage: KnownDamage) -> None:
        self._client = client
        self._damage = damage
        self._locations = locations

    async def look(
        self,
        locations: Sequence[str],
        workload: Ref,
        service_id: str,
        newest: int = 0,
        enough: Callable[[int], bool] | None = None,
    ) -> Found:
        """Every version whose manifest is in storage, newest first, as a task of that service has to see it.

        The locations are asked in their order, and no more of them than needed to find a good version whose number is
        `enough`, by default one of at least `newest`. A version that may be adopted passes for one of the service
        itself. A version whose record has not reached the API yet counts as well: its node may be dead. One that is
        being deleted, or was found damaged in all locations that have it, does not. Raises Unavailable when no location
        answers, or none of those that answer has a version: the others may have. Raises WrongKey when this node does
        not have the key of the newest version in a location and no other location has one as new: the workload has to
        wait for the key, where an older version will do for one that is damaged. When only the API does not answer,
        only what is known to be damaged is vetoed: a version that is really deleted has no manifest.
        """

        def read(repository: Repository) -> list[_Stored]:
            numbers = repository.versions(str(workload))
            return [_stored(repository, workload, number, number == numbers[-1]) for number in numbers]

        merged: dict[int, _Stored] = {}
        silent: list[str] = []
        problem: Unavailable | None = None
        judgement: _Judgement | None = None
        for name in locations:
            limit_s = LIST_LIMIT_S if name == locations[-1] else TURN_LIMIT_S
            try:
                found = await self._locations.call(name, read, limit_s)
            except Unavailable as error:
                # A missing key outweighs all else: somebody has to bring it.
                problem = problem if isinstance(problem, WrongKey) else error
                silent.append(name)
                continue
            if found and judgement is None:
                judgement = _Judgement(await self._known(workload))
            damaged = self._damage.of(workload, name)
            for item in found:
                known = merged.get(item.candidate.number)
                if known is None or not known.candidate.usable:
                    merged[item.candidate.number] = judgement.of(item, service_id, name, damaged) if judgement else item
            good = (number for number, item in merged.items() if item.candidate.usable)
            if any(enough(number) if enough is not None else number >= newest for number in good):
                break
        best = max((number for number, item in merged.items() if item.candidate.usable), default=0)
        if problem is not None and (not merged or (isinstance(problem, WrongKey) and best < max(newest, 1))):
            raise problem
        stored = sorted(merged.values(), key=lambda item: item.candidate.number, reverse=True)
        if judgement is not None and judgement.known is None and _is_foreign(stored, service_id):
            raise Unavailable(f"only the API knows whether {workload} may go on from another service's versions")
        return Found([item.candidate for item in stored], tuple(silent))

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


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What is known of the versions beside what storage says."""

    known: list[Checkpoint] | None
    """The workload's Checkpoint objects; None when the API does not answer."""

    def of(self, item: _Stored, service_id: str, location: str, damaged: Collection[int]) -> _Stored:
        """The version as that location has it, with a veto, or as the service's own, where that is known.

        `damaged`: numbers that are known to be damaged there though the API may not answer.
        """
        number = item.candidate.number
        known = [checkpoint for checkpoint in self.known or () if checkpoint.version == number]
        vetoed = number in damaged or any(
            found.deleting or found.phase is CheckpointPhase.DELETING or found.is_damaged_in(location)
            for found in known
        )
        candidate = _adopt(item, service_id) if any(found.adopt for found in known) else item.candidate
        doubted = any(found.is_unrestorable for found in known)
        return replace(item, candidate=replace(candidate, usable=candidate.usable and not vetoed, doubted=doubted))


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
        candidate = Candidate(
            number,
            parse_time(facts["takenAt"]),
            str(facts["specHash"]),
            str(facts["serviceID"]),
            line=parse_line(facts.get("leftBehind")),
            order=str(facts.get("order") or ""),
            connections=parse_addresses(facts.get("connections")),
        )
        return _Stored(candidate, section(facts, "container"))
    except WrongKey as error:
        if is_newest:
            raise
        log.warning("no key for an old version", workload=str(workload), version=number, error=str(error))
        return _Stored(Candidate(number, datetime.min, "", "", usable=False), {})
    except (DataError, InvalidObject, KeyError, TypeError, ValueError) as error:
        log.error(
            "a version is damaged and will not be restored", workload=str(workload), version=number, error=str(error)
        )
        return _Stored(Candidate(number, datetime.min, "", "", usable=False), {})
