"""Verifies the versions that the operator has given to this node: what users wait for first, then slowly the rest."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import structlog

from swarmkeep.agent.examination import Pace, examine
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.mender import Mender
from swarmkeep.agent.tryouts import StoredTryouts
from swarmkeep.errors import Conflict, DataError, Forbidden, InvalidObject, NotFound, SwarmKeepError, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.checkpoint import Checkpoint, How, Passed, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT
from swarmkeep.model.wire import section
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.verification import Finding, Trial, answer, is_open, next_order
from swarmkeep.store.repository import Damage, Repository

log = structlog.get_logger(__name__)

LOOK_S = 5.0
RETRY_S = 5.0
GRACE_S = 60.0
"""How much longer than its limit a verification may hang in one system call before it is given up."""


class Verifier:
    """Does one version at a time. Its answer is in the API, or the order is still open: it may die at any time."""

    def __init__(
        self,
        node: str,
        client: Client,
        locations: Locations,
        mender: Mender,
        tryouts: StoredTryouts,
        scrub_rate: int,
        limit: timedelta,
    ) -> None:
        """`scrub_rate` in bytes a second: what work that nobody waits for may read; `limit` for each location."""
        self._node = node
        self._client = client
        self._locations = locations
        self._mender = mender
        self._tryouts = tryouts
        self._scrub_rate = scrub_rate
        self._limit_s = limit.total_seconds()
        self._wake = asyncio.Event()
        self._stop = threading.Event()
        self._current: Checkpoint | None = None
        self._answered: dict[Ref, tuple[datetime | None, int]] = {}
        """Orders that are done, which the mirror may still show as open for a moment."""
        self._orders = Mirror(client, CHECKPOINT, fields=f"status.verification.node={node}", on_change=self._changed)

    async def run(self) -> None:
        """Works for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._orders.run())
            group.create_task(self._loop())

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            item = self._next()
            if item is not None:
                await self._carry_out(item)
                continue
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _next(self) -> Checkpoint | None:
        self._answered = {ref: order for ref, order in self._answered.items() if ref in self._orders.objects}
        items = map(parse_checkpoint, self._orders.objects.values())
        return next_order((item for item in items if self._answered.get(item.ref) != _order_of(item)), self._node)

    def _changed(self, *_: object) -> None:
        """A wish goes before work that nobody waits for, which begins anew later; an order taken back ends its work."""
        self._wake.set()
        if self._current is None:
            return
        obj = self._orders.objects.get(self._current.ref)
        now = parse_checkpoint(obj) if obj is not None else None
        taken_back = now is None or now.verification != self._current.verification
        chosen = self._next()
        overtaken = chosen is not None and _is_wish(chosen) and not _is_wish(self._current)
        if taken_back or overtaken:
            self._stop.set()

    async def _carry_out(self, item: Checkpoint) -> None:
        self._stop = threading.Event()
        self._current = item
        where = item.verification.locations if item.verification else ()
        found: dict[str, Finding] = {}
        try:
            for name in where or (item.location,):
                try:
                    found[name] = await self._look(item, name, found)
                except (SwarmKeepError, OSError) as error:
                    if self._stop.is_set():
                        log.info("a verification makes way", checkpoint=str(item.ref))
                        return
                    found[name] = Finding(datetime.now(UTC), self._node, 0, trouble=str(error))
        finally:
            # The thread must not read on for nobody.
            self._stop.set()
            self._current = None
        await self._report(item, found)
        self._answered[item.ref] = _order_of(item)

    async def _look(self, item: Checkpoint, location: str, others: Mapping[str, Finding]) -> Finding:
        """What one location has, repaired out of another if it can be. Raises SwarmKeepError when nobody can say."""
        if item.verification is None:
            raise InvalidObject(f"{item.ref} says neither what to verify nor how")
        pace = Pace(None if _is_wish(item) else self._scrub_rate, self._stop)
        try:
            if item.verification.how is How.RESTORE:
                trial = await self._try(item, location, pace)
                if trial is not None:
                    return Finding(datetime.now(UTC), self._node, pace.bytes, trial=trial)
            problems = await self._examine(item, location, item.verification.how, pace)
            repaired_from, not_repaired = await self._mend(item, location, others, pace) if problems else ("", "")
            return Finding(
                datetime.now(UTC),
                self._node,
                pace.bytes,
                problems,
                repaired_from=repaired_from,
                not_repaired=not_repaired,
            )
        finally:
            metrics.VERIFIED_BYTES.inc(pace.bytes)

    async def _try(self, item: Checkpoint, location: str, pace: Pace) -> Trial | None:
        """What came of restoring it; None when its bytes are wrong: what exactly, and whether twice, is still open."""
        try:
            return await self._tryouts.run(item, location, pace, self._stop, self._limit_s)
        except DataError as error:
            log.error("a version to be tried is damaged", checkpoint=str(item.ref), error=str(error))
            return None

    async def _examine(self, item: Checkpoint, location: str, how: How, pace: Pace) -> tuple[tuple[str, str], ...]:
        """Path and problem of each file that is hit."""
        number, stop = item.version, self._stop
        if number is None:
            raise InvalidObject(f"{item.ref} says neither what to verify nor how")
        workload = str(Ref(item.ref.namespace, item.workload))

        def work(repository: Repository) -> tuple[Damage, ...]:
            return examine(
                repository.paced(pace),
                workload,
                number,
                full=how is not How.QUICK,
                limit_s=self._limit_s,
                should_stop=stop.is_set,
            )

        damage = await self._locations.call(location, work, self._limit_s + GRACE_S)
        return tuple((each.path, each.problem) for each in damage)

    async def _mend(
        self, item: Checkpoint, location: str, others: Mapping[str, Finding], pace: Pace
    ) -> tuple[str, str]:
        """Writes it there again if another location has it whole; returns which, or why that could not be done."""
        lost = {name for name, each in others.items() if each.is_damaged}
        sources = [name for name in item.data_in if name != location and name not in lost]
        # What was once found damaged comes last: it may have been mended by hand.
        sources.sort(key=item.is_damaged_in)
        if not sources:
            return "", ""
        try:
            source = await self._mender.mend(item, location, sources, self._stop.is_set)
            problems = await self._examine(item, location, How.FULL, pace)
        except SwarmKeepError as error:
            if self._stop.is_set():
                raise
            log.error("cannot repair a version", checkpoint=str(item.ref), location=location, error=str(error))
            return "", f"it cannot be repaired: {error}"
        if problems:
            return "", f"written again out of {source}, and still wrong: {problems[0][1]}"
        return source, ""

    async def _report(self, item: Checkpoint, found: Mapping[str, Finding]) -> None:
        """Writes the answer, unless the version is on its way out or the order is somebody else's by now."""
        while True:
            try:
                obj = await self._client.get(CHECKPOINT, item.ref.name, item.ref.namespace)
                now = parse_checkpoint(obj)
                if not now.is_stored or not is_open(now) or now.verification != item.verification:
                    return
                patch = {
                    "metadata": {"resourceVersion": now.resource_version},
                    "status": {"verified": answer(now, section(obj, "status", "verified"), found)},
                }
                await self._client.patch(CHECKPOINT, item.ref.name, patch, item.ref.namespace, subresource="status")
            except NotFound:
                return
            except (Unavailable, Conflict) as error:
                log.info("cannot report a verification yet", checkpoint=str(item.ref), error=str(error))
                await asyncio.sleep(RETRY_S if isinstance(error, Unavailable) else 0.1)
                continue
            except (Forbidden, InvalidObject) as error:
                log.error("the API refuses the result of a verification", checkpoint=str(item.ref), error=str(error))
                return
            for name, each in found.items():
                self._tell(item, name, each)
            return

    @staticmethod
    def _tell(item: Checkpoint, location: str, found: Finding) -> None:
        how = str(item.verification.how) if item.verification else ""
        unrestorable = found.trial is not None and found.trial.passed is Passed.FAILED
        whole = "unrestorable" if unrestorable else "good"
        result = "failed" if found.trouble else "damaged" if found.is_damaged else whole
        metrics.VERIFICATIONS.labels(how, "repaired" if found.repaired_from else result).inc()
        about = log.bind(checkpoint=str(item.ref), location=location)
        if found.problems:
            files = ", ".join(path or "the version as a whole" for path, _ in found.problems[:5])
            about.error("a version was damaged", files=files, first=found.problems[0][1], repaired=found.repaired_from)
        elif found.trouble:
            about.warning("could not verify a version", error=found.trouble)
        elif unrestorable and found.trial is not None:
            about.error("a version does not come up", error=found.trial.message)
        else:
            about.info("verified a version", how=how, bytes=found.bytes)


def _order_of(item: Checkpoint) -> tuple[datetime | None, int]:
    """Tells this order from every other one for a version of that name."""
    return item.created_at, item.verification.number if item.verification else 0


def _is_wish(item: Checkpoint) -> bool:
    return item.verification is not None and bool(item.verification.wish)
