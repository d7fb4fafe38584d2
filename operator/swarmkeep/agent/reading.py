"""Reads a version from the first of several locations that has it good."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import TypeVar

import structlog

from swarmkeep.agent.locations import Locations
from swarmkeep.errors import DataError, NotFound, SwarmKeepError, Unavailable
from swarmkeep.model.ident import Ref
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

T = TypeVar("T")

TURN_LIMIT_S = 3.0
"""How long a location may take to answer at all when there is another one to turn to."""

DAMAGE_FIRST = (DataError, Unavailable, NotFound)
"""For who can do without this version: a damaged one is not waited for, though a silent location may have it good."""
SILENCE_FIRST = (Unavailable, DataError, NotFound)
"""For who can wait: as long as a location is silent, nobody knows that the version cannot be had."""


async def read_from_first(
    locations: Locations,
    names: Sequence[str],
    workload: Ref,
    number: int,
    work: Callable[[Repository], T],
    limit_s: float,
    worst_first: Sequence[type[SwarmKeepError]],
    skipped: MutableMapping[str, SwarmKeepError] | None = None,
) -> T:
    """Runs `work`, which reads a version, on the locations in their order until it goes well on one.

    Of the errors of all of them it raises that which comes first in `worst_first`; others end it at once. `skipped`
    gets what was wrong with each location that did not serve.
    """
    errors: list[SwarmKeepError] = []
    for name in names:
        try:
            if len(names) > 1:
                # One that hangs shows that here, before it is trusted with reading all of a version.
                await locations.call(name, lambda repository: repository.manifest(str(workload), number), TURN_LIMIT_S)
            return await locations.call(name, work, limit_s)
        except (Unavailable, DataError, NotFound) as error:
            errors.append(error)
            if skipped is not None:
                skipped[name] = error
            if name != names[-1]:
                log.warning(
                    "cannot read a version, turning to the next location",
                    workload=str(workload),
                    version=number,
                    location=name,
                    error=str(error),
                )
    for kind in worst_first:
        for worst in errors:
            if isinstance(worst, kind):
                raise worst
    raise NotFound(f"there is no location to read {workload} version {number} from")
